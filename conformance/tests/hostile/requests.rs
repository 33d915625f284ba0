//! Answers, endings and updates that come twice, too early or to the wrong request.

use moqt_conformance::end::{Got, Output};
use moqt_conformance::{ROLES, cases, drafts_from, say};
use moqt_engine::model::{
    Location, Message, Parameters, RequestErrorCode, RequestKind, SubscriptionFilter,
};
use moqt_engine::{Accept, Config, Dir, Draft, Event, IncomingRequest, Refusal, RequestKey};

use crate::{
    Bystander, DUPLICATE_TRACK_ALIAS, PROTOCOL_VIOLATION, assert_closed, requested, session,
    subscribed, subscribing,
};

// "A publisher MUST send exactly one SUBSCRIBE_OK or REQUEST_ERROR in response to a SUBSCRIBE.
// [...] The peer SHOULD close the session with a protocol error if it receives more than one."
// (all drafts, "Subscriptions")
#[test]
fn a_second_answer_closes() {
    for (draft, role) in cases() {
        let error = RequestErrorCode::DoesNotExist;
        for second in [say::subscribe_ok(0, 2), say::error(0, RequestKind::Subscribe, error)] {
            let mut end = session(draft, role);
            let (_, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::subscribe_ok(id, 1));
            assert_eq!(end.closed(), None);
            end.say(on, &with_id(second, id));
            assert_closed(&end, PROTOCOL_VIOLATION, "a second answer");
        }
    }
}

fn with_id(message: Message, id: u64) -> Message {
    match message {
        Message::SubscribeOk(mut ok) => {
            ok.request_id = Some(id);
            Message::SubscribeOk(ok)
        }
        Message::RequestError(mut error) => {
            error.request_id = Some(id);
            Message::RequestError(error)
        }
        other => other,
    }
}

// Answers to what was cancelled meanwhile cross on the way: nobody is at fault.
#[test]
fn an_answer_to_a_cancelled_request_is_nothing() {
    for (draft, role) in cases() {
        for accepted in [true, false] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let (request, id, on) = subscribing(&mut end, "t");
            let code = moqt_engine::model::StreamResetCode::Cancelled;
            end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
            let answer = if accepted {
                say::subscribe_ok(id, 1)
            } else {
                say::error(id, RequestKind::Subscribe, RequestErrorCode::DoesNotExist)
            };
            end.say(on, &answer);
            if accepted && draft < Draft::D18 {
                end.say(on, &say::done(id, 0));
            }
            bystander.assert_well(&mut end);
        }
    }
}

#[test]
fn an_answer_of_another_kind_closes() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::ok(id, RequestKind::PublishNamespace));
        assert_closed(&end, PROTOCOL_VIOLATION, "REQUEST_OK for a SUBSCRIBE");
    }
}

// Draft-18, "PUBLISH_DONE", "Subscriptions": it ends what was established, once.
#[test]
fn publish_done_comes_after_the_answer_and_once() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::done(id, 0));
        assert_closed(&end, PROTOCOL_VIOLATION, "PUBLISH_DONE before SUBSCRIBE_OK");

        let mut end = session(draft, role);
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 1));
        // A stream is still to come.
        end.say(on, &say::done(id, 1));
        assert_eq!(end.closed(), None);
        end.say(on, &say::done(id, 1));
        assert_closed(&end, PROTOCOL_VIOLATION, "PUBLISH_DONE twice");
    }
}

// "If a subscriber receives a SUBSCRIBE_OK that uses the same Track Alias as a different track
// with an Established subscription, it MUST close the session with error
// DUPLICATE_TRACK_ALIAS." (all drafts, "SUBSCRIBE_OK", "PUBLISH", "Track Alias")
#[test]
fn an_alias_stands_for_one_track() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        subscribed(&mut end, "one", 5);
        let (_, id, on) = subscribing(&mut end, "two");
        end.say(on, &say::subscribe_ok(id, 5));
        assert_closed(&end, DUPLICATE_TRACK_ALIAS, "in SUBSCRIBE_OK");

        let mut end = session(draft, role);
        subscribed(&mut end, "one", 5);
        let id = end.fresh_id();
        end.request(&say::publish(id, "two", 5));
        assert_closed(&end, DUPLICATE_TRACK_ALIAS, "in PUBLISH");
    }
}

// A publisher "can immediately destroy subscription state" after PUBLISH_DONE (all drafts,
// "PUBLISH_DONE"), and the subscription is `Terminated` then: its alias is free, though the
// subscriber still waits for late streams.
#[test]
fn an_alias_is_free_after_publish_done() {
    for (draft, role) in cases() {
        for publish in [false, true] {
            let mut end = session(draft, role);
            let (old, id, on) = subscribing(&mut end, "old");
            end.say(on, &say::subscribe_ok(id, 5));
            end.say(on, &say::done(id, 3));
            end.take_events();
            let new = if publish {
                let id = end.fresh_id();
                end.request(&say::publish(id, "new", 5));
                let request = end.events.iter().find_map(|event| match event {
                    Event::Request { request, .. } => Some(*request),
                    _ => None,
                });
                let request = request.expect("a PUBLISH");
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
                request
            } else {
                subscribing_and_accepted(&mut end, "new", 5)
            };
            assert_eq!(end.closed(), None, "{draft:?} {role:?}: {:?}", end.events);
            let done = |event: &Event| {
                matches!(event, Event::SubscriptionDone { request, missing_streams: 3, .. }
                    if *request == old)
            };
            assert!(end.events.iter().any(done), "{draft:?}: {:?}", end.events);
            end.open_with(Dir::Uni, say::subgroup(draft, 5, 0, &[(0, b"x")]));
            let opened = end.events.iter().rev().find_map(|event| match event {
                Event::SubgroupOpened { request, .. } => Some(*request),
                _ => None,
            });
            assert_eq!(opened, Some(new), "{draft:?} {role:?}");
        }
    }
}

fn subscribing_and_accepted(
    end: &mut moqt_conformance::end::End,
    name: &str,
    alias: u64,
) -> RequestKey {
    let (request, id, on) = subscribing(end, name);
    end.say(on, &say::subscribe_ok(id, alias));
    request
}

// Draft-14, "SUBSCRIBE": a second active subscription SHOULD be treated as a protocol
// violation. Draft-16, -18, "Subscriptions": it MUST fail with DUPLICATE_SUBSCRIPTION.
#[test]
fn a_second_subscription_to_a_track() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "t"));
        let request = requested(&mut end);
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        let id = end.fresh_id();
        end.said(end.control);
        let on = end.request(&say::subscribe(id, "t"));
        if draft == Draft::D14 {
            assert_closed(&end, PROTOCOL_VIOLATION, "a second SUBSCRIBE");
            continue;
        }
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error)]
                if error.code == RequestErrorCode::DuplicateSubscription),
            "{draft:?} {role:?}: {said:?}"
        );
        bystander.assert_well(&mut end);
        assert!(end.engine.publisher(request).is_some(), "the first goes on");
    }
}

// "Limited endpoints SHOULD respond to any unsupported messages with the appropriate
// NOT_SUPPORTED error code" (all drafts): each kind of request has the code, and the session
// goes on.
#[test]
fn requests_not_served_are_refused() {
    for (draft, role) in cases() {
        let id = u64::from(role == moqt_engine::Role::Client);
        let requests = [
            say::subscribe(id, "t"),
            say::publish(id, "t", 1),
            say::publish_namespace(id, "t"),
            say::fetch(id, "t", Location::ZERO, Location::new(1, 0)),
            say::track_status(id, "t"),
        ];
        for request in requests {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            end.said(end.control);
            let on = end.request(&request);
            let key = requested(&mut end);
            let refusal = Refusal::new(RequestErrorCode::NotSupported);
            end.with(|engine, now| engine.reject(now, key, refusal)).unwrap();
            let said = end.said(on);
            assert!(
                matches!(&said[..], [Message::RequestError(error)]
                    if error.code == RequestErrorCode::NotSupported),
                "{draft:?} {role:?} {request:?}: {said:?} {:?}",
                end.events
            );
            if draft >= Draft::D18 {
                // "it SHOULD send a REQUEST_ERROR and FIN the stream" (draft-18, "Request
                // Cancellation and Rejection"); anything more might overtake that.
                assert!(end.did(&Output::Fin(on)), "{draft:?} {request:?}");
                let stopped = |output: &Output| matches!(output, Output::Stop(name, _) | Output::Reset(name, _) if *name == on);
                assert!(!end.outputs.iter().any(stopped), "{draft:?} {request:?}");
            }
            bystander.assert_well(&mut end);
        }
    }
}

// Draft-14, "SUBSCRIBE_UPDATE": "The Start Location MUST NOT decrease and the End Group MUST NOT
// increase. A publisher MUST terminate the session with a PROTOCOL_VIOLATION". Later drafts let
// both happen ("Updating Subscriptions").
#[test]
fn draft_14_subscriptions_are_only_narrowed() {
    let range = |group, end_group| {
        let start = Location::new(group, 0);
        let mut parameters = Parameters::default();
        parameters.subscription_filter =
            Some(SubscriptionFilter::AbsoluteRange { start, end_group });
        parameters
    };
    for (draft, role) in cases() {
        for (group, end_group, widens) in
            [(5, 9, false), (6, 8, false), (4, 9, true), (5, 10, true)]
        {
            let mut end = session(draft, role);
            let id = end.fresh_id();
            let on = end.request(&say::subscribe_with(id, "t", range(5, 9)));
            let request = requested(&mut end);
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            let mut parameters = range(group, end_group);
            parameters.subscriber_priority = Some(4);
            parameters.forward = Some(true);
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, parameters));
            let what = format!("{draft:?} {role:?} from {group} to {end_group}");
            if draft == Draft::D14 && widens {
                assert_closed(&end, PROTOCOL_VIOLATION, &what);
            } else {
                assert_eq!(end.closed(), None, "{what}");
                let updated = |event: &Event| matches!(event, Event::Updated { .. });
                assert!(end.events.iter().any(updated), "{what}: {:?}", end.events);
            }
        }
    }
}

// Draft-18, "Updating Subscriptions": "When a REQUEST_UPDATE is unsuccessful, the publisher MUST
// also terminate the subscription by sending a PUBLISH_DONE with error code UPDATE_FAILED."
#[test]
fn an_update_that_fails_ends_the_subscription() {
    for draft in drafts_from(Draft::D16) {
        for role in ROLES {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, "t"));
            let request = requested(&mut end);
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            end.said(on);
            // A range that ends before it begins, which no encoder writes: AbsoluteRange from
            // group 9 to group 3. Draft 18 gives the end as a difference and cannot say this.
            if draft >= Draft::D18 {
                continue;
            }
            let update = end.fresh_id();
            let bytes = [
                &[0x02, 0, 9, u8::try_from(update).unwrap(), u8::try_from(id).unwrap()][..],
                &[1, 0x21, 4, 0x4, 9, 0, 3],
            ]
            .concat();
            end.data(on, bytes);
            let said = end.said(on);
            assert!(
                matches!(&said[..], [Message::RequestError(error), Message::PublishDone(done)]
                    if error.code == RequestErrorCode::InvalidRange
                        && done.code == moqt_engine::model::PublishDoneCode::UpdateFailed),
                "{draft:?} {role:?}: {said:?} {:?}",
                end.events
            );
            let gone = |event: &Event| matches!(event, Event::Cancelled { request: key, .. } if *key == request);
            assert!(end.events.iter().any(gone), "{:?}", end.events);
            bystander.assert_well(&mut end);
        }
    }
}

// Draft-18: the answers on a request's stream are told apart by their order alone, and the
// first is the request's own ("Request ID", "REQUEST_UPDATE").
#[test]
fn draft_18_updates_are_answered_after_their_request() {
    for role in ROLES {
        for accept in [true, false] {
            let mut end = session(Draft::D18, role);
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, "t"));
            for _ in 0..2 {
                let update = end.fresh_id();
                let mut parameters = Parameters::default();
                parameters.subscriber_priority = Some(3);
                end.say(on, &say::update(update, id, parameters));
            }
            assert_eq!(end.said(on), [], "not before the SUBSCRIBE is answered");
            let request = end.events.iter().find_map(|event| match event {
                Event::Request { request, what: IncomingRequest::Subscribe { .. } } => {
                    Some(*request)
                }
                _ => None,
            });
            let request = request.unwrap();
            if accept {
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
                let said = end.said(on);
                assert!(
                    matches!(
                        &said[..],
                        [Message::SubscribeOk(_), Message::RequestOk(_), Message::RequestOk(_)]
                    ),
                    "{said:?}"
                );
            } else {
                let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
                let said = end.said(on);
                assert!(matches!(&said[..], [Message::RequestError(_)]), "{said:?}");
            }
            assert_eq!(end.closed(), None);
        }
    }
}

// Draft-18, "PUBLISH_DONE" is "the final message before closing the subscription's bidi stream".
// However that stream is closed, objects on their way still arrive.
#[test]
fn however_the_stream_ends_after_publish_done_objects_arrive() {
    for role in ROLES {
        for how in ["fin", "reset", "stop"] {
            let mut end = session(Draft::D18, role);
            let (_, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::subscribe_ok(id, 4));
            end.takes_data = false;
            end.say(on, &say::done(id, 1));
            match how {
                "fin" => end.fin(on),
                "reset" => end.reset(on, 0),
                _ => end.stop(on, 0),
            }
            end.takes_data = true;
            let stream = end.open_with(Dir::Uni, say::subgroup(Draft::D18, 4, 0, &[(0, b"late")]));
            end.fin(stream);
            assert_eq!(end.take_reads(stream).len(), 2, "{role:?} {how}: {:?}", end.events);
            assert!(
                matches!(
                    end.events.last(),
                    Some(Event::SubscriptionDone { missing_streams: 0, .. })
                ),
                "{role:?} {how}: {:?}",
                end.events
            );
        }
    }
}

#[test]
fn one_more_open_request_is_refused_where_there_is_no_credit() {
    for role in ROLES {
        let mut config = Config::default();
        config.limits.open_requests = 2;
        let mut end = moqt_conformance::end::End::established(Draft::D18, role, config);
        for n in 0..2 {
            let id = end.fresh_id();
            end.request(&say::subscribe(id, &format!("t{n}")));
        }
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "more"));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error)]
                if error.code == RequestErrorCode::ExcessiveLoad),
            "{said:?}"
        );
        assert_eq!(end.engine.usage().requests, 2);
        assert_eq!(end.closed(), None);
    }
}

// "implementations might choose to increase MAX_REQUEST_ID as subscriptions are closed to keep the
// number of available subscriptions roughly consistent" (drafts 14 and 16, "MAX_REQUEST_ID"). What
// is refused at once never was open, and uses a Request ID all the same: a peer that has made
// nothing but such requests may make another.
#[test]
fn a_refused_request_gives_its_credit_back() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        for duplicate in [false, true] {
            let mut config = Config::default();
            config.limits.open_requests = 4;
            config.limits.open_subscriptions = 0;
            let mut end = moqt_conformance::end::End::established(draft, role, config);
            subscribed(&mut end, "ours", 1);
            for n in 0..40 {
                let id = end.fresh_id();
                let request =
                    if duplicate { say::publish(id, "ours", 2) } else { say::subscribe(id, "t") };
                end.request(&request);
                assert_eq!(end.closed(), None, "{draft:?} {role:?} {duplicate}: request {n}");
            }
            assert_eq!(end.events, [], "all were refused");
        }
    }
}

// The same of one whose late streams are waited for no longer, and of which something is still to be
// read.
#[test]
fn an_alias_is_free_while_what_came_on_it_is_read() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        end.reads_at_once = false;
        let (old, id, on) = subscribing(&mut end, "old");
        end.say(on, &say::subscribe_ok(id, 5));
        let stream = end.open_with(Dir::Uni, say::subgroup(draft, 5, 0, &[(0, b"x")]));
        end.fin(stream);
        end.say(on, &say::done(id, 3));
        crate::wait_long(&mut end);
        end.take_events();
        subscribing_and_accepted(&mut end, "new", 5);
        assert_eq!(end.closed(), None, "{draft:?} {role:?}: {:?}", end.events);
        end.take_events();
        end.read(stream, usize::MAX);
        let got = end.take_reads(stream);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if payload == b"x"),
            "{draft:?} {role:?}: {got:?}"
        );
        let events = end.take_events();
        assert!(
            matches!(events[..], [Event::SubscriptionDone { request, missing_streams: 2, .. }]
                if request == old),
            "{draft:?} {role:?}: {events:?}"
        );
    }
}
