//! Each row of the table above, so that it cannot grow stale: what the other codec does, and what
//! we do instead.

use bytes::Bytes;
use moqt_conformance::bytes as hex;
use moqt_engine::draft::{D14, D16, D18};
use moqt_engine::model::{GroupOrder, Message};
use moqt_engine::wire::{
    ControlReader, DecodeError, Dialect, Fault, FetchEvent, FetchReader, SubgroupEvent,
    SubgroupReader,
};
use moqtap_codec::{draft14, draft16, draft18};

/// Reads a message of this type, whose length field is added here: the bytes, and what we make
/// of them.
fn read(
    dialect: &'static Dialect,
    code: u8,
    body: &str,
) -> (Vec<u8>, Result<Message, DecodeError>) {
    let body = hex(body);
    let mut bytes = vec![code];
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::from(bytes.clone()));
    let message = reader.next_message().map(|message| message.expect("a whole message"));
    (bytes, message)
}

/// The first error on a fetch stream, if there is one.
fn fetch_fault(dialect: &'static Dialect, text: &str) -> Option<Fault> {
    let mut reader = FetchReader::new(dialect, GroupOrder::Ascending, 100);
    let bytes = hex(text);
    let mut input = &bytes[..];
    loop {
        match reader.next(&mut input) {
            Ok(FetchEvent::NeedMore) => return None,
            Ok(_) => {}
            Err(error) => return Some(error.fault),
        }
    }
}

#[test]
fn types_above_62_bits_in_draft_16() {
    // Four differences of 2^62 - 1, the limit being 2^64 - 1.
    let four = "ffffffffffffffff 00 ffffffffffffffff 00 ffffffffffffffff 00 ffffffffffffffff 00";
    let (bytes, ours) = read(&D16, 0x04, &format!("00 09 00 {four}"));
    assert!(ours.is_ok());
    assert!(draft16::message::ControlMessage::decode(&mut &bytes[..]).is_err());
}

#[test]
fn object_ids_above_62_bits_in_draft_18() {
    let object = hex("ffffffffffffffffff 01 'a'");
    let mut reader = SubgroupReader::new(&D18, false, 100);
    let event = reader.next(&mut &object[..]);
    assert!(matches!(event, Ok(SubgroupEvent::Object { object_id: u64::MAX, .. })));
    let header = draft18::data_stream::SubgroupHeader::decode(&mut &hex("10 02 00 80")[..]);
    let mut theirs = draft18::data_stream::SubgroupObjectReader::new(&header.unwrap());
    assert!(theirs.read_object(&mut &object[..]).is_err());
}

#[test]
fn ranges_that_end_before_they_start() {
    let (bytes, ours) = read(&D14, 0x03, "00 01 01 'n' 00 80 00 01 04 05 00 04 00");
    assert!(ours.is_ok());
    assert!(draft14::message::ControlMessage::decode(&mut &bytes[..]).is_err());
    let (bytes, ours) = read(&D14, 0x16, "00 80 00 01 01 01 'n' 00 05 00 04 00 00");
    assert!(ours.is_ok());
    assert!(draft14::message::ControlMessage::decode(&mut &bytes[..]).is_err());
    let (bytes, ours) = read(&D16, 0x16, "00 01 01 01 'n' 00 05 00 04 00 00");
    assert!(ours.is_ok());
    assert!(draft16::message::ControlMessage::decode(&mut &bytes[..]).is_err());
    let (bytes, ours) = read(&D18, 0x16, "00 01 01 01 'n' 00 05 00 04 00 00");
    assert!(ours.is_ok());
    assert!(draft18::message::ControlMessage::decode(&mut &bytes[..]).is_err());
}

/// Reads every object of a draft-16 fetch stream whose objects have no payload.
fn theirs_16(text: &str) -> Option<draft16::data_stream::FetchObjectLocation> {
    let bytes = hex(text);
    let mut input = &bytes[..];
    let mut reader = draft16::data_stream::FetchObjectReader::new();
    let mut last = None;
    while !input.is_empty() {
        let header = draft16::data_stream::FetchObjectHeader::decode(&mut input).ok()?;
        last = Some(reader.resolve(&header).ok()?);
    }
    last
}

#[test]
fn references_that_have_nothing_to_refer_to_in_draft_16() {
    // The first object, without a priority.
    assert_eq!(theirs_16("0c 05 02 00").unwrap().publisher_priority, None);
    assert_eq!(fetch_fault(&D16, "0c 05 02 00"), Some(Fault::NoPrior));
    // Subgroup and priority of a prior object, where there has been but a range.
    assert_eq!(theirs_16("408c 04 09 00  01 00").unwrap().subgroup_id, Some(0));
    assert_eq!(fetch_fault(&D16, "408c 04 09  01 00"), Some(Fault::NoPrior));
}

#[test]
fn an_end_of_range_has_no_payload_length() {
    // The third field is the next object's flags: a datagram without a group, of priority 128.
    assert_eq!(fetch_fault(&D16, "408c 04 09  4050 80 00"), None);
    assert_eq!(theirs_16("408c 04 09  4050 80 00"), None);
    assert_eq!(fetch_fault(&D18, "808c 04 09  50 80 00"), None);
    let bytes = hex("808c 04 09  50 80 00");
    let mut input = &bytes[..];
    let order = draft18::data_stream::GroupOrder::Ascending;
    let mut theirs = draft18::data_stream::FetchObjectReader::new(order);
    let range = theirs.read_object_header(&mut input).unwrap();
    assert_eq!(range.header.payload_length.into_inner(), 0x50);
}

#[test]
fn the_subgroup_of_an_object_that_was_a_datagram() {
    let text = "1f 05 07 02 80 00  40 00  01 00";
    assert_eq!(fetch_fault(&D18, text), Some(Fault::NoPrior));
    let bytes = hex(text);
    let mut input = &bytes[..];
    let order = draft18::data_stream::GroupOrder::Ascending;
    let mut theirs = draft18::data_stream::FetchObjectReader::new(order);
    let subgroups: Vec<_> =
        (0..3).map(|_| theirs.read_object_header(&mut input).unwrap().subgroup_id).collect();
    assert_eq!(subgroups, [Some(7), None, Some(7)]);
    // On draft 16 both refuse it.
    let text = "1f 05 07 02 80 00  4040 00  01 00";
    assert_eq!(fetch_fault(&D16, text), Some(Fault::NoPrior));
    assert_eq!(theirs_16(text), None);
}

#[test]
fn a_publisher_priority_above_255() {
    let (bytes, ours) = read(&D16, 0x04, "00 09 00 0e 4100");
    assert_eq!(ours.map_err(|error| error.fault), Err(Fault::OutOfRange(256)));
    assert!(draft16::message::ControlMessage::decode(&mut &bytes[..]).is_ok());
    let (bytes, ours) = read(&D18, 0x04, "09 00 0e 8100");
    assert_eq!(ours.map_err(|error| error.fault), Err(Fault::OutOfRange(256)));
    assert!(draft18::message::ControlMessage::decode(&mut &bytes[..]).is_ok());
}

#[test]
fn parameters_that_are_not_for_their_message_in_draft_16() {
    // EXPIRES in a SUBSCRIBE.
    let (bytes, ours) = read(&D16, 0x03, "00 01 01 'n' 00 01 08 05");
    let Ok(Message::Subscribe(ours)) = ours else { panic!("{ours:?}") };
    assert_eq!(ours.parameters.expires, None);
    match draft16::message::ControlMessage::decode(&mut &bytes[..]) {
        Ok(draft16::message::ControlMessage::Subscribe(read)) => {
            assert_eq!(read.parameters.len(), 1);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn properties_beside_a_status() {
    let object = hex("00 02 3c01 00 03");
    let mut reader = SubgroupReader::new(&D18, true, 100);
    let fault = reader.next(&mut &object[..]).map_err(|error| error.fault);
    assert_eq!(fault, Err(Fault::NotAllowed));
    let header = draft18::data_stream::SubgroupHeader::decode(&mut &hex("11 02 00 80")[..]);
    let mut theirs = draft18::data_stream::SubgroupObjectReader::new(&header.unwrap());
    let read = theirs.read_object(&mut &object[..]).unwrap();
    assert!(!read.properties_permitted());
}
