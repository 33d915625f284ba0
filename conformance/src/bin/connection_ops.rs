//! Runs `fuzz::connection_ops` over bytes from seeds, and says what broke and what was reached.
//!
//! ```sh
//! cargo run -p moqt-conformance --bin connection_ops -- 0 10000        # seeds
//! cargo run -p moqt-conformance --bin connection_ops -- show FILE      # what one input does
//! cargo run -p moqt-conformance --bin connection_ops -- again FILE     # without what failed
//! cargo run -p moqt-conformance --bin connection_ops -- write 0 50 DIR # seeds as files
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::{env, fs, io};

use moqt_conformance::fuzz::connection_ops;
use moqt_conformance::ops::{bytes_of_seed, play};

/// What the last panic said.
static SAID: Mutex<String> = Mutex::new(String::new());

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["show" | "again", input] => {
            let bytes = match input.parse() {
                Ok(seed) => bytes_of_seed(seed),
                Err(_) => fs::read(input)?,
            };
            let mut skip = BTreeSet::new();
            if args[0] == "again" {
                skip = play(&bytes, skip, false).failed;
            }
            let played = play(&bytes, skip, true);
            println!("{:#?}", played.reached);
        }
        ["write", from, to, folder] => {
            for seed in range(from, to)? {
                fs::write(Path::new(folder).join(format!("seed-{seed}")), bytes_of_seed(seed))?;
            }
        }
        [from, to] => run(range(from, to)?),
        _ => return Err(io::Error::other("FROM TO, show or again FILE, or write FROM TO FOLDER")),
    }
    Ok(())
}

fn range(from: &str, to: &str) -> io::Result<std::ops::Range<u64>> {
    let number = |text: &str| text.parse().map_err(io::Error::other);
    Ok(number(from)?..number(to)?)
}

fn run(seeds: std::ops::Range<u64>) {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut said) = SAID.lock() {
            *said = info.to_string();
        }
    }));
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    let mut broken: BTreeMap<String, (usize, u64, usize, String)> = BTreeMap::new();
    for seed in seeds {
        let bytes = bytes_of_seed(seed);
        let played = catch_unwind(AssertUnwindSafe(|| {
            connection_ops(&bytes);
            play(&bytes, BTreeSet::new(), false)
        }));
        if let Ok(played) = played {
            for (what, times) in played.reached {
                *reached.entry(what).or_default() += times;
            }
            continue;
        }
        let said = SAID.lock().map(|said| said.clone()).unwrap_or_default();
        let place = said.lines().next().unwrap_or_default().to_owned();
        let entry = broken.entry(place).or_insert((0, seed, bytes.len(), said));
        entry.0 += 1;
    }
    for (what, times) in &reached {
        println!("{times:8} {what}");
    }
    for (times, seed, len, said) in broken.values() {
        let said: String = said.chars().take(900).collect();
        println!("\nBROKEN {times} times, first by seed {seed} of {len} bytes\n{said}");
    }
}
