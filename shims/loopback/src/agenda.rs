//! What is going to happen, in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;
use moqt_engine::{Dir, StreamKey, Timestamp};

use crate::fault::Fault;
use crate::network::EndpointId;
use crate::raw::StreamId;

/// What travels on a path.
#[derive(Debug, Hash)]
pub(crate) enum Frame {
    /// The transport's own handshake is complete here.
    Ready,
    Data {
        stream: StreamId,
        data: Bytes,
        fin: bool,
    },
    Reset {
        stream: StreamId,
        code: u64,
    },
    Stop {
        stream: StreamId,
        code: u64,
    },
    Datagram(Bytes),
    StreamCredit {
        stream: StreamId,
        bytes: u64,
    },
    ConnectionCredit(u64),
    /// All of a stream, its end included, has come to the other end. The stream may be forgotten
    /// by now, so this says what the connection here calls it.
    Acknowledged(StreamKey),
    StreamsAllowed {
        dir: Dir,
        total: u64,
    },
    Close {
        code: u64,
        reason: String,
    },
    Lost {
        reason: String,
    },
}

/// What happens, and to which endpoint.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Something arrives.
    Arrival(Frame),
    /// A packet has left, and there is room for another.
    Room,
    /// A fault that was announced.
    Fault(Fault),
    /// Something that was held up may go on.
    Resume,
}

/// Everything that is going to happen but the timers of connections.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Entry>,
    sequence: u64,
    in_flight: usize,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    /// What was entered first happens first.
    sequence: u64,
    to: EndpointId,
    what: Happening,
}

impl Entry {
    fn is_in_flight(&self) -> bool {
        matches!(self.what, Happening::Arrival(_) | Happening::Room)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first, which is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Timestamp, to: EndpointId, what: Happening) {
        self.sequence += 1;
        let entry = Entry { at, sequence: self.sequence, to, what };
        self.in_flight += usize::from(entry.is_in_flight());
        self.entries.push(entry);
    }

    pub(crate) fn next_time(&self) -> Option<Timestamp> {
        self.entries.peek().map(|entry| entry.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Timestamp, EndpointId, Happening)> {
        let entry = self.entries.pop()?;
        self.in_flight -= usize::from(entry.is_in_flight());
        Some((entry.at, entry.to, entry.what))
    }

    /// Whether anything is on its way.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0
    }
}
