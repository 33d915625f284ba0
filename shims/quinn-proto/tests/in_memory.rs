//! The composite without sockets: what crosses, and what holds what back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod network;

use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::PublishDoneCode;
use moqt_engine::{CloseReason, Draft, Event as Moqt};

use moqt_quinn_proto::Scheme;
use network::{CLIENT, Net, SERVER};

const SCHEMES: [Scheme; 2] = [Scheme::Quic, Scheme::WebTransport];

#[test]
fn objects_cross_a_network_that_loses_some() {
    for (scheme, draft) in SCHEMES.into_iter().flat_map(|scheme| Draft::ALL.map(|d| (scheme, d))) {
        let (mut net, request) = Net::subscribed(scheme, draft, 13);
        let payload: Bytes = (0..3_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
        let stream = net.open(request, 0, 1);
        net.write(stream, 0, payload.clone());
        net.with(SERVER, |moqt, _| {
            moqt.subgroup(stream).unwrap().finish().unwrap();
            moqt.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        let mut got = Vec::new();
        loop {
            let readable = net.wait(CLIENT, |event| match event {
                Moqt::SubgroupOpened { stream, .. } | Moqt::Readable { stream } => {
                    Some(Some(stream))
                }
                Moqt::SubscriptionDone { .. } => Some(None),
                _ => None,
            });
            let Some(stream) = readable else { break };
            got.extend(net.read(stream));
        }
        assert!(got == payload, "{scheme:?} {draft}");
    }
}

#[test]
fn what_is_urgent_overtakes_what_is_queued() {
    for scheme in SCHEMES {
        let (mut net, request) = Net::subscribed(scheme, Draft::D18, 0);
        let bulk = net.open(request, 0, 200);
        for id in 0..30 {
            net.write(bulk, id, vec![1; 100_000].into());
        }
        // Some of it is under way.
        let bulk_in = net.wait(CLIENT, |event| match event {
            Moqt::SubgroupOpened { stream, .. } => Some(stream),
            _ => None,
        });
        let mut before = net.read(bulk_in).len();
        let urgent = net.open(request, 1, 1);
        net.write(urgent, 0, Bytes::from_static(b"now"));
        let window = net.ends[SERVER]
            .quic(net.handles[SERVER].unwrap())
            .unwrap()
            .congestion_state()
            .window();
        let urgent_in = loop {
            let (stream, is_new) = net.wait(CLIENT, |event| match event {
                Moqt::SubgroupOpened { stream, .. } => Some((stream, true)),
                Moqt::Readable { stream } => Some((stream, false)),
                _ => None,
            });
            if is_new {
                break stream;
            }
            before += net.read(stream).len();
        };
        assert_eq!(net.read(urgent_in), b"now");
        // What was written before is in flight or in the slack: a window, and a half of it.
        let ahead = u64::try_from(before).unwrap();
        assert!(ahead <= 3 * window, "{ahead} bytes went ahead, with a window of {window}");
        assert!(before < 3_000_000);
    }
}

#[test]
fn unread_streams_hold_back_their_sender_and_nobody_else() {
    for scheme in SCHEMES {
        let (mut net, request) = Net::subscribed(scheme, Draft::D18, 0);
        let mut opened = Vec::new();
        for group in 0..3 {
            let stream = net.open(request, group, 1);
            for id in 0..13 {
                net.write(stream, id, vec![u8::try_from(group).unwrap(); 100_000].into());
            }
            opened.push(net.wait(CLIENT, |event| match event {
                Moqt::SubgroupOpened { stream, .. } => Some(stream),
                _ => None,
            }));
        }
        // Let everything flow that can.
        let until = net.now + Duration::from_secs(3);
        while net.now < until && net.step() {}
        let held = net.with(CLIENT, |moqt, _| moqt.usage().receive_bytes);
        assert!(held <= 3 * 300 * 1024, "{held} bytes in the session");
        let queued = net.with(SERVER, |moqt, _| moqt.usage().send_bytes);
        assert!(
            queued <= 3 * 300 * 1024,
            "{queued} bytes wait: the streams' windows hold the rest"
        );
        // The last can be read to its end while the others rest.
        let (last, mut got) = (opened[2], 0);
        while got < 1_300_000 {
            let before = got;
            got += net.read(last).len();
            if got == before {
                net.wait(CLIENT, |event| (event == Moqt::Readable { stream: last }).then_some(()));
            }
        }
    }
}

#[test]
fn a_silent_peer_is_given_up() {
    for scheme in SCHEMES {
        let (mut net, _) = Net::subscribed(scheme, Draft::D18, 0);
        // Nothing arrives any more.
        net.loss = 1;
        let begin = net.now;
        let reason = net.wait(CLIENT, |event| match event {
            Moqt::Closed { reason } => Some(reason),
            _ => None,
        });
        assert!(matches!(reason, CloseReason::Transport { .. }), "{reason}");
        let took = net.now - begin;
        assert!(took > Duration::from_secs(25) && took < Duration::from_secs(36), "{took:?}");
    }
}
