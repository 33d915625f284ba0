//! One end of a session under direct control: a connection without any transport, fed and
//! drained by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    EndOfRange, Location, Message, MessageKind, SetupOptions, StreamResetCode,
};
use moqt_engine::wire::{ControlReader, FetchObject, ObjectHeader};
use moqt_engine::{
    Action, Config, Dir, Draft, Event, FetchRead, MoqtConnection, Read, Role, StreamKey, Timestamp,
    Transmit, Transport,
};

use crate::say;

/// A stream, by who opened it and the how-manyth that was. Unlike a key, it says the same in
/// every run, and at both ends if the opener is turned round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The connection at hand opened it, not its peer.
    pub ours: bool,
    /// How many that end had opened before.
    pub n: usize,
}

impl Name {
    /// The same stream as its other end names it.
    #[must_use]
    pub fn turned(self) -> Self {
        Self { ours: !self.ours, ..self }
    }
}

/// What a connection gave to its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Output {
    Open(Name, Dir),
    Data(Name, Bytes),
    Fin(Name),
    Reset(Name, u64),
    Stop(Name, u64),
    Datagram(Bytes),
    Close(u64),
}

/// What was read of a subgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Got {
    Object(ObjectHeader, Vec<u8>),
    Finished,
    Reset(StreamResetCode),
    Gone,
}

/// What was read of a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Fetched {
    Object(FetchObject, Vec<u8>),
    EndOfRange(Location, EndOfRange),
    Finished,
    Reset(StreamResetCode),
    Gone,
}

/// A connection, the streams it knows by name, and what came of everything so far.
#[derive(Debug)]
pub struct End {
    /// The connection.
    pub engine: MoqtConnection,
    /// The time it is told.
    pub now: Timestamp,
    /// Everything it gave to its transport, in order.
    pub outputs: Vec<Output>,
    /// Events that nobody has taken, in order. Those that only say when to go on reading are
    /// not kept.
    pub events: Vec<Event>,
    /// What was read of each subgroup.
    pub reads: BTreeMap<Name, Vec<Got>>,
    /// What was read of each fetch.
    pub fetched: BTreeMap<Name, Vec<Fetched>>,
    /// Payload as it was read, piece by piece.
    pub pieces: Vec<Bytes>,
    /// Streams whose window opened again, in order.
    pub resumed: Vec<Name>,
    /// Whether subgroups are read as soon as there is something. On by default.
    pub reads_at_once: bool,
    /// Whether events that only say when to go on reading are kept, too. Off by default.
    pub keeps_readable: bool,
    /// Whether the transport takes what there is to send. On by default.
    pub takes_data: bool,
    /// The stream that the peer's control messages come on.
    pub control: Name,
    /// The next Request ID of the peer.
    pub peer_id: u64,
    draft: Draft,
    keys: BTreeMap<Name, StreamKey>,
    names: BTreeMap<StreamKey, Name>,
    fetch_streams: BTreeSet<Name>,
    answers: BTreeMap<Name, (ControlReader, usize)>,
}

impl End {
    /// A connection over raw QUIC whose transport is ready. The peer has opened its control
    /// stream if that is for it to do, and sent nothing.
    pub fn new(draft: Draft, role: Role, config: Config) -> Self {
        Self::over(Transport::Quic, draft, role, config)
    }

    /// The same over a transport of choice.
    pub fn over(transport: Transport, draft: Draft, role: Role, config: Config) -> Self {
        let now = Timestamp::ZERO;
        let mut engine = MoqtConnection::new(role, draft, transport, Arc::new(config), now);
        engine.handle_max_datagram_size(now, Some(1200));
        for dir in [Dir::Bi, Dir::Uni] {
            engine.handle_streams_available(now, dir, 100_000);
        }
        let mut end = Self {
            engine,
            now,
            outputs: Vec::new(),
            events: Vec::new(),
            reads: BTreeMap::new(),
            fetched: BTreeMap::new(),
            pieces: Vec::new(),
            resumed: Vec::new(),
            reads_at_once: true,
            keeps_readable: false,
            takes_data: true,
            control: Name { ours: true, n: 0 },
            peer_id: u64::from(role == Role::Client),
            draft,
            keys: BTreeMap::new(),
            names: BTreeMap::new(),
            fetch_streams: BTreeSet::new(),
            answers: BTreeMap::new(),
        };
        end.drain();
        let own_streams = draft.dialect().answers_by_stream;
        if own_streams || role == Role::Server {
            end.control = end.open(if own_streams { Dir::Uni } else { Dir::Bi });
        }
        end
    }

    /// A session that the peer has set up as it should, and nothing has happened in.
    pub fn established(draft: Draft, role: Role, config: Config) -> Self {
        let mut end = Self::new(draft, role, config);
        end.set_up();
        end
    }

    /// The peer sends its SETUP.
    pub fn set_up(&mut self) {
        let mut options = SetupOptions::default();
        options.max_request_id = Some(10_000);
        let setup = say::setup(self.draft, self.engine.role().peer(), options);
        self.data(self.control, setup);
        assert!(self.engine.is_established(), "{:?}", self.events);
        self.events.clear();
    }

    /// The draft spoken.
    pub fn draft(&self) -> Draft {
        self.draft
    }

    /// The name of a stream.
    pub fn name(&self, key: StreamKey) -> Name {
        self.names[&key]
    }

    /// The key of a stream.
    pub fn key(&self, name: Name) -> StreamKey {
        self.keys[&name]
    }

    /// The peer opens a stream.
    pub fn open(&mut self, dir: Dir) -> Name {
        let n = self.keys.keys().filter(|name| !name.ours).count();
        let name = Name { ours: false, n };
        let key = self.engine.handle_stream_opened(self.now, dir);
        self.know(name, key);
        self.drain();
        name
    }

    /// The peer opens a stream and sends bytes on it.
    pub fn open_with(&mut self, dir: Dir, bytes: impl Into<Bytes>) -> Name {
        let name = self.open(dir);
        self.data(name, bytes);
        name
    }

    /// The peer sends bytes on a stream.
    pub fn data(&mut self, name: Name, bytes: impl Into<Bytes>) {
        self.data_and(name, bytes, false);
    }

    /// The peer sends bytes on a stream, its last if `fin`.
    pub fn data_and(&mut self, name: Name, bytes: impl Into<Bytes>, fin: bool) {
        let key = self.key(name);
        self.engine.handle_stream_data(self.now, key, bytes.into(), fin);
        self.drain();
    }

    /// The peer finishes a stream.
    pub fn fin(&mut self, name: Name) {
        self.data_and(name, Bytes::new(), true);
    }

    /// The peer resets a stream.
    pub fn reset(&mut self, name: Name, code: u64) {
        self.engine.handle_stream_reset(self.now, self.keys[&name], code);
        self.drain();
    }

    /// The peer asks to stop sending on a stream.
    pub fn stop(&mut self, name: Name, code: u64) {
        self.engine.handle_stop_sending(self.now, self.keys[&name], code);
        self.drain();
    }

    /// The peer sends a datagram.
    pub fn datagram(&mut self, bytes: impl Into<Bytes>) {
        self.engine.handle_datagram(self.now, bytes.into());
        self.drain();
    }

    /// Gives a command to the connection.
    pub fn with<R>(&mut self, command: impl FnOnce(&mut MoqtConnection, Timestamp) -> R) -> R {
        let result = command(&mut self.engine, self.now);
        self.drain();
        result
    }

    /// Time passes. The connection is woken when it asked to be.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now.saturating_add(time);
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// The peer sends a message on a stream.
    pub fn say(&mut self, on: Name, message: &Message) {
        let bytes = say::message(self.draft, message);
        self.data(on, bytes);
    }

    /// The peer sends a request: on the control stream, or on a stream of its own. Returns
    /// where its answers will come.
    pub fn request(&mut self, message: &Message) -> Name {
        let of_namespaces = matches!(message, Message::SubscribeNamespace(_));
        let dialect = self.draft.dialect();
        if dialect.answers_by_stream || of_namespaces && say::namespaces_have_streams(self.draft) {
            self.open_with(Dir::Bi, say::message(self.draft, message))
        } else {
            self.say(self.control, message);
            self.control
        }
    }

    /// A Request ID of the peer's that it has not used.
    pub fn fresh_id(&mut self) -> u64 {
        let id = self.peer_id;
        self.peer_id += 2;
        id
    }

    /// The Request ID that the connection uses next.
    pub fn next_own_id(&self) -> u64 {
        u64::from(self.engine.role() == Role::Server) + 2 * self.own_requests() as u64
    }

    /// How many requests it has begun: each is a message on the control stream, or a stream.
    fn own_requests(&self) -> usize {
        let dialect = self.draft.dialect();
        if dialect.answers_by_stream {
            let updates = |name: &Name| {
                let is_update = |kind: &&MessageKind| **kind == MessageKind::RequestUpdate;
                self.kinds_sent(*name).iter().filter(is_update).count()
            };
            return self.own_streams() + self.keys.keys().map(updates).sum::<usize>();
        }
        let is_request = |kind: &&MessageKind| {
            matches!(
                kind,
                MessageKind::Subscribe
                    | MessageKind::Publish
                    | MessageKind::PublishNamespace
                    | MessageKind::SubscribeNamespace
                    | MessageKind::Fetch
                    | MessageKind::TrackStatus
                    | MessageKind::RequestUpdate
            )
        };
        // A namespace subscription may have a stream of its own here, too.
        let control = usize::from(self.engine.role() == Role::Client);
        self.own_streams() - control
            + self.kinds_sent(self.control).iter().filter(is_request).count()
    }

    /// The kinds of message that the connection has sent on a stream, as far as they are
    /// messages.
    fn kinds_sent(&self, on: Name) -> Vec<MessageKind> {
        let mut reader = ControlReader::new(self.draft.dialect());
        reader.push(self.sent(on).into());
        let mut kinds = Vec::new();
        while let Ok(Some(raw)) = reader.next_raw() {
            kinds.push(raw.kind);
        }
        kinds
    }

    /// How many bidirectional streams the connection has opened.
    fn own_streams(&self) -> usize {
        let opened = |output: &&Output| matches!(output, Output::Open(_, Dir::Bi));
        self.outputs.iter().filter(opened).count()
    }

    /// Where the connection's namespace subscription that it began last is answered.
    pub fn own_namespace_request(&self) -> Name {
        let opened = self.outputs.iter().rev().find_map(|output| match output {
            Output::Open(name, Dir::Bi) => Some(*name),
            _ => None,
        });
        opened.filter(|_| say::namespaces_have_streams(self.draft)).unwrap_or(self.control)
    }

    /// Where the connection's request that it began last is answered.
    pub fn own_request(&self) -> Name {
        if self.draft.dialect().answers_by_stream {
            let opened = self.outputs.iter().rev().find_map(|output| match output {
                Output::Open(name, Dir::Bi) => Some(*name),
                _ => None,
            });
            opened.unwrap_or(self.control)
        } else {
            self.control
        }
    }

    /// The messages that the connection has sent on a stream since this was asked last.
    /// What is sent on the control stream may be asked by the name of the peer's.
    pub fn said(&mut self, on: Name) -> Vec<Message> {
        let on = if self.draft.dialect().answers_by_stream && on == self.control {
            Name { ours: true, n: 0 }
        } else {
            on
        };
        let dialect = self.draft.dialect();
        let (reader, seen) =
            self.answers.entry(on).or_insert_with(|| (ControlReader::new(dialect), 0));
        let mut messages = Vec::new();
        for output in &self.outputs[*seen..] {
            if let Output::Data(name, bytes) = output
                && *name == on
            {
                reader.push(bytes.clone());
                while let Ok(Some(message)) = reader.next_message() {
                    messages.push(message);
                }
            }
        }
        *seen = self.outputs.len();
        messages
    }

    /// All bytes sent on a stream.
    pub fn sent(&self, on: Name) -> Vec<u8> {
        let mut sent = Vec::new();
        for output in &self.outputs {
            if let Output::Data(name, bytes) = output
                && *name == on
            {
                sent.extend_from_slice(bytes);
            }
        }
        sent
    }

    /// Whether the connection did this.
    pub fn did(&self, output: &Output) -> bool {
        self.outputs.contains(output)
    }

    /// Whether the connection has reset a stream.
    pub fn was_reset(&self, name: Name) -> bool {
        let is_reset = |output: &Output| matches!(output, Output::Reset(of, _) if *of == name);
        self.outputs.iter().any(is_reset)
    }

    /// The code the session was closed with, if it was closed from this side.
    pub fn closed(&self) -> Option<u64> {
        self.outputs.iter().find_map(|output| match output {
            Output::Close(code) => Some(*code),
            _ => None,
        })
    }

    /// The events so far.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    /// What was read of a stream so far, emptied.
    pub fn take_reads(&mut self, of: Name) -> Vec<Got> {
        self.reads.remove(&of).unwrap_or_default()
    }

    /// Reads a stream until nothing is left or `budget` bytes of payload have been read.
    pub fn read(&mut self, name: Name, mut budget: usize) {
        while budget > 0 {
            let Some(len) = self.read_once(name, budget) else { break };
            budget -= len;
        }
        self.drain();
    }

    /// Reads one thing from a stream, at most `max` bytes of payload: how many there were, `None`
    /// if nothing is to be read.
    pub fn read_once(&mut self, name: Name, max: usize) -> Option<usize> {
        let key = self.key(name);
        let got = self.reads.entry(name).or_default();
        match self.engine.read(key, max) {
            Read::Object(header) => got.push(Got::Object(header, Vec::new())),
            Read::Payload(piece) => {
                let len = piece.len();
                assert!(len <= max, "more than asked for");
                if let Some(Got::Object(_, payload)) = got.last_mut() {
                    payload.extend_from_slice(&piece);
                }
                self.pieces.push(piece);
                return Some(len);
            }
            Read::Finished => got.push(Got::Finished),
            Read::Reset(code) => got.push(Got::Reset(code)),
            Read::Gone => {
                if got.is_empty() || matches!(got.last(), Some(Got::Object(..))) {
                    got.push(Got::Gone);
                }
                return None;
            }
            _ => return None,
        }
        Some(0)
    }

    /// What was read of a fetch so far, emptied.
    pub fn take_fetched(&mut self, of: Name) -> Vec<Fetched> {
        self.fetched.remove(&of).unwrap_or_default()
    }

    /// Reads a fetch until nothing is left or `budget` bytes of payload have been read.
    pub fn read_fetch(&mut self, name: Name, mut budget: usize) {
        while budget > 0 {
            let Some(len) = self.read_fetch_once(name, budget) else { break };
            budget -= len;
        }
        self.drain();
    }

    /// Reads one thing from a fetch, at most `max` bytes of payload: how many there were, `None`
    /// if nothing is to be read.
    pub fn read_fetch_once(&mut self, name: Name, max: usize) -> Option<usize> {
        let key = self.key(name);
        let got = self.fetched.entry(name).or_default();
        match self.engine.read_fetch(key, max) {
            FetchRead::Object(object) => got.push(Fetched::Object(object, Vec::new())),
            FetchRead::Payload(piece) => {
                let len = piece.len();
                assert!(len <= max, "more than asked for");
                if let Some(Fetched::Object(_, payload)) = got.last_mut() {
                    payload.extend_from_slice(&piece);
                }
                self.pieces.push(piece);
                return Some(len);
            }
            FetchRead::EndOfRange { location, kind } => {
                got.push(Fetched::EndOfRange(location, kind));
            }
            FetchRead::Finished => got.push(Fetched::Finished),
            FetchRead::Reset(code) => got.push(Fetched::Reset(code)),
            FetchRead::Gone => {
                if matches!(got.last(), None | Some(Fetched::Object(..))) {
                    got.push(Fetched::Gone);
                }
                return None;
            }
            _ => return None,
        }
        Some(0)
    }

    /// Does what the engine's contract asks for after every call.
    pub fn drain(&mut self) {
        loop {
            let before = (self.outputs.len(), self.resumed.len());
            while let Some(action) = self.engine.poll_action() {
                self.act(action);
            }
            if self.takes_data {
                self.take_data();
            }
            let mut readable = Vec::new();
            let mut any = false;
            while let Some(event) = self.engine.poll_event() {
                any = true;
                match event {
                    Event::SubgroupOpened { stream, .. } => {
                        readable.push(stream);
                        self.events.push(event);
                    }
                    Event::FetchOpened { stream, .. } => {
                        self.fetch_streams.insert(self.name(stream));
                        readable.push(stream);
                        self.events.push(event);
                    }
                    Event::Readable { stream } => {
                        readable.push(stream);
                        if self.keeps_readable {
                            self.events.push(event);
                        }
                    }
                    _ => self.events.push(event),
                }
            }
            if self.reads_at_once {
                for stream in readable {
                    let name = self.name(stream);
                    if self.fetch_streams.contains(&name) {
                        self.read_fetch(name, usize::MAX);
                    } else {
                        self.read(name, usize::MAX);
                    }
                }
            }
            if !any && before == (self.outputs.len(), self.resumed.len()) {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        let output = match action {
            Action::OpenStream { stream, dir } => {
                let n = self.keys.keys().filter(|name| name.ours).count();
                let name = Name { ours: true, n };
                self.know(name, stream);
                Output::Open(name, dir)
            }
            Action::ResetStream { stream, code } => Output::Reset(self.name(stream), code),
            Action::StopSending { stream, code } => Output::Stop(self.name(stream), code),
            Action::Close { code, .. } => Output::Close(code),
            Action::ResumeReading { stream } => {
                self.resumed.push(self.name(stream));
                return;
            }
            other => unreachable!("{other:?}"),
        };
        self.outputs.push(output);
    }

    /// Takes all there is to send.
    pub fn take_data(&mut self) {
        while self.take_turn(usize::MAX).is_some() {}
    }

    /// Takes what is offered next, at most `room` bytes of it, and says of which stream;
    /// `None` of the inner option is a datagram.
    pub fn take_turn(&mut self, room: usize) -> Option<Option<Name>> {
        match self.engine.poll_send(self.now)? {
            Transmit::Stream(mut send) => {
                let name = self.names[&send.stream()];
                let (chunks, fin) = send.offer();
                let mut left = room;
                let mut taken = 0;
                let total: usize = chunks.iter().map(Bytes::len).sum();
                for chunk in chunks {
                    let take = chunk.len().min(left);
                    left -= take;
                    taken += take;
                    if take > 0 {
                        self.outputs.push(Output::Data(name, chunk.slice(..take)));
                    }
                }
                send.written(taken);
                if fin && taken == total {
                    self.outputs.push(Output::Fin(name));
                }
                Some(Some(name))
            }
            Transmit::Datagram(send) => {
                self.outputs.push(Output::Datagram(send.parts().concat().into()));
                send.sent();
                Some(None)
            }
        }
    }

    fn know(&mut self, name: Name, key: StreamKey) {
        self.keys.insert(name, key);
        self.names.insert(key, name);
    }
}
