use alloc::collections::{BTreeMap, VecDeque};
use core::ops::RangeBounds;

/// A map whose entries are kept while something holds them, and then until there are too many
/// that nothing holds: the one let go of longest ago is forgotten first.
#[derive(Debug)]
pub(super) struct Memory<K, V> {
    map: BTreeMap<K, Entry<V>>,
    /// Each entry that nothing holds is here once, and some that are held again.
    idle: VecDeque<K>,
}

#[derive(Debug, Default)]
struct Entry<V> {
    holders: u32,
    is_queued: bool,
    value: V,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), idle: VecDeque::new() }
    }
}

impl<K: Ord + Copy, V: Default> Memory<K, V> {
    /// The entry, made if there is none, and kept until it is [let go](Self::release).
    pub(super) fn hold(&mut self, key: K) -> &mut V {
        let entry = self.map.entry(key).or_default();
        entry.holders += 1;
        &mut entry.value
    }

    /// One that held the entry holds it no more.
    pub(super) fn release(&mut self, key: K, limit: usize) {
        if let Some(entry) = self.map.get_mut(&key) {
            entry.holders = entry.holders.saturating_sub(1);
            self.keep(key, limit);
        }
    }

    /// The entry, made if there is none. Nothing holds it for that.
    pub(super) fn touch(&mut self, key: K, limit: usize) -> Option<&mut V> {
        self.map.entry(key).or_default();
        self.keep(key, limit);
        self.get_mut(&key)
    }

    /// Queues an entry that nothing holds, and forgets what is too much.
    fn keep(&mut self, key: K, limit: usize) {
        if let Some(entry) = self.map.get_mut(&key)
            && entry.holders == 0
            && !core::mem::replace(&mut entry.is_queued, true)
        {
            self.idle.push_back(key);
        }
        while self.idle.len() > limit {
            let Some(oldest) = self.idle.pop_front() else { return };
            let Some(entry) = self.map.get_mut(&oldest) else { continue };
            entry.is_queued = false;
            if entry.holders == 0 {
                self.map.remove(&oldest);
            }
        }
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key).map(|entry| &entry.value)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key).map(|entry| &mut entry.value)
    }

    /// The entries in a range, in order.
    pub(super) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.map.range(range).map(|(key, entry)| (key, &entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_after_it_was_idle_stays() {
        let mut memory: Memory<u64, u64> = Memory::default();
        memory.touch(1, 2);
        *memory.hold(1) = 10;
        for key in 2..10 {
            memory.touch(key, 2);
        }
        assert_eq!(memory.get(&1), Some(&10));
        assert_eq!((memory.map.len(), memory.idle.len()), (3, 2));
        memory.release(1, 2);
        assert_eq!(memory.get(&1), Some(&10), "the newest of those that are idle");
        memory.touch(10, 2);
        memory.touch(11, 2);
        assert_eq!(memory.get(&1), None);
    }

    #[test]
    fn what_is_held_stays_and_the_rest_is_forgotten_in_order() {
        let mut memory: Memory<u64, u64> = Memory::default();
        *memory.hold(1) = 10;
        for key in 2..100 {
            memory.touch(key, 3);
        }
        assert_eq!(memory.get(&1), Some(&10), "held");
        assert_eq!(memory.map.len(), 4);
        assert!(memory.get(&96).is_none() && memory.get(&97).is_some());
        memory.release(1, 3);
        assert_eq!(memory.map.len(), 3);
        for key in 200..300 {
            memory.hold(key);
            memory.release(key, 3);
            memory.hold(key);
            memory.release(key, 3);
        }
        assert_eq!((memory.map.len(), memory.idle.len()), (3, 3));
        memory.touch(7, 0);
        assert!(memory.map.is_empty(), "nothing is remembered where nothing may be");
    }
}
