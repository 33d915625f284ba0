//! Objects in subgroups and datagrams.

use bytes::Bytes;
use moqt_engine::model::{Draft, Location, ObjectStatus, Property, PropertyValue, SubgroupId};
use moqt_engine::wire::{
    Datagram, DatagramHeader, Properties, SubgroupEvent, SubgroupHeader, SubgroupReader,
};
use moqtap_codec::object_properties::{PropertyValue as TheirValue, parse_object_properties};
use moqtap_codec::version::DraftVersion;
use moqtap_codec::{draft14, draft16, draft18};
use proptest::prelude::*;

use super::generate::objects::{Object, header, objects, subgroup, write_subgroup};
use super::translate::int as theirs;

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

fn explicit(header: &SubgroupHeader) -> Option<u64> {
    match header.subgroup_id {
        SubgroupId::Explicit(id) if id > 0 => Some(id),
        _ => None,
    }
}

fn read_subgroup(draft: Draft, bytes: &[u8]) -> (SubgroupHeader, Vec<Object>) {
    let dialect = draft.dialect();
    let (header, len) = SubgroupHeader::decode(dialect, bytes).unwrap().expect("a header");
    let mut input = &bytes[len..];
    let mut reader = SubgroupReader::new(dialect, header.has_properties, 1 << 16);
    let mut objects: Vec<Object> = Vec::new();
    loop {
        match reader.next(&mut input).unwrap() {
            SubgroupEvent::Object { object_id, status, properties, .. } => objects.push(Object {
                id: object_id,
                properties: properties.to_vec(),
                status,
                payload: Vec::new(),
            }),
            SubgroupEvent::Payload(part) => objects.last_mut().unwrap().payload.extend(part),
            SubgroupEvent::NeedMore => break,
        }
    }
    assert!(reader.is_at_boundary());
    (header, objects)
}

/// Both codecs read properties alike.
fn check_properties(draft: Draft, block: &[u8]) {
    let version = match draft {
        Draft::D14 => DraftVersion::Draft14,
        Draft::D16 => DraftVersion::Draft16,
        _ => DraftVersion::Draft18,
    };
    let ours = Properties::from_wire(draft.dialect(), Bytes::copy_from_slice(block));
    let ours: Vec<Property> = ours.iter().map(Result::unwrap).collect();
    let read = parse_object_properties(version, block).unwrap();
    assert_eq!(ours.len(), read.len());
    for (ours, read) in ours.iter().zip(read) {
        assert_eq!(ours.key, read.property_type);
        match (&ours.value, &read.value) {
            (PropertyValue::Int(ours), TheirValue::Varint(read)) => assert_eq!(ours, read),
            (PropertyValue::Bytes(ours), TheirValue::Bytes(read)) => assert_eq!(ours, read),
            other => panic!("{other:?}"),
        }
    }
}

/// Drafts 16 and 18 have the same types here, in a module each.
macro_rules! subgroup {
    ($draft:expr, $module:ident, $header:expr, $objects:expr, $ours:expr) => {{
        use $module::data_stream as d;
        let (header, objects, ours): (&SubgroupHeader, &[Object], &[u8]) =
            ($header, $objects, $ours);
        let mut input = ours;
        let read = d::SubgroupHeader::decode(&mut input).unwrap();
        prop_assert_eq!(read.header_type, subgroup_type(header));
        prop_assert_eq!(read.track_alias.into_inner(), header.track_alias);
        prop_assert_eq!(read.group_id.into_inner(), header.group_id);
        prop_assert_eq!(read.subgroup_id.into_inner(), explicit(header).unwrap_or(0));
        prop_assert_eq!(read.publisher_priority, header.publisher_priority);
        let mut reader = d::SubgroupObjectReader::new(&read);
        let mut writer = d::SubgroupObjectReader::new(&read);
        let mut theirs_bytes = Vec::new();
        read.encode_checked(&mut theirs_bytes).unwrap();
        for object in objects {
            let read = reader.read_object(&mut input).unwrap();
            prop_assert_eq!(read.object_id.into_inner(), object.id);
            prop_assert_eq!(&read.extension_headers, &object.properties);
            prop_assert_eq!(&read.payload, &object.payload);
            prop_assert_eq!(read.status().as_u64(), object.status.code());
            let object_status = object
                .payload
                .is_empty()
                .then(|| $module::types::ObjectStatus::from_u64(object.status.code()).unwrap());
            let object = d::SubgroupObject {
                object_id: theirs(object.id),
                extension_headers: object.properties.clone(),
                payload_length: theirs(object.payload.len() as u64),
                object_status,
                payload: object.payload.clone(),
            };
            writer.write_object(&object, &mut theirs_bytes).unwrap();
        }
        prop_assert!(input.is_empty());
        theirs_bytes
    }};
}

fn subgroup_14(
    header: &SubgroupHeader,
    objects: &[Object],
    ours: &[u8],
) -> Result<Vec<u8>, TestCaseError> {
    use draft14::data_stream as d;
    let mut input = ours;
    let read = d::SubgroupHeader::decode(&mut input).unwrap();
    let expected = d::SubgroupHeader {
        stream_type: d::SubgroupStreamType::from_u8(subgroup_type(header)).unwrap(),
        track_alias: theirs(header.track_alias),
        group_id: theirs(header.group_id),
        subgroup_id: explicit(header).map(theirs),
        publisher_priority: header.publisher_priority.unwrap(),
    };
    prop_assert_eq!(&read, &expected);
    let mut reader = d::SubgroupObjectReader::new(&read);
    let mut writer = d::SubgroupObjectReader::new(&read);
    let mut bytes = Vec::new();
    expected.encode_checked(&mut bytes).unwrap();
    for object in objects {
        let status = object
            .payload
            .is_empty()
            .then(|| draft14::types::ObjectStatus::from_u64(object.status.code()).unwrap());
        let expected = d::SubgroupObject {
            object_id: theirs(object.id),
            extension_headers: object.properties.clone(),
            status,
            payload: object.payload.clone(),
        };
        prop_assert_eq!(reader.read_object(&mut input).unwrap(), expected.clone());
        writer.write_object(&expected, &mut bytes).unwrap();
    }
    prop_assert!(input.is_empty());
    Ok(bytes)
}

proptest! {
    #[test]
    fn subgroups(
        d14 in subgroup(Draft::D14),
        d16 in subgroup(Draft::D16),
        d18 in subgroup(Draft::D18),
    ) {
        for (draft, (header, objects)) in [(Draft::D14, d14), (Draft::D16, d16), (Draft::D18, d18)] {
            let ours = write_subgroup(draft, &header, &objects);
            prop_assert_eq!(&read_subgroup(draft, &ours), &(header, objects.clone()));
            for object in &objects {
                check_properties(draft, &object.properties);
            }
            let bytes = match draft {
                Draft::D14 => subgroup_14(&header, &objects, &ours)?,
                Draft::D16 => subgroup!(draft, draft16, &header, &objects, &ours),
                _ => subgroup!(draft, draft18, &header, &objects, &ours),
            };
            prop_assert_eq!(bytes, ours);
        }
    }
}

/// A datagram: the header of its subgroup stands for alias, group, priority and end of group.
fn datagram_of(draft: Draft, header: &SubgroupHeader, object: &Object) -> DatagramHeader {
    let is_status = object.status != ObjectStatus::Normal;
    DatagramHeader {
        track_alias: header.track_alias,
        location: Location::new(header.group_id, object.id),
        publisher_priority: header.publisher_priority,
        end_of_group: header.end_of_group && !is_status,
        status: object.status,
        properties: Properties::from_wire(draft.dialect(), object.properties.clone().into()),
    }
}

/// Drafts 16 and 18 differ in a field's name only.
macro_rules! datagram {
    ($module:ident, $block:ident, $header:expr, $object:expr, $ours:expr) => {{
        use $module::data_stream as d;
        let (header, object): (&DatagramHeader, &Object) = ($header, $object);
        let mut input: &[u8] = $ours;
        let read = d::DatagramHeader::decode(&mut input).unwrap();
        prop_assert_eq!(read.track_alias.into_inner(), header.track_alias);
        prop_assert_eq!(read.group_id.into_inner(), header.location.group);
        prop_assert_eq!(read.object_id.into_inner(), header.location.object);
        prop_assert_eq!(read.publisher_priority, header.publisher_priority);
        prop_assert_eq!(&read.$block, &object.properties);
        prop_assert_eq!(read.is_end_of_group(), header.end_of_group);
        let is_status = header.status != ObjectStatus::Normal;
        let status = is_status
            .then(|| $module::types::ObjectStatus::from_u64(header.status.code()).unwrap());
        prop_assert_eq!(read.object_status, status);
        prop_assert_eq!(input, &object.payload[..]);
        let written = d::DatagramHeader {
            datagram_type: u8::from(!object.properties.is_empty())
                | u8::from(header.end_of_group) << 1
                | u8::from(header.location.object == 0) << 2
                | u8::from(header.publisher_priority.is_none()) << 3
                | u8::from(is_status) << 5,
            track_alias: theirs(header.track_alias),
            group_id: theirs(header.location.group),
            object_id: theirs(header.location.object),
            publisher_priority: header.publisher_priority,
            $block: object.properties.clone(),
            object_status: status,
        };
        let mut bytes = Vec::new();
        written.encode_checked(&mut bytes).unwrap();
        bytes.extend(&object.payload);
        bytes
    }};
}

fn datagram_14(
    header: &DatagramHeader,
    object: &Object,
    ours: &[u8],
) -> Result<Vec<u8>, TestCaseError> {
    use draft14::data_stream as d;
    let has_properties = !object.properties.is_empty();
    let is_status = header.status != ObjectStatus::Normal;
    let status =
        is_status.then(|| draft14::types::ObjectStatus::from_u64(header.status.code()).unwrap());
    let expected = d::DatagramObject {
        datagram_type: if is_status {
            d::DatagramType::status(has_properties)
        } else {
            d::DatagramType::payload(
                header.location.object != 0,
                has_properties,
                header.end_of_group,
            )
        },
        track_alias: theirs(header.track_alias),
        group_id: theirs(header.location.group),
        object_id: theirs(header.location.object),
        publisher_priority: header.publisher_priority.unwrap(),
        extension_headers: object.properties.clone(),
        status,
        payload: object.payload.clone(),
    };
    let mut input = ours;
    prop_assert_eq!(d::DatagramObject::decode(&mut input).unwrap(), expected.clone());
    let mut bytes = Vec::new();
    expected.encode_checked(&mut bytes).unwrap();
    Ok(bytes)
}

proptest! {
    #[test]
    fn datagrams(
        d14 in (header(Draft::D14), objects(Draft::D14, true)),
        d16 in (header(Draft::D16), objects(Draft::D16, true)),
        d18 in (header(Draft::D18), objects(Draft::D18, true)),
    ) {
        for (draft, (header, objects)) in [(Draft::D14, d14), (Draft::D16, d16), (Draft::D18, d18)] {
            for object in &objects {
                let header = datagram_of(draft, &header, object);
                let mut ours = Vec::new();
                header.encode(draft.dialect(), object.payload.len(), &mut ours).unwrap();
                ours.extend(&object.payload);
                let read = Datagram::decode(draft.dialect(), &ours.clone().into(), 1 << 16).unwrap();
                let Datagram::Object(read) = read else { panic!("{read:?}") };
                prop_assert_eq!(&read.header, &header);
                prop_assert_eq!(&read.payload, &object.payload);
                let bytes = match draft {
                    Draft::D14 => datagram_14(&header, object, &ours)?,
                    Draft::D16 => datagram!(draft16, extension_headers, &header, object, &ours),
                    _ => datagram!(draft18, properties, &header, object, &ours),
                };
                prop_assert_eq!(bytes, ours);
            }
        }
    }
}
