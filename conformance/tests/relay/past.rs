//! FETCHes, joining ones and TRACK_STATUS.

use std::time::Duration;

use moqt_conformance::{DRAFTS, drafts_from};
use moqt_engine::model::{
    EndOfRange, Location, LocationRange, Parameters, PublishDoneCode, RequestErrorCode,
    SessionError,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{AcceptFetch, Draft, SubgroupOptions};
use moqt_loopback::RelayOptions;
use moqt_session::{Error, FetchReader, FetchWriter, IncomingFetch, Session};

use crate::stage::{
    Stage, accept_subscribe, fetched, locations, next_fetch, payload, publish_namespace, track,
    write_group,
};

/// All objects of a fetch, in the order they come.
async fn read(mut fetch: FetchReader) -> Vec<Location> {
    let mut seen = Vec::new();
    while let Some(object) = fetch.read_object(1 << 20).await.unwrap() {
        assert_eq!(object.payload, payload(object.location), "{}", object.location);
        seen.push(object.location);
    }
    seen
}

pub(crate) async fn fetch(
    session: &Session,
    name: &str,
    range: LocationRange,
) -> Result<Vec<Location>, Error> {
    Ok(read(session.fetch(track(name), range, Parameters::default()).await?).await)
}

/// A late one gets what others were given. The publisher is not asked: it would not answer.
#[test]
fn the_past_comes_from_the_cache() {
    for (number, from) in DRAFTS.into_iter().enumerate() {
        for to in DRAFTS {
            let stage = Stage::new(number as u64);
            stage.run(async {
                let publisher = stage.client(from).await;
                let _published = publish_namespace(&publisher).await;
                let early = stage.client(to).await;
                let pending = early.subscribe(track("past"), Parameters::default());
                let publication = accept_subscribe(&publisher).await;
                let subscription = pending.await.unwrap();
                for group in 0..4 {
                    write_group(&publication, group, 5).await;
                }
                stage.sleep(5000).await;
                let late = stage.client(to).await;
                let range = LocationRange::new(Location::new(1, 2), Location::new(3, 2));
                let seen = fetch(&late, "past", range).await.unwrap();
                let at = Location::new;
                let expected: Vec<Location> = (1..=3)
                    .flat_map(|group| (0..5).map(move |object| at(group, object)))
                    .filter(|location| range.contains(*location))
                    .collect();
                assert_eq!(seen, expected, "{from:?} to {to:?}");
                let refused = LocationRange::new(at(7, 0), at(8, 0));
                match fetch(&late, "past", refused).await {
                    Err(Error::Rejected(error)) => {
                        assert_eq!(error.code, RequestErrorCode::InvalidRange);
                    }
                    other => panic!("{to:?}: {other:?}"),
                }
                let status = late.track_status(track("past"), Parameters::default()).await;
                let largest = status.unwrap().parameters.largest_object;
                assert_eq!(largest, Some(at(3, 4)), "{to:?}");
                drop(subscription);
                publication.done(PublishDoneCode::TrackEnded, "");
            });
        }
    }
}

async fn write(answer: &mut FetchWriter, locations: &[Location]) {
    for location in locations {
        answer.write(&fetched(*location), payload(*location)).await.unwrap();
    }
}

/// Which of two publishers is asked first, and the other one.
async fn first_asked([one, two]: [&Session; 2]) -> (IncomingFetch, &Session) {
    tokio::select! {
        asked = next_fetch(one) => (asked, two),
        asked = next_fetch(two) => (asked, one),
    }
}

/// One of two publishers does not know what there was for a while. The other one does, is asked for
/// just that, and the rest comes from the first.
#[test]
fn what_one_publisher_does_not_know_another_is_asked_for() {
    for draft in drafts_from(Draft::D18) {
        for seed in 0..6 {
            let stage = Stage::new(seed);
            stage.run(async {
                let (one, two) = (stage.client(draft).await, stage.client(draft).await);
                let _one = publish_namespace(&one).await;
                let _two = publish_namespace(&two).await;
                stage.sleep(1000).await;
                let client = stage.client(draft).await;
                let all = locations(3, 2);
                let range = LocationRange::to_last(all[0], all[5]);
                let answering = async {
                    let (asked, other) = first_asked([&one, &two]).await;
                    let end = asked.range().end;
                    let mut answer = asked.accept(AcceptFetch::new(end)).unwrap();
                    write(&mut answer, &all[..1]).await;
                    answer.end_of_range(all[3], EndOfRange::Unknown).await.unwrap();
                    write(&mut answer, &all[4..]).await;
                    answer.finish().await.unwrap();
                    let asked = next_fetch(other).await;
                    assert_eq!(asked.range(), LocationRange::to_last(all[1], all[3]), "{draft:?}");
                    let end = asked.range().end;
                    let mut answer = asked.accept(AcceptFetch::new(end)).unwrap();
                    write(&mut answer, &all[1..4]).await;
                    answer.finish().await.unwrap();
                };
                let (seen, ()) = tokio::join!(fetch(&client, "partly", range), answering);
                assert_eq!(seen.unwrap(), all, "{draft:?}, seed {seed}");
            });
        }
    }
}

/// Two want the same object, of which a publisher has given the first one half so far. Both get it.
#[test]
fn an_object_that_comes_by_a_fetch_goes_to_others_who_wait_for_it() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let stage = Stage::new(number as u64 + seed);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let (one, two) = (stage.client(draft).await, stage.client(draft).await);
                // What there is, and that nothing follows, is known.
                let pending = one.subscribe(track("shared"), Parameters::default());
                let publication = accept_subscribe(&publisher).await;
                let _subscription = pending.await.unwrap();
                write_group(&publication, 1, 1).await;
                stage.sleep(1000).await;
                let all = locations(1, 2);
                let range = LocationRange::to_last(all[0], all[1]);
                let mut answers = Vec::new();
                let answering = async {
                    let asked = next_fetch(&publisher).await;
                    let end = asked.range().end;
                    let mut answer = asked.accept(AcceptFetch::new(end)).unwrap();
                    let whole = payload(all[0]);
                    answer.begin(&fetched(all[0])).await.unwrap();
                    // The others ask for what is held here by then, in whole or in part.
                    stage.sleep(3000).await;
                    answer.payload(whole).await.unwrap();
                    write(&mut answer, &all[1..]).await;
                    answer.finish().await.unwrap();
                    while let Ok(asked) = publisher.accept_request().await {
                        answers.push(asked);
                    }
                };
                let late = async {
                    stage.sleep(1500).await;
                    let first = LocationRange::to_last(all[0], all[0]);
                    fetch(&two, "shared", first).await
                };
                let fetching = async { tokio::join!(fetch(&one, "shared", range), late) };
                tokio::select! {
                    (one, two) = fetching => {
                        assert_eq!(one.unwrap(), all, "{draft:?}, seed {seed}");
                        assert_eq!(two.unwrap(), all[..1], "{draft:?}, seed {seed}");
                    }
                    () = answering => panic!("{draft:?}, seed {seed}: the publisher is gone"),
                }
            });
        }
    }
}

/// A fetch waits for the rest of an object whose publisher dies. That it does not come is said.
#[test]
fn a_fetch_does_not_wait_for_what_broke_off() {
    for (number, draft) in DRAFTS.into_iter().enumerate() {
        for seed in 0..3 {
            let mut options = RelayOptions::default();
            options.shards = 1;
            let stage = Stage::with(number as u64 + seed, options);
            stage.run(async {
                let publisher = stage.client(draft).await;
                let _published = publish_namespace(&publisher).await;
                let subscriber = stage.client(draft).await;
                let pending = subscriber.subscribe(track("half"), Parameters::default());
                let publication = accept_subscribe(&publisher).await;
                let _subscription = pending.await.unwrap();
                let mut half = publication.open_subgroup(SubgroupOptions::new(0)).await;
                let half = half.as_mut().unwrap().as_mut().unwrap();
                let header =
                    ObjectHeader { object_id: 0, payload_len: 5000, ..ObjectHeader::default() };
                half.begin(&header).await.unwrap();
                half.payload(payload(Location::ZERO)).await.unwrap();
                stage.sleep(1000).await;
                let client = stage.client(draft).await;
                let range = LocationRange::to_last(Location::ZERO, Location::ZERO);
                let pending = client.fetch(track("half"), range, Parameters::default());
                stage.sleep(1000).await;
                publisher.close(SessionError::NoError, "it dies");
                let begun = stage.simulation.now();
                let seen = match pending.await {
                    Ok(mut fetch) => fetch.read_object(1 << 20).await.ok().flatten(),
                    Err(_) => None,
                };
                assert!(seen.is_none(), "{draft:?}, seed {seed}: {seen:?}");
                let waited = stage.simulation.now().saturating_since(begun);
                assert!(waited < Duration::from_secs(8), "{draft:?}, seed {seed}: {waited:?}");
            });
        }
    }
}
