//! `moqt sub`: a track to standard output.

use std::time::Instant;

use moqt_engine::model::{Location, Parameters, PublishDoneCode};
use moqt_engine::track::TrackRead;
use moqt_session::{Session, TrackReader};
use serde::Serialize;

use crate::args::{OutputArgs, SubscribeArgs};
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
    let subscription = session
        .subscribe(track.clone(), parameters)
        .await
        .map_err(|error| Failure::new(format!("cannot subscribe to {track}: {error}")))?;
    let largest = subscription.answer().and_then(|answer| answer.parameters.largest_object);
    let start = args.filter.0.map_or_else(
        || largest.map_or(Some(Location::ZERO), after),
        |filter| Some(filter.start(largest)),
    );
    let reader = subscription.into_ordered(args.gap_timeout, start);
    let sink = Sink::open(&args.wanted.sink, &track).await?;
    write_out(&session, reader, sink, output, &progress).await
}

/// Writes out all that comes of a track, says what that was, and leaves.
pub(crate) async fn write_out(
    session: &Session,
    mut reader: TrackReader,
    mut sink: Sink,
    output: &OutputArgs,
    progress: &Progress,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut report = Report::default();
    let received = tokio::select! {
        received = receive(&mut reader, &mut sink, &mut report, progress) => received,
        _ = tokio::signal::ctrl_c() => {
            report.end = "interrupted".into();
            Ok(())
        }
    };
    sink.flush().await?;
    report.late = reader.late_objects();
    report.seconds = began.elapsed().as_secs_f64();
    drop(reader);
    crate::net::leave(session).await;
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
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Failure> {
    loop {
        match sink.flushed_before(reader.next()).await?? {
            TrackRead::Object { location, payload_len, .. } => {
                report.objects += 1;
                report.bytes += payload_len;
                progress.count(usize::try_from(payload_len).unwrap_or_default());
                sink.object(location, payload_len).await?;
            }
            TrackRead::Payload(payload) => sink.payload(&payload).await?,
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
                    Err(Failure::new(format!("the publisher ended the track: {code}{why}{reason}")))
                };
            }
            _ => {}
        }
    }
}
