//! Fetches among subscriptions: whose turn it is to be sent, and what is counted.

use std::collections::BTreeMap;

use bytes::Bytes;
use moqt_conformance::end::{End, Fetched, Name, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Location, LocationRange, Parameters};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, AcceptFetch, Config, Dir, Draft, Event, FetchTarget, FetchTraffic, RequestKey, Role,
    SubgroupOptions, Traffic,
};

use crate::published_with;

fn with_priority(priority: u8) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.subscriber_priority = Some(priority);
    parameters
}

/// A FETCH of the peer's with this subscriber priority, accepted.
fn fetched(end: &mut End, name: &str, priority: u8) -> RequestKey {
    let id = end.fresh_id();
    let (start, to) = (Location::ZERO, Location::new(1, 0));
    let range =
        moqt_engine::model::FetchRange::Standalone { track: say::track(name), start, end: to };
    end.request(&say::fetch_with(id, range, with_priority(priority)));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
    end.with(|engine, now| engine.accept_fetch(now, request, AcceptFetch::new(to))).unwrap();
    request
}

/// A session in which a subscription and a fetch of the peer's wait to be sent, with these
/// subscriber priorities and the same publisher priority, and the stream of each.
fn waiting(draft: Draft, subscribed: u8, fetch: u8) -> (End, Name, Name) {
    let mut end = End::established(draft, Role::Server, Config::default());
    let (subscription, _) =
        published_with(&mut end, "t", with_priority(subscribed), Accept::default());
    let fetch = fetched(&mut end, "f", fetch);
    end.takes_data = false;
    let streams = end.outputs.len();
    let payload = Bytes::from(vec![7; 300_000]);
    end.with(|engine, _| {
        let options = SubgroupOptions { publisher_priority: Some(5), ..SubgroupOptions::new(0) };
        let mut publisher = engine.publisher(subscription).unwrap();
        let stream = publisher.open_subgroup(options).unwrap().unwrap();
        let header = ObjectHeader { payload_len: payload.len() as u64, ..ObjectHeader::default() };
        engine.subgroup(stream).unwrap().object(&header, payload.clone()).unwrap();
        let mut object = say::fetch_object(Location::ZERO, &payload);
        object.publisher_priority = 5;
        engine.fetch_response(fetch).unwrap().object(&object, payload.clone()).unwrap();
    });
    let opened: Vec<Name> = end.outputs[streams..]
        .iter()
        .filter_map(|output| match output {
            Output::Open(name, Dir::Uni) => Some(*name),
            _ => None,
        })
        .collect();
    let [of_subscription, of_fetch] = opened[..] else { panic!("{opened:?}") };
    (end, of_subscription, of_fetch)
}

/// Takes packets until nothing is left: of which of these streams, one after the other. An answer
/// goes before all of them.
fn packets(end: &mut End, data: [Name; 2]) -> Vec<Name> {
    let mut order = Vec::new();
    while let Some(Some(name)) = end.take_turn(1_200) {
        let key = end.key(name);
        end.with(|engine, now| engine.handle_writable(now, key));
        order.push(name);
    }
    order.retain(|name| data.contains(name));
    order
}

// "If two objects have different subscriber priorities associated with them, the one with the
// highest subscriber priority is scheduled to be sent first." (draft-18, "Scheduling Algorithm"; the
// same in 14 and 16), whatever request it answers.
#[test]
fn a_fetch_and_a_subscription_go_by_their_subscriber_priorities() {
    for draft in DRAFTS {
        for (subscribed, fetch) in [(3, 4), (4, 3), (0, 255), (255, 0)] {
            let (mut end, of_subscription, of_fetch) = waiting(draft, subscribed, fetch);
            let mut order = packets(&mut end, [of_subscription, of_fetch]);
            order.dedup();
            let expected = if subscribed < fetch {
                [of_subscription, of_fetch]
            } else {
                [of_fetch, of_subscription]
            };
            assert_eq!(order, expected, "{draft:?} {subscribed} {fetch}");
        }
    }
}

// "This algorithm does not provide a well-defined ordering for objects that belong to different
// subscriptions or FETCH responses, but have the same subscriber and publisher priority. The ordering
// in those cases is implementation-defined, though the expectation is that all subscriptions will be
// able to send some data."
#[test]
fn a_fetch_and_a_subscription_of_equal_priority_take_turns() {
    for draft in DRAFTS {
        let (mut end, of_subscription, of_fetch) = waiting(draft, 9, 9);
        let order = packets(&mut end, [of_subscription, of_fetch]);
        let mut taken: BTreeMap<Name, i64> = BTreeMap::new();
        // Both have as much to send.
        for name in &order[..order.len() - 2] {
            *taken.entry(*name).or_default() += 1;
            let most = taken.values().max().unwrap();
            let least = if taken.len() < 2 { &0 } else { taken.values().min().unwrap() };
            assert!(most - least <= 1, "{draft:?}: {taken:?}");
        }
    }
}

// What was fetched is counted apart from what was published, in both directions.
#[test]
fn fetched_objects_are_counted_at_both_ends() {
    for draft in DRAFTS {
        let mut sender = End::established(draft, Role::Server, Config::default());
        let request = fetched(&mut sender, "f", 5);
        let objects: [(u64, &'static [u8]); 3] = [(0, b"one"), (1, b""), (2, b"three")];
        for (object_id, payload) in objects {
            let object = say::fetch_object(Location::new(0, object_id), payload);
            sender.with(|engine, _| {
                let mut response = engine.fetch_response(request).unwrap();
                response.object(&object, Bytes::from_static(payload)).unwrap();
            });
        }
        let expected = |stats: FetchTraffic| (stats.responses, stats.objects, stats.payload_bytes);
        let stats = sender.engine.stats();
        assert_eq!(expected(stats.fetches_sent), (1, 3, 8), "{draft:?}");
        assert_eq!((stats.sent, stats.fetches_received), Default::default(), "{draft:?}");

        let mut receiver = End::established(draft, Role::Client, Config::default());
        let range = LocationRange::new(Location::ZERO, Location::new(1, 0));
        let target = FetchTarget::Standalone { track: say::track("f"), range };
        let id = receiver.next_own_id();
        let none = Parameters::default();
        receiver.with(|engine, now| engine.fetch(now, &target, &none)).unwrap();
        let on = receiver.own_request();
        receiver.say(on, &say::fetch_ok(id, Location::new(1, 0)));
        let objects: Vec<(Location, &[u8])> =
            objects.iter().map(|(id, payload)| (Location::new(0, *id), *payload)).collect();
        let stream = receiver.open_with(Dir::Uni, say::fetch_stream(draft, id, &objects));
        receiver.fin(stream);
        assert_eq!(receiver.take_fetched(stream).last(), Some(&Fetched::Finished), "{draft:?}");
        let stats = receiver.engine.stats();
        assert_eq!(expected(stats.fetches_received), (1, 3, 8), "{draft:?}");
        assert_eq!((stats.received, stats.fetches_sent), Default::default(), "{draft:?}");
        assert_eq!(stats.received, Traffic::default());
    }
}
