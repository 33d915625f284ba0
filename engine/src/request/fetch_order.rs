use alloc::collections::BTreeMap;

use crate::model::{GroupOrder, Location, LocationRange};
use crate::object::{Broken, MalformedRule};

/// How many subgroups of a group are remembered with their priority.
const MAX_SUBGROUPS: usize = 64;

/// Checks that what a fetch stream holds is in the range asked for and in order (draft-18,
/// "Fetch Handling"; draft-16, "Malformed Tracks"). Knows nothing of streams.
#[derive(Clone, Debug)]
pub(crate) struct FetchOrder {
    order: Option<GroupOrder>,
    start: Option<Location>,
    last: Option<Location>,
    prior: Option<Prior>,
    /// The smallest and the largest location so far.
    smallest: Option<Location>,
    largest: Option<Location>,
    /// Priorities of the current group's subgroups.
    priorities: BTreeMap<u64, u8>,
}

#[derive(Clone, Copy, Debug)]
struct Prior {
    location: Location,
    /// It was the end of a range, not an object.
    is_end_of_range: bool,
}

impl FetchOrder {
    /// Nothing has come. What is `None` is not known yet, and not checked.
    pub(crate) fn new(
        order: Option<GroupOrder>,
        start: Option<Location>,
        last: Option<Location>,
    ) -> Self {
        Self {
            order,
            start,
            last,
            prior: None,
            smallest: None,
            largest: None,
            priorities: BTreeMap::new(),
        }
    }

    /// Nothing has come of this range.
    pub(crate) fn of_range(order: Option<GroupOrder>, range: LocationRange) -> Self {
        Self::new(order, Some(range.start), Some(range.last()))
    }

    /// More is known of the range. What has come already must be in it, too; if it is not,
    /// nothing has changed.
    pub(crate) fn narrow(
        &mut self,
        order: Option<GroupOrder>,
        start: Location,
        last: Location,
    ) -> Result<(), Broken> {
        let last = self.last.map_or(last, |known| known.min(last));
        let early = self.smallest.filter(|smallest| *smallest < start);
        let late = self.largest.filter(|largest| *largest > last);
        if let Some(location) = early.or(late) {
            return Err(Broken { rule: MalformedRule::OutOfRange, location });
        }
        self.order = self.order.or(order);
        self.start = Some(start);
        self.last = Some(last);
        Ok(())
    }

    /// The order of groups, if it is known.
    pub(crate) fn order(&self) -> Option<GroupOrder> {
        self.order
    }

    /// Whether this object may come next.
    pub(crate) fn check_object(
        &self,
        location: Location,
        subgroup_id: Option<u64>,
        priority: u8,
    ) -> Result<(), MalformedRule> {
        self.in_range(location)?;
        let Some(prior) = self.prior else { return Ok(()) };
        self.follows(prior.location, location)?;
        if location.group != prior.location.group {
            return Ok(());
        }
        if location.object <= prior.location.object {
            return Err(MalformedRule::ObjectOrder);
        }
        let known = subgroup_id.and_then(|id| self.priorities.get(&id));
        if known.is_some_and(|known| *known != priority) {
            return Err(MalformedRule::SubgroupPriority);
        }
        Ok(())
    }

    /// An object comes.
    pub(crate) fn object(
        &mut self,
        location: Location,
        subgroup_id: Option<u64>,
        priority: u8,
    ) -> Result<(), MalformedRule> {
        self.check_object(location, subgroup_id, priority)?;
        self.came(location, false);
        if let Some(id) = subgroup_id {
            if self.priorities.len() >= MAX_SUBGROUPS && !self.priorities.contains_key(&id) {
                self.priorities.pop_first();
            }
            self.priorities.insert(id, priority);
        }
        Ok(())
    }

    /// Whether this end of a range may come next.
    pub(crate) fn check_end_of_range(&self, location: Location) -> Result<(), MalformedRule> {
        self.in_range(location)?;
        let Some(prior) = self.prior else { return Ok(()) };
        self.follows(prior.location, location)?;
        let is_behind = location.object < prior.location.object
            || (prior.is_end_of_range && location.object == prior.location.object);
        if location.group == prior.location.group && is_behind {
            return Err(MalformedRule::ObjectOrder);
        }
        Ok(())
    }

    /// An end of range comes.
    pub(crate) fn end_of_range(&mut self, location: Location) -> Result<(), MalformedRule> {
        self.check_end_of_range(location)?;
        self.came(location, true);
        Ok(())
    }

    fn came(&mut self, location: Location, is_end_of_range: bool) {
        if self.prior.is_some_and(|prior| prior.location.group != location.group) {
            self.priorities.clear();
        }
        self.prior = Some(Prior { location, is_end_of_range });
        self.smallest = Some(self.smallest.map_or(location, |smallest| smallest.min(location)));
        self.largest = self.largest.max(Some(location));
    }

    fn in_range(&self, location: Location) -> Result<(), MalformedRule> {
        let early = self.start.is_some_and(|start| location < start);
        let late = self.last.is_some_and(|last| location > last);
        if early || late { Err(MalformedRule::OutOfRange) } else { Ok(()) }
    }

    /// Whether the group of `next` may come after that of `prior`.
    fn follows(&self, prior: Location, next: Location) -> Result<(), MalformedRule> {
        let in_order = match self.order {
            None => true,
            Some(GroupOrder::Ascending) => next.group >= prior.group,
            Some(GroupOrder::Descending) => next.group <= prior.group,
        };
        if in_order { Ok(()) } else { Err(MalformedRule::GroupOrder) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    fn order(order: GroupOrder) -> FetchOrder {
        FetchOrder::new(Some(order), Some(at(2, 3)), Some(at(5, 1)))
    }

    fn come(order: &mut FetchOrder, locations: &[(u64, u64)]) -> Result<(), MalformedRule> {
        locations
            .iter()
            .try_for_each(|(group, object)| order.object(at(*group, *object), Some(0), 7))
    }

    // Draft-16, "Malformed Tracks" 1, 3 and 4 (the same in draft-14).
    #[test]
    fn groups_and_objects_come_in_order() {
        let mut up = order(GroupOrder::Ascending);
        assert_eq!(come(&mut up, &[(2, 3), (2, 9), (4, 0), (5, 1)]), Ok(()));
        assert_eq!(come(&mut up, &[(4, 9)]), Err(MalformedRule::GroupOrder));
        assert_eq!(come(&mut up, &[(5, 1)]), Err(MalformedRule::ObjectOrder));
        assert_eq!(come(&mut up, &[(5, 0)]), Err(MalformedRule::ObjectOrder));
        let mut down = order(GroupOrder::Descending);
        assert_eq!(come(&mut down, &[(5, 0), (5, 1), (4, 0), (4, 9), (2, 3)]), Ok(()));
        assert_eq!(come(&mut down, &[(3, 0)]), Err(MalformedRule::GroupOrder));
        let mut any = FetchOrder::new(None, None, None);
        assert_eq!(come(&mut any, &[(5, 0), (2, 0), (9, 1)]), Ok(()));
    }

    #[test]
    fn objects_are_in_range() {
        for outside in [(2, 2), (1, 9), (5, 2), (6, 0)] {
            let mut up = order(GroupOrder::Ascending);
            assert_eq!(come(&mut up, &[outside]), Err(MalformedRule::OutOfRange), "{outside:?}");
            assert_eq!(
                up.end_of_range(at(outside.0, outside.1)),
                Err(MalformedRule::OutOfRange),
                "{outside:?}"
            );
        }
    }

    // What came before FETCH_OK is held to it, too.
    #[test]
    fn a_range_known_late_counts_for_what_came_early() {
        let mut early = FetchOrder::new(None, None, None);
        assert_eq!(come(&mut early, &[(3, 0), (3, 1)]), Ok(()));
        let ascending = Some(GroupOrder::Ascending);
        assert_eq!(early.clone().narrow(ascending, at(0, 0), at(3, 1)), Ok(()));
        assert_eq!(
            early.clone().narrow(ascending, at(0, 0), at(3, 0)),
            Err(Broken { rule: MalformedRule::OutOfRange, location: at(3, 1) })
        );
        assert_eq!(
            early.clone().narrow(ascending, at(3, 1), at(3, 1)),
            Err(Broken { rule: MalformedRule::OutOfRange, location: at(3, 0) })
        );
        assert_eq!(early.narrow(ascending, at(0, 0), at(3, 1)), Ok(()));
        assert_eq!(come(&mut early, &[(2, 0)]), Err(MalformedRule::GroupOrder));
        assert_eq!(come(&mut early, &[(3, 2)]), Err(MalformedRule::OutOfRange));
    }

    // "All Objects with Locations between the last serialized Object, if any, and this
    // Location, inclusive" (draft-18, "End of Range")
    #[test]
    fn an_end_of_range_is_where_the_next_object_follows() {
        let mut up = order(GroupOrder::Ascending);
        assert_eq!(up.end_of_range(at(2, 4)), Ok(()));
        assert_eq!(come(&mut up, &[(2, 4)]), Err(MalformedRule::ObjectOrder));
        assert_eq!(come(&mut up, &[(2, 5)]), Ok(()));
        assert_eq!(up.end_of_range(at(2, 4)), Err(MalformedRule::ObjectOrder));
        assert_eq!(up.end_of_range(at(4, 0)), Ok(()));
        assert_eq!(up.end_of_range(at(4, 0)), Err(MalformedRule::ObjectOrder));
        assert_eq!(up.end_of_range(at(3, 0)), Err(MalformedRule::GroupOrder));
        // There are no objects between an object and itself.
        assert_eq!(come(&mut up, &[(5, 0)]), Ok(()));
        assert_eq!(up.end_of_range(at(5, 0)), Ok(()));
    }

    // Draft-16, "Malformed Tracks" 2: "an Object with a particular Subgroup ID is received, but
    // its Publisher Priority is different from that of the previous Object with the same".
    #[test]
    fn a_subgroup_has_one_priority() {
        let mut up = order(GroupOrder::Ascending);
        assert_eq!(up.object(at(3, 0), Some(1), 7), Ok(()));
        assert_eq!(up.object(at(3, 1), Some(2), 9), Ok(()));
        assert_eq!(up.object(at(3, 2), None, 9), Ok(()));
        assert_eq!(up.object(at(3, 3), Some(1), 8), Err(MalformedRule::SubgroupPriority));
        // Another group's subgroups are others.
        assert_eq!(up.object(at(4, 0), Some(1), 8), Ok(()));
    }

    #[test]
    fn what_is_remembered_of_subgroups_is_bounded() {
        let mut any = FetchOrder::new(None, None, None);
        for object in 0..10_000 {
            assert_eq!(any.object(at(0, object), Some(object), 1), Ok(()));
        }
        assert!(any.priorities.len() <= MAX_SUBGROUPS);
    }
}
