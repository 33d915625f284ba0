//! A peer without an engine: it sends whatever bytes it is told to.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use moqt_engine::{Dir, TransportClosed};

use crate::side::Side;

/// A stream of one link, numbered as QUIC numbers them: bit 0 tells who opened it (0 for the
/// client), bit 1 whether it is unidirectional, the rest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    pub(crate) const fn new(opener: Side, dir: Dir, ordinal: u64) -> Self {
        let by = match opener {
            Side::Client => 0,
            Side::Server => 1,
        };
        let kind = match dir {
            Dir::Bi => 0,
            Dir::Uni => 2,
        };
        Self(ordinal << 2 | kind | by)
    }

    pub(crate) const fn opener(self) -> Side {
        if self.0 & 1 == 0 { Side::Client } else { Side::Server }
    }

    /// Whether data goes both ways on it.
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// How many of its kind were opened before it.
    pub const fn ordinal(self) -> u64 {
        self.0 >> 2
    }

    /// Whether this side sends on it.
    pub(crate) fn sends(self, side: Side) -> bool {
        self.dir() == Dir::Bi || self.opener() == side
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{:?}-{}", self.opener(), self.dir(), self.ordinal())
    }
}

/// What a scripted peer has seen.
#[derive(Debug, Default)]
pub struct RawPeer {
    streams: BTreeMap<StreamId, RawReceived>,
    datagrams: Vec<Bytes>,
    closed: Option<TransportClosed>,
    /// Streams that may be opened, and were.
    pub(crate) allowed: crate::side::PerDir,
    pub(crate) sending: BTreeMap<StreamId, RawSending>,
    /// Streams with something to send, in turn.
    pub(crate) ready: VecDeque<StreamId>,
    pub(crate) datagrams_out: VecDeque<Bytes>,
    pub(crate) max_datagram_size: Option<usize>,
}

/// What came in on a stream, or for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawReceived {
    /// All bytes, joined.
    pub bytes: Vec<u8>,
    /// It was finished.
    pub finished: bool,
    /// It was reset with this code.
    pub reset: Option<u64>,
    /// The other end asks to stop sending, with this code.
    pub stopped: Option<u64>,
}

/// What waits to go out on a stream.
#[derive(Debug, Default)]
pub(crate) struct RawSending {
    pub(crate) queue: VecDeque<Bytes>,
    pub(crate) fin: bool,
    pub(crate) parked: bool,
}

impl RawPeer {
    /// All streams of the link that it opened or that it has seen, in order of their numbers.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, &RawReceived)> {
        self.streams.iter().map(|(id, received)| (*id, received))
    }

    /// What came in on a stream, or for it.
    pub fn received(&self, stream: StreamId) -> Option<&RawReceived> {
        self.streams.get(&stream)
    }

    /// The datagrams that came in.
    pub fn datagrams(&self) -> &[Bytes] {
        &self.datagrams
    }

    /// How the session ended, if it has been ended by the other end or by the network.
    pub fn closed(&self) -> Option<&TransportClosed> {
        self.closed.as_ref()
    }

    pub(crate) fn known(&mut self, stream: StreamId) -> &mut RawReceived {
        self.streams.entry(stream).or_default()
    }

    pub(crate) fn on_data(&mut self, stream: StreamId, data: &[u8], fin: bool) {
        let received = self.known(stream);
        received.bytes.extend_from_slice(data);
        received.finished |= fin;
    }

    pub(crate) fn on_datagram(&mut self, data: Bytes) {
        self.datagrams.push(data);
    }

    pub(crate) fn on_closed(&mut self, closed: TransportClosed) {
        self.sending.clear();
        self.ready.clear();
        self.datagrams_out.clear();
        self.closed = Some(closed);
    }

    pub(crate) fn queue(&mut self, stream: StreamId, data: Option<Bytes>, fin: bool) {
        let Some(sending) = self.sending.get_mut(&stream) else { return };
        if sending.fin {
            return;
        }
        sending.queue.extend(data.filter(|data| !data.is_empty()));
        sending.fin = fin;
        if !sending.parked && !self.ready.contains(&stream) {
            self.ready.push_back(stream);
        }
    }

    pub(crate) fn on_writable(&mut self, stream: StreamId) {
        let Some(sending) = self.sending.get_mut(&stream) else { return };
        sending.parked = false;
        if !self.ready.contains(&stream) {
            self.ready.push_back(stream);
        }
    }

    /// Takes up to `room` bytes off a stream's queue, and its end if nothing is left. If
    /// something is, the stream rests until it is writable.
    pub(crate) fn take(&mut self, stream: StreamId, room: usize) -> RawTaken {
        self.ready.retain(|ready| *ready != stream);
        let mut taken = RawTaken::default();
        let Some(sending) = self.sending.get_mut(&stream) else { return taken };
        let mut left = room;
        while let Some(front) = sending.queue.front_mut() {
            if left == 0 {
                sending.parked = true;
                taken.more = true;
                return taken;
            }
            let piece = front.split_to(left.min(front.len()));
            left -= piece.len();
            taken.pieces.push(piece);
            if front.is_empty() {
                sending.queue.pop_front();
            }
        }
        taken.fin = sending.fin;
        if taken.fin {
            self.sending.remove(&stream);
        }
        taken
    }
}

/// What was taken off a stream's queue.
#[derive(Debug, Default)]
pub(crate) struct RawTaken {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) fin: bool,
    /// There is more, for which there was no room.
    pub(crate) more: bool,
}
