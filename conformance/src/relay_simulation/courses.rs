//! Scenarios about namespaces, and about relays that go away.

use moqt_engine::model::NamespaceInterest;

use super::generate::Maker;
use super::scenario::{Act, ClientPlan, RelayPlan, Scenario, TrackContent};

impl Maker {
    /// Clients that publish namespaces and tracks, ask about them, and are told of them.
    pub(super) fn names(&mut self, seed: u64, relays: Vec<RelayPlan>) -> Scenario {
        let tracks = self.rng.between(1, 4);
        let mut tracks: Vec<TrackContent> = (0..tracks).map(|_| self.track()).collect();
        for track in &mut tracks {
            track.has_default_priority = false;
        }
        let publishers = self.rng.between(1, 4);
        let count = publishers + self.rng.between(1, 6);
        let clients: Vec<ClientPlan> = (0..count).map(|_| self.client(relays.len())).collect();
        for client in 0..clients.len() {
            let at = if self.percent(75) { 0 } else { self.rng.below(10_000) };
            self.step(at, Act::Connect { client });
        }
        let mut at = 500;
        for _ in 0..self.rng.between(5, 60) {
            at += match self.rng.below(8) {
                0..=2 => 0,
                3..=5 => self.rng.below(100),
                6 => self.rng.below(1000),
                _ => self.rng.below(8000),
            };
            let act = self.names_act(tracks.len(), publishers, count);
            self.step(at, act);
        }
        self.scenario_of(seed, relays, clients, tracks)
    }

    fn names_act(&mut self, tracks: usize, publishers: u64, count: u64) -> Act {
        let anybody = self.pick(count);
        let client = self.pick(publishers);
        let subscriber = client_after(publishers, self.pick(count - publishers));
        let track = self.pick(tracks as u64);
        let pick = self.pick(16);
        let which = u8::try_from(self.rng.below(8)).unwrap_or_default();
        match self.rng.below(100) {
            0..=27 => {
                let interest = match self.rng.below(3) {
                    0 => NamespaceInterest::Tracks,
                    1 => NamespaceInterest::Namespaces,
                    _ => NamespaceInterest::Both,
                };
                Act::SubscribeNamespace { client: anybody, which, interest }
            }
            28..=37 => Act::EndNamespaceSubscription { client: anybody, pick },
            38..=47 => Act::MoveNamespaceSubscription { client: anybody, pick, which },
            // Tracks are in those before.
            48..=61 => Act::Announce { client: anybody, which: 2 + which % 5 },
            62..=70 => Act::Withdraw { client: anybody, pick },
            71..=80 => Act::Offer { client, track, how: self.how() },
            81..=84 => Act::Leave { client, track, is_end: self.percent(20) },
            85..=88 => Act::Subscribe { client: subscriber, track, wish: self.wish() },
            89..=92 => Act::Unsubscribe { client: subscriber, pick },
            93..=94 => Act::Close { client: anybody },
            _ => Act::Produce { track, burst: self.burst(), closes_group: self.percent(20) },
        }
    }

    /// Some of the relays that others are below go away; their clients are those of the relay
    /// above.
    pub(super) fn moves(&mut self, relays: &[RelayPlan], clients: &mut [ClientPlan]) {
        for relay in (1..relays.len()).rev() {
            let has_some_below = relays.iter().skip(relay).any(|plan| plan.parent == relay);
            if !has_some_below || !self.percent(60) {
                continue;
            }
            for client in clients.iter_mut().filter(|client| client.relay == relay) {
                client.relay = relays[relay].parent;
            }
            let (after, at) = (self.rng.below(1000), self.rng.between(1000, 30_000));
            let timeout = after + self.rng.between(2000, 8000);
            self.step(at, Act::GoAway { relay, after, timeout });
        }
    }
}

/// A client that is none of the publishers.
fn client_after(publishers: u64, number: usize) -> usize {
    usize::try_from(publishers).unwrap_or_default() + number
}
