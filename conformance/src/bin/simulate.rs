//! Tries out made-up sessions, one for each seed, and says which of them broke a rule:
//!
//! ```sh
//! cargo run --release -p moqt-conformance --bin simulate -- --seeds 100000
//! cargo run --release -p moqt-conformance --bin simulate -- --seed 4711 --log
//! ```
//!
//! `--first N` begins with another seed than 0, `--draft 14` keeps to one draft, `--threads N`
//! uses so many, `--json` prints the summary as JSON. The summary ends with a hash of
//! everything that happened, which is the same whenever the same seeds are tried.
//!
//! A seed that breaks a rule is tried out alone with `--seed`: it prints the smallest scenario
//! that was found to break it, too, and what happened then. `--whole` prints the scenario as it
//! was, `--log` adds everything that the network did. `--keep 3,5,9` leaves out all steps but
//! these, counted from 0: of a seed that breaks a rule, the command with the few steps that are
//! enough for it is printed. `--input FILE` tries out an input of the fuzz target
//! `pair_against_model` in the same way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use moqt_conformance::simulation::{Broken, Bytes, Scenario, check};
use moqt_engine::Draft;
use serde::Serialize;

/// What the arguments say.
#[derive(Debug, Default)]
struct Options {
    seed: Option<u64>,
    input: Option<PathBuf>,
    first: u64,
    seeds: u64,
    threads: u64,
    draft: Option<Draft>,
    json: bool,
    log: bool,
    whole: bool,
    /// All that is kept of the steps of a seed.
    keep: Option<Vec<usize>>,
}

/// What came of many seeds.
#[derive(Debug, Default, Serialize)]
struct Summary {
    first: u64,
    seeds: u64,
    entries: u64,
    hash: String,
    broken: BTreeMap<String, Vec<u64>>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("simulate: {what}");
            return ExitCode::from(2);
        }
    };
    if let Some(input) = &options.input {
        return match std::fs::read(input) {
            Ok(bytes) => one(Scenario::generate(&mut Bytes(&bytes), options.draft), &options),
            Err(error) => {
                eprintln!("simulate: --input {}: {error}", input.display());
                ExitCode::from(2)
            }
        };
    }
    match options.seed {
        Some(seed) => one(Scenario::of_seed(seed, options.draft), &options),
        None => many(&options),
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 1000, threads: 2, ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--input" {
            let path = arguments.next().ok_or("--input takes a file")?;
            options.input = Some(path.into());
            continue;
        }
        if argument == "--keep" {
            let text = arguments.next().ok_or("--keep takes numbers")?;
            let numbers = text.split(',').map(str::parse).collect::<Result<_, _>>();
            options.keep = Some(numbers.map_err(|error| format!("--keep {text}: {error}"))?);
            continue;
        }
        let mut number = || {
            let text = arguments.next().ok_or(format!("{argument} takes a number"))?;
            text.parse::<u64>().map_err(|error| format!("{argument} {text}: {error}"))
        };
        match argument.as_str() {
            "--seed" => options.seed = Some(number()?),
            "--first" => options.first = number()?,
            "--seeds" => options.seeds = number()?,
            "--threads" => options.threads = number()?.max(1),
            "--draft" => {
                options.draft = Some(match number()? {
                    14 => Draft::D14,
                    16 => Draft::D16,
                    18 => Draft::D18,
                    other => return Err(format!("draft {other} is not spoken")),
                });
            }
            "--json" => options.json = true,
            "--log" => options.log = true,
            "--whole" => options.whole = true,
            other => return Err(format!("{other} means nothing")),
        }
    }
    Ok(options)
}

/// Tries out one scenario, and shows what happened.
fn one(mut scenario: Scenario, options: &Options) -> ExitCode {
    if let Some(kept) = &options.keep {
        scenario = scenario.keep(kept);
    }
    let broken = scenario.check().err();
    let shown = match &broken {
        Some(broken) if !options.whole => scenario.shrink(broken.rule),
        _ => scenario,
    };
    println!("{shown}");
    let outcome = shown.run(options.log);
    for entry in &outcome.history.entries {
        println!("{entry}");
    }
    for line in &outcome.log {
        println!("{line}");
    }
    match check(&shown, &outcome.history) {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            println!("broken: {broken}");
            ExitCode::FAILURE
        }
    }
}

/// Tries out many seeds.
fn many(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let summary =
        Mutex::new(Summary { first: options.first, seeds: options.seeds, ..Summary::default() });
    let hash = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds {
                        return;
                    }
                    if number > 0 && number.is_multiple_of(5000) {
                        eprintln!("{number} seeds in {:.0?}", begun.elapsed());
                    }
                    let seed = options.first + number;
                    let scenario = Scenario::of_seed(seed, options.draft);
                    let outcome = scenario.run(false);
                    let checked = check(&scenario, &outcome.history);
                    // Seeds may come in any order.
                    hash.fetch_add(outcome.hash(seed), Ordering::Relaxed);
                    let Ok(mut summary) = summary.lock() else { return };
                    summary.entries += outcome.history.entries.len() as u64;
                    if let Err(broken) = checked {
                        // Of a rule that many break, the first few say enough.
                        let others = summary.broken.get(broken.rule).map_or(0, Vec::len);
                        report(seed, options, &scenario, &broken, others < 5);
                        summary.broken.entry(broken.rule.to_owned()).or_default().push(seed);
                    }
                }
            });
        }
    });
    let Ok(mut summary) = summary.into_inner() else { return ExitCode::FAILURE };
    summary.hash = format!("{:016x}", hash.load(Ordering::Relaxed));
    for seeds in summary.broken.values_mut() {
        seeds.sort_unstable();
    }
    if options.json {
        println!("{}", serde_json::to_string(&summary).unwrap_or_default());
    } else {
        let Summary { first, seeds, entries, hash, broken } = &summary;
        let took = begun.elapsed();
        println!(
            "seeds {first} to {}: {entries} entries in {took:.1?}, hash {hash}",
            first + seeds
        );
        for (rule, seeds) in broken {
            let some: Vec<String> = seeds.iter().take(8).map(ToString::to_string).collect();
            println!("broken {} times: {rule} (seeds {})", seeds.len(), some.join(", "));
        }
    }
    if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(seed: u64, options: &Options, scenario: &Scenario, broken: &Broken, shrinks: bool) {
    let draft = options.draft.map(|draft| match draft {
        Draft::D14 => " --draft 14",
        Draft::D16 => " --draft 16",
        _ => " --draft 18",
    });
    eprintln!("seed {seed}: {broken}");
    let command = format!(
        "    cargo run --release -p moqt-conformance --bin simulate -- --seed {seed}{}",
        draft.unwrap_or_default()
    );
    eprintln!("{command}");
    if shrinks {
        let kept = scenario.enough(broken.rule);
        let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
        eprintln!("{command} --keep {}", kept.join(","));
    }
}
