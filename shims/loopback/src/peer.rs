//! What sits at an end of a link.

use bytes::Bytes;
use moqt_engine::{Dir, MoqtConnection, StreamKey, Timestamp, TransportClosed};

use crate::raw::{RawPeer, StreamId};

/// An engine or a script.
#[derive(Debug)]
pub(crate) enum Peer {
    Engine(Box<MoqtConnection>),
    Raw(Box<RawPeer>),
}

/// A stream as the peer at one end knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) id: StreamId,
    /// What an engine calls it.
    pub(crate) key: Option<StreamKey>,
}

impl Peer {
    /// The peer opened a stream: an engine gives it a key.
    pub(crate) fn stream_opened(&mut self, now: Timestamp, id: StreamId) -> Option<StreamKey> {
        match self {
            Self::Engine(engine) => Some(engine.handle_stream_opened(now, id.dir())),
            Self::Raw(raw) => {
                raw.known(id);
                if id.dir() == Dir::Bi {
                    raw.sending.entry(id).or_default();
                }
                None
            }
        }
    }

    pub(crate) fn recv_window(&mut self, stream: Handle) -> usize {
        match (self, stream.key) {
            (Self::Engine(engine), Some(key)) => engine.recv_window(key),
            _ => usize::MAX,
        }
    }

    pub(crate) fn stream_data(&mut self, now: Timestamp, stream: Handle, data: Bytes, fin: bool) {
        match (self, stream.key) {
            (Self::Engine(engine), Some(key)) => engine.handle_stream_data(now, key, data, fin),
            (Self::Raw(raw), _) => raw.on_data(stream.id, &data, fin),
            (Self::Engine(_), None) => {}
        }
    }

    pub(crate) fn stream_reset(&mut self, now: Timestamp, stream: Handle, code: u64) {
        match (self, stream.key) {
            (Self::Engine(engine), Some(key)) => engine.handle_stream_reset(now, key, code),
            (Self::Raw(raw), _) => raw.known(stream.id).reset = Some(code),
            (Self::Engine(_), None) => {}
        }
    }

    pub(crate) fn stop_sending(&mut self, now: Timestamp, stream: Handle, code: u64) {
        match (self, stream.key) {
            (Self::Engine(engine), Some(key)) => engine.handle_stop_sending(now, key, code),
            (Self::Raw(raw), _) => raw.known(stream.id).stopped = Some(code),
            (Self::Engine(_), None) => {}
        }
    }

    pub(crate) fn writable(&mut self, now: Timestamp, stream: Handle) {
        match (self, stream.key) {
            (Self::Engine(engine), Some(key)) => engine.handle_writable(now, key),
            (Self::Raw(raw), _) => raw.on_writable(stream.id),
            (Self::Engine(_), None) => {}
        }
    }

    pub(crate) fn stream_acknowledged(&mut self, now: Timestamp, stream: StreamKey) {
        if let Self::Engine(engine) = self {
            engine.handle_stream_acknowledged(now, stream);
        }
    }

    pub(crate) fn datagram(&mut self, now: Timestamp, data: Bytes) {
        match self {
            Self::Engine(engine) => engine.handle_datagram(now, data),
            Self::Raw(raw) => raw.on_datagram(data),
        }
    }

    pub(crate) fn datagrams_writable(&mut self, now: Timestamp) {
        if let Self::Engine(engine) = self {
            engine.handle_datagrams_writable(now);
        }
    }

    pub(crate) fn max_datagram_size(&mut self, now: Timestamp, size: Option<usize>) {
        match self {
            Self::Engine(engine) => engine.handle_max_datagram_size(now, size),
            Self::Raw(raw) => raw.max_datagram_size = size,
        }
    }

    pub(crate) fn streams_available(&mut self, now: Timestamp, dir: Dir, total: u64) {
        match self {
            Self::Engine(engine) => engine.handle_streams_available(now, dir, total),
            Self::Raw(raw) => *raw.allowed.get_mut(dir) = total.max(raw.allowed.get(dir)),
        }
    }

    pub(crate) fn closed(&mut self, now: Timestamp, closed: TransportClosed) {
        match self {
            Self::Engine(engine) => engine.handle_closed(now, closed),
            Self::Raw(raw) => raw.on_closed(closed),
        }
    }
}
