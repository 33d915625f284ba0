//! Values that mean nothing, so that peers learn to live with those they do not know
//! (draft-18, "Grease").

/// A reserved value; another seed gives another. All of them are `0x7f * N + 0x9D`.
pub(crate) fn reserved(seed: u64) -> u64 {
    // The finalizer of SplitMix64: neighbouring seeds give values far apart.
    let mut n = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    0x7f * (n >> 40) + 0x9D
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_of_the_pattern() {
        for seed in [0, 1, 2, u64::MAX, u64::MAX / 3] {
            let value = reserved(seed);
            assert_eq!((value - 0x9D) % 0x7f, 0, "{seed}");
            assert!(value <= 0x3fff_ffff_ffff_ffde, "{seed}");
        }
        assert_ne!(reserved(0), reserved(1));
    }
}
