//! Connections to other relays.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moqt_quinn_proto::{
    COALESCE_BELOW, ClientConfig, ClientOptions, ConfigError, SessionConfig, Target,
};
use moqt_relay::{ConnectionId, PeerKind};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tracing::{info, warn};

use super::mail::{Dial, DialNews, Mail, Outbox};

/// Time before a connection that was lost is begun again, at first; each failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest that it becomes.
const LAST_DELAY: Duration = Duration::from_secs(30);

/// Connects a shard to other relays.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) options: Arc<ClientOptions>,
    pub(super) outbox: Outbox,
}

impl Dialer {
    /// Connects to a relay: to its addresses in turn, until there is a session.
    pub(super) async fn connect(
        &self,
        target: &Target,
        kind: PeerKind,
    ) -> Result<(ConnectionId, UnboundedReceiver<DialNews>), String> {
        let config = self.config(target).map_err(|error| error.to_string())?;
        let found = tokio::net::lookup_host((target.host(), target.port())).await;
        let addresses: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.collect();
        let mut last = "its name has no address".to_owned();
        for remote in addresses {
            let (news, mut heard) = unbounded_channel();
            let name = self.options.server_name.as_deref().unwrap_or(target.host());
            let (config, server_name) = (config.clone(), name.to_owned());
            self.outbox.send(Mail::Dial(Dial { kind, config, remote, server_name, news }));
            match timeout(self.options.connect_timeout, heard.recv()).await {
                Ok(Some(DialNews::Established(id))) => return Ok((id, heard)),
                Ok(Some(DialNews::Ended(reason))) => last = format!("{remote}: {reason}"),
                // Without anybody who listens, it is closed.
                Ok(Some(DialNews::Goaway(_)) | None) => last = format!("{remote}: it went away"),
                Err(_) => last = format!("{remote}: no session in time"),
            }
        }
        Err(last)
    }

    /// Stays connected to a relay upstream, for as long as the shard runs.
    pub(super) async fn stay_connected(self, target: Target) {
        let mut at = target.clone();
        let mut delay = FIRST_DELAY;
        loop {
            let began = Instant::now();
            let reason = match self.connect(&at, PeerKind::Upstream).await {
                Ok((_, heard)) => {
                    info!(upstream = %at, "connected");
                    match end(heard).await {
                        End::Goaway(uri) => {
                            // The new session is begun before the old one ends.
                            let elsewhere = uri.parse().ok().filter(|_| !uri.is_empty());
                            let next = elsewhere.unwrap_or_else(|| target.clone());
                            info!(upstream = %at, to = %next, "it asks this relay to leave");
                            at = next;
                            "it asked this relay to leave".to_owned()
                        }
                        End::Lost(reason) => reason,
                        End::Stopped => return,
                    }
                }
                Err(reason) => reason,
            };
            if self.outbox.is_closed() {
                return;
            }
            if began.elapsed() > delay {
                delay = FIRST_DELAY;
            }
            let pause = jittered(delay);
            warn!(upstream = %at, %reason, ?pause, "not connected; trying again");
            tokio::time::sleep(pause).await;
            delay = delay.saturating_mul(2).min(LAST_DELAY);
            if began.elapsed() > LAST_DELAY || delay == LAST_DELAY {
                // Where it has pointed may be gone, too.
                at.clone_from(&target);
            }
        }
    }

    fn config(&self, target: &Target) -> Result<ClientConfig, ConfigError> {
        let session = SessionConfig::client(target, &self.options, COALESCE_BELOW);
        ClientConfig::new(&self.options.tls, &self.options.transport, session)
    }
}

/// How a session with another relay has ended, or begun to end.
enum End {
    Goaway(String),
    Lost(String),
    Stopped,
}

async fn end(mut heard: UnboundedReceiver<DialNews>) -> End {
    loop {
        match heard.recv().await {
            Some(DialNews::Goaway(uri)) => {
                return End::Goaway(String::from_utf8_lossy(&uri).into_owned());
            }
            Some(DialNews::Ended(reason)) => return End::Lost(reason),
            Some(DialNews::Established(_)) => {}
            None => return End::Stopped,
        }
    }
}

/// Between half of a time and all of it, so that relays that lost the same one do not come back
/// at once.
fn jittered(delay: Duration) -> Duration {
    let half = delay / 2;
    let random = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_vary_within_their_bounds() {
        let delay = Duration::from_secs(10);
        let delays: Vec<_> = (0..100).map(|_| jittered(delay)).collect();
        assert!(delays.iter().all(|some| *some >= delay / 2 && *some <= delay));
        assert!(delays.iter().any(|some| *some != delays[0]));
    }
}
