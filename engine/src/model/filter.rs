use super::Location;

/// Which objects of a track a subscription delivers (draft-18, "Subscription Filters").
///
/// A subscription without a filter delivers everything published after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubscriptionFilter {
    /// From the start of the group after the largest one (Next Group Start, 0x1).
    NextGroupStart,
    /// From the object after the largest one (Largest Object, 0x2).
    LargestObject,
    /// From `start` on (AbsoluteStart, 0x3).
    AbsoluteStart {
        /// First location delivered.
        start: Location,
    },
    /// From `start` to the end of group `end_group` (AbsoluteRange, 0x4).
    AbsoluteRange {
        /// First location delivered.
        start: Location,
        /// Last group delivered. A peer's may be before `start.group`: such a request is to be
        /// refused with INVALID_RANGE, and cannot be written.
        end_group: u64,
    },
}

impl SubscriptionFilter {
    /// First location that passes, given the largest location when the filter took effect. If
    /// none can come after that, it is the last there can be.
    pub fn start(&self, largest: Option<Location>) -> Location {
        let next_group = |group: u64| {
            let last = Location::new(u64::MAX, u64::MAX);
            group.checked_add(1).map_or(last, |group| Location::new(group, 0))
        };
        match (*self, largest) {
            (Self::AbsoluteStart { start } | Self::AbsoluteRange { start, .. }, _) => start,
            (Self::NextGroupStart | Self::LargestObject, None) => Location::ZERO,
            (Self::NextGroupStart, Some(largest)) => next_group(largest.group),
            (Self::LargestObject, Some(Location { group, object })) => object
                .checked_add(1)
                .map_or_else(|| next_group(group), |object| Location::new(group, object)),
        }
    }

    /// Whether it ends before it begins, so that nothing can pass.
    pub fn is_backwards(&self) -> bool {
        matches!(self, Self::AbsoluteRange { start, end_group } if *end_group < start.group)
    }

    /// Whether all that passes has been published already, given the largest location.
    pub(crate) fn is_past(&self, largest: Option<Location>) -> bool {
        match (self.end_group(), largest) {
            (Some(end_group), Some(largest)) => end_group < largest.group,
            _ => false,
        }
    }

    /// Last group that passes, if there is one.
    pub fn end_group(&self) -> Option<u64> {
        match self {
            Self::AbsoluteRange { end_group, .. } => Some(*end_group),
            _ => None,
        }
    }
}

/// The order in which groups are sent first (draft-18, "Definitions" of priorities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum GroupOrder {
    /// Lower group IDs first (0x1).
    #[default]
    Ascending,
    /// Higher group IDs first (0x2).
    Descending,
}

impl GroupOrder {
    /// The value every draft gives this order.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ascending => 1,
            Self::Descending => 2,
        }
    }

    /// What the drafts call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ascending => "Ascending",
            Self::Descending => "Descending",
        }
    }

    /// The order for a value, unless it is out of range.
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            1 => Some(Self::Ascending),
            2 => Some(Self::Descending),
            _ => None,
        }
    }
}
