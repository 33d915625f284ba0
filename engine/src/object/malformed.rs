use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use super::Gaps;
use super::memory::Memory;
use crate::key::StreamKey;
use crate::model::{Location, ObjectStatus};
use crate::wire::{Dialect, ObjectRules};

/// A rule for the objects of a track that one of them broke, which makes the track malformed
/// (draft-18, "Malformed Tracks", "Mandatory Track Properties", "Immutable Properties", "Prior
/// Group ID Gap" and "Prior Object ID Gap").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedRule {
    /// The objects of a subgroup have one priority (draft 18; in a fetch draft 16, too).
    SubgroupPriority,
    /// A fetch has no objects that were not asked for.
    OutOfRange,
    /// In a fetch, the objects of a group ascend.
    ObjectOrder,
    /// In a fetch, groups come in the order asked for.
    GroupOrder,
    /// Nothing is larger than the last object of a subgroup.
    AfterSubgroupEnd,
    /// A subgroup ends in one place only.
    SubgroupEndsDiffer,
    /// Nothing is larger than the last object of a group.
    AfterGroupEnd,
    /// Nothing is larger than the last object of the track.
    AfterTrackEnd,
    /// An object that comes again is the same.
    ObjectsDiffer,
    /// An object comes in one way, in a subgroup or a datagram; on draft 14 all objects of a
    /// track do.
    ForwardingPreference,
    /// Properties are key-value pairs.
    UnparsableProperties,
    /// A property that an object may have once is there once.
    RepeatedProperty,
    /// Immutable Properties hold no Immutable Properties.
    NestedImmutable,
    /// Mandatory Track Properties are for tracks (draft 18).
    MandatoryProperty,
    /// A gap is not larger than the ID it is before.
    GapBeforeZero,
    /// The objects of a group agree on the gap before it.
    GroupGapsDiffer,
    /// What was received is in no gap that is stated later.
    GapCoversObject,
    /// What is in a gap is not received later.
    InGap,
}

impl MalformedRule {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::OutOfRange => "an object outside the range fetched",
            Self::ObjectOrder => "objects out of order",
            Self::GroupOrder => "groups out of order",
            Self::SubgroupPriority => "two priorities in one subgroup",
            Self::AfterSubgroupEnd => "an object after the last of its subgroup",
            Self::SubgroupEndsDiffer => "a subgroup with two last objects",
            Self::AfterGroupEnd => "an object after the last of its group",
            Self::AfterTrackEnd => "an object after the last of the track",
            Self::ObjectsDiffer => "an object that came twice and was not the same",
            Self::ForwardingPreference => "subgroups and datagrams mixed",
            Self::UnparsableProperties => "properties that cannot be parsed",
            Self::RepeatedProperty => "a property twice that may be there once",
            Self::NestedImmutable => "Immutable Properties inside Immutable Properties",
            Self::MandatoryProperty => "a Mandatory Track Property on an object",
            Self::GapBeforeZero => "a gap larger than the ID after it",
            Self::GroupGapsDiffer => "two gaps before one group",
            Self::GapCoversObject => "a gap where an object was received",
            Self::InGap => "an object in a gap",
        }
    }
}

impl fmt::Display for MalformedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Which rule was broken, and by which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: MalformedRule,
    pub(crate) location: Location,
}

/// What an object says of itself and of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectFacts {
    pub(crate) location: Location,
    pub(crate) status: ObjectStatus,
    pub(crate) gaps: Gaps,
}

/// What the objects of a track have said about it, to notice when others contradict.
///
/// An object on a stream is looked at when it is the first, has a status or properties, or is
/// at or beyond the [bound](Self::bound) that all that is known sets for its stream. Since IDs
/// ascend on a stream, the ordinary ones between need no look, and none is remembered: of a
/// subgroup its first and last, of a group its largest. Groups, subgroups and datagrams are
/// remembered until there are `limit` newer ones of them, so that memory does not grow with the
/// track, and what contradicts something forgotten goes unnoticed.
///
/// Payload on streams is not compared.
#[derive(Debug)]
pub(crate) struct TrackRules {
    rules: &'static ObjectRules,
    limit: usize,
    groups: Memory<u64, Group>,
    /// By group and Subgroup ID.
    subgroups: Memory<(u64, u64), Subgroup>,
    datagrams: Memory<Location, Option<Print>>,
    /// The location of the track's end, if that has been said.
    end: Option<Location>,
    has_subgroups: bool,
    has_datagrams: bool,
}

/// What is known of a group of which an object has come.
#[derive(Debug, Default)]
struct Group {
    /// Streams of it that have begun and are not over.
    streams: BTreeSet<StreamKey>,
    /// An object of it exists.
    exists: bool,
    /// Its largest object of those streams that are over, and of datagrams.
    largest: Option<u64>,
    /// Its last object, as an END_OF_GROUP bit said.
    last: Option<u64>,
    /// The ID of the object with status END_OF_GROUP or END_OF_TRACK.
    marker: Option<u64>,
    /// How many groups before it do not exist.
    gap: Option<u64>,
    /// The objects of it that do not exist: the first and the last of each range.
    gaps: Vec<(u64, u64)>,
}

/// What is known of a subgroup.
#[derive(Debug, Default)]
struct Subgroup {
    priority: Option<u8>,
    /// The first object and the largest of streams that are over.
    first: Option<u64>,
    largest: Option<u64>,
    /// The last object of a stream that finished.
    last: Option<u64>,
}

/// What must be alike in an object that comes in two datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    priority: u8,
    payload: u64,
}

impl Print {
    /// `payload` is a hash of it.
    pub(crate) fn new(priority: u8, payload: u64) -> Self {
        Self { priority, payload }
    }
}

/// How many ranges of missing objects are remembered of a group; the oldest are forgotten.
const MAX_GAPS: usize = 16;

/// How many subgroups of a group, or streams, are looked at for one object.
const MAX_NEIGHBOURS: usize = 16;

impl TrackRules {
    /// Nothing is known of the track. `limit` groups, subgroups and datagrams are remembered.
    pub(crate) fn new(dialect: &'static Dialect, limit: usize) -> Self {
        Self {
            rules: &dialect.objects,
            limit,
            groups: Memory::default(),
            subgroups: Memory::default(),
            datagrams: Memory::default(),
            end: None,
            has_subgroups: false,
            has_datagrams: false,
        }
    }

    /// The first object of a stream: `group` and `subgroup` are known from now on.
    pub(crate) fn begin(
        &mut self,
        stream: StreamKey,
        subgroup: u64,
        priority: u8,
        first: &ObjectFacts,
    ) -> Result<(), Broken> {
        let Location { group, object } = first.location;
        let broken = |rule| Broken { rule, location: first.location };
        self.has_subgroups = true;
        if self.has_datagrams && !self.rules.mixed_forwarding {
            return Err(broken(MalformedRule::ForwardingPreference));
        }
        let is_normal = first.status == ObjectStatus::Normal;
        if is_normal {
            if self.datagrams.get(&first.location).is_some() {
                return Err(broken(MalformedRule::ForwardingPreference));
            }
            if self.is_shared(first.location, subgroup) {
                return Err(broken(MalformedRule::ObjectsDiffer));
            }
        }
        self.groups.hold(group).streams.insert(stream);
        let one_priority = self.rules.one_subgroup_priority;
        let known = self.subgroups.hold((group, subgroup));
        let same = known.priority.is_none_or(|known| known == priority);
        known.priority = Some(priority);
        if is_normal && known.first.is_none() {
            known.first = Some(object);
        }
        if !same && one_priority {
            return Err(broken(MalformedRule::SubgroupPriority));
        }
        Ok(())
    }

    /// An object of a subgroup, from a stream that has [begun](Self::begin). `previous` is the
    /// existing object before it on the stream. Whether it says something about others, so that
    /// the [bound](Self::bound) of the group's streams may have changed.
    pub(crate) fn object(
        &mut self,
        subgroup: u64,
        previous: Option<u64>,
        object: &ObjectFacts,
    ) -> Result<bool, Broken> {
        let Location { group, object: id } = object.location;
        if let Some(known) = self.subgroups.get(&(group, subgroup))
            && known.last.is_some_and(|last| id > last)
        {
            let rule = MalformedRule::AfterSubgroupEnd;
            return Err(Broken { rule, location: object.location });
        }
        self.check(object)?;
        self.learn(previous, object)
    }

    /// The first object ID at or beyond which an object of a stream must be looked at. The
    /// stream's largest existing object so far is `last`: if that is not right any more, the
    /// rule it breaks.
    pub(crate) fn bound(
        &self,
        group: u64,
        subgroup: u64,
        last: Option<u64>,
    ) -> Result<u64, Broken> {
        let ends = self.subgroups.get(&(group, subgroup)).and_then(|known| known.last);
        let Some(known) = self.groups.get(&group) else { return Ok(u64::MAX) };
        if let Some(last) = last {
            let location = Location::new(group, last);
            if ends.is_some_and(|end| last > end) {
                return Err(Broken { rule: MalformedRule::AfterSubgroupEnd, location });
            }
            if known.is_beyond(last, self.rules) {
                return Err(Broken { rule: MalformedRule::AfterGroupEnd, location });
            }
            if known.is_in_gap(last) {
                return Err(Broken { rule: MalformedRule::GapCoversObject, location });
            }
        }
        let from = last.map_or(0, |last| last.saturating_add(1));
        if !known.exists {
            return Ok(from);
        }
        let gaps = known.gaps.iter().filter(|(_, end)| *end >= from).map(|(start, _)| *start);
        let ends = [ends, known.last, known.marker].into_iter().flatten();
        Ok(gaps.chain(ends).min().unwrap_or(u64::MAX))
    }

    /// The streams of a group that have begun and are not over.
    pub(crate) fn streams(&self, group: u64) -> impl Iterator<Item = StreamKey> + '_ {
        self.groups.get(&group).into_iter().flat_map(|group| group.streams.iter().copied())
    }

    /// A stream that had begun is over. `last` is the last object on it and `existing` the last
    /// of those that exist; `finished` says that there is no other in the subgroup and
    /// `end_of_group` that there is none in the group. Whether that is news to other streams of
    /// the group.
    pub(crate) fn close(
        &mut self,
        stream: StreamKey,
        (group, subgroup): (u64, u64),
        last: u64,
        existing: Option<u64>,
        finished: bool,
        end_of_group: bool,
    ) -> Result<bool, Broken> {
        let location = Location::new(group, last);
        let mut is_news = false;
        if let Some(known) = self.subgroups.get_mut(&(group, subgroup)) {
            known.largest = known.largest.max(existing);
            let largest = known.largest;
            if finished {
                is_news |= known.last.is_none();
                if known.last.replace(last).is_some_and(|other| other != last) {
                    return Err(Broken { rule: MalformedRule::SubgroupEndsDiffer, location });
                }
                if let Some(largest) = largest.filter(|largest| *largest > last) {
                    let location = Location::new(group, largest);
                    return Err(Broken { rule: MalformedRule::AfterSubgroupEnd, location });
                }
            }
        }
        if let Some(known) = self.groups.get_mut(&group) {
            known.streams.remove(&stream);
            known.largest = known.largest.max(existing);
        }
        if let Some(existing) = existing {
            let location = Location::new(group, existing);
            if self.is_shared(location, subgroup) {
                return Err(Broken { rule: MalformedRule::ObjectsDiffer, location });
            }
            // A stream that ends with a marker has said by that where the group ends.
            if finished && end_of_group && existing == last {
                is_news |= self.group_ends(location)?;
            }
        }
        self.subgroups.release((group, subgroup), self.limit);
        self.groups.release(group, self.limit);
        Ok(is_news)
    }

    /// An object in a datagram. Whether it says something about others, as for
    /// [`object`](Self::object).
    pub(crate) fn datagram(
        &mut self,
        object: &ObjectFacts,
        end_of_group: bool,
        print: Print,
    ) -> Result<bool, Broken> {
        let location = object.location;
        let broken = |rule| Broken { rule, location };
        self.has_datagrams = true;
        if self.has_subgroups && !self.rules.mixed_forwarding {
            return Err(broken(MalformedRule::ForwardingPreference));
        }
        if object.status == ObjectStatus::Normal {
            if self.neighbours(location.group).any(|(_, known)| known.has(location.object)) {
                return Err(broken(MalformedRule::ForwardingPreference));
            }
            let known = self.datagrams.touch(location, self.limit);
            if known.and_then(|known| known.replace(print)).is_some_and(|known| known != print) {
                return Err(broken(MalformedRule::ObjectsDiffer));
            }
        }
        self.groups.touch(location.group, self.limit);
        self.check(object)?;
        let mut is_news = self.learn(None, object)?;
        if let Some(known) = self.groups.get_mut(&location.group)
            && object.status == ObjectStatus::Normal
        {
            known.largest = known.largest.max(Some(location.object));
        }
        if end_of_group {
            is_news |= self.group_ends(location)?;
        }
        Ok(is_news)
    }

    /// Whether an object may be, by what others said of it.
    fn check(&self, object: &ObjectFacts) -> Result<(), Broken> {
        let location = object.location;
        let broken = |rule| Err(Broken { rule, location });
        let exists = match object.status {
            // What does not exist contradicts nothing that others say does not.
            ObjectStatus::DoesNotExist => return Ok(()),
            // "This is equivalent to receiving an End of Group status with Object ID 0 for each
            // skipped Group." (draft-14, "Prior Group ID Gap")
            ObjectStatus::EndOfGroup if location.object == 0 => return Ok(()),
            ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => false,
            ObjectStatus::Normal => true,
        };
        if self.end.is_some_and(|end| location > end) {
            return broken(MalformedRule::AfterTrackEnd);
        }
        if self.is_group_in_gap(location.group) {
            return broken(MalformedRule::InGap);
        }
        let Some(group) = self.groups.get(&location.group) else { return Ok(()) };
        if exists && group.is_beyond(location.object, self.rules) {
            return broken(MalformedRule::AfterGroupEnd);
        }
        if exists && group.is_in_gap(location.object) {
            return broken(MalformedRule::InGap);
        }
        Ok(())
    }

    /// Takes in what an object says of others, if they do not contradict.
    fn learn(&mut self, previous: Option<u64>, object: &ObjectFacts) -> Result<bool, Broken> {
        let location = object.location;
        let mut is_news = false;
        if let Some(count) = object.gaps.groups {
            self.group_gap(location, count)?;
        }
        if let Some(count) = object.gaps.objects {
            is_news |= self.object_gap(location, previous, count)?;
        }
        match object.status {
            ObjectStatus::Normal => {
                if let Some(group) = self.groups.get_mut(&location.group) {
                    group.exists = true;
                }
            }
            ObjectStatus::EndOfGroup => is_news |= self.marker(location, previous)?,
            ObjectStatus::EndOfTrack => {
                is_news |= self.marker(location, previous)?;
                self.track_ends(location)?;
            }
            ObjectStatus::DoesNotExist => {}
        }
        Ok(is_news)
    }

    /// The object at `location` is the last of its group.
    fn group_ends(&mut self, location: Location) -> Result<bool, Broken> {
        let rule = MalformedRule::AfterGroupEnd;
        let Some(group) = self.groups.get_mut(&location.group) else { return Ok(false) };
        let last = location.object;
        let is_news = group.last.is_none();
        let other = group.last.replace(last).filter(|other| *other != last);
        let beyond = group.largest.filter(|largest| *largest > last);
        // Of two last objects the larger one is wrong.
        match other.map(|other| other.max(last)).max(beyond) {
            Some(wrong) => Err(Broken { rule, location: Location::new(location.group, wrong) }),
            None => Ok(is_news),
        }
    }

    /// The group ends before the object at `location`, which says so.
    fn marker(&mut self, location: Location, previous: Option<u64>) -> Result<bool, Broken> {
        let rule = MalformedRule::AfterGroupEnd;
        let Some(group) = self.groups.get_mut(&location.group) else { return Ok(false) };
        let is_news = group.marker.is_none();
        let other = group.marker.replace(location.object);
        if let Some(other) = other.filter(|other| *other != location.object) {
            let location = Location::new(location.group, other.max(location.object));
            return Err(Broken { rule, location });
        }
        match group.largest.max(previous) {
            Some(largest) if group.is_beyond(largest, self.rules) => {
                Err(Broken { rule, location: Location::new(location.group, largest) })
            }
            _ => Ok(is_news),
        }
    }

    /// The track ends before the object at `location`, which says so.
    fn track_ends(&mut self, location: Location) -> Result<(), Broken> {
        let rule = MalformedRule::AfterTrackEnd;
        if let Some(other) = self.end.replace(location).filter(|other| *other != location) {
            return Err(Broken { rule, location: other.max(location) });
        }
        let beyond = location.group.saturating_add(1)..;
        let beyond =
            self.groups.range(beyond).find(|(id, group)| **id > location.group && group.exists);
        match beyond {
            Some((group, known)) => {
                let location = Location::new(*group, known.largest.unwrap_or_default());
                Err(Broken { rule, location })
            }
            None => Ok(()),
        }
    }

    /// So many groups before this object's do not exist.
    fn group_gap(&mut self, location: Location, count: u64) -> Result<(), Broken> {
        let broken = |rule, location| Err(Broken { rule, location });
        let Some(first) = location.group.checked_sub(count) else {
            return broken(MalformedRule::GapBeforeZero, location);
        };
        if let Some(group) = self.groups.get_mut(&location.group) {
            match group.gap.replace(count) {
                None => {}
                Some(other) if other == count => return Ok(()),
                Some(_) => return broken(MalformedRule::GroupGapsDiffer, location),
            }
        }
        let mut covered = self.groups.range(first..location.group);
        match covered.find(|(_, group)| group.exists) {
            Some((group, known)) => {
                let location = Location::new(*group, known.largest.unwrap_or_default());
                broken(MalformedRule::GapCoversObject, location)
            }
            None => Ok(()),
        }
    }

    /// So many objects before this one do not exist. `previous` came before it.
    fn object_gap(
        &mut self,
        location: Location,
        previous: Option<u64>,
        count: u64,
    ) -> Result<bool, Broken> {
        let Location { group, object } = location;
        let broken = |rule, object| Err(Broken { rule, location: Location::new(group, object) });
        let Some(start) = object.checked_sub(count) else {
            return broken(MalformedRule::GapBeforeZero, object);
        };
        let Some(end) = object.checked_sub(1).filter(|_| count > 0) else { return Ok(false) };
        if let Some(previous) = previous.filter(|previous| *previous >= start) {
            return broken(MalformedRule::GapCoversObject, previous);
        }
        for (_, known) in self.neighbours(group) {
            let ends = [known.first, known.largest];
            if let Some(covered) = ends.into_iter().flatten().find(|id| (start..=end).contains(id))
            {
                return broken(MalformedRule::GapCoversObject, covered);
            }
        }
        let covered = Location::new(group, start)..=Location::new(group, end);
        if let Some((covered, _)) = self.datagrams.range(covered).next() {
            return broken(MalformedRule::GapCoversObject, covered.object);
        }
        let Some(known) = self.groups.get_mut(&group) else { return Ok(false) };
        if known.gaps.contains(&(start, end)) {
            return Ok(false);
        }
        if known.gaps.len() >= MAX_GAPS {
            known.gaps.remove(0);
        }
        known.gaps.push((start, end));
        // Ends come once, but gaps with every object: with many streams, those that have begun
        // go on without it.
        Ok(known.streams.len() <= MAX_NEIGHBOURS)
    }

    /// Whether the group is in the gap before a later one. Only the next one that exists needs a
    /// look: a gap cannot reach across it.
    fn is_group_in_gap(&self, group: u64) -> bool {
        let Some(after) = group.checked_add(1) else { return false };
        let next = self.groups.range(after..).find(|(_, known)| known.exists);
        next.is_some_and(|(id, known)| known.gap.is_some_and(|gap| id.saturating_sub(gap) <= group))
    }

    /// Whether an object is known to be in another subgroup.
    fn is_shared(&self, location: Location, subgroup: u64) -> bool {
        let Location { group, object } = location;
        self.neighbours(group).any(|(id, known)| id != subgroup && known.has(object))
    }

    fn neighbours(&self, group: u64) -> impl Iterator<Item = (u64, &Subgroup)> {
        let all = (group, 0)..=(group, u64::MAX);
        self.subgroups.range(all).take(MAX_NEIGHBOURS).map(|((_, id), known)| (*id, known))
    }
}

impl Group {
    /// Whether an object cannot exist because the group has ended before it.
    fn is_beyond(&self, object: u64, rules: &ObjectRules) -> bool {
        let is_marked = |marker| object > marker || (object == marker && rules.status_is_final);
        self.last.is_some_and(|last| object > last) || self.marker.is_some_and(is_marked)
    }

    fn is_in_gap(&self, object: u64) -> bool {
        self.gaps.iter().any(|(start, end)| (*start..=*end).contains(&object))
    }
}

impl Subgroup {
    fn has(&self, object: u64) -> bool {
        self.first == Some(object) || self.largest == Some(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::D18;
    use crate::key::Table;

    // Many groups, each with gaps before it and objects in a subgroup and in a datagram.
    #[test]
    fn memory_does_not_grow_with_the_track() {
        let mut keys: Table<StreamKey, ()> = Table::default();
        let stream = keys.insert(());
        let mut rules = TrackRules::new(&D18, 64);
        for n in 0..50_000 {
            let group = 2 * n + 1;
            let object = |object| ObjectFacts {
                location: Location::new(group, object),
                status: ObjectStatus::Normal,
                gaps: Gaps { groups: Some(1), objects: Some(1) },
            };
            let first = object(1);
            assert_eq!(rules.begin(stream, 0, 128, &first), Ok(()));
            assert_eq!(rules.object(0, None, &first), Ok(true));
            let objects = if n % 1_000 == 0 { 20 } else { 2 };
            for id in 1..objects {
                assert_eq!(rules.object(0, Some(2 * id - 1), &object(2 * id + 1)), Ok(true));
            }
            assert_eq!(rules.datagram(&object(101), false, Print::new(128, n)), Ok(true));
            let known = rules.groups.get(&group).map_or(0, |group| group.gaps.len());
            assert!(known <= MAX_GAPS);
            let last = 2 * objects - 1;
            assert_eq!(rules.close(stream, (group, 0), last, Some(last), true, false), Ok(true));
            assert!(rules.groups.len() <= 65 && rules.subgroups.len() <= 65);
            assert!(rules.datagrams.len() <= 64);
        }
    }

    // What cannot be remembered contradicts nothing later, and is no news to anybody.
    #[test]
    fn nothing_is_known_where_nothing_may_be_remembered() {
        let mut rules = TrackRules::new(&D18, 0);
        let ends = [ObjectStatus::Normal, ObjectStatus::EndOfGroup];
        for (n, status) in [5, 3, 9].into_iter().zip(ends.into_iter().cycle()) {
            let object = ObjectFacts {
                location: Location::new(70, n),
                status,
                gaps: Gaps { groups: Some(n), objects: Some(1) },
            };
            assert_eq!(rules.datagram(&object, true, Print::new(128, n)), Ok(false));
        }
        assert_eq!(rules.groups.len() + rules.subgroups.len() + rules.datagrams.len(), 0);
    }
}
