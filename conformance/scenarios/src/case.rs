use std::fmt;

use moqt_engine::{Draft, Role};
use moqt_quic::Scheme;

/// Where a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// What is at the ends.
    pub ends: Ends,
    /// The draft both speak.
    pub draft: Draft,
    /// Which end publishes.
    pub publisher: Role,
}

/// What is at the ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// The network in memory.
    Loopback,
    /// UDP on 127.0.0.1.
    Udp {
        /// The client's QUIC stack.
        client: Stack,
        /// The server's.
        server: Stack,
        /// What carries the session.
        scheme: Scheme,
    },
}

/// A QUIC stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// quinn-proto.
    Quinn,
    /// s2n-quic.
    S2n,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ends, draft, publisher } = self;
        write!(f, "{ends}, {draft}, published by the {publisher:?}")
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("in memory"),
            Self::Udp { client, server, scheme } => {
                write!(f, "{scheme:?} from {client:?} to {server:?}")
            }
        }
    }
}

impl Ends {
    /// Each pair of stacks, and each way of carrying sessions between them.
    pub fn over_udp() -> impl Iterator<Item = Self> {
        use Stack::{Quinn, S2n};
        let stacks = [(Quinn, Quinn), (S2n, S2n), (Quinn, S2n), (S2n, Quinn)];
        stacks.into_iter().flat_map(|(client, server)| {
            [Scheme::Quic, Scheme::WebTransport].map(|scheme| Self::Udp { client, server, scheme })
        })
    }
}

/// Every draft with either end as the publisher.
fn in_every_way(ends: Ends) -> impl Iterator<Item = Case> {
    Draft::ALL.into_iter().flat_map(move |draft| {
        [Role::Client, Role::Server].map(|publisher| Case { ends, draft, publisher })
    })
}

/// The cases of a scenario. Which of those over UDP are left out for the sake of time depends on
/// its name, and so does not change.
pub fn cases(scenario: &str) -> Vec<Case> {
    let in_memory = in_every_way(Ends::Loopback);
    if std::env::var("MOQT_SCENARIOS").is_ok_and(|which| which == "all") {
        return in_memory.chain(Ends::over_udp().flat_map(in_every_way)).collect();
    }
    let begin = scenario.bytes().map(usize::from).sum::<usize>();
    let over_udp = Ends::over_udp()
        .enumerate()
        .filter_map(|(number, ends)| in_every_way(ends).nth((begin + number) % 6));
    in_memory.chain(over_udp).collect()
}
