//! A keyed hash for maps whose keys a peer chooses.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// A hash map that a peer cannot make slow, and that hashes alike in every run with one seed.
/// Never iterated: its order says nothing.
pub(crate) type HashMap<K, V> = hashbrown::HashMap<K, V, KeyedState>;

/// Builds hashers of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyedState(u64);

impl KeyedState {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, !self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the keys share the fullest of as many buckets as there are keys.
    fn fullest(state: KeyedState, keys: impl Iterator<Item = u64>) -> usize {
        let mut buckets = alloc::vec![0_usize; 4096];
        for key in keys {
            let bucket = usize::try_from(state.hash_one(key) % 4096).unwrap();
            buckets[bucket] += 1;
        }
        buckets.into_iter().max().unwrap()
    }

    #[test]
    fn keys_that_collide_under_one_seed_do_not_under_another() {
        let known = KeyedState::new(1);
        // What a peer would send that had found out the seed: keys for one bucket.
        let colliding: alloc::vec::Vec<u64> =
            (0..).filter(|key: &u64| known.hash_one(key) % 4096 == 7).take(400).collect();
        assert_eq!(fullest(known, colliding.iter().copied()), 400);
        for seed in 2..10 {
            let spread = fullest(KeyedState::new(seed), colliding.iter().copied());
            assert!(spread < 8, "seed {seed}: {spread}");
        }
    }

    #[test]
    fn regular_keys_are_spread() {
        for seed in 0..4 {
            for step in [1, 2, 4096, 1 << 20, 1 << 40] {
                let keys = (0..4096).map(|n| n * step);
                let spread = fullest(KeyedState::new(seed), keys);
                assert!(spread < 16, "seed {seed}, step {step}: {spread}");
            }
        }
    }
}
