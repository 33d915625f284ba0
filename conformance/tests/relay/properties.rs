//! Properties of tracks (draft-18, "Relay Track Handling", "Mandatory Track Properties" and "MAX
//! CACHE DURATION").

use bytes::Bytes;
use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    GroupOrder, Location, LocationRange, NamespaceInterest, Parameters, Property, RequestErrorCode,
    TrackProperties, property_type,
};
use moqt_engine::{Accept, AcceptFetch, Draft, Refusal};
use moqt_loopback::RelayOptions;
use moqt_session::{Error, PublicationEnd};

use crate::stage::{
    Stage, next_fetch, next_publish, next_subscribe, prefix, publish, publish_namespace, refusal,
    track, write_group,
};

const MANDATORY: u64 = 0x4010;

fn accept(properties: &[Property]) -> Accept {
    let track_properties = properties.iter().cloned().collect();
    Accept { track_properties, ..Accept::default() }
}

/// "A relay MUST include all Properties associated with a Track when sending any PUBLISH,
/// SUBSCRIBE_OK, TRACK_STATUS_OK, or FETCH_OK": also those that it does not know.
#[test]
fn properties_of_a_track_are_in_all_that_tells_of_it() {
    let properties: TrackProperties = [
        Property::int(property_type::DEFAULT_PUBLISHER_PRIORITY, 17),
        Property::int(0x38, 5),
        Property::bytes(0x39, Bytes::from_static(b"of the application")),
        Property::bytes(0x1_0001, Bytes::from_static(b"of somebody else")),
    ]
    .into_iter()
    .collect();
    for (number, from) in drafts_from(Draft::D16).enumerate() {
        for to in drafts_from(Draft::D16) {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(from).await;
                let offer =
                    publisher.publish(track("told"), Parameters::default(), properties.clone());
                let publication = offer.await.unwrap();
                publication.accepted().await.unwrap();
                write_group(&publication, 0, 1).await;
                stage.sleep(2000).await;
                let session = stage.client(to).await;
                let status = session.track_status(track("told"), Parameters::default()).await;
                let told = status.unwrap().track_properties;
                // Draft 16 has no place for them in REQUEST_OK.
                if to >= Draft::D18 {
                    assert_eq!(told, properties, "{from:?} to {to:?}");
                }
                let range = LocationRange::to_last(Location::ZERO, Location::ZERO);
                let fetch = session.fetch(track("told"), range, Parameters::default()).await;
                assert_eq!(fetch.unwrap().track_properties(), &properties, "{from:?} to {to:?}");
                let subscription = session.subscribe(track("told"), Parameters::default());
                let subscription = subscription.await.unwrap();
                let told = &subscription.answer().unwrap().track_properties;
                assert_eq!(told, &properties, "{from:?} to {to:?}");
                let listener = stage.client(to).await;
                let tracks = NamespaceInterest::Tracks;
                let asked = listener.subscribe_namespace(prefix(), tracks, Parameters::default());
                let _listening = asked.await.unwrap();
                let offer = next_publish(&listener).await;
                assert_eq!(offer.track_properties(), &properties, "{from:?} to {to:?}");
            });
        }
    }
}

/// The same where the publisher was asked.
#[test]
fn properties_of_a_track_that_was_subscribed_to_are_told() {
    let properties = [Property::int(0x38, 5), Property::bytes(0x39, Bytes::from_static(b"more"))];
    for (number, draft) in drafts_from(Draft::D16).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.client(draft).await;
            let pending = subscriber.subscribe(track("told"), Parameters::default());
            let accept = accept(&properties);
            let expected = accept.track_properties.clone();
            let _publication = next_subscribe(&publisher).await.accept(accept).unwrap();
            let subscription = pending.await.unwrap();
            let told = &subscription.answer().unwrap().track_properties;
            assert_eq!(told, &expected, "{draft:?}");
        });
    }
}

/// "If a Track or Object arrives with a different set of unknown properties than previously cached,
/// the most recent set SHOULD replace any cached values, removing any unknown values not present in
/// the new set. Relays MUST NOT attempt to merge sets of unknown properties received in different
/// messages."
#[test]
fn the_latest_properties_of_a_track_replace_those_before() {
    let sets: [TrackProperties; 2] = [
        [Property::int(0x38, 5), Property::bytes(0x39, Bytes::from_static(b"first"))],
        [Property::int(0x3A, 6), Property::bytes(0x39, Bytes::from_static(b"second"))],
    ]
    .map(|set| set.into_iter().collect());
    for draft in drafts_from(Draft::D16) {
        let stage = Stage::with(0, RelayOptions::default());
        stage.run(async {
            let mut publications = Vec::new();
            for properties in &sets {
                let publisher = stage.client(draft).await;
                let offer =
                    publisher.publish(track("told"), Parameters::default(), properties.clone());
                let publication = offer.await.unwrap();
                publication.accepted().await.unwrap();
                publications.push((publication, publisher));
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("told"), Parameters::default());
                let subscription = pending.await.unwrap();
                let told = &subscription.answer().unwrap().track_properties;
                assert_eq!(told, properties, "{draft:?}");
            }
        });
    }
}

/// "If the subscriber is a relay with pending downstream subscribers, it MUST send REQUEST_ERROR
/// with error code UNSUPPORTED_EXTENSION to the downstream subscribers"; to a PUBLISH it answers the
/// same, and the track goes to nobody.
#[test]
fn a_track_that_must_be_understood_is_refused() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let (first, second) = (stage.client(draft).await, stage.client(draft).await);
            let pending = [&first, &second]
                .map(|session| session.subscribe(track("strange"), Parameters::default()));
            let subscribe = next_subscribe(&publisher).await;
            stage.sleep(2000).await;
            let strange = Property::int(MANDATORY, 1);
            let publication = subscribe.accept(accept(std::slice::from_ref(&strange))).unwrap();
            for pending in pending {
                let code = refusal(pending.await);
                assert_eq!(code, RequestErrorCode::UnsupportedExtension, "{draft:?}");
            }
            assert!(matches!(publication.ended().await, PublicationEnd::Cancelled(_)), "{draft:?}");
            let listener = stage.client(draft).await;
            let tracks = NamespaceInterest::Tracks;
            let asked = listener.subscribe_namespace(prefix(), tracks, Parameters::default());
            let _listening = asked.await.unwrap();
            let properties = [strange].into_iter().collect();
            let offer = publisher.publish(track("stranger"), Parameters::default(), properties);
            let offer = offer.await.unwrap();
            match offer.accepted().await {
                Err(Error::Rejected(error)) => {
                    assert_eq!(error.code, RequestErrorCode::UnsupportedExtension, "{draft:?}");
                }
                other => panic!("{draft:?}: {other:?}"),
            }
            assert!(stage.nothing_comes(listener.accept_request()).await, "{draft:?}");
        });
    }
}

/// "For FETCH_OK messages … If the subscriber is a relay and has not yet sent a FETCH_OK or
/// REQUEST_ERROR downstream, it MUST send REQUEST_ERROR with error code UNSUPPORTED_EXTENSION to
/// the downstream fetch requester."
#[test]
fn a_fetch_of_a_track_that_must_be_understood_is_refused() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let late = stage.client(draft).await;
            let range = LocationRange::to_last(Location::ZERO, Location::ZERO);
            let pending = late.fetch(track("strange"), range, Parameters::default());
            let fetch = next_fetch(&publisher).await;
            let track_properties = [Property::int(MANDATORY, 1)].into_iter().collect();
            let accept = AcceptFetch { track_properties, ..AcceptFetch::new(range.end) };
            let _writer = fetch.accept(accept).unwrap();
            let code = refusal(pending.await);
            assert_eq!(code, RequestErrorCode::UnsupportedExtension, "{draft:?}");
        });
    }
}

/// "If the relay has already forwarded data on a fetch stream, it MUST reset the stream." What it
/// has comes first, and what it lacks turns out to be of such a track.
#[test]
fn a_fetch_under_way_of_a_track_that_must_be_understood_is_reset() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.near_client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("strange"), Parameters::default());
            let mut accept = Accept::default();
            accept.parameters.largest_object = Some(Location::new(3, 0));
            let publication = next_subscribe(&publisher).await.accept(accept).unwrap();
            let _subscription = pending.await.unwrap();
            write_group(&publication, 4, 2).await;
            stage.sleep(1000).await;
            let mut parameters = Parameters::default();
            parameters.group_order = Some(GroupOrder::Descending);
            let range = LocationRange::to_last(Location::ZERO, Location::new(4, 1));
            let pending = subscriber.fetch(track("strange"), range, parameters);
            let (fetch, asked) = tokio::join!(pending, next_fetch(&publisher));
            let mut fetch = fetch.unwrap();
            for object in 0..2 {
                let object_seen = fetch.read_object(1 << 20).await.unwrap().unwrap();
                assert_eq!(object_seen.location, Location::new(4, object), "{draft:?}");
            }
            let track_properties = [Property::int(MANDATORY, 1)].into_iter().collect();
            let accept = AcceptFetch { track_properties, ..AcceptFetch::new(asked.range().end) };
            let _writer = asked.accept(accept).unwrap();
            let over = fetch.read_object(1 << 20).await;
            assert!(matches!(over, Err(Error::Cancelled(_))), "{draft:?}: {over:?}");
        });
    }
}

/// "the relay MUST NOT start forwarding any individual Object received through this subscription or
/// fetch after the specified number of milliseconds has elapsed since the beginning of the Object
/// was received … a relay that handles a downstream request that includes those Objects re-requests
/// them."
#[test]
fn an_object_is_not_served_longer_than_its_track_says() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let publisher = stage.near_client(draft).await;
            let _published = publish_namespace(&publisher).await;
            let subscriber = stage.near_client(draft).await;
            let pending = subscriber.subscribe(track("stale"), Parameters::default());
            let accept = accept(&[Property::int(property_type::MAX_CACHE_DURATION, 5000)]);
            let publication = next_subscribe(&publisher).await.accept(accept).unwrap();
            let _subscription = pending.await.unwrap();
            write_group(&publication, 0, 2).await;
            stage.sleep(3000).await;
            let range = LocationRange::to_last(Location::ZERO, Location::new(0, 1));
            let fresh = subscriber.fetch(track("stale"), range, Parameters::default());
            let mut fresh = fresh.await.unwrap();
            for object in 0..2 {
                let seen = fresh.read_object(1 << 20).await.unwrap().unwrap();
                assert_eq!(seen.location, Location::new(0, object), "{draft:?}");
            }
            assert_eq!(fresh.read_object(1 << 20).await.unwrap(), None, "{draft:?}");
            stage.sleep(3000).await;
            let stale = subscriber.fetch(track("stale"), range, Parameters::default());
            let reading = async {
                // It may be said that they are unknown, or that the fetch fails.
                if let Ok(mut stale) = stale.await
                    && let Ok(Some(object)) = stale.read_object(1 << 20).await
                {
                    panic!("{draft:?}: {object:?}");
                }
            };
            let asking = async {
                next_fetch(&publisher).await.reject(Refusal::new(RequestErrorCode::InternalError));
            };
            tokio::join!(reading, asking);
        });
    }
}

/// The same where a relay upstream comes later, to any shard.
#[test]
fn properties_of_a_track_are_told_to_a_relay_that_comes_later() {
    let properties = [Property::int(0x38, 5), Property::bytes(0x39, Bytes::from_static(b"more"))];
    let properties: TrackProperties = properties.into_iter().collect();
    for draft in drafts_from(Draft::D16) {
        for seed in 0..8 {
            let stage = Stage::new(seed);
            stage.run(async {
                let mut options = RelayOptions::default();
                options.shards = 3;
                let leaf = stage.simulation.relay(options);
                let publisher = stage.client_of(&leaf, draft).await;
                let (parameters, properties) = (Parameters::default(), properties.clone());
                let offer = publisher.publish(track("told"), parameters, properties.clone());
                let publication = offer.await.unwrap();
                publication.accepted().await.unwrap();
                stage.connect(&leaf, &stage.relay, draft);
                stage.sleep(2000).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("told"), Parameters::default());
                let subscription = pending.await.unwrap();
                let told = &subscription.answer().unwrap().track_properties;
                assert_eq!(told, &properties, "{draft:?}, seed {seed}");
            });
        }
    }
}

/// A publisher whose draft has no way to tell properties of tracks does not take those away that
/// another has told of.
#[test]
fn a_publisher_that_cannot_tell_properties_takes_none_away() {
    let properties: TrackProperties = [Property::int(0x38, 5)].into_iter().collect();
    for mute in DRAFTS.into_iter().filter(|draft| !draft.says_track_properties()) {
        for (number, draft) in drafts_from(Draft::D16).enumerate() {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let (first, second) = (stage.client(draft).await, stage.client(mute).await);
                let (parameters, told) = (Parameters::default(), properties.clone());
                let first = first.publish(track("told"), parameters, told).await.unwrap();
                first.accepted().await.unwrap();
                let second = publish(&second, "told").await;
                second.accepted().await.unwrap();
                stage.sleep(1000).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("told"), Parameters::default());
                let subscription = pending.await.unwrap();
                let told = &subscription.answer().unwrap().track_properties;
                assert_eq!(told, &properties, "{mute:?} and {draft:?}");
            });
        }
    }
}
