//! A command that fails has changed nothing.

use bytes::Bytes;
use moqt_conformance::end::{End, Output};
use moqt_conformance::{ROLES, cases, drafts_from, say};
use moqt_engine::model::{Location, ObjectStatus};
use moqt_engine::wire::FetchObject;
use moqt_engine::{CommandError, Config, Draft, Event, SubgroupOptions};

use crate::published;

// With a Group ID that the draft cannot write nothing could be done with a subgroup's stream, not
// even finish it: none is opened.
#[test]
fn a_subgroup_that_could_not_be_finished_is_not_opened() {
    for (draft, role) in cases().filter(|(draft, _)| *draft < Draft::D18) {
        let mut end = End::established(draft, role, Config::default());
        let (request, _) = published(&mut end, "t");
        let (outputs, usage, stats) = (end.outputs.len(), end.engine.usage(), end.engine.stats());
        let options = SubgroupOptions::new(u64::MAX);
        let opened =
            end.with(|engine, _| engine.publisher(request).unwrap().open_subgroup(options));
        assert!(matches!(opened, Err(CommandError::Encode(_))), "{draft:?}: {opened:?}");
        assert_eq!(end.outputs.len(), outputs, "{draft:?} {role:?}: {:?}", end.outputs);
        assert_eq!((usage, stats), (end.engine.usage(), end.engine.stats()), "{draft:?} {role:?}");
    }
}

#[test]
fn a_response_whose_first_object_cannot_be_written_opens_no_stream() {
    // Only draft 14 can say this in a fetch.
    for (draft, role) in drafts_from(Draft::D16).flat_map(|draft| ROLES.map(|role| (draft, role))) {
        let mut end = End::established(draft, role, Config::default());
        let id = end.fresh_id();
        end.request(&say::fetch(id, "t", Location::ZERO, Location::new(3, 0)));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let (usage, stats) = (end.engine.usage(), end.engine.stats());
        let object = FetchObject {
            status: ObjectStatus::EndOfGroup,
            ..say::fetch_object(Location::ZERO, b"")
        };
        let written = end.with(|engine, _| {
            engine.fetch_response(request).unwrap().object(&object, Bytes::new())
        });
        assert!(matches!(written, Err(CommandError::Encode(_))), "{draft:?}: {written:?}");
        assert_eq!((usage, stats), (end.engine.usage(), end.engine.stats()), "{draft:?} {role:?}");
        let is_uni = |output: &Output| matches!(output, Output::Open(_, moqt_engine::Dir::Uni));
        let opened = end.outputs.iter().filter(|output| is_uni(output)).count();
        assert_eq!(opened, usize::from(draft.dialect().answers_by_stream), "{draft:?} {role:?}");
    }
}
