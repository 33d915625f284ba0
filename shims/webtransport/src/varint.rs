//! QUIC's integers of variable length (RFC 9000, section 16).

use bytes::{Buf, BufMut, Bytes};

/// Appends `value`, which is at most 2^62 - 1, in as few bytes as it takes.
pub(crate) fn put(out: &mut impl BufMut, value: u64) {
    if let Ok(value) = u8::try_from(value)
        && value < 0x40
    {
        out.put_u8(value);
    } else if let Ok(value) = u16::try_from(value)
        && value < 0x4000
    {
        out.put_u16(value | 0x4000);
    } else if let Ok(value) = u32::try_from(value)
        && value < 0x4000_0000
    {
        out.put_u32(value | 0x8000_0000);
    } else {
        out.put_u64(value | 0xc000_0000_0000_0000);
    }
}

/// Takes an integer off the front of `data`; `None`, and `data` as it was, if it is not all there.
pub(crate) fn take(data: &mut Bytes) -> Option<u64> {
    let mut reading = Reading::default();
    let mut rest = data.clone();
    let value = reading.take(&mut rest)?;
    *data = rest;
    Some(value)
}

/// An integer of which a part may have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    value: u64,
    /// Bytes that are still to come, if the first has come.
    missing: Option<u8>,
}

impl Reading {
    /// Takes what belongs to the integer off the front of `data`, and begins anew once it is
    /// complete.
    pub(crate) fn take(&mut self, data: &mut Bytes) -> Option<u64> {
        while data.has_remaining() {
            let byte = data.get_u8();
            let missing = match self.missing {
                None => {
                    self.value = u64::from(byte & 0x3f);
                    (1_u8 << (byte >> 6)).saturating_sub(1)
                }
                Some(missing) => {
                    self.value = self.value << 8 | u64::from(byte);
                    missing.saturating_sub(1)
                }
            };
            if missing == 0 {
                self.missing = None;
                return Some(self.value);
            }
            self.missing = Some(missing);
        }
        None
    }

    /// A part has come, and is not all.
    pub(crate) fn is_partial(self) -> bool {
        self.missing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000, appendix A.1, and the ends of each length.
    const VECTORS: &[(u64, &[u8])] = &[
        (0, &[0]),
        (37, &[0x25]),
        (63, &[0x3f]),
        (64, &[0x40, 0x40]),
        (15_293, &[0x7b, 0xbd]),
        (16_383, &[0x7f, 0xff]),
        (16_384, &[0x80, 0, 0x40, 0]),
        (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
        (0x3fff_ffff, &[0xbf, 0xff, 0xff, 0xff]),
        (0x4000_0000, &[0xc0, 0, 0, 0, 0x40, 0, 0, 0]),
        (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
        (0x3fff_ffff_ffff_ffff, &[0xff; 8]),
    ];

    #[test]
    fn integers_are_written_and_read_as_the_rfc_says() {
        for (value, bytes) in VECTORS {
            let mut written = Vec::new();
            put(&mut written, *value);
            assert_eq!(written, *bytes, "{value}");
            let mut data = Bytes::from_static(bytes);
            assert_eq!(take(&mut data), Some(*value));
            assert!(data.is_empty());
        }
        // RFC 9000, appendix A.1: 37 in two bytes.
        assert_eq!(take(&mut Bytes::from_static(&[0x40, 0x25])), Some(37));
    }

    #[test]
    fn integers_come_in_parts() {
        for (value, bytes) in VECTORS {
            let mut reading = Reading::default();
            for (at, byte) in bytes.iter().enumerate() {
                let mut data = Bytes::copy_from_slice(&[*byte]);
                let last = at + 1 == bytes.len();
                assert_eq!(reading.take(&mut data), last.then_some(*value));
                assert_eq!(reading.is_partial(), !last);
            }
            let mut cut = Bytes::copy_from_slice(&bytes[..bytes.len() - 1]);
            assert_eq!(take(&mut cut), None);
            assert_eq!(cut.len(), bytes.len() - 1, "nothing was taken");
        }
    }
}
