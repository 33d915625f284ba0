//! Relays that are connected with each other.

use std::sync::Arc;

use moqt_engine::Draft;
use moqt_quinn_proto::{ClientTls, Verify};
use moqt_relay_server::directory::FixedOrigins;

use crate::support::{Running, bounded, crosses, ends, publish, start, subscribe};

fn below(up: &Running, shards: u16) -> Running {
    let (target, hash) = (up.target("moqt"), up.hash);
    start(shards, |options| {
        options.upstreams = vec![target];
        options.client.tls = ClientTls::new(Verify::Pinned(vec![hash]));
    })
}

/// Waits until a relay has a session with another.
async fn connected(relay: &Running) {
    loop {
        let report = bounded(relay.relay.report()).await;
        if report.shards.iter().map(|shard| shard.relay.sessions).sum::<u64>() > 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_track_goes_up_and_down_a_tree() {
    let root = start(2, |_| {});
    let (left, right) = (below(&root, 2), below(&root, 1));
    connected(&left).await;
    connected(&right).await;
    let publisher = left.connect(Draft::D18).await;
    let publication = publish(&publisher, "up-and-down").await;
    let subscriber = right.connect(Draft::D14).await;
    let mut subscription = subscribe(&subscriber, "up-and-down").await;
    for group in 0..5 {
        crosses(&publication, &mut subscription, group).await;
    }
    ends(publication, subscription).await;
}

#[tokio::test]
async fn an_upstream_that_comes_late_is_connected_to() {
    // Nobody listens there yet.
    let place = tokio::net::UdpSocket::bind(crate::support::anywhere()).await.unwrap();
    let address = place.local_addr().unwrap();
    let identity = moqt_quinn_proto::Identity::self_signed([]).unwrap();
    let hash = identity.sha256();
    let lower = start(1, |options| {
        options.upstreams = vec![format!("moqt://{address}/").parse().unwrap()];
        options.client.tls = ClientTls::new(Verify::Pinned(vec![hash]));
        options.client.connect_timeout = std::time::Duration::from_millis(300);
    });
    drop(place);
    let upper = start(1, |options| {
        options.bind = address;
        options.server.tls = moqt_quinn_proto::ServerTls::new(identity);
    });
    let upper = Running { hash, ..upper };
    connected(&lower).await;
    let publisher = upper.connect(Draft::D18).await;
    let publication = publish(&publisher, "late").await;
    let subscriber = lower.connect(Draft::D18).await;
    let mut subscription = subscribe(&subscriber, "late").await;
    crosses(&publication, &mut subscription, 0).await;
}

#[tokio::test]
async fn a_relay_that_a_directory_names_is_asked() {
    let origin = start(2, |_| {});
    let publisher = origin.connect(Draft::D18).await;
    let publication = publish(&publisher, "held").await;
    let mut directory = FixedOrigins::default();
    directory.add(&format!("live={}", origin.target("moqt"))).unwrap();
    let hash = origin.hash;
    let edge = start(2, |options| {
        options.directory = Some(Arc::new(directory));
        options.client.tls = ClientTls::new(Verify::Pinned(vec![hash]));
    });
    let subscriber = edge.connect(Draft::D18).await;
    let mut subscription = subscribe(&subscriber, "held").await;
    for group in 0..3 {
        crosses(&publication, &mut subscription, group).await;
    }
    ends(publication, subscription).await;
}
