//! Two connections that begin, change and end requests at random points, until both give up all
//! they have: nothing is left at either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moqt_conformance::last_words::{GivenUp, ends_request, give_up, request_of};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    JoiningStart, Location, LocationRange, NamespaceInterest, Parameters, RequestErrorCode,
    RequestKind, SessionError, StreamResetCode, TrackProperties,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, AcceptFetch, CommandError, Config, DatagramOptions, Draft, Event, FetchRead,
    FetchTarget, IncomingRequest, MoqtConnection, Read, Refusal, RequestKey, StreamKey, Subgroup,
    SubgroupOptions, Timestamp, Usage,
};
use moqt_loopback::{EndpointId, LinkConfig, Network, Pair, Rng};

/// A request that an end knows.
#[derive(Clone, Debug)]
struct Known {
    key: RequestKey,
    kind: RequestKind,
    ours: bool,
    /// Of a FETCH of the peer's.
    range: Option<LocationRange>,
    ended_here: bool,
}

/// An application that does not know what it wants.
struct Side {
    at: EndpointId,
    known: Vec<Known>,
    events: Vec<Event>,
    writing: Vec<StreamKey>,
    reading: Vec<StreamKey>,
    fetching: BTreeMap<StreamKey, RequestKey>,
    fetched: BTreeSet<RequestKey>,
    before: Usage,
}

/// How many sessions there are.
const SEEDS: u64 = 1_000;

// "the request MAY be cancelled by either endpoint" (draft-18, "Request Cancellation and
// Rejection"): whenever that is, neither is at fault, and neither keeps anything.
#[test]
fn ends_that_do_what_they_like_keep_nothing() {
    let mut accepted = 0;
    for seed in 0..SEEDS {
        let draft = DRAFTS[usize::try_from(seed % 3).unwrap()];
        accepted += play(draft, seed);
    }
    assert!(accepted > 1_000, "{accepted}: hardly anything happened");
}

/// Plays one session. How many requests were accepted in it.
fn play(draft: Draft, seed: u64) -> usize {
    let mut rng = Rng::fork(seed, 77);
    let mut config = Config::default();
    config.decide_updates = rng.below(4) == 0;
    let link = if rng.below(2) == 0 { LinkConfig::default() } else { LinkConfig::seeded(seed) };
    let Pair { mut network, client, server } = Pair::with(draft, seed, link, config);
    network.run_for(Duration::from_secs(20));
    let mut sides = [client, server].map(|at| Side::new(&network, at));
    for side in &mut sides {
        side.collect(&mut network);
    }
    for _ in 0..rng.between(5, 60) {
        let side = &mut sides[usize::try_from(rng.below(2)).unwrap()];
        side.act(&mut network, &mut rng);
        match rng.below(8) {
            0 => network.run_for(rng.duration(Duration::from_secs(4))),
            1 => network.run_until_idle(),
            _ => {
                for _ in 0..rng.below(4) {
                    if !network.is_idle() {
                        network.step();
                    }
                }
            }
        }
        for side in &mut sides {
            side.collect(&mut network);
        }
    }
    let what = format!("{draft:?}, seed {seed}");
    if rng.below(8) == 0 {
        network.with(client, |engine, _| engine.close(SessionError::NoError, "enough"));
        network.run_for(Duration::from_secs(60));
        for side in &mut sides {
            side.collect(&mut network);
            side.assert_closed(&network, &what);
        }
        return 0;
    }
    // What is on its way may begin more.
    for _ in 0..4 {
        for side in &mut sides {
            side.collect(&mut network);
            side.end_all(&mut network, &what);
        }
        network.run_for(Duration::from_secs(60));
    }
    for side in &mut sides {
        side.collect(&mut network);
        side.assert_nothing_left(&network, &what);
    }
    let is_accepted = |event: &&Event| matches!(event, Event::Accepted { .. });
    sides.iter().map(|side| side.events.iter().filter(is_accepted).count()).sum()
}

impl Side {
    fn new(network: &Network, at: EndpointId) -> Self {
        assert!(network.connection(at).is_established());
        Self {
            at,
            known: Vec::new(),
            events: Vec::new(),
            writing: Vec::new(),
            reading: Vec::new(),
            fetching: BTreeMap::new(),
            fetched: BTreeSet::new(),
            before: network.connection(at).usage(),
        }
    }

    fn collect(&mut self, network: &mut Network) {
        for event in network.take_events(self.at) {
            match &event {
                Event::Request { request, what } => {
                    let (kind, range) = match what {
                        IncomingRequest::Subscribe { .. } => (RequestKind::Subscribe, None),
                        IncomingRequest::Publish { .. } => (RequestKind::Publish, None),
                        IncomingRequest::Fetch { range, .. } => (RequestKind::Fetch, Some(*range)),
                        IncomingRequest::TrackStatus { .. } => (RequestKind::TrackStatus, None),
                        IncomingRequest::PublishNamespace { .. } => {
                            (RequestKind::PublishNamespace, None)
                        }
                        _ => (RequestKind::SubscribeNamespace, None),
                    };
                    let (key, ours, ended_here) = (*request, false, false);
                    self.known.push(Known { key, kind, ours, range, ended_here });
                }
                Event::SubgroupOpened { stream, .. } => self.reading.push(*stream),
                Event::FetchOpened { stream, request } => {
                    self.fetching.insert(*stream, *request);
                }
                _ => {}
            }
            self.events.push(event);
        }
    }

    fn with<R>(
        &self,
        network: &mut Network,
        command: impl FnOnce(&mut MoqtConnection, Timestamp) -> R,
    ) -> R {
        network.with(self.at, command)
    }

    fn begun(&mut self, kind: RequestKind, begun: Result<RequestKey, CommandError>) {
        if let Ok(key) = begun {
            self.known.push(Known { key, kind, ours: true, range: None, ended_here: false });
        }
    }

    /// Does something, if it can be done.
    fn act(&mut self, network: &mut Network, rng: &mut Rng) {
        let none = Parameters::default();
        let name = format!("t{}", rng.below(3));
        let track = say::track(&name);
        let namespace = say::namespace(&format!("test-{}", rng.below(2)));
        let at = usize::try_from(rng.below(self.known.len() as u64)).unwrap();
        let some = self.known.get(at).cloned();
        let writing = rng.pick(&self.writing).copied();
        let what = rng.below(24);
        match (what, some, writing) {
            (0, ..) => {
                let begun = self.with(network, |engine, now| engine.subscribe(now, &track, &none));
                self.begun(RequestKind::Subscribe, begun);
            }
            (1, ..) => {
                let properties = TrackProperties::new();
                let begun = self
                    .with(network, |engine, now| engine.publish(now, &track, &none, &properties));
                self.begun(RequestKind::Publish, begun);
            }
            (2, ..) => {
                let range = LocationRange::new(Location::new(0, 0), Location::new(9, 0));
                let target = FetchTarget::Standalone { track, range };
                let begun = self.with(network, |engine, now| engine.fetch(now, &target, &none));
                self.begun(RequestKind::Fetch, begun);
            }
            (3, Some(some), _) => {
                let start = JoiningStart::Relative(1);
                let target = FetchTarget::Joining { subscription: some.key, start };
                let begun = self.with(network, |engine, now| engine.fetch(now, &target, &none));
                self.begun(RequestKind::Fetch, begun);
            }
            (4, ..) => {
                let begun =
                    self.with(network, |engine, now| engine.track_status(now, &track, &none));
                self.begun(RequestKind::TrackStatus, begun);
            }
            (5, ..) => {
                let begun = self
                    .with(network, |engine, now| engine.publish_namespace(now, &namespace, &none));
                self.begun(RequestKind::PublishNamespace, begun);
            }
            (6 | 7, ..) => {
                let interest = if what == 6 {
                    NamespaceInterest::Namespaces
                } else {
                    NamespaceInterest::Tracks
                };
                let begun = self.with(network, |engine, now| {
                    engine.subscribe_namespace(now, &namespace, interest, &none)
                });
                self.begun(RequestKind::SubscribeNamespace, begun);
            }
            (8..=12, Some(some), _) => self.accept(network, at, &some),
            (13, Some(some), _) => {
                let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                let done = self.with(network, |engine, now| engine.reject(now, some.key, refusal));
                self.known[at].ended_here |= done.is_ok();
            }
            (14, ..) => drop(self.end(network, at)),
            (15 | 16, Some(some), _) => {
                let options = SubgroupOptions::new(rng.below(9));
                let opened = self.with(network, |engine, _| {
                    engine.publisher(some.key)?.open_subgroup(options).ok()?
                });
                self.writing.extend(opened);
            }
            (17 | 18, _, Some(stream)) => write(network, self.at, stream, rng),
            (19, Some(some), _) => {
                let options = DatagramOptions::new(Location::new(20 + rng.below(9), 0));
                self.with(network, |engine, _| {
                    let mut publisher = engine.publisher(some.key)?;
                    publisher.datagram(options, "datagram".into()).ok()
                });
            }
            (20, Some(some), _) => self.respond(network, at, &some, rng),
            (21, Some(some), _) => {
                let _ = self.with(network, |engine, now| engine.update(now, some.key, &none));
                let _ =
                    self.with(network, |engine, now| engine.accept_update(now, some.key, &none));
            }
            (22, Some(some), _) => {
                let told =
                    self.with(network, |engine, now| engine.namespace(now, some.key, &namespace));
                // It is told of with a request of its own on one draft.
                let key = told.ok().flatten();
                let is_new = key.is_some_and(|key| self.known.iter().all(|one| one.key != key));
                if let Some(key) = key.filter(|_| is_new) {
                    self.begun(RequestKind::PublishNamespace, Ok(key));
                }
            }
            (23, ..) => self.read_all(network),
            _ => {}
        }
    }

    fn accept(&mut self, network: &mut Network, at: usize, some: &Known) {
        let mut accept = Accept::default();
        if some.kind == RequestKind::Subscribe {
            accept.parameters.largest_object = Some(Location::new(2, 1));
        }
        let key = some.key;
        let accepted = match some.range {
            Some(range) => self.with(network, |engine, now| {
                engine.accept_fetch(now, key, AcceptFetch::new(range.end))
            }),
            None => self.with(network, |engine, now| engine.accept(now, key, accept)),
        };
        let is_status = some.kind == RequestKind::TrackStatus;
        self.known[at].ended_here |= accepted.is_ok() && is_status;
    }

    /// Some objects of a FETCH, or its end.
    fn respond(&mut self, network: &mut Network, at: usize, some: &Known, rng: &mut Rng) {
        let what = rng.below(3);
        let ended = self.with(network, |engine, _| {
            let mut response = engine.fetch_response(some.key)?;
            let start = response.range().start;
            match what {
                0 => {
                    response.object(&say::fetch_object(start, b"object"), "object".into()).ok()?;
                    None
                }
                1 => response.finish().ok(),
                _ => {
                    let next = Location::new(start.group, start.object + 1);
                    response.begin_object(&say::fetch_object(next, b"object")).ok()?;
                    response.payload("obj".into()).ok()?;
                    None
                }
            }
        });
        self.known[at].ended_here |= ended.is_some();
    }

    fn read_all(&mut self, network: &mut Network) {
        for stream in &self.reading {
            while let Read::Object(_) | Read::Payload(_) =
                network.read(self.at, *stream, usize::MAX)
            {}
        }
        for (stream, request) in &self.fetching {
            loop {
                match network.with(self.at, |engine, _| engine.read_fetch(*stream, usize::MAX)) {
                    FetchRead::Object(_) | FetchRead::Payload(_) | FetchRead::EndOfRange { .. } => {
                    }
                    FetchRead::Finished | FetchRead::Reset(_) => {
                        self.fetched.insert(*request);
                    }
                    _ => break,
                }
            }
        }
    }

    /// Gives a request up. Whether it had not ended before.
    fn end(&mut self, network: &mut Network, at: usize) -> bool {
        let Some(known) = self.known.get(at) else { return false };
        let key = known.key;
        let given_up = self.with(network, |engine, now| give_up(engine, now, key));
        let ended = matches!(given_up, GivenUp::Cancelled | GivenUp::Ended);
        self.known[at].ended_here |= ended;
        ended
    }

    fn end_all(&mut self, network: &mut Network, what: &str) {
        self.read_all(network);
        for at in 0..self.known.len() {
            let known = self.known[at].clone();
            let words = self.last_words(&known);
            if self.end(network, at) {
                let may_be_over = known.ended_here || known.kind == RequestKind::Fetch;
                assert!(words == 0 || may_be_over, "{what}: {known:?} goes on after its end");
            }
        }
    }

    fn last_words(&self, known: &Known) -> usize {
        let mut words = 0;
        let mut accepted = false;
        for event in &self.events {
            if request_of(event) != Some(known.key) {
                continue;
            }
            let is_answer = matches!(event, Event::Accepted { .. });
            accepted |= is_answer;
            let is_last = is_answer && known.kind == RequestKind::TrackStatus;
            words += usize::from(ends_request(event) || is_last);
        }
        let is_fetched = known.ours && self.fetched.contains(&known.key) && accepted;
        words + usize::from(is_fetched && words == 0)
    }

    fn assert_closed(&self, network: &Network, what: &str) {
        let connection = network.connection(self.at);
        assert!(connection.is_closed(), "{what}");
        assert_eq!(connection.usage(), Usage::default(), "{what}");
        assert_eq!(connection.poll_timeout(), None, "{what}");
        let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
        assert_eq!(self.events.iter().filter(|event| is_closed(event)).count(), 1, "{what}");
        assert!(self.events.last().is_some_and(is_closed), "{what}: {:?}", self.events);
    }

    fn assert_nothing_left(&self, network: &Network, what: &str) {
        let connection = network.connection(self.at);
        assert!(!connection.is_closed(), "{what}: {:?}", self.events.last());
        for known in &self.known {
            let words = self.last_words(known);
            let least = usize::from(!known.ended_here);
            assert!((least..=1).contains(&words), "{what}: {words} of {known:?} {:?}", self.events);
        }
        let mut over = BTreeSet::new();
        for event in &self.events {
            let Some(request) = request_of(event) else { continue };
            assert!(self.known.iter().any(|known| known.key == request), "{what}: {event:?}");
            assert!(!over.contains(&request), "{what}: after the end: {event:?} {:?}", self.events);
            if ends_request(event) {
                over.insert(request);
            }
        }
        assert_eq!(connection.usage(), self.before, "{what}");
        assert_eq!(connection.poll_timeout(), None, "{what}");
    }
}

/// The next thing that comes of a subgroup.
fn write(network: &mut Network, at: EndpointId, stream: StreamKey, rng: &mut Rng) {
    let object_id = rng.below(50);
    let what = rng.below(5);
    network.with(at, |engine, _| {
        let mut subgroup = engine.subgroup(stream)?;
        let header = ObjectHeader { object_id, payload_len: 6, ..ObjectHeader::default() };
        match what {
            0 => subgroup.object(&header, "object".into()).map(drop).ok(),
            1 => subgroup.begin_object(&header).map(drop).ok(),
            2 => subgroup.payload("obj".into()).ok(),
            3 => engine.subgroup(stream).and_then(|one| Subgroup::finish(one).ok()),
            _ => {
                subgroup.reset(StreamResetCode::DeliveryTimeout);
                None
            }
        }
    });
}
