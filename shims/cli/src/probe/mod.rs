//! `moqt probe`: which relays are there, and which drafts they speak.

mod endpoint;
mod list;
mod report;

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::args::{CertHash, DraftArgs, OutputArgs, parse_hash, parse_seconds, tokens};
use crate::failure::Failure;
use endpoint::Prober;
use list::Listed;
use report::{EndpointReport, RelayReport, Report};

/// What `moqt probe --help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  moqt probe -k moqt://127.0.0.1:4443 https://127.0.0.1:4443/
  moqt probe -k --offer --draft 16,18 moqt://127.0.0.1:4443
  moqt probe -f relays.json -o status.json --once

The file is a list of relays:
  [{\"id\": \"mine\", \"name\": \"My relay\", \"interval\": 60,
    \"endpoints\": [{\"url\": \"moqt://127.0.0.1:4443\", \"verify_tls\": false}]}]

Exit status: 0 if any relay spoke any draft, 1 if none did.
RELAYS_FILE, OUTPUT_FILE, PROBE_TIMEOUT, PROBE_INTERVAL and PROBE_ONCE in the environment stand for
the options of these names.";

/// Where the list is, where the report goes, and how often relays are probed, if nobody says.
const RELAYS_FILE: &str = "/app/relays.json";
const OUTPUT_FILE: &str = "/output/relay-status.json";
const INTERVAL: Duration = Duration::from_mins(5);

/// How long a relay may take to make a session, if nobody says.
const TIMEOUT: Duration = Duration::from_secs(8);

#[derive(Clone, Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Relays to probe, once unless there is an interval. Without any, those of --relays-file are,
    /// again and again.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// The relays to probe, a JSON file [default: /app/relays.json].
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with = "urls")]
    relays_file: Option<PathBuf>,
    /// Write what is known of all relays to this file, whole or not at all; with a file of relays
    /// always [default: /output/relay-status.json].
    #[arg(short, long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// How long a relay may take to make a session [default: 8].
    #[arg(short, long, visible_alias = "connect-timeout", value_name = "SECONDS", value_parser = parse_seconds)]
    timeout: Option<Duration>,
    /// Probe again after so long; 0 for never. What the file has for a relay counts more [default:
    /// 300 with a file of relays, 0 with a URL].
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds)]
    interval: Option<Duration>,
    /// Probe everything once.
    #[arg(long)]
    once: bool,
    /// Offer all drafts in one session and report the one that is chosen, instead of one after the
    /// other.
    #[arg(long)]
    offer: bool,
    #[command(flatten)]
    drafts: DraftArgs,
    /// Accept any certificate.
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trust the certificate authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256, in hexadecimal, and no other.
    #[arg(long, value_name = "HEX", value_parser = parse_hash)]
    cert_hash: Option<CertHash>,
    /// Append TLS secrets to this file, to decrypt captures with. SSLKEYLOGFILE does the same.
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylogfile: Option<PathBuf>,
    /// Write what sessions say to qlog files in this folder, one a session.
    #[arg(long, value_name = "DIR")]
    qlog: Option<PathBuf>,
    /// A token to authorize sessions with. It is sent to all of the relays.
    #[arg(long, value_name = "TOKEN")]
    auth_token: Option<String>,
}

pub(crate) async fn run(args: &ProbeArgs, output: &OutputArgs) -> Result<(), Failure> {
    let is_file = args.urls.is_empty();
    let relays = if is_file {
        let file = path(args.relays_file.as_deref(), "RELAYS_FILE");
        list::read(&file.unwrap_or_else(|| RELAYS_FILE.into()))?
    } else {
        args.urls.iter().map(|url| Listed::of_url(url)).collect::<Result<_, _>>()?
    };
    let file = path(args.output_file.as_deref(), "OUTPUT_FILE");
    let schedule = Schedule {
        interval: seconds(args.interval, "PROBE_INTERVAL")?.or(is_file.then_some(INTERVAL)),
        once: args.once || is_set("PROBE_ONCE"),
    };
    let prober = Arc::new(Prober {
        drafts: args.drafts.list(),
        is_offer: args.offer,
        stack: args.drafts.transport,
        verify: crate::net::verify(args.insecure, args.cert_hash, args.ca.as_deref()),
        strict: OnceLock::new(),
        keylog: args.keylogfile.clone(),
        trace: crate::qlog::trace(args.qlog.as_deref())?,
        tokens: tokens(args.auth_token.as_deref()),
        timeout: seconds(args.timeout, "PROBE_TIMEOUT")?.unwrap_or(TIMEOUT),
    });
    let monitor = Monitor {
        file: file.or_else(|| is_file.then(|| OUTPUT_FILE.into())),
        url_width: relays.iter().flat_map(Listed::urls).map(str::len).max().unwrap_or_default(),
        report: Report::default(),
        output,
    };
    let any_live = tokio::select! {
        any_live = monitor.run(relays, &prober, schedule) => any_live?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    if any_live { Ok(()) } else { Err(Failure::new("no relay has answered")) }
}

/// When relays are probed.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    interval: Option<Duration>,
    once: bool,
}

impl Schedule {
    /// Time between the beginnings of two probes of a relay; none if there is to be one alone.
    fn of(self, relay: &Listed) -> Option<Duration> {
        let interval = relay.interval.or(self.interval)?;
        (!self.once && !interval.is_zero()).then_some(interval)
    }
}

/// Probes relays, each on its own.
struct Monitor<'a> {
    file: Option<PathBuf>,
    url_width: usize,
    report: Report,
    output: &'a OutputArgs,
}

impl Monitor<'_> {
    /// Goes on until nothing is to be probed any more; whether any relay has answered.
    async fn run(
        mut self,
        relays: Vec<Listed>,
        prober: &Arc<Prober>,
        schedule: Schedule,
    ) -> Result<bool, Failure> {
        let (results, mut probed) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        for relay in relays {
            let (prober, results) = (prober.clone(), results.clone());
            let interval = schedule.of(&relay);
            tasks.spawn(async move {
                loop {
                    let began = Instant::now();
                    let report = prober.relay(&relay).await;
                    if results.send((relay.id.clone(), report)).await.is_err() {
                        return;
                    }
                    let Some(next) = interval.and_then(|interval| began.checked_add(interval))
                    else {
                        return;
                    };
                    sleep_until(next).await;
                }
            });
        }
        drop(results);
        let mut is_first = true;
        while let Some((id, report)) = probed.recv().await {
            self.add(id, report);
            // What is there already goes into the same file.
            while let Ok((id, report)) = probed.try_recv() {
                self.add(id, report);
            }
            match self.write() {
                Err(failure) if is_first => return Err(failure),
                // A full disk may be emptied.
                Err(failure) => eprintln!("moqt: {failure}"),
                Ok(()) => {}
            }
            is_first = false;
        }
        Ok(self.report.relays.values().any(|relay| relay.live))
    }

    fn add(&mut self, id: String, report: RelayReport) {
        for endpoint in &report.endpoints {
            if self.output.json {
                println!("{}", serde_json::json!(endpoint));
            } else if !self.output.quiet {
                println!("{}", line(endpoint, self.url_width));
            }
        }
        self.report.relays.insert(id, report);
    }

    fn write(&mut self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        self.report
            .write(file)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))
    }
}

/// What there is to say of an endpoint, for people.
fn line(endpoint: &EndpointReport, width: usize) -> String {
    let EndpointReport { url, transport, latency_ms, .. } = endpoint;
    let mark = if endpoint.live { '✓' } else { '✗' };
    let what = endpoint.error.clone().unwrap_or_else(|| {
        let newest_first = endpoint.drafts.iter().rev();
        newest_first.map(|draft| format!("draft-{draft}")).collect::<Vec<_>>().join(", ")
    });
    format!("{url:width$}  {transport:5}  {mark}  {what}  ({latency_ms} ms)")
}

fn path(flag: Option<&Path>, variable: &str) -> Option<PathBuf> {
    let said = || env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    flag.map(Path::to_owned).or_else(said)
}

fn seconds(flag: Option<Duration>, variable: &str) -> Result<Option<Duration>, Failure> {
    let value = env::var(variable).unwrap_or_default();
    if flag.is_some() || value.is_empty() {
        return Ok(flag);
    }
    let seconds = parse_seconds(&value);
    Ok(Some(seconds.map_err(|error| Failure::new(format!("{variable}: {error}")))?))
}

fn is_set(variable: &str) -> bool {
    !matches!(env::var(variable).unwrap_or_default().as_str(), "" | "0" | "false" | "no")
}
