//! The thread that writes.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use moqt_quic::{TraceSink, TracedConnection};

use crate::Limits;
use crate::file::{Log, Place, Slot, weight};
use crate::queue::{Entry, Queue, Written};
use crate::quic::{Packets, Stack};

/// How long to wait for a disk when leaving.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a log that are put together before they are written.
const BATCH: usize = 64 * 1024;

/// Hands events to the thread that writes them. It ends with the last of those who hold it.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    limits: Limits,
    /// How many logs were begun.
    begun: AtomicU64,
    /// How many are open.
    open: Arc<AtomicU64>,
    /// It was said that there are too many.
    said_full: AtomicBool,
    /// It was said that events are left out.
    said_left_out: Arc<AtomicBool>,
}

impl Writer {
    pub(crate) fn start(place: impl Place, limits: Limits) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(limits));
        let taken = Arc::clone(&queue);
        let thread = thread::Builder::new().name("moqt-qlog".into());
        thread.spawn(move || {
            let mut said = false;
            while let Some(entries) = taken.take() {
                write(&place, entries, &mut said);
            }
        })?;
        let (begun, open) = (AtomicU64::new(0), Arc::default());
        let (said_full, said_left_out) = (AtomicBool::new(false), Arc::default());
        Ok(Self { queue, limits, begun, open, said_full, said_left_out })
    }

    /// What a QUIC stack writes to when a connection begins, and what it becomes the log of a
    /// session by.
    pub(crate) fn begin(&self) -> (Stack, Arc<Packets>) {
        Stack::new(Arc::clone(&self.queue))
    }

    /// A sink for this connection, unless too many are open.
    pub(crate) fn open(
        &self,
        connection: &TracedConnection,
        packets: Option<&Packets>,
    ) -> Option<TraceSink> {
        let n = self.begun.fetch_add(1, Ordering::Relaxed);
        let log = self.slot().map(|slot| Log::new(*connection, n, slot));
        if let Some(packets) = packets {
            let of_packets = log.as_ref().zip(self.slot()).map(|(log, slot)| log.of_packets(slot));
            packets.begin(of_packets);
        }
        let log = Arc::new(log?);
        let queue = Arc::clone(&self.queue);
        let said = Arc::clone(&self.said_left_out);
        Some(Box::new(move |traced| {
            let bytes = weight(&traced.event);
            let what = Written::Moqt(traced);
            if !queue.push(Entry { log: Arc::clone(&log), what }, bytes) {
                log.left_out.fetch_add(1, Ordering::Relaxed);
                if !said.swap(true, Ordering::Relaxed) {
                    tracing::warn!("events are left out of qlogs: the disk is too slow for them");
                }
            }
        }))
    }

    /// A place for a log, if there is one.
    fn slot(&self) -> Option<Slot> {
        let slot = Slot::take(&self.open, self.limits.files);
        if slot.is_none() && !self.said_full.swap(true, Ordering::Relaxed) {
            let files = self.limits.files;
            tracing::warn!(files, "connections have no qlog: so many are written already");
        }
        slot
    }

    pub(crate) fn finish(&self) {
        self.queue.finish(PATIENCE);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// Writes entries to their logs, what belongs together at once.
fn write(place: &dyn Place, entries: VecDeque<Entry>, said: &mut bool) {
    let mut batches: Vec<(Arc<Log>, Vec<u8>)> = Vec::new();
    for Entry { log, what } in entries {
        let found = batches.iter().position(|(other, _)| Arc::ptr_eq(other, &log));
        let at = found.unwrap_or_else(|| {
            batches.push((log, Vec::new()));
            batches.len() - 1
        });
        if let Some((log, bytes)) = batches.get_mut(at) {
            log.add(&what, bytes);
            if bytes.len() >= BATCH {
                write_batch(place, log, bytes, said);
            }
        }
    }
    for (log, bytes) in &mut batches {
        write_batch(place, log, bytes, said);
    }
}

fn write_batch(place: &dyn Place, log: &Log, bytes: &mut Vec<u8>, said: &mut bool) {
    if !bytes.is_empty()
        && let Err(error) = log.write(place, bytes)
        && !std::mem::replace(said, true)
    {
        let file = log.name();
        tracing::error!(file, %error, "a qlog cannot be written and is given up; others that fail are not told of");
    }
    bytes.clear();
}
