//! The end of a request's own stream, of which each side ends its half.

use super::MoqtConnection;
use crate::key::StreamKey;
use crate::model::StreamResetCode;
use crate::stream::{PeerEnd, RecvKind};
use crate::time::Timestamp;

impl MoqtConnection {
    /// A request is over as far as this side is concerned: its stream ends after what is queued,
    /// and the peer is left to end its side.
    pub(super) fn end_request_stream(&mut self, stream: StreamKey) {
        self.streams.finish(stream);
        // Not stopped: that would cancel the request, and it could overtake the last word.
        self.streams.leave_request(stream);
        self.stop_if_overdue(stream);
    }

    /// This side of a request's stream has been sent to its end, or reset. There is nothing that
    /// the peer could wait for before it ends its own.
    pub(super) fn await_stream_end(&mut self, now: Timestamp, stream: StreamKey) {
        let deadline = now.saturating_add(self.config.limits.stream_end_timeout);
        self.streams.await_end(stream, deadline);
    }

    /// The peer has left its side open for too long. That is ended here then: "Implementations
    /// SHOULD cancel requests by abruptly terminating any directions of a stream that are still
    /// open" (draft-18, "Request Cancellation and Rejection"). A subscription that its publisher
    /// has ended may still be read; its stream waits for that.
    pub(super) fn stop_if_overdue(&mut self, stream: StreamKey) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        let is_over = match &half.kind {
            RecvKind::Request(messages) => messages.is_over,
            _ => true,
        };
        if is_over && half.peer_end == PeerEnd::Overdue {
            self.message_deadline(Timestamp::ZERO, stream, false);
            let code = self.dialect.reset_code(StreamResetCode::Cancelled);
            self.streams.stop(stream, code);
        }
    }
}
