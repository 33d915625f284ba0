//! A quinn-proto connection as the bridge to the engine sees it.

use std::time::Instant;

use bytes::Bytes;
use moqt_engine::Dir;
use moqt_quic::{DatagramOutcome, Quic, ReadOutcome, Room, WriteOutcome};
use quinn_proto::{Connection, ReadError, SendDatagramError, StreamId, VarInt, WriteError};

use crate::backlog::Backlog;

/// QUIC's priority of control and request streams; data has 0, and more goes first.
const CONTROL_PRIORITY: i32 = 1;

/// A connection, how much to have written on it, and what time it is.
pub(crate) struct Streams<'a> {
    quic: &'a mut Connection,
    backlog: &'a mut Backlog,
    at: Instant,
    /// Control and request streams are written to though the backlog is full.
    is_open_for_control: bool,
}

impl<'a> Streams<'a> {
    pub(crate) fn new(quic: &'a mut Connection, backlog: &'a mut Backlog, at: Instant) -> Self {
        Self { quic, backlog, at, is_open_for_control: false }
    }
}

impl Quic for Streams<'_> {
    fn open(&mut self, dir: Dir) -> Option<u64> {
        self.quic.streams().open(to_quic(dir)).map(u64::from)
    }

    fn accept(&mut self, dir: Dir) -> Option<u64> {
        self.quic.streams().accept(to_quic(dir)).map(u64::from)
    }

    fn lift(&mut self, stream: u64) {
        // It fails on a closed stream only.
        let _ = self.quic.send_stream(id(stream)).set_priority(CONTROL_PRIORITY);
    }

    fn read(
        &mut self,
        stream: u64,
        mut window: usize,
        mut take: impl FnMut(Bytes) -> usize,
    ) -> ReadOutcome {
        let mut stream = self.quic.recv_stream(id(stream));
        let Ok(mut chunks) = stream.read(true) else { return ReadOutcome::Gone };
        let outcome = loop {
            match chunks.next(window) {
                Ok(Some(chunk)) => {
                    window = take(chunk.bytes);
                    if window == 0 {
                        break ReadOutcome::Full;
                    }
                }
                Ok(None) => break ReadOutcome::Finished,
                Err(ReadError::Blocked) => break ReadOutcome::Blocked,
                Err(ReadError::Reset(code)) => break ReadOutcome::Reset(code.into_inner()),
            }
        };
        // What it credits to the peer goes out with the next transmit in any case.
        let _ = chunks.finalize();
        outcome
    }

    fn received_reset(&mut self, stream: u64) -> Option<u64> {
        let code = self.quic.recv_stream(id(stream)).received_reset().ok().flatten();
        code.map(VarInt::into_inner)
    }

    fn begin_writing(&mut self, has_control: bool) -> Room {
        if !self.backlog.is_full() {
            return Room::Any;
        }
        if !has_control {
            return Room::Nothing;
        }
        self.backlog.open_for_control(self.quic);
        self.is_open_for_control = true;
        Room::Control
    }

    fn piece_len(&self) -> usize {
        self.backlog.piece_len()
    }

    fn write(&mut self, stream: u64, pieces: &mut [Bytes]) -> (usize, WriteOutcome) {
        let id = id(stream);
        let mut stream = self.quic.send_stream(id);
        let offered: usize = pieces.iter().map(Bytes::len).sum();
        let mut written = 0;
        let mut rest = pieces;
        while written < offered {
            match stream.write_chunks(rest) {
                Ok(took) => {
                    written += took.bytes;
                    rest = rest.get_mut(took.chunks..).unwrap_or_default();
                }
                Err(WriteError::Blocked) => {
                    let is_full = !self.is_open_for_control && self.backlog.stopped(self.quic, id);
                    let outcome = if is_full { WriteOutcome::Full } else { WriteOutcome::Blocked };
                    return (written, outcome);
                }
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    return (written, WriteOutcome::Gone);
                }
            }
        }
        (written, WriteOutcome::All)
    }

    fn end_writing(&mut self) {
        if std::mem::take(&mut self.is_open_for_control) {
            self.backlog.close_for_control(self.quic);
        }
    }

    fn finish(&mut self, stream: u64) {
        // One that was stopped cannot be finished, and need not be.
        let _ = self.quic.send_stream(id(stream)).finish();
    }

    fn reset(&mut self, stream: u64, code: u64) {
        let id = id(stream);
        // Reset or stopped already, there is nothing left to reset.
        let _ = self.quic.send_stream(id).reset(varint(code));
        self.backlog.reset(self.quic, id);
    }

    fn stop(&mut self, stream: u64, code: u64) {
        let _ = self.quic.recv_stream(id(stream)).stop(varint(code));
    }

    fn recv_datagram(&mut self) -> Option<Bytes> {
        self.quic.datagrams().recv()
    }

    fn send_datagram(&mut self, datagram: Bytes) -> DatagramOutcome {
        match self.quic.datagrams().send(datagram, false) {
            Ok(()) => DatagramOutcome::Sent,
            Err(SendDatagramError::Blocked(_)) => DatagramOutcome::Blocked,
            Err(_) => DatagramOutcome::TooLarge,
        }
    }

    fn max_datagram_size(&mut self) -> Option<usize> {
        self.quic.datagrams().max_size()
    }

    fn close(&mut self, code: u64, reason: &str) {
        self.quic.close(self.at, varint(code), Bytes::copy_from_slice(reason.as_bytes()));
    }

    fn is_closed(&self) -> bool {
        self.quic.is_closed()
    }
}

fn id(stream: u64) -> StreamId {
    StreamId::from(varint(stream))
}

fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}

fn to_quic(dir: Dir) -> quinn_proto::Dir {
    match dir {
        Dir::Bi => quinn_proto::Dir::Bi,
        Dir::Uni => quinn_proto::Dir::Uni,
    }
}

/// The other way round.
pub(crate) fn from_quic(dir: quinn_proto::Dir) -> Dir {
    match dir {
        quinn_proto::Dir::Bi => Dir::Bi,
        quinn_proto::Dir::Uni => Dir::Uni,
    }
}
