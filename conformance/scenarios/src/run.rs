use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use moqt_loopback::Simulation;

use crate::case::{Case, Ends, cases};
use crate::stage::{Setup, Stage};

/// After how long a scenario has failed: in the network's time in memory.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a scenario in all [its cases](cases).
pub fn run<F>(name: &str, setup: fn(&mut Setup), scenario: impl Fn(Stage) -> F)
where
    F: Future<Output = ()>,
{
    let mut options = Setup::default();
    setup(&mut options);
    let cases = cases(name);
    let fails = |case: &&Case| {
        let run = || run_once(**case, &options, &scenario);
        let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
        if failed {
            eprintln!("^ {name}: {case}");
        }
        failed
    };
    let failed: Vec<_> = cases.iter().filter(fails).map(|case| format!("  {case}\n")).collect();
    assert!(failed.is_empty(), "{name} fails in {} cases:\n{}", failed.len(), failed.concat());
}

fn run_once<F>(case: Case, setup: &Setup, scenario: impl Fn(Stage) -> F)
where
    F: Future<Output = ()>,
{
    if case.ends == Ends::Loopback {
        let simulation = Simulation::new(1);
        let done = simulation.run(async {
            let scenario = async {
                scenario(Stage::loopback(simulation.clone(), case, setup).await).await;
                true
            };
            let patience = async {
                simulation.sleep(PATIENCE).await;
                false
            };
            tokio::select! {
                biased;
                done = scenario => done,
                late = patience => late,
            }
        });
        assert_eq!(done, Some(true), "nothing happens any more");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scenario = async { scenario(Stage::udp(case, setup).await).await };
        let done = tokio::time::timeout(PATIENCE, scenario).await;
        done.expect("nothing happens any more");
    });
}
