//! Counts instructions an object (or message), under valgrind's callgrind.
//!
//! `cargo run --release -p moqt-bench --bin instructions` runs every case twice in a process
//! of its own, with different numbers of objects, and divides the difference: what is left is
//! what one more object costs, the same on every run and however busy the machine is. For a relay
//! that is one more object given to one subscriber. It fails if a case is beyond its target.

use std::env;
use std::process::{Command, ExitCode};

use moqt_bench::codec::{DecodeSubscribe, Read, WriteHeaders};
use moqt_bench::connection::{Receive, Transmit};
use moqt_bench::loopback::Session;
use moqt_bench::relay::{Audience, FanOut};
use moqt_bench::{Case, CountingAllocator};
use moqt_engine::Draft;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Name, and the most instructions that it may take on any draft, if there is a bound.
const CASES: &[(&str, u32)] = &[
    ("read 1 KiB objects, one buffer", 100),
    ("read 1 KiB objects, 1200-byte chunks", 135),
    ("write object headers", 45),
    ("decode SUBSCRIBE", 1500),
    ("connection receives 1 KiB objects, one buffer", 350),
    ("connection receives 1 KiB objects, 1200-byte chunks", 0),
    ("connection sends 1 KiB objects", 0),
    ("connection receives, 100 subscriptions", 0),
    ("connection receives, 10000 subscriptions", 0),
    ("connection sends, 100 subscriptions", 0),
    ("connection sends, 10000 subscriptions", 0),
    ("session over the loopback, 1 KiB objects", 0),
    ("relay to 10 subscribers, 1 KiB objects, each whole", 0),
    ("relay to 100 subscribers, 1 KiB objects, one buffer", 1900),
    ("relay to 1000 subscribers, 1 KiB objects, each whole", 0),
    ("relay to 10 subscribers, 8 KiB objects, 1200-byte chunks", 0),
    ("relay to 100 subscribers, 8 KiB objects, 1200-byte chunks", 0),
    ("relay to 1000 subscribers, 8 KiB objects, 1200-byte chunks", 0),
];

const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(case), Some(draft), Some(count)) => {
            let allocations = run(&case, draft.parse().ok(), count.parse().unwrap_or(FEW));
            println!("{allocations}");
            ExitCode::SUCCESS
        }
        (filter, ..) => report(filter.as_deref().unwrap_or_default()),
    }
}

fn report(filter: &str) -> ExitCode {
    let mut is_within = true;
    println!("{:<60} {:>8} {:>8} {:>8} {:>8}  allocations", "instructions", 14, 16, 18, "target");
    for (case, target) in CASES.iter().filter(|(case, _)| case.contains(filter)) {
        let mut row = format!("{case:<60}");
        let mut allocations = Vec::new();
        for draft in [Draft::D14, Draft::D16, Draft::D18] {
            let (Some(few), Some(many)) = (measure(case, draft, FEW), measure(case, draft, MANY))
            else {
                eprintln!("valgrind is needed to count instructions (Debian package: valgrind)");
                return ExitCode::FAILURE;
            };
            let instructions = per_object(few.0, many.0);
            is_within &= *target == 0 || instructions <= f64::from(*target);
            row = format!("{row} {instructions:>8.1}");
            allocations.push(format!("{:.2}", per_object(few.1, many.1)));
        }
        let target = if *target > 0 { target.to_string() } else { "-".into() };
        println!("{row} {target:>8}  {}", allocations.join(" "));
    }
    if is_within {
        ExitCode::SUCCESS
    } else {
        eprintln!("more than the target");
        ExitCode::FAILURE
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn per_object(few: u64, many: u64) -> f64 {
    many.saturating_sub(few) as f64 / (MANY - FEW) as f64
}

/// Instructions and allocations of a whole process that runs the case.
fn measure(case: &str, draft: Draft, count: u64) -> Option<(u64, u64)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*measured_region*")
        .arg(env::current_exe().ok()?)
        .args([case, &draft.number().to_string(), &count.to_string()])
        .output()
        .ok()?;
    let allocations = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let line = report.lines().find(|line| line.contains("Collected :"))?;
    let instructions = line.split(':').next_back()?.trim().parse().ok()?;
    Some((instructions, allocations))
}

/// Runs a case; the number of allocations it made.
fn run(case: &str, draft: Option<Draft>, count: u64) -> u64 {
    let draft = draft.unwrap_or(Draft::D18);
    let whole = usize::MAX;
    match case {
        "read 1 KiB objects, one buffer" => counted(Read::new(draft, count, 1024, whole)),
        "read 1 KiB objects, 1200-byte chunks" => counted(Read::new(draft, count, 1024, 1200)),
        "write object headers" => counted(WriteHeaders::new(draft, count)),
        "decode SUBSCRIBE" => counted(DecodeSubscribe::new(draft, count)),
        "connection receives 1 KiB objects, one buffer" => {
            counted(Receive::new(draft, count, whole, 1))
        }
        "connection receives 1 KiB objects, 1200-byte chunks" => {
            counted(Receive::new(draft, count, 1200, 1))
        }
        "connection receives, 100 subscriptions" => counted(Receive::new(draft, count, whole, 100)),
        "connection receives, 10000 subscriptions" => {
            counted(Receive::new(draft, count, whole, 10_000))
        }
        "connection sends 1 KiB objects" => counted(Transmit::new(draft, count, 1)),
        "connection sends, 100 subscriptions" => counted(Transmit::new(draft, count, 100)),
        "connection sends, 10000 subscriptions" => counted(Transmit::new(draft, count, 10_000)),
        "session over the loopback, 1 KiB objects" => counted(Session::new(draft, count)),
        "relay to 10 subscribers, 1 KiB objects, each whole" => fan_out(draft, count, 10, KIB),
        "relay to 100 subscribers, 1 KiB objects, one buffer" => fan_out(draft, count, 100, KIB),
        "relay to 1000 subscribers, 1 KiB objects, each whole" => fan_out(draft, count, 1000, KIB),
        "relay to 10 subscribers, 8 KiB objects, 1200-byte chunks" => {
            fan_out(draft, count, 10, 8 * KIB)
        }
        "relay to 100 subscribers, 8 KiB objects, 1200-byte chunks" => {
            fan_out(draft, count, 100, 8 * KIB)
        }
        "relay to 1000 subscribers, 8 KiB objects, 1200-byte chunks" => {
            fan_out(draft, count, 1000, 8 * KIB)
        }
        _ => 0,
    }
}

const KIB: usize = 1024;

fn fan_out(draft: Draft, deliveries: u64, subscribers: usize, object_len: usize) -> u64 {
    let chunk = if object_len > KIB { 1200 } else { usize::MAX };
    counted(FanOut::new(draft, deliveries, Audience { subscribers, object_len, chunk }))
}

fn counted(case: impl Case) -> u64 {
    let before = CountingAllocator::count();
    measured_region(case);
    CountingAllocator::count() - before
}

/// Only what happens in here is counted.
#[inline(never)]
fn measured_region(mut case: impl Case) -> u64 {
    case.run()
}
