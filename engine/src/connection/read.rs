//! Reading objects.

use alloc::format;

use bytes::Bytes;

use super::MoqtConnection;
use crate::event::Read;
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::StreamResetCode;
use crate::stream::{RecvHalf, RecvKind, SubgroupRecv};
use crate::wire::{DecodeError, ObjectHeader, Properties, SubgroupEvent};

impl MoqtConnection {
    /// Reads on in a subgroup, at most `max` bytes of payload at a time. Call it until it says
    /// [`Pending`](Read::Pending) or the stream is over; what is not read holds the peer back.
    ///
    /// Reading may open a stream's window and end a subscription, so drain actions and events
    /// afterwards.
    #[inline]
    pub fn read(&mut self, stream: StreamKey, max: usize) -> Read {
        let Some((half, received)) = self.streams.receiving(stream) else { return Read::Gone };
        let RecvKind::Subgroup(subgroup) = &mut half.kind else { return Read::Gone };
        let front = half.buffer.front();
        let limit = if subgroup.reader.payload_left() > 0 { max } else { usize::MAX };
        let mut input = front.get(..limit).unwrap_or(front);
        let available = input.len();
        let read = match subgroup.reader.next(&mut input) {
            Ok(SubgroupEvent::Payload(payload)) => {
                let len = payload.len();
                *received = received.saturating_sub(len);
                Read::Payload(half.buffer.take(len))
            }
            Ok(SubgroupEvent::Object { object_id, payload_len, status, properties }) => {
                let properties = if properties.is_empty() {
                    Properties::EMPTY
                } else {
                    Properties::from_wire(self.dialect, share(front, properties))
                };
                let used = available - input.len();
                *received = received.saturating_sub(used);
                half.buffer.advance(used);
                Read::Object(ObjectHeader { object_id, payload_len, status, properties })
            }
            Ok(SubgroupEvent::NeedMore) => return self.read_next_piece(stream, available, max),
            Err(error) => return self.unreadable(&error),
        };
        if half.window_closed || !self.streams.window_waiters.is_empty() {
            self.reopen_windows(stream);
        }
        read
    }

    /// A piece of `used` bytes ended inside a header: goes on with the next one.
    #[inline(never)]
    fn read_next_piece(&mut self, stream: StreamKey, used: usize, max: usize) -> Read {
        let Some((half, received)) = self.streams.receiving(stream) else { return Read::Gone };
        *received = received.saturating_sub(used);
        half.buffer.advance(used);
        let more = half.buffer.len() > 0;
        if half.window_closed || !self.streams.window_waiters.is_empty() {
            self.reopen_windows(stream);
        }
        if more { self.read(stream, max) } else { self.at_end(stream) }
    }

    /// Gives up a subgroup: its bytes are dropped and the peer is asked to send no more.
    pub fn stop(&mut self, stream: StreamKey, code: StreamResetCode) {
        let Some(RecvHalf { kind: RecvKind::Subgroup(subgroup), .. }) =
            self.streams.recv_mut(stream)
        else {
            return;
        };
        let request = subgroup.request;
        let code = self.dialect.reset_code(code);
        self.streams.stop(stream, code);
        self.subgroup_read(request, stream);
        self.wake_window_waiters();
    }

    /// Everything that has come in was read.
    #[cold]
    fn at_end(&mut self, stream: StreamKey) -> Read {
        let Some(half) = self.streams.recv_mut(stream) else { return Read::Gone };
        let RecvKind::Subgroup(SubgroupRecv { request, reader, waiting }) = &mut half.kind else {
            return Read::Gone;
        };
        let request: RequestKey = *request;
        if let Some(code) = half.reset {
            let code = self.dialect.reset(code);
            self.streams.drop_recv(stream);
            self.subgroup_read(request, stream);
            return Read::Reset(code);
        }
        if !half.fin {
            *waiting = true;
            return Read::Pending;
        }
        if !reader.is_at_boundary() {
            self.close_for(Violation::protocol("a subgroup stream finished inside an object"));
            return Read::Gone;
        }
        self.streams.drop_recv(stream);
        self.subgroup_read(request, stream);
        Read::Finished
    }

    #[cold]
    fn unreadable(&mut self, error: &DecodeError) -> Read {
        self.close_for(Violation::new(error.session_error(), format!("subgroup: {error}")));
        Read::Gone
    }

    /// Bytes of a data stream have been used: perhaps its window opens, or another's.
    #[cold]
    fn reopen_windows(&mut self, stream: StreamKey) {
        self.wake_window_waiters();
        let limit = self.config.limits.stream_receive;
        let Some(half) = self.streams.recv_mut(stream) else { return };
        if half.window_closed && half.buffer.len() <= limit / 2 {
            half.window_closed = false;
            self.streams.push_action(crate::Action::ResumeReading { stream });
        }
    }
}

/// `part` without a copy if it lies in `whole`; it does not if it was put together from two
/// pieces.
fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= whole.len() => whole.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}
