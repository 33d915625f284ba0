//! One subscriber's copy of a track on its way out, and what the handles of what is sent tell.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    GroupOrder, Location, LocationRange, Parameters, PublishDoneCode, StreamResetCode, SubgroupId,
    TrackProperties,
};
use moqt_engine::track::{PublishedTrack, Slot, TrackLayout};
use moqt_engine::wire::{EncodeError, ObjectHeader, Properties, SubgroupHeader};
use moqt_engine::{
    Accept, AcceptFetch, CommandError, Config, DatagramOptions, Dir, Draft, DropReason, Event,
    Role, Transmit, Written,
};

use crate::sending::forward;
use crate::{leave, published, published_with};

#[test]
fn a_layout_says_where_objects_go() {
    let mut layout = TrackLayout::new(Location::new(4, 0), 0);
    assert!(!layout.is_in_group());
    let slot = layout.place(false);
    assert_eq!((slot.location, slot.subgroup_id), (Location::new(4, 0), 0), "at least one");
    assert!(layout.is_in_group());
    assert_eq!(layout.place(true).location, Location::new(4, 1));
    assert!(!layout.is_in_group());
    assert_eq!(layout.next(), Location::new(5, 0));
}

// What was stated for the track is in each subgroup's header, and what was given up is reset.
#[test]
fn a_track_that_is_abandoned_resets_its_subgroups() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, _) = published(&mut end, "t");
        let mut track = PublishedTrack::new(request).with_priority(7).with_properties();
        assert_eq!(track.request(), request);
        let mut layout = TrackLayout::new(Location::ZERO, 2);
        let streams = end.outputs.len();
        for _ in 0..3 {
            let slot = layout.place(false);
            let payload = Bytes::from_static(b"x");
            end.with(|engine, _| track.object(engine, slot, &Properties::EMPTY, payload)).unwrap();
        }
        let opened: Vec<_> = end.outputs[streams..]
            .iter()
            .filter_map(|output| match output {
                Output::Open(name, Dir::Uni) => Some(*name),
                _ => None,
            })
            .collect();
        assert_eq!(opened.len(), 2, "{draft:?}");
        for (subgroup, name) in opened.iter().enumerate() {
            let bytes = end.sent(*name);
            let (header, _) = SubgroupHeader::decode(draft.dialect(), &bytes).unwrap().unwrap();
            assert_eq!(header.publisher_priority, Some(7), "{draft:?}");
            assert!(header.has_properties, "{draft:?}");
            assert_eq!(header.subgroup_id, SubgroupId::Explicit(subgroup as u64), "{draft:?}");
        }
        end.with(|engine, _| track.abandon(engine, StreamResetCode::InternalError));
        for name in opened {
            assert!(end.did(&Output::Reset(name, 0)), "{draft:?}");
        }
    }
}

#[test]
fn a_track_whose_subscription_is_over_takes_nothing() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, _) = published(&mut end, "t");
        end.with(|engine, _| engine.publisher(request).unwrap().done(PublishDoneCode::Expired, ""));
        let mut track = PublishedTrack::new(request);
        let slot = TrackLayout::new(Location::ZERO, 1).place(true);
        let result = end.with(|engine, _| {
            track.object(engine, slot, &Properties::EMPTY, Bytes::from_static(b"x"))
        });
        assert!(
            matches!(result, Err(CommandError::Gone | CommandError::WrongState(_))),
            "{draft:?}: {result:?}"
        );
    }
}

// A group that the subscriber does not want is passed by.
#[test]
fn groups_before_the_start_are_skipped() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let mut parameters = Parameters::default();
        let start = Location::new(1, 0);
        parameters.subscription_filter =
            Some(moqt_engine::model::SubscriptionFilter::AbsoluteStart { start });
        let (request, _) = published_with(&mut end, "t", parameters, Accept::default());
        let mut track = PublishedTrack::new(request);
        let mut layout = TrackLayout::new(Location::ZERO, 1);
        let expected = [Written::Skipped, Written::Skipped, Written::Skipped, Written::Queued];
        for (n, expected) in expected.into_iter().enumerate() {
            let slot = layout.place(n == 2);
            let written = end.with(|engine, _| {
                track.object(engine, slot, &Properties::EMPTY, Bytes::from_static(b"x"))
            });
            assert_eq!(written, Ok(expected), "{draft:?}: {slot:?}");
        }
    }
}

// "When the total size is larger than the maximum datagram size for the session, the Object will
// be dropped without any explicit notification" (draft-18) to the subscriber; the publisher's
// application is told, and nothing waits behind it.
#[test]
fn a_datagram_too_large_for_the_transport_is_told() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, _) = published(&mut end, "t");
        end.takes_data = false;
        for object in 0..2 {
            let options = DatagramOptions::new(Location::new(0, object));
            end.with(|engine, _| {
                engine.publisher(request).unwrap().datagram(options, Bytes::from_static(b"x"))
            })
            .unwrap();
        }
        while let Some(transmit) = end.engine.poll_send(end.now) {
            match transmit {
                Transmit::Datagram(datagram) => {
                    datagram.too_large();
                    break;
                }
                Transmit::Stream(mut send) => {
                    let len = send.offer().0.iter().map(Bytes::len).sum();
                    send.written(len);
                }
            }
        }
        end.drain();
        let events = end.take_events();
        let [Event::DatagramDropped { header, reason: DropReason::TooLarge, .. }] = &events[..]
        else {
            panic!("{draft:?}: {events:?}")
        };
        assert_eq!(header.location, Location::ZERO, "{draft:?}");
        end.take_data();
        assert!(matches!(end.outputs.last(), Some(Output::Datagram(_))), "{draft:?}");
    }
}

// An object's delivery timeout counts from its first byte, which may have come before it was
// given: "if the time elapsed since the first byte exceeds OBJECT_DELIVERY_TIMEOUT" (draft-18).
#[test]
fn a_datagram_ages_from_when_it_began() {
    for draft in DRAFTS {
        for (age, sent) in [(60, 1), (101, 0)] {
            let mut end = End::established(draft, Role::Server, Config::default());
            let mut parameters = Parameters::default();
            parameters.object_delivery_timeout = Some(100);
            let (request, _) = published_with(&mut end, "t", parameters, Accept::default());
            end.takes_data = false;
            let begun = end.now;
            end.wait(Duration::from_millis(50));
            let options = DatagramOptions::new(Location::ZERO);
            end.with(|engine, _| {
                let mut publisher = engine.publisher(request).unwrap().begun_at(begun);
                publisher.datagram(options, Bytes::from_static(b"x"))
            })
            .unwrap();
            end.wait(Duration::from_millis(age - 50));
            end.take_data();
            let count =
                end.outputs.iter().filter(|output| matches!(output, Output::Datagram(_))).count();
            assert_eq!(count, sent, "{draft:?}, {age} ms");
        }
    }
}

// What a FETCH is to be answered with: the order asked for, and what waits of it.
#[test]
fn a_response_says_its_order_and_what_waits() {
    for draft in DRAFTS {
        for order in [None, Some(GroupOrder::Ascending), Some(GroupOrder::Descending)] {
            let mut end = End::established(draft, Role::Server, Config::default());
            let id = end.fresh_id();
            let mut parameters = Parameters::default();
            parameters.group_order = order;
            let (start, to) = (Location::ZERO, Location::new(1, 0));
            let range = moqt_engine::model::FetchRange::Standalone {
                track: say::track("t"),
                start,
                end: to,
            };
            end.request(&say::fetch_with(id, range, parameters));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            end.with(|engine, now| engine.accept_fetch(now, request, AcceptFetch::new(to)))
                .unwrap();
            end.takes_data = false;
            end.with(|engine, _| {
                let mut response = engine.fetch_response(request).unwrap();
                // Ascending is the default, and the only order draft 14's publisher chooses here.
                let settled = order.unwrap_or(GroupOrder::Ascending);
                assert_eq!(response.group_order().unwrap_or_default(), settled, "{draft:?}");
                assert_eq!(response.range(), LocationRange::new(start, to), "{draft:?}");
                assert_eq!(response.queued(), 0, "{draft:?}");
                let mut object = say::fetch_object(Location::ZERO, &[7; 500]);
                object.payload_len = 501;
                let wrong = response.object(&object, vec![7; 500].into());
                assert!(matches!(wrong, Err(CommandError::WrongState(_))), "{draft:?}: {wrong:?}");
                assert_eq!(response.queued(), 0, "{draft:?}");
                object.payload_len = 500;
                response.object(&object, vec![7; 500].into()).unwrap();
                assert_eq!(response.group_order(), Some(settled), "{draft:?}");
                assert!((500..550).contains(&response.queued()), "{draft:?}");
                response.finish().unwrap();
            });
            end.take_data();
            let none = end
                .with(|engine, _| engine.fetch_response(request).map(|response| response.queued()));
            assert!(none.is_none_or(|queued| queued == 0), "{draft:?}");
        }
    }
}

// Properties of a track that say the same whether they may be changed on the way or not.
#[test]
fn track_properties_are_read_through_their_names() {
    let properties = TrackProperties::new().with_int(0x04, 5_000);
    assert_eq!(properties.max_cache_duration(), Some(5_000));
    assert_eq!(properties.immutable().len(), 0);
}

fn give(end: &mut End, track: &mut PublishedTrack, slot: Slot) -> Result<Written, CommandError> {
    let payload = Bytes::from_static(b"x");
    end.with(|engine, _| track.object(engine, slot, &Properties::EMPTY, payload))
}

fn last_opened(end: &End) -> Name {
    let opened = end.outputs.iter().rev().find_map(|output| match output {
        Output::Open(name, Dir::Uni) => Some(*name),
        _ => None,
    });
    opened.expect("a stream")
}

// A group that was not wanted at first is taken up in its middle when it is, on a stream that does
// not say that it has the first object, and cannot end like one that has all.
#[test]
fn a_group_is_taken_up_when_it_is_wanted_again() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, by) = published(&mut end, "t");
        forward(&mut end, by, false);
        let mut track = PublishedTrack::new(request);
        let mut layout = TrackLayout::new(Location::ZERO, 1);
        assert_eq!(give(&mut end, &mut track, layout.place(false)), Ok(Written::Skipped));
        assert_eq!(give(&mut end, &mut track, layout.place(false)), Ok(Written::Skipped));
        forward(&mut end, by, true);
        assert_eq!(give(&mut end, &mut track, layout.place(false)), Ok(Written::Queued));
        let stream = last_opened(&end);
        let (header, _) =
            SubgroupHeader::decode(draft.dialect(), &end.sent(stream)).unwrap().unwrap();
        assert!(!header.first_object, "{draft:?}");
        assert_eq!(give(&mut end, &mut track, layout.place(true)), Ok(Written::Queued));
        assert!(!end.did(&Output::Fin(stream)), "{draft:?}");
        assert_eq!(give(&mut end, &mut track, layout.place(true)), Ok(Written::Queued));
        let whole = last_opened(&end);
        assert!(whole != stream && end.did(&Output::Fin(whole)), "{draft:?}");
    }
}

// An object that cannot be sent changes nothing: the track goes on with the next one.
#[test]
fn an_object_that_cannot_be_sent_changes_nothing() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, by) = published(&mut end, "t");
        let mut track = PublishedTrack::new(request);
        let at = |group, object, ends_group| Slot {
            location: Location::new(group, object),
            subgroup_id: 0,
            ends_group,
        };
        assert_eq!(give(&mut end, &mut track, at(0, 0, false)), Ok(Written::Queued));
        let backwards = give(&mut end, &mut track, at(0, 0, false));
        assert_eq!(backwards, Err(CommandError::Encode(EncodeError::OutOfRange("Object ID"))));
        if draft < Draft::D18 {
            let largest = give(&mut end, &mut track, at(1 << 62, 0, false));
            assert_eq!(largest, Err(CommandError::Encode(EncodeError::OutOfRange("Group ID"))));
            let stream = last_opened(&end);
            assert!(end.did(&Output::Fin(stream)), "{draft:?}: its group is over");
        }
        assert_eq!(give(&mut end, &mut track, at(1, 0, false)), Ok(Written::Queued), "{draft:?}");

        // The subscriber stops the stream, which is its right, and then leaves altogether.
        let stream = last_opened(&end);
        end.stop(stream, 0);
        if draft < Draft::D18 {
            let largest = give(&mut end, &mut track, at(1, 1 << 62, false));
            assert_eq!(largest, Err(CommandError::Encode(EncodeError::OutOfRange("Object ID"))));
        }
        assert_eq!(give(&mut end, &mut track, at(1, 1, false)), Ok(Written::Skipped), "{draft:?}");
        leave(&mut end, by);
        let over = give(&mut end, &mut track, at(1, 2, true));
        assert_eq!(over, Err(CommandError::Gone), "{draft:?}");
        end.take_events();
        end.with(|engine, _| {
            track.abandon(engine, StreamResetCode::Cancelled);
            track.done(engine, PublishDoneCode::TrackEnded, "");
        });
        assert_eq!(end.take_events(), [], "{draft:?}");
    }
}

// Whoever begins an object on a track's stream has to give all of it before its group can end. The
// other streams of the group are finished, and nothing is lost.
#[test]
fn a_group_ends_when_what_was_begun_in_it_is_whole() {
    for draft in DRAFTS {
        let mut end = End::established(draft, Role::Server, Config::default());
        let (request, _) = published(&mut end, "t");
        let mut layout = TrackLayout::new(Location::ZERO, 2);
        let mut track = PublishedTrack::new(request);
        give(&mut end, &mut track, layout.place(false)).unwrap();
        let begun = last_opened(&end);
        let key = end.key(begun);
        let header = ObjectHeader { object_id: 2, payload_len: 2, ..ObjectHeader::default() };
        end.with(|engine, _| engine.subgroup(key).unwrap().begin_object(&header)).unwrap();
        assert_eq!(give(&mut end, &mut track, layout.place(true)), Ok(Written::Queued));
        let whole = last_opened(&end);
        assert!(begun != whole && end.did(&Output::Fin(whole)), "{draft:?}");
        let slot = layout.place(false);
        let lacks = CommandError::WrongState("the last object lacks payload");
        assert_eq!(give(&mut end, &mut track, slot), Err(lacks), "{draft:?}");
        let ended = end.with(|engine, _| track.end_group(engine));
        assert_eq!(ended, Err(lacks), "{draft:?}");
        assert!(!end.did(&Output::Fin(begun)), "{draft:?}");
        let rest = Bytes::from_static(b"xy");
        end.with(|engine, _| engine.subgroup(key).unwrap().payload(rest)).unwrap();
        assert_eq!(give(&mut end, &mut track, slot), Ok(Written::Queued), "{draft:?}");
        assert!(end.did(&Output::Fin(begun)), "{draft:?}");

        // Nobody gives the rest of this one.
        let cut = last_opened(&end);
        let key = end.key(cut);
        let header = ObjectHeader { object_id: 1, payload_len: 2, ..ObjectHeader::default() };
        end.with(|engine, _| engine.subgroup(key).unwrap().begin_object(&header)).unwrap();
        end.with(|engine, _| track.done(engine, PublishDoneCode::TrackEnded, ""));
        let code = draft.dialect().reset_code(StreamResetCode::InternalError);
        assert!(end.did(&Output::Reset(cut, code)), "{draft:?}");
    }
}
