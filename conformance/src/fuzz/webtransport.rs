use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use moqt_webtransport::{Action, Config, Connection, Dir, Event, Own, Request, Route};

use crate::heap::Measured;

/// One end of WebTransport over HTTP/3, to which a peer may say anything: nothing breaks, what is
/// held is bounded, and how streams are cut makes no difference.
///
/// The first byte chooses the role and how far the session is. Then come operations (`Op`), each a
/// byte that says what, and what that takes.
pub fn webtransport(data: &[u8]) {
    let Some((&start, ops)) = data.split_first() else { return };
    let ops = Op::read(ops);
    let whole = run(start, &ops, Cut::Whole);
    let bytes = run(start, &ops, Cut::Bytes);
    assert_eq!(bytes, whole, "what was cut into bytes, and what was not");
    holds_little(start, &ops);
}

/// Something that happens to the end.
#[derive(Debug)]
enum Op<'a> {
    Data { stream: u8, data: &'a [u8], fin: bool },
    Reset { stream: u8 },
    StopSending { stream: u8 },
    Datagram(&'a [u8]),
    Command(u8),
}

impl<'a> Op<'a> {
    fn read(mut data: &'a [u8]) -> Vec<Self> {
        let mut ops = Vec::new();
        while let Some((&head, rest)) = data.split_first() {
            // Which stream, in the lowest four bits.
            let stream = head & 0xf;
            data = rest;
            let op = match head >> 4 {
                kind @ 0..8 => {
                    // Well-formed pieces, and whatever bytes there are.
                    let data = match kind >> 1 {
                        0 => piece(&mut data),
                        _ => some(&mut data),
                    };
                    Self::Data { stream, data, fin: kind & 1 == 1 }
                }
                8 | 9 => Self::Datagram(some(&mut data)),
                10 => Self::Reset { stream },
                11 => Self::StopSending { stream },
                _ => Self::Command(head & 0x3f),
            };
            ops.push(op);
        }
        ops
    }
}

/// Bytes, after their number.
fn some<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let Some((&length, rest)) = data.split_first() else { return &[] };
    let (taken, rest) = rest.split_at(usize::from(length).min(rest.len()));
    *data = rest;
    taken
}

/// What makes sense in some place.
fn piece(data: &mut &[u8]) -> &'static [u8] {
    let Some((&which, rest)) = data.split_first() else { return &[] };
    *data = rest;
    PIECES[usize::from(which) % PIECES.len()]
}

const CLIENT_CONTROL: &[u8] = b"\x00\x04\x07\x33\x01\xac\x7c\xf0\x00\x01";
const SERVER_CONTROL: &[u8] = b"\x00\x04\x09\x33\x01\x08\x01\xac\x7c\xf0\x00\x01";
/// `:method`, `:protocol`, `:scheme`, `:authority` and `:path`.
const REQUEST: &[u8] = b"\x01\x23\x00\x00\xcf\x27\x02:protocol\x0fwebtransport-h3\xd7\x50\x01a\xc1";
const RESPONSE: &[u8] = b"\x01\x03\x00\x00\xd9";

const PIECES: &[&[u8]] = &[
    CLIENT_CONTROL,
    SERVER_CONTROL,
    REQUEST,
    RESPONSE,
    b"\x40\x41\x00",
    b"\x40\x54\x00",
    b"\x40\x54\x04",
    b"\x02\x20",
    b"\x03\x40",
    // Status 103, then 200.
    b"\x01\x03\x00\x00\xd8\x01\x03\x00\x00\xd9",
    // A draft-02 request, and SETTINGS.
    b"\x01\x20\x00\x00\xcf\x27\x02:protocol\x0cwebtransport\xd7\x50\x01a\xc1",
    b"\x00\x04\x07\x33\x01\xab\x60\x37\x42\x01",
    // WT_CLOSE_SESSION, WT_DRAIN_SESSION, a datagram and an unknown capsule.
    b"\x00\x08\x68\x43\x05\x00\x00\x00\x01x",
    b"\x00\x05\x80\x00\x78\xae\x00",
    b"\x00\x03\x00\x01x",
    b"\x00\x03\x21\x01x",
    // GOAWAY and MAX_PUSH_ID.
    b"\x07\x01\x04",
    b"\x0d\x01\x04",
    b"\x21\x00",
    // Huffman code.
    b"\x01\x10\x00\x00\xd9\x2f\x01\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x82\x64\x02",
];

/// How the bytes of a stream come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Whole,
    Bytes,
}

/// What comes of it all.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    actions: Vec<Action>,
    events: Vec<Event>,
    /// What the application got of each stream, and whether that was all.
    given: BTreeMap<u64, (Vec<u8>, bool)>,
    datagrams: Vec<Bytes>,
}

/// The peer's side of a stream.
#[derive(Debug, Default)]
enum Taker {
    #[default]
    Connection,
    Application,
    /// What came since it was held.
    Held(Vec<u8>, bool),
    Nobody,
}

/// The end, and what it was said to do with each stream.
struct End {
    connection: Connection,
    takers: BTreeMap<u64, Taker>,
    outcome: Outcome,
    /// Streams of which nothing more comes.
    ended: BTreeSet<u64>,
    /// Streams on which it has sent the end.
    finished: BTreeSet<u64>,
    is_closed: bool,
}

fn run(start: u8, ops: &[Op<'_>], cut: Cut) -> Outcome {
    let mut end = End::new(start, cut);
    for op in ops {
        end.happen(op, cut);
    }
    end.outcome
}

impl End {
    fn new(start: u8, cut: Cut) -> Self {
        let mut end = Self {
            connection: connection(start),
            takers: BTreeMap::new(),
            outcome: Outcome::default(),
            ended: BTreeSet::new(),
            finished: BTreeSet::new(),
            is_closed: false,
        };
        end.settle();
        for (stream, data) in opening(start) {
            end.data(stream, data, false, cut);
            end.settle();
        }
        if start & 0x0e == 0x0e {
            end.connection.accept(None, &[]);
            end.settle();
        }
        end
    }

    fn happen(&mut self, op: &Op<'_>, cut: Cut) {
        let connection = &mut self.connection;
        let is_client = connection.is_client();
        match op {
            Op::Data { stream, data, fin } => self.data(peers(*stream, is_client), data, *fin, cut),
            Op::Reset { stream } => {
                let stream = peers(*stream, is_client);
                // What an application has is none of the connection's business.
                if matches!(
                    self.takers.entry(stream).or_default(),
                    Taker::Connection | Taker::Held(..)
                ) && !self.ended.contains(&stream)
                {
                    connection.handle_reset(stream, 0x10c);
                    self.ended.insert(stream);
                    if let Some(taker @ Taker::Connection) = self.takers.get_mut(&stream) {
                        *taker = Taker::Nobody;
                    }
                }
            }
            Op::StopSending { stream } => {
                let code = if stream & 8 == 0 { 0x170d_7b68 } else { 0x10c };
                connection.handle_stop_sending(u64::from(stream & 7), code);
            }
            Op::Datagram(data) => {
                let payload = connection.handle_datagram(Bytes::copy_from_slice(data));
                assert!(payload.is_none() || connection.is_established());
                self.outcome.datagrams.extend(payload);
            }
            Op::Command(which) => command(connection, *which),
        }
        self.settle();
    }

    fn data(&mut self, stream: u64, data: &[u8], fin: bool, cut: Cut) {
        if self.ended.contains(&stream) || self.is_closed {
            return;
        }
        if fin {
            self.ended.insert(stream);
        }
        let step = if cut == Cut::Whole { data.len() } else { 1 };
        let mut pieces: Vec<(&[u8], bool)> =
            data.chunks(step.max(1)).map(|piece| (piece, false)).collect();
        match pieces.last_mut() {
            Some(last) => last.1 = fin,
            None => pieces.push((&[], fin)),
        }
        for (piece, fin) in pieces {
            self.piece(stream, piece, fin);
        }
    }

    fn piece(&mut self, stream: u64, piece: &[u8], fin: bool) {
        let taker = self.takers.entry(stream).or_default();
        match taker {
            Taker::Nobody => {}
            Taker::Held(bytes, ended) => {
                bytes.extend_from_slice(piece);
                *ended |= fin;
            }
            Taker::Application => {
                let (bytes, ended) = self.outcome.given.entry(stream).or_default();
                bytes.extend_from_slice(piece);
                *ended |= fin;
            }
            Taker::Connection => {
                let piece = Bytes::copy_from_slice(piece);
                match self.connection.handle_data(stream, piece, fin) {
                    Route::Own => {}
                    Route::Session(data) => {
                        assert!(self.connection.is_established());
                        *taker = Taker::Application;
                        self.outcome.given.insert(stream, (data.to_vec(), fin));
                    }
                    Route::Held => {
                        assert!(!self.connection.is_established());
                        *taker = Taker::Held(Vec::new(), false);
                    }
                    Route::Refused => *taker = Taker::Nobody,
                }
            }
        }
    }

    fn settle(&mut self) {
        while let Some(action) = self.connection.poll_action() {
            assert!(!self.is_closed, "{action:?} after the last one");
            match &action {
                Action::Open(own) => open(&mut self.connection, *own),
                Action::StopSending { stream, .. } => {
                    if let Some(taker @ Taker::Held(..)) = self.takers.get_mut(stream) {
                        *taker = Taker::Nobody;
                    }
                }
                Action::Close { .. } => self.is_closed = true,
                Action::Send { stream, fin, .. } => {
                    assert!(!self.finished.contains(stream), "{action:?} after the end");
                    if *fin {
                        self.finished.insert(*stream);
                    }
                }
                Action::Reset { .. } => {}
            }
            self.outcome.actions.push(action);
        }
        while let Some(event) = self.connection.poll_event() {
            self.event(event);
        }
        let is_end = |event: &&Event| {
            matches!(event, Event::Closed { .. } | Event::Failed(_) | Event::Refused { .. })
        };
        assert!(self.outcome.events.iter().filter(is_end).count() <= 1);
    }

    fn event(&mut self, event: Event) {
        let Event::Stream { stream, data, fin, reset } = event else {
            return self.outcome.events.push(event);
        };
        let taker = self.takers.insert(stream, Taker::Application);
        let Some(Taker::Held(rest, rest_fin)) = taker else {
            panic!("stream {stream} was not held");
        };
        let given = [&data[..], &rest].concat();
        self.outcome.given.insert(stream, (given, fin || rest_fin));
        // How much of it was held depends on how it was cut.
        self.outcome.events.push(Event::Stream { stream, data: Bytes::new(), fin: false, reset });
    }
}

fn connection(start: u8) -> Connection {
    let mut config = Config::default();
    if start & 0x80 != 0 {
        let limits = &mut config.limits;
        limits.field_section = 256;
        limits.settings = 32;
        limits.unattributed_streams = 3;
        limits.requests = 1;
        limits.held_streams = 2;
        limits.held_datagrams = 2;
        limits.held_datagram_bytes = 20;
        limits.early_bytes = 40;
        limits.capsule_datagram = 20;
    }
    if start & 1 == 0 {
        Connection::server(&config)
    } else {
        let mut request = Request::new("a", "/");
        request.protocols = vec!["b".to_owned()];
        Connection::client(request, &config)
    }
}

/// What comes first, for a session that is that far.
fn opening(start: u8) -> Vec<(u64, &'static [u8])> {
    let control = if start & 1 == 0 { (2, CLIENT_CONTROL) } else { (3, SERVER_CONTROL) };
    let message = if start & 1 == 0 { REQUEST } else { RESPONSE };
    match start & 0x0e {
        0 => Vec::new(),
        2 => vec![control],
        _ => vec![control, (0, message)],
    }
}

/// Streams of the peer's, and a client's CONNECT stream.
fn peers(which: u8, is_client: bool) -> u64 {
    match (which, is_client) {
        (0, _) => 0,
        (_, true) => u64::from(which) << 1 | 1,
        (_, false) => u64::from(which) << 1,
    }
}

fn open(connection: &mut Connection, own: Own) {
    let stream = match own.dir() {
        Dir::Bi => 0,
        Dir::Uni => 2,
    };
    connection.handle_opened(own, stream | u64::from(!connection.is_client()));
}

fn command(connection: &mut Connection, which: u8) {
    match which % 7 {
        0 | 1 => connection.accept(Some("b"), &[("c".to_owned(), Bytes::from_static(b"d"))]),
        2 => connection.refuse(404),
        3 => connection.close(7, "enough"),
        4 => connection.drain(),
        5 => connection.goaway(),
        _ => connection.reject_protocol(),
    }
}

/// Whatever is said, little is held beside the bytes of streams that wait for their session.
fn holds_little(start: u8, ops: &[Op<'_>]) {
    let measured = Measured::begin();
    let mut connection = connection(start);
    let drain = |connection: &mut Connection| {
        while let Some(action) = connection.poll_action() {
            if let Action::Open(own) = action {
                open(connection, own);
            }
        }
        while connection.poll_event().is_some() {}
        assert!(measured.held() <= HELD, "{} bytes are held", measured.held());
    };
    drain(&mut connection);
    for (stream, data) in opening(start) {
        let _ = connection.handle_data(stream, Bytes::from_static(data), false);
        drain(&mut connection);
    }
    for op in ops {
        let is_client = connection.is_client();
        match op {
            // Of a stream that is not the connection's, any more, another one begins.
            Op::Data { stream, data, fin } => {
                let stream = peers(*stream, is_client);
                let data = Bytes::copy_from_slice(data);
                let _ = connection.handle_data(stream, data, *fin);
            }
            Op::Reset { stream } => connection.handle_reset(peers(*stream, is_client), 0),
            Op::StopSending { stream } => connection.handle_stop_sending((*stream).into(), 0),
            Op::Datagram(data) => {
                let _ = connection.handle_datagram(Bytes::copy_from_slice(data));
            }
            Op::Command(which) => command(&mut connection, *which),
        }
        drain(&mut connection);
    }
    drop(connection);
    assert_eq!(measured.held(), 0, "all is given back");
}

/// The most that a connection holds of 16 streams that come in small pieces, in bytes.
const HELD: i64 = 64 * 1024;
