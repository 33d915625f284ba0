//! Scenarios from seeds.

use std::time::Duration;

use moqt_engine::model::{
    GroupOrder, JoiningStart, Location, NamespaceInterest, SubscriptionFilter,
};
use moqt_engine::{Draft, Transport};
use moqt_loopback::{Chance, Chunking, LinkConfig, PathConfig, ResetDelivery, Rng};

use super::scenario::{Act, ClientPlan, How, Level, RelayPlan, Scenario, Step, TrackContent};
use crate::DRAFTS;
use crate::simulation::{Burst, BurstEnd, GroupPick, TrackPlan, Trouble, Wish};

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64, level: Level) -> Self {
        let mut maker = Maker { rng: Rng::fork(seed, 0x7e1a), level, steps: Vec::new() };
        maker.scenario(seed)
    }
}

/// Makes a scenario.
pub(super) struct Maker {
    pub(super) rng: Rng,
    level: Level,
    steps: Vec<Step>,
}

impl Maker {
    fn scenario(&mut self, seed: u64) -> Scenario {
        let is_one = self.level == Level::One;
        let relays = match self.rng.below(10) {
            _ if is_one => 1,
            0..=2 => 1,
            3..=8 => self.rng.between(2, 6),
            _ => self.rng.between(7, 20),
        };
        let relays: Vec<RelayPlan> = (0..relays).map(|number| self.relay(number)).collect();
        if self.level == Level::Names {
            return self.names(seed, relays);
        }
        let tracks = if is_one { 1 } else { self.rng.between(1, 4) };
        let tracks: Vec<TrackContent> = (0..tracks).map(|_| self.track()).collect();
        let publishers = if is_one { 1 } else { self.rng.between(1, 4) };
        let subscribers = if is_one { 1 } else { self.rng.between(1, 6) };
        let count = publishers + subscribers;
        let mut clients: Vec<ClientPlan> = (0..count).map(|_| self.client(relays.len())).collect();
        for client in 0..clients.len() {
            let at = if is_one || self.percent(75) { 0 } else { self.rng.below(10_000) };
            self.step(at, Act::Connect { client });
        }
        let mut tracks = tracks;
        let says_all = |client: &ClientPlan| client.draft >= Draft::D16;
        if !clients.iter().take(usize::try_from(publishers).unwrap_or(0)).all(says_all) {
            // Publishers of draft 14 cannot tell of a track's default, so that others, who can,
            // would say something else.
            for track in &mut tracks {
                track.has_default_priority = false;
            }
        }
        self.offers(tracks.len(), publishers);
        self.subscriptions(tracks.len(), publishers, count);
        self.course(tracks.len(), publishers, count, relays.len());
        if self.level == Level::Moves {
            self.moves(&relays, &mut clients);
        }
        self.scenario_of(seed, relays, clients, tracks)
    }

    pub(super) fn scenario_of(
        &mut self,
        seed: u64,
        relays: Vec<RelayPlan>,
        clients: Vec<ClientPlan>,
        tracks: Vec<TrackContent>,
    ) -> Scenario {
        self.steps.sort_by_key(|step| step.at);
        let steps = core::mem::take(&mut self.steps);
        Scenario { level: self.level, seed, relays, clients, tracks, steps }
    }

    /// Who publishes what, from the beginning or nearly so.
    fn offers(&mut self, tracks: usize, publishers: u64) {
        for track in 0..tracks {
            let mut offers = 1;
            while self.level != Level::One && offers < 3 && self.percent(25) {
                offers += 1;
            }
            for _ in 0..offers {
                let at =
                    if self.percent(70) { self.rng.below(1000) } else { self.rng.below(15_000) };
                let client = self.pick(publishers);
                let how = self.how();
                self.step(at.max(500), Act::Offer { client, track, how });
            }
        }
    }

    fn subscriptions(&mut self, tracks: usize, publishers: u64, count: u64) {
        for client in publishers..count {
            let client = usize::try_from(client).unwrap_or_default();
            if self.level != Level::One && self.percent(15) {
                let at = self.rng.below(8000);
                self.subscribe_namespace(at, client);
                continue;
            }
            for track in 0..tracks {
                if track == 0 || self.percent(50) {
                    let at = if self.percent(60) { 2000 } else { self.rng.below(15_000) };
                    let wish = self.wish();
                    self.step(at, Act::Subscribe { client, track, wish });
                }
            }
        }
    }

    /// What happens then.
    fn course(&mut self, tracks: usize, publishers: u64, count: u64, relays: usize) {
        let mut at = 2500;
        for _ in 0..self.rng.between(5, 60) {
            at += match self.rng.below(8) {
                0..=2 => 0,
                3..=5 => self.rng.below(100),
                6 => self.rng.below(1000),
                _ => self.rng.below(8000),
            };
            let track = self.pick(tracks as u64);
            let publisher = self.pick(publishers);
            let subscriber =
                usize::try_from(self.rng.between(publishers, count - 1)).unwrap_or_default();
            let act = self.act(track, publisher, subscriber);
            self.step(at, act);
            if self.level == Level::Faults && self.percent(12) {
                self.fault(at, count, relays);
            }
        }
    }

    fn act(&mut self, track: usize, publisher: usize, client: usize) -> Act {
        let pick = self.pick(16);
        let is_one = self.level == Level::One;
        match self.rng.below(100) {
            55..=62 => Act::Fetch {
                client,
                track,
                start: self.location(),
                end: Location::new(self.rng.between(1, 12), self.rng.below(6)),
                order: self.order(),
            },
            63..=69 => {
                let start = if self.percent(60) {
                    JoiningStart::Relative(self.rng.below(4))
                } else {
                    JoiningStart::Absolute(self.rng.below(6))
                };
                Act::Join { client, pick, start }
            }
            70..=72 => Act::TrackStatus { client, track },
            73..=76 => Act::FinishGroup { track },
            77..=80 => Act::Subscribe { client, track, wish: self.wish() },
            81..=84 if !is_one => Act::Unsubscribe { client, pick },
            85..=87 if !is_one => Act::Forward { client, pick, forward: self.percent(50) },
            88..=90 if !is_one => Act::Offer { client: publisher, track, how: self.how() },
            91..=92 if !is_one => {
                let is_end = self.percent(20);
                Act::Leave { client: publisher, track, is_end }
            }
            93 if !is_one => Act::Close { client },
            94 if !is_one => Act::Close { client: publisher },
            95..=96 if !is_one => Act::Pause { client, millis: self.rng.below(8000) },
            97 if !is_one => Act::EndNamespaceSubscription { client, pick },
            98 if !is_one => {
                let unnoticed = self.rng.between(1000, 10_000);
                if self.level == Level::Faults {
                    Act::Die {
                        client: if self.percent(50) { client } else { publisher },
                        unnoticed,
                    }
                } else {
                    Act::Close { client }
                }
            }
            _ => {
                let burst = self.burst();
                Act::Produce { track, burst, closes_group: self.percent(20) }
            }
        }
    }

    /// Something goes wrong.
    fn fault(&mut self, at: u64, clients: u64, relays: usize) {
        let relay = self.pick(relays as u64);
        match self.rng.below(10) {
            0 => {
                let unnoticed = self.rng.between(500, 10_000);
                self.step(at, Act::Kill { relay, unnoticed });
                let again = at + unnoticed + self.rng.between(500, 3000);
                for relay in 0..relays {
                    self.step(again, Act::Relink { relay });
                }
            }
            1..=4 => {
                let (at_parent, trouble) = (self.percent(50), self.trouble());
                self.step(at, Act::RelayTrouble { relay, at_parent, trouble });
                let again = at + self.rng.between(500, 3000);
                self.step(again, Act::Relink { relay });
            }
            _ => {
                let client = self.pick(clients);
                let (at_relay, trouble) = (self.percent(50), self.trouble());
                self.step(at, Act::ClientTrouble { client, at_relay, trouble });
            }
        }
    }

    fn trouble(&mut self) -> Trouble {
        let millis = self.rng.below(4000);
        match self.rng.below(20) {
            0..=3 => Trouble::ResetStream { pick: 0 },
            4..=6 => Trouble::StopSending { pick: 0 },
            7..=9 => Trouble::Stall { millis },
            10..=12 => Trouble::StopReading { millis },
            13..=15 => Trouble::RefuseStreams { millis },
            16 => Trouble::HoldDatagrams { millis },
            _ => Trouble::Disconnect,
        }
    }

    pub(super) fn relay(&mut self, number: u64) -> RelayPlan {
        let is_one = self.level == Level::One;
        RelayPlan {
            parent: self.pick(number.max(1)),
            draft: self.draft(),
            transport: self.transport(),
            link: Some(self.link()),
            shards: if is_one { 1 } else { u16::try_from(self.rng.between(1, 3)).unwrap_or(1) },
            message_delay: if self.percent(50) { 0 } else { self.rng.below(20) },
            track_objects: if self.percent(80) {
                65_536
            } else {
                usize::try_from(self.rng.between(1, 40)).unwrap_or(1)
            },
        }
    }

    pub(super) fn client(&mut self, relays: usize) -> ClientPlan {
        ClientPlan {
            relay: self.pick(relays as u64),
            draft: self.draft(),
            transport: self.transport(),
            link: Some(self.link()),
            read_max: if self.percent(50) { usize::MAX } else { 1 + self.pick(5000) },
            halves: self.percent(25).then(|| self.rng.below(300)),
        }
    }

    pub(super) fn track(&mut self) -> TrackContent {
        let plan = TrackPlan {
            end: 0,
            is_datagrams: self.percent(15),
            named_by_first: self.percent(25),
            has_properties: self.percent(40),
            priority: Some(u8::try_from(self.rng.below(256)).unwrap_or_default()),
            timeout: None,
        };
        TrackContent { plan, has_default_priority: self.percent(30) }
    }

    fn link(&mut self) -> LinkConfig {
        LinkConfig { up: self.path(), down: self.path() }
    }

    fn path(&mut self) -> PathConfig {
        let mut path = PathConfig::default();
        path.latency = Duration::from_millis(self.rng.below(50));
        path.jitter = Duration::from_millis(if self.percent(50) { self.rng.below(30) } else { 0 });
        if self.percent(50) {
            let len = self.rng.between(1, 3000);
            path.chunking = Chunking::Random(usize::try_from(len).unwrap_or(1));
        }
        if self.percent(50) {
            path.reset = ResetDelivery::AfterData;
        }
        if self.level == Level::Faults && self.percent(40) {
            path.bandwidth = self.percent(50).then(|| self.rng.between(1_000_000, 20_000_000));
            path.stream_window = self.rng.between(8192, 64 * 1024);
            path.connection_window = self.rng.between(path.stream_window * 4, 1024 * 1024);
            path.bi_streams = self.rng.between(20, 100);
            path.uni_streams = self.rng.between(5, 100);
            path.overshoot = self.percent(50);
            let mut chance =
                |most| Chance::percent(u32::try_from(self.rng.below(most)).unwrap_or(0));
            path.datagrams.loss = chance(20);
            path.datagrams.duplication = chance(5);
            path.datagrams.reordering = chance(20);
        }
        path
    }

    pub(super) fn burst(&mut self) -> Burst {
        Burst {
            group: match self.rng.below(10) {
                0..=4 => GroupPick::Next,
                5..=7 => GroupPick::Largest,
                8 => GroupPick::Skip(self.rng.below(3)),
                _ => GroupPick::Earlier(self.rng.below(3)),
            },
            subgroup: if self.percent(70) { 0 } else { self.rng.below(3) },
            count: self.rng.between(1, 5),
            gap: if self.percent(15) { self.rng.below(4) } else { 0 },
            size: usize::try_from(match self.rng.below(20) {
                0..=1 => 0,
                2..=12 => self.rng.below(100),
                13..=17 => self.rng.below(2000),
                18 => self.rng.below(20_000),
                _ => self.rng.below(100_000),
            })
            .unwrap_or_default(),
            finish: self.percent(70),
            end: match self.rng.below(40) {
                0..=2 => BurstEnd::GroupByStatus,
                3 => BurstEnd::TrackByStatus,
                _ => BurstEnd::Nothing,
            },
        }
    }

    pub(super) fn wish(&mut self) -> Wish {
        Wish {
            filter: match self.rng.below(10) {
                0..=3 => None,
                4..=6 => Some(SubscriptionFilter::LargestObject),
                7 => Some(SubscriptionFilter::NextGroupStart),
                8 => Some(SubscriptionFilter::AbsoluteStart { start: self.location() }),
                _ => {
                    let start = self.location();
                    let end_group = start.group + self.rng.below(5);
                    Some(SubscriptionFilter::AbsoluteRange { start, end_group })
                }
            },
            forward: self.percent(10).then(|| self.percent(50)),
            priority: self
                .percent(20)
                .then(|| u8::try_from(self.rng.below(256)).unwrap_or_default()),
            order: self.order(),
            timeout: None,
        }
    }

    fn subscribe_namespace(&mut self, at: u64, client: usize) {
        let which = u8::try_from(self.rng.below(3)).unwrap_or_default();
        let interest = match self.rng.below(3) {
            0 => NamespaceInterest::Tracks,
            1 => NamespaceInterest::Namespaces,
            _ => NamespaceInterest::Both,
        };
        self.step(at, Act::SubscribeNamespace { client, which, interest });
    }

    pub(super) fn how(&mut self) -> How {
        match self.rng.below(4) {
            0..=1 => How::Namespace,
            2 => How::Publish,
            _ => How::Both,
        }
    }

    fn order(&mut self) -> Option<GroupOrder> {
        match self.rng.below(4) {
            0 => Some(GroupOrder::Ascending),
            1 => Some(GroupOrder::Descending),
            _ => None,
        }
    }

    fn location(&mut self) -> Location {
        Location::new(self.rng.below(6), self.rng.below(4))
    }

    fn draft(&mut self) -> Draft {
        DRAFTS[self.pick(DRAFTS.len() as u64)]
    }

    fn transport(&mut self) -> Transport {
        if self.percent(50) { Transport::Quic } else { Transport::WebTransport }
    }

    pub(super) fn step(&mut self, at: u64, act: Act) {
        self.steps.push(Step { at, act });
    }

    pub(super) fn pick(&mut self, bound: u64) -> usize {
        usize::try_from(self.rng.below(bound)).unwrap_or_default()
    }

    pub(super) fn percent(&mut self, times: u64) -> bool {
        self.rng.below(100) < times
    }
}
