//! What the transport tells the connection. None of it can fail: whatever the peer did, the
//! answer is an action and an event.

use alloc::string::String;

use bytes::Bytes;

use super::delivery::GivenUp;
use super::{MoqtConnection, SessionState};
use crate::config::Dir;
use crate::event::{CloseReason, Event};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{RequestErrorCode, SessionError, StreamResetCode};
use crate::stream::{RecvKind, SendClass};
use crate::time::Timestamp;
use crate::timers::Timer;

/// How much of a control or request stream may come in at a time. All of it is used at once.
const CONTROL_WINDOW: usize = 64 * 1024;

/// No header of a data stream is longer.
const HEADER_LEN: usize = 64;

/// How a transport session ended, as the transport knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportClosed {
    /// The peer closed it with an application error code.
    ByPeer {
        /// The code.
        code: u64,
        /// The peer's words.
        reason: String,
    },
    /// It failed, timed out or was torn down.
    Lost {
        /// What happened.
        reason: String,
    },
}

impl MoqtConnection {
    /// The transport allows this side to have opened `now_allowed` streams in this direction,
    /// since the beginning and in all. A number that is not larger than before changes
    /// nothing.
    pub fn handle_streams_available(&mut self, now: Timestamp, dir: Dir, now_allowed: u64) {
        if self.is_closed() {
            return;
        }
        if self.streams.allow(dir, now_allowed) {
            self.start(now);
            self.unblock();
        }
    }

    /// The largest datagram the transport takes, `None` if it takes none.
    pub fn handle_max_datagram_size(&mut self, _now: Timestamp, size: Option<usize>) {
        self.max_datagram_size = size;
    }

    /// The peer opened a stream. Call this in the order the streams were opened, as far as it
    /// is known.
    pub fn handle_stream_opened(&mut self, _now: Timestamp, dir: Dir) -> StreamKey {
        let stream = self.streams.accept(dir);
        if self.is_closed() {
            self.streams.clear();
        } else if !self.is_established() {
            self.early.push(stream);
        }
        stream
    }

    /// How many bytes of a stream to take from the transport now. If it is 0, leave the rest
    /// there; [`Action::ResumeReading`](crate::Action::ResumeReading) says when to ask again, or
    /// [`Action::StopSending`](crate::Action::StopSending) that nobody wants it any more. Giving
    /// more than this does no harm but to memory.
    pub fn recv_window(&mut self, stream: StreamKey) -> usize {
        let limits = &self.config.limits;
        let session_left = limits.session_receive.saturating_sub(self.streams.data_received);
        let early_left = limits.early_bytes.saturating_sub(self.early_bytes);
        let Some(half) = self.streams.recv_mut(stream) else { return usize::MAX };
        let held = half.buffer.len();
        let mut session_is_full = false;
        let window = match &half.kind {
            RecvKind::Control(_) | RecvKind::Request(_) => CONTROL_WINDOW,
            RecvKind::Discard => usize::MAX,
            RecvKind::AwaitingAlias(_) => 0,
            RecvKind::Unidentified if self.state != SessionState::Established => {
                let turn = self.early.iter().position(|early| *early == stream);
                let has_turn = turn.is_some_and(|turn| turn < limits.early_streams);
                // Enough to tell the control stream, on which all others wait.
                let minimum = crate::wire::MAX_INT_LEN.saturating_sub(held);
                if has_turn { early_left.max(minimum) } else { minimum }
            }
            RecvKind::Unidentified | RecvKind::Subgroup(_) | RecvKind::Fetch(_) => {
                let own_left = limits.stream_receive.saturating_sub(held);
                session_is_full = own_left > session_left;
                // Before its header is whole nobody can read it.
                let minimum = match half.kind {
                    RecvKind::Subgroup(_) | RecvKind::Fetch(_) => limits.stream_minimum.max(1),
                    _ => limits.stream_minimum.max(HEADER_LEN),
                };
                let minimum = minimum.saturating_sub(held);
                // Whatever the limits are, a header is let in, and something to read.
                let least = match half.kind {
                    RecvKind::Unidentified => HEADER_LEN.saturating_sub(held),
                    _ => usize::from(held == 0),
                };
                own_left.min(session_left.max(minimum)).max(least)
            }
        };
        if window == 0 && !half.window_closed {
            half.window_closed = true;
            if session_is_full && !core::mem::replace(&mut half.waits_for_session, true) {
                self.streams.window_waiters.push_back(stream);
            }
        }
        window
    }

    /// Bytes came in on a stream, in order; with `fin` they are its last.
    ///
    /// Unread bytes keep all of the buffer alive that they were cut from, and count with their
    /// own length alone. So pieces of fewer than 256 bytes are copied if they have to wait
    /// behind others; a transport that cuts longer ones from buffers that are very much larger
    /// should copy those itself.
    pub fn handle_stream_data(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
        data: Bytes,
        fin: bool,
    ) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        if half.fin || half.reset.is_some() {
            return;
        }
        let len = data.len();
        half.fin = fin;
        match half.kind {
            // The hot path: nothing but putting it where it will be read.
            RecvKind::Subgroup(ref mut subgroup) => {
                half.buffer.push(data);
                let tell = (len > 0 || fin) && core::mem::take(&mut subgroup.waiting);
                self.streams.data_received += len;
                if tell {
                    self.events.push_back(Event::Readable { stream });
                }
            }
            RecvKind::Fetch(ref mut fetch) => {
                half.buffer.push(data);
                let tell = (len > 0 || fin) && core::mem::take(&mut fetch.waiting);
                self.streams.data_received += len;
                if tell {
                    self.events.push_back(Event::Readable { stream });
                }
            }
            RecvKind::Discard => {
                if fin {
                    self.streams.drop_recv(stream);
                }
            }
            _ => {
                half.buffer.push(data);
                self.on_bytes(now, stream, len);
            }
        }
    }

    /// The peer reset a stream.
    pub fn handle_stream_reset(&mut self, now: Timestamp, stream: StreamKey, code: u64) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        if half.fin || half.reset.is_some() {
            return;
        }
        half.reset = Some(code);
        self.on_reset(now, stream, code);
    }

    /// The peer asks this side to stop sending on a stream.
    pub fn handle_stop_sending(&mut self, now: Timestamp, stream: StreamKey, code: u64) {
        let Some(half) = self.streams.send_mut(stream) else { return };
        let reason = self.dialect.reset(code);
        match half.class {
            SendClass::Control => {
                self.close_for(Violation::protocol("the control stream was stopped"));
            }
            SendClass::Request => self.on_request_stopped(now, stream, code),
            SendClass::Data(sender, _) => {
                let request =
                    self.streams.schedule.sender(sender).and_then(|sender| sender.request);
                if let Some(request) = request.filter(|key| self.is_fetch(*key)) {
                    return self.cancelled_by_peer(now, request, reason);
                }
                self.note_given_up(stream, GivenUp::Stopped);
                if let Some(request) = request {
                    let is_told = !self.is_told_over(request);
                    self.reset_subgroup(request, stream, StreamResetCode::Cancelled);
                    if is_told {
                        let event = Event::SubgroupStopped { request, stream, code: reason };
                        self.events.push_back(event);
                    }
                }
            }
        }
    }

    /// A datagram came in.
    #[expect(clippy::needless_pass_by_value, reason = "like stream data; its parts are kept")]
    pub fn handle_datagram(&mut self, now: Timestamp, data: Bytes) {
        if self.is_closed() {
            return;
        }
        if let Err(violation) = self.on_datagram(now, &data) {
            self.close_for(violation);
        }
    }

    /// A stream to which less was written than was offered takes more again.
    pub fn handle_writable(&mut self, _now: Timestamp, stream: StreamKey) {
        self.streams.unpark(stream);
    }

    /// The transport takes datagrams again.
    pub fn handle_datagrams_writable(&mut self, _now: Timestamp) {
        self.streams.schedule.unblock_datagrams();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.streams.deadlines.is_due(now) {
            self.expire_deliveries(now);
        }
        while let Some(stream) = self.streams.pop_end(now) {
            self.stop_if_overdue(stream);
        }
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Setup => self.close_local(
                    SessionError::ControlMessageTimeout,
                    "the peer's SETUP did not come in time".into(),
                ),
                Timer::ControlMessage(stream) => self.message_overdue(stream),
                Timer::Answer(request) => {
                    self.fail_request(request, RequestErrorCode::Timeout, "no answer in time");
                }
                Timer::FetchStream(request) => self.fetch_stream_expired(request),
                Timer::UpdateAnswer(update) => self.update_unanswered(update),
                Timer::UpdateRefused(request) => self.refused_not_ended(now, request),
                Timer::Expiry(request) => self.subscription_expired(now, request),
                Timer::Goaway => self.goaway_expired(),
                Timer::RequestGoaway(request) => self.request_goaway_expired(now, request),
                Timer::LateStreams(request) => self.late_streams_expired(request),
                Timer::StreamHeader(stream) => self.header_overdue(now, stream),
                Timer::UnknownAlias(alias) => self.alias_expired(alias),
                // Kept elsewhere.
                Timer::Delivery | Timer::StreamEnd(_) => {}
            }
        }
    }

    /// The transport session is over.
    pub fn handle_closed(&mut self, _now: Timestamp, closed: TransportClosed) {
        if self.is_closed() {
            return;
        }
        self.complete_those_done();
        self.end(match closed {
            TransportClosed::ByPeer { code, reason } => {
                CloseReason::Peer { error: self.dialect.session_error(code), code, reason }
            }
            TransportClosed::Lost { reason } => CloseReason::Transport { reason },
        });
    }

    /// The session is about to end: datagrams that may be late come no more.
    pub(super) fn complete_those_done(&mut self) {
        for request in self.requests.done_and_whole() {
            self.late_streams_expired(request);
        }
    }

    fn on_reset(&mut self, now: Timestamp, stream: StreamKey, code: u64) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        match &mut half.kind {
            RecvKind::Control(_) => {
                self.close_for(Violation::protocol("the control stream was reset"));
            }
            RecvKind::Request(messages) if messages.is_over => {
                self.message_deadline(now, stream, false);
                self.streams.drop_recv(stream);
            }
            RecvKind::Request(_) => self.on_request_stopped(now, stream, code),
            RecvKind::Unidentified => {
                self.abandoned(now, stream);
            }
            RecvKind::AwaitingAlias(_) => {}
            RecvKind::Subgroup(subgroup) => {
                if core::mem::take(&mut subgroup.waiting) {
                    self.events.push_back(Event::Readable { stream });
                }
            }
            RecvKind::Fetch(fetch) => {
                if core::mem::take(&mut fetch.waiting) {
                    self.events.push_back(Event::Readable { stream });
                }
            }
            RecvKind::Discard => self.streams.drop_recv(stream),
        }
    }

    /// A stream ended before it said what it was. That happens, but not too often.
    pub(super) fn abandoned(&mut self, now: Timestamp, stream: StreamKey) {
        if let Some(half) = self.streams.recv_mut(stream)
            && !matches!(self.state, SessionState::Established)
        {
            self.early_bytes = self.early_bytes.saturating_sub(half.buffer.len());
            self.early.retain(|early| *early != stream);
        }
        if let Some(half) = self.streams.recv_mut(stream)
            && let Some(deadline) = half.header_deadline.take()
        {
            self.timers.clear(deadline, Timer::StreamHeader(stream));
        }
        self.streams.drop_recv(stream);
        let code = self.dialect.reset_code(StreamResetCode::Cancelled);
        self.streams.reset(stream, code);
        self.count_churn(now);
    }

    /// The rest of a stream's first header did not come in time.
    fn header_overdue(&mut self, now: Timestamp, stream: StreamKey) {
        let code = self.dialect.reset_code(StreamResetCode::Cancelled);
        self.streams.stop(stream, code);
        self.abandoned(now, stream);
    }

    /// The peer began something and abandoned it.
    pub(super) fn count_churn(&mut self, now: Timestamp) {
        if !self.churn.take(now) {
            self.close_local(
                SessionError::ProtocolViolation,
                "too many streams and requests abandoned".into(),
            );
        }
    }

    /// Whether it is the stream of a request that is over.
    fn is_left(&self, stream: StreamKey) -> bool {
        let Some(stream) = self.streams.get(stream) else { return true };
        match stream.recv.as_ref().map(|half| &half.kind) {
            Some(RecvKind::Request(messages)) => messages.is_over,
            Some(RecvKind::Discard) => true,
            Some(_) => false,
            None => stream.request.is_none_or(|request| self.requests.get(request).is_none()),
        }
    }

    /// Whether the publisher has said all there is to say of what this side receives: what is
    /// still to come are objects, which a stream of a subscription or fetch ends by itself. A
    /// fetch is kept until "the FETCH data stream receives a FIN or is reset" (draft-18, "Fetch
    /// State Management"); its publisher may want its request's stream back before that is read.
    fn has_last_word(&self, key: RequestKey, stream: StreamKey) -> bool {
        let is_finished = self.streams.get(stream).is_some_and(|stream| stream.recv.is_none());
        self.requests.is_ending(key)
            || self.is_fetched(key)
            || is_finished && self.requests.is_accepted_fetch(key)
    }

    /// The transport's request stream of a request was reset or stopped by the peer.
    fn on_request_stopped(&mut self, now: Timestamp, stream: StreamKey, code: u64) {
        let reason = self.dialect.reset(code);
        if self.is_left(stream) {
            let code = self.dialect.reset_code(StreamResetCode::Cancelled);
            self.streams.reset(stream, code);
            return self.await_stream_end(now, stream);
        }
        let key = self.streams.get(stream).and_then(|stream| stream.request);
        match key {
            // Its last word has come, though its objects may not have.
            Some(key) if self.has_last_word(key, stream) => {
                self.streams.drop_recv(stream);
                let code = self.dialect.reset_code(StreamResetCode::Cancelled);
                self.streams.reset(stream, code);
            }
            Some(key) => self.cancelled_by_peer(now, key, reason),
            None => self.abandoned(now, stream),
        }
    }
}
