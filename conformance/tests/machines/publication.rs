//! A publisher whose subscriber asks, changes its mind, stops streams and ends as it likes:
//! which objects go out, and what is said.

mod objects;
mod reference;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::say;
use moqt_engine::model::{
    Location, Message, Parameters, PublishDoneCode, RequestErrorCode, RequestKind, StreamResetCode,
    SubscriptionFilter,
};
use moqt_engine::{Config, Draft, Event, Refusal, RequestKey, Role};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use self::reference::{State, Subscription, Wish};
use crate::{PROTOCOL_VIOLATION, Reference, case, choose, sequences, walk};

/// What either end does next. Numbers choose among the subscriptions or streams there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The peer subscribes to a track.
    Subscribe {
        track: u8,
        wish: Wish,
    },
    Accept {
        which: u8,
        largest: Option<Location>,
        expires: Option<u64>,
    },
    Reject {
        which: u8,
    },
    /// We offer a track.
    Publish {
        track: u8,
        forward: bool,
        expires: Option<u64>,
    },
    /// The peer answers that.
    PeerAccepts {
        which: u8,
        wish: Wish,
    },
    PeerRefuses {
        which: u8,
    },
    Update {
        which: u8,
        wish: Wish,
    },
    Object {
        which: u8,
        group: u64,
        subgroup: u64,
        jump: u64,
    },
    Datagram {
        which: u8,
        group: u64,
        jump: u64,
    },
    Finish {
        which: u8,
    },
    Reset {
        which: u8,
    },
    /// The peer wants no more of a subgroup.
    Stop {
        which: u8,
    },
    Done {
        which: u8,
    },
    /// The peer cancels.
    Cancel {
        which: u8,
    },
    /// The transport takes nothing until the next of these.
    Stall,
    Wait {
        millis: u64,
    },
}

fn location() -> impl Strategy<Value = Location> {
    (0..3_u64, 0..4_u64).prop_map(|(group, object)| Location::new(group, object))
}

fn wish() -> impl Strategy<Value = Wish> {
    let filter = prop_oneof![
        1 => Just(SubscriptionFilter::NextGroupStart),
        1 => Just(SubscriptionFilter::LargestObject),
        2 => location().prop_map(|start| SubscriptionFilter::AbsoluteStart { start }),
        3 => (location(), 0..3_u64).prop_map(|(start, more)| {
            SubscriptionFilter::AbsoluteRange { start, end_group: start.group + more }
        }),
    ];
    (option::of(filter), option::of(any::<bool>()))
        .prop_map(|(filter, forward)| Wish { filter, forward })
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    let expires = || option::weighted(0.2, 1..2_000_u64);
    prop_oneof![
        2 => (0..2_u8, wish()).prop_map(|(track, wish)| Step::Subscribe { track, wish }),
        4 => (which(), option::of(location()), expires())
            .prop_map(|(which, largest, expires)| Step::Accept { which, largest, expires }),
        1 => which().prop_map(|which| Step::Reject { which }),
        2 => (0..2_u8, any::<bool>(), expires())
            .prop_map(|(track, forward, expires)| Step::Publish { track, forward, expires }),
        2 => (which(), wish()).prop_map(|(which, wish)| Step::PeerAccepts { which, wish }),
        1 => which().prop_map(|which| Step::PeerRefuses { which }),
        5 => (which(), wish()).prop_map(|(which, wish)| Step::Update { which, wish }),
        18 => (which(), 0..4_u64, 0..2_u64, 0..2_u64).prop_map(|(which, group, subgroup, jump)| {
            Step::Object { which, group, subgroup, jump }
        }),
        2 => (which(), 0..4_u64, 0..2_u64)
            .prop_map(|(which, group, jump)| Step::Datagram { which, group, jump }),
        6 => which().prop_map(|which| Step::Finish { which }),
        1 => which().prop_map(|which| Step::Reset { which }),
        1 => which().prop_map(|which| Step::Stop { which }),
        1 => which().prop_map(|which| Step::Done { which }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        2 => Just(Step::Stall),
        1 => (1..1_500_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the application is told, or the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Requested(usize),
    Accepted(usize),
    Rejected(usize),
    Updated(usize),
    Stopped(usize),
    Cancelled(usize),
    Expired(usize),
    Closed,
}

/// What the peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Ok { largest: Option<Location>, expires: Option<u64> },
    Error(RequestErrorCode),
    UpdateOk { largest: Option<Location>, expires: Option<u64> },
    Done(PublishDoneCode, u64),
}

struct Machine {
    end: End,
    draft: Draft,
    subscriptions: Vec<Subscription>,
    /// What the peer has to be told, by subscription.
    unsaid: Vec<(usize, Said)>,
    /// Request IDs, those of updates too.
    ids: BTreeMap<u64, usize>,
}

/// The track of a subscription that was refused at once.
const REFUSED: u8 = u8::MAX;

impl Machine {
    fn new(draft: Draft, role: Role) -> Self {
        let mut config = Config::default();
        config.limits.answer_timeout = None;
        config.limits.churn_burst = u32::MAX;
        let mut end = End::established(draft, role, config);
        end.take_events();
        end.said(end.control);
        let (subscriptions, unsaid, ids) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { end, draft, subscriptions, unsaid, ids }
    }

    fn choose(&self, which: u8, fits: impl Fn(&Subscription) -> bool) -> Option<usize> {
        choose(which, &self.subscriptions, fits)
    }

    fn done(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = self.choose(which, Subscription::may_send) else { return vec![] };
        let key = self.subscriptions[n].key;
        let code = StreamResetCode::Cancelled;
        assert!(self.end.with(|engine, now| engine.cancel(now, key, code)).is_err());
        self.end.with(|engine, _| {
            engine.publisher(key).unwrap().done(PublishDoneCode::TrackEnded, "");
        });
        assert!(self.end.engine.publisher(key).is_none());
        self.end_with(n, PublishDoneCode::TrackEnded, false);
        vec![]
    }

    /// "The Publisher can destroy subscription state as soon as it has received STOP_SENDING. It
    /// MUST reset any open streams associated with the SUBSCRIBE."
    fn cancel(&mut self, which: u8) -> Vec<Saw> {
        let by_stream = self.draft >= Draft::D18;
        let fits = |known: &Subscription| {
            known.is_live() && (by_stream || !known.ours || known.is_answered)
        };
        let Some(n) = self.choose(which, fits) else { return vec![] };
        let Subscription { id, on, state, .. } = self.subscriptions[n];
        if by_stream {
            self.end.stop(on, 1);
            // What was not sent is lost.
            self.unsaid.retain(|(of, _)| *of != n);
        } else {
            self.end.say(self.end.control, &say::unsubscribe(id));
        }
        self.subscriptions[n].is_answered = true;
        self.over(n);
        let is_told = matches!(state, State::Ending { is_told: true, .. });
        if is_told { vec![] } else { vec![Saw::Cancelled(n)] }
    }

    fn over(&mut self, n: usize) {
        let known = &mut self.subscriptions[n];
        known.state = State::Over;
        for stream in core::mem::take(&mut known.open) {
            assert!(self.end.was_reset(stream.name));
        }
        let left = known.datagrams.len() - core::mem::take(&mut known.queued);
        known.datagrams.truncate(left);
    }

    /// "A sender MUST NOT send PUBLISH_DONE until it has closed all streams it will ever open, and
    /// has no further datagrams to send, for a subscription."
    fn end_with(&mut self, n: usize, code: PublishDoneCode, is_told: bool) {
        let known = &mut self.subscriptions[n];
        known.state = State::Ending { code, is_told };
        known.expiry = known.expiry.filter(|_| code == PublishDoneCode::TrackEnded);
        for stream in known.open.extract_if(.., |stream| !stream.is_finished) {
            assert!(self.end.was_reset(stream.name));
        }
        self.settle();
    }

    /// What was finished is closed if the transport takes it, and what waited for that ends.
    fn settle(&mut self) {
        for (n, known) in self.subscriptions.iter_mut().enumerate() {
            if self.end.takes_data {
                known.open.retain(|stream| !stream.is_finished);
                known.queued = 0;
            }
            if let State::Ending { code, .. } = known.state
                && known.open.is_empty()
                && known.queued == 0
            {
                known.state = State::Over;
                self.unsaid.push((n, Said::Done(code, known.streams.len() as u64)));
            }
        }
    }

    fn stall(&mut self) -> Vec<Saw> {
        if self.end.takes_data {
            self.end.takes_data = false;
            return vec![];
        }
        self.end.takes_data = true;
        self.settle();
        while self.end.take_turn(usize::MAX).is_some() {
            self.hear();
        }
        self.end.drain();
        vec![]
    }

    /// "Expires: Time in milliseconds after which the subscription is no longer valid."
    fn wait(&mut self, time: Duration) -> Vec<Saw> {
        self.end.wait(time);
        let mut saw = vec![];
        for n in 0..self.subscriptions.len() {
            let known = &self.subscriptions[n];
            let is_due = known.expiry.is_some_and(|(_, at)| at <= self.end.now);
            if is_due && known.may_send() {
                self.end_with(n, PublishDoneCode::Expired, true);
                saw.push(Saw::Expired(n));
            }
        }
        saw
    }

    fn close(&mut self) -> Vec<Saw> {
        assert_eq!(self.end.closed(), Some(PROTOCOL_VIOLATION));
        vec![Saw::Closed]
    }

    /// What was said to the peer is what was to be said next.
    fn hear(&mut self) {
        let mut said = Vec::new();
        if self.draft >= Draft::D18 {
            for n in 0..self.subscriptions.len() {
                let messages = self.end.said(self.subscriptions[n].on);
                said.extend(messages.into_iter().map(|message| (Some(n), message)));
            }
        } else {
            let messages = self.end.said(self.end.control);
            said.extend(messages.into_iter().map(|message| (None, message)));
        }
        for (n, message) in said {
            let (id, said) = match message {
                Message::SubscribeOk(ok) => {
                    let n = n.unwrap_or_else(|| self.ids[&ok.request_id.unwrap()]);
                    self.announce(n, ok.track_alias);
                    let Parameters { largest_object: largest, expires, .. } = ok.parameters;
                    (ok.request_id, Said::Ok { largest, expires: expires.filter(|ms| *ms > 0) })
                }
                Message::RequestOk(ok) => {
                    let Parameters { largest_object: largest, expires, .. } = ok.parameters;
                    (ok.request_id, Said::UpdateOk { largest, expires })
                }
                Message::RequestError(error) => (error.request_id, Said::Error(error.code)),
                Message::PublishDone(done) => {
                    (done.request_id, Said::Done(done.code, done.stream_count))
                }
                Message::MaxRequestId(_) => continue,
                other => panic!("{other:?}"),
            };
            let n = n.unwrap_or_else(|| self.ids[&id.unwrap()]);
            let at = self.unsaid.iter().position(|(of, _)| *of == n);
            let expected = at.map(|at| self.unsaid.remove(at).1);
            assert_eq!(expected, Some(said), "{n}");
            if matches!(said, Said::Done(..)) {
                let known = &self.subscriptions[n];
                let closed =
                    |name: &Name| self.end.did(&Output::Fin(*name)) || self.end.was_reset(*name);
                assert!(known.streams.iter().all(closed), "all streams are closed");
                let sent = self.sent_datagrams(known.alias);
                assert_eq!(sent.len(), known.datagrams.len(), "all datagrams are sent");
            }
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
        match step {
            Step::Subscribe { track, wish } => self.subscribe(track, wish),
            Step::Accept { which, largest, expires } => self.accept(which, largest, expires),
            Step::Reject { which } => self.reject(which),
            Step::Publish { track, forward, expires } => self.publish(track, forward, expires),
            Step::PeerAccepts { which, wish } => self.peer_accepts(which, wish),
            Step::PeerRefuses { which } => self.peer_refuses(which),
            Step::Update { which, wish } => self.update(which, wish),
            Step::Object { which, group, subgroup, jump } => {
                self.object(which, (group, subgroup), jump)
            }
            Step::Datagram { which, group, jump } => self.datagram(which, group, jump),
            Step::Finish { which } => self.finish_stream(which),
            Step::Reset { which } => self.reset(which),
            Step::Stop { which } => self.stop(which),
            Step::Done { which } => self.done(which),
            Step::Cancel { which } => self.cancel(which),
            Step::Stall => self.stall(),
            Step::Wait { millis } => self.wait(Duration::from_millis(millis)),
        }
    }

    fn is_in_any_order(step: &Step) -> bool {
        matches!(step, Step::Wait { .. })
    }

    fn see(&self, event: &Event) -> Saw {
        let n = |key: &RequestKey| {
            let is_it = |known: &Subscription| known.track != REFUSED && known.key == *key;
            self.subscriptions.iter().rposition(is_it).expect("known")
        };
        match event {
            Event::Request { request, .. } => Saw::Requested(n(request)),
            Event::Accepted { request, .. } => Saw::Accepted(n(request)),
            Event::Rejected { request, .. } => Saw::Rejected(n(request)),
            Event::Updated { request, .. } => Saw::Updated(n(request)),
            Event::SubgroupStopped { request, .. } => Saw::Stopped(n(request)),
            Event::Cancelled { request, .. } => Saw::Cancelled(n(request)),
            Event::Expired { request } => Saw::Expired(n(request)),
            Event::Closed { .. } => Saw::Closed,
            other => panic!("{other:?}"),
        }
    }

    fn live(&self) -> usize {
        self.subscriptions.iter().filter(|known| known.is_live()).count()
    }

    /// "Objects matching the subscription are forwarded to the subscriber" and no others: those
    /// on streams that are open are what was to be sent.
    fn check(&mut self) {
        self.hear();
        if !self.end.takes_data {
            return;
        }
        assert_eq!(self.unsaid, []);
        for known in self.subscriptions.iter().filter(|known| known.is_live()) {
            for stream in &known.open {
                self.assert_sent(known, stream);
            }
            let mut sent = self.sent_datagrams(known.alias);
            let mut expected = known.datagrams.clone();
            sent.sort_unstable();
            expected.sort_unstable();
            assert_eq!(sent, expected);
        }
    }

    fn finish(&mut self) {
        if !self.end.takes_data {
            self.stall();
            self.hear();
        }
        let code = RequestErrorCode::DoesNotExist;
        for n in 0..self.subscriptions.len() {
            let key = self.subscriptions[n].key;
            let refusal = Refusal::new(code);
            let _ = self.end.with(|engine, now| engine.reject(now, key, refusal));
            self.end.with(|engine, _| {
                if let Some(publisher) = engine.publisher(key) {
                    publisher.done(PublishDoneCode::TrackEnded, "");
                }
            });
        }
        for known in &self.subscriptions {
            let Subscription { id, on, .. } = *known;
            if known.ours && !known.is_answered {
                self.end.say(on, &say::ok(id, RequestKind::Publish));
            }
            if self.draft >= Draft::D18 {
                self.end.fin(on);
            }
        }
    }
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn a_publisher_sends_what_is_wanted_and_says_what_it_did(
        (draft, role) in case(),
        steps in vec(step(), 1..80),
    ) {
        walk(Machine::new(draft, role), steps)?;
    }
}
