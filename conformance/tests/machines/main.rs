//! Machines of the protocol against small ones written from the text: random sequences of steps,
//! legal and illegal, after each of which a connection must have told and sent just what its
//! reference says. A failure prints the steps, made as few as possible; the sequences are the
//! same in every run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod credit;
mod fetch;
mod fetch_response;
mod namespaces;
mod publication;
mod subscription;
mod tokens;

use moqt_conformance::{DRAFTS, ROLES};
use moqt_engine::{Draft, Role};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

const PROTOCOL_VIOLATION: u64 = 0x3;
const DUPLICATE_TRACK_ALIAS: u64 = 0x5;
const TOO_MANY_REQUESTS: u64 = 0x7;

/// That many sequences, the same each time.
fn sequences(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x4d6f_5154),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn case() -> impl Strategy<Value = (Draft, Role)> {
    (select(DRAFTS.to_vec()), select(ROLES.to_vec()))
}
