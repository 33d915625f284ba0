use alloc::borrow::Cow;
use alloc::vec::Vec;

use bytes::Bytes;

use super::object::{check_status, check_written_status, flag_names};
use super::{
    DecodeError, Dialect, EncodeError, Fault, Malformed, Note, Properties, Reader, Writer,
};
use crate::model::{Location, ObjectStatus};

const PROPERTIES: u64 = 0x01;
const END_OF_GROUP: u64 = 0x02;
const ZERO_OBJECT_ID: u64 = 0x04;
const DEFAULT_PRIORITY: u64 = 0x08;
const STATUS: u64 = 0x20;
const PADDING: u64 = 0x132B_3E29;

const TYPE: &str = "Datagram Type";

/// What is said by the type of a datagram.
fn type_means(code: u64) -> Cow<'static, str> {
    if code == PADDING {
        return "padding".into();
    }
    let kind = if code & STATUS == 0 { "payload" } else { "status" };
    let flags = [
        (PROPERTIES, "properties"),
        (END_OF_GROUP, "end of group"),
        (ZERO_OBJECT_ID, "object 0"),
        (DEFAULT_PRIORITY, "default priority"),
    ];
    flag_names(kind, code, &flags)
}

/// What a datagram holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// One object (draft-18, "Object Datagram").
    Object(ObjectDatagram),
    /// Nothing (draft-18, "Padding Datagrams").
    Padding,
}

/// An object in a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectDatagram {
    /// What precedes the payload.
    pub header: DatagramHeader,
    /// The payload: all the rest of the datagram.
    pub payload: Bytes,
}

/// What precedes the payload of an object in a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatagramHeader {
    /// The track.
    pub track_alias: u64,
    /// Where the object is in the track.
    pub location: Location,
    /// The publisher's priority; `None` means the track's default (drafts 16 and 18).
    pub publisher_priority: Option<u8>,
    /// The object is the last of its group.
    pub end_of_group: bool,
    /// What the object says if it has no payload.
    pub status: ObjectStatus,
    /// The object's properties.
    pub properties: Properties,
}

impl Datagram {
    /// Decodes a datagram. The payload is part of `data`, not a copy.
    pub fn decode(
        dialect: &Dialect,
        data: &Bytes,
        max_properties: usize,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(dialect.ints, data);
        Self::read(&mut reader, dialect, data, max_properties).map_err(|Malformed| reader.error())
    }

    /// The same, and tells of each field.
    pub(super) fn decode_noted(
        dialect: &Dialect,
        data: &Bytes,
        max_properties: usize,
        notes: impl Note,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::with_notes(dialect.ints, data, notes);
        Self::read(&mut reader, dialect, data, max_properties).map_err(|Malformed| reader.error())
    }

    fn read(
        reader: &mut Reader<'_, impl Note>,
        dialect: &Dialect,
        data: &Bytes,
        max_properties: usize,
    ) -> Result<Self, Malformed> {
        let code = reader.int(TYPE)?;
        reader.means(|| type_means(code));
        if code == PADDING && dialect.objects.padding {
            reader.rest("Padding");
            return Ok(Self::Padding);
        }
        if !is_valid(dialect, code) {
            return Err(reader.fault_at(Fault::UnknownType(code), TYPE, 0));
        }
        let track_alias = reader.int("Track Alias")?;
        let group = reader.int("Group ID")?;
        let object = if code & ZERO_OBJECT_ID == 0 { reader.int("Object ID")? } else { 0 };
        let publisher_priority = if code & DEFAULT_PRIORITY == 0 {
            Some(reader.byte("Publisher Priority")?)
        } else {
            None
        };
        let mut properties = Properties::EMPTY;
        if code & PROPERTIES != 0 {
            let block = reader.prefixed(max_properties, "Properties")?;
            if block.is_empty() {
                return Err(reader.fault(Fault::OutOfRange(0), "Properties Length"));
            }
            properties = Properties::from_wire(dialect, data.slice_ref(block));
        }
        let mut status = ObjectStatus::Normal;
        if code & STATUS != 0 {
            let code = reader.int("Object Status")?;
            status = check_status(dialect, code, !properties.is_empty())
                .map_err(|(fault, field)| reader.fault(fault, field))?;
            reader.means(|| status.name().into());
            reader.finish("Object Status")?;
        }
        let payload = data.slice_ref(reader.rest("Object Payload"));
        let header = DatagramHeader {
            track_alias,
            location: Location::new(group, object),
            publisher_priority,
            end_of_group: code & END_OF_GROUP != 0,
            status,
            properties,
        };
        Ok(Self::Object(ObjectDatagram { header, payload }))
    }
}

impl DatagramHeader {
    /// Writes everything before the payload, which must be as long as `payload_len` says; nothing
    /// if that cannot be said.
    pub fn encode(
        &self,
        dialect: &Dialect,
        payload_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let before = out.len();
        self.write(dialect, payload_len, out).inspect_err(|_| out.truncate(before))
    }

    fn write(
        &self,
        dialect: &Dialect,
        payload_len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let has_properties = !self.properties.is_empty();
        let is_status = self.status != ObjectStatus::Normal;
        check_written_status(dialect, self.status, payload_len as u64, has_properties)?;
        if is_status && self.end_of_group {
            return Err(EncodeError::OutOfRange("end of group beside an object status"));
        }
        let mut code = 0;
        if has_properties {
            code |= PROPERTIES;
        }
        if self.end_of_group {
            code |= END_OF_GROUP;
        }
        if is_status {
            code |= STATUS;
        }
        let id_by_type = !is_status || dialect.objects.status_datagram_without_id;
        if self.location.object == 0 && id_by_type {
            code |= ZERO_OBJECT_ID;
        }
        if self.publisher_priority.is_none() {
            code |= DEFAULT_PRIORITY;
        }
        if !is_valid(dialect, code) {
            return Err(EncodeError::Missing("Publisher Priority"));
        }
        let properties = self.properties.to_dialect(dialect)?;
        let mut writer = Writer::new(dialect.ints, out);
        writer.int(code, TYPE)?;
        writer.int(self.track_alias, "Track Alias")?;
        writer.int(self.location.group, "Group ID")?;
        if code & ZERO_OBJECT_ID == 0 {
            writer.int(self.location.object, "Object ID")?;
        }
        if let Some(priority) = self.publisher_priority {
            writer.byte(priority);
        }
        if has_properties {
            writer.prefixed(properties.as_bytes(), usize::MAX, "Properties")?;
        }
        if is_status {
            writer.int(self.status.code(), "Object Status")?;
        }
        Ok(())
    }
}

fn is_valid(dialect: &Dialect, code: u64) -> bool {
    let rules = &dialect.objects;
    let status = code & STATUS != 0;
    code & !rules.datagram_type_bits == 0
        && !(status && code & END_OF_GROUP != 0)
        && !(status && code & ZERO_OBJECT_ID != 0 && !rules.status_datagram_without_id)
}
