//! Updates that are refused: what is answered, and who hears of it.

use std::time::Duration;

use moqt_conformance::end::{End, Fetched, Output};
use moqt_conformance::{ROLES, cases, drafts_from, say};
use moqt_engine::model::{
    JoiningStart, Location, LocationRange, Message, NamespaceInterest, Parameters, RequestError,
    RequestErrorCode, RequestKind, StreamResetCode, TrackNamespace,
};
use moqt_engine::{Accept, Config, Dir, Draft, Event, FetchTarget, Role};

use crate::namespace_subscriptions::accepted;
use crate::updates::{answered_cases, from_peer, serving, with_priority};
use crate::{
    Bystander, INVALID_REQUEST_ID, PROTOCOL_VIOLATION, assert_closed, requested, session,
    subscribed,
};

fn refusal(id: u64, code: RequestErrorCode) -> Message {
    say::error(id, RequestKind::Update, code)
}

/// The codes of the refusals that were said.
fn codes(said: &[Message]) -> Vec<(Option<u64>, RequestErrorCode)> {
    let code = |message: &Message| match message {
        Message::RequestError(error) => (error.request_id, error.code),
        other => panic!("{other:?}"),
    };
    said.iter().map(code).collect()
}

// "REQUEST_UPDATE, and TRACK_STATUS message consumes a Request ID." "If an endpoint receives a Request
// ID where the least significant bit is incorrect for the sender, or a duplicate Request ID, it MUST
// close the session with INVALID_REQUEST_ID." (draft-18, "Request ID"; 14 and 16 likewise)
#[test]
fn an_update_with_a_wrong_request_id_closes() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let (_, id, on) = serving(&mut end, Parameters::default(), Accept::default());
        let wrong = u64::from(role == Role::Server) + 100;
        end.say(on, &say::update(wrong, id, from_peer(draft, Parameters::default())));
        assert_closed(&end, INVALID_REQUEST_ID, "an update with an ID of the connection's own");
    }
}

// "A publisher MUST terminate the session with a PROTOCOL_VIOLATION if the SUBSCRIBE_UPDATE violates
// these rules"; "Like SUBSCRIBE, End Group MUST be greater than or equal to the Group specified in
// Start." (draft-14, "SUBSCRIBE_UPDATE")
#[test]
fn a_draft_14_update_to_a_range_that_ends_before_it_begins_closes() {
    for role in ROLES {
        let mut end = session(Draft::D14, role);
        let (_, id, on) = serving(&mut end, Parameters::default(), Accept::default());
        let update = end.fresh_id();
        // SUBSCRIBE_UPDATE: from {9, 0}, End Group 3 plus 1, priority 128, Forward 1, nothing else.
        let ids = [u8::try_from(update).unwrap(), u8::try_from(id).unwrap()];
        end.data(on, [&[0x02, 0, 8][..], &ids, &[9, 0, 4, 128, 1, 0]].concat());
        assert_closed(&end, PROTOCOL_VIOLATION, "from group 9 to group 3");
    }
}

// A request that was not answered is refused with its update: with two answers where each says what
// it answers ("The receiver of a REQUEST_UPDATE MUST respond with exactly one REQUEST_OK or
// REQUEST_ERROR", draft-16), and with one where that ends the stream (18).
#[test]
fn an_update_that_fails_before_its_request_is_answered_fails_both() {
    let token = moqt_engine::model::AuthToken::UseValue {
        token_type: 0,
        value: bytes::Bytes::from_static(b"t"),
    };
    let mut twice = Parameters::default();
    twice.authorization_tokens = vec![token.clone(), token];
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "t"));
        let request = requested(&mut end);
        end.said(on);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, twice.clone()));
        let code = RequestErrorCode::MalformedAuthToken;
        let expected = if draft >= Draft::D18 {
            vec![(None, code)]
        } else {
            vec![(Some(update), code), (Some(id), code)]
        };
        assert_eq!(codes(&end.said(on)), expected, "{draft:?} {role:?}");
        let cancelled = Event::Cancelled { request, code: StreamResetCode::Cancelled, error: None };
        assert_eq!(end.take_events(), [cancelled], "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// An application hears of a FETCH that joins once there is something to join, and so nothing of
// one that ended before.
#[test]
fn a_join_that_waits_and_fails_with_its_updates_was_never_there() {
    for role in ROLES {
        let mut config = Config::default();
        config.limits.unanswered_updates = 1;
        let mut end = End::established(Draft::D18, role, config);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let subscription = end.fresh_id();
        let subscribing = end.request(&say::subscribe(subscription, "t"));
        let request = requested(&mut end);
        let fetch = end.fresh_id();
        let on = end.request(&say::join(fetch, subscription, JoiningStart::Relative(0)));
        for _ in 0..2 {
            let update = end.fresh_id();
            end.say(on, &say::update(update, fetch, with_priority(1)));
        }
        let said = end.said(on);
        assert_eq!(codes(&said), [(None, RequestErrorCode::ExcessiveLoad)], "{role:?}");
        assert_eq!(end.take_events(), [], "{role:?}");
        // The subscription does not depend on it.
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        assert_eq!(end.take_events(), [], "{role:?}");
        end.reset(subscribing, 1);
        end.take_events();
        end.fin(on);
        assert_eq!(end.engine.usage(), before, "{role:?}");
        bystander.assert_well(&mut end);
    }
}

// "A Track Namespace whose first field is exactly . [...] MUST NOT be used for any purpose"; "An
// endpoint that receives a request for an unrecognized session-level track or namespace MUST reject
// it" (draft-18, "Reserved Namespaces" and "Session-Level Tracks and Namespaces"). "When a
// REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE or PUBLISH_NAMESPACE, the responder MUST close the
// bidi stream." ("Updating Subscriptions")
#[test]
fn a_namespace_subscription_is_not_moved_to_a_reserved_prefix() {
    for role in ROLES {
        for reserved in [&b"."[..], b".session"] {
            let mut end = session(Draft::D18, role);
            let mut bystander = Bystander::new(&mut end);
            let (request, on) = accepted(&mut end, "a", NamespaceInterest::Namespaces);
            let of = end.peer_id - 2;
            let mut moved = Parameters::default();
            let prefix = TrackNamespace::new([reserved]).unwrap();
            moved.track_namespace_prefix = Some(prefix);
            let update = end.fresh_id();
            end.say(on, &say::update(update, of, moved));
            let said = end.said(on);
            assert_eq!(codes(&said), [(None, RequestErrorCode::DoesNotExist)], "{role:?}");
            let code = StreamResetCode::Cancelled;
            let cancelled = Event::Cancelled { request, code, error: None };
            assert_eq!(end.take_events(), [cancelled], "{role:?}");
            bystander.assert_well(&mut end);
        }
    }
}

// An application that was told that no answer came is not told of one that comes late. The request
// ends with it all the same, since the peer must end it (draft-18, "Updating Subscriptions").
#[test]
fn a_refusal_that_comes_too_late_ends_the_request_only() {
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let (request, on) = subscribed(&mut end, "t", 5);
        let id = end.next_own_id();
        let update =
            end.with(|engine, now| engine.update(now, request, &with_priority(1))).unwrap();
        end.wait(Duration::from_secs(11));
        let events = end.take_events();
        assert!(
            matches!(&events[..], [Event::UpdateRejected { update: of, error, .. }]
                if *of == update && error.code == RequestErrorCode::Timeout),
            "{draft:?} {role:?}: {events:?}"
        );
        end.say(on, &refusal(id, RequestErrorCode::InternalError));
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}");
        end.wait(Duration::from_secs(11));
        let code = StreamResetCode::Cancelled;
        let cancelled = Event::Cancelled { request, code, error: None };
        assert_eq!(end.take_events(), [cancelled], "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// "If the coalesced REQUEST_UPDATE results in REQUEST_ERROR, only a single REQUEST_ERROR will be
// sent" (draft-18, "Updating Subscriptions"). The peer need not have put them together, and then
// answers each: with success, too.
#[test]
fn an_update_refused_with_another_may_be_accepted_later() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let mut bystander = Bystander::new(&mut end);
        let (request, on) = subscribed(&mut end, "t", 5);
        for priority in [1, 2] {
            end.with(|engine, now| engine.update(now, request, &with_priority(priority))).unwrap();
        }
        end.say(on, &refusal(0, RequestErrorCode::InternalError));
        let events = end.take_events();
        assert!(
            matches!(events[..], [Event::UpdateRejected { .. }, Event::UpdateRejected { .. }]),
            "{role:?}: {events:?}"
        );
        end.say(on, &say::ok(0, RequestKind::Update));
        assert_eq!((end.closed(), end.take_events()), (None, vec![]), "{role:?}");
        bystander.assert_well(&mut end);
        // There were two updates, so a third answer is one too many.
        end.say(on, &say::ok(0, RequestKind::Update));
        assert_closed(&end, PROTOCOL_VIOLATION, "three answers");
    }
}

// "When a REQUEST_UPDATE fails for a FETCH, the publisher MUST reset the FETCH data stream."
// (draft-18, "Updating Subscriptions") One that had sent all of it before has nothing left to reset,
// and what has come is read.
#[test]
fn a_fetch_that_has_come_survives_a_refused_update() {
    for (draft, role) in answered_cases() {
        let mut end = session(draft, role);
        end.reads_at_once = false;
        let id = end.next_own_id();
        let range = LocationRange::new(Location::ZERO, Location::new(1, 0));
        let target = FetchTarget::Standalone { track: say::track("t"), range };
        let request =
            end.with(|engine, now| engine.fetch(now, &target, &Parameters::default())).unwrap();
        let on = end.own_request();
        end.say(on, &say::fetch_ok(id, Location::new(1, 0)));
        let objects = [(Location::ZERO, &b"all"[..])];
        let stream = end.open_with(Dir::Uni, say::fetch_stream(draft, id, &objects));
        end.fin(stream);
        end.take_events();
        let update = end.next_own_id();
        end.with(|engine, now| engine.update(now, request, &with_priority(1))).unwrap();
        end.say(on, &refusal(update, RequestErrorCode::InternalError));
        assert!(matches!(end.take_events()[..], [Event::UpdateRejected { .. }]), "{draft:?}");
        end.wait(Duration::from_secs(30));
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}");
        end.read_fetch(stream, usize::MAX);
        let fetched = end.take_fetched(stream);
        assert!(
            matches!(&fetched[..], [Fetched::Object(_, payload), Fetched::Finished]
                if payload == b"all"),
            "{draft:?} {role:?}: {fetched:?}"
        );
        let stopped = |output: &&Output| matches!(output, Output::Stop(name, _) if *name == stream);
        assert_eq!(end.outputs.iter().find(stopped), None, "{draft:?} {role:?}");
    }
}

// "If a server receives a Redirect with a non-zero Connect URI Length it MUST close the session with
// a PROTOCOL_VIOLATION" (draft-18, "Redirect Structure"), whatever is answered with it.
#[test]
fn an_update_redirects_no_server_elsewhere() {
    for draft in drafts_from(Draft::D18) {
        let mut end = session(draft, Role::Server);
        let (request, on) = subscribed(&mut end, "t", 5);
        end.with(|engine, now| engine.update(now, request, &with_priority(1))).unwrap();
        let redirect = moqt_engine::model::Redirect {
            connect_uri: "moqt://b.example".into(),
            track: say::track("u"),
        };
        let error = RequestError {
            request_id: None,
            answers: Some(RequestKind::Update),
            code: RequestErrorCode::Redirect,
            retry_interval: 0,
            reason: String::new(),
            redirect: Some(redirect),
        };
        end.say(on, &Message::RequestError(error));
        assert_closed(&end, PROTOCOL_VIOLATION, "a URI for a server");
    }
}
