//! Cases with objects: every byte must arrive as it was published.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moqt_engine::model::{
    FullTrackName, JoiningStart, Location, LocationRange, Parameters, PublishDoneCode,
    RequestErrorCode, SubscriptionFilter, TrackNamespace,
};
use moqt_engine::track::TrackRead;
use moqt_session::{Error, FetchItem, Session, Subscription};
use tokio::sync::watch;
use tokio::time::timeout;

use super::cases::SIZES;
use super::control::announce;
use super::publisher::{Publisher, Released};
use super::run::{Outcome, Run};

/// How long to wait, when all is there, for what should not come.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// The objects of a track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Sizes of payloads, group by group.
    pub(crate) groups: &'static [&'static [usize]],
    pub(crate) is_datagrams: bool,
}

impl Shape {
    pub(crate) const fn streams(groups: &'static [&'static [usize]]) -> Self {
        Self { groups, is_datagrams: false }
    }

    pub(crate) const fn datagrams(groups: &'static [&'static [usize]]) -> Self {
        Self { groups, is_datagrams: true }
    }

    /// The size of what is published at a place.
    fn size(&self, location: Location) -> Option<usize> {
        let group = self.groups.get(usize::try_from(location.group).ok()?)?;
        group.get(usize::try_from(location.object).ok()?).copied()
    }

    /// What is published at a place; empty if nothing is.
    pub(crate) fn payload(&self, location: Location) -> Bytes {
        let len = self.size(location).unwrap_or_default();
        crate::demo::payload(location.group << 32 | location.object, len)
    }

    /// All places from this group on.
    fn locations(&self, from_group: usize) -> Vec<Location> {
        let groups = self.groups.iter().enumerate().skip(from_group);
        groups
            .flat_map(|(group, sizes)| {
                (0..sizes.len()).map(move |object| Location::new(group as u64, object as u64))
            })
            .collect()
    }
}

/// A track of three groups, for the cases in which a part of it is past.
const THREE_GROUPS: Shape = Shape::streams(&[SIZES, SIZES, SIZES]);

/// Objects as they come, and go to one subscriber. The track ends when it has them.
pub(crate) async fn objects(run: &mut Run<'_>, case: &str, shape: Shape) -> Result<(), Outcome> {
    let (track, publisher, release, released) = begin(run, case, shape).await?;
    let steps = async {
        let subscriber = run.connect("subscriber").await?;
        let mut subscription = subscribe(run, &subscriber, &track, Parameters::default()).await?;
        release.send_replace(Released { groups: shape.groups.len(), is_all: false });
        let expected = shape.locations(0);
        let mut come = BTreeMap::new();
        take(run, &mut subscription, shape, &mut come, expected.len()).await?;
        release.send_replace(Released { groups: shape.groups.len(), is_all: true });
        ends(run, &mut subscription).await
    };
    tokio::select! {
        done = steps => done,
        failed = publisher.serve(released) => Err(failed),
    }
}

/// A track that ends at once: its end must not overtake its objects.
pub(crate) async fn track_end(run: &mut Run<'_>, case: &str) -> Result<(), Outcome> {
    let shape = THREE_GROUPS;
    let (track, publisher, release, released) = begin(run, case, shape).await?;
    let steps = async {
        let subscriber = run.connect("subscriber").await?;
        let mut subscription = subscribe(run, &subscriber, &track, Parameters::default()).await?;
        release.send_replace(Released { groups: shape.groups.len(), is_all: true });
        let expected = shape.locations(0);
        take(run, &mut subscription, shape, &mut BTreeMap::new(), expected.len()).await?;
        run.wait_for("PUBLISH_DONE TRACK_ENDED");
        if let Some(extra) = subscription.next_object().await? {
            return Err(came_again(run, extra.location));
        }
        let code = subscription.done().map(|done| done.code);
        run.receive(format!(
            "PUBLISH_DONE {}",
            code.map_or(String::new(), |code| code.to_string())
        ));
        if run.is_strict() && code != Some(PublishDoneCode::TrackEnded) {
            return Err(Outcome::Failed("the code is not the publisher's".into()));
        }
        Ok(())
    };
    tokio::select! {
        done = steps => done,
        failed = publisher.serve(released) => Err(failed),
    }
}

/// A subscriber that comes when a group is over gets what follows, and the other one all.
pub(crate) async fn late_subscriber(run: &mut Run<'_>, case: &str) -> Result<(), Outcome> {
    let shape = THREE_GROUPS;
    let (track, publisher, release, released) = begin(run, case, shape).await?;
    let steps = async {
        let first = run.connect("subscriber").await?;
        let mut early = subscribe(run, &first, &track, Parameters::default()).await?;
        release.send_replace(Released { groups: 1, is_all: false });
        let mut come = BTreeMap::new();
        take(run, &mut early, shape, &mut come, SIZES.len()).await?;
        let second = run.connect("subscriber").await?;
        let mut late = subscribe(run, &second, &track, from_now_on()).await?;
        release.send_replace(Released { groups: shape.groups.len(), is_all: false });
        let expected = shape.locations(1);
        let mut come_late = BTreeMap::new();
        take(run, &mut late, shape, &mut come_late, expected.len()).await?;
        if !come_late.keys().eq(&expected) {
            let message = "these were not all published after the SUBSCRIBE";
            return Err(run.unexpected(described_places(come_late.keys()), message));
        }
        take(run, &mut early, shape, &mut come, shape.locations(0).len()).await?;
        release.send_replace(Released { groups: shape.groups.len(), is_all: true });
        ends(run, &mut late).await
    };
    tokio::select! {
        done = steps => done,
        failed = publisher.serve(released) => Err(failed),
    }
}

/// What was published to a subscriber can be fetched, too.
pub(crate) async fn fetch(run: &mut Run<'_>, case: &str) -> Result<(), Outcome> {
    let shape = THREE_GROUPS;
    let (track, publisher, release, released) = begin(run, case, shape).await?;
    let steps = async {
        let subscriber = run.connect("subscriber").await?;
        let mut subscription = subscribe(run, &subscriber, &track, Parameters::default()).await?;
        release.send_replace(Released { groups: shape.groups.len(), is_all: false });
        let expected = shape.locations(0);
        take(run, &mut subscription, shape, &mut BTreeMap::new(), expected.len()).await?;
        run.wait_for("FETCH_OK");
        let last = expected.last().copied().unwrap_or_default();
        let range = LocationRange::to_last(Location::ZERO, last);
        let mut reader = match subscriber.fetch(track, range, Parameters::default()).await {
            Ok(reader) => reader,
            Err(Error::Rejected(error)) if error.code == RequestErrorCode::NotSupported => {
                return Err(Outcome::Skipped(format!("the relay says of FETCH: {error}")));
            }
            Err(error) => return Err(run.refused(subscriber.draft().dialect(), &error)),
        };
        run.wait_for(described(&shape, &expected));
        let mut come = Vec::new();
        while let Some(item) = reader.next().await? {
            let FetchItem::Object(object) = item else { continue };
            let mut payload = BytesMut::new();
            while let Some(piece) = reader.chunk(usize::MAX).await? {
                payload.extend_from_slice(&piece);
            }
            come.push((object.location, payload.freeze()));
        }
        compare_all(run, &shape, &expected, &come)
    };
    tokio::select! {
        done = steps => done,
        failed = publisher.serve(released) => Err(failed),
    }
}

/// Past and present of a track, as one.
pub(crate) async fn join(run: &mut Run<'_>, case: &str) -> Result<(), Outcome> {
    let shape = THREE_GROUPS;
    let (track, publisher, release, released) = begin(run, case, shape).await?;
    let steps = async {
        let first = run.connect("subscriber").await?;
        let mut early = subscribe(run, &first, &track, Parameters::default()).await?;
        release.send_replace(Released { groups: 2, is_all: false });
        take(run, &mut early, shape, &mut BTreeMap::new(), 2 * SIZES.len()).await?;
        let second = run.connect("subscriber").await?;
        let late = subscribe(run, &second, &track, from_now_on()).await?;
        run.wait_for("FETCH_OK");
        let start = JoiningStart::Relative(1);
        let mut reader = match late.into_joined(start, AFTERWARDS, Parameters::default()).await {
            Ok(reader) => reader,
            Err(error) => return Err(run.refused(second.draft().dialect(), &error)),
        };
        release.send_replace(Released { groups: shape.groups.len(), is_all: true });
        let expected = shape.locations(0);
        run.wait_for(described(&shape, &expected));
        let mut come: Vec<(Location, BytesMut)> = Vec::new();
        loop {
            let is_whole = come.last().is_some_and(|(location, payload)| {
                Some(location) == expected.last() && shape.payload(*location).len() <= payload.len()
            });
            let read = match timeout(AFTERWARDS, reader.next()).await {
                Ok(read) => read?,
                Err(_) if is_whole => break,
                Err(_) => continue,
            };
            match read {
                TrackRead::Object { location, .. } => come.push((location, BytesMut::new())),
                TrackRead::Payload(piece) => {
                    if let Some((_, payload)) = come.last_mut() {
                        payload.extend_from_slice(&piece);
                    }
                }
                TrackRead::Gap { from, to } => {
                    let message = format!("nothing came from {from} to before {to}");
                    return Err(run.unexpected("a gap", &message));
                }
                TrackRead::Done { .. } => break,
                _ => {}
            }
        }
        let come: Vec<_> =
            come.into_iter().map(|(location, payload)| (location, payload.freeze())).collect();
        compare_all(run, &shape, &expected, &come)
    };
    tokio::select! {
        done = steps => done,
        failed = publisher.serve(released) => Err(failed),
    }
}

type Begun = (FullTrackName, Publisher, watch::Sender<Released>, watch::Receiver<Released>);

/// Has a publisher announce a namespace that no other run has used.
async fn begin(run: &mut Run<'_>, case: &str, shape: Shape) -> Result<Begun, Outcome> {
    let unique = format!("{:016x}", RandomState::new().hash_one(case));
    let namespace = TrackNamespace::new(["moq-test".to_owned(), case.to_owned(), unique])?;
    let track = FullTrackName::new(namespace.clone(), "test-track")?;
    let session = run.connect("publisher").await?;
    let announced = announce(run, &session, namespace).await?;
    let (release, released) = watch::channel(Released::default());
    let publisher = Publisher::new(session, track.clone(), announced, shape);
    Ok((track, publisher, release, released))
}

async fn subscribe(
    run: &mut Run<'_>,
    session: &Session,
    track: &FullTrackName,
    parameters: Parameters,
) -> Result<Subscription, Outcome> {
    run.wait_for("SUBSCRIBE_OK");
    match session.subscribe(track.clone(), parameters).await {
        Ok(subscription) => {
            run.receive("SUBSCRIBE_OK");
            Ok(subscription)
        }
        Err(error) => Err(run.refused(session.draft().dialect(), &error)),
    }
}

/// With the filter for what follows the largest object.
fn from_now_on() -> Parameters {
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
    parameters
}

/// All has come, and nothing more may. Not every relay says that a track has ended.
async fn ends(run: &mut Run<'_>, subscription: &mut Subscription) -> Result<(), Outcome> {
    if let Ok(extra) = timeout(AFTERWARDS, subscription.next_object()).await
        && let Some(extra) = extra?
    {
        return Err(came_again(run, extra.location));
    }
    Ok(())
}

fn came_again(run: &mut Run<'_>, location: Location) -> Outcome {
    run.unexpected(format!("object {location} again"), "an object came twice")
}

/// Takes objects until so many have come, or of datagrams as many as do.
async fn take(
    run: &mut Run<'_>,
    subscription: &mut Subscription,
    shape: Shape,
    come: &mut BTreeMap<Location, Bytes>,
    count: usize,
) -> Result<(), Outcome> {
    run.wait_for(counted(count));
    while come.len() < count {
        let next = subscription.next_object();
        let object = if shape.is_datagrams && !come.is_empty() {
            // Those that are lost do not come later.
            match timeout(4 * AFTERWARDS, next).await {
                Ok(object) => object?,
                Err(_) => None,
            }
        } else {
            next.await?
        };
        let Some(object) = object else {
            if shape.is_datagrams && !come.is_empty() {
                break;
            }
            let done = subscription.done().map(|done| done.code.to_string());
            let message = format!("the track ended: {}", done.unwrap_or_default());
            return Err(run.unexpected(described_places(come.keys()), &message));
        };
        let location = object.location;
        compare(run, &shape, location, &object.payload)?;
        if come.insert(location, object.payload).is_some() {
            return Err(came_again(run, location));
        }
    }
    run.receive(counted(come.len()));
    Ok(())
}

/// All objects there are, in order and as they were published.
fn compare_all(
    run: &mut Run<'_>,
    shape: &Shape,
    expected: &[Location],
    come: &[(Location, Bytes)],
) -> Result<(), Outcome> {
    for (location, payload) in come {
        compare(run, shape, *location, payload)?;
    }
    let places = come.iter().map(|(location, _)| location);
    if !places.clone().eq(expected) {
        return Err(run.unexpected(described_places(places), "these are others"));
    }
    run.receive(described(shape, expected));
    Ok(())
}

fn compare(
    run: &mut Run<'_>,
    shape: &Shape,
    location: Location,
    payload: &Bytes,
) -> Result<(), Outcome> {
    if shape.size(location).is_none() {
        let what = format!("object {location}");
        return Err(run.unexpected(what, "an object came that was not published"));
    }
    let published = shape.payload(location);
    if *payload == published {
        return Ok(());
    }
    let same = payload.iter().zip(&published).take_while(|(came, sent)| came == sent).count();
    let message = format!(
        "object {location} has {} bytes of {}, and the first {same} are right",
        payload.len(),
        published.len()
    );
    Err(run.unexpected(format!("another object {location}"), &message))
}

fn counted(objects: usize) -> String {
    format!("{objects} object{}", if objects == 1 { "" } else { "s" })
}

fn described(shape: &Shape, places: &[Location]) -> String {
    let bytes: usize = places.iter().map(|location| shape.payload(*location).len()).sum();
    format!("{} of {bytes} bytes", counted(places.len()))
}

fn described_places<'a>(places: impl Iterator<Item = &'a Location>) -> String {
    let places: Vec<_> = places.map(Location::to_string).collect();
    format!("{}: {}", counted(places.len()), places.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_differ_and_have_their_sizes() {
        let places = THREE_GROUPS.locations(0);
        assert_eq!(places.len(), 3 * SIZES.len());
        assert_eq!(THREE_GROUPS.locations(1).first(), Some(&Location::new(1, 0)));
        for (at, location) in places.iter().enumerate() {
            let payload = THREE_GROUPS.payload(*location);
            assert_eq!(payload.len(), SIZES[at % SIZES.len()]);
            let differs = |other: &Location| THREE_GROUPS.payload(*other) != payload;
            assert!(payload.len() < 8 || places[..at].iter().all(differs));
        }
        assert!(THREE_GROUPS.payload(Location::new(3, 0)).is_empty());
    }
}
