//! The QUIC stacks to choose from.

use std::net::SocketAddr;

use clap::ValueEnum;
use moqt_quic::{ClientOptions, ConnectError, ServerOptions, Target};
use moqt_session::Session;

/// A QUIC stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Stack {
    /// quinn-proto.
    #[default]
    Quinn,
    /// s2n-quic.
    S2n,
}

impl Stack {
    /// Makes a session.
    pub(crate) async fn connect(
        self,
        target: &Target,
        options: &ClientOptions,
    ) -> Result<Session, ConnectError> {
        match self {
            Self::Quinn => moqt_quinn_proto::Client::connect(target, options).await,
            Self::S2n => moqt_s2n_quic::Client::connect(target, options).await,
        }
    }

    /// Listens for sessions.
    pub(crate) fn bind(
        self,
        address: SocketAddr,
        options: &ServerOptions,
    ) -> Result<Server, ConnectError> {
        Ok(match self {
            Self::Quinn => Server::Quinn(moqt_quinn_proto::Server::bind(address, options)?),
            Self::S2n => Server::S2n(moqt_s2n_quic::Server::bind(address, options)?),
        })
    }
}

/// A socket that listens, on either of them.
pub(crate) enum Server {
    Quinn(moqt_quinn_proto::Server),
    S2n(moqt_s2n_quic::Server),
}

impl Server {
    pub(crate) async fn accept(&self) -> Option<Session> {
        match self {
            Self::Quinn(server) => server.accept().await,
            Self::S2n(server) => server.accept().await,
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Quinn(server) => server.local_addr(),
            Self::S2n(server) => server.local_addr(),
        }
    }
}
