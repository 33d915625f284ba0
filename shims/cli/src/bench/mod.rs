//! `moqt bench`: how fast objects go, how long they take, and what that costs.

mod args;
mod load;
mod meter;
mod report;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use moqt_engine::Accept;
use moqt_engine::model::{FullTrackName, Parameters};
use moqt_quinn_proto::{Identity, ServerOptions, Verify};
use moqt_relay_server::{Relay, RelayOptions};
use moqt_session::{Error, Incoming, NamespacePublication, Publication, Session, Subscription};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};

pub(crate) use args::{BenchArgs, EXAMPLES};
use args::{LoopbackArgs, PublishArgs, SubscribeArgs, ThroughArgs, What};
use load::{Load, Sent};
use meter::{Meter, Tally};
use report::Reporter;

use crate::args::OutputArgs;
use crate::failure::Failure;

/// How long everybody has to get together.
const PREPARING: Duration = Duration::from_secs(30);
/// How long what was sent last may be on its way.
const LAST_ONES: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: &BenchArgs, output: &OutputArgs) -> Result<(), Failure> {
    match &args.what {
        What::Loopback(args) => loopback(args, output).await,
        What::Relay(args) => through(args, 1, (Duration::ZERO, Duration::ZERO), output).await,
        What::Fanout(args) => {
            let waits = (args.stagger, args.startup);
            through(&args.through, args.subscribers, waits, output).await
        }
        What::Pub(args) => publish(args, output).await,
        What::Sub(args) => subscribe(args, output).await,
    }
}

/// A publisher and a subscriber in this process, over UDP and without a relay.
async fn loopback(args: &LoopbackArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = unique()?;
    let load = args.load.load(args.load.duration.unwrap_or(args::DURATION));
    let listener = crate::net::listen_here(&args.drafts)?;
    let url = url(args.webtransport, listener.local_addr());
    let verify = Verify::Pinned(vec![listener.hash()]);
    let accepted = tokio::spawn(async move {
        let session = listener.accept().await?;
        Ok::<_, Failure>((session, listener))
    });
    let client = crate::net::connect_here(&url, verify, &args.drafts).await?;
    let (server, listener) = accepted.await.map_err(|error| Failure::new(error.to_string()))??;
    let (subscription, publication) = together(&client, &server, &track, None).await?;
    let publication = publication.ok_or_else(|| Failure::new("nobody subscribed"))?;
    note(output, &format!("{} over {url}", client.draft()));
    let meters = vec![Arc::new(Meter::new(load.timestamp, true)?)];
    let draft = server.draft();
    let sending = tokio::spawn(async move { load.send(draft, publication).await });
    let measured = measure(vec![subscription], meters, Some((load, sending)), &args.load, output);
    let measured = measured.await;
    crate::net::close(&client).await;
    drop(server);
    listener.close().await;
    measured
}

/// A publisher and its subscribers in this process, and a relay between them, which is in this
/// process too if it is not somewhere else.
async fn through(
    args: &ThroughArgs,
    subscribers: usize,
    (stagger, startup): (Duration, Duration),
    output: &OutputArgs,
) -> Result<(), Failure> {
    let track = unique()?;
    let load = args.load.load(args.load.duration.unwrap_or(args::DURATION));
    let (url, verify, _relay) = if let Some(url) = &args.url {
        (url.clone(), args.verify(), None)
    } else {
        let identity =
            Identity::self_signed([]).map_err(|error| Failure::new(error.to_string()))?;
        let hash = identity.sha256();
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let relay = Relay::start(RelayOptions::new(anywhere, ServerOptions::new(identity)))?;
        (url(args.webtransport, relay.local_addr()), Verify::Pinned(vec![hash]), Some(relay))
    };
    let publisher = crate::net::connect_here(&url, verify.clone(), &args.drafts).await?;
    let namespace = track.namespace().clone();
    let announced = publisher.publish_namespace(namespace, Parameters::default()).await;
    let _announced: NamespacePublication =
        announced.map_err(|error| Failure::new(format!("{url} takes no publisher: {error}")))?;
    note(output, &format!("{} through {url}", publisher.draft()));
    let (mut sessions, mut subscriptions) = (Vec::new(), Vec::new());
    let mut publication = None;
    for number in 0..subscribers {
        if number > 0 {
            sleep(stagger).await;
        }
        let session = crate::net::connect_here(&url, verify.clone(), &args.drafts).await?;
        let (subscription, asked) =
            together(&session, &publisher, &track, publication.as_ref()).await?;
        publication = publication.or(asked);
        subscriptions.push(subscription);
        sessions.push(session);
    }
    sleep(startup).await;
    let publication = publication.ok_or_else(|| Failure::new("nobody subscribed"))?;
    let mut meters = Vec::new();
    for _ in 0..subscribers {
        meters.push(Arc::new(Meter::new(load.timestamp, true)?));
    }
    let draft = publisher.draft();
    let sending = tokio::spawn(async move { load.send(draft, publication).await });
    let measured = measure(subscriptions, meters, Some((load, sending)), &args.load, output).await;
    for session in sessions {
        session.close(moqt_engine::model::SessionError::NoError, "");
    }
    crate::net::close(&publisher).await;
    measured
}

/// A publisher alone.
async fn publish(args: &PublishArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.track.full_name()?;
    let load = args.load.load(args.load.duration.unwrap_or(args::DURATION));
    let session = crate::net::connect(&args.connect).await?;
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = args.connect.tokens();
    let announced = session.publish_namespace(track.namespace().clone(), parameters).await;
    let _announced = announced
        .map_err(|error| Failure::new(format!("{} was not taken: {error}", track.namespace())))?;
    note(output, &format!("publishing {track} once somebody subscribes to it"));
    let publication = tokio::select! {
        publication = asked_for(&session, &track) => publication?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    let sent = tokio::select! {
        sent = load.send(session.draft(), publication) => sent?,
        _ = tokio::signal::ctrl_c() => Sent::default(),
    };
    crate::net::leave(&session).await;
    let Sent { objects, dropped, seconds } = sent;
    let per_second = crate::progress::to_f64(objects) / seconds.max(1e-9);
    if output.json {
        let report = serde_json::json!({
            "kind": "sent", "objects": objects, "datagrams_dropped": dropped, "seconds": seconds,
            "objects_per_second": per_second,
        });
        println!("{report}");
    } else {
        println!("sent {objects} objects in {seconds:.1} s: {per_second:.0} objects/s");
    }
    if let Some(slow) = fell_short(&load, &sent) {
        note(output, &slow);
    }
    Ok(())
}

/// A subscriber alone.
async fn subscribe(args: &SubscribeArgs, output: &OutputArgs) -> Result<(), Failure> {
    let track = args.track.full_name()?;
    let session = crate::net::connect(&args.connect).await?;
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = args.connect.tokens();
    let subscription = crate::subscribe::subscribe(&session, &track, parameters).await?;
    note(output, &format!("measuring {track}"));
    let meter = Arc::new(Meter::new(args.load.timestamp_property, args.verify)?);
    let measured = measure(vec![subscription], vec![meter], None, &args.load, output).await;
    crate::net::leave(&session).await;
    measured
}

/// Subscribes to a track, and waits until its publisher is asked for it, unless it was before.
async fn together(
    subscriber: &Session,
    publisher: &Session,
    track: &FullTrackName,
    before: Option<&Publication>,
) -> Result<(Subscription, Option<Publication>), Failure> {
    let subscribed =
        async { crate::subscribe::subscribe(subscriber, track, Parameters::default()).await };
    let asked = async {
        match before {
            Some(_) => Ok(None),
            None => asked_for(publisher, track).await.map(Some),
        }
    };
    let both = async { tokio::try_join!(subscribed, asked) };
    let late = |_| Failure::new(format!("nobody was subscribed to {track} within 30 s"));
    timeout(PREPARING, both).await.map_err(late)?
}

/// Waits for a SUBSCRIBE of the track.
async fn asked_for(session: &Session, track: &FullTrackName) -> Result<Publication, Failure> {
    loop {
        match session.accept_request().await? {
            Incoming::Subscribe(subscribe) if subscribe.track() == track => {
                return Ok(subscribe.accept(Accept::default())?);
            }
            _ => {}
        }
    }
}

/// Measures what comes of some subscriptions, and says so.
async fn measure(
    subscriptions: Vec<Subscription>,
    meters: Vec<Arc<Meter>>,
    sending: Option<(Load, JoinHandle<Result<Sent, Failure>>)>,
    args: &args::LoadArgs,
    output: &OutputArgs,
) -> Result<(), Failure> {
    let mut reporter = Reporter::new(output, args.report.as_deref())?;
    // What we send ends by itself; of others nobody knows.
    let time = match &sending {
        Some((load, _)) => Some(load.time + LAST_ONES),
        None => args.duration,
    };
    let mut reading = JoinSet::new();
    for (number, (subscription, meter)) in subscriptions.into_iter().zip(&meters).enumerate() {
        let meter = meter.clone();
        reading.spawn(async move { (number, meter.run(subscription, time).await) });
    }
    let mut problems = Vec::new();
    let mut ticks = interval_at(tokio::time::Instant::now() + args.interval, args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut interrupted = false;
    loop {
        tokio::select! {
            read = reading.join_next() => match read {
                None => break,
                Some(read) => {
                    let (number, ended) = read.map_err(|error| Failure::new(error.to_string()))?;
                    problems.extend(trouble(number, &ended, sending.is_some()));
                }
            },
            _ = ticks.tick() => {
                let mut all = Tally::new()?;
                for meter in &meters {
                    all.add(&meter.read().await.0);
                }
                reporter.interval(&all)?;
            }
            _ = tokio::signal::ctrl_c() => {
                interrupted = true;
                break;
            }
        }
    }
    let mut all = Tally::new()?;
    let mut received = Vec::new();
    for meter in &meters {
        let (_, total) = meter.read().await;
        received.push(total.objects);
        all.add(&total);
    }
    let sent = match sending {
        Some((load, sending)) if !interrupted => {
            let sent = sending.await.map_err(|error| Failure::new(error.to_string()))??;
            if let Some(slow) = fell_short(&load, &sent) {
                note(output, &slow);
            }
            Some((load, sent))
        }
        _ => None,
    };
    let lost = sent.map(|(_, sent)| {
        received.iter().map(|received| sent.objects.saturating_sub(*received)).sum::<u64>()
    });
    reporter.total(&all, lost)?;
    if let Some((load, sent)) = sent {
        for (number, received) in received.iter().enumerate() {
            // Datagrams may be lost, but not all of them.
            let is_starved = *received == 0 || !load.datagram && *received < sent.objects;
            if is_starved {
                let of = sent.objects;
                problems.push(format!("subscriber {number} got {received} of {of} objects"));
            }
        }
    }
    if all.corrupt > 0 {
        problems.push(format!("{} objects were not what they should be", all.corrupt));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("; "))) }
}

/// What is wrong with how a subscription ended.
fn trouble(number: usize, ended: &Result<bool, Error>, must_end: bool) -> Option<String> {
    match ended {
        Ok(false) if must_end => Some(format!("the track of subscriber {number} did not end")),
        Ok(_) => None,
        Err(error) => Some(format!("subscriber {number}: {error}")),
    }
}

/// Says so if less was sent than should have been.
fn fell_short(load: &Load, sent: &Sent) -> Option<String> {
    let achieved = crate::progress::to_f64(sent.objects) / sent.seconds.max(1e-9);
    (load.rate > 0.0 && achieved < 0.98 * load.rate).then(|| {
        format!(
            "the publisher was the limit: it sent {achieved:.0} of {:.0} objects/s, held back by \
             what the path takes or by this machine",
            load.rate
        )
    })
}

/// A track of its own for each run.
fn unique() -> Result<FullTrackName, Failure> {
    let number = load::unix_micros();
    let name = format!("bench-{number}--track").parse();
    name.map_err(|error| Failure::new(format!("{error}")))
}

fn url(webtransport: bool, address: std::net::SocketAddr) -> String {
    let scheme = if webtransport { "https" } else { "moqt" };
    format!("{scheme}://{address}/")
}

fn note(output: &OutputArgs, text: &str) {
    if !output.quiet {
        eprintln!("{text}");
    }
}
