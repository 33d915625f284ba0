//! Updates: who may send which, and how they are answered.

use std::time::Duration;

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{ROLES, cases, drafts_from, say};
use moqt_engine::model::{
    Location, Message, Parameters, PublishDoneCode, RequestErrorCode, RequestKind,
    SubscriptionFilter, TrackProperties, Unsubscribe, property_type,
};
use moqt_engine::{Accept, CommandError, Config, Draft, Event, Refusal, RequestKey, Role};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, requested, session, subscribing};

pub(crate) fn answered_cases() -> impl Iterator<Item = (Draft, Role)> {
    drafts_from(Draft::D16).flat_map(|draft| ROLES.map(|role| (draft, role)))
}

pub(crate) fn range(start: u64, end_group: u64) -> SubscriptionFilter {
    SubscriptionFilter::AbsoluteRange { start: Location::new(start, 0), end_group }
}

pub(crate) fn with_filter(filter: SubscriptionFilter) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(filter);
    parameters
}

pub(crate) fn with_priority(priority: u8) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.subscriber_priority = Some(priority);
    parameters
}

/// What a peer has to say at least in an update on this draft.
pub(crate) fn from_peer(draft: Draft, mut parameters: Parameters) -> Parameters {
    if draft == Draft::D14 {
        let all = SubscriptionFilter::AbsoluteStart { start: Location::ZERO };
        parameters.subscription_filter.get_or_insert(all);
        parameters.subscriber_priority.get_or_insert(128);
        parameters.forward.get_or_insert(true);
    }
    parameters
}

/// A subscription of the peer's that was accepted: it, its Request ID, and where it travels.
pub(crate) fn serving(
    end: &mut End,
    parameters: Parameters,
    accept: Accept,
) -> (RequestKey, u64, Name) {
    let id = end.fresh_id();
    let on = end.request(&say::subscribe_with(id, "t", parameters));
    let request = requested(end);
    end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
    end.said(on);
    (request, id, on)
}

/// A PUBLISH of the peer's that was accepted.
pub(crate) fn published(end: &mut End, accept: Parameters) -> (RequestKey, u64, Name) {
    let id = end.fresh_id();
    let on = end.request(&say::publish(id, "t", 9));
    let request = requested(end);
    let accept = Accept { parameters: accept, ..Accept::default() };
    end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
    end.said(on);
    (request, id, on)
}

// Draft-18, "NEW GROUP REQUEST Parameter": an original publisher that supports it and receives "a
// value of 0 or a value larger than the current Group [...] SHOULD end the current Group and begin
// a new Group"; one that does not "ignores the parameter".
#[test]
fn a_publisher_is_told_of_new_group_requests_that_mean_something() {
    for (draft, role) in answered_cases() {
        for dynamic in [false, true] {
            let properties =
                TrackProperties::new().with_int(property_type::DYNAMIC_GROUPS, u64::from(dynamic));
            let wish = |value| {
                let mut wish = Parameters::default();
                wish.new_group_request = Some(value);
                wish
            };
            let mut at_group_6 = Parameters::default();
            at_group_6.largest_object = Some(Location::new(6, 0));
            let told = |end: &mut End| {
                let mut values = Vec::new();
                for event in end.take_events() {
                    if let Event::NewGroupRequested { value, .. } = event {
                        values.push(value);
                    }
                }
                values
            };
            for (value, is_new) in [(0, true), (6, false), (7, true), (u64::MAX >> 2, true)] {
                let expected = if dynamic && is_new { vec![value] } else { vec![] };
                let what = format!("{draft:?} {role:?} {dynamic} {value}");
                // In SUBSCRIBE, then in an update.
                let mut end = session(draft, role);
                let id = end.fresh_id();
                let on = end.request(&say::subscribe_with(id, "t", wish(value)));
                let request = requested(&mut end);
                let accept =
                    Accept { parameters: at_group_6.clone(), track_properties: properties.clone() };
                end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
                assert_eq!(told(&mut end), expected, "{what} SUBSCRIBE");
                let update = end.fresh_id();
                end.say(on, &say::update(update, id, wish(value)));
                assert_eq!(told(&mut end), expected, "{what} REQUEST_UPDATE");
                assert_eq!(end.closed(), None, "{what}");
                // In PUBLISH_OK.
                let mut end = session(draft, role);
                let id = end.next_own_id();
                let track = say::track("t");
                let publish = |engine: &mut moqt_engine::MoqtConnection, now| {
                    engine.publish(now, &track, &at_group_6, &properties)
                };
                end.with(publish).unwrap();
                let on = end.own_request();
                end.say(on, &say::ok_with(id, RequestKind::Publish, wish(value)));
                assert_eq!(told(&mut end), expected, "{what} PUBLISH_OK");
            }
        }
    }
}

// Draft-16, "REQUEST_UPDATE": "The receiver MUST close the session with PROTOCOL_VIOLATION if the
// sender specifies an invalid Existing Request ID, or if the parameters included in the
// REQUEST_UPDATE are invalid for the type of request being modified." Draft-14, "SUBSCRIBE_UPDATE":
// it names "the SUBSCRIBE [...] this message is updating".
#[test]
fn an_update_of_what_its_sender_cannot_change_closes() {
    for (draft, role) in cases() {
        // A publisher does not change a SUBSCRIBE.
        let mut end = session(draft, role);
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 5));
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, from_peer(draft, Parameters::default())));
        assert_closed(&end, PROTOCOL_VIOLATION, "of our SUBSCRIBE");

        let mut end = session(draft, role);
        let id = end.fresh_id();
        let on = end.request(&say::publish_namespace(id, "t"));
        let request = requested(&mut end);
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, from_peer(draft, Parameters::default())));
        if draft == Draft::D14 {
            assert_closed(&end, PROTOCOL_VIOLATION, "of a PUBLISH_NAMESPACE");
        } else {
            assert_eq!(end.closed(), None, "{draft:?} {role:?}");
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, with_priority(3)));
            assert_closed(&end, PROTOCOL_VIOLATION, "a priority for a PUBLISH_NAMESPACE");
        }
        if draft < Draft::D18 {
            let mut end = session(draft, role);
            let update = end.fresh_id();
            let never = end.next_own_id() + 20;
            let on = end.control;
            end.say(on, &say::update(update, never, from_peer(draft, Parameters::default())));
            assert_closed(&end, PROTOCOL_VIOLATION, "of a request that never was");
        }
    }
}

// "The receiver of a REQUEST_UPDATE MUST respond with exactly one REQUEST_OK or REQUEST_ERROR",
// draft-16: also if the request ended while the update was on its way. In draft 18 the stream
// that would carry the answer is gone; draft 14 has no answers.
#[test]
fn an_update_of_a_request_that_is_over_is_answered() {
    for role in ROLES {
        let mut end = session(Draft::D16, role);
        let mut bystander = Bystander::new(&mut end);
        let (request, id, on) = serving(&mut end, Parameters::default(), Accept::default());
        end.with(|engine, _| {
            engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        end.said(on);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, with_priority(1)));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error)] if error.request_id == Some(update)),
            "{role:?}: {said:?}"
        );
        bystander.assert_well(&mut end);
    }
}

// Draft-18, "Subscription Filters": "If the publisher cannot satisfy the requested Subscription
// Filter or if the entire End Group has already been published it SHOULD send a REQUEST_ERROR with
// code INVALID_RANGE"; an update that fails ends the subscription with UPDATE_FAILED.
#[test]
fn an_update_to_a_range_that_is_past_is_refused() {
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        let mut at_group_6 = Accept::default();
        at_group_6.parameters.largest_object = Some(Location::new(6, 0));
        let (request, id, on) = serving(&mut end, Parameters::default(), at_group_6);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, with_filter(range(2, 6))));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestOk(ok)]
                if ok.parameters.largest_object == Some(Location::new(6, 0))),
            "the group may go on: {said:?}"
        );
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, with_filter(range(2, 5))));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error), Message::PublishDone(done)]
                if error.code == RequestErrorCode::InvalidRange
                    && done.code == PublishDoneCode::UpdateFailed),
            "{draft:?} {role:?}: {said:?}"
        );
        let over = Event::Cancelled {
            request,
            code: moqt_engine::model::StreamResetCode::Cancelled,
            error: None,
        };
        assert_eq!(end.events.last(), Some(&over));
        assert_eq!(end.engine.usage().requests, 0);
    }
}

fn deciding(draft: Draft, role: Role, unanswered: usize) -> End {
    let mut config = Config::default();
    config.decide_updates = true;
    config.limits.unanswered_updates = unanswered;
    End::established(draft, role, config)
}

// "The receiver of a REQUEST_UPDATE MUST respond with exactly one REQUEST_OK or REQUEST_ERROR
// message indicating if the update was successful" (draft-18): the application may say which.
#[test]
fn an_application_decides_on_updates_one_by_one() {
    for (draft, role) in answered_cases() {
        let mut end = deciding(draft, role, 8);
        let (request, id, on) = serving(&mut end, with_filter(range(0, 9)), Accept::default());
        let ids = [0; 3].map(|_| end.fresh_id());
        for (update, group) in ids.into_iter().zip(1..) {
            end.say(on, &say::update(update, id, with_filter(range(group, 9))));
        }
        let asked = end.take_events();
        assert!(
            asked.len() == 3
                && asked.iter().all(|event| matches!(event, Event::UpdateRequested { .. })),
            "{draft:?} {role:?}: {asked:?}"
        );
        assert_eq!(end.said(on), [], "nothing before the decision");
        let wants = |end: &mut End, group| {
            end.engine.publisher(request).unwrap().wants(Location::new(group, 0))
        };
        assert!(wants(&mut end, 0), "not in force before the decision");
        let none = Parameters::default();
        end.with(|engine, now| engine.accept_update(now, request, &none)).unwrap();
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestOk(ok)]
                if draft >= Draft::D18 || ok.request_id == Some(ids[0])),
            "{said:?}"
        );
        assert!(!wants(&mut end, 0) && wants(&mut end, 1), "{draft:?} {role:?}");
        let refusal = Refusal::new(RequestErrorCode::Unauthorized);
        end.with(|engine, now| engine.reject_update(now, request, refusal)).unwrap();
        let said = end.said(on);
        assert!(
            matches!(&said[..2], [Message::RequestError(error), Message::PublishDone(done)]
                if error.code == RequestErrorCode::Unauthorized
                    && done.code == PublishDoneCode::UpdateFailed),
            "{draft:?} {role:?}: {said:?}"
        );
        // What had not been answered is answered with the end, where each needs an answer.
        let rest: Vec<_> = said[2..].iter().collect();
        match draft {
            _ if draft >= Draft::D18 => assert!(rest.is_empty(), "{rest:?}"),
            _ => assert!(
                matches!(rest[..], [Message::RequestError(error)] if error.request_id == Some(ids[2])),
                "{rest:?}"
            ),
        }
        let more = end.with(|engine, now| engine.accept_update(now, request, &none));
        assert_eq!(more, Err(CommandError::Gone));
        assert_eq!(end.take_events(), [], "who ends it is not told of it");
        assert_eq!(end.engine.usage().requests, 0, "{draft:?} {role:?}");
    }
}

// Draft-18: on a request's stream the first answer is the request's own.
#[test]
fn a_request_is_answered_before_its_updates() {
    for role in ROLES {
        let mut end = deciding(Draft::D18, role, 8);
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "t"));
        let request = requested(&mut end);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, with_priority(1)));
        let none = Parameters::default();
        let early = end.with(|engine, now| engine.accept_update(now, request, &none));
        assert!(matches!(early, Err(CommandError::WrongState(_))), "{early:?}");
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        end.with(|engine, now| engine.accept_update(now, request, &none)).unwrap();
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::SubscribeOk(_), Message::RequestOk(_)]),
            "{role:?}: {said:?}"
        );
        let more = end.with(|engine, now| engine.accept_update(now, request, &none));
        assert!(matches!(more, Err(CommandError::WrongState(_))), "{more:?}");
    }
}

// Draft-18, "Updating Subscriptions": "When a REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE or
// PUBLISH_NAMESPACE, the responder MUST close the bidi stream."
#[test]
fn a_refused_update_of_a_namespace_closes_its_stream() {
    for (draft, role) in answered_cases() {
        let mut end = deciding(draft, role, 8);
        let id = end.fresh_id();
        let on = end.request(&say::publish_namespace(id, "t"));
        let request = requested(&mut end);
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        end.said(on);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, Parameters::default()));
        let refusal = Refusal::new(RequestErrorCode::Unauthorized);
        end.with(|engine, now| engine.reject_update(now, request, refusal)).unwrap();
        assert!(matches!(end.said(on)[..], [Message::RequestError(_)]), "{draft:?} {role:?}");
        let closed = end.did(&Output::Fin(on));
        assert_eq!(closed, draft >= Draft::D18, "{draft:?} {role:?}");
        assert_eq!(end.engine.usage().requests, usize::from(!closed));
        assert_eq!(end.closed(), None);
    }
}

// Limits, `waiting_updates`: so many requests with a few updates each are not much either.
#[test]
fn updates_that_wait_are_bounded_for_all_requests_together() {
    for (draft, role) in answered_cases() {
        let mut config = Config::default();
        config.decide_updates = true;
        // Room for two of 512 bytes each.
        config.limits.waiting_updates = 1024;
        let mut end = End::established(draft, role, config);
        let before = end.engine.usage();
        let served = ["a", "b", "c"].map(|name| {
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, name));
            let request = requested(&mut end);
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            end.said(on);
            (request, id, on)
        });
        let update = |end: &mut End, n: usize| {
            let (_, id, on) = served[n];
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, with_priority(1)));
            end.said(on)
        };
        assert_eq!([update(&mut end, 0), update(&mut end, 1)], [[], []], "{draft:?} {role:?}");
        assert_eq!(end.engine.usage().update_bytes, 1024);
        // One decided on makes room.
        let none = Parameters::default();
        end.with(|engine, now| engine.accept_update(now, served[0].0, &none)).unwrap();
        end.said(served[0].2);
        assert_eq!(end.engine.usage().update_bytes, 512);
        assert_eq!(update(&mut end, 2), [], "{draft:?} {role:?}");
        end.take_events();
        let said = update(&mut end, 0);
        assert!(
            matches!(&said[..2], [Message::RequestError(_), Message::PublishDone(done)]
                if done.code == PublishDoneCode::UpdateFailed),
            "{draft:?} {role:?}: {said:?}"
        );
        let is_over = |event: &Event| matches!(event, Event::Cancelled { request, .. } if *request == served[0].0);
        assert!(end.take_events().iter().any(is_over), "{draft:?} {role:?}");
        // What is over waits no more, whoever ended it.
        let refused = Refusal::new(RequestErrorCode::InternalError);
        end.with(|engine, now| engine.reject_update(now, served[1].0, refused)).unwrap();
        let (_, id, on) = served[2];
        if draft >= Draft::D18 {
            end.reset(on, 1);
            end.stop(on, 1);
        } else {
            end.say(on, &Message::Unsubscribe(Unsubscribe { request_id: id }));
        }
        assert_eq!(end.engine.usage().update_bytes, 0, "{draft:?} {role:?}");
        for (_, _, on) in &served[..2] {
            if draft >= Draft::D18 {
                end.fin(*on);
            }
        }
        end.wait(Duration::from_secs(60));
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
    }
}

// Limits, `unanswered_updates`: one more of the peer's is refused, and its request ends with that.
#[test]
fn updates_that_nobody_answers_are_bounded() {
    for (draft, role) in answered_cases() {
        let mut end = deciding(draft, role, 2);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let (request, id, on) = serving(&mut end, Parameters::default(), Accept::default());
        for _ in 0..3 {
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, with_priority(1)));
        }
        let said = end.said(on);
        assert!(
            matches!(&said[..2], [Message::RequestError(_), Message::PublishDone(done)]
                if done.code == PublishDoneCode::UpdateFailed),
            "{draft:?} {role:?}: {said:?}"
        );
        let over = |event: &Event| matches!(event, Event::Cancelled { request: key, .. } if *key == request);
        assert!(end.events.iter().any(over), "{:?}", end.events);
        end.wait(Duration::from_secs(60));
        if draft >= Draft::D18 {
            end.fin(on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
    // Before the request is answered, its one answer is an error.
    for role in ROLES {
        let mut config = Config::default();
        config.limits.unanswered_updates = 2;
        let mut end = End::established(Draft::D18, role, config);
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "t"));
        for _ in 0..3 {
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, with_priority(1)));
        }
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error)]
                if error.code == RequestErrorCode::ExcessiveLoad),
            "{role:?}: {said:?}"
        );
        assert_eq!(end.engine.usage().requests, 0);
    }
}

// Draft-18, "EXPIRES Parameter": "It encodes the time in milliseconds after which the sender of the
// parameter will terminate the subscription. The sender will terminate the subscription using
// PUBLISH_DONE or by cancelling the request"; "If the EXPIRES parameter is 0 or is not present in a
// message, the subscription does not expire".
#[test]
fn a_subscription_ends_when_it_was_said_to_expire() {
    for (draft, role) in cases() {
        for expires in [0, 5_000] {
            let what = format!("{draft:?} {role:?} {expires}");
            let mut end = session(draft, role);
            let mut accept = Accept::default();
            accept.parameters.expires = Some(expires);
            let (request, _, on) = serving(&mut end, Parameters::default(), accept.clone());
            end.take_events();
            end.wait(Duration::from_millis(4_999));
            assert_eq!((end.said(on), end.take_events()), (vec![], vec![]), "{what}");
            end.wait(Duration::from_millis(1));
            let said = end.said(on);
            if expires == 0 {
                assert_eq!((said, end.engine.poll_timeout()), (vec![], None), "{what}");
                continue;
            }
            assert!(
                matches!(&said[..], [Message::PublishDone(done)]
                    if done.code == PublishDoneCode::Expired),
                "{what}: {said:?}"
            );
            assert_eq!(end.take_events(), [Event::Expired { request }], "{what}");
            assert_eq!(end.engine.usage().requests, 0, "{what}");

            // A subscriber says it in PUBLISH_OK, where the draft can.
            let mut end = session(draft, role);
            let (request, _, on) = published(&mut end, accept.parameters);
            end.take_events();
            end.wait(Duration::from_secs(6));
            if draft == Draft::D14 {
                assert_eq!((end.take_events(), end.engine.poll_timeout()), (vec![], None));
                continue;
            }
            assert_eq!(end.take_events(), [Event::Expired { request }], "{what}");
            match draft {
                _ if draft >= Draft::D18 => {
                    assert!(end.did(&Output::Stop(on, 1)), "{what}: {:?}", end.outputs);
                }
                _ => assert!(matches!(end.said(on)[..], [Message::Unsubscribe(_)]), "{what}"),
            }
            assert_eq!(end.engine.usage().requests, 0, "{what}");
        }
    }
}

// Draft-18, "EXPIRES Parameter": "The receiver of the parameter can attempt to extend the
// subscription by sending a REQUEST_UPDATE with 0 or more updated parameters. [...] If the extension
// is granted, the sender includes a new EXPIRES value in REQUEST_UPDATE_OK."
#[test]
fn an_update_extends_a_subscription_that_expires() {
    for (draft, role) in answered_cases() {
        for decides in [false, true] {
            let what = format!("{draft:?} {role:?} {decides}");
            let mut end = if decides { deciding(draft, role, 8) } else { session(draft, role) };
            let mut accept = Accept::default();
            accept.parameters.expires = Some(5_000);
            let (request, id, on) = serving(&mut end, Parameters::default(), accept);
            end.wait(Duration::from_secs(4));
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, Parameters::default()));
            if decides {
                let mut granted = Parameters::default();
                granted.expires = Some(7_000);
                end.with(|engine, now| engine.accept_update(now, request, &granted)).unwrap();
            }
            let granted = if decides { 7_000 } else { 5_000 };
            let said = end.said(on);
            assert!(
                matches!(&said[..], [Message::RequestOk(ok)]
                    if ok.parameters.expires == Some(granted)),
                "{what}: {said:?}"
            );
            end.wait(Duration::from_millis(granted - 1));
            assert_eq!(end.said(on), [], "{what}");
            end.wait(Duration::from_millis(1));
            assert!(matches!(end.said(on)[..], [Message::PublishDone(_)]), "{what}");
        }
    }
}
