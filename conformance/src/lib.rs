//! Holds the engine to the text of the specification.
//!
//! What is here is written from the drafts' text and by hand, never taken from what the engine
//! produces: byte-exact vectors (`tests/vectors`), a comparison with an independent codec
//! (`tests/moqtap`), what was recorded of sessions with another
//! implementation (`tests/recorded.rs`), the rule that cutting a stream differently changes nothing
//! (`tests/chunks`), small machines of the protocol (`tests/machines`), and whole sessions: with
//! well-behaved peers (`tests/sessions`) and with others (`tests/hostile`). What the fuzz targets do is here, too ([`fuzz`]), and one connection
//! to which everything is done ([`ops`]). The ledger (`ledger/`, [`ledger`]) says for each
//! requirement of the drafts which of these tests shows it.

#[expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test")]
pub mod annotated;
#[expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test")]
pub mod end;
#[expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::panic,
    reason = "to panic is how a target says what it found"
)]
pub mod fuzz;
pub mod heap;
pub mod last_words;
pub mod ledger;
#[expect(
    clippy::missing_errors_doc,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "what cannot be compared fails the test"
)]
pub mod moqtap;
#[expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test")]
pub mod objects;
pub mod ops;
#[expect(clippy::expect_used, clippy::panic, reason = "what is not there cannot be read")]
pub mod recorded;
pub mod relay_simulation;
#[expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test")]
pub mod reread;
#[expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test")]
pub mod say;
#[expect(clippy::missing_panics_doc, reason = "whatever goes wrong fails the test")]
pub mod seen;
pub mod simulation;
#[expect(clippy::expect_used, reason = "whatever goes wrong fails the test")]
pub mod streams;
pub mod tokens;

use moqt_engine::{Draft, Role};

/// All drafts, in order. A test that tells drafts apart asks from which one on
/// (`draft >= Draft::D18`), so that it says the same of the draft that comes next.
pub const DRAFTS: [Draft; 3] = [Draft::D14, Draft::D16, Draft::D18];

/// This draft and all later ones.
pub fn drafts_from(first: Draft) -> impl Iterator<Item = Draft> {
    DRAFTS.into_iter().filter(move |draft| *draft >= first)
}

/// Both roles.
pub const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Every draft in either role.
pub fn cases() -> impl Iterator<Item = (Draft, Role)> {
    DRAFTS.into_iter().flat_map(|draft| ROLES.map(|role| (draft, role)))
}

/// Bytes from text: hexadecimal digits, `'ascii'` in single quotes, comments from `;` to the end
/// of the line.
///
/// ```
/// assert_eq!(moqt_conformance::bytes("03 00 02 ; a header\n 'ab'"), b"\x03\x00\x02ab");
/// ```
///
/// # Panics
/// If the text is anything else.
pub fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.lines() {
        let line = line.split_once(';').map_or(line, |(code, _)| code);
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                out.extend_from_slice(part.as_bytes());
                continue;
            }
            let digits: Vec<u8> = part.chars().filter(|c| !c.is_whitespace()).map(digit).collect();
            assert!(digits.len().is_multiple_of(2), "half a byte in {line:?}");
            out.extend(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]));
        }
    }
    out
}

fn digit(digit: char) -> u8 {
    let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
    assert!(value.is_some(), "{digit:?} is no hexadecimal digit");
    value.unwrap_or_default()
}
