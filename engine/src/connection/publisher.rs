//! Sending objects.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::room::SlowSubscriber;
use super::{MoqtConnection, SubgroupOptions};
use crate::config::Dir;
use crate::error::{Blocked, CommandError};
use crate::event::DropReason;
use crate::key::{RequestKey, StreamKey};
use crate::model::{Location, ObjectStatus, PublishDoneCode, StreamResetCode, SubgroupId};
use crate::request::{self, AFTER_END, Body, Phase};
use crate::stream::{
    ALWAYS_GATHERED, DataPosition, QueuedDatagram, SendClass, Sender, SubgroupSend,
};
use crate::time::Timestamp;
use crate::trace::{TraceEvent, TraceOwner, TracedDatagram, TracedStreamType};
use crate::wire::{DatagramHeader, Properties, SubgroupHeader, SubgroupWriter};

/// What a datagram's header is to say (draft-18, "Object Datagram").
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

impl DatagramOptions {
    /// An object at this place, of the track's default priority and without properties.
    pub fn new(location: Location) -> Self {
        Self {
            location,
            publisher_priority: None,
            end_of_group: false,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        }
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// PUBLISH of ours. `None` if it is over, or no such thing.
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

    pub(super) fn publisher_state(&self, request: RequestKey) -> Option<&request::Publisher> {
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
    /// nothing at all for now, or no more of the subgroup, or if the subgroup was given up.
    ///
    /// A subgroup has one stream, and another only if that was reset. If one is opened in the
    /// middle of a subgroup (`first_object` is false) after objects of the group were held back
    /// from a subscriber that wanted nothing for a while, it is reset when it is finished, since a
    /// stream that finishes says that it had all objects.
    pub fn open_subgroup(
        &mut self,
        options: SubgroupOptions,
    ) -> Result<Option<StreamKey>, CommandError> {
        let connection = &mut *self.connection;
        let dialect = connection.dialect;
        let publisher = connection
            .publisher_state(self.request)
            .filter(|publisher| publisher.ending.is_none())
            .ok_or(CommandError::Gone)?;
        connection.can_say(options.group_id, "Group ID")?;
        if let SubgroupId::Explicit(id) = options.subgroup_id {
            connection.can_say(id, "Subgroup ID")?;
        }
        if !publisher.passes_group(options.group_id) {
            return Ok(None);
        }
        if !publisher.forward {
            let group = options.group_id;
            if let Some(publisher) = connection.publisher_state_mut(self.request) {
                publisher.withheld = publisher.withheld.max(Some(group));
            }
            return Ok(None);
        }
        if publisher.has_datagrams && !dialect.objects.mixed_forwarding {
            return Err(CommandError::WrongState(MIXED_FORWARDING));
        }
        let subgroup_id = match options.subgroup_id {
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObjectId => None,
        };
        let name = subgroup_id.map(|id| (options.group_id, id));
        if name.is_some_and(|name| publisher.has_given_up(name)) {
            return Ok(None);
        }
        if name.is_some_and(|name| publisher.has_stream(name)) {
            return Err(CommandError::WrongState(HAS_STREAM));
        }
        let omitted = !options.first_object && publisher.withheld >= Some(options.group_id);
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
        connection.trace.stream_type(stream, TraceOwner::Local, TracedStreamType::Subgroup);
        if let Some(half) = connection.streams.send_mut(stream) {
            half.subgroup = Some(SubgroupSend {
                writer: SubgroupWriter::new(dialect, options.has_properties),
                header: Some(header),
                group_id: options.group_id,
                subgroup_id,
                payload_left: 0,
                skipping: false,
                last_object: None,
                omitted,
                has_hole: false,
                end_of_group: options.end_of_group,
                clock: None,
            });
        }
        connection.stats.sent.subgroups += 1;
        if let Some(publisher) = connection.publisher_state_mut(self.request) {
            publisher.stats.subgroups += 1;
            publisher.stream_opened(stream, name);
        }
        Ok(Some(stream))
    }

    /// Sends an object in a datagram (draft-18, "Object Datagram"), or tells why not: datagrams
    /// are never [`Blocked`](CommandError::Blocked).
    pub fn datagram(
        &mut self,
        options: DatagramOptions,
        payload: Bytes,
    ) -> Result<DatagramOutcome, CommandError> {
        let connection = &mut *self.connection;
        let dialect = connection.dialect;
        let remembered = connection.config.limits.remembered_objects;
        // The subscription may have ended for being behind since this was asked for.
        let publisher = connection
            .publisher_state_mut(self.request)
            .filter(|publisher| publisher.ending.is_none())
            .ok_or(CommandError::Gone)?;
        let location = options.location;
        if publisher.is_after_end(location) {
            return Err(CommandError::WrongState(AFTER_END));
        }
        if publisher.opened > 0 && !dialect.objects.mixed_forwarding {
            return Err(CommandError::WrongState(MIXED_FORWARDING));
        }
        let priority = options.publisher_priority.unwrap_or(publisher.default_priority);
        let states_priority = dialect.objects.datagram_type_bits & 0x08 == 0;
        let sender = publisher.sender;
        let header = DatagramHeader {
            track_alias: publisher.alias,
            location,
            publisher_priority: options.publisher_priority.or(states_priority.then_some(priority)),
            end_of_group: options.end_of_group,
            status: options.status,
            properties: options.properties,
        };
        let mut encoded = Vec::with_capacity(32);
        header.encode(dialect, payload.len(), &mut encoded)?;
        publisher.note(location);
        if options.end_of_group {
            publisher.note_end(ObjectStatus::EndOfGroup, location, remembered);
        }
        publisher.note_end(options.status, location, remembered);
        if !publisher.forward || !publisher.passes(location) {
            connection.count_sent(self.request, |sent| sent.objects_skipped += 1);
            return Ok(DatagramOutcome::Skipped);
        }
        publisher.has_datagrams = true;
        let len = encoded.len() + payload.len();
        let dropped = if connection.max_datagram_size.is_none_or(|max| len > max) {
            Some(DropReason::TooLarge)
        } else if connection.check_room(sender, None).is_err() {
            Some(DropReason::QueueFull)
        } else {
            None
        };
        if let Some(reason) = dropped {
            connection.count_sent(self.request, |sent| sent.datagrams_dropped.count(reason));
            return Ok(DatagramOutcome::Dropped(reason));
        }
        connection.trace.add(|| {
            let (header, payload_len) = (header.clone(), payload.len());
            TraceEvent::ObjectDatagramCreated(TracedDatagram { header, payload_len })
        });
        let position = DataPosition {
            publisher_priority: priority,
            group: location.group,
            within: location.object,
        };
        // A few bytes need not keep the buffer alive that they were cut from.
        let payload = if payload.len() < ALWAYS_GATHERED {
            Bytes::copy_from_slice(&payload)
        } else {
            payload
        };
        let datagram = QueuedDatagram {
            request: self.request,
            header,
            encoded_header: encoded.into(),
            payload,
            begun: self.begun,
        };
        connection.streams.data_queued += datagram.charge();
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
    pub fn note_published(&mut self, location: Location) -> Result<(), CommandError> {
        self.connection.can_say(location.group, "Group ID")?;
        self.connection.can_say(location.object, "Object ID")?;
        if let Some(publisher) = self.connection.publisher_state_mut(self.request) {
            publisher.note(location);
            if !publisher.forward && publisher.passes(location) {
                publisher.withheld = publisher.withheld.max(Some(location.group));
            }
        }
        Ok(())
    }

    /// Says what becomes of the subscription if its subscriber takes less than is published.
    pub fn when_slow(&mut self, slow: SlowSubscriber) {
        if let Some(publisher) = self.connection.publisher_state_mut(self.request) {
            publisher.slow = slow;
        }
    }

    /// Ends the subscription (draft-18, "PUBLISH_DONE"). The message is sent when all that was
    /// queued has been; a subgroup that was not finished is reset.
    pub fn done(self, code: PublishDoneCode, reason: &str) {
        let Self { connection, request, .. } = self;
        let publisher = connection.publisher_state_mut(request);
        let Some(publisher) = publisher.filter(|publisher| publisher.ending.is_none()) else {
            return;
        };
        publisher.ending = Some((code, reason.to_string()));
        let open: Vec<StreamKey> = publisher.open.keys().copied().collect();
        for stream in open {
            let unfinished =
                connection.streams.send_mut(stream).is_some_and(|half| !half.queue.fin);
            if unfinished {
                connection.reset_subgroup(request, stream, StreamResetCode::Cancelled);
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

/// Why a subgroup cannot be begun.
pub(super) const HAS_STREAM: &str = "the subgroup has, or had, a stream for all its objects";

/// "the Original Publisher MUST NOT mix different forwarding preferences within a single track"
/// (draft-14, "Data Streams and Datagrams").
const MIXED_FORWARDING: &str = "this draft's tracks have either subgroups or datagrams";
