//! Floods a relay in another process, in one way after the other, and says whether ordinary
//! subscribers saw anything of it.
//!
//! `floods --url moqt://127.0.0.1:4443 --pid PID [KIND…]`; without a kind, all of them. Options, with
//! what they are otherwise: `--token TOKEN` for what the relay lets clients in (none),
//! `--memory 256`, the most that it may have in use, in MiB, `--draft 18`, `--subscribers 50`,
//! `--rate 50` objects a second, `--seconds 5` for each flood, `--latency 100`, the p99 that is
//! bearable, in milliseconds; 0 bears any.
//!
//! It prints a line for each flood, with tabs in between: its kind, what the offenders got, objects
//! lost of all, p99 in milliseconds, milliseconds until a newcomer had a session, the most memory in
//! use and its bound in MiB, and what is not as it should be. If there is anything, it fails.
//! `conformance/relay-floods` starts a relay for it.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use moqt_bench::floods::{Flooded, Kind, Scene, flood};
use moqt_bench::relays::{Outcome, Relay};
use moqt_engine::Draft;

type Error = Box<dyn std::error::Error + Send + Sync>;

const MEBIBYTE: u64 = 1024 * 1024;

/// What is done, and what is borne.
struct Options {
    relay: Relay,
    kinds: Vec<Kind>,
    scene: Scene,
    /// In MiB.
    memory: u64,
    /// In milliseconds.
    latency: f64,
}

fn main() -> ExitCode {
    let flooded = Options::parse(env::args().skip(1)).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(flood_all(&options))
    });
    match flooded {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("floods: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Error> {
        let (mut url, mut pid, mut token) = (None, None, None);
        let mut kinds = Vec::new();
        let (draft, time) = (Draft::D18, Duration::from_secs(5));
        let mut scene = Scene { draft, subscribers: 50, rate: 50.0, time };
        let (mut memory, mut latency) = (256, 100.0);
        while let Some(name) = arguments.next() {
            if !name.starts_with("--") {
                let kind = Kind::from_name(&name);
                kinds.push(kind.ok_or_else(|| format!("there is no flood {name}"))?);
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} lacks a value"))?;
            match name.as_str() {
                "--url" => url = Some(value.parse()?),
                "--pid" => pid = Some(value.parse()?),
                "--token" => token = Some(value.into()),
                "--memory" => memory = value.parse()?,
                "--draft" => scene.draft = value.parse()?,
                "--subscribers" => scene.subscribers = value.parse()?,
                "--rate" => scene.rate = value.parse()?,
                "--seconds" => scene.time = Duration::from_secs_f64(value.parse()?),
                "--latency" => latency = value.parse()?,
                _ => return Err(format!("{name} {value} means nothing").into()),
            }
        }
        if kinds.is_empty() {
            kinds = Kind::ALL.to_vec();
        }
        let target = url.ok_or("--url is needed")?;
        let process = pid.ok_or("--pid is needed")?;
        Ok(Self { relay: Relay { target, process, token }, kinds, scene, memory, latency })
    }
}

/// Whether all is as it should be.
async fn flood_all(options: &Options) -> Result<bool, Error> {
    let mut is_good = true;
    for (number, &kind) in options.kinds.iter().enumerate() {
        let name = format!("beside{number}");
        let flooded = flood(&options.relay, kind, options.scene, &name).await;
        let flooded = flooded.map_err(|error| format!("{}: {error}", kind.name()))?;
        let wrong = wrong(options, kind, &flooded);
        report(options, kind, &flooded, &wrong);
        is_good &= wrong.is_empty();
    }
    Ok(is_good)
}

/// What is not as it should be.
fn wrong(options: &Options, kind: Kind, flooded: &Flooded) -> Vec<String> {
    let mut wrong = Vec::new();
    let counts = flooded.offenders.counts();
    for expected in kind.expected(options.scene.draft) {
        if !counts.keys().any(|what| what.contains(expected)) {
            wrong.push(format!("no {expected}"));
        }
    }
    if flooded.ordinary.lost > 0 {
        wrong.push("objects are lost".into());
    }
    if options.latency > 0.0 && flooded.ordinary.latency(99).is_none_or(|p99| p99 > options.latency)
    {
        wrong.push("objects are late".into());
    }
    if flooded.newcomer.is_none() {
        wrong.push("a newcomer did not get in".into());
    }
    if flooded.peak > options.memory * MEBIBYTE {
        wrong.push("too much memory is in use".into());
    }
    wrong
}

fn report(options: &Options, kind: Kind, flooded: &Flooded, wrong: &[String]) {
    let counts = flooded.offenders.counts();
    let got: Vec<String> = counts.iter().map(|(what, count)| format!("{what} ({count})")).collect();
    let Outcome { lost, delivered, .. } = &flooded.ordinary;
    let p99 = flooded.ordinary.latency(99).map_or("-".into(), |p99| format!("{p99:.1}"));
    let newcomer = flooded.newcomer.map_or("-".into(), |time| time.as_millis().to_string());
    println!(
        "{}\t{}\t{lost}/{}\t{p99}\t{newcomer}\t{}\t{}\t{}",
        kind.name(),
        if got.is_empty() { "nothing".into() } else { got.join(", ") },
        lost + delivered,
        flooded.peak / MEBIBYTE,
        options.memory,
        if wrong.is_empty() { "ok".into() } else { wrong.join(", ") },
    );
}
