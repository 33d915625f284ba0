//! [`Known`]: sets of locations, as ranges.

use alloc::collections::BTreeMap;

use moqt_engine::model::Location;

/// The largest location that there can be.
pub(super) const LAST: Location = Location::new(u64::MAX, u64::MAX);

/// A set of locations, kept as ranges between which something is missing. Everything but
/// inserting over many ranges takes time logarithmic in their number, however many locations
/// they have.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The last location of each range, by its first.
    ranges: BTreeMap<Location, Location>,
}

impl Known {
    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The lowest range.
    pub(super) fn lowest(&self) -> Option<(Location, Location)> {
        self.ranges.first_key_value().map(|(first, last)| (*first, *last))
    }

    /// The largest location that is in it.
    pub(super) fn last(&self) -> Option<Location> {
        self.ranges.last_key_value().map(|(_, last)| *last)
    }

    /// The range that a location is in.
    pub(super) fn range_of(&self, at: Location) -> Option<(Location, Location)> {
        let (first, last) = self.ranges.range(..=at).next_back()?;
        (*last >= at).then_some((*first, *last))
    }

    pub(super) fn contains(&self, at: Location) -> bool {
        self.range_of(at).is_some()
    }

    /// The first location of the first range that begins after `at`.
    pub(super) fn begins_after(&self, at: Location) -> Option<Location> {
        self.ranges.range(successor(at)?..).next().map(|(first, _)| *first)
    }

    /// Adds every location from `first` to `last`; none if they are the wrong way round.
    pub(super) fn insert(&mut self, first: Location, last: Location) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Most often the last range grows by what comes next.
        if let Some(mut newest) = self.ranges.last_entry()
            && *newest.key() <= first
        {
            let end = *newest.get();
            if successor(end).is_none_or(|next| next >= first) {
                newest.insert(end.max(last));
            } else {
                self.ranges.insert(first, last);
            }
            return;
        }
        // One range may begin before and reach or touch the new one; others begin in it or
        // right after it.
        if let Some((begin, end)) = self.ranges.range(..first).next_back()
            && successor(*end).is_none_or(|next| next >= first)
        {
            first = *begin;
            last = last.max(*end);
        }
        while let Some((begin, end)) =
            self.ranges.range(first..=successor(last).unwrap_or(LAST)).next()
        {
            let (begin, end) = (*begin, *end);
            last = last.max(end);
            self.ranges.remove(&begin);
        }
        self.ranges.insert(first, last);
    }

    /// Takes out every location from `first` to `last`.
    pub(super) fn remove(&mut self, first: Location, last: Location) {
        if first > last {
            return;
        }
        if let Some((begin, end)) = self.range_of(first)
            && let Some(before) = predecessor(first).filter(|before| *before >= begin)
        {
            self.ranges.insert(begin, before);
            if let Some(after) = successor(last).filter(|after| *after <= end) {
                self.ranges.insert(after, end);
            }
        }
        while let Some((begin, end)) = self.ranges.range(first..=last).next() {
            let (begin, end) = (*begin, *end);
            self.ranges.remove(&begin);
            if let Some(after) = successor(last).filter(|after| *after <= end) {
                self.ranges.insert(after, end);
            }
        }
    }
}

/// The location after this one. Object IDs go up to 2^64 - 1 in every group, so what follows the
/// last of a group is the first of the next.
pub(super) fn successor(at: Location) -> Option<Location> {
    match at.object.checked_add(1) {
        Some(object) => Some(Location::new(at.group, object)),
        None => at.group.checked_add(1).map(|group| Location::new(group, 0)),
    }
}

/// The location before this one.
pub(super) fn predecessor(at: Location) -> Option<Location> {
    match at.object.checked_sub(1) {
        Some(object) => Some(Location::new(at.group, object)),
        None => at.group.checked_sub(1).map(|group| Location::new(group, u64::MAX)),
    }
}

/// The first and the last location that a group can have.
pub(super) fn whole_group(group: u64) -> (Location, Location) {
    (Location::new(group, 0), Location::new(group, u64::MAX))
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    fn ranges(known: &Known) -> Vec<(Location, Location)> {
        known.ranges.iter().map(|(first, last)| (*first, *last)).collect()
    }

    #[test]
    fn what_touches_is_one_range() {
        let mut known = Known::default();
        known.insert(at(0, 5), at(0, 6));
        known.insert(at(0, 8), at(0, 9));
        assert_eq!(known.len(), 2);
        known.insert(at(0, 7), at(0, 7));
        assert_eq!(ranges(&known), vec![(at(0, 5), at(0, 9))]);
        known.insert(at(0, 2), at(0, 4));
        known.insert(at(0, 0), at(0, 3));
        assert_eq!(ranges(&known), vec![(at(0, 0), at(0, 9))]);
    }

    #[test]
    fn a_group_goes_on_in_the_next() {
        let mut known = Known::default();
        known.insert(at(1, 0), at(1, u64::MAX));
        known.insert(at(2, 0), at(2, 3));
        known.insert(at(0, 7), at(0, u64::MAX));
        assert_eq!(ranges(&known), vec![(at(0, 7), at(2, 3))]);
        assert_eq!(successor(LAST), None);
        assert_eq!(predecessor(Location::ZERO), None);
        assert_eq!(predecessor(at(3, 0)), Some(at(2, u64::MAX)));
    }

    #[test]
    fn a_range_swallows_those_in_it() {
        let mut known = Known::default();
        for object in 0..5 {
            known.insert(at(0, object * 10), at(0, object * 10 + 1));
        }
        known.insert(at(0, 5), at(0, 31));
        assert_eq!(
            ranges(&known),
            vec![(at(0, 0), at(0, 1)), (at(0, 5), at(0, 31)), (at(0, 40), at(0, 41))]
        );
        known.insert(Location::ZERO, LAST);
        assert_eq!(ranges(&known), vec![(Location::ZERO, LAST)]);
    }

    #[test]
    fn what_is_taken_out_leaves_both_ends() {
        let mut known = Known::default();
        known.insert(Location::ZERO, LAST);
        known.remove(at(1, 0), at(1, u64::MAX));
        assert_eq!(ranges(&known), vec![(at(0, 0), at(0, u64::MAX)), (at(2, 0), LAST)]);
        assert_eq!(known.begins_after(at(1, 4)), Some(at(2, 0)));
        known.remove(at(0, 3), at(5, 3));
        assert_eq!(ranges(&known), vec![(at(0, 0), at(0, 2)), (at(5, 4), LAST)]);
        known.remove(Location::ZERO, LAST);
        assert_eq!(known.len(), 0);
    }
}
