use bytes::{Buf, Bytes};

use crate::code;

/// What comes on the peer's encoder or decoder stream, where no dynamic table is announced: next
/// to nothing is allowed on either.
#[derive(Debug)]
pub(crate) enum Instructions {
    /// RFC 9204, section 4.3: to set the capacity to 0.
    Encoder,
    /// RFC 9204, section 4.4: to cancel a stream.
    Decoder {
        /// So many bytes of its ID have come, if not all.
        within: Option<u8>,
    },
}

impl Instructions {
    pub(crate) fn encoder() -> Self {
        Self::Encoder
    }

    pub(crate) fn decoder() -> Self {
        Self::Decoder { within: None }
    }

    /// Takes what has come: code and reason if it is not allowed.
    pub(crate) fn take(&mut self, mut data: Bytes) -> Result<(), (u64, &'static str)> {
        while data.has_remaining() {
            let byte = data.get_u8();
            match self {
                Self::Encoder => encoder(byte)?,
                Self::Decoder { within } => *within = decoder(*within, byte)?,
            }
        }
        Ok(())
    }
}

fn encoder(byte: u8) -> Result<(), (u64, &'static str)> {
    match byte {
        0b0010_0000 => Ok(()),
        0b0010_0001..=0b0011_1111 => Err((
            code::QPACK_ENCODER_STREAM_ERROR,
            "the dynamic table's capacity is set beyond the limit, which is 0",
        )),
        _ => Err((
            code::QPACK_ENCODER_STREAM_ERROR,
            "an insertion into the dynamic table, whose capacity is 0",
        )),
    }
}

fn decoder(within: Option<u8>, byte: u8) -> Result<Option<u8>, (u64, &'static str)> {
    let within = match within {
        None if byte & 0b1100_0000 == 0b0100_0000 => {
            return Ok((byte & 0x3f == 0x3f).then_some(0));
        }
        None => {
            return Err((
                code::QPACK_DECODER_STREAM_ERROR,
                "an acknowledgment of insertions, of which there are none",
            ));
        }
        Some(within) => within,
    };
    if byte & 0x80 == 0 {
        return Ok(None);
    }
    // Nine times seven bits hold every stream ID.
    if within >= 8 {
        return Err((code::QPACK_DECODER_STREAM_ERROR, "a stream ID has more than 62 bits"));
    }
    Ok(Some(within.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mut stream: Instructions, bytes: &[u8]) -> Option<u64> {
        let whole = stream.take(Bytes::copy_from_slice(bytes)).err();
        whole.map(|(code, _)| code)
    }

    #[test]
    fn an_encoder_may_set_the_capacity_to_0_and_nothing_else() {
        assert_eq!(take(Instructions::encoder(), &[0x20, 0x20]), None);
        // RFC 9204, appendix B.2 to B.4: capacity 220, an insertion, a duplicate.
        for bytes in [&[0x3f, 0xbd, 0x01][..], &[0xc0, 0x01, b'a'], &[0x4a], &[0x02], &[0x21]] {
            let code = take(Instructions::encoder(), bytes);
            assert_eq!(code, Some(code::QPACK_ENCODER_STREAM_ERROR), "{bytes:x?}");
        }
    }

    #[test]
    fn a_decoder_may_cancel_streams_and_nothing_else() {
        // RFC 9204, appendix B.4: Stream Cancellation of stream 8. Then of a large one.
        assert_eq!(take(Instructions::decoder(), &[0x48]), None);
        assert_eq!(take(Instructions::decoder(), &[0x7f, 0x80, 0x80, 0x01, 0x48]), None);
        for bytes in [&[0x84][..], &[0x01], &[0x00], &[0x48, 0x80], &[0x7f, 0x01, 0x80]] {
            let code = take(Instructions::decoder(), bytes);
            assert_eq!(code, Some(code::QPACK_DECODER_STREAM_ERROR), "{bytes:x?}");
        }
        let endless = [&[0x7f][..], &[0xff; 9]].concat();
        assert_eq!(take(Instructions::decoder(), &endless), Some(code::QPACK_DECODER_STREAM_ERROR));
    }

    #[test]
    fn a_cancellation_may_come_in_parts() {
        let mut stream = Instructions::decoder();
        for byte in [0x7f, 0x80, 0x01, 0x40] {
            assert_eq!(stream.take(Bytes::copy_from_slice(&[byte])), Ok(()));
        }
    }
}
