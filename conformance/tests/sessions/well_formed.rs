//! Tracks that keep every rule, however they are delivered.

use moqt_conformance::DRAFTS;
use moqt_conformance::end::{End, Name};
use moqt_conformance::objects::{SubgroupStream, datagram, datagram_bytes};
use moqt_engine::model::{ObjectStatus, Property, property_type};
use moqt_engine::wire::Properties;
use moqt_engine::{Config, Dir, Draft, Event, Role};
use moqt_loopback::Rng;

use crate::subscribed;

/// Something to be delivered.
enum Delivery {
    Datagram(bytes::Bytes),
    /// Bytes of a stream, and whether it is reset after them.
    Stream {
        name: Option<Name>,
        bytes: Vec<u8>,
        reset: bool,
    },
}

/// A track that keeps the rules.
struct Track<'a> {
    draft: Draft,
    rng: &'a mut Rng,
    all: Vec<Delivery>,
}

impl Track<'_> {
    /// Groups with gaps between them, and an end.
    fn make(&mut self) {
        // "the Original Publisher MUST NOT mix different forwarding preferences within a single
        // track" (draft-14)
        let only = (self.draft == Draft::D14).then(|| self.rng.below(2) == 0);
        let mut group = self.rng.below(3);
        let mut missing = group;
        let mut last = (0, 0);
        for _ in 0..self.rng.between(1, 5) {
            last = (group, self.group(group, missing, only));
            missing = self.rng.below(3);
            group += missing + 1;
        }
        if self.rng.below(2) == 0 {
            // "Group ID is either the largest Group produced in this Track with Object ID one
            // greater than the largest Object produced in that Group, or Group ID is one greater
            // than the largest Group produced in this Track with Object ID zero." (draft-14)
            let at = if self.rng.below(2) == 0 { (last.0, last.1 + 1) } else { (last.0 + 1, 0) };
            if only == Some(true) {
                let mut header = datagram(1, at.0, at.1);
                header.status = ObjectStatus::EndOfTrack;
                self.all.push(Delivery::Datagram(datagram_bytes(self.draft, &header, b"")));
            } else {
                let end = SubgroupStream::plain(self.draft, 1, at.0).subgroup(1_000_000);
                self.stream(end.status(at.1, ObjectStatus::EndOfTrack), false);
            }
        }
    }

    /// A group; its largest object.
    fn group(&mut self, group: u64, missing_groups: u64, only_datagrams: Option<bool>) -> u64 {
        let draft = self.draft;
        let stated = missing_groups.min(self.rng.below(3));
        let lanes = self.rng.between(1, 4);
        let mut subgroups: Vec<Vec<(u64, Vec<Property>)>> = vec![Vec::new(); 4];
        let (mut id, mut last) = (0, 0);
        for _ in 0..self.rng.between(1, 12) {
            let missing = self.rng.below(4) * self.rng.below(2);
            id += missing;
            last = id;
            let mut properties = Vec::new();
            if self.rng.below(2) == 0 {
                properties.push(Property::int(property_type::PRIOR_GROUP_ID_GAP, stated));
            }
            if self.rng.below(2) == 0 {
                let stated = missing.min(self.rng.below(4));
                properties.push(Property::int(property_type::PRIOR_OBJECT_ID_GAP, stated));
            }
            let in_datagram = only_datagrams.unwrap_or(self.rng.below(4) == 0);
            if in_datagram {
                let mut header = datagram(1, group, id);
                header.properties = Properties::encode(draft.dialect(), &properties).unwrap();
                let bytes = datagram_bytes(draft, &header, &id.to_be_bytes());
                // The same may come twice.
                for _ in 0..self.rng.between(1, 2) {
                    self.all.push(Delivery::Datagram(bytes.clone()));
                }
            } else {
                let lane = usize::try_from(self.rng.below(lanes)).unwrap();
                subgroups[lane].push((id, properties));
            }
            id += 1;
        }
        let marks = self.rng.below(2) == 0;
        for objects in subgroups {
            let Some((first, _)) = objects.first().cloned() else { continue };
            let is_last = objects.last().is_some_and(|(id, _)| *id == last);
            let mark = (marks && self.rng.below(2) == 0).then_some(last + 1);
            let ends = is_last && self.rng.below(2) == 0;
            let priority = u8::try_from(self.rng.below(256)).unwrap();
            let len = objects.len() as u64;
            // The first stream may be cut off, and what it had be sent again on another.
            let cut = (self.rng.below(3) == 0).then(|| self.rng.below(len));
            let mut from = 0;
            if let Some(cut) = cut {
                let cut = usize::try_from(cut).unwrap();
                let stream = self.subgroup(group, first, priority, ends, &objects[..=cut], None);
                self.stream(stream, true);
                from = usize::try_from(self.rng.below(cut as u64 + 1)).unwrap();
            }
            let stream = self.subgroup(group, first, priority, ends, &objects[from..], mark);
            self.stream(stream, false);
        }
        last
    }

    fn subgroup(
        &mut self,
        group: u64,
        id: u64,
        priority: u8,
        ends: bool,
        objects: &[(u64, Vec<Property>)],
        mark: Option<u64>,
    ) -> SubgroupStream {
        let mut stream = SubgroupStream::new(self.draft, 1, group).subgroup(id).priority(priority);
        if objects.first().is_some_and(|(first, _)| *first == id) && self.rng.below(2) == 0 {
            stream = stream.named_by_first_object();
        }
        if ends {
            stream = stream.end_of_group();
        }
        for (id, properties) in objects {
            stream = stream.with(*id, &id.to_be_bytes(), properties);
        }
        match mark {
            Some(id) => stream.status(id, ObjectStatus::EndOfGroup),
            None => stream,
        }
    }

    fn stream(&mut self, stream: SubgroupStream, reset: bool) {
        self.all.push(Delivery::Stream { name: None, bytes: stream.bytes(), reset });
    }
}

// A track that keeps the rules is never called malformed, in whatever order its streams and
// datagrams arrive and are read ("Due to network reordering and the partial reliability features
// of MOQT, Groups can always be received out of order").
#[test]
fn a_track_that_keeps_the_rules_is_not_malformed() {
    for (draft, seed) in DRAFTS.into_iter().flat_map(|draft| (0..400).map(move |n| (draft, n))) {
        let mut rng = Rng::new(seed);
        let mut track = Track { draft, rng: &mut rng, all: Vec::new() };
        track.make();
        let mut all = track.all;
        let mut end = End::established(draft, Role::Client, Config::default());
        subscribed(&mut end, "t", 1);
        while !all.is_empty() {
            let at = usize::try_from(rng.below(all.len() as u64)).unwrap();
            let is_over = match &mut all[at] {
                Delivery::Datagram(bytes) => {
                    end.datagram(bytes.clone());
                    true
                }
                Delivery::Stream { name, bytes, reset } => {
                    let name = *name.get_or_insert_with(|| end.open(Dir::Uni));
                    let len = usize::try_from(rng.between(1, 40)).unwrap().min(bytes.len());
                    let piece: Vec<u8> = bytes.drain(..len).collect();
                    let is_over = bytes.is_empty();
                    end.data_and(name, piece, is_over && !*reset);
                    if is_over && *reset {
                        end.reset(name, 0);
                    }
                    is_over
                }
            };
            if is_over {
                all.swap_remove(at);
            }
            let events = end.take_events();
            let broken = events.iter().find(|event| matches!(event, Event::TrackMalformed { .. }));
            assert_eq!(broken, None, "{draft:?}, seed {seed}");
            assert_eq!(end.closed(), None, "{draft:?}, seed {seed}");
        }
        assert_eq!(end.engine.usage().requests, 1, "{draft:?}, seed {seed}");
    }
}
