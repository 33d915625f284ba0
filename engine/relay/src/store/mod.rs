//! [`Store`]: the objects of one track that a relay has.

use alloc::collections::BTreeMap;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::Timestamp;
use moqt_engine::model::{Location, StreamResetCode};
use moqt_engine::wire::{FetchObject, ObjectDatagram, ObjectHeader};
use smallvec::SmallVec;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubgroupKey {
    pub(crate) group: u64,
    pub(crate) subgroup: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubgroupFacts {
    pub(crate) publisher_priority: u8,
    pub(crate) end_of_group: bool,
    pub(crate) first_object: bool,
    pub(crate) has_properties: bool,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubgroupEnd {
    Finished,
    Reset(StreamResetCode),
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    Subgroup(u64),
    Datagram,
}
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) header: ObjectHeader,
    pub(crate) pieces: SmallVec<[Bytes; 1]>,
    pub(crate) received: u64,
    pub(crate) arrived: Timestamp,
    pub(crate) forwarding: Forwarding,
    pub(crate) publisher_priority: u8,
}
impl Object {
    pub(crate) fn is_complete(&self) -> bool {
        self.received >= self.header.payload_len
    }
}
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) objects: usize,
    pub(crate) bytes: usize,
    pub(crate) max_age: Duration,
    pub(crate) receive_buffer: usize,
}
pub(crate) enum Begun {
    New,
    Known { is_complete: bool },
    Absent,
    Contradiction(&'static str),
}
pub(crate) enum Next<'a> {
    Object { location: Location, object: &'a Object },
    Unknown { until: Location },
    Incomplete { location: Location },
    End,
}
#[derive(Debug)]
pub(crate) struct Store {
    limits: Limits,
    objects: BTreeMap<Location, Object>,
    subgroups: BTreeMap<SubgroupKey, (SubgroupFacts, Option<SubgroupEnd>)>,
    bytes: usize,
}
impl Store {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, objects: BTreeMap::new(), subgroups: BTreeMap::new(), bytes: 0 }
    }
    pub(crate) fn open(
        &mut self,
        key: SubgroupKey,
        facts: SubgroupFacts,
    ) -> Result<(), &'static str> {
        self.subgroups.entry(key).or_insert((facts, None));
        Ok(())
    }
    fn add(&mut self, at: Location, object: Object) -> Begun {
        if let Some(known) = self.objects.get(&at) {
            return Begun::Known { is_complete: known.is_complete() };
        }
        self.objects.insert(at, object);
        self.bytes += 128;
        Begun::New
    }
    pub(crate) fn begin(
        &mut self,
        now: Timestamp,
        key: SubgroupKey,
        header: &ObjectHeader,
    ) -> Begun {
        let Some((facts, _)) = self.subgroups.get(&key) else { return Begun::Absent };
        let object = Object {
            header: header.clone(),
            pieces: SmallVec::new(),
            received: 0,
            arrived: now,
            forwarding: Forwarding::Subgroup(key.subgroup),
            publisher_priority: facts.publisher_priority,
        };
        let begun = self.add(Location::new(key.group, header.object_id), object);
        while self.bytes > self.limits.bytes && self.forget_oldest() {}
        begun
    }
    pub(crate) fn payload(
        &mut self,
        key: SubgroupKey,
        object_id: u64,
        offset: u64,
        piece: Bytes,
    ) -> Result<Option<Bytes>, &'static str> {
        self.payload_at(Location::new(key.group, object_id), offset, piece)
    }
    pub(crate) fn payload_at(
        &mut self,
        at: Location,
        offset: u64,
        piece: Bytes,
    ) -> Result<Option<Bytes>, &'static str> {
        let Some(object) = self.objects.get_mut(&at) else { return Ok(None) };
        let skip = object.received.saturating_sub(offset);
        if skip >= piece.len() as u64 || offset > object.received {
            return Ok(None);
        }
        let new = piece.slice(skip as usize..);
        object.received += new.len() as u64;
        self.bytes += new.len();
        object.pieces.push(new.clone());
        Ok(Some(new))
    }
    pub(crate) fn abandon(&mut self, key: SubgroupKey, object_id: u64) {
        self.abandon_at(Location::new(key.group, object_id));
    }
    pub(crate) fn abandon_at(&mut self, at: Location) {
        if self.objects.get(&at).is_some_and(|object| !object.is_complete()) {
            if let Some(object) = self.objects.remove(&at) {
                self.bytes -= 128 + object.received as usize;
            }
        }
    }
    pub(crate) fn end(&mut self, key: SubgroupKey, end: SubgroupEnd) {
        if let Some((_, place)) = self.subgroups.get_mut(&key) {
            *place = Some(end);
        }
    }
    pub(crate) fn datagram(
        &mut self,
        now: Timestamp,
        datagram: &ObjectDatagram,
        publisher_priority: u8,
    ) -> Begun {
        let header = ObjectHeader {
            object_id: datagram.header.location.object,
            payload_len: datagram.payload.len() as u64,
            status: datagram.header.status,
            properties: datagram.header.properties.clone(),
        };
        let object = Object {
            header,
            pieces: SmallVec::from_iter([datagram.payload.clone()]),
            received: datagram.payload.len() as u64,
            arrived: now,
            forwarding: Forwarding::Datagram,
            publisher_priority,
        };
        self.bytes += datagram.payload.len();
        self.add(datagram.header.location, object)
    }
    pub(crate) fn begin_fetched(&mut self, now: Timestamp, object: &FetchObject) -> Begun {
        let header = ObjectHeader {
            object_id: object.location.object,
            payload_len: object.payload_len,
            status: object.status,
            properties: object.properties.clone(),
        };
        let forwarding = object.subgroup_id.map_or(Forwarding::Datagram, Forwarding::Subgroup);
        let kept = Object {
            header,
            pieces: SmallVec::new(),
            received: 0,
            arrived: now,
            forwarding,
            publisher_priority: object.publisher_priority,
        };
        self.add(object.location, kept)
    }
    pub(crate) fn note_known(&mut self, _first: Location, _last: Location) {}
    pub(crate) fn note_end_of_track(&mut self, _at: Location) {}
    pub(crate) fn end_of_track(&self) -> Option<Location> {
        None
    }
    pub(crate) fn facts(&self, key: SubgroupKey) -> Option<(SubgroupFacts, Option<SubgroupEnd>)> {
        self.subgroups.get(&key).copied()
    }
    pub(crate) fn after(&self, key: SubgroupKey, object_id: Option<u64>) -> Option<&Object> {
        let from = object_id.map_or(Some(0), |id| id.checked_add(1))?;
        let range = Location::new(key.group, from)..=Location::new(key.group, u64::MAX);
        self.objects
            .range(range)
            .map(|(_, object)| object)
            .find(|object| object.forwarding == Forwarding::Subgroup(key.subgroup))
    }
    pub(crate) fn object(&self, key: SubgroupKey, object_id: u64) -> Option<&Object> {
        self.objects.get(&Location::new(key.group, object_id))
    }
    pub(crate) fn next(&self, _now: Timestamp, first: Location, last: Location) -> Next<'_> {
        if first > last {
            return Next::End;
        }
        match self.objects.range(first..=last).next() {
            Some((at, object)) if object.is_complete() => Next::Object { location: *at, object },
            Some((at, _)) => Next::Incomplete { location: *at },
            None => Next::End,
        }
    }
    pub(crate) fn is_known(&self, _now: Timestamp, _first: Location, _last: Location) -> bool {
        true
    }
    pub(crate) fn group_below(&self, first: Location, group: u64) -> Option<u64> {
        self.objects.range(first..Location::new(group, 0)).next_back().map(|(at, _)| at.group)
    }
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(crate) fn objects(&self) -> usize {
        self.objects.len()
    }
    pub(crate) fn set_max_age(&mut self, max_age: Duration) {
        self.limits.max_age = max_age;
    }
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let max_age = self.limits.max_age;
        let bytes = &mut self.bytes;
        self.objects.retain(|_, object| {
            let keep = now.saturating_since(object.arrived) < max_age;
            if !keep {
                *bytes -= 128 + object.received as usize;
            }
            keep
        });
        if self.objects.is_empty() {
            self.subgroups.clear();
        }
    }
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.objects.values().map(|object| object.arrived.saturating_add(self.limits.max_age)).min()
    }
    pub(crate) fn forget_oldest(&mut self) -> bool {
        let (Some(first), Some(last)) = (
            self.objects.first_key_value().map(|(at, _)| at.group),
            self.objects.last_key_value().map(|(at, _)| at.group),
        ) else {
            return false;
        };
        if first == last {
            return false;
        }
        let bytes = &mut self.bytes;
        self.objects.retain(|at, object| {
            let keep = at.group != first;
            if !keep {
                *bytes -= 128 + object.received as usize;
            }
            keep
        });
        self.subgroups.retain(|key, _| key.group != first);
        true
    }
    pub(crate) fn clear(&mut self) {
        self.objects.clear();
        self.subgroups.clear();
        self.bytes = 0;
    }
}
