//! A link: two ends, the streams between them, and what is held on the way.

mod faults;
mod receive;
mod send;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::{Action, Dir, Event, MoqtConnection, StreamKey, Timestamp};

use crate::agenda::{Agenda, Frame, Happening};
use crate::config::{LinkConfig, PathConfig};
use crate::network::EndpointId;
use crate::peer::{Handle, Peer};
use crate::raw::{RawPeer, StreamId};
use crate::rng::Rng;
use crate::side::{PerDir, Side, Sides};
use crate::trace::{Note, Trace};

/// How many streams that are over an end remembers by their keys.
const PAST_KEYS: usize = 1024;

/// What all links share.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) agenda: Agenda,
    /// When connections want to be woken.
    pub(crate) timers: BTreeSet<(Timestamp, EndpointId)>,
    pub(crate) events: VecDeque<(EndpointId, Event)>,
    pub(crate) trace: Trace,
}

/// Two ends and what is between them.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: Sides<End>,
    streams: BTreeMap<StreamId, Stream>,
    faults: Rng,
}

/// One end of a link: a peer and its transport.
#[derive(Debug)]
pub(crate) struct End {
    id: EndpointId,
    pub(crate) peer: Peer,
    state: State,
    /// What it sends goes here.
    out: Path,
    keys: BTreeMap<StreamKey, StreamId>,
    /// Keys of streams that are over, the last of them.
    past_keys: VecDeque<(StreamKey, StreamId)>,
    /// Streams it has opened.
    opened: PerDir,
    /// Streams of the other end that it knows.
    announced: PerDir,
    /// Streams of the other end that are over.
    over: PerDir,
    /// Streams that the other end has been told it may open.
    granted: PerDir,
    /// Streams with something to hand over.
    to_read: VecDeque<StreamId>,
    /// Connection-wide credit that has not been given back yet.
    owed: u64,
    /// Until when it reads nothing, and grants no streams.
    reads_from: Timestamp,
    grants_from: Timestamp,
    /// How far its clock is ahead of the network's.
    ahead: Duration,
    /// Its entry among the timers.
    timer: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The transport's handshake is under way.
    Connecting,
    Open,
    Closed,
}

/// A direction of a link.
#[derive(Debug)]
struct Path {
    config: PathConfig,
    delays: Rng,
    cuts: Rng,
    datagrams: Rng,
    /// When what was taken from the sender has left, in nanoseconds.
    free_at: u128,
    /// There will be a [`Happening::Room`].
    awaits_room: bool,
    /// Bytes that may be sent on all streams.
    credit: u64,
    /// Streams that wait for room, and for credit.
    parked_for_room: Vec<StreamId>,
    parked_for_credit: Vec<StreamId>,
    datagrams_parked: bool,
    /// Until when nothing arrives, and no datagrams are taken.
    moves_from: Timestamp,
    datagrams_from: Timestamp,
    /// What would have arrived meanwhile.
    held: Vec<Frame>,
    /// Stream bytes on their way.
    in_flight: usize,
}

#[derive(Debug)]
struct Stream {
    halves: Sides<Half>,
}

/// A stream as seen from one end.
#[derive(Debug, Default)]
struct Half {
    key: Option<StreamKey>,
    /// The other end's FIN or reset has been handed over here, or there is nothing to receive.
    over: bool,
    /// What comes in is dropped.
    discards: bool,
    /// What has come in and has not been handed over.
    arrived: VecDeque<(Bytes, bool)>,
    /// A reset that waits for that.
    reset: Option<u64>,
    /// Credit that has not been given back yet.
    owed: u64,
    /// Bytes that may be sent from here.
    credit: u64,
    parked: bool,
    /// When the last piece sent from here will have arrived.
    last_arrival: Timestamp,
}

/// How many bytes a slow endpoint and its path hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Load {
    /// Stream bytes on their way to the endpoint.
    pub in_flight: usize,
    /// Stream bytes that have arrived and that the endpoint's connection did not want yet.
    pub unread: usize,
    /// Streams with a side that is not over.
    pub streams: usize,
}

impl Link {
    pub(crate) fn new(
        seed: u64,
        number: u64,
        ids: [EndpointId; 2],
        peers: [Peer; 2],
        config: LinkConfig,
    ) -> Self {
        let [client_id, server_id] = ids;
        let [client, server] = peers;
        let LinkConfig { up, down } = config;
        let rng = |purpose: u64| Rng::fork(seed, number << 3 | purpose);
        Self {
            ends: Sides {
                client: End::new(client_id, client, Path::new(up, [rng(0), rng(1), rng(2)])),
                server: End::new(server_id, server, Path::new(down, [rng(3), rng(4), rng(5)])),
            },
            streams: BTreeMap::new(),
            faults: rng(6),
        }
    }

    /// The transport's handshake: the server is ready when it has heard from the client, the
    /// client when it has heard from the server.
    pub(crate) fn begin(&mut self, world: &mut World) {
        let there = world.now.saturating_add(self.ends.client.out.config.latency);
        let back = there.saturating_add(self.ends.server.out.config.latency);
        let arrival = || Happening::Arrival(Frame::Ready);
        world.agenda.add(there, self.ends.server.id, arrival());
        world.agenda.add(back, self.ends.client.id, arrival());
        for side in Side::BOTH {
            let path = &self.ends.get(side.other()).out.config;
            let granted = PerDir { bi: path.bi_streams, uni: path.uni_streams };
            let end = self.ends.get_mut(side);
            end.granted = granted;
            self.settle(world, side);
        }
    }

    pub(crate) fn engine(&self, side: Side) -> Option<&MoqtConnection> {
        match &self.ends.get(side).peer {
            Peer::Engine(engine) => Some(engine),
            Peer::Raw(_) => None,
        }
    }

    pub(crate) fn engine_mut(&mut self, side: Side) -> Option<&mut MoqtConnection> {
        match &mut self.ends.get_mut(side).peer {
            Peer::Engine(engine) => Some(engine),
            Peer::Raw(_) => None,
        }
    }

    pub(crate) fn raw(&self, side: Side) -> Option<&RawPeer> {
        match &self.ends.get(side).peer {
            Peer::Engine(_) => None,
            Peer::Raw(raw) => Some(raw),
        }
    }

    pub(crate) fn raw_mut(&mut self, side: Side) -> Option<&mut RawPeer> {
        match &mut self.ends.get_mut(side).peer {
            Peer::Engine(_) => None,
            Peer::Raw(raw) => Some(raw),
        }
    }

    pub(crate) fn key(&self, side: Side, stream: StreamId) -> Option<StreamKey> {
        self.streams.get(&stream)?.halves.get(side).key
    }

    pub(crate) fn id(&self, side: Side, key: StreamKey) -> Option<StreamId> {
        self.ends.get(side).keys.get(&key).copied()
    }

    /// The same of a stream that may be over.
    pub(crate) fn past_id(&self, side: Side, key: StreamKey) -> Option<StreamId> {
        let past = self.ends.get(side).past_keys.iter().rev();
        self.id(side, key)
            .or_else(|| past.copied().find(|(past, _)| *past == key).map(|(_, id)| id))
    }

    pub(crate) fn load(&self, side: Side) -> Load {
        let arrived = |stream: &Stream| -> usize {
            stream.halves.get(side).arrived.iter().map(|(data, _)| data.len()).sum()
        };
        Load {
            in_flight: self.ends.get(side.other()).out.in_flight,
            unread: self.streams.values().map(arrived).sum(),
            streams: self.streams.len(),
        }
    }

    /// A connection's timer has run out.
    pub(crate) fn timeout(&mut self, world: &mut World, side: Side) {
        let end = self.ends.get_mut(side);
        world.trace.note(world.now, end.id, Note::Timeout);
        let now = end.clock(world.now);
        if let Peer::Engine(engine) = &mut end.peer {
            engine.handle_timeout(now);
        }
        self.settle(world, side);
    }

    /// Does all that the contract asks for after a call: actions and events first, then what
    /// can be handed over, then what can be sent.
    pub(crate) fn settle(&mut self, world: &mut World, side: Side) {
        loop {
            self.drain(world, side);
            if let Some(stream) = self.ends.get_mut(side).to_read.pop_front() {
                self.hand_over(world, side, stream);
            } else if !self.pump(world, side) {
                break;
            }
        }
        let end = self.ends.get_mut(side);
        let Peer::Engine(engine) = &end.peer else { return };
        // By the network's clock.
        let origin = end.clock(Timestamp::ZERO);
        let timer = engine.poll_timeout();
        let timer =
            timer.map(|(at, _)| Timestamp::ZERO.saturating_add(at.saturating_since(origin)));
        if timer == end.timer {
            return;
        }
        if let Some(old) = end.timer.take() {
            world.timers.remove(&(old, end.id));
        }
        if let Some(at) = timer {
            world.timers.insert((at, end.id));
        }
        end.timer = timer;
    }

    fn drain(&mut self, world: &mut World, side: Side) {
        loop {
            let end = self.ends.get_mut(side);
            let Peer::Engine(engine) = &mut end.peer else { return };
            let Some(action) = engine.poll_action() else { break };
            world.trace.note(world.now, end.id, Note::Action(&action));
            self.act(world, side, action);
        }
        let end = self.ends.get_mut(side);
        let Peer::Engine(engine) = &mut end.peer else { return };
        while let Some(event) = engine.poll_event() {
            world.trace.note(world.now, end.id, Note::Event(&event));
            world.events.push_back((end.id, event));
        }
    }

    fn act(&mut self, world: &mut World, side: Side, action: Action) {
        match action {
            Action::OpenStream { stream, dir } => {
                self.open(side, dir, Some(stream));
            }
            Action::ResetStream { stream, code } => {
                if let Some(id) = self.id(side, stream) {
                    self.reset(world, side, id, code);
                }
            }
            Action::StopSending { stream, code } => {
                if let Some(id) = self.id(side, stream) {
                    self.stop(world, side, id, code);
                }
            }
            Action::ResumeReading { stream } => {
                if let Some(id) = self.id(side, stream) {
                    self.ends.get_mut(side).to_read.push_back(id);
                }
            }
            Action::Close { code, reason } => self.close(world, side, code, reason),
            other => debug_assert!(false, "an action that is not known here: {other:?}"),
        }
    }

    /// A new stream from this side.
    pub(crate) fn open(&mut self, side: Side, dir: Dir, key: Option<StreamKey>) -> StreamId {
        let end = self.ends.get_mut(side);
        let ordinal = end.opened.get_mut(dir);
        let id = StreamId::new(side, dir, *ordinal);
        *ordinal += 1;
        if let Some(key) = key {
            end.keys.insert(key, id);
        }
        let mut stream =
            Stream { halves: Sides { client: Half::default(), server: Half::default() } };
        for at in Side::BOTH {
            let half = stream.halves.get_mut(at);
            half.over = !id.sends(at.other());
            if id.sends(at) {
                half.credit = self.ends.get(at).out.config.stream_window;
            }
        }
        stream.halves.get_mut(side).key = key;
        self.streams.insert(id, stream);
        id
    }

    /// The peer at this side closes the session.
    pub(crate) fn close(&mut self, world: &mut World, side: Side, code: u64, reason: String) {
        self.send_frame(world, side, Frame::Close { code, reason });
        self.ends.get_mut(side).state = State::Closed;
        self.clear_if_over();
    }

    /// Forgets everything once both ends know that the session is over.
    fn clear_if_over(&mut self) {
        if Side::BOTH.iter().all(|side| self.ends.get(*side).state == State::Closed) {
            self.streams.clear();
            for side in Side::BOTH {
                let end = self.ends.get_mut(side);
                end.keys.clear();
                end.to_read.clear();
                end.out.held.clear();
            }
        }
    }

    /// Forgets a stream that is over both ways, and lets its opener have another.
    fn forget_if_over(&mut self, world: &mut World, id: StreamId) {
        let is_over = |stream: &Stream| stream.halves.client.over && stream.halves.server.over;
        if !self.streams.get(&id).is_some_and(is_over) {
            return;
        }
        let Some(stream) = self.streams.remove(&id) else { return };
        for side in Side::BOTH {
            if let Some(key) = stream.halves.get(side).key {
                let end = self.ends.get_mut(side);
                end.keys.remove(&key);
                // What has been handed over may still be read.
                end.past_keys.push_back((key, id));
                if end.past_keys.len() > PAST_KEYS {
                    end.past_keys.pop_front();
                }
            }
        }
        let granter = id.opener().other();
        *self.ends.get_mut(granter).over.get_mut(id.dir()) += 1;
        self.grant(world, granter, id.dir());
    }

    /// Tells the other end how many streams it may open, if that has changed.
    fn grant(&mut self, world: &mut World, side: Side, dir: Dir) {
        let path = &self.ends.get(side.other()).out.config;
        let at_a_time = PerDir { bi: path.bi_streams, uni: path.uni_streams }.get(dir);
        let end = self.ends.get_mut(side);
        let total = at_a_time.saturating_add(end.over.get(dir));
        if world.now < end.grants_from || total <= end.granted.get(dir) {
            return;
        }
        *end.granted.get_mut(dir) = total;
        self.send_frame(world, side, Frame::StreamsAllowed { dir, total });
    }

    fn handle(&self, side: Side, id: StreamId) -> Handle {
        Handle { id, key: self.key(side, id) }
    }
}

impl End {
    fn new(id: EndpointId, peer: Peer, out: Path) -> Self {
        Self {
            id,
            peer,
            state: State::Connecting,
            out,
            keys: BTreeMap::new(),
            past_keys: VecDeque::new(),
            opened: PerDir::default(),
            announced: PerDir::default(),
            over: PerDir::default(),
            granted: PerDir::default(),
            to_read: VecDeque::new(),
            owed: 0,
            reads_from: Timestamp::ZERO,
            grants_from: Timestamp::ZERO,
            ahead: Duration::ZERO,
            timer: None,
        }
    }

    /// What its clock shows.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.ahead)
    }
}

impl Path {
    fn new(config: PathConfig, [delays, cuts, datagrams]: [Rng; 3]) -> Self {
        Self {
            credit: config.connection_window,
            config,
            delays,
            cuts,
            datagrams,
            free_at: 0,
            awaits_room: false,
            parked_for_room: Vec::new(),
            parked_for_credit: Vec::new(),
            datagrams_parked: false,
            moves_from: Timestamp::ZERO,
            datagrams_from: Timestamp::ZERO,
            held: Vec::new(),
            in_flight: 0,
        }
    }

    /// When something that leaves at `departure` arrives.
    fn arrival(&mut self, departure: Timestamp) -> Timestamp {
        let jitter = self.delays.duration(self.config.jitter);
        departure.saturating_add(self.config.latency).saturating_add(jitter)
    }
}
