use alloc::vec::Vec;

use bytes::Bytes;

use crate::error::CommandError;
use crate::key::{RequestKey, StreamKey};
use crate::model::{Location, PublishDoneCode, StreamResetCode, SubgroupId};
use crate::wire::{ObjectHeader, Properties};
use crate::{MoqtConnection, Subgroup, SubgroupOptions, Written};

/// How a sequence of objects is put into groups and subgroups: which object goes where.
///
/// It says the same for every subscriber, so one layout serves a [`PublishedTrack`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackLayout {
    subgroups: u64,
    next: Location,
    /// Whether an object of the current group has been placed.
    in_group: bool,
}

/// Where one object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its location.
    pub location: Location,
    /// The subgroup that carries it.
    pub subgroup_id: u64,
    /// No object of its group follows.
    pub ends_group: bool,
}

impl TrackLayout {
    /// Objects from `start` on, those of a group dealt to `subgroups` subgroups in turn.
    pub const fn new(start: Location, subgroups: u64) -> Self {
        let subgroups = if subgroups == 0 { 1 } else { subgroups };
        Self { subgroups, next: start, in_group: false }
    }

    /// The place of the next object, which is the last of its group if `ends_group`.
    pub fn place(&mut self, ends_group: bool) -> Slot {
        let location = self.next;
        self.in_group = !ends_group;
        self.next = if ends_group {
            Location::new(location.group.saturating_add(1), 0)
        } else {
            Location::new(location.group, location.object.saturating_add(1))
        };
        Slot { location, subgroup_id: location.object % self.subgroups, ends_group }
    }

    /// Where the next object will be.
    pub fn next(&self) -> Location {
        self.next
    }

    /// Whether the current group has objects and may have more.
    pub fn is_in_group(&self) -> bool {
        self.in_group
    }
}

/// One subscriber's copy of a track on its way out: opens a stream for each subgroup, and
/// finishes those of a group when it ends.
///
/// Meant for objects in ascending order of location, as a [`TrackLayout`] deals them.
#[derive(Debug)]
pub struct PublishedTrack {
    request: RequestKey,
    publisher_priority: Option<u8>,
    has_properties: bool,
    group: Option<u64>,
    open: Vec<Lane>,
}

/// A subgroup of the current group.
#[derive(Debug)]
struct Lane {
    subgroup_id: u64,
    /// `None` if the subscriber does not want the group.
    stream: Option<StreamKey>,
}

impl PublishedTrack {
    /// A track that nothing has been sent of, for a subscription that this side publishes to.
    pub fn new(request: RequestKey) -> Self {
        Self {
            request,
            publisher_priority: None,
            has_properties: false,
            group: None,
            open: Vec::new(),
        }
    }

    /// States a priority in each subgroup instead of leaving the track's default.
    #[must_use]
    pub fn with_priority(mut self, publisher_priority: u8) -> Self {
        self.publisher_priority = Some(publisher_priority);
        self
    }

    /// Objects may have properties.
    #[must_use]
    pub fn with_properties(mut self) -> Self {
        self.has_properties = true;
        self
    }

    /// The subscription.
    pub fn request(&self) -> RequestKey {
        self.request
    }

    /// Sends an object. If this is [`Blocked`](CommandError::Blocked), give the same object
    /// again when the connection says so.
    pub fn object(
        &mut self,
        connection: &mut MoqtConnection,
        slot: Slot,
        properties: &Properties,
        payload: Bytes,
    ) -> Result<Written, CommandError> {
        if self.group != Some(slot.location.group) {
            self.end_group(connection)?;
            self.group = Some(slot.location.group);
        }
        let stream = self.lane(connection, slot)?;
        let Some(mut subgroup) = stream.and_then(|stream| connection.subgroup(stream)) else {
            // It is not wanted, or the subscriber has stopped it, which is its right.
            let mut publisher = connection.publisher(self.request).ok_or(CommandError::Gone)?;
            publisher.note_published(slot.location)?;
            self.end_with(connection, slot);
            return Ok(Written::Skipped);
        };
        let header = ObjectHeader {
            object_id: slot.location.object,
            payload_len: payload.len() as u64,
            properties: properties.clone(),
            ..ObjectHeader::default()
        };
        let written = subgroup.object(&header, payload)?;
        self.end_with(connection, slot);
        Ok(written)
    }

    /// Ends the group if this was its last object. The object has been taken: if a stream cannot
    /// be finished, the next object or [`end_group`](Self::end_group) says so.
    fn end_with(&mut self, connection: &mut MoqtConnection, slot: Slot) {
        if slot.ends_group {
            let _ = self.end_group(connection);
        }
    }

    /// Finishes the streams of the current group. One that cannot be finished, because something
    /// else was begun on it, stays as it is, and the others are finished.
    pub fn end_group(&mut self, connection: &mut MoqtConnection) -> Result<(), CommandError> {
        let mut result = Ok(());
        self.open.retain(|lane| {
            let subgroup = lane.stream.and_then(|stream| connection.subgroup(stream));
            let finished = subgroup.map_or(Ok(()), Subgroup::finish);
            let is_open = finished.is_err();
            result = result.and(finished);
            is_open
        });
        if result.is_ok() {
            self.group = None;
        }
        result
    }

    /// Ends the subscription, with the current group finished.
    pub fn done(mut self, connection: &mut MoqtConnection, code: PublishDoneCode, reason: &str) {
        if self.end_group(connection).is_err() {
            self.abandon(connection, StreamResetCode::InternalError);
        }
        if let Some(publisher) = connection.publisher(self.request) {
            publisher.done(code, reason);
        }
    }

    /// Resets the streams of the current group.
    pub fn abandon(&mut self, connection: &mut MoqtConnection, code: StreamResetCode) {
        for lane in self.open.drain(..) {
            if let Some(subgroup) = lane.stream.and_then(|stream| connection.subgroup(stream)) {
                subgroup.reset(code);
            }
        }
        self.group = None;
    }

    /// The stream of the object's subgroup, opened if there is none and the object is wanted.
    fn lane(
        &mut self,
        connection: &mut MoqtConnection,
        slot: Slot,
    ) -> Result<Option<StreamKey>, CommandError> {
        let known = self.open.iter_mut().find(|lane| lane.subgroup_id == slot.subgroup_id);
        if let Some(Lane { stream: Some(stream), .. }) = known {
            return Ok(Some(*stream));
        }
        let mut publisher = connection.publisher(self.request).ok_or(CommandError::Gone)?;
        if known.is_some() && !publisher.wants(slot.location) {
            return Ok(None);
        }
        let stream = publisher.open_subgroup(SubgroupOptions {
            group_id: slot.location.group,
            subgroup_id: SubgroupId::Explicit(slot.subgroup_id),
            publisher_priority: self.publisher_priority,
            end_of_group: slot.ends_group,
            // If it was not wanted before, objects have passed by.
            first_object: known.is_none(),
            has_properties: self.has_properties,
        })?;
        match known {
            Some(lane) => lane.stream = stream,
            None => self.open.push(Lane { subgroup_id: slot.subgroup_id, stream }),
        }
        Ok(stream)
    }
}
