//! Objects on fetch streams, as the drafts lay them out.

use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location, ObjectStatus as Status};
use moqt_engine::wire::{
    DecodeError, Dialect, FetchEvent, FetchObject, FetchReader, FetchWriter, Properties,
};

use super::{D14, D16, D18, hex};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Object { object: FetchObject, properties: Vec<u8>, payload: Vec<u8> },
    End(Location, EndOfRange),
}

/// A normal object of priority 128.
fn object(group: u64, subgroup: Option<u64>, id: u64, payload: &str) -> Item {
    let payload = payload.as_bytes().to_vec();
    let object = FetchObject {
        location: Location::new(group, id),
        subgroup_id: subgroup,
        publisher_priority: 128,
        payload_len: payload.len() as u64,
        status: Status::Normal,
        properties: Properties::EMPTY,
    };
    Item::Object { object, properties: Vec::new(), payload }
}

fn edit(item: Item, change: impl FnOnce(&mut FetchObject, &mut Vec<u8>)) -> Item {
    match item {
        Item::Object { mut object, mut properties, payload } => {
            change(&mut object, &mut properties);
            Item::Object { object, properties, payload }
        }
        Item::End(..) => item,
    }
}

fn priority(priority: u8, item: Item) -> Item {
    edit(item, |object, _| object.publisher_priority = priority)
}

fn with(block: &str, item: Item) -> Item {
    edit(item, |_, properties| *properties = hex(block))
}

fn end(group: u64, object: u64, kind: EndOfRange) -> Item {
    Item::End(Location::new(group, object), kind)
}

/// Everything on a stream, and whether the bytes end where an object does.
pub(super) fn read(
    dialect: &'static Dialect,
    order: GroupOrder,
    bytes: &[u8],
) -> Result<(Vec<Item>, bool), DecodeError> {
    let mut reader = FetchReader::new(dialect, order, 100);
    let mut items = Vec::new();
    let mut input = bytes;
    loop {
        match reader.next(&mut input)? {
            FetchEvent::Object { object, properties } => {
                let properties = properties.to_vec();
                items.push(Item::Object { object, properties, payload: Vec::new() });
            }
            FetchEvent::EndOfRange { location, kind } => items.push(Item::End(location, kind)),
            FetchEvent::Payload(part) => match items.last_mut() {
                Some(Item::Object { payload, .. }) => payload.extend_from_slice(part),
                other => panic!("payload after {other:?}"),
            },
            FetchEvent::NeedMore => {
                assert!(input.is_empty());
                return Ok((items, reader.is_at_boundary()));
            }
        }
    }
}

fn reads(dialect: &'static Dialect, order: GroupOrder, text: &str, items: &[Item]) {
    let read = read(dialect, order, &hex(text));
    assert_eq!(read, Ok((items.to_vec(), true)), "{} {text}", dialect.draft);
}

/// The text, one item a line, is these items, and it is how they are to be written.
fn both(dialect: &'static Dialect, order: GroupOrder, text: &str, items: &[Item]) {
    reads(dialect, order, text, items);
    let context = format!("{} {text}", dialect.draft);
    let mut writer = FetchWriter::new(dialect, order);
    let mut written = Vec::new();
    let mut ends = vec![0];
    for item in items {
        let result = match item {
            Item::End(location, kind) => writer.end_of_range(*location, *kind, &mut written),
            Item::Object { object, properties, .. } => {
                let mut object = object.clone();
                object.properties = Properties::from_wire(dialect, properties.clone().into());
                writer.object(&object, &mut written)
            }
        };
        assert_eq!(result, Ok(()), "{context}");
        if let Item::Object { payload, .. } = item {
            written.extend(payload);
        }
        ends.push(written.len());
    }
    let bytes = hex(text);
    assert_eq!(written, bytes, "{context}");
    for cut in 0..bytes.len() {
        let (items_read, at_boundary) = read(dialect, order, &bytes[..cut]).unwrap();
        assert_eq!(at_boundary, ends.contains(&cut), "{context} cut at {cut}");
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(items_read[..whole], items[..whole], "{context} cut at {cut}");
    }
}

const UP: GroupOrder = GroupOrder::Ascending;
const DOWN: GroupOrder = GroupOrder::Descending;

#[test]
fn headers_are_a_type_and_a_request() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        let thousand = if draft >= Draft::D18 { "05 83e8" } else { "05 43e8" };
        let bytes = hex(thousand);
        assert_eq!(FetchReader::decode_header(dialect, &bytes), Ok(Some((1000, 3))));
        for cut in 0..3 {
            assert_eq!(FetchReader::decode_header(dialect, &bytes[..cut]), Ok(None));
        }
        let mut written = Vec::new();
        FetchWriter::new(dialect, UP).header(1000, &mut written).unwrap();
        assert_eq!(written, bytes);
        assert!(FetchReader::decode_header(dialect, &hex("10 00")).is_err());
    }
}

#[test]
fn draft_14_states_every_field_of_every_object() {
    for order in [UP, DOWN] {
        both(
            &D14,
            order,
            "05 00 02 80 00 03 'abc'         ; {5, 2} of subgroup 0
             05 00 03 80 00 01 'd'
             05 07 4040 80 02 3c01 01 'e'    ; {5, 64} of subgroup 7, with properties
             04 02 02 00 00 00 00            ; {4, 2}, a datagram once: its own ID for a subgroup
             04 00 03 80 00 00 01            ; {4, 3} does not exist
             04 00 04 80 02 3c01 00 03       ; the group ends; it may have properties
             04 00 05 80 00 00 04",
            &[
                object(5, Some(0), 2, "abc"),
                object(5, Some(0), 3, "d"),
                with("3c01", object(5, Some(7), 64, "e")),
                priority(0, object(4, Some(2), 2, "")),
                edit(object(4, Some(0), 3, ""), |o, _| o.status = Status::DoesNotExist),
                with("3c01", edit(object(4, Some(0), 4, ""), |o, _| o.status = Status::EndOfGroup)),
                edit(object(4, Some(0), 5, ""), |o, _| o.status = Status::EndOfTrack),
            ],
        );
    }
    // "The Subgroup ID field of an object with a Forwarding Preference of "Datagram" is set to
    // the Object ID."
    let Item::Object { object, .. } = object(4, None, 9, "") else { panic!() };
    let mut written = Vec::new();
    FetchWriter::new(&D14, UP).object(&object, &mut written).unwrap();
    assert_eq!(written, hex("04 09 09 80 00 00 00"));
    let range =
        FetchWriter::new(&D14, UP).end_of_range(Location::ZERO, EndOfRange::Unknown, &mut written);
    assert!(range.is_err(), "draft 14 has no ranges");
}

#[test]
fn draft_16_has_flags_and_absolute_ids() {
    for order in [UP, DOWN] {
        both(
            &D16,
            order,
            "1c 05 02 80 03 'abc' ; group, object and priority; subgroup 0
             00 01 'd'            ; the object after
             04 05 00             ; object 5, empty, and no status
             03 07 01 'e'         ; subgroup 7
             01 01 'f'            ; the prior subgroup
             02 01 'g'            ; the prior subgroup plus one
             0d 09 00 01 'h'      ; group 9, object 0, the prior subgroup
             4040 01 'i'          ; a datagram
             03 08 01 'j'         ; nothing to refer to but a datagram: subgroup 8
             10 07 01 'k'         ; priority 7, subgroup 0
             20 02 3c01 01 'l'    ; properties
             404c 0a 4040 01 'm'  ; a datagram at {10, 64}",
            &[
                object(5, Some(0), 2, "abc"),
                object(5, Some(0), 3, "d"),
                object(5, Some(0), 5, ""),
                object(5, Some(7), 6, "e"),
                object(5, Some(7), 7, "f"),
                object(5, Some(8), 8, "g"),
                object(9, Some(8), 0, "h"),
                object(9, None, 1, "i"),
                object(9, Some(8), 2, "j"),
                priority(7, object(9, Some(0), 3, "k")),
                priority(7, with("3c01", object(9, Some(0), 4, "l"))),
                priority(7, object(10, None, 64, "m")),
            ],
        );
    }
    reads(
        &D16,
        UP,
        "3f 05 07 02 80 00 01 'a' ; every field, no properties
         0c 05 09 01 'b'          ; the same group again, object 9, subgroup 0
         08 04 01 'c'             ; group 4, the object after 9
         4043 01 'd'              ; a datagram, whose subgroup bits are ignored
         04 02 01 'e'             ; back to object 2",
        &[
            object(5, Some(7), 2, "a"),
            object(5, Some(0), 9, "b"),
            object(4, Some(0), 10, "c"),
            object(4, None, 11, "d"),
            object(4, Some(0), 2, "e"),
        ],
    );
}

#[test]
fn draft_16_ends_ranges() {
    both(
        &D16,
        UP,
        "408c 04 09              ; nothing up to {4, 9}
         1f 05 07 02 80 01 'a'   ; all is stated again after a range
         410c 05 08              ; not known up to {5, 8}
         408c 06 00
         1c 07 00 80 01 'b'",
        &[
            end(4, 9, EndOfRange::NonExistent),
            object(5, Some(7), 2, "a"),
            end(5, 8, EndOfRange::Unknown),
            end(6, 0, EndOfRange::NonExistent),
            object(7, Some(0), 0, "b"),
        ],
    );
}

#[test]
fn draft_18_counts_up_from_the_prior_object() {
    both(
        &D18,
        UP,
        "1c 05 02 80 03 'abc' ; absolute, being the first
         00 01 'd'            ; the object after
         04 02 00             ; object 3 + 2, empty, and no status
         03 07 01 'e'         ; subgroup 7
         01 01 'f'            ; the prior subgroup
         02 01 'g'            ; the prior subgroup plus one
         0d 03 00 01 'h'      ; group 5 + 3 + 1, object 0, the prior subgroup
         40 01 'i'            ; a datagram
         03 08 01 'j'
         10 07 01 'k'         ; priority 7, subgroup 0
         20 02 3c01 01 'l'    ; properties
         4c 00 8080 01 'm'    ; a datagram in the next group, object 128",
        &[
            object(5, Some(0), 2, "abc"),
            object(5, Some(0), 3, "d"),
            object(5, Some(0), 5, ""),
            object(5, Some(7), 6, "e"),
            object(5, Some(7), 7, "f"),
            object(5, Some(8), 8, "g"),
            object(9, Some(8), 0, "h"),
            object(9, None, 1, "i"),
            object(9, Some(8), 2, "j"),
            priority(7, object(9, Some(0), 3, "k")),
            priority(7, with("3c01", object(9, Some(0), 4, "l"))),
            priority(7, object(10, None, 128, "m")),
        ],
    );
    reads(
        &D18,
        UP,
        "3f 05 07 02 80 00 01 'a' ; every field, no properties
         08 00 01 'b'             ; the next group, and the object after, whichever the group
         04 00 01 'c'             ; object 3 + 0: the text allows it
         43 01 'd'                ; a datagram, whose subgroup bits are ignored
         4b 01 01 'e'             ; here too: group 6 + 1 + 1",
        &[
            object(5, Some(7), 2, "a"),
            object(6, Some(0), 3, "b"),
            object(6, Some(0), 3, "c"),
            object(6, None, 4, "d"),
            object(8, None, 5, "e"),
        ],
    );
}

#[test]
fn draft_18_counts_down_if_groups_come_so() {
    both(
        &D18,
        DOWN,
        "1c 09 02 80 01 'a'
         0c 03 00 01 'b'  ; group 9 - (3 + 1)
         00 01 'c'
         0c 04 05 01 'd'  ; group 5 - (4 + 1)",
        &[
            object(9, Some(0), 2, "a"),
            object(5, Some(0), 0, "b"),
            object(5, Some(0), 1, "c"),
            object(0, Some(0), 5, "d"),
        ],
    );
}

#[test]
fn draft_18_takes_the_location_from_a_range_and_the_rest_from_an_object() {
    reads(
        &D18,
        UP,
        "1f 05 07 02 80 01 'a'
         808c 05 09       ; nothing up to {5, 9}: absolute, as the fields' names say
         01 01 'b'        ; {5, 10}, subgroup and priority of 'a'
         810c 06 03       ; not known up to {6, 3}
         808c 07 00
         0a 00 01 'c'     ; group 7 + 0 + 1, object 0 + 1, subgroup 7 + 1
         808c 08 04
         14 02 03 01 'd'  ; object 4 + 2, priority 3",
        &[
            object(5, Some(7), 2, "a"),
            end(5, 9, EndOfRange::NonExistent),
            object(5, Some(7), 10, "b"),
            end(6, 3, EndOfRange::Unknown),
            end(7, 0, EndOfRange::NonExistent),
            object(8, Some(8), 1, "c"),
            end(8, 4, EndOfRange::NonExistent),
            priority(3, object(8, Some(0), 6, "d")),
        ],
    );
    // A range before the first object has a location to refer to.
    both(
        &D18,
        UP,
        "808c 04 09
         13 07 80 01 'a'  ; {4, 10}; subgroup and priority stated",
        &[end(4, 9, EndOfRange::NonExistent), object(4, Some(7), 10, "a")],
    );
    // What is written after a range refers to no object before it.
    both(
        &D18,
        DOWN,
        "1f 05 07 02 80 01 'a'
         810c 03 09
         13 07 80 01 'b'
         808c 02 00
         1c 00 05 80 01 'c'",
        &[
            object(5, Some(7), 2, "a"),
            end(3, 9, EndOfRange::Unknown),
            object(3, Some(7), 10, "b"),
            end(2, 0, EndOfRange::NonExistent),
            object(1, Some(0), 5, "c"),
        ],
    );
}
