//! Objects on their way out: from the store of a track to each of its subscribers, each at its
//! own pace.
//!
//! What comes in is handed to every subscriber that is up to date as it is. One whose connection
//! takes no more is left behind, and goes on from the store when there is room: nobody waits for
//! it, and what it lacks is held once for all.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{Location, ObjectStatus, PublishDoneCode, StreamResetCode, SubgroupId};
use moqt_engine::wire::{ObjectDatagram, ObjectHeader};
use moqt_engine::{
    CommandError, DatagramOptions, DatagramOutcome, MoqtConnection, SubgroupOptions, Timestamp,
    Written,
};

use crate::connections::{Connections, ShardId};
use crate::live::{Cursor, Live, Out};
use crate::message::{Message, What};
use crate::stats::Stats;
use crate::store::{Object, Store, SubgroupEnd, SubgroupFacts, SubgroupKey};
use crate::track::{Node, Sink, Track, TrackId};

/// What it takes to send.
pub(crate) struct Outlet<'a, C> {
    pub(crate) now: Timestamp,
    pub(crate) connections: &'a mut C,
    pub(crate) id: ShardId,
    pub(crate) messages: &'a mut VecDeque<(Option<ShardId>, Message)>,
    pub(crate) stats: &'a mut Stats,
}

impl<C> Outlet<'_, C> {
    /// Ends a subscription.
    fn end(&mut self, node: Node, code: PublishDoneCode, reason: &str)
    where
        C: Connections,
    {
        match node {
            Node::Session(connection, request) => {
                self.connections.with(connection, |moqt| {
                    if let Some(publisher) = moqt.publisher(request) {
                        publisher.done(code, reason);
                    }
                });
            }
            Node::Shard(shard, track) => {
                self.ship(shard, What::Done { track, code, reason: reason.into() });
            }
        }
    }

    /// Tells another shard something.
    fn ship(&mut self, to: ShardId, what: What) {
        self.messages.push_back((Some(to), Message { from: self.id, what }));
    }
}

/// Something that has come in and is to be handed on.
#[derive(Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// An object begins, and its payload if that is at hand as a whole.
    Object(&'a ObjectHeader, Option<&'a Bytes>),
    /// An object begins that is in the store, in whole or in part.
    Held(&'a ObjectHeader),
    /// Payload of an object, from this offset on.
    Payload(u64, u64, &'a Bytes),
    /// No more comes.
    End,
}

/// How handing on went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    /// It is on its way.
    On,
    /// The connection takes no more for now.
    Blocked,
    /// The stream is of no use any more.
    Broken,
}

impl Track {
    /// Hands something on to all subscribers of this shard's. The store has it already, and nothing
    /// is missing before it.
    pub(crate) fn deliver<C: Connections>(
        &mut self,
        io: &mut Outlet<'_, C>,
        key: SubgroupKey,
        piece: Piece<'_>,
    ) {
        let Self { live, sinks, store, has_blocked, .. } = self;
        let Some(live) = live.get_mut(&key) else { return };
        let begins = matches!(piece, Piece::Object(..) | Piece::Held(_));
        let bound = if begins { live.reached } else { live.last };
        for (slot, sink) in sinks.iter_mut().enumerate() {
            let Some(sink) = sink else { continue };
            let Node::Session(connection, _) = sink.node else { continue };
            let out = live.out(slot);
            if matches!(out, Out::Over) || !begins && matches!(out, Out::Unopened | Out::Unwanted) {
                continue;
            }
            let Outlet { now, connections, stats, .. } = io;
            let way = Way { now: *now, key, store, live, bound };
            let was_blocked = sink.blocked_since.is_some();
            let next = connections.with(connection, |moqt| way.hand(moqt, sink, out, piece, stats));
            *has_blocked |= !was_blocked && sink.blocked_since.is_some();
            live.set_out(slot, next.unwrap_or(Out::Over));
        }
        if begins {
            live.last = live.reached;
        }
    }

    /// What is missing before what is held back does not come.
    pub(crate) fn skip<C: Connections>(&mut self, io: &mut Outlet<'_, C>, key: SubgroupKey) {
        let Some(live) = self.live.get_mut(&key) else { return };
        if let Some(at) = live.reached.filter(|at| !live.may_give(*at)) {
            self.store.abandon(key, at);
        }
        let missing = live.missing_up_to();
        let known = missing.filter(|_| self.store.nothing_before(key, missing) <= live.reached);
        match known {
            // A fetch has told that nothing is missing.
            Some(object) => {
                live.reach(object);
                self.ship(io, |track| What::Reached { track, key, object });
            }
            None => live.skip(),
        }
        self.release(io, key);
    }

    /// Hands on the end if it has come.
    pub(crate) fn finish<C: Connections>(&mut self, io: &mut Outlet<'_, C>, key: SubgroupKey) {
        if self.live.get(&key).is_some_and(|live| live.end.is_some() && !live.is_holding()) {
            self.deliver(io, key, Piece::End);
        }
    }

    /// Hands on what was held back and is so no longer, and the end if that has come.
    pub(crate) fn release<C: Connections>(&mut self, io: &mut Outlet<'_, C>, key: SubgroupKey) {
        let Some(live) = self.live.get_mut(&key) else { return };
        if live.last < live.reached {
            let next = self.store.after(key, live.last);
            let next = next.filter(|next| Some(next.header.object_id) <= live.reached);
            match next.map(|next| next.header.clone()) {
                Some(header) => self.deliver(io, key, Piece::Held(&header)),
                None => live.last = live.reached,
            }
        }
        self.finish(io, key);
    }

    /// Gives something that came in a session of this shard's to all other shards that want it.
    pub(crate) fn ship<C>(&self, io: &mut Outlet<'_, C>, what: impl Fn(TrackId) -> What) {
        for sink in self.sinks.iter().flatten() {
            if let Node::Shard(shard, track) = sink.node
                && sink.forward
            {
                io.ship(shard, what(track));
            }
        }
    }

    /// Goes on with what a subscriber did not take before.
    pub(crate) fn resume<C: Connections>(&mut self, io: &mut Outlet<'_, C>, slot: usize) {
        let Self { live, sinks, store, has_blocked, .. } = self;
        let Some(sink) = sinks.get_mut(slot).and_then(Option::as_mut) else { return };
        let Node::Session(connection, _) = sink.node else { return };
        sink.blocked_since = None;
        for (key, live) in &mut *live {
            let out = live.out(slot);
            if !out.is_behind() {
                continue;
            }
            let Outlet { now, connections, stats, .. } = io;
            let bound = live.last;
            let way = Way { now: *now, key: *key, store, live, bound };
            let next = connections.with(connection, |moqt| way.go_on(moqt, sink, out, stats));
            live.set_out(slot, next.unwrap_or(Out::Over));
            if sink.blocked_since.is_some() {
                *has_blocked = true;
                break;
            }
        }
        self.sweep_live();
    }

    /// No more comes of a subgroup that has not ended.
    pub(crate) fn give_up<C: Connections>(&mut self, io: &mut Outlet<'_, C>, key: SubgroupKey) {
        let end = SubgroupEnd::Reset(StreamResetCode::Cancelled);
        let Some(live) = self.live.get_mut(&key) else { return };
        live.leave_all();
        while live.is_holding() {
            live.skip();
        }
        self.release(io, key);
        let Some(live) = self.live.get_mut(&key) else { return };
        if live.end.is_none() {
            live.end = Some(end);
            for object in core::mem::take(&mut live.broken) {
                self.store.abandon(key, object);
            }
            self.store.end(key, end);
            self.deliver(io, key, Piece::End);
        }
    }

    /// A datagram came in, which the store has already.
    pub(crate) fn deliver_datagram<C: Connections>(
        &mut self,
        io: &mut Outlet<'_, C>,
        datagram: &ObjectDatagram,
    ) {
        // A subscriber may have been told of another default, or of none.
        let default = self.properties.default_publisher_priority();
        let priority = datagram.header.publisher_priority.unwrap_or(default);
        for sink in self.sinks.iter().flatten() {
            let Node::Session(connection, request) = sink.node else { continue };
            let options = DatagramOptions {
                location: datagram.header.location,
                publisher_priority: Some(priority),
                end_of_group: datagram.header.end_of_group,
                status: datagram.header.status,
                properties: datagram.header.properties.clone(),
            };
            let sent = io.connections.with(connection, |moqt| {
                let publisher = moqt.publisher(request)?.begun_at(io.now);
                Some({ publisher }.datagram(options, datagram.payload.clone()))
            });
            if let Some(Some(Ok(DatagramOutcome::Queued))) = sent {
                io.stats.objects_out += 1;
                io.stats.bytes_out += datagram.payload.len() as u64;
            }
        }
    }

    /// Ends a subscriber's subscription once it has everything that has come in.
    pub(crate) fn end_sink<C: Connections>(&mut self, io: &mut Outlet<'_, C>, slot: usize) -> bool {
        let is_behind = self.live.values().any(|live| live.out(slot).is_behind());
        let Some(Some(sink)) = self.sinks.get_mut(slot) else { return false };
        if is_behind {
            return false;
        }
        let Some((code, reason)) = sink.ending.take() else { return false };
        let node = sink.node;
        io.end(node, code, &reason);
        true
    }

    /// The subscribers that have been unable to take anything for so long that they have to go.
    pub(crate) fn too_far_behind(&self, now: Timestamp, limit: Duration) -> Vec<usize> {
        let is_late = |sink: &Sink| {
            sink.blocked_since.is_some_and(|blocked| now.saturating_since(blocked) >= limit)
        };
        let slots = self.sinks.iter().enumerate();
        slots.filter(|(_, sink)| sink.as_ref().is_some_and(is_late)).map(|(slot, _)| slot).collect()
    }

    /// Ends a subscription at once, whatever was still to come.
    pub(crate) fn drop_sink<C: Connections>(
        &mut self,
        io: &mut Outlet<'_, C>,
        slot: usize,
        code: PublishDoneCode,
        reason: &str,
    ) {
        let Some(Some(sink)) = self.sinks.get(slot) else { return };
        io.end(sink.node, code, reason);
        self.remove_sink(slot);
    }
}

/// One subgroup, on its way to one subscriber.
struct Way<'a> {
    now: Timestamp,
    key: SubgroupKey,
    store: &'a Store,
    live: &'a Live,
    /// The last object that has begun to come in. The store may have later ones, by FETCH, and
    /// lack some before those.
    bound: Option<u64>,
}

impl Way<'_> {
    /// Hands on what came in, if the subscriber has everything before it.
    fn hand(
        &self,
        moqt: &mut MoqtConnection,
        sink: &mut Sink,
        out: Out,
        piece: Piece<'_>,
        stats: &mut Stats,
    ) -> Out {
        let mut cursor = match (out, piece) {
            (Out::Over, _) => return Out::Over,
            (Out::Open(cursor), _) if !cursor.is_behind => cursor,
            (Out::Open(_) | Out::Waiting(_), _) if sink.blocked_since.is_some() => return out,
            (Out::Open(_) | Out::Waiting(_), _) => return self.go_on(moqt, sink, out, stats),
            (Out::Unwanted, Piece::Object(header, _) | Piece::Held(header)) => {
                self.note_published(moqt, sink, header.object_id);
                return out;
            }
            (Out::Unopened, Piece::Object(header, _) | Piece::Held(header)) => {
                match self.open(moqt, sink, self.live.last, header.object_id) {
                    Out::Open(cursor) => cursor,
                    out => return out,
                }
            }
            (Out::Unopened | Out::Unwanted, _) => return out,
        };
        let went = match piece {
            Piece::Object(header, payload) => {
                if cursor.last >= Some(header.object_id) {
                    return Out::Open(cursor);
                }
                let is_torn = cursor.is_torn(self.live, header.object_id);
                if cursor.left > 0 || cursor.last < self.live.last || is_torn {
                    return self.catch_up(moqt, sink, cursor, stats);
                }
                begin(moqt, &mut cursor, header, payload, self.now, stats)
            }
            Piece::Payload(object, offset, bytes) => {
                if cursor.last != Some(object) || cursor.left == 0 {
                    return Out::Open(cursor);
                }
                let Some(skip) = cursor.written.checked_sub(offset) else {
                    return self.catch_up(moqt, sink, cursor, stats);
                };
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                if skip >= bytes.len() {
                    return Out::Open(cursor);
                }
                payload(moqt, &mut cursor, &bytes.slice(skip..), stats)
            }
            // The store may have forgotten what this subscriber has.
            Piece::End if cursor.left == 0 && cursor.last >= self.live.last => {
                return self.finish(moqt, cursor);
            }
            Piece::Held(_) | Piece::End => return self.catch_up(moqt, sink, cursor, stats),
        };
        match self.after(sink, cursor, went) {
            // Others have begun meanwhile.
            Out::Open(cursor)
                if !cursor.is_behind && cursor.left == 0 && cursor.last < self.bound =>
            {
                self.catch_up(moqt, sink, cursor, stats)
            }
            out => out,
        }
    }

    /// Goes on with what was left behind.
    fn go_on(
        &self,
        moqt: &mut MoqtConnection,
        sink: &mut Sink,
        out: Out,
        stats: &mut Stats,
    ) -> Out {
        match out {
            Out::Open(cursor) => self.catch_up(moqt, sink, cursor, stats),
            Out::Waiting(after) => {
                if self.store.has_lost(self.key, after) {
                    stats.subgroups_given_up += 1;
                    return Out::Over;
                }
                let Some(next) = self.next(after) else {
                    return if self.live.end.is_some() { Out::Over } else { out };
                };
                match self.open(moqt, sink, after, next.header.object_id) {
                    Out::Open(cursor) => self.catch_up(moqt, sink, cursor, stats),
                    out => out,
                }
            }
            Out::Unopened | Out::Unwanted | Out::Over => out,
        }
    }

    /// Goes on from the store, as far as that goes.
    fn catch_up(
        &self,
        moqt: &mut MoqtConnection,
        sink: &mut Sink,
        mut cursor: Cursor,
        stats: &mut Stats,
    ) -> Out {
        if self.store.has_lost(self.key, cursor.last) {
            return self.give_up(moqt, cursor, stats);
        }
        loop {
            let went = if cursor.left > 0 {
                let object = cursor.last.and_then(|last| self.store.object(self.key, last));
                let Some(object) = object else {
                    // The rest of it does not come; what is after it may.
                    self.give_up(moqt, cursor, stats);
                    return self.go_on(moqt, sink, Out::Waiting(cursor.last), stats);
                };
                let Some(rest) = object.rest(cursor.written) else {
                    // The rest has not come in yet.
                    cursor.is_behind = false;
                    return Out::Open(cursor);
                };
                payload(moqt, &mut cursor, &rest, stats)
            } else {
                let Some(object) = self.next(cursor.last) else {
                    return self.finish(moqt, cursor);
                };
                if cursor.is_torn(self.live, object.header.object_id) {
                    // It may not be the next object of the subgroup, and takes another stream.
                    self.give_up(moqt, cursor, stats);
                    return self.go_on(moqt, sink, Out::Waiting(cursor.last), stats);
                }
                let whole = object.is_complete().then(|| object.pieces.first()).flatten();
                let whole = whole.filter(|piece| piece.len() as u64 == object.received);
                begin(moqt, &mut cursor, &object.header, whole, object.arrived, stats)
            };
            match self.after(sink, cursor, went) {
                Out::Open(next) if !next.is_behind => cursor = next,
                out => return out,
            }
        }
    }

    /// The first object after this one that has begun to come in.
    fn next(&self, after: Option<u64>) -> Option<&Object> {
        let next = self.store.after(self.key, after)?;
        (Some(next.header.object_id) <= self.bound).then_some(next)
    }

    /// Opens the stream for what comes after `last`, if the subscriber wants anything of the
    /// subgroup.
    fn open(
        &self,
        moqt: &mut MoqtConnection,
        sink: &mut Sink,
        last: Option<u64>,
        object_id: u64,
    ) -> Out {
        let Node::Session(_, request) = sink.node else { return Out::Over };
        let SubgroupFacts { publisher_priority, end_of_group, first_object, has_properties } =
            self.live.facts;
        let Some(mut publisher) = moqt.publisher(request) else { return Out::Over };
        let options = SubgroupOptions {
            group_id: self.key.group,
            subgroup_id: SubgroupId::Explicit(self.key.subgroup),
            // It is a byte to say, and there are peers that do not know how to do without.
            publisher_priority: Some(publisher_priority),
            end_of_group,
            first_object: first_object && last.is_none(),
            has_properties,
        };
        match publisher.open_subgroup(options) {
            Ok(Some(stream)) => {
                let (is_behind, has_begun) = (false, false);
                Out::Open(Cursor { stream, last, written: 0, left: 0, is_behind, has_begun })
            }
            Ok(None) => {
                self.note_published(moqt, sink, object_id);
                Out::Unwanted
            }
            Err(CommandError::Blocked(_)) => {
                sink.blocked_since = sink.blocked_since.or(Some(self.now));
                Out::Waiting(last)
            }
            Err(_) => Out::Over,
        }
    }

    /// Tells the connection of an object that its subscriber does not want.
    fn note_published(&self, moqt: &mut MoqtConnection, sink: &Sink, object_id: u64) {
        let Node::Session(_, request) = sink.node else { return };
        if let Some(mut publisher) = moqt.publisher(request) {
            // It fails if the draft cannot say the location.
            let _ = publisher.note_published(Location::new(self.key.group, object_id));
        }
    }

    /// Everything that came in is on its way.
    fn finish(&self, moqt: &mut MoqtConnection, mut cursor: Cursor) -> Out {
        cursor.is_behind = false;
        let Some(end) = self.live.end else { return Out::Open(cursor) };
        let Some(subgroup) = moqt.subgroup(cursor.stream) else { return Out::Over };
        match end {
            // It fails if the subscription is over.
            SubgroupEnd::Finished => drop(subgroup.finish()),
            SubgroupEnd::Reset(code) => subgroup.reset(code),
        }
        Out::Over
    }

    /// What comes next is not there any more.
    fn give_up(&self, moqt: &mut MoqtConnection, cursor: Cursor, stats: &mut Stats) -> Out {
        let code = match self.live.end {
            Some(SubgroupEnd::Reset(code)) => code,
            _ if self.store.has_lost(self.key, cursor.last) => StreamResetCode::TooFarBehind,
            _ => StreamResetCode::Cancelled,
        };
        if let Some(subgroup) = moqt.subgroup(cursor.stream) {
            subgroup.reset(code);
            stats.subgroups_given_up += 1;
        }
        Out::Over
    }

    fn after(&self, sink: &mut Sink, mut cursor: Cursor, went: Went) -> Out {
        match went {
            Went::On => {
                cursor.is_behind = false;
                Out::Open(cursor)
            }
            Went::Blocked => {
                sink.blocked_since = sink.blocked_since.or(Some(self.now));
                cursor.is_behind = true;
                Out::Open(cursor)
            }
            Went::Broken => Out::Over,
        }
    }
}

/// Hands on payload of the object begun last.
fn payload(
    moqt: &mut MoqtConnection,
    cursor: &mut Cursor,
    bytes: &Bytes,
    stats: &mut Stats,
) -> Went {
    let Some(mut subgroup) = moqt.subgroup(cursor.stream) else { return Went::Broken };
    let len = bytes.len() as u64;
    match subgroup.payload(bytes.clone()) {
        Ok(()) => {
            stats.bytes_out += len;
            cursor.written = cursor.written.saturating_add(len);
            cursor.left = cursor.left.saturating_sub(len);
            Went::On
        }
        Err(CommandError::Blocked(_)) => Went::Blocked,
        Err(_) => Went::Broken,
    }
}

/// Begins an object, with its payload if that is whole.
fn begin(
    moqt: &mut MoqtConnection,
    cursor: &mut Cursor,
    header: &ObjectHeader,
    payload: Option<&Bytes>,
    arrived: Timestamp,
    stats: &mut Stats,
) -> Went {
    let Some(subgroup) = moqt.subgroup(cursor.stream) else { return Went::Broken };
    let mut subgroup = subgroup.begun_at(arrived);
    let written = match payload {
        Some(payload) => subgroup.object(header, payload.clone()),
        None => subgroup.begin_object(header),
    };
    match written {
        Ok(written) => {
            cursor.last = Some(header.object_id);
            cursor.has_begun = true;
            cursor.written = 0;
            cursor.left = if payload.is_some() { 0 } else { header.payload_len };
            if written == Written::Queued {
                stats.objects_out += 1;
                stats.bytes_out += payload.map_or(0, |payload| payload.len() as u64);
            }
            Went::On
        }
        Err(CommandError::Blocked(_)) => Went::Blocked,
        // Only draft 14 can say this of an object; elsewhere its absence goes without saying.
        Err(_) if header.status == ObjectStatus::DoesNotExist => {
            cursor.last = Some(header.object_id);
            Went::On
        }
        Err(_) => {
            subgroup.reset(StreamResetCode::InternalError);
            Went::Broken
        }
    }
}
