//! Objects of the past over UDP on 127.0.0.1, on every draft: fetched, asked about, joined.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::time::Duration;

use common::{bounded, pair, payload};
use moqt_engine::model::{
    FullTrackName, GroupOrder, JoiningStart, Location, LocationRange, ObjectStatus, Parameters,
    PublishDoneCode, RequestErrorCode, StreamResetCode,
};
use moqt_engine::track::{TrackLayout, TrackRead};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, AcceptFetch, Draft};
use moqt_quinn_proto::session::{
    Error, FetchItem, FetchWriter, Incoming, IncomingFetch, Publication, Session, TrackWriter,
    WriteError,
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

#[tokio::test]
async fn a_range_without_objects_is_told_as_the_draft_does() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let range = LocationRange::new(Location::new(0, 0), Location::new(1, 0));
        let fetch = client.fetch(track(), range, Parameters::default());
        let incoming = bounded(incoming_fetch(&server)).await;
        let writer = incoming.accept(AcceptFetch::new(Location::new(1, 0))).unwrap();
        bounded(writer.finish()).await.unwrap();
        match bounded(fetch).await {
            Ok(mut fetch) => assert_eq!(bounded(fetch.read_object(1)).await, Ok(None), "{draft}"),
            Err(Error::Rejected(error)) => {
                assert_eq!(error.code, RequestErrorCode::NoObjects, "{draft}");
            }
            Err(error) => panic!("{draft}: {error}"),
        }
    }
}

#[tokio::test]
async fn groups_come_in_descending_order_if_asked_for() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let mut parameters = Parameters::default();
        parameters.group_order = Some(GroupOrder::Descending);
        let range = LocationRange::new(Location::new(0, 0), Location::new(2, 0));
        let fetch = client.fetch(track(), range, parameters);
        let incoming = bounded(incoming_fetch(&server)).await;
        assert_eq!(incoming.parameters().group_order, Some(GroupOrder::Descending));
        let mut writer = incoming.accept(AcceptFetch::new(Location::new(2, 0))).unwrap();
        let order = [(2, 0), (2, 1), (1, 7), (0, 3), (0, 9)];
        for (group, id) in order {
            let object = object(Location::new(group, id));
            bounded(writer.write(&object, payload(group, id))).await.unwrap();
        }
        let backwards = object(Location::new(1, 8));
        let refused = bounded(writer.write(&backwards, payload(1, 8))).await;
        assert!(matches!(refused, Err(WriteError::Command(_))), "{draft}: {refused:?}");
        bounded(writer.finish()).await.unwrap();
        let mut fetch = bounded(fetch).await.unwrap();
        for (group, id) in order {
            let object = bounded(fetch.read_object(1 << 20)).await.unwrap().unwrap();
            assert_eq!(object.location, Location::new(group, id), "{draft}");
            assert_eq!(object.payload, payload(group, id));
        }
        assert_eq!(bounded(fetch.read_object(1)).await, Ok(None));
    }
}

#[tokio::test]
async fn the_status_of_a_track_is_told() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let status = client.track_status(track(), Parameters::default());
        let Incoming::TrackStatus(incoming) = bounded(server.accept_request()).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(incoming.track(), &track());
        let mut accept = Accept::default();
        accept.parameters.largest_object = Some(Location::new(3, 4));
        incoming.accept(accept).unwrap();
        let answer = bounded(status).await.unwrap();
        assert_eq!(answer.parameters.largest_object, Some(Location::new(3, 4)), "{draft}");

        let status = client.track_status(track(), Parameters::default());
        drop(bounded(server.accept_request()).await.unwrap());
        let Err(Error::Rejected(error)) = bounded(status).await else { panic!() };
        assert_eq!(error.code, RequestErrorCode::DoesNotExist, "{draft}");
        assert_eq!((client.usage().requests, server.usage().requests), (0, 0), "{draft}");
    }
}

/// Publishes from the object after `largest` up to the end of group `last`.
async fn publish(publication: Publication, largest: Location, last: u64) -> TrackWriter {
    let start = Location::new(largest.group, largest.object + 1);
    let mut layout = TrackLayout::new(start, 2);
    let mut writer = publication.into_track();
    while layout.next().group <= last {
        let slot = layout.place(layout.next().object + 1 == OBJECTS);
        let Location { group, object } = slot.location;
        writer.write(slot, &Properties::EMPTY, payload(group, object)).await.unwrap();
    }
    writer
}

#[tokio::test]
async fn a_track_is_joined_without_a_gap_or_anything_twice() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let largest = Location::new(6, 9);
        let publisher = tokio::spawn(async move {
            let Incoming::Subscribe(subscribe) = server.accept_request().await.unwrap() else {
                panic!()
            };
            let mut accept = Accept::default();
            accept.parameters.largest_object = Some(largest);
            // The live part is sent while the past is still to come.
            let live = tokio::spawn(publish(subscribe.accept(accept).unwrap(), largest, 9));
            let fetch = incoming_fetch(&server).await;
            let joined = LocationRange::to_last(Location::new(4, 0), largest);
            assert_eq!(fetch.range(), joined, "{draft}");
            tokio::task::yield_now().await;
            serve(fetch, largest).await.unwrap();
            live.await.unwrap().done(PublishDoneCode::TrackEnded, "");
            server.closed().await;
        });
        let start = JoiningStart::Relative(2);
        let join = client.join(track(), start, Duration::from_secs(5));
        let mut reader = bounded(join).await.unwrap();
        let mut read: Vec<(Location, Vec<u8>)> = Vec::new();
        loop {
            match bounded(reader.next()).await.unwrap() {
                TrackRead::Object { location, .. } => read.push((location, Vec::new())),
                TrackRead::Payload(piece) => read.last_mut().unwrap().1.extend_from_slice(&piece),
                TrackRead::Done { code, .. } => {
                    break assert_eq!(code, PublishDoneCode::TrackEnded);
                }
                other => panic!("{draft}: {other:?}"),
            }
        }
        let range = LocationRange::new(Location::new(4, 0), Location::new(9, 0));
        let expected: Vec<Location> = locations(range).collect();
        let found: Vec<Location> = read.iter().map(|(location, _)| *location).collect();
        assert_eq!(found, expected, "{draft}");
        for (Location { group, object }, bytes) in read {
            assert_eq!(bytes, payload(group, object), "{draft}");
        }
        assert_eq!(reader.late_objects(), 0);
        drop((reader, client));
        bounded(publisher).await.unwrap();
    }
}
