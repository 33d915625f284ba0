//! Published namespaces with peers that break their rules, and namespaces that are reserved.

use moqt_conformance::end::{End, Output};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    Fetch, FetchRange, FullTrackName, Location, Message, NamespaceInterest, Parameters, Publish,
    PublishNamespace, PublishNamespaceCancel, RequestErrorCode, RequestKind, StreamResetCode,
    Subscribe, SubscribeNamespace, SubscribeTracks, TrackNamespace, TrackProperties, TrackStatus,
};
use moqt_engine::{CommandError, Draft, Event};

use crate::namespace_subscriptions::{accepted, refusal};
use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

fn cancel_message(draft: Draft, id: u64, name: &str) -> Message {
    Message::PublishNamespaceCancel(PublishNamespaceCancel {
        target: say::published_namespace(draft, id, &say::namespace(name)),
        code: RequestErrorCode::ExpiredAuthToken,
        reason: "too old".into(),
    })
}

// "Error Code: Identifies an integer error code for canceling the publish. PUBLISH_NAMESPACE_CANCEL
// uses the same error codes as PUBLISH_NAMESPACE_ERROR" (draft-14, and likewise draft-16)
#[test]
fn a_cancelled_namespace_says_why() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let id = end.next_own_id();
        let namespace = say::namespace("a-b");
        let plain = Parameters::default();
        let request =
            end.with(|engine, now| engine.publish_namespace(now, &namespace, &plain)).unwrap();
        end.say(end.control, &say::ok(id, RequestKind::PublishNamespace));
        end.take_events();
        end.say(end.control, &cancel_message(draft, id, "a-b"));
        let events = end.take_events();
        assert!(
            matches!(&events[..], [Event::Cancelled { request: key, error: Some(error), .. }]
                if *key == request
                    && error.code == RequestErrorCode::ExpiredAuthToken
                    && error.reason == "too old"),
            "{draft:?}: {events:?}"
        );
        assert_eq!(end.engine.usage(), before, "{draft:?}");
        // A second one crosses with nothing, but does no harm.
        end.say(end.control, &cancel_message(draft, id, "a-b"));
        assert!(end.take_events().is_empty());
        // "After receiving an PUBLISH_NAMESPACE_CANCEL, the publisher does not send
        // PUBLISH_NAMESPACE_DONE."
        let done = end.with(|engine, now| engine.cancel(now, request, StreamResetCode::Cancelled));
        assert_eq!(done, Err(CommandError::Gone));
        bystander.assert_well(&mut end);
    }
}

#[test]
fn a_cancelled_namespace_that_is_none_closes() {
    for role in ROLES {
        let mut end = session(Draft::D16, role);
        let (_, id, _) = crate::subscribing(&mut end, "t");
        end.say(end.control, &cancel_message(Draft::D16, id, ""));
        assert_closed(&end, PROTOCOL_VIOLATION, "of a SUBSCRIBE");

        // Its own: that is for PUBLISH_NAMESPACE_DONE.
        let mut end = session(Draft::D16, role);
        let id = end.fresh_id();
        end.request(&say::publish_namespace(id, "t"));
        end.say(end.control, &cancel_message(Draft::D16, id, ""));
        assert_closed(&end, PROTOCOL_VIOLATION, "of a namespace of the sender's");

        let mut end = session(Draft::D16, role);
        end.say(end.control, &cancel_message(Draft::D16, 1000, ""));
        assert_closed(&end, PROTOCOL_VIOLATION, "of a request that never was");
    }
}

// No draft forbids to publish a namespace twice. Each is a request of its own, and with draft 14's
// PUBLISH_NAMESPACE_DONE, which names the namespace, as many are needed.
#[test]
fn a_namespace_published_twice_ends_twice() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let mut sent = Vec::new();
        for _ in 0..2 {
            let id = end.fresh_id();
            sent.push((id, end.request(&say::publish_namespace(id, "t"))));
        }
        assert_eq!(end.take_events().len(), 2);
        for (id, on) in sent {
            let target = say::published_namespace(draft, id, &say::namespace("t"));
            if draft >= Draft::D18 {
                end.reset(on, 1);
            } else {
                end.say(on, &Message::PublishNamespaceDone(target));
            }
            assert!(matches!(end.take_events()[..], [Event::Cancelled { .. }]), "{draft:?}");
        }
        assert_eq!(end.engine.usage(), before, "{draft:?}");
        bystander.assert_well(&mut end);
    }
}

// "A PUBLISH_NAMESPACE_DONE message withdraws a previous PUBLISH_NAMESPACE" (draft-14), and of two
// the older, whatever came and went besides.
#[test]
fn of_two_publications_of_a_namespace_the_older_is_withdrawn() {
    for role in ROLES {
        let mut end = session(Draft::D14, role);
        let publish = |end: &mut End, name| {
            let id = end.fresh_id();
            end.request(&say::publish_namespace(id, name));
            let events = end.take_events();
            let [Event::Request { request, .. }] = events[..] else { panic!("{events:?}") };
            request
        };
        let withdraw = |end: &mut End, name| {
            let target = say::published_namespace(Draft::D14, 0, &say::namespace(name));
            end.say(end.control, &Message::PublishNamespaceDone(target));
            let events = end.take_events();
            let [Event::Cancelled { request, .. }] = events[..] else { panic!("{events:?}") };
            request
        };
        let other = publish(&mut end, "other");
        let first = publish(&mut end, "a");
        assert_eq!(withdraw(&mut end, "other"), other);
        let second = publish(&mut end, "a");
        assert_eq!(withdraw(&mut end, "a"), first, "{role:?}");
        assert_eq!(withdraw(&mut end, "a"), second, "{role:?}");
    }
}

// "A subscriber can send PUBLISH_NAMESPACE_CANCEL to revoke acceptance of an PUBLISH_NAMESPACE"
// (draft-14, -16). Where that is said by name, it is not for a PUBLISH_NAMESPACE that has not been
// accepted, but for the one before it, whose withdrawal has crossed with this.
#[test]
fn a_cancellation_that_crossed_does_not_end_the_namespace_published_again() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let (namespace, none) = (say::namespace("a-b"), Parameters::default());
        let publish = |end: &mut End| {
            let id = end.next_own_id();
            let key = end.with(|engine, now| engine.publish_namespace(now, &namespace, &none));
            (key.unwrap(), id)
        };
        let (first, id) = publish(&mut end);
        end.say(end.control, &say::ok(id, RequestKind::PublishNamespace));
        end.with(|engine, now| engine.cancel(now, first, StreamResetCode::Cancelled)).unwrap();
        let (second, again) = publish(&mut end);
        end.take_events();
        end.say(end.control, &cancel_message(draft, id, "a-b"));
        assert_eq!(end.take_events(), [], "{draft:?}");
        end.say(end.control, &say::ok(again, RequestKind::PublishNamespace));
        let accepted = end.take_events();
        assert!(
            matches!(accepted[..], [Event::Accepted { request, .. }] if request == second),
            "{draft:?}: {accepted:?}"
        );
        end.say(end.control, &cancel_message(draft, again, "a-b"));
        let ended = end.take_events();
        assert!(
            matches!(ended[..], [Event::Cancelled { request, .. }] if request == second),
            "{draft:?}: {ended:?}"
        );
        assert_eq!(end.engine.usage(), before, "{draft:?}");
    }
}

/// A request of each kind under a namespace.
fn requests_under(id: u64, namespace: &TrackNamespace) -> Vec<Message> {
    let track = FullTrackName::new(namespace.clone(), "t").unwrap();
    let (namespace, parameters) = (namespace.clone(), Parameters::default());
    let (prefix, request_id) = (namespace.clone(), id);
    let range = FetchRange::Standalone {
        track: track.clone(),
        start: Location::ZERO,
        end: Location::new(1, 0),
    };
    vec![
        Message::Subscribe(Subscribe {
            request_id,
            track: track.clone(),
            parameters: parameters.clone(),
        }),
        Message::Publish(Publish {
            request_id,
            track: track.clone(),
            track_alias: 9,
            parameters: parameters.clone(),
            track_properties: TrackProperties::new(),
        }),
        Message::Fetch(Fetch { request_id, range, parameters: parameters.clone() }),
        Message::TrackStatus(TrackStatus { request_id, track, parameters: parameters.clone() }),
        Message::PublishNamespace(PublishNamespace {
            request_id,
            namespace,
            parameters: parameters.clone(),
        }),
        Message::SubscribeNamespace(SubscribeNamespace {
            request_id,
            prefix: prefix.clone(),
            interest: NamespaceInterest::Namespaces,
            parameters: parameters.clone(),
        }),
        Message::SubscribeTracks(SubscribeTracks { request_id, prefix, parameters }),
    ]
}

// "A Track Namespace whose first field is exactly `.` is reserved and MUST NOT be used for any
// purpose; endpoints [...] MUST reject requests referencing it with DOES_NOT_EXIST." "An endpoint
// that receives a request for an unrecognized session-level track or namespace MUST reject it with
// REQUEST_ERROR using error code DOES_NOT_EXIST rather than passing it to the Application."
// (draft-18, "Reserved Namespaces", "Session-Level Tracks and Namespaces")
#[test]
fn requests_under_reserved_namespaces_are_refused() {
    for role in ROLES {
        for fields in [&["."][..], &[".", "x"], &[".session"], &[".session", "x"]] {
            let namespace = TrackNamespace::new(fields).unwrap();
            let mut end = session(Draft::D18, role);
            let mut bystander = Bystander::new(&mut end);
            for index in 0..requests_under(0, &namespace).len() {
                let id = end.fresh_id();
                let request = requests_under(id, &namespace).swap_remove(index);
                let on = end.request(&request);
                let code = refusal(&mut end, on);
                assert_eq!(code, RequestErrorCode::DoesNotExist, "{role:?} {request:?}");
                assert!(end.take_events().is_empty(), "{request:?}");
            }
            bystander.assert_well(&mut end);
        }
    }
}

// "A request with a Track Namespace whose first field is `.session` and an empty Track Name MUST be
// rejected with DOES_NOT_EXIST." (draft-18, "Session-Level Tracks and Namespaces")
#[test]
fn a_session_level_track_without_a_name_is_refused() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let namespace = TrackNamespace::new([".session"]).unwrap();
        let track = FullTrackName::new(namespace, "").unwrap();
        let request_id = end.fresh_id();
        let parameters = Parameters::default();
        let on = end.request(&Message::Subscribe(Subscribe { request_id, track, parameters }));
        assert_eq!(refusal(&mut end, on), RequestErrorCode::DoesNotExist);
        assert!(end.take_events().is_empty());
    }
}

// "Unless otherwise specified, an endpoint that receives a request for an unrecognized reserved
// namespace MUST pass it to the Application, so that future extensions can define new reserved
// namespaces without breaking older implementations." (draft-18, "Reserved Namespaces"). Other
// drafts reserve nothing.
#[test]
fn other_reserved_namespaces_are_the_applications() {
    for (draft, role) in cases() {
        for first in [".other", ".sessions", ".", ".session"] {
            if draft >= Draft::D18 && matches!(first, "." | ".session") {
                continue;
            }
            let namespace = TrackNamespace::new([first]).unwrap();
            let mut end = session(draft, role);
            let id = end.fresh_id();
            let message = requests_under(id, &namespace).swap_remove(0);
            end.request(&message);
            assert!(
                matches!(&end.events[..], [Event::Request { .. }]),
                "{draft:?} {first}: {:?}",
                end.events
            );
        }
    }
}

// "endpoints MUST NOT publish tracks or namespaces under it"; "The Application MUST NOT publish
// tracks or namespaces whose first field is `.session`." (draft-18)
#[test]
fn nothing_is_published_under_reserved_namespaces() {
    for (draft, role) in cases() {
        for first in [".", ".session"] {
            let reserved = draft >= Draft::D18;
            let namespace = TrackNamespace::new([first]).unwrap();
            let track = FullTrackName::new(namespace.clone(), "t").unwrap();
            let mut end = session(draft, role);
            let (plain, properties) = (Parameters::default(), TrackProperties::new());
            let before = end.engine.usage();
            let results = [
                end.with(|engine, now| engine.publish(now, &track, &plain, &properties)).is_ok(),
                end.with(|engine, now| engine.publish_namespace(now, &namespace, &plain)).is_ok(),
            ];
            assert_eq!(results, [!reserved; 2], "{draft:?} {first}");
            if reserved {
                assert_eq!(end.engine.usage(), before, "nothing is left of it");
                let (request, _) = accepted(&mut end, "", NamespaceInterest::Namespaces);
                let told = end.with(|engine, now| engine.namespace(now, request, &namespace));
                assert!(matches!(told, Err(CommandError::WrongState(_))), "{told:?}");
            }
            // "MUST NOT be used for any purpose" goes further than ".session" does.
            let interest = NamespaceInterest::Namespaces;
            let asked = [
                end.with(|engine, now| engine.subscribe(now, &track, &plain)).is_ok(),
                end.with(|engine, now| {
                    engine.subscribe_namespace(now, &namespace, interest, &plain)
                })
                .is_ok(),
            ];
            assert_eq!(asked, [!reserved || first != "."; 2], "{draft:?} {first}");
        }
    }
}

// A namespace that is not accepted any more is cancelled with what of the reason a reset code can say
// (draft-18, "Stream Reset Error Codes").
#[test]
fn a_revoked_namespace_is_reset_with_the_reason() {
    let codes = [
        (RequestErrorCode::InternalError, 0x0),
        (RequestErrorCode::DoesNotExist, 0x1),
        (RequestErrorCode::GoingAway, 0x4),
        (RequestErrorCode::ExpiredAuthToken, 0x7),
        (RequestErrorCode::ExcessiveLoad, 0x9),
    ];
    for role in ROLES {
        for (code, reset) in codes {
            let mut end = session(Draft::D18, role);
            let id = end.fresh_id();
            let on = end.request(&say::publish_namespace(id, "t"));
            let request = crate::requested(&mut end);
            let accept = moqt_engine::Accept::default();
            end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
            end.with(|engine, now| engine.cancel_publish_namespace(now, request, code, ""))
                .unwrap();
            assert!(end.did(&Output::Reset(on, reset)), "{role:?} {code:?}: {:?}", end.outputs);
            assert!(end.did(&Output::Stop(on, reset)), "{role:?} {code:?}: {:?}", end.outputs);
        }
    }
}
