//! Sessions that are recorded as they happen at one end, and played again.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::say;
use moqt_conformance::seen::Seen;
use moqt_engine::model::{
    Location, Parameters, PublishDoneCode, RequestErrorCode, StreamResetCode, TrackProperties,
};
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{
    Accept, Config, DatagramOptions, Dir, Draft, Event, Refusal, RequestKey, Role, StreamKey,
    Subgroup, SubgroupOptions,
};

/// A request: the how-manyth of ours, or of the peer's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Ours(usize),
    Theirs(usize),
}

/// What the application does.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    Subscribe(&'static str, Parameters),
    Publish(&'static str),
    PublishNamespace(&'static str),
    Accept(usize, Accept),
    Reject(usize),
    Cancel(Of),
    Done(Of),
    Goaway,
    Open(Of, SubgroupOptions),
    /// An object on the how-manyth subgroup opened.
    Object(usize, ObjectHeader, Bytes),
    Begin(usize, ObjectHeader),
    Payload(usize, Bytes),
    Finish(usize),
    Reset(usize),
    Datagram(Of, Location, Bytes),
    /// Gives up the how-manyth subgroup that came.
    Stop(usize),
}

/// What happens at one end.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "few, and short-lived")]
pub(crate) enum Input {
    Open(Dir),
    Data(Name, Bytes),
    Fin(Name),
    Reset(Name, u64),
    Stop(Name, u64),
    Datagram(Bytes),
    Do(Do),
}

/// An end, and what has happened at it.
pub(crate) struct Player {
    pub(crate) end: End,
    pub(crate) log: Vec<Input>,
    ours: Vec<RequestKey>,
    opened: Vec<Option<StreamKey>>,
    results: Vec<String>,
    /// How many outputs the other end has been given.
    handed: usize,
}

impl Player {
    pub(crate) fn new(draft: Draft, role: Role) -> Self {
        let end = End::new(draft, role, Config::default());
        let handed = 0;
        let (log, ours, opened, results) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { end, log, ours, opened, results, handed }
    }

    /// Lets something happen and notes it down.
    pub(crate) fn play(&mut self, input: Input) {
        self.log.push(input.clone());
        match input {
            // The control stream is open already.
            Input::Open(_) if self.end.control == (Name { ours: false, n: 0 }) && self.first() => {}
            Input::Open(dir) => drop(self.end.open(dir)),
            Input::Data(name, bytes) => self.end.data(name, bytes),
            Input::Fin(name) => self.end.fin(name),
            Input::Reset(name, code) => self.end.reset(name, code),
            Input::Stop(name, code) => self.end.stop(name, code),
            Input::Datagram(bytes) => self.end.datagram(bytes),
            Input::Do(what) => self.act(what),
        }
    }

    /// Whether no stream was opened in the log but the one that opens last.
    fn first(&self) -> bool {
        self.log.iter().filter(|input| matches!(input, Input::Open(_))).count() == 1
    }

    pub(crate) fn act_all(&mut self, all: impl IntoIterator<Item = Do>) {
        for what in all {
            self.play(Input::Do(what));
        }
    }

    fn request(&self, of: Of) -> RequestKey {
        match of {
            Of::Ours(n) => self.ours[n],
            Of::Theirs(n) => {
                let requests = self.end.events.iter().filter_map(|event| match event {
                    Event::Request { request, .. } => Some(*request),
                    _ => None,
                });
                requests.collect::<Vec<_>>()[n]
            }
        }
    }

    fn act(&mut self, what: Do) {
        let key = |player: &Self, n: usize| player.opened[n].expect("an open subgroup");
        let result = match what {
            Do::Subscribe(name, parameters) => {
                let track = say::track(name);
                let begun = self.end.with(|engine, now| engine.subscribe(now, &track, &parameters));
                self.begun(begun)
            }
            Do::Publish(name) => {
                let (track, none) = (say::track(name), Parameters::default());
                let begun = self.end.with(|engine, now| {
                    engine.publish(now, &track, &none, &TrackProperties::new())
                });
                self.begun(begun)
            }
            Do::PublishNamespace(name) => {
                let (track, none) = (say::track(name), Parameters::default());
                let begun = self
                    .end
                    .with(|engine, now| engine.publish_namespace(now, track.namespace(), &none));
                self.begun(begun)
            }
            Do::Accept(n, accept) => {
                let request = self.request(Of::Theirs(n));
                let result = self.end.with(|engine, now| engine.accept(now, request, accept));
                format!("{result:?}")
            }
            Do::Reject(n) => {
                let request = self.request(Of::Theirs(n));
                let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                let result = self.end.with(|engine, now| engine.reject(now, request, refusal));
                format!("{result:?}")
            }
            Do::Cancel(of) => {
                let request = self.request(of);
                let code = StreamResetCode::Cancelled;
                format!("{:?}", self.end.with(|engine, now| engine.cancel(now, request, code)))
            }
            Do::Done(of) => {
                let request = self.request(of);
                let done = self.end.with(|engine, _| {
                    engine.publisher(request).map(|publisher| {
                        publisher.done(PublishDoneCode::TrackEnded, "over");
                    })
                });
                format!("{done:?}")
            }
            Do::Goaway => {
                let result =
                    self.end.with(|engine, now| engine.goaway(now, Bytes::new(), Duration::ZERO));
                format!("{result:?}")
            }
            Do::Open(of, options) => {
                let request = self.request(of);
                let stream = self.end.with(|engine, _| {
                    engine.publisher(request).expect("a publisher").open_subgroup(options)
                });
                let result = format!("{stream:?}");
                self.opened.push(stream.ok().flatten());
                result
            }
            Do::Object(n, header, payload) => {
                let stream = key(self, n);
                let result = self.end.with(|engine, _| {
                    engine.subgroup(stream).map(|mut subgroup| subgroup.object(&header, payload))
                });
                format!("{result:?}")
            }
            Do::Begin(n, header) => {
                let stream = key(self, n);
                let result = self.end.with(|engine, _| {
                    engine.subgroup(stream).map(|mut subgroup| subgroup.begin_object(&header))
                });
                format!("{result:?}")
            }
            Do::Payload(n, payload) => {
                let stream = key(self, n);
                let result = self.end.with(|engine, _| {
                    engine.subgroup(stream).map(|mut subgroup| subgroup.payload(payload))
                });
                format!("{result:?}")
            }
            Do::Finish(n) => {
                let stream = key(self, n);
                let result =
                    self.end.with(|engine, _| engine.subgroup(stream).map(Subgroup::finish));
                format!("{result:?}")
            }
            Do::Reset(n) => {
                let stream = key(self, n);
                let code = StreamResetCode::DeliveryTimeout;
                let result =
                    self.end.with(|engine, _| engine.subgroup(stream).map(|one| one.reset(code)));
                format!("{result:?}")
            }
            Do::Datagram(of, location, payload) => {
                let request = self.request(of);
                let options = DatagramOptions::new(location);
                let result = self.end.with(|engine, _| {
                    engine.publisher(request).expect("a publisher").datagram(options, payload)
                });
                format!("{result:?}")
            }
            Do::Stop(n) => {
                let streams = self.end.events.iter().filter_map(|event| match event {
                    Event::SubgroupOpened { stream, .. } => Some(*stream),
                    _ => None,
                });
                let stream = streams.collect::<Vec<_>>()[n];
                self.end.with(|engine, _| engine.stop(stream, StreamResetCode::Cancelled));
                String::new()
            }
        };
        self.results.push(result);
    }

    fn begun<E: core::fmt::Debug>(&mut self, begun: Result<RequestKey, E>) -> String {
        let result = format!("{begun:?}");
        self.ours.extend(begun.ok());
        result
    }

    /// Hands everything new that this end gave to its transport to the other.
    pub(crate) fn hand_to(&mut self, other: &mut Self) -> bool {
        let new = self.end.outputs[self.handed..].to_vec();
        self.handed = self.end.outputs.len();
        for output in &new {
            other.play(match output.clone() {
                Output::Open(_, dir) => Input::Open(dir),
                Output::Data(name, bytes) => Input::Data(name.turned(), bytes),
                Output::Fin(name) => Input::Fin(name.turned()),
                Output::Reset(name, code) => Input::Reset(name.turned(), code),
                Output::Stop(name, code) => Input::Stop(name.turned(), code),
                Output::Datagram(bytes) => Input::Datagram(bytes),
                Output::Close(code) => unreachable!("closed with {code}: {:?}", self.end.events),
            });
        }
        !new.is_empty()
    }

    /// What this end has given to its transport so far is for nobody.
    pub(crate) fn skip_outputs(&mut self) {
        self.handed = self.end.outputs.len();
    }

    /// What is to be seen of the end, and what the commands gave.
    pub(crate) fn seen(&self) -> (Seen, Vec<String>) {
        (Seen::of(&self.end), self.results.clone())
    }
}

/// Lets both ends talk until neither has anything to say.
pub(crate) fn talk(one: &mut Player, other: &mut Player) {
    while one.hand_to(other) | other.hand_to(one) {}
}
