//! Tracks between s2n-quic and itself, and between it and quinn-proto, on 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::{bounded, cases, cases_alone, options, pair, pair_with, payload, subscribed};
use moqt_engine::model::{Location, Parameters, PublishDoneCode, StreamResetCode, SubgroupId};
use moqt_engine::{DatagramOptions, DatagramOutcome, Limits, SubgroupOptions};
use moqt_s2n_quic::Scheme;
use moqt_s2n_quic::session::{ReadError, SubscriptionEvent, WriteError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_come_as_they_were_sent() {
    for case in cases() {
        let (client, server, _server) = pair(case).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--numbers", Parameters::default()).await;
        let publisher = tokio::spawn(async move {
            for group in 0..5 {
                for subgroup in 0..4 {
                    let mut options = SubgroupOptions::new(group);
                    options.subgroup_id = SubgroupId::Explicit(subgroup);
                    let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
                    for id in (subgroup..200).step_by(4) {
                        writer.write_object(id, payload(group, id)).await.unwrap();
                    }
                    writer.finish().unwrap();
                }
            }
            publication.done(PublishDoneCode::TrackEnded, "that was all");
            server.flushed().await.unwrap();
            server
        });
        let mut seen = 0;
        while let Some(object) = bounded(subscription.next_object()).await.unwrap() {
            assert_eq!(object.payload, payload(object.location.group, object.location.object));
            seen += 1;
        }
        assert_eq!(seen, 1000, "{case:?}");
        let done = subscription.done().unwrap();
        assert_eq!((done.code, done.missing_streams), (PublishDoneCode::TrackEnded, 0));
        let server = bounded(publisher).await.unwrap();
        drop((subscription, client));
        assert!(bounded(server.closed()).await.is_clean(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_come_up_to_the_largest_that_the_path_takes() {
    for case in cases() {
        let (mut client, mut server) = options();
        // The path's size stays what it is.
        client.transport.max_mtu = 1200;
        server.transport.max_mtu = 1200;
        let (client, server, _server) = pair_with(case, client, &server).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--datagrams", Parameters::default()).await;
        let send = |object, len| {
            let options = DatagramOptions::new(Location::new(0, object));
            publication.datagram(options, Bytes::from(vec![7; len])).unwrap()
        };
        // The first that is not too large.
        let largest = (1000..1300).rev().find(|len| send(0, *len) == DatagramOutcome::Queued);
        let largest = largest.expect("none is taken");
        assert!(matches!(send(1, largest + 1), DatagramOutcome::Dropped(_)), "{case:?}");
        assert_eq!(send(1, 10), DatagramOutcome::Queued);
        for (object, len) in [(0, largest), (1, 10)] {
            let event = bounded(subscription.next()).await.unwrap();
            let Some(SubscriptionEvent::Datagram(datagram)) = event else { panic!("{case:?}") };
            assert_eq!(datagram.location, Location::new(0, object), "{case:?}");
            assert_eq!(datagram.payload.len(), len, "{case:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_tracks_at_once() {
    const TRACKS: u64 = 500;
    for case in cases_alone().filter(|case| case.scheme == Scheme::Quic) {
        let (client, server, _server) = pair(case).await;
        let mut publications = Vec::new();
        let mut readers = Vec::new();
        for track in 0..TRACKS {
            let name = format!("demo--{track}");
            let (mut subscription, publication) =
                subscribed(&client, &server, &name, Parameters::default()).await;
            publications.push(publication);
            readers.push(tokio::spawn(async move {
                let mut seen = 0;
                while let Some(object) = subscription.next_object().await.unwrap() {
                    assert_eq!(object.payload, payload(track, object.location.object));
                    seen += 1;
                }
                seen
            }));
        }
        let mut writers = Vec::new();
        for publication in &publications {
            let options = SubgroupOptions::new(0);
            writers.push(bounded(publication.open_subgroup(options)).await.unwrap().unwrap());
        }
        for object in 0..10 {
            for (track, writer) in (0..).zip(&mut writers) {
                bounded(writer.write_object(object, payload(track, object))).await.unwrap();
            }
        }
        for (writer, publication) in writers.into_iter().zip(publications) {
            writer.finish().unwrap();
            publication.done(PublishDoneCode::TrackEnded, "");
        }
        for reader in readers {
            assert_eq!(bounded(reader).await.unwrap(), 10, "{case:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_what_the_peer_allows_wait() {
    const GROUPS: u64 = 60;
    for case in cases() {
        let (mut client, server) = options();
        // HTTP/3 takes three.
        client.transport.max_uni_streams = 8;
        let (client, server, _server) = pair_with(case, client, &server).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--many", Parameters::default()).await;
        let publisher = tokio::spawn(async move {
            for group in 0..GROUPS {
                let options = SubgroupOptions::new(group);
                let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
                writer.write_object(0, payload(group, 1)).await.unwrap();
                writer.finish().unwrap();
            }
            publication.done(PublishDoneCode::TrackEnded, "");
            server
        });
        let mut seen = 0;
        while let Some(object) = bounded(subscription.next_object()).await.unwrap() {
            assert_eq!(object.payload, payload(object.location.group, 1), "{case:?}");
            seen += 1;
        }
        assert_eq!(seen, GROUPS, "{case:?}");
        bounded(publisher).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_rests_learns_that_it_is_stopped() {
    for case in cases() {
        let (client, server, _server) = pair(case).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--stopped", Parameters::default()).await;
        let options = SubgroupOptions::new(0);
        let mut writer = bounded(publication.open_subgroup(options)).await.unwrap().unwrap();
        bounded(writer.write_object(0, Bytes::from_static(b"one"))).await.unwrap();
        let mut reader = bounded(subscription.next_subgroup()).await.unwrap().unwrap();
        bounded(reader.read_object(10)).await.unwrap().unwrap();
        bounded(server.flushed()).await.unwrap();
        reader.stop(StreamResetCode::Cancelled);
        // Nothing is written meanwhile.
        until(|| publication.stats().traffic.subgroups_reset > 0).await;
        let error = bounded(writer.write_object(1, Bytes::new())).await.unwrap_err();
        assert!(matches!(error, WriteError::Stopped(_)), "{case:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_reset_while_it_is_full_ends_for_its_reader() {
    for case in cases() {
        let (client, server, _server) = pair(case).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--reset", Parameters::default()).await;
        let options = SubgroupOptions::new(0);
        let mut writer = bounded(publication.open_subgroup(options)).await.unwrap().unwrap();
        // More than is taken unread.
        bounded(writer.write_object(0, vec![7; 4 << 20].into())).await.unwrap();
        let mut reader = bounded(subscription.next_subgroup()).await.unwrap().unwrap();
        until(|| client.usage().receive_bytes >= Limits::default().stream_receive).await;
        writer.reset(StreamResetCode::InternalError);
        let error = bounded(async {
            loop {
                if let Err(error) = reader.read_object(8 << 20).await {
                    return error;
                }
            }
        })
        .await;
        assert_eq!(error, ReadError::Reset(StreamResetCode::InternalError), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_full_goes_on_when_it_is_read() {
    const LEN: usize = 4 << 20;
    for case in cases() {
        let (client, server, _server) = pair(case).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, "demo--full", Parameters::default()).await;
        let mut writer =
            bounded(publication.open_subgroup(SubgroupOptions::new(0))).await.unwrap().unwrap();
        bounded(writer.write_object(0, vec![7; LEN].into())).await.unwrap();
        writer.finish().unwrap();
        let mut reader = bounded(subscription.next_subgroup()).await.unwrap().unwrap();
        // The reader's windows are full (1 MiB, and what the engine holds): the rest stays.
        let held = (1 << 20) + Limits::default().stream_receive;
        until(|| server.usage().send_bytes <= LEN - held + (256 << 10)).await;
        let object = bounded(reader.read_object(LEN)).await.unwrap().unwrap();
        assert_eq!(object.payload.len(), LEN, "{case:?}");
        assert!(bounded(reader.next_object()).await.unwrap().is_none(), "{case:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_urgent_goes_before_what_waits() {
    const STREAMS: u64 = 8;
    const WAITING: usize = 4 << 20;
    const URGENT: usize = 2 << 20;
    for case in cases_alone() {
        let (client, mut server) = options();
        server.engine.limits.subscription_send = 128 << 20;
        server.engine.limits.session_send = 128 << 20;
        let (client, server, _server) = pair_with(case, client, &server).await;
        let (mut patient, patiently) =
            subscribed(&client, &server, "demo--patient", Parameters::default()).await;
        let (mut urgent, urgently) =
            subscribed(&client, &server, "demo--urgent", Parameters::default()).await;
        urgent.set_object_limit(URGENT);
        let seen = Arc::new(AtomicUsize::new(0));
        for subgroup in 0..STREAMS {
            let mut options = SubgroupOptions::new(0);
            options.subgroup_id = SubgroupId::Explicit(subgroup);
            options.publisher_priority = Some(200);
            let mut writer = bounded(patiently.open_subgroup(options)).await.unwrap().unwrap();
            bounded(writer.write_object(subgroup, vec![7; WAITING].into())).await.unwrap();
            writer.finish().unwrap();
        }
        let counter = seen.clone();
        let reading = tokio::spawn(async move {
            for _ in 0..STREAMS {
                let mut reader = patient.next_subgroup().await.unwrap().unwrap();
                let counter = counter.clone();
                tokio::spawn(async move {
                    reader.next_object().await.unwrap().unwrap();
                    while let Some(chunk) = reader.chunk(usize::MAX).await.unwrap() {
                        counter.fetch_add(chunk.len(), Ordering::Relaxed);
                    }
                });
            }
            patient
        });
        until(|| seen.load(Ordering::Relaxed) > 1 << 20).await;
        let mut options = SubgroupOptions::new(0);
        options.publisher_priority = Some(1);
        let mut writer = bounded(urgently.open_subgroup(options)).await.unwrap().unwrap();
        bounded(writer.write_object(0, vec![8; URGENT].into())).await.unwrap();
        let before = seen.load(Ordering::Relaxed);
        let object = bounded(urgent.next_object()).await.unwrap().unwrap();
        let meanwhile = seen.load(Ordering::Relaxed) - before;
        assert_eq!(object.payload.len(), URGENT);
        // Shared evenly, it would be eight times as much as the urgent object. What was on its way
        // comes before it, and a little is sent while its stream waits for more to be allowed.
        assert!(meanwhile < 3 * URGENT, "{case:?}: {meanwhile} bytes came before");
        let _patient = bounded(reading).await.unwrap();
    }
}

/// Waits for something that is not told of.
async fn until(is_so: impl Fn() -> bool) {
    bounded(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
