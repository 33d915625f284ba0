//! Handles to write with, of what is over or was given up meanwhile, or never was.

use bytes::Bytes;
use moqt_conformance::DRAFTS;
use moqt_conformance::end::{End, Output};
use moqt_conformance::say;
use moqt_engine::model::{Location, Message, ObjectStatus, PublishDoneCode, StreamResetCode};
use moqt_engine::wire::{ObjectHeader, Properties};
use moqt_engine::{
    CommandError, Config, DatagramOptions, DatagramOutcome, Dir, DropReason, Event, Role,
    SlowSubscriber, Subgroup, SubgroupOptions,
};

use crate::sending::{object, open, slow, was_reset};
use crate::subscribed;

fn header(object_id: u64, payload_len: u64) -> ObjectHeader {
    ObjectHeader { object_id, payload_len, ..ObjectHeader::default() }
}

fn resets(end: &End) -> usize {
    end.outputs.iter().filter(|output| matches!(output, Output::Reset(..))).count()
}

// Room that a subgroup needs is made of the smallest group, and that may be its own: all that is
// asked of it from then on is too late, and it is reset and told of once.
#[test]
fn a_subgroup_that_made_room_for_itself_is_gone() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::DropOldestGroup);
        let stream = open(&mut end, request, 0);
        let largest = open(&mut end, request, 1);
        object(&mut end, largest, 0);
        end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap();
            subgroup.begin_object(&header(0, 1_000_000)).unwrap();
            let piece = Bytes::from(vec![7; 1_000]);
            let mut pieces = 0;
            while subgroup.payload(piece.clone()).is_ok() {
                pieces += 1;
                assert!(pieces < 100, "{draft:?}: it never ends");
            }
            assert_eq!(subgroup.payload(piece.clone()), Err(CommandError::Gone), "{draft:?}");
            assert_eq!(subgroup.object(&header(1, 1_000), piece), Err(CommandError::Gone));
            assert_eq!(subgroup.begin_object(&header(1, 1)), Err(CommandError::Gone));
            subgroup.reset(StreamResetCode::InternalError);
        });
        assert!(was_reset(&end, stream), "{draft:?}");
        assert_eq!(resets(&end), 1, "{draft:?}: {:?}", end.outputs);
        assert_eq!(end.engine.stats().sent.subgroups_reset, 1, "{draft:?}");
        let given_up = |event: &Event| matches!(event, Event::SubgroupGivenUp { stream: of, .. } if *of == stream);
        let events = end.take_events();
        assert_eq!(
            events.iter().filter(|event| given_up(event)).count(),
            1,
            "{draft:?}: {events:?}"
        );
        // The other one has its room.
        object(&mut end, largest, 1);

        let (mut end, request, _) = slow(draft, SlowSubscriber::DropOldestGroup);
        let stream = open(&mut end, request, 0);
        let largest = open(&mut end, request, 1);
        object(&mut end, largest, 0);
        end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap();
            write_until_gone(&mut subgroup);
            assert_eq!(subgroup.finish(), Err(CommandError::Gone), "{draft:?}");
        });
        assert!(was_reset(&end, stream), "{draft:?}");
    }
}

/// Writes objects until the subgroup is given up for them: how many there were.
#[track_caller]
fn write_until_gone(subgroup: &mut Subgroup<'_>) -> u64 {
    let mut write = |id| subgroup.object(&header(id, 1_000), vec![7; 1_000].into());
    let (next, refused) = (0..100).find_map(|id| Some((id, write(id).err()?))).expect("an end");
    assert_eq!(refused, CommandError::Gone);
    next
}

// The same of a subscription that ends because its subscriber is too slow.
#[test]
fn a_subscription_that_ended_for_being_behind_is_gone() {
    for draft in DRAFTS {
        let (mut end, request, _) = slow(draft, SlowSubscriber::End);
        let stream = open(&mut end, request, 0);
        end.with(|engine, _| {
            let mut subgroup = engine.subgroup(stream).unwrap();
            let next = write_until_gone(&mut subgroup);
            let written = subgroup.object(&header(next, 1), Bytes::from_static(b"x"));
            assert_eq!(written, Err(CommandError::Gone), "{draft:?}");
            subgroup.reset(StreamResetCode::Cancelled);
        });
        assert_eq!(resets(&end), 1, "{draft:?}: {:?}", end.outputs);
        let events = end.take_events();
        assert!(matches!(events[..], [Event::Cancelled { .. }]), "{draft:?}: {events:?}");

        let (mut end, request, (_, on)) = slow(draft, SlowSubscriber::End);
        end.with(|engine, _| {
            let mut publisher = engine.publisher(request).unwrap();
            let datagram = |object| DatagramOptions {
                location: Location::new(0, object),
                publisher_priority: Some(5),
                end_of_group: false,
                status: ObjectStatus::Normal,
                properties: Properties::EMPTY,
            };
            let mut next = 0;
            loop {
                match publisher.datagram(datagram(next), vec![7; 1_000].into()) {
                    Ok(DatagramOutcome::Queued) => next += 1,
                    Ok(DatagramOutcome::Dropped(DropReason::QueueFull)) => break,
                    other => panic!("{draft:?}: {other:?}"),
                }
                assert!(next < 100, "{draft:?}: it never ends");
            }
            // Datagrams that wait are still sent, but nothing is added to them.
            let late = publisher.datagram(datagram(next + 1), Bytes::from_static(b"x"));
            assert_eq!(late, Err(CommandError::Gone), "{draft:?}");
            let opened = publisher.open_subgroup(SubgroupOptions::new(7));
            assert_eq!(opened, Err(CommandError::Gone), "{draft:?}");
            publisher.done(PublishDoneCode::TrackEnded, "");
        });
        let events = end.take_events();
        assert!(matches!(events[..], [Event::Cancelled { .. }]), "{draft:?}: {events:?}");
        assert!(end.engine.publisher(request).is_none(), "{draft:?}");
        end.takes_data = true;
        end.drain();
        let said = end.said(on);
        assert!(
            matches!(said.last(), Some(Message::PublishDone(done))
                if done.code == PublishDoneCode::TooFarBehind),
            "{draft:?}: {said:?}"
        );
        // And when it is sent there is nothing left of it.
        assert_eq!(end.engine.subscription_stats(request), None, "{draft:?}");
    }
}

#[test]
fn what_is_no_subgroup_of_this_sides_cannot_be_written_to_or_stopped() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Client, Config::default());
        subscribed(&mut end, "t", 5);
        let theirs = end.open_with(Dir::Uni, say::subgroup(draft, 5, 0, &[(0, b"x")]));
        let theirs = end.key(theirs);
        assert!(end.engine.subgroup(theirs).is_none(), "{draft:?}");
        // A request's stream, or the control stream where it has none.
        let on = end.own_request();
        let on = end.key(on);
        assert!(end.engine.subgroup(on).is_none(), "{draft:?}");
        let (outputs, usage) = (end.outputs.len(), end.engine.usage());
        end.with(|engine, _| engine.stop(on, StreamResetCode::Cancelled));
        assert_eq!((end.outputs.len(), end.engine.usage()), (outputs, usage), "{draft:?}");
    }
}
