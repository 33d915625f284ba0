//! An application that was told of a subscription's end hears nothing more of it, though what was
//! queued before is still sent, or not.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, drafts_from, say};
use moqt_engine::model::{
    Location, Message, ObjectStatus, Parameters, PublishDoneCode, RequestErrorCode,
    SubscriptionFilter,
};
use moqt_engine::wire::{ObjectHeader, Properties};
use moqt_engine::{
    Accept, Blocked, CommandError, Config, DatagramOptions, DatagramOutcome, Draft, Event,
    RequestKey, Role, StreamKey, Transmit,
};

use crate::published_with;
use crate::sending::{finish, object, open, try_object};

const SECOND: Duration = Duration::from_secs(1);

/// A subscription that expires in a second, to a publisher whose transport takes nothing for now:
/// it, its Request ID, and where it is answered.
fn expiring(draft: Draft, mut wishes: Parameters) -> (End, RequestKey, (u64, Name)) {
    let mut config = Config::default();
    config.limits.subscription_send = 10_000;
    let mut end = End::established(draft, Role::Server, config);
    let mut accept = Accept::default();
    accept.parameters.expires = Some(1_000);
    wishes.subscriber_priority = Some(1);
    let (request, (id, on)) = published_with(&mut end, "t", wishes, accept);
    end.said(on);
    end.takes_data = false;
    (end, request, (id, on))
}

/// A subgroup of the first group that waits to be sent, all of it.
fn waiting(end: &mut End, request: RequestKey) -> StreamKey {
    let stream = open(end, request, 0);
    for id in 0..9 {
        let header = ObjectHeader { object_id: id, payload_len: 1_000, ..Default::default() };
        try_object(end, stream, &header).unwrap();
    }
    finish(end, stream);
    stream
}

fn expire(end: &mut End, request: RequestKey) {
    end.wait(SECOND);
    let events = end.take_events();
    assert_eq!(events.last(), Some(&Event::Expired { request }), "{:?}", end.draft());
}

/// That the peer is told of the end with this code and nobody else is told anything.
#[track_caller]
fn assert_done(end: &mut End, on: Name, code: PublishDoneCode) {
    let said = end.said(on);
    assert!(
        matches!(said.last(), Some(Message::PublishDone(done)) if done.code == code),
        "{:?}: {said:?}",
        end.draft()
    );
    assert_eq!(end.take_events(), [], "{:?}", end.draft());
}

// Nor that there would be room for more.
#[test]
fn what_is_taken_after_the_end_makes_nobody_write() {
    for draft in DRAFTS {
        let (mut end, request, (_, on)) = expiring(draft, Parameters::default());
        waiting(&mut end, request);
        let more = open(&mut end, request, 1);
        let header = ObjectHeader { payload_len: 2_000, ..Default::default() };
        try_object(&mut end, more, &header).unwrap();
        let next = ObjectHeader { object_id: 1, ..header };
        let full = try_object(&mut end, more, &next);
        assert_eq!(full, Err(CommandError::Blocked(Blocked::Queue)), "{draft:?}");
        expire(&mut end, request);
        end.takes_data = true;
        end.drain();
        assert_done(&mut end, on, PublishDoneCode::Expired);
    }
}

// Nor that something was given up.
#[test]
fn what_is_too_late_after_the_end_is_given_up_in_silence() {
    for draft in DRAFTS {
        let mut wishes = Parameters::default();
        wishes.object_delivery_timeout = Some(5_000);
        let (mut end, request, (_, on)) = expiring(draft, wishes);
        let stream = waiting(&mut end, request);
        expire(&mut end, request);
        end.wait(5 * SECOND);
        // DELIVERY_TIMEOUT among the reset codes of all drafts.
        assert!(end.did(&Output::Reset(end.name(stream), 0x2)), "{draft:?}: {:?}", end.outputs);
        end.takes_data = true;
        end.drain();
        assert_done(&mut end, on, PublishDoneCode::Expired);
        assert_eq!(end.engine.stats().sent.subgroups_timed_out, 1, "{draft:?}");
    }
}

// Nor that the transport does not take a datagram.
#[test]
fn a_datagram_that_is_too_large_after_the_end_is_dropped_in_silence() {
    for draft in DRAFTS {
        let (mut end, request, (_, on)) = expiring(draft, Parameters::default());
        let options = DatagramOptions {
            location: Location::ZERO,
            publisher_priority: Some(5),
            end_of_group: false,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        };
        let sent = end.with(|engine, _| {
            engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"d"))
        });
        assert_eq!(sent, Ok(DatagramOutcome::Queued), "{draft:?}");
        expire(&mut end, request);
        end.with(|engine, now| match engine.poll_send(now) {
            Some(Transmit::Datagram(send)) => send.too_large(),
            other => panic!("{draft:?}: {other:?}"),
        });
        end.takes_data = true;
        end.drain();
        assert_done(&mut end, on, PublishDoneCode::Expired);
        assert_eq!(end.engine.stats().sent.datagrams_dropped.too_large, 1, "{draft:?}");
    }
}

// Nor that the subscriber has not moved in time (draft-18, "GOAWAY").
#[test]
fn a_request_that_was_to_be_moved_and_is_over_ends_in_silence() {
    for draft in drafts_from(Draft::D18) {
        let (mut end, request, (_, on)) = expiring(draft, Parameters::default());
        let goaway =
            end.with(|engine, now| engine.goaway_request(now, request, Bytes::new(), 2 * SECOND));
        assert_eq!(goaway, Ok(()), "{draft:?}");
        waiting(&mut end, request);
        expire(&mut end, request);
        end.wait(2 * SECOND);
        assert_eq!(end.take_events(), [], "{draft:?}");
        // GOING_AWAY among the reset codes.
        assert!(end.did(&Output::Reset(on, 0x4)), "{draft:?}: {:?}", end.outputs);
    }
}

// What the application has ended does not expire, and says what the application said.
#[test]
fn a_subscription_that_is_done_does_not_expire() {
    for draft in DRAFTS {
        let (mut end, request, (_, on)) = expiring(draft, Parameters::default());
        waiting(&mut end, request);
        end.with(|engine, _| {
            engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        end.wait(2 * SECOND);
        end.takes_data = true;
        end.drain();
        assert_done(&mut end, on, PublishDoneCode::TrackEnded);
    }
}

// Nor does an update that comes too late end it, though it is refused ("every update is
// answered": draft-16 and -18, "REQUEST_UPDATE").
#[test]
fn an_update_of_a_subscription_that_is_done_is_refused_and_changes_nothing() {
    for draft in drafts_from(Draft::D16) {
        let (mut end, request, (id, on)) = expiring(draft, Parameters::default());
        let stream = open(&mut end, request, 5);
        object(&mut end, stream, 5);
        finish(&mut end, stream);
        end.with(|engine, _| {
            engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        // All of it has been published.
        let mut past = Parameters::default();
        let (start, end_group) = (Location::ZERO, 4);
        past.subscription_filter = Some(SubscriptionFilter::AbsoluteRange { start, end_group });
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, past));
        end.takes_data = true;
        end.drain();
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error), Message::PublishDone(done)]
                if error.code == RequestErrorCode::InvalidRange
                    && done.code == PublishDoneCode::TrackEnded),
            "{draft:?}: {said:?}"
        );
        assert_eq!(end.take_events(), [], "{draft:?}");
    }
}

#[test]
fn nothing_is_changed_of_a_subscription_that_is_ending() {
    for draft in DRAFTS {
        let (mut end, request, (_, on)) = expiring(draft, Parameters::default());
        waiting(&mut end, request);
        expire(&mut end, request);
        let none = Parameters::default();
        let updated = end.with(|engine, now| engine.update(now, request, &none));
        assert!(matches!(updated, Err(CommandError::WrongState(_))), "{draft:?}: {updated:?}");
        assert_eq!(end.said(on), [], "{draft:?}");
    }
}
