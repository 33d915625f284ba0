//! Changing requests that are not over (draft-18, "REQUEST_UPDATE").

use alloc::format;
use alloc::string::ToString;

use super::MoqtConnection;
use super::requests::PendingAnswer;
use super::tokens::DUPLICATE_TOKEN;
use crate::event::Event;
use crate::key::{RequestKey, StreamKey};
use crate::link::{RequestRef, Violation};
use crate::model::{
    Message, PublishDoneCode, RequestErrorCode, RequestKind, RequestOk, RequestUpdate,
    SessionError, StreamResetCode,
};
use crate::request::{Body, Phase};
use crate::time::Timestamp;
use crate::wire::{Carrier, JoiningRule};

/// How many updates may wait for the answer to the request they change.
const MAX_PENDING_UPDATES: u32 = 1024;

impl MoqtConnection {
    pub(super) fn on_update(
        &mut self,
        now: Timestamp,
        target: &RequestRef,
        stream: StreamKey,
        mut update: RequestUpdate,
    ) -> Result<(), Violation> {
        let id = update.request_id;
        if self.link.has_request_credit() && id >= self.peer_max_request_id {
            let reason = format!("Request ID {id} of at most {}", self.peer_max_request_id);
            return Err(Violation::new(SessionError::TooManyRequests, reason));
        }
        self.requests.peer_ids.take(id)?;
        let tokens_are_valid = self.resolve_tokens(Some(&mut update.parameters))?;
        self.replenish_request_credit();
        let Some(key) = self.resolve(target, stream)? else { return Ok(()) };
        let Some(request) = self.requests.get(key) else { return Ok(()) };
        let carrier = match &request.body {
            Body::Publisher(_) => Carrier::UpdateSubscription,
            Body::FetchPublisher(_) if !self.dialect.fixed_fields => Carrier::UpdateFetch,
            Body::Subscriber(_) if !request.ours => Carrier::UpdateSubscription,
            Body::Namespace(_) if !request.ours => Carrier::UpdatePublishNamespace,
            _ => return Err(Violation::protocol("an update of a request of the receiver's")),
        };
        let parameters = update.parameters;
        if !self.misplaced(&parameters, carrier).is_empty() {
            return Err(Violation::protocol(
                "an update with a parameter not valid for the request",
            ));
        }
        if !tokens_are_valid {
            self.refuse_update(now, key, id, RequestErrorCode::MalformedAuthToken, DUPLICATE_TOKEN);
            return Ok(());
        }
        if parameters.subscription_filter.is_some_and(|filter| filter.is_backwards()) {
            if self.dialect.updates_narrow_only {
                return Err(Violation::protocol("an update to a range that ends before it begins"));
            }
            let code = RequestErrorCode::InvalidRange;
            self.refuse_update(now, key, id, code, "the range ends before it begins");
            return Ok(());
        }
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let own_stream = request.stream;
        let is_pending = !request.ours && request.phase == Phase::Pending;
        let mut ok = RequestOk {
            request_id: Some(id),
            answers: Some(RequestKind::Update),
            ..RequestOk::default()
        };
        if let Body::Publisher(publisher) = &mut request.body {
            let was_forwarding = publisher.forward;
            publisher.update(&parameters, self.dialect.updates_narrow_only)?;
            if publisher.forward && !was_forwarding && self.dialect.forward_renews_interest {
                publisher.stopped.clear();
            }
            if publisher.forward
                && !was_forwarding
                && self.dialect.joining == JoiningRule::ForwardState
            {
                // The answer to this update tells it.
                publisher.joining_location = publisher.largest;
            }
            ok.parameters.largest_object = publisher.largest;
            let sender = publisher.sender;
            if let Some(priority) = parameters.subscriber_priority {
                self.streams.schedule.set_priority(sender, priority);
            }
            self.update_timeouts(sender, &parameters);
        }
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        if let Body::FetchPublisher(fetch) = &mut request.body
            && let Some(priority) = parameters.subscriber_priority
        {
            self.streams.schedule.set_priority(fetch.sender, priority);
        }
        if is_pending && own_stream.is_some() {
            // The first answer on a request's stream is the one to the request itself.
            request.updates_to_answer += 1;
            if request.updates_to_answer > MAX_PENDING_UPDATES {
                let reason = "too many updates of a request that was not answered";
                return Err(Violation::new(SessionError::InternalError, reason));
            }
        } else if !self.dialect.fixed_fields {
            self.send_message(own_stream, &Message::RequestOk(ok));
        }
        self.events.push_back(Event::Updated { request: key, parameters });
        Ok(())
    }

    /// An update cannot be carried out; the request ends with that (draft-18, "Updating
    /// Subscriptions").
    fn refuse_update(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        id: u64,
        code: RequestErrorCode,
        reason: &str,
    ) {
        let Some(request) = self.requests.get(key) else { return };
        let (stream, is_new) = (request.stream, !request.ours && request.phase == Phase::Pending);
        let answer_to = if is_new {
            PendingAnswer { id: request.id, kind: request.kind(), stream }
        } else {
            PendingAnswer { id, kind: RequestKind::Update, stream }
        };
        let refusal = super::Refusal { reason: reason.to_string(), ..super::Refusal::new(code) };
        self.send_refusal(answer_to.id, answer_to.kind, answer_to.stream, refusal);
        if is_new {
            self.release(now, key);
        } else if let Some(publisher) = self.publisher(key) {
            publisher.done(PublishDoneCode::UpdateFailed, reason);
        } else if self.is_fetch(key) {
            // "the publisher MUST reset the FETCH data stream"
            self.release(now, key);
        } else {
            return;
        }
        let code = StreamResetCode::Cancelled;
        self.events.push_back(Event::Cancelled { request: key, code, error: None });
    }
}
