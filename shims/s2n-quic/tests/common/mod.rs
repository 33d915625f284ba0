#![allow(dead_code, reason = "not every test uses everything")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::Parameters;
use moqt_engine::{Accept, Draft};
use moqt_s2n_quic::session::{Incoming, Publication, Session, Subscription};
use moqt_s2n_quic::{
    ClientOptions, ClientTls, ConnectError, Identity, Scheme, ServerOptions, Target, Verify,
};

/// Any port of this host.
pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Fails a test that hangs.
pub(crate) async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(50), future).await.expect("nothing happens")
}

/// What carries an end of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stack {
    S2n,
    Quinn,
}

/// Client and server on s2n-quic, and each of them with the other stack at the other end.
pub(crate) const ENDS: [(Stack, Stack); 3] =
    [(Stack::S2n, Stack::S2n), (Stack::S2n, Stack::Quinn), (Stack::Quinn, Stack::S2n)];

/// What a session stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) ends: (Stack, Stack),
    pub(crate) scheme: Scheme,
    pub(crate) draft: Draft,
}

/// All that there is.
pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let on_drafts = |(ends, scheme)| Draft::ALL.map(|draft| Case { ends, scheme, draft });
    let over = |ends| [Scheme::Quic, Scheme::WebTransport].map(|scheme| (ends, scheme));
    ENDS.into_iter().flat_map(over).flat_map(on_drafts)
}

/// Those with s2n-quic at both ends.
pub(crate) fn cases_alone() -> impl Iterator<Item = Case> {
    cases().filter(|case| matches!(case.ends, (Stack::S2n, Stack::S2n)))
}

pub(crate) enum Server {
    S2n(moqt_s2n_quic::Server),
    Quinn(moqt_quinn_proto::Server),
}

impl Server {
    pub(crate) fn bind(stack: Stack, options: &ServerOptions) -> Self {
        let address = anywhere();
        match stack {
            Stack::S2n => Self::S2n(moqt_s2n_quic::Server::bind(address, options).unwrap()),
            Stack::Quinn => Self::Quinn(moqt_quinn_proto::Server::bind(address, options).unwrap()),
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        match self {
            Self::S2n(server) => server.local_addr(),
            Self::Quinn(server) => server.local_addr(),
        }
    }

    pub(crate) async fn accept(&self) -> Session {
        match self {
            Self::S2n(server) => server.accept().await.unwrap(),
            Self::Quinn(server) => server.accept().await.unwrap(),
        }
    }

    pub(crate) fn target(&self, scheme: Scheme) -> Target {
        let scheme = if scheme == Scheme::Quic { "moqt" } else { "https" };
        format!("{scheme}://{}/path?query", self.local_addr()).parse().unwrap()
    }
}

pub(crate) async fn connect(
    stack: Stack,
    target: &Target,
    options: &ClientOptions,
) -> Result<Session, ConnectError> {
    match stack {
        Stack::S2n => moqt_s2n_quic::Client::connect(target, options).await,
        Stack::Quinn => moqt_quinn_proto::Client::connect(target, options).await,
    }
}

/// Options of a server with a certificate of its own, and of a client that trusts it.
pub(crate) fn options() -> (ClientOptions, ServerOptions) {
    let identity = Identity::self_signed([]).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    (options, ServerOptions::new(identity))
}

/// Both ends of a session, with these options but for the draft.
pub(crate) async fn pair_with(
    case: Case,
    mut client: ClientOptions,
    server: &ServerOptions,
) -> (Session, Session, Server) {
    client.drafts = vec![case.draft];
    let server = Server::bind(case.ends.1, server);
    let target = server.target(case.scheme);
    let connect = connect(case.ends.0, &target, &client);
    let (client, accepted) = bounded(async { tokio::join!(connect, server.accept()) }).await;
    let client = client.unwrap();
    assert_eq!((client.draft(), accepted.draft()), (case.draft, case.draft), "{case:?}");
    (client, accepted, server)
}

/// Both ends of a session.
pub(crate) async fn pair(case: Case) -> (Session, Session, Server) {
    let (client, server) = options();
    pair_with(case, client, &server).await
}

/// A track that the server publishes to the client.
pub(crate) async fn subscribed(
    client: &Session,
    server: &Session,
    track: &str,
    parameters: Parameters,
) -> (Subscription, Publication) {
    let accept = async {
        match server.accept_request().await.unwrap() {
            Incoming::Subscribe(subscribe) => subscribe.accept(Accept::default()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let subscribe = client.subscribe(track.parse().unwrap(), parameters);
    let (subscription, publication) =
        bounded(async { tokio::join!(subscribe.into_future(), accept) }).await;
    (subscription.unwrap(), publication)
}

/// What is sent at a place.
pub(crate) fn payload(group: u64, object: u64) -> Bytes {
    let len = usize::try_from((group * 7 + object * 13) % 5000).unwrap();
    (0..len).map(|at| u8::try_from((at as u64 * 31 + group + object) % 251).unwrap()).collect()
}
