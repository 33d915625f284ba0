//! Subscriptions that change or expire (draft-18, "REQUEST_UPDATE" and "EXPIRES Parameter").

use moqt_engine::model::{
    Location, Parameters, PublishDoneCode, RequestErrorCode, TrackProperties, property_type,
};
use moqt_engine::{Accept, CommandError, Draft, Refusal};
use moqt_scenarios::{Setup, Stage, subscribed};
use moqt_session::{Error, PublicationEnd};

moqt_scenarios::scenarios![
    an_update_is_answered_with_how_far_the_track_has_come,
    more_updates_than_may_be_unanswered_wait_their_turn,
    an_application_decides_on_updates(deciding),
    an_update_of_what_ends_meanwhile_is_told(deciding),
    a_subscription_expires_as_it_was_told,
    a_subscriber_asks_for_a_new_group,
];

/// Applications decide on updates.
fn deciding(setup: &mut Setup) {
    setup.engine.decide_updates = true;
}

fn forward(forward: bool) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.forward = Some(forward);
    parameters
}

async fn an_update_is_answered_with_how_far_the_track_has_come(stage: Stage) {
    let mut accept = Accept::default();
    accept.parameters.largest_object = Some(Location::new(4, 2));
    let (subscription, _publication) =
        subscribed(&stage, "changing", Parameters::default(), accept).await;
    let answer = subscription.update(forward(false)).await.unwrap();
    // Draft 14 has no answer.
    let expected = (stage.draft() >= Draft::D16).then_some(Location::new(4, 2));
    assert_eq!(answer.largest_object, expected);
}

async fn more_updates_than_may_be_unanswered_wait_their_turn(stage: Stage) {
    let (subscription, publication) =
        subscribed(&stage, "changing", Parameters::default(), Accept::default()).await;
    let updates: Vec<_> = (0..200).map(|n| subscription.update(forward(n % 2 == 0))).collect();
    for update in updates {
        update.await.unwrap();
    }
    stage.world.until(|| !publication.forward()).await;
}

async fn an_application_decides_on_updates(stage: Stage) {
    if stage.draft() < Draft::D16 {
        return;
    }
    for refuse in [false, true] {
        let (mut subscription, mut publication) =
            subscribed(&stage, "changing", Parameters::default(), Accept::default()).await;
        let first = subscription.update(forward(false));
        let asked = publication.next_update_request().await.unwrap();
        assert_eq!(asked.parameters().forward, Some(false));
        asked.accept(&Parameters::default()).unwrap();
        first.await.unwrap();
        assert!(!publication.forward());
        let second = subscription.update(forward(true));
        let asked = publication.next_update_request().await.unwrap();
        let code = if refuse {
            asked.reject(Refusal::new(RequestErrorCode::Unauthorized));
            RequestErrorCode::Unauthorized
        } else {
            // Dropped: refused like everything that nobody answers.
            drop(asked);
            RequestErrorCode::NotSupported
        };
        let Err(Error::Rejected(error)) = second.await else { panic!("accepted") };
        assert_eq!(error.code, code);
        // A refused update ends the subscription.
        assert!(subscription.next_object().await.unwrap().is_none());
        let done = subscription.done().map(|done| done.code);
        assert_eq!(done, Some(PublishDoneCode::UpdateFailed));
        assert!(publication.next_update_request().await.is_err());
    }
}

async fn an_update_of_what_ends_meanwhile_is_told(stage: Stage) {
    if stage.draft() < Draft::D16 {
        return;
    }
    let (mut subscription, publication) =
        subscribed(&stage, "changing", Parameters::default(), Accept::default()).await;
    let update = subscription.update(forward(false));
    publication.done(PublishDoneCode::TrackEnded, "");
    assert!(subscription.next_object().await.unwrap().is_none());
    assert!(update.await.is_err());
    let late = subscription.update(forward(true)).await;
    assert_eq!(late, Err(Error::Command(CommandError::Gone)));
}

async fn a_subscription_expires_as_it_was_told(stage: Stage) {
    let mut accept = Accept::default();
    accept.parameters.expires = Some(50);
    let (mut subscription, publication) =
        subscribed(&stage, "expiring", Parameters::default(), accept).await;
    let expires = subscription.answer().and_then(|answer| answer.parameters.expires);
    assert_eq!(expires, Some(50));
    assert_eq!(publication.ended().await, PublicationEnd::Expired);
    assert!(subscription.next_object().await.unwrap().is_none());
    assert_eq!(subscription.done().map(|done| done.code), Some(PublishDoneCode::Expired));
}

async fn a_subscriber_asks_for_a_new_group(stage: Stage) {
    if stage.draft() < Draft::D16 {
        return;
    }
    let track_properties = TrackProperties::new().with_int(property_type::DYNAMIC_GROUPS, 1);
    let accept = Accept { track_properties, ..Accept::default() };
    let (subscription, publication) =
        subscribed(&stage, "dynamic", Parameters::default(), accept).await;
    let mut wish = Parameters::default();
    wish.new_group_request = Some(7);
    subscription.update(wish).await.unwrap();
    assert_eq!(publication.new_group_requested().await, Ok(7));
}
