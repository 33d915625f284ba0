//! How clients publish: to each subscription what is new in its track, to each fetch what was
//! asked for; as fast as there is room.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use moqt_engine::model::{
    GroupOrder, Location, LocationRange, ObjectStatus, PublishDoneCode, SubgroupId,
};
use moqt_engine::wire::{FetchObject, ObjectHeader, Properties};
use moqt_engine::{
    CommandError, DatagramOptions, Draft, RequestKey, StreamKey, SubgroupOptions, Written,
};

use super::client::Request;
use super::record::{Left, Made};
use super::run::{Later, Run};
use crate::simulation::Object;
use crate::simulation::history::{CUT, track_name};
use crate::simulation::tracks::{News, Track};

/// A subscription, at its publisher.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) track: usize,
    /// What is to be written, by group and subgroup.
    writers: BTreeMap<(u64, u64), Writer>,
    /// When everything is written, the subscription is done.
    pub(super) ends_with: Option<PublishDoneCode>,
}

#[derive(Debug, Default)]
struct Writer {
    stream: Option<StreamKey>,
    /// Locations, and whether each is the first of its subgroup.
    queue: VecDeque<(Location, bool)>,
    is_complete: bool,
    /// The stream's last object will be the group's last.
    closes_group: bool,
    /// Payload of the first in the queue that is still to be written.
    second_half: Option<Bytes>,
    /// It was told to wait, or waits for the time to write a second half.
    waits: bool,
}

impl Sending {
    pub(super) fn new(track: usize) -> Self {
        Self { track, writers: BTreeMap::new(), ends_with: None }
    }
}

/// A fetch, at its publisher.
#[derive(Debug)]
pub(super) struct Response {
    track: usize,
    queue: VecDeque<Location>,
    waits: bool,
}

impl Response {
    pub(super) fn new(
        track: usize,
        objects: &BTreeMap<Location, Object>,
        range: LocationRange,
        order: GroupOrder,
    ) -> Self {
        let mut queue: Vec<Location> =
            objects.range(range.start..=range.last()).map(|(location, _)| *location).collect();
        if order == GroupOrder::Descending {
            queue.sort_by_key(|location| (u64::MAX - location.group, location.object));
        }
        Self { track, queue: queue.into(), waits: false }
    }
}

impl Run<'_> {
    /// Lets everybody who publishes a track publish what is new in it.
    pub(super) fn publish_news(
        &mut self,
        track: usize,
        make: impl FnOnce(&mut Track) -> Vec<News>,
        closes_group: bool,
    ) {
        let now = self.network.now();
        let publishers = self.clients.iter().flatten();
        let mut publishers = publishers.filter(|it| !it.is_gone && it.publishes.contains(&track));
        if publishers.next().is_none() {
            return;
        }
        let news = make(&mut self.tracks[track]);
        let objects = &mut self.record.tracks[track].objects;
        for new in &news {
            let News::Object { location, .. } = new else { continue };
            let Some(object) = self.tracks[track].objects.get(location).cloned() else { continue };
            let same = objects.iter().filter(|(other, made)| {
                other.group == location.group && made.object.subgroup == object.subgroup
            });
            let subgroup_at = same.map(|(_, made)| made.subgroup_at).min().unwrap_or(now);
            objects.insert(*location, Made { at: now, subgroup_at, object });
        }
        for group in self.tracks[track].groups_over() {
            self.record.tracks[track].groups_over.entry(group).or_insert(now);
        }
        for number in 0..self.clients.len() {
            let Some(client) = self.client(number) else { continue };
            if !client.publishes.contains(&track) {
                continue;
            }
            let sending = client.sending.iter();
            let of_track = sending.filter(|(_, it)| it.track == track && it.ends_with.is_none());
            let requests: Vec<RequestKey> = of_track.map(|(request, _)| *request).collect();
            for request in requests {
                for new in &news {
                    self.give(number, request, track, *new, closes_group);
                }
                self.write(number, request);
            }
        }
    }

    fn give(
        &mut self,
        number: usize,
        request: RequestKey,
        track: usize,
        new: News,
        closes_group: bool,
    ) {
        let News::Object { location, is_first } = new else {
            let News::Complete { group, subgroup } = new else { return };
            if let Some(writer) = self.writer(number, request, (group, subgroup)) {
                writer.is_complete = true;
            }
            return;
        };
        let Some(object) = self.tracks[track].objects.get(&location).cloned() else { return };
        let Some(subgroup) = object.subgroup else {
            return self.send_datagram(number, request, location, object);
        };
        let Some(client) = self.client(number) else { return };
        let Some(sending) = client.sending.get_mut(&request) else { return };
        let writer = sending.writers.entry((location.group, subgroup)).or_default();
        writer.queue.push_back((location, is_first));
        writer.closes_group = closes_group && writer.stream.is_none();
    }

    fn send_datagram(
        &mut self,
        number: usize,
        request: RequestKey,
        location: Location,
        object: Object,
    ) {
        let Some(draft) = self.client(number).map(|client| client.draft) else { return };
        let track = self.client(number).and_then(|client| client.sending.get(&request));
        let priority = track.map(|it| it.track);
        let options = DatagramOptions {
            publisher_priority: priority.and_then(|track| self.priority(track, draft)),
            status: object.status,
            properties: properties(&object, draft),
            ..DatagramOptions::new(location)
        };
        let outcome = self.with(number, |connection, _| {
            let mut publisher = connection.publisher(request).ok_or(CommandError::Gone)?;
            publisher.datagram(options, object.payload)
        });
        match outcome {
            Some(Err(CommandError::Gone) | Ok(_)) | None => {}
            Some(Err(error)) => self.fail(format!("client {number} sends a datagram: {error}")),
        }
    }

    /// The priority that a header states. Where tracks have no default, all state one.
    fn priority(&self, track: usize, draft: Draft) -> Option<u8> {
        let content = &self.scenario.tracks[track];
        let is_told = draft < Draft::D16 || !content.has_default_priority;
        content.plan.priority.filter(|_| is_told)
    }

    pub(super) fn write_all(&mut self, number: usize) {
        let Some(client) = self.client(number) else { return };
        let all: Vec<_> = client.sending.keys().chain(client.responses.keys()).copied().collect();
        for request in all {
            self.go_on(number, request);
        }
    }

    /// What was told to wait may be written now.
    pub(super) fn go_on(&mut self, number: usize, request: RequestKey) {
        let Some(client) = self.client(number) else { return };
        if let Some(response) = client.responses.get_mut(&request) {
            response.waits = false;
            return self.write_response(number, request);
        }
        if let Some(sending) = client.sending.get_mut(&request) {
            for writer in sending.writers.values_mut() {
                writer.waits &= writer.second_half.is_some();
            }
        }
        self.write(number, request);
    }

    /// The time has come to write the second halves of objects.
    pub(super) fn write_second_half(&mut self, number: usize, request: RequestKey) {
        let Some(client) = self.client(number) else { return };
        let Some(sending) = client.sending.get_mut(&request) else { return };
        for writer in sending.writers.values_mut() {
            writer.waits = false;
        }
        self.write(number, request);
    }

    /// Writes what waits to be written of a subscription, as far as there is room.
    fn write(&mut self, number: usize, request: RequestKey) {
        let Some(client) = self.client(number) else { return };
        let Some(sending) = client.sending.get(&request) else { return };
        let names: Vec<(u64, u64)> = sending.writers.keys().copied().collect();
        for name in names {
            while self.write_one(number, request, name) {}
        }
        let Some(client) = self.client(number) else { return };
        let Some(sending) = client.sending.get(&request) else { return };
        if let Some(code) = sending.ends_with.filter(|_| sending.writers.is_empty()) {
            client.sending.remove(&request);
            client.requests.remove(&request);
            self.with(number, |connection, _| {
                connection.publisher(request).map(|publisher| publisher.done(code, ""))
            });
        }
    }

    /// Whether there is more to be written to a subgroup, and room for it.
    fn write_one(&mut self, number: usize, request: RequestKey, name: (u64, u64)) -> bool {
        let Some(client) = self.client(number) else { return false };
        let Some(sending) = client.sending.get_mut(&request) else { return false };
        let (track, ends) = (sending.track, sending.ends_with.is_some());
        let Some(writer) = sending.writers.get_mut(&name).filter(|writer| !writer.waits) else {
            return false;
        };
        match (writer.queue.front().copied(), writer.stream) {
            (Some((location, is_first)), None) => {
                self.open(number, request, track, name, location, is_first)
            }
            (Some((location, _)), Some(stream)) => {
                let Some(object) = self.tracks[track].objects.get(&location).cloned() else {
                    return false;
                };
                self.write_object(number, request, name, stream, location, &object)
            }
            (None, stream) if writer.is_complete || ends => {
                let is_whole = writer.is_complete;
                sending.writers.remove(&name);
                self.with(number, |connection, _| {
                    let subgroup = stream.and_then(|stream| connection.subgroup(stream));
                    subgroup.map(|subgroup| {
                        if is_whole {
                            return subgroup.finish();
                        }
                        // Others may go on with it.
                        subgroup.reset(CUT);
                        Ok(())
                    })
                });
                false
            }
            _ => false,
        }
    }

    fn open(
        &mut self,
        number: usize,
        request: RequestKey,
        track: usize,
        name: (u64, u64),
        location: Location,
        is_first: bool,
    ) -> bool {
        let plan = &self.scenario.tracks[track].plan;
        let (group_id, id) = name;
        let Some(draft) = self.client(number).map(|client| client.draft) else { return false };
        let mut options = SubgroupOptions {
            subgroup_id: if plan.named_by_first && is_first {
                SubgroupId::FirstObjectId
            } else {
                SubgroupId::Explicit(id)
            },
            publisher_priority: self.priority(track, draft),
            first_object: is_first,
            has_properties: plan.has_properties,
            ..SubgroupOptions::new(group_id)
        };
        let Some(writer) = self.writer(number, request, name) else { return false };
        options.end_of_group = writer.closes_group;
        let opened = self.with(number, |connection, _| {
            let mut publisher = connection.publisher(request).ok_or(CommandError::Gone)?;
            let opened = publisher.open_subgroup(options);
            if opened == Ok(None) {
                publisher.note_published(location)?;
            }
            opened
        });
        let Some(writer) = self.writer(number, request, name) else { return false };
        match opened {
            Some(Ok(Some(stream))) => {
                writer.stream = Some(stream);
                true
            }
            Some(Ok(None)) => {
                writer.queue.pop_front();
                true
            }
            Some(Err(error)) => self.failed(number, request, name, error),
            None => false,
        }
    }

    fn write_object(
        &mut self,
        number: usize,
        request: RequestKey,
        name: (u64, u64),
        stream: StreamKey,
        location: Location,
        object: &Object,
    ) -> bool {
        let halves = self.scenario.clients[number].halves.filter(|_| object.payload.len() > 1);
        let Some(draft) = self.client(number).map(|client| client.draft) else { return false };
        let header = ObjectHeader {
            object_id: location.object,
            payload_len: object.payload.len() as u64,
            status: object.status,
            properties: properties(object, draft),
        };
        let Some(writer) = self.writer(number, request, name) else { return false };
        let second_half = writer.second_half.clone();
        let is_second = second_half.is_some();
        let written = self.with(number, |connection, _| {
            let mut subgroup = connection.subgroup(stream).ok_or(CommandError::Gone)?;
            if let Some(rest) = second_half {
                return subgroup.payload(rest).map(|()| Written::Queued);
            }
            if halves.is_none() {
                return subgroup.object(&header, object.payload.clone());
            }
            let written = subgroup.begin_object(&header)?;
            let all = object.payload.len();
            // Of what is left out, all is given at once.
            let first = if written == Written::Queued { all / 2 } else { all };
            subgroup.payload(object.payload.slice(..first))?;
            Ok(written)
        });
        let Some(writer) = self.writer(number, request, name) else { return false };
        match (written, halves) {
            (Some(Ok(Written::Queued)), Some(millis)) if !is_second => {
                writer.second_half = Some(object.payload.slice(object.payload.len() / 2..));
                writer.waits = true;
                self.put_off(number, millis, Later::Write(request));
                false
            }
            (Some(Ok(_)), _) => {
                writer.second_half = None;
                writer.queue.pop_front();
                true
            }
            (Some(Err(CommandError::Gone)), _) => {
                // The stream was stopped or given up. Perhaps there may be another.
                writer.stream = None;
                if writer.second_half.take().is_some() {
                    writer.queue.pop_front();
                }
                true
            }
            (Some(Err(error)), _) => self.failed(number, request, name, error),
            (None, _) => false,
        }
    }

    fn writer(
        &mut self,
        number: usize,
        request: RequestKey,
        name: (u64, u64),
    ) -> Option<&mut Writer> {
        self.client(number)?.sending.get_mut(&request)?.writers.get_mut(&name)
    }

    /// Something could not be written.
    fn failed(
        &mut self,
        number: usize,
        request: RequestKey,
        name: (u64, u64),
        error: CommandError,
    ) -> bool {
        if matches!(error, CommandError::Blocked(_)) {
            if let Some(writer) = self.writer(number, request, name) {
                writer.waits = true;
            }
            return false;
        }
        if let Some(client) = self.client(number) {
            if matches!(error, CommandError::Gone | CommandError::Closed) {
                client.sending.remove(&request);
            } else if let Some(sending) = client.sending.get_mut(&request) {
                sending.writers.remove(&name);
                self.fail(format!("client {number} writes to {name:?}: {error}"));
            }
        }
        false
    }

    pub(super) fn write_response(&mut self, number: usize, request: RequestKey) {
        loop {
            let Some(client) = self.client(number) else { return };
            let draft = client.draft;
            let Some(response) = client.responses.get(&request) else { return };
            if response.waits {
                return;
            }
            let (track, next) = (response.track, response.queue.front().copied());
            let next = next.and_then(|location| {
                Some((location, self.tracks[track].objects.get(&location).cloned()?))
            });
            let written = self.with(number, |connection, _| {
                let mut response = connection.fetch_response(request).ok_or(CommandError::Gone)?;
                let Some((location, object)) = &next else { return response.finish() };
                // Only draft 14 has a way to say it.
                if object.status != ObjectStatus::Normal && draft >= Draft::D16 {
                    return Ok(());
                }
                let header = FetchObject {
                    location: *location,
                    subgroup_id: object.subgroup,
                    publisher_priority: object.priority,
                    payload_len: object.payload.len() as u64,
                    status: object.status,
                    properties: properties(object, draft),
                };
                response.object(&header, object.payload.clone())
            });
            let Some(client) = self.client(number) else { return };
            let Some(response) = client.responses.get_mut(&request) else { return };
            match written {
                Some(Ok(())) if next.is_some() => {
                    response.queue.pop_front();
                }
                Some(Err(CommandError::Blocked(_))) => {
                    response.waits = true;
                    return;
                }
                Some(result) => {
                    client.responses.remove(&request);
                    if let Err(error) = result
                        && !matches!(error, CommandError::Gone | CommandError::Closed)
                    {
                        self.fail(format!("client {number} answers a fetch: {error}"));
                    }
                    return;
                }
                None => return,
            }
        }
    }

    /// Nothing more comes in any group of a track.
    pub(super) fn complete(&mut self, track: usize) {
        self.publish_news(track, Track::complete_all, false);
    }

    /// A client publishes a track no longer, once everything is written.
    pub(super) fn leave(&mut self, number: usize, track: usize, is_end: bool) {
        let Some(client) = self.client(number) else { return };
        if !client.publishes.remove(&track) {
            return;
        }
        let (code, left) = if is_end {
            (PublishDoneCode::TrackEnded, Left::Ended)
        } else {
            (PublishDoneCode::GoingAway, Left::GoingAway)
        };
        let mut requests = Vec::new();
        for (request, sending) in &mut client.sending {
            if sending.track == track {
                sending.ends_with = Some(code);
                requests.push(*request);
            }
        }
        let now = self.network.now();
        self.record.tracks[track].leave(number, now, left);
        for request in requests {
            self.write(number, request);
        }
        self.withdraw_namespaces(number);
    }

    /// Ends everything that a client publishes, as at the end of a track.
    pub(super) fn end_publishing(&mut self, number: usize) {
        for track in 0..self.tracks.len() {
            self.leave(number, track, true);
        }
    }

    /// Withdraws namespaces in which a client has no tracks any longer.
    fn withdraw_namespaces(&mut self, number: usize) {
        let now = self.network.now();
        let Some(client) = self.client(number) else { return };
        let names: Vec<_> = client.publishes.iter().filter_map(|it| track_name(*it)).collect();
        let requests = client.requests.clone();
        let mut over = Vec::new();
        for (request, what) in requests {
            let Request::Namespace(of) = what else { continue };
            let announced = &mut self.record.announced[of];
            if names.iter().all(|name| *name.namespace() != announced.namespace) {
                announced.to.get_or_insert(now);
                over.push(request);
            }
        }
        for request in over {
            self.cancel(number, request);
        }
    }
}

/// Properties as a draft writes them.
fn properties(object: &Object, draft: Draft) -> Properties {
    object.properties.to_dialect(draft.dialect()).unwrap_or_default()
}
