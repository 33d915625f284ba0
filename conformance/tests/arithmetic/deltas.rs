//! Differences: between types of key-value pairs, Object IDs of a subgroup, and groups and
//! objects of a fetch.

use moqt_conformance::DRAFTS;
use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location, Property, PropertyValue};
use moqt_engine::wire::{
    DecodeError, FetchEvent, FetchReader, FetchWriter, ObjectHeader, Properties, SubgroupEvent,
    SubgroupReader, SubgroupWriter,
};

use super::{edges, in_draft, int, locations, pairs};

/// A pair of this type: a number, or no bytes.
fn pair(key: u64) -> Property {
    if key.is_multiple_of(2) {
        Property::int(key, 0)
    } else {
        Property::bytes(key, Vec::new().into())
    }
}

// "The previous Type value plus the Delta Type MUST NOT be greater than 2^64 - 1." (draft-16,
// -18, "Key-Value-Pair Structure") Draft 14 has types instead.
#[test]
fn types_of_key_value_pairs_add_up() {
    for draft in DRAFTS {
        for ((a, b), c) in pairs(draft).flat_map(|ab| edges(draft).map(move |c| (ab, c))) {
            // A type, and either the number 0 or the length 0.
            let raw = [a, b, c].map(|delta| [int(draft, delta), vec![0]].concat()).concat();
            let properties = Properties::from_wire(draft.dialect(), raw.into());
            let mut expected = Vec::new();
            let mut previous = 0;
            for delta in [a, b, c].map(u128::from) {
                let key = if draft >= Draft::D16 { previous + delta } else { delta };
                previous = key;
                let Ok(key) = u64::try_from(key) else { break };
                expected.push(pair(key));
            }
            let found: Vec<_> = properties.iter().map_while(Result::ok).collect();
            assert_eq!(found, expected, "{draft} {a} {b} {c}");
            let overflows = properties.iter().any(|property| property.is_err());
            assert_eq!(overflows, expected.len() < 3, "{draft} {a} {b} {c}");
        }
    }
}

#[test]
fn types_are_written_as_differences_that_the_draft_can_say() {
    for draft in DRAFTS {
        for (a, b) in super::EDGES.into_iter().flat_map(|a| super::EDGES.map(|b| (a, b))) {
            let (low, high) = (a.min(b), a.max(b));
            let written = Properties::encode(draft.dialect(), &[pair(a), pair(b)]);
            let second = if draft >= Draft::D16 { high - low } else { high };
            let fits = in_draft(draft, low.into()).and(in_draft(draft, second.into()));
            assert_eq!(written.is_ok(), fits.is_some(), "{draft} {a} {b}");
            if let Ok(written) = written {
                let found: Result<Vec<_>, _> = written.iter().collect();
                assert_eq!(found, Ok(vec![pair(low), pair(high)]), "{draft} {a} {b}");
            }
        }
    }
}

#[test]
fn numbers_of_key_value_pairs_are_the_drafts() {
    for draft in DRAFTS {
        for value in super::EDGES {
            let property = Property::int(2, value);
            let written = Properties::encode(draft.dialect(), [&property]);
            let fits = in_draft(draft, value.into()).is_some();
            assert_eq!(written.is_ok(), fits, "{draft} {value}");
            let found = written.ok().and_then(|written| written.iter().next());
            let expected =
                fits.then_some(Ok(Property { key: 2, value: PropertyValue::Int(value) }));
            assert_eq!(found, expected, "{draft} {value}");
        }
    }
}

/// The IDs that objects of these differences have, up to the first that leads out of range.
fn read_subgroup(draft: Draft, has_properties: bool, deltas: &[u64]) -> Vec<Option<u64>> {
    let mut bytes = Vec::new();
    for delta in deltas {
        bytes.extend(int(draft, *delta));
        bytes.extend(if has_properties { &b"\0\x01x"[..] } else { b"\x01x" });
    }
    let mut reader = SubgroupReader::new(draft.dialect(), has_properties, 100);
    let mut input = &bytes[..];
    let mut ids = Vec::new();
    loop {
        match reader.next(&mut input) {
            Ok(SubgroupEvent::Object { object_id, .. }) => ids.push(Some(object_id)),
            Ok(SubgroupEvent::Payload(_)) => {}
            Ok(SubgroupEvent::NeedMore) => return ids,
            Err(DecodeError { .. }) => {
                ids.push(None);
                return ids;
            }
        }
    }
}

// "The Object ID Delta + 1 is added to the previous Object ID in the Subgroup stream if there was
// one. The Object ID is the Object ID Delta if it's the first Object in the Subgroup stream. If
// the resulting Object ID would be greater than 2^64 - 1, the endpoint MUST close the session
// with a PROTOCOL_VIOLATION." (draft-18) Before, the limit is what an Object ID can be: 2^62 - 1.
#[test]
fn object_ids_of_a_subgroup_add_up() {
    for draft in DRAFTS {
        for ((a, b), c) in pairs(draft).flat_map(|ab| edges(draft).map(move |c| (ab, c))) {
            let sums = [a.into(), u128::from(a) + 1 + u128::from(b)];
            let sums = [sums[0], sums[1], sums[1] + 1 + u128::from(c)];
            let mut expected: Vec<_> = sums.into_iter().map(|id| in_draft(draft, id)).collect();
            if let Some(first) = expected.iter().position(Option::is_none) {
                expected.truncate(first + 1);
            }
            for has_properties in [false, true] {
                let found = read_subgroup(draft, has_properties, &[a, b, c]);
                assert_eq!(found, expected, "{draft} {a} {b} {c}");
            }
        }
    }
}

#[test]
fn object_ids_are_written_if_the_draft_can_say_them() {
    for (draft, has_properties) in DRAFTS.into_iter().flat_map(|d| [(d, false), (d, true)]) {
        for (a, b) in super::EDGES.into_iter().flat_map(|a| super::EDGES.map(|b| (a, b))) {
            let mut writer = SubgroupWriter::new(draft.dialect(), has_properties);
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for object_id in [a, b] {
                let header = ObjectHeader { object_id, payload_len: 1, ..ObjectHeader::default() };
                let before = bytes.len();
                let follows = expected.last().is_none_or(|last| *last < object_id);
                let fits = follows && in_draft(draft, object_id.into()).is_some();
                let written = writer.object(&header, &mut bytes);
                assert_eq!(written.is_ok(), fits, "{draft} {a} {b}");
                if fits {
                    expected.push(object_id);
                    bytes.push(b'x');
                } else {
                    assert_eq!(bytes.len(), before, "{draft} {a} {b}");
                }
                assert_eq!(writer.previous(), expected.last().copied(), "{draft} {a} {b}");
            }
            let mut reader = SubgroupReader::new(draft.dialect(), has_properties, 100);
            let mut input = &bytes[..];
            for id in expected {
                let event = reader.next(&mut input).unwrap();
                assert!(
                    matches!(event, SubgroupEvent::Object { object_id, .. } if object_id == id)
                );
                assert_eq!(reader.next(&mut input), Ok(SubgroupEvent::Payload(b"x")));
            }
            assert!(input.is_empty());
        }
    }
}

const ORDERS: [GroupOrder; 2] = [GroupOrder::Ascending, GroupOrder::Descending];

/// The location of the second object of a fetch, the first of which is at `first`, with these
/// fields. `None` if it leads out of range.
fn second(
    draft: Draft,
    order: GroupOrder,
    first: Location,
    group: Option<u64>,
    object: Option<u64>,
) -> Option<Location> {
    // Everything is present, and the payload empty; then what is given, and the rest as before.
    let mut bytes = [&[0x1c_u8][..], &int(draft, first.group), &int(draft, first.object)].concat();
    bytes.extend([0, 0]);
    let flags = u8::from(object.is_some()) << 2 | u8::from(group.is_some()) << 3;
    bytes.push(flags);
    bytes.extend(group.into_iter().chain(object).flat_map(|field| int(draft, field)));
    bytes.push(0);
    let mut reader = FetchReader::new(draft.dialect(), order, 100);
    let mut input = &bytes[..];
    let event = reader.next(&mut input).unwrap();
    assert!(matches!(event, FetchEvent::Object { object, .. } if object.location == first));
    let second = match reader.next(&mut input) {
        Ok(FetchEvent::Object { object, .. }) => Some(object.location),
        Ok(event) => panic!("{event:?}"),
        Err(_) => None,
    };
    assert!(second.is_none() || input.is_empty());
    second
}

// "If the Group Order is Ascending, the Group ID is the prior Object's Group ID plus the Group ID
// Delta plus 1. If the Group Order is Descending, [...] minus the Group ID Delta minus 1. [...]
// When the Group ID Delta field is present, the Object ID is the value of Object ID Delta if
// present. When the Group ID Delta field is not present, the Object ID is the prior Object's ID
// plus the Object ID Delta if present. If Object ID Delta is not present, the Object ID is the
// prior Object's ID plus one, regardless of which group it belongs to." (draft-18) Draft 16 has
// the IDs themselves in the fields.
#[test]
fn fetched_locations_add_up() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft >= Draft::D16) {
        let fields = || edges(draft).map(Some).chain([None]);
        for (first, order) in locations(draft).flat_map(|first| ORDERS.map(|order| (first, order)))
        {
            for (group, object) in fields().flat_map(|group| fields().map(move |o| (group, o))) {
                let base = first.group.into();
                let new_group = match (group.map(u128::from), order) {
                    (None, _) => Some(base),
                    (Some(group), _) if draft < Draft::D18 => Some(group),
                    (Some(delta), GroupOrder::Ascending) => Some(base + delta + 1),
                    (Some(delta), GroupOrder::Descending) => base.checked_sub(delta + 1),
                };
                let base = u128::from(first.object);
                let new_object = match object.map(u128::from) {
                    None => base + 1,
                    Some(delta) if draft >= Draft::D18 && group.is_none() => base + delta,
                    Some(object) => object,
                };
                let expected = new_group
                    .and_then(|group| in_draft(draft, group))
                    .zip(in_draft(draft, new_object))
                    .map(|(group, object)| Location::new(group, object));
                let found = second(draft, order, first, group, object);
                assert_eq!(found, expected, "{draft} {order:?} {first} {group:?} {object:?}");
            }
        }
    }
}

// "0x02: Subgroup ID is the prior Object's Subgroup ID plus one" (draft-16, -18, "Subgroup ID"
// modes of a fetch's flags)
#[test]
fn a_subgroup_after_the_last_there_can_be_is_refused() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft >= Draft::D16) {
        for id in edges(draft) {
            let bytes = [&[0x1f, 0][..], &int(draft, id), &[0, 0, 0], &[0x02, 0]].concat();
            let mut reader = FetchReader::new(draft.dialect(), GroupOrder::Ascending, 100);
            let mut input = &bytes[..];
            reader.next(&mut input).unwrap();
            let found = match reader.next(&mut input) {
                Ok(FetchEvent::Object { object, .. }) => object.subgroup_id,
                Ok(event) => panic!("{event:?}"),
                Err(_) => None,
            };
            assert_eq!(found, in_draft(draft, u128::from(id) + 1), "{draft} {id}");
        }
    }
}

/// Two objects, an end of range between them or not, are written if the order of groups and
/// objects lets them follow each other, and are read as they were.
#[test]
fn what_is_written_of_a_fetch_is_read_as_it_was() {
    for draft in DRAFTS {
        let all: Vec<Location> = locations(draft).collect();
        let has_ranges = draft >= Draft::D16;
        for (first, order) in all.iter().flat_map(|first| ORDERS.map(|order| (*first, order))) {
            for second in all.iter().copied() {
                for range in [false, true].into_iter().filter(|range| has_ranges || !range) {
                    fetch_round(draft, order, first, second, range);
                }
            }
        }
    }
}

fn fetch_round(draft: Draft, order: GroupOrder, first: Location, second: Location, range: bool) {
    let mut writer = FetchWriter::new(draft.dialect(), order);
    let mut bytes = Vec::new();
    let object = |location| moqt_conformance::say::fetch_object(location, b"");
    if range {
        writer.end_of_range(first, EndOfRange::Unknown, &mut bytes).unwrap();
    } else {
        writer.object(&object(first), &mut bytes).unwrap();
    }
    let before = bytes.len();
    let written = writer.object(&object(second), &mut bytes);
    let is_ordered = match order {
        GroupOrder::Ascending => first.group < second.group,
        GroupOrder::Descending => first.group > second.group,
    };
    let follows = is_ordered || first.group == second.group && first.object < second.object;
    // Only differences cannot be said of what does not follow.
    if draft >= Draft::D18 {
        assert_eq!(written.is_ok(), follows, "{draft} {order:?} {first} {second}");
    } else {
        assert!(written.is_ok() || !follows, "{draft} {order:?} {first} {second}");
    }
    if written.is_err() {
        assert_eq!(bytes.len(), before);
        return;
    }
    let mut reader = FetchReader::new(draft.dialect(), order, 100);
    let mut input = &bytes[..];
    reader.next(&mut input).unwrap();
    let found = reader.next(&mut input).unwrap();
    let expected = FetchEvent::Object { object: object(second), properties: &[] };
    assert_eq!(found, expected, "{draft} {order:?} {first} {second}");
    assert!(input.is_empty());
}
