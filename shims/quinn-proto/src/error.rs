use std::fmt;

use moqt_quic::Failure;
use quinn_proto::ConnectionError;

/// Why a connection did not come to have a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionFailure {
    /// The QUIC handshake failed.
    Quic(ConnectionError),
    /// What came after it did.
    Session(Failure),
}

impl fmt::Display for ConnectionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic(error) => error.fmt(f),
            Self::Session(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for ConnectionFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Quic(error) => Some(error),
            Self::Session(failure) => Some(failure),
        }
    }
}
