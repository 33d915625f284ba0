use std::time::Duration;

use moqt_engine::model::{
    GroupOrder, Location, LocationRange, Message, Parameters, RequestErrorCode, SetupOptions,
    StreamResetCode,
};
use moqt_engine::wire::ControlReader;
use moqt_engine::{
    Config, Dir, Draft, Event, FetchTarget, Refusal, RequestKey, Role, Stats, Usage,
};

use super::framing::{self, Choices};
use crate::end::{End, Fetched, Got, Name, Output};
use crate::{DRAFTS, ROLES, say};

/// Several streams at once, in any order, read at any time: each gives what it gives alone.
///
/// What the order may change is kept out of it, and is only this:
/// - When the session closes for one stream, the others have given less. It closes in any order.
/// - A malformed track is given up with all its streams. Streams that may be malformed have
///   tracks of their own; others share theirs, and no group.
/// - Limits that are for all streams together and drop what is too much: they are wide here.
///   Those that only make the peer wait are narrow.
/// - A stream that is reset before the session is set up is dropped.
/// - A fetch that turns out malformed before it is accepted is not accepted any more, and a
///   subscription that does so after its PUBLISH_DONE is not unsubscribed.
pub fn framer_interleaving(data: &[u8]) {
    let mut choices = Choices(data);
    let plan = Plan::new(&mut choices);
    let one = choices.below(plan.items.len());
    let in_turn = plan.run(&mut Choices(&[]), |_| true, false);
    let mixed = plan.run(&mut choices, |_| true, true);
    in_turn.same(&mixed, &plan, None);
    if plan.items[one].what.is_data() {
        let alone =
            plan.run(&mut Choices(&[]), |at| at == one || !plan.items[at].what.is_data(), false);
        alone.same(&mixed, &plan, Some(one));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The peer's setup message.
    Setup,
    /// What the peer answers to our requests, on one stream: to that of this number, or to all.
    Answers(usize),
    /// A subgroup of the subscription of this number.
    Subgroup,
    /// The stream of the fetch of this number.
    Fetch,
    /// Datagrams of a subscription, each with its length before it.
    Datagrams,
    /// A request of the peer's on a stream of its own.
    Request,
}

impl What {
    fn is_data(self) -> bool {
        !matches!(self, Self::Setup | Self::Answers(_))
    }
}

/// A stream, or a series of datagrams.
#[derive(Debug)]
struct Item {
    what: What,
    bytes: Vec<u8>,
    is_reset: bool,
    /// The application gives the subgroup up when it has read this many objects.
    stop_after: Option<usize>,
}

/// A request of ours: for a track of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Subscribe,
    Fetch,
}

#[derive(Debug)]
struct Plan {
    draft: Draft,
    role: Role,
    /// Streams come before the setup message, too.
    is_early: bool,
    /// Windows are narrow and obeyed.
    has_windows: bool,
    asks: Vec<Ask>,
    /// How many requests the peer makes.
    asked_by_peer: u64,
    items: Vec<Item>,
}

/// How many subscriptions may have several streams.
const SHARED: usize = 2;

impl Plan {
    fn new(choices: &mut Choices<'_>) -> Self {
        let (what, how) = (choices.byte(), choices.byte());
        let draft = DRAFTS[usize::from(what) % 3];
        let role = ROLES[usize::from(what) / 3 % 2];
        let (is_early, has_windows) = (how & 1 != 0, how & 2 != 0);
        let asks = vec![Ask::Subscribe; SHARED];
        let (asked_by_peer, items) = (0, Vec::new());
        let mut plan = Self { draft, role, is_early, has_windows, asks, asked_by_peer, items };
        let mut streams = vec![0; SHARED];
        let mut data = Vec::new();
        for at in 0..2 + choices.below(5) {
            let kind = choices.byte();
            let len = choices.below(40);
            let (made, rest) = choices.0.split_at(choices.0.len().min(len));
            choices.0 = rest;
            let item = plan.item(at, kind, &mut Choices(made), &mut streams);
            data.extend(item);
        }
        let item = |what, bytes| Item { what, bytes, is_reset: false, stop_after: None };
        if is_early {
            let setup = plan.setup();
            plan.items.push(item(What::Setup, setup));
        }
        let answers: Vec<Vec<u8>> =
            (0..plan.asks.len()).map(|ask| plan.answers(ask, streams[ask])).collect();
        if draft.dialect().answers_by_stream {
            let items = answers.into_iter().enumerate();
            plan.items.extend(items.map(|(ask, bytes)| item(What::Answers(ask), bytes)));
        } else {
            let (requests, others): (Vec<Item>, Vec<Item>) =
                data.into_iter().partition(|item| item.what == What::Request);
            let requests = requests.into_iter().map(|item| item.bytes);
            let bytes = answers.into_iter().chain(requests).flatten().collect();
            plan.items.push(item(What::Answers(0), bytes));
            data = others;
        }
        plan.items.extend(data);
        plan
    }

    fn setup(&self) -> Vec<u8> {
        let mut options = SetupOptions::default();
        options.max_request_id = Some(10_000);
        say::setup(self.draft, self.role.peer(), options)
    }

    fn ask(&mut self, ask: Ask, streams: &mut Vec<u64>) -> usize {
        self.asks.push(ask);
        streams.push(1);
        self.asks.len() - 1
    }

    fn id(&self, ask: usize) -> u64 {
        framing::first_id(self.role) + 2 * ask as u64
    }

    fn item(
        &mut self,
        at: usize,
        kind: u8,
        choices: &mut Choices<'_>,
        streams: &mut Vec<u64>,
    ) -> Option<Item> {
        let draft = self.draft;
        let is_reset = kind & 0x40 != 0;
        let stop_after = (kind & 0x80 != 0).then(|| 1 + choices.below(3));
        let item = |what, bytes| Some(Item { what, bytes, is_reset, stop_after });
        let cut_off = |mut bytes: Vec<u8>, choices: &mut Choices<'_>| {
            if is_reset {
                let len = bytes.len() * usize::from(choices.byte()) / 200;
                bytes.truncate(len.max(1));
            }
            bytes
        };
        match kind & 7 {
            0..3 => {
                let ask = usize::from(kind >> 3) % SHARED;
                streams[ask] += 1;
                let cut = choices.byte();
                let bytes = framing::sound_subgroup(draft, alias(ask), at as u64, choices);
                item(What::Subgroup, cut_off(bytes, &mut Choices(&[cut])))
            }
            3 => {
                let ask = self.ask(Ask::Subscribe, streams);
                let (damage, rest) = choices.0.split_at(choices.0.len().min(7));
                let mut bytes = framing::subgroup(draft, alias(ask), &mut Choices(rest));
                let header = header_len(draft, &bytes);
                framing::damage(&mut bytes, header, &mut Choices(damage));
                item(What::Subgroup, bytes)
            }
            4 => {
                let ask = self.ask(Ask::Fetch, streams);
                let (damage, rest) = choices.0.split_at(choices.0.len().min(7));
                let id = self.id(ask);
                let mut bytes = framing::fetch(draft, id, &mut Choices(rest));
                if kind & 8 != 0 {
                    framing::damage(&mut bytes, 2, &mut Choices(damage));
                }
                item(What::Fetch, cut_off(bytes, choices))
            }
            5 => {
                let ask = self.ask(Ask::Subscribe, streams);
                if let Some(streams) = streams.get_mut(ask) {
                    *streams = 0;
                }
                let mut bytes = Vec::new();
                for object in 0..=choices.below(4) as u64 {
                    let location = Location::new(object / 2, object);
                    let datagram = say::datagram(draft, alias(ask), location, b"datagram");
                    bytes.push(u8::try_from(datagram.len()).unwrap_or_default());
                    bytes.extend_from_slice(&datagram);
                }
                item(What::Datagrams, bytes)
            }
            _ => {
                let id = framing::first_id(self.role.peer()) + 2 * self.asked_by_peer;
                self.asked_by_peer += 1;
                let request = say::subscribe(id, &format!("r{at}"));
                item(What::Request, say::message(draft, &request))
            }
        }
    }

    /// What the peer says on this request of ours.
    fn answers(&self, ask: usize, streams: u64) -> Vec<u8> {
        let id = self.id(ask);
        match self.asks[ask] {
            Ask::Subscribe => {
                let mut bytes = say::message(self.draft, &say::subscribe_ok(id, alias(ask)));
                // Datagrams that come after it would be late.
                if streams > 0 {
                    bytes.extend(say::message(self.draft, &say::done(id, streams)));
                }
                bytes
            }
            Ask::Fetch => say::message(self.draft, &say::fetch_ok(id, LAST)),
        }
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        if self.has_windows {
            let small = framing::small().limits;
            config.limits.stream_receive = small.stream_receive;
            config.limits.session_receive = small.session_receive;
            config.limits.stream_minimum = small.stream_minimum;
            config.limits.early_bytes = small.early_bytes;
        }
        config
    }

    /// Plays the items of choice: as `choices` say while there are any, then one after the
    /// other.
    fn run(
        &self,
        choices: &mut Choices<'_>,
        plays: impl Fn(usize) -> bool,
        obeys_windows: bool,
    ) -> Outcome {
        let mut run = Run::new(self, obeys_windows && self.has_windows);
        for (at, state) in run.states.iter_mut().enumerate() {
            state.is_over = !plays(at);
        }
        while !choices.is_over() {
            let at = choices.below(self.items.len());
            let (len, read) = (choices.byte(), choices.byte());
            let len = if len & 0x80 == 0 { usize::from(len % 16) } else { usize::from(len) };
            run.give(at, len.max(1));
            if read & 1 != 0 {
                let of = usize::from(read >> 1) % self.items.len();
                run.read(of, usize::from(read >> 4), [0, 1, 5, 1000][usize::from(read >> 2) % 4]);
            }
        }
        run.finish();
        run.outcome()
    }
}

const LAST: Location = Location::new(1 << 40, 0);

fn alias(ask: usize) -> u64 {
    ask as u64 + 1
}

fn header_len(draft: Draft, bytes: &[u8]) -> usize {
    let header = moqt_engine::wire::SubgroupHeader::decode(draft.dialect(), bytes);
    header.ok().flatten().map_or(bytes.len(), |(_, len)| len)
}

#[derive(Debug, Default)]
struct State {
    name: Option<Name>,
    given: usize,
    is_over: bool,
    /// It can be read.
    is_open: bool,
    is_stopped: bool,
    /// Its window is 0. How many times a window had opened again when that was seen.
    waits_from: Option<usize>,
    opened: Vec<String>,
}

struct Run<'a> {
    plan: &'a Plan,
    end: End,
    states: Vec<State>,
    obeys_windows: bool,
    /// Our requests: their keys and where they are answered.
    asked: Vec<(RequestKey, Name)>,
    looked_at: usize,
    datagrams: Vec<String>,
    of_requests: Vec<Vec<String>>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, obeys_windows: bool) -> Self {
        let (draft, role) = (plan.draft, plan.role);
        let mut end = if plan.is_early {
            End::new(draft, role, plan.config())
        } else {
            End::established(draft, role, plan.config())
        };
        end.reads_at_once = false;
        let states = plan.items.iter().map(|_| State::default()).collect();
        let (datagrams, of_requests) = (Vec::new(), vec![Vec::new(); plan.asks.len()]);
        let asked = Vec::new();
        let looked_at = 0;
        let mut run =
            Self { plan, end, states, obeys_windows, asked, looked_at, datagrams, of_requests };
        if !plan.is_early {
            run.ask();
        }
        run
    }

    /// The application asks for everything.
    fn ask(&mut self) {
        for (at, ask) in self.plan.asks.iter().enumerate() {
            let track = say::track(&format!("t{at}"));
            let mut parameters = Parameters::default();
            let request = self.end.with(|engine, now| match ask {
                Ask::Subscribe => engine.subscribe(now, &track, &parameters),
                Ask::Fetch => {
                    parameters.group_order = Some(GroupOrder::Ascending);
                    let range = LocationRange::new(Location::new(0, 0), LAST);
                    engine.fetch(now, &FetchTarget::Standalone { track, range }, &parameters)
                }
            });
            let Ok(request) = request else { unreachable!("{request:?}") };
            self.asked.push((request, self.end.own_request()));
        }
    }

    /// The stream that an item goes on, if there is one by now.
    fn stream(&mut self, at: usize) -> Option<Name> {
        let state = &mut self.states[at];
        if state.name.is_none() {
            state.name = match self.plan.items[at].what {
                What::Setup => Some(self.end.control),
                What::Answers(ask) => self.asked.get(ask).map(|(_, on)| *on),
                // Nothing comes of a request that has not been made.
                What::Fetch if self.asked.is_empty() => None,
                What::Subgroup | What::Fetch => Some(self.end.open(Dir::Uni)),
                What::Request => Some(self.end.open(Dir::Bi)),
                What::Datagrams => None,
            };
        }
        self.states[at].name
    }

    /// Some bytes of an item come in, and its end with the last. Whether that was anything.
    fn give(&mut self, at: usize, len: usize) -> bool {
        let item = &self.plan.items[at];
        if self.states[at].is_over || self.end.engine.is_closed() {
            return false;
        }
        if item.what == What::Datagrams {
            self.give_datagram(at);
            self.look();
            return true;
        }
        let Some(name) = self.stream(at) else { return false };
        let left = &item.bytes[self.states[at].given..];
        let mut len = len.min(left.len());
        if item.is_reset && self.asked.is_empty() {
            len = len.min(left.len().saturating_sub(1));
            if len == 0 {
                return false;
            }
        }
        if self.obeys_windows && !left.is_empty() {
            if self.still_waits(at, name) {
                return false;
            }
            len = len.min(self.end.engine.recv_window(self.end.key(name)));
            if len == 0 {
                self.states[at].waits_from = Some(self.end.resumed.len());
                return false;
            }
        }
        self.states[at].given += len;
        let is_last = len == left.len();
        let ends = matches!(item.what, What::Subgroup | What::Fetch);
        let fin = is_last && ends && !item.is_reset;
        self.end.data_and(name, left[..len].to_vec(), fin && at.is_multiple_of(2));
        if is_last {
            self.states[at].is_over = true;
            if fin {
                self.end.fin(name);
            } else if ends {
                self.end.reset(name, 1);
            }
        }
        self.look();
        true
    }

    /// Whether a stream whose window was 0 has not been heard of since: a transport does not ask
    /// again before it is told to, to read on or to stop.
    fn still_waits(&self, at: usize, name: Name) -> bool {
        let stops = |output: &Output| matches!(output, Output::Stop(of, _) if *of == name);
        self.states[at].waits_from.is_some_and(|from| {
            !self.end.resumed[from..].contains(&name) && !self.end.outputs.iter().any(stops)
        })
    }

    fn give_datagram(&mut self, at: usize) {
        let state = &mut self.states[at];
        let left = &self.plan.items[at].bytes[state.given..];
        if let Some((len, rest)) = left.split_first() {
            state.given += 1 + usize::from(*len);
            self.end.datagram(rest[..usize::from(*len)].to_vec());
        }
        let state = &mut self.states[at];
        state.is_over = state.given >= self.plan.items[at].bytes.len();
    }

    /// The application looks at what has happened.
    fn look(&mut self) {
        while let Some(event) = self.end.events.get(self.looked_at).cloned() {
            self.looked_at += 1;
            match event {
                Event::Established { .. } => self.ask(),
                Event::Request { request, .. } => {
                    let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                    let done = self.end.with(|engine, now| engine.reject(now, request, refusal));
                    assert!(done.is_ok(), "{done:?}");
                }
                Event::SubgroupOpened { stream, subgroup, .. } => {
                    self.opened(self.end.name(stream), format!("{subgroup:?}"));
                }
                Event::FetchOpened { stream, .. } => {
                    self.opened(self.end.name(stream), String::new());
                }
                Event::Datagram { object, .. } => self.datagrams.push(format!("{object:?}")),
                Event::Accepted { request, .. } => self.note(request, "accepted".into()),
                Event::Rejected { request, error } => {
                    self.note(request, format!("rejected: {:?}", error.code));
                }
                Event::TrackMalformed { request, rule, location } => {
                    self.note(request, format!("{rule:?} at {location}"));
                }
                Event::SubscriptionDone { request, missing_streams, .. } => {
                    self.note(request, format!("done, {missing_streams} missing"));
                }
                Event::Closed { .. } => {}
                other => unreachable!("{other:?}: {:?}", self.plan),
            }
        }
    }

    fn opened(&mut self, name: Name, what: String) {
        let state = self.states.iter_mut().find(|state| state.name == Some(name));
        let Some(state) = state else { unreachable!("a stream of nobody's") };
        state.is_open = true;
        state.opened.push(what);
    }

    fn note(&mut self, request: RequestKey, what: String) {
        let ask = self.asked.iter().position(|(key, _)| *key == request);
        let Some(ask) = ask else { unreachable!("{request:?}: {what}") };
        self.of_requests[ask].push(what);
    }

    /// The application reads of a stream. Whether there was anything.
    fn read(&mut self, at: usize, times: usize, max: usize) -> bool {
        let item = &self.plan.items[at];
        let State { name: Some(name), is_open: true, is_stopped: false, .. } = self.states[at]
        else {
            return false;
        };
        let mut any = false;
        for _ in 0..times {
            if item.what == What::Fetch {
                any |= self.end.read_fetch_once(name, max).is_some();
                continue;
            }
            any |= self.end.read_once(name, max).is_some();
            let got = self.end.reads.get(&name).map_or(&[][..], |got| &got[..]);
            let objects = got.iter().filter(|got| matches!(got, Got::Object(..))).count();
            if item.stop_after.is_some_and(|after| objects >= after)
                && matches!(got.last(), Some(Got::Object(..)))
            {
                let stream = self.end.key(name);
                self.end.with(|engine, _| engine.stop(stream, StreamResetCode::Cancelled));
                self.states[at].is_stopped = true;
                break;
            }
        }
        self.end.drain();
        self.look();
        any
    }

    /// Everything that is left comes, and is read. Nothing may wait for nothing.
    fn finish(&mut self) {
        loop {
            let mut any = false;
            // A header that has come in part is taken in by reading, and nothing is read.
            let before = (self.looked_at, self.end.resumed.len());
            for at in 0..self.states.len() {
                any |= self.give(at, usize::MAX);
                while self.read(at, 20, usize::MAX) {
                    any = true;
                }
            }
            if !any && before == (self.looked_at, self.end.resumed.len()) {
                break;
            }
        }
        let all = self.states.iter().all(|state| state.is_over);
        assert!(
            all || self.end.engine.is_closed(),
            "standing still: {:?} of {:?}",
            self.states,
            self.plan
        );
    }

    fn outcome(mut self) -> Outcome {
        self.end.wait(Duration::from_secs(60));
        self.look();
        let closed = self.end.closed();
        let gave = (0..self.states.len())
            .map(|at| {
                let state = core::mem::take(&mut self.states[at]);
                let Some(name) = state.name.filter(|_| self.plan.items[at].what.is_data()) else {
                    return Gave::default();
                };
                let answers = if self.plan.items[at].what == What::Request {
                    messages(self.plan.draft, self.end.sent(name))
                } else {
                    Vec::new()
                };
                Gave {
                    opened: state.opened,
                    reads: self.end.take_reads(name),
                    fetched: self.end.take_fetched(name),
                    answers,
                }
            })
            .collect();
        for (ask, notes) in self.plan.asks.iter().zip(&mut self.of_requests) {
            if *ask == Ask::Fetch && notes.len() > 1 {
                notes.retain(|note| note != "accepted");
            }
        }
        let own = self.plan.draft.dialect().answers_by_stream;
        let control = Name { ours: own || self.end.control.ours, n: 0 };
        let mut said: Vec<String> = messages(self.plan.draft, self.end.sent(control))
            .iter()
            .filter(|message| !matches!(message, Message::Unsubscribe(_)))
            .map(|message| format!("{message:?}"))
            .collect();
        said.sort();
        self.datagrams.sort();
        Outcome {
            gave,
            of_requests: self.of_requests,
            datagrams: self.datagrams,
            said,
            closed,
            usage: self.end.engine.usage(),
            stats: self.end.engine.stats(),
        }
    }
}

fn messages(draft: Draft, bytes: Vec<u8>) -> Vec<Message> {
    let mut reader = ControlReader::new(draft.dialect());
    reader.push(bytes.into());
    let mut messages = Vec::new();
    while let Ok(Some(message)) = reader.next_message() {
        messages.push(message);
    }
    messages
}

/// What an item gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Gave {
    opened: Vec<String>,
    reads: Vec<Got>,
    fetched: Vec<Fetched>,
    answers: Vec<Message>,
}

#[derive(Debug)]
struct Outcome {
    gave: Vec<Gave>,
    /// What became of each request of ours.
    of_requests: Vec<Vec<String>>,
    datagrams: Vec<String>,
    /// The messages that were sent on the control stream, in whatever order.
    said: Vec<String>,
    closed: Option<u64>,
    usage: Usage,
    stats: Stats,
}

impl Outcome {
    /// Checks that another order gave the same, of one item or of all.
    fn same(&self, other: &Self, plan: &Plan, one: Option<usize>) {
        assert!(self.closed.is_none() || other.closed.is_some(), "{plan:?}");
        assert!(one.is_some() || self.closed.is_some() || other.closed.is_none(), "{plan:?}");
        let is_closed = self.closed.is_some() || other.closed.is_some();
        for (at, (gave, others)) in self.gave.iter().zip(&other.gave).enumerate() {
            if one.is_some_and(|one| one != at) {
                continue;
            }
            if is_closed {
                gave.agrees(others, &plan.items[at]);
            } else {
                assert_eq!(gave, others, "{at} of {plan:?}");
            }
        }
        if !is_closed && one.is_none() {
            assert_eq!(self.of_requests, other.of_requests, "{plan:?}");
            assert_eq!(self.datagrams, other.datagrams, "{plan:?}");
            assert_eq!(self.said, other.said, "{plan:?}");
            assert_eq!(self.usage, other.usage, "{plan:?}");
            assert_eq!(self.stats, other.stats, "{plan:?}");
        }
    }
}

impl Gave {
    /// Whether one of these is the beginning of the other, since one came to less.
    fn agrees(&self, other: &Self, item: &Item) {
        for (one, other) in self.reads.iter().zip(&other.reads) {
            match (one, other) {
                (Got::Object(one, some), Got::Object(other, others)) => {
                    assert_eq!(one, other, "{item:?}");
                    let len = some.len().min(others.len());
                    assert_eq!(some[..len], others[..len], "{item:?}");
                }
                (Got::Gone, _) | (_, Got::Gone) => {}
                (one, other) => assert_eq!(one, other, "{item:?}"),
            }
        }
        for (one, other) in self.fetched.iter().zip(&other.fetched) {
            match (one, other) {
                (Fetched::Object(one, some), Fetched::Object(other, others)) => {
                    assert_eq!(one, other, "{item:?}");
                    let len = some.len().min(others.len());
                    assert_eq!(some[..len], others[..len], "{item:?}");
                }
                (Fetched::Gone, _) | (_, Fetched::Gone) => {}
                (one, other) => assert_eq!(one, other, "{item:?}"),
            }
        }
    }
}
