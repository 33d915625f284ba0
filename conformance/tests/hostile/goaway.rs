//! GOAWAY, of the session and of single requests, from either side.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Output};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    Goaway, Message, Parameters, RequestErrorCode, RequestKind, StreamResetCode, TrackProperties,
};
use moqt_engine::{Accept, CommandError, Draft, Event, Role};

use crate::{
    Bystander, INVALID_REQUEST_ID, PROTOCOL_VIOLATION, assert_closed, requested, session,
    subscribed, subscribing,
};

const GOAWAY_TIMEOUT: u64 = 0x10;

/// GOAWAY for the session, to a connection in this role.
fn goaway(draft: Draft, to: Role, uri: &'static str, timeout: u64) -> Message {
    let first = u64::from(to == Role::Server);
    Message::Goaway(Goaway {
        new_session_uri: uri.into(),
        timeout,
        request_id: (draft >= Draft::D18).then_some(first),
    })
}

/// The URI that this end may send.
fn uri_of(role: Role) -> &'static str {
    if role == Role::Server { "moqt://b.example/x" } else { "" }
}

// "The GOAWAY message does not impact subscription state."; "Upon receiving a GOAWAY, an endpoint
// SHOULD NOT initiate new requests to the peer" (all drafts, "GOAWAY"). "New Session URI: When
// received by a client, indicates where the client can connect to continue this session."
#[test]
fn after_a_goaway_what_is_open_goes_on_and_nothing_new_begins() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let uri = uri_of(role.peer());
        end.say(end.control, &goaway(draft, role, uri, 1_500));
        let timeout = Duration::from_millis(if draft >= Draft::D18 { 1_500 } else { 0 });
        assert_eq!(
            end.take_events(),
            [Event::Goaway { new_session_uri: uri.into(), timeout, unprocessed: vec![] }],
            "{draft:?} {role:?}"
        );
        let (track, none) = (say::track("t"), Parameters::default());
        let new = end.with(|engine, now| engine.subscribe(now, &track, &none));
        assert_eq!(new, Err(CommandError::GoingAway));
        let new =
            end.with(|engine, now| engine.publish(now, &track, &none, &TrackProperties::new()));
        assert_eq!(new, Err(CommandError::GoingAway));
        let new = end.with(|engine, now| engine.publish_namespace(now, track.namespace(), &none));
        assert_eq!(new, Err(CommandError::GoingAway));
        // The sender of it may still begin some: "Sending a GOAWAY does not prevent the sender from
        // initiating new requests".
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "theirs"));
        let request = requested(&mut end);
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        bystander.assert_well(&mut end);
    }
}

// "The endpoint MUST close the session with a PROTOCOL_VIOLATION if it receives more than one
// GOAWAY on the control stream"; "If a server receives a GOAWAY with a non-zero New Session URI
// Length it MUST close the session with a PROTOCOL_VIOLATION"; "The maximum length of the New
// Session URI is 8,192 bytes" (all drafts, "GOAWAY").
#[test]
fn a_goaway_that_breaks_the_rules_closes() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        end.say(end.control, &goaway(draft, role, "", 0));
        assert_eq!(end.closed(), None);
        end.say(end.control, &goaway(draft, role, "", 0));
        assert_closed(&end, PROTOCOL_VIOLATION, "a second one");

        if role == Role::Server {
            let mut end = session(draft, role);
            end.say(end.control, &goaway(draft, role, "moqt://x", 0));
            assert_closed(&end, PROTOCOL_VIOLATION, "with a URI, to a server");
        }

        let mut end = session(draft, role);
        // A length of 8,193, in either form of integers.
        let length: &[u8] = if draft >= Draft::D18 { &[0xA0, 0x01] } else { &[0x60, 0x01] };
        end.data(end.control, [&[0x10, 0x20, 0x08][..], length].concat());
        end.data(end.control, vec![b'a'; 0x2008 - 2]);
        assert_closed(&end, PROTOCOL_VIOLATION, "a URI that is too long");
    }
}

// Draft-18, "GOAWAY": "Request ID: Present only when sent on the control stream. [...] If the parity
// of the Request ID does not match the receiver's parity, the endpoint MUST close the session with
// INVALID_REQUEST_ID."
#[test]
fn the_request_id_of_a_goaway_is_the_receivers() {
    for role in ROLES {
        let with_id = |request_id| {
            Message::Goaway(Goaway { new_session_uri: Bytes::new(), timeout: 0, request_id })
        };
        let wrong = u64::from(role == Role::Client);
        let mut end = session(Draft::D18, role);
        end.say(end.control, &with_id(Some(wrong)));
        assert_closed(&end, INVALID_REQUEST_ID, "parity");

        let mut end = session(Draft::D18, role);
        end.say(end.control, &with_id(None));
        assert_closed(&end, PROTOCOL_VIOLATION, "none on the control stream");

        let mut end = session(Draft::D18, role);
        let (_, on) = subscribed(&mut end, "t", 5);
        end.say(on, &with_id(Some(1 - wrong)));
        assert_closed(&end, PROTOCOL_VIOLATION, "one on a request stream");
    }
}

// Draft-18, "GOAWAY": "Requests with a Request ID equal to or greater than the indicated value
// [...] MUST be rejected with REQUEST_ERROR using error code GOING_AWAY. Requests with a Request ID
// less than the indicated value were or might have been processed".
#[test]
fn a_goaway_tells_which_requests_were_not_processed() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let (_, on) = subscribed(&mut end, "accepted", 5);
        let (_, _, _) = subscribing(&mut end, "pending");
        let (first, id, _) = subscribing(&mut end, "late");
        let (second, ..) = subscribing(&mut end, "later");
        let message = Message::Goaway(Goaway {
            new_session_uri: Bytes::new(),
            timeout: 0,
            request_id: Some(id),
        });
        end.say(end.control, &message);
        let told = end.take_events();
        assert!(
            matches!(&told[..], [Event::Goaway { unprocessed, .. }] if unprocessed[..] == [first, second]),
            "{role:?}: {told:?}"
        );
        let on_first = end.own_request();
        let error = say::error(id, RequestKind::Subscribe, RequestErrorCode::GoingAway);
        end.say(on_first, &error);
        assert!(matches!(&end.take_events()[..], [Event::Rejected { error, .. }]
                if error.code == RequestErrorCode::GoingAway));
        assert_ne!(on, on_first);
    }
}

// Draft-18, "GOAWAY": "The smallest peer Request ID that was not or might not have been processed
// prior to sending the GOAWAY. If no requests have been processed, this is 0 (at a server) or 1 (at
// a client)."; "any requests that arrive after the GOAWAY, MUST be rejected with REQUEST_ERROR using
// error code GOING_AWAY". A client "MUST send a zero-length New Session URI".
#[test]
fn a_goaway_is_sent_once_and_refuses_what_comes_later() {
    for (draft, role) in cases() {
        for served in [0, 2] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            for n in 0..served {
                let id = end.fresh_id();
                end.request(&say::subscribe(id, &format!("t{n}")));
            }
            end.said(end.control);
            let uri = uri_of(role);
            if role == Role::Client {
                let wrong =
                    end.with(|engine, now| engine.goaway(now, "moqt://x".into(), Duration::ZERO));
                assert!(matches!(wrong, Err(CommandError::WrongState(_))), "{wrong:?}");
            }
            let send = |end: &mut End| {
                end.with(|engine, now| engine.goaway(now, uri.into(), Duration::from_secs(3)))
            };
            send(&mut end).unwrap();
            assert!(matches!(send(&mut end), Err(CommandError::WrongState(_))));
            let first = u64::from(role == Role::Client);
            let expected = match draft {
                _ if draft >= Draft::D18 => Goaway {
                    new_session_uri: uri.into(),
                    timeout: 3_000,
                    request_id: Some(first + 2 * served),
                },
                _ => Goaway { new_session_uri: uri.into(), ..Goaway::default() },
            };
            assert_eq!(end.said(end.control), [Message::Goaway(expected)], "{draft:?} {role:?}");
            bystander.assert_well(&mut end);
            end.take_events();
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, "late"));
            if draft >= Draft::D18 {
                assert!(
                    matches!(&end.said(on)[..], [Message::RequestError(error)]
                        if error.code == RequestErrorCode::GoingAway),
                    "{role:?}"
                );
            } else {
                // "a publisher MAY reject new requests": that is for the application to say.
                requested(&mut end);
            }
        }
    }
}

// Draft-18, "Migration": "The sender closes the session with a GOAWAY_TIMEOUT if the peer doesn't
// close the session within the indicated Timeout."; earlier drafts: "if the client doesn't close
// the session quickly enough".
#[test]
fn a_peer_that_does_not_leave_is_closed() {
    for (draft, role) in cases() {
        for timeout in [0, 3_000] {
            let mut end = session(draft, role);
            subscribed(&mut end, "t", 5);
            let timeout = Duration::from_millis(timeout);
            end.with(|engine, now| engine.goaway(now, Bytes::new(), timeout)).unwrap();
            end.wait(Duration::from_millis(2_999));
            assert_eq!(end.closed(), None);
            end.wait(Duration::from_millis(1));
            if timeout.is_zero() {
                assert_eq!((end.closed(), end.engine.poll_timeout()), (None, None));
            } else {
                assert_closed(&end, GOAWAY_TIMEOUT, "the time has passed");
            }
        }
    }
}

// Draft-18, "GOAWAY": "A GOAWAY MAY also be sent on a request stream to initiate migration of that
// individual request."; "MUST close [...] if it receives more than one GOAWAY [...] on a single
// request stream".
#[test]
fn a_goaway_for_one_request_moves_only_that_one() {
    for role in ROLES {
        for theirs in [false, true] {
            let mut end = session(Draft::D18, role);
            let mut bystander = Bystander::new(&mut end);
            let (request, on) = if theirs {
                let id = end.fresh_id();
                let on = end.request(&say::subscribe(id, "t"));
                let request = requested(&mut end);
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
                (request, on)
            } else {
                subscribed(&mut end, "t", 5)
            };
            end.take_events();
            let uri = uri_of(role.peer());
            let message = |uri: &'static str| {
                let new_session_uri = uri.into();
                Message::Goaway(Goaway { new_session_uri, timeout: 40, request_id: None })
            };
            end.say(on, &message(uri));
            let timeout = Duration::from_millis(40);
            assert_eq!(
                end.take_events(),
                [Event::RequestGoaway { request, new_session_uri: uri.into(), timeout }],
                "{role:?} {theirs}"
            );
            // To be made again in this session, so new requests are welcome.
            end.wait(Duration::from_secs(1));
            let (track, none) = (say::track("again"), Parameters::default());
            end.with(|engine, now| engine.subscribe(now, &track, &none)).unwrap();
            bystander.assert_well(&mut end);
            end.say(on, &message(uri));
            assert_closed(&end, PROTOCOL_VIOLATION, "a second one");
            if role == Role::Server {
                let mut end = session(Draft::D18, role);
                let (_, on) = subscribed(&mut end, "t", 5);
                end.say(on, &message("moqt://x"));
                assert_closed(&end, PROTOCOL_VIOLATION, "with a URI, to a server");
            }
        }
    }
}

// Draft-18, "GOAWAY": "When sent on a request stream, the sender SHOULD reset the stream with
// GOING_AWAY after the indicated timeout."
#[test]
fn a_request_that_is_not_moved_in_time_is_reset() {
    for (draft, role) in cases() {
        for theirs in [false, true] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let (request, on) = if theirs {
                let id = end.fresh_id();
                let on = end.request(&say::subscribe(id, "t"));
                let request = requested(&mut end);
                end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
                (request, on)
            } else {
                subscribed(&mut end, "t", 5)
            };
            end.said(on);
            let timeout = Duration::from_secs(2);
            let sent =
                end.with(|engine, now| engine.goaway_request(now, request, Bytes::new(), timeout));
            if draft < Draft::D18 {
                assert!(matches!(sent, Err(CommandError::Encode(_))), "{draft:?}: {sent:?}");
                continue;
            }
            sent.unwrap();
            let expected = Goaway { timeout: 2_000, ..Goaway::default() };
            assert_eq!(end.said(on), [Message::Goaway(expected)]);
            let again =
                end.with(|engine, now| engine.goaway_request(now, request, Bytes::new(), timeout));
            assert!(matches!(again, Err(CommandError::WrongState(_))), "{again:?}");
            end.wait(Duration::from_millis(1_999));
            assert_eq!(end.take_events(), []);
            end.wait(Duration::from_millis(1));
            // GOING_AWAY is 0x4.
            assert!(end.did(&Output::Reset(on, 4)) && end.did(&Output::Stop(on, 4)), "{role:?}");
            let code = StreamResetCode::GoingAway;
            assert_eq!(end.take_events(), [Event::Cancelled { request, code, error: None }]);
            end.reset(on, 1);
            assert_eq!(end.engine.usage(), before, "{role:?} {theirs}");
            bystander.assert_well(&mut end);

            // One that ends before sets no timer off.
            let mut end = session(draft, role);
            let (request, _) = subscribed(&mut end, "t", 5);
            end.with(|engine, now| {
                engine.goaway_request(now, request, Bytes::new(), timeout).unwrap();
                engine.cancel(now, request, StreamResetCode::Cancelled)
            })
            .unwrap();
            assert_eq!(end.engine.poll_timeout(), None);
        }
    }
}
