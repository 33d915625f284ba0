//! Fetch streams, read and written by the other codec.
//!
//! It has an Object Payload Length after the IDs of an End of Range, which nobody else has (see
//! the table in [`moqtap`](super)): it is given one where it reads, and taken out where it
//! writes.

use bytes::Buf;
use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location, ObjectStatus};
use moqt_engine::wire::{FetchObject, Properties};
use moqtap_codec::error::CodecError;
use moqtap_codec::varint::{Moqt18, VarInt};
use moqtap_codec::{draft14, draft16, draft18};

use super::objects::status;
use super::translate::int;
use super::{read_items, stopped};
use crate::streams::{Found, Item};

const NON_EXISTENT: u64 = 0x8C;
const UNKNOWN: u64 = 0x10C;

/// Reads a fetch stream from its header, a Request ID, on.
pub fn read_fetch(
    draft: Draft,
    order: GroupOrder,
    mut bytes: &[u8],
) -> Found<u64, Item, CodecError> {
    let header = match draft {
        Draft::D14 => {
            draft14::data_stream::FetchHeader::decode(&mut bytes).map(|header| header.request_id)
        }
        Draft::D16 => {
            draft16::data_stream::FetchHeader::decode(&mut bytes).map(|header| header.request_id)
        }
        _ => draft18::data_stream::FetchHeader::decode(&mut bytes).map(|header| header.request_id),
    };
    let header = match header {
        Ok(request_id) => request_id.into_inner(),
        Err(error) => return Found { header: None, items: Vec::new(), end: stopped(error) },
    };
    let (items, end) = match draft {
        Draft::D14 => read_items(bytes, read_14),
        Draft::D16 => {
            let mut reader = draft16::data_stream::FetchObjectReader::new();
            read_items(bytes, |input| read_16(&mut reader, input))
        }
        _ => {
            let mut reader = draft18::data_stream::FetchObjectReader::new(order_18(order));
            read_items(bytes, |input| read_18(&mut reader, input))
        }
    };
    Found { header: Some(header), items, end }
}

fn order_18(order: GroupOrder) -> draft18::data_stream::GroupOrder {
    match order {
        GroupOrder::Ascending => draft18::data_stream::GroupOrder::Ascending,
        GroupOrder::Descending => draft18::data_stream::GroupOrder::Descending,
    }
}

fn read_14(input: &mut &[u8]) -> Result<Item, CodecError> {
    let read = draft14::data_stream::FetchObject::decode(input)?;
    let location = Location::new(read.group_id.into_inner(), read.object_id.into_inner());
    let object = FetchObject {
        location,
        subgroup_id: Some(read.subgroup_id.into_inner()),
        publisher_priority: read.publisher_priority,
        payload_len: read.payload.len() as u64,
        status: status(read.status().as_u64()),
        properties: Properties::EMPTY,
    };
    Ok(Item::Object { object, properties: read.extension_headers, payload: read.payload })
}

fn read_16(
    reader: &mut draft16::data_stream::FetchObjectReader,
    input: &mut &[u8],
) -> Result<Item, CodecError> {
    use draft16::data_stream as d;
    let header = with_range_length(
        input,
        |input| Ok(VarInt::decode(input)?.into_inner()),
        |input| d::FetchObjectHeader::decode(input),
    )?;
    let read = reader.resolve(&header)?;
    let location = Location::new(read.group_id, read.object_id);
    match read.end_of_range {
        Some(d::FetchEndOfRange::NonExistent) => Ok(Item::End(location, EndOfRange::NonExistent)),
        Some(d::FetchEndOfRange::Unknown) => Ok(Item::End(location, EndOfRange::Unknown)),
        None => {
            let object = FetchObject {
                location,
                subgroup_id: read.subgroup_id,
                // It lets a first object go without; see the table.
                publisher_priority: read.publisher_priority.ok_or(CodecError::InvalidField)?,
                payload_len: header.payload_length.into_inner(),
                status: ObjectStatus::Normal,
                properties: Properties::EMPTY,
            };
            with_payload(object, header.extensions.unwrap_or_default(), input)
        }
    }
}

fn read_18(
    reader: &mut draft18::data_stream::FetchObjectReader,
    input: &mut &[u8],
) -> Result<Item, CodecError> {
    use draft18::data_stream as d;
    let read = with_range_length(
        input,
        |input| Ok(VarInt::decode_moqt::<Moqt18>(input)?.into_inner()),
        |input| reader.read_object_header(input),
    )?;
    let location = Location::new(read.group_id, read.object_id);
    match read.header.end_of_range() {
        Some(d::EndOfRange::NonExistent) => Ok(Item::End(location, EndOfRange::NonExistent)),
        Some(d::EndOfRange::Unknown) => Ok(Item::End(location, EndOfRange::Unknown)),
        None => {
            let object = FetchObject {
                location,
                subgroup_id: read.subgroup_id,
                publisher_priority: read.publisher_priority.ok_or(CodecError::InvalidField)?,
                payload_len: read.header.payload_length.into_inner(),
                status: ObjectStatus::Normal,
                properties: Properties::EMPTY,
            };
            with_payload(object, read.header.properties, input)
        }
    }
}

/// Reads an item, with the length that it wants after a range's IDs.
fn with_range_length<T>(
    input: &mut &[u8],
    int: impl Fn(&mut &[u8]) -> Result<u64, CodecError>,
    mut read: impl FnMut(&mut &[u8]) -> Result<T, CodecError>,
) -> Result<T, CodecError> {
    let mut rest = *input;
    if !matches!(int(&mut rest)?, NON_EXISTENT | UNKNOWN) {
        return read(input);
    }
    for _id in 0..2 {
        int(&mut rest)?;
    }
    let range = [&input[..input.len() - rest.len()], &[0]].concat();
    *input = rest;
    read(&mut &range[..])
}

fn with_payload(
    object: FetchObject,
    properties: Vec<u8>,
    input: &mut &[u8],
) -> Result<Item, CodecError> {
    let len = usize::try_from(object.payload_len).unwrap_or(usize::MAX);
    let payload = input.get(..len).ok_or(CodecError::UnexpectedEnd)?.to_vec();
    input.advance(len);
    Ok(Item::Object { object, properties, payload })
}

/// Writes a fetch stream without its header. From draft 16 on it refers to prior objects wherever
/// it can.
pub fn write_fetch(draft: Draft, order: GroupOrder, items: &[Item]) -> Result<Vec<u8>, CodecError> {
    match draft {
        Draft::D14 => write_14(items),
        Draft::D16 => write_16(items),
        _ => write_18(order, items),
    }
}

fn write_14(items: &[Item]) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    for item in items {
        let Item::Object { object, properties, payload } = item else {
            return Err(CodecError::InvalidField);
        };
        let status = draft14::types::ObjectStatus::from_u64(object.status.code());
        let object = draft14::data_stream::FetchObject {
            group_id: int(object.location.group),
            subgroup_id: int(object.subgroup_id.ok_or(CodecError::InvalidField)?),
            object_id: int(object.location.object),
            publisher_priority: object.publisher_priority,
            extension_headers: properties.clone(),
            status: status.filter(|_| payload.is_empty()),
            payload: payload.clone(),
        };
        object.encode_checked(&mut bytes)?;
    }
    Ok(bytes)
}

/// The flags of an object that refers to the prior one wherever it can.
fn least_flags(item: &Item) -> u64 {
    match item {
        Item::Object { object, properties, .. } => {
            u64::from(object.subgroup_id.is_none()) << 6 | u64::from(!properties.is_empty()) << 5
        }
        Item::End(_, EndOfRange::NonExistent) => NON_EXISTENT,
        Item::End(_, EndOfRange::Unknown) => UNKNOWN,
    }
}

/// Where an item is, its subgroup, its priority, its properties and its payload.
fn parts(item: &Item) -> (Location, Option<u64>, Option<u8>, &[u8], &[u8]) {
    match item {
        Item::Object { object, properties, payload } => {
            let priority = Some(object.publisher_priority);
            (object.location, object.subgroup_id, priority, properties, payload)
        }
        Item::End(location, _) => (*location, None, None, &[], &[]),
    }
}

fn write_16(items: &[Item]) -> Result<Vec<u8>, CodecError> {
    use draft16::data_stream as d;
    let mut writer = d::FetchObjectWriter::new();
    let mut bytes = Vec::new();
    for item in items {
        let (location, subgroup_id, publisher_priority, properties, payload) = parts(item);
        let least = d::FetchObjectHeader {
            serialization_flags: int(least_flags(item)),
            group_id: None,
            subgroup_id: None,
            object_id: None,
            publisher_priority: None,
            extensions: (!properties.is_empty()).then(|| properties.to_vec()),
            payload_length: int(payload.len() as u64),
        };
        let location = d::FetchObjectLocation {
            group_id: location.group,
            subgroup_id,
            object_id: location.object,
            publisher_priority,
            end_of_range: least.end_of_range(),
        };
        writer.write_object_header(&least, &location, &mut bytes)?;
        finish(item, payload, &mut bytes);
    }
    Ok(bytes)
}

fn write_18(order: GroupOrder, items: &[Item]) -> Result<Vec<u8>, CodecError> {
    use draft18::data_stream as d;
    let mut writer = d::FetchObjectWriter::new(order_18(order));
    let mut bytes = Vec::new();
    for item in items {
        let (location, subgroup_id, publisher_priority, properties, payload) = parts(item);
        let header = d::FetchObjectHeader {
            serialization_flags: least_flags(item),
            group_id_delta: None,
            subgroup_id: None,
            object_id_delta: None,
            publisher_priority: None,
            properties: properties.to_vec(),
            payload_length: int(payload.len() as u64),
        };
        let frame = d::FetchObject {
            header,
            group_id: location.group,
            subgroup_id,
            object_id: location.object,
            publisher_priority,
        };
        writer.write_object_header(&frame, &mut bytes)?;
        finish(item, payload, &mut bytes);
    }
    Ok(bytes)
}

fn finish(item: &Item, payload: &[u8], bytes: &mut Vec<u8>) {
    if matches!(item, Item::End(..)) {
        assert_eq!(bytes.pop(), Some(0), "its Object Payload Length");
    }
    bytes.extend(payload);
}
