//! Subgroup streams and datagrams, read and written by the other codec.

use bytes::Buf;
use moqt_engine::model::{Draft, Location, ObjectStatus, SubgroupId};
use moqt_engine::wire::{DatagramHeader, Properties, SubgroupHeader};
use moqtap_codec::error::CodecError;
use moqtap_codec::varint::VarInt;
use moqtap_codec::{draft14, draft16, draft18};

use super::translate::int;
use super::{read_items, stopped};
use crate::streams::{Found, Object};

const STATUSES: [ObjectStatus; 4] = [
    ObjectStatus::Normal,
    ObjectStatus::DoesNotExist,
    ObjectStatus::EndOfGroup,
    ObjectStatus::EndOfTrack,
];

/// The status of this code, which all drafts give it that have one.
pub(super) fn status(code: u64) -> ObjectStatus {
    STATUSES.into_iter().find(|status| status.code() == code).expect("a status that they know")
}

/// The type of a subgroup header, from the text's list of bits.
fn subgroup_type(header: &SubgroupHeader) -> u8 {
    let mode = match header.subgroup_id {
        SubgroupId::Explicit(0) => 0b00,
        SubgroupId::FirstObjectId => 0b01,
        SubgroupId::Explicit(_) => 0b10,
    };
    0x10 | u8::from(header.has_properties)
        | mode << 1
        | u8::from(header.end_of_group) << 3
        | u8::from(header.publisher_priority.is_none()) << 5
        | u8::from(header.first_object) << 6
}

/// What such a type says, the fields left out.
fn subgroup_header(code: u8, id: u64) -> SubgroupHeader {
    SubgroupHeader {
        track_alias: 0,
        group_id: 0,
        subgroup_id: match code >> 1 & 0b11 {
            0b01 => SubgroupId::FirstObjectId,
            _ => SubgroupId::Explicit(id),
        },
        publisher_priority: None,
        end_of_group: code & 0x08 != 0,
        first_object: code & 0x40 != 0,
        has_properties: code & 0x01 != 0,
    }
}

fn explicit(header: &SubgroupHeader) -> Option<u64> {
    match header.subgroup_id {
        SubgroupId::Explicit(id) if id > 0 => Some(id),
        _ => None,
    }
}

/// Reads a subgroup stream from its header on.
pub fn read_subgroup(draft: Draft, bytes: &[u8]) -> Found<SubgroupHeader, Object, CodecError> {
    match draft {
        Draft::D14 => read_subgroup_14(bytes),
        Draft::D16 => read_subgroup_from_16(bytes),
        _ => read_subgroup_from_18(bytes),
    }
}

/// Writes a subgroup stream.
pub fn write_subgroup(
    draft: Draft,
    header: &SubgroupHeader,
    objects: &[Object],
) -> Result<Vec<u8>, CodecError> {
    match draft {
        Draft::D14 => write_subgroup_14(header, objects),
        Draft::D16 => write_subgroup_from_16(header, objects),
        _ => write_subgroup_from_18(header, objects),
    }
}

fn read_subgroup_14(mut bytes: &[u8]) -> Found<SubgroupHeader, Object, CodecError> {
    use draft14::data_stream as d;
    let header = match d::SubgroupHeader::decode(&mut bytes) {
        Ok(header) => header,
        Err(error) => return Found { header: None, items: Vec::new(), end: stopped(error) },
    };
    let mut reader = d::SubgroupObjectReader::new(&header);
    let (items, end) = read_items(bytes, |input| {
        let read = reader.read_object(input)?;
        Ok(Object {
            id: read.object_id.into_inner(),
            status: status(read.status().as_u64()),
            properties: read.extension_headers,
            payload: read.payload,
        })
    });
    let id = header.subgroup_id.map_or(0, VarInt::into_inner);
    let header = SubgroupHeader {
        track_alias: header.track_alias.into_inner(),
        group_id: header.group_id.into_inner(),
        publisher_priority: Some(header.publisher_priority),
        ..subgroup_header(header.stream_type.as_u8(), id)
    };
    Found { header: Some(header), items, end }
}

fn write_subgroup_14(header: &SubgroupHeader, objects: &[Object]) -> Result<Vec<u8>, CodecError> {
    use draft14::data_stream as d;
    let header = d::SubgroupHeader {
        stream_type: d::SubgroupStreamType::from_u8(subgroup_type(header))
            .ok_or(CodecError::InvalidField)?,
        track_alias: int(header.track_alias),
        group_id: int(header.group_id),
        subgroup_id: explicit(header).map(int),
        publisher_priority: header.publisher_priority.ok_or(CodecError::InvalidField)?,
    };
    let mut bytes = Vec::new();
    header.encode_checked(&mut bytes)?;
    let mut writer = d::SubgroupObjectReader::new(&header);
    for object in objects {
        let status = draft14::types::ObjectStatus::from_u64(object.status.code());
        let object = d::SubgroupObject {
            object_id: int(object.id),
            extension_headers: object.properties.clone(),
            status: status.filter(|_| object.payload.is_empty()),
            payload: object.payload.clone(),
        };
        writer.write_object(&object, &mut bytes)?;
    }
    Ok(bytes)
}

/// Drafts 16 and 18 have the same types here, in a module each.
macro_rules! subgroups {
    ($read:ident, $write:ident, $module:ident) => {
        fn $read(mut bytes: &[u8]) -> Found<SubgroupHeader, Object, CodecError> {
            use $module::data_stream as d;
            let header = match d::SubgroupHeader::decode(&mut bytes) {
                Ok(header) => header,
                Err(error) => {
                    return Found { header: None, items: Vec::new(), end: stopped(error) };
                }
            };
            let mut reader = d::SubgroupObjectReader::new(&header);
            let (items, end) = read_items(bytes, |input| {
                let read = reader.read_object(input)?;
                assert_eq!(read.payload_length.into_inner(), read.payload.len() as u64);
                Ok(Object {
                    id: read.object_id.into_inner(),
                    status: status(read.status().as_u64()),
                    properties: read.extension_headers,
                    payload: read.payload,
                })
            });
            let header = SubgroupHeader {
                track_alias: header.track_alias.into_inner(),
                group_id: header.group_id.into_inner(),
                publisher_priority: header.publisher_priority,
                ..subgroup_header(header.header_type, header.subgroup_id.into_inner())
            };
            Found { header: Some(header), items, end }
        }

        fn $write(header: &SubgroupHeader, objects: &[Object]) -> Result<Vec<u8>, CodecError> {
            use $module::data_stream as d;
            let header = d::SubgroupHeader {
                header_type: subgroup_type(header),
                track_alias: int(header.track_alias),
                group_id: int(header.group_id),
                subgroup_id: int(explicit(header).unwrap_or(0)),
                publisher_priority: header.publisher_priority,
            };
            let mut bytes = Vec::new();
            header.encode_checked(&mut bytes)?;
            let mut writer = d::SubgroupObjectReader::new(&header);
            for object in objects {
                let status = $module::types::ObjectStatus::from_u64(object.status.code());
                let object = d::SubgroupObject {
                    object_id: int(object.id),
                    extension_headers: object.properties.clone(),
                    payload_length: int(object.payload.len() as u64),
                    object_status: status.filter(|_| object.payload.is_empty()),
                    payload: object.payload.clone(),
                };
                writer.write_object(&object, &mut bytes)?;
            }
            Ok(bytes)
        }
    };
}

subgroups!(read_subgroup_from_16, write_subgroup_from_16, draft16);
subgroups!(read_subgroup_from_18, write_subgroup_from_18, draft18);

/// Reads a datagram: what precedes the payload, and all the rest of it.
pub fn read_datagram(
    draft: Draft,
    mut bytes: &[u8],
) -> Result<(DatagramHeader, Vec<u8>), CodecError> {
    let properties = |block: Vec<u8>| Properties::from_wire(draft.dialect(), block.into());
    match draft {
        Draft::D14 => {
            let read = draft14::data_stream::DatagramObject::decode(&mut bytes)?;
            let header = DatagramHeader {
                track_alias: read.track_alias.into_inner(),
                location: Location::new(read.group_id.into_inner(), read.object_id.into_inner()),
                publisher_priority: Some(read.publisher_priority),
                end_of_group: read.datagram_type.end_of_group(),
                status: status(read.status.map_or(0, draft14::types::ObjectStatus::as_u64)),
                properties: properties(read.extension_headers),
            };
            // It leaves what follows a status unread.
            let payload =
                if read.datagram_type.is_status() { bytes.to_vec() } else { read.payload };
            Ok((header, payload))
        }
        Draft::D16 => {
            let read = draft16::data_stream::DatagramHeader::decode(&mut bytes)?;
            if !read.extensions_permitted() {
                return Err(CodecError::InvalidField);
            }
            let header = DatagramHeader {
                track_alias: read.track_alias.into_inner(),
                location: Location::new(read.group_id.into_inner(), read.object_id.into_inner()),
                publisher_priority: read.publisher_priority,
                end_of_group: read.is_end_of_group(),
                status: status(read.object_status.map_or(0, draft16::types::ObjectStatus::as_u64)),
                properties: properties(read.extension_headers),
            };
            Ok((header, bytes.copy_to_bytes(bytes.len()).to_vec()))
        }
        _ => {
            let (read, payload) = draft18::data_stream::DatagramHeader::decode_object(&mut bytes)?;
            let header = DatagramHeader {
                track_alias: read.track_alias.into_inner(),
                location: Location::new(read.group_id.into_inner(), read.object_id.into_inner()),
                publisher_priority: read.publisher_priority,
                end_of_group: read.is_end_of_group(),
                status: status(read.status().as_u64()),
                properties: properties(read.properties),
            };
            Ok((header, payload))
        }
    }
}

/// Writes a datagram.
pub fn write_datagram(
    draft: Draft,
    header: &DatagramHeader,
    payload: &[u8],
) -> Result<Vec<u8>, CodecError> {
    let properties = header.properties.as_bytes().to_vec();
    let is_status = header.status != ObjectStatus::Normal;
    let datagram_type = u8::from(!properties.is_empty())
        | u8::from(header.end_of_group) << 1
        | u8::from(header.location.object == 0) << 2
        | u8::from(header.publisher_priority.is_none()) << 3
        | u8::from(is_status) << 5;
    let track_alias = int(header.track_alias);
    let group_id = int(header.location.group);
    let object_id = int(header.location.object);
    let publisher_priority = header.publisher_priority;
    let code = header.status.code();
    let mut bytes = Vec::new();
    match draft {
        Draft::D14 => {
            use draft14::data_stream as d;
            let has_properties = !properties.is_empty();
            let status = draft14::types::ObjectStatus::from_u64(code).filter(|_| is_status);
            let object = d::DatagramObject {
                datagram_type: if is_status {
                    d::DatagramType::status(has_properties)
                } else {
                    let has_id = header.location.object != 0;
                    d::DatagramType::payload(has_id, has_properties, header.end_of_group)
                },
                track_alias,
                group_id,
                object_id,
                publisher_priority: publisher_priority.ok_or(CodecError::InvalidField)?,
                extension_headers: properties,
                status,
                payload: payload.to_vec(),
            };
            object.encode_checked(&mut bytes)?;
            return Ok(bytes);
        }
        Draft::D16 => draft16::data_stream::DatagramHeader {
            datagram_type,
            track_alias,
            group_id,
            object_id,
            publisher_priority,
            extension_headers: properties,
            object_status: draft16::types::ObjectStatus::from_u64(code).filter(|_| is_status),
        }
        .encode_checked(&mut bytes)?,
        _ => draft18::data_stream::DatagramHeader {
            datagram_type,
            track_alias,
            group_id,
            object_id,
            publisher_priority,
            properties,
            object_status: draft18::types::ObjectStatus::from_u64(code).filter(|_| is_status),
        }
        .encode_checked(&mut bytes)?,
    }
    bytes.extend(payload);
    Ok(bytes)
}
