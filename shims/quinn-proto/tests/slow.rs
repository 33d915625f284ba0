//! Counters, and publications whose subscriber is slow, through the handles and over UDP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use bytes::Bytes;
use common::{bounded, pair};
use moqt_engine::model::{Parameters, PublishDoneCode, StreamResetCode};
use moqt_engine::{Accept, Draft, GiveUpReason, SlowSubscriber, SubgroupOptions};
use moqt_quinn_proto::session::{
    Incoming, Publication, PublicationEnd, Session, Subscription, WriteError,
};

async fn subscribed(
    client: &Session,
    server: &Session,
    parameters: Parameters,
) -> (Subscription, Publication) {
    let accept = async {
        let Incoming::Subscribe(subscribe) = server.accept_request().await.unwrap() else {
            panic!()
        };
        subscribe.accept(Accept::default()).unwrap()
    };
    let subscribe = client.subscribe("demo--track".parse().unwrap(), parameters);
    let (subscription, publication) =
        bounded(async { tokio::join!(subscribe.into_future(), accept) }).await;
    (subscription.unwrap(), publication)
}

/// Writes to a subscriber that reads nothing, until that fails.
async fn overwhelm(publication: &Publication) -> WriteError {
    let options = SubgroupOptions::new(0);
    let mut writer = bounded(publication.open_subgroup(options)).await.unwrap().unwrap();
    let payload = Bytes::from(vec![7; 100_000]);
    bounded(async {
        for object_id in 0.. {
            if let Err(error) = writer.write_object(object_id, payload.clone()).await {
                return error;
            }
        }
        unreachable!()
    })
    .await
}

#[tokio::test]
async fn handles_tell_what_was_carried() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let (mut subscription, publication) =
            subscribed(&client, &server, Parameters::default()).await;
        let options = SubgroupOptions::new(0);
        let mut writer = bounded(publication.open_subgroup(options)).await.unwrap().unwrap();
        for object_id in 0..3 {
            bounded(writer.write_object(object_id, Bytes::from(vec![1; 500]))).await.unwrap();
        }
        writer.finish().unwrap();
        for _ in 0..3 {
            bounded(subscription.next_object()).await.unwrap().unwrap();
        }
        let (sent, received) = (publication.stats().traffic, subscription.stats().traffic);
        for traffic in [sent, received] {
            assert_eq!((traffic.objects, traffic.payload_bytes), (3, 1_500), "{draft}");
            assert_eq!((traffic.subgroups, traffic.subgroups_reset), (1, 0), "{draft}");
        }
        assert_eq!(server.stats().sent, sent, "{draft}");
        assert_eq!(client.stats().received, received, "{draft}");
        publication.done(PublishDoneCode::TrackEnded, "");
    }
}

// "it MUST reset the underlying transport stream with the reset stream code DELIVERY_TIMEOUT"
// (draft-18, "Delivery Timeouts and Data Reliability"): the writer is told.
#[tokio::test]
async fn a_writer_learns_that_its_subgroup_timed_out() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let mut wishes = Parameters::default();
        wishes.object_delivery_timeout = Some(50);
        let (_subscription, publication) = subscribed(&client, &server, wishes).await;
        let error = overwhelm(&publication).await;
        assert_eq!(error, WriteError::GivenUp(GiveUpReason::DeliveryTimeout), "{draft}");
        assert_eq!(publication.stats().traffic.subgroups_timed_out, 1, "{draft}");
    }
}

// "the publisher MAY terminate the subscription using PUBLISH_DONE with error TOO_FAR_BEHIND."
#[tokio::test]
async fn a_publication_may_end_when_its_subscriber_is_slow() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let (_subscription, publication) =
            subscribed(&client, &server, Parameters::default()).await;
        publication.when_slow(SlowSubscriber::End);
        assert_eq!(overwhelm(&publication).await, WriteError::Gone, "{draft}");
        let end = bounded(publication.ended()).await;
        assert!(
            matches!(end, PublicationEnd::Cancelled(StreamResetCode::TooFarBehind)),
            "{draft}: {end:?}"
        );
    }
}
