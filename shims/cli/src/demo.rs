//! `moqt demo`: a publisher and a subscriber, over real QUIC, in one process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;
use moqt_engine::model::{FullTrackName, Location, Parameters, Property, PublishDoneCode};
use moqt_engine::track::{PublishedTrack, TrackLayout, TrackRead};
use moqt_engine::wire::Properties;
use moqt_engine::{Accept, Draft};
use moqt_session::{Incoming, Session};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::args::{DemoArgs, OutputArgs};
use crate::failure::Failure;
use crate::origin::Pace;
use crate::progress::{Progress, hex, summary, to_f64};

/// Microseconds since the Unix epoch, on each object: what aiomoqt's benchmarks use, too.
const TIMESTAMP: u64 = 0x20;

/// The largest latency that the histogram tells apart, in microseconds.
const MAX_LATENCY: u64 = 60_000_000;

/// What was sent, and what came.
#[derive(Debug, Default, Serialize)]
struct Tally {
    objects: u64,
    bytes: u64,
    sha256: String,
}

/// The outcome, for `--json`.
#[derive(Debug, Serialize)]
struct Report {
    draft: u8,
    sent: Tally,
    received: Tally,
    seconds: f64,
    objects_per_second: f64,
    mbit_per_second: f64,
    latency_us: Latency,
    ok: bool,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

pub(crate) async fn run(args: &DemoArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track: FullTrackName =
        "demo--track".parse().map_err(|error| Failure::new(format!("{error}")))?;
    let listener = crate::net::listen_for_demo(args)?;
    let address = listener.local_addr();
    let progress = Progress::new(output, "demo");
    let url = crate::net::demo_url(address, args);
    progress.say(&format!("publishing {track} on {url}, and subscribing to it"));

    let hash = listener.hash();
    let (published, tally) = oneshot::channel();
    let publisher_args = args.clone();
    let publisher = tokio::spawn(async move {
        let session = listener.accept().await?;
        let sent = publish(&session, &publisher_args).await?;
        let _ = published.send(sent);
        // The subscriber leaves when it has everything.
        session.closed().await;
        listener.close().await;
        Ok::<(), Failure>(())
    });

    let client = crate::net::connect_for_demo(address, hash, args).await?;
    let began = Instant::now();
    let draft = client.draft();
    let received = tokio::select! {
        received = receive(&client, track, &progress) => received,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
    };
    let elapsed = began.elapsed();
    crate::net::close(&client).await;
    progress.finish();
    let (received, latency) = match received {
        Ok(received) => received,
        Err(failure) => {
            // If the publisher knows more about why, its word is worth more.
            if publisher.is_finished()
                && let Ok(Err(cause)) = publisher.await
            {
                return Err(cause);
            }
            return Err(failure);
        }
    };
    let sent = tally.await.map_err(|_| Failure::new("the publisher failed"))?;
    let _ = publisher.await;
    report(output, &progress, draft, elapsed, sent, received, &latency)
}

/// Waits for a subscriber and sends it objects until the time is up.
async fn publish(session: &Session, args: &DemoArgs) -> Result<Tally, Failure> {
    let subscribe = loop {
        if let Incoming::Subscribe(subscribe) = session.accept_request().await? {
            break subscribe;
        }
    };
    let publication = subscribe.accept(Accept::default())?;
    let mut writer = publication.into_track_with(PublishedTrack::with_properties);
    let mut layout = TrackLayout::new(Location::ZERO, args.streams);
    let mut pace = Pace::new(args.rate);
    let mut hash = Sha256::new();
    let mut tally = Tally::default();
    let dialect = session.draft().dialect();
    let began = Instant::now();
    while began.elapsed() < args.duration {
        pace.wait().await;
        let payload = payload(tally.objects, args.object_size as usize);
        hash.update(&payload);
        tally.objects += 1;
        tally.bytes += payload.len() as u64;
        let slot = layout.place(layout.next().object + 1 >= args.group_size);
        let stamp = Property::int(TIMESTAMP, unix_micros());
        writer.write(slot, &Properties::encode(dialect, [&stamp])?, payload).await?;
    }
    writer.done(PublishDoneCode::TrackEnded, "");
    tally.sha256 = hex(&hash.finalize());
    Ok(tally)
}

/// Takes everything in, in order.
async fn receive(
    session: &Session,
    track: FullTrackName,
    progress: &Progress,
) -> Result<(Tally, Histogram<u64>), Failure> {
    let subscription = session.subscribe(track, Parameters::default()).await?;
    let mut reader = subscription.into_ordered(Duration::from_secs(2), Some(Location::ZERO));
    let mut latency = Histogram::new_with_bounds(1, MAX_LATENCY, 3)
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut hash = Sha256::new();
    let mut tally = Tally::default();
    loop {
        match reader.next().await? {
            TrackRead::Object { payload_len, properties, .. } => {
                tally.objects += 1;
                tally.bytes += payload_len;
                progress.count(usize::try_from(payload_len).unwrap_or_default());
                if let Some(sent) = properties.int(TIMESTAMP) {
                    latency.saturating_record(unix_micros().saturating_sub(sent).max(1));
                }
            }
            TrackRead::Payload(payload) => hash.update(&payload),
            TrackRead::Done { .. } => break,
            TrackRead::Gap { from, to } => {
                progress.say(&format!("missing: {from} to before {to}"));
            }
            _ => {}
        }
    }
    tally.sha256 = hex(&hash.finalize());
    Ok((tally, latency))
}

fn report(
    output: &OutputArgs,
    progress: &Progress,
    draft: Draft,
    elapsed: Duration,
    sent: Tally,
    received: Tally,
    latency: &Histogram<u64>,
) -> Result<(), Failure> {
    let ok = sent.sha256 == received.sha256 && sent.objects == received.objects;
    let percentile = |of: f64| latency.value_at_quantile(of);
    let latency = Latency {
        mean: latency.mean(),
        p50: percentile(0.5),
        p90: percentile(0.9),
        p99: percentile(0.99),
        max: latency.max(),
    };
    if output.json {
        let seconds = elapsed.as_secs_f64();
        let report = Report {
            draft: draft.number(),
            objects_per_second: to_f64(received.objects) / seconds,
            mbit_per_second: to_f64(received.bytes) * 8.0 / 1e6 / seconds,
            seconds,
            sent,
            received,
            latency_us: latency,
            ok,
        };
        println!(
            "{}",
            serde_json::to_string(&report).map_err(|error| Failure::new(error.to_string()))?
        );
    } else {
        let millis = |micros: u64| to_f64(micros) / 1000.0;
        progress.say(&format!(
            "{draft} over QUIC: {}",
            summary(received.objects, received.bytes, elapsed)
        ));
        progress.say(&format!(
            "latency: mean {:.2} ms, p50 {:.2}, p90 {:.2}, p99 {:.2}, max {:.2}",
            latency.mean / 1000.0,
            millis(latency.p50),
            millis(latency.p90),
            millis(latency.p99),
            millis(latency.max),
        ));
        progress.say(&format!("sent     sha256 {}", sent.sha256));
        progress.say(&format!("received sha256 {}", received.sha256));
        if ok {
            progress.say("they match: every object arrived, in order, as it was sent");
        }
    }
    if ok { Ok(()) } else { Err(Failure::new("what came is not what was sent")) }
}

/// Bytes that depend on the object's number.
pub(crate) fn payload(number: u64, len: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(len + 8);
    let mut word = number;
    while payload.len() < len {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        payload.extend_from_slice(&word.to_le_bytes());
    }
    payload.truncate(len);
    payload.freeze()
}

fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
