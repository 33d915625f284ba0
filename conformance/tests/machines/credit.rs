//! Request credit of drafts 14 and 16 (MAX_REQUEST_ID, REQUESTS_BLOCKED), both ways. Draft 18 has
//! the transport's streams instead.

use moqt_conformance::end::{End, Name};
use moqt_conformance::say;
use moqt_conformance::tokens::{value, with_tokens};
use moqt_engine::model::{
    MaxRequestId, Message, Parameters, RequestErrorCode, RequestKind, SetupOptions, StreamResetCode,
};
use moqt_engine::{
    Accept, Blocked, CommandError, Config, Draft, Event, Refusal, RequestKey, Role, Usage,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{PROTOCOL_VIOLATION, TOO_MANY_REQUESTS, case, sequences};

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

struct Machine {
    end: End,
    draft: Draft,
    /// What the connection allowed the peer, and the peer the connection: one more than the
    /// largest Request ID.
    allowed: u64,
    own_allowed: u64,
    /// Open requests of the peer: key, Request ID, whether accepted, whether it may be updated.
    of_peer: Vec<(RequestKey, u64, bool)>,
    /// Requests of the connection's without an answer, and their Request IDs.
    own: Vec<(RequestKey, u64, Name)>,
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
        let (of_peer, own) = (Vec::new(), Vec::new());
        let mut machine =
            Self { end, draft, allowed, own_allowed, of_peer, own, is_blocked: false };
        // A track that the peer sends already.
        let id = machine.end.fresh_id();
        machine.end.request(&say::publish(id, "sent", 1));
        let Some(Event::Request { request, .. }) = machine.end.take_events().pop() else {
            panic!("no request")
        };
        machine.end.with(|e, now| e.accept(now, request, Accept::default())).unwrap();
        machine.of_peer.push((request, id, true));
        machine.learn();
        machine
    }

    /// Does a step if there is anything to do it to. Whether the session goes on.
    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Begin(kind) => return self.begin(kind),
            Step::Reject { which } => {
                let pending: Vec<_> = self.of_peer.iter().filter(|known| !known.2).collect();
                let Some((key, ..)) = pending.get(usize::from(which) % pending.len().max(1)) else {
                    return true;
                };
                let (key, refusal) = (*key, Refusal::new(RequestErrorCode::Unauthorized));
                self.end.with(|engine, now| engine.reject(now, key, refusal)).unwrap();
                self.of_peer.retain(|known| known.0 != key);
            }
            Step::Accept { which } => {
                let mut pending: Vec<_> = self.of_peer.iter_mut().filter(|k| !k.2).collect();
                let count = pending.len().max(1);
                let Some(known) = pending.get_mut(usize::from(which) % count) else { return true };
                known.2 = true;
                let key = known.0;
                self.end.with(|e, now| e.accept(now, key, Accept::default())).unwrap();
            }
            Step::Update { which } => {
                let (_, of, accepted) = self.of_peer[usize::from(which) % self.of_peer.len()];
                // The first is the peer's own to send; the others it has asked for.
                if !accepted || of == self.of_peer[0].1 {
                    return true;
                }
                let id = self.end.fresh_id();
                let mut changes = Parameters::default();
                changes.subscriber_priority = Some(7);
                if self.draft < Draft::D16 {
                    changes.forward = Some(true);
                    let start = moqt_engine::model::Location::ZERO;
                    changes.subscription_filter =
                        Some(moqt_engine::model::SubscriptionFilter::AbsoluteStart { start });
                }
                self.end.say(self.end.control, &say::update(id, of, changes));
                if id >= self.allowed {
                    assert_eq!(self.end.closed(), Some(TOO_MANY_REQUESTS));
                    return false;
                }
            }
            Step::Ask => self.ask(),
            Step::Refuse { which } => {
                if self.own.is_empty() {
                    return true;
                }
                let (key, id, on) = self.own.remove(usize::from(which) % self.own.len());
                let code = RequestErrorCode::DoesNotExist;
                self.end.say(on, &say::error(id, RequestKind::Subscribe, code));
                let events = self.end.take_events();
                assert!(
                    matches!(events[..], [Event::Rejected { request, .. }] if request == key),
                    "{events:?}"
                );
            }
            Step::Allow { more } => return self.allow(more),
        }
        true
    }

    fn begin(&mut self, kind: Kind) -> bool {
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
            assert_eq!(self.end.closed(), Some(TOO_MANY_REQUESTS));
            return false;
        }
        match self.end.take_events()[..] {
            [Event::Request { request, .. }] => self.of_peer.push((request, id, false)),
            [] => assert!(!matches!(kind, Kind::Subscribe), "{kind:?} was refused"),
            ref other => panic!("{other:?}"),
        }
        true
    }

    fn ask(&mut self) {
        let id = self.end.next_own_id();
        let track = say::track(&format!("t{id}"));
        let asked =
            self.end.with(|engine, now| engine.subscribe(now, &track, &Parameters::default()));
        let said = self.learn();
        let blocked = said.iter().filter(|m| matches!(m, Message::RequestsBlocked(_))).count();
        if id < self.own_allowed {
            self.own.push((asked.unwrap(), id, self.end.own_request()));
            assert_eq!(blocked, 0);
        } else {
            assert_eq!(asked, Err(CommandError::Blocked(Blocked::Requests)));
            // "SHOULD send only one REQUESTS_BLOCKED for a given Maximum Request ID"
            assert_eq!(blocked, usize::from(!self.is_blocked));
            self.is_blocked = true;
        }
    }

    fn allow(&mut self, more: u64) -> bool {
        let max_request_id = self.own_allowed + more;
        let message = Message::MaxRequestId(MaxRequestId { max_request_id });
        self.end.say(self.end.control, &message);
        // "an equal or smaller Request ID it MUST close the session with a PROTOCOL_VIOLATION"
        if more == 0 {
            assert_eq!(self.end.closed(), Some(PROTOCOL_VIOLATION));
            return false;
        }
        self.own_allowed = max_request_id;
        let events = self.end.take_events();
        let expected: &[Event] = if self.is_blocked { &[Event::Unblocked] } else { &[] };
        assert_eq!(events, expected);
        self.is_blocked = false;
        true
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
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn there_is_credit_for_as_many_requests_as_may_be_open(
        (draft, role) in case(),
        steps in vec(step(), 1..60),
    ) {
        if draft >= Draft::D18 {
            return Ok(());
        }
        let mut machine = Machine::new(draft, role);
        for step in steps {
            if !machine.step(step) {
                prop_assert_eq!(machine.end.engine.usage(), Usage::default());
                return Ok(());
            }
            machine.end.take_events();
            machine.check();
            prop_assert_eq!(machine.end.closed(), None, "after {:?}", step);
        }
        let code = StreamResetCode::Cancelled;
        for (key, ..) in machine.own {
            machine.end.with(|engine, now| engine.cancel(now, key, code)).unwrap();
        }
    }
}
