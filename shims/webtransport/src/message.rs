use bytes::Bytes;

/// A request for a session: extended CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Host and, unless it is 443, port, as in `example.com:4443`: `:authority`.
    pub authority: String,
    /// Path and query, as in `/moq?room=1`: `:path`, exactly as it came or is to be sent.
    pub path: String,
    /// Application protocols, the most preferred first: `WT-Available-Protocols`. Sent as strings.
    /// In what is received a token counts like a string, since some peers send that, although the
    /// text would have the field ignored; with anything else in it the field is ignored.
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
