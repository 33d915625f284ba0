//! Values that mean nothing, so that peers learn to live with those they do not know
//! (draft-18, "Grease").

use crate::model::property_type;

/// A value that draft 18 reserves among setup options, property types, token types and error
/// codes, so that nobody will ever give it a meaning; another seed gives another. All of them are
/// `0x7f * N + 0x9D`.
///
/// [`Config::grease`](crate::Config::grease) sends one among the setup options. What else is for
/// the application to send: a property belongs to a track, which relays pass on as it is, and a
/// code without meaning ([`RequestErrorCode::Other`](crate::model::RequestErrorCode::Other) and
/// its like) takes the place of INTERNAL_ERROR, which is what peers must take it for. As a
/// property type it has a number if it is even and bytes if it is odd; it is never one that must
/// be understood.
pub fn reserved_value(seed: u64) -> u64 {
    // The finalizer of SplitMix64: neighbouring seeds give values far apart.
    let mut n = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    // Few enough for every draft's integers, and beyond the mandatory properties.
    let first = property_type::MANDATORY.end() / 0x7f;
    0x7f * (first + (n >> 40)) + 0x9D
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_of_the_pattern() {
        for seed in [0, 1, 2, u64::MAX, u64::MAX / 3] {
            let value = reserved_value(seed);
            assert!(!property_type::MANDATORY.contains(&value), "{seed}");
            assert_eq!((value - 0x9D) % 0x7f, 0, "{seed}");
            assert!(value <= 0x3fff_ffff_ffff_ffde, "{seed}");
        }
        assert_ne!(reserved_value(0), reserved_value(1));
    }
}
