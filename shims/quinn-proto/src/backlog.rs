//! How much to have written to QUIC.
//!
//! quinn-proto does not say how much it holds, but it enforces a send window on exactly that
//! (bytes written and not acknowledged), which may be changed at any time. So the window
//! follows the congestion window, and a write that it stops says that enough has been written.

use std::time::Duration;

use moqt_quic::BacklogBound;
use quinn_proto::{Connection, StreamId, WriteError};

/// Room that control and request streams have beyond the bound.
const CONTROL_ROOM: u64 = 64 * 1024;

/// The bound on one connection's backlog, in force through quinn-proto's send window.
#[derive(Debug)]
pub(crate) struct Backlog {
    max: u64,
    bound: BacklogBound,
    /// The stream whose write the bound stopped. Nothing is written until quinn-proto says
    /// that it may go on, which is when a worthwhile part of the backlog is acknowledged.
    stopped_at: Option<StreamId>,
}

impl Backlog {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, bound: BacklogBound::new(0, Duration::ZERO, max), stopped_at: None }
    }

    /// Follows the congestion window.
    pub(crate) fn update(&mut self, quic: &mut Connection) {
        let congestion_window = quic.congestion_state().window();
        self.bound = BacklogBound::new(congestion_window, quic.min_rtt(), self.max);
        self.apply(quic);
    }

    /// While the bound is reached, the window is lower: writing in small portions would leave
    /// many small segments behind.
    fn apply(&self, quic: &mut Connection) {
        quic.set_send_window(match self.stopped_at {
            Some(_) => self.bound.target - self.bound.slack / 2,
            None => self.bound.target,
        });
    }

    pub(crate) fn is_full(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// Writes go in pieces of this size, because QUIC gives a piece back as a whole.
    pub(crate) fn piece_len(&self) -> usize {
        usize::try_from(self.bound.slack / 2).unwrap_or(usize::MAX).clamp(8 * 1024, 32 * 1024)
    }

    /// Lets control and request streams pass though the bound is reached.
    pub(crate) fn open_for_control(&self, quic: &mut Connection) {
        quic.set_send_window(self.bound.target.saturating_add(CONTROL_ROOM));
    }

    pub(crate) fn close_for_control(&self, quic: &mut Connection) {
        self.apply(quic);
    }

    /// A write on `id` was stopped. Whether it was by the bound, and not by the peer's flow
    /// control of that stream: an empty write that disregards the bound tells.
    pub(crate) fn stopped(&mut self, quic: &mut Connection, id: StreamId) -> bool {
        quic.set_send_window(u64::MAX);
        let by_peer = quic.send_stream(id).write_chunks(&mut []) == Err(WriteError::Blocked);
        if !by_peer {
            self.stopped_at = Some(id);
        }
        self.apply(quic);
        !by_peer
    }

    /// quinn-proto says that a stream can be written to.
    pub(crate) fn writable(&mut self, quic: &mut Connection) {
        if self.stopped_at.take().is_some() {
            self.apply(quic);
        }
    }

    /// A stream was reset: if it was the one that waited, it will not be called again.
    pub(crate) fn reset(&mut self, quic: &mut Connection, id: StreamId) {
        if self.stopped_at == Some(id) {
            self.writable(quic);
        }
    }
}
