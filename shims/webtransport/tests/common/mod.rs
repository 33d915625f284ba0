//! One end of a connection, and the bytes that a peer may send to it, written by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]
#![allow(dead_code, reason = "not every test uses everything")]

use std::collections::BTreeMap;

use bytes::Bytes;
use moqt_webtransport::{Action, Config, Connection, Dir, Error, Event, Own, Request, Route};

/// One end: streams that it wants are opened at once, and what it says is kept.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    /// What it sent on each stream, and whether that was all.
    pub(crate) sent: BTreeMap<u64, (Vec<u8>, bool)>,
    opened: u64,
}

/// The first streams of each side.
pub(crate) const CONNECT: u64 = 0;
pub(crate) const CLIENT_CONTROL: u64 = 2;
pub(crate) const SERVER_CONTROL: u64 = 3;

impl End {
    pub(crate) fn client() -> Self {
        Self::client_with(request(), &Config::default())
    }

    pub(crate) fn client_with(request: Request, config: &Config) -> Self {
        Self::new(Connection::client(request, config))
    }

    pub(crate) fn server() -> Self {
        Self::server_with(&Config::default())
    }

    pub(crate) fn server_with(config: &Config) -> Self {
        Self::new(Connection::server(config))
    }

    fn new(connection: Connection) -> Self {
        let mut end = Self {
            connection,
            actions: Vec::new(),
            events: Vec::new(),
            sent: BTreeMap::new(),
            opened: 0,
        };
        end.settle();
        end
    }

    /// A client that has sent its request, to a server of the newest version.
    pub(crate) fn asking_client() -> Self {
        let mut end = Self::client();
        end.data(SERVER_CONTROL, &control(&server_settings()));
        end.actions.clear();
        end
    }

    pub(crate) fn established_client() -> Self {
        let mut end = Self::asking_client();
        end.data(CONNECT, &headers(&[(":status", "200")]));
        assert!(end.connection.is_established());
        end.clear();
        end
    }

    /// A server with the SETTINGS of a client of the newest version.
    pub(crate) fn ready_server() -> Self {
        let mut end = Self::server();
        end.data(CLIENT_CONTROL, &control(&client_settings()));
        end.clear();
        end
    }

    /// A server that was asked for a session.
    pub(crate) fn asked_server() -> Self {
        let mut end = Self::ready_server();
        end.data(CONNECT, &headers(&connect_fields()));
        assert!(matches!(end.events[..], [Event::Requested(_)]), "{:?}", end.events);
        end.clear();
        end
    }

    pub(crate) fn established_server() -> Self {
        let mut end = Self::asked_server();
        end.with(|connection| connection.accept(None, &[]));
        assert!(end.connection.is_established());
        end.clear();
        end
    }

    /// Both kinds of ends with a session.
    pub(crate) fn established() -> [Self; 2] {
        [Self::established_client(), Self::established_server()]
    }

    pub(crate) fn clear(&mut self) {
        self.actions.clear();
        self.events.clear();
    }

    pub(crate) fn data(&mut self, stream: u64, data: &[u8]) -> Route {
        self.bytes(stream, data, false)
    }

    pub(crate) fn last(&mut self, stream: u64, data: &[u8]) -> Route {
        self.bytes(stream, data, true)
    }

    pub(crate) fn bytes(&mut self, stream: u64, data: &[u8], fin: bool) -> Route {
        self.with(|connection| connection.handle_data(stream, Bytes::copy_from_slice(data), fin))
    }

    pub(crate) fn datagram(&mut self, data: &[u8]) -> Option<Bytes> {
        self.with(|connection| connection.handle_datagram(Bytes::copy_from_slice(data)))
    }

    pub(crate) fn with<T>(&mut self, act: impl FnOnce(&mut Connection) -> T) -> T {
        let result = act(&mut self.connection);
        self.settle();
        result
    }

    fn settle(&mut self) {
        while let Some(action) = self.connection.poll_action() {
            match &action {
                Action::Open(own) => {
                    let base = match own.dir() {
                        Dir::Bi => 0,
                        Dir::Uni => 2,
                    };
                    let stream = base | u64::from(!self.connection.is_client());
                    assert!(*own == Own::Control || self.connection.is_client());
                    self.opened += 1;
                    self.connection.handle_opened(*own, stream);
                }
                Action::Send { stream, data, fin } => {
                    let sent = self.sent.entry(*stream).or_default();
                    assert!(!sent.1, "{action:?} after the end");
                    sent.0.extend_from_slice(data);
                    sent.1 = *fin;
                }
                Action::Reset { .. } | Action::StopSending { .. } | Action::Close { .. } => {}
            }
            self.actions.push(action);
        }
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
    }

    /// The ID of one of the peer's streams.
    pub(crate) fn peers(&self, dir: Dir, index: u64) -> u64 {
        stream_id(!self.connection.is_client(), dir, index)
    }

    /// The code with which the connection was closed.
    pub(crate) fn closed(&self) -> Option<u64> {
        self.actions.iter().find_map(|action| match action {
            Action::Close { code, .. } => Some(*code),
            _ => None,
        })
    }

    /// The code with which a stream was reset.
    pub(crate) fn reset(&self, stream: u64) -> Option<u64> {
        self.actions.iter().find_map(|action| match action {
            Action::Reset { stream: reset, code } if *reset == stream => Some(*code),
            _ => None,
        })
    }

    /// The code with which a stream was stopped.
    pub(crate) fn stopped(&self, stream: u64) -> Option<u64> {
        self.actions.iter().find_map(|action| match action {
            Action::StopSending { stream: stopped, code } if *stopped == stream => Some(*code),
            _ => None,
        })
    }

    /// The error with which the session failed.
    pub(crate) fn failed(&self) -> Option<&Error> {
        self.events.iter().find_map(|event| match event {
            Event::Failed(error) => Some(error),
            _ => None,
        })
    }

    /// The connection was closed with this code, and the application told.
    pub(crate) fn assert_connection_error(&self, code: u64, why: &str) {
        assert_eq!(self.closed(), Some(code), "{why}: {:?}", self.actions);
        assert!(
            matches!(self.failed(), Some(Error::Connection { code: told, .. }) if *told == code),
            "{why}: {:?}",
            self.events
        );
    }

    /// The session's stream was reset and stopped with this code, and the application told.
    pub(crate) fn assert_session_error(&self, code: u64, why: &str) {
        assert_eq!(self.closed(), None, "{why}: {:?}", self.actions);
        assert_eq!(self.reset(CONNECT), Some(code), "{why}: {:?}", self.actions);
        assert_eq!(self.stopped(CONNECT), Some(code), "{why}: {:?}", self.actions);
        assert!(
            matches!(self.failed(), Some(Error::Session { code: told, .. }) if *told == code),
            "{why}: {:?}",
            self.events
        );
    }

    /// This stream alone was refused.
    pub(crate) fn assert_refused(&self, stream: u64, code: u64, why: &str) {
        assert_eq!(self.closed(), None, "{why}: {:?}", self.actions);
        assert_eq!(self.stopped(stream), Some(code), "{why}: {:?}", self.actions);
        let is_bidirectional = stream & 2 == 0;
        let reset = is_bidirectional.then_some(code);
        assert_eq!(self.reset(stream), reset, "{why}: {:?}", self.actions);
        assert!(self.failed().is_none(), "{why}: {:?}", self.events);
    }
}

pub(crate) fn request() -> Request {
    Request::new("example.com:4443", "/moq?room=1")
}

/// RFC 9000, section 2.1.
pub(crate) fn stream_id(is_clients: bool, dir: Dir, index: u64) -> u64 {
    let direction = if dir == Dir::Bi { 0 } else { 2 };
    4 * index + direction + u64::from(!is_clients)
}

/// An integer of QUIC's.
pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![u8::try_from(value).unwrap()],
        0x40..0x4000 => (u16::try_from(value).unwrap() | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (u32::try_from(value).unwrap() | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// Integers one after the other.
pub(crate) fn varints(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| varint(*value)).collect()
}

/// A frame, or a capsule.
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), varint(payload.len() as u64), payload.to_vec()].concat()
}

/// A control stream that begins with these settings.
pub(crate) fn control(settings: &[(u64, u64)]) -> Vec<u8> {
    let settings: Vec<u8> =
        settings.iter().flat_map(|(id, value)| varints(&[*id, *value])).collect();
    [varint(0), frame(4, &settings)].concat()
}

pub(crate) fn client_settings() -> Vec<(u64, u64)> {
    vec![(0x33, 1), (0x2c7c_f000, 1)]
}

pub(crate) fn server_settings() -> Vec<(u64, u64)> {
    vec![(0x33, 1), (0x8, 1), (0x2c7c_f000, 1)]
}

pub(crate) fn connect_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", "CONNECT"),
        (":protocol", "webtransport-h3"),
        (":scheme", "https"),
        (":authority", "example.com:4443"),
        (":path", "/moq?room=1"),
    ]
}

/// A HEADERS frame of plain literals.
pub(crate) fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, &field_section(fields))
}

pub(crate) fn field_section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        prefixed(&mut section, 0x20, 7, name.len());
        section.extend_from_slice(name.as_bytes());
        prefixed(&mut section, 0, 0x7f, value.len());
        section.extend_from_slice(value.as_bytes());
    }
    section
}

/// RFC 7541, section 5.1.
fn prefixed(out: &mut Vec<u8>, flags: u8, max: u8, value: usize) {
    if value < usize::from(max) {
        out.push(flags | u8::try_from(value).unwrap());
        return;
    }
    out.push(flags | max);
    let mut rest = value - usize::from(max);
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// A DATA frame of capsules.
pub(crate) fn content(capsules: &[u8]) -> Vec<u8> {
    frame(0, capsules)
}

pub(crate) fn close_capsule(code: u32, reason: &[u8]) -> Vec<u8> {
    frame(0x2843, &[&code.to_be_bytes()[..], reason].concat())
}

/// What comes first on a session's stream.
pub(crate) fn stream_header(dir: Dir, session: u64) -> Vec<u8> {
    match dir {
        Dir::Bi => varints(&[0x41, session]),
        Dir::Uni => varints(&[0x54, session]),
    }
}

/// Choices that depend on nothing but a seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^= value >> 31;
        usize::try_from(value % (bound.max(1) as u64)).unwrap()
    }
}

/// Field lines of the first HEADERS frame that was sent on a stream, of what the crate sends:
/// static references and plain literals.
pub(crate) fn sent_fields(end: &End, stream: u64) -> Vec<(String, String)> {
    const NAMES: [(u64, &str, &str); 8] = [
        (0, ":authority", ""),
        (1, ":path", "/"),
        (15, ":method", "CONNECT"),
        (23, ":scheme", "https"),
        (25, ":status", "200"),
        (27, ":status", "404"),
        (90, "origin", ""),
        (92, "server", ""),
    ];
    let mut data = &end.sent[&stream].0[..];
    assert_eq!(data[0], 1, "HEADERS");
    let length = if data[1] < 0x40 {
        let length = usize::from(data[1]);
        data = &data[2..];
        length
    } else {
        let length = usize::from(data[1] & 0x3f) << 8 | usize::from(data[2]);
        data = &data[3..];
        length
    };
    data = &data[..length];
    assert_eq!(data[..2], [0, 0]);
    data = &data[2..];
    let mut fields = Vec::new();
    let text = |data: &mut &[u8], max: u8| {
        let length = usize::from(data[0] & max);
        assert!(length < usize::from(max) || data[1] < 0x80, "short enough");
        let (length, at) = if length < usize::from(max) {
            (length, 1)
        } else {
            (length + usize::from(data[1]), 2)
        };
        let text = String::from_utf8(data[at..at + length].to_vec()).unwrap();
        *data = &data[at + length..];
        text
    };
    while let Some(&first) = data.first() {
        let known = |index: u8| NAMES.iter().find(|known| known.0 == u64::from(index)).unwrap();
        if first & 0xc0 == 0xc0 {
            let (_, name, value) = known(first & 0x3f);
            fields.push(((*name).to_owned(), (*value).to_owned()));
            data = &data[1..];
        } else if first & 0xf0 == 0x50 {
            let name = if first & 0xf == 0xf { known(15 + data[1]) } else { known(first & 0xf) }.1;
            data = if first & 0xf == 0xf { &data[2..] } else { &data[1..] };
            fields.push((name.to_owned(), text(&mut data, 0x7f)));
        } else {
            let name = text(&mut data, 7);
            fields.push((name, text(&mut data, 0x7f)));
        }
    }
    fields
}
