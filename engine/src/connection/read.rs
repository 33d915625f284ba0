//! Reading objects.

use alloc::format;

use bytes::Bytes;

use super::MoqtConnection;
use crate::event::Read;
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{ObjectStatus, StreamResetCode};
use crate::stats;
use crate::stream::{RecvHalf, RecvKind, SubgroupRecv};
use crate::wire::{DecodeError, ObjectHeader, Properties, Quick, SubgroupEvent};

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
        if subgroup.reader.payload_left() > 0 && !front.is_empty() {
            let len = subgroup.reader.take_payload(front.len().min(max));
            *received = received.saturating_sub(len);
            let payload = half.buffer.take(len);
            let window_closed = half.window_closed;
            self.has_read(stream, window_closed);
            return Read::Payload(payload);
        }
        if let Some(Quick { object_id, payload_len, len }) = subgroup.reader.quick_object(front) {
            subgroup.objects += 1;
            stats::add(&mut subgroup.payload_bytes, payload_len);
            if object_id >= subgroup.bound {
                return self.read_bounded(stream, object_id, payload_len, len);
            }
            *received = received.saturating_sub(len);
            half.buffer.advance(len);
            let window_closed = half.window_closed;
            self.has_read(stream, window_closed);
            let (status, properties) = (ObjectStatus::Normal, Properties::EMPTY);
            return Read::Object(ObjectHeader { object_id, payload_len, status, properties });
        }
        self.read_slowly(stream, max)
    }

    /// An ordinary object header of `len` bytes, where something is known of its stream.
    #[cold]
    #[inline(never)]
    fn read_bounded(
        &mut self,
        stream: StreamKey,
        object_id: u64,
        payload_len: u64,
        len: usize,
    ) -> Read {
        let Some((half, received)) = self.streams.receiving(stream) else { return Read::Gone };
        *received = received.saturating_sub(len);
        half.buffer.advance(len);
        let window_closed = half.window_closed;
        self.has_read(stream, window_closed);
        let (status, properties) = (ObjectStatus::Normal, Properties::EMPTY);
        let header = ObjectHeader { object_id, payload_len, status, properties };
        self.read_checked(stream, None, header)
    }

    /// What is neither payload nor an ordinary object header that came in whole.
    #[cold]
    fn read_slowly(&mut self, stream: StreamKey, max: usize) -> Read {
        let Some((half, received)) = self.streams.receiving(stream) else { return Read::Gone };
        let RecvKind::Subgroup(subgroup) = &mut half.kind else { return Read::Gone };
        let existing = subgroup.existing();
        let front = half.buffer.front();
        let mut input = &front[..];
        let event = subgroup.reader.next(&mut input);
        let used = front.len() - input.len();
        match event {
            Ok(SubgroupEvent::Object { object_id, payload_len, status, properties }) => {
                let raw = share(front, properties);
                subgroup.objects += 1;
                stats::add(&mut subgroup.payload_bytes, payload_len);
                *received = received.saturating_sub(used);
                half.buffer.advance(used);
                let window_closed = half.window_closed;
                self.has_read(stream, window_closed);
                let properties = Properties::from_wire(self.dialect, raw);
                let header = ObjectHeader { object_id, payload_len, status, properties };
                self.read_checked(stream, existing, header)
            }
            // Payload is not read here, so there is none.
            Ok(SubgroupEvent::Payload(_) | SubgroupEvent::NeedMore) => {
                self.read_next_piece(stream, used, max)
            }
            Err(error) => self.unreadable(&error),
        }
    }

    /// Bytes of a data stream have been used. Most streams hold nothing back.
    #[inline]
    fn has_read(&mut self, stream: StreamKey, window_closed: bool) {
        if window_closed || !self.streams.window_waiters.is_empty() {
            self.reopen_windows(stream);
        }
    }

    /// A piece of `used` bytes ended inside a header: goes on with the next one.
    #[inline(never)]
    fn read_next_piece(&mut self, stream: StreamKey, used: usize, max: usize) -> Read {
        let Some((half, received)) = self.streams.receiving(stream) else { return Read::Gone };
        *received = received.saturating_sub(used);
        half.buffer.advance(used);
        let more = half.buffer.len() > 0;
        let window_closed = half.window_closed;
        self.has_read(stream, window_closed);
        if more { self.read(stream, max) } else { self.at_end(stream) }
    }

    /// Gives up a subgroup: its bytes are dropped and the peer is asked to send no more (draft-18,
    /// "Stream Cancellation"). For a fetch there is [`cancel`](Self::cancel).
    pub fn stop(&mut self, stream: StreamKey, code: StreamResetCode) {
        let Some(RecvHalf { kind: RecvKind::Subgroup(subgroup), .. }) =
            self.streams.recv_mut(stream)
        else {
            return;
        };
        let request = subgroup.request;
        if !self.closes_well(stream, false) {
            return;
        }
        self.count_ended(stream, true);
        let code = self.dialect.reset_code(code);
        self.streams.stop(stream, code);
        self.subgroup_read(request, stream);
        self.wake_window_waiters();
    }

    /// Everything that has come in was read.
    #[cold]
    fn at_end(&mut self, stream: StreamKey) -> Read {
        let Some(half) = self.streams.recv_mut(stream) else { return Read::Gone };
        let RecvKind::Subgroup(SubgroupRecv { request, reader, waiting, .. }) = &mut half.kind
        else {
            return Read::Gone;
        };
        let request: RequestKey = *request;
        if let Some(code) = half.reset {
            let code = self.dialect.reset(code);
            if !self.closes_well(stream, false) {
                return Read::Gone;
            }
            self.count_ended(stream, true);
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
        if !self.closes_well(stream, true) {
            return Read::Gone;
        }
        self.count_ended(stream, false);
        self.streams.drop_recv(stream);
        self.subgroup_read(request, stream);
        Read::Finished
    }

    #[cold]
    fn unreadable(&mut self, error: &DecodeError) -> Read {
        self.close_for(Violation::new(error.session_error(), format!("subgroup: {error}")));
        Read::Gone
    }

    /// Perhaps this stream's window opens, or another's.
    #[cold]
    pub(super) fn reopen_windows(&mut self, stream: StreamKey) {
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
pub(super) fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= whole.len() => whole.slice(start..end),
        _ => Bytes::copy_from_slice(part),
    }
}
