//! Objects on subgroup streams.

use moqt_engine::model::{Draft, ObjectStatus as Status, SessionError, SubgroupId};
use moqt_engine::wire::{
    DecodeError, Dialect, EncodeError, Fault, ObjectHeader, Properties, SubgroupEvent,
    SubgroupHeader, SubgroupReader, SubgroupWriter,
};

use super::{Bytes, D14, D16, D18, hex};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    id: u64,
    status: Status,
    properties: Vec<u8>,
    payload: Vec<u8>,
}

fn object(id: u64, payload: &str) -> Object {
    let payload = payload.as_bytes().to_vec();
    Object { id, status: Status::Normal, properties: Vec::new(), payload }
}

fn status(id: u64, status: Status) -> Object {
    Object { status, ..object(id, "") }
}

fn with(properties: &str, object: Object) -> Object {
    Object { properties: hex(properties), ..object }
}

/// All objects that are there, and whether the bytes end where an object does.
fn read(
    dialect: &'static Dialect,
    has_properties: bool,
    bytes: &[u8],
) -> Result<(Vec<Object>, bool), DecodeError> {
    let mut reader = SubgroupReader::new(dialect, has_properties, 100);
    let mut objects: Vec<Object> = Vec::new();
    let mut input = bytes;
    loop {
        match reader.next(&mut input)? {
            SubgroupEvent::Object { object_id, payload_len, status, properties } => {
                let payload = Vec::with_capacity(usize::try_from(payload_len).unwrap());
                let properties = properties.to_vec();
                objects.push(Object { id: object_id, status, properties, payload });
            }
            SubgroupEvent::Payload(payload) => {
                objects.last_mut().expect("an object").payload.extend_from_slice(payload);
            }
            SubgroupEvent::NeedMore => {
                assert!(input.is_empty());
                return Ok((objects, reader.is_at_boundary()));
            }
        }
    }
}

/// The text, one object a line, is these objects; these objects are the text.
fn both(dialect: &'static Dialect, has_properties: bool, lines: &str, objects: &[Object]) {
    let context = format!("{} {lines}", dialect.draft);
    let bytes = hex(lines);
    let read_all = read(dialect, has_properties, &bytes);
    assert_eq!(read_all, Ok((objects.to_vec(), true)), "{context}");

    let mut writer = SubgroupWriter::new(dialect, has_properties);
    let mut written = Vec::new();
    let mut ends = vec![0];
    for object in objects {
        let header = header(dialect, object);
        assert_eq!(writer.object(&header, &mut written), Ok(()), "{context}");
        written.extend(&object.payload);
        ends.push(written.len());
    }
    assert_eq!(written, bytes, "{context}");

    for cut in 0..bytes.len() {
        let (objects_read, at_boundary) = read(dialect, has_properties, &bytes[..cut]).unwrap();
        assert_eq!(at_boundary, ends.contains(&cut), "{context} cut at {cut}");
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(objects_read[..whole], objects[..whole], "{context} cut at {cut}");
    }
}

fn header(dialect: &Dialect, object: &Object) -> ObjectHeader {
    ObjectHeader {
        object_id: object.id,
        payload_len: object.payload.len() as u64,
        status: object.status,
        properties: Properties::from_wire(dialect, object.properties.clone().into()),
    }
}

fn refuse(dialect: &'static Dialect, has_properties: bool, bytes: &str, fault: Fault, field: &str) {
    let context = format!("{} {bytes}", dialect.draft);
    let error = read(dialect, has_properties, &hex(bytes)).expect_err(&context);
    assert_eq!((error.fault, error.field), (fault, field), "{context}");
    assert_eq!(error.session_error(), SessionError::ProtocolViolation, "{context}");
}

#[test]
fn object_ids_are_differences() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        both(dialect, false, "", &[]);
        // "sequential Object IDs starting at 0 will have 0 for all Object ID Delta values"
        both(
            dialect,
            false,
            "00 01 'a'
             00 02 'bb'
             00 03 'ccc'",
            &[object(0, "a"), object(1, "bb"), object(2, "ccc")],
        );
        both(
            dialect,
            false,
            "05 01 'a' ; the first is the ID itself
             02 01 'b' ; 5 + 2 + 1
             00 01 'c'",
            &[object(5, "a"), object(8, "b"), object(9, "c")],
        );
    }
    both(&D14, false, "ffffffffffffffff 01 'a'", &[object((1 << 62) - 1, "a")]);
    both(&D16, false, "ffffffffffffffff 01 'a'", &[object((1 << 62) - 1, "a")]);
    both(&D18, false, "ffffffffffffffffff 01 'a'", &[object(u64::MAX, "a")]);
    both(
        &D18,
        false,
        "fffffffffffffffffe 01 'a' 00 01 'b'",
        &[object(u64::MAX - 1, "a"), object(u64::MAX, "b")],
    );
}

#[test]
fn payload_lengths_are_integers_of_the_draft() {
    let hundred = "x".repeat(100);
    both(&D14, false, &format!("00 4064 '{hundred}'"), &[object(0, &hundred)]);
    both(&D16, false, &format!("00 4064 '{hundred}'"), &[object(0, &hundred)]);
    both(&D18, false, &format!("00 64 '{hundred}'"), &[object(0, &hundred)]);
}

#[test]
fn a_status_follows_a_payload_length_of_zero() {
    for draft in Draft::ALL {
        both(
            draft.dialect(),
            false,
            "00 00 00 ; \"Zero-length objects explicitly encode the Normal status\"
             00 00 03
             04 00 04",
            &[object(0, ""), status(1, Status::EndOfGroup), status(6, Status::EndOfTrack)],
        );
    }
    both(&D14, false, "03 00 01", &[status(3, Status::DoesNotExist)]);
    for (dialect, code) in
        [(&D14, 2), (&D14, 5), (&D16, 1), (&D16, 2), (&D16, 5), (&D18, 1), (&D18, 2), (&D18, 5)]
    {
        let bytes = format!("00 00 {code:02x}");
        refuse(dialect, false, &bytes, Fault::OutOfRange(code), "Object Status");
    }
}

#[test]
fn properties_have_a_length_in_every_object_or_in_none() {
    for draft in Draft::ALL {
        both(
            draft.dialect(),
            true,
            "00 02 3c01 01 'a' ; Prior Group ID Gap: 1
             00 00 01 'b'      ; none
             00 03 3d01ff 00 00
             00 00 00 03",
            &[
                with("3c01", object(0, "a")),
                object(1, "b"),
                with("3d01ff", object(2, "")),
                status(3, Status::EndOfGroup),
            ],
        );
    }
    // Draft 14: all but objects that do not exist may have some.
    both(&D14, true, "00 02 3c01 00 03", &[with("3c01", status(0, Status::EndOfGroup))]);
    let field = "Properties of an object without payload";
    refuse(&D14, true, "00 02 3c01 00 01", Fault::NotAllowed, field);
    // Later: only normal ones may.
    for dialect in [&D16, &D18] {
        for status in ["03", "04"] {
            let bytes = format!("00 02 3c01 00 {status}");
            refuse(dialect, true, &bytes, Fault::NotAllowed, field);
        }
    }
}

/// The limit is 100 here; the length alone is enough to refuse.
#[test]
fn properties_over_the_limit_are_refused_by_their_length() {
    let too_long = Fault::TooLong { max: 100 };
    refuse(&D14, true, "00 4065", too_long, "Properties");
    refuse(&D16, true, "00 4065", too_long, "Properties");
    refuse(&D18, true, "00 65", too_long, "Properties");
    refuse(&D18, true, "00 ffffffffffffffffff", too_long, "Properties");
    let hundred = format!("3d62 '{}'", "x".repeat(98));
    both(&D18, true, &format!("00 64 {hundred} 01 'a'"), &[with(&hundred, object(0, "a"))]);
}

#[test]
fn object_ids_do_not_go_past_the_largest_integer() {
    let field = "Object ID Delta";
    refuse(&D18, false, "ffffffffffffffffff 01 'a' 00 01 'b'", Fault::Overflow, field);
    refuse(&D18, false, "01 01 'a' fffffffffffffffffe 01 'b'", Fault::Overflow, field);
    // Drafts 14 and 16 do not speak of it. Everywhere else an Object ID is an integer of 62 bits,
    // and no location can name a larger one.
    for dialect in [&D14, &D16] {
        let (objects, _) = read(dialect, false, &hex("fffffffffffffffe 01 'a' 00 01 'b'")).unwrap();
        assert_eq!(objects.last().map(|object| object.id), Some((1 << 62) - 1));
        refuse(dialect, false, "ffffffffffffffff 01 'a' 00 01 'b'", Fault::Overflow, field);
        refuse(dialect, false, "01 01 'a' ffffffffffffffff 01 'b'", Fault::Overflow, field);
    }
}

#[test]
fn the_writer_refuses_what_cannot_be_written() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        let mut writer = SubgroupWriter::new(dialect, false);
        let mut out = Vec::new();
        writer.object(&header(dialect, &object(5, "a")), &mut out).unwrap();
        out.clear();
        // IDs rise.
        for id in [4, 5] {
            let again = writer.object(&header(dialect, &object(id, "a")), &mut out);
            assert_eq!(again, Err(EncodeError::OutOfRange("Object ID")));
        }
        // "Any object with a status code other than zero MUST have an empty payload."
        let ended = Object { status: Status::EndOfGroup, ..object(6, "a") };
        assert!(writer.object(&header(dialect, &ended), &mut out).is_err());
        // The header said there are no properties.
        let extended = with("3c01", object(6, "a"));
        assert!(writer.object(&header(dialect, &extended), &mut out).is_err());
        let gone = writer.object(&header(dialect, &status(6, Status::DoesNotExist)), &mut out);
        assert_eq!(gone.is_ok(), draft == Draft::D14);
        if draft != Draft::D14 {
            let mut writer = SubgroupWriter::new(dialect, true);
            let ended = with("3c01", status(6, Status::EndOfGroup));
            assert!(writer.object(&header(dialect, &ended), &mut out).is_err());
            assert_eq!(out, b"", "nothing is written of what is refused");
        }
    }
}

/// Draft 14, "Examples": a subgroup, whose ID 0 is written out though it need not be.
#[test]
fn the_examples_of_the_drafts() {
    let examples = [
        // Drafts 14 and 16; the value that is printed is shorter than its length says.
        (&D14, "21 04 c00000008257dcd3 404d 15 'traceID:123456' 00000000000000"),
        (&D16, "21 04 c00000008257dcd3 4049 15 'traceID:123456' 00000000000000"),
        // Draft 18 kept the length, 33, that its own integers make 29.
        (&D18, "1d 04 f08257dcd3 49 15 'traceID:123456' 00000000000000"),
    ];
    for (dialect, properties) in examples {
        let plain = hex("14 02 00 00 00");
        let header = SubgroupHeader {
            track_alias: 2,
            group_id: 0,
            subgroup_id: SubgroupId::Explicit(0),
            publisher_priority: Some(0),
            end_of_group: false,
            first_object: false,
            has_properties: false,
        };
        assert_eq!(SubgroupHeader::decode(dialect, &plain), Ok(Some((header, 5))));
        both(dialect, false, "00 04 'abcd' 00 04 'efgh'", &[object(0, "abcd"), object(1, "efgh")]);

        // Type 0x35 stands for 0x15 with the default priority.
        let (bytes, priority) = match dialect.draft {
            Draft::D14 => (hex("15 02 00 00 00"), Some(0)),
            _ => (hex("35 02 00 00"), None),
        };
        let header =
            SubgroupHeader { has_properties: true, publisher_priority: priority, ..header };
        let read_header = SubgroupHeader::decode(dialect, &bytes);
        assert_eq!(read_header, Ok(Some((header, bytes.len()))));
        let (_, block) = properties.split_at(2);
        both(
            dialect,
            true,
            &format!("00 {properties} 04 'abcd' 00 00 04 'efgh'"),
            &[with(block, object(0, "abcd")), object(1, "efgh")],
        );
        let decoded = Properties::from_wire(dialect, Bytes::from(hex(block)));
        let decoded: Vec<_> = decoded.iter().map(Result::unwrap).collect();
        assert_eq!(decoded[0], moqt_engine::model::Property::int(4, 2_186_796_243));
        assert_eq!(decoded[1].key, 77);
    }
}

/// The priority may be left to the track from draft 16 on.
#[test]
fn draft_14_states_a_priority_in_every_subgroup() {
    for draft in Draft::ALL {
        let header = SubgroupHeader {
            track_alias: 1,
            group_id: 2,
            subgroup_id: SubgroupId::Explicit(0),
            publisher_priority: None,
            end_of_group: false,
            first_object: false,
            has_properties: false,
        };
        let mut out = Vec::new();
        let written = header.encode(draft.dialect(), &mut out);
        if draft >= Draft::D16 {
            assert_eq!((written, &out[..]), (Ok(()), &hex("30 01 02")[..]), "{draft}");
        } else {
            assert_eq!(written, Err(EncodeError::Missing("Publisher Priority")));
            assert_eq!(out, b"", "nothing is written of what is refused");
        }
    }
}
