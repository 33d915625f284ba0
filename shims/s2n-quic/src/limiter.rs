use s2n_quic::provider::endpoint_limits::{self, ConnectionAttempt, Outcome};
use tracing::debug;

/// Decides what becomes of attempts to connect to a server.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Connections at a time.
    pub(crate) max_connections: usize,
}

impl endpoint_limits::Limiter for Limiter {
    fn on_connection_attempt(&mut self, attempt: &ConnectionAttempt<'_>) -> Outcome {
        let count = attempt.connection_count.saturating_add(attempt.inflight_handshakes);
        if attempt.connection_count >= self.max_connections {
            debug!(remote = ?attempt.remote_address, "refused: too many connections");
            Outcome::close()
        } else if count >= self.max_connections / 2 {
            // Only those that are where they say they are.
            Outcome::retry()
        } else {
            Outcome::allow()
        }
    }
}
