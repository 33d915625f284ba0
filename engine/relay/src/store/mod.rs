//! [`Store`]: the objects of one track that a relay has.
//!
//! It is the log from which subscribers that fell behind catch up, subgroup by subgroup, and the
//! cache that answers FETCH, by location. Besides objects it has knowledge: of which locations it
//! has everything that exists. What is outside that is unknown, whatever is held around it; what
//! was forgotten becomes unknown, never absent.

mod admit;
mod ages;
mod forget;
mod group;
mod ids;
mod known;
mod object;
mod read;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::OccupiedEntry;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::Timestamp;
use moqt_engine::model::{Location, ObjectStatus};
use moqt_engine::wire::{FetchObject, ObjectDatagram, ObjectHeader};

use admit::{AFTER_SUBGROUP_END, ANOTHER_PAYLOAD, Arrival, TWO_PRIORITIES, after_in_group};
use ages::Ages;
use group::{Group, SUBGROUP_CHARGE, Subgroup};
pub(crate) use group::{SubgroupEnd, SubgroupFacts, SubgroupKey};
use known::{Known, LAST, successor};
pub(crate) use object::{Forwarding, Object};
pub(crate) use read::Next;

/// Bounds on what is kept of a track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Objects, those with a status too. The oldest groups are forgotten, and when only the newest
    /// is left, its oldest objects.
    pub(crate) objects: usize,
    /// Bytes. The oldest groups are forgotten; the newest is kept up to twice that, then its
    /// oldest objects are forgotten. An object counts as 640 and its properties and payload, a
    /// subgroup as 320: what they take in memory.
    pub(crate) bytes: usize,
    /// Time for which an object may be read after it began to come in.
    pub(crate) max_age: Duration,
    /// The size of the buffers that payload comes in as part of. What is shorter than half of it
    /// is copied and counts as itself; what is longer is shared and counts as that much at least.
    pub(crate) receive_buffer: usize,
}

/// What an object that begins is to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It has not come before.
    New,
    /// It has come before. What is kept stays as it is, with the properties it came with first.
    Known {
        /// All of it has.
        is_complete: bool,
    },
    /// It is known not to exist: it is neither kept nor to be forwarded.
    Absent,
    /// It contradicts what came before: the track is malformed. It is not kept.
    Contradiction(&'static str),
}

/// The objects of one track, and what is known of those that there are.
#[derive(Debug)]
pub(crate) struct Store {
    limits: Limits,
    groups: BTreeMap<u64, Group>,
    /// Objects that exist.
    objects: BTreeMap<Location, Box<Object>>,
    /// Objects with a status, which say that others do not exist.
    markers: BTreeMap<Location, Box<Object>>,
    /// Where everything that exists is in `objects`, though maybe not all of its payload.
    known: Known,
    /// The part of that where, as a publisher said outright, nothing can be.
    denied: Known,
    /// What is whole or has a status, by when it began.
    ages: Ages,
    bytes: usize,
    end_of_track: Option<Location>,
    /// The largest ID of a group that was here and is forgotten.
    forgotten: Option<u64>,
}

impl Store {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: BTreeMap::new(),
            objects: BTreeMap::new(),
            markers: BTreeMap::new(),
            known: Known::default(),
            denied: Known::default(),
            ages: Ages::default(),
            bytes: 0,
            end_of_track: None,
            forgotten: None,
        }
    }

    /// A stream of the subgroup begins. What an earlier one said of it is kept; the error is that
    /// this one says another priority.
    pub(crate) fn open(
        &mut self,
        key: SubgroupKey,
        facts: SubgroupFacts,
    ) -> Result<(), &'static str> {
        let subgroup = self.subgroup(key, facts.publisher_priority);
        if subgroup.publisher_priority != facts.publisher_priority {
            return Err(TWO_PRIORITIES);
        }
        subgroup.facts = subgroup.facts.or(Some(facts));
        if matches!(subgroup.end, Some(SubgroupEnd::Reset(_))) {
            // Another stream goes on where one broke off.
            subgroup.end = None;
        }
        self.enforce_limits();
        Ok(())
    }

    /// An object of the subgroup begins in a stream. If the subgroup is not here (it was forgotten
    /// while it came in) the object is not kept, and is [`New`](Begun::New) each time.
    pub(crate) fn begin(
        &mut self,
        now: Timestamp,
        key: SubgroupKey,
        header: &ObjectHeader,
    ) -> Begun {
        let id = header.object_id;
        let forwarding = Forwarding::Subgroup(key.subgroup);
        let location = Location::new(key.group, id);
        let group = self.groups.get_mut(&key.group);
        let Some(subgroup) = group.and_then(|group| group.subgroups.get_mut(&key.subgroup)) else {
            let held = self.objects.get(&location).or_else(|| self.markers.get(&location));
            let publisher_priority = held.map_or(0, |held| held.publisher_priority);
            let arrival =
                Arrival { now, location, forwarding, publisher_priority, by_fetch: false };
            return self.compare(arrival, header).unwrap_or(Begun::New);
        };
        let is_over = subgroup.is_whole && subgroup.end == Some(SubgroupEnd::Finished);
        if is_over && header.status == ObjectStatus::Normal && Some(id) > subgroup.last {
            return Begun::Contradiction(AFTER_SUBGROUP_END);
        }
        subgroup.last = subgroup.last.max(Some(id));
        let publisher_priority = subgroup.publisher_priority;
        let arrival = Arrival { now, location, forwarding, publisher_priority, by_fetch: false };
        self.admit(arrival, header, false)
    }

    /// Payload of an object that began in a stream of the subgroup, from this offset on: gives back
    /// the part of it that was not here, which is its end. The error is that it differs from what
    /// was here.
    ///
    /// Of an object that is not kept all payload is new. Payload beyond a hole is not kept, either.
    pub(crate) fn payload(
        &mut self,
        key: SubgroupKey,
        object_id: u64,
        offset: u64,
        piece: Bytes,
    ) -> Result<Option<Bytes>, &'static str> {
        self.payload_at(Location::new(key.group, object_id), offset, piece)
    }

    /// The rest of an object that began will never come. It is forgotten, unless it is whole.
    pub(crate) fn abandon(&mut self, key: SubgroupKey, object_id: u64) {
        self.abandon_at(Location::new(key.group, object_id));
    }

    /// No more comes of the subgroup. What it says if that contradicts what came before: it was to
    /// be the end of its group, and there is more in the group.
    pub(crate) fn end(&mut self, key: SubgroupKey, end: SubgroupEnd) -> Option<&'static str> {
        let group = self.groups.get_mut(&key.group)?;
        let subgroup = group.subgroups.get_mut(&key.subgroup)?;
        if subgroup.end == Some(SubgroupEnd::Finished) {
            return None;
        }
        subgroup.end = Some(end);
        // Of one that was forgotten in part it is not known which object was the last, and an empty
        // one does not say where its group ends.
        let ends_group = subgroup.facts.is_some_and(|facts| facts.end_of_group);
        if end != SubgroupEnd::Finished || !subgroup.is_whole || !ends_group {
            return None;
        }
        let last = Location::new(key.group, subgroup.last?);
        self.state([after_in_group(last), None, None]).err()
    }

    /// An object comes in a datagram, whole.
    pub(crate) fn datagram(
        &mut self,
        now: Timestamp,
        datagram: &ObjectDatagram,
        publisher_priority: u8,
    ) -> Begun {
        let ObjectDatagram { header, payload } = datagram;
        let arrival = Arrival {
            now,
            location: header.location,
            forwarding: Forwarding::Datagram,
            publisher_priority,
            by_fetch: false,
        };
        let begins = ObjectHeader {
            object_id: header.location.object,
            payload_len: payload.len() as u64,
            status: header.status,
            properties: header.properties.clone(),
        };
        let begun = self.admit(arrival, &begins, header.end_of_group);
        if matches!(begun, Begun::New | Begun::Known { .. })
            && let Err(what) = self.payload_at(header.location, 0, payload.clone())
        {
            return Begun::Contradiction(what);
        }
        begun
    }

    /// Whether an object that has come in a datagram had come by FETCH only before.
    pub(crate) fn is_first_datagram(&mut self, location: Location) -> bool {
        let held = self.objects.get_mut(&location);
        let held = held.or_else(|| self.markers.get_mut(&location));
        held.is_some_and(|held| !core::mem::replace(&mut held.has_come_live, true))
    }

    /// An object begins that comes by FETCH; its payload follows through
    /// [`payload_at`](Self::payload_at).
    pub(crate) fn begin_fetched(&mut self, now: Timestamp, object: &FetchObject) -> Begun {
        let location = object.location;
        let forwarding = object.subgroup_id.map_or(Forwarding::Datagram, Forwarding::Subgroup);
        if let Some(subgroup) = object.subgroup_id
            && let Some(record) = self.record(SubgroupKey { group: location.group, subgroup })
            && record.publisher_priority != object.publisher_priority
        {
            return Begun::Contradiction(TWO_PRIORITIES);
        }
        let header = ObjectHeader {
            object_id: object.location.object,
            payload_len: object.payload_len,
            status: object.status,
            properties: object.properties.clone(),
        };
        let publisher_priority = object.publisher_priority;
        let arrival = Arrival { now, location, forwarding, publisher_priority, by_fetch: true };
        self.admit(arrival, &header, false)
    }

    /// Like [`payload`](Self::payload), of an object that came any way.
    pub(crate) fn payload_at(
        &mut self,
        location: Location,
        offset: u64,
        mut piece: Bytes,
    ) -> Result<Option<Bytes>, &'static str> {
        if piece.is_empty() {
            return Ok(None);
        }
        let is_last = self.objects.last_key_value().is_some_and(|(last, _)| *last == location);
        let object = if is_last {
            self.objects.last_entry().map(OccupiedEntry::into_mut)
        } else {
            self.objects.get_mut(&location)
        };
        let Some(object) = object else { return Ok(Some(piece)) };
        if object.differs(offset, &piece) {
            return Err(ANOTHER_PAYLOAD);
        }
        let Some(have) = object.received.checked_sub(offset) else { return Ok(Some(piece)) };
        let have = usize::try_from(have).unwrap_or(usize::MAX).min(piece.len());
        let new = piece.split_off(have);
        let left = object.header.payload_len.saturating_sub(object.received);
        if new.is_empty() || left == 0 {
            return Ok(None);
        }
        let keep = usize::try_from(left).unwrap_or(usize::MAX).min(new.len());
        let before = object.charge();
        object.append(new.slice(..keep), self.limits.receive_buffer);
        self.bytes = self.bytes.saturating_add(object.charge().saturating_sub(before));
        if object.is_complete() {
            self.ages.insert(object.arrived, location);
            self.known.insert(location, location);
        }
        self.enforce_limits();
        Ok(Some(new))
    }

    /// Like [`abandon`](Self::abandon), of an object that came any way.
    pub(crate) fn abandon_at(&mut self, location: Location) {
        if self.objects.get(&location).is_some_and(|object| !object.is_complete()) {
            self.lose(location);
        }
    }

    /// Everything that exists from `first` to `last` is here: what a FETCH response says of the
    /// locations between two of its objects, and before and after them.
    ///
    /// Tell it of each gap by itself, and not of a range that objects came in: they may have been
    /// forgotten since.
    pub(crate) fn note_known(&mut self, first: Location, last: Location) {
        self.known.insert(first, last);
        self.enforce_limits();
    }

    /// The track ends with this location: nothing exists after it. Nothing is noted if something
    /// does.
    pub(crate) fn note_end_of_track(&mut self, at: Location) {
        let after = successor(at).map(|after| (after, LAST));
        if self.state([after, None, None]).is_ok() {
            self.end_of_track = Some(at);
        }
    }

    /// The final object of the track, if it is known: the one with status END_OF_TRACK, or the end
    /// of a FETCH whose response said so (draft-18, "Malformed Tracks"). Nothing exists after it.
    pub(crate) fn end_of_track(&self) -> Option<Location> {
        self.end_of_track
    }

    /// The record of a subgroup, made if it is not there.
    fn subgroup(&mut self, key: SubgroupKey, publisher_priority: u8) -> &mut Subgroup {
        let group = self.groups.entry(key.group).or_default();
        let is_whole = Some(key.group) > self.forgotten && Some(key.subgroup) > group.forgotten;
        let bytes = &mut self.bytes;
        group.subgroups.entry(key.subgroup).or_insert_with(|| {
            *bytes = bytes.saturating_add(SUBGROUP_CHARGE);
            Subgroup::new(publisher_priority, is_whole)
        })
    }
}

#[cfg(test)]
mod tests;
