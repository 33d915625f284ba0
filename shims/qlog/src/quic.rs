//! What a QUIC stack writes of a connection, from its first packet on.

use std::io::{self, Write};
use std::mem::take;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::file::Log;
use crate::queue::{Entry, Queue, Written};

/// Bytes of records that are kept until there is a session: whoever sends first packets and no
/// more gets no file.
const BEFORE_SESSION: usize = 32 * 1024;

/// What a stack writes to. Records go on when they are whole.
pub(crate) struct Stack {
    packets: Arc<Packets>,
    record: Vec<u8>,
}

/// The records of one connection, which the stack and the session's trace share.
pub(crate) struct Packets {
    queue: Arc<Queue>,
    to: Mutex<To>,
}

/// Where records go.
enum To {
    /// There is no session yet.
    Wait(Vec<u8>),
    Log(Arc<Log>),
    /// There is no room for the log.
    Nowhere,
}

impl Stack {
    pub(crate) fn new(queue: Arc<Queue>) -> (Self, Arc<Packets>) {
        let packets = Arc::new(Packets { queue, to: Mutex::new(To::Wait(Vec::new())) });
        (Self { packets: Arc::clone(&packets), record: Vec::new() }, packets)
    }
}

impl Write for Stack {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.record.extend_from_slice(bytes);
        // A line feed ends a record and is nowhere else in it, as it is written without any space.
        if bytes.ends_with(b"\n") {
            self.packets.add(take(&mut self.record));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Packets {
    /// There is a session, and this is the log for what is below it.
    pub(crate) fn begin(&self, log: Option<Log>) {
        let to = log.map_or(To::Nowhere, |log| To::Log(Arc::new(log)));
        let before = std::mem::replace(&mut *self.lock(), to);
        if let To::Wait(records) = before {
            self.add(records);
        }
    }

    fn add(&self, records: Vec<u8>) {
        match &mut *self.lock() {
            To::Wait(before) if before.len() + records.len() <= BEFORE_SESSION => {
                before.extend(records);
            }
            To::Log(log) => {
                let bytes = records.len() + size_of::<Entry>();
                let entry = Entry { log: Arc::clone(log), what: Written::Records(records) };
                if !self.queue.push(entry, bytes) {
                    log.left_out.fetch_add(1, Ordering::Relaxed);
                }
            }
            To::Wait(_) | To::Nowhere => {}
        }
    }

    /// Nobody can panic while they hold it.
    fn lock(&self) -> MutexGuard<'_, To> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
