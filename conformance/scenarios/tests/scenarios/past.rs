//! Objects of the past: fetched, joined, asked about (draft-18, "FETCH" and "TRACK_STATUS").

use std::time::Duration;

use moqt_engine::model::{
    GroupOrder, JoiningStart, Location, LocationRange, Parameters, PublishDoneCode,
    RequestErrorCode, StreamResetCode,
};
use moqt_engine::track::{TrackLayout, TrackRead};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, AcceptFetch, Refusal};
use moqt_scenarios::{
    Stage, accept_subscribe, incoming_fetch, locations, object, payload, serve, track,
};
use moqt_session::{Error, FetchReader, Incoming, Publication, TrackReader, WriteError};

moqt_scenarios::scenarios![
    a_fetch_gives_what_was_asked_for,
    groups_come_newest_first_if_asked_for,
    a_fetch_that_is_refused,
    a_fetch_that_is_cancelled_midway,
    a_fetch_that_is_given_up_midway,
    a_range_without_objects,
    a_track_is_joined_some_groups_back,
    a_track_is_joined_at_a_group,
    a_track_is_asked_about,
];

/// Objects of each group.
const OBJECTS: u64 = 20;

/// What was published last.
const LARGEST: Location = Location::new(9, OBJECTS - 1);

async fn read_all(mut fetch: FetchReader) -> Vec<Location> {
    let mut seen = Vec::new();
    while let Some(object) = fetch.read_object(1 << 20).await.unwrap() {
        assert_eq!(object.payload, payload(object.location), "{}", object.location);
        seen.push(object.location);
    }
    seen
}

async fn a_fetch_gives_what_was_asked_for(stage: Stage) {
    // The end is the first location that is not wanted; object 0 there stands for a whole group.
    let ranges = [
        LocationRange::new(Location::new(0, 0), Location::new(20, 0)),
        LocationRange::new(Location::new(2, 5), Location::new(4, 7)),
        LocationRange::new(Location::new(3, 0), Location::new(3, 0)),
        LocationRange::to_last(Location::new(9, 19), Location::new(9, 19)),
    ];
    for range in ranges {
        let pending = stage.subscriber.fetch(track("past"), range, Parameters::default());
        let publish = async {
            let fetch = incoming_fetch(&stage.publisher).await;
            assert_eq!(fetch.range(), range);
            serve(fetch, OBJECTS, LARGEST).await.unwrap();
        };
        let read = async { read_all(pending.await.unwrap()).await };
        let (seen, ()) = tokio::join!(read, publish);
        let all = (0..10).flat_map(|group| (0..OBJECTS).map(move |id| Location::new(group, id)));
        let expected: Vec<_> = all.filter(|at| range.contains(*at)).collect();
        assert!(!expected.is_empty());
        assert_eq!(seen, expected, "{range:?}");
    }
}

async fn groups_come_newest_first_if_asked_for(stage: Stage) {
    let mut parameters = Parameters::default();
    parameters.group_order = Some(GroupOrder::Descending);
    let range = LocationRange::new(Location::new(0, 0), Location::new(2, 0));
    let order = [(2, 0), (2, 1), (1, 7), (0, 3), (0, 9)].map(|(at, id)| Location::new(at, id));
    let pending = stage.subscriber.fetch(track("past"), range, parameters);
    let publish = async {
        let fetch = incoming_fetch(&stage.publisher).await;
        assert_eq!(fetch.parameters().group_order, Some(GroupOrder::Descending));
        let mut writer = fetch.accept(AcceptFetch::new(Location::new(2, 0))).unwrap();
        for at in order {
            writer.write(&object(at), payload(at)).await.unwrap();
        }
        writer.finish().await.unwrap();
    };
    let read = async { read_all(pending.await.unwrap()).await };
    let (seen, ()) = tokio::join!(read, publish);
    assert_eq!(seen, order);
}

async fn a_fetch_that_is_refused(stage: Stage) {
    let range = LocationRange::new(Location::new(0, 0), Location::new(1, 0));
    for code in [RequestErrorCode::Unauthorized, RequestErrorCode::InvalidRange] {
        let pending = stage.subscriber.fetch(track("past"), range, Parameters::default());
        let mut refusal = Refusal::new(code);
        refusal.reason = "not this".into();
        let refuse = async { incoming_fetch(&stage.publisher).await.reject(refusal) };
        let (answer, ()) = tokio::join!(pending, refuse);
        let Err(Error::Rejected(error)) = answer else { panic!("accepted") };
        assert_eq!((error.code, error.reason.as_str()), (code, "not this"));
    }
    stage.world.until(|| stage.publisher.usage().requests == 0).await;
}

async fn a_fetch_that_is_cancelled_midway(stage: Stage) {
    const END: Location = Location::new(1 << 40, 0);
    // So much that it cannot all be on its way.
    let large = |group: u64| vec![u8::try_from(group % 251).unwrap(); 100_000];
    let range = LocationRange::new(Location::new(0, 0), END);
    let pending = stage.subscriber.fetch(track("past"), range, Parameters::default());
    let publish = async {
        let fetch = incoming_fetch(&stage.publisher).await;
        let mut writer = fetch.accept(AcceptFetch::new(END)).unwrap();
        for group in 0.. {
            let object = FetchObject { payload_len: 100_000, ..object(Location::new(group, 0)) };
            if let Err(error) = writer.write(&object, large(group).into()).await {
                return error;
            }
        }
        unreachable!()
    };
    let read = async {
        let mut fetch = pending.await.unwrap();
        for group in 0..3 {
            let object = fetch.read_object(1 << 20).await.unwrap().unwrap();
            assert_eq!(object.location, Location::new(group, 0));
            assert!(object.payload == large(group));
        }
        fetch.cancel();
    };
    let (error, ()) = tokio::join!(publish, read);
    assert!(matches!(error, WriteError::Stopped(_) | WriteError::Gone), "{error:?}");
    stage.world.until(|| stage.publisher.usage().send_bytes == 0).await;
    stage.world.until(|| stage.publisher.usage().requests == 0).await;
    stage.world.until(|| stage.subscriber.usage().requests == 0).await;
}

async fn a_fetch_that_is_given_up_midway(stage: Stage) {
    let range = LocationRange::new(Location::new(0, 0), Location::new(1, 0));
    let pending = stage.subscriber.fetch(track("past"), range, Parameters::default());
    let fetch = incoming_fetch(&stage.publisher).await;
    let mut writer = fetch.accept(AcceptFetch::new(Location::new(1, 0))).unwrap();
    let first = Location::new(0, 0);
    writer.write(&object(first), payload(first)).await.unwrap();
    let mut fetch = pending.await.unwrap();
    assert_eq!(fetch.read_object(1 << 20).await.unwrap().unwrap().payload, payload(first));
    writer.reset(StreamResetCode::InternalError);
    let error = fetch.read_object(1 << 20).await.unwrap_err();
    assert_eq!(error, Error::Cancelled(StreamResetCode::InternalError));
}

async fn a_range_without_objects(stage: Stage) {
    let range = LocationRange::new(Location::new(0, 0), Location::new(1, 0));
    let pending = stage.subscriber.fetch(track("past"), range, Parameters::default());
    let publish = async {
        let fetch = incoming_fetch(&stage.publisher).await;
        fetch.accept(AcceptFetch::new(Location::new(1, 0))).unwrap().finish().await.unwrap();
    };
    let (answer, ()) = tokio::join!(pending, publish);
    // Draft 14 has an error for it, the later ones a stream without objects.
    match answer {
        Ok(fetch) => assert_eq!(read_all(fetch).await, []),
        Err(Error::Rejected(error)) => assert_eq!(error.code, RequestErrorCode::NoObjects),
        Err(error) => panic!("{error}"),
    }
}

async fn a_track_is_joined_some_groups_back(stage: Stage) {
    join(stage, JoiningStart::Relative(2), 4).await;
}

async fn a_track_is_joined_at_a_group(stage: Stage) {
    join(stage, JoiningStart::Absolute(3), 3).await;
}

/// Where a joiner finds the track: in the middle of a group.
const JOINED: Location = Location::new(6, 9);

/// Publishes what follows `JOINED`, to the end of this group.
async fn publish_live(publication: Publication, last: u64) {
    let start = Location::new(JOINED.group, JOINED.object + 1);
    let mut layout = TrackLayout::new(start, 2);
    let mut writer = publication.into_track();
    while layout.next().group <= last {
        let slot = layout.place(layout.next().object + 1 == OBJECTS);
        writer.write(slot, &Properties::EMPTY, payload(slot.location)).await.unwrap();
    }
    writer.done(PublishDoneCode::TrackEnded, "");
}

/// Joins; everything from the start of `first` on comes once and in order.
async fn join(stage: Stage, start: JoiningStart, first: u64) {
    const LAST: u64 = 9;
    let publish = async {
        let subscribe = accept_subscribe(&stage.publisher).await;
        let mut accept = Accept::default();
        accept.parameters.largest_object = Some(JOINED);
        let publication = subscribe.accept(accept).unwrap();
        let past = async {
            let fetch = incoming_fetch(&stage.publisher).await;
            let expected = LocationRange::to_last(Location::new(first, 0), JOINED);
            assert_eq!(fetch.range(), expected);
            serve(fetch, OBJECTS, JOINED).await.unwrap();
        };
        // What is live is sent while the past is still to come.
        tokio::join!(publish_live(publication, LAST), past);
    };
    let read = async {
        let gap_timeout = Duration::from_secs(60);
        let reader = stage.subscriber.join(track("live"), start, gap_timeout).await.unwrap();
        read_track(reader).await
    };
    let ((), seen) = tokio::join!(publish, read);
    let range = LocationRange::new(Location::new(first, 0), Location::new(LAST, 0));
    let expected: Vec<_> = locations(range, OBJECTS).collect();
    assert_eq!(seen, expected);
}

/// All that comes, in order and without gaps, until the track has ended.
async fn read_track(mut reader: TrackReader) -> Vec<Location> {
    let mut seen: Vec<(Location, Vec<u8>)> = Vec::new();
    loop {
        match reader.next().await.unwrap() {
            TrackRead::Object { location, .. } => seen.push((location, Vec::new())),
            TrackRead::Payload(piece) => seen.last_mut().unwrap().1.extend_from_slice(&piece),
            TrackRead::Done { code, .. } => {
                assert_eq!(code, PublishDoneCode::TrackEnded);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reader.late_objects(), 0);
    for (location, bytes) in &seen {
        assert_eq!(*bytes, payload(*location), "{location}");
    }
    seen.into_iter().map(|(location, _)| location).collect()
}

async fn a_track_is_asked_about(stage: Stage) {
    let ask = |name: &str| stage.subscriber.track_status(track(name), Parameters::default());
    let answer = async |largest| {
        let Ok(Incoming::TrackStatus(request)) = stage.publisher.accept_request().await else {
            panic!("something else was asked for")
        };
        let mut accept = Accept::default();
        accept.parameters.largest_object = largest;
        match request.track() {
            name if *name == track("none") => {
                request.reject(Refusal::new(RequestErrorCode::DoesNotExist));
            }
            _ => request.accept(accept).unwrap(),
        }
    };
    for largest in [Some(Location::new(7, 3)), None] {
        let (status, ()) = tokio::join!(ask("some"), answer(largest));
        assert_eq!(status.unwrap().parameters.largest_object, largest);
    }
    let (status, ()) = tokio::join!(ask("none"), answer(None));
    let Err(Error::Rejected(error)) = status else { panic!("{status:?}") };
    assert_eq!(error.code, RequestErrorCode::DoesNotExist);
    stage.world.until(|| stage.publisher.usage().requests == 0).await;
}
