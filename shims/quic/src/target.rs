use std::fmt;
use std::str::FromStr;

use moqt_webtransport::Request;

/// Where to connect to: what a URL says.
///
/// ```
/// use moqt_quic::{Scheme, Target};
///
/// let target: Target = "moqt://relay.example/live?token=x".parse()?;
/// assert_eq!((target.host(), target.port()), ("relay.example", 443));
/// assert_eq!(target.path(), "/live?token=x");
/// assert_eq!(target.scheme(), Scheme::Quic);
/// # Ok::<(), moqt_quic::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// What carries the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `moqt://`, raw QUIC.
    Quic,
    /// `https://`, WebTransport over HTTP/3.
    WebTransport,
}

/// The port where a URL names none.
const DEFAULT_PORT: u16 = 443;

/// A text that is not the URL of a MoQT server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    url: String,
    problem: &'static str,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; expected moqt://host[:port][/path][?query] or https://host[:port]/path",
            self.url.escape_debug(),
            self.problem
        )
    }
}

impl std::error::Error for TargetError {}

impl Target {
    /// What carries the session.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The same place, over raw QUIC.
    #[must_use]
    pub fn over_quic(mut self) -> Self {
        self.scheme = Scheme::Quic;
        self
    }

    /// The host's name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as the URL has them, for AUTHORITY.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query as the URL has them, for PATH. May be empty.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The request for a WebTransport session there: `:authority` without what stands before an
    /// `@`, and `:path`, which is at least a slash.
    pub fn request(&self) -> Request {
        let authority = self.authority.rsplit('@').next().unwrap_or_default();
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        Request::new(authority, format!("{slash}{}", self.path))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let fail = |problem| TargetError { url: url.chars().take(200).collect(), problem };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| fail("there is no scheme"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "moqt" => Scheme::Quic,
            "https" => Scheme::WebTransport,
            _ => return Err(fail("the scheme is not known")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let host_and_port = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match host_and_port.strip_prefix('[') {
            Some(rest) => {
                let (host, port) =
                    rest.split_once(']').ok_or_else(|| fail("the bracket is not closed"))?;
                (host, port.strip_prefix(':'))
            }
            None => match host_and_port.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host_and_port, None),
            },
        };
        if host.is_empty() {
            return Err(fail("there is no host"));
        }
        let port = match port {
            None | Some("") => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(fail("the port is not a number from 1 to 65535")),
            },
        };
        let (host, authority) = (host.to_owned(), authority.to_owned());
        Ok(Self { scheme, host, port, authority, path: path.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Quic => "moqt",
            Scheme::WebTransport => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, path) in [
            ("moqt://localhost:4443", "localhost", 4443, ""),
            ("MOQT://127.0.0.1/a/b?c=d", "127.0.0.1", 443, "/a/b?c=d"),
            ("moqt://[::1]:5000/x", "::1", 5000, "/x"),
            ("https://relay.example?q", "relay.example", 443, "?q"),
            ("moqt://user@host:1/#frag", "host", 1, "/"),
        ] {
            let target: Target = url.parse().unwrap();
            assert_eq!((target.host(), target.port(), target.path()), (host, port, path), "{url}");
        }
        for url in
            ["localhost:4443", "ftp://x", "moqt://", "moqt://:1", "moqt://h:0", "moqt://[::1"]
        {
            assert!(url.parse::<Target>().is_err(), "{url}");
        }
    }
}
