use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use moqt_quic::{
    ClientOptions, ClientTls, ConnectError, Identity, Scheme, ServerOptions, Target, Verify,
};
use moqt_session::Session;

use crate::case::{Ends, Stack};

/// A server on one of the stacks.
#[derive(Debug)]
pub enum Server {
    /// On quinn-proto.
    Quinn(moqt_quinn_proto::Server),
    /// On s2n-quic.
    S2n(moqt_s2n_quic::Server),
}

impl Server {
    /// A server on any port of this host.
    pub fn bind(stack: Stack, options: &ServerOptions) -> Self {
        match stack {
            Stack::Quinn => {
                Self::Quinn(moqt_quinn_proto::Server::bind(anywhere(), options).unwrap())
            }
            Stack::S2n => Self::S2n(moqt_s2n_quic::Server::bind(anywhere(), options).unwrap()),
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        match self {
            Self::Quinn(server) => server.local_addr(),
            Self::S2n(server) => server.local_addr(),
        }
    }

    /// The next session.
    pub async fn accept(&self) -> Session {
        match self {
            Self::Quinn(server) => server.accept().await.unwrap(),
            Self::S2n(server) => server.accept().await.unwrap(),
        }
    }

    /// Its URL, with this path and query.
    pub fn target(&self, scheme: Scheme, path: &str) -> Target {
        let scheme = match scheme {
            Scheme::Quic => "moqt",
            Scheme::WebTransport => "https",
        };
        format!("{scheme}://{}{path}", self.local_addr()).parse().unwrap()
    }
}

/// Connects with one of the stacks.
pub async fn connect(
    stack: Stack,
    target: &Target,
    options: &ClientOptions,
) -> Result<Session, ConnectError> {
    match stack {
        Stack::Quinn => moqt_quinn_proto::Client::connect(target, options).await,
        Stack::S2n => moqt_s2n_quic::Client::connect(target, options).await,
    }
}

/// Any port of this host.
pub fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Options of a client, and of a server whose certificate it trusts.
pub fn options() -> (ClientOptions, ServerOptions) {
    let identity = Identity::self_signed([]).unwrap();
    let mut client = ClientOptions::default();
    client.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    (client, ServerOptions::new(identity))
}

/// Fails a test that hangs.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    let done = tokio::time::timeout(Duration::from_secs(60), future).await;
    done.expect("nothing happens any more")
}

/// Lets a test of connecting run with each pair of stacks over each way of carrying sessions, and
/// says with which it fails.
pub async fn every_pair<F: Future<Output = ()>>(test: impl Fn(Stack, Stack, Scheme) -> F) {
    for ends in Ends::over_udp() {
        let Ends::Udp { client, server, scheme } = ends else { continue };
        let said = Said(ends);
        in_time(test(client, server, scheme)).await;
        drop(said);
    }
}

/// Says where it was dropped by a panic.
struct Said(Ends);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("^ {}", self.0);
        }
    }
}
