//! The application at an end: what it remembers, and what it does when it is told something.

use std::collections::{BTreeMap, BTreeSet};

use moqt_engine::model::RequestErrorCode;
use moqt_engine::{
    Accept, AcceptFetch, Draft, Event, FetchRead, IncomingRequest, Read, Refusal, RequestKey,
    StreamKey, Timestamp,
};
use moqt_loopback::{EndpointId, StreamId};

use super::history::{Ask, What, track_name};
use super::publishing::{Response, Sending};
use super::run::{Later, Run};
use super::scenario::AnswerPlan;

/// What an application remembers.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) id: EndpointId,
    /// Its requests that are not over.
    pub(super) own: BTreeMap<RequestKey, Ask>,
    /// Its peer's that wait for an answer, and whether that is going to be a refusal.
    pub(super) unanswered: BTreeMap<RequestKey, (IncomingRequest, bool)>,
    /// Its peer's that it accepted, except those that it sends objects for.
    pub(super) accepted: BTreeMap<RequestKey, IncomingRequest>,
    /// Subscriptions that it sends objects for.
    pub(super) sending: BTreeMap<RequestKey, Sending>,
    /// Fetches that it sends objects for.
    pub(super) responses: BTreeMap<RequestKey, Response>,
    /// Streams that it has opened.
    pub(super) opened: BTreeMap<StreamKey, StreamId>,
    /// Streams that it reads; of a fetch, which one.
    pub(super) reading: BTreeMap<StreamKey, (StreamId, Option<RequestKey>)>,
    /// Those of them that it reads when it is no longer paused.
    waiting: BTreeSet<StreamKey>,
    pub(super) paused_until: Timestamp,
    /// Requests of its peer's so far.
    asked: usize,
}

impl Application {
    pub(super) fn new(id: EndpointId) -> Self {
        Self {
            id,
            own: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            accepted: BTreeMap::new(),
            sending: BTreeMap::new(),
            responses: BTreeMap::new(),
            opened: BTreeMap::new(),
            reading: BTreeMap::new(),
            waiting: BTreeSet::new(),
            paused_until: Timestamp::ZERO,
            asked: 0,
        }
    }

    /// A request is over.
    pub(super) fn forget(&mut self, request: RequestKey) {
        self.own.remove(&request);
        self.unanswered.remove(&request);
        self.accepted.remove(&request);
        self.sending.remove(&request);
        self.responses.remove(&request);
    }
}

impl Run<'_> {
    pub(super) fn on_event(&mut self, end: usize, event: Event) {
        let stream = match &event {
            Event::Readable { stream } => return self.read(end, *stream),
            Event::Writable { request } => return self.go_on(end, *request),
            Event::Unblocked => return self.write_all(end),
            Event::SubgroupOpened { stream, .. } | Event::FetchOpened { stream, .. } => {
                self.network.stream_id(self.ends[end].id, *stream)
            }
            Event::SubgroupStopped { stream, .. } | Event::SubgroupGivenUp { stream, .. } => {
                self.ends[end].opened.get(stream).copied()
            }
            _ => None,
        };
        self.record(end, What::Told { event: event.clone(), stream });
        match event {
            Event::Request { request, what } => self.on_request(end, request, what),
            Event::Accepted { request, .. } => {
                if matches!(self.ends[end].own.get(&request), Some(Ask::TrackStatus { .. })) {
                    self.ends[end].forget(request);
                }
            }
            Event::Rejected { request, .. }
            | Event::Cancelled { request, .. }
            | Event::SubscriptionDone { request, .. }
            | Event::Expired { request }
            | Event::TrackMalformed { request, .. } => self.ends[end].forget(request),
            Event::SubgroupOpened { stream: key, .. } => self.begin_reading(end, key, stream, None),
            Event::FetchOpened { stream: key, request } => {
                self.begin_reading(end, key, stream, Some(request));
            }
            _ => {}
        }
    }

    fn on_request(&mut self, end: usize, request: RequestKey, what: IncomingRequest) {
        let application = &mut self.ends[end];
        let plans = &self.scenario.ends[end].answers;
        let plan = plans.get(application.asked % plans.len().max(1));
        application.asked += 1;
        let refuses = matches!(plan, Some(AnswerPlan::Reject { .. }));
        application.unanswered.insert(request, (what, refuses));
        match plan {
            Some(AnswerPlan::Accept { after: 0 }) => self.answer(end, request),
            Some(AnswerPlan::Accept { after } | AnswerPlan::Reject { after }) => {
                self.put_off(end, *after, Later::Answer(request));
            }
            Some(AnswerPlan::Never) | None => {}
        }
    }

    /// Answers a request of the peer's, if it still is one.
    pub(super) fn answer(&mut self, end: usize, request: RequestKey) {
        let Some((what, refuses)) = self.ends[end].unanswered.remove(&request) else { return };
        let number = match &what {
            IncomingRequest::Subscribe { track, .. }
            | IncomingRequest::Publish { track, .. }
            | IncomingRequest::Fetch { track, .. }
            | IncomingRequest::TrackStatus { track, .. } => {
                (0..self.tracks.len()).find(|number| track_name(*number).as_ref() == Some(track))
            }
            _ => None,
        };
        let publishes = number.filter(|number| self.scenario.tracks[*number].end == end);
        match what {
            _ if refuses => self.refuse(end, request, RequestErrorCode::Unauthorized),
            IncomingRequest::Subscribe { .. } => match publishes {
                Some(track) => self.accept_subscribe(end, request, track),
                None => self.refuse(end, request, RequestErrorCode::DoesNotExist),
            },
            IncomingRequest::Fetch { range, .. } => {
                let largest = publishes.and_then(|track| self.tracks[track].largest());
                let published = largest.and_then(|largest| range.published(largest));
                match (publishes, published) {
                    (Some(track), Some(range)) => self.accept_fetch(end, request, track, range),
                    (None, _) => self.refuse(end, request, RequestErrorCode::DoesNotExist),
                    (_, None) => self.refuse(end, request, RequestErrorCode::InvalidRange),
                }
            }
            IncomingRequest::TrackStatus { .. } => {
                let mut accept = Accept::default();
                accept.parameters.largest_object =
                    publishes.and_then(|track| self.tracks[track].largest());
                self.accept(end, request, accept);
            }
            what => {
                let mut accept = Accept::default();
                // Draft 14 cannot say it in PUBLISH_OK.
                if matches!(what, IncomingRequest::Publish { .. })
                    && self.scenario.draft >= Draft::D16
                {
                    accept.parameters.expires = self.scenario.ends[end].expires;
                }
                if self.accept(end, request, accept) {
                    self.ends[end].accepted.insert(request, what);
                }
            }
        }
    }

    fn accept_subscribe(&mut self, end: usize, request: RequestKey, track: usize) {
        let mut accept = Accept::default();
        accept.parameters.largest_object = self.tracks[track].largest();
        accept.parameters.expires = self.scenario.ends[end].expires;
        accept.track_properties = self.track_properties(track);
        if self.accept(end, request, accept) {
            self.ends[end].sending.insert(request, Sending::new(track));
            self.when_slow(end, request);
        }
    }

    /// Accepts a request. Whether that went well; it may not, as the engine may have ended the
    /// request, and the event that says so may wait.
    fn accept(&mut self, end: usize, request: RequestKey, accept: Accept) -> bool {
        let (largest, parameters) = (accept.parameters.largest_object, accept.parameters.clone());
        let id = self.ends[end].id;
        let accepted =
            self.network.with(id, |connection, now| connection.accept(now, request, accept));
        match accepted {
            Ok(()) => self.record(end, What::Accepted { request, largest, parameters }),
            Err(error) => self.record(end, What::Failed { request: Some(request), error }),
        }
        accepted.is_ok()
    }

    fn accept_fetch(
        &mut self,
        end: usize,
        request: RequestKey,
        track: usize,
        range: moqt_engine::model::LocationRange,
    ) {
        let id = self.ends[end].id;
        let accept = AcceptFetch::new(range.end);
        let accepted =
            self.network.with(id, |connection, now| connection.accept_fetch(now, request, accept));
        if let Err(error) = accepted {
            return self.record(end, What::Failed { request: Some(request), error });
        }
        self.record(end, What::AcceptedFetch { request, range });
        let order = self.network.with(id, |connection, _| {
            connection.fetch_response(request).and_then(|response| response.group_order())
        });
        let response = Response::new(track, &self.tracks[track], range, order.unwrap_or_default());
        self.ends[end].responses.insert(request, response);
        self.write(end, request);
    }

    fn refuse(&mut self, end: usize, request: RequestKey, code: RequestErrorCode) {
        let id = self.ends[end].id;
        let refusal = Refusal::new(code);
        let refused =
            self.network.with(id, |connection, now| connection.reject(now, request, refusal));
        match refused {
            Ok(()) => self.record(end, What::Refused { request }),
            Err(error) => self.record(end, What::Failed { request: Some(request), error }),
        }
    }

    fn begin_reading(
        &mut self,
        end: usize,
        key: StreamKey,
        stream: Option<StreamId>,
        fetch: Option<RequestKey>,
    ) {
        // One that is over already was reset at once.
        if let Some(stream) = stream {
            self.ends[end].reading.insert(key, (stream, fetch));
            self.read(end, key);
        }
    }

    /// Reads on in a stream, unless the application has paused.
    fn read(&mut self, end: usize, key: StreamKey) {
        if self.network.now() < self.ends[end].paused_until {
            self.ends[end].waiting.insert(key);
            return;
        }
        let max = self.scenario.ends[end].read_max;
        let id = self.ends[end].id;
        let Some((stream, fetch)) = self.ends[end].reading.get(&key).copied() else { return };
        loop {
            let is_over = if let Some(request) = fetch {
                let read = self.network.with(id, |connection, _| connection.read_fetch(key, max));
                if read == FetchRead::Pending {
                    return;
                }
                let is_over =
                    matches!(read, FetchRead::Finished | FetchRead::Reset(_) | FetchRead::Gone);
                self.record(end, What::FetchRead { request, read });
                if is_over {
                    self.ends[end].forget(request);
                }
                is_over
            } else {
                let read = self.network.read(id, key, max);
                if read == Read::Pending {
                    return;
                }
                let is_over = matches!(read, Read::Finished | Read::Reset(_) | Read::Gone);
                self.record(end, What::Read { stream, read });
                is_over
            };
            if is_over {
                self.ends[end].reading.remove(&key);
                return;
            }
        }
    }

    /// Reads what has come during a pause.
    pub(super) fn resume(&mut self, end: usize) {
        if self.network.now() >= self.ends[end].paused_until {
            for key in core::mem::take(&mut self.ends[end].waiting) {
                self.read(end, key);
            }
        }
    }
}
