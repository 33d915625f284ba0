//! Namespaces (draft-18, "PUBLISH_NAMESPACE", "SUBSCRIBE_NAMESPACE" and "SUBSCRIBE_TRACKS").

use moqt_engine::model::{
    NamespaceInterest, Parameters, RequestErrorCode, StreamResetCode, TrackNamespace,
    TrackProperties,
};
use moqt_engine::{Accept, CommandError, Draft, Refusal};
use moqt_scenarios::{Stage, accept_publish};
use moqt_session::{
    Error, Incoming, IncomingPublishNamespace, NamespaceEvent, NamespaceSubscriber,
    NamespaceSubscription, Session,
};

moqt_scenarios::scenarios![
    a_namespace_is_announced_and_withdrawn,
    a_namespace_is_refused,
    a_namespace_is_revoked_with_a_reason,
    namespaces_come_and_go,
    a_publisher_that_ends_the_subscription_ends_its_namespaces,
    tracks_are_offered_with_the_forward_state_asked_for,
    a_track_that_was_blocked_is_told_of_and_not_offered,
    refused_and_unanswered_subscriptions,
    what_nobody_handles_is_not_supported,
];

fn namespace(text: &str) -> TrackNamespace {
    text.parse().unwrap()
}

async fn announced(session: &Session) -> IncomingPublishNamespace {
    match session.accept_request().await.unwrap() {
        Incoming::PublishNamespace(request) => request,
        other => panic!("{other:?}"),
    }
}

async fn a_namespace_is_announced_and_withdrawn(stage: Stage) {
    let pending = stage.publisher.publish_namespace(namespace("demo-a"), Parameters::default());
    let request = announced(&stage.subscriber).await;
    assert_eq!(*request.namespace(), namespace("demo-a"));
    let theirs = request.accept().unwrap();
    let ours = pending.await.unwrap();
    drop(ours);
    let end = theirs.ended().await;
    assert!(matches!(end, Error::Cancelled(_)), "{end:?}");
    // Another time.
    let pending = stage.publisher.publish_namespace(namespace("demo-a"), Parameters::default());
    let theirs = announced(&stage.subscriber).await.accept().unwrap();
    drop((pending.await.unwrap(), theirs));
}

async fn a_namespace_is_refused(stage: Stage) {
    for code in [RequestErrorCode::Unauthorized, RequestErrorCode::Uninterested] {
        let pending = stage.publisher.publish_namespace(namespace("demo"), Parameters::default());
        let mut refusal = Refusal::new(code);
        refusal.reason = "no".into();
        announced(&stage.subscriber).await.reject(refusal);
        let Err(Error::Rejected(error)) = pending.await else { panic!("accepted") };
        assert_eq!((error.code, error.reason.as_str()), (code, "no"));
    }
    stage.world.until(|| stage.subscriber.usage().requests == 0).await;
}

async fn a_namespace_is_revoked_with_a_reason(stage: Stage) {
    let pending = stage.publisher.publish_namespace(namespace("demo"), Parameters::default());
    let theirs = announced(&stage.subscriber).await.accept().unwrap();
    let ours = pending.await.unwrap();
    theirs.revoke(RequestErrorCode::ExpiredAuthToken, "too old");
    // From draft 18 on there is the code of a reset only.
    match ours.ended().await {
        Error::Rejected(error) if stage.draft() < Draft::D18 => {
            assert_eq!(error.code, RequestErrorCode::ExpiredAuthToken);
            assert_eq!(error.reason, "too old");
        }
        Error::Cancelled(code) if stage.draft() >= Draft::D18 => {
            assert_eq!(code, StreamResetCode::ExpiredAuthToken);
        }
        other => panic!("{other}"),
    }
}

/// Accepts the namespace subscriptions that come, as many as `count`.
async fn accept(publisher: &Session, count: usize) -> Vec<NamespaceSubscriber> {
    let mut accepted = Vec::new();
    while accepted.len() < count {
        match publisher.accept_request().await.unwrap() {
            Incoming::SubscribeNamespace(request) => accepted.push(request.accept().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    accepted
}

/// A subscription for everything under `demo`, and its other end.
async fn subscribed(
    stage: &Stage,
    interest: NamespaceInterest,
    parameters: Parameters,
) -> (NamespaceSubscription, Vec<NamespaceSubscriber>) {
    let splits = stage.draft() >= Draft::D18 && interest == NamespaceInterest::Both;
    let pending = stage.subscriber.subscribe_namespace(namespace("demo"), interest, parameters);
    let accepting = accept(&stage.publisher, 1 + usize::from(splits));
    let (subscription, accepted) = tokio::join!(pending, accepting);
    (subscription.unwrap(), accepted)
}

/// The one of them that wants to hear of namespaces.
fn of_namespaces(subscribers: &[NamespaceSubscriber]) -> &NamespaceSubscriber {
    let wants = |one: &&NamespaceSubscriber| one.interest() != NamespaceInterest::Tracks;
    subscribers.iter().find(wants).unwrap()
}

async fn namespaces_come_and_go(stage: Stage) {
    for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Both] {
        let (mut subscription, subscribers) =
            subscribed(&stage, interest, Parameters::default()).await;
        let teller = of_namespaces(&subscribers);
        for name in ["demo-a", "demo-b"] {
            teller.namespace(&namespace(name)).await.unwrap();
            let event = subscription.next().await.unwrap();
            assert_eq!(event, NamespaceEvent::Namespace(namespace(name)));
        }
        teller.namespace_done(&namespace("demo-a")).unwrap();
        let event = subscription.next().await.unwrap();
        assert_eq!(event, NamespaceEvent::NamespaceDone(namespace("demo-a")));
        // What it was not told of cannot be done, nor what is not under the prefix be told.
        for name in ["demo-a", "other"] {
            let error = teller.namespace_done(&namespace(name)).unwrap_err();
            let Error::Command(CommandError::WrongState(_)) = error else { panic!("{error}") };
        }
        drop(subscription);
        for subscriber in &subscribers {
            let end = subscriber.ended().await;
            assert!(matches!(end, Error::Cancelled(_)), "{end}");
        }
    }
}

async fn a_publisher_that_ends_the_subscription_ends_its_namespaces(stage: Stage) {
    // In draft 14 only the subscriber can.
    if stage.draft() < Draft::D16 {
        return;
    }
    let interest = NamespaceInterest::Namespaces;
    let (mut subscription, subscribers) = subscribed(&stage, interest, Parameters::default()).await;
    subscribers[0].namespace(&namespace("demo-a")).await.unwrap();
    subscription.next().await.unwrap();
    drop(subscribers);
    let event = subscription.next().await.unwrap();
    assert_eq!(event, NamespaceEvent::NamespaceDone(namespace("demo-a")));
    let end = subscription.next().await.unwrap_err();
    assert!(matches!(end, Error::Cancelled(_)), "{end}");
}

async fn tracks_are_offered_with_the_forward_state_asked_for(stage: Stage) {
    let mut parameters = Parameters::default();
    parameters.forward = Some(false);
    let (subscription, _subscribers) =
        subscribed(&stage, NamespaceInterest::Tracks, parameters).await;
    let offer = |track: &str| {
        let track = track.parse().unwrap();
        stage.publisher.publish(track, Parameters::default(), TrackProperties::new())
    };
    let publication = offer("demo-a--t").await.unwrap();
    let publish = accept_publish(&stage.subscriber).await;
    assert_eq!(publish.track().to_string(), "demo-a--t");
    // Draft 14's SUBSCRIBE_NAMESPACE says nothing of it.
    let forward = publish.parameters().forward.unwrap_or(true);
    assert_eq!(forward, stage.draft() < Draft::D16);
    let mut accept = Accept::default();
    accept.parameters.forward = Some(true);
    let _received = publish.accept(accept).unwrap();
    publication.accepted().await.unwrap();
    // What is not under the prefix is not concerned.
    let _other = offer("other--t").await.unwrap();
    let publish = accept_publish(&stage.subscriber).await;
    assert!(publish.parameters().forward.unwrap_or(true));
    // Subscriptions that came of it go on without it.
    drop(subscription);
    assert_eq!(stage.subscriber.close_reason(), None);
}

async fn a_track_that_was_blocked_is_told_of_and_not_offered(stage: Stage) {
    let (mut subscription, subscribers) =
        subscribed(&stage, NamespaceInterest::Tracks, Parameters::default()).await;
    let track = "demo-a--t".parse().unwrap();
    let blocked = subscribers[0].publish_blocked(&track);
    if stage.draft() < Draft::D18 {
        assert!(matches!(blocked, Err(Error::Command(CommandError::Encode(_)))), "{blocked:?}");
        return;
    }
    blocked.unwrap();
    let event = subscription.next().await.unwrap();
    assert_eq!(event, NamespaceEvent::PublishBlocked(track.clone()));
    let offer = stage.publisher.publish(track, Parameters::default(), TrackProperties::new());
    let error = offer.await.unwrap_err();
    assert!(matches!(error, Error::Command(CommandError::WrongState(_))), "{error}");
}

async fn refused_and_unanswered_subscriptions(stage: Stage) {
    for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Both] {
        for (prefix, code) in
            [("no", RequestErrorCode::Unauthorized), ("dropped", RequestErrorCode::NotSupported)]
        {
            let prefix = namespace(prefix);
            let pending =
                stage.subscriber.subscribe_namespace(prefix, interest, Parameters::default());
            let serve = async {
                while let Ok(Incoming::SubscribeNamespace(request)) =
                    stage.publisher.accept_request().await
                {
                    if request.prefix().to_string() == "no" {
                        request.reject(Refusal::new(RequestErrorCode::Unauthorized));
                    }
                }
            };
            let error = tokio::select! {
                answer = pending => answer.unwrap_err(),
                () = serve => panic!("something else was asked for"),
            };
            let Error::Rejected(error) = error else { panic!("{error}") };
            assert_eq!(error.code, code);
        }
        stage.world.until(|| stage.subscriber.usage().requests == 0).await;
    }
}

async fn what_nobody_handles_is_not_supported(stage: Stage) {
    let interest = NamespaceInterest::Namespaces;
    let prefix = namespace("a");
    let pending = stage.subscriber.subscribe_namespace(prefix, interest, Parameters::default());
    let Err(Error::Rejected(error)) = pending.await else { panic!("accepted") };
    assert_eq!(error.code, RequestErrorCode::NotSupported);
}
