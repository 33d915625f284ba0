//! Two endpoints without sockets, joined by lists of datagrams, on a clock that goes from deadline
//! to deadline.
#![allow(dead_code, reason = "not every test uses everything")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt_engine::model::{Parameters, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, Config, Draft, Event as Moqt, IncomingRequest, Read, RequestKey, StreamKey,
    SubgroupOptions,
};
use moqt_quinn_proto::{
    COALESCE_BELOW, ClientConfig, ClientTls, ConnectionHandle, Endpoint, Event, Identity, Request,
    Scheme, ServerConfig, ServerTls, SessionConfig, TransportOptions, Verify,
};

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;
/// How long a datagram may wait at the narrow link.
const QUEUE: Duration = Duration::from_millis(50);
/// One way.
pub(crate) const LATENCY: Duration = Duration::from_millis(10);

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) ends: [Endpoint; 2],
    /// Datagrams on their way to each end.
    wires: [VecDeque<(Instant, BytesMut)>; 2],
    pub(crate) handles: [Option<ConnectionHandle>; 2],
    events: [VecDeque<Moqt>; 2],
    failed: Option<String>,
    /// Of so many datagrams, one is lost.
    pub(crate) loss: usize,
    /// Bytes a second that go to the client; what does not fit into 50 ms of that is lost.
    pub(crate) rate: Option<u32>,
    /// When the link to the client is free.
    free_at: Instant,
    count: usize,
}

impl Net {
    pub(crate) fn new(scheme: Scheme, draft: Draft, loss: usize) -> Self {
        let now = Instant::now();
        let identity = Identity::self_signed([]).unwrap();
        let tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
        let mut moqt = Config::default();
        moqt.coalesce_below = COALESCE_BELOW;
        let moqt = Arc::new(moqt);
        let transport = TransportOptions::default();
        let server = ServerTls::new(identity);
        let session = SessionConfig::new(moqt.clone(), &Draft::ALL);
        let server = ServerConfig::new(&server, &transport, session).unwrap();
        let mut session = SessionConfig::new(moqt, &[draft]);
        session.request =
            (scheme == Scheme::WebTransport).then(|| Request::new("localhost", "/path?query"));
        let client = ClientConfig::new(&tls, &transport, session).unwrap();
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
            rate: None,
            free_at: now,
            count: 0,
        }
    }

    /// Lets both ends do all they can now.
    pub(crate) fn settle(&mut self) {
        let mut buf = Vec::new();
        for end in [CLIENT, SERVER] {
            while let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut buf) {
                let size = transmit.segment_size.unwrap_or(transmit.size);
                for datagram in buf[..transmit.size].chunks(size) {
                    self.count += 1;
                    let is_lost = self.loss != 0 && self.count.is_multiple_of(self.loss);
                    if let Some(arrival) = self.arrival(end, datagram.len())
                        && !is_lost
                    {
                        self.wires[1 - end].push_back((arrival, datagram.into()));
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

    /// When a datagram from this end arrives; `None` if there is no room for it.
    fn arrival(&mut self, from: usize, len: usize) -> Option<Instant> {
        let Some(rate) = self.rate.filter(|_| from == SERVER) else {
            return Some(self.now + LATENCY);
        };
        let begins = self.free_at.max(self.now);
        if begins - self.now > QUEUE {
            return None;
        }
        self.free_at = begins + Duration::from_secs(1) * u32::try_from(len).unwrap() / rate;
        Some(self.free_at + LATENCY)
    }

    /// Goes on to whatever happens next; `false` if nothing ever will.
    pub(crate) fn step(&mut self) -> bool {
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

    /// Like [`step`](Self::step), but no further than to this time.
    pub(crate) fn step_until(&mut self, until: Instant) -> bool {
        self.settle();
        let arrivals = self.wires.iter().filter_map(|wire| wire.front().map(|(at, _)| *at));
        let deadlines = self.ends.iter().filter_map(Endpoint::poll_timeout);
        if arrivals.chain(deadlines).min().is_none_or(|next| next > until) {
            self.now = self.now.max(until);
            return false;
        }
        self.step()
    }

    /// The next event of one end.
    pub(crate) fn take_event(&mut self, end: usize) -> Option<Moqt> {
        self.events[end].pop_front()
    }

    pub(crate) fn with<R>(
        &mut self,
        end: usize,
        work: impl FnOnce(&mut moqt_engine::MoqtConnection, moqt_engine::Timestamp) -> R,
    ) -> R {
        let handle = self.handles[end].expect("no connection");
        self.ends[end].with(handle, self.now, work).expect("no session")
    }

    /// The next event of one end that `pick` wants; those before are dropped.
    pub(crate) fn wait<R>(&mut self, end: usize, mut pick: impl FnMut(Moqt) -> Option<R>) -> R {
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

    pub(crate) fn subscribed(scheme: Scheme, draft: Draft, loss: usize) -> (Self, RequestKey) {
        let mut net = Self::new(scheme, draft, loss);
        net.wait(CLIENT, |event| matches!(event, Moqt::Established { .. }).then_some(()));
        let (_, request) = net.subscribe("demo--track", &Parameters::default());
        (net, request)
    }

    /// Another subscription: as the client knows it, and as the server does.
    pub(crate) fn subscribe(
        &mut self,
        track: &str,
        parameters: &Parameters,
    ) -> (RequestKey, RequestKey) {
        let net = self;
        let subscription = net.with(CLIENT, |moqt, now| {
            moqt.subscribe(now, &track.parse().unwrap(), parameters).unwrap()
        });
        let request = net.wait(SERVER, |event| match event {
            Moqt::Request { request, what: IncomingRequest::Subscribe { .. } } => Some(request),
            _ => None,
        });
        net.with(SERVER, |moqt, now| moqt.accept(now, request, Accept::default()).unwrap());
        net.wait(CLIENT, |event| matches!(event, Moqt::Accepted { .. }).then_some(()));
        (subscription, request)
    }

    pub(crate) fn open(&mut self, request: RequestKey, group: u64, priority: u8) -> StreamKey {
        self.with(SERVER, |moqt, _| {
            let mut options = SubgroupOptions::new(group);
            options.publisher_priority = Some(priority);
            options.subgroup_id = SubgroupId::Explicit(u64::from(priority));
            moqt.publisher(request).unwrap().open_subgroup(options).unwrap().unwrap()
        })
    }

    pub(crate) fn write(&mut self, stream: StreamKey, object_id: u64, payload: Bytes) {
        self.with(SERVER, |moqt, _| {
            let payload_len = payload.len() as u64;
            let header = ObjectHeader { object_id, payload_len, ..ObjectHeader::default() };
            moqt.subgroup(stream).unwrap().object(&header, payload).unwrap();
        });
    }

    /// Reads all there is of a stream at the client.
    pub(crate) fn read(&mut self, stream: StreamKey) -> Vec<u8> {
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
