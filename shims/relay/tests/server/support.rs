//! Relays, and publishers and subscribers to use them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, Parameters, PublishDoneCode, TrackNamespace, TrackProperties,
};
use moqt_engine::{Draft, SubgroupOptions};
use moqt_quinn_proto::session::{Publication, Session, Subscription};
use moqt_quinn_proto::{
    Client, ClientOptions, ClientTls, ConnectError, Identity, ServerOptions, Target, Verify,
};
use moqt_relay_server::{Relay, RelayOptions};
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// Fails a test that hangs.
pub(crate) async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("nothing happens")
}

/// Any port of this host.
pub(crate) fn anywhere() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) struct Running {
    pub(crate) relay: Relay,
    pub(crate) hash: [u8; 32],
}

/// A relay of so many shards.
pub(crate) fn start(shards: u16, configure: impl FnOnce(&mut RelayOptions)) -> Running {
    let identity = Identity::self_signed([]).unwrap();
    let hash = identity.sha256();
    let mut options = RelayOptions::new(anywhere(), ServerOptions::new(identity));
    options.shards = shards;
    configure(&mut options);
    Running { relay: Relay::start(options).unwrap(), hash }
}

impl Running {
    pub(crate) fn target(&self, scheme: &str) -> Target {
        format!("{scheme}://{}/", self.relay.local_addr()).parse().unwrap()
    }

    pub(crate) fn options(&self, draft: Draft) -> ClientOptions {
        let mut options = ClientOptions::default();
        options.tls = ClientTls::new(Verify::Pinned(vec![self.hash]));
        options.drafts = vec![draft];
        options
    }

    pub(crate) async fn try_connect(&self, draft: Draft) -> Result<Session, ConnectError> {
        bounded(Client::connect(&self.target("moqt"), &self.options(draft))).await
    }

    pub(crate) async fn connect(&self, draft: Draft) -> Session {
        self.try_connect(draft).await.unwrap()
    }

    pub(crate) async fn connect_over_http(&self, draft: Draft) -> Session {
        bounded(Client::connect(&self.target("https"), &self.options(draft))).await.unwrap()
    }
}

pub(crate) fn track(name: &str) -> FullTrackName {
    let namespace = TrackNamespace::new(["live", "news"]).unwrap();
    FullTrackName::new(namespace, name.to_owned().into_bytes()).unwrap()
}

pub(crate) async fn publish(session: &Session, name: &str) -> Publication {
    let publication =
        session.publish(track(name), Parameters::default(), TrackProperties::default());
    let publication = bounded(publication).await.unwrap();
    bounded(publication.accepted()).await.unwrap();
    publication
}

pub(crate) async fn subscribe(session: &Session, name: &str) -> Subscription {
    bounded(session.subscribe(track(name), Parameters::default())).await.unwrap()
}

pub(crate) fn payload(group: u64) -> Bytes {
    (0..3000u64).map(|at| u8::try_from((at * 7 + group) % 251).unwrap()).collect()
}

/// Publishes a group of one object, when somebody wants it.
pub(crate) async fn write(publication: &Publication, group: u64) {
    let writer = bounded(publication.open_subgroup(SubgroupOptions::new(group))).await.unwrap();
    let mut writer = writer.expect("somebody wants it");
    bounded(writer.write_object(0, payload(group))).await.unwrap();
    writer.finish().unwrap();
}

/// Publishes a group and sees it arrive.
pub(crate) async fn crosses(
    publication: &Publication,
    subscription: &mut Subscription,
    group: u64,
) {
    wanted(publication).await;
    write(publication, group).await;
    arrives(subscription, group).await;
}

pub(crate) async fn arrives(subscription: &mut Subscription, group: u64) {
    let object = bounded(subscription.next_object()).await.unwrap().expect("it goes on");
    assert_eq!(object.location.group, group);
    assert_eq!(object.payload, payload(group));
}

/// Waits until the relay has somebody to forward to.
pub(crate) async fn wanted(publication: &Publication) {
    while !publication.forward() {
        bounded(publication.next_update()).await.unwrap();
    }
}

pub(crate) async fn ends(publication: Publication, mut subscription: Subscription) {
    publication.done(PublishDoneCode::TrackEnded, "");
    while bounded(subscription.next_object()).await.unwrap().is_some() {}
    assert!(subscription.done().is_some());
}

/// A path to a server whose end here can be given another port.
pub(crate) struct Path {
    pub(crate) local: SocketAddr,
    far: watch::Sender<Arc<UdpSocket>>,
    server: SocketAddr,
}

impl Path {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind(anywhere()).await.unwrap());
        let local = near.local_addr().unwrap();
        let (far, mut current) = watch::channel(Self::end(server).await);
        tokio::spawn(async move {
            let (mut out, mut back) = (vec![0; 65536], vec![0; 65536]);
            let mut client = None;
            loop {
                let far = current.borrow_and_update().clone();
                tokio::select! {
                    received = near.recv_from(&mut out) => {
                        let Ok((len, from)) = received else { return };
                        client = Some(from);
                        let _ = far.send(&out[..len]).await;
                    }
                    received = far.recv(&mut back) => {
                        let (Ok(len), Some(client)) = (received, client) else { continue };
                        let _ = near.send_to(&back[..len], client).await;
                    }
                    changed = current.changed() => if changed.is_err() { return },
                }
            }
        });
        Self { local, far, server }
    }

    async fn end(server: SocketAddr) -> Arc<UdpSocket> {
        let socket = UdpSocket::bind(anywhere()).await.unwrap();
        socket.connect(server).await.unwrap();
        Arc::new(socket)
    }

    /// From now on the client seems to be at another port.
    pub(crate) async fn rebind(&self) {
        self.far.send(Self::end(self.server).await).unwrap();
    }
}
