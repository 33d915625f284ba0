//! Leaving, and what is not for everybody (draft-18, "Migration", "Session-Level Tracks" and
//! "Security Considerations").

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    FullTrackName, Location, NamespaceInterest, Parameters, PublishDoneCode, RequestErrorCode,
    SessionError, StreamResetCode,
};
use moqt_engine::{Accept, AcceptFetch, Draft};
use moqt_loopback::{LinkConfig, RelayOptions};
use moqt_session::{NamespaceEvent, PublicationEnd};

use crate::stage::{
    Stage, accept_subscribe, fetched, locations, next_fetch, next_publish, next_subscribe, payload,
    prefix, publish, publish_namespace, receive, refusal, track, write_group,
};

/// "When the server is a subscriber, it SHOULD send a GOAWAY message to downstream subscribers prior
/// to unsubscribing from upstream publishers": clients hear of it, and what they have goes on until
/// they leave.
#[test]
fn a_relay_that_leaves_says_so_and_goes_on_until_its_clients_have_left() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.near_client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("left"), Parameters::default());
            let publication = accept_subscribe(&publisher).await;
            let mut subscription = pending.await.unwrap();
            stage.relay.go_away(Duration::from_secs(60));
            subscriber.goaway_received().await.unwrap();
            publisher.goaway_received().await.unwrap();
            write_group(&publication, 0, 1).await;
            let object = subscription.next_object().await.unwrap().unwrap();
            assert_eq!(object.location, Location::ZERO, "{draft:?}");
            assert!(stage.nothing_comes(publication.ended()).await, "{draft:?}");
            drop(subscription);
            subscriber.close(SessionError::NoError, "as it was told");
            publication.ended().await;
        });
    }
}

/// A publisher that says GOAWAY and one that takes over: the relay asks the other, and the
/// subscriber misses nothing; nothing new is asked of the one that leaves ("Graceful Publisher
/// Switchover").
#[test]
fn a_publisher_that_leaves_is_followed_by_another_without_a_gap() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let first = stage.near_client(draft).await;
            let _published = publish_namespace(&first).await;
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("moved"), Parameters::default());
            let old = accept_subscribe(&first).await;
            let subscription = pending.await.unwrap();
            write_group(&old, 0, 3).await;
            first.goaway(Bytes::new(), Duration::from_secs(60)).unwrap();
            let second = stage.near_client(draft).await;
            let _published = publish_namespace(&second).await;
            let new = accept_subscribe(&second).await;
            let other = subscriber.subscribe(track("other"), Parameters::default());
            let _other = accept_subscribe(&second).await;
            let _elsewhere = other.await.unwrap();
            assert!(stage.nothing_comes(first.accept_request()).await, "{draft:?}");
            let writing = async {
                tokio::join!(write_group(&old, 1, 3), write_group(&new, 1, 3));
                stage.sleep(1000).await;
                first.close(SessionError::NoError, "it has moved");
                stage.sleep(1000).await;
                write_group(&new, 2, 3).await;
                new.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!(seen, locations(3, 3), "{draft:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded, "{draft:?}");
        });
    }
}

/// "Upon receiving a GOAWAY on a request stream, the endpoint SHOULD re-issue that specific request
/// on a session at the specified URI (or the current session if no URI is provided), and close the
/// old request stream": subscribers do not notice, whatever was on its way meanwhile.
#[test]
fn a_subscription_that_is_to_be_made_again_is() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let publisher = stage.near_client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.near_client(draft).await;
                let pending = subscriber.subscribe(track("again"), Parameters::default());
                let old = accept_subscribe(&publisher).await;
                let subscription = pending.await.unwrap();
                write_group(&old, 0, 2).await;
                stage.sleep(1000).await;
                old.goaway(Bytes::new(), Duration::from_secs(60)).unwrap();
                // The relay has not heard of it yet.
                write_group(&old, 1, 2).await;
                let again = next_subscribe(&publisher).await;
                let ended = PublicationEnd::Cancelled(StreamResetCode::GoingAway);
                assert_eq!(old.ended().await, ended, "{draft:?}, seed {seed}");
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(1, 1));
                let new = again.accept(accept).unwrap();
                let writing = async {
                    write_group(&new, 2, 2).await;
                    stage.sleep(3000).await;
                    new.done(PublishDoneCode::TrackEnded, "that is all");
                };
                let fetching = async {
                    // Unless all of it had arrived.
                    let asked = next_fetch(&publisher).await;
                    let range = asked.range();
                    let mut answer = asked.accept(AcceptFetch::new(range.end)).unwrap();
                    for location in locations(2, 2) {
                        if range.contains(location) {
                            answer.write(&fetched(location), payload(location)).await.unwrap();
                        }
                    }
                    answer.finish().await.unwrap();
                    std::future::pending::<()>().await;
                };
                let ((seen, code), ()) = tokio::select! {
                    all = async { tokio::join!(receive(subscription), writing) } => all,
                    () = fetching => unreachable!(),
                };
                assert_eq!(seen, locations(3, 2), "{draft:?}, seed {seed}");
                assert_eq!(code, PublishDoneCode::TrackEnded, "{draft:?}, seed {seed}");
            });
        }
    }
}

/// The same of a PUBLISH, which the one asks to be made again who it was made to.
#[test]
fn an_offer_that_is_to_be_made_again_is() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let listener = stage.near_client(draft).await;
                let tracks = NamespaceInterest::Tracks;
                let asked = listener.subscribe_namespace(prefix(), tracks, Parameters::default());
                let _listening = asked.await.unwrap();
                let publisher = stage.near_client(draft).await;
                let publication = publish(&publisher, "again").await;
                publication.accepted().await.unwrap();
                let old = next_publish(&listener).await.accept(Accept::default()).unwrap();
                old.goaway(Bytes::new(), Duration::from_secs(60)).unwrap();
                let (_, code) = receive(old).await;
                assert_eq!(code, PublishDoneCode::GoingAway, "{draft:?}, seed {seed}");
                let mut new = next_publish(&listener).await.accept(Accept::default()).unwrap();
                stage.sleep(1000).await;
                write_group(&publication, 0, 1).await;
                let object = new.next_object().await.unwrap().unwrap();
                assert_eq!(object.location, Location::ZERO, "{draft:?}, seed {seed}");
            });
        }
    }
}

/// "Relays MUST NOT forward requests for session-level tracks and namespaces to other sessions."
#[test]
fn requests_about_the_session_are_not_forwarded() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        let stage = Stage::new(number as u64);
        let below = stage.below(&stage.relay, draft);
        stage.run(async {
            stage.sleep(1000).await;
            let upstream = |stage: &Stage| -> u64 {
                stage.relay.stats().iter().map(|shard| shard.requests).sum()
            };
            let before = upstream(&stage);
            let name = FullTrackName::new(
                moqt_engine::model::TrackNamespace::new([".session"]).unwrap(),
                "anything",
            );
            let name = name.unwrap();
            let client = stage.client_of(&below, draft).await;
            let subscribed = client.subscribe(name.clone(), Parameters::default()).await;
            assert_eq!(refusal(subscribed), RequestErrorCode::DoesNotExist, "{draft:?}");
            let status = client.track_status(name.clone(), Parameters::default()).await;
            assert_eq!(refusal(status), RequestErrorCode::DoesNotExist, "{draft:?}");
            stage.sleep(2000).await;
            assert_eq!(upstream(&stage), before, "{draft:?}");
            // Of others it is asked.
            let others = client.subscribe(track("none"), Parameters::default()).await;
            assert_eq!(refusal(others), RequestErrorCode::DoesNotExist, "{draft:?}");
            assert!(upstream(&stage) > before, "{draft:?}");
        });
    }
}

/// "A Relay SHOULD have mechanisms to prevent malicious endpoints from flooding it with
/// PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE, or SUBSCRIBE_TRACKS requests that could bloat data
/// structures": more than it is to hold is refused.
#[test]
fn more_than_a_relay_is_to_hold_is_refused() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let mut options = RelayOptions::default();
        options.config.namespaces = 3;
        options.config.namespaces_told = 2;
        options.config.tracks = 3;
        options.config.subscribers_per_track = 2;
        options.config.publishers_per_track = 2;
        let stage = Stage::with(number as u64, options);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let namespace = |name: &str| {
                let track: FullTrackName = format!("relayed-{name}--").parse().unwrap();
                track.namespace().clone()
            };
            let mut published = Vec::new();
            for name in ["a", "b", "c"] {
                let pending = publisher.publish_namespace(namespace(name), Parameters::default());
                published.push(pending.await.unwrap());
            }
            let more = publisher.publish_namespace(namespace("d"), Parameters::default()).await;
            let code = refusal(more);
            if draft >= Draft::D18 {
                assert_eq!(code, RequestErrorCode::ExcessiveLoad, "{draft:?}");
            }
            let listener = stage.client(draft).await;
            let all = NamespaceInterest::Namespaces;
            let asked = listener.subscribe_namespace(prefix(), all, Parameters::default()).await;
            let code = refusal(asked);
            if draft >= Draft::D18 {
                assert_eq!(code, RequestErrorCode::NamespaceTooLarge, "{draft:?}");
            }
            let less = listener.subscribe_namespace(namespace("a"), all, Parameters::default());
            let _less = less.await.unwrap();
            let mut publications = Vec::new();
            for name in ["1", "2", "3"] {
                let publication = publish(&publisher, name).await;
                publication.accepted().await.unwrap();
                publications.push(publication);
            }
            let many = publish(&publisher, "4").await;
            assert!(many.accepted().await.is_err(), "{draft:?}: a fourth track");
            let mut subscriptions = Vec::new();
            for _ in 0..2 {
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("1"), Parameters::default());
                subscriptions.push((pending.await.unwrap(), subscriber));
            }
            let third = stage.client(draft).await;
            refusal(third.subscribe(track("1"), Parameters::default()).await);
            let another = stage.client(draft).await;
            let second = publish(&another, "1").await;
            second.accepted().await.unwrap();
            let third = publish(&third, "1").await;
            assert!(third.accepted().await.is_err(), "{draft:?}: a third publisher");
        });
    }
}

/// PUBLISH_BLOCKED: a track that cannot be offered for want of streams is told of, and can be
/// subscribed to. "The Publisher MUST NOT send a PUBLISH for a Track after PUBLISH_BLOCKED has been
/// sent."
#[test]
fn a_track_that_cannot_be_offered_is_told_of() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let mut link = LinkConfig::default();
            // The relay may make one request of the client.
            link.down.bi_streams = 1;
            let listener = stage.client_over(draft, link).await;
            let tracks = NamespaceInterest::Tracks;
            let asked = listener.subscribe_namespace(prefix(), tracks, Parameters::default());
            let mut listening = asked.await.unwrap();
            let publisher = stage.near_client(draft).await;
            let mut publications = Vec::new();
            for name in ["first", "second"] {
                let publication = publish(&publisher, name).await;
                publication.accepted().await.unwrap();
                publications.push(publication);
            }
            match listening.next().await.unwrap() {
                NamespaceEvent::PublishBlocked(blocked) => {
                    assert_eq!(blocked, track("second"), "{draft:?}");
                }
                other => panic!("{draft:?}: {other:?}"),
            }
            // There is room for another request again, and somebody else publishes the track.
            drop(next_publish(&listener).await.accept(Accept::default()).unwrap());
            let another = stage.near_client(draft).await;
            let publication = publish(&another, "second").await;
            publication.accepted().await.unwrap();
            assert!(stage.nothing_comes(listener.accept_request()).await, "{draft:?}");
            let publication = publish(&publisher, "third").await;
            assert_eq!(next_publish(&listener).await.track(), &track("third"), "{draft:?}");
            publications.push(publication);
            let pending = listener.subscribe(track("second"), Parameters::default());
            let _subscription = pending.await.unwrap();
        });
    }
}

/// A session that was on its way when the relay began to leave is asked to leave, too.
#[test]
fn who_comes_while_a_relay_leaves_is_asked_to_leave() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            stage.relay.go_away(Duration::from_secs(60));
            let late = stage.near_client(draft).await;
            late.goaway_received().await.unwrap();
        });
    }
}
