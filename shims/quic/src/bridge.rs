//! Between a QUIC connection and a [`MoqtConnection`]: which stream is which, and what goes up
//! and down.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use moqt_engine::{
    Action, Dir, MoqtConnection, StreamKey, StreamSend, Timestamp, Transmit, TransportClosed,
};
use moqt_webtransport::Event as HttpEvent;
use moqt_webtransport::code::{H3_NO_ERROR, WT_SESSION_GONE};

use crate::http::{Arrival, Http, code_from_quic, code_to_quic};
use crate::quic::{DatagramOutcome, Quic, ReadOutcome, Room, WriteOutcome};
use crate::streams::{Sending, Stream, Streams};
use crate::trace::{Sink, Traced};

/// Streams opened ahead. Not every stack says how many streams the peer allows, but whether it
/// allows one more; those opened and not used take no bytes on the wire.
const RESERVE: usize = 16;

/// A MoQT session and its streams on one QUIC connection.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) moqt: MoqtConnection,
    /// What a WebTransport session stands on; on raw QUIC every stream is the session's.
    http: Option<Box<Http>>,
    streams: Streams,
    bi: Reserve,
    uni: Reserve,
    max_datagram_size: Option<usize>,
    pieces: Vec<Bytes>,
    trace: Option<Sink>,
    /// The stream that was read last, with nothing else happening since.
    readable: Option<u64>,
    is_draining: bool,
}

#[derive(Debug, Default)]
struct Reserve {
    ahead: VecDeque<u64>,
    used: u64,
}

impl Bridge {
    pub(crate) fn new(moqt: MoqtConnection, http: Option<Box<Http>>, trace: Option<Sink>) -> Self {
        Self {
            moqt,
            http,
            streams: Streams::default(),
            bi: Reserve::default(),
            uni: Reserve::default(),
            max_datagram_size: None,
            pieces: Vec::new(),
            trace,
            readable: None,
            is_draining: false,
        }
    }

    /// The handshake is complete.
    pub(crate) fn start(&mut self, quic: &mut impl Quic, now: Timestamp) {
        for dir in [Dir::Bi, Dir::Uni] {
            self.refill(quic, now, dir);
            self.accept(quic, now, dir);
        }
        self.receive_datagrams(quic, now);
    }

    pub(crate) fn opened(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        self.stream_event(quic, now);
        self.accept(quic, now, dir);
    }

    pub(crate) fn readable(&mut self, quic: &mut impl Quic, now: Timestamp, id: u64) {
        // There may be one of these for every frame that came in.
        if self.stream_event(quic, now) != Some(id) {
            if let Some(key) = self.streams.key(id) {
                self.receive(quic, now, key);
            } else if let Some(http) = &mut self.http
                && let Some(arrival) = http.readable(quic, id)
            {
                self.arrived(quic, now, arrival);
            }
        }
        self.readable = Some(id);
    }

    pub(crate) fn writable(&mut self, quic: &mut impl Quic, now: Timestamp, id: u64) {
        self.stream_event(quic, now);
        if let Some(key) = self.streams.key(id) {
            self.moqt.handle_writable(now, key);
        } else if let Some(http) = &mut self.http {
            http.writable(quic, id);
        }
    }

    pub(crate) fn stopped(&mut self, quic: &mut impl Quic, now: Timestamp, id: u64, code: u64) {
        self.stream_event(quic, now);
        match self.streams.key(id) {
            Some(key) if self.streams.is_sending(key) => {
                if let Some(code) = self.code_from_quic(code) {
                    self.moqt.handle_stop_sending(now, key, code);
                }
            }
            // All had been written; what was not delivered is not wanted.
            Some(_) => {
                quic.reset(id, code);
                self.acknowledged(now, id);
            }
            None => match &mut self.http {
                Some(http) => http.stopped(quic, id, code),
                None => quic.reset(id, code),
            },
        }
    }

    pub(crate) fn finished(&mut self, quic: &mut impl Quic, now: Timestamp, id: u64) {
        self.stream_event(quic, now);
        self.acknowledged(now, id);
    }

    pub(crate) fn available(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        self.stream_event(quic, now);
        if let Some(http) = &mut self.http {
            http.available(quic);
        }
        self.refill(quic, now, dir);
    }

    /// What comes before everything that happens to streams. The stream that was read last, if
    /// nothing else has happened since.
    fn stream_event(&mut self, quic: &mut impl Quic, now: Timestamp) -> Option<u64> {
        // Stacks tell of datagrams after all that came on streams. The end of their track may be
        // among that, and before the end they were sent.
        self.receive_datagrams(quic, now);
        self.readable.take()
    }

    pub(crate) fn receive_datagrams(&mut self, quic: &mut impl Quic, now: Timestamp) {
        while let Some(datagram) = quic.recv_datagram() {
            let datagram = match &mut self.http {
                Some(http) => http.datagram(datagram),
                None => Some(datagram),
            };
            if let Some(datagram) = datagram {
                self.moqt.handle_datagram(now, datagram);
            }
        }
    }

    pub(crate) fn datagrams_writable(&mut self, now: Timestamp) {
        self.moqt.handle_datagrams_writable(now);
    }

    pub(crate) fn closed(&mut self, now: Timestamp, closed: TransportClosed) {
        let closed = match closed {
            // The code is one of HTTP/3's, and the session ends with its connection.
            TransportClosed::ByPeer { code, reason } if self.http.is_some() => match code {
                H3_NO_ERROR => TransportClosed::ByPeer { code: 0, reason },
                _ => TransportClosed::Lost {
                    reason: format!("closed by the peer with HTTP/3 code {code:#x}: {reason}"),
                },
            },
            closed => closed,
        };
        self.moqt.handle_closed(now, closed);
    }

    pub(crate) fn is_over_http(&self) -> bool {
        self.http.is_some()
    }

    /// Whether the peer has come to wish, in HTTP, that the session be ended.
    pub(crate) fn poll_draining(&mut self) -> bool {
        std::mem::take(&mut self.is_draining)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        let moqt = self.moqt.poll_timeout().map(|(at, _)| at);
        match (moqt, self.http.as_ref().and_then(|http| http.poll_timeout())) {
            (Some(moqt), Some(http)) => Some(moqt.min(http)),
            (moqt, http) => moqt.or(http),
        }
    }

    /// Before what has happened is told.
    pub(crate) fn begin(&mut self, quic: &mut impl Quic, now: Timestamp) {
        self.readable = None;
        let header = self.http.as_ref().map_or(0, |http| http.datagram_header().len());
        let max = quic.max_datagram_size().map(|max| max.saturating_sub(header));
        if max != self.max_datagram_size {
            self.max_datagram_size = max;
            self.moqt.handle_max_datagram_size(now, max);
        }
    }

    /// Does what the session wants done. Whether there was something.
    pub(crate) fn act(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        let mut acted = self.http_events(quic, now);
        while let Some(action) = self.moqt.poll_action() {
            acted = true;
            match action {
                Action::OpenStream { stream, dir } => self.open(quic, now, stream, dir),
                Action::ResetStream { stream, code } => {
                    let code = self.code_to_quic(code);
                    if let Some(id) = self.streams.end_sending(stream) {
                        quic.reset(id, code);
                    }
                }
                Action::StopSending { stream, code } => {
                    let code = self.code_to_quic(code);
                    if let Some(id) = self.streams.end_receiving(stream) {
                        quic.stop(id, code);
                    }
                }
                Action::ResumeReading { stream } => self.receive(quic, now, stream),
                Action::Close { code, reason } => match &mut self.http {
                    Some(http) => http.close(now, code, &reason),
                    None => quic.close(code, &reason),
                },
                _ => {}
            }
        }
        if let Some(http) = &mut self.http {
            acted |= http.act(quic, now);
        }
        self.tell_trace(now);
        acted
    }

    /// Writes what is most urgent, as much as there is room for. Whether it wrote.
    pub(crate) fn send(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        if quic.is_closed() {
            return false;
        }
        let room = quic.begin_writing(self.moqt.usage().control_bytes > 0);
        if room == Room::Nothing {
            return false;
        }
        let mut wrote = false;
        let Self { moqt, http, streams, pieces, .. } = self;
        while let Some(send) = moqt.poll_send(now) {
            match send {
                Transmit::Stream(send) => {
                    let key = send.stream();
                    let Some(stream) = streams.get_mut(key) else {
                        swallow(send);
                        continue;
                    };
                    if room == Room::Control && !stream.is_control {
                        break;
                    }
                    wrote = true;
                    match write(quic, stream, send, pieces) {
                        Written::All | Written::Blocked => {}
                        Written::Finished => streams.finished(key),
                        Written::Full => break,
                    }
                }
                Transmit::Datagram(_) if room == Room::Control => break,
                Transmit::Datagram(datagram) => {
                    wrote = true;
                    let prefix = http.as_ref().map(|http| http.datagram_header());
                    let prefix = prefix.as_deref().unwrap_or_default();
                    let [header, payload] = datagram.parts();
                    let len = prefix.len() + header.len() + payload.len();
                    let mut whole = BytesMut::with_capacity(len);
                    whole.extend_from_slice(prefix);
                    whole.extend_from_slice(header);
                    whole.extend_from_slice(payload);
                    match quic.send_datagram(whole.freeze()) {
                        DatagramOutcome::Sent => datagram.sent(),
                        DatagramOutcome::Blocked => datagram.blocked(),
                        DatagramOutcome::TooLarge => datagram.too_large(),
                    }
                }
            }
        }
        quic.end_writing();
        wrote
    }

    /// Whether all that was queued has been written and finished streams are acknowledged.
    pub(crate) fn is_flushed(&self) -> bool {
        let usage = self.moqt.usage();
        let is_written = usage.send_bytes == 0 && usage.control_bytes == 0;
        is_written
            && self.streams.are_acknowledged()
            && self.http.as_ref().is_none_or(|http| http.is_flushed())
    }

    fn open(&mut self, quic: &mut impl Quic, now: Timestamp, key: StreamKey, dir: Dir) {
        let reserve = match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        };
        // The session opens no more streams than it was given.
        let Some(id) = reserve.ahead.pop_front() else { return };
        reserve.used += 1;
        let is_control = dir == Dir::Bi || !self.moqt.is_established();
        if is_control {
            quic.lift(id);
        }
        let receives = dir == Dir::Bi;
        let header = self.http.as_ref().map(|http| http.stream_header(dir)).unwrap_or_default();
        let stream = Stream { id, header, is_control, sending: Sending::Open, receives };
        self.streams.insert(key, stream);
        self.refill(quic, now, dir);
    }

    fn refill(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        let reserve = match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        };
        while reserve.ahead.len() < RESERVE {
            let Some(id) = quic.open(dir) else { break };
            reserve.ahead.push_back(id);
        }
        let allowed = reserve.used + reserve.ahead.len() as u64;
        self.moqt.handle_streams_available(now, dir, allowed);
    }

    fn accept(&mut self, quic: &mut impl Quic, now: Timestamp, dir: Dir) {
        while let Some(id) = quic.accept(dir) {
            let Some(http) = &mut self.http else {
                let key = self.add(quic, now, id, dir);
                self.receive(quic, now, key);
                continue;
            };
            if let Some(arrival) = http.accepted(quic, id) {
                self.arrived(quic, now, arrival);
            }
        }
    }

    /// A stream of the peer's is the session's.
    fn add(&mut self, quic: &mut impl Quic, now: Timestamp, id: u64, dir: Dir) -> StreamKey {
        let sends = dir == Dir::Bi;
        if sends {
            quic.lift(id);
        }
        let key = self.moqt.handle_stream_opened(now, dir);
        let sending = if sends { Sending::Open } else { Sending::Over };
        let header = Bytes::new();
        let stream = Stream { id, header, is_control: sends, sending, receives: true };
        self.streams.insert(key, stream);
        key
    }

    /// A stream turned out to be the session's, after some of it had been read.
    fn arrived(&mut self, quic: &mut impl Quic, now: Timestamp, arrival: Arrival) {
        let key = self.add(quic, now, arrival.id, arrival.dir());
        if !arrival.data.is_empty() || arrival.fin {
            self.moqt.handle_stream_data(now, key, arrival.data, arrival.fin);
        }
        if let Some(code) = arrival.stopped.and_then(|code| self.code_from_quic(code)) {
            self.moqt.handle_stop_sending(now, key, code);
        }
        if let Some(code) = arrival.reset {
            self.reset_received(now, key, code);
        }
        if arrival.fin || arrival.reset.is_some() {
            self.tell_trace(now);
            self.streams.end_receiving(key);
        } else {
            self.receive(quic, now, key);
        }
    }

    /// What has become of the WebTransport session. Whether there was something.
    fn http_events(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        let mut acted = false;
        while let Some(http) = &mut self.http
            && let Some(event) = http.poll_event()
        {
            acted = true;
            match event {
                HttpEvent::Stream { stream, data, fin, reset } => {
                    let arrival = http.released(stream, data, fin, reset);
                    self.arrived(quic, now, arrival);
                }
                HttpEvent::Datagram(datagram) => self.moqt.handle_datagram(now, datagram),
                HttpEvent::Closed { code, reason } => {
                    http.part(now);
                    let code = u64::from(code);
                    self.moqt.handle_closed(now, TransportClosed::ByPeer { code, reason });
                    self.abandon_streams(quic);
                }
                HttpEvent::Draining => self.is_draining = true,
                HttpEvent::Failed(error) => {
                    http.part(now);
                    let reason = error.to_string();
                    self.moqt.handle_closed(now, TransportClosed::Lost { reason });
                    self.abandon_streams(quic);
                }
                _ => {}
            }
        }
        acted
    }

    /// The code to reset or stop a stream with.
    fn code_to_quic(&self, code: u64) -> u64 {
        if self.http.is_some() { code_to_quic(code) } else { code }
    }

    /// The code that a stream was reset or stopped with, unless the session is over.
    fn code_from_quic(&self, code: u64) -> Option<u64> {
        if self.http.is_some() { code_from_quic(code) } else { Some(code) }
    }

    fn reset_received(&mut self, now: Timestamp, key: StreamKey, code: u64) {
        if let Some(code) = self.code_from_quic(code) {
            self.moqt.handle_stream_reset(now, key, code);
        }
    }

    /// The peer has ended the session: nothing of its streams matters any more. (Those of a
    /// session that this side has ended go with the connection: resets could overtake the capsule
    /// that says why.)
    fn abandon_streams(&mut self, quic: &mut impl Quic) {
        for stream in self.streams.take() {
            if stream.sending != Sending::Over {
                quic.reset(stream.id, WT_SESSION_GONE);
            }
            if stream.receives {
                quic.stop(stream.id, WT_SESSION_GONE);
            }
        }
    }

    /// Reads as much of a stream as the session takes; the rest stays in QUIC and holds the
    /// peer back.
    fn receive(&mut self, quic: &mut impl Quic, now: Timestamp, key: StreamKey) {
        let Some(stream) = self.streams.get(key) else { return };
        if !stream.receives {
            return;
        }
        let id = stream.id;
        let moqt = &mut self.moqt;
        let window = moqt.recv_window(key);
        if window == 0 {
            // That the peer gave up is told all the same.
            if let Some(code) = quic.received_reset(id) {
                self.reset_received(now, key, code);
                self.streams.end_receiving(key);
            }
            return;
        }
        let outcome = quic.read(id, window, |chunk| {
            moqt.handle_stream_data(now, key, chunk, false);
            moqt.recv_window(key)
        });
        match outcome {
            ReadOutcome::Full | ReadOutcome::Blocked | ReadOutcome::Gone => return,
            ReadOutcome::Finished => moqt.handle_stream_data(now, key, Bytes::new(), true),
            ReadOutcome::Reset(code) => self.reset_received(now, key, code),
        }
        // What the stream is for is told while its ID is known.
        self.tell_trace(now);
        self.streams.end_receiving(key);
    }

    /// Hands on what was written and read.
    fn tell_trace(&mut self, now: Timestamp) {
        let Some(sink) = &mut self.trace else { return };
        while let Some(event) = self.moqt.poll_trace() {
            let stream = event.stream().and_then(|stream| self.streams.get(stream));
            let stream_id = stream.map(|stream| stream.id);
            sink.add(Traced { at: now, stream_id, event });
        }
    }

    /// All that was written on a stream has arrived, or is not wanted.
    fn acknowledged(&mut self, now: Timestamp, id: u64) {
        if let Some(key) = self.streams.acknowledged(id) {
            self.moqt.handle_stream_acknowledged(now, key);
        }
    }
}

/// How far writing what a stream had to send came.
enum Written {
    /// All of it was written.
    All,
    /// That, and the end of the stream.
    Finished,
    /// Not all of it, because of this stream.
    Blocked,
    /// Not all of it, because of the connection.
    Full,
}

fn write(
    quic: &mut impl Quic,
    stream: &mut Stream,
    mut send: StreamSend<'_>,
    pieces: &mut Vec<Bytes>,
) -> Written {
    let piece_len = quic.piece_len();
    let (chunks, fin) = send.offer();
    pieces.clear();
    let before = stream.header.len();
    if before > 0 {
        pieces.push(stream.header.clone());
    }
    let mut offered = 0;
    for chunk in chunks {
        offered += chunk.len();
        let mut rest = chunk.clone();
        while rest.len() > piece_len {
            pieces.push(rest.split_to(piece_len));
        }
        pieces.push(rest);
    }
    let (written, outcome) = quic.write(stream.id, pieces);
    stream.header.advance(written.min(before));
    match outcome {
        // A stream that the peer has stopped takes anything: the session is about to hear of it.
        WriteOutcome::All | WriteOutcome::Gone => send.written(offered),
        WriteOutcome::Blocked => {
            send.written(written.saturating_sub(before));
            return Written::Blocked;
        }
        WriteOutcome::Full => {
            send.written(written.saturating_sub(before));
            return Written::Full;
        }
    }
    if fin {
        quic.finish(stream.id);
        return Written::Finished;
    }
    Written::All
}

/// Takes what is offered for a stream that is not there any more.
fn swallow(mut send: StreamSend<'_>) {
    let len = send.offer().0.iter().map(Bytes::len).sum();
    send.written(len);
}
