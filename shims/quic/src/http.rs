//! HTTP/3 and WebTransport between a QUIC connection and a session: which streams are theirs, and
//! what is sent on those.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes};
use moqt_engine::{Dir, Timestamp};
use moqt_webtransport::code::{H3_NO_ERROR, WT_SESSION_GONE};
use moqt_webtransport::{Action, Connection, Event, Own, Route, error_from_http3, error_to_http3};

use crate::quic::{Quic, ReadOutcome, Room, WriteOutcome};

/// How much to read at a time of what is not the session's.
const WINDOW: usize = 4096;

/// How long the peer has to end its side of a closed session before QUIC is closed: enough for
/// its answer on any path that is of use.
const PARTING: Duration = Duration::from_secs(2);

/// One HTTP/3 connection with its WebTransport session, and the streams that are not the
/// session's.
#[derive(Debug)]
pub(crate) struct Http {
    layer: Connection,
    streams: HashMap<u64, Kind>,
    /// What waits to be written on HTTP/3's own streams.
    queues: HashMap<u64, VecDeque<Piece>>,
    /// Streams to open when the peer allows it.
    unopened: VecDeque<Own>,
    /// When QUIC is closed, whether the peer has answered or not.
    parting: Option<Timestamp>,
    /// The last of it has been asked of QUIC.
    is_over: bool,
}

/// Something to write, and whether the stream ends with it.
#[derive(Debug)]
struct Piece {
    data: Bytes,
    fin: bool,
}

/// A stream that is not the session's, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// HTTP/3's own, or not known.
    Own,
    /// It waits, unread, for the session to be established.
    Held {
        /// The peer wants nothing on it.
        stopped: Option<u64>,
    },
}

/// A stream that turned out to be the session's.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: u64,
    /// What followed its header.
    pub(crate) data: Bytes,
    /// That is all there is.
    pub(crate) fin: bool,
    /// The peer wants nothing on it.
    pub(crate) stopped: Option<u64>,
    /// The peer has given it up.
    pub(crate) reset: Option<u64>,
}

impl Arrival {
    pub(crate) fn dir(&self) -> Dir {
        dir(self.id)
    }
}

impl Http {
    pub(crate) fn new(layer: Connection) -> Self {
        Self {
            layer,
            streams: HashMap::new(),
            queues: HashMap::new(),
            unopened: VecDeque::new(),
            parting: None,
            is_over: false,
        }
    }

    pub(crate) fn layer(&mut self) -> &mut Connection {
        &mut self.layer
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.layer.poll_event()
    }

    /// A stream of the peer's.
    pub(crate) fn accepted(&mut self, quic: &mut impl Quic, id: u64) -> Option<Arrival> {
        self.streams.insert(id, Kind::Own);
        self.readable(quic, id)
    }

    /// Something has come on a stream that is not the session's; it may be from here on.
    pub(crate) fn readable(&mut self, quic: &mut impl Quic, id: u64) -> Option<Arrival> {
        if self.streams.get(&id) != Some(&Kind::Own) {
            return None;
        }
        let layer = &mut self.layer;
        let mut route = Route::Own;
        let outcome = quic.read(id, WINDOW, |chunk| {
            route = layer.handle_data(id, chunk, false);
            if matches!(route, Route::Own) { WINDOW } else { 0 }
        });
        let mut fin = false;
        match outcome {
            ReadOutcome::Finished => {
                fin = true;
                route = layer.handle_data(id, Bytes::new(), true);
            }
            ReadOutcome::Reset(code) => {
                layer.handle_reset(id, code);
                self.streams.remove(&id);
                return None;
            }
            ReadOutcome::Full | ReadOutcome::Blocked | ReadOutcome::Gone => {}
        }
        match route {
            Route::Own => {
                if fin {
                    self.streams.remove(&id);
                }
                None
            }
            Route::Session(data) => {
                self.streams.remove(&id);
                Some(Arrival { id, data, fin, stopped: None, reset: None })
            }
            Route::Held => {
                self.streams.insert(id, Kind::Held { stopped: None });
                None
            }
            Route::Refused => {
                self.streams.remove(&id);
                None
            }
        }
    }

    /// A stream that was held is the session's now.
    pub(crate) fn released(
        &mut self,
        id: u64,
        data: Bytes,
        fin: bool,
        reset: Option<u64>,
    ) -> Arrival {
        let stopped = match self.streams.remove(&id) {
            Some(Kind::Held { stopped }) => stopped,
            _ => None,
        };
        Arrival { id, data, fin, stopped, reset }
    }

    /// The peer wants no more of a stream that is not the session's.
    pub(crate) fn stopped(&mut self, quic: &mut impl Quic, id: u64, code: u64) {
        if let Some(Kind::Held { stopped }) = self.streams.get_mut(&id) {
            *stopped = Some(code);
            return;
        }
        quic.reset(id, code);
        self.queues.remove(&id);
        self.layer.handle_stop_sending(id, code);
    }

    /// The payload of a datagram, if it is the session's.
    pub(crate) fn datagram(&mut self, datagram: Bytes) -> Option<Bytes> {
        self.layer.handle_datagram(datagram)
    }

    /// Closes the session, and QUIC when the peer has answered.
    pub(crate) fn close(&mut self, now: Timestamp, code: u64, reason: &str) {
        self.layer.close(u32::try_from(code).unwrap_or(u32::MAX), reason);
        self.part(now);
    }

    /// The session is over: QUIC is closed, if need be when the time is up.
    pub(crate) fn part(&mut self, now: Timestamp) {
        self.parting.get_or_insert(now.saturating_add(PARTING));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.parting.filter(|_| !self.is_over)
    }

    /// Does what HTTP/3 wants done. Whether there was something.
    pub(crate) fn act(&mut self, quic: &mut impl Quic, now: Timestamp) -> bool {
        let mut acted = false;
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.close_quic(quic, H3_NO_ERROR, "");
            acted = true;
        }
        while let Some(action) = self.layer.poll_action() {
            acted = true;
            match action {
                Action::Open(own) => self.open(quic, own),
                Action::Send { stream, data, fin } => {
                    self.queues.entry(stream).or_default().push_back(Piece { data, fin });
                    self.flush(quic, stream);
                }
                Action::Reset { stream, code } => {
                    self.queues.remove(&stream);
                    quic.reset(stream, code);
                }
                // Its end is waited for, and would not be told once it was stopped.
                Action::StopSending { stream, .. } if self.layer.session_id() == Some(stream) => {}
                Action::StopSending { stream, code } => {
                    self.streams.remove(&stream);
                    quic.stop(stream, code);
                }
                Action::Close { code, reason } => self.close_quic(quic, code, &reason),
            }
        }
        acted
    }

    /// The peer allows more streams.
    pub(crate) fn available(&mut self, quic: &mut impl Quic) {
        for _ in 0..self.unopened.len() {
            if let Some(own) = self.unopened.pop_front() {
                self.open(quic, own);
            }
        }
    }

    /// A stream that took no more does again, if it is one of HTTP/3's own.
    pub(crate) fn writable(&mut self, quic: &mut impl Quic, id: u64) {
        if self.queues.contains_key(&id) {
            self.flush(quic, id);
        }
    }

    /// Whether all that HTTP/3 has to say has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queues.is_empty() && self.unopened.is_empty()
    }

    /// What precedes what the session writes on a stream that it opens.
    pub(crate) fn stream_header(&self, dir: Dir) -> Bytes {
        self.layer.stream_header(match dir {
            Dir::Bi => moqt_webtransport::Dir::Bi,
            Dir::Uni => moqt_webtransport::Dir::Uni,
        })
    }

    /// What precedes the payload of each datagram.
    pub(crate) fn datagram_header(&self) -> Bytes {
        self.layer.datagram_header()
    }

    fn open(&mut self, quic: &mut impl Quic, own: Own) {
        let dir = match own.dir() {
            moqt_webtransport::Dir::Bi => Dir::Bi,
            moqt_webtransport::Dir::Uni => Dir::Uni,
        };
        let Some(id) = quic.open(dir) else {
            self.unopened.push_back(own);
            return;
        };
        quic.lift(id);
        if dir == Dir::Bi {
            self.streams.insert(id, Kind::Own);
        }
        self.layer.handle_opened(own, id);
    }

    fn flush(&mut self, quic: &mut impl Quic, id: u64) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if quic.begin_writing(true) == Room::Nothing {
            return;
        }
        while let Some(piece) = queue.front_mut() {
            let mut pieces = [piece.data.clone()];
            let (written, outcome) = quic.write(id, &mut pieces);
            match outcome {
                WriteOutcome::All => {
                    if piece.fin {
                        quic.finish(id);
                    }
                    queue.pop_front();
                }
                WriteOutcome::Blocked | WriteOutcome::Full => {
                    piece.data.advance(written.min(piece.data.len()));
                    break;
                }
                WriteOutcome::Gone => queue.clear(),
            }
        }
        if queue.is_empty() {
            self.queues.remove(&id);
        }
        quic.end_writing();
    }

    fn close_quic(&mut self, quic: &mut impl Quic, code: u64, reason: &str) {
        self.is_over = true;
        quic.close(code, reason);
    }
}

/// A stream's direction, from its ID (RFC 9000, section 2.1).
fn dir(id: u64) -> Dir {
    if id & 2 == 0 { Dir::Bi } else { Dir::Uni }
}

/// The code to reset or stop a stream of the session's with.
pub(crate) fn code_to_quic(code: u64) -> u64 {
    error_to_http3(u32::try_from(code).unwrap_or(u32::MAX))
}

/// The code with which the peer has reset or stopped one; `None` if it did so because the session
/// is over, which is about to be told, or was. A code that is not an application's says that
/// something below it failed, which is what 0 stands for in MoQT: INTERNAL_ERROR.
pub(crate) fn code_from_quic(code: u64) -> Option<u64> {
    if code == WT_SESSION_GONE {
        return None;
    }
    Some(error_from_http3(code).map_or(0, u64::from))
}
