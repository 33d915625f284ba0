//! The objects that the application sends.

use moqt_engine::model::{EndOfRange, Location, ObjectStatus, Property, RequestKind, SubgroupId};
use moqt_engine::wire::{FetchObject, ObjectHeader, Properties};
use moqt_engine::{
    DatagramOptions, RequestKey, SlowSubscriber, StreamKey, SubgroupOptions, Timestamp, Written,
};

use super::application::NOT_NOW;
use super::commands::About;
use super::source::Source;
use super::world::{Known, Life, World};

/// A subgroup that the application writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sending {
    pub(super) request: Option<RequestKey>,
    pub(super) next: u64,
    /// What the last object lacks, and whether it is left out.
    pub(super) left: u64,
    pub(super) skipped: bool,
    pub(super) properties: bool,
    pub(super) finished: bool,
}

fn publishes(known: &Known) -> bool {
    matches!(
        (known.kind, known.ours, known.answered),
        (RequestKind::Publish, true, _) | (RequestKind::Subscribe, false, true)
    )
}

impl World<'_> {
    pub(super) fn writes(&mut self) {
        match self.source.below(12) {
            0..=2 => self.opens_subgroup(),
            3..=7 => {
                for _ in 0..=self.source.below(6) {
                    self.writes_subgroup();
                }
            }
            8 => self.sends_datagram(),
            _ => self.responds(),
        }
    }

    fn opens_subgroup(&mut self) {
        let Some(key) = self.some_request(publishes) else { return };
        let source = &mut self.source;
        let mut options =
            SubgroupOptions::new(if source.one_in(30) { source.number() } else { source.small(6) });
        options.subgroup_id = match source.byte() {
            0..=159 => SubgroupId::Explicit(0),
            160..=219 => SubgroupId::Explicit(source.small(4)),
            220..=224 => SubgroupId::Explicit(source.number()),
            _ => SubgroupId::FirstObjectId,
        };
        options.publisher_priority = source.some(Source::byte);
        options.end_of_group = source.one_in(5);
        options.first_object = source.byte() < 200;
        options.has_properties = source.one_in(3);
        let opened = self.command("open_subgroup", About::Request(key), |engine, _| {
            engine.publisher(key).ok_or(NOT_NOW)?.open_subgroup(options)
        });
        if let Some(Some(stream)) = opened {
            let properties = options.has_properties;
            self.subgroups
                .insert(stream, Sending { request: Some(key), properties, ..Sending::default() });
            self.drain();
        }
    }

    fn writes_subgroup(&mut self) {
        let keys: Vec<StreamKey> = self.subgroups.keys().copied().collect();
        let Some(key) = self.source.pick(&keys) else { return };
        let about = About::Stream(key);
        let Some(sending) = self.subgroups.get(&key).copied() else { return };
        let begun = if self.source.one_in(20) {
            Some(Timestamp::from_micros(self.now.as_micros().saturating_sub(50_000)))
        } else {
            None
        };
        match self.source.byte() {
            0..=139 if sending.left > 0 && self.source.byte() < 240 => {
                let mut bytes = self.payload();
                if self.source.byte() < 230 {
                    let left = usize::try_from(sending.left).unwrap_or(usize::MAX);
                    bytes.truncate(left);
                }
                let copy = bytes.clone();
                let done = self.command("payload", about, |engine, _| {
                    engine.subgroup(key).ok_or(NOT_NOW)?.payload(bytes)
                });
                if done.is_some() {
                    let name = self.name(key);
                    if let Some(sending) = self.subgroups.get_mut(&key) {
                        sending.left -= copy.len() as u64;
                        if !sending.skipped {
                            self.outgoing.payload(name, &copy);
                        }
                    }
                }
            }
            0..=189 => self.writes_object(key, sending, begun),
            190..=229 => {
                let done = self.command("finish", about, |engine, _| {
                    engine.subgroup(key).ok_or(NOT_NOW)?.finish()
                });
                if done.is_some()
                    && let Some(sending) = self.subgroups.get_mut(&key)
                {
                    sending.finished = true;
                }
            }
            230..=239 => {
                let code = self.reset_code();
                let done = self.command("subgroup reset", about, |engine, _| {
                    engine.subgroup(key).ok_or(NOT_NOW)?.reset(code);
                    Ok(())
                });
                if done.is_some() {
                    self.subgroups.remove(&key);
                }
            }
            _ => {
                // It is forgotten, or written on after all.
                let name = self.name(key);
                if self.streams[name].sent_fin || self.streams[name].sent_reset {
                    self.subgroups.remove(&key);
                }
            }
        }
    }

    fn writes_object(&mut self, key: StreamKey, sending: Sending, begun: Option<Timestamp>) {
        let bytes = self.payload();
        let source = &mut self.source;
        let object_id = match source.byte() {
            0..=219 => sending.next,
            220..=249 => sending.next.saturating_add(source.small(4)),
            _ => source.number(),
        };
        let status = match source.byte() {
            0..=239 => ObjectStatus::Normal,
            byte => match byte % 3 {
                0 => ObjectStatus::EndOfGroup,
                1 => ObjectStatus::EndOfTrack,
                _ => ObjectStatus::DoesNotExist,
            },
        };
        let bytes = if status == ObjectStatus::Normal { bytes } else { bytes.slice(..0) };
        let has_properties = (sending.properties && source.flag()) || source.one_in(60);
        let property = has_properties.then(|| Property::int(0x42, object_id % 99));
        let properties = Properties::encode(self.draft.dialect(), property.as_ref());
        let mut header = ObjectHeader {
            object_id,
            payload_len: bytes.len() as u64,
            status,
            properties: properties.unwrap_or_default(),
        };
        let in_pieces = source.one_in(4);
        if in_pieces {
            header.payload_len += source.small(20);
        } else if source.one_in(60) {
            header.payload_len = source.number();
        }
        let payload_len = header.payload_len;
        let what = if in_pieces { "begin_object" } else { "object" };
        let copy = bytes.clone();
        let written = self.command(what, About::Stream(key), |engine, _| {
            let mut subgroup = engine.subgroup(key).ok_or(NOT_NOW)?;
            if let Some(begun) = begun {
                subgroup = subgroup.begun_at(begun);
            }
            if in_pieces { subgroup.begin_object(&header) } else { subgroup.object(&header, bytes) }
        });
        let Some(written) = written else { return };
        let name = self.name(key);
        let skipped = written == Written::Skipped;
        if !skipped {
            self.outgoing.object(name, object_id, payload_len);
            if !in_pieces {
                self.outgoing.payload(name, &copy);
            }
        }
        let Some(sending) = self.subgroups.get_mut(&key) else { return };
        assert!(!sending.finished, "an object after the end");
        assert!(object_id >= sending.next, "object {object_id} after {}", sending.next);
        sending.next = object_id.saturating_add(1);
        sending.left = if in_pieces { payload_len } else { 0 };
        sending.skipped = skipped;
    }

    fn properties(&mut self) -> Properties {
        let property = self.source.one_in(4).then(|| Property::int(0x42, self.source.small(9)));
        Properties::encode(self.draft.dialect(), property.as_ref()).unwrap_or_default()
    }

    fn sends_datagram(&mut self) {
        let Some(key) = self.some_request(publishes) else { return };
        let mut payload = self.payload();
        let source = &mut self.source;
        let status =
            if source.one_in(16) { ObjectStatus::EndOfTrack } else { ObjectStatus::Normal };
        if status != ObjectStatus::Normal {
            payload = payload.slice(..0);
        }
        let options = DatagramOptions {
            location: Location::new(6 + source.small(4), source.number()),
            publisher_priority: source.some(Source::byte),
            end_of_group: source.one_in(8),
            status,
            properties: self.properties(),
        };
        self.command("datagram", About::Request(key), |engine, _| {
            engine.publisher(key).ok_or(NOT_NOW)?.datagram(options, payload)
        });
    }

    pub(super) fn asks_publisher(&mut self, key: RequestKey) {
        let location = Location::new(self.source.small(6), self.source.number());
        let slow = self.source.pick(&[
            SlowSubscriber::Block,
            SlowSubscriber::DropOldestGroup,
            SlowSubscriber::End,
        ]);
        let note = self.source.one_in(3);
        let Some(mut publisher) = self.engine.publisher(key) else { return };
        let wants = publisher.wants(location);
        assert!(!wants || publisher.forward(), "wanted, and not to be sent");
        publisher.is_past_end(location.group);
        if note {
            // A location that the draft cannot say is refused.
            let _ = publisher.note_published(location);
        }
        if let Some(slow) = slow {
            publisher.when_slow(slow);
        }
        let queued = publisher.queued();
        assert!(queued <= self.engine.usage().send_bytes);
        assert_ne!(self.life(key), Life::Over, "a publisher of a request that is over");
        self.reach(format!("when_slow {slow:?}"));
    }

    /// Answers a FETCH with objects.
    fn responds(&mut self) {
        let fits = |known: &Known| known.kind == RequestKind::Fetch && !known.ours;
        let Some(key) = self.some_request(fits) else { return };
        let about = About::Request(key);
        let Some(response) = self.engine.fetch_response(key) else {
            self.reach("no fetch_response");
            return;
        };
        let (range, order) = (response.range(), response.group_order());
        response.queued();
        assert_ne!(self.life(key), Life::Over, "a response to a FETCH that is over");
        let (next, left) = self.responses.get(&key).copied().unwrap_or((range.start, 0));
        let descends = order == Some(moqt_engine::model::GroupOrder::Descending);
        let first = if descends && next == range.start {
            Location::new(range.last().group, 0).max(range.start)
        } else {
            next
        };
        match self.source.byte() {
            0..=149 if left > 0 => {
                let mut bytes = self.payload();
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let len = bytes.len() as u64;
                let done = self.command("fetch payload", about, |engine, _| {
                    engine.fetch_response(key).ok_or(NOT_NOW)?.payload(bytes)
                });
                if done.is_some() {
                    self.responses.insert(key, (next, left - len));
                }
            }
            0..=149 => {
                let bytes = self.payload();
                let location = match self.source.byte() {
                    0..=199 => first,
                    200..=239 => Location::new(
                        first.group,
                        first.object.saturating_add(self.source.small(3)),
                    ),
                    _ => Location::new(self.source.small(6), self.source.number()),
                };
                let in_pieces = self.source.one_in(4);
                let more = if in_pieces { self.source.small(9) } else { 0 };
                let object = FetchObject {
                    location,
                    subgroup_id: (self.source.byte() < 220).then_some(0),
                    publisher_priority: if self.source.one_in(9) {
                        self.source.byte()
                    } else {
                        128
                    },
                    payload_len: bytes.len() as u64 + more,
                    status: if self.source.one_in(20) {
                        ObjectStatus::EndOfGroup
                    } else {
                        ObjectStatus::Normal
                    },
                    properties: self.properties(),
                };
                let left = if in_pieces { object.payload_len } else { 0 };
                let done = self.command("fetch object", about, |engine, _| {
                    let mut response = engine.fetch_response(key).ok_or(NOT_NOW)?;
                    if in_pieces {
                        response.begin_object(&object)
                    } else {
                        response.object(&object, bytes)
                    }
                });
                if done.is_some() {
                    let next = Location::new(location.group, location.object.saturating_add(1));
                    self.responses.insert(key, (next, left));
                }
            }
            150..=179 => {
                let location =
                    Location::new(first.group, first.object.saturating_add(self.source.small(5)));
                let kind =
                    if self.source.flag() { EndOfRange::Unknown } else { EndOfRange::NonExistent };
                let done = self.command("end_of_range", about, |engine, _| {
                    engine.fetch_response(key).ok_or(NOT_NOW)?.end_of_range(location, kind)
                });
                // Where a draft has no word for it, nothing is written.
                if done.is_some() && !self.draft.dialect().empty_fetch_is_refused {
                    let next = Location::new(location.group, location.object.saturating_add(1));
                    self.responses.insert(key, (next, left));
                }
            }
            180..=229 => {
                let done = self.command("fetch finish", about, |engine, _| {
                    engine.fetch_response(key).ok_or(NOT_NOW)?.finish()
                });
                if done.is_some() {
                    let is_refused = self.draft.dialect().empty_fetch_is_refused
                        && !self.responses.contains_key(&key);
                    self.responded(key, is_refused);
                }
            }
            _ => {
                let code = self.reset_code();
                let done = self.command("fetch reset", about, |engine, _| {
                    engine.fetch_response(key).ok_or(NOT_NOW)?.reset(code);
                    Ok(())
                });
                if done.is_some() {
                    self.responded(key, false);
                }
            }
        }
    }

    /// A FETCH has its response, and is over once it is accepted.
    fn responded(&mut self, key: RequestKey, is_refused: bool) {
        let Some(known) = self.request_mut(key) else { return };
        assert!(!known.fetched, "two responses");
        known.fetched = true;
        if known.answered || is_refused {
            self.end(key, Life::Ending);
        }
    }
}
