//! Whether a [`Store`] takes an object that begins, and what the object says of others.

use alloc::boxed::Box;

use moqt_engine::Timestamp;
use moqt_engine::model::{Location, ObjectStatus, property_type};
use moqt_engine::wire::ObjectHeader;

use super::known::{LAST, predecessor, whole_group};
use super::{Begun, Forwarding, Object, Store, SubgroupKey};

pub(super) const ANOTHER_FORWARDING: &str = "an object came again in another subgroup or way";
pub(super) const ANOTHER_PRIORITY: &str = "an object came again with another priority";
pub(super) const ANOTHER_PAYLOAD: &str = "an object came again with another payload";
pub(super) const ANOTHER_STATUS: &str = "an object came again with another status";
pub(super) const TWO_PRIORITIES: &str = "two priorities in one subgroup";
pub(super) const AFTER_SUBGROUP_END: &str = "an object after the last of its subgroup";
pub(super) const WHERE_NONE_CAN_BE: &str = "an object in a gap or after an end that was stated";
pub(super) const CLAIM_COVERS_OBJECT: &str = "a gap or end stated where an object was received";
pub(super) const TWO_GAPS: &str = "two gaps before one group";
pub(super) const GAP_BEFORE_ZERO: &str = "a gap larger than the ID after it";

/// How an object came.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) now: Timestamp,
    pub(super) location: Location,
    pub(super) forwarding: Forwarding,
    pub(super) publisher_priority: u8,
    pub(super) by_fetch: bool,
}

impl Store {
    /// An object begins.
    pub(super) fn admit(
        &mut self,
        arrival: Arrival,
        header: &ObjectHeader,
        ends_group: bool,
    ) -> Begun {
        let location = arrival.location;
        if let Some(begun) = self.compare(arrival, header) {
            return begun;
        }
        let claims = match self.claims(header, location, ends_group) {
            Ok(claims) => claims,
            Err(what) => return Begun::Contradiction(what),
        };
        if let Err(what) = self.state(claims) {
            return Begun::Contradiction(what);
        }
        if let Some(gap) = header.properties.int(property_type::PRIOR_GROUP_ID_GAP) {
            self.groups.entry(location.group).or_default().gap = Some(gap);
        }
        match header.status {
            ObjectStatus::Normal => {}
            ObjectStatus::EndOfTrack => self.end_of_track = Some(location),
            _ => self.known.insert(location, location),
        }
        self.keep(arrival, header);
        Begun::New
    }

    /// What an object is to those that are here; `None` if it is new.
    pub(super) fn compare(&mut self, arrival: Arrival, header: &ObjectHeader) -> Option<Begun> {
        let location = arrival.location;
        if self.is_beyond(location) {
            return None;
        }
        if self.objects.get(&location).is_some_and(|held| self.is_old(held, arrival.now)) {
            self.lose(location);
        }
        let Some(held) = self.objects.get(&location).or_else(|| self.markers.get(&location)) else {
            if header.status != ObjectStatus::Normal || !self.known.contains(location) {
                return None;
            }
            return Some(if self.denied.contains(location) {
                Begun::Contradiction(WHERE_NONE_CAN_BE)
            } else {
                Begun::Absent
            });
        };
        // On draft 14 an object may cease to exist, and earlier copies of it may come later
        // (draft-14, "Caching Relays").
        let gone = ObjectStatus::DoesNotExist;
        if header.status == gone && held.header.status == ObjectStatus::Normal {
            self.take(location);
            self.known.insert(location, location);
            return Some(Begun::Absent);
        }
        if held.header.status == gone && header.status != gone {
            return Some(Begun::Absent);
        }
        let is_complete = held.is_complete();
        Some(
            match held.contradiction(
                header,
                arrival.forwarding,
                arrival.publisher_priority,
                arrival.by_fetch,
            ) {
                Some(what) => Begun::Contradiction(what),
                None => Begun::Known { is_complete },
            },
        )
    }

    /// Whether a location is after everything that is here or known.
    fn is_beyond(&self, location: Location) -> bool {
        let object = self.objects.last_key_value().map(|(last, _)| *last);
        let marker = self.markers.last_key_value().map(|(last, _)| *last);
        object.max(marker).max(self.known.last()) < Some(location)
    }

    /// What an object says of others: up to three ranges that have nothing in them.
    fn claims(
        &self,
        header: &ObjectHeader,
        location: Location,
        ends_group: bool,
    ) -> Result<[Option<(Location, Location)>; 3], &'static str> {
        let (_, last_of_group) = whole_group(location.group);
        let after = match header.status {
            ObjectStatus::EndOfGroup => Some((location, last_of_group)),
            ObjectStatus::EndOfTrack => Some((location, LAST)),
            ObjectStatus::Normal if ends_group => after_in_group(location),
            _ => None,
        };
        let (mut objects, mut groups) = (None, None);
        if !header.properties.is_empty() {
            if let Some(gap) = header.properties.int(property_type::PRIOR_OBJECT_ID_GAP) {
                let first = location.object.checked_sub(gap).ok_or(GAP_BEFORE_ZERO)?;
                objects = location.object.checked_sub(1).map(|last| {
                    (Location::new(location.group, first), Location::new(location.group, last))
                });
            }
            if let Some(gap) = header.properties.int(property_type::PRIOR_GROUP_ID_GAP) {
                let first = location.group.checked_sub(gap).ok_or(GAP_BEFORE_ZERO)?;
                let before = self.groups.get(&location.group).and_then(|group| group.gap);
                if before.is_some_and(|before| before != gap) {
                    return Err(TWO_GAPS);
                }
                let last = predecessor(Location::new(location.group, 0));
                groups = last.map(|last| (Location::new(first, 0), last));
            }
        }
        Ok([after, objects, groups])
    }

    /// Notes that nothing is in any of these ranges, as a publisher says. The error is that it is
    /// not so; nothing is noted then.
    pub(super) fn state(
        &mut self,
        claims: [Option<(Location, Location)>; 3],
    ) -> Result<(), &'static str> {
        let claims = || claims.into_iter().flatten().filter(|(first, last)| first <= last);
        if claims().any(|(first, last)| self.objects.range(first..=last).next().is_some()) {
            return Err(CLAIM_COVERS_OBJECT);
        }
        for (first, last) in claims() {
            self.known.insert(first, last);
            self.denied.insert(first, last);
        }
        self.enforce_limits();
        Ok(())
    }

    /// Adds an object, without payload so far.
    fn keep(&mut self, arrival: Arrival, header: &ObjectHeader) {
        let header = ObjectHeader { properties: header.properties.detached(), ..header.clone() };
        let Arrival { now, location, forwarding, publisher_priority, by_fetch } = arrival;
        let is_marker = header.status != ObjectStatus::Normal;
        let object = Object::new(header, now, forwarding, publisher_priority, by_fetch);
        let object = Box::new(object);
        if let Forwarding::Subgroup(subgroup) = forwarding {
            let key = SubgroupKey { group: location.group, subgroup };
            let subgroup = self.subgroup(key, publisher_priority);
            subgroup.last = subgroup.last.max(Some(location.object));
            subgroup.objects.insert(location.object);
        }
        self.groups.entry(location.group).or_default().objects += 1;
        self.bytes = self.bytes.saturating_add(object.charge());
        if object.is_complete() {
            self.ages.insert(now, location);
        }
        if is_marker {
            self.markers.insert(location, object);
        } else {
            if object.is_complete() {
                self.known.insert(location, location);
            }
            self.objects.insert(location, object);
        }
        self.enforce_limits();
    }
}

/// What comes after a location in its group, if there is anything.
pub(super) fn after_in_group(location: Location) -> Option<(Location, Location)> {
    let (_, last) = whole_group(location.group);
    let first = location.object.checked_add(1)?;
    Some((Location::new(location.group, first), last))
}
