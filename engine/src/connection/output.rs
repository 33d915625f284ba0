//! What is polled from a connection.

use bytes::Bytes;

use super::MoqtConnection;
use crate::action::Action;
use crate::event::{DropReason, Event};
use crate::key::StreamKey;
use crate::stream::{QueuedDatagram, SendClass, SenderKey, Turn};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::trace::TraceEvent;

impl MoqtConnection {
    /// The next thing for the transport to do. Drain this before
    /// [`poll_send`](Self::poll_send): data comes on streams that are opened here.
    #[must_use = "an action is given once"]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.streams.pop_action()
    }

    /// The next thing that happened.
    #[must_use = "an event is given once"]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next thing that was written or read, if [`Config::trace`](crate::Config::trace) is
    /// on. It happened in a call since this was drained last: drain it after every call, and
    /// the time of that call is the event's. Those of a session that is over can still be
    /// polled.
    pub fn poll_trace(&mut self) -> Option<TraceEvent> {
        self.trace.pop()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, and what for.
    pub fn poll_timeout(&self) -> Option<(Timestamp, Timer)> {
        let timer = self.timers.next();
        let delivery = self.streams.deadlines.next().map(|at| (at, Timer::Delivery));
        let end = self.streams.next_end().map(|(at, stream)| (at, Timer::StreamEnd(stream)));
        [timer, delivery, end].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The most urgent thing to send. Ask only while the transport has room: what it has taken
    /// can be neither reordered nor taken back.
    #[inline]
    pub fn poll_send(&mut self, now: Timestamp) -> Option<Transmit<'_>> {
        if self.streams.deadlines.is_due(now) {
            self.expire_deliveries(now);
        }
        loop {
            match self.streams.next_turn()? {
                Turn::Stream(stream) => {
                    return Some(Transmit::Stream(StreamSend::new(self, stream, now)));
                }
                Turn::Datagram(sender) => {
                    if !self.expire_datagram(now, sender) {
                        return Some(Transmit::Datagram(DatagramSend { connection: self, sender }));
                    }
                }
            }
        }
    }

    /// Takes the datagram whose turn it is.
    pub(super) fn take_datagram(&mut self, sender: SenderKey) -> Option<QueuedDatagram> {
        let datagram = self.streams.schedule.pop_datagram(sender)?;
        self.streams.data_queued = self.streams.data_queued.saturating_sub(datagram.charge());
        self.wake_writers(sender);
        self.end_publishing_if_done(datagram.request);
        Some(datagram)
    }

    /// Drops the datagram whose turn it is. Whether there was one.
    pub(super) fn drop_datagram(&mut self, sender: SenderKey, reason: DropReason) -> bool {
        let request = self.streams.schedule.sender(sender).and_then(|sender| sender.request);
        let is_told = !request.is_some_and(|key| self.is_told_over(key));
        let Some(datagram) = self.take_datagram(sender) else { return false };
        let (request, header) = (datagram.request, datagram.header);
        self.count_sent(request, |sent| sent.datagrams_dropped.count(reason));
        if is_told {
            let request = Some(request);
            self.events.push_back(Event::DatagramDropped { request, header, reason });
        }
        true
    }

    /// The transport took `bytes` of a stream, of `offered` and its end if that was among them.
    fn sent_on_stream(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
        offered: Offered,
        bytes: usize,
    ) {
        let all = bytes >= offered.bytes;
        let Some(sent) = self.streams.sent(stream, bytes.min(offered.bytes), all, offered.fin)
        else {
            return;
        };
        let SendClass::Data(key, _) = sent.class else {
            if sent.is_finished {
                self.await_stream_end(now, stream);
            }
            return;
        };
        let Some(sender) = self.streams.schedule.sender_mut(key) else { return };
        let request = sender.request;
        if sender.blocked {
            // Whoever was told to wait while this stream was parked can have its turn now.
            sender.wants_turn |= sent.is_drained;
            self.wake_writer(key);
        }
        self.wake_session_writers();
        if sent.is_finished
            && let Some(request) = request
        {
            self.data_stream_closed(request, stream);
        }
    }

    /// Tells those that were blocked and are not any more: this sender, and those that wait
    /// for the session to have room.
    pub(super) fn wake_writers(&mut self, sender: SenderKey) {
        self.wake_writer(sender);
        self.wake_session_writers();
    }

    /// The session may have room again: tells those that wait for it.
    pub(super) fn wake_session_writers(&mut self) {
        if self.streams.schedule.has_session_blocked()
            && self.streams.data_queued <= self.config.limits.session_send / 2
        {
            for sender in self.streams.schedule.take_session_blocked() {
                self.wake_writer(sender);
            }
        }
    }

    /// Tells a sender that was blocked, if there is room for it in its own queue and in the
    /// session's, or if all it has queued waits for the peer to read. If only the session's
    /// lacks, it waits for that from now on.
    fn wake_writer(&mut self, key: SenderKey) {
        let limits = &self.config.limits;
        let in_session = self.streams.data_queued;
        let Some(sender) = self.streams.schedule.sender_mut(key) else { return };
        let has_turn = sender.wants_turn && sender.is_all_parked();
        let session_has_room =
            in_session <= limits.session_send / 2 || (has_turn && in_session < limits.session_send);
        if !sender.blocked || (sender.queued > limits.subscription_send / 2 && !has_turn) {
            return;
        }
        if !session_has_room {
            return self.streams.schedule.note_session_blocked(key);
        }
        sender.blocked = false;
        sender.wants_turn = false;
        if let Some(request) = sender.request.filter(|key| !self.is_told_over(*key)) {
            self.events.push_back(Event::Writable { request });
        }
    }
}

/// The most urgent thing to send, from [`MoqtConnection::poll_send`].
#[derive(Debug)]
#[must_use = "tell what the transport did with it"]
pub enum Transmit<'a> {
    /// Bytes of a stream.
    Stream(StreamSend<'a>),
    /// A datagram.
    Datagram(DatagramSend<'a>),
}

/// Bytes of a stream, to be written in order.
#[derive(Debug)]
#[must_use = "tell what the transport did with it"]
pub struct StreamSend<'a> {
    connection: &'a mut MoqtConnection,
    stream: StreamKey,
    now: Timestamp,
    /// Known once it was asked for.
    offered: Option<Offered>,
}

/// How much of a stream the transport was offered, and whether its end is part of that.
#[derive(Clone, Copy, Debug)]
struct Offered {
    bytes: usize,
    fin: bool,
}

impl Offered {
    fn new(chunks: &[Bytes], fin: bool) -> Self {
        Self { bytes: chunks.iter().map(Bytes::len).sum(), fin }
    }
}

impl<'a> StreamSend<'a> {
    fn new(connection: &'a mut MoqtConnection, stream: StreamKey, now: Timestamp) -> Self {
        Self { connection, stream, now, offered: None }
    }

    /// The stream.
    pub fn stream(&self) -> StreamKey {
        self.stream
    }

    /// The bytes, and whether the stream ends with them. There may be none if it does.
    pub fn offer(&mut self) -> (&[Bytes], bool) {
        let (chunks, fin) = self.connection.streams.offer(self.stream);
        self.offered = Some(Offered::new(chunks, fin));
        (chunks, fin)
    }

    /// The transport took this many bytes. If that is all, it took the end of the stream, too;
    /// if not, the stream rests until
    /// [`handle_writable`](MoqtConnection::handle_writable).
    pub fn written(self, bytes: usize) {
        let Self { connection, stream, now, offered } = self;
        let offered = offered.unwrap_or_else(|| {
            let (chunks, fin) = connection.streams.offer(stream);
            Offered::new(chunks, fin)
        });
        connection.sent_on_stream(now, stream, offered, bytes);
    }
}

/// A datagram to be sent.
#[derive(Debug)]
#[must_use = "tell what the transport did with it"]
pub struct DatagramSend<'a> {
    connection: &'a mut MoqtConnection,
    sender: SenderKey,
}

impl DatagramSend<'_> {
    /// The datagram's two parts, to be sent as one.
    pub fn parts(&self) -> [&[u8]; 2] {
        match self.connection.streams.schedule.peek_datagram(self.sender) {
            Some(datagram) => [&datagram.encoded_header, &datagram.payload],
            None => [&[], &[]],
        }
    }

    /// The transport took it.
    pub fn sent(self) {
        let Self { connection, sender } = self;
        if let Some(datagram) = connection.take_datagram(sender) {
            let bytes = datagram.payload.len() as u64;
            connection.count_sent(datagram.request, |sent| {
                sent.datagrams += 1;
                sent.datagram_bytes += bytes;
            });
        }
    }

    /// The transport does not take datagrams as large as this one.
    pub fn too_large(self) {
        let Self { connection, sender } = self;
        connection.drop_datagram(sender, DropReason::TooLarge);
    }

    /// The transport takes no datagrams for now;
    /// [`handle_datagrams_writable`](MoqtConnection::handle_datagrams_writable) will say when.
    pub fn blocked(self) {
        self.connection.streams.schedule.block_datagrams();
    }
}
