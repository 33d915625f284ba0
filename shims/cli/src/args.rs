//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use moqt_engine::Draft;
use moqt_engine::model::{
    AuthToken, FullTrackName, JoiningStart, Location, LocationRange, SubscriptionFilter,
    TrackNamespace,
};

use crate::chat::ChatArgs;
use crate::clock::ClockArgs;
use crate::decode::DecodeArgs;
use crate::interop::InteropArgs;
use crate::man::{CompletionsArgs, ManArgs};
use crate::probe::ProbeArgs;
use crate::relay::RelayArgs;
use crate::stack::Stack;

/// Publish, subscribe, serve and measure Media over QUIC Transport (MoQT).
#[derive(Debug, Parser)]
#[command(name = "moqt", version, max_term_width = 100, after_help = "Start with `moqt demo`.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: a publisher and a subscriber over real QUIC on 127.0.0.1, in one process.
    #[command(after_help = "Examples:\n  moqt demo --draft 16 -t 10\n  moqt demo --webtransport")]
    Demo(DemoArgs),
    /// Serve a track to whoever connects and subscribes, without a relay.
    #[command(
        after_help = "Examples:\n  moqt serve --bind 127.0.0.1:4443 -n demo --trackname media movie.ts\n  ffmpeg -re -i in.mp4 -f mpegts - | moqt serve -n live --trackname tv -"
    )]
    Serve(ServeArgs),
    /// Publish a track to a relay or any other server.
    #[command(
        name = "pub",
        after_help = "Examples:\n  date | moqt pub moqt://127.0.0.1:4443 -k -n demo --trackname time --lines -\n  moqt pub moqt://127.0.0.1:4443 -k -n photos pictures/"
    )]
    Publish(PublishArgs),
    /// Subscribe to a track and write what comes to standard output.
    #[command(
        name = "sub",
        after_help = "Examples:\n  moqt sub moqt://127.0.0.1:4443 -k -n demo --trackname media > copy.ts\n  moqt sub https://127.0.0.1:4443/ -k -n demo --trackname media > copy.ts\n  moqt sub moqt://127.0.0.1:4443 -k -n photos --out copy/"
    )]
    Subscribe(SubscribeArgs),
    /// Receive a track from whoever connects and publishes it, without a relay.
    #[command(
        after_help = "Example:\n  moqt receive --bind 127.0.0.1:4443 -n demo --trackname media > copy.ts\n  moqt pub moqt://127.0.0.1:4443 -k -n demo --trackname media movie.ts"
    )]
    Receive(ReceiveArgs),
    /// Fetch a past range of a track.
    #[command(
        after_help = "Example:\n  moqt fetch moqt://127.0.0.1:4443 -k -n demo --trackname media --range 0..2 > head.ts"
    )]
    Fetch(FetchArgs),
    /// Join a track: its past, then what is published now, in order and without a gap.
    #[command(
        after_help = "Example:\n  moqt join moqt://127.0.0.1:4443 -k -n live --trackname tv --back 1 | ffplay -"
    )]
    Join(JoinArgs),
    /// Relay between publishers and subscribers, on one UDP port.
    #[command(after_help = crate::relay::EXAMPLES)]
    Relay(RelayArgs),
    /// Test a relay as moq-interop-runner does, and tell the outcome in TAP 14.
    #[command(after_help = crate::interop::EXAMPLES)]
    Interop(InteropArgs),
    /// Measure: rates, latency, loss, and what they cost.
    #[command(after_help = crate::bench::EXAMPLES)]
    Bench(crate::bench::BenchArgs),
    /// See which relays are there, and which drafts they speak.
    #[command(after_help = crate::probe::EXAMPLES)]
    Probe(ProbeArgs),
    /// Publish the time of day, or follow it.
    #[command(after_help = crate::clock::EXAMPLES)]
    Clock(ClockArgs),
    /// Meet others in a room and talk.
    #[command(after_help = crate::chat::EXAMPLES)]
    Chat(ChatArgs),
    /// Name every field of MoQT bytes, and say at which byte something is wrong.
    #[command(after_help = crate::decode::EXAMPLES)]
    Decode(DecodeArgs),
    /// Write the script that completes this command in a shell.
    #[command(after_help = crate::man::COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Write the manual pages of this command.
    #[command(after_help = crate::man::MAN_EXAMPLES)]
    Man(ManArgs),
    /// Print the versions that belong in a bug report.
    #[command(after_help = "Example:\n  moqt version --json")]
    Version,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct OutputArgs {
    /// Report in JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// Drafts to offer, and the QUIC stack to do it with.
#[derive(Clone, Debug, Args)]
pub(crate) struct DraftArgs {
    /// The QUIC stack to use.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) transport: Stack,
    /// Drafts to speak, a list; all of them if not given, the newest that both know is used.
    #[arg(long = "draft", value_delimiter = ',', value_name = "14|16|18", value_parser = parse_draft)]
    drafts: Vec<Draft>,
}

impl DraftArgs {
    /// Whether the command line names any.
    pub(crate) fn is_given(&self) -> bool {
        !self.drafts.is_empty()
    }

    pub(crate) fn list(&self) -> Vec<Draft> {
        let mut drafts =
            if self.drafts.is_empty() { Draft::ALL.into() } else { self.drafts.clone() };
        drafts.sort_by(|a, b| b.cmp(a));
        drafts.dedup();
        drafts
    }
}

pub(crate) fn parse_draft(text: &str) -> Result<Draft, String> {
    text.parse().map_err(|error: moqt_engine::model::UnknownDraft| error.to_string())
}

/// How to connect.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// `moqt://host[:port][/path][?query]` for raw QUIC, `https://host[:port]/path` for
    /// WebTransport; the port is 443 if not given.
    pub(crate) url: String,
    /// Speak raw QUIC, though the URL begins with https://.
    #[arg(short = 'Q', long)]
    pub(crate) force_quic: bool,
    #[command(flatten)]
    pub(crate) drafts: DraftArgs,
    /// Accept any certificate. For tests: whoever is in between can read and change everything.
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Trust the certificate authorities in this PEM file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256, in hexadecimal, and no other.
    #[arg(long, value_name = "HEX", value_parser = parse_hash)]
    pub(crate) cert_hash: Option<CertHash>,
    /// Give up connecting after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) connect_timeout: Duration,
    /// Append TLS secrets to this file, to decrypt captures with. SSLKEYLOGFILE does the same.
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    pub(crate) keylogfile: Option<PathBuf>,
    /// Write what sessions say to qlog files in this folder, one a session.
    #[arg(long, value_name = "DIR")]
    pub(crate) qlog: Option<PathBuf>,
    /// A token to authorize the session and each request with.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) auth_token: Option<String>,
}

impl ConnectArgs {
    pub(crate) fn tokens(&self) -> Vec<AuthToken> {
        tokens(self.auth_token.as_deref())
    }
}

/// What a token on the command line is, to be sent.
pub(crate) fn tokens(token: Option<&str>) -> Vec<AuthToken> {
    let value = |token: &str| AuthToken::UseValue {
        token_type: 0,
        value: token.to_owned().into_bytes().into(),
    };
    token.into_iter().map(value).collect()
}

/// The SHA-256 of a certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertHash(pub(crate) [u8; 32]);

pub(crate) fn parse_hash(text: &str) -> Result<CertHash, String> {
    let wrong = || "a SHA-256 is 64 hexadecimal digits".to_string();
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() != 64 {
        return Err(wrong());
    }
    Ok(CertHash(bytes.try_into().map_err(|_| wrong())?))
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a time one can wait".to_string())
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => text.split_at(end),
        None => (text, ""),
    };
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(format!("{unit:?} is no unit: use k, M or G")),
    };
    let number: usize = digits.parse().map_err(|_| "not a number of bytes".to_string())?;
    number.checked_mul(1 << shift).ok_or_else(|| "too many bytes".into())
}

/// Which track.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrackArgs {
    /// The namespace, its fields separated by slashes.
    #[arg(short, long, value_name = "FIELD/FIELD", default_value = "demo")]
    pub(crate) namespace: String,
    /// The track's name, or the whole name in the form `ns-fields--name`.
    #[arg(long, value_name = "NAME", default_value = "track")]
    pub(crate) trackname: String,
}

impl TrackArgs {
    pub(crate) fn full_name(&self) -> Result<FullTrackName, String> {
        if self.trackname.contains("--") {
            return self
                .trackname
                .parse()
                .map_err(|error| format!("--trackname {}: {error}", self.trackname));
        }
        let fields = self.namespace.split('/').filter(|field| !field.is_empty());
        TrackNamespace::new(fields)
            .and_then(|namespace| {
                FullTrackName::new(namespace, self.trackname.clone().into_bytes())
            })
            .map_err(|error| format!("the track's name: {error}"))
    }
}

/// What to publish, and how.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct SourceArgs {
    /// The file to publish, or - for standard input. Of a folder each file is published as a track
    /// of its name; `moqt sub --out` makes a copy of it.
    #[arg(default_value = "-", value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Bytes of an object; 16384 if not given, 1000 with --datagram.
    #[arg(short = 's', long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    object_size: Option<u32>,
    /// Each line is an object.
    #[arg(long, conflicts_with_all = ["object_size", "length_prefix"])]
    lines: bool,
    /// Each object is preceded by its length, four bytes, most significant first.
    #[arg(long, conflicts_with = "object_size")]
    length_prefix: bool,
    /// Objects of a group.
    #[arg(short, long, value_name = "OBJECTS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) group_size: u64,
    /// Begin a group every so often instead.
    #[arg(long, value_name = "SECONDS", conflicts_with = "group_size", value_parser = parse_seconds)]
    pub(crate) group_every: Option<Duration>,
    /// Subgroups that the objects of a group are dealt to, each a stream of its own.
    #[arg(short = 'P', long, value_name = "STREAMS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) streams: u64,
    /// Send objects in datagrams. They can be lost.
    #[arg(short = 'D', long)]
    pub(crate) datagram: bool,
    /// Objects a second; 0 means as fast as the subscribers take them.
    #[arg(short, long, value_name = "OBJECTS", default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Begin the file again when it ends.
    #[arg(long = "loop")]
    pub(crate) repeat: bool,
    /// Bytes of memory for what those who fetch or join are given; k, M and G may follow. A file
    /// is read again: of it only where its groups begin is kept.
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = parse_bytes)]
    pub(crate) history: usize,
}

impl SourceArgs {
    /// The size of the objects that files of a folder are cut into, which are all there at once.
    pub(crate) fn of_folder(&self) -> Result<usize, String> {
        let wrong = [
            ("--lines", self.lines),
            ("--length-prefix", self.length_prefix),
            ("--group-every", self.group_every.is_some()),
            ("--streams", self.streams != 1),
            ("--datagram", self.datagram),
            ("--rate", self.rate != 0.0),
            ("--loop", self.repeat),
        ];
        match wrong.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(format!("{option} is not for folders: leave it out")),
            None => Ok(self.object_size.unwrap_or(16 * 1024) as usize),
        }
    }

    pub(crate) fn cut(&self) -> crate::source::Cut {
        if self.lines {
            return crate::source::Cut::Lines;
        }
        if self.length_prefix {
            return crate::source::Cut::LengthPrefix;
        }
        let default = if self.datagram { 1000 } else { 16 * 1024 };
        crate::source::Cut::Size(self.object_size.unwrap_or(default) as usize)
    }
}

/// When a source begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Start {
    /// With the first subscriber.
    First,
    /// At once, whoever listens.
    Now,
}

/// Where to listen, and to whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListenArgs {
    /// The address to listen on.
    #[arg(short, long, value_name = "ADDRESS", default_value = "127.0.0.1:4443")]
    pub(crate) bind: SocketAddr,
    #[command(flatten)]
    pub(crate) drafts: DraftArgs,
    /// The certificate chain, a PEM file. Without it one is made up.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Answer only those who bring this token; may be given more than once, then one of them is
    /// enough.
    #[arg(long = "auth-token", value_name = "TOKEN")]
    pub(crate) auth_tokens: Vec<String>,
    /// Append TLS secrets to this file, to decrypt captures with. SSLKEYLOGFILE does the same.
    #[arg(long, value_name = "FILE", env = "SSLKEYLOGFILE")]
    pub(crate) keylogfile: Option<PathBuf>,
    /// Write what sessions say to qlog files in this folder, one a session.
    #[arg(long, value_name = "DIR")]
    pub(crate) qlog: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) track: TrackArgs,
    /// When to begin.
    #[arg(long, value_enum, default_value_t = Start::First)]
    pub(crate) start: Start,
    /// Leave when the track has ended and every subscriber has it.
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) reconnect: ReconnectArgs,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) track: TrackArgs,
    /// Announce the namespace and wait to be subscribed to, instead of sending PUBLISH.
    #[arg(long, conflicts_with = "pub_both")]
    pub(crate) pub_ns: bool,
    /// Announce the namespace and send PUBLISH, for relays that want both.
    #[arg(long)]
    pub(crate) pub_both: bool,
    /// Stay so long when all is sent, unless the peer leaves: what it has not read by then is
    /// lost to it.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub(crate) linger: Duration,
}

/// What to do with what comes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SinkArgs {
    /// Write the payload to a file of the track's name in this folder. If the track tells of a
    /// folder, `sub` makes a copy of that here, going on where an earlier one ended.
    #[arg(long, value_name = "DIR", conflicts_with = "meta")]
    pub(crate) out: Option<PathBuf>,
    /// Write one line of JSON an object instead of its payload.
    #[arg(long)]
    pub(crate) meta: bool,
}

/// Which track to receive, and what to do with it.
#[derive(Clone, Debug, Args)]
pub(crate) struct WantedArgs {
    #[command(flatten)]
    pub(crate) track: TrackArgs,
    /// The priority to ask for; lower is more urgent. `join` asks for the past a
    /// little more urgently.
    #[arg(long, value_name = "0-255")]
    pub(crate) priority: Option<u8>,
    #[command(flatten)]
    pub(crate) sink: SinkArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ReconnectArgs {
    /// If the session is lost, connect again, trying for so many seconds, and go on where it broke
    /// off.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) reconnect: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) reconnect: ReconnectArgs,
    #[command(flatten)]
    pub(crate) wanted: WantedArgs,
    /// Which objects: all (from now on), latest, next-group, GROUP[.OBJECT] to begin there, or
    /// GROUP[.OBJECT]..GROUP to end with a group, too.
    #[arg(long, default_value = "all", value_parser = parse_filter)]
    pub(crate) filter: Filter,
    /// Wait this many seconds for what is missing before going on without it.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) gap_timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReceiveArgs {
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) wanted: WantedArgs,
    /// Wait this many seconds for what is missing before going on without it.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) gap_timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) wanted: WantedArgs,
    /// Which objects: GROUP[.OBJECT] to begin there and go on to what was published last, or
    /// GROUP[.OBJECT]..GROUP[.OBJECT], both included.
    #[arg(long, default_value = "0", value_parser = parse_range)]
    pub(crate) range: LocationRange,
    /// The newest group first.
    #[arg(long)]
    pub(crate) descending: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct JoinArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    #[command(flatten)]
    pub(crate) reconnect: ReconnectArgs,
    #[command(flatten)]
    pub(crate) wanted: WantedArgs,
    /// Begin so many groups before the current one.
    #[arg(long, value_name = "GROUPS", default_value_t = 0)]
    back: u64,
    /// Begin with this group instead.
    #[arg(long, value_name = "GROUP", conflicts_with = "back")]
    from: Option<u64>,
    /// Wait this many seconds for what is missing before going on without it.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub(crate) gap_timeout: Duration,
}

impl JoinArgs {
    pub(crate) fn start(&self) -> JoiningStart {
        self.from.map_or(JoiningStart::Relative(self.back), JoiningStart::Absolute)
    }
}

/// `None` is everything from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter(pub(crate) Option<SubscriptionFilter>);

fn parse_filter(text: &str) -> Result<Filter, String> {
    let wrong =
        || "use all, latest, next-group, GROUP[.OBJECT] or GROUP[.OBJECT]..GROUP".to_string();
    let location = parse_location;
    Ok(Filter(Some(match text {
        "all" => return Ok(Filter(None)),
        "latest" => SubscriptionFilter::LargestObject,
        "next-group" => SubscriptionFilter::NextGroupStart,
        _ => match text.split_once("..") {
            None => SubscriptionFilter::AbsoluteStart { start: location(text).ok_or_else(wrong)? },
            Some((start, end)) => {
                let start = location(start).ok_or_else(wrong)?;
                let end_group = end.parse().map_err(|_| wrong())?;
                if end_group < start.group {
                    return Err("the range ends before it begins".into());
                }
                SubscriptionFilter::AbsoluteRange { start, end_group }
            }
        },
    })))
}

/// `GROUP[.OBJECT]`
fn parse_location(text: &str) -> Option<Location> {
    let (group, object) = text.split_once('.').unwrap_or((text, "0"));
    Some(Location::new(group.parse().ok()?, object.parse().ok()?))
}

fn parse_range(text: &str) -> Result<LocationRange, String> {
    /// The largest group that every draft can write.
    const LAST_GROUP: u64 = (1 << 62) - 1;
    let wrong = || "use GROUP[.OBJECT] or GROUP[.OBJECT]..GROUP[.OBJECT]".to_string();
    let (start, end) = match text.split_once("..") {
        Some((start, "")) => (start, None),
        Some((start, end)) => (start, Some(end)),
        None => (text, None),
    };
    let start = parse_location(start).ok_or_else(wrong)?;
    let range = match end {
        None => LocationRange::new(start, Location::new(LAST_GROUP, 0)),
        Some(end) if end.contains('.') => {
            LocationRange::to_last(start, parse_location(end).ok_or_else(wrong)?)
        }
        Some(end) => LocationRange::new(start, parse_location(end).ok_or_else(wrong)?),
    };
    if range.is_backwards() {
        return Err("the range ends before it begins".into());
    }
    Ok(range)
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) drafts: DraftArgs,
    /// Over WebTransport instead of raw QUIC.
    #[arg(long)]
    pub(crate) webtransport: bool,
    /// Payload bytes of an object.
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub(crate) object_size: u32,
    /// Objects a second.
    #[arg(short, long, value_name = "OBJECTS", default_value_t = 2000.0)]
    pub(crate) rate: f64,
    /// How long to publish.
    #[arg(short = 't', long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    pub(crate) duration: Duration,
    /// Objects of a group.
    #[arg(short, long, value_name = "OBJECTS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) group_size: u64,
    /// Subgroups that the objects of a group are dealt to.
    #[arg(short = 'P', long, value_name = "STREAMS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) streams: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_are_taken_in_both_forms() {
        let track = |namespace: &str, trackname: &str| {
            TrackArgs { namespace: namespace.into(), trackname: trackname.into() }.full_name()
        };
        let long = track("ignored", "example.2enet-a--report").unwrap();
        assert_eq!(track("example.net/a", "report").unwrap(), long);
        assert!(track("x", "A--.41").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("123"), Ok(123));
        assert_eq!(parse_bytes("64M"), Ok(64 << 20));
        for wrong in ["", "M", "1 M", "1T", "99999999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_include_their_ends() {
        let at = Location::new;
        assert_eq!(parse_range("1.2..3.4"), Ok(LocationRange::new(at(1, 2), at(3, 5))));
        assert_eq!(parse_range("1..3"), Ok(LocationRange::new(at(1, 0), at(3, 0))));
        assert_eq!(parse_range("7").map(|range| range.start), Ok(at(7, 0)));
        assert!(parse_range("7..").is_ok_and(|range| range.contains(at(1 << 60, 9))));
        for wrong in ["", "x", "3..1", "1.5..1.4", "1..2..3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn filters_say_where_to_begin_and_end() {
        let absolute = parse_filter("7.2..9").unwrap().0.unwrap();
        let start = Location::new(7, 2);
        assert_eq!(absolute, SubscriptionFilter::AbsoluteRange { start, end_group: 9 });
        assert!(parse_filter("9..7").is_err());
        assert!(parse_filter("latest-ish").is_err());
        assert!(parse_filter("all").unwrap().0.is_none());
    }
}
