//! `moqt interop`: the test client of moq-interop-runner, which tells in TAP what a relay does.

mod cases;
mod control;
mod data;
mod publisher;
mod run;
mod tap;

use std::env;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use clap::builder::FalseyValueParser;
use moqt_engine::Draft;
use tokio::time::timeout;

use crate::args::{CertHash, DraftArgs, OutputArgs, parse_draft, parse_hash};
use crate::failure::Failure;
use cases::{CASES, Case};
use run::{Outcome, Relay, Run};
use tap::{Tap, Verdict};

/// What `moqt interop --help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  moqt interop -r moqt://127.0.0.1:4443 --tls-disable-verify
  moqt interop -r https://127.0.0.1:4443/ -k --draft 16 -t announce-subscribe
  moqt interop --list

Exit status: 0 if all passed, 1 if one failed or the relay cannot be reached, 127 if there is no
such test. DRAFT and MOQT_DRAFT in the environment stand for --draft.";

/// Where a relay is that was told nothing of.
const DEFAULT_RELAY: &str = "https://localhost:4443";

/// The exit status for a test that there is none of, as moq-interop-runner wants it.
const NO_SUCH_TEST: u8 = 127;

#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct InteropArgs {
    /// The relay: `https://` for WebTransport, `moqt://` for raw QUIC [default:
    /// https://localhost:4443].
    #[arg(short, long, value_name = "URL", env = "RELAY_URL", hide_env_values = true)]
    relay: Option<String>,
    /// Run this test alone.
    #[arg(short, long, value_name = "NAME", env = "TESTCASE", hide_env_values = true)]
    test: Option<String>,
    /// Print the names of all tests, one a line, and do nothing else.
    #[arg(short, long)]
    list: bool,
    /// Fail if an error has another code than the draft has for the case.
    #[arg(long)]
    strict: bool,
    /// Accept any certificate. For tests: whoever is in between can read and change everything.
    #[arg(
        short = 'k',
        long,
        alias = "insecure",
        env = "TLS_DISABLE_VERIFY",
        hide_env_values = true,
        value_parser = FalseyValueParser::new()
    )]
    tls_disable_verify: bool,
    /// Tell each step in a comment; -v does so, too.
    #[arg(long, hide = true, env = "VERBOSE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    steps: bool,
    /// Trust the certificate authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256, in hexadecimal, and no other.
    #[arg(long, value_name = "HEX", value_parser = parse_hash)]
    cert_hash: Option<CertHash>,
    #[command(flatten)]
    drafts: DraftArgs,
    /// Append TLS secrets to this file, to decrypt captures with. SSLKEYLOGFILE does the same.
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylogfile: Option<PathBuf>,
    /// Write what sessions say to qlog files in this folder, one a session.
    #[arg(long, value_name = "DIR")]
    qlog: Option<PathBuf>,
    /// A token to authorize sessions with.
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<String>,
}

pub(crate) async fn run(args: &InteropArgs, output: &OutputArgs) -> Result<(), Failure> {
    if args.list {
        for case in CASES {
            println!("{}", case.name);
        }
        return Ok(());
    }
    let chosen = chosen(args.test.as_deref())?;
    let url = given(args.relay.as_deref()).unwrap_or(DEFAULT_RELAY);
    let drafts = drafts(&args.drafts)?;
    let verify = crate::net::verify(args.tls_disable_verify, args.cert_hash, args.ca.as_deref());
    let relay = Relay::new(url, &drafts, verify, args)?;
    let mut tap = Tap::new(io::stdout(), args.steps || output.verbose > 0);
    tap.begin()?;
    tap.comment(&format!("moqt interop {}", env!("CARGO_PKG_VERSION")))?;
    tap.comment(&format!("Relay: {url}"))?;
    let run_all = async { run_all(relay, &drafts, &chosen, args.strict, &mut tap).await };
    tokio::select! {
        outcome = run_all => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
    }
}

/// Runs these cases, one after the other.
async fn run_all(
    mut relay: Relay,
    drafts: &[Draft],
    chosen: &[(&str, &Case)],
    strict: bool,
    tap: &mut Tap<io::Stdout>,
) -> Result<(), Failure> {
    let reached = relay.reach().await;
    let numbers: Vec<String> = match &reached {
        Ok(Some(draft)) => vec![draft.to_string()],
        _ => drafts.iter().map(Draft::to_string).collect(),
    };
    tap.comment(&format!("Draft: {}", numbers.join(", ")))?;
    tap.plan(chosen.len())?;
    if let Err(error) = reached {
        tap.bail_out(&error.to_string())?;
        return Err(Failure::new(format!("the relay cannot be reached: {error}")));
    }
    let mut failed = 0;
    for (number, (name, case)) in (1..).zip(chosen) {
        let mut run = Run::new(&relay, case.limit, strict, tap);
        let began = Instant::now();
        let outcome = match timeout(case.limit, case.run(&mut run)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(run.timed_out()),
        };
        let duration = began.elapsed();
        let report = run.end().await;
        let verdict = match &outcome {
            Ok(()) => Verdict::Passed,
            Err(Outcome::Skipped(why)) => Verdict::Skipped(why),
            Err(Outcome::Failed(message)) => {
                failed += 1;
                Verdict::Failed(message)
            }
        };
        tap.point(number, name, &verdict, duration, &report)?;
    }
    if failed > 0 {
        return Err(Failure::new(format!("{failed} of {} tests failed", chosen.len())));
    }
    Ok(())
}

/// The case of this name, or all, each with the name it was asked for by.
fn chosen(name: Option<&str>) -> Result<Vec<(&str, &'static Case)>, Failure> {
    let Some(name) = given(name) else {
        return Ok(CASES.iter().map(|case| (case.name, case)).collect());
    };
    let found = CASES.iter().find(|case| case.name == name || case.aliases.contains(&name));
    let Some(case) = found else {
        let unknown = format!("there is no test {name:?}: --list prints those there are");
        return Err(Failure::with_status(unknown, NO_SUCH_TEST));
    };
    Ok(vec![(name, case)])
}

/// What the command line says, or else what the environment does.
fn drafts(args: &DraftArgs) -> Result<Vec<Draft>, Failure> {
    for name in ["DRAFT", "MOQT_DRAFT"] {
        let value = env::var(name).ok();
        let Some(text) = given(value.as_deref()).filter(|_| !args.is_given()) else { continue };
        // What the runner calls them.
        let numbers = text.split(',').map(|one| one.trim().trim_start_matches("draft-"));
        let parsed: Result<Vec<_>, _> = numbers.map(parse_draft).collect();
        let mut drafts = parsed.map_err(|error| Failure::new(format!("{name}: {error}")))?;
        drafts.sort_by(|a, b| b.cmp(a));
        drafts.dedup();
        return Ok(drafts);
    }
    Ok(args.list())
}

/// A variable that is empty says nothing.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_all_of_their_names() {
        let all = chosen(None).unwrap();
        assert_eq!(chosen(Some("")).unwrap().len(), all.len());
        for (name, case) in all {
            for alias in case.aliases.iter().copied().chain([name]) {
                let found = chosen(Some(alias)).unwrap();
                assert!(found.len() == 1 && found[0].0 == alias && found[0].1.name == name);
            }
        }
        assert!(chosen(Some("setup")).is_err());
    }
}
