use core::fmt;

/// Where an object is in its track: a group and an object in it.
///
/// Ordered by group, then object (draft-18, "Location Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Location {
    /// Group ID.
    pub group: u64,
    /// Object ID within the group.
    pub object: u64,
}

impl Location {
    /// The first possible location, `{0, 0}`.
    pub const ZERO: Self = Self { group: 0, object: 0 };

    /// The location `{group, object}`.
    pub const fn new(group: u64, object: u64) -> Self {
        Self { group, object }
    }
}

/// A range of locations as FETCH and FETCH_OK write it (draft-18, "Standalone Fetch").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct LocationRange {
    /// The first location.
    pub start: Location,
    /// The last location with its object plus one; object 0 means the entire group.
    pub end: Location,
}

impl LocationRange {
    /// From `start` to `end`, whose object is one more than the last, or 0 for the entire group.
    pub const fn new(start: Location, end: Location) -> Self {
        Self { start, end }
    }

    /// From `start` to `last`, both included.
    pub const fn to_last(start: Location, last: Location) -> Self {
        // The last object there can be is the last of its group.
        Self { start, end: Location::new(last.group, last.object.wrapping_add(1)) }
    }

    /// The last location that can be in the range.
    pub const fn last(&self) -> Location {
        Location::new(self.end.group, self.end.object.wrapping_sub(1))
    }

    /// Whether it ends before it begins, so that nothing can be in it.
    pub fn is_backwards(&self) -> bool {
        self.last() < self.start
    }

    /// Whether a location is in the range.
    pub fn contains(&self, location: Location) -> bool {
        self.start <= location && location <= self.last()
    }

    /// What is left of the range in a track that has been published up to `largest`, as a
    /// FETCH_OK says it (draft-18, "FETCH_OK"). `None` if it begins later: such a FETCH must be
    /// refused with INVALID_RANGE.
    pub fn published(&self, largest: Location) -> Option<Self> {
        if self.start > largest {
            return None;
        }
        Some(if self.last() > largest { Self::to_last(self.start, largest) } else { *self })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}, {}}}", self.group, self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_fetch_writes_them() {
        let at = Location::new;
        let some = LocationRange::new(at(1, 2), at(3, 4));
        assert_eq!(some.last(), at(3, 3));
        assert!(some.contains(at(1, 2)) && some.contains(at(2, 99)) && some.contains(at(3, 3)));
        assert!(!some.contains(at(1, 1)) && !some.contains(at(3, 4)) && !some.contains(at(4, 0)));
        let whole = LocationRange::new(at(1, 2), at(1, 0));
        assert_eq!(whole.last(), at(1, u64::MAX));
        assert!(!whole.is_backwards() && whole.contains(at(1, 7)) && !whole.contains(at(2, 0)));
        assert!(LocationRange::new(at(1, 2), at(1, 2)).is_backwards());
        assert!(!LocationRange::new(at(1, 2), at(1, 3)).is_backwards());
        assert!(LocationRange::new(at(2, 0), at(1, 0)).is_backwards());
        assert_eq!(LocationRange::to_last(at(0, 0), at(1, u64::MAX)).end, at(1, 0));
    }

    #[test]
    fn what_is_published_bounds_a_range() {
        let at = Location::new;
        let range = LocationRange::new(at(1, 2), at(3, 0));
        assert_eq!(range.published(at(1, 1)), None);
        assert_eq!(range.published(at(1, 2)), Some(LocationRange::new(at(1, 2), at(1, 3))));
        assert_eq!(range.published(at(3, 8)), Some(LocationRange::new(at(1, 2), at(3, 9))));
        assert_eq!(range.published(at(4, 0)), Some(range));
    }
}
