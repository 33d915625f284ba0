use alloc::boxed::Box;
use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use bytes::Bytes;
use smallvec::SmallVec;
use thunderdome::Index;

use super::Aging;
use crate::key::{RequestKey, StreamKey, Table};
use crate::model::GroupOrder;
use crate::time::Timestamp;
use crate::wire::DatagramHeader;

/// Urgencies kept in the list though nobody waits at them, so that a sender that comes and
/// goes does not allocate each time, or take its place anew if it is the only one.
const IDLE_LEVELS: usize = 8;

/// Where a stream stands among those that wait to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendClass {
    /// The control stream: before everything.
    Control,
    /// A request's own stream: before all data.
    Request,
    /// A subgroup.
    Data(SenderKey, DataPosition),
}

impl SendClass {
    /// The same for another Subgroup ID.
    pub(crate) fn within(self, within: u64) -> Self {
        match self {
            Self::Data(sender, position) => Self::Data(sender, DataPosition { within, ..position }),
            other => other,
        }
    }
}

/// Where data stands among that of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataPosition {
    pub(crate) publisher_priority: u8,
    pub(crate) group: u64,
    /// Subgroup ID, or for a datagram Object ID.
    pub(crate) within: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SenderKey(Index);

impl From<Index> for SenderKey {
    fn from(index: Index) -> Self {
        Self(index)
    }
}

impl From<SenderKey> for Index {
    fn from(key: SenderKey) -> Self {
        key.0
    }
}

/// A datagram on its way out.
#[derive(Debug)]
pub(crate) struct QueuedDatagram {
    pub(crate) request: RequestKey,
    pub(crate) header: DatagramHeader,
    pub(crate) encoded_header: Bytes,
    pub(crate) payload: Bytes,
    /// When it was given, if that matters and is known.
    pub(crate) begun: Option<Timestamp>,
}

/// What a datagram takes besides its bytes, wherever it waits.
const SMALLEST_CHARGE: usize = 768;

impl QueuedDatagram {
    /// What it counts for in a queue, even if it holds next to nothing.
    pub(crate) fn charge(&self) -> usize {
        (self.encoded_header.len() + self.payload.len()).max(SMALLEST_CHARGE)
    }
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Stream(StreamKey),
    Datagram(SenderKey),
}

/// One subscription's data that waits to be sent.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Whose data it is, once that has a key.
    pub(crate) request: Option<RequestKey>,
    priority: u8,
    order: GroupOrder,
    ready: BinaryHeap<Reverse<Ready>>,
    /// Publisher priorities at which it is in a level's list.
    listed: SmallVec<[u8; 4]>,
    /// Bytes queued on all its streams and in datagrams.
    pub(crate) queued: usize,
    /// Those of them on streams that the transport takes nothing of for now.
    pub(crate) parked: usize,
    /// The application was told to wait.
    pub(crate) blocked: bool,
    /// And that with something for a stream that the transport would take from.
    pub(crate) wants_turn: bool,
    /// If it has a delivery timeout, how old what it has queued is.
    pub(crate) aging: Option<Box<Aging>>,
}

impl Sender {
    /// It has a delivery timeout, or had one.
    pub(crate) fn ages(&self) -> bool {
        self.aging.is_some()
    }

    /// Where its items of this publisher priority stand among all.
    fn urgency(&self, publisher_priority: u8) -> u16 {
        u16::from_be_bytes([self.priority, publisher_priority])
    }

    /// Its most urgent item is of this publisher priority.
    #[inline]
    fn waits_at(&self, publisher_priority: u8) -> bool {
        self.ready.peek().is_some_and(|first| first.0.publisher_priority == publisher_priority)
    }

    /// It is in the list that its most urgent item belongs to, if it has one.
    #[inline]
    fn is_listed(&self) -> bool {
        match self.ready.peek() {
            Some(Reverse(first)) => self.listed.contains(&first.publisher_priority),
            None => true,
        }
    }

    /// Nothing is queued that the transport would take now.
    pub(crate) fn is_all_parked(&self) -> bool {
        self.queued == self.parked
    }
}

/// Ordered as the scheduling algorithm says (draft-18, "Scheduling Algorithm").
#[derive(Debug)]
struct Ready {
    publisher_priority: u8,
    /// Inverted for a descending group order.
    group: u64,
    within: u64,
    sequence: u64,
    item: Item,
}

#[derive(Debug)]
enum Item {
    Stream(StreamKey),
    Datagram(Box<QueuedDatagram>),
}

impl Ready {
    fn rank(&self) -> (u8, u64, u64, u64) {
        (self.publisher_priority, self.group, self.within, self.sequence)
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ready {}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// Decides what is sent next: control, then requests, then by subscriber priority, publisher
/// priority, and in turns among subscriptions; within one by group order and subgroup.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    control: VecDeque<StreamKey>,
    requests: VecDeque<StreamKey>,
    senders: Table<SenderKey, Sender>,
    /// Senders by subscriber and publisher priority, most urgent first.
    levels: Vec<Level>,
    /// Datagrams found at the front while the transport took none.
    parked_datagrams: VecDeque<(SenderKey, Ready)>,
    datagrams_blocked: bool,
    /// Senders blocked by the session's limit, in the order they were.
    session_blocked: VecDeque<SenderKey>,
    sequence: u64,
}

#[derive(Debug)]
struct Level {
    urgency: u16,
    senders: VecDeque<SenderKey>,
}

impl Schedule {
    pub(crate) fn add_sender(&mut self, priority: u8, order: GroupOrder) -> SenderKey {
        self.senders.insert(Sender {
            request: None,
            priority,
            order,
            ready: BinaryHeap::new(),
            listed: SmallVec::new(),
            queued: 0,
            parked: 0,
            blocked: false,
            wants_turn: false,
            aging: None,
        })
    }

    /// Forgets a sender and its datagrams. Its streams must have been closed.
    pub(crate) fn remove_sender(&mut self, key: SenderKey) -> Option<Sender> {
        self.parked_datagrams.retain(|(sender, _)| *sender != key);
        self.session_blocked.retain(|sender| *sender != key);
        self.senders.remove(key)
    }

    pub(crate) fn sender(&self, key: SenderKey) -> Option<&Sender> {
        self.senders.get(key)
    }

    pub(crate) fn sender_mut(&mut self, key: SenderKey) -> Option<&mut Sender> {
        self.senders.get_mut(key)
    }

    pub(crate) fn aging_mut(&mut self, key: SenderKey) -> Option<&mut Aging> {
        self.senders.get_mut(key)?.aging.as_deref_mut()
    }

    /// A sender waits for room in the session's queue.
    pub(crate) fn note_session_blocked(&mut self, key: SenderKey) {
        if !self.session_blocked.contains(&key) {
            self.session_blocked.push_back(key);
        }
    }

    /// Whether some wait for room in the session's queue.
    #[inline]
    pub(crate) fn has_session_blocked(&self) -> bool {
        !self.session_blocked.is_empty()
    }

    /// The senders that waited for room in the session's queue, now that there is some.
    pub(crate) fn take_session_blocked(&mut self) -> VecDeque<SenderKey> {
        core::mem::take(&mut self.session_blocked)
    }

    /// Applies a new subscriber priority to what waits, too.
    pub(crate) fn set_priority(&mut self, key: SenderKey, priority: u8) {
        let Some(sender) = self.senders.get_mut(key) else { return };
        if sender.priority == priority {
            return;
        }
        sender.priority = priority;
        sender.listed.clear();
        for level in &mut self.levels {
            level.senders.retain(|other| *other != key);
        }
        self.list(key);
    }

    /// Applies another group order, to what waits, too.
    pub(crate) fn set_order(&mut self, key: SenderKey, order: GroupOrder) {
        let Some(sender) = self.senders.get_mut(key) else { return };
        if sender.order == order {
            return;
        }
        sender.order = order;
        // One order is the other with groups inverted.
        let waiting = core::mem::take(&mut sender.ready).into_vec();
        sender.ready = waiting
            .into_iter()
            .map(|Reverse(ready)| Reverse(Ready { group: !ready.group, ..ready }))
            .collect();
        for (_, ready) in self.parked_datagrams.iter_mut().filter(|(sender, _)| *sender == key) {
            ready.group = !ready.group;
        }
    }

    /// Puts a stream that has something to send into its place.
    #[inline]
    pub(crate) fn push_stream(&mut self, stream: StreamKey, class: SendClass) {
        match class {
            SendClass::Control => self.control.push_back(stream),
            SendClass::Request => self.requests.push_back(stream),
            SendClass::Data(sender, position) => {
                self.push(sender, position, Item::Stream(stream));
            }
        }
    }

    pub(crate) fn push_datagram(
        &mut self,
        key: SenderKey,
        position: DataPosition,
        datagram: QueuedDatagram,
    ) {
        if let Some(sender) = self.senders.get_mut(key) {
            sender.queued += datagram.charge();
        }
        self.push_counted_datagram(key, position, datagram);
    }

    /// Like [`push_datagram`](Self::push_datagram) for one that is counted already.
    pub(crate) fn push_counted_datagram(
        &mut self,
        key: SenderKey,
        position: DataPosition,
        datagram: QueuedDatagram,
    ) {
        self.push(key, position, Item::Datagram(Box::new(datagram)));
    }

    fn push(&mut self, key: SenderKey, position: DataPosition, item: Item) {
        let Some(sender) = self.senders.get_mut(key) else { return };
        self.sequence += 1;
        sender.ready.push(Reverse(Ready {
            publisher_priority: position.publisher_priority,
            group: match sender.order {
                GroupOrder::Ascending => position.group,
                GroupOrder::Descending => !position.group,
            },
            within: position.within,
            sequence: self.sequence,
            item,
        }));
        if !sender.is_listed() {
            self.list(key);
        }
    }

    /// Sees to it that the sender is in the list that its most urgent item belongs to.
    fn list(&mut self, key: SenderKey) {
        let Some(sender) = self.senders.get_mut(key) else { return };
        let Some(Reverse(first)) = sender.ready.peek() else { return };
        let publisher_priority = first.publisher_priority;
        if sender.listed.contains(&publisher_priority) {
            return;
        }
        sender.listed.push(publisher_priority);
        let urgency = sender.urgency(publisher_priority);
        match self.level(urgency) {
            Ok(at) => {
                self.unlist_idle(at);
                if let Some(level) = self.levels.get_mut(at) {
                    level.senders.push_back(key);
                }
            }
            Err(at) => {
                let senders = VecDeque::from([key]);
                self.levels.insert(at, Level { urgency, senders });
            }
        }
    }

    /// Where the level of this urgency is, or would be.
    #[inline]
    fn level(&self, urgency: u16) -> Result<usize, usize> {
        self.levels.binary_search_by_key(&urgency, |level| level.urgency)
    }

    /// A sender that has a level to itself may stay in it while it has nothing to send. When
    /// another comes, it has to line up again.
    fn unlist_idle(&mut self, at: usize) {
        let Some(level) = self.levels.get_mut(at) else { return };
        if level.senders.len() != 1 {
            return;
        }
        let [_, publisher_priority] = level.urgency.to_be_bytes();
        let Some(sender) = level.senders.front().and_then(|key| self.senders.get_mut(*key)) else {
            return;
        };
        if !sender.waits_at(publisher_priority) {
            level.senders.clear();
            sender.listed.retain(|listed| *listed != publisher_priority);
        }
    }

    /// Who is next, and stays next until told otherwise. `is_live` says whether a stream
    /// still waits to be sent; entries of others are dropped on the way.
    #[inline]
    pub(crate) fn next(&mut self, is_live: impl Fn(StreamKey) -> bool) -> Option<Turn> {
        for queue in [&mut self.control, &mut self.requests] {
            while let Some(&stream) = queue.front() {
                if is_live(stream) {
                    return Some(Turn::Stream(stream));
                }
                queue.pop_front();
            }
        }
        let mut at = 0;
        loop {
            let is_many = self.levels.len() > IDLE_LEVELS;
            let level = self.levels.get_mut(at)?;
            let Some(&key) = level.senders.front() else {
                if is_many {
                    self.levels.remove(at);
                } else {
                    at += 1;
                }
                continue;
            };
            let may_idle = !is_many && level.senders.len() == 1;
            let [_, publisher_priority] = level.urgency.to_be_bytes();
            let Some(sender) = self.senders.get_mut(key) else {
                level.senders.pop_front();
                continue;
            };
            match sender.ready.peek() {
                Some(Reverse(first)) if first.publisher_priority == publisher_priority => {
                    match first.item {
                        Item::Stream(stream) if is_live(stream) => {
                            return Some(Turn::Stream(stream));
                        }
                        Item::Datagram(_) if !self.datagrams_blocked => {
                            return Some(Turn::Datagram(key));
                        }
                        Item::Datagram(_) => {
                            if let Some(Reverse(ready)) = sender.ready.pop() {
                                self.parked_datagrams.push_back((key, ready));
                            }
                        }
                        Item::Stream(_) => drop(sender.ready.pop()),
                    }
                    self.list(key);
                }
                _ => {
                    // Its most urgent item is listed elsewhere, if it has one.
                    if may_idle {
                        at += 1;
                        continue;
                    }
                    level.senders.pop_front();
                    sender.listed.retain(|listed| *listed != publisher_priority);
                    self.list(key);
                }
            }
        }
    }

    /// The stream that is next has nothing more to send for now.
    pub(crate) fn pop_stream(&mut self, class: SendClass) {
        match class {
            SendClass::Control => drop(self.control.pop_front()),
            SendClass::Request => drop(self.requests.pop_front()),
            SendClass::Data(key, position) => {
                let Some(sender) = self.senders.get_mut(key) else { return };
                sender.ready.pop();
                let urgency = sender.urgency(position.publisher_priority);
                let is_listed = sender.is_listed();
                self.rotate(key, urgency);
                if !is_listed {
                    self.list(key);
                }
            }
        }
    }

    /// The stream that is next has had its turn.
    pub(crate) fn yield_turn(&mut self, class: SendClass) {
        match class {
            SendClass::Control => self.control.rotate_left(1.min(self.control.len())),
            SendClass::Request => self.requests.rotate_left(1.min(self.requests.len())),
            SendClass::Data(key, position) => {
                let Some(sender) = self.senders.get(key) else { return };
                self.rotate(key, sender.urgency(position.publisher_priority));
            }
        }
    }

    /// The sender that was next at this urgency has had its turn.
    fn rotate(&mut self, key: SenderKey, urgency: u16) {
        if let Ok(at) = self.level(urgency)
            && let Some(Level { senders, .. }) = self.levels.get_mut(at)
            && senders.len() > 1
            && senders.front() == Some(&key)
        {
            senders.rotate_left(1);
        }
    }

    /// The datagram that is next.
    pub(crate) fn peek_datagram(&self, key: SenderKey) -> Option<&QueuedDatagram> {
        match &self.senders.get(key)?.ready.peek()?.0.item {
            Item::Datagram(datagram) => Some(datagram),
            Item::Stream(_) => None,
        }
    }

    /// Takes the datagram that is next.
    pub(crate) fn pop_datagram(&mut self, key: SenderKey) -> Option<QueuedDatagram> {
        self.peek_datagram(key)?;
        let sender = self.senders.get_mut(key)?;
        let Reverse(ready) = sender.ready.pop()?;
        let Item::Datagram(datagram) = ready.item else { return None };
        sender.queued = sender.queued.saturating_sub(datagram.charge());
        let urgency = sender.urgency(ready.publisher_priority);
        self.rotate(key, urgency);
        self.list(key);
        Some(*datagram)
    }

    /// The transport takes no datagrams until further notice.
    pub(crate) fn block_datagrams(&mut self) {
        self.datagrams_blocked = true;
    }

    /// It takes them again.
    pub(crate) fn unblock_datagrams(&mut self) {
        self.datagrams_blocked = false;
        for (key, ready) in core::mem::take(&mut self.parked_datagrams) {
            if let Some(sender) = self.senders.get_mut(key) {
                sender.ready.push(Reverse(ready));
                self.list(key);
            }
        }
    }
}
