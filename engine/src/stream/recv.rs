use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::key::RequestKey;
use crate::request::FetchOrder;
use crate::time::Timestamp;
use crate::wire::{ControlReader, FetchReader, SubgroupHeader, SubgroupReader};

/// The receiving side of a stream.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    pub(crate) kind: RecvKind,
    /// What has come in and not been used.
    pub(crate) buffer: RecvBuffer,
    /// The peer finished the stream after what is in the buffer.
    pub(crate) fin: bool,
    /// The peer reset the stream with this code after what is in the buffer.
    pub(crate) reset: Option<u64>,
    /// When a header that has begun must be whole.
    pub(crate) header_deadline: Option<Timestamp>,
    /// When the peer must have ended it.
    pub(crate) peer_end: PeerEnd,
    /// The transport was told not to read, and waits to hear that it may.
    pub(crate) window_closed: bool,
    /// It is among those that wait for the session's window.
    pub(crate) waits_for_session: bool,
}

/// When the peer must have ended its side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum PeerEnd {
    /// Whenever it likes.
    #[default]
    Open,
    /// By then, because this side has ended its own.
    By(Timestamp),
    /// It should have by now.
    Overdue,
}

/// What a stream has turned out to be.
#[derive(Debug)]
pub(crate) enum RecvKind {
    /// Its first bytes are still to come, or to be looked at once the session is set up.
    Unidentified,
    /// The peer's control stream.
    Control(MessageStream),
    /// The stream of a request, of ours or of the peer's.
    Request(MessageStream),
    /// A subgroup of a track that has not been announced.
    AwaitingAlias(SubgroupHeader),
    /// A subgroup of a subscription.
    Subgroup(SubgroupRecv),
    /// The objects of a fetch.
    Fetch(alloc::boxed::Box<FetchRecv>),
    /// Nothing that anybody will read.
    Discard,
}

/// A stream of control messages.
#[derive(Debug)]
pub(crate) struct MessageStream {
    pub(crate) reader: ControlReader,
    /// When a message that has begun must be whole.
    pub(crate) deadline: Option<Timestamp>,
    /// A GOAWAY has come on it.
    pub(crate) goaway_seen: bool,
    /// The request it belongs to is over.
    pub(crate) is_over: bool,
}

impl MessageStream {
    pub(crate) fn new(reader: ControlReader) -> Self {
        Self { reader, deadline: None, goaway_seen: false, is_over: false }
    }
}

/// A subgroup on its way in.
#[derive(Debug)]
pub(crate) struct SubgroupRecv {
    pub(crate) request: RequestKey,
    pub(crate) reader: SubgroupReader,
    /// The first object ID that may not be read in the shortest way: the place's bound, or 0 if
    /// every object is to be traced.
    pub(crate) bound: u64,
    pub(crate) place: SubgroupPlace,
    /// The application has read all there was and waits to be told.
    pub(crate) waiting: bool,
    /// Objects begun to be read, and the bytes of their payload.
    pub(crate) objects: u64,
    pub(crate) payload_bytes: u64,
}

/// Where a subgroup stream is in its track, and what it has said.
#[derive(Debug)]
pub(crate) struct SubgroupPlace {
    pub(crate) group_id: u64,
    /// Known from the first object on, if that is what tells it.
    pub(crate) subgroup_id: Option<u64>,
    pub(crate) publisher_priority: u8,
    pub(crate) end_of_group: bool,
    /// The first object ID that must be looked at before it is given to the application. 0 at
    /// first, so that the first object is.
    pub(crate) bound: u64,
    /// An object has come.
    pub(crate) has_begun: bool,
    /// The last object with a status, and the existing one before it.
    pub(crate) marked: Option<(u64, Option<u64>)>,
}

impl SubgroupRecv {
    /// Sets the first object ID that must be looked at.
    pub(crate) fn set_bound(&mut self, bound: u64, is_traced: bool) {
        self.place.bound = bound;
        self.bound = if is_traced { 0 } else { bound };
    }

    /// The last object so far that exists, so that it has no status that says otherwise.
    pub(crate) fn existing(&self) -> Option<u64> {
        let last = self.reader.previous()?;
        match self.place.marked {
            Some((marked, before)) if marked == last => before,
            _ => Some(last),
        }
    }
}

/// A fetch's objects on their way in.
#[derive(Debug)]
pub(crate) struct FetchRecv {
    pub(crate) request: RequestKey,
    pub(crate) reader: FetchReader,
    pub(crate) order: FetchOrder,
    /// The application has read all there was and waits to be told.
    pub(crate) waiting: bool,
}

impl RecvHalf {
    pub(crate) fn new(kind: RecvKind) -> Self {
        Self {
            kind,
            buffer: RecvBuffer::default(),
            fin: false,
            reset: None,
            header_deadline: None,
            peer_end: PeerEnd::Open,
            window_closed: false,
            waits_for_session: false,
        }
    }

    /// Whether its unread bytes count against the session's data window.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self.kind, RecvKind::Subgroup(_) | RecvKind::AwaitingAlias(_) | RecvKind::Fetch(_))
    }
}

/// Bytes that have come in, in the pieces they came in. A piece keeps all of the buffer alive
/// that it was cut from, so small ones that have to wait behind others are copied: many of
/// them would keep much more alive than they count for.
#[derive(Debug, Default)]
pub(crate) struct RecvBuffer {
    front: Bytes,
    rest: VecDeque<Bytes>,
    /// Small pieces that follow the rest, copied together.
    gathered: Vec<u8>,
    len: usize,
}

/// Pieces shorter than this are gathered if they have to wait.
const GATHER_BELOW: usize = 256;

/// How much is gathered before a new piece begins.
const GATHERED_PIECE: usize = 4096;

impl RecvBuffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if self.front.is_empty() {
            self.front = bytes;
        } else if !bytes.is_empty() {
            self.push_behind(bytes);
        }
    }

    fn push_behind(&mut self, bytes: Bytes) {
        if bytes.len() >= GATHER_BELOW {
            self.end_gathering();
            self.rest.push_back(bytes);
            return;
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= GATHERED_PIECE {
            self.end_gathering();
        }
    }

    fn end_gathering(&mut self) {
        if !self.gathered.is_empty() {
            self.rest.push_back(core::mem::take(&mut self.gathered).into());
        }
    }

    /// The first piece, empty only if there is none.
    #[inline]
    pub(crate) fn front(&self) -> &Bytes {
        &self.front
    }

    /// Drops bytes from the first piece.
    #[inline]
    pub(crate) fn advance(&mut self, len: usize) {
        self.front.advance(len.min(self.front.len()));
        self.len -= len.min(self.len);
        if self.front.is_empty() {
            // Even with nothing left in it, it would keep alive what it was cut from.
            self.next_piece();
        }
    }

    /// Takes bytes from the first piece.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Bytes {
        let taken = if len >= self.front.len() {
            core::mem::take(&mut self.front)
        } else {
            self.front.split_to(len)
        };
        self.len -= taken.len().min(self.len);
        self.refill();
        taken
    }

    /// Takes the first piece, whole.
    pub(crate) fn take_front(&mut self) -> Bytes {
        self.take(usize::MAX)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What is here has to wait. If it is little, it is copied, as it would keep much more alive.
    pub(crate) fn keep(&mut self) {
        if self.front.len() < GATHER_BELOW {
            self.front = Bytes::copy_from_slice(&self.front);
        }
    }

    /// Joins pieces until the first has `len` bytes or there is only one. For headers, which
    /// are short.
    pub(crate) fn make_contiguous(&mut self, len: usize) {
        if self.front.len() >= len || self.len == self.front.len() {
            return;
        }
        self.end_gathering();
        let mut joined = alloc::vec::Vec::from(&self.front[..]);
        while joined.len() < len {
            let Some(next) = self.rest.front_mut() else { break };
            let take = next.len().min(len - joined.len());
            joined.extend_from_slice(&next.split_to(take));
            if next.is_empty() {
                self.rest.pop_front();
            }
        }
        self.front = joined.into();
    }

    #[inline]
    fn refill(&mut self) {
        if self.front.is_empty() && self.len > 0 {
            self.next_piece();
        }
    }

    fn next_piece(&mut self) {
        self.front = match self.rest.pop_front() {
            Some(next) => next,
            None => core::mem::take(&mut self.gathered).into(),
        };
    }
}
