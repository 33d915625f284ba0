//! FETCHes, joining ones and TRACK_STATUS.

use moqt_conformance::DRAFTS;
use moqt_engine::model::{Location, LocationRange, Parameters, PublishDoneCode, RequestErrorCode};
use moqt_session::{Error, FetchReader, Session};

use crate::stage::{Stage, accept_subscribe, payload, publish_namespace, track, write_group};

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
