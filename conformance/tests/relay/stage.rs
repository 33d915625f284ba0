//! A relay, publishers and subscribers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, Location, ObjectStatus, Parameters, PublishDoneCode, RequestErrorCode,
    TrackNamespace, TrackProperties,
};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, Config, Draft, MoqtConnection, Role, SubgroupOptions, Transport};
use moqt_loopback::{LinkConfig, RelayNode, RelayOptions, Simulation};
use moqt_session::{
    Error, Incoming, IncomingFetch, IncomingPublish, IncomingSubscribe, NamespacePublication,
    Publication, Session, Subscription,
};

/// A network with one relay.
pub(crate) struct Stage {
    pub(crate) simulation: Simulation,
    pub(crate) relay: RelayNode,
    seed: u64,
}

impl Stage {
    /// A relay of one to three shards, as the seed has it.
    pub(crate) fn new(seed: u64) -> Self {
        let mut options = RelayOptions::default();
        options.shards = 1 + u16::try_from(seed % 3).unwrap();
        Self::with(seed, options)
    }

    /// The same, of a relay that lets publishers rest while nobody subscribes.
    pub(crate) fn resting(seed: u64) -> Self {
        let mut options = RelayOptions::default();
        options.shards = 1 + u16::try_from(seed % 3).unwrap();
        options.config.rest_publishers = true;
        Self::with(seed, options)
    }

    pub(crate) fn with(seed: u64, options: RelayOptions) -> Self {
        let simulation = Simulation::new(seed);
        let relay = simulation.relay(options);
        Self { simulation, relay, seed }
    }

    /// A relay below another.
    pub(crate) fn below(&self, upstream: &RelayNode, draft: Draft) -> RelayNode {
        let mut options = RelayOptions::default();
        options.shards = 1 + u16::try_from(self.seed % 2).unwrap();
        let relay = self.simulation.relay(options);
        self.connect(&relay, upstream, draft);
        relay
    }

    /// Puts a relay below another.
    pub(crate) fn connect(&self, down: &RelayNode, up: &RelayNode, draft: Draft) {
        let link = LinkConfig::seeded(self.seed);
        self.simulation.connect_relays(down, up, draft, Transport::Quic, link);
    }

    /// A session with the relay.
    pub(crate) async fn client(&self, draft: Draft) -> Session {
        self.client_of(&self.relay, draft).await
    }

    /// A session with one of several relays.
    pub(crate) async fn client_of(&self, relay: &RelayNode, draft: Draft) -> Session {
        let config = Arc::new(Config::default());
        let now = self.simulation.now();
        let client = MoqtConnection::new(Role::Client, draft, Transport::Quic, config, now);
        let link = LinkConfig::seeded(self.seed);
        self.simulation.connect_to_relay(relay, client, link).await.unwrap()
    }

    /// A session over a link that loses no datagrams.
    pub(crate) async fn near_client(&self, draft: Draft) -> Session {
        self.client_over(draft, LinkConfig::default()).await
    }

    /// A session over this link.
    pub(crate) async fn client_over(&self, draft: Draft, link: LinkConfig) -> Session {
        let config = Arc::new(Config::default());
        let now = self.simulation.now();
        let client = MoqtConnection::new(Role::Client, draft, Transport::Quic, config, now);
        self.simulation.connect_to_relay(&self.relay, client, link).await.unwrap()
    }

    /// Whether nothing comes of something for three seconds.
    pub(crate) async fn nothing_comes<T>(&self, of: impl Future<Output = T>) -> bool {
        tokio::select! {
            _ = of => false,
            () = self.sleep(3000) => true,
        }
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        self.simulation.sleep(Duration::from_millis(millis)).await;
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.simulation.run(future).expect("somebody waits in vain")
    }
}

pub(crate) fn track(name: &str) -> FullTrackName {
    format!("relayed-things--{name}").parse().unwrap()
}

pub(crate) fn namespace() -> TrackNamespace {
    track("").namespace().clone()
}

/// What is published at a place: other bytes everywhere.
pub(crate) fn payload(at: Location) -> Bytes {
    let Location { group, object } = at;
    let len = (group * 997 + object * 1313 + 1) % 5000;
    (0..len).map(|byte| u8::try_from((byte * 31 + group * 7 + object) % 251).unwrap()).collect()
}

/// What a publisher says of it in answer to a fetch.
pub(crate) fn fetched(location: Location) -> FetchObject {
    FetchObject {
        location,
        subgroup_id: Some(0),
        publisher_priority: 128,
        payload_len: payload(location).len() as u64,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    }
}

/// A publisher's session that publishes the namespace.
pub(crate) async fn publish_namespace(session: &Session) -> NamespacePublication {
    session.publish_namespace(namespace(), Parameters::default()).await.unwrap()
}

/// The first field of the namespace.
pub(crate) fn prefix() -> TrackNamespace {
    TrackNamespace::new([namespace().field(0).unwrap()]).unwrap()
}

/// The SUBSCRIBE that the publisher gets.
pub(crate) async fn next_subscribe(session: &Session) -> IncomingSubscribe {
    match session.accept_request().await.unwrap() {
        Incoming::Subscribe(subscribe) => subscribe,
        other => panic!("{other:?}"),
    }
}

/// The PUBLISH that the subscriber gets.
pub(crate) async fn next_publish(session: &Session) -> IncomingPublish {
    match session.accept_request().await.unwrap() {
        Incoming::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

/// The FETCH that the publisher gets.
pub(crate) async fn next_fetch(session: &Session) -> IncomingFetch {
    match session.accept_request().await.unwrap() {
        Incoming::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

/// A PUBLISH of the publisher's.
pub(crate) async fn publish(session: &Session, name: &str) -> Publication {
    let (parameters, properties) = (Parameters::default(), TrackProperties::new());
    session.publish(track(name), parameters, properties).await.unwrap()
}

/// A code that a request was refused with.
pub(crate) fn refusal<T>(answer: Result<T, Error>) -> RequestErrorCode {
    match answer {
        Err(Error::Rejected(error)) => error.code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was granted"),
    }
}

/// The SUBSCRIBE that the publisher gets, accepted.
pub(crate) async fn accept_subscribe(session: &Session) -> Publication {
    next_subscribe(session).await.accept(Accept::default()).unwrap()
}

/// Publishes some objects of a group in one subgroup that ends it.
pub(crate) async fn write_group(publication: &Publication, group: u64, objects: u64) {
    let mut options = SubgroupOptions::new(group);
    options.end_of_group = true;
    let mut writer = publication.open_subgroup(options).await.unwrap().expect("wanted");
    for object in 0..objects {
        writer.write_object(object, payload(Location::new(group, object))).await.unwrap();
    }
    writer.finish().unwrap();
}

/// Publishes groups and ends the track.
pub(crate) async fn write_track(publication: Publication, groups: u64, objects: u64) {
    for group in 0..groups {
        write_group(&publication, group, objects).await;
    }
    publication.done(PublishDoneCode::TrackEnded, "that is all");
}

/// Everything that comes, and how it ends.
pub(crate) async fn receive(mut subscription: Subscription) -> (Vec<Location>, PublishDoneCode) {
    let mut seen = Vec::new();
    while let Some(object) = subscription.next_object().await.unwrap() {
        assert_eq!(object.payload, payload(object.location), "{}", object.location);
        seen.push(object.location);
    }
    seen.sort_unstable();
    (seen, subscription.done().expect("it ended").code)
}

pub(crate) fn locations(groups: u64, objects: u64) -> Vec<Location> {
    let of_group = |group| (0..objects).map(move |object| Location::new(group, object));
    (0..groups).flat_map(of_group).collect()
}
