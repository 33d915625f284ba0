//! Publishers: PUBLISHes of peers, and those that follow from them.

use alloc::vec::Vec;

use moqt_engine::model::{FullTrackName, Parameters, RequestErrorCode, TrackProperties};
use moqt_engine::{Accept, CommandError, RequestKey};

use super::fill::Asked;
use super::peer::{Peer, Purpose};
use super::{Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::message::What;
use crate::track::{Node, Since, Sink, Source, TrackId};

impl<A: Authorize> Shard<A> {
    /// A peer offers a track (draft-18, "Publisher Interactions").
    pub(super) fn publish<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        name: &FullTrackName,
        parameters: &Parameters,
        properties: TrackProperties,
        via: Vec<u64>,
    ) {
        let Some(id) = self.track(name.clone()) else {
            let reason = "the relay has too many tracks";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        };
        let rests = self.rests(connection);
        let is_relay = self.peers.get(&connection).is_none_or(Peer::is_relay);
        let Some(track) = self.tracks.get_mut(id) else { return };
        if track.sources.len() >= self.config.publishers_per_track {
            let reason = "the track has too many publishers";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        }
        let forward = !rests || track.is_flowing();
        let mut wanted = Parameters::default();
        wanted.forward = Some(forward);
        let accept = Accept { parameters: wanted, ..Accept::default() };
        let accepted = cx.connections.with(connection, |moqt| moqt.accept(cx.now, request, accept));
        if !matches!(accepted, Some(Ok(()))) {
            let reason = "the track cannot be taken";
            self.refuse(cx, connection, request, RequestErrorCode::InternalError, reason);
            return self.track_changed(cx, id);
        }
        let node = Node::Session(connection, request);
        let is_first =
            !track.sources.iter().any(|source| source.is_publish && source.node.is_local());
        let (is_publish, is_established, via) = (true, true, via);
        let gives_all = forward && parameters.forward.unwrap_or(true);
        let since =
            if gives_all { Since::After(parameters.largest_object) } else { Since::Unknown };
        track.sources.push(Source {
            node,
            is_publish,
            is_established,
            forward,
            is_relay,
            since,
            via,
        });
        self.set_purpose(connection, request, Purpose::Source(id));
        if is_first {
            self.say_all(What::Track { name: name.clone(), is_published: true });
        }
        self.source_established(cx, id, node, parameters, properties);
        self.ask_status_of(cx, Asked::Session(connection), |of| of == name);
        self.resume_fetches(cx, |of| of == name);
    }

    /// Whether a publisher is asked to send nothing while nobody subscribes.
    pub(super) fn rests(&self, connection: ConnectionId) -> bool {
        self.config.rest_publishers || self.peers.get(&connection).is_some_and(Peer::is_relay)
    }

    /// Offers a track that has a publisher to everybody who asked for tracks of its namespace, and
    /// to the relays upstream.
    pub(super) fn offer<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Some(track) = self.tracks.get(id) else { return };
        // Another shard that was asked has not told of the track's properties yet.
        let is_published =
            track.sources.iter().any(|source| source.is_publish && source.is_established);
        let is_known = is_published || track.has_established_source();
        let namespace = track.name.namespace().clone();
        let mut to: Vec<(ConnectionId, Option<RequestKey>)> = Vec::new();
        // Who asks for tracks hears also of those that were subscribed to: a relay that this one
        // has subscribed at cannot offer them any more.
        for listener in self.routes.listeners(&namespace) {
            let is_offered = if listener.is_above { is_published } else { is_known };
            if is_offered && listener.wants_tracks() {
                to.push((listener.connection, Some(listener.request)));
            }
        }
        for (connection, peer) in &self.peers {
            if is_published && peer.info.kind == PeerKind::Upstream && !peer.is_leaving {
                to.push((*connection, None));
            }
        }
        for (connection, listener) in to {
            self.offer_to(cx, id, connection, listener);
        }
    }

    /// Offers a track to one connection, for a namespace subscription of its if there is one.
    pub(super) fn offer_to<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        connection: ConnectionId,
        listener: Option<RequestKey>,
    ) {
        let Some(track) = self.tracks.get(id) else { return };
        // A publisher does not get its own track back, and nobody gets one twice.
        if track.has_source_in(connection) || track.has_sink_in(connection) {
            return;
        }
        let mut parameters = self.onward(connection, &track.via(|_| true));
        parameters.largest_object = track.largest;
        // A relay upstream says when it has subscribers.
        parameters.forward = listener.is_none().then_some(false);
        let (name, properties) = (track.name.clone(), track.properties.clone());
        let offered = cx
            .connections
            .with(connection, |moqt| moqt.publish(cx.now, &name, &parameters, &properties));
        match offered {
            Some(Ok(request)) => {
                let node = Node::Session(connection, request);
                let Some(track) = self.tracks.get_mut(id) else { return };
                let slot = track.add_sink(Sink::new(node, true, false));
                self.set_purpose(connection, request, Purpose::Sink(id, slot));
                self.sink_updated(cx, id, slot);
            }
            Some(Err(CommandError::Blocked(_))) => {
                if let Some(listener) = listener {
                    // It fails on drafts that cannot say so.
                    cx.connections
                        .with(connection, |moqt| moqt.publish_blocked(cx.now, listener, &name));
                }
            }
            _ => {}
        }
    }

    /// A peer has accepted a track that it was offered.
    pub(super) fn offer_accepted<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        slot: usize,
    ) {
        self.sink_updated(cx, id, slot);
    }
}
