//! Objects in datagrams. Their types are tried one by one in `types`.

use moqt_engine::model::{Draft, Location, ObjectStatus as Status, SessionError};
use moqt_engine::wire::{Datagram, DatagramHeader, DecodeError, Dialect, Fault, Properties};

use super::{Bytes, D14, D16, D18, hex};

fn read(dialect: &Dialect, text: &str) -> Result<(DatagramHeader, Bytes), DecodeError> {
    match Datagram::decode(dialect, &Bytes::from(hex(text)), 100)? {
        Datagram::Object(object) => Ok((object.header, object.payload)),
        Datagram::Padding => panic!("no object"),
    }
}

fn header(group: u64, object: u64) -> DatagramHeader {
    DatagramHeader {
        track_alias: 2,
        location: Location::new(group, object),
        publisher_priority: Some(0x80),
        end_of_group: false,
        status: Status::Normal,
        properties: Properties::EMPTY,
    }
}

fn both(dialect: &Dialect, text: &str, header: &DatagramHeader, payload: &'static str) {
    let context = format!("{} {text}", dialect.draft);
    let payload = Bytes::from_static(payload.as_bytes());
    assert_eq!(read(dialect, text), Ok((header.clone(), payload.clone())), "{context}");
    let mut written = Vec::new();
    assert_eq!(header.encode(dialect, payload.len(), &mut written), Ok(()), "{context}");
    written.extend(payload);
    assert_eq!(written, hex(text), "{context}");
}

fn refuse(dialect: &Dialect, text: &str, fault: Fault, field: &str) {
    let context = format!("{} {text}", dialect.draft);
    let error = read(dialect, text).expect_err(&context);
    assert_eq!((error.fault, error.field), (fault, field), "{context}");
    assert_eq!(error.session_error(), SessionError::ProtocolViolation, "{context}");
}

#[test]
fn the_whole_rest_is_payload() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        both(dialect, "00 02 05 07 80 'payload'", &header(5, 7), "payload");
        // An object may be empty, and normal without saying so.
        both(dialect, "00 02 05 07 80", &header(5, 7), "");
        both(dialect, "04 02 05 80 'p'", &header(5, 0), "p");
        let last = DatagramHeader { end_of_group: true, ..header(5, 7) };
        both(dialect, "02 02 05 07 80 'p'", &last, "p");
        let extended = DatagramHeader {
            properties: Properties::from_wire(dialect, Bytes::from_static(b"\x3c\x01")),
            ..header(5, 7)
        };
        both(dialect, "01 02 05 07 80 02 3c01 'p'", &extended, "p");
    }
    let inherited = DatagramHeader { publisher_priority: None, ..header(5, 7) };
    both(&D16, "08 02 05 07 'p'", &inherited, "p");
    both(&D18, "08 02 05 07 'p'", &inherited, "p");
    assert!(inherited.encode(&D14, 1, &mut Vec::new()).is_err());
    // The longest integers.
    both(&D16, "00 02 ffffffffffffffff 07 80 'p'", &header((1 << 62) - 1, 7), "p");
    both(&D18, "00 02 ffffffffffffffffff 07 80 'p'", &header(u64::MAX, 7), "p");
}

#[test]
fn a_status_takes_the_place_of_the_payload() {
    let ended = |object| DatagramHeader { status: Status::EndOfGroup, ..header(5, object) };
    for draft in Draft::ALL {
        both(draft.dialect(), "20 02 05 07 80 03", &ended(7), "");
        let track = DatagramHeader { status: Status::EndOfTrack, ..header(5, 7) };
        both(draft.dialect(), "20 02 05 07 80 04", &track, "");
        // "there is no Object Payload"
        refuse(draft.dialect(), "20 02 05 07 80 03 00", Fault::Trailing, "Object Status");
        // A normal object may be written so, too.
        let normal = Ok((header(5, 7), Bytes::new()));
        assert_eq!(read(draft.dialect(), "20 02 05 07 80 00"), normal);
    }
    // Draft 14 has no type for a status without an object ID.
    both(&D14, "20 02 05 00 80 03", &ended(0), "");
    both(&D16, "24 02 05 80 03", &ended(0), "");
    both(&D18, "24 02 05 80 03", &ended(0), "");
    let inherited = DatagramHeader { publisher_priority: None, ..ended(0) };
    both(&D16, "2c 02 05 03", &inherited, "");
    both(&D18, "2c 02 05 03", &inherited, "");
    let gone = DatagramHeader { status: Status::DoesNotExist, ..header(5, 7) };
    both(&D14, "20 02 05 07 80 01", &gone, "");
    // "An object status message cannot signal end of group."
    let both_ends = DatagramHeader { end_of_group: true, ..ended(7) };
    for draft in Draft::ALL {
        assert!(both_ends.encode(draft.dialect(), 0, &mut Vec::new()).is_err());
        assert!(ended(7).encode(draft.dialect(), 1, &mut Vec::new()).is_err());
    }
    for (dialect, code) in [(&D14, 2), (&D14, 5), (&D16, 1), (&D16, 2), (&D18, 1), (&D18, 5)] {
        let text = format!("20 02 05 07 80 {code:02x}");
        refuse(dialect, &text, Fault::OutOfRange(code), "Object Status");
    }
}

#[test]
fn properties_are_not_empty_and_on_normal_objects_only() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        refuse(dialect, "01 02 05 07 80 00 'p'", Fault::OutOfRange(0), "Properties Length");
        let over = if draft >= Draft::D18 { "65" } else { "4065" };
        let too_long = Fault::TooLong { max: 100 };
        refuse(dialect, &format!("01 02 05 07 80 {over} 'p'"), too_long, "Properties");
        refuse(dialect, "01 02 05 07 80 02 3c", Fault::Truncated, "Properties");
    }
    let properties = Properties::from_wire(&D14, Bytes::from_static(b"\x3c\x01"));
    let ended = DatagramHeader { status: Status::EndOfGroup, properties, ..header(5, 7) };
    both(&D14, "21 02 05 07 80 02 3c01 03", &ended, "");
    let field = "Properties of an object without payload";
    refuse(&D14, "21 02 05 07 80 02 3c01 01", Fault::NotAllowed, field);
    refuse(&D16, "21 02 05 07 80 02 3c01 03", Fault::NotAllowed, field);
    refuse(&D18, "21 02 05 07 80 02 3c01 03", Fault::NotAllowed, field);
    refuse(&D18, "25 02 05 80 02 3c01 04", Fault::NotAllowed, field);
    assert!(ended.encode(&D16, 0, &mut Vec::new()).is_err());
}

#[test]
fn a_datagram_that_ends_in_its_header_is_refused() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        // Type, alias, group, object, priority, properties, status: 9 bytes.
        let whole = "21 02 05 07 80 02 3c01 00";
        assert!(read(dialect, whole).is_ok());
        for cut in 0..hex(whole).len() {
            let data = Bytes::from(hex(whole)).slice(..cut);
            let error = Datagram::decode(dialect, &data, 100).expect_err("a header cut off");
            assert_eq!(error.fault, Fault::Truncated, "cut at {cut}");
            assert_eq!(error.session_error(), SessionError::ProtocolViolation);
        }
    }
}
