//! How the bytes of a stream are cut makes no difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use moqt_webtransport::{Action, Dir, Event, Route};

use common::*;

/// Everything that an end does about streams: what it sent, asked for and told, and what of the
/// streams it gave to the application.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    actions: Vec<Action>,
    events: Vec<Event>,
    given: Vec<u8>,
}

/// One stream's bytes, cut at these places, and its end with the last piece or after it.
fn outcome(mut end: End, stream: u64, bytes: &[u8], cuts: &[usize], ends: Ends) -> Outcome {
    let mut given = Vec::new();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        pieces.push((&bytes[from..cut], false));
        from = cut;
    }
    match ends {
        Ends::Never => {}
        Ends::Apart => pieces.push((&[], true)),
        Ends::WithTheLast => pieces.last_mut().unwrap().1 = true,
    }
    let mut route = Route::Own;
    for (piece, fin) in pieces {
        match route {
            Route::Own => route = end.bytes(stream, piece, fin),
            Route::Session(_) => given.extend_from_slice(piece),
            Route::Held | Route::Refused => {}
        }
        if let Route::Session(data) = &mut route {
            given.extend_from_slice(data);
            data.clear();
        }
    }
    Outcome { actions: end.actions, events: end.events, given }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    WithTheLast,
    Apart,
    Never,
}

type Case = (fn() -> End, u64, Vec<u8>);

/// Whole streams, good and bad.
fn cases() -> Vec<Case> {
    let reserved = frame(0x1f * 70 + 0x21, b"reserved");
    let server_control = [control(&server_settings()), reserved.clone()].concat();
    let goaway = [reserved.clone(), frame(7, &[0x40, 8])].concat();
    let client_control =
        [control(&client_settings()), frame(0xd, &[3]), reserved.clone(), frame(7, &[5])].concat();
    let mut fields = connect_fields();
    fields.extend([("wt-available-protocols", "\"a\", b"), ("origin", "https://example.com")]);
    let capsules = [
        frame(0x1234, b"unknown"),
        frame(0x78ae, b""),
        frame(0, b"datagram"),
        close_capsule(9, b"the end"),
    ]
    .concat();
    let (first, second) = capsules.split_at(17);
    let session = [reserved.clone(), content(first), reserved.clone(), content(second)].concat();
    let request = [reserved.clone(), headers(&fields)].concat();
    let response =
        [headers(&[(":status", "103")]), headers(&[(":status", "200")]), session.clone()].concat();
    let refusal = [headers(&[(":status", "404")]), content(b"body")].concat();
    let mut cases: Vec<Case> = vec![
        (End::client, SERVER_CONTROL, server_control),
        (End::asking_client, SERVER_CONTROL, goaway),
        (End::server, CLIENT_CONTROL, client_control),
        (End::ready_server, CONNECT, [request.clone(), session.clone()].concat()),
        (End::server, CONNECT, request.clone()),
        (End::established_server, 4, request),
        (End::asking_client, CONNECT, response),
        (End::asking_client, CONNECT, refusal),
        (
            End::ready_server,
            CONNECT,
            headers(&[(":method", "GET"), (":scheme", "https"), (":path", "/")]),
        ),
        (
            End::established_server,
            4,
            [stream_header(Dir::Bi, CONNECT), b"payload".to_vec()].concat(),
        ),
        (
            End::established_client,
            7,
            [stream_header(Dir::Uni, CONNECT), b"payload".to_vec()].concat(),
        ),
        (
            End::established_client,
            1,
            [stream_header(Dir::Bi, 1 << 20), b"payload".to_vec()].concat(),
        ),
        (End::established_client, 7, varints(&[0x4321, 1])),
        (End::established_client, 7, varints(&[0x54, 0x4321])),
        (End::server, 6, [&[2][..], &[0x20; 4], &[0x81]].concat()),
        (End::server, 6, [&[3][..], &[0x7f, 0x80, 0x01, 0x48, 0x01]].concat()),
    ];
    for establish in [End::established_client as fn() -> End, End::established_server] {
        cases.push((establish, CONNECT, session.clone()));
        cases.push((establish, CONNECT, [session.clone(), vec![0]].concat()));
        cases.push((establish, CONNECT, content(&[close_capsule(1, b""), vec![7]].concat())));
        cases.push((establish, CONNECT, content(&close_capsule(1, b"\xff"))));
        cases.push((establish, CONNECT, [content(first), varint(0x41)].concat()));
        cases.push((establish, CONNECT, session[..session.len() - 1].to_vec()));
    }
    cases
}

/// The ways in which a stream may end that are the same to its reader.
const ENDS: [&[Ends]; 2] = [&[Ends::Never], &[Ends::WithTheLast, Ends::Apart]];

/// That a client may open its CONNECT stream is an answer, and what comes before or after it is not
/// the same: there the end is left out.
fn ends_of(stream: u64) -> &'static [&'static [Ends]] {
    if stream == SERVER_CONTROL { &ENDS[..1] } else { &ENDS }
}

#[test]
fn cutting_a_stream_in_two_anywhere_makes_no_difference() {
    for (at, (make, stream, bytes)) in cases().into_iter().enumerate() {
        for ends in ends_of(stream) {
            let whole = outcome(make(), stream, &bytes, &[], ends[0]);
            for cut in 0..=bytes.len() {
                for end in *ends {
                    let cut_in_two = outcome(make(), stream, &bytes, &[cut], *end);
                    assert_eq!(cut_in_two, whole, "case {at}, cut at {cut}, {end:?}");
                }
            }
        }
    }
}

#[test]
fn single_bytes_make_no_difference() {
    for (at, (make, stream, bytes)) in cases().into_iter().enumerate() {
        for ends in ends_of(stream) {
            let whole = outcome(make(), stream, &bytes, &[], ends[0]);
            let cuts: Vec<usize> = (1..bytes.len()).collect();
            assert_eq!(outcome(make(), stream, &bytes, &cuts, ends[0]), whole, "case {at}");
        }
    }
}

/// What is told of a beginning is a beginning of what is told of all.
#[test]
fn truncated_streams_are_told_as_far_as_they_go() {
    for (at, (make, stream, bytes)) in cases().into_iter().enumerate() {
        let whole = outcome(make(), stream, &bytes, &[], Ends::Never);
        for length in 0..bytes.len() {
            let cut = outcome(make(), stream, &bytes[..length], &[], Ends::Never);
            assert!(whole.events.starts_with(&cut.events), "case {at}, {length}: {cut:?}");
            assert!(whole.actions.starts_with(&cut.actions), "case {at}, {length}: {cut:?}");
            assert!(whole.given.starts_with(&cut.given), "case {at}, {length}: {cut:?}");
            // One that ends there: nothing breaks, and at most one error is told.
            let ended = outcome(make(), stream, &bytes[..length], &[], Ends::WithTheLast);
            let failures = ended.events.iter().filter(|event| matches!(event, Event::Failed(_)));
            assert!(failures.count() <= 1, "case {at}, {length}: {ended:?}");
        }
    }
}
