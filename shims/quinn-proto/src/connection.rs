use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moqt_engine::{Draft, MoqtConnection, Role, Timestamp, Transport, TransportClosed};
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ConnectionError, ConnectionHandle, VarInt};
use tracing::debug;

use crate::bridge::Bridge;
use crate::endpoint::Event;
use crate::log;
use crate::trace::Trace;

/// One QUIC connection and the session on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) quic: Box<quinn_proto::Connection>,
    pub(crate) handle: ConnectionHandle,
    pub(crate) role: Role,
    config: Arc<moqt_engine::Config>,
    max_backlog: u64,
    trace: Option<Trace>,
    /// There from the end of the handshake on.
    pub(crate) bridge: Option<Box<Bridge>>,
    /// Why the handshake failed, once that has been told.
    failed: bool,
    /// It is in the endpoint's queue of those that have something to do.
    pub(crate) is_queued: bool,
    /// The deadline under which it is in the endpoint's table.
    pub(crate) deadline: Option<Instant>,
}

/// The engine's clock: microseconds since the endpoint began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(pub(crate) Instant);

impl Clock {
    pub(crate) fn timestamp(self, at: Instant) -> Timestamp {
        let micros = at.saturating_duration_since(self.0).as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// `None` if that is too far away to be represented.
    pub(crate) fn instant(self, at: Timestamp) -> Option<Instant> {
        self.0.checked_add(Duration::from_micros(at.as_micros()))
    }
}

impl Connection {
    pub(crate) fn new(
        quic: quinn_proto::Connection,
        handle: ConnectionHandle,
        role: Role,
        config: Arc<moqt_engine::Config>,
        max_backlog: u64,
        trace: Option<Trace>,
    ) -> Self {
        Self {
            quic: Box::new(quic),
            handle,
            role,
            config,
            max_backlog,
            trace,
            bridge: None,
            failed: false,
            is_queued: false,
            deadline: None,
        }
    }

    /// Moves everything that can be moved between QUIC and the session, and puts what there is
    /// to tell into `events`.
    pub(crate) fn pump(
        &mut self,
        clock: Clock,
        at: Instant,
        events: &mut VecDeque<(ConnectionHandle, Event)>,
    ) {
        let now = clock.timestamp(at);
        if let Some(bridge) = &mut self.bridge {
            bridge.begin(&mut self.quic, now);
        }
        loop {
            let mut is_busy = false;
            while let Some(event) = self.quic.poll() {
                is_busy = true;
                self.handle_quic_event(now, at, event, events);
            }
            let Some(bridge) = &mut self.bridge else { return };
            is_busy |= bridge.act(&mut self.quic, now, at);
            is_busy |= bridge.send(&mut self.quic, now);
            if !is_busy {
                break;
            }
        }
        self.collect_events(events);
    }

    pub(crate) fn collect_events(&mut self, events: &mut VecDeque<(ConnectionHandle, Event)>) {
        let Some(bridge) = &mut self.bridge else { return };
        while let Some(event) = bridge.moqt.poll_event() {
            log::event(self.handle, &event);
            events.push_back((self.handle, Event::Moqt(event)));
        }
    }

    pub(crate) fn handle_timeout(&mut self, clock: Clock, at: Instant) {
        if self.quic.poll_timeout().is_some_and(|deadline| deadline <= at) {
            self.quic.handle_timeout(at);
        }
        if let Some(bridge) = &mut self.bridge {
            bridge.moqt.handle_timeout(clock.timestamp(at));
        }
    }

    pub(crate) fn next_deadline(&mut self, clock: Clock) -> Option<Instant> {
        let quic = self.quic.poll_timeout();
        let moqt = self.bridge.as_ref().and_then(|bridge| {
            let (at, _) = bridge.moqt.poll_timeout()?;
            clock.instant(at)
        });
        match (quic, moqt) {
            (Some(quic), Some(moqt)) => Some(quic.min(moqt)),
            (quic, moqt) => quic.or(moqt),
        }
    }

    fn handle_quic_event(
        &mut self,
        now: Timestamp,
        at: Instant,
        event: quinn_proto::Event,
        events: &mut VecDeque<(ConnectionHandle, Event)>,
    ) {
        match event {
            quinn_proto::Event::HandshakeDataReady => {}
            quinn_proto::Event::Connected => self.connected(now, at, events),
            quinn_proto::Event::ConnectionLost { reason } => self.lost(now, reason, events),
            quinn_proto::Event::Stream(event) => {
                if let Some(bridge) = &mut self.bridge {
                    bridge.stream_event(&mut self.quic, now, &event);
                }
            }
            quinn_proto::Event::DatagramReceived => {
                if let Some(bridge) = &mut self.bridge {
                    bridge.receive_datagrams(&mut self.quic, now);
                }
            }
            quinn_proto::Event::DatagramsUnblocked => {
                if let Some(bridge) = &mut self.bridge {
                    bridge.datagrams_writable(now);
                }
            }
        }
    }

    fn connected(
        &mut self,
        now: Timestamp,
        at: Instant,
        events: &mut VecDeque<(ConnectionHandle, Event)>,
    ) {
        let alpn = self
            .quic
            .crypto_session()
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        let Some(draft) = alpn.as_deref().and_then(Draft::from_alpn) else {
            // TLS settles for nothing that was not offered; this is for a configuration that
            // offers something else.
            let reason = "no MoQT draft was negotiated";
            self.quic.close(at, VarInt::from_u32(0), reason.as_bytes().into());
            self.fail(ConnectionError::LocallyClosed, events);
            return;
        };
        let remote = self.quic.remote_address();
        debug!(connection = self.handle.0, role = ?self.role, ?draft, %remote, "connected");
        let sink = self.trace.as_ref().and_then(|trace| trace.open(self.role, remote));
        let mut config = self.config.clone();
        if sink.is_some() {
            Arc::make_mut(&mut config).trace = true;
        }
        let moqt = MoqtConnection::new(self.role, draft, Transport::Quic, config, now);
        let mut bridge = Box::new(Bridge::new(moqt, self.max_backlog, sink));
        events.push_back((self.handle, Event::Connected { draft }));
        bridge.begin(&mut self.quic, now);
        bridge.start(&mut self.quic, now);
        self.bridge = Some(bridge);
    }

    fn lost(
        &mut self,
        now: Timestamp,
        reason: ConnectionError,
        events: &mut VecDeque<(ConnectionHandle, Event)>,
    ) {
        let Some(bridge) = &mut self.bridge else { return self.fail(reason, events) };
        let closed = match reason {
            ConnectionError::ApplicationClosed(close) => TransportClosed::ByPeer {
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            other => TransportClosed::Lost { reason: other.to_string() },
        };
        bridge.closed(now, closed);
    }

    fn fail(&mut self, error: ConnectionError, events: &mut VecDeque<(ConnectionHandle, Event)>) {
        if !std::mem::replace(&mut self.failed, true) {
            debug!(connection = self.handle.0, %error, "connection failed");
            events.push_back((self.handle, Event::Failed { error }));
        }
    }
}
