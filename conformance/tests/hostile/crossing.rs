//! Subscriptions to one track that cross, follow each other or come to nothing.

use std::time::Duration;

use moqt_conformance::end::{Got, Output};
use moqt_conformance::{ROLES, cases, drafts_from, say};
use moqt_engine::model::{
    Location, Message, Parameters, RequestErrorCode, RequestKind, SubscriptionFilter,
    TrackProperties,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, CommandError, Config, Dir, Draft, Event, SubgroupOptions, Written};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, requested, session, subscribing};

fn is_duplicate(message: &Message) -> bool {
    matches!(message, Message::RequestError(error)
        if matches!(error.code, RequestErrorCode::DuplicateSubscription | RequestErrorCode::InternalError))
}

// Draft-18, "Subscriptions": "For a given Track, an endpoint can have at most one subscription to a
// Track acting as the publisher and at most one acting as a subscriber. If an endpoint receives a
// message attempting to establish a second subscription to a Track with the same role, it MUST fail
// that request with a DUPLICATE_SUBSCRIPTION error."
#[test]
fn a_second_publish_is_refused_however_the_first_came_about() {
    for (draft, role) in cases() {
        // Beside a SUBSCRIBE of ours that crossed with the first, after that SUBSCRIBE failed, and
        // after the first was accepted.
        for stage in 0..3 {
            let what = format!("{draft:?} {role:?} {stage}");
            let mut end = session(draft, role);
            let (_, id, on) = subscribing(&mut end, "t");
            let first = end.fresh_id();
            end.request(&say::publish(first, "t", 5));
            let publish = requested(&mut end);
            if stage >= 1 {
                let error = say::error(id, RequestKind::Subscribe, RequestErrorCode::InternalError);
                end.say(on, &error);
                assert!(matches!(end.take_events()[..], [Event::Rejected { .. }]), "{what}");
            }
            if stage >= 2 {
                end.with(|engine, now| engine.accept(now, publish, Accept::default())).unwrap();
            }
            end.said(end.control);
            let second = end.fresh_id();
            let on = end.request(&say::publish(second, "t", 6));
            let said = end.said(on);
            assert!(matches!(&said[..], [message] if is_duplicate(message)), "{what}: {said:?}");
            let (track, none) = (say::track("t"), Parameters::default());
            let again = end.with(|engine, now| engine.subscribe(now, &track, &none));
            assert!(matches!(again, Err(CommandError::WrongState(_))), "{what}: {again:?}");
            if stage < 2 {
                end.with(|engine, now| engine.accept(now, publish, Accept::default())).unwrap();
            }
            assert_eq!(end.engine.usage().requests, 1, "{what}");
            assert_eq!(end.closed(), None, "{what}");
        }
    }
}

// Draft-18, "Subscriptions": "it MUST ensure the subscription it initiated transitions to the
// Terminated state before sending PUBLISH_OK": not if that is never sent.
#[test]
fn an_acceptance_that_cannot_be_said_ends_no_crossing_subscribe() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (_, id, on) = subscribing(&mut end, "t");
        let publish = end.fresh_id();
        end.request(&say::publish(publish, "t", 5));
        let publish = requested(&mut end);
        let mut backwards = Accept::default();
        backwards.parameters.subscription_filter =
            Some(SubscriptionFilter::AbsoluteRange { start: Location::new(5, 0), end_group: 4 });
        let before = end.outputs.len();
        let accepted = end.with(|engine, now| engine.accept(now, publish, backwards));
        assert!(matches!(accepted, Err(CommandError::Encode(_))), "{draft:?}: {accepted:?}");
        assert_eq!(end.outputs.len(), before, "{draft:?} {role:?}: {:?}", end.outputs);
        assert_eq!(end.take_events(), []);
        end.say(on, &say::subscribe_ok(id, 9));
        assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "{draft:?} {role:?}");
    }
}

// Draft-18, "Subscriptions": an endpoint can have "at most one subscription to a Track acting as the
// publisher and at most one acting as a subscriber": the end of the one says nothing of the other.
#[test]
fn a_publication_that_ends_is_nothing_to_subscriptions_of_its_track_that_cross() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (track, none) = (say::track("t"), Parameters::default());
        let id = end.next_own_id();
        let properties = TrackProperties::default();
        end.with(|engine, now| engine.publish(now, &track, &none, &properties)).unwrap();
        let publication = end.own_request();
        let (subscription, ..) = subscribing(&mut end, "t");
        let publish = end.fresh_id();
        end.request(&say::publish(publish, "t", 5));
        let publish = requested(&mut end);
        let error = say::error(id, RequestKind::Publish, RequestErrorCode::Uninterested);
        end.say(publication, &error);
        assert!(matches!(end.take_events()[..], [Event::Rejected { .. }]), "{draft:?} {role:?}");
        // The SUBSCRIBE still gives way.
        end.with(|engine, now| engine.accept(now, publish, Accept::default())).unwrap();
        let events = end.take_events();
        assert!(
            matches!(&events[..], [Event::Rejected { request, .. }] if *request == subscription),
            "{draft:?} {role:?}: {events:?}"
        );
        assert_eq!(end.engine.usage().requests, 1);
    }
}

// Draft-18, "Subscriptions": PUBLISH_DONE moves a subscription to `Terminated`, whatever is still on
// its way: the track can be subscribed to again.
#[test]
fn a_track_whose_subscription_was_ended_can_be_had_again() {
    for (draft, role) in cases() {
        for publish in [false, true] {
            let mut end = session(draft, role);
            let (old, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::subscribe_ok(id, 5));
            // One stream has not come yet.
            end.say(on, &say::done(id, 1));
            end.take_events();
            if publish {
                let id = end.fresh_id();
                end.request(&say::publish(id, "t", 6));
                let request = requested(&mut end);
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            } else {
                let (_, id, on) = subscribing(&mut end, "t");
                end.say(on, &say::subscribe_ok(id, 6));
            }
            let late =
                end.open_with(moqt_engine::Dir::Uni, say::subgroup(draft, 5, 0, &[(0, b"late")]));
            end.fin(late);
            let done = |event: &Event| matches!(event, Event::SubscriptionDone { request, .. } if *request == old);
            assert!(end.events.iter().any(done), "{draft:?} {role:?}: {:?}", end.events);
            assert_eq!((end.engine.usage().requests, end.closed()), (1, None));
            let (track, none) = (say::track("t"), Parameters::default());
            let again = end.with(|engine, now| engine.subscribe(now, &track, &none));
            assert!(matches!(again, Err(CommandError::WrongState(_))), "{again:?}");
        }
    }
}

// "An endpoint MAY SUBSCRIBE to a Track it is publishing, though only Relays are required to handle
// such a SUBSCRIBE." (all drafts, "Subscriptions")
#[test]
fn an_endpoint_may_subscribe_to_what_it_publishes() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (track, none) = (say::track("t"), Parameters::default());
        let id = end.next_own_id();
        end.with(|engine, now| engine.publish(now, &track, &none, &TrackProperties::new()))
            .unwrap();
        let on = end.own_request();
        end.say(on, &say::ok(id, RequestKind::Publish));
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 5));
        let accepted = |event: &&Event| matches!(event, Event::Accepted { .. });
        assert_eq!(end.events.iter().filter(accepted).count(), 2, "{draft:?} {role:?}");
        assert_eq!(end.closed(), None);
    }
}

// "A subscriber MUST send exactly one PUBLISH_OK or REQUEST_ERROR in response to a PUBLISH" (all
// drafts, "Subscriptions"): also if PUBLISH_DONE came meanwhile.
#[test]
fn a_publish_that_is_done_before_its_answer_is_answered() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let id = end.fresh_id();
        let on = end.request(&say::publish(id, "t", 5));
        let request = requested(&mut end);
        end.say(on, &say::done(id, 0));
        end.wait(Duration::from_secs(60));
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}: it waits for the answer");
        end.said(on);
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        assert_eq!(end.said(on).len(), 1, "{draft:?} {role:?}");
        let events = end.take_events();
        assert!(matches!(events[..], [Event::SubscriptionDone { .. }]), "{events:?}");
        if draft >= Draft::D18 {
            end.fin(on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
        if draft < Draft::D18 {
            end.say(on, &say::done(id, 0));
            assert_eq!(end.closed(), None, "of a request that is over");
        }
    }
}

// Draft-18, "Subscription Filters": "if the entire End Group has already been published it SHOULD
// send a REQUEST_ERROR with code INVALID_RANGE"; draft-14, "SUBSCRIBE": "if the end has already been
// published".
#[test]
fn a_subscribe_to_a_range_that_is_past_is_refused() {
    for (draft, role) in cases() {
        for (end_group, is_past) in [(5, true), (6, false), (7, false)] {
            let mut end = session(draft, role);
            let id = end.fresh_id();
            let mut parameters = Parameters::default();
            parameters.subscription_filter =
                Some(SubscriptionFilter::AbsoluteRange { start: Location::new(2, 0), end_group });
            let on = end.request(&say::subscribe_with(id, "t", parameters));
            let request = requested(&mut end);
            let mut accept = Accept::default();
            accept.parameters.largest_object = Some(Location::new(6, 3));
            end.said(on);
            end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
            let said = end.said(on);
            let what = format!("{draft:?} {role:?} {end_group}: {said:?}");
            if is_past {
                assert!(
                    matches!(&said[..], [Message::RequestError(error)]
                        if error.code == RequestErrorCode::InvalidRange),
                    "{what}"
                );
                assert!(matches!(end.events[..], [Event::Cancelled { .. }]), "{what}");
                assert_eq!(end.engine.usage().requests, 0, "{what}");
            } else {
                assert!(matches!(said[..], [Message::SubscribeOk(_)]), "{what}");
            }
        }
    }
}

// Limits, `churn_burst`: requests that are accepted and cancelled at once count like those that
// were never answered; those that lived for a while do not.
#[test]
fn requests_opened_and_cancelled_without_end_close() {
    for (draft, role) in cases() {
        for lived in [0, 2] {
            let mut config = Config::default();
            config.limits.churn_burst = 5;
            config.limits.churn_per_second = 0;
            let mut end = moqt_conformance::end::End::established(draft, role, config);
            for n in 0..6 {
                assert_eq!(end.closed(), None, "{draft:?} {role:?} {n}");
                let id = end.fresh_id();
                let on = end.request(&say::subscribe(id, "t"));
                let request = requested(&mut end);
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
                end.wait(Duration::from_secs(lived));
                match draft {
                    _ if draft >= Draft::D18 => end.stop(on, 1),
                    _ => end.say(on, &say::unsubscribe(id)),
                }
            }
            if lived == 0 {
                assert_closed(&end, PROTOCOL_VIOLATION, "churn");
            } else {
                assert_eq!(end.closed(), None);
            }
        }
    }
}

// Draft-18, "Closing Subgroup Streams": "If a sender closes the stream before delivering all such
// objects to the QUIC stream, it MUST reset the stream. This includes [...] A REQUEST_UPDATE moving
// the subscription's End Group to a smaller Group or the Start Location to a larger Location [...]
// Omitting a Subgroup Object due to the subscriber's Forward State"; an object may follow another on
// a stream only if it is "the next Object in that Subgroup".
#[test]
fn a_subgroup_that_an_update_cuts_is_not_taken_up_again_and_is_reset() {
    for draft in drafts_from(Draft::D16) {
        for role in ROLES {
            let forward = |forward| {
                let mut parameters = Parameters::default();
                parameters.forward = Some(forward);
                parameters
            };
            let from = |object| {
                let mut parameters = Parameters::default();
                let start = Location::new(3, object);
                parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
                parameters
            };
            for (cut, back) in [(forward(false), forward(true)), (from(9), from(0))] {
                let what = format!("{draft:?} {role:?} {cut:?}");
                let mut end = session(draft, role);
                let id = end.fresh_id();
                let on = end.request(&say::subscribe(id, "t"));
                let request = requested(&mut end);
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
                let stream = end
                    .with(|engine, _| {
                        let mut publisher = engine.publisher(request).unwrap();
                        publisher.open_subgroup(SubgroupOptions::new(3))
                    })
                    .unwrap()
                    .unwrap();
                let write = |end: &mut moqt_conformance::end::End, object_id| {
                    end.with(|engine, _| {
                        let header =
                            ObjectHeader { object_id, payload_len: 1, ..Default::default() };
                        engine.subgroup(stream).unwrap().object(&header, "x".into())
                    })
                };
                assert_eq!(write(&mut end, 0), Ok(Written::Queued), "{what}");
                let update = end.fresh_id();
                end.say(on, &say::update(update, id, cut));
                assert_eq!(write(&mut end, 1), Ok(Written::Skipped), "{what}");
                let update = end.fresh_id();
                end.say(on, &say::update(update, id, back));
                assert_eq!(write(&mut end, 2), Ok(Written::Skipped), "{what}: after the hole");
                end.with(|engine, _| engine.subgroup(stream).unwrap().finish()).unwrap();
                let name = end.name(stream);
                assert!(!end.did(&Output::Fin(name)), "{what}");
                assert!(end.was_reset(name), "{what}: {:?}", end.outputs);
            }
        }
    }
}

// Draft-18, "Subscriptions": PUBLISH_DONE moves a subscription to `Terminated`. A SUBSCRIBE that its
// publisher has accepted after that did not cross with it, and goes on.
#[test]
fn a_publish_that_is_over_and_accepted_late_ends_no_accepted_subscribe() {
    for (draft, role) in cases() {
        let what = format!("{draft:?} {role:?}");
        let mut end = session(draft, role);
        let (subscription, id, on) = subscribing(&mut end, "t");
        let publish_id = end.fresh_id();
        let of_publish = end.request(&say::publish(publish_id, "t", 5));
        let publish = requested(&mut end);
        end.say(of_publish, &say::done(publish_id, 0));
        end.say(on, &say::subscribe_ok(id, 6));
        assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "{what}");
        let stream = end.open_with(Dir::Uni, say::subgroup(draft, 6, 0, &[(0, b"x")]));
        end.take_events();
        end.with(|engine, now| engine.accept(now, publish, Accept::default())).unwrap();
        end.wait(Duration::from_secs(3));
        let events = end.take_events();
        assert!(
            matches!(&events[..], [Event::SubscriptionDone { request, .. }] if *request == publish),
            "{what}: {events:?}"
        );
        end.fin(stream);
        assert_eq!(end.take_reads(stream).last(), Some(&Got::Finished), "{what}");
        end.say(on, &say::done(id, 1));
        end.wait(Duration::from_secs(3));
        let events = end.take_events();
        assert!(
            matches!(&events[..], [Event::SubscriptionDone { request, .. }] if *request == subscription),
            "{what}: {events:?}"
        );
        assert_eq!(end.engine.usage().requests, 0, "{what}");
    }
}

// The same the other way round: what comes of a SUBSCRIBE that was accepted and is over is read,
// though the PUBLISH that followed it overtook the answer.
#[test]
fn a_publish_that_follows_an_accepted_subscribe_cuts_nothing_off() {
    for (draft, role) in cases() {
        let what = format!("{draft:?} {role:?}");
        let mut end = session(draft, role);
        let (_, id, on) = subscribing(&mut end, "t");
        let publish_id = end.fresh_id();
        end.request(&say::publish(publish_id, "t", 5));
        let publish = requested(&mut end);
        end.say(on, &say::subscribe_ok(id, 4));
        end.reads_at_once = false;
        let stream = end.open_with(Dir::Uni, say::subgroup(draft, 4, 0, &[(0, b"last")]));
        end.fin(stream);
        end.say(on, &say::done(id, 1));
        end.take_events();
        end.with(|engine, now| engine.accept(now, publish, Accept::default())).unwrap();
        let events = end.take_events();
        let is_over = |event: &Event| matches!(event, Event::Rejected { .. });
        assert!(!events.iter().any(is_over), "{what}: {events:?}");
        end.read(stream, usize::MAX);
        assert_eq!(end.take_reads(stream).last(), Some(&Got::Finished), "{what}");
    }
}
