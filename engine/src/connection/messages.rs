//! Control messages: finding them in streams, and what each of them does.

use alloc::format;
use alloc::string::ToString;

use super::tokens::request_parameters;
use super::{MoqtConnection, SessionState};
use crate::key::{RequestKey, StreamKey};
use crate::link::{Inbound, RequestRef, Source, Violation};
use crate::model::{Message, MessageKind, RequestErrorCode, SessionError, StreamResetCode};
use crate::request::{Body, Phase, Request};
use crate::stream::{MessageStream, RecvKind};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::trace::{TraceEvent, TraceOwner, TracedMessage, TracedStreamType};
use crate::wire::{ControlReader, DecodeError, RawMessage, decode_message};

impl MoqtConnection {
    /// Bytes came on a stream that is not a subgroup being read.
    pub(super) fn on_bytes(&mut self, now: Timestamp, stream: StreamKey, len: usize) {
        if !self.is_established() && self.is_unidentified(stream) {
            self.early_bytes += len;
        }
        if let Err(violation) = self.advance(now, stream, len) {
            return self.close_for(violation);
        }
        if let Some(half) = self.streams.recv_mut(stream)
            && matches!(half.kind, RecvKind::Unidentified | RecvKind::AwaitingAlias(_))
        {
            half.buffer.keep();
        }
    }

    fn is_unidentified(&mut self, stream: StreamKey) -> bool {
        let half = self.streams.recv_mut(stream);
        half.is_some_and(|half| matches!(half.kind, RecvKind::Unidentified))
    }

    /// Goes on with a stream as far as its bytes allow.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
        new_bytes: usize,
    ) -> Result<(), Violation> {
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        match half.kind {
            RecvKind::Unidentified => self.identify(now, stream),
            RecvKind::Control(_) | RecvKind::Request(_) => self.read_messages(now, stream),
            RecvKind::AwaitingAlias(header) => {
                self.streams.data_received += new_bytes;
                self.held_stream_grew(header.track_alias, stream, new_bytes);
                Ok(())
            }
            RecvKind::Subgroup(_) | RecvKind::Fetch(_) | RecvKind::Discard => Ok(()),
        }
    }

    fn identify(&mut self, now: Timestamp, stream: StreamKey) -> Result<(), Violation> {
        let deadline = self.streams.recv_mut(stream).and_then(|half| half.header_deadline);
        let is_bidirectional = self.streams.get(stream).is_some_and(|stream| stream.send.is_some());
        if is_bidirectional {
            self.identify_bidirectional(now, stream)?;
        } else {
            self.identify_unidirectional(now, stream)?;
        }
        self.watch_header(now, stream, deadline);
        Ok(())
    }

    /// Starts the time for the rest of a stream's first header to come, or ends it if it had until
    /// `deadline`: the stream may be gone. A stream on which nothing has come yet is not timed: it
    /// may have been opened by a later one that is more urgent, and costs next to nothing.
    fn watch_header(&mut self, now: Timestamp, stream: StreamKey, deadline: Option<Timestamp>) {
        let is_established = self.is_established();
        let timeout = self.config.limits.stream_header_timeout;
        let half = self.streams.recv_mut(stream);
        let waiting = half.filter(|half| matches!(half.kind, RecvKind::Unidentified));
        match (deadline, waiting) {
            (None, Some(half)) if is_established && half.buffer.len() > 0 => {
                let deadline = now.saturating_add(timeout);
                half.header_deadline = Some(deadline);
                self.timers.set(deadline, Timer::StreamHeader(stream));
            }
            (Some(deadline), None) => {
                if let Some(half) = self.streams.recv_mut(stream) {
                    half.header_deadline = None;
                }
                self.timers.clear(deadline, Timer::StreamHeader(stream));
            }
            _ => {}
        }
    }

    fn identify_bidirectional(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
    ) -> Result<(), Violation> {
        let ints = self.dialect.ints;
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        half.buffer.make_contiguous(crate::wire::MAX_INT_LEN);
        let Some((code, _)) = ints.decode(half.buffer.front()) else {
            if half.fin {
                self.abandoned(now, stream);
            }
            return Ok(());
        };
        let kind = self
            .dialect
            .message_kind(code)
            .ok_or_else(|| Violation::protocol(format!("a stream of message type {code:#x}")))?;
        if self.link.is_control(kind, self.role) {
            self.no_longer_early(stream);
            self.control_opened(stream)?;
            return self.read_messages(now, stream);
        }
        if !self.link.may_begin_stream(self.dialect, kind) {
            return Err(Violation::protocol(format!("a stream that begins with {}", kind.name())));
        }
        if self.state != SessionState::Established {
            self.check_early(now, stream);
            return Ok(());
        }
        self.trace.stream_type(stream, TraceOwner::Remote, TracedStreamType::Request);
        let reader = MessageStream::new(ControlReader::new(self.dialect));
        if let Some(half) = self.streams.recv_mut(stream) {
            half.kind = RecvKind::Request(reader);
        }
        self.read_messages(now, stream)
    }

    /// The stream is not held for the session's setup any more.
    pub(super) fn no_longer_early(&mut self, stream: StreamKey) {
        if self.is_established() {
            return;
        }
        let held = self.streams.recv_mut(stream).map_or(0, |half| half.buffer.len());
        self.early_bytes = self.early_bytes.saturating_sub(held);
        self.early.retain(|early| *early != stream);
    }

    /// A stream that is held for the session's setup. One too many is not, once it has ended: the
    /// peer could open another in its place.
    pub(super) fn check_early(&mut self, now: Timestamp, stream: StreamKey) {
        let held = self.config.limits.early_streams;
        let is_over = self.streams.recv_mut(stream).is_some_and(|half| half.fin);
        if is_over && self.early.iter().skip(held).any(|early| *early == stream) {
            self.abandoned(now, stream);
        }
    }

    /// Setup is complete: what was held goes on, in the order it came.
    pub(super) fn release_early(&mut self, now: Timestamp) {
        self.early_bytes = 0;
        for stream in core::mem::take(&mut self.early) {
            if let Err(violation) = self.go_on_with_early(now, stream) {
                return self.close_for(violation);
            }
        }
    }

    /// There may be more to do with a stream that is held for the session's setup, and more to
    /// read.
    pub(super) fn go_on_with_early(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
    ) -> Result<(), Violation> {
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        let was_closed = core::mem::take(&mut half.window_closed);
        self.advance(now, stream, 0)?;
        if was_closed && self.streams.recv_mut(stream).is_some() {
            self.streams.push_action(crate::Action::ResumeReading { stream });
        }
        Ok(())
    }

    /// Takes all whole messages off a control or request stream.
    fn read_messages(&mut self, now: Timestamp, stream: StreamKey) -> Result<(), Violation> {
        loop {
            let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
            let (messages, is_control) = match &mut half.kind {
                RecvKind::Control(messages) => (messages, true),
                RecvKind::Request(messages) => (messages, false),
                _ => return Ok(()),
            };
            let raw = match messages.reader.next_raw().map_err(|error| decoding("", &error))? {
                Some(raw) => raw,
                None if half.buffer.len() > 0 => {
                    messages.reader.push(half.buffer.take_front());
                    continue;
                }
                None => break,
            };
            let is_over = messages.is_over;
            self.message_deadline(now, stream, false);
            if is_over {
                self.on_late_message(&raw)?;
                continue;
            }
            let is_first_here = !is_control
                && self.streams.get(stream).is_some_and(|stream| stream.request.is_none());
            self.on_raw(now, stream, is_control, is_first_here, &raw)?;
            if self.is_closed() {
                return Ok(());
            }
            if self.streams.control_queued > self.config.limits.control_send {
                let reason = "the peer asks more than it reads answers";
                return Err(Violation::new(SessionError::InternalError, reason));
            }
        }
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        let (RecvKind::Control(messages) | RecvKind::Request(messages)) = &half.kind else {
            return Ok(());
        };
        let is_mid_message = messages.reader.is_mid_message() && !(messages.is_over && half.fin);
        let is_control = matches!(half.kind, RecvKind::Control(_));
        if !half.fin {
            self.message_deadline(now, stream, is_mid_message);
            return Ok(());
        }
        if is_control {
            return Err(Violation::protocol("the control stream was closed"));
        }
        if is_mid_message {
            return Err(Violation::protocol("a request stream ended inside a message"));
        }
        self.message_deadline(now, stream, false);
        self.request_stream_finished(now, stream);
        Ok(())
    }

    /// Starts or ends the time for the rest of a message to come.
    pub(super) fn message_deadline(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
        is_mid_message: bool,
    ) {
        let timeout = self.config.limits.control_message_timeout;
        let Some(half) = self.streams.recv_mut(stream) else { return };
        let (RecvKind::Control(messages) | RecvKind::Request(messages)) = &mut half.kind else {
            return;
        };
        let timer = Timer::ControlMessage(stream);
        match (messages.deadline, is_mid_message) {
            (None, true) => {
                let deadline = now.saturating_add(timeout);
                messages.deadline = Some(deadline);
                self.timers.set(deadline, timer);
            }
            (Some(deadline), false) => {
                messages.deadline = None;
                self.timers.clear(deadline, timer);
            }
            _ => {}
        }
    }

    /// The rest of a message did not come in time.
    pub(super) fn message_overdue(&mut self, stream: StreamKey) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        match &half.kind {
            RecvKind::Request(messages) if messages.is_over => self.streams.ignore(stream),
            RecvKind::Control(_) | RecvKind::Request(_) => {
                let reason = "a control message was left incomplete";
                self.close_local(SessionError::ControlMessageTimeout, reason.into());
            }
            _ => {}
        }
    }

    /// A message on the stream of a request that is over. It crossed with what ended it and
    /// changes nothing, but the Request ID of an update is used up, and what its tokens register
    /// is registered (draft-18, "AUTHORIZATION TOKEN Parameter").
    fn on_late_message(&mut self, raw: &RawMessage) -> Result<(), Violation> {
        let mut message = decode_message(self.dialect, raw.kind, &raw.body)
            .map_err(|error| decoding(raw.kind.name(), &error))?;
        if let Message::RequestUpdate(update) = &message {
            self.requests.peer_ids.take(update.request_id)?;
        }
        self.resolve_tokens(request_parameters(&mut message))?;
        Ok(())
    }

    fn on_raw(
        &mut self,
        now: Timestamp,
        stream: StreamKey,
        is_control: bool,
        is_first_here: bool,
        raw: &RawMessage,
    ) -> Result<(), Violation> {
        let message = decode_message(self.dialect, raw.kind, &raw.body)
            .map_err(|error| decoding(raw.kind.name(), &error))?;
        self.trace.add(|| {
            let (kind, length, message) = (raw.kind, raw.body.len(), message.clone());
            TraceEvent::ControlMessageParsed(TracedMessage { stream, kind, length, message })
        });
        let source = if is_control {
            Source::Control
        } else if is_first_here {
            Source::NewStream
        } else {
            let key = self.streams.get(stream).and_then(|stream| stream.request);
            match key.and_then(|key| self.requests.get(key)) {
                Some(request) if request.ours => Source::OurRequest(request.kind()),
                Some(request) => Source::PeerRequest(request.kind()),
                None => return Ok(()),
            }
        };
        let inbound = self.link.inbound(self.dialect, source, message)?;
        let is_setup = matches!(inbound, Inbound::Setup(_));
        if is_setup && raw.kind != self.link.setup_of(self.role.peer()) {
            return Err(Violation::protocol(format!("{} from its receiver", raw.kind.name())));
        }
        if is_control && !is_setup && !self.is_established() {
            return Err(Violation::protocol(format!("{} before SETUP", raw.kind.name())));
        }
        match inbound {
            Inbound::Setup(setup) => self.on_setup(now, setup),
            Inbound::Goaway(goaway) if is_control => self.on_goaway(goaway),
            Inbound::Goaway(goaway) => self.on_request_goaway(stream, goaway),
            Inbound::MaxRequestId(max) => self.on_max_request_id(max),
            Inbound::Open(message) => self.on_open(now, (!is_control).then_some(stream), message),
            Inbound::Answer(target, message) => {
                if let Some(update) = self.answered_update(&target, stream) {
                    return self.on_update_answer(now, update, message);
                }
                match self.resolve(&target, stream)? {
                    Some(key) => self.on_answer(now, key, message),
                    None => Ok(()),
                }
            }
            Inbound::Update(target, update) => self.on_update(now, &target, stream, update),
            Inbound::Done(target, done) => match self.resolve(&target, stream)? {
                Some(key) => self.on_done(now, key, done),
                None => Ok(()),
            },
            Inbound::Cancelled(target, code) => {
                let Some(key) = self.resolve(&target, stream)? else { return Ok(()) };
                if self.requests.get(key).is_some_and(|request| !cancels(raw.kind, request)) {
                    let reason = format!("{} of another kind of request", raw.kind.name());
                    return Err(Violation::protocol(reason));
                }
                self.cancelled_by_peer(now, key, code);
                Ok(())
            }
            Inbound::Revoked(target, code, reason) => match self.resolve(&target, stream)? {
                Some(key) => self.on_namespace_cancel(now, key, code, reason),
                None => Ok(()),
            },
            Inbound::Discovery(message) => {
                let key = self.streams.get(stream).and_then(|stream| stream.request);
                key.map_or(Ok(()), |key| self.on_discovery(now, key, message))
            }
            Inbound::UnsubscribeNamespace(prefix) => {
                self.on_unsubscribe_namespace(now, &prefix);
                Ok(())
            }
            Inbound::RequestsBlocked => Ok(()),
        }
    }

    /// The request that a message refers to; `None` if it was over already.
    pub(super) fn resolve(
        &self,
        target: &RequestRef,
        stream: StreamKey,
    ) -> Result<Option<RequestKey>, Violation> {
        match target {
            RequestRef::Stream => Ok(self.streams.get(stream).and_then(|stream| stream.request)),
            RequestRef::StreamOf(id) => {
                let key = self.streams.get(stream).and_then(|stream| stream.request);
                match key.and_then(|key| self.requests.get(key)) {
                    Some(request) if request.id != *id => {
                        Err(Violation::protocol(format!("an answer to request {id} elsewhere")))
                    }
                    _ => Ok(key),
                }
            }
            RequestRef::PeerNamespace(namespace) => Ok(self.requests.namespace(namespace, false)),
            RequestRef::OurNamespace(namespace) => Ok(self.requests.namespace(namespace, true)),
            RequestRef::Id(id) => {
                if let Some(key) = self.requests.by_id(*id) {
                    return Ok(Some(key));
                }
                let is_ours = id % 2 == self.role.first_request_id();
                let was_used = if is_ours {
                    *id < self.requests.next_id
                } else {
                    self.requests.peer_ids.is_used(*id)
                };
                if was_used {
                    Ok(None)
                } else {
                    Err(Violation::protocol(format!("no request ever had ID {id}")))
                }
            }
        }
    }

    /// The peer finished its side of a request's stream.
    fn request_stream_finished(&mut self, now: Timestamp, stream: StreamKey) {
        let key = self.streams.get(stream).and_then(|stream| stream.request);
        let found = key.and_then(|key| Some((key, self.requests.get(key)?)));
        let Some((key, request)) = found else {
            self.streams.drop_recv(stream);
            self.streams.finish(stream);
            return;
        };
        let ours = request.ours;
        let phase = request.phase;
        match &request.body {
            // Without PUBLISH_DONE the publisher is gone without a word.
            Body::Subscriber(subscriber) if subscriber.ending.is_none() => {
                if ours && phase == Phase::Pending {
                    let why = "the publisher closed the request";
                    self.fail_request(key, RequestErrorCode::InternalError, why);
                } else {
                    self.cancelled_by_peer(now, key, StreamResetCode::InternalError);
                }
            }
            Body::Publisher(_) if ours && phase == Phase::Pending => {
                let why = "the subscriber closed the request";
                self.fail_request(key, RequestErrorCode::InternalError, why);
            }
            Body::NamespaceSubscription(_) | Body::FetchSubscriber(_) | Body::TrackStatus
                if ours && phase == Phase::Pending =>
            {
                let why = "the publisher closed the request";
                self.fail_request(key, RequestErrorCode::InternalError, why);
            }
            Body::Namespace(_) | Body::NamespaceSubscription(_) => {
                self.cancelled_by_peer(now, key, StreamResetCode::Cancelled);
            }
            // A peer that has nothing more to say about a request may close its side.
            Body::Subscriber(_)
            | Body::Publisher(_)
            | Body::FetchSubscriber(_)
            | Body::FetchPublisher(_)
            | Body::TrackStatus => self.streams.drop_recv(stream),
        }
    }

    /// Sends a message on a request's own stream, or on the control stream. Whether it could
    /// be encoded.
    pub(super) fn send_message(
        &mut self,
        own_stream: Option<StreamKey>,
        message: &Message,
    ) -> bool {
        let Some(stream) = own_stream.or(self.control_out) else { return false };
        self.scratch.clear();
        let encoded = crate::wire::encode_message(self.dialect, message, &mut self.scratch);
        if encoded.is_ok() {
            self.streams.send_control(stream, &self.scratch, &mut self.trace);
        }
        encoded.is_ok()
    }
}

/// Whether a message that cancels is meant for such a request.
fn cancels(message: MessageKind, request: &Request) -> bool {
    match (message, &request.body) {
        // The subscriber's, however the subscription began.
        (MessageKind::Unsubscribe, Body::Publisher(_))
        | (MessageKind::FetchCancel, Body::FetchPublisher(_)) => true,
        (MessageKind::PublishNamespaceDone, Body::Namespace(_)) => !request.ours,
        _ => false,
    }
}

fn decoding(message: &str, error: &DecodeError) -> Violation {
    let reason = if message.is_empty() { error.to_string() } else { format!("{message}: {error}") };
    Violation::new(error.session_error(), reason)
}
