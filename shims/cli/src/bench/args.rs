//! What the command line says of a benchmark.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use moqt_quinn_proto::Verify;

use super::load::Load;
use crate::args::{ConnectArgs, DraftArgs, TrackArgs, parse_seconds};

/// For how long is published if nothing is said.
pub(super) const DURATION: Duration = Duration::from_secs(30);

pub(crate) const EXAMPLES: &str = "Examples:
  moqt bench loopback -t 10
  moqt bench loopback -r 10000 -t 10 --report loopback.csv
  moqt bench relay --draft 16 -s 8192 -t 10
  moqt bench fanout -n 100 --stagger 0.01 --startup 0 -r 500 -t 10

A subscriber and a publisher by themselves, with a relay between them:
  moqt bench pub moqt://127.0.0.1:4443 -k -n bench --trackname t -r 1000 -t 10
  moqt bench sub moqt://127.0.0.1:4443 -k -n bench --trackname t";

#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(super) what: What,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum What {
    /// A publisher and a subscriber in this process, over UDP, without a relay.
    Loopback(LoopbackArgs),
    /// A publisher and a subscriber in this process, through a relay.
    Relay(ThroughArgs),
    /// A publisher and many subscribers in this process, through a relay.
    Fanout(FanoutArgs),
    /// A publisher alone. It begins when a relay subscribes.
    Pub(PublishArgs),
    /// A subscriber alone, until the track ends.
    Sub(SubscribeArgs),
}

/// What is published, and what is said of it.
#[derive(Clone, Debug, Args)]
pub(super) struct LoadArgs {
    /// Payload bytes of an object.
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 26))]
    object_size: u32,
    /// Objects of a group.
    #[arg(short, long, value_name = "OBJECTS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    group_size: u64,
    /// Subgroups that the objects of a group are dealt to, each a stream of its own.
    #[arg(short = 'P', long, value_name = "STREAMS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    streams: u64,
    /// Objects a second of each stream; 0 means as fast as it goes.
    #[arg(short, long, value_name = "OBJECTS", default_value_t = 0.0, value_parser = parse_rate)]
    rate: f64,
    /// How long to publish, 30 if not given; `sub` measures until the track ends.
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(super) duration: Option<Duration>,
    /// How often to report.
    #[arg(short, long, value_name = "SECONDS", default_value = "5", value_parser = parse_interval)]
    pub(super) interval: Duration,
    /// Send objects in datagrams. They can be lost.
    #[arg(short = 'D', long)]
    datagram: bool,
    /// The property that says when an object was sent, in microseconds since 1970.
    #[arg(long, value_name = "TYPE", default_value_t = 0x20, value_parser = parse_property)]
    pub(super) timestamp_property: u64,
    /// Write everything to this file, too, as comma-separated values.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

impl LoadArgs {
    pub(super) fn load(&self, time: Duration) -> Load {
        #[expect(clippy::cast_precision_loss, reason = "at most 256")]
        let streams = self.streams as f64;
        Load {
            object_size: self.object_size as usize,
            group_size: self.group_size,
            streams: self.streams,
            rate: self.rate * streams,
            time,
            datagram: self.datagram,
            timestamp: self.timestamp_property,
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(super) struct LoopbackArgs {
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) drafts: DraftArgs,
    /// Over WebTransport instead of raw QUIC.
    #[arg(long)]
    pub(super) webtransport: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct ThroughArgs {
    /// The relay. Without it one is started in this process.
    pub(super) url: Option<String>,
    /// Accept any certificate. For tests: whoever is in between can read and change everything.
    #[arg(short = 'k', long, requires = "url")]
    insecure: bool,
    #[command(flatten)]
    pub(super) load: LoadArgs,
    #[command(flatten)]
    pub(super) drafts: DraftArgs,
    /// Over WebTransport instead of raw QUIC, if no URL says which.
    #[arg(long, conflicts_with = "url")]
    pub(super) webtransport: bool,
}

impl ThroughArgs {
    pub(super) fn verify(&self) -> Verify {
        crate::net::verify(self.insecure, None, None)
    }
}

#[derive(Clone, Debug, Args)]
pub(super) struct FanoutArgs {
    #[command(flatten)]
    pub(super) through: ThroughArgs,
    /// How many subscribers.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 10, value_parser = parse_subscribers)]
    pub(super) subscribers: usize,
    /// Time between two subscribers.
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = parse_seconds)]
    pub(super) stagger: Duration,
    /// Time between the last subscriber and the first object.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(super) startup: Duration,
}

#[derive(Clone, Debug, Args)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) track: TrackArgs,
    #[command(flatten)]
    pub(super) load: LoadArgs,
}

#[derive(Clone, Debug, Args)]
pub(super) struct SubscribeArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    #[command(flatten)]
    pub(super) track: TrackArgs,
    #[command(flatten)]
    pub(super) load: LoadArgs,
    /// Compare payloads with those that `moqt bench pub` sends.
    #[arg(long)]
    pub(super) verify: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1e7).contains(&rate) { Ok(rate) } else { Err("use 0 to 10000000".into()) }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_seconds(text)?;
    if interval.is_zero() { Err("use more than 0".into()) } else { Ok(interval) }
}

fn parse_subscribers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=100_000) => Ok(number),
        _ => Err("use 1 to 100000".into()),
    }
}

/// A number, also in hexadecimal; even, as those with a number for a value are.
fn parse_property(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(property) if property % 2 == 0 => Ok(property),
        Ok(_) => Err("properties with a number for a value are even".into()),
        Err(_) => Err("not a number".into()),
    }
}
