//! Whole sessions: what must hold on every link.

use moqt_engine::model::PublishDoneCode;
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Config, Event, SubgroupOptions};
use moqt_loopback::{Chunking, End, LinkConfig, Pair, PathConfig, Record};

use crate::{DRAFTS, track};

/// Publishes a few groups and ends the subscription; gives what the client received.
fn session(mut pair: Pair) -> (Pair, Record) {
    let subscription = pair.subscribe(&track()).expect("subscribed");
    let mut record = Record::default();
    for group in 0..4 {
        let stream = pair.network.with(pair.server, |server, _| {
            let mut publisher = server.publisher(subscription.publisher).unwrap();
            let stream = publisher.open_subgroup(SubgroupOptions::new(group)).unwrap().unwrap();
            for object in 0..5 {
                let payload = vec![u8::try_from(object).unwrap(); 300 * object];
                let header = ObjectHeader {
                    object_id: object as u64,
                    payload_len: payload.len() as u64,
                    ..Default::default()
                };
                server.subgroup(stream).unwrap().object(&header, payload.into()).unwrap();
            }
            server.subgroup(stream).unwrap().finish().unwrap();
            stream
        });
        assert!(pair.network.stream_id(pair.server, stream).is_some());
        let more = pair.receive();
        record.subgroups.extend(more.subgroups);
        record.events.extend(more.events);
    }
    pair.network.with(pair.server, |server, _| {
        let publisher = server.publisher(subscription.publisher).unwrap();
        publisher.done(PublishDoneCode::TrackEnded, "over");
    });
    record.events.extend(pair.receive().events);
    (pair, record)
}

#[test]
fn a_session_is_the_same_twice_on_every_draft() {
    for draft in DRAFTS {
        for seed in 0..20 {
            let run = || {
                let pair = Pair::with(draft, seed, LinkConfig::seeded(seed), Config::default());
                let (pair, record) = session(pair);
                (pair.network.trace_hash(), pair.network.raw_trace_hash(), record)
            };
            let first = run();
            assert_eq!(first.2.payloads().count(), 20, "{draft:?}, seed {seed}");
            assert!(first.2.subgroups.iter().all(|group| group.end == Some(End::Finished)));
            assert!(
                matches!(first.2.events.last(), Some(Event::SubscriptionDone { .. })),
                "{draft:?}, seed {seed}: {:?}",
                first.2.events
            );
            assert!(first == run(), "{draft:?}, seed {seed}");
        }
    }
}

#[test]
fn what_applications_see_does_not_depend_on_cuts_and_delays() {
    for draft in DRAFTS {
        let plain = session(Pair::new(draft, 0)).0.network.trace_hash();
        let mut raw = Vec::new();
        for seed in 0..20 {
            let link = LinkConfig::seeded(seed);
            let (pair, _) = session(Pair::with(draft, seed, link, Config::default()));
            assert_eq!(pair.network.trace_hash(), plain, "{draft:?}, seed {seed}");
            raw.push(pair.network.raw_trace_hash());
        }
        raw.sort_unstable();
        raw.dedup();
        assert_eq!(raw.len(), 20);
        let mut path = PathConfig::default();
        path.chunking = Chunking::Fixed(1);
        let link = LinkConfig::symmetric(path);
        let (pair, _) = session(Pair::with(draft, 0, link, Config::default()));
        assert_eq!(pair.network.trace_hash(), plain, "{draft:?}, single bytes");
    }
}
