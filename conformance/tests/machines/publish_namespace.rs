//! PUBLISH_NAMESPACE from either side: what is answered, updated, withdrawn, revoked and given
//! up, in any order and with the messages of both ends crossing. Draft 14 withdraws and revokes
//! by name, draft 16 by Request ID, draft 18 by the end of the request's stream.

mod publisher;
mod subscriber;

use moqt_conformance::end::{End, Name};
use moqt_conformance::say;
use moqt_engine::model::{Message, RequestErrorCode, StreamResetCode, TrackNamespace};
use moqt_engine::{
    Config, Draft, Event, IncomingRequest, Limits, Refusal, RequestKey, Role, Timestamp,
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
    /// The publisher changes one.
    Update {
        which: u8,
    },
    /// The peer answers the oldest update without an answer. With an error it ends the request,
    /// or forgets to.
    AnswerUpdate {
        which: u8,
        accepts: bool,
        ends: bool,
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
        4 => select(&NAMES[..]).prop_map(|name| Step::Publish { name }),
        6 => which().prop_map(|which| Step::Accept { which }),
        1 => which().prop_map(|which| Step::Refuse { which }),
        1 => (which(), how()).prop_map(|(which, how)| Step::Withdraw { which, how }),
        1 => (which(), how()).prop_map(|(which, how)| Step::Revoke { which, how }),
        6 => which().prop_map(|which| Step::Update { which }),
        4 => (which(), any::<bool>(), any::<bool>())
            .prop_map(|(which, accepts, ends)| Step::AnswerUpdate { which, accepts, ends }),
        3 => (1..15_000_u64).prop_map(|millis| Step::Wait { millis }),
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
    Updated(usize),
    NotUpdated(usize),
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
    /// These with the update's Request ID.
    Update(u64),
    UpdateOk(u64),
    UpdateError(u64),
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
    /// Updates without an answer, in order.
    updates: Vec<Update>,
    /// An update was refused, and until then the peer has to end the request.
    failed: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Update {
    id: u64,
    /// When it is given up; its answer may still come, and is nothing then.
    until: Timestamp,
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
        config.limits.unanswered_updates = usize::MAX;
        let limits = config.limits.clone();
        let mut end = End::established(draft, role, config);
        end.take_events();
        end.said(end.control);
        Self { end, limits, draft, act, publications: Vec::new(), unsaid: Vec::new() }
    }

    fn has_streams(&self) -> bool {
        self.draft >= Draft::D18
    }

    /// Mostly one that is not over.
    fn choose(&self, which: u8) -> Option<usize> {
        choose(which, &self.publications, |known| which.is_multiple_of(4) || known.is_live())
    }

    fn add(&mut self, key: RequestKey, id: u64, on: Name, name: TrackNamespace) -> usize {
        let state = State::Pending { until: self.answered_until() };
        let (is_silent, updates, failed) = (false, Vec::new(), None);
        let publication = Publication { key, id, on, name, state, is_silent, updates, failed };
        self.publications.push(publication);
        self.publications.len() - 1
    }

    fn answered_until(&self) -> Timestamp {
        self.end.now.saturating_add(self.limits.answer_timeout.unwrap())
    }

    fn over(&mut self, n: usize) {
        let known = &mut self.publications[n];
        (known.state, known.failed) = (State::Over, None);
        if self.draft >= Draft::D18 {
            known.updates.clear();
        }
    }

    /// The connection ends one: it says so, or closes what is open of the request's stream.
    fn ended_here(&mut self, n: usize, said: Said) {
        if self.has_streams() {
            self.assert_stream_ended(n);
        } else {
            self.unsaid.push((n, said));
        }
        self.over(n);
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
        self.over(n);
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
            (Said::Update(id), Message::RequestUpdate(update)) => {
                update.request_id == id && update.existing_request_id == its
            }
            (Said::UpdateOk(id), Message::RequestOk(ok)) => ok.request_id == its.map(|_| id),
            (Said::UpdateError(id), Message::RequestError(error)) => {
                error.request_id == its.map(|_| id)
            }
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
            Event::Updated { request, .. } | Event::UpdateAccepted { request, .. } => {
                Saw::Updated(n(request))
            }
            Event::UpdateRejected { request, .. } => Saw::NotUpdated(n(request)),
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

proptest! {
    #![proptest_config(sequences(400))]

    #[test]
    fn a_publisher_knows_which_of_its_namespaces_are_accepted(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        walk(Machine::new(draft, role, publisher::act), steps)?;
    }

    #[test]
    fn a_subscriber_knows_which_namespaces_are_published(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        walk(Machine::new(draft, role, subscriber::act), steps)?;
    }
}
