//! [`Ids`]: the IDs of the objects of a subgroup.

use alloc::collections::VecDeque;

/// IDs in ascending order. They come at the end and go at the front, but for few.
#[derive(Debug, Default)]
pub(super) struct Ids {
    ids: VecDeque<u64>,
}

impl Ids {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn insert(&mut self, id: u64) {
        if self.ids.back().is_none_or(|last| *last < id) {
            self.ids.push_back(id);
        } else if let Err(at) = self.ids.binary_search(&id) {
            self.ids.insert(at, id);
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        if self.ids.front() == Some(&id) {
            self.ids.pop_front();
        } else if let Ok(at) = self.ids.binary_search(&id) {
            self.ids.remove(at);
        }
    }

    /// The first after this one; `None`: the first.
    pub(super) fn after(&self, id: Option<u64>) -> Option<u64> {
        // Who follows as they come asks for the last.
        let before_last = self.ids.len().checked_sub(2).and_then(|index| self.ids.get(index));
        let at = match id {
            None => 0,
            Some(id) if before_last.is_some_and(|before| *before <= id) => {
                return self.ids.back().copied().filter(|last| *last > id);
            }
            Some(id) => self.ids.partition_point(|before| *before <= id),
        };
        self.ids.get(at).copied()
    }

    /// The last that is not after this one.
    pub(super) fn up_to(&self, id: u64) -> Option<u64> {
        let after = self.ids.partition_point(|before| *before <= id);
        self.ids.get(after.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_a_set_in_ascending_order(steps: Vec<(bool, u8)>) {
            let (mut ids, mut set) = (Ids::default(), BTreeSet::new());
            for (is_new, id) in steps {
                let id = u64::from(id);
                if is_new {
                    ids.insert(id);
                    set.insert(id);
                } else {
                    ids.remove(id);
                    set.remove(&id);
                }
                prop_assert!(ids.ids.iter().eq(&set));
                prop_assert_eq!(ids.is_empty(), set.is_empty());
                prop_assert_eq!(ids.after(None), set.first().copied());
                for at in 0..=255 {
                    prop_assert_eq!(ids.after(Some(at)), set.range(at + 1..).next().copied());
                    prop_assert_eq!(ids.up_to(at), set.range(..=at).next_back().copied());
                }
            }
        }
    }
}
