//! What a peer must not send, and the error that the text prescribes for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use moqt_webtransport::{Config, Dir, Error, Event, Route, code};

use common::*;

/// Both kinds of ends before anything has come, and the peer's first unidirectional stream.
fn fresh() -> [(End, u64); 2] {
    [(End::client(), SERVER_CONTROL), (End::server(), CLIENT_CONTROL)]
}

fn settings_for(end: &End) -> Vec<u8> {
    control(&if end.connection.is_client() { server_settings() } else { client_settings() })
}

/// RFC 9114, section 6.2.1 and 7.2.4.
#[test]
fn a_control_stream_begins_with_settings() {
    for first in
        [frame(0, b""), frame(7, &[0]), frame(0x21, b""), frame(2, b""), frame(0xf0700, b"")]
    {
        for (mut end, stream) in fresh() {
            let _ = end.data(stream, &[&[0][..], &first].concat());
            end.assert_connection_error(code::H3_MISSING_SETTINGS, &format!("{first:x?}"));
        }
    }
}

/// RFC 9114, sections 6.2.1 and 6.2.2; RFC 9204, section 4.2.
#[test]
fn there_is_one_stream_of_each_kind() {
    for kind in [0, 2, 3] {
        for (mut end, stream) in fresh() {
            assert_eq!(end.data(stream, &[kind]), Route::Own);
            let _ = end.data(stream + 4, &[kind]);
            end.assert_connection_error(code::H3_STREAM_CREATION_ERROR, &format!("two of {kind}"));
        }
    }
}

#[test]
fn streams_that_the_connection_needs_are_not_closed() {
    for kind in [0, 2, 3] {
        for way in 0..3 {
            for (mut end, stream) in fresh() {
                let bytes = if kind == 0 { settings_for(&end) } else { vec![kind] };
                match way {
                    0 => {
                        let _ = end.last(stream, &bytes);
                    }
                    1 => {
                        let _ = end.data(stream, &bytes);
                        let _ = end.last(stream, &[]);
                    }
                    _ => {
                        let _ = end.data(stream, &bytes);
                        end.with(|connection| connection.handle_reset(stream, code::H3_NO_ERROR));
                    }
                }
                assert_eq!(end.closed(), Some(code::H3_CLOSED_CRITICAL_STREAM), "{kind} {way}");
            }
        }
    }
    for (mut end, peers) in fresh() {
        // This side's own.
        let own = peers ^ 1;
        end.with(|connection| connection.handle_stop_sending(own, code::H3_NO_ERROR));
        end.assert_connection_error(code::H3_CLOSED_CRITICAL_STREAM, "STOP_SENDING");
    }
}

/// RFC 9114, section 7.2.
#[test]
fn frames_have_their_places_on_control_streams() {
    let cases: &[(Vec<u8>, u64, u64)] = &[
        // The frame, a client's error and a server's.
        (frame(0, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(1, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(4, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(5, &[0]), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(2, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(6, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(8, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(9, b""), code::H3_FRAME_UNEXPECTED, code::H3_FRAME_UNEXPECTED),
        (frame(3, &[0]), code::H3_ID_ERROR, code::H3_ID_ERROR),
        (frame(3, &[]), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
        (frame(3, &[0, 0]), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
        (frame(7, &[]), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
        (frame(7, &[0, 0]), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
        (frame(7, &[0x40]), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
        ([varint(7), varint(1 << 40)].concat(), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
        (
            [frame(0xd, &[4]), frame(0xd, &[3])].concat(),
            code::H3_FRAME_UNEXPECTED,
            code::H3_ID_ERROR,
        ),
        (varint(0x41), code::H3_FRAME_ERROR, code::H3_FRAME_ERROR),
    ];
    for (frames, clients, servers) in cases {
        for (mut end, stream) in fresh() {
            let settings = settings_for(&end);
            let _ = end.data(stream, &settings);
            let _ = end.data(stream, frames);
            let code = if end.connection.is_client() { clients } else { servers };
            end.assert_connection_error(*code, &format!("{frames:x?}"));
        }
    }
    // A client's GOAWAY names a push, a server's a request.
    for id in [1, 2, 3, 5] {
        for (mut end, stream) in fresh() {
            let settings = settings_for(&end);
            let _ = end.data(stream, &[settings, frame(7, &[id])].concat());
            let expected = end.connection.is_client().then_some(code::H3_ID_ERROR);
            assert_eq!(end.closed(), expected, "{id}");
        }
    }
    // What is unknown is passed over, and MAX_PUSH_ID tolerated at a server.
    let mut end = End::ready_server();
    let bytes = [frame(0x21, b"x"), frame(0xf0700, b"\0u=1"), frame(0xd, &[3]), frame(0xd, &[3])];
    assert_eq!(end.data(CLIENT_CONTROL, &bytes.concat()), Route::Own);
    assert!(end.actions.is_empty() && end.events.is_empty());
}

#[test]
fn settings_are_checked() {
    for (settings, code) in [
        (vec![(0x33, 1), (0x33, 1)], code::H3_SETTINGS_ERROR),
        (vec![(0x77, 1), (0x77, 1)], code::H3_SETTINGS_ERROR),
        (vec![(0x33, 2)], code::H3_SETTINGS_ERROR),
        (vec![(0x8, 2)], code::H3_SETTINGS_ERROR),
        (vec![(0x2, 0)], code::H3_SETTINGS_ERROR),
        (vec![(0x4, 0)], code::H3_SETTINGS_ERROR),
    ] {
        for (mut end, stream) in fresh() {
            let _ = end.data(stream, &control(&settings));
            end.assert_connection_error(code, &format!("{settings:x?}"));
        }
    }
    for (mut end, stream) in fresh() {
        let _ = end.data(stream, &[0, 4, 3, 0x33, 1, 0x8]);
        end.assert_connection_error(code::H3_FRAME_ERROR, "SETTINGS that end within a setting");
    }
    // A length beyond the limit is refused before anything of it has come.
    for (mut end, stream) in fresh() {
        let _ = end.data(stream, &[&[0, 4][..], &varint((1 << 62) - 1)].concat());
        end.assert_connection_error(code::H3_EXCESSIVE_LOAD, "SETTINGS without end");
    }
}

/// RFC 9114, sections 4.6, 6.1 and 6.2.
#[test]
fn streams_that_may_not_be() {
    let mut end = End::established_client();
    let _ = end.data(15, &[1]);
    end.assert_connection_error(code::H3_ID_ERROR, "a push stream without MAX_PUSH_ID");
    let mut end = End::established_server();
    let _ = end.data(14, &[1]);
    end.assert_connection_error(code::H3_STREAM_CREATION_ERROR, "a client's push stream");
    for first in [frame(1, b""), frame(0x21, b""), varint(0x54)] {
        let mut end = End::established_client();
        let _ = end.data(1, &first);
        end.assert_connection_error(code::H3_STREAM_CREATION_ERROR, "a server's request stream");
    }
    // Of an unknown type: nothing of the connection is wrong.
    for mut end in End::established() {
        let stream = end.peers(Dir::Uni, 3);
        for kind in [varint(0x21), varint(0x1f * 1000 + 0x21), varint(0x41)] {
            assert_eq!(end.data(stream, &kind), Route::Refused);
            end.assert_refused(stream, code::H3_STREAM_CREATION_ERROR, &format!("{kind:x?}"));
            end.clear();
        }
    }
}

/// RFC 9204: no dynamic table is announced.
#[test]
fn qpack_streams_do_next_to_nothing() {
    for (mut end, stream) in fresh() {
        assert_eq!(end.data(stream, &[2, 0x20]), Route::Own);
        let _ = end.data(stream, &[0x3f, 0xbd, 0x01]);
        end.assert_connection_error(code::QPACK_ENCODER_STREAM_ERROR, "a capacity of 220");
    }
    for (mut end, stream) in fresh() {
        assert_eq!(end.data(stream, &[3, 0x40, 0x7f, 0x80]), Route::Own);
        let _ = end.data(stream, &[0x01, 0x80]);
        end.assert_connection_error(code::QPACK_DECODER_STREAM_ERROR, "an acknowledgment");
    }
    for section in
        [&[2, 0, 0x80][..], &[0, 0, 0x80], &[0, 0, 0x10], &[0, 0x80], &[0], &[0, 0, 0xff]]
    {
        let mut end = End::ready_server();
        let _ = end.data(CONNECT, &frame(1, section));
        end.assert_connection_error(code::QPACK_DECOMPRESSION_FAILED, &format!("{section:x?}"));
        let mut end = End::asking_client();
        let _ = end.data(CONNECT, &frame(1, section));
        end.assert_connection_error(code::QPACK_DECOMPRESSION_FAILED, &format!("{section:x?}"));
    }
}

/// RFC 9114, sections 4.1.2 to 4.4; RFC 9220.
#[test]
fn malformed_requests_are_reset() {
    let good = connect_fields();
    let without =
        |name: &str| good.iter().copied().filter(|(other, _)| *other != name).collect::<Vec<_>>();
    let with = |field| [&good[..], &[field]].concat();
    let instead = |name, value| {
        let mut fields = without(name);
        fields.insert(0, (name, value));
        fields
    };
    let get = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
    let cases = [
        without(":method"),
        without(":scheme"),
        without(":authority"),
        without(":path"),
        with((":path", "/again")),
        with((":status", "200")),
        with((":unknown", "")),
        [&[("x-a", "")][..], &good].concat(),
        with(("X-A", "")),
        with(("", "")),
        with(("x a", "")),
        with(("x-a", "a\nb")),
        with(("x-a", "a\0b")),
        with(("x-a", "a\rb")),
        with(("connection", "close")),
        with(("keep-alive", "1")),
        with(("proxy-connection", "x")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "x")),
        with(("te", "gzip")),
        with(("host", "another.example")),
        instead(":method", "GET"),
        instead(":scheme", "http"),
        instead(":authority", ""),
        instead(":authority", "user@example.com"),
        instead(":path", ""),
        instead(":path", "no-slash"),
        instead(":path", "/a b"),
        instead(":path", "/ü"),
        get[1..].to_vec(),
        get[..2].to_vec(),
        vec![(":method", "CONNECT")],
        vec![(":method", "CONNECT"), (":authority", "a"), (":path", "/")],
        vec![],
    ];
    for fields in cases {
        let mut end = End::ready_server();
        assert_eq!(end.data(CONNECT, &headers(&fields)), Route::Refused, "{fields:?}");
        end.assert_refused(CONNECT, code::H3_MESSAGE_ERROR, &format!("{fields:?}"));
        assert!(end.events.is_empty());
        // The next one has the session.
        let _ = end.data(4, &headers(&good));
        assert!(matches!(end.events[..], [Event::Requested(_)]));
    }
    for field in [("te", "trailers"), ("host", "example.com:4443"), ("x-a", "\t \u{fc}")] {
        let mut end = End::ready_server();
        let _ = end.data(CONNECT, &headers(&with(field)));
        assert!(matches!(end.events[..], [Event::Requested(_)]), "{field:?}");
    }
}

#[test]
fn malformed_responses_end_the_session() {
    for fields in [
        &[][..],
        &[(":status", "")],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "099")],
        &[(":status", "+20")],
        &[(":status", "abc")],
        &[(":status", "200"), (":status", "200")],
        &[(":path", "/")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("A", "b")],
        &[("a", "b"), (":status", "200")],
    ] {
        let mut end = End::asking_client();
        let _ = end.data(CONNECT, &headers(fields));
        end.assert_session_error(code::H3_MESSAGE_ERROR, &format!("{fields:?}"));
        // The connection is closed when the server has heard of it.
        let _ = end.last(CONNECT, &[]);
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR));
    }
}

/// RFC 9114, sections 4.1, 4.4 and 7.2; WebTransport, "Bidirectional Streams".
#[test]
fn frames_have_their_places_on_request_streams() {
    let before: &[(Vec<u8>, u64)] = &[
        (frame(0, b"x"), code::H3_FRAME_UNEXPECTED),
        (frame(3, &[0]), code::H3_FRAME_UNEXPECTED),
        (frame(4, &[]), code::H3_FRAME_UNEXPECTED),
        (frame(7, &[0]), code::H3_FRAME_UNEXPECTED),
        (frame(0xd, &[0]), code::H3_FRAME_UNEXPECTED),
        (frame(2, b""), code::H3_FRAME_UNEXPECTED),
        (frame(6, b""), code::H3_FRAME_UNEXPECTED),
        (frame(8, b""), code::H3_FRAME_UNEXPECTED),
        (frame(9, b""), code::H3_FRAME_UNEXPECTED),
        ([frame(0x21, b"x"), varint(0x41)].concat(), code::H3_FRAME_ERROR),
    ];
    for (frames, code) in before {
        for mut end in [End::ready_server(), End::asking_client()] {
            let _ = end.data(CONNECT, frames);
            end.assert_connection_error(*code, &format!("{frames:x?}"));
        }
    }
    let mut end = End::ready_server();
    let _ = end.data(CONNECT, &frame(5, &[0]));
    end.assert_connection_error(code::H3_FRAME_UNEXPECTED, "a client's PUSH_PROMISE");
    let mut end = End::asking_client();
    let _ = end.data(CONNECT, &frame(5, &[0]));
    end.assert_connection_error(code::H3_ID_ERROR, "PUSH_PROMISE without MAX_PUSH_ID");
    for kind in [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xd] {
        for mut end in End::established() {
            let _ = end.data(CONNECT, &frame(kind, &[0]));
            end.assert_connection_error(code::H3_FRAME_UNEXPECTED, &format!("{kind} in a session"));
        }
    }
    for mut end in End::established() {
        let _ = end.data(CONNECT, &varint(0x41));
        end.assert_connection_error(code::H3_FRAME_ERROR, "WT_STREAM in a session");
    }
    // What is unknown is passed over.
    for mut end in End::established() {
        let _ = end.data(CONNECT, &[frame(0x21, b"x"), frame(0x1234, b"y")].concat());
        assert!(end.actions.is_empty() && end.events.is_empty());
    }
}

#[test]
fn streams_that_end_within_a_frame_are_errors() {
    for mut end in [End::ready_server(), End::asking_client()] {
        let _ = end.last(CONNECT, &[1, 5, 0, 0]);
        end.assert_connection_error(code::H3_FRAME_ERROR, "HEADERS cut off");
    }
    for mut end in End::established() {
        let _ = end.last(CONNECT, &[0]);
        end.assert_connection_error(code::H3_FRAME_ERROR, "DATA cut off");
    }
    let mut end = End::ready_server();
    assert_eq!(end.last(CONNECT, &frame(0x21, b"")), Route::Refused);
    end.assert_refused(CONNECT, code::H3_REQUEST_INCOMPLETE, "a request without HEADERS");
    let mut end = End::asking_client();
    let _ = end.last(CONNECT, &headers(&[(":status", "100")]));
    assert!(matches!(end.failed(), Some(Error::Session { code: code::H3_MESSAGE_ERROR, .. })));
}

/// RFC 9297, section 3.3; WebTransport, "Session Termination" and "Flow Control".
#[test]
fn malformed_capsules_end_the_session() {
    let reason = [b'x'; 1025];
    for (capsule, why) in [
        (frame(0x2843, &[0, 0, 0]), "a close without a code"),
        (frame(0x2843, &[]), "an empty close"),
        ([varint(0x2843), vec![3]].concat(), "a close that will have no code"),
        (close_capsule(0, &reason), "a reason that is too long"),
        ([varint(0x2843), varint((1 << 62) - 1)].concat(), "a reason without end"),
        (close_capsule(0, &[0xff]), "a reason that is not UTF-8"),
        (frame(0x78ae, &[0]), "a drain that is not empty"),
        (frame(0x190b_4d3e, &[0, 0]), "WT_MAX_STREAM_DATA"),
        (frame(0x190b_4d42, &[0, 0]), "WT_STREAM_DATA_BLOCKED"),
    ] {
        for mut end in End::established() {
            let _ = end.data(CONNECT, &content(&capsule));
            end.assert_session_error(code::H3_MESSAGE_ERROR, why);
        }
    }
    for mut end in End::established() {
        let _ = end.last(CONNECT, &content(&frame(0x21, b"cut off")[..3]));
        assert!(matches!(end.failed(), Some(Error::Session { code: code::H3_MESSAGE_ERROR, .. })));
        assert_eq!(end.reset(CONNECT), Some(code::H3_MESSAGE_ERROR));
        assert_eq!(end.closed(), Some(code::H3_NO_ERROR), "the peer has ended it already");
    }
    // Flow control is not negotiated: its capsules are ignored, whatever is in them.
    for kind in [0x190b_4d3d, 0x190b_4d3f, 0x190b_4d40, 0x190b_4d41, 0x190b_4d43, 0x190b_4d44] {
        for mut end in End::established() {
            let _ = end.data(CONNECT, &content(&frame(kind, &[0xff; 3])));
            assert!(end.actions.is_empty() && end.events.is_empty());
        }
    }
}

#[test]
fn nothing_follows_a_close() {
    for more in [frame(0, b""), vec![0], frame(0x21, b"x")] {
        for mut end in End::established() {
            let close = content(&close_capsule(1, b""));
            let _ = end.data(CONNECT, &[close, more.clone()].concat());
            assert!(matches!(end.events[..], [Event::Closed { code: 1, .. }]));
            assert_eq!(end.reset(CONNECT), Some(code::H3_MESSAGE_ERROR));
        }
    }
    // Not even in the same frame.
    for mut end in End::established() {
        let _ = end.data(CONNECT, &content(&[close_capsule(1, b""), vec![0x21]].concat()));
        assert!(matches!(end.events[..], [Event::Closed { code: 1, .. }]));
        assert_eq!(end.reset(CONNECT), Some(code::H3_MESSAGE_ERROR));
    }
}

/// WebTransport, "WebTransport Features" and "Buffering Incoming Streams and Datagrams".
#[test]
fn streams_of_other_sessions_are_refused() {
    for session in [1, 2, 3, 5, (1 << 62) - 1] {
        for mut end in End::established() {
            let stream = end.peers(Dir::Uni, 3);
            let _ = end.data(stream, &stream_header(Dir::Uni, session));
            end.assert_connection_error(code::H3_ID_ERROR, &format!("session {session}"));
        }
        for (mut end, stream) in fresh() {
            let _ = end.data(stream, &stream_header(Dir::Uni, session));
            end.assert_connection_error(code::H3_ID_ERROR, &format!("session {session}, early"));
        }
    }
    for session in [4, 400, (1 << 62) - 4] {
        for dir in [Dir::Uni, Dir::Bi] {
            let mut ends = Vec::from(End::established());
            ends.extend([End::asked_server(), End::asking_client(), End::client()]);
            for mut end in ends {
                let stream = end.peers(dir, 3);
                assert_eq!(end.data(stream, &stream_header(dir, session)), Route::Refused);
                end.assert_refused(
                    stream,
                    code::WT_BUFFERED_STREAM_REJECTED,
                    &format!("{session}"),
                );
            }
        }
    }
}

/// RFC 9297, section 2.1.
#[test]
fn datagrams_have_a_valid_id() {
    for datagram in [&[][..], &[0x40], &[0xd0, 0, 0, 0, 0, 0, 0, 0], &[0xff; 8], &[0x80, 0, 0]] {
        for mut end in End::established() {
            assert_eq!(end.datagram(datagram), None);
            end.assert_connection_error(code::H3_DATAGRAM_ERROR, &format!("{datagram:x?}"));
        }
    }
    for mut end in End::established() {
        assert_eq!(end.datagram(&[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), None);
        assert!(end.actions.is_empty(), "the largest one there can be");
    }
}

/// RFC 9114, section 4.2.2.
#[test]
fn header_bombs_are_not_taken() {
    // 57 of the static table: 82 bytes and 32 more each, in one byte.
    let bomb = [&[0, 0][..], &[0b1111_1001; 200]].concat();
    let mut end = End::ready_server();
    assert_eq!(end.data(CONNECT, &frame(1, &bomb)), Route::Refused);
    assert_eq!(status_of(&end, CONNECT), 431);
    let mut end = End::asking_client();
    let _ = end.data(CONNECT, &frame(1, &bomb));
    end.assert_session_error(code::H3_EXCESSIVE_LOAD, "a response that is too large");
    // By its length alone.
    let huge = [varint(1), varint((1 << 62) - 1)].concat();
    let mut end = End::ready_server();
    assert_eq!(end.data(CONNECT, &huge), Route::Refused);
    assert_eq!(status_of(&end, CONNECT), 431);
    let mut end = End::asking_client();
    let _ = end.data(CONNECT, &huge);
    end.assert_session_error(code::H3_EXCESSIVE_LOAD, "a response that is too large");
}

fn status_of(end: &End, stream: u64) -> u16 {
    let (sent, fin) = &end.sent[&stream];
    assert!(fin);
    let mut reader = End::asking_client();
    let _ = reader.data(CONNECT, sent);
    let [Event::Refused { response }] = &reader.events[..] else { panic!("{:?}", reader.events) };
    response.status
}

#[test]
fn what_comes_before_a_session_is_accepted_is_limited() {
    let mut end = End::asked_server();
    let limit = Config::default().limits.early_bytes;
    let _ = end.data(CONNECT, &vec![0x21; limit]);
    assert!(end.actions.is_empty());
    let _ = end.data(CONNECT, &[0]);
    end.assert_session_error(code::H3_EXCESSIVE_LOAD, "more than is held");
    end.with(|connection| connection.accept(None, &[]));
    assert!(!end.connection.is_established());
}

#[test]
fn a_further_session_is_rejected() {
    let mut end = End::asked_server();
    let _ = end.data(4, &headers(&connect_fields())[..1]);
    end.assert_refused(4, code::H3_REQUEST_REJECTED, "while the first waits");
    let mut end = End::established_server();
    let _ = end.data(8, &headers(&connect_fields()));
    end.assert_refused(8, code::H3_REQUEST_REJECTED, "while the first is there");
    assert!(end.connection.is_established());
    // One that had begun when another came first.
    let mut end = End::ready_server();
    let request = headers(&connect_fields());
    let _ = end.data(0, &request[..20]);
    let _ = end.data(4, &request);
    end.assert_refused(0, code::H3_REQUEST_REJECTED, "too late");
    assert_eq!(end.connection.session_id(), Some(4));
}

#[test]
fn streams_that_never_say_whose_they_are_are_forgotten_and_counted() {
    for mut end in End::established() {
        let (bi, uni) = (end.peers(Dir::Bi, 3), end.peers(Dir::Uni, 3));
        assert_eq!(end.data(uni, &[0x40]), Route::Own);
        end.with(|connection| connection.handle_reset(uni, 7));
        assert_eq!(end.last(uni + 4, &[0x40, 0x54, 0x40]), Route::Refused);
        assert!(end.actions.is_empty());
        assert_eq!(end.data(bi, &[0x40, 0x41]), Route::Own);
        end.with(|connection| connection.handle_reset(bi, 7));
        // The other direction is not left open.
        assert_eq!(end.reset(bi), Some(code::H3_REQUEST_CANCELLED));
        end.with(|connection| connection.handle_reset(uni + 8, 7));
        assert_eq!(end.connection.stats().unattributed_streams, 4);
        assert!(end.closed().is_none() && end.events.is_empty());
    }
}

#[test]
fn streams_without_a_header_are_limited() {
    for mut end in End::established() {
        let limit = u64::try_from(Config::default().limits.unattributed_streams).unwrap();
        for n in 0..limit {
            assert_eq!(end.data(end.peers(Dir::Uni, 100 + n), &[0x40]), Route::Own);
        }
        let further = end.peers(Dir::Uni, 100 + limit);
        assert_eq!(end.data(further, &[0x40]), Route::Refused);
        end.assert_refused(further, code::WT_BUFFERED_STREAM_REJECTED, "one too many");
        // Those that are there can still say.
        let header = &stream_header(Dir::Uni, CONNECT)[1..];
        assert!(matches!(end.data(end.peers(Dir::Uni, 100), header), Route::Session(_)));
        assert_eq!(end.data(further + 4, &[0x40]), Route::Own);
    }
}

#[test]
fn nothing_happens_after_the_connection_is_closed() {
    for mut end in End::established() {
        assert_eq!(end.datagram(&[]), None);
        assert!(end.closed().is_some());
        end.clear();
        let stream = end.peers(Dir::Uni, 3);
        assert_eq!(end.data(stream, &stream_header(Dir::Uni, CONNECT)), Route::Refused);
        assert_eq!(end.datagram(b"\0a"), None);
        end.with(|connection| {
            connection.handle_reset(CONNECT, 0);
            connection.handle_stop_sending(CONNECT, 0);
            connection.close(0, "");
            connection.goaway();
            connection.drain();
            connection.accept(None, &[]);
        });
        assert!(end.actions.is_empty() && end.events.is_empty());
    }
}
