use alloc::collections::BTreeSet;
use alloc::format;

use super::Violation;
use crate::model::SessionError;

/// How many IDs may be missing from the sequence at a time.
const MAX_MISSING: u64 = 4096;

/// The Request IDs that a peer has used (draft-18, "Request ID"). Holds only what is missing
/// from the sequence, however long the session lasts.
#[derive(Debug)]
pub(crate) struct PeerIds {
    next: u64,
    may_skip: bool,
    missing: BTreeSet<u64>,
}

impl PeerIds {
    pub(crate) fn new(first: u64, may_skip: bool) -> Self {
        Self { next: first, may_skip, missing: BTreeSet::new() }
    }

    /// One more than the largest ID used, in steps of two.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the ID has been used.
    pub(crate) fn is_used(&self, id: u64) -> bool {
        id % 2 == self.next % 2 && id < self.next && !self.missing.contains(&id)
    }

    /// The peer uses an ID for a new request.
    pub(crate) fn take(&mut self, id: u64) -> Result<(), Violation> {
        let invalid = |why: &str| {
            Err(Violation::new(SessionError::InvalidRequestId, format!("Request ID {id} {why}")))
        };
        if id % 2 != self.next % 2 {
            return invalid("has the wrong parity");
        }
        if id < self.next {
            return if self.missing.remove(&id) { Ok(()) } else { invalid("was used before") };
        }
        let skipped = (id - self.next) / 2;
        if skipped > 0 && !self.may_skip {
            return invalid("is not the next in sequence");
        }
        if skipped.saturating_add(self.missing.len() as u64) > MAX_MISSING {
            return invalid("leaves too many unused");
        }
        let Some(next) = id.checked_add(2) else { return invalid("is the last there is") };
        self.missing.extend((self.next..id).step_by(2));
        self.next = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_sequence_takes_only_the_next() {
        let mut ids = PeerIds::new(1, false);
        assert!(ids.take(1).is_ok());
        assert!(ids.take(1).is_err());
        assert!(ids.take(5).is_err());
        assert!(ids.take(2).is_err());
        assert!(ids.take(3).is_ok());
        assert!(ids.is_used(3) && !ids.is_used(5) && !ids.is_used(2));
    }

    #[test]
    fn loose_sequence_takes_each_once_in_any_order() {
        let mut ids = PeerIds::new(0, true);
        for id in [4, 0, 2, 6] {
            assert!(ids.take(id).is_ok(), "{id}");
            assert_eq!(ids.take(id).unwrap_err().error, SessionError::InvalidRequestId);
        }
        assert!(ids.take(8 + 2 * MAX_MISSING).is_ok());
        assert!(ids.take(u64::MAX - 1).is_err());
    }

    #[test]
    fn nothing_follows_the_largest_id() {
        for (largest, may_skip) in [(u64::MAX - 1, false), (u64::MAX, true)] {
            let mut ids = PeerIds::new(largest - 2, may_skip);
            assert!(ids.take(largest - 2).is_ok());
            assert_eq!(ids.take(largest).unwrap_err().error, SessionError::InvalidRequestId);
            assert_eq!(ids.next(), largest, "nothing was used");
        }
    }
}
