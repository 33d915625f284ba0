//! Subscribers: SUBSCRIBEs of peers, from the request to its end.

use alloc::vec::Vec;
use core::time::Duration;

use moqt_engine::model::{FullTrackName, Parameters, RequestErrorCode};
use moqt_engine::{Refusal, RequestKey, StreamKey};

use super::peer::Purpose;
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections};
use crate::live::Out;
use crate::message::What;
use crate::track::{Node, Sink, Track, TrackId, Waiter};

impl<A: Authorize> Shard<A> {
    /// A peer subscribes to a track (draft-18, "Subscriber Interactions").
    pub(super) fn subscribe<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        name: FullTrackName,
        parameters: &Parameters,
        via: Vec<u64>,
    ) {
        let Some(id) = self.track(name) else {
            let reason = "the relay has too many tracks";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        };
        let subscribers = self.tracks.get(id).map(|track| track.sink_count + track.waiters.len());
        if subscribers.is_some_and(|count| count >= self.config.subscribers_per_track) {
            let reason = "the track has too many subscribers";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        }
        let wait = parameters.rendezvous_timeout.map(Duration::from_millis);
        let wait = wait.unwrap_or(self.config.wait_for_publisher);
        let wait = wait.min(self.config.wait_for_publisher_max);
        let until = (!wait.is_zero()).then(|| cx.now.saturating_add(wait));
        let waiter = Waiter {
            node: Node::Session(connection, request),
            forward: parameters.forward.unwrap_or(true),
            new_group: parameters.new_group_request,
            via,
            until,
        };
        self.set_purpose(connection, request, Purpose::Waiter(id));
        self.wait(cx, id, waiter);
    }

    /// Somebody waits for a track to have a publisher, which may be at once.
    pub(super) fn wait<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        mut waiter: Waiter,
    ) {
        let Some(track) = self.tracks.get(id) else { return };
        if self.is_moving(track.name.namespace()) {
            waiter.until = waiter.until.max(Some(cx.now.saturating_add(self.config.takeover)));
        }
        let Some(track) = self.tracks.get_mut(id) else { return };
        let (until, node) = (waiter.until, waiter.node);
        // Other shards' tracks are for subscribers of this one only.
        let is_first = !track.is_wanted() || node.is_local() && !track.is_wanted_locally();
        let is_there = track.is_fed(node);
        track.waiters.push(waiter);
        track.idle_since = None;
        // Whoever begins to publish later is asked then.
        if !is_there || is_first {
            self.seek(cx, id);
        }
        if is_there {
            self.accept_waiters(cx, id);
            self.update_forward(cx, id);
            return;
        }
        if let Some(until) = until {
            self.schedule(until, Due::Track(id));
        }
        if !self.is_sought(id, node) && !self.seek_upstream(cx, id, node) {
            self.nobody_publishes(cx, id, None);
            self.track_changed(cx, id);
        }
    }

    /// Whether somebody may give a track who was asked, or who is about to be.
    fn is_sought(&self, id: TrackId, node: Node) -> bool {
        let Some(track) = self.tracks.get(id) else { return false };
        track.may_be_fed(node) || track.orphaned.is_some() || self.uses_directory
    }

    /// The track has a publisher: those who waited are subscribers.
    pub(super) fn accept_waiters<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let (accepted, waiting) = core::mem::take(&mut track.waiters)
            .into_iter()
            .partition::<Vec<_>, _>(|waiter| track.is_fed(waiter.node));
        track.waiters = waiting;
        for waiter in accepted {
            let Some(track) = self.tracks.get_mut(id) else { return };
            let (connection, request) = match waiter.node {
                Node::Session(connection, request) => (connection, request),
                Node::Shard(shard, theirs) => {
                    let (largest, properties) = (track.largest, track.properties.clone());
                    let via = track.via(Node::is_local);
                    track.add_sink(Sink::new(waiter.node, false, waiter.forward));
                    self.say(shard, What::Subscribed { track: theirs, largest, properties, via });
                    continue;
                }
            };
            let accept = track.accept();
            let accepted =
                cx.connections.with(connection, |moqt| moqt.accept(cx.now, request, accept));
            match accepted {
                Some(Ok(())) => {
                    let sink = Sink::new(waiter.node, false, waiter.forward);
                    let slot = track.add_sink(sink);
                    // What is accepted and turns out to be past is cancelled by an event to come.
                    self.set_purpose(connection, request, Purpose::Sink(id, slot));
                }
                Some(Err(_)) => {
                    let reason = "the track cannot be told of in this session";
                    let code = RequestErrorCode::InternalError;
                    self.refuse(cx, connection, request, code, reason);
                }
                None => {}
            }
        }
    }

    /// Refuses those who waited in vain.
    pub(super) fn refuse_waiters<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        waiters: Vec<Waiter>,
        refusal: &Refusal,
    ) {
        for waiter in waiters {
            match waiter.node {
                Node::Session(connection, request) => {
                    self.refuse_with(cx, connection, request, refusal.clone());
                }
                Node::Shard(shard, track) => {
                    self.say(shard, What::Refused { track, refusal: refusal.clone() });
                }
            }
        }
    }

    /// Somebody waits no longer.
    pub(super) fn waiter_gone<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        node: Node,
    ) {
        if let Some(track) = self.tracks.get_mut(id) {
            track.waiters.retain(|waiter| waiter.node != node);
        }
        self.track_changed(cx, id);
    }

    /// A subscriber has left.
    pub(super) fn sink_gone<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        slot: usize,
    ) {
        if let Some(track) = self.tracks.get_mut(id) {
            track.remove_sink(slot);
        }
        self.track_changed(cx, id);
    }

    /// A subscriber wants other objects than before.
    pub(super) fn sink_updated<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        slot: usize,
    ) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let was_flowing = track.is_flowing();
        for live in track.live.values_mut() {
            if matches!(live.out(slot), Out::Unwanted) {
                live.set_out(slot, Out::Unopened);
            }
        }
        if let Some(Some(sink)) = track.sinks.get_mut(slot)
            && let Node::Session(connection, request) = sink.node
        {
            let forward = cx.connections.with(connection, |moqt| {
                moqt.publisher(request).is_some_and(|publisher| publisher.forward())
            });
            sink.forward = forward == Some(true);
        }
        if !was_flowing && self.tracks.get(id).is_some_and(Track::is_flowing) {
            self.seek(cx, id);
        }
        self.update_forward(cx, id);
        self.track_changed(cx, id);
    }

    /// A subgroup goes to a subscriber no longer.
    pub(super) fn subgroup_stopped(
        &mut self,
        connection: ConnectionId,
        request: RequestKey,
        stream: StreamKey,
    ) {
        let Some(Purpose::Sink(id, slot)) = self.purpose(connection, request) else { return };
        let Some(track) = self.tracks.get_mut(id) else { return };
        for live in track.live.values_mut() {
            if matches!(live.out(slot), Out::Open(cursor) if cursor.stream == stream) {
                live.set_out(slot, Out::Over);
            }
        }
        track.sweep_live();
    }

    /// A connection takes more for a request.
    pub(super) fn writable<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
    ) {
        match self.purpose(connection, request) {
            Some(Purpose::Sink(track, slot)) => self.resume_sink(cx, track, slot),
            Some(Purpose::Fetch(fetch)) => self.serve(cx, fetch),
            _ => {}
        }
    }

    fn resume_sink<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId, slot: usize) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        track.resume(&mut io, slot);
        let is_ending = track.sinks.get(slot).and_then(Option::as_ref);
        let is_ending = is_ending.is_some_and(|sink| sink.ending.is_some());
        self.account(cx, id);
        if is_ending {
            self.end_sink(cx, id, slot);
            self.track_changed(cx, id);
        }
    }

    /// A connection has new streams or credit for requests.
    pub(super) fn unblocked<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let tracks = core::mem::take(&mut peer.blocked);
        let purposes: Vec<Purpose> = peer.requests.values().cloned().collect();
        for track in tracks {
            self.seek(cx, track);
        }
        self.above_unblocked(cx, id);
        for purpose in purposes {
            match purpose {
                Purpose::Sink(track, slot) => self.resume_sink(cx, track, slot),
                Purpose::Fetch(fetch) => self.serve(cx, fetch),
                _ => {}
            }
        }
    }

    /// Ends a subscription that is to end, if its subscriber has everything.
    pub(super) fn end_sink<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        slot: usize,
    ) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        let node = track.sinks.get(slot).and_then(Option::as_ref).map(|sink| sink.node);
        if track.end_sink(&mut io, slot) {
            track.remove_sink(slot);
            if let Some(Node::Session(connection, request)) = node {
                self.forget_request(connection, request);
            }
        }
    }
}
