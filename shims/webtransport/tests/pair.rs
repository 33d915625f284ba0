//! A client and a server against each other: streams are cut and interleaved as a seed has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use moqt_webtransport::{Action, Config, Connection, Dir, Event, Route, Version, code};

use common::*;

/// What is on its way on a stream in one direction, and who takes it.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    fin: bool,
    fin_came: bool,
    reset: Option<u64>,
    taker: Taker,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Taker {
    #[default]
    Connection,
    Application,
    /// Nobody, for now.
    Held,
    /// Nobody.
    Refused,
}

struct Side {
    connection: Connection,
    /// What the other side sends to this one.
    incoming: BTreeMap<u64, Pipe>,
    datagrams: VecDeque<Bytes>,
    events: Vec<Event>,
    received: BTreeMap<u64, (Vec<u8>, bool)>,
    received_datagrams: Vec<Bytes>,
    closed: Option<u64>,
    opened: [u64; 2],
    wants_to_accept: bool,
}

impl Side {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            incoming: BTreeMap::new(),
            datagrams: VecDeque::new(),
            events: Vec::new(),
            received: BTreeMap::new(),
            received_datagrams: Vec::new(),
            closed: None,
            opened: [0, 0],
            wants_to_accept: false,
        }
    }

    fn open(&mut self, dir: Dir) -> u64 {
        let at = usize::from(dir == Dir::Uni);
        let stream = stream_id(self.connection.is_client(), dir, self.opened[at]);
        self.opened[at] += 1;
        stream
    }
}

struct Pair {
    sides: [Side; 2],
    chance: Chance,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl Pair {
    fn new(seed: u64, version: Version) -> Self {
        let mut config = Config::default();
        config.grease_seed = seed;
        let mut request = request();
        request.protocols = vec!["moqt-18".into(), "moqt-16".into()];
        let client = Side::new(Connection::client(request, &config));
        config.versions = vec![version];
        let server = Side::new(Connection::server(&config));
        Self { sides: [client, server], chance: Chance(seed) }
    }

    fn write(&mut self, from: usize, stream: u64, data: &[u8], fin: bool) {
        let pipe = self.sides[1 - from].incoming.entry(stream).or_default();
        assert!(!pipe.fin, "stream {stream} goes on after its end");
        pipe.bytes.extend(data);
        pipe.fin = fin;
    }

    /// Does what both sides want, and keeps what they tell.
    fn settle(&mut self) {
        for at in [CLIENT, SERVER] {
            while let Some(action) = self.sides[at].connection.poll_action() {
                assert_eq!(self.sides[at].closed, None, "{action:?} after the last one");
                match action {
                    Action::Open(own) => {
                        let stream = self.sides[at].open(own.dir());
                        self.sides[at].connection.handle_opened(own, stream);
                    }
                    Action::Send { stream, data, fin } => self.write(at, stream, &data, fin),
                    Action::Reset { stream, code } => {
                        self.sides[1 - at].incoming.entry(stream).or_default().reset = Some(code);
                    }
                    Action::StopSending { .. } => {}
                    Action::Close { code, .. } => self.sides[at].closed = Some(code),
                }
            }
            let side = &mut self.sides[at];
            while let Some(event) = side.connection.poll_event() {
                match &event {
                    Event::Requested(_) => side.wants_to_accept = true,
                    Event::Stream { stream, data, fin, reset: None } => {
                        side.incoming.get_mut(stream).unwrap().taker = Taker::Application;
                        side.received.insert(*stream, (data.to_vec(), *fin));
                    }
                    Event::Datagram(payload) => side.received_datagrams.push(payload.clone()),
                    _ => {}
                }
                side.events.push(event);
            }
        }
    }

    /// Something happens; `false` if nothing is left to happen.
    fn step(&mut self) -> bool {
        self.settle();
        let mut choices = Vec::new();
        for (at, side) in self.sides.iter().enumerate() {
            if side.closed.is_some() {
                continue;
            }
            if side.wants_to_accept {
                choices.push((at, None));
            }
            if !side.datagrams.is_empty() {
                choices.push((at, Some(u64::MAX)));
            }
            for (stream, pipe) in &side.incoming {
                let has_more = !pipe.bytes.is_empty() || (pipe.fin && !pipe.fin_came);
                if has_more && !matches!(pipe.taker, Taker::Held | Taker::Refused) {
                    choices.push((at, Some(*stream)));
                }
            }
        }
        if choices.is_empty() {
            return false;
        }
        let (at, what) = choices[self.chance.below(choices.len())];
        match what {
            None => {
                self.sides[at].wants_to_accept = false;
                self.sides[at].connection.accept(Some("moqt-16"), &[]);
            }
            Some(u64::MAX) => {
                let side = &mut self.sides[at];
                let datagram = side.datagrams.pop_front().unwrap();
                let payload = side.connection.handle_datagram(datagram);
                side.received_datagrams.extend(payload);
            }
            Some(stream) => self.deliver(at, stream),
        }
        true
    }

    fn deliver(&mut self, at: usize, stream: u64) {
        let side = &mut self.sides[at];
        let pipe = side.incoming.get_mut(&stream).unwrap();
        let most = [1, 3, 100, 10_000][self.chance.below(4)];
        let count = self.chance.below(most + 1).min(pipe.bytes.len());
        let data: Bytes = pipe.bytes.drain(..count).collect();
        // The end may come later than the last byte.
        let fin = pipe.fin && pipe.bytes.is_empty() && self.chance.below(3) > 0;
        pipe.fin_came = fin;
        if pipe.taker == Taker::Application {
            let (received, ended) = side.received.get_mut(&stream).unwrap();
            received.extend_from_slice(&data);
            *ended |= fin;
            return;
        }
        pipe.taker = match side.connection.handle_data(stream, data, fin) {
            Route::Own => Taker::Connection,
            Route::Session(data) => {
                side.received.insert(stream, (data.to_vec(), fin));
                Taker::Application
            }
            Route::Held => Taker::Held,
            Route::Refused => Taker::Refused,
        };
    }

    fn run(&mut self) {
        while self.step() {}
    }

    /// A side opens a stream and sends on it, as it may once it knows the session's ID.
    fn send(&mut self, from: usize, dir: Dir, payload: &[u8]) -> u64 {
        let stream = self.sides[from].open(dir);
        let session = self.sides[from].connection.session_id().unwrap();
        self.write(from, stream, &stream_header(dir, session), false);
        self.write(from, stream, payload, true);
        stream
    }
}

#[test]
fn sessions_come_and_go_however_streams_are_cut_and_interleaved() {
    for version in Version::ALL {
        for seed in 0..100 {
            let mut pair = Pair::new(seed, version);
            let mut streams: [Vec<(u64, Vec<u8>)>; 2] = [Vec::new(), Vec::new()];
            // Either opens streams as soon as it may, which for a client is before the answer.
            let mut steps = 0;
            while pair.step() || streams.iter().any(|streams| streams.len() < 8) {
                steps += 1;
                assert!(steps < 1_000_000, "{version} {seed}: it goes on for ever");
                for from in [CLIENT, SERVER] {
                    let connection = &pair.sides[from].connection;
                    let may = match from {
                        CLIENT => connection.session_id().is_some(),
                        _ => connection.is_established(),
                    };
                    if may && streams[from].len() < 8 && pair.chance.below(4) == 0 {
                        let payload = vec![u8::try_from(seed).unwrap(); pair.chance.below(3000)];
                        let dir = if pair.chance.below(2) == 0 { Dir::Bi } else { Dir::Uni };
                        streams[from].push((pair.send(from, dir, &payload), payload.clone()));
                        let datagram = [&[0][..], &payload].concat().into();
                        pair.sides[1 - from].datagrams.push_back(datagram);
                    }
                }
            }
            for from in [CLIENT, SERVER] {
                let (to, sent) = (&pair.sides[1 - from], &streams[from]);
                assert!(to.connection.is_established(), "{version} {seed}: {:?}", to.events);
                assert_eq!(to.connection.version(), Some(version));
                for (stream, payload) in sent {
                    assert_eq!(to.received[stream], (payload.clone(), true), "{version} {seed}");
                }
                assert_eq!(to.received.len(), sent.len());
                assert_eq!(to.received_datagrams.len(), sent.len());
                assert_eq!(to.closed, None);
            }
            let established = pair.sides[CLIENT].events.iter().find_map(|event| match event {
                Event::Established { response } => Some(response),
                _ => None,
            });
            assert_eq!(established.unwrap().protocol.as_deref(), Some("moqt-16"));
            close(pair, usize::try_from(seed).unwrap() % 2);
        }
    }
}

/// One side closes the session: the other hears why, and the connection is closed after it has.
fn close(mut pair: Pair, from: usize) {
    pair.sides[from].events.clear();
    pair.sides[1 - from].events.clear();
    let reason = "enough ".repeat(200);
    pair.sides[from].connection.close(0xdead_beef, &reason);
    pair.run();
    let told = Event::Closed { code: 0xdead_beef, reason: reason[..1024].to_owned() };
    assert_eq!(pair.sides[1 - from].events, [told]);
    assert!(pair.sides[from].events.is_empty());
    assert_eq!(pair.sides[from].closed, Some(code::H3_NO_ERROR));
    assert_eq!(pair.sides[1 - from].closed, None);
}

#[test]
fn both_sides_may_close_at_once() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed, Version::Draft15);
        pair.run();
        pair.sides[CLIENT].connection.close(1, "client");
        pair.sides[SERVER].connection.close(2, "server");
        pair.run();
        for side in &pair.sides {
            assert_eq!(side.closed, Some(code::H3_NO_ERROR));
        }
    }
}

#[test]
fn without_a_common_version_there_is_no_session() {
    let mut config = Config::default();
    config.versions = vec![Version::Draft07];
    let mut pair = Pair::new(1, Version::Draft15);
    pair.sides[CLIENT] = Side::new(Connection::client(request(), &config));
    pair.run();
    assert_eq!(pair.sides[CLIENT].closed, Some(code::WT_REQUIREMENTS_NOT_MET));
}
