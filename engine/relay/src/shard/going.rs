//! Leaving: this relay's, and that of peers (draft-18, "Migration").

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::peer::Purpose;
use super::{Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::track::TrackId;

impl<A: Authorize> Shard<A> {
    /// Asks everybody to leave.
    pub(super) fn leave<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        uri: &Bytes,
        timeout: Duration,
    ) {
        self.is_leaving = true;
        for (&id, peer) in &self.peers {
            // A client cannot send a server elsewhere.
            let is_client = peer.info.kind == PeerKind::Client;
            let uri = if is_client { uri.clone() } else { Bytes::new() };
            cx.connections.with(id, |moqt| moqt.goaway(cx.now, uri, timeout));
        }
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
        for track in sources {
            self.seek(cx, track);
        }
    }
}
