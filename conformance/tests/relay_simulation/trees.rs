//! Made-up trees of relays.

use moqt_conformance::relay_simulation::{Level, Scenario};

const LEVELS: [Level; 5] = [Level::One, Level::Names, Level::Calm, Level::Moves, Level::Faults];

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        for level in LEVELS {
            let run = || Scenario::of_seed(seed, level).run(false).trace_hash;
            assert_eq!(run(), run(), "{level:?}, seed {seed}");
        }
    }
    let hash = |seed| Scenario::of_seed(seed, Level::Calm).run(false).trace_hash;
    assert_ne!(hash(1), hash(2));
}

#[test]
fn what_must_arrive_arrives() {
    // `simulate-relays` tries out more.
    for (level, seeds) in
        [(Level::One, 200), (Level::Names, 100), (Level::Calm, 60), (Level::Faults, 60)]
    {
        for seed in 0..seeds {
            if let Err(broken) = Scenario::of_seed(seed, level).check() {
                panic!("{level:?}, seed {seed}: {broken}");
            }
        }
    }
}
