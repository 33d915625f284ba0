use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, Location, LocationRange, ObjectStatus, Parameters, SubgroupId, TrackProperties,
};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, AcceptFetch, SubgroupOptions};
use moqt_session::{
    Incoming, IncomingFetch, IncomingPublish, IncomingSubscribe, Publication, Session,
    Subscription, WriteError,
};

use crate::stage::Stage;

/// A track of this name.
pub fn track(name: &str) -> FullTrackName {
    format!("scenario--{name}").parse().unwrap()
}

/// What is published at a place: up to 5,000 bytes, other ones everywhere.
pub fn payload(at: Location) -> Bytes {
    let Location { group, object } = at;
    let len = (group * 7 + object * 13 + 1) % 5000;
    (0..len).map(|byte| u8::try_from((byte * 31 + group * 7 + object) % 251).unwrap()).collect()
}

/// The SUBSCRIBE that comes next.
pub async fn accept_subscribe(session: &Session) -> IncomingSubscribe {
    match session.accept_request().await.unwrap() {
        Incoming::Subscribe(subscribe) => subscribe,
        other => panic!("{other:?}"),
    }
}

/// The PUBLISH that comes next.
pub async fn accept_publish(session: &Session) -> IncomingPublish {
    match session.accept_request().await.unwrap() {
        Incoming::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

/// The FETCH that comes next.
pub async fn incoming_fetch(session: &Session) -> IncomingFetch {
    match session.accept_request().await.unwrap() {
        Incoming::Fetch(fetch) => fetch,
        other => panic!("{other:?}"),
    }
}

/// A track that was subscribed to.
pub async fn subscribed(
    stage: &Stage,
    name: &str,
    parameters: Parameters,
    accept: Accept,
) -> (Subscription, Publication) {
    let pending = stage.subscriber.subscribe(track(name), parameters);
    let accepting = async { accept_subscribe(&stage.publisher).await.accept(accept).unwrap() };
    let (subscription, publication) = tokio::join!(pending, accepting);
    (subscription.unwrap(), publication)
}

/// A track that was offered, with these parameters, and has not been answered.
pub async fn offered(
    stage: &Stage,
    name: &str,
    parameters: Parameters,
) -> (Publication, IncomingPublish) {
    let offer = stage.publisher.publish(track(name), parameters, TrackProperties::new());
    let (offer, publish) = tokio::join!(offer, accept_publish(&stage.subscriber));
    (offer.unwrap(), publish)
}

/// Publishes these objects of a group in one subgroup, those that are wanted.
pub async fn write_group(publication: &Publication, group: u64, objects: std::ops::Range<u64>) {
    let mut options = SubgroupOptions::new(group);
    options.subgroup_id = SubgroupId::Explicit(0);
    options.first_object = objects.start == 0;
    let Some(mut writer) = publication.open_subgroup(options).await.unwrap() else { return };
    for object in objects {
        writer.write_object(object, payload(Location::new(group, object))).await.unwrap();
    }
    writer.finish().unwrap();
}

/// How an object of the past is written in a fetch.
pub fn object(location: Location) -> FetchObject {
    FetchObject {
        location,
        subgroup_id: Some(0),
        publisher_priority: 128,
        payload_len: payload(location).len() as u64,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    }
}

/// All locations of a range of a track with so many objects in each group, ascending.
pub fn locations(range: LocationRange, objects: u64) -> impl Iterator<Item = Location> {
    (range.start.group..=range.last().group)
        .flat_map(move |group| (0..objects).map(move |object| Location::new(group, object)))
        .filter(move |location| range.contains(*location))
}

/// Serves a fetch of a track with so many objects in each group, and everything up to `largest`.
pub async fn serve(
    fetch: IncomingFetch,
    objects: u64,
    largest: Location,
) -> Result<(), WriteError> {
    let range = fetch.range().published(largest).expect("published");
    let mut writer = fetch.accept(AcceptFetch::new(range.end)).unwrap();
    for location in locations(range, objects) {
        writer.write(&object(location), payload(location)).await?;
    }
    writer.finish().await
}
