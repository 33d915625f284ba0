//! [`Reporter`]: what a benchmark measured, for people, machines and spreadsheets.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::meter::Tally;
use crate::args::OutputArgs;
use crate::failure::Failure;
use crate::progress::to_f64;

/// One line: an interval, or everything.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    /// Since the first object could come, at the end of what this is about.
    at_seconds: f64,
    /// How long that was. Rates are over all of it.
    seconds: f64,
    objects: u64,
    bytes: u64,
    objects_per_second: f64,
    mbit_per_second: f64,
    latency_us: Latency,
    jitter_us: f64,
    out_of_order: u64,
    corrupt: u64,
    /// Objects that were sent and did not come; known at the end, if we have sent them.
    lost: Option<u64>,
    /// Processor time of this process for a gigabyte that came.
    cpu_seconds_per_gb: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

/// Writes a line for each interval and one for everything.
pub(super) struct Reporter {
    began: Instant,
    /// When the interval began, and the processor time then.
    interval: (Instant, Option<Duration>),
    cpu: Option<Duration>,
    json: bool,
    csv: Option<BufWriter<File>>,
    has_head: bool,
}

impl Reporter {
    pub(super) fn new(output: &OutputArgs, csv: Option<&Path>) -> Result<Self, Failure> {
        let create = |path: &Path| {
            let file = File::create(path);
            file.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
        };
        let mut csv = csv.map(create).transpose()?.map(BufWriter::new);
        if let Some(csv) = &mut csv {
            let head = "kind,at_seconds,seconds,objects,bytes,objects_per_second,mbit_per_second,\
                        latency_mean_us,latency_p50_us,latency_p90_us,latency_p99_us,latency_max_us,\
                        jitter_us,out_of_order,corrupt,lost,cpu_seconds_per_gb";
            writeln!(csv, "{head}")?;
        }
        let (now, cpu) = (Instant::now(), cpu_time());
        Ok(Self { began: now, interval: (now, cpu), cpu, json: output.json, csv, has_head: false })
    }

    /// What came in the interval that ends now.
    pub(super) fn interval(&mut self, tally: &Tally) -> Result<(), Failure> {
        let (began, cpu) = std::mem::replace(&mut self.interval, (Instant::now(), cpu_time()));
        self.write("interval", tally, (began.elapsed(), cpu), None)
    }

    /// What came in all.
    pub(super) fn total(&mut self, tally: &Tally, lost: Option<u64>) -> Result<(), Failure> {
        self.write("total", tally, (self.began.elapsed(), self.cpu), lost)?;
        if let Some(csv) = &mut self.csv {
            csv.flush()?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        kind: &'static str,
        tally: &Tally,
        (elapsed, cpu): (Duration, Option<Duration>),
        lost: Option<u64>,
    ) -> Result<(), Failure> {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let latency = &tally.latency;
        let spent = cpu_time().zip(cpu).map(|(now, before)| now.saturating_sub(before));
        let row = Row {
            kind,
            at_seconds: self.began.elapsed().as_secs_f64(),
            seconds,
            objects: tally.objects,
            bytes: tally.bytes,
            objects_per_second: to_f64(tally.objects) / seconds,
            mbit_per_second: to_f64(tally.bytes) * 8.0 / 1e6 / seconds,
            latency_us: Latency {
                mean: if latency.is_empty() { 0.0 } else { latency.mean() },
                p50: latency.value_at_quantile(0.5),
                p90: latency.value_at_quantile(0.9),
                p99: latency.value_at_quantile(0.99),
                max: latency.max(),
            },
            jitter_us: tally.jitter,
            out_of_order: tally.out_of_order,
            corrupt: tally.corrupt,
            lost,
            cpu_seconds_per_gb: spent
                .filter(|_| tally.bytes > 0)
                .map(|spent| spent.as_secs_f64() * 1e9 / to_f64(tally.bytes)),
        };
        if let Some(csv) = &mut self.csv {
            writeln!(csv, "{}", row.csv())?;
        }
        if self.json {
            let line = serde_json::to_string(&row).map_err(|e| Failure::new(e.to_string()))?;
            println!("{line}");
            return Ok(());
        }
        if !self.has_head {
            self.has_head = true;
            println!(
                "{:>8} {:>10} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8} {:>6} {:>9}",
                "seconds",
                "objects/s",
                "Mbit/s",
                "mean ms",
                "p50",
                "p90",
                "p99",
                "max",
                "jitter",
                "lost",
                "CPU s/GB"
            );
        }
        println!("{}", row.text());
        Ok(())
    }
}

impl Row {
    fn csv(&self) -> String {
        let Latency { mean, p50, p90, p99, max } = &self.latency_us;
        format!(
            "{},{:.3},{:.3},{},{},{:.1},{:.3},{mean:.1},{p50},{p90},{p99},{max},{:.1},{},{},{},{}",
            self.kind,
            self.at_seconds,
            self.seconds,
            self.objects,
            self.bytes,
            self.objects_per_second,
            self.mbit_per_second,
            self.jitter_us,
            self.out_of_order,
            self.corrupt,
            self.lost.map_or_else(String::new, |lost| lost.to_string()),
            self.cpu_seconds_per_gb.map_or_else(String::new, |cpu| format!("{cpu:.3}")),
        )
    }

    fn text(&self) -> String {
        let millis = |micros: u64| to_f64(micros) / 1000.0;
        let Latency { mean, p50, p90, p99, max } = &self.latency_us;
        let when = match self.kind {
            "total" => "total".to_owned(),
            _ => format!("{:.1}", self.at_seconds),
        };
        format!(
            "{when:>8} {:>10.0} {:>9.1} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>9.3} {:>8.3} {:>6} {:>9}",
            self.objects_per_second,
            self.mbit_per_second,
            mean / 1000.0,
            millis(*p50),
            millis(*p90),
            millis(*p99),
            millis(*max),
            self.jitter_us / 1000.0,
            self.lost.map_or_else(|| "-".to_owned(), |lost| lost.to_string()),
            self.cpu_seconds_per_gb.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}")),
        )
    }
}

/// The processor time of this process so far, where it can be told.
#[cfg(unix)]
fn cpu_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn cpu_time() -> Option<Duration> {
    None
}
