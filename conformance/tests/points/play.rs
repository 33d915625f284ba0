//! A session with requests at stake, and what can be done to them.

use std::collections::BTreeSet;

use bytes::Bytes;
use moqt_conformance::end::{End, Fetched, Name};
use moqt_conformance::last_words::{GivenUp, ends_request, give_up, request_of};
use moqt_conformance::say;
use moqt_engine::model::{
    AuthToken, Location, Message, Parameters, RequestKind, SubscriptionFilter,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, AcceptFetch, CommandError, Config, Dir, Draft, Event, IncomingRequest, RequestKey,
    Role, StreamKey, SubgroupOptions,
};

use crate::bystanders::Bystanders;

/// The Track Alias of what the peer publishes.
pub(crate) const ALIAS: u64 = 300;

/// A request that something happens to.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(crate) struct AtStake {
    pub(crate) key: RequestKey,
    pub(crate) kind: RequestKind,
    /// This side has begun it.
    pub(crate) ours: bool,
    pub(crate) id: u64,
    /// Where the peer's messages about it come.
    pub(crate) on: Name,
    /// It has been accepted.
    pub(crate) answered: bool,
    /// The publisher has said PUBLISH_DONE.
    pub(crate) done: bool,
    /// The application has ended it, and waits to hear nothing more.
    pub(crate) ended_here: bool,
}

/// A session, its bystanders, and the requests at stake.
pub(crate) struct Play {
    pub(crate) end: End,
    pub(crate) draft: Draft,
    pub(crate) bystanders: Bystanders,
    pub(crate) requests: Vec<AtStake>,
    /// Streams of the peer's with objects, in the order they were opened.
    pub(crate) received: Vec<Name>,
    /// What is still to come on the one opened last.
    pub(crate) rest: Vec<u8>,
    /// Streams opened here with objects.
    pub(crate) sent: Vec<StreamKey>,
    /// What the peer has registered of tokens: that is the session's, and stays.
    pub(crate) token_bytes: u64,
    /// The FETCH that waits to join: its Request ID, and where it is answered.
    pub(crate) join: Option<(u64, Name)>,
}

impl Play {
    pub(crate) fn new(draft: Draft, role: Role, decides_updates: bool) -> Self {
        let mut config = Config::default();
        config.decide_updates = decides_updates;
        config.limits.auth_token_cache = Some(1000);
        let mut end = End::established(draft, role, config);
        let bystanders = Bystanders::new(&mut end);
        end.take_events();
        Self {
            end,
            draft,
            bystanders,
            requests: Vec::new(),
            received: Vec::new(),
            rest: Vec::new(),
            sent: Vec::new(),
            token_bytes: 0,
            join: None,
        }
    }

    /// The request begun last.
    pub(crate) fn last(&self) -> AtStake {
        *self.requests.last().expect("a request")
    }

    pub(crate) fn last_mut(&mut self) -> &mut AtStake {
        self.requests.last_mut().expect("a request")
    }

    /// The connection begins a request.
    pub(crate) fn begin(
        &mut self,
        kind: RequestKind,
        command: impl FnOnce(
            &mut moqt_engine::MoqtConnection,
            moqt_engine::Timestamp,
        ) -> Result<RequestKey, CommandError>,
    ) {
        let id = self.end.next_own_id();
        let key = self.end.with(command).expect("nothing in the way");
        let on = match kind {
            RequestKind::SubscribeNamespace | RequestKind::SubscribeTracks => {
                self.end.own_namespace_request()
            }
            _ => self.end.own_request(),
        };
        self.push(key, kind, true, id, on);
    }

    /// The peer begins a request, which the application hears of.
    pub(crate) fn receive(&mut self, kind: RequestKind, message: impl FnOnce(u64) -> Message) {
        let id = self.end.fresh_id();
        let on = self.end.request(&message(id));
        let Some(Event::Request { request, .. }) = self.end.events.last() else {
            panic!("{kind:?}: {:?}", self.end.events)
        };
        self.push(*request, kind, false, id, on);
    }

    fn push(&mut self, key: RequestKey, kind: RequestKind, ours: bool, id: u64, on: Name) {
        let (answered, done, ended_here) = (false, false, false);
        self.requests.push(AtStake { key, kind, ours, id, on, answered, done, ended_here });
    }

    /// The peer accepts the request begun last.
    pub(crate) fn accepted(&mut self, answer: impl FnOnce(u64) -> Message) {
        let AtStake { id, on, .. } = self.last();
        self.end.say(on, &answer(id));
        self.last_mut().answered = true;
    }

    /// The application accepts the request that came last.
    pub(crate) fn accept(&mut self) {
        self.accept_with(Accept::default());
    }

    pub(crate) fn accept_with(&mut self, accept: Accept) {
        let key = self.last().key;
        self.end.with(|engine, now| engine.accept(now, key, accept)).expect("acceptable");
        self.last_mut().answered = true;
        if self.last().kind == RequestKind::TrackStatus {
            self.last_mut().ended_here = true;
        }
    }

    pub(crate) fn accept_fetch(&mut self, end: Location) {
        let key = self.last().key;
        let accept = AcceptFetch::new(end);
        self.end.with(|engine, now| engine.accept_fetch(now, key, accept)).expect("acceptable");
        self.last_mut().answered = true;
    }

    /// The peer sends an object of a subgroup and the beginning of another, which
    /// [`continue_stream`](Self::continue_stream) ends.
    pub(crate) fn stream_comes(&mut self, group: u64) {
        let objects: &[(u64, &[u8])] = &[(0, b"first"), (1, b"the second one"), (2, b"")];
        let whole = say::subgroup(self.draft, ALIAS, group, objects);
        let (begin, rest) = whole.split_at(whole.len() - 8);
        let stream = self.end.open_with(Dir::Uni, begin.to_vec());
        self.received.push(stream);
        self.rest = rest.to_vec();
    }

    /// The rest of the stream begun last comes, and it ends.
    pub(crate) fn continue_stream(&mut self) {
        let stream = *self.received.last().expect("a stream");
        let rest = std::mem::take(&mut self.rest);
        self.end.data_and(stream, rest, true);
    }

    /// The application sends an object of a subgroup and the beginning of another.
    pub(crate) fn stream_goes(&mut self, group: u64) {
        let key = self.publication();
        let options = SubgroupOptions::new(group);
        let stream = self
            .end
            .with(|engine, _| engine.publisher(key).expect("publishing").open_subgroup(options))
            .expect("streams")
            .expect("wanted");
        self.sent.push(stream);
        let header = ObjectHeader { payload_len: 5, ..ObjectHeader::default() };
        self.end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).expect("open");
            subgroup.object(&header, "first".into()).expect("room");
            let header = ObjectHeader { object_id: 1, ..header };
            subgroup.begin_object(&header).expect("room");
            subgroup.payload("se".into()).expect("room");
        });
    }

    /// The subgroup begun last ends.
    pub(crate) fn finish_stream(&mut self) {
        let stream = *self.sent.last().expect("a stream");
        self.end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).expect("open");
            subgroup.payload("con".into()).expect("room");
            subgroup.finish().expect("whole");
        });
    }

    /// The subscription in which the connection publishes.
    pub(crate) fn publication(&self) -> RequestKey {
        let publishes = |request: &&AtStake| {
            matches!(
                (request.kind, request.ours),
                (RequestKind::Publish, true) | (RequestKind::Subscribe, false)
            )
        };
        self.requests.iter().find(publishes).expect("a publication").key
    }

    /// The peer changes the request begun last.
    pub(crate) fn update_comes(&mut self) {
        let AtStake { id, kind, .. } = self.last();
        let on = self.updates_on();
        let update = self.end.fresh_id();
        let mut parameters = Parameters::default();
        if matches!(kind, RequestKind::Subscribe | RequestKind::Publish | RequestKind::Fetch) {
            parameters.subscriber_priority = Some(7);
        }
        if self.draft < Draft::D16 {
            parameters.subscription_filter =
                Some(SubscriptionFilter::AbsoluteStart { start: Location::new(0, 0) });
            parameters.forward = Some(true);
        }
        self.end.say(on, &say::update(update, id, parameters));
    }

    /// The application changes the request begun last.
    pub(crate) fn update_goes(&mut self) {
        let AtStake { key, kind, .. } = self.last();
        let mut parameters = Parameters::default();
        if matches!(kind, RequestKind::Subscribe | RequestKind::Fetch)
            || kind == RequestKind::Publish && !self.last().ours
        {
            parameters.subscriber_priority = Some(7);
        }
        self.end.with(|engine, now| engine.update(now, key, &parameters)).expect("possible");
    }

    /// The peer accepts the update sent last.
    pub(crate) fn update_answered(&mut self) {
        if self.draft < Draft::D16 {
            return;
        }
        let id = self.end.next_own_id() - 2;
        self.end.say(self.updates_on(), &say::ok(id, RequestKind::Update));
    }

    /// Where updates of the request begun last, and their answers, come.
    fn updates_on(&self) -> Name {
        if self.draft >= Draft::D18 { self.last().on } else { self.end.control }
    }

    /// Tokens for a request of the peer's, one of which is to be kept.
    pub(crate) fn tokens(&mut self) -> Parameters {
        let value = Bytes::from_static(b"token");
        self.token_bytes += 16 + value.len() as u64;
        let mut parameters = Parameters::default();
        parameters.authorization_tokens =
            vec![AuthToken::Register { alias: 5, token_type: 0, value }];
        parameters
    }

    /// The application wants nothing more of a request, at whatever point it is. Whether there
    /// was anything left to end.
    pub(crate) fn end_here(&mut self, index: usize) -> bool {
        let AtStake { key, .. } = self.requests[index];
        let given_up = self.end.with(|engine, now| give_up(engine, now, key));
        let ended = given_up != GivenUp::Gone;
        self.requests[index].ended_here |= ended;
        ended
    }

    /// Requests that the connection made known or was asked to make.
    pub(crate) fn known(&self) -> BTreeSet<RequestKey> {
        let told = self.end.events.iter().filter_map(|event| match event {
            Event::Request { request, .. } => Some(*request),
            _ => None,
        });
        told.chain(self.requests.iter().map(|request| request.key)).collect()
    }

    /// How many of the last words on a request there were.
    pub(crate) fn last_words(&self, request: &AtStake) -> usize {
        let is_last = |event: &&Event| {
            let is_answer =
                request.kind == RequestKind::TrackStatus && matches!(event, Event::Accepted { .. });
            request_of(event) == Some(request.key) && (ends_request(event) || is_answer)
        };
        let events = self.end.events.iter().filter(is_last).count();
        events + usize::from(self.was_fetched(request))
    }

    /// Whether a FETCH was accepted and read to its end, which is its last word.
    fn was_fetched(&self, request: &AtStake) -> bool {
        if !request.ours || request.kind != RequestKind::Fetch {
            return false;
        }
        let accepted = self.end.events.iter().any(
            |event| matches!(event, Event::Accepted { request: key, .. } if *key == request.key),
        );
        let is_read = self.end.events.iter().any(|event| match event {
            Event::FetchOpened { request: key, stream } if *key == request.key => {
                let fetched = self.end.fetched.get(&self.end.name(*stream));
                let last = fetched.and_then(|fetched| fetched.last());
                matches!(last, Some(Fetched::Finished | Fetched::Reset(_)))
            }
            _ => false,
        });
        accepted && is_read
    }

    /// The application hears of the FETCH that waited to join.
    pub(crate) fn join_comes(&mut self) {
        let (id, on) = self.join.expect("one waits");
        let Some(Event::Request { request, what: IncomingRequest::Fetch { .. } }) =
            self.end.events.last()
        else {
            panic!("{:?}", self.end.events)
        };
        self.push(*request, RequestKind::Fetch, false, id, on);
    }
}
