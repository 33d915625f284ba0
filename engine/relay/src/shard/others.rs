//! Other shards: what they have, what they want, and what they say.
//!
//! Each shard gives others what its own sessions give it, and gets from each what its sessions
//! give, so that nothing goes in circles.

use alloc::vec::Vec;

use moqt_engine::Answer;
use moqt_engine::model::{FullTrackName, PublishDoneCode, TrackNamespace};

use super::fill::Asked;
use super::ingest::Shipped;
use super::peer::Ended;
use super::response::Asker;
use super::sources::way;
use super::{Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{Connections, ShardId};
use crate::message::{Message, Upstream, What};
use crate::routes::Origin;
use crate::track::{Node, Source, Track, TrackId, Waiter};

impl<A: Authorize> Shard<A> {
    pub(super) fn say(&mut self, to: ShardId, what: What) {
        self.messages.push_back((Some(to), Message { from: self.id, what }));
    }

    /// Tells all other shards, if there are any.
    pub(super) fn say_all(&mut self, what: What) {
        if self.shards > 1 {
            self.messages.push_back((None, Message { from: self.id, what }));
        }
    }

    pub(super) fn message<C: Connections>(&mut self, cx: &mut Cx<'_, C>, message: Message) {
        let Message { from, what } = message;
        match what {
            What::Namespace { namespace, way: Some(way) } => {
                self.announce(cx, &namespace, Origin::Shard(from), &way);
            }
            What::Namespace { namespace, way: None } => {
                self.withdraw(cx, &namespace, Origin::Shard(from));
            }
            What::Listen { prefix, interest } => {
                self.listen_elsewhere(cx, from, &prefix, interest);
            }
            What::Track { name, is_published: true } => {
                self.offered_elsewhere(from, name.clone());
                self.ask_status_of(cx, Asked::Shard(from), |of| *of == name);
                self.resume_fetches(cx, |of| *of == name);
            }
            What::Track { name, is_published: false } => self.withdrawn_elsewhere(cx, from, &name),
            What::Known { name } => self.known_elsewhere(from, name),
            What::Upstream(state) => self.upstream_elsewhere(cx, from, state),
            What::Subscribe { name, track, new_group, via } => {
                let node = Node::Shard(from, track);
                let Some(id) = self.track(name) else {
                    let code = moqt_engine::model::RequestErrorCode::ExcessiveLoad;
                    let refusal = moqt_engine::Refusal::new(code);
                    return self.say(from, What::Refused { track, refusal });
                };
                let waiter = Waiter { node, forward: true, new_group, via, until: None };
                self.wait(cx, id, waiter);
            }
            What::Unsubscribe { name, track } => {
                let Some(id) = self.names.get(&name).copied() else { return };
                let node = Node::Shard(from, track);
                let slot = self.tracks.get(id).and_then(|track| track.slot(node));
                match slot {
                    Some(slot) => self.sink_gone(cx, id, slot),
                    None => self.waiter_gone(cx, id, node),
                }
            }
            What::Malformed { name, track } => {
                let Some(id) = self.names.get(&name).copied() else { return };
                if let Some(known) = self.tracks.get_mut(id)
                    && let Some(slot) = known.slot(Node::Shard(from, track))
                {
                    known.remove_sink(slot);
                }
                self.malformed(cx, id, None);
            }
            What::Forward { name, track, forward } => {
                let Some(id) = self.names.get(&name).copied() else { return };
                let Some(known) = self.tracks.get_mut(id) else { return };
                let node = Node::Shard(from, track);
                let was_flowing = known.is_flowing();
                let mut sinks = known.sinks.iter_mut().flatten();
                if let Some(sink) = sinks.find(|sink| sink.node == node) {
                    let was_forward = core::mem::replace(&mut sink.forward, forward);
                    // Who wants no objects for now does not keep publishers from resting.
                    sink.is_offered = !forward;
                    if was_forward && !forward {
                        self.break_off(id, from, track);
                    }
                }
                if forward && !was_flowing {
                    self.seek(cx, id);
                }
                self.update_forward(cx, id);
                self.track_changed(cx, id);
            }
            What::NewGroup { name, value } => {
                if let Some(id) = self.names.get(&name).copied() {
                    self.ask_new_group(cx, id, value);
                }
            }
            What::Subscribed { track, largest, properties, via } => {
                let mut answer = Answer::default();
                answer.parameters.largest_object = largest;
                answer.track_properties = properties;
                let node = Node::Shard(from, track);
                let source = self.tracks.get_mut(track).and_then(|track| track.source_mut(node));
                if let Some(source) = source {
                    source.via = via;
                }
                self.source_accepted(cx, track, node, answer);
            }
            What::Refused { track, refusal } => {
                let how = Ended::Refused(refusal);
                self.source_ended(cx, track, Node::Shard(from, track), how);
            }
            What::Done { track, code, reason } => {
                self.shard_feeds_end(cx, track, from);
                let how = Ended::Done(code, reason);
                self.source_ended(cx, track, Node::Shard(from, track), how);
            }
            What::Object { track, key, feed, after, facts, header, payload } => {
                let object = Shipped::Object(after, facts, header, payload);
                self.piece_in(cx, (track, from, key, feed), object);
            }
            What::Payload { track, key, feed, object, offset, payload } => {
                let payload = Shipped::Payload(object, offset, payload);
                self.piece_in(cx, (track, from, key, feed), payload);
            }
            What::End { track, key, feed, end } => {
                self.piece_in(cx, (track, from, key, feed), Shipped::End(end));
            }
            What::Reached { track, key, object } => {
                if let Some((track, mut io)) = self.outlet(cx, track)
                    && let Some(live) = track.live.get_mut(&key)
                    && live.is_holding()
                {
                    live.reach(object);
                    track.release(&mut io, key);
                }
            }
            What::Datagram { track, datagram } => {
                let node = Node::Shard(from, track);
                if self.tracks.get(track).is_some_and(|track| track.source(node).is_some()) {
                    self.datagram_in(cx, track, node, &datagram);
                }
            }
            What::Fetch { name, fetch, first, last, order, patience, via } => {
                let range = (first, last, order);
                self.fetch_for_shard(cx, (from, fetch), name, range, patience, via);
            }
            What::Status { name, query, via } => {
                self.query_status(cx, Asker::Shard(from, query), &name, via);
            }
            What::StatusAnswer { query, answer } => self.shard_answered(cx, from, query, answer),
            What::Credit { fetch, bytes } => self.credit(cx, fetch, bytes),
            What::CancelFetch { fetch } => self.fetch_cancelled(cx, fetch),
            What::Fetched { fetch, by, item } => self.fetched(cx, from, (fetch, by), item),
        }
    }

    /// Another shard gets no more of a track for now: what it has of streams that go on is not all
    /// that is before what it gets later.
    fn break_off(&mut self, id: TrackId, shard: ShardId, track: TrackId) {
        let streams = self.peers.values().flat_map(|peer| peer.streams.values());
        let begun = streams.filter_map(|incoming| incoming.begun(id));
        for (key, feed) in begun {
            let what = What::End { track, key, feed, end: None };
            self.messages.push_back((Some(shard), Message { from: self.id, what }));
        }
    }

    /// Another shard can ask relays upstream, or cannot for long. What comes from shards that cannot
    /// is asked for elsewhere in time.
    fn upstream_elsewhere<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        shard: ShardId,
        state: Upstream,
    ) {
        self.leaving_shards.remove(&shard);
        match state {
            Upstream::There => {
                self.upstream_shards.insert(shard);
                self.ask_upstream_shard(shard);
                self.ask_status_of(cx, Asked::Shard(shard), |_| true);
                self.resume_fetches(cx, |_| true);
            }
            Upstream::Leaving => drop(self.leaving_shards.insert(shard)),
            Upstream::Gone => drop(self.upstream_shards.remove(&shard)),
        }
        let is_left = |track: &Track| track.is_wanted_locally() && !self.has_lasting_source(track);
        let left = self.tracks.iter().filter(|(_, track)| is_left(track));
        for id in left.map(|(id, _)| id).collect::<Vec<TrackId>>() {
            self.seek(cx, id);
        }
    }

    /// Another shard can ask a relay upstream: it is asked for what is waited for here.
    fn ask_upstream_shard(&mut self, shard: ShardId) {
        let waits = |track: &Track| track.waiters.iter().any(|waiter| waiter.node.is_local());
        let waiting = self.tracks.iter().filter(|(_, track)| waits(track));
        let waiting: Vec<TrackId> = waiting.map(|(id, _)| id).collect();
        for id in waiting {
            let via = self.tracks.get(id).and_then(|track| way(track, Node::is_local));
            self.subscribe_in_shard(id, shard, &via.unwrap_or_default(), false);
        }
    }

    /// Whether another shard has a track, or may have it.
    pub(super) fn is_in_shards(&self, name: &FullTrackName) -> bool {
        self.offered.contains_key(name)
            || self.routes.publishers(name.namespace()).iter().any(Origin::is_shard)
    }

    /// Asks other shards for a track that somebody here wants.
    pub(super) fn seek_in_shards(&mut self, id: TrackId, name: &FullTrackName, via: &[u64]) {
        let Some(track) = self.tracks.get(id) else { return };
        if self.shards <= 1 || !track.is_wanted_locally() {
            return;
        }
        let offered = self.offered.get(name).cloned().unwrap_or_default();
        for shard in &offered {
            self.subscribe_in_shard(id, *shard, via, true);
        }
        for origin in self.routes.publishers(name.namespace()) {
            if let Origin::Shard(shard) = origin {
                self.subscribe_in_shard(id, shard, via, false);
            }
        }
        if self.tracks.get(id).is_some_and(|track| !self.has_lasting_source(track)) {
            for shard in self.upstream_shards.clone() {
                self.subscribe_in_shard(id, shard, via, false);
            }
        }
    }

    pub(super) fn subscribe_in_shard(
        &mut self,
        id: TrackId,
        shard: ShardId,
        via: &[u64],
        is_publish: bool,
    ) {
        let node = Node::Shard(shard, id);
        let Some(track) = self.tracks.get_mut(id) else { return };
        if track.source(node).is_some() {
            return;
        }
        track.sources.push(Source::asked(node, is_publish, true));
        let new_group = track.waiters.iter().filter_map(|waiter| waiter.new_group).max();
        let name = track.name.clone();
        self.say(shard, What::Subscribe { name, track: id, new_group, via: via.to_vec() });
    }

    /// No session of this shard's gives a track any longer: other shards get it from here no more.
    pub(super) fn tell_shards_of_end<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        how: &Ended,
    ) {
        let (code, reason) = match how {
            Ended::Done(code, reason) => (*code, reason.as_str()),
            _ => (PublishDoneCode::InternalError, "the publisher has gone"),
        };
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        for slot in 0..track.sinks.len() {
            let sink = track.sinks.get(slot).and_then(Option::as_ref);
            if sink.is_some_and(|sink| !sink.node.is_local()) {
                track.drop_sink(&mut io, slot, code, reason);
            }
        }
    }

    /// Tells other shards if no session of this shard's offers a track any longer.
    pub(super) fn tell_shards_of_offer(&mut self, id: TrackId) {
        let Some(track) = self.tracks.get(id) else { return };
        let offers = |source: &Source| source.is_publish && source.node.is_local();
        if !track.sources.iter().any(offers) {
            let name = track.name.clone();
            self.say_all(What::Track { name, is_published: false });
        }
    }

    /// A track is offered in another shard no longer.
    fn withdrawn_elsewhere<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        from: ShardId,
        name: &FullTrackName,
    ) {
        if let Some(shards) = self.offered.get_mut(name) {
            shards.retain(|shard| *shard != from);
            if shards.is_empty() {
                self.offered.remove(name);
            }
        }
        let Some(id) = self.names.get(name).copied() else { return };
        let node = Node::Shard(from, id);
        if let Some(source) = self.tracks.get_mut(id).and_then(|track| track.source_mut(node)) {
            // Somebody else there may still give it, for as long as it is wanted.
            source.is_publish = false;
            self.track_changed(cx, id);
        }
    }

    /// A track was offered in another shard.
    fn offered_elsewhere(&mut self, from: ShardId, name: FullTrackName) {
        let shards = self.offered.entry(name.clone()).or_default();
        if !shards.contains(&from) {
            shards.push(from);
        }
        let is_listened_to =
            self.routes.listeners(name.namespace()).iter().any(|listener| listener.wants_tracks());
        let is_wanted = self.names.get(&name).and_then(|id| self.tracks.get(*id));
        if is_listened_to
            || self.has_upstream()
            || is_wanted.is_some_and(crate::track::Track::is_wanted_locally)
        {
            self.take(from, name);
        }
    }

    /// Tells other shards of a track that somebody asks about there, if sessions of this shard's give
    /// it. Of what was offered they have heard already.
    pub(super) fn share_track(&mut self, id: TrackId) {
        let Some(name) = self.known_track(id) else { return };
        for shard in self.routes.shards_listening_to_tracks(name.namespace()) {
            self.say(shard, What::Known { name: name.clone() });
        }
    }

    /// Tells another shard, where somebody has begun to ask about tracks, which there are.
    pub(super) fn share_tracks(&mut self, to: ShardId, prefix: &TrackNamespace) {
        let known = self.tracks_under(prefix).filter_map(|id| self.known_track(id));
        let known: Vec<FullTrackName> = known.take(self.config.namespaces_told).collect();
        for name in known {
            self.say(to, What::Known { name });
        }
    }

    fn known_track(&self, id: TrackId) -> Option<FullTrackName> {
        let track = self.tracks.get(id)?;
        let here = || track.sources.iter().filter(|source| source.node.is_local());
        let is_known = here().any(|source| source.is_established);
        let is_offered = here().any(|source| source.is_publish);
        (is_known && !is_offered).then(|| track.name.clone())
    }

    /// A track is known in another shard, and this one had asked about such.
    fn known_elsewhere(&mut self, from: ShardId, name: FullTrackName) {
        let mut listeners = self.routes.listeners(name.namespace()).into_iter();
        if listeners.any(|listener| listener.wants_tracks() && !listener.is_above)
            && let Some(id) = self.track(name)
        {
            self.subscribe_in_shard(id, from, &[], false);
        }
    }

    /// Gets what was offered in other shards under a prefix, for somebody who asked for it.
    pub(super) fn take_offered(&mut self, prefix: &TrackNamespace) {
        let under = self.offered.iter();
        let under = under.filter(|(name, _)| name.namespace().starts_with(prefix));
        let under: Vec<(FullTrackName, Vec<ShardId>)> = under
            .take(self.config.namespaces_told)
            .map(|(name, shards)| (name.clone(), shards.clone()))
            .collect();
        for (name, shards) in under {
            for shard in shards {
                self.take(shard, name.clone());
            }
        }
    }

    fn take(&mut self, shard: ShardId, name: FullTrackName) {
        if let Some(id) = self.track(name) {
            self.subscribe_in_shard(id, shard, &[], true);
        }
    }

    /// A connection to a relay upstream is gone.
    pub(super) fn upstream_left(&mut self) {
        if !self.has_upstream() {
            self.say_all(What::Upstream(Upstream::Gone));
        }
    }
}
