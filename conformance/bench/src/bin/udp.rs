//! What MoQT and WebTransport cost over UDP on 127.0.0.1, against the QUIC stack that they stand
//! on: `cargo run --release -p moqt-bench --bin udp [PAIRS [MEGABYTES]]`.
//!
//! Every transfer is a process of its own. They are interleaved, so that what the machine does
//! besides hits all alike, and compared within a round; of the ratios of all rounds the
//! geometric mean and its 95 % interval are given.

use std::env;
use std::process::{Command, ExitCode};

use moqt_bench::goodput::Load;
use moqt_bench::udp::{Cost, Way, transfer};

/// Name, object size, objects a stream.
const CASES: &[(&str, usize, u64)] =
    &[("1 KiB objects", 1 << 10, 10_000), ("16 KiB objects", 16 << 10, 640)];

/// What is compared: a way, what it stands on, and the most it may cost more, in percent.
const COMPARED: &[(Way, Way, f64)] = &[
    (Way::QuinnMoqt, Way::Quinn, 10.0),
    (Way::QuinnWebTransport, Way::QuinnMoqt, 5.0),
    (Way::S2nMoqt, Way::S2n, 10.0),
    (Way::S2nWebTransport, Way::S2nMoqt, 5.0),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    if arguments.first().is_some_and(|argument| argument == "once") {
        let way = arguments.get(1).and_then(|name| Way::from_name(name));
        let (Some(way), Some(case), Some(megabytes)) = (way, number(2), number(3)) else {
            return ExitCode::FAILURE;
        };
        return once(way, usize::try_from(case).unwrap_or(0), megabytes);
    }
    let (pairs, megabytes) = (number(0).unwrap_or(20).max(2), number(1).unwrap_or(256));
    for (case, (name, ..)) in CASES.iter().enumerate() {
        println!("{name}, {megabytes} MiB, {pairs} rounds");
        let mut rounds = Vec::new();
        for _ in 0..pairs {
            let costs: Option<Vec<Cost>> =
                Way::ALL.into_iter().map(|way| measure(way, case, megabytes)).collect();
            let Some(costs) = costs else {
                eprintln!("a transfer failed");
                return ExitCode::FAILURE;
            };
            rounds.push(costs);
        }
        report(&rounds, megabytes);
    }
    ExitCode::SUCCESS
}

fn once(way: Way, case: usize, megabytes: u64) -> ExitCode {
    let Some((_, size, per_stream)) = CASES.get(case).copied() else { return ExitCode::FAILURE };
    let load = Load { count: (megabytes << 20) / size as u64, size, per_stream };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(transfer(way, load)) {
        Ok(cost) => {
            println!("{} {}", cost.wall, cost.cpu);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", way.name());
            ExitCode::FAILURE
        }
    }
}

fn measure(way: Way, case: usize, megabytes: u64) -> Option<Cost> {
    let output = Command::new(env::current_exe().ok()?)
        .args(["once", way.name(), &case.to_string(), &megabytes.to_string()])
        .output()
        .ok()?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (wall, cpu) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Cost { wall, cpu })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(rounds: &[Vec<Cost>], megabytes: u64) {
    let gigabytes = (megabytes << 20) as f64 / 1e9;
    let of = |way: Way, what: fn(&Cost) -> f64| -> Vec<f64> {
        let at = Way::ALL.iter().position(|other| *other == way);
        rounds.iter().filter_map(|costs| Some(what(costs.get(at?)?))).collect()
    };
    for way in Way::ALL {
        let rate = of(way, |cost| cost.wall).iter().map(|wall| gigabytes * 8.0 / wall).collect();
        let cpu = of(way, |cost| cost.cpu).iter().map(|cpu| cpu / gigabytes).collect();
        let ((rate, rate_low, rate_high), (cpu, cpu_low, cpu_high)) = (mean(rate), mean(cpu));
        println!(
            "  {:<12} {rate:>6.2} Gbit/s ({rate_low:.2} to {rate_high:.2}) {cpu:>7.2} CPU s a GB ({cpu_low:.2} to {cpu_high:.2})",
            way.name()
        );
    }
    for (way, base, most) in COMPARED {
        let (way_cpu, base_cpu) = (of(*way, |cost| cost.cpu), of(*base, |cost| cost.cpu));
        let ratios = way_cpu.iter().zip(&base_cpu).map(|(way, base)| way / base).collect();
        let (ratio, low, high) = mean(ratios);
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        println!(
            "  {:<12} over {:<12} {:>+6.1} % CPU ({:+.1} to {:+.1}), at most {most:+.0} % wanted",
            way.name(),
            base.name(),
            percent(ratio),
            percent(low),
            percent(high)
        );
    }
}

/// The geometric mean, and the 95 % interval it has.
#[expect(clippy::cast_precision_loss, reason = "few values")]
fn mean(values: Vec<f64>) -> (f64, f64, f64) {
    let logs: Vec<f64> = values.into_iter().map(f64::ln).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0);
    // Student's t for 19 degrees of freedom, a little wide for more.
    let margin = 2.093 * (variance / count).sqrt();
    (mean.exp(), (mean - margin).exp(), (mean + margin).exp())
}
