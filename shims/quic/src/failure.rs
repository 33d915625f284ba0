use std::fmt;
use std::time::Duration;

use moqt_engine::Transport;

/// Why there is no session, though the QUIC handshake succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No draft of MoQT was negotiated.
    NoDraft {
        /// What would have carried the session.
        transport: Transport,
    },
    /// The server has answered the request for a WebTransport session with this HTTP status.
    Status(u16),
    /// HTTP/3 or WebTransport failed.
    WebTransport(String),
    /// No WebTransport session was established in time.
    Timeout(Duration),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDraft { .. } => f.write_str("no MoQT draft was negotiated"),
            Self::Status(status) => {
                write!(f, "the server answers the request for a session with status {status}")
            }
            Self::WebTransport(reason) => f.write_str(reason),
            Self::Timeout(after) => {
                write!(f, "no WebTransport session was established within {after:.1?}")
            }
        }
    }
}

impl std::error::Error for Failure {}
