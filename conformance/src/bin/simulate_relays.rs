//! Tries out made-up trees of relays, one for each seed, and says which of them broke a rule:
//!
//! ```sh
//! cargo run --release -p moqt-conformance --bin simulate-relays -- --seeds 10000
//! cargo run --release -p moqt-conformance --bin simulate-relays -- --seed 4711 --log
//! ```
//!
//! `--from N` begins with another seed than 0, `--level one`, `names`, `calm`, `moves` or `faults`
//! says what goes on and whether anything goes wrong (all of them in turn by default), `--threads N`
//! uses so many.
//! The summary ends with a hash of everything that happened, which is the same whenever the same
//! seeds are tried.
//!
//! A seed that breaks a rule is tried out alone with `--seed`: it prints the smallest scenario that
//! was found to break it, too. `--whole` prints the scenario as it was, `--log` adds everything
//! that the network did.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use moqt_conformance::relay_simulation::{Level, Scenario, check};

/// What the arguments say.
#[derive(Debug, Default)]
struct Options {
    seed: Option<u64>,
    from: u64,
    seeds: u64,
    threads: u64,
    level: Option<Level>,
    log: bool,
    whole: bool,
}

fn main() -> ExitCode {
    match options() {
        Ok(options) => match options.seed {
            Some(seed) => one(seed, &options),
            None => many(&options),
        },
        Err(what) => {
            eprintln!("simulate-relays: {what}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 1000, threads: 2, ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--log" => options.log = true,
            "--whole" => options.whole = true,
            "--level" => {
                options.level = Some(match arguments.next().as_deref() {
                    Some("one") => Level::One,
                    Some("names") => Level::Names,
                    Some("calm") => Level::Calm,
                    Some("moves") => Level::Moves,
                    Some("faults") => Level::Faults,
                    _ => return Err("--level takes one, names, calm, moves or faults".to_owned()),
                });
            }
            "--seed" | "--from" | "--seeds" | "--threads" => {
                let text = arguments.next().ok_or(format!("{argument} takes a number"))?;
                let number = text.parse().map_err(|error| format!("{argument} {text}: {error}"))?;
                match argument.as_str() {
                    "--seed" => options.seed = Some(number),
                    "--from" => options.from = number,
                    "--seeds" => options.seeds = number,
                    _ => options.threads = number.max(1),
                }
            }
            other => return Err(format!("{other} means nothing")),
        }
    }
    Ok(options)
}

impl Options {
    /// The scenario of a seed, and the word for its level.
    fn scenario(&self, seed: u64) -> (Scenario, &'static str) {
        let levels = [Level::One, Level::Names, Level::Calm, Level::Moves, Level::Faults];
        let chosen = usize::try_from(seed % 5).unwrap_or_default();
        let level = self.level.unwrap_or(levels[chosen]);
        let word = match level {
            Level::One => "one",
            Level::Names => "names",
            Level::Calm => "calm",
            Level::Moves => "moves",
            Level::Faults => "faults",
        };
        (Scenario::of_seed(seed, level), word)
    }
}

/// Tries out one scenario, and shows what happened.
fn one(seed: u64, options: &Options) -> ExitCode {
    let (scenario, _) = options.scenario(seed);
    let shown = match scenario.check() {
        Err(broken) if !options.whole => scenario.shrink(broken.rule),
        _ => scenario,
    };
    print!("{shown}");
    let outcome = shown.run(options.log);
    for line in &outcome.log {
        println!("{line}");
    }
    match check(&shown, &outcome.record) {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            println!("broken: {}: {}", broken.rule, broken.about);
            ExitCode::FAILURE
        }
    }
}

/// Tries out many seeds.
fn many(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let hash = AtomicU64::new(0);
    let broken: Mutex<BTreeMap<&'static str, Vec<u64>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds {
                        return;
                    }
                    let seed = options.from + number;
                    let (scenario, level) = options.scenario(seed);
                    let outcome = scenario.run(false);
                    // Seeds may come in any order.
                    hash.fetch_add(outcome.hash(seed), Ordering::Relaxed);
                    let Err(what) = check(&scenario, &outcome.record) else { continue };
                    let Ok(mut broken) = broken.lock() else { return };
                    let seeds = broken.entry(what.rule).or_default();
                    if seeds.len() < 5 {
                        eprintln!("seed {seed}: {}: {}", what.rule, what.about);
                        eprintln!(
                            "    cargo run --release -p moqt-conformance --bin simulate-relays -- \
                             --seed {seed} --level {level}"
                        );
                    }
                    seeds.push(seed);
                }
            });
        }
    });
    let Ok(mut broken) = broken.into_inner() else { return ExitCode::FAILURE };
    println!(
        "seeds {} to {} in {:.1?}, hash {:016x}",
        options.from,
        options.from + options.seeds,
        begun.elapsed(),
        hash.load(Ordering::Relaxed)
    );
    for (rule, seeds) in &mut broken {
        seeds.sort_unstable();
        let some: Vec<String> = seeds.iter().take(8).map(ToString::to_string).collect();
        println!("broken {} times: {rule} (seeds {})", seeds.len(), some.join(", "));
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
