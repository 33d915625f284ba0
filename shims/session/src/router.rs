//! Events to those who wait for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{RequestErrorCode, Setup, StreamResetCode, TrackNamespace};
use moqt_engine::wire::ObjectDatagram;
use moqt_engine::{
    Answer, CloseReason, Event, IncomingRequest, MoqtConnection, Refusal, RequestError, RequestKey,
    StreamKey, SubgroupInfo, Timestamp,
};

use crate::error::Error;
use crate::error::WriteError;
use crate::fetch_reader::FetchSlot;
use crate::namespace_subscription::NamespaceSubscriptionSlot;
use crate::publication::PublicationEnd;
use crate::session::Goaway;
use crate::subscription::{SubscriptionDone, SubscriptionEnd};
use crate::updates::UpdateSlots;
use crate::wakers::{WakerSet, WakerSlot};

/// Bounds on what a router keeps for an application that does not fetch it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterLimits {
    /// Datagrams waiting in one subscription: 1,024. The oldest are dropped and counted.
    pub datagrams: usize,
    /// Bytes of payload in those: 1 MiB. The oldest are dropped and counted.
    pub datagram_bytes: usize,
    /// Requests of the peer that wait to be accepted: 256. More are refused with
    /// EXCESSIVE_LOAD.
    pub incoming: usize,
    /// How long a request of the peer waits for an application that has never called
    /// [`accept_request`](crate::Session::accept_request): 2 s. Then it is refused with
    /// NOT_SUPPORTED.
    pub incoming_patience: Duration,
    /// Updates waiting in one publication: 64. The oldest are dropped; they are in force
    /// anyhow.
    pub updates: usize,
    /// Tracks that the peer could not offer, waiting in one namespace subscription: 1,024. More
    /// are dropped.
    pub blocked_tracks: usize,
}

impl Default for RouterLimits {
    fn default() -> Self {
        Self {
            datagrams: 1024,
            datagram_bytes: 1024 * 1024,
            incoming: 256,
            incoming_patience: Duration::from_secs(2),
            updates: 64,
            blocked_tracks: 1024,
        }
    }
}

/// The waiting side of one session: queues of what came in, and the wakers of those who wait.
/// Drivers keep it beside the [`MoqtConnection`], under the same lock.
#[derive(Debug, Default)]
pub struct Router {
    limits: RouterLimits,
    pub(crate) setup: Option<Setup>,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) goaway: Option<Goaway>,
    // In order, so that those who wait are woken in the same order in every run.
    pub(crate) subscribers: BTreeMap<RequestKey, SubscriberSlot>,
    pub(crate) publishers: BTreeMap<RequestKey, PublisherSlot>,
    pub(crate) namespaces: BTreeMap<RequestKey, NamespaceSlot>,
    pub(crate) fetches: BTreeMap<RequestKey, FetchSlot>,
    pub(crate) namespace_subscriptions: BTreeMap<RequestKey, NamespaceSubscriptionSlot>,
    /// PUBLISH_NAMESPACE requests of the peer's that are told of in a namespace subscription.
    pub(crate) publications: HashMap<RequestKey, (RequestKey, TrackNamespace)>,
    pub(crate) streams: HashMap<StreamKey, StreamSlot>,
    pub(crate) updates: UpdateSlots,
    pub(crate) incoming: VecDeque<(Timestamp, RequestKey, IncomingRequest)>,
    /// Somebody has called `accept_request`.
    pub(crate) accepting: bool,
    pub(crate) incoming_wakers: WakerSet,
    /// Those who wait for the session to be set up, closed or told to go away.
    pub(crate) state_wakers: WakerSet,
    /// Those who wait for credit.
    pub(crate) unblocked_wakers: WakerSet,
    /// Those who wait for everything to be sent.
    pub(crate) flush_wakers: WakerSet,
    pub(crate) is_flushed: bool,
    pub(crate) datagrams_dropped: u64,
    /// When those who wait for a subscription want to be woken at the latest.
    deadlines: BTreeSet<(Timestamp, RequestKey)>,
    pub(crate) wakers: Vec<Waker>,
}

/// A subscription in which this side is the subscriber.
#[derive(Debug, Default)]
pub(crate) struct SubscriberSlot {
    pub(crate) answer: Option<Result<Answer, RequestError>>,
    pub(crate) end: Option<SubscriptionEnd>,
    pub(crate) subgroups: VecDeque<(StreamKey, SubgroupInfo)>,
    /// Streams read together that have something to read.
    pub(crate) readable: VecDeque<StreamKey>,
    pub(crate) datagrams: VecDeque<ObjectDatagram>,
    pub(crate) datagram_bytes: usize,
    pub(crate) dropped: u64,
    /// Its entry in the router's deadlines.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) waker: WakerSlot,
}

/// A subscription in which this side is the publisher.
#[derive(Debug, Default)]
pub(crate) struct PublisherSlot {
    pub(crate) answer: Option<Answer>,
    pub(crate) end: Option<PublicationEnd>,
    pub(crate) updates: VecDeque<moqt_engine::model::Parameters>,
    /// Updates that wait for a decision.
    pub(crate) undecided: VecDeque<moqt_engine::model::Parameters>,
    pub(crate) new_group: Option<u64>,
    pub(crate) dropped: u64,
    /// Those who wait to write.
    pub(crate) writers: WakerSet,
    /// Those who wait for its state to change.
    pub(crate) wakers: WakerSet,
}

/// A namespace published by either side.
#[derive(Debug, Default)]
pub(crate) struct NamespaceSlot {
    pub(crate) answer: Option<Result<Answer, RequestError>>,
    pub(crate) end: Option<Error>,
    pub(crate) wakers: WakerSet,
}

/// A stream somebody holds.
#[derive(Debug)]
pub(crate) enum StreamSlot {
    Reader(WakerSlot),
    /// A fetch's.
    Fetch(RequestKey),
    /// Read through the subscription.
    Merged(RequestKey),
    /// Written; why it was given up, if it was.
    Writer(Option<WriteError>),
}

impl Router {
    /// A router for a session that is about to be set up.
    pub fn new(limits: RouterLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The transport's peer wishes that this side leave, in words of the transport's own
    /// (WebTransport's DRAIN, HTTP/3's GOAWAY): as a GOAWAY that names no other place and no time.
    pub fn handle_draining(&mut self) {
        let goaway = Goaway { new_session_uri: Bytes::new(), timeout: Duration::ZERO };
        self.goaway.get_or_insert(goaway);
        self.state_wakers.take_into(&mut self.wakers);
    }

    /// Sorts in one event of the connection's.
    pub fn handle_event(&mut self, connection: &mut MoqtConnection, now: Timestamp, event: Event) {
        self.updates_event(connection, now, &event);
        match event {
            Event::Established { setup } => {
                self.setup = Some(setup);
                self.state_wakers.take_into(&mut self.wakers);
                self.unblocked_wakers.take_into(&mut self.wakers);
            }
            Event::Request { request, what } => self.request_came(connection, now, request, what),
            Event::Accepted { request, answer } => {
                if let Some(slot) = self.subscribers.get_mut(&request) {
                    slot.answer = Some(Ok(answer));
                    slot.waker.take_into(&mut self.wakers);
                } else if let Some(slot) = self.publishers.get_mut(&request) {
                    slot.answer = Some(answer);
                    slot.wakers.take_into(&mut self.wakers);
                } else if let Some(slot) = self.namespaces.get_mut(&request) {
                    slot.answer = Some(Ok(answer));
                    slot.wakers.take_into(&mut self.wakers);
                } else if let Some(slot) = self.namespace_subscriptions.get_mut(&request) {
                    slot.answer = Some(Ok(answer));
                    slot.waker.take_into(&mut self.wakers);
                } else if let Some(slot) = self.fetches.get_mut(&request) {
                    slot.answer = Some(Ok(answer));
                    slot.waker.take_into(&mut self.wakers);
                }
            }
            Event::Rejected { request, error } => {
                if let Some(slot) = self.subscribers.get_mut(&request) {
                    match slot.answer {
                        None => slot.answer = Some(Err(error)),
                        Some(_) => slot.end = Some(SubscriptionEnd::Rejected(Box::new(error))),
                    }
                    slot.waker.take_into(&mut self.wakers);
                } else if let Some(slot) = self.namespaces.get_mut(&request) {
                    slot.answer = Some(Err(error));
                    slot.wakers.take_into(&mut self.wakers);
                } else if let Some(slot) = self.namespace_subscriptions.get_mut(&request) {
                    slot.answer = Some(Err(Box::new(error)));
                    slot.waker.take_into(&mut self.wakers);
                } else if let Some(slot) = self.fetches.get_mut(&request) {
                    match slot.answer {
                        None => slot.answer = Some(Err(error)),
                        Some(_) => slot.end = Some(Error::Rejected(Box::new(error))),
                    }
                    slot.waker.take_into(&mut self.wakers);
                } else {
                    self.publication_ended(request, PublicationEnd::Rejected(Box::new(error)));
                }
            }
            Event::Updated { request, parameters } => {
                if let Some(slot) = self.publishers.get_mut(&request) {
                    if slot.updates.len() >= self.limits.updates {
                        slot.updates.pop_front();
                    }
                    slot.updates.push_back(parameters);
                    slot.wakers.take_into(&mut self.wakers);
                }
            }
            Event::Cancelled { request, code, error } => self.cancelled(request, code, error),
            Event::Expired { request } if self.publishers.contains_key(&request) => {
                self.publication_ended(request, PublicationEnd::Expired);
            }
            Event::Expired { request } => {
                self.cancelled(request, StreamResetCode::Cancelled, None);
            }
            Event::Namespace { request, namespace } => {
                if let Some(slot) = self.namespace_subscriptions.get_mut(&request) {
                    slot.changed(namespace, true);
                    slot.waker.take_into(&mut self.wakers);
                }
            }
            Event::NamespaceDone { request, namespace } => {
                if let Some(slot) = self.namespace_subscriptions.get_mut(&request) {
                    slot.changed(namespace, false);
                    slot.waker.take_into(&mut self.wakers);
                }
            }
            Event::PublishBlocked { request, track } => {
                if let Some(slot) = self.namespace_subscriptions.get_mut(&request) {
                    slot.blocked(track, self.limits.blocked_tracks);
                    slot.waker.take_into(&mut self.wakers);
                }
            }
            Event::SubscriptionDone { request, code, reason, missing_streams } => {
                if let Some(slot) = self.subscribers.get_mut(&request) {
                    let done = SubscriptionDone { code, reason, missing_streams };
                    slot.end = Some(SubscriptionEnd::Done(done));
                    slot.waker.take_into(&mut self.wakers);
                }
            }
            Event::TrackMalformed { request, rule, location } => {
                if let Some(slot) = self.subscribers.get_mut(&request) {
                    slot.end = Some(SubscriptionEnd::Malformed(rule, location));
                    slot.waker.take_into(&mut self.wakers);
                } else {
                    self.fetch_ended(request, Error::Malformed { rule, location });
                }
            }
            Event::SubgroupOpened { request, stream, subgroup } => {
                match self.subscribers.get_mut(&request) {
                    Some(slot) => {
                        slot.subgroups.push_back((stream, subgroup));
                        slot.waker.take_into(&mut self.wakers);
                    }
                    None => connection.stop(stream, StreamResetCode::Cancelled),
                }
            }
            Event::FetchOpened { request, stream } => {
                if let Some(slot) = self.fetches.get_mut(&request) {
                    slot.stream = Some(stream);
                    self.streams.insert(stream, StreamSlot::Fetch(request));
                    slot.waker.take_into(&mut self.wakers);
                }
            }
            Event::Readable { stream } => match self.streams.get_mut(&stream) {
                Some(StreamSlot::Reader(waker)) => waker.take_into(&mut self.wakers),
                Some(StreamSlot::Fetch(request)) => {
                    if let Some(slot) = self.fetches.get_mut(request) {
                        slot.waker.take_into(&mut self.wakers);
                    }
                }
                Some(StreamSlot::Merged(request)) => {
                    if let Some(slot) = self.subscribers.get_mut(request) {
                        slot.readable.push_back(stream);
                        slot.waker.take_into(&mut self.wakers);
                    }
                }
                Some(StreamSlot::Writer(_)) | None => {}
            },
            Event::Datagram { request, object } => self.datagram_came(request, object),
            Event::SubgroupStopped { request, stream, code } => {
                self.subgroup_given_up(request, stream, WriteError::Stopped(code));
            }
            Event::SubgroupGivenUp { request, stream, reason } => {
                self.subgroup_given_up(request, stream, WriteError::GivenUp(reason));
            }
            Event::Writable { request } => {
                if let Some(slot) = self.publishers.get_mut(&request) {
                    slot.writers.take_into(&mut self.wakers);
                }
            }
            Event::Unblocked => self.unblocked_wakers.take_into(&mut self.wakers),
            Event::DatagramDropped { request, .. } => {
                self.datagrams_dropped += 1;
                if let Some(slot) = request.and_then(|key| self.publishers.get_mut(&key)) {
                    slot.dropped += 1;
                }
            }
            Event::Goaway { new_session_uri, timeout, .. } => {
                self.goaway = Some(Goaway { new_session_uri, timeout });
                self.state_wakers.take_into(&mut self.wakers);
                self.unblocked_wakers.take_into(&mut self.wakers);
            }
            Event::Closed { reason } => self.close(reason),
            _ => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        deadline.into_iter().chain(self.patience_ends()).min()
    }

    /// When the first request is to be refused for want of anybody to handle it.
    fn patience_ends(&self) -> Option<Timestamp> {
        if self.accepting {
            return None;
        }
        self.incoming.front().map(|(came, ..)| came.saturating_add(self.limits.incoming_patience))
    }

    /// Whoever waits for this subscription is to be woken at `deadline`, if there is one.
    pub(crate) fn wait_until(&mut self, request: RequestKey, deadline: Option<Timestamp>) {
        let Some(slot) = self.subscribers.get_mut(&request) else { return };
        let before = std::mem::replace(&mut slot.deadline, deadline);
        if let Some(before) = before {
            self.deadlines.remove(&(before, request));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, request));
        }
    }

    /// Time has passed: requests that nobody will handle are refused.
    pub fn handle_timeout(&mut self, connection: &mut MoqtConnection, now: Timestamp) {
        while let Some(&(deadline, request)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(slot) = self.subscribers.get_mut(&request) {
                slot.deadline = None;
                slot.waker.take_into(&mut self.wakers);
            }
        }
        while self.patience_ends().is_some_and(|deadline| deadline <= now) {
            if let Some((_, request, _)) = self.incoming.pop_front() {
                let refusal = Refusal::new(RequestErrorCode::NotSupported);
                let _ = connection.reject(now, request, refusal);
            }
        }
    }

    /// Tells whether the peer has all that was queued, as far as the transport knows.
    pub fn set_flushed(&mut self, is_flushed: bool) {
        self.is_flushed = is_flushed;
        if is_flushed {
            self.flush_wakers.take_into(&mut self.wakers);
        }
    }

    /// Whether somebody waits to hear that everything was sent.
    pub fn wants_flushed(&self) -> bool {
        !self.flush_wakers.is_empty()
    }

    /// What the peer said of itself, once the session has been set up.
    pub fn setup(&self) -> Option<&Setup> {
        self.setup.as_ref()
    }

    /// Whether the session has been set up.
    pub fn is_established(&self) -> bool {
        self.setup.is_some()
    }

    /// Why the session ended, if it did.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Those to wake once the lock is released.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    fn request_came(
        &mut self,
        connection: &mut MoqtConnection,
        now: Timestamp,
        request: RequestKey,
        what: IncomingRequest,
    ) {
        if let IncomingRequest::PublishNamespace { namespace, .. } = &what
            && self.published_under_subscription(connection, now, request, namespace)
        {
            return;
        }
        if self.incoming.len() >= self.limits.incoming {
            let refusal = Refusal::new(RequestErrorCode::ExcessiveLoad);
            let _ = connection.reject(now, request, refusal);
            return;
        }
        self.incoming.push_back((now, request, what));
        self.incoming_wakers.take_into(&mut self.wakers);
    }

    fn cancelled(
        &mut self,
        request: RequestKey,
        code: StreamResetCode,
        error: Option<RequestError>,
    ) {
        if self.publication_over(request) {
            return;
        }
        self.incoming.retain(|(_, waiting, _)| *waiting != request);
        if let Some(slot) = self.subscribers.get_mut(&request) {
            slot.end = Some(SubscriptionEnd::Cancelled(code));
            slot.waker.take_into(&mut self.wakers);
        } else if let Some(slot) = self.namespaces.get_mut(&request) {
            slot.end = Some(match error {
                Some(error) => Error::Rejected(Box::new(error)),
                None => Error::Cancelled(code),
            });
            slot.wakers.take_into(&mut self.wakers);
        } else if let Some(slot) = self.namespace_subscriptions.get_mut(&request) {
            slot.end = Some(code);
            slot.waker.take_into(&mut self.wakers);
        } else if self.fetches.contains_key(&request) {
            self.fetch_ended(request, Error::Cancelled(code));
        } else {
            self.publication_ended(request, PublicationEnd::Cancelled(code));
        }
    }

    fn fetch_ended(&mut self, request: RequestKey, why: Error) {
        if let Some(slot) = self.fetches.get_mut(&request) {
            slot.end = Some(why);
            slot.waker.take_into(&mut self.wakers);
        }
    }

    fn subgroup_given_up(&mut self, request: RequestKey, stream: StreamKey, why: WriteError) {
        if let Some(StreamSlot::Writer(given_up)) = self.streams.get_mut(&stream) {
            *given_up = Some(why);
        }
        if let Some(slot) = self.publishers.get_mut(&request) {
            slot.writers.take_into(&mut self.wakers);
        }
    }

    pub(crate) fn publication_ended(&mut self, request: RequestKey, end: PublicationEnd) {
        if let Some(slot) = self.publishers.get_mut(&request) {
            slot.end = Some(end);
            slot.writers.take_into(&mut self.wakers);
            slot.wakers.take_into(&mut self.wakers);
        }
    }

    fn datagram_came(&mut self, request: RequestKey, object: ObjectDatagram) {
        let Some(slot) = self.subscribers.get_mut(&request) else { return };
        slot.datagram_bytes += object.payload.len();
        slot.datagrams.push_back(object);
        while slot.datagrams.len() > self.limits.datagrams
            || slot.datagram_bytes > self.limits.datagram_bytes
        {
            let Some(oldest) = slot.datagrams.pop_front() else { break };
            slot.datagram_bytes -= oldest.payload.len();
            slot.dropped += 1;
        }
        slot.waker.take_into(&mut self.wakers);
    }

    fn close(&mut self, reason: CloseReason) {
        self.closed = Some(reason);
        self.incoming.clear();
        let wakers = &mut self.wakers;
        self.incoming_wakers.take_into(wakers);
        self.state_wakers.take_into(wakers);
        self.unblocked_wakers.take_into(wakers);
        self.flush_wakers.take_into(wakers);
        for slot in self.subscribers.values_mut() {
            slot.subgroups.clear();
            slot.waker.take_into(wakers);
        }
        for slot in self.publishers.values_mut() {
            slot.writers.take_into(wakers);
            slot.wakers.take_into(wakers);
        }
        for slot in self.namespaces.values_mut() {
            slot.wakers.take_into(wakers);
        }
        for slot in self.namespace_subscriptions.values_mut() {
            slot.waker.take_into(wakers);
        }
        for slot in self.fetches.values_mut() {
            slot.waker.take_into(wakers);
        }
        for slot in self.streams.values_mut() {
            if let StreamSlot::Reader(waker) = slot {
                waker.take_into(wakers);
            }
        }
    }
}
