//! `moqt relay`: between publishers and subscribers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use moqt_quic::{ClientTls, ServerOptions, ServerTls, Target, TargetError};
use moqt_relay_server::auth::{Guesses, Rules, Sources, WallClock};
use moqt_relay_server::directory::{FixedOrigins, OriginDirectory, RedisDirectory, RedisSettings};
use moqt_relay_server::observe::Observer;
use moqt_relay_server::{Relay, RelayOptions, Settings};
use serde::Serialize;

use crate::args::{CertHash, DraftArgs, OutputArgs, parse_hash, parse_seconds};
use crate::failure::Failure;
use crate::net;
use crate::progress::hex;
use crate::signals::{Signal, Signals};
use crate::stack::Stack;

/// What the command itself has for the log.
pub(crate) const LOG: &str = "relay";

/// What `moqt relay --help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  moqt relay
  moqt relay --bind 0.0.0.0:443 --cert fullchain.pem --key privkey.pem --auth-file auth.toml
  moqt relay --bind 127.0.0.1:4444 --upstream moqt://relay.example --drain 30s

Signals: TERM and INT ask clients to leave, and stop when they have, or --drain has passed; another
one stops at once. HUP reads certificate, key and token files again.";

#[derive(Clone, Debug, Args)]
pub(crate) struct RelayArgs {
    /// The address to listen on, for raw QUIC and WebTransport.
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:4443")]
    bind: SocketAddr,
    #[command(flatten)]
    drafts: DraftArgs,
    /// The certificate chain, a PEM file. Without it one is made up.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Threads to relay on; as many as there are cores if not given.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    shards: Option<u16>,
    /// A relay to ask for what is not published here, and to tell what is; may be given more than
    /// once.
    #[arg(long = "upstream", value_name = "URL")]
    upstreams: Vec<String>,
    /// Accept any certificate of upstreams. For tests: whoever is in between can read and change
    /// everything.
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trust the certificate authorities in this PEM file for upstreams.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256, in hexadecimal, for upstreams, and no other.
    #[arg(long, value_name = "HEX", value_parser = parse_hash)]
    cert_hash: Option<CertHash>,
    /// Allow what this file says, and nothing else.
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// Allow what tokens say that are signed with the key in this file (PEM or JWK), and nothing
    /// else; may be given more than once.
    #[arg(long = "jwt-key", value_name = "FILE")]
    jwt_keys: Vec<PathBuf>,
    /// Certificate authorities, a PEM file, by which other relays may prove who they are.
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Allow everything to a relay whose certificate has this name, such as *.edge.example, and
    /// nothing to those of whom nothing is known; may be given more than once.
    #[arg(long = "relay-name", value_name = "NAME", requires = "client_ca")]
    relay_names: Vec<String>,
    /// PEM files of a certificate chain and its key, to show to upstreams.
    #[arg(long, value_names = ["CHAIN", "KEY"], num_args = 2)]
    client_cert: Vec<PathBuf>,
    /// A relay that holds a namespace, its fields separated by slashes; may be given more than
    /// once.
    #[arg(long = "origin", value_name = "NAMESPACE=URL", conflicts_with = "directory")]
    origins: Vec<String>,
    /// A Redis in which relays tell each other which namespaces they hold.
    #[arg(long, value_name = "redis://HOST", requires = "own_url")]
    directory: Option<String>,
    /// Where other relays find this one.
    #[arg(long, value_name = "URL")]
    own_url: Option<String>,
    /// What it allows and keeps, a TOML file; see --print-config.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print such a file with all defaults, or with what --config says, and do nothing else.
    #[arg(long)]
    print_config: bool,
    /// Answer HTTP at this address: /metrics for Prometheus, and /health.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// How to write the log.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
    /// How long clients have to leave when the relay is stopped.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    drain: Duration,
    /// Where clients are to go when the relay is stopped.
    #[arg(long, value_name = "URL", default_value = "")]
    goaway_uri: String,
    /// Append TLS secrets to this file, to decrypt captures with. SSLKEYLOGFILE does the same.
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylogfile: Option<PathBuf>,
    /// Write what sessions say to qlog files in this folder, one a session.
    #[arg(long, value_name = "DIR")]
    qlog: Option<PathBuf>,
    /// Write that of sessions with this address only; may be given more than once.
    #[arg(long = "qlog-peer", value_name = "IP", requires = "qlog")]
    qlog_peers: Vec<IpAddr>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is listened on, for `--json`.
#[derive(Debug, Serialize)]
struct Listening {
    address: SocketAddr,
    urls: [String; 2],
    certificate_sha256: String,
    self_signed: bool,
    shards: u16,
    drafts: Vec<u8>,
    metrics: Option<SocketAddr>,
}

pub(crate) async fn run(args: &RelayArgs, output: &OutputArgs) -> Result<(), Failure> {
    let settings = args.settings()?;
    if args.print_config {
        print!("{}", settings.sample());
        return Ok(());
    }
    if args.drafts.transport != Stack::Quinn {
        return Err(Failure::new("a relay is made with --transport quinn alone for now"));
    }
    // Before anything is said: whoever reads it may send one at once.
    let mut signals = Signals::new()?;
    let (identity, is_self_signed) = net::identity(args.cert.as_deref(), args.key.as_deref())?;
    let hash = identity.sha256();
    let guesses = Guesses::default();
    let mut server = ServerOptions::new(identity);
    server.drafts = args.drafts.list();
    args.set_tls(&mut server.tls);
    let trace = crate::qlog::trace_of(args.qlog.as_deref(), &args.qlog_peers)?;
    server.trace.clone_from(&trace);
    let mut options = RelayOptions::new(args.bind, server);
    options.set(&settings);
    options.guesses = guesses.clone();
    options.rules = Rules::load(&args.sources(), WallClock::default(), guesses.clone())?;
    options.shards = args.shards.unwrap_or(options.shards);
    options.upstreams = args.targets()?;
    let verify = net::verify(args.insecure, args.cert_hash, args.ca.as_deref());
    options.client.tls = ClientTls::new(verify);
    options.client.tls.keylog.clone_from(&args.keylogfile);
    if let [chain, key] = &args.client_cert[..] {
        options.client.tls.certificate = Some((chain.clone(), key.clone()));
    }
    options.directory = args.directory()?;
    options.client.drafts = args.drafts.list();
    options.client.trace = trace;
    let (shards, drafts) = (options.shards, args.drafts.list());
    let mut relay = Relay::start(options)?;
    let local = relay.local_addr();
    let observer = match args.metrics {
        Some(address) => {
            Some(Observer::bind(address, relay.reporter()).await.map_err(|error| {
                Failure::new(format!("--metrics: cannot listen on {address}: {error}"))
            })?)
        }
        None => None,
    };
    let listening = Listening {
        address: local,
        urls: [format!("moqt://{local}"), format!("https://{local}")],
        certificate_sha256: hex(&hash),
        self_signed: is_self_signed,
        shards,
        drafts: drafts.into_iter().map(moqt_engine::Draft::number).collect(),
        metrics: observer.as_ref().map(Observer::local_addr),
    };
    announce(&listening, output)?;
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop => break,
                Signal::Reload => args.reload(&relay, &guesses),
            },
            () = relay.stopped() => return Err(Failure::new("every thread of it has ended")),
        }
    }
    tracing::info!(target: LOG, time = ?args.drain, "clients are asked to leave");
    relay.leave(&Bytes::from(args.goaway_uri.clone()), args.drain);
    loop {
        tokio::select! {
            signal = signals.next() => if let Signal::Stop = signal {
                relay.close();
            },
            () = relay.stopped() => {
                tracing::info!(target: LOG, "stopped");
                return Ok(());
            }
        }
    }
}

impl RelayArgs {
    fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        sources.file.clone_from(&self.auth_file);
        sources.jwt_keys.clone_from(&self.jwt_keys);
        sources.relay_certificates.clone_from(&self.relay_names);
        sources
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let Some(file) = &self.config else { return Ok(Settings::default()) };
        Ok(Settings::load(file)?)
    }

    fn set_tls(&self, tls: &mut ServerTls) {
        tls.keylog.clone_from(&self.keylogfile);
        tls.client_ca.clone_from(&self.client_ca);
    }

    /// Who knows which relay holds what.
    fn directory(&self) -> Result<Option<Arc<dyn OriginDirectory>>, Failure> {
        if let Some((redis, own)) = self.directory.as_ref().zip(self.own_url.as_ref()) {
            let mut settings = RedisSettings::default();
            settings.own_url = Some(own.clone());
            let directory = RedisDirectory::open(redis, settings);
            let directory =
                directory.map_err(|error| Failure::new(format!("--directory: {error}")))?;
            return Ok(Some(Arc::new(directory)));
        }
        let mut directory = FixedOrigins::default();
        for origin in &self.origins {
            let added = directory.add(origin);
            added.map_err(|error| Failure::new(format!("--origin {origin}: {error}")))?;
        }
        Ok((!self.origins.is_empty()).then(|| Arc::new(directory) as Arc<dyn OriginDirectory>))
    }

    fn targets(&self) -> Result<Vec<Target>, Failure> {
        let parse = |url: &String| {
            url.parse().map_err(|error: TargetError| Failure::new(format!("--upstream: {error}")))
        };
        self.upstreams.iter().map(parse).collect()
    }

    /// Reads files again. What is wrong with one is said, and the old one stays in force.
    fn reload(&self, relay: &Relay, guesses: &Guesses) {
        match Rules::load(&self.sources(), WallClock::default(), guesses.clone()) {
            Ok(rules) => {
                relay.set_rules(&rules);
                tracing::info!(target: LOG, "who may do what was read again");
            }
            Err(error) => kept(&error.to_string(), "the rules of before stay in force"),
        }
        if self.cert.is_none() {
            return;
        }
        let identity = net::identity(self.cert.as_deref(), self.key.as_deref());
        let set = identity.and_then(|(identity, _)| {
            let hash = hex(&identity.sha256());
            let mut tls = ServerTls::new(identity);
            self.set_tls(&mut tls);
            relay.set_tls(&tls)?;
            Ok(hash)
        });
        match set {
            Ok(sha256) => tracing::info!(target: LOG, sha256, "the certificate was read again"),
            Err(error) => kept(&error.to_string(), "the certificate of before stays in force"),
        }
    }
}

/// Something could not be read again.
fn kept(error: &str, what: &str) {
    tracing::error!(target: LOG, error, "{what}");
}

fn say(output: &OutputArgs, text: &str) {
    if !output.quiet {
        eprintln!("{text}");
    }
}

/// Says where it is, by which certificate it is known, and how to use it.
fn announce(listening: &Listening, output: &OutputArgs) -> Result<(), Failure> {
    if output.json {
        let line = serde_json::to_string(listening);
        println!("{}", line.map_err(|error| Failure::new(error.to_string()))?);
        return Ok(());
    }
    let [raw, http] = &listening.urls;
    say(output, &format!("relaying on {raw} and {http}"));
    let hash = &listening.certificate_sha256;
    if listening.self_signed {
        say(output, &format!("with a certificate made up for it: use -k, or --cert-hash {hash}"));
    } else {
        say(output, &format!("with the certificate whose SHA-256 is {hash}"));
    }
    if let Some(address) = listening.metrics {
        say(output, &format!("figures on http://{address}/metrics and /health"));
    }
    let track = "-k -n demo --trackname time";
    let clock = "while date; do sleep 1; done";
    say(output, &format!("publish:   {clock} | moqt pub {raw} {track} --lines -"));
    say(output, &format!("subscribe: moqt sub {raw} -k -n demo --trackname time"));
    Ok(())
}
