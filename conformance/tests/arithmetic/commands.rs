//! Values that a draft cannot say, in commands: refused, and nothing has changed.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    Draft, Location, LocationRange, Message, Parameters, PublishDoneCode, RequestErrorCode,
    SubgroupId, SubscriptionFilter, TrackProperties,
};
use moqt_engine::wire::{EncodeError, ObjectHeader};
use moqt_engine::{
    Accept, CommandError, Config, DatagramOptions, Event, FetchTarget, MoqtConnection, RequestKey,
    Role, SubgroupOptions, Timestamp,
};

use super::{EDGES, in_draft};

/// Values, and whether the draft can say them.
fn values(draft: Draft) -> impl Iterator<Item = (u64, bool)> {
    EDGES.into_iter().map(move |value| (value, in_draft(draft, value.into()).is_some()))
}

/// Does as is said, which works or is refused because the draft cannot say it; then nothing has
/// been said.
#[track_caller]
fn check<T>(
    end: &mut End,
    (value, fits): (u64, bool),
    command: impl FnOnce(&mut MoqtConnection, Timestamp) -> Result<T, CommandError>,
) {
    let draft = end.draft();
    let (outputs, usage) = (end.outputs.len(), end.engine.usage());
    let result = end.with(command).map(drop);
    if fits {
        assert_eq!(result, Ok(()), "{draft} {value}");
    } else {
        assert!(
            matches!(result, Err(CommandError::Encode(EncodeError::OutOfRange(_)))),
            "{draft} {value}: {result:?}"
        );
        assert_eq!(end.outputs.len(), outputs, "{draft} {value}");
        assert_eq!(end.engine.usage(), usage, "{draft} {value}");
    }
}

fn established(draft: Draft) -> End {
    End::established(draft, Role::Server, Config::default())
}

/// A session in which the peer has subscribed, and it was accepted.
fn published(draft: Draft) -> (End, RequestKey, moqt_conformance::end::Name, u64) {
    let mut end = established(draft);
    let id = end.fresh_id();
    let on = end.request(&say::subscribe(id, "t"));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
    end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
    (end, request, on, id)
}

#[test]
fn requests_with_such_values_are_not_sent() {
    type Set = fn(&mut Parameters, u64);
    let sets: [Set; 4] = [
        |parameters, value| {
            let start = Location::new(value, 0);
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
        },
        |parameters, value| {
            let start = Location::new(0, value);
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
        },
        |parameters, value| {
            let start = Location::ZERO;
            let filter = SubscriptionFilter::AbsoluteRange { start, end_group: value };
            parameters.subscription_filter = Some(filter);
        },
        // What is 0 closes the session on draft 16.
        |parameters, value| parameters.object_delivery_timeout = Some(value.max(1)),
    ];
    for draft in DRAFTS {
        for (case, set) in values(draft).flat_map(|case| sets.map(|set| (case, set))) {
            let mut parameters = Parameters::default();
            set(&mut parameters, case.0);
            let track = say::track("t");
            check(&mut established(draft), case, |engine, now| {
                engine.subscribe(now, &track, &parameters)
            });
        }
        for case in values(draft) {
            let locations = [Location::new(case.0, 0), Location::new(0, case.0)];
            for largest in locations {
                let mut parameters = Parameters::default();
                parameters.largest_object = Some(largest);
                check(&mut established(draft), case, |engine, now| {
                    engine.publish(now, &say::track("t"), &parameters, &TrackProperties::new())
                });
            }
            let range = LocationRange::to_last(Location::ZERO, Location::new(case.0, 0));
            let target = FetchTarget::Standalone { track: say::track("t"), range };
            check(&mut established(draft), case, |engine, now| {
                engine.fetch(now, &target, &Parameters::default())
            });
        }
    }
}

#[test]
fn answers_with_such_values_are_not_sent() {
    for draft in DRAFTS {
        for case in values(draft) {
            let mut end = established(draft);
            let id = end.fresh_id();
            end.request(&say::subscribe(id, "t"));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            let mut accept = Accept::default();
            accept.parameters.expires = Some(case.0);
            accept.parameters.largest_object = Some(Location::new(0, case.0));
            check(&mut end, case, |engine, now| engine.accept(now, request, accept));
        }
    }
}

/// Updates are answered on drafts that have answers to them.
#[test]
fn an_update_is_not_accepted_with_such_an_expiry() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft >= Draft::D16) {
        for case in values(draft) {
            let (mut end, _, on, id) = published(draft);
            let mut narrow = Parameters::default();
            let start = Location::ZERO;
            let filter = SubscriptionFilter::AbsoluteRange { start, end_group: 9 };
            narrow.subscription_filter = Some(filter);
            let update = say::update(end.fresh_id(), id, narrow);
            end.say(on, &update);
            let events = end.take_events();
            let Some(request) = events.iter().find_map(|event| match event {
                Event::UpdateRequested { request, .. } => Some(*request),
                _ => None,
            }) else {
                continue;
            };
            let mut parameters = Parameters::default();
            parameters.expires = Some(case.0);
            check(&mut end, case, |engine, now| engine.accept_update(now, request, &parameters));
        }
    }
}

#[test]
fn objects_in_such_places_are_not_published() {
    for draft in DRAFTS {
        for case in values(draft) {
            let (value, _) = case;
            let (mut end, request, ..) = published(draft);
            check(&mut end, case, |engine, _| {
                engine.publisher(request).unwrap().open_subgroup(SubgroupOptions::new(value))
            });
            let (mut end, request, ..) = published(draft);
            check(&mut end, case, |engine, _| {
                let mut options = SubgroupOptions::new(0);
                options.subgroup_id = SubgroupId::Explicit(value);
                engine.publisher(request).unwrap().open_subgroup(options)
            });
            for location in [Location::new(value, 0), Location::new(0, value)] {
                let (mut end, request, ..) = published(draft);
                check(&mut end, case, |engine, _| {
                    let options = DatagramOptions::new(location);
                    engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"x"))
                });
                let (mut end, request, ..) = published(draft);
                check(&mut end, case, |engine, _| {
                    engine.publisher(request).unwrap().note_published(location)
                });
            }
        }
    }
}

/// After an object whose ID the draft can say, in a subgroup that states differences; whether
/// the object is wanted or not.
#[test]
fn object_ids_do_not_grow_past_what_the_draft_can_say() {
    for draft in DRAFTS {
        let max = draft.dialect().ints.max();
        for ((value, fits), wanted) in values(draft).flat_map(|case| [(case, true), (case, false)])
        {
            if value < max {
                continue;
            }
            let mut end = established(draft);
            let id = end.fresh_id();
            let mut parameters = Parameters::default();
            if !wanted {
                // Nothing of the group but its last object, if it has one of that ID.
                let start = Location::new(0, max);
                parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
            }
            end.request(&say::subscribe_with(id, "t", parameters));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            let stream = end.with(|engine, _| {
                let mut publisher = engine.publisher(request).unwrap();
                publisher.open_subgroup(SubgroupOptions::new(0)).unwrap().unwrap()
            });
            let object = |engine: &mut MoqtConnection, object_id| {
                let header = ObjectHeader { object_id, payload_len: 1, ..ObjectHeader::default() };
                engine.subgroup(stream).unwrap().object(&header, Bytes::from_static(b"x"))
            };
            end.with(|engine, _| object(engine, max - 1)).unwrap();
            check(&mut end, (value, fits), |engine, _| object(engine, value));
        }
    }
}

/// A code that a draft cannot say is one that says less; that something is over is told.
#[test]
fn the_end_of_a_subscription_gets_through_whatever_its_code() {
    for draft in DRAFTS {
        for (value, fits) in values(draft) {
            let (mut end, request, on, _) = published(draft);
            end.with(|engine, _| {
                engine.publisher(request).unwrap().done(PublishDoneCode::Other(value), "");
            });
            let said = end.said(on);
            let Some(Message::PublishDone(done)) = said.last() else {
                panic!("{draft} {value}: {said:?}")
            };
            let expected = if fits { value } else { 0 };
            let code = draft.dialect().publish_done_code(done.code);
            assert_eq!(code, expected, "{draft} {value}");
        }
    }
}

#[test]
fn a_namespace_is_not_cancelled_with_such_a_code() {
    for draft in DRAFTS {
        for case in values(draft) {
            let mut end = established(draft);
            let id = end.fresh_id();
            end.request(&say::publish_namespace(id, "t"));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            let code = RequestErrorCode::Other(case.0);
            check(&mut end, case, |engine, now| {
                engine.cancel_publish_namespace(now, request, code, "")
            });
            if case.1 {
                assert!(
                    end.outputs
                        .iter()
                        .any(|output| { matches!(output, Output::Data(..) | Output::Reset(..)) })
                );
            }
        }
    }
}

/// A refusal says what it can of what it is told to say.
#[test]
fn a_refusal_gets_through_whatever_is_in_it() {
    for draft in DRAFTS {
        for (value, fits) in values(draft) {
            let mut end = established(draft);
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, "t"));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            let refusal = moqt_engine::Refusal {
                retry_after: Some(Duration::from_millis(value)),
                ..moqt_engine::Refusal::new(RequestErrorCode::Other(value))
            };
            end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
            let said = end.said(on);
            let Some(Message::RequestError(error)) = said.last() else {
                panic!("{draft} {value}: {said:?}")
            };
            if draft >= Draft::D16 && fits {
                let most = draft.dialect().ints.max();
                assert_eq!(error.retry_interval, value.saturating_add(1).min(most), "{draft}");
            }
        }
    }
}
