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
mod publish_namespace;
mod subscription;
mod tokens;

use std::fmt::Debug;
use std::time::Duration;

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, ROLES};
use moqt_engine::{Draft, Event, Role, Usage};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestCaseResult};

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

/// What the text says of one matter, and a connection that is held to it.
trait Reference {
    /// What either end may do next.
    type Step: Copy + Debug;
    /// What the application may be told.
    type Saw: Clone + Debug + Ord;

    fn end(&mut self) -> &mut End;

    /// Does a step if there is anything to do it to; what must be seen then.
    fn step(&mut self, step: Self::Step) -> Vec<Self::Saw>;

    /// Whether what comes of a step may be told in any order, as when several waits are over.
    fn is_in_any_order(_: &Self::Step) -> bool {
        false
    }

    fn see(&self, event: &Event) -> Self::Saw;

    /// How many requests are open.
    fn live(&self) -> usize;

    /// What else holds after each step.
    fn check(&mut self) {}

    /// Ends everything.
    fn finish(&mut self);
}

/// Holds a connection to its reference step by step. Where the session is closed nothing is
/// left at once, otherwise when everything has ended.
fn walk<R: Reference>(mut machine: R, steps: Vec<R::Step>) -> TestCaseResult {
    let before = machine.end().engine.usage();
    for step in steps {
        let mut expected = machine.step(step);
        let events = machine.end().take_events();
        let mut saw: Vec<_> = events.iter().map(|event| machine.see(event)).collect();
        if R::is_in_any_order(&step) {
            expected.sort_unstable();
            saw.sort_unstable();
        }
        prop_assert_eq!(&saw, &expected, "after {:?}", step);
        let is_told = events.iter().any(|event| matches!(event, Event::Closed { .. }));
        prop_assert_eq!(machine.end().closed().is_some(), is_told, "after {:?}", step);
        let usage = machine.end().engine.usage();
        if is_told {
            prop_assert_eq!(usage, Usage::default());
            return Ok(());
        }
        prop_assert_eq!(usage.requests, before.requests + machine.live(), "after {:?}", step);
        machine.check();
    }
    machine.finish();
    let end = machine.end();
    end.wait(Duration::from_secs(60));
    prop_assert_eq!(end.closed(), None);
    prop_assert_eq!(end.engine.usage(), before);
    prop_assert_eq!(end.engine.poll_timeout(), None);
    Ok(())
}

/// One of those that fit, by a number.
fn choose<T>(which: u8, of: &[T], fits: impl Fn(&T) -> bool) -> Option<usize> {
    let fitting: Vec<_> = (0..of.len()).filter(|n| fits(&of[*n])).collect();
    fitting.get(usize::from(which) % fitting.len().max(1)).copied()
}

#[track_caller]
fn assert_stopped(end: &End, name: Name) {
    let stopped = |output: &&Output| matches!(output, Output::Stop(at, _) if *at == name);
    assert_eq!(end.outputs.iter().filter(stopped).count(), 1, "{name:?} is stopped once");
}
