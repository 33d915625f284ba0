//! A comparison with an independent codec, moqtap-codec: what we write it reads as the same
//! message, what it writes we read as the same message, and both write the same bytes.
//!
//! Where the two disagree the text of the drafts decides; the cases are listed in
//! [`moqt_conformance::moqtap`].
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

mod disagreements;
mod fetches;
#[path = "../generate/mod.rs"]
mod generate;
mod objects;

use bytes::Bytes;
use moqt_conformance::moqtap::{TheirMessage, d14, d16, d18};
use moqt_engine::model::{Draft, Message, MessageKind};
use moqt_engine::wire::{ControlReader, Dialect, encode_message};
use proptest::prelude::*;

fn encode(dialect: &Dialect, kind: MessageKind, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    match message {
        Message::Setup(setup) if kind == MessageKind::ServerSetup => {
            dialect.encode_server_setup(setup, &mut bytes).unwrap();
        }
        message => encode_message(dialect, message, &mut bytes).unwrap(),
    }
    bytes
}

fn decode(dialect: &'static Dialect, bytes: &[u8]) -> Message {
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::copy_from_slice(bytes));
    let message = reader.next_message().unwrap().expect("a whole message");
    assert!(!reader.is_mid_message());
    message
}

/// A message by itself, and with the other codec in both directions.
fn compare<T: TheirMessage>(kind: MessageKind, message: &Message) -> Result<(), TestCaseError> {
    let dialect = T::DRAFT.dialect();
    let ours = encode(dialect, kind, message);
    prop_assert_eq!(&decode(dialect, &ours), message);

    let translated = T::translated(kind, message);
    let mut input = &ours[..];
    let read = T::read(&mut input);
    prop_assert_eq!(read.as_ref().map_err(ToString::to_string), Ok(&translated));
    prop_assert!(input.is_empty());
    prop_assert_eq!(&translated.clone().normal(), &translated);

    let theirs = translated.written();
    prop_assert_eq!(theirs.as_ref(), Ok(&ours));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn draft_14_messages((kind, message) in generate::messages::any_message(Draft::D14)) {
        compare::<d14::ControlMessage>(kind, &message)?;
    }

    #[test]
    fn draft_16_messages((kind, message) in generate::messages::any_message(Draft::D16)) {
        compare::<d16::ControlMessage>(kind, &message)?;
    }

    #[test]
    fn draft_18_messages((kind, message) in generate::messages::any_message(Draft::D18)) {
        compare::<d18::ControlMessage>(kind, &message)?;
    }
}

/// The generator leaves out no message of any draft, so that none goes uncompared.
#[test]
fn every_message_is_compared() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    for draft in Draft::ALL {
        for (code, kind) in draft.dialect().messages {
            let tree = generate::messages::message(draft, *kind).new_tree(&mut runner).unwrap();
            let bytes = encode(draft.dialect(), *kind, &tree.current());
            assert_eq!(draft.dialect().ints.decode(&bytes).unwrap().0, *code, "{kind:?}");
        }
    }
}
