//! What another implementation wrote, and what we wrote to it, is read to its end, and as an
//! independent codec reads it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use bytes::Bytes;
use moqt_conformance::fuzz::differential::{Subject, differential, input};
use moqt_conformance::recorded::{Recorded, recorded};
use moqt_conformance::streams::{End, read_fetch, read_subgroup};
use moqt_engine::model::Message;
use moqt_engine::wire::{ControlReader, Datagram};

fn messages(recorded: &Recorded) -> Vec<Message> {
    let mut reader = ControlReader::new(recorded.draft.dialect());
    reader.push(recorded.bytes.clone().into());
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message().unwrap() {
        messages.push(message);
    }
    assert!(!reader.is_mid_message());
    messages
}

#[test]
fn everything_recorded_is_read_whole() {
    for recorded in recorded() {
        eprintln!("{}", recorded.path.display());
        let Recorded { draft, subject, bytes, .. } = &recorded;
        let (found, end) = match subject {
            Subject::Control => (messages(&recorded).len(), End::Boundary),
            Subject::Subgroup => {
                let found = read_subgroup(*draft, bytes);
                (found.items.len(), found.end)
            }
            Subject::Fetch(order) => {
                let found = read_fetch(*draft, *order, bytes);
                (found.items.len(), found.end)
            }
            Subject::Datagram => {
                let data = Bytes::from(bytes.clone());
                let datagram = Datagram::decode(draft.dialect(), &data, 1 << 16).unwrap();
                assert!(matches!(datagram, Datagram::Object(_)));
                (1, End::Boundary)
            }
            other => panic!("{other:?} is nothing to be sent by itself"),
        };
        assert_eq!(end, End::Boundary);
        assert!(found > 0);
    }
}

#[test]
fn everything_recorded_is_read_alike_by_an_independent_codec() {
    for Recorded { draft, subject, path, bytes } in recorded() {
        eprintln!("{}", path.display());
        differential(&input(draft, subject, &bytes));
    }
}

/// Each draft's control messages, objects of all three kinds, and both who wrote them.
#[test]
fn every_kind_was_recorded() {
    let recorded = recorded();
    for draft in moqt_conformance::DRAFTS {
        for writer in ["moqt", "aiomoqt"] {
            let of = |kind: &str| {
                let name = format!("{kind}-{writer}-");
                recorded.iter().any(|one| {
                    let found = one.path.file_name().unwrap().to_str().unwrap();
                    one.draft == draft && found.starts_with(&name)
                })
            };
            assert!(of("control") && of("subgroup") && of("datagram"), "{draft} by {writer}");
        }
        let fetches = |one: &&Recorded| matches!(one.subject, Subject::Fetch(_));
        assert!(recorded.iter().filter(|one| one.draft == draft).any(|one| fetches(&one)));
    }
}
