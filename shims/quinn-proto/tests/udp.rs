//! Client and server over UDP on 127.0.0.1, on every draft.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::collections::HashMap;

use bytes::Bytes;
use common::{bounded, pair, payload};
use moqt_engine::model::{
    Location, Parameters, PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode,
    SubgroupId, TrackProperties,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, CloseReason, DatagramOptions, DatagramOutcome, Draft, Refusal, SubgroupOptions,
};
use moqt_quinn_proto::session::{
    Error, Incoming, PublicationEnd, ReadError, Session, SubscriptionEvent,
};

#[tokio::test]
async fn a_published_track_arrives_with_its_datagrams() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let receiver = tokio::spawn(async move {
            let Incoming::Publish(publish) = server.accept_request().await.unwrap() else {
                panic!()
            };
            assert_eq!(publish.track().to_string(), "demo--pushed");
            let mut subscription = publish.accept(Accept::default()).unwrap();
            let (mut objects, mut datagrams) = (0, 0);
            while let Some(event) = subscription.next().await.unwrap() {
                match event {
                    SubscriptionEvent::Subgroup(mut reader) => {
                        let mut many = Vec::new();
                        while reader.read_many(&mut many, 7, 1 << 20).await.unwrap() > 0 {}
                        for (id, object) in (0u64..).zip(&many) {
                            assert_eq!(object.payload, payload(3, id));
                        }
                        objects += many.len();
                    }
                    SubscriptionEvent::Datagram(object) => {
                        assert_eq!(&object.payload[..], b"small");
                        assert_eq!(object.location, Location::new(9, datagrams));
                        datagrams += 1;
                    }
                    _ => panic!(),
                }
            }
            let done = subscription.done().unwrap().clone();
            (objects, datagrams, done)
        });
        let track = "demo--pushed".parse().unwrap();
        let publication =
            bounded(client.publish(track, Parameters::default(), TrackProperties::new()))
                .await
                .unwrap();
        bounded(publication.accepted()).await.unwrap();
        // Draft 14 has no datagrams beside subgroups.
        let sent = if draft.dialect().objects.mixed_forwarding { 20 } else { 0 };
        for id in 0..sent {
            let options = DatagramOptions::new(Location::new(9, id));
            let small = Bytes::from_static(b"small");
            let outcome = publication.datagram(options.clone(), small).unwrap();
            assert_eq!(outcome, DatagramOutcome::Queued);
            let outcome = publication.datagram(options, vec![0; 100_000].into()).unwrap();
            assert!(matches!(outcome, DatagramOutcome::Dropped(_)));
        }
        let mut writer =
            bounded(publication.open_subgroup(SubgroupOptions::new(3))).await.unwrap().unwrap();
        let mut objects: Vec<_> = (0..100)
            .map(|object_id| {
                let payload = payload(3, object_id);
                let payload_len = payload.len() as u64;
                (ObjectHeader { object_id, payload_len, ..Default::default() }, payload)
            })
            .collect();
        while bounded(writer.write_many(&mut objects)).await.unwrap() > 0 {}
        writer.finish().unwrap();
        publication.done(PublishDoneCode::TrackEnded, "");
        let (objects, datagrams, done) = bounded(receiver).await.unwrap();
        assert_eq!((objects, datagrams), (100, sent), "{draft}");
        assert_eq!(done.code, PublishDoneCode::TrackEnded);
    }
}

const LARGE: usize = 5 * 1024 * 1024;

/// Each byte says which subgroup it is of, and where.
fn large(subgroup: u64) -> Bytes {
    (0..LARGE).map(|at| u8::try_from((at as u64 + subgroup * 101) % 241).unwrap()).collect()
}

/// Large objects on four subgroups, each written by a task of its own, whole or in pieces.
async fn publish_large(server: Session, in_pieces: bool) {
    let Incoming::Subscribe(subscribe) = server.accept_request().await.unwrap() else { panic!() };
    let publication = subscribe.accept(Accept::default()).unwrap();
    let mut tasks = Vec::new();
    for subgroup in 0..4 {
        let mut options = SubgroupOptions::new(0);
        options.subgroup_id = SubgroupId::Explicit(subgroup);
        let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
        tasks.push(tokio::spawn(async move {
            let payload = large(subgroup);
            if in_pieces {
                let object_id = subgroup;
                let payload_len = LARGE as u64;
                let header = ObjectHeader { object_id, payload_len, ..Default::default() };
                writer.begin(&header).await.unwrap();
                for at in (0..LARGE).step_by(64 * 1024) {
                    writer.payload(payload.slice(at..at + 64 * 1024)).await.unwrap();
                }
            } else {
                writer.write_object(subgroup, payload).await.unwrap();
            }
            writer.finish().unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    publication.done(PublishDoneCode::TrackEnded, "");
    server.closed().await;
}

#[tokio::test]
async fn large_objects_in_flight_together_are_read_one_after_the_other() {
    for (draft, in_pieces, order) in Draft::ALL.into_iter().flat_map(|draft| {
        // In the order of sending, and in the one that leaves unread all that is sent first.
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0]];
        orders.into_iter().flat_map(move |order| [(draft, false, order), (draft, true, order)])
    }) {
        let (client, server, _server) = pair(draft).await;
        let publisher = tokio::spawn(publish_large(server, in_pieces));
        let track = "demo--large".parse().unwrap();
        let mut subscription =
            bounded(client.subscribe(track, Parameters::default())).await.unwrap();
        // Streams that came before their turn wait unread.
        let mut waiting = HashMap::new();
        for subgroup in order {
            while !waiting.contains_key(&subgroup) {
                let reader = bounded(subscription.next_subgroup()).await.unwrap().unwrap();
                let SubgroupId::Explicit(id) = reader.info().subgroup_id else { panic!() };
                waiting.insert(id, reader);
            }
            let mut reader = waiting.remove(&subgroup).unwrap();
            let header = bounded(reader.next_object()).await.unwrap().unwrap();
            assert_eq!(header.payload_len, LARGE as u64);
            let expected = large(subgroup);
            let mut at = 0;
            while let Some(chunk) = bounded(reader.chunk(usize::MAX)).await.unwrap() {
                assert!(chunk == expected[at..at + chunk.len()], "{draft} differs at {at}");
                at += chunk.len();
            }
            assert_eq!(at, LARGE);
            assert_eq!(bounded(reader.next_object()).await.unwrap(), None);
        }
        assert!(bounded(subscription.next_subgroup()).await.unwrap().is_none());
        drop((subscription, client));
        bounded(publisher).await.unwrap();
    }
}

#[tokio::test]
async fn the_close_code_reaches_the_peer() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let waiting = tokio::spawn(async move { (server.closed().await, server) });
        client.close(SessionError::Unauthorized, "no ticket");
        let (reason, server) = bounded(waiting).await.unwrap();
        let CloseReason::Peer { error, reason, .. } = reason else { panic!("{reason}") };
        assert_eq!((error, reason.as_str()), (SessionError::Unauthorized, "no ticket"));
        // Whatever is asked of a closed session says so.
        let asked = bounded(server.subscribe("a--b".parse().unwrap(), Parameters::default()));
        assert!(matches!(asked.await, Err(Error::Closed(_))));
        assert!(matches!(bounded(server.accept_request()).await, Err(CloseReason::Peer { .. })));
        assert!(matches!(bounded(client.closed()).await, CloseReason::Local { .. }));
    }
}

#[tokio::test]
async fn what_is_dropped_ends_properly() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let params = Parameters::default;
        // A request that is not answered is refused.
        let pending = client.subscribe("demo--none".parse().unwrap(), params());
        drop(bounded(server.accept_request()).await.unwrap());
        let Err(Error::Rejected(error)) = bounded(pending).await else { panic!() };
        assert_eq!(error.code, RequestErrorCode::DoesNotExist, "{draft}");
        let pending = client.publish_namespace("demo".parse().unwrap(), params());
        drop(bounded(server.accept_request()).await.unwrap());
        let Err(Error::Rejected(error)) = bounded(pending).await else { panic!() };
        assert_eq!(error.code, RequestErrorCode::Uninterested, "{draft}");
        // One that is, is refused as told.
        let pending = client.publish_namespace("demo".parse().unwrap(), params());
        let refusal = Refusal::new(RequestErrorCode::Unauthorized);
        bounded(server.accept_request()).await.unwrap().reject(refusal);
        let Err(Error::Rejected(error)) = bounded(pending).await else { panic!() };
        assert_eq!(error.code, RequestErrorCode::Unauthorized, "{draft}");
        // A namespace is withdrawn.
        let pending = client.publish_namespace("demo".parse().unwrap(), params());
        let Incoming::PublishNamespace(request) = bounded(server.accept_request()).await.unwrap()
        else {
            panic!()
        };
        let theirs = request.accept().unwrap();
        drop(bounded(pending).await.unwrap());
        assert!(matches!(bounded(theirs.ended()).await, Error::Cancelled(_)));
        // A subgroup is reset, and a publication ends with an error.
        let pending = client.subscribe("demo--some".parse().unwrap(), params());
        let Incoming::Subscribe(request) = bounded(server.accept_request()).await.unwrap() else {
            panic!()
        };
        let publication = request.accept(Accept::default()).unwrap();
        let mut subscription = bounded(pending).await.unwrap();
        let mut writer =
            bounded(publication.open_subgroup(SubgroupOptions::new(0))).await.unwrap().unwrap();
        bounded(writer.write_object(0, Bytes::from_static(b"one"))).await.unwrap();
        let mut reader = bounded(subscription.next_subgroup()).await.unwrap().unwrap();
        let object = bounded(reader.read_object(10)).await.unwrap().unwrap();
        assert_eq!(&object.payload[..], b"one");
        drop(writer);
        let error = bounded(reader.read_object(10)).await.unwrap_err();
        assert_eq!(error, ReadError::Reset(StreamResetCode::Cancelled), "{draft}");
        drop(reader);
        drop(publication);
        assert!(bounded(subscription.next_subgroup()).await.unwrap().is_none());
        let done = subscription.done().unwrap();
        assert_eq!(done.code, PublishDoneCode::InternalError, "{draft}");
        // A subscription unsubscribes.
        let pending = client.subscribe("demo--more".parse().unwrap(), params());
        let Incoming::Subscribe(request) = bounded(server.accept_request()).await.unwrap() else {
            panic!()
        };
        let publication = request.accept(Accept::default()).unwrap();
        drop(bounded(pending).await.unwrap());
        assert!(matches!(bounded(publication.ended()).await, PublicationEnd::Cancelled(_)));
        // The last handle closes the session.
        drop((client, subscription));
        let reason = bounded(server.closed()).await;
        assert!(reason.is_clean(), "{draft}: {reason}");
    }
}
