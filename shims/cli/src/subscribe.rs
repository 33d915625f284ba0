//! `moqt sub`: a track to standard output.

use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt_engine::model::{
    FullTrackName, JoiningStart, Location, Parameters, PublishDoneCode, SubscriptionFilter,
};
use moqt_engine::track::TrackRead;
use moqt_session::{Error, Session, Subscription, TrackReader};
use serde::Serialize;

use crate::args::{ConnectArgs, OutputArgs, ReconnectArgs, SubscribeArgs, WantedArgs};
use crate::failure::Failure;
use crate::progress::{Progress, summary};
use crate::sink::Sink;

/// What came, for `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    objects: u64,
    bytes: u64,
    gaps: u64,
    aborted: u64,
    late: u64,
    seconds: f64,
    end: String,
}

pub(crate) async fn run(args: &SubscribeArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.wanted.track.full_name()?;
    let session = crate::net::connect(&args.connect).await?;
    let progress = Progress::new(output, "receiving");
    let mut parameters = Parameters::default();
    parameters.subscription_filter = args.filter.0;
    parameters.subscriber_priority = args.wanted.priority;
    parameters.authorization_tokens = args.connect.tokens();
    let subscription = subscribe(&session, &track, parameters).await?;
    let largest = subscription.answer().and_then(|answer| answer.parameters.largest_object);
    if let Some(folder) = &args.wanted.sink.out
        && args.filter.0.is_none()
        && largest == Some(Location::ZERO)
    {
        let mut parameters = Parameters::default();
        parameters.authorization_tokens = args.connect.tokens();
        if let Some(catalog) = crate::folder::catalog_of(&session, &track, parameters).await? {
            let to = (args, folder.as_path());
            return crate::folder::copy(session, catalog, to, (output, progress)).await;
        }
    }
    let start = args.filter.0.map_or_else(
        || largest.map_or(Some(Location::ZERO), after),
        |filter| Some(filter.start(largest)),
    );
    let reader = subscription.into_ordered(args.gap_timeout, start);
    let again = Again {
        connect: &args.connect,
        reconnect: args.reconnect,
        wanted: &args.wanted,
        gap_timeout: args.gap_timeout,
    };
    let sink = Sink::open(&args.wanted.sink, &track).await?;
    write_out(session, reader, sink, Some(again), output, &progress).await
}

/// Subscribes to a track.
pub(crate) async fn subscribe(
    session: &Session,
    track: &FullTrackName,
    parameters: Parameters,
) -> Result<Subscription, Failure> {
    let subscribed = session.subscribe(track.clone(), parameters).await;
    subscribed.map_err(|error| Failure::new(format!("cannot subscribe to {track}: {error}")))
}

/// What it takes to go on with a track after its session was lost.
#[derive(Clone, Copy)]
pub(crate) struct Again<'a> {
    pub(crate) connect: &'a ConnectArgs,
    pub(crate) reconnect: ReconnectArgs,
    pub(crate) wanted: &'a WantedArgs,
    pub(crate) gap_timeout: Duration,
}

impl Again<'_> {
    /// Connects again, and reads on from a place.
    async fn read_on(&self, place: Place) -> Result<(Session, TrackReader), Failure> {
        let track = self.wanted.track.full_name()?;
        let session = crate::net::connect(self.connect).await?;
        let mut parameters = Parameters::default();
        parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
        parameters.subscriber_priority = self.wanted.priority;
        parameters.authorization_tokens = self.connect.tokens();
        let subscription = subscribe(&session, &track, parameters).await?;
        let largest = subscription.answer().and_then(|answer| answer.parameters.largest_object);
        let reader = match place.next() {
            // What was published meanwhile is fetched.
            Some(next) if largest.is_some_and(|largest| largest >= next) => {
                let start = JoiningStart::Absolute(next.group);
                let mut parameters = Parameters::default();
                parameters.authorization_tokens = self.connect.tokens();
                let joined = subscription.into_joined(start, self.gap_timeout, parameters).await;
                joined.map_err(|error| {
                    Failure::new(format!("cannot fetch what was missed of {track}: {error}"))
                })?
            }
            next => {
                let start = next.or_else(|| largest.map_or(Some(Location::ZERO), after));
                subscription.into_ordered(self.gap_timeout, start)
            }
        };
        Ok((session, reader))
    }
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The last object that was written whole.
    done: Option<Location>,
    /// The object that was begun after it, and how much of it was written.
    begun: Option<(Location, u64)>,
    /// Bytes to come of the object that is being read, and those of them that were written before.
    left: u64,
    skip: u64,
}

impl Place {
    /// What is to be read next.
    fn next(&self) -> Option<Location> {
        self.begun.map(|(location, _)| location).or_else(|| self.done.and_then(after))
    }

    /// An object begins. Whether it is new.
    fn object(&mut self, location: Location, payload_len: u64) -> bool {
        self.left = payload_len;
        self.skip = match self.begun {
            Some((begun, written)) if begun == location => written,
            _ if self.done >= Some(location) => payload_len,
            _ => 0,
        };
        if self.done >= Some(location) {
            return false;
        }
        let is_new = self.begun.is_none_or(|(begun, _)| begun != location);
        if is_new {
            self.begun = Some((location, 0));
        }
        if payload_len == 0 {
            self.finish();
        }
        is_new
    }

    /// Payload came: the part of it that is to be written.
    fn payload(&mut self, payload: &Bytes) -> Bytes {
        let len = payload.len() as u64;
        let skip = self.skip.min(len);
        self.skip -= skip;
        self.left = self.left.saturating_sub(len);
        let rest = payload.slice(usize::try_from(skip).unwrap_or(payload.len())..);
        if let Some((_, written)) = &mut self.begun {
            *written += rest.len() as u64;
        }
        if self.left == 0 {
            self.finish();
        }
        rest
    }

    fn finish(&mut self) {
        if let Some((location, _)) = self.begun.take() {
            self.done = self.done.max(Some(location));
        }
    }
}

/// Why nothing more comes.
enum Broken {
    /// The session was lost, or the publisher: another try may go on.
    Lost(Failure),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes out all that comes of a track, says what that was, and leaves.
pub(crate) async fn write_out(
    mut session: Session,
    mut reader: TrackReader,
    mut sink: Sink,
    again: Option<Again<'_>>,
    output: &OutputArgs,
    progress: &Progress,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut report = Report::default();
    let mut place = Place::default();
    let copied = async {
        loop {
            let copied = receive(&mut reader, &mut sink, &mut place, &mut report, progress).await;
            let why = match copied {
                Ok(()) => return Ok(()),
                Err(Broken::Failed(failure)) => return Err(failure),
                Err(Broken::Lost(why)) => why,
            };
            let Some(again) = again else { return Err(why) };
            sink.flush().await?;
            report.late += reader.late_objects();
            let attempt = async || again.read_on(place).await;
            let went_on = crate::again::go_on(again.reconnect, why, progress, attempt).await;
            (session, reader) = went_on?;
        }
    };
    let interrupted = tokio::select! {
        copied = copied => Some(copied),
        _ = tokio::signal::ctrl_c() => None,
    };
    let received = interrupted.unwrap_or_else(|| {
        report.end = "interrupted".into();
        Ok(())
    });
    sink.flush().await?;
    report.late += reader.late_objects();
    report.seconds = began.elapsed().as_secs_f64();
    drop(reader);
    crate::net::leave(&session).await;
    progress.finish();
    if output.json {
        eprintln!("{}", serde_json::to_string(&report).map_err(|e| Failure::new(e.to_string()))?);
    } else {
        let line = summary(report.objects, report.bytes, began.elapsed());
        progress.say(&format!("{line} ({})", report.end));
    }
    received?;
    if report.gaps + report.aborted + report.late > 0 {
        return Err(Failure::new(format!(
            "the copy is not complete: {} gaps, {} objects cut off, {} too late",
            report.gaps, report.aborted, report.late
        )));
    }
    Ok(())
}

/// Without a filter, the first object is one after the largest published so far.
pub(crate) fn after(largest: Location) -> Option<Location> {
    Some(Location::new(largest.group, largest.object.checked_add(1)?))
}

async fn receive(
    reader: &mut TrackReader,
    sink: &mut Sink,
    place: &mut Place,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Broken> {
    loop {
        let read = match sink.flushed_before(reader.next()).await? {
            Err(error @ Error::Closed(_)) => return Err(Broken::Lost(error.into())),
            read => read?,
        };
        match read {
            // One that was written before a session was lost is read over.
            TrackRead::Object { location, payload_len, .. }
                if place.object(location, payload_len) =>
            {
                report.objects += 1;
                report.bytes += payload_len;
                progress.count(usize::try_from(payload_len).unwrap_or_default());
                sink.object(location, payload_len).await?;
            }
            TrackRead::Payload(payload) => sink.payload(&place.payload(&payload)).await?,
            TrackRead::Datagram(datagram) => {
                report.objects += 1;
                report.bytes += datagram.payload.len() as u64;
                progress.count(datagram.payload.len());
                sink.object(datagram.header.location, datagram.payload.len() as u64).await?;
                sink.payload(&datagram.payload).await?;
            }
            // A relay that has just begun to follow a track cannot say how far it had come.
            TrackRead::Gap { to, .. } if report.objects == 0 => {
                progress.say(&format!("the track had begun: the first object is {to}"));
            }
            TrackRead::Gap { from, to } => {
                report.gaps += 1;
                progress.say(&format!("missing: {from} to before {to}"));
            }
            TrackRead::Aborted { code } => {
                report.aborted += 1;
                progress.say(&format!("an object was cut off: {code}"));
            }
            TrackRead::Done { code, reason } => {
                report.end = code.to_string();
                let is_end = matches!(
                    code,
                    PublishDoneCode::TrackEnded | PublishDoneCode::SubscriptionEnded
                );
                return if is_end {
                    Ok(())
                } else {
                    let why = if reason.is_empty() { "" } else { ": " };
                    let reason = reason.escape_debug();
                    let text = format!("the publisher ended the track: {code}{why}{reason}");
                    Err(Broken::Lost(Failure::new(text)))
                };
            }
            _ => {}
        }
    }
}
