//! Control messages that are malformed, unknown, misplaced or out of turn.

use bytes::Bytes;
use moqt_conformance::end::{End, Output};
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{
    FetchCancel, Goaway, Location, MaxRequestId, Message, NamespaceInterest, Parameters,
    PublishNamespaceCancel, PublishNamespaceDone, RequestErrorCode, RequestKind, RequestsBlocked,
    Setup,
};
use moqt_engine::{CommandError, Dir, Draft, Event, Role};

use crate::{
    Bystander, INVALID_REQUEST_ID, PROTOCOL_VIOLATION, TOO_MANY_REQUESTS, assert_closed, session,
    subscribed, subscribing, wait_long,
};

fn goaway(uri: &'static str, request_id: u64) -> Message {
    Message::Goaway(Goaway {
        new_session_uri: Bytes::from_static(uri.as_bytes()),
        timeout: 0,
        request_id: Some(request_id),
    })
}

/// The Request ID that this end would use first.
fn first_id(role: Role) -> u64 {
    u64::from(role == Role::Server)
}

// "An endpoint that receives an unknown message type MUST close the session." (all drafts,
// "Control Messages")
#[test]
fn an_unknown_message_type_closes() {
    for (draft, role) in cases() {
        for code in [0x00, 0x3F] {
            let mut end = session(draft, role);
            end.data(end.control, vec![code, 0, 0]);
            assert_closed(&end, PROTOCOL_VIOLATION, "on the control stream");
            let mut end = session(draft, role);
            end.open_with(Dir::Bi, vec![code]);
            assert_closed(&end, PROTOCOL_VIOLATION, "on a new stream, seen by its type alone");
        }
    }
}

// "If the length does not match the length of the Message Payload, the receiver MUST close the
// session with PROTOCOL_VIOLATION." (all drafts, "Control Messages")
#[test]
fn a_length_that_does_not_fit_closes() {
    for (draft, role) in cases() {
        let id = first_id(role.peer());
        let messages =
            [say::subscribe(id, "t"), say::publish_namespace(id, "t"), say::publish(id, "t", 1)];
        for message in messages {
            let whole = say::message(draft, &message);
            let [high, low] = [whole[1], whole[2]];
            let len = u16::from_be_bytes([high, low]);
            // What follows PUBLISH's parameters in drafts 16 and 18 are properties.
            let may_be_longer =
                matches!(message, Message::Publish(_)) && draft.dialect().track_properties;
            for (new_len, may_be_fine) in [(len - 1, false), (len + 1, may_be_longer), (0, false)] {
                if may_be_fine {
                    continue;
                }
                let mut bytes = whole.clone();
                bytes[1..3].copy_from_slice(&new_len.to_be_bytes());
                bytes.push(0);
                let mut end = session(draft, role);
                if draft >= Draft::D18 {
                    end.open_with(Dir::Bi, bytes);
                } else {
                    end.data(end.control, bytes);
                }
                let what = format!("{message:?} as {new_len} bytes of {len}");
                assert_closed(&end, PROTOCOL_VIOLATION, &what);
            }
        }
    }
}

// Draft-14, -16 "Request ID": parity and sequence; draft-18: parity and duplicates only. All
// with INVALID_REQUEST_ID.
#[test]
fn request_ids_follow_the_drafts_rule() {
    for (draft, role) in cases() {
        let first = first_id(role.peer());
        let run = |ids: &[u64]| {
            let mut end = session(draft, role);
            for (n, id) in ids.iter().enumerate() {
                end.request(&say::subscribe(*id, &format!("t{n}")));
            }
            end
        };
        assert_closed(&run(&[first + 1]), INVALID_REQUEST_ID, "the receiver's parity");
        assert_closed(&run(&[first, first]), INVALID_REQUEST_ID, "used twice");
        assert_closed(&run(&[first, first + 2, first]), INVALID_REQUEST_ID, "an old one");
        let in_order = run(&[first, first + 2, first + 4]);
        assert_eq!(in_order.closed(), None, "{draft:?} {role:?}");
        let gap = run(&[first + 2, first]);
        match draft {
            Draft::D14 => assert_closed(&gap, INVALID_REQUEST_ID, "not the next"),
            // In draft 16 a SUBSCRIBE_NAMESPACE on a stream of its own may be overtaken.
            _ => assert_eq!(gap.closed(), None, "{draft:?} {role:?}"),
        }
    }
}

// "If a Request ID equal to or larger than this is received by the endpoint that sent the
// MAX_REQUEST_ID, the endpoint MUST close the session with an error of TOO_MANY_REQUESTS."
// (drafts 14 and 16, "MAX_REQUEST_ID")
#[test]
fn a_request_beyond_the_maximum_closes() {
    for role in ROLES {
        for draft in [Draft::D14, Draft::D16] {
            let mut config = moqt_engine::Config::default();
            config.limits.open_requests = 2;
            let mut end = End::established(draft, role, config);
            for n in 0..2 {
                let id = end.fresh_id();
                end.request(&say::subscribe(id, &format!("t{n}")));
            }
            assert_eq!(end.closed(), None);
            let id = end.fresh_id();
            end.request(&say::subscribe(id, "more"));
            assert_closed(&end, TOO_MANY_REQUESTS, "one more");
        }
    }
}

// "receipt of a MAX_REQUEST_ID message with an equal or smaller Request ID value is a
// PROTOCOL_VIOLATION" (drafts 14 and 16, "MAX_REQUEST_ID")
#[test]
fn max_request_id_only_grows() {
    for role in ROLES {
        for draft in [Draft::D14, Draft::D16] {
            for (max, code) in
                [(10_001, None), (10_000, Some(PROTOCOL_VIOLATION)), (0, Some(PROTOCOL_VIOLATION))]
            {
                let mut end = session(draft, role);
                let max = Message::MaxRequestId(MaxRequestId { max_request_id: max });
                end.say(end.control, &max);
                assert_eq!(end.closed(), code, "{draft:?} {role:?} {max:?}");
            }
        }
    }
}

// "GOAWAY" of all drafts: once, with a URI from servers only; in draft 18 a Request ID of the
// receiver's parity.
#[test]
fn goaway_comes_once_and_with_a_uri_from_servers_only() {
    for (draft, role) in cases() {
        let own = first_id(role);
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        end.say(end.control, &goaway("", own));
        bystander.assert_well(&mut end);
        let refused = end
            .with(|engine, now| engine.subscribe(now, &say::track("new"), &Parameters::default()));
        assert_eq!(refused, Err(CommandError::GoingAway));
        end.say(end.control, &goaway("", own));
        assert_closed(&end, PROTOCOL_VIOLATION, "a second GOAWAY");

        let mut end = session(draft, role);
        end.say(end.control, &goaway("moqt://elsewhere/", own));
        match role {
            Role::Server => assert_closed(&end, PROTOCOL_VIOLATION, "a URI for a server"),
            Role::Client => assert!(
                matches!(&end.events[..], [Event::Goaway { new_session_uri, .. }]
                    if new_session_uri == "moqt://elsewhere/"),
                "{:?}",
                end.events
            ),
        }
        if draft >= Draft::D18 {
            let mut end = session(draft, role);
            end.say(end.control, &goaway("", own + 1));
            assert_closed(&end, INVALID_REQUEST_ID, "parity of its Request ID");
        }
    }
}

// Draft-18, "GOAWAY": "any requests that arrive after the GOAWAY, MUST be rejected with
// REQUEST_ERROR using error code GOING_AWAY"; the established ones are not affected.
#[test]
fn requests_after_our_goaway_are_refused() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let mut bystander = Bystander::new(&mut end);
        end.with(|engine, now| engine.goaway(now, Bytes::new(), std::time::Duration::ZERO))
            .unwrap();
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "t"));
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestError(error)]
                if error.code == RequestErrorCode::GoingAway),
            "{said:?}"
        );
        assert!(end.did(&Output::Fin(on)));
        bystander.assert_well(&mut end);
    }
}

// Draft-18, "GOAWAY": "more than one GOAWAY on the control stream or on a single request
// stream" is a PROTOCOL_VIOLATION; on a request stream it has no Request ID.
#[test]
fn goaway_on_a_request_stream_is_about_that_request() {
    let mut end = session(Draft::D18, Role::Client);
    let mut bystander = Bystander::new(&mut end);
    let (_, on) = subscribed(&mut end, "t", 3);
    let without_id = Bytes::from_static(b"\x10\x00\x02\x00\x00");
    end.data(on, without_id.clone());
    bystander.assert_well(&mut end);
    end.data(on, without_id);
    assert_closed(&end, PROTOCOL_VIOLATION, "a second one on one stream");
}

/// Messages that name a Request ID nobody ever used, and those of a kind that does not fit.
#[test]
fn messages_about_requests_that_never_were_close() {
    for role in ROLES {
        for draft in [Draft::D14, Draft::D16] {
            let (own, peers) = (first_id(role), first_id(role.peer()));
            let messages = [
                say::subscribe_ok(own, 1),
                say::ok(own, RequestKind::PublishNamespace),
                say::error(own, RequestKind::Subscribe, RequestErrorCode::DoesNotExist),
                say::done(own, 0),
                say::unsubscribe(peers),
            ];
            for message in messages {
                let mut end = session(draft, role);
                end.say(end.control, &message);
                // "not valid for the peer" is INVALID_REQUEST_ID; that a peer speaks of what
                // never was is a violation of the protocol at large.
                let code = end.closed();
                assert!(
                    matches!(code, Some(PROTOCOL_VIOLATION | INVALID_REQUEST_ID)),
                    "{draft:?} {role:?} {message:?}: {code:?}"
                );
            }
            // "SUBSCRIBE_UPDATE", "REQUEST_UPDATE": PROTOCOL_VIOLATION for an ID that has not
            // existed.
            let mut end = session(draft, role);
            let update = say::update(peers, peers + 2, all_fields());
            end.say(end.control, &update);
            assert_closed(&end, PROTOCOL_VIOLATION, "an update of nothing");
        }
    }
}

/// What an update must state in draft 14.
fn all_fields() -> Parameters {
    use moqt_engine::model::{Location, SubscriptionFilter};
    let mut parameters = Parameters::default();
    let start = Location::ZERO;
    parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
    parameters.subscriber_priority = Some(1);
    parameters.forward = Some(true);
    parameters
}

// "UNSUBSCRIBE": "The Request ID of the subscription that is being terminated"; it is the
// subscriber's message. The same for FETCH_CANCEL (drafts 14 and 16).
#[test]
fn what_cancels_must_fit_the_request() {
    for role in ROLES {
        for draft in [Draft::D14, Draft::D16] {
            let mut end = session(draft, role);
            let (_, id, _) = subscribing(&mut end, "ours");
            end.say(end.control, &say::unsubscribe(id));
            assert_closed(&end, PROTOCOL_VIOLATION, "UNSUBSCRIBE from the publisher");

            let mut end = session(draft, role);
            let id = end.fresh_id();
            end.request(&say::subscribe(id, "theirs"));
            end.say(end.control, &Message::FetchCancel(FetchCancel { request_id: id }));
            assert_closed(&end, PROTOCOL_VIOLATION, "FETCH_CANCEL of a SUBSCRIBE");

            let mut end = session(draft, role);
            let id = end.fresh_id();
            end.request(&say::publish_namespace(id, "theirs"));
            end.say(end.control, &say::unsubscribe(id));
            assert_closed(&end, PROTOCOL_VIOLATION, "UNSUBSCRIBE of a PUBLISH_NAMESPACE");
        }
    }
}

// Draft-18: "control" messages have their streams: requests begin bidirectional streams, what
// follows is on the same stream ("Session Initialization", "Request ID").
#[test]
fn draft_18_messages_have_their_streams() {
    let d18 = Draft::D18;
    for role in ROLES {
        let peers = first_id(role.peer());
        for message in [
            say::subscribe(peers, "t"),
            say::subscribe_ok(0, 1),
            say::done(0, 0),
            say::ok(0, RequestKind::Publish),
            say::update(peers, 0, Parameters::default()),
        ] {
            let mut end = session(d18, role);
            end.say(end.control, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("{message:?} on control"));
        }
        for message in [
            say::subscribe_ok(0, 1),
            say::done(0, 0),
            say::ok(0, RequestKind::Publish),
            say::update(peers, 0, Parameters::default()),
        ] {
            let mut end = session(d18, role);
            end.open_with(Dir::Bi, say::message(d18, &message));
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("{message:?} first"));
        }
        // By the one that asked, on its own stream.
        for message in [
            say::subscribe(peers + 2, "u"),
            say::subscribe_ok(0, 1),
            say::done(0, 0),
            say::ok(0, RequestKind::Publish),
        ] {
            let mut end = session(d18, role);
            let on = end.request(&say::subscribe(peers, "t"));
            end.say(on, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("{message:?} from the subscriber"));
        }
        // By the one that was asked.
        for message in [
            say::subscribe(peers, "u"),
            say::ok(0, RequestKind::Publish),
            say::done(0, 0),
            say::update(peers, 0, Parameters::default()),
        ] {
            let mut end = session(d18, role);
            let (_, _, on) = subscribing(&mut end, "t");
            end.say(on, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("{message:?} from the publisher"));
        }
    }
}

// Who reads a log must see what came where.
#[test]
fn a_message_on_the_wrong_stream_is_named() {
    for (draft, role) in cases() {
        for (name, message) in messages(draft) {
            // The control stream has all messages of draft 14, and most of draft 16.
            let belongs = if draft >= Draft::D18 {
                &["SETUP", "GOAWAY"][..]
            } else if matches!(name, "NAMESPACE" | "NAMESPACE_DONE") {
                &[]
            } else {
                continue;
            };
            if !belongs.contains(&name) {
                let mut end = session(draft, role);
                end.say(end.control, &message);
                assert_named(&end, &format!("{name} on the control stream"));
            }
        }
        for (name, message) in messages(draft) {
            let mut end = session(draft, role);
            let (on, place, belongs) = if draft >= Draft::D18 {
                let belongs = ["REQUEST_OK", "REQUEST_ERROR", "SUBSCRIBE_OK", "FETCH_OK"];
                let (_, _, on) = subscribing(&mut end, "t");
                (on, "this request", [&belongs[..], &["PUBLISH_DONE", "GOAWAY"]].concat())
            } else if say::namespaces_have_streams(draft) {
                let (prefix, interest) = (say::namespace("a"), NamespaceInterest::Namespaces);
                let none = Parameters::default();
                end.with(|engine, now| engine.subscribe_namespace(now, &prefix, interest, &none))
                    .unwrap();
                let belongs = ["REQUEST_OK", "REQUEST_ERROR", "NAMESPACE", "NAMESPACE_DONE"];
                (end.own_namespace_request(), "a namespace subscription", belongs.to_vec())
            } else {
                continue;
            };
            if !belongs.contains(&name) {
                end.say(on, &message);
                assert_named(&end, &format!("{name} on {place}"));
            }
        }
    }
}

#[track_caller]
fn assert_named(end: &End, what: &str) {
    assert_closed(end, PROTOCOL_VIOLATION, what);
    let Some(Event::Closed { reason }) = end.events.last() else { panic!("{:?}", end.events) };
    assert!(reason.to_string().contains(what), "{reason}: not {what}");
}

/// One of each message that a draft has.
fn messages(draft: Draft) -> Vec<(&'static str, Message)> {
    let target = PublishNamespaceDone::RequestId(0);
    let cancel = PublishNamespaceCancel {
        target: target.clone(),
        code: RequestErrorCode::InternalError,
        reason: String::new(),
    };
    let (namespaces, code) = (RequestKind::PublishNamespace, RequestErrorCode::InternalError);
    let mut list = vec![
        ("SETUP", Message::Setup(Setup::default())),
        ("GOAWAY", goaway("", 0)),
        ("MAX_REQUEST_ID", Message::MaxRequestId(MaxRequestId { max_request_id: 9 })),
        ("REQUESTS_BLOCKED", Message::RequestsBlocked(RequestsBlocked { max_request_id: 9 })),
        ("REQUEST_OK", say::ok(0, namespaces)),
        ("REQUEST_ERROR", say::error(0, namespaces, code)),
        ("SUBSCRIBE", say::subscribe(0, "t")),
        ("SUBSCRIBE_OK", say::subscribe_ok(0, 1)),
        ("REQUEST_UPDATE", say::update(2, 0, Parameters::default())),
        ("UNSUBSCRIBE", say::unsubscribe(0)),
        ("PUBLISH", say::publish(0, "t", 1)),
        ("PUBLISH_DONE", say::done(0, 0)),
        ("FETCH", say::fetch(0, "t", Location::ZERO, Location::new(1, 0))),
        ("FETCH_OK", say::fetch_ok(0, Location::ZERO)),
        ("FETCH_CANCEL", Message::FetchCancel(FetchCancel { request_id: 0 })),
        ("TRACK_STATUS", say::track_status(0, "t")),
        ("PUBLISH_NAMESPACE", say::publish_namespace(0, "a")),
        ("PUBLISH_NAMESPACE_DONE", Message::PublishNamespaceDone(target)),
        ("PUBLISH_NAMESPACE_CANCEL", Message::PublishNamespaceCancel(cancel)),
        (
            "SUBSCRIBE_NAMESPACE",
            say::subscribe_namespace(draft, 0, "a", NamespaceInterest::Namespaces),
        ),
        ("SUBSCRIBE_TRACKS", say::subscribe_namespace(draft, 0, "a", NamespaceInterest::Tracks)),
        ("NAMESPACE", say::namespace_found("b")),
        ("NAMESPACE_DONE", say::namespace_done("b")),
        ("PUBLISH_BLOCKED", say::publish_blocked("b--t")),
    ];
    let is_there = |message: &Message| {
        moqt_engine::wire::encode_message(draft.dialect(), message, &mut Vec::new()).is_ok()
    };
    let is_as_named = |name, message: &Message| {
        (name == "SUBSCRIBE_TRACKS") == matches!(message, Message::SubscribeTracks(_))
    };
    list.retain(|(name, message)| is_there(message) && is_as_named(*name, message));
    list
}

// A message that has begun must be whole in time; later bytes do not begin the time anew.
#[test]
fn half_a_message_has_a_deadline() {
    use std::time::Duration;
    for (draft, role) in cases() {
        let id = first_id(role.peer());
        let bytes = say::message(draft, &say::subscribe(id, "t"));
        let mut end = session(draft, role);
        let on = match draft {
            _ if draft >= Draft::D18 => end.open(Dir::Bi),
            _ => end.control,
        };
        let half = bytes.len() / 2;
        end.data(on, bytes[..1].to_vec());
        end.wait(Duration::from_secs(6));
        end.data(on, bytes[1..half].to_vec());
        end.wait(Duration::from_micros(3_999_999));
        assert_eq!(end.closed(), None);
        end.wait(Duration::from_micros(1));
        assert_closed(&end, crate::CONTROL_MESSAGE_TIMEOUT, "half a SUBSCRIBE");

        let mut end = session(draft, role);
        let on = match draft {
            _ if draft >= Draft::D18 => end.open(Dir::Bi),
            _ => end.control,
        };
        end.data(on, bytes[..half].to_vec());
        end.wait(Duration::from_secs(9));
        end.data(on, bytes[half..].to_vec());
        wait_long(&mut end);
        assert_eq!(end.closed(), None, "{draft:?} {role:?}: whole in time");
    }
}

#[test]
fn unidirectional_streams_of_requests_close() {
    for draft in DRAFTS {
        let mut end = session(draft, Role::Server);
        end.open_with(Dir::Uni, say::message(draft, &say::subscribe(0, "t")));
        assert_closed(&end, PROTOCOL_VIOLATION, "SUBSCRIBE on a unidirectional stream");
        let mut end = session(draft, Role::Server);
        end.open_with(Dir::Bi, say::subgroup(draft, 1, 0, &[]));
        // 0x10, which is GOAWAY as a message.
        assert_closed(&end, PROTOCOL_VIOLATION, "a subgroup on a bidirectional stream");
    }
}
