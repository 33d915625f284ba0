//! A command that fails has changed nothing.

use bytes::Bytes;
use moqt_conformance::end::{End, Output};
use moqt_conformance::{DRAFTS, ROLES, cases, drafts_from, say};
use moqt_engine::model::{Location, ObjectStatus, Property};
use moqt_engine::wire::{FetchObject, ObjectHeader, Properties};
use moqt_engine::{CommandError, Config, Draft, Event, SlowSubscriber, SubgroupOptions};

use crate::published;
use crate::sending::{finish, object, open, slow, try_object, was_finished, was_reset};

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

// What is given up is given up for something: an object that cannot be written, or that the
// subscriber does not get, needs no room.
#[test]
fn no_group_is_dropped_for_an_object_that_is_not_sent() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::DropOldestGroup);
        let oldest = open(&mut end, request, 0);
        object(&mut end, oldest, 0);
        let stream = open(&mut end, request, 1);
        let mut next = 0;
        while end.engine.usage().send_bytes < 10_000 {
            object(&mut end, stream, next);
            next += 1;
        }
        let usage = end.engine.usage();
        let header = |object_id| ObjectHeader { object_id, ..ObjectHeader::default() };
        let with_properties = ObjectHeader {
            properties: Properties::encode(draft.dialect(), [&Property::int(0x42, 1)]).unwrap(),
            ..header(next)
        };
        let not_next = header(next - 1);
        let mut refused = vec![with_properties, not_next];
        if draft < Draft::D18 {
            refused.push(header(1 << 62));
        }
        for header in refused {
            let written = try_object(&mut end, stream, &header);
            assert!(matches!(written, Err(CommandError::Encode(_))), "{draft:?}: {written:?}");
        }
        let long = end.with(|engine, _| {
            engine.subgroup(stream).unwrap().payload(Bytes::from_static(b"of no object"))
        });
        assert!(matches!(long, Err(CommandError::WrongState(_))), "{draft:?}: {long:?}");
        assert_eq!(end.engine.usage(), usage, "{draft:?}");
        assert_eq!(end.take_events(), [], "{draft:?}");
        try_object(&mut end, stream, &header(next)).unwrap();
        assert!(was_reset(&end, oldest), "{draft:?}");
    }
}

// A handle to write with would be told to wait for room, and of that nobody would say anything.
#[test]
fn a_finished_subgroup_that_still_waits_to_be_sent_is_not_to_be_had() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::Block);
        let stream = open(&mut end, request, 0);
        object(&mut end, stream, 0);
        finish(&mut end, stream);
        assert!(end.engine.subgroup(stream).is_none(), "{draft:?}");
        end.takes_data = true;
        end.drain();
        assert!(was_finished(&end, stream), "{draft:?}");
    }
}
