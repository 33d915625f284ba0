//! Delivery timeouts: what is not delivered in time is given up, and nothing else is
//! (draft-18, "Delivery Timeouts and Data Reliability"; draft-16 and 14, "DELIVERY TIMEOUT
//! Parameter").

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    Location, Message, Parameters, PublishDoneCode, SubgroupId, SubscriptionFilter,
    TrackProperties, property_type,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, Config, DatagramOptions, DatagramOutcome, Draft, DropReason, Event, GiveUpReason,
    MoqtConnection, RequestKey, Role, StreamKey, SubgroupOptions, Timer, Written,
};

use crate::{published, published_with};

/// DELIVERY_TIMEOUT among the reset codes of all drafts.
const DELIVERY_TIMEOUT: u64 = 0x2;

const MS: Duration = Duration::from_millis(1);

fn wishes(object: Option<u64>, subgroup: Option<u64>) -> Parameters {
    let mut wishes = Parameters::default();
    wishes.object_delivery_timeout = object;
    wishes.subgroup_delivery_timeout = subgroup;
    wishes
}

/// A subscription to a publisher whose transport takes nothing for now.
fn waiting(draft: Draft, parameters: Parameters) -> (End, RequestKey, (u64, Name)) {
    let mut end = End::established(draft, Role::Server, Config::default());
    let (request, by) = published_with(&mut end, "t", parameters, Accept::default());
    end.takes_data = false;
    (end, request, by)
}

fn open(end: &mut End, request: RequestKey, group: u64) -> StreamKey {
    let options = SubgroupOptions::new(group);
    end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
        .unwrap()
        .unwrap()
}

fn object(end: &mut End, stream: StreamKey, object_id: u64, len: usize) -> Written {
    let header = ObjectHeader { object_id, payload_len: len as u64, ..ObjectHeader::default() };
    end.with(|engine, _| {
        engine.subgroup(stream).unwrap().object(&header, vec![7; len].into()).unwrap()
    })
}

fn finish(end: &mut End, stream: StreamKey) {
    end.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
}

fn datagram(end: &mut End, request: RequestKey, object: u64) -> DatagramOutcome {
    let options = DatagramOptions {
        publisher_priority: Some(5),
        ..DatagramOptions::new(Location::new(0, object))
    };
    end.with(|engine, _| {
        engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"d"))
    })
    .unwrap()
}

fn was_reset(end: &End, stream: StreamKey) -> bool {
    end.did(&Output::Reset(end.name(stream), DELIVERY_TIMEOUT))
}

fn was_finished(end: &End, stream: StreamKey) -> bool {
    end.did(&Output::Fin(end.name(stream)))
}

/// The connection is told that the transport takes data again, and does so.
fn release(end: &mut End) {
    end.takes_data = true;
    end.drain();
}

// "if the time elapsed exceeds OBJECT_DELIVERY_TIMEOUT, it MUST reset the underlying transport
// stream with the reset stream code DELIVERY_TIMEOUT" (draft-18). "If an object in a subgroup
// exceeds the delivery timeout, the publisher MUST reset the underlying transport stream"
// (draft-16 and 14).
#[test]
fn a_subgroup_with_an_object_too_old_is_reset_with_delivery_timeout() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let before = end.engine.usage();
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0, 1_000);
        finish(&mut end, stream);
        end.wait(101 * MS);
        assert!(was_reset(&end, stream), "{draft:?}");
        let reason = GiveUpReason::DeliveryTimeout;
        let timed_out = Event::SubgroupGivenUp { request, stream, reason };
        assert_eq!(end.take_events(), [timed_out], "{draft:?}");
        release(&mut end);
        assert!(!was_finished(&end, stream), "{draft:?}");
        assert_eq!(end.sent(end.name(stream)), [0; 0], "{draft:?}: nothing late was sent");
        assert_eq!(end.engine.usage(), before, "{draft:?}");
    }
}

// "exceeds" is more than: an object that waited for just that long is sent.
#[test]
fn an_object_just_as_old_as_the_timeout_is_sent() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0, 1_000);
        finish(&mut end, stream);
        end.wait(100 * MS);
        release(&mut end);
        assert!(was_finished(&end, stream), "{draft:?}");
        assert_eq!(end.take_events(), [], "{draft:?}");
    }
}

// "the implementation MUST check the time elapsed since the first byte of the object before
// attempting to pass it to the underlying transport": even if nobody called at the deadline.
#[test]
fn the_age_is_checked_before_an_object_is_handed_to_the_transport() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let old = open(&mut end, request, 0);
        object(&mut end, old, 0, 1_000);
        end.wait(60 * MS);
        let young = open(&mut end, request, 1);
        object(&mut end, young, 0, 1_000);
        end.drain();
        end.engine.poll_timeout();
        end.with(MoqtConnection::handle_timeout);
        end.now = end.now.saturating_add(50 * MS);
        release(&mut end);
        assert!(was_reset(&end, old), "{draft:?}");
        assert_eq!(end.sent(end.name(old)), [0; 0], "{draft:?}");
        assert!(!was_reset(&end, young) && end.sent(end.name(young)).len() > 1_000, "{draft:?}");
    }
}

// The clock is each object's own ("the time at which the first payload byte of every object has
// been … provided by the original publisher application"): what was sent in time leaves the
// rest its own time.
#[test]
fn each_object_has_its_own_time() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let stream = open(&mut end, request, 0);
        for n in 0..10 {
            object(&mut end, stream, n, 1_000);
            end.wait(30 * MS);
            // The one before this is sent, this one not yet.
            if n > 0 {
                end.take_turn(1_010);
                end.with(|engine, now| engine.handle_writable(now, stream));
            }
            end.wait(30 * MS);
            assert!(!was_reset(&end, stream), "{draft:?}: object {n}");
        }
        end.wait(60 * MS);
        assert!(was_reset(&end, stream), "{draft:?}: the last one has not been sent");
    }
}

// An object whose payload the application does not give in time is as late as any other.
#[test]
fn an_object_that_is_begun_and_not_completed_in_time_is_given_up() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        end.takes_data = true;
        let stream = open(&mut end, request, 0);
        let header = ObjectHeader { payload_len: 10, ..ObjectHeader::default() };
        end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap();
            subgroup.begin_object(&header).unwrap();
            subgroup.payload(Bytes::from_static(b"half ")).unwrap();
        });
        end.wait(101 * MS);
        assert!(was_reset(&end, stream), "{draft:?}");
        assert!(end.with(|engine, _| engine.subgroup(stream).is_none()), "{draft:?}");
    }
}

// "if both the publisher and the subscriber have a non-zero value, the smaller of the two is
// used" (draft-18); "they use the min of the two values" (14, 16).
#[test]
fn the_smaller_of_the_subscribers_and_the_publishers_timeout_is_used() {
    for draft in DRAFTS {
        for (subscriber, publisher, effective) in
            [(100, 300, 100), (300, 100, 100), (0, 100, 100), (100, 0, 100)]
        {
            let stated = |timeout: u64| (timeout > 0).then_some(timeout);
            let mut end = End::established(draft, Role::Server, Config::default());
            let mut accept = Accept::default();
            if let Some(timeout) = stated(publisher) {
                let key = property_type::OBJECT_DELIVERY_TIMEOUT;
                accept.track_properties = TrackProperties::new().with_int(key, timeout);
            }
            let (request, _) =
                published_with(&mut end, "t", wishes(stated(subscriber), None), accept);
            end.takes_data = false;
            let stream = open(&mut end, request, 0);
            object(&mut end, stream, 0, 10);
            end.wait(effective * MS);
            assert!(!was_reset(&end, stream), "{draft:?}: {subscriber}, {publisher}");
            end.wait(MS);
            assert!(was_reset(&end, stream), "{draft:?}: {subscriber}, {publisher}");
        }
    }
}

// "if none of the timeouts are set to a non-zero value, all Objects in the track matching the
// subscription filter are delivered"; "a value of 0 means that there is no timeout set".
#[test]
fn without_a_timeout_everything_is_delivered_however_late() {
    for draft in DRAFTS {
        // 16 has no timeout of 0, and the encoder of the peer's messages knows it.
        let stated = if draft == Draft::D16 { None } else { Some(0) };
        for timeout in [None, stated] {
            let (mut end, request, _) = waiting(draft, wishes(timeout, None));
            let stream = open(&mut end, request, 0);
            object(&mut end, stream, 0, 10);
            finish(&mut end, stream);
            // Draft 14 has no datagrams beside subgroups.
            let mixes = draft.dialect().objects.mixed_forwarding;
            if mixes {
                datagram(&mut end, request, 3);
            }
            end.wait(Duration::from_secs(1_000_000));
            release(&mut end);
            assert!(was_finished(&end, stream), "{draft:?}");
            let is_datagram = |output: &Output| matches!(output, Output::Datagram(_));
            assert_eq!(end.outputs.iter().any(is_datagram), mixes, "{draft:?}");
            assert_eq!(end.take_events(), [], "{draft:?}");
        }
    }
}

// The timeout is the subscription's: PUBLISH_OK states it for a PUBLISH.
#[test]
fn publish_ok_states_the_subscribers_timeout() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let id = end.next_own_id();
        let track = say::track("t");
        let request = end
            .with(|engine, now| {
                engine.publish(now, &track, &Parameters::default(), &TrackProperties::new())
            })
            .unwrap();
        let on = end.own_request();
        let mut parameters = wishes(Some(100), None);
        if draft == Draft::D14 {
            let start = Location::ZERO;
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
            parameters.forward = Some(true);
            parameters.subscriber_priority = Some(1);
            parameters.group_order = Some(moqt_engine::model::GroupOrder::Ascending);
        }
        end.say(on, &say::ok_with(id, moqt_engine::model::RequestKind::Publish, parameters));
        end.takes_data = false;
        end.take_events();
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0, 10);
        end.wait(101 * MS);
        assert!(was_reset(&end, stream), "{draft:?}");
    }
}

// REQUEST_UPDATE may carry the timeout; what waits already is measured by the new one, too,
// since it is checked when the object is sent.
#[test]
fn an_update_changes_the_timeout_of_what_waits() {
    for draft in DRAFTS {
        for (before, after) in [(1_000, 100), (50, 100)] {
            let (mut end, request, (id, on)) = waiting(draft, wishes(Some(before), None));
            let stream = open(&mut end, request, 0);
            object(&mut end, stream, 0, 10);
            end.wait(40 * MS);
            let mut parameters = wishes(Some(after), None);
            if draft == Draft::D14 {
                let start = Location::ZERO;
                parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
                parameters.forward = Some(true);
                parameters.subscriber_priority = Some(1);
            }
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, parameters));
            end.wait(60 * MS);
            assert!(!was_reset(&end, stream), "{draft:?}: {before} to {after}");
            end.wait(MS);
            assert!(was_reset(&end, stream), "{draft:?}: {before} to {after}");
        }
    }
}

// "SHOULD NOT attempt to open a new stream to deliver additional Objects in that Subgroup"
// (draft-16 and 18). Other subgroups of the group are not concerned.
#[test]
fn a_subgroup_given_up_is_not_opened_again() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let stream = open(&mut end, request, 4);
        object(&mut end, stream, 0, 10);
        end.wait(101 * MS);
        assert!(was_reset(&end, stream));
        let mut reopen = |group, subgroup| {
            let mut options = SubgroupOptions::new(group);
            options.subgroup_id = SubgroupId::Explicit(subgroup);
            end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options)).unwrap()
        };
        assert_eq!(reopen(4, 0), None, "{draft:?}");
        assert!(reopen(4, 1).is_some() && reopen(5, 0).is_some(), "{draft:?}");
    }
}

// The same if the stream did not say which subgroup it was before its first object.
#[test]
fn a_subgroup_named_by_its_first_object_is_not_opened_again() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let mut options = SubgroupOptions::new(4);
        options.subgroup_id = SubgroupId::FirstObjectId;
        let stream = end
            .with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options))
            .unwrap()
            .unwrap();
        object(&mut end, stream, 6, 10);
        end.wait(101 * MS);
        assert!(was_reset(&end, stream));
        options.subgroup_id = SubgroupId::Explicit(6);
        let again = end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options));
        assert_eq!(again, Ok(None), "{draft:?}");
    }
}

// "A publisher that receives a STOP_SENDING on a Subgroup stream SHOULD NOT attempt to open a
// new stream to deliver additional Objects in that Subgroup" (draft-16 and 18); "However, if the
// publisher subsequently receives a REQUEST_UPDATE that changes the Forward State from 0 to 1,
// it MAY open a new stream" (draft-18).
#[test]
fn a_subgroup_stopped_is_not_opened_again_unless_forwarding_is_turned_on_again() {
    for draft in DRAFTS {
        let (mut end, request, (id, on)) = waiting(draft, Parameters::default());
        end.takes_data = true;
        let stream = open(&mut end, request, 4);
        object(&mut end, stream, 0, 10);
        let name = end.name(stream);
        end.stop(name, 1);
        let reopen = |end: &mut End| {
            let options = SubgroupOptions { first_object: false, ..SubgroupOptions::new(4) };
            end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options)).unwrap()
        };
        assert_eq!(reopen(&mut end), None, "{draft:?}");
        for forward in [false, true] {
            let mut parameters = Parameters::default();
            parameters.forward = Some(forward);
            if draft == Draft::D14 {
                let start = Location::ZERO;
                parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
                parameters.subscriber_priority = Some(128);
            }
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, parameters));
        }
        assert_eq!(reopen(&mut end).is_some(), draft >= Draft::D18, "{draft:?}");
    }
}

// "the implementation MUST drop the datagrams if the time elapsed since the first byte exceeds
// OBJECT_DELIVERY_TIMEOUT" (draft-18); "the Delivery Timeout only limits the amount of time they
// can be queued before being sent" (draft-16).
#[test]
fn a_datagram_too_old_is_dropped() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let before = end.engine.usage();
        assert_eq!(datagram(&mut end, request, 0), DatagramOutcome::Queued);
        end.wait(100 * MS);
        assert_eq!(datagram(&mut end, request, 1), DatagramOutcome::Queued);
        end.wait(MS);
        release(&mut end);
        let sent = end.outputs.iter().filter(|output| matches!(output, Output::Datagram(_)));
        assert_eq!(sent.count(), 1, "{draft:?}");
        let events = end.take_events();
        let [Event::DatagramDropped { header, reason: DropReason::DeliveryTimeout, .. }] =
            &events[..]
        else {
            panic!("{draft:?}: {events:?}")
        };
        assert_eq!(header.location, Location::new(0, 0));
        assert_eq!(end.engine.usage(), before, "{draft:?}");
    }
}

// "MUST start a timer of SUBGROUP_DELIVERY_TIMEOUT duration once it becomes aware that all of
// the objects on the subgroup have been published"; before that, no subgroup is late.
#[test]
fn the_subgroup_timeout_starts_when_the_subgroup_is_finished() {
    let (mut end, request, _) = waiting(Draft::D18, wishes(None, Some(100)));
    let stream = open(&mut end, request, 0);
    object(&mut end, stream, 0, 10);
    end.wait(500 * MS);
    assert!(!was_reset(&end, stream));
    finish(&mut end, stream);
    end.wait(100 * MS);
    assert!(!was_reset(&end, stream));
    end.wait(MS);
    assert!(was_reset(&end, stream));
    let reason = GiveUpReason::DeliveryTimeout;
    assert_eq!(end.take_events(), [Event::SubgroupGivenUp { request, stream, reason }]);
}

// "If the timer expires before the underlying transport stream reaches "all data committed"
// state, the implementation MUST reset the stream": also one that was handed over whole.
#[test]
fn a_finished_subgroup_that_has_not_arrived_in_time_is_reset() {
    for (draft, parameters) in [
        (Draft::D18, wishes(None, Some(100))),
        // Where there is one timeout, it lasts until the object has been delivered.
        (Draft::D16, wishes(Some(100), None)),
        (Draft::D14, wishes(Some(100), None)),
    ] {
        for arrives in [false, true] {
            let (mut end, request, _) = waiting(draft, parameters.clone());
            end.takes_data = true;
            let before = end.engine.usage();
            let stream = open(&mut end, request, 0);
            object(&mut end, stream, 0, 10);
            finish(&mut end, stream);
            assert!(was_finished(&end, stream));
            assert_eq!(end.engine.usage().watched_streams, 1);
            end.wait(50 * MS);
            if arrives {
                end.with(|engine, now| engine.handle_stream_acknowledged(now, stream));
            }
            end.wait(51 * MS);
            assert_eq!(was_reset(&end, stream), !arrives, "{draft:?}");
            assert_eq!(end.engine.usage(), before, "{draft:?}");
        }
    }
}

// Draft 18's OBJECT_DELIVERY_TIMEOUT is checked "When the object is sent to the underlying
// transport" and not after that.
#[test]
fn the_object_timeout_of_draft_18_ends_when_the_object_is_handed_to_the_transport() {
    let (mut end, request, _) = waiting(Draft::D18, wishes(Some(100), None));
    end.takes_data = true;
    let stream = open(&mut end, request, 0);
    object(&mut end, stream, 0, 10);
    end.wait(500 * MS);
    finish(&mut end, stream);
    end.wait(500 * MS);
    assert!(!was_reset(&end, stream) && was_finished(&end, stream));
    assert_eq!(end.engine.usage().watched_streams, 0);
}

// "For objects with Object Forwarding Preference set to Datagram, the SUBGROUP_DELIVERY_TIMEOUT
// acts the same way as OBJECT_DELIVERY_TIMEOUT; if both are non-zero, the smaller of the two is
// used."
#[test]
fn for_datagrams_the_smaller_of_both_timeouts_is_used() {
    for (object, subgroup) in [(None, Some(100)), (Some(100), Some(300)), (Some(300), Some(100))] {
        for (age, sent) in [(100, 1), (101, 0)] {
            let (mut end, request, _) = waiting(Draft::D18, wishes(object, subgroup));
            datagram(&mut end, request, 0);
            end.wait(age * MS);
            release(&mut end);
            let datagrams =
                end.outputs.iter().filter(|output| matches!(output, Output::Datagram(_)));
            assert_eq!(datagrams.count(), sent, "{object:?} {subgroup:?}");
        }
    }
}

// "A sender MUST NOT send PUBLISH_DONE until it has closed all streams it will ever open": one
// that is given up is closed, and counts among those that were opened.
#[test]
fn publish_done_follows_when_the_last_subgroup_is_given_up() {
    for draft in DRAFTS {
        let (mut end, request, (_, on)) = waiting(draft, wishes(Some(100), None));
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0, 10);
        finish(&mut end, stream);
        end.with(|engine, _| {
            engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        end.wait(101 * MS);
        release(&mut end);
        assert!(was_reset(&end, stream), "{draft:?}");
        let done = end.said(on).into_iter().find_map(|message| match message {
            Message::PublishDone(done) => Some(done.stream_count),
            _ => None,
        });
        assert_eq!(done, Some(1), "{draft:?}");
    }
}

// What a relay forwards is as old as when it came: "has been … received from the upstream
// subscription".
#[test]
fn an_object_begun_before_is_as_old_as_that() {
    for draft in DRAFTS {
        let (mut end, request, _) = waiting(draft, wishes(Some(100), None));
        let received = end.now;
        end.wait(70 * MS);
        let stream = open(&mut end, request, 0);
        let header = ObjectHeader { payload_len: 1, ..ObjectHeader::default() };
        end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap().begun_at(received);
            subgroup.object(&header, Bytes::from_static(b"x")).unwrap();
        });
        end.wait(30 * MS);
        assert!(!was_reset(&end, stream), "{draft:?}");
        end.wait(MS);
        assert!(was_reset(&end, stream), "{draft:?}");
    }
}

// A subscription is not concerned by the timeouts of another.
#[test]
fn timeouts_are_each_subscriptions_own() {
    for draft in DRAFTS {
        let (mut end, timed, _) = waiting(draft, wishes(Some(100), None));
        end.takes_data = true;
        let (bystander, _) = published(&mut end, "other");
        end.takes_data = false;
        let streams = [timed, bystander].map(|request| {
            let stream = open(&mut end, request, 0);
            object(&mut end, stream, 0, 100);
            finish(&mut end, stream);
            stream
        });
        end.wait(200 * MS);
        release(&mut end);
        assert!(was_reset(&end, streams[0]) && !was_finished(&end, streams[0]), "{draft:?}");
        assert!(!was_reset(&end, streams[1]) && was_finished(&end, streams[1]), "{draft:?}");
    }
}

// When the subscription is over nothing of it is waited for.
#[test]
fn a_subscription_that_is_over_has_no_deadlines() {
    for draft in DRAFTS {
        let (mut end, request, (id, on)) = waiting(draft, wishes(Some(100), None));
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0, 10);
        if draft.dialect().objects.mixed_forwarding {
            datagram(&mut end, request, 2);
        }
        end.wait(MS);
        assert!(matches!(end.engine.poll_timeout(), Some((_, Timer::Delivery))), "{draft:?}");
        match draft {
            _ if draft >= Draft::D18 => end.reset(on, 1),
            _ => end.say(end.control, &say::unsubscribe(id)),
        }
        assert_eq!(end.engine.poll_timeout(), None, "{draft:?}");
        assert_eq!(end.engine.usage().send_bytes, 0, "{draft:?}");
        assert!(!was_reset(&end, stream), "{draft:?}: it was cancelled");
    }
}

fn limited(
    change: impl FnOnce(&mut moqt_engine::Limits),
    parameters: Parameters,
) -> (End, RequestKey) {
    let mut config = Config::default();
    change(&mut config.limits);
    let mut end = End::established(Draft::D18, Role::Server, config);
    let (request, _) = published_with(&mut end, "t", parameters, Accept::default());
    (end, request)
}

// What is remembered of subgroups given up is bounded: those of the smallest groups go first.
#[test]
fn subgroups_given_up_are_remembered_up_to_a_limit() {
    let (mut end, request) =
        limited(|limits| limits.given_up_subgroups = 3, wishes(Some(100), None));
    end.takes_data = false;
    for group in 0..5 {
        let stream = open(&mut end, request, group);
        object(&mut end, stream, 0, 10);
    }
    end.wait(101 * MS);
    let reopened: Vec<bool> = (0..5)
        .map(|group| {
            let options = SubgroupOptions::new(group);
            let mut publisher = end.engine.publisher(request).unwrap();
            publisher.open_subgroup(options).unwrap().is_some()
        })
        .collect();
    assert_eq!(reopened, [true, true, false, false, false]);
}

// So are the streams that are watched until they have arrived; of others nothing is kept.
#[test]
fn finished_streams_are_watched_up_to_a_limit() {
    let (mut end, request) = limited(|limits| limits.watched_streams = 3, wishes(None, Some(100)));
    let before = end.engine.usage();
    for group in 0..5 {
        let stream = open(&mut end, request, group);
        object(&mut end, stream, 0, 10);
        finish(&mut end, stream);
    }
    assert_eq!(end.engine.usage().watched_streams, 3);
    end.wait(101 * MS);
    let resets = end.outputs.iter().filter(|output| matches!(output, Output::Reset(..)));
    assert_eq!(resets.count(), 3);
    assert_eq!(end.engine.usage(), before);
}

// "A subscriber that receives PUBLISH_DONE SHOULD set a timer of at least the larger of
// SUBGROUP_DELIVERY_TIMEOUT or OBJECT_DELIVERY_TIMEOUT in case some objects are still inbound"
// (draft-18; in 14 and 16 "at least … the delivery timeout").
#[test]
fn after_publish_done_a_subscriber_waits_for_at_least_the_delivery_timeout() {
    for draft in DRAFTS {
        for (wished, stated, waits) in [
            (None, None, Duration::from_secs(2)),
            (Some(5_000), None, Duration::from_secs(5)),
            (None, Some(7_000), Duration::from_secs(7)),
            (Some(5_000), Some(7_000), Duration::from_secs(5)),
            // A publisher does not have us wait forever.
            (None, Some(3_600_000), Duration::from_secs(30)),
        ] {
            let mut end = End::established(draft, Role::Client, Config::default());
            let id = end.next_own_id();
            let track = say::track("t");
            let wishes = wishes(wished, None);
            end.with(|engine, now| engine.subscribe(now, &track, &wishes)).unwrap();
            let on = end.own_request();
            let mut properties = TrackProperties::new();
            if let Some(stated) = stated {
                properties = properties.with_int(property_type::OBJECT_DELIVERY_TIMEOUT, stated);
            }
            let Message::SubscribeOk(mut ok) = say::subscribe_ok(id, 1) else { unreachable!() };
            ok.track_properties = properties;
            end.say(on, &Message::SubscribeOk(ok));
            // One stream is announced that does not come.
            end.say(on, &say::done(id, 1));
            end.take_events();
            end.wait(waits.saturating_sub(MS));
            assert_eq!(end.take_events(), [], "{draft:?}: {wished:?} {stated:?}");
            end.wait(MS);
            assert!(
                matches!(
                    end.take_events()[..],
                    [Event::SubscriptionDone { missing_streams: 1, .. }]
                ),
                "{draft:?}: {wished:?} {stated:?}"
            );
        }
    }
}

// A peer may state any timeout: one that ends after time does never passes, and costs nothing.
#[test]
fn the_largest_timeout_never_passes() {
    for draft in DRAFTS {
        let largest = draft.dialect().ints.max();
        let (mut end, request, _) = waiting(draft, wishes(Some(largest), None));
        let before = end.engine.usage();
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0, 10);
        datagram_or_none(&mut end, request);
        end.wait(Duration::from_secs(1_000_000));
        finish(&mut end, stream);
        release(&mut end);
        assert!(was_finished(&end, stream) && !was_reset(&end, stream), "{draft:?}");
        end.with(|engine, now| engine.handle_stream_acknowledged(now, stream));
        assert_eq!(end.take_events(), [], "{draft:?}");
        assert_eq!(end.engine.usage(), before, "{draft:?}");
    }
}

/// Draft 14's tracks have either subgroups or datagrams.
fn datagram_or_none(end: &mut End, request: RequestKey) {
    if end.draft() != Draft::D14 {
        assert_eq!(datagram(end, request, 4), DatagramOutcome::Queued);
    }
}
