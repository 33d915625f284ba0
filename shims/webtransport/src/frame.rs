//! HTTP/3's frames (RFC 9114, section 7) and capsules (RFC 9297, section 3.2): both are a type, a
//! length, and so many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::varint;

pub(crate) const DATA: u64 = 0x0;
pub(crate) const HEADERS: u64 = 0x1;
pub(crate) const CANCEL_PUSH: u64 = 0x3;
pub(crate) const SETTINGS: u64 = 0x4;
pub(crate) const PUSH_PROMISE: u64 = 0x5;
pub(crate) const GOAWAY: u64 = 0x7;
pub(crate) const MAX_PUSH_ID: u64 = 0xd;
/// No frame, but what begins a bidirectional stream of a session.
pub(crate) const WT_STREAM: u64 = 0x41;

/// Frame types of HTTP/2 that HTTP/3 does not have (RFC 9114, section 7.2.8).
pub(crate) const OF_HTTP2: [u64; 4] = [0x2, 0x6, 0x8, 0x9];

/// Appends a whole frame or capsule.
pub(crate) fn put(out: &mut BytesMut, kind: u64, payload: &[u8]) {
    varint::put(out, kind);
    varint::put(out, u64::try_from(payload.len()).unwrap_or_default());
    out.put_slice(payload);
}

/// Takes a stream of frames or capsules apart, however it is cut. Holds no payload.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    reading: varint::Reading,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Kind,
    Length,
    Payload {
        missing: u64,
    },
}

/// A part of a frame or capsule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// One of this type begins.
    Kind(u64),
    /// Its payload has this many bytes.
    Length(u64),
    /// Some of them.
    Payload(Bytes),
    /// That was all of them.
    End,
}

impl Reader {
    /// The next part, taken off the front of `data`; `None` if more must come first.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Option<Part> {
        match self.state {
            State::Kind => {
                let kind = self.reading.take(data)?;
                self.state = State::Length;
                Some(Part::Kind(kind))
            }
            State::Length => {
                let missing = self.reading.take(data)?;
                self.state = State::Payload { missing };
                Some(Part::Length(missing))
            }
            State::Payload { missing: 0 } => {
                self.state = State::Kind;
                Some(Part::End)
            }
            State::Payload { missing } => {
                if !data.has_remaining() {
                    return None;
                }
                let wanted = usize::try_from(missing).unwrap_or(usize::MAX);
                let payload = data.split_to(wanted.min(data.len()));
                let came = u64::try_from(payload.len()).unwrap_or_default();
                self.state = State::Payload { missing: missing.saturating_sub(came) };
                Some(Part::Payload(payload))
            }
        }
    }

    /// A frame has begun and is not complete.
    pub(crate) fn is_inside(&self) -> bool {
        !matches!(self.state, State::Kind) || self.reading.is_partial()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart_however_they_are_cut() {
        // DATA with two bytes, an empty one, and one of a reserved type in 8 bytes.
        let bytes = [0, 2, 7, 8, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x21, 1, 9];
        for cut in 0..=bytes.len() {
            let mut reader = Reader::default();
            let (mut kinds, mut lengths, mut payload, mut ends) = (vec![], vec![], vec![], 0);
            for part in [&bytes[..cut], &bytes[cut..]] {
                let mut data = Bytes::copy_from_slice(part);
                while let Some(part) = reader.next(&mut data) {
                    match part {
                        Part::Kind(kind) => kinds.push(kind),
                        Part::Length(length) => lengths.push(length),
                        Part::Payload(bytes) => payload.extend_from_slice(&bytes),
                        Part::End => ends += 1,
                    }
                }
                assert!(data.is_empty());
            }
            assert_eq!((kinds, lengths, payload), (vec![0, 0, 0x21], vec![2, 0, 1], vec![7, 8, 9]));
            assert_eq!(ends, 3);
            assert!(!reader.is_inside());
        }
    }

    #[test]
    fn a_frame_is_inside_until_its_last_byte() {
        let mut reader = Reader::default();
        for byte in [0x40, 0x00, 0x02, 7] {
            let mut data = Bytes::copy_from_slice(&[byte]);
            while reader.next(&mut data).is_some() {}
            assert!(reader.is_inside(), "after {byte:#x}");
        }
    }
}
