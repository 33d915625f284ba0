//! Datagrams on their way to the peer and from it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use s2n_quic::connection::Error;
use s2n_quic::provider::datagram::{
    ConnectionInfo, Endpoint, Packet, PreConnectionInfo, ReceiveContext, WriteError,
};
use tracing::debug;

use crate::signals::Signals;

/// The largest DATAGRAM frame that is taken, in bytes: whatever fits into a packet.
const MAX_FRAME: u64 = 65_535;

/// Makes the [`Datagrams`] of each connection.
#[derive(Debug)]
pub(crate) struct DatagramEndpoint {
    /// Bytes that may wait on their way out.
    pub(crate) max_out: usize,
    /// Bytes that came in and may wait to be handled.
    pub(crate) max_in: usize,
}

impl Endpoint for DatagramEndpoint {
    type Sender = Sender;
    type Receiver = Receiver;

    fn create_connection(&mut self, info: &ConnectionInfo) -> (Sender, Receiver) {
        let datagrams = Arc::new(Datagrams {
            max_out: self.max_out,
            max_in: self.max_in,
            max_frame: info.max_datagram_payload,
            has_some: AtomicBool::new(false),
            queues: Mutex::default(),
            connection: info.waker.clone(),
            signals: OnceLock::new(),
        });
        (Sender(datagrams.clone()), Receiver(datagrams))
    }

    fn max_datagram_frame_size(&self, _: &PreConnectionInfo) -> u64 {
        MAX_FRAME
    }
}

/// One connection's datagrams.
#[derive(Debug)]
pub(crate) struct Datagrams {
    max_out: usize,
    max_in: usize,
    /// The largest frame that the peer takes; 0 if it takes none.
    max_frame: u64,
    /// Some are on their way out.
    has_some: AtomicBool,
    queues: Mutex<Queues>,
    /// Makes s2n-quic look whether there is something to send.
    connection: Waker,
    /// Whom to tell, as soon as that is known.
    signals: OnceLock<Arc<Signals>>,
}

#[derive(Debug, Default)]
struct Queues {
    out: Queue,
    came: Queue,
    /// Somebody waits for room to send.
    is_waiting: bool,
}

#[derive(Debug, Default)]
struct Queue {
    datagrams: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, datagram: Bytes) {
        self.bytes = self.bytes.saturating_add(cost(&datagram));
        self.datagrams.push_back(datagram);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.datagrams.pop_front()?;
        self.bytes = self.bytes.saturating_sub(cost(&datagram));
        Some(datagram)
    }
}

/// What a datagram counts for: an empty one takes memory too.
fn cost(datagram: &Bytes) -> usize {
    datagram.len().saturating_add(size_of::<Bytes>())
}

impl Datagrams {
    /// From now on `signals` is told when datagrams have come and when there is room for more.
    pub(crate) fn set_signals(&self, signals: Arc<Signals>) {
        let _ = self.signals.set(signals);
    }

    /// The largest frame that the peer takes, in bytes.
    pub(crate) fn max_frame(&self) -> u64 {
        self.max_frame
    }

    /// Whether there was room.
    pub(crate) fn send(&self, datagram: Bytes) -> bool {
        let mut queues = self.lock();
        let is_first = queues.out.datagrams.is_empty();
        // A single one always has room.
        if !is_first && queues.out.bytes.saturating_add(cost(&datagram)) > self.max_out {
            queues.is_waiting = true;
            return false;
        }
        queues.out.push(datagram);
        self.has_some.store(true, Ordering::Release);
        drop(queues);
        if is_first {
            self.connection.wake_by_ref();
        }
        true
    }

    pub(crate) fn recv(&self) -> Option<Bytes> {
        self.lock().came.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// s2n-quic's end of what goes out.
#[derive(Debug)]
pub(crate) struct Sender(pub(crate) Arc<Datagrams>);

impl s2n_quic::provider::datagram::Sender for Sender {
    fn on_transmit<P: Packet>(&mut self, packet: &mut P) {
        let mut queues = self.0.lock();
        let mut is_first = true;
        while let Some(datagram) = queues.out.datagrams.front() {
            match packet.write_datagram(datagram) {
                Ok(()) => {}
                // It fits into a packet of its own, which will be.
                Err(WriteError::ExceedsPacketCapacity)
                    if !is_first || !packet.datagrams_prioritized() =>
                {
                    break;
                }
                // It did when it was queued: the path takes less since.
                Err(error) => debug!(?error, len = datagram.len(), "datagram dropped"),
            }
            is_first = false;
            queues.out.pop();
        }
        self.0.has_some.store(!queues.out.datagrams.is_empty(), Ordering::Release);
        let has_room = queues.is_waiting && queues.out.bytes <= self.0.max_out / 2;
        queues.is_waiting &= !has_room;
        drop(queues);
        if has_room && let Some(signals) = self.0.signals.get() {
            signals.tell(|news| news.datagrams_writable = true);
        }
    }

    fn has_transmission_interest(&self) -> bool {
        self.0.has_some.load(Ordering::Acquire)
    }

    fn on_connection_error(&mut self, _: Error) {}
}

/// s2n-quic's end of what comes in.
#[derive(Debug)]
pub(crate) struct Receiver(Arc<Datagrams>);

impl s2n_quic::provider::datagram::Receiver for Receiver {
    fn on_datagram(&mut self, _: &ReceiveContext<'_>, datagram: &[u8]) {
        let mut queues = self.0.lock();
        queues.came.push(Bytes::copy_from_slice(datagram));
        while queues.came.bytes > self.0.max_in && queues.came.datagrams.len() > 1 {
            queues.came.pop();
        }
        drop(queues);
        if let Some(signals) = self.0.signals.get() {
            signals.tell(|news| news.datagrams = true);
        }
    }

    fn on_connection_error(&mut self, _: Error) {}
}
