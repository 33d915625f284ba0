//! A subscriber whose publisher answers, sends and ends as it likes.

use std::collections::BTreeMap;
use std::time::Duration;

use moqt_conformance::end::{End, Got, Name};
use moqt_conformance::say;
use moqt_engine::model::{Parameters, RequestErrorCode, RequestKind, StreamResetCode};
use moqt_engine::{Config, Dir, Draft, Event, Limits, RequestKey, Role, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{
    DUPLICATE_TRACK_ALIAS, PROTOCOL_VIOLATION, Reference, assert_stopped, case, choose, sequences,
    walk,
};

/// What either end does next. Numbers choose among the subscriptions or streams there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Subscribe,
    Accept {
        which: u8,
        alias: u64,
    },
    Refuse {
        which: u8,
    },
    Send {
        alias: u64,
    },
    Finish {
        which: u8,
    },
    Reset {
        which: u8,
    },
    /// PUBLISH_DONE, with that many more streams than were sent.
    Done {
        which: u8,
        missing: u64,
    },
    Cancel {
        which: u8,
    },
    Update {
        which: u8,
    },
    AcceptUpdate {
        which: u8,
    },
    RefuseUpdate {
        which: u8,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    let alias = 0..2_u64;
    prop_oneof![
        3 => Just(Step::Subscribe),
        4 => (which(), alias.clone()).prop_map(|(which, alias)| Step::Accept { which, alias }),
        1 => which().prop_map(|which| Step::Refuse { which }),
        5 => alias.prop_map(|alias| Step::Send { alias }),
        4 => which().prop_map(|which| Step::Finish { which }),
        1 => which().prop_map(|which| Step::Reset { which }),
        3 => (which(), 0..3_u64).prop_map(|(which, missing)| Step::Done { which, missing }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        1 => which().prop_map(|which| Step::Update { which }),
        1 => which().prop_map(|which| Step::AcceptUpdate { which }),
        1 => which().prop_map(|which| Step::RefuseUpdate { which }),
        2 => (1..2_600_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Accepted(usize),
    Rejected(usize),
    Opened(usize),
    Updated(usize),
    NotUpdated(usize),
    Done(usize, u64),
    Cancelled(usize),
    Closed,
}

/// "A subscription is in one of these states: Idle, Pending (Subscriber), Established,
/// Terminated" (draft-18, "Subscriptions"); one that is done and waits for its streams is told
/// apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending {
        until: Timestamp,
    },
    Established {
        alias: u64,
    },
    /// "PUBLISH_DONE [...] includes the number of streams": of those `missing` have not come.
    Done {
        alias: u64,
        missing: u64,
        until: Timestamp,
    },
    /// Withdrawn before it was answered.
    Withdrawn,
    Over,
}

#[derive(Debug)]
struct Subscription {
    key: RequestKey,
    id: u64,
    on: Name,
    state: State,
    /// Streams that came.
    streams: u64,
    /// Updates that were not answered, in order.
    updates: Vec<Update>,
}

#[derive(Clone, Copy, Debug)]
struct Update {
    id: u64,
    /// When it is given up; its answer may still come, and is nothing then.
    until: Timestamp,
}

#[derive(Debug)]
struct Stream {
    name: Name,
    alias: u64,
    /// Whose it is; `None` as long as its alias is not announced.
    of: Option<usize>,
    is_open: bool,
}

struct Machine {
    end: End,
    limits: Limits,
    draft: Draft,
    subscriptions: Vec<Subscription>,
    streams: Vec<Stream>,
    /// Aliases that were not announced yet, and until when they may be.
    unknown: BTreeMap<u64, Timestamp>,
    /// Aliases whose subscription is over, and until when that is known.
    closed: BTreeMap<u64, Timestamp>,
}

impl Machine {
    fn new(draft: Draft, role: Role) -> Self {
        let config = Config::default();
        let limits = config.limits.clone();
        let mut end = End::established(draft, role, config);
        end.take_events();
        let (subscriptions, streams) = (Vec::new(), Vec::new());
        let (unknown, closed) = (BTreeMap::new(), BTreeMap::new());
        Self { end, limits, draft, subscriptions, streams, unknown, closed }
    }

    fn after(&self, time: Duration) -> Timestamp {
        self.end.now.saturating_add(time)
    }

    fn choose(&self, which: u8, fits: impl Fn(&Subscription) -> bool) -> Option<usize> {
        choose(which, &self.subscriptions, fits)
    }

    fn subscribe(&mut self) -> Vec<Saw> {
        let n = self.subscriptions.len();
        let id = self.end.next_own_id();
        let track = say::track(&format!("t{n}"));
        let parameters = Parameters::default();
        let key = self.end.with(|engine, now| engine.subscribe(now, &track, &parameters)).unwrap();
        let on = self.end.own_request();
        let state = State::Pending { until: self.after(self.limits.answer_timeout.unwrap()) };
        let (streams, updates) = (0, Vec::new());
        self.subscriptions.push(Subscription { key, id, on, state, streams, updates });
        vec![]
    }

    fn accept(&mut self, which: u8, alias: u64) -> Vec<Saw> {
        let Some(n) = self.choose(which, |known| known.state != State::Over) else { return vec![] };
        let Subscription { id, on, state, .. } = self.subscriptions[n];
        // What answers a subscription that is over stands for nothing else.
        let alias = if state == State::Withdrawn { 100 + n as u64 } else { alias };
        self.end.say(on, &say::subscribe_ok(id, alias));
        match state {
            State::Pending { .. } => {}
            State::Withdrawn => {
                self.subscriptions[n].state = State::Over;
                return vec![];
            }
            // "A publisher MUST send exactly one SUBSCRIBE_OK or REQUEST_ERROR in response"
            _ => return self.close(PROTOCOL_VIOLATION),
        }
        // "the same Track Alias as a different track with an Established subscription, it MUST
        // close the session with error DUPLICATE_TRACK_ALIAS"
        if self.subscriptions.iter().any(|known| known.state == State::Established { alias }) {
            return self.close(DUPLICATE_TRACK_ALIAS);
        }
        self.subscriptions[n].state = State::Established { alias };
        // Nothing more can come for one that had the alias before.
        for old in 0..self.subscriptions.len() {
            if let State::Done { alias: its, missing, .. } = self.subscriptions[old].state
                && its == alias
            {
                self.subscriptions[old].state =
                    State::Done { alias: u64::MAX, missing, until: self.end.now };
            }
        }
        let mut saw = self.settle();
        saw.push(Saw::Accepted(n));
        self.closed.remove(&alias);
        self.unknown.remove(&alias);
        for stream in &mut self.streams {
            if stream.alias == alias && stream.of.is_none() && stream.is_open {
                stream.of = Some(n);
                self.subscriptions[n].streams += 1;
                saw.push(Saw::Opened(n));
            }
        }
        saw
    }

    fn refuse(&mut self, which: u8) -> Vec<Saw> {
        let pending = |known: &Subscription| matches!(known.state, State::Pending { .. });
        let Some(n) = self.choose(which, pending) else { return vec![] };
        let Subscription { id, on, .. } = self.subscriptions[n];
        let code = RequestErrorCode::DoesNotExist;
        self.end.say(on, &say::error(id, RequestKind::Subscribe, code));
        self.subscriptions[n].state = State::Over;
        vec![Saw::Rejected(n)]
    }

    fn send(&mut self, alias: u64) -> Vec<Saw> {
        let group = self.streams.len() as u64;
        let name =
            self.end.open_with(Dir::Uni, say::subgroup(self.draft, alias, group, &[(0, b"x")]));
        let of = self.subscriptions.iter().position(|known| match known.state {
            State::Established { alias: its } | State::Done { alias: its, .. } => its == alias,
            _ => false,
        });
        let is_closed = self.closed.get(&alias).is_some_and(|until| *until > self.end.now);
        let mut saw = vec![];
        let is_open = of.is_some() || !is_closed;
        if let Some(n) = of {
            let known = &mut self.subscriptions[n];
            known.streams += 1;
            if let State::Done { missing, .. } = &mut known.state {
                *missing = missing.saturating_sub(1);
            }
            saw.push(Saw::Opened(n));
        } else if is_open {
            let until = self.after(self.limits.unknown_alias_timeout);
            self.unknown.entry(alias).or_insert(until);
        } else {
            assert_stopped(&self.end, name);
        }
        self.streams.push(Stream { name, alias, of, is_open });
        saw.extend(self.settle());
        saw
    }

    /// The peer ends a stream. One whose alias is unknown is left alone: it ends with its wait.
    fn end_stream(&mut self, which: u8, finish: bool) -> Vec<Saw> {
        let open = self.streams.iter().enumerate();
        let open: Vec<_> =
            open.filter(|(_, s)| s.is_open && s.of.is_some()).map(|(n, _)| n).collect();
        let Some(&at) = open.get(usize::from(which) % open.len().max(1)) else { return vec![] };
        let name = self.streams[at].name;
        if finish {
            self.end.fin(name);
        } else {
            self.end.reset(name, 0);
        }
        self.streams[at].is_open = false;
        let got = self.end.take_reads(name);
        let payload = |got: &Got| matches!(got, Got::Object(_, payload) if payload == b"x");
        assert!(got.first().is_some_and(payload) && got.len() == 2, "{got:?}");
        assert_eq!(got[1] == Got::Finished, finish, "{got:?}");
        self.settle()
    }

    fn done(&mut self, which: u8, missing: u64) -> Vec<Saw> {
        let live = |known: &Subscription| !matches!(known.state, State::Over | State::Withdrawn);
        let Some(n) = self.choose(which, live) else { return vec![] };
        let Subscription { id, on, state, streams, .. } = self.subscriptions[n];
        self.end.say(on, &say::done(id, streams + missing));
        let State::Established { alias } = state else { return self.close(PROTOCOL_VIOLATION) };
        let until = self.after(self.limits.late_stream_timeout);
        self.subscriptions[n].state = State::Done { alias, missing, until };
        self.subscriptions[n].updates.clear();
        self.settle()
    }

    fn cancel(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = self.choose(which, |_| true) else { return vec![] };
        let key = self.subscriptions[n].key;
        let code = StreamResetCode::Cancelled;
        let cancelled = self.end.with(|engine, now| engine.cancel(now, key, code));
        let state = self.subscriptions[n].state;
        let is_live = !matches!(state, State::Over | State::Withdrawn);
        assert_eq!(cancelled.is_ok(), is_live, "{cancelled:?}");
        if is_live {
            self.over(n);
            if matches!(state, State::Pending { .. }) && self.draft < Draft::D18 {
                self.subscriptions[n].state = State::Withdrawn;
            }
        }
        vec![]
    }

    fn update(&mut self, which: u8) -> Vec<Saw> {
        let live = |known: &Subscription| matches!(known.state, State::Established { .. });
        let Some(n) = self.choose(which, live) else { return vec![] };
        let id = self.end.next_own_id();
        let mut changes = Parameters::default();
        changes.subscriber_priority = Some(7);
        let key = self.subscriptions[n].key;
        self.end.with(|engine, now| engine.update(now, key, &changes)).unwrap();
        if self.draft == Draft::D14 {
            // There is no answer.
            return vec![Saw::Updated(n)];
        }
        let until = self.after(self.limits.answer_timeout.unwrap());
        self.subscriptions[n].updates.push(Update { id, until });
        vec![]
    }

    fn accept_update(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = self.choose(which, |known| !known.updates.is_empty()) else { return vec![] };
        let Update { id, until } = self.subscriptions[n].updates.remove(0);
        let on = self.subscriptions[n].on;
        self.end.say(on, &say::ok(id, RequestKind::Update));
        if until > self.end.now { vec![Saw::Updated(n)] } else { vec![] }
    }

    /// "the publisher MUST also terminate the subscription by sending a PUBLISH_DONE with error
    /// code UPDATE_FAILED" and "If the coalesced REQUEST_UPDATE results in REQUEST_ERROR, only a
    /// single REQUEST_ERROR will be sent" (draft-18, "Updating Subscriptions").
    fn refuse_update(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = self.choose(which, |known| !known.updates.is_empty()) else { return vec![] };
        let updates = core::mem::take(&mut self.subscriptions[n].updates);
        let Subscription { id: of, on, streams, state, .. } = self.subscriptions[n];
        let id = updates[0].id;
        self.end.say(on, &say::error(id, RequestKind::Update, RequestErrorCode::Unauthorized));
        self.end.say(on, &say::done(of, streams));
        let State::Established { alias } = state else { panic!("{state:?}") };
        let until = self.after(self.limits.late_stream_timeout);
        self.subscriptions[n].state = State::Done { alias, missing: 0, until };
        let failed = if self.draft < Draft::D18 { &updates[..1] } else { &updates[..] };
        let failed = failed.iter().filter(|update| update.until > self.end.now);
        let mut saw = vec![Saw::NotUpdated(n); failed.count()];
        saw.extend(self.settle());
        saw
    }

    fn wait(&mut self, time: Duration) -> Vec<Saw> {
        let before = self.end.now;
        self.end.wait(time);
        let now = self.end.now;
        let mut saw = vec![];
        for n in 0..self.subscriptions.len() {
            let known = &mut self.subscriptions[n];
            if matches!(known.state, State::Pending { until } if until <= now) {
                known.state = if self.draft < Draft::D18 { State::Withdrawn } else { State::Over };
                saw.push(Saw::Rejected(n));
            }
            let is_late = |update: &&Update| before < update.until && update.until <= now;
            let late = known.updates.iter().filter(is_late).count();
            saw.extend(vec![Saw::NotUpdated(n); late]);
        }
        let unknown = core::mem::take(&mut self.unknown);
        for (alias, until) in unknown {
            if until > now {
                self.unknown.insert(alias, until);
                continue;
            }
            for stream in 0..self.streams.len() {
                let Stream { alias: its, of, is_open, name } = self.streams[stream];
                if its == alias && of.is_none() && is_open {
                    assert_stopped(&self.end, name);
                    self.streams[stream].is_open = false;
                    // It is not for whoever gets the alias later.
                    self.streams[stream].alias = u64::MAX;
                }
            }
        }
        saw.extend(self.settle());
        saw
    }

    /// Ends what is done and has all it is going to have.
    fn settle(&mut self) -> Vec<Saw> {
        let mut saw = vec![];
        for n in 0..self.subscriptions.len() {
            let State::Done { missing, until, .. } = self.subscriptions[n].state else { continue };
            let is_reading = self.streams.iter().any(|s| s.is_open && s.of == Some(n));
            if !is_reading && (missing == 0 || until <= self.end.now) {
                self.over(n);
                saw.push(Saw::Done(n, missing));
            }
        }
        saw
    }

    fn over(&mut self, n: usize) {
        if let State::Established { alias } | State::Done { alias, .. } =
            self.subscriptions[n].state
        {
            let until = self.after(self.limits.alias_tombstone_age);
            self.closed.insert(alias, until);
        }
        for at in 0..self.streams.len() {
            if self.streams[at].of == Some(n) && self.streams[at].is_open {
                assert_stopped(&self.end, self.streams[at].name);
                self.streams[at].is_open = false;
            }
        }
        self.subscriptions[n].state = State::Over;
        self.subscriptions[n].updates.clear();
    }

    fn close(&mut self, code: u64) -> Vec<Saw> {
        assert_eq!(self.end.closed(), Some(code));
        vec![Saw::Closed]
    }
}

impl Reference for Machine {
    type Step = Step;
    type Saw = Saw;

    fn end(&mut self) -> &mut End {
        &mut self.end
    }

    fn step(&mut self, step: Step) -> Vec<Saw> {
        match step {
            Step::Subscribe => self.subscribe(),
            Step::Accept { which, alias } => self.accept(which, alias),
            Step::Refuse { which } => self.refuse(which),
            Step::Send { alias } => self.send(alias),
            Step::Finish { which } => self.end_stream(which, true),
            Step::Reset { which } => self.end_stream(which, false),
            Step::Done { which, missing } => self.done(which, missing),
            Step::Cancel { which } => self.cancel(which),
            Step::Update { which } => self.update(which),
            Step::AcceptUpdate { which } => self.accept_update(which),
            Step::RefuseUpdate { which } => self.refuse_update(which),
            Step::Wait { millis } => self.wait(Duration::from_millis(millis)),
        }
    }

    fn is_in_any_order(step: &Step) -> bool {
        matches!(step, Step::Wait { .. })
    }

    fn see(&self, event: &Event) -> Saw {
        let n = |key: &RequestKey| {
            self.subscriptions.iter().rposition(|known| known.key == *key).expect("known")
        };
        match event {
            Event::Accepted { request, .. } => Saw::Accepted(n(request)),
            Event::Rejected { request, .. } => Saw::Rejected(n(request)),
            Event::SubgroupOpened { request, .. } => Saw::Opened(n(request)),
            Event::UpdateAccepted { request, .. } => Saw::Updated(n(request)),
            Event::UpdateRejected { request, .. } => Saw::NotUpdated(n(request)),
            Event::Cancelled { request, .. } => Saw::Cancelled(n(request)),
            Event::SubscriptionDone { request, missing_streams, .. } => {
                Saw::Done(n(request), *missing_streams)
            }
            Event::Closed { .. } => Saw::Closed,
            other => panic!("{other:?}"),
        }
    }

    fn live(&self) -> usize {
        let live = |known: &&Subscription| !matches!(known.state, State::Over | State::Withdrawn);
        self.subscriptions.iter().filter(live).count()
    }

    fn finish(&mut self) {
        let code = StreamResetCode::Cancelled;
        for n in 0..self.subscriptions.len() {
            let key = self.subscriptions[n].key;
            let _ = self.end.with(|engine, now| engine.cancel(now, key, code));
        }
        if self.draft >= Draft::D18 {
            for n in 0..self.subscriptions.len() {
                self.end.fin(self.subscriptions[n].on);
            }
        }
    }
}

proptest! {
    #![proptest_config(sequences(250))]

    #[test]
    fn a_subscriber_keeps_to_the_states_of_a_subscription(
        (draft, role) in case(),
        steps in vec(step(), 1..80),
    ) {
        walk(Machine::new(draft, role), steps)?;
    }
}
