//! Scenarios: what the specification lets the applications at both ends of a session see, written
//! once over [`moqt_session::Session`] and run over every transport, on every draft, and with either
//! end as the publisher.
//!
//! A scenario is an async function of a [`Stage`]; [`scenarios!`] makes a test of it. It waits for
//! events only, and knows nothing of runtimes: over the [network in memory](Ends::Loopback) it runs
//! in virtual time, over UDP on tokio.
//!
//! A plain `cargo test -p moqt-scenarios` runs each scenario in memory on every draft in both
//! directions, and over UDP once with each pair of stacks and each way of carrying sessions, on
//! drafts that change from scenario to scenario. With `MOQT_SCENARIOS=all` in the environment it is
//! every draft in both directions everywhere. A scenario that fails says where it did, and goes on
//! with the other cases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]
#![allow(clippy::missing_panics_doc, reason = "tests fail by it, at any point")]

mod case;
mod run;
mod stage;
mod track;
mod udp;

pub use case::{Case, Ends, Stack, cases};
pub use run::run;
pub use stage::{Setup, Stage};
pub use track::{
    accept_publish, accept_subscribe, incoming_fetch, locations, object, offered, payload, serve,
    subscribed, track, write_group,
};
pub use udp::{Server, anywhere, connect, every_pair, in_time, options};

/// Makes a test of each of these scenarios, in a module of this name. What is in parentheses is a
/// function that changes the [`Setup`].
#[macro_export]
macro_rules! scenarios {
    ($($name:ident $(($setup:ident))?),* $(,)?) => {
        mod over_every_transport {
            $(
                #[test]
                fn $name() {
                    #[allow(unused_mut, unused_assignments, reason = "most change nothing")]
                    let mut setup: fn(&mut $crate::Setup) = |_| {};
                    $(setup = super::$setup;)?
                    $crate::run(stringify!($name), setup, super::$name);
                }
            )*
        }
    };
}
