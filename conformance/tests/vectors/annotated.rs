//! Bytes with every field named, for tools.

use moqt_conformance::fuzz::differential::Subject as Recording;
use moqt_conformance::recorded::{Recorded, recorded};
use moqt_conformance::streams::{End, read_fetch, read_subgroup};
use moqt_engine::Draft;
use moqt_engine::model::{GroupOrder, Location};
use moqt_engine::wire::{
    Annotated, Annotator, ControlReader, Datagram, DecodeError, Dialect, Fault, FieldValue, Subject,
};

use super::{Bytes, D14, D16, D18, all, hex};

const DATA: Subject = Subject::Data(GroupOrder::Ascending);

/// Everything that can be said about the bytes: every byte that was read belongs to one field, and
/// only the last thing can be wrong.
fn annotate(dialect: &'static Dialect, subject: Subject, bytes: &[u8]) -> Vec<Annotated> {
    let parts: Vec<Annotated> = Annotator::new(dialect, subject, bytes).collect();
    let mut at = 0;
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(part.range.start, at, "{part:?}");
        for field in &part.fields {
            assert_eq!(field.range.start, at, "{field:?} of {part:?}");
            at = field.range.end;
        }
        match part.error {
            None => assert_eq!(at, part.range.end, "{part:?}"),
            Some(error) => {
                assert_eq!(n + 1, parts.len());
                assert!(error.offset <= bytes.len(), "{part:?}");
            }
        }
    }
    if parts.iter().all(|part| part.error.is_none()) {
        assert_eq!(at, bytes.len(), "bytes without a field: {parts:?}");
    }
    parts
}

fn error(parts: &[Annotated]) -> Option<DecodeError> {
    parts.last().and_then(|part| part.error)
}

/// What two ways of reading have to agree on.
fn verdict(error: Option<DecodeError>) -> Option<(Fault, &'static str)> {
    error.map(|error| (error.fault, error.field))
}

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
        let parts = annotate(vector.dialect, Subject::Control, &vector.bytes);
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
        let parts = annotate(draft.dialect(), subject, &bytes);
        assert_eq!(error(&parts), None, "{draft} {bytes:02x?}");
    }
}

#[test]
fn what_is_cut_off_is_told_up_to_its_end() {
    let vectors = all().into_iter().map(|it| (it.dialect.draft, Subject::Control, it.bytes));
    for (draft, subject, bytes) in vectors.chain(recordings()) {
        let whole = annotate(draft.dialect(), subject, &bytes);
        let ends: Vec<usize> = whole.iter().map(|part| part.range.end).collect();
        for len in 1..bytes.len() {
            let parts = annotate(draft.dialect(), subject, &bytes[..len]);
            let (fault, _) = verdict(error(&parts)).unzip();
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

/// What connections read with, on the same bytes. `None` if it says nothing: bytes are missing.
fn read(draft: Draft, subject: Subject, bytes: &[u8]) -> Option<Result<(), DecodeError>> {
    match subject {
        Subject::Control => {
            let mut reader = ControlReader::new(draft.dialect());
            reader.push(Bytes::copy_from_slice(bytes));
            loop {
                match reader.next_message() {
                    Ok(Some(_)) => {}
                    Ok(None) if reader.is_mid_message() => return None,
                    Ok(None) => return Some(Ok(())),
                    Err(error) => return Some(Err(error)),
                }
            }
        }
        Subject::Datagram => {
            let bytes = Bytes::copy_from_slice(bytes);
            Some(Datagram::decode(draft.dialect(), &bytes, 1 << 20).map(drop))
        }
        Subject::Data(order) => {
            let of = |end| match end {
                End::Boundary => Some(Ok(())),
                End::Within => None,
                End::Refused(error) => Some(Err(error)),
            };
            match bytes.first() {
                Some(0x05) => of(read_fetch(draft, order, bytes).end),
                _ => of(read_subgroup(draft, bytes).end),
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
                if subject == DATA && at == 0 {
                    // The type of another kind of stream.
                    continue;
                }
                let found = error(&annotate(draft.dialect(), subject, &bytes));
                if found.is_some_and(|error| error.field == "Properties") {
                    // Connections look inside only when somebody asks.
                    continue;
                }
                let context = format!("{draft} {subject:?} {at} {bytes:02x?}");
                match read(draft, subject, &bytes) {
                    Some(Ok(())) => assert_eq!(found, None, "{context}"),
                    Some(Err(error)) => {
                        assert_eq!(verdict(found), verdict(Some(error)), "{context}");
                    }
                    // What is there of the body may be wrong already.
                    None => assert!(found.is_some(), "{context}"),
                }
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
    let parts = annotate(&D18, DATA, &bytes);
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
    let parts = annotate(&D18, DATA, &bytes);
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
    let parts = annotate(&D18, Subject::Data(GroupOrder::Descending), &bytes);
    assert_eq!(parts[2].location, Some(Location::new(7, 0)), "{parts:?}");
    assert_eq!(parts[2].fields[1].name, "Group ID Delta");
}

// draft-16, "SUBSCRIBE": Request ID, Track Namespace, Track Name, Number of Parameters, and
// parameters whose types are differences.
#[test]
fn a_control_message_is_told_field_by_field() {
    let bytes = hex("03 0013  06 01 04 'demo' 03 'cam'  02 10 01  11 03 03 05 02");
    let parts = annotate(&D16, Subject::Control, &bytes);
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
    assert_eq!(lines(&bytes, &annotate(&D14, Subject::Datagram, &bytes)), want);
}

/// What is wrong is at the `!`.
fn wrong(dialect: &'static Dialect, subject: Subject, text: &str, fault: Fault, field: &str) {
    let at = hex(text.split_once('!').unwrap().0).len();
    let bytes = hex(&text.replace('!', ""));
    let parts = annotate(dialect, subject, &bytes);
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
    wrong(&D18, CONTROL, "af00 0000 !3f 0000", UnknownType(0x3f), "Message Type");
    wrong(&D16, CONTROL, "15 0001 05  15 !00", Truncated, "Message Length");
    wrong(&D16, CONTROL, "15 0001 05  15 0002 !40", Truncated, "Max Request ID");
    wrong(&D16, CONTROL, "15 0002 05 !00", Trailing, "MAX_REQUEST_ID");
    // All fields of a message that says it is longer.
    wrong(&D16, CONTROL, "15 0005 05 !", Truncated, "MAX_REQUEST_ID");
    wrong(&D14, CONTROL, "16 0009 02 80 !03 01 01 01 'n' 01 't'", OutOfRange(3), "Group Order");
    wrong(
        &D16,
        CONTROL,
        "03 0008 00 01 !5001 00 00 00 00",
        TooLong { max: 4096 },
        "Track Namespace",
    );
    wrong(&D16, CONTROL, "03 0006 00 !21 00 00 00 00", OutOfRange(33), "Track Namespace");
    let head = "03 000c 00 01 01 'n' 01 't'";
    wrong(&D16, CONTROL, &format!("{head} 01 21 02 !07 00"), OutOfRange(7), FILTER);
    let twice = format!("{head} 02 10 01 !00 01 00");
    wrong(&D16, CONTROL, &twice, Duplicate, "Message Parameter");
    wrong(&D18, CONTROL, "af00 0004 02 00 !ffffffffffffffffff 00", Truncated, "Setup Option");
    // Streams and datagrams.
    wrong(&D18, DATA, "!3f 00", UnknownType(0x3f), "Stream Type");
    wrong(&D18, DATA, "10 02 07 80  00 01 'a'  00 00 !02", OutOfRange(2), "Object Status");
    wrong(&D18, DATA, "10 02 07 80  00 05 'abc'!", Truncated, "Object Payload");
    wrong(&D18, DATA, "10 02 07 80  00 !", Truncated, "Object Payload Length");
    let last = "ffffffffffffffffff";
    wrong(
        &D18,
        DATA,
        &format!("10 02 07 80  {last} 01 'a' !00 01 'b'"),
        Overflow,
        "Object ID Delta",
    );
    wrong(&D18, DATA, "11 02 07 80  00 03 3c !ff 01 01 'a'", Truncated, "Properties");
    wrong(&D18, DATA, "05 04  !01 00", NoPrior, "Serialization Flags");
    wrong(&D18, DATA, "05 04  !8080 00", OutOfRange(0x80), "Serialization Flags");
    let first = "05 04  1f 00 01 02 80 00";
    wrong(&D18, DATA, &format!("{first} 08 !{last} 00"), Overflow, "Group ID Delta");
    wrong(&D18, Subject::Datagram, "!10 00", UnknownType(0x10), "Datagram Type");
    wrong(&D18, Subject::Datagram, "08 05 02 !", Truncated, "Object ID");
    wrong(&D18, Subject::Datagram, "28 05 02 07 !02", OutOfRange(2), "Object Status");
    wrong(&D18, Subject::Datagram, "28 05 02 07 03 !00", Trailing, "Object Status");
}

#[test]
fn nothing_is_told_of_nothing() {
    for subject in [Subject::Control, DATA, Subject::Datagram] {
        assert_eq!(annotate(&D18, subject, &[]), []);
    }
}

// draft-18, "Padding Streams" and "Padding Datagrams".
#[test]
fn padding_is_padding() {
    let bytes = hex("f0132b3e28 0000");
    let parts = annotate(&D18, DATA, &bytes);
    assert_eq!(lines(&bytes, &parts)[0], "PADDING");
    assert_eq!(error(&parts), None);
    let bytes = hex("f0132b3e29 000000");
    assert_eq!(annotate(&D18, Subject::Datagram, &bytes)[0].name, "PADDING");
}
