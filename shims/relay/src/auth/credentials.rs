//! Where a peer shows its tokens.

use std::borrow::Cow;

use moqt_engine::model::AuthToken;
use moqt_relay::PeerInfo;

use super::pattern::unescape;

/// Tokens looked at in one place; there is no use for more, and each costs some work.
const MAX_TOKENS: usize = 8;
/// Segments of a path that may be tokens.
const MAX_SEGMENTS: usize = 8;
/// The type of tokens that both sides have agreed on otherwise (draft-18, "AUTHORIZATION TOKEN
/// Parameter"). All others are somebody else's, or greasing.
const OUT_OF_BAND: u64 = 0;
/// What a token is called in the query of a path.
const QUERY_KEYS: [&str; 2] = ["token", "jwt"];

/// The tokens of a message.
pub(super) fn of_message(tokens: &[AuthToken]) -> impl Iterator<Item = &[u8]> {
    let tokens = tokens.iter().filter_map(AuthToken::value);
    tokens.filter(|(kind, _)| *kind == OUT_OF_BAND).map(|(_, value)| &value[..]).take(MAX_TOKENS)
}

/// The tokens in the query of a peer's path.
fn in_query(peer: &PeerInfo) -> impl Iterator<Item = Vec<u8>> {
    let (_, query) = split(&peer.path);
    let tokens = query.split('&').filter_map(|pair| pair.split_once('='));
    let tokens = tokens.filter(|(key, _)| QUERY_KEYS.contains(key));
    // What cannot be unescaped is taken as it is, and fits nothing.
    tokens.map(|(_, value)| unescape(value).unwrap_or_else(|_| value.into())).take(MAX_TOKENS)
}

/// Parts of a peer's path that may be tokens, or may be not.
fn in_segments(peer: &PeerInfo) -> impl Iterator<Item = Vec<u8>> {
    let (path, _) = split(&peer.path);
    let segments = path.split('/').filter(|segment| !segment.is_empty()).take(MAX_SEGMENTS);
    segments.filter_map(|segment| unescape(segment).ok())
}

/// A path fit for the log: of its query the keys alone, and each segment for what it shows least.
///
/// A segment may be a token, so one that is longer than 16 bytes is left out.
pub fn path_without_secrets(path: &[u8]) -> String {
    let (path, query) = split(path);
    let segment = |segment| if str::len(segment) > 16 { "…" } else { segment };
    let mut shown = path.split('/').map(segment).collect::<Vec<_>>().join("/");
    for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((key, _)) => shown.extend([segment(key), "=…"]),
            None => shown.push('…'),
        }
    }
    shown
}

/// Path and query. What is no text has neither.
fn split(path: &[u8]) -> (&str, &str) {
    let path = std::str::from_utf8(path).unwrap_or_default();
    path.split_once('?').unwrap_or((path, ""))
}

/// All tokens that may have been shown for a session: those that certainly are, and those that
/// may be something else.
pub(super) fn of_session(peer: &PeerInfo) -> impl Iterator<Item = (Cow<'_, [u8]>, IsToken)> {
    let setup = of_message(&peer.tokens).map(|token| (Cow::Borrowed(token), IsToken::Yes));
    let query = in_query(peer).map(|token| (Cow::Owned(token), IsToken::Yes));
    let segments = in_segments(peer).map(|token| (Cow::Owned(token), IsToken::Perhaps));
    setup.chain(query).chain(segments)
}

/// Whether some bytes were meant as a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IsToken {
    Yes,
    Perhaps,
}
