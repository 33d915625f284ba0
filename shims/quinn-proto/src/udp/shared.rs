//! What the task that drives a socket shares with the handles.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use moqt_engine::model::SessionError;
use moqt_engine::{
    CloseReason, Config, Draft, MoqtConnection, Role, Timestamp, Transport, TransportClosed,
};
use moqt_quic::session_info;
use moqt_quic::webtransport::Request;
use moqt_session::{Access, Driver, Router, RouterLimits, Session, SessionInfo};
use quinn_proto::ConnectionHandle;

use super::socket::Socket;
use crate::endpoint::{Endpoint, Event};
use crate::error::ConnectionFailure;

/// How many datagrams are sent at once when a session is closed.
const LAST_WORDS: usize = 32;

/// An endpoint, its sessions, and who waits for them.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) socket: Socket,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) endpoint: Endpoint,
    sessions: HashMap<u64, Entry>,
    by_handle: HashMap<ConnectionHandle, u64>,
    next_id: u64,
    /// Sessions that were set up and that nobody has taken yet.
    accepted: VecDeque<u64>,
    accept_wakers: Vec<Waker>,
    /// Sessions whose routers wait for a time, or for everything to be sent.
    tended: BTreeSet<u64>,
    limits: RouterLimits,
    /// The driving task, while it rests.
    pub(crate) driver: Option<Waker>,
    /// Clients and servers that may still want something.
    handles: usize,
    /// The driving task is gone.
    is_stopped: bool,
    wakers: Vec<Waker>,
}

/// One connection's session.
#[derive(Debug)]
struct Entry {
    router: Router,
    /// `None` when the connection is over and forgotten.
    handle: Option<ConnectionHandle>,
    role: Role,
    /// QUIC's handshake is complete.
    has_connected: bool,
    transport: Option<(Draft, Transport)>,
    /// What the client has asked for over HTTP/3.
    request: Option<Request>,
    remote: SocketAddr,
    failed: Option<ConnectionFailure>,
    waker: Option<Waker>,
    /// A handle on it has been given out.
    is_taken: bool,
}

/// How far setting up a session has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The session is there.
    Established(Session),
    /// There will be none.
    Failed(ConnectionFailure),
    /// It was closed while it was being set up.
    Closed(CloseReason),
    /// The driving task is gone.
    Stopped,
}

impl Shared {
    pub(crate) fn new(endpoint: Endpoint, socket: Socket, limits: RouterLimits) -> Arc<Self> {
        let state = State {
            endpoint,
            sessions: HashMap::new(),
            by_handle: HashMap::new(),
            next_id: 0,
            accepted: VecDeque::new(),
            accept_wakers: Vec::new(),
            tended: BTreeSet::new(),
            limits,
            driver: None,
            handles: 0,
            is_stopped: false,
            wakers: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), socket })
    }

    /// The lock. Nothing in it is left half done by a panic of the application's, whose code
    /// does not run under it, but for sinks of traces, which run between one thing and the next.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the lock and wakes those who have to go on.
    pub(crate) fn release(mut state: MutexGuard<'_, State>) {
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn handle_added(&self) {
        self.lock().handles += 1;
    }

    /// A client or server is gone. The task ends with the last connection.
    pub(crate) fn handle_dropped(&self) {
        let mut state = self.lock();
        state.handles = state.handles.saturating_sub(1);
        state.wake_driver();
        Self::release(state);
    }

    /// Begins a connection.
    pub(crate) fn connect(
        &self,
        config: crate::ClientConfig,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<u64, quinn_proto::ConnectError> {
        let mut state = self.lock();
        let handle = state.endpoint.connect(Instant::now(), config, remote, server_name)?;
        let id = state.add(handle, Role::Client, remote);
        state.wake_driver();
        Self::release(state);
        Ok(id)
    }

    /// Waits for a session to be set up.
    pub(crate) fn poll_progress(self: &Arc<Self>, cx: &Context<'_>, id: u64) -> Poll<Progress> {
        let mut state = self.lock();
        let Some(entry) = state.sessions.get_mut(&id) else {
            return Poll::Ready(Progress::Stopped);
        };
        if let Some(error) = entry.failed.take() {
            return Poll::Ready(Progress::Failed(error));
        }
        if let Some(reason) = entry.router.closed() {
            return Poll::Ready(Progress::Closed(reason.clone()));
        }
        if let Some(info) = entry.info() {
            entry.is_taken = true;
            drop(state);
            return Poll::Ready(Progress::Established(self.session(id, info)));
        }
        entry.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the QUIC handshake of a connection is complete.
    pub(crate) fn has_connected(&self, id: u64) -> bool {
        self.lock().sessions.get(&id).is_some_and(|entry| entry.has_connected)
    }

    /// Gives up a connection that is being set up, or was.
    pub(crate) fn abandon(&self, id: u64, error: SessionError, reason: &str) {
        let mut state = self.lock();
        state.end(id, error, reason);
        self.send_now(&mut state);
        Self::release(state);
    }

    /// Sends what there is to send without the task. A session that was closed has told its
    /// peer with that, even if the program ends next.
    fn send_now(&self, state: &mut State) {
        let mut contents = Vec::new();
        for _ in 0..LAST_WORDS {
            let transmit = state.endpoint.poll_transmit(Instant::now(), &mut contents);
            let Some(transmit) = transmit else { break };
            self.socket.send_now(&transmit, contents.get(..transmit.size).unwrap_or_default());
        }
    }

    /// Waits for a session of a client's; `None` when there will be none.
    pub(crate) fn poll_accept(self: &Arc<Self>, cx: &Context<'_>) -> Poll<Option<Session>> {
        let mut state = self.lock();
        while let Some(id) = state.accepted.pop_front() {
            let Some(entry) = state.sessions.get_mut(&id) else { continue };
            let Some(info) = entry.info() else { continue };
            entry.is_taken = true;
            drop(state);
            return Poll::Ready(Some(self.session(id, info)));
        }
        if state.is_stopped {
            return Poll::Ready(None);
        }
        if !state.accept_wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.accept_wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The server is gone: sessions that nobody took are closed, and no more are accepted.
    pub(crate) fn stop_accepting(&self) {
        let mut state = self.lock();
        state.endpoint.stop_accepting();
        state.accepted.clear();
        let untaken: Vec<u64> = state
            .sessions
            .iter()
            .filter(|(_, entry)| entry.role == Role::Server && !entry.is_taken)
            .map(|(id, _)| *id)
            .collect();
        for id in untaken {
            state.end(id, SessionError::NoError, "the server is going away");
        }
        self.send_now(&mut state);
        Self::release(state);
    }

    fn session(self: &Arc<Self>, id: u64, info: SessionInfo) -> Session {
        Session::new(Arc::new(Handle { shared: self.clone(), id }), info)
    }
}

impl State {
    pub(crate) fn is_over(&self) -> bool {
        self.handles == 0 && self.endpoint.is_empty()
    }

    fn wake_driver(&mut self) {
        self.wakers.extend(self.driver.take());
    }

    fn add(&mut self, handle: ConnectionHandle, role: Role, remote: SocketAddr) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry {
            router: Router::new(self.limits.clone()),
            handle: Some(handle),
            role,
            has_connected: false,
            transport: None,
            request: None,
            remote,
            failed: None,
            waker: None,
            is_taken: false,
        };
        self.sessions.insert(id, entry);
        self.by_handle.insert(handle, id);
        id
    }

    /// Closes a session that nobody holds and forgets it.
    fn end(&mut self, id: u64, error: SessionError, reason: &str) {
        let Some(entry) = self.sessions.remove(&id) else { return };
        if let Some(handle) = entry.handle {
            self.by_handle.remove(&handle);
            let now = Instant::now();
            if self.endpoint.with(handle, now, |moqt, _| moqt.close(error, reason)).is_none() {
                self.endpoint.close(handle, now, 0, reason);
            }
        }
        self.wake_driver();
    }

    /// Sorts in what the endpoint has to tell.
    pub(crate) fn dispatch(&mut self, now: Instant) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            let id = match self.by_handle.get(&handle) {
                Some(id) => *id,
                // A client that nobody here knows yet. What belongs to a session that was
                // given up begins in its middle.
                None if matches!(event, Event::Opening | Event::Connected { .. }) => {
                    let Some(remote) = self.endpoint.remote_address(handle) else { continue };
                    self.add(handle, Role::Server, remote)
                }
                None => continue,
            };
            let Some(entry) = self.sessions.get_mut(&id) else { continue };
            match event {
                Event::Opening => entry.has_connected = true,
                Event::Connected { draft, transport, request } => {
                    entry.has_connected = true;
                    entry.transport = Some((draft, transport));
                    entry.request = request;
                }
                Event::Draining => {
                    entry.router.handle_draining();
                    self.wakers.extend(entry.router.take_wakers());
                }
                Event::Moqt(event) => {
                    let router = &mut entry.router;
                    let timestamp = self.endpoint.timestamp(now);
                    let was_established = router.is_established();
                    let mut event = Some(event);
                    self.endpoint.with_quietly(handle, now, |moqt, _| {
                        if let Some(event) = event.take() {
                            router.handle_event(moqt, timestamp, event);
                        }
                        ((), false)
                    });
                    // One that timed out is gone before it is told why.
                    if let Some(event) = event {
                        let moqt = &mut closed_connection(entry.role, timestamp);
                        router.handle_event(moqt, timestamp, event);
                    }
                    self.wakers.extend(router.take_wakers());
                    if router.poll_timeout().is_some() {
                        self.tended.insert(id);
                    }
                    if !was_established && router.is_established() {
                        self.wakers.extend(entry.waker.take());
                        if entry.role == Role::Server {
                            self.accepted.push_back(id);
                            self.wakers.append(&mut self.accept_wakers);
                        }
                    }
                    if router.closed().is_some() {
                        self.wakers.extend(entry.waker.take());
                    }
                }
                Event::Failed { error } => {
                    entry.failed = Some(error);
                    self.wakers.extend(entry.waker.take());
                }
                Event::Drained => {
                    entry.handle = None;
                    self.by_handle.remove(&handle);
                    // A client's attempt is forgotten by the client.
                    if !entry.is_taken && entry.role == Role::Server {
                        self.sessions.remove(&id);
                    }
                }
            }
        }
    }

    /// When a router wants to be woken.
    pub(crate) fn router_deadline(&self) -> Option<Instant> {
        let deadline = |id| self.sessions.get(id)?.router.poll_timeout();
        self.tended.iter().filter_map(|id| self.endpoint.instant(deadline(id)?)).min()
    }

    /// Time has passed, or much has happened: routers get their due. Whether there may be
    /// something to send because of it.
    pub(crate) fn tend_routers(&mut self, now: Instant) -> bool {
        let mut did_something = false;
        let timestamp = self.endpoint.timestamp(now);
        let Self { endpoint, sessions, wakers, tended, .. } = self;
        tended.retain(|id| {
            let Some(entry) = sessions.get_mut(id) else { return false };
            let Some(handle) = entry.handle else { return false };
            let router = &mut entry.router;
            if router.poll_timeout().is_some_and(|deadline| deadline <= timestamp) {
                endpoint.with(handle, now, |moqt, _| router.handle_timeout(moqt, timestamp));
                wakers.extend(router.take_wakers());
                did_something = true;
            }
            if router.wants_flushed() && endpoint.is_flushed(handle) {
                router.set_flushed(true);
                wakers.extend(router.take_wakers());
            }
            router.wants_flushed() || router.poll_timeout().is_some()
        });
        did_something
    }

    /// The task is gone: nothing will ever move again.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        let now = self.endpoint.timestamp(Instant::now());
        for entry in self.sessions.values_mut() {
            if entry.router.closed().is_none() {
                let mut moqt = closed_connection(entry.role, now);
                while let Some(event) = moqt.poll_event() {
                    entry.router.handle_event(&mut moqt, now, event);
                }
            }
            entry.handle = None;
            self.wakers.extend(entry.router.take_wakers());
            self.wakers.extend(entry.waker.take());
        }
        self.wakers.append(&mut self.accept_wakers);
    }
}

impl Entry {
    /// What is known of the session once it is set up.
    fn info(&self) -> Option<SessionInfo> {
        let setup = self.router.setup()?.clone();
        let transport = self.transport?;
        Some(session_info(self.role, transport, self.remote, setup, self.request.clone()))
    }
}

/// One session's place behind the lock. The session is closed when this is dropped.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    id: u64,
}

impl Driver for Handle {
    fn with(&self, work: &mut dyn FnMut(&mut Access<'_>)) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let State { endpoint, sessions, wakers, .. } = &mut *state;
        let timestamp = endpoint.timestamp(now);
        let Some(entry) = sessions.get_mut(&self.id) else {
            // Not before the last handle is dropped; the contract is kept all the same.
            drop(state);
            let mut router = Router::default();
            work_on_closed(work, &mut router, Role::Client, timestamp);
            return;
        };
        let router = &mut entry.router;
        let was_closed = router.closed().is_some();
        let deadline = router.poll_timeout();
        let done = entry.handle.and_then(|handle| {
            endpoint.with_quietly(handle, now, |moqt, timestamp| {
                let mut access = Access::new(moqt, router, timestamp);
                work(&mut access);
                ((), access.wrote)
            })
        });
        let Some(((), mut is_dirty)) = done else {
            work_on_closed(work, router, entry.role, timestamp);
            wakers.extend(router.take_wakers());
            return Shared::release(state);
        };
        state.dispatch(now);
        let State { sessions, wakers, tended, .. } = &mut *state;
        let mut is_closed = false;
        if let Some(entry) = sessions.get_mut(&self.id) {
            is_closed = entry.router.closed().is_some();
            wakers.extend(entry.router.take_wakers());
            let new_deadline = entry.router.poll_timeout();
            if entry.router.wants_flushed() || new_deadline.is_some() {
                tended.insert(self.id);
            }
            // The task sleeps until the earliest deadline it knew of.
            is_dirty |= new_deadline.is_some() && new_deadline != deadline;
        }
        if is_closed && !was_closed {
            self.shared.send_now(&mut state);
        }
        if is_dirty {
            state.wake_driver();
        }
        Shared::release(state);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.abandon(self.id, SessionError::NoError, "");
    }
}

/// Lets `work` find out that the session is over.
fn work_on_closed(
    work: &mut dyn FnMut(&mut Access<'_>),
    router: &mut Router,
    role: Role,
    now: Timestamp,
) {
    let mut moqt = closed_connection(role, now);
    while let Some(event) = moqt.poll_event() {
        if router.closed().is_none() {
            router.handle_event(&mut moqt, now, event);
        }
    }
    work(&mut Access::new(&mut moqt, router, now));
}

fn closed_connection(role: Role, now: Timestamp) -> MoqtConnection {
    let config = Arc::new(Config::default());
    let mut moqt = MoqtConnection::new(role, Draft::D18, Transport::Quic, config, now);
    let reason = "the runtime that drove the socket is gone".into();
    moqt.handle_closed(now, TransportClosed::Lost { reason });
    moqt
}
