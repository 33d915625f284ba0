//! Leaving: this relay's, and that of peers (draft-18, "Migration").

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::RequestKey;
use moqt_engine::model::{PublishDoneCode, StreamResetCode, TrackNamespace};

use super::peer::{Ended, Peer, Purpose};
use super::{Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::message::{Upstream, What};
use crate::routes::Origin;
use crate::track::{Node, Track, TrackId};

impl<A: Authorize> Shard<A> {
    /// Asks everybody to leave.
    pub(super) fn leave<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        uri: &Bytes,
        timeout: Duration,
    ) {
        self.leaving = Some((uri.clone(), cx.now.saturating_add(timeout)));
        for &id in self.peers.keys() {
            self.ask_to_leave(cx, id);
        }
    }

    /// Asks a peer to leave if all are asked to, as also those are whose session is set up late.
    pub(super) fn ask_to_leave<C: Connections>(&self, cx: &mut Cx<'_, C>, id: ConnectionId) {
        let (Some((uri, until)), Some(peer)) = (&self.leaving, self.peers.get(&id)) else { return };
        // A client cannot send a server elsewhere.
        let is_client = peer.info.kind == PeerKind::Client;
        let uri = if is_client { uri.clone() } else { Bytes::new() };
        // To have no time at all would mean to have any.
        let timeout = until.saturating_since(cx.now).max(Duration::from_millis(1));
        cx.connections.with(id, |moqt| moqt.goaway(cx.now, uri, timeout));
    }

    /// A peer asks this side to leave. What comes from there is looked for elsewhere in time, and
    /// goes on until it is found; nothing new is asked for there. To connect to where the peer
    /// points is for whoever has made the connection.
    pub(super) fn peer_goes<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_leaving = true;
        let sources = peer.requests.values().filter_map(|purpose| match purpose {
            Purpose::Source(track) => Some(*track),
            _ => None,
        });
        let sources: Vec<TrackId> = sources.collect();
        if self.peers.get(&id).is_some_and(is_upstream) && !self.has_upstream() {
            self.say_all(What::Upstream(Upstream::Leaving));
        }
        for track in sources {
            self.seek(cx, track);
        }
    }

    /// Whether somebody who publishes a namespace, or the relays upstream, have asked this relay to
    /// leave, and may be there in another session soon.
    pub(super) fn is_moving(&self, namespace: &TrackNamespace) -> bool {
        let is_leaving = |origin: &Origin| match origin {
            Origin::Session(id, _) => self.peers.get(id).is_some_and(|peer| peer.is_leaving),
            Origin::Shard(_) => false,
        };
        self.routes.publishers(namespace).iter().any(is_leaving)
            || self.peers.values().any(is_upstream) && !self.has_upstream()
    }

    /// Whether those who publish a track or could give it have all asked this relay to leave.
    pub(super) fn is_track_moving(&self, track: &Track) -> bool {
        !track.sources.is_empty() && !self.has_lasting_source(track)
            || self.is_moving(track.name.namespace())
    }

    /// A peer asks that one request be moved: to this same session, or elsewhere. A SUBSCRIBE or
    /// PUBLISH of ours is made again here if that is what is wanted. What is elsewhere others may
    /// have; until one does, the peer is left to end it.
    pub(super) fn request_goes<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        is_here: bool,
    ) {
        let node = Node::Session(id, request);
        match self.purpose(id, request) {
            Some(Purpose::Source(track)) if is_here => {
                let source = self.tracks.get(track).and_then(|track| track.source(node));
                if source.is_none_or(|source| source.is_publish) {
                    return;
                }
                // There cannot be two of one track in a session. What is missed is fetched.
                self.forget_request(id, request);
                let code = StreamResetCode::GoingAway;
                cx.connections.with(id, |moqt| moqt.cancel(cx.now, request, code));
                self.streams_cancelled(cx, id, node);
                self.source_ended(cx, track, node, Ended::Cancelled);
                self.seek(cx, track);
            }
            Some(Purpose::Source(track)) => self.seek(cx, track),
            Some(Purpose::Sink(track, slot)) if is_here => {
                let Some((known, mut io)) = self.outlet(cx, track) else { return };
                let sink = known.sinks.get(slot).and_then(Option::as_ref);
                if sink.is_some_and(|sink| sink.is_offered) {
                    let reason = "it is offered again, as the subscriber asked for";
                    known.drop_sink(&mut io, slot, PublishDoneCode::GoingAway, reason);
                    self.forget_request(id, request);
                    self.offer(cx, track);
                    self.track_changed(cx, track);
                }
            }
            _ => {}
        }
    }
}

fn is_upstream(peer: &Peer) -> bool {
    peer.info.kind == PeerKind::Upstream
}
