//! Objects on their way in: from publishers to the store of their track, and on from there.

use alloc::vec::Vec;

use bytes::Bytes;
use moqt_engine::model::{Location, StreamResetCode, SubgroupId};
use moqt_engine::wire::{ObjectDatagram, ObjectHeader};
use moqt_engine::{Read, RequestKey, StreamKey, SubgroupInfo};
use smallvec::SmallVec;
use thunderdome::Index;

use super::peer::Purpose;
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, ShardId};
use crate::fanout::Piece;
use crate::store::{Begun, SubgroupEnd, SubgroupFacts, SubgroupKey};
use crate::track::{Live, Node, TrackId};

/// How many things are read from a stream before they are dealt with.
const BATCH: usize = 32;

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
    group: u64,
    /// The first object's ID if it is not known.
    subgroup: Option<u64>,
    facts: SubgroupFacts,
    /// Which subgroup it is, once there is a place for it.
    key: Option<SubgroupKey>,
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
    Object(SubgroupFacts, ObjectHeader, Option<Bytes>),
    Payload(u64, u64, Bytes),
    End(SubgroupEnd),
}

/// Whether to go on with a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    More,
    Later,
    Over,
}

impl Feed {
    pub(super) fn track(&self) -> TrackId {
        self.track
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
        let feed = Feed { track, node, group, subgroup, facts, key: None, object: None };
        if let Some(peer) = self.peers.get_mut(&connection) {
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
                self.serve(cx, fetch);
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
            let mut batch = SmallVec::<[Read; BATCH]>::new();
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
            let mut batch = batch.into_iter().peekable();
            while let Some(read) = batch.next() {
                let next = match read {
                    Read::Object(header) => {
                        // Most objects come as a whole, and are handed on as such.
                        let is_whole = |read: &Read| matches!(read, Read::Payload(payload) if payload.len() as u64 == header.payload_len);
                        let whole = match batch.next_if(is_whole) {
                            Some(Read::Payload(payload)) => Some(payload),
                            _ => None,
                        };
                        self.object_in(cx, feed, &header, whole)
                    }
                    Read::Payload(payload) => self.payload_in(cx, feed, &payload),
                    Read::Pending => Next::Later,
                    Read::Finished => self.feed_ends(cx, feed, SubgroupEnd::Finished),
                    Read::Reset(code) => self.feed_ends(cx, feed, SubgroupEnd::Reset(code)),
                    _ => self.feed_ends(cx, feed, SubgroupEnd::Reset(StreamResetCode::Cancelled)),
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
        let location = Some(Location::new(key.group, header.object_id));
        track.note_largest(location);
        track.received = track.received.max(location);
        let begun = track.store.begin(now, key, header);
        let leads = track.live.get(&key).is_some_and(|live| live.last < Some(header.object_id));
        let object = InObject { id: header.object_id, offset: 0, is_dropped: false, leads };
        feed.object = Some(object);
        match begun {
            Begun::New => {
                io.stats.objects_in += 1;
                io.stats.bytes_in += whole.as_ref().map_or(0, |whole| whole.len() as u64);
                if let Some(payload) = &whole {
                    feed.object = Some(InObject { offset: payload.len() as u64, ..object });
                    if !matches!(
                        track.store.payload(key, header.object_id, 0, payload.clone()),
                        Ok(Some(_))
                    ) {
                        return Next::More;
                    }
                }
                let is_local = feed.node.is_local();
                track.deliver(&mut io, key, Piece::Object(header, whole.as_ref()), is_local);
                Next::More
            }
            Begun::Known { .. } => {
                io.stats.duplicates += 1;
                if leads {
                    // It came by a fetch before: subscribers have not had it.
                    track.deliver(&mut io, key, Piece::Held(header), feed.node.is_local());
                }
                match whole {
                    Some(payload) => self.payload_in(cx, feed, &payload),
                    None => Next::More,
                }
            }
            Begun::Absent => {
                feed.object = Some(InObject { is_dropped: true, ..object });
                Next::More
            }
            Begun::Contradiction(_) => {
                self.contradicted(cx, feed.track, feed.node);
                Next::Over
            }
        }
    }

    /// Payload of the object begun last.
    fn payload_in<C: Connections>(
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
                let piece = Piece::Payload(id, offset, payload);
                track.deliver(&mut io, key, piece, feed.node.is_local());
                Next::More
            }
            Ok(Some(new)) => {
                let len = new.len() as u64;
                io.stats.bytes_in += len;
                let at = end.saturating_sub(len);
                track.deliver(&mut io, key, Piece::Payload(id, at, &new), feed.node.is_local());
                Next::More
            }
            Ok(None) => Next::More,
            Err(_) => {
                self.contradicted(cx, feed.track, feed.node);
                Next::Over
            }
        }
    }

    /// A feed has ended.
    fn feed_ends<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        feed: &mut Feed,
        end: SubgroupEnd,
    ) -> Next {
        let (key, object) = (feed.key.take(), feed.object.take());
        let Some(key) = key else { return Next::Over };
        self.feed_gone(cx, feed.track, key);
        let Some((track, mut io)) = self.outlet(cx, feed.track) else { return Next::Over };
        let Some(live) = track.live.get_mut(&key) else { return Next::Over };
        // While somebody else gives it, or may do so soon, the end of one is not its end.
        let others = track.sources.iter().any(|source| source.node != feed.node);
        let is_end = matches!(end, SubgroupEnd::Finished)
            || live.feeds == 0 && !others && track.orphaned.is_none();
        if live.end.is_none() && is_end {
            live.end = Some(end);
            if let (SubgroupEnd::Reset(_), Some(object)) = (end, object) {
                track.store.abandon(key, object.id);
            }
            let contradiction = track.store.end(key, end);
            track.deliver(&mut io, key, Piece::End, feed.node.is_local());
            if contradiction.is_some() {
                self.contradicted(cx, feed.track, feed.node);
                return Next::Over;
            }
        }
        if let Some(track) = self.tracks.get_mut(feed.track) {
            track.sweep_live();
        }
        Next::Over
    }

    /// A feed gives nothing more of a subgroup. If no other does, it is given up after a while.
    fn feed_gone<C>(&mut self, cx: &Cx<'_, C>, id: TrackId, key: SubgroupKey) {
        let live = self.tracks.get_mut(id).and_then(|track| track.live.get_mut(&key));
        let Some(live) = live else { return };
        live.feeds = live.feeds.saturating_sub(1);
        if live.feeds == 0 && live.end.is_none() {
            live.lost_since = Some(cx.now);
            let at = cx.now.saturating_add(self.config.takeover);
            self.schedule(at, Due::Track(id));
        }
    }

    /// Which subgroup a feed gives, and a place for it.
    fn feed_key(&mut self, feed: &mut Feed, header: &ObjectHeader) -> Option<SubgroupKey> {
        if let Some(key) = feed.key {
            return Some(key);
        }
        let facts = feed.facts;
        let subgroup = feed.subgroup.unwrap_or(header.object_id);
        let key = SubgroupKey { group: feed.group, subgroup };
        let track = self.tracks.get_mut(feed.track)?;
        track.store.open(key, facts).ok()?;
        let live = track.live.entry(key).or_insert_with(|| Live::new(facts));
        if matches!(live.end, Some(SubgroupEnd::Reset(_))) {
            // Another publisher gives what one has given up.
            live.end = None;
            live.reopen();
        }
        live.feeds += 1;
        live.lost_since = None;
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
        (track, shard, key): (TrackId, ShardId, SubgroupKey),
        piece: Shipped,
    ) {
        let at = (track, shard, key);
        let node = Node::Shard(shard, track);
        if self.tracks.get(track).is_none_or(|track| track.source(node).is_none()) {
            self.feeds.remove(&at);
            return;
        }
        let feed = self.feeds.remove(&at);
        let (feed, next) = match (feed, piece) {
            (feed, Shipped::Object(facts, header, payload)) => {
                let mut feed = feed.unwrap_or(Feed {
                    track,
                    node,
                    group: key.group,
                    subgroup: Some(key.subgroup),
                    facts,
                    key: None,
                    object: None,
                });
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
        let all = |key| (track, shard, key);
        let (first, last) = (all(SubgroupKey::MIN), all(SubgroupKey::MAX));
        let over = self.feeds.range(first..=last).map(|(at, _)| *at);
        for at in over.collect::<Vec<_>>() {
            if let Some(mut feed) = self.feeds.remove(&at) {
                let end = SubgroupEnd::Reset(StreamResetCode::Cancelled);
                self.feed_ends(cx, &mut feed, end);
            }
        }
    }

    /// A stream has gone with its session.
    pub(super) fn stream_lost<C: Connections>(&mut self, cx: &mut Cx<'_, C>, incoming: Incoming) {
        let Incoming::Subgroup(feed) = incoming else { return };
        // It stays open for as long as another publisher may go on with it.
        if let Some(key) = feed.key {
            self.feed_gone(cx, feed.track, key);
        }
        if let Some(track) = self.tracks.get_mut(feed.track) {
            track.sweep_live();
        }
        self.account(cx, feed.track);
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
            self.feed_ends(cx, &mut feed, SubgroupEnd::Reset(code));
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
            Begun::New => {
                io.stats.objects_in += 1;
                io.stats.bytes_in += object.payload.len() as u64;
                track.deliver_datagram(&mut io, object, node.is_local());
            }
            Begun::Known { .. } => io.stats.duplicates += 1,
            Begun::Absent => {}
            Begun::Contradiction(_) => self.contradicted(cx, id, node),
        }
        self.account(cx, id);
    }
}
