//! What of the engine no test runs, from llvm-cov's reports: how much is covered, which
//! uncovered regions `conformance/uncovered.toml` gives no reason for, and which of its entries
//! are out of date. Run by `conformance/coverage`.
//!
//! Exit code 1 if the list and the reports differ, 2 if the command line or a report is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use serde::Deserialize;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [json, lcov] = &args[..] else {
        eprintln!("Usage: uncovered REPORT.json REPORT.lcov");
        return ExitCode::from(2);
    };
    match run(Path::new(json), Path::new(lcov)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Prints everything. Whether each uncovered region has its reason.
fn run(json: &Path, lcov: &Path) -> Result<bool, Box<dyn Error>> {
    let sources = Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src"))?;
    print_lines(&sources, &fs::read_to_string(lcov)?);

    let report: Report = serde_json::from_slice(&fs::read(json)?)?;
    let regions = regions(&sources, &report);
    let never_run = regions.iter().filter(|(_, runs)| **runs == 0).map(|(region, _)| region);
    print_share("regions", regions.len() - never_run.clone().count(), regions.len());
    let uncovered: BTreeMap<&Region, String> =
        outermost(never_run).map(|region| (region, sources.describe(region))).collect();

    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("uncovered.toml");
    let list: List = toml::from_str(&fs::read_to_string(list)?)?;
    let listed: BTreeSet<&String> =
        list.because.iter().flat_map(|because| &because.regions).collect();
    println!(
        "{:8} {} with a reason",
        "",
        uncovered.values().filter(|it| listed.contains(it)).count()
    );

    let mut complete = true;
    for (region, description) in &uncovered {
        if !listed.contains(description) {
            complete = false;
            println!("no reason: {description}    (line {})", region.start.0);
        }
    }
    let found: BTreeSet<&String> = uncovered.values().collect();
    for stale in listed.difference(&found) {
        complete = false;
        println!("covered or gone: {stale}");
    }
    Ok(complete)
}

/// `conformance/uncovered.toml`.
#[derive(Deserialize)]
struct List {
    because: Vec<Because>,
}

#[derive(Deserialize)]
struct Because {
    /// For people.
    #[serde(rename = "why")]
    _why: String,
    /// As [`Sources::describe`] puts it.
    regions: Vec<String>,
}

/// The engine's files by name.
struct Sources(BTreeMap<String, Source>);

struct Source {
    lines: Vec<String>,
    /// Where its own tests begin; they are no part of what is to be covered.
    end: usize,
}

impl Sources {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder)?.display().to_string();
                    let lines: Vec<_> =
                        fs::read_to_string(&path)?.lines().map(str::to_owned).collect();
                    let tests = lines.iter().position(|line| line.starts_with("#[cfg(test)]"));
                    files.insert(name, Source { end: tests.unwrap_or(lines.len()), lines });
                }
            }
        }
        Ok(Self(files))
    }

    /// The engine's name for a file of a report, and how many lines of it count.
    fn find(&self, path: &str) -> Option<(&str, usize)> {
        let (_, name) = path.split_once("/engine/src/")?;
        self.0.get_key_value(name).map(|(name, source)| (name.as_str(), source.end))
    }

    /// A region by its file, its function and its first line, which outlive line numbers.
    fn describe(&self, region: &Region) -> String {
        let lines = &self.0[&region.file].lines;
        let (first, _) = region.start;
        let function = lines[..first].iter().rev().find_map(|line| function(line)).unwrap_or("?");
        format!("{} {function}: {}", region.file, lines[first - 1].trim())
    }
}

/// The name of the function that begins in a line.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == "fn").filter(|_| !line.trim_start().starts_with("//"))?;
    words.next()?.split(['(', '<']).next()
}

fn print_lines(sources: &Sources, lcov: &str) {
    let (mut all, mut covered) = (0, 0);
    let mut end = 0;
    for record in lcov.lines() {
        if let Some(path) = record.strip_prefix("SF:") {
            end = sources.find(path).map_or(0, |(_, end)| end);
        } else if let Some((line, runs)) =
            record.strip_prefix("DA:").and_then(|it| it.split_once(','))
            && line.parse().is_ok_and(|line: usize| line <= end)
        {
            all += 1;
            covered += usize::from(runs != "0");
        }
    }
    print_share("lines", covered, all);
}

fn print_share(what: &str, covered: usize, all: usize) {
    let hundredths = covered * 10_000 / all.max(1);
    println!("{what:8} {covered} of {all}, {}.{:02} %", hundredths / 100, hundredths % 100);
}

/// llvm-cov's report, as far as it matters here.
#[derive(Deserialize)]
struct Report {
    data: Vec<Export>,
}

#[derive(Deserialize)]
struct Export {
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    filenames: Vec<String>,
    /// First line and column, last line and column, runs, file, expansion, kind.
    regions: Vec<[u64; 8]>,
}

/// Regions that neither lie in one before them nor begin in its last line, in order.
fn outermost<'a>(regions: impl Iterator<Item = &'a Region>) -> impl Iterator<Item = &'a Region> {
    let mut last: Option<&Region> = None;
    regions.filter(move |region| {
        let is_within =
            last.is_some_and(|last| last.file == region.file && region.start.0 <= last.end.0);
        if !is_within {
            last = Some(region);
        }
        !is_within
    })
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Region {
    file: String,
    start: (usize, usize),
    end: (usize, usize),
}

/// How often each region ran. A generic function is there once for each of its types.
fn regions(sources: &Sources, report: &Report) -> BTreeMap<Region, u64> {
    const CODE: u64 = 0;
    let mut regions = BTreeMap::new();
    for function in report.data.iter().flat_map(|export| &export.functions) {
        for region in &function.regions {
            let [first, from, last, to, runs, file, _, kind] = *region;
            let [first, from, last, to, file] =
                [first, from, last, to, file].map(|number| usize::try_from(number).unwrap_or(0));
            let path = function.filenames.get(file).map_or("", String::as_str);
            let Some((file, end)) = sources.find(path) else { continue };
            if kind != CODE || last > end {
                continue;
            }
            let region = Region { file: file.to_owned(), start: (first, from), end: (last, to) };
            let most = regions.entry(region).or_insert(0);
            *most = runs.max(*most);
        }
    }
    regions
}
