use moqt_engine::model::{
    GroupOrder, Location, LocationRange, NamespaceInterest, Parameters, RequestErrorCode,
    SessionError, SetupOptions, TrackProperties,
};
use moqt_engine::{
    Accept, Config, Dir, Draft, Event, FetchTarget, Refusal, Role, StreamKey, Usage,
};
use std::time::Duration;

use super::framing::{self, Chance, Choices};
use crate::end::{End, Fetched, Got, Name, Output};
use crate::reread::{self, Ended, Held};
use crate::seen::Seen;
use crate::streams::{MAX_PROPERTIES, read_items, read_messages, read_objects};
use crate::{DRAFTS, ROLES, say};

/// One stream, cut in any way, read at any time: the same comes of it as when it comes in one
/// piece and is read at once. What is read of a subgroup or a fetch is what the stream held,
/// and all of it.
///
/// Four bytes say which draft, role and kind of stream it is, how it ends and with what seed it
/// is cut (`Case`). The rest are the bytes of the stream, or choices from which one is made.
pub fn framer_chunks(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk() else { return };
    let case = Case::new(*head, rest);
    if case.kind == Kind::Readers {
        return case.readers();
    }
    let whole = case.run(How::Whole);
    case.check(&whole);
    for how in [How::Bytes, How::Cut, How::Windows] {
        let again = case.run(how);
        case.check(&again);
        if how != How::Windows || case.may_obey_windows() && !again.is_held_up {
            whole.same(&again, &format!("{case:?}, {how:?}"));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A subgroup of a subscription of ours.
    Subgroup,
    /// The objects of a fetch of ours.
    Fetch,
    /// The control stream from its beginning.
    ControlFromSetup,
    /// The control stream after the setup messages.
    Control,
    /// A stream that the peer opens for a request.
    Request,
    /// The peer's side of a stream that was opened for a request of ours.
    Answers,
    /// No connection, only the readers of each kind of stream.
    Readers,
}

const KINDS: [Kind; 7] = [
    Kind::Subgroup,
    Kind::Fetch,
    Kind::ControlFromSetup,
    Kind::Control,
    Kind::Request,
    Kind::Answers,
    Kind::Readers,
];

/// When the track alias is announced, or the fetch accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    Before,
    Between,
    After,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Open,
    Fin,
    Reset,
    FinThenReset,
}

/// How the bytes come in, and when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// In one piece, read at once.
    Whole,
    /// Byte by byte, read at once; the end comes with the last.
    Bytes,
    /// In pieces of any length, read a little now and then.
    Cut,
    /// The same, but never more than the connection's windows allow.
    Windows,
}

#[derive(Debug)]
struct Case {
    draft: Draft,
    role: Role,
    kind: Kind,
    ends: Ends,
    announced: Announced,
    is_tight: bool,
    seed: u64,
    /// Where the application catches up, whatever the cutting.
    pause: usize,
    bytes: Vec<u8>,
}

impl Case {
    fn new([what, how, seed, pause]: [u8; 4], rest: &[u8]) -> Self {
        let draft = DRAFTS[usize::from(what) % 3];
        let role = ROLES[usize::from(what) / 3 % 2];
        let kind = KINDS[usize::from(what) / 6 % KINDS.len()];
        let ends = [Ends::Fin, Ends::Open, Ends::Reset, Ends::FinThenReset][usize::from(how & 3)];
        let announced = [Announced::Before, Announced::Between, Announced::After, Announced::Never]
            [usize::from(how >> 2 & 3)];
        let mut case = Self {
            draft,
            role,
            kind,
            ends,
            announced,
            is_tight: how & 0x10 != 0,
            seed: u64::from(seed),
            pause: 0,
            bytes: rest.to_vec(),
        };
        if how & 0x20 != 0 {
            case.make(&mut Choices(rest));
        }
        let is_data = matches!(kind, Kind::Subgroup | Kind::Fetch);
        if announced == Announced::Between || !is_data {
            case.pause = case.bytes.len() * usize::from(pause) / 255;
        }
        case
    }

    /// Makes a stream that fits the case, and damages it a little.
    fn make(&mut self, choices: &mut Choices<'_>) {
        let (damage, rest) = choices.0.split_at(choices.0.len().min(7));
        let mut choices = Choices(rest);
        let mut bytes = match self.kind {
            Kind::Subgroup | Kind::Readers => framing::subgroup(self.draft, 1, &mut choices),
            Kind::Fetch => framing::fetch(self.draft, framing::first_id(self.role), &mut choices),
            Kind::Control | Kind::Request | Kind::Answers => {
                framing::messages(self.draft, self.role.peer(), &mut choices)
            }
            Kind::ControlFromSetup => {
                let mut options = SetupOptions::default();
                options.max_request_id = Some(u64::from(choices.byte()));
                let mut bytes = say::setup(self.draft, self.role.peer(), options);
                bytes.extend(framing::messages(self.draft, self.role.peer(), &mut choices));
                bytes
            }
        };
        framing::damage(&mut bytes, 0, &mut Choices(damage));
        self.bytes = bytes;
    }

    fn config(&self) -> Config {
        if self.is_tight { framing::small() } else { Config::default() }
    }

    /// Whether obeying the windows may not change what comes of the stream: if it waits for
    /// its alias, more of it than is held is dropped, which is what the windows are there for.
    fn may_obey_windows(&self) -> bool {
        !self.is_tight || self.announced == Announced::Before
    }

    fn readers(&self) {
        let dialect = self.draft.dialect();
        let mut chance = Chance::new(self.seed);
        let mut parts = Vec::new();
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let (part, more) = rest.split_at(chance.piece(rest.len()));
            parts.push(part);
            rest = more;
        }
        let whole = [&self.bytes[..]];
        let bytes: Vec<&[u8]> = self.bytes.chunks(1).collect();
        for parts in [&parts, &bytes] {
            for eager in [false, true] {
                let found = read_messages(dialect, &whole, true);
                assert_eq!(read_messages(dialect, parts, eager), found);
                let found = read_objects(dialect, eager, &whole);
                assert_eq!(read_objects(dialect, eager, parts), found);
            }
            for order in [GroupOrder::Ascending, GroupOrder::Descending] {
                let found = read_items(dialect, order, &whole);
                assert_eq!(read_items(dialect, order, parts), found);
            }
        }
        const { assert!(MAX_PROPERTIES > 255) };
    }

    fn run(&self, how: How) -> Outcome {
        let mut run = Run::new(self, how);
        if self.announced == Announced::Before {
            run.announce();
        }
        let (first, second) = self.bytes.split_at(self.pause);
        run.deliver(first);
        run.catch_up();
        if self.announced == Announced::Between {
            run.announce();
        }
        run.react();
        run.deliver(second);
        run.finish();
        run.catch_up();
        if self.announced == Announced::After {
            run.announce();
            run.catch_up();
        }
        run.deliver_late();
        run.react();
        run.outcome()
    }

    /// Checks what was read against what the stream held.
    fn check(&self, outcome: &Outcome) {
        let max = self.config().limits.object_properties as u64;
        match self.kind {
            Kind::Subgroup => {
                let held = reread::subgroup(self.draft, &self.bytes, max);
                let got = outcome.after.reads.get(&outcome.stream).map_or(&[][..], |got| &got[..]);
                let all = self.gave_all(outcome, &held, 1);
                reread::check_subgroup(&held, got, all);
                if all {
                    let last = got.iter().rfind(|got| !matches!(got, Got::Object(..)));
                    let expected = match self.ends {
                        Ends::Fin | Ends::FinThenReset => matches!(last, Some(Got::Finished)),
                        Ends::Reset => matches!(last, Some(Got::Reset(_))),
                        Ends::Open => last.is_none(),
                    };
                    assert!(expected, "{self:?}: {got:?}");
                }
            }
            Kind::Fetch => {
                let held = reread::fetch(self.draft, &self.bytes, max);
                let got =
                    outcome.after.fetched.get(&outcome.stream).map_or(&[][..], |got| &got[..]);
                let all = self.gave_all(outcome, &held, framing::first_id(self.role));
                reread::check_fetch(&held, got, all);
                if all {
                    let last = got
                        .iter()
                        .rfind(|got| !matches!(got, Fetched::Object(..) | Fetched::EndOfRange(..)));
                    let expected = match self.ends {
                        Ends::Fin | Ends::FinThenReset => matches!(last, Some(Fetched::Finished)),
                        Ends::Reset => matches!(last, Some(Fetched::Reset(_))),
                        // In the end it is given up for want of an answer.
                        Ends::Open => !matches!(last, Some(Fetched::Finished)),
                    };
                    assert!(expected, "{self:?}: {got:?}");
                }
            }
            _ => {}
        }
    }

    /// Whether everything that a data stream held was to be given; and that it is closed for
    /// what cannot be, and for nothing else.
    fn gave_all(&self, outcome: &Outcome, held: &Held<'_>, header: u64) -> bool {
        let is_finished = matches!(self.ends, Ends::Fin | Ends::FinThenReset);
        let is_announced = self.announced != Announced::Never;
        if held.header != Some(header) || !is_announced && self.kind == Kind::Subgroup {
            return false;
        }
        let is_malformed = outcome.after.events.iter().any(|event| event.starts_with("TrackMal"));
        let is_stopped = outcome.stop.is_some();
        if is_malformed || is_stopped && outcome.usage.requests == 0 {
            return false;
        }
        let is_cut_off = held.end == Ended::Within && is_finished;
        let has_properties = held.items.iter().any(|item| !item.properties.is_empty());
        if let Some(code) = outcome.closed {
            assert!(held.end == Ended::Broken || is_cut_off || has_properties, "{self:?}");
            let violation =
                self.draft.dialect().session_error_code(SessionError::ProtocolViolation);
            assert!(code == violation || has_properties);
            return false;
        }
        if is_stopped {
            return false;
        }
        assert!(held.end != Ended::Broken && !is_cut_off, "{self:?}: {held:?} is let pass");
        true
    }
}

/// A connection with the stream of a case.
struct Run<'a> {
    case: &'a Case,
    how: How,
    chance: Chance,
    end: End,
    stream: Name,
    /// The request of ours that it is about: its ID and where it is answered.
    request: Option<(u64, Name)>,
    /// What the windows did not let in so far.
    late: Vec<u8>,
    /// Events that the application has looked at.
    looked_at: usize,
    is_announced: bool,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case, how: How) -> Self {
        let Case { draft, role, kind, .. } = *case;
        let mut end = match kind {
            Kind::ControlFromSetup => End::new(draft, role, case.config()),
            _ => End::established(draft, role, case.config()),
        };
        let mut request = None;
        match kind {
            Kind::Subgroup => request = Some(subscribe(&mut end)),
            Kind::Fetch => request = Some(fetch(&mut end)),
            Kind::Control => begin_requests(&mut end),
            Kind::Answers => request = Some(begin_one(&mut end, case.seed)),
            _ => {}
        }
        let stream = match (kind, request) {
            (Kind::Subgroup | Kind::Fetch, _) => end.open(Dir::Uni),
            (Kind::Request, _) => end.open(Dir::Bi),
            (Kind::Answers, Some((_, on))) => on,
            _ => end.control,
        };
        end.reads_at_once = matches!(how, How::Whole | How::Bytes);
        let chance = Chance::new(case.seed);
        let late = Vec::new();
        let is_announced = false;
        Self { case, how, chance, end, stream, request, late, looked_at: 0, is_announced }
    }

    fn announce(&mut self) {
        let Some((id, on)) = self.request else { return };
        match self.case.kind {
            Kind::Subgroup => self.end.say(on, &say::subscribe_ok(id, 1)),
            Kind::Fetch => self.end.say(on, &say::fetch_ok(id, Location::new(1 << 40, 0))),
            _ => {}
        }
        self.is_announced = true;
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if !self.late.is_empty() {
            return self.late.extend_from_slice(bytes);
        }
        while !rest.is_empty() {
            let mut len = match self.how {
                How::Whole => rest.len(),
                How::Bytes => 1,
                How::Cut | How::Windows => self.chance.piece(rest.len()),
            };
            if self.how == How::Windows {
                len = len.min(self.window());
                if len == 0 {
                    self.late = rest.to_vec();
                    return;
                }
            }
            let (piece, more) = rest.split_at(len);
            self.end.data(self.stream, piece.to_vec());
            rest = more;
            if matches!(self.how, How::Cut | How::Windows) && self.chance.below(2) == 0 {
                self.read_some();
            }
        }
    }

    /// How much may come in, after reading if that is what it takes. 0 if the stream waits for
    /// something else.
    fn window(&mut self) -> usize {
        let key = self.end.key(self.stream);
        for _ in 0..3 {
            let window = self.end.engine.recv_window(key);
            let resumed = self.end.resumed.len();
            if window > 0 {
                return window;
            }
            self.catch_up();
            if self.end.resumed.len() == resumed {
                if self.end.engine.recv_window(key) == usize::MAX {
                    // It is over, or nobody wants it.
                    return usize::MAX;
                }
                let waits = self.case.kind == Kind::Subgroup && !self.is_announced;
                assert!(waits || !self.is_open(), "{:?} stands still", self.case);
                return 0;
            }
        }
        unreachable!("{:?}: it may be read on, and may not", self.case);
    }

    /// What did not get in comes in if it may now.
    fn deliver_late(&mut self) {
        let late = core::mem::take(&mut self.late);
        if late.is_empty() {
            return;
        }
        if self.end.engine.recv_window(self.end.key(self.stream)) > 0 {
            assert!(self.end.engine.is_closed() || self.end.resumed.contains(&self.stream));
            self.deliver(&late);
            self.finish();
            self.catch_up();
        } else {
            self.late = late;
        }
    }

    /// The end of the stream, if all before it has come.
    fn finish(&mut self) {
        if !self.late.is_empty() {
            return;
        }
        let stream = self.stream;
        match self.case.ends {
            Ends::Open => {}
            Ends::Fin => self.end.fin(stream),
            Ends::Reset => self.end.reset(stream, 1),
            Ends::FinThenReset => {
                self.end.fin(stream);
                if self.chance.below(2) == 0 {
                    self.catch_up();
                }
                self.end.reset(stream, 1);
            }
        }
    }

    /// The stream as the application sees it: a subgroup or a fetch.
    fn is_open(&self) -> bool {
        let key = self.end.key(self.stream);
        self.end.events.iter().any(|event| opens(event, key))
    }

    /// Reads everything there is, unless that is read whenever the connection says so.
    fn catch_up(&mut self) {
        if self.end.reads_at_once {
            return;
        }
        let key = self.end.key(self.stream);
        let Some(opened) = self.end.events.iter().find(|event| opens(event, key)) else { return };
        match opened {
            Event::FetchOpened { .. } => self.end.read_fetch(self.stream, usize::MAX),
            _ => self.end.read(self.stream, usize::MAX),
        }
    }

    /// Reads a thing or a few, if there are any.
    fn read_some(&mut self) {
        let key = self.end.key(self.stream);
        let Some(opened) = self.end.events.iter().find(|event| opens(event, key)) else { return };
        let is_fetch = matches!(opened, Event::FetchOpened { .. });
        for _ in 0..self.chance.below(4) {
            let max = [0, 1, 3, 20, usize::MAX][self.chance.below(5)];
            let read = if is_fetch {
                self.end.read_fetch_once(self.stream, max)
            } else {
                self.end.read_once(self.stream, max)
            };
            if read.is_none() {
                break;
            }
        }
        self.end.drain();
    }

    /// The application answers the peer's requests, by turns.
    fn react(&mut self) {
        let requests =
            self.end.events.iter().skip(self.looked_at).filter_map(|event| match event {
                Event::Request { request, .. } => Some(*request),
                _ => None,
            });
        for (n, request) in requests.collect::<Vec<_>>().into_iter().enumerate() {
            self.end.with(|engine, now| {
                let accepted = n % 2 == 0 && engine.accept(now, request, Accept::default()).is_ok();
                if !accepted {
                    let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                    let _ = engine.reject(now, request, refusal);
                }
            });
        }
        self.looked_at = self.end.events.len();
    }

    /// What is to be seen at once, and after all times have passed; before that another stream
    /// shows that the connection goes on as it would have.
    fn outcome(mut self) -> Outcome {
        self.end.reads_at_once = true;
        let draft = self.case.draft;
        if self.case.kind == Kind::Subgroup && !self.end.engine.is_closed() {
            for alias in [1, 77] {
                let objects: &[(u64, &[u8])] = &[(0, b"more"), (3, b""), (4, b"!")];
                let bytes = say::subgroup(draft, alias, 1 << 20, objects);
                let stream = self.end.open_with(Dir::Uni, bytes);
                self.end.fin(stream);
            }
            if let Some((id, on)) = self.request {
                self.end.say(on, &say::done(id, 2));
            }
        }
        let mut before = Seen::of(&self.end);
        let usage = before.usage;
        self.end.wait(Duration::from_secs(60));
        let closed = self.end.closed();
        let mut after = Seen::of(&self.end);
        let stop = after.acts.iter().find_map(|act| match act {
            Output::Stop(name, code) if *name == self.stream => Some(*code),
            _ => None,
        });
        let objects = after.reads.values().flatten().filter(|got| matches!(got, Got::Object(..)));
        assert!(after.stats.received.objects >= objects.count() as u64, "counted before");
        for seen in [&mut before, &mut after] {
            // Whether the peer is asked to stop depends on whether it is known to have.
            seen.acts.retain(|act| !matches!(act, Output::Stop(name, _) if *name == self.stream));
            if closed.is_some() {
                // What had not been sent yet never will be.
                seen.acts.retain(|act| !matches!(act, Output::Fin(_)));
            }
        }
        let is_held_up = !self.late.is_empty();
        Outcome { stream: self.stream, before, after, closed, stop, usage, is_held_up }
    }
}

fn opens(event: &Event, key: StreamKey) -> bool {
    match event {
        Event::SubgroupOpened { stream, .. } | Event::FetchOpened { stream, .. } => *stream == key,
        _ => false,
    }
}

#[derive(Debug)]
struct Outcome {
    stream: Name,
    before: Seen,
    after: Seen,
    closed: Option<u64>,
    /// The code that the peer was asked with to stop sending.
    stop: Option<u64>,
    /// At the end of the stream, before all times have passed.
    usage: Usage,
    /// The windows have not let all of the stream in: its alias was never announced.
    is_held_up: bool,
}

impl Outcome {
    fn same(&self, other: &Self, what: &str) {
        if let (Some(one), Some(other)) = (self.stop, other.stop) {
            assert_eq!(one, other, "{what}");
        }
        let mut other_sent = [other.before.sent.clone(), other.after.sent.clone()];
        if self.closed.is_some() {
            // A connection that closes drops what it has not sent.
            for (sent, other) in
                [&self.before.sent, &self.after.sent].into_iter().zip(&mut other_sent)
            {
                for (name, bytes) in sent {
                    let others = other.entry(*name).or_default();
                    let len = bytes.len().min(others.len());
                    assert_eq!(bytes[..len], others[..len], "{what}");
                }
                other.clone_from(sent);
            }
        }
        let [before, after] = other_sent;
        self.before.same(&Seen { sent: before, ..other.before.clone() }, what);
        self.after.same(&Seen { sent: after, ..other.after.clone() }, what);
    }
}

fn subscribe(end: &mut End) -> (u64, Name) {
    let id = end.next_own_id();
    let begun =
        end.with(|engine, now| engine.subscribe(now, &say::track("a"), &Parameters::default()));
    assert!(begun.is_ok(), "{begun:?}");
    (id, end.own_request())
}

fn fetch(end: &mut End) -> (u64, Name) {
    let id = end.next_own_id();
    let range = LocationRange::new(Location::new(0, 0), Location::new(1 << 40, 0));
    let target = FetchTarget::Standalone { track: say::track("a"), range };
    let begun = end.with(|engine, now| engine.fetch(now, &target, &Parameters::default()));
    assert!(begun.is_ok(), "{begun:?}");
    (id, end.own_request())
}

fn publish(end: &mut End) -> (u64, Name) {
    let id = end.next_own_id();
    let begun = end.with(|engine, now| {
        let properties = TrackProperties::new();
        engine.publish(now, &say::track("b"), &Parameters::default(), &properties)
    });
    assert!(begun.is_ok(), "{begun:?}");
    (id, end.own_request())
}

fn publish_namespace(end: &mut End) -> (u64, Name) {
    let id = end.next_own_id();
    let begun = end.with(|engine, now| {
        engine.publish_namespace(now, &say::namespace("test"), &Parameters::default())
    });
    assert!(begun.is_ok(), "{begun:?}");
    (id, end.own_request())
}

fn subscribe_namespace(end: &mut End) -> (u64, Name) {
    let id = end.next_own_id();
    let _ = end.with(|engine, now| {
        let (prefix, none) = (say::namespace("test"), Parameters::default());
        let both = NamespaceInterest::Both;
        engine.subscribe_namespace(now, &prefix, both, &none).or_else(|_| {
            engine.subscribe_namespace(now, &prefix, NamespaceInterest::Namespaces, &none)
        })
    });
    (id, end.own_namespace_request())
}

/// One request of each kind.
fn begin_requests(end: &mut End) {
    for begin in [subscribe, fetch, publish, publish_namespace, subscribe_namespace] {
        begin(end);
    }
}

/// One of them.
fn begin_one(end: &mut End, which: u64) -> (u64, Name) {
    let begin = match which % 5 {
        0 => subscribe,
        1 => fetch,
        2 => publish,
        3 => publish_namespace,
        _ => subscribe_namespace,
    };
    begin(end)
}
