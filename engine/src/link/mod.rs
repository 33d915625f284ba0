//! How requests travel: over one control stream, or each on a stream of its own.
//!
//! The state machines see requests, answers, updates and cancellations; a link says which
//! message on which stream each of them is. This and [`draft`](crate::draft) are the only
//! places where drafts differ in more than data.

mod control_mux;
mod peer_ids;
mod request_streams;

pub(crate) use peer_ids::PeerIds;

use alloc::string::String;

use crate::config::{Dir, Role};
use crate::model::{
    Goaway, Message, MessageKind, NamespaceInterest, PublishDone, RequestErrorCode, RequestKind,
    RequestUpdate, SessionError, Setup, StreamResetCode, TrackNamespace,
};
use crate::wire::Dialect;

/// Which of the two ways a draft uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// One bidirectional control stream that carries all requests (drafts 14 and 16).
    ControlMux,
    /// A unidirectional control stream from each side, and a bidirectional stream per request
    /// (draft 18).
    RequestStreams,
}

/// Where a message came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The peer's control stream.
    Control,
    /// A stream whose first message this is, which [may begin](Link::may_begin_stream) one.
    NewStream,
    /// The stream of a request of ours.
    OurRequest(RequestKind),
    /// The stream of a request of the peer's.
    PeerRequest(RequestKind),
}

/// Which request a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestRef {
    /// The one with this Request ID; its parity tells whose it is.
    Id(u64),
    /// The one whose stream the message came on.
    Stream,
    /// The peer's PUBLISH_NAMESPACE of this namespace.
    PeerNamespace(TrackNamespace),
    /// Our PUBLISH_NAMESPACE of this namespace.
    OurNamespace(TrackNamespace),
    /// The one whose stream the message came on, which must have this Request ID.
    StreamOf(u64),
}

/// What a message is, once it is known how requests travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    Setup(Setup),
    Goaway(Goaway),
    MaxRequestId(u64),
    RequestsBlocked,
    /// A new request.
    Open(Message),
    /// SUBSCRIBE_OK, FETCH_OK, REQUEST_OK or REQUEST_ERROR.
    Answer(RequestRef, Message),
    Update(RequestRef, RequestUpdate),
    Done(RequestRef, PublishDone),
    /// The peer withdrew its request, or its acceptance of ours.
    Cancelled(RequestRef, StreamResetCode),
    /// PUBLISH_NAMESPACE_CANCEL, which says why.
    Revoked(RequestRef, RequestErrorCode, String),
    /// NAMESPACE, NAMESPACE_DONE or PUBLISH_BLOCKED on the stream that asked for it.
    Discovery(Message),
    /// UNSUBSCRIBE_NAMESPACE.
    UnsubscribeNamespace(TrackNamespace),
}

/// Why a session must be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) error: SessionError,
    pub(crate) reason: String,
}

impl Violation {
    pub(crate) fn new(error: SessionError, reason: impl Into<String>) -> Self {
        Self { error, reason: reason.into() }
    }

    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::new(SessionError::ProtocolViolation, reason)
    }
}

impl Link {
    pub(crate) fn of(dialect: &Dialect) -> Self {
        if dialect.answers_by_stream { Self::RequestStreams } else { Self::ControlMux }
    }

    /// The direction of the control stream that this side opens, if it opens one.
    pub(crate) fn own_control_stream(self, role: Role) -> Option<Dir> {
        match (self, role) {
            (Self::ControlMux, Role::Client) => Some(Dir::Bi),
            (Self::ControlMux, Role::Server) => None,
            (Self::RequestStreams, _) => Some(Dir::Uni),
        }
    }

    /// Whether the server's setup message waits for the client's.
    pub(crate) fn server_answers_setup(self) -> bool {
        self == Self::ControlMux
    }

    /// Whether requests need credit from the peer beside a stream.
    pub(crate) fn has_request_credit(self) -> bool {
        self == Self::ControlMux
    }

    /// Whether a request of this kind has a stream of its own.
    pub(crate) fn has_own_stream(self, dialect: &Dialect, kind: RequestKind) -> bool {
        match self {
            Self::RequestStreams => true,
            Self::ControlMux => control_mux::has_own_stream(dialect, kind),
        }
    }

    /// Whether a bidirectional stream that the peer opens with this message is its control
    /// stream.
    pub(crate) fn is_control(self, kind: MessageKind, role: Role) -> bool {
        self == Self::ControlMux && role == Role::Server && kind == MessageKind::ClientSetup
    }

    /// The setup message that an end in this role sends.
    pub(crate) fn setup_of(self, role: Role) -> MessageKind {
        match (self, role) {
            (Self::RequestStreams, _) => MessageKind::Setup,
            (Self::ControlMux, Role::Client) => MessageKind::ClientSetup,
            (Self::ControlMux, Role::Server) => MessageKind::ServerSetup,
        }
    }

    /// Whether the peer may begin a bidirectional stream with this message.
    pub(crate) fn may_begin_stream(self, dialect: &Dialect, kind: MessageKind) -> bool {
        let request = match kind {
            MessageKind::Subscribe => RequestKind::Subscribe,
            MessageKind::Publish => RequestKind::Publish,
            MessageKind::Fetch => RequestKind::Fetch,
            MessageKind::TrackStatus => RequestKind::TrackStatus,
            MessageKind::PublishNamespace => RequestKind::PublishNamespace,
            MessageKind::SubscribeNamespace => RequestKind::SubscribeNamespace,
            MessageKind::SubscribeTracks => RequestKind::SubscribeTracks,
            _ => return false,
        };
        self.has_own_stream(dialect, request)
    }

    /// The request that asks for these, and what it asks for in fact: draft 14 cannot tell
    /// namespaces from tracks, and draft 18 cannot ask for both at once.
    pub(crate) fn namespace_request(
        self,
        dialect: &Dialect,
        interest: NamespaceInterest,
    ) -> Option<(RequestKind, NamespaceInterest)> {
        match (self, interest) {
            (Self::ControlMux, _) if dialect.namespace_options => {
                Some((RequestKind::SubscribeNamespace, interest))
            }
            (Self::ControlMux, _) => {
                Some((RequestKind::SubscribeNamespace, NamespaceInterest::Both))
            }
            (Self::RequestStreams, NamespaceInterest::Namespaces) => {
                Some((RequestKind::SubscribeNamespace, interest))
            }
            (Self::RequestStreams, NamespaceInterest::Tracks) => {
                Some((RequestKind::SubscribeTracks, interest))
            }
            (Self::RequestStreams, NamespaceInterest::Both) => None,
        }
    }

    /// The message that cancels a request, where resetting its stream does not.
    pub(crate) fn cancel_message(
        self,
        dialect: &Dialect,
        cancelled: &control_mux::Cancelled<'_>,
    ) -> Option<Message> {
        match self {
            Self::RequestStreams => None,
            Self::ControlMux => control_mux::cancel_message(dialect, cancelled),
        }
    }

    /// What `message` is.
    pub(crate) fn inbound(
        self,
        dialect: &Dialect,
        source: Source,
        message: Message,
    ) -> Result<Inbound, Violation> {
        match self {
            Self::ControlMux => control_mux::inbound(dialect, source, message),
            Self::RequestStreams => request_streams::inbound(source, message),
        }
    }

    /// How Request IDs of the peer must follow each other.
    pub(crate) fn peer_ids(self, dialect: &Dialect, first: u64) -> PeerIds {
        let may_skip = match self {
            Self::RequestStreams => true,
            // A SUBSCRIBE_NAMESPACE on its own stream can be overtaken by what was sent
            // after it. Its ID is then missing from the sequence for a while, though the text
            // asks for the next in sequence without exception.
            Self::ControlMux => {
                control_mux::has_own_stream(dialect, RequestKind::SubscribeNamespace)
            }
        };
        PeerIds::new(first, may_skip)
    }
}

pub(crate) use control_mux::Cancelled;

/// The message's name, for error texts.
fn name_of(message: &Message) -> &'static str {
    match message {
        Message::Setup(_) => "SETUP",
        Message::Goaway(_) => "GOAWAY",
        Message::MaxRequestId(_) => "MAX_REQUEST_ID",
        Message::RequestsBlocked(_) => "REQUESTS_BLOCKED",
        Message::RequestOk(_) => "REQUEST_OK",
        Message::RequestError(_) => "REQUEST_ERROR",
        Message::Subscribe(_) => "SUBSCRIBE",
        Message::SubscribeOk(_) => "SUBSCRIBE_OK",
        Message::RequestUpdate(_) => "REQUEST_UPDATE",
        Message::Unsubscribe(_) => "UNSUBSCRIBE",
        Message::Publish(_) => "PUBLISH",
        Message::PublishDone(_) => "PUBLISH_DONE",
        Message::Fetch(_) => "FETCH",
        Message::FetchOk(_) => "FETCH_OK",
        Message::FetchCancel(_) => "FETCH_CANCEL",
        Message::TrackStatus(_) => "TRACK_STATUS",
        Message::PublishNamespace(_) => "PUBLISH_NAMESPACE",
        Message::PublishNamespaceDone(_) => "PUBLISH_NAMESPACE_DONE",
        Message::PublishNamespaceCancel(_) => "PUBLISH_NAMESPACE_CANCEL",
        Message::SubscribeNamespace(_) => "SUBSCRIBE_NAMESPACE",
        Message::UnsubscribeNamespace(_) => "UNSUBSCRIBE_NAMESPACE",
        Message::Namespace(_) => "NAMESPACE",
        Message::NamespaceDone(_) => "NAMESPACE_DONE",
        Message::SubscribeTracks(_) => "SUBSCRIBE_TRACKS",
        Message::PublishBlocked(_) => "PUBLISH_BLOCKED",
    }
}
