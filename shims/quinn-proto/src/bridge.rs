//! Between a QUIC connection and a [`MoqtConnection`]: which stream is which, and what goes up
//! and down.
//!
//! This is raw QUIC, where every stream of the connection is the session's. A WebTransport
//! session takes the same place with the same functions, its streams being those that begin
//! with its header.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use moqt_engine::{
    Action, Dir, MoqtConnection, StreamKey, StreamSend, Timestamp, Transmit, TransportClosed,
};
use quinn_proto::{
    Connection, ReadError, SendDatagramError, StreamEvent, StreamId, VarInt, WriteError,
};

use crate::backlog::Backlog;
use crate::trace::{Sink, Traced};

/// Streams opened ahead. quinn-proto does not say how many streams the peer allows, only
/// whether it allows one more; those opened and not used take no bytes on the wire.
const RESERVE: usize = 16;

/// QUIC's priority of control and request streams; data has 0, and more goes first.
const CONTROL_PRIORITY: i32 = 1;

/// A MoQT session and its streams on one QUIC connection.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) moqt: MoqtConnection,
    streams: HashMap<StreamKey, Stream>,
    keys: HashMap<StreamId, StreamKey>,
    bi: Reserve,
    uni: Reserve,
    backlog: Backlog,
    max_datagram_size: Option<usize>,
    /// Sending sides that have ended and are not acknowledged.
    unacknowledged: usize,
    pieces: Vec<Bytes>,
    trace: Option<Sink>,
    /// The stream that was read last, with nothing else happening since.
    readable: Option<StreamId>,
}

#[derive(Debug)]
struct Stream {
    id: StreamId,
    is_control: bool,
    sending: Sending,
    receives: bool,
}

/// How far the sending side of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// There is more to come.
    Open,
    /// All has been written, and is not acknowledged.
    Unacknowledged,
    /// There is none, or no longer.
    Over,
}

#[derive(Debug, Default)]
struct Reserve {
    ahead: VecDeque<StreamId>,
    used: u64,
}

impl Bridge {
    pub(crate) fn new(moqt: MoqtConnection, max_backlog: u64, trace: Option<Sink>) -> Self {
        Self {
            moqt,
            streams: HashMap::new(),
            keys: HashMap::new(),
            bi: Reserve::default(),
            uni: Reserve::default(),
            backlog: Backlog::new(max_backlog),
            max_datagram_size: None,
            unacknowledged: 0,
            pieces: Vec::new(),
            trace,
            readable: None,
        }
    }

    /// The handshake is complete.
    pub(crate) fn start(&mut self, quic: &mut Connection, now: Timestamp) {
        for dir in [Dir::Bi, Dir::Uni] {
            self.refill(quic, now, dir);
            self.accept(quic, now, dir);
        }
        self.receive_datagrams(quic, now);
    }

    pub(crate) fn stream_event(
        &mut self,
        quic: &mut Connection,
        now: Timestamp,
        event: &StreamEvent,
    ) {
        // QUIC tells of datagrams after all that came on streams. The end of their track may be
        // among that, and before the end they were sent.
        self.receive_datagrams(quic, now);
        let last_readable = self.readable.take();
        match *event {
            StreamEvent::Opened { dir } => self.accept(quic, now, from_quic(dir)),
            StreamEvent::Readable { id } => {
                // There is one of these for every frame that came in.
                if last_readable != Some(id)
                    && let Some(&key) = self.keys.get(&id)
                {
                    self.receive(quic, now, key);
                }
                self.readable = Some(id);
            }
            StreamEvent::Writable { id } => {
                self.backlog.writable(quic);
                if let Some(&key) = self.keys.get(&id) {
                    self.moqt.handle_writable(now, key);
                }
            }
            StreamEvent::Stopped { id, error_code } => {
                match self.keys.get(&id) {
                    Some(&key) if self.is_sending(key) => {
                        self.moqt.handle_stop_sending(now, key, error_code.into_inner());
                    }
                    // All had been written; what was not delivered is not wanted.
                    _ => {
                        let _ = quic.send_stream(id).reset(error_code);
                        self.acknowledged(now, id);
                    }
                }
            }
            StreamEvent::Finished { id } => self.acknowledged(now, id),
            StreamEvent::Available { dir } => self.refill(quic, now, from_quic(dir)),
        }
    }

    pub(crate) fn receive_datagrams(&mut self, quic: &mut Connection, now: Timestamp) {
        while let Some(datagram) = quic.datagrams().recv() {
            self.moqt.handle_datagram(now, datagram);
        }
    }

    pub(crate) fn datagrams_writable(&mut self, now: Timestamp) {
        self.moqt.handle_datagrams_writable(now);
    }

    pub(crate) fn closed(&mut self, now: Timestamp, closed: TransportClosed) {
        self.moqt.handle_closed(now, closed);
    }

    /// Before events are polled: the window in force decides which there are.
    pub(crate) fn begin(&mut self, quic: &mut Connection, now: Timestamp) {
        self.readable = None;
        self.backlog.update(quic);
        let max = quic.datagrams().max_size();
        if max != self.max_datagram_size {
            self.max_datagram_size = max;
            self.moqt.handle_max_datagram_size(now, max);
        }
    }

    /// Does what the session wants done. Whether there was something.
    pub(crate) fn act(&mut self, quic: &mut Connection, now: Timestamp, at: Instant) -> bool {
        let mut acted = false;
        while let Some(action) = self.moqt.poll_action() {
            acted = true;
            match action {
                Action::OpenStream { stream, dir } => self.open(quic, now, stream, dir),
                Action::ResetStream { stream, code } => {
                    if let Some(id) = self.end_sending(stream) {
                        // Reset or stopped already, there is nothing left to reset.
                        let _ = quic.send_stream(id).reset(varint(code));
                        self.backlog.reset(quic, id);
                    }
                }
                Action::StopSending { stream, code } => {
                    if let Some(id) = self.end_receiving(stream) {
                        let _ = quic.recv_stream(id).stop(varint(code));
                    }
                }
                Action::ResumeReading { stream } => self.receive(quic, now, stream),
                Action::Close { code, reason } => {
                    quic.close(at, varint(code), reason.into_bytes().into());
                }
                _ => {}
            }
        }
        self.tell_trace(now);
        acted
    }

    /// Writes what is most urgent, as much as the backlog allows. Whether it wrote.
    pub(crate) fn send(&mut self, quic: &mut Connection, now: Timestamp) -> bool {
        if quic.is_closed() {
            return false;
        }
        let control_only = self.backlog.is_full();
        if control_only {
            if self.moqt.usage().control_bytes == 0 {
                return false;
            }
            self.backlog.open_for_control(quic);
        }
        let mut wrote = false;
        let Self { moqt, streams, backlog, pieces, unacknowledged, .. } = self;
        while let Some(send) = moqt.poll_send(now) {
            match send {
                Transmit::Stream(send) => {
                    let key = send.stream();
                    let Some(stream) = streams.get_mut(&key) else {
                        swallow(send);
                        continue;
                    };
                    if control_only && !stream.is_control {
                        break;
                    }
                    wrote = true;
                    match write(quic, stream.id, send, pieces, backlog.piece_len()) {
                        Outcome::All => {}
                        Outcome::Finished => {
                            *unacknowledged += 1;
                            stream.sending = Sending::Unacknowledged;
                        }
                        Outcome::Stopped => {
                            let id = stream.id;
                            if !control_only && backlog.stopped(quic, id) {
                                break;
                            }
                        }
                    }
                }
                Transmit::Datagram(_) if control_only => break,
                Transmit::Datagram(datagram) => {
                    wrote = true;
                    let [header, payload] = datagram.parts();
                    let mut whole = BytesMut::with_capacity(header.len() + payload.len());
                    whole.extend_from_slice(header);
                    whole.extend_from_slice(payload);
                    match quic.datagrams().send(whole.freeze(), false) {
                        Ok(()) => datagram.sent(),
                        Err(SendDatagramError::Blocked(_)) => datagram.blocked(),
                        Err(_) => datagram.too_large(),
                    }
                }
            }
        }
        if control_only {
            backlog.close_for_control(quic);
        }
        wrote
    }

    /// Whether all that was queued has been written and finished streams are acknowledged.
    pub(crate) fn is_flushed(&self) -> bool {
        let usage = self.moqt.usage();
        usage.send_bytes == 0 && usage.control_bytes == 0 && self.unacknowledged == 0
    }

    fn open(&mut self, quic: &mut Connection, now: Timestamp, key: StreamKey, dir: Dir) {
        let reserve = match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        };
        // The session opens no more streams than it was given.
        let Some(id) = reserve.ahead.pop_front() else { return };
        reserve.used += 1;
        let is_control = dir == Dir::Bi || !self.moqt.is_established();
        if is_control {
            // A stream just opened is not closed.
            let _ = quic.send_stream(id).set_priority(CONTROL_PRIORITY);
        }
        let receives = dir == Dir::Bi;
        let stream = Stream { id, is_control, sending: Sending::Open, receives };
        self.streams.insert(key, stream);
        self.keys.insert(id, key);
        self.refill(quic, now, dir);
    }

    fn refill(&mut self, quic: &mut Connection, now: Timestamp, dir: Dir) {
        let reserve = match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        };
        while reserve.ahead.len() < RESERVE {
            let Some(id) = quic.streams().open(to_quic(dir)) else { break };
            reserve.ahead.push_back(id);
        }
        let allowed = reserve.used + reserve.ahead.len() as u64;
        self.moqt.handle_streams_available(now, dir, allowed);
    }

    fn accept(&mut self, quic: &mut Connection, now: Timestamp, dir: Dir) {
        while let Some(id) = quic.streams().accept(to_quic(dir)) {
            let sends = dir == Dir::Bi;
            if sends {
                let _ = quic.send_stream(id).set_priority(CONTROL_PRIORITY);
            }
            let key = self.moqt.handle_stream_opened(now, dir);
            let sending = if sends { Sending::Open } else { Sending::Over };
            let stream = Stream { id, is_control: sends, sending, receives: true };
            self.streams.insert(key, stream);
            self.keys.insert(id, key);
            self.receive(quic, now, key);
        }
    }

    /// Reads as much of a stream as the session takes; the rest stays in QUIC and holds the
    /// peer back.
    fn receive(&mut self, quic: &mut Connection, now: Timestamp, key: StreamKey) {
        let Some(stream) = self.streams.get(&key) else { return };
        if !stream.receives {
            return;
        }
        let id = stream.id;
        let moqt = &mut self.moqt;
        let mut window = moqt.recv_window(key);
        if window == 0 {
            // That the peer gave up is told all the same.
            if let Ok(Some(code)) = quic.recv_stream(id).received_reset() {
                moqt.handle_stream_reset(now, key, code.into_inner());
                self.end_receiving(key);
            }
            return;
        }
        let mut stream = quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let ended = loop {
            match chunks.next(window) {
                Ok(Some(chunk)) => {
                    moqt.handle_stream_data(now, key, chunk.bytes, false);
                    window = moqt.recv_window(key);
                    if window == 0 {
                        break false;
                    }
                }
                Ok(None) => {
                    moqt.handle_stream_data(now, key, Bytes::new(), true);
                    break true;
                }
                Err(ReadError::Blocked) => break false,
                Err(ReadError::Reset(code)) => {
                    moqt.handle_stream_reset(now, key, code.into_inner());
                    break true;
                }
            }
        };
        // What it credits to the peer goes out with the next transmit in any case.
        let _ = chunks.finalize();
        if ended {
            // What the stream is for is told while its ID is known.
            self.tell_trace(now);
            self.end_receiving(key);
        }
    }

    /// Hands on what was written and read.
    fn tell_trace(&mut self, now: Timestamp) {
        let Some(sink) = &mut self.trace else { return };
        while let Some(event) = self.moqt.poll_trace() {
            let stream = event.stream().and_then(|stream| self.streams.get(&stream));
            let stream_id = stream.map(|stream| VarInt::from(stream.id).into_inner());
            sink.add(Traced { at: now, stream_id, event });
        }
    }

    fn end_sending(&mut self, key: StreamKey) -> Option<StreamId> {
        let stream = self.streams.get_mut(&key)?;
        match std::mem::replace(&mut stream.sending, Sending::Over) {
            Sending::Open => {}
            Sending::Unacknowledged => {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
            }
            Sending::Over => return None,
        }
        let id = stream.id;
        self.forget_if_over(key);
        Some(id)
    }

    fn is_sending(&self, key: StreamKey) -> bool {
        self.streams.get(&key).is_some_and(|stream| stream.sending == Sending::Open)
    }

    /// All that was written on a stream has arrived, or is not wanted.
    fn acknowledged(&mut self, now: Timestamp, id: StreamId) {
        let Some(&key) = self.keys.get(&id) else { return };
        let Some(stream) = self.streams.get_mut(&key) else { return };
        if stream.sending == Sending::Unacknowledged {
            stream.sending = Sending::Over;
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            self.moqt.handle_stream_acknowledged(now, key);
            self.forget_if_over(key);
        }
    }

    fn end_receiving(&mut self, key: StreamKey) -> Option<StreamId> {
        let stream = self.streams.get_mut(&key).filter(|stream| stream.receives)?;
        stream.receives = false;
        let id = stream.id;
        self.forget_if_over(key);
        Some(id)
    }

    fn forget_if_over(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get(&key)
            && stream.sending == Sending::Over
            && !stream.receives
        {
            self.keys.remove(&stream.id);
            self.streams.remove(&key);
        }
    }
}

enum Outcome {
    /// QUIC took all that was offered.
    All,
    /// That, and the end of the stream.
    Finished,
    /// QUIC took less.
    Stopped,
}

fn write(
    quic: &mut Connection,
    id: StreamId,
    mut send: StreamSend<'_>,
    pieces: &mut Vec<Bytes>,
    piece_len: usize,
) -> Outcome {
    let (chunks, fin) = send.offer();
    pieces.clear();
    let mut offered = 0;
    for chunk in chunks {
        offered += chunk.len();
        let mut rest = chunk.clone();
        while rest.len() > piece_len {
            pieces.push(rest.split_to(piece_len));
        }
        pieces.push(rest);
    }
    let mut stream = quic.send_stream(id);
    let mut written = 0;
    let mut rest = pieces.as_mut_slice();
    while written < offered {
        match stream.write_chunks(rest) {
            Ok(took) => {
                written += took.bytes;
                rest = rest.get_mut(took.chunks..).unwrap_or_default();
            }
            Err(WriteError::Blocked) => {
                send.written(written);
                return Outcome::Stopped;
            }
            // The peer has stopped the stream, and the session is about to hear of it.
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => break,
        }
    }
    send.written(offered);
    if fin {
        // One that was stopped cannot be finished, and need not be.
        let _ = stream.finish();
        return Outcome::Finished;
    }
    Outcome::All
}

/// Takes what is offered for a stream that is not there any more.
fn swallow(mut send: StreamSend<'_>) {
    let len = send.offer().0.iter().map(Bytes::len).sum();
    send.written(len);
}

fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn to_quic(dir: Dir) -> quinn_proto::Dir {
    match dir {
        Dir::Bi => quinn_proto::Dir::Bi,
        Dir::Uni => quinn_proto::Dir::Uni,
    }
}

fn from_quic(dir: quinn_proto::Dir) -> Dir {
    match dir {
        quinn_proto::Dir::Bi => Dir::Bi,
        quinn_proto::Dir::Uni => Dir::Uni,
    }
}
