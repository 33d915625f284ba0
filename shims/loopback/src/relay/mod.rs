//! [`Relays`]: nodes of a [`Network`] that are no applications.

mod mail;
mod node;

use core::time::Duration;
use std::collections::BTreeMap;

use moqt_engine::{Draft, Event, MoqtConnection, Role, Timestamp, Transport};
use moqt_relay::{PeerKind, Stats};

use crate::config::LinkConfig;
use crate::fault::Fault;
use crate::network::{EndpointId, Network, RawId};
use crate::rng::Rng;
use mail::Mail;
use node::{Node, Place};

/// A relay among [`Relays`]. Means nothing to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(usize);

/// What a relay is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayOptions {
    /// How it behaves.
    pub config: moqt_relay::Config,
    /// What its connections bring along.
    pub connections: moqt_engine::Config,
    /// How many shards it has: 1.
    pub shards: u16,
    /// Whether a request may be made: every one may.
    pub authorize: fn(&moqt_relay::Ask<'_>) -> moqt_relay::Verdict,
    /// How long a message takes from a shard to the router and from there to another, at most:
    /// 0. Each takes its own time, as the seed says, but none overtakes an earlier one of the
    /// same shard on its way to the router, or to the same shard on its way from there.
    pub message_delay: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            config: moqt_relay::Config::default(),
            connections: moqt_engine::Config::default(),
            shards: 1,
            authorize: |_| moqt_relay::Verdict::ALLOWED,
            message_delay: Duration::ZERO,
        }
    }
}

/// The relays of a network: some ends of its links are theirs.
///
/// Whoever drives the network hands them [events](Self::handle_event), asks [when](Self::next_time)
/// they want to go on by themselves, and [lets them](Self::tend) then. A
/// `Simulation` does this by itself.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use moqt_engine::{Config, Draft, MoqtConnection, Role, Transport};
/// use moqt_loopback::{LinkConfig, Network, RelayOptions, Relays};
///
/// let mut network = Network::new(7);
/// let mut relays = Relays::new(7);
/// let relay = relays.add(RelayOptions::default());
/// let config = Arc::new(Config::default());
/// let now = network.now();
/// let client = MoqtConnection::new(Role::Client, Draft::D18, Transport::Quic, config, now);
/// let client = relays.connect(&mut network, relay, client, LinkConfig::default());
/// let deadline = now.saturating_add(Duration::from_secs(1));
/// while relays.step(&mut network, deadline) {
///     while let Some((at, event)) = network.next_event() {
///         if let Some(event) = relays.handle_event(&mut network, at, event) {
///             println!("{at}: {event:?}");
///         }
///     }
/// }
/// assert!(network.connection(client).is_established());
/// assert_eq!(relays.stats(relay).len(), 1);
/// ```
///
/// # Panics
///
/// All methods panic if they are given a relay of others.
#[derive(Debug)]
pub struct Relays {
    nodes: Vec<Node>,
    /// To whom an end belongs.
    places: BTreeMap<EndpointId, Place>,
    mail: Mail,
    chance: Rng,
    connections: u64,
}

impl Relays {
    /// None, yet. All that is left to chance depends on the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            places: BTreeMap::new(),
            mail: Mail::default(),
            chance: Rng::fork(seed, u64::MAX - 1),
            connections: 0,
        }
    }

    /// A relay without connections. Its [`relay_id`](moqt_relay::Config::relay_id), if it has none,
    /// is its number, counted from 1.
    pub fn add(&mut self, mut options: RelayOptions) -> RelayId {
        let id = RelayId(self.nodes.len());
        if options.config.relay_id == 0 {
            options.config.relay_id = u64::try_from(id.0).unwrap_or_default().saturating_add(1);
        }
        self.nodes.push(Node::new(options));
        id
    }

    /// Links a client's connection with a relay, in a shard that the seed chooses. What is
    /// returned is the client's end.
    pub fn connect(
        &mut self,
        network: &mut Network,
        relay: RelayId,
        client: MoqtConnection,
        link: LinkConfig,
    ) -> EndpointId {
        let config = self.node(relay).connections.clone();
        let (draft, transport) = (client.draft(), client.transport());
        let server = MoqtConnection::new(Role::Server, draft, transport, config, network.now());
        let (client, server) = network.connect(client, server, link);
        self.take(relay, server, PeerKind::Client);
        client
    }

    /// Links a scripted client with a relay, over QUIC.
    pub fn connect_raw(
        &mut self,
        network: &mut Network,
        relay: RelayId,
        draft: Draft,
        link: LinkConfig,
    ) -> RawId {
        let config = self.node(relay).connections.clone();
        let now = network.now();
        let server = MoqtConnection::new(Role::Server, draft, Transport::Quic, config, now);
        let (server, client) = network.connect_raw(server, link);
        self.take(relay, server, PeerKind::Client);
        client
    }

    /// Links a relay with one further up, to which it is a client. What is returned is the
    /// lower one's end.
    pub fn connect_upstream(
        &mut self,
        network: &mut Network,
        [down, up]: [RelayId; 2],
        draft: Draft,
        transport: Transport,
        link: LinkConfig,
    ) -> EndpointId {
        let config = self.node(down).connections.clone();
        let client = MoqtConnection::new(Role::Client, draft, transport, config, network.now());
        let client = self.connect(network, up, client, link);
        self.take(down, client, PeerKind::Upstream);
        client
    }

    /// An end is a relay's from now on.
    fn take(&mut self, relay: RelayId, at: EndpointId, kind: PeerKind) {
        self.connections += 1;
        let number = self.connections;
        let shards = self.node(relay).shards.len();
        let chosen = self.chance.below(u64::try_from(shards).unwrap_or(1));
        let shard = usize::try_from(chosen).unwrap_or_default();
        let place = self.node_mut(relay).take(relay, shard, number, at, kind);
        self.places.insert(at, place);
    }

    /// Hands a relay what happened at its end of a link; gives back what happened at another.
    pub fn handle_event(
        &mut self,
        network: &mut Network,
        at: EndpointId,
        event: Event,
    ) -> Option<Event> {
        let Some(place) = self.places.get_mut(&at) else { return Some(event) };
        let Some(node) = place.relay.and_then(|relay| self.nodes.get_mut(relay.0)) else {
            // The relay was killed.
            return None;
        };
        node.handle_event(network, place, at, event);
        if let Some(relay) = place.relay {
            self.collect(network, relay);
        }
        None
    }

    /// When a timer of a relay's runs out, or a message from shard to shard arrives.
    pub fn next_time(&self) -> Option<Timestamp> {
        let timers = self.nodes.iter().filter_map(Node::next_time);
        timers.chain(self.mail.next_time()).min()
    }

    /// Does what is due.
    pub fn tend(&mut self, network: &mut Network) {
        let now = network.now();
        while let Some((relay, letter)) = self.mail.next(now) {
            self.node_mut(relay).handle_letter(network, letter);
            self.collect(network, relay);
        }
        for relay in (0..self.nodes.len()).map(RelayId) {
            if self.node_mut(relay).handle_timeouts(network) {
                self.collect(network, relay);
            }
        }
    }

    /// Lets the next thing happen, in the network or among the relays. `false` if nothing will
    /// before the deadline; it is the time then.
    pub fn step(&mut self, network: &mut Network, deadline: Timestamp) -> bool {
        let ours = self.next_time().filter(|at| *at <= deadline);
        let theirs = network.next_time().filter(|at| *at <= deadline);
        match (ours, theirs) {
            (None, None) => {
                network.run_until(deadline);
                return false;
            }
            (Some(ours), theirs) if theirs.is_none_or(|theirs| ours < theirs) => {
                network.run_until(ours);
            }
            _ => {
                network.step();
            }
        }
        self.tend(network);
        true
    }

    /// Puts messages of a relay's shards on their way.
    fn collect(&mut self, network: &Network, relay: RelayId) {
        let node = self.node_mut(relay);
        let message_delay = node.message_delay;
        for letter in node.take_letters() {
            let delay = self.chance.duration(message_delay);
            self.mail.post(relay, network.now().saturating_add(delay), letter);
        }
    }

    /// A relay's machine dies: its state is gone, and nothing that it sent and is on its way
    /// arrives. Its peers notice after `unnoticed`, which stands for the transport's idle timeout.
    pub fn kill(&mut self, network: &mut Network, relay: RelayId, unnoticed: Duration) {
        for at in self.ends(relay) {
            if let Some(place) = self.places.get_mut(&at) {
                place.relay = None;
            }
            for end in [at, at.peer()] {
                network.inject(end, Fault::Stall { lasting: Duration::MAX });
            }
            let reason = "the idle timeout has passed".to_owned();
            let when = network.now().saturating_add(unnoticed);
            network.schedule(when, at.peer(), Fault::Disconnect { reason });
        }
        self.node_mut(relay).reset();
        self.mail.drop_of(relay);
    }

    /// Asks all clients of a relay to leave, as [`moqt_relay::Shard::go_away`] does.
    pub fn go_away(&mut self, network: &mut Network, relay: RelayId, timeout: Duration) {
        self.node_mut(relay).go_away(network, timeout);
        self.collect(network, relay);
    }

    /// What each shard of a relay has and has done. Since it was killed, if it was.
    pub fn stats(&self, relay: RelayId) -> Vec<Stats> {
        self.node(relay).shards.iter().map(|shard| shard.core.stats()).collect()
    }

    /// Whether a relay has nothing left: no sessions, no tracks, no namespaces, nothing in its
    /// caches, and no messages between its shards.
    pub fn is_empty(&self, relay: RelayId) -> bool {
        let shards = &self.node(relay).shards;
        shards.iter().all(|shard| shard.core.is_empty()) && !self.mail.has(relay)
    }

    /// The ends of links that are a relay's, but for those whose session is over.
    pub fn ends(&self, relay: RelayId) -> Vec<EndpointId> {
        let shards = self.node(relay).shards.iter();
        shards.flat_map(|shard| shard.ends.values().copied()).collect()
    }

    fn node(&self, relay: RelayId) -> &Node {
        match self.nodes.get(relay.0) {
            Some(node) => node,
            None => unreachable!("{relay:?} is not among these relays"),
        }
    }

    fn node_mut(&mut self, relay: RelayId) -> &mut Node {
        match self.nodes.get_mut(relay.0) {
            Some(node) => node,
            None => unreachable!("{relay:?} is not among these relays"),
        }
    }
}
