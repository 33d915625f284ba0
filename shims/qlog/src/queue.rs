//! What waits to be written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moqt_quic::Traced;

use crate::Limits;
use crate::file::Log;

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
    /// The writer is busy with what it has taken.
    is_writing: bool,
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
        drop(inner);
        self.filled.notify_one();
        true
    }

    /// Everything that waits, once there is something. `None` when nothing more will come.
    pub(crate) fn take(&self) -> Option<VecDeque<Entry>> {
        let mut inner = self.lock();
        inner.is_writing = false;
        self.written.notify_all();
        while inner.entries.is_empty() {
            if inner.is_closed {
                return None;
            }
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.bytes = 0;
        inner.is_writing = true;
        Some(std::mem::take(&mut inner.entries))
    }

    /// Waits until nothing waits any more, or for so long.
    pub(crate) fn finish(&self, most: Duration) {
        let is_busy = |inner: &mut Inner| inner.is_writing || !inner.entries.is_empty();
        let waited = self.written.wait_timeout_while(self.lock(), most, is_busy);
        drop(waited);
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
