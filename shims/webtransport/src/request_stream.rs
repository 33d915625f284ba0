//! Request streams (RFC 9114, section 4.1): HEADERS, then DATA.

use bytes::{BufMut, Bytes, BytesMut};

use crate::code;
use crate::frame::{self, Part, Reader, WT_STREAM};

/// What the peer sends on a request stream: a request, or a response.
#[derive(Debug)]
pub(crate) struct RequestStream {
    reader: Reader,
    frame: Frame,
    section: BytesMut,
    max_section: usize,
    is_client: bool,
    has_begun: bool,
    /// The header section is complete: content follows.
    has_header: bool,
}

/// What of the frame that comes matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Headers,
    Data,
    Other,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// The first frame is WT_STREAM: this is no request stream.
    WtStream,
    /// The first frame is another one: this is a request stream.
    Begun,
    /// An encoded field section.
    FieldSection(Bytes),
    /// Some content.
    Content(Bytes),
}

/// What was wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is to be closed: code and reason.
    Connection(u64, &'static str),
    /// A field section is larger than the limit.
    TooLarge,
}

impl RequestStream {
    /// A stream with field sections of up to `max_section` bytes, encoded.
    pub(crate) fn new(max_section: usize, is_client: bool) -> Self {
        Self {
            reader: Reader::default(),
            frame: Frame::Other,
            section: BytesMut::new(),
            max_section,
            is_client,
            has_begun: false,
            has_header: false,
        }
    }

    /// What came next, taken off the front of `data`; `None` if more must come first.
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Result<Option<Came>, Fault> {
        while let Some(part) = self.reader.next(data) {
            match part {
                Part::Kind(WT_STREAM) if !self.has_begun => return Ok(Some(Came::WtStream)),
                Part::Kind(kind) => {
                    let is_first = !std::mem::replace(&mut self.has_begun, true);
                    self.begin(kind)?;
                    if is_first {
                        return Ok(Some(Came::Begun));
                    }
                }
                Part::Length(length) => {
                    let max = u64::try_from(self.max_section).unwrap_or(u64::MAX);
                    if self.frame == Frame::Headers && length > max {
                        return Err(Fault::TooLarge);
                    }
                }
                Part::Payload(payload) => match self.frame {
                    Frame::Headers => self.section.put_slice(&payload),
                    Frame::Data => return Ok(Some(Came::Content(payload))),
                    Frame::Other => {}
                },
                Part::End if self.frame == Frame::Headers => {
                    let section = std::mem::take(&mut self.section);
                    return Ok(Some(Came::FieldSection(section.freeze())));
                }
                Part::End => {}
            }
        }
        Ok(None)
    }

    /// Field sections that came were the whole header: no interim response.
    pub(crate) fn header_is_complete(&mut self) {
        self.has_header = true;
    }

    /// A frame has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the stream may not end here.
    pub(crate) fn is_inside(&self) -> bool {
        self.reader.is_inside()
    }

    fn begin(&mut self, kind: u64) -> Result<(), Fault> {
        self.frame = Frame::Other;
        let unexpected = |reason| Err(Fault::Connection(code::H3_FRAME_UNEXPECTED, reason));
        match kind {
            frame::HEADERS if self.has_header => {
                unexpected("HEADERS after a CONNECT request's header")
            }
            frame::HEADERS => {
                self.frame = Frame::Headers;
                Ok(())
            }
            frame::DATA if !self.has_header => unexpected("DATA before HEADERS"),
            frame::DATA => {
                self.frame = Frame::Data;
                Ok(())
            }
            frame::PUSH_PROMISE if self.is_client && !self.has_header => Err(Fault::Connection(
                code::H3_ID_ERROR,
                "PUSH_PROMISE, and there was no MAX_PUSH_ID",
            )),
            frame::CANCEL_PUSH
            | frame::SETTINGS
            | frame::PUSH_PROMISE
            | frame::GOAWAY
            | frame::MAX_PUSH_ID => unexpected("a frame that may not be on a request stream"),
            WT_STREAM => Err(Fault::Connection(
                code::H3_FRAME_ERROR,
                "WT_STREAM elsewhere than at the beginning of a stream",
            )),
            kind if frame::OF_HTTP2.contains(&kind) => unexpected("a frame of HTTP/2's"),
            _ => Ok(()),
        }
    }
}
