//! How sessions end (draft-18, "Termination" and "GOAWAY").

use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{Parameters, PublishDoneCode, SessionError};
use moqt_engine::{Accept, CloseReason, CommandError, Role};
use moqt_scenarios::{Case, Ends, Stack, Stage, subscribed, track};
use moqt_session::{Error, PublicationEnd};

moqt_scenarios::scenarios![
    a_close_arrives_with_its_code_and_reason,
    the_last_handle_closes_the_session,
    a_server_goes_away,
    a_client_goes_away,
    one_subscription_is_moved,
    a_goaway_has_a_timeout,
    a_connection_that_is_lost_is_told,
];

/// Whether the reason of a close arrives: s2n-quic neither sends nor tells those of QUIC, and
/// WebTransport has messages of its own for it.
fn reasons_arrive(case: Case) -> bool {
    match case.ends {
        Ends::Loopback => true,
        Ends::Udp { client, server, scheme } => {
            scheme == moqt_quic::Scheme::WebTransport
                || (client, server) == (Stack::Quinn, Stack::Quinn)
        }
    }
}

async fn a_close_arrives_with_its_code_and_reason(stage: Stage) {
    // Which end closes follows from which one publishes: both do in the end.
    let Stage { case, publisher, subscriber, world: _world } = stage;
    // A code that all drafts have, and that nothing in the engine gives by itself.
    publisher.close(SessionError::Unauthorized, "no ticket");
    let reason = subscriber.closed().await;
    let CloseReason::Peer { error, reason, .. } = reason else { panic!("{reason}") };
    assert_eq!(error, SessionError::Unauthorized);
    assert_eq!(reason, if reasons_arrive(case) { "no ticket" } else { "" });
    let ours = publisher.closed().await;
    assert!(matches!(ours, CloseReason::Local { error: SessionError::Unauthorized, .. }), "{ours}");
    // Whatever is asked of a closed session says so.
    for session in [&publisher, &subscriber] {
        let asked = session.subscribe(track("late"), Parameters::default()).await;
        assert!(matches!(asked, Err(Error::Closed(_))), "{asked:?}");
    }
    assert!(matches!(subscriber.accept_request().await, Err(CloseReason::Peer { .. })));
}

async fn the_last_handle_closes_the_session(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "open", Parameters::default(), Accept::default()).await;
    let Stage { publisher, subscriber, world: _world, .. } = stage;
    drop(subscriber);
    // What was made from it is a handle, too.
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_object().await.unwrap().is_none());
    drop(subscription);
    let reason = publisher.closed().await;
    assert!(matches!(reason, CloseReason::Peer { error: SessionError::NoError, .. }), "{reason}");
}

async fn a_server_goes_away(stage: Stage) {
    let (client, server) = (stage.end(Role::Client), stage.end(Role::Server));
    let (mut subscription, publication) =
        subscribed(&stage, "going", Parameters::default(), Accept::default()).await;
    let uri = Bytes::from_static(b"https://elsewhere.example/live?a=b");
    server.goaway(uri.clone(), Duration::ZERO).unwrap();
    let goaway = client.goaway_received().await.unwrap();
    assert_eq!(goaway.new_session_uri, uri);
    assert_eq!(goaway.timeout, Duration::ZERO);
    // "Upon receiving a GOAWAY on the control stream, an endpoint SHOULD NOT initiate new requests
    // to the peer"; what there is goes on.
    let asked = client.subscribe(track("more"), Parameters::default()).await;
    assert_eq!(asked.err(), Some(Error::Command(CommandError::GoingAway)));
    publication.done(PublishDoneCode::GoingAway, "");
    assert!(subscription.next_object().await.unwrap().is_none());
    assert_eq!(subscription.done().map(|done| done.code), Some(PublishDoneCode::GoingAway));
    assert_eq!(server.goaway(uri, Duration::ZERO).ok(), None);
}

async fn a_client_goes_away(stage: Stage) {
    let (client, server) = (stage.end(Role::Client), stage.end(Role::Server));
    // It may not say where to continue.
    assert!(client.goaway(Bytes::from_static(b"https://a.example"), Duration::ZERO).is_err());
    client.goaway(Bytes::new(), Duration::ZERO).unwrap();
    let goaway = server.goaway_received().await.unwrap();
    assert!(goaway.new_session_uri.is_empty());
    assert_eq!(server.close_reason(), None);
}

async fn one_subscription_is_moved(stage: Stage) {
    let (subscription, publication) =
        subscribed(&stage, "moved", Parameters::default(), Accept::default()).await;
    // A client's GOAWAY names no place.
    let uri: &[u8] = if stage.case.publisher == Role::Server { b"moqt://b.example" } else { b"" };
    let moved = publication.goaway(Bytes::from_static(uri), Duration::from_secs(50));
    if stage.draft() < moqt_engine::Draft::D18 {
        assert!(matches!(moved, Err(CommandError::Encode(_))), "{moved:?}");
        return;
    }
    moved.unwrap();
    let goaway = subscription.goaway_received().await.unwrap();
    assert_eq!(&goaway.new_session_uri[..], uri);
    assert_eq!(goaway.timeout, Duration::from_secs(50));
}

// "The sender closes the session with a `GOAWAY_TIMEOUT` if the peer doesn't close the session
// within the indicated Timeout."
async fn a_goaway_has_a_timeout(stage: Stage) {
    let (_subscription, _publication) =
        subscribed(&stage, "stays", Parameters::default(), Accept::default()).await;
    let (client, server) = (stage.end(Role::Client), stage.end(Role::Server));
    server.goaway(Bytes::new(), Duration::from_millis(50)).unwrap();
    let reason = client.closed().await;
    let CloseReason::Peer { error, .. } = reason else { panic!("{reason}") };
    assert_eq!(error, SessionError::GoawayTimeout);
}

// Over UDP it takes a peer that vanishes: see the tests of connecting.
async fn a_connection_that_is_lost_is_told(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "lost", Parameters::default(), Accept::default()).await;
    if !stage.world.cut() {
        return;
    }
    for session in [&stage.publisher, &stage.subscriber] {
        let reason = session.closed().await;
        assert!(matches!(reason, CloseReason::Transport { .. }), "{reason}");
    }
    assert!(matches!(subscription.next_object().await, Err(Error::Closed(_))));
    assert!(matches!(publication.ended().await, PublicationEnd::Closed(_)));
}
