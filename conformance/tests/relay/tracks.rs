//! Tracks from publishers to subscribers.

use std::time::Duration;

use moqt_conformance::DRAFTS;
use moqt_engine::model::{
    Location, Parameters, PublishDoneCode, RequestErrorCode, SessionError, TrackProperties,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, AcceptFetch, Draft, SubgroupOptions};
use moqt_session::Error;

use crate::stage::{
    Stage, accept_subscribe, fetched, locations, next_fetch, next_subscribe, payload, publish,
    publish_namespace, receive, track, write_group, write_track,
};

fn pairs() -> impl Iterator<Item = (Draft, Draft)> {
    DRAFTS.into_iter().flat_map(|from| DRAFTS.into_iter().map(move |to| (from, to)))
}

/// "Relays MUST send SUBSCRIBE messages to all matching publishers."
#[test]
fn a_subscribe_goes_to_who_publishes_the_namespace() {
    for (number, (from, to)) in pairs().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(from).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(to).await;
            let subscription = subscriber.subscribe(track("one"), Parameters::default());
            let publishing = async {
                let publication = accept_subscribe(&publisher).await;
                write_track(publication, 4, 5).await;
            };
            let receiving = async { receive(subscription.await.unwrap()).await };
            let ((), (seen, code)) = tokio::join!(publishing, receiving);
            assert_eq!(seen, locations(4, 5), "{from:?} to {to:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded);
        });
    }
}

/// A PUBLISH that comes when somebody waits, or before.
#[test]
fn a_published_track_goes_to_who_subscribes_to_it() {
    for (number, (from, to)) in pairs().enumerate() {
        let stage = Stage::resting(number as u64);
        stage.run(async {
            let publisher = stage.client(from).await;
            let subscriber = stage.client(to).await;
            let offer =
                publisher.publish(track("two"), Parameters::default(), TrackProperties::new());
            let publication = offer.await.unwrap();
            publication.accepted().await.unwrap();
            assert!(!publication.forward(), "nobody wants it yet");
            let subscription =
                subscriber.subscribe(track("two"), Parameters::default()).await.unwrap();
            while !publication.forward() {
                publication.next_update().await.unwrap();
            }
            let writing = write_track(publication, 3, 3);
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!(seen, locations(3, 3), "{from:?} to {to:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded);
        });
    }
}

#[test]
fn what_nobody_publishes_is_refused() {
    for draft in DRAFTS {
        let stage = Stage::new(1);
        stage.run(async {
            let subscriber = stage.client(draft).await;
            let refused = subscriber.subscribe(track("none"), Parameters::default()).await;
            match refused {
                Err(Error::Rejected(error)) => {
                    assert_eq!(error.code, RequestErrorCode::DoesNotExist, "{draft:?}");
                }
                other => panic!("{draft:?}: {other:?}"),
            }
        });
    }
}

/// "Relays MAY aggregate authorized subscriptions": one upstream for all, kept until a while after
/// the last has left.
#[test]
fn subscribers_share_one_subscription_upstream() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let mut subscriptions = Vec::new();
            let mut sessions = Vec::new();
            let mut publication = None;
            for to in DRAFTS {
                let subscriber = stage.client(to).await;
                let pending = subscriber.subscribe(track("shared"), Parameters::default());
                if publication.is_none() {
                    publication = Some(accept_subscribe(&publisher).await);
                }
                subscriptions.push(pending.await.unwrap());
                sessions.push(subscriber);
            }
            let publication = publication.unwrap();
            write_group(&publication, 0, 3).await;
            for subscription in &mut subscriptions {
                for _ in 0..3 {
                    subscription.next_object().await.unwrap().expect("an object");
                }
            }
            // One after the other leaves; the publisher hears of it when the last has.
            subscriptions.truncate(1);
            stage.sleep(10_000).await;
            write_group(&publication, 1, 1).await;
            let object = subscriptions[0].next_object().await.unwrap().expect("an object");
            assert_eq!(object.location, Location::new(1, 0));
            drop(subscriptions);
            let left = stage.simulation.now();
            publication.ended().await;
            let lingered = stage.simulation.now().saturating_since(left);
            assert!(lingered >= Duration::from_secs(2), "{draft:?}: after {lingered:?}");
        });
    }
}

/// A publisher that dies, and one that takes over.
#[test]
fn another_publisher_takes_over() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let first = stage.client(draft).await;
            let _published = publish_namespace(&first).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("taken"), Parameters::default());
            let publication = accept_subscribe(&first).await;
            let subscription = pending.await.unwrap();
            write_group(&publication, 0, 3).await;
            stage.sleep(500).await;
            first.close(SessionError::InternalError, "it dies");
            stage.sleep(500).await;
            let second = stage.client(draft).await;
            let _published = publish_namespace(&second).await;
            let publication = accept_subscribe(&second).await;
            write_group(&publication, 0, 3).await;
            let writing = async {
                write_group(&publication, 1, 3).await;
                publication.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!(seen, locations(2, 3), "{draft:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded);
        });
    }
}

/// What was published while nobody gave it is fetched from the one who takes over, whichever shard
/// it comes to.
#[test]
fn what_was_published_before_another_takes_over_is_not_missed() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let first = stage.near_client(draft).await;
                let _first_published = publish_namespace(&first).await;
                let subscriber = stage.near_client(draft).await;
                let pending = subscriber.subscribe(track("taken"), Parameters::default());
                let publication = accept_subscribe(&first).await;
                let subscription = pending.await.unwrap();
                write_group(&publication, 0, 3).await;
                stage.sleep(500).await;
                first.close(SessionError::InternalError, "it dies");
                stage.sleep(500).await;
                let second = stage.near_client(draft).await;
                let _second_published = publish_namespace(&second).await;
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(1, 2));
                let publication = next_subscribe(&second).await.accept(accept).unwrap();
                let asked = next_fetch(&second).await;
                let range = asked.range();
                let mut answer = asked.accept(AcceptFetch::new(range.end)).unwrap();
                for at in locations(2, 3).into_iter().filter(|at| range.contains(*at)) {
                    answer.write(&fetched(at), payload(at)).await.unwrap();
                }
                answer.finish().await.unwrap();
                let writing = async {
                    write_group(&publication, 2, 3).await;
                    publication.done(PublishDoneCode::TrackEnded, "");
                };
                let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
                assert_eq!(seen, locations(3, 3), "{draft:?}, seed {seed}");
                assert_eq!(code, PublishDoneCode::TrackEnded, "{draft:?}, seed {seed}");
            });
        }
    }
}

#[test]
fn a_subscription_ends_if_nobody_takes_over() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("lost"), Parameters::default());
            let _publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            publisher.close(SessionError::InternalError, "it dies");
            let died = stage.simulation.now();
            let (seen, code) = receive(subscription).await;
            assert!(seen.is_empty());
            assert_eq!(code, PublishDoneCode::InternalError, "{draft:?}");
            let waited = stage.simulation.now().saturating_since(died);
            assert!(waited < Duration::from_secs(4), "{draft:?}: after {waited:?}");
        });
    }
}

/// Everything the relay has is gone when everybody has.
#[test]
fn nothing_is_left() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("gone"), Parameters::default());
                let publication = accept_subscribe(&publisher).await;
                let subscription = pending.await.unwrap();
                let writing = write_track(publication, 3, 3);
                tokio::join!(receive(subscription), writing);
            }
            stage.sleep(2 * 3600 * 1000).await;
            assert!(stage.relay.is_empty(), "{draft:?}: {:?}", stage.relay.stats());
        });
    }
}

/// Nor of an object that broke off and that nobody has the rest of.
#[test]
fn nothing_is_left_of_half_an_object() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let dying = stage.near_client(draft).await;
                let _dying = publish_namespace(&dying).await;
                let subscriber = stage.near_client(draft).await;
                let pending = subscriber.subscribe(track("half"), Parameters::default());
                let publication = accept_subscribe(&dying).await;
                let subscription = pending.await.unwrap();
                let whole = payload(Location::ZERO).len() as u64;
                let mut half = publication.open_subgroup(SubgroupOptions::new(0)).await;
                let half = half.as_mut().unwrap().as_mut().unwrap();
                let payload_len = whole + 5000;
                let header = ObjectHeader { object_id: 0, payload_len, ..ObjectHeader::default() };
                half.begin(&header).await.unwrap();
                half.payload(payload(Location::ZERO)).await.unwrap();
                write_group(&publication, 1, 1).await;
                stage.sleep(1000).await;
                let other = stage.near_client(draft).await;
                let published = publish_namespace(&other).await;
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(1, 0));
                let going_on = next_subscribe(&other).await.accept(accept).unwrap();
                dying.close(SessionError::NoError, "it dies");
                let asked = next_fetch(&other).await;
                let end = asked.range().end;
                let mut answer = asked.accept(AcceptFetch::new(end)).unwrap();
                let last = Location::new(1, 0);
                answer.write(&fetched(last), payload(last)).await.unwrap();
                answer.finish().await.unwrap();
                stage.sleep(5000).await;
                going_on.done(PublishDoneCode::TrackEnded, "");
                stage.sleep(5000).await;
                drop((subscription, subscriber, published, other));
                stage.sleep(2 * 3600 * 1000).await;
                let stats = stage.relay.stats();
                assert!(stage.relay.is_empty(), "{draft:?}, seed {seed}: {stats:?}");
            });
        }
    }
}

/// One of two publishers ends the track and the other dies: the track has ended.
#[test]
fn a_track_that_one_publisher_has_ended_is_over_when_the_other_dies() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let dying = stage.client(draft).await;
            let _published = publish_namespace(&dying).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("two"), Parameters::default());
            let publication = accept_subscribe(&dying).await;
            let subscription = pending.await.unwrap();
            write_group(&publication, 0, 2).await;
            let other = stage.client(draft).await;
            let _published = publish_namespace(&other).await;
            let publication = accept_subscribe(&other).await;
            write_track(publication, 2, 2).await;
            stage.sleep(500).await;
            dying.close(SessionError::InternalError, "it dies");
            let (seen, code) = receive(subscription).await;
            assert_eq!((seen, code), (locations(2, 2), PublishDoneCode::TrackEnded), "{draft:?}");
        });
    }
}

/// "An endpoint MAY SUBSCRIBE to a Track it is publishing, though only Relays are required to handle
/// such a SUBSCRIBE. Such self-subscriptions are identical to subscriptions initiated by other
/// endpoints, and all published Objects will be forwarded back to the endpoint."
#[test]
fn who_subscribes_to_its_own_track_gets_it_back() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for is_offered in [true, false] {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let session = stage.near_client(draft).await;
                let (mut offered, mut published) = (None, None);
                if is_offered {
                    let publication = publish(&session, "own").await;
                    publication.accepted().await.unwrap();
                    offered = Some(publication);
                } else {
                    published = Some(publish_namespace(&session).await);
                }
                let pending = session.subscribe(track("own"), Parameters::default());
                let publication = match offered {
                    Some(publication) => publication,
                    None => accept_subscribe(&session).await,
                };
                let subscription = pending.await.unwrap();
                let ((seen, code), ()) =
                    tokio::join!(receive(subscription), write_track(publication, 2, 2));
                let expected = (locations(2, 2), PublishDoneCode::TrackEnded);
                assert_eq!((seen, code), expected, "{draft:?}, offered: {is_offered}");
                drop(published);
            });
        }
    }
}
