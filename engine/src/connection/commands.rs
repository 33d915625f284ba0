//! What the application asks for.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::own_updates::check_new_group;
use super::tokens::{beginning, request_parameters};
use super::updates::invalid_range;
use super::{MoqtConnection, SessionState};
use crate::config::{Dir, Role};
use crate::error::{Blocked, CommandError};
use crate::event::{Event, RequestError};
use crate::key::{RequestKey, StreamKey};
use crate::model::{
    FullTrackName, GroupOrder, Location, Message, Parameters, Publish, Redirect,
    RequestError as RequestErrorMessage, RequestErrorCode, RequestKind, RequestOk, RequestsBlocked,
    StreamResetCode, Subscribe, SubscribeOk, TrackProperties, TrackStatus,
};
use crate::request::{Body, Phase, Request, Subscriber, Unfit, Updates};
use crate::stream::{MessageStream, RecvKind, SendClass};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::trace::{TraceOwner, TracedStreamType};
use crate::wire::{ControlReader, EncodeError, encode_message};

/// What to say when accepting a request, other than a FETCH
/// ([`AcceptFetch`](crate::AcceptFetch)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// For a SUBSCRIBE: `largest_object` if anything was published, and `expires`. For a
    /// PUBLISH: filter, priority, order and forward state.
    pub parameters: Parameters,
    /// For a SUBSCRIBE: properties of the track.
    pub track_properties: TrackProperties,
}

/// What to say when refusing a request (draft-18, "REQUEST_ERROR").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RequestErrorCode,
    /// Why, for people.
    pub reason: String,
    /// When it may be tried again, on drafts that can say so (16 and 18); `None` means that it
    /// should not be.
    pub retry_after: Option<Duration>,
    /// Where it may succeed; with [`RequestErrorCode::Redirect`] (draft 18).
    pub redirect: Option<Redirect>,
}

impl Refusal {
    /// A refusal without words.
    pub fn new(code: RequestErrorCode) -> Self {
        Self { code, reason: String::new(), retry_after: None, redirect: None }
    }
}

impl MoqtConnection {
    /// Subscribes to a track (draft-18, "SUBSCRIBE"). [`Event::Accepted`] or
    /// [`Event::Rejected`] tells how it went.
    pub fn subscribe(
        &mut self,
        now: Timestamp,
        track: &FullTrackName,
        parameters: &Parameters,
    ) -> Result<RequestKey, CommandError> {
        let other = self.requests.received(track);
        if other.is_some_and(|other| !self.requests.is_ending(other)) {
            return Err(CommandError::WrongState("the track is subscribed to already"));
        }
        let message = |request_id| {
            Message::Subscribe(Subscribe {
                request_id,
                track: track.clone(),
                parameters: parameters.clone(),
            })
        };
        let mut subscriber = Subscriber::new(track.clone(), None, self.track_rules());
        subscriber.timeouts.split = self.dialect.split_delivery_timeouts;
        subscriber.timeouts.set_subscriber(parameters);
        subscriber.begin_with(parameters);
        let body = Body::Subscriber(subscriber.into());
        self.begin_request(now, RequestKind::Subscribe, message, body)
    }

    /// Offers a track to the peer (draft-18, "PUBLISH"). Objects may be sent at once, through
    /// [`publisher`](Self::publisher). [`Event::Accepted`] or [`Event::Rejected`] tells how it
    /// went.
    ///
    /// If a namespace subscription of the peer's asks for the track, its forward state is the
    /// offer's (draft-18, "SUBSCRIBE_TRACKS"). If there is no stream for the offer,
    /// [`publish_blocked`](Self::publish_blocked) tells such a peer; the track cannot be offered
    /// after that.
    pub fn publish(
        &mut self,
        now: Timestamp,
        track: &FullTrackName,
        parameters: &Parameters,
        track_properties: &TrackProperties,
    ) -> Result<RequestKey, CommandError> {
        if self.requests.sent(track).is_some() {
            return Err(CommandError::WrongState("the track is published already"));
        }
        let mut parameters = parameters.clone();
        self.follow_namespace_subscription(track, &mut parameters)?;
        self.may_begin(RequestKind::Publish)?;
        let track_alias = self.next_alias;
        let message = |request_id| {
            Message::Publish(Publish {
                request_id,
                track: track.clone(),
                track_alias,
                parameters: parameters.clone(),
                track_properties: track_properties.clone(),
            })
        };
        let mut publisher = self.new_publisher(track.clone(), track_properties, &parameters);
        publisher.alias = track_alias;
        publisher.largest = parameters.largest_object;
        publisher.joining_location = parameters.largest_object;
        publisher.dynamic_groups = track_properties.dynamic_groups();
        let sender = publisher.sender;
        self.publisher_timeouts(sender, track_properties);
        let begun = self.begin_request(
            now,
            RequestKind::Publish,
            message,
            Body::Publisher(publisher.into()),
        );
        match begun {
            Ok(key) => {
                self.next_alias += 1;
                if let Some(sender) = self.streams.schedule.sender_mut(sender) {
                    sender.request = Some(key);
                }
                self.set_expiry(now, key, self.expires_in(RequestKind::Publish, &parameters));
            }
            Err(_) => self.streams.remove_sender(sender),
        }
        begun
    }

    /// Asks how far a track has come, without subscribing to it (draft-18, "TRACK_STATUS").
    /// [`Event::Accepted`] or [`Event::Rejected`] tells, and ends it.
    pub fn track_status(
        &mut self,
        now: Timestamp,
        track: &FullTrackName,
        parameters: &Parameters,
    ) -> Result<RequestKey, CommandError> {
        let message = |request_id| {
            Message::TrackStatus(TrackStatus {
                request_id,
                track: track.clone(),
                parameters: parameters.clone(),
            })
        };
        self.begin_request(now, RequestKind::TrackStatus, message, Body::TrackStatus)
    }

    /// Accepts a request of the peer's. For a FETCH there is
    /// [`accept_fetch`](Self::accept_fetch).
    ///
    /// A SUBSCRIBE whose filter lets pass nothing but what is published already, by the largest
    /// location given here, is refused with INVALID_RANGE instead, and [`Event::Cancelled`]
    /// follows (draft-18, "Subscription Filters").
    pub fn accept(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        accept: Accept,
    ) -> Result<(), CommandError> {
        let Accept { mut parameters, track_properties } = accept;
        let (id, kind, own_stream) = self.answerable(request)?;
        self.check_accept(request, &parameters)?;
        if self.is_past(request, parameters.largest_object) {
            self.send_refusal(id, kind, own_stream, invalid_range(Unfit::Past));
            self.release(now, request);
            let code = StreamResetCode::Cancelled;
            self.events.push_back(Event::Cancelled { request, code, error: None });
            return Ok(());
        }
        let order = self.order_for(request, parameters.group_order, &track_properties);
        if self.dialect.fixed_fields && kind == RequestKind::Subscribe {
            parameters.group_order = order;
        }
        let next_alias = self.next_alias;
        let message = match kind {
            RequestKind::Subscribe => Message::SubscribeOk(SubscribeOk {
                request_id: Some(id),
                track_alias: next_alias,
                parameters: parameters.clone(),
                track_properties: track_properties.clone(),
            }),
            RequestKind::Fetch => {
                return Err(CommandError::WrongState("accept a FETCH with `accept_fetch`"));
            }
            // Only about a track there is something to say.
            _ => Message::RequestOk(RequestOk {
                request_id: Some(id),
                answers: Some(kind),
                parameters: parameters.clone(),
                track_properties: match kind {
                    RequestKind::TrackStatus => track_properties.clone(),
                    _ => TrackProperties::new(),
                },
            }),
        };
        let mut encoded = Vec::new();
        encode_message(self.dialect, &message, &mut encoded)?;
        self.give_way_to_publish(now, request);
        if let Some(stream) = own_stream.or(self.control_out) {
            self.streams.send_control(stream, &encoded, &mut self.trace);
        }
        let Some(accepted) = self.requests.get_mut(request) else { return Ok(()) };
        accepted.phase = Phase::Established;
        let mut new_group = None;
        match &mut accepted.body {
            Body::Publisher(publisher) => {
                self.next_alias += 1;
                publisher.alias = next_alias;
                publisher.default_priority = track_properties.default_publisher_priority();
                publisher.largest = parameters.largest_object;
                publisher.joining_location = parameters.largest_object;
                publisher.set_filter(publisher.filter);
                let sender = publisher.sender;
                publisher.dynamic_groups = track_properties.dynamic_groups();
                let new_group_request = publisher.new_group_request.take();
                new_group = publisher
                    .asks_for_new_group(&Parameters { new_group_request, ..Parameters::default() });
                if let Some(order) = order {
                    self.streams.schedule.set_order(sender, order);
                }
                self.publisher_timeouts(sender, &track_properties);
            }
            Body::Subscriber(subscriber) => {
                subscriber.timeouts.set_subscriber(&parameters);
                subscriber.begin_with(&parameters);
                if let Some(alias) = subscriber.alias {
                    self.activate_alias(alias, request);
                    self.complete_if_done(request);
                }
            }
            Body::TrackStatus => self.release(now, request),
            Body::Namespace(_)
            | Body::NamespaceSubscription(_)
            | Body::FetchSubscriber(_)
            | Body::FetchPublisher(_) => {}
        }
        self.set_expiry(now, request, self.expires_in(kind, &parameters));
        if let Some(value) = new_group {
            self.events.push_back(Event::NewGroupRequested { request, value });
        }
        self.answer_held_updates(now, request);
        self.resolve_joins(request);
        Ok(())
    }

    /// What `expires` of a PUBLISH, or of the answer to such a request, says. The draft may have
    /// no way to say it.
    fn expires_in(&self, kind: RequestKind, parameters: &Parameters) -> Option<u64> {
        parameters.expires.filter(|_| kind == RequestKind::Subscribe || !self.dialect.fixed_fields)
    }

    /// Whether a SUBSCRIBE asks for nothing that is still to come.
    fn is_past(&self, request: RequestKey, largest: Option<Location>) -> bool {
        match self.requests.get(request).map(|request| &request.body) {
            Some(Body::Publisher(publisher)) => {
                publisher.filter.is_some_and(|filter| filter.is_past(largest))
            }
            _ => false,
        }
    }

    /// What must not be said when accepting.
    fn check_accept(
        &self,
        request: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), CommandError> {
        match self.requests.get(request).map(|request| &request.body) {
            Some(Body::Subscriber(subscriber)) => {
                check_new_group(parameters, subscriber.dynamic_groups)
            }
            _ => Ok(()),
        }
    }

    /// The order in which groups of an accepted SUBSCRIBE are sent: the subscriber's wish, or
    /// else the publisher's.
    fn order_for(
        &self,
        request: RequestKey,
        stated: Option<GroupOrder>,
        properties: &TrackProperties,
    ) -> Option<GroupOrder> {
        let Body::Publisher(publisher) = &self.requests.get(request)?.body else { return None };
        let order = publisher.wished_order.or(stated);
        Some(order.unwrap_or_else(|| properties.default_publisher_group_order()))
    }

    /// A SUBSCRIBE of ours that crossed with the PUBLISH being accepted ends first
    /// (draft-18, "Subscriptions").
    fn give_way_to_publish(&mut self, now: Timestamp, accepted: RequestKey) {
        let Some(Body::Subscriber(subscriber)) =
            self.requests.get(accepted).map(|request| &request.body)
        else {
            return;
        };
        if self.requests.crossing(&subscriber.track) != Some(accepted) {
            return;
        }
        let Some(crossing) = self.requests.received(&subscriber.track) else { return };
        // If the peer has ended one of them and accepted the other, they did not cross.
        let is_established = |request: &Request| request.phase == Phase::Established;
        if self.requests.get(crossing).is_some_and(is_established)
            && (self.requests.is_ending(accepted) || self.requests.is_ending(crossing))
        {
            return;
        }
        self.withdraw(now, crossing, StreamResetCode::Cancelled);
        let error = RequestError {
            code: RequestErrorCode::DuplicateSubscription,
            raw_code: None,
            reason: "the publisher's PUBLISH of the track was accepted instead".into(),
            retry_after: None,
            redirect: None,
        };
        self.events.push_back(Event::Rejected { request: crossing, error });
    }

    /// Refuses a request of the peer's (draft-18, "REQUEST_ERROR"). It is over.
    pub fn reject(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        refusal: Refusal,
    ) -> Result<(), CommandError> {
        let (id, kind, own_stream) = self.answerable(request)?;
        self.check_refusal(request, &refusal)?;
        self.send_refusal(id, kind, own_stream, refusal);
        self.release(now, request);
        Ok(())
    }

    /// What a refusal must not say: a client cannot send a server elsewhere, and a namespace
    /// has no track (draft-18, "Redirect Structure").
    pub(super) fn check_refusal(
        &self,
        request: RequestKey,
        refusal: &Refusal,
    ) -> Result<(), CommandError> {
        let Some(redirect) = &refusal.redirect else { return Ok(()) };
        if self.role == Role::Client && !redirect.connect_uri.is_empty() {
            return Err(CommandError::WrongState("a client cannot send a server elsewhere"));
        }
        let kind = self.requests.get(request).map(Request::kind);
        if matches!(kind, Some(RequestKind::Publish | RequestKind::SubscribeTracks)) {
            return Err(CommandError::WrongState("such a request cannot be redirected"));
        }
        if kind.is_some_and(is_of_namespace) && !redirect.track.name().is_empty() {
            return Err(CommandError::WrongState("a namespace is redirected without a track name"));
        }
        Ok(())
    }

    /// Ends a request from this side: withdraws one of ours, or stops accepting one of the peer's
    /// (draft-18, "Request Cancellation and Rejection"). A subscription in which this side is the
    /// publisher ends with [`Publisher::done`](super::Publisher::done) instead, which says why.
    pub fn cancel(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        code: StreamResetCode,
    ) -> Result<(), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let cancelled = self.requests.get(request).ok_or(CommandError::Gone)?;
        if matches!(cancelled.body, Body::FetchPublisher(_)) {
            return Err(CommandError::WrongState("a publisher ends a fetch with `reset`"));
        }
        if matches!(cancelled.body, Body::Publisher(_)) {
            return Err(CommandError::WrongState("a publisher ends a subscription with `done`"));
        }
        if !cancelled.ours && cancelled.phase == Phase::Pending {
            return Err(CommandError::WrongState("reject a request that was not answered"));
        }
        if matches!(cancelled.body, Body::NamespaceSubscription(_))
            && !cancelled.ours
            && cancelled.stream.is_none()
        {
            return Err(CommandError::WrongState("only its subscriber can end this"));
        }
        self.withdraw(now, request, code);
        Ok(())
    }

    pub(super) fn not_established(&self) -> CommandError {
        match self.state {
            SessionState::Closed => CommandError::Closed,
            _ => CommandError::Blocked(Blocked::Setup),
        }
    }

    fn may_begin(&mut self, kind: RequestKind) -> Result<(), CommandError> {
        if !self.is_established() {
            return Err(self.not_established());
        }
        if self.goaway_received {
            return Err(CommandError::GoingAway);
        }
        self.check_credit()?;
        if self.link.has_own_stream(self.dialect, kind) && !self.streams.can_open(Dir::Bi) {
            self.was_blocked = true;
            return Err(CommandError::Blocked(Blocked::Streams));
        }
        Ok(())
    }

    /// Whether the peer allows one more Request ID.
    pub(super) fn check_credit(&mut self) -> Result<(), CommandError> {
        let id = self.requests.next_id;
        if self.link.has_request_credit() && id >= self.our_max_request_id {
            self.was_blocked = true;
            if !core::mem::replace(&mut self.requests_blocked_sent, true) {
                let max_request_id = self.our_max_request_id;
                self.send_control_message(&Message::RequestsBlocked(RequestsBlocked {
                    max_request_id,
                }));
            }
            return Err(CommandError::Blocked(Blocked::Requests));
        }
        Ok(())
    }

    pub(super) fn begin_request(
        &mut self,
        now: Timestamp,
        kind: RequestKind,
        message: impl FnOnce(u64) -> Message,
        body: Body,
    ) -> Result<RequestKey, CommandError> {
        self.may_begin(kind)?;
        let id = self.requests.next_id;
        let mut message = message(id);
        self.check_reserved(&message)?;
        let outgoing = beginning(id, self.link.has_own_stream(self.dialect, kind));
        let tokens = self.stage_tokens(request_parameters(&mut message).as_deref(), outgoing)?;
        let mut encoded = Vec::new();
        encode_message(self.dialect, &message, &mut encoded)?;
        let stream = if self.link.has_own_stream(self.dialect, kind) {
            let answers = MessageStream::new(ControlReader::new(self.dialect));
            let recv = Some(RecvKind::Request(answers));
            let stream = self.streams.open(Dir::Bi, SendClass::Request, recv);
            let stream = stream.ok_or(CommandError::Blocked(Blocked::Streams))?;
            self.trace.stream_type(stream, TraceOwner::Local, TracedStreamType::Request);
            Some(stream)
        } else {
            None
        };
        if let Some(on) = stream.or(self.control_out) {
            self.streams.send_control(on, &encoded, &mut self.trace);
        }
        self.sent_tokens.commit(outgoing, tokens);
        self.requests.next_id += 2;
        let answer_deadline =
            self.config.limits.answer_timeout.map(|timeout| now.saturating_add(timeout));
        let request = Request {
            id,
            ours: true,
            stream,
            phase: Phase::Pending,
            answer_deadline,
            updates: Updates::default(),
            expiry: None,
            goaway_sent: false,
            goaway_deadline: None,
            since: now,
            body,
        };
        let key = self.requests.insert(request);
        if let Some(stream) = stream {
            self.streams.assign(stream, key);
        }
        if let Some(deadline) = answer_deadline {
            self.timers.set(deadline, Timer::Answer(key));
        }
        Ok(key)
    }

    /// A request of the peer's that waits for an answer.
    pub(super) fn answerable(
        &self,
        request: RequestKey,
    ) -> Result<(u64, RequestKind, Option<StreamKey>), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let found = self.requests.get(request).ok_or(CommandError::Gone)?;
        if found.ours {
            return Err(CommandError::WrongState("the peer answers this request"));
        }
        if found.phase == Phase::Established {
            return Err(CommandError::WrongState("the request was answered already"));
        }
        Ok((found.id, found.kind(), found.stream))
    }

    pub(super) fn encode_and_send(
        &mut self,
        own_stream: Option<StreamKey>,
        message: &Message,
    ) -> Result<(), CommandError> {
        self.scratch.clear();
        encode_message(self.dialect, message, &mut self.scratch)?;
        if let Some(stream) = own_stream.or(self.control_out) {
            self.streams.send_control(stream, &self.scratch, &mut self.trace);
        }
        Ok(())
    }

    /// Whether a value is an integer of the draft, for what is written later or may be.
    pub(super) fn can_say(
        &self,
        value: impl Into<Option<u64>>,
        field: &'static str,
    ) -> Result<(), CommandError> {
        match value.into() {
            Some(value) if value > self.dialect.ints.max() => {
                Err(EncodeError::OutOfRange(field).into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn send_refusal(
        &mut self,
        id: u64,
        kind: RequestKind,
        own_stream: Option<StreamKey>,
        refusal: Refusal,
    ) {
        let Refusal { code, reason, retry_after, redirect } = refusal;
        let retry_interval = retry_after.map_or(0, |after| {
            u64::try_from(after.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
        });
        // What cannot be said is left out: a refusal must always get through.
        let code = match (code, &redirect) {
            (RequestErrorCode::Redirect, None) => RequestErrorCode::DoesNotExist,
            _ => code,
        };
        let error = RequestErrorMessage {
            request_id: Some(id),
            answers: Some(kind),
            code,
            retry_interval: retry_interval.min(self.dialect.ints.max()),
            reason,
            redirect,
        };
        if !self.send_message(own_stream, &Message::RequestError(error)) {
            let plain = RequestErrorMessage {
                request_id: Some(id),
                answers: Some(kind),
                code: RequestErrorCode::InternalError,
                retry_interval: 0,
                reason: String::new(),
                redirect: None,
            };
            self.send_message(own_stream, &Message::RequestError(plain));
        }
    }
}

/// Whether a request is about a namespace as a whole.
pub(super) fn is_of_namespace(kind: RequestKind) -> bool {
    matches!(
        kind,
        RequestKind::PublishNamespace
            | RequestKind::SubscribeNamespace
            | RequestKind::SubscribeTracks
    )
}
