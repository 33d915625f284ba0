//! Objects of the past over UDP on 127.0.0.1, on every draft.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use common::{bounded, pair, payload};
use moqt_engine::model::{
    FullTrackName, Location, LocationRange, ObjectStatus, Parameters, RequestErrorCode,
    StreamResetCode,
};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{AcceptFetch, Draft};
use moqt_quinn_proto::session::{
    Error, FetchItem, FetchWriter, Incoming, IncomingFetch, Session, WriteError,
};

/// Objects of each group.
const OBJECTS: u64 = 20;

fn track() -> FullTrackName {
    "demo--past".parse().unwrap()
}

fn object(location: Location) -> FetchObject {
    FetchObject {
        location,
        subgroup_id: Some(location.object % 2),
        publisher_priority: 128,
        payload_len: payload(location.group, location.object).len() as u64,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    }
}

/// All locations of a range, ascending.
fn locations(range: LocationRange) -> impl Iterator<Item = Location> {
    (range.start.group..=range.last().group)
        .flat_map(|group| (0..OBJECTS).map(move |object| Location::new(group, object)))
        .filter(move |location| range.contains(*location))
}

/// Serves a fetch of a track with everything up to `largest`.
async fn serve(fetch: IncomingFetch, largest: Location) -> Result<(), WriteError> {
    let range = fetch.range().published(largest).expect("published");
    let mut writer: FetchWriter = fetch.accept(AcceptFetch::new(range.end)).unwrap();
    for location in locations(range) {
        writer.write(&object(location), payload(location.group, location.object)).await?;
    }
    writer.finish().await
}

async fn incoming_fetch(session: &Session) -> IncomingFetch {
    let Incoming::Fetch(fetch) = session.accept_request().await.unwrap() else { panic!() };
    fetch
}

#[tokio::test]
async fn a_fetch_gives_what_was_asked_for() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let publisher = tokio::spawn(async move {
            let largest = Location::new(9, OBJECTS - 1);
            for _ in 0..2 {
                serve(incoming_fetch(&server).await, largest).await.unwrap();
            }
            server.closed().await;
        });
        let range = LocationRange::new(Location::new(2, 5), Location::new(20, 0));
        let mut whole = bounded(client.fetch(track(), range, Parameters::default())).await.unwrap();
        assert_eq!(whole.answer().range.end, Location::new(9, OBJECTS), "{draft}");
        let mut seen = Vec::new();
        while let Some(object) = bounded(whole.read_object(1 << 20)).await.unwrap() {
            let Location { group, object: id } = object.location;
            assert_eq!(object.payload, payload(group, id), "{draft}");
            assert_eq!(object.subgroup_id, Some(id % 2));
            seen.push(object.location);
        }
        let expected: Vec<Location> = locations(whole.answer().range).collect();
        assert_eq!(seen, expected, "{draft}");
        drop(whole);

        let range = LocationRange::new(Location::new(0, 0), Location::new(1, 0));
        let mut pieces =
            bounded(client.fetch(track(), range, Parameters::default())).await.unwrap();
        let mut count = 0;
        while let Some(item) = bounded(pieces.next()).await.unwrap() {
            let FetchItem::Object(object) = item else { panic!() };
            let mut read = Vec::new();
            // Every other object is passed by.
            while count % 2 == 0
                && let Some(piece) = bounded(pieces.chunk(100)).await.unwrap()
            {
                assert!(piece.len() <= 100);
                read.extend_from_slice(&piece);
            }
            if count % 2 == 0 {
                let Location { group, object: id } = object.location;
                assert_eq!(read, payload(group, id), "{draft}");
            }
            count += 1;
        }
        assert_eq!(count, 2 * OBJECTS, "{draft}");
        drop((pieces, client));
        bounded(publisher).await.unwrap();
    }
}

#[tokio::test]
async fn an_object_that_is_too_large_can_be_read_in_pieces_or_passed_by() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let publisher = tokio::spawn(async move {
            serve(incoming_fetch(&server).await, Location::new(0, 5)).await.unwrap();
            server.closed().await;
        });
        let range = LocationRange::new(Location::new(0, 3), Location::new(0, 0));
        let mut fetch = bounded(client.fetch(track(), range, Parameters::default())).await.unwrap();
        let too_large = |object| Error::TooLarge { len: payload(0, object).len() as u64, limit: 1 };
        assert_eq!(bounded(fetch.read_object(1)).await, Err(too_large(3)), "{draft}");
        let piece = bounded(fetch.chunk(usize::MAX)).await.unwrap().unwrap();
        assert!(payload(0, 3).starts_with(&piece));
        assert_eq!(bounded(fetch.read_object(1)).await, Err(too_large(4)), "{draft}");
        let last = bounded(fetch.read_object(1 << 20)).await.unwrap().unwrap();
        assert_eq!(last.payload, payload(0, 5));
        assert_eq!(bounded(fetch.read_object(1)).await, Ok(None));
        drop((fetch, client));
        bounded(publisher).await.unwrap();
    }
}

#[tokio::test]
async fn a_fetch_that_is_dropped_is_refused_or_cancelled() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let range = LocationRange::new(Location::new(0, 0), Location::new(1, 0));
        let fetch = client.fetch(track(), range, Parameters::default());
        drop(bounded(incoming_fetch(&server)).await);
        let Err(Error::Rejected(error)) = bounded(fetch).await else { panic!() };
        assert_eq!(error.code, RequestErrorCode::DoesNotExist, "{draft}");

        // The writer is dropped.
        let fetch = client.fetch(track(), range, Parameters::default());
        let incoming = bounded(incoming_fetch(&server)).await;
        let mut writer = incoming.accept(AcceptFetch::new(Location::new(1, 0))).unwrap();
        let first = object(Location::new(0, 0));
        bounded(writer.write(&first, payload(0, 0))).await.unwrap();
        let mut fetch = bounded(fetch).await.unwrap();
        assert!(bounded(fetch.read_object(1 << 20)).await.unwrap().is_some(), "{draft}");
        drop(writer);
        let reset = Error::Cancelled(StreamResetCode::InternalError);
        assert_eq!(bounded(fetch.read_object(1 << 20)).await, Err(reset), "{draft}");

        // The reader is dropped.
        let fetch = client.fetch(track(), range, Parameters::default());
        let incoming = bounded(incoming_fetch(&server)).await;
        let mut writer = incoming.accept(AcceptFetch::new(Location::new(1, 0))).unwrap();
        bounded(writer.write(&first, payload(0, 0))).await.unwrap();
        drop(bounded(fetch).await.unwrap());
        let mut id = 1;
        let stopped = loop {
            let object = FetchObject { payload_len: 1000, ..object(Location::new(0, id)) };
            id += 1;
            match bounded(writer.write(&object, vec![0; 1000].into())).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(stopped, WriteError::Stopped(_)), "{draft}: {stopped:?}");
        drop(writer);
        assert_eq!(server.usage().send_bytes, 0, "{draft}");
    }
}
