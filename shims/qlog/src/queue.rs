//! What waits to be written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moqt_quic::Traced;

use crate::Limits;
use crate::file::Log;

/// Between what the writer takes and the next time: what comes meanwhile is written together, and
/// connections wake nobody for it.
const REST: Duration = Duration::from_millis(10);

/// What is to be written, and the log it belongs to.
pub(crate) struct Entry {
    pub(crate) log: Arc<Log>,
    pub(crate) what: Written,
}

/// What is to be written.
#[expect(clippy::large_enum_variant, reason = "most are of the large one")]
pub(crate) enum Written {
    /// What a session has said.
    Moqt(Traced),
    /// Records that a QUIC stack has made.
    Records(Vec<u8>),
}

/// Takes events from connections without making them wait, and gives them to the writer.
pub(crate) struct Queue {
    limits: Limits,
    inner: Mutex<Inner>,
    /// Something is there, or nothing more will come.
    filled: Condvar,
    /// All that was taken has been written.
    written: Condvar,
}

#[derive(Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// About how much the entries take.
    bytes: usize,
    is_closed: bool,
    /// Somebody waits for everything to be written.
    is_hurried: bool,
    writer: Doing,
}

/// What the writer does.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Doing {
    /// It waits a little.
    #[default]
    Resting,
    /// It waits for something to come.
    Waiting,
    /// It is busy with what it has taken.
    Writing,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        let (filled, written) = (Condvar::new(), Condvar::new());
        Self { limits, inner: Mutex::default(), filled, written }
    }

    /// Adds an event; whether there was room for it.
    pub(crate) fn push(&self, entry: Entry, bytes: usize) -> bool {
        let mut inner = self.lock();
        let sum = inner.bytes.saturating_add(bytes);
        if inner.entries.len() >= self.limits.events || sum > self.limits.bytes {
            return false;
        }
        inner.bytes = sum;
        inner.entries.push_back(entry);
        // To wake somebody is a call of the system's, which is not for every event.
        let is_waiting = inner.writer == Doing::Waiting;
        if is_waiting {
            inner.writer = Doing::Resting;
        }
        drop(inner);
        if is_waiting {
            self.filled.notify_one();
        }
        true
    }

    /// Everything that waits, once there is something. `None` when nothing more will come.
    pub(crate) fn take(&self) -> Option<VecDeque<Entry>> {
        let mut inner = self.lock();
        inner.writer = Doing::Resting;
        self.written.notify_all();
        let may_rest = |inner: &mut Inner| !inner.is_hurried && !inner.is_closed;
        let rested = self.filled.wait_timeout_while(inner, REST, may_rest);
        inner = rested.unwrap_or_else(PoisonError::into_inner).0;
        while inner.entries.is_empty() {
            if inner.is_closed {
                return None;
            }
            inner.writer = Doing::Waiting;
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.is_hurried = false;
        inner.bytes = 0;
        inner.writer = Doing::Writing;
        Some(std::mem::take(&mut inner.entries))
    }

    /// Waits until nothing waits any more, or for so long.
    pub(crate) fn finish(&self, most: Duration) {
        let mut inner = self.lock();
        inner.is_hurried = true;
        self.filled.notify_one();
        let is_busy =
            |inner: &mut Inner| inner.writer == Doing::Writing || !inner.entries.is_empty();
        let waited = self.written.wait_timeout_while(inner, most, is_busy);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        inner.is_hurried = false;
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_all();
    }

    /// Nobody can panic while they hold it.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
