//! Answers that come twice, or with what they may not have.

use moqt_conformance::end::{End, Name};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    Message, NamespaceInterest, Parameters, RequestErrorCode, RequestKind, RequestOk,
    TrackProperties,
};
use moqt_engine::{Draft, Event};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

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
