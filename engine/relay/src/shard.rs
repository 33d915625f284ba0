//! [`Shard`]: connections, and what goes between them.

use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::TrackNamespace;
use moqt_engine::{Event, Timestamp};

use crate::authorize::Authorize;
use crate::config::Config;
use crate::connections::{ConnectionId, Connections, PeerInfo, ShardId};
use crate::message::Message;
use crate::stats::Stats;

/// Part of a relay: connections of its own, and what goes between them and those of other shards.
/// The [crate documentation](crate) says in which order to call what.
#[derive(Debug)]
pub struct Shard<A> {
    id: ShardId,
    config: Arc<Config>,
    authorize: A,
    stats: Stats,
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
        let _ = shards;
        Self { id, config, authorize, stats: Stats::default() }
    }

    /// Which shard it is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Whether to ask [`Action::FindOrigin`] for namespaces that are not published here.
    pub fn use_directory(&mut self, _use: bool) {}

    /// A session is set up.
    pub fn handle_connected(
        &mut self,
        _now: Timestamp,
        _connections: &mut impl Connections,
        _id: ConnectionId,
        _peer: PeerInfo,
    ) {
        let _ = (&self.config, &self.authorize);
    }

    /// Something happened in a session. After [`Event::Closed`] the connection is forgotten.
    pub fn handle_event(
        &mut self,
        _now: Timestamp,
        _connections: &mut impl Connections,
        _id: ConnectionId,
        _event: Event,
    ) {
    }

    /// Another shard says something.
    pub fn handle_message(
        &mut self,
        _now: Timestamp,
        _connections: &mut impl Connections,
        _message: Message,
    ) {
    }

    /// What [`Action::FindOrigin`] asked for: the connection to the relay that holds the
    /// namespace, or `None` if nobody does. Its session must be set up.
    pub fn handle_origin(
        &mut self,
        _now: Timestamp,
        _connections: &mut impl Connections,
        _namespace: &TrackNamespace,
        _origin: Option<ConnectionId>,
    ) {
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, _now: Timestamp, _connections: &mut impl Connections) {}

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next message, and which shard it is for; `None` means all others.
    pub fn poll_message(&mut self) -> Option<(Option<ShardId>, Message)> {
        None
    }

    /// The next thing that is to be done outside.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// Asks all clients to leave, for the URI or, if it is empty, for where they think best;
    /// those that have not when `timeout` has passed are closed with GOAWAY_TIMEOUT. New
    /// requests are refused where the draft says so.
    pub fn go_away(
        &mut self,
        _now: Timestamp,
        _connections: &mut impl Connections,
        _uri: &Bytes,
        _timeout: Duration,
    ) {
    }

    /// Decides by other rules from now on. What they no longer allow is ended.
    pub fn set_authorize(
        &mut self,
        _now: Timestamp,
        _connections: &mut impl Connections,
        authorize: A,
    ) {
        self.authorize = authorize;
    }

    /// What it has and has done.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether nothing is left: no sessions, no tracks, no namespaces, nothing in the cache.
    pub fn is_empty(&self) -> bool {
        true
    }
}
