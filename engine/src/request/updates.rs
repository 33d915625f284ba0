use alloc::collections::VecDeque;

use crate::model::Parameters;
use crate::time::Timestamp;

/// When this side ends a subscription, as it has told the peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiry {
    /// Milliseconds, as they were told.
    pub(crate) after: u64,
    /// When they have passed.
    pub(crate) deadline: Timestamp,
}

/// The updates of one request that have not been answered.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    /// This side's, in the order they were sent.
    pub(crate) sent: VecDeque<SentUpdate>,
    /// The peer's, in the order they came.
    pub(crate) received: VecDeque<ReceivedUpdate>,
    /// The application was told to wait for an answer before it sends one more.
    pub(crate) blocked: bool,
    /// The peer refused one, which ends the request: no more may be sent.
    pub(crate) failed: bool,
    /// How many of this side's a refusal of another was taken to answer, too. The peer may answer
    /// them all the same.
    pub(crate) may_be_answered: usize,
    /// When the peer must have ended it then.
    pub(crate) end_deadline: Option<Timestamp>,
}

impl Updates {
    /// Whether the application has still to decide on one of the peer's.
    pub(crate) fn wait_for_a_decision(&self) -> bool {
        // They are all alike: either all are decided on, or none.
        self.received.front().is_some_and(|update| update.undecided.is_some())
    }
}

/// An update of this side's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentUpdate {
    /// Its own Request ID.
    pub(crate) id: u64,
    /// When the peer must have answered; `None` if there is no bound or it has passed.
    pub(crate) deadline: Option<Timestamp>,
    /// The application has been told that no answer came.
    pub(crate) given_up: bool,
}

/// An update of the peer's.
#[derive(Debug)]
pub(crate) struct ReceivedUpdate {
    /// Its own Request ID.
    pub(crate) id: u64,
    /// What it changes, if the application has still to decide; if not, it is in force and
    /// waits only for the request itself to be answered.
    pub(crate) undecided: Option<Parameters>,
}
