//! [`Shard`]: connections, and what goes between them.

mod above;
mod batch;
mod fetch;
mod fill;
mod gaps;
mod going;
mod ingest;
mod namespaces;
mod others;
pub(crate) mod peer;
mod publish;
mod recover;
mod requests;
mod response;
mod sources;
mod status;
mod subscribe;
mod tracks;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{FullTrackName, TrackNamespace};
use moqt_engine::{Event, Timestamp};
use thunderdome::{Arena, Index};

use crate::authorize::Authorize;
use crate::config::Config;
use crate::connections::{ConnectionId, Connections, PeerInfo, ShardId};
use crate::fanout::Outlet;
use crate::message::Message;
use crate::routes::Routes;
use crate::stats::Stats;
use crate::store::SubgroupKey;
use crate::track::{Track, TrackId};
use fetch::Fetch;
use ingest::Feed;
use peer::Peer;
use status::StatusQuery;

/// Part of a relay: connections of its own, and what goes between them and those of other shards.
/// The [crate documentation](crate) says in which order to call what.
#[derive(Debug)]
pub struct Shard<A> {
    id: ShardId,
    shards: u16,
    config: Arc<Config>,
    authorize: A,
    uses_directory: bool,
    /// It has asked all clients to leave: for where, and until when.
    leaving: Option<(Bytes, Timestamp)>,
    peers: BTreeMap<ConnectionId, Peer>,
    tracks: Arena<Track>,
    names: BTreeMap<FullTrackName, TrackId>,
    routes: Routes,
    fetches: Arena<Fetch>,
    queries: Arena<StatusQuery>,
    timers: BTreeSet<(Timestamp, Due)>,
    /// What other shards are in the middle of giving.
    feeds: BTreeMap<(TrackId, ShardId, SubgroupKey, u64), Feed>,
    /// How many streams have come in.
    streams: u64,
    /// Tracks that were offered in other shards.
    offered: BTreeMap<FullTrackName, Vec<ShardId>>,
    /// Shards with connections to relays upstream.
    upstream_shards: BTreeSet<ShardId>,
    /// Those of them that all these relays have asked to leave.
    leaving_shards: BTreeSet<ShardId>,
    /// Who was told of a namespace by a PUBLISH_NAMESPACE of its own.
    announced_to: BTreeMap<TrackNamespace, BTreeSet<ConnectionId>>,
    /// When relays upstream are no longer asked about what nobody listens to.
    asks_less_at: Option<Timestamp>,
    messages: VecDeque<(Option<ShardId>, Message)>,
    actions: VecDeque<Action>,
    stats: Stats,
    /// Bytes that tracks hold.
    held: usize,
}

/// What to look after at some time. That there is nothing to do any more is found out then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Track(TrackId),
    Fetch(Index),
    Query(Index),
    Peer(ConnectionId),
    Listening,
}

/// The time, and the connections to work on.
struct Cx<'a, C> {
    now: Timestamp,
    connections: &'a mut C,
}

/// Something that a shard wants to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Find out which relay holds this namespace or a prefix of it, connect to it if that is not
    /// done, and tell with [`Shard::handle_origin`].
    FindOrigin {
        /// The namespace.
        namespace: TrackNamespace,
    },
    /// This relay holds a namespace from now on.
    Hold {
        /// The namespace.
        namespace: TrackNamespace,
    },
    /// This relay does not hold a namespace any longer.
    Release {
        /// The namespace.
        namespace: TrackNamespace,
    },
}

impl<A: Authorize> Shard<A> {
    /// A shard without connections, the `id`th of `shards`.
    pub fn new(id: ShardId, shards: u16, config: Arc<Config>, authorize: A) -> Self {
        Self {
            id,
            shards,
            config,
            authorize,
            uses_directory: false,
            leaving: None,
            peers: BTreeMap::new(),
            tracks: Arena::new(),
            names: BTreeMap::new(),
            routes: Routes::default(),
            fetches: Arena::new(),
            queries: Arena::new(),
            timers: BTreeSet::new(),
            feeds: BTreeMap::new(),
            streams: 0,
            offered: BTreeMap::new(),
            upstream_shards: BTreeSet::new(),
            leaving_shards: BTreeSet::new(),
            announced_to: BTreeMap::new(),
            asks_less_at: None,
            messages: VecDeque::new(),
            actions: VecDeque::new(),
            stats: Stats::default(),
            held: 0,
        }
    }

    /// Which shard it is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Whether to ask [`Action::FindOrigin`] for namespaces that are not published here.
    pub fn use_directory(&mut self, uses: bool) {
        self.uses_directory = uses;
    }

    /// A session is set up.
    pub fn handle_connected(
        &mut self,
        now: Timestamp,
        connections: &mut impl Connections,
        id: ConnectionId,
        peer: PeerInfo,
    ) {
        self.connected(&mut Cx { now, connections }, id, peer);
    }

    /// Something happened in a session. After [`Event::Closed`] the connection is forgotten.
    pub fn handle_event(
        &mut self,
        now: Timestamp,
        connections: &mut impl Connections,
        id: ConnectionId,
        event: Event,
    ) {
        self.event(&mut Cx { now, connections }, id, event);
    }

    /// Another shard says something.
    pub fn handle_message(
        &mut self,
        now: Timestamp,
        connections: &mut impl Connections,
        message: Message,
    ) {
        self.message(&mut Cx { now, connections }, message);
    }

    /// What [`Action::FindOrigin`] asked for: the connection to the relay that holds the
    /// namespace, or `None` if nobody does. Its session must be set up.
    pub fn handle_origin(
        &mut self,
        now: Timestamp,
        connections: &mut impl Connections,
        namespace: &TrackNamespace,
        origin: Option<ConnectionId>,
    ) {
        self.origin_found(&mut Cx { now, connections }, namespace, origin);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, connections: &mut impl Connections) {
        let cx = &mut Cx { now, connections };
        while let Some(&(at, due)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            match due {
                Due::Track(track) => self.track_due(cx, track),
                Due::Fetch(fetch) => self.fetch_due(cx, fetch),
                Due::Query(query) => self.query_due(cx, query),
                Due::Peer(peer) => self.peer_due(cx, peer),
                Due::Listening => self.ask_less(cx),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next message, and which shard it is for; `None` means all others.
    pub fn poll_message(&mut self) -> Option<(Option<ShardId>, Message)> {
        self.messages.pop_front()
    }

    /// The next thing that is to be done outside.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Asks all clients to leave, for the URI or, if it is empty, for where they think best;
    /// those that have not when `timeout` has passed are closed with GOAWAY_TIMEOUT. New
    /// requests are refused where the draft says so.
    pub fn go_away(
        &mut self,
        now: Timestamp,
        connections: &mut impl Connections,
        uri: &Bytes,
        timeout: Duration,
    ) {
        self.leave(&mut Cx { now, connections }, uri, timeout);
    }

    /// Decides by other rules from now on. Sessions that they do not allow are closed; requests
    /// that were granted go on.
    pub fn set_authorize(
        &mut self,
        now: Timestamp,
        connections: &mut impl Connections,
        authorize: A,
    ) {
        self.authorize = authorize;
        self.authorize_again(&mut Cx { now, connections });
    }

    /// What it has and has done.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.sessions = self.peers.len() as u64;
        stats.tracks = self.tracks.len() as u64;
        stats.namespaces = self.routes.len() as u64;
        for (_, track) in &self.tracks {
            stats.subscribers += track.sink_count as u64;
            stats.publishers += track.sources.len() as u64;
            stats.cache_bytes += track.store.bytes() as u64;
            stats.cache_objects += track.store.objects() as u64;
        }
        stats
    }

    /// Whether nothing is left: no sessions, no tracks, no namespaces, nothing in the cache.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
            && self.tracks.is_empty()
            && self.names.is_empty()
            && self.routes.is_empty()
            && self.fetches.is_empty()
            && self.queries.is_empty()
            && self.offered.is_empty()
            && self.announced_to.is_empty()
            && self.feeds.is_empty()
    }

    fn schedule(&mut self, at: Timestamp, due: Due) {
        self.timers.insert((at, due));
    }

    /// A track, and what it takes to send its objects.
    fn outlet<'a, C>(
        &'a mut self,
        cx: &'a mut Cx<'_, C>,
        track: TrackId,
    ) -> Option<(&'a mut Track, Outlet<'a, C>)> {
        let Self { id, tracks, messages, stats, .. } = self;
        let (id, connections) = (*id, &mut *cx.connections);
        let outlet = Outlet { now: cx.now, connections, id, messages, stats };
        Some((tracks.get_mut(track)?, outlet))
    }
}
