#![allow(dead_code, reason = "not every test uses everything")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::Draft;
use moqt_quinn_proto::session::Session;
use moqt_quinn_proto::{
    Client, ClientOptions, ClientTls, Identity, Server, ServerOptions, Target, Verify,
};

/// Any port of this host.
pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Fails a test that hangs.
pub(crate) async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happens")
}

pub(crate) fn target(server: &Server) -> Target {
    format!("moqt://{}/path?query", server.local_addr()).parse().unwrap()
}

/// A server on every draft, and options that trust it.
pub(crate) fn serve() -> (Server, ClientOptions) {
    let identity = Identity::self_signed([]).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    (Server::bind(anywhere(), &ServerOptions::new(identity)).unwrap(), options)
}

/// Both ends of a session on one draft.
pub(crate) async fn pair(draft: Draft) -> (Session, Session, Server) {
    let (server, mut options) = serve();
    options.drafts = vec![draft];
    let target = target(&server);
    let client = Client::connect(&target, &options);
    let (client, accepted) = bounded(async { tokio::join!(client, server.accept()) }).await;
    let (client, accepted) = (client.unwrap(), accepted.unwrap());
    assert_eq!((client.draft(), accepted.draft()), (draft, draft));
    (client, accepted, server)
}

/// What is sent at a place.
pub(crate) fn payload(group: u64, object: u64) -> Bytes {
    let len = usize::try_from((group * 7 + object * 13) % 5000).unwrap();
    (0..len).map(|at| u8::try_from((at as u64 * 31 + group + object) % 251).unwrap()).collect()
}
