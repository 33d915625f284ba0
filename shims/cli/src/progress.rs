//! The line that shows what is going on, and talk beside it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::OutputArgs;

/// Shows objects, bytes and rate on a terminal; silent when piped, and when asked to be.
pub(crate) struct Progress {
    bar: ProgressBar,
    quiet: bool,
    began: Instant,
    objects: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    pub(crate) fn new(output: &OutputArgs, what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if output.quiet || output.json {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_prefix(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            quiet: output.quiet,
            began: Instant::now(),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// One more object of this many bytes.
    pub(crate) fn count(&self, bytes: usize) {
        let objects = self.objects.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if objects.is_multiple_of(64) && !self.bar.is_hidden() {
            self.bar.set_message(summary(objects, bytes, self.began.elapsed()));
        }
    }

    /// Something to tell, above the line.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Objects, bytes and rate, for people.
pub(crate) fn summary(objects: u64, bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    format!(
        "{objects} objects, {} in {seconds:.1} s: {:.0} objects/s, {:.1} Mbit/s",
        human_bytes(bytes),
        to_f64(objects) / seconds,
        to_f64(bytes) * 8.0 / 1e6 / seconds,
    )
}

/// Bytes, for people.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = to_f64(bytes);
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
