//! Capsules of a session (RFC 9297, section 3; WebTransport, "Session Termination").

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::fields::Malformed;
use crate::frame::{self, Part, Reader};

const DATAGRAM: u64 = 0x0;
const WT_CLOSE_SESSION: u64 = 0x2843;
const WT_DRAIN_SESSION: u64 = 0x78ae;
const WT_MAX_STREAM_DATA: u64 = 0x190b_4d3e;
const WT_STREAM_DATA_BLOCKED: u64 = 0x190b_4d42;

/// The most bytes that the reason of a WT_CLOSE_SESSION takes.
const MAX_REASON: usize = 1024;
/// The bytes of its code.
const CODE: usize = 4;

/// A capsule that means something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Capsule {
    /// A datagram's payload.
    Datagram(Bytes),
    /// The session is over.
    Close { code: u32, reason: String },
    /// The session is to end soon.
    Drain,
}

impl Capsule {
    /// Appends the capsule. A reason is cut to what the peer takes.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Datagram(payload) => frame::put(out, DATAGRAM, payload),
            Self::Drain => frame::put(out, WT_DRAIN_SESSION, &[]),
            Self::Close { code, reason } => {
                let mut payload = BytesMut::new();
                payload.put_u32(*code);
                payload.put_slice(cut(reason).as_bytes());
                frame::put(out, WT_CLOSE_SESSION, &payload);
            }
        }
    }
}

/// As much of a reason as the peer takes, in whole characters.
fn cut(reason: &str) -> &str {
    let end = (0..=MAX_REASON).rev().find(|end| reason.is_char_boundary(*end));
    let end = if reason.len() <= MAX_REASON { Some(reason.len()) } else { end };
    reason.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Reads capsules, however they are cut. Holds one that means something, and nothing of others.
#[derive(Debug)]
pub(crate) struct Capsules {
    reader: Reader,
    kind: Kind,
    payload: BytesMut,
    max_datagram: usize,
    prohibits_stream_flow_control: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Datagram,
    Close,
    Drain,
    /// Its payload is passed over.
    Ignored,
}

impl Capsules {
    pub(crate) fn new(max_datagram: usize, prohibits_stream_flow_control: bool) -> Self {
        Self {
            reader: Reader::default(),
            kind: Kind::Ignored,
            payload: BytesMut::new(),
            max_datagram,
            prohibits_stream_flow_control,
        }
    }

    /// The next capsule that means something, taken off the front of `data`; `None` if more must
    /// come first.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Result<Option<Capsule>, Malformed> {
        while let Some(part) = self.reader.next(data) {
            match part {
                Part::Kind(kind) => self.kind = self.begin(kind)?,
                Part::Length(length) => self.kind = self.check(length)?,
                Part::Payload(_) if self.kind == Kind::Ignored => {}
                Part::Payload(payload) => self.payload.put_slice(&payload),
                Part::End => {
                    if let Some(capsule) = self.end()? {
                        return Ok(Some(capsule));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A capsule has begun and is not complete.
    pub(crate) fn is_inside(&self) -> bool {
        self.reader.is_inside()
    }

    fn begin(&self, kind: u64) -> Result<Kind, Malformed> {
        match kind {
            DATAGRAM => Ok(Kind::Datagram),
            WT_CLOSE_SESSION => Ok(Kind::Close),
            WT_DRAIN_SESSION => Ok(Kind::Drain),
            WT_MAX_STREAM_DATA | WT_STREAM_DATA_BLOCKED if self.prohibits_stream_flow_control => {
                Err(Malformed("a capsule for the flow control of a stream"))
            }
            // Those for flow control are ignored as well, since it is not negotiated.
            _ => Ok(Kind::Ignored),
        }
    }

    fn check(&self, length: u64) -> Result<Kind, Malformed> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match self.kind {
            Kind::Datagram if length > self.max_datagram => Ok(Kind::Ignored),
            Kind::Close if length < CODE => Err(Malformed("WT_CLOSE_SESSION without a code")),
            Kind::Close if length > CODE.saturating_add(MAX_REASON) => {
                Err(Malformed("WT_CLOSE_SESSION with a reason of more than 1,024 bytes"))
            }
            Kind::Drain if length > 0 => Err(Malformed("WT_DRAIN_SESSION that is not empty")),
            kind => Ok(kind),
        }
    }

    fn end(&mut self) -> Result<Option<Capsule>, Malformed> {
        let mut payload = self.payload.split().freeze();
        Ok(match self.kind {
            Kind::Ignored => None,
            Kind::Datagram => Some(Capsule::Datagram(payload)),
            Kind::Drain => Some(Capsule::Drain),
            Kind::Close => {
                let code = payload.try_get_u32();
                let code = code.map_err(|_| Malformed("WT_CLOSE_SESSION without a code"))?;
                let reason = String::from_utf8(payload.into());
                let reason = reason
                    .map_err(|_| Malformed("WT_CLOSE_SESSION with a reason that is not UTF-8"))?;
                Some(Capsule::Close { code, reason })
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Capsules {
        Capsules::new(100, true)
    }

    fn all(bytes: &[u8], cut: usize) -> Result<Vec<Capsule>, Malformed> {
        let (mut capsules, mut reader) = (Vec::new(), reader());
        for part in [&bytes[..cut], &bytes[cut..]] {
            let mut part = Bytes::copy_from_slice(part);
            while let Some(capsule) = reader.next(&mut part)? {
                capsules.push(capsule);
            }
        }
        assert!(!reader.is_inside(), "{bytes:x?}");
        Ok(capsules)
    }

    fn close(code: u32, reason: &str) -> Capsule {
        Capsule::Close { code, reason: reason.to_owned() }
    }

    fn encoded(capsules: &[Capsule]) -> BytesMut {
        let mut out = BytesMut::new();
        for capsule in capsules {
            capsule.put(&mut out);
        }
        out
    }

    #[test]
    fn capsules_are_what_the_text_says() {
        assert_eq!(encoded(&[close(0x0102_0304, "bye")]), b"\x68\x43\x07\x01\x02\x03\x04bye"[..]);
        assert_eq!(encoded(&[Capsule::Drain]), b"\x80\x00\x78\xae\x00"[..]);
        assert_eq!(encoded(&[Capsule::Datagram("ab".into())]), b"\x00\x02ab"[..]);
    }

    #[test]
    fn capsules_are_read_however_they_are_cut_and_others_passed_over() {
        let capsules =
            [Capsule::Drain, Capsule::Datagram("hello".into()), close(7, "über"), close(0, "")];
        let mut bytes = BytesMut::new();
        for capsule in &capsules {
            frame::put(&mut bytes, 0x21, b"reserved");
            // WT_MAX_STREAMS, which would be malformed.
            frame::put(&mut bytes, 0x190b_4d3f, &[0xff]);
            capsule.put(&mut bytes);
        }
        for cut in 0..bytes.len() {
            let read = all(&bytes, cut);
            assert_eq!(read.as_deref(), Ok(&capsules[..]), "cut at {cut}");
        }
    }

    #[test]
    fn a_close_has_a_code_and_a_reason_of_up_to_1024_bytes() {
        let longest = close(1, &"x".repeat(1024));
        let bytes = encoded(std::slice::from_ref(&longest));
        assert_eq!(all(&bytes, 0), Ok(vec![longest]));
        for length in [&[0][..], &[3], &[0x44, 0x05], &[0xff; 8]] {
            let bytes = [&[0x68, 0x43][..], length].concat();
            let result = reader().next(&mut Bytes::from(bytes));
            assert!(result.is_err(), "refused by its length: {length:x?}");
        }
        assert!(reader().next(&mut Bytes::from_static(b"\x68\x43\x05\0\0\0\0\xff")).is_err());
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        let bytes = encoded(&[close(1, &"€".repeat(400))]);
        assert_eq!(all(&bytes, 0), Ok(vec![close(1, &"€".repeat(341))]));
    }

    #[test]
    fn what_is_prohibited_is_malformed() {
        for kind in [WT_MAX_STREAM_DATA, WT_STREAM_DATA_BLOCKED] {
            let mut bytes = BytesMut::new();
            frame::put(&mut bytes, kind, &[0, 0]);
            assert!(reader().next(&mut bytes.clone().freeze()).is_err());
            assert_eq!(Capsules::new(100, false).next(&mut bytes.freeze()), Ok(None));
        }
        assert!(reader().next(&mut Bytes::from_static(b"\x80\x00\x78\xae\x01")).is_err());
    }

    #[test]
    fn nothing_is_held_of_what_is_passed_over() {
        let mut reader = reader();
        for kind in [0x17_u64, DATAGRAM] {
            let mut bytes = BytesMut::new();
            crate::varint::put(&mut bytes, kind);
            crate::varint::put(&mut bytes, 101);
            bytes.put_bytes(7, 101);
            assert_eq!(reader.next(&mut bytes.freeze()), Ok(None));
            assert_eq!(reader.payload.capacity(), 0);
        }
    }
}
