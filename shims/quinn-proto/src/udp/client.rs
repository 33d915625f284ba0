use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use moqt_engine::model::SessionError;
use moqt_quic::{ClientOptions, ConnectError, SessionConfig, Target, connect};
use moqt_session::{RouterLimits, Session};
use tokio::time::{Instant, timeout_at};

use super::driver::Drive;
use super::shared::{Progress, Shared};
use super::socket::Socket;
use crate::endpoint::{ClientConfig, Endpoint};
use crate::options::{COALESCE_BELOW, connect_error};

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
        let config = &config(target, options)?;
        let session = connect(
            target,
            options,
            |_| true,
            |remote, deadline| async move {
                let local: SocketAddr = match remote {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let client = Self::bind_with(local, options.limits.clone());
                let client = client.map_err(ConnectError::Socket)?;
                client.attempt(remote, target, config.clone(), options, deadline).await
            },
        );
        session.await.unwrap_or(Err(ConnectError::Stopped))
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
        let config = &config(target, options)?;
        let is_usable = |remote: &SocketAddr| remote.is_ipv4() == self.local.is_ipv4();
        let session = connect(target, options, is_usable, |remote, deadline| async move {
            self.attempt(remote, target, config.clone(), options, deadline).await
        });
        session.await.unwrap_or_else(|| {
            let family = if self.local.is_ipv4() { "IPv4" } else { "IPv6" };
            let host = target.host().escape_debug();
            Err(ConnectError::Target(format!("{host} has no {family} address")))
        })
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
            Ok(Progress::Failed(error)) => {
                Err(connect_error(error, remote, &options.drafts, target.scheme()))
            }
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

fn config(target: &Target, options: &ClientOptions) -> Result<ClientConfig, ConnectError> {
    let session = SessionConfig::client(target, options, COALESCE_BELOW);
    let mut config = ClientConfig::new(&options.tls, &options.transport, session)?;
    if let Some(id) = &options.initial_connection_id {
        config.set_initial_connection_id(id)?;
    }
    Ok(config)
}
