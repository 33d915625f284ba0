//! A command that fails has changed nothing.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, ROLES, cases, drafts_from, say};
use moqt_engine::model::{
    EndOfRange, Location, Message, ObjectStatus, Parameters, Property, SetupOptions,
    SubscriptionFilter,
};
use moqt_engine::wire::{EncodeError, FetchObject, ObjectHeader, Properties};
use moqt_engine::{
    AcceptFetch, Blocked, CommandError, Config, Dir, Draft, Event, MoqtConnection, RequestKey,
    Role, SlowSubscriber, SubgroupOptions, Timestamp, Transport, Written,
};

use crate::sending::{finish, forward, object, open, slow, try_object, was_finished, was_reset};
use crate::{published, subscribed};

/// More than the integers of drafts 14 and 16 hold.
const TOO_LARGE: u64 = 1 << 62;

/// The drafts that have integers of QUIC's, in either role.
fn small_ints() -> impl Iterator<Item = (Draft, Role)> {
    cases().filter(|(draft, _)| draft.dialect().ints.max() < TOO_LARGE)
}

/// A FETCH of groups 0 to 3 that the peer has sent: it, and its Request ID.
fn fetched(end: &mut End) -> (RequestKey, u64) {
    let id = end.fresh_id();
    end.request(&say::fetch(id, "t", Location::ZERO, Location::new(3, 0)));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
    (request, id)
}

/// The stream that was opened last to send on.
fn response_stream(end: &End) -> Name {
    let opened = end.outputs.iter().rev().find_map(|output| match output {
        Output::Open(name, Dir::Uni) => Some(*name),
        _ => None,
    });
    opened.expect("a stream")
}

// With a Group ID that the draft cannot write nothing could be done with a subgroup's stream, not
// even finish it: none is opened.
#[test]
fn a_subgroup_that_could_not_be_finished_is_not_opened() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut end = End::established(draft, role, Config::default());
        let (request, _) = published(&mut end, "t");
        let (outputs, usage, stats) = (end.outputs.len(), end.engine.usage(), end.engine.stats());
        let options = SubgroupOptions::new(u64::MAX);
        let opened =
            end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options));
        assert!(matches!(opened, Err(CommandError::Encode(_))), "{draft:?}: {opened:?}");
        assert_eq!(end.outputs.len(), outputs, "{draft:?} {role:?}: {:?}", end.outputs);
        assert_eq!((usage, stats), (end.engine.usage(), end.engine.stats()), "{draft:?} {role:?}");
    }
}

#[test]
fn a_response_whose_first_object_cannot_be_written_opens_no_stream() {
    // Only draft 14 can say this in a fetch.
    for (draft, role) in drafts_from(Draft::D16).flat_map(|draft| ROLES.map(|role| (draft, role))) {
        let mut end = End::established(draft, role, Config::default());
        let id = end.fresh_id();
        end.request(&say::fetch(id, "t", Location::ZERO, Location::new(3, 0)));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let (usage, stats) = (end.engine.usage(), end.engine.stats());
        let object = FetchObject {
            status: ObjectStatus::EndOfGroup,
            ..say::fetch_object(Location::ZERO, b"")
        };
        let written = end.with(|engine, _| {
            engine.fetch_response(request).unwrap().object(&object, Bytes::new())
        });
        assert!(matches!(written, Err(CommandError::Encode(_))), "{draft:?}: {written:?}");
        assert_eq!((usage, stats), (end.engine.usage(), end.engine.stats()), "{draft:?} {role:?}");
        let is_uni = |output: &Output| matches!(output, Output::Open(_, moqt_engine::Dir::Uni));
        let opened = end.outputs.iter().filter(|output| is_uni(output)).count();
        assert_eq!(opened, usize::from(draft.dialect().answers_by_stream), "{draft:?} {role:?}");
    }
}

// What is given up is given up for something: an object that cannot be written, or that the
// subscriber does not get, needs no room.
#[test]
fn no_group_is_dropped_for_an_object_that_is_not_sent() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::DropOldestGroup);
        let oldest = open(&mut end, request, 0);
        object(&mut end, oldest, 0);
        let stream = open(&mut end, request, 1);
        let mut next = 0;
        while end.engine.usage().send_bytes < 10_000 {
            object(&mut end, stream, next);
            next += 1;
        }
        let usage = end.engine.usage();
        let header = |object_id| ObjectHeader { object_id, ..ObjectHeader::default() };
        let with_properties = ObjectHeader {
            properties: Properties::encode(draft.dialect(), [&Property::int(0x42, 1)]).unwrap(),
            ..header(next)
        };
        let not_next = header(next - 1);
        let mut refused = vec![with_properties, not_next];
        if draft < Draft::D18 {
            refused.push(header(1 << 62));
        }
        for header in refused {
            let written = try_object(&mut end, stream, &header);
            assert!(matches!(written, Err(CommandError::Encode(_))), "{draft:?}: {written:?}");
        }
        let long = end.with(|engine, _| {
            engine.subgroup(stream).unwrap().payload(Bytes::from_static(b"of no object"))
        });
        assert!(matches!(long, Err(CommandError::WrongState(_))), "{draft:?}: {long:?}");
        assert_eq!(end.engine.usage(), usage, "{draft:?}");
        assert_eq!(end.take_events(), [], "{draft:?}");
        try_object(&mut end, stream, &header(next)).unwrap();
        assert!(was_reset(&end, oldest), "{draft:?}");
    }
}

// A handle to write with would be told to wait for room, and of that nobody would say anything.
#[test]
fn a_finished_subgroup_that_still_waits_to_be_sent_is_not_to_be_had() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::Block);
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0);
        finish(&mut end, stream);
        assert!(end.engine.subgroup(stream).is_none(), "{draft:?}");
        end.takes_data = true;
        end.drain();
        assert!(was_finished(&end, stream), "{draft:?}");
    }
}

// The whole of group 3 was asked for, and nothing in it has a larger ID than the draft can say.
#[test]
fn a_fetch_accepted_up_to_what_cannot_be_said_is_still_to_be_answered() {
    for (draft, role) in small_ints() {
        let mut end = End::established(draft, role, Config::default());
        let (request, _) = fetched(&mut end);
        let mut accept = |group, object| {
            let accept = AcceptFetch::new(Location::new(group, object));
            end.with(|engine, now| engine.accept_fetch(now, request, accept))
        };
        let accepted = accept(3, TOO_LARGE + 1);
        assert!(matches!(accepted, Err(CommandError::Encode(_))), "{draft:?}: {accepted:?}");
        assert_eq!(accept(3, 1), Ok(()), "{draft:?} {role:?}");
    }
}

#[test]
fn an_object_that_cannot_be_written_leaves_no_trace_in_a_response() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, Config::default());
        let (request, id) = fetched(&mut end);
        let accept = AcceptFetch::new(Location::new(3, 0));
        end.with(|engine, now| engine.accept_fetch(now, request, accept)).unwrap();
        let at = |object| Location::new(3, object);
        let (first, last) = (say::fetch_object(at(0), b"one"), say::fetch_object(at(2), b"two"));
        let unsaid = if draft >= Draft::D16 {
            // Only draft 14 can say this in a fetch.
            let status = ObjectStatus::EndOfGroup;
            FetchObject { status, ..say::fetch_object(at(1), b"") }
        } else {
            say::fetch_object(at(TOO_LARGE), b"")
        };
        end.with(|engine, _| {
            let mut response = engine.fetch_response(request).unwrap();
            if draft >= Draft::D16 && draft < Draft::D18 {
                let gap = response.end_of_range(at(TOO_LARGE), EndOfRange::NonExistent);
                assert!(matches!(gap, Err(CommandError::Encode(_))), "{draft:?}: {gap:?}");
            }
            response.object(&first, Bytes::from_static(b"one")).unwrap();
            let queued = response.queued();
            let written = response.object(&unsaid, Bytes::new());
            assert!(matches!(written, Err(CommandError::Encode(_))), "{draft:?}: {written:?}");
            assert_eq!(response.queued(), queued, "{draft:?} {role:?}");
        });
        end.with(|engine, _| {
            let mut response = engine.fetch_response(request).unwrap();
            response.object(&last, Bytes::from_static(b"two")).unwrap();
            response.finish().unwrap();
        });
        let stream = response_stream(&end);
        let objects = [(at(0), &b"one"[..]), (at(2), b"two")];
        assert_eq!(end.sent(stream), say::fetch_stream(draft, id, &objects), "{draft:?} {role:?}");
    }
}

// Where there is no stream to be had, the end of an empty response waits for one, too.
#[test]
fn a_response_without_objects_is_finished_when_there_is_a_stream() {
    for draft in DRAFTS.into_iter().filter(|draft| !draft.dialect().empty_fetch_is_refused) {
        let (now, quic) = (Timestamp::ZERO, Transport::Quic);
        let config = Config::default().into();
        let mut engine = MoqtConnection::new(Role::Server, draft, quic, config, now);
        // Enough for the control stream.
        let own = u64::from(draft.dialect().answers_by_stream);
        engine.handle_streams_available(now, Dir::Uni, own);
        let dir = if own > 0 { Dir::Uni } else { Dir::Bi };
        let control = engine.handle_stream_opened(now, dir);
        let setup = say::setup(draft, Role::Client, SetupOptions::default());
        engine.handle_stream_data(now, control, setup.into(), false);
        let on = if own > 0 { engine.handle_stream_opened(now, Dir::Bi) } else { control };
        let fetch = say::fetch(0, "t", Location::ZERO, Location::new(3, 0));
        engine.handle_stream_data(now, on, say::message(draft, &fetch).into(), false);
        let events: Vec<Event> = std::iter::from_fn(|| engine.poll_event()).collect();
        let Some(Event::Request { request, .. }) = events.last() else {
            panic!("{draft:?}: {events:?}")
        };
        let accept = AcceptFetch::new(Location::new(3, 1));
        engine.accept_fetch(now, *request, accept).unwrap();
        let finished = engine.fetch_response(*request).unwrap().finish();
        assert_eq!(finished, Err(CommandError::Blocked(Blocked::Streams)), "{draft:?}");
        engine.handle_streams_available(now, Dir::Uni, own + 1);
        assert_eq!(engine.poll_event(), Some(Event::Unblocked), "{draft:?}");
        let finished = engine.fetch_response(*request).unwrap().finish();
        assert_eq!(finished, Ok(()), "{draft:?}");
        assert!(engine.fetch_response(*request).is_none(), "{draft:?}");
    }
}

// What could not be queued of an object's payload is given again when there is room.
#[test]
fn payload_that_has_no_room_in_a_response_is_given_again() {
    for draft in DRAFTS {
        let mut config = Config::default();
        config.limits.subscription_send = 10_000;
        let mut end = End::established(draft, Role::Server, config);
        let (request, id) = fetched(&mut end);
        end.with(|engine, now| {
            engine.accept_fetch(now, request, AcceptFetch::new(Location::new(3, 1)))
        })
        .unwrap();
        end.takes_data = false;
        let whole = vec![7; 20_000];
        let object = say::fetch_object(Location::ZERO, &whole);
        let mut left: Bytes = whole.clone().into();
        end.with(|engine, _| {
            let mut response = engine.fetch_response(request).unwrap();
            response.begin_object(&object).unwrap();
            let refused = loop {
                match response.payload(left.slice(..1_000)) {
                    Ok(()) => left = left.slice(1_000..),
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, CommandError::Blocked(Blocked::Queue), "{draft:?}");
        });
        assert!((5_000..15_000).contains(&left.len()), "{draft:?}: {}", left.len());
        end.takes_data = true;
        end.drain();
        assert!(end.take_events().contains(&Event::Writable { request }), "{draft:?}");
        end.takes_data = false;
        end.with(|engine, _| {
            engine.fetch_response(request).unwrap().payload(left.clone()).unwrap();
            engine.fetch_response(request).unwrap().finish().unwrap();
        });
        end.takes_data = true;
        end.drain();
        let stream = response_stream(&end);
        assert!(end.did(&Output::Fin(stream)), "{draft:?}");
        let objects = [(Location::ZERO, &whole[..])];
        assert!(end.sent(stream) == say::fetch_stream(draft, id, &objects), "{draft:?}");
    }
}

#[test]
fn an_update_that_cannot_be_said_changes_nothing() {
    for (draft, role) in small_ints() {
        let mut end = End::established(draft, role, Config::default());
        let (request, (id, on)) = subscribed(&mut end, "t", 5);
        end.said(on);
        let next = end.next_own_id();
        let mut update = |group| {
            let mut parameters = Parameters::default();
            let start = Location::new(group, 0);
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
            end.with(|engine, now| engine.update(now, request, &parameters))
        };
        let sent = update(TOO_LARGE);
        assert!(matches!(sent, Err(CommandError::Encode(_))), "{draft:?}: {sent:?}");
        // Where subscriptions may only be narrowed, this is narrower than before and not than that.
        let sent = update(7);
        assert!(sent.is_ok(), "{draft:?} {role:?}: {sent:?}");
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestUpdate(update)]
                if update.request_id == next && update.existing_request_id == Some(id)),
            "{draft:?} {role:?}: {said:?}"
        );
    }
}

#[test]
fn an_answer_to_an_update_that_cannot_be_said_leaves_it_to_be_answered() {
    for (draft, role) in small_ints().filter(|(draft, _)| *draft >= Draft::D16) {
        let mut config = Config::default();
        config.decide_updates = true;
        let mut end = End::established(draft, role, config);
        let (request, (id, on)) = published(&mut end, "t");
        end.said(on);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, Parameters::default()));
        let said = |group, object, expires| {
            let mut parameters = Parameters::default();
            parameters.largest_object = Some(Location::new(group, object));
            parameters.expires = Some(expires);
            parameters
        };
        for answer in [said(TOO_LARGE, 0, 0), said(0, TOO_LARGE, 0), said(0, 0, TOO_LARGE)] {
            let accepted = end.with(|engine, now| engine.accept_update(now, request, &answer));
            assert!(matches!(accepted, Err(CommandError::Encode(_))), "{draft:?}: {accepted:?}");
        }
        assert_eq!(end.said(on), [], "{draft:?} {role:?}");
        let accepted = end.with(|engine, now| engine.accept_update(now, request, &said(1, 2, 0)));
        assert_eq!(accepted, Ok(()), "{draft:?} {role:?}");
        assert!(matches!(end.said(on)[..], [Message::RequestOk(_)]), "{draft:?} {role:?}");
    }
}

// An object that the subscriber does not get counts as published all the same, and so has to be one
// that could be.
#[test]
fn an_object_that_is_left_out_has_an_id_that_could_be_said() {
    for (draft, role) in small_ints() {
        let mut end = End::established(draft, role, Config::default());
        let (request, by) = published(&mut end, "t");
        let stream = open(&mut end, request, 0);
        forward(&mut end, by, false);
        let header = |object_id| ObjectHeader { object_id, ..ObjectHeader::default() };
        let written = try_object(&mut end, stream, &header(TOO_LARGE));
        let refused = EncodeError::OutOfRange("Object ID");
        assert_eq!(written, Err(CommandError::Encode(refused)), "{draft:?} {role:?}");
        let written = try_object(&mut end, stream, &header(0));
        assert_eq!(written, Ok(Written::Skipped), "{draft:?} {role:?}");
    }
}

// "The maximum length of the New Session URI is 8,192 bytes." (all drafts, "GOAWAY")
#[test]
fn a_goaway_that_is_too_long_is_not_sent() {
    let long = || Bytes::from(vec![b'x'; 8_193]);
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, (_, on)) = published(&mut end, "t");
        end.said(on);
        end.said(end.control);
        let no_time = Duration::ZERO;
        let sent = end.with(|engine, now| engine.goaway(now, long(), no_time));
        assert!(matches!(sent, Err(CommandError::Encode(_))), "{draft:?}: {sent:?}");
        let sent = end.with(|engine, now| engine.goaway_request(now, request, long(), no_time));
        assert!(matches!(sent, Err(CommandError::Encode(_))), "{draft:?}: {sent:?}");
        assert_eq!((end.said(on), end.said(end.control)), (vec![], vec![]), "{draft:?}");
        let sent = end.with(|engine, now| engine.goaway(now, "moqt://b".into(), no_time));
        assert_eq!(sent, Ok(()), "{draft:?}");
        if draft >= Draft::D18 {
            let uri = "moqt://b".into();
            let sent = end.with(|engine, now| engine.goaway_request(now, request, uri, no_time));
            assert_eq!(sent, Ok(()), "{draft:?}");
        }
    }
}
