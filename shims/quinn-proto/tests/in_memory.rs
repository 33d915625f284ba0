//! The composite without sockets: two endpoints joined by lists of datagrams, on a clock that
//! goes from deadline to deadline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt_engine::model::{Parameters, PublishDoneCode, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, CloseReason, Config, Draft, Event as Moqt, IncomingRequest, Read, StreamKey,
    SubgroupOptions,
};
use moqt_quinn_proto::{
    COALESCE_BELOW, ClientConfig, ClientTls, ConnectionHandle, Endpoint, Event, Identity,
    ServerConfig, ServerTls, TransportOptions, Verify,
};

const CLIENT: usize = 0;
const SERVER: usize = 1;
/// One way.
const LATENCY: Duration = Duration::from_millis(10);

struct Net {
    now: Instant,
    ends: [Endpoint; 2],
    /// Datagrams on their way to each end.
    wires: [VecDeque<(Instant, BytesMut)>; 2],
    handles: [Option<ConnectionHandle>; 2],
    events: [VecDeque<Moqt>; 2],
    failed: Option<String>,
    /// Of so many datagrams, one is lost.
    loss: usize,
    count: usize,
}

impl Net {
    fn new(draft: Draft, loss: usize) -> Self {
        let now = Instant::now();
        let identity = Identity::self_signed([]).unwrap();
        let tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
        let mut moqt = Config::default();
        moqt.coalesce_below = COALESCE_BELOW;
        let moqt = Arc::new(moqt);
        let transport = TransportOptions::default();
        let server = ServerTls::new(identity);
        let server = ServerConfig::new(&server, &Draft::ALL, &transport, moqt.clone()).unwrap();
        let client = ClientConfig::new(&tls, &[draft], &transport, moqt).unwrap();
        let mut ends =
            [Endpoint::new(None, false, 10, now), Endpoint::new(Some(server), false, 10, now)];
        let handle = ends[CLIENT].connect(now, client, address(SERVER), "localhost").unwrap();
        Self {
            now,
            ends,
            wires: Default::default(),
            handles: [Some(handle), None],
            events: Default::default(),
            failed: None,
            loss,
            count: 0,
        }
    }

    /// Lets both ends do all they can now.
    fn settle(&mut self) {
        let mut buf = Vec::new();
        for end in [CLIENT, SERVER] {
            while let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut buf) {
                let size = transmit.segment_size.unwrap_or(transmit.size);
                for datagram in buf[..transmit.size].chunks(size) {
                    self.count += 1;
                    if self.loss == 0 || !self.count.is_multiple_of(self.loss) {
                        self.wires[1 - end].push_back((self.now + LATENCY, datagram.into()));
                    }
                }
            }
            while let Some((handle, event)) = self.ends[end].poll_event() {
                match event {
                    Event::Connected { .. } => self.handles[end] = Some(handle),
                    Event::Moqt(event) => self.events[end].push_back(event),
                    Event::Failed { error } => self.failed = Some(error.to_string()),
                    Event::Drained => self.handles[end] = None,
                    _ => {}
                }
            }
        }
    }

    /// Goes on to whatever happens next; `false` if nothing ever will.
    fn step(&mut self) -> bool {
        self.settle();
        let arrivals = self.wires.iter().filter_map(|wire| wire.front().map(|(at, _)| *at));
        let deadlines = self.ends.iter().filter_map(Endpoint::poll_timeout);
        let Some(next) = arrivals.chain(deadlines).min() else { return false };
        self.now = self.now.max(next);
        for end in [CLIENT, SERVER] {
            while let Some((at, _)) = self.wires[end].front()
                && *at <= self.now
            {
                let Some((_, datagram)) = self.wires[end].pop_front() else { break };
                let from = address(1 - end);
                self.ends[end].handle_datagram(self.now, from, None, None, datagram);
            }
            self.ends[end].handle_timeout(self.now);
        }
        true
    }

    fn with<R>(
        &mut self,
        end: usize,
        work: impl FnOnce(&mut moqt_engine::MoqtConnection, moqt_engine::Timestamp) -> R,
    ) -> R {
        let handle = self.handles[end].expect("no connection");
        self.ends[end].with(handle, self.now, work).expect("no session")
    }

    /// The next event of one end that `pick` wants; those before are dropped.
    fn wait<R>(&mut self, end: usize, mut pick: impl FnMut(Moqt) -> Option<R>) -> R {
        for _ in 0..200_000 {
            while let Some(event) = self.events[end].pop_front() {
                if let Some(found) = pick(event) {
                    return found;
                }
            }
            assert!(self.step(), "nothing will happen any more: {:?}", self.failed);
        }
        panic!("it takes too long");
    }

    fn subscribed(draft: Draft, loss: usize) -> (Self, moqt_engine::RequestKey) {
        let mut net = Self::new(draft, loss);
        net.wait(CLIENT, |event| matches!(event, Moqt::Established { .. }).then_some(()));
        net.with(CLIENT, |moqt, now| {
            moqt.subscribe(now, &"demo--track".parse().unwrap(), &Parameters::default()).unwrap();
        });
        let request = net.wait(SERVER, |event| match event {
            Moqt::Request { request, what: IncomingRequest::Subscribe { .. } } => Some(request),
            _ => None,
        });
        net.with(SERVER, |moqt, now| moqt.accept(now, request, Accept::default()).unwrap());
        net.wait(CLIENT, |event| matches!(event, Moqt::Accepted { .. }).then_some(()));
        (net, request)
    }

    fn open(&mut self, request: moqt_engine::RequestKey, group: u64, priority: u8) -> StreamKey {
        self.with(SERVER, |moqt, _| {
            let mut options = SubgroupOptions::new(group);
            options.publisher_priority = Some(priority);
            options.subgroup_id = SubgroupId::Explicit(u64::from(priority));
            moqt.publisher(request).unwrap().open_subgroup(options).unwrap().unwrap()
        })
    }

    fn write(&mut self, stream: StreamKey, object_id: u64, payload: Bytes) {
        self.with(SERVER, |moqt, _| {
            let payload_len = payload.len() as u64;
            let header = ObjectHeader { object_id, payload_len, ..ObjectHeader::default() };
            moqt.subgroup(stream).unwrap().object(&header, payload).unwrap();
        });
    }

    /// Reads all there is of a stream at the client.
    fn read(&mut self, stream: StreamKey) -> Vec<u8> {
        self.with(CLIENT, |moqt, _| {
            let mut got = Vec::new();
            loop {
                match moqt.read(stream, usize::MAX) {
                    Read::Payload(bytes) => got.extend_from_slice(&bytes),
                    Read::Object(_) => {}
                    _ => return got,
                }
            }
        })
    }
}

fn address(end: usize) -> SocketAddr {
    ([127, 0, 0, 1], 4000 + u16::try_from(end).unwrap()).into()
}

#[test]
fn objects_cross_a_network_that_loses_some() {
    for draft in Draft::ALL {
        let (mut net, request) = Net::subscribed(draft, 13);
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
        assert!(got == payload, "{draft}");
    }
}

#[test]
fn what_is_urgent_overtakes_what_is_queued() {
    let (mut net, request) = Net::subscribed(Draft::D18, 0);
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
    let window =
        net.ends[SERVER].quic(net.handles[SERVER].unwrap()).unwrap().congestion_state().window();
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

#[test]
fn unread_streams_hold_back_their_sender_and_nobody_else() {
    let (mut net, request) = Net::subscribed(Draft::D18, 0);
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
    assert!(queued <= 3 * 300 * 1024, "{queued} bytes wait: the streams' windows hold the rest");
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

#[test]
fn a_silent_peer_is_given_up() {
    let (mut net, _) = Net::subscribed(Draft::D18, 0);
    // Nothing arrives any more.
    net.loss = 1;
    let begin = net.now;
    let reason = net.wait(CLIENT, |event| match event {
        Moqt::Closed { reason } => Some(reason),
        _ => None,
    });
    assert!(matches!(reason, CloseReason::Transport { .. }), "{reason}");
    let took = net.now - begin;
    assert!(took > Duration::from_secs(25) && took < Duration::from_secs(35), "{took:?}");
}
