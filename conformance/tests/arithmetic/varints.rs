//! Variable-length integers, by the fuzz target's reading of the text.

use moqt_conformance::fuzz;
use moqt_engine::wire::Ints;

use super::EDGES;

/// The target checks a value in every length that has room for it, cut at every byte.
#[test]
fn values_and_bytes_agree_at_every_edge_of_a_length() {
    let of_lengths = (0..=64).flat_map(|bits: u32| {
        let edge = 1_u128 << bits;
        [edge - 1, edge, edge + 1].map(|value| u64::try_from(value).unwrap_or(u64::MAX))
    });
    for value in EDGES.into_iter().chain(of_lengths) {
        fuzz::varints(&value.to_be_bytes());
        for ints in [Ints::Quic, Ints::Vi64] {
            if let Some((bytes, len)) = ints.encode(value) {
                fuzz::varints(&bytes[..len]);
            }
        }
    }
}

/// Every first byte, before the lowest and the highest bytes there can be after it.
#[test]
fn every_first_byte_is_read_as_the_text_says() {
    for first in 0..=u8::MAX {
        for rest in [[0; 8], [0xff; 8], *b"\x01\x02\x03\x04\x05\x06\x07\x08"] {
            for len in 0..=8 {
                fuzz::varints(&[&[first][..], &rest[..len]].concat());
            }
        }
    }
}
