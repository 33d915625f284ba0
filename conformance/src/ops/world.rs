//! A connection in the hands of a transport, an application and a peer, and what these know of
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::model::{Location, LocationRange, Parameters, RequestKind, TrackNamespace};
use moqt_engine::{
    Action, CloseReason, Config, Dir, Draft, Event, IncomingRequest, MoqtConnection, RequestKey,
    Role, StreamKey, Timestamp, Transport, Usage,
};

use super::outgoing::Outgoing;
use super::peer::Peer;
use super::reading::Incoming;
use super::source::Source;
use super::writing::Sending;
use crate::end::End;
use crate::last_words::{ends_request, request_of};

/// How much a connection may be asked to do before it must have nothing more to say.
const PATIENCE: usize = 100_000;

/// Everything.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct World<'a> {
    pub(super) engine: MoqtConnection,
    pub(super) source: Source<'a>,
    pub(super) config: Arc<Config>,
    pub(super) draft: Draft,
    pub(super) role: Role,
    pub(super) now: Timestamp,
    pub(super) habits: Habits,
    /// Every stream there ever was; what has become of its key is not its name's concern.
    pub(super) streams: Vec<Stream>,
    names: BTreeMap<StreamKey, usize>,
    /// Every request that the application ever knew.
    pub(super) requests: Vec<Known>,
    known: BTreeMap<RequestKey, usize>,
    pub(super) peer: Peer,
    pub(super) outgoing: Outgoing,
    /// How many streams this side may have opened, and how many it has.
    pub(super) allowed: [u64; 2],
    pub(super) opened: [u64; 2],
    pub(super) datagrams_blocked: bool,
    pub(super) established: bool,
    pub(super) goaway_received: bool,
    pub(super) closed: Option<CloseReason>,
    /// Requests and updates begun here.
    pub(super) begun: u64,
    /// Commands so far; those not to be given; those that failed and changed nothing.
    pub(super) commands: usize,
    pub(super) skip: BTreeSet<usize>,
    pub(super) failed: BTreeSet<usize>,
    /// Requests that were told to wait for room.
    pub(super) blocked: BTreeSet<RequestKey>,
    /// Commands were told to wait for request credit, and for streams of a direction.
    pub(super) wants_credit: bool,
    pub(super) wants_streams: [bool; 2],
    /// Subgroups and responses that the application writes: of these, where they are.
    pub(super) subgroups: BTreeMap<StreamKey, Sending>,
    pub(super) responses: BTreeMap<RequestKey, (Location, u64)>,
    /// Namespaces that are told of by requests.
    pub(super) advertised: BTreeMap<TrackNamespace, RequestKey>,
    /// What was reached, and how often.
    pub(super) reached: BTreeMap<String, usize>,
    pub(super) transcript: DefaultHasher,
    pub(super) talks: bool,
    /// The largest piece of payload the application has given.
    pub(super) largest_write: usize,
}

/// What does not change in a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// The transport takes what there is to send at once.
    pub(super) takes_at_once: bool,
    /// The application reads what there is at once.
    pub(super) reads_at_once: bool,
    /// The transport gives no more than it is asked for.
    pub(super) respects_windows: bool,
    /// How often, of 256 times, the peer does what it must not.
    pub(super) mischief: u8,
    /// The most bytes that come in at a time.
    pub(super) piece: usize,
}

/// A stream, as transport and peer know it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) dir: Dir,
    pub(super) ours: bool,
    /// This side's half has ended: finished, or reset.
    pub(super) sent_fin: bool,
    pub(super) sent_reset: bool,
    pub(super) acknowledged: bool,
    /// Rests until the transport says otherwise.
    pub(super) parked: bool,
    /// The peer's half.
    pub(super) pending: Vec<u8>,
    pub(super) is_silent: bool,
    pub(super) pending_fin: bool,
    pub(super) fin: bool,
    pub(super) reset: bool,
    /// This side does not want more.
    pub(super) stopped: bool,
    /// The peer does not want more.
    pub(super) stopped_by_peer: bool,
    pub(super) incoming: Incoming,
}

/// A request, as the application knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: RequestKey,
    pub(super) kind: RequestKind,
    pub(super) ours: bool,
    pub(super) life: Life,
    pub(super) answered: bool,
    /// A FETCH of ours has been read to its end, or one of the peer's has been responded to.
    pub(super) fetched: bool,
    pub(super) unanswered_updates: usize,
    pub(super) undecided_updates: usize,
    /// What a FETCH of the peer's asks for.
    pub(super) range: Option<LocationRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Lives,
    /// The application has ended it, and the connection may still have to send what it holds.
    Ending,
    Over,
}

impl<'a> World<'a> {
    pub(super) fn new(bytes: &'a [u8], skip: BTreeSet<usize>, talks: bool) -> Self {
        let mut source = Source::new(bytes);
        let draft = source.pick(&crate::DRAFTS).unwrap_or(Draft::D14);
        let role = source.pick(&crate::ROLES).unwrap_or(Role::Client);
        let transport = if source.one_in(6) { Transport::WebTransport } else { Transport::Quic };
        let config = Arc::new(super::config::config(&mut source));
        let habits = Habits {
            takes_at_once: source.byte() < 110,
            reads_at_once: source.byte() < 128,
            respects_windows: source.byte() < 230,
            mischief: source.pick(&[0, 0, 1, 4, 20]).unwrap_or_default(),
            piece: source.pick(&[usize::MAX, usize::MAX, 100, 7, 1]).unwrap_or(usize::MAX),
        };
        let now = Timestamp::from_micros(source.small(3) * 1_000_000_007);
        let engine = MoqtConnection::new(role, draft, transport, config.clone(), now);
        let mut world = Self {
            engine,
            source,
            draft,
            role,
            now,
            habits,
            streams: Vec::new(),
            names: BTreeMap::new(),
            requests: Vec::new(),
            known: BTreeMap::new(),
            peer: Peer::new(draft, role),
            outgoing: Outgoing::new(draft, role),
            allowed: [0; 2],
            opened: [0; 2],
            datagrams_blocked: false,
            established: false,
            goaway_received: false,
            closed: None,
            begun: 0,
            commands: 0,
            skip,
            failed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            wants_credit: false,
            wants_streams: [false; 2],
            subgroups: BTreeMap::new(),
            responses: BTreeMap::new(),
            advertised: BTreeMap::new(),
            reached: BTreeMap::new(),
            transcript: DefaultHasher::new(),
            talks,
            largest_write: 0,
            config,
        };
        if world.source.byte() < 240 {
            world.engine.handle_max_datagram_size(now, Some(1200));
            let [bi, uni] = [(); 2].map(|()| match world.source.byte() {
                byte @ 0..=63 => 1 + u64::from(byte % 8),
                _ => 1000,
            });
            world.allow(Dir::Bi, bi);
            world.allow(Dir::Uni, uni);
            world.peer_sets_up();
        }
        world
    }

    /// Something happened that can be told from other runs.
    pub(super) fn note(&mut self, what: &impl core::fmt::Debug) {
        let text = format!("{what:?}");
        if self.talks {
            eprintln!("{:?} {text}", self.now);
        }
        text.hash(&mut self.transcript);
    }

    pub(super) fn reach(&mut self, what: impl Into<String>) {
        *self.reached.entry(what.into()).or_default() += 1;
    }

    pub(super) fn digest(&self) -> u64 {
        self.transcript.finish()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    pub(super) fn request(&self, key: RequestKey) -> Option<&Known> {
        self.requests.get(*self.known.get(&key)?)
    }

    pub(super) fn request_mut(&mut self, key: RequestKey) -> Option<&mut Known> {
        self.requests.get_mut(*self.known.get(&key)?)
    }

    pub(super) fn life(&self, key: RequestKey) -> Life {
        self.request(key).map_or(Life::Over, |known| known.life)
    }

    pub(super) fn end(&mut self, key: RequestKey, life: Life) {
        self.blocked.remove(&key);
        if let Some(known) = self.request_mut(key)
            && known.life != Life::Over
        {
            known.life = life;
        }
    }

    pub(super) fn know(
        &mut self,
        key: RequestKey,
        kind: RequestKind,
        ours: bool,
        range: Option<LocationRange>,
    ) {
        assert!(!self.known.contains_key(&key), "{key:?} has been another request");
        self.known.insert(key, self.requests.len());
        self.requests.push(Known {
            key,
            kind,
            ours,
            life: Life::Lives,
            answered: false,
            fetched: false,
            unanswered_updates: 0,
            undecided_updates: 0,
            range,
        });
    }

    /// A request that means nothing here.
    pub(super) fn foreign_request(&self) -> Option<RequestKey> {
        let mut other = End::established(Draft::D18, Role::Client, Config::default());
        let none = Parameters::default();
        let mut last = None;
        for n in 0..60 {
            let track = crate::say::track(&format!("t{n}"));
            last = other.engine.subscribe(other.now, &track, &none).ok();
        }
        last.filter(|key| !self.known.contains_key(key))
    }

    pub(super) fn name(&self, key: StreamKey) -> usize {
        let name = self.names.get(&key).copied();
        assert!(name.is_some(), "nobody knows {key:?}");
        name.unwrap_or_default()
    }

    pub(super) fn knows(&self, key: StreamKey) -> Option<usize> {
        self.names.get(&key).copied()
    }

    pub(super) fn add_stream(&mut self, key: StreamKey, dir: Dir, ours: bool) -> usize {
        let name = self.streams.len();
        let before = self.names.insert(key, name);
        assert_eq!(before, None, "{key:?} has been another stream");
        self.streams.push(Stream {
            key,
            dir,
            ours,
            sent_fin: false,
            sent_reset: false,
            acknowledged: false,
            parked: false,
            pending: Vec::new(),
            is_silent: true,
            pending_fin: false,
            fin: false,
            reset: false,
            stopped: false,
            stopped_by_peer: false,
            incoming: Incoming::default(),
        });
        self.outgoing.add_stream(dir, ours);
        name
    }

    /// The transport lets this side open so many streams more.
    pub(super) fn allow(&mut self, dir: Dir, more: u64) {
        let index = usize::from(dir == Dir::Uni);
        let allowed = self.allowed[index].saturating_add(more);
        self.allowed[index] = allowed;
        self.engine.handle_streams_available(self.now, dir, allowed);
        self.drain();
        let waits = self.wants_streams[index] && more > 0;
        assert!(!waits || self.is_closed(), "nobody says that there are streams");
    }

    /// What the contract asks for after every call.
    pub(super) fn drain(&mut self) {
        let mut patience = PATIENCE;
        let mut readable = Vec::new();
        loop {
            let mut any = false;
            while let Some(action) = self.engine.poll_action() {
                any = true;
                self.act(action);
            }
            while let Some(event) = self.engine.poll_event() {
                any = true;
                self.hear(event, &mut readable);
            }
            while self.engine.poll_trace().is_some() {}
            if self.habits.takes_at_once && self.take_all() {
                any = true;
            }
            if self.habits.reads_at_once {
                for stream in core::mem::take(&mut readable) {
                    any = true;
                    self.read_all(stream);
                }
            }
            if !any {
                break;
            }
            patience -= 1;
            assert!(patience > 0, "it never has enough");
        }
        self.check();
    }

    pub(super) fn act(&mut self, action: Action) {
        assert!(!self.peer.session_closed, "an action after the end: {action:?}");
        match action {
            Action::OpenStream { stream, dir } => {
                let index = usize::from(dir == Dir::Uni);
                self.opened[index] += 1;
                assert!(self.opened[index] <= self.allowed[index], "more streams than allowed");
                let name = self.add_stream(stream, dir, true);
                self.note(&("open", name, dir));
            }
            Action::ResetStream { stream, code } => {
                let name = self.name(stream);
                self.note(&("reset", name, code));
                let stream = &mut self.streams[name];
                assert!(stream.ours || stream.dir == Dir::Bi, "reset of what only the peer sends");
                assert!(!stream.sent_reset, "stream {name} was reset already");
                stream.sent_reset = true;
                self.outgoing.reset(name);
            }
            Action::StopSending { stream, code } => {
                let name = self.name(stream);
                self.note(&("stop", name, code));
                let stream = &mut self.streams[name];
                assert!(!stream.ours || stream.dir == Dir::Bi, "stop of what only we send");
                assert!(!stream.stopped, "stream {name} was stopped already");
                stream.stopped = true;
            }
            Action::ResumeReading { stream } => {
                let name = self.name(stream);
                self.deliver(name);
            }
            Action::Close { code, reason } => {
                self.note(&("close", code, &reason));
                self.peer.session_closed = true;
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn hear(&mut self, event: Event, readable: &mut Vec<usize>) {
        assert!(!self.is_closed(), "after the end: {event:?}");
        let named = match &event {
            Event::SubgroupOpened { stream, .. }
            | Event::FetchOpened { stream, .. }
            | Event::Readable { stream }
            | Event::SubgroupStopped { stream, .. }
            | Event::SubgroupGivenUp { stream, .. } => Some(self.name(*stream)),
            _ => None,
        };
        self.note(&(named, &event));
        let text = format!("{event:?}");
        let kind = text.split([' ', '(', '{']).next().unwrap_or_default();
        self.reach(format!("event {kind}"));
        if let Event::Request { request, what } = &event {
            let (kind, range) = kind_of(what);
            self.reach(format!("request {kind:?}"));
            self.know(*request, kind, false, range);
        }
        if let Some(key) = request_of(&event) {
            let known = self.request(key);
            assert!(known.is_some(), "of a request that nobody knows: {event:?}");
            let life = self.life(key);
            // It was on its way when the application ended the request, or tells how that went.
            assert!(life != Life::Over, "after the end of the request: {event:?}");
            if ends_request(&event) {
                self.end(key, Life::Over);
                self.blocked.remove(&key);
            }
        }
        match event {
            Event::Established { .. } => {
                assert!(!self.established, "established twice");
                self.established = true;
            }
            Event::Accepted { request, .. } => {
                let Some(known) = self.request_mut(request) else { return };
                assert!(known.ours && !known.answered, "answered twice, or not ours");
                known.answered = true;
                if known.kind == RequestKind::TrackStatus || known.fetched {
                    known.life = Life::Over;
                }
            }
            // What was given up may still be answered, and counts until then.
            Event::UpdateRejected { error, .. } if error.raw_code.is_none() => {}
            Event::UpdateAccepted { request, .. } | Event::UpdateRejected { request, .. } => {
                if let Some(known) = self.request_mut(request) {
                    let left = known.unanswered_updates.checked_sub(1);
                    assert!(left.is_some() || known.life != Life::Lives, "no update was sent");
                    known.unanswered_updates = left.unwrap_or_default();
                }
            }
            Event::UpdateRequested { request, .. } => {
                assert!(self.config.decide_updates, "nobody wants to decide");
                if let Some(known) = self.request_mut(request) {
                    known.undecided_updates += 1;
                }
            }
            Event::SubgroupOpened { stream, .. } => {
                let name = self.name(stream);
                self.streams[name].incoming.opened(false, None);
                readable.push(name);
            }
            Event::FetchOpened { stream, request } => {
                let name = self.name(stream);
                self.streams[name].incoming.opened(true, Some(request));
                readable.push(name);
            }
            Event::Readable { stream } => {
                let name = self.name(stream);
                self.streams[name].incoming.told();
                readable.push(name);
            }
            Event::Writable { request } => {
                self.blocked.remove(&request);
            }
            // Whoever waits tries again.
            Event::Unblocked => {
                self.wants_credit = false;
                self.wants_streams = [false; 2];
            }
            Event::Goaway { unprocessed, .. } => {
                self.goaway_received = true;
                for key in unprocessed {
                    assert!(self.request(key).is_some_and(|known| known.ours), "{key:?}");
                }
            }
            Event::Closed { reason } => {
                self.reach(format!("closed: {reason:?}"));
                if let CloseReason::Local { .. } = reason {
                    assert!(self.peer.session_closed, "the transport has not been told");
                }
                self.peer.session_closed = true;
                self.closed = Some(reason);
            }
            _ => {}
        }
    }

    /// What holds at any time.
    pub(super) fn check(&mut self) {
        let usage = self.engine.usage();
        assert_eq!(self.engine.is_closed(), self.is_closed());
        assert_eq!(self.engine.is_established(), self.established && !self.is_closed());
        if self.is_closed() {
            assert_eq!(usage, Usage::default(), "something is kept after the end");
            assert_eq!(self.engine.poll_timeout(), None);
            assert!(self.engine.poll_send(self.now).is_none());
            return;
        }
        let limits = &self.config.limits;
        // A PUBLISH that has expired, or whose subscriber was too slow, is over for the application
        // and goes on sending what is finished.
        let lives = |known: &&Known| {
            known.ours && (known.life != Life::Over || known.kind == RequestKind::Publish)
        };
        let ours = self.requests.iter().filter(lives).count();
        let theirs = limits.open_requests as usize;
        assert!(usage.requests <= ours + theirs, "{usage:?}, {ours} ours");
        let slack = 64 * self.streams.len() + self.largest_write + 768;
        assert!(usage.send_bytes <= limits.session_send + slack, "{usage:?}");
        assert!(usage.control_bytes <= limits.control_send.max(1) + 70_000, "{usage:?}");
        assert!(usage.watched_streams <= limits.watched_streams, "{usage:?}");
        let cache = limits.auth_token_cache.unwrap_or(self.draft.dialect().default_token_cache);
        assert!(usage.auth_token_bytes <= cache, "{usage:?}");
        let minimum = limits.stream_minimum.max(64) * usage.streams;
        if self.habits.respects_windows {
            assert!(usage.receive_bytes <= limits.session_receive + minimum, "{usage:?}");
            assert!(usage.early_bytes <= limits.early_bytes + 16 * self.streams.len(), "{usage:?}");
        }
    }

    /// The bytes of a command's payload.
    pub(super) fn payload(&mut self) -> Bytes {
        let (seed, len) = (u64::from(self.source.byte()), self.source.len());
        self.largest_write = self.largest_write.max(len);
        super::source::payload(seed, len)
    }
}

fn kind_of(what: &IncomingRequest) -> (RequestKind, Option<LocationRange>) {
    match what {
        IncomingRequest::Subscribe { .. } => (RequestKind::Subscribe, None),
        IncomingRequest::Publish { .. } => (RequestKind::Publish, None),
        IncomingRequest::Fetch { range, .. } => (RequestKind::Fetch, Some(*range)),
        IncomingRequest::TrackStatus { .. } => (RequestKind::TrackStatus, None),
        IncomingRequest::PublishNamespace { .. } => (RequestKind::PublishNamespace, None),
        _ => (RequestKind::SubscribeNamespace, None),
    }
}
