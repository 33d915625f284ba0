//! What goes through a relay.

use moqt_engine::Draft;
use moqt_quinn_proto::{Client, Target};

use crate::support::{Path, bounded, crosses, ends, publish, start, subscribe};

#[tokio::test]
async fn a_track_goes_from_every_draft_to_every_other_over_both_transports() {
    let relay = start(1, |_| {});
    for from in Draft::ALL {
        let publisher = relay.connect_over_http(from).await;
        for to in Draft::ALL {
            let name = format!("{}-{}", from.number(), to.number());
            let publication = publish(&publisher, &name).await;
            let subscriber = relay.connect(to).await;
            let mut subscription = subscribe(&subscriber, &name).await;
            for group in 0..5 {
                crosses(&publication, &mut subscription, group).await;
            }
            ends(publication, subscription).await;
        }
    }
}

#[tokio::test]
async fn shards_give_each_other_what_their_clients_publish() {
    let relay = start(4, |_| {});
    let publisher = relay.connect(Draft::D18).await;
    let publication = publish(&publisher, "shared").await;
    // The system deals them to the shards by their ports.
    let mut subscriptions = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..16 {
        let session = relay.connect(Draft::D16).await;
        subscriptions.push(subscribe(&session, "shared").await);
        sessions.push(session);
    }
    for group in 0..5 {
        crosses(&publication, &mut subscriptions[0], group).await;
        for subscription in &mut subscriptions[1..] {
            crate::support::arrives(subscription, group).await;
        }
    }
    let report = bounded(relay.relay.report()).await;
    let with_sessions = report.shards.iter().filter(|shard| shard.relay.sessions > 0).count();
    assert!(with_sessions > 1, "{report:?}");
    assert!(report.shards.iter().any(|shard| shard.messages > 0), "{report:?}");
    assert_eq!(report.admission.connections, 17);
    assert_eq!(report.admission.half_open, 0);
}

#[tokio::test]
async fn a_client_stays_with_its_shard_when_its_address_changes() {
    let relay = start(4, |_| {});
    let path = Path::to(relay.relay.local_addr()).await;
    let target: Target = format!("moqt://{}/", path.local).parse().unwrap();
    let publisher = bounded(Client::connect(&target, &relay.options(Draft::D18))).await.unwrap();
    let publication = publish(&publisher, "moving").await;
    let subscriber = relay.connect(Draft::D18).await;
    let mut subscription = subscribe(&subscriber, "moving").await;
    // With so many ports some of them are another shard's.
    for group in 0..16 {
        path.rebind().await;
        crosses(&publication, &mut subscription, group).await;
    }
    let report = bounded(relay.relay.report()).await;
    assert!(report.shards.iter().any(|shard| shard.strays > 0), "{report:?}");
    let sessions: u64 = report.shards.iter().map(|shard| shard.relay.sessions_total).sum();
    assert_eq!(sessions, 2, "nobody has connected again");
    ends(publication, subscription).await;
}
