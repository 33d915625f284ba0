//! Data streams and datagrams that are not what they should be.

use bytes::Bytes;
use moqt_conformance::end::{Got, Output};
use moqt_conformance::{DRAFTS, cases, say};
use moqt_engine::model::{Location, StreamResetCode};
use moqt_engine::{Dir, Draft, DropReason, Event, Role};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session, subscribed, wait_long};

// "An endpoint that receives an unknown stream or datagram type MUST close the session."
// (draft-14, -16 "Data Streams and Datagrams"; draft-18, "Unidirectional Stream Types")
#[test]
fn unknown_types_close() {
    // What a later draft defines is unknown to an earlier one.
    for (draft, role) in cases() {
        let streams: &[&[u8]] = match draft {
            Draft::D14 => &[b"\x00", b"\x16", b"\x17", b"\x1e", b"\x30", b"\x40\x50"],
            Draft::D16 => &[b"\x00", b"\x16", b"\x37", b"\x3e", b"\x40\x50"],
            _ => &[b"\x00", b"\x16", b"\x7e", b"\x80\x90"],
        };
        for bytes in streams {
            let mut end = session(draft, role);
            end.open_with(Dir::Uni, bytes.to_vec());
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("stream type {bytes:x?}"));
        }
        let datagrams: &[u8] = match draft {
            Draft::D14 => &[0x08, 0x10, 0x22, 0x24, 0x28],
            _ => &[0x10, 0x22, 0x23, 0x2A, 0x30],
        };
        for code in datagrams {
            let mut end = session(draft, role);
            end.datagram(vec![*code, 1, 1, 1, 1, 1]);
            assert_closed(&end, PROTOCOL_VIOLATION, &format!("datagram type {code:#x}"));
        }
    }
}

// Draft-18, "Padding": on streams and in datagrams, to be discarded. Earlier drafts have none.
#[test]
fn padding_is_for_draft_18() {
    // 0x132B3E28 and 0x132B3E29 as integers of four bytes, of either kind.
    for (draft, role) in cases() {
        let vi64 = |last: u8| vec![0xF0, 0x13, 0x2B, 0x3E, last];
        let quic = |last: u8| vec![0xC0, 0, 0, 0, 0x13, 0x2B, 0x3E, last];
        let code = |last| if draft >= Draft::D18 { vi64(last) } else { quic(last) };
        let mut end = session(draft, role);
        let mut bystander = (draft >= Draft::D18).then(|| Bystander::new(&mut end));
        let padding = end.open_with(Dir::Uni, code(0x28));
        if let Some(bystander) = &mut bystander {
            end.data(padding, vec![0; 300_000]);
            assert_eq!(end.engine.usage().receive_bytes, 0, "padding is not kept");
            bystander.assert_well(&mut end);
            end.fin(padding);
            let before = end.engine.usage();
            end.datagram([code(0x29), vec![0; 100]].concat());
            assert_eq!(end.engine.usage(), before);
            bystander.assert_well(&mut end);
        } else {
            assert_closed(&end, PROTOCOL_VIOLATION, "a padding stream");
            let mut end = session(draft, role);
            end.datagram(code(0x29));
            assert_closed(&end, PROTOCOL_VIOLATION, "a padding datagram");
        }
    }
}

// "If an Object Datagram includes the Properties field with a Properties Length of 0, it MUST
// close the session" (draft-18, "Object Datagram"; the same in 14 and 16 for extensions)
#[test]
fn datagrams_that_are_malformed_close() {
    for (draft, role) in cases() {
        let cases: &[(&[u8], &str)] = &[
            (b"\x01\x01\x00\x00\x80\x00x", "a properties length of 0"),
            (b"\x00\x01\x00", "cut off in its header"),
            (b"", "empty"),
            (b"\x01\x01\x00\x00\x80\x09\x02\x01", "properties longer than the datagram"),
            (b"\x20\x01\x00\x00\x80\x02", "a status that there is none of"),
            (b"\x20\x01\x00\x00\x80\x03x", "a status and payload"),
        ];
        for (bytes, what) in cases {
            let mut end = session(draft, role);
            subscribed(&mut end, "t", 1);
            end.datagram(bytes.to_vec());
            assert_closed(&end, PROTOCOL_VIOLATION, what);
        }
        let mut end = session(draft, role);
        subscribed(&mut end, "t", 1);
        end.datagram(say::datagram(draft, 1, Location::new(0, 3), b""));
        assert!(matches!(end.events[..], [Event::Datagram { .. }]), "{:?}", end.events);
    }
}

// "If a stream ends gracefully (i.e., the stream terminates with a FIN) in the middle of a
// serialized Object, the session SHOULD be closed with a PROTOCOL_VIOLATION." (all drafts,
// "Data Streams" / "Subgroup Header")
#[test]
fn a_stream_that_finishes_inside_an_object_closes() {
    for (draft, role) in cases() {
        let whole = say::subgroup(draft, 1, 0, &[(0, b"abc"), (1, b"")]);
        let header = say::header(draft, 1, 0, 0, false).len();
        let first = header + 2 + 3;
        for len in header..=whole.len() {
            let mut end = session(draft, role);
            subscribed(&mut end, "t", 1);
            let stream = end.open_with(Dir::Uni, whole[..len].to_vec());
            end.fin(stream);
            if [header, first, whole.len()].contains(&len) {
                assert_eq!(end.closed(), None, "{draft:?} {role:?} {len}");
                assert_eq!(end.reads[&stream].last(), Some(&Got::Finished));
            } else {
                assert_closed(&end, PROTOCOL_VIOLATION, &format!("{len} bytes"));
            }
        }
    }
}

#[test]
fn objects_that_are_malformed_close() {
    for (draft, role) in cases() {
        let header = say::header(draft, 1, 0, 0, false);
        let with_properties = say::header(draft, 1, 0, 0, true);
        // Status 2 is none of any draft; 1 is none of drafts 16 and 18.
        let mut bad: Vec<(Vec<u8>, &str)> = vec![
            ([&header[..], b"\x00\x00\x02"].concat(), "a status that there is none of"),
            (
                [&with_properties[..], &large_properties(draft)[..]].concat(),
                "more properties than allowed, by their length alone",
            ),
            // "Object ID Delta + previous Object ID + 1" past the largest integer there is.
            ([&header[..], &largest(draft)[..], b"\x00\x00", &largest(draft)[..]].concat(), "IDs"),
        ];
        if draft != Draft::D14 {
            bad.push(([&header[..], b"\x00\x00\x01"].concat(), "draft 14's status"));
            bad.push((
                [&with_properties[..], b"\x00\x02\x3c\x01\x00\x03"].concat(),
                "properties of an object with a status",
            ));
        }
        for (bytes, what) in bad {
            let mut end = session(draft, role);
            subscribed(&mut end, "t", 1);
            let mut bytes = bytes;
            if what == "IDs" {
                // Draft 14 and 16 have integers up to 2^62 - 1: four steps of that overflow.
                for _ in 0..4 {
                    bytes.extend_from_slice(b"\x00\x00");
                    bytes.extend_from_slice(&largest(draft));
                }
                bytes.extend_from_slice(b"\x00\x00");
            }
            end.open_with(Dir::Uni, bytes);
            assert_closed(&end, PROTOCOL_VIOLATION, what);
        }
    }
}

/// The largest integer.
fn largest(draft: Draft) -> Vec<u8> {
    match draft {
        _ if draft >= Draft::D18 => vec![0xFF; 9],
        _ => vec![0xFF; 8],
    }
}

/// Object ID delta 0, and a length of properties of 16,385 as a QUIC integer or a vi64.
fn large_properties(draft: Draft) -> Vec<u8> {
    match draft {
        _ if draft >= Draft::D18 => vec![0, 0xC0, 0x40, 0x01],
        _ => vec![0, 0x80, 0, 0x40, 0x01],
    }
}

// Draft-18, "FETCH_HEADER": it belongs to a FETCH; this endpoint has sent none.
#[test]
fn a_fetch_stream_for_nobody_is_stopped() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let stream = end.open_with(Dir::Uni, &b"\x05\x00"[..]);
        assert!(end.did(&Output::Stop(stream, 1)), "{draft:?}: {:?}", end.outputs);
        bystander.assert_well(&mut end);
    }
}

// Draft-18, "Track Alias": "Subscribers SHOULD retain sufficient state to quickly discard these
// unwanted Objects, rather than treating them as belonging to an unknown Track Alias."
#[test]
fn what_comes_after_the_end_is_discarded() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let (request, _) = subscribed(&mut end, "t", 1);
        let bytes = say::subgroup(draft, 1, 0, &[(0, b"abc")]);
        let open = end.open_with(Dir::Uni, bytes.clone());
        end.with(|engine, now| engine.cancel(now, request, StreamResetCode::Cancelled)).unwrap();
        assert!(end.did(&Output::Stop(open, 1)), "{draft:?}");
        end.data(open, Bytes::from_static(b"\x00\x01x"));
        end.take_events();
        let late = end.open_with(Dir::Uni, bytes);
        assert!(end.did(&Output::Stop(late, 1)), "{draft:?}");
        end.datagram(say::datagram(draft, 1, Location::new(0, 3), b"late"));
        assert!(
            matches!(
                end.events[..],
                [Event::DatagramDropped { reason: DropReason::UnknownTrack, .. }]
            ),
            "{draft:?}: {:?}",
            end.events
        );
        bystander.assert_well(&mut end);
        wait_long(&mut end);
        assert_eq!(end.closed(), None);
    }
}

#[test]
fn a_publisher_gets_no_objects_of_its_own_track() {
    // Aliases are the sender's: what the peer sends under an alias that this end gave is
    // unknown.
    for draft in DRAFTS {
        let mut end = session(draft, Role::Server);
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "t"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else {
            panic!("no request")
        };
        end.with(|engine, now| engine.accept(now, request, moqt_engine::Accept::default()))
            .unwrap();
        let stream = end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"x")]));
        assert!(end.events.is_empty(), "{:?}", end.events);
        wait_long(&mut end);
        assert!(end.did(&Output::Stop(stream, 1)), "{draft:?}");
        assert_eq!(end.closed(), None);
    }
}

// Padding is discarded however it comes and ends (draft-18, "Padding").
#[test]
fn padding_leaves_nothing_however_it_ends() {
    for (draft, role) in cases().filter(|(draft, _)| *draft >= Draft::D18) {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let padding = [vec![0xF0, 0x13, 0x2B, 0x3E, 0x28], vec![0; 1_000]].concat();
        // All at once.
        let whole = end.open(Dir::Uni);
        end.data_and(whole, padding.clone(), true);
        assert_eq!(end.engine.usage(), before, "{role:?}");
        // In pieces, of which any size is welcome, and reset.
        let open = end.open_with(Dir::Uni, padding);
        let key = end.key(open);
        assert_eq!(end.engine.recv_window(key), usize::MAX, "{role:?}");
        end.reset(open, 1);
        assert_eq!(end.engine.usage(), before, "{role:?}");
        assert_eq!((end.closed(), end.take_events()), (None, vec![]), "{role:?}");
    }
}
