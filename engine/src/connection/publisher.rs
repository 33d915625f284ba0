//! Sending objects.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::MoqtConnection;
use crate::config::Dir;
use crate::error::{Blocked, CommandError};
use crate::event::DropReason;
use crate::key::{RequestKey, StreamKey};
use crate::model::{Location, ObjectStatus, PublishDoneCode, StreamResetCode, SubgroupId};
use crate::request::{self, Body, Phase};
use crate::stream::{DataPosition, QueuedDatagram, SendClass, Sender, SenderKey, SubgroupSend};
use crate::time::Timestamp;
use crate::wire::{
    DatagramHeader, EncodeError, ObjectHeader, Properties, SubgroupHeader, SubgroupWriter,
};

/// Room for an object header without its properties.
const OBJECT_HEADER_LEN: usize = 48;

/// What a subgroup's header is to say.
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

/// What a datagram's header is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// Where the object is in the track.
    pub location: Location,
    /// The publisher's priority; `None` means the track's default.
    pub publisher_priority: Option<u8>,
    /// The object is the last of its group.
    pub end_of_group: bool,
    /// What the object says if it has no payload.
    pub status: ObjectStatus,
    /// The object's properties.
    pub properties: Properties,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It waits to be sent.
    Queued,
    /// The subscriber's filter or forward state leaves it out.
    Skipped,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramOutcome {
    /// It waits to be sent.
    Queued,
    /// The subscriber's filter or forward state leaves it out.
    Skipped,
    /// It cannot be sent.
    Dropped(DropReason),
}

impl MoqtConnection {
    /// The sending side of a subscription: a SUBSCRIBE of the peer's that was accepted, or a
    /// PUBLISH of ours.
    pub fn publisher(&mut self, request: RequestKey) -> Option<Publisher<'_>> {
        let found = self.requests.get(request)?;
        let may_send = found.ours || found.phase == Phase::Established;
        match &found.body {
            Body::Publisher(publisher) if may_send && publisher.ending.is_none() => {
                Some(Publisher { connection: self, request, begun: None })
            }
            _ => None,
        }
    }

    /// A subgroup that is being sent.
    #[inline]
    pub fn subgroup(&mut self, stream: StreamKey) -> Option<Subgroup<'_>> {
        let half = self.streams.get(stream)?.send.as_ref()?;
        match half.class {
            SendClass::Data(sender, _) if half.subgroup.is_some() => {
                Some(Subgroup { connection: self, stream, sender, begun: None })
            }
            _ => None,
        }
    }

    fn publisher_state(&self, request: RequestKey) -> Option<&request::Publisher> {
        match &self.requests.get(request)?.body {
            Body::Publisher(publisher) => Some(publisher),
            _ => None,
        }
    }

    pub(super) fn publisher_state_mut(
        &mut self,
        request: RequestKey,
    ) -> Option<&mut request::Publisher> {
        match &mut self.requests.get_mut(request)?.body {
            Body::Publisher(publisher) => Some(publisher),
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
        if len < coalesce_below {
            let block = half.queue.block(len);
            block.extend_from_slice(&payload);
            half.queue.grew(len);
        } else {
            half.queue.push(payload);
        }
        self.streams.queued(stream, len);
    }

    /// Whether more may be queued for this sender, on a stream or in a datagram. If not, it
    /// will be told when.
    #[inline]
    pub(super) fn check_room(
        &mut self,
        sender: SenderKey,
        stream: Option<StreamKey>,
    ) -> Result<(), CommandError> {
        let limits = &self.config.limits;
        let session_is_full = self.streams.data_queued >= limits.session_send;
        let Some(state) = self.streams.schedule.sender_mut(sender) else {
            return Err(CommandError::Gone);
        };
        if state.queued < limits.subscription_send && !session_is_full {
            return Ok(());
        }
        self.check_turn(sender, stream, session_is_full)
    }

    /// Whether more may be queued though a limit is reached: on a stream that the transport
    /// takes from, if all else that is queued waits for the peer to read. A peer that reads
    /// this stream first would wait forever otherwise.
    #[cold]
    fn check_turn(
        &mut self,
        sender: SenderKey,
        stream: Option<StreamKey>,
        session_is_full: bool,
    ) -> Result<(), CommandError> {
        let parked =
            stream.and_then(|stream| self.streams.send_mut(stream)).is_some_and(|half| half.parked);
        let Some(state) = self.streams.schedule.sender_mut(sender) else {
            return Err(CommandError::Gone);
        };
        if !parked && !session_is_full && state.is_all_parked() {
            return Ok(());
        }
        state.blocked = true;
        state.wants_turn |= !parked;
        if session_is_full {
            self.streams.schedule.note_session_blocked(sender);
        }
        Err(CommandError::Blocked(Blocked::Queue))
    }
}

/// The sending side of a subscription, from [`MoqtConnection::publisher`].
#[derive(Debug)]
pub struct Publisher<'a> {
    connection: &'a mut MoqtConnection,
    request: RequestKey,
    begun: Option<Timestamp>,
}

impl Publisher<'_> {
    /// Says when the first byte of the object came that is to be sent in a datagram: its
    /// delivery timeout counts from there, and otherwise from when the connection is told the
    /// time after that.
    #[must_use]
    pub fn begun_at(self, begun: Timestamp) -> Self {
        Self { begun: Some(begun), ..self }
    }

    /// Opens a stream for a subgroup. `None` if the subscriber wants nothing of the group,
    /// nothing at all for now, or no more of the subgroup, or if the subgroup was given up
    /// because its delivery timeout passed.
    pub fn open_subgroup(
        &mut self,
        options: SubgroupOptions,
    ) -> Result<Option<StreamKey>, CommandError> {
        let connection = &mut *self.connection;
        let dialect = connection.dialect;
        let publisher = connection.publisher_state(self.request).ok_or(CommandError::Gone)?;
        if !publisher.forward || !publisher.passes_group(options.group_id) {
            return Ok(None);
        }
        if publisher.has_datagrams && !dialect.objects.mixed_forwarding {
            return Err(CommandError::WrongState(MIXED_FORWARDING));
        }
        let subgroup_id = match options.subgroup_id {
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObjectId => None,
        };
        if subgroup_id.is_some_and(|id| publisher.has_given_up(options.group_id, id)) {
            return Ok(None);
        }
        let priority = options.publisher_priority.unwrap_or(publisher.default_priority);
        let states_priority = dialect.objects.subgroup_type_bits & 0x20 == 0;
        let header = SubgroupHeader {
            track_alias: publisher.alias,
            group_id: options.group_id,
            subgroup_id: options.subgroup_id,
            publisher_priority: options.publisher_priority.or(states_priority.then_some(priority)),
            end_of_group: options.end_of_group,
            first_object: options.first_object,
            has_properties: options.has_properties,
        };
        let position = DataPosition {
            publisher_priority: priority,
            group: options.group_id,
            within: subgroup_id.unwrap_or(0),
        };
        let class = SendClass::Data(publisher.sender, position);
        let Some(stream) = connection.streams.open(Dir::Uni, class, None) else {
            connection.was_blocked = true;
            return Err(CommandError::Blocked(Blocked::Streams));
        };
        if let Some(half) = connection.streams.send_mut(stream) {
            half.subgroup = Some(SubgroupSend {
                writer: SubgroupWriter::new(dialect, options.has_properties),
                header: Some(header),
                group_id: options.group_id,
                subgroup_id,
                payload_left: 0,
                skipping: false,
                last_object: None,
                omitted: false,
                clock: None,
            });
        }
        if let Some(publisher) = connection.publisher_state_mut(self.request) {
            publisher.opened += 1;
            publisher.open.insert(stream);
        }
        Ok(Some(stream))
    }

    /// Sends an object in a datagram.
    pub fn datagram(
        &mut self,
        options: DatagramOptions,
        payload: Bytes,
    ) -> Result<DatagramOutcome, CommandError> {
        let connection = &mut *self.connection;
        let dialect = connection.dialect;
        let publisher = connection.publisher_state_mut(self.request).ok_or(CommandError::Gone)?;
        publisher.note(options.location);
        if !publisher.forward || !publisher.passes(options.location) {
            return Ok(DatagramOutcome::Skipped);
        }
        if publisher.opened > 0 && !dialect.objects.mixed_forwarding {
            return Err(CommandError::WrongState(MIXED_FORWARDING));
        }
        publisher.has_datagrams = true;
        let priority = options.publisher_priority.unwrap_or(publisher.default_priority);
        let states_priority = dialect.objects.datagram_type_bits & 0x08 == 0;
        let sender = publisher.sender;
        let header = DatagramHeader {
            track_alias: publisher.alias,
            location: options.location,
            publisher_priority: options.publisher_priority.or(states_priority.then_some(priority)),
            end_of_group: options.end_of_group,
            status: options.status,
            properties: options.properties,
        };
        let mut encoded = Vec::with_capacity(32);
        header.encode(dialect, payload.len(), &mut encoded)?;
        let len = encoded.len() + payload.len();
        if connection.max_datagram_size.is_none_or(|max| len > max) {
            return Ok(DatagramOutcome::Dropped(DropReason::TooLarge));
        }
        if connection.check_room(sender, None).is_err() {
            return Ok(DatagramOutcome::Dropped(DropReason::QueueFull));
        }
        let position = DataPosition {
            publisher_priority: priority,
            group: options.location.group,
            within: options.location.object,
        };
        let datagram = QueuedDatagram {
            request: self.request,
            header,
            encoded_header: encoded.into(),
            payload,
            begun: self.begun,
        };
        connection.streams.data_queued += len;
        let ages = connection.streams.schedule.sender(sender).is_some_and(Sender::ages);
        if ages {
            connection.streams.fresh_datagram(sender, position, datagram);
        } else {
            connection.streams.schedule.push_datagram(sender, position, datagram);
        }
        Ok(DatagramOutcome::Queued)
    }

    /// Tells of an object that is published but not given to this subscriber, because
    /// [`open_subgroup`](Self::open_subgroup) said that it is not wanted. Filters and answers
    /// that refer to the largest object need to know.
    pub fn note_published(&mut self, location: Location) {
        if let Some(publisher) = self.connection.publisher_state_mut(self.request) {
            publisher.note(location);
        }
    }

    /// Ends the subscription. PUBLISH_DONE is sent when all that was queued has been; a
    /// subgroup that was not finished is reset.
    pub fn done(self, code: PublishDoneCode, reason: &str) {
        let Self { connection, request, .. } = self;
        let Some(publisher) = connection.publisher_state_mut(request) else { return };
        publisher.ending = Some((code, reason.to_string()));
        let open: Vec<StreamKey> = publisher.open.iter().copied().collect();
        let reset_code = connection.dialect.reset_code(StreamResetCode::Cancelled);
        for stream in open {
            let unfinished =
                connection.streams.send_mut(stream).is_some_and(|half| !half.queue.fin);
            if unfinished {
                connection.streams.reset(stream, reset_code);
                connection.data_stream_closed(request, stream);
            }
        }
        connection.end_publishing_if_done(request);
    }

    /// Whether the subscriber wants objects now.
    pub fn forward(&self) -> bool {
        self.connection.publisher_state(self.request).is_some_and(|publisher| publisher.forward)
    }

    /// Whether an object at this location would pass the subscriber's filter.
    pub fn wants(&self, location: Location) -> bool {
        self.connection
            .publisher_state(self.request)
            .is_some_and(|publisher| publisher.forward && publisher.passes(location))
    }

    /// Whether all that was ever to pass the subscriber's filter has been published, now that
    /// `group` is the current one.
    pub fn is_past_end(&self, group: u64) -> bool {
        self.connection
            .publisher_state(self.request)
            .and_then(|publisher| publisher.end_group)
            .is_some_and(|end| group > end)
    }

    /// Bytes that wait to be sent to this subscriber.
    pub fn queued(&self) -> usize {
        let connection = &*self.connection;
        connection
            .publisher_state(self.request)
            .and_then(|publisher| connection.streams.schedule.sender(publisher.sender))
            .map_or(0, |sender| sender.queued)
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
    /// than [`Config::coalesce_below`](crate::Config::coalesce_below).
    pub fn object(
        &mut self,
        header: &ObjectHeader,
        payload: Bytes,
    ) -> Result<Written, CommandError> {
        if header.payload_len != payload.len() as u64 {
            return Err(CommandError::WrongState("the payload is not as long as its header says"));
        }
        let written = self.begin_object(header)?;
        if written == Written::Queued && !payload.is_empty() {
            self.push_payload(payload);
        }
        if let Some(subgroup) = self.state() {
            subgroup.payload_left = 0;
        }
        Ok(written)
    }

    /// Queues the header of an object whose payload follows in pieces, through
    /// [`payload`](Self::payload).
    #[inline]
    pub fn begin_object(&mut self, header: &ObjectHeader) -> Result<Written, CommandError> {
        let connection = &mut *self.connection;
        connection.check_room(self.sender, Some(self.stream))?;
        let Some(half) = connection.streams.send_mut(self.stream) else {
            return Err(CommandError::Gone);
        };
        let Some(subgroup) = &mut half.subgroup else { return Err(CommandError::Gone) };
        if half.queue.fin {
            return Err(CommandError::WrongState("the subgroup is finished"));
        }
        if subgroup.payload_left > 0 {
            return Err(CommandError::WrongState("the object before lacks payload"));
        }
        if subgroup.last_object.is_some_and(|last| header.object_id <= last) {
            return Err(CommandError::Encode(EncodeError::OutOfRange("Object ID")));
        }
        let location = Location::new(subgroup.group_id, header.object_id);
        let sender = connection.streams.schedule.sender(self.sender);
        let ages = sender.is_some_and(Sender::ages);
        let request = sender.and_then(|sender| sender.request);
        let wanted = match request.and_then(|request| connection.requests.get_mut(request)) {
            Some(request::Request { body: Body::Publisher(publisher), .. }) => {
                publisher.note(location);
                (publisher.passes(location), publisher.forward)
            }
            _ => return Err(CommandError::Gone),
        };
        let Some(half) = connection.streams.send_mut(self.stream) else {
            return Err(CommandError::Gone);
        };
        let Some(subgroup) = &mut half.subgroup else { return Err(CommandError::Gone) };
        if wanted != (true, true) {
            // Before its start an object is not missed; after it, the subgroup has a hole.
            subgroup.omitted |= wanted.0;
            subgroup.skip(header);
            return Ok(Written::Skipped);
        }
        let block = half.queue.block(OBJECT_HEADER_LEN + header.properties.as_bytes().len());
        let block_len = block.len();
        if let Some(first) = subgroup.header.take() {
            subgroup.subgroup_id = subgroup.subgroup_id.or(Some(header.object_id));
            first.encode(connection.dialect, block)?;
        }
        let encoded = subgroup.writer.object(header, block);
        let grown = block.len() - block_len;
        encoded?;
        subgroup.last_object = Some(header.object_id);
        subgroup.skipping = false;
        subgroup.payload_left = header.payload_len;
        half.queue.grew(grown);
        connection.streams.queued(self.stream, grown);
        if ages {
            connection.streams.object_begun(self.stream, header.payload_len, self.begun);
        }
        Ok(Written::Queued)
    }

    /// Queues payload of the object begun last, as much as is at hand.
    pub fn payload(&mut self, payload: Bytes) -> Result<(), CommandError> {
        self.connection.check_room(self.sender, Some(self.stream))?;
        let Some(subgroup) = self.state() else { return Err(CommandError::Gone) };
        let Some(left) = subgroup.payload_left.checked_sub(payload.len() as u64) else {
            return Err(CommandError::WrongState("more payload than the object's header said"));
        };
        subgroup.payload_left = left;
        if !subgroup.skipping && !payload.is_empty() {
            self.push_payload(payload);
        }
        Ok(())
    }

    /// No object follows. The stream finishes, unless an object was left out: then it is
    /// reset, since a finished stream says that it had them all.
    pub fn finish(self) -> Result<(), CommandError> {
        let Self { connection, stream, sender, begun } = self;
        let Some(half) = connection.streams.send_mut(stream) else {
            return Err(CommandError::Gone);
        };
        let Some(subgroup) = &mut half.subgroup else { return Err(CommandError::Gone) };
        if subgroup.payload_left > 0 {
            return Err(CommandError::WrongState("the last object lacks payload"));
        }
        if subgroup.omitted {
            Subgroup { connection, stream, sender, begun }.reset(StreamResetCode::Cancelled);
            return Ok(());
        }
        if let Some(header) = subgroup.header.take() {
            let block = half.queue.block(OBJECT_HEADER_LEN);
            let before = block.len();
            header.encode(connection.dialect, block)?;
            let grown = block.len() - before;
            half.queue.grew(grown);
            connection.streams.queued(stream, grown);
        }
        connection.streams.finish(stream);
        connection.streams.subgroup_finished(stream);
        Ok(())
    }

    /// Gives the subgroup up: what has not been sent never will be.
    pub fn reset(self, code: StreamResetCode) {
        let Self { connection, stream, sender, .. } = self;
        let code = connection.dialect.reset_code(code);
        connection.streams.reset(stream, code);
        let sender_state = connection.streams.schedule.sender(sender);
        let request = sender_state.and_then(|sender| sender.request);
        if let Some(request) = request {
            connection.data_stream_closed(request, stream);
        }
    }

    fn state(&mut self) -> Option<&mut SubgroupSend> {
        self.connection.streams.send_mut(self.stream)?.subgroup.as_mut()
    }

    fn push_payload(&mut self, payload: Bytes) {
        self.connection.queue_payload(self.stream, payload);
    }
}

impl SubgroupSend {
    /// An object is left out.
    fn skip(&mut self, header: &ObjectHeader) {
        self.last_object = Some(header.object_id);
        self.skipping = true;
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

/// "the Original Publisher MUST NOT mix different forwarding preferences within a single track"
/// (draft-14, "Data Streams and Datagrams").
const MIXED_FORWARDING: &str = "this draft's tracks have either subgroups or datagrams";
