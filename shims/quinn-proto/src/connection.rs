use std::collections::VecDeque;
use std::time::Instant;

use moqt_engine::model::SessionError;
use moqt_engine::{MoqtConnection, Role, Timestamp, TransportClosed};
use moqt_quic::{Clock, Place, SessionConfig};
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ConnectionError, ConnectionHandle, StreamEvent};
use tracing::debug;

use crate::backlog::Backlog;
use crate::endpoint::Event;
use crate::error::ConnectionFailure;
use crate::streams::{Streams, from_quic};

/// One QUIC connection and the session on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) quic: Box<quinn_proto::Connection>,
    pub(crate) handle: ConnectionHandle,
    session: moqt_quic::Connection,
    backlog: Backlog,
    /// It is in the endpoint's queue of those that have something to do.
    pub(crate) is_queued: bool,
    /// The deadline under which it is in the endpoint's table.
    pub(crate) deadline: Option<Instant>,
    /// Its place among those of the server.
    place: Option<Place>,
    /// When the session has to be set up.
    setup_deadline: Option<Instant>,
}

impl Connection {
    pub(crate) fn new(
        quic: quinn_proto::Connection,
        handle: ConnectionHandle,
        role: Role,
        config: SessionConfig,
        max_backlog: u64,
    ) -> Self {
        Self {
            quic: Box::new(quic),
            handle,
            session: moqt_quic::Connection::new(role, config, handle.0 as u64),
            backlog: Backlog::new(max_backlog),
            is_queued: false,
            deadline: None,
            place: None,
            setup_deadline: None,
        }
    }

    /// It is a client's, and has a place among those of the server. Its session has to be set up
    /// until the deadline.
    pub(crate) fn admit(&mut self, place: Place, setup_deadline: Option<Instant>) {
        self.place = Some(place);
        self.setup_deadline = setup_deadline;
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
        // The window in force decides which events there are.
        self.backlog.update(&mut self.quic);
        self.with_streams(at, |session, streams| session.begin(streams, now));
        loop {
            let mut is_busy = false;
            // A peer that is done stops what it does not read any more together with its last
            // words, and those must be heard first.
            let mut stopped = Vec::new();
            while let Some(event) = self.quic.poll() {
                is_busy = true;
                if matches!(event, quinn_proto::Event::Stream(StreamEvent::Stopped { .. })) {
                    stopped.push(event);
                } else {
                    self.handle_quic_event(now, at, event, events);
                }
            }
            for event in stopped {
                self.handle_quic_event(now, at, event, events);
            }
            is_busy |= self.with_streams(at, |session, streams| session.pump(streams, now));
            if !is_busy {
                break;
            }
        }
        self.collect_events(events);
    }

    /// Works on the session. Whether there is one, and what came of it.
    pub(crate) fn with_session<R>(
        &mut self,
        now: Timestamp,
        at: Instant,
        work: impl FnOnce(&mut MoqtConnection) -> R,
    ) -> Option<(R, bool)> {
        let result = work(self.session.moqt_mut()?);
        let acted = self.with_streams(at, |session, streams| session.act(streams, now));
        Some((result, acted))
    }

    pub(crate) fn moqt_mut(&mut self) -> Option<&mut MoqtConnection> {
        self.session.moqt_mut()
    }

    pub(crate) fn session(&self) -> &moqt_quic::Connection {
        &self.session
    }

    pub(crate) fn close(&mut self, at: Instant, code: u64, reason: &str) {
        self.with_streams(at, |session, streams| session.close(streams, code, reason));
    }

    pub(crate) fn collect_events(&mut self, events: &mut VecDeque<(ConnectionHandle, Event)>) {
        while let Some(event) = self.session.poll_event() {
            let event = match event {
                moqt_quic::Event::Moqt(event) => {
                    if matches!(event, moqt_engine::Event::Established { .. }) {
                        self.setup_deadline = None;
                        self.place.as_mut().map(Place::session_established);
                    }
                    Event::Moqt(event)
                }
                moqt_quic::Event::Opening => Event::Opening,
                moqt_quic::Event::Connected { draft, transport, request } => {
                    Event::Connected { draft, transport, request }
                }
                moqt_quic::Event::Draining => Event::Draining,
                moqt_quic::Event::Failed { failure } => {
                    Event::Failed { error: ConnectionFailure::Session(failure) }
                }
                _ => continue,
            };
            events.push_back((self.handle, event));
        }
    }

    pub(crate) fn handle_timeout(&mut self, clock: Clock, at: Instant) {
        if self.quic.poll_timeout().is_some_and(|deadline| deadline <= at) {
            self.quic.handle_timeout(at);
        }
        self.session.handle_timeout(clock.timestamp(at));
        if self.setup_deadline.is_some_and(|deadline| deadline <= at) {
            self.setup_deadline = None;
            debug!(connection = self.handle.0, "closed: its session was not set up in time");
            let reason = "the session was not set up in time";
            let timeout = SessionError::ControlMessageTimeout;
            let now = clock.timestamp(at);
            if self.with_session(now, at, |moqt| moqt.close(timeout, reason)).is_none() {
                self.close(at, 0, reason);
            }
        }
    }

    pub(crate) fn next_deadline(&mut self, clock: Clock) -> Option<Instant> {
        let quic = self.quic.poll_timeout();
        let session = self.session.poll_timeout().and_then(|at| clock.instant(at));
        [quic, session, self.setup_deadline].into_iter().flatten().min()
    }

    fn with_streams<R>(
        &mut self,
        at: Instant,
        work: impl FnOnce(&mut moqt_quic::Connection, &mut Streams<'_>) -> R,
    ) -> R {
        work(&mut self.session, &mut Streams::new(&mut self.quic, &mut self.backlog, at))
    }

    fn handle_quic_event(
        &mut self,
        now: Timestamp,
        at: Instant,
        event: quinn_proto::Event,
        events: &mut VecDeque<(ConnectionHandle, Event)>,
    ) {
        let Self { quic, session, backlog, .. } = self;
        match event {
            quinn_proto::Event::HandshakeDataReady => {}
            quinn_proto::Event::Connected => {
                let data = quic.crypto_session().handshake_data();
                let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
                let alpn = data.and_then(|data| data.protocol);
                let remote = quic.remote_address();
                let streams = &mut Streams::new(quic, backlog, at);
                session.handle_connected(streams, now, alpn.as_deref(), remote);
            }
            quinn_proto::Event::ConnectionLost { reason } => self.lost(now, reason, events),
            quinn_proto::Event::Stream(event) => {
                if matches!(event, StreamEvent::Writable { .. }) {
                    backlog.writable(quic);
                }
                let streams = &mut Streams::new(quic, backlog, at);
                match event {
                    StreamEvent::Opened { dir } => {
                        session.handle_opened(streams, now, from_quic(dir));
                    }
                    StreamEvent::Readable { id } => {
                        session.handle_readable(streams, now, id.into());
                    }
                    StreamEvent::Writable { id } => {
                        session.handle_writable(streams, now, id.into());
                    }
                    StreamEvent::Stopped { id, error_code } => {
                        session.handle_stopped(streams, now, id.into(), error_code.into_inner());
                    }
                    StreamEvent::Finished { id } => {
                        session.handle_finished(streams, now, id.into());
                    }
                    StreamEvent::Available { dir } => {
                        session.handle_streams_available(streams, now, from_quic(dir));
                    }
                }
            }
            quinn_proto::Event::DatagramReceived => {
                session.handle_datagrams(&mut Streams::new(quic, backlog, at), now);
            }
            quinn_proto::Event::DatagramsUnblocked => session.handle_datagrams_writable(now),
        }
    }

    fn lost(
        &mut self,
        now: Timestamp,
        reason: ConnectionError,
        events: &mut VecDeque<(ConnectionHandle, Event)>,
    ) {
        let closed = match &reason {
            ConnectionError::ApplicationClosed(close) => TransportClosed::ByPeer {
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            other => TransportClosed::Lost { reason: other.to_string() },
        };
        if !self.session.handle_closed(now, closed) {
            debug!(connection = self.handle.0, error = %reason, "connection failed");
            let error = ConnectionFailure::Quic(reason);
            events.push_back((self.handle, Event::Failed { error }));
        }
    }
}
