//! What a publisher must and must not put on the wire, whatever its application asks for.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, drafts_from, say};
use moqt_engine::model::{
    Location, Message, ObjectStatus, Parameters, PublishDoneCode, StreamResetCode, SubgroupId,
    SubscriptionFilter,
};
use moqt_engine::wire::{
    Datagram, ObjectHeader, Properties, SubgroupEvent, SubgroupHeader, SubgroupReader,
};
use moqt_engine::{
    Accept, Blocked, CommandError, Config, DatagramOptions, Draft, Event, GiveUpReason, RequestKey,
    Role, SlowSubscriber, StreamKey, SubgroupOptions, Written,
};

use crate::{published, published_with};

fn publisher(draft: Draft, filter: SubscriptionFilter) -> (End, RequestKey, (u64, Name)) {
    let mut end = End::established(draft, Role::Server, Config::default());
    let mut wishes = Parameters::default();
    wishes.subscription_filter = Some(filter);
    let (request, by) = published_with(&mut end, "t", wishes, Accept::default());
    (end, request, by)
}

fn from(group: u64, object: u64) -> SubscriptionFilter {
    SubscriptionFilter::AbsoluteStart { start: Location::new(group, object) }
}

fn try_open(
    end: &mut End,
    request: RequestKey,
    options: SubgroupOptions,
) -> Result<Option<StreamKey>, CommandError> {
    end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
}

pub(super) fn open(end: &mut End, request: RequestKey, group: u64) -> StreamKey {
    try_open(end, request, SubgroupOptions::new(group)).unwrap().unwrap()
}

pub(super) fn try_object(
    end: &mut End,
    stream: StreamKey,
    header: &ObjectHeader,
) -> Result<Written, CommandError> {
    let len = usize::try_from(header.payload_len).unwrap();
    end.with(|engine, _| {
        let mut subgroup = engine.subgroup(stream).ok_or(CommandError::Gone)?;
        subgroup.object(header, vec![7; len].into())
    })
}

fn plain(object_id: u64) -> ObjectHeader {
    ObjectHeader { object_id, payload_len: 3, ..ObjectHeader::default() }
}

pub(super) fn object(end: &mut End, stream: StreamKey, object_id: u64) -> Written {
    try_object(end, stream, &plain(object_id)).unwrap()
}

pub(super) fn finish(end: &mut End, stream: StreamKey) {
    end.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
}

pub(super) fn was_reset(end: &End, stream: StreamKey) -> bool {
    end.was_reset(end.name(stream))
}

pub(super) fn was_finished(end: &End, stream: StreamKey) -> bool {
    end.did(&Output::Fin(end.name(stream)))
}

/// The header and objects that were sent on a stream.
fn sent(end: &End, stream: StreamKey) -> (SubgroupHeader, Vec<u64>) {
    let dialect = end.draft().dialect();
    let bytes = end.sent(end.name(stream));
    let (header, len) = SubgroupHeader::decode(dialect, &bytes).unwrap().unwrap();
    let mut reader = SubgroupReader::new(dialect, header.has_properties, 1_000);
    let mut input = &bytes[len..];
    let mut objects = Vec::new();
    loop {
        match reader.next(&mut input).unwrap() {
            SubgroupEvent::Object { object_id, .. } => objects.push(object_id),
            SubgroupEvent::Payload(_) => {}
            SubgroupEvent::NeedMore => break,
        }
    }
    assert!(reader.is_at_boundary());
    (header, objects)
}

fn update(end: &mut End, (id, on): (u64, Name), mut parameters: Parameters) {
    if end.draft() == Draft::D14 {
        // There all of this is stated in each.
        parameters.subscription_filter = parameters.subscription_filter.or(Some(from(0, 0)));
        parameters.forward = parameters.forward.or(Some(true));
        parameters.subscriber_priority = Some(128);
    }
    let update = end.fresh_id();
    end.say(on, &say::update(update, id, parameters));
}

pub(crate) fn forward(end: &mut End, by: (u64, Name), forward: bool) {
    let mut parameters = Parameters::default();
    parameters.forward = Some(forward);
    update(end, by, parameters);
}

// "If a sender has delivered all objects in a Subgroup to the QUIC stream, except any Objects
// with Locations smaller than the subscription's Start Location, it MUST close the stream with a
// FIN" (draft-18, "Closing Subgroup Streams"; the same in 14 and 16).
#[test]
fn a_subgroup_without_the_objects_before_the_start_is_finished() {
    for draft in DRAFTS {
        let (mut end, request, _) = publisher(draft, from(3, 2));
        let stream = open(&mut end, request, 3);
        let written: Vec<Written> = (0..4).map(|id| object(&mut end, stream, id)).collect();
        let (skipped, queued) = (Written::Skipped, Written::Queued);
        assert_eq!(written, [skipped, skipped, queued, queued], "{draft:?}");
        finish(&mut end, stream);
        assert!(was_finished(&end, stream) && !was_reset(&end, stream), "{draft:?}");
        let (header, objects) = sent(&end, stream);
        assert_eq!(objects, [2, 3]);
        // "the first object in this subgroup stream is the first object published in the
        // subgroup": not any more.
        assert!(!header.first_object, "{draft:?}");
    }
}

// "If a sender closes the stream before delivering all such objects to the QUIC stream, it MUST
// reset the stream. This includes … Omitting a Subgroup Object due to the subscriber's Forward
// State".
#[test]
fn a_subgroup_that_forwarding_left_a_hole_in_is_reset() {
    for draft in DRAFTS {
        let (mut end, request, by) = publisher(draft, from(0, 0));
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0);
        forward(&mut end, by, false);
        assert_eq!(object(&mut end, stream, 1), Written::Skipped, "{draft:?}");
        forward(&mut end, by, true);
        // "A relay MUST NOT forward an Object on an existing Subgroup stream unless it is the
        // next Object in that Subgroup."
        assert_eq!(object(&mut end, stream, 2), Written::Skipped, "{draft:?}");
        finish(&mut end, stream);
        assert!(was_reset(&end, stream) && !was_finished(&end, stream), "{draft:?}");
    }
}

// The same if the stream was opened only when forwarding was on again: "a stream FIN … is
// assured it has received all objects in a subgroup from the start of the subscription".
#[test]
fn a_subgroup_opened_after_a_pause_is_reset() {
    for draft in DRAFTS {
        for told in [false, true] {
            let (mut end, request, by) = publisher(draft, from(0, 0));
            forward(&mut end, by, false);
            // The application asks for a stream and gets none, or knows that it would get none.
            if told {
                end.with(|engine, _| {
                    engine.publisher(request).unwrap().note_published(Location::new(5, 0)).unwrap();
                });
            } else {
                assert_eq!(try_open(&mut end, request, SubgroupOptions::new(5)), Ok(None));
            }
            forward(&mut end, by, true);
            let options = SubgroupOptions { first_object: false, ..SubgroupOptions::new(5) };
            let stream = try_open(&mut end, request, options).unwrap().unwrap();
            object(&mut end, stream, 1);
            finish(&mut end, stream);
            assert!(was_reset(&end, stream) && !was_finished(&end, stream), "{draft:?}");
            // Nothing is missing of the next group.
            let next = open(&mut end, request, 6);
            object(&mut end, next, 0);
            finish(&mut end, next);
            assert!(was_finished(&end, next), "{draft:?}");
        }
    }
}

// "An MOQT implementation that processes a stream FIN is assured it has received all objects in a
// subgroup from the start of the subscription": not of a stream that goes on where another was reset.
#[test]
fn a_subgroup_taken_up_after_a_reset_is_reset_too() {
    for draft in DRAFTS {
        let (mut end, request, _) = publisher(draft, from(0, 0));
        let first = open(&mut end, request, 5);
        object(&mut end, first, 0);
        end.with(|engine, _| engine.subgroup(first).unwrap().reset(StreamResetCode::Cancelled));
        let options = SubgroupOptions { first_object: false, ..SubgroupOptions::new(5) };
        let second = try_open(&mut end, request, options).unwrap().unwrap();
        object(&mut end, second, 1);
        finish(&mut end, second);
        assert!(was_reset(&end, second) && !was_finished(&end, second), "{draft:?}");
    }
}

// "If a sender has delivered all objects in a Subgroup to the QUIC stream, except any Objects with
// Locations smaller than the subscription's Start Location, it MUST close the stream with a FIN. If
// a sender closes the stream before delivering all such objects to the QUIC stream, it MUST reset
// the stream." Where the subscriber can widen its filter, objects that passed by before are such.
#[test]
fn a_subgroup_begun_after_its_filter_was_widened_is_reset() {
    for draft in drafts_from(Draft::D16) {
        let narrow = SubscriptionFilter::AbsoluteRange { start: Location::ZERO, end_group: 4 };
        for narrow in [narrow, from(5, 1)] {
            let (mut end, request, by) = publisher(draft, narrow);
            end.with(|engine, _| {
                engine.publisher(request).unwrap().note_published(Location::new(5, 0)).unwrap();
            });
            let mut parameters = Parameters::default();
            parameters.subscription_filter = Some(from(0, 0));
            update(&mut end, by, parameters);
            let options = SubgroupOptions { first_object: false, ..SubgroupOptions::new(5) };
            let stream = try_open(&mut end, request, options).unwrap().unwrap();
            object(&mut end, stream, 1);
            finish(&mut end, stream);
            assert!(was_reset(&end, stream) && !was_finished(&end, stream), "{draft:?}");
        }
    }
}

// "… A REQUEST_UPDATE moving the subscription's End Group to a smaller Group or the Start
// Location to a larger Location".
#[test]
fn a_subgroup_that_an_update_cut_short_is_reset() {
    for draft in DRAFTS {
        for moves_end in [false, true] {
            let (mut end, request, by) = publisher(draft, from(0, 0));
            let stream = open(&mut end, request, 5);
            object(&mut end, stream, 0);
            let mut parameters = Parameters::default();
            parameters.subscription_filter = if moves_end {
                let start = Location::ZERO;
                Some(SubscriptionFilter::AbsoluteRange { start, end_group: 4 })
            } else {
                Some(from(5, 3))
            };
            update(&mut end, by, parameters);
            if end.engine.subgroup(stream).is_some() {
                assert_eq!(try_object(&mut end, stream, &plain(1)), Ok(Written::Skipped));
                finish(&mut end, stream);
            }
            assert!(was_reset(&end, stream) && !was_finished(&end, stream), "{draft:?}");
        }
    }
}

// "Early termination of subscription due to request cancellation", "A publisher's decision to
// end the subscription early".
#[test]
fn what_is_unfinished_when_a_subscription_ends_is_reset() {
    for draft in DRAFTS {
        for by_publisher in [false, true] {
            let (mut end, request, (id, on)) = publisher(draft, from(0, 0));
            let finished = open(&mut end, request, 0);
            object(&mut end, finished, 0);
            finish(&mut end, finished);
            let unfinished = open(&mut end, request, 1);
            object(&mut end, unfinished, 0);
            if by_publisher {
                end.with(|engine, _| {
                    let publisher = engine.publisher(request).unwrap();
                    publisher.done(PublishDoneCode::SubscriptionEnded, "");
                });
            } else if draft >= Draft::D18 {
                end.reset(on, 1);
            } else {
                end.say(end.control, &say::unsubscribe(id));
            }
            assert!(was_finished(&end, finished) && !was_reset(&end, finished), "{draft:?}");
            assert!(was_reset(&end, unfinished) && !was_finished(&end, unfinished), "{draft:?}");
        }
    }
}

// "If a stream ends gracefully … in the middle of a serialized Object, the session SHOULD be
// closed": so it cannot be finished there.
#[test]
fn a_subgroup_is_not_finished_inside_an_object() {
    for draft in DRAFTS {
        let (mut end, request, _) = publisher(draft, from(0, 0));
        let stream = open(&mut end, request, 0);
        let finished = end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap();
            subgroup.begin_object(&plain(0)).unwrap();
            subgroup.payload(Bytes::from_static(b"ab")).unwrap();
            engine.subgroup(stream).unwrap().finish()
        });
        assert!(matches!(finished, Err(CommandError::WrongState(_))), "{draft:?}");
        assert!(!was_finished(&end, stream), "{draft:?}");
        end.with(|engine, _| engine.subgroup(stream).unwrap().reset(StreamResetCode::Cancelled));
        assert!(was_reset(&end, stream), "{draft:?}");
    }
}

// "A publisher SHOULD NOT open more than one stream at a time with the same Subgroup Header field
// values"; "Objects from the same Subgroup MUST NOT be sent on different streams, unless one of
// the streams was reset prematurely".
#[test]
fn a_subgroup_has_one_stream_at_a_time() {
    for draft in DRAFTS {
        let (mut end, request, _) = publisher(draft, from(0, 0));
        let stream = open(&mut end, request, 4);
        let again = try_open(&mut end, request, SubgroupOptions::new(4));
        assert!(matches!(again, Err(CommandError::WrongState(_))), "{draft:?}");
        let mut other = SubgroupOptions::new(4);
        other.subgroup_id = SubgroupId::Explicit(1);
        assert!(try_open(&mut end, request, other).unwrap().is_some(), "{draft:?}");
        // One whose first object says which it is.
        let mut unnamed = SubgroupOptions::new(4);
        unnamed.subgroup_id = SubgroupId::FirstObjectId;
        let unnamed = try_open(&mut end, request, unnamed).unwrap().unwrap();
        for taken in [0, 1] {
            let refused = try_object(&mut end, unnamed, &plain(taken));
            assert!(matches!(refused, Err(CommandError::WrongState(_))), "{draft:?}: {taken}");
        }
        assert_eq!(object(&mut end, unnamed, 2), Written::Queued, "{draft:?}");
        // After a reset there may be another.
        end.with(|engine, _| engine.subgroup(stream).unwrap().reset(StreamResetCode::Cancelled));
        let options = SubgroupOptions { first_object: false, ..SubgroupOptions::new(4) };
        let stream = try_open(&mut end, request, options).unwrap().unwrap();
        object(&mut end, stream, 9);
        assert!(!sent(&end, stream).0.first_object, "{draft:?}");
    }
}

// "An Object is received in a Group whose Object ID is larger than the final Object in the
// Group. The final Object in a Group is the Object with Status END_OF_GROUP, or the last Object
// before a FIN in a Subgroup which has the END_OF_GROUP bit set"; "… Group and Object ID are
// larger than the final Object in the Track" (draft-18, "Malformed Tracks"). We make no such
// track.
#[test]
fn nothing_is_sent_after_the_end_of_its_group_or_track() {
    for draft in DRAFTS {
        let refused = |result: Result<Written, CommandError>| {
            assert!(matches!(result, Err(CommandError::WrongState(_))), "{draft:?}: {result:?}");
        };
        let end_status = |object_id, status| ObjectHeader {
            object_id,
            payload_len: 0,
            status,
            properties: Properties::EMPTY,
        };
        let second = |group| SubgroupOptions {
            subgroup_id: SubgroupId::Explicit(1),
            ..SubgroupOptions::new(group)
        };
        // By status, on the same stream and on another of the group.
        let (mut end, request, _) = publisher(draft, from(0, 0));
        let stream = open(&mut end, request, 4);
        let other = try_open(&mut end, request, second(4)).unwrap().unwrap();
        try_object(&mut end, stream, &end_status(7, ObjectStatus::EndOfGroup)).unwrap();
        refused(try_object(&mut end, stream, &plain(8)));
        refused(try_object(&mut end, other, &plain(8)));
        assert_eq!(object(&mut end, other, 6), Written::Queued);
        // By the header of a subgroup that finishes.
        let last = SubgroupOptions { end_of_group: true, ..SubgroupOptions::new(5) };
        let last = try_open(&mut end, request, last).unwrap().unwrap();
        let other = try_open(&mut end, request, second(5)).unwrap().unwrap();
        object(&mut end, last, 3);
        object(&mut end, other, 2);
        finish(&mut end, last);
        refused(try_object(&mut end, other, &plain(4)));
        // The end of the track.
        let track_end = open(&mut end, request, 6);
        try_object(&mut end, track_end, &end_status(1, ObjectStatus::EndOfTrack)).unwrap();
        let beyond = open(&mut end, request, 7);
        refused(try_object(&mut end, beyond, &plain(0)));
        let options = datagram(Location::new(8, 0));
        let sent = end.with(|engine, _| {
            engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"d"))
        });
        assert!(matches!(sent, Err(CommandError::WrongState(_))), "{draft:?}");
        // The end itself may be sent again.
        end.with(|engine, _| engine.subgroup(track_end).unwrap().reset(StreamResetCode::Cancelled));
        let again = open(&mut end, request, 6);
        try_object(&mut end, again, &end_status(1, ObjectStatus::EndOfTrack)).unwrap();
    }
}

fn datagram(location: Location) -> DatagramOptions {
    DatagramOptions { publisher_priority: Some(5), ..DatagramOptions::new(location) }
}

// The END_OF_GROUP bit of a datagram says the same: "no Object with the same Group ID and an
// Object ID greater than the Object ID in this datagram exists".
#[test]
fn nothing_is_sent_after_a_datagram_that_ends_its_group() {
    for draft in DRAFTS {
        let (mut end, request, _) = publisher(draft, from(0, 0));
        let mut send = |object, end_of_group| {
            let options = DatagramOptions { end_of_group, ..datagram(Location::new(0, object)) };
            end.with(|engine, _| {
                engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"d"))
            })
        };
        send(5, true).unwrap();
        assert!(send(4, false).is_ok(), "{draft:?}");
        assert!(matches!(send(6, false), Err(CommandError::WrongState(_))), "{draft:?}");
        let flags: Vec<bool> = end
            .outputs
            .iter()
            .filter_map(|output| match output {
                Output::Datagram(bytes) => {
                    match Datagram::decode(draft.dialect(), bytes, 100).unwrap() {
                        Datagram::Object(object) => Some(object.header.end_of_group),
                        Datagram::Padding => None,
                    }
                }
                _ => None,
            })
            .collect();
        assert_eq!(flags, [true, false], "{draft:?}: the flag only where it is true");
    }
}

// What the draft forbids is refused, and leaves no trace on the wire: "If an Object Datagram
// includes both the STATUS bit and PROPERTIES bit, and the Object Status is not Normal (0x0) …
// only Normal Objects can have Properties" (draft-18); "An object status message cannot signal
// end of group"; a status with a payload cannot be said.
#[test]
fn an_object_that_the_draft_cannot_say_is_refused_and_nothing_is_sent_of_it() {
    for draft in DRAFTS {
        let (mut end, request, _) = publisher(draft, from(0, 0));
        let mut options = SubgroupOptions::new(0);
        options.has_properties = true;
        let stream = try_open(&mut end, request, options).unwrap().unwrap();
        let mut with_payload = plain(0);
        with_payload.status = ObjectStatus::EndOfGroup;
        assert!(try_object(&mut end, stream, &with_payload).is_err(), "{draft:?}");
        assert_eq!(end.engine.usage().send_bytes, 0, "{draft:?}");
        // The same stream goes on as if nothing had been.
        assert_eq!(object(&mut end, stream, 1), Written::Queued);
        finish(&mut end, stream);
        assert_eq!(sent(&end, stream).1, [1], "{draft:?}");
        assert!(was_finished(&end, stream), "{draft:?}");
        assert_eq!(end.engine.usage().send_bytes, 0, "{draft:?}");

        let mut status = datagram(Location::new(1, 0));
        status.status = ObjectStatus::EndOfGroup;
        let mut flagged = status.clone();
        flagged.end_of_group = true;
        for (options, payload) in [(flagged, ""), (status, "payload")] {
            let refused = end.with(|engine, _| {
                let payload = Bytes::from_static(payload.as_bytes());
                engine.publisher(request).unwrap().datagram(options, payload)
            });
            assert!(refused.is_err(), "{draft:?}: {refused:?}");
        }
        assert!(!end.outputs.iter().any(|output| matches!(output, Output::Datagram(_))));
    }
}

pub(super) fn slow(draft: Draft, policy: SlowSubscriber) -> (End, RequestKey, (u64, Name)) {
    let mut config = Config::default();
    config.limits.subscription_send = 10_000;
    let mut end = End::established(draft, Role::Server, config);
    let (request, by) = published(&mut end, "t");
    end.with(|engine, _| engine.publisher(request).unwrap().when_slow(policy));
    end.takes_data = false;
    (end, request, by)
}

/// Fills groups of one object each until writing is refused, at most 100.
fn fill(end: &mut End, request: RequestKey) -> (Vec<StreamKey>, Option<CommandError>) {
    let mut streams = Vec::new();
    for group in 0..100 {
        let opened = end.with(|engine, _| {
            let mut publisher = engine.publisher(request).ok_or(CommandError::Gone)?;
            publisher.open_subgroup(SubgroupOptions::new(group))
        });
        let written = opened.and_then(|stream| {
            let stream = stream.unwrap();
            streams.push(stream);
            let header = ObjectHeader { payload_len: 1_000, ..ObjectHeader::default() };
            try_object(end, stream, &header)
        });
        match written {
            Ok(_) => finish(end, *streams.last().unwrap()),
            Err(error) => return (streams, Some(error)),
        }
    }
    (streams, None)
}

// "all Objects in the track matching the subscription filter are delivered": unless the
// application says otherwise, it waits, and nothing is lost.
#[test]
fn by_default_a_slow_subscriber_blocks_its_publisher() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::default());
        let (streams, error) = fill(&mut end, request);
        assert_eq!(error, Some(CommandError::Blocked(Blocked::Queue)), "{draft:?}");
        end.takes_data = true;
        end.drain();
        for stream in &streams[..streams.len() - 1] {
            assert!(was_finished(&end, *stream), "{draft:?}");
        }
    }
}

// "Publishers can, at their discretion, discontinue forwarding Objects earlier … subject to
// stream closure and ordering constraints": what is left out is reset, the oldest first, and the
// newest is what gets through.
#[test]
fn a_publisher_may_drop_the_oldest_groups_of_a_slow_subscriber() {
    for draft in DRAFTS {
        let (mut end, request, by) = slow(draft, SlowSubscriber::DropOldestGroup);
        let (streams, error) = fill(&mut end, request);
        assert_eq!(error, None, "{draft:?}");
        assert_eq!(streams.len(), 100);
        let given_up: Vec<StreamKey> = end
            .take_events()
            .into_iter()
            .map(|event| match event {
                Event::SubgroupGivenUp { stream, reason: GiveUpReason::QueueFull, .. } => stream,
                other => panic!("{draft:?}: {other:?}"),
            })
            .collect();
        assert_eq!(given_up, streams[..given_up.len()], "{draft:?}: the oldest in their order");
        assert!((88..=91).contains(&given_up.len()), "{draft:?}: {}", given_up.len());
        assert!(end.engine.usage().send_bytes <= 11_100, "{draft:?}");
        end.takes_data = true;
        end.drain();
        for (n, stream) in streams.iter().enumerate() {
            let is_dropped = n < given_up.len();
            assert_eq!(was_reset(&end, *stream), is_dropped, "{draft:?}: {n}");
            assert_eq!(was_finished(&end, *stream), !is_dropped, "{draft:?}: {n}");
        }
        // They count as streams that were opened.
        end.with(|engine, _| {
            engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        assert_eq!(done_with(&mut end, by), Some((PublishDoneCode::TrackEnded, 100)), "{draft:?}");
    }
}

// A single group that is larger than the queue is not dropped: its writer waits.
#[test]
fn the_newest_group_is_never_dropped() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::DropOldestGroup);
        let stream = open(&mut end, request, 0);
        let mut id = 0;
        let error = loop {
            let header =
                ObjectHeader { object_id: id, payload_len: 1_000, ..ObjectHeader::default() };
            if let Err(error) = try_object(&mut end, stream, &header) {
                break error;
            }
            id += 1;
            assert!(id < 100);
        };
        assert_eq!(error, CommandError::Blocked(Blocked::Queue), "{draft:?}");
        assert!(!was_reset(&end, stream), "{draft:?}");
    }
}

// "If a subscriber fails to consume Objects at a sufficient rate, causing the publisher to exceed
// its resource limits, the publisher MAY terminate the subscription using PUBLISH_DONE with
// error TOO_FAR_BEHIND."
#[test]
fn a_publisher_may_end_the_subscription_of_a_slow_subscriber() {
    for draft in DRAFTS {
        let (mut end, request, by) = slow(draft, SlowSubscriber::End);
        let before = end.engine.usage();
        let (streams, error) = fill(&mut end, request);
        assert_eq!(error, Some(CommandError::Gone), "{draft:?}");
        let code = StreamResetCode::TooFarBehind;
        let cancelled = Event::Cancelled { request, code, error: None };
        assert_eq!(end.take_events(), [cancelled], "{draft:?}");
        end.takes_data = true;
        end.drain();
        assert!(streams.iter().all(|stream| was_reset(&end, *stream)), "{draft:?}");
        let done = done_with(&mut end, by);
        let count = streams.len() as u64;
        assert_eq!(done, Some((PublishDoneCode::TooFarBehind, count)), "{draft:?}");
        assert!(end.engine.publisher(request).is_none(), "{draft:?}");
        assert_eq!(end.engine.usage().send_bytes, before.send_bytes, "{draft:?}");
        assert_eq!(end.engine.usage().requests, before.requests - 1, "{draft:?}");
    }
}

// One subscriber's slowness is not another's.
#[test]
fn dropping_groups_of_one_subscription_leaves_the_others_alone() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::DropOldestGroup);
        end.takes_data = true;
        let (bystander, _) = published(&mut end, "other");
        end.takes_data = false;
        let stream = open(&mut end, bystander, 0);
        object(&mut end, stream, 0);
        finish(&mut end, stream);
        fill(&mut end, request);
        end.takes_data = true;
        end.drain();
        assert!(was_finished(&end, stream) && !was_reset(&end, stream), "{draft:?}");
        end.wait(Duration::from_secs(1));
    }
}

fn done_with(end: &mut End, (_, on): (u64, Name)) -> Option<(PublishDoneCode, u64)> {
    end.said(on).into_iter().find_map(|message| match message {
        Message::PublishDone(done) => Some((done.code, done.stream_count)),
        _ => None,
    })
}

// "Every Track has a single 'Object Forwarding Preference' and the Original Publisher MUST NOT mix
// different forwarding preferences within a single track" (draft-14, "Data Streams"); later drafts
// leave it to each object.
#[test]
fn draft_14_tracks_have_one_forwarding_preference() {
    for draft in DRAFTS {
        let send = |end: &mut End, request| {
            let options = datagram(Location::new(9, 0));
            end.with(|engine, _| {
                let mut publisher = engine.publisher(request).unwrap();
                publisher.datagram(options, Bytes::from_static(b"x")).map(drop)
            })
        };
        let mixes = draft != Draft::D14;
        let (mut end, request, _) = publisher(draft, from(0, 0));
        open(&mut end, request, 0);
        assert_eq!(send(&mut end, request).is_ok(), mixes, "{draft:?}: a datagram");
        let (mut end, request, _) = publisher(draft, from(0, 0));
        send(&mut end, request).unwrap();
        let opened = try_open(&mut end, request, SubgroupOptions::new(0));
        assert_eq!(opened.is_ok(), mixes, "{draft:?}: a subgroup");
    }
}
