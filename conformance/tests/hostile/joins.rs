//! FETCHes of the peer's that join a subscription.

use moqt_conformance::end::{End, Name};
use moqt_conformance::{cases, say};
use moqt_engine::model::{
    JoiningStart, Location, LocationRange, Message, Parameters, RequestErrorCode, RequestKind,
    SubscriptionFilter, TrackProperties,
};
use moqt_engine::{Accept, Draft, Event, IncomingRequest, Refusal, RequestKey};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

const LARGEST: Location = Location::new(5, 3);
const RELATIVE: JoiningStart = JoiningStart::Relative(2);

/// What joins need: the filter that drafts 14 and 16 ask for.
fn joinable() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
    parameters
}

fn largest(location: Option<Location>) -> Accept {
    let mut accept = Accept::default();
    accept.parameters.largest_object = location;
    accept
}

/// A SUBSCRIBE of the peer's that was not answered: it, its Request ID and where it is answered.
fn subscribing(end: &mut End, parameters: Parameters) -> (RequestKey, u64, Name) {
    let id = end.fresh_id();
    let on = end.request(&say::subscribe_with(id, "t", parameters));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else {
        panic!("no request")
    };
    (request, id, on)
}

fn accept(end: &mut End, request: RequestKey, accept: Accept) {
    end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
}

/// The peer joins: what comes of it, and where it is answered.
fn join(end: &mut End, subscription: u64, start: JoiningStart) -> Name {
    end.said(end.control);
    let id = end.fresh_id();
    end.request(&say::join(id, subscription, start))
}

/// The range of a join that the application was told of.
fn joined(end: &mut End) -> Option<(LocationRange, RequestKey, RequestKey)> {
    end.take_events().into_iter().find_map(|event| match event {
        Event::Request {
            request,
            what: IncomingRequest::Fetch { range, joining: Some(joining), .. },
        } => Some((range, joining, request)),
        _ => None,
    })
}

#[track_caller]
fn assert_refused(end: &mut End, on: Name, code: RequestErrorCode) {
    let said = end.said(on);
    assert!(
        matches!(&said[..], [.., Message::RequestError(error)] if error.code == code),
        "{:?}: {said:?} {:?}",
        end.draft(),
        end.events
    );
    assert_eq!(joined(end), None);
}

// "sets the End Location to {Joining Location.Group, Joining Location.Object + 1}" (draft-18;
// 14 and 16 the Largest Location of the subscription). "Because Joining Fetch references an
// existing subscription, if that subscription has not yet been established, the Publisher
// receiving the Joining Fetch buffers the pending Joining Fetch until either the Subscription is
// established or the request times out." (draft-18)
#[test]
fn a_join_has_the_range_up_to_the_subscription_even_if_that_is_pending() {
    let expected = |group| LocationRange::to_last(Location::new(group, 0), LARGEST);
    for ((draft, role), is_pending) in cases().flat_map(|case| [false, true].map(|is| (case, is))) {
        for (start, group) in [
            (JoiningStart::Relative(0), 5),
            (JoiningStart::Relative(2), 3),
            (JoiningStart::Relative(9), 0),
            (JoiningStart::Absolute(4), 4),
        ] {
            let what = format!("{draft:?} {role:?} {is_pending} {start:?}");
            let mut end = session(draft, role);
            let (subscription, id, _) = subscribing(&mut end, joinable());
            if !is_pending {
                accept(&mut end, subscription, largest(Some(LARGEST)));
            }
            join(&mut end, id, start);
            if is_pending {
                assert_eq!(joined(&mut end), None, "{what}: it waits");
                accept(&mut end, subscription, largest(Some(LARGEST)));
            }
            let (range, joining, _) = joined(&mut end).unwrap_or_else(|| panic!("{what}"));
            assert_eq!((range, joining), (expected(group), subscription), "{what}");
        }
    }
}

// "If a publisher receives a Joining Fetch with a Request ID that does not correspond to a
// subscription in the same session in the Established or Pending (subscriber) states, it MUST
// return a REQUEST_ERROR with error code INVALID_JOINING_REQUEST_ID." (draft-16, -18; the same
// in 14)
#[test]
fn there_must_be_a_subscription_to_join() {
    for (draft, role) in cases() {
        let invalid = RequestErrorCode::InvalidJoiningRequestId;
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let on = join(&mut end, 4000, RELATIVE);
        assert_refused(&mut end, on, invalid);
        // The bystander's is a subscription the wrong way round.
        let own = u64::from(role == moqt_engine::Role::Server);
        let on = join(&mut end, own, RELATIVE);
        assert_refused(&mut end, on, invalid);
        // Not a subscription.
        let id = end.fresh_id();
        end.request(&say::publish_namespace(id, "t"));
        end.take_events();
        let on = join(&mut end, id, RELATIVE);
        assert_refused(&mut end, on, invalid);
        // One that is over.
        let (subscription, id, _) = subscribing(&mut end, joinable());
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        end.with(|engine, now| engine.reject(now, subscription, refusal)).unwrap();
        let on = join(&mut end, id, RELATIVE);
        assert_refused(&mut end, on, invalid);
        // A PUBLISH that was not answered is pending at the publisher.
        let publish = end.next_own_id();
        let mut parameters = Parameters::default();
        parameters.largest_object = Some(LARGEST);
        let track = say::track("published");
        end.with(|engine, now| {
            engine.publish(now, &track, &parameters, &TrackProperties::default())
        })
        .unwrap();
        let on = join(&mut end, publish, RELATIVE);
        assert_refused(&mut end, on, invalid);
        bystander.assert_well(&mut end);
    }
}

// The same when the subscription that is waited for does not come about.
#[test]
fn a_join_that_waits_ends_with_its_subscription() {
    for ((draft, role), withdraws) in cases().flat_map(|case| [false, true].map(|is| (case, is))) {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let (subscription, id, on) = subscribing(&mut end, joinable());
        let join = join(&mut end, id, RELATIVE);
        if withdraws {
            if draft >= Draft::D18 {
                end.reset(on, 1);
            } else {
                end.say(end.control, &say::unsubscribe(id));
            }
        } else {
            let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
            end.with(|engine, now| engine.reject(now, subscription, refusal)).unwrap();
        }
        assert_refused(&mut end, join, RequestErrorCode::InvalidJoiningRequestId);
        if draft >= Draft::D18 {
            end.fin(join);
            if !withdraws {
                end.fin(on);
            }
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?} {withdraws}");
        bystander.assert_well(&mut end);
    }
}

#[test]
fn a_join_can_be_cancelled_while_it_waits() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (subscription, id, _) = subscribing(&mut end, joinable());
        let before = end.engine.usage();
        let fetch = end.peer_id;
        let on = join(&mut end, id, RELATIVE);
        if draft >= Draft::D18 {
            end.reset(on, 1);
        } else {
            let cancel = moqt_engine::model::FetchCancel { request_id: fetch };
            end.say(end.control, &Message::FetchCancel(cancel));
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        end.take_events();
        accept(&mut end, subscription, largest(Some(LARGEST)));
        assert_eq!(joined(&mut end), None, "{draft:?} {role:?}");
    }
}

// "A Joining Fetch is only permitted when the associated Subscribe has the Filter Type Largest
// Object; any other value results in closing the session with a PROTOCOL_VIOLATION." (14, 16)
// Draft 18 does not ask for a filter.
#[test]
fn only_drafts_14_and_16_ask_for_the_filter() {
    let start = Location::ZERO;
    for ((draft, role), is_pending) in cases().flat_map(|case| [false, true].map(|is| (case, is))) {
        let filters = [
            None,
            Some(SubscriptionFilter::NextGroupStart),
            Some(SubscriptionFilter::AbsoluteStart { start }),
            Some(SubscriptionFilter::AbsoluteRange { start, end_group: 9 }),
        ];
        for filter in filters {
            let mut end = session(draft, role);
            let mut parameters = Parameters::default();
            parameters.subscription_filter = filter;
            let (subscription, id, _) = subscribing(&mut end, parameters);
            if !is_pending {
                accept(&mut end, subscription, largest(Some(LARGEST)));
            }
            join(&mut end, id, RELATIVE);
            if draft >= Draft::D18 {
                if is_pending {
                    accept(&mut end, subscription, largest(Some(LARGEST)));
                }
                assert!(joined(&mut end).is_some(), "{role:?} {filter:?}");
            } else {
                assert_closed(&end, PROTOCOL_VIOLATION, &format!("{filter:?}"));
            }
        }
    }
}

// "If no Objects have been published for the track the publisher MUST respond with a
// REQUEST_ERROR with error code INVALID_RANGE." (draft-18; 14 and 16: and the SUBSCRIBE_OK said
// so); and a start after the end.
#[test]
fn a_join_without_anything_to_fetch_is_refused() {
    for ((draft, role), is_pending) in cases().flat_map(|case| [false, true].map(|is| (case, is))) {
        for (published, start) in [(None, RELATIVE), (Some(LARGEST), JoiningStart::Absolute(6))] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let (subscription, id, _) = subscribing(&mut end, joinable());
            if !is_pending {
                accept(&mut end, subscription, largest(published));
            }
            let on = join(&mut end, id, start);
            if is_pending {
                accept(&mut end, subscription, largest(published));
            }
            assert_refused(&mut end, on, RequestErrorCode::InvalidRange);
            bystander.assert_well(&mut end);
        }
    }
}

// "A Joining Fetch is only permitted when the associated subscription has Forward State 1;
// otherwise the publisher MUST respond with a REQUEST_ERROR with error code INVALID_RANGE." "A
// publisher MUST save the Largest Location communicated in SUBSCRIBE_OK, PUBLISH or
// REQUEST_UPDATE_OK that changes the Forward State from 0 to 1." "Changing the Forward State of
// the associated subscription to 0 after the Joining Fetch has been accepted has no effect"
// (draft-18)
#[test]
fn the_joining_location_moves_with_the_forward_state() {
    for role in moqt_conformance::ROLES {
        let mut end = session(Draft::D18, role);
        let mut parameters = joinable();
        parameters.forward = Some(false);
        let (subscription, id, on) = subscribing(&mut end, parameters);
        accept(&mut end, subscription, largest(Some(LARGEST)));
        let refused = join(&mut end, id, RELATIVE);
        assert_refused(&mut end, refused, RequestErrorCode::InvalidRange);

        let now_at = Location::new(8, 1);
        end.with(|engine, _| {
            engine.publisher(subscription).unwrap().note_published(now_at).unwrap();
        });
        let set = |end: &mut End, forward| {
            let mut parameters = Parameters::default();
            parameters.forward = Some(forward);
            let update = end.fresh_id();
            end.said(on);
            end.say(on, &say::update(update, id, parameters));
            let said = end.said(on);
            let [Message::RequestOk(ok)] = &said[..] else { panic!("{said:?}") };
            ok.parameters.largest_object
        };
        assert_eq!(set(&mut end, true), Some(now_at));
        end.take_events();
        // What comes after does not move it.
        let later = Location::new(9, 0);
        end.with(|engine, _| {
            engine.publisher(subscription).unwrap().note_published(later).unwrap();
        });
        join(&mut end, id, RELATIVE);
        let (range, _, fetch) = joined(&mut end).expect("joined");
        assert_eq!(range, LocationRange::to_last(Location::new(6, 0), now_at));
        // Nor does setting it on again.
        set(&mut end, true);
        end.take_events();
        join(&mut end, id, RELATIVE);
        assert_eq!(joined(&mut end).map(|(range, ..)| range), Some(range));
        set(&mut end, false);
        assert!(end.engine.fetch_response(fetch).is_some(), "unaffected");
        end.take_events();
        let refused = join(&mut end, id, RELATIVE);
        assert_refused(&mut end, refused, RequestErrorCode::InvalidRange);
    }
}

// "A publisher MUST save the Largest Location communicated in PUBLISH or SUBSCRIBE_OK": a
// subscription that the publisher began can be joined once it is established (draft-16, -18).
#[test]
fn a_subscription_that_began_with_publish_is_joined() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let id = end.next_own_id();
        let mut parameters = Parameters::default();
        parameters.largest_object = Some(LARGEST);
        let track = say::track("t");
        let publication = end
            .with(|engine, now| {
                engine.publish(now, &track, &parameters, &TrackProperties::default())
            })
            .unwrap();
        let on = end.own_request();
        end.say(on, &say::ok_with(id, RequestKind::Publish, joinable()));
        end.take_events();
        join(&mut end, id, RELATIVE);
        let (range, joining, _) = joined(&mut end).unwrap_or_else(|| panic!("{draft:?} {role:?}"));
        assert_eq!(range, LocationRange::to_last(Location::new(3, 0), LARGEST));
        assert_eq!(joining, publication);
    }
}

// What cannot be joined is not asked for.
#[test]
fn a_subscription_of_this_sides_is_joined_only_if_that_is_allowed() {
    use moqt_engine::{CommandError, FetchTarget};
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let track = say::track("t");
        let mut parameters = joinable();
        parameters.forward = Some(false);
        for (n, parameters) in [joinable(), Parameters::default(), parameters].iter().enumerate() {
            let subscription =
                end.with(|engine, now| engine.subscribe(now, &track, parameters)).unwrap();
            let target = FetchTarget::Joining { subscription, start: RELATIVE };
            let fetch = end.with(|engine, now| engine.fetch(now, &target, &Parameters::default()));
            let allowed = match (draft, n) {
                (_, 0) => true,
                (_, n) if draft >= Draft::D18 => n == 1,
                (_, n) => n == 2,
            };
            assert_eq!(fetch.is_ok(), allowed, "{draft:?} {role:?} {n}: {fetch:?}");
            let code = moqt_engine::model::StreamResetCode::Cancelled;
            end.with(|engine, now| engine.cancel(now, subscription, code)).unwrap();
            let gone = end.with(|engine, now| engine.fetch(now, &target, &Parameters::default()));
            assert_eq!(gone, Err(CommandError::Gone));
        }
    }
}

// "A publisher MUST process any pending REQUEST_UPDATE messages for the associated subscription
// before evaluating the current request." (draft-18, "Joining Fetches"): also those that the
// application has still to decide on.
#[test]
fn a_join_comes_after_the_updates_that_wait() {
    for role in moqt_conformance::ROLES {
        for accepts in [true, false] {
            let mut config = moqt_engine::Config::default();
            config.decide_updates = true;
            let mut end = End::established(Draft::D18, role, config);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let mut parameters = joinable();
            parameters.forward = Some(false);
            let (subscription, id, on) = subscribing(&mut end, parameters);
            accept(&mut end, subscription, largest(Some(LARGEST)));
            let mut forward = Parameters::default();
            forward.forward = Some(true);
            for parameters in [forward, Parameters::default()] {
                let update = end.fresh_id();
                end.say(on, &say::update(update, id, parameters));
            }
            end.take_events();
            let fetch = join(&mut end, id, RELATIVE);
            assert_eq!((joined(&mut end), end.said(fetch)), (None, vec![]), "{role:?}: it waits");
            let none = Parameters::default();
            end.with(|engine, now| engine.accept_update(now, subscription, &none)).unwrap();
            assert_eq!((joined(&mut end), end.said(fetch)), (None, vec![]), "{role:?}: one more");
            if accepts {
                end.with(|engine, now| engine.accept_update(now, subscription, &none)).unwrap();
                let (range, joining, _) = joined(&mut end).expect("joined");
                assert_eq!(range, LocationRange::to_last(Location::new(3, 0), LARGEST));
                assert_eq!(joining, subscription);
                continue;
            }
            // The subscription ends with the update that is refused.
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            end.with(|engine, now| engine.reject_update(now, subscription, refusal)).unwrap();
            assert_refused(&mut end, fetch, RequestErrorCode::InvalidJoiningRequestId);
            end.fin(fetch);
            end.fin(on);
            assert_eq!(end.engine.usage(), before, "{role:?}");
            bystander.assert_well(&mut end);
        }
    }
}
