//! Options of setup messages: those that nobody knows, and those that this end sends.

use bytes::Bytes;
use moqt_conformance::end::End;
use moqt_conformance::{ROLES, bytes, cases, say};
use moqt_engine::model::{MaxRequestId, Message, Parameters, RequestErrorCode, SetupOptions};
use moqt_engine::{CommandError, Config, Draft, Event, Refusal, Role, Transport};

use crate::Bystander;

/// The options of the setup message that this end has sent.
fn sent_options(end: &mut End) -> SetupOptions {
    let said = end.said(end.control);
    match said.into_iter().next() {
        Some(Message::Setup(setup)) => setup.options,
        other => panic!("{:?}: {other:?}", end.draft()),
    }
}

// "To ensure future extensibility of MOQT, endpoints MUST ignore unknown setup parameters." (all
// drafts, "CLIENT_SETUP and SERVER_SETUP"; draft-18, "SETUP", "Setup Options", "Greasing") and
// "Receivers MUST allow duplicates of unknown Setup Parameters." (draft-14, -16 "Parameters";
// draft-18, "SETUP")
#[test]
fn unknown_setup_options_are_ignored_even_twice() {
    for (draft, role) in cases() {
        // MAX_REQUEST_ID of 100 where there is one, 0x3c with the value 5 twice, and 0x3d with
        // the value ff twice.
        let options = match draft {
            Draft::D14 => "05  02 4064  3c 05  3c 05  3d 01 ff  3d 01 ff",
            Draft::D16 => "05  02 4064  3a 05  00 05  01 01 ff  00 01 ff",
            _ => "3c 05  00 05  01 01 ff  00 01 ff",
        };
        let (code, version) = match (draft, role.peer()) {
            (Draft::D14, Role::Client) => ("20", "01 c0000000ff00000e"),
            (Draft::D14, Role::Server) => ("21", "c0000000ff00000e"),
            (Draft::D16, Role::Client) => ("20", ""),
            (Draft::D16, Role::Server) => ("21", ""),
            _ => ("af00", ""),
        };
        let body = bytes(&format!("{version} {options}"));
        let mut end = End::new(draft, role, Config::default());
        let setup = [bytes(code), vec![0, u8::try_from(body.len()).unwrap()], body].concat();
        end.data(end.control, setup);
        assert!(
            matches!(end.take_events()[..], [Event::Established { .. }]),
            "{draft:?} {role:?}: {:?}",
            end.closed()
        );
        Bystander::new(&mut end).assert_well(&mut end);
    }
}

// "Receivers MUST allow duplicates of unknown parameters." (draft-14, "Parameters"); later drafts
// know no unknown ones.
#[test]
fn unknown_parameters_of_draft_14_are_ignored_even_twice() {
    for role in ROLES {
        let mut end = crate::session(Draft::D14, role);
        let id = end.fresh_id();
        let body = bytes(&format!(
            "{id:02x} 01 04 'test' 01 't' 80 00 01 02 04  3c 05  3c 05  3d 01 ff  3d 01 ff"
        ));
        let len = u8::try_from(body.len()).unwrap();
        end.data(end.control, [vec![0x03, 0, len], body].concat());
        assert!(matches!(end.events[..], [Event::Request { .. }]), "{:?}", end.events);
    }
}

// "It MUST NOT be used by the server, or when WebTransport is used." (all drafts, "PATH",
// "AUTHORITY")
#[test]
fn path_and_authority_are_sent_by_clients_over_quic_only() {
    for (draft, role) in cases() {
        for transport in [Transport::Quic, Transport::WebTransport] {
            let mut config = Config::default();
            config.path = Some(Bytes::from_static(b"/path"));
            config.authority = Some(Bytes::from_static(b"example.com"));
            let mut end = End::over(transport, draft, role, config);
            // A server of drafts 14 and 16 speaks second.
            let mut options = SetupOptions::default();
            options.max_request_id = Some(1);
            end.data(end.control, say::setup(draft, role.peer(), options));
            let options = sent_options(&mut end);
            let expected = transport == Transport::Quic && role == Role::Client;
            let what = format!("{draft:?} {role:?} {transport:?}");
            assert_eq!(options.path.is_some(), expected, "{what}");
            assert_eq!(options.authority.is_some(), expected, "{what}");
        }
    }
}

// "This SHOULD be a UTF-8 encoded string" (all drafts). "An endpoint SHOULD send a
// MOQT_IMPLEMENTATION option unless specifically configured not to do so. Senders SHOULD limit
// the value to the implementation name and version" (draft-18, "MOQT IMPLEMENTATION").
// "Implementations SHOULD send only the minimum information", "SHOULD NOT include detailed system
// information, build numbers" (draft-18, "Implementation Fingerprinting").
#[test]
fn the_implementation_is_named_with_its_version_and_no_more() {
    for (draft, role) in cases() {
        let mut end = crate::session(draft, role);
        let sent = sent_options(&mut end).implementation.expect("sent by default");
        let text = std::str::from_utf8(&sent).expect("UTF-8");
        let (name, version) = text.split_once('/').expect("a name and a version");
        assert_eq!(name, "moqt-engine", "{draft:?} {role:?}");
        let numbers: Vec<&str> = version.split('.').collect();
        assert_eq!(numbers.len(), 3, "{version}");
        assert!(numbers.iter().all(|number| number.parse::<u32>().is_ok()), "{version}");

        let mut config = Config::default();
        config.implementation = None;
        let mut end = End::established(draft, role, config);
        assert_eq!(sent_options(&mut end).implementation, None, "{draft:?} {role:?}");
    }
}

// "The default value is 0, so if not specified, the peer MUST NOT send requests." (draft-14, -16,
// "MAX_REQUEST_ID" of setup)
#[test]
fn without_a_maximum_no_request_is_sent_until_there_is_one() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut end = End::new(draft, role, Config::default());
        end.data(end.control, say::setup(draft, role.peer(), SetupOptions::default()));
        assert!(end.engine.is_established());
        end.said(end.control);
        let ask = |end: &mut End| {
            let track = say::track("t");
            end.with(|engine, now| engine.subscribe(now, &track, &Parameters::default()))
        };
        for _ in 0..3 {
            let refused = ask(&mut end);
            assert!(matches!(refused, Err(CommandError::Blocked(_))), "{draft:?}: {refused:?}");
        }
        // "The endpoint SHOULD send only one REQUESTS_BLOCKED for a given Maximum Request ID."
        let blocked = end.said(end.control);
        assert!(blocked.len() <= 1, "{blocked:?}");
        assert!(blocked.iter().all(|message| matches!(message, Message::RequestsBlocked(_))));
        let max_request_id = end.next_own_id() + 1;
        end.say(end.control, &Message::MaxRequestId(MaxRequestId { max_request_id }));
        assert!(ask(&mut end).is_ok(), "{draft:?} {role:?}");
        assert!(matches!(end.said(end.control)[..], [Message::Subscribe(_)]));
        assert!(ask(&mut end).is_err(), "{draft:?}: that was the last one");
    }
}

// "The Maximum Request ID MUST only increase within a session" (draft-14, -16, "MAX_REQUEST_ID")
#[test]
fn the_maximum_that_is_sent_only_grows() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut config = Config::default();
        config.limits.open_requests = 4;
        let mut end = End::established(draft, role, config);
        let mut maximum = sent_options(&mut end).max_request_id.unwrap();
        for n in 0..50 {
            let id = end.fresh_id();
            end.request(&say::subscribe(id, &format!("t{n}")));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else {
                panic!("{draft:?} {role:?} {n}: {:?}", end.closed())
            };
            let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
            end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
            for message in end.said(end.control) {
                if let Message::MaxRequestId(MaxRequestId { max_request_id }) = message {
                    assert!(max_request_id > maximum, "{max_request_id} after {maximum}");
                    maximum = max_request_id;
                }
            }
        }
        assert!(maximum > 2 * 50, "{draft:?} {role:?}: {maximum}");
    }
}
