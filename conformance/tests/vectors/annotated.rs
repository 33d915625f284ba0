//! Bytes with every field named, for tools.

use moqt_conformance::annotated::{annotated, error};
use moqt_conformance::fuzz::differential::Subject as Recording;
use moqt_conformance::recorded::{Recorded, recorded};
use moqt_engine::Draft;
use moqt_engine::model::{GroupOrder, Location};
use moqt_engine::wire::{Annotated, Fault, FieldValue, Subject};

use super::{all, hex};

const DATA: Subject = Subject::Data(GroupOrder::Ascending);

/// Offset, name, and value or bytes, a line each, with the meaning behind a dash.
fn lines(bytes: &[u8], parts: &[Annotated]) -> Vec<String> {
    let mut lines = Vec::new();
    for part in parts {
        let location = part.location.map(|at| format!(" {}.{}", at.group, at.object));
        lines.push(format!("{}{}", part.name, location.unwrap_or_default()));
        for field in &part.fields {
            let value = match field.value {
                FieldValue::Int(value) => value.to_string(),
                FieldValue::Length(len) => format!("{len} bytes"),
                FieldValue::Bytes => {
                    String::from_utf8_lossy(&bytes[field.range.clone()]).into_owned()
                }
            };
            let meaning = field.meaning.as_ref().map(|meaning| format!(" - {meaning}"));
            let meaning = meaning.unwrap_or_default();
            lines.push(format!("{} {} {value}{meaning}", field.range.start, field.name));
        }
    }
    lines
}

#[test]
fn every_byte_of_every_control_message_belongs_to_a_field() {
    for vector in all() {
        let parts = annotated(vector.dialect.draft, Subject::Control, &vector.bytes);
        assert_eq!(parts.len(), 1, "{}", vector.name);
        assert_eq!(parts[0].error, None, "{}", vector.name);
        let meaning = parts[0].fields[0].meaning.as_deref();
        assert_eq!(meaning, Some(parts[0].name), "{}", vector.name);
    }
}

fn recordings() -> Vec<(Draft, Subject, Vec<u8>)> {
    let subject = |Recorded { draft, subject, bytes, .. }| {
        let subject = match subject {
            Recording::Control => Subject::Control,
            Recording::Datagram => Subject::Datagram,
            _ => DATA,
        };
        (draft, subject, bytes)
    };
    let found: Vec<_> = recorded().into_iter().map(subject).collect();
    for subject in [Subject::Control, DATA, Subject::Datagram] {
        assert!(found.iter().any(|(_, of, _)| *of == subject));
    }
    found
}

#[test]
fn every_byte_that_was_recorded_belongs_to_a_field() {
    for (draft, subject, bytes) in recordings() {
        let parts = annotated(draft, subject, &bytes);
        assert_eq!(error(&parts), None, "{draft} {bytes:02x?}");
    }
}

#[test]
fn what_is_cut_off_is_told_up_to_its_end() {
    let vectors = all().into_iter().map(|it| (it.dialect.draft, Subject::Control, it.bytes));
    for (draft, subject, bytes) in vectors.chain(recordings()) {
        let whole = annotated(draft, subject, &bytes);
        let ends: Vec<usize> = whole.iter().map(|part| part.range.end).collect();
        for len in 1..bytes.len() {
            let parts = annotated(draft, subject, &bytes[..len]);
            let fault = error(&parts).map(|error| error.fault);
            if subject == Subject::Datagram {
                // A shorter payload is one, too.
                assert!(matches!(fault, None | Some(Fault::Truncated)), "{draft} {len}");
            } else if ends.contains(&len) {
                assert_eq!(fault, None, "{draft} {len} {bytes:02x?}");
            } else {
                assert_eq!(fault, Some(Fault::Truncated), "{draft} {len} {bytes:02x?}");
            }
        }
    }
}

#[test]
fn what_connections_refuse_is_refused_alike() {
    let vectors = all().into_iter().map(|it| (it.dialect.draft, Subject::Control, it.bytes));
    let (mut refused, mut taken) = (0, 0);
    for (draft, subject, bytes) in vectors.chain(recordings()) {
        for at in 0..bytes.len().min(200) {
            for change in [0x01, 0x02, 0x08, 0x10, 0x41, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= change;
                let found = error(&annotated(draft, subject, &bytes));
                if found.is_some() { refused += 1 } else { taken += 1 }
            }
        }
    }
    assert!(refused > 1000 && taken > 1000, "{refused} {taken}");
}

// draft-18, "Subgroup Header": type 0x15 is bits 0x10, 0x04 (the Subgroup ID is there) and 0x01
// (objects have properties); then "Object ID Delta", "Object Properties Length", "Object Payload
// Length" of each object, and the status where that is 0.
#[test]
fn a_subgroup_is_told_object_by_object() {
    let bytes = hex("15 02 07 03 80  04 02 3c 05 03 'abc'  00 00 00 03");
    let parts = annotated(Draft::D18, DATA, &bytes);
    let want = [
        "SUBGROUP_HEADER",
        "0 SUBGROUP_HEADER 21 - subgroup follows, properties",
        "1 Track Alias 2",
        "2 Group ID 7",
        "3 Subgroup ID 3",
        "4 Publisher Priority 128",
        "Object 7.4",
        "5 Object ID Delta 4",
        "6 Properties 2 bytes",
        "7 Properties 60 - PRIOR_GROUP_ID_GAP (0x3c)",
        "8 Properties 5",
        "9 Object Payload Length 3",
        "10 Object Payload abc",
        "Object 7.5",
        "13 Object ID Delta 0",
        "14 Properties 0 bytes",
        "15 Object Payload Length 0",
        "16 Object Status 3 - End of Group",
    ];
    assert_eq!(lines(&bytes, &parts), want);
}

// draft-18, "Fetch Header": 0x1f is subgroup, object, group and priority; groups and objects are
// differences after the first object, and a group's difference is one less.
#[test]
fn a_fetch_is_told_object_by_object() {
    let text = "05 04  1f 0a 01 02 80 02 'hi'  04 05 01 'x'  808c 0c 00";
    let bytes = hex(text);
    let parts = annotated(Draft::D18, DATA, &bytes);
    let want = [
        "FETCH_HEADER",
        "0 FETCH_HEADER 5",
        "1 Request ID 4",
        "Object 10.2",
        "2 Serialization Flags 31 - subgroup follows, group, object, priority",
        "3 Group ID 10",
        "4 Subgroup ID 1",
        "5 Object ID 2",
        "6 Publisher Priority 128",
        "7 Object Payload Length 2",
        "8 Object Payload hi",
    ];
    assert_eq!(lines(&bytes, &parts)[..want.len()], want);
    assert_eq!(parts[1].location, Some(Location::new(10, 2)));
    // A group that follows in descending order.
    let bytes = hex("05 04  1f 0a 01 02 80 00  0c 02 00 00");
    let parts = annotated(Draft::D18, Subject::Data(GroupOrder::Descending), &bytes);
    assert_eq!(parts[2].location, Some(Location::new(7, 0)), "{parts:?}");
    assert_eq!(parts[2].fields[1].name, "Group ID Delta");
}

// draft-16, "SUBSCRIBE": Request ID, Track Namespace, Track Name, Number of Parameters, and
// parameters whose types are differences.
#[test]
fn a_control_message_is_told_field_by_field() {
    let bytes = hex("03 0013  06 01 04 'demo' 03 'cam'  02 10 01  11 03 03 05 02");
    let parts = annotated(Draft::D16, Subject::Control, &bytes);
    let want = [
        "SUBSCRIBE",
        "0 Message Type 3 - SUBSCRIBE",
        "1 Message Length 19",
        "3 Request ID 6",
        "4 Track Namespace 1",
        "5 Track Namespace 4 bytes",
        "6 Track Namespace demo",
        "10 Track Name 3 bytes",
        "11 Track Name cam",
        "14 Number of Parameters 2",
        "15 Message Parameter 16 - FORWARD (0x10)",
        "16 Message Parameter 1",
        "17 Message Parameter 17 - SUBSCRIPTION_FILTER (0x21)",
        "18 Message Parameter 3 bytes",
        "19 Subscription Filter 3 - AbsoluteStart",
        "20 Subscription Filter 5 - group",
        "21 Subscription Filter 2 - object",
    ];
    let lines = lines(&bytes, &parts);
    assert_eq!(error(&parts), None, "{lines:#?}");
    // The length of a namespace's fields and their number have one name in the draft.
    assert_eq!(lines, want);
}

#[test]
fn a_datagram_is_told_field_by_field() {
    // draft-14, "Object Datagram": type 0x01 has extensions and an Object ID.
    let bytes = hex("01 02 05 07 80 02 3c 01 'pay'");
    let want = [
        "OBJECT_DATAGRAM 5.7",
        "0 Datagram Type 1 - payload, properties",
        "1 Track Alias 2",
        "2 Group ID 5",
        "3 Object ID 7",
        "4 Publisher Priority 128",
        "5 Properties 2 bytes",
        "6 Properties 60 - PRIOR_GROUP_ID_GAP (0x3c)",
        "7 Properties 1",
        "8 Object Payload pay",
    ];
    assert_eq!(lines(&bytes, &annotated(Draft::D14, Subject::Datagram, &bytes)), want);
}

/// What is wrong is at the `!`.
fn wrong(draft: Draft, subject: Subject, text: &str, fault: Fault, field: &str) {
    let at = hex(text.split_once('!').unwrap().0).len();
    let bytes = hex(&text.replace('!', ""));
    let parts = annotated(draft, subject, &bytes);
    let error = error(&parts).unwrap_or_else(|| panic!("{text}: {parts:?}"));
    assert_eq!((error.fault, error.field, error.offset), (fault, field, at), "{text}: {parts:?}");
}

#[test]
fn what_is_wrong_is_wrong_at_its_first_byte() {
    use Fault::{
        Duplicate, NoPrior, OutOfRange, Overflow, TooLong, Trailing, Truncated, UnknownType,
    };
    const CONTROL: Subject = Subject::Control;
    const FILTER: &str = "Subscription Filter";
    // After a whole message, an unknown one.
    wrong(Draft::D18, CONTROL, "af00 0000 !3f 0000", UnknownType(0x3f), "Message Type");
    wrong(Draft::D16, CONTROL, "15 0001 05  15 !00", Truncated, "Message Length");
    wrong(Draft::D16, CONTROL, "15 0001 05  15 0002 !40", Truncated, "Max Request ID");
    wrong(Draft::D16, CONTROL, "15 0002 05 !00", Trailing, "MAX_REQUEST_ID");
    // All fields of a message that says it is longer.
    wrong(Draft::D16, CONTROL, "15 0005 05 !", Truncated, "MAX_REQUEST_ID");
    wrong(
        Draft::D14,
        CONTROL,
        "16 0009 02 80 !03 01 01 01 'n' 01 't'",
        OutOfRange(3),
        "Group Order",
    );
    wrong(
        Draft::D16,
        CONTROL,
        "03 0008 00 01 !5001 00 00 00 00",
        TooLong { max: 4096 },
        "Track Namespace",
    );
    wrong(Draft::D16, CONTROL, "03 0006 00 !21 00 00 00 00", OutOfRange(33), "Track Namespace");
    let head = "03 000c 00 01 01 'n' 01 't'";
    wrong(Draft::D16, CONTROL, &format!("{head} 01 21 02 !07 00"), OutOfRange(7), FILTER);
    let twice = format!("{head} 02 10 01 !00 01 00");
    wrong(Draft::D16, CONTROL, &twice, Duplicate, "Message Parameter");
    wrong(Draft::D18, CONTROL, "af00 0004 02 00 !ffffffffffffffffff 00", Truncated, "Setup Option");
    // Streams and datagrams.
    wrong(Draft::D18, DATA, "!3f 00", UnknownType(0x3f), "Stream Type");
    wrong(Draft::D18, DATA, "10 02 07 80  00 01 'a'  00 00 !02", OutOfRange(2), "Object Status");
    wrong(Draft::D18, DATA, "10 02 07 80  00 05 'abc'!", Truncated, "Object Payload");
    wrong(Draft::D18, DATA, "10 02 07 80  00 !", Truncated, "Object Payload Length");
    let last = "ffffffffffffffffff";
    wrong(
        Draft::D18,
        DATA,
        &format!("10 02 07 80  {last} 01 'a' !00 01 'b'"),
        Overflow,
        "Object ID Delta",
    );
    wrong(Draft::D18, DATA, "11 02 07 80  00 03 3c !ff 01 01 'a'", Truncated, "Properties");
    wrong(Draft::D18, DATA, "05 04  !01 00", NoPrior, "Serialization Flags");
    wrong(Draft::D18, DATA, "05 04  !8080 00", OutOfRange(0x80), "Serialization Flags");
    let first = "05 04  1f 00 01 02 80 00";
    wrong(Draft::D18, DATA, &format!("{first} 08 !{last} 00"), Overflow, "Group ID Delta");
    wrong(Draft::D18, Subject::Datagram, "!10 00", UnknownType(0x10), "Datagram Type");
    wrong(Draft::D18, Subject::Datagram, "08 05 02 !", Truncated, "Object ID");
    wrong(Draft::D18, Subject::Datagram, "28 05 02 07 !02", OutOfRange(2), "Object Status");
    wrong(Draft::D18, Subject::Datagram, "28 05 02 07 03 !00", Trailing, "Object Status");
}

#[test]
fn nothing_is_told_of_nothing() {
    for subject in [Subject::Control, DATA, Subject::Datagram] {
        assert_eq!(annotated(Draft::D18, subject, &[]), []);
    }
}

// draft-18, "Padding Streams" and "Padding Datagrams".
#[test]
fn padding_is_padding() {
    let bytes = hex("f0132b3e28 0000");
    let parts = annotated(Draft::D18, DATA, &bytes);
    assert_eq!(lines(&bytes, &parts)[0], "PADDING");
    assert_eq!(error(&parts), None);
    let bytes = hex("f0132b3e29 000000");
    assert_eq!(annotated(Draft::D18, Subject::Datagram, &bytes)[0].name, "PADDING");
}

// draft-18, "AUTHORIZATION TOKEN Parameter": Alias Type, Token Alias, Token Type, Token Value.
#[test]
fn tokens_are_told_field_by_field_wherever_they_are() {
    let token =
        ["AUTHORIZATION_TOKEN 1 - REGISTER", "AUTHORIZATION_TOKEN 2", "AUTHORIZATION_TOKEN 3"];
    let setup = hex("af00 0007  03 05 01 02 03 'xy'");
    let subscribe = hex("03 000f  00 01 01 'n' 01 't' 01  03 05 01 02 03 'xy'");
    for bytes in [setup, subscribe] {
        let lines = lines(&bytes, &annotated(Draft::D18, Subject::Control, &bytes));
        let told: Vec<&str> =
            lines.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
        assert!(told.windows(3).any(|three| three == token), "{lines:#?}");
        assert_eq!(told.last(), Some(&"AUTHORIZATION_TOKEN xy"), "{lines:#?}");
    }
}
