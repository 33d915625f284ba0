//! Relays that subscribe at relays.

use std::time::Duration;

use moqt_conformance::DRAFTS;
use moqt_engine::model::{
    Location, LocationRange, NamespaceInterest, Parameters, PublishDoneCode, RequestErrorCode,
    TrackNamespace,
};
use moqt_engine::{Accept, Draft};
use moqt_loopback::RelayOptions;
use moqt_session::{Error, NamespaceEvent};

use crate::past::fetch;
use crate::stage::{
    Stage, accept_subscribe, locations, namespace, next_publish, prefix, publish,
    publish_namespace, receive, track, write_group, write_track,
};

/// A publisher at one leaf, subscribers at another, and a root between them.
#[test]
fn a_track_goes_up_and_down_again() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (left, right) =
                (stage.below(&stage.relay, draft), stage.below(&stage.relay, draft));
            stage.sleep(2000).await;
            let publisher = stage.client_of(&left, Draft::D16).await;
            let _published = publish_namespace(&publisher).await;
            stage.sleep(2000).await;
            let subscriber = stage.client_of(&right, Draft::D14).await;
            let pending = subscriber.subscribe(track("across"), Parameters::default());
            let publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            write_group(&publication, 0, 4).await;
            stage.sleep(2000).await;
            // A late one at the root gets the past as well.
            let late = stage.client(Draft::D18).await;
            let range = LocationRange::new(Location::ZERO, Location::new(0, 0));
            assert_eq!(fetch(&late, "across", range).await.unwrap(), locations(1, 4), "{draft:?}");
            let writing = async {
                write_group(&publication, 1, 4).await;
                publication.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!(seen, locations(2, 4), "{draft:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded);
        });
    }
}

/// Who asks at one leaf hears of what is published at another.
#[test]
fn namespaces_are_told_of_across_a_tree() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (left, right) =
                (stage.below(&stage.relay, draft), stage.below(&stage.relay, draft));
            stage.sleep(2000).await;
            let listener = stage.client_of(&right, Draft::D18).await;
            let prefix = TrackNamespace::new([namespace().field(0).unwrap()]).unwrap();
            let interest = NamespaceInterest::Namespaces;
            let asked = listener.subscribe_namespace(prefix, interest, Parameters::default());
            let mut told = asked.await.unwrap();
            let publisher = stage.client_of(&left, draft).await;
            let published = publish_namespace(&publisher).await;
            match told.next().await.unwrap() {
                NamespaceEvent::Namespace(told) => assert_eq!(told, namespace(), "{draft:?}"),
                other => panic!("{draft:?}: {other:?}"),
            }
            drop(published);
            match told.next().await.unwrap() {
                NamespaceEvent::NamespaceDone(told) => assert_eq!(told, namespace(), "{draft:?}"),
                other => panic!("{draft:?}: {other:?}"),
            }
        });
    }
}

/// Three relays, each upstream of the next: nothing goes round, and what nobody has is refused.
#[test]
fn circles_are_cut() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let second = stage.below(&stage.relay, draft);
            let third = stage.below(&second, draft);
            stage.connect(&stage.relay, &third, draft);
            stage.sleep(2000).await;
            let subscriber = stage.client_of(&second, draft).await;
            match subscriber.subscribe(track("none"), Parameters::default()).await {
                Err(Error::Rejected(error)) => {
                    assert_eq!(error.code, RequestErrorCode::DoesNotExist, "{draft:?}");
                }
                other => panic!("{draft:?}: {other:?}"),
            }
            let publisher = stage.client_of(&third, draft).await;
            let published = publish_namespace(&publisher).await;
            stage.sleep(2000).await;
            let pending = subscriber.subscribe(track("round"), Parameters::default());
            let publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            let ((seen, code), ()) =
                tokio::join!(receive(subscription), write_track(publication, 3, 3));
            assert_eq!((seen, code), (locations(3, 3), PublishDoneCode::TrackEnded), "{draft:?}");
            drop((subscriber, published, publisher));
            stage.sleep(2 * 3600 * 1000).await;
            for relay in [&stage.relay, &second, &third] {
                for shard in relay.stats() {
                    assert_eq!((shard.tracks, shard.namespaces), (0, 0), "{draft:?}: {shard:?}");
                }
            }
        });
    }
}

/// A relay in the middle dies: below it everything ends, in time.
#[test]
fn who_is_below_a_relay_that_dies_is_told() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = stage.below(&stage.relay, draft);
            stage.sleep(2000).await;
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client_of(&leaf, draft).await;
            let pending = subscriber.subscribe(track("cut"), Parameters::default());
            let _publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            let died = stage.simulation.now();
            stage.simulation.kill_relay(&stage.relay, Duration::from_secs(10));
            let (_, code) = receive(subscription).await;
            assert_eq!(code, PublishDoneCode::InternalError, "{draft:?}");
            let waited = stage.simulation.now().saturating_since(died);
            assert!(waited < Duration::from_secs(15), "{draft:?}: after {waited:?}");
        });
    }
}

/// The relay between a publisher's and a subscriber's dies and is started again: the subscriber
/// gets everything, also what was published meanwhile.
#[test]
fn nothing_is_missing_after_a_relay_in_between_was_started_again() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let middle = stage.below(&stage.relay, draft);
            let mut options = RelayOptions::default();
            options.config.takeover = Duration::from_secs(30);
            let leaf = stage.simulation.relay(options);
            stage.connect(&leaf, &middle, draft);
            stage.sleep(2000).await;
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client_of(&leaf, draft).await;
            let pending = subscriber.subscribe(track("resumed"), Parameters::default());
            let publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            write_group(&publication, 0, 4).await;
            stage.sleep(2000).await;
            stage.simulation.kill_relay(&middle, Duration::from_secs(1));
            stage.sleep(500).await;
            // What is published now, nobody forwards.
            write_group(&publication, 1, 4).await;
            stage.sleep(1000).await;
            stage.connect(&middle, &stage.relay, draft);
            stage.connect(&leaf, &middle, draft);
            stage.sleep(5000).await;
            let writing = async {
                write_group(&publication, 2, 4).await;
                publication.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!(seen, locations(3, 4), "{draft:?}");
            assert_eq!(code, PublishDoneCode::TrackEnded, "{draft:?}");
        });
    }
}

/// How far a track has come that nobody subscribes to, and that a relay below has offered: it does
/// not send objects before somebody wants them, and is asked.
#[test]
fn the_state_of_a_resting_track_is_asked_for() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = stage.below(&stage.relay, draft);
            stage.sleep(2000).await;
            let publisher = stage.client_of(&leaf, draft).await;
            let publication = publish(&publisher, "resting").await;
            publication.accepted().await.unwrap();
            stage.sleep(2000).await;
            write_group(&publication, 0, 4).await;
            stage.sleep(2000).await;
            let client = stage.client(draft).await;
            let state = client.track_status(track("resting"), Parameters::default()).await;
            let largest = state.unwrap().parameters.largest_object;
            assert_eq!(largest, Some(Location::new(0, 3)), "{draft:?}");
        });
    }
}

/// A relay that is asked to leave by the one above it "SHOULD NOT initiate new requests" there: who
/// subscribes before it has another session waits for that, instead of being refused.
#[test]
fn who_subscribes_while_a_relay_moves_waits() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let middle = stage.below(&stage.relay, draft);
            let leaf = stage.below(&middle, draft);
            stage.sleep(2000).await;
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client_of(&leaf, draft).await;
            middle.go_away(Duration::from_secs(60));
            stage.sleep(1000).await;
            let pending = subscriber.subscribe(track("moving"), Parameters::default());
            stage.sleep(500).await;
            stage.connect(&leaf, &stage.relay, draft);
            let publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            let ((seen, code), ()) =
                tokio::join!(receive(subscription), write_track(publication, 2, 2));
            assert_eq!((seen, code), (locations(2, 2), PublishDoneCode::TrackEnded), "{draft:?}");
        });
    }
}

/// "When a relay receives an authorized PUBLISH_NAMESPACE for a namespace that matches one or more
/// existing subscriptions to other upstream sessions, it MUST send a SUBSCRIBE to the publisher that
/// sent the PUBLISH_NAMESPACE", also if that is a relay.
#[test]
fn a_namespace_that_a_relay_has_later_is_subscribed_to_there() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = stage.below(&stage.relay, draft);
            stage.sleep(2000).await;
            let first = stage.client(draft).await;
            let _first = publish_namespace(&first).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("later"), Parameters::default());
            let first = accept_subscribe(&first).await;
            let subscription = pending.await.unwrap();
            let second = stage.client_of(&leaf, draft).await;
            let _second = publish_namespace(&second).await;
            let second = accept_subscribe(&second).await;
            stage.sleep(2000).await;
            first.done(PublishDoneCode::GoingAway, "");
            let writing = async {
                stage.sleep(1000).await;
                write_track(second, 2, 2).await;
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!((seen, code), (locations(2, 2), PublishDoneCode::TrackEnded), "{draft:?}");
        });
    }
}

/// A track that is published above and below a relay is offered above when nobody publishes it
/// there any longer, whichever shards its publishers are in.
#[test]
fn a_track_that_was_published_above_first_is_offered_there() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..8 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let mut options = RelayOptions::default();
                options.shards = 2;
                let leaf = stage.simulation.relay(options);
                stage.connect(&leaf, &stage.relay, draft);
                stage.sleep(2000).await;
                let above = stage.client(draft).await;
                let first = publish(&above, "twice").await;
                first.accepted().await.unwrap();
                let listener = stage.client_of(&leaf, draft).await;
                let interest = NamespaceInterest::Tracks;
                let asked = listener.subscribe_namespace(prefix(), interest, Parameters::default());
                let _told = asked.await.unwrap();
                let _offered = next_publish(&listener).await.accept(Accept::default()).unwrap();
                let below = stage.client_of(&leaf, draft).await;
                let second = publish(&below, "twice").await;
                second.accepted().await.unwrap();
                stage.sleep(1000).await;
                first.done(PublishDoneCode::GoingAway, "");
                stage.sleep(5000).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("twice"), Parameters::default());
                assert!(pending.await.is_ok(), "{draft:?}, seed {seed}");
            });
        }
    }
}

/// So does who subscribes at the relay above while the one below moves which has the publisher.
#[test]
fn who_subscribes_while_the_relay_of_a_publisher_moves_waits() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let middle = stage.below(&stage.relay, draft);
            let leaf = stage.below(&middle, draft);
            stage.sleep(2000).await;
            let publisher = stage.client_of(&leaf, draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(draft).await;
            stage.sleep(2000).await;
            middle.go_away(Duration::from_secs(60));
            stage.sleep(1000).await;
            let pending = subscriber.subscribe(track("moving"), Parameters::default());
            stage.sleep(500).await;
            stage.connect(&leaf, &stage.relay, draft);
            let publication = accept_subscribe(&publisher).await;
            let subscription = pending.await.unwrap();
            let ((seen, code), ()) =
                tokio::join!(receive(subscription), write_track(publication, 2, 2));
            assert_eq!((seen, code), (locations(2, 2), PublishDoneCode::TrackEnded), "{draft:?}");
        });
    }
}

/// "When a subscriber receives the GOAWAY message, it starts the process of connecting to a new
/// relay and sending the SUBSCRIBE requests for all Established subscriptions to the new relay"
/// ("Graceful Subscriber Relay Switchover"): whichever shards the sessions are in, nothing depends
/// on the old one once the new one is there.
#[test]
fn a_relay_that_moves_subscribes_at_once_at_the_new_one() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..8 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let middle = stage.below(&stage.relay, draft);
                let mut options = RelayOptions::default();
                options.shards = 3;
                let leaf = stage.simulation.relay(options);
                stage.connect(&leaf, &middle, draft);
                stage.sleep(2000).await;
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client_of(&leaf, draft).await;
                let pending = subscriber.subscribe(track("moved"), Parameters::default());
                let publication = accept_subscribe(&publisher).await;
                let mut subscription = pending.await.unwrap();
                middle.go_away(Duration::from_secs(600));
                stage.sleep(1000).await;
                stage.connect(&leaf, &stage.relay, draft);
                stage.sleep(2000).await;
                // Nobody notices for long.
                stage.simulation.kill_relay(&middle, Duration::from_secs(300));
                let published = stage.simulation.now();
                write_group(&publication, 0, 1).await;
                let object = subscription.next_object().await.unwrap().unwrap();
                assert_eq!(object.location, Location::ZERO, "{draft:?}, seed {seed}");
                let waited = stage.simulation.now().saturating_since(published);
                assert!(waited < Duration::from_secs(10), "{draft:?}, seed {seed}: {waited:?}");
            });
        }
    }
}

/// And who asks there how far a track has come.
#[test]
fn who_asks_for_the_state_of_a_track_while_its_relay_moves_waits() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..6 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let middle = stage.below(&stage.relay, draft);
                let leaf = stage.below(&middle, draft);
                stage.sleep(2000).await;
                let publisher = stage.client_of(&leaf, draft).await;
                let _published = publish_namespace(&publisher).await;
                let publication = publish(&publisher, "state").await;
                publication.accepted().await.unwrap();
                write_group(&publication, 0, 4).await;
                stage.sleep(2000).await;
                middle.go_away(Duration::from_secs(60));
                stage.sleep(1000).await;
                let client = stage.client(draft).await;
                let moving = async {
                    stage.sleep(500).await;
                    stage.connect(&leaf, &stage.relay, draft);
                };
                let asking = client.track_status(track("state"), Parameters::default());
                let (state, ()) = tokio::join!(asking, moving);
                let largest = state.unwrap().parameters.largest_object;
                assert_eq!(largest, Some(Location::new(0, 3)), "{draft:?}, seed {seed}");
            });
        }
    }
}

/// And who fetches what there was.
#[test]
fn who_fetches_while_a_relay_moves_waits() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..6 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let middle = stage.below(&stage.relay, draft);
                let leaf = stage.below(&middle, draft);
                stage.sleep(2000).await;
                let publisher = stage.client_of(&leaf, draft).await;
                let publication = publish(&publisher, "before").await;
                publication.accepted().await.unwrap();
                write_group(&publication, 0, 4).await;
                stage.sleep(2000).await;
                middle.go_away(Duration::from_secs(60));
                stage.sleep(1000).await;
                let client = stage.client(draft).await;
                let moving = async {
                    stage.sleep(500).await;
                    stage.connect(&leaf, &stage.relay, draft);
                };
                let range = LocationRange::new(Location::ZERO, Location::new(0, 0));
                let (seen, ()) = tokio::join!(fetch(&client, "before", range), moving);
                assert_eq!(seen.unwrap(), locations(1, 4), "{draft:?}, seed {seed}");
            });
        }
    }
}
