use bytes::{Buf, Bytes};

use super::object::{Cursor, Stop};
use super::stash::Stash;
use super::{DecodeError, Dialect, Fault, MAX_INT_LEN, Note, decode_message};
use crate::model::{Message, MessageKind};

/// Most bytes a control message has before its body: a type and a 16-bit length.
pub const MAX_CONTROL_HEADER_LEN: usize = MAX_INT_LEN + 2;

/// A control message whose body has not been decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    /// The message type.
    pub code: u64,
    /// What the draft calls it.
    pub kind: MessageKind,
    /// Everything after the length.
    pub body: Bytes,
}

/// Cuts the bytes of a control or request stream into messages, however they come in.
///
/// Holds at most one incomplete message, 65,546 bytes, and what was last pushed.
#[derive(Debug)]
pub struct ControlReader {
    dialect: &'static Dialect,
    /// The start of a message whose rest has not been pushed yet.
    stash: Stash,
    input: Bytes,
}

impl ControlReader {
    /// A reader at the start of a stream.
    pub fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, stash: Stash::default(), input: Bytes::new() }
    }

    /// Adds what came in next.
    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else if !bytes.is_empty() {
            // The caller pushed without reading: rare, so plain.
            self.input = [&self.input[..], &bytes[..]].concat().into();
        }
    }

    /// Whether some but not all bytes of a message have come in. Only meaningful after
    /// [`next_raw`](Self::next_raw) has returned `None`.
    pub fn is_mid_message(&self) -> bool {
        !self.stash.is_empty() || !self.input.is_empty()
    }

    /// The next whole message, decoded.
    pub fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        match self.next_raw()? {
            Some(raw) => decode_message(self.dialect, raw.kind, &raw.body).map(Some),
            None => Ok(None),
        }
    }

    /// The next whole message. An unknown type is refused as soon as it is seen.
    pub fn next_raw(&mut self) -> Result<Option<RawMessage>, DecodeError> {
        if self.stash.is_empty() {
            match self.header(&self.input)? {
                Header::Whole(MessageHeader { code, kind, start, end })
                    if end <= self.input.len() =>
                {
                    let body = self.input.slice(start..end);
                    if end < self.input.len() {
                        self.input.advance(end);
                    } else {
                        self.input = Bytes::new();
                    }
                    return Ok(Some(RawMessage { code, kind, body }));
                }
                _ => {}
            }
        }
        let mut input = &self.input[..];
        let found = loop {
            match self.header(self.stash.bytes())? {
                Header::Partial { need } => {
                    if !self.stash.fill(&mut input, need) {
                        break None;
                    }
                }
                Header::Whole(MessageHeader { code, kind, start, end }) => {
                    break self.stash.fill(&mut input, end).then_some((code, kind, start));
                }
            }
        };
        if input.is_empty() {
            // Even with nothing left in it, it would keep alive what it was cut from.
            self.input = Bytes::new();
        } else {
            let used = self.input.len() - input.len();
            self.input.advance(used);
        }
        Ok(found.map(|(code, kind, start)| {
            let body = self.stash.bytes().get(start..).unwrap_or_default();
            let body = Bytes::copy_from_slice(body);
            self.stash.clear();
            RawMessage { code, kind, body }
        }))
    }

    fn header(&self, bytes: &[u8]) -> Result<Header, DecodeError> {
        match MessageHeader::read(self.dialect, bytes, ()) {
            Ok(header) => Ok(Header::Whole(header)),
            Err(Stop::Need(need)) => Ok(Header::Partial { need }),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

enum Header {
    /// At least this many bytes are needed to tell more.
    Partial {
        need: usize,
    },
    Whole(MessageHeader),
}

/// What begins a control message, whose body is from `start` to `end`.
pub(super) struct MessageHeader {
    code: u64,
    pub(super) kind: MessageKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl MessageHeader {
    pub(super) fn read(dialect: &Dialect, bytes: &[u8], notes: impl Note) -> Result<Self, Stop> {
        let mut cursor = Cursor::new(bytes, notes);
        let code = cursor.int(dialect.ints, "Message Type")?;
        let error = DecodeError::new(Fault::UnknownType(code), "Message Type", 0);
        let kind = dialect.message_kind(code).ok_or(Stop::Error(error))?;
        cursor.means(|| kind.name().into());
        let len = cursor.length16("Message Length")?;
        let start = cursor.offset();
        Ok(Self { code, kind, start, end: start + len })
    }
}
