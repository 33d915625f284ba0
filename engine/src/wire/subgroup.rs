use alloc::borrow::Cow;

use bytes::BufMut;

use super::ints::{Short, ShortPair};
use super::object::{Cursor, Scratch, Stop, check_status, check_written_status, flag_names};
use super::stash::Stash;
use super::stream_type::is_subgroup;
use super::{DecodeError, Dialect, EncodeError, Fault, Ints, Note, ObjectHeader, Payload};
use crate::model::{ObjectStatus, SubgroupId};

const PROPERTIES: u64 = 0x01;
const ID_MODE: u64 = 0x06;
const ID_IS_FIRST_OBJECT: u64 = 0x02;
const ID_IS_PRESENT: u64 = 0x04;
const END_OF_GROUP: u64 = 0x08;
const SUBGROUP_HEADER: u64 = 0x10;
const DEFAULT_PRIORITY: u64 = 0x20;
pub(crate) const FIRST_OBJECT: u64 = 0x40;

/// What is said by the type of a header.
fn type_means(code: u64) -> Cow<'static, str> {
    let subgroup = match code & ID_MODE {
        ID_IS_PRESENT => "subgroup follows",
        ID_IS_FIRST_OBJECT => "subgroup is the first object's ID",
        _ => "subgroup 0",
    };
    let flags = [
        (PROPERTIES, "properties"),
        (END_OF_GROUP, "end of group"),
        (DEFAULT_PRIORITY, "default priority"),
        (FIRST_OBJECT, "first object"),
    ];
    flag_names(subgroup, code, &flags)
}

/// What begins a subgroup stream (draft-18, "Subgroup Header").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupHeader {
    /// The track.
    pub track_alias: u64,
    /// The group.
    pub group_id: u64,
    /// The subgroup in the group.
    pub subgroup_id: SubgroupId,
    /// The publisher's priority; `None` means the track's default (drafts 16 and 18).
    pub publisher_priority: Option<u8>,
    /// The last object of the stream is the last of the group, if the stream finishes.
    pub end_of_group: bool,
    /// The stream's first object is the subgroup's first (draft 18; elsewhere not said).
    pub first_object: bool,
    /// Objects have a properties field, which may be empty.
    pub has_properties: bool,
}

impl SubgroupHeader {
    /// Reads the header, with its type, at the front of `bytes`: it and its length. `None` if
    /// more bytes are needed.
    pub fn decode(dialect: &Dialect, bytes: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        match Self::read(dialect, bytes, ()) {
            Ok(found) => Ok(Some(found)),
            Err(Stop::Need(_)) => Ok(None),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    pub(super) fn read(
        dialect: &Dialect,
        bytes: &[u8],
        notes: impl Note,
    ) -> Result<(Self, usize), Stop> {
        let ints = dialect.ints;
        let mut cursor = Cursor::new(bytes, notes);
        let code = cursor.int(ints, "SUBGROUP_HEADER")?;
        cursor.means(|| type_means(code));
        if !is_subgroup(dialect, code) {
            return Err(cursor.fault(Fault::UnknownType(code), "SUBGROUP_HEADER"));
        }
        let track_alias = cursor.int(ints, "Track Alias")?;
        let group_id = cursor.int(ints, "Group ID")?;
        let subgroup_id = match code & ID_MODE {
            ID_IS_PRESENT => SubgroupId::Explicit(cursor.int(ints, "Subgroup ID")?),
            ID_IS_FIRST_OBJECT => SubgroupId::FirstObjectId,
            _ => SubgroupId::Explicit(0),
        };
        let publisher_priority = if code & DEFAULT_PRIORITY == 0 {
            Some(cursor.byte("Publisher Priority")?)
        } else {
            None
        };
        let header = Self {
            track_alias,
            group_id,
            subgroup_id,
            publisher_priority,
            end_of_group: code & END_OF_GROUP != 0,
            first_object: code & FIRST_OBJECT != 0,
            has_properties: code & PROPERTIES != 0,
        };
        Ok((header, cursor.offset()))
    }

    /// The header as its reader will see it: without what the draft does not say.
    pub(crate) fn as_written(self, dialect: &Dialect) -> Self {
        let says_first_object = dialect.draft.says_first_object();
        Self { first_object: self.first_object && says_first_object, ..self }
    }

    /// Writes the header with its type.
    pub fn encode(&self, dialect: &Dialect, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let allowed = dialect.objects.subgroup_type_bits;
        let (mode, id) = match self.subgroup_id {
            SubgroupId::Explicit(0) => (0, None),
            SubgroupId::Explicit(id) => (ID_IS_PRESENT, Some(id)),
            SubgroupId::FirstObjectId => (ID_IS_FIRST_OBJECT, None),
        };
        let mut code = SUBGROUP_HEADER | mode;
        if self.has_properties {
            code |= PROPERTIES;
        }
        if self.end_of_group {
            code |= END_OF_GROUP;
        }
        if self.first_object {
            code |= FIRST_OBJECT & allowed;
        }
        if self.publisher_priority.is_none() {
            if allowed & DEFAULT_PRIORITY == 0 {
                return Err(EncodeError::Missing("Publisher Priority"));
            }
            code |= DEFAULT_PRIORITY;
        }
        let ints = dialect.ints;
        let mut scratch = Scratch::new();
        scratch.int(ints, code, "SUBGROUP_HEADER")?;
        scratch.int(ints, self.track_alias, "Track Alias")?;
        scratch.int(ints, self.group_id, "Group ID")?;
        if let Some(id) = id {
            scratch.int(ints, id, "Subgroup ID")?;
        }
        if let Some(priority) = self.publisher_priority {
            scratch.byte(priority);
        }
        scratch.flush(out);
        Ok(())
    }
}

/// What [`SubgroupReader::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubgroupEvent<'a> {
    /// An object begins; `payload_len` bytes of payload follow.
    Object {
        /// The object's ID.
        object_id: u64,
        /// Bytes of payload that follow.
        payload_len: u64,
        /// What it says if there are none.
        status: ObjectStatus,
        /// The undecoded properties, without their length.
        properties: &'a [u8],
    },
    /// Payload of the object that began last.
    Payload(Payload<'a>),
    /// Nothing more can be said before more bytes come.
    NeedMore,
}

/// Reads the objects of a subgroup stream, after its header, however the bytes are cut.
///
/// Payload comes out as parts of the input; only an object header that straddles two inputs
/// is copied. Memory held is at most `max_properties` and a few bytes.
///
/// ```
/// use moqt_engine::draft::D18;
/// use moqt_engine::wire::{SubgroupEvent, SubgroupReader};
///
/// let mut reader = SubgroupReader::new(&D18, false, 16_384);
/// let mut input: &[u8] = b"\x00\x04abc";
/// assert!(matches!(reader.next(&mut input)?, SubgroupEvent::Object { payload_len: 4, .. }));
/// assert_eq!(reader.next(&mut input)?, SubgroupEvent::Payload(b"abc"));
/// assert_eq!(reader.next(&mut input)?, SubgroupEvent::NeedMore);
/// assert!(!reader.is_at_boundary());
/// # Ok::<(), moqt_engine::wire::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct SubgroupReader {
    form: Form,
    previous: Option<u64>,
    payload_left: u64,
    stash: Stash,
    /// The stash has been handed out and is to be emptied.
    stash_done: bool,
}

/// How object headers are written, and what they may hold.
#[derive(Clone, Copy, Debug)]
struct Form {
    dialect: &'static Dialect,
    ints: Ints,
    short: ShortPair,
    has_properties: bool,
    max_properties: usize,
    /// The largest ID that the draft's integers can say: differences could lead past it.
    max_id: u64,
}

/// The header of an object with payload and without properties, and its length.
pub(crate) struct Quick {
    pub(crate) object_id: u64,
    pub(crate) payload_len: u64,
    pub(crate) len: usize,
}

/// A header as found, with its length.
struct Found<'a> {
    delta: u64,
    properties: &'a [u8],
    payload_len: u64,
    status: ObjectStatus,
    len: usize,
}

impl SubgroupReader {
    /// A reader at the first object. Properties longer than `max_properties` are refused.
    pub fn new(dialect: &'static Dialect, has_properties: bool, max_properties: usize) -> Self {
        Self {
            form: Form::new(dialect, has_properties, max_properties),
            previous: None,
            payload_left: 0,
            stash: Stash::default(),
            stash_done: false,
        }
    }

    /// Whether the bytes so far end where an object ends: where a stream may finish.
    pub fn is_at_boundary(&self) -> bool {
        self.payload_left == 0 && (self.stash.is_empty() || self.stash_done)
    }

    /// The ID of the object that began last.
    pub(crate) fn previous(&self) -> Option<u64> {
        self.previous
    }

    /// Payload bytes of the current object that have not come yet.
    pub fn payload_left(&self) -> u64 {
        self.payload_left
    }

    /// Takes the next thing off the front of `input`. All of `input` is used up when it says
    /// [`NeedMore`](SubgroupEvent::NeedMore). After an error the stream is of no more use.
    #[expect(clippy::inline_always, reason = "small, and called for each object and piece")]
    #[inline(always)]
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<SubgroupEvent<'a>, DecodeError> {
        if self.payload_left > 0 {
            if input.is_empty() {
                return Ok(SubgroupEvent::NeedMore);
            }
            let take = self.take_payload(input.len());
            let (payload, rest) = input.split_at_checked(take).unwrap_or((*input, &[]));
            *input = rest;
            return Ok(SubgroupEvent::Payload(payload));
        }
        if let Some(Quick { object_id, payload_len, len }) = self.quick_object(input) {
            *input = input.get(len..).unwrap_or_default();
            return Ok(SubgroupEvent::Object {
                object_id,
                payload_len,
                status: ObjectStatus::Normal,
                properties: &[],
            });
        }
        self.next_slowly(input)
    }

    /// How many of the next `available` bytes are payload of the current object; they count as
    /// read.
    #[inline]
    pub(crate) fn take_payload(&mut self, available: usize) -> usize {
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let take = left.min(available);
        self.payload_left -= take as u64;
        take
    }

    /// Reads the header of an ordinary object at the front of `bytes`. `None` for whatever else
    /// there may be: nothing has been read then.
    #[expect(clippy::inline_always, reason = "small, and called for each object and piece")]
    #[inline(always)]
    pub(crate) fn quick_object(&mut self, bytes: &[u8]) -> Option<Quick> {
        if self.payload_left > 0 || !self.stash.is_empty() {
            return None;
        }
        let (delta, payload_len, len) = self.form.quick_header(bytes)?;
        let object_id = self.form.next_id(self.previous, delta).ok()?;
        self.previous = Some(object_id);
        self.payload_left = payload_len;
        Some(Quick { object_id, payload_len, len })
    }

    /// Reads the header at the front of `bytes`, not in the middle of a payload: the object's ID, the
    /// length of its payload and that of the header.
    pub(super) fn next_noted(
        &mut self,
        bytes: &[u8],
        notes: impl Note,
    ) -> Result<(u64, u64, usize), Stop> {
        let found = self.form.read_header(bytes, notes)?;
        let object_id = self.form.next_id(self.previous, found.delta).map_err(Stop::Error)?;
        self.previous = Some(object_id);
        Ok((object_id, found.payload_len, found.len))
    }

    /// What is not an ordinary object header, whole and without properties.
    #[cold]
    #[inline(never)]
    fn next_slowly<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<SubgroupEvent<'a>, DecodeError> {
        if self.stash.is_empty() {
            match self.form.read_header(input, ()) {
                Ok(found) => {
                    let (_, rest) = input.split_at_checked(found.len).unwrap_or_default();
                    *input = rest;
                    let object_id = self.form.next_id(self.previous, found.delta)?;
                    self.previous = Some(object_id);
                    self.payload_left = found.payload_len;
                    return Ok(found.event(object_id));
                }
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Need(_)) if input.is_empty() => return Ok(SubgroupEvent::NeedMore),
                Err(Stop::Need(_)) => {}
            }
        }
        self.next_from_stash(input)
    }

    fn next_from_stash<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<SubgroupEvent<'a>, DecodeError> {
        if self.stash_done {
            self.stash.clear();
            self.stash_done = false;
            return self.next(input);
        }
        loop {
            let need = match self.form.read_header(self.stash.bytes(), ()) {
                Ok(_) => break,
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Need(need)) => need,
            };
            if !self.stash.fill(input, need) {
                return Ok(SubgroupEvent::NeedMore);
            }
        }
        // Read again: what the loop found cannot be lent out of it.
        match self.form.read_header(self.stash.bytes(), ()) {
            Ok(found) => {
                self.stash_done = true;
                let object_id = self.form.next_id(self.previous, found.delta)?;
                self.previous = Some(object_id);
                self.payload_left = found.payload_len;
                Ok(found.event(object_id))
            }
            Err(_) => Ok(SubgroupEvent::NeedMore),
        }
    }
}

impl<'a> Found<'a> {
    #[inline]
    fn event(self, object_id: u64) -> SubgroupEvent<'a> {
        SubgroupEvent::Object {
            object_id,
            payload_len: self.payload_len,
            status: self.status,
            properties: self.properties,
        }
    }
}

/// How the short headers of a subgroup's objects are read and written, if it has any.
fn short_headers(dialect: &Dialect, has_properties: bool) -> ShortPair {
    if has_properties { ShortPair::NEVER } else { ShortPair::new(dialect.ints) }
}

impl Form {
    fn new(dialect: &'static Dialect, has_properties: bool, max_properties: usize) -> Self {
        let short = short_headers(dialect, has_properties);
        let ints = dialect.ints;
        Self { dialect, ints, short, has_properties, max_properties, max_id: ints.max() }
    }

    #[inline]
    fn next_id(&self, previous: Option<u64>, delta: u64) -> Result<u64, DecodeError> {
        match previous {
            None => Some(delta),
            // Below the largest there is one more.
            Some(previous) => {
                previous.checked_add(delta).filter(|id| *id < self.max_id).map(|id| id + 1)
            }
        }
        .ok_or(DecodeError::new(Fault::Overflow, "Object ID Delta", 0))
    }

    /// The header of an ordinary object: its delta, payload length and own length. `None` for
    /// whatever else there may be.
    #[expect(clippy::inline_always, reason = "small, and called for each object and piece")]
    #[inline(always)]
    fn quick_header(&self, bytes: &[u8]) -> Option<(u64, u64, usize)> {
        match self.short.decode(bytes) {
            Some(short) => Some(short),
            None => self.longer_header(bytes),
        }
    }

    #[cold]
    #[inline(never)]
    fn longer_header(&self, bytes: &[u8]) -> Option<(u64, u64, usize)> {
        if self.has_properties {
            return None;
        }
        let (delta, delta_len) = self.ints.decode(bytes)?;
        let (payload_len, len) = self.ints.decode(bytes.get(delta_len..)?)?;
        (payload_len > 0).then_some((delta, payload_len, delta_len + len))
    }

    fn read_header(self, bytes: &[u8], notes: impl Note) -> Result<Found<'_>, Stop> {
        let ints = self.ints;
        let mut cursor = Cursor::new(bytes, notes);
        let delta = cursor.int(ints, "Object ID Delta")?;
        let properties =
            if self.has_properties { cursor.properties(ints, self.max_properties)? } else { &[] };
        let payload_len = cursor.int(ints, "Object Payload Length")?;
        let mut status = ObjectStatus::Normal;
        if payload_len == 0 {
            let code = cursor.int(ints, "Object Status")?;
            status = check_status(self.dialect, code, !properties.is_empty())
                .map_err(|(fault, field)| cursor.fault(fault, field))?;
            cursor.means(|| status.name().into());
        }
        Ok(Found { delta, properties, payload_len, status, len: cursor.offset() })
    }
}

/// Object IDs from here on are not written by the shortest way, which does not look whether they
/// are too large. From below here its steps, each shorter than 64, never get that far.
const FAR: u64 = 1 << 61;

/// Writes the headers of the objects of a subgroup stream. Payload is the caller's to send.
#[derive(Clone, Debug)]
pub struct SubgroupWriter {
    dialect: &'static Dialect,
    has_properties: bool,
    short: ShortPair,
    /// The lowest ID that may come next.
    next: u64,
    /// The largest ID that the draft's integers can say.
    max_id: u64,
    /// It has been written, so that none may come next.
    ended: bool,
}

impl SubgroupWriter {
    /// A writer at the first object of a subgroup whose header says `has_properties`.
    pub fn new(dialect: &'static Dialect, has_properties: bool) -> Self {
        let short = short_headers(dialect, has_properties);
        let max_id = dialect.ints.max();
        Self { dialect, has_properties, short, next: 0, max_id, ended: false }
    }

    /// The ID of the object written last.
    pub fn previous(&self) -> Option<u64> {
        if self.ended { Some(self.max_id) } else { self.next.checked_sub(1) }
    }

    /// Writes the header of an object; `object.payload_len` bytes of payload are to follow.
    /// Object IDs must rise.
    #[expect(clippy::inline_always, reason = "small, and called for each object and piece")]
    #[inline(always)]
    pub fn object(
        &mut self,
        object: &ObjectHeader,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        if object.properties.is_empty()
            && object.status == ObjectStatus::Normal
            && let Some(delta) = object.object_id.checked_sub(self.next)
            && let Some(short) = self.short.encode(delta, object.payload_len)
        {
            match short {
                Short::Two(bytes) => out.put_slice(&bytes),
                Short::Three(bytes) => out.put_slice(&bytes),
            }
            // There is one more: see `FAR`.
            self.next = object.object_id + 1;
            return Ok(());
        }
        self.object_slowly(object, out)
    }

    #[cold]
    #[inline(never)]
    fn object_slowly(
        &mut self,
        object: &ObjectHeader,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        let ints = self.dialect.ints;
        let delta = match object.object_id.checked_sub(self.next) {
            Some(delta) if !self.ended && object.object_id <= self.max_id => delta,
            _ => return Err(EncodeError::OutOfRange("Object ID")),
        };
        let mut scratch = Scratch::new();
        scratch.int(ints, delta, "Object ID Delta")?;
        if self.has_properties {
            let properties = object.properties.to_dialect(self.dialect)?;
            let properties = properties.as_bytes();
            scratch.int(ints, properties.len() as u64, "Properties")?;
            self.check(object)?;
            scratch.flush(out);
            out.put_slice(properties);
        } else if !object.properties.is_empty() {
            return Err(EncodeError::NotInDraft {
                what: "properties in a subgroup whose header says there are none",
                draft: self.dialect.draft,
            });
        } else {
            self.check(object)?;
        }
        scratch.int(ints, object.payload_len, "Object Payload Length")?;
        if object.payload_len == 0 {
            scratch.int(ints, object.status.code(), "Object Status")?;
        }
        scratch.flush(out);
        if object.object_id >= FAR {
            self.short = ShortPair::NEVER;
        }
        if object.object_id < self.max_id {
            self.next = object.object_id + 1;
        } else {
            // No smaller one may come either.
            self.next = self.max_id;
            self.ended = true;
        }
        Ok(())
    }

    /// Everything that can be refused, before anything is written.
    fn check(&self, object: &ObjectHeader) -> Result<(), EncodeError> {
        if object.payload_len > self.dialect.ints.max() {
            return Err(EncodeError::OutOfRange("Object Payload Length"));
        }
        if object.status == ObjectStatus::Normal {
            return Ok(());
        }
        let has_properties = !object.properties.is_empty();
        check_written_status(self.dialect, object.status, object.payload_len, has_properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::D18;

    #[test]
    fn nothing_follows_the_largest_object_id() {
        for has_properties in [false, true] {
            let mut writer = SubgroupWriter::new(&D18, has_properties);
            let mut out = alloc::vec::Vec::new();
            let mut write = |object_id| {
                let header = ObjectHeader { object_id, payload_len: 1, ..ObjectHeader::default() };
                let written = writer.object(&header, &mut out).is_ok();
                (written, writer.previous())
            };
            assert_eq!(write(u64::MAX - 1), (true, Some(u64::MAX - 1)));
            assert_eq!(write(u64::MAX - 1), (false, Some(u64::MAX - 1)));
            assert_eq!(write(u64::MAX), (true, Some(u64::MAX)));
            assert_eq!(write(u64::MAX), (false, Some(u64::MAX)));
            assert_eq!(write(0), (false, Some(u64::MAX)));
        }
    }
}
