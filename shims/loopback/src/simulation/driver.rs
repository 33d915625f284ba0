//! Sessions at the ends of links.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use moqt_engine::model::SessionError;
use moqt_engine::{CloseReason, MoqtConnection, Timestamp};
use moqt_session::{Access, Driver, Router, RouterLimits, SessionInfo};

use crate::config::LinkConfig;
use crate::network::{EndpointId, Network};
#[cfg(feature = "relay")]
use crate::relay::Relays;

/// The network, and who waits for what in it.
#[derive(Debug)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) network: Network,
    #[cfg(feature = "relay")]
    pub(crate) relays: Relays,
    ends: BTreeMap<EndpointId, Session>,
    /// Those who wait for a time.
    pub(crate) sleepers: BTreeMap<(Timestamp, u64), Waker>,
    last_sleeper: u64,
    /// Those to wake once the lock is released.
    wakers: Vec<Waker>,
}

/// What is kept of a session beside its connection.
#[derive(Debug)]
struct Session {
    router: Router,
    /// Who waits for it to be set up.
    setup: Option<Waker>,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(State {
            network: Network::new(seed),
            #[cfg(feature = "relay")]
            relays: Relays::new(seed),
            ends: BTreeMap::new(),
            sleepers: BTreeMap::new(),
            last_sleeper: 0,
            wakers: Vec::new(),
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out events, releases the lock, and wakes those who have to go on.
    fn release(mut state: MutexGuard<'_, State>) {
        state.hand_out();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn connect(
        self: &Arc<Self>,
        client: MoqtConnection,
        server: MoqtConnection,
        link: LinkConfig,
    ) -> (Arc<End>, Arc<End>) {
        let mut state = self.lock();
        let (client, server) = state.network.connect(client, server, link);
        let ends = (self.end(&mut state, client), self.end(&mut state, server));
        Self::release(state);
        ends
    }

    /// An end that is an application's.
    fn end(self: &Arc<Self>, state: &mut State, at: EndpointId) -> Arc<End> {
        let router = Router::new(RouterLimits::default());
        state.ends.insert(at, Session { router, setup: None });
        Arc::new(End { shared: self.clone(), at })
    }

    /// Lets `connect` link an application's connection with a relay.
    #[cfg(feature = "relay")]
    pub(crate) fn connect_to_relay(
        self: &Arc<Self>,
        connect: impl FnOnce(&mut Relays, &mut Network) -> EndpointId,
    ) -> Arc<End> {
        let mut state = self.lock();
        let at = {
            let State { network, relays, .. } = &mut *state;
            connect(relays, network)
        };
        let end = self.end(&mut state, at);
        Self::release(state);
        end
    }

    #[cfg(feature = "relay")]
    pub(crate) fn with_relays<R>(&self, f: impl FnOnce(&mut Relays, &mut Network) -> R) -> R {
        let mut state = self.lock();
        let State { network, relays, .. } = &mut *state;
        let result = f(relays, network);
        Self::release(state);
        result
    }

    pub(crate) fn with_network<R>(&self, f: impl FnOnce(&mut Network) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state.network);
        Self::release(state);
        result
    }

    /// Lets the next thing happen. Whether there was one.
    pub(crate) fn step(&self) -> bool {
        let mut state = self.lock();
        let network = state.network.next_time();
        let ours = state.next_time();
        let stepped = match (network, ours) {
            (None, None) => false,
            (Some(network), ours) if ours.is_none_or(|ours| network <= ours) => {
                state.network.step()
            }
            (_, ours) => {
                if let Some(ours) = ours {
                    state.network.run_until(ours);
                }
                true
            }
        };
        state.tend();
        Self::release(state);
        stepped
    }
}

impl State {
    /// Lets somebody wait until then, in place of what was kept of them.
    pub(crate) fn sleep(
        &mut self,
        before: Option<(Timestamp, u64)>,
        until: Timestamp,
        cx: &Context<'_>,
    ) -> (Timestamp, u64) {
        let key = before.unwrap_or_else(|| {
            self.last_sleeper += 1;
            (until, self.last_sleeper)
        });
        self.sleepers.insert(key, cx.waker().clone());
        key
    }

    /// When a sleeper, a router or a relay wants to be woken.
    fn next_time(&self) -> Option<Timestamp> {
        let now = self.network.now();
        let routers = self.ends.iter().filter_map(|(at, session)| {
            let deadline = session.router.poll_timeout()?;
            // Its clock may be ahead.
            Some(now.saturating_add(deadline.saturating_since(self.network.clock(*at))))
        });
        let sleepers = self.sleepers.keys().next().map(|(until, _)| *until);
        let relays = self.relays_time();
        routers.chain(sleepers).chain(relays).min()
    }

    #[cfg(feature = "relay")]
    fn relays_time(&self) -> Option<Timestamp> {
        self.relays.next_time()
    }

    #[cfg(not(feature = "relay"))]
    #[expect(clippy::unused_self, reason = "relays would be part of it")]
    fn relays_time(&self) -> Option<Timestamp> {
        None
    }

    /// Does what is due, and looks whether what waits for it has been sent.
    fn tend(&mut self) {
        #[cfg(feature = "relay")]
        self.relays.tend(&mut self.network);
        let now = self.network.now();
        while let Some(first) = self.sleepers.first_entry()
            && first.key().0 <= now
        {
            self.wakers.push(first.remove());
        }
        for (at, session) in &mut self.ends {
            let clock = self.network.clock(*at);
            if session.router.poll_timeout().is_some_and(|deadline| deadline <= clock) {
                self.network.with(*at, |connection, now| {
                    session.router.handle_timeout(connection, now);
                });
            }
        }
    }

    /// Hands events to whom they concern, until there are none.
    fn hand_out(&mut self) {
        while let Some((at, event)) = self.network.next_event() {
            #[cfg(feature = "relay")]
            let Some(event) = self.relays.handle_event(&mut self.network, at, event) else {
                continue;
            };
            let Some(session) = self.ends.get_mut(&at) else { continue };
            self.network.with(at, |connection, now| {
                session.router.handle_event(connection, now, event);
            });
            if session.router.is_established() || session.router.closed().is_some() {
                self.wakers.extend(session.setup.take());
            }
        }
        for (at, session) in &mut self.ends {
            if session.router.wants_flushed() {
                let usage = self.network.connection(*at).usage();
                let load = self.network.load(at.peer());
                let held = usage.send_bytes + usage.control_bytes + load.in_flight + load.unread;
                if held == 0 {
                    session.router.set_flushed(true);
                }
            }
            self.wakers.extend(session.router.take_wakers());
        }
    }
}

/// One end of a link. When the last handle on it is gone, its session is closed.
#[derive(Debug)]
pub(crate) struct End {
    shared: Arc<Shared>,
    at: EndpointId,
}

impl End {
    pub(crate) fn at(&self) -> EndpointId {
        self.at
    }

    /// Waits for the session to be set up.
    pub(crate) fn poll_established(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Result<SessionInfo, CloseReason>> {
        let mut state = self.shared.lock();
        let State { network, ends, .. } = &mut *state;
        let Some(session) = ends.get_mut(&self.at) else { return Poll::Pending };
        if let Some(reason) = session.router.closed() {
            return Poll::Ready(Err(reason.clone()));
        }
        let Some(setup) = session.router.setup() else {
            session.setup = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let connection = network.connection(self.at);
        let (role, draft) = (connection.role(), connection.draft());
        let info = SessionInfo::new(role, draft, connection.transport(), None, setup.clone());
        Poll::Ready(Ok(info))
    }
}

impl Driver for End {
    fn with(&self, f: &mut dyn FnMut(&mut Access<'_>)) {
        let mut state = self.shared.lock();
        let State { network, ends, .. } = &mut *state;
        if let Some(session) = ends.get_mut(&self.at) {
            network.with(self.at, |connection, now| {
                f(&mut Access::new(connection, &mut session.router, now));
            });
        }
        Shared::release(state);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.network.with(self.at, |connection, _| connection.close(SessionError::NoError, ""));
        Shared::release(state);
    }
}
