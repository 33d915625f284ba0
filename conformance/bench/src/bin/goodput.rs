//! Goodput over quinn-proto in memory, as a share of what quinn-proto alone does with the same
//! bytes in the same run, and over WebTransport as a share of that: `cargo run --release -p moqt-bench --bin goodput [draft]`.
//!
//! With `instructions` as the first argument, both are counted under callgrind instead, which
//! is the same on every run (needs valgrind).

use std::env;
use std::process::{Command, ExitCode};
use std::time::Instant;

use moqt_bench::goodput::{Configs, Load, over_moqt, over_quic};
use moqt_engine::Draft;
use moqt_quinn_proto::Scheme;

const MIB: u64 = 1 << 20;

/// Name, object size, objects a stream, megabytes, and the share to reach.
const CASES: &[(&str, usize, u64, u64, u32)] = &[
    ("100-byte objects", 100, 10_000, 32, 65),
    ("1 KiB objects", 1 << 10, 10_000, 128, 90),
    ("8 KiB objects", 8 << 10, 1_000, 128, 95),
    ("64 KiB objects", 64 << 10, 100, 128, 95),
    ("5 MiB objects", 5 << 20, 4, 128, 95),
    ("16 KiB objects, one a stream", 16 << 10, 1, 128, 90),
];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == "instructions") {
        arguments.next();
        return instructions(arguments.next());
    }
    if arguments.peek().is_some_and(|argument| argument == "once") {
        arguments.next();
        let way = arguments.next().unwrap_or_default();
        let case: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let megabytes: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
        let load = load(case, megabytes);
        let scheme = if way == "wt" { Scheme::WebTransport } else { Scheme::Quic };
        let configs = Configs::new(Draft::D18, scheme);
        let moved = measured_region(&way, &configs, load);
        return if moved == load.bytes() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let draft = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(Draft::D18);
    let configs = Configs::new(draft, Scheme::Quic);
    let over_webtransport = Configs::new(draft, Scheme::WebTransport);
    println!(
        "{draft:<32} {:>12} {:>12} {:>8} {:>8} {:>12} {:>8}",
        "raw Gbit/s", "MoQT Gbit/s", "share", "target", "WT Gbit/s", "of MoQT"
    );
    for (case, (name, .., megabytes, target)) in CASES.iter().enumerate() {
        let load = load(case, *megabytes);
        // Alternating, best of three: what the machine does besides hits all.
        let (mut raw, mut moqt, mut wt) = (0.0_f64, 0.0_f64, 0.0_f64);
        for _ in 0..3 {
            raw = raw.max(gbits(load, || over_quic(&configs, load)));
            moqt = moqt.max(gbits(load, || over_moqt(&configs, load)));
            wt = wt.max(gbits(load, || over_moqt(&over_webtransport, load)));
        }
        let (share, of_moqt) = (100.0 * moqt / raw, 100.0 * wt / moqt);
        println!(
            "{name:<32} {raw:>12.2} {moqt:>12.2} {share:>7.1}% {target:>7}% {wt:>12.2} {of_moqt:>7.1}%"
        );
    }
    ExitCode::SUCCESS
}

fn load(case: usize, megabytes: u64) -> Load {
    let (_, size, per_stream, ..) = CASES.get(case).copied().unwrap_or(("", 1024, 1, 1, 0));
    Load { count: megabytes * MIB / size as u64, size, per_stream }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn gbits(load: Load, work: impl FnOnce() -> u64) -> f64 {
    let began = Instant::now();
    let moved = work();
    assert_eq!(moved, load.bytes(), "everything arrives");
    moved as f64 * 8.0 / 1e9 / began.elapsed().as_secs_f64()
}

/// Instructions a payload byte, from the difference between two lengths.
fn instructions(filter: Option<String>) -> ExitCode {
    println!(
        "{:<32} {:>12} {:>12} {:>8} {:>12} {:>8}",
        "instructions a KiB", "raw", "MoQT", "share", "WT", "of MoQT"
    );
    let filter = filter.unwrap_or_default();
    for (case, (name, ..)) in CASES.iter().enumerate().filter(|(_, case)| case.0.contains(&filter))
    {
        let mut cost = Vec::new();
        for way in ["raw", "moqt", "wt"] {
            let (Some(few), Some(many)) = (count(way, case, 5), count(way, case, 15)) else {
                eprintln!("valgrind is needed to count instructions (Debian package: valgrind)");
                return ExitCode::FAILURE;
            };
            let bytes = load(case, 15).bytes() - load(case, 5).bytes();
            cost.push(many.saturating_sub(few) * 1024 / bytes.max(1));
        }
        if let [raw, moqt, wt] = cost[..] {
            let (share, of_moqt) = (raw * 100 / moqt.max(1), moqt * 100 / wt.max(1));
            println!("{name:<32} {raw:>12} {moqt:>12} {share:>7}% {wt:>12} {of_moqt:>7}%");
        }
    }
    ExitCode::SUCCESS
}

fn count(way: &str, case: usize, megabytes: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*measured_region*")
        .arg(env::current_exe().ok()?)
        .args(["once", way, &case.to_string(), &megabytes.to_string()])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let line = report.lines().find(|line| line.contains("Collected :"))?;
    line.split(':').next_back()?.trim().parse().ok()
}

/// Only what happens in here is counted.
#[inline(never)]
fn measured_region(way: &str, configs: &Configs, load: Load) -> u64 {
    if way == "raw" { over_quic(configs, load) } else { over_moqt(configs, load) }
}
