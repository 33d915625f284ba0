//! Request credit of drafts 14 and 16 (MAX_REQUEST_ID, REQUESTS_BLOCKED), both ways. Draft 18 has
//! the transport's streams instead.

use moqt_conformance::end::{End, Name};
use moqt_conformance::say;
use moqt_conformance::tokens::{value, with_tokens};
use moqt_engine::model::{
    Location, MaxRequestId, Message, Parameters, PublishDoneCode, RequestErrorCode, RequestKind,
    SetupOptions, StreamResetCode, SubscriptionFilter,
};
use moqt_engine::{Accept, Blocked, CommandError, Config, Draft, Event, Refusal, RequestKey, Role};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{PROTOCOL_VIOLATION, Reference, TOO_MANY_REQUESTS, case, choose, sequences, walk};

/// Requests that may be open at a time, either way at first.
const OPEN: u64 = 4;

/// What either end does next. Numbers choose among the requests there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The peer begins a request.
    Begin(Kind),
    /// The connection refuses one, or accepts it.
    Reject {
        which: u8,
    },
    Accept {
        which: u8,
    },
    /// The peer updates one.
    Update {
        which: u8,
    },
    /// The connection begins a request.
    Ask,
    /// The peer refuses one.
    Refuse {
        which: u8,
    },
    /// The peer sets MAX_REQUEST_ID that much higher (or not).
    Allow {
        more: u64,
    },
}

/// Some that come to the application, and some that the connection refuses itself.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Subscribe,
    /// To be sent a track that is being sent.
    PublishAgain,
    /// One more than may be open of its kind.
    NamespaceTooMany,
    /// "the same token" twice (draft-16), refused there.
    TokenTwice,
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    let kind = prop_oneof![
        Just(Kind::Subscribe),
        Just(Kind::PublishAgain),
        Just(Kind::NamespaceTooMany),
        Just(Kind::TokenTwice)
    ];
    prop_oneof![
        8 => kind.prop_map(Step::Begin),
        2 => which().prop_map(|which| Step::Reject { which }),
        2 => which().prop_map(|which| Step::Accept { which }),
        1 => which().prop_map(|which| Step::Update { which }),
        4 => Just(Step::Ask),
        2 => which().prop_map(|which| Step::Refuse { which }),
        2 => (0..4_u64).prop_map(|more| Step::Allow { more }),
    ]
}

/// What the application is told, of which Request ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Saw {
    Requested(u64),
    Updated(u64),
    Rejected(u64),
    Unblocked,
    Closed,
}

/// A request of the peer's that is open.
#[derive(Clone, Copy, Debug)]
struct OfPeer {
    key: RequestKey,
    id: u64,
    is_accepted: bool,
}

/// A request of the connection's without an answer.
#[derive(Clone, Copy, Debug)]
struct Own {
    key: RequestKey,
    id: u64,
    on: Name,
}

struct Machine {
    end: End,
    draft: Draft,
    /// What the connection allowed the peer, and the peer the connection: one more than the
    /// largest Request ID.
    allowed: u64,
    own_allowed: u64,
    /// The first is a track that the peer sends, the others tracks that it asks for.
    of_peer: Vec<OfPeer>,
    own: Vec<Own>,
    /// The one that the peer refused last.
    refused: Option<Own>,
    /// Whether a request was refused for want of credit since there was some.
    is_blocked: bool,
}

impl Machine {
    fn new(draft: Draft, role: Role) -> Self {
        let mut config = Config::default();
        config.limits.open_requests = u32::try_from(OPEN).unwrap();
        config.limits.open_publish_namespaces = 0;
        let mut end = End::new(draft, role, config);
        let mut options = SetupOptions::default();
        let own_allowed = end.next_own_id() + 2 * OPEN;
        options.max_request_id = Some(own_allowed);
        end.data(end.control, say::setup(draft, role.peer(), options));
        let said = end.said(end.control);
        let Some(Message::Setup(setup)) = said.first() else { panic!("{said:?}") };
        let allowed = setup.options.max_request_id.expect("some credit");
        end.take_events();
        let (of_peer, own, refused) = (Vec::new(), Vec::new(), None);
        let mut machine =
            Self { end, draft, allowed, own_allowed, of_peer, own, refused, is_blocked: false };
        let id = machine.end.fresh_id();
        machine.end.request(&say::publish(id, "sent", 1));
        let key = machine.told_last();
        machine.end.with(|e, now| e.accept(now, key, Accept::default())).unwrap();
        machine.of_peer.push(OfPeer { key, id, is_accepted: true });
        machine.learn();
        machine.end.take_events();
        machine
    }

    fn told_last(&self) -> RequestKey {
        match self.end.events.last() {
            Some(Event::Request { request, .. }) => *request,
            other => panic!("no request but {other:?}"),
        }
    }

    fn begin(&mut self, kind: Kind) -> Vec<Saw> {
        let id = self.end.fresh_id();
        let message = match kind {
            Kind::Subscribe => say::subscribe(id, &format!("t{id}")),
            Kind::PublishAgain => say::publish(id, "sent", 2),
            Kind::NamespaceTooMany => say::publish_namespace(id, "t"),
            Kind::TokenTwice => {
                let tokens = with_tokens(&[value("x"), value("x")]);
                say::subscribe_with(id, &format!("t{id}"), tokens)
            }
        };
        self.end.request(&message);
        // "If a Request ID equal to or larger than this is received [...] the endpoint MUST close
        // the session with an error of TOO_MANY_REQUESTS." (draft-16, "MAX_REQUEST_ID")
        if id >= self.allowed {
            return self.close(TOO_MANY_REQUESTS);
        }
        let is_refused = match kind {
            Kind::Subscribe => false,
            Kind::PublishAgain | Kind::NamespaceTooMany => true,
            // Draft 14 says nothing of it.
            Kind::TokenTwice => self.draft >= Draft::D16,
        };
        if is_refused {
            return vec![];
        }
        let key = self.told_last();
        self.of_peer.push(OfPeer { key, id, is_accepted: false });
        vec![Saw::Requested(id)]
    }

    fn reject(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = choose(which, &self.of_peer, |known| !known.is_accepted) else {
            return vec![];
        };
        let (key, refusal) = (self.of_peer[n].key, Refusal::new(RequestErrorCode::Unauthorized));
        self.end.with(|engine, now| engine.reject(now, key, refusal)).unwrap();
        self.of_peer.remove(n);
        vec![]
    }

    fn accept(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = choose(which, &self.of_peer, |known| !known.is_accepted) else {
            return vec![];
        };
        let key = self.of_peer[n].key;
        self.end.with(|e, now| e.accept(now, key, Accept::default())).unwrap();
        self.of_peer[n].is_accepted = true;
        vec![]
    }

    fn update(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = choose(which, &self.of_peer[1..], |known| known.is_accepted) else {
            return vec![];
        };
        let (id, of) = (self.end.fresh_id(), self.of_peer[1 + n].id);
        let mut changes = Parameters::default();
        changes.subscriber_priority = Some(7);
        if self.draft < Draft::D16 {
            changes.forward = Some(true);
            let start = Location::ZERO;
            changes.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
        }
        self.end.say(self.end.control, &say::update(id, of, changes));
        if id >= self.allowed {
            return self.close(TOO_MANY_REQUESTS);
        }
        vec![Saw::Updated(of)]
    }

    fn refuse(&mut self, which: u8) -> Vec<Saw> {
        let Some(n) = choose(which, &self.own, |_| true) else { return vec![] };
        let Own { id, on, .. } = *self.refused.insert(self.own.remove(n));
        let code = RequestErrorCode::DoesNotExist;
        self.end.say(on, &say::error(id, RequestKind::Subscribe, code));
        vec![Saw::Rejected(id)]
    }

    fn ask(&mut self) -> Vec<Saw> {
        let id = self.end.next_own_id();
        let track = say::track(&format!("t{id}"));
        let asked =
            self.end.with(|engine, now| engine.subscribe(now, &track, &Parameters::default()));
        let said = self.learn();
        let blocked = said.iter().filter(|m| matches!(m, Message::RequestsBlocked(_))).count();
        if id < self.own_allowed {
            self.own.push(Own { key: asked.unwrap(), id, on: self.end.own_request() });
            assert_eq!(blocked, 0);
        } else {
            assert_eq!(asked, Err(CommandError::Blocked(Blocked::Requests)));
            // "SHOULD send only one REQUESTS_BLOCKED for a given Maximum Request ID"
            assert_eq!(blocked, usize::from(!self.is_blocked));
            self.is_blocked = true;
        }
        vec![]
    }

    fn allow(&mut self, more: u64) -> Vec<Saw> {
        let max_request_id = self.own_allowed + more;
        let message = Message::MaxRequestId(MaxRequestId { max_request_id });
        self.end.say(self.end.control, &message);
        // "an equal or smaller Request ID it MUST close the session with a PROTOCOL_VIOLATION"
        if more == 0 {
            return self.close(PROTOCOL_VIOLATION);
        }
        self.own_allowed = max_request_id;
        let is_blocked = core::mem::take(&mut self.is_blocked);
        if is_blocked { vec![Saw::Unblocked] } else { vec![] }
    }

    fn close(&mut self, code: u64) -> Vec<Saw> {
        assert_eq!(self.end.closed(), Some(code));
        vec![Saw::Closed]
    }

    /// Takes what the connection has said, and what of it is new credit.
    fn learn(&mut self) -> Vec<Message> {
        let said = self.end.said(self.end.control);
        for message in &said {
            if let Message::MaxRequestId(max) = message {
                assert!(max.max_request_id > self.allowed, "it only increases");
                self.allowed = max.max_request_id;
            }
        }
        said
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
            Step::Begin(kind) => self.begin(kind),
            Step::Reject { which } => self.reject(which),
            Step::Accept { which } => self.accept(which),
            Step::Update { which } => self.update(which),
            Step::Ask => self.ask(),
            Step::Refuse { which } => self.refuse(which),
            Step::Allow { more } => self.allow(more),
        }
    }

    fn see(&self, event: &Event) -> Saw {
        let id = |key: &RequestKey| {
            let of_peer = self.of_peer.iter().map(|known| (known.key, known.id));
            let own = self.own.iter().chain(&self.refused).map(|known| (known.key, known.id));
            of_peer.chain(own).find(|known| known.0 == *key).expect("known").1
        };
        match event {
            Event::Request { request, .. } => Saw::Requested(id(request)),
            Event::Updated { request, .. } => Saw::Updated(id(request)),
            Event::Rejected { request, .. } => Saw::Rejected(id(request)),
            Event::Unblocked => Saw::Unblocked,
            Event::Closed { .. } => Saw::Closed,
            other => panic!("{other:?}"),
        }
    }

    /// All but the one that is there from the beginning.
    fn live(&self) -> usize {
        self.of_peer.len() - 1 + self.own.len()
    }

    /// A peer with fewer open requests than it may have can begin one more, and cannot have more
    /// open than that.
    fn check(&mut self) {
        self.learn();
        let (open, left) = (
            self.of_peer.len() as u64,
            (self.allowed.saturating_sub(self.end.peer_id)).div_ceil(2),
        );
        assert!(left > 0 || open >= OPEN, "{open} of {OPEN} are open, and there is no credit");
        assert!(open + left <= OPEN, "{open} are open, and {left} more are allowed");
    }

    fn finish(&mut self) {
        for OfPeer { key, is_accepted, .. } in self.of_peer.split_off(1) {
            self.end.with(|engine, now| {
                if is_accepted {
                    engine.publisher(key).unwrap().done(PublishDoneCode::TrackEnded, "");
                } else {
                    let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                    engine.reject(now, key, refusal).unwrap();
                }
            });
        }
        for Own { key, .. } in self.own.drain(..) {
            let code = StreamResetCode::Cancelled;
            self.end.with(|engine, now| engine.cancel(now, key, code)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn there_is_credit_for_as_many_requests_as_may_be_open(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        if draft < Draft::D18 {
            walk(Machine::new(draft, role), steps)?;
        }
    }
}
