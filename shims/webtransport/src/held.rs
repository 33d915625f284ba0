//! What came before its session was established.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Limits;

/// Streams and datagrams that wait for their session, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Held {
    streams: Vec<HeldStream>,
    stream_bytes: usize,
    datagrams: VecDeque<(u64, Bytes)>,
    datagram_bytes: usize,
}

/// A stream that waits.
#[derive(Debug)]
pub(crate) struct HeldStream {
    pub(crate) stream: u64,
    pub(crate) session: u64,
    pub(crate) data: Bytes,
    pub(crate) fin: bool,
    pub(crate) reset: Option<u64>,
}

impl Held {
    /// Holds a stream, unless that is too much.
    pub(crate) fn hold_stream(
        &mut self,
        held: HeldStream,
        limits: &Limits,
    ) -> Result<(), HeldStream> {
        let bytes = self.stream_bytes.saturating_add(held.data.len());
        if self.streams.len() >= limits.held_streams || bytes > limits.held_stream_bytes {
            return Err(held);
        }
        self.stream_bytes = bytes;
        // What came may be a small part of something large.
        let data = Bytes::copy_from_slice(&held.data);
        self.streams.push(HeldStream { data, ..held });
        Ok(())
    }

    /// Holds a datagram's payload, unless that is too much.
    pub(crate) fn hold_datagram(&mut self, session: u64, payload: &Bytes, limits: &Limits) -> bool {
        let bytes = self.datagram_bytes.saturating_add(payload.len());
        if self.datagrams.len() >= limits.held_datagrams || bytes > limits.held_datagram_bytes {
            return false;
        }
        self.datagram_bytes = bytes;
        self.datagrams.push_back((session, Bytes::copy_from_slice(payload)));
        true
    }

    /// A stream that waits.
    pub(crate) fn stream_mut(&mut self, stream: u64) -> Option<&mut HeldStream> {
        self.streams.iter_mut().find(|held| held.stream == stream)
    }

    /// Everything; nothing is held afterwards.
    pub(crate) fn take(&mut self) -> (Vec<HeldStream>, VecDeque<(u64, Bytes)>) {
        let Self { streams, datagrams, .. } = std::mem::take(self);
        (streams, datagrams)
    }
}
