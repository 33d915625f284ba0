//! Publishers that contradict each other (draft-18, "Malformed Tracks" and "Caching Relays").

use bytes::Bytes;
use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    Location, LocationRange, Parameters, PublishDoneCode, RequestErrorCode, StreamResetCode,
    SubgroupId,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{Accept, AcceptFetch, DatagramOptions, Draft, Refusal, SubgroupOptions};
use moqt_session::{Error, Publication, PublicationEnd, Session};

use crate::stage::{
    Stage, accept_subscribe, fetched, next_fetch, next_subscribe, payload, publish_namespace, track,
};

async fn object(publication: &Publication, options: SubgroupOptions, payload: Bytes) {
    let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
    writer.write_object(0, payload).await.unwrap();
    writer.finish().unwrap();
}

/// An object that came before, in another way.
async fn contradict(publication: &Publication, how: usize) {
    let mut options = SubgroupOptions::new(0);
    let as_published = payload(Location::ZERO);
    match how {
        0 => {
            options.publisher_priority = Some(1);
            object(publication, options, as_published).await;
        }
        1 => {
            options.subgroup_id = SubgroupId::Explicit(9);
            options.first_object = false;
            object(publication, options, as_published).await;
        }
        2 => object(publication, options, Bytes::from_static(b"?")).await,
        3 => object(publication, options, Bytes::from_static(b"something of another length")).await,
        _ => {
            let options = DatagramOptions::new(Location::ZERO);
            publication.datagram(options, as_published).unwrap();
        }
    }
}

/// "An endpoint that receives a duplicate Object with a different Forwarding Preference, Subgroup
/// ID, Priority or Payload MUST treat the track as Malformed"; "If a relay detects a Malformed Track,
/// it MUST immediately terminate downstream subscriptions with PUBLISH_DONE"; "Object(s) triggering
/// Malformed Track status MUST NOT be cached": a publisher is asked for them.
#[test]
fn publishers_that_contradict_each_other_end_the_track() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for how in 0..5 {
            let stage = Stage::new((number + how) as u64);
            stage.run(async {
                let (first, second) =
                    (stage.near_client(draft).await, stage.near_client(draft).await);
                let _first = publish_namespace(&first).await;
                let _second = publish_namespace(&second).await;
                stage.sleep(1000).await;
                let subscribers = [stage.near_client(draft).await, stage.near_client(draft).await];
                let pending = subscribers
                    .each_ref()
                    .map(|session| session.subscribe(track("wrong"), Parameters::default()));
                let publications =
                    (accept_subscribe(&first).await, accept_subscribe(&second).await);
                let mut subscriptions = Vec::new();
                for pending in pending {
                    subscriptions.push(pending.await.unwrap());
                }
                stage.sleep(1000).await;
                let options = SubgroupOptions::new(0);
                object(&publications.0, options, payload(Location::ZERO)).await;
                for subscription in &mut subscriptions {
                    let seen = subscription.next_object().await.unwrap().unwrap();
                    assert_eq!(seen.payload, payload(seen.location), "{draft:?}");
                }
                contradict(&publications.1, how).await;
                for mut subscription in subscriptions {
                    let more = subscription.next_object().await;
                    assert_eq!(more.unwrap(), None, "{draft:?}, way {how}: it is not forwarded");
                    let code = subscription.done().unwrap().code;
                    assert_eq!(code, PublishDoneCode::MalformedTrack, "{draft:?}, way {how}");
                }
                for publication in [publications.0, publications.1] {
                    let end = publication.ended().await;
                    assert!(matches!(end, PublicationEnd::Cancelled(_)), "{draft:?}: {end:?}");
                }
                let [late, _] = subscribers;
                let range = LocationRange::to_last(Location::ZERO, Location::ZERO);
                let pending = late.fetch(track("wrong"), range, Parameters::default());
                let asking = async |session: &Session| {
                    let refusal = Refusal::new(RequestErrorCode::InvalidRange);
                    next_fetch(session).await.reject(refusal);
                };
                let reading = async {
                    let Ok(mut fetch) = pending.await else { return };
                    if let Ok(Some(object)) = fetch.read_object(1 << 20).await {
                        panic!("{draft:?}, way {how}: {object:?}");
                    }
                };
                tokio::select! {
                    () = reading => {}
                    ((), ()) = async { tokio::join!(asking(&first), asking(&second)) } => {}
                }
            });
        }
    }
}

/// "… and reset any fetch streams with Status Code MALFORMED_TRACK", which is a code from draft 16
/// on. The fetch waits for the rest of an object.
#[test]
fn a_fetch_of_a_track_that_turns_out_to_be_malformed_is_reset() {
    for (number, draft) in drafts_from(Draft::D16).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let (first, second) = (stage.near_client(draft).await, stage.near_client(draft).await);
            let _first = publish_namespace(&first).await;
            let _second = publish_namespace(&second).await;
            stage.sleep(1000).await;
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("wrong"), Parameters::default());
            let (first, second) = (accept_subscribe(&first).await, accept_subscribe(&second).await);
            let _subscription = pending.await.unwrap();
            stage.sleep(1000).await;
            object(&first, SubgroupOptions::new(0), payload(Location::ZERO)).await;
            let mut writer = first.open_subgroup(SubgroupOptions::new(1)).await.unwrap().unwrap();
            let header = ObjectHeader { object_id: 0, payload_len: 9, ..ObjectHeader::default() };
            writer.begin(&header).await.unwrap();
            stage.sleep(1000).await;
            let range = LocationRange::to_last(Location::ZERO, Location::new(1, 0));
            let fetch = subscriber.fetch(track("wrong"), range, Parameters::default());
            let mut fetch = fetch.await.unwrap();
            let seen = fetch.read_object(1 << 20).await.unwrap().unwrap();
            assert_eq!(seen.location, Location::ZERO, "{draft:?}");
            contradict(&second, 0).await;
            match fetch.read_object(1 << 20).await {
                Err(Error::Cancelled(code)) => {
                    assert_eq!(code, StreamResetCode::MalformedTrack, "{draft:?}");
                }
                other => panic!("{draft:?}: {other:?}"),
            }
        });
    }
}

/// "an endpoint can receive an Object after it has already recorded that the Object does not exist
/// (e.g., via a FETCH gap from one source and later delivery via a subscription). This is not a
/// protocol error and the Track is not malformed"; "A caching relay SHOULD NOT cache or forward the
/// Object in this case."
#[test]
fn an_object_that_is_known_not_to_exist_is_not_forwarded() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.near_client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("gone"), Parameters::default());
            let mut accept = Accept::default();
            accept.parameters.largest_object = Some(Location::new(0, 3));
            let publication = next_subscribe(&publisher).await.accept(accept).unwrap();
            let mut subscription = pending.await.unwrap();
            let range = LocationRange::to_last(Location::ZERO, Location::new(0, 3));
            let fetch = async || {
                let fetch = subscriber.fetch(track("gone"), range, Parameters::default()).await;
                let mut fetch = fetch.unwrap();
                let mut seen = Vec::new();
                while let Some(object) = fetch.read_object(1 << 20).await.unwrap() {
                    seen.push(object.location.object);
                }
                seen
            };
            let answering = async {
                let asked = next_fetch(&publisher).await;
                let mut writer = asked.accept(AcceptFetch::new(range.end)).unwrap();
                for object in [0, 3] {
                    let location = Location::new(0, object);
                    writer.write(&fetched(location), payload(location)).await.unwrap();
                }
                writer.finish().await.unwrap();
            };
            let (seen, ()) = tokio::join!(fetch(), answering);
            assert_eq!(seen, [0, 3], "{draft:?}");
            let mut options = SubgroupOptions::new(0);
            options.subgroup_id = SubgroupId::Explicit(1);
            options.first_object = false;
            let mut writer = publication.open_subgroup(options).await.unwrap().unwrap();
            for object in [2, 4] {
                let location = Location::new(0, object);
                writer.write_object(object, payload(location)).await.unwrap();
            }
            let seen = subscription.next_object().await.unwrap().unwrap();
            assert_eq!(seen.location, Location::new(0, 4), "{draft:?}");
            assert_eq!(fetch().await, [0, 3], "{draft:?}");
            writer.finish().unwrap();
        });
    }
}
