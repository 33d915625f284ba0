//! The properties that tell of what is missing before an object.

use moqt_conformance::DRAFTS;
use moqt_conformance::end::End;
use moqt_conformance::objects::{SubgroupStream, datagram, datagram_bytes};
use moqt_conformance::say;
use moqt_engine::model::{Draft, Location, Parameters, Property, property_type};
use moqt_engine::wire::Properties;
use moqt_engine::{Config, Dir, Event, Role};

use super::{edges, pairs};

const ALIAS: u64 = 7;

/// A session with a subscription whose objects have this alias.
fn subscribed(draft: Draft) -> End {
    let mut end = End::established(draft, Role::Client, Config::default());
    let (id, track) = (end.next_own_id(), say::track("t"));
    end.with(|engine, now| engine.subscribe(now, &track, &Parameters::default())).unwrap();
    let on = end.own_request();
    end.say(on, &say::subscribe_ok(id, ALIAS));
    end.take_events();
    end
}

/// Whether the track has been cancelled as malformed. Nothing else goes wrong.
fn is_malformed(end: &mut End) -> bool {
    assert_eq!(end.closed(), None);
    end.take_events().iter().any(|event| matches!(event, Event::TrackMalformed { .. }))
}

fn in_datagram(draft: Draft, at: Location, properties: &[Property]) -> bool {
    let mut end = subscribed(draft);
    let mut header = datagram(ALIAS, at.group, at.object);
    header.properties = Properties::encode(draft.dialect(), properties).unwrap();
    end.datagram(datagram_bytes(draft, &header, b"x"));
    is_malformed(&mut end)
}

fn in_subgroup(draft: Draft, at: Location, properties: &[Property]) -> bool {
    let mut end = subscribed(draft);
    let stream = SubgroupStream::new(draft, ALIAS, at.group).with(at.object, b"x", properties);
    let name = end.open_with(Dir::Uni, stream.bytes());
    end.fin(name);
    is_malformed(&mut end)
}

// "An Object contains a Prior Group ID Gap larger than the Group ID"; "An Object contains a
// Prior Object ID Gap larger than the Object ID" (draft-16, -18, "Prior Group ID Gap" and "Prior
// Object ID Gap"; draft-14 "Prior Group ID Gap larger than the Group ID")
#[test]
fn a_gap_is_at_most_what_there_is_before_the_object() {
    for draft in DRAFTS {
        for (id, gap) in pairs(draft) {
            let what = format!("{draft} {id} {gap}");
            let group = [Property::int(property_type::PRIOR_GROUP_ID_GAP, gap)];
            let at = Location::new(id, 5);
            assert_eq!(in_datagram(draft, at, &group), gap > id, "{what}");
            assert_eq!(in_subgroup(draft, at, &group), gap > id, "{what}");
            let object = [Property::int(property_type::PRIOR_OBJECT_ID_GAP, gap)];
            let at = Location::new(5, id);
            assert_eq!(in_datagram(draft, at, &object), gap > id, "{what}");
            assert_eq!(in_subgroup(draft, at, &object), gap > id, "{what}");
        }
    }
}

/// "An Endpoint receives an Object with a Group ID within a previously communicated gap" (all
/// drafts); the same for objects.
#[test]
fn a_gap_covers_what_is_before_the_object_and_no_more() {
    for draft in DRAFTS {
        for (id, gap) in pairs(draft).filter(|(id, gap)| gap <= id) {
            let (first, last) = (id - gap, id.wrapping_sub(1));
            let near = [first.checked_sub(1), Some(first), Some(last)];
            for other in near.into_iter().flatten().chain(edges(draft)) {
                if other >= id {
                    continue;
                }
                let covered = other >= first;
                let what = format!("{draft} {id} {gap} {other}");
                let mut end = subscribed(draft);
                let mut header = datagram(ALIAS, id, 0);
                let property = Property::int(property_type::PRIOR_GROUP_ID_GAP, gap);
                header.properties = Properties::encode(draft.dialect(), &[property]).unwrap();
                end.datagram(datagram_bytes(draft, &header, b"x"));
                end.datagram(datagram_bytes(draft, &datagram(ALIAS, other, 0), b"x"));
                assert_eq!(is_malformed(&mut end), covered, "groups {what}");

                let mut end = subscribed(draft);
                let mut header = datagram(ALIAS, 0, id);
                let property = Property::int(property_type::PRIOR_OBJECT_ID_GAP, gap);
                header.properties = Properties::encode(draft.dialect(), &[property]).unwrap();
                end.datagram(datagram_bytes(draft, &header, b"x"));
                end.datagram(datagram_bytes(draft, &datagram(ALIAS, 0, other), b"x"));
                assert_eq!(is_malformed(&mut end), covered, "objects {what}");
            }
        }
    }
}
