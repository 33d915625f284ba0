//! Every type value of streams and datagrams, against the drafts' tables and formulas.

use bytes::Bytes;
use moqt_engine::model::{Draft, Location, ObjectStatus, SessionError, SubgroupId};
use moqt_engine::wire::{
    Datagram, DatagramHeader, Fault, Ints, Properties, StreamType, SubgroupHeader,
};

/// More than any type that has a meaning, but for padding.
const CODES: std::ops::Range<u16> = 0..0x3FFF;

/// The `Type (i) = …` line of SUBGROUP_HEADER.
fn is_subgroup(draft: Draft, code: u16) -> bool {
    match draft {
        Draft::D14 => matches!(code, 0x10..=0x15 | 0x18..=0x1D),
        Draft::D16 => matches!(code, 0x10..=0x15 | 0x18..=0x1D | 0x30..=0x35 | 0x38..=0x3D),
        _ => matches!(
            code,
            0x10..=0x15 | 0x18..=0x1D | 0x30..=0x35 | 0x38..=0x3D | 0x50..=0x55 | 0x58..=0x5D
                | 0x70..=0x75 | 0x78..=0x7D
        ),
    }
}

/// The `Type (i) = …` line of OBJECT_DATAGRAM.
fn is_datagram(draft: Draft, code: u16) -> bool {
    match draft {
        Draft::D14 => matches!(code, 0x00..=0x07 | 0x20..=0x21),
        _ => matches!(
            code,
            0x00..=0x0F | 0x20..=0x21 | 0x24..=0x25 | 0x28..=0x29 | 0x2C..=0x2D
        ),
    }
}

/// An integer below 0x4000, by hand.
fn int(draft: Draft, value: u16) -> Vec<u8> {
    let [high, low] = value.to_be_bytes();
    let (longest_single, two_bytes) = if draft >= Draft::D18 { (0x7F, 0x80) } else { (0x3F, 0x40) };
    if value <= longest_single { vec![low] } else { vec![high | two_bytes, low] }
}

#[test]
fn subgroup_headers_have_exactly_the_types_and_fields_of_the_text() {
    let mut valid = 0;
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        for code in CODES {
            let bit = |mask: u16| code & mask != 0;
            let mut bytes = int(draft, code);
            bytes.extend([0x05, 0x09]); // Track Alias, Group ID
            if code & 0x06 == 0x04 {
                bytes.push(0x07); // Subgroup ID
            }
            if !bit(0x20) {
                bytes.push(0xC8); // Publisher Priority
            }
            let len = bytes.len();
            let read = SubgroupHeader::decode(dialect, &bytes);
            if !is_subgroup(draft, code) {
                let error = read.expect_err("a type the draft does not have");
                assert_eq!(error.fault, Fault::UnknownType(code.into()), "{draft}");
                assert_eq!(error.field, "SUBGROUP_HEADER");
                assert_eq!(error.session_error(), SessionError::ProtocolViolation);
                continue;
            }
            valid += 1;
            let header = SubgroupHeader {
                track_alias: 5,
                group_id: 9,
                subgroup_id: match code & 0x06 {
                    0x00 => SubgroupId::Explicit(0),
                    0x02 => SubgroupId::FirstObjectId,
                    _ => SubgroupId::Explicit(7),
                },
                publisher_priority: if bit(0x20) { None } else { Some(0xC8) },
                end_of_group: bit(0x08),
                first_object: bit(0x40),
                has_properties: bit(0x01),
            };
            assert_eq!(read, Ok(Some((header, len))), "{draft} 0x{code:x}");
            for cut in 0..len {
                let read = SubgroupHeader::decode(dialect, &bytes[..cut]);
                assert_eq!(read, Ok(None), "{draft} 0x{code:x} cut to {cut}");
            }
            let mut written = Vec::new();
            assert_eq!(header.encode(dialect, &mut written), Ok(()));
            assert_eq!(written, bytes, "{draft} 0x{code:x}");
        }
    }
    // 12 in draft 14 ("There are 12 defined Type values"), twice and four times that after.
    assert_eq!(valid, 12 + 24 + 48);
}

#[test]
fn datagrams_have_exactly_the_types_and_fields_of_the_text() {
    let mut valid = 0;
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        for code in CODES {
            let bit = |mask: u16| code & mask != 0;
            let has_status = bit(0x20);
            // Only normal objects have properties, from draft 16 on.
            let status = if bit(0x01) && draft != Draft::D14 { 0x00 } else { 0x03 };
            let mut bytes = int(draft, code);
            bytes.extend([0x05, 0x09]); // Track Alias, Group ID
            if !bit(0x04) {
                bytes.push(0x0B); // Object ID
            }
            if !bit(0x08) || draft == Draft::D14 {
                bytes.push(0xC8); // Publisher Priority
            }
            if bit(0x01) {
                bytes.extend([0x02, 0x3C, 0x01]); // Properties Length, a property 0x3c: 1
            }
            if has_status {
                bytes.push(status);
            } else {
                bytes.extend(b"payload");
            }
            let bytes = Bytes::from(bytes);
            let read = Datagram::decode(dialect, &bytes, 100);
            if !is_datagram(draft, code) {
                let error = read.expect_err("a type the draft does not have");
                assert_eq!(error.fault, Fault::UnknownType(code.into()), "{draft}");
                assert_eq!(error.field, "Datagram Type");
                assert_eq!(error.session_error(), SessionError::ProtocolViolation);
                continue;
            }
            valid += 1;
            let header = DatagramHeader {
                track_alias: 5,
                location: Location::new(9, if bit(0x04) { 0 } else { 11 }),
                publisher_priority: (!bit(0x08)).then_some(0xC8),
                end_of_group: bit(0x02),
                status: if has_status && status == 0x03 {
                    ObjectStatus::EndOfGroup
                } else {
                    ObjectStatus::Normal
                },
                properties: Properties::from_wire(
                    dialect,
                    Bytes::from_static(if bit(0x01) { b"\x3C\x01" } else { b"" }),
                ),
            };
            let Ok(Datagram::Object(object)) = read else {
                panic!("{draft} 0x{code:x}: {read:?}");
            };
            assert_eq!(object.header, header, "{draft} 0x{code:x}");
            let payload: &[u8] = if has_status { b"" } else { b"payload" };
            assert_eq!(object.payload, payload, "{draft} 0x{code:x}");
            if has_status && header.status == ObjectStatus::Normal {
                continue; // A normal object without payload is written without a status.
            }
            let mut written = Vec::new();
            assert_eq!(header.encode(dialect, payload.len(), &mut written), Ok(()));
            written.extend(payload);
            assert_eq!(written, bytes, "{draft} 0x{code:x}");
        }
    }
    // 10 in draft 14 ("There are 10 defined Type values"), 24 after.
    assert_eq!(valid, 10 + 24 + 24);
}

#[test]
fn unidirectional_streams_have_exactly_the_types_of_the_text() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        for code in CODES {
            let bytes = int(draft, code);
            let expected = match code {
                0x05 => Some(StreamType::Fetch),
                0x2F00 if draft >= Draft::D18 => Some(StreamType::Control),
                _ if is_subgroup(draft, code) => Some(StreamType::Subgroup),
                _ => None,
            };
            match (StreamType::decode(dialect, &bytes), expected) {
                (Ok(Some(found)), Some(kind)) => assert_eq!(found, (kind, bytes.len())),
                (Err(error), None) => {
                    assert_eq!(error.fault, Fault::UnknownType(code.into()));
                    assert_eq!(error.field, "Stream Type");
                    assert_eq!(error.session_error(), SessionError::ProtocolViolation);
                }
                other => panic!("{draft} 0x{code:x}: {other:?}"),
            }
            assert_eq!(StreamType::decode(dialect, &bytes[..bytes.len() - 1]), Ok(None));
        }
    }
}

#[test]
fn padding_is_draft_18s_alone() {
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        let (stream, datagram): (&[u8], &'static [u8]) = match dialect.ints {
            Ints::Vi64 => (b"\xF0\x13\x2B\x3E\x28", b"\xF0\x13\x2B\x3E\x29\x00\x00"),
            Ints::Quic => (b"\x93\x2B\x3E\x28", b"\x93\x2B\x3E\x29\x00\x00"),
        };
        let stream = StreamType::decode(dialect, stream);
        let read = Datagram::decode(dialect, &Bytes::from_static(datagram), 100);
        if draft >= Draft::D18 {
            assert_eq!(stream, Ok(Some((StreamType::Padding, 5))));
            assert_eq!(read, Ok(Datagram::Padding));
        } else {
            assert_eq!(stream.map_err(|e| e.fault), Err(Fault::UnknownType(0x132B_3E28)));
            assert_eq!(read.map_err(|e| e.fault), Err(Fault::UnknownType(0x132B_3E29)));
        }
    }
}
