//! What the task that drives a connection shares with the handles on its session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use moqt_engine::model::SessionError;
use moqt_engine::{CloseReason, Dir, Draft, Role, Timestamp, Transport, TransportClosed};
use moqt_quic::webtransport::Request;
use moqt_quic::{Clock, Connection, Event, Failure, SessionConfig, session_info};
use moqt_session::{Access, Driver, Router, RouterLimits, Session, SessionInfo};
use s2n_quic::connection::Error;
use s2n_quic::provider::event::Location;
use tracing::debug;

use crate::datagrams::{Datagrams, Sender};
use crate::signals::{News, Signals};
use crate::streams::{Sent, Streams};

/// A connection, its session, and who waits for it.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) signals: Arc<Signals>,
}

#[derive(Debug)]
pub(crate) struct State {
    session: Connection,
    streams: Streams,
    router: Router,
    clock: Clock,
    remote: std::net::SocketAddr,
    transport: Option<(Draft, Transport)>,
    /// What the client has asked for over HTTP/3.
    request: Option<Request>,
    failed: Option<Failed>,
    /// That this side has closed the session, told when the peer has been told.
    parting: Option<moqt_engine::Event>,
    /// Who waits for the session to be set up.
    waker: Option<Waker>,
    /// The connection is over, or nobody drives it.
    is_over: bool,
    /// When the task looks next at the latest.
    deadline: Option<Timestamp>,
    wakers: Vec<Waker>,
}

/// Why there is no session.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    /// QUIC failed.
    Quic(Error),
    /// What came after QUIC's handshake did.
    Session(Failure),
    /// The session was closed while it was being set up.
    Closed(CloseReason),
    /// The task is gone.
    Stopped,
}

/// What is next for the task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// It rests until it is woken, and until then at the latest.
    Rest(Option<Instant>),
    /// The connection is over.
    Over,
}

/// What sessions are made with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) session: SessionConfig,
    pub(crate) limits: RouterLimits,
    /// Signs of life are given.
    pub(crate) keep_alive: bool,
}

impl Shared {
    /// Begins the session on a connection whose handshake is complete.
    pub(crate) fn new(
        role: Role,
        connection: s2n_quic::Connection,
        setup: &Setup,
    ) -> Result<Arc<Self>, Error> {
        let remote = connection.remote_addr()?;
        let alpn = connection.application_protocol()?;
        let id = connection.id();
        let (mut handle, acceptor) = connection.split();
        handle.keep_alive(setup.keep_alive)?;
        // What was configured is there, unless the connection is gone already.
        let gone = |_| Error::unspecified();
        let signals = handle.query_event_context(|signals: &Arc<Signals>| signals.clone());
        let signals = signals.map_err(gone)?;
        let datagrams = handle.datagram_mut(|sender: &mut Sender| sender.0.clone());
        let datagrams: Arc<Datagrams> = datagrams.map_err(gone)?;
        datagrams.set_signals(signals.clone());
        let mut streams = Streams::new(role, handle, acceptor, signals.clone(), datagrams);
        let clock = Clock::new(Instant::now());
        let mut session = Connection::new(role, setup.session.clone(), id);
        session.handle_connected(
            &mut streams,
            clock.timestamp(Instant::now()),
            Some(&alpn),
            remote,
        );
        let mut state = State {
            session,
            streams,
            router: Router::new(setup.limits.clone()),
            clock,
            remote,
            transport: None,
            request: None,
            failed: None,
            parting: None,
            waker: None,
            is_over: false,
            deadline: None,
            wakers: Vec::new(),
        };
        state.sort_events();
        Ok(Arc::new(Self { state: Mutex::new(state), signals }))
    }

    /// The lock. Nothing in it is left half done by a panic of the application's, whose code
    /// does not run under it, but for sinks of traces, which run between one thing and the next.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the lock and wakes those who have to go on.
    fn release(mut state: MutexGuard<'_, State>) {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits for the session to be set up.
    pub(crate) fn poll_session(
        self: &Arc<Self>,
        cx: &Context<'_>,
    ) -> Poll<Result<Session, Failed>> {
        let mut state = self.lock();
        if let Some(info) = state.info() {
            drop(state);
            let handle = SessionHandle { shared: self.clone() };
            return Poll::Ready(Ok(Session::new(Arc::new(handle), info)));
        }
        if let Some(failed) = &state.failed {
            return Poll::Ready(Err(failed.clone()));
        }
        if let Some(reason) = state.router.closed() {
            return Poll::Ready(Err(Failed::Closed(reason.clone())));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Moves everything that can be moved between s2n-quic and the session. `task` is woken when
    /// there is more to do.
    pub(crate) fn work(&self, task: &Waker) -> Turn {
        let mut state = self.lock();
        // Under the lock: whoever has something for the task after this wakes it.
        let news = self.signals.take(task);
        let is_over = state.handle_news(news);
        state.deadline = state.next_deadline();
        let deadline = state.deadline.and_then(|at| state.clock.instant(at));
        Self::release(state);
        if is_over { Turn::Over } else { Turn::Rest(deadline) }
    }

    /// Gives up a session, or what was to be one.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        let now = state.now();
        let State { session, streams, .. } = &mut *state;
        match session.moqt_mut() {
            Some(moqt) => {
                moqt.close(SessionError::NoError, "");
                session.act(streams, now);
            }
            None => session.close(streams, 0, ""),
        }
        state.sort_events();
        Self::release(state);
        self.signals.wake();
    }

    /// The task is gone: nothing will ever move again.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let now = state.now();
        let reason = "the runtime that drove the connection is gone".into();
        state.session.handle_closed(now, TransportClosed::Lost { reason });
        state.streams.end();
        let State { session, router, parting, .. } = &mut *state;
        if let (Some(event), Some(moqt)) = (parting.take(), session.moqt_mut()) {
            router.handle_event(moqt, now, event);
        }
        state.sort_events();
        if state.router.closed().is_none() {
            state.failed.get_or_insert(Failed::Stopped);
        }
        let waker = state.waker.take();
        state.wakers.extend(waker);
        Self::release(state);
    }
}

impl State {
    fn now(&self) -> Timestamp {
        self.clock.timestamp(Instant::now())
    }

    /// Whether the connection is over. Then there is [`Shared::stop`] left to do.
    fn handle_news(&mut self, news: News) -> bool {
        let now = self.now();
        let Self { session, streams, router, .. } = self;
        session.begin(streams, now);
        if news.opened {
            session.handle_opened(streams, now, Dir::Bi);
            session.handle_opened(streams, now, Dir::Uni);
        }
        for id in news.readable.into_iter().chain(news.reset) {
            session.handle_readable(streams, now, id);
        }
        for (id, code) in news.stopped {
            session.handle_stopped(streams, now, id, code);
        }
        for id in news.finished {
            streams.look_at_sent(id);
        }
        if news.available {
            for dir in [Dir::Bi, Dir::Uni] {
                session.handle_streams_available(streams, now, dir);
            }
            for id in streams.take_unopened() {
                session.handle_writable(streams, now, id);
            }
        }
        for id in news.writable {
            session.handle_writable(streams, now, id);
        }
        if news.has_room {
            for id in streams.take_waiting() {
                session.handle_writable(streams, now, id);
            }
        }
        if news.datagrams {
            session.handle_datagrams(streams, now);
        }
        if news.datagrams_writable {
            session.handle_datagrams_writable(now);
        }
        session.handle_timeout(now);
        if let Some(moqt) = session.moqt_mut()
            && router.poll_timeout().is_some_and(|deadline| deadline <= now)
        {
            router.handle_timeout(moqt, now);
        }
        self.pump(now);
        if let Some(error) = news.closed {
            // All that came before was told above.
            debug!(%error, "connection closed");
            if !self.session.handle_closed(now, closed(&error)) {
                self.failed.get_or_insert(Failed::Quic(error));
            }
            self.sort_events();
            self.is_over = true;
        }
        self.is_over
    }

    /// Writes what there is to write, and hears what came of it.
    fn pump(&mut self, now: Timestamp) {
        loop {
            let mut is_busy = self.session.pump(&mut self.streams, now);
            while let Some((id, sent)) = self.streams.poll_sent() {
                is_busy = true;
                let Self { session, streams, .. } = self;
                match sent {
                    Sent::Acknowledged => session.handle_finished(streams, now, id),
                    Sent::Stopped(code) => session.handle_stopped(streams, now, id, code),
                }
            }
            self.sort_events();
            if !is_busy {
                break;
            }
        }
        // s2n-quic sends in a task of its own: what was written may not have left yet.
        let wants_flushed = self.router.wants_flushed() && self.session.is_flushed();
        if wants_flushed && self.streams.is_flushed() {
            self.router.set_flushed(true);
            self.wakers.extend(self.router.take_wakers());
        }
    }

    /// Hands on what the session has to tell.
    fn sort_events(&mut self) {
        let now = self.now();
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { draft, transport, request } => {
                    self.transport = Some((draft, transport));
                    self.request = request;
                }
                Event::Draining => self.router.handle_draining(),
                Event::Failed { failure } => self.failed = Some(Failed::Session(failure)),
                Event::Moqt(event) if self.is_parting(&event) => self.parting = Some(event),
                Event::Moqt(event) => {
                    if let Some(moqt) = self.session.moqt_mut() {
                        self.router.handle_event(moqt, now, event);
                    }
                }
                _ => {}
            }
        }
        self.wakers.extend(self.router.take_wakers());
        if self.failed.is_some() || self.router.is_established() || self.router.closed().is_some() {
            let waker = self.waker.take();
            self.wakers.extend(waker);
        }
    }

    /// Whether it is the end of a session whose peer has still to be told by s2n-quic. It does
    /// that in a task of its own: a program that waits for the session to be closed is not to end
    /// before.
    fn is_parting(&self, event: &moqt_engine::Event) -> bool {
        let is_local =
            matches!(event, moqt_engine::Event::Closed { reason: CloseReason::Local { .. } });
        is_local && !self.is_over
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        match (self.session.poll_timeout(), self.router.poll_timeout()) {
            (Some(session), Some(router)) => Some(session.min(router)),
            (session, router) => session.or(router),
        }
    }

    /// What is known of the session once it is set up.
    fn info(&self) -> Option<SessionInfo> {
        let setup = self.router.setup()?.clone();
        let transport = self.transport?;
        let role = self.session.role();
        Some(session_info(role, transport, self.remote, setup, self.request.clone()))
    }
}

/// One session's place behind the lock. The session is closed when this is dropped.
#[derive(Debug)]
struct SessionHandle {
    shared: Arc<Shared>,
}

impl Driver for SessionHandle {
    fn with(&self, work: &mut dyn FnMut(&mut Access<'_>)) {
        let mut state = self.shared.lock();
        let now = state.now();
        let State { session, streams, router, .. } = &mut *state;
        // There is one as long as there is a handle on it.
        let Some(moqt) = session.moqt_mut() else { return };
        let mut access = Access::new(moqt, router, now);
        work(&mut access);
        let mut is_dirty = access.wrote;
        is_dirty |= session.act(streams, now);
        state.sort_events();
        is_dirty |= state.router.wants_flushed();
        // The task sleeps until the earliest deadline it knew of.
        is_dirty |= match (state.next_deadline(), state.deadline) {
            (Some(next), Some(known)) => next < known,
            (next, known) => next.is_some() && known.is_none(),
        };
        Shared::release(state);
        if is_dirty {
            self.shared.signals.wake();
        }
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

/// What the end of a connection means for the session on it.
fn closed(error: &Error) -> TransportClosed {
    match error {
        // s2n-quic keeps the reason to itself.
        Error::Application { error, initiator: Location::Remote, .. } => {
            TransportClosed::ByPeer { code: **error, reason: String::new() }
        }
        other => TransportClosed::Lost { reason: other.to_string() },
    }
}
