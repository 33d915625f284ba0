//! What a [`Store`] forgets: by age, for want of room, or because it is told to.

use alloc::boxed::Box;
use core::time::Duration;

use moqt_engine::Timestamp;
use moqt_engine::model::{Location, ObjectStatus};

use super::group::SUBGROUP_CHARGE;
use super::known::whole_group;
use super::{Forwarding, Limits, Object, Store};

impl Store {
    /// What is kept, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many objects are kept, those with a status too.
    pub(crate) fn objects(&self) -> usize {
        self.objects.len().saturating_add(self.markers.len())
    }

    /// Sets the time for which an object may be read (draft-18, "MAX CACHE DURATION").
    pub(crate) fn set_max_age(&mut self, max_age: Duration) {
        self.limits.max_age = max_age;
    }

    /// Forgets objects that are too old. That nothing is in a place stays known.
    ///
    /// Do it before [`after`](Self::after), which gives what is there. An object of which more is
    /// to come is kept until that has come.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some((arrived, location)) = self.ages.first() {
            if !self.is_past(arrived, now) {
                break;
            }
            self.ages.pop_first();
            if self.is_of_age(arrived, location) {
                self.forget(location);
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let (arrived, _) = self.ages.first()?;
        // At the very age it may still be read.
        let just_after = Duration::from_micros(1);
        Some(arrived.saturating_add(self.limits.max_age).saturating_add(just_after))
    }

    /// Forgets the group with the smallest ID, and all that is known of it, but not the one with
    /// the largest. Whether there was one.
    ///
    /// What still comes in of its subgroups is not kept.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        if self.groups.len() < 2 {
            return false;
        }
        let Some((group, _)) = self.groups.first_key_value() else { return false };
        self.forget_group(*group);
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Whether an object may be read no more. One of which more is to come is never too old: it is
    /// when that has come.
    pub(super) fn is_old(&self, object: &Object, now: Timestamp) -> bool {
        object.is_complete() && self.is_past(object.arrived, now)
    }

    pub(super) fn is_past(&self, arrived: Timestamp, now: Timestamp) -> bool {
        now.saturating_since(arrived) > self.limits.max_age
    }

    /// Whether the object that began then is here, whole.
    fn is_of_age(&self, arrived: Timestamp, location: Location) -> bool {
        let held = self.objects.get(&location).or_else(|| self.markers.get(&location));
        held.is_some_and(|held| held.arrived == arrived && held.is_complete())
    }

    /// Takes an object out, and nothing else.
    pub(super) fn take(&mut self, location: Location) -> Option<Box<Object>> {
        let object = self.objects.remove(&location).or_else(|| self.markers.remove(&location))?;
        self.ages.leave(object.arrived, location);
        self.bytes = self.bytes.saturating_sub(object.charge());
        if let Some(group) = self.groups.get_mut(&location.group) {
            group.objects = group.objects.saturating_sub(1);
            if let Forwarding::Subgroup(id) = object.forwarding
                && let Some(subgroup) = group.subgroups.get_mut(&id)
            {
                subgroup.objects.remove(location.object);
            }
        }
        Some(object)
    }

    /// Forgets an object. It is unknown from now on; what one with a status said stays known.
    pub(super) fn lose(&mut self, location: Location) {
        let Some(object) = self.take(location) else { return };
        if object.header.status == ObjectStatus::Normal {
            self.known.remove(location, location);
        }
        if let Forwarding::Subgroup(id) = object.forwarding
            && let Some(group) = self.groups.get_mut(&location.group)
            && let Some(subgroup) = group.subgroups.get_mut(&id)
        {
            subgroup.lost = subgroup.lost.max(Some(location.object));
        }
    }

    /// Forgets an object, and its subgroup and group if those were over and have nothing left.
    fn forget(&mut self, location: Location) {
        let object = self.objects.get(&location).or_else(|| self.markers.get(&location));
        let Some(forwarding) = object.map(|object| object.forwarding) else { return };
        self.lose(location);
        let is_newest = self.groups.last_key_value().is_some_and(|(id, _)| *id == location.group);
        let Some(group) = self.groups.get_mut(&location.group) else { return };
        if let Forwarding::Subgroup(id) = forwarding
            && let Some(subgroup) = group.subgroups.get(&id)
            && subgroup.end.is_some()
            && subgroup.objects.is_empty()
        {
            group.subgroups.remove(&id);
            group.forgotten = group.forgotten.max(Some(id));
            self.bytes = self.bytes.saturating_sub(SUBGROUP_CHARGE);
        }
        if group.is_empty() && !is_newest {
            self.groups.remove(&location.group);
            self.forgotten = self.forgotten.max(Some(location.group));
        }
    }

    /// Forgets what the limits leave no room for.
    pub(super) fn enforce_limits(&mut self) {
        let Limits { objects, bytes, .. } = self.limits;
        while (self.bytes > bytes || self.objects() > objects) && self.forget_oldest() {}
        let twice = bytes.saturating_mul(2);
        while (self.bytes > twice || self.objects() > objects) && self.trim_newest() {}
        if self.ages.len() > self.objects().saturating_mul(2).max(16) {
            let mut ages = core::mem::take(&mut self.ages);
            ages.retain(|arrived, location| self.is_of_age(arrived, location));
            self.ages = ages;
        }
        // Ranges that nothing is in cost room, too, and no object pays for them.
        let ranges = objects.saturating_mul(2).max(16);
        while self.known.len() > ranges && self.forget_lowest_range() {}
        while self.denied.len() > ranges {
            let Some((first, last)) = self.denied.lowest() else { break };
            self.denied.remove(first, last);
        }
    }

    /// Forgets the first object of the only group, or all of its subgroups if it has none, and
    /// what is known of the group up to there.
    fn trim_newest(&mut self) -> bool {
        let first = self.objects.first_key_value().map(|(location, _)| *location);
        let marker = self.markers.first_key_value().map(|(location, _)| *location);
        let Some(location) = first.into_iter().chain(marker).min() else {
            let Some((group, _)) = self.groups.last_key_value() else { return false };
            self.forget_group(*group);
            return true;
        };
        self.forget(location);
        let (first, _) = whole_group(location.group);
        self.unlearn(first, location);
        true
    }

    fn forget_lowest_range(&mut self) -> bool {
        let Some((first, last)) = self.known.lowest() else { return false };
        let Some((object, _)) = self.objects.range(first..=last).next() else {
            self.unlearn(first, last);
            return true;
        };
        let (object, (_, end)) = (*object, whole_group(object.group));
        if self.groups.last_key_value().is_some_and(|(id, _)| *id == object.group) {
            self.forget(object);
            self.unlearn(first, object);
        } else {
            self.forget_group(object.group);
            self.unlearn(first, end);
        }
        true
    }

    fn forget_group(&mut self, id: u64) {
        let (first, last) = whole_group(id);
        while let Some((location, _)) = self.objects.range(first..=last).next() {
            self.take(*location);
        }
        while let Some((location, _)) = self.markers.range(first..=last).next() {
            self.take(*location);
        }
        self.unlearn(first, last);
        if let Some(group) = self.groups.remove(&id) {
            let charge = group.subgroups.len().saturating_mul(SUBGROUP_CHARGE);
            self.bytes = self.bytes.saturating_sub(charge);
        }
        self.forgotten = self.forgotten.max(Some(id));
    }

    fn unlearn(&mut self, first: Location, last: Location) {
        self.known.remove(first, last);
        self.denied.remove(first, last);
    }
}
