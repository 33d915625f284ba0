//! An s2n-quic connection as the bridge to the engine sees it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use moqt_engine::{Dir, Role};
use moqt_quic::{DatagramOutcome, Quic, ReadOutcome, Room, WriteOutcome};
use s2n_quic::application;
use s2n_quic::connection::{Handle, StreamAcceptor};
use s2n_quic::stream::{self, BidirectionalStream, ReceiveStream, SendStream};

use crate::datagrams::Datagrams;
use crate::flow::Bound;
use crate::signals::{Side, Signals, StreamWaker};

/// A short header (RFC 9000, section 17.3.1) without the connection ID, at most.
const SHORT_HEADER: usize = 1 + 4;
/// What encryption adds to a packet, with every cipher suite of TLS 1.3.
const AEAD_TAG: usize = 16;
/// Type and length of a DATAGRAM frame (RFC 9221, section 4).
const DATAGRAM_HEADER: usize = 1 + 2;

/// A connection's streams and datagrams.
#[derive(Debug)]
pub(crate) struct Streams {
    role: Role,
    /// `None` when the connection is over.
    live: Option<Live>,
    signals: Arc<Signals>,
    datagrams: Arc<Datagrams>,
    /// Streams this side has given out: bidirectional and unidirectional.
    given: [u64; 2],
    /// Those of them that s2n-quic knows of. It tells the peer of a bidirectional stream as soon
    /// as it is opened, so that none is before it is used.
    opened: [u64; 2],
    table: HashMap<u64, Stream>,
    /// Writers that wait for the backlog to shrink.
    waiting: Vec<u64>,
    /// Writers that wait for their stream to be opened.
    unopened: Vec<u64>,
    /// What came of sending sides while they were looked at.
    sent: VecDeque<(u64, Sent)>,
    /// Control and request streams: what is written on them goes though data has to wait.
    lifted: HashSet<u64>,
    is_closed: bool,
}

#[derive(Debug)]
struct Live {
    handle: Handle,
    acceptor: StreamAcceptor,
}

#[derive(Debug, Default)]
struct Stream {
    send: Option<Half<SendStream>>,
    /// No more is sent; what was is to be acknowledged.
    is_finished: bool,
    receive: Option<Half<ReceiveStream>>,
}

#[derive(Debug)]
struct Half<S> {
    stream: S,
    waker: Waker,
}

/// How sending on a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All was acknowledged.
    Acknowledged,
    /// The peer has stopped it with this code.
    Stopped(u64),
}

impl Streams {
    pub(crate) fn new(
        role: Role,
        handle: Handle,
        acceptor: StreamAcceptor,
        signals: Arc<Signals>,
        datagrams: Arc<Datagrams>,
    ) -> Self {
        Self {
            role,
            live: Some(Live { handle, acceptor }),
            signals,
            datagrams,
            given: [0; 2],
            opened: [0; 2],
            table: HashMap::new(),
            waiting: Vec::new(),
            unopened: Vec::new(),
            sent: VecDeque::new(),
            lifted: HashSet::new(),
            is_closed: false,
        }
    }

    /// Looks whether all of a finished stream was acknowledged.
    pub(crate) fn look_at_sent(&mut self, id: u64) {
        let Some(stream) = self.table.get_mut(&id).filter(|stream| stream.is_finished) else {
            return;
        };
        let Some(half) = &mut stream.send else { return };
        let sent = match half.stream.poll_close(&mut Context::from_waker(&half.waker)) {
            Poll::Ready(Ok(())) => Sent::Acknowledged,
            Poll::Ready(Err(stream::Error::StreamReset { error, .. })) => Sent::Stopped(*error),
            // That the connection is over is told by itself.
            Poll::Pending | Poll::Ready(Err(_)) => return,
        };
        self.sent.push_back((id, sent));
        self.end_sending(id);
    }

    /// How sending on a finished stream ended.
    pub(crate) fn poll_sent(&mut self) -> Option<(u64, Sent)> {
        self.sent.pop_front()
    }

    /// Whether all that was written on streams that are not finished has been acknowledged. If
    /// not, the task is woken when one of them has come further.
    pub(crate) fn is_flushed(&mut self) -> bool {
        self.table.values_mut().filter(|stream| !stream.is_finished).all(|stream| {
            let Some(half) = &mut stream.send else { return true };
            half.stream.poll_flush(&mut Context::from_waker(&half.waker)).is_ready()
        })
    }

    /// Writers that waited for the backlog to shrink.
    pub(crate) fn take_waiting(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.waiting)
    }

    /// Writers that waited for their stream to be opened.
    pub(crate) fn take_unopened(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unopened)
    }

    /// The connection is over: everything is given back to s2n-quic.
    pub(crate) fn end(&mut self) {
        self.is_closed = true;
        self.table.clear();
        self.live = None;
    }

    /// Tells s2n-quic of a stream that was given out, and of those before it. Whether it is there.
    fn open_for_real(&mut self, id: u64) -> bool {
        let Some(live) = &mut self.live else { return false };
        let is_uni = id & 2 != 0;
        let (dir, opened) =
            if is_uni { (Dir::Uni, &mut self.opened[1]) } else { (Dir::Bi, &mut self.opened[0]) };
        while *opened <= id >> 2 {
            let waker = StreamWaker::waker(&self.signals, 0, Side::Opening);
            let cx = &mut Context::from_waker(&waker);
            let (id, stream) = if is_uni {
                let Poll::Ready(Ok(send)) = live.handle.poll_open_send_stream(cx) else {
                    return false;
                };
                let id = send.id();
                (id, Stream { send: Some(sending(&self.signals, send)), ..Stream::default() })
            } else {
                let Poll::Ready(Ok(both)) = live.handle.poll_open_bidirectional_stream(cx) else {
                    return false;
                };
                (both.id(), bidirectional(&self.signals, both))
            };
            *opened += 1;
            self.signals.opened(id, dir);
            // Whatever comes on it is waited for by reading it.
            if stream.receive.is_some() {
                self.signals.tell(|news| news.readable.push(id));
            }
            self.table.insert(id, stream);
        }
        true
    }

    /// Whether this is a stream that was given out and that s2n-quic does not know of yet.
    fn is_unopened(&self, id: u64) -> bool {
        let is_ours = (id & 1 == 0) == (self.role == Role::Client);
        let [bidi, uni] = self.opened;
        is_ours && id >> 2 >= if id & 2 == 0 { bidi } else { uni }
    }

    fn sender(&mut self, id: u64) -> Option<&mut Half<SendStream>> {
        if self.is_unopened(id) {
            self.open_for_real(id);
        }
        self.table.get_mut(&id)?.send.as_mut()
    }

    fn end_sending(&mut self, id: u64) {
        self.signals.forget(id);
        self.lifted.remove(&id);
        if let Some(stream) = self.table.get_mut(&id) {
            stream.send = None;
            self.forget_if_over(id);
        }
    }

    fn end_receiving(&mut self, id: u64) {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.receive = None;
            self.forget_if_over(id);
        }
    }

    fn forget_if_over(&mut self, id: u64) {
        if self.table.get(&id).is_some_and(|s| s.send.is_none() && s.receive.is_none()) {
            self.table.remove(&id);
        }
    }
}

fn bidirectional(signals: &Arc<Signals>, stream: BidirectionalStream) -> Stream {
    let (receive, send) = stream.split();
    let (send, receive) = (sending(signals, send), receiving(signals, receive));
    Stream { send: Some(send), receive: Some(receive), ..Stream::default() }
}

fn sending(signals: &Arc<Signals>, stream: SendStream) -> Half<SendStream> {
    let waker = StreamWaker::waker(signals, stream.id(), Side::Sending);
    Half { stream, waker }
}

fn receiving(signals: &Arc<Signals>, stream: ReceiveStream) -> Half<ReceiveStream> {
    let waker = StreamWaker::waker(signals, stream.id(), Side::Receiving);
    Half { stream, waker }
}

impl Quic for Streams {
    fn open(&mut self, dir: Dir) -> Option<u64> {
        let (given, kind) = match dir {
            Dir::Bi => (&mut self.given[0], 0),
            Dir::Uni => (&mut self.given[1], 2),
        };
        if self.is_closed || *given >= self.signals.max_streams(dir) {
            return None;
        }
        // Streams are numbered in the order in which they are opened (RFC 9000, section 2.1).
        let id = *given << 2 | kind | u64::from(self.role == Role::Server);
        *given += 1;
        Some(id)
    }

    fn accept(&mut self, dir: Dir) -> Option<u64> {
        let acceptor = &mut self.live.as_mut()?.acceptor;
        let waker = StreamWaker::waker(&self.signals, 0, Side::Accepting);
        let cx = &mut Context::from_waker(&waker);
        let (id, stream) = match dir {
            Dir::Bi => {
                let Poll::Ready(Ok(Some(both))) = acceptor.poll_accept_bidirectional_stream(cx)
                else {
                    return None;
                };
                self.signals.accepted(both.id());
                (both.id(), bidirectional(&self.signals, both))
            }
            Dir::Uni => {
                let Poll::Ready(Ok(Some(receive))) = acceptor.poll_accept_receive_stream(cx) else {
                    return None;
                };
                let id = receive.id();
                (
                    id,
                    Stream {
                        receive: Some(receiving(&self.signals, receive)),
                        ..Stream::default()
                    },
                )
            }
        };
        self.table.insert(id, stream);
        Some(id)
    }

    /// s2n-quic has no priorities, but streams take turns, packet by packet. What it holds already
    /// is little; see [`Flow`](crate::flow::Flow).
    fn lift(&mut self, stream: u64) {
        self.lifted.insert(stream);
    }

    fn read(&mut self, stream: u64, _: usize, mut take: impl FnMut(Bytes) -> usize) -> ReadOutcome {
        let id = stream;
        let Some(stream) = self.table.get_mut(&id) else {
            return if self.is_unopened(id) { ReadOutcome::Blocked } else { ReadOutcome::Gone };
        };
        let Some(half) = &mut stream.receive else { return ReadOutcome::Gone };
        let cx = &mut Context::from_waker(&half.waker);
        let outcome = loop {
            match half.stream.poll_receive(cx) {
                Poll::Pending => return ReadOutcome::Blocked,
                Poll::Ready(Ok(Some(chunk))) => {
                    if take(chunk) == 0 {
                        return ReadOutcome::Full;
                    }
                }
                Poll::Ready(Ok(None)) => break ReadOutcome::Finished,
                Poll::Ready(Err(stream::Error::StreamReset { error, .. })) => {
                    break ReadOutcome::Reset(*error);
                }
                Poll::Ready(Err(_)) => break ReadOutcome::Gone,
            }
        };
        self.end_receiving(id);
        outcome
    }

    fn received_reset(&mut self, stream: u64) -> Option<u64> {
        let half = self.table.get_mut(&stream)?.receive.as_mut()?;
        // Reading nothing tells of a reset all the same.
        let cx = &mut Context::from_waker(&half.waker);
        match half.stream.poll_receive_vectored(&mut [], cx) {
            Poll::Ready(Err(stream::Error::StreamReset { error, .. })) => Some(*error),
            _ => None,
        }
    }

    fn begin_writing(&mut self, has_control: bool) -> Room {
        match (self.signals.is_full(), has_control) {
            (false, _) => Room::Any,
            (true, true) => Room::Control,
            (true, false) => Room::Nothing,
        }
    }

    fn write(&mut self, stream: u64, pieces: &mut [Bytes]) -> (usize, WriteOutcome) {
        let (id, is_control) = (stream, self.lifted.contains(&stream));
        let signals = self.signals.clone();
        let Some(half) = self.sender(id) else {
            if self.live.is_none() || !self.is_unopened(id) {
                return (0, WriteOutcome::Gone);
            }
            self.unopened.push(id);
            return (0, WriteOutcome::Blocked);
        };
        let wanted = pieces.iter().map(Bytes::len).sum::<usize>();
        let (taken, bound) = signals.take_room(id, wanted as u64, is_control);
        let mut rest = usize::try_from(taken).unwrap_or(wanted);
        let taken = rest;
        let mut count = 0;
        for piece in pieces.iter_mut() {
            if rest == 0 && !piece.is_empty() {
                break;
            }
            piece.truncate(rest);
            rest -= piece.len();
            count += 1;
        }
        let pieces = pieces.get_mut(..count).unwrap_or_default();
        if taken > 0 {
            // There is always room: how much there is was bounded before.
            let cx = &mut Context::from_waker(&half.waker);
            if let Poll::Ready(Err(_)) = half.stream.poll_send_vectored(pieces, cx) {
                return (0, WriteOutcome::Gone);
            }
        }
        let outcome = match bound {
            Bound::None => WriteOutcome::All,
            Bound::Stream => WriteOutcome::Blocked,
            Bound::Backlog => {
                self.waiting.push(id);
                WriteOutcome::Full
            }
        };
        (taken, outcome)
    }

    fn end_writing(&mut self) {}

    fn finish(&mut self, stream: u64) {
        // Opened, if it was not; and finished with the first look.
        self.sender(stream);
        if let Some(stream) = self.table.get_mut(&stream) {
            stream.is_finished = true;
        }
        self.look_at_sent(stream);
    }

    fn reset(&mut self, stream: u64, code: u64) {
        if let Some(half) = self.sender(stream) {
            // One that was stopped was reset thereby.
            let _ = half.stream.reset(error(code));
            self.end_sending(stream);
        }
    }

    fn stop(&mut self, stream: u64, code: u64) {
        let half = self.table.get_mut(&stream).and_then(|stream| stream.receive.as_mut());
        if let Some(half) = half {
            let _ = half.stream.stop_sending(error(code));
            self.end_receiving(stream);
        }
    }

    fn recv_datagram(&mut self) -> Option<Bytes> {
        self.datagrams.recv()
    }

    fn send_datagram(&mut self, datagram: Bytes) -> DatagramOutcome {
        if self.max_datagram_size().is_none_or(|max| datagram.len() > max) {
            DatagramOutcome::TooLarge
        } else if self.datagrams.send(datagram) {
            DatagramOutcome::Sent
        } else {
            DatagramOutcome::Blocked
        }
    }

    fn max_datagram_size(&mut self) -> Option<usize> {
        let max_frame = self.datagrams.max_frame();
        if max_frame == 0 {
            return None;
        }
        let path = self.signals.path();
        let around = SHORT_HEADER + path.cid_len + AEAD_TAG;
        let max_frame = usize::try_from(max_frame).unwrap_or(usize::MAX);
        let frame = usize::from(path.max_payload).saturating_sub(around).min(max_frame);
        Some(frame.saturating_sub(DATAGRAM_HEADER))
    }

    /// The reason stays here: s2n-quic sends codes alone.
    fn close(&mut self, code: u64, _: &str) {
        self.is_closed = true;
        if let Some(live) = &self.live {
            live.handle.close(error(code));
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }
}

fn error(code: u64) -> application::Error {
    application::Error::new(code).unwrap_or(application::Error::UNKNOWN)
}
