//! Tokens that are known beforehand.

use std::fmt;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

use super::grant::Grant;

/// SHA-256 of a token; the token itself is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(token: &[u8]) -> Self {
        let mut hash = [0; 32];
        // It has that many bytes.
        hash.iter_mut().zip(digest(&SHA256, token).as_ref()).for_each(|(to, from)| *to = *from);
        Self(hash)
    }

    /// A hash from its 64 hex digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u32> =
            text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
        let pairs =
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |sum, digit| sum * 16 + digit));
        let bytes: Vec<u8> = pairs.filter_map(|byte| u8::try_from(byte).ok()).collect();
        (text.len() == 64).then_some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Debug for TokenHash {
    /// A hash of a weak token is as good as the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// One token, and what it allows.
#[derive(Clone, Debug)]
pub(super) struct TokenEntry {
    pub(super) hash: TokenHash,
    pub(super) name: Option<String>,
    pub(super) grants: Vec<Grant>,
    /// Until when, since the start of 1970.
    pub(super) expires: Option<Duration>,
}

/// What was found of a token.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Entries that hold, at least one.
    Valid(Vec<&'a TokenEntry>),
    /// It has been valid.
    Expired,
    /// It is not known.
    Unknown,
}

/// Finds a token among all entries, in a time that does not tell which it is like.
pub(super) fn find<'a>(entries: &'a [TokenEntry], token: &[u8], now: Duration) -> Found<'a> {
    let hash = TokenHash::of(token);
    let is_same = |entry: &TokenEntry| entry.hash.0.ct_eq(&hash.0);
    let same: Vec<Choice> = entries.iter().map(is_same).collect();
    let known = entries.iter().zip(same).filter(|(_, same)| bool::from(*same));
    let known: Vec<&TokenEntry> = known.map(|(entry, _)| entry).collect();
    let holds = |entry: &&&TokenEntry| entry.expires.is_none_or(|expires| now < expires);
    let valid: Vec<&TokenEntry> = known.iter().filter(holds).copied().collect();
    match (known.is_empty(), valid.is_empty()) {
        (true, _) => Found::Unknown,
        (false, true) => Found::Expired,
        (false, false) => Found::Valid(valid),
    }
}
