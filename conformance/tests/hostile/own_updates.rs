//! Updates of the connection's own: which it may send, and what becomes of the answers.

use std::time::Duration;

use moqt_conformance::end::{End, Name};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    Location, Message, Parameters, PublishDone, PublishDoneCode, RequestErrorCode, RequestKind,
    SubscriptionFilter, TrackProperties, property_type,
};
use moqt_engine::{Accept, Blocked, CommandError, Config, Draft, Event};

use crate::updates::{answered_cases, published, range, with_filter, with_priority};
use crate::{
    Bystander, PROTOCOL_VIOLATION, assert_closed, requested, session, subscribed, subscribing,
};

fn the_update(end: &mut End, on: Name) -> (u64, Option<u64>, Parameters) {
    match &end.said(on)[..] {
        [Message::RequestUpdate(update)] => {
            (update.request_id, update.existing_request_id, update.parameters.clone())
        }
        other => panic!("{:?}: {other:?}", end.draft()),
    }
}

// Draft-18, "REQUEST_UPDATE": "The sender of a request [...] can later send a REQUEST_UPDATE [...]
// to modify it. A subscriber can also send REQUEST_UPDATE to modify parameters of a subscription
// established with PUBLISH." "If a parameter previously set on the request is not present in
// REQUEST_UPDATE, its value remains unchanged."; in draft 14 every field is present.
#[test]
fn a_subscriber_updates_its_subscription_however_it_began() {
    for (draft, role) in cases() {
        for publish in [false, true] {
            let what = format!("{draft:?} {role:?} publish: {publish}");
            let mut end = session(draft, role);
            let mut asked = with_filter(range(3, 9));
            asked.subscriber_priority = Some(7);
            let (request, id, on) = if publish {
                published(&mut end, asked)
            } else {
                let id = end.next_own_id();
                let track = say::track("t");
                let request =
                    end.with(|engine, now| engine.subscribe(now, &track, &asked)).unwrap();
                let on = end.own_request();
                end.say(on, &say::subscribe_ok(id, 5));
                (request, id, on)
            };
            end.take_events();
            end.said(on);
            let update_id = end.next_own_id();
            let mut changes = Parameters::default();
            changes.forward = Some(false);
            let update = end.with(|engine, now| engine.update(now, request, &changes)).unwrap();
            let (own_id, existing, parameters) = the_update(&mut end, on);
            assert_eq!(own_id, update_id, "{what}: it consumes a Request ID");
            assert_eq!(existing, (draft < Draft::D18).then_some(id), "{what}");
            let mut expected = changes.clone();
            if draft == Draft::D14 {
                expected.subscription_filter = Some(range(3, 9));
                expected.subscriber_priority = Some(7);
            }
            assert_eq!(parameters, expected, "{what}");
            let accepted = |event: &Event| {
                matches!(event, Event::UpdateAccepted { request: key, update: id, .. }
                    if (*key, *id) == (request, update))
            };
            if draft != Draft::D14 {
                assert_eq!(end.events, [], "{what}: nothing before the answer");
                let mut answer = Parameters::default();
                answer.largest_object = Some(Location::new(4, 2));
                end.say(on, &say::ok_with(update_id, RequestKind::Update, answer.clone()));
                assert_eq!(
                    end.events,
                    [Event::UpdateAccepted { request, update, parameters: answer }],
                    "{what}"
                );
            }
            assert!(end.events.iter().all(accepted) && end.events.len() == 1, "{what}");
            assert_eq!(end.engine.poll_timeout(), None, "{what}");
        }
    }
}

// Draft-14, "SUBSCRIBE_UPDATE": "The Start Location MUST NOT decrease and the End Group MUST NOT
// increase." That holds from the start that the filter had once SUBSCRIBE_OK told the largest
// location.
#[test]
fn draft_14_updates_that_widen_are_not_sent() {
    for role in ROLES {
        let mut end = session(Draft::D14, role);
        let id = end.next_own_id();
        let parameters = with_filter(SubscriptionFilter::NextGroupStart);
        let track = say::track("t");
        let request = end.with(|engine, now| engine.subscribe(now, &track, &parameters)).unwrap();
        let on = end.own_request();
        let mut ok = say::subscribe_ok(id, 5);
        if let Message::SubscribeOk(ok) = &mut ok {
            ok.parameters.largest_object = Some(Location::new(10, 3));
        }
        end.say(on, &ok);
        end.said(on);
        for (filter, ok) in [
            (SubscriptionFilter::AbsoluteStart { start: Location::new(10, 9) }, false),
            (range(11, 20), true),
            (range(11, 21), false),
            (SubscriptionFilter::AbsoluteStart { start: Location::new(12, 0) }, false),
            (range(12, 20), true),
            (range(13, 12), false),
        ] {
            let update = with_filter(filter);
            let sent = end.with(|engine, now| engine.update(now, request, &update));
            assert_eq!(sent.is_ok(), ok, "{role:?} {filter:?}: {sent:?}");
            assert_eq!(end.said(on).len(), usize::from(ok), "{role:?} {filter:?}");
        }
        // An update that leaves the filter alone repeats it.
        end.with(|engine, now| engine.update(now, request, &with_priority(1))).unwrap();
        let (_, _, parameters) = the_update(&mut end, on);
        assert_eq!(parameters.subscription_filter, Some(range(12, 20)), "{role:?}");
    }
}

// Draft-16, "REQUEST_OK": "The unique request ID in the REQUEST_OK is used to associate it";
// draft-18 answers on the stream, so in order.
#[test]
fn answers_find_the_update_they_answer() {
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        let (request, on) = subscribed(&mut end, "t", 5);
        let mut updates = Vec::new();
        for priority in 0..3 {
            let id = end.next_own_id();
            let parameters = with_priority(priority);
            let update = end.with(|engine, now| engine.update(now, request, &parameters)).unwrap();
            updates.push((id, update));
        }
        if draft == Draft::D16 {
            updates.rotate_left(1);
        }
        for (id, update) in updates {
            end.say(on, &say::ok(id, RequestKind::Update));
            let events = end.take_events();
            assert!(
                matches!(events[..], [Event::UpdateAccepted { update: which, .. }] if which == update),
                "{draft:?} {role:?}: {events:?}"
            );
        }
    }
}

// Draft-18, "Updating Subscriptions": "When a REQUEST_UPDATE is unsuccessful, the publisher MUST
// also terminate the subscription by sending a PUBLISH_DONE with error code UPDATE_FAILED."; "If
// the coalesced REQUEST_UPDATE results in REQUEST_ERROR, only a single REQUEST_ERROR will be sent
// and the sender of the REQUEST_UPDATEs will not always be able to determine which caused an
// error."
#[test]
fn a_refused_update_is_told_and_the_subscription_ends() {
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let (request, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 5));
        end.take_events();
        let first = end.next_own_id();
        for priority in 0..3 {
            let parameters = with_priority(priority);
            end.with(|engine, now| engine.update(now, request, &parameters)).unwrap();
        }
        end.say(on, &say::error(first, RequestKind::Update, RequestErrorCode::Unauthorized));
        let told = end
            .take_events()
            .iter()
            .filter(|event| {
                matches!(event, Event::UpdateRejected { request: key, error, .. }
                    if *key == request && error.code == RequestErrorCode::Unauthorized)
            })
            .count();
        assert_eq!(told, if draft >= Draft::D18 { 3 } else { 1 }, "{draft:?} {role:?}");
        let more = end.with(|engine, now| engine.update(now, request, &with_priority(9)));
        assert!(matches!(more, Err(CommandError::WrongState(_))), "{more:?}");
        end.say(
            on,
            &Message::PublishDone(PublishDone {
                request_id: Some(id),
                code: PublishDoneCode::UpdateFailed,
                stream_count: 0,
                reason: String::new(),
            }),
        );
        if draft >= Draft::D18 {
            end.fin(on);
        }
        end.wait(Duration::from_secs(60));
        let events = end.take_events();
        assert!(
            matches!(
                events[..],
                [Event::SubscriptionDone { code: PublishDoneCode::UpdateFailed, .. }]
            ),
            "{draft:?} {role:?}: {events:?}"
        );
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        assert_eq!(end.engine.poll_timeout(), None);
        bystander.assert_well(&mut end);
    }
}

// Draft-18, "REQUEST_UPDATE": "The sender of a request (SUBSCRIBE, PUBLISH, [...]) can later send a
// REQUEST_UPDATE", and if it fails "the publisher MUST also terminate the subscription by sending
// a PUBLISH_DONE with error code UPDATE_FAILED" ("Updating Subscriptions"). In draft 14 only "a
// subscriber sends a SUBSCRIBE_UPDATE".
#[test]
fn a_publisher_whose_update_is_refused_ends_the_subscription() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let id = end.next_own_id();
        let (track, none) = (say::track("t"), Parameters::default());
        let properties = TrackProperties::new();
        let request =
            end.with(|engine, now| engine.publish(now, &track, &none, &properties)).unwrap();
        let on = end.own_request();
        let early = end.with(|engine, now| engine.update(now, request, &none));
        assert!(matches!(early, Err(CommandError::WrongState(_))), "before PUBLISH_OK: {early:?}");
        end.say(on, &say::ok(id, RequestKind::Publish));
        end.said(on);
        end.take_events();
        let update_id = end.next_own_id();
        // The rest of it is for the subscriber to say.
        let sent = end.with(|engine, now| engine.update(now, request, &with_priority(3)));
        if draft == Draft::D14 {
            assert!(matches!(sent, Err(CommandError::WrongState(_))), "{sent:?}");
            continue;
        }
        assert!(sent.is_ok());
        assert_eq!(the_update(&mut end, on).2, none, "{draft:?} {role:?}");
        end.say(
            on,
            &say::error(update_id, RequestKind::Update, RequestErrorCode::ExpiredAuthToken),
        );
        assert!(
            matches!(end.events[..], [Event::UpdateRejected { .. }, Event::Cancelled { .. }]),
            "{:?}",
            end.events
        );
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::PublishDone(done)]
                if done.code == PublishDoneCode::UpdateFailed),
            "{draft:?} {role:?}: {said:?}"
        );
        assert_eq!(end.engine.usage().requests, 0);
    }
}

// Draft-18, "REQUEST_UPDATE": the sender of a PUBLISH_NAMESPACE may update it, too.
#[test]
fn a_namespace_is_updated_by_who_published_it() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let id = end.next_own_id();
        let (track, none) = (say::track("t"), Parameters::default());
        let request = end
            .with(|engine, now| engine.publish_namespace(now, track.namespace(), &none))
            .unwrap();
        let on = end.own_request();
        end.say(on, &say::ok(id, RequestKind::PublishNamespace));
        end.said(on);
        end.take_events();
        let update_id = end.next_own_id();
        let sent = end.with(|engine, now| engine.update(now, request, &none));
        if draft == Draft::D14 {
            assert!(matches!(sent, Err(CommandError::WrongState(_))), "{sent:?}");
            continue;
        }
        let existing = the_update(&mut end, on).1;
        assert_eq!(existing, (draft == Draft::D16).then_some(id));
        end.say(on, &say::ok(update_id, RequestKind::Update));
        assert!(matches!(end.events[..], [Event::UpdateAccepted { .. }]), "{:?}", end.events);

        let mut end = session(draft, role);
        let id = end.fresh_id();
        end.request(&say::publish_namespace(id, "t"));
        let theirs = requested(&mut end);
        end.with(|engine, now| engine.accept(now, theirs, Accept::default())).unwrap();
        let sent = end.with(|engine, now| engine.update(now, theirs, &none));
        assert!(matches!(sent, Err(CommandError::WrongState(_))), "not ours: {sent:?}");
    }
}

// Draft-18, "NEW GROUP REQUEST Parameter": "A subscriber MUST NOT send this parameter in PUBLISH_OK
// or REQUEST_UPDATE if the Track did not include the DYNAMIC_GROUPS Property with value 1. A
// subscriber MAY include this parameter in SUBSCRIBE without foreknowledge of support."
#[test]
fn a_new_group_is_asked_for_only_where_the_track_allows_it() {
    for (draft, role) in answered_cases() {
        for dynamic in [false, true] {
            let mut wish = Parameters::default();
            wish.new_group_request = Some(0);
            let properties =
                TrackProperties::new().with_int(property_type::DYNAMIC_GROUPS, u64::from(dynamic));

            let mut end = session(draft, role);
            let id = end.next_own_id();
            let track = say::track("t");
            let request = end.with(|engine, now| engine.subscribe(now, &track, &wish)).unwrap();
            let on = end.own_request();
            let mut ok = say::subscribe_ok(id, 5);
            if let Message::SubscribeOk(ok) = &mut ok {
                ok.track_properties = properties.clone();
            }
            end.say(on, &ok);
            let sent = end.with(|engine, now| engine.update(now, request, &wish));
            assert_eq!(sent.is_ok(), dynamic, "{draft:?} {role:?} REQUEST_UPDATE: {sent:?}");

            let mut end = session(draft, role);
            let id = end.fresh_id();
            let mut publish = say::publish(id, "t", 5);
            if let Message::Publish(publish) = &mut publish {
                publish.track_properties = properties;
            }
            end.request(&publish);
            let request = requested(&mut end);
            let accept = Accept { parameters: wish, ..Accept::default() };
            let accepted = end.with(|engine, now| engine.accept(now, request, accept));
            assert_eq!(accepted.is_ok(), dynamic, "{draft:?} {role:?} PUBLISH_OK: {accepted:?}");
            if !dynamic {
                // Nothing has been said, so it may still be answered.
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            }
        }
    }
}

// Limits, `unanswered_updates`: one more of ours is blocked until an answer comes.
#[test]
fn updates_that_a_peer_does_not_answer_are_bounded() {
    for (draft, role) in answered_cases() {
        let mut config = Config::default();
        config.limits.unanswered_updates = 2;
        let mut end = End::established(draft, role, config);
        let (request, on) = subscribed(&mut end, "t", 5);
        let first = end.next_own_id();
        let update = |engine: &mut moqt_engine::MoqtConnection, now| {
            engine.update(now, request, &Parameters::default())
        };
        end.with(update).unwrap();
        end.with(update).unwrap();
        assert_eq!(end.with(update), Err(CommandError::Blocked(Blocked::Updates)));
        end.say(on, &say::ok(first, RequestKind::Update));
        end.with(update).unwrap();
        // No answer in time: that is told, and an answer that comes after all says nothing new.
        end.take_events();
        let late = first + 2;
        end.wait(Duration::from_secs(60));
        let timed_out = |event: &Event| {
            matches!(event, Event::UpdateRejected { error, .. }
                if error.code == RequestErrorCode::Timeout && error.raw_code.is_none())
        };
        let events = end.take_events();
        assert!(events.len() == 2 && events.iter().all(timed_out), "{events:?}");
        end.say(on, &say::ok(late, RequestKind::Update));
        assert_eq!((end.take_events(), end.closed()), (vec![], None), "{draft:?} {role:?}");
        end.with(update).unwrap();
        // Whatever waits goes with the request.
        end.with(|engine, now| {
            engine.cancel(now, request, moqt_engine::model::StreamResetCode::Cancelled)
        })
        .unwrap();
        assert_eq!((end.engine.usage().requests, end.engine.poll_timeout()), (0, None));
        if draft == Draft::D16 {
            end.say(on, &say::ok(late + 2, RequestKind::Update));
            assert_eq!((end.take_events(), end.closed()), (vec![], None));
        }
    }
}

// "The receiver of a REQUEST_UPDATE MUST respond with exactly one REQUEST_OK or REQUEST_ERROR"
// (draft-18): what answers nothing breaks the protocol.
#[test]
fn an_answer_to_no_update_closes() {
    for role in ROLES {
        for publish in [false, true] {
            let mut end = session(Draft::D18, role);
            let (_, id, on) = if publish {
                published(&mut end, Parameters::default())
            } else {
                let (request, id, on) = subscribing(&mut end, "t");
                end.say(on, &say::subscribe_ok(id, 5));
                (request, id, on)
            };
            end.say(on, &say::ok(id, RequestKind::Update));
            assert_closed(&end, PROTOCOL_VIOLATION, "REQUEST_OK to nothing");
        }
    }
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        let (request, on) = subscribed(&mut end, "t", 5);
        let update = end.next_own_id();
        end.with(|engine, now| engine.update(now, request, &with_priority(1))).unwrap();
        end.say(on, &say::subscribe_ok(update, 6));
        assert_closed(&end, PROTOCOL_VIOLATION, "SUBSCRIBE_OK to an update");
    }
}

// Draft-18, "REQUEST_OK": "If an endpoint receives Track Properties in one of these messages it
// MUST close the session with a PROTOCOL_VIOLATION."
#[test]
fn track_properties_in_the_answer_to_an_update_close() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let (request, on) = subscribed(&mut end, "t", 5);
        end.with(|engine, now| engine.update(now, request, &with_priority(1))).unwrap();
        // No parameters, and property 0x30.
        end.data(on, &[0x07, 0, 3, 0, 0x30, 1][..]);
        assert_closed(&end, PROTOCOL_VIOLATION, "properties");
    }
}

// An update that was given up counts until it is answered, as answers come in order. Whoever was
// told to wait for that is told when there may be one more.
#[test]
fn an_update_answered_after_it_was_given_up_unblocks() {
    for (draft, role) in answered_cases() {
        let mut config = Config::default();
        config.limits.unanswered_updates = 1;
        config.limits.answer_timeout = Some(Duration::from_secs(1));
        let mut end = End::established(draft, role, config);
        let (request, on) = subscribed(&mut end, "t", 5);
        let update_id = end.next_own_id();
        end.with(|engine, now| engine.update(now, request, &with_priority(3))).unwrap();
        end.wait(Duration::from_secs(2));
        assert!(matches!(end.take_events()[..], [Event::UpdateRejected { .. }]), "{draft:?}");
        let blocked = end.with(|engine, now| engine.update(now, request, &with_priority(4)));
        assert_eq!(blocked, Err(CommandError::Blocked(Blocked::Updates)), "{draft:?} {role:?}");
        end.say(on, &say::ok(update_id, RequestKind::Update));
        assert_eq!(end.take_events(), [Event::Unblocked], "{draft:?} {role:?}");
        let again = end.with(|engine, now| engine.update(now, request, &with_priority(4)));
        assert!(again.is_ok(), "{draft:?} {role:?}: {again:?}");
    }
}

// Draft-18, "REQUEST_UPDATE": "The receiver of a REQUEST_UPDATE MUST respond with exactly one
// REQUEST_OK or REQUEST_ERROR message"; "Updating Subscriptions": it "MAY coalesce their
// processing", and then there is one REQUEST_ERROR for all. Which it is, nobody says.
#[test]
fn updates_after_one_that_was_refused_may_be_answered_or_not() {
    for (draft, role) in cases().filter(|(draft, _)| *draft >= Draft::D18) {
        for answers in 1..=4 {
            let mut end = session(draft, role);
            let (request, on) = subscribed(&mut end, "t", 5);
            for _ in 0..3 {
                end.with(|engine, now| engine.update(now, request, &with_priority(3))).unwrap();
            }
            end.take_events();
            for _ in 0..answers {
                end.say(on, &say::error(0, RequestKind::Update, RequestErrorCode::InvalidRange));
            }
            let events = end.take_events();
            let rejected =
                events.iter().filter(|event| matches!(event, Event::UpdateRejected { .. }));
            assert_eq!(rejected.count(), 3, "{role:?} {answers}: {events:?}");
            // More answers than updates are wrong whatever they answer.
            let expected = (answers > 3).then_some(PROTOCOL_VIOLATION);
            assert_eq!(end.closed(), expected, "{role:?} {answers}");
        }
    }
}
