//! Whole streams of objects and what is on them, as our codec writes and reads them.

use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location, ObjectStatus};
use moqt_engine::wire::{
    DecodeError, EncodeError, FetchEvent, FetchObject, FetchReader, FetchWriter, ObjectHeader,
    Properties, SubgroupEvent, SubgroupHeader, SubgroupReader, SubgroupWriter,
};

/// More than the properties of any object here.
const MAX_PROPERTIES: usize = 1 << 20;

/// An object of a subgroup or datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Object {
    pub id: u64,
    /// Undecoded, without their length.
    pub properties: Vec<u8>,
    pub status: ObjectStatus,
    pub payload: Vec<u8>,
}

/// What is on a fetch stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An object.
    Object {
        /// The object, with empty properties.
        object: FetchObject,
        /// Its properties, undecoded, without their length.
        properties: Vec<u8>,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// The end of a range without objects.
    End(Location, EndOfRange),
}

/// What was read from bytes that may end anywhere: the whole items, and why there are no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<H, T, E> {
    /// What the stream begins with, if that is whole.
    pub header: Option<H>,
    /// What follows it.
    pub items: Vec<T>,
    /// Why that is all.
    pub end: End<E>,
}

/// Why no more was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End<E> {
    /// The bytes end where an item does.
    Boundary,
    /// The bytes end within an item.
    Within,
    /// The next item is refused.
    Refused(E),
}

impl<H, T, E> Found<H, T, E> {
    fn new(header: Option<H>, end: End<E>) -> Self {
        Self { header, items: Vec::new(), end }
    }
}

/// Reads a subgroup stream from its header on.
pub fn read_subgroup(draft: Draft, bytes: &[u8]) -> Found<SubgroupHeader, Object, DecodeError> {
    let dialect = draft.dialect();
    let (header, len) = match SubgroupHeader::decode(dialect, bytes) {
        Ok(Some(found)) => found,
        Ok(None) => return Found::new(None, End::Within),
        Err(error) => return Found::new(None, End::Refused(error)),
    };
    let mut found = Found::new(Some(header), End::Boundary);
    let mut input = bytes.get(len..).unwrap_or_default();
    let mut reader = SubgroupReader::new(dialect, header.has_properties, MAX_PROPERTIES);
    loop {
        match reader.next(&mut input) {
            Ok(SubgroupEvent::Object { object_id, status, properties, .. }) => {
                let properties = properties.to_vec();
                found.items.push(Object { id: object_id, properties, status, payload: Vec::new() });
            }
            Ok(SubgroupEvent::Payload(part)) => {
                found.items.last_mut().expect("an object began").payload.extend(part);
            }
            Ok(SubgroupEvent::NeedMore) => break,
            Err(error) => {
                found.end = End::Refused(error);
                return found;
            }
        }
    }
    if reader.payload_left() > 0 {
        found.items.pop();
    }
    if !reader.is_at_boundary() {
        found.end = End::Within;
    }
    found
}

/// Writes a subgroup stream.
pub fn write_subgroup(
    draft: Draft,
    header: &SubgroupHeader,
    objects: &[Object],
) -> Result<Vec<u8>, EncodeError> {
    let dialect = draft.dialect();
    let mut bytes = Vec::new();
    header.encode(dialect, &mut bytes)?;
    let mut writer = SubgroupWriter::new(dialect, header.has_properties);
    for object in objects {
        let header = ObjectHeader {
            object_id: object.id,
            payload_len: object.payload.len() as u64,
            status: object.status,
            properties: Properties::from_wire(dialect, object.properties.clone().into()),
        };
        writer.object(&header, &mut bytes)?;
        bytes.extend(&object.payload);
    }
    Ok(bytes)
}

/// Reads a fetch stream from its header, a Request ID, on.
pub fn read_fetch(draft: Draft, order: GroupOrder, bytes: &[u8]) -> Found<u64, Item, DecodeError> {
    let dialect = draft.dialect();
    let (header, len) = match FetchReader::decode_header(dialect, bytes) {
        Ok(Some(found)) => found,
        Ok(None) => return Found::new(None, End::Within),
        Err(error) => return Found::new(None, End::Refused(error)),
    };
    let mut found = Found::new(Some(header), End::Boundary);
    let mut input = bytes.get(len..).unwrap_or_default();
    let mut reader = FetchReader::new(dialect, order, MAX_PROPERTIES);
    loop {
        match reader.next(&mut input) {
            Ok(FetchEvent::Object { object, properties }) => {
                let properties = properties.to_vec();
                found.items.push(Item::Object { object, properties, payload: Vec::new() });
            }
            Ok(FetchEvent::EndOfRange { location, kind }) => {
                found.items.push(Item::End(location, kind));
            }
            Ok(FetchEvent::Payload(part)) => match found.items.last_mut() {
                Some(Item::Object { payload, .. }) => payload.extend(part),
                other => panic!("payload after {other:?}"),
            },
            Ok(FetchEvent::NeedMore) => break,
            Err(error) => {
                found.end = End::Refused(error);
                return found;
            }
        }
    }
    if reader.payload_left() > 0 {
        found.items.pop();
    }
    if !reader.is_at_boundary() {
        found.end = End::Within;
    }
    found
}

/// Writes a fetch stream without its header: each item by itself, so that what follows a range
/// can be told.
pub fn write_fetch(
    draft: Draft,
    order: GroupOrder,
    items: &[Item],
) -> Result<Vec<Vec<u8>>, EncodeError> {
    let dialect = draft.dialect();
    let mut writer = FetchWriter::new(dialect, order);
    let write = |item: &Item| {
        let mut bytes = Vec::new();
        match item {
            Item::Object { object, properties, payload } => {
                let mut object = object.clone();
                object.properties = Properties::from_wire(dialect, properties.clone().into());
                writer.object(&object, &mut bytes)?;
                bytes.extend(payload);
            }
            Item::End(location, kind) => {
                writer.end_of_range(*location, *kind, &mut bytes)?;
            }
        }
        Ok(bytes)
    };
    items.iter().map(write).collect()
}
