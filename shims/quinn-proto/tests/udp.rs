//! Client and server over UDP on 127.0.0.1, on every draft.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{bounded, pair, payload};
use moqt_engine::model::{Parameters, PublishDoneCode, SubgroupId};
use moqt_engine::{Accept, Draft, SubgroupOptions};
use moqt_quinn_proto::session::{Incoming, Session};

/// Publishes `groups` groups of `subgroups` subgroups of `objects` objects to the first
/// subscriber, at once.
async fn publish(server: Session, groups: u64, subgroups: u64, objects: u64) {
    let Incoming::Subscribe(subscribe) = server.accept_request().await.unwrap() else { panic!() };
    let publication = subscribe.accept(Accept::default()).unwrap();
    for group in 0..groups {
        let mut writers = Vec::new();
        for subgroup in 0..subgroups {
            let mut options = SubgroupOptions::new(group);
            options.subgroup_id = SubgroupId::Explicit(subgroup);
            writers.push((subgroup, publication.open_subgroup(options).await.unwrap().unwrap()));
        }
        for object in 0..objects {
            for (subgroup, writer) in &mut writers {
                let id = object * subgroups + *subgroup;
                writer.write_object(id, payload(group, id)).await.unwrap();
            }
        }
        for (_, writer) in writers {
            writer.finish().unwrap();
        }
    }
    publication.done(PublishDoneCode::TrackEnded, "that was all");
    server.flushed().await.unwrap();
    server.closed().await;
}

#[tokio::test]
async fn a_thousand_objects_come_as_they_were_sent() {
    for draft in Draft::ALL {
        let (client, server, _) = pair(draft).await;
        let publisher = tokio::spawn(publish(server, 5, 4, 50));
        let track = "demo--numbers".parse().unwrap();
        let mut subscription =
            bounded(client.subscribe(track, Parameters::default())).await.unwrap();
        let mut seen = 0;
        while let Some(object) = bounded(subscription.next_object()).await.unwrap() {
            assert_eq!(object.payload, payload(object.location.group, object.location.object));
            assert_eq!(object.subgroup_id, Some(object.location.object % 4));
            seen += 1;
        }
        assert_eq!(seen, 1000, "{draft}");
        let done = subscription.done().unwrap();
        assert_eq!((done.code, done.missing_streams), (PublishDoneCode::TrackEnded, 0));
        assert_eq!(done.reason, "that was all");
        drop((subscription, client));
        bounded(publisher).await.unwrap();
    }
    let _ = (Bytes::new(), Duration::ZERO);
}
