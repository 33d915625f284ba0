//! Whole sessions: what must hold on every link.

use bytes::Bytes;
use moqt_engine::model::{PublishDoneCode, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{CommandError, Config, Draft, Event, Read, SubgroupOptions};
use moqt_loopback::{Chunking, End, LinkConfig, Network, Pair, PathConfig, Record};

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

/// Publishes large objects on many streams at once, as fast as the link takes them, on a link
/// of the seed's making; checks that all of it comes and that nothing is left behind.
fn crowd(draft: Draft, seed: u64) {
    const GROUPS: u64 = 12;
    const LEN: usize = 20_000;
    let mut pair = Pair::with(draft, seed, LinkConfig::seeded(seed), Config::default());
    let usage = |pair: &Pair| {
        [pair.client, pair.server]
            .map(|end| (pair.network.connection(end).usage(), pair.network.load(end)))
    };
    let before = usage(&pair);
    let subscription = pair.subscribe(&track()).unwrap();
    let (client, server) = (pair.client, pair.server);
    let mut record = Record::default();
    let mut next = 0;
    let mut publish = |network: &mut Network| {
        network.with(server, |server, _| {
            while next < GROUPS {
                let mut publisher = server.publisher(subscription.publisher).unwrap();
                let stream = match publisher.open_subgroup(SubgroupOptions::new(next)) {
                    Ok(stream) => stream.unwrap(),
                    Err(CommandError::Blocked(_)) => return,
                    Err(error) => panic!("{error}"),
                };
                for object_id in 0..3 {
                    let header =
                        ObjectHeader { object_id, payload_len: LEN as u64, ..Default::default() };
                    let payload = vec![u8::try_from(next).unwrap(); LEN];
                    server.subgroup(stream).unwrap().object(&header, payload.into()).unwrap();
                }
                server.subgroup(stream).unwrap().finish().unwrap();
                next += 1;
            }
            if next == GROUPS {
                next += 1;
                let publisher = server.publisher(subscription.publisher).unwrap();
                publisher.done(PublishDoneCode::TrackEnded, "");
            }
        });
    };
    publish(&mut pair.network);
    pair.network.run_until_idle_with(|network, at, event| {
        if at == client {
            record.handle(network, at, event);
        } else {
            publish(network);
        }
    });
    assert_eq!(record.subgroups.len() as u64, GROUPS, "{draft:?}, seed {seed}");
    for subgroup in &record.subgroups {
        let byte = u8::try_from(subgroup.info.group_id).unwrap();
        assert_eq!(subgroup.end, Some(End::Finished), "{draft:?}, seed {seed}");
        assert_eq!(subgroup.objects.len(), 3);
        assert!(subgroup.objects.iter().all(|object| object.payload == vec![byte; LEN]));
    }
    let last = record.events.last();
    assert!(
        matches!(last, Some(Event::SubscriptionDone { missing_streams: 0, .. })),
        "{draft:?}, seed {seed}: {last:?}"
    );
    assert_eq!(usage(&pair), before, "{draft:?}, seed {seed}");
}

#[test]
fn nothing_is_lost_or_left_behind_on_any_link() {
    for draft in DRAFTS {
        for seed in 0..15 {
            crowd(draft, seed);
        }
    }
}

#[test]
fn payload_is_not_copied() {
    let mut path = PathConfig::default();
    // Pieces of fewer than 256 bytes are copied if they have to wait.
    path.chunking = Chunking::Fixed(650);
    let mut pair = Pair::with(Draft::D18, 0, LinkConfig::symmetric(path), Config::default());
    let subscription = pair.subscribe(&track()).unwrap();
    let payload = Bytes::from(vec![9; 5000]);
    pair.network.with(pair.server, |server, _| {
        let mut publisher = server.publisher(subscription.publisher).unwrap();
        let stream = publisher.open_subgroup(SubgroupOptions::new(0)).unwrap().unwrap();
        let header = ObjectHeader { payload_len: 5000, ..Default::default() };
        server.subgroup(stream).unwrap().object(&header, payload.clone()).unwrap();
    });
    pair.network.run_until_idle();
    let events = pair.network.take_events(pair.client);
    let [Event::SubgroupOpened { stream, .. }, ..] = events[..] else { panic!("{events:?}") };
    let mut at = payload.as_ptr() as usize;
    loop {
        match pair.network.read(pair.client, stream, usize::MAX) {
            Read::Object(_) => {}
            Read::Payload(piece) => {
                assert_eq!(piece.as_ptr() as usize, at);
                at += piece.len();
            }
            _ => break,
        }
    }
    assert_eq!(at, payload.as_ptr() as usize + 5000);
}

#[test]
fn cuts_alone_change_nothing_however_much_is_going_on() {
    let run = |draft, chunking| {
        let mut path = PathConfig::default();
        path.chunking = chunking;
        let link = LinkConfig::symmetric(path);
        let mut pair = Pair::with(draft, 5, link, Config::default());
        let subscription = pair.subscribe(&track()).unwrap();
        pair.network.with(pair.server, |server, _| {
            for object_id in 0..3 {
                for group in 0..5 {
                    let mut publisher = server.publisher(subscription.publisher).unwrap();
                    let mut options = SubgroupOptions::new(group);
                    options.subgroup_id = SubgroupId::Explicit(object_id);
                    let stream = publisher.open_subgroup(options).unwrap().unwrap();
                    let header = ObjectHeader { object_id, payload_len: 700, ..Default::default() };
                    let mut subgroup = server.subgroup(stream).unwrap();
                    subgroup.object(&header, vec![1; 700].into()).unwrap();
                    subgroup.finish().unwrap();
                }
            }
            let publisher = server.publisher(subscription.publisher).unwrap();
            publisher.done(PublishDoneCode::TrackEnded, "");
        });
        assert_eq!(pair.receive().payloads().count(), 15);
        pair.network.trace_hash()
    };
    for draft in DRAFTS {
        let whole = run(draft, Chunking::AsWritten);
        for chunking in [Chunking::Fixed(1), Chunking::Fixed(7), Chunking::Random(900)] {
            assert_eq!(run(draft, chunking), whole, "{draft:?}, {chunking:?}");
        }
    }
}
