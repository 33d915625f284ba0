//! Where the choices come from that make a scenario: a seed, or the bytes of a fuzzer.

use moqt_loopback::Rng;

/// A source of choices.
pub trait Choices {
    /// A number less than `bound`; 0 if `bound` is 0.
    fn below(&mut self, bound: u64) -> u64;

    /// Whether no choice is left: all that follow are 0.
    fn is_dry(&self) -> bool;

    /// A number in `low..=high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Whether something happens that does so this many times in a hundred.
    fn percent(&mut self, times: u64) -> bool {
        // The other way round, so that without choices nothing happens.
        self.below(100) >= 100 - times
    }

    /// A small number, which stands for one of several things.
    fn pick(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap_or_default()
    }
}

impl Choices for Rng {
    fn below(&mut self, bound: u64) -> u64 {
        Rng::below(self, bound)
    }

    fn is_dry(&self) -> bool {
        false
    }
}

/// The choices that bytes make: each takes as many as its bound has, so that a changed byte
/// changes one choice.
#[derive(Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Choices for Bytes<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let Some(most) = bound.checked_sub(1) else { return 0 };
        let mut value = 0;
        let mut left = most;
        while left > 0 {
            let Some((first, rest)) = self.0.split_first() else { break };
            self.0 = rest;
            value = value << 8 | u64::from(*first);
            left >>= 8;
        }
        value % bound
    }

    fn is_dry(&self) -> bool {
        self.0.is_empty()
    }
}
