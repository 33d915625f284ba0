//! Tracks between s2n-quic and itself, and between it and quinn-proto, on 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use bytes::Bytes;
use common::{bounded, cases, cases_alone, options, pair, pair_with, payload, subscribed};
use moqt_engine::model::{Location, Parameters, PublishDoneCode, StreamResetCode, SubgroupId};
use moqt_engine::{DatagramOptions, DatagramOutcome, Limits, SubgroupOptions};
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
    for case in cases_alone() {
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
async fn what_is_urgent_goes_before_what_waits() {
    const WAITING: usize = 24 << 20;
    for case in cases_alone() {
        let (client, server, _server) = pair(case).await;
        let (mut large, publication) =
            subscribed(&client, &server, "demo--large", Parameters::default()).await;
        let (mut urgent, urgently) =
            subscribed(&client, &server, "demo--urgent", Parameters::default()).await;
        let mut options = SubgroupOptions::new(0);
        options.publisher_priority = Some(200);
        let mut writer = bounded(publication.open_subgroup(options)).await.unwrap().unwrap();
        bounded(writer.write_object(0, vec![7; WAITING].into())).await.unwrap();
        let mut reader = bounded(large.next_subgroup()).await.unwrap().unwrap();
        bounded(reader.next_object()).await.unwrap().unwrap();
        let mut before = 0;
        while before < 1 << 20 {
            before += bounded(reader.chunk(usize::MAX)).await.unwrap().unwrap().len();
        }
        let mut options = SubgroupOptions::new(0);
        options.publisher_priority = Some(1);
        let mut writer = bounded(urgently.open_subgroup(options)).await.unwrap().unwrap();
        bounded(writer.write_object(0, Bytes::from_static(b"now"))).await.unwrap();
        let mut meanwhile = 0;
        let object = bounded(async {
            loop {
                tokio::select! {
                    biased;
                    object = urgent.next_object() => return object.unwrap().unwrap(),
                    chunk = reader.chunk(usize::MAX) => meanwhile += chunk.unwrap().unwrap().len(),
                }
            }
        })
        .await;
        assert_eq!(&object.payload[..], b"now");
        // What had come or was on its way: the reader's windows (1 MiB and 256 KiB), the backlog,
        // and what was sent while a packet that was lost was sent again.
        assert!(meanwhile < 6 << 20, "{case:?}: {meanwhile} bytes came before");
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
