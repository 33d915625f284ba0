use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use moqt_quic::{ConnectError, ServerOptions, SessionConfig};
use moqt_session::Session;

use super::driver::Drive;
use super::shared::Shared;
use super::socket::Socket;
use crate::endpoint::{Endpoint, ServerConfig};
use crate::options::COALESCE_BELOW;

/// A UDP socket on which sessions are accepted. Dropping it accepts no more; sessions that were
/// accepted live on.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    local: SocketAddr,
}

impl Server {
    /// Listens on this address; port 0 lets the system choose.
    ///
    /// Must be called on a tokio runtime, which drives the socket from then on.
    pub fn bind(address: SocketAddr, options: &ServerOptions) -> Result<Self, ConnectError> {
        let session = SessionConfig::server(options, COALESCE_BELOW);
        let config = ServerConfig::new(&options.tls, &options.transport, session)?
            .limits(options.connections.clone());
        let socket = Socket::bind(address).map_err(ConnectError::Socket)?;
        let local = socket.local_addr().map_err(ConnectError::Socket)?;
        let now = std::time::Instant::now();
        let endpoint =
            Endpoint::new(Some(config), socket.may_fragment(), socket.max_segments(), now);
        let shared = Shared::new(endpoint, socket, options.limits.clone());
        shared.handle_added();
        tokio::spawn(Drive::new(shared.clone()));
        Ok(Self { shared, local })
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Waits for the next session, which is set up already; one that is slow to be does not
    /// hold up others. `None` if the runtime is shutting down.
    pub async fn accept(&self) -> Option<Session> {
        poll_fn(|cx| self.shared.poll_accept(cx)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop_accepting();
        self.shared.handle_dropped();
    }
}
