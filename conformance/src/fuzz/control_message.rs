use arbitrary::Unstructured;
use bytes::Bytes;
use moqt_engine::model::{Draft, Message, MessageKind, Parameters, Property, SubscriptionFilter};
use moqt_engine::wire::{
    ControlReader, DecodeError, Dialect, EncodeError, decode_message, encode_message,
};

use super::carried::carried;
use super::values;
use crate::DRAFTS;
use crate::heap::Measured;

/// Control messages: bytes to a message and back, and a message to bytes and back.
///
/// The first byte chooses the draft and what follows: a message type, as an index into the
/// draft's table, and a body; a control stream; or what a message is made of.
pub fn control_message(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let draft = DRAFTS[usize::from(choice & 0x3f) % DRAFTS.len()];
    let dialect = draft.dialect();
    match choice & 0xc0 {
        0x80 => return stream(dialect, data),
        0x40 => return value(draft, data),
        _ => {}
    }
    let Some((kind, data)) = data.split_first() else { return };
    let (_, kind) = dialect.messages[usize::from(*kind) % dialect.messages.len()];
    body(dialect, kind, data);
}

/// Every message of a control stream, up to the first error.
fn stream(dialect: &'static Dialect, data: &[u8]) {
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::copy_from_slice(data));
    while let Ok(Some(raw)) = reader.next_raw() {
        assert_eq!(dialect.message_kind(raw.code), Some(raw.kind));
        body(dialect, raw.kind, &raw.body);
    }
}

/// A message, whatever it holds, is refused with a reason, or is read as what of it the draft
/// can say.
fn value(draft: Draft, data: &[u8]) {
    let dialect = draft.dialect();
    let Ok(message) = values::message(&mut Unstructured::new(data)) else { return };
    let mut written = Vec::new();
    if let Err(error) = encode_message(dialect, &message, &mut written) {
        assert!(written.is_empty() && !error.to_string().is_empty(), "{error:?}");
        return;
    }
    let (code, _) = dialect.ints.decode(&written).expect("what is written has a type");
    let kind = dialect.message_kind(code).expect("which the draft has");
    let read = read_whole(dialect, kind, &written);
    // An option without a meaning is ignored by its reader.
    let is_grease = matches!(&message, Message::Setup(setup) if setup.options.reserved.is_some());
    assert_eq!(read, carried(draft, message), "{draft}");
    let again = encode(dialect, kind, &read);
    assert!(is_grease || again == Ok(written), "{draft} {read:?}: {again:x?}");
}

/// Most bytes that decoding may take from the heap for each byte of a body: a property of two
/// bytes becomes one of 48, in a list that has grown to it by doubling.
const PER_BYTE: u64 = 100;
/// And for the whole.
const FOR_ALL: u64 = 2048;

/// A body is refused with a reason, or is a message that can be written: in no more bytes,
/// which mean the same, and in which it is written again.
pub(super) fn body(dialect: &'static Dialect, kind: MessageKind, body: &[u8]) {
    let measured = Measured::begin();
    let decoded = decode_message(dialect, kind, body);
    let allocated = measured.allocated();
    let bound = PER_BYTE * body.len() as u64 + FOR_ALL;
    assert!(allocated <= bound, "{kind:?}: {allocated} bytes for {}", body.len());
    let message = match decoded {
        Ok(message) => message,
        Err(error) => return check_error(&error, body),
    };
    let replaced = reason(&message).is_some_and(|reason| reason.contains('\u{fffd}'));
    let written = match encode(dialect, kind, &message) {
        Ok(written) => written,
        // What is replaced can be longer than what it was.
        Err(EncodeError::TooLong(_)) if replaced => return,
        Err(error) => return assert!(is_backwards(&message), "{error}: {message:?}"),
    };
    let read = read_whole(dialect, kind, &written);
    let again = encode(dialect, kind, &read).expect("what was written once can be again");
    assert_eq!(written, again, "{message:?}");
    if replaced {
        return;
    }
    assert_eq!(message, read);
    assert_eq!(immutable(&message), immutable(&read), "{message:?}");
    let header = written.len() - body_of(dialect, &written).len();
    assert!(written.len() <= header + body.len(), "{message:?} has become longer");
}

fn check_error(error: &DecodeError, body: &[u8]) {
    assert!(error.offset <= body.len(), "{error} of {} bytes", body.len());
    assert!(!error.field.is_empty(), "{error:?}");
}

/// Writes a message; of a kind, where one message has two.
fn encode(dialect: &Dialect, kind: MessageKind, message: &Message) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = b"before".to_vec();
    let encoded = match (kind, message) {
        (MessageKind::ServerSetup, Message::Setup(setup)) => {
            dialect.encode_server_setup(setup, &mut bytes)
        }
        _ => encode_message(dialect, message, &mut bytes),
    };
    let written = bytes.strip_prefix(b"before").expect("what was there stays").to_vec();
    assert!(encoded.is_ok() || written.is_empty(), "{encoded:?} leaves {written:?}");
    encoded.map(|()| written)
}

/// Reads what was written: one message of this kind and nothing after it.
fn read_whole(dialect: &'static Dialect, kind: MessageKind, written: &[u8]) -> Message {
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::copy_from_slice(written));
    let raw = reader.next_raw().expect("what is written has a type").expect("and is whole");
    assert!(!reader.is_mid_message(), "bytes after {kind:?}");
    assert_eq!(raw.kind, kind);
    match decode_message(dialect, raw.kind, &raw.body) {
        Ok(message) => message,
        Err(error) => panic!("{error} in what was written of {kind:?}: {written:x?}"),
    }
}

fn body_of<'a>(dialect: &Dialect, written: &'a [u8]) -> &'a [u8] {
    let (_, len) = dialect.ints.decode(written).expect("what is written has a type");
    &written[len + 2..]
}

/// Text that a message has for people.
fn reason(message: &Message) -> Option<&str> {
    match message {
        Message::RequestError(error) => Some(&error.reason),
        Message::PublishDone(done) => Some(&done.reason),
        Message::PublishNamespaceCancel(cancel) => Some(&cancel.reason),
        _ => None,
    }
}

/// Whether the message has a filter that ends before it begins: a peer's is for the request to
/// be refused, and none is written.
fn is_backwards(message: &Message) -> bool {
    parameters(message)
        .and_then(|parameters| parameters.subscription_filter.as_ref())
        .is_some_and(SubscriptionFilter::is_backwards)
}

fn parameters(message: &Message) -> Option<&Parameters> {
    match message {
        Message::Subscribe(subscribe) => Some(&subscribe.parameters),
        Message::TrackStatus(status) => Some(&status.parameters),
        Message::RequestUpdate(update) => Some(&update.parameters),
        Message::RequestOk(ok) => Some(&ok.parameters),
        _ => None,
    }
}

/// What was found inside a track's Immutable Properties, which its properties are not compared
/// by.
fn immutable(message: &Message) -> Vec<Property> {
    let properties = match message {
        Message::SubscribeOk(ok) => &ok.track_properties,
        Message::Publish(publish) => &publish.track_properties,
        Message::FetchOk(ok) => &ok.track_properties,
        Message::RequestOk(ok) => &ok.track_properties,
        _ => return Vec::new(),
    };
    properties.immutable().cloned().collect()
}
