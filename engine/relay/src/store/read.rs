//! What is read from a [`Store`]: subgroups in their order, and ranges for FETCH.

use moqt_engine::Timestamp;
use moqt_engine::model::Location;

use super::group::Subgroup;
use super::known::{predecessor, successor};
use super::{Forwarding, Object, Store, SubgroupKey};

/// What comes next of a range, in ascending order.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// This object, whole and not too old. Nothing exists between the first location asked for
    /// and it.
    Object { location: Location, object: &'a Object },
    /// Nothing is known of some of what is up to `until`, which is included; what comes next is
    /// after that.
    Unknown { until: Location },
    /// Nothing exists before this object, which is coming in: ask again later.
    Incomplete {
        /// Which it is.
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "who waits asks again for what it asked for")
        )]
        location: Location,
    },
    /// Nothing exists in the range.
    End,
}

impl Store {
    /// Whether an object of the subgroup after this ID (`None`: any) came and was forgotten, so
    /// that who has got no further cannot go on.
    pub(crate) fn has_lost(&self, key: SubgroupKey, object_id: Option<u64>) -> bool {
        self.record(key).is_none_or(|subgroup| !subgroup.is_whole || subgroup.lost > object_id)
    }

    /// The first object of the subgroup after this ID (`None`: the first there is) that is here,
    /// also one with a status. Others between may have been [lost](Self::has_lost).
    pub(crate) fn after(&self, key: SubgroupKey, object_id: Option<u64>) -> Option<&Object> {
        let id = self.record(key)?.objects.after(object_id)?;
        self.object(key, id)
    }

    /// An object of the subgroup, also one with a status.
    pub(crate) fn object(&self, key: SubgroupKey, object_id: u64) -> Option<&Object> {
        let location = Location::new(key.group, object_id);
        let object = self.objects.get(&location).or_else(|| self.markers.get(&location))?;
        (object.forwarding == Forwarding::Subgroup(key.subgroup)).then_some(object)
    }

    /// What comes next from `first` to `last`.
    pub(crate) fn next(&self, now: Timestamp, first: Location, last: Location) -> Next<'_> {
        if first > last {
            return Next::End;
        }
        let end = self.known.range_of(first).map(|(_, end)| end);
        let held = self.objects.range(first..=end.unwrap_or(first).min(last)).next();
        match (held, end) {
            (Some((location, object)), _) if self.is_old(object, now) => {
                self.unknown(now, *location, last)
            }
            (Some((location, object)), _) if object.is_complete() => {
                Next::Object { location: *location, object }
            }
            (Some((location, _)), _) => Next::Incomplete { location: *location },
            (None, None) => self.unknown(now, first, last),
            (None, Some(end)) => match successor(end).filter(|after| *after <= last) {
                Some(after) => self.next(now, after, last),
                None => Next::End,
            },
        }
    }

    /// Whether everything that exists from `first` to `last` is coming in, or is here and not too
    /// old.
    pub(crate) fn is_known(&self, now: Timestamp, first: Location, last: Location) -> bool {
        let is_fresh = |at: Location, end: Location| {
            let oldest = self.ages.first().map(|(arrived, _)| arrived);
            let has_old = oldest.is_some_and(|arrived| self.is_past(arrived, now));
            !has_old || self.objects.range(at..=end).all(|(_, object)| !self.is_old(object, now))
        };
        let mut at = Some(first);
        while let Some(first) = at.filter(|at| *at <= last) {
            let end = match self.known.range_of(first) {
                Some((_, end)) if is_fresh(first, end.min(last)) => end,
                None if self.objects.contains_key(&first) => first,
                _ => return false,
            };
            at = successor(end);
        }
        true
    }

    /// The largest group smaller than `group`, but no smaller than that of `first`, of which
    /// something from `first` on is here or unknown.
    pub(crate) fn group_below(&self, first: Location, group: u64) -> Option<u64> {
        let last = predecessor(Location::new(group, 0)).filter(|last| *last >= first)?;
        let held = self.objects.range(first..=last).next_back().map(|(location, _)| location.group);
        let unknown = match self.known.range_of(last) {
            None => Some(last),
            Some((begin, _)) => predecessor(begin).filter(|before| *before >= first),
        };
        held.max(unknown.map(|unknown| unknown.group))
    }

    /// The end of what is unknown from this location on, which is unknown.
    fn unknown(&self, now: Timestamp, from: Location, last: Location) -> Next<'_> {
        let mut until = from;
        while let Some(at) = successor(until).filter(|at| *at <= last) {
            let held = self.objects.get(&at);
            if held.is_some_and(|object| self.is_old(object, now)) {
                until = at;
                continue;
            }
            if held.is_some() || self.known.contains(at) {
                break;
            }
            // Nothing is at `at`; the next thing ends the unknown.
            let known = self.known.begins_after(at);
            let held = self.objects.range(at..=last).next().map(|(location, _)| *location);
            let next = known.into_iter().chain(held).min();
            until = next.and_then(predecessor).map_or(last, |before| before.min(last));
        }
        Next::Unknown { until }
    }

    /// The first object, counted back from this one, after which nothing more of the subgroup
    /// exists up to this one.
    pub(crate) fn nothing_before(&self, key: SubgroupKey, object: Option<u64>) -> Option<u64> {
        let at = Location::new(key.group, object?);
        let Some((first, _)) = self.known.range_of(at) else { return object };
        let first = if first.group < key.group { 0 } else { first.object };
        let held = self.record(key).and_then(|record| record.objects.up_to(at.object));
        held.filter(|held| *held >= first).or(first.checked_sub(1))
    }

    pub(super) fn record(&self, key: SubgroupKey) -> Option<&Subgroup> {
        self.groups.get(&key.group)?.subgroups.get(&key.subgroup)
    }
}
