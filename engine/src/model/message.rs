use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::{
    FullTrackName, GroupOrder, Location, Parameters, PublishDoneCode, RequestErrorCode,
    SetupOptions, TrackNamespace, TrackProperties,
};

/// A control message, whatever draft it travels in.
///
/// Where drafts have a message per kind of answer (SUBSCRIBE_ERROR, PUBLISH_OK, …), these are
/// [`RequestOk`] and [`RequestError`] here. An answer's `request_id` is present on drafts 14
/// and 16, where all share a stream; on draft 18 the stream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented on the type it holds")]
pub enum Message {
    Setup(Setup),
    Goaway(Goaway),
    MaxRequestId(MaxRequestId),
    RequestsBlocked(RequestsBlocked),
    RequestOk(RequestOk),
    RequestError(RequestError),
    Subscribe(Subscribe),
    SubscribeOk(SubscribeOk),
    RequestUpdate(RequestUpdate),
    Unsubscribe(Unsubscribe),
    Publish(Publish),
    PublishDone(PublishDone),
    Fetch(Fetch),
    FetchOk(FetchOk),
    FetchCancel(FetchCancel),
    TrackStatus(TrackStatus),
    PublishNamespace(PublishNamespace),
    PublishNamespaceDone(PublishNamespaceDone),
    PublishNamespaceCancel(PublishNamespaceCancel),
    SubscribeNamespace(SubscribeNamespace),
    UnsubscribeNamespace(UnsubscribeNamespace),
    Namespace(Namespace),
    NamespaceDone(NamespaceDone),
    SubscribeTracks(SubscribeTracks),
    PublishBlocked(PublishBlocked),
}

/// The kinds of request that get an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented on the message of its name")]
pub enum RequestKind {
    Subscribe,
    Publish,
    Fetch,
    TrackStatus,
    PublishNamespace,
    SubscribeNamespace,
    SubscribeTracks,
    Update,
}

/// Every message type of every draft, by the name that draft gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the drafts' own names")]
pub enum MessageKind {
    ClientSetup,
    ServerSetup,
    Setup,
    Goaway,
    MaxRequestId,
    RequestsBlocked,
    RequestOk,
    RequestError,
    Subscribe,
    SubscribeOk,
    SubscribeError,
    RequestUpdate,
    Unsubscribe,
    Publish,
    PublishOk,
    PublishError,
    PublishDone,
    Fetch,
    FetchOk,
    FetchError,
    FetchCancel,
    TrackStatus,
    TrackStatusOk,
    TrackStatusError,
    PublishNamespace,
    PublishNamespaceOk,
    PublishNamespaceError,
    PublishNamespaceDone,
    PublishNamespaceCancel,
    SubscribeNamespace,
    SubscribeNamespaceOk,
    SubscribeNamespaceError,
    UnsubscribeNamespace,
    Namespace,
    NamespaceDone,
    SubscribeTracks,
    PublishBlocked,
}

impl MessageKind {
    /// The message's name as the drafts print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientSetup => "CLIENT_SETUP",
            Self::ServerSetup => "SERVER_SETUP",
            Self::Setup => "SETUP",
            Self::Goaway => "GOAWAY",
            Self::MaxRequestId => "MAX_REQUEST_ID",
            Self::RequestsBlocked => "REQUESTS_BLOCKED",
            Self::RequestOk => "REQUEST_OK",
            Self::RequestError => "REQUEST_ERROR",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubscribeOk => "SUBSCRIBE_OK",
            Self::SubscribeError => "SUBSCRIBE_ERROR",
            Self::RequestUpdate => "REQUEST_UPDATE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Publish => "PUBLISH",
            Self::PublishOk => "PUBLISH_OK",
            Self::PublishError => "PUBLISH_ERROR",
            Self::PublishDone => "PUBLISH_DONE",
            Self::Fetch => "FETCH",
            Self::FetchOk => "FETCH_OK",
            Self::FetchError => "FETCH_ERROR",
            Self::FetchCancel => "FETCH_CANCEL",
            Self::TrackStatus => "TRACK_STATUS",
            Self::TrackStatusOk => "TRACK_STATUS_OK",
            Self::TrackStatusError => "TRACK_STATUS_ERROR",
            Self::PublishNamespace => "PUBLISH_NAMESPACE",
            Self::PublishNamespaceOk => "PUBLISH_NAMESPACE_OK",
            Self::PublishNamespaceError => "PUBLISH_NAMESPACE_ERROR",
            Self::PublishNamespaceDone => "PUBLISH_NAMESPACE_DONE",
            Self::PublishNamespaceCancel => "PUBLISH_NAMESPACE_CANCEL",
            Self::SubscribeNamespace => "SUBSCRIBE_NAMESPACE",
            Self::SubscribeNamespaceOk => "SUBSCRIBE_NAMESPACE_OK",
            Self::SubscribeNamespaceError => "SUBSCRIBE_NAMESPACE_ERROR",
            Self::UnsubscribeNamespace => "UNSUBSCRIBE_NAMESPACE",
            Self::Namespace => "NAMESPACE",
            Self::NamespaceDone => "NAMESPACE_DONE",
            Self::SubscribeTracks => "SUBSCRIBE_TRACKS",
            Self::PublishBlocked => "PUBLISH_BLOCKED",
        }
    }
}

/// Opens a session (draft-18, "SETUP"; CLIENT_SETUP and SERVER_SETUP before draft 18).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Setup {
    /// Draft 14 only: the versions a client offers, or the one a server chose.
    pub versions: Vec<u64>,
    /// What the sender says of itself.
    pub options: SetupOptions,
}

/// Announces that the sender will close the session, or end a request
/// (draft-18, "GOAWAY").
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Goaway {
    /// Where to continue; empty means at the current URI.
    pub new_session_uri: Bytes,
    /// Milliseconds until the sender closes; 0 if it has no specific timeout (draft 18).
    pub timeout: u64,
    /// The smallest Request ID that was not processed (draft 18, on the control stream).
    pub request_id: Option<u64>,
}

/// Raises the number of requests the peer may send (draft-16, "MAX_REQUEST_ID").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxRequestId {
    /// One more than the largest Request ID allowed.
    pub max_request_id: u64,
}

/// Says that the sender has a request it may not send (draft-16, "REQUESTS_BLOCKED").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestsBlocked {
    /// The maximum that blocks it.
    pub max_request_id: u64,
}

/// Accepts a request (draft-18, "REQUEST_OK").
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RequestOk {
    /// The request answered, on drafts that name it.
    pub request_id: Option<u64>,
    /// The kind of request answered. To be set when writing; when reading, present where the
    /// message type tells.
    pub answers: Option<RequestKind>,
    /// Parameters of the answer.
    pub parameters: Parameters,
    /// Properties of the track, when TRACK_STATUS is answered.
    pub track_properties: TrackProperties,
}

/// Refuses a request (draft-18, "REQUEST_ERROR").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// The request answered, on drafts that name it.
    pub request_id: Option<u64>,
    /// The kind of request answered. To be set when writing; when reading, present where the
    /// message type tells.
    pub answers: Option<RequestKind>,
    /// Why.
    pub code: RequestErrorCode,
    /// One more than the milliseconds to wait before trying again; 0 means do not
    /// (drafts 16 and 18).
    pub retry_interval: u64,
    /// Why, for people. At most 1,024 bytes travel.
    pub reason: String,
    /// Where to try instead; with [`RequestErrorCode::Redirect`] only.
    pub redirect: Option<Redirect>,
}

/// Where a request may succeed (draft-18, "Redirect Structure").
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Redirect {
    /// The URI to connect to; empty means the current one.
    pub connect_uri: Bytes,
    /// The track to ask for; empty means the same one.
    pub track: FullTrackName,
}

/// Asks for a track's objects as they are published (draft-18, "SUBSCRIBE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// This request's ID.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// Filter, priority, order, forward state, tokens, timeouts.
    pub parameters: Parameters,
}

/// Accepts a SUBSCRIBE (draft-18, "SUBSCRIBE_OK").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOk {
    /// The request answered, on drafts that name it.
    pub request_id: Option<u64>,
    /// The number that stands for the track on streams and in datagrams.
    pub track_alias: u64,
    /// Largest location, expiry.
    pub parameters: Parameters,
    /// Properties of the track.
    pub track_properties: TrackProperties,
}

/// Changes a request (draft-18, "REQUEST_UPDATE"; SUBSCRIBE_UPDATE in draft 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestUpdate {
    /// This request's own ID.
    pub request_id: u64,
    /// The request to change, on drafts that name it.
    pub existing_request_id: Option<u64>,
    /// What changes. Draft 14 always states filter, priority and forward state.
    pub parameters: Parameters,
}

/// Ends a subscription from the subscriber's side (draft-16, "UNSUBSCRIBE").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The subscription.
    pub request_id: u64,
}

/// Offers a track's objects to the peer (draft-18, "PUBLISH").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// This request's ID.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// The number that stands for the track on streams and in datagrams.
    pub track_alias: u64,
    /// Largest location, forward state, tokens.
    pub parameters: Parameters,
    /// Properties of the track.
    pub track_properties: TrackProperties,
}

/// Ends a subscription from the publisher's side (draft-18, "PUBLISH_DONE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishDone {
    /// The subscription, on drafts that name it.
    pub request_id: Option<u64>,
    /// Why.
    pub code: PublishDoneCode,
    /// How many data streams were opened, or [`PublishDone::UNKNOWN_STREAM_COUNT`].
    pub stream_count: u64,
    /// Why, for people. At most 1,024 bytes travel.
    pub reason: String,
}

impl PublishDone {
    /// The stream count of a publisher that did not count.
    pub const UNKNOWN_STREAM_COUNT: u64 = (1 << 62) - 1;
}

/// Asks for objects of the past (draft-18, "FETCH").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// This request's ID.
    pub request_id: u64,
    /// Which objects.
    pub range: FetchRange,
    /// Priority, group order, tokens.
    pub parameters: Parameters,
}

/// Which objects a FETCH asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchRange {
    /// A range of a named track (0x1).
    Standalone {
        /// The track.
        track: FullTrackName,
        /// First location.
        start: Location,
        /// Last location with its object plus one; object 0 means the entire group.
        end: Location,
    },
    /// What came before a subscription's first object (0x2, 0x3).
    Joining {
        /// The subscription's Request ID.
        request_id: u64,
        /// Where to begin.
        start: JoiningStart,
    },
}

/// Where a joining FETCH begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoiningStart {
    /// This many groups before the subscription's largest (0x2).
    Relative(u64),
    /// At the start of this group (0x3).
    Absolute(u64),
}

/// Accepts a FETCH (draft-18, "FETCH_OK").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOk {
    /// The request answered, on drafts that name it.
    pub request_id: Option<u64>,
    /// Whether the last object of the range is the last of the track.
    pub end_of_track: bool,
    /// Where the response ends, in the form of [`FetchRange::Standalone::end`].
    pub end: Location,
    /// The order groups come in, on the draft that says so here (14).
    pub group_order: Option<GroupOrder>,
    /// Parameters of the answer.
    pub parameters: Parameters,
    /// Properties of the track.
    pub track_properties: TrackProperties,
}

/// Ends a FETCH from the subscriber's side (draft-16, "FETCH_CANCEL").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchCancel {
    /// The fetch.
    pub request_id: u64,
}

/// Asks how far a track has come (draft-18, "TRACK_STATUS").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackStatus {
    /// This request's ID.
    pub request_id: u64,
    /// The track.
    pub track: FullTrackName,
    /// Tokens.
    pub parameters: Parameters,
}

/// Advertises tracks under a namespace (draft-18, "PUBLISH_NAMESPACE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishNamespace {
    /// This request's ID.
    pub request_id: u64,
    /// The namespace.
    pub namespace: TrackNamespace,
    /// Tokens.
    pub parameters: Parameters,
}

/// Withdraws a namespace from the publisher's side (draft-16, "PUBLISH_NAMESPACE_DONE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishNamespaceDone {
    /// Draft 14: by namespace.
    Namespace(TrackNamespace),
    /// Draft 16: by Request ID.
    RequestId(u64),
}

/// Withdraws a namespace from the subscriber's side (draft-16, "PUBLISH_NAMESPACE_CANCEL").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishNamespaceCancel {
    /// Which one: by namespace (draft 14) or Request ID (draft 16).
    pub target: PublishNamespaceDone,
    /// Why.
    pub code: RequestErrorCode,
    /// Why, for people.
    pub reason: String,
}

/// Asks to hear of namespaces under a prefix (draft-18, "SUBSCRIBE_NAMESPACE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeNamespace {
    /// This request's ID.
    pub request_id: u64,
    /// The prefix.
    pub prefix: TrackNamespace,
    /// What to hear of: stated in draft 16, both in draft 14, namespaces in draft 18.
    pub interest: NamespaceInterest,
    /// Tokens; the forward state of resulting PUBLISHes (draft 16).
    pub parameters: Parameters,
}

/// What a SUBSCRIBE_NAMESPACE asks for (draft-16, "Subscribe Options").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum NamespaceInterest {
    /// PUBLISH for each matching track (0x00).
    Tracks,
    /// NAMESPACE for each matching namespace (0x01).
    #[default]
    Namespaces,
    /// Both (0x02).
    Both,
}

/// Ends a SUBSCRIBE_NAMESPACE (draft-14, "UNSUBSCRIBE_NAMESPACE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubscribeNamespace {
    /// The prefix.
    pub prefix: TrackNamespace,
}

/// Tells of a namespace under a subscribed prefix (draft-18, "NAMESPACE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// What follows the prefix.
    pub suffix: TrackNamespace,
}

/// Tells that a namespace is gone (draft-18, "NAMESPACE_DONE").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceDone {
    /// What follows the prefix.
    pub suffix: TrackNamespace,
}

/// Asks for a PUBLISH of each track under a prefix (draft-18, "SUBSCRIBE_TRACKS").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeTracks {
    /// This request's ID.
    pub request_id: u64,
    /// The prefix.
    pub prefix: TrackNamespace,
    /// Tokens, forward state.
    pub parameters: Parameters,
}

/// Tells of a track that could not be offered for want of streams
/// (draft-18, "PUBLISH_BLOCKED").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishBlocked {
    /// The track, its namespace without the subscribed prefix.
    pub track: FullTrackName,
}
