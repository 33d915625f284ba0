//! What a publisher remembers of what it has finished, and how long streams are waited for that
//! have been sent whole.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::End;
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Location, ObjectStatus, Parameters, PublishDoneCode, SubgroupId};
use moqt_engine::wire::{ObjectHeader, Properties};
use moqt_engine::{
    Accept, CommandError, Config, DatagramOptions, DatagramOutcome, Draft, Event, GiveUpReason,
    RequestKey, Role, StreamKey, SubgroupOptions, Written,
};
use moqt_loopback::{LinkConfig, Pair};

use crate::published;

/// A subscription to a connection that remembers this much.
fn publisher(draft: Draft, remembered: usize) -> (End, RequestKey) {
    let mut config = Config::default();
    config.limits.remembered_objects = remembered;
    let mut end = End::established(draft, Role::Server, config);
    let (request, _) = published(&mut end, "t");
    (end, request)
}

fn open(
    end: &mut End,
    request: RequestKey,
    group: u64,
    subgroup_id: SubgroupId,
) -> Result<Option<StreamKey>, CommandError> {
    let options = SubgroupOptions { subgroup_id, ..SubgroupOptions::new(group) };
    end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
}

fn object(
    end: &mut End,
    stream: StreamKey,
    header: &ObjectHeader,
) -> Result<Written, CommandError> {
    let len = usize::try_from(header.payload_len).unwrap();
    end.with(|engine, _| engine.subgroup(stream).unwrap().object(header, vec![7; len].into()))
}

fn plain(object_id: u64) -> ObjectHeader {
    ObjectHeader { object_id, payload_len: 3, ..ObjectHeader::default() }
}

fn end_of_group(object_id: u64) -> ObjectHeader {
    let status = ObjectStatus::EndOfGroup;
    ObjectHeader { object_id, payload_len: 0, status, properties: Properties::EMPTY }
}

/// A subgroup with this object, which is finished.
fn whole(end: &mut End, request: RequestKey, group: u64, header: &ObjectHeader) {
    let stream = open(end, request, group, SubgroupId::Explicit(0)).unwrap().unwrap();
    object(end, stream, header).unwrap();
    end.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
}

fn is_refused<T>(result: &Result<T, CommandError>) -> bool {
    matches!(result, Err(CommandError::WrongState(_)))
}

// "Objects from the same Subgroup MUST NOT be sent on different streams, unless one of the streams
// was reset prematurely, or upstream conditions have forced objects from a Subgroup to be sent out
// of Object ID order." (draft-18, "Subgroups"; the same in 14 and 16)
#[test]
fn a_finished_subgroup_gets_no_other_stream() {
    for draft in DRAFTS {
        let (mut end, request) = publisher(draft, 64);
        whole(&mut end, request, 4, &plain(0));
        whole(&mut end, request, 5, &plain(0));
        for group in [4, 5] {
            let again = open(&mut end, request, group, SubgroupId::Explicit(0));
            assert!(is_refused(&again), "{draft:?} group {group}: {again:?}");
            // Nor by a first object that says which subgroup it is.
            let unnamed = open(&mut end, request, group, SubgroupId::FirstObjectId);
            let unnamed = unnamed.unwrap().unwrap();
            let again = object(&mut end, unnamed, &plain(0));
            assert!(is_refused(&again), "{draft:?} group {group}: {again:?}");
            assert_eq!(object(&mut end, unnamed, &plain(1)), Ok(Written::Queued), "{draft:?}");
            end.with(|engine, _| engine.subgroup(unnamed).unwrap().finish()).unwrap();
            let again = open(&mut end, request, group, SubgroupId::Explicit(1));
            assert!(is_refused(&again), "{draft:?} group {group}: named by its first object");
        }
        assert!(open(&mut end, request, 6, SubgroupId::Explicit(0)).unwrap().is_some());
    }
}

// "An Object is received in a Group whose Object ID is larger than the final Object in the Group"
// (draft-18, "Malformed Tracks"): we send no such object, in whichever group, on a stream or in a
// datagram.
#[test]
fn nothing_is_sent_after_the_end_of_any_group() {
    for draft in DRAFTS {
        let (mut end, request) = publisher(draft, 64);
        let late: Vec<StreamKey> = (0..4)
            .map(|group| open(&mut end, request, group, SubgroupId::Explicit(1)).unwrap().unwrap())
            .collect();
        for group in [2, 0, 3] {
            whole(&mut end, request, group, &end_of_group(7));
        }
        for (group, stream) in late.into_iter().enumerate() {
            assert_eq!(object(&mut end, stream, &plain(6)), Ok(Written::Queued), "{draft:?}");
            let after = object(&mut end, stream, &plain(8));
            assert_eq!(is_refused(&after), group != 1, "{draft:?} group {group}: {after:?}");
            if draft == Draft::D14 {
                // Its tracks have no datagrams beside subgroups.
                continue;
            }
            let options = DatagramOptions::new(Location::new(group as u64, 9));
            let sent = end.with(|engine, _| {
                engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"x"))
            });
            let fits = sent == Ok(DatagramOutcome::Queued);
            assert_eq!((fits, is_refused(&sent)), (group == 1, group != 1), "{draft:?}: {sent:?}");
        }
    }
}

// Limits, `remembered_objects`: of more, the smallest are forgotten.
#[test]
fn what_is_remembered_of_finished_groups_is_bounded() {
    for draft in DRAFTS {
        let (mut end, request) = publisher(draft, 2);
        let late: Vec<StreamKey> = (0..4)
            .map(|group| open(&mut end, request, group, SubgroupId::Explicit(1)).unwrap().unwrap())
            .collect();
        for group in 0..4 {
            whole(&mut end, request, group, &end_of_group(7));
        }
        for (group, stream) in late.into_iter().enumerate() {
            let is_remembered = group >= 2;
            let after = object(&mut end, stream, &plain(8));
            assert_eq!(is_refused(&after), is_remembered, "{draft:?} group {group}: {after:?}");
            let again = open(&mut end, request, group as u64, SubgroupId::Explicit(0));
            assert_eq!(is_refused(&again), is_remembered, "{draft:?} group {group}: {again:?}");
        }
    }
}

/// A pair whose client subscribes with a delivery timeout, and the server's subscription.
fn timed(draft: Draft, timeout: u64, latency: Duration) -> (Pair, RequestKey) {
    let mut link = LinkConfig::default();
    link.up.latency = latency;
    link.down.latency = latency;
    let mut pair = Pair::with(draft, 0, link, Config::default());
    let mut wishes = Parameters::default();
    wishes.object_delivery_timeout = Some(timeout);
    wishes.subgroup_delivery_timeout = (draft >= Draft::D18).then_some(timeout);
    let Pair { network, client, server } = &mut pair;
    network.with(*client, |engine, now| engine.subscribe(now, &say::track("t"), &wishes)).unwrap();
    network.run_until_idle();
    let Some(Event::Request { request, .. }) = network.take_events(*server).pop() else { panic!() };
    network.with(*server, |engine, now| engine.accept(now, request, Accept::default())).unwrap();
    network.run_until_idle();
    network.take_events(*client);
    (pair, request)
}

// "If the timer expires before the underlying transport stream reaches "all data committed" state
// [...], the implementation MUST reset the stream. This ensures that MOQT can time out subgroups
// where all of the data has been sent but not yet fully delivered due to packet loss." (draft-18,
// "Delivery Timeouts and Data Reliability") Drafts 14 and 16 have one timeout that runs until then.
#[test]
fn a_stream_that_arrives_in_time_is_not_given_up_and_one_that_does_not_is() {
    const LATENCY: Duration = Duration::from_millis(50);
    const JUST_BEFORE: Duration = Duration::from_micros(99_999);
    for draft in DRAFTS {
        // There and back takes 100 ms.
        for (timeout, in_time) in [(200, true), (99, false)] {
            let (mut pair, request) = timed(draft, timeout, LATENCY);
            let (server, begun) = (pair.server, pair.network.now());
            let stream = pair.network.with(server, |engine, _| {
                let mut publisher = engine.publisher(request).unwrap();
                let stream = publisher.open_subgroup(SubgroupOptions::new(0)).unwrap().unwrap();
                let mut subgroup = engine.subgroup(stream).unwrap();
                subgroup.object(&plain(0), Bytes::from_static(b"abc")).unwrap();
                subgroup.finish().unwrap();
                stream
            });
            let watched = |pair: &Pair| pair.network.connection(server).usage().watched_streams;
            assert_eq!(watched(&pair), 1, "{draft:?} {timeout}");
            pair.network.run_until(begun.saturating_add(JUST_BEFORE));
            assert_eq!(watched(&pair), usize::from(in_time), "{draft:?} {timeout}");
            pair.network.run_for(Duration::from_secs(1));
            assert_eq!(watched(&pair), 0, "{draft:?} {timeout}");
            let reason = GiveUpReason::DeliveryTimeout;
            let given_up = Event::SubgroupGivenUp { request, stream, reason };
            let events = pair.network.take_events(server);
            assert_eq!(events.contains(&given_up), !in_time, "{draft:?} {timeout}: {events:?}");
            // It had arrived, so whoever received it has all of it.
            let record = pair.receive();
            assert_eq!(record.payloads().count(), 1, "{draft:?} {timeout}");
            pair.network.with(server, |engine, _| {
                engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
            });
            pair.network.run_until_idle();
            assert_eq!(pair.network.connection(server).poll_timeout(), None, "{draft:?}");
        }
    }
}
