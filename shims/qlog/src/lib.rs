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
//! Of a connection on a QUIC stack that has a qlog of its own, quinn-proto with the feature `qlog` of
//! `moqt-quinn-proto`, there is a second file, `…_quic.sqlog`: packets sent, received and lost, and
//! the metrics of recovery. It is as the stack writes it, in qlog's version 0.3.
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
mod quic;
mod streams;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use moqt_quic::{QuicLog, Trace, TracedConnection};

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
    /// Files that are written at a time: 256. Other connections have none.
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
        self.trace_of(|_| true)
    }

    /// What writes down the connections with addresses that are `wanted`.
    pub fn trace_of(&self, wanted: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Trace {
        let (writer, wanted) = (Arc::clone(&self.writer), Arc::new(wanted));
        let (quic_writer, quic_wanted) = (Arc::clone(&writer), Arc::clone(&wanted));
        let open = move |connection: &TracedConnection| {
            if wanted(connection.remote) { writer.open(connection, None) } else { None }
        };
        Trace::new(open).with_quic(move |_, remote| {
            if !quic_wanted(remote) {
                return None;
            }
            let writer = Arc::clone(&quic_writer);
            let (stack, packets) = writer.begin();
            let trace = Trace::new(move |connection| writer.open(connection, Some(&packets)));
            Some((Box::new(stack) as QuicLog, trace))
        })
    }

    /// Waits until everything that has happened so far is written, or a disk has made it wait for
    /// two seconds.
    pub fn finish(&self) {
        self.writer.finish();
    }
}
