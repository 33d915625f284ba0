//! Setting up: what may be in SETUP, and what may come before it and instead of it.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name};
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{Parameters, SetupOptions};
use moqt_engine::{Action, Config, Dir, Draft, Event, MoqtConnection, Role, Timestamp, Transport};

use crate::{CONTROL_MESSAGE_TIMEOUT, PROTOCOL_VIOLATION, assert_closed, session, wait_long};

const VERSION_NEGOTIATION_FAILED: u64 = 0x15;

fn with_options(
    transport: Transport,
    draft: Draft,
    role: Role,
    change: impl FnOnce(&mut SetupOptions),
) -> End {
    let mut end = End::over(transport, draft, role, Config::default());
    let mut options = SetupOptions::default();
    change(&mut options);
    let setup = say::setup(draft, role.peer(), options);
    end.data(end.control, setup);
    end
}

// "AUTHORITY" and "PATH" of all drafts: neither from a server nor over WebTransport; if they do
// not follow the URI rules, they are malformed.
#[test]
fn path_and_authority_are_for_clients_over_quic() {
    const INVALID_PATH: u64 = 0x8;
    const MALFORMED_PATH: u64 = 0x9;
    const INVALID_AUTHORITY: u64 = 0x19;
    const MALFORMED_AUTHORITY: u64 = 0x1A;
    let path = |path: &'static str| {
        move |options: &mut SetupOptions| options.path = Some(Bytes::from_static(path.as_bytes()))
    };
    let authority = |authority: &'static str| {
        move |options: &mut SetupOptions| {
            options.authority = Some(Bytes::from_static(authority.as_bytes()));
        }
    };
    for draft in DRAFTS {
        let (quic, web) = (Transport::Quic, Transport::WebTransport);
        let (client, server) = (Role::Client, Role::Server);
        for good in ["/a?b", "", "/%20"] {
            let end = with_options(quic, draft, server, path(good));
            assert!(end.engine.is_established(), "{draft:?} {good:?}: {:?}", end.events);
        }
        let end = with_options(quic, draft, server, authority("example.com:443"));
        assert!(end.engine.is_established(), "{draft:?}: {:?}", end.events);
        let closed = |end: End, code, what| assert_closed(&end, code, what);
        closed(with_options(web, draft, server, path("/a")), INVALID_PATH, "WebTransport");
        closed(with_options(quic, draft, client, path("/a")), INVALID_PATH, "from a server");
        closed(with_options(quic, draft, server, path("a")), MALFORMED_PATH, "no slash");
        closed(with_options(quic, draft, server, path("/a b")), MALFORMED_PATH, "a space");
        let host = "example.com";
        closed(
            with_options(web, draft, server, authority(host)),
            INVALID_AUTHORITY,
            "WebTransport",
        );
        closed(with_options(quic, draft, server, authority("a b")), MALFORMED_AUTHORITY, "a space");
        // In draft 14 that option from a server is MOQT_IMPLEMENTATION.
        if draft != Draft::D14 {
            closed(
                with_options(quic, draft, client, authority(host)),
                INVALID_AUTHORITY,
                "from a server",
            );
        }
    }
}

// Draft-14, "Version Negotiation": no version in common closes with VERSION_NEGOTIATION_FAILED.
#[test]
fn draft_14_needs_a_version_in_common() {
    for role in ROLES {
        let mut end = End::new(Draft::D14, role, Config::default());
        // One version, 0xff00000d, and no options.
        let body: &[u8] = match role {
            Role::Server => b"\x20\x00\x0a\x01\xc0\x00\x00\x00\xff\x00\x00\x0d\x00",
            Role::Client => b"\x21\x00\x09\xc0\x00\x00\x00\xff\x00\x00\x0d\x00",
        };
        end.data(end.control, body);
        assert_closed(&end, VERSION_NEGOTIATION_FAILED, "another version");
    }
}

// "Session initialization": the control stream is for one setup message each way.
#[test]
fn a_second_setup_and_a_second_control_stream_close() {
    for (draft, role) in cases() {
        let setup = say::setup(draft, role.peer(), SetupOptions::default());
        let mut end = session(draft, role);
        end.data(end.control, setup.clone());
        assert_closed(&end, PROTOCOL_VIOLATION, "a second setup message");

        let mut end = session(draft, role);
        end.open_with(Dir::Bi, setup.clone());
        assert_closed(&end, PROTOCOL_VIOLATION, "setup on a second bidirectional stream");

        let mut end = session(draft, role);
        end.open_with(Dir::Uni, setup);
        // Before draft 18 no unidirectional stream has such a type.
        assert_closed(&end, PROTOCOL_VIOLATION, "setup on another unidirectional stream");
    }
}

// Draft-18, "Session Initialization": control streams are unidirectional, and "bidirectional
// streams MUST NOT begin with any other message type" than the seven requests.
#[test]
fn draft_18_takes_no_setup_on_a_bidirectional_stream() {
    for role in ROLES {
        let mut end = End::new(Draft::D18, role, Config::default());
        let setup = say::setup(Draft::D18, role.peer(), SetupOptions::default());
        end.open_with(Dir::Bi, setup);
        assert_closed(&end, PROTOCOL_VIOLATION, "SETUP on a bidirectional stream");
    }
}

// "CLIENT_SETUP and SERVER_SETUP" of drafts 14 and 16: each has its sender.
#[test]
fn setup_from_the_wrong_side_closes() {
    for draft in [Draft::D14, Draft::D16] {
        let mut end = End::new(draft, Role::Client, Config::default());
        end.data(end.control, say::setup(draft, Role::Client, SetupOptions::default()));
        assert_closed(&end, PROTOCOL_VIOLATION, "CLIENT_SETUP from a server");
        let mut end = End::new(draft, Role::Server, Config::default());
        end.data(end.control, say::setup(draft, Role::Server, SetupOptions::default()));
        assert_closed(&end, PROTOCOL_VIOLATION, "SERVER_SETUP from a client");
    }
}

#[test]
fn nothing_precedes_setup_on_the_control_stream() {
    for (draft, role) in cases() {
        let bytes = say::message(draft, &say::subscribe(u64::from(role == Role::Client), "t"));
        let mut end = End::new(draft, role, Config::default());
        end.data(end.control, bytes);
        assert_closed(&end, PROTOCOL_VIOLATION, "SUBSCRIBE first");
    }
}

// "The control stream MUST NOT be closed at the underlying transport layer during the session's
// lifetime." (all drafts, "Session initialization")
#[test]
fn the_control_stream_must_live() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        end.fin(end.control);
        assert_closed(&end, PROTOCOL_VIOLATION, "finished");
        let mut end = session(draft, role);
        end.reset(end.control, 0);
        assert_closed(&end, PROTOCOL_VIOLATION, "reset");
        let mut end = session(draft, role);
        let own = match draft {
            _ if draft >= Draft::D18 => Name { ours: true, n: 0 },
            _ => end.control,
        };
        end.stop(own, 0);
        assert_closed(&end, PROTOCOL_VIOLATION, "stopped");
    }
}

#[test]
fn a_peer_that_leaves_setup_out_or_unfinished_is_given_up_at_the_deadline() {
    for (draft, role) in cases() {
        let setup = say::setup(draft, role.peer(), SetupOptions::default());
        for len in 0..setup.len() {
            let mut end = End::new(draft, role, Config::default());
            end.data(end.control, setup[..len].to_vec());
            end.wait(Duration::from_micros(9_999_999));
            assert_eq!(end.closed(), None, "{draft:?} {role:?} {len}");
            end.wait(Duration::from_micros(1));
            assert_closed(&end, CONTROL_MESSAGE_TIMEOUT, &format!("{len} bytes"));
        }
    }
}

#[test]
fn a_session_that_is_over_does_nothing_more() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        end.fin(end.control);
        let before = end.outputs.len();
        let events = end.events.len();
        let late = end.open(Dir::Uni);
        end.data(late, say::subgroup(draft, 1, 0, &[(0, b"late")]));
        end.datagram(&b"\x00\x00\x00\x00"[..]);
        end.data(end.control, &b"\xff"[..]);
        wait_long(&mut end);
        assert_eq!((end.outputs.len(), end.events.len()), (before, events));
        assert!(matches!(end.events.last(), Some(Event::Closed { .. })));
        assert!(end.with(|engine, now| {
            engine.subscribe(now, &say::track("late"), &Parameters::default()).is_err()
        }));
    }
}

// "Endpoints MUST send a SETUP message as the first message on their control stream" (draft-18,
// "Session initialization"): a session in which this side's cannot be sent yet is not set up,
// whatever the peer has sent, and nothing that is asked in it is lost.
#[test]
fn a_session_is_not_set_up_before_its_own_control_stream_can_be_opened() {
    for (draft, role) in cases().filter(|(draft, _)| draft.dialect().answers_by_stream) {
        for early_bytes in [0, 10_000] {
            let mut config = Config::default();
            config.limits.early_bytes = early_bytes;
            let now = Timestamp::ZERO;
            let mut engine = MoqtConnection::new(role, draft, Transport::Quic, config.into(), now);
            let control = engine.handle_stream_opened(now, Dir::Uni);
            let mut setup = say::setup(draft, role.peer(), SetupOptions::default());
            let window = engine.recv_window(control).min(setup.len());
            let rest = setup.split_off(window);
            engine.handle_stream_data(now, control, setup.into(), false);
            let request = engine.handle_stream_opened(now, Dir::Bi);
            let subscribe =
                say::message(draft, &say::subscribe(u64::from(role == Role::Client), "t"));
            engine.handle_stream_data(now, request, subscribe.into(), false);
            let is_closed = !rest.is_empty() && engine.recv_window(control) == 0;
            assert!(!engine.is_established(), "{draft:?} {role:?}");
            assert_eq!(engine.poll_action(), None, "{draft:?} {role:?}");
            engine.handle_streams_available(now, Dir::Uni, 1);
            assert!(matches!(engine.poll_action(), Some(Action::OpenStream { .. })));
            if is_closed {
                let resume = Action::ResumeReading { stream: control };
                assert_eq!(engine.poll_action(), Some(resume), "{draft:?} {role:?}");
            }
            engine.handle_stream_data(now, control, rest.into(), false);
            assert!(engine.is_established(), "{draft:?} {role:?}");
            assert!(engine.poll_send(now).is_some(), "{draft:?} {role:?}: its own SETUP");
            let events: Vec<Event> = std::iter::from_fn(|| engine.poll_event()).collect();
            assert!(
                matches!(events[..], [Event::Established { .. }, Event::Request { .. }]),
                "{draft:?} {role:?}: {events:?}"
            );
        }
    }
}
