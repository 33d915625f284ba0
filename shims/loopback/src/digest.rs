//! The hash that traces are compared by.

use core::hash::Hasher;

/// A hash that comes out the same on every platform and that bytes may be given to in pieces.
///
/// Numbers of more than a byte are eight bytes, the lowest first, however wide the platform makes
/// them. Each eight bytes are mixed in by one multiplication: everything that happens in a
/// network goes through here, and nobody chooses bytes to make hashes collide.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest {
    mixed: u64,
    /// The bytes that are still too few, the first of them lowest.
    rest: u64,
    len: u64,
}

/// Half of its bits are set, with no pattern (the golden ratio's fraction).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Digest {
    /// Whole words; the same as their bytes.
    #[inline]
    fn write_words(&mut self, words: impl IntoIterator<Item = u64>) {
        let filled = self.filled();
        for word in words {
            self.mixed = mix(self.mixed, self.rest | word << filled);
            // Two shifts, since one by 64 is none.
            self.rest = word >> 1 >> (63 - filled);
            self.len = self.len.wrapping_add(8);
        }
    }

    /// Bits of the rest that are in use, fewer than 64.
    #[inline]
    fn filled(&self) -> u64 {
        self.len % 8 * 8
    }
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are in the lower one")]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word ^ FACTOR) * u128::from(FACTOR);
    (product ^ (product >> 64)) as u64
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        self.write_words(words.iter().map(|word| u64::from_le_bytes(*word)));
        for byte in rest {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.rest |= u64::from(number) << self.filled();
        self.len = self.len.wrapping_add(1);
        if self.filled() == 0 {
            self.mixed = mix(self.mixed, self.rest);
            self.rest = 0;
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.write_words([number]);
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64((number as i64).cast_unsigned());
    }

    fn finish(&self) -> u64 {
        mix(mix(self.mixed, self.rest), self.len)
    }
}

#[cfg(test)]
mod tests {
    use core::hash::Hash;

    use super::*;

    #[test]
    fn pieces_hash_as_their_whole() {
        let payload = b"payload that is longer than one word";
        let mut whole = Digest::default();
        whole.write(payload);
        for size in 1..payload.len() {
            let mut pieces = Digest::default();
            for piece in payload.chunks(size) {
                pieces.write(piece);
            }
            assert_eq!(whole.finish(), pieces.finish(), "{size}");
        }
    }

    #[test]
    fn the_same_value_has_the_same_hash_on_every_platform() {
        let mut digest = Digest::default();
        (1_usize, -1_isize, 2_u16, Some("text"), [3_u8].as_slice()).hash(&mut digest);
        (4_u32, u64::MAX).hash(&mut digest);
        let mut bytes = Vec::new();
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend((-1_i64).to_le_bytes());
        bytes.extend(2_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(b"text\xff");
        bytes.extend(1_u64.to_le_bytes());
        bytes.push(3);
        bytes.extend(4_u64.to_le_bytes());
        bytes.extend(u64::MAX.to_le_bytes());
        let mut whole = Digest::default();
        whole.write(&bytes);
        assert_eq!(digest.finish(), whole.finish());
    }

    #[test]
    fn what_differs_hashes_differently() {
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..40 {
            let zeros = vec![0; len];
            assert!(seen.insert(hash(&zeros)), "{len} zeros");
            for at in 0..len {
                for bit in 0..8 {
                    let mut one = zeros.clone();
                    one[at] = 1 << bit;
                    assert!(seen.insert(hash(&one)), "bit {bit} of byte {at} of {len}");
                }
            }
        }
    }

    fn hash(bytes: &[u8]) -> u64 {
        let mut digest = Digest::default();
        digest.write(bytes);
        digest.finish()
    }
}
