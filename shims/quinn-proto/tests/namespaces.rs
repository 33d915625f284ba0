//! Namespace discovery through the async handle, the same on every draft.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod common;

use common::{bounded, in_tasks, pair};
use moqt_engine::model::{
    NamespaceInterest, Parameters, RequestErrorCode, TrackNamespace, TrackProperties,
};
use moqt_engine::{Accept, CommandError, Draft, Refusal};
use moqt_quinn_proto::session::{
    Error, Incoming, NamespaceEvent, NamespaceSubscriber, NamespaceSubscription, Session,
};

fn namespace(text: &str) -> TrackNamespace {
    text.parse().unwrap()
}

/// Accepts the namespace subscriptions that come, as many as `count`.
async fn accept(server: &Session, count: usize) -> Vec<NamespaceSubscriber> {
    let mut accepted = Vec::new();
    while accepted.len() < count {
        let Incoming::SubscribeNamespace(request) = server.accept_request().await.unwrap() else {
            panic!()
        };
        accepted.push(request.accept().unwrap());
    }
    accepted
}

/// A subscription of the client's for everything under `demo`, and its other end.
async fn subscribed(
    client: &Session,
    server: &Session,
    interest: NamespaceInterest,
) -> (NamespaceSubscription, Vec<NamespaceSubscriber>) {
    let splits = client.draft() >= Draft::D18 && interest == NamespaceInterest::Both;
    let pending = client.subscribe_namespace(namespace("demo"), interest, Parameters::default());
    let accepting = accept(server, 1 + usize::from(splits));
    let (subscription, accepted) = bounded(async { tokio::join!(pending, accepting) }).await;
    (subscription.unwrap(), accepted)
}

/// The one of them that wants to hear of namespaces.
fn of_namespaces(subscribers: &[NamespaceSubscriber]) -> &NamespaceSubscriber {
    let wants = |one: &&NamespaceSubscriber| one.interest() != NamespaceInterest::Tracks;
    subscribers.iter().find(wants).unwrap()
}

#[tokio::test]
async fn namespaces_come_and_go() {
    for draft in Draft::ALL {
        for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Both] {
            let (client, server, _server) = pair(draft).await;
            let (mut subscription, subscribers) = subscribed(&client, &server, interest).await;
            let teller = of_namespaces(&subscribers);
            for name in ["demo-a", "demo-b"] {
                bounded(teller.namespace(&namespace(name))).await.unwrap();
                let event = bounded(subscription.next()).await.unwrap();
                assert_eq!(event, NamespaceEvent::Namespace(namespace(name)), "{draft}");
            }
            teller.namespace_done(&namespace("demo-a")).unwrap();
            let event = bounded(subscription.next()).await.unwrap();
            assert_eq!(event, NamespaceEvent::NamespaceDone(namespace("demo-a")), "{draft}");
            // What it was not told of cannot be done, nor what is not under the prefix be told.
            for name in ["demo-a", "other"] {
                let error = teller.namespace_done(&namespace(name)).unwrap_err();
                let Error::Command(CommandError::WrongState(_)) = error else { panic!("{error}") };
            }
            drop(subscription);
            for subscriber in &subscribers {
                let end = bounded(subscriber.ended()).await;
                assert!(matches!(end, Error::Cancelled(_)), "{draft}: {end}");
            }
        }
    }
}

#[tokio::test]
async fn a_publisher_that_ends_the_subscription_ends_its_namespaces() {
    // In draft 14 only the subscriber can.
    for draft in [Draft::D16, Draft::D18] {
        let (client, server, _server) = pair(draft).await;
        let interest = NamespaceInterest::Namespaces;
        let (mut subscription, subscribers) = subscribed(&client, &server, interest).await;
        bounded(subscribers[0].namespace(&namespace("demo-a"))).await.unwrap();
        bounded(subscription.next()).await.unwrap();
        drop(subscribers);
        let event = bounded(subscription.next()).await.unwrap();
        assert_eq!(event, NamespaceEvent::NamespaceDone(namespace("demo-a")), "{draft}");
        let end = bounded(subscription.next()).await.unwrap_err();
        assert!(matches!(end, Error::Cancelled(_)), "{draft}: {end}");
    }
}

#[tokio::test]
async fn tracks_are_offered_with_the_forward_state_asked_for() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let mut parameters = Parameters::default();
        parameters.forward = Some(false);
        let interest = NamespaceInterest::Tracks;
        let pending = client.subscribe_namespace(namespace("demo"), interest, parameters);
        let accepting = accept(&server, 1);
        let (subscription, subscribers) = bounded(async { tokio::join!(pending, accepting) }).await;
        let (subscription, _subscribers) = (subscription.unwrap(), subscribers);
        let (plain, properties) = (Parameters::default(), TrackProperties::new());
        let offer = server.publish("demo-a--t".parse().unwrap(), plain.clone(), properties.clone());
        let publication = bounded(offer).await.unwrap();
        let Incoming::Publish(publish) = bounded(client.accept_request()).await.unwrap() else {
            panic!()
        };
        assert_eq!(publish.track().to_string(), "demo-a--t");
        // Draft 14's SUBSCRIBE_NAMESPACE says nothing of it.
        let forward = publish.parameters().forward.unwrap_or(true);
        assert_eq!(forward, draft == Draft::D14, "{draft}");
        let mut accept = Accept::default();
        accept.parameters.forward = Some(true);
        let _received = publish.accept(accept).unwrap();
        bounded(publication.accepted()).await.unwrap();
        // What is not under the prefix is not concerned.
        let offer = server.publish("other--t".parse().unwrap(), plain, properties);
        let _other = bounded(offer).await.unwrap();
        let Incoming::Publish(publish) = bounded(client.accept_request()).await.unwrap() else {
            panic!()
        };
        assert!(publish.parameters().forward.unwrap_or(true), "{draft}");
        // Subscriptions that came of it go on without it.
        drop(subscription);
        assert_eq!(client.close_reason(), None);
    }
}

#[tokio::test]
async fn a_track_that_was_blocked_is_told_of_and_not_offered() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let interest = NamespaceInterest::Tracks;
        let (mut subscription, subscribers) = subscribed(&client, &server, interest).await;
        let track = "demo-a--t".parse().unwrap();
        let blocked = subscribers[0].publish_blocked(&track);
        if draft < Draft::D18 {
            assert!(matches!(blocked, Err(Error::Command(CommandError::Encode(_)))), "{draft}");
            continue;
        }
        blocked.unwrap();
        let event = bounded(subscription.next()).await.unwrap();
        assert_eq!(event, NamespaceEvent::PublishBlocked(track.clone()));
        let offer = server.publish(track, Parameters::default(), TrackProperties::new());
        let error = bounded(offer).await.unwrap_err();
        assert!(matches!(error, Error::Command(CommandError::WrongState(_))), "{error}");
    }
}

#[tokio::test]
async fn refused_and_unanswered_subscriptions() {
    for draft in Draft::ALL {
        for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Both] {
            let (client, server, _server) = pair(draft).await;
            let ask = |prefix: &str| {
                client.subscribe_namespace(namespace(prefix), interest, Parameters::default())
            };
            let serving = in_tasks({
                let server = server.clone();
                async move {
                    while let Ok(Incoming::SubscribeNamespace(request)) =
                        server.accept_request().await
                    {
                        if request.prefix().to_string() == "no" {
                            request.reject(Refusal::new(RequestErrorCode::Unauthorized));
                        }
                    }
                }
            });
            for (prefix, code) in [
                ("no", RequestErrorCode::Unauthorized),
                ("dropped", RequestErrorCode::NotSupported),
            ] {
                let error = bounded(ask(prefix)).await.unwrap_err();
                let Error::Rejected(error) = error else { panic!("{draft} {prefix}: {error}") };
                assert_eq!(error.code, code, "{draft} {prefix}");
            }
            assert_eq!(client.usage().requests, 0, "{draft}");
            serving.abort();
        }
    }
}

#[tokio::test]
async fn what_nobody_handles_is_not_supported() {
    let ask = |draft| async move {
        let (client, _server_session, _server) = pair(draft).await;
        let interest = NamespaceInterest::Namespaces;
        let pending = client.subscribe_namespace(namespace("a"), interest, Parameters::default());
        let error = bounded(pending).await.unwrap_err();
        let Error::Rejected(error) = error else { panic!("{draft}: {error}") };
        assert_eq!(error.code, RequestErrorCode::NotSupported, "{draft}");
    };
    tokio::join!(ask(Draft::D14), ask(Draft::D16), ask(Draft::D18));
}

#[tokio::test]
async fn a_namespace_is_revoked_with_a_reason() {
    for draft in Draft::ALL {
        let (client, server, _server) = pair(draft).await;
        let pending = client.publish_namespace(namespace("demo"), Parameters::default());
        let accepting = async {
            let Incoming::PublishNamespace(request) = server.accept_request().await.unwrap() else {
                panic!()
            };
            request.accept().unwrap()
        };
        let (publication, accepted) = bounded(async { tokio::join!(pending, accepting) }).await;
        let publication = publication.unwrap();
        accepted.revoke(RequestErrorCode::ExpiredAuthToken, "too old");
        match (draft, bounded(publication.ended()).await) {
            (Draft::D14 | Draft::D16, Error::Rejected(error)) => {
                assert_eq!(error.code, RequestErrorCode::ExpiredAuthToken);
                assert_eq!(error.reason, "too old");
            }
            (Draft::D18, Error::Cancelled(code)) => {
                assert_eq!(code, moqt_engine::model::StreamResetCode::ExpiredAuthToken);
            }
            (_, other) => panic!("{draft}: {other}"),
        }
    }
}
