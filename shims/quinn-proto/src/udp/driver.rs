//! The task that drives a socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use quinn_proto::Transmit;
use tokio::time::{Sleep, sleep_until};

use super::shared::Shared;
use super::socket::RecvBuffers;

/// Batches received, and sent, before others on the same thread get their turn.
const BATCHES: usize = 32;

/// Runs until no client, server or connection is left.
#[derive(Debug)]
pub(crate) struct Drive {
    shared: Arc<Shared>,
    received: RecvBuffers,
    /// What the socket did not take yet.
    unsent: Option<Transmit>,
    contents: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    deadline: Option<Instant>,
}

impl Drive {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let received = RecvBuffers::default();
        let timer = Box::pin(sleep_until(Instant::now().into()));
        Self { shared, received, unsent: None, contents: Vec::new(), timer, deadline: None }
    }

    /// Whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..BATCHES {
            let count = match self.shared.socket.poll_recv(cx, &mut self.received) {
                Poll::Ready(Ok(count)) => count,
                // A socket that cannot be read will not come back; its connections time out.
                Poll::Ready(Err(_)) | Poll::Pending => return false,
            };
            let now = Instant::now();
            let mut state = self.shared.lock();
            for (origin, datagram) in self.received.datagrams(count) {
                let (remote, local_ip, ecn) = (origin.remote, origin.local_ip, origin.ecn);
                state.endpoint.handle_datagram(now, remote, local_ip, ecn, datagram);
            }
        }
        true
    }

    /// Whether there may be more, and the socket takes it.
    fn transmit(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..BATCHES {
            if self.unsent.is_none() {
                let now = Instant::now();
                let mut state = self.shared.lock();
                // The system may have turned out not to split datagrams after all.
                state.endpoint.set_max_segments(self.shared.socket.max_segments());
                self.unsent = state.endpoint.poll_transmit(now, &mut self.contents);
                state.dispatch(now);
                Shared::release(state);
            }
            let Some(transmit) = &self.unsent else { return false };
            let contents = self.contents.get(..transmit.size).unwrap_or_default();
            if self.shared.socket.poll_send(cx, transmit, contents).is_pending() {
                let now = Instant::now();
                let mut state = self.shared.lock();
                state.endpoint.process(now);
                state.dispatch(now);
                Shared::release(state);
                return false;
            }
            self.unsent = None;
        }
        true
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // From here on, whoever has something for the task to do wakes it.
        this.shared.lock().driver = Some(cx.waker().clone());
        let mut more = this.receive(cx);
        more |= this.transmit(cx);
        loop {
            let now = Instant::now();
            let mut state = this.shared.lock();
            if state.tend_routers(now) {
                Shared::release(state);
                more |= this.transmit(cx);
                state = this.shared.lock();
            }
            if state.is_over() && this.unsent.is_none() && !more {
                return Poll::Ready(());
            }
            let endpoint = state.endpoint.poll_timeout();
            let router = state.router_deadline();
            Shared::release(state);
            let deadline = match (endpoint, router) {
                (Some(endpoint), Some(router)) => Some(endpoint.min(router)),
                (endpoint, router) => endpoint.or(router),
            };
            let Some(deadline) = deadline else {
                this.deadline = None;
                break;
            };
            if this.deadline != Some(deadline) {
                this.deadline = Some(deadline);
                this.timer.as_mut().reset(deadline.into());
            }
            if this.timer.as_mut().poll(cx).is_pending() {
                break;
            }
            this.deadline = None;
            this.shared.lock().endpoint.handle_timeout(Instant::now());
            more |= this.transmit(cx);
            if more {
                break;
            }
        }
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stop();
        Shared::release(state);
    }
}
