use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use moqt_engine::model::Setup;
use moqt_engine::{Dir, Draft, MoqtConnection, Role, Timestamp, Transport, TransportClosed};
use moqt_session::SessionInfo;
use moqt_webtransport::Request;
use moqt_webtransport::code::H3_NO_ERROR;
use tracing::{debug, info};

use crate::bridge::Bridge;
use crate::config::{H3, SessionConfig};
use crate::failure::Failure;
use crate::http::Http;
use crate::log;
use crate::opening::{Opened, Opening};
use crate::quic::Quic;
use crate::trace::TracedConnection;

/// A MoQT session on a QUIC connection, raw or over WebTransport: from the end of QUIC's handshake
/// to its own end.
///
/// This is what a shim keeps beside each of its stack's connections. It does no I/O: a shim tells
/// it what QUIC tells (`handle_*`), calls [`pump`](Self::pump), and polls events and timeout. The
/// stack itself is lent to each call, as a [`Quic`].
#[derive(Debug)]
pub struct Connection {
    role: Role,
    config: SessionConfig,
    /// Under which it is in the log.
    id: u64,
    remote: Option<SocketAddr>,
    stage: Stage,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Stage {
    /// QUIC's handshake is not complete.
    Handshake,
    /// A WebTransport session is being established, or has failed to be.
    Opening(Box<Opening>),
    /// There is a session, though it may be over.
    Session(Box<Bridge>),
    /// There will be none.
    Failed,
}

/// Something that happened to a connection.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "most are the large one, and are moved once")]
pub enum Event {
    /// QUIC's handshake is complete, and a WebTransport session is being established.
    Opening,
    /// The transport is there; the MoQT session is being set up.
    Connected {
        /// The draft negotiated.
        draft: Draft,
        /// What carries the session.
        transport: Transport,
        /// What the client has asked for over HTTP/3; at the server only.
        request: Option<Request>,
    },
    /// The session has something to say. Closing is said here, too.
    Moqt(moqt_engine::Event),
    /// There will be no session.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// The peer wishes, in HTTP, that the session be ended.
    Draining,
}

/// What is known of a session that has been set up. `request` is what the client has asked for over
/// HTTP/3.
pub fn session_info(
    role: Role,
    (draft, transport): (Draft, Transport),
    remote: SocketAddr,
    setup: Setup,
    request: Option<Request>,
) -> SessionInfo {
    let info = SessionInfo::new(role, draft, transport, Some(remote), setup);
    match request {
        None => info,
        Some(Request { path, authority, headers, .. }) => {
            info.requested(path.into(), authority.into(), headers)
        }
    }
}

impl Connection {
    /// For a connection whose handshake is going on. `id` is what it is called in the log.
    pub fn new(role: Role, config: SessionConfig, id: u64) -> Self {
        let (stage, events) = (Stage::Handshake, VecDeque::new());
        Self { role, config, id, remote: None, stage, events }
    }

    /// The handshake is complete, and this ALPN identifier was negotiated.
    pub fn handle_connected(
        &mut self,
        quic: &mut impl Quic,
        now: Timestamp,
        alpn: Option<&[u8]>,
        remote: SocketAddr,
    ) {
        self.remote = Some(remote);
        if alpn == Some(H3)
            && let Some(opening) = Opening::new(self.role, &self.config, now)
        {
            self.events.push_back(Event::Opening);
            self.stage = Stage::Opening(Box::new(opening));
            for dir in [Dir::Bi, Dir::Uni] {
                self.handle_opened(quic, now, dir);
            }
            return self.open(quic, now);
        }
        let Some(draft) = alpn.and_then(Draft::from_alpn) else {
            // TLS settles for nothing that was not offered; this is for a configuration that
            // offers something else.
            let failure = Failure::NoDraft { transport: Transport::Quic };
            quic.close(0, &failure.to_string());
            self.stage = Stage::Failed;
            self.events.push_back(Event::Failed { failure });
            return;
        };
        self.connected(quic, now, draft, None, None);
    }

    /// The transport is there.
    fn connected(
        &mut self,
        quic: &mut impl Quic,
        now: Timestamp,
        draft: Draft,
        http: Option<Box<Http>>,
        request: Option<Request>,
    ) {
        let transport = if http.is_some() { Transport::WebTransport } else { Transport::Quic };
        let remote = self.remote;
        debug!(connection = self.id, role = ?self.role, ?draft, ?transport, ?remote, "connected");
        let trace = self.config.trace.as_ref().zip(remote);
        let role = self.role;
        let sink = trace.and_then(|(trace, remote)| {
            trace.open(TracedConnection::new(role, remote, draft, transport))
        });
        let mut config = self.config.engine.clone();
        if sink.is_some() {
            Arc::make_mut(&mut config).trace = true;
        }
        let moqt = MoqtConnection::new(self.role, draft, transport, config, now);
        let mut bridge = Box::new(Bridge::new(moqt, http, sink));
        self.events.push_back(Event::Connected { draft, transport, request });
        bridge.begin(quic, now);
        bridge.start(quic, now);
        self.stage = Stage::Session(bridge);
    }

    /// Goes on with establishing a WebTransport session.
    fn open(&mut self, quic: &mut impl Quic, now: Timestamp) {
        let Stage::Opening(opening) = &mut self.stage else { return };
        match opening.advance(quic, now) {
            None => {}
            Some(Err(failure)) => {
                debug!(connection = self.id, error = %failure, "no WebTransport session");
                self.events.push_back(Event::Failed { failure });
            }
            Some(Ok(Opened { draft, request })) => {
                if let Stage::Opening(opening) = std::mem::replace(&mut self.stage, Stage::Failed) {
                    self.connected(quic, now, draft, Some(opening.into_http()), request);
                }
            }
        }
    }

    /// The peer has opened a stream, or several.
    pub fn handle_opened(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        // The session may be established in the middle of this.
        while let Stage::Opening(opening) = &mut self.stage {
            if !opening.accept(quic, dir) {
                return;
            }
            self.open(quic, now);
        }
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.opened(quic, now, dir);
        }
    }

    /// Something has come on a stream that gave nothing before.
    pub fn handle_readable(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64) {
        match &mut self.stage {
            Stage::Opening(opening) => {
                opening.readable(quic, stream);
                self.open(quic, now);
            }
            Stage::Session(bridge) => bridge.readable(quic, now, stream),
            Stage::Handshake | Stage::Failed => {}
        }
    }

    /// A stream that took no more does again.
    pub fn handle_writable(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64) {
        match &mut self.stage {
            Stage::Opening(opening) => opening.http().writable(quic, stream),
            Stage::Session(bridge) => bridge.writable(quic, now, stream),
            Stage::Handshake | Stage::Failed => {}
        }
    }

    /// The peer wants no more of a stream.
    pub fn handle_stopped(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64, code: u64) {
        match &mut self.stage {
            Stage::Opening(opening) => {
                opening.http().stopped(quic, stream, code);
                self.open(quic, now);
            }
            Stage::Session(bridge) => bridge.stopped(quic, now, stream, code),
            Stage::Handshake | Stage::Failed => {}
        }
    }

    /// All that was written on a stream, and its end, have been acknowledged.
    pub fn handle_finished(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.finished(quic, now, stream);
        }
    }

    /// The peer allows more streams.
    pub fn handle_streams_available(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        match &mut self.stage {
            Stage::Opening(opening) => opening.http().available(quic),
            Stage::Session(bridge) => bridge.available(quic, now, dir),
            Stage::Handshake | Stage::Failed => {}
        }
    }

    /// Datagrams have come.
    pub fn handle_datagrams(&mut self, quic: &mut impl Quic, now: Timestamp) {
        match &mut self.stage {
            Stage::Opening(opening) => {
                opening.receive_datagrams(quic);
                self.open(quic, now);
            }
            Stage::Session(bridge) => bridge.receive_datagrams(quic, now),
            Stage::Handshake | Stage::Failed => {}
        }
    }

    /// Datagrams can be sent again.
    pub fn handle_datagrams_writable(&mut self, now: Timestamp) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.datagrams_writable(now);
        }
    }

    /// The QUIC connection is closed. Whether that is known here: if it is not, why there will be
    /// no session is the stack's to say.
    pub fn handle_closed(&mut self, now: Timestamp, closed: TransportClosed) -> bool {
        match &mut self.stage {
            Stage::Session(bridge) => {
                bridge.closed(now, closed);
                true
            }
            Stage::Opening(opening) => {
                let is_known = opening.has_failed();
                self.stage = Stage::Failed;
                is_known
            }
            Stage::Handshake => {
                self.stage = Stage::Failed;
                false
            }
            Stage::Failed => true,
        }
    }

    /// The path may have changed what can be sent. Call this before QUIC's events are handled.
    pub fn begin(&mut self, quic: &mut impl Quic, now: Timestamp) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.begin(quic, now);
        }
    }

    /// Does what the session wants done, and writes what it has to send. Whether there was
    /// something; then QUIC may have something to tell, and this should be called again.
    pub fn pump(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        let acted = self.act(quic, now);
        let Stage::Session(bridge) = &mut self.stage else { return acted };
        bridge.send(quic, now) || acted
    }

    /// Does what the session wants done, but writes nothing. Whether there was something.
    pub fn act(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        match &mut self.stage {
            Stage::Opening(opening) => {
                let acted = opening.act(quic, now);
                self.open(quic, now);
                acted
            }
            Stage::Session(bridge) => bridge.act(quic, now),
            Stage::Handshake | Stage::Failed => false,
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let Stage::Session(bridge) = &mut self.stage else { return None };
        if bridge.poll_draining() {
            info!(connection = self.id, "the peer asks this side to leave");
            return Some(Event::Draining);
        }
        let event = bridge.moqt.poll_event()?;
        log::event(self.id, &event);
        Some(Event::Moqt(event))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Opening(opening) => opening.poll_timeout(),
            Stage::Session(bridge) => bridge.poll_timeout(),
            Stage::Handshake | Stage::Failed => None,
        }
    }

    /// Time has passed. [`pump`](Self::pump) does what follows from it.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.moqt.handle_timeout(now);
        }
    }

    /// Closes the connection, whatever has become of the session.
    pub fn close(&mut self, quic: &mut impl Quic, code: u64, reason: &str) {
        let is_http = match &self.stage {
            Stage::Opening(_) => true,
            Stage::Session(bridge) => bridge.is_over_http(),
            Stage::Handshake | Stage::Failed => false,
        };
        quic.close(if is_http { H3_NO_ERROR } else { code }, reason);
    }

    /// Whether all that was queued has been written and finished streams are acknowledged.
    pub fn is_flushed(&self) -> bool {
        let Stage::Session(bridge) = &self.stage else { return true };
        bridge.is_flushed()
    }

    /// The session; `None` until the handshake is complete.
    pub fn moqt(&self) -> Option<&MoqtConnection> {
        let Stage::Session(bridge) = &self.stage else { return None };
        Some(&bridge.moqt)
    }

    /// The session, to work on. Call [`act`](Self::act) and [`pump`](Self::pump) afterwards.
    pub fn moqt_mut(&mut self) -> Option<&mut MoqtConnection> {
        let Stage::Session(bridge) = &mut self.stage else { return None };
        Some(&mut bridge.moqt)
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }
}
