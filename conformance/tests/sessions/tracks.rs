//! Tracks as a whole: put into subgroups on the way out, and back into order on the way in.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::objects::SubgroupStream;
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    Location, ObjectStatus, Property, PublishDoneCode, SessionError, StreamResetCode, property_type,
};
use moqt_engine::track::{Losses, PublishedTrack, SubscribedTrack, TrackLayout, TrackRead};
use moqt_engine::wire::Properties;
use moqt_engine::{Config, Dir, Draft, Event, RequestKey, Role, Timestamp};
use moqt_loopback::Rng;

use crate::{published, subscribed};

const TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that subscribes, and what it reads of the track.
struct Reader {
    end: End,
    request: RequestKey,
    track: SubscribedTrack,
    done: (u64, Name),
}

impl Reader {
    fn new(draft: Draft) -> Self {
        let mut end = End::established(draft, Role::Client, Config::default());
        let (request, done) = subscribed(&mut end, "t", 1);
        end.reads_at_once = false;
        end.keeps_readable = true;
        let mut track = SubscribedTrack::new(request, TIMEOUT);
        track.begin_at(Location::ZERO);
        Self { end, request, track, done }
    }

    /// Everything that can be read now, payload left out.
    fn read(&mut self) -> Vec<TrackRead> {
        let mut reads = Vec::new();
        loop {
            for event in self.end.take_events() {
                self.track.handle_event(&event);
            }
            let now = self.end.now;
            let read = self.end.with(|engine, _| self.track.read(engine, now));
            match read {
                TrackRead::Pending if self.end.events.is_empty() => return reads,
                TrackRead::Pending | TrackRead::Payload(_) => {}
                TrackRead::Done { .. } => {
                    reads.push(read);
                    return reads;
                }
                _ => reads.push(read),
            }
        }
    }

    fn locations(&mut self) -> Vec<(u64, u64)> {
        let reads = self.read();
        let locations = reads.iter().map(|read| match read {
            TrackRead::Object { location, .. } => (location.group, location.object),
            other => panic!("{other:?}"),
        });
        locations.collect()
    }
}

fn group(draft: Draft, group: u64, objects: &[u64]) -> Vec<u8> {
    let objects: Vec<(u64, &[u8])> = objects.iter().map(|id| (*id, &b"x"[..])).collect();
    say::subgroup(draft, 1, group, &objects)
}

fn gap(from: (u64, u64), to: (u64, u64)) -> TrackRead {
    TrackRead::Gap { from: Location::new(from.0, from.1), to: Location::new(to.0, to.1) }
}

/// What a publisher sends of a track of `groups` groups, stream by stream.
fn streams(draft: Draft, subgroups: u64, groups: u64, objects: u64) -> Vec<Bytes> {
    let mut end = End::established(draft, Role::Server, Config::default());
    let (request, _) = published(&mut end, "t");
    let mut layout = TrackLayout::new(Location::ZERO, subgroups);
    let mut track = PublishedTrack::new(request);
    for _ in 0..groups {
        for object in 0..objects {
            let slot = layout.place(object + 1 == objects);
            assert_eq!(slot.subgroup_id, slot.location.object % subgroups);
            end.with(|engine, _| {
                let payload = vec![1; usize::try_from(object * 50).unwrap()];
                track.object(engine, slot, &Properties::EMPTY, payload.into()).unwrap();
            });
        }
    }
    let mut sent: BTreeMap<Name, Vec<u8>> = BTreeMap::new();
    for output in &end.outputs {
        match output {
            Output::Open(name, Dir::Uni) => drop(sent.insert(*name, Vec::new())),
            Output::Data(name, bytes) => {
                if let Some(stream) = sent.get_mut(name) {
                    stream.extend_from_slice(bytes);
                }
            }
            _ => {}
        }
    }
    // In draft 18 the first is the control stream.
    let control = usize::from(draft >= Draft::D18);
    sent.into_values().skip(control).map(Bytes::from).collect()
}

// However the streams of a track arrive, its objects come in order and none is left out.
#[test]
fn parallel_subgroups_are_put_back_in_order() {
    for (draft, seed) in DRAFTS.into_iter().flat_map(|draft| (0..60).map(move |n| (draft, n))) {
        let mut rng = Rng::new(seed);
        let (subgroups, groups, objects) =
            (rng.between(1, 4), rng.between(2, 6), rng.between(1, 7));
        let sent = streams(draft, subgroups, groups, objects);
        let subgroups = subgroups.min(objects);
        assert_eq!(sent.len() as u64, subgroups * groups, "{draft:?}, seed {seed}");
        let mut reader = Reader::new(draft);
        let mut found = Vec::new();
        let mut waiting: Vec<(Option<Name>, Bytes)> = Vec::new();
        for (n, bytes) in sent.into_iter().enumerate() {
            if (n as u64) < subgroups {
                // How many subgroups groups have is learned from the first.
                let stream = reader.end.open_with(Dir::Uni, bytes);
                reader.end.fin(stream);
            } else {
                waiting.push((None, bytes));
            }
        }
        while !waiting.is_empty() {
            let at = usize::try_from(rng.below(waiting.len() as u64)).unwrap();
            let (name, bytes) = &mut waiting[at];
            let stream = *name.get_or_insert_with(|| reader.end.open(Dir::Uni));
            let len = usize::try_from(rng.between(1, 300)).unwrap().min(bytes.len());
            let piece = bytes.split_to(len);
            let is_last = bytes.is_empty();
            reader.end.data_and(stream, piece, is_last);
            if is_last {
                waiting.swap_remove(at);
            }
            if rng.below(3) == 0 {
                found.extend(reader.locations());
            }
        }
        found.extend(reader.locations());
        // The first group might have more subgroups than have come.
        reader.end.wait(Duration::from_millis(100));
        found.extend(reader.locations());
        let (id, on) = reader.done;
        reader.end.say(on, &say::done(id, subgroups * groups));
        let last = reader.read();
        assert!(matches!(last[..], [TrackRead::Done { .. }]), "{draft:?}, seed {seed}: {last:?}");
        let expected: Vec<(u64, u64)> =
            (0..groups).flat_map(|group| (0..objects).map(move |object| (group, object))).collect();
        assert_eq!(found, expected, "{draft:?}, seed {seed}");
        assert_eq!(reader.track.late_objects(), 0);
        assert_eq!(reader.track.open_subgroups(), 0);
    }
}

#[test]
fn a_gap_is_given_up_at_the_timeout_and_what_comes_later_is_dropped() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        reader.end.open_with(Dir::Uni, group(draft, 0, &[0, 2, 3]));
        assert_eq!(reader.locations(), [(0, 0)], "{draft:?}");
        let deadline = reader.track.poll_timeout();
        assert_eq!(deadline, Some(Timestamp::from_micros(500_000)), "{draft:?}");
        reader.end.wait(Duration::from_micros(499_999));
        assert_eq!(reader.read(), [], "{draft:?}");
        reader.end.wait(Duration::from_micros(1));
        let reads = reader.read();
        assert_eq!(reads[0], gap((0, 1), (0, 2)), "{draft:?}");
        assert_eq!(reads.len(), 3, "{draft:?}: {reads:?}");
        assert_eq!(reader.track.poll_timeout(), None);
        // Of its subgroup only that is late.
        let late = reader.end.open_with(Dir::Uni, group(draft, 0, &[1, 4]));
        assert_eq!(reader.locations(), [(0, 4)], "{draft:?}");
        assert!(!reader.end.did(&Output::Stop(late, 1)), "{draft:?}");
        let losses = reader.track.losses();
        let lost = (losses.gaps, losses.missing_objects, losses.late_objects);
        assert_eq!(lost, (1, 1, 1), "{draft:?}");
    }
}

// The rest of a group that does not come must not hold up the groups after it for good.
#[test]
fn a_group_that_is_stuck_is_given_up_too() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let stuck = reader.end.open_with(Dir::Uni, group(draft, 0, &[0, 1]));
        assert_eq!(reader.locations(), [(0, 0), (0, 1)]);
        reader.end.wait(TIMEOUT * 10);
        assert_eq!(reader.read(), [], "{draft:?}: nothing else to go on with");
        reader.end.open_with(Dir::Uni, group(draft, 1, &[0]));
        assert_eq!(reader.read(), [], "{draft:?}");
        reader.end.wait(TIMEOUT);
        let reads = reader.read();
        assert_eq!(reads[0], gap((0, 2), (1, 0)), "{draft:?}");
        assert!(matches!(reads[1], TrackRead::Object { .. }), "{draft:?}: {reads:?}");
        // What is then left of the old group is dropped when it comes.
        reader.end.data(stuck, &b"\x00\x01x"[..]);
        assert_eq!(reader.read(), []);
        assert_eq!(reader.track.late_objects(), 1, "{draft:?}");
        assert!(reader.end.did(&Output::Stop(stuck, 1)));
    }
}

// "If a sender closes the stream before delivering all such objects to the QUIC stream, it MUST
// reset the stream": what was reset was not all (all drafts, "Closing Subgroup Streams").
#[test]
fn a_reset_is_told() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let bytes = say::subgroup(draft, 1, 0, &[(0, b"whole"), (1, b"not whole")]);
        let cut = reader.end.open_with(Dir::Uni, bytes[..bytes.len() - 3].to_vec());
        let reads = reader.read();
        assert_eq!(reads.len(), 2, "{draft:?}: {reads:?}");
        reader.end.reset(cut, 2);
        let reads = reader.read();
        assert_eq!(reads, [TrackRead::Aborted { code: StreamResetCode::DeliveryTimeout }]);
        let next = reader.end.open_with(Dir::Uni, group(draft, 1, &[0]));
        reader.end.fin(next);
        let reads = reader.read();
        assert_eq!(reads[0], gap((0, 2), (1, 0)), "{draft:?}: {reads:?}");
        assert_eq!(reads.len(), 2, "{draft:?}: at once, for nothing of it will come");
    }
}

#[test]
fn datagrams_that_nobody_reads_are_bounded() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        for object in 0..5_000 {
            reader.end.datagram(say::datagram(draft, 1, Location::new(0, object), b"x"));
            for event in reader.end.take_events() {
                assert!(matches!(event, Event::Datagram { .. }));
                reader.track.handle_event(&event);
            }
        }
        let reads = reader.read();
        assert_eq!(reads.len() as u64 + reader.track.late_objects(), 5_000);
        assert_eq!(reads.len(), 1_024, "{draft:?}");
        assert!(matches!(reads.last(), Some(TrackRead::Datagram(object))
            if object.header.location.object == 4_999));
    }
}

// An object whose payload stops midway must not hold up the rest of its track for good.
#[test]
fn an_object_that_stalls_is_given_up_if_something_waits_behind_it() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let bytes = say::subgroup(draft, 1, 0, &[(0, b"whole"), (1, b"not whole")]);
        let stalled = reader.end.open_with(Dir::Uni, bytes[..bytes.len() - 3].to_vec());
        assert_eq!(reader.locations(), [(0, 0), (0, 1)], "{draft:?}");
        assert_eq!(reader.track.poll_timeout(), None, "{draft:?}: nothing else to go on with");
        reader.end.wait(TIMEOUT * 10);
        assert_eq!(reader.read(), [], "{draft:?}");
        let next = reader.end.open_with(Dir::Uni, group(draft, 1, &[0]));
        reader.end.fin(next);
        assert_eq!(reader.read(), [], "{draft:?}");
        // What comes on is not stalled.
        reader.end.wait(TIMEOUT / 2);
        reader.end.data(stalled, &b"o"[..]);
        assert_eq!(reader.read(), [], "{draft:?}");
        reader.end.wait(Duration::from_micros(499_999));
        assert_eq!(reader.read(), [], "{draft:?}");
        reader.end.wait(Duration::from_micros(1));
        let reads = reader.read();
        assert_eq!(reads[0], TrackRead::Aborted { code: StreamResetCode::DeliveryTimeout });
        // DELIVERY_TIMEOUT is 0x2 in all drafts.
        assert!(reader.end.did(&Output::Stop(stalled, 2)), "{draft:?}");
        assert!(
            matches!(reads.last(), Some(TrackRead::Object { location, .. })
            if *location == Location::new(1, 0)),
            "{draft:?}: {reads:?}"
        );
        assert_eq!(reader.track.losses().aborted_objects, 1);
    }
}

// "the number of Groups prior to the current Group that do not and will never exist" and "the
// number of Objects prior to the current Object that do not and will never exist" (all drafts,
// "Prior Group ID Gap" and "Prior Object ID Gap"): they are neither waited for nor missing.
#[test]
fn what_does_not_exist_is_not_missing() {
    let object_gap = |count| Property::int(property_type::PRIOR_OBJECT_ID_GAP, count);
    let group_gap = |count| Property::int(property_type::PRIOR_GROUP_ID_GAP, count);
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let streams = [
            SubgroupStream::new(draft, 1, 0)
                .object(0, b"x")
                .with(5, b"x", &[object_gap(4)])
                .status(6, ObjectStatus::EndOfGroup),
            SubgroupStream::new(draft, 1, 4)
                .with(2, b"x", &[group_gap(3), object_gap(2)])
                .status(3, ObjectStatus::EndOfGroup),
            SubgroupStream::new(draft, 1, 5).status(0, ObjectStatus::EndOfTrack),
        ];
        for stream in streams {
            let name = reader.end.open_with(Dir::Uni, stream.bytes());
            reader.end.fin(name);
        }
        assert_eq!(reader.locations(), [(0, 0), (0, 5), (4, 2)], "{draft:?}");
        assert_eq!(reader.track.losses(), Losses::default(), "{draft:?}");
        let (id, on) = reader.done;
        reader.end.say(on, &say::done(id, 3));
        let last = reader.read();
        assert!(matches!(last[..], [TrackRead::Done { .. }]), "{draft:?}: {last:?}");

        // Only what is not stated is missing, and told so.
        let mut reader = Reader::new(draft);
        let stream = SubgroupStream::new(draft, 1, 0)
            .object(0, b"x")
            .with(9, b"x", &[object_gap(3)])
            .bytes();
        reader.end.open_with(Dir::Uni, stream);
        assert_eq!(reader.locations(), [(0, 0)], "{draft:?}");
        reader.end.wait(TIMEOUT);
        let reads = reader.read();
        assert_eq!(reads[0], gap((0, 1), (0, 6)), "{draft:?}: {reads:?}");
        assert_eq!(reads.len(), 2, "{draft:?}: {reads:?}");
        assert_eq!(reader.track.losses().missing_objects, 5, "{draft:?}");
    }
}

// How many subgroups the first group has is not known when one of them is over.
#[test]
fn the_first_group_waits_for_another_subgroup_for_a_moment() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let send = |reader: &mut Reader, group, subgroup, object| {
            let stream = SubgroupStream::plain(draft, 1, group).subgroup(subgroup);
            let name = reader.end.open_with(Dir::Uni, stream.object(object, b"x").bytes());
            reader.end.fin(name);
        };
        send(&mut reader, 0, 0, 0);
        send(&mut reader, 1, 0, 0);
        assert_eq!(reader.locations(), [(0, 0)], "{draft:?}");
        reader.end.wait(Duration::from_millis(99));
        assert_eq!(reader.locations(), [], "{draft:?}");
        send(&mut reader, 0, 1, 1);
        assert_eq!(reader.locations(), [(0, 1)], "{draft:?}: in time");
        reader.end.wait(Duration::from_millis(1));
        assert_eq!(reader.locations(), [], "{draft:?}: the next group is not whole");
        send(&mut reader, 1, 1, 1);
        reader.end.wait(TIMEOUT);
        assert_eq!(reader.locations(), [(1, 0), (1, 1)], "{draft:?}");
        assert_eq!(reader.track.losses(), Losses::default(), "{draft:?}");
    }
}

// A malformed track ends like one that its publisher ended for that.
#[test]
fn a_malformed_track_is_done() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let stream = SubgroupStream::new(draft, 1, 0).object(0, b"x");
        let beyond = [Property::int(property_type::PRIOR_OBJECT_ID_GAP, 2)];
        reader.end.open_with(Dir::Uni, stream.with(1, b"x", &beyond).bytes());
        let reads = reader.read();
        assert!(
            matches!(&reads[..], [TrackRead::Object { .. }, TrackRead::Done { code, .. }]
                if *code == PublishDoneCode::MalformedTrack),
            "{draft:?}: {reads:?}"
        );
    }
}

// Where the track begins need not be known: then the first group that comes is not a gap's end.
#[test]
fn a_track_begins_with_the_first_group_that_comes() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        reader.end.open_with(Dir::Uni, group(draft, 5, &[0, 1]));
        assert_eq!(reader.locations(), [], "{draft:?}: what comes before it is waited for");
        reader.end.wait(TIMEOUT);
        let reads = reader.read();
        assert_eq!(reads[0], gap((0, 0), (5, 0)), "{draft:?}: {reads:?}");
        // How many objects five groups would have had, nobody knows.
        let losses = reader.track.losses();
        assert_eq!((losses.gaps, losses.missing_objects), (1, 0), "{draft:?}");

        let mut reader = Reader::new(draft);
        reader.track = SubscribedTrack::new(reader.request, TIMEOUT);
        reader.end.open_with(Dir::Uni, group(draft, 5, &[0, 1]));
        assert_eq!(reader.locations(), [(5, 0), (5, 1)], "{draft:?}");
        assert_eq!(reader.track.losses(), Losses::default(), "{draft:?}");
    }
}

// 0x1, "Indicates Object Does Not Exist" (draft 14): neither given nor missing.
#[test]
fn an_object_that_says_it_does_not_exist_is_passed_over() {
    for draft in DRAFTS.into_iter().filter(|draft| *draft < Draft::D16) {
        let mut reader = Reader::new(draft);
        let stream = SubgroupStream::new(draft, 1, 0).object(0, b"x");
        let stream = stream.status(1, ObjectStatus::DoesNotExist).object(2, b"x");
        reader.end.open_with(Dir::Uni, stream.bytes());
        assert_eq!(reader.locations(), [(0, 0), (0, 2)], "{draft:?}");
        assert_eq!(reader.track.losses(), Losses::default(), "{draft:?}");
    }
}

// One subgroup of a group was cut off, and the others have come further: nothing can fill the gap.
#[test]
fn a_gap_that_a_reset_left_is_told_at_once() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let cut = reader.end.open_with(Dir::Uni, group(draft, 0, &[0]));
        let other = SubgroupStream::plain(draft, 1, 0).subgroup(1);
        reader.end.open_with(Dir::Uni, other.object(5, b"x").bytes());
        assert_eq!(reader.locations(), [(0, 0)], "{draft:?}");
        reader.end.reset(cut, 0);
        let reads = reader.read();
        assert_eq!(reads[0], gap((0, 1), (0, 5)), "{draft:?}: {reads:?}");
        assert_eq!(reads.len(), 2, "{draft:?}: {reads:?}");
    }
}

// What is left of an object is not waited for when the session is over.
#[test]
fn an_object_is_cut_off_by_the_end_of_the_session() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let bytes = say::subgroup(draft, 1, 0, &[(0, b"not whole")]);
        reader.end.open_with(Dir::Uni, bytes[..bytes.len() - 3].to_vec());
        assert_eq!(reader.locations(), [(0, 0)], "{draft:?}");
        reader.end.with(|engine, _| engine.close(SessionError::NoError, ""));
        let reads = reader.read();
        assert_eq!(reads[0], TrackRead::Aborted { code: StreamResetCode::SessionClosed });
        assert_eq!(reader.track.losses().aborted_objects, 1, "{draft:?}");
    }
}

// Events are given to every track; each takes those of its own streams.
#[test]
fn a_track_leaves_the_streams_of_others_alone() {
    for draft in DRAFTS {
        let mut reader = Reader::new(draft);
        let (other, _) = subscribed(&mut reader.end, "other", 2);
        let objects: [(u64, &[u8]); 1] = [(0, b"x")];
        let stream = reader.end.open_with(Dir::Uni, say::subgroup(draft, 2, 0, &objects));
        let stream = reader.end.key(stream);
        for event in reader.end.take_events() {
            assert!(!reader.track.handle_event(&event), "{draft:?}: {event:?}");
        }
        assert!(!reader.track.handle_event(&Event::Readable { stream }), "{draft:?}");
        assert!(!reader.track.is_open(stream), "{draft:?}");
        assert_eq!(reader.read(), [], "{draft:?}");
        assert_ne!(reader.request, other);
    }
}
