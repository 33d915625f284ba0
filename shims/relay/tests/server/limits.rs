//! Who is let in.

use moqt_engine::Draft;
use moqt_quinn_proto::{ConnectError, Identity, ServerTls};

use crate::support::{bounded, publish, start};

#[tokio::test]
async fn connections_of_an_address_are_counted_in_all_shards() {
    let relay = start(2, |options| options.server.connections.per_address = 4);
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(relay.connect(Draft::D18).await);
    }
    let refused = relay.try_connect(Draft::D18).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
    let report = bounded(relay.relay.report()).await;
    assert_eq!((report.admission.connections, report.admission.refused), (4, 1));
    // The third and the fourth had to prove that they are there.
    assert_eq!(report.admission.retried, 2);
}

#[tokio::test]
async fn another_certificate_is_shown_to_those_who_come_later() {
    let mut relay = start(2, |_| {});
    let before = relay.connect(Draft::D18).await;
    let identity = Identity::self_signed([]).unwrap();
    let hash = identity.sha256();
    relay.relay.set_tls(&ServerTls::new(identity)).unwrap();
    // When each shard has answered this, it has heard of the other.
    bounded(relay.relay.report()).await;
    assert!(relay.try_connect(Draft::D18).await.is_err());
    relay.hash = hash;
    let after = relay.connect(Draft::D18).await;
    for session in [before, after] {
        drop(publish(&session, "a").await);
    }
}
