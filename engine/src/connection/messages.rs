//! Control messages: finding them in streams, and what each of them does.

use alloc::format;
use alloc::string::ToString;

use core::time::Duration;

use super::{MoqtConnection, SessionState};
use crate::event::{Answer, Event, IncomingRequest, RequestError};
use crate::key::{RequestKey, StreamKey};
use crate::link::{Inbound, RequestRef, Source, Violation};
use crate::model::{
    FullTrackName, Message, Parameters, Publish, PublishDone, PublishNamespace, RequestErrorCode,
    RequestKind, RequestOk, RequestUpdate, SessionError, StreamResetCode, Subscribe, SubscribeOk,
    TrackNamespace, TrackProperties,
};
use crate::request::{Body, Ending, Phase, Publisher, Request, Subscriber};
use crate::stream::{MessageStream, RecvKind};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{Carrier, ControlReader, DecodeError, RawMessage, decode_message};

impl MoqtConnection {
    /// Bytes came on a stream that is not a subgroup being read.
    pub(super) fn on_bytes(&mut self, now: Timestamp, stream: StreamKey, len: usize) {
        if !self.is_established() && self.is_unidentified(stream) {
            self.early_bytes += len;
        }
        if let Err(violation) = self.advance(now, stream, len) {
            self.close_for(violation);
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
            RecvKind::Subgroup(_) | RecvKind::Discard => Ok(()),
        }
    }

    fn identify(&mut self, now: Timestamp, stream: StreamKey) -> Result<(), Violation> {
        let is_bidirectional = self.streams.get(stream).is_some_and(|stream| stream.send.is_some());
        if is_bidirectional {
            self.identify_bidirectional(now, stream)
        } else {
            self.identify_unidirectional(now, stream)
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
            return Ok(());
        }
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

    /// Setup is complete: what was held goes on, in the order it came.
    pub(super) fn release_early(&mut self, now: Timestamp) {
        self.early_bytes = 0;
        for stream in core::mem::take(&mut self.early) {
            let Some(half) = self.streams.recv_mut(stream) else { continue };
            let was_closed = core::mem::take(&mut half.window_closed);
            if let Err(violation) = self.advance(now, stream, 0) {
                return self.close_for(violation);
            }
            if was_closed && self.streams.recv_mut(stream).is_some() {
                self.streams.push_action(crate::Action::ResumeReading { stream });
            }
        }
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
            self.message_deadline(now, stream, false);
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
        let is_mid_message = messages.reader.is_mid_message();
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
        self.request_stream_finished(now, stream);
        Ok(())
    }

    /// Starts or ends the time for the rest of a message to come.
    fn message_deadline(&mut self, now: Timestamp, stream: StreamKey, is_mid_message: bool) {
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
        let source = if is_control {
            Source::Control
        } else if is_first_here {
            Source::NewStream
        } else {
            let key = self.streams.get(stream).and_then(|stream| stream.request);
            match key.and_then(|key| self.requests.get(key)) {
                Some(request) if request.ours => Source::OurRequest(request.kind()),
                Some(request) => Source::PeerRequest(request.kind()),
                // The request is over; what still comes on its stream means nothing.
                None => return Ok(()),
            }
        };
        let inbound = self.link.inbound(self.dialect, source, message)?;
        let is_setup = matches!(inbound, Inbound::Setup(_));
        if is_control && !is_setup && !self.is_established() {
            return Err(Violation::protocol(format!("{} before SETUP", raw.kind.name())));
        }
        match inbound {
            Inbound::Setup(setup) => self.on_setup(now, setup),
            Inbound::Goaway(goaway) if is_control => {
                self.on_goaway(goaway.new_session_uri, goaway.timeout, goaway.request_id)
            }
            // On a request stream it asks to move that request, which nobody has to.
            Inbound::Goaway(goaway) => self.on_request_goaway(stream, goaway.request_id),
            Inbound::MaxRequestId(max) => self.on_max_request_id(max),
            Inbound::Open(message) => self.on_open(now, (!is_control).then_some(stream), message),
            Inbound::Answer(target, message) => match self.resolve(&target, stream)? {
                Some(key) => self.on_answer(now, key, message),
                None => Ok(()),
            },
            Inbound::Update(target, update) => self.on_update(now, &target, stream, update),
            Inbound::Done(target, done) => match self.resolve(&target, stream)? {
                Some(key) => self.on_done(now, key, done),
                None => Ok(()),
            },
            Inbound::Cancelled(target, code) => {
                if let Some(key) = self.resolve(&target, stream)? {
                    self.cancelled_by_peer(now, key, code);
                }
                Ok(())
            }
            Inbound::RequestsBlocked | Inbound::Discovery(_) => Ok(()),
        }
    }

    fn on_request_goaway(
        &mut self,
        stream: StreamKey,
        request_id: Option<u64>,
    ) -> Result<(), Violation> {
        if request_id.is_some() {
            return Err(Violation::protocol("GOAWAY with a Request ID on a request stream"));
        }
        let Some(half) = self.streams.recv_mut(stream) else { return Ok(()) };
        if let RecvKind::Request(messages) = &mut half.kind
            && core::mem::replace(&mut messages.goaway_seen, true)
        {
            return Err(Violation::protocol("a second GOAWAY on a request stream"));
        }
        Ok(())
    }

    /// The request that a message refers to; `None` if it was over already.
    fn resolve(
        &self,
        target: &RequestRef,
        stream: StreamKey,
    ) -> Result<Option<RequestKey>, Violation> {
        match target {
            RequestRef::Stream => Ok(self.streams.get(stream).and_then(|stream| stream.request)),
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

    /// The peer begins a request.
    fn on_open(
        &mut self,
        now: Timestamp,
        stream: Option<StreamKey>,
        message: Message,
    ) -> Result<(), Violation> {
        let Some((id, kind)) = opened(&message) else {
            return Err(Violation::protocol("not a request"));
        };
        if self.link.has_request_credit() && id >= self.peer_max_request_id {
            let reason = format!("Request ID {id} of at most {}", self.peer_max_request_id);
            return Err(Violation::new(SessionError::TooManyRequests, reason));
        }
        self.requests.peer_ids.take(id)?;
        let answer_to = PendingAnswer { id, kind, stream };
        if self.requests.open_by_peer >= self.config.limits.open_requests {
            let code = RequestErrorCode::ExcessiveLoad;
            self.refuse(answer_to, code, "too many open requests");
            return Ok(());
        }
        match message {
            Message::Subscribe(subscribe) => self.on_subscribe(answer_to, subscribe)?,
            Message::Publish(publish) => return self.on_publish(answer_to, publish),
            Message::PublishNamespace(publish) => self.on_publish_namespace(answer_to, publish),
            _ => {
                let code = RequestErrorCode::NotSupported;
                self.refuse(answer_to, code, "this endpoint does not serve such requests");
            }
        }
        self.replenish_request_credit();
        let _ = now;
        Ok(())
    }

    fn on_subscribe(
        &mut self,
        answer_to: PendingAnswer,
        subscribe: Subscribe,
    ) -> Result<(), Violation> {
        let Subscribe { request_id: _, track, parameters } = subscribe;
        if self.dialect.reserved_namespaces && is_reserved(track.namespace()) {
            let code = RequestErrorCode::DoesNotExist;
            self.refuse(answer_to, code, "a reserved namespace");
            return Ok(());
        }
        if self.requests.sent(&track).is_some() {
            return self.refuse_duplicate(answer_to);
        }
        if parameters.subscription_filter.is_some_and(|filter| filter.is_backwards()) {
            let code = RequestErrorCode::InvalidRange;
            self.refuse(answer_to, code, "the range ends before it begins");
            return Ok(());
        }
        let body = Body::Publisher(self.new_publisher(
            track.clone(),
            &TrackProperties::new(),
            &parameters,
        ));
        let request = self.register(answer_to, body);
        let what = IncomingRequest::Subscribe { track, parameters };
        self.events.push_back(Event::Request { request, what });
        Ok(())
    }

    fn refuse_duplicate(&mut self, answer_to: PendingAnswer) -> Result<(), Violation> {
        let reason = "the track is subscribed to already";
        let code = RequestErrorCode::DuplicateSubscription;
        if self.dialect.duplicate_subscription_closes {
            return Err(Violation::protocol(reason));
        }
        self.refuse(answer_to, code, reason);
        Ok(())
    }

    fn on_publish(&mut self, answer_to: PendingAnswer, publish: Publish) -> Result<(), Violation> {
        let Publish { request_id: _, track, track_alias, parameters, track_properties } = publish;
        let duplicate = self.requests.received(&track).filter(|key| {
            // A SUBSCRIBE of ours that crosses with this is left to the application: it
            // gives way if the PUBLISH is accepted.
            !self
                .requests
                .get(*key)
                .is_some_and(|request| request.ours && request.phase == Phase::Pending)
        });
        if duplicate.is_some() {
            return self.refuse_duplicate(answer_to);
        }
        if let Some(mandatory) = self.not_understood(&track_properties) {
            let code = RequestErrorCode::UnsupportedExtension;
            self.refuse(answer_to, code, &format!("property {mandatory:#x} is not understood"));
            return Ok(());
        }
        let mut subscriber = Subscriber::new(track.clone(), Some(track_alias));
        subscriber.default_priority = track_properties.default_publisher_priority();
        let request = self.register(answer_to, Body::Subscriber(subscriber));
        if self.aliases.is_taken(track_alias, request) {
            return Err(duplicate_alias(track_alias));
        }
        self.aliases.offer(track_alias, request, &mut self.timers);
        let what = IncomingRequest::Publish { track, parameters, track_properties };
        self.events.push_back(Event::Request { request, what });
        self.replenish_request_credit();
        Ok(())
    }

    /// A property that would have to be understood. This endpoint understands none of those.
    fn not_understood(&self, properties: &TrackProperties) -> Option<u64> {
        if self.dialect.mandatory_properties { properties.first_mandatory() } else { None }
    }

    fn on_publish_namespace(&mut self, answer_to: PendingAnswer, publish: PublishNamespace) {
        let PublishNamespace { request_id: _, namespace, parameters } = publish;
        let request = self.register(answer_to, Body::Namespace(namespace.clone()));
        let what = IncomingRequest::PublishNamespace { namespace, parameters };
        self.events.push_back(Event::Request { request, what });
    }

    fn register(&mut self, answer_to: PendingAnswer, body: Body) -> RequestKey {
        let PendingAnswer { id, kind: _, stream } = answer_to;
        let request =
            Request { id, ours: false, stream, phase: Phase::Pending, answer_deadline: None, body };
        let key = self.requests.insert(request);
        if let Some(Body::Publisher(publisher)) =
            self.requests.get(key).map(|request| &request.body)
            && let Some(sender) = self.streams.schedule.sender_mut(publisher.sender)
        {
            sender.request = Some(key);
        }
        if let Some(stream) = stream {
            self.streams.assign(stream, key);
        }
        key
    }

    /// Refuses a request that was never registered.
    fn refuse(&mut self, answer_to: PendingAnswer, code: RequestErrorCode, reason: &str) {
        let PendingAnswer { id, kind, stream } = answer_to;
        let refusal = super::Refusal { reason: reason.to_string(), ..super::Refusal::new(code) };
        self.send_refusal(id, kind, stream, refusal);
        if let Some(stream) = stream {
            let code = self.dialect.reset_code(StreamResetCode::Cancelled);
            self.streams.finish(stream);
            self.streams.stop(stream, code);
        }
    }

    fn on_answer(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        message: Message,
    ) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let kind = request.kind();
        if !request.ours {
            return Err(Violation::protocol("an answer to a request of its sender's"));
        }
        if request.phase == Phase::Established {
            return Err(Violation::protocol("a second answer to a request"));
        }
        if let Some(deadline) = request.answer_deadline.take() {
            self.timers.clear(deadline, Timer::Answer(key));
        }
        match message {
            Message::RequestError(error) if error.answers.is_none_or(|answers| answers == kind) => {
                let retry_after = error.retry_interval.checked_sub(1).map(Duration::from_millis);
                let error = RequestError {
                    raw_code: Some(self.dialect.request_error_code(kind, error.code)),
                    code: error.code,
                    reason: error.reason,
                    retry_after,
                    redirect: error.redirect,
                };
                self.release(now, key);
                self.events.push_back(Event::Rejected { request: key, error });
                Ok(())
            }
            Message::SubscribeOk(ok) if kind == RequestKind::Subscribe => {
                self.on_subscribe_ok(now, key, ok)
            }
            Message::RequestOk(ok) if kind != RequestKind::Subscribe => {
                self.on_request_ok(key, kind, ok)
            }
            _ => Err(Violation::protocol("an answer of another kind than the request")),
        }
    }

    fn on_subscribe_ok(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        ok: SubscribeOk,
    ) -> Result<(), Violation> {
        let SubscribeOk { request_id: _, track_alias, parameters, track_properties } = ok;
        if self.aliases.is_taken(track_alias, key) {
            return Err(duplicate_alias(track_alias));
        }
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        request.phase = Phase::Established;
        if let Body::Subscriber(subscriber) = &mut request.body {
            subscriber.alias = Some(track_alias);
            subscriber.default_priority = track_properties.default_publisher_priority();
        }
        if let Some(mandatory) = self.not_understood(&track_properties) {
            let error = RequestError {
                code: RequestErrorCode::UnsupportedExtension,
                raw_code: None,
                reason: format!("track property {mandatory:#x} is not understood"),
                retry_after: None,
                redirect: None,
            };
            self.withdraw(now, key, StreamResetCode::Cancelled);
            self.events.push_back(Event::Rejected { request: key, error });
            return Ok(());
        }
        let answer = Answer { parameters, track_properties };
        self.events.push_back(Event::Accepted { request: key, answer });
        self.activate_alias(track_alias, key);
        Ok(())
    }

    fn on_request_ok(
        &mut self,
        key: RequestKey,
        kind: RequestKind,
        ok: RequestOk,
    ) -> Result<(), Violation> {
        let RequestOk { parameters, track_properties, .. } = ok;
        if !track_properties.is_empty() && kind != RequestKind::TrackStatus {
            return Err(Violation::protocol("track properties in an answer to another request"));
        }
        let mut parameters = parameters;
        self.check_parameters(&mut parameters, Carrier::answer_to(kind))?;
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        request.phase = Phase::Established;
        if let Body::Publisher(publisher) = &mut request.body {
            publisher.set_filter(parameters.subscription_filter);
            publisher.forward = parameters.forward.unwrap_or(true);
            let priority = parameters.subscriber_priority.unwrap_or(128);
            self.streams.schedule.set_priority(publisher.sender, priority);
        }
        let answer = Answer { parameters, track_properties };
        self.events.push_back(Event::Accepted { request: key, answer });
        Ok(())
    }

    /// Applies the draft's rule for parameters that the decoder could not place by itself.
    fn check_parameters(
        &self,
        parameters: &mut Parameters,
        carrier: Carrier,
    ) -> Result<(), Violation> {
        let misplaced = self.dialect.misplaced(parameters.present(), carrier);
        if misplaced.is_empty() {
            return Ok(());
        }
        match self.dialect.misplaced_parameter {
            crate::wire::Tolerance::Close => {
                Err(Violation::protocol("a parameter that is not valid for this message"))
            }
            crate::wire::Tolerance::Ignore => {
                parameters.remove(misplaced);
                Ok(())
            }
        }
    }

    fn on_update(
        &mut self,
        now: Timestamp,
        target: &RequestRef,
        stream: StreamKey,
        update: RequestUpdate,
    ) -> Result<(), Violation> {
        let id = update.request_id;
        if self.link.has_request_credit() && id >= self.peer_max_request_id {
            let reason = format!("Request ID {id} of at most {}", self.peer_max_request_id);
            return Err(Violation::new(SessionError::TooManyRequests, reason));
        }
        self.requests.peer_ids.take(id)?;
        self.replenish_request_credit();
        let Some(key) = self.resolve(target, stream)? else { return Ok(()) };
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let carrier = match &request.body {
            Body::Publisher(_) => Carrier::UpdateSubscription,
            Body::Subscriber(_) if !request.ours => Carrier::UpdateSubscription,
            Body::Namespace(_) if !request.ours => Carrier::UpdatePublishNamespace,
            _ => return Err(Violation::protocol("an update of a request of the receiver's")),
        };
        let parameters = update.parameters;
        let misplaced = self.dialect.misplaced(parameters.present(), carrier);
        if !misplaced.is_empty() {
            return Err(Violation::protocol(
                "an update with a parameter not valid for the request",
            ));
        }
        let mut ok = RequestOk {
            request_id: Some(id),
            answers: Some(RequestKind::Update),
            ..RequestOk::default()
        };
        if let Body::Publisher(publisher) = &mut request.body {
            publisher.update(&parameters, self.dialect.updates_narrow_only)?;
            ok.parameters.largest_object = publisher.largest;
            if let Some(priority) = parameters.subscriber_priority {
                self.streams.schedule.set_priority(publisher.sender, priority);
            }
        }
        let own_stream = request.stream;
        self.events.push_back(Event::Updated { request: key, parameters });
        if !self.dialect.fixed_fields {
            self.send_message(own_stream, &Message::RequestOk(ok));
        }
        let _ = now;
        Ok(())
    }

    fn on_done(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        done: PublishDone,
    ) -> Result<(), Violation> {
        let timeout = self.config.limits.late_stream_timeout;
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let pending_ours = request.ours && request.phase == Phase::Pending;
        let Body::Subscriber(subscriber) = &mut request.body else {
            return Err(Violation::protocol("PUBLISH_DONE from a subscriber"));
        };
        if pending_ours {
            return Err(Violation::protocol("PUBLISH_DONE before SUBSCRIBE_OK"));
        }
        if subscriber.ending.is_some() {
            return Err(Violation::protocol("a second PUBLISH_DONE"));
        }
        let deadline = now.saturating_add(timeout);
        subscriber.ending = Some(Ending { done, late_deadline: Some(deadline) });
        self.timers.set(deadline, Timer::LateStreams(key));
        if let Some(stream) = request.stream {
            self.streams.finish(stream);
        }
        self.complete_if_done(key);
        Ok(())
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
            Body::Namespace(_) => self.cancelled_by_peer(now, key, StreamResetCode::Cancelled),
            // A peer that has nothing more to say about a subscription may close its side.
            Body::Subscriber(_) | Body::Publisher(_) => self.streams.drop_recv(stream),
        }
    }

    pub(super) fn new_publisher(
        &mut self,
        track: FullTrackName,
        properties: &TrackProperties,
        parameters: &Parameters,
    ) -> Publisher {
        let order =
            parameters.group_order.unwrap_or_else(|| properties.default_publisher_group_order());
        let priority = parameters.subscriber_priority.unwrap_or(128);
        let sender = self.streams.schedule.add_sender(priority, order);
        Publisher::new(track, sender, properties.default_publisher_priority(), parameters)
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
            self.streams.send_control(stream, &self.scratch);
        }
        encoded.is_ok()
    }
}

/// What an answer to a request needs to know of it.
#[derive(Clone, Copy, Debug)]
struct PendingAnswer {
    id: u64,
    kind: RequestKind,
    stream: Option<StreamKey>,
}

fn opened(message: &Message) -> Option<(u64, RequestKind)> {
    Some(match message {
        Message::Subscribe(message) => (message.request_id, RequestKind::Subscribe),
        Message::Publish(message) => (message.request_id, RequestKind::Publish),
        Message::Fetch(message) => (message.request_id, RequestKind::Fetch),
        Message::TrackStatus(message) => (message.request_id, RequestKind::TrackStatus),
        Message::PublishNamespace(message) => (message.request_id, RequestKind::PublishNamespace),
        Message::SubscribeNamespace(message) => {
            (message.request_id, RequestKind::SubscribeNamespace)
        }
        Message::SubscribeTracks(message) => (message.request_id, RequestKind::SubscribeTracks),
        _ => return None,
    })
}

/// Namespaces that no endpoint may use, or that are the session's own and of which this one
/// has none (draft-18, "Reserved Namespaces" and "Session-Level Tracks and Namespaces").
fn is_reserved(namespace: &TrackNamespace) -> bool {
    matches!(namespace.field(0), Some(b"." | b".session"))
}

fn decoding(message: &str, error: &DecodeError) -> Violation {
    let reason = if message.is_empty() { error.to_string() } else { format!("{message}: {error}") };
    Violation::new(error.session_error(), reason)
}

fn duplicate_alias(alias: u64) -> Violation {
    let reason = format!("Track Alias {alias} is another track's");
    Violation::new(SessionError::DuplicateTrackAlias, reason)
}
