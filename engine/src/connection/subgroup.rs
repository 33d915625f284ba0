//! Sending the objects of a subgroup.

use alloc::vec::Vec;

use bytes::Bytes;

use super::MoqtConnection;
use crate::error::CommandError;
use crate::key::StreamKey;
use crate::model::{Location, ObjectStatus, StreamResetCode, SubgroupId};
use crate::request::{self, AFTER_END, Body, Request};
use crate::stats;
use crate::stream::{SendClass, Sender, SenderKey, SubgroupSend};
use crate::time::Timestamp;
use crate::wire::{EncodeError, ObjectHeader};

/// Room for an object header without its properties.
const OBJECT_HEADER_LEN: usize = 48;

/// What a subgroup's header is to say (draft-18, "Subgroup Header").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupOptions {
    /// The group.
    pub group_id: u64,
    /// The subgroup.
    pub subgroup_id: SubgroupId,
    /// The publisher's priority; `None` means the track's default.
    pub publisher_priority: Option<u8>,
    /// The last object given will be the last of its group.
    pub end_of_group: bool,
    /// The first object given will be the first ever published in the subgroup.
    pub first_object: bool,
    /// Objects may have properties.
    pub has_properties: bool,
}

impl SubgroupOptions {
    /// Subgroup 0 of a group, from its first object on.
    pub fn new(group_id: u64) -> Self {
        Self {
            group_id,
            subgroup_id: SubgroupId::Explicit(0),
            publisher_priority: None,
            end_of_group: false,
            first_object: true,
            has_properties: false,
        }
    }
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Written {
    /// It waits to be sent.
    Queued,
    /// The subscriber's filter or forward state leaves it out.
    Skipped,
}

impl MoqtConnection {
    /// A subgroup that is being sent. `None` if its stream is finished or reset.
    #[inline]
    pub fn subgroup(&mut self, stream: StreamKey) -> Option<Subgroup<'_>> {
        let half = self.streams.get(stream)?.send.as_ref()?;
        match half.class {
            SendClass::Data(sender, _) if half.subgroup.is_some() && !half.queue.fin => {
                Some(Subgroup { connection: self, stream, sender, begun: None })
            }
            _ => None,
        }
    }

    /// Queues payload on a data stream: as it is, or gathered with what is before it if it is
    /// short.
    #[inline]
    pub(super) fn queue_payload(&mut self, stream: StreamKey, payload: Bytes) {
        let coalesce_below = self.config.coalesce_below;
        let len = payload.len();
        let Some(half) = self.streams.send_mut(stream) else { return };
        half.queue.put(payload, coalesce_below);
        self.streams.queued(stream, len);
    }
}

/// A subgroup that is being sent, from [`MoqtConnection::subgroup`].
#[derive(Debug)]
pub struct Subgroup<'a> {
    connection: &'a mut MoqtConnection,
    stream: StreamKey,
    sender: SenderKey,
    begun: Option<Timestamp>,
}

impl Subgroup<'_> {
    /// Says when the first byte of the objects came that are begun through this: their delivery
    /// timeout counts from there, and otherwise from when the connection is told the time after
    /// that.
    #[must_use]
    pub fn begun_at(self, begun: Timestamp) -> Self {
        Self { begun: Some(begun), ..self }
    }

    /// Queues a whole object. Its payload leaves as it is, or is copied once if it is shorter
    /// than 64 bytes or [`Config::coalesce_below`](crate::Config::coalesce_below).
    pub fn object(
        &mut self,
        header: &ObjectHeader,
        payload: Bytes,
    ) -> Result<Written, CommandError> {
        if header.payload_len != payload.len() as u64 {
            return Err(CommandError::WrongState("the payload is not as long as its header says"));
        }
        self.begin(header, Some(payload))
    }

    /// Queues the header of an object whose payload follows in pieces, through
    /// [`payload`](Self::payload).
    pub fn begin_object(&mut self, header: &ObjectHeader) -> Result<Written, CommandError> {
        self.begin(header, None)
    }

    /// Queues an object's header, and its payload if it is at hand and not to follow.
    #[inline]
    fn begin(
        &mut self,
        header: &ObjectHeader,
        payload: Option<Bytes>,
    ) -> Result<Written, CommandError> {
        if !self.connection.has_room(self.sender) {
            self.make_room(header)?;
        }
        let connection = &mut *self.connection;
        let sender = connection.streams.schedule.sender(self.sender);
        let ages = sender.is_some_and(Sender::ages);
        let request = sender.and_then(|sender| sender.request);
        let Some(Request { body: Body::Publisher(publisher), .. }) =
            request.and_then(|request| connection.requests.get_mut(request))
        else {
            return Err(CommandError::Gone);
        };
        let Some(half) = connection.streams.send_mut(self.stream) else {
            return Err(CommandError::Gone);
        };
        let Some(subgroup) = &mut half.subgroup else { return Err(CommandError::Gone) };
        let location = subgroup.check(header, publisher)?;
        let is_named = subgroup.subgroup_id.is_some();
        if subgroup.leaves_out(location, publisher) {
            if header.object_id > connection.dialect.ints.max() {
                return Err(CommandError::Encode(EncodeError::OutOfRange("Object ID")));
            }
            // Before its start an object is not missed, unless the start was moved; otherwise the
            // subgroup has a hole.
            let is_before = subgroup.header.is_some() && location < publisher.start;
            subgroup.omitted |= !is_before;
            subgroup.skip(header);
            if payload.is_some() {
                subgroup.payload_left = 0;
            }
            if !is_named {
                publisher.name_stream(self.stream, (location.group, location.object));
                half.class = half.class.within(location.object);
            }
            publisher.note(location);
            let remembered = connection.config.limits.remembered_objects;
            publisher.note_end(header.status, location, remembered);
            publisher.stats.objects_skipped += 1;
            connection.stats.sent.objects_skipped += 1;
            return Ok(Written::Skipped);
        }
        let block = half.queue.block(OBJECT_HEADER_LEN + header.properties.as_bytes().len());
        let block_len = block.len();
        let encoded = match subgroup.header {
            Some(first) => first.encode(connection.dialect, block),
            None => Ok(()),
        };
        if let Err(error) = encoded.and_then(|()| subgroup.writer.object(header, block)) {
            block.truncate(block_len);
            return Err(error.into());
        }
        let mut grown = block.len() - block_len;
        half.queue.grew(grown);
        if connection.trace.is_on() {
            connection.trace.object_created(self.stream, subgroup.header, header);
        }
        subgroup.header = None;
        if !is_named {
            subgroup.subgroup_id = Some(location.object);
            publisher.name_stream(self.stream, (location.group, location.object));
            half.class = half.class.within(location.object);
        }
        subgroup.last_object = Some(header.object_id);
        subgroup.skipping = false;
        let payload_left = if payload.is_some() { 0 } else { header.payload_len };
        subgroup.payload_left = payload_left;
        if let Some(payload) = payload {
            grown += payload.len();
            half.queue.put(payload, connection.config.coalesce_below);
        }
        publisher.note(location);
        if header.status != ObjectStatus::Normal {
            let remembered = connection.config.limits.remembered_objects;
            publisher.note_end(header.status, location, remembered);
        }
        publisher.stats.objects += 1;
        stats::add(&mut publisher.stats.payload_bytes, header.payload_len);
        connection.stats.sent.objects += 1;
        stats::add(&mut connection.stats.sent.payload_bytes, header.payload_len);
        connection.streams.queued(self.stream, grown);
        if ages {
            connection.streams.object_begun(self.stream, payload_left, self.begun);
        }
        Ok(Written::Queued)
    }

    /// Queues payload of the object begun last, as much as is at hand.
    pub fn payload(&mut self, payload: Bytes) -> Result<(), CommandError> {
        let has_room = self.connection.has_room(self.sender);
        let Some(subgroup) = self.state() else { return Err(CommandError::Gone) };
        let Some(left) = subgroup.payload_left.checked_sub(payload.len() as u64) else {
            return Err(CommandError::WrongState("more payload than the object's header said"));
        };
        let is_sent = !subgroup.skipping && !payload.is_empty();
        if is_sent && !has_room {
            self.connection.check_room(self.sender, Some(self.stream))?;
        }
        // Room may have been made of this one.
        let Some(subgroup) = self.state() else { return Err(CommandError::Gone) };
        subgroup.payload_left = left;
        if is_sent {
            self.push_payload(payload);
        }
        Ok(())
    }

    /// No object follows. The stream finishes, unless an object was left out: then it is
    /// reset, since a finished stream says that it had them all (draft-18, "Closing Subgroup
    /// Streams").
    pub fn finish(self) -> Result<(), CommandError> {
        let Self { connection, stream, sender, begun } = self;
        let dialect = connection.dialect;
        let Some(half) = connection.streams.send_mut(stream) else {
            return Err(CommandError::Gone);
        };
        let Some(subgroup) = &mut half.subgroup else { return Err(CommandError::Gone) };
        if subgroup.payload_left > 0 {
            return Err(CommandError::WrongState("the last object lacks payload"));
        }
        let omitted = subgroup.omitted;
        let header = subgroup.header.filter(|_| !omitted);
        let mut grown = 0;
        if let Some(header) = header {
            let block = half.queue.block(OBJECT_HEADER_LEN);
            let before = block.len();
            header.encode(dialect, block).inspect_err(|_| block.truncate(before))?;
            grown = block.len() - before;
            half.queue.grew(grown);
            subgroup.header = None;
        }
        let group = subgroup.group_id;
        let name = subgroup.subgroup_id.filter(|_| !omitted).map(|id| (group, id));
        let last = subgroup.last_object.filter(|_| subgroup.end_of_group);
        let remembered = connection.config.limits.remembered_objects;
        let request = connection.streams.schedule.sender(sender).and_then(|sender| sender.request);
        if let Some(publisher) = request.and_then(|key| connection.publisher_state_mut(key)) {
            if let Some(last) = last {
                let location = Location::new(group, last);
                publisher.note_end(ObjectStatus::EndOfGroup, location, remembered);
            }
            if let Some(name) = name {
                publisher.subgroup_finished(name, remembered);
            }
        }
        if omitted {
            Subgroup { connection, stream, sender, begun }.reset(StreamResetCode::Cancelled);
            return Ok(());
        }
        if let Some(header) = header {
            connection.trace.subgroup_created(stream, header);
            connection.streams.queued(stream, grown);
        }
        connection.streams.finish(stream);
        connection.streams.subgroup_finished(stream);
        Ok(())
    }

    /// Gives the subgroup up: what has not been sent never will be.
    pub fn reset(self, code: StreamResetCode) {
        let Self { connection, stream, sender, .. } = self;
        let sender_state = connection.streams.schedule.sender(sender);
        if let Some(request) = sender_state.and_then(|sender| sender.request) {
            connection.reset_subgroup(request, stream, code);
        }
    }

    /// Sees to it that there is room for an object, which may cost another group. One that is left
    /// out needs none, and for one that cannot be written none is made.
    #[cold]
    fn make_room(&mut self, header: &ObjectHeader) -> Result<(), CommandError> {
        let connection = &*self.connection;
        let sender = connection.streams.schedule.sender(self.sender);
        let request = sender.and_then(|sender| sender.request);
        let publisher = request.and_then(|request| connection.publisher_state(request));
        let half = connection.streams.get(self.stream).and_then(|stream| stream.send.as_ref());
        let (Some(publisher), Some(subgroup)) =
            (publisher, half.and_then(|half| half.subgroup.as_ref()))
        else {
            return Err(CommandError::Gone);
        };
        let location = subgroup.check(header, publisher)?;
        if subgroup.leaves_out(location, publisher) {
            return Ok(());
        }
        let mut scratch = Vec::new();
        if let Some(first) = subgroup.header {
            first.encode(connection.dialect, &mut scratch)?;
        }
        subgroup.writer.clone().object(header, &mut scratch)?;
        self.connection.check_room(self.sender, Some(self.stream))
    }

    fn state(&mut self) -> Option<&mut SubgroupSend> {
        self.connection.streams.send_mut(self.stream)?.subgroup.as_mut()
    }

    fn push_payload(&mut self, payload: Bytes) {
        self.connection.queue_payload(self.stream, payload);
    }
}

impl SubgroupSend {
    /// Whether an object may come next, and where it is.
    #[inline]
    fn check(
        &self,
        header: &ObjectHeader,
        publisher: &request::Publisher,
    ) -> Result<Location, CommandError> {
        if self.payload_left > 0 {
            return Err(CommandError::WrongState("the object before lacks payload"));
        }
        if self.last_object.is_some_and(|last| header.object_id <= last) {
            return Err(CommandError::Encode(EncodeError::OutOfRange("Object ID")));
        }
        let location = Location::new(self.group_id, header.object_id);
        if publisher.is_after_end(location) {
            return Err(CommandError::WrongState(AFTER_END));
        }
        let is_named = self.subgroup_id.is_some();
        if !is_named && !publisher.may_name((location.group, location.object)) {
            return Err(CommandError::WrongState(
                "the subgroup has a stream, had one, or was given up",
            ));
        }
        Ok(location)
    }

    /// Whether the subscriber does not get the object here.
    #[inline]
    fn leaves_out(&self, location: Location, publisher: &request::Publisher) -> bool {
        !publisher.passes(location) || !publisher.forward || self.has_hole
    }

    /// An object is left out.
    fn skip(&mut self, header: &ObjectHeader) {
        self.last_object = Some(header.object_id);
        self.skipping = true;
        self.has_hole |= self.header.is_none();
        self.payload_left = header.payload_len;
        self.subgroup_id = self.subgroup_id.or(Some(header.object_id));
        if let Some(first) = &mut self.header {
            if first.subgroup_id == SubgroupId::FirstObjectId {
                first.subgroup_id = SubgroupId::Explicit(header.object_id);
            }
            first.first_object = false;
        }
    }
}
