//! One connection, to which everything is done that can be done: by its transport, by its
//! application and by its peer, in any order.
//!
//! Bytes decide what is done ([`play`]). The peer mostly says what it may, so that sessions come
//! far, and the application mostly does what makes sense. After every step everything is held
//! against what the documentation of the engine and the drafts promise: see `check` in `world.rs`
//! for what the connection holds, `explain` in `commands.rs` for what errors mean, `outgoing.rs`
//! and `peer.rs` for what goes out, `reading.rs` for what was sent and what is read, `hear` in
//! `world.rs` for events. In the end (`settle`) everybody gives up all they have, and nothing
//! must be left.

mod application;
mod commands;
mod config;
mod outgoing;
mod parameters;
mod peer;
mod peer_says;
mod peer_sends;
mod reading;
mod settle;
mod source;
mod transport;
mod world;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use world::World;

/// How many things are done at most.
const STEPS: usize = 600;

/// What came of a run.
#[derive(Debug)]
pub struct Played {
    /// Stands for everything that the connection did and said.
    pub digest: u64,
    /// Commands that failed and changed nothing, by number.
    pub failed: BTreeSet<usize>,
    /// What was reached, and how often.
    pub reached: BTreeMap<String, usize>,
}

/// Does what the bytes say, except the commands of these numbers.
pub fn play(bytes: &[u8], skip: BTreeSet<usize>, talks: bool) -> Played {
    let mut world = World::new(bytes, skip, talks);
    for _ in 0..STEPS {
        if world.source.is_empty() || world.is_closed() {
            break;
        }
        match world.source.below(8) {
            0..=3 => world.peer_acts(),
            4..=6 => world.application_acts(),
            _ => world.transport_acts(),
        }
    }
    world.settle();
    Played { digest: world.digest(), failed: world.failed, reached: world.reached }
}

/// Bytes for [`play`] that a seed gives: of random length, and random throughout.
pub fn bytes_of_seed(seed: u64) -> Vec<u8> {
    let len = 40 + (seed.wrapping_mul(7919) % 1500);
    source::payload(seed ^ 0x5EED, usize::try_from(len).unwrap_or_default()).to_vec()
}
