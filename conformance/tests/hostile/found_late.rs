//! Tracks that turn out not to conform when something else of them is looked at, or no more of it is
//! wanted ("Malformed Tracks" of each draft).

use moqt_conformance::DRAFTS;
use moqt_conformance::end::Output;
use moqt_conformance::objects::SubgroupStream;
use moqt_engine::model::{ObjectStatus, Property, StreamResetCode, property_type};
use moqt_engine::{Dir, MalformedRule, Role};

use crate::malformed::Subscribed;

const ALIAS: u64 = 1;

// "An endpoint receives an Object with a Prior Object ID Gap covering an Object it previously
// received." (draft-18, "Prior Object ID Gap"; 14 and 16 likewise): where a group has so many streams
// that a gap is not held against each of them at once, it is when the next object on that stream is
// looked at.
#[test]
fn a_gap_over_what_one_of_many_streams_had_is_found_with_its_next_marker() {
    for draft in DRAFTS {
        let mut track = Subscribed::new(draft, Role::Client);
        let mut covered = SubgroupStream::new(draft, ALIAS, 2).objects([0, 5]);
        let name = track.end.open_with(Dir::Uni, covered.take());
        let others =
            (1..20).map(|id| SubgroupStream::new(draft, ALIAS, 2).subgroup(id).objects([100 + id]));
        track.send_all(others);
        let gap = Property::int(property_type::PRIOR_OBJECT_ID_GAP, 3);
        let stream = SubgroupStream::new(draft, ALIAS, 2).subgroup(20).with(7, b"x", &[gap]);
        track.send_all([stream]);
        assert_eq!(track.end.closed(), None, "{draft:?}");
        track.end.data(name, covered.status(300, ObjectStatus::EndOfGroup).take());
        track.assert_malformed(MalformedRule::GapCoversObject, (2, 5), "5 in 4 to 6");
    }
}

// "The same Object is received more than once with different Payload or other immutable properties."
// (draft-18, "Malformed Tracks") The subgroup is one: that is found when a stream is over, also when
// it is this side that wants no more of it.
#[test]
fn an_object_of_two_subgroups_is_found_when_one_is_stopped() {
    for draft in DRAFTS {
        let mut track = Subscribed::new(draft, Role::Client);
        let stream = SubgroupStream::plain(draft, ALIAS, 2).objects([0, 5]);
        let name = track.end.open_with(Dir::Uni, stream.bytes());
        track.send_all([SubgroupStream::plain(draft, ALIAS, 2).subgroup(1).objects([5])]);
        let key = track.end.key(name);
        track.end.with(|engine, _| engine.stop(key, StreamResetCode::Cancelled));
        let stops = track.end.outputs.iter();
        let stops = stops.filter(|output| matches!(output, Output::Stop(of, _) if *of == name));
        assert_eq!(stops.count(), 1, "{draft:?}");
        track.assert_malformed(MalformedRule::ObjectsDiffer, (2, 5), "in subgroups 0 and 1");
    }
}
