use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use moqt_engine::{Blocked, CommandError, MoqtConnection, RequestKey, Timestamp};

use crate::error::WriteError;
use crate::router::Router;

/// What a transport offers so that [`Session`](crate::Session)s can work on it. One per
/// session; when it is dropped, nobody holds the session any more and the driver should close
/// it with NO_ERROR.
///
/// # What a driver does
///
/// It keeps a [`MoqtConnection`] and a [`Router`] for each session, under one lock. Whenever the
/// connection gives events, each goes to [`Router::handle_event`]; the router's timeout is honoured
/// beside the connection's; traces, if the application wants them, are polled there; and after
/// every release of the lock the wakers of [`Router::take_wakers`] are woken.
pub trait Driver: Send + Sync + 'static {
    /// Takes the lock, calls `f` exactly once, drains actions and events, and wakes whoever
    /// has to go on: the driver's own task if there is something to send or to do, and the
    /// router's wakers.
    ///
    /// This must work for as long as the driver exists, though the session be over.
    fn with(&self, f: &mut dyn FnMut(&mut Access<'_>));
}

/// What [`Driver::with`] gives access to while its lock is held.
#[derive(Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// The session's protocol state.
    pub connection: &'a mut MoqtConnection,
    /// Who waits for what.
    pub router: &'a mut Router,
    /// The time, on the connection's clock.
    pub now: Timestamp,
    /// Set when something may have been queued to be sent. Actions and events the driver finds
    /// by itself.
    pub wrote: bool,
}

impl<'a> Access<'a> {
    /// Access to these.
    pub fn new(connection: &'a mut MoqtConnection, router: &'a mut Router, now: Timestamp) -> Self {
        Self { connection, router, now, wrote: false }
    }

    /// What writing for a publication or a fetch gave. If it was blocked, whoever wrote waits
    /// until there is room, or the request is over.
    pub(crate) fn written<T>(
        &mut self,
        cx: &Context<'_>,
        request: RequestKey,
        written: Result<T, CommandError>,
    ) -> Poll<Result<T, WriteError>> {
        match written {
            Err(CommandError::Blocked(blocked)) => {
                if blocked != Blocked::Queue {
                    self.router.unblocked_wakers.register(cx);
                }
                self.router.publishers.entry(request).or_default().writers.register(cx);
                Poll::Pending
            }
            written => {
                self.wrote = true;
                Poll::Ready(written.map_err(WriteError::from))
            }
        }
    }
}

/// A driver behind which handles are kept.
#[derive(Clone)]
pub(crate) struct Shared(Arc<dyn Driver>);

impl Shared {
    pub(crate) fn new(driver: Arc<dyn Driver>) -> Self {
        Self(driver)
    }

    /// Runs `f` under the driver's lock. `None` only if the driver breaks its contract.
    pub(crate) fn run<R>(&self, f: impl FnOnce(&mut Access<'_>) -> R) -> Option<R> {
        let mut f = Some(f);
        let mut result = None;
        self.0.with(&mut |access| {
            if let Some(f) = f.take() {
                result = Some(f(access));
            }
        });
        result
    }

    /// Runs `poll` under the driver's lock whenever its waker is woken, until it is ready.
    /// `broken` is what came of it if the driver breaks its contract.
    pub(crate) async fn wait<R>(
        &self,
        mut poll: impl FnMut(&mut Access<'_>, &Context<'_>) -> Poll<R>,
        broken: impl Fn() -> R,
    ) -> R {
        poll_fn(|cx| self.run(|access| poll(access, cx)).unwrap_or_else(|| Poll::Ready(broken())))
            .await
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}
