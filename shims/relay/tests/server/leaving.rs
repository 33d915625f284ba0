//! How a relay stops.

use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::SessionError;
use moqt_engine::{CloseReason, Draft};

use crate::support::{bounded, crosses, publish, start, subscribe};

#[tokio::test]
async fn clients_are_asked_to_leave_and_it_stops_when_they_have() {
    for draft in Draft::ALL {
        let mut relay = start(2, |_| {});
        let publisher = relay.connect(draft).await;
        let subscriber = relay.connect(draft).await;
        let publication = publish(&publisher, "last").await;
        let mut subscription = subscribe(&subscriber, "last").await;
        crosses(&publication, &mut subscription, 0).await;
        let uri = Bytes::from_static(b"moqt://elsewhere.example/");
        relay.relay.leave(&uri, Duration::from_secs(20));
        for session in [&publisher, &subscriber] {
            let goaway = bounded(session.goaway_received()).await.unwrap();
            assert_eq!(goaway.new_session_uri, uri);
        }
        // What goes on goes on until they leave.
        crosses(&publication, &mut subscription, 1).await;
        assert!(relay.try_connect(draft).await.is_err());
        for session in [publisher, subscriber] {
            session.close(SessionError::NoError, "");
            bounded(session.closed()).await;
        }
        bounded(relay.relay.stopped()).await;
    }
}

#[tokio::test]
async fn who_does_not_leave_in_time_is_closed() {
    let mut relay = start(1, |_| {});
    let session = relay.connect(Draft::D18).await;
    relay.relay.leave(&Bytes::new(), Duration::from_millis(200));
    let CloseReason::Peer { error, .. } = bounded(session.closed()).await else {
        panic!("closed by the relay")
    };
    assert_eq!(error, SessionError::GoawayTimeout);
    bounded(relay.relay.stopped()).await;
}

#[tokio::test]
async fn closing_it_closes_sessions_at_once() {
    let mut relay = start(2, |_| {});
    let sessions = [relay.connect(Draft::D18).await, relay.connect_over_http(Draft::D16).await];
    relay.relay.close();
    for session in sessions {
        assert!(matches!(bounded(session.closed()).await, CloseReason::Peer { .. }));
    }
    bounded(relay.relay.stopped()).await;
}
