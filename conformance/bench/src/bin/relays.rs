//! What a relay in another process costs: any relay that is given by its URL.
//!
//! `relays --url moqt://127.0.0.1:4443 --pid PID`, or `relays --url … -- COMMAND [ARGUMENT]…` to
//! start it and end it. Options, with what they are otherwise: `--draft 18`, `--offer namespace`
//! (or `track`, by PUBLISH), `--subscribers 1,10,100`, `--sizes 1024,8192`, `--seconds 4` for each
//! load. With `--idle N`, only what that many subscribers take in memory that get nothing.
//!
//! It prints a line for each number of subscribers and size, with tabs in between: draft, both,
//! objects delivered a second, the relay's CPU seconds for a million of them, latency (p50, p99) of
//! 100 objects a second and at half of what it can hand on, in milliseconds, and how many were lost
//! of all. `conformance/bench/relays` makes a table of several relays from that.

use std::env;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use moqt_bench::relays::{Gathering, Load, Offer, Outcome, Relay, connect, idle_subscribers};
use moqt_engine::Draft;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is on its way to each subscriber at most, in bytes.
const AHEAD: usize = 512 * 1024;
/// Objects a second that are no load.
const NO_LOAD: f64 = 100.0;
/// How long a relay may take to start.
const STARTING: Duration = Duration::from_secs(20);

/// What is measured.
struct Options {
    url: String,
    pid: Option<u32>,
    command: Vec<String>,
    draft: Draft,
    offer: Offer,
    subscribers: Vec<usize>,
    sizes: Vec<usize>,
    time: Duration,
    idle: Option<usize>,
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let measured =
        Options::parse(env::args().skip(1)).and_then(|options| runtime.block_on(measure(&options)));
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relays: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut this = Self {
            url: String::new(),
            pid: None,
            command: Vec::new(),
            draft: Draft::D18,
            offer: Offer::Namespace,
            subscribers: vec![1, 10, 100],
            sizes: vec![1024, 8192],
            time: Duration::from_secs(4),
            idle: None,
        };
        while let Some(name) = arguments.next() {
            if name == "--" {
                this.command = arguments.by_ref().collect();
                break;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} lacks a value"))?;
            match name.as_str() {
                "--url" => this.url = value,
                "--pid" => this.pid = Some(value.parse()?),
                "--draft" => this.draft = value.parse()?,
                "--offer" if value == "namespace" => this.offer = Offer::Namespace,
                "--offer" if value == "track" => this.offer = Offer::Track,
                "--subscribers" => this.subscribers = numbers(&value)?,
                "--sizes" => this.sizes = numbers(&value)?,
                "--seconds" => this.time = Duration::from_secs_f64(value.parse()?),
                "--idle" => this.idle = Some(value.parse()?),
                _ => return Err(format!("{name} {value} means nothing").into()),
            }
        }
        if this.pid.is_some() != this.command.is_empty() {
            return Err("either --pid or a command is needed".into());
        }
        Ok(this)
    }

    fn load(&self, subscribers: usize, size: usize, rate: Option<f64>) -> Load {
        Load {
            draft: self.draft,
            offer: self.offer,
            subscribers,
            size,
            time: self.time,
            rate,
            ahead: (AHEAD / size.max(1)) as u64,
        }
    }
}

fn numbers(list: &str) -> Result<Vec<usize>, Error> {
    Ok(list.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

/// A relay that was started here. It ends with this.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(options: &Options) -> Result<(), Error> {
    let mut started = None;
    if let Some((program, arguments)) = options.command.split_first() {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        started = Some(Started(command.spawn().map_err(|error| format!("{program}: {error}"))?));
    }
    let process = options.pid.or(started.as_ref().map(|started| started.0.id()));
    let process = process.ok_or("no process to measure")?;
    let relay = Relay { target: options.url.parse()?, process, token: None };
    await_start(&relay, options.draft).await?;
    if let Some(subscribers) = options.idle {
        let bytes = idle_subscribers(&relay, options.load(subscribers, 8, None)).await?;
        println!("{} KiB for each of {subscribers} idle subscribers", bytes / 1024);
        return Ok(());
    }
    let mut number = 0;
    for &subscribers in &options.subscribers {
        for &size in &options.sizes {
            let mut once = async |rate| {
                number += 1;
                let load = options.load(subscribers, size, rate);
                let name = format!("run-{number}");
                Gathering::new(relay.clone(), load, &name).await?.run().await
            };
            let full = once(None).await?;
            let no_load = once(Some(NO_LOAD)).await?;
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let half = once(Some(rate(&full) / subscribers as f64 / 2.0)).await?;
            report(options.draft, subscribers, size, &[full, no_load, half]);
        }
    }
    Ok(())
}

async fn await_start(relay: &Relay, draft: Draft) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        match connect(relay, draft).await {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > STARTING => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn rate(outcome: &Outcome) -> f64 {
    outcome.delivered as f64 / outcome.wall
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(draft: Draft, subscribers: usize, size: usize, outcomes: &[Outcome; 3]) {
    let [full, no_load, half] = outcomes;
    let cpu = full.cpu * 1e6 / full.delivered.max(1) as f64;
    let lost: u64 = outcomes.iter().map(|outcome| outcome.lost).sum();
    let all = lost + outcomes.iter().map(|outcome| outcome.delivered).sum::<u64>();
    println!(
        "{}\t{subscribers}\t{size}\t{:.0}\t{cpu:.2}\t{}\t{}\t{}\t{}\t{lost}/{all}",
        draft.number(),
        rate(full),
        latency(no_load, 50),
        latency(no_load, 99),
        latency(half, 50),
        latency(half, 99),
    );
}

/// A percentile, in milliseconds.
fn latency(outcome: &Outcome, percentile: usize) -> String {
    outcome.latency(percentile).map_or("-".into(), |latency| format!("{latency:.2}"))
}
