//! QPACK (RFC 9204) without a dynamic table: field sections are of the static table and literals.

mod huffman;
mod instructions;
mod static_table;

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(crate) use instructions::Instructions;

/// A field line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
}

impl Field {
    pub(crate) fn new(name: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// What it counts for in a field section (RFC 9114, section 4.2.2), in bytes.
    pub(crate) fn size(&self) -> usize {
        self.name.len().saturating_add(self.value.len()).saturating_add(32)
    }
}

/// Why a field section was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It makes no sense, or needs a dynamic table: QPACK_DECOMPRESSION_FAILED.
    Decompression(&'static str),
    /// It is larger than the limit.
    TooLarge,
}

/// Encodes a field section: what the static table has, and plain literals.
pub(crate) fn encode(fields: &[Field]) -> Bytes {
    let mut out = BytesMut::new();
    // Required Insert Count and Base.
    out.put_slice(&[0, 0]);
    for Field { name, value } in fields {
        match static_table::find(name, value) {
            Some((index, true)) => put_integer(&mut out, 0b1100_0000, 6, index),
            Some((index, false)) => {
                put_integer(&mut out, 0b0101_0000, 4, index);
                put_string(&mut out, 0, 7, value);
            }
            None => {
                put_string(&mut out, 0b0010_0000, 3, name);
                put_string(&mut out, 0, 7, value);
            }
        }
    }
    out.freeze()
}

/// Decodes a field section of up to `limit` bytes, counted as RFC 9114, section 4.2.2 says.
pub(crate) fn decode(mut data: Bytes, limit: usize) -> Result<Vec<Field>, Fault> {
    let required_insert_count = take_integer(&mut data, 8)?;
    if required_insert_count != 0 {
        return Err(DYNAMIC);
    }
    let is_negative = data.first().is_some_and(|first| first & 0x80 != 0);
    take_integer(&mut data, 7)?;
    if is_negative {
        return Err(Fault::Decompression("a field section's Base is negative"));
    }
    let mut fields = Vec::new();
    let mut room = limit;
    while let Some(&first) = data.first() {
        let field = take_field(first, &mut data)?;
        room = room.checked_sub(field.size()).ok_or(Fault::TooLarge)?;
        fields.push(field);
    }
    Ok(fields)
}

const DYNAMIC: Fault = Fault::Decompression("a field section refers to the dynamic table");
const TRUNCATED: Fault = Fault::Decompression("a field section ends within a field line");

fn take_field(first: u8, data: &mut Bytes) -> Result<Field, Fault> {
    if first & 0b1100_0000 == 0b1100_0000 {
        let (name, value) = static_line(take_integer(data, 6)?)?;
        Ok(Field::new(name, value))
    } else if first & 0b1101_0000 == 0b0101_0000 {
        let (name, _) = static_line(take_integer(data, 4)?)?;
        Ok(Field::new(name, take_string(data, 7)?))
    } else if first & 0b1110_0000 == 0b0010_0000 {
        Ok(Field { name: take_string(data, 3)?, value: take_string(data, 7)? })
    } else {
        // Indexed, with its name indexed, or either of that after Base.
        Err(DYNAMIC)
    }
}

fn static_line(index: u64) -> Result<(&'static str, &'static str), Fault> {
    static_table::at(index).ok_or(Fault::Decompression("the static table has no such index"))
}

/// Appends an integer (RFC 7541, section 5.1) with a prefix of so many bits after `flags`.
fn put_integer(out: &mut BytesMut, flags: u8, prefix: u8, value: u64) {
    let max = prefix_max(prefix);
    match u8::try_from(value) {
        Ok(value) if value < max => out.put_u8(flags | value),
        _ => {
            out.put_u8(flags | max);
            let mut rest = value.saturating_sub(u64::from(max));
            while rest >= 0x80 {
                out.put_u8(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
                rest >>= 7;
            }
            out.put_u8(u8::try_from(rest).unwrap_or_default());
        }
    }
}

/// Takes an integer of up to 62 bits off the front.
fn take_integer(data: &mut Bytes, prefix: u8) -> Result<u64, Fault> {
    let max = prefix_max(prefix);
    if !data.has_remaining() {
        return Err(TRUNCATED);
    }
    let first = data.get_u8() & max;
    let mut value = u64::from(first);
    if first < max {
        return Ok(value);
    }
    let mut shift = 0_u32;
    loop {
        if !data.has_remaining() {
            return Err(TRUNCATED);
        }
        let byte = data.get_u8();
        // Nine times seven bits hold every integer of 62.
        if shift > 56 {
            return Err(Fault::Decompression("an integer has more than 62 bits"));
        }
        value = value.saturating_add(u64::from(byte & 0x7f) << shift);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift = shift.saturating_add(7);
    }
}

fn prefix_max(prefix: u8) -> u8 {
    0xff >> 8_u8.saturating_sub(prefix)
}

fn put_string(out: &mut BytesMut, flags: u8, prefix: u8, string: &[u8]) {
    put_integer(out, flags, prefix, u64::try_from(string.len()).unwrap_or_default());
    out.put_slice(string);
}

/// Takes a string whose length has a prefix of so many bits after the bit for Huffman code.
fn take_string(data: &mut Bytes, prefix: u8) -> Result<Bytes, Fault> {
    let is_huffman = data.first().is_some_and(|first| first >> prefix & 1 == 1);
    let length = take_integer(data, prefix)?;
    match usize::try_from(length) {
        Ok(length) if length <= data.len() => {
            let string = data.split_to(length);
            if !is_huffman {
                return Ok(string);
            }
            match huffman::decode(&string) {
                Ok(string) => Ok(string.into()),
                Err(huffman::Fault::EndOfString) => {
                    Err(Fault::Decompression("a string has the end of a string in it"))
                }
                Err(huffman::Fault::Padding) => {
                    Err(Fault::Decompression("a string is padded wrongly"))
                }
            }
        }
        _ => Err(TRUNCATED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field::new(name.to_owned(), value.to_owned())
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<Field>, Fault> {
        decode(Bytes::copy_from_slice(bytes), 1000)
    }

    /// RFC 9204, appendix B.1.
    #[test]
    fn the_rfcs_example_decodes() {
        let bytes = b"\x00\x00\x51\x0b/index.html";
        assert_eq!(decoded(bytes), Ok(vec![field(":path", "/index.html")]));
        assert_eq!(encode(&[field(":path", "/index.html")]), bytes[..]);
    }

    /// RFC 9204, appendix B.2 and B.4: field sections that need a dynamic table.
    #[test]
    fn dynamic_references_cannot_be_decoded() {
        for bytes in [
            &[0x03, 0x81, 0x10, 0x11][..],
            &[0x05, 0x00, 0x80, 0xc1, 0x81],
            &[0, 0, 0x80],
            &[0, 0, 0x40, 0],
            &[0, 0, 0x10],
            &[0, 0, 0x00, 0],
        ] {
            assert_eq!(decoded(bytes), Err(DYNAMIC), "{bytes:x?}");
        }
    }

    /// RFC 7541, appendix C.1.
    #[test]
    fn integers_are_written_and_read_as_the_rfc_says() {
        for (prefix, value, bytes) in
            [(5, 10, &[0x0a][..]), (5, 1337, &[0x1f, 0x9a, 0x0a]), (8, 42, &[0x2a])]
        {
            let mut out = BytesMut::new();
            put_integer(&mut out, 0, prefix, value);
            assert_eq!(out, bytes);
            assert_eq!(take_integer(&mut out.freeze(), prefix), Ok(value));
        }
        for value in [0, 6, 7, 8, 134, 135, (1 << 62) - 1] {
            let mut out = BytesMut::new();
            put_integer(&mut out, 0, 3, value);
            assert_eq!(take_integer(&mut out.freeze(), 3), Ok(value));
        }
    }

    #[test]
    fn integers_do_not_go_on_for_ever() {
        let mut bytes = vec![0x07];
        bytes.extend([0xff; 9]);
        bytes.push(0);
        let long = take_integer(&mut Bytes::from(bytes), 3);
        assert_eq!(long, Err(Fault::Decompression("an integer has more than 62 bits")));
    }

    #[test]
    fn literals_are_plain_or_huffman_code() {
        // Literal name and value, both Huffman code (RFC 7541, appendix C.6), never indexed.
        let mut bytes = vec![0, 0, 0b0011_1111, 1];
        bytes.extend([0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]);
        bytes.extend([0x89, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]);
        assert_eq!(decoded(&bytes), Ok(vec![field("custom-key", "custom-value")]));
        let fields = vec![
            field(":method", "CONNECT"),
            field(":protocol", "webtransport"),
            field("a", ""),
            field("a", "again"),
            field("origin", &"o".repeat(300)),
        ];
        assert_eq!(decoded(&encode(&fields)), Ok(fields));
    }

    #[test]
    fn every_beginning_is_truncated_or_a_smaller_section() {
        let fields = [field(":path", "/moq"), field("x-y", "z"), field(":method", "CONNECT")];
        let bytes = encode(&fields);
        for cut in 0..bytes.len() {
            match decoded(&bytes[..cut]) {
                Ok(some) => assert_eq!(some, fields[..some.len()]),
                Err(fault) => assert_eq!(fault, TRUNCATED),
            }
        }
        // A length that is far beyond what there is.
        let huge = [0, 0, 0x50, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
        assert_eq!(decoded(&huge), Err(TRUNCATED));
    }

    #[test]
    fn a_negative_base_and_unknown_indexes_are_refused() {
        assert!(matches!(decoded(&[0, 0x80]), Err(Fault::Decompression(_))));
        assert!(matches!(decoded(&[0, 0, 0xff, 99 - 63]), Err(Fault::Decompression(_))));
        assert!(decoded(&[0, 0, 0xff, 98 - 63]).is_ok());
    }

    #[test]
    fn each_line_counts_32_bytes_more() {
        let fields = [field("a", "b"), field("a", "b")];
        let bytes = encode(&fields);
        assert_eq!(decode(bytes.clone(), 68), Ok(fields.to_vec()));
        assert_eq!(decode(bytes, 67), Err(Fault::TooLarge));
        // The static table's lines take a byte each and count in full.
        let bomb = [&[0, 0][..], &[0b1111_1001; 200]].concat();
        assert_eq!(decoded(&bomb), Err(Fault::TooLarge));
    }
}
