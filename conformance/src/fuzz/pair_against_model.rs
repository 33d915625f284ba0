use crate::simulation::{Bytes, Scenario};

/// Whole sessions, with applications, networks and faults that the bytes choose, against the
/// reference model of the [simulation](crate::simulation).
pub fn pair_against_model(data: &[u8]) {
    let scenario = Scenario::generate(&mut Bytes(data), None);
    let broken = scenario.check().err();
    let smaller = broken.as_ref().map(|broken| scenario.shrink(broken.rule).to_string());
    assert_eq!(broken, None, "{}", smaller.unwrap_or_default());
}
