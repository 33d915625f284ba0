//! Arithmetic at its edges: every operand from the edges of what integers can say, all
//! combinations, against the drafts' text in integers that nothing here is too large for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod commands;
mod deltas;
mod filters;
mod gaps;
mod joins;
mod ranges;
mod varints;

use moqt_engine::model::{Draft, Location};

/// Where integers of one length end, where those of a draft do, and what is next to that.
const EDGES: [u64; 15] = [
    0,
    1,
    2,
    63,
    64,
    16_383,
    16_384,
    (1 << 30) - 1,
    1 << 30,
    (1 << 62) - 2,
    (1 << 62) - 1,
    1 << 62,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// The edges that the draft's integers can say.
fn edges(draft: Draft) -> impl Iterator<Item = u64> + Clone {
    let max = max(draft);
    EDGES.into_iter().filter(move |edge| u128::from(*edge) <= max)
}

/// The largest integer of the draft: QUIC's have 62 bits (RFC 9000, 16), and "All 64 bit numbers
/// can be encoded" (draft-18, "Variable-Length Integers").
fn max(draft: Draft) -> u128 {
    if draft >= Draft::D18 { u128::from(u64::MAX) } else { (1 << 62) - 1 }
}

/// All pairs of edges of the draft.
fn pairs(draft: Draft) -> impl Iterator<Item = (u64, u64)> {
    edges(draft).flat_map(move |a| edges(draft).map(move |b| (a, b)))
}

/// All locations of edges of the draft.
fn locations(draft: Draft) -> impl Iterator<Item = Location> {
    pairs(draft).map(|(group, object)| Location::new(group, object))
}

/// A location as one number, in the order of locations.
fn place(location: Location) -> u128 {
    u128::from(location.group) << 64 | u128::from(location.object)
}

/// A variable-length integer in the draft's shortest form.
fn int(draft: Draft, value: u64) -> Vec<u8> {
    let (bytes, len) = draft.dialect().ints.encode(value).expect("an integer of the draft");
    bytes[..len].to_vec()
}

/// A number of the draft that may be too large for an integer.
fn in_draft(draft: Draft, value: u128) -> Option<u64> {
    u64::try_from(value).ok().filter(|_| value <= max(draft))
}
