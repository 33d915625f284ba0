use std::fmt;

use moqt_engine::model::{Location, StreamResetCode};
use moqt_engine::{CloseReason, CommandError, GiveUpReason, MalformedRule, RequestError};

/// Why a request, or an operation on a session, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request was refused, or failed for want of an answer. [`RequestError::raw_code`]
    /// says whether the peer was asked.
    Rejected(Box<RequestError>),
    /// The peer withdrew the request, or its acceptance of it.
    Cancelled(StreamResetCode),
    /// The publisher's track is malformed: one of its objects broke a rule (draft-18,
    /// "Malformed Tracks"). The subscription has been cancelled.
    Malformed {
        /// The rule.
        rule: MalformedRule,
        /// The object that broke it.
        location: Location,
    },
    /// The session does not allow this.
    Command(CommandError),
    /// The session is over.
    Closed(CloseReason),
    /// An object is larger than the limit set for objects read whole.
    TooLarge {
        /// The object's length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(error) => write!(f, "request refused: {error}"),
            Self::Cancelled(code) => write!(f, "the peer ended the request: {code}"),
            Self::Malformed { rule, location } => {
                write!(f, "the track is malformed: {rule} (object {location})")
            }
            Self::Command(error) => error.fmt(f),
            Self::Closed(reason) => write!(f, "session over: {reason}"),
            Self::TooLarge { len, limit } => {
                write!(f, "an object of {len} bytes; read it in pieces, or allow more than {limit}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Why reading a subgroup failed. The subgroup is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The sender gave the subgroup up. It may have had more objects.
    Reset(StreamResetCode),
    /// The subscription or the session ended.
    Gone,
    /// An object is larger than the limit given. It can be read in pieces.
    TooLarge {
        /// The object's length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "the sender gave the subgroup up: {code}"),
            Self::Gone => f.write_str("the subscription or the session is over"),
            Self::TooLarge { len, limit } => {
                write!(f, "an object of {len} bytes; read it in pieces, or allow more than {limit}")
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// Why writing to a publication failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The subscriber does not want the rest of this subgroup.
    Stopped(StreamResetCode),
    /// The subgroup was given up here; the rest of it is not sent.
    GivenUp(GiveUpReason),
    /// The publication or the session is over; [`Publication::ended`](crate::Publication::ended)
    /// says why.
    Gone,
    /// The object cannot be written here; nothing has been.
    Command(CommandError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(code) => write!(f, "the subscriber stopped the subgroup: {code}"),
            Self::GivenUp(GiveUpReason::DeliveryTimeout) => {
                f.write_str("the subgroup's delivery timeout passed")
            }
            Self::GivenUp(_) => f.write_str("the subscriber is too slow for the subgroup"),
            Self::Gone => f.write_str("the publication or the session is over"),
            Self::Command(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<CommandError> for WriteError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Closed | CommandError::Gone => Self::Gone,
            error => Self::Command(error),
        }
    }
}
