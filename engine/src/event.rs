//! What a connection tells its application.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::key::{RequestKey, StreamKey, UpdateId};
use crate::model::{
    EndOfRange, FullTrackName, GroupOrder, Location, LocationRange, NamespaceInterest, Parameters,
    PublishDoneCode, Redirect, RequestErrorCode, SessionError, Setup, StreamResetCode, SubgroupId,
    TrackNamespace, TrackProperties,
};
use crate::object::MalformedRule;
use crate::wire::{DatagramHeader, FetchObject, ObjectDatagram, ObjectHeader};

use bytes::Bytes;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// The session is set up on both sides (draft-18, "Session initialization").
    Established {
        /// What the peer said of itself.
        setup: Setup,
    },
    /// The peer asks for something: [`accept`](crate::MoqtConnection::accept) or
    /// [`reject`](crate::MoqtConnection::reject) it. A FETCH is accepted with
    /// [`accept_fetch`](crate::MoqtConnection::accept_fetch).
    Request {
        /// The request.
        request: RequestKey,
        /// What it asks for.
        what: IncomingRequest,
    },
    /// The peer accepted a request of ours (draft-18, "REQUEST_OK").
    Accepted {
        /// The request.
        request: RequestKey,
        /// What the peer said with it.
        answer: Answer,
    },
    /// A request of ours failed: the peer refused it (draft-18, "REQUEST_ERROR"), or did not
    /// answer in time. It is over.
    Rejected {
        /// The request.
        request: RequestKey,
        /// Why.
        error: RequestError,
    },
    /// The peer changed a request of its, or a subscription to something published here
    /// (draft-18, "REQUEST_UPDATE"). It has been answered and is in force.
    Updated {
        /// The request.
        request: RequestKey,
        /// What changed; what is absent is as it was.
        parameters: Parameters,
    },
    /// The peer asks to change a request of its, or a subscription to something published
    /// here: [`accept_update`](crate::MoqtConnection::accept_update) or
    /// [`reject_update`](crate::MoqtConnection::reject_update) it. This comes instead of
    /// [`Updated`](Self::Updated) if
    /// [`Config::decide_updates`](crate::Config::decide_updates) says so. On draft 18 one that
    /// comes before its request is answered is told of when it has been accepted.
    UpdateRequested {
        /// The request.
        request: RequestKey,
        /// What is to change; what is absent stays as it is.
        parameters: Parameters,
    },
    /// The peer accepted an update of ours, from [`update`](crate::MoqtConnection::update). No
    /// answer follows if the request ends first.
    UpdateAccepted {
        /// The request.
        request: RequestKey,
        /// The update.
        update: UpdateId,
        /// The largest location, if the peer publishes, and the new expiry if the update
        /// extends a subscription.
        parameters: Parameters,
    },
    /// An update of ours failed, and did or did not take effect. The request goes on if no
    /// answer came in time. If the peer refused it, the end of the request follows, except of a
    /// namespace or namespace subscription on draft 16.
    UpdateRejected {
        /// The request.
        request: RequestKey,
        /// The update. On draft 18, where several may be answered together, it need not be
        /// this one that failed.
        update: UpdateId,
        /// Why.
        error: RequestError,
    },
    /// The subscriber asks for a new group, and the track allows it: begin one as soon as
    /// practical (draft-18, "NEW GROUP REQUEST Parameter").
    NewGroupRequested {
        /// The subscription.
        request: RequestKey,
        /// The largest group that the subscriber knows, plus one; 0 if it knows none.
        value: u64,
    },
    /// The time has passed after which this side said it would end a subscription (draft-18,
    /// "EXPIRES Parameter"). It has ended it.
    Expired {
        /// The subscription.
        request: RequestKey,
    },
    /// A request ended that had no other end (draft-18, "Request Cancellation and Rejection"). It
    /// is over. In most cases the peer withdrew it, or its acceptance of it. Or this side ended
    /// it, which it does to a request that
    /// - was accepted or updated by the application to what turned out to be impossible, and had
    ///   to be refused (INVALID_RANGE and the like),
    /// - was updated by the peer in a way that had to be refused, where a refusal ends it,
    /// - the peer should have ended, after it had refused an update of it, and did not in time,
    /// - was not moved in time after [`goaway_request`](crate::MoqtConnection::goaway_request),
    /// - is a subscription whose subscriber was too slow
    ///   ([`SlowSubscriber::End`](crate::SlowSubscriber::End)), or one that a limit was reached
    ///   in ([`Limits::namespaces_told`](crate::Limits::namespaces_told)).
    Cancelled {
        /// The request.
        request: RequestKey,
        /// Why, as far as it was said: by the peer, or by this side.
        code: StreamResetCode,
        /// What a PUBLISH_NAMESPACE_CANCEL said (drafts 14 and 16).
        error: Option<RequestError>,
    },
    /// The peer has, or knows of, a namespace under a prefix that we asked about (draft-18,
    /// "NAMESPACE"). Draft 14 has [`IncomingRequest::PublishNamespace`] instead.
    Namespace {
        /// The namespace subscription.
        request: RequestKey,
        /// The whole namespace.
        namespace: TrackNamespace,
    },
    /// A namespace told of by [`Namespace`](Self::Namespace) is gone: the peer said so
    /// (draft-18, "NAMESPACE_DONE"), or ended the subscription that it was told of in.
    NamespaceDone {
        /// The namespace subscription.
        request: RequestKey,
        /// The whole namespace.
        namespace: TrackNamespace,
    },
    /// The peer could not offer a track for want of streams (draft-18, "PUBLISH_BLOCKED"). It
    /// will not offer it again; [`subscribe`](crate::MoqtConnection::subscribe) to it instead.
    PublishBlocked {
        /// The namespace subscription.
        request: RequestKey,
        /// The track.
        track: FullTrackName,
    },
    /// The publisher ended a subscription (draft-18, "PUBLISH_DONE"), and everything it sent has
    /// been read. It is over.
    SubscriptionDone {
        /// The request.
        request: RequestKey,
        /// Why.
        code: PublishDoneCode,
        /// Why, for people.
        reason: String,
        /// Streams that the publisher said it opened and that never came, and those that came
        /// while too many were open
        /// ([`Limits::open_subgroups`](crate::Limits::open_subgroups)).
        missing_streams: u64,
    },
    /// The track of a subscription or fetch is malformed: one of its objects broke a rule
    /// (draft-18, "Malformed Tracks"). The request has been cancelled and is over. The
    /// object has not been given out; those before it may be wrong, too, and none of them should
    /// be cached.
    TrackMalformed {
        /// The subscription or fetch.
        request: RequestKey,
        /// The rule.
        rule: MalformedRule,
        /// The object that broke it, or that another one contradicts.
        location: Location,
    },
    /// A subgroup of a subscription begins (draft-18, "Subgroup Header");
    /// [`read`](crate::MoqtConnection::read) it.
    SubgroupOpened {
        /// The subscription.
        request: RequestKey,
        /// The stream to read.
        stream: StreamKey,
        /// Which subgroup it is.
        subgroup: SubgroupInfo,
    },
    /// The objects of a fetch begin to come (draft-18, "Fetch Header"), perhaps before it is
    /// accepted; [`read_fetch`](crate::MoqtConnection::read_fetch) them.
    FetchOpened {
        /// The fetch.
        request: RequestKey,
        /// The stream to read.
        stream: StreamKey,
    },
    /// [`read`](crate::MoqtConnection::read) or
    /// [`read_fetch`](crate::MoqtConnection::read_fetch) will give something again.
    Readable {
        /// The stream.
        stream: StreamKey,
    },
    /// An object came in a datagram (draft-18, "Object Datagram").
    Datagram {
        /// The subscription.
        request: RequestKey,
        /// The object.
        object: ObjectDatagram,
    },
    /// The peer no longer wants a subgroup (draft-18, "Stream Cancellation"). Its stream has been
    /// reset.
    SubgroupStopped {
        /// The subscription.
        request: RequestKey,
        /// The subgroup's stream.
        stream: StreamKey,
        /// Why.
        code: StreamResetCode,
    },
    /// This side gave a subgroup up that it was sending. Its stream has been reset; no other can
    /// be opened for it.
    SubgroupGivenUp {
        /// The subscription.
        request: RequestKey,
        /// The subgroup's stream.
        stream: StreamKey,
        /// Why.
        reason: GiveUpReason,
    },
    /// Writing to a subscription that was [`Blocked`](crate::CommandError::Blocked) is
    /// possible again.
    Writable {
        /// The subscription.
        request: RequestKey,
    },
    /// Opening a request or subgroup that was [`Blocked`](crate::CommandError::Blocked) may be
    /// possible again: there is new request credit, or there are new streams.
    Unblocked,
    /// A datagram was not sent or not delivered, because something was full or it was too
    /// large.
    DatagramDropped {
        /// The subscription, if it is known.
        request: Option<RequestKey>,
        /// What the datagram held.
        header: DatagramHeader,
        /// Why it was dropped.
        reason: DropReason,
    },
    /// The peer is going to close the session (draft-18, "GOAWAY").
    Goaway {
        /// Where to continue; empty means at the current URI.
        new_session_uri: Bytes,
        /// Time until the peer closes; zero if it did not say.
        timeout: Duration,
        /// Requests of ours that the peer says it has not processed, in the order they were
        /// begun (draft 18). It will refuse them; they can be made again elsewhere.
        unprocessed: Vec<RequestKey>,
    },
    /// The peer asks to move one request: make it again, then end this one (draft-18,
    /// "GOAWAY").
    RequestGoaway {
        /// The request, of either side.
        request: RequestKey,
        /// Where to make it; empty means in this session.
        new_session_uri: Bytes,
        /// Time until the peer resets it; zero if it did not say.
        timeout: Duration,
    },
    /// The session is over. Nothing follows.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// What a peer asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncomingRequest {
    /// Objects of a track as they are published (draft-18, "SUBSCRIBE").
    Subscribe {
        /// The track.
        track: FullTrackName,
        /// Filter, priority, order, forward state, tokens.
        parameters: Parameters,
    },
    /// To be allowed to send a track's objects (draft-18, "PUBLISH"). Those that came already are
    /// held.
    Publish {
        /// The track.
        track: FullTrackName,
        /// Largest location, forward state, tokens.
        parameters: Parameters,
        /// Properties of the track.
        track_properties: TrackProperties,
    },
    /// Objects of the past (draft-18, "FETCH"). Answer with
    /// [`accept_fetch`](crate::MoqtConnection::accept_fetch), and send them through
    /// [`fetch_response`](crate::MoqtConnection::fetch_response).
    Fetch {
        /// The track.
        track: FullTrackName,
        /// Which objects, also of a fetch that joins a subscription.
        range: LocationRange,
        /// The subscription it joins, if it does.
        joining: Option<RequestKey>,
        /// Priority, order, tokens.
        parameters: Parameters,
    },
    /// To be told how far a track has come, without getting its objects (draft-18,
    /// "TRACK_STATUS"). Accept it with what a SUBSCRIBE would be accepted with.
    TrackStatus {
        /// The track.
        track: FullTrackName,
        /// Tokens.
        parameters: Parameters,
    },
    /// To be asked for tracks under a namespace (draft-18, "PUBLISH_NAMESPACE").
    PublishNamespace {
        /// The namespace.
        namespace: TrackNamespace,
        /// Tokens.
        parameters: Parameters,
    },
    /// To be told of namespaces or offered tracks under a prefix (draft-18, "SUBSCRIBE_NAMESPACE"
    /// and "SUBSCRIBE_TRACKS"). Its prefix overlaps with no other of the kind. Check that the peer
    /// may do this before accepting.
    ///
    /// Once accepted, [`namespace`](crate::MoqtConnection::namespace) and its like tell of
    /// namespaces, and [`publish`](crate::MoqtConnection::publish) offers tracks.
    SubscribeNamespace {
        /// The prefix; the one of no fields stands for everything.
        prefix: TrackNamespace,
        /// What the peer wants to hear of.
        interest: NamespaceInterest,
        /// Tokens, forward state of the resulting PUBLISHes.
        parameters: Parameters,
    },
}

/// What a peer said when it accepted a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Answer {
    /// Largest location and expiry, or what a subscriber wants of a published track.
    pub parameters: Parameters,
    /// Properties of the track.
    pub track_properties: TrackProperties,
    /// Of a fetch, what will come.
    pub fetch: Option<FetchAnswer>,
}

/// What a publisher said of the objects it sends in answer to a FETCH (draft-18, "FETCH_OK").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FetchAnswer {
    /// The locations covered: as asked for, or less if less has been published.
    pub range: LocationRange,
    /// Whether the last object in the range is the last of the track.
    pub end_of_track: bool,
    /// The order in which groups come.
    pub group_order: GroupOrder,
}

/// Why a request of this side's failed, the same on every draft. What this side refuses a
/// request of the peer's with is a [`Refusal`](crate::Refusal).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RequestError {
    /// Why.
    pub code: RequestErrorCode,
    /// The code as the peer sent it; `None` if the request failed on this side.
    pub raw_code: Option<u64>,
    /// Why, for people. It comes from the peer: escape it before showing it.
    pub reason: String,
    /// When it may be tried again; `None` means that it should not be.
    pub retry_after: Option<Duration>,
    /// Where it may succeed.
    pub redirect: Option<Redirect>,
}

impl core::fmt::Display for RequestError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.code)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason.escape_debug()) }
    }
}

impl core::error::Error for RequestError {}

/// Which subgroup a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SubgroupInfo {
    /// The group.
    pub group_id: u64,
    /// The subgroup.
    pub subgroup_id: SubgroupId,
    /// The publisher's priority, with the track's default applied.
    pub publisher_priority: u8,
    /// If the stream finishes, its last object is the group's last.
    pub end_of_group: bool,
    /// The first object is known to be the subgroup's first.
    pub first_object: bool,
    /// Objects may have properties.
    pub has_properties: bool,
}

/// Why a subgroup was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUpReason {
    /// A delivery timeout passed (draft-18, "Delivery Timeouts and Data Reliability").
    DeliveryTimeout,
    /// The subscription's queue was full, and
    /// [`SlowSubscriber::DropOldestGroup`](crate::SlowSubscriber::DropOldestGroup) says so.
    QueueFull,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// It is larger than the transport takes.
    TooLarge,
    /// Too much waits to be sent, or for its track to be announced.
    QueueFull,
    /// Its track was not announced in time.
    UnknownTrack,
    /// It waited for longer than its delivery timeout. That is told when its turn to be sent
    /// comes; until then it counts as queued
    /// ([`Limits::subscription_send`](crate::Limits::subscription_send)).
    DeliveryTimeout,
}

/// What reading a subgroup gave.
#[must_use = "what was read is not given again"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Read {
    /// An object begins; `payload_len` bytes of payload follow.
    Object(ObjectHeader),
    /// Payload of the object that began last: part of what came in, not a copy.
    Payload(Bytes),
    /// Nothing for now; [`Event::Readable`] will say when to go on.
    Pending,
    /// The subgroup is complete. The stream is gone.
    Finished,
    /// The sender gave the subgroup up; there may be more objects in it. The stream is gone.
    Reset(StreamResetCode),
    /// There is no such stream: it is over, or never was.
    Gone,
}

/// What reading a fetch gave.
#[must_use = "what was read is not given again"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchRead {
    /// An object begins; `payload_len` bytes of payload follow. What is between it and the
    /// object before, in the order of the fetch, does not exist.
    Object(FetchObject),
    /// Payload of the object that began last: part of what came in, not a copy.
    Payload(Bytes),
    /// Everything between the object before, if any, and this location is absent.
    EndOfRange {
        /// The last location of the range.
        location: Location,
        /// Why it is absent.
        kind: EndOfRange,
    },
    /// Nothing for now; [`Event::Readable`] will say when to go on.
    Pending,
    /// The fetch is complete: what was not given does not exist. The stream is gone.
    Finished,
    /// The publisher gave the fetch up; what was not given is unknown. The stream is gone.
    Reset(StreamResetCode),
    /// There is no such stream: it is over, or never was, or its track is malformed, which
    /// [`Event::TrackMalformed`] tells.
    Gone,
}

/// Why a session ended (draft-18, "Termination").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it, on the application's wish or because the peer broke a rule.
    Local {
        /// The error, NO_ERROR if there was none.
        error: SessionError,
        /// What happened.
        reason: String,
    },
    /// The peer closed it.
    Peer {
        /// The error, as this draft understands it.
        error: SessionError,
        /// The code that came.
        code: u64,
        /// The peer's words. Escape them before showing them.
        reason: String,
    },
    /// The transport failed.
    Transport {
        /// What happened.
        reason: String,
    },
}

impl CloseReason {
    /// Whether the session ended without an error.
    pub fn is_clean(&self) -> bool {
        matches!(
            self,
            Self::Local { error: SessionError::NoError, .. }
                | Self::Peer { error: SessionError::NoError, .. }
        )
    }
}

impl core::error::Error for CloseReason {}

impl core::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (who, error, reason) = match self {
            Self::Local { error, reason } => ("closed here", Some(error), reason),
            Self::Peer { error, reason, .. } => ("closed by the peer", Some(error), reason),
            Self::Transport { reason } => ("connection lost", None, reason),
        };
        f.write_str(who)?;
        match error {
            Some(SessionError::NoError) | None => {}
            Some(error) => write!(f, " with {error}")?,
        }
        if reason.is_empty() { Ok(()) } else { write!(f, ": {}", reason.escape_debug()) }
    }
}
