//! What is known of relays, and the file it goes to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

/// What is known of all relays.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// When it was written (RFC 3339).
    timestamp: String,
    pub(crate) relays: BTreeMap<String, RelayReport>,
}

/// A relay is live if one of its endpoints is.
#[derive(Debug, Serialize)]
pub(crate) struct RelayReport {
    pub(crate) name: String,
    pub(crate) live: bool,
    /// Those of all endpoints, ascending.
    pub(crate) drafts: Vec<u8>,
    pub(crate) endpoints: Vec<EndpointReport>,
}

/// An endpoint is live if a session could be made on any draft.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointReport {
    pub(crate) url: String,
    pub(crate) transport: &'static str,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) live: bool,
    /// Ascending.
    pub(crate) drafts: Vec<u8>,
    /// The newest of them.
    pub(crate) draft: Option<u8>,
    /// How long it took to make a session on that draft; if there is none, until that was known.
    pub(crate) latency_ms: u64,
    pub(crate) probes: Vec<ProbeReport>,
    /// Why it is not live, in a few words.
    pub(crate) error: Option<String>,
}

/// One session, or the attempt to make one.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ProbeReport {
    pub(crate) live: bool,
    pub(crate) draft: Option<u8>,
    /// The number of the draft's version (draft-14, "Version Negotiation").
    pub(crate) version_hex: Option<String>,
    pub(crate) alpn: Option<String>,
    /// What the relay says of itself in SETUP.
    pub(crate) params: BTreeMap<&'static str, serde_json::Value>,
    pub(crate) error: Option<String>,
}

impl Report {
    /// Writes it as of now. Whoever reads the file sees this report whole, or the one before.
    pub(crate) fn write(&mut self, path: &Path) -> io::Result<()> {
        self.timestamp = crate::utc::rfc3339(SystemTime::now());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
        let written = self.write_to(&unfinished).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        serde_json::to_writer_pretty(&file, self)?;
        file.write_all(b"\n")?;
        // Lest the name be there before what is in it.
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_cannot_be_written_leaves_the_one_before() {
        let folder = std::env::temp_dir().join(format!("moqt-report-{}", std::process::id()));
        let file = folder.join("deep").join("status.json");
        Report::default().write(&file).unwrap();
        let before = fs::read_to_string(&file).unwrap();
        assert!(before.contains("\"relays\": {}"), "{before}");
        assert!(Report::default().write(&folder.join("deep")).is_err());
        let left: Vec<_> = fs::read_dir(&folder).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
        fs::remove_dir_all(&folder).unwrap();
    }
}
