//! Namespace subscriptions: what is told of, under prefixes that may not overlap and that may
//! change meanwhile. (Draft 14 has PUBLISH_NAMESPACE instead.)

use std::collections::BTreeSet;

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::say;
use moqt_engine::model::{
    Message, NamespaceInterest, Parameters, RequestErrorCode, RequestKind, StreamResetCode,
    TrackNamespace,
};
use moqt_engine::{Accept, Config, Draft, Event, Refusal, RequestKey, Role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{PROTOCOL_VIOLATION, Reference, case, choose, sequences, walk};

const NAMES: [&str; 7] = ["", "a", "a-b", "a-b-c", "a-c", "b", "b-a"];

/// What either end does next. Numbers choose among the subscriptions there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask {
        prefix: &'static str,
    },
    Accept {
        which: u8,
    },
    Refuse {
        which: u8,
    },
    Tell {
        which: u8,
        name: &'static str,
    },
    TellDone {
        which: u8,
        name: &'static str,
    },
    Move {
        which: u8,
        prefix: &'static str,
    },
    AcceptMove {
        which: u8,
    },
    /// The subscriber ends it.
    Cancel {
        which: u8,
    },
    /// The publisher ends it.
    End {
        which: u8,
        finish: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (which, name) = (any::<u8>, || select(&NAMES[..]));
    prop_oneof![
        4 => name().prop_map(|prefix| Step::Ask { prefix }),
        4 => which().prop_map(|which| Step::Accept { which }),
        1 => which().prop_map(|which| Step::Refuse { which }),
        6 => (which(), name()).prop_map(|(which, name)| Step::Tell { which, name }),
        3 => (which(), name()).prop_map(|(which, name)| Step::TellDone { which, name }),
        3 => (which(), name()).prop_map(|(which, prefix)| Step::Move { which, prefix }),
        3 => which().prop_map(|which| Step::AcceptMove { which }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        1 => (which(), any::<bool>()).prop_map(|(which, finish)| Step::End { which, finish }),
    ]
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Asked(usize),
    Accepted(usize),
    Rejected(usize),
    Found(usize, TrackNamespace),
    Done(usize, TrackNamespace),
    Moved(usize),
    Cancelled(usize),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Established,
    Over,
}

#[derive(Debug)]
struct Subscription {
    key: RequestKey,
    id: u64,
    on: Name,
    state: State,
    prefix: TrackNamespace,
    told: BTreeSet<TrackNamespace>,
    /// Prefixes asked for and not granted yet, with their updates' Request IDs.
    moves: Vec<(u64, TrackNamespace)>,
}

impl Subscription {
    /// "a prefix of, suffix of, or equal to" (draft-14, -16, "SUBSCRIBE_NAMESPACE").
    fn overlaps(&self, prefix: &TrackNamespace) -> bool {
        let moves = self.moves.iter().map(|(_, prefix)| prefix);
        self.state != State::Over
            && moves
                .chain([&self.prefix])
                .any(|its| its.starts_with(prefix) || prefix.starts_with(its))
    }
}

struct Machine {
    end: End,
    draft: Draft,
    /// Whose part the connection takes.
    act: fn(&mut Self, Step) -> Vec<Saw>,
    subscriptions: Vec<Subscription>,
}

impl Machine {
    fn new(draft: Draft, role: Role, act: fn(&mut Self, Step) -> Vec<Saw>) -> Self {
        let mut end = End::established(draft, role, Config::default());
        end.take_events();
        Self { end, draft, act, subscriptions: Vec::new() }
    }

    fn choose(&self, which: u8, fits: impl Fn(&Subscription) -> bool) -> Option<usize> {
        choose(which, &self.subscriptions, fits)
    }

    fn live(&self, which: u8) -> Option<usize> {
        self.choose(which, |known| known.state != State::Over)
    }

    fn established(&self, which: u8) -> Option<usize> {
        self.choose(which, |known| known.state == State::Established)
    }

    fn is_free(&self, prefix: &TrackNamespace, but: Option<usize>) -> bool {
        let mut all = self.subscriptions.iter().enumerate();
        !all.any(|(n, known)| Some(n) != but && known.overlaps(prefix))
    }

    fn add(&mut self, key: RequestKey, id: u64, on: Name, prefix: TrackNamespace) {
        let (told, moves) = (BTreeSet::new(), Vec::new());
        let state = State::Pending;
        self.subscriptions.push(Subscription { key, id, on, state, prefix, told, moves });
    }

    fn over(&mut self, n: usize) {
        let known = &mut self.subscriptions[n];
        (known.state, known.told, known.moves) = (State::Over, BTreeSet::new(), Vec::new());
    }

    /// "it SHOULD treat this as though each active namespace received a NAMESPACE_DONE"
    /// (draft-18, "SUBSCRIBE_NAMESPACE").
    fn all_done(&self, n: usize) -> Vec<Saw> {
        self.subscriptions[n].told.iter().map(|name| Saw::Done(n, name.clone())).collect()
    }

    fn closes(&self) -> Vec<Saw> {
        assert_eq!(self.end.closed(), Some(PROTOCOL_VIOLATION));
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
        (self.act)(self, step)
    }

    fn see(&self, event: &Event) -> Saw {
        let n = |key: &RequestKey| {
            self.subscriptions.iter().rposition(|known| known.key == *key).expect("known")
        };
        match event {
            Event::Request { request, .. } => Saw::Asked(n(request)),
            Event::Accepted { request, .. } => Saw::Accepted(n(request)),
            Event::Rejected { request, .. } => Saw::Rejected(n(request)),
            Event::Namespace { request, namespace } => Saw::Found(n(request), namespace.clone()),
            Event::NamespaceDone { request, namespace } => Saw::Done(n(request), namespace.clone()),
            Event::Updated { request, .. } | Event::UpdateAccepted { request, .. } => {
                Saw::Moved(n(request))
            }
            Event::Cancelled { request, .. } => Saw::Cancelled(n(request)),
            Event::Closed { .. } => Saw::Closed,
            other => panic!("{other:?}"),
        }
    }

    fn live(&self) -> usize {
        self.subscriptions.iter().filter(|known| known.state != State::Over).count()
    }

    fn check(&mut self) {
        let told = self.subscriptions.iter().map(|known| known.told.len());
        assert_eq!(self.end.engine.usage().namespaces, told.sum::<usize>());
    }

    fn finish(&mut self) {
        for n in 0..self.subscriptions.len() {
            let (key, on) = (self.subscriptions[n].key, self.subscriptions[n].on);
            let code = StreamResetCode::Cancelled;
            let _ = self.end.with(|engine, now| engine.cancel(now, key, code));
            self.end.reset(on, 0);
            self.end.stop(on, 0);
        }
    }
}

/// The connection asks, its peer tells.
fn subscriber(machine: &mut Machine, step: Step) -> Vec<Saw> {
    let draft = machine.draft;
    match step {
        Step::Ask { prefix } => {
            let prefix = say::namespace(prefix);
            let (id, is_free) = (machine.end.next_own_id(), machine.is_free(&prefix, None));
            let (interest, plain) = (NamespaceInterest::Namespaces, Parameters::default());
            let asked = machine
                .end
                .with(|engine, now| engine.subscribe_namespace(now, &prefix, interest, &plain));
            assert_eq!(asked.is_ok(), is_free, "{asked:?}");
            if let Ok(key) = asked {
                let on = machine.end.own_namespace_request();
                machine.add(key, id, on, prefix);
            }
            vec![]
        }
        Step::Accept { which } => {
            let Some(n) = machine.live(which) else { return vec![] };
            let Subscription { id, on, state, ref moves, .. } = machine.subscriptions[n];
            if state == State::Established && !moves.is_empty() {
                return vec![];
            }
            machine.end.say(on, &say::ok(id, RequestKind::SubscribeNamespace));
            if state == State::Established {
                // "the publisher MUST send a single REQUEST_OK or REQUEST_ERROR"
                return machine.closes();
            }
            machine.subscriptions[n].state = State::Established;
            vec![Saw::Accepted(n)]
        }
        Step::Refuse { which } => {
            let pending = |known: &Subscription| known.state == State::Pending;
            let Some(n) = machine.choose(which, pending) else { return vec![] };
            let Subscription { id, on, .. } = machine.subscriptions[n];
            let code = RequestErrorCode::Unauthorized;
            machine.end.say(on, &say::error(id, RequestKind::SubscribeNamespace, code));
            machine.over(n);
            vec![Saw::Rejected(n)]
        }
        Step::Tell { which, name } | Step::TellDone { which, name } => {
            let Some(n) = machine.live(which) else { return vec![] };
            let on = machine.subscriptions[n].on;
            let is_done = matches!(step, Step::TellDone { .. });
            if draft == Draft::D16 && name.is_empty() && !is_done {
                // Whether an empty suffix is one there is a matter of its own.
                return vec![];
            }
            let message =
                if is_done { say::namespace_done(name) } else { say::namespace_found(name) };
            machine.end.say(on, &message);
            let known = &mut machine.subscriptions[n];
            let whole = known.prefix.join(&say::namespace(name)).unwrap();
            // "any message other than a REQUEST_OK or a REQUEST_ERROR as the first message [...]
            // MUST close"; "a NAMESPACE_DONE before the corresponding NAMESPACE, it MUST close"
            if known.state == State::Pending || is_done && !known.told.remove(&whole) {
                return machine.closes();
            }
            match is_done {
                true => vec![Saw::Done(n, whole)],
                false if known.told.insert(whole.clone()) => vec![Saw::Found(n, whole)],
                false => vec![],
            }
        }
        Step::Move { which, prefix } => {
            let Some(n) = machine.established(which) else { return vec![] };
            let prefix = say::namespace(prefix);
            let (id, is_free) = (machine.end.next_own_id(), machine.is_free(&prefix, Some(n)));
            let mut changes = Parameters::default();
            changes.track_namespace_prefix = Some(prefix.clone());
            let key = machine.subscriptions[n].key;
            if draft < Draft::D18 {
                return vec![];
            }
            let asked = machine.end.with(|engine, now| engine.update(now, key, &changes));
            assert_eq!(asked.is_ok(), is_free, "{asked:?}");
            if is_free {
                machine.subscriptions[n].moves.push((id, prefix));
            }
            vec![]
        }
        Step::AcceptMove { which } => {
            let moving = |known: &Subscription| !known.moves.is_empty();
            let Some(n) = machine.choose(which, moving) else { return vec![] };
            let known = &mut machine.subscriptions[n];
            let (id, prefix) = known.moves.remove(0);
            known.prefix = prefix;
            let on = known.on;
            machine.end.say(on, &say::ok(id, RequestKind::Update));
            vec![Saw::Moved(n)]
        }
        Step::Cancel { which } => {
            let Some(n) = machine.live(which) else { return vec![] };
            let key = machine.subscriptions[n].key;
            let code = StreamResetCode::Cancelled;
            machine.end.with(|engine, now| engine.cancel(now, key, code)).unwrap();
            machine.over(n);
            vec![]
        }
        Step::End { which, finish } => {
            let Some(n) = machine.established(which) else { return vec![] };
            let on = machine.subscriptions[n].on;
            if finish {
                machine.end.fin(on);
            } else {
                machine.end.reset(on, 0);
            }
            let mut saw = machine.all_done(n);
            saw.push(Saw::Cancelled(n));
            machine.over(n);
            saw
        }
    }
}

/// The peer asks, the connection tells.
fn publisher(machine: &mut Machine, step: Step) -> Vec<Saw> {
    let draft = machine.draft;
    match step {
        Step::Ask { prefix } => {
            let whole = say::namespace(prefix);
            let id = machine.end.fresh_id();
            let interest = NamespaceInterest::Namespaces;
            let on = machine.end.request(&say::subscribe_namespace(draft, id, prefix, interest));
            if machine.is_free(&whole, None) {
                let Some(Event::Request { request, .. }) = machine.end.events.last() else {
                    panic!("{:?}", machine.end.events)
                };
                let key = *request;
                machine.add(key, id, on, whole);
                return vec![Saw::Asked(machine.subscriptions.len() - 1)];
            }
            // "it MUST respond with REQUEST_ERROR with error code PREFIX_OVERLAP", and "If it is
            // an error, the stream will be immediately closed via FIN."
            assert_refused(machine, on);
            machine.end.fin(on);
            vec![]
        }
        Step::Accept { which } => {
            let Some(n) = machine.live(which) else { return vec![] };
            let Subscription { key, on, state, .. } = machine.subscriptions[n];
            let accepted = machine.end.with(|e, now| e.accept(now, key, Accept::default()));
            assert_eq!(accepted.is_ok(), state == State::Pending, "{accepted:?}");
            if state == State::Pending {
                let said = machine.end.said(on);
                assert!(matches!(said[..], [Message::RequestOk(_)]), "{said:?}");
            }
            machine.subscriptions[n].state = State::Established;
            vec![]
        }
        Step::Refuse { which } => {
            let Some(n) = machine.live(which) else { return vec![] };
            let Subscription { key, on, state, .. } = machine.subscriptions[n];
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            let refused = machine.end.with(|engine, now| engine.reject(now, key, refusal));
            assert_eq!(refused.is_ok(), state == State::Pending, "{refused:?}");
            if state == State::Pending {
                let said = machine.end.said(on);
                assert!(matches!(said[..], [Message::RequestError(_)]), "{said:?}");
                machine.end.fin(on);
                machine.over(n);
            }
            vec![]
        }
        Step::Tell { which, name } | Step::TellDone { which, name } => {
            let Some(n) = machine.live(which) else { return vec![] };
            let Subscription { key, on, .. } = machine.subscriptions[n];
            let is_done = matches!(step, Step::TellDone { .. });
            let whole = say::namespace(name);
            let told = machine.end.with(|engine, now| {
                if is_done {
                    engine.namespace_done(now, key, &whole)
                } else {
                    engine.namespace(now, key, &whole).map(|_| ())
                }
            });
            let known = &mut machine.subscriptions[n];
            // "only the namespace tuples after the 'Track Namespace Prefix' are included"
            let suffix = whole.strip_prefix(&known.prefix);
            let may = known.state == State::Established
                && known.told.contains(&whole) == is_done
                && !(draft < Draft::D18 && whole.is_empty());
            let Some(suffix) = suffix.filter(|_| may) else {
                assert!(told.is_err(), "{known:?}");
                assert_eq!(machine.end.said(on), []);
                return vec![];
            };
            assert_eq!(told, Ok(()));
            let expected = if is_done {
                known.told.remove(&whole);
                Message::NamespaceDone(moqt_engine::model::NamespaceDone { suffix })
            } else {
                known.told.insert(whole);
                Message::Namespace(moqt_engine::model::Namespace { suffix })
            };
            assert_eq!(machine.end.said(on), [expected]);
            vec![]
        }
        Step::Move { which, prefix } => {
            let Some(n) = machine.established(which).filter(|_| draft >= Draft::D18) else {
                return vec![];
            };
            let prefix = say::namespace(prefix);
            let Subscription { id, on, .. } = machine.subscriptions[n];
            let mut changes = Parameters::default();
            changes.track_namespace_prefix = Some(prefix.clone());
            let update = machine.end.fresh_id();
            machine.end.say(on, &say::update(update, id, changes));
            if machine.is_free(&prefix, Some(n)) {
                let said = machine.end.said(on);
                assert!(matches!(said[..], [Message::RequestOk(_)]), "{said:?}");
                // What is not under it could not be said to be gone: it is told of again.
                machine.subscriptions[n].told.retain(|told| told.starts_with(&prefix));
                machine.subscriptions[n].prefix = prefix;
                return vec![Saw::Moved(n)];
            }
            assert_refused(machine, on);
            machine.end.fin(on);
            machine.over(n);
            vec![Saw::Cancelled(n)]
        }
        Step::AcceptMove { .. } => vec![],
        // "can be cancelled by closing the stream with either a FIN or RESET_STREAM"
        Step::Cancel { which } => end_by_subscriber(machine, which, true),
        Step::End { which, finish: false } => end_by_subscriber(machine, which, false),
        Step::End { which, finish: true } => {
            let Some(n) = machine.established(which) else { return vec![] };
            let Subscription { key, on, .. } = machine.subscriptions[n];
            let code = StreamResetCode::Cancelled;
            machine.end.with(|engine, now| engine.cancel(now, key, code)).unwrap();
            machine.end.fin(on);
            machine.over(n);
            vec![]
        }
    }
}

fn end_by_subscriber(machine: &mut Machine, which: u8, finish: bool) -> Vec<Saw> {
    let Some(n) = machine.live(which) else { return vec![] };
    let on = machine.subscriptions[n].on;
    if finish {
        machine.end.fin(on);
    } else {
        machine.end.reset(on, 0);
        machine.end.stop(on, 0);
    }
    machine.over(n);
    vec![Saw::Cancelled(n)]
}

fn assert_refused(machine: &mut Machine, on: Name) {
    let said = machine.end.said(on);
    assert!(
        matches!(&said[..], [Message::RequestError(error)]
            if error.code == RequestErrorCode::PrefixOverlap),
        "{said:?}"
    );
    assert!(machine.end.did(&Output::Fin(on)));
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn a_subscriber_knows_the_namespaces_it_was_told_of(
        (draft, role) in case(),
        steps in vec(step(), 1..40),
    ) {
        if say::namespaces_have_streams(draft) {
            walk(Machine::new(draft, role, subscriber), steps)?;
        }
    }

    #[test]
    fn a_publisher_tells_of_namespaces_by_the_prefix_in_force(
        (draft, role) in case(),
        steps in vec(step(), 1..40),
    ) {
        if say::namespaces_have_streams(draft) {
            walk(Machine::new(draft, role, publisher), steps)?;
        }
    }
}
