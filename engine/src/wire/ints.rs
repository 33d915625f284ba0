//! The two variable-length integers: QUIC's (drafts up to 16) and MoQT's own (from 17).

/// Most bytes a variable-length integer takes on any draft.
pub const MAX_INT_LEN: usize = 9;

/// Which variable-length integer a draft uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ints {
    /// RFC 9000's: two bits of length, up to 62 bits of value.
    Quic,
    /// Leading one bits count the bytes after the first; up to 64 bits of value
    /// (draft-18, "Variable-Length Integers").
    Vi64,
}

impl Ints {
    /// The largest value that can be written.
    pub const fn max(self) -> u64 {
        match self {
            Self::Quic => (1 << 62) - 1,
            Self::Vi64 => u64::MAX,
        }
    }

    /// Reads an integer from the front of `bytes`: its value and length. `None` if the bytes
    /// end before it does. Longer forms than needed are valid.
    #[expect(clippy::inline_always, reason = "a few instructions on the hottest path")]
    #[inline(always)]
    pub fn decode(self, bytes: &[u8]) -> Option<(u64, usize)> {
        match self {
            Self::Quic => decode_quic(bytes),
            Self::Vi64 => decode_vi64(bytes),
        }
    }

    /// Bytes that `value` takes in its shortest form.
    #[inline]
    pub const fn len(self, value: u64) -> usize {
        match self {
            Self::Quic => match value {
                0..=0x3f => 1,
                0x40..=0x3fff => 2,
                0x4000..=0x3fff_ffff => 4,
                _ => 8,
            },
            Self::Vi64 => {
                let bits = 64 - (value | 1).leading_zeros() as usize;
                let len = bits.div_ceil(7);
                if len > 8 { 9 } else { len }
            }
        }
    }

    /// Writes `value` in its shortest form: the bytes and how many of them count. `None` if
    /// the value is too large.
    #[inline]
    pub const fn encode(self, value: u64) -> Option<([u8; MAX_INT_LEN], usize)> {
        if value > self.max() {
            return None;
        }
        let len = self.len(value);
        let mut out = [0xff; MAX_INT_LEN];
        if len == 9 {
            if let Some(rest) = out.last_chunk_mut() {
                *rest = value.to_be_bytes();
            }
            return Some((out, 9));
        }
        let prefix = match self {
            Self::Quic => (len.trailing_zeros() as u64) << 62,
            // `len - 1` one bits, then a zero.
            Self::Vi64 => !(u64::MAX >> (len - 1)),
        };
        let aligned = value << (64 - 8 * len) | prefix;
        if let Some(start) = out.first_chunk_mut() {
            *start = aligned.to_be_bytes();
        }
        Some((out, len))
    }
}

/// Reads and writes two small integers at once: what begins most objects.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortPair {
    /// The first integer is to be below this.
    first: u64,
    /// Below this an integer takes one byte.
    one_byte: u64,
    /// The bits that mark an integer of two bytes.
    two_bytes: u64,
}

/// What [`ShortPair::encode`] gives.
pub(super) enum Short {
    Two([u8; 2]),
    Three([u8; 3]),
}

impl ShortPair {
    pub(super) const fn new(ints: Ints) -> Self {
        match ints {
            Ints::Quic => Self { first: 0x40, one_byte: 0x40, two_bytes: 0x4000 },
            Ints::Vi64 => Self { first: 0x40, one_byte: 0x80, two_bytes: 0x8000 },
        }
    }

    /// Reads and writes no two integers.
    pub(super) const NEVER: Self = Self { first: 0, one_byte: 0, two_bytes: 0 };

    /// Two integers in their shortest forms, if the first takes one byte and the second one or
    /// two. `None` also if the second is 0.
    #[expect(clippy::inline_always, reason = "a few instructions on the hottest path")]
    #[inline(always)]
    pub(super) fn encode(self, first: u64, second: u64) -> Option<Short> {
        if first >= self.first {
            None
        } else if second < self.one_byte {
            let [.., first, low] = (first << 8 | second).to_be_bytes();
            (second > 0).then_some(Short::Two([first, low]))
        } else if second < 0x4000 {
            let [.., first, high, low] = (first << 16 | self.two_bytes | second).to_be_bytes();
            Some(Short::Three([first, high, low]))
        } else {
            None
        }
    }

    /// Two integers at the front of `bytes`, and their length, if the first takes one byte and
    /// the second one or two. `None` also if the second is 0, or if there are fewer than three
    /// bytes.
    #[expect(clippy::inline_always, reason = "a few instructions on the hottest path")]
    #[inline(always)]
    pub(super) fn decode(self, bytes: &[u8]) -> Option<(u64, u64, usize)> {
        let &[first, high, low] = bytes.first_chunk()?;
        let (first, one) = (u64::from(first), u64::from(high));
        // Without the mark of two bytes a longer integer is too large, too.
        let two = u64::from(u16::from_be_bytes([high, low])) ^ self.two_bytes;
        if first >= self.first {
            None
        } else if one < self.one_byte {
            (one > 0).then_some((first, one, 2))
        } else {
            (1..0x4000).contains(&two).then_some((first, two, 3))
        }
    }
}

#[inline]
fn decode_quic(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let value = match first >> 6 {
        0 => return Some((u64::from(first), 1)),
        1 => {
            let two = u16::from_be_bytes(*bytes.first_chunk()?);
            return Some((u64::from(two & 0x3fff), 2));
        }
        2 => {
            let four = u32::from_be_bytes(*bytes.first_chunk()?);
            return Some((u64::from(four & 0x3fff_ffff), 4));
        }
        _ => u64::from_be_bytes(*bytes.first_chunk()?),
    };
    Some((value & Ints::Quic.max(), 8))
}

#[expect(clippy::inline_always, reason = "a few instructions on the hottest path")]
#[inline(always)]
fn decode_vi64(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    if first < 0xc0 {
        let two = u16::from_be_bytes(*bytes.first_chunk()?);
        return Some((u64::from(two & 0x3fff), 2));
    }
    decode_long_vi64(first, bytes)
}

/// An integer of three bytes or more, of which `first` is the first.
#[cold]
#[inline(never)]
fn decode_long_vi64(first: u8, bytes: &[u8]) -> Option<(u64, usize)> {
    let len = first.leading_ones() as usize + 1;
    if len == 9 {
        let (_, rest) = bytes.split_first()?;
        return Some((u64::from_be_bytes(*rest.first_chunk()?), 9));
    }
    let value = bytes.get(..len)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some((value & (u64::MAX >> (64 - 7 * len)), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draft-18, "Example Integer Encodings".
    #[test]
    fn vi64_examples_of_the_draft() {
        let examples: [(&[u8], u64); 8] = [
            (&[0x25], 37),
            (&[0x80, 0x25], 37),
            (&[0xbb, 0xbd], 15_293),
            (&[0xed, 0x7f, 0x3e, 0x7d], 226_442_877),
            (&[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8], 2_893_212_287_960),
            (&[0xfc, 0x89, 0x98, 0xab, 0xc6, 0x6b, 0xc0], 151_288_809_941_952),
            (&[0xfe, 0xfa, 0x31, 0x8f, 0xa8, 0xe3, 0xca, 0x11], 70_423_237_261_249_041),
            (&[0xff; 9], u64::MAX),
        ];
        for (bytes, value) in examples {
            assert_eq!(Ints::Vi64.decode(bytes), Some((value, bytes.len())));
        }
    }

    /// RFC 9000, Appendix A.1.
    #[test]
    fn quic_examples_of_the_rfc() {
        let examples: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in examples {
            assert_eq!(Ints::Quic.decode(bytes), Some((value, bytes.len())));
        }
    }

    #[test]
    fn two_short_integers_read_as_one_after_the_other() {
        for ints in [Ints::Quic, Ints::Vi64] {
            let pair = ShortPair::new(ints);
            for first in [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff] {
                for second in 0..=u16::MAX {
                    let [high, low] = second.to_be_bytes();
                    let bytes = [first, high, low];
                    let Some((one, two, len)) = pair.decode(&bytes) else { continue };
                    assert_eq!(ints.decode(&bytes), Some((one, 1)));
                    assert_eq!(ints.decode(&bytes[1..]), Some((two, len - 1)), "{bytes:x?}");
                    assert!(two > 0);
                }
            }
            assert_eq!(pair.decode(&[3, 4, 0xff]), Some((3, 4, 2)));
            assert_eq!(pair.decode(&[3, 4]), None);
            assert_eq!(pair.decode(&[3, 0, 4]), None);
            for second in [1, 0x3f, 0x40, 0x7f, 0x80, 0x3fff] {
                let (bytes, len) = ints.encode(second).unwrap();
                let bytes = [5, bytes[0], bytes[1]];
                assert_eq!(pair.decode(&bytes), Some((5, second, 1 + len)));
            }
            assert_eq!(ShortPair::NEVER.decode(&[0, 4, 0]), None);
        }
    }

    #[test]
    fn every_length_boundary_round_trips_in_its_shortest_form() {
        for ints in [Ints::Quic, Ints::Vi64] {
            for shift in 0..64 {
                for value in [(1 << shift) - 1, 1 << shift, (1 << shift) + 1, u64::MAX] {
                    let Some((bytes, len)) = ints.encode(value) else {
                        assert!(value > ints.max());
                        continue;
                    };
                    assert_eq!(ints.len(value), len);
                    assert_eq!(ints.decode(&bytes[..len]), Some((value, len)), "{ints:?} {value}");
                    for cut in 0..len {
                        assert_eq!(ints.decode(&bytes[..cut]), None);
                    }
                }
            }
        }
        assert_eq!(Ints::Quic.len(0x3f), 1);
        assert_eq!(Ints::Quic.len(0x40), 2);
        assert_eq!(Ints::Vi64.len(127), 1);
        assert_eq!(Ints::Vi64.len(128), 2);
        assert_eq!(Ints::Vi64.len((1 << 56) - 1), 8);
        assert_eq!(Ints::Vi64.len(1 << 56), 9);
    }
}
