use alloc::borrow::Cow;

use bytes::BufMut;

use super::object::{Cursor, Scratch, Stop, check_status, check_written_status, flag_names};
use super::stash::Stash;
use super::{
    DecodeError, Dialect, EncodeError, Fault, FetchLayout, Note, Payload, Properties, StreamType,
};
use crate::model::{EndOfRange, GroupOrder, Location, ObjectStatus};

const SUBGROUP_MODE: u64 = 0x03;
const SUBGROUP_IS_PRIOR: u64 = 0x01;
const SUBGROUP_IS_PRIOR_PLUS_ONE: u64 = 0x02;
const SUBGROUP_IS_PRESENT: u64 = 0x03;
const OBJECT_IS_PRESENT: u64 = 0x04;
const GROUP_IS_PRESENT: u64 = 0x08;
const PRIORITY_IS_PRESENT: u64 = 0x10;
const PROPERTIES_ARE_PRESENT: u64 = 0x20;
const IS_DATAGRAM: u64 = 0x40;
const FIRST_INVALID_FLAGS: u64 = 0x80;
const END_OF_NON_EXISTENT_RANGE: u64 = 0x8C;
const END_OF_UNKNOWN_RANGE: u64 = 0x10C;

const PAYLOAD_LENGTH: &str = "Object Payload Length";

/// What is said by Serialization Flags.
fn flags_mean(flags: u64) -> Cow<'static, str> {
    match flags {
        END_OF_NON_EXISTENT_RANGE => return "end of a range that does not exist".into(),
        END_OF_UNKNOWN_RANGE => return "end of a range that is unknown".into(),
        _ => {}
    }
    let subgroup = match flags & SUBGROUP_MODE {
        _ if flags & IS_DATAGRAM != 0 => "from a datagram",
        SUBGROUP_IS_PRESENT => "subgroup follows",
        SUBGROUP_IS_PRIOR => "prior subgroup",
        SUBGROUP_IS_PRIOR_PLUS_ONE => "prior subgroup plus 1",
        _ => "subgroup 0",
    };
    let fields = [
        (GROUP_IS_PRESENT, "group"),
        (OBJECT_IS_PRESENT, "object"),
        (PRIORITY_IS_PRESENT, "priority"),
        (PROPERTIES_ARE_PRESENT, "properties"),
    ];
    flag_names(subgroup, flags, &fields)
}

/// An object of a fetch response, without its payload (draft-18, "Fetch Header").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchObject {
    /// Where the object is in the track.
    pub location: Location,
    /// Its subgroup; `None` if it was published in a datagram (drafts 16 and 18).
    pub subgroup_id: Option<u64>,
    /// The publisher's priority.
    pub publisher_priority: u8,
    /// Bytes of payload that follow.
    pub payload_len: u64,
    /// What it says if there are none (draft 14; elsewhere always normal).
    pub status: ObjectStatus,
    /// The object's properties.
    pub properties: Properties,
}

/// What [`FetchReader::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent<'a> {
    /// An object begins; its properties are left undecoded.
    Object {
        /// The object, with empty properties.
        object: FetchObject,
        /// The undecoded properties, without their length.
        properties: &'a [u8],
    },
    /// Everything between the object before, if any, and this location is absent.
    EndOfRange {
        /// The last location of the range.
        location: Location,
        /// Why it is absent.
        kind: EndOfRange,
    },
    /// Payload of the object that began last.
    Payload(Payload<'a>),
    /// Nothing more can be said before more bytes come.
    NeedMore,
}

/// Reads a fetch stream after its header, however the bytes are cut.
#[derive(Debug)]
pub struct FetchReader {
    form: Form,
    prior: Prior,
    payload_left: u64,
    stash: Stash,
    stash_done: bool,
}

/// How the stream is written, and what it may hold.
#[derive(Clone, Copy, Debug)]
struct Form {
    dialect: &'static Dialect,
    order: GroupOrder,
    max_properties: usize,
}

/// What flags can refer to.
#[derive(Clone, Copy, Debug, Default)]
struct Prior {
    location: Option<Location>,
    /// Of the last object, not of an end of range. The inner option is empty for datagrams.
    object: Option<(Option<u64>, u8)>,
}

enum Item<'a> {
    Object(FetchObject, &'a [u8]),
    EndOfRange(Location, EndOfRange),
}

impl FetchReader {
    /// A reader at the first object of a response whose groups come in `order`.
    pub fn new(dialect: &'static Dialect, order: GroupOrder, max_properties: usize) -> Self {
        Self {
            form: Form { dialect, order, max_properties },
            prior: Prior::default(),
            payload_left: 0,
            stash: Stash::default(),
            stash_done: false,
        }
    }

    /// Reads a FETCH_HEADER, with its type, at the front of `bytes`: its Request ID and its
    /// length. `None` if more bytes are needed.
    pub fn decode_header(
        dialect: &Dialect,
        bytes: &[u8],
    ) -> Result<Option<(u64, usize)>, DecodeError> {
        match Self::read_header(dialect, bytes, ()) {
            Ok(found) => Ok(Some(found)),
            Err(Stop::Need(_)) => Ok(None),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    pub(super) fn read_header(
        dialect: &Dialect,
        bytes: &[u8],
        notes: impl Note,
    ) -> Result<(u64, usize), Stop> {
        let mut cursor = Cursor::new(bytes, notes);
        let code = cursor.int(dialect.ints, "FETCH_HEADER")?;
        if code != StreamType::fetch_code() {
            let error = DecodeError::new(Fault::UnknownType(code), "FETCH_HEADER", 0);
            return Err(Stop::Error(error));
        }
        let id = cursor.int(dialect.ints, "Request ID")?;
        Ok((id, cursor.offset()))
    }

    /// Reads what is at the front of `bytes`, not in the middle of a payload: where it is and how
    /// long it is.
    pub(super) fn next_noted(
        &mut self,
        bytes: &[u8],
        notes: impl Note,
    ) -> Result<(Location, Option<EndOfRange>, usize), Stop> {
        let (item, len) = self.form.read_item(self.prior, bytes, notes)?;
        (self.prior, self.payload_left) = self.prior.after(&item);
        Ok(match item {
            Item::Object(object, _) => (object.location, None, len),
            Item::EndOfRange(location, kind) => (location, Some(kind), len),
        })
    }

    /// The payload of the object that began last has been passed over.
    pub(super) fn pass_payload(&mut self) {
        self.payload_left = 0;
    }

    /// Whether the bytes so far end where an object ends: where a stream may finish.
    pub fn is_at_boundary(&self) -> bool {
        self.payload_left == 0 && (self.stash.is_empty() || self.stash_done)
    }

    /// Payload bytes of the current object that have not come yet.
    pub fn payload_left(&self) -> u64 {
        self.payload_left
    }

    /// Takes the next thing off the front of `input`. All of `input` is used up when it says
    /// [`NeedMore`](FetchEvent::NeedMore). After an error the stream is of no more use.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<FetchEvent<'a>, DecodeError> {
        if self.payload_left > 0 {
            if input.is_empty() {
                return Ok(FetchEvent::NeedMore);
            }
            let take = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(input.len());
            let (payload, rest) = input.split_at_checked(take).unwrap_or((*input, &[]));
            self.payload_left -= payload.len() as u64;
            *input = rest;
            return Ok(FetchEvent::Payload(payload));
        }
        if self.stash_done {
            self.stash.clear();
            self.stash_done = false;
        }
        if self.stash.is_empty() {
            match self.form.read_item(self.prior, input, ()) {
                Ok((item, len)) => {
                    let (_, rest) = input.split_at_checked(len).unwrap_or_default();
                    *input = rest;
                    (self.prior, self.payload_left) = self.prior.after(&item);
                    return Ok(item.into());
                }
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Need(_)) if input.is_empty() => return Ok(FetchEvent::NeedMore),
                Err(Stop::Need(_)) => {}
            }
        }
        loop {
            let need = match self.form.read_item(self.prior, self.stash.bytes(), ()) {
                Ok(_) => break,
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Need(need)) => need,
            };
            if !self.stash.fill(input, need) {
                return Ok(FetchEvent::NeedMore);
            }
        }
        // Read again: what the loop found cannot be lent out of it.
        match self.form.read_item(self.prior, self.stash.bytes(), ()) {
            Ok((item, _)) => {
                self.stash_done = true;
                (self.prior, self.payload_left) = self.prior.after(&item);
                Ok(item.into())
            }
            Err(_) => Ok(FetchEvent::NeedMore),
        }
    }
}

impl Prior {
    /// What flags can refer to after `item`, and the payload that follows it.
    fn after(self, item: &Item<'_>) -> (Self, u64) {
        match item {
            Item::EndOfRange(location, _) => (Self { location: Some(*location), ..self }, 0),
            Item::Object(object, _) => {
                let prior = Self {
                    location: Some(object.location),
                    object: Some((object.subgroup_id, object.publisher_priority)),
                };
                (prior, object.payload_len)
            }
        }
    }
}

impl Form {
    fn read_item(
        self,
        prior: Prior,
        bytes: &[u8],
        notes: impl Note,
    ) -> Result<(Item<'_>, usize), Stop> {
        let mut cursor = Cursor::new(bytes, notes);
        let item = match self.dialect.objects.fetch {
            FetchLayout::Absolute => self.read_absolute(&mut cursor)?,
            FetchLayout::Flags | FetchLayout::FlagsAndDeltas => {
                self.read_flagged(prior, &mut cursor)?
            }
        };
        Ok((item, cursor.offset()))
    }

    fn read_absolute<'a>(self, cursor: &mut Cursor<'a, impl Note>) -> Result<Item<'a>, Stop> {
        let ints = self.dialect.ints;
        let group = cursor.int(ints, "Group ID")?;
        let subgroup_id = cursor.int(ints, "Subgroup ID")?;
        let object = cursor.int(ints, "Object ID")?;
        let publisher_priority = cursor.byte("Publisher Priority")?;
        let properties = cursor.properties(ints, self.max_properties)?;
        let payload_len = cursor.int(ints, PAYLOAD_LENGTH)?;
        let mut status = ObjectStatus::Normal;
        if payload_len == 0 {
            let code = cursor.int(ints, "Object Status")?;
            status = check_status(self.dialect, code, !properties.is_empty())
                .map_err(|(fault, field)| cursor.fault(fault, field))?;
            cursor.means(|| status.name().into());
        }
        let object = FetchObject {
            location: Location::new(group, object),
            subgroup_id: Some(subgroup_id),
            publisher_priority,
            payload_len,
            status,
            properties: Properties::EMPTY,
        };
        Ok(Item::Object(object, properties))
    }

    fn read_flagged<'a>(
        self,
        prior: Prior,
        cursor: &mut Cursor<'a, impl Note>,
    ) -> Result<Item<'a>, Stop> {
        const FLAGS: &str = "Serialization Flags";
        let ints = self.dialect.ints;
        let flags = cursor.int(ints, FLAGS)?;
        cursor.means(|| flags_mean(flags));
        let range = match flags {
            END_OF_NON_EXISTENT_RANGE => Some(EndOfRange::NonExistent),
            END_OF_UNKNOWN_RANGE => Some(EndOfRange::Unknown),
            0..FIRST_INVALID_FLAGS => None,
            _ => return Err(cursor.fault(Fault::OutOfRange(flags), FLAGS)),
        };
        if let Some(kind) = range {
            let location =
                Location::new(cursor.int(ints, "Group ID")?, cursor.int(ints, "Object ID")?);
            return Ok(Item::EndOfRange(location, kind));
        }
        let no_prior = |cursor: &Cursor<'_, _>| cursor.fault(Fault::NoPrior, FLAGS);
        let deltas = self.dialect.objects.fetch == FetchLayout::FlagsAndDeltas;
        let follows = deltas && prior.location.is_some();
        let group_name = if follows { "Group ID Delta" } else { "Group ID" };
        let is_delta = follows && flags & GROUP_IS_PRESENT == 0;
        let object_name = if is_delta { "Object ID Delta" } else { "Object ID" };
        let group_field =
            if flags & GROUP_IS_PRESENT != 0 { Some(cursor.int(ints, group_name)?) } else { None };
        let subgroup_id = match flags & SUBGROUP_MODE {
            _ if flags & IS_DATAGRAM != 0 => None,
            SUBGROUP_IS_PRESENT => Some(cursor.int(ints, "Subgroup ID")?),
            mode @ (SUBGROUP_IS_PRIOR | SUBGROUP_IS_PRIOR_PLUS_ONE) => {
                let (id, _) = prior.object.ok_or_else(|| no_prior(cursor))?;
                let id = id.ok_or_else(|| no_prior(cursor))?;
                let plus = u64::from(mode == SUBGROUP_IS_PRIOR_PLUS_ONE);
                let id = id.checked_add(plus).filter(|id| *id <= ints.max());
                Some(id.ok_or_else(|| cursor.fault(Fault::Overflow, "Subgroup ID"))?)
            }
            _ => Some(0),
        };
        let object_field = if flags & OBJECT_IS_PRESENT != 0 {
            Some(cursor.int(ints, object_name)?)
        } else {
            None
        };
        let location = self.location(prior, cursor, group_field, object_field)?;
        let publisher_priority = if flags & PRIORITY_IS_PRESENT != 0 {
            cursor.byte("Publisher Priority")?
        } else {
            prior.object.ok_or_else(|| no_prior(cursor))?.1
        };
        let properties = if flags & PROPERTIES_ARE_PRESENT != 0 {
            cursor.properties(ints, self.max_properties)?
        } else {
            &[]
        };
        let object = FetchObject {
            location,
            subgroup_id,
            publisher_priority,
            payload_len: cursor.int(ints, PAYLOAD_LENGTH)?,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        };
        Ok(Item::Object(object, properties))
    }

    fn location(
        self,
        prior: Prior,
        cursor: &Cursor<'_, impl Note>,
        group_field: Option<u64>,
        object_field: Option<u64>,
    ) -> Result<Location, Stop> {
        let overflow = |field| cursor.fault(Fault::Overflow, field);
        let deltas = self.dialect.objects.fetch == FetchLayout::FlagsAndDeltas;
        let Some(prior) = prior.location else {
            return match (group_field, object_field) {
                (Some(group), Some(object)) => Ok(Location::new(group, object)),
                _ => Err(cursor.fault(Fault::NoPrior, "Serialization Flags")),
            };
        };
        let group = match group_field {
            None => prior.group,
            Some(field) if !deltas => field,
            Some(delta) => {
                let step = delta.checked_add(1);
                let group = match self.order {
                    GroupOrder::Ascending => step.and_then(|step| prior.group.checked_add(step)),
                    GroupOrder::Descending => step.and_then(|step| prior.group.checked_sub(step)),
                };
                group.ok_or_else(|| overflow("Group ID Delta"))?
            }
        };
        let object = match object_field {
            None => {
                let next = prior.object.checked_add(1);
                let max = self.dialect.ints.max();
                next.filter(|id| *id <= max).ok_or_else(|| overflow("Object ID"))?
            }
            Some(field) if !deltas || group_field.is_some() => field,
            Some(delta) => {
                prior.object.checked_add(delta).ok_or_else(|| overflow("Object ID Delta"))?
            }
        };
        Ok(Location::new(group, object))
    }
}

impl<'a> From<Item<'a>> for FetchEvent<'a> {
    fn from(item: Item<'a>) -> Self {
        match item {
            Item::Object(object, properties) => Self::Object { object, properties },
            Item::EndOfRange(location, kind) => Self::EndOfRange { location, kind },
        }
    }
}

/// Writes a fetch stream, saying no more than the draft's form needs. Payload is the caller's
/// to send.
#[derive(Clone, Debug)]
pub struct FetchWriter {
    dialect: &'static Dialect,
    order: GroupOrder,
    /// Of the item before. An end of range leaves nothing to refer to.
    prior: Option<(Location, Option<u64>, u8)>,
    /// Of the item before, whatever it was: what differences are taken from.
    base: Option<Location>,
}

impl FetchWriter {
    /// A writer of a response whose groups come in `order`.
    pub fn new(dialect: &'static Dialect, order: GroupOrder) -> Self {
        Self { dialect, order, prior: None, base: None }
    }

    /// Writes the FETCH_HEADER.
    pub fn header(&self, request_id: u64, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let mut scratch = Scratch::new();
        scratch.int(self.dialect.ints, StreamType::fetch_code(), "FETCH_HEADER")?;
        scratch.int(self.dialect.ints, request_id, "Request ID")?;
        scratch.flush(out);
        Ok(())
    }

    /// Writes the header of an object; `object.payload_len` bytes of payload are to follow.
    pub fn object(
        &mut self,
        object: &FetchObject,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        let ints = self.dialect.ints;
        let properties = object.properties.to_dialect(self.dialect)?;
        let properties = properties.as_bytes();
        let has_properties = !properties.is_empty();
        let Location { group, object: id } = object.location;
        // Everything that can be refused, before anything is written.
        let fields = [
            (group, "Group ID"),
            (object.subgroup_id.unwrap_or(0), "Subgroup ID"),
            (id, "Object ID"),
            (object.payload_len, "Object Payload Length"),
        ];
        if let Some((_, field)) = fields.into_iter().find(|(value, _)| *value > ints.max()) {
            return Err(EncodeError::OutOfRange(field));
        }
        check_written_status(self.dialect, object.status, object.payload_len, has_properties)?;
        let mut scratch = Scratch::new();
        if self.dialect.objects.fetch == FetchLayout::Absolute {
            // Draft 14 gives an object that was a datagram its own ID for a subgroup.
            scratch.int(ints, group, "Group ID")?;
            scratch.int(ints, object.subgroup_id.unwrap_or(id), "Subgroup ID")?;
            scratch.int(ints, id, "Object ID")?;
            scratch.flush(out);
            scratch.byte(object.publisher_priority);
            scratch.int(ints, properties.len() as u64, "Properties")?;
            scratch.flush(out);
            out.put_slice(properties);
            scratch.int(ints, object.payload_len, "Object Payload Length")?;
            if object.payload_len == 0 {
                scratch.int(ints, object.status.code(), "Object Status")?;
            }
            scratch.flush(out);
            return Ok(());
        }
        if object.status != ObjectStatus::Normal {
            let what = "object status in a fetch response";
            return Err(EncodeError::NotInDraft { what, draft: self.dialect.draft });
        }
        let (group_field, object_field) = self.fields(object.location)?;
        let (mode, subgroup_field) = match (object.subgroup_id, self.prior) {
            (None, _) => (IS_DATAGRAM, None),
            (Some(0), _) => (0, None),
            (Some(id), Some((_, Some(prior), _))) if id == prior => (SUBGROUP_IS_PRIOR, None),
            (Some(id), Some((_, Some(prior), _))) if prior.checked_add(1) == Some(id) => {
                (SUBGROUP_IS_PRIOR_PLUS_ONE, None)
            }
            (Some(id), _) => (SUBGROUP_IS_PRESENT, Some(id)),
        };
        let priority = object.publisher_priority;
        let same_priority = self.prior.is_some_and(|(_, _, prior)| prior == priority);
        let mut flags = mode;
        flags |= if group_field.is_some() { GROUP_IS_PRESENT } else { 0 };
        flags |= if object_field.is_some() { OBJECT_IS_PRESENT } else { 0 };
        flags |= if same_priority { 0 } else { PRIORITY_IS_PRESENT };
        flags |= if has_properties { PROPERTIES_ARE_PRESENT } else { 0 };
        scratch.int(ints, flags, "Serialization Flags")?;
        if let Some(field) = group_field {
            scratch.int(ints, field, "Group ID")?;
        }
        if let Some(field) = subgroup_field {
            scratch.int(ints, field, "Subgroup ID")?;
        }
        scratch.flush(out);
        if let Some(field) = object_field {
            scratch.int(ints, field, "Object ID")?;
        }
        if !same_priority {
            scratch.byte(priority);
        }
        if has_properties {
            scratch.int(ints, properties.len() as u64, "Properties")?;
            scratch.flush(out);
            out.put_slice(properties);
        }
        scratch.int(ints, object.payload_len, "Object Payload Length")?;
        scratch.flush(out);
        self.prior = Some((object.location, object.subgroup_id, priority));
        self.base = Some(object.location);
        Ok(())
    }

    /// Says that everything after the object before, up to and with `location`, is absent.
    pub fn end_of_range(
        &mut self,
        location: Location,
        kind: EndOfRange,
        out: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        if self.dialect.objects.fetch == FetchLayout::Absolute {
            let what = "end of range in a fetch response";
            return Err(EncodeError::NotInDraft { what, draft: self.dialect.draft });
        }
        let flags = match kind {
            EndOfRange::NonExistent => END_OF_NON_EXISTENT_RANGE,
            EndOfRange::Unknown => END_OF_UNKNOWN_RANGE,
        };
        let mut scratch = Scratch::new();
        scratch.int(self.dialect.ints, flags, "Serialization Flags")?;
        scratch.int(self.dialect.ints, location.group, "Group ID")?;
        scratch.int(self.dialect.ints, location.object, "Object ID")?;
        scratch.flush(out);
        // Implementations differ on what "prior" means after a range: refer to nothing.
        self.prior = None;
        self.base = Some(location);
        Ok(())
    }

    /// The group and object fields of an object at `location`; absent where they follow.
    fn fields(&self, location: Location) -> Result<(Option<u64>, Option<u64>), EncodeError> {
        let Location { group, object } = location;
        let deltas = self.dialect.objects.fetch == FetchLayout::FlagsAndDeltas;
        let Some(base) = self.base else { return Ok((Some(group), Some(object))) };
        if group != base.group {
            let field = if deltas {
                let step = match self.order {
                    GroupOrder::Ascending => group.checked_sub(base.group),
                    GroupOrder::Descending => base.group.checked_sub(group),
                };
                step.and_then(|step| step.checked_sub(1))
                    .ok_or(EncodeError::OutOfRange("order of groups"))?
            } else {
                group
            };
            return Ok((Some(field), Some(object)));
        }
        let step = object
            .checked_sub(base.object)
            .filter(|step| *step > 0)
            .ok_or(EncodeError::OutOfRange("order of objects"))?;
        if deltas {
            Ok((None, (step != 1).then_some(step)))
        } else if self.prior.is_some() {
            Ok((None, (step != 1).then_some(object)))
        } else {
            Ok((Some(group), Some(object)))
        }
    }
}
