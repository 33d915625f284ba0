use bytes::Bytes;

use crate::fields::{self, Malformed, Sorted};
use crate::qpack::Field;
use crate::{Version, protocols};

/// A request for a session: extended CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Host and, unless it is 443, port, as in `example.com:4443`: `:authority`.
    pub authority: String,
    /// Path and query, as in `/moq?room=1`: `:path`, exactly as it came or is to be sent.
    pub path: String,
    /// Application protocols, the most preferred first: `WT-Available-Protocols`. Sent as strings,
    /// which take printable ASCII only. In what is received a token counts like a string, since
    /// some peers send that, although the text would have the field ignored; with anything else in
    /// it the field is ignored.
    pub protocols: Vec<String>,
    /// All other header fields, in order, with names in lower case. Repeated ones stay apart.
    pub headers: Vec<(String, Bytes)>,
}

impl Request {
    /// A request for this path of this authority.
    pub fn new(authority: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            authority: authority.into(),
            path: path.into(),
            protocols: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// The values of a header field, whose name is in lower case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        values(&self.headers, name)
    }

    /// The field section that asks for the session, unless something in it cannot be sent.
    pub(crate) fn encode(&self, version: Version) -> Result<Vec<Field>, Malformed> {
        let mut fields = vec![
            Field::new(":method", "CONNECT"),
            Field::new(":protocol", version.upgrade_token()),
            Field::new(":scheme", "https"),
            Field::new(":authority", self.authority.clone()),
            Field::new(":path", self.path.clone()),
        ];
        if version.has_version_fields() {
            fields.push(Field::new("sec-webtransport-http3-draft02", "1"));
        }
        if !self.protocols.is_empty() {
            let value = protocols::encode(self.protocols.iter().map(String::as_str));
            let value =
                value.ok_or(Malformed("a protocol is not of printable ASCII characters"))?;
            fields.push(Field::new(protocols::AVAILABLE, value));
        }
        fields.extend(
            self.headers.iter().map(|(name, value)| Field::new(name.clone(), value.clone())),
        );
        // What would be malformed there is not sent from here.
        Asked::decode(&fields)?;
        Ok(fields)
    }
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A session, with this upgrade token.
    Session { request: Request, token: String },
    /// Something that there is not, and the status to say so.
    Else { status: u16 },
}

impl Asked {
    pub(crate) fn decode(field_section: &[Field]) -> Result<Self, Malformed> {
        const NAMES: [&str; 5] = [":method", ":protocol", ":scheme", ":authority", ":path"];
        let Sorted { pseudo, headers } = fields::sort(field_section, NAMES)?;
        let [method, protocol, scheme, authority, path] = pseudo;
        let method = method.ok_or(Malformed("a request without :method"))?;
        let Some(token) = protocol else {
            return ordinary(method, [scheme, authority, path]);
        };
        if method != "CONNECT" {
            return Err(Malformed(":protocol without CONNECT"));
        }
        let (Some(scheme), Some(authority), Some(path)) = (scheme, authority, path) else {
            return Err(Malformed("extended CONNECT without :scheme, :authority or :path"));
        };
        if !Version::ALL.iter().any(|version| version.upgrade_token() == token) {
            return Ok(Self::Else { status: 501 });
        }
        if scheme != "https" {
            return Err(Malformed("a session with another :scheme than https"));
        }
        if authority.is_empty() || authority.contains(['@', '/']) {
            return Err(Malformed(":authority is not host and port"));
        }
        if !path.starts_with('/') {
            return Err(Malformed(":path does not begin with a slash"));
        }
        let same = |host: &Bytes| host.eq_ignore_ascii_case(authority.as_bytes());
        if !values(&headers, "host").all(same) {
            return Err(Malformed("Host is not the same as :authority"));
        }
        let mut request = Request::new(authority, path);
        request.protocols = protocols::decode_list(&lines(&headers, protocols::AVAILABLE));
        request.headers = without(headers, protocols::AVAILABLE);
        Ok(Self::Session { request, token: token.to_owned() })
    }
}

/// A request for anything but extended CONNECT.
fn ordinary(
    method: &str,
    [scheme, authority, path]: [Option<&str>; 3],
) -> Result<Asked, Malformed> {
    if method == "CONNECT" {
        // RFC 9114, section 4.4.
        if scheme.is_some() || path.is_some() || authority.is_none() {
            return Err(Malformed("CONNECT takes :authority alone"));
        }
        return Ok(Asked::Else { status: 501 });
    }
    if scheme.is_none() || path.is_none_or(str::is_empty) {
        return Err(Malformed("a request without :scheme or :path"));
    }
    Ok(Asked::Else { status: 404 })
}

/// An answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The HTTP status code, 200 to 999.
    pub status: u16,
    /// The application protocol that the server chose, which is one that was offered:
    /// `WT-Protocol`.
    pub protocol: Option<String>,
    /// All other header fields, in order, with names in lower case. Repeated ones stay apart.
    pub headers: Vec<(String, Bytes)>,
}

impl Response {
    /// The values of a header field, whose name is in lower case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        values(&self.headers, name)
    }

    /// A field section that is nothing but a status.
    pub(crate) fn bare(status: u16) -> Vec<Field> {
        vec![Field::new(":status", status.to_string())]
    }

    pub(crate) fn encode(&self, version: Option<Version>) -> Vec<Field> {
        let mut fields = Self::bare(self.status);
        if version.is_some_and(Version::has_version_fields) {
            fields.push(Field::new("sec-webtransport-http3-draft", "draft02"));
        }
        let chosen = protocols::encode(self.protocol.as_deref());
        fields.extend(chosen.map(|value| Field::new(protocols::CHOSEN, value)));
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| Field::new(name.clone(), value.clone()));
        fields.extend(headers.filter(|field| fields::check(field).is_ok()));
        fields
    }

    pub(crate) fn decode(field_section: &[Field]) -> Result<Self, Malformed> {
        let Sorted { pseudo: [status], headers } = fields::sort(field_section, [":status"])?;
        let status = status.filter(|status| status.len() == 3);
        let status =
            status.and_then(|status| status.bytes().all(|b| b.is_ascii_digit()).then_some(status));
        let status = status.and_then(|status| status.parse().ok()).filter(|status| *status >= 100);
        let Some(status) = status else {
            return Err(Malformed("a response whose :status is no number from 100 to 999"));
        };
        let protocol = protocols::decode_item(&lines(&headers, protocols::CHOSEN));
        Ok(Self { status, protocol, headers: without(headers, protocols::CHOSEN) })
    }

    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

fn values<'a>(headers: &'a [(String, Bytes)], name: &'a str) -> impl Iterator<Item = &'a Bytes> {
    headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value)
}

fn lines<'a>(headers: &'a [(String, Bytes)], name: &'a str) -> Vec<&'a [u8]> {
    values(headers, name).map(|value| &value[..]).collect()
}

fn without(mut headers: Vec<(String, Bytes)>, name: &str) -> Vec<(String, Bytes)> {
    headers.retain(|(other, _)| other != name);
    headers
}
