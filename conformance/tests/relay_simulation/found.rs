//! What the simulation has found, each as the few steps that it took.

use moqt_conformance::DRAFTS;
use moqt_conformance::relay_simulation::{
    Act, ClientPlan, How, Level, RelayPlan, Scenario, Step, TrackContent,
};
use moqt_conformance::simulation::{Burst, BurstEnd, GroupPick, TrackPlan, Wish};
use moqt_engine::model::{GroupOrder, Location};
use moqt_engine::{Draft, Transport};
use moqt_loopback::{Chunking, LinkConfig};

const RELAY: RelayPlan = RelayPlan {
    parent: 0,
    draft: Draft::D18,
    transport: Transport::Quic,
    link: None,
    shards: 1,
    message_delay: 0,
    track_objects: 65_536,
};

/// Objects in a new group.
const BURST: Burst = Burst {
    group: GroupPick::Next,
    subgroup: 0,
    count: 3,
    gap: 0,
    size: 100,
    finish: true,
    end: BurstEnd::Nothing,
};

/// A client of a relay's.
fn client(relay: usize, draft: Draft) -> ClientPlan {
    let transport = Transport::Quic;
    ClientPlan { relay, draft, transport, link: None, read_max: usize::MAX, halves: None }
}

/// A scenario of tracks of the plainest kind; clients connect at its beginning.
fn scenario(
    relays: Vec<RelayPlan>,
    clients: Vec<ClientPlan>,
    tracks: usize,
    steps: &[(u64, Act)],
) -> Scenario {
    let plan = TrackPlan {
        end: 0,
        is_datagrams: false,
        named_by_first: false,
        has_properties: false,
        priority: Some(100),
        timeout: None,
    };
    let connects = (0..clients.len()).map(|client| Step { at: 0, act: Act::Connect { client } });
    let steps = steps.iter().map(|(at, act)| Step { at: *at, act: act.clone() });
    let steps = connects.chain(steps).collect();
    let tracks = vec![TrackContent { plan, has_default_priority: false }; tracks];
    Scenario { level: Level::Calm, seed: 1, relays, clients, tracks, steps }
}

#[track_caller]
fn check(scenario: &Scenario) {
    if let Err(broken) = scenario.check() {
        panic!("{scenario}{broken}");
    }
}

fn offer(client: usize, track: usize, how: How) -> Act {
    Act::Offer { client, track, how }
}

fn subscribe(client: usize, track: usize) -> Act {
    Act::Subscribe { client, track, wish: Wish::default() }
}

fn produce(track: usize, burst: Burst) -> Act {
    Act::Produce { track, burst, closes_group: false }
}

fn fetch(client: usize, start: (u64, u64), end: (u64, u64), order: Option<GroupOrder>) -> Act {
    let (start, end) = (Location::new(start.0, start.1), Location::new(end.0, end.1));
    Act::Fetch { client, track: 0, start, end, order }
}

#[test]
fn what_only_draft_14_can_say_in_a_fetch_goes_without_saying_on_others() {
    for draft in DRAFTS {
        let burst = Burst { end: BurstEnd::GroupByStatus, ..BURST };
        let steps = [
            (500, offer(0, 0, How::Namespace)),
            (5000, produce(0, burst)),
            (6000, produce(0, BURST)),
            (15_000, fetch(1, (0, 0), (9, 0), None)),
        ];
        let clients = vec![client(0, Draft::D14), client(0, draft)];
        check(&scenario(vec![RELAY], clients, 1, &steps));
    }
}

#[test]
fn a_track_that_is_not_forwarded_can_be_fetched() {
    let steps = [
        (500, offer(0, 0, How::Publish)),
        (5000, produce(0, BURST)),
        (6000, produce(0, BURST)),
        (15_000, fetch(1, (0, 0), (9, 0), None)),
    ];
    for draft in DRAFTS {
        let clients = vec![client(0, draft), client(0, Draft::D18)];
        check(&scenario(vec![RELAY], clients, 1, &steps));
    }
}

#[test]
fn what_was_published_since_the_last_subscriber_left_can_be_fetched() {
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (2000, subscribe(1, 0)),
        (3000, produce(0, BURST)),
        (8000, Act::Unsubscribe { client: 1, pick: 0 }),
        (15_000, produce(0, BURST)),
        (20_000, fetch(1, (0, 0), (9, 0), None)),
    ];
    let clients = vec![client(0, Draft::D18), client(0, Draft::D18)];
    check(&scenario(vec![RELAY], clients, 1, &steps));
}

#[test]
fn a_group_that_is_held_in_part_is_not_begun_twice_in_descending_order() {
    let part = Burst { finish: false, ..BURST };
    for draft in DRAFTS {
        let steps = [
            (500, offer(0, 0, How::Namespace)),
            (2000, produce(0, part)),
            (3000, subscribe(1, 0)),
            (8000, produce(0, BURST)),
            (9000, produce(0, BURST)),
            (15_000, fetch(1, (0, 1), (9, 0), Some(GroupOrder::Descending))),
        ];
        let clients = vec![client(0, draft), client(0, Draft::D18)];
        check(&scenario(vec![RELAY], clients, 1, &steps));
    }
}

#[test]
fn where_a_publisher_has_nothing_nothing_is_unknown() {
    for draft in DRAFTS {
        let with_gap = Burst { gap: 2, ..BURST };
        let steps = [
            (500, offer(0, 0, How::Namespace)),
            (2000, subscribe(1, 0)),
            (3000, produce(0, with_gap)),
            (5000, produce(0, with_gap)),
            (10_000, fetch(1, (0, 0), (0, 3), None)),
            (11_000, fetch(1, (0, 4), (0, 0), None)),
            (12_000, fetch(1, (0, 0), (9, 0), None)),
        ];
        let clients = vec![client(0, draft), client(0, Draft::D18)];
        check(&scenario(vec![RELAY], clients, 1, &steps));
    }
}

#[test]
fn an_object_that_a_fetch_completes_first_reaches_subscribers_too() {
    let part = Burst { finish: false, size: 5000, count: 1, ..BURST };
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (1000, produce(0, part)),
        (2000, subscribe(1, 0)),
        (8000, produce(0, Burst { group: GroupPick::Largest, ..part })),
        (8150, fetch(1, (0, 0), (9, 0), None)),
    ];
    let mut publisher = client(0, Draft::D18);
    publisher.halves = Some(300);
    check(&scenario(vec![RELAY], vec![publisher, client(0, Draft::D18)], 1, &steps));
}

#[test]
fn a_subgroup_is_finished_even_if_the_cache_has_forgotten_it() {
    let open = Burst { finish: false, ..BURST };
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (2000, subscribe(1, 0)),
        (3000, produce(0, open)),
        (4000, produce(0, BURST)),
        (5000, produce(0, BURST)),
        (6000, produce(0, Burst { group: GroupPick::Earlier(2), ..BURST })),
    ];
    let relay = RelayPlan { track_objects: 2, ..RELAY };
    check(&scenario(vec![relay], vec![client(0, Draft::D18); 2], 1, &steps));
}

#[test]
fn relays_speak_any_draft_with_each_other() {
    for draft in DRAFTS {
        let relays = vec![RELAY, RelayPlan { draft, ..RELAY }, RelayPlan { draft, ..RELAY }];
        let steps = [
            (500, offer(0, 0, How::Namespace)),
            (8000, subscribe(1, 0)),
            (15_000, produce(0, BURST)),
            (25_000, fetch(1, (0, 0), (9, 0), None)),
        ];
        let clients = vec![client(1, Draft::D18), client(2, Draft::D18)];
        check(&scenario(relays, clients, 1, &steps));
    }
}

#[test]
fn objects_that_come_before_the_answer_to_their_fetch_are_fetched() {
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (5000, produce(0, BURST)),
        (15_000, fetch(1, (0, 0), (9, 0), None)),
    ];
    for seed in 1..20 {
        let mut publisher = client(0, Draft::D18);
        let mut link = LinkConfig::default();
        link.up.jitter = std::time::Duration::from_millis(50);
        link.up.chunking = Chunking::Random(50);
        publisher.link = Some(link);
        let clients = vec![publisher, client(0, Draft::D18)];
        let mut scenario = scenario(vec![RELAY], clients, 1, &steps);
        scenario.seed = seed;
        check(&scenario);
    }
}

#[test]
fn relays_upstream_are_asked_for_what_those_who_publish_its_namespace_do_not_have() {
    // Both tracks are in one namespace, but each has its own publisher at its own relay.
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (500, offer(1, 2, How::Namespace)),
        (8000, subscribe(2, 0)),
        (15_000, produce(0, BURST)),
    ];
    let clients = vec![client(0, Draft::D18), client(1, Draft::D18), client(1, Draft::D18)];
    check(&scenario(vec![RELAY, RELAY], clients, 3, &steps));
}

/// Checks a scenario with other links and other shards for its clients each time.
#[track_caller]
fn check_often(mut scenario: Scenario) {
    for seed in 1..20 {
        scenario.seed = seed;
        check(&scenario);
    }
}

#[test]
fn what_comes_before_the_answer_to_a_fetch_says_nothing_of_what_is_after_it() {
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (2000, subscribe(1, 0)),
        (3000, produce(0, BURST)),
        (3000, fetch(1, (0, 1), (2, 0), Some(GroupOrder::Descending))),
        (9000, produce(0, BURST)),
    ];
    let mut publisher = client(0, Draft::D18);
    let mut link = LinkConfig::default();
    link.up.jitter = std::time::Duration::from_millis(50);
    publisher.link = Some(link);
    check_often(scenario(vec![RELAY], vec![publisher, client(0, Draft::D18)], 1, &steps));
}

#[test]
fn a_track_that_was_offered_is_asked_for_at_those_who_have_its_namespace_too() {
    let steps = [
        (500, offer(0, 0, How::Both)),
        (1000, offer(1, 0, How::Namespace)),
        (8000, subscribe(2, 0)),
        (9000, Act::Leave { client: 0, track: 0, is_end: false }),
        (14_000, produce(0, BURST)),
    ];
    let clients = vec![client(1, Draft::D18), client(0, Draft::D18), client(0, Draft::D18)];
    check(&scenario(vec![RELAY, RELAY], clients, 1, &steps));
}

#[test]
fn relays_do_not_get_from_each_other_what_nobody_else_gives_any_more() {
    for how in [How::Namespace, How::Publish, How::Both] {
        let steps = [
            (500, offer(0, 0, how)),
            (6000, subscribe(1, 0)),
            (12_000, Act::Leave { client: 0, track: 0, is_end: false }),
        ];
        let clients = vec![client(1, Draft::D18), client(0, Draft::D18)];
        check(&scenario(vec![RELAY, RELAY], clients, 1, &steps));
    }
}

#[test]
fn shards_hear_that_a_track_is_offered_no_longer_whoever_else_has_it() {
    let steps = [
        (500, offer(0, 0, How::Publish)),
        (600, offer(1, 0, How::Namespace)),
        (2000, subscribe(2, 0)),
    ];
    let relay = RelayPlan { shards: 2, ..RELAY };
    check_often(scenario(vec![relay], vec![client(0, Draft::D18); 3], 1, &steps));
}

#[test]
fn what_another_shard_announces_does_not_keep_a_shard_from_asking_upstream() {
    let steps = [
        (500, offer(0, 2, How::Namespace)),
        (600, offer(1, 0, How::Namespace)),
        (8000, subscribe(2, 2)),
    ];
    let relays = vec![RELAY, RelayPlan { shards: 3, ..RELAY }, RelayPlan { parent: 1, ..RELAY }];
    let clients = vec![client(0, Draft::D18), client(2, Draft::D18), client(2, Draft::D18)];
    check_often(scenario(relays, clients, 3, &steps));
}

#[test]
fn every_shard_knows_how_far_a_track_has_come() {
    let statuses = (1..4).map(|client| (8000, Act::TrackStatus { client, track: 0 }));
    for how in [How::Namespace, How::Publish] {
        let mut steps = vec![(500, offer(0, 0, how)), (1000, produce(0, BURST))];
        steps.extend(statuses.clone());
        for publisher in 0..3 {
            let shards = RelayPlan { shards: 3, ..RELAY };
            let clients = [publisher, 0, 1, 2].map(|relay| client(relay, Draft::D18));
            check_often(scenario(vec![RELAY, shards.clone(), shards], clients.into(), 1, &steps));
        }
    }
}

#[test]
fn a_group_that_was_fetched_to_its_end_says_nothing_of_the_one_before() {
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (1000, subscribe(1, 0)),
        (2566, produce(0, Burst { count: 4, size: 74_000, ..BURST })),
        (2582, produce(0, Burst { subgroup: 1, count: 5, ..BURST })),
        (2673, produce(0, Burst { group: GroupPick::Largest, count: 1, ..BURST })),
        (2767, fetch(1, (0, 1), (4, 0), Some(GroupOrder::Descending))),
    ];
    let mut publisher = client(0, Draft::D18);
    publisher.halves = Some(198);
    check(&scenario(vec![RELAY], vec![publisher, client(0, Draft::D18)], 1, &steps));
}

#[test]
fn a_track_that_another_shard_offers_no_longer_is_let_go() {
    let steps = [
        (500, offer(0, 0, How::Namespace)),
        (600, offer(1, 0, How::Both)),
        (800, Act::Close { client: 1 }),
    ];
    let relays = vec![RELAY, RelayPlan { shards: 2, ..RELAY }];
    check_often(scenario(relays, vec![client(1, Draft::D18); 2], 1, &steps));
}

#[test]
fn a_publisher_at_another_shard_is_asked_before_relays_that_have_it_from_here() {
    let steps = [
        (500, offer(0, 0, How::Both)),
        (1000, produce(0, BURST)),
        (3000, subscribe(1, 0)),
        (8000, produce(0, Burst { gap: 1, ..BURST })),
        (9000, produce(0, Burst { gap: 1, ..BURST })),
        (15_000, fetch(2, (0, 0), (9, 0), None)),
    ];
    let relays = vec![RELAY, RelayPlan { shards: 3, ..RELAY }, RelayPlan { parent: 1, ..RELAY }];
    let clients = vec![client(1, Draft::D18), client(0, Draft::D18), client(2, Draft::D18)];
    check_often(scenario(relays, clients, 1, &steps));
}
