//! How requests end, whoever ends them, and the streams they have to themselves, of which each
//! side ends its half.

use core::time::Duration;

use super::MoqtConnection;
use crate::event::{Event, RequestError};
use crate::key::{RequestKey, StreamKey};
use crate::link::Cancelled;
use crate::model::{RequestErrorCode, StreamResetCode};
use crate::request::{Body, Expiry};
use crate::stream::{PeerEnd, RecvKind};
use crate::time::Timestamp;
use crate::timers::Timer;

/// A request that its sender cancels this soon counts as abandoned.
const SHORT_LIVED: Duration = Duration::from_secs(1);

impl MoqtConnection {
    /// A request is over as far as this side is concerned: its stream ends after what is queued,
    /// and the peer is left to end its side.
    pub(super) fn end_request_stream(&mut self, stream: StreamKey) {
        self.streams.finish(stream);
        // Not stopped: that would cancel the request, and it could overtake the last word.
        self.streams.leave_request(stream);
        self.stop_if_overdue(stream);
    }

    /// This side of a request's stream has been sent to its end, or reset. There is nothing that
    /// the peer could wait for before it ends its own.
    pub(super) fn await_stream_end(&mut self, now: Timestamp, stream: StreamKey) {
        let deadline = now.saturating_add(self.config.limits.stream_end_timeout);
        self.streams.await_end(stream, deadline);
    }

    /// The peer has left its side open for too long. That is ended here then: "Implementations
    /// SHOULD cancel requests by abruptly terminating any directions of a stream that are still
    /// open" (draft-18, "Request Cancellation and Rejection"). A subscription that its publisher
    /// has ended may still be read; its stream waits for that.
    pub(super) fn stop_if_overdue(&mut self, stream: StreamKey) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        let is_over = match &half.kind {
            RecvKind::Request(messages) => messages.is_over,
            _ => true,
        };
        if is_over && half.peer_end == PeerEnd::Overdue {
            self.message_deadline(Timestamp::ZERO, stream, false);
            let code = self.dialect.reset_code(StreamResetCode::Cancelled);
            self.streams.stop(stream, code);
        }
    }

    /// Ends a request without the peer's doing.
    pub(super) fn withdraw(&mut self, now: Timestamp, key: RequestKey, code: StreamResetCode) {
        self.withdraw_saying(now, key, code, None);
    }

    /// The same, with the reason that PUBLISH_NAMESPACE_CANCEL gives.
    pub(super) fn withdraw_saying(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        code: StreamResetCode,
        why: Option<(RequestErrorCode, &str)>,
    ) {
        let Some(request) = self.requests.get(key) else { return };
        let namespace = match &request.body {
            Body::Namespace(namespace) => Some(namespace),
            Body::NamespaceSubscription(subscription) => Some(&subscription.prefix),
            _ => None,
        };
        let ending = match &request.body {
            Body::Subscriber(subscriber) => subscriber.ending.is_some(),
            _ => false,
        };
        let cancelled =
            Cancelled { id: request.id, kind: request.kind(), ours: request.ours, namespace, why };
        // A subscription that the publisher has ended needs no word from the subscriber.
        let message =
            if ending { None } else { self.link.cancel_message(self.dialect, &cancelled) };
        let own_stream = request.stream;
        if let Some(message) = message {
            self.send_message(None, &message);
        }
        if let Some(stream) = own_stream {
            let code = self.dialect.reset_code(code);
            self.streams.reset(stream, code);
            self.streams.stop(stream, code);
        }
        self.release(now, key);
    }

    /// A request of ours has failed on this side.
    pub(super) fn fail_request(&mut self, key: RequestKey, code: RequestErrorCode, why: &str) {
        let Some(request) = self.requests.get(key) else { return };
        if !request.is_told() {
            return self.withdraw(Timestamp::ZERO, key, StreamResetCode::Cancelled);
        }
        let error = RequestError {
            code,
            raw_code: None,
            reason: why.into(),
            retry_after: None,
            redirect: None,
        };
        self.withdraw(Timestamp::ZERO, key, StreamResetCode::Cancelled);
        self.events.push_back(Event::Rejected { request: key, error });
    }

    /// The peer has ended a request.
    pub(super) fn cancelled_by_peer(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        code: StreamResetCode,
    ) {
        let Some(request) = self.requests.get(key) else { return };
        let is_short = request.is_unanswered() || now.saturating_since(request.since) < SHORT_LIVED;
        let is_churn = !request.ours && is_short;
        let (own_stream, is_told) = (request.stream, request.is_told());
        if let Some(stream) = own_stream {
            let code = self.dialect.reset_code(StreamResetCode::Cancelled);
            self.streams.reset(stream, code);
            self.streams.stop(stream, code);
        }
        self.all_namespaces_done(key);
        self.release(now, key);
        if is_told {
            self.events.push_back(Event::Cancelled { request: key, code, error: None });
        }
        if is_churn {
            self.count_churn(now);
        }
    }

    /// Whether the application has been told that a request is over of which something is still
    /// to be sent.
    pub(super) fn is_told_over(&self, key: RequestKey) -> bool {
        self.publisher_state(key).is_some_and(|publisher| publisher.is_over)
    }

    /// A subscription in which this side publishes is over, and the application is told so. What
    /// is queued is still sent.
    pub(super) fn tell_end(&mut self, key: RequestKey, event: Event) {
        if let Some(publisher) = self.publisher_state_mut(key) {
            publisher.is_over = true;
        }
        self.events.push_back(event);
    }

    /// Forgets a request: its streams are closed, its alias and credit given back.
    pub(super) fn release(&mut self, _now: Timestamp, key: RequestKey) {
        let Some(request) = self.requests.remove(key) else { return };
        self.sent_tokens.request_over(request.id);
        if let Some(deadline) = request.answer_deadline {
            self.timers.clear(deadline, Timer::Answer(key));
        }
        if let Some(stream) = request.stream {
            self.end_request_stream(stream);
        }
        if let Some(deadline) = request.goaway_deadline {
            self.timers.clear(deadline, Timer::RequestGoaway(key));
        }
        if let Some(Expiry { deadline, .. }) = request.expiry {
            self.timers.clear(deadline, Timer::Expiry(key));
        }
        self.release_updates(key, request.updates);
        match request.body {
            Body::Subscriber(subscriber) => self.release_subscriber(key, *subscriber),
            Body::Publisher(publisher) => self.release_publisher(*publisher),
            Body::FetchSubscriber(fetch) => self.release_fetch_subscriber(key, &fetch),
            Body::FetchPublisher(fetch) => self.release_fetch_publisher(key, &fetch),
            Body::Namespace(_) | Body::NamespaceSubscription(_) | Body::TrackStatus => {}
        }
        self.replenish_request_credit();
    }
}
