//! What a connection wants done to its transport.

use alloc::string::String;

use crate::config::Dir;
use crate::key::StreamKey;

/// Something for the transport to do, in order. Data is apart: see
/// [`poll_send`](crate::MoqtConnection::poll_send).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Open a stream and know it by this key from now on. The connection never asks for more
    /// than [`handle_streams_available`](crate::MoqtConnection::handle_streams_available)
    /// allowed.
    OpenStream {
        /// The stream's key.
        stream: StreamKey,
        /// Whether the peer can answer on it.
        dir: Dir,
    },
    /// Reset the sending side: what has not been delivered need not be.
    ResetStream {
        /// The stream.
        stream: StreamKey,
        /// The application error code.
        code: u64,
    },
    /// Ask the peer to stop sending. Bytes that still come in may be dropped.
    StopSending {
        /// The stream.
        stream: StreamKey,
        /// The application error code.
        code: u64,
    },
    /// The window of a stream that was not read for want of one is open again.
    ResumeReading {
        /// The stream.
        stream: StreamKey,
    },
    /// Close the transport session. Nothing follows.
    Close {
        /// The application error code.
        code: u64,
        /// Why, for people.
        reason: String,
    },
}
