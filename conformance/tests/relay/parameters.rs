//! Parameters that relays have rules of their own for (draft-18, "Parameters").

use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    EndOfRange, Location, LocationRange, NamespaceInterest, Parameters, Property, RequestErrorCode,
    TrackProperties, property_type,
};
use moqt_engine::{Accept, AcceptFetch, Draft};
use moqt_session::{FetchItem, FetchReader};

use crate::stage::{
    Stage, accept_subscribe, fetched, next_fetch, next_publish, next_subscribe, payload, prefix,
    publish, publish_namespace, refusal, track, write_group,
};

fn waiting(millis: u64) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.rendezvous_timeout = Some(millis);
    parameters
}

/// "If the RENDEZVOUS_TIMEOUT is present, the relay SHOULD hold the subscription and wait for a
/// publisher to appear", who publishes the namespace here.
#[test]
fn a_subscription_waits_for_a_publisher_of_the_namespace() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        for seed in [0, 1, 2] {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let subscriber = stage.client(draft).await;
                let mut pending = subscriber.subscribe(track("awaited"), waiting(20_000));
                assert!(stage.nothing_comes(&mut pending).await, "{draft:?}");
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let _publication = accept_subscribe(&publisher).await;
                let _subscription = pending.await.unwrap();
            });
        }
    }
}

/// "if the relay is holding a downstream SUBSCRIBE awaiting a publisher for this Track, it MUST
/// proceed with the SUBSCRIBE and MUST NOT also forward the PUBLISH to that subscriber." Others
/// who asked for tracks get it.
#[test]
fn a_subscription_that_waits_goes_on_with_a_publish_and_is_not_offered_it() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        for seed in [0, 1, 2] {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let (subscriber, other) = (stage.client(draft).await, stage.client(draft).await);
                let mut interests = Vec::new();
                for session in [&subscriber, &other] {
                    let tracks = NamespaceInterest::Tracks;
                    let asked =
                        session.subscribe_namespace(prefix(), tracks, Parameters::default());
                    interests.push(asked.await.unwrap());
                }
                let mut pending = subscriber.subscribe(track("awaited"), waiting(20_000));
                assert!(stage.nothing_comes(&mut pending).await, "{draft:?}");
                let publisher = stage.client(draft).await;
                let publication = publish(&publisher, "awaited").await;
                publication.accepted().await.unwrap();
                let mut subscription = pending.await.unwrap();
                assert_eq!(next_publish(&other).await.track(), &track("awaited"));
                assert!(stage.nothing_comes(subscriber.accept_request()).await, "{draft:?}");
                write_group(&publication, 0, 1).await;
                let object = subscription.next_object().await.unwrap().unwrap();
                assert_eq!(object.location, Location::ZERO, "{draft:?}");
            });
        }
    }
}

/// "If the timeout expires without a publisher, the relay SHOULD respond with REQUEST_ERROR with
/// error code TIMEOUT"; with a value of 0 or none it "MUST immediately return REQUEST_ERROR with
/// error code DOES_NOT_EXIST".
#[test]
fn a_subscription_waits_as_long_as_it_says_and_no_longer() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        let stage = Stage::new(number as u64);
        stage.run(async {
            let subscriber = stage.near_client(draft).await;
            let asked = stage.simulation.now();
            let refused = subscriber.subscribe(track("none"), waiting(7000)).await;
            assert_eq!(refusal(refused), RequestErrorCode::Timeout, "{draft:?}");
            let waited = stage.simulation.now().saturating_since(asked).as_millis();
            assert!((7000..8000).contains(&waited), "{draft:?}: {waited} ms");
            for parameters in [waiting(0), Parameters::default()] {
                let asked = stage.simulation.now();
                let refused = subscriber.subscribe(track("none"), parameters).await;
                assert_eq!(refusal(refused), RequestErrorCode::DoesNotExist, "{draft:?}");
                let waited = stage.simulation.now().saturating_since(asked).as_millis();
                assert!(waited < 1000, "{draft:?}: {waited} ms");
            }
        });
    }
}

/// "A relay MUST set LARGEST_OBJECT to the largest of … Any LARGEST_OBJECT value received from the
/// upstream publisher in SUBSCRIBE_OK, PUBLISH … The largest Location of an Object received on an
/// upstream subscription", in every message that has it.
#[test]
fn the_largest_object_is_what_was_told_or_received() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(from).await;
                let _published = publish_namespace(&publisher).await;
                let first = stage.client(to).await;
                let pending = first.subscribe(track("far"), Parameters::default());
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(5, 3));
                let publication = next_subscribe(&publisher).await.accept(accept).unwrap();
                let first = pending.await.unwrap();
                let largest = first.answer().unwrap().parameters.largest_object;
                assert_eq!(largest, Some(Location::new(5, 3)), "{from:?} to {to:?}: as told");
                write_group(&publication, 6, 2).await;
                stage.sleep(3000).await;
                let late = stage.client(to).await;
                let subscription = late.subscribe(track("far"), Parameters::default()).await;
                let subscription = subscription.unwrap();
                let largest = subscription.answer().unwrap().parameters.largest_object;
                assert_eq!(largest, Some(Location::new(6, 1)), "{from:?} to {to:?}: as received");
                let status = late.track_status(track("far"), Parameters::default()).await;
                let largest = status.unwrap().parameters.largest_object;
                assert_eq!(largest, Some(Location::new(6, 1)), "{from:?} to {to:?}: as received");
            });
        }
    }
}

/// The same in a PUBLISH that goes on.
#[test]
fn an_offer_says_how_far_the_track_has_come() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(from).await;
                let mut parameters = Parameters::default();
                parameters.largest_object = Some(Location::new(2, 9));
                let offer = publisher.publish(track("far"), parameters, TrackProperties::new());
                let publication = offer.await.unwrap();
                publication.accepted().await.unwrap();
                let listener = stage.client(to).await;
                let tracks = NamespaceInterest::Tracks;
                let asked = listener.subscribe_namespace(prefix(), tracks, Parameters::default());
                let _listening = asked.await.unwrap();
                let offer = next_publish(&listener).await;
                let largest = offer.parameters().largest_object;
                assert_eq!(largest, Some(Location::new(2, 9)), "{from:?} to {to:?}");
            });
        }
    }
}

/// NEW_GROUP_REQUEST: "A relay that receives a NEW_GROUP_REQUEST for a Track without an Established
/// subscription MUST include the NEW_GROUP_REQUEST when subscribing upstream."
#[test]
fn a_request_for_a_new_group_goes_upstream_with_the_subscription() {
    for (number, draft) in drafts_from(Draft::D16).enumerate() {
        for value in [0, 7] {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let mut parameters = Parameters::default();
                parameters.new_group_request = Some(value);
                let pending = subscriber.subscribe(track("new"), parameters);
                let subscribe = next_subscribe(&publisher).await;
                assert_eq!(subscribe.parameters().new_group_request, Some(value), "{draft:?}");
                let _publication = subscribe.accept(Accept::default()).unwrap();
                let _subscription = pending.await.unwrap();
            });
        }
    }
}

/// "A relay that receives a NEW_GROUP_REQUEST for an Established subscription with a value of 0 or a
/// value larger than the Largest Group MUST send a REQUEST_UPDATE including the NEW_GROUP_REQUEST to
/// the publisher unless: The Track does not support dynamic Groups; There is already an outstanding
/// NEW_GROUP_REQUEST from this Relay with a greater or equal value … considered outstanding until
/// the Largest Group increases."
#[test]
fn a_request_for_a_new_group_goes_upstream_once_if_it_is_for_one() {
    for (number, draft) in drafts_from(Draft::D16).enumerate() {
        for is_dynamic in [true, false] {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("new"), Parameters::default());
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(4, 0));
                if is_dynamic {
                    let dynamic = Property::int(property_type::DYNAMIC_GROUPS, 1);
                    accept.track_properties.push(dynamic);
                }
                let publication = next_subscribe(&publisher).await.accept(accept.clone()).unwrap();
                let _subscription = pending.await.unwrap();
                let mut others = Vec::new();
                let mut ask = async |value| {
                    let other = stage.client(draft).await;
                    let mut parameters = Parameters::default();
                    parameters.new_group_request = Some(value);
                    let subscription = other.subscribe(track("new"), parameters).await.unwrap();
                    others.push((other, subscription));
                };
                let is_asked =
                    async || !stage.nothing_comes(publication.new_group_requested()).await;
                ask(4).await;
                assert!(!is_asked().await, "{draft:?}: group 4 is there");
                ask(5).await;
                assert_eq!(is_asked().await, is_dynamic, "{draft:?}");
                ask(5).await;
                ask(0).await;
                assert!(!is_asked().await, "{draft:?}: one is asked for already");
                ask(6).await;
                assert_eq!(is_asked().await, is_dynamic, "{draft:?}");
                // Who publishes it, too, does not change that.
                let second = stage.client(draft).await;
                let _second_published = publish_namespace(&second).await;
                let _other = next_subscribe(&second).await.accept(accept).unwrap();
                stage.sleep(3000).await;
                ask(6).await;
                assert!(!is_asked().await, "{draft:?}: one is asked for already");
                write_group(&publication, 7, 1).await;
                stage.sleep(3000).await;
                ask(0).await;
                assert_eq!(is_asked().await, is_dynamic, "{draft:?}: there was one since");
            });
        }
    }
}

/// What a fetch says: the objects, and where it is said that nothing is known.
async fn read(mut fetch: FetchReader) -> (Vec<Location>, Vec<Location>) {
    let (mut objects, mut unknown) = (Vec::new(), Vec::new());
    while let Some(item) = fetch.next().await.unwrap() {
        match item {
            FetchItem::Object(object) => objects.push(object.location),
            FetchItem::EndOfRange { location, kind: EndOfRange::Unknown } => unknown.push(location),
            other => panic!("{other:?}"),
        }
    }
    (objects, unknown)
}

/// FILL_TIMEOUT: "A value of 0 indicates the subscriber only wants Objects that are immediately
/// available; the relay MUST NOT wait for upstream delivery and MUST report any unavailable Objects
/// as Unknown gaps." Otherwise it is "the maximum total duration in milliseconds a relay SHOULD
/// spend waiting for upstream sources", and then it "continues delivering available Objects".
#[test]
fn a_fetch_waits_as_long_as_it_says_and_then_tells_what_is_unknown() {
    for (number, draft) in drafts_from(Draft::D18).enumerate() {
        for patience in [0, 1500] {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.near_client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.near_client(draft).await;
                let pending = subscriber.subscribe(track("late"), Parameters::default());
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(3, 1));
                let publication = next_subscribe(&publisher).await.accept(accept).unwrap();
                let _subscription = pending.await.unwrap();
                write_group(&publication, 4, 2).await;
                stage.sleep(1000).await;
                let mut parameters = Parameters::default();
                parameters.fill_timeout = Some(patience);
                let range = LocationRange::to_last(Location::new(3, 0), Location::new(4, 1));
                let asked = stage.simulation.now();
                let fetch = subscriber.fetch(track("late"), range, parameters);
                let asking = async {
                    // Nobody answers it.
                    if patience > 0 { Some(next_fetch(&publisher).await) } else { None }
                };
                let (fetch, unanswered) = tokio::join!(fetch, asking);
                let (objects, unknown) = read(fetch.unwrap()).await;
                let waited = stage.simulation.now().saturating_since(asked).as_millis();
                let waited = u64::try_from(waited).unwrap();
                assert!((patience..patience + 1000).contains(&waited), "{draft:?}: {waited} ms");
                assert_eq!(objects, [Location::new(4, 0), Location::new(4, 1)], "{draft:?}");
                let last = unknown.last().copied();
                assert!(last >= Some(Location::new(3, 1)), "{draft:?}: {unknown:?}");
                if patience == 0 {
                    let nothing = stage.nothing_comes(publisher.accept_request()).await;
                    assert!(nothing, "{draft:?}: nobody is asked");
                }
                drop(unanswered);
            });
        }
    }
}

/// "If a relay does not have sufficient information to send a FETCH_OK immediately in response to a
/// FETCH, it MUST withhold sending FETCH_OK until it does": here nothing is known of the track.
#[test]
fn a_fetch_is_answered_when_the_publisher_has_answered() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.near_client(from).await;
                let _published = publish_namespace(&publisher).await;
                let late = stage.near_client(to).await;
                let range = LocationRange::to_last(Location::ZERO, Location::new(9, 0));
                let mut pending = late.fetch(track("late"), range, Parameters::default());
                let asked = next_fetch(&publisher).await;
                assert!(stage.nothing_comes(&mut pending).await, "{from:?} to {to:?}");
                let range = LocationRange::to_last(Location::ZERO, Location::new(1, 0));
                let mut writer = asked.accept(AcceptFetch::new(range.end)).unwrap();
                let location = Location::new(1, 0);
                writer.write(&fetched(location), payload(location)).await.unwrap();
                writer.finish().await.unwrap();
                let fetch = pending.await.unwrap();
                let answered = fetch.answer().range;
                assert_eq!(answered, range, "{from:?} to {to:?}");
                assert_eq!(read(fetch).await.0, [location], "{from:?} to {to:?}");
            });
        }
    }
}

/// "If it encounters an object in the requested range that is not cached and has unknown status,
/// the relay MUST pause subsequent delivery until it has confirmed the object's status upstream":
/// what comes after it is here.
#[test]
fn a_fetch_pauses_where_it_is_not_known_what_there_is() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.near_client(from).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.near_client(to).await;
                let pending = subscriber.subscribe(track("late"), Parameters::default());
                let mut accept = Accept::default();
                accept.parameters.largest_object = Some(Location::new(0, 3));
                let publication = next_subscribe(&publisher).await.accept(accept).unwrap();
                let _subscription = pending.await.unwrap();
                write_group(&publication, 1, 1).await;
                stage.sleep(1000).await;
                let range = LocationRange::to_last(Location::ZERO, Location::new(1, 0));
                let pending = subscriber.fetch(track("late"), range, Parameters::default());
                let asked = next_fetch(&publisher).await;
                let mut first = Box::pin(async {
                    let mut fetch = pending.await.unwrap();
                    let first = fetch.read_object(1 << 20).await.unwrap();
                    (fetch, first.unwrap().location)
                });
                assert!(stage.nothing_comes(&mut first).await, "{from:?} to {to:?}");
                let asked_for = asked.range();
                let mut writer = asked.accept(AcceptFetch::new(asked_for.end)).unwrap();
                for location in [Location::new(0, 2), Location::new(1, 0)] {
                    if asked_for.contains(location) {
                        writer.write(&fetched(location), payload(location)).await.unwrap();
                    }
                }
                writer.finish().await.unwrap();
                let (fetch, first) = first.await;
                assert_eq!(first, Location::new(0, 2), "{from:?} to {to:?}");
                assert_eq!(read(fetch).await.0, [Location::new(1, 0)], "{from:?} to {to:?}");
            });
        }
    }
}
