//! Relays among the sessions.

use std::sync::Arc;
use std::time::Duration;

use moqt_engine::{Draft, MoqtConnection, Transport};
use moqt_relay::Stats;

use super::driver::Shared;
use super::{Connecting, Simulation};
use crate::config::LinkConfig;
use crate::network::{EndpointId, RawId};
use crate::relay::{RelayId, RelayOptions};

/// A relay in a [`Simulation`]. Clones are handles to the same; dropping them does not end it.
#[derive(Clone, Debug)]
pub struct RelayNode {
    shared: Arc<Shared>,
    id: RelayId,
}

impl Simulation {
    /// Adds a relay without connections.
    pub fn relay(&self, options: RelayOptions) -> RelayNode {
        let id = self.shared.with_relays(|relays, _| relays.add(options));
        RelayNode { shared: self.shared.clone(), id }
    }

    /// Links a client's connection with a relay. Await the client's end for its session.
    pub fn connect_to_relay(
        &self,
        relay: &RelayNode,
        client: MoqtConnection,
        link: LinkConfig,
    ) -> Connecting {
        let end = self
            .shared
            .connect_to_relay(|relays, network| relays.connect(network, relay.id, client, link));
        Connecting { end: Some(end) }
    }

    /// Links a scripted client with a relay, over QUIC. What it does goes through
    /// [`with_network`](Self::with_network).
    pub fn connect_raw_to_relay(&self, relay: &RelayNode, draft: Draft, link: LinkConfig) -> RawId {
        self.shared
            .with_relays(|relays, network| relays.connect_raw(network, relay.id, draft, link))
    }

    /// Links `down` with `up`, which is upstream of it from then on. What is returned is the
    /// lower relay's end of the link.
    pub fn connect_relays(
        &self,
        down: &RelayNode,
        up: &RelayNode,
        draft: Draft,
        transport: Transport,
        link: LinkConfig,
    ) -> EndpointId {
        self.shared.with_relays(|relays, network| {
            relays.connect_upstream(network, [down.id, up.id], draft, transport, link)
        })
    }

    /// A relay's machine dies: its state is gone, its peers notice after `unnoticed`. It can be
    /// linked again at once, as one that was started anew.
    pub fn kill_relay(&self, relay: &RelayNode, unnoticed: Duration) {
        self.shared.with_relays(|relays, network| relays.kill(network, relay.id, unnoticed));
    }
}

impl RelayNode {
    /// What each of its shards has and has done. Since it was killed, if it was.
    pub fn stats(&self) -> Vec<Stats> {
        self.shared.with_relays(|relays, _| relays.stats(self.id))
    }

    /// Whether it has nothing left: no sessions, no tracks, no namespaces, nothing in its caches,
    /// and no messages between its shards.
    pub fn is_empty(&self) -> bool {
        self.shared.with_relays(|relays, _| relays.is_empty(self.id))
    }

    /// Asks all its clients to leave, as [`moqt_relay::Shard::go_away`] does.
    pub fn go_away(&self, timeout: Duration) {
        self.shared.with_relays(|relays, network| relays.go_away(network, self.id, timeout));
    }

    /// Its ends of links, but for those whose session is over.
    pub fn ends(&self) -> Vec<EndpointId> {
        self.shared.with_relays(|relays, _| relays.ends(self.id))
    }
}
