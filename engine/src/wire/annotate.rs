//! Bytes with every field named: what a tool shows to people.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::control::MessageHeader;
use super::message::decode_noted;
use super::object::{PROPERTIES, Stop};
use super::pairs::PairReader;
use super::setup::OPTION;
use super::token::read_token;
use super::{
    Datagram, DecodeError, Dialect, Fault, FetchReader, Note, Reader, StreamType, SubgroupHeader,
    SubgroupReader,
};
use crate::model::{EndOfRange, GroupOrder, Location, SetupOption};

/// Properties of an object may be as long as this here; a connection allows less.
const MAX_PROPERTIES: usize = 1 << 30;

/// What bytes are, from the first one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Control messages: a control stream, or a request and what is said about it.
    Control,
    /// A unidirectional stream, which begins with its type. The groups of a fetch come in this
    /// order, which the stream does not say.
    Data(GroupOrder),
    /// One datagram.
    Datagram,
}

/// A message, header, object or datagram, field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotated {
    /// What it is, by the draft's name.
    pub name: &'static str,
    /// Where the object or end of range is in its track.
    pub location: Option<Location>,
    /// Its bytes, as far as they are there and right.
    pub range: Range<usize>,
    /// Its fields in the order they are in.
    pub fields: Vec<Field>,
    /// What is wrong with it, and at which byte of all. Nothing comes after it then.
    pub error: Option<DecodeError>,
}

/// A field that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The draft's name for it.
    pub name: &'static str,
    /// Its bytes.
    pub range: Range<usize>,
    /// What is in them.
    pub value: FieldValue,
    /// What the value stands for, if it stands for something.
    pub meaning: Option<Cow<'static, str>>,
}

/// The value of a [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A number.
    Int(u64),
    /// How many bytes the field of the same name that follows has.
    Length(u64),
    /// The bytes themselves.
    Bytes,
}

/// Goes through bytes and annotates one message, header or object after the other.
///
/// It reads with what connections read with, and stops at the first thing that is wrong.
///
/// ```
/// use moqt_engine::draft::D18;
/// use moqt_engine::wire::{Annotator, Subject};
///
/// let mut all = Annotator::new(&D18, Subject::Datagram, b"\x08\x05\x02\x07hello");
/// let datagram = all.next().expect("a datagram");
/// let names: Vec<&str> = datagram.fields.iter().map(|field| field.name).collect();
/// assert_eq!(names, ["Datagram Type", "Track Alias", "Group ID", "Object ID", "Object Payload"]);
/// assert_eq!(datagram.error, None);
/// ```
#[derive(Debug)]
pub struct Annotator<'a> {
    dialect: &'static Dialect,
    bytes: &'a [u8],
    /// Where what comes next begins.
    at: usize,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    Message,
    Datagram,
    StreamType(GroupOrder),
    SubgroupObject(u64, SubgroupReader),
    FetchItem(FetchReader),
    Nothing,
}

impl<'a> Annotator<'a> {
    /// Annotates `bytes` as what they are said to be.
    pub fn new(dialect: &'static Dialect, subject: Subject, bytes: &'a [u8]) -> Self {
        let next = match subject {
            Subject::Control => Next::Message,
            Subject::Data(order) => Next::StreamType(order),
            Subject::Datagram => Next::Datagram,
        };
        Self { dialect, bytes, at: 0, next }
    }

    /// Everything from where the next thing begins.
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn message(&mut self, notes: &mut Notes) -> Result<Read, Failed> {
        let rest = self.rest();
        let MessageHeader { kind, start, end, .. } =
            MessageHeader::read(self.dialect, rest, &mut *notes)
                .map_err(|stop| notes.failed("Control Message", &stop))?;
        let body = rest.get(start..end.min(rest.len())).unwrap_or_default();
        notes.base += start;
        if let Err(error) = decode_noted(self.dialect, kind, body, &mut *notes) {
            return Err(notes.failed(kind.name(), &Stop::Error(error)));
        }
        notes.name_tokens(self.dialect, self.bytes);
        if end > rest.len() {
            let error = DecodeError::new(Fault::Truncated, kind.name(), body.len());
            return Err(notes.failed(kind.name(), &Stop::Error(error)));
        }
        Ok(Read { name: kind.name(), location: None, end: self.at + end })
    }

    fn datagram(&mut self, notes: &mut Notes) -> Result<Read, Failed> {
        const NAME: &str = "OBJECT_DATAGRAM";
        let data = Bytes::copy_from_slice(self.rest());
        let datagram = Datagram::decode_noted(self.dialect, &data, MAX_PROPERTIES, &mut *notes)
            .map_err(|error| notes.failed(NAME, &Stop::Error(error)))?;
        self.next = Next::Nothing;
        let end = self.bytes.len();
        match datagram {
            Datagram::Padding => Ok(Read { name: "PADDING", location: None, end }),
            Datagram::Object(object) => {
                notes.name_properties(self.dialect, self.bytes).map_err(|e| e.of(NAME))?;
                Ok(Read { name: NAME, location: Some(object.header.location), end })
            }
        }
    }

    fn stream_type(&mut self, order: GroupOrder, notes: &mut Notes) -> Result<Read, Failed> {
        let (dialect, rest) = (self.dialect, self.rest());
        let found = StreamType::decode(dialect, rest);
        let found = found.map_err(|error| notes.failed("Stream Type", &Stop::Error(error)))?;
        let Some((stream_type, len)) = found else {
            let error = DecodeError::new(Fault::Truncated, "Stream Type", 0);
            return Err(notes.failed("Stream Type", &Stop::Error(error)));
        };
        match stream_type {
            StreamType::Control => {
                self.next = Next::Message;
                self.message(notes)
            }
            StreamType::Subgroup => {
                const NAME: &str = "SUBGROUP_HEADER";
                let (header, len) = SubgroupHeader::read(dialect, rest, &mut *notes)
                    .map_err(|stop| notes.failed(NAME, &stop))?;
                let reader = SubgroupReader::new(dialect, header.has_properties, MAX_PROPERTIES);
                self.next = Next::SubgroupObject(header.group_id, reader);
                Ok(Read { name: NAME, location: None, end: self.at + len })
            }
            StreamType::Fetch => {
                const NAME: &str = "FETCH_HEADER";
                let (_, len) = FetchReader::read_header(dialect, rest, &mut *notes)
                    .map_err(|stop| notes.failed(NAME, &stop))?;
                self.next = Next::FetchItem(FetchReader::new(dialect, order, MAX_PROPERTIES));
                Ok(Read { name: NAME, location: None, end: self.at + len })
            }
            StreamType::Padding => {
                let code = dialect.ints.decode(rest).map(|(code, _)| code);
                notes.field("Stream Type", 0..len, code);
                notes.field("Padding", len..rest.len(), None);
                self.next = Next::Nothing;
                Ok(Read { name: "PADDING", location: None, end: self.bytes.len() })
            }
        }
    }

    fn subgroup_object(
        &mut self,
        group: u64,
        mut reader: SubgroupReader,
        notes: &mut Notes,
    ) -> Result<Read, Failed> {
        const NAME: &str = "Object";
        let found = reader.next_noted(self.rest(), &mut *notes);
        let (id, payload, len) = found.map_err(|stop| notes.failed(NAME, &stop))?;
        self.next = Next::SubgroupObject(group, reader);
        notes.name_properties(self.dialect, self.bytes).map_err(|error| error.of(NAME))?;
        let end = self.payload(len, payload, notes).map_err(|error| error.of(NAME))?;
        Ok(Read { name: NAME, location: Some(Location::new(group, id)), end })
    }

    fn fetch_item(&mut self, mut reader: FetchReader, notes: &mut Notes) -> Result<Read, Failed> {
        const NAME: &str = "Object";
        let found = reader.next_noted(self.rest(), &mut *notes);
        let (location, range, len) = found.map_err(|stop| notes.failed(NAME, &stop))?;
        notes.name_properties(self.dialect, self.bytes).map_err(|error| error.of(NAME))?;
        let end =
            self.payload(len, reader.payload_left(), notes).map_err(|error| error.of(NAME))?;
        reader.pass_payload();
        self.next = Next::FetchItem(reader);
        let name = match range {
            None => NAME,
            Some(EndOfRange::NonExistent) => "End of Non-Existent Range",
            Some(EndOfRange::Unknown) => "End of Unknown Range",
        };
        Ok(Read { name, location: Some(location), end })
    }

    /// The payload after a header of so many bytes: where it ends.
    fn payload(&self, header: usize, len: u64, notes: &mut Notes) -> Result<usize, DecodeError> {
        const NAME: &str = "Object Payload";
        if len == 0 {
            return Ok(self.at + header);
        }
        let available = self.rest().len() - header.min(self.rest().len());
        let whole = usize::try_from(len).ok().filter(|len| *len <= available);
        let end = header + whole.unwrap_or(available);
        notes.field(NAME, header..end, None);
        match whole {
            Some(_) => Ok(self.at + end),
            None => Err(DecodeError::new(Fault::Truncated, NAME, self.at + end)),
        }
    }
}

impl Iterator for Annotator<'_> {
    type Item = Annotated;

    fn next(&mut self) -> Option<Annotated> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let mut notes = Notes { base: self.at, ..Notes::default() };
        let read = match core::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => return None,
            Next::Message => {
                self.next = Next::Message;
                self.message(&mut notes)
            }
            Next::Datagram => self.datagram(&mut notes),
            Next::StreamType(order) => self.stream_type(order, &mut notes),
            Next::SubgroupObject(group, reader) => self.subgroup_object(group, reader, &mut notes),
            Next::FetchItem(reader) => self.fetch_item(reader, &mut notes),
        };
        let start = self.at;
        let fields = notes.fields;
        Some(match read {
            Ok(Read { name, location, end }) => {
                self.at = end;
                Annotated { name, location, range: start..end, fields, error: None }
            }
            Err(Failed { name, error }) => {
                self.next = Next::Nothing;
                self.at = self.bytes.len();
                let end = fields.last().map_or(start, |field| field.range.end);
                Annotated { name, location: None, range: start..end, fields, error: Some(error) }
            }
        })
    }
}

/// Something that was read to its end.
struct Read {
    name: &'static str,
    location: Option<Location>,
    end: usize,
}

/// Something that could not be read, and where in all bytes.
struct Failed {
    name: &'static str,
    error: DecodeError,
}

impl DecodeError {
    fn of(self, name: &'static str) -> Failed {
        Failed { name, error: self }
    }
}

/// Collects fields.
#[derive(Debug, Default)]
struct Notes {
    /// Where in all bytes the reader began.
    base: usize,
    fields: Vec<Field>,
    /// The field in which the bytes ended.
    cut_off: Option<&'static str>,
}

impl Notes {
    /// Why reading stopped, in terms of all bytes.
    fn failed(&self, name: &'static str, stop: &Stop) -> Failed {
        let end = self.fields.last().map_or(self.base, |field| field.range.end);
        let error = match stop {
            Stop::Need(_) => DecodeError::new(Fault::Truncated, self.cut_off.unwrap_or(name), end),
            Stop::Error(error) => self.at_field(*error),
        };
        error.of(name)
    }

    /// Readers complain when they are past a field: the one to point at is that field.
    fn at_field(&self, error: DecodeError) -> DecodeError {
        let at = self.base + error.offset;
        let is_past = |field: &Field| field.range.end == at;
        let blamed = match (error.fault, self.fields.last()) {
            (Fault::Truncated | Fault::Trailing, _) => None,
            (_, Some(last)) if is_past(last) => {
                let mut same = self.fields.iter().rev();
                same.find(|field| field.name == error.field).or(Some(last))
            }
            _ => None,
        };
        DecodeError { offset: blamed.map_or(at, |field| field.range.start), ..error }
    }

    /// Puts the fields of the tokens in setup options, which were found to be right, in the place
    /// of the options' values.
    fn name_tokens(&mut self, dialect: &Dialect, bytes: &[u8]) {
        let mut place = 0;
        while let Some(field) = self.fields.get(place) {
            // Before it are its length and its type.
            let kind = place.checked_sub(2).and_then(|kind| self.fields.get(kind));
            let kind = kind.and_then(|kind| kind.meaning.as_deref()).unwrap_or_default();
            let is_token = field.name == OPTION
                && field.value == FieldValue::Bytes
                && kind.starts_with(SetupOption::AuthorizationToken.name());
            if is_token {
                let mut inner = Self { base: field.range.start, ..Self::default() };
                let bytes = bytes.get(field.range.clone()).unwrap_or_default();
                let mut reader = Reader::with_notes(dialect.ints, bytes, &mut inner);
                if read_token(&mut reader).is_ok() {
                    let len = inner.fields.len();
                    self.fields.splice(place..=place, inner.fields);
                    place += len;
                    continue;
                }
            }
            place += 1;
        }
    }

    /// Puts the properties that a block holds in the block's place.
    fn name_properties(&mut self, dialect: &Dialect, bytes: &[u8]) -> Result<(), DecodeError> {
        let is_block = |field: &Field| field.name == PROPERTIES && field.value == FieldValue::Bytes;
        let Some(place) = self.fields.iter().position(is_block) else { return Ok(()) };
        let block = self.fields.remove(place);
        let mut inner = Self { base: block.range.start, ..Self::default() };
        let bytes = bytes.get(block.range).unwrap_or_default();
        let mut reader = Reader::with_notes(dialect.ints, bytes, &mut inner);
        let mut pairs = PairReader::new(dialect.key_deltas);
        let mut error = None;
        while error.is_none() && !reader.is_empty() {
            if pairs.property(&mut reader, PROPERTIES).is_err() {
                error = Some(reader.error());
            }
        }
        let error = error.map(|error| inner.at_field(error));
        if error.is_some() {
            // What follows the fault is not shown.
            self.fields.truncate(place);
        }
        self.fields.splice(place..place, inner.fields);
        error.map_or(Ok(()), Err)
    }
}

impl Note for Notes {
    fn field(&mut self, name: &'static str, range: Range<usize>, value: Option<u64>) {
        let range = self.base + range.start..self.base + range.end;
        let value = value.map_or(FieldValue::Bytes, FieldValue::Int);
        self.fields.push(Field { name, range, value, meaning: None });
    }

    fn is_length(&mut self) {
        if let Some(Field { value, .. }) = self.fields.last_mut()
            && let FieldValue::Int(len) = *value
        {
            *value = FieldValue::Length(len);
        }
    }

    fn means(&mut self, meaning: impl FnOnce() -> Cow<'static, str>) {
        if let Some(field) = self.fields.last_mut() {
            field.meaning = Some(meaning());
        }
    }

    fn is_cut_off(&mut self, name: &'static str) {
        self.cut_off = Some(name);
    }
}
