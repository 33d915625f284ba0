use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use moqt_engine::{CloseReason, Draft, Transport};

use crate::failure::Failure;
use crate::target::Scheme;

/// A configuration that cannot work.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read, or does not hold what it should.
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no root certificates.
    NoRoots {
        /// What was tried.
        reason: String,
    },
    /// Certificate and key do not fit each other or are of a kind that cannot be used.
    Tls(rustls::Error),
    /// No draft is offered.
    NoDrafts,
    /// The QUIC stack cannot do what the transport's options ask for.
    Transport(String),
    /// A certificate could not be made.
    SelfSigned(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, what, reason } => {
                write!(f, "cannot read {what} from {}: {reason}", path.display())
            }
            Self::NoRoots { reason } => write!(
                f,
                "the system has no root certificates ({reason}): install them, or name a CA file, \
                 or pin the server's certificate"
            ),
            Self::Tls(error) => write!(f, "certificate and key cannot be used: {error}"),
            Self::NoDrafts => {
                write!(f, "no draft to offer: choose {}, or several", moqt_engine::Draft::choice())
            }
            Self::Transport(reason) => f.write_str(reason),
            Self::SelfSigned(reason) => write!(f, "cannot make a certificate: {reason}"),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

/// Why there is no session.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// This side's configuration cannot work.
    Config(ConfigError),
    /// The host's name could not be resolved.
    Resolve {
        /// The host.
        host: String,
        /// What happened.
        error: io::Error,
    },
    /// There is no socket to send from.
    Socket(io::Error),
    /// The target cannot be connected to as it is.
    Target(String),
    /// Nothing came back in time.
    Timeout {
        /// Where it should have come from.
        remote: SocketAddr,
        /// How long was waited.
        after: Duration,
        /// The QUIC handshake was complete, but MoQT's SETUP did not come.
        handshake_complete: bool,
    },
    /// The server speaks none of the drafts offered.
    NoCommonDraft {
        /// What was offered.
        offered: Vec<Draft>,
        /// Over what.
        transport: Transport,
    },
    /// The server does not speak HTTP/3.
    NoHttp3,
    /// The server has refused the request for a WebTransport session.
    Status {
        /// The HTTP status of its answer.
        status: u16,
        /// The drafts that were offered.
        offered: Vec<Draft>,
    },
    /// HTTP/3 or WebTransport failed.
    WebTransport(String),
    /// The server's certificate was not accepted.
    Certificate(String),
    /// The server takes no connection.
    Refused(SocketAddr),
    /// QUIC failed otherwise.
    Quic(Box<dyn std::error::Error + Send + Sync>),
    /// MoQT's setup failed.
    Setup(CloseReason),
    /// The runtime that drives the socket is shutting down.
    Stopped,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Resolve { host, error } => {
                write!(f, "cannot find the address of {}: {error}", host.escape_debug())
            }
            Self::Socket(error) => write!(f, "cannot open a UDP socket: {error}"),
            Self::Target(reason) => f.write_str(reason),
            Self::Timeout { remote, after, handshake_complete: false } => write!(
                f,
                "no answer from {remote} within {after:.1?}: is something listening on that UDP \
                 port, and does a firewall let it through? Some servers are silent, too, when they \
                 speak none of the drafts offered"
            ),
            Self::Timeout { remote, after, handshake_complete: true } => write!(
                f,
                "{remote} speaks QUIC but sent no MoQT SETUP within {after:.1?}; try another draft"
            ),
            Self::NoCommonDraft { offered, transport } => {
                let (over, other) = match transport {
                    Transport::Quic => ("raw QUIC", "https:// for WebTransport"),
                    Transport::WebTransport => ("WebTransport", "moqt:// for raw QUIC"),
                };
                let offered = List(offered);
                write!(
                    f,
                    "the server speaks none of the drafts offered ({offered}) over {over}: try \
                     another draft, or {other}"
                )
            }
            Self::NoHttp3 => f.write_str(
                "the server does not speak HTTP/3 there, on which WebTransport stands: try moqt:// \
                 for raw QUIC",
            ),
            Self::Status { status, offered } => {
                write!(f, "the server answers the request for a session with status {status}: ")?;
                match status {
                    300..400 => f.write_str("it is to be had elsewhere"),
                    400 => write!(
                        f,
                        "perhaps it speaks none of the drafts offered ({})",
                        List(offered)
                    ),
                    429 | 503 => f.write_str("try again later"),
                    _ => f.write_str("check path and token"),
                }
            }
            Self::WebTransport(reason) => write!(f, "WebTransport failed: {reason}"),
            Self::Certificate(reason) => write!(
                f,
                "the server's certificate was not accepted ({reason}): name its CA, pin its hash, \
                 or switch verification off for a test"
            ),
            Self::Refused(remote) => write!(f, "{remote} refuses the connection; try again later"),
            Self::Quic(error) => write!(f, "QUIC connection failed: {error}"),
            Self::Setup(reason) => write!(f, "MoQT setup failed: {reason}"),
            Self::Stopped => f.write_str("the runtime is shutting down"),
        }
    }
}

/// Drafts, for people.
struct List<'a>(&'a [Draft]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, draft) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{draft}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Resolve { error, .. } | Self::Socket(error) => Some(error),
            Self::Quic(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// How rustls begins when it does not accept a certificate, whatever the alert.
const BAD_CERTIFICATE: &str = "invalid peer certificate: ";

impl ConnectError {
    /// What it means that no session came to be after QUIC's handshake. `offered` are the drafts
    /// that this side offered.
    pub fn from_failure(failure: &Failure, offered: &[Draft]) -> Self {
        match failure {
            Failure::NoDraft { transport } => {
                Self::NoCommonDraft { offered: offered.to_vec(), transport: *transport }
            }
            Failure::Status(status) => Self::Status { status: *status, offered: offered.to_vec() },
            failure => Self::WebTransport(failure.to_string()),
        }
    }

    /// What it means that the server accepts none of the ALPN identifiers offered.
    pub fn no_alpn(offered: &[Draft], scheme: Scheme) -> Self {
        match scheme {
            Scheme::Quic => {
                Self::NoCommonDraft { offered: offered.to_vec(), transport: Transport::Quic }
            }
            Scheme::WebTransport => Self::NoHttp3,
        }
    }

    /// What it means that TLS failed with this description of rustls's: `None` if it was not for
    /// the server's certificate.
    pub fn certificate(reason: &str) -> Option<Self> {
        let reason = reason.strip_prefix(BAD_CERTIFICATE)?;
        // An error that is not rustls's own, without what wraps it.
        let own = reason.strip_prefix("Other(OtherError(").and_then(|own| own.strip_suffix("))"));
        Some(Self::Certificate(own.unwrap_or(reason).to_owned()))
    }
}
