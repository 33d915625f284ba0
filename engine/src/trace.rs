//! What is said on the wire, as events for a log: those of
//! draft-pardue-moq-qlog-moq-events-06, as typed values.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::config::Config;
use crate::key::StreamKey;
use crate::model::{EndOfRange, Location, Message, MessageKind};
use crate::wire::{
    ControlReader, DatagramHeader, Dialect, FetchObject, ObjectHeader, SubgroupHeader,
    decode_message,
};

/// Something that this side has written or read, from
/// [`poll_trace`](crate::MoqtConnection::poll_trace).
///
/// "Created" is what was queued to be sent, which may still be given up; "parsed" is what was
/// read, before anything is made of it, so that also what is refused is told of. What one side
/// has created, the other parses, field by field as the draft spoken writes it: a field that
/// it does not write is empty at both. Payload is not in it, but tokens are.
///
/// The events are those of draft-pardue-moq-qlog-moq-events-06, where [`name`](Self::name) is
/// defined, with two differences. A stream has the name by which this connection knows it.
/// Object IDs are whole; the difference that is on the wire follows from the object before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceEvent {
    /// A control message was queued.
    ControlMessageCreated(TracedMessage),
    /// A control message was read.
    ControlMessageParsed(TracedMessage),
    /// It is known what a stream is for.
    StreamTypeSet {
        /// The stream.
        stream: StreamKey,
        /// Who opened it.
        owner: TraceOwner,
        /// What it is for.
        stream_type: TracedStreamType,
    },
    /// An object was queued to be sent in a datagram.
    ObjectDatagramCreated(TracedDatagram),
    /// An object in a datagram was read.
    ObjectDatagramParsed(TracedDatagram),
    /// The header of a subgroup was queued: with its first object, or when it finishes without
    /// any.
    SubgroupHeaderCreated(TracedSubgroup),
    /// The header of a subgroup was read.
    SubgroupHeaderParsed(TracedSubgroup),
    /// The header of an object of a subgroup was queued.
    SubgroupObjectCreated(TracedObject),
    /// The header of an object of a subgroup was read: when the application reads it.
    SubgroupObjectParsed(TracedObject),
    /// The header of a fetch's stream was queued.
    FetchHeaderCreated(TracedFetch),
    /// The header of a fetch's stream was read.
    FetchHeaderParsed(TracedFetch),
    /// The header of an object of a fetch, or an end of range, was queued.
    FetchObjectCreated(TracedFetchObject),
    /// The header of an object of a fetch, or an end of range, was read: when the application
    /// reads it.
    FetchObjectParsed(TracedFetchObject),
}

impl TraceEvent {
    /// The event's name in the qlog namespace `moqt`, such as `control_message_created`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ControlMessageCreated(_) => "control_message_created",
            Self::ControlMessageParsed(_) => "control_message_parsed",
            Self::StreamTypeSet { .. } => "stream_type_set",
            Self::ObjectDatagramCreated(_) => "object_datagram_created",
            Self::ObjectDatagramParsed(_) => "object_datagram_parsed",
            Self::SubgroupHeaderCreated(_) => "subgroup_header_created",
            Self::SubgroupHeaderParsed(_) => "subgroup_header_parsed",
            Self::SubgroupObjectCreated(_) => "subgroup_object_created",
            Self::SubgroupObjectParsed(_) => "subgroup_object_parsed",
            Self::FetchHeaderCreated(_) => "fetch_header_created",
            Self::FetchHeaderParsed(_) => "fetch_header_parsed",
            Self::FetchObjectCreated(_) => "fetch_object_created",
            Self::FetchObjectParsed(_) => "fetch_object_parsed",
        }
    }

    /// The stream it happened on; `None` for datagrams.
    pub const fn stream(&self) -> Option<StreamKey> {
        match self {
            Self::ControlMessageCreated(message) | Self::ControlMessageParsed(message) => {
                Some(message.stream)
            }
            Self::StreamTypeSet { stream, .. } => Some(*stream),
            Self::ObjectDatagramCreated(_) | Self::ObjectDatagramParsed(_) => None,
            Self::SubgroupHeaderCreated(subgroup) | Self::SubgroupHeaderParsed(subgroup) => {
                Some(subgroup.stream)
            }
            Self::SubgroupObjectCreated(object) | Self::SubgroupObjectParsed(object) => {
                Some(object.stream)
            }
            Self::FetchHeaderCreated(fetch) | Self::FetchHeaderParsed(fetch) => Some(fetch.stream),
            Self::FetchObjectCreated(object) | Self::FetchObjectParsed(object) => {
                Some(object.stream)
            }
        }
    }
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedMessage {
    /// The stream it is on.
    pub stream: StreamKey,
    /// What the draft spoken calls it.
    pub kind: MessageKind,
    /// Bytes after its type and length.
    pub length: usize,
    /// What it says.
    pub message: Message,
}

/// Who opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceOwner {
    /// This side.
    Local,
    /// The peer.
    Remote,
}

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TracedStreamType {
    /// Control messages: of both sides if the stream is bidirectional.
    Control,
    /// One request and what is said about it. The only such requests of draft 16 are
    /// SUBSCRIBE_NAMESPACE.
    Request,
    /// The objects of a subgroup.
    Subgroup,
    /// The objects of a fetch.
    Fetch,
    /// Nothing (draft-18, "Padding Streams").
    Padding,
}

/// An object in a datagram, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedDatagram {
    /// What precedes the payload.
    pub header: DatagramHeader,
    /// Bytes of payload.
    pub payload_len: usize,
}

/// The beginning of a subgroup's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedSubgroup {
    /// The stream.
    pub stream: StreamKey,
    /// What it begins with.
    pub header: SubgroupHeader,
}

/// An object of a subgroup, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedObject {
    /// The subgroup's stream.
    pub stream: StreamKey,
    /// What precedes the payload.
    pub header: ObjectHeader,
}

/// The beginning of a fetch's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedFetch {
    /// The stream.
    pub stream: StreamKey,
    /// The Request ID of the FETCH.
    pub request_id: u64,
}

/// What comes between payloads in a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedFetchObject {
    /// The fetch's stream.
    pub stream: StreamKey,
    /// What is said there.
    pub item: FetchItem,
}

/// What is said between payloads in a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// An object begins.
    Object(FetchObject),
    /// Everything after the object before, up to and with `location`, is absent.
    EndOfRange {
        /// The last location of the range.
        location: Location,
        /// Why nothing is there.
        kind: EndOfRange,
    },
}

/// Collects events until they are polled.
#[derive(Debug)]
pub(crate) struct Tracer {
    is_on: bool,
    limit: usize,
    dialect: &'static Dialect,
    events: VecDeque<TraceEvent>,
    dropped: u64,
}

impl Tracer {
    pub(crate) fn new(config: &Config, dialect: &'static Dialect) -> Self {
        let limit = config.limits.trace_events;
        Self { is_on: config.trace, limit, dialect, events: VecDeque::new(), dropped: 0 }
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Adds an event if there is room for it. Without tracing it is not even made.
    #[inline]
    pub(crate) fn add(&mut self, event: impl FnOnce() -> TraceEvent) {
        if self.is_on {
            self.push(event);
        }
    }

    #[cold]
    #[inline(never)]
    fn push(&mut self, event: impl FnOnce() -> TraceEvent) {
        if self.events.len() < self.limit {
            self.events.push_back(event());
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn stream_type(
        &mut self,
        stream: StreamKey,
        owner: TraceOwner,
        stream_type: TracedStreamType,
    ) {
        self.add(|| TraceEvent::StreamTypeSet { stream, owner, stream_type });
    }

    /// Control messages were queued as these bytes. They are read back, so that the event says
    /// what the peer will read.
    pub(crate) fn messages_created(&mut self, stream: StreamKey, bytes: &[u8]) {
        if !self.is_on {
            return;
        }
        let mut reader = ControlReader::new(self.dialect);
        reader.push(Bytes::copy_from_slice(bytes));
        while let Ok(Some(raw)) = reader.next_raw() {
            let Ok(message) = decode_message(self.dialect, raw.kind, &raw.body) else { return };
            let (kind, length) = (raw.kind, raw.body.len());
            let message = TracedMessage { stream, kind, length, message };
            self.add(|| TraceEvent::ControlMessageCreated(message));
        }
    }

    /// An object of a subgroup was queued, behind the subgroup's header if it is the first.
    #[cold]
    #[inline(never)]
    pub(crate) fn object_created(
        &mut self,
        stream: StreamKey,
        first: Option<SubgroupHeader>,
        header: &ObjectHeader,
    ) {
        if let Some(first) = first {
            self.subgroup_created(stream, first);
        }
        self.add(|| {
            let header = header.clone();
            TraceEvent::SubgroupObjectCreated(TracedObject { stream, header })
        });
    }

    pub(crate) fn subgroup_created(&mut self, stream: StreamKey, header: SubgroupHeader) {
        let header = header.as_written(self.dialect);
        self.add(|| TraceEvent::SubgroupHeaderCreated(TracedSubgroup { stream, header }));
    }

    pub(crate) fn pop(&mut self) -> Option<TraceEvent> {
        self.events.pop_front()
    }

    /// How many events there was no room for.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}
