//! Seeds for the fuzz targets, in the form that each takes them.

use std::fs;
use std::path::Path;

use moqt_conformance::fuzz::differential::{Subject, input};
use moqt_conformance::recorded::{Recorded, recorded};
use moqt_conformance::streams::{read_subgroup, write_subgroup};
use moqt_conformance::{DRAFTS, ROLES};
use moqt_engine::Role;
use moqt_engine::wire::{FetchReader, FetchWriter};

use super::all;

/// Writes what the targets are to start from into their corpora: the vectors of control messages,
/// and what was recorded. `cargo fuzz cmin` then keeps what is worth it.
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
        let (code, len) = vector.dialect.ints.decode(&vector.bytes).unwrap();
        let kind = vector.dialect.messages.iter().position(|(other, _)| *other == code);
        let kind = u8::try_from(kind.unwrap()).unwrap();
        let draft = u8::try_from(DRAFTS.iter().position(|it| *it == draft).unwrap()).unwrap();
        let stream = [&[0x80 + draft][..], &vector.bytes].concat();
        write("control_message", &format!("stream-{n}"), &stream);
        let body = [&[draft, kind][..], &vector.bytes[len + 2..]].concat();
        write("control_message", &format!("body-{n}"), &body);
    }
    for (n, recorded) in recorded().iter().enumerate() {
        let seed = input(recorded.draft, recorded.subject, &recorded.bytes);
        write("differential", &format!("recorded-{n}"), &seed);
        if let Some(seed) = framer_chunks(recorded) {
            write("framer_chunks", &format!("recorded-{n}"), &seed);
        }
    }
}

/// The stream as that target's connection expects it: from the other role, and about the track or
/// fetch that the connection has asked for.
fn framer_chunks(recorded: &Recorded) -> Option<Vec<u8>> {
    let Recorded { draft, subject, path, bytes } = recorded;
    let by_client = path.file_name()?.to_str()?.contains("-moqt-");
    let role = if by_client { Role::Server } else { Role::Client };
    let (kind, bytes) = match subject {
        Subject::Control if matches!(bytes.first(), Some(0x20 | 0x21 | 0xaf)) => (2, bytes.clone()),
        Subject::Control => (4, bytes.clone()),
        Subject::Subgroup => {
            let found = read_subgroup(*draft, bytes);
            let mut header = found.header?;
            header.track_alias = 1;
            (0, write_subgroup(*draft, &header, &found.items).ok()?)
        }
        Subject::Fetch(order) => {
            let (_, len) = FetchReader::decode_header(draft.dialect(), bytes).ok()??;
            let mut stream = Vec::new();
            let first_id = u64::from(role == Role::Server);
            FetchWriter::new(draft.dialect(), *order).header(first_id, &mut stream).ok()?;
            stream.extend(bytes.get(len..)?);
            (1, stream)
        }
        _ => return None,
    };
    let draft = DRAFTS.iter().position(|one| one == draft)?;
    let role = ROLES.iter().position(|one| *one == role)?;
    let what = u8::try_from(draft + DRAFTS.len() * (role + ROLES.len() * kind)).ok()?;
    // Finished, announced before, cut with this seed, read without a pause.
    let head = [what, 0, 7, 0];
    Some([&head, &bytes[..]].concat())
}

fn write(target: &str, name: &str, seed: &[u8]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).unwrap();
    fs::write(corpus.join(name), seed).unwrap();
}
