use std::collections::BTreeSet;

use crate::ops::play;

/// One connection, to which its transport, its application and its peer do what the bytes say.
///
/// Besides what [`play`] holds it to: the same inputs give the same outputs, and a command that
/// fails changes nothing, so that a run without those that failed gives the same outputs, too.
pub fn connection_ops(data: &[u8]) {
    let first = play(data, BTreeSet::new(), false);
    let second = play(data, first.failed.clone(), false);
    assert_eq!(first.digest, second.digest, "it is not the same without {:?}", first.failed);
}
