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
