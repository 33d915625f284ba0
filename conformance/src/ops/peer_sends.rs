//! The objects that the peer sends, and what it does that it must not.

use moqt_engine::model::{EndOfRange, Location, ObjectStatus, Property, RequestKind, SubgroupId};
use moqt_engine::wire::{
    DatagramHeader, FetchObject, FetchWriter, ObjectHeader, Properties, SubgroupHeader,
    SubgroupWriter,
};
use moqt_engine::{Dir, TransportClosed};

use super::peer::{Asked, Writing, WritingForm};
use super::source::payload;
use super::world::World;

impl World<'_> {
    /// The alias of something that the peer publishes, or may publish soon.
    fn published(&mut self) -> Option<u64> {
        let publishes = |asked: &&mut Asked, kind| {
            asked.kind == kind && asked.alias.is_some() && !asked.over && !asked.done
        };
        let mut some: Vec<&mut Asked> = Vec::new();
        some.extend(self.peer.own.iter_mut().filter(|a| publishes(a, RequestKind::Publish)));
        some.extend(self.peer.theirs.iter_mut().filter(|a| publishes(a, RequestKind::Subscribe)));
        if self.source.one_in(10) {
            return Some(self.peer.next_alias);
        }
        let at = self.source.below(some.len());
        let asked = some.get_mut(at)?;
        asked.streams += 1;
        asked.alias
    }

    pub(super) fn peer_begins_subgroup(&mut self) {
        let Some(track_alias) = self.published() else { return };
        let group = self.source.small(6);
        let has_properties = self.source.one_in(4);
        let subgroup_id = match self.source.byte() {
            0..=159 => SubgroupId::Explicit(0),
            160..=219 => SubgroupId::Explicit(self.source.small(4)),
            _ => SubgroupId::FirstObjectId,
        };
        let header = SubgroupHeader {
            track_alias,
            group_id: group,
            subgroup_id,
            publisher_priority: Some(self.source.pick(&[128, 128, 5]).unwrap_or(128)),
            end_of_group: self.source.one_in(5),
            first_object: self.source.one_in(4) && self.draft.dialect().key_deltas,
            has_properties,
        };
        let mut bytes = Vec::new();
        if header.encode(self.draft.dialect(), &mut bytes).is_err() {
            return;
        }
        self.note(&("peer", &header));
        let name = self.peer_opens(Dir::Uni);
        self.streams[name].incoming.is_clean = true;
        let writer = SubgroupWriter::new(self.draft.dialect(), has_properties);
        let form = WritingForm::Subgroup(writer, has_properties);
        self.peer.writing.push(Writing { name, form, group, next_object: 0 });
        if self.source.one_in(6) {
            // Its header comes in two.
            let rest = bytes.split_off(1);
            self.peer_sends(name, bytes, false);
            bytes = rest;
        }
        self.peer_sends(name, bytes, false);
        self.peer_writes_on(self.peer.writing.len() - 1);
    }

    pub(super) fn peer_begins_fetch(&mut self) {
        let fits = |asked: &&mut Asked| {
            asked.kind == RequestKind::Fetch && !asked.fetch_stream && !asked.over
        };
        let Some(asked) = self.peer.theirs.iter_mut().find(fits) else { return };
        asked.fetch_stream = true;
        let (id, order, start) = (asked.id, asked.order, asked.start);
        let mut bytes = Vec::new();
        let writer = FetchWriter::new(self.draft.dialect(), order);
        if writer.header(id, &mut bytes).is_err() {
            return;
        }
        let name = self.peer_opens(Dir::Uni);
        let form = WritingForm::Fetch(writer);
        self.peer.writing.push(Writing {
            name,
            form,
            group: start.group,
            next_object: start.object,
        });
        self.peer_sends(name, bytes, false);
        self.peer_writes_on(self.peer.writing.len() - 1);
    }

    pub(super) fn peer_writes(&mut self) {
        if self.peer.writing.is_empty() {
            return;
        }
        let at = self.source.below(self.peer.writing.len());
        self.peer_writes_on(at);
    }

    fn peer_writes_on(&mut self, at: usize) {
        let name = self.peer.writing[at].name;
        match self.source.byte() {
            0..=29 => {
                self.peer.writing.swap_remove(at);
                self.peer_sends(name, Vec::new(), true);
            }
            30..=39 => {
                self.peer.writing.swap_remove(at);
                let code = self.source.small(8);
                self.peer_resets(name, code);
            }
            _ => self.peer_writes_object(at),
        }
    }

    fn peer_writes_object(&mut self, at: usize) {
        let dialect = self.draft.dialect();
        let (seed, len) = (u64::from(self.source.byte()), self.source.len());
        let gap = if self.source.one_in(6) { self.source.small(3) } else { 0 };
        let status = match self.source.byte() {
            0..=245 => ObjectStatus::Normal,
            byte => match byte % 3 {
                0 => ObjectStatus::EndOfGroup,
                1 => ObjectStatus::EndOfTrack,
                _ => ObjectStatus::DoesNotExist,
            },
        };
        let len = if status == ObjectStatus::Normal { len } else { 0 };
        let content = payload(seed, len);
        let property = self.source.one_in(4).then(|| Property::int(0x42, seed));
        let properties = Properties::encode(dialect, property.as_ref()).unwrap_or_default();
        let end_of_range = self.source.one_in(12);
        let Some(writing) = self.peer.writing.get_mut(at) else { return };
        let object_id = writing.next_object + gap;
        let mut bytes = Vec::new();
        let written = match &mut writing.form {
            WritingForm::Subgroup(writer, has_properties) => {
                let header = ObjectHeader {
                    object_id,
                    payload_len: len as u64,
                    status,
                    properties: if *has_properties { properties } else { Properties::EMPTY },
                };
                writer.object(&header, &mut bytes)
            }
            WritingForm::Fetch(writer) => {
                let location = Location::new(writing.group, object_id);
                if end_of_range {
                    writer.end_of_range(location, EndOfRange::NonExistent, &mut bytes)
                } else {
                    let object = FetchObject {
                        location,
                        subgroup_id: Some(0),
                        publisher_priority: 128,
                        payload_len: len as u64,
                        status: ObjectStatus::Normal,
                        properties: Properties::EMPTY,
                    };
                    writer.object(&object, &mut bytes)
                }
            }
        };
        if written.is_err() {
            return;
        }
        writing.next_object = object_id + 1;
        let name = writing.name;
        if !end_of_range || matches!(writing.form, WritingForm::Subgroup(..)) {
            bytes.extend_from_slice(&content);
        }
        self.streams[name].incoming.objects.push((object_id, content));
        self.note(&("peer object", name, object_id, len));
        if self.source.one_in(8) {
            let half = bytes.len() / 2;
            let rest = bytes.split_off(half);
            self.peer_sends(name, bytes, false);
            bytes = rest;
        }
        self.peer_sends(name, bytes, false);
    }

    pub(super) fn peer_sends_datagram(&mut self) {
        let Some(track_alias) = self.published() else { return };
        let len = self.source.below(40);
        let header = DatagramHeader {
            track_alias,
            location: Location::new(6 + self.source.small(6), self.source.small(4)),
            publisher_priority: Some(128),
            end_of_group: false,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        };
        let content = payload(track_alias, len + 1);
        let mut bytes = Vec::new();
        if header.encode(self.draft.dialect(), content.len(), &mut bytes).is_ok() {
            bytes.extend_from_slice(&content);
            self.engine.handle_datagram(self.now, bytes.into());
            self.drain();
        }
    }

    /// What a peer must not do.
    pub(super) fn peer_misbehaves(&mut self) {
        self.reach("misbehaved");
        let names = self.streams.len();
        let mut name = self.source.below(names);
        if Some(name) == self.peer.control && self.source.byte() < 200 {
            name = names.saturating_sub(1);
        }
        match self.source.below(12) {
            // Bytes that mean nothing there.
            0 | 1 if names > 0 => {
                let len = 1 + self.source.below(12);
                let bytes = self.source.raw(len);
                self.peer.is_garbled = true;
                let stream = &mut self.streams[name];
                if stream.dir == Dir::Bi || !stream.ours {
                    stream.incoming.is_clean = false;
                    self.peer_sends(name, bytes, false);
                }
            }
            2 => {
                let dir = if self.source.flag() { Dir::Bi } else { Dir::Uni };
                let name = self.peer_opens(dir);
                let len = 1 + self.source.below(20);
                let bytes = self.source.raw(len);
                let fin = self.source.flag();
                self.peer_sends(name, bytes, fin);
            }
            3 => {
                let len = self.source.below(30);
                let bytes = self.source.raw(len);
                self.engine.handle_datagram(self.now, bytes.into());
                self.drain();
            }
            4 if names > 0 => {
                let code = self.source.number();
                self.peer_resets(name, code);
            }
            5 if names > 0 => {
                let code = self.source.number();
                self.peer_stops(name, code);
            }
            6 if names > 0 => {
                if self.streams[name].dir == Dir::Bi || !self.streams[name].ours {
                    self.streams[name].incoming.is_clean = false;
                    self.peer_sends(name, Vec::new(), true);
                }
            }
            // A Request ID that is not its turn.
            7 => self.peer.next_id = self.peer.next_id.wrapping_add(self.source.small(3)),
            8 => self.peer.next_id = self.peer.next_id.saturating_sub(2),
            9 => {
                let all: Vec<usize> = (0..self.peer.theirs.len()).collect();
                if let Some(at) = self.source.pick(&all) {
                    self.peer.theirs[at].answered = false;
                    self.peer.theirs[at].over = false;
                    self.peer.theirs[at].done = false;
                }
            }
            10 => {
                let all: Vec<usize> = (0..self.peer.own.len()).collect();
                if let Some(at) = self.source.pick(&all) {
                    self.peer.own[at].over = false;
                    self.peer.own[at].done = false;
                    self.peer.next_alias = self.peer.next_alias.saturating_sub(1);
                }
            }
            _ => {
                if self.source.one_in(8) {
                    let closed = TransportClosed::Lost { reason: "lost".into() };
                    self.peer.session_closed = true;
                    self.engine.handle_closed(self.now, closed);
                    self.drain();
                }
            }
        }
    }
}
