//! What MoQT sessions say, written to [qlog] files, one a connection.
//!
//! ```no_run
//! use moqt_qlog::Qlog;
//! use moqt_quic::ClientOptions;
//!
//! let qlog = Qlog::in_folder("logs")?;
//! let mut options = ClientOptions::default();
//! options.trace = Some(qlog.trace());
//! // Sessions that are made with these options are written down.
//! qlog.finish();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The files are JSON text sequences (`.sqlog`) of the sequential file schema. Events are those of
//! draft-pardue-moq-qlog-moq-events-07; messages that only older drafts of MoQT have are written as
//! its earlier versions had them. Times are in milliseconds since the connection's first event.
//!
//! Connections never wait for the disk. A thread writes, and what it has not written yet is bounded
//! by [`Limits`]: when that is used up, events are left out, and their number is in the file. A file
//! that cannot be written is given up, which is reported once, as a `tracing` event.
//!
//! Neither payload nor the value of tokens is written; names of tracks, addresses and everything
//! else are.
//!
//! [qlog]: https://datatracker.ietf.org/doc/draft-ietf-quic-qlog-main-schema/
#![forbid(unsafe_code)]

mod event;
mod file;
mod message;
mod queue;
mod streams;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use moqt_quic::{Trace, TraceSink, TracedConnection};

use crate::file::{Folder, Place};
use crate::writer::Writer;

/// The event schema of what is written.
pub const EVENT_SCHEMA: &str = "urn:ietf:params:qlog:events:moqt-07";

/// What the writing of logs may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Events of all connections that wait to be written: 65,536.
    pub events: usize,
    /// Bytes of these events, about: 32 MiB.
    pub bytes: usize,
    /// Connections that are written down at a time: 256. Others are not.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 65_536, bytes: 32 << 20, files: 256 }
    }
}

/// Writes logs, until it and all of its [`trace`](Self::trace)s are gone.
#[derive(Clone, Debug)]
pub struct Qlog {
    writer: Arc<Writer>,
}

impl Qlog {
    /// Logs go to this folder, which is made if need be.
    pub fn in_folder(folder: impl Into<PathBuf>) -> io::Result<Self> {
        Self::with_limits(folder, Limits::default())
    }

    /// The same, within these limits.
    pub fn with_limits(folder: impl Into<PathBuf>, limits: Limits) -> io::Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        Self::at(Folder(folder), limits)
    }

    fn at(place: impl Place, limits: Limits) -> io::Result<Self> {
        Ok(Self { writer: Arc::new(Writer::start(place, limits)?) })
    }

    /// What writes down each connection that is made with it.
    pub fn trace(&self) -> Trace {
        let writer = Arc::clone(&self.writer);
        Trace::new(move |connection| writer.open(connection))
    }

    /// What writes this connection down, for a [`Trace`] that chooses. `None` if too many are
    /// written already.
    pub fn open(&self, connection: &TracedConnection) -> Option<TraceSink> {
        self.writer.open(connection)
    }

    /// Waits until everything that has happened so far is written, or a disk has made it wait for
    /// two seconds.
    pub fn finish(&self) {
        self.writer.finish();
    }
}
