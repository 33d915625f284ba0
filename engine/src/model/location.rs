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

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}, {}}}", self.group, self.object)
    }
}
