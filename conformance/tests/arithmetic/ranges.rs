//! Ranges of locations, as FETCH and FETCH_OK have them.

use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Draft, FetchRange, Location, LocationRange, Message};
use moqt_engine::wire::{ControlReader, encode_message};

use super::{EDGES, locations, max, place};

/// All locations there are, in any draft.
fn all() -> Vec<Location> {
    EDGES.into_iter().flat_map(|group| EDGES.map(|object| Location::new(group, object))).collect()
}

/// The last place in a range with this end: "End Location: The end Location, plus 1. A
/// Location.Object value of 0 means the entire group is requested." (all drafts, "Standalone
/// Fetch")
fn last_place(end: Location) -> u128 {
    match end.object {
        0 => place(Location::new(end.group, u64::MAX)),
        _ => place(end) - 1,
    }
}

#[test]
fn a_range_ends_before_its_end() {
    for (start, end) in
        all().into_iter().flat_map(|start| all().into_iter().map(move |e| (start, e)))
    {
        let range = LocationRange::new(start, end);
        let last = last_place(end);
        assert_eq!(place(range.last()), last, "{start} {end}");
        assert_eq!(range.is_backwards(), last < place(start), "{start} {end}");
        for probe in around(start).into_iter().chain(around(end)) {
            let expected = (place(start)..=last).contains(&place(probe));
            assert_eq!(range.contains(probe), expected, "{start} {end} {probe}");
        }
    }
}

/// A location and those next to it.
fn around(location: Location) -> Vec<Location> {
    let Location { group, object } = location;
    let near = |value: u64| [value.wrapping_sub(1), value, value.wrapping_add(1)];
    near(group).into_iter().flat_map(|g| near(object).map(|o| Location::new(g, o))).collect()
}

// "End Location is {Largest.Group, Largest.Object + 1}" (all drafts, FETCH_OK)
#[test]
fn a_range_to_a_location_has_it_for_its_last() {
    for (start, last) in
        all().into_iter().flat_map(|start| all().into_iter().map(move |last| (start, last)))
    {
        let range = LocationRange::to_last(start, last);
        assert_eq!((range.start, range.last()), (start, last));
        assert_eq!(range.is_backwards(), place(last) < place(start), "{start} {last}");
    }
}

/// What has been published of a range ends with whatever is first: the range or the track.
#[test]
fn what_is_published_of_a_range_ends_with_the_first_end() {
    let few = || {
        let few = [0, 1, 64, (1 << 62) - 1, 1 << 62, u64::MAX - 1, u64::MAX];
        few.into_iter().flat_map(move |group| few.map(|object| Location::new(group, object)))
    };
    for (start, end) in few().flat_map(|start| few().map(move |end| (start, end))) {
        for largest in few() {
            let range = LocationRange::new(start, end);
            let found = range.published(largest);
            if place(start) > place(largest) {
                assert_eq!(found, None, "{start} {end} {largest}");
                continue;
            }
            let last = last_place(end).min(place(largest));
            let found = found.expect("something is published");
            assert_eq!((found.start, place(found.last())), (start, last), "{range:?} {largest}");
        }
    }
}

/// The End Location that is one more than the largest object of the draft is not an integer of
/// the draft; but that is the entire group.
#[test]
fn a_range_to_the_largest_object_of_a_draft_can_be_written() {
    for draft in DRAFTS {
        let largest = u64::try_from(max(draft)).expect("64 bits at most");
        for last in locations(draft).filter(|last| last.object == largest) {
            let end = LocationRange::to_last(Location::ZERO, last).end;
            let whole = Location::new(last.group, 0);
            for message in [say::fetch_ok(0, end), say::fetch(0, "t", Location::ZERO, end)] {
                assert_eq!(end_of(&read(draft, &message)), Some(whole), "{draft} {last}");
            }
        }
    }
}

/// What is larger cannot be said, and is not said in some other way.
#[test]
fn a_location_that_a_draft_cannot_say_is_refused() {
    for draft in DRAFTS {
        for end in all() {
            let fits = [end.group, end.object].into_iter().all(|id| u128::from(id) <= max(draft));
            let is_whole = u128::from(end.group) <= max(draft) && end.object == 1 << 62;
            let fits = fits || is_whole && draft < Draft::D18;
            let mut bytes = Vec::new();
            let written = encode_message(draft.dialect(), &say::fetch_ok(0, end), &mut bytes);
            assert_eq!(written.is_ok(), fits, "{draft} {end}");
            assert_eq!(bytes.is_empty(), !fits, "{draft} {end}");
        }
    }
}

fn read(draft: Draft, message: &Message) -> Message {
    let mut reader = ControlReader::new(draft.dialect());
    reader.push(say::message(draft, message).into());
    reader.next_message().unwrap().unwrap()
}

fn end_of(message: &Message) -> Option<Location> {
    match message {
        Message::FetchOk(ok) => Some(ok.end),
        Message::Fetch(fetch) => match &fetch.range {
            FetchRange::Standalone { end, .. } => Some(*end),
            FetchRange::Joining { .. } => None,
        },
        _ => None,
    }
}
