//! However the bytes of a stream are cut, the same things are read from it: whole or in parts,
//! sound or broken.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

#[path = "../generate/mod.rs"]
mod generate;

use bytes::Bytes;
use moqt_engine::model::{Draft, EndOfRange, GroupOrder, Location, Message, ObjectStatus};
use moqt_engine::wire::{
    ControlReader, DecodeError, Dialect, Fault, FetchEvent, FetchObject, FetchReader,
    SubgroupEvent, SubgroupHeader, SubgroupReader, encode_message,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const MAX_PROPERTIES: usize = 300;

/// What a stream held, and how it ended: within something or not, or with an error. Where an
/// error was found is left out, since it counts from what a reader has kept.
#[derive(Clone, Debug, PartialEq)]
struct Read<T> {
    items: Vec<T>,
    end: Result<End, (Fault, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Boundary,
    Within,
}

fn failed<T>(items: Vec<T>, error: DecodeError) -> Read<T> {
    Read { items, end: Err((error.fault, error.field)) }
}

fn ended<T>(items: Vec<T>, at_boundary: bool) -> Read<T> {
    Read { items, end: Ok(if at_boundary { End::Boundary } else { End::Within }) }
}

/// Where to cut bytes: anywhere, at each byte, or not at all.
fn cuts() -> impl Strategy<Value = Cuts> {
    prop_oneof![
        6 => vec(any::<Index>(), 0..12).prop_map(Cuts::At),
        1 => Just(Cuts::Everywhere),
    ]
}

#[derive(Clone, Debug)]
enum Cuts {
    At(Vec<Index>),
    Everywhere,
}

impl Cuts {
    /// The parts of `bytes`, some perhaps empty.
    fn parts<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = match self {
            Self::At(indices) => indices.iter().map(|index| index.index(bytes.len() + 1)).collect(),
            Self::Everywhere => (0..bytes.len()).collect(),
        };
        at.sort_unstable();
        at.push(bytes.len());
        let mut start = 0;
        at.into_iter()
            .map(|end| {
                let part = &bytes[start..end];
                start = end;
                part
            })
            .collect()
    }
}

/// A change to one byte, or none.
fn damage() -> impl Strategy<Value = Option<(Index, u8)>> {
    prop_oneof![
        1 => Just(None),
        2 => (any::<Index>(), 1..=255_u8).prop_map(Some),
    ]
}

fn damaged(mut bytes: Vec<u8>, damage: Option<&(Index, u8)>) -> Vec<u8> {
    if let (Some((index, flip)), false) = (damage, bytes.is_empty()) {
        let at = index.index(bytes.len());
        bytes[at] ^= flip;
    }
    bytes
}

/// Reads after each push, or only after all.
fn read_control(dialect: &'static Dialect, parts: &[&[u8]], eager: bool) -> Read<Message> {
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

#[derive(Clone, Debug, PartialEq)]
struct SubgroupItem {
    id: u64,
    payload_len: u64,
    status: ObjectStatus,
    properties: Vec<u8>,
    payload: Vec<u8>,
}

fn read_subgroup(
    dialect: &'static Dialect,
    has_properties: bool,
    parts: &[&[u8]],
) -> Read<SubgroupItem> {
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
                    items.last_mut().unwrap().payload.extend_from_slice(payload);
                }
                Ok(SubgroupEvent::NeedMore) => break,
                Err(error) => return failed(items, error),
            }
            let item = items.last().unwrap();
            let left = item.payload_len - item.payload.len() as u64;
            assert_eq!(reader.payload_left(), left);
        }
        assert!(input.is_empty(), "bytes were left in the input");
    }
    ended(items, reader.is_at_boundary())
}

#[derive(Clone, Debug, PartialEq)]
enum FetchItem {
    Object { object: FetchObject, properties: Vec<u8>, payload: Vec<u8> },
    End(Location, EndOfRange),
}

fn read_fetch(dialect: &'static Dialect, order: GroupOrder, parts: &[&[u8]]) -> Read<FetchItem> {
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
                    items.push(FetchItem::End(location, kind));
                }
                Ok(FetchEvent::Payload(bytes)) => match items.last_mut() {
                    Some(FetchItem::Object { payload, .. }) => payload.extend_from_slice(bytes),
                    other => panic!("payload after {other:?}"),
                },
                Ok(FetchEvent::NeedMore) => break,
                Err(error) => return failed(items, error),
            }
        }
        assert!(input.is_empty(), "bytes were left in the input");
    }
    ended(items, reader.is_at_boundary())
}

fn draft() -> impl Strategy<Value = Draft> {
    proptest::sample::select(Draft::ALL.to_vec())
}

fn messages() -> impl Strategy<Value = (Draft, Vec<Message>)> {
    draft().prop_flat_map(|draft| {
        let message = generate::messages::any_message(draft).prop_map(|(_, message)| message);
        (Just(draft), vec(message, 0..6))
    })
}

fn subgroups() -> impl Strategy<Value = (Draft, SubgroupHeader, Vec<u8>)> {
    draft().prop_flat_map(|draft| {
        generate::objects::subgroup(draft).prop_map(move |(header, objects)| {
            let bytes = generate::objects::write_subgroup(draft, &header, &objects);
            let (_, len) = SubgroupHeader::decode(draft.dialect(), &bytes).unwrap().unwrap();
            (draft, header, bytes[len..].to_vec())
        })
    })
}

fn fetches() -> impl Strategy<Value = (Draft, GroupOrder, Vec<u8>)> {
    (draft(), generate::objects::order()).prop_flat_map(|(draft, order)| {
        generate::objects::items(draft, order).prop_map(move |items| {
            let bytes = generate::objects::write_fetch(draft, order, &items).concat();
            (draft, order, bytes)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn control_messages(
        (draft, messages) in messages(),
        cuts in cuts(),
        damage in damage(),
        eager in any::<bool>(),
    ) {
        let dialect = draft.dialect();
        let mut bytes = Vec::new();
        for message in &messages {
            // A server's setup with its list of one version is as good as a client's here.
            encode_message(dialect, message, &mut bytes).unwrap();
        }
        let bytes = damaged(bytes, damage.as_ref());
        let whole = read_control(dialect, &[&bytes], true);
        if damage.is_none() {
            prop_assert_eq!(whole.end, Ok(End::Boundary));
            prop_assert_eq!(whole.items.len(), messages.len());
        }
        prop_assert_eq!(read_control(dialect, &cuts.parts(&bytes), eager), whole);
    }

    #[test]
    fn subgroup_objects(
        (draft, header, bytes) in subgroups(),
        cuts in cuts(),
        damage in damage(),
    ) {
        let bytes = damaged(bytes, damage.as_ref());
        let read = |parts: &[&[u8]]| read_subgroup(draft.dialect(), header.has_properties, parts);
        let whole = read(&[&bytes]);
        if damage.is_none() {
            prop_assert_eq!(whole.end, Ok(End::Boundary));
        }
        prop_assert_eq!(read(&cuts.parts(&bytes)), whole);
    }

    #[test]
    fn fetch_objects(
        (draft, order, bytes) in fetches(),
        cuts in cuts(),
        damage in damage(),
    ) {
        let bytes = damaged(bytes, damage.as_ref());
        let read = |parts: &[&[u8]]| read_fetch(draft.dialect(), order, parts);
        let whole = read(&[&bytes]);
        if damage.is_none() {
            prop_assert_eq!(whole.end, Ok(End::Boundary));
        }
        prop_assert_eq!(read(&cuts.parts(&bytes)), whole);
    }

    /// Nothing that a peer can send makes a reader panic, or take bytes it does not use.
    #[test]
    fn noise(draft in draft(), bytes in vec(any::<u8>(), 0..200), cuts in cuts(), some in any::<bool>()) {
        let dialect = draft.dialect();
        let parts = cuts.parts(&bytes);
        prop_assert_eq!(read_control(dialect, &parts, some), read_control(dialect, &[&bytes], true));
        prop_assert_eq!(
            read_subgroup(dialect, some, &parts),
            read_subgroup(dialect, some, &[&bytes])
        );
        for order in [GroupOrder::Ascending, GroupOrder::Descending] {
            prop_assert_eq!(read_fetch(dialect, order, &parts), read_fetch(dialect, order, &[&bytes]));
        }
    }
}
