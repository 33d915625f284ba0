//! Integers and key-value pairs as the drafts' text has them, read in the plainest way and in
//! integers that nothing here is too large for.

use moqt_engine::model::{Draft, Property, PropertyValue};
use moqt_engine::wire::Ints;

/// The integer at the front of `bytes` and its length, unless they end before it does.
pub(super) fn int(ints: Ints, bytes: &[u8]) -> Option<(u128, usize)> {
    let first = *bytes.first()?;
    let (len, bits) = match ints {
        // RFC 9000, 16: "the two most significant bits of the first byte [...] encode the
        // base-2 logarithm of the integer encoding length in bytes".
        Ints::Quic => {
            let len = 1 << (first >> 6);
            (len, 8 * len - 2)
        }
        // Draft-18, "Variable-Length Integers": "the number of leading 1 bits of the first byte
        // to indicate the length of the encoding in bytes".
        Ints::Vi64 => {
            let len = first.leading_ones() as usize + 1;
            (len, if len == 9 { 64 } else { 7 * len })
        }
    };
    if bytes.len() < len {
        return None;
    }
    let all = bytes[..len].iter().fold(0_u128, |all, byte| all << 8 | u128::from(*byte));
    Some((all & ((1 << bits) - 1), len))
}

/// The bytes of `value` in `len` bytes, if it has a form of that length.
pub(super) fn int_in(ints: Ints, value: u128, len: usize) -> Option<Vec<u8>> {
    let (bits, mark) = match ints {
        Ints::Quic if len.is_power_of_two() && len <= 8 => {
            (8 * len - 2, u128::from(len.trailing_zeros()) << (8 * len - 2))
        }
        Ints::Vi64 if len == 9 => (64, 0xff << 64),
        // As many leading ones as bytes follow, and a zero.
        Ints::Vi64 if (1..9).contains(&len) => (7 * len, ((1 << (len - 1)) - 1) << (7 * len + 1)),
        _ => return None,
    };
    let bytes = (value | mark).to_be_bytes();
    (value < 1 << bits).then(|| bytes[bytes.len() - len..].to_vec())
}

/// Key-value pairs, until they end or are wrong ("Key-Value-Pair Structure").
pub(super) struct Pairs {
    pub(super) list: Vec<Property>,
    /// Whether they are right to their end.
    pub(super) right: bool,
}

impl Pairs {
    pub(super) fn read(draft: Draft, mut bytes: &[u8]) -> Self {
        let mut list = Vec::new();
        let mut previous = 0;
        while !bytes.is_empty() {
            let Some(property) = pair(draft, &mut previous, &mut bytes) else {
                return Self { list, right: false };
            };
            list.push(property);
        }
        Self { list, right: true }
    }

    /// The pairs in ascending order of type; those of one type stay in theirs.
    pub(super) fn sorted(mut self) -> Vec<Property> {
        self.list.sort_by_key(|property| property.key);
        self.list
    }
}

fn pair(draft: Draft, previous: &mut u128, bytes: &mut &[u8]) -> Option<Property> {
    let ints = draft.dialect().ints;
    let next = |bytes: &mut &[u8]| {
        let (value, len) = int(ints, bytes)?;
        *bytes = &bytes[len..];
        Some(value)
    };
    let mut key = next(bytes)?;
    if draft >= Draft::D16 {
        key += *previous;
        *previous = key;
    }
    let key = u64::try_from(key).ok()?;
    let number = next(bytes)?;
    let value = if key % 2 == 0 {
        PropertyValue::Int(u64::try_from(number).ok()?)
    } else {
        // "The maximum length of a value is 2^16-1 bytes."
        let len = usize::try_from(number).ok().filter(|len| *len < 1 << 16)?;
        let (value, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        PropertyValue::Bytes(value.to_vec().into())
    };
    Some(Property { key, value })
}
