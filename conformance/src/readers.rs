//! What the readers of [`moqt_engine::wire`] find in a stream that comes in parts.

use bytes::Bytes;
use moqt_engine::model::{EndOfRange, GroupOrder, Location, Message, ObjectStatus};
use moqt_engine::wire::{
    ControlReader, DecodeError, Dialect, Fault, FetchEvent, FetchObject, FetchReader,
    SubgroupEvent, SubgroupReader,
};

/// The longest properties that are read here.
pub const MAX_PROPERTIES: usize = 300;

/// What a stream held, and how it ended: within something or not, or with an error. Where an
/// error was found is left out, since it counts from what a reader has kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// What there was, in order.
    pub items: Vec<T>,
    /// How it ended.
    pub end: Result<StreamEnd, (Fault, &'static str)>,
}

/// Where a stream's bytes end.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum StreamEnd {
    Boundary,
    Within,
}

fn failed<T>(items: Vec<T>, error: DecodeError) -> Found<T> {
    Found { items, end: Err((error.fault, error.field)) }
}

fn ended<T>(items: Vec<T>, at_boundary: bool) -> Found<T> {
    let end = if at_boundary { StreamEnd::Boundary } else { StreamEnd::Within };
    Found { items, end: Ok(end) }
}

/// Reads control messages after each part, or only after all if not `eager`.
pub fn read_control(dialect: &'static Dialect, parts: &[&[u8]], eager: bool) -> Found<Message> {
    let mut reader = ControlReader::new(dialect);
    let mut messages = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        reader.push(Bytes::copy_from_slice(part));
        if !eager && index + 1 < parts.len() {
            continue;
        }
        loop {
            match reader.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return failed(messages, error),
            }
        }
    }
    ended(messages, !reader.is_mid_message())
}

/// An object of a subgroup.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct SubgroupItem {
    pub id: u64,
    pub payload_len: u64,
    pub status: ObjectStatus,
    pub properties: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Reads what follows a subgroup's header.
pub fn read_subgroup(
    dialect: &'static Dialect,
    has_properties: bool,
    parts: &[&[u8]],
) -> Found<SubgroupItem> {
    let mut reader = SubgroupReader::new(dialect, has_properties, MAX_PROPERTIES);
    let mut items: Vec<SubgroupItem> = Vec::new();
    for part in parts {
        let mut input = *part;
        loop {
            match reader.next(&mut input) {
                Ok(SubgroupEvent::Object { object_id, payload_len, status, properties }) => {
                    let properties = properties.to_vec();
                    let payload = Vec::new();
                    let id = object_id;
                    items.push(SubgroupItem { id, payload_len, status, properties, payload });
                }
                Ok(SubgroupEvent::Payload(payload)) => {
                    assert!(!payload.is_empty());
                    assert!(!items.is_empty(), "payload of nothing");
                    items.iter_mut().last().into_iter().for_each(|item| {
                        item.payload.extend_from_slice(payload);
                    });
                }
                Ok(SubgroupEvent::NeedMore) => break,
                Err(error) => return failed(items, error),
            }
            let left = items.last().map(|item| item.payload_len - item.payload.len() as u64);
            assert_eq!(Some(reader.payload_left()), left);
        }
        assert!(input.is_empty(), "bytes were left in the input");
    }
    ended(items, reader.is_at_boundary())
}

/// What is on a fetch stream.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum FetchItem {
    Object { object: FetchObject, properties: Vec<u8>, payload: Vec<u8> },
    EndOfRange(Location, EndOfRange),
}

/// Reads what follows a fetch's header.
pub fn read_fetch(
    dialect: &'static Dialect,
    order: GroupOrder,
    parts: &[&[u8]],
) -> Found<FetchItem> {
    let mut reader = FetchReader::new(dialect, order, MAX_PROPERTIES);
    let mut items = Vec::new();
    for part in parts {
        let mut input = *part;
        loop {
            match reader.next(&mut input) {
                Ok(FetchEvent::Object { object, properties }) => {
                    let properties = properties.to_vec();
                    items.push(FetchItem::Object { object, properties, payload: Vec::new() });
                }
                Ok(FetchEvent::EndOfRange { location, kind }) => {
                    items.push(FetchItem::EndOfRange(location, kind));
                }
                Ok(FetchEvent::Payload(bytes)) => match items.last_mut() {
                    Some(FetchItem::Object { payload, .. }) => payload.extend_from_slice(bytes),
                    other => unreachable!("payload after {other:?}"),
                },
                Ok(FetchEvent::NeedMore) => break,
                Err(error) => return failed(items, error),
            }
        }
        assert!(input.is_empty(), "bytes were left in the input");
    }
    ended(items, reader.is_at_boundary())
}
