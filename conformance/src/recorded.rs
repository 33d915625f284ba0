//! What went over the wire between this implementation and another one (`fuzz/recorded`).

use std::fs;
use std::path::{Path, PathBuf};

use moqt_engine::Draft;
use moqt_engine::model::GroupOrder;

use crate::fuzz::differential::Subject;

/// A stream from its beginning to its end, or a datagram.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is what it is called")]
pub struct Recorded {
    pub draft: Draft,
    pub subject: Subject,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// All that are kept, in order of their names.
pub fn recorded() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/recorded");
    let drafts = [("d14", Draft::D14), ("d16", Draft::D16), ("d18", Draft::D18)];
    drafts.into_iter().flat_map(|(name, draft)| of_draft(draft, &folder.join(name))).collect()
}

fn of_draft(draft: Draft, folder: &Path) -> Vec<Recorded> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let read = |path: PathBuf| Recorded {
        draft,
        subject: subject(&path),
        bytes: fs::read(&path).expect("what was recorded"),
        path,
    };
    paths.into_iter().map(read).collect()
}

fn subject(path: &Path) -> Subject {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name.split_once('-') {
        Some(("control", _)) => Subject::Control,
        Some(("subgroup", _)) => Subject::Subgroup,
        Some(("fetch", _)) => Subject::Fetch(GroupOrder::Ascending),
        Some(("datagram", _)) => Subject::Datagram,
        _ => panic!("{} says not what it is", path.display()),
    }
}
