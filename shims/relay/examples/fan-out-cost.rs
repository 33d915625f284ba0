//! What it costs a relay to give a track to many subscribers, over UDP on 127.0.0.1: objects
//! delivered per second of the relay's threads, and the memory per idle subscriber. Linux only.
//!
//! `cargo run --release -p moqt-relay-server --example fan-out-cost -- SUBSCRIBERS BYTES SECONDS [SHARDS]`
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "an example")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt_engine::SubgroupOptions;
use moqt_engine::model::{FullTrackName, Parameters, TrackNamespace, TrackProperties};
use moqt_quinn_proto::{Client, ClientOptions, ClientTls, Identity, ServerOptions, Target, Verify};
use moqt_relay_server::{Relay, RelayOptions};

const GROUP: u64 = 1000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().unwrap());
    let mut argument = |default| arguments.next().unwrap_or(default);
    let (subscribers, size, seconds) = (argument(100), argument(1024), argument(5));
    let shards = u16::try_from(argument(1)).unwrap();
    let identity = Identity::self_signed([]).unwrap();
    let mut options = ClientOptions::default();
    options.tls = ClientTls::new(Verify::Pinned(vec![identity.sha256()]));
    let mut relay =
        RelayOptions::new((Ipv4Addr::LOCALHOST, 0).into(), ServerOptions::new(identity));
    relay.shards = shards;
    let relay = Relay::start(relay).unwrap();
    let target: Target = format!("moqt://{}/", relay.local_addr()).parse().unwrap();

    let name = FullTrackName::new(TrackNamespace::new(["cost"]).unwrap(), "track").unwrap();
    let publisher = Client::connect(&target, &options).await.unwrap();
    let (parameters, properties) = (Parameters::default(), TrackProperties::default());
    let publication = publisher.publish(name.clone(), parameters, properties).await.unwrap();
    publication.accepted().await.unwrap();
    let delivered = Arc::new(AtomicU64::new(0));
    let socket = Client::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    for _ in 0..subscribers {
        let session = socket.session(&target, &options).await.unwrap();
        let mut subscription =
            session.subscribe(name.clone(), Parameters::default()).await.unwrap();
        let delivered = delivered.clone();
        tokio::spawn(async move {
            let _session = session;
            while let Ok(Some(mut reader)) = subscription.next_subgroup().await {
                let mut many = Vec::new();
                while reader.read_many(&mut many, 64, 1 << 24).await.unwrap_or(0) > 0 {
                    delivered.fetch_add(many.len() as u64, Ordering::Relaxed);
                    many.clear();
                }
            }
        });
    }
    let payload = Bytes::from(vec![7; usize::try_from(size).unwrap()]);
    let (began, cpu) = (Instant::now(), relay_seconds());
    let end = began + Duration::from_secs(seconds);
    for group in 0.. {
        let writer = publication.open_subgroup(SubgroupOptions::new(group)).await.unwrap();
        let mut writer = writer.unwrap();
        for object in 0..GROUP {
            writer.write_object(object, payload.clone()).await.unwrap();
        }
        writer.finish().unwrap();
        // Subscribers are not to fall behind.
        let sent = (group + 1) * GROUP * subscribers;
        while delivered.load(Ordering::Relaxed) + 2 * GROUP * subscribers < sent {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if Instant::now() > end + Duration::from_secs(10) {
                break;
            }
        }
        if Instant::now() > end {
            break;
        }
    }
    let (objects, wall) = (delivered.load(Ordering::Relaxed) as f64, began.elapsed().as_secs_f64());
    let cpu = relay_seconds() - cpu;
    println!(
        "{subscribers} subscribers, {size} bytes, {shards} shards: {objects} objects in {wall:.2} s, \
         {cpu:.2} s of the relay's threads, {:.0} objects per second of them",
        objects / cpu
    );
}

/// Processor time of the relay's threads so far.
fn relay_seconds() -> f64 {
    let mut ticks = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((before, after)) = stat.rsplit_once(')') else { continue };
        if !before.contains("moqt-shard") {
            continue;
        }
        // User and system time are the 14th and 15th fields, the 12th and 13th after the name.
        let fields: Vec<&str> = after.split_whitespace().collect();
        ticks += fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    }
    ticks / 100.0
}
