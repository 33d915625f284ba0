//! What holds for every vector of a control message.

use bytes::Bytes;
use moqt_engine::model::{Message, MessageKind, SessionError};
use moqt_engine::wire::{ControlReader, DecodeError, Dialect, Fault, encode_message};

use super::{D14, D16, D18, Vector, all};

fn decode(dialect: &'static Dialect, bytes: &[u8]) -> Result<Option<Message>, DecodeError> {
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::copy_from_slice(bytes));
    let message = reader.next_message();
    if let Ok(Some(_)) = message {
        assert!(!reader.is_mid_message(), "bytes left over");
    }
    message
}

/// Type, offset of the length field, of a vector's bytes.
fn header(vector: &Vector) -> (MessageKind, usize) {
    let (code, len) = vector.dialect.ints.decode(&vector.bytes).unwrap();
    (vector.dialect.message_kind(code).unwrap(), len)
}

/// The same message with its body cut to `len` bytes, or with bytes added, and the length field
/// to match.
fn with_body(vector: &Vector, body: &[u8]) -> Vec<u8> {
    let (_, at) = header(vector);
    let mut bytes = vector.bytes[..at].to_vec();
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

fn body(vector: &Vector) -> &[u8] {
    &vector.bytes[header(vector).1 + 2..]
}

/// Whether the draft lets the last field of this message be shorter or absent.
fn has_open_tail(vector: &Vector) -> bool {
    use MessageKind as Kind;
    let kind = header(vector).0;
    match vector.dialect.draft.number() {
        14 => false,
        // Track Extensions.
        16 => matches!(kind, Kind::SubscribeOk | Kind::Publish | Kind::FetchOk),
        // Track Properties; Setup Options; GOAWAY's Request ID.
        _ => matches!(
            kind,
            Kind::SubscribeOk
                | Kind::Publish
                | Kind::FetchOk
                | Kind::RequestOk
                | Kind::Setup
                | Kind::Goaway
        ),
    }
}

#[test]
fn the_length_field_of_every_vector_is_right() {
    for vector in all() {
        let (_, at) = header(&vector);
        let length = u16::from_be_bytes([vector.bytes[at], vector.bytes[at + 1]]);
        assert_eq!(usize::from(length), body(&vector).len(), "{}", name(&vector));
    }
}

#[test]
fn every_vector_is_read() {
    for vector in all() {
        let read = decode(vector.dialect, &vector.bytes);
        assert_eq!(read.as_ref(), Ok(&Some(vector.value.clone())), "{}", name(&vector));
    }
}

#[test]
fn every_vector_is_written() {
    for vector in all().into_iter().filter(|vector| vector.written) {
        let mut bytes = b"before".to_vec();
        let result = match (&vector.value, header(&vector).0) {
            (Message::Setup(setup), MessageKind::ServerSetup) => {
                vector.dialect.encode_server_setup(setup, &mut bytes)
            }
            (message, _) => encode_message(vector.dialect, message, &mut bytes),
        };
        assert_eq!(result, Ok(()), "{}", name(&vector));
        assert_eq!(&bytes[..6], b"before", "{}", name(&vector));
        assert_eq!(hex(&bytes[6..]), hex(&vector.bytes), "{}", name(&vector));
    }
}

/// "If the length does not match the length of the Message Payload, the receiver MUST close the
/// session with PROTOCOL_VIOLATION."
#[test]
fn a_body_cut_anywhere_is_refused() {
    let mut cuts = 0;
    for vector in all() {
        for len in 0..body(&vector).len() {
            let cut = with_body(&vector, &body(&vector)[..len]);
            match decode(vector.dialect, &cut) {
                Err(error) => {
                    assert_eq!(error.session_error(), SessionError::ProtocolViolation);
                    assert_eq!(error.fault, Fault::Truncated, "{} at {len}", name(&vector));
                    cuts += 1;
                }
                Ok(message) => {
                    assert!(has_open_tail(&vector), "{} cut to {len}", name(&vector));
                    // Only what is ignored can be cut off without a difference.
                    let same = message == Some(vector.value.clone());
                    assert!(!same || !vector.written, "{} cut to {len}", name(&vector));
                }
            }
        }
    }
    assert!(cuts > 1_000, "only {cuts} cuts were refused");
}

#[test]
fn bytes_after_the_last_field_are_refused() {
    for vector in all() {
        let long = with_body(&vector, &[body(&vector), &[0]].concat());
        let read = decode(vector.dialect, &long);
        if let Message::Goaway(goaway) = &vector.value
            && vector.dialect.goaway_timeout
            && goaway.request_id.is_none()
        {
            // The byte is the Request ID.
            assert!(read.is_ok(), "{}", name(&vector));
            continue;
        }
        let error = read.expect_err(name(&vector));
        assert_eq!(error.session_error(), SessionError::ProtocolViolation, "{}", name(&vector));
        if !has_open_tail(&vector) {
            assert_eq!(error.fault, Fault::Trailing, "{}", name(&vector));
        }
    }
}

/// A message whose bytes have not all come is no message yet, and no error.
#[test]
fn the_reader_waits_for_the_rest_wherever_the_bytes_end() {
    for vector in all() {
        for len in 0..vector.bytes.len() {
            let mut reader = ControlReader::new(vector.dialect);
            reader.push(Bytes::copy_from_slice(&vector.bytes[..len]));
            assert_eq!(reader.next_message(), Ok(None), "{} at {len}", name(&vector));
            assert_eq!(reader.is_mid_message(), len > 0, "{} at {len}", name(&vector));
            reader.push(Bytes::copy_from_slice(&vector.bytes[len..]));
            let message = reader.next_message();
            assert_eq!(message.as_ref(), Ok(&Some(vector.value.clone())), "{}", name(&vector));
            assert!(!reader.is_mid_message(), "{}", name(&vector));
        }
    }
}

/// The message types that each draft's table lists; draft 18's table has a PUBLISH_OK, 0x1E, that
/// its text has replaced with REQUEST_OK.
#[test]
fn there_is_a_vector_for_every_message() {
    let tables: [(&Dialect, &[u64]); 3] = [
        (
            &D14,
            &[
                0x20, 0x21, 0x10, 0x15, 0x1A, 0x03, 0x04, 0x05, 0x02, 0x0A, 0x0B, 0x1D, 0x1E, 0x1F,
                0x16, 0x18, 0x19, 0x17, 0x0D, 0x0E, 0x0F, 0x06, 0x07, 0x08, 0x09, 0x0C, 0x11, 0x12,
                0x13, 0x14,
            ],
        ),
        (
            &D16,
            &[
                0x20, 0x21, 0x10, 0x15, 0x1A, 0x07, 0x05, 0x03, 0x04, 0x02, 0x0A, 0x1D, 0x1E, 0x0B,
                0x16, 0x18, 0x17, 0x0D, 0x06, 0x08, 0x09, 0x0E, 0x0C, 0x11,
            ],
        ),
        (
            &D18,
            &[
                0x2F00, 0x10, 0x03, 0x04, 0x1D, 0x0B, 0x16, 0x18, 0x0D, 0x06, 0x50, 0x51, 0x08,
                0x0E, 0x0F, 0x02, 0x07, 0x05,
            ],
        ),
    ];
    let vectors = all();
    for (dialect, codes) in tables {
        for code in codes {
            assert!(
                vectors.iter().any(|vector| vector.dialect.draft == dialect.draft
                    && dialect.ints.decode(&vector.bytes).unwrap().0 == *code),
                "{} 0x{code:x}",
                dialect.draft
            );
        }
        // "An endpoint that receives an unknown message type MUST close the session."
        for code in (0..0x4000_u64).filter(|code| !codes.contains(code)) {
            let (bytes, len) = dialect.ints.encode(code).unwrap();
            let error = decode_unknown(dialect.draft.dialect(), &bytes[..len]);
            assert_eq!(error.fault, Fault::UnknownType(code), "{}", dialect.draft);
            assert_eq!(error.field, "Message Type");
            assert_eq!(error.session_error(), SessionError::ProtocolViolation);
        }
    }
}

fn decode_unknown(dialect: &'static Dialect, bytes: &[u8]) -> DecodeError {
    decode(dialect, bytes).expect_err("an unknown type")
}

fn name(vector: &Vector) -> &'static str {
    vector.name
}

fn hex(bytes: &[u8]) -> String {
    format!("{bytes:02x?}")
}
