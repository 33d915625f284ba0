//! Who is sent first when there is not room for all.

use std::collections::BTreeMap;

use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    GroupOrder, Location, Parameters, RequestKind, SubgroupId, SubscriptionFilter, TrackProperties,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, Config, DatagramOptions, Draft, Event, IncomingRequest, RequestKey, Role, StreamKey,
    SubgroupOptions,
};
use moqt_loopback::{Chunking, LinkConfig, Pair, PathConfig, Rng};

use moqt_conformance::end::{End, Name, Output};

use crate::published_with;

/// Where a subgroup stands (draft-18, "Scheduling Algorithm").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rank {
    subscription: usize,
    subscriber_priority: u8,
    publisher_priority: u8,
    order: GroupOrder,
    group: u64,
    subgroup: u64,
}

impl Rank {
    /// Whether the text says that this goes before the other; it says nothing about equals of
    /// different subscriptions.
    fn precedes(&self, other: &Self) -> bool {
        let priorities = |rank: &Self| (rank.subscriber_priority, rank.publisher_priority);
        if priorities(self) != priorities(other) {
            return priorities(self) < priorities(other);
        }
        if self.subscription != other.subscription {
            return false;
        }
        if self.group != other.group {
            return match self.order {
                GroupOrder::Ascending => self.group < other.group,
                GroupOrder::Descending => self.group > other.group,
            };
        }
        self.subgroup < other.subgroup
    }
}

pub(crate) fn wishes(priority: u8, order: GroupOrder) -> Parameters {
    let mut wishes = Parameters::default();
    wishes.subscriber_priority = Some(priority);
    wishes.group_order = Some(order);
    let start = Location::ZERO;
    wishes.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
    wishes
}

fn options(rank: &Rank) -> SubgroupOptions {
    let mut options = SubgroupOptions::new(rank.group);
    options.subgroup_id = SubgroupId::Explicit(rank.subgroup);
    options.publisher_priority = Some(rank.publisher_priority);
    options
}

/// Opens a subgroup with one object that takes more than one packet and finishes it.
fn fill(engine: &mut moqt_engine::MoqtConnection, request: RequestKey, rank: &Rank, len: usize) {
    let mut publisher = engine.publisher(request).unwrap();
    let stream = publisher.open_subgroup(options(rank)).unwrap().unwrap();
    let mut subgroup = engine.subgroup(stream).unwrap();
    // An object is in one subgroup only.
    let object_id = rank.subgroup;
    let header = ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() };
    subgroup.object(&header, vec![1; len].into()).unwrap();
    subgroup.finish().unwrap();
}

fn drawn(rng: &mut Rng, subscriptions: &[(u8, GroupOrder)]) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = Vec::new();
    while ranks.len() < 25 {
        let subscription = usize::try_from(rng.below(subscriptions.len() as u64)).unwrap();
        let (subscriber_priority, order) = subscriptions[subscription];
        let rank = Rank {
            subscription,
            subscriber_priority,
            publisher_priority: [0, 1, 128, 255][usize::try_from(rng.below(4)).unwrap()],
            order,
            group: rng.below(4),
            subgroup: rng.below(3),
        };
        let same = |other: &Rank| {
            (other.subscription, other.group, other.subgroup)
                == (rank.subscription, rank.group, rank.subgroup)
        };
        if !ranks.iter().any(same) {
            ranks.push(rank);
        }
    }
    ranks
}

// Draft-18, "Scheduling Algorithm" (the same rules in 14 and 16): subscriber priority,
// publisher priority, group order, Subgroup ID; a lower number is a higher priority.
#[test]
fn the_most_urgent_is_sent_first_on_a_narrow_link() {
    for (draft, seed) in DRAFTS.into_iter().flat_map(|draft| (0..15).map(move |n| (draft, n))) {
        let mut rng = Rng::new(seed);
        let subscriptions: Vec<(u8, GroupOrder)> = (0..4)
            .map(|_| {
                let order = [GroupOrder::Ascending, GroupOrder::Descending];
                (
                    [0, 1, 127, 255][usize::try_from(rng.below(4)).unwrap()],
                    order[usize::try_from(rng.below(2)).unwrap()],
                )
            })
            .collect();
        let ranks = drawn(&mut rng, &subscriptions);
        let mut path = PathConfig::default();
        path.bandwidth = Some(50_000);
        path.chunking = Chunking::AsWritten;
        let link = LinkConfig::symmetric(path);
        let mut pair = Pair::with(draft, seed, link, Config::default());
        let (client, server) = (pair.client, pair.server);
        let (mut requests, mut subscribers) = (Vec::new(), Vec::new());
        for (n, (priority, order)) in subscriptions.iter().enumerate() {
            let track = say::track(&format!("t{n}"));
            let wishes = wishes(*priority, *order);
            let subscriber =
                pair.network.with(client, |client, now| client.subscribe(now, &track, &wishes));
            subscribers.push(subscriber.unwrap());
            pair.network.run_until_idle();
            for event in pair.network.take_events(server) {
                if let Event::Request { request, what: IncomingRequest::Subscribe { .. } } = event {
                    pair.network
                        .with(server, |server, now| server.accept(now, request, Accept::default()))
                        .unwrap();
                    requests.push(request);
                }
            }
            pair.network.run_until_idle();
        }
        pair.network.take_events(client);
        // All at once, in any order.
        pair.network.with(server, |server, _| {
            for rank in &ranks {
                fill(server, requests[rank.subscription], rank, 4_000);
            }
        });
        let record = pair.receive();
        let came: Vec<Rank> = record
            .subgroups
            .iter()
            .map(|subgroup| {
                let id = match subgroup.info.subgroup_id {
                    SubgroupId::Explicit(id) => id,
                    SubgroupId::FirstObjectId => panic!("stated"),
                };
                let found = ranks.iter().find(|rank| {
                    rank.group == subgroup.info.group_id
                        && rank.subgroup == id
                        && rank.publisher_priority == subgroup.info.publisher_priority
                        && subscribers[rank.subscription] == subgroup.request
                });
                *found.expect("one of those sent")
            })
            .collect();
        assert_eq!(came.len(), ranks.len(), "{draft:?}, seed {seed}");
        for (at, earlier) in came.iter().enumerate() {
            for later in &came[at..] {
                assert!(
                    !later.precedes(earlier),
                    "{draft:?}, seed {seed}: {earlier:?} came before {later:?}"
                );
            }
        }
    }
}

/// A publisher with one subscription for each pair, everything waiting.
fn waiting(
    draft: Draft,
    subscriptions: &[(u8, GroupOrder)],
) -> (End, Vec<RequestKey>, Vec<(u64, Name)>) {
    let mut end = End::established(draft, Role::Server, Config::default());
    let (mut requests, mut by) = (Vec::new(), Vec::new());
    for (n, (priority, order)) in subscriptions.iter().enumerate() {
        let (request, subscribed_by) = published_with(
            &mut end,
            &format!("t{n}"),
            wishes(*priority, *order),
            Accept::default(),
        );
        requests.push(request);
        by.push(subscribed_by);
    }
    end.takes_data = false;
    (end, requests, by)
}

// "it is RECOMMENDED that control messages are sent before data": a control message that comes
// up in the middle of data goes next (all drafts, "Priorities").
#[test]
fn control_goes_first() {
    for draft in DRAFTS {
        let (mut end, requests, _) = waiting(draft, &[(0, GroupOrder::Ascending)]);
        let rank = Rank {
            subscription: 0,
            subscriber_priority: 0,
            publisher_priority: 0,
            order: GroupOrder::Ascending,
            group: 0,
            subgroup: 0,
        };
        end.with(|engine, _| fill(engine, requests[0], &rank, 500_000));
        let data = end.take_turn(1_200).flatten().unwrap();
        let key = end.key(data);
        end.with(|engine, now| engine.handle_writable(now, key));
        end.with(|engine, now| {
            let none = Parameters::default();
            engine.publish_namespace(now, say::track("t").namespace(), &none).unwrap();
            engine.goaway(now, bytes::Bytes::new(), std::time::Duration::ZERO).unwrap();
        });
        let mut turns = Vec::new();
        while let Some(Some(name)) = end.take_turn(usize::MAX) {
            turns.push(name);
        }
        match draft {
            _ if draft >= Draft::D18 => {
                let control = Name { ours: true, n: 0 };
                let [first, second, last] = turns[..] else { panic!("{turns:?}") };
                assert_eq!(first, control, "the control stream before requests");
                assert!(second != data && second != control, "requests before data");
                assert_eq!(last, data);
            }
            _ => assert_eq!(turns, [end.control, data], "{draft:?}"),
        }
    }
}

// "If two objects are from different requests with equal priorities, the order is left to the
// implementation": here they take turns.
#[test]
fn equals_take_turns() {
    for draft in DRAFTS {
        let equals = [(5, GroupOrder::Ascending); 3];
        let (mut end, requests, _) = waiting(draft, &equals);
        for (n, request) in requests.iter().enumerate() {
            let rank = Rank {
                subscription: n,
                subscriber_priority: 5,
                publisher_priority: 5,
                order: GroupOrder::Ascending,
                group: 0,
                subgroup: 0,
            };
            end.with(|engine, _| fill(engine, *request, &rank, 1_000_000));
        }
        let mut sent: BTreeMap<Name, usize> = BTreeMap::new();
        for _ in 0..30 {
            // A transport that takes a packet at a time.
            let from = end.outputs.len();
            let name = end.take_turn(1_200).flatten().unwrap();
            let key = end.key(name);
            end.with(|engine, now| engine.handle_writable(now, key));
            let bytes = end.outputs[from..].iter().map(|output| match output {
                Output::Data(_, bytes) => bytes.len(),
                _ => 0,
            });
            *sent.entry(name).or_default() += bytes.sum::<usize>();
        }
        assert_eq!(sent.len(), 3, "{draft:?}: {sent:?}");
        let (least, most) = (sent.values().min().unwrap(), sent.values().max().unwrap());
        assert!(most - least <= 1_200, "{draft:?}: {sent:?}");
    }
}

// "When subscriber priority is changed, a best effort SHOULD be made to apply the change to all
// objects that have not been scheduled" (draft-18, "Priorities").
#[test]
fn a_new_subscriber_priority_holds_for_what_waits() {
    for draft in DRAFTS {
        let (mut end, requests, by) =
            waiting(draft, &[(10, GroupOrder::Ascending), (20, GroupOrder::Ascending)]);
        for (n, request) in requests.iter().enumerate() {
            let rank = Rank {
                subscription: n,
                subscriber_priority: 0,
                publisher_priority: 5,
                order: GroupOrder::Ascending,
                group: 0,
                subgroup: 0,
            };
            end.with(|engine, _| fill(engine, *request, &rank, 200_000));
        }
        let first = end.take_turn(1_200).flatten().unwrap();
        let key = end.key(first);
        end.with(|engine, now| engine.handle_writable(now, key));
        let (id, on) = by[1];
        let update = end.fresh_id();
        let mut parameters = Parameters::default();
        parameters.subscriber_priority = Some(1);
        if draft == Draft::D14 {
            let start = Location::ZERO;
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
            parameters.forward = Some(true);
        }
        end.say(on, &say::update(update, id, parameters));
        // Its answer, where there is one, and then the other subscription's data.
        let mut turns = Vec::new();
        while let Some(Some(name)) = end.take_turn(usize::MAX) {
            turns.push(name);
        }
        let data: Vec<Name> = turns.into_iter().filter(|name| name.ours && *name != on).collect();
        assert_ne!(data[0], first, "{draft:?}");
        assert_eq!(data.last(), Some(&first), "{draft:?}");
    }
}

// "the lowest Object ID (for objects with forwarding preference Datagram)" goes first.
#[test]
fn datagrams_have_their_place() {
    for draft in DRAFTS {
        let (mut end, requests, _) = waiting(draft, &[(5, GroupOrder::Ascending)]);
        let send = |end: &mut End, object, priority| {
            let options = DatagramOptions {
                publisher_priority: Some(priority),
                ..DatagramOptions::new(Location::new(0, object))
            };
            let payload = vec![u8::try_from(object).unwrap()];
            end.with(|engine, _| {
                engine.publisher(requests[0]).unwrap().datagram(options, payload.into())
            })
            .unwrap();
        };
        for (object, priority) in [(3, 9), (1, 9), (2, 1), (7, 9)] {
            send(&mut end, object, priority);
        }
        end.take_data();
        let order: Vec<u8> = end
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Datagram(bytes) => bytes.last().copied(),
                _ => None,
            })
            .collect();
        assert_eq!(order, [2, 1, 3, 7], "{draft:?}");
    }
}

// PUBLISH_OK states the subscriber's priority and group order; objects may have been queued
// before it came, and it holds for them, too: "all objects that have not been scheduled".
#[test]
fn what_publish_ok_states_holds_for_what_waits() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (id, track) = (end.next_own_id(), say::track("t"));
        let request = end
            .with(|engine, now| {
                let properties = TrackProperties::new();
                engine.publish(now, &track, &Parameters::default(), &properties)
            })
            .unwrap();
        let on = end.own_request();
        end.takes_data = true;
        let (other, _) =
            published_with(&mut end, "other", wishes(50, GroupOrder::Ascending), Accept::default());
        end.takes_data = false;
        let rank = |group| Rank {
            subscription: 0,
            subscriber_priority: 128,
            publisher_priority: 5,
            order: GroupOrder::Ascending,
            group,
            subgroup: 0,
        };
        let before = end.outputs.len();
        for group in 0..3 {
            end.with(|engine, _| fill(engine, request, &rank(group), 1_000));
        }
        end.with(|engine, _| fill(engine, other, &rank(0), 1_000));
        let opened: Vec<Name> = end.outputs[before..]
            .iter()
            .filter_map(|output| match output {
                Output::Open(name, _) => Some(*name),
                _ => None,
            })
            .collect();
        let mut answer = wishes(10, GroupOrder::Descending);
        answer.forward = Some(true);
        end.say(on, &say::ok_with(id, RequestKind::Publish, answer));
        let mut turns = Vec::new();
        while let Some(Some(name)) = end.take_turn(usize::MAX) {
            if opened.contains(&name) {
                turns.push(name);
            }
        }
        let [first, second, third, others] = opened[..] else { panic!("{opened:?}") };
        assert_eq!(turns, [third, second, first, others], "{draft:?}");
    }
}

// "the one with the lowest Subgroup ID": also if it is the first object that tells it.
#[test]
fn a_subgroup_named_by_its_first_object_has_its_place() {
    for draft in DRAFTS {
        let (mut end, requests, _) = waiting(draft, &[(5, GroupOrder::Ascending)]);
        let mut streams = Vec::new();
        for first_object in [7, 3, 5] {
            let mut options = SubgroupOptions::new(0);
            options.subgroup_id = SubgroupId::FirstObjectId;
            let stream = end
                .with(|engine, _| engine.publisher(requests[0]).unwrap().open_subgroup(options))
                .unwrap()
                .unwrap();
            end.with(|engine, _| {
                let header =
                    ObjectHeader { object_id: first_object, payload_len: 9, ..Default::default() };
                engine.subgroup(stream).unwrap().object(&header, vec![1; 9].into()).unwrap();
            });
            streams.push(end.name(stream));
        }
        let mut turns = Vec::new();
        while let Some(Some(name)) = end.take_turn(usize::MAX) {
            turns.push(name);
        }
        assert_eq!(turns, [streams[1], streams[2], streams[0]], "{draft:?}");
    }
}

// Equals share what there is, also on a link that is the bottleneck and while one of them comes
// and goes: stated in bytes.
#[test]
fn equals_are_never_a_turn_apart_on_a_narrow_link() {
    const TURN: usize = 1_200;
    for draft in DRAFTS {
        let equals = [(5, GroupOrder::Ascending); 4];
        let (mut end, requests, _) = waiting(draft, &equals);
        let rank = |group| Rank {
            subscription: 0,
            subscriber_priority: 5,
            publisher_priority: 5,
            order: GroupOrder::Ascending,
            group,
            subgroup: 0,
        };
        // Three are backlogged, the fourth has something now and then.
        let mut of: BTreeMap<Name, usize> = BTreeMap::new();
        for (n, request) in requests[..3].iter().enumerate() {
            let before = end.outputs.len();
            end.with(|engine, _| fill(engine, *request, &rank(0), 500_000));
            let Some(Output::Open(name, _)) = end.outputs.get(before) else { panic!("{draft:?}") };
            of.insert(*name, n);
        }
        let mut sent = [0_usize; 3];
        for turn in 0..600 {
            if turn % 50 == 0 {
                end.with(|engine, _| fill(engine, requests[3], &rank(turn), 100));
            }
            let from = end.outputs.len();
            let name = end.take_turn(TURN).flatten().unwrap();
            let bytes: usize = end.outputs[from..]
                .iter()
                .map(|output| if let Output::Data(_, bytes) = output { bytes.len() } else { 0 })
                .sum();
            let key = end.key(name);
            end.with(|engine, now| engine.handle_writable(now, key));
            if let Some(n) = of.get(&name) {
                sent[*n] += bytes;
            }
            let apart = sent.iter().max().unwrap() - sent.iter().min().unwrap();
            assert!(apart <= TURN, "{draft:?}: {sent:?} after {turn} turns");
        }
        assert_eq!(end.engine.publisher(requests[3]).unwrap().queued(), 0, "{draft:?}");
        assert!(sent.iter().sum::<usize>() > 600_000, "{draft:?}: {sent:?}");
    }
}

/// Opens a subgroup that is not finished.
fn open(end: &mut End, request: RequestKey, publisher_priority: u8) -> (StreamKey, Name) {
    let mut options = SubgroupOptions::new(u64::from(publisher_priority));
    options.publisher_priority = Some(publisher_priority);
    let stream = end
        .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
        .unwrap()
        .unwrap();
    (stream, end.name(stream))
}

fn write(end: &mut End, stream: StreamKey, object_id: u64, len: usize) {
    let header = ObjectHeader { object_id, payload_len: len as u64, ..Default::default() };
    end.with(|engine, _| {
        engine.subgroup(stream).unwrap().object(&header, vec![1; len].into()).unwrap();
    });
}

// "the order is left to the implementation": who ran dry comes after those that were there
// first, however often it was alone before.
#[test]
fn who_ran_dry_lines_up_again_behind_equals() {
    for draft in DRAFTS {
        let (mut end, requests, _) = waiting(draft, &[(5, GroupOrder::Ascending); 2]);
        let [(first, first_name), (second, second_name)] =
            [requests[0], requests[1]].map(|request| open(&mut end, request, 5));
        for object in 0..3 {
            write(&mut end, first, object, 100);
            assert_eq!(end.take_turn(usize::MAX), Some(Some(first_name)), "{draft:?}");
            assert_eq!(end.take_turn(usize::MAX), None, "{draft:?}");
        }
        write(&mut end, second, 0, 100);
        write(&mut end, first, 3, 100);
        assert_eq!(end.take_turn(usize::MAX), Some(Some(second_name)), "{draft:?}");
        assert_eq!(end.take_turn(usize::MAX), Some(Some(first_name)), "{draft:?}");
        assert_eq!(end.take_turn(usize::MAX), None, "{draft:?}");
    }
}

// Draft-18, "Scheduling Algorithm": a higher publisher priority goes first, each time it has
// something. That it had does not give the subscription more turns, nor fewer, at a lower one.
// There are more priorities than the schedule keeps when nothing waits at them.
#[test]
fn what_is_urgent_and_rare_leaves_the_turns_of_equals_alone() {
    const TURN: usize = 1_200;
    for draft in DRAFTS {
        let (mut end, requests, _) = waiting(draft, &[(5, GroupOrder::Ascending); 2]);
        let bulk = [requests[0], requests[1]].map(|request| {
            let (stream, name) = open(&mut end, request, 200);
            write(&mut end, stream, 0, 500_000);
            name
        });
        let urgent: Vec<_> = (0..20).map(|n| open(&mut end, requests[0], n)).collect();
        let mut turns = [0_usize; 2];
        for turn in 0..300 {
            if turn % 5 == 0 {
                let (stream, name) = urgent[usize::try_from(turn * 7 / 5 % 20).unwrap()];
                write(&mut end, stream, turn, 100);
                assert_eq!(end.take_turn(usize::MAX), Some(Some(name)), "{draft:?}");
            }
            let name = end.take_turn(TURN).flatten().unwrap();
            let key = end.key(name);
            end.with(|engine, now| engine.handle_writable(now, key));
            turns[bulk.iter().position(|bulk| *bulk == name).unwrap()] += 1;
            assert!(turns[0].abs_diff(turns[1]) <= 1, "{draft:?}: {turns:?}");
        }
    }
}
