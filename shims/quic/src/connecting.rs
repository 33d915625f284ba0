//! The addresses of a target, and when to try each.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use moqt_session::Session;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::ConnectError;
use crate::options::ClientOptions;
use crate::target::Target;

/// How long an address is tried alone before the next one is tried, too (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Resolves a target, and has `attempt` try to make a session with the addresses that `is_usable`
/// until the deadline: one after another as they fail, or a little later without waiting for that.
/// The first session is taken, and the other attempts are dropped. `None` if no address is usable.
pub async fn connect<F: Future<Output = Result<Session, ConnectError>>>(
    target: &Target,
    options: &ClientOptions,
    is_usable: impl Fn(&SocketAddr) -> bool,
    // Not an async closure: what it gives could not be sent to another thread.
    attempt: impl FnMut(SocketAddr, Instant) -> F,
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
    first(addresses, deadline, attempt).await
}

async fn first<T, F: Future<Output = Result<T, ConnectError>>>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    mut attempt: impl FnMut(SocketAddr, Instant) -> F,
) -> Option<Result<T, ConnectError>> {
    let mut addresses = addresses.into_iter();
    let mut attempts: Vec<Pin<Box<F>>> = Vec::new();
    let mut failed = None;
    loop {
        attempts.extend(addresses.next().map(|remote| Box::pin(attempt(remote, deadline))));
        if attempts.is_empty() {
            return failed.map(Err);
        }
        let one = one_of(&mut attempts);
        let ended =
            if addresses.len() > 0 { timeout(STAGGER, one).await.ok() } else { Some(one.await) };
        match ended {
            Some(Ok(made)) => return Some(Ok(made)),
            // An address where nobody is says less than one where somebody was.
            Some(Err(ConnectError::Timeout { .. })) if failed.is_some() => {}
            Some(Err(error)) => failed = Some(error),
            None => {}
        }
    }
}

/// Waits for any of these to end, and takes it out.
async fn one_of<F: Future>(attempts: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        let ended = attempts.iter_mut().enumerate().find_map(|(at, attempt)| {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(output) => Some((at, output)),
                Poll::Pending => None,
            }
        });
        match ended {
            Some((at, output)) => {
                drop(attempts.swap_remove(at));
                Poll::Ready(output)
            }
            None => Poll::Pending,
        }
    })
    .await
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

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn addresses() -> Vec<SocketAddr> {
        (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect()
    }

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(8)
    }

    /// Nobody answers.
    async fn silence<T>(remote: SocketAddr, deadline: Instant) -> Result<T, ConnectError> {
        tokio::time::sleep_until(deadline).await;
        let after = Duration::from_secs(8);
        Err(ConnectError::Timeout { remote, after, handshake_complete: false })
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_where_nobody_is_costs_little() {
        let began = Instant::now();
        let attempt = |remote: SocketAddr, deadline| async move {
            if remote.port() == 3 { Ok(remote) } else { silence(remote, deadline).await }
        };
        let made = first(addresses(), in_time(), attempt).await.unwrap().unwrap();
        assert_eq!((made.port(), began.elapsed()), (3, 2 * STAGGER));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_may_still_be_first() {
        let attempt = |remote: SocketAddr, deadline| async move {
            if remote.port() > 1 {
                return silence(remote, deadline).await;
            }
            sleep(3 * STAGGER).await;
            Ok(remote)
        };
        let made = first(addresses(), in_time(), attempt).await.unwrap().unwrap();
        assert_eq!(made.port(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_that_says_most_is_told() {
        let began = Instant::now();
        let attempt = |remote: SocketAddr, deadline| async move {
            match remote.port() {
                2 => Err(ConnectError::NoHttp3),
                _ => silence::<()>(remote, deadline).await,
            }
        };
        let error = first(addresses(), in_time(), attempt).await.unwrap().unwrap_err();
        assert!(matches!(error, ConnectError::NoHttp3), "{error}");
        assert_eq!(began.elapsed(), Duration::from_secs(8));
        let attempt = |_, _| async { Err::<(), _>(ConnectError::NoHttp3) };
        let began = Instant::now();
        assert!(first(addresses(), in_time(), attempt).await.unwrap().is_err());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(first(Vec::new(), in_time(), attempt).await.is_none());
    }
}
