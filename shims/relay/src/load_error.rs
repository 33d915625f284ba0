//! Why a file could not be loaded.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is wrong with a file, where, and what to do. It has no secrets of the file's in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    file: PathBuf,
    line: Option<usize>,
    what: String,
}

impl LoadError {
    pub(crate) fn new(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, what: what.into() }
    }

    /// Something at some bytes of the file's text.
    pub(crate) fn at(
        file: &Path,
        text: &str,
        place: Range<usize>,
        what: impl Into<String>,
    ) -> Self {
        let before = text.get(..place.start).unwrap_or(text);
        let line = before.matches('\n').count().saturating_add(1);
        Self { line: Some(line), ..Self::new(file, what) }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line, counted from 1, if one is at fault.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for LoadError {}
