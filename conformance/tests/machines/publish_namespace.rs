//! PUBLISH_NAMESPACE from either side: what is answered, withdrawn, revoked and given up, in any
//! order and with the messages of both ends crossing. Draft 14 withdraws and revokes by name,
//! draft 16 by Request ID, draft 18 by the end of the request's stream.

use std::time::Duration;

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::say;
use moqt_engine::model::{
    Message, Parameters, PublishNamespaceCancel, RequestErrorCode, RequestKind, StreamResetCode,
    TrackNamespace,
};
use moqt_engine::{
    Accept, CommandError, Config, Draft, Event, IncomingRequest, Limits, Refusal, RequestKey, Role,
    Timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{PROTOCOL_VIOLATION, Reference, assert_stopped, case, choose, sequences, walk};

const NAMES: [&str; 3] = ["a", "a-b", "b"];

/// What either end does next. Numbers choose among the publications there are, and were.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish {
        name: &'static str,
    },
    Accept {
        which: u8,
    },
    Refuse {
        which: u8,
    },
    /// The publisher withdraws one.
    Withdraw {
        which: u8,
        how: How,
    },
    /// The subscriber revokes its acceptance.
    Revoke {
        which: u8,
        how: How,
    },
    Wait {
        millis: u64,
    },
}

/// How the peer ends the stream of a request, where that is how a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Finish,
    Reset,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    let how = || prop_oneof![Just(How::Finish), Just(How::Reset), Just(How::Stop)];
    prop_oneof![
        6 => select(&NAMES[..]).prop_map(|name| Step::Publish { name }),
        6 => which().prop_map(|which| Step::Accept { which }),
        2 => which().prop_map(|which| Step::Refuse { which }),
        3 => (which(), how()).prop_map(|(which, how)| Step::Withdraw { which, how }),
        3 => (which(), how()).prop_map(|(which, how)| Step::Revoke { which, how }),
        2 => (1..8_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Asked(usize, TrackNamespace),
    Accepted(usize),
    Rejected(usize),
    /// Withdrawn or revoked, with the reason if there is one.
    Cancelled(usize, Option<String>),
    Closed,
}

/// What the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Publish,
    Ok,
    Error,
    Done,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending { until: Timestamp },
    Accepted,
    Over,
}

#[derive(Debug)]
struct Publication {
    key: RequestKey,
    id: u64,
    on: Name,
    name: TrackNamespace,
    state: State,
    /// The peer has said all it is going to say on the request's own stream.
    is_silent: bool,
}

impl Publication {
    fn is_pending(&self) -> bool {
        matches!(self.state, State::Pending { .. })
    }

    fn is_live(&self) -> bool {
        self.state != State::Over
    }
}

struct Machine {
    end: End,
    limits: Limits,
    draft: Draft,
    /// Whose part the connection takes.
    act: fn(&mut Self, Step) -> Vec<Saw>,
    publications: Vec<Publication>,
    /// What the peer has to be told, by publication.
    unsaid: Vec<(usize, Said)>,
}

impl Machine {
    fn new(draft: Draft, role: Role, act: fn(&mut Self, Step) -> Vec<Saw>) -> Self {
        let mut config = Config::default();
        config.limits.churn_burst = u32::MAX;
        let limits = config.limits.clone();
        let mut end = End::established(draft, role, config);
        end.take_events();
        end.said(end.control);
        Self { end, limits, draft, act, publications: Vec::new(), unsaid: Vec::new() }
    }

    fn has_streams(&self) -> bool {
        self.draft >= Draft::D18
    }

    fn choose(&self, which: u8) -> Option<usize> {
        choose(which, &self.publications, |_| true)
    }

    fn add(&mut self, key: RequestKey, id: u64, on: Name, name: TrackNamespace) -> usize {
        let until = self.end.now.saturating_add(self.limits.answer_timeout.unwrap());
        let (state, is_silent) = (State::Pending { until }, false);
        self.publications.push(Publication { key, id, on, name, state, is_silent });
        self.publications.len() - 1
    }

    /// The connection ends one: it says so, or closes what is open of the request's stream.
    fn ended_here(&mut self, n: usize, said: Said) {
        if self.has_streams() {
            self.assert_stream_ended(n);
        } else {
            self.unsaid.push((n, said));
        }
        self.publications[n].state = State::Over;
    }

    /// "abruptly terminating any directions of a stream that are still open by resetting or
    /// sending STOP_SENDING" (draft-18, "Request Cancellation and Rejection").
    fn assert_stream_ended(&self, n: usize) {
        let Publication { on, is_silent, .. } = self.publications[n];
        assert!(self.end.was_reset(on), "{on:?}");
        if !is_silent {
            assert_stopped(&self.end, on);
        }
    }

    /// The peer says something on a request's stream, or on the control stream. Whether it still
    /// can.
    fn say(&mut self, n: usize, message: &Message) -> bool {
        let Publication { on, is_silent, .. } = self.publications[n];
        if !is_silent {
            self.end.say(on, message);
        }
        !is_silent
    }

    fn fin(&mut self, n: usize) {
        let known = &mut self.publications[n];
        if self.draft >= Draft::D18 && !core::mem::replace(&mut known.is_silent, true) {
            self.end.fin(known.on);
        }
    }

    /// The peer ends a request by its stream.
    fn end_stream(&mut self, n: usize, how: How) -> Vec<Saw> {
        let Publication { on, is_silent, .. } = self.publications[n];
        let is_live = self.publications[n].is_live();
        if is_silent && how != How::Stop || !is_live && how == How::Stop {
            return vec![];
        }
        self.publications[n].is_silent |= how != How::Stop;
        match how {
            How::Finish => self.end.fin(on),
            How::Reset => self.end.reset(on, 1),
            How::Stop => self.end.stop(on, 1),
        }
        if !is_live {
            return vec![];
        }
        self.assert_stream_ended(n);
        self.publications[n].state = State::Over;
        vec![Saw::Cancelled(n, None)]
    }

    fn close(&mut self) -> Vec<Saw> {
        assert_eq!(self.end.closed(), Some(PROTOCOL_VIOLATION));
        vec![Saw::Closed]
    }

    /// What was said to the peer is what was to be said.
    fn hear(&mut self) {
        let mut said = Vec::new();
        for n in 0..self.publications.len() {
            said.extend(self.end.said(self.publications[n].on));
        }
        said.retain(|message| !matches!(message, Message::MaxRequestId(_)));
        assert_eq!(said.len(), self.unsaid.len(), "{said:?} for {:?}", self.unsaid);
        for message in said {
            let at = self.unsaid.iter().position(|(n, what)| self.says(*n, *what, &message));
            let at = at.unwrap_or_else(|| panic!("{message:?} for {:?}", self.unsaid));
            self.unsaid.remove(at);
        }
    }

    fn says(&self, n: usize, what: Said, message: &Message) -> bool {
        let Publication { id, ref name, .. } = self.publications[n];
        let target = say::published_namespace(self.draft, id, name);
        let its = if self.has_streams() { None } else { Some(id) };
        match (what, message) {
            (Said::Publish, Message::PublishNamespace(publish)) => {
                publish.request_id == id && publish.namespace == *name
            }
            (Said::Ok, Message::RequestOk(ok)) => ok.request_id == its,
            (Said::Error, Message::RequestError(error)) => {
                error.request_id == its && error.code == RequestErrorCode::Unauthorized
            }
            (Said::Done, Message::PublishNamespaceDone(done)) => *done == target,
            (Said::Cancel, Message::PublishNamespaceCancel(cancel)) => {
                cancel.target == target
                    && cancel.code == RequestErrorCode::ExpiredAuthToken
                    && cancel.reason == "old"
            }
            _ => false,
        }
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

    fn is_in_any_order(step: &Step) -> bool {
        matches!(step, Step::Wait { .. })
    }

    fn see(&self, event: &Event) -> Saw {
        let n = |key: &RequestKey| {
            self.publications.iter().rposition(|known| known.key == *key).expect("known")
        };
        match event {
            Event::Request {
                request,
                what: IncomingRequest::PublishNamespace { namespace, .. },
            } => Saw::Asked(n(request), namespace.clone()),
            Event::Accepted { request, .. } => Saw::Accepted(n(request)),
            Event::Rejected { request, .. } => Saw::Rejected(n(request)),
            Event::Cancelled { request, error, .. } => {
                Saw::Cancelled(n(request), error.as_ref().map(|error| error.reason.clone()))
            }
            Event::Closed { .. } => Saw::Closed,
            other => panic!("{other:?}"),
        }
    }

    fn live(&self) -> usize {
        self.publications.iter().filter(|known| known.is_live()).count()
    }

    fn check(&mut self) {
        self.hear();
    }

    fn finish(&mut self) {
        for n in 0..self.publications.len() {
            let key = self.publications[n].key;
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            self.end.with(|engine, now| {
                if engine.cancel(now, key, StreamResetCode::Cancelled).is_err() {
                    let _ = engine.reject(now, key, refusal);
                }
            });
            self.fin(n);
        }
    }
}

/// The connection publishes.
fn publisher(machine: &mut Machine, step: Step) -> Vec<Saw> {
    match step {
        Step::Publish { name } => {
            let (id, name) = (machine.end.next_own_id(), say::namespace(name));
            let none = Parameters::default();
            let published =
                machine.end.with(|engine, now| engine.publish_namespace(now, &name, &none));
            // Told apart by name alone, it is published once at a time.
            let is_taken = machine.draft == Draft::D14
                && machine.publications.iter().any(|known| known.is_live() && known.name == name);
            assert_eq!(published.is_err(), is_taken, "{published:?}");
            if let Ok(key) = published {
                let n = machine.add(key, id, machine.end.own_request(), name);
                machine.unsaid.push((n, Said::Publish));
            }
            vec![]
        }
        Step::Accept { which } | Step::Refuse { which } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            let (id, kind) = (machine.publications[n].id, RequestKind::PublishNamespace);
            let accepts = matches!(step, Step::Accept { .. });
            let message = if accepts {
                say::ok(id, kind)
            } else {
                say::error(id, kind, RequestErrorCode::Unauthorized)
            };
            if !machine.say(n, &message) {
                return vec![];
            }
            match machine.publications[n].state {
                State::Pending { .. } if accepts => {
                    machine.publications[n].state = State::Accepted;
                    vec![Saw::Accepted(n)]
                }
                State::Pending { .. } => {
                    machine.fin(n);
                    machine.publications[n].state = State::Over;
                    vec![Saw::Rejected(n)]
                }
                // "The publisher SHOULD close the session with a protocol error if it receives
                // more than one."
                State::Accepted => machine.close(),
                // It crossed with the end.
                State::Over => vec![],
            }
        }
        Step::Withdraw { which, .. } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            let (key, code) = (machine.publications[n].key, StreamResetCode::Cancelled);
            let cancelled = machine.end.with(|engine, now| engine.cancel(now, key, code));
            // "After receiving an PUBLISH_NAMESPACE_CANCEL, the publisher does not send
            // PUBLISH_NAMESPACE_DONE."
            assert_eq!(cancelled.is_ok(), machine.publications[n].is_live(), "{cancelled:?}");
            if cancelled.is_ok() {
                machine.ended_here(n, Said::Done);
            }
            vec![]
        }
        Step::Revoke { which, how } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            if machine.has_streams() {
                return machine.end_stream(n, how);
            }
            let Publication { id, ref name, .. } = machine.publications[n];
            let cancel = Message::PublishNamespaceCancel(PublishNamespaceCancel {
                target: say::published_namespace(machine.draft, id, name),
                code: RequestErrorCode::ExpiredAuthToken,
                reason: "old".into(),
            });
            // "to revoke acceptance": by name it is not for one that was not accepted, but for
            // one before it, with whose end it crossed.
            let of = if machine.draft == Draft::D14 {
                let accepted =
                    |known: &Publication| known.state == State::Accepted && known.name == *name;
                machine.publications.iter().position(accepted)
            } else {
                Some(n).filter(|n| machine.publications[*n].is_live())
            };
            machine.end.say(machine.end.control, &cancel);
            let Some(n) = of else { return vec![] };
            machine.publications[n].state = State::Over;
            vec![Saw::Cancelled(n, Some("old".into()))]
        }
        Step::Wait { millis } => {
            machine.end.wait(Duration::from_millis(millis));
            let mut saw = vec![];
            for n in 0..machine.publications.len() {
                let state = machine.publications[n].state;
                if matches!(state, State::Pending { until } if until <= machine.end.now) {
                    machine.ended_here(n, Said::Done);
                    saw.push(Saw::Rejected(n));
                }
            }
            saw
        }
    }
}

/// The peer publishes.
fn subscriber(machine: &mut Machine, step: Step) -> Vec<Saw> {
    match step {
        Step::Publish { name } => {
            let id = machine.end.fresh_id();
            let on = machine.end.request(&say::publish_namespace(id, name));
            let Some(Event::Request { request, .. }) = machine.end.events.last() else {
                panic!("{:?}", machine.end.events)
            };
            let key = *request;
            let name = say::namespace(name);
            let n = machine.add(key, id, on, name.clone());
            vec![Saw::Asked(n, name)]
        }
        Step::Accept { which } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            let key = machine.publications[n].key;
            let accepted = machine.end.with(|e, now| e.accept(now, key, Accept::default()));
            // "A subscriber MUST send exactly one"
            assert_eq!(accepted.is_ok(), machine.publications[n].is_pending(), "{accepted:?}");
            if accepted.is_ok() {
                machine.publications[n].state = State::Accepted;
                machine.unsaid.push((n, Said::Ok));
            }
            vec![]
        }
        Step::Refuse { which } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            let Publication { key, on, .. } = machine.publications[n];
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            let refused = machine.end.with(|engine, now| engine.reject(now, key, refusal));
            assert_eq!(refused.is_ok(), machine.publications[n].is_pending(), "{refused:?}");
            if refused.is_ok() {
                // "it SHOULD send a REQUEST_ERROR and FIN the stream"
                assert!(!machine.has_streams() || machine.end.did(&Output::Fin(on)));
                machine.fin(n);
                machine.publications[n].state = State::Over;
                machine.unsaid.push((n, Said::Error));
            }
            vec![]
        }
        Step::Withdraw { which, how } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            if machine.has_streams() {
                return machine.end_stream(n, how);
            }
            let Publication { id, ref name, .. } = machine.publications[n];
            let target = say::published_namespace(machine.draft, id, name);
            // By name it is for one of those that have it; the oldest here.
            let of = if machine.draft == Draft::D14 {
                let named = |known: &Publication| known.is_live() && known.name == *name;
                machine.publications.iter().position(named)
            } else {
                Some(n).filter(|n| machine.publications[*n].is_live())
            };
            machine.end.say(machine.end.control, &Message::PublishNamespaceDone(target));
            let Some(n) = of else { return vec![] };
            machine.publications[n].state = State::Over;
            vec![Saw::Cancelled(n, None)]
        }
        Step::Revoke { which, .. } => {
            let Some(n) = machine.choose(which) else { return vec![] };
            let key = machine.publications[n].key;
            let code = RequestErrorCode::ExpiredAuthToken;
            let revoked = machine
                .end
                .with(|engine, now| engine.cancel_publish_namespace(now, key, code, "old"));
            match machine.publications[n].state {
                State::Accepted => {
                    assert_eq!(revoked, Ok(()));
                    machine.ended_here(n, Said::Cancel);
                }
                State::Pending { .. } => {
                    assert!(matches!(revoked, Err(CommandError::WrongState(_))), "{revoked:?}");
                }
                State::Over => assert_eq!(revoked, Err(CommandError::Gone)),
            }
            vec![]
        }
        // The application may take its time.
        Step::Wait { millis } => {
            machine.end.wait(Duration::from_millis(millis));
            vec![]
        }
    }
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn a_publisher_knows_which_of_its_namespaces_are_accepted(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        walk(Machine::new(draft, role, publisher), steps)?;
    }

    #[test]
    fn a_subscriber_knows_which_namespaces_are_published(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        walk(Machine::new(draft, role, subscriber), steps)?;
    }
}
