//! Made-up sessions against the reference model: that they keep to it, and that it notices when
//! one does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod tampering;

use std::time::Duration;

use moqt_conformance::DRAFTS;
use moqt_conformance::simulation::{Act, AnswerPlan, Little, Scenario};
use moqt_loopback::{Chunking, PathConfig};

#[test]
fn sessions_keep_to_the_model() {
    for seed in 0..120 {
        for draft in DRAFTS {
            let scenario = Scenario::of_seed(seed, Some(draft));
            if let Err(broken) = scenario.check() {
                panic!("seed {seed} of {draft:?}: {broken}");
            }
        }
    }
}

#[test]
fn a_seed_gives_one_run() {
    for seed in 0..30 {
        let hashes = || {
            let outcome = Scenario::of_seed(seed, None).run(false);
            (outcome.trace_hash, outcome.raw_trace_hash)
        };
        assert_eq!(hashes(), hashes(), "seed {seed}");
    }
}

#[test]
fn steps_that_are_kept_stay_in_order() {
    let whole = Scenario::of_seed(5, None);
    assert!(whole.steps.len() > 4);
    let kept = whole.clone().keep(&[3, 1]);
    let expected = [&whole.steps[1], &whole.steps[3]];
    assert_eq!(format!("{:?}", kept.steps), format!("{expected:?}"));
}

// On a path that delivers everything at once, cuts change nothing that an application sees.
#[test]
fn cuts_change_nothing() {
    for seed in 0..60 {
        let mut scenario = Scenario::of_seed(seed, None);
        scenario.steps.retain(|step| !matches!(step.act, Act::Fault(_)));
        for end in &mut scenario.ends {
            end.little = Little::default();
            end.answers = vec![AnswerPlan::Accept { after: 0 }];
        }
        let mut hashes = Vec::new();
        for chunking in [Chunking::AsWritten, Chunking::Fixed(7), Chunking::Random(50)] {
            for link in &mut scenario.links {
                let mut path = PathConfig::default();
                path.latency = Duration::from_millis(7);
                path.chunking = chunking;
                (link.up, link.down) = (path.clone(), path);
            }
            let outcome = scenario.run(false);
            hashes.push(outcome.trace_hash);
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "seed {seed}: {hashes:x?}");
    }
}
