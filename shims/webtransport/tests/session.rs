//! Sessions with a peer whose bytes are written by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use bytes::Bytes;
use moqt_webtransport::{
    Action, Config, Dir, Error, Event, Missing, Request, Route, Version, code,
};

use common::*;

fn header<'a>(section: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    section.iter().filter(|(other, _)| other == name).map(|(_, value)| &value[..]).collect()
}

#[test]
fn a_client_waits_for_settings_and_asks_for_what_it_was_told_to() {
    let mut request = Request::new("example.com:4443", "/moq?room=1");
    request.protocols = vec!["moqt-18".into(), "moqt-16".into()];
    request.headers = vec![
        ("origin".into(), Bytes::from_static(b"https://example.com")),
        ("x-a".into(), Bytes::from_static(b"1")),
        ("x-a".into(), Bytes::from_static(b"2")),
    ];
    let mut end = End::client_with(request, &Config::default());
    assert_eq!(end.sent.keys().copied().collect::<Vec<_>>(), [CLIENT_CONTROL]);
    end.data(SERVER_CONTROL, &control(&server_settings()));
    assert_eq!(end.connection.version(), Some(Version::Draft15));
    assert!(!end.sent[&CONNECT].1);
    let fields = sent_fields(&end, CONNECT);
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(
        fields,
        [
            (":method", "CONNECT"),
            (":protocol", "webtransport-h3"),
            (":scheme", "https"),
            (":authority", "example.com:4443"),
            (":path", "/moq?room=1"),
            ("wt-available-protocols", "\"moqt-18\", \"moqt-16\""),
            ("origin", "https://example.com"),
            ("x-a", "1"),
            ("x-a", "2"),
        ]
    );
    assert_eq!(end.connection.session_id(), Some(CONNECT));
    assert!(!end.connection.is_established());
    let answer = [(":status", "200"), ("wt-protocol", "\"moqt-16\""), ("x-b", "3"), ("x-b", "4")];
    end.data(CONNECT, &headers(&answer));
    let [Event::Established { response }] = &end.events[..] else { panic!("{:?}", end.events) };
    assert_eq!(response.status, 200);
    assert_eq!(response.protocol.as_deref(), Some("moqt-16"));
    assert_eq!(response.header("x-b").collect::<Vec<_>>(), ["3", "4"]);
    assert!(end.connection.is_established());
    assert_eq!(end.connection.stream_header(Dir::Bi), varints(&[0x41, 0]));
    assert_eq!(end.connection.stream_header(Dir::Uni), varints(&[0x54, 0]));
    assert_eq!(end.connection.datagram_header(), [0][..]);
}

#[test]
fn each_version_asks_in_its_own_way() {
    for (setting, version, token) in [
        (0x2b60_3742, Version::Draft02, "webtransport"),
        (0xc671_706a, Version::Draft07, "webtransport"),
        (0x14e9_cd29, Version::Draft13, "webtransport"),
        (0x2c7c_f000, Version::Draft15, "webtransport-h3"),
    ] {
        let mut client = End::client();
        client.data(SERVER_CONTROL, &control(&[(0x33, 1), (0x8, 1), (setting, 1)]));
        assert_eq!(client.connection.version(), Some(version));
        let asked = sent_fields(&client, CONNECT);
        assert_eq!(header(&asked, ":protocol"), [token]);
        let is_02 = version < Version::Draft07;
        let field = header(&asked, "sec-webtransport-http3-draft02");
        assert_eq!(field, if is_02 { vec!["1"] } else { vec![] });

        let mut server = End::server();
        server.data(CLIENT_CONTROL, &control(&[(0x33, 1), (setting, 1)]));
        server.data(CONNECT, &client.sent[&CONNECT].0);
        let [Event::Requested(request)] = &server.events[..] else { panic!("{:?}", server.events) };
        assert_eq!(
            (&request.authority[..], &request.path[..]),
            ("example.com:4443", "/moq?room=1")
        );
        assert_eq!(server.connection.version(), Some(version));
        server.with(|connection| connection.accept(None, &[]));
        let answered = sent_fields(&server, CONNECT);
        assert_eq!(header(&answered, ":status"), ["200"]);
        let field = header(&answered, "sec-webtransport-http3-draft");
        assert_eq!(field, if is_02 { vec!["draft02"] } else { vec![] });
        assert!(!server.sent[&CONNECT].1);
    }
}

#[test]
fn a_client_says_what_a_server_lacks() {
    let offered = Version::ALL.to_vec();
    for (settings, lacks) in [
        (vec![], vec![Missing::Version { offered }, Missing::Datagrams]),
        (vec![(0x8, 1), (0x2c7c_f000, 1)], vec![Missing::Datagrams]),
        (vec![(0x33, 1), (0x2c7c_f000, 1)], vec![Missing::ExtendedConnect]),
    ] {
        let mut end = End::client();
        end.data(SERVER_CONTROL, &control(&settings));
        assert_eq!(end.closed(), Some(code::WT_REQUIREMENTS_NOT_MET));
        assert_eq!(end.failed(), Some(&Error::RequirementsNotMet { missing: lacks }));
        assert!(!end.sent.contains_key(&CONNECT));
    }
}

#[test]
fn a_server_treats_a_request_without_what_it_requires_as_malformed() {
    // Before or after the request, the SETTINGS lack datagrams; or the version of the token.
    for settings in [vec![(0x2c7c_f000, 1)], vec![(0x33, 1), (0x14e9_cd29, 1)], vec![(0x33, 1)]] {
        for settings_first in [true, false] {
            let mut end = End::server();
            let (settings, request) = (control(&settings), headers(&connect_fields()));
            let mut streams = [(CLIENT_CONTROL, settings), (CONNECT, request)];
            if !settings_first {
                streams.reverse();
            }
            for (stream, bytes) in streams {
                end.data(stream, &bytes);
            }
            assert_eq!(end.reset(CONNECT), Some(code::H3_MESSAGE_ERROR));
            assert!(matches!(end.events[..], [Event::Failed(Error::RequirementsNotMet { .. })]));
        }
    }
}

#[test]
fn a_server_processes_no_request_before_settings() {
    let mut end = End::server();
    end.data(CONNECT, &headers(&connect_fields()));
    end.with(|connection| connection.accept(None, &[]));
    assert!(end.events.is_empty() && !end.sent.contains_key(&CONNECT));
    end.data(CLIENT_CONTROL, &control(&client_settings()));
    assert!(matches!(end.events[..], [Event::Requested(_)]));
}

#[test]
fn a_server_reads_all_lines_of_protocols_and_chooses_among_them() {
    let mut end = End::ready_server();
    let mut fields = connect_fields();
    fields.extend([
        ("wt-available-protocols", "\"a\", \"b\";q=1"),
        ("x-a", "1"),
        ("wt-available-protocols", "c"),
        ("x-a", "2"),
    ]);
    end.data(CONNECT, &headers(&fields));
    let [Event::Requested(request)] = &end.events[..] else { panic!("{:?}", end.events) };
    assert_eq!(request.protocols, ["a", "b", "c"]);
    assert_eq!(request.header("x-a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(request.headers.len(), 2);
    let extra = [("server".to_owned(), Bytes::from_static(b"moqt"))];
    end.with(|connection| connection.accept(Some("c"), &extra));
    let answered = sent_fields(&end, CONNECT);
    assert_eq!(header(&answered, "wt-protocol"), ["\"c\""]);
    assert_eq!(header(&answered, "server"), ["moqt"]);
    // What was not requested is not chosen.
    let mut end = End::asked_server();
    end.with(|connection| connection.accept(Some("c"), &[]));
    assert_eq!(header(&sent_fields(&end, CONNECT), "wt-protocol"), [""; 0]);
}

#[test]
fn a_protocol_that_was_not_offered_ends_the_session_from_draft_15_on() {
    for version in Version::ALL {
        let mut config = Config::default();
        config.versions = vec![version];
        let mut request = request();
        request.protocols = vec!["a".into()];
        let mut end = End::client_with(request, &config);
        let all = [
            (0x33, 1),
            (0x8, 1),
            (0x2b60_3742, 1),
            (0xc671_706a, 1),
            (0x14e9_cd29, 1),
            (0x2c7c_f000, 1),
        ];
        end.data(SERVER_CONTROL, &control(&all));
        end.clear();
        end.data(CONNECT, &headers(&[(":status", "200"), ("wt-protocol", "\"b\"")]));
        if version >= Version::Draft15 {
            end.assert_session_error(code::WT_ALPN_ERROR, "not offered");
        } else {
            let [Event::Established { response }] = &end.events[..] else {
                panic!("{:?}", end.events)
            };
            assert_eq!(response.protocol, None);
        }
    }
}

#[test]
fn a_client_that_needs_a_protocol_can_say_so() {
    let mut end = End::established_client();
    end.with(moqt_webtransport::Connection::reject_protocol);
    assert_eq!(end.reset(CONNECT), Some(code::WT_ALPN_ERROR));
    assert_eq!(end.stopped(CONNECT), Some(code::WT_ALPN_ERROR));
    assert!(!end.connection.is_established());
}

#[test]
fn interim_responses_are_passed_over_and_refusals_told() {
    let mut end = End::asking_client();
    end.data(CONNECT, &headers(&[(":status", "103"), ("link", "x")]));
    end.data(CONNECT, &headers(&[(":status", "100")]));
    assert!(end.events.is_empty());
    end.last(CONNECT, &headers(&[(":status", "429"), ("retry-after", "5")]));
    let [Event::Refused { response }] = &end.events[..] else { panic!("{:?}", end.events) };
    assert_eq!((response.status, response.header("retry-after").count()), (429, 1));
    assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
}

#[test]
fn a_server_refuses_with_a_status() {
    let mut end = End::asked_server();
    end.with(|connection| connection.refuse(404));
    assert_eq!(header(&sent_fields(&end, CONNECT), ":status"), ["404"]);
    assert!(end.sent[&CONNECT].1 && end.closed().is_none());
    assert_eq!(end.stopped(CONNECT), Some(code::H3_NO_ERROR));
    // There is one session for a connection, whatever became of it.
    assert_eq!(end.data(4, &headers(&connect_fields())), Route::Refused);
    end.assert_refused(4, code::H3_REQUEST_REJECTED, "a second session");
}

#[test]
fn streams_and_datagrams_of_the_session_are_handed_over() {
    for mut end in End::established() {
        let peer = u64::from(end.connection.is_client());
        let uni = [stream_header(Dir::Uni, CONNECT), b"abc".to_vec()].concat();
        assert_eq!(end.data(6 | peer, &uni), Route::Session(Bytes::from_static(b"abc")));
        let bi = stream_header(Dir::Bi, CONNECT);
        assert_eq!(end.last(4 | peer, &bi), Route::Session(Bytes::new()));
        assert_eq!(end.datagram(b"\0abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(end.datagram(&[1]), None, "another session");
        assert!(end.actions.is_empty() && end.events.is_empty());
        assert_eq!(end.connection.stats().dropped_datagrams, 1);
    }
}

#[test]
fn what_comes_before_the_session_is_held_and_then_given_in_order() {
    let mut end = End::server();
    let uni = [stream_header(Dir::Uni, CONNECT), b"abc".to_vec()].concat();
    assert_eq!(end.data(6, &uni), Route::Held);
    assert_eq!(end.last(4, &stream_header(Dir::Bi, CONNECT)), Route::Held);
    assert_eq!(end.data(10, &stream_header(Dir::Uni, 8)), Route::Held, "it may be session 8");
    assert_eq!(end.datagram(b"\0abc"), None);
    assert_eq!(end.datagram(b"\x02abc"), None);
    end.with(|connection| connection.handle_reset(6, 77));
    end.data(CLIENT_CONTROL, &control(&client_settings()));
    assert!(end.events.is_empty());
    end.data(CONNECT, &headers(&connect_fields()));
    end.assert_refused(10, code::WT_BUFFERED_STREAM_REJECTED, "there is no session 8");
    assert_eq!(end.data(14, &stream_header(Dir::Uni, CONNECT)), Route::Held);
    assert_eq!(end.datagram(b"\0d"), None);
    assert!(matches!(end.events[..], [Event::Requested(_)]));
    end.clear();
    end.with(|connection| connection.accept(None, &[]));
    let stream = |stream, data: &'static str, fin, reset| Event::Stream {
        stream,
        data: data.into(),
        fin,
        reset,
    };
    assert_eq!(
        end.events,
        [
            stream(6, "abc", false, Some(77)),
            stream(4, "", true, None),
            stream(14, "", false, None),
            Event::Datagram("abc".into()),
            Event::Datagram("d".into()),
        ]
    );
    assert_eq!(end.connection.stats().dropped_datagrams, 1);
}

#[test]
fn a_client_holds_what_comes_before_the_response() {
    let mut end = End::asking_client();
    assert_eq!(end.data(1, &stream_header(Dir::Bi, CONNECT)), Route::Held);
    assert_eq!(end.datagram(b"\0abc"), None);
    end.data(CONNECT, &headers(&[(":status", "200")]));
    assert!(matches!(
        end.events[..],
        [Event::Established { .. }, Event::Stream { stream: 1, .. }, Event::Datagram(_)]
    ));
}

#[test]
fn more_than_the_limits_is_not_held() {
    let mut config = Config::default();
    config.limits.held_streams = 2;
    config.limits.held_stream_bytes = 4;
    config.limits.held_datagrams = 2;
    config.limits.held_datagram_bytes = 4;
    let mut end = End::server_with(&config);
    let stream = |data: &[u8]| [&stream_header(Dir::Uni, CONNECT), data].concat();
    assert_eq!(end.data(6, &stream(b"abc")), Route::Held);
    assert_eq!(end.data(10, &stream(b"de")), Route::Refused);
    end.assert_refused(10, code::WT_BUFFERED_STREAM_REJECTED, "too many bytes");
    assert_eq!(end.data(14, &stream(b"")), Route::Held);
    assert_eq!(end.data(18, &stream(b"")), Route::Refused);
    end.assert_refused(18, code::WT_BUFFERED_STREAM_REJECTED, "too many streams");
    for datagram in [&b"\0abc"[..], b"\0de", b"\0", b"\0"] {
        assert_eq!(end.datagram(datagram), None);
    }
    assert_eq!(end.connection.stats().dropped_datagrams, 2);
    end.data(CLIENT_CONTROL, &control(&client_settings()));
    end.data(CONNECT, &headers(&connect_fields()));
    end.with(|connection| connection.accept(None, &[]));
    assert_eq!(end.events.len(), 1 + 2 + 2);
}

#[test]
fn closing_tells_the_peer_and_waits_for_it() {
    for mut end in End::established() {
        let before = end.sent[&CONNECT].0.len();
        end.with(|connection| connection.close(0x1234, "bye"));
        let (sent, fin) = &end.sent[&CONNECT];
        assert_eq!(sent[before..], content(&close_capsule(0x1234, b"bye")));
        assert!(fin);
        assert!(end.closed().is_none() && !end.connection.is_established());
        // What is still on its way is passed over; then the peer ends its side.
        end.data(CONNECT, &content(&frame(0x78ae, &[])));
        let peer = u64::from(end.connection.is_client());
        assert_eq!(end.data(6 | peer, &stream_header(Dir::Uni, CONNECT)), Route::Refused);
        end.assert_refused(6 | peer, code::WT_SESSION_GONE, "the session is over");
        assert_eq!(end.datagram(b"\0a"), None);
        end.last(CONNECT, &[]);
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
        assert!(end.events.is_empty());
    }
}

#[test]
fn closing_without_a_session_closes_the_connection() {
    for mut end in [End::client(), End::asking_client(), End::server(), End::asked_server()] {
        end.with(|connection| connection.close(1, "never mind"));
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
        assert_eq!(end.data(CONNECT, b"x"), Route::Refused);
    }
}

#[test]
fn the_peer_closes_with_a_capsule_or_without() {
    let closed = |code, reason: &str| Event::Closed { code, reason: reason.into() };
    let close =
        [content(&frame(0x21, b"ignored")), content(&close_capsule(7, "über".as_bytes()))].concat();
    for (bytes, event) in [(close, closed(7, "über")), (Vec::new(), closed(0, ""))] {
        for mut end in End::established() {
            end.last(CONNECT, &bytes);
            assert_eq!(end.events, std::slice::from_ref(&event));
            assert!(end.sent[&CONNECT].1, "it is answered with the end");
            assert_eq!(end.closed(), None, "that is for the one who closed");
            end.with(|connection| connection.close(0, ""));
            assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
        }
    }
}

#[test]
fn a_peer_that_resets_or_stops_the_connect_stream_ends_the_session() {
    for mut end in End::established() {
        end.with(|connection| connection.handle_reset(CONNECT, 0x10c));
        assert_eq!(end.events, [Event::Failed(Error::Reset { code: 0x10c })]);
        assert!(end.reset(CONNECT).is_some());
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
    }
    for mut end in End::established() {
        end.with(|connection| connection.handle_stop_sending(CONNECT, 0x10c));
        assert_eq!(end.events, [Event::Failed(Error::Reset { code: 0x10c })]);
        assert_eq!(end.reset(CONNECT), Some(0x10c));
        assert!(end.stopped(CONNECT).is_some());
    }
    // A client that reads no response has no session.
    for code in [code::H3_NO_ERROR, code::H3_REQUEST_CANCELLED] {
        let mut end = End::asked_server();
        end.with(|connection| connection.handle_stop_sending(CONNECT, code));
        assert_eq!(end.events, [Event::Failed(Error::Reset { code })]);
        end.with(|connection| connection.accept(None, &[]));
        assert!(!end.connection.is_established());
    }
    // One that closes the session may stop the stream, too: its reason is on the way.
    for mut end in End::established() {
        end.with(|connection| connection.handle_stop_sending(CONNECT, code::WT_SESSION_GONE));
        end.last(CONNECT, &content(&close_capsule(3, b"")));
        assert_eq!(end.events, [Event::Closed { code: 3, reason: String::new() }]);
    }
}

#[test]
fn a_rejected_request_is_told() {
    let mut end = End::asking_client();
    end.with(|connection| connection.handle_stop_sending(CONNECT, code::H3_REQUEST_REJECTED));
    end.with(|connection| connection.handle_reset(CONNECT, code::H3_REQUEST_REJECTED));
    assert_eq!(end.events, [Event::Failed(Error::Reset { code: code::H3_REQUEST_REJECTED })]);
    assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
}

#[test]
fn draining_is_asked_for_and_told() {
    for mut end in End::established() {
        let before = end.sent[&CONNECT].0.len();
        end.with(moqt_webtransport::Connection::drain);
        assert_eq!(end.sent[&CONNECT].0[before..], content(&[0x80, 0, 0x78, 0xae, 0]));
        end.data(CONNECT, &content(&frame(0x78ae, &[])));
        assert_eq!(end.events, [Event::Draining]);
        assert!(end.connection.is_established());
    }
}

#[test]
fn goaway_goes_both_ways() {
    for mut end in End::established() {
        let is_client = end.connection.is_client();
        let (own, peer) = if is_client {
            (CLIENT_CONTROL, SERVER_CONTROL)
        } else {
            (SERVER_CONTROL, CLIENT_CONTROL)
        };
        let before = end.sent[&own].0.len();
        end.with(moqt_webtransport::Connection::goaway);
        end.with(moqt_webtransport::Connection::goaway);
        // A server names the next request, a client a push.
        let id = if is_client { 0 } else { 4 };
        assert_eq!(end.sent[&own].0[before..], frame(7, &[id]));
        end.data(peer, &frame(7, &[8]));
        end.data(peer, &frame(7, &[4]));
        assert_eq!(end.events, [Event::Draining, Event::Draining]);
        end.data(peer, &frame(7, &[8]));
        end.assert_connection_error(code::H3_ID_ERROR, "a larger ID than before");
    }
}

#[test]
fn a_server_that_goes_away_takes_no_request() {
    let mut end = End::ready_server();
    end.with(moqt_webtransport::Connection::goaway);
    assert_eq!(end.data(CONNECT, &headers(&connect_fields())), Route::Refused);
    end.assert_refused(CONNECT, code::H3_REQUEST_REJECTED, "after GOAWAY");
    for mut end in [End::client(), End::asking_client()] {
        let goaway = frame(7, &[0]);
        let bytes = if end.sent.contains_key(&CONNECT) {
            goaway
        } else {
            // In one go with the SETTINGS.
            [control(&server_settings()), goaway].concat()
        };
        end.data(SERVER_CONTROL, &bytes);
        assert_eq!(end.failed(), Some(&Error::GoingAway));
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
    }
    // A request below is still processed.
    let mut end = End::asking_client();
    end.data(SERVER_CONTROL, &frame(7, &[4]));
    assert!(end.events.is_empty() && end.closed().is_none());
    end.data(CONNECT, &headers(&[(":status", "200")]));
    assert!(matches!(end.events[..], [Event::Established { .. }, Event::Draining]));
}

#[test]
fn datagrams_may_come_in_capsules() {
    for mut end in End::established() {
        end.data(CONNECT, &content(&[frame(0, b"abc"), frame(0, b"")].concat()));
        assert_eq!(end.events, [Event::Datagram("abc".into()), Event::Datagram(Bytes::new())]);
    }
}

#[test]
fn capsules_that_come_early_are_processed_once_the_session_is_accepted() {
    let mut end = End::asked_server();
    end.last(CONNECT, &content(&[frame(0x78ae, &[]), close_capsule(5, b"x")].concat()));
    assert!(end.events.is_empty() && end.actions.is_empty());
    end.with(|connection| connection.accept(None, &[]));
    assert_eq!(end.events, [Event::Draining, Event::Closed { code: 5, reason: "x".into() }]);
    // Or not at all.
    let mut end = End::asked_server();
    end.last(CONNECT, &content(&close_capsule(5, b"x")));
    end.with(|connection| connection.refuse(403));
    assert!(end.events.is_empty());
}

#[test]
fn ordinary_requests_are_answered_and_the_session_comes_all_the_same() {
    let mut end = End::ready_server();
    for (stream, fields, status) in [
        (0, vec![(":method", "GET"), (":scheme", "https"), (":path", "/")], "404"),
        (4, vec![(":method", "CONNECT"), (":authority", "a:1")], "501"),
    ] {
        assert_eq!(end.last(stream, &headers(&fields)), Route::Refused);
        let sent = end.sent[&stream].clone();
        assert!(sent.1);
        let expected = [(":status", status)];
        let mut reader = End::asking_client();
        reader.data(CONNECT, &sent.0);
        let [Event::Refused { response }] = &reader.events[..] else {
            panic!("{:?}", reader.events)
        };
        assert_eq!(response.status.to_string(), expected[0].1);
    }
    end.clear();
    end.data(8, &headers(&connect_fields()));
    assert!(matches!(end.events[..], [Event::Requested(_)]));
    assert_eq!(end.connection.session_id(), Some(8));
    end.with(|connection| connection.accept(None, &[]));
    assert_eq!(end.connection.stream_header(Dir::Uni), varints(&[0x54, 8]));
    assert_eq!(end.connection.datagram_header(), [2][..]);
}

#[test]
fn a_request_that_the_server_would_not_take_is_not_sent() {
    let mut settings = server_settings();
    settings.push((6, 100));
    let mut end = End::client();
    end.data(SERVER_CONTROL, &control(&settings));
    assert!(matches!(end.failed(), Some(Error::RequestTooLarge { limit: 100, .. })));
    for bad in [
        Request::new("", "/"),
        Request::new("a", "no slash"),
        Request::new("a", "/sp ace"),
        Request::new("user@a", "/"),
    ] {
        let mut end = End::client_with(bad, &Config::default());
        end.data(SERVER_CONTROL, &control(&server_settings()));
        assert!(matches!(end.failed(), Some(Error::Request { .. })), "{:?}", end.events);
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
        assert!(
            !end.actions
                .iter()
                .any(|action| matches!(action, Action::Send { stream: CONNECT, .. }))
        );
    }
}

#[test]
fn control_streams_have_reserved_settings_and_frames() {
    let sent = |seed| {
        let mut config = Config::default();
        config.grease_seed = seed;
        End::server_with(&config).sent[&SERVER_CONTROL].0.clone()
    };
    assert_ne!(sent(0), sent(1));
    for seed in 0..20 {
        // A peer understands it, whatever the seed: nothing of it is an error.
        let mut end = End::client();
        end.data(SERVER_CONTROL, &sent(seed));
        assert!(end.closed().is_none() && end.connection.version().is_some());
    }
}
