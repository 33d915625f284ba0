//! Subgroups that end early, on either side's wish (draft-18, "Closing Subgroup Streams").

use bytes::Bytes;
use moqt_engine::model::{Location, Parameters, PublishDoneCode, StreamResetCode, SubgroupId};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, SubgroupOptions};
use moqt_scenarios::{Stage, payload, subscribed};
use moqt_session::{Publication, ReadError, SubgroupReader, SubgroupWriter, WriteError};

moqt_scenarios::scenarios![
    a_publisher_resets_a_subgroup_before_anything_was_sent,
    a_publisher_resets_a_subgroup_between_objects,
    a_publisher_resets_a_subgroup_within_an_object,
    a_publisher_resets_a_subgroup_after_all_of_it,
    a_subscriber_stops_a_subgroup_unread,
    a_subscriber_stops_a_subgroup_within_an_object,
    a_subscriber_stops_a_subgroup_that_rests,
    a_subscriber_stops_a_subgroup_after_all_of_it,
];

const LEN: usize = 1000;

async fn open(publication: &Publication, subgroup: u64) -> SubgroupWriter {
    let mut options = SubgroupOptions::new(0);
    options.subgroup_id = SubgroupId::Explicit(subgroup);
    publication.open_subgroup(options).await.unwrap().unwrap()
}

fn at(object: u64) -> Location {
    Location::new(0, object)
}

/// Writes half an object.
async fn write_half(writer: &mut SubgroupWriter, object_id: u64) {
    let payload_len = LEN as u64;
    let header = ObjectHeader { object_id, payload_len, ..Default::default() };
    writer.begin(&header).await.unwrap();
    writer.payload(Bytes::from(vec![5; LEN / 2])).await.unwrap();
}

/// Reads half an object.
async fn read_half(reader: &mut SubgroupReader) {
    let header = reader.next_object().await.unwrap().unwrap();
    assert_eq!(header.payload_len, LEN as u64);
    let mut read = 0;
    while read < LEN / 2 {
        let piece = reader.chunk(LEN).await.unwrap().unwrap();
        assert!(piece.iter().all(|byte| *byte == 5));
        read += piece.len();
    }
    assert_eq!(read, LEN / 2);
}

async fn reads(reader: &mut SubgroupReader, id: u64) {
    let object = reader.read_object(1 << 20).await.unwrap().unwrap();
    assert_eq!((object.location, object.payload), (at(id), payload(at(id))));
}

/// A track with a subgroup that is reset when `write` has written and `read` has read it, and one
/// beside it that is not concerned.
async fn reset(
    stage: Stage,
    write: impl AsyncFnOnce(&mut SubgroupWriter),
    read: impl AsyncFnOnce(&mut SubgroupReader),
) {
    let (mut subscription, publication) =
        subscribed(&stage, "reset", Parameters::default(), Accept::default()).await;
    let mut writer = open(&publication, 0).await;
    write(&mut writer).await;
    let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
    read(&mut reader).await;
    writer.reset(StreamResetCode::InternalError);
    let error = reader.read_object(1 << 20).await.unwrap_err();
    assert_eq!(error, ReadError::Reset(StreamResetCode::InternalError));
    drop(reader);
    let mut beside = open(&publication, 1).await;
    beside.write_object(9, payload(at(9))).await.unwrap();
    beside.finish().unwrap();
    let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
    reads(&mut reader, 9).await;
    assert_eq!(reader.read_object(1).await.unwrap(), None);
    drop(reader);
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_subgroup().await.unwrap().is_none());
    let done = subscription.done().unwrap();
    assert_eq!((done.code, done.missing_streams), (PublishDoneCode::TrackEnded, 0));
}

// What was not sent is nothing that the subscriber could know of.
async fn a_publisher_resets_a_subgroup_before_anything_was_sent(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "reset", Parameters::default(), Accept::default()).await;
    let mut writer = open(&publication, 0).await;
    writer.write_object(0, payload(at(0))).await.unwrap();
    writer.reset(StreamResetCode::InternalError);
    let mut beside = open(&publication, 1).await;
    beside.write_object(9, payload(at(9))).await.unwrap();
    beside.finish().unwrap();
    // On slow paths the other may have been sent after all.
    let mut seen = Vec::new();
    while !seen.contains(&at(9)) {
        let object = subscription.next_object().await.unwrap().unwrap();
        assert_eq!(object.payload, payload(object.location));
        seen.push(object.location);
    }
    assert!(seen == [at(9)] || seen == [at(0), at(9)], "{seen:?}");
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_object().await.unwrap().is_none());
    assert_eq!(subscription.done().unwrap().code, PublishDoneCode::TrackEnded);
}

async fn a_publisher_resets_a_subgroup_between_objects(stage: Stage) {
    let write = async |writer: &mut SubgroupWriter| {
        for id in 0..3 {
            writer.write_object(id, payload(at(id))).await.unwrap();
        }
    };
    let read = async |reader: &mut SubgroupReader| {
        for id in 0..3 {
            reads(reader, id).await;
        }
    };
    reset(stage, write, read).await;
}

async fn a_publisher_resets_a_subgroup_within_an_object(stage: Stage) {
    let write = async |writer: &mut SubgroupWriter| {
        writer.write_object(0, payload(at(0))).await.unwrap();
        write_half(writer, 1).await;
    };
    let read = async |reader: &mut SubgroupReader| {
        reads(reader, 0).await;
        read_half(reader).await;
    };
    reset(stage, write, read).await;
}

async fn a_publisher_resets_a_subgroup_after_all_of_it(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "complete", Parameters::default(), Accept::default()).await;
    let mut writer = open(&publication, 0).await;
    writer.write_object(0, payload(at(0))).await.unwrap();
    writer.finish().unwrap();
    // All of it has come by then, so that what ends with the publication is not this.
    stage.publisher.flushed().await.unwrap();
    drop(publication);
    let object = subscription.next_object().await.unwrap().unwrap();
    assert_eq!((object.location, object.payload), (at(0), payload(at(0))));
    assert!(subscription.next_object().await.unwrap().is_none());
    assert_eq!(subscription.done().unwrap().code, PublishDoneCode::InternalError);
}

/// A subgroup that is stopped when `write` has written and `read` has read it, and one beside it
/// that is not concerned.
async fn stop(
    stage: Stage,
    write: impl AsyncFnOnce(&mut SubgroupWriter),
    read: impl AsyncFnOnce(&mut SubgroupReader),
) {
    let (mut subscription, publication) =
        subscribed(&stage, "stopped", Parameters::default(), Accept::default()).await;
    let mut writer = open(&publication, 0).await;
    write(&mut writer).await;
    let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
    read(&mut reader).await;
    reader.stop(StreamResetCode::Cancelled);
    // Nothing is written meanwhile.
    stage.world.until(|| publication.stats().traffic.subgroups_reset > 0).await;
    let error = writer.write_object(50, Bytes::new()).await.unwrap_err();
    assert_eq!(error, WriteError::Stopped(StreamResetCode::Cancelled));
    drop(writer);
    let mut beside = open(&publication, 1).await;
    beside.write_object(99, payload(at(99))).await.unwrap();
    beside.finish().unwrap();
    let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
    reads(&mut reader, 99).await;
    assert_eq!(reader.read_object(1).await.unwrap(), None);
    drop(reader);
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_subgroup().await.unwrap().is_none());
    assert_eq!(subscription.done().unwrap().code, PublishDoneCode::TrackEnded);
}

async fn a_subscriber_stops_a_subgroup_unread(stage: Stage) {
    let write = async |writer: &mut SubgroupWriter| {
        for id in 0..3 {
            writer.write_object(id, payload(at(id))).await.unwrap();
        }
    };
    stop(stage, write, async |_| {}).await;
}

async fn a_subscriber_stops_a_subgroup_within_an_object(stage: Stage) {
    let write = async |writer: &mut SubgroupWriter| {
        let payload_len = LEN as u64;
        let header = ObjectHeader { object_id: 0, payload_len, ..Default::default() };
        writer.begin(&header).await.unwrap();
        writer.payload(Bytes::from(vec![5; LEN])).await.unwrap();
    };
    let read = async |reader: &mut SubgroupReader| {
        reader.next_object().await.unwrap().unwrap();
        assert_eq!(reader.chunk(LEN / 2).await.unwrap().unwrap(), vec![5; LEN / 2]);
    };
    stop(stage, write, read).await;
}

async fn a_subscriber_stops_a_subgroup_that_rests(stage: Stage) {
    let write = async |writer: &mut SubgroupWriter| {
        writer.write_object(0, payload(at(0))).await.unwrap();
    };
    stop(stage, write, async |reader| reads(reader, 0).await).await;
}

async fn a_subscriber_stops_a_subgroup_after_all_of_it(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "complete", Parameters::default(), Accept::default()).await;
    for id in 0..2 {
        let mut writer = open(&publication, id).await;
        writer.write_object(id, payload(at(id))).await.unwrap();
        writer.finish().unwrap();
        let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
        reads(&mut reader, id).await;
        // Whether its end is known by now or not.
        reader.stop(StreamResetCode::Cancelled);
    }
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_subgroup().await.unwrap().is_none());
    let done = subscription.done().unwrap();
    assert_eq!((done.code, done.missing_streams), (PublishDoneCode::TrackEnded, 0));
}
