//! The ledger of requirements is sound: what it cites is there.

use std::path::Path;

use moqt_conformance::ledger::{Ledger, sources};

#[test]
fn every_rule_has_a_state_and_every_test_it_cites_is_there() {
    let ledger = Ledger::read(&Ledger::folder()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let problems = ledger.problems(&sources::tests(&root).unwrap());
    assert!(problems.is_empty(), "{problems:#?}");
}
