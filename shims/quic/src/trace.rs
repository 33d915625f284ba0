//! Traces of sessions, handed to the application as they happen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::{fmt, io};

use moqt_engine::{Draft, Role, Timestamp, TraceEvent, Transport};

/// Something that a session has written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traced {
    /// When, on the clock of the endpoint, which began at zero.
    pub at: Timestamp,
    /// QUIC's ID of the stream it happened on. There is none for datagrams, nor once all of the
    /// stream has come in; with [`StreamTypeSet`](TraceEvent::StreamTypeSet) it is always there.
    pub stream_id: Option<u64>,
    /// What it was.
    pub event: TraceEvent,
}

impl Traced {
    /// An event as a session would tell it.
    pub fn new(at: Timestamp, stream_id: Option<u64>, event: TraceEvent) -> Self {
        Self { at, stream_id, event }
    }
}

/// The connection that is to be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracedConnection {
    /// The role of this end.
    pub role: Role,
    /// The address of the other.
    pub remote: SocketAddr,
    /// The draft that is spoken, which numbers in events belong to.
    pub draft: Draft,
    /// What carries the session.
    pub transport: Transport,
}

impl TracedConnection {
    /// A connection of this role with that address.
    pub fn new(role: Role, remote: SocketAddr, draft: Draft, transport: Transport) -> Self {
        Self { role, remote, draft, transport }
    }
}

/// Where the trace of one connection goes.
///
/// It is called in the middle of the connection's work, and under the lock of the driver where
/// there is one: it should hand on what it is given, and must neither wait nor call a session.
pub type TraceSink = Box<dyn FnMut(Traced) + Send>;

/// Where a QUIC stack that keeps a log of its own writes it. It must not wait either.
pub type QuicLog = Box<dyn io::Write + Send + Sync>;

/// Opens a sink for each connection that is to be traced.
///
/// Traces contain all that control messages do, authorization tokens included.
#[derive(Clone)]
pub struct Trace {
    open: Arc<OpenSink>,
    begin: Option<Arc<BeginLog>>,
}

type OpenSink = dyn Fn(&TracedConnection) -> Option<TraceSink> + Send + Sync;
type BeginLog = dyn Fn(Role, SocketAddr) -> Option<(QuicLog, Trace)> + Send + Sync;

impl Trace {
    /// `open` is called when the handshake of a connection is complete. A connection for which it
    /// gives no sink is not traced.
    pub fn new(
        open: impl Fn(&TracedConnection) -> Option<TraceSink> + Send + Sync + 'static,
    ) -> Self {
        Self { open: Arc::new(open), begin: None }
    }

    /// The same, and for a connection that begins on a QUIC stack that can tell of its packets,
    /// `begin` says where that goes, and what traces the session if there will be one. It is given
    /// the role of this end and the address of the other, who has not proved it yet.
    #[must_use]
    pub fn with_quic(
        self,
        begin: impl Fn(Role, SocketAddr) -> Option<(QuicLog, Self)> + Send + Sync + 'static,
    ) -> Self {
        Self { begin: Some(Arc::new(begin)), ..self }
    }

    /// For stacks that can: a connection begins.
    pub fn begin(&self, role: Role, remote: SocketAddr) -> Option<(QuicLog, Self)> {
        (self.begin.as_ref()?)(role, remote)
    }

    pub(crate) fn open(&self, connection: TracedConnection) -> Option<Sink> {
        (self.open)(&connection).map(Sink)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
    }
}

/// A sink, without what it is made of.
pub(crate) struct Sink(TraceSink);

impl Sink {
    pub(crate) fn add(&mut self, traced: Traced) {
        (self.0)(traced);
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}
