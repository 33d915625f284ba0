//! The task that drives a connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use moqt_session::Session;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Sleep, sleep_until};

use crate::shared::{Shared, Turn};

/// Runs until the connection is over.
#[derive(Debug)]
pub(crate) struct Drive {
    shared: Arc<Shared>,
    /// Where the session goes once it is set up, if nobody waits for it.
    accepted: Option<UnboundedSender<Session>>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    deadline: Option<Instant>,
    is_over: bool,
}

impl Drive {
    pub(crate) fn new(shared: Arc<Shared>, accepted: Option<UnboundedSender<Session>>) -> Self {
        let timer = Box::pin(sleep_until(Instant::now().into()));
        Self { shared, accepted, timer, deadline: None, is_over: false }
    }

    /// Hands the session on as soon as it is set up.
    fn hand_on(&mut self, cx: &Context<'_>) {
        let Some(accepted) = &self.accepted else { return };
        match self.shared.poll_session(cx) {
            Poll::Pending => return,
            // It is closed if nobody is there any more.
            Poll::Ready(Ok(session)) => drop(accepted.send(session)),
            Poll::Ready(Err(_)) => {}
        }
        self.accepted = None;
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(());
        }
        loop {
            let turn = this.shared.work(cx.waker());
            this.hand_on(cx);
            let deadline = match turn {
                Turn::Over => {
                    // Whoever sends the last packet goes first.
                    this.is_over = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Turn::Rest(deadline) => deadline,
            };
            let Some(deadline) = deadline else {
                this.deadline = None;
                return Poll::Pending;
            };
            if this.deadline != Some(deadline) {
                this.deadline = Some(deadline);
                this.timer.as_mut().reset(deadline.into());
            }
            if this.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.deadline = None;
        }
    }
}

/// The connection is over, or else the runtime ends.
impl Drop for Drive {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
