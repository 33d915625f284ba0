//! FETCHes of the connection's, and publishers that answer them wrongly, late or never.

use bytes::Bytes;
use moqt_conformance::end::{End, Fetched, Name, Output};
use moqt_conformance::{DRAFTS, ROLES, cases, drafts_from, say};
use moqt_engine::model::{
    FetchCancel, FetchOk, GroupOrder, Location, LocationRange, Message, Parameters,
    RequestErrorCode, RequestKind, StreamResetCode, TrackProperties,
};
use moqt_engine::wire::FetchWriter;
use moqt_engine::{
    Dir, Draft, Event, FetchTarget, MalformedRule, RequestError, RequestKey, Role, Usage,
};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session, subscribed, wait_long};

/// A FETCH that has not been answered: it, its Request ID, and where it is answered.
struct Fetching {
    request: RequestKey,
    id: u64,
    on: Name,
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// The connection fetches from `start` to `end`, as they are on the wire.
fn fetching(end: &mut End, name: &str, start: Location, to: Location) -> Fetching {
    fetching_with(end, name, start, to, &Parameters::default())
}

fn fetching_with(
    end: &mut End,
    name: &str,
    start: Location,
    to: Location,
    parameters: &Parameters,
) -> Fetching {
    let id = end.next_own_id();
    let target =
        FetchTarget::Standalone { track: say::track(name), range: LocationRange::new(start, to) };
    let request = end.with(|engine, now| engine.fetch(now, &target, parameters)).unwrap();
    Fetching { request, id, on: end.own_request() }
}

fn objects(fetched: &[Fetched]) -> Vec<(Location, &[u8])> {
    fetched
        .iter()
        .filter_map(|fetched| match fetched {
            Fetched::Object(object, payload) => Some((object.location, &payload[..])),
            _ => None,
        })
        .collect()
}

fn rejected(end: &mut End, request: RequestKey) -> Option<RequestError> {
    end.take_events().into_iter().find_map(|event| match event {
        Event::Rejected { request: over, error } if over == request => Some(error),
        _ => None,
    })
}

/// That the peer was told that the fetch is not wanted any more.
#[track_caller]
fn assert_cancelled(end: &mut End, fetching: &Fetching, code: u64) {
    if end.draft() >= Draft::D18 {
        assert!(end.did(&Output::Reset(fetching.on, code)), "{:?}", end.outputs);
        assert!(end.did(&Output::Stop(fetching.on, code)), "{:?}", end.outputs);
    } else {
        let cancel = Message::FetchCancel(FetchCancel { request_id: fetching.id });
        let said = end.said(end.control);
        assert!(said.contains(&cancel), "{:?}: {said:?}", end.draft());
    }
}

// "The FETCH_OK or REQUEST_ERROR can come at any time relative to object delivery." "It can
// destroy all FETCH state after closing the data stream with a FIN." (all drafts)
#[test]
fn a_fetch_is_read_whether_its_answer_or_its_stream_comes_first() {
    let sent = [(at(1, 0), &b"one"[..]), (at(1, 1), b""), (at(2, 7), b"three")];
    for ((draft, role), order) in cases().flat_map(|case| [0, 1, 2].map(|n| (case, n))) {
        let what = format!("{draft:?} {role:?} {order}");
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(1, 0), at(3, 0));
        let ok = say::fetch_ok(fetching.id, at(2, 8));
        let bytes = say::fetch_stream(draft, fetching.id, &sent);
        if order == 0 {
            end.say(fetching.on, &ok);
        }
        let stream = end.open(Dir::Uni);
        for (n, byte) in bytes.iter().enumerate() {
            if order == 1 && n == bytes.len() / 2 {
                end.say(fetching.on, &ok);
            }
            end.data(stream, vec![*byte]);
        }
        end.fin(stream);
        if order == 2 {
            assert_eq!(end.engine.usage().requests, before.requests + 1, "{what}");
            end.say(fetching.on, &ok);
        }
        let fetched = end.take_fetched(stream);
        assert_eq!(objects(&fetched), sent, "{what}");
        assert_eq!(fetched.last(), Some(&Fetched::Finished), "{what}");
        let answers = end.take_events();
        let answer = answers.iter().find_map(|event| match event {
            Event::Accepted { request, answer } if *request == fetching.request => answer.fetch,
            _ => None,
        });
        let answer = answer.expect("accepted");
        assert_eq!(answer.range, LocationRange::new(at(1, 0), at(2, 8)), "{what}");
        assert!(!answer.end_of_track);
        if draft >= Draft::D18 {
            assert!(end.did(&Output::Fin(fetching.on)), "{what}");
            end.fin(fetching.on);
        }
        assert_eq!(end.engine.usage(), before, "{what}");
        assert_eq!(end.engine.poll_timeout(), None, "{what}");
        bystander.assert_well(&mut end);
    }
}

// "If End Location is smaller than the Start Location in the corresponding FETCH the receiver
// MUST close the session with a PROTOCOL_VIOLATION." (all drafts, "FETCH_OK")
#[test]
fn a_fetch_ok_that_ends_before_the_start_closes() {
    for (draft, role) in cases() {
        for (to, closes) in [
            (at(2, 4), true),
            (at(1, 0), true),
            (at(1, 9), true),
            (at(2, 5), false),
            (at(2, 6), false),
            (at(2, 0), false),
            (at(3, 1), false),
        ] {
            let mut end = session(draft, role);
            let fetching = fetching(&mut end, "t", at(2, 5), at(9, 0));
            end.say(fetching.on, &say::fetch_ok(fetching.id, to));
            if closes {
                assert_closed(&end, PROTOCOL_VIOLATION, &format!("FETCH_OK to {to}"));
            } else {
                assert_eq!(end.closed(), None, "{draft:?} {role:?} {to}");
            }
        }
    }
}

// "A REQUEST_ERROR indicates that both endpoints can immediately destroy state. [...] some
// Objects could be received even if the FETCH results in error." (all drafts)
#[test]
fn a_refused_fetch_leaves_nothing_whatever_came_before() {
    for ((draft, role), has_stream) in cases().flat_map(|case| [false, true].map(|has| (case, has)))
    {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        let bytes = say::fetch_stream(draft, fetching.id, &[(at(0, 0), b"one")]);
        let stream = has_stream.then(|| end.open_with(Dir::Uni, bytes.clone()));
        let code = RequestErrorCode::InvalidRange;
        end.say(fetching.on, &say::error(fetching.id, RequestKind::Fetch, code));
        let error = rejected(&mut end, fetching.request).expect("rejected");
        assert_eq!(error.code, code, "{draft:?}");
        if let Some(stream) = stream {
            assert!(end.did(&Output::Stop(stream, 1)), "{draft:?}");
            assert_eq!(objects(&end.take_fetched(stream)).len(), 1);
        } else {
            // It is overtaken by its refusal.
            let late = end.open_with(Dir::Uni, bytes);
            assert!(end.did(&Output::Stop(late, 1)), "{draft:?}");
        }
        if draft >= Draft::D18 {
            end.fin(fetching.on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// "it MAY send STOP_SENDING for the data stream along with FETCH_CANCEL, but MUST send
// FETCH_CANCEL" (drafts 14 and 16); "It MUST send STOP_SENDING for the bidi request stream."
// (draft-18, "Fetch State Management")
#[test]
fn a_fetch_can_be_cancelled_at_every_point() {
    for ((draft, role), point) in cases().flat_map(|case| [0, 1, 2, 3].map(|point| (case, point))) {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        let bytes = say::fetch_stream(draft, fetching.id, &[(at(0, 0), b"one")]);
        if point & 1 != 0 {
            end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        }
        let stream = (point & 2 != 0).then(|| end.open_with(Dir::Uni, bytes.clone()));
        let request = fetching.request;
        end.with(|engine, now| engine.cancel(now, request, StreamResetCode::Cancelled)).unwrap();
        assert_cancelled(&mut end, &fetching, 1);
        let stream = stream.unwrap_or_else(|| end.open_with(Dir::Uni, bytes));
        assert!(end.did(&Output::Stop(stream, 1)), "{draft:?} {point}");
        if draft < Draft::D18 && point & 1 == 0 {
            // The answer that crossed.
            end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?} {point}");
        assert_eq!(end.engine.poll_timeout(), None);
        bystander.assert_well(&mut end);
    }
}

// "A subscriber keeps FETCH state until it cancels the request [...], receives REQUEST_ERROR, or
// the FETCH data stream receives a FIN or is reset." (draft-18, "Fetch State Management") A
// publisher that has sent all and ended its side of the request stops the other in the end,
// whatever the subscriber has read by then.
#[test]
fn a_fetch_whose_request_is_stopped_after_its_answer_is_read_to_its_end() {
    for ((draft, role), is_open) in cases()
        .filter(|(draft, _)| *draft >= Draft::D18)
        .flat_map(|case| [false, true].map(|is_open| (case, is_open)))
    {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        let bytes = say::fetch_stream(draft, fetching.id, &[(at(0, 0), b"one"), (at(0, 1), b"2")]);
        let (some, others) = bytes.split_at(8);
        let stream = is_open.then(|| end.open_with(Dir::Uni, some.to_vec()));
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        end.fin(fetching.on);
        end.take_events();
        end.stop(fetching.on, 1);
        assert!(end.did(&Output::Reset(fetching.on, 1)), "{draft:?} {role:?}");
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}");
        let stream = stream.unwrap_or_else(|| end.open_with(Dir::Uni, some.to_vec()));
        end.data_and(stream, others.to_vec(), true);
        let fetched = end.take_fetched(stream);
        assert_eq!(objects(&fetched), [(at(0, 0), &b"one"[..]), (at(0, 1), b"2")]);
        assert_eq!(fetched.last(), Some(&Fetched::Finished), "{draft:?} {role:?}");
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        assert_eq!(end.engine.poll_timeout(), None);
        bystander.assert_well(&mut end);
    }
}

// "A subscriber keeps FETCH state until [...] the FETCH data stream receives a FIN or is reset"
#[test]
fn a_reset_ends_a_fetch() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        let sent = [(at(0, 0), &b"one"[..]), (at(0, 1), b"two")];
        let mut bytes = say::fetch_stream(draft, fetching.id, &sent);
        bytes.truncate(bytes.len() - 1);
        let stream = end.open_with(Dir::Uni, bytes);
        let unknown = draft.dialect().reset_code(StreamResetCode::UnknownObjectStatus);
        end.reset(stream, unknown);
        let fetched = end.take_fetched(stream);
        let code = draft.dialect().reset(unknown);
        assert_eq!(fetched.last(), Some(&Fetched::Reset(code)), "{draft:?}");
        assert_eq!(objects(&fetched), [(at(0, 0), &b"one"[..]), (at(0, 1), b"tw")]);
        if draft >= Draft::D18 {
            end.fin(fetching.on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// Nothing in the drafts bounds how long a publisher may take: `Limits::answer_timeout` and
// `Limits::fetch_stream_timeout` do.
#[test]
fn an_answer_or_stream_that_does_not_come_is_not_waited_for_forever() {
    for ((draft, role), is_answered) in cases().flat_map(|case| [false, true].map(|is| (case, is)))
    {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        if is_answered {
            end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
            end.take_events();
        }
        wait_long(&mut end);
        let error = rejected(&mut end, fetching.request).expect("given up");
        assert_eq!(error.code, RequestErrorCode::Timeout, "{draft:?} {is_answered}");
        assert_eq!(error.raw_code, None);
        assert_cancelled(&mut end, &fetching, 1);
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// A stream that has come stops the clock: how fast it goes on is for the reader to judge.
#[test]
fn a_stream_that_has_come_is_waited_for() {
    for draft in DRAFTS {
        let mut end = session(draft, Role::Client);
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        let stream = end.open_with(Dir::Uni, say::fetch_stream(draft, fetching.id, &[]));
        wait_long(&mut end);
        assert_eq!(rejected(&mut end, fetching.request), None, "{draft:?}");
        assert_eq!(end.engine.poll_timeout(), None);
        end.fin(stream);
        assert_eq!(end.take_fetched(stream), [Fetched::Finished], "{draft:?}");
    }
}

// "The Objects in the response are delivered on a single unidirectional stream." (all drafts)
#[test]
fn a_second_stream_for_a_fetch_is_not_read() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        let bytes = say::fetch_stream(draft, fetching.id, &[(at(0, 0), b"one")]);
        let first = end.open_with(Dir::Uni, bytes.clone());
        let second = end.open_with(Dir::Uni, bytes);
        assert!(end.did(&Output::Stop(second, 1)), "{draft:?}");
        assert_eq!(end.closed(), None);
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        end.fin(first);
        assert_eq!(end.take_fetched(first).len(), 2, "{draft:?}");
        assert_eq!(end.take_fetched(second), []);
    }
}

/// One object of one byte, written as the draft writes an object that is not the first, but
/// without regard to order.
fn object(draft: Draft, group: u8, object: u8, priority: u8) -> Vec<u8> {
    match draft {
        Draft::D14 => vec![group, 0, object, priority, 0, 1, b'x'],
        _ => vec![0x1C, group, object, priority, 1, b'x'],
    }
}

// Draft-14, "Malformed Tracks" 1 to 3; draft-16, 1 to 4; and objects that were not asked for
// ("the Objects in the requested range in the requested order"). "When a subscriber detects a
// Malformed Track, it MUST UNSUBSCRIBE any subscription and FETCH_CANCEL any fetch for that
// Track from that publisher" (14, 16), "MUST cancel any corresponding subscription or fetches"
// (18).
#[test]
fn a_malformed_fetch_ends_all_that_there_is_of_its_track() {
    use MalformedRule::{GroupOrder as Groups, ObjectOrder, OutOfRange, SubgroupPriority};
    for (draft, role) in cases() {
        let first = object(draft, 3, 3, 7);
        let mut bad: Vec<(Vec<u8>, MalformedRule)> =
            vec![(object(draft, 1, 9, 7), OutOfRange), (object(draft, 6, 0, 7), OutOfRange)];
        let again = if draft >= Draft::D18 {
            // No group, and an Object ID Delta of 0.
            vec![0x04, 0, 1, b'x']
        } else {
            bad.push(([first.clone(), object(draft, 2, 9, 7)].concat(), Groups));
            bad.push(([first.clone(), object(draft, 3, 2, 7)].concat(), ObjectOrder));
            object(draft, 3, 3, 7)
        };
        bad.push(([first.clone(), again].concat(), ObjectOrder));
        match draft {
            Draft::D14 => {}
            Draft::D16 => bad.push(([first, object(draft, 3, 4, 8)].concat(), SubgroupPriority)),
            // The same group, the next object, another priority.
            _ => bad.push(([first, vec![0x10, 8, 1, b'x']].concat(), SubgroupPriority)),
        }
        for (bytes, rule) in bad {
            let what = format!("{draft:?} {role:?} {rule:?}");
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let (subscription, on) = subscribed(&mut end, "t", 1);
            let other = fetching(&mut end, "t", at(0, 0), at(1, 0));
            let fetching = fetching(&mut end, "t", at(2, 0), at(6, 0));
            end.say(fetching.on, &say::fetch_ok(fetching.id, at(5, 9)));
            end.take_events();
            let header = say::fetch_stream(draft, fetching.id, &[]);
            let stream = end.open_with(Dir::Uni, [header, bytes].concat());
            let fetched = end.take_fetched(stream);
            assert_eq!(fetched.last(), Some(&Fetched::Gone), "{what}: {fetched:?}");
            assert!(end.did(&Output::Stop(stream, 1)), "{what}: {:?}", end.outputs);
            let code = if draft >= Draft::D18 { 0x12 } else { 1 };
            assert_cancelled(&mut end, &fetching, code);
            let over: Vec<RequestKey> = end
                .take_events()
                .into_iter()
                .filter_map(|event| match event {
                    Event::TrackMalformed { request, rule: found, .. } => {
                        assert_eq!(found, rule, "{what}");
                        Some(request)
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(over, [fetching.request, subscription, other.request], "{what}");
            if draft >= Draft::D18 {
                assert!(end.did(&Output::Reset(on, 0x12)), "{what}");
            }
            assert_eq!(end.engine.usage(), before, "{what}");
            bystander.assert_well(&mut end);
        }
    }
}

// What FETCH_OK says of the end counts for what came before it, too.
#[test]
fn objects_past_the_end_that_fetch_ok_gives_are_malformed() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(9, 0));
        let bytes = say::fetch_stream(draft, fetching.id, &[(at(3, 3), b"x")]);
        let stream = end.open_with(Dir::Uni, bytes);
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 3)));
        let (rule, location) = (MalformedRule::OutOfRange, at(3, 3));
        let malformed = Event::TrackMalformed { request: fetching.request, rule, location };
        assert_eq!(end.take_events().last(), Some(&malformed), "{draft:?}");
        assert!(end.did(&Output::Stop(stream, 1)));
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

// "A publisher MUST send fetched groups in the requested group order, either ascending or
// descending." (all drafts)
#[test]
fn groups_come_in_the_order_asked_for() {
    let sent = [(at(5, 0), &b"a"[..]), (at(5, 1), b"b"), (at(3, 7), b"c"), (at(2, 0), b"d")];
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut parameters = Parameters::default();
        parameters.group_order = Some(GroupOrder::Descending);
        let fetching = fetching_with(&mut end, "t", at(2, 0), at(6, 0), &parameters);
        let bytes = say::fetch_stream_in(draft, GroupOrder::Descending, fetching.id, &sent);
        let stream = end.open_with(Dir::Uni, bytes);
        end.fin(stream);
        assert_eq!(objects(&end.take_fetched(stream)), sent, "{draft:?} {role:?}");
    }
}

// "If a stream ends gracefully (i.e., the stream terminates with a FIN) in the middle of a
// serialized Object, the session SHOULD be closed with a PROTOCOL_VIOLATION." (all drafts)
#[test]
fn a_fetch_that_finishes_inside_an_object_closes() {
    for (draft, role) in cases() {
        let whole = |id| say::fetch_stream(draft, id, &[(at(0, 0), b"abc")]);
        let len = whole(0).len();
        for cut in 1..=len {
            let mut end = session(draft, role);
            let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
            let bytes = whole(fetching.id);
            let header = bytes.len() - (len - 2);
            let stream = end.open_with(Dir::Uni, bytes[..cut].to_vec());
            end.fin(stream);
            if cut <= header || cut == len {
                assert_eq!(end.closed(), None, "{draft:?} {role:?} {cut}");
            } else {
                assert_closed(&end, PROTOCOL_VIOLATION, &format!("{cut} bytes"));
            }
        }
    }
}

// "If the first Object in the FETCH response uses a flag that references fields in the prior
// Object, the Subscriber MUST close the session with a PROTOCOL_VIOLATION." (draft-16, -18).
// "Any other value is a PROTOCOL_VIOLATION" (Serialization Flags).
#[test]
fn flags_that_mean_nothing_close() {
    for role in ROLES {
        for draft in drafts_from(Draft::D16) {
            let objects: [&[u8]; 6] = [
                b"\x14\x00\x80\x01x",
                b"\x18\x00\x80\x01x",
                b"\x0C\x00\x00\x01x",
                b"\x1D\x00\x00\x80\x01x",
                b"\x1E\x00\x00\x80\x01x",
                // 0x80 as either kind of integer.
                if draft == Draft::D16 { b"\x40\x80\x00\x00" } else { b"\x80\x80\x00\x00" },
            ];
            for bytes in objects {
                let mut end = session(draft, role);
                let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
                let header = say::fetch_stream(draft, fetching.id, &[]);
                end.open_with(Dir::Uni, [&header[..], bytes].concat());
                assert_closed(&end, PROTOCOL_VIOLATION, &format!("{bytes:x?}"));
            }
        }
    }
}

// Objects of a fetch that nobody reads stay in the transport beyond a limit.
#[test]
fn an_unread_fetch_holds_the_publisher_back() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        end.reads_at_once = false;
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        let payload = vec![7; 300_000];
        let mut bytes = Bytes::from(say::fetch_stream(draft, fetching.id, &[(at(0, 0), &payload)]));
        let stream = end.open(Dir::Uni);
        loop {
            let key = end.key(stream);
            let window = end.engine.recv_window(key);
            if window == 0 {
                break;
            }
            let piece = bytes.split_to(window.min(bytes.len()).min(10_000));
            end.data(stream, piece);
            end.drain();
        }
        assert!(end.engine.usage().receive_bytes <= 256 * 1024, "{draft:?}");
        assert!(!bytes.is_empty());
        end.read_fetch(stream, 200_000);
        assert_eq!(end.resumed, [stream], "{draft:?}");
        end.data_and(stream, bytes, true);
        end.read_fetch(stream, usize::MAX);
        let fetched = end.take_fetched(stream);
        assert_eq!(objects(&fetched), [(at(0, 0), &payload[..])]);
        assert_eq!(fetched.last(), Some(&Fetched::Finished));
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(0, 1)));
        if draft >= Draft::D18 {
            end.fin(fetching.on);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        end.reads_at_once = true;
        bystander.assert_well(&mut end);
    }
}

// "The publisher MUST send exactly one FETCH_OK or REQUEST_ERROR in response to a FETCH."
#[test]
fn answers_must_fit_a_fetch_and_come_once() {
    for (draft, role) in cases() {
        let mut answers = vec![("SUBSCRIBE_OK", say::subscribe_ok(0, 1))];
        if draft != Draft::D14 {
            answers.push(("REQUEST_OK", say::ok(0, RequestKind::TrackStatus)));
        }
        for (what, answer) in answers {
            let mut end = session(draft, role);
            let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
            let answer = match answer {
                Message::SubscribeOk(_) => say::subscribe_ok(fetching.id, 1),
                _ => say::ok(fetching.id, RequestKind::TrackStatus),
            };
            end.say(fetching.on, &answer);
            assert_closed(&end, PROTOCOL_VIOLATION, what);
        }
        let mut end = session(draft, role);
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        end.say(fetching.on, &say::fetch_ok(fetching.id, at(3, 0)));
        assert_closed(&end, PROTOCOL_VIOLATION, "a second FETCH_OK");
    }
}

// "For FETCH_OK messages: the subscriber MUST cancel the fetch" with a Mandatory Track Property
// that it does not understand (draft-18, "Mandatory Track Properties").
#[test]
fn a_mandatory_property_that_is_not_understood_cancels_the_fetch() {
    for role in ROLES {
        let draft = Draft::D18;
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let fetching = fetching(&mut end, "t", at(0, 0), at(3, 0));
        let Message::FetchOk(ok) = say::fetch_ok(fetching.id, at(3, 0)) else { unreachable!() };
        let track_properties = TrackProperties::new().with_int(0x4000, 1);
        end.say(fetching.on, &Message::FetchOk(FetchOk { track_properties, ..ok }));
        let error = rejected(&mut end, fetching.request).expect("cancelled");
        assert_eq!(error.code, RequestErrorCode::UnsupportedExtension);
        assert_cancelled(&mut end, &fetching, 1);
        let late = end.open_with(Dir::Uni, say::fetch_stream(draft, fetching.id, &[]));
        assert!(end.did(&Output::Stop(late, 1)));
        assert_eq!(end.engine.usage(), before);
        bystander.assert_well(&mut end);
    }
}

// The peer ends the request's stream without an answer, or after everything is there.
#[test]
fn the_end_of_the_request_stream_matters_only_while_something_is_missing() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let unanswered = fetching(&mut end, "t", at(0, 0), at(3, 0));
        end.fin(unanswered.on);
        let error = rejected(&mut end, unanswered.request).expect("no answer will come");
        assert_eq!(error.code, RequestErrorCode::InternalError);
        assert_eq!(end.engine.usage(), before);

        end.reads_at_once = false;
        let whole = fetching(&mut end, "t", at(0, 0), at(3, 0));
        end.say(whole.on, &say::fetch_ok(whole.id, at(3, 0)));
        let bytes = say::fetch_stream(Draft::D18, whole.id, &[(at(0, 0), b"one")]);
        let stream = end.open_with(Dir::Uni, bytes);
        end.fin(stream);
        end.stop(whole.on, 0);
        end.reset(whole.on, 0);
        end.read_fetch(stream, usize::MAX);
        let fetched = end.take_fetched(stream);
        assert_eq!(fetched.last(), Some(&Fetched::Finished), "{fetched:?}");
        assert_eq!(end.engine.usage(), before);

        let cut = fetching(&mut end, "t", at(0, 0), at(3, 0));
        end.say(cut.on, &say::fetch_ok(cut.id, at(3, 0)));
        end.take_events();
        end.reset(cut.on, 0x9);
        let events = end.take_events();
        let code = StreamResetCode::ExcessiveLoad;
        assert_eq!(events, [Event::Cancelled { request: cut.request, code, error: None }]);
        assert_eq!(end.engine.usage(), before);
        end.reads_at_once = true;
        bystander.assert_well(&mut end);
    }
}

// Ends of range are told, and what follows is put after them (draft-16, -18, "End of Range").
#[test]
fn ends_of_range_are_told() {
    use moqt_engine::model::EndOfRange;
    for role in ROLES {
        for draft in drafts_from(Draft::D16) {
            let mut end = session(draft, role);
            let fetching = fetching(&mut end, "t", at(0, 0), at(9, 0));
            let mut bytes = Vec::new();
            let mut writer = FetchWriter::new(draft.dialect(), GroupOrder::Ascending);
            writer.header(fetching.id, &mut bytes).unwrap();
            writer.end_of_range(at(1, 4), EndOfRange::Unknown, &mut bytes).unwrap();
            let object = say::fetch_object(at(1, 5), b"x");
            writer.object(&object, &mut bytes).unwrap();
            bytes.push(b'x');
            writer.end_of_range(at(2, 0), EndOfRange::NonExistent, &mut bytes).unwrap();
            let stream = end.open(Dir::Uni);
            for byte in bytes {
                end.data(stream, vec![byte]);
            }
            end.fin(stream);
            let expected = [
                Fetched::EndOfRange(at(1, 4), EndOfRange::Unknown),
                Fetched::Object(object, b"x".to_vec()),
                Fetched::EndOfRange(at(2, 0), EndOfRange::NonExistent),
                Fetched::Finished,
            ];
            assert_eq!(end.take_fetched(stream), expected, "{draft:?}");
        }
    }
}

#[test]
fn what_cannot_be_fetched_is_not_asked_for() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let said = end.outputs.len();
        let range = LocationRange::new(at(2, 0), at(1, 0));
        let target = FetchTarget::Standalone { track: say::track("t"), range };
        let fetched = end.with(|engine, now| engine.fetch(now, &target, &Parameters::default()));
        assert!(fetched.is_err(), "{draft:?}");
        assert_eq!(end.outputs.len(), said);
        assert_eq!(end.engine.usage().requests, Usage::default().requests);
    }
}
