use s2n_quic::provider::endpoint_limits::{self, ConnectionAttempt, Outcome};
use tracing::debug;

/// Decides what becomes of attempts to connect to a server.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Connections at a time.
    max_connections: usize,
    /// s2n-quic's own, which is wary of ports that others are attacked with.
    wary: endpoint_limits::Default,
}

impl Limiter {
    pub(crate) fn new(max_connections: usize) -> Self {
        Self { max_connections, wary: endpoint_limits::Default::default() }
    }
}

impl endpoint_limits::Limiter for Limiter {
    fn on_connection_attempt(&mut self, attempt: &ConnectionAttempt<'_>) -> Outcome {
        let count = attempt.connection_count;
        if count >= self.max_connections {
            debug!(remote = ?attempt.remote_address, "refused: too many connections");
            return Outcome::close();
        }
        let is_busy = count.saturating_add(attempt.inflight_handshakes) >= self.max_connections / 2;
        match self.wary.on_connection_attempt(attempt) {
            // Only those that are where they say they are.
            Outcome::Allow { .. } if is_busy => Outcome::retry(),
            outcome => outcome,
        }
    }
}
