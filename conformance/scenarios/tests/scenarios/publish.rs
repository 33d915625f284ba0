//! Tracks that the publisher offers (draft-18, "PUBLISH").

use moqt_engine::model::{Location, Parameters, PublishDoneCode, RequestErrorCode};
use moqt_engine::{Accept, Refusal};
use moqt_scenarios::{Stage, offered, payload, track, write_group};
use moqt_session::{Error, PublicationEnd, Subscription};

moqt_scenarios::scenarios![
    an_offer_that_is_accepted,
    objects_may_be_sent_before_the_answer,
    an_offer_that_is_refused,
    an_offer_that_is_withdrawn,
    an_offer_that_is_wanted_later,
];

fn forward(forward: bool) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.forward = Some(forward);
    parameters
}

fn accept(parameters: Parameters) -> Accept {
    Accept { parameters, ..Accept::default() }
}

/// That exactly these groups of 10 objects come, and then the end.
async fn reads(mut subscription: Subscription, groups: &[u64]) {
    let mut seen = Vec::new();
    while let Some(object) = subscription.next_object().await.unwrap() {
        assert_eq!(object.payload, payload(object.location), "{}", object.location);
        seen.push(object.location);
    }
    seen.sort();
    let expected = groups.iter().flat_map(|group| (0..10).map(|id| Location::new(*group, id)));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    assert_eq!(subscription.done().map(|done| done.code), Some(PublishDoneCode::TrackEnded));
}

async fn an_offer_that_is_accepted(stage: Stage) {
    let (publication, offer) = offered(&stage, "offered", Parameters::default()).await;
    assert_eq!(*offer.track(), track("offered"));
    let subscription = offer.accept(accept(forward(true))).unwrap();
    let answer = publication.accepted().await.unwrap();
    assert!(answer.parameters.forward.unwrap_or(true));
    write_group(&publication, 0, 0..10).await;
    publication.done(PublishDoneCode::TrackEnded, "");
    reads(subscription, &[0]).await;
}

// "If 1, the publisher will start transmitting objects immediately, even before PUBLISH_OK."
async fn objects_may_be_sent_before_the_answer(stage: Stage) {
    let (publication, offer) = offered(&stage, "early", forward(true)).await;
    write_group(&publication, 0, 0..10).await;
    let subscription = offer.accept(accept(forward(true))).unwrap();
    publication.accepted().await.unwrap();
    write_group(&publication, 1, 0..10).await;
    publication.done(PublishDoneCode::TrackEnded, "");
    reads(subscription, &[0, 1]).await;
}

async fn an_offer_that_is_refused(stage: Stage) {
    let (publication, offer) = offered(&stage, "refused", Parameters::default()).await;
    let mut refusal = Refusal::new(RequestErrorCode::Uninterested);
    refusal.reason = "no".into();
    offer.reject(refusal);
    let Err(Error::Rejected(error)) = publication.accepted().await else { panic!("accepted") };
    assert_eq!((error.code, error.reason.as_str()), (RequestErrorCode::Uninterested, "no"));
    let end = publication.ended().await;
    assert!(matches!(end, PublicationEnd::Rejected(_)), "{end:?}");
    drop(publication);
    stage.world.until(|| stage.publisher.usage().requests == 0).await;
    stage.world.until(|| stage.subscriber.usage().requests == 0).await;
}

async fn an_offer_that_is_withdrawn(stage: Stage) {
    let (publication, offer) = offered(&stage, "withdrawn", Parameters::default()).await;
    publication.done(PublishDoneCode::GoingAway, "elsewhere");
    let mut subscription = offer.accept(accept(forward(true))).unwrap();
    assert!(subscription.next_object().await.unwrap().is_none());
    let done = subscription.done().unwrap();
    assert_eq!((done.code, done.reason.as_str()), (PublishDoneCode::GoingAway, "elsewhere"));
}

// "[...] respond with PUBLISH_OK in Forward State=0 until there are known subscribers".
async fn an_offer_that_is_wanted_later(stage: Stage) {
    let (publication, offer) = offered(&stage, "later", forward(false)).await;
    assert_eq!(offer.parameters().forward, Some(false));
    let subscription = offer.accept(accept(forward(false))).unwrap();
    publication.accepted().await.unwrap();
    assert!(!publication.forward());
    write_group(&publication, 0, 0..10).await;
    let update = subscription.update(forward(true));
    let (answer, update) = tokio::join!(update, publication.next_update());
    answer.unwrap();
    assert_eq!(update.unwrap().forward, Some(true));
    assert!(publication.forward());
    write_group(&publication, 1, 0..10).await;
    publication.done(PublishDoneCode::TrackEnded, "");
    reads(subscription, &[1]).await;
}
