//! Every limit is reached, and has the outcome it is documented with.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Got, Name, Output};
use moqt_conformance::{DRAFTS, cases, drafts_from, say};
use moqt_engine::model::{Location, Message, RequestErrorCode, SetupOptions, StreamResetCode};
use moqt_engine::{
    Accept, Config, Dir, Draft, DropReason, Event, Limits, Role, Timer, TransportClosed, Usage,
};
use moqt_loopback::Rng;

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, subscribed, subscribing, wait_long};

fn limited(draft: Draft, role: Role, change: impl FnOnce(&mut Limits)) -> End {
    let mut config = Config::default();
    change(&mut config.limits);
    End::established(draft, role, config)
}

/// Gives a stream as many of these bytes as its window lets it have; returns the rest.
fn feed(end: &mut End, stream: Name, bytes: &mut Bytes) -> usize {
    let window = end.engine.recv_window(end.key(stream));
    let piece = bytes.split_to(window.min(bytes.len()));
    let len = piece.len();
    if len > 0 {
        end.data(stream, piece);
    }
    len
}

/// A subgroup of one large object.
fn large(draft: Draft, alias: u64, group: u64, len: usize) -> Bytes {
    say::subgroup(draft, alias, group, &[(0, &vec![7; len])]).into()
}

#[test]
fn unread_bytes_of_a_stream_close_its_window_and_reading_opens_it() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Client, |limits| limits.stream_receive = 10_000);
        subscribed(&mut end, "t", 1);
        end.reads_at_once = false;
        let mut bytes = large(draft, 1, 0, 50_000);
        let stream = end.open(Dir::Uni);
        let mut fed = 0;
        loop {
            match feed(&mut end, stream, &mut bytes) {
                0 => break,
                len => fed += len,
            }
        }
        let held = end.engine.usage().receive_bytes;
        assert_eq!(held, 10_000, "{draft:?}: the window is used up and no more");
        assert!(fed - held < 20, "only the header was used");
        end.read(stream, 4000);
        assert!(end.resumed.is_empty(), "{draft:?}: less than half is free");
        end.read(stream, 2000);
        assert_eq!(end.resumed, [stream], "{draft:?}");
        // One that ignores the window is charged for it.
        end.data(stream, bytes.split_to(30_000));
        assert!(end.engine.usage().receive_bytes >= 30_000);
        assert_eq!(end.engine.recv_window(end.key(stream)), 0);
        end.data(stream, bytes);
        end.fin(stream);
        end.read(stream, usize::MAX);
        let got = end.take_reads(stream);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if payload.len() == 50_000),
            "{draft:?}"
        );
        assert_eq!(end.engine.usage().receive_bytes, 0);
    }
}

#[test]
fn a_slow_reader_of_one_track_holds_up_nothing_else() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Client, |limits| {
            limits.session_receive = 40_000;
            limits.stream_receive = 10_000;
            limits.stream_minimum = 1_000;
        });
        subscribed(&mut end, "slow", 1);
        subscribed(&mut end, "fast", 2);
        end.reads_at_once = false;
        // More than the session's window, unread.
        for group in 0..8 {
            let mut bytes = large(draft, 1, group, 20_000);
            let stream = end.open(Dir::Uni);
            while feed(&mut end, stream, &mut bytes) > 0 {}
        }
        let unread = end.engine.usage().receive_bytes;
        assert!((40_000..=40_000 + 8_000).contains(&unread), "{draft:?}: {unread}");
        // Another track comes through, a bit at a time, in strict obedience to its window.
        let mut bytes = large(draft, 2, 0, 20_000);
        let stream = end.open(Dir::Uni);
        let mut may_send = true;
        while !bytes.is_empty() {
            assert!(may_send, "{draft:?}: nobody says when to go on");
            while feed(&mut end, stream, &mut bytes) > 0 {}
            end.resumed.clear();
            end.read(stream, usize::MAX);
            may_send = end.resumed.contains(&stream);
        }
        // And so do control messages.
        end.reads_at_once = true;
        end.take_events();
        let (_, id, on) = subscribing(&mut end, "third");
        end.say(on, &say::subscribe_ok(id, 3));
        assert!(end.events.iter().any(|event| matches!(event, Event::Accepted { .. })));
    }
}

/// Whatever order streams are read in, each to its end before the next, everything comes: the
/// peer sends what the windows allow, and on a stream that had none only when told to go on.
#[test]
fn no_order_of_reading_deadlocks() {
    const STREAMS: usize = 30;
    const LEN: usize = 3_000;
    for (draft, seed) in DRAFTS.into_iter().flat_map(|draft| (0..20).map(move |n| (draft, n))) {
        let mut rng = Rng::new(seed);
        let mut end = limited(draft, Role::Client, |limits| {
            limits.session_receive = 8_000;
            limits.stream_receive = 2_000;
            limits.stream_minimum = usize::try_from(rng.between(1, 300)).unwrap();
        });
        subscribed(&mut end, "t", 1);
        end.reads_at_once = false;
        let mut waiting: Vec<(Name, Bytes, bool)> = (0..STREAMS)
            .map(|group| (end.open(Dir::Uni), large(draft, 1, group as u64, LEN), true))
            .collect();
        let mut order: Vec<Name> = waiting.iter().map(|(name, ..)| *name).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, usize::try_from(rng.below(at as u64 + 1)).unwrap());
        }
        for name in order {
            loop {
                let resumed: BTreeSet<Name> = end.resumed.drain(..).collect();
                for (stream, bytes, may_send) in &mut waiting {
                    *may_send |= resumed.contains(stream);
                    while *may_send && !bytes.is_empty() {
                        *may_send = feed(&mut end, *stream, bytes) > 0;
                        if bytes.is_empty() {
                            end.fin(*stream);
                        }
                    }
                }
                let before = end.pieces.len();
                let budget = usize::try_from(rng.between(1, 2 * LEN as u64)).unwrap();
                end.read(name, budget);
                if end.reads[&name].last() == Some(&Got::Finished) {
                    break;
                }
                assert!(
                    end.pieces.len() > before || !end.resumed.is_empty(),
                    "{draft:?}, seed {seed}: stuck at {name:?}"
                );
            }
        }
        assert_eq!(end.engine.usage().receive_bytes, 0, "{draft:?}, seed {seed}");
    }
}

// "the data SHOULD be buffered until both control streams arrive and setup is complete"
// (draft-18, "Session Initialization")
#[test]
fn what_precedes_setup_is_held_up_to_limits() {
    for (draft, role) in cases() {
        let mut config = Config::default();
        config.limits.early_streams = 3;
        config.limits.early_bytes = 1_000;
        let mut end = End::new(draft, role, config);
        let control = end.control;
        let mut streams = Vec::new();
        for group in 0..3 {
            let stream = end.open(Dir::Uni);
            let mut bytes = large(draft, 1, group, 600);
            while feed(&mut end, stream, &mut bytes) > 0 {}
            streams.push((stream, bytes));
        }
        let held = end.engine.usage().early_bytes;
        // A few bytes more for the types of streams that came when no room was left.
        assert!((1_000..1_030).contains(&held), "{draft:?} {role:?}: {held}");
        assert!(streams.iter().any(|(_, rest)| !rest.is_empty()));
        assert!(end.events.is_empty());
        // However much is held, the control stream gets through: everything waits for it.
        assert!(end.engine.recv_window(end.key(control)) > 0, "{draft:?} {role:?}");
        let setup = say::setup(draft, role.peer(), SetupOptions::default());
        let mut setup = Bytes::from(setup);
        while !setup.is_empty() {
            assert!(feed(&mut end, control, &mut setup) > 0, "{draft:?} {role:?}");
        }
        assert!(end.engine.is_established());
        assert_eq!(end.engine.usage().early_bytes, 0);
        // Those that were held up are told to go on, and nothing was lost.
        let stopped: BTreeSet<Name> = end.resumed.drain(..).collect();
        for (stream, rest) in &streams {
            assert!(rest.is_empty() || stopped.contains(stream), "{draft:?} {role:?} {stream:?}");
        }
    }
}

#[test]
fn the_control_stream_is_found_among_too_many_early_ones() {
    for draft in drafts_from(Draft::D16) {
        let mut config = Config::default();
        config.limits.early_streams = 2;
        let mut end = End::new(draft, Role::Server, config);
        // The control stream was opened first, and yet it is heard of last.
        let dir = if draft >= Draft::D18 { Dir::Uni } else { Dir::Bi };
        for group in 0..5 {
            let stream = end.open(Dir::Uni);
            let mut bytes = large(draft, 1, group, 100);
            while feed(&mut end, stream, &mut bytes) > 0 {}
        }
        let control = end.open(dir);
        let mut setup = Bytes::from(say::setup(draft, Role::Client, SetupOptions::default()));
        while !setup.is_empty() {
            assert!(feed(&mut end, control, &mut setup) > 0, "{draft:?}");
        }
        assert!(end.engine.is_established(), "{draft:?}");
    }
}

#[test]
fn unknown_aliases_are_held_up_to_limits_and_a_time() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| {
            limits.unknown_aliases = 2;
            limits.unknown_alias_bytes = 1_000;
        });
        let mut bystander = Bystander::new(&mut end);
        let one = end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"one")]));
        let two = end.open_with(Dir::Uni, say::subgroup(draft, 2, 0, &[(0, b"two")]));
        assert_eq!(end.engine.recv_window(end.key(one)), 0, "held streams are not read");
        // A third alias is one too many.
        let three = end.open_with(Dir::Uni, say::subgroup(draft, 3, 0, &[(0, b"three")]));
        assert!(end.did(&Output::Stop(three, 1)), "{draft:?}");
        // So is a stream that is too large; the others are kept.
        let big = end.open_with(Dir::Uni, large(draft, 2, 1, 1_100));
        assert!(end.did(&Output::Stop(big, 1)), "{draft:?}");
        // And one that grows too large against its window.
        end.data(two, vec![0; 1_100]);
        assert!(end.did(&Output::Stop(two, 1)), "{draft:?}");
        assert!(end.engine.usage().receive_bytes < 50);
        bystander.assert_well(&mut end);
        end.wait(Duration::from_micros(1_999_999));
        assert!(!end.did(&Output::Stop(one, 1)));
        subscribed(&mut end, "t", 1);
        assert!(
            matches!(&end.take_reads(one)[..], [Got::Object(_, payload)] if payload == b"one"),
            "{draft:?} {role:?}: held until it was announced"
        );
        assert!(end.resumed.contains(&one));
        let four = end.open_with(Dir::Uni, say::subgroup(draft, 4, 0, &[(0, b"four")]));
        end.wait(Duration::from_secs(2));
        assert!(end.did(&Output::Stop(four, 1)), "{draft:?}: never announced");
        bystander.assert_well(&mut end);
        assert_eq!(end.engine.poll_timeout(), None);
    }
}

#[test]
fn datagrams_of_unknown_aliases_are_held_and_the_oldest_dropped() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| limits.unknown_alias_datagrams = 3);
        for object in 0..5 {
            end.datagram(say::datagram(draft, 1, Location::new(0, object), b"x"));
        }
        let dropped: Vec<u64> = end
            .take_events()
            .iter()
            .map(|event| match event {
                Event::DatagramDropped { header, reason: DropReason::QueueFull, .. } => {
                    header.location.object
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(dropped, [0, 1], "{draft:?}");
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 1));
        let objects: Vec<u64> = end
            .take_events()
            .iter()
            .filter_map(|event| match event {
                Event::Datagram { object, .. } => Some(object.header.location.object),
                _ => None,
            })
            .collect();
        assert_eq!(objects, [2, 3, 4], "{draft:?}");

        end.datagram(say::datagram(draft, 9, Location::ZERO, b"x"));
        wait_long(&mut end);
        assert!(
            matches!(
                end.events[..],
                [Event::DatagramDropped { reason: DropReason::UnknownTrack, .. }]
            ),
            "{draft:?}: {:?}",
            end.events
        );
    }
}

#[test]
fn an_answer_that_does_not_come_fails_the_request() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        let (request, id, on) = subscribing(&mut end, "t");
        end.wait(Duration::from_micros(9_999_999));
        assert!(end.events.is_empty());
        end.wait(Duration::from_micros(1));
        assert!(
            matches!(&end.events[..], [Event::Rejected { request: key, error }]
                if *key == request && error.code == RequestErrorCode::Timeout),
            "{draft:?}: {:?}",
            end.events
        );
        let said = end.said(on);
        if draft >= Draft::D18 {
            assert!(end.did(&Output::Stop(on, 1)) || end.did(&Output::Reset(on, 1)));
        } else {
            assert!(
                matches!(said.last(), Some(Message::Unsubscribe(gone)) if gone.request_id == id),
                "{said:?}"
            );
        }
        assert_eq!(end.engine.usage().requests, 0);

        // Without a limit it may take any time.
        let mut end = limited(draft, role, |limits| limits.answer_timeout = None);
        subscribing(&mut end, "t");
        end.wait(Duration::from_secs(1_000_000));
        assert!(end.events.is_empty(), "{draft:?}: {:?}", end.events);
    }
}

// "Subscribers SHOULD use a timeout or other mechanism to remove subscription state in case the
// publisher set an incorrect value" (all drafts, "PUBLISH_DONE")
#[test]
fn streams_that_never_come_are_waited_for_so_long() {
    for (draft, role) in cases() {
        for (count, missing) in [(2, 1), ((1 << 62) - 1, 0)] {
            let mut end = limited(draft, role, |_| {});
            let (request, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::subscribe_ok(id, 1));
            let stream = end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"x")]));
            end.fin(stream);
            end.say(on, &say::done(id, count));
            end.take_events();
            end.wait(Duration::from_micros(1_999_999));
            assert!(end.events.is_empty(), "{draft:?}: {:?}", end.events);
            end.wait(Duration::from_micros(1));
            assert!(
                matches!(&end.events[..], [Event::SubscriptionDone { request: key, missing_streams, .. }]
                    if *key == request && *missing_streams == missing),
                "{draft:?} {role:?}: {:?}",
                end.events
            );
            assert_eq!(end.engine.usage().requests, 0);
        }
    }
}

// Datagrams may be overtaken by PUBLISH_DONE, which does not count them.
#[test]
fn datagrams_may_be_late_for_so_long() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |_| {});
        let (request, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 1));
        end.datagram(say::datagram(draft, 1, Location::ZERO, b"x"));
        end.say(on, &say::done(id, 0));
        end.take_events();
        end.wait(Duration::from_micros(499_999));
        end.datagram(say::datagram(draft, 1, Location::new(0, 1), b"late"));
        assert!(matches!(end.take_events()[..], [Event::Datagram { .. }]), "{draft:?} {role:?}");
        end.wait(Duration::from_micros(1));
        assert!(
            matches!(&end.events[..], [Event::SubscriptionDone { request: key, .. }]
                if *key == request),
            "{draft:?} {role:?}: {:?}",
            end.events
        );
    }
}

// Who leaves after its last word has been heard to the end; who leaves while a stream is to come has
// not.
#[test]
fn a_publisher_that_is_done_and_leaves_has_ended_the_subscription() {
    for (draft, role) in cases() {
        for streams in [0, 1] {
            let mut end = limited(draft, role, |_| {});
            let (request, id, on) = subscribing(&mut end, "t");
            end.say(on, &say::subscribe_ok(id, 1));
            end.datagram(say::datagram(draft, 1, Location::ZERO, b"x"));
            end.say(on, &say::done(id, streams));
            end.take_events();
            let closed = TransportClosed::ByPeer { code: 0, reason: String::new() };
            end.with(|engine, now| engine.handle_closed(now, closed));
            let told = match &end.events[..] {
                [
                    Event::SubscriptionDone { request: key, missing_streams: 0, .. },
                    Event::Closed { .. },
                ] => *key == request,
                [Event::Closed { .. }] => false,
                events => panic!("{draft:?} {role:?}: {events:?}"),
            };
            assert_eq!(told, streams == 0, "{draft:?} {role:?}: {:?}", end.events);
        }
    }
}

#[test]
fn a_peer_that_asks_and_reads_no_answers_is_closed() {
    const INTERNAL_ERROR: u64 = 0x1;
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| limits.control_send = 2_000);
        end.takes_data = false;
        for n in 0..2_000 {
            let id = end.fresh_id();
            // Refused at once: its range ends before it begins.
            let (start, to) = (Location::new(1, 0), Location::ZERO);
            end.request(&say::fetch(id, &format!("t{n}"), start, to));
            if end.closed().is_some() {
                break;
            }
            assert!(end.engine.usage().control_bytes <= 2_000, "{draft:?}");
        }
        assert_closed(&end, INTERNAL_ERROR, "more than may wait");
    }
}

#[test]
fn one_more_open_subgroup_is_stopped() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| limits.open_subgroups = 2);
        let (_, id, on) = subscribing(&mut end, "t");
        end.say(on, &say::subscribe_ok(id, 1));
        let streams: Vec<Name> = (0..3)
            .map(|group| end.open_with(Dir::Uni, say::subgroup(draft, 1, group, &[(0, b"x")])))
            .collect();
        assert!(end.did(&Output::Stop(streams[2], 1)), "{draft:?}");
        assert!(!end.did(&Output::Stop(streams[1], 1)));
        end.fin(streams[0]);
        let next = end.open_with(Dir::Uni, say::subgroup(draft, 1, 4, &[(0, b"x")]));
        assert!(!end.did(&Output::Stop(next, 1)), "{draft:?}: there is room again");
        // What was on the one that was stopped is lost. Its publisher may have sent all of it
        // and hear of nothing, so the subscriber is told; it need not wait for it.
        end.say(on, &say::done(id, 4));
        end.fin(streams[1]);
        end.fin(next);
        assert!(
            matches!(end.events.last(), Some(Event::SubscriptionDone { missing_streams: 1, .. })),
            "{draft:?}: {:?}",
            end.events
        );
    }
}

#[test]
fn closed_aliases_are_remembered_up_to_a_number() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Client, |limits| limits.alias_tombstones = 2);
        for alias in 1..=3 {
            let (request, _) = subscribed(&mut end, &format!("t{alias}"), alias);
            let code = StreamResetCode::Cancelled;
            end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
        }
        for (alias, is_known) in [(3, true), (2, true), (1, false)] {
            let late = end.open_with(Dir::Uni, say::subgroup(draft, alias, 0, &[(0, b"x")]));
            assert_eq!(end.did(&Output::Stop(late, 1)), is_known, "{draft:?} {alias}");
        }
        wait_long(&mut end);
        assert_eq!(end.engine.usage().receive_bytes, 0);
    }
}

#[test]
fn streams_and_requests_begun_and_abandoned_too_often_close() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| {
            limits.churn_burst = 10;
            limits.churn_per_second = 2;
        });
        let abandon = |end: &mut End| {
            let stream = end.open(Dir::Uni);
            end.reset(stream, 0);
        };
        for _ in 0..10 {
            abandon(&mut end);
        }
        end.wait(Duration::from_secs(1));
        abandon(&mut end);
        abandon(&mut end);
        assert_eq!(end.closed(), None, "{draft:?}: two came back");
        abandon(&mut end);
        assert_closed(&end, PROTOCOL_VIOLATION, "abandoned streams");

        let mut end = limited(draft, role, |limits| limits.churn_burst = 10);
        for n in 0..11 {
            assert_eq!(end.closed(), None);
            let id = end.fresh_id();
            let on = end.request(&say::subscribe(id, &format!("t{n}")));
            match draft {
                _ if draft >= Draft::D18 => end.reset(on, 0),
                _ => end.say(on, &say::unsubscribe(id)),
            }
        }
        assert_closed(&end, PROTOCOL_VIOLATION, "abandoned requests");

        // Subgroups that are reset after they have begun are no such thing.
        let mut end = limited(draft, role, |limits| limits.churn_burst = 10);
        subscribed(&mut end, "t", 1);
        for group in 0..100 {
            let stream = end.open_with(Dir::Uni, say::header(draft, 1, group, 0, false));
            end.reset(stream, 0);
        }
        assert_eq!(end.closed(), None);
    }
}

// "MAX_REQUEST_ID" (drafts 14 and 16): those that are over make room for others.
#[test]
fn credit_for_requests_comes_back() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut end = limited(draft, role, |limits| limits.open_requests = 4);
        end.said(end.control);
        for n in 0..100 {
            let id = end.fresh_id();
            end.request(&say::publish_namespace(id, &format!("t{n}")));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else {
                panic!("{draft:?} {role:?} {n}: {:?}", end.closed())
            };
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            if n >= 3 {
                let code = StreamResetCode::Cancelled;
                end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
            }
        }
        assert_eq!(end.engine.usage().requests, 3);
    }
}

#[test]
fn a_session_at_rest_waits_for_nothing() {
    for (draft, role) in cases() {
        let end = limited(draft, role, |_| {});
        assert_eq!(end.engine.poll_timeout(), None::<(_, Timer)>);
        let mut usage = Usage::default();
        usage.streams = if draft >= Draft::D18 { 2 } else { 1 };
        assert_eq!(end.engine.usage(), usage);
    }
}

// "not read from the transport", but never for good: whatever the limits are, there is a window
// for a header, and for something to read.
#[test]
fn no_limit_is_too_small_for_anything_to_come_in() {
    for draft in DRAFTS {
        let mut end = limited(draft, Role::Client, |limits| {
            limits.stream_receive = 0;
            limits.session_receive = 0;
            limits.stream_minimum = 0;
        });
        subscribed(&mut end, "t", 5);
        let mut bytes = large(draft, 5, 0, 300);
        let stream = end.open(Dir::Uni);
        while !bytes.is_empty() {
            assert!(feed(&mut end, stream, &mut bytes) > 0, "{draft:?}: {} left", bytes.len());
        }
        end.fin(stream);
        let got = end.take_reads(stream);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Finished] if payload.len() == 300),
            "{draft:?}: {got:?}"
        );
    }
}

#[test]
fn what_all_streams_of_unknown_aliases_hold_counts_together() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| limits.unknown_alias_bytes = 1_000);
        let one = end.open_with(Dir::Uni, large(draft, 1, 0, 600));
        let two = end.open_with(Dir::Uni, large(draft, 2, 0, 600));
        assert!(end.did(&Output::Stop(two, 1)), "{draft:?}");
        // What is announced is read, and makes room.
        subscribed(&mut end, "t", 1);
        assert!(!end.take_reads(one).is_empty(), "{draft:?}");
        let three = end.open_with(Dir::Uni, large(draft, 3, 0, 600));
        assert!(!end.did(&Output::Stop(three, 1)), "{draft:?}");
    }
}

#[test]
fn a_stream_stopped_while_its_alias_is_unknown_takes_no_other_with_it() {
    for (draft, role) in cases() {
        let mut end = limited(draft, role, |limits| limits.unknown_alias_bytes = 1_000);
        let gone = end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"gone")]));
        let kept = end.open_with(Dir::Uni, say::subgroup(draft, 1, 1, &[(0, b"kept")]));
        end.data(gone, vec![0; 1_100]);
        assert!(end.did(&Output::Stop(gone, 1)), "{draft:?}");
        subscribed(&mut end, "t", 1);
        assert!(
            matches!(&end.take_reads(kept)[..], [Got::Object(_, payload)] if payload == b"kept"),
            "{draft:?} {role:?}: {:?}",
            end.events
        );
    }
}
