//! A store beside a plain record of what it was told: one track, whose truth is drawn at random,
//! comes in any order, in parts and more than once.
//!
//! While nothing is forgotten the store knows exactly what it was told. Whatever is forgotten, what
//! it says is true.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const GROUPS: u64 = 5;
/// Objects of a group have smaller IDs.
const OBJECTS: u64 = 7;
const CELLS: usize = 5 * 7;

/// What the track has. Every object has its own payload.
#[derive(Clone, Debug)]
struct Truth {
    /// The subgroup and the length of each object.
    objects: BTreeMap<Location, (Option<u64>, u64)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// An object begins, the way it was sent.
    Begin {
        index: usize,
        with_gap: bool,
    },
    /// An object begins that comes by FETCH.
    Fetch(usize),
    /// Part of an object's payload comes.
    Payload {
        index: usize,
        offset: u64,
        len: u64,
    },
    Abandon(usize),
    /// Another stream of the subgroup of an object begins.
    Reopen(usize),
    /// The subgroup of an object ends.
    End {
        index: usize,
        finished: bool,
    },
    /// The status after all objects of a group.
    EndOfGroup(u64),
    /// What a FETCH says of the locations between two objects.
    Gap(usize),
    EndOfTrack,
    /// Time passes.
    Wait(u64),
    Forget,
}

/// What was told.
#[derive(Debug, Default)]
struct Told {
    /// Bytes that came of each object.
    objects: BTreeMap<Location, u64>,
    /// Locations that are said to have nothing, of those in `cells`.
    absent: BTreeSet<Location>,
    opened: BTreeSet<SubgroupKey>,
    /// The objects that came of each subgroup.
    subgroups: BTreeMap<SubgroupKey, BTreeSet<u64>>,
    /// Objects that were given up.
    given_up: BTreeSet<(SubgroupKey, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Held,
    Coming,
    Absent,
    Unknown,
}

fn truth() -> impl Strategy<Value = Truth> {
    let object = prop::option::weighted(0.6, (prop::option::weighted(0.8, 0..3_u64), 0..40_u64));
    prop::collection::vec(object, CELLS).prop_map(|cells| {
        let cells = (0_u64..).zip(cells);
        let objects = cells
            .filter_map(|(index, object)| Some((at(index / OBJECTS, index % OBJECTS), object?)))
            .collect();
        Truth { objects }
    })
}

fn steps(forgets: bool) -> impl Strategy<Value = Vec<Step>> {
    let index = || any::<prop::sample::Index>().prop_map(|index| index.index(usize::MAX));
    // Time alone takes nothing from a store without a bound on age.
    let forget = if forgets { Step::Forget } else { Step::Wait(1) };
    let step = prop_oneof![
        12 => (index(), any::<bool>()).prop_map(|(index, with_gap)| Step::Begin { index, with_gap }),
        4 => index().prop_map(Step::Fetch),
        12 => (index(), 0..20_u64, 0..40_u64)
            .prop_map(|(index, offset, len)| Step::Payload { index, offset, len }),
        1 => index().prop_map(Step::Abandon),
        2 => index().prop_map(Step::Reopen),
        2 => (index(), any::<bool>()).prop_map(|(index, finished)| Step::End { index, finished }),
        1 => (0..GROUPS).prop_map(Step::EndOfGroup),
        4 => index().prop_map(Step::Gap),
        1 => Just(Step::EndOfTrack),
        2 => (1..50_u64).prop_map(Step::Wait),
        1 => Just(forget),
    ];
    prop::collection::vec(step, 1..150)
}

/// The locations that are told apart: what comes after the objects of a group is one of them.
fn cells() -> impl Iterator<Item = Location> {
    (0..=GROUPS).flat_map(|group| (0..=OBJECTS).map(move |object| cell(group, object)))
}

fn cell(group: u64, object: u64) -> Location {
    at(group, if object < OBJECTS { object } else { u64::MAX })
}

fn payload_of(location: Location, len: u64) -> Bytes {
    let first = location.group * 40 + location.object * 5;
    (first..first + len).map(|byte| byte.to_le_bytes()[0]).collect()
}

impl Truth {
    fn pick(&self, index: usize) -> Option<(Location, Option<u64>, u64)> {
        let (location, (subgroup, len)) =
            self.objects.iter().nth(index % self.objects.len().max(1))?;
        Some((*location, *subgroup, *len))
    }

    /// The last object before a location.
    fn before(&self, location: Location) -> Option<Location> {
        self.objects.range(..location).next_back().map(|(location, _)| *location)
    }

    fn last_of(&self, group: u64) -> Option<(Location, Option<u64>)> {
        let mut objects = self.objects.range(at(group, 0)..=at(group, u64::MAX));
        objects.next_back().map(|(location, (subgroup, _))| (*location, *subgroup))
    }

    fn facts(&self, key: SubgroupKey) -> SubgroupFacts {
        let end_of_group = self.last_of(key.group).is_some_and(|last| last.1 == Some(key.subgroup));
        SubgroupFacts { end_of_group, ..FACTS }
    }

    fn last_in(&self, key: SubgroupKey) -> Option<u64> {
        let objects = self.objects.range(at(key.group, 0)..=at(key.group, u64::MAX));
        let mut in_it = objects.filter(|(_, (subgroup, _))| *subgroup == Some(key.subgroup));
        in_it.next_back().map(|(location, _)| location.object)
    }
}

impl Told {
    fn absent(&mut self, first: Location, last: Location) {
        self.absent.extend(cells().filter(|cell| (first..=last).contains(cell)));
    }

    fn is_complete(&self, truth: &Truth, location: Location) -> bool {
        self.objects.get(&location) == truth.objects.get(&location).map(|(_, len)| len)
    }

    fn cell(&self, truth: &Truth, at: Location) -> Cell {
        match self.objects.get(&at) {
            Some(_) if self.is_complete(truth, at) => Cell::Held,
            Some(_) => Cell::Coming,
            None if self.absent.contains(&at) => Cell::Absent,
            None => Cell::Unknown,
        }
    }
}

/// What a FETCH of everything finds, each object with its payload as it was published.
fn seen(store: &Store, truth: &Truth, now: Timestamp) -> BTreeMap<Location, Cell> {
    let all: Vec<Location> = cells().collect();
    let last = *all.last().unwrap();
    let mut seen: BTreeMap<Location, Cell> = all.iter().map(|cell| (*cell, Cell::Absent)).collect();
    let mut first = Some(Location::ZERO);
    while let Some(begin) = first.filter(|first| *first <= last) {
        let end = match store.next(now, begin, last) {
            Next::Object { location, object } => {
                let (_, len) = truth.objects[&location];
                let payload: Vec<u8> = object.pieces.iter().flatten().copied().collect();
                assert_eq!(payload, payload_of(location, len));
                seen.insert(location, Cell::Held);
                location
            }
            Next::Incomplete { location } => {
                seen.insert(location, Cell::Coming);
                location
            }
            Next::Unknown { until } => {
                assert!((begin..=last).contains(&until));
                // Which of them are is not said: those that, asked for alone, are.
                for cell in all.iter().filter(|cell| (begin..=until).contains(cell)) {
                    if matches!(store.next(now, *cell, *cell), Next::Unknown { .. }) {
                        seen.insert(*cell, Cell::Unknown);
                    }
                }
                assert!(!store.is_known(now, begin, until));
                until
            }
            Next::End => break,
        };
        first = known::successor(end);
    }
    seen
}

fn run(truth: &Truth, steps: &[Step], limits: Limits) -> Result<(), TestCaseError> {
    let forgets = limits.objects < 1000;
    let mut store = Store::new(limits);
    let mut told = Told::default();
    let mut now = NOW;
    for step in steps {
        take(step, truth, &mut store, &mut told, &mut now, forgets)?;
        check(&store, truth, &told, now, forgets)?;
        prop_assert!(store.objects() <= limits.objects && store.bytes() <= 2 * limits.bytes);
    }
    store.expire(now.saturating_add(limits.max_age).saturating_add(Duration::from_secs(1)));
    if forgets {
        let whole = store.objects.values().filter(|object| object.is_complete()).count();
        prop_assert_eq!((whole, store.next_expiry()), (0, None));
    }
    while store.forget_oldest() {}
    let (groups, bytes) = (store.groups.len(), store.bytes());
    let charged =
        store.objects.values().chain(store.markers.values()).map(|object| object.charge());
    let records = store.groups.values().map(|group| group.subgroups.len() * group::SUBGROUP_CHARGE);
    prop_assert!(groups <= 1);
    prop_assert_eq!(bytes, charged.sum::<usize>() + records.sum::<usize>());
    Ok(())
}

fn take(
    step: &Step,
    truth: &Truth,
    store: &mut Store,
    told: &mut Told,
    now: &mut Timestamp,
    forgets: bool,
) -> Result<(), TestCaseError> {
    match *step {
        Step::Begin { index, with_gap } => {
            let Some((location, subgroup, len)) = truth.pick(index) else { return Ok(()) };
            let first = match truth.before(location).filter(|last| last.group == location.group) {
                Some(last) => last.object + 1,
                None => 0,
            };
            let properties =
                if with_gap { gap_of(location.object - first) } else { Properties::EMPTY };
            let begun = if let Some(subgroup) = subgroup {
                let key = SubgroupKey { group: location.group, subgroup };
                if told.opened.insert(key) {
                    store.open(key, truth.facts(key)).unwrap();
                }
                told.subgroups.entry(key).or_default().insert(location.object);
                let header = ObjectHeader { properties, ..header(location.object, len) };
                store.begin(*now, key, &header)
            } else {
                let mut datagram = datagram(location, b"");
                datagram.header.properties = properties;
                datagram.payload = payload_of(location, len);
                store.datagram(*now, &datagram, FACTS.publisher_priority)
            };
            told_begun(begun)?;
            if with_gap && begun == Begun::New && location.object > first {
                told.absent(at(location.group, first), at(location.group, location.object - 1));
            }
            let received = told.objects.entry(location).or_default();
            if subgroup.is_none() {
                *received = len;
            }
        }
        Step::Fetch(index) => {
            let Some((location, subgroup, len)) = truth.pick(index) else { return Ok(()) };
            told_begun(store.begin_fetched(*now, &fetched(location, subgroup, len)))?;
            told.objects.entry(location).or_default();
            if let Some(subgroup) = subgroup {
                let key = SubgroupKey { group: location.group, subgroup };
                told.subgroups.entry(key).or_default().insert(location.object);
            }
        }
        Step::Payload { index, offset, len } => {
            let Some((location, _, whole)) = truth.pick(index) else { return Ok(()) };
            let (offset, end) = (offset.min(whole), (offset + len).min(whole));
            let mut piece = payload_of(location, whole);
            piece.truncate(usize::try_from(end).unwrap());
            let piece = piece.split_off(usize::try_from(offset).unwrap());
            let new = store.payload_at(location, offset, piece.clone());
            let new = new.map_err(TestCaseError::fail)?.unwrap_or_default();
            prop_assert!(piece.ends_with(&new));
            let received = told.objects.get_mut(&location);
            if let Some(received) = received.filter(|received| (offset..=end).contains(*received)) {
                prop_assert!(forgets || new.len() as u64 == end - *received);
                *received = end;
            }
        }
        Step::Abandon(index) => {
            let Some((location, subgroup, _)) = truth.pick(index) else { return Ok(()) };
            if told.objects.contains_key(&location) && !told.is_complete(truth, location) {
                told.objects.remove(&location);
                if let Some(subgroup) = subgroup {
                    let key = SubgroupKey { group: location.group, subgroup };
                    told.given_up.insert((key, location.object));
                }
            }
            store.abandon_at(location);
        }
        Step::Reopen(index) => {
            let Some((location, Some(subgroup), _)) = truth.pick(index) else { return Ok(()) };
            let key = SubgroupKey { group: location.group, subgroup };
            store.open(key, truth.facts(key)).unwrap();
            told.opened.insert(key);
        }
        Step::End { index, finished } => {
            let Some((location, Some(subgroup), _)) = truth.pick(index) else { return Ok(()) };
            let key = SubgroupKey { group: location.group, subgroup };
            let came = told.subgroups.get(&key).and_then(|ids| ids.last().copied());
            let is_all = told.opened.contains(&key) && came == truth.last_in(key);
            if !finished || !is_all {
                store.end(key, SubgroupEnd::Reset(StreamResetCode::Cancelled));
                return Ok(());
            }
            prop_assert_eq!(store.end(key, SubgroupEnd::Finished), None);
            if let Some((last, _)) = truth.last_of(key.group)
                && truth.facts(key).end_of_group
            {
                told.absent(known::successor(last).unwrap(), at(key.group, u64::MAX));
            }
        }
        Step::EndOfGroup(group) => {
            let first = truth.last_of(group).map_or(0, |(last, _)| last.object + 1);
            let mut datagram = datagram(at(group, first), b"");
            datagram.header.status = ObjectStatus::EndOfGroup;
            told_begun(store.datagram(*now, &datagram, FACTS.publisher_priority))?;
            told.absent(at(group, first), at(group, u64::MAX));
        }
        Step::Gap(index) => {
            let Some((location, ..)) = truth.pick(index) else { return Ok(()) };
            let before = truth.before(location).and_then(known::successor);
            let first = before.unwrap_or_default();
            if let Some(last) = known::predecessor(location).filter(|last| *last >= first) {
                store.note_known(first, last);
                told.absent(first, last);
            }
        }
        Step::EndOfTrack => {
            let location = at(GROUPS, 0);
            let mut datagram = datagram(location, b"");
            datagram.header.status = ObjectStatus::EndOfTrack;
            told_begun(store.datagram(*now, &datagram, FACTS.publisher_priority))?;
            told.absent(location, known::LAST);
        }
        Step::Wait(micros) => {
            *now = now.saturating_add(Duration::from_micros(micros));
            if micros % 2 == 0 {
                store.expire(*now);
            }
        }
        Step::Forget => drop(store.forget_oldest()),
    }
    Ok(())
}

/// What is true is never absent and contradicts nothing.
fn told_begun(begun: Begun) -> Result<(), TestCaseError> {
    prop_assert!(matches!(begun, Begun::New | Begun::Known { .. }), "{:?}", begun);
    Ok(())
}

fn gap_of(gap: u64) -> Properties {
    with_gap(0, property_type::PRIOR_OBJECT_ID_GAP, gap).properties
}

fn check(
    store: &Store,
    truth: &Truth,
    told: &Told,
    now: Timestamp,
    forgets: bool,
) -> Result<(), TestCaseError> {
    let seen = seen(store, truth, now);
    for (location, cell) in &seen {
        let expected = told.cell(truth, *location);
        let forgotten = forgets && matches!(cell, Cell::Unknown | Cell::Coming);
        prop_assert!(
            *cell == expected || forgotten,
            "{}: {:?}, not {:?}",
            location,
            cell,
            expected
        );
        prop_assert!(*cell != Cell::Absent || !truth.objects.contains_key(location));
        let is_known = store.is_known(now, *location, *location);
        prop_assert_eq!(is_known, *cell != Cell::Unknown, "{}", location);
    }
    for first in cells() {
        for group in 0..=GROUPS {
            let in_question = seen.iter().rev().find(|(location, cell)| {
                location.group < group && **location >= first && **cell != Cell::Absent
            });
            let below = store.group_below(first, group);
            prop_assert_eq!(below, in_question.map(|(at, _)| at.group), "{} {}", first, group);
        }
    }
    for (key, ids) in &told.subgroups {
        for after in core::iter::once(None).chain((0..OBJECTS).map(Some)) {
            let has_lost = store.has_lost(*key, after);
            if !forgets {
                let given_up = told.given_up.iter().any(|(of, id)| of == key && Some(*id) > after);
                prop_assert_eq!(has_lost, given_up, "{:?} {:?}", key, after);
            }
            if has_lost {
                continue;
            }
            let next = ids.iter().copied().find(|id| Some(*id) > after);
            let found = store.after(*key, after).map(|object| object.header.object_id);
            prop_assert_eq!(found, next, "{:?} {:?}", key, after);
        }
    }
    Ok(())
}

fn sequences() -> ProptestConfig {
    ProptestConfig {
        cases: 100,
        rng_seed: RngSeed::Fixed(0x4d6f_5154),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(sequences())]

    #[test]
    fn it_knows_what_it_was_told(truth in truth(), steps in steps(false)) {
        run(&truth, &steps, Limits { receive_buffer: 16, ..limits() })?;
    }

    #[test]
    fn what_it_says_is_true_whatever_it_forgets(
        truth in truth(),
        steps in steps(true),
        objects in 1..20_usize,
        bytes in 1000..20_000_usize,
        max_age in 1..200_u64,
    ) {
        let max_age = Duration::from_micros(max_age);
        run(&truth, &steps, Limits { objects, bytes, max_age, receive_buffer: 16 })?;
    }
}
