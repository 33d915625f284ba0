//! A relay: its shards, the router between them, and its ends of links.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::{Event, MoqtConnection, Timestamp};
use moqt_relay::{
    Ask, Authorize, ConnectionId, Connections, PeerInfo, PeerKind, Router, Shard, ShardId, Verdict,
};

use super::mail::Letter;
use super::{RelayId, RelayOptions};
use crate::network::{EndpointId, Network};

#[derive(Debug)]
pub(super) struct Node {
    config: Arc<moqt_relay::Config>,
    authorize: Rules,
    pub(super) connections: Arc<moqt_engine::Config>,
    pub(super) message_delay: Duration,
    pub(super) shards: Vec<Part>,
    router: Router,
}

/// A shard and its connections.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) core: Shard<Rules>,
    pub(super) ends: BTreeMap<ConnectionId, EndpointId>,
}

/// To whom an end of a link belongs.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` if the relay was killed.
    pub(super) relay: Option<RelayId>,
    shard: usize,
    id: ConnectionId,
    kind: PeerKind,
    /// The shard knows of it.
    is_told: bool,
}

impl Node {
    pub(super) fn new(options: RelayOptions) -> Self {
        let RelayOptions { config, connections, shards, authorize, message_delay } = options;
        let authorize = Rules(authorize);
        let (config, connections) = (Arc::new(config), Arc::new(connections));
        let (router, shards) = begin(&config, authorize, shards.max(1));
        Self { config, authorize, connections, message_delay, shards, router }
    }

    /// Forgets everything, as a process does that ends.
    pub(super) fn reset(&mut self) {
        (self.router, self.shards) = begin(&self.config, self.authorize, self.router.shards());
    }

    pub(super) fn take(
        &mut self,
        relay: RelayId,
        shard: usize,
        number: u64,
        at: EndpointId,
        kind: PeerKind,
    ) -> Place {
        let id = ConnectionId(number);
        if let Some(part) = self.shards.get_mut(shard) {
            part.ends.insert(id, at);
        }
        Place { relay: Some(relay), shard, id, kind, is_told: false }
    }

    pub(super) fn handle_event(
        &mut self,
        network: &mut Network,
        place: &mut Place,
        at: EndpointId,
        event: Event,
    ) {
        let Some(part) = self.shards.get_mut(place.shard) else { return };
        let id = place.id;
        if let Event::Established { setup } = &event {
            let connection = network.connection(at);
            let mut peer = PeerInfo::new(connection.draft(), connection.transport());
            peer.kind = place.kind;
            peer.path = setup.options.path.clone().unwrap_or_default();
            peer.authority = setup.options.authority.clone().unwrap_or_default();
            peer.tokens.clone_from(&setup.options.authorization_tokens);
            place.is_told = true;
            part.work(network, |shard, now, ends| shard.handle_connected(now, ends, id, peer));
        }
        let is_over = matches!(event, Event::Closed { .. });
        if place.is_told {
            part.work(network, |shard, now, ends| shard.handle_event(now, ends, id, event));
        }
        if is_over {
            part.ends.remove(&id);
        }
    }

    pub(super) fn handle_letter(&mut self, network: &mut Network, letter: Letter) {
        match letter {
            Letter::ToRouter { from, to, message } => {
                self.router.handle_message(from, to, message);
            }
            Letter::ToShard { to, message } => {
                if let Some(part) = self.shards.get_mut(usize::from(to.0)) {
                    part.work(network, |shard, now, ends| shard.handle_message(now, ends, message));
                }
            }
        }
    }

    /// Whether any timer had run out.
    pub(super) fn handle_timeouts(&mut self, network: &mut Network) -> bool {
        let now = network.now();
        let mut any = false;
        for part in &mut self.shards {
            if part.core.poll_timeout().is_some_and(|at| at <= now) {
                part.work(network, |shard, now, ends| shard.handle_timeout(now, ends));
                any = true;
            }
        }
        any
    }

    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.shards.iter().filter_map(|part| part.core.poll_timeout()).min()
    }

    pub(super) fn go_away(&mut self, network: &mut Network, timeout: Duration) {
        for part in &mut self.shards {
            part.work(network, |shard, now, ends| {
                shard.go_away(now, ends, &Bytes::new(), timeout);
            });
        }
    }

    /// What the shards and the router have to send.
    pub(super) fn take_letters(&mut self) -> Vec<Letter> {
        let mut letters = Vec::new();
        for part in &mut self.shards {
            let from = part.core.id();
            while let Some((to, message)) = part.core.poll_message() {
                letters.push(Letter::ToRouter { from, to, message });
            }
            // There is no directory here.
            while part.core.poll_action().is_some() {}
        }
        while let Some((to, message)) = self.router.poll_message() {
            letters.push(Letter::ToShard { to, message });
        }
        letters
    }
}

fn begin(config: &Arc<moqt_relay::Config>, rules: Rules, shards: u16) -> (Router, Vec<Part>) {
    let part = |number| Part {
        core: Shard::new(ShardId(number), shards, config.clone(), rules),
        ends: BTreeMap::new(),
    };
    (Router::new(shards), (0..shards).map(part).collect())
}

impl Part {
    fn work(
        &mut self,
        network: &mut Network,
        work: impl FnOnce(&mut Shard<Rules>, Timestamp, &mut Ends<'_>),
    ) {
        let now = network.now();
        work(&mut self.core, now, &mut Ends { network, ends: &self.ends });
    }
}

/// Who may do what: whoever has a session may keep it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules(fn(&Ask<'_>) -> Verdict);

impl Authorize for Rules {
    fn session(&self, _: &PeerInfo) -> Verdict {
        Verdict::ALLOWED
    }

    fn request(&self, ask: &Ask<'_>) -> Verdict {
        (self.0)(ask)
    }
}

/// The connections of one shard.
struct Ends<'a> {
    network: &'a mut Network,
    ends: &'a BTreeMap<ConnectionId, EndpointId>,
}

impl Connections for Ends<'_> {
    fn with<R>(
        &mut self,
        id: ConnectionId,
        work: impl FnOnce(&mut MoqtConnection) -> R,
    ) -> Option<R> {
        let at = *self.ends.get(&id)?;
        Some(self.network.with(at, |connection, _| work(connection)))
    }
}
