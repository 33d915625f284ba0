//! Streams and what is on them, as our codec writes them and reads them: whole, or as they come
//! in parts.

use bytes::Bytes;
use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location, Message, ObjectStatus};
use moqt_engine::wire::{
    ControlReader, DecodeError, Dialect, EncodeError, Fault, FetchEvent, FetchObject, FetchReader,
    FetchWriter, ObjectHeader, Properties, SubgroupEvent, SubgroupHeader, SubgroupReader,
    SubgroupWriter,
};

/// More than the properties of any object on a whole stream here.
const ANY_PROPERTIES: usize = 1 << 20;

/// The longest properties that are read of what comes in parts.
pub const MAX_PROPERTIES: usize = 300;

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

/// What was read of what follows a stream's header, the unfinished too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<T, E = (Fault, &'static str)> {
    /// What there was, in order.
    pub items: Vec<T>,
    /// How much of the last one's payload did not come.
    pub payload_left: u64,
    /// Why that is all. Where an error was found is left out of what came in parts, since it
    /// counts from what a reader has kept.
    pub end: End<E>,
}

/// Reads a subgroup stream from its header on.
pub fn read_subgroup(draft: Draft, bytes: &[u8]) -> Found<SubgroupHeader, Object, DecodeError> {
    let dialect = draft.dialect();
    read_whole(SubgroupHeader::decode(dialect, bytes), bytes, |header| {
        SubgroupReader::new(dialect, header.has_properties, ANY_PROPERTIES)
    })
}

/// Reads a fetch stream from its header, a Request ID, on.
pub fn read_fetch(draft: Draft, order: GroupOrder, bytes: &[u8]) -> Found<u64, Item, DecodeError> {
    let dialect = draft.dialect();
    read_whole(FetchReader::decode_header(dialect, bytes), bytes, |_| {
        FetchReader::new(dialect, order, ANY_PROPERTIES)
    })
}

fn read_whole<H, R: Reader>(
    header: Result<Option<(H, usize)>, DecodeError>,
    bytes: &[u8],
    reader: impl FnOnce(&H) -> R,
) -> Found<H, R::Item, DecodeError> {
    let (header, len) = match header {
        Ok(Some(found)) => found,
        Ok(None) => return Found { header: None, items: Vec::new(), end: End::Within },
        Err(error) => return Found { header: None, items: Vec::new(), end: End::Refused(error) },
    };
    let rest = bytes.get(len..).unwrap_or_default();
    let Parts { mut items, payload_left, end } = read_parts(reader(&header), &[rest]);
    if payload_left > 0 {
        items.pop();
    }
    Found { header: Some(header), items, end }
}

/// Reads what follows a subgroup's header.
pub fn read_objects(
    dialect: &'static Dialect,
    has_properties: bool,
    parts: &[&[u8]],
) -> Parts<Object> {
    read_parts(SubgroupReader::new(dialect, has_properties, MAX_PROPERTIES), parts).anywhere()
}

/// Reads what follows a fetch's header.
pub fn read_items(dialect: &'static Dialect, order: GroupOrder, parts: &[&[u8]]) -> Parts<Item> {
    read_parts(FetchReader::new(dialect, order, MAX_PROPERTIES), parts).anywhere()
}

/// Reads control messages after each part, or only after all if not `eager`.
pub fn read_messages(dialect: &'static Dialect, parts: &[&[u8]], eager: bool) -> Parts<Message> {
    let mut reader = ControlReader::new(dialect);
    let mut items = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        reader.push(Bytes::copy_from_slice(part));
        if !eager && index + 1 < parts.len() {
            continue;
        }
        loop {
            match reader.next_message() {
                Ok(Some(message)) => items.push(message),
                Ok(None) => break,
                Err(error) => {
                    let end = End::Refused(error);
                    return Parts { items, payload_left: 0, end }.anywhere();
                }
            }
        }
    }
    let end = if reader.is_mid_message() { End::Within } else { End::Boundary };
    Parts { items, payload_left: 0, end }
}

impl<T> Parts<T, DecodeError> {
    fn anywhere(self) -> Parts<T> {
        let end = match self.end {
            End::Boundary => End::Boundary,
            End::Within => End::Within,
            End::Refused(error) => End::Refused((error.fault, error.field)),
        };
        Parts { items: self.items, payload_left: self.payload_left, end }
    }
}

/// A reader of [`moqt_engine::wire`] for what follows a header.
trait Reader {
    type Item;

    fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Next<'a, Self::Item>, DecodeError>;

    fn payload_of(item: &mut Self::Item) -> Option<&mut Vec<u8>>;

    fn payload_left(&self) -> u64;

    fn is_at_boundary(&self) -> bool;
}

enum Next<'a, T> {
    /// An item, and how much payload is to follow.
    Item(T, u64),
    Payload(&'a [u8]),
    NeedMore,
}

/// Reads all that there is. Whatever comes, the reader uses up its input, and says how much
/// payload is to follow.
fn read_parts<R: Reader>(mut reader: R, parts: &[&[u8]]) -> Parts<R::Item, DecodeError> {
    let mut items = Vec::new();
    let mut left = 0;
    for part in parts {
        let mut input = *part;
        loop {
            match reader.next(&mut input) {
                Ok(Next::Item(item, payload_len)) => {
                    assert_eq!(left, 0, "payload is missing before the next item");
                    items.push(item);
                    left = payload_len;
                }
                Ok(Next::Payload(piece)) => {
                    assert!(!piece.is_empty());
                    let payload = items.last_mut().and_then(R::payload_of);
                    payload.expect("payload of an object").extend(piece);
                    left = left.checked_sub(piece.len() as u64).expect("no more than announced");
                }
                Ok(Next::NeedMore) => break,
                Err(error) => {
                    return Parts { items, payload_left: left, end: End::Refused(error) };
                }
            }
            assert_eq!(reader.payload_left(), left);
        }
        assert!(input.is_empty(), "bytes were left in the input");
    }
    let end = if reader.is_at_boundary() { End::Boundary } else { End::Within };
    Parts { items, payload_left: left, end }
}

impl Reader for SubgroupReader {
    type Item = Object;

    fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Next<'a, Object>, DecodeError> {
        Ok(match self.next(input)? {
            SubgroupEvent::Object { object_id: id, payload_len, status, properties } => {
                let (properties, payload) = (properties.to_vec(), Vec::new());
                Next::Item(Object { id, properties, status, payload }, payload_len)
            }
            SubgroupEvent::Payload(piece) => Next::Payload(piece),
            SubgroupEvent::NeedMore => Next::NeedMore,
        })
    }

    fn payload_of(object: &mut Object) -> Option<&mut Vec<u8>> {
        Some(&mut object.payload)
    }

    fn payload_left(&self) -> u64 {
        self.payload_left()
    }

    fn is_at_boundary(&self) -> bool {
        self.is_at_boundary()
    }
}

impl Reader for FetchReader {
    type Item = Item;

    fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Next<'a, Item>, DecodeError> {
        Ok(match self.next(input)? {
            FetchEvent::Object { object, properties } => {
                let (len, properties) = (object.payload_len, properties.to_vec());
                Next::Item(Item::Object { object, properties, payload: Vec::new() }, len)
            }
            FetchEvent::EndOfRange { location, kind } => Next::Item(Item::End(location, kind), 0),
            FetchEvent::Payload(piece) => Next::Payload(piece),
            FetchEvent::NeedMore => Next::NeedMore,
        })
    }

    fn payload_of(item: &mut Item) -> Option<&mut Vec<u8>> {
        match item {
            Item::Object { payload, .. } => Some(payload),
            Item::End(..) => None,
        }
    }

    fn payload_left(&self) -> u64 {
        self.payload_left()
    }

    fn is_at_boundary(&self) -> bool {
        self.is_at_boundary()
    }
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
