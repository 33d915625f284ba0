//! Authorization tokens between two connections whose streams arrive in any order against each
//! other: whatever the one lets its application register, use and delete, the other never finds
//! a fault in it, and knows each token that it is meant to.

use std::collections::{BTreeMap, VecDeque};

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::say;
use moqt_conformance::tokens::{delete, register, use_alias, value, with_tokens};
use moqt_engine::model::{
    AuthToken, Parameters, RequestErrorCode, StreamResetCode, SubscriptionFilter,
};
use moqt_engine::{
    Accept, CommandError, Config, Dir, Draft, Event, IncomingRequest, Refusal, RequestKey, Role,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{case, sequences};

/// Room for two tokens of four bytes, and not for a third.
const CACHE: u64 = 2 * 16 + 8;

/// What either application or the network does next. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Ask(Vec<Token>),
    Update {
        which: u8,
        tokens: Vec<Token>,
    },
    Cancel {
        which: u8,
    },
    Accept {
        which: u8,
    },
    Reject {
        which: u8,
    },
    /// What one end sent next on some stream arrives, or its reset before anything else.
    Deliver {
        to_server: bool,
        which: u8,
        overtakes: bool,
    },
}

/// A token among few, so that they meet.
#[derive(Clone, Copy, Debug)]
enum Token {
    Register(u64),
    Use(u64),
    Delete(u64),
    Value(u64),
}

const VALUES: [&str; 3] = ["zero", "one", "2"];

impl Token {
    fn token(self) -> AuthToken {
        let of = |n: u64| VALUES[usize::try_from(n).unwrap()];
        match self {
            Self::Register(alias) => register(alias, of(alias)),
            Self::Use(alias) => use_alias(alias),
            Self::Delete(alias) => delete(alias),
            Self::Value(n) => value(of(n)),
        }
    }

    /// What the peer's application must see of it: an alias always stands for the same here.
    fn seen(self) -> Option<AuthToken> {
        match self {
            Self::Register(n) | Self::Use(n) | Self::Value(n) => Some(Self::Value(n).token()),
            Self::Delete(_) => None,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<u8>;
    let token = || {
        (0..4_u8, 0..3_u64).prop_map(|(kind, alias)| match kind {
            0 => Token::Register(alias),
            1 => Token::Use(alias),
            2 => Token::Delete(alias),
            _ => Token::Value(alias),
        })
    };
    prop_oneof![
        6 => vec(token(), 1..3).prop_map(Step::Ask),
        2 => (which(), vec(token(), 1..3)).prop_map(|(which, tokens)| Step::Update { which, tokens }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        2 => which().prop_map(|which| Step::Accept { which }),
        2 => which().prop_map(|which| Step::Reject { which }),
        12 => (any::<bool>(), which(), any::<bool>()).prop_map(
            |(to_server, which, overtakes)| Step::Deliver { to_server, which, overtakes }
        ),
    ]
}

/// Two ends, and what is on its way between them: per stream in order, and in no order between
/// streams.
struct Pair {
    ends: [End; 2],
    /// How much of each end's output has been put on its way.
    sent: [usize; 2],
    ways: [BTreeMap<Name, VecDeque<Output>>; 2],
    /// What each end calls a stream of the other's.
    names: [BTreeMap<Name, Name>; 2],
}

impl Pair {
    fn new(draft: Draft, asking: Role) -> Self {
        let ends = [asking, asking.peer()].map(|role| {
            let mut config = Config::default();
            config.limits.auth_token_cache = Some(CACHE);
            End::new(draft, role, config)
        });
        let names = [0, 1].map(|at: usize| {
            // The control streams are there on either side.
            let (control, other) = (ends[at].control, ends[1 - at].control);
            if draft.dialect().answers_by_stream {
                [(Name { ours: true, n: 0 }, control)].into()
            } else {
                [(other, control)].into()
            }
        });
        let mut pair = Self { ends, sent: [0, 0], ways: Default::default(), names };
        pair.deliver_all();
        assert!(pair.ends.iter().all(|end| end.engine.is_established()));
        pair.ends.iter_mut().for_each(|end| drop(end.take_events()));
        pair
    }

    /// Puts on its way what the ends have sent.
    fn collect(&mut self) {
        for at in [0, 1] {
            for output in &self.ends[at].outputs[self.sent[at]..] {
                let name = match output {
                    Output::Open(name, Dir::Bi | Dir::Uni)
                    | Output::Data(name, _)
                    | Output::Fin(name)
                    | Output::Reset(name, _)
                    | Output::Stop(name, _) => *name,
                    other => panic!("{other:?}"),
                };
                self.ways[at].entry(name).or_default().push_back(output.clone());
            }
            self.sent[at] = self.ends[at].outputs.len();
        }
    }

    /// What end `at` sent first on one of its streams arrives. Whether there was anything.
    fn deliver(&mut self, at: usize, which: u8, overtakes: bool) -> bool {
        self.collect();
        self.ways[at].retain(|_, way| !way.is_empty());
        let count = self.ways[at].len().max(1);
        let Some((name, way)) = self.ways[at].iter_mut().nth(usize::from(which) % count) else {
            return false;
        };
        let reset = way.iter().position(|output| matches!(output, Output::Reset(..)));
        if let Some(reset) = reset.filter(|_| overtakes) {
            let is_data = |output: &Output| matches!(output, Output::Data(..) | Output::Fin(_));
            let mut at = 0..;
            way.retain(|output| at.next().unwrap() > reset || !is_data(output));
        }
        let (name, output) = (*name, way.pop_front().unwrap());
        let to = 1 - at;
        let end = &mut self.ends[to];
        let known = self.names[to].get(&name).copied();
        match output {
            Output::Open(_, dir) if known.is_none() => {
                let its = end.open(dir);
                self.names[to].insert(name, its);
                self.names[at].insert(its, name);
            }
            Output::Open(..) => {}
            Output::Data(_, bytes) => end.data(known.unwrap(), bytes),
            Output::Fin(_) => end.fin(known.unwrap()),
            Output::Reset(_, code) => end.reset(known.unwrap(), code),
            Output::Stop(_, code) => end.stop(known.unwrap(), code),
            other => panic!("{other:?}"),
        }
        true
    }

    fn deliver_all(&mut self) {
        while self.deliver(0, 0, false) || self.deliver(1, 0, false) {}
    }
}

struct Machine {
    pair: Pair,
    draft: Draft,
    /// What was asked for under each name, and the tokens that came with it.
    asked: Vec<(RequestKey, Vec<Token>)>,
    /// The peer's view: requests that wait for an answer.
    pending: Vec<RequestKey>,
}

impl Machine {
    fn step(&mut self, step: Step) {
        let [here, there] = &mut self.pair.ends;
        match step {
            Step::Ask(tokens) => {
                let n = self.asked.len();
                let track = say::track(&format!("t{n}"));
                let list: Vec<_> = tokens.iter().map(|token| token.token()).collect();
                let parameters = with_tokens(&list);
                match here.with(|engine, now| engine.subscribe(now, &track, &parameters)) {
                    Ok(key) => {
                        self.asked.push((key, tokens));
                    }
                    Err(CommandError::Token(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Update { which, tokens } => {
                let Some((key, _)) = self.asked.get(usize::from(which) % self.asked.len().max(1))
                else {
                    return;
                };
                let list: Vec<_> = tokens.iter().map(|token| token.token()).collect();
                let mut parameters: Parameters = with_tokens(&list);
                if self.draft == Draft::D14 {
                    parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
                }
                let key = *key;
                // Refused for many reasons; nothing is sent then.
                let _ = here.with(|engine, now| engine.update(now, key, &parameters));
            }
            Step::Cancel { which } => {
                let Some((key, _)) = self.asked.get(usize::from(which) % self.asked.len().max(1))
                else {
                    return;
                };
                let (key, code) = (*key, StreamResetCode::Cancelled);
                let _ = here.with(|engine, now| engine.cancel(now, key, code));
            }
            Step::Accept { which } | Step::Reject { which } => {
                if self.pending.is_empty() {
                    return;
                }
                let key = self.pending.remove(usize::from(which) % self.pending.len());
                // It may have been withdrawn.
                let _ = there.with(|engine, now| match step {
                    Step::Accept { .. } => engine.accept(now, key, Accept::default()),
                    _ => engine.reject(now, key, Refusal::new(RequestErrorCode::Unauthorized)),
                });
            }
            Step::Deliver { to_server, which, overtakes } => {
                self.pair.deliver(usize::from(!to_server), which, overtakes);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        for end in &self.pair.ends {
            assert_eq!(end.closed(), None, "{:?}", end.events);
        }
        let there = &mut self.pair.ends[1];
        assert!(there.engine.usage().auth_token_bytes <= CACHE);
        for event in there.take_events() {
            let Event::Request { request, what } = event else { continue };
            let IncomingRequest::Subscribe { track, parameters } = what else { continue };
            self.pending.push(request);
            let n = self
                .asked
                .iter()
                .enumerate()
                .position(|(n, _)| track == say::track(&format!("t{n}")));
            let (_, tokens) = &self.asked[n.expect("asked for")];
            let seen: Vec<_> = tokens.iter().filter_map(|token| token.seen()).collect();
            assert_eq!(parameters.authorization_tokens, seen);
        }
        self.pair.ends[0].take_events();
    }
}

proptest! {
    #![proptest_config(sequences(300))]

    #[test]
    fn no_order_of_arrival_makes_a_fault_of_a_token(
        (draft, role) in case(),
        steps in vec(step(), 1..80),
    ) {
        let pair = Pair::new(draft, role);
        let (asked, pending) = (Vec::new(), Vec::new());
        let mut machine = Machine { pair, draft, asked, pending };
        for step in steps {
            machine.step(step);
        }
        machine.pair.deliver_all();
        machine.check();
    }
}
