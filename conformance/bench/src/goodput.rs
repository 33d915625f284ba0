//! The same payload over quinn-proto in memory, with and without MoQT on top: two endpoints
//! joined by a queue of datagrams, on a clock of their own, nothing lost and no latency but
//! what the endpoints cause. TLS and transport parameters are the same.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use moqt_engine::model::{FullTrackName, Location, Parameters, PublishDoneCode};
use moqt_engine::track::{PublishedTrack, TrackLayout};
use moqt_engine::wire::Properties;
use moqt_engine::{Accept, CommandError, Config, Draft, Event, IncomingRequest, Read};
use moqt_quinn_proto::{
    ClientConfig, ClientTls, ConnectionHandle, Endpoint, Identity, Request, Scheme, ServerConfig,
    ServerTls, SessionConfig, Transmit, TransportOptions, Verify,
};

/// How far the clock moves each time both endpoints have been served.
const TICK: Duration = Duration::from_micros(20);

/// Segments of a datagram batch.
const SEGMENTS: usize = 10;

/// Bytes of the pieces that the plain transfer writes.
const PIECE: usize = 32 * 1024;

/// What is moved: `count` objects of `size` bytes, `per_stream` of them on each stream.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Objects.
    pub count: u64,
    /// Payload bytes of each.
    pub size: usize,
    /// Objects of a stream.
    pub per_stream: u64,
}

impl Load {
    /// Payload bytes in all.
    pub fn bytes(self) -> u64 {
        self.count * self.size as u64
    }
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The same configuration for both ways.
pub struct Configs {
    client: ClientConfig,
    server: ServerConfig,
}

impl Configs {
    /// For one draft over raw QUIC, or over WebTransport.
    pub fn new(draft: Draft, scheme: Scheme) -> Self {
        let identity = Identity::self_signed([]).unwrap_or_else(|error| unreachable!("{error}"));
        let transport = TransportOptions::default();
        let mut config = Config::default();
        config.coalesce_below = moqt_quinn_proto::COALESCE_BELOW;
        let moqt = Arc::new(config);
        let session = SessionConfig::new(moqt, &[draft]);
        let client = ClientTls::new(Verify::Insecure);
        let server = ServerConfig::new(&ServerTls::new(identity), &transport, session.clone());
        let mut session = session;
        session.request =
            (scheme == Scheme::WebTransport).then(|| Request::new("localhost", "/bench"));
        let client = ClientConfig::new(&client, &transport, session);
        Self {
            client: client.unwrap_or_else(|error| unreachable!("{error}")),
            server: server.unwrap_or_else(|error| unreachable!("{error}")),
        }
    }
}

/// Moves the load as objects of one track, from server to client.
pub fn over_moqt(configs: &Configs, load: Load) -> u64 {
    let mut now = Instant::now();
    let mut client = Endpoint::new(None, false, SEGMENTS, now);
    let mut server = Endpoint::new(Some(configs.server.clone()), false, SEGMENTS, now);
    let track: FullTrackName = "bench--track".parse().unwrap_or_else(|_| unreachable!());
    client
        .connect(now, configs.client.clone(), address(2), "localhost")
        .unwrap_or_else(|error| unreachable!("{error}"));
    let mut wire = Wire::default();
    let mut sender: Option<Sender> = None;
    let mut received = 0;
    let mut is_done = false;
    while !is_done {
        wire.carry(now, &mut client, &mut server);
        while let Some((handle, event)) = server.poll_event() {
            match event {
                moqt_quinn_proto::Event::Moqt(Event::Request {
                    request,
                    what: IncomingRequest::Subscribe { .. },
                }) => {
                    server.with(handle, now, |moqt, at| {
                        moqt.accept(at, request, Accept::default())
                            .unwrap_or_else(|error| unreachable!("{error}"));
                    });
                    sender = Some(Sender::new(handle, load, PublishedTrack::new(request)));
                }
                moqt_quinn_proto::Event::Moqt(Event::Writable { .. } | Event::Unblocked) => {
                    if let Some(sender) = &mut sender {
                        sender.blocked = false;
                    }
                }
                _ => {}
            }
        }
        if let Some(sender) = &mut sender {
            sender.send(&mut server, now);
        }
        while let Some((handle, event)) = client.poll_event() {
            match event {
                moqt_quinn_proto::Event::Moqt(Event::Established { .. }) => {
                    client.with(handle, now, |moqt, at| {
                        moqt.subscribe(at, &track, &Parameters::default())
                            .unwrap_or_else(|error| unreachable!("{error}"));
                    });
                }
                moqt_quinn_proto::Event::Moqt(
                    Event::SubgroupOpened { stream, .. } | Event::Readable { stream },
                ) => {
                    client.with_quietly(handle, now, |moqt, _| {
                        loop {
                            match moqt.read(stream, usize::MAX) {
                                Read::Payload(payload) => received += payload.len() as u64,
                                Read::Object(_) => {}
                                _ => break ((), false),
                            }
                        }
                    });
                }
                moqt_quinn_proto::Event::Moqt(Event::SubscriptionDone { .. }) => is_done = true,
                _ => {}
            }
        }
        now += TICK;
    }
    received
}

/// Writes as much as the session takes.
struct Sender {
    handle: ConnectionHandle,
    load: Load,
    layout: TrackLayout,
    track: Option<PublishedTrack>,
    payload: Bytes,
    sent: u64,
    blocked: bool,
}

impl Sender {
    fn new(handle: ConnectionHandle, load: Load, track: PublishedTrack) -> Self {
        Self {
            handle,
            load,
            layout: TrackLayout::new(Location::ZERO, 1),
            track: Some(track),
            payload: Bytes::from(vec![0x5a; load.size]),
            sent: 0,
            blocked: false,
        }
    }

    fn send(&mut self, server: &mut Endpoint, now: Instant) {
        if self.blocked || self.track.is_none() {
            return;
        }
        let Self { load, layout, track, payload, sent, blocked, .. } = self;
        server.with(self.handle, now, |moqt, _| {
            while *sent < load.count {
                let Some(track) = track.as_mut() else { return };
                let mut next = *layout;
                let slot = next.place((*sent + 1).is_multiple_of(load.per_stream));
                match track.object(moqt, slot, &Properties::EMPTY, payload.clone()) {
                    Ok(_) => {
                        *layout = next;
                        *sent += 1;
                    }
                    Err(CommandError::Blocked(_)) => {
                        *blocked = true;
                        return;
                    }
                    Err(error) => unreachable!("{error}"),
                }
            }
            if let Some(track) = track.take() {
                track.done(moqt, PublishDoneCode::TrackEnded, "");
            }
        });
    }
}

/// Moves the same payload with nothing but quinn-proto: one stream, or one for each `size`
/// bytes if the load has one object a stream.
pub fn over_quic(configs: &Configs, load: Load) -> u64 {
    let mut now = Instant::now();
    let config = Arc::new(quinn_proto::EndpointConfig::default());
    let mut client = Raw::new(quinn_proto::Endpoint::new(config.clone(), None, false, None));
    let server_config = configs.server.quic().clone();
    let mut server = Raw::new(quinn_proto::Endpoint::new(config, Some(server_config), false, None));
    let (handle, connection) = client
        .endpoint
        .connect(now, configs.client.quic().clone(), address(2), "localhost")
        .unwrap_or_else(|error| unreachable!("{error}"));
    client.connection = Some((handle, connection));
    let mut wire = Wire::default();
    let per_stream = if load.per_stream == 1 { load.size as u64 } else { load.bytes() };
    let piece = Bytes::from(vec![0x5a; PIECE]);
    let mut left = load.bytes();
    let mut stream: Option<(quinn_proto::StreamId, u64)> = None;
    let mut is_blocked = false;
    let mut received = 0;
    while received < load.bytes() {
        wire.carry(now, &mut client, &mut server);
        if let Some((_, connection)) = &mut server.connection {
            while let Some(event) = connection.poll() {
                if let quinn_proto::Event::Stream(
                    quinn_proto::StreamEvent::Writable { .. }
                    | quinn_proto::StreamEvent::Available { .. },
                )
                | quinn_proto::Event::Connected = event
                {
                    is_blocked = false;
                }
            }
            while left > 0 && !is_blocked && !connection.is_handshaking() {
                let open = stream.or_else(|| {
                    let id = connection.streams().open(quinn_proto::Dir::Uni)?;
                    Some((id, per_stream))
                });
                let Some((id, room)) = open else {
                    is_blocked = true;
                    break;
                };
                let len = usize::try_from(room.min(left)).unwrap_or(PIECE).min(PIECE);
                let mut chunks = [piece.slice(..len)];
                let mut send = connection.send_stream(id);
                if let Ok(written) = send.write_chunks(&mut chunks) {
                    left -= written.bytes as u64;
                    let room = room - written.bytes as u64;
                    stream = Some((id, room));
                    if room == 0 || left == 0 {
                        let _ = send.finish();
                        stream = None;
                    }
                } else {
                    stream = Some((id, room));
                    is_blocked = true;
                }
            }
        }
        if let Some((_, connection)) = &mut client.connection {
            let mut readable = Vec::new();
            while let Some(event) = connection.poll() {
                match event {
                    quinn_proto::Event::Stream(quinn_proto::StreamEvent::Readable { id })
                        if readable.last() != Some(&id) =>
                    {
                        readable.push(id);
                    }
                    quinn_proto::Event::Stream(quinn_proto::StreamEvent::Opened { dir }) => {
                        while let Some(id) = connection.streams().accept(dir) {
                            readable.push(id);
                        }
                    }
                    _ => {}
                }
            }
            for id in readable {
                let mut stream = connection.recv_stream(id);
                let Ok(mut chunks) = stream.read(true) else { continue };
                while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                    received += chunk.bytes.len() as u64;
                }
                let _ = chunks.finalize();
            }
        }
        now += TICK;
    }
    received
}

/// One endpoint with one connection.
struct Raw {
    endpoint: quinn_proto::Endpoint,
    connection: Option<(quinn_proto::ConnectionHandle, quinn_proto::Connection)>,
}

impl Raw {
    fn new(endpoint: quinn_proto::Endpoint) -> Self {
        Self { endpoint, connection: None }
    }
}

/// What datagrams come from and go to.
trait Node {
    fn give(&mut self, now: Instant, from: SocketAddr, data: BytesMut);
    fn take(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit>;
    fn tick(&mut self, now: Instant);
}

impl Node for Endpoint {
    fn give(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        self.handle_datagram(now, from, None, None, data);
    }

    fn take(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.poll_transmit(now, buf)
    }

    fn tick(&mut self, now: Instant) {
        self.handle_timeout(now);
    }
}

impl Node for Raw {
    fn give(&mut self, now: Instant, from: SocketAddr, data: BytesMut) {
        let mut buf = Vec::new();
        match self.endpoint.handle(now, from, None, None, data, &mut buf) {
            Some(quinn_proto::DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(quinn_proto::DatagramEvent::NewConnection(incoming)) => {
                self.connection = self.endpoint.accept(incoming, now, &mut buf, None).ok();
            }
            _ => {}
        }
    }

    fn take(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (handle, connection) = self.connection.as_mut()?;
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        buf.clear();
        connection.poll_transmit(now, SEGMENTS, buf)
    }

    fn tick(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection
            && connection.poll_timeout().is_some_and(|at| at <= now)
        {
            connection.handle_timeout(now);
        }
    }
}

/// The path between two nodes.
#[derive(Default)]
struct Wire {
    queue: VecDeque<BytesMut>,
    buf: Vec<u8>,
}

impl Wire {
    /// Serves both once: what the first sends is there for the second at once.
    fn carry(&mut self, now: Instant, a: &mut impl Node, b: &mut impl Node) {
        a.tick(now);
        b.tick(now);
        self.one_way(now, address(1), a, b);
        self.one_way(now, address(2), b, a);
    }

    fn one_way(&mut self, now: Instant, from: SocketAddr, a: &mut impl Node, b: &mut impl Node) {
        while let Some(transmit) = a.take(now, &mut self.buf) {
            let whole = self.buf.get(..transmit.size).unwrap_or_default();
            let segment = transmit.segment_size.unwrap_or(whole.len()).max(1);
            self.queue.extend(whole.chunks(segment).map(BytesMut::from));
            while let Some(datagram) = self.queue.pop_front() {
                b.give(now, from, datagram);
            }
        }
    }
}
