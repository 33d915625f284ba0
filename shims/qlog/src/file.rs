//! One log: its file, what is at its beginning, and what its events refer to.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use moqt_engine::{Role, Timestamp, TraceEvent, Transport};
use moqt_quic::{Traced, TracedConnection};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::EVENT_SCHEMA;
use crate::event::data;
use crate::queue::Written;
use crate::streams::Streams;

/// Where logs go.
pub(crate) trait Place: Send + 'static {
    /// A new file of this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn Write + Send>>;
}

/// A folder on disk.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Place for Folder {
    fn create(&self, name: &str) -> io::Result<Box<dyn Write + Send>> {
        let file = OpenOptions::new().write(true).create_new(true).open(self.0.join(name))?;
        Ok(Box::new(file))
    }
}

/// The log of one connection. Connections hold it, and so does each event that waits.
pub(crate) struct Log {
    connection: TracedConnection,
    /// Which it is among all logs there are.
    id: String,
    /// It is of the packets below the session.
    is_of_packets: bool,
    began: SystemTime,
    /// Events that there was no room for, and that the log does not tell of yet.
    pub(crate) left_out: AtomicU64,
    /// What only the writer uses.
    state: Mutex<State>,
    /// Counts the logs that are open.
    _open: Slot,
}

/// A place among the logs that may be open at a time.
pub(crate) struct Slot(Arc<AtomicU64>);

impl Slot {
    /// Takes one of so many, if there is one.
    pub(crate) fn take(open: &Arc<AtomicU64>, most: usize) -> Option<Self> {
        let before = open.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(open));
        usize::try_from(before).is_ok_and(|before| before < most).then_some(place)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct State {
    file: File,
    /// When the first event was.
    first: Option<Timestamp>,
    streams: Streams,
}

#[derive(Default)]
enum File {
    /// Nothing has happened yet.
    #[default]
    None,
    Open(Box<dyn Write + Send>),
    /// It could not be written.
    GivenUp,
}

impl Log {
    pub(crate) fn new(connection: TracedConnection, n: u64, open: Slot) -> Self {
        let began = SystemTime::now();
        let micros = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let id = format!("{micros:x}-{:x}-{n}", std::process::id());
        let (left_out, state) = (AtomicU64::new(0), Mutex::default());
        Self { connection, id, is_of_packets: false, began, left_out, state, _open: open }
    }

    /// The log of what is below this one's session.
    pub(crate) fn of_packets(&self, open: Slot) -> Self {
        let Self { connection, began, .. } = *self;
        let (left_out, state) = (AtomicU64::new(0), Mutex::default());
        let id = self.id.clone();
        Self { connection, id, is_of_packets: true, began, left_out, state, _open: open }
    }

    /// Adds what is to be written to `out`.
    pub(crate) fn add(&self, what: &Written, out: &mut Vec<u8>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(state.file, File::GivenUp) {
            return;
        }
        match what {
            Written::Moqt(traced) => self.add_event(traced, &mut state, out),
            Written::Records(records) => {
                if self.left_out.load(Ordering::Relaxed) > 0 {
                    self.add_left_out(time_of(records), out);
                }
                out.extend_from_slice(records);
            }
        }
    }

    /// An event, before all the beginning of the file.
    fn add_event(&self, traced: &Traced, state: &mut State, out: &mut Vec<u8>) {
        let at = traced.at;
        if state.first.is_none() {
            record(&self.header(), out);
        }
        let first = *state.first.get_or_insert(at);
        let millis = at.saturating_since(first).as_secs_f64() * 1e3;
        self.add_left_out(millis, out);
        let draft = self.connection.draft;
        let data = data(draft.dialect(), traced, &mut state.streams);
        let name = format!("moqt:{}", traced.event.name());
        record(&json!({ "time": millis, "name": name, "data": data }), out);
    }

    /// Says how many events were left out, if any were.
    fn add_left_out(&self, time: f64, out: &mut Vec<u8>) {
        let events = self.left_out.swap(0, Ordering::Relaxed);
        if events > 0 {
            let text = format!(
                "{events} events are left out: they came faster than they could be written"
            );
            let data = json!({ "message": text });
            record(&json!({ "time": time, "name": "loglevel:warning", "data": data }), out);
        }
    }

    /// Writes what was made of events.
    pub(crate) fn write(&self, place: &dyn Place, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.write_to(&mut state.file, place, bytes);
        if written.is_err() {
            state.file = File::GivenUp;
        }
        written
    }

    fn write_to(&self, file: &mut File, place: &dyn Place, bytes: &[u8]) -> io::Result<()> {
        if let File::None = file {
            *file = File::Open(place.create(&self.name())?);
        }
        match file {
            File::Open(file) => file.write_all(bytes),
            File::None | File::GivenUp => Ok(()),
        }
    }

    fn role(&self) -> &'static str {
        match self.connection.role {
            Role::Client => "client",
            Role::Server => "server",
        }
    }

    pub(crate) fn name(&self) -> String {
        let packets = if self.is_of_packets { "_quic" } else { "" };
        format!("{}_{}{packets}.sqlog", self.id, self.role())
    }

    fn header(&self) -> Value {
        let TracedConnection { remote, draft, transport, .. } = self.connection;
        let carrier = match transport {
            Transport::Quic => "QUIC",
            Transport::WebTransport => "WebTransport",
        };
        let began = OffsetDateTime::from(self.began).format(&Rfc3339).unwrap_or_default();
        json!({
            "file_schema": "urn:ietf:params:qlog:file:sequential",
            "serialization_format": "application/qlog+json-seq",
            "title": format!("MoQT {draft} over {carrier}"),
            "trace": {
                "description": format!("the other end is {remote}"),
                "common_fields": {
                    "group_id": self.id,
                    "time_format": "relative_to_epoch",
                    "reference_time": {
                        "clock_type": "monotonic",
                        "epoch": "unknown",
                        "wall_clock_time": began,
                    },
                },
                "vantage_point": { "name": "moqt", "type": self.role() },
                "event_schemas": [EVENT_SCHEMA, "urn:ietf:params:qlog:events:loglevel"],
            },
        })
    }
}

/// When the event of a record was.
fn time_of(record: &[u8]) -> f64 {
    let record = record.strip_prefix(b"\x1e").unwrap_or(record);
    let record: Option<Value> = serde_json::from_slice(record).ok();
    record.and_then(|record| record.get("time")?.as_f64()).unwrap_or_default()
}

/// A JSON text in a sequence (RFC 7464).
fn record(value: &Value, out: &mut Vec<u8>) {
    out.push(0x1e);
    // Values of JSON can be written, and vectors grow.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
}

/// About how many bytes of memory an event takes while it waits.
pub(crate) fn weight(event: &TraceEvent) -> usize {
    let more = match event {
        TraceEvent::ControlMessageCreated(message) | TraceEvent::ControlMessageParsed(message) => {
            // What is read takes some times what was on the wire: names, lists.
            message.length.saturating_mul(4)
        }
        TraceEvent::SubgroupObjectCreated(object) | TraceEvent::SubgroupObjectParsed(object) => {
            object.header.properties.as_bytes().len()
        }
        TraceEvent::ObjectDatagramCreated(object) | TraceEvent::ObjectDatagramParsed(object) => {
            object.header.properties.as_bytes().len()
        }
        _ => 0,
    };
    more.saturating_add(size_of::<crate::queue::Entry>())
}
