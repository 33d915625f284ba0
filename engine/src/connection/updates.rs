//! Changing requests of the peer's (draft-18, "REQUEST_UPDATE").

use alloc::format;
use alloc::string::ToString;

use super::requests::PendingAnswer;
use super::tokens::DUPLICATE_TOKEN;
use super::{MoqtConnection, Refusal};
use crate::error::CommandError;
use crate::event::Event;
use crate::key::{RequestKey, StreamKey};
use crate::link::{RequestRef, Violation};
use crate::model::{
    Message, Parameters, PublishDoneCode, RequestErrorCode, RequestKind, RequestOk, RequestUpdate,
    SessionError, StreamResetCode,
};
use crate::request::{Body, ReceivedUpdate, Request, Unfit, Updates};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{Carrier, JoiningRule};

impl MoqtConnection {
    /// Accepts the oldest update of a request that waits for a decision, and puts it in force
    /// (draft-18, "REQUEST_UPDATE"). Of `parameters`, `expires` grants an extension; the
    /// largest location is added where this side publishes.
    ///
    /// If what the update asks for turns out to be impossible, it is refused instead, and
    /// [`Event::Cancelled`] follows.
    pub fn accept_update(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        parameters: &Parameters,
    ) -> Result<(), CommandError> {
        self.can_say(parameters.expires, "EXPIRES")?;
        let largest = parameters.largest_object;
        self.can_say(largest.map(|largest| largest.group), "LARGEST_OBJECT")?;
        self.can_say(largest.map(|largest| largest.object), "LARGEST_OBJECT")?;
        let (id, changes) = self.take_undecided(request)?;
        match self.apply_update(request, &changes) {
            Ok(()) => self.answer_update(now, request, id, parameters),
            Err(unfit) => self.fail_update(now, request, id, invalid_range(unfit)),
        }
        self.resolve_joins(request);
        Ok(())
    }

    /// Refuses the oldest update of a request that waits for a decision. That ends the
    /// request, except a subscription that the peer publishes, which the peer has to end, and
    /// a namespace on drafts 14 and 16 (draft-18, "Updating Subscriptions").
    pub fn reject_update(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        refusal: Refusal,
    ) -> Result<(), CommandError> {
        if refusal.redirect.is_some() {
            return Err(CommandError::WrongState("an update cannot be redirected"));
        }
        let (id, _) = self.take_undecided(request)?;
        self.refuse_update(now, request, id, refusal);
        Ok(())
    }

    /// Takes the oldest update that waits for a decision: its Request ID, and what it changes.
    fn take_undecided(&mut self, request: RequestKey) -> Result<(u64, Parameters), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let by_stream = self.dialect.answers_by_stream;
        let found = self.requests.get_mut(request).ok_or(CommandError::Gone)?;
        if found.is_unanswered() && by_stream {
            return Err(CommandError::WrongState("answer the request before its updates"));
        }
        let update = found.updates.received.pop_front();
        self.update_bytes =
            self.update_bytes.saturating_sub(update.as_ref().map_or(0, ReceivedUpdate::size));
        // Those that wait for nothing but the request's own answer went with that.
        update
            .and_then(|update| Some((update.id, update.undecided?)))
            .ok_or(CommandError::WrongState("no update waits for a decision"))
    }

    pub(super) fn on_update(
        &mut self,
        now: Timestamp,
        target: &RequestRef,
        stream: StreamKey,
        update: RequestUpdate,
    ) -> Result<(), Violation> {
        let RequestUpdate { request_id: id, mut parameters, .. } = update;
        if self.link.has_request_credit() && id >= self.peer_max_request_id {
            let reason = format!("Request ID {id} of at most {}", self.peer_max_request_id);
            return Err(Violation::new(SessionError::TooManyRequests, reason));
        }
        self.requests.peer_ids.take(id)?;
        let tokens_are_valid = self.resolve_tokens(Some(&mut parameters))?;
        self.replenish_request_credit();
        let Some(key) = self.resolve(target, stream)? else {
            // The request is over; on its own stream nothing could be answered any more.
            self.answer_late_update(id);
            return Ok(());
        };
        let Some(request) = self.requests.get(key) else { return Ok(()) };
        let Some(carrier) = self.updated_by_peer(request) else {
            return Err(Violation::protocol(
                "an update of a request that its sender cannot change",
            ));
        };
        if !self.misplaced(&parameters, carrier).is_empty() {
            let reason = "an update with a parameter not valid for the request";
            return Err(Violation::protocol(reason));
        }
        self.check_narrowing(request, &parameters)?;
        if !tokens_are_valid {
            let refusal = Refusal {
                reason: DUPLICATE_TOKEN.to_string(),
                ..Refusal::new(RequestErrorCode::MalformedAuthToken)
            };
            self.fail_update(now, key, id, refusal);
            return Ok(());
        }
        let waits = request.is_unanswered() && self.dialect.answers_by_stream;
        let is_told = request.is_told();
        let asks = self.config.decide_updates && !self.dialect.fixed_fields && is_told;
        let limits = &self.config.limits;
        if (waits || asks)
            && (request.updates.received.len() >= limits.unanswered_updates
                || self.update_bytes >= limits.waiting_updates)
        {
            let refusal = Refusal {
                reason: "too many updates that have not been answered".to_string(),
                ..Refusal::new(RequestErrorCode::ExcessiveLoad)
            };
            self.fail_update(now, key, id, refusal);
            return Ok(());
        }
        if asks {
            self.hold_update(key, id, Some(parameters.clone()));
            if !waits {
                self.events.push_back(Event::UpdateRequested { request: key, parameters });
            }
            return Ok(());
        }
        if let Err(unfit) = self.apply_update(key, &parameters) {
            self.fail_update(now, key, id, invalid_range(unfit));
            return Ok(());
        }
        if is_told {
            self.events.push_back(Event::Updated { request: key, parameters });
        }
        if waits {
            // The first answer on a request's stream is the one to the request itself.
            self.hold_update(key, id, None);
        } else {
            let extension = Parameters { expires: self.extension(key), ..Parameters::default() };
            self.answer_update(now, key, id, &extension);
        }
        Ok(())
    }

    /// What an update of a request is, if the peer may send one (draft-18, "REQUEST_UPDATE").
    fn updated_by_peer(&self, request: &Request) -> Option<Carrier> {
        let by_its_sender = !request.ours && !self.dialect.only_subscribers_update;
        match &request.body {
            Body::Publisher(_) => Some(Carrier::UpdateSubscription),
            Body::FetchPublisher(_) if by_its_sender => Some(Carrier::UpdateFetch),
            Body::Subscriber(_) if by_its_sender => Some(Carrier::UpdateSubscription),
            Body::Namespace(_) if by_its_sender => Some(Carrier::UpdatePublishNamespace),
            Body::NamespaceSubscription(subscription) if by_its_sender => {
                Some(update_of_namespaces(subscription.kind))
            }
            _ => None,
        }
    }

    /// Where subscriptions may only be narrowed, anything else ends the session (draft-14,
    /// "SUBSCRIBE_UPDATE").
    fn check_narrowing(&self, request: &Request, parameters: &Parameters) -> Result<(), Violation> {
        let (Body::Publisher(publisher), Some(filter), true) =
            (&request.body, parameters.subscription_filter, self.dialect.updates_narrow_only)
        else {
            return Ok(());
        };
        // Nor is a range decoded there that ends before it begins.
        if publisher.is_widened_by(filter) {
            return Err(Violation::protocol("an update widens its subscription"));
        }
        Ok(())
    }

    fn hold_update(&mut self, key: RequestKey, id: u64, undecided: Option<Parameters>) {
        if let Some(request) = self.requests.get_mut(key) {
            let update = ReceivedUpdate { id, undecided };
            self.update_bytes = self.update_bytes.saturating_add(update.size());
            request.updates.received.push_back(update);
        }
    }

    /// Puts an update in force.
    fn apply_update(&mut self, key: RequestKey, parameters: &Parameters) -> Result<(), Unfit> {
        let narrow_only = self.dialect.updates_narrow_only;
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        let is_unanswered = request.is_unanswered();
        if let Body::FetchPublisher(fetch) = &request.body
            && let Some(priority) = parameters.subscriber_priority
        {
            self.streams.schedule.set_priority(fetch.sender, priority);
        }
        if matches!(request.body, Body::NamespaceSubscription(_)) {
            return self.move_prefix(key, parameters);
        }
        let Body::Publisher(publisher) = &mut request.body else { return Ok(()) };
        // Where it may only be narrowed, that was seen to before.
        let filter = parameters.subscription_filter.filter(|_| !narrow_only);
        if let Some(unfit) = filter.and_then(|filter| publisher.unfit(filter)) {
            return Err(unfit);
        }
        let was_forwarding = publisher.forward;
        publisher.update(parameters);
        if publisher.forward && !was_forwarding && self.dialect.forward_renews_interest {
            publisher.stopped.clear();
        }
        if publisher.forward && !was_forwarding && self.dialect.joining == JoiningRule::ForwardState
        {
            // The answer to this update tells it.
            publisher.joining_location = publisher.largest;
        }
        let sender = publisher.sender;
        let new_group = publisher.asks_for_new_group(parameters);
        if is_unanswered && parameters.new_group_request.is_some() {
            publisher.new_group_request = parameters.new_group_request;
        }
        if let Some(priority) = parameters.subscriber_priority {
            self.streams.schedule.set_priority(sender, priority);
        }
        let is_over = publisher.is_over;
        self.update_timeouts(sender, parameters);
        if let Some(value) = new_group.filter(|_| !is_over) {
            self.events.push_back(Event::NewGroupRequested { request: key, value });
        }
        Ok(())
    }

    /// Says that an update is in force, on drafts that say so.
    fn answer_update(&mut self, now: Timestamp, key: RequestKey, id: u64, say: &Parameters) {
        if self.dialect.fixed_fields {
            return;
        }
        self.set_expiry(now, key, say.expires);
        let Some(request) = self.requests.get(key) else { return };
        let stream = self.answers_updates_on(request);
        let mut parameters = Parameters { expires: say.expires, ..Parameters::default() };
        if let Body::Publisher(publisher) = &request.body {
            parameters.largest_object = publisher.largest.max(say.largest_object);
        }
        self.send_message(
            stream,
            &Message::RequestOk(RequestOk {
                request_id: Some(id),
                answers: Some(RequestKind::Update),
                parameters,
                ..RequestOk::default()
            }),
        );
    }

    /// The request has been accepted: so are the updates of it that are in force. Of the
    /// others, the application is told now that it can decide on them.
    pub(super) fn answer_held_updates(&mut self, now: Timestamp, key: RequestKey) {
        if !self.dialect.answers_by_stream {
            return;
        }
        loop {
            let Some(request) = self.requests.get_mut(key) else { return };
            match request.updates.received.front() {
                Some(update @ ReceivedUpdate { id, undecided: None }) => {
                    let id = *id;
                    self.update_bytes = self.update_bytes.saturating_sub(update.size());
                    request.updates.received.pop_front();
                    self.answer_update(now, key, id, &Parameters::default());
                }
                _ => break,
            }
        }
        let Some(request) = self.requests.get(key) else { return };
        let undecided = request.updates.received.iter();
        self.events.extend(
            undecided
                .filter_map(|update| update.undecided.clone())
                .map(|parameters| Event::UpdateRequested { request: key, parameters }),
        );
    }

    fn answers_updates_on(&self, request: &Request) -> Option<StreamKey> {
        request.stream.filter(|_| self.dialect.answers_by_stream)
    }

    /// An update cannot be carried out, and the application is to hear of it.
    fn fail_update(&mut self, now: Timestamp, key: RequestKey, id: u64, refusal: Refusal) {
        let is_told = self.requests.get(key).is_some_and(Request::is_told);
        if self.refuse_update(now, key, id, refusal) && is_told {
            let code = StreamResetCode::Cancelled;
            self.tell_end(key, Event::Cancelled { request: key, code, error: None });
        }
    }

    /// Refuses an update. The request ends with that if it is for this side to end it
    /// (draft-18, "Updating Subscriptions"); whether it does.
    fn refuse_update(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        id: u64,
        refusal: Refusal,
    ) -> bool {
        let Some(request) = self.requests.get(key) else { return false };
        let request_stream = request.stream;
        let reason = refusal.reason.clone();
        if request.is_unanswered() {
            // One error answers both where answers do not say what they answer.
            let first = PendingAnswer {
                id: request.id,
                kind: request.kind(),
                stream: request_stream,
                since: now,
            };
            if !self.dialect.answers_by_stream {
                self.send_refusal(id, RequestKind::Update, None, refusal.clone());
            }
            self.send_refusal(first.id, first.kind, first.stream, refusal);
            self.release(now, key);
            return true;
        }
        let is_publisher = matches!(request.body, Body::Publisher(_));
        let is_fetch = matches!(request.body, Body::FetchPublisher(_));
        let is_subscriber = matches!(request.body, Body::Subscriber(_));
        let on = self.answers_updates_on(request);
        self.send_refusal(id, RequestKind::Update, on, refusal);
        if on.is_some()
            && let Some(request) = self.requests.get_mut(key)
        {
            // That one answers all.
            for update in request.updates.received.drain(..) {
                self.update_bytes = self.update_bytes.saturating_sub(update.size());
            }
        }
        if is_publisher {
            let Some(publisher) = self.publisher(key) else { return false };
            publisher.done(PublishDoneCode::UpdateFailed, &reason);
            return true;
        }
        // "the publisher MUST reset the FETCH data stream"
        let ends_here = is_fetch || on.is_some() && !is_subscriber;
        if ends_here {
            self.release(now, key);
        }
        ends_here
    }

    /// Every update is answered, even that of a request that is over, unless its stream is
    /// gone (draft-16, "REQUEST_UPDATE").
    fn answer_late_update(&mut self, id: u64) {
        if self.dialect.answers_by_stream || self.dialect.fixed_fields {
            return;
        }
        let refusal = Refusal {
            reason: "the request is over".to_string(),
            ..Refusal::new(RequestErrorCode::DoesNotExist)
        };
        self.send_refusal(id, RequestKind::Update, None, refusal);
    }

    /// A request is over: what was not answered of its updates never will be otherwise.
    pub(super) fn release_updates(&mut self, key: RequestKey, updates: Updates) {
        if let Some(deadline) = updates.end_deadline {
            self.timers.clear(deadline, Timer::UpdateRefused(key));
        }
        for update in updates.received {
            self.update_bytes = self.update_bytes.saturating_sub(update.size());
            self.answer_late_update(update.id);
        }
        self.release_sent_updates(updates.sent);
    }
}

/// What an update of such a request is.
pub(super) fn update_of_namespaces(kind: RequestKind) -> Carrier {
    match kind {
        RequestKind::SubscribeTracks => Carrier::UpdateSubscribeTracks,
        _ => Carrier::UpdateSubscribeNamespace,
    }
}

pub(super) fn invalid_range(unfit: Unfit) -> Refusal {
    let reason = match unfit {
        Unfit::Backwards => "the range ends before it begins",
        Unfit::Past => "all of the range has been published already",
        Unfit::Overlaps => "the prefix overlaps with another subscription's",
        Unfit::Reserved => "a reserved namespace",
    };
    let code = match unfit {
        Unfit::Backwards | Unfit::Past => RequestErrorCode::InvalidRange,
        Unfit::Overlaps => RequestErrorCode::PrefixOverlap,
        Unfit::Reserved => RequestErrorCode::DoesNotExist,
    };
    Refusal { reason: reason.to_string(), ..Refusal::new(code) }
}
