//! How an application sends: to each subscription what is new in its track, to each fetch what
//! was asked for; as fast as there is room.

use std::collections::{BTreeMap, VecDeque};

use moqt_engine::model::{
    GroupOrder, Location, LocationRange, ObjectStatus, PublishDoneCode, SubgroupId,
    TrackProperties, property_type,
};
use moqt_engine::wire::{FetchObject, ObjectHeader};
use moqt_engine::{CommandError, DatagramOptions, RequestKey, StreamKey, SubgroupOptions};

use super::history::{CUT, Object, What};
use super::run::Run;
use super::tracks::{News, Track};

/// A subscription, at its publisher.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) track: usize,
    /// What is to be written, by group and subgroup.
    writers: BTreeMap<(u64, u64), Writer>,
}

#[derive(Debug, Default)]
struct Writer {
    stream: Option<StreamKey>,
    /// Locations, and whether each is the first of its subgroup.
    queue: VecDeque<(Location, bool)>,
    is_complete: bool,
    /// It was told to wait.
    waits: bool,
}

impl Sending {
    pub(super) fn new(track: usize) -> Self {
        Self { track, writers: BTreeMap::new() }
    }

    /// The streams that are open.
    pub(super) fn streams(&self) -> impl Iterator<Item = StreamKey> + '_ {
        self.writers.values().filter_map(|writer| writer.stream)
    }
}

/// A fetch, at its publisher.
#[derive(Debug)]
pub(super) struct Response {
    track: usize,
    queue: VecDeque<Location>,
    /// It was told to wait.
    waits: bool,
}

impl Response {
    pub(super) fn new(
        number: usize,
        track: &Track,
        range: LocationRange,
        order: GroupOrder,
    ) -> Self {
        let mut queue: Vec<Location> = track
            .objects
            .range(range.start..=range.last())
            .map(|(location, _)| *location)
            .collect();
        if order == GroupOrder::Descending {
            queue.sort_by_key(|location| (u64::MAX - location.group, location.object));
        }
        Self { track: number, queue: queue.into(), waits: false }
    }
}

impl Run<'_> {
    pub(super) fn track_properties(&self, track: usize) -> TrackProperties {
        let mut properties = TrackProperties::new();
        if let Some(timeout) = self.scenario.tracks[track].timeout {
            properties = properties.with_int(property_type::OBJECT_DELIVERY_TIMEOUT, timeout);
        }
        properties
    }

    pub(super) fn when_slow(&mut self, end: usize, request: RequestKey) {
        let slow = self.scenario.ends[end].slow;
        self.network.with(self.ends[end].id, |connection, _| {
            if let Some(mut publisher) = connection.publisher(request) {
                publisher.when_slow(slow);
            }
        });
    }

    /// Gives what is new in a track to all subscriptions to it.
    pub(super) fn publish_news(&mut self, track: usize, news: &[News]) {
        let end = self.scenario.tracks[track].end;
        for new in news {
            if let News::Object { location, .. } = new
                && let Some(object) = self.tracks[track].objects.get(location).cloned()
            {
                self.record(end, What::Produced { track, location: *location, object });
            }
        }
        let sending = self.ends[end].sending.iter();
        let of_track = sending.filter(|(_, sending)| sending.track == track);
        let requests: Vec<RequestKey> = of_track.map(|(request, _)| *request).collect();
        for request in requests {
            for new in news {
                self.give(end, request, track, *new);
            }
            self.write(end, request);
        }
    }

    fn give(&mut self, end: usize, request: RequestKey, track: usize, new: News) {
        let Some(sending) = self.ends[end].sending.get_mut(&request) else { return };
        match new {
            News::Object { location, is_first } => {
                let Some(object) = self.tracks[track].objects.get(&location) else { return };
                if let Some(subgroup) = object.subgroup {
                    let writer = sending.writers.entry((location.group, subgroup)).or_default();
                    writer.queue.push_back((location, is_first));
                } else {
                    let object = object.clone();
                    self.send_datagram(end, request, location, object);
                }
            }
            News::Complete { group, subgroup } => {
                if let Some(writer) = sending.writers.get_mut(&(group, subgroup)) {
                    writer.is_complete = true;
                }
            }
        }
    }

    fn send_datagram(
        &mut self,
        end: usize,
        request: RequestKey,
        location: Location,
        object: Object,
    ) {
        let track = self.ends[end].sending.get(&request).map_or(0, |sending| sending.track);
        let options = DatagramOptions {
            publisher_priority: self.scenario.tracks[track].priority,
            status: object.status,
            properties: object.properties,
            ..DatagramOptions::new(location)
        };
        let outcome = self.network.with(self.ends[end].id, |connection, _| {
            let mut publisher = connection.publisher(request).ok_or(CommandError::Gone)?;
            publisher.datagram(options, object.payload)
        });
        match outcome {
            Ok(outcome) => self.record(end, What::Datagram { request, location, outcome }),
            Err(error) => self.record(end, What::Failed { request: Some(request), error }),
        }
    }

    pub(super) fn write_all(&mut self, end: usize) {
        let sending = self.ends[end].sending.keys();
        let all: Vec<_> = sending.chain(self.ends[end].responses.keys()).copied().collect();
        for request in all {
            self.go_on(end, request);
        }
    }

    /// What was told to wait may be written now. Nothing is tried again before that is told, so
    /// that it is noticed when it is not.
    pub(super) fn go_on(&mut self, end: usize, request: RequestKey) {
        if let Some(response) = self.ends[end].responses.get_mut(&request) {
            response.waits = false;
        }
        if let Some(sending) = self.ends[end].sending.get_mut(&request) {
            for writer in sending.writers.values_mut() {
                writer.waits = false;
            }
        }
        self.write(end, request);
    }

    /// Writes what waits to be written of a request, as far as there is room.
    pub(super) fn write(&mut self, end: usize, request: RequestKey) {
        if self.ends[end].responses.contains_key(&request) {
            return self.write_response(end, request);
        }
        let Some(sending) = self.ends[end].sending.get(&request) else { return };
        let names: Vec<(u64, u64)> = sending.writers.keys().copied().collect();
        for name in names {
            while self.write_one(end, request, name) {}
        }
    }

    /// Whether there is more to be written to a subgroup, and room for it.
    fn write_one(&mut self, end: usize, request: RequestKey, name: (u64, u64)) -> bool {
        let Some(sending) = self.ends[end].sending.get_mut(&request) else { return false };
        let track = sending.track;
        let Some(writer) = sending.writers.get_mut(&name).filter(|writer| !writer.waits) else {
            return false;
        };
        match (writer.queue.front().copied(), writer.stream) {
            (Some((location, is_first)), None) => self.open(end, request, name, location, is_first),
            (Some((location, _)), Some(stream)) => {
                let Some(object) = self.tracks[track].objects.get(&location).cloned() else {
                    return false;
                };
                self.write_object(end, request, name, stream, location, object)
            }
            (None, Some(stream)) if writer.is_complete => {
                sending.writers.remove(&name);
                self.finish(end, stream);
                false
            }
            _ => false,
        }
    }

    fn open(
        &mut self,
        end: usize,
        request: RequestKey,
        name: (u64, u64),
        location: Location,
        is_first: bool,
    ) -> bool {
        let Some(sending) = self.ends[end].sending.get(&request) else { return false };
        let plan = &self.scenario.tracks[sending.track];
        let (group_id, id) = name;
        let options = SubgroupOptions {
            subgroup_id: if plan.named_by_first && is_first {
                SubgroupId::FirstObjectId
            } else {
                SubgroupId::Explicit(id)
            },
            publisher_priority: plan.priority,
            first_object: is_first,
            has_properties: plan.has_properties,
            ..SubgroupOptions::new(group_id)
        };
        let opened = self.network.with(self.ends[end].id, |connection, _| {
            let mut publisher = connection.publisher(request).ok_or(CommandError::Gone)?;
            let opened = publisher.open_subgroup(options);
            if opened == Ok(None) {
                let noted = publisher.note_published(location);
                assert!(noted.is_ok(), "{location}: {noted:?}");
            }
            opened
        });
        match opened {
            Ok(Some(stream)) => {
                let Some(id) = self.network.stream_id(self.ends[end].id, stream) else {
                    return false;
                };
                self.record(end, What::Opened { request, stream: id, options });
                self.ends[end].opened.insert(stream, id);
                if let Some(writer) = self.writer(end, request, name) {
                    writer.stream = Some(stream);
                }
                true
            }
            Ok(None) => {
                self.record(end, What::NotWanted { request, options, location });
                if let Some(writer) = self.writer(end, request, name) {
                    writer.queue.pop_front();
                }
                true
            }
            Err(error) => {
                if !matches!(error, CommandError::Blocked(_)) {
                    self.record(end, What::Failed { request: Some(request), error });
                    self.give_up(end, request, name, error);
                } else if let Some(writer) = self.writer(end, request, name) {
                    writer.waits = true;
                }
                false
            }
        }
    }

    fn write_object(
        &mut self,
        end: usize,
        request: RequestKey,
        name: (u64, u64),
        stream: StreamKey,
        location: Location,
        object: Object,
    ) -> bool {
        let header = ObjectHeader {
            object_id: location.object,
            payload_len: object.payload.len() as u64,
            status: object.status,
            properties: object.properties,
        };
        let written = self.network.with(self.ends[end].id, |connection, _| {
            let mut subgroup = connection.subgroup(stream).ok_or(CommandError::Gone)?;
            subgroup.object(&header, object.payload)
        });
        match written {
            Ok(written) => {
                if let Some(id) = self.ends[end].opened.get(&stream).copied() {
                    self.record(end, What::Wrote { stream: id, header, written });
                }
                if let Some(writer) = self.writer(end, request, name) {
                    writer.queue.pop_front();
                }
                true
            }
            Err(CommandError::Gone) => {
                // The stream was stopped or given up. Perhaps there may be another.
                if let Some(writer) = self.writer(end, request, name) {
                    writer.stream = None;
                }
                true
            }
            Err(error) => {
                if !matches!(error, CommandError::Blocked(_)) {
                    self.record(end, What::Failed { request: Some(request), error });
                    self.give_up(end, request, name, error);
                } else if let Some(writer) = self.writer(end, request, name) {
                    writer.waits = true;
                }
                false
            }
        }
    }

    fn finish(&mut self, end: usize, stream: StreamKey) {
        let finished = self.network.with(self.ends[end].id, |connection, _| {
            connection.subgroup(stream).ok_or(CommandError::Gone)?.finish()
        });
        if finished.is_ok()
            && let Some(stream) = self.ends[end].opened.get(&stream).copied()
        {
            self.record(end, What::Finished { stream });
        }
    }

    fn writer(&mut self, end: usize, request: RequestKey, name: (u64, u64)) -> Option<&mut Writer> {
        self.ends[end].sending.get_mut(&request)?.writers.get_mut(&name)
    }

    /// Nothing more can be written to a subgroup, or to the whole subscription.
    fn give_up(&mut self, end: usize, request: RequestKey, name: (u64, u64), error: CommandError) {
        if matches!(error, CommandError::Gone | CommandError::Closed) {
            self.ends[end].sending.remove(&request);
        } else if let Some(sending) = self.ends[end].sending.get_mut(&request) {
            sending.writers.remove(&name);
        }
    }

    /// Cuts a subgroup off.
    pub(super) fn reset(&mut self, end: usize, request: RequestKey, stream: StreamKey) {
        let reset = self.network.with(self.ends[end].id, |connection, _| {
            connection.subgroup(stream).map(|subgroup| subgroup.reset(CUT)).is_some()
        });
        if let Some(sending) = self.ends[end].sending.get_mut(&request) {
            sending.writers.retain(|_, writer| writer.stream != Some(stream));
        }
        if reset && let Some(stream) = self.ends[end].opened.get(&stream).copied() {
            self.record(end, What::Reset { stream });
        }
    }

    /// Ends a subscription that this end publishes for.
    pub(super) fn done(&mut self, end: usize, request: RequestKey) {
        self.ends[end].sending.remove(&request);
        let ended = self.network.with(self.ends[end].id, |connection, _| {
            let publisher = connection.publisher(request);
            publisher.map(|publisher| publisher.done(PublishDoneCode::TrackEnded, "")).is_some()
        });
        if ended {
            self.ends[end].own.remove(&request);
            self.record(end, What::Done { request });
        }
    }

    fn write_response(&mut self, end: usize, request: RequestKey) {
        loop {
            let Some(response) = self.ends[end].responses.get(&request) else { return };
            if response.waits {
                return;
            }
            let track = response.track;
            let Some(location) = response.queue.front().copied() else { break };
            let Some(object) = self.tracks[track].objects.get(&location).cloned() else { return };
            // Only draft 14 has a way to say it.
            let is_sayable = object.status == ObjectStatus::Normal
                || self.scenario.draft < moqt_engine::Draft::D16;
            let header = FetchObject {
                location,
                subgroup_id: object.subgroup,
                publisher_priority: object.priority,
                payload_len: object.payload.len() as u64,
                status: object.status,
                properties: object.properties,
            };
            let written = if is_sayable {
                self.network.with(self.ends[end].id, |connection, _| {
                    let response = connection.fetch_response(request);
                    response.ok_or(CommandError::Gone)?.object(&header, object.payload)
                })
            } else {
                Ok(())
            };
            match written {
                Ok(()) => {
                    if let Some(response) = self.ends[end].responses.get_mut(&request) {
                        response.queue.pop_front();
                    }
                }
                Err(CommandError::Blocked(_)) => return self.response_waits(end, request),
                Err(error) => {
                    self.record(end, What::Failed { request: Some(request), error });
                    self.ends[end].responses.remove(&request);
                    return;
                }
            }
        }
        let finished = self.network.with(self.ends[end].id, |connection, _| {
            connection.fetch_response(request).ok_or(CommandError::Gone)?.finish()
        });
        match finished {
            Ok(()) => self.record(end, What::FetchFinished { request }),
            Err(CommandError::Blocked(_)) => return self.response_waits(end, request),
            Err(error) => self.record(end, What::Failed { request: Some(request), error }),
        }
        self.ends[end].responses.remove(&request);
    }

    fn response_waits(&mut self, end: usize, request: RequestKey) {
        if let Some(response) = self.ends[end].responses.get_mut(&request) {
            response.waits = true;
        }
    }

    /// Ends all subscriptions that this end publishes for.
    pub(super) fn end_publishing(&mut self, end: usize) {
        let requests: Vec<RequestKey> = self.ends[end].sending.keys().copied().collect();
        for request in requests {
            let sending = self.ends[end].sending.get(&request);
            let mut writers = sending.into_iter().flat_map(|sending| sending.writers.values());
            if writers.any(|writer| !writer.queue.is_empty()) {
                self.record(end, What::Stuck { request });
            }
            self.done(end, request);
        }
        let responses: Vec<RequestKey> = self.ends[end].responses.keys().copied().collect();
        for request in responses {
            self.record(end, What::Stuck { request });
        }
    }
}
