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

use moqt_conformance::streams::{
    End, read_items, read_messages, read_objects, write_fetch, write_subgroup,
};
use moqt_engine::model::{Draft, GroupOrder, Message};
use moqt_engine::wire::{SubgroupHeader, encode_message};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

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
            let bytes = write_subgroup(draft, &header, &objects).unwrap();
            let (_, len) = SubgroupHeader::decode(draft.dialect(), &bytes).unwrap().unwrap();
            (draft, header, bytes[len..].to_vec())
        })
    })
}

fn fetches() -> impl Strategy<Value = (Draft, GroupOrder, Vec<u8>)> {
    (draft(), generate::objects::order()).prop_flat_map(|(draft, order)| {
        generate::objects::items(draft, order).prop_map(move |items| {
            let bytes = write_fetch(draft, order, &items).unwrap().concat();
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
        let whole = read_messages(dialect, &[&bytes], true);
        if damage.is_none() {
            prop_assert_eq!(whole.end, End::Boundary);
            prop_assert_eq!(whole.items.len(), messages.len());
        }
        prop_assert_eq!(read_messages(dialect, &cuts.parts(&bytes), eager), whole);
    }

    #[test]
    fn subgroup_objects(
        (draft, header, bytes) in subgroups(),
        cuts in cuts(),
        damage in damage(),
    ) {
        let bytes = damaged(bytes, damage.as_ref());
        let read = |parts: &[&[u8]]| read_objects(draft.dialect(), header.has_properties, parts);
        let whole = read(&[&bytes]);
        if damage.is_none() {
            prop_assert_eq!(whole.end, End::Boundary);
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
        let read = |parts: &[&[u8]]| read_items(draft.dialect(), order, parts);
        let whole = read(&[&bytes]);
        if damage.is_none() {
            prop_assert_eq!(whole.end, End::Boundary);
        }
        prop_assert_eq!(read(&cuts.parts(&bytes)), whole);
    }

    /// Nothing that a peer can send makes a reader panic, or take bytes it does not use.
    #[test]
    fn noise(draft in draft(), bytes in vec(any::<u8>(), 0..200), cuts in cuts(), some in any::<bool>()) {
        let dialect = draft.dialect();
        let parts = cuts.parts(&bytes);
        prop_assert_eq!(read_messages(dialect, &parts, some), read_messages(dialect, &[&bytes], true));
        prop_assert_eq!(
            read_objects(dialect, some, &parts),
            read_objects(dialect, some, &[&bytes])
        );
        for order in [GroupOrder::Ascending, GroupOrder::Descending] {
            prop_assert_eq!(read_items(dialect, order, &parts), read_items(dialect, order, &[&bytes]));
        }
    }
}
