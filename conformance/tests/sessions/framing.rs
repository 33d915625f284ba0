//! Streams at their edges: how they are cut, read and ended where little or nothing is left.

use bytes::Bytes;
use moqt_conformance::end::{End, Fetched, Got, Name, Output};
use moqt_conformance::objects::SubgroupStream;
use moqt_conformance::{DRAFTS, cases, say};
use moqt_engine::model::{Location, LocationRange, Parameters, StreamResetCode};
use moqt_engine::{
    Config, Dir, Draft, Event, FetchRead, FetchTarget, Read, RequestKey, Role, StreamKey,
};

use crate::subscribed;

const OBJECTS: &[(u64, &[u8])] = &[(0, b"first"), (1, b""), (2, b"last")];

/// A subscription whose peer has opened a stream, read by hand.
fn subgroup(draft: Draft, role: Role) -> (End, Name) {
    let mut end = End::established(draft, role, Config::default());
    subscribed(&mut end, "t", 1);
    end.reads_at_once = false;
    end.keeps_readable = true;
    let stream = end.open(Dir::Uni);
    (end, stream)
}

/// The same with a fetch, and its request and ID.
fn fetch(draft: Draft, role: Role) -> (End, Name, RequestKey, u64) {
    let mut end = End::established(draft, role, Config::default());
    let id = end.next_own_id();
    let range = LocationRange::new(Location::ZERO, Location::new(9, 0));
    let target = FetchTarget::Standalone { track: say::track("t"), range };
    let fetch = end.with(|engine, now| engine.fetch(now, &target, &Parameters::default()));
    let on = end.own_request();
    end.say(on, &say::fetch_ok(id, Location::new(9, 0)));
    end.reads_at_once = false;
    end.keeps_readable = true;
    let stream = end.open(Dir::Uni);
    (end, stream, fetch.unwrap(), id)
}

fn fetched(id: u64, draft: Draft) -> Vec<u8> {
    let objects: Vec<(Location, &[u8])> =
        OBJECTS.iter().map(|(id, payload)| (Location::new(0, *id), *payload)).collect();
    say::fetch_stream(draft, id, &objects)
}

fn readable(end: &mut End, of: StreamKey) -> bool {
    end.take_events()
        .iter()
        .any(|event| matches!(event, Event::Readable { stream } if *stream == of))
}

#[test]
fn no_bytes_of_payload_may_be_asked_for_and_do_not_stop_a_subgroup() {
    for (draft, role) in cases() {
        let (mut end, stream) = subgroup(draft, role);
        let bytes = say::subgroup(draft, 1, 0, OBJECTS);
        let (first, second) = bytes.split_at(bytes.len() - 2);
        end.data(stream, first.to_vec());
        let key = end.key(stream);
        assert!(matches!(end.engine.read(key, 0), Read::Object(_)));
        for _ in 0..3 {
            assert_eq!(end.engine.read(key, 0), Read::Payload(Bytes::new()), "{draft:?}");
        }
        assert_eq!(end.engine.read(key, 9), Read::Payload(Bytes::from_static(b"first")));
        assert!(matches!(end.engine.read(key, 0), Read::Object(_)));
        assert!(matches!(end.engine.read(key, 0), Read::Object(_)));
        assert_eq!(end.engine.read(key, 2), Read::Payload(Bytes::from_static(b"la")));
        assert_eq!(end.engine.read(key, 0), Read::Pending, "{draft:?}: none has come");
        end.take_events();
        end.data_and(stream, second.to_vec(), true);
        assert!(readable(&mut end, key), "{draft:?}");
        assert_eq!(end.engine.read(key, 9), Read::Payload(Bytes::from_static(b"st")));
        assert_eq!(end.engine.read(key, 0), Read::Finished, "{draft:?}");
    }
}

#[test]
fn no_bytes_of_payload_may_be_asked_for_and_do_not_stop_a_fetch() {
    for (draft, role) in cases() {
        let (mut end, stream, _, id) = fetch(draft, role);
        let bytes = fetched(id, draft);
        let (first, second) = bytes.split_at(bytes.len() - 2);
        // Headers come in two pieces each, and are put together for whoever asks for no payload.
        for byte in first.chunks(1) {
            end.data(stream, byte.to_vec());
        }
        let key = end.key(stream);
        assert!(matches!(end.engine.read_fetch(key, 0), FetchRead::Object(_)), "{draft:?}");
        for _ in 0..3 {
            let nothing = FetchRead::Payload(Bytes::new());
            assert_eq!(end.engine.read_fetch(key, 0), nothing, "{draft:?}");
        }
        end.read_fetch(stream, 5);
        assert!(matches!(end.engine.read_fetch(key, 0), FetchRead::Object(_)), "{draft:?}");
        assert!(matches!(end.engine.read_fetch(key, 0), FetchRead::Object(_)), "{draft:?}");
        end.read_fetch(stream, 2);
        assert_eq!(end.engine.read_fetch(key, 0), FetchRead::Pending, "{draft:?}: none has come");
        end.take_events();
        end.data_and(stream, second.to_vec(), true);
        assert!(readable(&mut end, key), "{draft:?}");
        end.read_fetch(stream, usize::MAX);
        assert_eq!(end.fetched[&stream].last(), Some(&Fetched::Finished), "{draft:?}");
    }
}

#[test]
fn an_end_alone_is_told_once_and_a_reset_after_it_changes_nothing() {
    for (draft, role) in cases() {
        let (mut end, stream) = subgroup(draft, role);
        end.data(stream, say::subgroup(draft, 1, 0, OBJECTS));
        end.read(stream, usize::MAX);
        let key = end.key(stream);
        end.take_events();
        end.data(stream, Bytes::new());
        assert!(!readable(&mut end, key), "{draft:?}: there is nothing to read");
        end.fin(stream);
        assert!(readable(&mut end, key), "{draft:?}");
        end.reset(stream, 1);
        end.fin(stream);
        end.data(stream, vec![0; 9]);
        assert!(!readable(&mut end, key), "{draft:?}: that was after the end");
        assert_eq!(end.engine.read(key, 9), Read::Finished, "{draft:?}");
        assert_eq!(end.engine.read(key, 9), Read::Gone, "{draft:?}");
        assert!(end.closed().is_none() && !end.did(&Output::Stop(stream, 1)), "{draft:?}");
    }
}

#[test]
fn what_came_before_a_reset_is_read_first() {
    for (draft, role) in cases() {
        let (mut end, stream) = subgroup(draft, role);
        let bytes = say::subgroup(draft, 1, 0, OBJECTS);
        end.data(stream, bytes[..bytes.len() - 2].to_vec());
        end.reset(stream, 1);
        end.data_and(stream, bytes[bytes.len() - 2..].to_vec(), true);
        end.read(stream, usize::MAX);
        let got = end.take_reads(stream);
        let [Got::Object(..), Got::Object(..), Got::Object(_, payload), Got::Reset(code)] =
            &got[..]
        else {
            panic!("{draft:?}: {got:?}")
        };
        assert_eq!((&payload[..], *code), (&b"la"[..], StreamResetCode::Cancelled));

        let (mut end, stream, _, id) = fetch(draft, role);
        let bytes = fetched(id, draft);
        end.data(stream, bytes[..bytes.len() - 2].to_vec());
        end.reset(stream, 1);
        end.data_and(stream, bytes[bytes.len() - 2..].to_vec(), true);
        end.read_fetch(stream, usize::MAX);
        let got = end.take_fetched(stream);
        let [.., Fetched::Object(_, payload), Fetched::Reset(code)] = &got[..] else {
            panic!("{draft:?}: {got:?}")
        };
        assert_eq!((&payload[..], *code), (&b"la"[..], StreamResetCode::Cancelled));
    }
}

#[test]
fn an_object_of_the_largest_length_gives_what_has_come_of_it() {
    for (draft, role) in cases() {
        let largest: u64 = if draft >= Draft::D18 { u64::MAX } else { (1 << 62) - 1 };
        let mut bytes = vec![0];
        // Eight ones in front of eight bytes, or two bits and the rest.
        bytes.extend(vec![0xff; if draft >= Draft::D18 { 9 } else { 8 }]);
        for finishes in [false, true] {
            let (mut end, stream) = subgroup(draft, role);
            end.data(stream, say::header(draft, 1, 0, 0, false));
            for byte in &bytes {
                end.data(stream, vec![*byte]);
                end.read(stream, usize::MAX);
            }
            end.data(stream, vec![7; 1000]);
            end.read(stream, 300);
            end.read(stream, usize::MAX);
            let [Got::Object(header, payload)] = &end.reads[&stream][..] else {
                panic!("{draft:?}: not one object")
            };
            assert_eq!((header.payload_len, payload), (largest, &vec![7; 1000]), "{draft:?}");
            assert_eq!(end.engine.usage().receive_bytes, 0, "{draft:?}");
            if finishes {
                end.fin(stream);
                end.read(stream, usize::MAX);
                // "receives a FIN in the middle of a serialized Object" (draft-18, "Closing
                // Subgroup Streams")
                assert_eq!(end.closed(), Some(0x3), "{draft:?}");
            } else {
                end.reset(stream, 1);
                end.read(stream, usize::MAX);
                let last = end.take_reads(stream).pop();
                assert_eq!(last, Some(Got::Reset(StreamResetCode::Cancelled)), "{draft:?}");
            }
        }
    }
}

#[test]
fn what_still_comes_on_a_stream_given_up_is_nothing() {
    for (draft, role) in cases() {
        let (mut end, stream) = subgroup(draft, role);
        let bytes = say::subgroup(draft, 1, 0, OBJECTS);
        end.data(stream, bytes[..7].to_vec());
        end.read(stream, usize::MAX);
        let key = end.key(stream);
        let before = end.engine.usage().streams;
        end.with(|engine, _| engine.stop(key, StreamResetCode::Cancelled));
        assert!(end.did(&Output::Stop(stream, 1)), "{draft:?}");
        end.take_events();
        end.data(stream, bytes[7..].to_vec());
        end.data_and(stream, vec![0xff; 2000], true);
        end.reset(stream, 1);
        assert_eq!(end.engine.read(key, 9), Read::Gone, "{draft:?}");
        assert!(end.events.is_empty() && end.closed().is_none(), "{draft:?}: {:?}", end.events);
        let usage = end.engine.usage();
        assert_eq!((usage.receive_bytes, usage.streams), (0, before - 1), "{draft:?}");

        let (mut end, stream, request, id) = fetch(draft, role);
        let bytes = fetched(id, draft);
        end.data(stream, bytes[..7].to_vec());
        end.read_fetch(stream, usize::MAX);
        let key = end.key(stream);
        let code = StreamResetCode::Cancelled;
        end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
        assert!(end.did(&Output::Stop(stream, 1)), "{draft:?}");
        end.take_events();
        end.data(stream, bytes[7..].to_vec());
        end.data_and(stream, vec![0xff; 2000], true);
        assert_eq!(end.engine.read_fetch(key, 9), FetchRead::Gone, "{draft:?}");
        assert!(end.events.is_empty() && end.closed().is_none(), "{draft:?}: {:?}", end.events);
        assert_eq!(end.engine.usage().receive_bytes, 0, "{draft:?}");
    }
}

/// Small pieces that wait are put together behind large ones, and large ones go behind them:
/// all stay in order.
#[test]
fn small_and_large_pieces_stay_in_order() {
    for draft in DRAFTS {
        let payload: Vec<u8> = (0..20_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let bytes = SubgroupStream::new(draft, 1, 0).object(0, &payload).object(3, b"end").bytes();
        let (mut end, stream) = subgroup(draft, Role::Client);
        let mut rest = &bytes[..];
        for len in [1, 3, 255, 256, 1, 257, 4095, 2, 4096, 255, 255, 5000, 1].into_iter().cycle() {
            let (piece, more) = rest.split_at(len.min(rest.len()));
            end.data(stream, piece.to_vec());
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        end.fin(stream);
        while end.engine.usage().receive_bytes > 0 {
            end.read(stream, 100);
        }
        end.read(stream, 1);
        let got = end.take_reads(stream);
        let [Got::Object(_, one), Got::Object(_, other), Got::Finished] = &got[..] else {
            panic!("{draft:?}: {got:?}")
        };
        assert!(*one == payload && other == b"end", "{draft:?}");
    }
}
