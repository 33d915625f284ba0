//! Subscriptions that change, expire or are moved, through the async handle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use std::time::Duration;

use common::{bounded, pair, serve, target};
use moqt_engine::model::{
    FullTrackName, Location, Parameters, PublishDoneCode, RequestErrorCode, SessionError,
    TrackProperties, property_type,
};
use moqt_engine::{Accept, CloseReason, CommandError, Draft, Refusal};
use moqt_quinn_proto::session::{
    Error, Incoming, Publication, PublicationEnd, Session, Subscription,
};
use moqt_quinn_proto::{Client, Server};

fn track() -> FullTrackName {
    "demo--changing".parse().unwrap()
}

/// A subscription of the client's that the server accepts so.
async fn subscribed(
    client: &Session,
    server: &Session,
    accept: Accept,
) -> (Subscription, Publication) {
    let pending = client.subscribe(track(), Parameters::default());
    let accepting = async {
        let Incoming::Subscribe(request) = server.accept_request().await.unwrap() else { panic!() };
        request.accept(accept).unwrap()
    };
    let (subscription, publication) = bounded(async { tokio::join!(pending, accepting) }).await;
    (subscription.unwrap(), publication)
}

fn forward(forward: bool) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.forward = Some(forward);
    parameters
}

/// Both ends on one draft, the server's application deciding on updates.
async fn deciding_pair(draft: Draft) -> (Session, Session, Server) {
    let (_, mut options) = serve();
    let identity = moqt_quinn_proto::Identity::self_signed([]).unwrap();
    options.tls =
        moqt_quinn_proto::ClientTls::new(moqt_quinn_proto::Verify::Pinned(vec![identity.sha256()]));
    let mut server_options = moqt_quinn_proto::ServerOptions::new(identity);
    server_options.engine.decide_updates = true;
    let server = Server::bind(common::anywhere(), &server_options).unwrap();
    options.drafts = vec![draft];
    let target = target(&server);
    let client = Client::connect(&target, &options);
    let (client, accepted) = bounded(async { tokio::join!(client, server.accept()) }).await;
    (client.unwrap(), accepted.unwrap(), server)
}

#[tokio::test]
async fn an_update_reaches_the_publisher_and_its_answer_the_subscriber() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let mut accept = Accept::default();
        accept.parameters.largest_object = Some(Location::new(4, 2));
        let (subscription, publication) = subscribed(&client, &server, accept).await;
        assert!(publication.forward());
        let answer = bounded(subscription.update(forward(false))).await.unwrap();
        let expected = (draft != Draft::D14).then_some(Location::new(4, 2));
        assert_eq!(answer.largest_object, expected, "{draft}");
        let update = bounded(publication.next_update()).await.unwrap();
        assert_eq!(update.forward, Some(false), "{draft}");
        assert!(!publication.forward(), "{draft}");
    }
}

#[tokio::test]
async fn more_updates_than_may_be_unanswered_wait_their_turn() {
    for draft in [Draft::D16, Draft::D18] {
        let (client, server, _server) = pair(draft).await;
        let (subscription, _publication) = subscribed(&client, &server, Accept::default()).await;
        let updates: Vec<_> = (0..200).map(|n| subscription.update(forward(n % 2 == 0))).collect();
        for update in updates {
            bounded(update).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_application_decides_on_updates() {
    for draft in [Draft::D16, Draft::D18] {
        for refuse in [false, true] {
            let (client, server, _server) = deciding_pair(draft).await;
            let (mut subscription, mut publication) =
                subscribed(&client, &server, Accept::default()).await;
            let first = subscription.update(forward(false));
            let asked = bounded(publication.next_update_request()).await.unwrap();
            assert_eq!(asked.parameters().forward, Some(false));
            asked.accept(&Parameters::default()).unwrap();
            bounded(first).await.unwrap();
            assert!(!publication.forward(), "{draft}");
            let second = subscription.update(forward(true));
            let asked = bounded(publication.next_update_request()).await.unwrap();
            let code = if refuse {
                asked.reject(Refusal::new(RequestErrorCode::Unauthorized));
                RequestErrorCode::Unauthorized
            } else {
                // Dropped: refused like everything that nobody answers.
                drop(asked);
                RequestErrorCode::NotSupported
            };
            let refused = bounded(second).await;
            assert!(
                matches!(&refused, Err(Error::Rejected(error)) if error.code == code),
                "{draft}: {refused:?}"
            );
            assert!(bounded(subscription.next_object()).await.unwrap().is_none());
            let done = subscription.done().map(|done| done.code);
            assert_eq!(done, Some(PublishDoneCode::UpdateFailed), "{draft}");
            assert!(bounded(publication.next_update_request()).await.is_err());
        }
    }
}

#[tokio::test]
async fn an_update_of_what_ends_meanwhile_is_told() {
    for draft in [Draft::D16, Draft::D18] {
        let (client, server, _server) = deciding_pair(draft).await;
        let (mut subscription, publication) = subscribed(&client, &server, Accept::default()).await;
        let update = subscription.update(forward(false));
        publication.done(PublishDoneCode::TrackEnded, "");
        assert!(bounded(subscription.next_object()).await.unwrap().is_none());
        assert!(bounded(update).await.is_err(), "{draft}");
        let late = bounded(subscription.update(forward(true))).await;
        assert_eq!(late, Err(Error::Command(CommandError::Gone)), "{draft}");
    }
}

#[tokio::test]
async fn a_subscription_expires_as_it_was_told() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let mut accept = Accept::default();
        accept.parameters.expires = Some(50);
        let (mut subscription, publication) = subscribed(&client, &server, accept).await;
        let expires = subscription.answer().and_then(|answer| answer.parameters.expires);
        assert_eq!(expires, Some(50), "{draft}");
        assert_eq!(bounded(publication.ended()).await, PublicationEnd::Expired, "{draft}");
        assert!(bounded(subscription.next_object()).await.unwrap().is_none());
        let done = subscription.done().map(|done| done.code);
        assert_eq!(done, Some(PublishDoneCode::Expired), "{draft}");
    }
}

#[tokio::test]
async fn a_subscriber_asks_for_a_new_group() {
    for draft in [Draft::D16, Draft::D18] {
        let (client, server, _server) = pair(draft).await;
        let track_properties = TrackProperties::new().with_int(property_type::DYNAMIC_GROUPS, 1);
        let accept = Accept { track_properties, ..Accept::default() };
        let (subscription, publication) = subscribed(&client, &server, accept).await;
        let mut wish = Parameters::default();
        wish.new_group_request = Some(7);
        bounded(subscription.update(wish)).await.unwrap();
        assert_eq!(bounded(publication.new_group_requested()).await, Ok(7), "{draft}");
    }
}

#[tokio::test]
async fn one_subscription_is_moved_or_the_whole_session() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let (subscription, publication) = subscribed(&client, &server, Accept::default()).await;
        let timeout = Duration::from_secs(5);
        let moved = publication.goaway("moqt://b.example".into(), timeout);
        if draft >= Draft::D18 {
            moved.unwrap();
            let goaway = bounded(subscription.goaway_received()).await.unwrap();
            assert_eq!(&goaway.new_session_uri[..], b"moqt://b.example");
            assert_eq!(goaway.timeout, timeout);
        } else {
            assert!(matches!(moved, Err(CommandError::Encode(_))), "{draft}: {moved:?}");
        }
        server.goaway("moqt://c.example".into(), Duration::from_millis(50)).unwrap();
        let goaway = bounded(client.goaway_received()).await.unwrap();
        assert_eq!(&goaway.new_session_uri[..], b"moqt://c.example", "{draft}");
        // It does not leave.
        let reason = bounded(client.closed()).await;
        assert!(
            matches!(reason, CloseReason::Peer { error: SessionError::GoawayTimeout, .. }),
            "{draft}: {reason:?}"
        );
        assert!(bounded(subscription.goaway_received()).await.is_err() || draft >= Draft::D18);
    }
}
