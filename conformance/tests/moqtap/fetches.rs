//! Objects and ranges on fetch streams.

use bytes::Buf;
use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location};
use moqt_engine::wire::{FetchEvent, FetchReader};
use moqtap_codec::{draft14, draft16, draft18};
use proptest::prelude::*;

use super::generate::objects::{Item, items, order, write_fetch};
use super::translate::int as theirs;

fn read_fetch(draft: Draft, order: GroupOrder, bytes: &[u8]) -> Vec<Item> {
    let mut reader = FetchReader::new(draft.dialect(), order, 1 << 16);
    let mut input = bytes;
    let mut items = Vec::new();
    loop {
        match reader.next(&mut input).unwrap() {
            FetchEvent::Object { object, properties } => {
                let properties = properties.to_vec();
                items.push(Item::Object { object, properties, payload: Vec::new() });
            }
            FetchEvent::EndOfRange { location, kind } => items.push(Item::End(location, kind)),
            FetchEvent::Payload(part) => match items.last_mut() {
                Some(Item::Object { payload, .. }) => payload.extend(part),
                other => panic!("payload after {other:?}"),
            },
            FetchEvent::NeedMore => break,
        }
    }
    assert!(reader.is_at_boundary());
    items
}

/// The other codec has an Object Payload Length after a range, which no other implementation has.
fn with_length(bytes: &[Vec<u8>], items: &[Item]) -> Vec<u8> {
    let parts = bytes.iter().zip(items).flat_map(|(bytes, item)| {
        let length: &[u8] = if matches!(item, Item::End(..)) { &[0] } else { &[] };
        [bytes.as_slice(), length].concat()
    });
    parts.collect()
}

fn fetch_14(items: &[Item], ours: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    use draft14::data_stream as d;
    let mut input = ours;
    let mut bytes = Vec::new();
    for item in items {
        let Item::Object { object, properties, payload } = item else { panic!("{item:?}") };
        let status = payload
            .is_empty()
            .then(|| draft14::types::ObjectStatus::from_u64(object.status.code()).unwrap());
        let expected = d::FetchObject {
            group_id: theirs(object.location.group),
            subgroup_id: theirs(object.subgroup_id.unwrap()),
            object_id: theirs(object.location.object),
            publisher_priority: object.publisher_priority,
            extension_headers: properties.clone(),
            status,
            payload: payload.clone(),
        };
        prop_assert_eq!(d::FetchObject::decode(&mut input).unwrap(), expected.clone());
        expected.encode_checked(&mut bytes).unwrap();
    }
    prop_assert!(input.is_empty());
    Ok(bytes)
}

/// The flags of an object that refers to the prior one wherever it can.
fn least_flags(item: &Item) -> u64 {
    match item {
        Item::Object { object, properties, .. } => {
            u64::from(object.subgroup_id.is_none()) << 6 | u64::from(!properties.is_empty()) << 5
        }
        Item::End(_, EndOfRange::NonExistent) => 0x8C,
        Item::End(_, EndOfRange::Unknown) => 0x10C,
    }
}

fn location_of(item: &Item) -> Location {
    match item {
        Item::Object { object, .. } => object.location,
        Item::End(location, _) => *location,
    }
}

fn payload_of(item: &Item) -> &[u8] {
    match item {
        Item::Object { payload, .. } => payload,
        Item::End(..) => &[],
    }
}

fn fetch_16(items: &[Item], ours: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    use draft16::data_stream as d;
    let mut input = ours;
    let mut reader = d::FetchObjectReader::new();
    let mut writer = d::FetchObjectWriter::new();
    let mut bytes = Vec::new();
    for item in items {
        let header = d::FetchObjectHeader::decode(&mut input).unwrap();
        let read = reader.resolve(&header).unwrap();
        let Location { group, object } = location_of(item);
        prop_assert_eq!((read.group_id, read.object_id), (group, object));
        prop_assert_eq!(header.payload_length.into_inner(), payload_of(item).len() as u64);
        let mut location = d::FetchObjectLocation {
            group_id: group,
            object_id: object,
            end_of_range: header.end_of_range(),
            ..read
        };
        let mut extensions = None;
        if let Item::Object { object, properties, payload } = item {
            prop_assert_eq!(read.end_of_range, None);
            prop_assert_eq!(read.subgroup_id, object.subgroup_id);
            prop_assert_eq!(read.publisher_priority, Some(object.publisher_priority));
            prop_assert_eq!(header.extensions.clone().unwrap_or_default(), properties.clone());
            prop_assert_eq!(&input[..payload.len()], &payload[..]);
            extensions = (!properties.is_empty()).then(|| properties.clone());
        } else {
            prop_assert_eq!(header.serialization_flags.into_inner(), least_flags(item));
            location.subgroup_id = None;
        }
        input.advance(payload_of(item).len());
        let least = d::FetchObjectHeader {
            serialization_flags: theirs(least_flags(item)),
            group_id: None,
            subgroup_id: None,
            object_id: None,
            publisher_priority: None,
            extensions,
            payload_length: theirs(payload_of(item).len() as u64),
        };
        writer.write_object_header(&least, &location, &mut bytes).unwrap();
        if matches!(item, Item::End(..)) {
            prop_assert_eq!(bytes.pop(), Some(0));
        }
        bytes.extend(payload_of(item));
    }
    prop_assert!(input.is_empty());
    Ok(bytes)
}

fn fetch_18(items: &[Item], order: GroupOrder, ours: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    use draft18::data_stream as d;
    let order = match order {
        GroupOrder::Ascending => d::GroupOrder::Ascending,
        GroupOrder::Descending => d::GroupOrder::Descending,
    };
    let mut input = ours;
    let mut reader = d::FetchObjectReader::new(order);
    let mut writer = d::FetchObjectWriter::new(order);
    let mut bytes = Vec::new();
    for item in items {
        let read = reader.read_object_header(&mut input).unwrap();
        let Location { group, object } = location_of(item);
        prop_assert_eq!((read.group_id, read.object_id), (group, object));
        prop_assert_eq!(read.header.payload_length.into_inner(), payload_of(item).len() as u64);
        let mut block = Vec::new();
        if let Item::Object { object, properties, payload } = item {
            prop_assert_eq!(read.header.end_of_range(), None);
            prop_assert_eq!(read.subgroup_id, object.subgroup_id);
            prop_assert_eq!(read.publisher_priority, Some(object.publisher_priority));
            prop_assert_eq!(&read.header.properties, properties);
            prop_assert_eq!(&input[..payload.len()], &payload[..]);
            block.clone_from(properties);
        } else {
            prop_assert_eq!(read.header.serialization_flags, least_flags(item));
        }
        input.advance(payload_of(item).len());
        let least = d::FetchObjectHeader {
            serialization_flags: least_flags(item),
            group_id_delta: None,
            subgroup_id: None,
            object_id_delta: None,
            publisher_priority: None,
            properties: block,
            payload_length: theirs(payload_of(item).len() as u64),
        };
        let frame = d::FetchObject { header: least, ..read };
        writer.write_object_header(&frame, &mut bytes).unwrap();
        if matches!(item, Item::End(..)) {
            prop_assert_eq!(bytes.pop(), Some(0));
        }
        bytes.extend(payload_of(item));
    }
    prop_assert!(input.is_empty());
    Ok(bytes)
}

/// What we write it reads, and what it writes we read. It refers to prior objects more often than
/// we do, so the bytes are not compared.
fn compare_fetch(draft: Draft, order: GroupOrder, items: &[Item]) -> Result<(), TestCaseError> {
    let ours = write_fetch(draft, order, items);
    prop_assert_eq!(&read_fetch(draft, order, &ours.concat()), items);
    let ours = with_length(&ours, items);
    let bytes = match draft {
        Draft::D14 => fetch_14(items, &ours)?,
        Draft::D16 => fetch_16(items, &ours)?,
        _ => fetch_18(items, order, &ours)?,
    };
    prop_assert_eq!(&read_fetch(draft, order, &bytes), items);
    Ok(())
}

proptest! {
    #[test]
    fn fetches(
        (order, d14, d16, d18) in order().prop_flat_map(|order| (
            Just(order), items(Draft::D14, order), items(Draft::D16, order), items(Draft::D18, order)
        )),
    ) {
        compare_fetch(Draft::D14, order, &d14)?;
        compare_fetch(Draft::D16, order, &d16)?;
        compare_fetch(Draft::D18, order, &d18)?;
    }
}
