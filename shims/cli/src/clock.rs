//! `moqt clock`: the time of day as a track, published once a second, or followed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use moqt_engine::model::{FullTrackName, Location, Parameters, PublishDoneCode};
use moqt_engine::track::Slot;
use moqt_engine::wire::Properties;
use moqt_engine::{Accept, SlowSubscriber};
use moqt_session::{Incoming, IncomingSubscribe, Session, TrackWriter};
use tokio::time::sleep;

use crate::args::{ConnectArgs, OutputArgs, TrackArgs};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::utc::rfc3339;

/// What `moqt clock --help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  moqt clock moqt://127.0.0.1:4443 -k --publish
  moqt clock https://127.0.0.1:4443/ -k

A group is a minute, and an object of it a second: its payload is the time in UTC as text.";

/// What publishers that have no opinion say: some relays cannot read streams that say nothing.
const PRIORITY: u8 = 128;

#[derive(Clone, Debug, Args)]
pub(crate) struct ClockArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Publish the time; without this it is followed.
    #[arg(long)]
    publish: bool,
    /// The namespace, its fields separated by slashes.
    #[arg(short, long, value_name = "FIELD/FIELD", default_value = "clock")]
    namespace: String,
    /// The track's name.
    #[arg(long, value_name = "NAME", default_value = "now")]
    trackname: String,
    /// Leave after so many seconds were published, or came.
    #[arg(long, value_name = "SECONDS")]
    ticks: Option<u64>,
}

pub(crate) async fn run(args: &ClockArgs, output: &OutputArgs) -> Result<(), Failure> {
    let name = TrackArgs { namespace: args.namespace.clone(), trackname: args.trackname.clone() };
    let track = name.full_name()?;
    let progress = Progress::new(output, "clock");
    let session = crate::net::connect(&args.connect).await?;
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = args.connect.tokens();
    let ticks = args.ticks.unwrap_or(u64::MAX);
    let ran = async {
        if args.publish {
            publish(&session, &track, parameters, ticks, &progress).await
        } else {
            follow(&session, track, parameters, ticks, output).await
        }
    };
    let outcome = tokio::select! {
        outcome = ran => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    crate::net::leave(&session).await;
    progress.finish();
    outcome
}

/// Publishes the time to whoever subscribes.
async fn publish(
    session: &Session,
    track: &FullTrackName,
    parameters: Parameters,
    ticks: u64,
    progress: &Progress,
) -> Result<(), Failure> {
    let namespace = track.namespace().clone();
    let announced = session.publish_namespace(namespace, parameters).await;
    let _announced = announced.map_err(|error| {
        Failure::new(format!("the namespace {} was not taken: {error}", track.namespace()))
    })?;
    progress.say(&format!("publishing {track}"));
    let mut last = None;
    let mut subscribers: Vec<TrackWriter> = Vec::new();
    let mut left = ticks;
    while left > 0 {
        let incoming = tokio::select! {
            incoming = session.accept_request() => Some(incoming?),
            () = next_second() => None,
        };
        match incoming {
            Some(Incoming::Subscribe(request)) if request.track() == track => {
                // Who has left meanwhile needs nothing.
                subscribers.extend(join(request, last));
            }
            // Refused, since it is dropped.
            Some(_) => {}
            None => {
                let (location, text) = tick(SystemTime::now());
                // A clock that was set back repeats what a track may not.
                if Some(location) <= last {
                    continue;
                }
                last = Some(location);
                left -= 1;
                let slot = Slot { location, subgroup_id: 0, ends_group: location.object == 59 };
                let mut there = Vec::new();
                for mut subscriber in subscribers {
                    let payload = text.clone().into();
                    if subscriber.write(slot, &Properties::EMPTY, payload).await.is_ok() {
                        there.push(subscriber);
                    }
                }
                subscribers = there;
            }
        }
    }
    for subscriber in subscribers {
        subscriber.done(PublishDoneCode::TrackEnded, "");
    }
    Ok(())
}

/// Accepts a subscriber. One who does not keep up with a line a second is not waited for.
fn join(request: IncomingSubscribe, largest: Option<Location>) -> Option<TrackWriter> {
    let mut parameters = Parameters::default();
    parameters.largest_object = largest;
    let publication = request.accept(Accept { parameters, ..Accept::default() }).ok()?;
    publication.when_slow(SlowSubscriber::End);
    Some(publication.into_track_with(|track| track.with_priority(PRIORITY)))
}

/// Prints the time as it comes.
async fn follow(
    session: &Session,
    track: FullTrackName,
    parameters: Parameters,
    ticks: u64,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let mut subscription = crate::subscribe::subscribe(session, &track, parameters).await?;
    for _ in 0..ticks {
        let Some(object) = subscription.next_object().await? else {
            return match subscription.done() {
                Some(done) if done.code != PublishDoneCode::TrackEnded => {
                    Err(Failure::new(format!("the clock stopped: {}", done.code)))
                }
                _ => Ok(()),
            };
        };
        let text = String::from_utf8_lossy(&object.payload);
        if output.json {
            let Location { group, object } = object.location;
            println!("{}", serde_json::json!({ "group": group, "object": object, "time": text }));
        } else {
            println!("{}", text.escape_debug());
        }
    }
    Ok(())
}

/// Where a second is in the track, and what is there.
fn tick(now: SystemTime) -> (Location, String) {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    (Location::new(seconds / 60, seconds % 60), rfc3339(now))
}

/// Waits for the next second to begin.
async fn next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    sleep(Duration::from_secs(1).saturating_sub(Duration::from_nanos(now.subsec_nanos().into())))
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_a_group() {
        let at = |seconds| tick(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(119), (Location::new(1, 59), "1970-01-01T00:01:59Z".into()));
        assert_eq!(at(120), (Location::new(2, 0), "1970-01-01T00:02:00Z".into()));
    }
}
