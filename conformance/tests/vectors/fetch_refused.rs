//! Fetch streams that a draft says to close the session for.

use moqt_engine::model::{GroupOrder, Location, ObjectStatus, SessionError};
use moqt_engine::wire::{Dialect, Fault, FetchObject, FetchWriter, Ints, Properties};

use super::fetch::read;
use super::{D14, D16, D18, hex};

const UP: GroupOrder = GroupOrder::Ascending;
const DOWN: GroupOrder = GroupOrder::Descending;
const FLAGS: &str = "Serialization Flags";

fn refuse(dialect: &'static Dialect, order: GroupOrder, text: &str, fault: Fault, field: &str) {
    let context = format!("{} {text}", dialect.draft);
    let error = read(dialect, order, &hex(text)).expect_err(&context);
    assert_eq!((error.fault, error.field), (fault, field), "{context}");
    assert_eq!(error.session_error(), SessionError::ProtocolViolation, "{context}");
}

/// "When less than 128, the bits represent flags … 0x8C … 0x10C … Any other value is a
/// PROTOCOL_VIOLATION."
#[test]
fn flags_are_below_128_or_one_of_two() {
    for flags in 0x80..0x1000_u64 {
        if flags == 0x8C || flags == 0x10C {
            continue;
        }
        refuse(&D16, UP, &format!("{:04x}", 0x4000 | flags), Fault::OutOfRange(flags), FLAGS);
        refuse(&D18, UP, &format!("{:04x}", 0x8000 | flags), Fault::OutOfRange(flags), FLAGS);
    }
}

/// "If the first Object in the FETCH response uses a flag that references fields in the prior
/// Object, the Subscriber MUST close the session with a PROTOCOL_VIOLATION."
#[test]
fn the_first_object_refers_to_none() {
    for dialect in [&D16, &D18] {
        for flags in 0_u8..0x80 {
            let bit = |mask: u8| flags & mask != 0;
            let subgroup = if bit(0x40) { 0 } else { flags & 0x03 };
            let mut text = int(dialect, flags);
            text += if bit(0x08) { " 05" } else { "" };
            text += if subgroup == 3 { " 07" } else { "" };
            text += if bit(0x04) { " 02" } else { "" };
            text += if bit(0x10) { " 80" } else { "" };
            text += if bit(0x20) { " 02 3c01" } else { "" };
            text += " 01 'a'";
            let refers = !bit(0x04) || !bit(0x08) || !bit(0x10) || matches!(subgroup, 1 | 2);
            if refers {
                refuse(dialect, UP, &text, Fault::NoPrior, FLAGS);
            } else {
                let (items, at_boundary) = read(dialect, UP, &hex(&text)).unwrap();
                assert_eq!((items.len(), at_boundary), (1, true), "{text}");
            }
        }
    }
}

/// Flags below 128, in hexadecimal.
fn int(dialect: &Dialect, flags: u8) -> String {
    match dialect.ints {
        Ints::Quic if flags >= 0x40 => format!("40{flags:02x}"),
        _ => format!("{flags:02x}"),
    }
}

/// Draft 18: "If there was no prior Object, using a flag that references the prior Subgroup ID is
/// a PROTOCOL_VIOLATION", and the same of the priority.
#[test]
fn a_range_is_no_object_to_take_a_subgroup_or_priority_from() {
    for order in [UP, DOWN] {
        refuse(&D18, order, "808c 04 09  11 80 01 'a'", Fault::NoPrior, FLAGS);
        refuse(&D18, order, "808c 04 09  12 80 01 'a'", Fault::NoPrior, FLAGS);
        refuse(&D18, order, "808c 04 09  00 01 'a'", Fault::NoPrior, FLAGS);
        refuse(&D18, order, "810c 04 09  03 07 01 'a'", Fault::NoPrior, FLAGS);
    }
}

/// Draft 18: "If the computed Group ID would be less than 0 or greater than 2^64-1 …", "If the
/// computed Object ID would be greater than 2^64-1 …".
#[test]
fn differences_stay_in_range() {
    let first = "1c 05 02 80 01 'a'";
    let group = "Group ID Delta";
    // 5 + (2^64 - 6) is the last group; 5 + (2^64 - 5), 5 + 2^64 are none.
    let (items, _) =
        read(&D18, UP, &hex(&format!("{first} 0c fffffffffffffffff9 00 01 'b'"))).unwrap();
    assert_eq!(location(&items[1]), Location::new(u64::MAX, 0));
    for delta in ["fffffffffffffffffa", "ffffffffffffffffff"] {
        refuse(&D18, UP, &format!("{first} 0c {delta} 00 01 'b'"), Fault::Overflow, group);
    }
    // 5 - (4 + 1) is the last group; 5 - (5 + 1) is none.
    let (items, _) = read(&D18, DOWN, &hex(&format!("{first} 0c 04 00 01 'b'"))).unwrap();
    assert_eq!(location(&items[1]), Location::new(0, 0));
    for delta in ["05", "ffffffffffffffffff"] {
        refuse(&D18, DOWN, &format!("{first} 0c {delta} 00 01 'b'"), Fault::Overflow, group);
    }
    // 2 + (2^64 - 3) is the last object.
    let (items, _) =
        read(&D18, UP, &hex(&format!("{first} 04 fffffffffffffffffd 01 'b'"))).unwrap();
    assert_eq!(location(&items[1]), Location::new(5, u64::MAX));
    let past = format!("{first} 04 fffffffffffffffffe 01 'b'");
    refuse(&D18, UP, &past, Fault::Overflow, "Object ID Delta");
    let last = "1c 05 ffffffffffffffffff 80 01 'a'";
    refuse(&D18, UP, &format!("{last} 00 01 'b'"), Fault::Overflow, "Object ID");
    let last = "1f 05 ffffffffffffffffff 02 80 01 'a'";
    refuse(&D18, UP, &format!("{last} 02 01 'b'"), Fault::Overflow, "Subgroup ID");
}

fn location(item: &super::fetch::Item) -> Location {
    match item {
        super::fetch::Item::Object { object, .. } => object.location,
        super::fetch::Item::End(location, _) => *location,
    }
}

#[test]
fn statuses_are_draft_14s_alone() {
    for status in [2, 5] {
        let text = format!("05 00 02 80 00 00 {status:02x}");
        refuse(&D14, UP, &text, Fault::OutOfRange(status), "Object Status");
    }
    let field = "Properties of an object without payload";
    refuse(&D14, UP, "05 00 02 80 02 3c01 00 01", Fault::NotAllowed, field);
    // "absent in Objects delivered via a FETCH": what follows is the next object's flags.
    for dialect in [&D16, &D18] {
        let (items, _) = read(dialect, UP, &hex("1c 05 02 80 00 00 00")).unwrap();
        assert_eq!(items.len(), 2);
        let ended = FetchObject {
            location: Location::ZERO,
            subgroup_id: Some(0),
            publisher_priority: 0,
            payload_len: 0,
            status: ObjectStatus::EndOfGroup,
            properties: Properties::EMPTY,
        };
        assert!(FetchWriter::new(dialect, UP).object(&ended, &mut Vec::new()).is_err());
    }
}

#[test]
fn properties_over_the_limit_are_refused_by_their_length() {
    let too_long = Fault::TooLong { max: 100 };
    refuse(&D14, UP, "05 00 02 80 4065", too_long, "Properties");
    refuse(&D16, UP, "3c 05 02 80 4065", too_long, "Properties");
    refuse(&D18, UP, "3c 05 02 80 65", too_long, "Properties");
}

/// Groups in the order agreed on, objects within them upwards.
#[test]
fn the_writer_keeps_the_order_that_differences_can_express() {
    let object = |group, object| FetchObject {
        location: Location::new(group, object),
        subgroup_id: Some(0),
        publisher_priority: 0,
        payload_len: 1,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    };
    for (order, next) in [(UP, 4), (DOWN, 6)] {
        let mut writer = FetchWriter::new(&D18, order);
        let mut out = Vec::new();
        writer.object(&object(5, 3), &mut out).unwrap();
        out.clear();
        assert!(writer.object(&object(next, 0), &mut out).is_err(), "the wrong way");
        assert!(writer.object(&object(5, 3), &mut out).is_err(), "twice");
        assert!(writer.object(&object(5, 2), &mut out).is_err(), "backwards");
        assert_eq!(out, b"");
    }
    // Integers of 62 bits: nothing is written of an object that does not fit.
    for dialect in [&D14, &D16] {
        let mut out = Vec::new();
        let long = FetchObject { payload_len: 1 << 62, ..object(5, 3) };
        assert!(FetchWriter::new(dialect, UP).object(&long, &mut out).is_err());
        let far = object(5, 1 << 62);
        assert!(FetchWriter::new(dialect, UP).object(&far, &mut out).is_err());
        assert_eq!(out, b"");
    }
}
