use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Action, Config, Dir, Event, Own, Request, Route};

/// One HTTP/3 connection with one WebTransport session.
///
/// Streams are known by QUIC's IDs, whose lowest two bits say who opened them and which direction
/// they have. Nothing here fails: what a peer does wrong becomes actions and an
/// [`Event::Failed`].
#[derive(Debug)]
pub struct Connection {
    is_client: bool,
    request: Option<Request>,
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

    fn new(request: Option<Request>, _config: &Config) -> Self {
        Self {
            is_client: request.is_some(),
            request,
            actions: [Action::Open(Own::Control)].into(),
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes what came on a stream that the peer opened, or on the CONNECT stream, and the end of
    /// the stream. For every stream until the answer says that it is not needed any more.
    pub fn handle_data(&mut self, stream: u64, data: Bytes, fin: bool) -> Route {
        let _ = (stream, data, fin);
        Route::Own
    }

    /// The peer has reset a stream that is not the session's yet, or HTTP/3's.
    pub fn handle_reset(&mut self, stream: u64, code: u64) {
        let _ = (stream, code);
    }

    /// The peer reads no more of a stream on which an [`Action`] sent.
    pub fn handle_stop_sending(&mut self, stream: u64, code: u64) {
        let _ = (stream, code);
    }

    /// Takes a datagram: its payload, if it is the session's and the session is established.
    pub fn handle_datagram(&mut self, data: Bytes) -> Option<Bytes> {
        self.is_established().then_some(data)
    }

    /// A stream was opened, as [`Action::Open`] asked.
    pub fn handle_opened(&mut self, own: Own, stream: u64) {
        let _ = (own, stream);
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
    /// none, and further header fields, whose names are in lower case.
    pub fn accept(&mut self, protocol: Option<&str>, headers: &[(String, Bytes)]) {
        let _ = (protocol, headers);
    }

    /// Refuses the session, after [`Event::Requested`], with an HTTP status from 300 to 599: 404
    /// if there is none at this path, 403 if this origin may have none, 429 or 503 for later.
    pub fn refuse(&mut self, status: u16) {
        let _ = status;
    }

    /// Ends the session: tells the peer, and closes the connection when the peer has heard of it.
    /// `reason` is cut to 1,024 bytes.
    pub fn close(&mut self, code: u32, reason: &str) {
        let _ = (code, reason);
    }

    /// Ends the session because the server chose none of the application protocols that were
    /// offered, and one is needed: `WT_ALPN_ERROR`.
    pub fn reject_protocol(&mut self) {}

    /// Asks the peer to end the session soon.
    pub fn drain(&mut self) {}

    /// Tells the peer that this side goes away: it takes no further requests.
    pub fn goaway(&mut self) {}

    /// Whether there is a session now.
    pub fn is_established(&self) -> bool {
        false
    }

    /// The session's ID, which is the CONNECT stream's, once there is one.
    pub fn session_id(&self) -> Option<u64> {
        None
    }

    /// What to write first on each stream that the session opens; empty without a session.
    pub fn stream_header(&self, dir: Dir) -> Bytes {
        let _ = dir;
        Bytes::new()
    }

    /// What to write before each datagram's payload; empty without a session.
    pub fn datagram_header(&self) -> Bytes {
        Bytes::new()
    }

    /// What was dropped.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether this is the client's side.
    pub fn is_client(&self) -> bool {
        self.is_client
    }
}
