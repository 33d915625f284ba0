//! The nodes themselves, before anything goes through them.

use std::sync::Arc;
use std::time::Duration;

use moqt_conformance::DRAFTS;
use moqt_engine::{CloseReason, Config, Draft, Event, MoqtConnection, Role, Timestamp, Transport};
use moqt_loopback::{EndpointId, LinkConfig, Network, RelayId, RelayOptions, Relays};

/// A network with relays, and what was told at ends that are nobody's.
struct World {
    network: Network,
    relays: Relays,
    told: Vec<(Timestamp, EndpointId, Event)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self { network: Network::new(seed), relays: Relays::new(seed), told: Vec::new() }
    }

    fn relay(&mut self, shards: u16) -> RelayId {
        let mut options = RelayOptions::default();
        options.shards = shards;
        options.message_delay = Duration::from_millis(3);
        self.relays.add(options)
    }

    fn client(&mut self, draft: Draft, transport: Transport, relay: RelayId) -> EndpointId {
        let config = Arc::new(Config::default());
        let now = self.network.now();
        let client = MoqtConnection::new(Role::Client, draft, transport, config, now);
        self.relays.connect(&mut self.network, relay, client, LinkConfig::default())
    }

    fn run_for(&mut self, duration: Duration) {
        let deadline = self.network.now().saturating_add(duration);
        while self.relays.step(&mut self.network, deadline) {
            while let Some((at, event)) = self.network.next_event() {
                let now = self.network.now();
                let event = self.relays.handle_event(&mut self.network, at, event);
                self.told.extend(event.map(|event| (now, at, event)));
            }
        }
    }
}

/// A relay above two others, and a client of each draft and transport at each.
fn tree(seed: u64) -> (World, [RelayId; 3], Vec<EndpointId>) {
    let mut world = World::new(seed);
    let relays = [1, 2, 3].map(|shards| world.relay(shards));
    for down in [relays[1], relays[2]] {
        let World { network, relays: all, .. } = &mut world;
        let link = LinkConfig::seeded(seed);
        all.connect_upstream(network, [down, relays[0]], Draft::D16, Transport::Quic, link);
    }
    let mut clients = Vec::new();
    for relay in relays {
        for draft in DRAFTS {
            for transport in [Transport::Quic, Transport::WebTransport] {
                clients.push(world.client(draft, transport, relay));
            }
        }
    }
    world.run_for(Duration::from_secs(5));
    (world, relays, clients)
}

#[test]
fn sessions_of_all_drafts_and_transports_are_set_up_at_every_relay() {
    let (world, relays, clients) = tree(1);
    for client in clients {
        assert!(world.network.connection(client).is_established(), "{client}");
        assert!(world.network.connection(client.peer()).is_established(), "{client}");
    }
    // Six clients each, and the links among them.
    assert_eq!(relays.map(|relay| world.relays.ends(relay).len()), [8, 7, 7]);
    let is_established = |at: EndpointId| world.network.connection(at).is_established();
    assert!(relays.iter().flat_map(|relay| world.relays.ends(*relay)).all(is_established));
}

#[test]
fn the_peers_of_a_relay_that_dies_notice_when_the_idle_timeout_has_passed() {
    let (mut world, relays, clients) = tree(2);
    let died = world.network.now();
    let unnoticed = Duration::from_secs(10);
    world.relays.kill(&mut world.network, relays[0], unnoticed);
    assert!(world.relays.ends(relays[0]).is_empty());
    world.told.clear();
    world.run_for(Duration::from_secs(20));
    for (number, client) in clients.iter().enumerate() {
        let at_it = |(at, of, event): &(Timestamp, EndpointId, Event)| match event {
            Event::Closed { reason: CloseReason::Transport { .. } } if of == client => Some(*at),
            _ => None,
        };
        let closed: Vec<Timestamp> = world.told.iter().filter_map(at_it).collect();
        if number < 6 {
            let [at] = closed[..] else { panic!("{client} was told {} times", closed.len()) };
            assert!(at.saturating_since(died) >= unnoticed, "{client}");
        } else {
            assert!(closed.is_empty(), "{client} is another relay's");
        }
    }
    assert_eq!(world.relays.ends(relays[1]).len(), 6, "a link with the one that died is over");
    // It can be started again.
    let client = world.client(Draft::D18, Transport::Quic, relays[0]);
    world.run_for(Duration::from_secs(1));
    assert!(world.network.connection(client).is_established());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| tree(seed).0.network.raw_trace_hash();
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
