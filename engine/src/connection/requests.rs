//! Requests of the peer's, and its answers to ours.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use super::MoqtConnection;
use super::commands::is_of_namespace;
use super::tokens::{DUPLICATE_TOKEN, request_parameters};
use crate::config::Role;
use crate::event::{Answer, Event, IncomingRequest, RequestError};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{
    FullTrackName, Message, Parameter, ParameterSet, Parameters, Publish, PublishDone, Redirect,
    RequestErrorCode, RequestKind, RequestOk, SessionError, StreamResetCode, Subscribe,
    SubscribeOk, TrackProperties, TrackStatus,
};
use crate::request::{Body, Ending, Phase, Publisher, Request, Subscriber, Updates};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{Carrier, Tolerance};

impl MoqtConnection {
    /// The peer begins a request. Whatever becomes of it, its Request ID is used up.
    pub(super) fn on_open(
        &mut self,
        now: Timestamp,
        stream: Option<StreamKey>,
        message: Message,
    ) -> Result<(), Violation> {
        self.on_request(now, stream, message)?;
        self.replenish_request_credit();
        Ok(())
    }

    fn on_request(
        &mut self,
        now: Timestamp,
        stream: Option<StreamKey>,
        mut message: Message,
    ) -> Result<(), Violation> {
        let Some((id, kind)) = opened(&message) else {
            return Err(Violation::protocol("not a request"));
        };
        if self.link.has_request_credit() && id >= self.peer_max_request_id {
            let reason = format!("Request ID {id} of at most {}", self.peer_max_request_id);
            return Err(Violation::new(SessionError::TooManyRequests, reason));
        }
        self.requests.peer_ids.take(id)?;
        let tokens_are_valid = self.resolve_tokens(request_parameters(&mut message))?;
        let answer_to = PendingAnswer { id, kind, stream, since: now };
        if self.goaway_sent && self.dialect.goaway_refuses_requests {
            self.refuse(answer_to, RequestErrorCode::GoingAway, "this endpoint is going away");
            return Ok(());
        }
        if self.requests.open_by_peer >= self.config.limits.open_requests
            || self.requests.open_by_peer_of(kind) >= self.config.limits.open_of(kind)
        {
            let code = RequestErrorCode::ExcessiveLoad;
            self.refuse(answer_to, code, "too many open requests");
            return Ok(());
        }
        if !tokens_are_valid {
            self.refuse(answer_to, RequestErrorCode::MalformedAuthToken, DUPLICATE_TOKEN);
            return Ok(());
        }
        if self.is_unserved(&message) {
            let code = RequestErrorCode::DoesNotExist;
            self.refuse(answer_to, code, "a reserved namespace");
            return Ok(());
        }
        match message {
            Message::Subscribe(subscribe) => self.on_subscribe(answer_to, subscribe)?,
            Message::Publish(publish) => self.on_publish(answer_to, publish)?,
            Message::PublishNamespace(publish) => self.on_publish_namespace(answer_to, publish),
            Message::SubscribeNamespace(subscribe) => {
                self.on_subscribe_namespace(answer_to, subscribe);
            }
            Message::SubscribeTracks(subscribe) => self.on_subscribe_tracks(answer_to, subscribe),
            Message::Fetch(fetch) => self.on_fetch(answer_to, fetch)?,
            Message::TrackStatus(status) => self.on_track_status(answer_to, status),
            _ => {
                let code = RequestErrorCode::NotSupported;
                self.refuse(answer_to, code, "this endpoint does not serve such requests");
            }
        }
        Ok(())
    }

    fn on_subscribe(
        &mut self,
        answer_to: PendingAnswer,
        subscribe: Subscribe,
    ) -> Result<(), Violation> {
        let Subscribe { request_id: _, track, parameters } = subscribe;
        if let Some(other) = self.requests.sent(&track) {
            // One that crossed with a PUBLISH of ours is no fault of the peer's.
            let crossed = self.is_pending_of_ours(other);
            if self.dialect.duplicate_subscription_closes && !crossed {
                return Err(Violation::protocol("a second subscription to a track"));
            }
            self.refuse_duplicate(answer_to);
            return Ok(());
        }
        if parameters.subscription_filter.is_some_and(|filter| filter.is_backwards()) {
            let code = RequestErrorCode::InvalidRange;
            self.refuse(answer_to, code, "the range ends before it begins");
            return Ok(());
        }
        let publisher = self.new_publisher(track.clone(), &TrackProperties::new(), &parameters);
        self.subscriber_timeouts(publisher.sender, &parameters);
        let body = Body::Publisher(publisher.into());
        let request = self.register(answer_to, body);
        let what = IncomingRequest::Subscribe { track, parameters };
        self.events.push_back(Event::Request { request, what });
        Ok(())
    }

    fn refuse_duplicate(&mut self, answer_to: PendingAnswer) {
        let code = RequestErrorCode::DuplicateSubscription;
        self.refuse(answer_to, code, "the track is subscribed to already");
    }

    fn is_pending_of_ours(&self, key: RequestKey) -> bool {
        let request = self.requests.get(key);
        request.is_some_and(|request| request.ours && request.phase == Phase::Pending)
    }

    fn on_publish(&mut self, answer_to: PendingAnswer, publish: Publish) -> Result<(), Violation> {
        let Publish { request_id: _, track, track_alias, parameters, track_properties } = publish;
        // A SUBSCRIBE of ours that crosses with this is left to the application: it gives way
        // if the PUBLISH is accepted.
        let is_open = |other| !self.is_pending_of_ours(other) && !self.requests.is_ending(other);
        if self.requests.received(&track).is_some_and(is_open)
            || self.requests.crossing(&track).is_some()
        {
            self.refuse_duplicate(answer_to);
            return Ok(());
        }
        if let Some(mandatory) = self.not_understood(&track_properties) {
            let code = RequestErrorCode::UnsupportedExtension;
            self.refuse(answer_to, code, &format!("property {mandatory:#x} is not understood"));
            return Ok(());
        }
        self.free_alias_of_ended(track_alias);
        let mut subscriber = Subscriber::new(track.clone(), Some(track_alias), self.track_rules());
        subscriber.largest = parameters.largest_object;
        subscriber.dynamic_groups = track_properties.dynamic_groups();
        subscriber.default_priority = track_properties.default_publisher_priority();
        subscriber.timeouts.split = self.dialect.split_delivery_timeouts;
        subscriber.timeouts.set_publisher(&track_properties);
        let request = self.register(answer_to, Body::Subscriber(subscriber.into()));
        if self.aliases.is_taken(track_alias, request) {
            return Err(duplicate_alias(track_alias));
        }
        self.aliases.offer(track_alias, request, &mut self.timers);
        let what = IncomingRequest::Publish { track, parameters, track_properties };
        self.events.push_back(Event::Request { request, what });
        Ok(())
    }

    /// A publisher may use an alias anew once it has ended the subscription that had it. What
    /// had not come by then never will.
    fn free_alias_of_ended(&mut self, alias: u64) {
        let Some(holder) = self.aliases.active(alias).filter(|key| self.requests.is_ending(*key))
        else {
            return;
        };
        if let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(holder).map(|request| &mut request.body)
        {
            subscriber.alias = None;
            if let Some(ending) = &mut subscriber.ending
                && let Some(deadline) = ending.late_deadline.take()
            {
                self.timers.clear(deadline, Timer::LateStreams(holder));
            }
        }
        self.aliases.free(alias);
        self.complete_if_done(holder);
    }

    /// A property that would have to be understood. This endpoint understands none of those.
    pub(super) fn not_understood(&self, properties: &TrackProperties) -> Option<u64> {
        if self.dialect.mandatory_properties { properties.first_mandatory() } else { None }
    }

    fn on_track_status(&mut self, answer_to: PendingAnswer, status: TrackStatus) {
        let TrackStatus { request_id: _, track, parameters } = status;
        let request = self.register(answer_to, Body::TrackStatus);
        let what = IncomingRequest::TrackStatus { track, parameters };
        self.events.push_back(Event::Request { request, what });
    }

    pub(super) fn register(&mut self, answer_to: PendingAnswer, body: Body) -> RequestKey {
        let PendingAnswer { id, kind: _, stream, since } = answer_to;
        let request = Request {
            id,
            ours: false,
            stream,
            phase: Phase::Pending,
            answer_deadline: None,
            updates: Updates::default(),
            expiry: None,
            goaway_sent: false,
            goaway_deadline: None,
            since,
            body,
        };
        let key = self.requests.insert(request);
        let sender = match self.requests.get(key).map(|request| &request.body) {
            Some(Body::Publisher(publisher)) => Some(publisher.sender),
            Some(Body::FetchPublisher(fetch)) => Some(fetch.sender),
            _ => None,
        };
        if let Some(sender) = sender.and_then(|key| self.streams.schedule.sender_mut(key)) {
            sender.request = Some(key);
        }
        if let Some(stream) = stream {
            self.streams.assign(stream, key);
        }
        key
    }

    /// Refuses a request that was never registered.
    pub(super) fn refuse(
        &mut self,
        answer_to: PendingAnswer,
        code: RequestErrorCode,
        reason: &str,
    ) {
        let PendingAnswer { id, kind, stream, .. } = answer_to;
        let refusal = super::Refusal { reason: reason.to_string(), ..super::Refusal::new(code) };
        self.send_refusal(id, kind, stream, refusal);
        if let Some(stream) = stream {
            self.end_request_stream(stream);
        }
    }

    pub(super) fn on_answer(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        message: Message,
    ) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let kind = request.kind();
        let is_of_update = |message: &Message| match message {
            Message::RequestOk(ok) => ok.answers.is_none(),
            Message::RequestError(error) => error.answers.is_none(),
            _ => false,
        };
        if request.updates.may_be_answered > 0 && is_of_update(&message) {
            request.updates.may_be_answered -= 1;
            return Ok(());
        }
        if !request.ours {
            return Err(Violation::protocol("an answer to a request of its sender's"));
        }
        if request.phase == Phase::Established {
            return Err(Violation::protocol("a second answer to a request"));
        }
        self.sent_tokens.answered(request.id, request.id);
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
                self.check_redirect(kind, error.redirect.as_ref())?;
                let is_told = !self.is_told_over(key);
                self.release(now, key);
                if is_told {
                    self.events.push_back(Event::Rejected { request: key, error });
                }
                Ok(())
            }
            Message::SubscribeOk(ok) if kind == RequestKind::Subscribe => {
                self.on_subscribe_ok(now, key, ok)
            }
            Message::FetchOk(ok) if kind == RequestKind::Fetch => self.on_fetch_ok(now, key, ok),
            Message::RequestOk(ok)
                if !matches!(kind, RequestKind::Subscribe | RequestKind::Fetch)
                    && ok.answers.is_none_or(|answers| answers == kind) =>
            {
                self.on_request_ok(now, key, kind, ok)
            }
            _ => Err(Violation::protocol("an answer of another kind than the request")),
        }
    }

    /// What a redirect must not say (draft-18, "Redirect Structure").
    pub(super) fn check_redirect(
        &self,
        kind: RequestKind,
        redirect: Option<&Redirect>,
    ) -> Result<(), Violation> {
        let Some(redirect) = redirect else { return Ok(()) };
        if self.role == Role::Server && !redirect.connect_uri.is_empty() {
            return Err(Violation::protocol("a redirect that sends a server elsewhere"));
        }
        if is_of_namespace(kind) && !redirect.track.name().is_empty() {
            return Err(Violation::protocol("a redirect of a namespace with a track name"));
        }
        Ok(())
    }

    fn on_subscribe_ok(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        ok: SubscribeOk,
    ) -> Result<(), Violation> {
        let SubscribeOk { request_id: _, track_alias, parameters, track_properties } = ok;
        self.free_alias_of_ended(track_alias);
        if self.aliases.is_taken(track_alias, key) {
            return Err(duplicate_alias(track_alias));
        }
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        request.phase = Phase::Established;
        if let Body::Subscriber(subscriber) = &mut request.body {
            subscriber.alias = Some(track_alias);
            subscriber.largest = parameters.largest_object;
            subscriber.wants.resolve(parameters.largest_object);
            subscriber.dynamic_groups = track_properties.dynamic_groups();
            subscriber.default_priority = track_properties.default_publisher_priority();
            subscriber.timeouts.set_publisher(&track_properties);
        }
        if let Some(mandatory) = self.not_understood(&track_properties) {
            self.give_up_track(now, key, mandatory);
            return Ok(());
        }
        let answer = Answer { parameters, track_properties, fetch: None };
        self.events.push_back(Event::Accepted { request: key, answer });
        self.activate_alias(track_alias, key);
        Ok(())
    }

    /// Ends a request of ours for a track that has a property which must be understood and is
    /// not (draft-18, "Mandatory Track Properties").
    pub(super) fn give_up_track(&mut self, now: Timestamp, key: RequestKey, mandatory: u64) {
        let error = RequestError {
            code: RequestErrorCode::UnsupportedExtension,
            raw_code: None,
            reason: format!("track property {mandatory:#x} is not understood"),
            retry_after: None,
            redirect: None,
        };
        self.withdraw(now, key, StreamResetCode::Cancelled);
        self.events.push_back(Event::Rejected { request: key, error });
    }

    fn on_request_ok(
        &mut self,
        now: Timestamp,
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
        let mut new_group = None;
        if let Body::Publisher(publisher) = &mut request.body {
            publisher.set_filter(parameters.subscription_filter);
            publisher.first_filter = parameters.subscription_filter;
            publisher.forward = parameters.forward.unwrap_or(true);
            let priority = parameters.subscriber_priority.unwrap_or(128);
            self.streams.schedule.set_priority(publisher.sender, priority);
            let sender = publisher.sender;
            if let Some(order) = parameters.group_order {
                self.streams.schedule.set_order(sender, order);
            }
            new_group = publisher.asks_for_new_group(&parameters);
            self.subscriber_timeouts(sender, &parameters);
        }
        if self.is_told_over(key) {
            return Ok(());
        }
        let answer = Answer { parameters, track_properties, fetch: None };
        if kind == RequestKind::TrackStatus {
            // That was all there is to it.
            self.release(now, key);
        }
        self.events.push_back(Event::Accepted { request: key, answer });
        if let Some(value) = new_group {
            self.events.push_back(Event::NewGroupRequested { request: key, value });
        }
        Ok(())
    }

    /// The parameters that `carrier` may not carry. What is a fixed field of it does not count.
    pub(super) fn misplaced(&self, parameters: &Parameters, carrier: Carrier) -> ParameterSet {
        const FIELDS: ParameterSet = ParameterSet::of(&[
            Parameter::Forward,
            Parameter::SubscriberPriority,
            Parameter::SubscriptionFilter,
            Parameter::GroupOrder,
        ]);
        let mut present = parameters.present();
        if self.dialect.fixed_fields
            && matches!(carrier, Carrier::PublishOk | Carrier::UpdateSubscription)
        {
            present = present.difference(FIELDS);
        }
        self.dialect.misplaced(present, carrier)
    }

    /// Applies the draft's rule for parameters that the decoder could not place by itself.
    pub(super) fn check_parameters(
        &self,
        parameters: &mut Parameters,
        carrier: Carrier,
    ) -> Result<(), Violation> {
        let misplaced = self.misplaced(parameters, carrier);
        if misplaced.is_empty() {
            return Ok(());
        }
        match self.dialect.misplaced_parameter {
            Tolerance::Close => {
                Err(Violation::protocol("a parameter that is not valid for this message"))
            }
            Tolerance::Ignore => {
                parameters.remove(misplaced);
                Ok(())
            }
        }
    }

    pub(super) fn on_done(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        done: PublishDone,
    ) -> Result<(), Violation> {
        let limits = &self.config.limits;
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
        let timeout = if subscriber.seen < done.stream_count {
            limits.late_stream_timeout
        } else {
            limits.late_datagram_timeout
        };
        // "at least the larger of" the delivery timeouts (draft-18, "PUBLISH_DONE").
        let may_be_late = subscriber.timeouts.longest().min(limits.late_timeout_max);
        let deadline = now.saturating_add(timeout.max(may_be_late));
        subscriber.ending = Some(Ending { done, late_deadline: Some(deadline) });
        self.timers.set(deadline, Timer::LateStreams(key));
        if let Some(deadline) = request.updates.end_deadline.take() {
            self.timers.clear(deadline, Timer::UpdateRefused(key));
        }
        if let Some(stream) = request.stream
            && request.phase == Phase::Established
        {
            self.streams.finish(stream);
        }
        self.complete_if_done(key);
        Ok(())
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
}

/// What an answer to a request needs to know of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingAnswer {
    pub(super) id: u64,
    pub(super) kind: RequestKind,
    pub(super) stream: Option<StreamKey>,
    /// When the request came.
    pub(super) since: Timestamp,
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

fn duplicate_alias(alias: u64) -> Violation {
    let reason = format!("Track Alias {alias} is another track's");
    Violation::new(SessionError::DuplicateTrackAlias, reason)
}
