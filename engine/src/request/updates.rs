use alloc::collections::VecDeque;

use crate::model::{AuthToken, Parameters, TrackNamespace};
use crate::time::Timestamp;

/// What an update that waits counts as at least, and each of its tokens besides its value. No
/// less than they take.
const UPDATE_SIZE: usize = 512;
const TOKEN_SIZE: usize = 64;
const _: () = assert!(
    size_of::<ReceivedUpdate>() <= UPDATE_SIZE && size_of::<AuthToken>() <= TOKEN_SIZE,
    "more than is counted"
);

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

impl ReceivedUpdate {
    /// What it counts as while it waits ([`Limits::waiting_updates`](crate::Limits)).
    pub(crate) fn size(&self) -> usize {
        let Some(parameters) = &self.undecided else { return UPDATE_SIZE };
        let tokens = parameters.authorization_tokens.iter();
        let sizes = tokens.map(|token| {
            let value = token.value().map_or(0, |(_, value)| value.len());
            value.saturating_add(TOKEN_SIZE)
        });
        let prefix = parameters.track_namespace_prefix.as_ref().map_or(0, TrackNamespace::byte_len);
        sizes.fold(UPDATE_SIZE.saturating_add(prefix), usize::saturating_add)
    }
}
