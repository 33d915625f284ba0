//! Namespaces and who hears of them.

use moqt_conformance::DRAFTS;
use moqt_engine::model::{
    FullTrackName, NamespaceInterest, Parameters, PublishDoneCode, RequestErrorCode, TrackNamespace,
};
use moqt_engine::{Accept, Draft, Refusal};
use moqt_loopback::{RelayNode, RelayOptions};
use moqt_session::{
    Incoming, NamespaceEvent, NamespacePublication, NamespaceSubscription, Session,
};

use crate::stage::{
    Stage, accept_subscribe, locations, namespace, next_publish, prefix, publish,
    publish_namespace, receive, track, write_group,
};

/// "Relays MUST forward PUBLISH_NAMESPACE … messages to all matching subscribers", whoever came
/// first; and not to the one who published it.
#[test]
fn who_asks_hears_of_namespaces() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let listener = stage.client(to).await;
                let prefix = TrackNamespace::new([namespace().field(0).unwrap()]).unwrap();
                let interest = NamespaceInterest::Namespaces;
                let parameters = Parameters::default();
                let mut early = listener
                    .subscribe_namespace(prefix.clone(), interest, parameters.clone())
                    .await
                    .unwrap();
                let publisher = stage.client(from).await;
                let published = publish_namespace(&publisher).await;
                let late = stage.client(to).await;
                let mut late =
                    late.subscribe_namespace(prefix, interest, parameters).await.unwrap();
                for subscription in [&mut early, &mut late] {
                    match subscription.next().await.unwrap() {
                        NamespaceEvent::Namespace(told) => {
                            assert_eq!(told, namespace(), "{from:?} to {to:?}");
                        }
                        other => panic!("{from:?} to {to:?}: {other:?}"),
                    }
                }
                drop(published);
                for subscription in [&mut early, &mut late] {
                    match subscription.next().await.unwrap() {
                        NamespaceEvent::NamespaceDone(told) => assert_eq!(told, namespace()),
                        other => panic!("{from:?} to {to:?}: {other:?}"),
                    }
                }
            });
        }
    }
}

/// "… including echoing back Track Namespaces under the prefix that have been published to it."
#[test]
fn who_publishes_hears_of_its_own_namespaces() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let client = stage.client(draft).await;
            let published = publish_namespace(&client).await;
            let mut told = listen(&client, &prefix()).await;
            assert_eq!(news(&mut told).await, (namespace(), true), "{draft:?}");
            drop(published);
            assert_eq!(news(&mut told).await, (namespace(), false), "{draft:?}");
        });
    }
}

/// "If a publisher … is a relay that has received an authorized PUBLISH_NAMESPACE for that
/// namespace from an upstream publisher, it MUST send a NAMESPACE message to any subscriber that
/// has sent SUBSCRIBE_NAMESPACE for that namespace", whichever shard either of them is in.
#[test]
fn shards_hear_of_what_is_known_upstream_of_another() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = relay_of_three_shards(&stage);
            stage.connect(&leaf, &stage.relay, draft);
            stage.sleep(2000).await;
            let mut listeners = Vec::new();
            for to in [DRAFTS, DRAFTS].concat() {
                let client = stage.client_of(&leaf, to).await;
                listeners.push((listen(&client, &prefix()).await, client));
            }
            let publisher = stage.client(draft).await;
            let published = publish_namespace(&publisher).await;
            for (told, _) in &mut listeners {
                assert_eq!(news(told).await, (namespace(), true), "{draft:?}");
            }
            drop(published);
            for (told, _) in &mut listeners {
                assert_eq!(news(told).await, (namespace(), false), "{draft:?}");
            }
        });
    }
}

/// "When a relay receives an incoming PUBLISH message, it MUST send a PUBLISH request to each
/// subscriber that has sent SUBSCRIBE_TRACKS for the Track's namespace or a prefix thereof": also
/// the relays above, and whichever shard has the session with those.
#[test]
fn shards_are_offered_what_is_published_upstream_of_another() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = relay_of_three_shards(&stage);
            stage.connect(&leaf, &stage.relay, draft);
            stage.sleep(2000).await;
            let mut listeners = Vec::new();
            for to in [DRAFTS, DRAFTS].concat() {
                let client = stage.client_of(&leaf, to).await;
                listeners.push((listen_to_tracks(&client).await, client));
            }
            let publisher = stage.client(draft).await;
            let _publication = publish(&publisher, "offered").await;
            for (_, client) in &listeners {
                let offered = next_publish(client).await;
                assert_eq!(*offered.track(), track("offered"), "{draft:?}");
            }
        });
    }
}

/// "SUBSCRIBE_TRACKS … to request PUBLISH messages for all tracks within matching namespaces": those
/// that the relay has already subscribed to at another one, who cannot offer them any more, are
/// among them.
#[test]
fn tracks_that_a_relay_has_subscribed_to_are_offered() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = relay_of_three_shards(&stage);
            stage.connect(&leaf, &stage.relay, draft);
            let publisher = stage.client(draft).await;
            let _publication = publish(&publisher, "known").await;
            stage.sleep(2000).await;
            let subscriber = stage.client_of(&leaf, draft).await;
            let subscription = subscriber.subscribe(track("known"), Parameters::default());
            let subscription = subscription.await.unwrap();
            let mut listeners = Vec::new();
            for to in [DRAFTS, DRAFTS].concat() {
                let client = stage.client_of(&leaf, to).await;
                let asked = listen_to_tracks(&client).await;
                let offer = next_publish(&client).await;
                assert_eq!(*offer.track(), track("known"), "{draft:?}");
                // The relay remembers, also when nobody wants it.
                drop(offer);
                listeners.push((asked, client));
            }
            drop(subscription);
            stage.sleep(10_000).await;
            let late = stage.client_of(&leaf, draft).await;
            let _listening = listen_to_tracks(&late).await;
            assert_eq!(*next_publish(&late).await.track(), track("known"), "{draft:?}");
        });
    }
}

/// Who was offered a track and wants none of its objects for now (FORWARD 0) has the subscription
/// for as long as somebody publishes the track, whoever it is.
#[test]
fn who_was_offered_a_track_keeps_it_while_it_rests() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (first, second) = (stage.client(draft).await, stage.client(draft).await);
            let _published = publish_namespace(&first).await;
            let publication = publish(&second, "resting").await;
            let listener = stage.client(Draft::D18).await;
            let _listening = listen_to_tracks(&listener).await;
            let offer = next_publish(&listener).await;
            let mut subscription = offer.accept(Accept::default()).unwrap();
            stage.sleep(1000).await;
            drop((publication, second));
            let publication = accept_subscribe(&first).await;
            let mut resting = Parameters::default();
            resting.forward = Some(false);
            subscription.update(resting.clone()).await.unwrap();
            assert!(stage.nothing_comes(subscription.next()).await, "{draft:?}");
            stage.sleep(10_000).await;
            resting.forward = Some(true);
            subscription.update(resting).await.unwrap();
            stage.sleep(1000).await;
            let writing = async {
                write_group(&publication, 0, 2).await;
                publication.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!((seen, code), (locations(1, 2), PublishDoneCode::TrackEnded), "{draft:?}");
        });
    }
}

/// "A subscriber cannot make overlapping namespace subscriptions on a single session": a relay that
/// is asked about a longer prefix and then about a shorter one has both known upstream.
#[test]
fn a_shorter_prefix_takes_the_place_of_a_longer_one_upstream() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = relay_of_three_shards(&stage);
            stage.connect(&leaf, &stage.relay, draft);
            stage.sleep(2000).await;
            let publisher = stage.client(draft).await;
            let here = publish_namespace(&publisher).await;
            let there = publish_other(&publisher, "there").await;
            let narrow = stage.client_of(&leaf, Draft::D18).await;
            let mut narrow = listen(&narrow, &namespace()).await;
            assert_eq!(news(&mut narrow).await, (namespace(), true), "{draft:?}");
            let broad = stage.client_of(&leaf, Draft::D16).await;
            let mut told = listen(&broad, &prefix()).await;
            let mut heard = [news(&mut told).await, news(&mut told).await];
            heard.sort_by_key(|(namespace, _)| namespace.clone());
            assert_eq!(heard, [(other("there"), true), (namespace(), true)], "{draft:?}");
            drop(there);
            assert_eq!(news(&mut told).await, (other("there"), false), "{draft:?}");
            // Whoever asked about less has heard of no change, and is told of one later.
            drop((told, broad));
            stage.sleep(10_000).await;
            assert!(stage.nothing_comes(narrow.next()).await, "{draft:?}");
            drop(here);
            assert_eq!(news(&mut narrow).await, (namespace(), false), "{draft:?}");
        });
    }
}

/// "PUBLISH_NAMESPACE … does not protect against loops": what one relay upstream tells of is not
/// told to another one, who might tell the first.
#[test]
fn what_comes_from_above_does_not_go_up_again() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (left, right) = (stage.below(&stage.relay, draft), relay_of_three_shards(&stage));
            stage.connect(&right, &stage.relay, draft);
            let bottom = stage.below(&left, draft);
            stage.connect(&bottom, &right, draft);
            stage.sleep(2000).await;
            let mut listeners = Vec::new();
            for relay in [&stage.relay, &left, &right, &bottom] {
                let client = stage.client_of(relay, draft).await;
                listeners.push((listen(&client, &prefix()).await, client));
            }
            let publisher = stage.client(draft).await;
            let published = publish_namespace(&publisher).await;
            for (told, _) in &mut listeners {
                assert_eq!(news(told).await, (namespace(), true), "{draft:?}");
            }
            stage.sleep(10_000).await;
            drop(published);
            for (told, _) in &mut listeners {
                assert_eq!(news(told).await, (namespace(), false), "{draft:?}");
            }
            stage.sleep(10_000).await;
            for shard in [&stage.relay, &left, &right, &bottom].iter().flat_map(|it| it.stats()) {
                assert_eq!(shard.namespaces, 0, "{draft:?}: {shard:?}");
            }
        });
    }
}

/// In draft 14 "an UNSUBSCRIBE_NAMESPACE withdraws a previous SUBSCRIBE_NAMESPACE", but no
/// PUBLISH_NAMESPACE that came of it: its end is told when it comes.
#[test]
fn who_stopped_listening_hears_that_a_namespace_is_gone() {
    let draft = Draft::D14;
    let stage = Stage::new(2);
    stage.run(async {
        let publisher = stage.client(draft).await;
        let published = publish_namespace(&publisher).await;
        let listener = stage.client(draft).await;
        let mut told = listen(&listener, &prefix()).await;
        assert_eq!(news(&mut told).await, (namespace(), true));
        drop(told);
        stage.sleep(5000).await;
        drop(published);
        stage.sleep(5000).await;
        // It would be known still.
        let mut told = listen(&listener, &prefix()).await;
        assert!(stage.nothing_comes(told.next()).await);
    });
}

/// A subscriber is asked for tracks of a namespace that it publishes and does not have them: it is
/// offered those of others, and gets them.
#[test]
fn who_publishes_a_namespace_is_offered_tracks_of_others_in_it() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let leaf = stage.below(&stage.relay, draft);
            stage.sleep(2000).await;
            let (publisher, client) =
                (stage.client(draft).await, stage.client_of(&leaf, draft).await);
            let _published = publish_namespace(&client).await;
            let _listening = listen_to_tracks(&client).await;
            let publication = publish(&publisher, "others").await;
            let offer = loop {
                match client.accept_request().await.unwrap() {
                    Incoming::Publish(offer) => break offer,
                    Incoming::Subscribe(asked) => {
                        asked.reject(Refusal::new(RequestErrorCode::DoesNotExist));
                    }
                    // Draft 14 asks for both.
                    Incoming::PublishNamespace(_) => {}
                    other => panic!("{draft:?}: {other:?}"),
                }
            };
            let subscription = offer.accept(Accept::default()).unwrap();
            stage.sleep(2000).await;
            let writing = async {
                write_group(&publication, 0, 2).await;
                publication.done(PublishDoneCode::TrackEnded, "");
            };
            let ((seen, code), ()) = tokio::join!(receive(subscription), writing);
            assert_eq!((seen, code), (locations(1, 2), PublishDoneCode::TrackEnded), "{draft:?}");
        });
    }
}

/// A relay of several shards, so that sessions with it are not all in the same.
fn relay_of_three_shards(stage: &Stage) -> RelayNode {
    let mut options = RelayOptions::default();
    options.shards = 3;
    stage.simulation.relay(options)
}

/// Another namespace under the same prefix.
fn other(name: &str) -> TrackNamespace {
    format!("relayed-{name}--").parse::<FullTrackName>().unwrap().namespace().clone()
}

async fn publish_other(session: &Session, name: &str) -> NamespacePublication {
    session.publish_namespace(other(name), Parameters::default()).await.unwrap()
}

async fn listen(session: &Session, prefix: &TrackNamespace) -> NamespaceSubscription {
    let interest = NamespaceInterest::Namespaces;
    session.subscribe_namespace(prefix.clone(), interest, Parameters::default()).await.unwrap()
}

async fn listen_to_tracks(session: &Session) -> NamespaceSubscription {
    let interest = NamespaceInterest::Tracks;
    session.subscribe_namespace(prefix(), interest, Parameters::default()).await.unwrap()
}

/// The namespace that is told of next, and whether it is there.
async fn news(told: &mut NamespaceSubscription) -> (TrackNamespace, bool) {
    match told.next().await.unwrap() {
        NamespaceEvent::Namespace(told) => (told, true),
        NamespaceEvent::NamespaceDone(told) => (told, false),
        other => panic!("{other:?}"),
    }
}
