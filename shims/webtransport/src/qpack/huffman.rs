//! Huffman code (RFC 7541, section 5.2 and appendix B).
//!
//! It is canonical: codes of a length are consecutive, in the order of their symbols, and those of
//! the next length follow on. How many there are of each length is all it takes.

/// What is wrong with an encoded string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It has the symbol for the end in it.
    EndOfString,
    /// What follows the last symbol is not the beginning of the symbol for the end, or has more
    /// than seven bits.
    Padding,
}

/// Decodes a string.
pub(super) fn decode(encoded: &[u8]) -> Result<Vec<u8>, Fault> {
    // The shortest code has 5 bits.
    let mut decoded = Vec::with_capacity(encoded.len().saturating_mul(8) / 5);
    let mut code = Code::default();
    for byte in encoded {
        for shift in (0..8).rev() {
            if let Some(index) = code.push(byte >> shift & 1) {
                decoded.push(*SYMBOLS.get(index).ok_or(Fault::EndOfString)?);
                code = Code::default();
            }
        }
    }
    if code.bits > 7 || !code.all_ones { Err(Fault::Padding) } else { Ok(decoded) }
}

/// A code of which some bits have come.
struct Code {
    value: u32,
    bits: usize,
    all_ones: bool,
    /// The first code of this length.
    first: u32,
    /// How many symbols have shorter codes.
    shorter: usize,
}

impl Default for Code {
    fn default() -> Self {
        Self { value: 0, bits: 0, all_ones: true, first: 0, shorter: 0 }
    }
}

impl Code {
    /// Adds a bit: the index of the symbol, if that makes it complete.
    fn push(&mut self, bit: u8) -> Option<usize> {
        let codes = COUNTS.get(self.bits).copied().unwrap_or_default();
        self.bits = self.bits.saturating_add(1);
        self.value = self.value << 1 | u32::from(bit);
        self.all_ones &= bit == 1;
        self.first <<= 1;
        let above = usize::try_from(self.value.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if above < codes {
            return self.shorter.checked_add(above);
        }
        self.first = self.first.saturating_add(u32::try_from(codes).unwrap_or_default());
        self.shorter = self.shorter.saturating_add(codes);
        None
    }
}

/// How many symbols have codes of 1, 2, 3… bits. The last of all is the end of a string.
const COUNTS: [usize; 30] = [
    0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29,
    0, 4,
];

/// All symbols but the end of a string, in the order of their codes.
#[rustfmt::skip]
const SYMBOLS: [u8; 256] = [
    // 5 bits
    b'0', b'1', b'2', b'a', b'c', b'e', b'i', b'o', b's', b't',
    // 6 bits
    b' ', b'%', b'-', b'.', b'/', b'3', b'4', b'5', b'6', b'7', b'8', b'9', b'=', b'A', b'_',
    b'b', b'd', b'f', b'g', b'h', b'l', b'm', b'n', b'p', b'r', b'u',
    // 7 bits
    b':', b'B', b'C', b'D', b'E', b'F', b'G', b'H', b'I', b'J', b'K', b'L', b'M', b'N', b'O',
    b'P', b'Q', b'R', b'S', b'T', b'U', b'V', b'W', b'Y', b'j', b'k', b'q', b'v', b'w', b'x',
    b'y', b'z',
    // 8 bits
    b'&', b'*', b',', b';', b'X', b'Z',
    // 10 bits
    b'!', b'"', b'(', b')', b'?',
    // 11 bits
    b'\'', b'+', b'|',
    // 12 bits
    b'#', b'>',
    // 13 bits
    0, b'$', b'@', b'[', b']', b'~',
    // 14 bits
    b'^', b'}',
    // 15 bits
    b'<', b'`', b'{',
    // 19 bits
    b'\\', 195, 208,
    // 20 bits
    128, 130, 131, 162, 184, 194, 224, 226,
    // 21 bits
    153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230,
    // 22 bits
    129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186,
    187, 189, 190, 196, 198, 228, 232, 233,
    // 23 bits
    1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168,
    174, 175, 180, 182, 183, 188, 191, 197, 231, 239,
    // 24 bits
    9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237,
    // 25 bits
    199, 207, 234, 235,
    // 26 bits
    192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255,
    // 27 bits
    203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253,
    254,
    // 28 bits
    2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 127, 220, 249,
    // 30 bits
    10, 13, 22,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_rfcs_examples_decode() {
        for (encoded, text) in [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f], "custom-key"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04,
                    0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (&[], ""),
        ] {
            assert_eq!(decode(encoded).as_deref(), Ok(text.as_bytes()));
        }
    }

    /// RFC 7541, section 5.2.
    #[test]
    fn padding_is_the_beginning_of_the_end_and_less_than_a_byte() {
        // '0' is five zeros: three bits of padding are left.
        assert_eq!(decode(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
        for padding in 0..7 {
            assert_eq!(decode(&[padding]), Err(Fault::Padding), "{padding:03b}");
        }
        assert_eq!(decode(&[0b0000_0111, 0xff]), Err(Fault::Padding));
        assert_eq!(decode(&[0xff]), Err(Fault::Padding));
        // The first bits of a longer code, which is no padding even where its number is small.
        assert_eq!(decode(&[0b0000_0001]), Err(Fault::Padding));
    }

    #[test]
    fn the_end_of_a_string_is_not_in_a_string() {
        assert_eq!(decode(&[0xff; 4]), Err(Fault::EndOfString));
        // '0', then the end.
        assert_eq!(decode(&[0b0000_0111, 0xff, 0xff, 0xff, 0xff]), Err(Fault::EndOfString));
    }

    /// RFC 7541, appendix B: some of each length.
    #[test]
    fn codes_are_those_of_the_table() {
        for (symbol, code, bits) in [
            (b'0', 0x0_u32, 5),
            (b't', 0x9, 5),
            (b' ', 0x14, 6),
            (b'B', 0x5d, 7),
            (b'&', 0xf8, 8),
            (b'!', 0x3f8, 10),
            (b'|', 0x7fc, 11),
            (b'#', 0xffa, 12),
            (b'~', 0x1ffd, 13),
            (b'^', 0x3ffc, 14),
            (b'{', 0x7ffe, 15),
            (b'\\', 0x7_fff0, 19),
            (128, 0xf_ffe6, 20),
            (153, 0x1f_ffdc, 21),
            (129, 0x3f_ffd2, 22),
            (1, 0x7f_ffd8, 23),
            (9, 0xff_ffea, 24),
            (199, 0x1ff_ffec, 25),
            (192, 0x3ff_ffe0, 26),
            (203, 0x7ff_ffde, 27),
            (2, 0xfff_ffe2, 28),
            (254, 0x7ff_fff0, 27),
            (22, 0x3fff_fffe, 30),
        ] {
            let padding = (8 - bits % 8) % 8;
            let padded = u64::from(code) << padding | ((1 << padding) - 1);
            let bytes = padded.to_be_bytes();
            let encoded = &bytes[bytes.len() - (bits + padding) / 8..];
            assert_eq!(decode(encoded).as_deref(), Ok(&[symbol][..]), "{symbol}");
        }
        let mut symbols = SYMBOLS;
        symbols.sort_unstable();
        assert!(symbols.iter().copied().eq(0..=255), "each symbol has a code");
        assert_eq!(COUNTS.iter().sum::<usize>(), 257);
    }
}
