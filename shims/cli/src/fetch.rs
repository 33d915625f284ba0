//! `moqt fetch`: a past range of a track.

use std::time::Instant;

use moqt_engine::model::{EndOfRange, GroupOrder, Parameters};
use moqt_session::{FetchItem, FetchReader};
use serde::Serialize;

use crate::args::{FetchArgs, OutputArgs};
use crate::failure::Failure;
use crate::progress::{Progress, summary};
use crate::sink::Sink;

/// What came, for `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    objects: u64,
    bytes: u64,
    unknown_ranges: u64,
    end_of_track: bool,
    seconds: f64,
    interrupted: bool,
}

pub(crate) async fn run(args: &FetchArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.wanted.track.full_name()?;
    let session = crate::net::connect(&args.connect).await?;
    let progress = Progress::new(output, "fetching");
    let mut parameters = Parameters::default();
    parameters.subscriber_priority = args.wanted.priority;
    parameters.group_order = args.descending.then_some(GroupOrder::Descending);
    parameters.authorization_tokens = args.connect.tokens();
    let began = Instant::now();
    let mut reader = session
        .fetch(track.clone(), args.range, parameters)
        .await
        .map_err(|error| Failure::new(format!("cannot fetch {track}: {error}")))?;
    let mut report = Report { end_of_track: reader.answer().end_of_track, ..Report::default() };
    let mut sink = Sink::open(&args.wanted.sink, &track).await?;
    let received = tokio::select! {
        received = receive(&mut reader, &mut sink, &mut report, &progress) => received,
        _ = tokio::signal::ctrl_c() => {
            report.interrupted = true;
            Ok(())
        }
    };
    sink.flush().await?;
    report.seconds = began.elapsed().as_secs_f64();
    drop(reader);
    crate::net::leave(&session).await;
    progress.finish();
    if output.json {
        eprintln!("{}", serde_json::to_string(&report).map_err(|e| Failure::new(e.to_string()))?);
    } else {
        progress.say(&summary(report.objects, report.bytes, began.elapsed()));
    }
    received?;
    if report.unknown_ranges > 0 {
        return Err(Failure::new(format!(
            "the copy is not complete: {} ranges are not known to the publisher any more",
            report.unknown_ranges
        )));
    }
    Ok(())
}

async fn receive(
    reader: &mut FetchReader,
    sink: &mut Sink,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Failure> {
    while let Some(item) = sink.flushed_before(reader.next()).await?? {
        match item {
            FetchItem::Object(object) => {
                report.objects += 1;
                report.bytes += object.payload_len;
                progress.count(usize::try_from(object.payload_len).unwrap_or_default());
                sink.object(object.location, object.payload_len).await?;
                while let Some(piece) = sink.flushed_before(reader.chunk(usize::MAX)).await?? {
                    sink.payload(&piece).await?;
                }
            }
            FetchItem::EndOfRange { location, kind: EndOfRange::Unknown } => {
                report.unknown_ranges += 1;
                progress.say(&format!("not known any more: what there was up to {location}"));
            }
            _ => {}
        }
    }
    Ok(())
}
