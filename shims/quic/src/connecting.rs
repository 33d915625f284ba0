//! The addresses of a target, and how long to try each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use moqt_session::Session;
use tokio::time::{Instant, timeout_at};

use crate::error::ConnectError;
use crate::options::ClientOptions;
use crate::target::Target;

/// Resolves a target, and has `attempt` try to make a session with one address after another that
/// `is_usable`, each until its share of the time has passed. `None` if none is usable.
pub async fn connect<F: Future<Output = Result<Session, ConnectError>>>(
    target: &Target,
    options: &ClientOptions,
    is_usable: impl Fn(&SocketAddr) -> bool,
    // Not an async closure: what it gives could not be sent to another thread.
    mut attempt: impl FnMut(SocketAddr, Instant) -> F,
) -> Option<Result<Session, ConnectError>> {
    let deadline = deadline(options);
    let mut addresses = match options.address {
        Some(address) => vec![address],
        None => match resolve(target, deadline, options).await {
            Ok(addresses) => addresses,
            Err(error) => return Some(Err(error)),
        },
    };
    addresses.retain(is_usable);
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let mut last = None;
    for remote in addresses {
        let now = Instant::now();
        let share = now + deadline.saturating_duration_since(now) / left.max(1);
        left = left.saturating_sub(1);
        match attempt(remote, share).await {
            Ok(session) => return Some(Ok(session)),
            Err(error) => last = Some(Err(error)),
        }
    }
    last
}

fn deadline(options: &ClientOptions) -> Instant {
    let now = Instant::now();
    // So far away that it does not matter.
    let never = Duration::from_secs(365 * 24 * 60 * 60);
    now.checked_add(options.connect_timeout).unwrap_or(now + never)
}

async fn resolve(
    target: &Target,
    deadline: Instant,
    options: &ClientOptions,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let fail = |error| ConnectError::Resolve { host: target.host().to_owned(), error };
    let lookup = tokio::net::lookup_host((target.host(), target.port()));
    let Ok(found) = timeout_at(deadline, lookup).await else {
        let after = options.connect_timeout;
        let why = format!("no answer from the name service within {after:?}");
        return Err(fail(io::Error::new(io::ErrorKind::TimedOut, why)));
    };
    let found: Vec<_> = found.map_err(fail)?.collect();
    if found.is_empty() {
        return Err(fail(io::Error::new(io::ErrorKind::NotFound, "it has none")));
    }
    Ok(found)
}
