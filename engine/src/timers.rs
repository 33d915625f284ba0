//! When a connection wants to be woken, and for what.

use alloc::collections::BTreeSet;

use crate::key::{RequestKey, StreamKey, UpdateId};
use crate::time::Timestamp;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The peer's setup message.
    Setup,
    /// The rest of a control message.
    ControlMessage(StreamKey),
    /// A new stream's header.
    StreamHeader(StreamKey),
    /// The peer's end of the stream of a request that is over.
    StreamEnd(StreamKey),
    /// The answer to a request.
    Answer(RequestKey),
    /// The stream of a fetch that was accepted.
    FetchStream(RequestKey),
    /// The answer to an update of ours.
    UpdateAnswer(UpdateId),
    /// The end of a request after the peer has refused an update of it.
    UpdateRefused(RequestKey),
    /// The end of a subscription that this side lets expire.
    Expiry(RequestKey),
    /// The peer's leaving after this side's GOAWAY.
    Goaway,
    /// The end of a request that this side has sent a GOAWAY for.
    RequestGoaway(RequestKey),
    /// Streams that a finished subscription still lacks.
    LateStreams(RequestKey),
    /// The announcement of this track alias.
    UnknownAlias(u64),
    /// Delivery timeouts of what is queued.
    Delivery,
}

/// Deadlines in the order they pass. Whoever sets one keeps its time, to take it back.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn clear_all(&mut self) {
        self.0.clear();
    }

    pub(crate) fn next(&self) -> Option<(Timestamp, Timer)> {
        self.0.first().copied()
    }

    /// Takes the next timer that has passed by `now`.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        let (at, _) = self.next()?;
        if at > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }
}
