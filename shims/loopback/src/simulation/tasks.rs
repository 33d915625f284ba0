//! The executor.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The number of the future that is run; tasks count from 1.
const MAIN: u64 = 0;

type Spawned = Pin<Box<dyn Future<Output = ()>>>;

/// What runs.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Those that wait.
    waiting: RefCell<BTreeMap<u64, Spawned>>,
    last: Cell<u64>,
    ready: Arc<Ready>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("ready", &self.ready).finish_non_exhaustive()
    }
}

/// Those that can go on.
#[derive(Debug, Default)]
struct Ready(Mutex<BTreeSet<u64>>);

impl Ready {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct TaskWaker {
    task: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.task);
    }
}

impl Tasks {
    pub(crate) fn spawn<F: Future<Output: 'static> + 'static>(&self, future: F) -> Task<F::Output> {
        let outcome = Rc::new(RefCell::new(Outcome { output: None, waker: None }));
        let task = Task { outcome: outcome.clone() };
        let future = Box::pin(async move {
            let output = future.await;
            let mut outcome = outcome.borrow_mut();
            outcome.output = Some(output);
            if let Some(waker) = outcome.waker.take() {
                waker.wake();
            }
        });
        self.last.set(self.last.get() + 1);
        self.waiting.borrow_mut().insert(self.last.get(), future);
        self.ready.lock().insert(self.last.get());
        task
    }

    /// Lets all that can go on do so, in order and once. The first is always `main`.
    pub(crate) fn round<T>(&self, main: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let mut ready = std::mem::take(&mut *self.ready.lock());
        ready.remove(&MAIN);
        if let Poll::Ready(output) = main.poll(&mut Context::from_waker(&self.waker(MAIN))) {
            return Poll::Ready(output);
        }
        for number in ready {
            let taken = self.waiting.borrow_mut().remove(&number);
            let Some(mut task) = taken else { continue };
            if task.as_mut().poll(&mut Context::from_waker(&self.waker(number))).is_pending() {
                self.waiting.borrow_mut().insert(number, task);
            }
        }
        Poll::Pending
    }

    pub(crate) fn can_go_on(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    /// Drops what is not done.
    pub(crate) fn clear(&self) {
        // What is dropped may spawn or wake.
        let dropped = self.waiting.take();
        drop(dropped);
        self.waiting.take();
        self.ready.lock().clear();
    }

    fn waker(&self, task: u64) -> Waker {
        Arc::new(TaskWaker { task, ready: self.ready.clone() }).into()
    }
}

/// A task that goes on by itself, from [`Simulation::spawn`](super::Simulation::spawn). Await it
/// for its output. Dropping it changes nothing about the task.
#[derive(Debug)]
pub struct Task<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
}

#[derive(Debug)]
struct Outcome<T> {
    output: Option<T>,
    waker: Option<Waker>,
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = self.outcome.borrow_mut();
        if let Some(output) = outcome.output.take() {
            return Poll::Ready(output);
        }
        outcome.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
