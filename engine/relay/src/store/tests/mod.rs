//! What a relay may say of a track, as the drafts have it.

use core::time::Duration;

use bytes::Bytes;
use moqt_engine::Timestamp;
use moqt_engine::model::{Draft, Location, ObjectStatus, Property, StreamResetCode, property_type};
use moqt_engine::wire::{DatagramHeader, FetchObject, ObjectDatagram, ObjectHeader, Properties};

use super::*;

mod model;

const NOW: Timestamp = Timestamp::ZERO;
const FOREVER: Duration = Duration::from_secs(u64::MAX);
const KEY: SubgroupKey = SubgroupKey { group: 5, subgroup: 0 };
const FACTS: SubgroupFacts = SubgroupFacts {
    publisher_priority: 7,
    end_of_group: false,
    first_object: true,
    has_properties: false,
};

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn limits() -> Limits {
    Limits { objects: 1000, bytes: 1 << 20, max_age: FOREVER, receive_buffer: 64 }
}

fn store() -> Store {
    Store::new(limits())
}

fn header(object_id: u64, payload_len: u64) -> ObjectHeader {
    ObjectHeader { object_id, payload_len, ..Default::default() }
}

fn marker(object_id: u64, status: ObjectStatus) -> ObjectHeader {
    ObjectHeader { object_id, status, ..Default::default() }
}

fn with_gap(object_id: u64, key: u64, gap: u64) -> ObjectHeader {
    let gap = Property::int(key, gap);
    let properties = Properties::encode(Draft::D18.dialect(), [&gap]).unwrap();
    ObjectHeader { object_id, payload_len: 0, status: ObjectStatus::Normal, properties }
}

fn fetched(location: Location, subgroup_id: Option<u64>, payload_len: u64) -> FetchObject {
    FetchObject {
        location,
        subgroup_id,
        publisher_priority: FACTS.publisher_priority,
        payload_len,
        status: ObjectStatus::Normal,
        properties: Properties::EMPTY,
    }
}

fn datagram(location: Location, payload: &'static [u8]) -> ObjectDatagram {
    ObjectDatagram {
        header: DatagramHeader {
            track_alias: 0,
            location,
            publisher_priority: None,
            end_of_group: false,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        },
        payload: Bytes::from_static(payload),
    }
}

impl Store {
    /// An object without payload, of a subgroup that is opened if need be.
    fn add(&mut self, group: u64, subgroup: u64, object: u64) -> Begun {
        let key = SubgroupKey { group, subgroup };
        self.open(key, FACTS).unwrap();
        self.begin(NOW, key, &header(object, 0))
    }

    /// What a FETCH of the range gets, as text: objects, `?` for what is unknown, `…` for what is
    /// coming.
    fn read(&self, now: Timestamp, mut first: Location, last: Location) -> alloc::string::String {
        use core::fmt::Write;
        let mut text = alloc::string::String::new();
        loop {
            let end = match self.next(now, first, last) {
                Next::Object { location, .. } => {
                    write!(text, "{location} ").unwrap();
                    location
                }
                Next::Unknown { until } => {
                    write!(text, "?{until} ").unwrap();
                    until
                }
                Next::Incomplete { location } => {
                    write!(text, "…{location} ").unwrap();
                    location
                }
                Next::End => return text,
            };
            let Some(after) = known::successor(end) else { return text };
            first = after;
        }
    }
}

#[test]
fn a_gap_in_a_subgroup_is_unknown() {
    // "A consumer cannot infer information about the existence of Objects between the current and
    // previous Object ID in the Subgroup" (draft-18, "Subgroup Header").
    let mut store = store();
    assert_eq!(store.add(5, 0, 1), Begun::New);
    assert_eq!(store.add(5, 0, 4), Begun::New);
    assert_eq!(store.read(NOW, at(5, 0), at(5, 5)), "?{5, 0} {5, 1} ?{5, 3} {5, 4} ?{5, 5} ");
}

#[test]
fn payload_that_is_here_is_not_new() {
    let mut store = store();
    store.open(KEY, FACTS).unwrap();
    assert_eq!(store.begin(NOW, KEY, &header(0, 6)), Begun::New);
    let first = store.payload(KEY, 0, 0, Bytes::from_static(b"abc"));
    assert_eq!(first, Ok(Some(Bytes::from_static(b"abc"))));
    assert_eq!(store.begin(NOW, KEY, &header(0, 6)), Begun::Known { is_complete: false });
    assert_eq!(store.payload(KEY, 0, 0, Bytes::from_static(b"ab")), Ok(None));
    assert_eq!(store.read(NOW, at(5, 0), at(5, 0)), "…{5, 0} ");
    let rest = store.payload(KEY, 0, 2, Bytes::from_static(b"cdef"));
    assert_eq!(rest, Ok(Some(Bytes::from_static(b"def"))));
    assert_eq!(store.read(NOW, at(5, 0), at(5, 0)), "{5, 0} ");
    assert_eq!(store.begin(NOW, KEY, &header(0, 6)), Begun::Known { is_complete: true });
    assert!(store.payload(KEY, 0, 0, Bytes::from_static(b"abX")).is_err());
}

#[test]
fn what_a_gap_says_is_not_read_as_unknown() {
    // "the number of Objects prior to the current Object that do not and will never exist"
    // (draft-18, "Prior Object ID Gap"), and likewise groups.
    let mut store = store();
    store.open(KEY, FACTS).unwrap();
    assert_eq!(
        store.begin(NOW, KEY, &with_gap(10, property_type::PRIOR_OBJECT_ID_GAP, 2)),
        Begun::New
    );
    assert_eq!(store.read(NOW, at(5, 8), at(5, 10)), "{5, 10} ");
    assert_eq!(store.read(NOW, at(5, 7), at(5, 10)), "?{5, 7} {5, 10} ");
    // "An endpoint receives an Object with an Object ID within a previously communicated gap":
    // malformed.
    assert!(matches!(store.add(5, 1, 9), Begun::Contradiction(_)));
    assert_eq!(store.add(5, 1, 7), Begun::New);

    let key = SubgroupKey { group: 8, subgroup: 0 };
    store.open(key, FACTS).unwrap();
    let gap = |gap| with_gap(0, property_type::PRIOR_GROUP_ID_GAP, gap);
    // "An endpoint receives an Object with a Prior Group ID Gap covering an Object it previously
    // received", and one larger than the Group ID.
    assert!(matches!(store.begin(NOW, key, &gap(3)), Begun::Contradiction(_)));
    assert!(matches!(store.begin(NOW, key, &gap(9)), Begun::Contradiction(_)));
    assert_eq!(store.begin(NOW, key, &gap(2)), Begun::New);
    assert_eq!(store.read(NOW, at(6, 0), at(8, 0)), "{8, 0} ");
    assert!(matches!(store.add(6, 0, 0), Begun::Contradiction(_)));
    // "A Group contains more than one Object with different values for Prior Group ID Gap".
    let other = with_gap(1, property_type::PRIOR_GROUP_ID_GAP, 1);
    assert!(matches!(store.begin(NOW, key, &other), Begun::Contradiction(_)));
}

#[test]
fn an_end_says_that_nothing_comes_after_it() {
    let mut store = store();
    store.add(5, 0, 3);
    // "no objects with the specified Group ID and the Object ID that is greater than or equal to
    // the one specified exist" (draft-18, "Object Status").
    let end = marker(4, ObjectStatus::EndOfGroup);
    assert_eq!(store.begin(NOW, KEY, &end), Begun::New);
    assert_eq!(store.read(NOW, at(5, 3), at(5, u64::MAX)), "{5, 3} ");
    assert_eq!(store.begin(NOW, KEY, &end), Begun::Known { is_complete: true });
    // The log has it, so that subscribers hear of it.
    assert_eq!(store.after(KEY, Some(3)).unwrap().header, end);
    // "An Object is received in a Group whose Object ID is larger than the final Object in the
    // Group" (draft-18, "Malformed Tracks").
    assert!(matches!(store.add(5, 1, 9), Begun::Contradiction(_)));
    // "Transitions between Normal, End of Group and End of Track are invalid" (draft-14, "Caching
    // Relays").
    assert!(matches!(store.begin(NOW, KEY, &header(4, 0)), Begun::Contradiction(_)));
    let early = marker(2, ObjectStatus::EndOfGroup);
    let other = SubgroupKey { group: 5, subgroup: 2 };
    store.open(other, FACTS).unwrap();
    assert!(matches!(store.begin(NOW, other, &early), Begun::Contradiction(_)));

    assert_eq!(store.end_of_track(), None);
    let key = SubgroupKey { group: 7, subgroup: 0 };
    store.open(key, FACTS).unwrap();
    assert_eq!(store.begin(NOW, key, &marker(0, ObjectStatus::EndOfTrack)), Begun::New);
    assert_eq!(store.end_of_track(), Some(at(7, 0)));
    assert_eq!(store.read(NOW, at(7, 0), known::LAST), "");
    assert!(matches!(store.add(9, 0, 0), Begun::Contradiction(_)));
}

#[test]
fn the_end_of_a_fetched_track_is_its_last_object() {
    let mut store = store();
    assert_eq!(store.begin_fetched(NOW, &fetched(at(3, 4), Some(0), 0)), Begun::New);
    store.note_end_of_track(at(3, 3));
    assert_eq!(store.end_of_track(), None);
    store.note_end_of_track(at(3, 4));
    assert_eq!(store.end_of_track(), Some(at(3, 4)));
    assert_eq!(store.read(NOW, at(3, 4), known::LAST), "{3, 4} ");
}

#[test]
fn a_subgroup_ends_its_group_only_if_it_finished() {
    // "the subscriber can infer the final Object in the Group when the data stream is terminated by
    // a FIN. … This does not apply when the data stream is reset" (draft-18, "Subgroup Header").
    let facts = SubgroupFacts { end_of_group: true, ..FACTS };
    let reset = SubgroupEnd::Reset(StreamResetCode::Cancelled);
    for (end, rest) in [(SubgroupEnd::Finished, ""), (reset, "?{5, 18446744073709551615} ")] {
        let mut store = store();
        store.open(KEY, facts).unwrap();
        store.begin(NOW, KEY, &header(0, 0));
        assert_eq!(store.end(KEY, end), None);
        assert_eq!(store.read(NOW, at(5, 1), at(5, u64::MAX)), rest);
    }
    let mut store = store();
    store.open(KEY, facts).unwrap();
    store.begin(NOW, KEY, &header(0, 0));
    store.add(5, 1, 1);
    assert!(store.end(KEY, SubgroupEnd::Finished).is_some());
    // Empty, it says nothing.
    let key = SubgroupKey { group: 6, subgroup: 0 };
    store.open(key, facts).unwrap();
    assert_eq!(store.end(key, SubgroupEnd::Finished), None);
    assert_eq!(store.add(6, 1, 0), Begun::New);
    // "An Object is received whose Object ID is larger than the final Object in the Subgroup."
    assert_eq!(store.end(SubgroupKey { group: 6, subgroup: 1 }, SubgroupEnd::Finished), None);
    assert!(matches!(store.add(6, 1, 1), Begun::Contradiction(_)));
}

#[test]
fn an_object_may_cease_to_exist_and_not_come_back() {
    // Draft-14, "Caching Relays".
    let mut store = store();
    store.add(5, 0, 1);
    let gone = marker(1, ObjectStatus::DoesNotExist);
    assert_eq!(store.begin(NOW, KEY, &gone), Begun::Absent);
    assert_eq!(store.read(NOW, at(5, 1), at(5, 1)), "");
    assert_eq!(store.begin(NOW, KEY, &header(1, 0)), Begun::Absent);
    let never = marker(2, ObjectStatus::DoesNotExist);
    assert_eq!(store.begin(NOW, KEY, &never), Begun::New);
    assert_eq!(store.begin(NOW, KEY, &header(2, 0)), Begun::Absent);
    assert_eq!(store.read(NOW, at(5, 1), at(5, 2)), "");
}

#[test]
fn what_a_fetch_left_out_does_not_come_later() {
    // "An endpoint can receive an Object after it has already recorded that the Object does not
    // exist … SHOULD NOT cache or forward" (draft-18, "Caching Relays").
    let mut store = store();
    store.note_known(at(2, 0), at(5, 8));
    assert_eq!(store.add(5, 0, 8), Begun::Absent);
    assert_eq!(store.add(3, 0, 1), Begun::Absent);
    assert_eq!(store.read(NOW, at(2, 0), at(5, 8)), "");
    assert_eq!(store.add(5, 0, 9), Begun::New);
}

#[test]
fn what_comes_again_must_be_the_same() {
    // "A different Forwarding Preference, Subgroup ID, Priority or Payload" (draft-18, "Caching
    // Relays").
    let mut store = store();
    store.add(5, 0, 0);
    assert!(matches!(store.begin(NOW, KEY, &header(0, 1)), Begun::Contradiction(_)));
    assert!(matches!(store.add(5, 1, 0), Begun::Contradiction(_)));
    assert!(matches!(store.datagram(NOW, &datagram(at(5, 0), b""), 7), Begun::Contradiction(_)));
    assert!(store.open(KEY, SubgroupFacts { publisher_priority: 8, ..FACTS }).is_err());
    let other = FetchObject { publisher_priority: 8, ..fetched(at(5, 0), Some(0), 0) };
    assert!(matches!(store.begin_fetched(NOW, &other), Begun::Contradiction(_)));

    assert_eq!(store.datagram(NOW, &datagram(at(6, 0), b"abc"), 7), Begun::New);
    let again = Begun::Known { is_complete: true };
    assert_eq!(store.datagram(NOW, &datagram(at(6, 0), b"abc"), 7), again);
    assert!(matches!(store.datagram(NOW, &datagram(at(6, 0), b"abd"), 7), Begun::Contradiction(_)));
    assert!(matches!(store.datagram(NOW, &datagram(at(6, 0), b"abc"), 8), Begun::Contradiction(_)));
    // Draft 14 has no way to say that a fetched object was in a datagram.
    assert_eq!(store.begin_fetched(NOW, &fetched(at(6, 0), Some(0), 3)), again);
    assert_eq!(store.begin_fetched(NOW, &fetched(at(6, 0), None, 3)), again);
}

#[test]
fn what_is_too_old_is_unknown() {
    // "Once Objects have expired from cache, their state becomes unknown" (draft-18, "MAX CACHE
    // DURATION").
    let (start, second) = (Timestamp::from_micros(5), Duration::from_secs(1));
    let mut store = store();
    store.set_max_age(second);
    store.open(KEY, FACTS).unwrap();
    for (object, at) in [(0, start), (1, start), (2, start.saturating_add(second))] {
        store.begin(at, KEY, &header(object, 0));
    }
    let due = store.next_expiry().unwrap();
    let last = at(5, 2);
    assert!(store.is_known(start, at(5, 0), last));
    assert!(!store.is_known(due, at(5, 0), last) && store.is_known(due, last, last));
    assert_eq!(store.read(due, at(5, 0), last), "?{5, 1} {5, 2} ");
    store.expire(start.saturating_add(second));
    assert_eq!(store.objects(), 3);
    store.expire(due);
    assert_eq!(store.objects(), 1);
    assert_eq!(store.read(due, at(5, 0), last), "?{5, 1} {5, 2} ");
    // Who has not got them cannot go on; who has can.
    assert!(store.has_lost(KEY, None) && store.has_lost(KEY, Some(0)));
    assert!(!store.has_lost(KEY, Some(1)));
    // It is no contradiction that they come again.
    assert_eq!(store.begin(due, KEY, &header(0, 9)), Begun::New);
}

#[test]
fn the_oldest_groups_go_first_and_are_unknown() {
    let mut store = Store::new(Limits { objects: 10, ..limits() });
    for group in 0..6 {
        store.add(group, 0, 0);
        store.add(group, 0, 1);
        store.note_known(at(group, 2), at(group, u64::MAX));
    }
    assert_eq!(store.objects(), 10);
    let end = at(0, u64::MAX);
    assert_eq!(store.read(NOW, at(0, 0), at(1, 0)), alloc::format!("?{end} {{1, 0}} "));
    let key = SubgroupKey { group: 0, subgroup: 0 };
    assert!(store.has_lost(key, None) && store.after(key, None).is_none());
    // What still comes of it is not kept, but may be passed on.
    assert_eq!(store.begin(NOW, key, &header(2, 1)), Begun::New);
    let payload = Bytes::from_static(b"a");
    assert_eq!(store.payload(key, 2, 0, payload.clone()), Ok(Some(payload)));
    // A second stream of it makes no log of what is left.
    store.open(key, FACTS).unwrap();
    store.begin(NOW, key, &header(3, 0));
    assert!(store.has_lost(key, None));
    while store.forget_oldest() {}
    assert_eq!(store.objects(), 2);
    store.clear();
    assert_eq!((store.objects(), store.bytes()), (0, 0));
}

#[test]
fn the_newest_group_is_trimmed_at_twice_the_bytes() {
    let piece = Bytes::from(alloc::vec![0; 1000]);
    let limits = Limits { bytes: 100_000, ..limits() };
    let mut store = Store::new(limits);
    store.open(KEY, FACTS).unwrap();
    for object in 0..1000 {
        assert_eq!(store.begin(NOW, KEY, &header(object, 1000)), Begun::New);
        assert_eq!(store.payload(KEY, object, 0, piece.clone()), Ok(Some(piece.clone())));
        assert!(store.bytes() <= 2 * limits.bytes);
    }
    assert!(store.bytes() > limits.bytes);
    let first = store.after(KEY, None).unwrap().header.object_id;
    assert!(first > 0 && !store.has_lost(KEY, Some(first - 1)));
    assert!(store.has_lost(KEY, first.checked_sub(2)));
    let lost = at(5, first - 1);
    assert!(store.read(NOW, at(5, 0), at(5, 999)).starts_with(&alloc::format!("?{lost} ")));
    // One object larger than all that is kept of nothing, too.
    store.begin(NOW, KEY, &header(1000, u64::MAX));
    for index in 0..1000 {
        let new = store.payload(KEY, 1000, index * 1000, piece.clone());
        assert_eq!(new, Ok(Some(piece.clone())));
        assert!(store.bytes() <= 2 * limits.bytes);
    }
}

#[test]
fn groups_are_read_downwards() {
    let mut store = store();
    assert_eq!(store.group_below(at(1, 0), 9), Some(8));
    store.note_known(at(4, 0), at(8, u64::MAX));
    assert_eq!(store.group_below(at(1, 0), 9), Some(3));
    store.add(2, 0, 5);
    store.note_known(at(0, 0), at(2, 4));
    store.note_known(at(2, 6), at(3, u64::MAX));
    assert_eq!(store.group_below(at(1, 0), 9), Some(2));
    assert_eq!(store.group_below(at(1, 0), 2), None);
    assert_eq!(store.group_below(at(2, 6), 9), None);
    assert_eq!(store.group_below(at(0, 0), 0), None);
}

#[test]
fn what_was_given_up_is_unknown() {
    let mut store = store();
    store.open(KEY, FACTS).unwrap();
    store.begin(NOW, KEY, &header(0, 0));
    store.begin(NOW, KEY, &header(1, 5));
    store.abandon(KEY, 0);
    store.abandon(KEY, 1);
    assert_eq!(store.read(NOW, at(5, 0), at(5, 1)), "{5, 0} ?{5, 1} ");
    assert!(store.object(KEY, 1).is_none() && store.has_lost(KEY, Some(0)));
}

#[test]
fn nothing_a_peer_claims_is_held_without_bound() {
    let mut store = Store::new(Limits { objects: 50, bytes: 1 << 16, ..limits() });
    for group in (0..u64::MAX).step_by(1 << 50).take(5000) {
        store.note_known(at(group, 7), at(group, 8));
    }
    assert!(store.known.len() <= 100);
    for group in 0..5000 {
        let key = SubgroupKey { group: group * 9, subgroup: group };
        store.open(key, FACTS).unwrap();
        store.begin(NOW, key, &with_gap(9, property_type::PRIOR_OBJECT_ID_GAP, 3));
        store.open(SubgroupKey { subgroup: group + 1, ..key }, FACTS).unwrap();
    }
    assert!(store.known.len() <= 100 && store.denied.len() <= 100);
    assert!(store.objects() <= 50 && store.bytes() <= 1 << 17);
    for subgroup in 0..5000 {
        store.open(SubgroupKey { group: 1 << 40, subgroup }, FACTS).unwrap();
    }
    assert!(store.bytes() <= 1 << 17);
}

#[test]
fn a_subgroup_forgotten_in_part_does_not_say_where_its_group_ends() {
    let facts = SubgroupFacts { end_of_group: true, ..FACTS };
    let mut store = store();
    store.open(KEY, facts).unwrap();
    for object in 0..9 {
        store.begin(NOW, KEY, &header(object, 0));
    }
    store.add(6, 0, 0);
    assert!(store.forget_oldest());
    // Another publisher has not come as far when the first says that the subgroup is complete.
    store.open(KEY, facts).unwrap();
    store.begin(NOW, KEY, &header(0, 0));
    assert_eq!(store.end(KEY, SubgroupEnd::Finished), None);
    assert_eq!(store.read(NOW, at(5, 0), at(5, 8)), "{5, 0} ?{5, 8} ");
    assert_eq!(store.begin(NOW, KEY, &header(8, 0)), Begun::New);
}

#[test]
fn a_subgroup_that_comes_again_after_it_was_forgotten_is_no_log() {
    let mut store = store();
    store.set_max_age(Duration::ZERO);
    let late = Timestamp::from_micros(1);
    for subgroup in 0..3 {
        store.add(5, subgroup, subgroup);
        store.end(SubgroupKey { group: 5, subgroup }, SubgroupEnd::Finished);
    }
    store.expire(late);
    assert_eq!((store.objects(), store.bytes()), (0, 0));
    let old = SubgroupKey { group: 5, subgroup: 1 };
    store.open(old, FACTS).unwrap();
    store.begin(late, old, &header(5, 0));
    assert!(store.has_lost(old, None));
    // One that has not been here is.
    let new = SubgroupKey { group: 5, subgroup: 3 };
    store.open(new, FACTS).unwrap();
    store.begin(late, new, &header(6, 0));
    assert!(!store.has_lost(new, None));
}

#[test]
fn trimming_a_group_leaves_no_ranges_behind() {
    let mut store = Store::new(Limits { objects: 10, ..limits() });
    store.note_known(at(5, 0), at(5, 0));
    for object in 0..100 {
        store.add(5, 0, object * 10 + 1);
        store.note_known(at(5, object * 10 + 2), at(5, object * 10 + 10));
    }
    assert_eq!(store.objects(), 10);
    assert_eq!(store.known.len(), 1);
}

#[test]
fn the_charges_cover_what_is_held() {
    // A node of a map has place for eleven entries and holds five at least, but for the root.
    let in_maps = |len: usize| len * 11 / 5;
    let object = size_of::<(Location, Object)>();
    let indexes = size_of::<(Timestamp, Location)>() + 2 * size_of::<Location>() + size_of::<u64>();
    assert!(in_maps(object + indexes) <= object::OBJECT_CHARGE);
    let ids = 11 * size_of::<u64>();
    assert!(in_maps(size_of::<(u64, Subgroup)>()) + ids <= group::SUBGROUP_CHARGE);
}
