//! Control messages that a draft says to close the session for.

use bytes::Bytes;
use moqt_engine::model::{Draft, Message, NameError, SessionError};
use moqt_engine::wire::{ControlReader, DecodeError, Dialect, Fault, MAX_CONTROL_HEADER_LEN};

use super::{D14, D16, D18, hex};

const PARAMETER: &str = "Message Parameter";
const OPTION: &str = "Setup Option";
const PROPERTIES: &str = "Track Properties";

/// Reads a message of this type, whose length field is added here.
fn read(dialect: &'static Dialect, code: &str, body: &[u8]) -> Result<Message, DecodeError> {
    let mut bytes = hex(code);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::from(bytes));
    reader.next_message().map(|message| message.expect("a whole message"))
}

/// The body is refused with this fault, in this field, and PROTOCOL_VIOLATION.
fn refuse(dialect: &'static Dialect, code: &str, body: &str, fault: Fault, field: &str) {
    refuse_with(dialect, code, &hex(body), fault, field, SessionError::ProtocolViolation);
}

fn refuse_with(
    dialect: &'static Dialect,
    code: &str,
    body: &[u8],
    fault: Fault,
    field: &str,
    session_error: SessionError,
) {
    let context = format!("{} type {code} body {:02x?}", dialect.draft, shown(body));
    let error = read(dialect, code, body).expect_err(&context);
    assert_eq!((error.fault, error.field), (fault, field), "{context}");
    assert_eq!(error.session_error(), session_error, "{context}");
}

fn accept(dialect: &'static Dialect, code: &str, body: &[u8]) {
    let read = read(dialect, code, body);
    assert!(read.is_ok(), "{} type {code} body {body:02x?}: {read:?}", dialect.draft);
}

/// Enough of a body to tell which it is.
fn shown(body: &[u8]) -> &[u8] {
    &body[..body.len().min(32)]
}

// "Message Type (vi64), Message Length (16)" (draft-18, "Control Messages"), and no integer is
// longer than nine bytes ("Variable-Length Integers").
#[test]
fn a_header_is_no_longer_than_type_and_length() {
    assert_eq!(MAX_CONTROL_HEADER_LEN, 9 + 2);
}

// `DecodeError::offset`: where in the body.
#[test]
fn a_refusal_says_where_its_field_begins() {
    for draft in Draft::ALL {
        let goaway = if draft >= Draft::D18 { "000000" } else { "00" };
        let refused = |body: &[u8]| read(draft.dialect(), "10", body).expect_err("refused");
        // A URI of three bytes, and the first two of them.
        let error = refused(&hex("03 'ab'"));
        assert_eq!((error.fault, error.offset), (Fault::Truncated, 1), "{draft}");
        // A whole GOAWAY, and one byte more.
        let mut body = hex(goaway);
        let len = body.len();
        body.push(0xaa);
        let error = refused(&body);
        assert_eq!((error.fault, error.offset), (Fault::Trailing, len), "{draft}");
    }
}

/// A length of 4,097: one more than a name may have.
fn over_4096(draft: Draft) -> &'static str {
    if draft >= Draft::D18 { "9001" } else { "5001" }
}

#[test]
fn namespaces_and_names_have_limits() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        // The count alone is enough: nothing more has to come. Request ID, Number of Fields.
        let too_many = Fault::OutOfRange(33);
        refuse(dialect, "03", "00 21", too_many, "Track Namespace");
        refuse(dialect, "06", "00 21", too_many, "Track Namespace");
        let prefix_code = if draft >= Draft::D18 { "50" } else { "11" };
        refuse(dialect, prefix_code, "00 21", too_many, "Track Namespace");
        if draft >= Draft::D18 {
            refuse(dialect, "51", "00 21", too_many, "Track Namespace");
        }
        // So is a length.
        let long = Fault::TooLong { max: 4096 };
        let length = over_4096(draft);
        refuse(dialect, "03", &format!("00 01 {length}"), long, "Track Namespace");
        refuse(dialect, "03", &format!("00 01 01 'n' {length}"), long, "Track Name");
        // All fields count together.
        let two = |first: usize, second: usize, name: usize| {
            let int = |len: usize| {
                let (bytes, count) = dialect.ints.encode(len as u64).unwrap();
                bytes[..count].to_vec()
            };
            let mut body = vec![0x00, 0x02];
            body.extend([int(first), vec![b'x'; first]].concat());
            body.extend([int(second), vec![b'y'; second]].concat());
            body.extend([int(name), vec![b'z'; name]].concat());
            body
        };
        let too_long = Fault::Name(NameError::TooLong);
        let violation = SessionError::ProtocolViolation;
        refuse_with(dialect, "03", &two(4000, 97, 0), too_long, "Track Namespace", violation);
        refuse_with(dialect, "03", &two(4000, 96, 1), too_long, "Track Name", violation);
        refuse_with(dialect, "03", &two(1, 1, 4095), too_long, "Track Name", violation);
    }
    // What a SUBSCRIBE has after the name, at the very limit.
    let name = |tail: &str| [hex("00 01 01 'n' 4fff"), vec![b'z'; 4095], hex(tail)].concat();
    accept(&D14, "03", &name("80 00 01 02 00"));
    accept(&D16, "03", &name("00"));
    let name = [hex("00 01 01 'n' 8fff"), vec![b'z'; 4095], hex("00")].concat();
    accept(&D18, "03", &name);
}

#[test]
fn namespaces_have_fewest_fields() {
    let none = Fault::OutOfRange(0);
    // Draft 14: "with an N of 0 or more than 32", of namespaces and of prefixes.
    for (code, body) in [("03", "00 00"), ("06", "00 00"), ("11", "00 00"), ("14", "00")] {
        refuse(&D14, code, body, none, "Track Namespace");
    }
    refuse(&D14, "09", "00", none, "Track Namespace");
    refuse(&D14, "0c", "00 00 00", none, "Track Namespace");
    refuse(&D14, "1d", "00 00", none, "Track Namespace");
    refuse(&D14, "16", "00 80 00 01 00", none, "Track Namespace");
    // Draft 16: tracks and published namespaces have at least one, prefixes and suffixes do not.
    for (code, body) in [("03", "00 00"), ("06", "00 00"), ("1d", "00 00"), ("16", "00 01 00")] {
        refuse(&D16, code, body, none, "Track Namespace");
    }
    // Draft 18: "between 0 and 32".
    accept(&D18, "03", &hex("00 00 01 't' 00"));
    accept(&D18, "06", &hex("00 00 00"));
}

#[test]
fn namespace_fields_have_a_byte_from_draft_16_on() {
    let empty = Fault::Name(NameError::EmptyField);
    for dialect in [&D16, &D18] {
        refuse(dialect, "03", "00 02 01 'a' 00 00 00", empty, "Track Namespace");
        refuse(dialect, "06", "00 01 00 00", empty, "Track Namespace");
        refuse(dialect, "08", "01 00", empty, "Track Namespace");
    }
    refuse(&D16, "11", "00 01 00 00 00", empty, "Track Namespace");
    refuse(&D18, "50", "00 01 00 00", empty, "Track Namespace");
    refuse(&D18, "51", "00 01 00 00", empty, "Track Namespace");
    accept(&D14, "06", &hex("00 01 00 00"));
}

#[test]
fn reasons_and_uris_have_limits() {
    let reason = Fault::TooLong { max: 1024 };
    // Everything up to the length of the reason, 1025.
    for code in ["05", "0f", "1f", "19", "08", "13"] {
        refuse(&D14, code, "02 04 4401", reason, "Reason Phrase");
    }
    refuse(&D14, "0c", "01 01 'a' 01 4401", reason, "Reason Phrase");
    refuse(&D14, "0b", "02 00 00 4401", reason, "Reason Phrase");
    refuse(&D16, "05", "02 10 00 4401", reason, "Reason Phrase");
    refuse(&D16, "0c", "02 10 4401", reason, "Reason Phrase");
    refuse(&D16, "0b", "02 00 00 4401", reason, "Reason Phrase");
    refuse(&D18, "05", "10 00 8401", reason, "Reason Phrase");
    refuse(&D18, "0b", "00 00 8401", reason, "Reason Phrase");
    accept(&D14, "05", &[hex("02 04 4400"), vec![b'r'; 1024]].concat());
    accept(&D16, "05", &[hex("02 10 00 4400"), vec![b'r'; 1024]].concat());
    accept(&D18, "05", &[hex("10 00 8400"), vec![b'r'; 1024]].concat());

    let uri = Fault::TooLong { max: 8192 };
    refuse(&D14, "10", "6001", uri, "New Session URI");
    refuse(&D16, "10", "6001", uri, "New Session URI");
    refuse(&D18, "10", "a001", uri, "New Session URI");
    accept(&D14, "10", &[hex("6000"), vec![b'u'; 8192]].concat());
    accept(&D16, "10", &[hex("6000"), vec![b'u'; 8192]].concat());
    accept(&D18, "10", &[hex("a000"), vec![b'u'; 8192], hex("00 00")].concat());
    // A redirect's Connect URI has no limit of its own.
    accept(&D18, "05", &[hex("34 00 00 a001"), vec![b'u'; 8193], hex("00 00")].concat());
}

#[test]
fn values_of_key_value_pairs_have_a_limit() {
    let long = Fault::TooLong { max: 65_535 };
    // Length 65536 of a PATH, and of an unknown option.
    refuse(&D14, "20", "01 c0000000ff00000e 01 01 80010000", long, OPTION);
    refuse(&D14, "20", "01 c0000000ff00000e 01 409d 80010000", long, OPTION);
    refuse(&D16, "20", "01 01 80010000", long, OPTION);
    refuse(&D18, "af00", "01 c10000", long, OPTION);
    refuse(&D18, "af00", "809d c10000", long, OPTION);
    // An unknown parameter of a message, where it would be ignored.
    refuse(&D14, "06", "00 01 01 'a' 01 3d 80010000", long, PARAMETER);
    // A token.
    refuse(&D16, "06", "00 01 01 'a' 01 03 80010000", long, PARAMETER);
    refuse(&D18, "06", "00 01 01 'a' 01 03 c10000", long, PARAMETER);
    // Immutable properties of a track.
    refuse(&D16, "04", "00 09 00 0b 80010000", long, PROPERTIES);
    refuse(&D18, "04", "09 00 0b c10000", long, PROPERTIES);
    // The longest value there is room for in a message: 65535 bytes less what precedes it.
    accept(&D16, "20", &[hex("01 01 8000fff0"), vec![b'p'; 0xfff0]].concat());
    accept(&D18, "af00", &[hex("01 c0fff0"), vec![b'p'; 0xfff0]].concat());
}

#[test]
fn types_do_not_go_past_the_largest_integer() {
    // Draft 16: four differences of 2^62 - 1 make 2^64 - 4. Odd types have a length, even none.
    let four = "ffffffffffffffff 00 ffffffffffffffff 00 ffffffffffffffff 00 ffffffffffffffff 00";
    accept(&D16, "20", &hex(&format!("05 {four} 03 00")));
    refuse(&D16, "20", &format!("05 {four} 04 00"), Fault::Overflow, OPTION);
    accept(&D16, "04", &hex(&format!("00 09 00 {four} 03 00")));
    refuse(&D16, "04", &format!("00 09 00 {four} 04 00"), Fault::Overflow, PROPERTIES);
    // Draft 18: 2^64 - 1, and one more.
    accept(&D18, "af00", &hex("ffffffffffffffffff 00"));
    refuse(&D18, "af00", "ffffffffffffffffff 00 01 00", Fault::Overflow, OPTION);
    accept(&D18, "04", &hex("09 00 ffffffffffffffffff 00"));
    refuse(&D18, "04", "09 00 ffffffffffffffffff 00 01 00", Fault::Overflow, PROPERTIES);
    // OBJECT_DELIVERY_TIMEOUT is 0x02.
    let subscribe = "00 01 01 'n' 01 't' 02 02 05";
    let unknown = Fault::UnknownType(u64::MAX);
    refuse(&D18, "03", &format!("{subscribe} fffffffffffffffffd"), unknown, PARAMETER);
    let overflow = Fault::Overflow;
    refuse(&D18, "03", &format!("{subscribe} fffffffffffffffffe"), overflow, PARAMETER);
    // The last group of a filter: {2, 0} and 2^64 - 2 more.
    let filter = "00 01 01 'n' 01 't' 01 21 0c 04 02 00 fffffffffffffffffe";
    refuse(&D18, "03", filter, overflow, "Subscription Filter");
}

#[test]
fn known_parameters_are_there_once() {
    let twice = Fault::Duplicate;
    refuse(&D14, "03", "00 01 01 'n' 01 't' 80 00 01 02 02 02 05 02 05", twice, PARAMETER);
    // MAX_CACHE_DURATION, which draft 14 has as a parameter.
    refuse(&D14, "04", "00 09 00 01 00 02 04 05 04 05", twice, PARAMETER);
    refuse(&D16, "03", "00 01 01 'n' 01 't' 02 02 05 00 05", twice, PARAMETER);
    refuse(&D18, "03", "00 01 01 'n' 01 't' 02 10 01 00 01", twice, PARAMETER);
    // PATH, MAX_REQUEST_ID, MAX_AUTH_TOKEN_CACHE_SIZE.
    refuse(&D14, "20", "01 c0000000ff00000e 02 01 00 01 00", twice, OPTION);
    refuse(&D14, "21", "c0000000ff00000e 02 02 05 02 06", twice, OPTION);
    refuse(&D16, "20", "02 02 05 00 06", twice, OPTION);
    refuse(&D18, "af00", "04 05 00 06", twice, OPTION);
    // Draft 14's server has one parameter 0x05, whatever it means.
    refuse(&D14, "21", "c0000000ff00000e 02 05 00 05 00", twice, OPTION);
}

#[test]
fn unknown_parameters_are_refused_from_draft_16_on() {
    for (code, unknown) in [("3c 05", 0x3c), ("3d 00", 0x3d), ("00 00", 0x00), ("01 00", 0x01)] {
        let body = format!("00 01 01 'n' 01 't' 01 {code}");
        refuse(&D16, "03", &body, Fault::UnknownType(unknown), PARAMETER);
        refuse(&D18, "03", &body, Fault::UnknownType(unknown), PARAMETER);
        accept(&D14, "03", &hex(&format!("00 01 01 'n' 01 't' 80 00 01 02 01 {code}")));
    }
    // Draft 14's MAX_CACHE_DURATION is no parameter of draft 16.
    refuse(&D16, "18", "00 00 00 00 01 04 05", Fault::UnknownType(0x04), PARAMETER);
}

#[test]
fn parameters_out_of_range() {
    let body = |parameter: &str| format!("00 01 01 'n' 01 't' 01 {parameter}");
    for dialect in [&D16, &D18] {
        for (parameter, value) in [("10 02", 2), ("22 00", 0), ("22 03", 3)] {
            let body = body(parameter);
            refuse(dialect, "03", &body, Fault::OutOfRange(value), PARAMETER);
        }
    }
    // SUBSCRIBER_PRIORITY 256, DELIVERY_TIMEOUT 0.
    refuse(&D16, "03", &body("20 4100"), Fault::OutOfRange(256), PARAMETER);
    refuse(&D16, "03", &body("02 00"), Fault::OutOfRange(0), PARAMETER);
    accept(&D18, "03", &hex(&body("02 00")));
    accept(&D18, "03", &hex(&body("06 00")));
    // Draft 18's are one byte each, whatever its first bits: 128 and 129 are not the beginning of
    // a longer integer.
    refuse(&D18, "03", &body("10 80"), Fault::OutOfRange(128), PARAMETER);
    refuse(&D18, "03", &body("22 81"), Fault::OutOfRange(129), PARAMETER);
    // Filters: a type that is none, too short for their type, too long.
    for dialect in [&D16, &D18] {
        for (filter, value) in [("01 00", 0), ("01 05", 5)] {
            let body = body(&format!("21 {filter}"));
            refuse(dialect, "03", &body, Fault::OutOfRange(value), "Subscription Filter");
        }
        let short = body("21 03 04 01 02");
        refuse(dialect, "03", &short, Fault::Truncated, "Subscription Filter");
        let empty = body("21 00");
        refuse(dialect, "03", &empty, Fault::Truncated, "Subscription Filter");
        refuse(dialect, "03", &body("21 02 02 00"), Fault::Trailing, PARAMETER);
    }
}

#[test]
fn track_properties_out_of_range() {
    let out = Fault::OutOfRange;
    for (dialect, ok, over_255) in [(&D16, "00 09 00", "4100"), (&D18, "09 00", "8100")] {
        // DEFAULT_PUBLISHER_PRIORITY, DEFAULT_PUBLISHER_GROUP_ORDER, DYNAMIC_GROUPS.
        refuse(dialect, "04", &format!("{ok} 0e {over_255}"), out(256), PROPERTIES);
        refuse(dialect, "04", &format!("{ok} 22 00"), out(0), PROPERTIES);
        refuse(dialect, "04", &format!("{ok} 22 03"), out(3), PROPERTIES);
        refuse(dialect, "04", &format!("{ok} 30 02"), out(2), PROPERTIES);
    }
    // DELIVERY_TIMEOUT of 0, an error in draft 16 only.
    refuse(&D16, "04", "00 09 00 02 00", out(0), PROPERTIES);
    accept(&D18, "04", &hex("09 00 02 00"));
    refuse(&D16, "1d", "00 01 01 'n' 00 05 00 30 02", out(2), PROPERTIES);
    refuse(&D16, "18", "00 00 00 00 00 30 02", out(2), PROPERTIES);
    refuse(&D18, "1d", "00 01 01 'n' 00 05 00 30 02", out(2), PROPERTIES);
    refuse(&D18, "18", "00 00 00 00 30 02", out(2), PROPERTIES);
    refuse(&D18, "07", "00 30 02", out(2), PROPERTIES);
}

#[test]
fn tokens_that_cannot_be_decoded_are_formatting_errors() {
    let formatting = SessionError::KeyValueFormattingError;
    let tokens = [
        "00",          // empty
        "01 04",       // Alias Type 4
        "01 00",       // DELETE without an alias
        "03 00 05 00", // DELETE with more than an alias
        "01 01",       // REGISTER without an alias
        "02 01 05",    // REGISTER without a type
        "01 02",       // USE_ALIAS without an alias
        "03 02 05 00", // USE_ALIAS with more than an alias
        "01 03",       // USE_VALUE without a type
    ];
    for token in tokens {
        for draft in Draft::ALL {
            let dialect = draft.dialect();
            let body = hex(&format!("00 01 01 'a' 01 03 {token}"));
            let field = "AUTHORIZATION_TOKEN";
            refuse_with(dialect, "06", &body, Fault::Formatting, field, formatting);
            let (code, setup) = match draft {
                Draft::D14 => ("20", format!("01 c0000000ff00000e 01 03 {token}")),
                Draft::D16 => ("21", format!("01 03 {token}")),
                _ => ("af00", format!("03 {token}")),
            };
            refuse_with(dialect, code, &hex(&setup), Fault::Formatting, field, formatting);
        }
    }
}

/// Draft 16's LARGEST_OBJECT is a key-value pair whose value is a Location.
#[test]
fn a_largest_object_that_is_no_location_is_a_formatting_error() {
    for value in ["00", "01 05", "03 05 06 00"] {
        let body = hex(&format!("00 09 01 09 {value}"));
        let formatting = SessionError::KeyValueFormattingError;
        refuse_with(&D16, "04", &body, Fault::Formatting, PARAMETER, formatting);
    }
}

#[test]
fn fixed_fields_of_draft_14_out_of_range() {
    let out = Fault::OutOfRange;
    // SUBSCRIBE and TRACK_STATUS: Group Order, Forward, Filter Type.
    for code in ["03", "0d"] {
        refuse(&D14, code, "00 01 01 'n' 00 80 03 01 02 00", out(3), "Group Order");
        refuse(&D14, code, "00 01 01 'n' 00 80 00 02 02 00", out(2), "Forward");
        refuse(&D14, code, "00 01 01 'n' 00 80 00 01 00 00", out(0), "Subscription Filter");
        refuse(&D14, code, "00 01 01 'n' 00 80 00 01 05 00", out(5), "Subscription Filter");
    }
    // SUBSCRIBE_OK and TRACK_STATUS_OK: Group Order, Content Exists.
    for code in ["04", "0e"] {
        refuse(&D14, code, "00 09 00 00 00 00", out(0), "Group Order");
        refuse(&D14, code, "00 09 00 03 00 00", out(3), "Group Order");
        refuse(&D14, code, "00 09 00 01 02 00", out(2), "Content Exists");
    }
    // PUBLISH: Group Order, Content Exists, Forward.
    refuse(&D14, "1d", "00 01 01 'n' 00 05 00 00 01 00", out(0), "Group Order");
    refuse(&D14, "1d", "00 01 01 'n' 00 05 03 00 01 00", out(3), "Group Order");
    refuse(&D14, "1d", "00 01 01 'n' 00 05 01 02 01 00", out(2), "Content Exists");
    refuse(&D14, "1d", "00 01 01 'n' 00 05 01 00 02 00", out(2), "Forward");
    // PUBLISH_OK: Forward, Group Order, Filter Type.
    refuse(&D14, "1e", "00 02 80 01 02 00", out(2), "Forward");
    refuse(&D14, "1e", "00 01 80 00 02 00", out(0), "Group Order");
    refuse(&D14, "1e", "00 01 80 03 02 00", out(3), "Group Order");
    refuse(&D14, "1e", "00 01 80 01 05 00", out(5), "Subscription Filter");
    // SUBSCRIBE_UPDATE: an end group, plus 1, before that of the start; Forward.
    refuse(&D14, "02", "04 00 07 00 07 80 01 00", out(6), "End Group");
    refuse(&D14, "02", "04 00 07 00 00 80 02 00", out(2), "Forward");
    // FETCH and FETCH_OK: Group Order.
    refuse(&D14, "16", "00 80 03 02 00 00 00", out(3), "Group Order");
    refuse(&D14, "18", "00 00 00 00 00 00", out(0), "Group Order");
    refuse(&D14, "18", "00 03 00 00 00 00", out(3), "Group Order");
}

#[test]
fn fetch_types_are_three() {
    for (kind, value) in [("00", 0), ("04", 4)] {
        let field = "Fetch Type";
        refuse(&D14, "16", &format!("00 80 00 {kind}"), Fault::OutOfRange(value), field);
        refuse(&D16, "16", &format!("00 {kind}"), Fault::OutOfRange(value), field);
        refuse(&D18, "16", &format!("00 {kind}"), Fault::OutOfRange(value), field);
    }
}

/// The end of a range before its start makes the request fail, not the session: draft 14's
/// INVALID_RANGE is "The end of the SUBSCRIBE range is earlier than the beginning", draft 16's
/// "specified Filter or range of Locations cannot be satisfied".
#[test]
fn an_end_before_the_start_is_for_the_request_to_refuse() {
    // AbsoluteRange from {5, 0} to group 4.
    accept(&D14, "03", &hex("00 01 01 'n' 00 80 00 01 04 05 00 04 00"));
    accept(&D16, "03", &hex("00 01 01 'n' 00 01 21 04 04 05 00 04"));
    // FETCH from {5, 0} to {4, 0}.
    accept(&D14, "16", &hex("00 80 00 01 01 01 'n' 00 05 00 04 00 00"));
    accept(&D16, "16", &hex("00 01 01 01 'n' 00 05 00 04 00 00"));
    accept(&D18, "16", &hex("00 01 01 01 'n' 00 05 00 04 00 00"));
}

/// A redirect comes with the code REDIRECT, and with no other.
#[test]
fn redirects_come_with_their_code() {
    let redirect = "00 00 00";
    let error = read(&D18, "05", &hex(&format!("10 00 00 {redirect}"))).unwrap_err();
    assert_eq!((error.fault, error.field), (Fault::Trailing, "REQUEST_ERROR"));
    let error = read(&D18, "05", &hex("34 00 00")).unwrap_err();
    assert_eq!((error.fault, error.field), (Fault::Truncated, "Connect URI"));
}
