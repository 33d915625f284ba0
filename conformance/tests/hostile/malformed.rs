//! Tracks that do not conform: detected, cancelled and told of, and nothing else is disturbed
//! ("Malformed Tracks" of each draft).

use moqt_conformance::cases;
use moqt_conformance::end::{End, Got, Output};
use moqt_conformance::objects::{SubgroupStream, datagram, datagram_bytes};
use moqt_engine::model::{Location, Message, ObjectStatus, Property, property_type};
use moqt_engine::{Config, Dir, Draft, Event, MalformedRule, RequestKey, Role};

use crate::{Bystander, subscribed};

const ALIAS: u64 = 1;

/// A session in which the connection has subscribed to a track, and another one.
pub(crate) struct Subscribed {
    pub(crate) end: End,
    pub(crate) bystander: Bystander,
    pub(crate) request: RequestKey,
    before: moqt_engine::Usage,
    on: moqt_conformance::end::Name,
}

impl Subscribed {
    pub(crate) fn new(draft: Draft, role: Role) -> Self {
        Self::with(draft, role, Config::default())
    }

    pub(crate) fn with(draft: Draft, role: Role, config: Config) -> Self {
        let mut end = End::established(draft, role, config);
        let bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let (request, on) = subscribed(&mut end, "t", ALIAS);
        Self { end, bystander, request, before, on }
    }

    /// The peer sends these streams, each finished before the next.
    pub(crate) fn finish_all(&mut self, streams: impl IntoIterator<Item = SubgroupStream>) {
        for stream in streams {
            let name = self.end.open_with(Dir::Uni, stream.bytes());
            self.end.fin(name);
        }
    }

    /// The peer sends these streams, which stay open.
    pub(crate) fn send_all(&mut self, streams: impl IntoIterator<Item = SubgroupStream>) {
        for stream in streams {
            self.end.open_with(Dir::Uni, stream.bytes());
        }
    }

    /// The peer sends an object in a datagram.
    pub(crate) fn send_datagram(&mut self, group: u64, object: u64, payload: &[u8]) {
        let header = datagram(ALIAS, group, object);
        self.end.datagram(datagram_bytes(self.end.draft(), &header, payload));
    }

    /// "When a subscriber detects a Malformed Track, it MUST UNSUBSCRIBE any subscription [...]
    /// for that Track from that publisher, and SHOULD deliver an error to the application."
    /// (draft-14, -16; draft-18: "MUST cancel any corresponding subscription")
    #[track_caller]
    pub(crate) fn assert_malformed(mut self, rule: MalformedRule, at: (u64, u64), what: &str) {
        let draft = self.end.draft();
        let what = format!("{draft:?} {:?}: {what}", self.end.engine.role());
        let expected = Event::TrackMalformed {
            request: self.request,
            rule,
            location: Location::new(at.0, at.1),
        };
        let events = self.end.take_events();
        assert_eq!(events.last(), Some(&expected), "{what}: {events:?} {:?}", self.end.reads);
        assert_eq!(self.end.engine.usage(), self.before, "{what}: released");
        if draft >= Draft::D18 {
            // MALFORMED_TRACK is 0x12.
            assert!(self.end.did(&Output::Reset(self.on, 0x12)), "{what}: {:?}", self.end.outputs);
            assert!(self.end.did(&Output::Stop(self.on, 0x12)), "{what}");
        } else {
            let said = self.end.said(self.on);
            assert!(matches!(said.last(), Some(Message::Unsubscribe(_))), "{what}: {said:?}");
        }
        let late = SubgroupStream::new(draft, ALIAS, 900).object(0, b"late").bytes();
        let late = self.end.open_with(Dir::Uni, late);
        assert!(self.end.did(&Output::Stop(late, 1)), "{what}: the alias is in use no more");
        self.bystander.assert_well(&mut self.end);
    }

    /// Nothing is wrong with the track, and it goes on.
    #[track_caller]
    pub(crate) fn assert_well_formed(mut self, what: &str) {
        let draft = self.end.draft();
        let what = format!("{draft:?} {:?}: {what}", self.end.engine.role());
        let malformed = |event: &Event| matches!(event, Event::TrackMalformed { .. });
        let events = self.end.take_events();
        assert!(!events.iter().any(malformed), "{what}: {events:?}");
        assert_eq!(self.end.closed(), None, "{what}: {events:?}");
        self.bystander.assert_well(&mut self.end);
    }
}

fn plain(draft: Draft, group: u64) -> SubgroupStream {
    SubgroupStream::plain(draft, ALIAS, group)
}

fn rich(draft: Draft, group: u64) -> SubgroupStream {
    SubgroupStream::new(draft, ALIAS, group)
}

fn object_gap(count: u64) -> Property {
    Property::int(property_type::PRIOR_OBJECT_ID_GAP, count)
}

fn group_gap(count: u64) -> Property {
    Property::int(property_type::PRIOR_GROUP_ID_GAP, count)
}

// "An Object with a particular Subgroup ID is received, but its Publisher Priority is different
// from that of the previous Object with the same Subgroup ID." (draft-18, "Malformed Tracks";
// draft 16 says it of FETCH responses only, draft 14 of none)
#[test]
fn two_priorities_in_a_subgroup_are_malformed_on_draft_18() {
    for (draft, role) in cases() {
        let mut track = Subscribed::new(draft, role);
        track.send_all([
            plain(draft, 3).subgroup(7).priority(5).objects([0, 1]),
            plain(draft, 3).subgroup(7).priority(6).objects([2]),
        ]);
        if draft >= Draft::D18 {
            track.assert_malformed(MalformedRule::SubgroupPriority, (3, 2), "two priorities");
        } else {
            track.assert_well_formed("two priorities");
        }
        // "The scope of a Subgroup ID is a Group"
        let mut track = Subscribed::new(draft, role);
        track.send_all([
            plain(draft, 3).subgroup(7).priority(5).objects([0]),
            plain(draft, 4).subgroup(7).priority(6).objects([0]),
            plain(draft, 3).subgroup(8).priority(6).objects([1]),
            plain(draft, 3).subgroup(7).priority(5).objects([2]),
        ]);
        track.assert_well_formed("other groups and subgroups");
    }
}

// "An Object is received whose Object ID is larger than the final Object in the Subgroup. The
// final Object in a Subgroup is the last Object received on a Subgroup stream before a FIN."
#[test]
fn an_object_after_the_last_of_its_subgroup_is_malformed() {
    for (draft, role) in cases() {
        let rule = MalformedRule::AfterSubgroupEnd;
        let mut track = Subscribed::new(draft, role);
        track.finish_all([plain(draft, 2).objects([0, 4])]);
        track.send_all([plain(draft, 2).objects([3, 4, 5])]);
        track.assert_malformed(rule, (2, 5), "later, on another stream");

        // The other stream was there first.
        for ids in [&[0, 1, 9][..], &[9]] {
            let mut track = Subscribed::new(draft, role);
            track.send_all([plain(draft, 2).objects(ids.iter().copied())]);
            track.finish_all([plain(draft, 2).objects([0, 4])]);
            track.assert_malformed(rule, (2, 9), "earlier, on a stream that goes on");
        }
        let mut track = Subscribed::new(draft, role);
        let reset = track.end.open_with(Dir::Uni, plain(draft, 2).objects([0, 9]).bytes());
        track.end.reset(reset, 0);
        track.finish_all([plain(draft, 2).objects([0, 4])]);
        track.assert_malformed(rule, (2, 9), "earlier, on a stream that was reset");

        // Known only after a stream began: it is caught at the object.
        let mut track = Subscribed::new(draft, role);
        let mut open = plain(draft, 2).objects([0]);
        let name = track.end.open_with(Dir::Uni, open.take());
        track.finish_all([plain(draft, 2).objects([0, 4])]);
        let mut open = open.objects([1, 4]);
        track.end.data(name, open.take());
        assert_eq!(track.end.take_events().len(), 2, "nothing wrong so far");
        track.end.data(name, open.objects([5]).take());
        track.assert_malformed(rule, (2, 5), "on a stream open at the time");

        // The first object names the subgroup, 3, wherever that is said.
        let mut track = Subscribed::new(draft, role);
        track.finish_all([plain(draft, 2).named_by_first_object().objects([3, 4])]);
        track.send_all([plain(draft, 2).subgroup(3).objects([5])]);
        track.assert_malformed(rule, (2, 5), "a subgroup named by its first object");

        let mut track = Subscribed::new(draft, role);
        let reset = track.end.open_with(Dir::Uni, plain(draft, 2).objects([0, 1]).bytes());
        track.end.reset(reset, 0);
        track.finish_all([
            plain(draft, 2).objects([1, 2, 3, 4]),
            plain(draft, 2).objects([4]),
            plain(draft, 2).subgroup(1).objects([5, 6]),
            plain(draft, 2),
            plain(draft, 3).objects([7]),
        ]);
        track.assert_well_formed("repeats and other subgroups");
    }
}

// "A Subgroup is received over multiple transport streams terminated by FIN with different final
// Objects." (draft-16, -18; draft-14: "A Subgroup is received with two or more different final
// Objects.")
#[test]
fn a_subgroup_with_two_last_objects_is_malformed() {
    for (draft, role) in cases() {
        let mut track = Subscribed::new(draft, role);
        track.finish_all([plain(draft, 2).objects([0, 4]), plain(draft, 2).objects([1, 3])]);
        track.assert_malformed(MalformedRule::SubgroupEndsDiffer, (2, 3), "4, then 3");
    }
}

// "An Object is received in a Group whose Object ID is larger than the final Object in the Group.
// The final Object in the Group is the Object with Status END_OF_GROUP, or the last Object before
// a FIN in a Subgroup which has the END_OF_GROUP bit set." (draft-18; the bit is in all drafts)
#[test]
fn an_object_after_the_last_of_its_group_is_malformed() {
    for (draft, role) in cases() {
        let rule = MalformedRule::AfterGroupEnd;
        let ends: [&dyn Fn() -> SubgroupStream; 2] = [
            &|| plain(draft, 2).subgroup(1).objects([1, 4]).status(5, ObjectStatus::EndOfGroup),
            &|| plain(draft, 2).subgroup(1).end_of_group().objects([1, 5]),
        ];
        for (n, end) in ends.iter().enumerate() {
            let mut track = Subscribed::new(draft, role);
            track.finish_all([end()]);
            track.send_all([plain(draft, 2).objects([0, 3, 6])]);
            track.assert_malformed(rule, (2, 6), &format!("{n}, after it"));

            let mut track = Subscribed::new(draft, role);
            track.send_all([plain(draft, 2).objects([0, 6])]);
            track.finish_all([end()]);
            track.assert_malformed(rule, (2, 6), &format!("{n}, before it"));

            let mut track = Subscribed::new(draft, role);
            track.finish_all([plain(draft, 2).objects([0, 6]), end()]);
            track.assert_malformed(rule, (2, 6), &format!("{n}, before it, finished"));

            let mut track = Subscribed::new(draft, role);
            let mut open = plain(draft, 2).objects([0]);
            let name = track.end.open_with(Dir::Uni, open.take());
            track.finish_all([end()]);
            track.end.data(name, open.objects([2, 6]).take());
            track.assert_malformed(rule, (2, 6), &format!("{n}, on a stream open at the time"));

            let mut track = Subscribed::new(draft, role);
            track.finish_all([end(), end(), plain(draft, 3).objects([9])]);
            track.send_all([plain(draft, 2).objects([0, 3]), plain(draft, 3).objects([9])]);
            track.assert_well_formed(&format!("{n}, below it and in other groups"));
        }
        // Two ends of a group.
        let end = |id| plain(draft, 2).subgroup(id).objects([id]);
        let mut track = Subscribed::new(draft, role);
        track.send_all([
            end(1).status(5, ObjectStatus::EndOfGroup),
            end(2).status(6, ObjectStatus::EndOfGroup),
        ]);
        track.assert_malformed(rule, (2, 6), "two ends by status");
        let mut track = Subscribed::new(draft, role);
        track.finish_all([end(1).end_of_group(), end(2).end_of_group()]);
        track.assert_malformed(rule, (2, 2), "two ends by bit");
        let mut track = Subscribed::new(draft, role);
        track.finish_all([
            end(1).status(5, ObjectStatus::EndOfGroup),
            end(2).object(4, b"last").end_of_group(),
            end(3).status(5, ObjectStatus::EndOfGroup).end_of_group(),
        ]);
        track.assert_well_formed("one end, said in three ways");

        // "This does not apply when the data stream is reset."
        let mut track = Subscribed::new(draft, role);
        let reset = plain(draft, 2).subgroup(1).end_of_group().objects([1, 5]).bytes();
        let reset = track.end.open_with(Dir::Uni, reset);
        track.end.reset(reset, 0);
        track.finish_all([plain(draft, 2).objects([0, 6])]);
        // Nothing is known of the last object of a stream without any.
        track.finish_all([plain(draft, 3).end_of_group(), plain(draft, 3).objects([0])]);
        track.assert_well_formed("an end that was not reached");
    }
}

// "Transitions between Normal, End of Group and End of Track are invalid. An endpoint that
// receives a duplicate Object with an invalid Object Status change [...] MUST treat the track as
// Malformed." (draft-14, "Caching Relays"). Drafts 16 and 18 let an object come that was said not
// to exist, and let it be gone later.
#[test]
fn what_ends_a_group_cannot_be_an_ordinary_object_on_draft_14() {
    for (draft, role) in cases() {
        let end = || plain(draft, 2).subgroup(1).status(5, ObjectStatus::EndOfGroup);
        for end_first in [true, false] {
            let mut track = Subscribed::new(draft, role);
            let streams = [end(), plain(draft, 2).objects([0, 5])];
            if end_first {
                track.send_all(streams);
            } else {
                track.send_all(streams.into_iter().rev());
            }
            if draft == Draft::D14 {
                track.assert_malformed(MalformedRule::AfterGroupEnd, (2, 5), "5 and its end");
            } else {
                track.assert_well_formed("5 and its end");
            }
        }
    }
}

// "An Object is received on a Track whose Group and Object ID are larger than the final Object in
// the Track. The final Object in a Track is the Object with Status END_OF_TRACK"
#[test]
fn an_object_after_the_last_of_the_track_is_malformed() {
    for (draft, role) in cases() {
        let rule = MalformedRule::AfterTrackEnd;
        let end = || plain(draft, 5).subgroup(1).status(3, ObjectStatus::EndOfTrack);
        for (group, object) in [(6, 0), (5_000, 9)] {
            let mut track = Subscribed::new(draft, role);
            track.send_all([end(), plain(draft, group).objects([object])]);
            track.assert_malformed(rule, (group, object), "after it");
            let mut track = Subscribed::new(draft, role);
            track.finish_all([plain(draft, group).objects([object]), end()]);
            track.assert_malformed(rule, (group, object), "before it");
        }
        for end_first in [true, false] {
            let mut track = Subscribed::new(draft, role);
            let streams = [end(), plain(draft, 5).objects([0, 4])];
            if end_first {
                track.send_all(streams);
                let rule = MalformedRule::AfterTrackEnd;
                track.assert_malformed(rule, (5, 4), "in its last group, after it");
            } else {
                track.send_all(streams.into_iter().rev());
                let rule = MalformedRule::AfterGroupEnd;
                track.assert_malformed(rule, (5, 4), "in its last group, before it");
            }
        }
        let mut track = Subscribed::new(draft, role);
        track.send_all([end(), plain(draft, 4).status(0, ObjectStatus::EndOfTrack)]);
        track.assert_malformed(rule, (5, 3), "two ends");
        let mut track = Subscribed::new(draft, role);
        track.send_all([end(), plain(draft, 5).objects([0, 2]), plain(draft, 4).objects([9])]);
        // A stream without objects has none after the end.
        track.finish_all([end().subgroup(2), plain(draft, 6)]);
        track.assert_well_formed("before the end");
    }
}

// "The same Object is received more than once with different Payload or other immutable
// properties." "An endpoint that receives a duplicate Object with a different Forwarding
// Preference, Subgroup ID, Priority or Payload MUST treat the track as Malformed." ("Caching
// Relays")
#[test]
fn an_object_that_comes_twice_and_differs_is_malformed() {
    for (draft, role) in cases() {
        let rule = MalformedRule::ObjectsDiffer;
        let mut track = Subscribed::new(draft, role);
        track.send_all([
            plain(draft, 2).subgroup(1).objects([4, 5]),
            plain(draft, 2).subgroup(2).objects([4]),
        ]);
        track.assert_malformed(rule, (2, 4), "two subgroups");
        let mut track = Subscribed::new(draft, role);
        track.finish_all([
            plain(draft, 2).subgroup(1).objects([4, 6]),
            plain(draft, 2).subgroup(2).objects([5, 6]),
        ]);
        track.assert_malformed(rule, (2, 6), "two subgroups, their last");

        let mut track = Subscribed::new(draft, role);
        track.send_datagram(2, 4, b"one");
        track.send_datagram(2, 4, b"two");
        track.assert_malformed(rule, (2, 4), "two payloads");
        let mut track = Subscribed::new(draft, role);
        track.send_datagram(2, 4, b"one");
        let mut other = datagram(ALIAS, 2, 4);
        other.publisher_priority = Some(1);
        track.end.datagram(datagram_bytes(draft, &other, b"one"));
        track.assert_malformed(rule, (2, 4), "two priorities");
        let mut track = Subscribed::new(draft, role);
        for object in [4, 4, 3, 3, 4] {
            track.send_datagram(2, object, b"one");
        }
        let given = track.end.events.iter().filter(|event| matches!(event, Event::Datagram { .. }));
        assert_eq!(given.count(), 5, "what is the same is for the application to sort out");
        track.assert_well_formed("the same again");
    }
}

// "An Object is received with a different Forwarding Preference than previously observed."
// (draft-16, -18; draft-14: "than previously observed from the same Track")
#[test]
fn another_forwarding_preference_is_malformed() {
    for (draft, role) in cases() {
        let rule = MalformedRule::ForwardingPreference;
        let mut track = Subscribed::new(draft, role);
        track.send_datagram(2, 4, b"x");
        track.send_all([plain(draft, 2).objects([4])]);
        track.assert_malformed(rule, (2, 4), "a datagram, then a subgroup");
        let mut track = Subscribed::new(draft, role);
        track.send_all([plain(draft, 2).objects([4])]);
        track.send_datagram(2, 4, b"x");
        track.assert_malformed(rule, (2, 4), "a subgroup, then a datagram");
        for datagram_first in [true, false] {
            let mut track = Subscribed::new(draft, role);
            if datagram_first {
                track.send_datagram(2, 5, b"x");
            }
            track.send_all([plain(draft, 2).objects([4])]);
            if !datagram_first {
                track.send_datagram(2, 5, b"x");
            }
            // "the Original Publisher MAY use both Subgroups and Datagrams within a Group or
            // Track." (draft-16, -18)
            let at = if datagram_first { (2, 4) } else { (2, 5) };
            if draft == Draft::D14 {
                track.assert_malformed(rule, at, "both in a track");
            } else {
                track.assert_well_formed("both in a track");
            }
        }
    }
}

// "An Object has a Prior Object ID Gap larger than the Object ID." "An endpoint receives an Object
// with a Prior Object ID Gap covering an Object it previously received." "An endpoint receives an
// Object with an Object ID within a previously communicated gap." (all drafts, "Prior Object ID
// Gap")
#[test]
fn object_gaps_that_contradict_are_malformed() {
    for (draft, role) in cases() {
        let (before_zero, covers, inside) =
            (MalformedRule::GapBeforeZero, MalformedRule::GapCoversObject, MalformedRule::InGap);
        // Objects 7, 8 and 9 do not exist.
        let gap = || rich(draft, 2).subgroup(1).with(10, b"x", &[object_gap(3)]);
        let mut track = Subscribed::new(draft, role);
        track.send_all([rich(draft, 2).with(10, b"x", &[object_gap(11)])]);
        track.assert_malformed(before_zero, (2, 10), "before zero");

        let mut track = Subscribed::new(draft, role);
        track.send_all([rich(draft, 2).objects([0, 8]).with(10, b"x", &[object_gap(3)])]);
        track.assert_malformed(covers, (2, 8), "covers, on its stream");
        let mut track = Subscribed::new(draft, role);
        track.send_all([plain(draft, 2).objects([0, 8]), gap()]);
        track.assert_malformed(covers, (2, 8), "covers the last so far of another stream");
        let mut track = Subscribed::new(draft, role);
        track.finish_all([plain(draft, 2).objects([0, 8]), gap()]);
        track.assert_malformed(covers, (2, 8), "covers the last of another stream");

        let mut track = Subscribed::new(draft, role);
        track.send_all([gap(), plain(draft, 2).objects([0, 7])]);
        track.assert_malformed(inside, (2, 7), "inside, later");
        let mut track = Subscribed::new(draft, role);
        let mut open = plain(draft, 2).objects([0]);
        let name = track.end.open_with(Dir::Uni, open.take());
        track.send_all([gap()]);
        track.end.data(name, open.objects([6, 9]).take());
        track.assert_malformed(inside, (2, 9), "inside, on a stream open at the time");

        let mut track = Subscribed::new(draft, role);
        track.send_all([
            gap(),
            plain(draft, 2).objects([0, 6, 11]),
            plain(draft, 3).objects([7]),
            rich(draft, 2).subgroup(2).with(13, b"x", &[object_gap(0)]),
            rich(draft, 4).with(10, b"x", &[object_gap(10)]).with(11, b"x", &[]),
        ]);
        track.assert_well_formed("around gaps");
        for mixed in [MalformedRule::GapCoversObject, MalformedRule::InGap] {
            let mut track = Subscribed::new(draft, role);
            let mut with_gap = datagram(ALIAS, 2, 10);
            let gap = [object_gap(3)];
            let gap = moqt_engine::wire::Properties::encode(draft.dialect(), &gap).unwrap();
            with_gap.properties = gap;
            let with_gap = datagram_bytes(draft, &with_gap, b"x");
            if mixed == MalformedRule::InGap {
                track.end.datagram(with_gap);
                track.send_datagram(2, 8, b"x");
            } else {
                track.send_datagram(2, 8, b"x");
                track.end.datagram(with_gap);
            }
            track.assert_malformed(mixed, (2, 8), "in datagrams");
        }
    }
}

// "An Object has a Prior Group ID Gap larger than the Group ID." "A Group contains more than one
// Object with different values for Prior Group ID Gap." "An endpoint receives an Object with a
// Prior Group ID Gap covering an Object it previously received." "An endpoint receives an Object
// with a Group ID within a previously communicated gap." (all drafts, "Prior Group ID Gap")
#[test]
fn group_gaps_that_contradict_are_malformed() {
    for (draft, role) in cases() {
        let gap = |count| rich(draft, 10).with(0, b"x", &[group_gap(count)]);
        let mut track = Subscribed::new(draft, role);
        track.send_all([gap(11)]);
        track.assert_malformed(MalformedRule::GapBeforeZero, (10, 0), "before zero");

        let mut track = Subscribed::new(draft, role);
        track.send_all([gap(2), rich(draft, 10).subgroup(1).with(1, b"x", &[group_gap(3)])]);
        track.assert_malformed(MalformedRule::GroupGapsDiffer, (10, 1), "two gaps");

        let mut track = Subscribed::new(draft, role);
        track.send_all([plain(draft, 8).objects([0]), gap(2)]);
        track.assert_malformed(MalformedRule::GapCoversObject, (8, 0), "covers");

        for group in [8, 9] {
            let mut track = Subscribed::new(draft, role);
            track.send_all([gap(2), plain(draft, group).objects([0])]);
            track.assert_malformed(MalformedRule::InGap, (group, 0), "inside");
            let mut track = Subscribed::new(draft, role);
            track.send_all([gap(2), plain(draft, 12).objects([0])]);
            track.send_datagram(group, 0, b"x");
            if draft == Draft::D14 {
                let rule = MalformedRule::ForwardingPreference;
                track.assert_malformed(rule, (group, 0), "mixed anyhow");
            } else {
                track.assert_malformed(MalformedRule::InGap, (group, 0), "in a datagram");
            }
        }
        let mut track = Subscribed::new(draft, role);
        track.send_all([
            gap(2),
            gap(2),
            rich(draft, 10).subgroup(1).objects([1]),
            rich(draft, 10).subgroup(2).with(2, b"x", &[group_gap(2)]),
            plain(draft, 7).objects([0]),
            rich(draft, 11).with(0, b"x", &[group_gap(0)]),
            rich(draft, 3).with(0, b"x", &[group_gap(3)]),
            // "This is equivalent to receiving an `End of Group` status with Object ID 0 for each
            // skipped Group." (draft-14)
            plain(draft, 9).status(0, ObjectStatus::EndOfGroup),
        ]);
        track.assert_well_formed("around gaps");
    }
}

// "An Object contains more than one instance of Prior Group ID Gap." / "Prior Object ID Gap."
// "An Object MUST NOT contain more than one instance of this property." (draft-16, -18,
// "Immutable Properties")
#[test]
fn a_property_twice_is_malformed() {
    for (draft, role) in cases() {
        let inside = |property: &[Property]| {
            let raw = moqt_engine::wire::Properties::encode(draft.dialect(), property).unwrap();
            Property::bytes(property_type::IMMUTABLE, raw.as_bytes().to_vec().into())
        };
        let twice = [
            ("object gaps", vec![object_gap(1), object_gap(1)]),
            ("group gaps", vec![group_gap(1), group_gap(1)]),
            // "processors MUST search both the mutable properties and the contents of Immutable
            // Properties." (draft-18)
            ("one gap of them immutable", vec![inside(&[object_gap(1)]), object_gap(1)]),
            ("immutable", vec![inside(&[group_gap(1)]), inside(&[object_gap(1)])]),
        ];
        for (what, properties) in twice {
            let mut track = Subscribed::new(draft, role);
            track.send_all([rich(draft, 10).with(5, b"x", &properties)]);
            if draft == Draft::D14 && what == "immutable" {
                track.assert_well_formed(what);
            } else {
                track.assert_malformed(MalformedRule::RepeatedProperty, (10, 5), what);
            }
        }
        let mut track = Subscribed::new(draft, role);
        let unknown = Property::int(0x38, 1);
        let properties = [inside(&[group_gap(1)]), object_gap(1), unknown.clone(), unknown];
        track.send_all([rich(draft, 10).with(5, b"x", &properties)]);
        track.assert_well_formed("others may be there more than once");
        let mut track = Subscribed::new(draft, role);
        track.send_all([
            rich(draft, 10).with(5, b"x", &[inside(&[object_gap(2)])]),
            plain(draft, 10).subgroup(1).objects([4]),
        ]);
        track.assert_malformed(MalformedRule::InGap, (10, 4), "an immutable gap is one, too");
    }
}

// "A Track is considered malformed if any of the following conditions are detected: An Object
// contains an Immutable Properties property that contains another Immutable Properties key. A
// Key-Value-Pair cannot be parsed." (all drafts, "Immutable Properties")
#[test]
fn properties_that_cannot_be_read_are_malformed() {
    for (draft, role) in cases() {
        let cases: &[(&[u8], MalformedRule, &str)] = &[
            (b"\x0b\x02\x0b\x00", MalformedRule::NestedImmutable, "nested"),
            (b"\x0b\x02\x0d\x05", MalformedRule::UnparsableProperties, "cut off inside"),
            (b"\x0b\x05\x02", MalformedRule::UnparsableProperties, "longer than the properties"),
            (b"\x3c", MalformedRule::UnparsableProperties, "without a value"),
        ];
        for (bytes, rule, what) in cases {
            let mut track = Subscribed::new(draft, role);
            track.send_all([rich(draft, 10).object(0, b"x").with_bytes(5, b"x", bytes)]);
            track.assert_malformed(*rule, (10, 5), what);
            let mut track = Subscribed::new(draft, role);
            let mut object = datagram(ALIAS, 10, 5);
            let bytes = bytes::Bytes::copy_from_slice(bytes);
            object.properties = moqt_engine::wire::Properties::from_wire(draft.dialect(), bytes);
            track.end.datagram(datagram_bytes(draft, &object, b"x"));
            track.assert_malformed(*rule, (10, 5), what);
        }
        // An empty one holds nothing wrong.
        let mut track = Subscribed::new(draft, role);
        track.send_all([rich(draft, 10).with_bytes(5, b"x", b"\x0b\x00")]);
        track.assert_well_formed("empty");
    }
}

// "An Object received with a Mandatory Track Property as an Object Property is malformed"
// (draft-18, "Mandatory Track Properties": the range 0x4000-0x7FFF)
#[test]
fn a_mandatory_track_property_on_an_object_is_malformed_on_draft_18() {
    for (draft, role) in cases() {
        for key in [0x4000, 0x7FFE] {
            let mut track = Subscribed::new(draft, role);
            track.send_all([rich(draft, 1).with(0, b"x", &[Property::int(key, 0)])]);
            if draft >= Draft::D18 {
                let rule = MalformedRule::MandatoryProperty;
                track.assert_malformed(rule, (1, 0), &format!("{key:#x}"));
            } else {
                track.assert_well_formed("there is no such range");
            }
        }
        let mut track = Subscribed::new(draft, role);
        let around = [Property::int(0x3FFE, 0), Property::int(0x8000, 0)];
        track.send_all([rich(draft, 1).with(0, b"x", &around)]);
        track.assert_well_formed("around the range");
    }
}

// The application gets what came before, and nothing of what is wrong or after it.
#[test]
fn what_is_wrong_is_not_given_out() {
    for (draft, role) in cases() {
        let mut track = Subscribed::new(draft, role);
        let stream = rich(draft, 1).object(0, b"good").with(1, b"bad", &[object_gap(2)]);
        let stream = stream.object(2, b"after").bytes();
        let name = track.end.open_with(Dir::Uni, stream);
        let got = track.end.take_reads(name);
        assert!(
            matches!(&got[..], [Got::Object(_, payload), Got::Gone] if payload == b"good"),
            "{draft:?}: {got:?}"
        );
        track.assert_malformed(MalformedRule::GapBeforeZero, (1, 1), "in the middle");
    }
}

// What is remembered of a track is bounded (`Limits::remembered_objects`): what contradicts
// something that has been forgotten is not noticed, and what contradicts the rest is.
#[test]
fn the_oldest_objects_are_forgotten() {
    for (draft, role) in cases() {
        let forgetful = || {
            let mut config = Config::default();
            config.limits.remembered_objects = 4;
            let mut track = Subscribed::with(draft, role, config);
            track.finish_all((0..10).map(|group| plain(draft, group).objects([0, 1])));
            track
        };
        let mut track = forgetful();
        track.send_all([plain(draft, 5).objects([2])]);
        track.assert_well_formed("forgotten");
        let mut track = forgetful();
        track.send_all([plain(draft, 6).objects([2])]);
        track.assert_malformed(MalformedRule::AfterSubgroupEnd, (6, 2), "remembered");
        let mut config = Config::default();
        config.limits.remembered_objects = 4;
        let mut track = Subscribed::with(draft, role, config);
        for object in 0..10 {
            track.send_datagram(0, object, b"one");
        }
        track.send_datagram(0, 5, b"two");
        assert_eq!(track.end.engine.usage().requests, 2, "{draft:?}: forgotten");
        track.send_datagram(0, 7, b"two");
        track.assert_malformed(MalformedRule::ObjectsDiffer, (0, 7), "remembered");
    }
}
