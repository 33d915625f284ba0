//! Subscriptions (draft-18, "SUBSCRIBE").

use std::collections::BTreeMap;

use moqt_engine::model::{
    Location, Parameters, PublishDoneCode, RequestErrorCode, SubgroupId, SubscriptionFilter,
};
use moqt_engine::{Accept, Refusal, SubgroupOptions};
use moqt_scenarios::{Stage, accept_subscribe, payload, subscribed, track, write_group};
use moqt_session::{Error, PublicationEnd, Subscription};

moqt_scenarios::scenarios![
    objects_come_as_they_were_published,
    a_track_that_does_not_exist,
    a_request_that_is_dropped_is_withdrawn,
    unsubscribing_ends_the_publication,
    forwarding_can_be_paused_and_resumed,
    a_late_subscriber_gets_what_its_filter_lets_through,
    a_filter_that_is_over_is_refused,
];

/// All that comes until the publisher has ended the track.
async fn read_all(mut subscription: Subscription) -> BTreeMap<Location, usize> {
    let mut seen = BTreeMap::new();
    while let Some(object) = subscription.next_object().await.unwrap() {
        assert_eq!(object.payload, payload(object.location), "{}", object.location);
        *seen.entry(object.location).or_default() += 1;
    }
    let done = subscription.done().unwrap();
    assert_eq!((done.code, done.missing_streams), (PublishDoneCode::TrackEnded, 0));
    assert_eq!(done.reason, "that was all");
    seen
}

/// The same for a list of what is to come once.
fn once(locations: impl IntoIterator<Item = Location>) -> BTreeMap<Location, usize> {
    locations.into_iter().map(|location| (location, 1)).collect()
}

async fn objects_come_as_they_were_published(stage: Stage) {
    const GROUPS: u64 = 4;
    let (subscription, publication) =
        subscribed(&stage, "numbers", Parameters::default(), Accept::default()).await;
    let publish = async {
        for group in 0..GROUPS {
            let mut writers = Vec::new();
            for subgroup in 0..3 {
                let mut options = SubgroupOptions::new(group);
                options.subgroup_id = SubgroupId::Explicit(subgroup);
                writers.push(publication.open_subgroup(options).await.unwrap().unwrap());
            }
            for object in 0..60 {
                let writer = &mut writers[usize::try_from(object % 3).unwrap()];
                writer.write_object(object, payload(Location::new(group, object))).await.unwrap();
            }
            for writer in writers {
                writer.finish().unwrap();
            }
        }
        publication.done(PublishDoneCode::TrackEnded, "that was all");
    };
    let ((), seen) = tokio::join!(publish, read_all(subscription));
    let all = (0..GROUPS).flat_map(|group| (0..60).map(move |id| Location::new(group, id)));
    assert_eq!(seen, once(all));
    assert_eq!(stage.publisher.close_reason(), None);
}

async fn a_track_that_does_not_exist(stage: Stage) {
    let pending = stage.subscriber.subscribe(track("none"), Parameters::default());
    let mut refusal = Refusal::new(RequestErrorCode::DoesNotExist);
    refusal.reason = "no such track".into();
    let refuse = async { accept_subscribe(&stage.publisher).await.reject(refusal) };
    let (answer, ()) = tokio::join!(pending, refuse);
    let Err(Error::Rejected(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.code, RequestErrorCode::DoesNotExist);
    assert_eq!(error.reason, "no such track");
    // The session goes on.
    subscribed(&stage, "some", Parameters::default(), Accept::default())
        .await
        .1
        .done(PublishDoneCode::TrackEnded, "");
}

async fn a_request_that_is_dropped_is_withdrawn(stage: Stage) {
    // Before the publisher has answered it, and after.
    let pending = stage.subscriber.subscribe(track("withdrawn"), Parameters::default());
    let request = accept_subscribe(&stage.publisher).await;
    drop(pending);
    stage.world.until(|| stage.publisher.usage().requests == 0).await;
    assert!(request.accept(Accept::default()).is_err());
    let pending = stage.subscriber.subscribe(track("withdrawn"), Parameters::default());
    let request = accept_subscribe(&stage.publisher).await;
    let publication = request.accept(Accept::default()).unwrap();
    drop(pending);
    let end = publication.ended().await;
    assert!(matches!(end, PublicationEnd::Cancelled(_)), "{end:?}");
    assert_eq!(stage.subscriber.close_reason(), None);
}

async fn unsubscribing_ends_the_publication(stage: Stage) {
    let (mut subscription, publication) =
        subscribed(&stage, "left", Parameters::default(), Accept::default()).await;
    write_group(&publication, 0, 0..3).await;
    for id in 0..3 {
        let object = subscription.next_object().await.unwrap().unwrap();
        assert_eq!(object.location, Location::new(0, id));
    }
    drop(subscription);
    let end = publication.ended().await;
    assert!(matches!(end, PublicationEnd::Cancelled(_)), "{end:?}");
    stage.world.until(|| stage.publisher.usage().requests == 0).await;
}

fn forward(forward: bool) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.forward = Some(forward);
    parameters
}

async fn forwarding_can_be_paused_and_resumed(stage: Stage) {
    let (subscription, publication) =
        subscribed(&stage, "paused", forward(true), Accept::default()).await;
    write_group(&publication, 0, 0..5).await;
    for (state, group) in [(false, 1), (true, 2)] {
        let (answer, update) =
            tokio::join!(subscription.update(forward(state)), publication.next_update());
        answer.unwrap();
        assert_eq!(update.unwrap().forward, Some(state));
        assert_eq!(publication.forward(), state);
        // "The publisher does not send Objects if the Forward State is 0, and does send them if
        // the Forward State is 1."
        write_group(&publication, group, 0..5).await;
    }
    publication.done(PublishDoneCode::TrackEnded, "that was all");
    let seen = read_all(subscription).await;
    let expected =
        [0, 2].into_iter().flat_map(|group| (0..5).map(move |id| Location::new(group, id)));
    assert_eq!(seen, once(expected));
}

async fn a_late_subscriber_gets_what_its_filter_lets_through(stage: Stage) {
    use SubscriptionFilter::{AbsoluteRange, AbsoluteStart, LargestObject, NextGroupStart};
    let largest = Location::new(2, 3);
    for (filter, first, last) in [
        (LargestObject, Location::new(2, 4), Location::new(5, 9)),
        (NextGroupStart, Location::new(3, 0), Location::new(5, 9)),
        (AbsoluteStart { start: Location::new(4, 2) }, Location::new(4, 2), Location::new(5, 9)),
        (
            AbsoluteRange { start: Location::new(3, 5), end_group: 4 },
            Location::new(3, 5),
            Location::new(4, 9),
        ),
    ] {
        let mut wishes = Parameters::default();
        wishes.subscription_filter = Some(filter);
        let mut accept = Accept::default();
        accept.parameters.largest_object = Some(largest);
        let (subscription, publication) = subscribed(&stage, "late", wishes, accept).await;
        let answer = subscription.answer().unwrap();
        assert_eq!(answer.parameters.largest_object, Some(largest), "{filter:?}");
        let publish = async {
            write_group(&publication, 2, 4..10).await;
            for group in 3..6 {
                write_group(&publication, group, 0..10).await;
            }
            publication.done(PublishDoneCode::TrackEnded, "that was all");
        };
        let ((), seen) = tokio::join!(publish, read_all(subscription));
        let all = (2..6).flat_map(|group| (0..10).map(move |id| Location::new(group, id)));
        let expected = all.filter(|at| (first..=last).contains(at));
        assert_eq!(seen, once(expected), "{filter:?}");
    }
}

// "[...] it SHOULD send a REQUEST_ERROR with code INVALID_RANGE."
async fn a_filter_that_is_over_is_refused(stage: Stage) {
    let mut wishes = Parameters::default();
    wishes.subscription_filter =
        Some(SubscriptionFilter::AbsoluteRange { start: Location::new(0, 0), end_group: 1 });
    let mut accept = Accept::default();
    accept.parameters.largest_object = Some(Location::new(7, 0));
    let pending = stage.subscriber.subscribe(track("over"), wishes);
    let accepting = async { accept_subscribe(&stage.publisher).await.accept(accept) };
    let (answer, _publication) = tokio::join!(pending, accepting);
    let Err(Error::Rejected(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.code, RequestErrorCode::InvalidRange);
}
