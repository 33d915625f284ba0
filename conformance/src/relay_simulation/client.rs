//! A client: what it remembers, and what it does when it is told something.

use std::collections::{BTreeMap, BTreeSet};

use moqt_engine::model::{
    Parameters, RequestErrorCode, TrackNamespace, TrackProperties, property_type,
};
use moqt_engine::{
    Accept, AcceptFetch, Answer, CloseReason, CommandError, Draft, Event, IncomingRequest,
    MoqtConnection, Refusal, RequestKey, StreamKey, Timestamp,
};
use moqt_loopback::EndpointId;

use super::publishing::{Response, Sending};
use super::reading::Reading;
use super::record::{FetchEnd, Left, SubscriptionEnd};
use super::run::Run;
use crate::simulation::history::track_name;

/// What a client remembers.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) at: EndpointId,
    pub(super) draft: Draft,
    /// Requests of either side's that are not over.
    pub(super) requests: BTreeMap<RequestKey, Request>,
    /// Subscriptions that it sends objects for.
    pub(super) sending: BTreeMap<RequestKey, Sending>,
    /// Fetches that it sends objects for.
    pub(super) responses: BTreeMap<RequestKey, Response>,
    /// Streams that it reads.
    pub(super) reading: BTreeMap<StreamKey, Reading>,
    /// Those of them that it reads when it is no longer paused.
    pub(super) waiting: BTreeSet<StreamKey>,
    pub(super) paused_until: Timestamp,
    /// Tracks that it publishes.
    pub(super) publishes: BTreeSet<usize>,
    /// Namespaces that the relay tells of by requests of its own.
    pub(super) told: BTreeMap<RequestKey, TrackNamespace>,
    /// Prefixes that namespace subscriptions are to get.
    pub(super) moving: BTreeMap<RequestKey, TrackNamespace>,
    /// It is no more, or its session is over.
    pub(super) is_gone: bool,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The number of a subscription in the record.
    Subscription(usize),
    Fetch(usize),
    Status(usize),
    NamespaceSubscription(usize),
    /// A track that is offered.
    Publish(usize),
    /// The number of a namespace in the record.
    Namespace(usize),
    /// A namespace that the relay tells of by a request of its own: the number of the namespace
    /// subscription it belongs to.
    ToldOf(usize),
}

impl Client {
    pub(super) fn new(at: EndpointId, draft: Draft) -> Self {
        Self {
            at,
            draft,
            requests: BTreeMap::new(),
            sending: BTreeMap::new(),
            responses: BTreeMap::new(),
            reading: BTreeMap::new(),
            waiting: BTreeSet::new(),
            paused_until: Timestamp::ZERO,
            publishes: BTreeSet::new(),
            told: BTreeMap::new(),
            moving: BTreeMap::new(),
            is_gone: false,
        }
    }

    /// What a request is about, if it is not over.
    fn request(&self, request: RequestKey) -> Option<Request> {
        self.requests.get(&request).copied()
    }

    /// A request is over; gives what it was about.
    fn forget(&mut self, request: RequestKey) -> Option<Request> {
        self.sending.remove(&request);
        self.responses.remove(&request);
        self.requests.remove(&request)
    }
}

impl Run<'_> {
    /// A client whose session is not over.
    pub(super) fn client(&mut self, number: usize) -> Option<&mut Client> {
        self.clients.get_mut(number)?.as_mut().filter(|client| !client.is_gone)
    }

    /// Works on a client's connection.
    pub(super) fn with<R>(
        &mut self,
        number: usize,
        work: impl FnOnce(&mut MoqtConnection, Timestamp) -> R,
    ) -> Option<R> {
        let at = self.client(number)?.at;
        Some(self.network.with(at, work))
    }

    pub(super) fn on_event(&mut self, number: usize, event: Event) {
        let now = self.network.now();
        let Some(client) = self.client(number) else { return };
        match event {
            Event::Readable { stream } => self.read(number, stream),
            Event::Writable { request } => self.go_on(number, request),
            Event::Unblocked => self.write_all(number),
            Event::Request { request, what } => self.on_request(number, request, what),
            Event::Accepted { request, answer } => self.on_accepted(number, request, &answer),
            Event::Rejected { request, error } => match client.forget(request) {
                Some(Request::Subscription(of)) => {
                    self.record.end_subscription(of, now, SubscriptionEnd::Rejected(error.code));
                }
                Some(Request::Fetch(of)) => {
                    self.record.end_fetch(of, now, FetchEnd::Rejected(error.code));
                }
                Some(Request::Status(of)) => {
                    self.record.statuses[of].answer = Some((now, Err(error.code)));
                }
                Some(Request::Publish(track)) => {
                    let publishers = self.record.tracks[track].publishers.iter_mut();
                    for published in publishers.filter(|published| published.client == number) {
                        published.is_refused = true;
                    }
                }
                Some(Request::Namespace(of)) => self.record.announced[of].is_refused = true,
                Some(Request::NamespaceSubscription(of)) => {
                    self.record.namespaces[of].ended.get_or_insert(now);
                }
                Some(Request::ToldOf(_)) | None => {}
            },
            Event::Cancelled { request, code, .. } => match client.forget(request) {
                Some(Request::Subscription(of)) => {
                    self.record.end_subscription(of, now, SubscriptionEnd::Cancelled(code));
                }
                Some(Request::Fetch(of)) => {
                    self.record.end_fetch(of, now, FetchEnd::Cancelled(code));
                }
                Some(Request::NamespaceSubscription(of)) => {
                    self.record.namespaces[of].ended.get_or_insert(now);
                }
                Some(Request::ToldOf(of)) => {
                    if let Some(namespace) = client.told.remove(&request) {
                        self.record.namespaces[of].news.push((now, namespace, false));
                    }
                }
                Some(Request::Namespace(of)) => self.record.announced[of].is_refused = true,
                Some(Request::Publish(_) | Request::Status(_)) | None => {}
            },
            Event::SubscriptionDone { request, code, .. } => {
                if let Some(Request::Subscription(of)) = client.forget(request) {
                    self.record.end_subscription(of, now, SubscriptionEnd::Done(code));
                }
            }
            Event::TrackMalformed { request, rule, location } => {
                let why = format!("{rule:?} at {location}");
                match client.forget(request) {
                    Some(Request::Subscription(of)) => {
                        self.record.end_subscription(of, now, SubscriptionEnd::Malformed(why));
                    }
                    Some(Request::Fetch(of)) => {
                        self.record.end_fetch(of, now, FetchEnd::Malformed(why));
                    }
                    _ => {}
                }
            }
            Event::UpdateAccepted { request, .. } => {
                if let Some(prefix) = client.moving.remove(&request)
                    && let Some(Request::NamespaceSubscription(of)) = client.request(request)
                {
                    let moved = self.record.namespaces[of].move_to(prefix, now);
                    self.record.namespaces.push(moved);
                    let of = self.record.namespaces.len() - 1;
                    if let Some(client) = self.client(number) {
                        client.requests.insert(request, Request::NamespaceSubscription(of));
                    }
                }
            }
            Event::UpdateRejected { request, .. } => {
                client.moving.remove(&request);
            }
            Event::Namespace { request, namespace } => {
                if let Some(Request::NamespaceSubscription(of)) = client.request(request) {
                    self.record.namespaces[of].news.push((now, namespace, true));
                }
            }
            Event::NamespaceDone { request, namespace } => {
                if let Some(Request::NamespaceSubscription(of)) = client.request(request) {
                    self.record.namespaces[of].news.push((now, namespace, false));
                }
            }
            Event::SubgroupOpened { request, stream, subgroup } => {
                if let Some(Request::Subscription(of)) = client.request(request) {
                    self.begin_subgroup(number, of, stream, subgroup);
                }
            }
            Event::FetchOpened { request, stream } => {
                if let Some(Request::Fetch(of)) = client.request(request) {
                    client.reading.insert(stream, Reading::fetch(of, request));
                    self.read(number, stream);
                }
            }
            Event::Datagram { request, object } => {
                if let Some(Request::Subscription(of)) = client.request(request) {
                    self.on_datagram(of, &object);
                }
            }
            Event::Closed { reason } => self.on_closed(number, &reason),
            _ => {}
        }
    }

    fn on_accepted(&mut self, number: usize, request: RequestKey, answer: &Answer) {
        let now = self.network.now();
        let Some(client) = self.client(number) else { return };
        match client.request(request) {
            Some(Request::Subscription(of)) => {
                let subscription = &mut self.record.subscriptions[of];
                subscription.accepted = Some((now, answer.parameters.largest_object));
            }
            Some(Request::Fetch(of)) => {
                self.record.fetches[of].answer = answer.fetch.map(|answer| (now, answer));
            }
            Some(Request::Status(of)) => {
                client.requests.remove(&request);
                let largest = answer.parameters.largest_object;
                self.record.statuses[of].answer = Some((now, Ok(largest)));
            }
            Some(Request::NamespaceSubscription(of)) => {
                self.record.namespaces[of].accepted = Some(now);
            }
            _ => {}
        }
    }

    fn on_closed(&mut self, number: usize, reason: &CloseReason) {
        if !reason.is_clean() {
            self.record.closed.push((number, self.network.now(), reason.to_string()));
        }
        self.session_over(number);
    }

    /// A client's session is over, whoever ended it.
    pub(super) fn session_over(&mut self, number: usize) {
        let now = self.network.now();
        let Some(client) = self.client(number) else { return };
        client.is_gone = true;
        let requests = core::mem::take(&mut client.requests);
        // What was to be said once everything is written is not said any more.
        let sending = core::mem::take(&mut client.sending).into_values();
        let unsaid = sending.filter(|it| it.ends_with.is_some()).map(|it| it.track);
        let unsaid: BTreeSet<usize> = unsaid.collect();
        client.responses.clear();
        client.reading.clear();
        for (_, request) in requests {
            match request {
                Request::Subscription(of) => {
                    self.record.end_subscription(of, now, SubscriptionEnd::Closed);
                }
                Request::Fetch(of) => self.record.end_fetch(of, now, FetchEnd::Closed),
                Request::Status(of) => self.record.statuses[of].is_over = true,
                Request::NamespaceSubscription(of) => {
                    self.record.namespaces[of].ended.get_or_insert(now);
                }
                _ => {}
            }
        }
        for announced in self.record.announced.iter_mut().filter(|it| it.client == number) {
            announced.to.get_or_insert(now);
        }
        for (track, record) in self.record.tracks.iter_mut().enumerate() {
            if unsaid.contains(&track) {
                record.take_back(number);
            }
            record.leave(number, now, Left::Gone);
        }
    }

    fn on_request(&mut self, number: usize, request: RequestKey, what: IncomingRequest) {
        match what {
            IncomingRequest::Subscribe { track, .. } => match self.published(number, &track) {
                Some(track) => self.accept_subscribe(number, request, track),
                None => self.refuse(number, request, RequestErrorCode::DoesNotExist),
            },
            IncomingRequest::TrackStatus { track, .. } => match self.published(number, &track) {
                Some(track) => {
                    let accept = self.acceptance(track);
                    self.accept(number, request, accept);
                }
                None => self.refuse(number, request, RequestErrorCode::DoesNotExist),
            },
            IncomingRequest::Fetch { track, range, .. } => {
                let track = self.published(number, &track);
                let largest = track.and_then(|track| self.tracks[track].largest());
                let published = largest.and_then(|largest| range.published(largest));
                match (track, published) {
                    (Some(track), Some(range)) => {
                        let mut accept = AcceptFetch::new(range.end);
                        accept.track_properties = self.track_properties(track);
                        let accepted = self.with(number, |connection, now| {
                            connection.accept_fetch(now, request, accept)?;
                            let response = connection.fetch_response(request);
                            Ok(response.and_then(|response| response.group_order()))
                        });
                        match accepted {
                            Some(Ok(order)) => {
                                let objects = &self.tracks[track].objects;
                                let response =
                                    Response::new(track, objects, range, order.unwrap_or_default());
                                if let Some(client) = self.client(number) {
                                    client.responses.insert(request, response);
                                }
                                self.write_response(number, request);
                            }
                            Some(Err(CommandError::Gone)) | None => {}
                            Some(Err(error)) => self.fail(format!("accepting a fetch: {error}")),
                        }
                    }
                    (None, _) => self.refuse(number, request, RequestErrorCode::DoesNotExist),
                    (_, None) => self.refuse(number, request, RequestErrorCode::InvalidRange),
                }
            }
            IncomingRequest::Publish { track, parameters, .. } => {
                self.take_offer(number, request, &track, &parameters);
            }
            IncomingRequest::PublishNamespace { namespace, .. } => {
                let now = self.network.now();
                let told = self.record.namespaces.iter_mut().rposition(|told| {
                    told.client == number
                        && told.ended.is_none()
                        && namespace.starts_with(&told.prefix)
                });
                match told {
                    Some(of) => {
                        let told = namespace.clone();
                        self.record.namespaces[of].news.push((now, told, true));
                        if let Some(client) = self.client(number) {
                            client.told.insert(request, namespace);
                            client.requests.insert(request, Request::ToldOf(of));
                        }
                        self.accept(number, request, Accept::default());
                    }
                    None => self.refuse(number, request, RequestErrorCode::Uninterested),
                }
            }
            IncomingRequest::SubscribeNamespace { .. } | _ => {
                self.refuse(number, request, RequestErrorCode::NotSupported);
            }
        }
    }

    /// The track of this name, if the client publishes it.
    fn published(
        &mut self,
        number: usize,
        name: &moqt_engine::model::FullTrackName,
    ) -> Option<usize> {
        let publishes = &self.client(number)?.publishes;
        publishes.iter().copied().find(|track| track_name(*track).as_ref() == Some(name))
    }

    fn acceptance(&self, track: usize) -> Accept {
        let mut accept = Accept::default();
        accept.parameters.largest_object = self.tracks[track].largest();
        accept.track_properties = self.track_properties(track);
        accept
    }

    pub(super) fn track_properties(&self, track: usize) -> TrackProperties {
        let content = &self.scenario.tracks[track];
        let mut properties = TrackProperties::new();
        if let Some(priority) = content.plan.priority.filter(|_| content.has_default_priority) {
            let key = property_type::DEFAULT_PUBLISHER_PRIORITY;
            properties = properties.with_int(key, priority.into());
        }
        properties
    }

    fn accept_subscribe(&mut self, number: usize, request: RequestKey, track: usize) {
        let accept = self.acceptance(track);
        if self.accept(number, request, accept)
            && let Some(client) = self.client(number)
        {
            client.sending.insert(request, Sending::new(track));
        }
    }

    /// Accepts a request. It may be over, and the event that says so may wait.
    fn accept(&mut self, number: usize, request: RequestKey, accept: Accept) -> bool {
        let accepted = self.with(number, |connection, now| connection.accept(now, request, accept));
        match accepted {
            Some(Ok(())) => return true,
            Some(Err(CommandError::Gone)) | None => {}
            Some(Err(error)) => self.fail(format!("accepting a request: {error}")),
        }
        false
    }

    fn refuse(&mut self, number: usize, request: RequestKey, code: RequestErrorCode) {
        let refusal = Refusal::new(code);
        let refused = self.with(number, |connection, now| connection.reject(now, request, refusal));
        if let Some(Err(error)) = refused
            && error != CommandError::Gone
        {
            self.fail(format!("refusing a request: {error}"));
        }
    }

    /// The relay offers a track, as a namespace subscription asked it to.
    fn take_offer(
        &mut self,
        number: usize,
        request: RequestKey,
        name: &moqt_engine::model::FullTrackName,
        parameters: &Parameters,
    ) {
        let number_of = (0..self.tracks.len()).find(|it| track_name(*it).as_ref() == Some(name));
        let Some(track) = number_of else {
            self.fail(format!("{name} is offered, which nobody publishes"));
            return self.refuse(number, request, RequestErrorCode::Uninterested);
        };
        let of = self.record.subscribed(number, track, self.network.now(), None);
        let now = self.network.now();
        let subscription = &mut self.record.subscriptions[of];
        subscription.is_offered = true;
        subscription.accepted = Some((now, parameters.largest_object));
        let mut accept = Accept::default();
        accept.parameters.forward = Some(true);
        if let Some(client) = self.client(number) {
            client.requests.insert(request, Request::Subscription(of));
        }
        self.accept(number, request, accept);
    }
}
