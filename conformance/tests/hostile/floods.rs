//! Floods of what is allowed one by one: requests of a kind, objects of next to nothing, pieces
//! of next to nothing, and bytes that come one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Got, Name, Output};
use moqt_conformance::{DRAFTS, cases, say};
use moqt_engine::model::{
    Location, LocationRange, Message, Parameters, RequestErrorCode, StreamResetCode,
};
use moqt_engine::{
    Accept, Config, DatagramOptions, DatagramOutcome, Dir, Draft, DropReason, Event, FetchTarget,
    Limits, Refusal, Role,
};

use crate::{Bystander, CONTROL_MESSAGE_TIMEOUT, assert_closed, subscribed, wait_long};

fn limited(draft: Draft, role: Role, change: impl FnOnce(&mut Limits)) -> End {
    let mut config = Config::default();
    change(&mut config.limits);
    End::established(draft, role, config)
}

#[test]
fn each_kind_of_request_has_a_limit_of_its_own() {
    type Make = fn(&mut End, u64) -> Message;
    let kinds: [Make; 4] = [
        |_, id| say::subscribe(id, &format!("s{id}")),
        |_, id| say::publish(id, &format!("p{id}"), id),
        |_, id| say::publish_namespace(id, &format!("n{id}")),
        |_, id| say::fetch(id, &format!("f{id}"), Location::ZERO, Location::new(1, 0)),
    ];
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| {
            limits.open_subscriptions = 2;
            limits.open_publishes = 2;
            limits.open_publish_namespaces = 2;
            limits.open_fetches = 2;
        });
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage().requests;
        for make in kinds {
            let ask = |end: &mut End| {
                let id = end.fresh_id();
                let message = make(end, id);
                let on = end.request(&message);
                match end.take_events().pop() {
                    Some(Event::Request { request, .. }) => Ok(request),
                    _ => Err(end.said(on)),
                }
            };
            let first = ask(&mut end).unwrap();
            ask(&mut end).unwrap();
            // Draft 14 and 16 have no EXCESSIVE_LOAD.
            let code = match draft {
                _ if draft >= Draft::D18 => RequestErrorCode::ExcessiveLoad,
                _ => RequestErrorCode::InternalError,
            };
            let said = ask(&mut end).unwrap_err();
            assert!(
                matches!(said.last(), Some(Message::RequestError(error)) if error.code == code),
                "{draft:?} {role:?}: {said:?}"
            );
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            end.with(|engine, now| engine.reject(now, first, refusal)).unwrap();
            ask(&mut end).expect("there is room again");
        }
        assert_eq!(end.engine.usage().requests, before + 8, "{draft:?}");
        bystander.assert_well(&mut end);
    }
}

#[test]
fn closed_aliases_are_remembered_for_a_time() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Client, |_| {});
        let (request, _) = subscribed(&mut end, "t", 1);
        let code = StreamResetCode::Cancelled;
        end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
        let late = |end: &mut End| {
            let stream = end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"x")]));
            end.did(&Output::Stop(stream, 1))
        };
        assert!(late(&mut end), "{draft:?}: discarded at once");
        end.wait(Duration::from_micros(29_999_999));
        assert!(late(&mut end), "{draft:?}: still");
        end.wait(Duration::from_micros(1));
        assert!(!late(&mut end), "{draft:?}: it could be a new track's");
        wait_long(&mut end);
        assert_eq!(end.engine.usage().receive_bytes, 0);
        assert_eq!(end.engine.poll_timeout(), None);
    }
}

#[test]
fn the_stream_of_an_accepted_fetch_is_waited_for_so_long() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let id = end.next_own_id();
        let range = LocationRange::new(Location::ZERO, Location::new(1, 0));
        let target = FetchTarget::Standalone { track: say::track("f"), range };
        let fetch =
            end.with(|engine, now| engine.fetch(now, &target, &Parameters::default())).unwrap();
        let on = end.own_request();
        end.say(on, &say::fetch_ok(id, Location::new(1, 0)));
        assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "{draft:?}");
        end.wait(Duration::from_micros(9_999_999));
        assert!(end.events.is_empty(), "{draft:?} {role:?}: {:?}", end.events);
        end.wait(Duration::from_micros(1));
        assert!(
            matches!(&end.take_events()[..], [Event::Rejected { request, error }]
                if *request == fetch && error.code == RequestErrorCode::Timeout),
            "{draft:?} {role:?}"
        );
        assert_eq!(end.engine.usage().requests, before.requests, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

/// A buffer that says when nothing refers to it any more.
struct Watched(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn small_unread_pieces_do_not_keep_the_buffers_they_came_in() {
    for (draft, piece) in DRAFTS.into_iter().flat_map(|draft| [1, 7, 100].map(|len| (draft, len))) {
        let mut end = limited(draft, Role::Client, |_| {});
        subscribed(&mut end, "t", 1);
        end.reads_at_once = false;
        let bytes = say::subgroup(draft, 1, 0, &[(0, &[7; 2_000])]);
        let alive = Arc::new(AtomicUsize::new(0));
        let stream = end.open(Dir::Uni);
        for part in bytes.chunks(piece) {
            alive.fetch_add(1, Ordering::Relaxed);
            let mut buffer = part.to_vec();
            buffer.resize(4096, 0);
            let buffer = Bytes::from_owner(Watched(buffer, Arc::clone(&alive)));
            end.data(stream, buffer.slice(..part.len()));
        }
        assert!(alive.load(Ordering::Relaxed) <= 1, "{draft:?}, pieces of {piece}");
        end.fin(stream);
        end.read(stream, usize::MAX);
        let got = end.take_reads(stream);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if *payload == [7; 2_000]),
            "{draft:?}, pieces of {piece}"
        );
        end.pieces.clear();
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_flood_of_empty_objects_is_held_back_like_any_data() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Client, |limits| limits.stream_receive = 3_000);
        let mut bystander = Bystander::new(&mut end);
        subscribed(&mut end, "t", 1);
        let objects: Vec<(u64, &[u8])> = (0..20_000).map(|id| (id, &b""[..])).collect();
        let mut bytes = Bytes::from(say::subgroup(draft, 1, 0, &objects));
        end.reads_at_once = false;
        let stream = end.open(Dir::Uni);
        while !bytes.is_empty() {
            let window = end.engine.recv_window(end.key(stream));
            if window == 0 {
                assert_eq!(end.engine.usage().receive_bytes, 3_000, "{draft:?}");
                end.read(stream, usize::MAX);
                continue;
            }
            end.data(stream, bytes.split_to(window.min(bytes.len())));
        }
        end.fin(stream);
        end.read(stream, usize::MAX);
        assert_eq!(end.take_reads(stream).len(), 20_001, "{draft:?}");
        end.reads_at_once = true;
        bystander.assert_well(&mut end);
    }
}

#[test]
fn a_queued_datagram_of_nothing_counts_for_something() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Server, |limits| limits.subscription_send = 7_680);
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "t"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        end.takes_data = false;
        let send = |end: &mut End, object| {
            let options = DatagramOptions::new(Location::new(0, object));
            end.with(|engine, _| {
                engine.publisher(request).unwrap().datagram(options, Bytes::new()).unwrap()
            })
        };
        for object in 0..10 {
            assert_eq!(send(&mut end, object), DatagramOutcome::Queued, "{draft:?} {object}");
        }
        let full = DatagramOutcome::Dropped(DropReason::QueueFull);
        assert_eq!(send(&mut end, 10), full, "{draft:?}");
        assert_eq!(end.engine.usage().send_bytes, 7_680);
        end.take_data();
        assert_eq!(end.engine.usage().send_bytes, 0, "{draft:?}");
    }
}

/// Sends bytes one at a time, a second apart; stops when the session is closed.
fn trickle(end: &mut End, on: Name, bytes: &[u8]) {
    for byte in bytes {
        if end.closed().is_some() {
            return;
        }
        end.data(on, vec![*byte]);
        end.wait(Duration::from_secs(1));
    }
}

// CONTROL_MESSAGE_TIMEOUT: "the peer took too long to respond to a control message", and what we
// make of it: one that does not become whole (all drafts, "Termination").
#[test]
fn a_control_message_that_trickles_closes() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        let id = end.fresh_id();
        let bytes = say::message(draft, &say::subscribe(id, "anamethatislongenough"));
        assert!(bytes.len() > 20);
        let on = match draft {
            _ if draft >= Draft::D18 => end.open(Dir::Bi),
            _ => end.control,
        };
        trickle(&mut end, on, &bytes);
        assert_closed(&end, CONTROL_MESSAGE_TIMEOUT, "one byte a second");
        // The same bytes in ten seconds less one are in time.
        let mut end = limited(draft, role, |_| {});
        let on = match draft {
            _ if draft >= Draft::D18 => end.open(Dir::Bi),
            _ => end.control,
        };
        trickle(&mut end, on, &bytes[..9]);
        end.data(on, bytes[9..].to_vec());
        assert!(matches!(end.events[..], [Event::Request { .. }]), "{draft:?} {role:?}");
    }
}

#[test]
fn a_subgroup_that_trickles_is_read_as_it_comes_and_disturbs_nobody() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        let mut bystander = Bystander::new(&mut end);
        subscribed(&mut end, "t", 1);
        let bytes = say::subgroup(draft, 1, 3, &[(0, b"abc"), (5, b""), (9, b"defg")]);
        let stream = end.open(Dir::Uni);
        for byte in bytes {
            end.data(stream, vec![byte]);
            end.wait(Duration::from_millis(100));
            assert!(end.engine.usage().receive_bytes <= 64, "{draft:?}");
        }
        end.fin(stream);
        let payloads: Vec<Vec<u8>> = end
            .take_reads(stream)
            .into_iter()
            .filter_map(|got| match got {
                Got::Object(_, payload) => Some(payload),
                _ => None,
            })
            .collect();
        assert_eq!(payloads, [&b"abc"[..], b"", b"defg"], "{draft:?} {role:?}");
        end.take_events();
        bystander.assert_well(&mut end);
    }
}

// DATA_STREAM_TIMEOUT: "the peer took too long to send data expected on an open Data Stream. ...
// This includes fields of a stream header" (all drafts, "Termination"). A session need not be
// closed for it: here the stream is given up.
#[test]
fn a_stream_header_that_trickles_is_given_up() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| limits.churn_burst = 3);
        let mut bystander = Bystander::new(&mut end);
        subscribed(&mut end, "t", 1);
        let before = end.engine.usage();
        let header = say::header(draft, 1, 1 << 50, 1 << 50, false);
        for dir in [Dir::Uni, Dir::Bi] {
            // On a bidirectional stream it is the type of a message that does not come.
            let bytes = if dir == Dir::Bi { &b"\xC0\x00"[..] } else { &header[..header.len() - 1] };
            let stream = end.open(dir);
            end.data(stream, bytes[..1].to_vec());
            end.wait(Duration::from_secs(5));
            end.data(stream, bytes[1..].to_vec());
            end.wait(Duration::from_micros(4_999_999));
            assert!(!end.did(&Output::Stop(stream, 1)), "{draft:?} {role:?} {dir:?}");
            end.wait(Duration::from_micros(1));
            assert!(end.did(&Output::Stop(stream, 1)), "{draft:?} {role:?} {dir:?}");
            assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
            assert_eq!(end.engine.poll_timeout(), None);
        }
        // One that ends in any way is not waited for, and one that is whole is not either.
        let ended = end.open_with(Dir::Uni, header[..1].to_vec());
        end.reset(ended, 0);
        let whole = end.open_with(Dir::Uni, header[..1].to_vec());
        end.data(whole, header[1..].to_vec());
        wait_long(&mut end);
        assert!(!end.did(&Output::Stop(whole, 1)), "{draft:?} {role:?}");
        assert_eq!(end.engine.poll_timeout(), None, "{draft:?} {role:?}");
        end.take_events();
        bystander.assert_well(&mut end);
        // Many at once are a flood.
        for _ in 0..10 {
            end.open_with(Dir::Uni, header[..1].to_vec());
        }
        wait_long(&mut end);
        assert_closed(&end, crate::PROTOCOL_VIOLATION, "a flood of headers that never come");
    }
}

// QUIC opens a stream with any later one of its kind (RFC 9000, section 2.1), so that a stream on
// which nothing comes may just be less urgent than others.
#[test]
fn a_stream_opened_by_later_ones_is_waited_for() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        subscribed(&mut end, "t", 1);
        let stream = end.open(Dir::Uni);
        end.wait(Duration::from_secs(60));
        end.data(stream, say::subgroup(draft, 1, 0, &[(0, b"late")]));
        assert!(
            matches!(&end.take_reads(stream)[..], [Got::Object(_, payload)] if payload == b"late"),
            "{draft:?} {role:?}: {:?}",
            end.events
        );
    }
}

// Its header was not waited for any more, and yet the time for it ran on: each such stream counted
// as one that was abandoned.
#[test]
fn a_stream_whose_header_came_in_pieces_and_is_of_no_use_is_not_abandoned() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| {
            limits.churn_burst = 1;
            limits.unknown_aliases = 0;
        });
        let header = say::header(draft, 77, 0, 0, false);
        for _ in 0..5 {
            let stream = end.open_with(Dir::Uni, header[..1].to_vec());
            end.wait(Duration::from_secs(1));
            end.data(stream, header[1..].to_vec());
            assert!(end.did(&Output::Stop(stream, 1)), "{draft:?} {role:?}");
            assert_eq!(end.engine.poll_timeout(), None, "{draft:?} {role:?}");
        }
        wait_long(&mut end);
        assert!(!end.engine.is_closed(), "{draft:?} {role:?}");
    }
}

// Messages about requests that are over cross with what ended them; none of them is a fault.
#[test]
fn messages_that_come_late_are_discarded() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        let mut bystander = Bystander::new(&mut end);
        let idle = end.engine.usage();
        // Answers, and the end, of a subscription that was withdrawn.
        for late in 0..3 {
            let id = end.next_own_id();
            let track = say::track("t");
            let request = end
                .with(|engine, now| engine.subscribe(now, &track, &Parameters::default()))
                .unwrap();
            let on = end.own_request();
            let code = StreamResetCode::Cancelled;
            end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
            let message = match late {
                0 => say::subscribe_ok(id, 9),
                1 => say::error(
                    id,
                    moqt_engine::model::RequestKind::Subscribe,
                    RequestErrorCode::DoesNotExist,
                ),
                _ => say::done(id, 0),
            };
            end.say(on, &message);
            if draft >= Draft::D18 {
                end.fin(on);
            }
        }
        // Updates and the withdrawal of a subscription that was refused.
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "u"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        if draft >= Draft::D18 {
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, Parameters::default()));
            end.reset(on, 0);
        } else {
            end.say(on, &say::unsubscribe(id));
            end.say(on, &say::unsubscribe(id));
        }
        assert!(end.events.is_empty(), "{draft:?} {role:?}: {:?}", end.events);
        assert_eq!(end.engine.usage(), idle, "{draft:?} {role:?}");
        bystander.assert_well(&mut end);
    }
}

#[test]
fn streams_without_objects_of_tracks_not_announced_are_held_up_to_a_number() {
    for (draft, role) in cases() {
        for is_offered in [false, true] {
            let mut end = limited(draft, role, |limits| limits.unknown_alias_bytes = 10_000);
            let mut bystander = Bystander::new(&mut end);
            if is_offered {
                let id = end.fresh_id();
                end.request(&say::publish(id, "offered", 7));
            }
            let before = end.engine.usage().streams;
            for group in 0..200 {
                // Nothing but a header, and over: the peer may open another at once.
                let stream = end.open_with(Dir::Uni, say::header(draft, 7, group, 0, false));
                end.fin(stream);
            }
            let held = end.engine.usage().streams - before;
            assert!((10..50).contains(&held), "{draft:?} {role:?}: {held} streams");
            bystander.assert_well(&mut end);
        }
    }
}

#[test]
fn streams_that_end_before_setup_are_held_up_to_a_number() {
    for (draft, role) in cases() {
        for burst in [50, 1000] {
            let mut config = Config::default();
            config.limits.early_streams = 5;
            config.limits.churn_burst = burst;
            let mut end = End::new(draft, role, config);
            let before = end.engine.usage().streams;
            let mut early = Vec::new();
            for group in 0..200 {
                let stream = end.open_with(Dir::Uni, say::header(draft, 1, group, 0, false));
                end.fin(stream);
                early.push(stream);
            }
            if burst < 195 {
                assert_closed(&end, 0x3, "too many early streams");
                continue;
            }
            let held = end.engine.usage().streams - before;
            assert!((4..=5).contains(&held), "{draft:?} {role:?}: {held} streams");
            end.set_up();
            subscribed(&mut end, "t", 1);
            let read = early
                .into_iter()
                .filter(|stream| end.reads.get(stream).is_some_and(|got| got == &[Got::Finished]));
            assert_eq!(read.count(), held, "{draft:?} {role:?}: what was held is not lost");
        }
    }
}

#[test]
fn an_alias_that_holds_nothing_any_more_makes_room_for_another() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| {
            limits.unknown_aliases = 1;
            limits.unknown_alias_bytes = 1_000;
        });
        // Too much in one piece, and in two.
        let bytes = say::subgroup(draft, 7, 0, &[(0, &[0; 900])]);
        let whole = end.open_with(Dir::Uni, bytes.clone());
        assert!(end.did(&Output::Stop(whole, 1)), "{draft:?} {role:?}");
        let cut = end.open_with(Dir::Uni, bytes[..20].to_vec());
        end.data(cut, bytes[20..].to_vec());
        assert!(end.did(&Output::Stop(cut, 1)), "{draft:?} {role:?}");
        let other = end.open_with(Dir::Uni, say::subgroup(draft, 8, 0, &[(0, b"held")]));
        assert!(!end.did(&Output::Stop(other, 1)), "{draft:?} {role:?}");
        wait_long(&mut end);
        assert!(end.did(&Output::Stop(other, 1)), "{draft:?} {role:?}");
        assert_eq!(end.engine.poll_timeout(), None);
    }
}
