//! Traces: what one end of a session tells that it has created, the other tells that it has
//! parsed (draft-pardue-moq-qlog-moq-events-06, "MOQT Events").

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use moqt_conformance::end::End;
use moqt_conformance::{DRAFTS, cases, say};
use moqt_engine::model::{
    EndOfRange, Location, LocationRange, Message, MessageKind, ObjectStatus, Parameters, Property,
    PropertyValue, PublishDoneCode, RequestErrorCode, SetupOptions, SubgroupId,
};
use moqt_engine::wire::{FetchObject, ObjectHeader, Properties, SubgroupHeader};
use moqt_engine::{
    Accept, AcceptFetch, Config, DatagramOptions, Dir, Draft, Event, FetchItem, FetchRead,
    FetchTarget, IncomingRequest, MoqtConnection, Read, Refusal, Role, StreamKey, SubgroupOptions,
    TraceEvent, TraceOwner, TracedDatagram, TracedStreamType, Transport,
};
use moqt_loopback::{Chunking, EndpointId, LinkConfig, Network, StreamId};

use crate::published;

/// What an event tells of, whichever end tells it.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few, and short-lived")]
enum Said {
    Message(MessageKind, usize, Message),
    Datagram(TracedDatagram),
    Subgroup(SubgroupHeader),
    Object(ObjectHeader),
    Fetch(u64),
    FetchItem(FetchItem),
}

/// What was said on each stream, and in datagrams, in order.
type Saids = BTreeMap<Option<StreamId>, Vec<Said>>;

/// The trace of one end.
#[derive(Debug, Default)]
struct Trace {
    events: Vec<TraceEvent>,
    ids: HashMap<StreamKey, StreamId>,
    created: Saids,
    parsed: Saids,
    types: BTreeMap<StreamId, (TraceOwner, TracedStreamType)>,
}

impl Trace {
    fn add(&mut self, event: TraceEvent, id: Option<StreamId>) {
        self.events.push(event.clone());
        if let (Some(stream), Some(id)) = (event.stream(), id) {
            self.ids.insert(stream, id);
        }
        let on = event.stream().map(|stream| self.ids[&stream]);
        let is_created = event.name().ends_with("_created");
        let said = match event {
            TraceEvent::StreamTypeSet { owner, stream_type, .. } => {
                let known = self.types.insert(on.unwrap(), (owner, stream_type));
                assert_eq!(known, None, "told once");
                return;
            }
            TraceEvent::ControlMessageCreated(of) | TraceEvent::ControlMessageParsed(of) => {
                Said::Message(of.kind, of.length, of.message)
            }
            TraceEvent::ObjectDatagramCreated(of) | TraceEvent::ObjectDatagramParsed(of) => {
                Said::Datagram(of)
            }
            TraceEvent::SubgroupHeaderCreated(of) | TraceEvent::SubgroupHeaderParsed(of) => {
                Said::Subgroup(of.header)
            }
            TraceEvent::SubgroupObjectCreated(of) | TraceEvent::SubgroupObjectParsed(of) => {
                Said::Object(of.header)
            }
            TraceEvent::FetchHeaderCreated(of) | TraceEvent::FetchHeaderParsed(of) => {
                Said::Fetch(of.request_id)
            }
            TraceEvent::FetchObjectCreated(of) | TraceEvent::FetchObjectParsed(of) => {
                Said::FetchItem(of.item)
            }
            other => panic!("{other:?}"),
        };
        let saids = if is_created { &mut self.created } else { &mut self.parsed };
        saids.entry(on).or_default().push(said);
    }

    fn has_message(&self, kind: MessageKind) -> bool {
        let mut all = self.created.values().flatten();
        all.any(|said| matches!(said, Said::Message(of, ..) if *of == kind))
    }
}

/// A session in which a client subscribes, fetches, publishes a namespace and is answered.
struct Session {
    network: Network,
    ends: [EndpointId; 2],
    fetches: BTreeSet<StreamKey>,
    traces: [Trace; 2],
}

fn properties(draft: Draft) -> Properties {
    let property = Property { key: 0x3d, value: PropertyValue::Bytes("p".into()) };
    Properties::encode(draft.dialect(), [&property]).unwrap()
}

impl Session {
    fn run(draft: Draft, link: LinkConfig, config: Config) -> Self {
        let mut network = Network::new(7);
        let config = Arc::new(config);
        let [client, server] = [Role::Client, Role::Server].map(|role| {
            MoqtConnection::new(role, draft, Transport::Quic, config.clone(), network.now())
        });
        let (client, server) = network.connect(client, server, link);
        let (fetches, traces) = (BTreeSet::new(), [Trace::default(), Trace::default()]);
        let mut session = Self { network, ends: [client, server], fetches, traces };
        loop {
            session.drain();
            if let Some((at, event)) = session.network.next_event() {
                if at == client {
                    session.as_client(&event);
                } else {
                    session.as_server(event);
                }
            } else if session.network.is_idle() || !session.network.step() {
                break;
            }
        }
        // Datagrams overtake each other.
        for said in
            session.traces.iter_mut().flat_map(|trace| [&mut trace.created, &mut trace.parsed])
        {
            said.entry(None).or_default().sort_by_key(|said| match said {
                Said::Datagram(datagram) => Some(datagram.header.location),
                _ => None,
            });
        }
        session
    }

    fn drain(&mut self) {
        for (at, trace) in self.ends.into_iter().zip(&mut self.traces) {
            while let Some(event) = self.network.with(at, |engine, _| engine.poll_trace()) {
                let id = event.stream().and_then(|stream| self.network.stream_id(at, stream));
                trace.add(event, id);
            }
        }
    }

    fn as_client(&mut self, event: &Event) {
        let at = self.ends[0];
        match *event {
            Event::Established { .. } => self.network.with(at, |engine, now| {
                let nothing = Parameters::default();
                for name in ["subgroups", "datagrams"] {
                    engine.subscribe(now, &say::track(name), &nothing).unwrap();
                }
                let range = LocationRange::to_last(Location::ZERO, Location::new(2, 9));
                let target = FetchTarget::Standalone { track: say::track("past"), range };
                engine.fetch(now, &target, &nothing).unwrap();
                engine.publish_namespace(now, &say::namespace("x"), &nothing).unwrap();
            }),
            Event::FetchOpened { stream, .. } => {
                self.fetches.insert(stream);
                self.read_fetch(stream);
            }
            Event::Readable { stream } if self.fetches.contains(&stream) => self.read_fetch(stream),
            Event::SubgroupOpened { stream, .. } | Event::Readable { stream } => loop {
                let read = self.network.with(at, |engine, _| engine.read(stream, 100));
                self.drain();
                if !matches!(read, Read::Object(_) | Read::Payload(_)) {
                    return;
                }
            },
            _ => {}
        }
    }

    fn read_fetch(&mut self, stream: StreamKey) {
        loop {
            let read = self.network.with(self.ends[0], |engine, _| engine.read_fetch(stream, 100));
            self.drain();
            if matches!(read, FetchRead::Pending | FetchRead::Finished | FetchRead::Gone) {
                return;
            }
        }
    }

    fn as_server(&mut self, event: Event) {
        let Event::Request { request, what } = event else { return };
        self.network.with(self.ends[1], |engine, now| match what {
            IncomingRequest::Subscribe { track, .. } if track == say::track("subgroups") => {
                engine.accept(now, request, Accept::default()).unwrap();
                publish_subgroups(engine, request);
            }
            IncomingRequest::Subscribe { .. } => {
                engine.accept(now, request, Accept::default()).unwrap();
                let properties = properties(engine.draft());
                for (object, priority) in [(0, Some(3)), (7, None)] {
                    let options = DatagramOptions {
                        publisher_priority: priority,
                        end_of_group: object == 7 && engine.draft() != Draft::D14,
                        properties: properties.clone(),
                        ..DatagramOptions::new(Location::new(4, object))
                    };
                    let mut publisher = engine.publisher(request).unwrap();
                    publisher.datagram(options, vec![7; 20].into()).unwrap();
                }
            }
            IncomingRequest::Fetch { .. } => respond(engine, request),
            _ => {
                let refusal = Refusal::new(RequestErrorCode::Unauthorized);
                engine.reject(now, request, refusal).unwrap();
            }
        });
    }

    /// What was created at one end and what was parsed at the other.
    fn both_ways(&self) -> [(&Saids, &Saids); 2] {
        let [client, server] = &self.traces;
        [(&client.created, &server.parsed), (&server.created, &client.parsed)]
    }
}

fn publish_subgroups(engine: &mut MoqtConnection, request: moqt_engine::RequestKey) {
    let draft = engine.draft();
    let mut first = SubgroupOptions::new(1);
    (first.subgroup_id, first.publisher_priority) = (SubgroupId::FirstObjectId, Some(9));
    let mut second = SubgroupOptions::new(2);
    (second.end_of_group, second.has_properties) = (true, true);
    let empty = SubgroupOptions { subgroup_id: SubgroupId::Explicit(5), ..first };
    for options in [first, second, empty] {
        let mut publisher = engine.publisher(request).unwrap();
        let stream = publisher.open_subgroup(options).unwrap().unwrap();
        let mut subgroup = engine.subgroup(stream).unwrap();
        let ids = if options == empty { 0..0 } else { 3..9 };
        for object_id in ids.step_by(2) {
            let properties =
                if options.has_properties { properties(draft) } else { Properties::EMPTY };
            let header =
                ObjectHeader { object_id, payload_len: 300, properties, ..Default::default() };
            subgroup.object(&header, vec![7; 300].into()).unwrap();
        }
        if options == first {
            let status = ObjectStatus::EndOfGroup;
            let header = ObjectHeader { object_id: 9, status, ..Default::default() };
            subgroup.object(&header, vec![].into()).unwrap();
        }
        engine.subgroup(stream).unwrap().finish().unwrap();
    }
    engine.publisher(request).unwrap().done(PublishDoneCode::TrackEnded, "over");
}

fn respond(engine: &mut MoqtConnection, request: moqt_engine::RequestKey) {
    let now = moqt_engine::Timestamp::ZERO;
    let draft = engine.draft();
    engine.accept_fetch(now, request, AcceptFetch::new(Location::new(2, 10))).unwrap();
    let mut response = engine.fetch_response(request).unwrap();
    for (group, subgroup_id) in [(0, Some(0)), (1, None)] {
        let object = FetchObject {
            location: Location::new(group, 1),
            subgroup_id,
            publisher_priority: 8,
            payload_len: 250,
            status: ObjectStatus::Normal,
            properties: properties(draft),
        };
        response.object(&object, vec![7; 250].into()).unwrap();
    }
    if draft != Draft::D14 {
        response.end_of_range(Location::new(2, 9), EndOfRange::Unknown).unwrap();
    }
    response.finish().unwrap();
}

/// A link that cuts streams into pieces of this length. What ends a stream comes apart, so that
/// the network still knows it when its beginning is traced.
fn link(piece: usize) -> LinkConfig {
    let mut link = LinkConfig::default();
    for path in [&mut link.up, &mut link.down] {
        path.chunking = Chunking::Fixed(piece);
    }
    link
}

fn traced() -> Config {
    let mut config = Config::default();
    config.trace = true;
    config
}

#[test]
fn what_one_end_tells_it_created_the_other_tells_it_parsed() {
    for draft in DRAFTS {
        // Links that cut streams everywhere, so that every way of reading a header is taken.
        for piece in [1, 2, 3, 5, 8, 13, 100, 1_000] {
            let mut link = link(piece);
            let datagrams = link.down.datagrams;
            link.down = LinkConfig::seeded(piece as u64).down;
            (link.down.chunking, link.down.datagrams) = (link.up.chunking, datagrams);
            (link.up.uni_streams, link.up.bi_streams) = (100, 100);
            let session = Session::run(draft, link, traced());
            for (created, parsed) in session.both_ways() {
                assert_eq!(created, parsed, "{draft:?}, pieces of {piece}");
            }
        }
    }
}

#[test]
fn a_trace_tells_of_every_message_header_and_object() {
    for draft in DRAFTS {
        let session = Session::run(draft, link(300), traced());
        let [client, server] = &session.traces;
        for kind in [MessageKind::Subscribe, MessageKind::Fetch, MessageKind::PublishNamespace] {
            assert!(client.has_message(kind), "{draft:?}: {kind:?}");
        }
        for kind in [MessageKind::SubscribeOk, MessageKind::PublishDone, MessageKind::FetchOk] {
            assert!(server.has_message(kind), "{draft:?}: {kind:?}");
        }
        // "The `control_message_created` event is emitted when a control message is created"
        // (draft-pardue-moq-qlog-moq-events-06, "control_message_created"): the setup too.
        for trace in [client, server] {
            let is_setup = |said: &Said| matches!(said, Said::Message(_, _, Message::Setup(_)));
            assert_eq!(trace.created.values().flatten().filter(|said| is_setup(said)).count(), 1);
        }
        let count = |name: &str| {
            client.events.iter().chain(&server.events).filter(|event| event.name() == name).count()
        };
        for side in ["created", "parsed"] {
            assert_eq!(count(&format!("object_datagram_{side}")), 2, "{draft:?}");
            assert_eq!(count(&format!("subgroup_header_{side}")), 3, "{draft:?}");
            assert_eq!(count(&format!("subgroup_object_{side}")), 7, "{draft:?}");
            assert_eq!(count(&format!("fetch_header_{side}")), 1, "{draft:?}");
            let items = if draft == Draft::D14 { 2 } else { 3 };
            assert_eq!(count(&format!("fetch_object_{side}")), items, "{draft:?}");
        }
        let ids: Vec<u64> = (server.created.values().flatten())
            .filter_map(|said| match said {
                Said::Object(header) => Some(header.object_id),
                _ => None,
            })
            .collect();
        assert_eq!(ids, [3, 5, 7, 9, 3, 5, 7], "{draft:?}: whole IDs");
    }
}

#[test]
fn a_trace_tells_once_at_each_end_what_a_stream_is_for() {
    for draft in DRAFTS {
        let session = Session::run(draft, link(300), traced());
        let [client, server] = &session.traces;
        // "The `stream_type_set` event conveys when a MOQT stream type becomes known"
        // (draft-pardue-moq-qlog-moq-events-06, "stream_type_set").
        assert_eq!(client.types.len(), server.types.len(), "{draft:?}");
        for (id, (owner, stream_type)) in &client.types {
            let (other, same) = server.types[id];
            assert_ne!(*owner, other, "{draft:?}: {id:?}");
            assert_eq!(*stream_type, same, "{draft:?}: {id:?}");
        }
        let count = |of| client.types.values().filter(|(_, kind)| *kind == of).count();
        let has_streams = draft.dialect().answers_by_stream;
        assert_eq!(count(TracedStreamType::Control), if has_streams { 2 } else { 1 });
        assert_eq!(count(TracedStreamType::Request), if has_streams { 4 } else { 0 });
        assert_eq!(count(TracedStreamType::Subgroup), 3, "{draft:?}");
        assert_eq!(count(TracedStreamType::Fetch), 1, "{draft:?}");
        for trace in [client, server] {
            let saids = trace.created.keys().chain(trace.parsed.keys()).flatten();
            assert!(saids.copied().all(|id| trace.types.contains_key(&id)), "{draft:?}");
        }
    }
}

#[test]
fn tracing_changes_nothing_else_and_without_it_there_is_no_trace() {
    for draft in DRAFTS {
        let traced = Session::run(draft, link(300), traced());
        let plain = Session::run(draft, link(300), Config::default());
        assert!(plain.traces.iter().all(|trace| trace.events.is_empty()), "{draft:?}");
        assert_eq!(traced.network.raw_trace_hash(), plain.network.raw_trace_hash(), "{draft:?}");
        for at in [0, 1] {
            let [traced, plain] =
                [&traced, &plain].map(|session| session.network.connection(session.ends[at]));
            assert_eq!(traced.stats(), plain.stats(), "{draft:?}");
            assert_eq!(traced.usage(), plain.usage(), "{draft:?}");
        }
    }
}

#[test]
fn trace_events_that_nobody_polls_are_bounded_and_the_rest_counted() {
    for (draft, role) in cases() {
        let mut all = End::established(draft, role, traced());
        let mut config = traced();
        config.limits.trace_events = 4;
        let mut few = End::established(draft, role, config);
        for end in [&mut all, &mut few] {
            let (request, _) = published(end, "t");
            published(end, "bystander");
            let over = PublishDoneCode::TrackEnded;
            end.with(|engine, _| engine.publisher(request).unwrap().done(over, ""));
        }
        let poll = |end: &mut End| -> Vec<TraceEvent> {
            std::iter::from_fn(|| end.engine.poll_trace()).collect()
        };
        let all_events = poll(&mut all);
        let few_events = poll(&mut few);
        assert_eq!(few_events, all_events[..4], "{draft:?} {role:?}: the newest are dropped");
        assert_eq!(all.engine.stats().trace_events_dropped, 0);
        let dropped = few.engine.stats().trace_events_dropped;
        assert_eq!(dropped, (all_events.len() - 4) as u64, "{draft:?} {role:?}");
        assert_eq!(few.outputs, all.outputs, "{draft:?} {role:?}: nothing else is missing");
        // There is room again.
        let id = few.fresh_id();
        few.request(&say::subscribe(id, "later"));
        let later = poll(&mut few);
        assert!(matches!(later.last(), Some(TraceEvent::ControlMessageParsed(_))));
        assert_eq!(few.engine.stats().trace_events_dropped, dropped);
    }
}

#[test]
fn what_is_refused_is_traced_and_can_be_polled_after_the_session() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, traced());
        let setup = say::setup(draft, role.peer(), SetupOptions::default());
        while end.engine.poll_trace().is_some() {}
        end.data(end.control, setup);
        assert!(end.closed().is_some(), "{draft:?} {role:?}: a second SETUP");
        let event = end.engine.poll_trace();
        let Some(TraceEvent::ControlMessageParsed(parsed)) = event else { panic!("{event:?}") };
        assert!(matches!(parsed.message, Message::Setup(_)), "{draft:?} {role:?}");
        // Nothing follows: a session that is over reads and writes nothing.
        end.open_with(Dir::Uni, say::subgroup(draft, 1, 0, &[(0, b"late")]));
        assert_eq!(end.engine.poll_trace(), None, "{draft:?} {role:?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_traced_as_parsed() {
    for (draft, role) in cases() {
        let mut end = End::established(draft, role, traced());
        while end.engine.poll_trace().is_some() {}
        let id = end.fresh_id();
        let mut message = say::message(draft, &say::subscribe(id, "t"));
        let last = message.len() - 1;
        let whole = message.clone();
        message.truncate(last);
        let parsed = |end: &mut End| {
            std::iter::from_fn(|| end.engine.poll_trace())
                .filter(|event| matches!(event, TraceEvent::ControlMessageParsed(_)))
                .count()
        };
        let on = if draft.dialect().answers_by_stream { end.open(Dir::Bi) } else { end.control };
        end.data(on, message);
        assert_eq!(parsed(&mut end), 0, "{draft:?} {role:?}: a message that is not whole");
        end.data(on, whole[last..].to_vec());
        assert_eq!(parsed(&mut end), 1, "{draft:?} {role:?}");
    }
}
