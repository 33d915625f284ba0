//! Several publishers, and who is asked for what (draft-18, "Multiple Publishers" and "Publisher
//! Interactions").

use moqt_conformance::DRAFTS;
use moqt_engine::model::{
    FullTrackName, GroupOrder, Location, NamespaceInterest, Parameters, PublishDoneCode,
    RequestErrorCode, SubscriptionFilter,
};
use moqt_engine::{Accept, Draft, Refusal};
use moqt_loopback::RelayOptions;
use moqt_session::{NamespaceSubscription, Session};

use crate::stage::{
    Stage, accept_subscribe, locations, next_publish, next_subscribe, prefix, publish,
    publish_namespace, receive, refusal, track, write_group,
};

/// What somebody asks for who wants to be offered tracks.
async fn listen(session: &Session) -> NamespaceSubscription {
    let interest = NamespaceInterest::Tracks;
    session.subscribe_namespace(prefix(), interest, Parameters::default()).await.unwrap()
}

/// "the Relay MUST send a SUBSCRIBE request to each publisher that has published the subscription's
/// namespace or prefix thereof", and to nobody else.
#[test]
fn a_subscribe_goes_to_each_who_publishes_the_namespace_or_a_prefix() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let [first, second, third, other] = [
                stage.client(draft).await,
                stage.client(draft).await,
                stage.client(draft).await,
                stage.client(draft).await,
            ];
            let _first = publish_namespace(&first).await;
            let _second = publish_namespace(&second).await;
            let pending = third.publish_namespace(prefix(), Parameters::default());
            let _third = pending.await.unwrap();
            let elsewhere = "relayed-others--".parse::<FullTrackName>();
            let elsewhere = elsewhere.unwrap().namespace().clone();
            let _other = other.publish_namespace(elsewhere, Parameters::default()).await.unwrap();
            stage.sleep(1000).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("all"), Parameters::default());
            let mut publications = Vec::new();
            for publisher in [&first, &second, &third] {
                publications.push(accept_subscribe(publisher).await);
            }
            assert!(stage.nothing_comes(other.accept_request()).await, "{draft:?}");
            let _subscription = pending.await.unwrap();
        });
    }
}

/// "Relays MUST handle Objects for the same Track from multiple publishers and forward them to
/// matching Established subscriptions. The Relay SHOULD attempt to deduplicate Objects before
/// forwarding."
#[test]
fn objects_of_several_publishers_are_forwarded_and_each_once() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (first, second) = (stage.client(draft).await, stage.client(draft).await);
            let _first = publish_namespace(&first).await;
            let _second = publish_namespace(&second).await;
            stage.sleep(1000).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("both"), Parameters::default());
            let first = accept_subscribe(&first).await;
            let second = accept_subscribe(&second).await;
            let subscription = pending.await.unwrap();
            stage.sleep(1000).await;
            let writing = async {
                write_group(&first, 0, 3).await;
                write_group(&second, 1, 3).await;
                tokio::join!(write_group(&first, 2, 5), write_group(&second, 2, 5));
                stage.sleep(3000).await;
                write_group(&second, 3, 2).await;
                first.done(PublishDoneCode::TrackEnded, "");
                stage.sleep(3000).await;
                second.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            let mut expected = locations(2, 3);
            expected.extend(locations(3, 5).split_off(10));
            expected.extend(locations(4, 2).split_off(6));
            assert_eq!(seen, expected, "{draft:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded);
        });
    }
}

/// "when it receives an authorized PUBLISH message for a Track that has Established downstream
/// subscriptions, it MUST respond with PUBLISH_OK. If at least one downstream subscriber for the
/// Track has Forward State=1, the Relay MUST use Forward State=1 in the reply." The track comes by
/// way of PUBLISH_NAMESPACE already.
#[test]
fn a_publish_of_a_track_with_subscribers_is_accepted_and_forwarded() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::resting(number as u64);
        stage.run(async {
            let asked = stage.client(draft).await;
            let _published = publish_namespace(&asked).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("mixed"), Parameters::default());
            let asked = accept_subscribe(&asked).await;
            let subscription = pending.await.unwrap();
            let offering = stage.client(draft).await;
            let offered = publish(&offering, "mixed").await;
            offered.accepted().await.unwrap();
            assert!(offered.forward(), "{draft:?}: somebody wants objects");
            let writing = async {
                write_group(&asked, 0, 2).await;
                write_group(&offered, 1, 2).await;
                stage.sleep(3000).await;
                asked.done(PublishDoneCode::TrackEnded, "");
                offered.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, _), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!(seen, locations(2, 2), "{draft:?}");
        });
    }
}

/// "If the SUBSCRIBE has Forward State=1 and the upstream subscriptions are in Forward State=0, the
/// Relay MUST send REQUEST_UPDATE with Forward=1 to all publishers."
#[test]
fn all_publishers_are_told_when_somebody_wants_objects() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::resting(number as u64);
        stage.run(async {
            let (first, second) = (stage.client(draft).await, stage.client(draft).await);
            let (first, second) = (publish(&first, "woken").await, publish(&second, "woken").await);
            first.accepted().await.unwrap();
            second.accepted().await.unwrap();
            assert!(!first.forward() && !second.forward(), "{draft:?}: nobody wants it yet");
            let subscriber = stage.client(draft).await;
            let _subscription =
                subscriber.subscribe(track("woken"), Parameters::default()).await.unwrap();
            for publication in [&first, &second] {
                let update = publication.next_update().await.unwrap();
                assert_eq!(update.forward, Some(true), "{draft:?}");
                assert!(publication.forward(), "{draft:?}");
            }
        });
    }
}

/// "Relays SHOULD set the Forward flag to 1 when a new subscription needs to be sent upstream,
/// regardless of the value of the Forward field from the downstream subscription", and MUST if that
/// is 1.
#[test]
fn a_subscription_goes_upstream_with_forwarding() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for forward in [None, Some(true), Some(false)] {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let mut parameters = Parameters::default();
                parameters.forward = forward;
                let pending = subscriber.subscribe(track("flag"), parameters);
                let subscribe = next_subscribe(&publisher).await;
                assert!(subscribe.parameters().forward.unwrap_or(true), "{draft:?}: {forward:?}");
                let _publication = subscribe.accept(Accept::default()).unwrap();
                let _subscription = pending.await.unwrap();
            });
        }
    }
}

/// "Relays SHOULD NOT directly use Subscriber Priority or Group Order from incoming subscriptions
/// for upstream subscriptions", nor forward delivery timeouts that are "specific to a
/// subscription". Its filter is the subscriber's alone, too: others want the rest.
#[test]
fn what_is_one_subscribers_is_not_asked_for_upstream() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(draft).await;
            let mut parameters = Parameters::default();
            parameters.subscriber_priority = Some(7);
            parameters.group_order = Some(GroupOrder::Descending);
            parameters.object_delivery_timeout = Some(1234);
            if draft >= Draft::D18 {
                parameters.subgroup_delivery_timeout = Some(2345);
            }
            let start = Location::new(3, 0);
            let filter = SubscriptionFilter::AbsoluteStart { start };
            parameters.subscription_filter = Some(filter);
            let pending = subscriber.subscribe(track("mine"), parameters);
            let subscribe = next_subscribe(&publisher).await;
            let asked = subscribe.parameters();
            assert_ne!(asked.subscriber_priority, Some(7), "{draft:?}");
            assert_ne!(asked.group_order, Some(GroupOrder::Descending), "{draft:?}");
            assert_eq!(asked.object_delivery_timeout, None, "{draft:?}");
            assert_eq!(asked.subgroup_delivery_timeout, None, "{draft:?}");
            assert_ne!(asked.subscription_filter, Some(filter), "{draft:?}");
            let _publication = subscribe.accept(Accept::default()).unwrap();
            let _subscription = pending.await.unwrap();
        });
    }
}

/// "The relay MUST have an Established upstream subscription before sending SUBSCRIBE_OK in
/// response to a downstream SUBSCRIBE."
#[test]
fn a_subscriber_waits_for_the_answer_of_the_publisher() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(draft).await;
            let mut pending = subscriber.subscribe(track("slow"), Parameters::default());
            let subscribe = next_subscribe(&publisher).await;
            assert!(stage.nothing_comes(&mut pending).await, "{draft:?}");
            let _publication = subscribe.accept(Accept::default()).unwrap();
            let _subscription = pending.await.unwrap();
            let pending = subscriber.subscribe(track("refused"), Parameters::default());
            let subscribe = next_subscribe(&publisher).await;
            subscribe.reject(Refusal::new(RequestErrorCode::DoesNotExist));
            assert_eq!(refusal(pending.await), RequestErrorCode::DoesNotExist, "{draft:?}");
        });
    }
}

/// "When a Relay receives an authorized SUBSCRIBE for a Track with one or more Established upstream
/// subscriptions, it MUST reply with SUBSCRIBE_OK": nobody upstream is asked again.
#[test]
fn a_subscription_of_a_track_that_comes_is_accepted() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("there"), Parameters::default());
            let _publication = accept_subscribe(&publisher).await;
            let _first = pending.await.unwrap();
            for to in DRAFTS {
                // In the same shard as the first one, or not.
                for _ in 0..2 {
                    let late = stage.client(to).await;
                    let _subscription =
                        late.subscribe(track("there"), Parameters::default()).await.unwrap();
                }
            }
            assert!(stage.nothing_comes(publisher.accept_request()).await, "{draft:?}");
        });
    }
}

/// "When a relay receives an authorized PUBLISH_NAMESPACE for a namespace that matches one or more
/// existing subscriptions to other upstream sessions, it MUST send a SUBSCRIBE to the publisher that
/// sent the PUBLISH_NAMESPACE for each matching subscription."
#[test]
fn a_new_publisher_of_a_namespace_is_asked_for_what_others_give() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let first = stage.client(draft).await;
            let _published = publish_namespace(&first).await;
            let subscriber = stage.client(draft).await;
            let (mut publications, mut subscriptions) = (Vec::new(), Vec::new());
            for name in ["a", "b"] {
                let pending = subscriber.subscribe(track(name), Parameters::default());
                publications.push(accept_subscribe(&first).await);
                subscriptions.push(pending.await.unwrap());
            }
            let second = stage.client(draft).await;
            let pending = second.publish_namespace(prefix(), Parameters::default());
            let _published = pending.await.unwrap();
            let mut asked = Vec::new();
            for _ in 0..2 {
                let subscribe = next_subscribe(&second).await;
                asked.push(subscribe.track().clone());
                publications.push(subscribe.accept(Accept::default()).unwrap());
            }
            asked.sort_unstable();
            assert_eq!(asked, [track("a"), track("b")], "{draft:?}");
        });
    }
}

/// "When a relay receives an incoming PUBLISH message, it MUST send a PUBLISH request to each
/// subscriber that has sent SUBSCRIBE_TRACKS for the Track's namespace or a prefix thereof", and
/// "MUST NOT send any PUBLISH messages without knowing the client is interested": neither before
/// nor after.
#[test]
fn a_publish_goes_to_those_who_asked_for_tracks_and_to_no_others() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        // Draft 14 has one message for both interests.
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let mut interested = Vec::new();
                for _ in 0..3 {
                    let session = stage.client(to).await;
                    let subscription = listen(&session).await;
                    interested.push((session, subscription));
                }
                let (uninterested, not_any_more) = (stage.client(to).await, stage.client(to).await);
                drop(listen(&not_any_more).await);
                stage.sleep(2000).await;
                let publisher = stage.client(from).await;
                let publication = publish(&publisher, "offered").await;
                publication.accepted().await.unwrap();
                let mut subscriptions = Vec::new();
                for (session, _) in &interested {
                    let offer = next_publish(session).await;
                    assert_eq!(offer.track(), &track("offered"), "{from:?} to {to:?}");
                    subscriptions.push(offer.accept(Accept::default()).unwrap());
                }
                for session in [&uninterested, &not_any_more, &publisher] {
                    let nothing = stage.nothing_comes(session.accept_request()).await;
                    assert!(nothing, "{from:?} to {to:?}");
                }
                write_group(&publication, 0, 2).await;
                publication.done(PublishDoneCode::TrackEnded, "");
                for subscription in subscriptions {
                    let (seen, code) = receive(subscription).await;
                    assert_eq!(seen, locations(1, 2), "{from:?} to {to:?}");
                    assert_eq!(code, PublishDoneCode::TrackEnded, "{from:?} to {to:?}");
                }
            });
        }
    }
}

/// Who asks for tracks hears of those there are; of those that it publishes itself it does not.
#[test]
fn tracks_that_were_published_before_are_offered_but_not_to_their_publisher() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (first, second) = (stage.client(draft).await, stage.client(draft).await);
            let mine = publish(&first, "mine").await;
            let yours = publish(&second, "yours").await;
            mine.accepted().await.unwrap();
            yours.accepted().await.unwrap();
            let _listening = listen(&first).await;
            let offer = next_publish(&first).await;
            assert_eq!(offer.track(), &track("yours"), "{draft:?}");
            let _subscription = offer.accept(Accept::default()).unwrap();
            assert!(stage.nothing_comes(first.accept_request()).await, "{draft:?}");
        });
    }
}

/// A publisher ends the track while another, who publishes its namespace, has not answered, and
/// then refuses: subscribers are told how the track ended, whichever shard they are in.
#[test]
fn the_end_of_a_track_is_told_though_another_publisher_was_asked() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..8 {
            let mut options = RelayOptions::default();
            options.shards = 2;
            let stage = Stage::with(number as u64 + seed, options);
            stage.run(async {
                let first = stage.client(draft).await;
                let publication = publish(&first, "ended").await;
                publication.accepted().await.unwrap();
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("ended"), Parameters::default());
                let subscription = pending.await.unwrap();
                let second = stage.client(draft).await;
                let _published = publish_namespace(&second).await;
                let asked = next_subscribe(&second).await;
                publication.done(PublishDoneCode::TrackEnded, "that is all");
                stage.sleep(1000).await;
                asked.reject(Refusal::new(RequestErrorCode::DoesNotExist));
                let (_, code) = receive(subscription).await;
                assert_eq!(code, PublishDoneCode::TrackEnded, "{draft:?}, seed {seed}");
            });
        }
    }
}
