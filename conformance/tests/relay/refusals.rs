//! What becomes of a publisher's refusals and of how it ends a subscription: what the subscriber
//! can do something with is passed on, what concerns the relay alone is not.

use bytes::Bytes;
use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    Location, LocationRange, Parameters, PublishDoneCode, Redirect, RequestErrorCode,
};
use moqt_engine::{Draft, Refusal, RequestError};
use moqt_session::{Error, Incoming, Session};

use crate::stage::{Stage, accept_subscribe, publish_namespace, track};

/// How a subscription ends goes on to the subscribers. But the relay's own token, its own slowness
/// and its own requests are not theirs: "UNAUTHORIZED: The subscriber is no longer authorized to
/// subscribe to the given track" would not be true of them.
#[test]
fn the_end_of_a_subscription_is_passed_on_unless_it_is_about_the_relay() {
    let codes = [
        (PublishDoneCode::TrackEnded, PublishDoneCode::TrackEnded),
        (PublishDoneCode::SubscriptionEnded, PublishDoneCode::SubscriptionEnded),
        (PublishDoneCode::InternalError, PublishDoneCode::InternalError),
        (PublishDoneCode::Unauthorized, PublishDoneCode::InternalError),
        (PublishDoneCode::TooFarBehind, PublishDoneCode::InternalError),
        (PublishDoneCode::Expired, PublishDoneCode::InternalError),
    ];
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for (seed, (code, expected)) in codes.into_iter().enumerate() {
            let stage = Stage::new((number + seed) as u64);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("ends"), Parameters::default());
                let publication = accept_subscribe(&publisher).await;
                let mut subscription = pending.await.unwrap();
                published.withdraw();
                stage.sleep(2000).await;
                publication.done(code, "why");
                assert_eq!(subscription.next_object().await.unwrap(), None, "{draft:?}");
                assert_eq!(subscription.done().unwrap().code, expected, "{draft:?}");
            });
        }
    }
}

/// What a publisher answers to each request for a track.
async fn refuse_all(publisher: &Session, refusal: &Refusal) {
    loop {
        match publisher.accept_request().await.unwrap() {
            Incoming::Subscribe(subscribe) => subscribe.reject(refusal.clone()),
            Incoming::Fetch(fetch) => fetch.reject(refusal.clone()),
            Incoming::TrackStatus(status) => status.reject(refusal.clone()),
            other => panic!("{other:?}"),
        }
    }
}

/// A SUBSCRIBE, a FETCH and a TRACK_STATUS, and why each was refused.
async fn refusals(session: &Session) -> [RequestError; 3] {
    fn why<T>(answer: Result<T, Error>) -> RequestError {
        match answer {
            Err(Error::Rejected(error)) => *error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was granted"),
        }
    }
    let range = LocationRange::to_last(Location::ZERO, Location::ZERO);
    [
        why(session.subscribe(track("a"), Parameters::default()).await),
        why(session.fetch(track("b"), range, Parameters::default()).await),
        why(session.track_status(track("c"), Parameters::default()).await),
    ]
}

/// A refusal of a request for a track goes on to who asked, with the relay's token left out of it.
#[test]
fn a_refusal_is_passed_on_unless_it_is_about_the_relay() {
    let codes = [
        (RequestErrorCode::DoesNotExist, RequestErrorCode::DoesNotExist),
        (RequestErrorCode::NotSupported, RequestErrorCode::NotSupported),
        (RequestErrorCode::Unauthorized, RequestErrorCode::InternalError),
        (RequestErrorCode::ExpiredAuthToken, RequestErrorCode::InternalError),
    ];
    for (number, draft) in drafts_from(Draft::D16).enumerate() {
        for (seed, (code, expected)) in codes.into_iter().enumerate() {
            let stage = Stage::new((number + seed) as u64);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let refusal = Refusal::new(code);
                let refused = tokio::select! {
                    refused = refusals(&subscriber) => refused,
                    () = refuse_all(&publisher, &refusal) => unreachable!(),
                };
                let seen = refused.map(|error| error.code);
                assert_eq!(seen, [expected; 3], "{draft:?}, seed {seed}, {code:?}");
            });
        }
    }
}

/// "Relays are not required to follow redirects from upstream and MAY forward a REDIRECT response to
/// matching downstream requests": this one does, with what it says; those that cannot be told of it
/// are refused otherwise.
#[test]
fn a_redirect_is_passed_on() {
    // A client cannot send a server to another URI.
    let redirect = Redirect { connect_uri: Bytes::new(), track: track("elsewhere") };
    for seed in 0..3 {
        for to in DRAFTS {
            let stage = Stage::new(seed);
            stage.run(async {
                let publisher = stage.client(Draft::D18).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(to).await;
                let mut refusal = Refusal::new(RequestErrorCode::Redirect);
                refusal.redirect = Some(redirect.clone());
                let refused = tokio::select! {
                    refused = refusals(&subscriber) => refused,
                    () = refuse_all(&publisher, &refusal) => unreachable!(),
                };
                for error in refused {
                    if to >= Draft::D18 {
                        assert_eq!(error.code, RequestErrorCode::Redirect, "seed {seed}");
                        assert_eq!(error.redirect, refusal.redirect, "seed {seed}");
                    } else {
                        assert_eq!(error.redirect, None, "{to:?}");
                    }
                }
            });
        }
    }
}
