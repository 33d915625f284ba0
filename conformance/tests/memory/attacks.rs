//! What a peer can make a connection hold, in bytes of the heap: as much as a formula of the
//! limit says, and nothing once it is over.
//!
//! The formulas allow for what is beside the bytes that a limit counts: [`EACH`] for each thing
//! that is held, and as much again as a limit because a buffer that grows doubles. The
//! application takes every event at once, as it must.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::heap::Measured;
use moqt_conformance::{DRAFTS, say, tokens};
use moqt_engine::model::{Draft, Location, Message, NamespaceInterest, Parameters, SetupOptions};
use moqt_engine::{
    Accept, Action, Config, Dir, Event, Limits, MoqtConnection, RequestKey, Role, StreamKey,
    Timestamp, Transmit, Transport,
};

/// The most that one thing costs beside its bytes: a stream, a request, a name, an entry.
pub(super) const EACH: i64 = 1600;

/// What a connection holds with nothing in it, and tables that do not shrink.
pub(super) const BASE: i64 = 24 * 1024;

/// The same after the end, when some queues have been long.
const QUEUES: i64 = 128 * 1024;

/// A server, and what it holds.
pub(super) struct Attacked {
    pub(super) draft: Draft,
    pub(super) engine: MoqtConnection,
    control: StreamKey,
    pub(super) now: Timestamp,
    pub(super) last: Option<RequestKey>,
    opened: Option<StreamKey>,
    /// Whether the peer reads what it is sent.
    pub(super) reads: bool,
    next_id: u64,
    measured: Measured,
}

impl Attacked {
    pub(super) fn new(draft: Draft, change: impl FnOnce(&mut Limits)) -> Self {
        Self::configured(draft, |config| change(&mut config.limits))
    }

    pub(super) fn configured(draft: Draft, change: impl FnOnce(&mut Config)) -> Self {
        let measured = Measured::begin();
        let mut this = Self::before_setup(draft, measured, change);
        let mut options = SetupOptions::default();
        options.max_request_id = Some(1 << 40);
        let control = this.control;
        this.feed(control, say::setup(draft, Role::Client, options).into());
        assert!(this.engine.is_established());
        this
    }

    fn before_setup(draft: Draft, measured: Measured, change: impl FnOnce(&mut Config)) -> Self {
        let now = Timestamp::ZERO;
        let mut config = Config::default();
        // Whether what is abandoned is abandoned too often is another matter.
        config.limits.churn_burst = u32::MAX;
        change(&mut config);
        let role = Role::Server;
        let mut engine = MoqtConnection::new(role, draft, Transport::Quic, Arc::new(config), now);
        for dir in [Dir::Bi, Dir::Uni] {
            engine.handle_streams_available(now, dir, 1 << 40);
        }
        let dir = if draft.dialect().answers_by_stream { Dir::Uni } else { Dir::Bi };
        let control = engine.handle_stream_opened(now, dir);
        let (last, opened, reads, next_id) = (None, None, true, 0);
        Self { draft, engine, control, now, last, opened, reads, next_id, measured }
    }

    pub(super) fn feed(&mut self, stream: StreamKey, bytes: Bytes) {
        self.engine.handle_stream_data(self.now, stream, bytes, false);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            if let Action::OpenStream { stream, .. } = action {
                self.opened = Some(stream);
            }
        }
        while self.reads {
            match self.engine.poll_send(self.now) {
                Some(Transmit::Stream(send)) => send.written(usize::MAX),
                Some(Transmit::Datagram(send)) => send.sent(),
                None => break,
            }
        }
        while let Some(event) = self.engine.poll_event() {
            if let Event::Request { request, .. } = event {
                self.last = Some(request);
            }
        }
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 2;
        id
    }

    /// The peer asks for something: where it says more about it.
    pub(super) fn ask(&mut self, message: &Message) -> StreamKey {
        let of_namespaces = matches!(message, Message::SubscribeNamespace(_));
        let own = self.draft.dialect().answers_by_stream
            || of_namespaces && say::namespaces_have_streams(self.draft);
        let on =
            if own { self.engine.handle_stream_opened(self.now, Dir::Bi) } else { self.control };
        self.feed(on, say::message(self.draft, message).into());
        on
    }

    /// The peer ends a request of its own.
    pub(super) fn end(&mut self, on: StreamKey, message: &Message) {
        if on == self.control {
            self.feed(on, say::message(self.draft, message).into());
        } else {
            self.engine.handle_stop_sending(self.now, on, 1);
            self.engine.handle_stream_reset(self.now, on, 1);
            self.drain();
        }
    }

    /// This side subscribes under this alias.
    pub(super) fn subscribe(&mut self, alias: u64) {
        let track = say::track("t");
        self.engine.subscribe(self.now, &track, &Parameters::default()).unwrap();
        self.drain();
        let on = self.opened.filter(|_| self.draft.dialect().answers_by_stream);
        let ok = say::message(self.draft, &say::subscribe_ok(1, alias));
        self.feed(on.unwrap_or(self.control), ok.into());
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn held(&self) -> i64 {
        self.measured.held()
    }

    #[track_caller]
    pub(super) fn assert_holds_at_most(&self, bound: i64) {
        let held = self.held();
        assert!(held <= bound, "{:?}: {held} bytes, of at most {bound}", self.draft);
    }

    /// Closing gives everything back but the connection itself and the room of its queues, and
    /// dropping that the rest.
    #[track_caller]
    pub(super) fn over(self) {
        let Self { draft, mut engine, measured, .. } = self;
        engine.close(moqt_engine::model::SessionError::NoError, "");
        while engine.poll_event().is_some() || engine.poll_action().is_some() {}
        assert!(measured.held() <= QUEUES, "{draft:?}: {} bytes after the end", measured.held());
        drop(engine);
        // What the test itself has at hand is no more than a few words.
        assert!(measured.held() < 256, "{draft:?}: {} bytes are left", measured.held());
    }
}

pub(super) fn bytes_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap()
}

/// A piece of a large buffer, all of which it keeps alive.
pub(super) fn cut(bytes: &[u8]) -> Bytes {
    let mut large = vec![0; 64 * 1024];
    large[..bytes.len()].copy_from_slice(bytes);
    Bytes::from(large).slice(..bytes.len())
}

// `stream_receive`, `session_receive`
#[test]
fn unread_bytes_that_come_one_by_one_in_large_buffers() {
    const LIMIT: usize = 20_000;
    let objects: Vec<(u64, &[u8])> = (0..20_000).map(|id| (id, &b"x"[..])).collect();
    for draft in DRAFTS {
        let bodies: Vec<_> = (0..4).map(|group| say::subgroup(draft, 7, group, &objects)).collect();
        let mut it = Attacked::new(draft, |limits| {
            limits.stream_receive = LIMIT;
            limits.session_receive = 2 * LIMIT;
            limits.stream_minimum = 64;
        });
        it.subscribe(7);
        let mut streams = 0;
        for bytes in &bodies {
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            streams += 1;
            for byte in bytes {
                if it.engine.recv_window(stream) == 0 {
                    break;
                }
                it.feed(stream, cut(&[*byte]));
            }
        }
        let bytes = it.engine.usage().receive_bytes;
        assert!(bytes >= 2 * LIMIT, "{draft:?}: {bytes}");
        it.assert_holds_at_most(BASE + 2 * 2 * bytes_of(LIMIT) + streams * (EACH + 64 * 1024));
        it.over();
    }
}

// `early_streams`, `early_bytes`
#[test]
fn what_comes_before_setup() {
    for draft in DRAFTS {
        let body = say::subgroup(draft, 1, 0, &[(0, &[1; 2000])]);
        let measured = Measured::begin();
        let mut it = Attacked::before_setup(draft, measured, |config| {
            config.limits.early_streams = 50;
            config.limits.early_bytes = 10_000;
        });
        for _ in 0..500 {
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            for byte in &body {
                if it.engine.recv_window(stream) == 0 {
                    break;
                }
                it.feed(stream, cut(&[*byte]));
            }
        }
        // Each stream has the few bytes that tell it from a control stream.
        assert!(it.engine.usage().early_bytes <= 10_000 + 500 * 16);
        it.assert_holds_at_most(BASE + 2 * (10_000 + 500 * 16) + 500 * EACH);
        it.over();
    }
}

// `unknown_aliases`, `unknown_alias_bytes`, `unknown_alias_datagrams`
#[test]
fn streams_and_datagrams_of_tracks_that_nobody_announced() {
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| {
            limits.unknown_aliases = 8;
            limits.unknown_alias_bytes = 10_000;
            limits.unknown_alias_datagrams = 16;
        });
        let bound = BASE + 2 * 10_000 + 8 * EACH + 16 * (EACH + 1200);
        for round in 0..2_000 {
            let body = say::subgroup(draft, 100 + round, 0, &[(0, &[1; 900])]);
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            it.feed(stream, body.into());
            let datagram = say::datagram(draft, 50_000 + round, Location::ZERO, &[1; 1000]);
            it.engine.handle_datagram(it.now, datagram);
            it.drain();
            // The peer goes on as soon as it is stopped.
            it.engine.handle_stream_reset(it.now, stream, 0);
            it.drain();
        }
        it.assert_holds_at_most(bound);
        it.pass(Duration::from_secs(60));
        it.assert_holds_at_most(BASE);
        it.over();
    }
}

// `open_requests`, `open_subscriptions`
#[test]
fn requests_with_the_longest_names() {
    const COUNT: u32 = 200;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.open_subscriptions = COUNT);
        for n in 0..2 * COUNT {
            let id = it.fresh_id();
            let name = format!("{n:0>4000}");
            it.ask(&say::subscribe(id, &name));
        }
        assert_eq!(it.engine.usage().requests, COUNT as usize, "{draft:?}");
        // Each track's name is known twice: by the request, and to find it by.
        it.assert_holds_at_most(BASE + i64::from(COUNT) * (2 * 4096 + 3 * EACH));
        it.over();
    }
}

// `namespaces_told`
#[test]
fn namespaces_without_end() {
    for draft in DRAFTS.into_iter().filter(|draft| say::namespaces_have_streams(*draft)) {
        let (prefix, none) = (say::namespace("pre"), Parameters::default());
        let mut it = Attacked::new(draft, |limits| limits.namespaces_told = 100);
        let interest = NamespaceInterest::Namespaces;
        it.engine.subscribe_namespace(it.now, &prefix, interest, &none).unwrap();
        it.drain();
        let on = it.opened.unwrap();
        let ok = say::ok(1, moqt_engine::model::RequestKind::SubscribeNamespace);
        it.feed(on, say::message(draft, &ok).into());
        let mut most = 0;
        for n in 0..200 {
            let told = say::namespace_found(&format!("{n:0>3000}"));
            it.feed(on, say::message(draft, &told).into());
            most = most.max(it.measured.held());
        }
        assert!(most <= BASE + 100 * (2 * 4096 + EACH), "{draft:?}: {most}");
        assert_eq!(it.engine.usage().namespaces, 0, "{draft:?}");
        // That each is gone was told by an event, all at once.
        it.assert_holds_at_most(BASE + 100 * EACH);
        it.over();
    }
}

// `auth_token_cache`
#[test]
fn tokens_of_no_length() {
    const CACHE: u64 = 4096;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| limits.auth_token_cache = Some(CACHE));
        for alias in 0..CACHE / 16 {
            let id = it.fresh_id();
            let on = it.ask(&say::subscribe_with(
                id,
                "t",
                tokens::with_tokens(&[tokens::register(alias, "")]),
            ));
            it.end(on, &say::unsubscribe(id));
            it.pass(Duration::from_secs(20));
        }
        assert_eq!(it.engine.usage().auth_token_bytes, CACHE, "{draft:?}");
        // A token counts as 16 bytes at least.
        it.assert_holds_at_most(BASE + (CACHE / 16).cast_signed() * 256);
        it.over();
    }
}

// `control_send`
#[test]
fn answers_that_the_peer_does_not_read() {
    const LIMIT: usize = 50_000;
    for draft in DRAFTS {
        let mut it = Attacked::new(draft, |limits| {
            limits.control_send = LIMIT;
            limits.open_subscriptions = 0;
        });
        it.reads = false;
        let mut most = 0;
        let mut asked = 0;
        while !it.engine.is_closed() {
            let id = it.fresh_id();
            if !draft.dialect().answers_by_stream && id >= 8000 {
                break;
            }
            it.ask(&say::subscribe(id, "t"));
            most = most.max(it.measured.held());
            asked += 1;
        }
        let streams = if draft.dialect().answers_by_stream { asked } else { 1 };
        assert!(
            most <= BASE + 2 * (bytes_of(LIMIT) + 70_000) + streams * EACH,
            "{draft:?}: {most}"
        );
        it.over();
    }
}

// `control_message_timeout`, `stream_header_timeout`: "held by the streams that the transport
// lets the peer open".
#[test]
fn half_messages_on_many_streams() {
    const STREAMS: i64 = 300;
    for draft in DRAFTS.into_iter().filter(|draft| draft.dialect().answers_by_stream) {
        let mut it = Attacked::new(draft, |_| ());
        for n in 0..STREAMS {
            let name = format!("{n:0>3000}");
            let mut bytes = say::message(draft, &say::subscribe(it.next_id, &name));
            bytes.pop();
            let stream = it.engine.handle_stream_opened(it.now, Dir::Bi);
            for byte in bytes {
                it.feed(stream, cut(&[byte]));
            }
        }
        it.assert_holds_at_most(BASE + STREAMS * (2 * 3100 + EACH));
        it.pass(Duration::from_secs(60));
        assert!(it.engine.is_closed());
        it.over();
    }
}

/// What a peer can do over and over.
type Cycle = fn(&mut Attacked, u64);

// "for as long as the session lasts": tombstones, histories, maps that have been large.
#[test]
fn nothing_grows_with_what_has_been() {
    const ROUNDS: u64 = 4_000;
    let cycles: &[(&str, Cycle)] = &[
        ("a subscription refused", |it, _| {
            let id = it.fresh_id();
            it.ask(&say::subscribe(id, "t"));
            let refusal =
                moqt_engine::Refusal::new(moqt_engine::model::RequestErrorCode::DoesNotExist);
            it.engine.reject(it.now, it.last.unwrap(), refusal).unwrap();
        }),
        ("a subscription accepted and ended", |it, n| {
            let id = it.fresh_id();
            let on = it.ask(&say::subscribe(id, &format!("t{n}")));
            it.engine.accept(it.now, it.last.unwrap(), Accept::default()).unwrap();
            it.drain();
            it.end(on, &say::unsubscribe(id));
        }),
        ("a PUBLISH done", |it, n| {
            let id = it.fresh_id();
            let on = it.ask(&say::publish(id, &format!("t{n}"), 1_000 + n));
            it.engine.accept(it.now, it.last.unwrap(), Accept::default()).unwrap();
            it.drain();
            it.feed(on, say::message(it.draft, &say::done(id, 0)).into());
        }),
        ("a fetch cancelled", |it, n| {
            let id = it.fresh_id();
            let fetch = say::fetch(id, &format!("t{n}"), Location::ZERO, Location::new(9, 0));
            let on = it.ask(&fetch);
            let cancel = moqt_engine::model::FetchCancel { request_id: id };
            it.end(on, &Message::FetchCancel(cancel));
        }),
        ("a stream opened and reset", |it, _| {
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            it.feed(stream, Bytes::from_static(b"\x10"));
            it.engine.handle_stream_reset(it.now, stream, 0);
        }),
        ("a stream of an unknown track", |it, n| {
            let body = say::subgroup(it.draft, 1_000_000 + n, 0, &[(0, b"object")]);
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            it.feed(stream, body.into());
            it.engine.handle_stream_reset(it.now, stream, 0);
        }),
        ("a subgroup read", |it, n| {
            if n == 0 {
                it.subscribe(7);
            }
            let body = say::subgroup(it.draft, 7, n, &[(0, b"object"), (3, b"another")]);
            let stream = it.engine.handle_stream_opened(it.now, Dir::Uni);
            it.engine.handle_stream_data(it.now, stream, body.into(), true);
            it.drain();
            while let moqt_engine::Read::Object(_) | moqt_engine::Read::Payload(_) =
                it.engine.read(stream, usize::MAX)
            {}
        }),
    ];
    for draft in DRAFTS {
        for (what, cycle) in cycles {
            let mut it = Attacked::new(draft, |limits| {
                limits.alias_tombstones = 64;
                limits.remembered_objects = 16;
            });
            let mut halves = [0; 2];
            for (half, most) in halves.iter_mut().enumerate() {
                for n in 0..ROUNDS / 2 {
                    cycle(&mut it, half as u64 * ROUNDS / 2 + n);
                    it.drain();
                    it.pass(Duration::from_millis(100));
                    if n > ROUNDS / 4 {
                        *most = it.measured.held().max(*most);
                    }
                }
            }
            assert!(!it.engine.is_closed(), "{draft:?}: {what}");
            let slack = 2048;
            assert!(halves[1] <= halves[0] + slack, "{draft:?}, {what}: {halves:?}");
            it.over();
        }
    }
}
