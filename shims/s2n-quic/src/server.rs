use std::net::SocketAddr;

use moqt_engine::Role;
use moqt_quic::{ConnectError, ServerOptions, SessionConfig};
use moqt_session::Session;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tracing::debug;

use crate::driver::Drive;
use crate::options::{COALESCE_BELOW, start_server};
use crate::shared::{Setup, Shared};
use crate::tls;

/// A UDP socket on which sessions are accepted. Dropping it accepts no more; sessions that were
/// accepted live on.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    /// Sessions that are set up: not more than there may be connections.
    sessions: Mutex<UnboundedReceiver<Session>>,
    task: AbortHandle,
}

impl Server {
    /// Listens on this address; port 0 lets the system choose.
    ///
    /// Must be called on a tokio runtime, which drives the socket from then on.
    pub fn bind(address: SocketAddr, options: &ServerOptions) -> Result<Self, ConnectError> {
        let session = SessionConfig::server(options, COALESCE_BELOW);
        let tls = tls::server(&options.tls, session.server_alpn()?)?;
        let transport = &options.transport;
        let endpoint = start_server(address, tls, transport, options.connections.total)?;
        let local = endpoint.local_addr().map_err(ConnectError::Socket)?;
        let limits = options.limits.clone();
        let setup = Setup { session, limits, keep_alive: transport.keep_alive.is_some() };
        let (sender, sessions) = unbounded_channel();
        let task = tokio::spawn(accept(endpoint, setup, sender)).abort_handle();
        Ok(Self { local, sessions: Mutex::new(sessions), task })
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next session, which is set up already; one that is slow to be does not
    /// hold up others. `None` if the runtime is shutting down.
    pub async fn accept(&self) -> Option<Session> {
        self.sessions.lock().await.recv().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins a session on each connection.
async fn accept(mut endpoint: s2n_quic::Server, setup: Setup, sessions: UnboundedSender<Session>) {
    while let Some(connection) = endpoint.accept().await {
        match Shared::new(Role::Server, connection, &setup) {
            Ok(shared) => drop(tokio::spawn(Drive::new(shared, Some(sessions.clone())))),
            Err(error) => debug!(%error, "connection failed"),
        }
    }
}
