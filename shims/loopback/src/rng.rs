//! Choices that depend on nothing but a seed.

use core::time::Duration;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng as _;

/// A seeded source of choices: the same seed makes the same ones on every platform.
///
/// The network draws from its own; scenarios may use this one for theirs.
#[derive(Clone, Debug)]
pub struct Rng(Pcg64);

impl Rng {
    /// A source that makes the choices of this seed.
    pub fn new(seed: u64) -> Self {
        Self::fork(seed, 0)
    }

    /// One of many independent sources from one seed, so that drawing from one does not
    /// change what another gives.
    pub fn fork(seed: u64, purpose: u64) -> Self {
        let purpose = scramble(purpose);
        let high = scramble(seed ^ purpose);
        let low = scramble(high ^ seed);
        Self(Pcg64::new(u128::from(high) << 64 | u128::from(low), u128::from(purpose)))
    }

    /// Any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number less than `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number in `low..=high`; `low` if there is none.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A duration of at most `max`, in whole microseconds.
    pub fn duration(&mut self, max: Duration) -> Duration {
        let max = u64::try_from(max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(if max == 0 { 0 } else { self.between(0, max) })
    }

    /// Whether something that has this chance happens.
    pub fn happens(&mut self, chance: Chance) -> bool {
        // No draw where there is no doubt: adding a chance of zero changes nothing else.
        chance.0 > 0 && self.below(Chance::ALWAYS.0.into()) < chance.0.into()
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(from.len()).unwrap_or_default());
        from.get(usize::try_from(at).unwrap_or_default())
    }
}

/// Spreads small seeds over all bits (the finalizer of SplitMix64).
const fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// How likely something is, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Chance(u32);

impl Chance {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1_000_000);

    /// It happens this many times in a million.
    pub const fn per_million(times: u32) -> Self {
        Self(if times < Self::ALWAYS.0 { times } else { Self::ALWAYS.0 })
    }

    /// It happens this many times in a hundred.
    pub const fn percent(times: u32) -> Self {
        Self::per_million(times.saturating_mul(10_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_stay_in_bounds_and_never_change() {
        let mut rng = Rng::new(7);
        for bound in [0, 1, 2, 1000, u64::MAX] {
            assert!(rng.below(bound) < bound.max(1));
        }
        assert!(rng.happens(Chance::ALWAYS) && !rng.happens(Chance::NEVER));
        assert_eq!(rng.duration(Duration::ZERO), Duration::ZERO);
        // Fixed numbers: a change here would break every seed anybody wrote down.
        let mut rng = Rng::new(1);
        let first = [13_453_555_406_739_016_522, 12_860_756_277_371_285_284];
        assert_eq!([rng.next_u64(), rng.next_u64()], first);
        assert_ne!(Rng::fork(1, 1).next_u64(), Rng::fork(1, 2).next_u64());
    }
}
