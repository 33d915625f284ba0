//! Answers that come twice, or with what they may not have.

use moqt_conformance::end::{End, Name};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    Location, Message, NamespaceInterest, Parameters, RequestErrorCode, RequestKind, RequestOk,
    TrackProperties,
};
use moqt_engine::{Draft, Event};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session, subscribing};

/// This end makes a request of the kind: its Request ID, and where it is answered.
fn asking(end: &mut End, kind: RequestKind) -> (u64, Name) {
    let id = end.next_own_id();
    let plain = Parameters::default();
    let (track, prefix) = (say::track("t"), say::namespace("a"));
    end.with(|engine, now| match kind {
        RequestKind::Publish => engine.publish(now, &track, &plain, &TrackProperties::new()),
        RequestKind::PublishNamespace => engine.publish_namespace(now, &prefix, &plain),
        RequestKind::SubscribeNamespace => {
            engine.subscribe_namespace(now, &prefix, NamespaceInterest::Namespaces, &plain)
        }
        RequestKind::SubscribeTracks => {
            engine.subscribe_namespace(now, &prefix, NamespaceInterest::Tracks, &plain)
        }
        other => panic!("{other:?}"),
    })
    .expect("nothing in the way");
    (id, end.own_request())
}

// "The peer SHOULD close the session with a protocol error if it receives more than one." (all
// drafts, "Subscriptions", of PUBLISH_OK and REQUEST_ERROR) "The publisher SHOULD close the
// session with a protocol error if it receives more than one." (all drafts, "Publishing
// Namespaces")
#[test]
fn a_second_answer_to_a_publish_or_a_namespace_closes() {
    for (draft, role) in cases() {
        for kind in [RequestKind::Publish, RequestKind::PublishNamespace] {
            for accepts in [true, false] {
                let mut end = session(draft, role);
                let mut bystander = Bystander::new(&mut end);
                let (id, on) = asking(&mut end, kind);
                end.say(on, &say::ok(id, kind));
                assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "{draft:?}");
                bystander.assert_well(&mut end);
                let error = say::error(id, kind, RequestErrorCode::Unauthorized);
                end.say(on, &if accepts { say::ok(id, kind) } else { error });
                assert_closed(&end, PROTOCOL_VIOLATION, &format!("a second answer to {kind:?}"));
            }
        }
    }
}

// "Track Properties are populated in TRACK_STATUS_OK; they are empty in PUBLISH_OK,
// REQUEST_UPDATE_OK, SUBSCRIBE_NAMESPACE_OK and PUBLISH_NAMESPACE_OK. If an endpoint receives Track
// Properties in one of these messages it MUST close the session with a PROTOCOL_VIOLATION."
// (draft-18, "REQUEST_OK")
#[test]
fn track_properties_in_an_answer_that_has_none_close() {
    for role in ROLES {
        for kind in [
            RequestKind::Publish,
            RequestKind::PublishNamespace,
            RequestKind::SubscribeNamespace,
            RequestKind::SubscribeTracks,
        ] {
            let mut end = session(Draft::D18, role);
            let (_, on) = asking(&mut end, kind);
            // TRACK_STATUS_OK is the one that a writer lets have them.
            let ok = Message::RequestOk(RequestOk {
                answers: Some(RequestKind::TrackStatus),
                track_properties: TrackProperties::new().with_int(0x0E, 5),
                ..RequestOk::default()
            });
            end.say(on, &ok);
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("properties for {kind:?}"));
        }
    }
}

// PUBLISH_OK: "Request ID: The Request ID of the PUBLISH this message is replying to"; likewise
// PUBLISH_NAMESPACE_OK (draft-14; the first in 16, too). Draft 18 has one message for all.
#[test]
fn an_ok_of_another_kind_than_the_request_closes() {
    use RequestKind::{Publish, PublishNamespace};
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        for (asked, answered) in [(PublishNamespace, Publish), (Publish, PublishNamespace)] {
            if draft == Draft::D16 && answered == PublishNamespace {
                // That would be REQUEST_OK, which does not say what it answers.
                continue;
            }
            let mut end = session(draft, role);
            let (id, on) = asking(&mut end, asked);
            end.say(on, &say::ok(id, answered));
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("{answered:?}'s OK to {asked:?}"));
        }
    }
}

// "Each Message Parameter definition indicates the message types in which it can appear. If it
// appears in some other type of message, the receiving endpoint MUST close the connection with a
// `PROTOCOL_VIOLATION`." (draft-18, "Parameter Scope") "If it appears in some other type of message,
// it MUST be ignored." (draft-16, "Message Parameters") REQUEST_OK accepts requests of several kinds:
// only the request tells what it may carry.
#[test]
fn a_parameter_of_the_answer_to_another_request_is_not_for_this_one() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let (id, on) = asking(&mut end, RequestKind::PublishNamespace);
        let mut of_track_status = Parameters::default();
        of_track_status.largest_object = Some(Location::new(1, 2));
        end.say(on, &say::ok_with(id, RequestKind::TrackStatus, of_track_status));
        if draft < Draft::D18 {
            let events = end.take_events();
            assert!(
                matches!(&events[..], [Event::Accepted { answer, .. }]
                    if answer.parameters == Parameters::default()),
                "{draft:?} {role:?}: {events:?}"
            );
            bystander.assert_well(&mut end);
            continue;
        }
        assert_closed(&end, PROTOCOL_VIOLATION, "LARGEST_OBJECT of a namespace");

        let mut end = session(draft, role);
        let (request, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 5));
        let id = end.next_own_id();
        let plain = Parameters::default();
        end.with(|engine, now| engine.update(now, request, &plain)).unwrap();
        let mut of_publish = Parameters::default();
        of_publish.forward = Some(false);
        end.say(on, &say::ok_with(id, RequestKind::Publish, of_publish));
        assert_closed(&end, PROTOCOL_VIOLATION, "FORWARD in the answer to an update");
    }
}

// "If a publisher receives a SUBSCRIBE request for a Track with an existing subscription in `Pending
// (publisher)` state, it MUST fail that request with a DUPLICATE_SUBSCRIPTION error." (draft-16,
// -18, "Subscriptions")
#[test]
fn a_subscribe_that_meets_a_publish_on_its_way_is_refused() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let (id, publish) = asking(&mut end, RequestKind::Publish);
        end.said(publish);
        end.said(end.control);
        let theirs = end.fresh_id();
        let on = end.request(&say::subscribe(theirs, "t"));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error)]
                if error.code == RequestErrorCode::DuplicateSubscription),
            "{draft:?} {role:?}: {said:?}"
        );
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}");
        end.say(publish, &say::ok(id, RequestKind::Publish));
        assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "it is not disturbed");
        bystander.assert_well(&mut end);
    }
}
