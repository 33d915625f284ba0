//! What happens when disks are slow, full or gone.
#![allow(clippy::unwrap_used, reason = "tests fail by it")]

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use moqt_engine::model::{Location, ObjectStatus};
use moqt_engine::wire::{DatagramHeader, Properties};
use moqt_engine::{Draft, Role, Timestamp, TraceEvent, TracedDatagram, Transport};
use moqt_quic::{QuicLog, TraceSink, Traced, TracedConnection};
use serde_json::Value;
use tracing::{Level, Metadata, Subscriber, span};

use crate::file::Place;
use crate::{Limits, Qlog};

fn connection() -> TracedConnection {
    let remote = (Ipv4Addr::LOCALHOST, 4443).into();
    TracedConnection::new(Role::Client, remote, Draft::D18, Transport::Quic)
}

fn event(object: u64) -> Traced {
    let header = DatagramHeader {
        track_alias: 1,
        location: Location::new(0, object),
        publisher_priority: None,
        end_of_group: false,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    };
    let event = TraceEvent::ObjectDatagramParsed(TracedDatagram { header, payload_len: 3 });
    Traced::new(Timestamp::default(), None, event)
}

/// A disk that tells what it is asked for and waits for leave to do it.
struct Disk {
    asked: Sender<()>,
    leave: Arc<Mutex<Receiver<io::Result<()>>>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Place for Disk {
    fn create(&self, _: &str) -> io::Result<Box<dyn Write + Send>> {
        let (leave, written) = (Arc::clone(&self.leave), Arc::clone(&self.written));
        Ok(Box::new(File { asked: self.asked.clone(), leave, written }))
    }
}

struct File {
    asked: Sender<()>,
    leave: Arc<Mutex<Receiver<io::Result<()>>>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(());
        // Without anybody to give leave there is no need of it.
        self.leave.lock().unwrap().recv().unwrap_or(Ok(()))?;
        self.written.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The far side of a disk.
struct Hand {
    asked: Receiver<()>,
    leave: Sender<io::Result<()>>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Hand {
    fn records(&self) -> Vec<Value> {
        let written = self.written.lock().unwrap();
        let records = written.split(|byte| *byte == 0x1e).filter(|record| !record.is_empty());
        records.map(|record| serde_json::from_slice(record).unwrap()).collect()
    }
}

fn disk() -> (Disk, Hand) {
    let ((asked, told), (leave, given)) = (channel(), channel());
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let disk = Disk { asked, leave: Arc::new(Mutex::new(given)), written: written.clone() };
    (disk, Hand { asked: told, leave, written })
}

fn sink(qlog: &Qlog) -> TraceSink {
    qlog.writer.open(&connection(), None).unwrap()
}

#[test]
fn a_slow_disk_costs_events_and_the_log_says_how_many() {
    let (disk, hand) = disk();
    let limits = Limits { events: 10, ..Limits::default() };
    let qlog = Qlog::at(disk, limits).unwrap();
    let mut sink = sink(&qlog);
    sink(event(0));
    hand.asked.recv().unwrap();
    // The writer hangs in the middle of the first; ten more wait, and 90 find no room.
    for object in 1..=100 {
        sink(event(object));
    }
    for _ in 0..2 {
        hand.leave.send(Ok(())).unwrap();
    }
    qlog.finish();
    let records = hand.records();
    let objects: Vec<u64> =
        records.iter().filter_map(|record| record["data"]["object_id"].as_u64()).collect();
    assert_eq!(objects, (0..=10).collect::<Vec<_>>());
    let warnings: Vec<&Value> =
        records.iter().filter(|record| record["name"] == "loglevel:warning").collect();
    assert_eq!(warnings.len(), 1, "{records:?}");
    let text = warnings[0]["data"]["message"].as_str().unwrap();
    assert!(text.starts_with("90 events are left out"), "{text}");
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    let (disk, hand) = disk();
    let one = crate::file::weight(&event(0).event);
    let limits = Limits { bytes: 3 * one, ..Limits::default() };
    let qlog = Qlog::at(disk, limits).unwrap();
    let mut sink = sink(&qlog);
    sink(event(0));
    hand.asked.recv().unwrap();
    for object in 1..=100 {
        sink(event(object));
    }
    drop(hand.leave);
    qlog.finish();
    let written = hand.written.lock().unwrap();
    let count = |name: &str| String::from_utf8_lossy(&written).matches(name).count();
    assert_eq!(count("object_datagram_parsed"), 1 + 3);
}

/// Counts what is said to be an error.
struct Errors(&'static AtomicUsize);

impl Subscriber for Errors {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_full_disk_ends_one_log_and_no_other_and_is_told_of_once() {
    static ERRORS: AtomicUsize = AtomicUsize::new(0);
    tracing::dispatcher::set_global_default(tracing::Dispatch::new(Errors(&ERRORS))).unwrap();
    let (disk, hand) = disk();
    let qlog = Qlog::at(disk, Limits::default()).unwrap();
    let (mut first, mut second, mut third) = (sink(&qlog), sink(&qlog), sink(&qlog));
    for log in [&mut first, &mut third] {
        log(event(1));
        hand.asked.recv().unwrap();
        hand.leave.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        qlog.finish();
    }
    assert_eq!(ERRORS.load(Ordering::SeqCst), 1);
    drop(hand.leave);
    // The first is given up for good.
    first(event(2));
    qlog.finish();
    assert!(hand.written.lock().unwrap().is_empty());
    second(event(3));
    qlog.finish();
    let written = String::from_utf8(hand.written.lock().unwrap().clone()).unwrap();
    assert!(written.contains("\"object_id\":3"), "{written}");
    assert!(!written.contains("\"object_id\":2"), "{written}");
}

#[test]
fn so_many_connections_are_written_at_a_time() {
    let (disk, hand) = disk();
    drop(hand);
    let limits = Limits { files: 2, ..Limits::default() };
    let qlog = Qlog::at(disk, limits).unwrap();
    let first = sink(&qlog);
    let _second = sink(&qlog);
    assert!(qlog.writer.open(&connection(), None).is_none());
    drop(first);
    assert!(qlog.writer.open(&connection(), None).is_some());
}

#[test]
fn first_packets_are_kept_until_there_is_a_session() {
    let (disk, hand) = disk();
    (0..100).for_each(|_| hand.leave.send(Ok(())).unwrap());
    let qlog = Qlog::at(disk, Limits::default()).unwrap();
    let trace = qlog.trace();
    let remote = connection().remote;
    let packet = |stack: &mut QuicLog, n: u64| {
        // Stacks write records piece by piece.
        for piece in ["\x1e", "{\"time\":1,\"packet\":", &n.to_string(), "}", "\n"] {
            stack.write_all(piece.as_bytes()).unwrap();
        }
    };
    // Whoever sends first packets and nothing more has no file, and so does not fill the disk.
    let (mut stack, only_begun) = trace.begin(Role::Server, remote).unwrap();
    (0..10_000).for_each(|n| packet(&mut stack, n));
    drop((stack, only_begun));
    qlog.finish();
    assert!(hand.written.lock().unwrap().is_empty());

    let (mut stack, packets) = qlog.writer.begin();
    (0..5).for_each(|n| stack.write_all(format!("\x1e{{\"packet\":{n}}}\n").as_bytes()).unwrap());
    drop(qlog.writer.open(&connection(), Some(&packets)));
    stack.write_all(b"\x1e{\"packet\":5}\n").unwrap();
    qlog.finish();
    let records = hand.records();
    let found: Vec<u64> = records.iter().filter_map(|record| record["packet"].as_u64()).collect();
    assert_eq!(found, (0..6).collect::<Vec<_>>());
}
