//! A fetch whose answer and whose stream come in any order, break off or do not come.

use std::time::Duration;

use moqt_conformance::end::{End, Fetched, Name};
use moqt_conformance::say;
use moqt_engine::model::{
    Location, LocationRange, Parameters, RequestErrorCode, RequestKind, StreamResetCode,
};
use moqt_engine::{Config, Dir, Draft, Event, FetchTarget, Limits, RequestKey, Role, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{PROTOCOL_VIOLATION, Reference, assert_stopped, case, choose, sequences, walk};

/// What either end does next. Numbers choose among the fetches there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fetch,
    Accept {
        which: u8,
    },
    Refuse {
        which: u8,
    },
    /// The publisher opens the stream of one, also a second, and sends its first object.
    Open {
        which: u8,
    },
    /// It sends one more.
    Send {
        which: u8,
    },
    EndStream {
        which: u8,
        finish: bool,
    },
    Cancel {
        which: u8,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    prop_oneof![
        4 => Just(Step::Fetch),
        4 => which().prop_map(|which| Step::Accept { which }),
        1 => which().prop_map(|which| Step::Refuse { which }),
        5 => which().prop_map(|which| Step::Open { which }),
        3 => which().prop_map(|which| Step::Send { which }),
        4 => (which(), any::<bool>()).prop_map(|(which, finish)| Step::EndStream { which, finish }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        2 => (1..6_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Accepted(usize),
    Rejected(usize),
    Opened(usize),
    Closed,
}

/// "The FETCH_OK or REQUEST_ERROR can come at any time relative to object delivery."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Awaited,
    Open { name: Name, objects: u64 },
    Ended,
}

#[derive(Debug)]
struct Fetch {
    key: RequestKey,
    id: u64,
    on: Name,
    is_answered: bool,
    stream: Stream,
    /// When it is given up: without an answer, or without a stream after it.
    until: Timestamp,
    is_over: bool,
}

struct Machine {
    end: End,
    limits: Limits,
    draft: Draft,
    fetches: Vec<Fetch>,
}

/// The stream of a fetch with that many objects.
fn bytes(draft: Draft, id: u64, objects: u64) -> Vec<u8> {
    let objects: Vec<_> = (0..objects).map(|n| (Location::new(n, n % 3), &b"x"[..])).collect();
    say::fetch_stream(draft, id, &objects)
}

impl Machine {
    fn new(draft: Draft, role: Role) -> Self {
        let config = Config::default();
        let limits = config.limits.clone();
        let mut end = End::established(draft, role, config);
        end.take_events();
        Self { end, limits, draft, fetches: Vec::new() }
    }

    fn choose(&self, which: u8, fits: impl Fn(&Fetch) -> bool) -> Option<usize> {
        choose(which, &self.fetches, |known| !known.is_over && fits(known))
    }

    fn fetch(&mut self) -> Vec<Saw> {
        let id = self.end.next_own_id();
        let range = LocationRange::new(Location::ZERO, Location::new(900, 0));
        let target = FetchTarget::Standalone { track: say::track("t"), range };
        let parameters = Parameters::default();
        let key = self.end.with(|engine, now| engine.fetch(now, &target, &parameters)).unwrap();
        let on = self.end.own_request();
        let until = self.end.now.saturating_add(self.limits.answer_timeout.unwrap());
        let (is_answered, stream, is_over) = (false, Stream::Awaited, false);
        self.fetches.push(Fetch { key, id, on, is_answered, stream, until, is_over });
        vec![]
    }

    fn accept(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = self.choose(which, |_| true) else { return vec![] };
        let Fetch { id, on, is_answered, .. } = self.fetches[n];
        self.end.say(on, &say::fetch_ok(id, Location::new(900, 0)));
        // "The publisher MUST send exactly one FETCH_OK or REQUEST_ERROR in response"
        if is_answered {
            assert_eq!(self.end.closed(), Some(PROTOCOL_VIOLATION));
            return vec![Saw::Closed];
        }
        self.fetches[n].is_answered = true;
        self.fetches[n].until =
            self.end.now.saturating_add(self.limits.fetch_stream_timeout.unwrap());
        self.end_if_complete(n);
        vec![Saw::Accepted(n)]
    }

    /// "both endpoints can immediately destroy state"
    fn refuse(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = self.choose(which, |known| !known.is_answered) else { return vec![] };
        let Fetch { id, on, .. } = self.fetches[n];
        self.end.say(on, &say::error(id, RequestKind::Fetch, RequestErrorCode::DoesNotExist));
        self.fin(on);
        self.over(n);
        vec![Saw::Rejected(n)]
    }

    fn open(&mut self, which: u8) -> Vec<Saw> {
        if self.fetches.is_empty() {
            return vec![];
        }
        let n = usize::from(which) % self.fetches.len();
        let Fetch { id, stream, is_over, .. } = self.fetches[n];
        let name = self.end.open_with(Dir::Uni, bytes(self.draft, id, 1));
        if is_over || stream != Stream::Awaited {
            // Nobody waits for it: "on a single unidirectional stream".
            assert_stopped(&self.end, name);
            return vec![];
        }
        self.fetches[n].stream = Stream::Open { name, objects: 1 };
        vec![Saw::Opened(n)]
    }

    fn send(&mut self, which: u8) -> Vec<Saw> {
        let open = |known: &Fetch| matches!(known.stream, Stream::Open { .. });
        let Some(n) = self.choose(which, open) else { return vec![] };
        let Stream::Open { name, objects } = self.fetches[n].stream else { return vec![] };
        let sent = bytes(self.draft, self.fetches[n].id, objects).len();
        let more = bytes(self.draft, self.fetches[n].id, objects + 1)[sent..].to_vec();
        self.end.data(name, more);
        self.fetches[n].stream = Stream::Open { name, objects: objects + 1 };
        vec![]
    }

    fn end_stream(&mut self, which: u8, finish: bool) -> Vec<Saw> {
        let open = |known: &Fetch| matches!(known.stream, Stream::Open { .. });
        let Some(n) = self.choose(which, open) else { return vec![] };
        let Stream::Open { name, objects } = self.fetches[n].stream else { return vec![] };
        if finish {
            self.end.fin(name);
        } else {
            self.end.reset(name, 0);
        }
        let fetched = self.end.take_fetched(name);
        let object = |n: u64| {
            let location = Location::new(n, n % 3);
            Fetched::Object(say::fetch_object(location, b"x"), b"x".to_vec())
        };
        let expected: Vec<_> = (0..objects).map(object).collect();
        let (last, before) = fetched.split_last().expect("something");
        assert_eq!(before, expected);
        assert_eq!(*last == Fetched::Finished, finish, "{last:?}");
        self.fetches[n].stream = Stream::Ended;
        self.end_if_complete(n);
        vec![]
    }

    fn cancel(&mut self, which: u8) -> Vec<Saw> {
        if self.fetches.is_empty() {
            return vec![];
        }
        let n = usize::from(which) % self.fetches.len();
        let (key, code) = (self.fetches[n].key, StreamResetCode::Cancelled);
        let cancelled = self.end.with(|engine, now| engine.cancel(now, key, code));
        assert_eq!(cancelled.is_ok(), !self.fetches[n].is_over, "{cancelled:?}");
        if cancelled.is_ok() {
            self.over(n);
        }
        vec![]
    }

    fn wait(&mut self, time: Duration) -> Vec<Saw> {
        self.end.wait(time);
        let mut saw = vec![];
        for n in 0..self.fetches.len() {
            let Fetch { is_answered, stream, until, is_over, .. } = self.fetches[n];
            let is_waiting = !is_answered || stream == Stream::Awaited;
            if !is_over && is_waiting && until <= self.end.now {
                self.over(n);
                saw.push(Saw::Rejected(n));
            }
        }
        saw
    }

    /// "A subscriber keeps FETCH state until [...] the FETCH data stream receives a FIN or is
    /// reset", and it knows the answer.
    fn end_if_complete(&mut self, n: usize) {
        let Fetch { is_answered, stream, on, .. } = self.fetches[n];
        if is_answered && stream == Stream::Ended {
            self.fin(on);
            self.over(n);
        }
    }

    /// The peer ends its side of a request's stream, where there is one.
    fn fin(&mut self, on: Name) {
        if self.draft.dialect().answers_by_stream {
            self.end.fin(on);
        }
    }

    fn over(&mut self, n: usize) {
        if let Stream::Open { name, .. } = self.fetches[n].stream {
            assert_stopped(&self.end, name);
        }
        self.fetches[n].is_over = true;
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
            Step::Fetch => self.fetch(),
            Step::Accept { which } => self.accept(which),
            Step::Refuse { which } => self.refuse(which),
            Step::Open { which } => self.open(which),
            Step::Send { which } => self.send(which),
            Step::EndStream { which, finish } => self.end_stream(which, finish),
            Step::Cancel { which } => self.cancel(which),
            Step::Wait { millis } => self.wait(Duration::from_millis(millis)),
        }
    }

    fn is_in_any_order(step: &Step) -> bool {
        matches!(step, Step::Wait { .. })
    }

    fn see(&self, event: &Event) -> Saw {
        let n = |key: &RequestKey| {
            self.fetches.iter().rposition(|known| known.key == *key).expect("known")
        };
        match event {
            Event::Accepted { request, .. } => Saw::Accepted(n(request)),
            Event::Rejected { request, .. } => Saw::Rejected(n(request)),
            Event::FetchOpened { request, .. } => Saw::Opened(n(request)),
            Event::Closed { .. } => Saw::Closed,
            other => panic!("{other:?}"),
        }
    }

    fn live(&self) -> usize {
        self.fetches.iter().filter(|known| !known.is_over).count()
    }

    fn finish(&mut self) {
        let code = StreamResetCode::Cancelled;
        for n in 0..self.fetches.len() {
            let Fetch { key, on, .. } = self.fetches[n];
            let _ = self.end.with(|engine, now| engine.cancel(now, key, code));
            self.fin(on);
        }
    }
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn a_fetch_ends_with_its_answer_and_its_stream(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        walk(Machine::new(draft, role), steps)?;
    }
}
