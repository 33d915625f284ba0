//! What it means that no session came to be.

use std::net::SocketAddr;
use std::time::Duration;

use moqt_engine::Draft;
use moqt_quic::{ConnectError, Scheme};
use s2n_quic::connection::Error;
use s2n_quic::provider::event::Location;

use crate::shared::Failed;

/// CONNECTION_REFUSED (RFC 9000, section 20.1).
const REFUSED: u64 = 2;
/// TLS alerts (RFC 8446, section 6), as QUIC carries them.
const ALERTS: u64 = 0x100;
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// An attempt to connect.
#[derive(Debug)]
pub(crate) struct Attempted<'a> {
    pub(crate) remote: SocketAddr,
    pub(crate) scheme: Scheme,
    pub(crate) offered: &'a [Draft],
    /// Why the server's certificate was not accepted, if it was not.
    pub(crate) certificate: Option<String>,
    /// How long it took.
    pub(crate) after: Duration,
}

impl Attempted<'_> {
    pub(crate) fn failed(self, failed: Failed) -> ConnectError {
        let error = match failed {
            Failed::Quic(error) => error,
            Failed::Session(failure) => return ConnectError::from_failure(&failure, self.offered),
            Failed::Closed(reason) => return ConnectError::Setup(reason),
            Failed::Stopped => return ConnectError::Stopped,
        };
        let Self { remote, after, .. } = self;
        match error {
            Error::Transport { code, .. } if code.as_u64() == ALERTS + NO_APPLICATION_PROTOCOL => {
                ConnectError::no_alpn(self.offered, self.scheme)
            }
            Error::Transport { code, initiator: Location::Remote, .. }
                if code.as_u64() == REFUSED =>
            {
                ConnectError::Refused(remote)
            }
            Error::Transport { code, .. } if code.as_u64() >= ALERTS => {
                let certificate = self.certificate.as_deref().and_then(ConnectError::certificate);
                certificate.unwrap_or_else(|| ConnectError::Quic(error.into()))
            }
            Error::MaxHandshakeDurationExceeded { .. } | Error::IdleTimerExpired { .. } => {
                ConnectError::Timeout { remote, after, handshake_complete: false }
            }
            Error::EndpointClosing { .. } => ConnectError::Stopped,
            error => ConnectError::Quic(error.into()),
        }
    }
}
