//! What the counters say is what happened.

use std::time::Duration;

use moqt_conformance::end::{End, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    GroupOrder, Location, LocationRange, Parameters, SessionError, StreamResetCode, SubgroupId,
};
use moqt_engine::wire::{FetchWriter, ObjectHeader, SubgroupWriter};
use moqt_engine::{
    Accept, Config, DatagramOptions, Dir, Draft, FetchTarget, RequestKey, Role, Stats, StreamKey,
    SubgroupOptions, Traffic,
};

use crate::{published, published_with, subscribed};

fn open(end: &mut End, request: RequestKey, group: u64) -> StreamKey {
    let options =
        SubgroupOptions { subgroup_id: SubgroupId::Explicit(0), ..SubgroupOptions::new(group) };
    end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
        .unwrap()
        .unwrap()
}

fn object(end: &mut End, stream: StreamKey, object_id: u64, len: usize) {
    let header = ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() };
    end.with(|engine, _| {
        engine.subgroup(stream).unwrap().object(&header, vec![7; len].into()).unwrap();
    });
}

fn datagram(end: &mut End, request: RequestKey, object: u64, len: usize) {
    let options = DatagramOptions {
        publisher_priority: Some(5),
        ..DatagramOptions::new(Location::new(0, object))
    };
    end.with(|engine, _| {
        engine.publisher(request).unwrap().datagram(options, vec![7; len].into()).unwrap();
    });
}

fn carried(end: &End, request: RequestKey) -> Traffic {
    end.engine.subscription_stats(request).unwrap().traffic
}

/// Brings a stream of the one end to the other.
fn carry(from: &End, stream: StreamKey, to: &mut End) {
    let name = from.name(stream);
    let into = to.open_with(Dir::Uni, from.sent(name));
    for output in &from.outputs {
        match output {
            Output::Fin(of) if *of == name => to.fin(into),
            Output::Reset(of, code) if *of == name => to.reset(into, *code),
            _ => {}
        }
    }
}

#[test]
fn subgroups_and_objects_are_counted_at_both_ends() {
    for draft in DRAFTS {
        let mut server = End::established(draft, Role::Server, Config::default());
        let mut client = End::established(draft, Role::Client, Config::default());
        let (publication, _) = published(&mut server, "t");
        let (bystander, _) = published(&mut server, "other");
        let (subscription, _) = subscribed(&mut client, "t", 1);
        assert_eq!(server.engine.stats(), Stats::default(), "{draft:?}");
        let finished = open(&mut server, publication, 0);
        for (id, len) in [(0, 100), (1, 0), (4, 1_000)] {
            object(&mut server, finished, id, len);
        }
        server.with(|engine, _| engine.subgroup(finished).unwrap().finish()).unwrap();
        let reset = open(&mut server, publication, 1);
        object(&mut server, reset, 0, 10);
        server.with(|engine, _| engine.subgroup(reset).unwrap().reset(StreamResetCode::Cancelled));
        for stream in [finished, reset] {
            carry(&server, stream, &mut client);
        }
        let mut expected = Traffic::default();
        expected.objects = 4;
        expected.payload_bytes = 1_110;
        expected.subgroups = 2;
        expected.subgroups_reset = 1;
        assert_eq!(carried(&server, publication), expected, "{draft:?}");
        assert_eq!(carried(&server, bystander), Traffic::default(), "{draft:?}");
        assert_eq!(carried(&client, subscription), expected, "{draft:?}");
        assert_eq!(server.engine.stats().sent, expected, "{draft:?}");
        assert_eq!(client.engine.stats().received, expected, "{draft:?}");
        assert_eq!(server.engine.stats().received, Traffic::default(), "{draft:?}");
        assert_eq!(client.engine.stats().sent, Traffic::default(), "{draft:?}");
    }
}

#[test]
fn objects_of_subgroups_that_are_open_are_counted() {
    for draft in DRAFTS {
        let mut client = End::established(draft, Role::Client, Config::default());
        let (subscription, _) = subscribed(&mut client, "t", 1);
        client.reads_at_once = false;
        let stream = client.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, &[7; 300])]));
        let stats = |client: &End| client.engine.subscription_stats(subscription).unwrap();
        assert_eq!((stats(&client).open_subgroups, stats(&client).traffic.objects), (1, 0));
        let waiting = stats(&client).waiting_bytes;
        assert!((300..310).contains(&waiting), "{draft:?}: {waiting}");
        client.read(stream, usize::MAX);
        assert_eq!(stats(&client).traffic.objects, 1, "{draft:?}");
        assert_eq!(stats(&client).traffic.payload_bytes, 300, "{draft:?}");
        assert_eq!(stats(&client).waiting_bytes, 0, "{draft:?}");
        let key = client.key(stream);
        client.with(|engine, _| engine.stop(key, StreamResetCode::Cancelled));
        assert_eq!(stats(&client).open_subgroups, 0);
        assert_eq!(stats(&client).traffic.objects, 1, "{draft:?}: counted once");
        assert_eq!(stats(&client).traffic.subgroups_reset, 1, "{draft:?}");
    }
}

#[test]
fn datagrams_are_counted_by_what_became_of_them() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.limits.subscription_send = 300;
        let mut end = End::established(draft, Role::Server, config);
        let mut wishes = Parameters::default();
        wishes.object_delivery_timeout = Some(100);
        let (request, _) = published_with(&mut end, "t", wishes, Accept::default());
        end.takes_data = false;
        datagram(&mut end, request, 0, 5_000);
        datagram(&mut end, request, 1, 400);
        datagram(&mut end, request, 2, 400);
        end.wait(Duration::from_millis(101));
        end.take_data();
        datagram(&mut end, request, 3, 200);
        end.take_data();
        let stats = carried(&end, request);
        assert_eq!((stats.datagrams, stats.datagram_bytes), (1, 200), "{draft:?}");
        assert_eq!(stats.datagrams_dropped.too_large, 1, "{draft:?}");
        assert_eq!(stats.datagrams_dropped.queue_full, 1, "{draft:?}");
        assert_eq!(stats.datagrams_dropped.delivery_timeout, 1, "{draft:?}");
        assert_eq!(stats.datagrams_dropped.total(), 3, "{draft:?}");
        assert_eq!(end.engine.stats().sent, stats, "{draft:?}");

        let sent = end.outputs.iter().find_map(|output| match output {
            Output::Datagram(bytes) => Some(bytes.clone()),
            _ => None,
        });
        let mut client = End::established(draft, Role::Client, Config::default());
        let (subscription, _) = subscribed(&mut client, "t", 1);
        client.datagram(sent.unwrap());
        let received = carried(&client, subscription);
        assert_eq!((received.datagrams, received.datagram_bytes), (1, 200), "{draft:?}");
        assert_eq!(client.engine.stats().received, received, "{draft:?}");
    }
}

#[test]
fn subgroups_given_up_and_objects_skipped_are_counted() {
    let mut end = End::established(Draft::D18, Role::Server, Config::default());
    let mut wishes = Parameters::default();
    wishes.object_delivery_timeout = Some(100);
    wishes.forward = Some(true);
    let (request, (id, on)) = published_with(&mut end, "t", wishes, Accept::default());
    let skipping = open(&mut end, request, 0);
    let mut pause = Parameters::default();
    pause.forward = Some(false);
    let update = end.fresh_id();
    end.say(on, &say::update(update, id, pause));
    object(&mut end, skipping, 0, 10);
    let mut resume = Parameters::default();
    resume.forward = Some(true);
    let update = end.fresh_id();
    end.say(on, &say::update(update, id, resume));
    end.takes_data = false;
    let late = open(&mut end, request, 1);
    object(&mut end, late, 0, 10);
    assert!(end.engine.subscription_stats(request).unwrap().waiting_bytes > 10);
    end.wait(Duration::from_millis(101));
    let stats = carried(&end, request);
    assert_eq!((stats.objects, stats.objects_skipped), (1, 1));
    assert_eq!((stats.subgroups, stats.subgroups_timed_out, stats.subgroups_reset), (2, 1, 1));
    assert_eq!(end.engine.subscription_stats(request).unwrap().waiting_bytes, 0);
    assert!(end.engine.subscription_stats(request).unwrap().open_subgroups == 1);
}

#[test]
fn what_was_read_of_open_subgroups_stays_counted_when_the_session_closes() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Client, Config::default());
        subscribed(&mut end, "t", 1);
        end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"four"), (1, b"five!")]));
        let before = end.engine.stats();
        assert_eq!((before.received.objects, before.received.payload_bytes), (2, 9), "{draft:?}");
        end.engine.close(SessionError::NoError, "enough");
        assert_eq!(end.engine.stats(), before, "{draft:?}");
    }
}

// Nothing bounds the length that an object's header may give.
#[test]
fn lengths_that_are_announced_do_not_overflow_the_counters() {
    // More of them than it takes on any draft.
    const STREAMS: u64 = 6;
    for draft in DRAFTS {
        let dialect = draft.dialect();
        let largest = if draft >= Draft::D18 { u64::MAX } else { (1 << 62) - 1 };
        let mut end = End::established(draft, Role::Client, Config::default());
        let request = subscribed(&mut end, "t", 1).0;
        for group in 0..STREAMS {
            let mut bytes = say::header(draft, 1, group, 0, false);
            let header = ObjectHeader { payload_len: largest, ..ObjectHeader::default() };
            SubgroupWriter::new(dialect, false).object(&header, &mut bytes).unwrap();
            end.open_with(Dir::Uni, bytes);
        }
        let carried = end.engine.subscription_stats(request).unwrap().traffic;
        assert_eq!((carried.objects, carried.payload_bytes), (STREAMS, u64::MAX), "{draft:?}");
        assert_eq!(end.engine.stats().received.payload_bytes, u64::MAX, "{draft:?}");

        for _ in 0..STREAMS {
            let id = end.next_own_id();
            let range = LocationRange::to_last(Location::ZERO, Location::new(9, 0));
            let target = FetchTarget::Standalone { track: say::track("t"), range };
            end.with(|engine, now| engine.fetch(now, &target, &Parameters::default())).unwrap();
            let mut bytes = say::fetch_stream(draft, id, &[]);
            let mut object = say::fetch_object(Location::ZERO, b"");
            object.payload_len = largest;
            FetchWriter::new(dialect, GroupOrder::Ascending).object(&object, &mut bytes).unwrap();
            end.open_with(Dir::Uni, bytes);
        }
        let fetched = end.engine.stats().fetches_received;
        assert_eq!((fetched.objects, fetched.payload_bytes), (STREAMS, u64::MAX), "{draft:?}");
        end.engine.close(SessionError::NoError, "enough");
        assert_eq!(end.engine.stats().received.payload_bytes, u64::MAX, "{draft:?}");
    }
}
