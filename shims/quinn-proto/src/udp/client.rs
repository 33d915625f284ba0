use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::SessionError;
use moqt_quic::{ClientOptions, ConnectError, Scheme, Target};
use moqt_session::{RouterLimits, Session};
use tokio::time::{Instant, timeout_at};

use super::driver::Drive;
use super::engine_config;
use super::shared::{Progress, Shared};
use super::socket::Socket;
use crate::endpoint::{ClientConfig, Endpoint};
use crate::options::connect_error;

/// A UDP socket from which sessions are made.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    local: SocketAddr,
}

impl Client {
    /// Makes a session from a socket of its own.
    ///
    /// Must be called on a tokio runtime, which drives the socket from then on.
    pub async fn connect(
        target: &Target,
        options: &ClientOptions,
    ) -> Result<Session, ConnectError> {
        let deadline = deadline(options);
        let config = config(target, options)?;
        let addresses = resolve(target, deadline, options).await?;
        // Every address gets its share of the time that is left.
        let mut attempts = addresses.len();
        let mut last = None;
        for remote in addresses {
            let share = attempt_deadline(deadline, attempts);
            attempts -= 1;
            let local: SocketAddr = match remote {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let client = match Self::bind_with(local, options.limits.clone()) {
                Ok(client) => client,
                Err(error) => {
                    last = Some(ConnectError::Socket(error));
                    continue;
                }
            };
            match client.attempt(remote, target, config.clone(), options, share).await {
                Ok(session) => return Ok(session),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ConnectError::Stopped))
    }

    /// A socket on this address (port 0 lets the system choose) for any number of sessions.
    ///
    /// Must be called on a tokio runtime, which drives the socket from then on. It is closed
    /// when this and all sessions are gone.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with(address, RouterLimits::default())
    }

    fn bind_with(address: SocketAddr, limits: RouterLimits) -> io::Result<Self> {
        let socket = Socket::bind(address)?;
        let local = socket.local_addr()?;
        let now = std::time::Instant::now();
        let endpoint = Endpoint::new(None, socket.may_fragment(), socket.max_segments(), now);
        let shared = Shared::new(endpoint, socket, limits);
        shared.handle_added();
        tokio::spawn(Drive::new(shared.clone()));
        Ok(Self { shared, local })
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Makes a session from this socket.
    pub async fn session(
        &self,
        target: &Target,
        options: &ClientOptions,
    ) -> Result<Session, ConnectError> {
        let deadline = deadline(options);
        let config = config(target, options)?;
        let mut addresses = resolve(target, deadline, options).await?;
        addresses.retain(|remote| remote.is_ipv4() == self.local.is_ipv4());
        let mut attempts = addresses.len();
        let mut last = None;
        for remote in addresses {
            let share = attempt_deadline(deadline, attempts);
            attempts -= 1;
            match self.attempt(remote, target, config.clone(), options, share).await {
                Ok(session) => return Ok(session),
                Err(error) => last = Some(error),
            }
        }
        let family = if self.local.is_ipv4() { "IPv4" } else { "IPv6" };
        let reason = || format!("{} has no {family} address", target.host().escape_debug());
        Err(last.unwrap_or_else(|| ConnectError::Target(reason())))
    }

    async fn attempt(
        &self,
        remote: SocketAddr,
        target: &Target,
        config: ClientConfig,
        options: &ClientOptions,
        deadline: Instant,
    ) -> Result<Session, ConnectError> {
        let begin = Instant::now();
        let server_name = options.server_name.as_deref().unwrap_or(target.host());
        let id = self.shared.connect(config, remote, server_name).map_err(|error| {
            ConnectError::Target(format!("{}: {error}", target.to_string().escape_debug()))
        })?;
        let mut attempt = Attempt { shared: &self.shared, id: Some(id) };
        let progress = poll_fn(|cx| self.shared.poll_progress(cx, id));
        match timeout_at(deadline, progress).await {
            Ok(Progress::Established(session)) => {
                attempt.id = None;
                Ok(session)
            }
            Ok(Progress::Failed(error)) => Err(connect_error(error, remote, &options.drafts)),
            Ok(Progress::Closed(reason)) => Err(ConnectError::Setup(reason)),
            Ok(Progress::Stopped) => Err(ConnectError::Stopped),
            Err(_) => Err(ConnectError::Timeout {
                remote,
                after: begin.elapsed(),
                handshake_complete: self.shared.has_connected(id),
            }),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.handle_dropped();
    }
}

/// A session that is being set up, given up when this is dropped.
#[derive(Debug)]
struct Attempt<'a> {
    shared: &'a Shared,
    id: Option<u64>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.abandon(id, SessionError::NoError, "given up");
        }
    }
}

fn deadline(options: &ClientOptions) -> Instant {
    let now = Instant::now();
    // So far away that it does not matter.
    let never = Duration::from_secs(365 * 24 * 60 * 60);
    now.checked_add(options.connect_timeout).unwrap_or(now + never)
}

fn attempt_deadline(deadline: Instant, attempts: usize) -> Instant {
    let now = Instant::now();
    let attempts = u32::try_from(attempts.max(1)).unwrap_or(u32::MAX);
    now + deadline.saturating_duration_since(now) / attempts
}

fn config(target: &Target, options: &ClientOptions) -> Result<ClientConfig, ConnectError> {
    if target.scheme() != Scheme::Quic {
        let reason = format!(
            "{}: WebTransport is not supported yet; use moqt:// for raw QUIC",
            target.to_string().escape_debug()
        );
        return Err(ConnectError::Target(reason));
    }
    let mut engine = engine_config(options.engine.clone());
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    engine.path = Some(target.path()).filter(|path| !path.is_empty()).map(bytes);
    engine.authority = Some(bytes(target.authority()));
    let engine = Arc::new(engine);
    let config = ClientConfig::new(&options.tls, &options.drafts, &options.transport, engine)?;
    Ok(match &options.trace {
        Some(trace) => config.trace(trace.clone()),
        None => config,
    })
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
