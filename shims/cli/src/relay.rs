//! `moqt relay`: between publishers and subscribers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use moqt_quic::{ClientTls, ServerOptions, ServerTls, Target, TargetError};
use moqt_relay_server::auth::{Guesses, Rules, Sources, WallClock};
use moqt_relay_server::{Relay, RelayOptions};
use serde::Serialize;

use crate::args::{CertHash, DraftArgs, OutputArgs, parse_hash, parse_seconds};
use crate::failure::Failure;
use crate::net;
use crate::progress::hex;
use crate::signals::{Signal, Signals};
use crate::stack::Stack;

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
    /// How long clients have to leave when the relay is stopped.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    drain: Duration,
    /// Where clients are to go when the relay is stopped.
    #[arg(long, value_name = "URL", default_value = "")]
    goaway_uri: String,
    /// Append TLS secrets to this file, to decrypt captures with. SSLKEYLOGFILE does the same.
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    keylogfile: Option<PathBuf>,
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
}

pub(crate) async fn run(args: &RelayArgs, output: &OutputArgs) -> Result<(), Failure> {
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
    server.tls.keylog.clone_from(&args.keylogfile);
    let mut options = RelayOptions::new(args.bind, server);
    options.rules = Rules::load(&args.sources(), WallClock::default(), guesses.clone())?;
    options.shards = args.shards.unwrap_or(options.shards);
    options.upstreams = args.targets()?;
    let verify = net::verify(args.insecure, args.cert_hash, args.ca.as_deref());
    options.client.tls = ClientTls::new(verify);
    options.client.tls.keylog.clone_from(&args.keylogfile);
    options.client.drafts = args.drafts.list();
    let (shards, drafts) = (options.shards, args.drafts.list());
    let mut relay = Relay::start(options)?;
    let local = relay.local_addr();
    let listening = Listening {
        address: local,
        urls: [format!("moqt://{local}"), format!("https://{local}")],
        certificate_sha256: hex(&hash),
        self_signed: is_self_signed,
        shards,
        drafts: drafts.into_iter().map(moqt_engine::Draft::number).collect(),
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
    say(output, &format!("clients have {:?} to leave; once more stops at once", args.drain));
    relay.leave(&Bytes::from(args.goaway_uri.clone()), args.drain);
    loop {
        tokio::select! {
            signal = signals.next() => if let Signal::Stop = signal {
                relay.close();
            },
            () = relay.stopped() => return Ok(()),
        }
    }
}

impl RelayArgs {
    fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        sources.file.clone_from(&self.auth_file);
        sources.jwt_keys.clone_from(&self.jwt_keys);
        sources
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
                tracing::info!("who may do what was read again");
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
            tls.keylog.clone_from(&self.keylogfile);
            relay.set_tls(&tls)?;
            Ok(hash)
        });
        match set {
            Ok(sha256) => tracing::info!(sha256, "the certificate was read again"),
            Err(error) => kept(&error.to_string(), "the certificate of before stays in force"),
        }
    }
}

/// Something could not be read again.
fn kept(error: &str, what: &str) {
    eprintln!("moqt: {error}; {what}");
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
    say(output, &format!("publish:   date | moqt pub {raw} -k -n demo --trackname time --lines -"));
    say(output, &format!("subscribe: moqt sub {raw} -k -n demo --trackname time"));
    Ok(())
}
