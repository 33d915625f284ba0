//! How often a peer may begin things only to abandon them.

use crate::limits::Limits;
use crate::time::Timestamp;

/// A token bucket.
#[derive(Debug)]
pub(crate) struct Churn {
    tokens: u32,
    burst: u32,
    per_second: u32,
    refilled: Timestamp,
}

impl Churn {
    pub(crate) fn new(limits: &Limits, now: Timestamp) -> Self {
        Self {
            tokens: limits.churn_burst,
            burst: limits.churn_burst,
            per_second: limits.churn_per_second,
            refilled: now,
        }
    }

    /// Takes a token; `false` if there is none.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        let micros = now.saturating_since(self.refilled).as_micros();
        let new = micros.saturating_mul(u128::from(self.per_second)) / 1_000_000;
        if new > 0 {
            let new = u32::try_from(new).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(new).min(self.burst);
            self.refilled = now;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate() {
        let limits = Limits { churn_burst: 3, churn_per_second: 2, ..Limits::default() };
        let mut churn = Churn::new(&limits, Timestamp::ZERO);
        assert_eq!([0; 4].map(|_| churn.take(Timestamp::ZERO)), [true, true, true, false]);
        let later = Timestamp::from_micros(1_000_000);
        assert_eq!([0; 3].map(|_| churn.take(later)), [true, true, false]);
    }
}
