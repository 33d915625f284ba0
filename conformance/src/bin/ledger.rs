//! Prints how much of the drafts' requirements tests cover, and checks the ledger that says so.
//!
//! Exit code 1 if the ledger is wrong (a test it cites is gone, an id repeats, a rule has no
//! state, it differs from the text of a draft), 2 if the command line is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use moqt_conformance::ledger::coverage::Coverage;
use moqt_conformance::ledger::{DRAFTS, Ledger, Rule, State, sources};

const USAGE: &str = "\
Usage: ledger [--open | --json | --sample N [--seed S] [--all]] [--text DIR]

  --open        list the rules that are open
  --json        print coverage and rules as JSON
  --sample N    draw N covered MUST rules, with --all of any level; the same ones for the same
                --seed (0 if left out)
  --text DIR    compare with the texts, DIR/draft-ietf-moq-transport-NN.md";

#[derive(Default)]
struct Options {
    open: bool,
    json: bool,
    sample: Option<usize>,
    seed: u64,
    all: bool,
    text: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Some(options) = options(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            eprintln!("{}", problems.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--open" => options.open = true,
            "--json" => options.json = true,
            "--sample" => options.sample = Some(args.next()?.parse().ok()?),
            "--all" => options.all = true,
            "--seed" => options.seed = args.next()?.parse().ok()?,
            "--text" => options.text = Some(args.next()?.into()),
            _ => return None,
        }
    }
    Some(options)
}

/// Prints what was asked for; what is wrong with the ledger comes back.
fn run(options: &Options) -> io::Result<Vec<String>> {
    let ledger = Ledger::read(&Ledger::folder())?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut problems = ledger.problems(&sources::tests(&root)?);
    if let Some(folder) = &options.text {
        for draft in DRAFTS {
            let path = folder.join(format!("draft-ietf-moq-transport-{draft}.md"));
            problems.extend(ledger.differences(draft, &fs::read_to_string(path)?));
        }
    }
    if let Some(count) = options.sample {
        ledger.sample(count, options.seed, options.all).into_iter().for_each(print);
    } else if options.json {
        let all = serde_json::json!({ "coverage": Coverage::of(&ledger), "rules": ledger.rules });
        println!("{all:#}");
    } else if options.open {
        ledger.rules.iter().filter(|rule| rule.state() == Ok(State::Open)).for_each(print);
    } else {
        print!("{}", Coverage::of(&ledger));
    }
    Ok(problems)
}

fn print(rule: &Rule) {
    let ids: Vec<_> = rule.ids.iter().map(ToString::to_string).collect();
    let who = format!("{:?}", rule.who).to_lowercase();
    println!("{} ({who}; {})\n  {}", rule.level, ids.join(" "), rule.text);
    rule.tests.iter().for_each(|test| println!("  test: {test}"));
    rule.open.iter().for_each(|missing| println!("  open: {missing}"));
}
