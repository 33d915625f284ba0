use alloc::collections::{BTreeSet, VecDeque};

use bytes::{BufMut, Bytes};

use super::{
    Deadlines, PeerEnd, RecvHalf, RecvKind, Schedule, SendClass, SendHalf, SubgroupSend, Turn,
};
use crate::action::Action;
use crate::config::Dir;
use crate::key::{RequestKey, StreamKey, Table};
use crate::time::Timestamp;
use crate::trace::Tracer;

/// A stream; it is forgotten when neither side is left.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) send: Option<SendHalf>,
    pub(crate) recv: Option<RecvHalf>,
    /// The request whose own stream it is.
    pub(crate) request: Option<RequestKey>,
}

/// All streams, what is asked of the transport about them, and who sends next.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    table: Table<StreamKey, Stream>,
    pub(crate) schedule: Schedule,
    pub(crate) deadlines: Deadlines,
    actions: VecDeque<Action>,
    /// Per direction, how many streams were opened and how many may be.
    bi: Credit,
    uni: Credit,
    /// Unread bytes of data streams.
    pub(crate) data_received: usize,
    /// Bytes queued on data streams and in datagrams.
    pub(crate) data_queued: usize,
    /// Bytes queued on control and request streams.
    pub(crate) control_queued: usize,
    /// Streams whose window is closed because the session's is.
    pub(crate) window_waiters: VecDeque<StreamKey>,
    /// Streams that the peer has to end, and by when.
    ends: BTreeSet<(Timestamp, StreamKey)>,
}

/// What was taken of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) class: SendClass,
    /// Nothing is left in its queue.
    pub(crate) is_drained: bool,
    /// It is finished.
    pub(crate) is_finished: bool,
}

#[derive(Debug, Default)]
struct Credit {
    opened: u64,
    allowed: u64,
}

impl Streams {
    /// No streams. At most `watch_limit` will be watched after their end.
    pub(crate) fn new(watch_limit: usize) -> Self {
        Self { deadlines: Deadlines::new(watch_limit), ..Self::default() }
    }

    pub(crate) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.table.get(key)
    }

    pub(crate) fn recv_mut(&mut self, key: StreamKey) -> Option<&mut RecvHalf> {
        self.table.get_mut(key)?.recv.as_mut()
    }

    /// A stream's receiving side, and the count of unread bytes that it is part of.
    #[inline]
    pub(crate) fn receiving(&mut self, key: StreamKey) -> Option<(&mut RecvHalf, &mut usize)> {
        Some((self.table.get_mut(key)?.recv.as_mut()?, &mut self.data_received))
    }

    pub(crate) fn send_mut(&mut self, key: StreamKey) -> Option<&mut SendHalf> {
        self.table.get_mut(key)?.send.as_mut()
    }

    /// The stream belongs to this request alone.
    pub(crate) fn assign(&mut self, key: StreamKey, request: RequestKey) {
        if let Some(stream) = self.table.get_mut(key) {
            stream.request = Some(request);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn push_action(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn pop_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn credit(&mut self, dir: Dir) -> &mut Credit {
        match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        }
    }

    /// Whether there was no stream to be had before and there is now.
    pub(crate) fn allow(&mut self, dir: Dir, now_allowed: u64) -> bool {
        let credit = self.credit(dir);
        let was_blocked = credit.opened >= credit.allowed;
        credit.allowed = credit.allowed.max(now_allowed);
        was_blocked && credit.opened < credit.allowed
    }

    pub(crate) fn can_open(&self, dir: Dir) -> bool {
        let credit = match dir {
            Dir::Bi => &self.bi,
            Dir::Uni => &self.uni,
        };
        credit.opened < credit.allowed
    }

    /// Opens a stream if there is one to be had.
    pub(crate) fn open(
        &mut self,
        dir: Dir,
        class: SendClass,
        recv: Option<RecvKind>,
    ) -> Option<StreamKey> {
        if !self.can_open(dir) {
            return None;
        }
        self.credit(dir).opened += 1;
        let stream = self.table.insert(Stream {
            send: Some(SendHalf::new(class)),
            recv: recv.map(RecvHalf::new),
            request: None,
        });
        self.push_action(Action::OpenStream { stream, dir });
        Some(stream)
    }

    /// The peer opened a stream.
    pub(crate) fn accept(&mut self, dir: Dir) -> StreamKey {
        let send = match dir {
            Dir::Bi => Some(SendHalf::new(SendClass::Request)),
            Dir::Uni => None,
        };
        let recv = Some(RecvHalf::new(RecvKind::Unidentified));
        self.table.insert(Stream { send, recv, request: None })
    }

    /// Queues bytes of control messages.
    pub(crate) fn send_control(&mut self, key: StreamKey, bytes: &[u8], trace: &mut Tracer) {
        let Some(half) = self.send_mut(key) else { return };
        trace.messages_created(key, bytes);
        half.queue.block(bytes.len()).put_slice(bytes);
        half.queue.grew(bytes.len());
        self.control_queued += bytes.len();
        self.schedule(key);
    }

    /// Nothing follows what is queued.
    pub(crate) fn finish(&mut self, key: StreamKey) {
        let Some(half) = self.send_mut(key) else { return };
        half.queue.fin = true;
        self.schedule(key);
    }

    /// Puts a stream that has something to send among those that wait.
    #[inline]
    pub(crate) fn schedule(&mut self, key: StreamKey) {
        let Some(half) = self.table.get_mut(key).and_then(|stream| stream.send.as_mut()) else {
            return;
        };
        if half.is_to_be_scheduled() {
            half.scheduled = true;
            self.schedule.push_stream(key, half.class);
        }
    }

    /// Accounts for bytes queued on a data stream.
    #[inline]
    pub(crate) fn queued(&mut self, key: StreamKey, bytes: usize) {
        self.data_queued += bytes;
        let Some(half) = self.table.get_mut(key).and_then(|stream| stream.send.as_mut()) else {
            return;
        };
        if let SendClass::Data(sender, _) = half.class
            && let Some(sender) = self.schedule.sender_mut(sender)
        {
            sender.queued += bytes;
            if half.parked {
                sender.parked += bytes;
            }
        }
        if half.is_to_be_scheduled() {
            half.scheduled = true;
            self.schedule.push_stream(key, half.class);
        }
    }

    /// Takes back what [`queued`](Self::queued) and its like accounted for.
    fn unqueued(&mut self, class: SendClass, bytes: usize) {
        match class {
            SendClass::Control | SendClass::Request => {
                self.control_queued = self.control_queued.saturating_sub(bytes);
            }
            SendClass::Data(sender, _) => {
                self.data_queued = self.data_queued.saturating_sub(bytes);
                if let Some(sender) = self.schedule.sender_mut(sender) {
                    sender.queued = sender.queued.saturating_sub(bytes);
                }
            }
        }
    }

    /// A stream with this many bytes is not parked any more.
    fn unparked(&mut self, class: SendClass, bytes: usize) {
        if let SendClass::Data(sender, _) = class
            && let Some(sender) = self.schedule.sender_mut(sender)
        {
            sender.parked = sender.parked.saturating_sub(bytes);
        }
    }

    /// Resets the sending side, if there is one left.
    pub(crate) fn reset(&mut self, key: StreamKey, code: u64) -> bool {
        let Some(half) = self.table.get_mut(key).and_then(|stream| stream.send.take()) else {
            return false;
        };
        if half.parked {
            self.unparked(half.class, half.queue.len());
        }
        self.unqueued(half.class, half.queue.len());
        self.clock_stopped(key, &half);
        self.push_action(Action::ResetStream { stream: key, code });
        self.forget_if_over(key);
        true
    }

    /// Asks the peer to stop sending, if it still does, and drops what is unread.
    pub(crate) fn stop(&mut self, key: StreamKey, code: u64) {
        let Some(half) = self.recv_mut(key) else { return };
        let over = half.fin || half.reset.is_some();
        self.drop_recv(key);
        if !over {
            self.push_action(Action::StopSending { stream: key, code });
        }
    }

    /// The request of a stream is over. Leaves it to the peer to end its side: messages that
    /// still come in are read, since they may say something beside their request.
    pub(crate) fn leave_request(&mut self, key: StreamKey) {
        match self.recv_mut(key).map(|half| &mut half.kind) {
            Some(RecvKind::Request(messages)) => messages.is_over = true,
            _ => self.ignore(key),
        }
    }

    /// Leaves it to the peer to end its side; what still comes in is dropped.
    pub(crate) fn ignore(&mut self, key: StreamKey) {
        let Some(half) = self.recv_mut(key) else { return };
        if half.fin || half.reset.is_some() {
            return self.drop_recv(key);
        }
        half.kind = RecvKind::Discard;
        half.buffer.clear();
    }

    /// Nothing more will be read from the stream.
    pub(crate) fn drop_recv(&mut self, key: StreamKey) {
        let Some(half) = self.table.get_mut(key).and_then(|stream| stream.recv.take()) else {
            return;
        };
        if half.is_data() {
            self.data_received = self.data_received.saturating_sub(half.buffer.len());
        }
        if let PeerEnd::By(deadline) = half.peer_end {
            self.ends.remove(&(deadline, key));
        }
        self.forget_if_over(key);
    }

    /// The peer has to end its side by then, if it has not.
    pub(crate) fn await_end(&mut self, key: StreamKey, deadline: Timestamp) {
        let Some(half) = self.recv_mut(key) else { return };
        if half.peer_end == PeerEnd::Open {
            half.peer_end = PeerEnd::By(deadline);
            self.ends.insert((deadline, key));
        }
    }

    /// The next stream that the peer has to end, and by when.
    pub(crate) fn next_end(&self) -> Option<(Timestamp, StreamKey)> {
        self.ends.first().copied()
    }

    /// Takes the next stream that the peer should have ended by `now`.
    pub(crate) fn pop_end(&mut self, now: Timestamp) -> Option<StreamKey> {
        let (deadline, _) = self.next_end()?;
        if deadline > now {
            return None;
        }
        let (_, key) = self.ends.pop_first()?;
        if let Some(half) = self.recv_mut(key) {
            half.peer_end = PeerEnd::Overdue;
        }
        Some(key)
    }

    fn forget_if_over(&mut self, key: StreamKey) {
        let over = |stream: &Stream| stream.send.is_none() && stream.recv.is_none();
        if self.table.get(key).is_some_and(over) {
            self.table.remove(key);
        }
    }

    /// Whose turn it is to send.
    #[inline]
    pub(crate) fn next_turn(&mut self) -> Option<Turn> {
        let table = &self.table;
        self.schedule.next(|key| {
            table
                .get(key)
                .and_then(|stream| stream.send.as_ref())
                .is_some_and(|half| half.scheduled)
        })
    }

    /// What the stream whose turn it is has to send, and whether it ends with that.
    #[inline]
    pub(crate) fn offer(&mut self, key: StreamKey) -> (&[Bytes], bool) {
        match self.send_mut(key) {
            Some(half) => half.queue.offer(),
            None => (&[], false),
        }
    }

    /// The transport took `sent` bytes of the stream whose turn it was; `all` if that is
    /// everything it was offered.
    pub(crate) fn sent(
        &mut self,
        key: StreamKey,
        sent: usize,
        all: bool,
        fin: bool,
    ) -> Option<Sent> {
        let half = self.table.get_mut(key)?.send.as_mut()?;
        let class = half.class;
        half.queue.advance(sent);
        if let Some(SubgroupSend { clock: Some(clock), .. }) = &mut half.subgroup {
            clock.sent(sent);
        }
        let left = half.queue.len();
        let is_finished = all && fin;
        let more = half.queue.has_something() && !is_finished;
        if all && more {
            self.schedule.yield_turn(class);
        } else {
            half.scheduled = false;
            half.parked = !all;
            self.schedule.pop_stream(class);
            if !all
                && let SendClass::Data(sender, _) = class
                && let Some(sender) = self.schedule.sender_mut(sender)
            {
                sender.parked += left;
            }
        }
        self.unqueued(class, sent);
        if is_finished
            && let Some(half) = self.table.get_mut(key).and_then(|stream| stream.send.take())
        {
            self.clock_stopped(key, &half);
            self.watch(key, &half);
            self.forget_if_over(key);
        }
        Some(Sent { class, is_drained: left == 0, is_finished })
    }

    /// A parked stream can be written to again.
    pub(crate) fn unpark(&mut self, key: StreamKey) {
        let Some(half) = self.send_mut(key) else { return };
        if core::mem::take(&mut half.parked) {
            let (class, len) = (half.class, half.queue.len());
            self.unparked(class, len);
        }
        self.schedule(key);
    }

    /// Everything is over.
    pub(crate) fn clear(&mut self) {
        *self = Self { actions: core::mem::take(&mut self.actions), ..Self::default() };
    }
}
