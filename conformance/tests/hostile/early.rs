//! What a peer sends before the session is set up, and turns out to be wrong once it is.

use bytes::Bytes;
use moqt_conformance::end::End;
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{Message, NamespaceInterest, SetupOptions};
use moqt_engine::{
    CloseReason, Config, Dir, Draft, Event, MoqtConnection, Role, Timestamp, Transport,
};

use crate::{INVALID_REQUEST_ID, PROTOCOL_VIOLATION, assert_closed};

const INTERNAL_ERROR: u64 = 0x1;

/// A request that may begin a stream, where the draft has such.
fn on_own_stream(draft: Draft, id: u64) -> Option<Message> {
    if draft.dialect().answers_by_stream {
        Some(say::subscribe(id, "t"))
    } else {
        say::namespaces_have_streams(draft)
            .then(|| say::subscribe_namespace(draft, id, "a", NamespaceInterest::Namespaces))
    }
}

/// The peer sends its SETUP, whatever comes of it.
fn set_up(end: &mut End) {
    let mut options = SetupOptions::default();
    options.max_request_id = Some(100);
    let setup = say::setup(end.draft(), end.engine.role().peer(), options);
    end.data(end.control, setup);
}

// "If an endpoint receives a Request ID where the least significant bit is incorrect for the sender,
// or a duplicate Request ID, it MUST close the session with INVALID_REQUEST_ID." (draft-18, "Request
// ID"; 14 and 16 likewise): later is not never.
#[test]
fn a_held_request_with_a_wrong_id_closes_when_its_turn_comes() {
    for (draft, role) in cases() {
        // The connection's own parity.
        let wrong = u64::from(role == Role::Server);
        let Some(request) = on_own_stream(draft, wrong) else { continue };
        let mut end = End::new(draft, role, Config::default());
        end.open_with(Dir::Bi, say::message(draft, &request));
        let next = on_own_stream(draft, 1 - wrong).unwrap();
        end.open_with(Dir::Bi, say::message(draft, &next));
        assert_eq!(end.closed(), None, "{draft:?} {role:?}: it is held");
        set_up(&mut end);
        assert_closed(&end, INVALID_REQUEST_ID, "a held request");
        let requested = |event: &Event| matches!(event, Event::Request { .. });
        assert!(!end.events.iter().any(requested), "{draft:?}: {:?}", end.events);
    }
}

// How often a peer may begin something only to abandon it is limited, also if all of it is found
// out at a time.
#[test]
fn too_many_held_streams_that_were_abandoned_close() {
    for (draft, role) in cases() {
        let mut config = Config::default();
        config.limits.churn_burst = 3;
        let mut end = End::new(draft, role, config);
        let header = say::header(draft, 1, 0, 0, false);
        for _ in 0..6 {
            let stream = end.open(Dir::Uni);
            end.data_and(stream, Bytes::copy_from_slice(&header[..1]), true);
        }
        assert_eq!(end.closed(), None, "{draft:?} {role:?}: they are held");
        set_up(&mut end);
        assert_closed(&end, PROTOCOL_VIOLATION, "six streams of half a header");
    }
}

// A SETUP that came before this side's control stream could be opened is as wrong as any other.
#[test]
fn a_wrong_setup_that_waits_for_this_sides_control_stream_closes() {
    for draft in DRAFTS.into_iter().filter(|draft| draft.dialect().answers_by_stream) {
        for role in ROLES {
            let now = Timestamp::ZERO;
            let config = Config::default().into();
            let mut engine = MoqtConnection::new(role, draft, Transport::WebTransport, config, now);
            let control = engine.handle_stream_opened(now, Dir::Uni);
            let mut options = SetupOptions::default();
            options.path = Some(Bytes::from_static(b"/over/webtransport"));
            let setup = say::setup(draft, role.peer(), options);
            engine.handle_stream_data(now, control, setup.into(), false);
            // One that is held, too, and does not matter any more.
            let other = engine.handle_stream_opened(now, Dir::Uni);
            let subgroup = say::subgroup(draft, 1, 0, &[(0, b"x")]);
            engine.handle_stream_data(now, other, subgroup.into(), false);
            assert_eq!(engine.poll_event(), None, "{draft:?} {role:?}");
            engine.handle_streams_available(now, Dir::Uni, 1);
            let events: Vec<Event> = std::iter::from_fn(|| engine.poll_event()).collect();
            assert!(
                matches!(events[..], [Event::Closed { reason: CloseReason::Local { .. } }]),
                "{draft:?} {role:?}: {events:?}"
            );
        }
    }
}

// What this side was configured to say may be too long for any SETUP. It says so then, rather than
// wait for an answer to nothing.
#[test]
fn a_setup_that_cannot_be_sent_closes() {
    for (draft, role) in cases() {
        let mut config = Config::default();
        config.implementation = Some(vec![b'x'; 70_000].into());
        let mut end = End::new(draft, role, config);
        if end.closed().is_none() {
            // Where it answers the client's.
            set_up(&mut end);
        }
        assert_closed(&end, INTERNAL_ERROR, "70 000 bytes in SETUP");
        let established = |event: &Event| matches!(event, Event::Established { .. });
        assert!(!end.events.iter().any(established), "{draft:?} {role:?}: {:?}", end.events);
    }
}
