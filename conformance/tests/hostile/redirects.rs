//! Redirects, retry intervals, codes nobody knows, and values that mean nothing.

use std::time::Duration;

use moqt_conformance::end::End;
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    FullTrackName, Message, Parameters, PublishDone, PublishDoneCode, Redirect, RequestError,
    RequestErrorCode, RequestKind, SessionError, StreamResetCode,
};
use moqt_engine::wire::decode_message;
use moqt_engine::{
    CloseReason, CommandError, Config, Draft, Event, Refusal, Role, Timestamp, TransportClosed,
};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, requested, session, subscribing};

fn redirect(uri: &'static str, name: &str) -> Redirect {
    let track = if name.is_empty() { FullTrackName::default() } else { say::track(name) };
    Redirect { connect_uri: uri.into(), track }
}

fn redirected(id: u64, kind: RequestKind, redirect: Redirect, retry_interval: u64) -> Message {
    Message::RequestError(RequestError {
        request_id: Some(id),
        answers: Some(kind),
        code: RequestErrorCode::Redirect,
        retry_interval,
        reason: "there".into(),
        redirect: Some(redirect),
    })
}

// Draft-18, "Redirect Structure": "A Redirect provides a way for an endpoint to direct the peer to
// retry a request at a different URI and/or for a different Full Track Name."; "If a server receives
// a Redirect with a non-zero Connect URI Length it MUST close the session with a
// PROTOCOL_VIOLATION."
#[test]
fn a_redirect_arrives_and_sends_no_server_elsewhere() {
    for role in ROLES {
        for (uri, name) in [("", "other"), ("moqt://b.example", ""), ("moqt://b.example", "other")]
        {
            let mut end = session(Draft::D18, role);
            let (request, id, on) = subscribing(&mut end, "t");
            let there = redirect(uri, name);
            end.say(on, &redirected(id, RequestKind::Subscribe, there.clone(), 251));
            if role == Role::Server && !uri.is_empty() {
                assert_closed(&end, PROTOCOL_VIOLATION, "a URI for a server");
                continue;
            }
            let events = end.take_events();
            assert!(
                matches!(&events[..], [Event::Rejected { request: key, error }]
                    if *key == request
                        && error.code == RequestErrorCode::Redirect
                        && error.redirect == Some(there)
                        && error.retry_after == Some(Duration::from_millis(250))),
                "{role:?}: {events:?}"
            );
        }
    }
}

// Draft-18, "Redirect Structure": "Track Name is not meaningful for namespace-scoped requests
// (SUBSCRIBE_NAMESPACE, PUBLISH_NAMESPACE) and MUST be empty; an endpoint that receives a non-empty
// Track Name in a Redirect for a namespace-scoped request MUST close the session with a
// PROTOCOL_VIOLATION."
#[test]
fn a_redirected_namespace_has_no_track_name() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let id = end.next_own_id();
        let (track, none) = (say::track("t"), Parameters::default());
        end.with(|engine, now| engine.publish_namespace(now, track.namespace(), &none)).unwrap();
        let on = end.own_request();
        end.say(on, &redirected(id, RequestKind::PublishNamespace, redirect("", "name"), 0));
        assert_closed(&end, PROTOCOL_VIOLATION, "a name");

        let mut end = session(Draft::D18, role);
        let id = end.fresh_id();
        end.request(&say::publish_namespace(id, "t"));
        let request = requested(&mut end);
        let refusal = Refusal {
            redirect: Some(redirect("", "name")),
            ..Refusal::new(RequestErrorCode::Redirect)
        };
        let sent = end.with(|engine, now| engine.reject(now, request, refusal));
        assert!(matches!(sent, Err(CommandError::WrongState(_))), "{sent:?}");
    }
}

// Draft-18, "REQUEST_ERROR": "Retry Interval: The minimum time (in milliseconds) before the request
// SHOULD be sent again, plus one. If the value is 0, the request SHOULD NOT be retried."; "Redirect:
// Present only when Error Code is REDIRECT." Draft 16 has no redirects, draft 14 neither.
#[test]
fn a_refusal_says_when_and_where_to_try_again() {
    for (draft, role) in cases() {
        for retry_after in [None, Some(0), Some(250)] {
            let what = format!("{draft:?} {role:?} {retry_after:?}");
            let mut end = session(draft, role);
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, "t"));
            let request = requested(&mut end);
            let there = redirect(if role == Role::Server { "moqt://b.example" } else { "" }, "u");
            let refusal = |uri: &Redirect| Refusal {
                reason: "there".into(),
                retry_after: retry_after.map(Duration::from_millis),
                redirect: Some(uri.clone()),
                ..Refusal::new(RequestErrorCode::Redirect)
            };
            if role == Role::Client {
                let wrong = refusal(&redirect("moqt://x", "u"));
                let sent = end.with(|engine, now| engine.reject(now, request, wrong));
                assert!(matches!(sent, Err(CommandError::WrongState(_))), "{sent:?}");
            }
            end.said(on);
            end.with(|engine, now| engine.reject(now, request, refusal(&there))).unwrap();
            let said = end.said(on);
            let [Message::RequestError(error)] = &said[..] else { panic!("{what}: {said:?}") };
            let interval = retry_after.map_or(0, |after| after + 1);
            assert_eq!(error.retry_interval, if draft == Draft::D14 { 0 } else { interval });
            match draft {
                _ if draft >= Draft::D18 => assert_eq!(error.redirect, Some(there), "{what}"),
                _ => assert_eq!(
                    (error.code, &error.redirect),
                    (RequestErrorCode::InternalError, &None),
                    "{what}"
                ),
            }
            assert_eq!(end.engine.usage().requests, 0);
        }
    }
}

// "Redirect: Present only when Error Code is REDIRECT" (draft-18): its reader knows nothing but the
// number, whatever the application calls it. Without a redirect it says that less.
#[test]
fn a_redirect_given_as_a_number_is_no_message_cut_short() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "t"));
        let request = requested(&mut end);
        let refusal = Refusal::new(RequestErrorCode::Other(0x34));
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        let said = end.said(on);
        let [Message::RequestError(error)] = &said[..] else { panic!("{role:?}: {said:?}") };
        assert_eq!((error.code, &error.redirect), (RequestErrorCode::InternalError, &None));
    }
}

// Draft-18, "Grease": "Receipt of an unknown error code in any error context (Session Termination,
// REQUEST_ERROR, PUBLISH_DONE, or Data Stream Reset) MUST be treated as equivalent to INTERNAL_ERROR
// for that context. An endpoint MUST NOT close the session because it received an unknown error code
// in a REQUEST_ERROR or PUBLISH_DONE."
#[test]
fn unknown_codes_are_errors_like_any_other() {
    for (draft, role) in cases() {
        for code in [0x9D, 0x11C, 0x3fff_ffff] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let (_, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::error(id, RequestKind::Subscribe, RequestErrorCode::Other(code)));
            assert!(
                matches!(&end.take_events()[..], [Event::Rejected { error, .. }]
                    if error.code == RequestErrorCode::Other(code)
                        && error.raw_code == Some(code)),
                "{draft:?} {role:?}"
            );
            let (_, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::subscribe_ok(id, 5));
            let stream =
                end.open_with(moqt_engine::Dir::Uni, say::subgroup(draft, 5, 0, &[(0, b"x")]));
            end.reset(stream, code);
            let read = end.take_reads(stream);
            assert_eq!(
                read.last(),
                Some(&moqt_conformance::end::Got::Reset(StreamResetCode::Other(code))),
                "{draft:?} {role:?}"
            );
            end.take_events();
            end.say(
                on,
                &Message::PublishDone(PublishDone {
                    request_id: Some(id),
                    code: PublishDoneCode::Other(code),
                    stream_count: 1,
                    reason: String::new(),
                }),
            );
            end.wait(Duration::from_secs(60));
            let done = |event: &Event| {
                matches!(event, Event::SubscriptionDone { code: PublishDoneCode::Other(found), .. }
                    if *found == code)
            };
            assert!(end.take_events().iter().any(done), "{draft:?} {role:?}");
            bystander.assert_well(&mut end);
            end.with(|engine, now| {
                engine.handle_closed(now, TransportClosed::ByPeer { code, reason: String::new() });
            });
            let events = end.take_events();
            let Some(Event::Closed { reason }) = events.last() else { panic!("{events:?}") };
            assert!(!reason.is_clean());
            assert!(
                matches!(reason, CloseReason::Peer { error: SessionError::Other(found), .. }
                    if *found == code),
                "{reason:?}"
            );
        }
    }
}

fn greasing(draft: Draft, role: Role, seed: u64, grease: bool) -> Vec<u8> {
    let mut config = Config::default();
    config.grease = grease;
    config.hash_seed = seed;
    let mut end = End::new(draft, role, config);
    end.set_up();
    let sent: Vec<u8> = end
        .outputs
        .iter()
        .filter_map(|output| match output {
            moqt_conformance::end::Output::Data(_, bytes) => Some(bytes.to_vec()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(end.now, Timestamp::ZERO);
    sent
}

// Draft-18, "Grease": "Setup Options with reserved identifiers have no semantics and can carry
// arbitrary values. Endpoints MUST ignore unknown Setup Options". Off by default, and only where
// values are reserved for it.
#[test]
fn setup_options_without_meaning_are_sent_and_ignored() {
    for (draft, role) in cases() {
        let plain = greasing(draft, role, 7, false);
        let mut different = std::collections::BTreeSet::new();
        for seed in 0..16 {
            let greased = greasing(draft, role, seed, true);
            assert_eq!(greased, greasing(draft, role, seed, true), "the same for a seed");
            if draft < Draft::D18 {
                assert_eq!(greased, plain, "{draft:?}");
                continue;
            }
            assert!(greased.len() > plain.len(), "{role:?}");
            // Type, length, body.
            let read = decode_message(
                draft.dialect(),
                moqt_engine::model::MessageKind::Setup,
                &greased[4..],
            );
            let meant = decode_message(
                draft.dialect(),
                moqt_engine::model::MessageKind::Setup,
                &plain[4..],
            );
            assert_eq!(read, meant, "it means nothing");
            different.insert(greased);
        }
        if draft >= Draft::D18 {
            assert!(different.len() > 8, "seeds give different ones");
        }
    }
}

// "This error code can appear in response to SUBSCRIBE, FETCH, TRACK_STATUS, PUBLISH_NAMESPACE and
// SUBSCRIBE_NAMESPACE." (draft-18, "REQUEST_ERROR Message Format") And "Redirect: Present only when
// Error Code is REDIRECT", so that one without is none.
#[test]
fn what_cannot_be_redirected_is_not() {
    for role in ROLES {
        let tracks = moqt_engine::model::NamespaceInterest::Tracks;
        let mut end = session(Draft::D18, role);
        let (publish, ask, plain) = (end.fresh_id(), end.fresh_id(), end.fresh_id());
        let requests = [
            (say::publish(publish, "t", 5), false),
            (say::subscribe_namespace(Draft::D18, ask, "a", tracks), false),
            (say::subscribe(plain, "t"), true),
        ];
        for (message, may_be) in requests {
            let on = end.request(&message);
            let request = requested(&mut end);
            end.said(on);
            let there = Refusal {
                redirect: Some(redirect("", "u")),
                ..Refusal::new(RequestErrorCode::Redirect)
            };
            if !may_be {
                let sent = end.with(|engine, now| engine.reject(now, request, there));
                assert!(matches!(sent, Err(CommandError::WrongState(_))), "{role:?}: {sent:?}");
            }
            let nowhere = Refusal::new(RequestErrorCode::Redirect);
            end.with(|engine, now| engine.reject(now, request, nowhere)).unwrap();
            let said = end.said(on);
            assert!(
                matches!(&said[..], [Message::RequestError(error)]
                    if error.code == RequestErrorCode::DoesNotExist && error.redirect.is_none()),
                "{role:?}: {said:?}"
            );
        }
    }
}
