mod connect;
mod control;
mod streams;

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use crate::held::Held;
use crate::qpack::Instructions;
use crate::request_stream::RequestStream;
use crate::settings::Settings;
use crate::{
    Action, Config, Dir, Error, Event, Limits, Own, Request, Response, Route, Version, code, varint,
};
use connect::{Connect, Stage};
use control::PeerControl;
use streams::Header;

/// One HTTP/3 connection with one WebTransport session.
///
/// Streams are known by QUIC's IDs, whose lowest two bits say who opened them and which direction
/// they have. Nothing here fails: what a peer does wrong becomes actions and an
/// [`Event::Failed`].
#[derive(Debug)]
pub struct Connection {
    /// What a client asks for; a server has none.
    request: Option<Request>,
    versions: Vec<Version>,
    limits: Limits,
    grease_seed: u64,

    control: Option<u64>,
    /// For the control stream, until it is open.
    for_control: BytesMut,
    /// The lowest request that is not processed any more.
    goaway: Option<u64>,
    /// The request after the highest that was seen.
    next_request: u64,

    settings: Option<Settings>,
    peer_control: Option<PeerControl>,
    peer_encoder: Option<(u64, Instructions)>,
    peer_decoder: Option<(u64, Instructions)>,
    /// The server takes no further requests.
    peer_is_going: bool,

    /// Streams whose header is not complete.
    headers: BTreeMap<u64, Header>,
    /// Requests, at a server, whose header is not complete.
    requests: BTreeMap<u64, RequestStream>,
    held: Held,

    stage: Stage,
    connect: Option<Connect>,
    version: Option<Version>,
    stream_headers: [Bytes; 2],
    datagram_header: Bytes,

    /// Nothing happens any more.
    is_closed: bool,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    stats: Stats,
}

/// What was dropped, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Streams that ended, or were reset, before their header was complete.
    pub unattributed_streams: u64,
    /// Streams that were refused: without a session, over a limit, or of an unknown type.
    pub refused_streams: u64,
    /// Datagrams without a session, or over a limit.
    pub dropped_datagrams: u64,
}

impl Connection {
    /// The client's side. The request goes out once the server's SETTINGS allow it.
    pub fn client(request: Request, config: &Config) -> Self {
        Self::new(Some(request), config)
    }

    /// The server's side.
    pub fn server(config: &Config) -> Self {
        Self::new(None, config)
    }

    fn new(request: Option<Request>, config: &Config) -> Self {
        Self {
            request,
            versions: config.versions.clone(),
            limits: config.limits.clone(),
            grease_seed: config.grease_seed,
            control: None,
            for_control: BytesMut::new(),
            goaway: None,
            next_request: 0,
            settings: None,
            peer_control: None,
            peer_encoder: None,
            peer_decoder: None,
            peer_is_going: false,
            headers: BTreeMap::new(),
            requests: BTreeMap::new(),
            held: Held::default(),
            stage: Stage::Waiting,
            connect: None,
            version: None,
            stream_headers: [Bytes::new(), Bytes::new()],
            datagram_header: Bytes::new(),
            is_closed: false,
            actions: [Action::Open(Own::Control)].into(),
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes what came on a stream that the peer opened, or on the CONNECT stream, and the end of
    /// the stream. For every stream until the answer says that it is not needed any more.
    #[must_use]
    pub fn handle_data(&mut self, stream: u64, data: Bytes, fin: bool) -> Route {
        if self.is_closed {
            return Route::Refused;
        }
        if self.connect.as_ref().is_some_and(|connect| connect.id == stream) {
            self.connect_data(data, fin);
            return Route::Own;
        }
        if self.is_critical(stream) {
            self.critical_data(stream, data, fin);
            return Route::Own;
        }
        if self.held.stream_mut(stream).is_some() {
            return Route::Held;
        }
        if self.requests.contains_key(&stream) {
            return self.request_data(stream, data, fin);
        }
        if is_servers(stream) != self.is_client() {
            return Route::Refused;
        }
        self.header_data(stream, data, fin)
    }

    /// The peer has reset a stream of HTTP/3's, or one that is not yet, or never became, the
    /// session's.
    pub fn handle_reset(&mut self, stream: u64, code: u64) {
        if self.is_closed {
            return;
        }
        if self.connect.as_ref().is_some_and(|connect| connect.id == stream) {
            self.connect_reset(code);
        } else if self.is_critical(stream) {
            self.critical_stream_is_closed();
        } else if let Some(held) = self.held.stream_mut(stream) {
            held.reset = Some(code);
        } else if is_servers(stream) == self.is_client() {
            self.header_reset(stream);
        }
    }

    /// The peer reads no more of a stream on which an [`Action`] sent.
    pub fn handle_stop_sending(&mut self, stream: u64, code: u64) {
        if self.is_closed {
            return;
        }
        if self.control == Some(stream) {
            self.critical_stream_is_closed();
        } else if self.connect.as_ref().is_some_and(|connect| connect.id == stream) {
            self.connect_stop_sending(code);
        } else {
            self.actions.push_back(Action::Reset { stream, code });
        }
    }

    /// Takes a datagram: its payload, if it is the session's and the session is established.
    /// Otherwise it is dropped, or held until the session is.
    pub fn handle_datagram(&mut self, data: Bytes) -> Option<Bytes> {
        if self.is_closed {
            return None;
        }
        self.datagram(data)
    }

    /// A stream was opened, as [`Action::Open`] asked.
    pub fn handle_opened(&mut self, own: Own, stream: u64) {
        if self.is_closed {
            return;
        }
        match own {
            Own::Control => self.open_control(stream),
            Own::Connect => self.send_request(stream),
        }
    }

    /// What the QUIC stack is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What the application is to know next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Accepts the session, after [`Event::Requested`], with one of the protocols requested, or
    /// none, and further header fields, whose names are in lower case. What was not requested, or
    /// cannot be sent, is left out.
    pub fn accept(&mut self, protocol: Option<&str>, headers: &[(String, Bytes)]) {
        if self.is_closed || self.stage != Stage::Requested || self.is_client() {
            return;
        }
        let offered = self.connect.as_ref().map(|connect| &connect.protocols);
        let protocol = protocol.filter(|protocol| {
            offered.is_some_and(|offered| offered.iter().any(|offered| offered == protocol))
        });
        let response = Response {
            status: 200,
            protocol: protocol.map(str::to_owned),
            headers: headers.to_vec(),
        };
        self.send_response(&response.encode(self.version), false);
        self.establish(None);
        self.early_data();
    }

    /// Refuses the session, after [`Event::Requested`], with an HTTP status from 300 to 599: 404
    /// if there is none at this path, 403 if this origin may have none, 429 or 503 for later.
    /// Another status is sent as 500.
    pub fn refuse(&mut self, status: u16) {
        if self.is_closed || self.stage != Stage::Requested || self.is_client() {
            return;
        }
        let status = if (300..600).contains(&status) { status } else { 500 };
        self.send_response(&Response::bare(status), true);
        self.stop_connect(code::H3_NO_ERROR);
        self.end_session(None);
    }

    /// Ends the session: tells the peer, and closes the connection when the peer has heard of it,
    /// or at once if there is no session. `reason` is cut to 1,024 bytes. The session's streams
    /// are the caller's to reset, with `WT_SESSION_GONE`.
    ///
    /// A session that the peer has ended needs no such call, but with it the connection is closed
    /// as soon as the peer has sent its last.
    pub fn close(&mut self, code: u32, reason: &str) {
        if !self.is_closed {
            self.close_session(code, reason);
        }
    }

    /// Ends the session because the server chose none of the application protocols that were
    /// offered, and one is needed: `WT_ALPN_ERROR`.
    pub fn reject_protocol(&mut self) {
        if !self.is_closed && self.stage == Stage::Established {
            self.abort_session(code::WT_ALPN_ERROR, None);
        }
    }

    /// Asks the peer to end the session soon.
    pub fn drain(&mut self) {
        if !self.is_closed && self.stage == Stage::Established {
            self.send_drain();
        }
    }

    /// Tells the peer that this side goes away: it takes no further requests.
    pub fn goaway(&mut self) {
        if !self.is_closed {
            self.send_goaway();
        }
    }

    /// Whether there is a session now.
    pub fn is_established(&self) -> bool {
        self.stage == Stage::Established
    }

    /// The session's ID, which is the CONNECT stream's, once that is known.
    pub fn session_id(&self) -> Option<u64> {
        self.connect.as_ref().map(|connect| connect.id)
    }

    /// The version of WebTransport, once both sides have said which they speak.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// What to write first on each stream that the session opens; empty as long as there has been
    /// no session.
    pub fn stream_header(&self, dir: Dir) -> Bytes {
        let [bi, uni] = &self.stream_headers;
        match dir {
            Dir::Bi => bi.clone(),
            Dir::Uni => uni.clone(),
        }
    }

    /// What to write before each datagram's payload; empty as long as there has been no session.
    pub fn datagram_header(&self) -> Bytes {
        self.datagram_header.clone()
    }

    /// What was dropped.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether this is the client's side.
    pub fn is_client(&self) -> bool {
        self.request.is_some()
    }

    /// The peer violated the protocol: nothing of the connection is left.
    fn fail(&mut self, code: u64, reason: &'static str) {
        self.end_session(Some(Event::Failed(Error::Connection { code, reason })));
        self.close_connection(code, reason);
    }

    /// Closes the connection, and forgets what it held.
    fn close_connection(&mut self, code: u64, reason: &str) {
        if !self.is_closed {
            self.is_closed = true;
            self.actions.push_back(Action::Close { code, reason: reason.to_owned() });
            self.headers.clear();
            self.requests.clear();
            let _ = self.held.take();
            self.peer_control = None;
        }
    }

    fn send(&mut self, stream: u64, data: Bytes, fin: bool) {
        self.actions.push_back(Action::Send { stream, data, fin });
    }

    /// Refuses a stream of the peer's.
    fn refuse_stream(&mut self, stream: u64, code: u64) -> Route {
        self.stats.refused_streams = self.stats.refused_streams.saturating_add(1);
        self.actions.push_back(Action::StopSending { stream, code });
        self.reset_if_bidirectional(stream, code);
        Route::Refused
    }

    fn reset_if_bidirectional(&mut self, stream: u64, code: u64) {
        if dir(stream) == Dir::Bi {
            self.actions.push_back(Action::Reset { stream, code });
        }
    }
}

fn is_servers(stream: u64) -> bool {
    stream & 1 == 1
}

fn dir(stream: u64) -> Dir {
    if stream & 2 == 0 { Dir::Bi } else { Dir::Uni }
}

/// Client-initiated and bidirectional, as request streams and so CONNECT streams are.
fn is_request(stream: u64) -> bool {
    !is_servers(stream) && dir(stream) == Dir::Bi
}

/// What precedes a session's streams, and its datagrams.
fn session_headers(session: u64) -> ([Bytes; 2], Bytes) {
    let header = |numbers: &[u64]| {
        let mut out = BytesMut::new();
        for number in numbers {
            varint::put(&mut out, *number);
        }
        out.freeze()
    };
    let [bi, uni] = [streams::WT_STREAM_SIGNAL, streams::WT_STREAM_TYPE];
    ([header(&[bi, session]), header(&[uni, session])], header(&[session / 4]))
}
