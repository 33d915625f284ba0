//! Every fuzz target over its corpus, and every target complete: a body, a binary, a corpus.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use moqt_conformance::fuzz::TARGETS;
use moqt_conformance::heap::Counting;

/// For the targets that bound what they take from the heap.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

macro_rules! over_their_corpora {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            over_its_corpus(stringify!($target));
        })*

        /// The targets with a test of this kind.
        const TESTED: &[&str] = &[$(stringify!($target)),*];
    };
}

over_their_corpora! {
    connection_ops
    control_message
    datagram
    differential
    framer_chunks
    framer_interleaving
    pair_against_model
    parameters_and_properties
    track_name_text
    varints
    webtransport
}

fn over_its_corpus(name: &str) {
    let (_, body) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let corpus = folder("corpus").join(name);
    let inputs = names_in(&corpus);
    assert!(!inputs.is_empty(), "{} is empty", corpus.display());
    for input in inputs {
        let path = corpus.join(input);
        let bytes = fs::read(&path).unwrap();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&bytes))) {
            eprintln!("{name} breaks on {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn no_input_is_too_little_for_a_target() {
    for (name, body) in TARGETS {
        eprintln!("{name}");
        for bytes in [&[][..], &[0], &[255], &[0; 64], &[255; 64]] {
            body(bytes);
        }
    }
}

#[test]
fn each_target_has_a_body_a_binary_a_corpus_and_a_test() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len(), "a name is used twice");
    let files: BTreeSet<String> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names_in(&folder("fuzz_targets")), files);
    assert_eq!(names_in(&folder("corpus")), names);
    assert_eq!(TESTED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), names);
    let manifest: toml::Table = fs::read_to_string(folder("Cargo.toml")).unwrap().parse().unwrap();
    let binaries = manifest["bin"].as_array().unwrap();
    let binaries = binaries.iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    assert_eq!(binaries.collect::<BTreeSet<_>>(), names);
}
