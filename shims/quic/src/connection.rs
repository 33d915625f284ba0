use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use moqt_engine::{
    Config, Dir, Draft, MoqtConnection, Role, Timestamp, Transport, TransportClosed,
};
use tracing::debug;

use crate::bridge::Bridge;
use crate::log;
use crate::quic::Quic;
use crate::trace::Trace;

/// A MoQT session on a QUIC connection: from the end of QUIC's handshake to its own end.
///
/// This is what a shim keeps beside each of its stack's connections. It does no I/O: a shim tells
/// it what QUIC tells (`handle_*`), calls [`pump`](Self::pump), and polls events and timeout. The
/// stack itself is lent to each call, as a [`Quic`].
#[derive(Debug)]
pub struct Connection {
    role: Role,
    /// Under which it is in the log.
    id: u64,
    config: Arc<Config>,
    trace: Option<Trace>,
    stage: Stage,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum Stage {
    /// QUIC's handshake is not complete.
    Handshake,
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
    /// QUIC's handshake is complete; the session is being set up.
    Connected {
        /// The draft negotiated.
        draft: Draft,
    },
    /// The session has something to say. Closing is said here, too.
    Moqt(moqt_engine::Event),
    /// There will be no session.
    Failed {
        /// Why.
        failure: Failure,
    },
}

/// Why there is no session, though the QUIC handshake succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No draft of MoQT was negotiated.
    NoDraft,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDraft => f.write_str("no MoQT draft was negotiated"),
        }
    }
}

impl std::error::Error for Failure {}

impl Connection {
    /// For a connection whose handshake is going on. `id` is what it is called in the log.
    pub fn new(role: Role, config: Arc<Config>, trace: Option<Trace>, id: u64) -> Self {
        let (stage, events) = (Stage::Handshake, VecDeque::new());
        Self { role, id, config, trace, stage, events }
    }

    /// The handshake is complete, and this ALPN identifier was negotiated.
    pub fn handle_connected(
        &mut self,
        quic: &mut impl Quic,
        now: Timestamp,
        alpn: Option<&[u8]>,
        remote: SocketAddr,
    ) {
        let Some(draft) = alpn.and_then(Draft::from_alpn) else {
            // TLS settles for nothing that was not offered; this is for a configuration that
            // offers something else.
            quic.close(0, &Failure::NoDraft.to_string());
            self.stage = Stage::Failed;
            self.events.push_back(Event::Failed { failure: Failure::NoDraft });
            return;
        };
        debug!(connection = self.id, role = ?self.role, ?draft, %remote, "connected");
        let sink = self.trace.as_ref().and_then(|trace| trace.open(self.role, remote));
        let mut config = self.config.clone();
        if sink.is_some() {
            Arc::make_mut(&mut config).trace = true;
        }
        let moqt = MoqtConnection::new(self.role, draft, Transport::Quic, config, now);
        let mut bridge = Box::new(Bridge::new(moqt, sink));
        self.events.push_back(Event::Connected { draft });
        bridge.begin(quic, now);
        bridge.start(quic, now);
        self.stage = Stage::Session(bridge);
    }

    /// The peer has opened a stream, or several.
    pub fn handle_opened(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.opened(quic, now, dir);
        }
    }

    /// Something has come on a stream that gave nothing before.
    pub fn handle_readable(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.readable(quic, now, stream);
        }
    }

    /// A stream that took no more does again.
    pub fn handle_writable(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.writable(quic, now, stream);
        }
    }

    /// The peer wants no more of a stream.
    pub fn handle_stopped(&mut self, quic: &mut impl Quic, now: Timestamp, stream: u64, code: u64) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.stopped(quic, now, stream, code);
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
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.available(quic, now, dir);
        }
    }

    /// Datagrams have come.
    pub fn handle_datagrams(&mut self, quic: &mut impl Quic, now: Timestamp) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.receive_datagrams(quic, now);
        }
    }

    /// Datagrams can be sent again.
    pub fn handle_datagrams_writable(&mut self, now: Timestamp) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.datagrams_writable(now);
        }
    }

    /// The QUIC connection is closed. Whether there was a session to tell: if there was not, why
    /// the handshake failed is the stack's to say.
    pub fn handle_closed(&mut self, now: Timestamp, closed: TransportClosed) -> bool {
        match &mut self.stage {
            Stage::Session(bridge) => {
                bridge.closed(now, closed);
                true
            }
            Stage::Handshake | Stage::Failed => {
                !matches!(std::mem::replace(&mut self.stage, Stage::Failed), Stage::Handshake)
            }
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
        let Stage::Session(bridge) = &mut self.stage else { return false };
        let acted = bridge.act(quic, now);
        bridge.send(quic, now) || acted
    }

    /// Does what the session wants done, but writes nothing. Whether there was something.
    pub fn act(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        let Stage::Session(bridge) = &mut self.stage else { return false };
        bridge.act(quic, now)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let Stage::Session(bridge) = &mut self.stage else { return None };
        let event = bridge.moqt.poll_event()?;
        log::event(self.id, &event);
        Some(Event::Moqt(event))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let Stage::Session(bridge) = &self.stage else { return None };
        bridge.moqt.poll_timeout().map(|(at, _)| at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if let Stage::Session(bridge) = &mut self.stage {
            bridge.moqt.handle_timeout(now);
        }
    }

    /// Closes the connection, whatever has become of the session.
    pub fn close(&mut self, quic: &mut impl Quic, code: u64, reason: &str) {
        quic.close(code, reason);
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
