//! What sessions hold, in bytes of the heap: many subscriptions that are idle, and many objects
//! that have passed. A binary of its own, because it counts every allocation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod attacks;
mod sending;
mod webtransport;

use std::sync::Arc;

use bytes::Bytes;
use moqt_conformance::heap::{Counting, Measured};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Draft, Message, Parameters, SetupOptions};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, Action, Config, Dir, Event, MoqtConnection, Read, RequestKey, Role, StreamKey,
    SubgroupOptions, Timestamp, Transmit, Transport,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Timestamp = Timestamp::ZERO;

/// A server whose peer does as it should, without anything around it that would be counted.
struct Server {
    engine: MoqtConnection,
    control: StreamKey,
    /// The stream it opened last.
    opened: Option<StreamKey>,
    /// Bytes it has sent.
    sent: u64,
}

impl Server {
    fn new(draft: Draft, requests: u32) -> Self {
        let mut config = Config::default();
        config.limits.open_requests = 2 * requests;
        config.limits.open_subscriptions = requests;
        config.limits.answer_timeout = None;
        let role = Role::Server;
        let mut engine = MoqtConnection::new(role, draft, Transport::Quic, Arc::new(config), NOW);
        for dir in [Dir::Bi, Dir::Uni] {
            engine.handle_streams_available(NOW, dir, 1 << 40);
        }
        let control = if own_streams(draft) { Dir::Uni } else { Dir::Bi };
        let control = engine.handle_stream_opened(NOW, control);
        let mut server = Self { engine, control, opened: None, sent: 0 };
        let mut options = SetupOptions::default();
        options.max_request_id = Some(1 << 40);
        server.feed(control, say::setup(draft, Role::Client, options).into());
        assert!(server.engine.is_established());
        server
    }

    fn feed(&mut self, stream: StreamKey, bytes: Bytes) -> Option<Event> {
        self.engine.handle_stream_data(NOW, stream, bytes, false);
        self.drain()
    }

    /// Does what a transport does; returns the last event.
    fn drain(&mut self) -> Option<Event> {
        while let Some(action) = self.engine.poll_action() {
            if let Action::OpenStream { stream, .. } = action {
                self.opened = Some(stream);
            }
        }
        while let Some(Transmit::Stream(mut send)) = self.engine.poll_send(NOW) {
            let len = send.offer().0.iter().map(Bytes::len).sum();
            send.written(len);
            self.sent += len as u64;
        }
        let mut last = None;
        while let Some(event) = self.engine.poll_event() {
            last = Some(event);
        }
        last
    }

    /// The peer's message about a request, on the stream of that or the control stream.
    fn hear(&mut self, draft: Draft, own: Option<StreamKey>, message: &Message) -> Option<Event> {
        self.feed(own.unwrap_or(self.control), say::message(draft, message).into())
    }

    /// The peer subscribes, and that is accepted.
    fn publish(&mut self, draft: Draft, n: u64) -> RequestKey {
        let own = own_streams(draft).then(|| self.engine.handle_stream_opened(NOW, Dir::Bi));
        let event = self.hear(draft, own, &say::subscribe(2 * n, &format!("track{n}")));
        let Some(Event::Request { request, .. }) = event else { panic!("{draft:?}: {event:?}") };
        self.engine.accept(NOW, request, Accept::default()).unwrap();
        self.drain();
        request
    }

    /// This end subscribes, and that is accepted.
    fn subscribe(&mut self, draft: Draft, n: u64) {
        let track = say::track(&format!("track{n}"));
        self.engine.subscribe(NOW, &track, &Parameters::default()).unwrap();
        self.drain();
        let own = self.opened.filter(|_| own_streams(draft));
        let event = self.hear(draft, own, &say::subscribe_ok(2 * n + 1, n));
        assert!(matches!(event, Some(Event::Accepted { .. })), "{draft:?}: {event:?}");
    }
}

fn own_streams(draft: Draft) -> bool {
    draft.dialect().answers_by_stream
}

#[test]
fn idle_subscriptions_cost_so_much_and_no_more() {
    const COUNT: u32 = 10_000;
    for draft in DRAFTS {
        let measured = Measured::begin();
        let mut server = Server::new(draft, COUNT);
        let empty = measured.held();
        for n in 0..u64::from(COUNT) {
            server.publish(draft, n);
        }
        let sending = (measured.held() - empty) / i64::from(COUNT);
        drop(server);
        let mut client = Server::new(draft, COUNT);
        let empty = measured.held();
        for n in 0..u64::from(COUNT) {
            client.subscribe(draft, n);
        }
        let receiving = (measured.held() - empty) / i64::from(COUNT);
        println!("{draft:?}: {sending} bytes to publish, {receiving} bytes to receive");
        assert!(sending <= limit(draft), "{draft:?}: {sending}");
        assert!(receiving <= limit(draft), "{draft:?}: {receiving}");
        drop(client);
        assert!(measured.held() < 10_000, "{draft:?}: {} bytes are left", measured.held());
    }
}

/// The most that one idle subscription may cost. In draft 18 it has a stream of its own.
fn limit(draft: Draft) -> i64 {
    if own_streams(draft) { 4096 } else { 2048 }
}

const GROUPS: u64 = 200;
const OBJECTS: u64 = 5_000;

/// The most that may be held at any time, however many objects there have been: some groups
/// are remembered, and queues keep their room.
const HELD: i64 = 64 * 1024;

#[test]
fn a_million_objects_received_leave_nothing() {
    for draft in DRAFTS {
        let mut server = Server::new(draft, 10);
        server.subscribe(draft, 0);
        let objects: Vec<(u64, &[u8])> = (0..OBJECTS).map(|id| (id, &b"0123456789"[..])).collect();
        let header_len = say::header(draft, 0, 0, 0, false).len();
        let body = Bytes::from(say::subgroup(draft, 0, 0, &objects)).split_off(header_len);
        let measured = Measured::begin();
        let (mut read, mut first_half, mut most) = (0, 0, 0);
        for group in 0..GROUPS {
            let stream = server.engine.handle_stream_opened(NOW, Dir::Uni);
            server.feed(stream, say::header(draft, 0, group, 0, false).into());
            for piece in 0..body.len().div_ceil(1200) {
                let piece = body.slice(piece * 1200..body.len().min((piece + 1) * 1200));
                server.feed(stream, piece);
                loop {
                    match server.engine.read(stream, usize::MAX) {
                        Read::Object(_) => read += 1,
                        Read::Payload(_) => {}
                        _ => break,
                    }
                }
                most = most.max(measured.held());
            }
            server.engine.handle_stream_data(NOW, stream, Bytes::new(), true);
            while !matches!(server.engine.read(stream, usize::MAX), Read::Finished | Read::Gone) {}
            server.drain();
            if group < GROUPS / 2 {
                first_half = most;
            }
        }
        assert_eq!(read, GROUPS * OBJECTS, "{draft:?}");
        println!("{draft:?}: at most {most} bytes while receiving {read} objects");
        assert!(most <= HELD, "{draft:?}");
        assert_eq!(most, first_half, "{draft:?}: the second half million needs more");
    }
}

#[test]
fn a_million_objects_sent_leave_nothing() {
    let payload = Bytes::from_static(b"0123456789");
    for draft in DRAFTS {
        let mut server = Server::new(draft, 10);
        let request = server.publish(draft, 0);
        let before = server.sent;
        let measured = Measured::begin();
        let (mut first_half, mut most) = (0, 0);
        for group in 0..GROUPS {
            let mut publisher = server.engine.publisher(request).unwrap();
            let stream = publisher.open_subgroup(SubgroupOptions::new(group)).unwrap().unwrap();
            for object_id in 0..OBJECTS {
                let header = ObjectHeader {
                    object_id,
                    payload_len: payload.len() as u64,
                    ..ObjectHeader::default()
                };
                let mut subgroup = server.engine.subgroup(stream).unwrap();
                subgroup.object(&header, payload.clone()).unwrap();
                if object_id % 100 == 0 {
                    most = most.max(measured.held());
                    server.drain();
                }
            }
            server.engine.subgroup(stream).unwrap().finish().unwrap();
            server.drain();
            if group < GROUPS / 2 {
                first_half = most;
            }
        }
        assert!(server.sent - before > GROUPS * OBJECTS * payload.len() as u64, "{draft:?}");
        println!("{draft:?}: at most {most} bytes while sending {} objects", GROUPS * OBJECTS);
        assert!(most <= HELD, "{draft:?}");
        assert_eq!(most, first_half, "{draft:?}: the second half million needs more");
    }
}
