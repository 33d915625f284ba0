//! A scripted peer that keeps the rules, and then does not.

use std::time::Duration;

use moqt_engine::model::{Parameters, SessionError};
use moqt_engine::{CloseReason, Dir, Draft, Event, Role, TransportClosed};
use moqt_loopback::{Fault, RawPair};

use crate::DRAFTS;

const ROLES: [Role; 2] = [Role::Client, Role::Server];

fn cases() -> impl Iterator<Item = (Draft, Role)> {
    DRAFTS.into_iter().flat_map(|draft| ROLES.map(|role| (draft, role)))
}

#[test]
fn a_scripted_peer_can_set_up_a_session() {
    for (draft, role) in cases() {
        let pair = RawPair::new(draft, role, 0);
        assert!(pair.network.connection(pair.engine).is_established(), "{draft:?} {role:?}");
        let received: Vec<_> = pair.network.raw(pair.peer).streams().collect();
        assert!(received.iter().any(|(_, received)| !received.bytes.is_empty()));
    }
}

#[test]
fn an_unknown_stream_type_is_a_protocol_violation() {
    for (draft, role) in cases() {
        let mut pair = RawPair::new(draft, role, 0);
        pair.send_on_new(Dir::Uni, &b"\x3f"[..]).unwrap();
        let Some(CloseReason::Local { error, .. }) = pair.close_reason() else {
            panic!("{draft:?} {role:?}: not closed");
        };
        assert_eq!(error, SessionError::ProtocolViolation);
        let closed = pair.network.raw(pair.peer).closed();
        let Some(TransportClosed::ByPeer { code, .. }) = closed else { panic!("{closed:?}") };
        assert_eq!(*code, 3, "PROTOCOL_VIOLATION");
        assert_eq!(pair.network.load(pair.engine).streams, 0);
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_up_in_time() {
    for (draft, role) in cases() {
        let mut pair = RawPair::before_setup(draft, role, 0);
        pair.network.run_for(Duration::from_secs(11));
        assert!(matches!(
            pair.close_reason(),
            Some(CloseReason::Local { error: SessionError::ControlMessageTimeout, .. })
        ));
    }
}

#[test]
fn closing_resetting_and_losing_reach_the_connection() {
    for (draft, role) in cases() {
        let mut pair = RawPair::new(draft, role, 0);
        pair.network.script(pair.peer).close(0, "bye");
        pair.network.run_until_idle();
        let reason = pair.close_reason();
        assert!(
            matches!(&reason, Some(CloseReason::Peer { code: 0, reason, .. }) if reason == "bye")
        );

        let mut pair = RawPair::new(draft, role, 0);
        pair.network.script(pair.peer).reset(pair.control, 0);
        pair.network.run_until_idle();
        assert!(matches!(
            pair.close_reason(),
            Some(CloseReason::Local { error: SessionError::ProtocolViolation, .. })
        ));

        let mut pair = RawPair::new(draft, role, 0);
        let before = pair.network.now();
        let reason = "cable cut".to_owned();
        pair.network.inject(pair.engine, Fault::Disconnect { reason });
        pair.network.run_until_idle();
        assert!(matches!(pair.close_reason(), Some(CloseReason::Transport { .. })));
        assert!(matches!(
            pair.network.raw(pair.peer).closed(),
            Some(TransportClosed::Lost { reason }) if reason == "cable cut"
        ));
        assert_eq!(
            pair.network.now().saturating_since(before),
            Duration::from_millis(10),
            "after the latency, not at once"
        );
    }
}

#[test]
fn a_request_that_is_over_leaves_no_timer_for_half_a_message() {
    let mut pair = RawPair::new(Draft::D18, Role::Client, 0);
    let track = "a--b".parse().unwrap();
    let request = pair.network.with(pair.engine, |engine, now| {
        engine.subscribe(now, &track, &Parameters::default()).unwrap()
    });
    pair.network.run_until_idle();
    let stream = pair
        .network
        .raw(pair.peer)
        .streams()
        .map(|(id, _)| id)
        .find(|id| id.dir() == Dir::Bi)
        .unwrap();
    // The first byte of an answer, and then the subscriber loses interest.
    pair.network.script(pair.peer).send(stream, &b"\x04"[..]);
    pair.network.run_until_idle();
    pair.network.with(pair.engine, |engine, now| {
        engine.cancel(now, request, moqt_engine::model::StreamResetCode::Cancelled).unwrap();
    });
    pair.network.run_for(Duration::from_secs(20));
    assert!(pair.network.connection(pair.engine).is_established());
    let events = pair.network.take_events(pair.engine);
    assert!(matches!(events[..], [Event::Established { .. }]), "{events:?}");
}
