use std::fmt;

use crate::{Version, code};

/// Why a session failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer violated HTTP/3 or WebTransport. The connection was closed.
    Connection {
        /// The HTTP/3 error code with which it was closed.
        code: u64,
        /// What was wrong.
        reason: &'static str,
    },
    /// The peer violated HTTP/3 or WebTransport. The CONNECT stream was reset.
    Session {
        /// The HTTP/3 error code with which it was reset.
        code: u64,
        /// What was wrong.
        reason: &'static str,
    },
    /// The peer reset the CONNECT stream, or does not read it any more.
    Reset {
        /// The HTTP/3 error code.
        code: u64,
    },
    /// The server is going away and takes no new session.
    GoingAway,
    /// The peer lacks what WebTransport needs. A client has closed the connection with
    /// `WT_REQUIREMENTS_NOT_MET`, a server has reset the request as malformed.
    RequirementsNotMet {
        /// What is missing.
        missing: Vec<Missing>,
    },
    /// The request cannot be sent as it is.
    Request {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The request is larger than the server takes.
    RequestTooLarge {
        /// The size of its field section, in bytes.
        size: usize,
        /// The most that the server takes.
        limit: u64,
    },
}

/// What a peer lacks for WebTransport.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A version of WebTransport that both speak.
    Version {
        /// What was offered.
        offered: Vec<Version>,
    },
    /// Extended CONNECT: SETTINGS_ENABLE_CONNECT_PROTOCOL.
    ExtendedConnect,
    /// HTTP datagrams: SETTINGS_H3_DATAGRAM.
    Datagrams,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { code, reason } => {
                write!(f, "the peer violates HTTP/3: {reason} ({})", Code(*code))
            }
            Self::Session { code, reason } => {
                write!(f, "the peer violates WebTransport: {reason} ({})", Code(*code))
            }
            Self::Reset { code: code::H3_REQUEST_REJECTED } => f.write_str(
                "the peer rejects the session without processing it (H3_REQUEST_REJECTED): try \
                 again later, on a connection of its own",
            ),
            Self::Reset { code } => {
                write!(f, "the peer gave up the session abruptly ({})", Code(*code))
            }
            Self::GoingAway => {
                f.write_str("the server is going away and takes no new session: connect again")
            }
            Self::RequirementsNotMet { missing } => {
                f.write_str("the peer does not support WebTransport over HTTP/3: it lacks ")?;
                for (at, missing) in missing.iter().enumerate() {
                    let and = if at == 0 { "" } else { " and " };
                    write!(f, "{and}{missing}")?;
                }
                f.write_str("; try raw QUIC, or another server")
            }
            Self::Request { reason } => write!(f, "the request cannot be sent: {reason}"),
            Self::RequestTooLarge { size, limit } => write!(
                f,
                "the request has {size} bytes of header fields and the server takes {limit}: \
                 shorten the path or the header fields"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { offered } => {
                f.write_str("a version of WebTransport that both sides speak (offered are ")?;
                for (at, version) in offered.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{version}")?;
                }
                f.write_str(")")
            }
            Self::ExtendedConnect => f.write_str("extended CONNECT (RFC 9220)"),
            Self::Datagrams => f.write_str("HTTP datagrams (RFC 9297)"),
        }
    }
}

/// A code by its name, or as a number.
struct Code(u64);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (code::name(self.0), code::error_from_http3(self.0)) {
            (Some(name), _) => f.write_str(name),
            (None, Some(application)) => write!(f, "application error {application:#x}"),
            (None, None) => write!(f, "HTTP/3 error {:#x}", self.0),
        }
    }
}
