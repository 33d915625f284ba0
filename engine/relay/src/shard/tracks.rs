//! Tracks as wholes: how they begin, how they end, and what they are allowed to hold.

use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;

use moqt_engine::Refusal;
use moqt_engine::model::{FullTrackName, PublishDoneCode, RequestErrorCode, StreamResetCode};

use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::Connections;
use crate::live::Live;
use crate::message::What;
use crate::store::SubgroupKey;
use crate::track::{Node, Track, TrackId};

impl<A: Authorize> Shard<A> {
    /// The track of this name, made if there is none; `None` if there are too many.
    pub(super) fn track(&mut self, name: FullTrackName) -> Option<TrackId> {
        if let Some(id) = self.names.get(&name) {
            return Some(*id);
        }
        if self.tracks.len() >= self.config.tracks {
            // One that nobody publishes or wants is only remembered.
            let is_idle = |track: &Track| track.sources.is_empty() && !track.is_wanted();
            let idle = self.tracks.iter().find(|(_, track)| is_idle(track)).map(|(id, _)| id)?;
            self.forget_track(idle);
        }
        let id = self.tracks.insert(Track::new(name.clone(), &self.config));
        self.names.insert(name, id);
        Some(id)
    }

    /// Something has changed in a track: it may be idle now, or nothing at all.
    pub(super) fn track_changed<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        if track.is_wanted() {
            track.idle_since = None;
            return;
        }
        if !track.sources.is_empty() {
            let since = *track.idle_since.get_or_insert(cx.now);
            let at = since.saturating_add(self.config.linger);
            return self.schedule(at, Due::Track(id));
        }
        track.orphaned = None;
        if track.store.objects() > 0 {
            if let Some(at) = track.store.next_expiry() {
                self.schedule(at, Due::Track(id));
            }
        } else if !self.is_used(id) {
            self.forget_track(id);
        }
    }

    /// Whether a fetch or a query needs the track.
    fn is_used(&self, id: TrackId) -> bool {
        self.fetches.iter().any(|(_, fetch)| fetch.track() == id)
            || self.queries.iter().any(|(_, query)| query.track() == id)
    }

    fn forget_track(&mut self, id: TrackId) {
        if let Some(track) = self.tracks.remove(id) {
            self.feeds.retain(|(of, ..), _| *of != id);
            self.held = self.held.saturating_sub(track.charged);
            self.names.remove(&track.name);
        }
    }

    /// Time has passed for a track.
    pub(super) fn track_due<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let now = cx.now;
        let Some(track) = self.tracks.get_mut(id) else { return };
        track.store.expire(now);
        track.expires = None;
        self.account(cx, id);
        self.give_up_lost(cx, id);
        self.drop_laggards(cx, id);
        let Some(track) = self.tracks.get_mut(id) else { return };
        let is_late =
            |until: Option<moqt_engine::Timestamp>| until.is_some_and(|until| until <= now);
        let (late, waiting): (Vec<_>, Vec<_>) = core::mem::take(&mut track.waiters)
            .into_iter()
            .partition(|waiter| is_late(waiter.until));
        track.waiters = waiting;
        let orphaned = match &track.orphaned {
            Some((until, ..)) if *until <= now => track.orphaned.take(),
            _ => None,
        };
        let linger = self.config.linger;
        let idle = track.idle_since.filter(|since| since.saturating_add(linger) <= now);
        let reason = "no publisher came in time".to_string();
        let refusal = Refusal { reason, ..Refusal::new(RequestErrorCode::Timeout) };
        self.refuse_waiters(cx, late, &refusal);
        if let Some((_, code, reason)) = orphaned {
            self.end_track(cx, id, code, &reason);
        }
        if idle.is_some() {
            self.release_sources(cx, id);
            if let Some(track) = self.tracks.get_mut(id)
                && !track.sources.is_empty()
            {
                // What is published without being wanted goes on like that.
                return;
            }
        }
        self.track_changed(cx, id);
    }

    /// Nobody publishes the track any more. Subscribers get what there is, and then hear of it.
    pub(super) fn end_track<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        code: PublishDoneCode,
        reason: &str,
    ) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        track.orphaned = None;
        let unfinished = track.live.iter().filter(|(_, live)| live.end.is_none());
        let unfinished: Vec<SubgroupKey> = unfinished.map(|(key, _)| *key).collect();
        for key in unfinished {
            track.give_up(&mut io, key);
        }
        track.sweep_live();
        for sink in track.sinks.iter_mut().flatten() {
            sink.ending = Some((code, reason.to_string()));
        }
        let waiters = core::mem::take(&mut track.waiters);
        for slot in 0..track.sinks.len() {
            self.end_sink(cx, id, slot);
        }
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        self.refuse_waiters(cx, waiters, &refusal);
        self.serve_waiting(cx, id);
        self.track_changed(cx, id);
    }

    /// A track is malformed: downstream it ends at once, and nothing of it is kept (draft-18,
    /// "Malformed Tracks"). `source` has been cancelled already.
    pub(super) fn malformed<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        source: Option<Node>,
    ) {
        self.stats.malformed_tracks += 1;
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        let name = track.name.clone();
        let sources = core::mem::take(&mut track.sources);
        let was_offered = sources.iter().any(|source| source.is_publish && source.node.is_local());
        let waiters = core::mem::take(&mut track.waiters);
        let mut over = Vec::new();
        for slot in 0..track.sinks.len() {
            over.extend(track.sinks.get(slot).and_then(Option::as_ref).map(|sink| sink.node));
            let reason = "an object of the track breaks the rules";
            track.drop_sink(&mut io, slot, PublishDoneCode::MalformedTrack, reason);
        }
        let largest = track.largest;
        track.clear();
        track.largest = largest;
        track.has_blocked = false;
        for node in over {
            if let Node::Session(connection, request) = node {
                self.forget_request(connection, request);
            }
        }
        for other in sources {
            let Node::Session(connection, request) = other.node else {
                if let Node::Shard(shard, theirs) = other.node {
                    let what = What::Malformed { name: name.clone(), track: theirs };
                    self.say(shard, what);
                    self.shard_feeds_end(cx, theirs, shard);
                }
                continue;
            };
            if Some(other.node) != source {
                self.forget_request(connection, request);
                let code = StreamResetCode::MalformedTrack;
                cx.connections.with(connection, |moqt| moqt.cancel(cx.now, request, code));
            }
            self.streams_cancelled(cx, connection, other.node);
        }
        if was_offered {
            self.tell_shards_of_offer(id);
        }
        self.refuse_waiters(cx, waiters, &Refusal::new(RequestErrorCode::MalformedTrack));
        self.fetches_of(id).into_iter().for_each(|fetch| {
            self.fetch_over(cx, fetch, StreamResetCode::MalformedTrack);
        });
        self.track_changed(cx, id);
    }

    /// Counts what a track holds, and keeps what all hold within bounds.
    pub(super) fn account<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        if let Some(track) = self.tracks.get_mut(id) {
            let held = track.store.bytes();
            self.held = self.held.saturating_sub(track.charged).saturating_add(held);
            track.charged = held;
            if let Some(at) = track.store.next_expiry().filter(|_| track.expires.is_none()) {
                track.expires = Some(at);
                self.timers.insert((at, Due::Track(id)));
            }
            if core::mem::take(&mut track.has_blocked) {
                let at = cx.now.saturating_add(self.config.too_far_behind);
                self.schedule(at, Due::Track(id));
            }
        }
        if self.held <= self.config.shard_bytes {
            return;
        }
        // A little more than has to be, so that it is not for each object.
        let goal = self.config.shard_bytes - self.config.shard_bytes / 16;
        // Those that have nothing more that could be spared.
        let mut spare = BTreeSet::new();
        while self.held > goal {
            let others = self.tracks.iter_mut().filter(|(id, _)| !spare.contains(id));
            let Some((id, track)) = others.max_by_key(|(_, track)| track.store.bytes()) else {
                return;
            };
            if !track.store.forget_oldest() {
                if !track.is_wanted() {
                    track.store.clear();
                }
                spare.insert(id);
            }
            let held = track.store.bytes();
            self.held = self.held.saturating_sub(track.charged).saturating_add(held);
            track.charged = held;
        }
    }

    /// Gives up subgroups that nobody has given any more of for too long.
    fn give_up_lost<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let (now, takeover) = (cx.now, self.config.takeover);
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        let is_over = |live: &Live| {
            live.lost_since.is_some_and(|since| now.saturating_since(since) >= takeover)
        };
        let lost = track.live.iter().filter(|(_, live)| is_over(live)).map(|(key, _)| *key);
        for key in lost.collect::<Vec<_>>() {
            track.give_up(&mut io, key);
        }
        // What is missing before what is held back is not waited for any longer.
        let is_late = |live: &Live| {
            live.held_since.is_some_and(|since| now.saturating_since(since) >= takeover)
        };
        let late = track.live.iter().filter(|(_, live)| is_late(live)).map(|(key, _)| *key);
        for key in late.collect::<Vec<_>>() {
            while track.live.get(&key).is_some_and(Live::is_holding) {
                track.skip(&mut io, key);
            }
        }
        track.sweep_live();
        self.serve_waiting(cx, id);
    }

    /// Ends the subscriptions of those that have been unable to take anything for too long.
    fn drop_laggards<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let limit = self.config.too_far_behind;
        let late = self.tracks.get(id).map(|track| track.too_far_behind(cx.now, limit));
        for slot in late.unwrap_or_default() {
            self.stats.too_far_behind += 1;
            let Some((track, mut io)) = self.outlet(cx, id) else { return };
            let node = track.sinks.get(slot).and_then(Option::as_ref).map(|sink| sink.node);
            let reason = "the subscriber takes less than is published";
            track.drop_sink(&mut io, slot, PublishDoneCode::TooFarBehind, reason);
            if let Some(Node::Session(connection, request)) = node {
                self.forget_request(connection, request);
            }
        }
    }
}
