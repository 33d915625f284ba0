//! [`Network`]: endpoints, the links between them, and the clock they share.

use core::fmt;
use core::ops::Range;
use core::time::Duration;

use moqt_engine::{Event, MoqtConnection, Read, Role, StreamKey, Timestamp};

use crate::agenda::Happening;
use crate::config::LinkConfig;
use crate::fault::Fault;
use crate::link::{Link, Load, World};
use crate::peer::Peer;
use crate::raw::{RawPeer, StreamId};
use crate::rng::Rng;
use crate::script::Script;
use crate::side::Side;
use crate::trace::Note;

/// One end of a link. Means nothing to another network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    link: usize,
    side: Side,
}

impl EndpointId {
    /// The other end of the same link.
    #[must_use]
    pub const fn peer(self) -> Self {
        Self { link: self.link, side: self.side.other() }
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Client => "client",
            Side::Server => "server",
        };
        write!(f, "{side} {}", self.link)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A scripted peer at one end of a link. Means nothing to another network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawId(EndpointId);

impl RawId {
    /// Its end of the link, for faults and loads.
    pub fn endpoint(self) -> EndpointId {
        self.0
    }
}

/// A network in memory, with a clock of its own.
///
/// Everything that happens in it depends on the seed and on the calls made, and on nothing
/// else. The connections are kept here; [`with`](Self::with) gives one out for a moment and
/// afterwards does what the engine's contract asks for. Their events wait in one queue, in the
/// order they happened.
///
/// # Panics
///
/// All methods panic if they are given an endpoint of another network.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    world: World,
    links: Vec<Link>,
    faults: Rng,
}

impl Network {
    /// An empty network at time zero.
    pub fn new(seed: u64) -> Self {
        let faults = Rng::fork(seed, u64::MAX);
        Self { seed, world: World::default(), links: Vec::new(), faults }
    }

    /// Links two connections. The transport's handshake begins now: the server's end is ready
    /// after one way, the client's after two.
    pub fn connect(
        &mut self,
        client: MoqtConnection,
        server: MoqtConnection,
        config: LinkConfig,
    ) -> (EndpointId, EndpointId) {
        self.link(Peer::Engine(client.into()), Peer::Engine(server.into()), config)
    }

    /// Links a connection with a scripted peer, which is the server if the connection is a
    /// client and the client otherwise.
    pub fn connect_raw(
        &mut self,
        connection: MoqtConnection,
        config: LinkConfig,
    ) -> (EndpointId, RawId) {
        let role = connection.role();
        let engine = Peer::Engine(connection.into());
        let raw = Peer::Raw(Box::default());
        if role == Role::Client {
            let (client, server) = self.link(engine, raw, config);
            (client, RawId(server))
        } else {
            let (client, server) = self.link(raw, engine, config);
            (server, RawId(client))
        }
    }

    fn link(&mut self, client: Peer, server: Peer, config: LinkConfig) -> (EndpointId, EndpointId) {
        let number = self.links.len();
        let [from, to] = Side::BOTH.map(|side| EndpointId { link: number, side });
        let mut link = Link::new(self.seed, number as u64, [from, to], [client, server], config);
        link.begin(&mut self.world);
        self.links.push(link);
        (from, to)
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.world.now
    }

    /// The time as an endpoint sees it, whose clock may have [leapt](Fault::Leap).
    pub fn clock(&self, at: EndpointId) -> Timestamp {
        let now = self.world.now;
        self.links.get(at.link).map_or(now, |link| link.ends.get(at.side).clock(now))
    }

    /// A connection, to look at.
    pub fn connection(&self, at: EndpointId) -> &MoqtConnection {
        match self.links.get(at.link).and_then(|link| link.engine(at.side)) {
            Some(engine) => engine,
            None => unreachable!("{at} is no connection of this network"),
        }
    }

    /// A connection, to give it commands; they are told the time. When `command` returns,
    /// actions and events are drained, and what can be sent is.
    ///
    /// Read through [`read`](Self::read), so that what is read is part of the trace.
    pub fn with<R>(
        &mut self,
        at: EndpointId,
        command: impl FnOnce(&mut MoqtConnection, Timestamp) -> R,
    ) -> R {
        let now = self.clock(at);
        let Some(link) = self.links.get_mut(at.link) else {
            unreachable!("{at} is no endpoint of this network")
        };
        let Some(connection) = link.engine_mut(at.side) else {
            unreachable!("{at} is a scripted peer")
        };
        let result = command(connection, now);
        link.settle(&mut self.world, at.side);
        result
    }

    /// Reads on in a stream, as [`MoqtConnection::read`] does.
    pub fn read(&mut self, at: EndpointId, stream: StreamKey, max: usize) -> Read {
        let read = self.with(at, |connection, _| connection.read(stream, max));
        self.world.trace.note(self.world.now, at, Note::Read(stream, &read));
        read
    }

    /// The event that happened first of those not taken yet, and where.
    pub fn next_event(&mut self) -> Option<(EndpointId, Event)> {
        self.world.events.pop_front()
    }

    /// All events of one endpoint that have not been taken yet, in order.
    pub fn take_events(&mut self, at: EndpointId) -> Vec<Event> {
        let events = core::mem::take(&mut self.world.events);
        let mut taken = Vec::new();
        for (of, event) in events {
            if of == at {
                taken.push(event);
            } else {
                self.world.events.push_back((of, event));
            }
        }
        taken
    }

    /// When the next thing will happen.
    pub fn next_time(&self) -> Option<Timestamp> {
        let timer = self.world.timers.first().map(|(at, _)| *at);
        let arrival = self.world.agenda.next_time();
        let next = [timer, arrival].into_iter().flatten().min()?;
        Some(next.max(self.world.now))
    }

    /// Jumps to the next thing that happens, be it an arrival, a timer or a fault, and carries
    /// it out. `false` if nothing will ever happen again of itself.
    pub fn step(&mut self) -> bool {
        let timer = self.world.timers.first().copied();
        let arrival = self.world.agenda.next_time();
        // What comes in at the very moment of a deadline comes in time.
        match timer {
            Some((at, id)) if arrival.is_none_or(|arrival| at < arrival) => {
                self.world.now = self.world.now.max(at);
                if let Some(link) = self.links.get_mut(id.link) {
                    link.timeout(&mut self.world, id.side);
                }
                true
            }
            _ => self.step_agenda(),
        }
    }

    fn step_agenda(&mut self) -> bool {
        let Some((at, id, what)) = self.world.agenda.pop() else { return false };
        self.world.now = self.world.now.max(at);
        let Some(link) = self.links.get_mut(id.link) else { return true };
        match what {
            Happening::Arrival(frame) => link.arrive(&mut self.world, id.side, frame),
            Happening::Room => link.on_room(&mut self.world, id.side),
            Happening::Fault(fault) => link.inject(&mut self.world, id.side, fault),
            Happening::Resume => link.resume(&mut self.world, id.side),
        }
        true
    }

    /// Whether nothing is on its way. Timers and faults that are still to come do not count,
    /// nor does what is [stalled](Fault::Stall).
    pub fn is_idle(&self) -> bool {
        !self.world.agenda.is_busy()
    }

    /// Goes on until nothing is on its way.
    pub fn run_until_idle(&mut self) {
        while !self.is_idle() && self.step() {}
    }

    /// Goes on until nothing is on its way and every event has been handed to `app`, which may
    /// give commands in turn. Two applications that never stop talking never end it: see
    /// [`run_until_with`](Self::run_until_with).
    pub fn run_until_idle_with(&mut self, mut app: impl FnMut(&mut Self, EndpointId, Event)) {
        loop {
            self.hand_events(&mut app);
            if self.is_idle() || !self.step() {
                return;
            }
        }
    }

    /// Carries out everything up to a point in time, timers included, and arrives there.
    pub fn run_until(&mut self, deadline: Timestamp) {
        while self.next_time().is_some_and(|next| next <= deadline) && self.step() {}
        self.world.now = self.world.now.max(deadline);
    }

    /// The same for a while from now.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.world.now.saturating_add(duration));
    }

    /// Like [`run_until`](Self::run_until), handing every event to `app`, which may give
    /// commands in turn.
    pub fn run_until_with(
        &mut self,
        deadline: Timestamp,
        mut app: impl FnMut(&mut Self, EndpointId, Event),
    ) {
        loop {
            self.hand_events(&mut app);
            if self.next_time().is_none_or(|next| next > deadline) || !self.step() {
                break;
            }
        }
        self.world.now = self.world.now.max(deadline);
    }

    fn hand_events(&mut self, app: &mut impl FnMut(&mut Self, EndpointId, Event)) {
        while let Some((at, event)) = self.next_event() {
            app(self, at, event);
        }
    }

    /// Lets something go wrong at an endpoint, now.
    pub fn inject(&mut self, at: EndpointId, fault: Fault) {
        if let Some(link) = self.links.get_mut(at.link) {
            link.inject(&mut self.world, at.side, fault);
        }
    }

    /// Lets something go wrong at an endpoint, at that time.
    pub fn schedule(&mut self, when: Timestamp, at: EndpointId, fault: Fault) {
        self.world.agenda.add(when.max(self.world.now), at, Happening::Fault(fault));
    }

    /// Lets `count` things go wrong within a span of time: when, where and which of `faults`
    /// is for the seed to say.
    pub fn schedule_some(
        &mut self,
        count: usize,
        within: Range<Timestamp>,
        places: &[EndpointId],
        faults: &[Fault],
    ) {
        for _ in 0..count {
            let span = within.end.saturating_since(within.start);
            let when = within.start.saturating_add(self.faults.duration(span));
            let Some(at) = self.faults.pick(places).copied() else { return };
            let Some(fault) = self.faults.pick(faults).cloned() else { return };
            self.schedule(when, at, fault);
        }
    }

    /// How much is on its way to an endpoint and waits there.
    pub fn load(&self, at: EndpointId) -> Load {
        self.links.get(at.link).map(|link| link.load(at.side)).unwrap_or_default()
    }

    /// A scripted peer, to look at what it has seen.
    pub fn raw(&self, at: RawId) -> &RawPeer {
        match self.links.get(at.0.link).and_then(|link| link.raw(at.0.side)) {
            Some(raw) => raw,
            None => unreachable!("{} is no scripted peer of this network", at.0),
        }
    }

    /// A scripted peer, to let it send.
    pub fn script(&mut self, at: RawId) -> Script<'_> {
        Script::new(self, at.0)
    }

    /// Does something at an end of a link, and what the contract asks for afterwards.
    pub(crate) fn act<R>(
        &mut self,
        at: EndpointId,
        act: impl FnOnce(&mut Link, &mut World, Side) -> Option<R>,
    ) -> Option<R> {
        let Self { links, world, .. } = self;
        let link = links.get_mut(at.link)?;
        let result = act(link, world, at.side);
        link.settle(world, at.side);
        result
    }

    /// What a scripted peer calls a stream of the connection it is linked with, or what the
    /// trace calls a stream of any. Streams that have long been over are forgotten.
    pub fn stream_id(&self, at: EndpointId, stream: StreamKey) -> Option<StreamId> {
        self.links.get(at.link)?.past_id(at.side, stream)
    }

    /// The key by which a connection knows a stream.
    pub fn stream_key(&self, at: EndpointId, stream: StreamId) -> Option<StreamKey> {
        self.links.get(at.link)?.key(at.side, stream)
    }

    /// A hash of what the applications saw: for each endpoint its events in order, and what was
    /// [`read`](Self::read) of each stream with payload joined. It does not depend on how bytes
    /// were cut, nor on times. Events that only say when to go on (`Readable`, `Writable`,
    /// `Unblocked`) are left out.
    ///
    /// Hashes may be compared within one version of these crates, on any platform.
    pub fn trace_hash(&self) -> u64 {
        self.world.trace.joined_hash()
    }

    /// A hash of everything that happened, with times: arrivals, actions, events, reads.
    pub fn raw_trace_hash(&self) -> u64 {
        self.world.trace.raw_hash()
    }

    /// Whether to keep a line of text for each thing that goes into
    /// [`raw_trace_hash`](Self::raw_trace_hash).
    pub fn keep_log(&mut self, keep: bool) {
        self.world.trace.keep_log(keep);
    }

    /// The lines kept so far.
    pub fn take_log(&mut self) -> Vec<String> {
        self.world.trace.take_log()
    }
}
