//! Objects on their way in: from publishers to the store of their track, and on from there.

use alloc::vec::Vec;

use bytes::Bytes;
use moqt_engine::model::{Location, StreamResetCode, SubgroupId};
use moqt_engine::wire::{ObjectDatagram, ObjectHeader};
use moqt_engine::{Read, RequestKey, StreamKey, SubgroupInfo};
use thunderdome::Index;

use super::batch::{BATCH, Batch, gathered, whole};
use super::fetch::Fetch;
use super::peer::Purpose;
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, ShardId};
use crate::fanout::Piece;
use crate::live::{FeedId, Live};
use crate::message::What;
use crate::store::{Begun, SubgroupEnd, SubgroupFacts, SubgroupKey};
use crate::track::{Node, Since, Source, Track, TrackId};

/// What a data stream carries.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A subgroup.
    Subgroup(Feed),
    /// The objects of a FETCH of ours.
    Fill(Index),
}

/// A stream that gives a subgroup of a track's. Others may give the same.
#[derive(Debug)]
pub(super) struct Feed {
    track: TrackId,
    node: Node,
    /// Which stream it is of those of the shard that it came to.
    number: u64,
    group: u64,
    /// The first object's ID if it is not known.
    subgroup: Option<u64>,
    facts: SubgroupFacts,
    /// The facts say whether the first object is that of the subgroup.
    says_first_object: bool,
    /// It comes from another relay, which may not have been given all that was published.
    is_relayed: bool,
    /// Which subgroup it is, as soon as that is known.
    key: Option<SubgroupKey>,
    /// Which of its streams, unless all of it has come before.
    id: Option<FeedId>,
    /// The object up to which it has given everything. Another shard says so itself.
    at: Option<u64>,
    object: Option<InObject>,
}

/// The object that a feed is in.
#[derive(Clone, Copy, Debug)]
struct InObject {
    id: u64,
    /// Bytes of its payload that came.
    offset: u64,
    /// It is not wanted: it is known not to exist.
    is_dropped: bool,
    /// No stream has given it before, though a FETCH may have.
    leads: bool,
}

/// What comes from another shard.
pub(super) enum Shipped {
    /// An object before which nothing exists after the one given.
    Object(Option<u64>, SubgroupFacts, ObjectHeader, Option<Bytes>),
    Payload(u64, u64, Bytes),
    End(Option<SubgroupEnd>),
}

/// Whether to go on with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    Later,
    Over,
}

impl Incoming {
    /// Which subgroup of a track it gives, and in which stream, if it has begun to.
    pub(super) fn begun(&self, track: TrackId) -> Option<(SubgroupKey, u64)> {
        match self {
            Self::Subgroup(feed) if feed.track == track => Some((feed.key?, feed.number)),
            _ => None,
        }
    }
}

impl Feed {
    fn new(
        track: TrackId,
        node: Node,
        number: u64,
        (group, subgroup): (u64, Option<u64>),
        facts: SubgroupFacts,
    ) -> Self {
        Self {
            track,
            node,
            number,
            group,
            subgroup,
            facts,
            says_first_object: true,
            is_relayed: false,
            key: None,
            id: None,
            at: None,
            object: None,
        }
    }

    pub(super) fn track(&self) -> TrackId {
        self.track
    }

    /// The object after which it gives everything of its subgroup, when this one begins.
    fn gives_all_after(&self, track: &Track, key: SubgroupKey, object: u64) -> Option<u64> {
        if self.at.is_some() || !self.node.is_local() {
            return self.at;
        }
        let before = object.checked_sub(1)?;
        if self.facts.first_object || self.subgroup.is_none() {
            return None;
        }
        // A relay that does not say that it knows of nothing before may know less than others do.
        let others = track.live.get(&key).is_some_and(|live| live.is_fed_besides(self.id));
        let is_doubtful = self.is_relayed && (self.says_first_object || others);
        let source = track.source(self.node).filter(|_| !is_doubtful);
        match source.map(|source| source.since) {
            Some(Since::After(since)) if since.is_none_or(|since| since.group < self.group) => None,
            Some(Since::After(Some(since))) if since.group == self.group => {
                Some(since.object.min(before))
            }
            _ => Some(before),
        }
    }
}

impl<A: Authorize> Shard<A> {
    pub(super) fn subgroup_opened<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        stream: StreamKey,
        info: SubgroupInfo,
    ) {
        let Some(Purpose::Source(track)) = self.purpose(connection, request) else {
            let code = StreamResetCode::Cancelled;
            cx.connections.with(connection, |moqt| moqt.stop(stream, code));
            return;
        };
        let node = Node::Session(connection, request);
        let facts = SubgroupFacts {
            publisher_priority: info.publisher_priority,
            end_of_group: info.end_of_group,
            first_object: info.first_object,
            has_properties: info.has_properties,
        };
        let subgroup = match info.subgroup_id {
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObjectId => None,
        };
        let group = info.group_id;
        self.streams = self.streams.wrapping_add(1);
        let mut feed = Feed::new(track, node, self.streams, (group, subgroup), facts);
        if let Some(peer) = self.peers.get_mut(&connection) {
            feed.says_first_object = peer.info.draft.says_first_object();
            feed.is_relayed = peer.is_relay();
            peer.streams.insert(stream, Incoming::Subgroup(feed));
            self.readable(cx, connection, stream);
        }
    }

    pub(super) fn readable<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        stream: StreamKey,
    ) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        if let Some(Incoming::Subgroup(feed)) = peer.streams.get(&stream) {
            let track = self.tracks.get(feed.track);
            if track.is_some_and(|track| track.recovery.is_some()) {
                return;
            }
        }
        match peer.streams.remove(&stream) {
            Some(Incoming::Subgroup(mut feed)) => {
                let is_over = self.read(cx, connection, stream, &mut feed);
                self.account(cx, feed.track);
                self.serve_waiting(cx, feed.track);
                if !is_over && let Some(peer) = self.peers.get_mut(&connection) {
                    peer.streams.insert(stream, Incoming::Subgroup(feed));
                }
            }
            Some(Incoming::Fill(fetch)) => {
                peer.streams.insert(stream, Incoming::Fill(fetch));
                let track = self.fetches.get(fetch).map(Fetch::track);
                self.serve(cx, fetch);
                if let Some(track) = track {
                    self.serve_waiting(cx, track);
                }
            }
            None => {}
        }
    }

    /// Reads what has come in on a stream. Whether that was all of it.
    fn read<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        stream: StreamKey,
        feed: &mut Feed,
    ) -> bool {
        loop {
            let mut batch = Batch::new();
            cx.connections.with(connection, |moqt| {
                while batch.len() < BATCH {
                    let read = moqt.read(stream, usize::MAX);
                    let is_last = !matches!(read, Read::Object(_) | Read::Payload(_));
                    batch.push(read);
                    if is_last {
                        break;
                    }
                }
            });
            if batch.is_empty() {
                batch.push(Read::Gone);
            }
            let mut batch = batch.into_iter();
            while let Some(read) = batch.next() {
                let next = match read {
                    Read::Object(header) => {
                        // Most objects come as a whole, and are handed on as such.
                        let whole = whole(header.payload_len, &mut batch);
                        self.object_in(cx, feed, &header, whole)
                    }
                    Read::Payload(payload) => {
                        let payload = gathered(payload, &mut batch);
                        self.payload_in(cx, feed, &payload)
                    }
                    Read::Pending => Next::Later,
                    Read::Finished => self.feed_ends(cx, feed, Some(SubgroupEnd::Finished)),
                    Read::Reset(code) => self.feed_ends(cx, feed, Some(SubgroupEnd::Reset(code))),
                    _ => {
                        let end = SubgroupEnd::Reset(StreamResetCode::Cancelled);
                        self.feed_ends(cx, feed, Some(end))
                    }
                };
                match next {
                    Next::More => {}
                    Next::Later => return false,
                    Next::Over => {
                        let code = StreamResetCode::Cancelled;
                        // It means nothing if the stream is over by itself.
                        cx.connections.with(connection, |moqt| moqt.stop(stream, code));
                        return true;
                    }
                }
            }
        }
    }

    /// An object begins, with its payload if that is at hand as a whole.
    fn object_in<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        feed: &mut Feed,
        header: &ObjectHeader,
        whole: Option<Bytes>,
    ) -> Next {
        let Some(key) = self.feed_key(feed, header) else {
            self.contradicted(cx, feed.track, feed.node);
            return Next::Over;
        };
        let now = cx.now;
        let Some((track, mut io)) = self.outlet(cx, feed.track) else { return Next::Over };
        let id = header.object_id;
        let location = Some(Location::new(key.group, id));
        track.note_largest(location);
        track.received = track.received.max(location);
        let begun = track.store.begin(now, key, header);
        if let Begun::Contradiction(_) = begun {
            self.contradicted(cx, feed.track, feed.node);
            return Next::Over;
        }
        let after = feed.gives_all_after(track, key, id);
        let after = match feed.object {
            Some(_) => after,
            None => track.store.nothing_before(key, after),
        };
        let is_dropped = matches!(begun, Begun::Absent);
        let was_last = track.live.get(&key).and_then(|live| live.last);
        let may_go =
            feed.id.is_some_and(|it| track.advance(now, key, (it, feed.node), (after, id)));
        let leads = may_go && was_last < Some(id);
        let is_first = feed.at.is_none();
        feed.at = Some(id);
        feed.object = Some(InObject { id, offset: 0, is_dropped, leads });
        if is_dropped {
            if leads {
                track.release(&mut io, key);
            }
            return self.schedule_held(cx, feed, key);
        }
        if feed.node.is_local() {
            let number = feed.number;
            let first_object = feed.facts.first_object && is_first;
            let facts = SubgroupFacts { first_object, ..feed.facts };
            track.ship(&mut io, |track| {
                let (header, payload) = (header.clone(), whole.clone());
                What::Object { track, key, feed: number, after, facts, header, payload }
            });
        }
        if matches!(begun, Begun::Known { .. }) {
            io.stats.duplicates += 1;
            if leads {
                // It came by a fetch before, or was held back: subscribers have not had it.
                track.deliver(&mut io, key, Piece::Held(header));
                track.finish(&mut io, key);
            }
        } else {
            io.stats.objects_in += 1;
            if let Some(payload) = &whole {
                let len = payload.len() as u64;
                io.stats.bytes_in += len;
                feed.object = Some(InObject { id, offset: len, is_dropped, leads });
                // Of an object without payload nothing is new.
                let is_kept = track.store.payload(key, id, 0, payload.clone());
                if len > 0 && !matches!(is_kept, Ok(Some(_))) {
                    return Next::More;
                }
            }
            if leads {
                track.deliver(&mut io, key, Piece::Object(header, whole.as_ref()));
                track.finish(&mut io, key);
            }
            return self.schedule_held(cx, feed, key);
        }
        match whole {
            Some(payload) => self.payload_known(cx, feed, &payload),
            None => self.schedule_held(cx, feed, key),
        }
    }

    /// Looks after what is held back in time.
    fn schedule_held<C>(&mut self, cx: &Cx<'_, C>, feed: &Feed, key: SubgroupKey) -> Next {
        let live = self.tracks.get(feed.track).and_then(|track| track.live.get(&key));
        if live.is_some_and(|live| live.held_since == Some(cx.now)) {
            let at = cx.now.saturating_add(self.config.takeover);
            self.schedule(at, Due::Track(feed.track));
        }
        Next::More
    }

    /// Payload of the object begun last.
    fn payload_in<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        feed: &mut Feed,
        payload: &Bytes,
    ) -> Next {
        let (Some(key), Some(object)) = (feed.key, feed.object) else { return Next::More };
        if feed.node.is_local()
            && !object.is_dropped
            && let Some((track, mut io)) = self.outlet(cx, feed.track)
        {
            let (number, offset) = (feed.number, object.offset);
            track.ship(&mut io, |track| {
                let payload = payload.clone();
                What::Payload { track, key, feed: number, object: object.id, offset, payload }
            });
        }
        self.payload_known(cx, feed, payload)
    }

    /// So, of which other shards know.
    fn payload_known<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        feed: &mut Feed,
        payload: &Bytes,
    ) -> Next {
        let (Some(key), Some(object)) = (feed.key, feed.object.as_mut()) else { return Next::More };
        let offset = object.offset;
        object.offset = offset.saturating_add(payload.len() as u64);
        if object.is_dropped {
            return Next::More;
        }
        let (id, leads) = (object.id, object.leads);
        let end = object.offset;
        let Some((track, mut io)) = self.outlet(cx, feed.track) else { return Next::Over };
        match track.store.payload(key, id, offset, payload.clone()) {
            Ok(new) if leads => {
                io.stats.bytes_in += new.map_or(0, |new| new.len() as u64);
                track.deliver(&mut io, key, Piece::Payload(id, offset, payload));
                Next::More
            }
            Ok(Some(new)) => {
                let len = new.len() as u64;
                io.stats.bytes_in += len;
                let at = end.saturating_sub(len);
                track.deliver(&mut io, key, Piece::Payload(id, at, &new));
                Next::More
            }
            Ok(None) => Next::More,
            Err(_) => {
                self.contradicted(cx, feed.track, feed.node);
                Next::Over
            }
        }
    }

    /// A feed has ended; it is lost if it does not say how.
    fn feed_ends<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        feed: &mut Feed,
        end: Option<SubgroupEnd>,
    ) -> Next {
        let (Some(key), object) = (feed.key.take(), feed.object.take()) else { return Next::Over };
        let takeover = self.config.takeover;
        let Some((track, mut io)) = self.outlet(cx, feed.track) else { return Next::Over };
        // While somebody else gives it, or may do so soon, the end of one is not its end.
        let is_other = |source: &&Source| source.node != feed.node;
        let mut others = track.sources.iter().filter(is_other);
        let is_finished = end == Some(SubgroupEnd::Finished);
        if feed.node.is_local() {
            let is_alone = !others.clone().any(|source| source.node.is_local());
            let end = end.filter(|_| is_finished || is_alone);
            let number = feed.number;
            track.ship(&mut io, |track| What::End { track, key, feed: number, end });
        }
        let has_others = others.next().is_some() || track.orphaned.is_some();
        let Some(live) = track.live.get_mut(&key) else {
            // It was given up before.
            if let Some(object) = object {
                track.store.abandon(key, object.id);
            }
            return Next::Over;
        };
        let is_held = feed.id.is_some_and(|id| live.leave(id, is_finished));
        let is_passed = live.is_fed() && !live.is_holding();
        if let Some(object) = object.filter(|_| !is_finished) {
            if is_passed && !live.may_give(object.id) {
                live.note_gap(object.id);
                track.store.abandon(key, object.id);
            } else {
                live.broken.push(object.id);
            }
        }
        let is_end = is_finished && !is_held || end.is_some() && !live.is_fed() && !has_others;
        let mut contradiction = None;
        if is_end && live.end.is_none() {
            while live.is_holding() {
                live.skip();
            }
            live.end = live.end.or(end);
            if let Some(end) = live.end {
                contradiction = track.store.end(key, end);
            }
        }
        if live.end.is_some() {
            if !live.is_fed() {
                for object in core::mem::take(&mut live.broken) {
                    track.store.abandon(key, object);
                }
            }
            track.release(&mut io, key);
        } else if !live.is_fed() {
            live.lost_since = Some(io.now);
            let at = cx.now.saturating_add(takeover);
            self.schedule(at, Due::Track(feed.track));
        }
        self.settle(cx, feed.track, key);
        if contradiction.is_some() {
            self.contradicted(cx, feed.track, feed.node);
        } else if let Some(track) = self.tracks.get_mut(feed.track) {
            track.sweep_live();
        }
        Next::Over
    }

    /// Hands on what was held back, if what is missing before it cannot come any more.
    fn settle<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId, key: SubgroupKey) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        while let Some(live) = track.live.get(&key)
            && live.is_holding()
            && !track.may_come(key, live)
        {
            track.skip(&mut io, key);
        }
    }

    /// So in all subgroups of a track, one of whose publishers has gone or that was recovered.
    pub(super) fn settle_all<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Some(track) = self.tracks.get(id) else { return };
        let held = track.live.iter().filter(|(_, live)| live.is_holding()).map(|(key, _)| *key);
        for key in held.collect::<Vec<_>>() {
            self.settle(cx, id, key);
        }
    }

    /// Which subgroup a feed gives, and a place for it.
    fn feed_key(&mut self, feed: &mut Feed, header: &ObjectHeader) -> Option<SubgroupKey> {
        if let Some(key) = feed.key {
            return Some(key);
        }
        let subgroup = feed.subgroup.unwrap_or(header.object_id);
        let key = SubgroupKey { group: feed.group, subgroup };
        let track = self.tracks.get_mut(feed.track)?;
        if !feed.says_first_object {
            let after = feed.gives_all_after(track, key, header.object_id);
            // What was published before may have been of other subgroups.
            feed.facts.first_object = track.store.nothing_before(key, after).is_none();
        }
        let facts = feed.facts;
        track.store.open(key, facts).ok()?;
        feed.id = track.enter(key, facts).map(Live::join);
        feed.key = Some(key);
        Some(key)
    }

    /// A publisher contradicts what is known of a track.
    fn contradicted<C: Connections>(&mut self, cx: &mut Cx<'_, C>, track: TrackId, node: Node) {
        if let Node::Session(connection, request) = node {
            self.forget_request(connection, request);
            let code = StreamResetCode::MalformedTrack;
            cx.connections.with(connection, |moqt| moqt.cancel(cx.now, request, code));
        }
        self.malformed(cx, track, Some(node));
    }

    /// Something comes from another shard.
    pub(super) fn piece_in<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (track, shard, key, number): (TrackId, ShardId, SubgroupKey, u64),
        piece: Shipped,
    ) {
        let at = (track, shard, key, number);
        let node = Node::Shard(shard, track);
        let feed = self.feeds.remove(&at);
        if self.tracks.get(track).is_none_or(|track| track.source(node).is_none()) {
            if let Some(mut feed) = feed {
                self.feed_ends(cx, &mut feed, None);
            }
            return;
        }
        let (feed, next) = match (feed, piece) {
            (feed, Shipped::Object(after, facts, header, payload)) => {
                let subgroup = (key.group, Some(key.subgroup));
                let new = || Feed::new(track, node, number, subgroup, facts);
                let mut feed = feed.unwrap_or_else(new);
                feed.at = after;
                let next = self.object_in(cx, &mut feed, &header, payload);
                (feed, next)
            }
            (Some(mut feed), Shipped::Payload(object, offset, payload)) => {
                // A shard that began to get the track in the middle of an object waits for the
                // next.
                let is_next = feed.object.is_some_and(|at| (at.id, at.offset) == (object, offset));
                let next =
                    if is_next { self.payload_in(cx, &mut feed, &payload) } else { Next::More };
                (feed, next)
            }
            (Some(mut feed), Shipped::End(end)) => {
                let next = self.feed_ends(cx, &mut feed, end);
                (feed, next)
            }
            (None, _) => return,
        };
        self.account(cx, track);
        self.serve_waiting(cx, track);
        if next == Next::More {
            self.feeds.insert(at, feed);
        }
    }

    /// Nothing more comes from another shard.
    pub(super) fn shard_feeds_end<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        track: TrackId,
        shard: ShardId,
    ) {
        let first = (track, shard, SubgroupKey::MIN, u64::MIN);
        let last = (track, shard, SubgroupKey::MAX, u64::MAX);
        let over = self.feeds.range(first..=last).map(|(at, _)| *at);
        for at in over.collect::<Vec<_>>() {
            if let Some(mut feed) = self.feeds.remove(&at) {
                self.feed_ends(cx, &mut feed, None);
            }
        }
    }

    /// A stream has gone with its session.
    pub(super) fn stream_lost<C: Connections>(&mut self, cx: &mut Cx<'_, C>, incoming: Incoming) {
        let Incoming::Subgroup(mut feed) = incoming else { return };
        // It stays open for as long as another publisher may go on with it.
        self.feed_ends(cx, &mut feed, None);
        self.account(cx, feed.track);
        self.serve_waiting(cx, feed.track);
    }

    /// Nothing more comes from a source that was cancelled.
    pub(super) fn streams_cancelled<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        node: Node,
    ) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        let is_of =
            |incoming: &Incoming| matches!(incoming, Incoming::Subgroup(feed) if feed.node == node);
        let keys = peer.streams.iter().filter(|(_, incoming)| is_of(incoming));
        let keys: Vec<StreamKey> = keys.map(|(key, _)| *key).collect();
        let mut feeds = Vec::new();
        for key in keys {
            if let Some(Incoming::Subgroup(feed)) = peer.streams.remove(&key) {
                feeds.push(feed);
            }
        }
        for mut feed in feeds {
            let code = StreamResetCode::Cancelled;
            self.feed_ends(cx, &mut feed, Some(SubgroupEnd::Reset(code)));
        }
    }

    pub(super) fn datagram<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        object: &ObjectDatagram,
    ) {
        if let Some(Purpose::Source(track)) = self.purpose(connection, request) {
            self.datagram_in(cx, track, Node::Session(connection, request), object);
        }
    }

    /// An object came in a datagram.
    pub(super) fn datagram_in<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        node: Node,
        object: &ObjectDatagram,
    ) {
        let now = cx.now;
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        track.note_largest(Some(object.header.location));
        track.received = track.received.max(Some(object.header.location));
        track.has_datagrams = true;
        let default = track.properties.default_publisher_priority();
        let priority = object.header.publisher_priority.unwrap_or(default);
        match track.store.datagram(now, object, priority) {
            Begun::Known { .. } if !track.store.is_first_datagram(object.header.location) => {
                io.stats.duplicates += 1;
            }
            Begun::New | Begun::Known { .. } => {
                io.stats.objects_in += 1;
                io.stats.bytes_in += object.payload.len() as u64;
                if node.is_local() {
                    let what = |track| What::Datagram { track, datagram: object.clone() };
                    track.ship(&mut io, what);
                }
                track.deliver_datagram(&mut io, object);
            }
            Begun::Absent => {}
            Begun::Contradiction(_) => self.contradicted(cx, id, node),
        }
        self.account(cx, id);
    }
}
