//! Seeds for the fuzz targets, in the form that each takes them.

use std::fs;
use std::path::Path;

use moqt_conformance::fuzz::differential::{Subject, input};
use moqt_conformance::recorded::recorded;

use super::all;

/// Writes what the targets are to start from into their corpora: the vectors of control messages,
/// and what was recorded.
/// `cargo fuzz cmin` then keeps what is worth it.
///
/// ```sh
/// cargo test -p moqt-conformance --test vectors -- --ignored seeds
/// ```
#[test]
#[ignore = "writes to fuzz/corpus"]
fn seeds() {
    for (n, vector) in all().iter().enumerate() {
        let draft = vector.dialect.draft;
        let seed = input(draft, Subject::Control, &vector.bytes);
        write("differential", &format!("vector-{n}"), &seed);
    }
    for (n, recorded) in recorded().into_iter().enumerate() {
        let seed = input(recorded.draft, recorded.subject, &recorded.bytes);
        write("differential", &format!("recorded-{n}"), &seed);
    }
}

fn write(target: &str, name: &str, seed: &[u8]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).unwrap();
    fs::write(corpus.join(name), seed).unwrap();
}
