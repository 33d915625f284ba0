//! [`Catalog`]: the files of a folder.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path};

use moqt_engine::model::{FullTrackName, Location, LocationRange, TrackNamespace};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::progress::hex;

/// What a catalog begins with.
const MAGIC: &[u8] = b"{\"moqt-folder\":";
/// What it is written as.
const VERSION: u8 = 1;
/// The longest there can be, in bytes: some 100,000 files.
pub(super) const MAX_LEN: usize = 16 << 20;
/// The largest object that a file may be cut into.
const MAX_OBJECT: u64 = 1 << 30;

/// The files of a folder, and how they are cut into objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    #[serde(rename = "moqt-folder")]
    version: u8,
    pub(super) object_size: u64,
    /// Objects of a group.
    pub(super) group_size: u64,
    pub(super) files: Vec<Entry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its path in the folder, with slashes. It is the track's name, too.
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) sha256: String,
}

impl Catalog {
    /// Looks at all files of a folder. It takes the time that reading them takes.
    pub(super) fn of(folder: &Path, object_size: u64, group_size: u64) -> Result<Self, Failure> {
        let mut names = BTreeSet::new();
        walk(folder, "", &mut names)?;
        let mut files = Vec::new();
        for name in names {
            let path = folder.join(&name);
            let (size, sha256) = checksum(&path).map_err(|error| {
                Failure::new(format!("cannot read {}: {error}", path.display()))
            })?;
            files.push(Entry { name, size, sha256 });
        }
        Ok(Self { version: VERSION, object_size, group_size, files })
    }

    /// Reads one; `None` if it is something else. The error says what is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        if !bytes.starts_with(MAGIC) {
            return Ok(None);
        }
        let catalog: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if catalog.version != VERSION {
            return Err(format!("it is of version {}, not {VERSION}", catalog.version));
        }
        if !(1..=MAX_OBJECT).contains(&catalog.object_size) || catalog.group_size == 0 {
            return Err("files cannot be cut like that".into());
        }
        let mut names = BTreeSet::new();
        for Entry { name, sha256, .. } in &catalog.files {
            if !is_safe(name) {
                return Err(format!("{name:?} is no name for a file in a folder"));
            }
            if !names.insert(name) {
                return Err(format!("{name:?} is there twice"));
            }
            if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!("the checksum of {name:?} is none"));
            }
        }
        Ok(Some(catalog))
    }

    /// What is published of it.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        let bytes = serde_json::to_vec(self).map_err(|error| Failure::new(error.to_string()))?;
        if bytes.len() > MAX_LEN {
            return Err(Failure::new("there are too many files for one folder"));
        }
        Ok(bytes)
    }

    /// How many objects a file is.
    pub(super) fn objects(&self, entry: &Entry) -> u64 {
        entry.size.div_ceil(self.object_size)
    }

    /// Where the object of this number is.
    pub(super) fn location(&self, number: u64) -> Location {
        // Nobody makes a group of nothing.
        let group_size = self.group_size.max(1);
        Location::new(number / group_size, number % group_size)
    }

    /// The objects of a file from this number on; `None` if there are none.
    pub(super) fn range(&self, entry: &Entry, first: u64) -> Option<LocationRange> {
        let last = self.objects(entry).checked_sub(1).filter(|last| *last >= first)?;
        Some(LocationRange::to_last(self.location(first), self.location(last)))
    }
}

impl Entry {
    pub(super) fn track(&self, namespace: &TrackNamespace) -> Result<FullTrackName, Failure> {
        FullTrackName::new(namespace.clone(), self.name.clone().into_bytes())
            .map_err(|error| Failure::new(format!("{}: {error}", self.name)))
    }
}

/// Adds the names of all files below a folder.
fn walk(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) -> Result<(), Failure> {
    let at = |error: io::Error| Failure::new(format!("cannot read {}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            Failure::new(format!("{}: names of files must be UTF-8", entry.path().display()))
        })?;
        let name = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(at)?;
        if kind.is_dir() {
            walk(&entry.path(), &format!("{name}/"), names)?;
        } else if kind.is_file() || kind.is_symlink() && entry.path().is_file() {
            names.insert(name);
        }
    }
    Ok(())
}

/// The length and SHA-256 of a file.
pub(super) fn checksum(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0_u64;
    loop {
        let read = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
        size = size.saturating_add(read.len() as u64);
    }
    Ok((size, hex(&hash.finalize())))
}

/// Whether this leads to a place below a folder, whatever the system.
fn is_safe(name: &str) -> bool {
    let is_plain = name.split('/').all(|part| {
        !matches!(part, "" | "." | "..") && !part.contains(['\\', ':']) && !part.contains('\0')
    });
    is_plain && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let entry = |name: &str, size| Entry { name: name.into(), size, sha256: "0".repeat(64) };
        let files = vec![entry("a", 0), entry("b/c.ts", 10), entry("d", 9)];
        Catalog { version: VERSION, object_size: 3, group_size: 2, files }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = catalog().to_bytes().unwrap();
        assert_eq!(Catalog::parse(&bytes), Ok(Some(catalog())));
        assert_eq!(Catalog::parse(b"{\"objects\":1}"), Ok(None));
        assert_eq!(Catalog::parse(b""), Ok(None));
        assert!(Catalog::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn a_file_is_so_many_objects() {
        let catalog = catalog();
        let range = |file: usize, first| catalog.range(&catalog.files[file], first);
        let at = Location::new;
        assert_eq!(range(0, 0), None);
        assert_eq!(range(1, 0), Some(LocationRange::to_last(at(0, 0), at(1, 1))));
        assert_eq!(range(1, 3), Some(LocationRange::to_last(at(1, 1), at(1, 1))));
        assert_eq!(range(1, 4), None);
        assert_eq!(range(2, 1), Some(LocationRange::to_last(at(0, 1), at(1, 0))));
    }

    #[test]
    fn nothing_is_written_beside_the_folder() {
        for name in
            ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\\b", "c:d", "a\0"]
        {
            let mut wrong = catalog();
            wrong.files[1].name = name.into();
            let said = Catalog::parse(&wrong.to_bytes().unwrap());
            assert!(said.is_err_and(|said| said.contains("no name")), "{name:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let wrong = |change: fn(&mut Catalog), what: &str| {
            let mut wrong = catalog();
            change(&mut wrong);
            let said = Catalog::parse(&wrong.to_bytes().unwrap()).unwrap_err();
            assert!(said.contains(what), "{said}");
        };
        wrong(|catalog| catalog.version = 2, "version 2");
        wrong(|catalog| catalog.object_size = 0, "cut");
        wrong(|catalog| catalog.object_size = MAX_OBJECT + 1, "cut");
        wrong(|catalog| catalog.group_size = 0, "cut");
        wrong(|catalog| catalog.files[0].name = "d".into(), "twice");
        wrong(|catalog| catalog.files[0].sha256 = "00".into(), "checksum");
    }
}
