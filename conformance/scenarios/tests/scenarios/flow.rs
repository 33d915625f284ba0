//! Much at once: large objects, many tracks, what is urgent, who is slow.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use moqt_engine::model::{Location, Parameters, PublishDoneCode, SubgroupId};
use moqt_engine::{Accept, SubgroupOptions};
use moqt_loopback::{LinkConfig, PathConfig};
use moqt_scenarios::{Setup, Stage, payload, subscribed, write_group};
use moqt_session::{Publication, SubgroupReader, WriteError};

moqt_scenarios::scenarios![
    one_object_of_8_mib,
    an_object_of_8_mib_in_64_subgroups,
    three_hundred_tracks_at_once(widely),
    a_track_that_nobody_reads_holds_up_nothing_else(slowly),
    what_is_urgent_overtakes_what_waits(slowly),
];

const LARGE: usize = 8 << 20;

/// A link in memory that takes its time.
fn slowly(setup: &mut Setup) {
    let mut path = PathConfig::default();
    path.bandwidth = Some(20_000_000);
    setup.link = LinkConfig::symmetric(path);
}

/// A link in memory with as many streams as the stacks allow.
fn widely(setup: &mut Setup) {
    let mut path = PathConfig::default();
    path.bi_streams = 1024;
    path.uni_streams = 1024;
    setup.link = LinkConfig::symmetric(path);
}

/// Each byte says where it is, with a period that is no power of two.
fn large(len: usize, seed: usize) -> Bytes {
    (0..len).map(|at| u8::try_from((at + seed * 101) % 241).unwrap()).collect()
}

async fn read_pieces(reader: &mut SubgroupReader) -> Bytes {
    let mut read = BytesMut::new();
    while let Some(chunk) = reader.chunk(usize::MAX).await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    read.freeze()
}

async fn open(
    publication: &Publication,
    subgroup: u64,
    priority: u8,
) -> moqt_session::SubgroupWriter {
    let mut options = SubgroupOptions::new(0);
    options.subgroup_id = SubgroupId::Explicit(subgroup);
    options.publisher_priority = Some(priority);
    publication.open_subgroup(options).await.unwrap().unwrap()
}

async fn one_object_of_8_mib(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "large", Parameters::default(), Accept::default()).await;
    let write = async {
        let mut writer = open(&publication, 0, 128).await;
        writer.write_object(0, large(LARGE, 0)).await.unwrap();
        writer.finish().unwrap();
        publication.done(PublishDoneCode::TrackEnded, "");
    };
    let read = async {
        let mut reader = subscription.next_subgroup().await.unwrap().unwrap();
        let header = reader.next_object().await.unwrap().unwrap();
        assert_eq!(header.payload_len, LARGE as u64);
        assert!(read_pieces(&mut reader).await == large(LARGE, 0), "it differs");
        assert_eq!(reader.next_object().await.unwrap(), None);
        drop(reader);
        assert!(subscription.next_subgroup().await.unwrap().is_none());
    };
    tokio::join!(write, read);
}

async fn an_object_of_8_mib_in_64_subgroups(stage: Stage) {
    const SUBGROUPS: u64 = 64;
    let len = LARGE / 64;
    let (mut subscription, publication) =
        subscribed(&stage, "parts", Parameters::default(), Accept::default()).await;
    let write = async {
        let write = async |subgroup: u64| {
            let mut writer = open(&publication, subgroup, 128).await;
            let seed = usize::try_from(subgroup).unwrap();
            writer.write_object(subgroup, large(len, seed)).await.unwrap();
            writer.finish().unwrap();
        };
        join_all((0..SUBGROUPS).map(write)).await;
        publication.done(PublishDoneCode::TrackEnded, "");
    };
    let read = async {
        let mut seen = BTreeMap::new();
        while let Some(object) = subscription.next_object().await.unwrap() {
            let id = object.location.object;
            assert_eq!(object.subgroup_id, Some(id));
            let expected = large(len, usize::try_from(id).unwrap());
            assert!(object.payload == expected, "subgroup {id} differs");
            *seen.entry(id).or_default() += 1;
        }
        assert_eq!(seen, (0..SUBGROUPS).map(|id| (id, 1)).collect());
        assert_eq!(subscription.done().unwrap().missing_streams, 0);
    };
    tokio::join!(write, read);
}

async fn three_hundred_tracks_at_once(stage: Stage) {
    const TRACKS: u64 = 300;
    let mut ends = Vec::new();
    for number in 0..TRACKS {
        let name = format!("track{number}");
        ends.push(subscribed(&stage, &name, Parameters::default(), Accept::default()).await);
    }
    let (subscriptions, publications): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let write = async |(group, publication): (u64, Publication)| {
        write_group(&publication, group, 0..10).await;
        publication.done(PublishDoneCode::TrackEnded, "");
    };
    let read = async |(group, mut subscription): (u64, moqt_session::Subscription)| {
        for id in 0..10 {
            let object = subscription.next_object().await.unwrap().unwrap();
            let location = Location::new(group, id);
            assert_eq!((object.location, object.payload), (location, payload(location)));
        }
        assert!(subscription.next_object().await.unwrap().is_none());
    };
    let writers = join_all((0..).zip(publications).map(write));
    tokio::join!(writers, join_all((0..).zip(subscriptions).map(read)));
}

async fn a_track_that_nobody_reads_holds_up_nothing_else(stage: Stage) {
    let (unread, flooded) =
        subscribed(&stage, "unread", Parameters::default(), Accept::default()).await;
    let flood = async {
        // More urgent than all else.
        let mut writer = open(&flooded, 0, 0).await;
        for id in 0.. {
            if let Err(error) = writer.write_object(id, vec![7; 100_000].into()).await {
                return error;
            }
        }
        unreachable!()
    };
    let others = async {
        // It flows until nothing more is taken.
        stage.world.until(|| stage.subscriber.usage().receive_bytes > 0).await;
        let (mut subscription, publication) =
            subscribed(&stage, "read", Parameters::default(), Accept::default()).await;
        for group in 0..5 {
            let read = async {
                for id in 0..20 {
                    let object = subscription.next_object().await.unwrap().unwrap();
                    let location = Location::new(group, id);
                    assert_eq!((object.location, object.payload), (location, payload(location)));
                }
            };
            tokio::join!(write_group(&publication, group, 0..20), read);
        }
        publication.done(PublishDoneCode::TrackEnded, "");
        assert!(subscription.next_object().await.unwrap().is_none());
        // Unsubscribing ends the flood.
        drop(unread);
    };
    let (error, ()) = tokio::join!(flood, others);
    assert!(matches!(error, WriteError::Gone | WriteError::Stopped(_)), "{error}");
}

async fn what_is_urgent_overtakes_what_waits(stage: Stage) {
    const WAITING: usize = 24 << 20;
    let (mut bulk, bulky) =
        subscribed(&stage, "bulk", Parameters::default(), Accept::default()).await;
    let (mut urgent, urgently) =
        subscribed(&stage, "urgent", Parameters::default(), Accept::default()).await;
    let mut writer = open(&bulky, 0, 200).await;
    writer.write_object(0, vec![7; WAITING].into()).await.unwrap();
    let mut reader = bulk.next_subgroup().await.unwrap().unwrap();
    reader.next_object().await.unwrap().unwrap();
    let mut before = 0;
    while before < 1 << 20 {
        before += reader.chunk(usize::MAX).await.unwrap().unwrap().len();
    }
    let mut writer = open(&urgently, 0, 1).await;
    writer.write_object(0, Bytes::from_static(b"now")).await.unwrap();
    let mut meanwhile = 0;
    let object = loop {
        tokio::select! {
            biased;
            object = urgent.next_object() => break object.unwrap().unwrap(),
            chunk = reader.chunk(usize::MAX) => meanwhile += chunk.unwrap().unwrap().len(),
        }
    };
    assert_eq!(&object.payload[..], b"now");
    // What had come or was on its way: the reader's windows (1 MiB and 256 KiB), the backlog, and
    // what was sent while a packet that was lost was sent again.
    assert!(meanwhile < 6 << 20, "{meanwhile} of {WAITING} bytes came before");
}
