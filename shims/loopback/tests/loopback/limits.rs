//! Windows, bandwidth, loss and faults: that the network does what its configuration says, and
//! that a connection holds its own under it.

use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{Location, Parameters, SessionError, StreamResetCode};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, Blocked, CommandError, Config, DatagramOptions, DatagramOutcome, Draft, Event,
    IncomingRequest, Read, RequestKey, StreamKey, SubgroupOptions, Usage,
};
use moqt_loopback::{
    Chance, Chunking, End, Fault, LinkConfig, Load, Pair, PathConfig, Record, ResetDelivery,
    SubgroupRecord,
};

use crate::{DRAFTS, track};

fn pair(draft: Draft, change: impl FnOnce(&mut PathConfig)) -> Pair {
    let mut path = PathConfig::default();
    change(&mut path);
    Pair::with(draft, 1, LinkConfig::symmetric(path), Config::default())
}

fn header(object_id: u64, payload_len: usize) -> ObjectHeader {
    ObjectHeader { object_id, payload_len: payload_len as u64, ..Default::default() }
}

/// Opens a group with one object of this size. The subgroup stays open.
fn publish(
    pair: &mut Pair,
    request: RequestKey,
    group: u64,
    len: usize,
) -> Result<StreamKey, CommandError> {
    pair.network.with(pair.server, |server, _| {
        let mut publisher = server.publisher(request).unwrap();
        let stream = publisher.open_subgroup(SubgroupOptions::new(group))?.unwrap();
        let mut subgroup = server.subgroup(stream).unwrap();
        subgroup.object(&header(0, len), vec![7; len].into())?;
        Ok(stream)
    })
}

fn finish(pair: &mut Pair, stream: StreamKey) {
    pair.network.with(pair.server, |server, _| {
        server.subgroup(stream).unwrap().finish().unwrap();
    });
}

#[test]
fn a_reader_that_reads_nothing_bounds_memory_at_both_ends() {
    for draft in DRAFTS {
        let mut pair = pair(draft, |path| {
            path.stream_window = 64 * 1024;
            path.connection_window = 256 * 1024;
            path.uni_streams = 1000;
        });
        let subscription = pair.subscribe(&track()).unwrap();
        let mut total = 0;
        let blocked = loop {
            match publish(&mut pair, subscription.publisher, total, 100_000) {
                Ok(stream) => finish(&mut pair, stream),
                Err(error) => break error,
            }
            pair.network.run_until_idle();
            total += 1;
        };
        assert_eq!(blocked, CommandError::Blocked(Blocked::Queue));
        let client = pair.network.connection(pair.client).usage();
        let server = pair.network.connection(pair.server).usage();
        let limits = Config::default().limits;
        assert!(server.send_bytes <= limits.session_send + 200_000, "{server:?}");
        let minimum = client.streams * limits.stream_minimum;
        assert!(client.receive_bytes <= limits.session_receive + minimum, "{client:?}");
        let load = pair.network.load(pair.client);
        assert!(load.unread + load.in_flight <= 256 * 1024, "{load:?}");
        // Reading sets everything going again.
        let record = pair.receive();
        assert_eq!(record.payloads().map(<[u8]>::len).sum::<usize>() as u64, total * 100_000);
        assert!(record.subgroups.iter().all(is_whole));
    }
}

fn is_whole(group: &SubgroupRecord) -> bool {
    group.objects.iter().all(|object| object.payload.len() as u64 == object.header.payload_len)
}

#[test]
fn unread_bytes_stay_in_the_network_beyond_the_engines_window() {
    for overshoot in [false, true] {
        let mut pair = pair(Draft::D18, |path| {
            path.overshoot = overshoot;
            path.chunking = Chunking::Fixed(100_000);
        });
        let subscription = pair.subscribe(&track()).unwrap();
        publish(&mut pair, subscription.publisher, 0, 1_000_000).unwrap();
        pair.network.run_until_idle();
        let held = pair.network.connection(pair.client).usage().receive_bytes;
        let limit = Config::default().limits.stream_receive;
        if overshoot {
            assert!((limit..=limit + 100_000).contains(&held), "{held}");
        } else {
            assert!(held <= limit && held > limit - 100, "{held}");
        }
        assert!(pair.network.load(pair.client).unread > 0);
        assert_eq!(pair.receive().payloads().next().unwrap().len(), 1_000_000);
    }
}

#[test]
fn a_narrow_link_carries_what_is_urgent_first() {
    for draft in DRAFTS {
        let mut pair = pair(draft, |path| path.bandwidth = Some(100_000));
        let subscription = pair.subscribe(&track()).unwrap();
        let opened = |pair: &mut Pair, group, priority| {
            pair.network.with(pair.server, |server, _| {
                let mut options = SubgroupOptions::new(group);
                options.publisher_priority = Some(priority);
                let mut publisher = server.publisher(subscription.publisher).unwrap();
                let stream = publisher.open_subgroup(options).unwrap().unwrap();
                let mut subgroup = server.subgroup(stream).unwrap();
                subgroup.object(&header(0, 50_000), vec![1; 50_000].into()).unwrap();
                subgroup.finish().unwrap();
            });
        };
        let begun = pair.network.now();
        opened(&mut pair, 0, 200);
        pair.network.run_for(Duration::from_millis(20));
        opened(&mut pair, 1, 10);
        let (mut record, mut done) = (Record::default(), Vec::new());
        while pair.network.step() && done.len() < 2 {
            record.collect(&mut pair.network, pair.client);
            for subgroup in &record.subgroups {
                let group = subgroup.info.group_id;
                if subgroup.end == Some(End::Finished) && !done.contains(&group) {
                    done.push(group);
                }
            }
        }
        assert_eq!(done, [1, 0], "{draft:?}");
        let took = pair.network.now().saturating_since(begun);
        // 100,000 bytes and their headers at 100,000 bytes a second.
        assert!((1000..1100).contains(&took.as_millis()), "{took:?}");
    }
}

fn datagrams(pair: &mut Pair, request: RequestKey, count: u64, len: usize) -> Vec<DatagramOutcome> {
    pair.network.with(pair.server, |server, _| {
        let send = |object| {
            let options = DatagramOptions::new(Location::new(0, object));
            server.publisher(request).unwrap().datagram(options, vec![0; len].into()).unwrap()
        };
        (0..count).map(send).collect()
    })
}

fn received(record: &Record) -> Vec<u64> {
    record.datagrams.iter().map(|(_, object)| object.header.location.object).collect()
}

#[test]
fn datagrams_are_lost_doubled_and_reordered_as_configured() {
    for draft in DRAFTS {
        let run = |loss, duplication, reordering| {
            let mut pair = pair(draft, |path| {
                path.datagrams.loss = Chance::percent(loss);
                path.datagrams.duplication = Chance::percent(duplication);
                path.datagrams.reordering = Chance::percent(reordering);
            });
            let subscription = pair.subscribe(&track()).unwrap();
            datagrams(&mut pair, subscription.publisher, 1000, 10);
            received(&pair.receive())
        };
        let all: Vec<u64> = (0..1000).collect();
        assert_eq!(run(0, 0, 0), all);
        assert_eq!(run(100, 0, 0), []);
        assert!((650..750).contains(&run(30, 0, 0).len()));
        assert!((1250..1350).contains(&run(0, 30, 0).len()));
        let mut reordered = run(0, 0, 30);
        assert_ne!(reordered, all);
        reordered.sort_unstable();
        assert_eq!(reordered, all);
        assert_eq!(run(30, 10, 30), run(30, 10, 30));
    }
}

#[test]
fn datagrams_wait_while_they_are_held_and_are_refused_if_too_large() {
    let mut pair = pair(Draft::D18, |_| {});
    let subscription = pair.subscribe(&track()).unwrap();
    let outcomes = datagrams(&mut pair, subscription.publisher, 1, 1300);
    assert!(matches!(outcomes[..], [DatagramOutcome::Dropped(_)]));
    let lasting = Duration::from_secs(1);
    pair.network.inject(pair.server, Fault::HoldDatagrams { lasting });
    datagrams(&mut pair, subscription.publisher, 3, 10);
    assert_eq!(received(&pair.receive()), []);
    pair.network.run_for(lasting);
    assert_eq!(received(&pair.receive()), [0, 1, 2]);
}

#[test]
fn a_reset_overtakes_data_or_follows_it() {
    for (delivery, expected) in [(ResetDelivery::Overtakes, 0), (ResetDelivery::AfterData, 9000)] {
        let mut pair = pair(Draft::D18, |path| {
            path.reset = delivery;
            path.bandwidth = Some(10_000);
        });
        let subscription = pair.subscribe(&track()).unwrap();
        let stream = publish(&mut pair, subscription.publisher, 0, 9_000).unwrap();
        while pair.network.connection(pair.server).usage().send_bytes > 0 {
            assert!(pair.network.step());
        }
        // The last packet is on its way.
        pair.network.with(pair.server, |server, _| {
            server.subgroup(stream).unwrap().reset(StreamResetCode::Cancelled);
        });
        pair.network.run_until_idle();
        let held = pair.network.connection(pair.client).usage().receive_bytes;
        assert!(held >= expected, "{delivery:?}: {held}");
        assert!(delivery == ResetDelivery::AfterData || held < 9000, "{held}");
    }
}

#[test]
fn faults_are_survived() {
    let second = Duration::from_secs(1);
    for draft in DRAFTS {
        let mut pair = pair(draft, |_| {});
        let subscription = pair.subscribe(&track()).unwrap();
        // A stalled direction delivers nothing, and then everything.
        pair.network.inject(pair.server, Fault::Stall { lasting: second });
        let stream = publish(&mut pair, subscription.publisher, 0, 1000).unwrap();
        finish(&mut pair, stream);
        pair.network.run_for(second / 2);
        assert!(pair.network.take_events(pair.client).is_empty());
        pair.network.run_for(second);
        let record = pair.receive();
        assert_eq!(record.subgroups[0].end, Some(End::Finished));
        // A reader that stops reading goes on later.
        pair.network.inject(pair.client, Fault::StopReading { lasting: second });
        let stream = publish(&mut pair, subscription.publisher, 1, 1000).unwrap();
        finish(&mut pair, stream);
        assert!(pair.receive().subgroups.is_empty());
        assert!(pair.network.load(pair.client).unread > 1000);
        pair.network.run_for(second);
        assert_eq!(pair.receive().subgroups[0].end, Some(End::Finished));
        // STOP_SENDING and a reset from outside end one subgroup each.
        let stream = publish(&mut pair, subscription.publisher, 2, 1000).unwrap();
        pair.network.inject(pair.server, Fault::StopSending { stream: Some(stream), code: 1 });
        let stopped = pair.network.take_events(pair.server);
        assert!(matches!(stopped[..], [Event::SubgroupStopped { .. }]), "{stopped:?}");
        assert!(matches!(
            pair.receive().subgroups.last(),
            None | Some(SubgroupRecord { end: Some(End::Reset(_)), .. })
        ));
        publish(&mut pair, subscription.publisher, 3, 1000).unwrap();
        let mut record = pair.receive();
        let stream = Some(record.subgroups[0].stream);
        pair.network.inject(pair.client, Fault::ResetStream { stream, code: 2 });
        record.collect(&mut pair.network, pair.client);
        assert!(matches!(record.subgroups[0].end, Some(End::Reset(_))));
        // Losing the session is noticed at both ends.
        pair.network.inject(pair.client, Fault::Disconnect { reason: "gone".into() });
        pair.network.run_until_idle();
        for end in [pair.client, pair.server] {
            let events = pair.network.take_events(end);
            assert!(matches!(events.last(), Some(Event::Closed { .. })), "{events:?}");
            assert_eq!(pair.network.load(end).streams, 0);
        }
    }
}

#[test]
fn a_sender_whose_stream_was_reset_from_outside_is_not_held_up() {
    for change in [
        |path: &mut PathConfig| path.bandwidth = Some(1_000_000),
        |path: &mut PathConfig| path.stream_window = 5000,
        |path: &mut PathConfig| path.connection_window = 5000,
    ] {
        let mut pair = pair(Draft::D18, change);
        let subscription = pair.subscribe(&track()).unwrap();
        publish(&mut pair, subscription.publisher, 0, 100_000).unwrap();
        pair.network.run_for(Duration::from_millis(15));
        let events = pair.network.take_events(pair.client);
        let [Event::SubgroupOpened { stream, .. }, ..] = events[..] else { panic!("{events:?}") };
        assert!(pair.network.connection(pair.server).usage().send_bytes > 0);
        let stream = Some(stream);
        pair.network.inject(pair.client, Fault::ResetStream { stream, code: 0 });
        pair.network.run_until_idle();
        assert_eq!(pair.network.connection(pair.server).usage().send_bytes, 0);
        let stream = publish(&mut pair, subscription.publisher, 1, 20_000).unwrap();
        finish(&mut pair, stream);
        let record = pair.receive();
        let group = record.subgroups.last().unwrap();
        assert_eq!(group.end, Some(End::Finished), "{:?}", record.events);
        assert!(is_whole(group));
    }
}

#[test]
fn streams_are_limited_and_replenished() {
    for draft in DRAFTS {
        let mut pair = pair(draft, |path| path.uni_streams = 3);
        let subscription = pair.subscribe(&track()).unwrap();
        let control = u64::from(draft.dialect().answers_by_stream);
        let mut open = Vec::new();
        for group in 0..3 - control {
            open.push(publish(&mut pair, subscription.publisher, group, 10).unwrap());
        }
        let full = publish(&mut pair, subscription.publisher, 9, 10);
        assert!(matches!(full, Err(CommandError::Blocked(_))), "{full:?}");
        let lasting = Duration::from_secs(1);
        pair.network.inject(pair.client, Fault::RefuseStreams { lasting });
        for stream in open {
            finish(&mut pair, stream);
        }
        pair.receive();
        assert!(publish(&mut pair, subscription.publisher, 9, 10).is_err(), "still refused");
        pair.network.run_for(lasting * 2);
        assert!(pair.network.take_events(pair.server).contains(&Event::Unblocked));
        publish(&mut pair, subscription.publisher, 9, 10).unwrap();
    }
}

#[test]
fn seeded_faults_repeat_exactly() {
    let run = |draft, seed| {
        let link = LinkConfig::seeded(seed);
        let mut pair = Pair::with(draft, seed, link, Config::default());
        pair.network.keep_log(true);
        let (client, server) = (pair.client, pair.server);
        let lasting = Duration::from_millis(300);
        let faults = [
            Fault::ResetStream { stream: None, code: 0 },
            Fault::StopSending { stream: None, code: 0 },
            Fault::Stall { lasting },
            Fault::StopReading { lasting },
            Fault::RefuseStreams { lasting },
        ];
        let now = pair.network.now();
        let end = now.saturating_add(Duration::from_secs(5));
        pair.network.schedule_some(8, now..end, &[client, server], &faults);
        let _ = pair
            .network
            .with(client, |client, now| client.subscribe(now, &track(), &Parameters::default()));
        let mut record = Record::default();
        pair.network.run_until_with(end, |network, at, event| {
            if at == client {
                return record.handle(network, at, event);
            }
            let Event::Request { request, what: IncomingRequest::Subscribe { .. } } = event else {
                return;
            };
            network.with(server, |server, now| {
                server.accept(now, request, Accept::default()).unwrap();
                for group in 0..10 {
                    let mut publisher = server.publisher(request).unwrap();
                    let Ok(Some(stream)) = publisher.open_subgroup(SubgroupOptions::new(group))
                    else {
                        break;
                    };
                    let mut subgroup = server.subgroup(stream).unwrap();
                    subgroup.object(&header(0, 5000), vec![0; 5000].into()).unwrap();
                    subgroup.finish().unwrap();
                }
            });
        });
        assert!(
            record
                .subgroups
                .iter()
                .all(|group| { group.end != Some(End::Finished) || is_whole(group) })
        );
        for end in [client, server] {
            pair.network.with(end, |connection, _| connection.close(SessionError::NoError, ""));
        }
        pair.network.run_until_idle();
        for end in [client, server] {
            assert_eq!(pair.network.connection(end).usage(), Usage::default());
            assert_eq!(pair.network.load(end), Load::default());
        }
        (pair.network.raw_trace_hash(), pair.network.take_log())
    };
    for draft in DRAFTS {
        for seed in 0..30 {
            let (first, second) = (run(draft, seed), run(draft, seed));
            assert_eq!(first.1, second.1);
            assert_eq!(first.0, second.0, "{draft:?}, seed {seed}");
        }
    }
}

#[test]
fn a_reader_that_takes_nothing_loses_nothing() {
    for draft in DRAFTS {
        let mut pair = pair(draft, |_| {});
        let subscription = pair.subscribe(&track()).unwrap();
        publish(&mut pair, subscription.publisher, 0, 1000).unwrap();
        pair.network.run_until_idle();
        let events = pair.network.take_events(pair.client);
        let opened = events.iter().find_map(|event| match event {
            Event::SubgroupOpened { stream, .. } => Some(*stream),
            _ => None,
        });
        let stream = opened.unwrap();
        let mut read = |max| pair.network.with(pair.client, |client, _| client.read(stream, max));
        assert!(matches!(read(0), Read::Object(_)), "{draft:?}");
        for _ in 0..2 {
            assert_eq!(read(0), Read::Payload(Bytes::new()), "{draft:?}");
        }
        assert_eq!(read(400), Read::Payload(vec![7; 400].into()), "{draft:?}");
        assert_eq!(read(usize::MAX), Read::Payload(vec![7; 600].into()), "{draft:?}");
        assert_eq!(read(usize::MAX), Read::Pending, "{draft:?}");
    }
}
