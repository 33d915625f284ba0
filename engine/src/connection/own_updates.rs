//! Changing requests of this side's, and subscriptions that it receives (draft-18,
//! "REQUEST_UPDATE").

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::MoqtConnection;
use super::tokens::request_parameters;
use super::updates::update_of_namespaces;
use crate::error::{Blocked, CommandError};
use crate::event::{Event, RequestError};
use crate::key::{RequestKey, StreamKey, UpdateId};
use crate::link::{RequestRef, Violation};
use crate::model::{
    Message, Parameters, PublishDoneCode, RequestErrorCode, RequestKind, RequestUpdate,
    StreamResetCode,
};
use crate::request::{Body, Lane, Outgoing, Phase, Request, SentUpdate, Wants};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{Carrier, encode_message};

impl MoqtConnection {
    /// Changes a request that was accepted: one of ours, or a subscription to something that
    /// the peer publishes (draft-18, "REQUEST_UPDATE"). What is absent stays as it is; a
    /// parameter that this request cannot have is left out. An update without parameters asks
    /// for a subscription that expires to be extended.
    ///
    /// [`Event::UpdateAccepted`] or [`Event::UpdateRejected`] tells how it went. Draft 14
    /// knows no answer, so there the first follows at once; it lets only subscriptions be
    /// changed, and their filter only be narrowed.
    pub fn update(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        parameters: &Parameters,
    ) -> Result<UpdateId, CommandError> {
        if !self.is_established() {
            return Err(self.not_established());
        }
        let found = self.requests.get(request).ok_or(CommandError::Gone)?;
        let carrier = self.updated_here(found)?;
        if found.updates.sent.len() >= self.config.limits.unanswered_updates {
            if let Some(found) = self.requests.get_mut(request) {
                found.updates.blocked = true;
            }
            return Err(CommandError::Blocked(Blocked::Updates));
        }
        let mut parameters = parameters.clone();
        parameters.remove(self.misplaced(&parameters, carrier));
        let wants = self.check_update(found, &mut parameters)?;
        let stated = parameters.clone();
        let (existing, own_stream) = (found.id, found.stream);
        self.check_prefix(request, &parameters)?;
        self.check_credit()?;
        let id = self.requests.next_id;
        let mut message = Message::RequestUpdate(RequestUpdate {
            request_id: id,
            existing_request_id: Some(existing),
            parameters,
        });
        let own_stream = own_stream.filter(|_| self.dialect.answers_by_stream);
        let lane = if own_stream.is_some() { Lane::Own(existing) } else { Lane::Control };
        let outgoing = Outgoing { request_id: existing, id, lane };
        let tokens = self.stage_tokens(request_parameters(&mut message).as_deref(), outgoing)?;
        let mut encoded = Vec::new();
        encode_message(self.dialect, &message, &mut encoded)?;
        if let Some(on) = own_stream.or(self.control_out) {
            self.streams.send_control(on, &encoded, &mut self.trace);
        }
        self.sent_tokens.commit(outgoing, tokens);
        self.requests.next_id += 2;
        if let (Some(wants), Some(Body::Subscriber(subscriber))) =
            (wants, self.requests.get_mut(request).map(|request| &mut request.body))
        {
            *subscriber.wants = wants;
            subscriber.forward = wants.forward;
            subscriber.timeouts.update_subscriber(&stated);
        }
        self.await_prefix(request, id, stated.track_namespace_prefix);
        let update = UpdateId::new(id);
        if self.dialect.fixed_fields {
            self.sent_tokens.answered(existing, id);
            let parameters = Parameters::default();
            self.events.push_back(Event::UpdateAccepted { request, update, parameters });
        } else {
            let timeout = self.config.limits.answer_timeout;
            let deadline = timeout.map(|timeout| now.saturating_add(timeout));
            if let Some(deadline) = deadline {
                self.timers.set(deadline, Timer::UpdateAnswer(update));
            }
            self.requests.add_update(request, SentUpdate { id, deadline, given_up: false });
        }
        Ok(update)
    }

    /// What an update of a request is, if this side may send one now.
    fn updated_here(&self, request: &Request) -> Result<Carrier, CommandError> {
        let wrong = |what| Err(CommandError::WrongState(what));
        if request.phase == Phase::Pending {
            return wrong("the request has not been answered");
        }
        if request.updates.failed {
            return wrong("an update was refused, and the request ends with that");
        }
        let by_its_sender = request.ours && !self.dialect.only_subscribers_update;
        match &request.body {
            Body::Subscriber(subscriber) if subscriber.ending.is_some() => {
                wrong("the publisher has ended the subscription")
            }
            Body::Subscriber(_) => Ok(Carrier::UpdateSubscription),
            Body::FetchSubscriber(_) if by_its_sender => Ok(Carrier::UpdateFetch),
            Body::Publisher(publisher) if publisher.ending.is_some() => {
                wrong("the subscription is ending")
            }
            Body::Publisher(_) if by_its_sender => Ok(Carrier::UpdateSubscription),
            Body::Namespace(_) if by_its_sender => Ok(Carrier::UpdatePublishNamespace),
            Body::NamespaceSubscription(subscription) if by_its_sender => {
                Ok(update_of_namespaces(subscription.kind))
            }
            _ => wrong("this side cannot change the request on this draft"),
        }
    }

    /// What the subscriber wants after an update, which is completed where the draft repeats
    /// everything.
    fn check_update(
        &self,
        request: &Request,
        parameters: &mut Parameters,
    ) -> Result<Option<Wants>, CommandError> {
        if matches!(request.body, Body::Publisher(_)) {
            // All else is for the subscriber to decide.
            let authorization_tokens = core::mem::take(&mut parameters.authorization_tokens);
            *parameters = Parameters { authorization_tokens, ..Parameters::default() };
        }
        let Body::Subscriber(subscriber) = &request.body else { return Ok(None) };
        check_new_group(parameters, subscriber.dynamic_groups)?;
        if parameters.subscription_filter.is_some_and(|filter| filter.is_backwards()) {
            return Err(CommandError::WrongState("the range ends before it begins"));
        }
        let wants = subscriber.wants.updated(parameters);
        if self.dialect.updates_narrow_only && wants.is_wider_than(&subscriber.wants) {
            return Err(CommandError::WrongState("this draft lets subscriptions only be narrowed"));
        }
        if self.dialect.fixed_fields {
            parameters.subscription_filter = Some(wants.absolute());
            parameters.subscriber_priority = Some(wants.priority);
            parameters.forward = Some(wants.forward);
        }
        Ok(Some(wants))
    }

    /// The update of ours that an answer is meant for.
    pub(super) fn answered_update(
        &self,
        target: &RequestRef,
        stream: StreamKey,
    ) -> Option<(RequestKey, u64)> {
        match target {
            RequestRef::Id(id) => Some((self.requests.by_update(*id)?, *id)),
            // Answers on a request's stream come in the order of what they answer.
            RequestRef::Stream if self.dialect.answers_by_stream => {
                let key = self.streams.get(stream)?.request?;
                let request = self.requests.get(key)?;
                Some((key, request.updates.sent.front()?.id))
            }
            _ => None,
        }
    }

    pub(super) fn on_update_answer(
        &mut self,
        now: Timestamp,
        (key, id): (RequestKey, u64),
        message: Message,
    ) -> Result<(), Violation> {
        match message {
            Message::RequestOk(ok) if ok.answers.is_none() => {
                if !ok.track_properties.is_empty() {
                    return Err(Violation::protocol("track properties in an answer to an update"));
                }
                let mut parameters = ok.parameters;
                self.check_parameters(&mut parameters, Carrier::UpdateOk)?;
                self.prefix_accepted(key, id);
                if self.forget_sent_update(id) {
                    let update = UpdateId::new(id);
                    self.events.push_back(Event::UpdateAccepted {
                        request: key,
                        update,
                        parameters,
                    });
                }
            }
            Message::RequestError(error) if error.answers.is_none() => {
                let retry_after = error.retry_interval.checked_sub(1).map(Duration::from_millis);
                let code = self.dialect.request_error_code(RequestKind::Update, error.code);
                let error = RequestError {
                    raw_code: Some(code),
                    code: error.code,
                    reason: error.reason,
                    retry_after,
                    redirect: error.redirect,
                };
                if let Some(kind) = self.requests.get(key).map(Request::kind) {
                    self.check_redirect(kind, error.redirect.as_ref())?;
                }
                self.on_update_error(now, key, id, &error);
            }
            _ => return Err(Violation::protocol("an answer of another kind than the update")),
        }
        Ok(())
    }

    /// An update of ours failed. Where answers do not say what they answer, one error answers
    /// all that were sent (draft-18, "Updating Subscriptions"), though the peer need not have put
    /// them together, and then answers each.
    fn on_update_error(&mut self, now: Timestamp, key: RequestKey, id: u64, error: &RequestError) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let goes_on = matches!(request.body, Body::Namespace(_) | Body::NamespaceSubscription(_));
        let is_publisher = matches!(request.body, Body::Publisher(_));
        request.updates.failed |= !goes_on || self.dialect.answers_by_stream;
        let is_for_peer_to_end = request.updates.failed && !is_publisher;
        if let Some(timeout) = self.config.limits.answer_timeout.filter(|_| is_for_peer_to_end)
            && request.updates.end_deadline.is_none()
        {
            let deadline = now.saturating_add(timeout);
            request.updates.end_deadline = Some(deadline);
            self.timers.set(deadline, Timer::UpdateRefused(key));
        }
        let failed: Vec<u64> = if self.dialect.answers_by_stream {
            request.updates.sent.iter().map(|update| update.id).collect()
        } else {
            [id].into()
        };
        request.updates.may_be_answered += failed.len().saturating_sub(1);
        for id in failed {
            if self.forget_sent_update(id) {
                let (update, error) = (UpdateId::new(id), error.clone());
                self.events.push_back(Event::UpdateRejected { request: key, update, error });
            }
        }
        // A publisher ends the subscription, whoever's update it was.
        if is_publisher && let Some(publisher) = self.publisher(key) {
            publisher.done(PublishDoneCode::UpdateFailed, "an update was refused");
            let code = StreamResetCode::Cancelled;
            self.tell_end(key, Event::Cancelled { request: key, code, error: None });
        }
    }

    /// An update of ours is answered; whether the application still waits to hear of it.
    fn forget_sent_update(&mut self, id: u64) -> bool {
        if let Some(request) = self.requests.by_update(id).and_then(|key| self.requests.get(key)) {
            self.sent_tokens.answered(request.id, id);
        }
        let request = self.requests.by_update(id);
        let Some(update) = self.requests.take_update(id) else { return false };
        if let Some(deadline) = update.deadline {
            self.timers.clear(deadline, Timer::UpdateAnswer(UpdateId::new(id)));
        }
        let blocked = request
            .and_then(|key| self.requests.get_mut(key))
            .is_some_and(|request| core::mem::take(&mut request.updates.blocked));
        if update.given_up && blocked {
            // No other event says that there may be one more update.
            self.events.push_back(Event::Unblocked);
        }
        !update.given_up && !request.is_some_and(|key| self.is_told_over(key))
    }

    /// The time for the answer to an update has passed. The request goes on.
    pub(super) fn update_unanswered(&mut self, update: UpdateId) {
        let Some(key) = self.requests.by_update(update.id()) else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(sent) = request.updates.sent.iter_mut().find(|sent| sent.id == update.id()) else {
            return;
        };
        sent.deadline = None;
        sent.given_up = true;
        if !request.is_told() {
            return;
        }
        let error = RequestError {
            code: RequestErrorCode::Timeout,
            raw_code: None,
            reason: "no answer in time".to_string(),
            retry_after: None,
            redirect: None,
        };
        self.events.push_back(Event::UpdateRejected { request: key, update, error });
    }

    /// The peer has refused an update and not ended the request, as it must have. It is given
    /// up, unless all there is to come has come.
    pub(super) fn refused_not_ended(&mut self, now: Timestamp, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else { return };
        request.updates.end_deadline = None;
        if self.is_fetched(key) {
            return;
        }
        let code = StreamResetCode::Cancelled;
        self.all_namespaces_done(key);
        self.withdraw(now, key, code);
        self.events.push_back(Event::Cancelled { request: key, code, error: None });
    }

    pub(super) fn release_sent_updates(&mut self, sent: VecDeque<SentUpdate>) {
        for SentUpdate { id, deadline, .. } in sent {
            if let Some(deadline) = deadline {
                self.timers.clear(deadline, Timer::UpdateAnswer(UpdateId::new(id)));
            }
        }
    }
}

/// A subscriber may ask for a new group only where the track allows it (draft-18, "NEW GROUP
/// REQUEST Parameter").
pub(super) fn check_new_group(
    parameters: &Parameters,
    dynamic_groups: bool,
) -> Result<(), CommandError> {
    if parameters.new_group_request.is_some() && !dynamic_groups {
        return Err(CommandError::WrongState("the track does not have DYNAMIC_GROUPS"));
    }
    Ok(())
}
