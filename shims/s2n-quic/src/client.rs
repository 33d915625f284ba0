use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use moqt_engine::Role;
use moqt_quic::{ClientOptions, ConnectError, Scheme, SessionConfig, Target, connect};
use moqt_session::Session;
use rustls::pki_types::ServerName;
use s2n_quic::client::Connect;
use tokio::time::{Instant, timeout_at};

use crate::driver::Drive;
use crate::error::Attempted;
use crate::options::{COALESCE_BELOW, start_client};
use crate::shared::{Failed, Setup, Shared};
use crate::tls::{self, Refusal};

/// A UDP socket from which sessions are made.
#[derive(Debug)]
pub struct Client {
    endpoint: s2n_quic::Client,
    local: SocketAddr,
    scheme: Scheme,
    options: ClientOptions,
    refusal: Refusal,
}

impl Client {
    /// Makes a session from a socket of its own.
    ///
    /// Must be called on a tokio runtime, which drives the socket from then on.
    pub async fn connect(
        target: &Target,
        options: &ClientOptions,
    ) -> Result<Session, ConnectError> {
        let session = connect(
            target,
            options,
            |_| true,
            |remote, deadline| async move {
                let local: SocketAddr = match remote {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let client = Self::bind(local, target.scheme(), options)?;
                client.attempt(remote, target, deadline).await
            },
        );
        session.await.unwrap_or(Err(ConnectError::Stopped))
    }

    /// A socket on this address (port 0 lets the system choose) for any number of sessions. With
    /// s2n-quic, all that is made from a socket has the same options.
    ///
    /// Must be called on a tokio runtime, which drives the socket from then on. It is closed
    /// when this and all sessions are gone.
    pub fn bind(
        address: SocketAddr,
        scheme: Scheme,
        options: &ClientOptions,
    ) -> Result<Self, ConnectError> {
        let session = SessionConfig::new(Arc::new(options.engine.clone()), &options.drafts);
        let alpn = session.alpn(&[scheme])?;
        let (tls, refusal) = tls::client(&options.tls, alpn)?;
        let endpoint = start_client(address, tls, &options.transport, options.connect_timeout)?;
        let local = endpoint.local_addr().map_err(ConnectError::Socket)?;
        Ok(Self { endpoint, local, scheme, options: options.clone(), refusal })
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Makes a session from this socket, over what it was bound for.
    pub async fn session(&self, target: &Target) -> Result<Session, ConnectError> {
        if target.scheme() != self.scheme {
            let target = target.to_string();
            let reason = format!("{}: the socket is for another scheme", target.escape_debug());
            return Err(ConnectError::Target(reason));
        }
        let is_usable = |remote: &SocketAddr| remote.is_ipv4() == self.local.is_ipv4();
        let session = connect(target, &self.options, is_usable, |remote, deadline| async move {
            self.attempt(remote, target, deadline).await
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
        deadline: Instant,
    ) -> Result<Session, ConnectError> {
        let begin = Instant::now();
        let options = &self.options;
        let server_name = options.server_name.as_deref().unwrap_or(target.host());
        if ServerName::try_from(server_name).is_err() {
            let reason = format!("{}: no name that TLS knows", server_name.escape_debug());
            return Err(ConnectError::Target(reason));
        }
        let setup = Setup {
            session: SessionConfig::client(target, options, COALESCE_BELOW),
            limits: options.limits.clone(),
            keep_alive: options.transport.keep_alive.is_some(),
        };
        let mut handshake_complete = false;
        let session = async {
            let connect = Connect::new(remote).with_server_name(server_name);
            let connection = self.endpoint.connect(connect).await.map_err(Failed::Quic)?;
            handshake_complete = true;
            let shared = Shared::new(Role::Client, connection, &setup).map_err(Failed::Quic)?;
            tokio::spawn(Drive::new(shared.clone(), None));
            let mut attempt = Attempt { shared, is_open: true };
            let session = poll_fn(|cx| attempt.shared.poll_session(cx)).await?;
            attempt.is_open = false;
            Ok(session)
        };
        match timeout_at(deadline, session).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(failed)) => {
                let attempted = Attempted {
                    remote,
                    scheme: self.scheme,
                    offered: &options.drafts,
                    certificate: self.refusal.take(),
                    after: begin.elapsed(),
                };
                Err(attempted.failed(failed))
            }
            Err(_) => {
                let after = begin.elapsed();
                Err(ConnectError::Timeout { remote, after, handshake_complete })
            }
        }
    }
}

/// A session that is being set up, given up when this is dropped.
#[derive(Debug)]
struct Attempt {
    shared: Arc<Shared>,
    is_open: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.is_open {
            self.shared.abandon();
        }
    }
}
