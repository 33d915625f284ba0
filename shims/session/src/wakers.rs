use std::task::{Context, Waker};

/// The tasks that wait for the same thing. Each is kept once.
#[derive(Debug, Default)]
pub(crate) struct WakerSet(Vec<Waker>);

impl WakerSet {
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.0.push(cx.waker().clone());
        }
    }

    /// Hands all of them to `out`, to be woken when the lock is released.
    pub(crate) fn take_into(&mut self, out: &mut Vec<Waker>) {
        out.append(&mut self.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The task that waits for something that only one can wait for.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(Option<Waker>);

impl WakerSlot {
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        match &mut self.0 {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.0 = Some(cx.waker().clone()),
        }
    }

    pub(crate) fn take_into(&mut self, out: &mut Vec<Waker>) {
        out.extend(self.0.take());
    }
}
