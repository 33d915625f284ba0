//! TRACK_STATUS, both ways.

use moqt_conformance::end::Output;
use moqt_conformance::{cases, say};
use moqt_engine::model::{
    Location, Message, Parameters, RequestErrorCode, RequestKind, RequestOk, SubscriptionFilter,
    TrackProperties,
};
use moqt_engine::{Accept, Draft, Event, IncomingRequest, Refusal};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

fn largest() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.largest_object = Some(Location::new(4, 2));
    parameters
}

// "The receiver of a TRACK_STATUS message treats it identically as if it had received a
// SUBSCRIBE message, except it does not create downstream subscription state or send any
// Objects." "If successful, the publisher responds with a TRACK_STATUS_OK with the same
// parameters and Track Properties it would have set in a SUBSCRIBE_OK." "The bidi stream is
// closed with a FIN after TRACK_STATUS_OK or REQUEST_ERROR are sent." (draft-18; 14 and 16 on
// the control stream)
#[test]
fn a_track_status_is_answered_and_over() {
    for ((draft, role), accepts) in
        cases().flat_map(|case| [true, false].map(|accepts| (case, accepts)))
    {
        let what = format!("{draft:?} {role:?} {accepts}");
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        end.said(end.control);
        let id = end.fresh_id();
        let on = end.request(&say::track_status(id, "t"));
        let Some(Event::Request { request, what: IncomingRequest::TrackStatus { track, .. } }) =
            end.take_events().pop()
        else {
            panic!("{what}: no request")
        };
        assert_eq!(track, say::track("t"));
        let properties = TrackProperties::new().with_int(0x04, 7);
        if accepts {
            let accept = Accept { parameters: largest(), track_properties: properties.clone() };
            end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
        } else {
            let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
            end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        }
        let said = end.said(on);
        match &said[..] {
            [Message::RequestOk(ok)] if accepts => {
                assert_eq!(ok.parameters.largest_object, Some(Location::new(4, 2)), "{what}");
                // Draft 16's REQUEST_OK has no place for them.
                let has_properties = draft != Draft::D16;
                assert_eq!(ok.track_properties == properties, has_properties, "{what}");
            }
            [Message::RequestError(error)] if !accepts => {
                assert_eq!(error.code, RequestErrorCode::DoesNotExist, "{what}");
            }
            _ => panic!("{what}: {said:?}"),
        }
        if draft >= Draft::D18 {
            assert!(end.did(&Output::Fin(on)), "{what}");
            end.fin(on);
        }
        assert!(end.engine.publisher(request).is_none(), "{what}: no subscription");
        assert_eq!(end.engine.usage(), before, "{what}");
        // It is none for a later SUBSCRIBE to be the second of, either.
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "t"));
        assert!(matches!(end.take_events()[..], [Event::Request { .. }]), "{what}");
        bystander.assert_well(&mut end);
    }
}

#[test]
fn what_a_track_status_tells_is_given_and_ends_it() {
    for ((draft, role), accepts) in
        cases().flat_map(|case| [true, false].map(|accepts| (case, accepts)))
    {
        let what = format!("{draft:?} {role:?} {accepts}");
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let id = end.next_own_id();
        let track = say::track("t");
        let request = end
            .with(|engine, now| engine.track_status(now, &track, &Parameters::default()))
            .unwrap();
        let on = end.own_request();
        if accepts {
            let track_properties = match draft {
                Draft::D16 => TrackProperties::new(),
                _ => TrackProperties::new().with_int(0x04, 7),
            };
            let ok = RequestOk {
                request_id: Some(id),
                answers: Some(RequestKind::TrackStatus),
                parameters: largest(),
                track_properties: track_properties.clone(),
            };
            end.say(on, &Message::RequestOk(ok));
            let events = end.take_events();
            let [Event::Accepted { request: answered, answer }] = &events[..] else {
                panic!("{what}: {events:?}")
            };
            assert_eq!(*answered, request);
            assert_eq!(answer.parameters.largest_object, Some(Location::new(4, 2)), "{what}");
            assert_eq!(answer.track_properties, track_properties, "{what}");
        } else {
            let code = RequestErrorCode::Unauthorized;
            end.say(on, &say::error(id, RequestKind::TrackStatus, code));
            let events = end.take_events();
            assert!(
                matches!(&events[..], [Event::Rejected { error, .. }] if error.code == code),
                "{what}: {events:?}"
            );
        }
        if draft >= Draft::D18 {
            end.fin(on);
        }
        assert_eq!(end.engine.usage(), before, "{what}");
        assert_eq!(end.engine.poll_timeout(), None, "{what}");
        bystander.assert_well(&mut end);
    }
}

// "the subscriber cannot send REQUEST_UPDATE" (draft-18), "or UNSUBSCRIBE" (14, 16); "The
// publisher does not send PUBLISH_DONE for this request" (all drafts).
#[test]
fn a_track_status_is_neither_updated_nor_ended() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let id = end.fresh_id();
        let on = end.request(&say::track_status(id, "t"));
        let update = end.fresh_id();
        // Draft 14's has no optional fields.
        let mut parameters = Parameters::default();
        if draft == Draft::D14 {
            let start = Location::ZERO;
            parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
            parameters.subscriber_priority = Some(1);
            parameters.forward = Some(true);
        }
        end.say(on, &say::update(update, id, parameters));
        assert_closed(&end, PROTOCOL_VIOLATION, "an update of a TRACK_STATUS");

        let mut end = session(draft, role);
        let id = end.next_own_id();
        let track = say::track("t");
        end.with(|engine, now| engine.track_status(now, &track, &Parameters::default())).unwrap();
        let on = end.own_request();
        end.say(on, &say::done(id, 0));
        assert_closed(&end, PROTOCOL_VIOLATION, "PUBLISH_DONE of a TRACK_STATUS");

        if draft < Draft::D18 {
            let mut end = session(draft, role);
            let id = end.fresh_id();
            end.request(&say::track_status(id, "t"));
            end.say(end.control, &say::unsubscribe(id));
            assert_closed(&end, PROTOCOL_VIOLATION, "UNSUBSCRIBE of a TRACK_STATUS");
        }
    }
}
