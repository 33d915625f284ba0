//! Drafts 14 and 16: requests, answers and cancellations share the control stream, told apart
//! by Request ID. In draft 16 SUBSCRIBE_NAMESPACE has a stream of its own.

use alloc::format;
use alloc::string::ToString;

use super::{Inbound, RequestRef, Source, Violation};
use crate::model::{
    FetchCancel, Message, MessageKind, PublishNamespaceCancel, PublishNamespaceDone,
    RequestErrorCode, RequestKind, StreamResetCode, TrackNamespace, Unsubscribe,
    UnsubscribeNamespace,
};
use crate::wire::Dialect;

/// A request about to be cancelled.
#[derive(Debug)]
pub(crate) struct Cancelled<'a> {
    pub(crate) id: u64,
    pub(crate) kind: RequestKind,
    /// Whether the request is ours.
    pub(crate) ours: bool,
    /// Of a namespace request: its namespace or prefix.
    pub(crate) namespace: Option<&'a TrackNamespace>,
    /// Why, if acceptance of a PUBLISH_NAMESPACE is revoked.
    pub(crate) why: Option<(RequestErrorCode, &'a str)>,
}

/// In draft 16, where namespaces are told of on the stream that asked for them.
pub(super) fn has_own_stream(dialect: &Dialect, kind: RequestKind) -> bool {
    kind == RequestKind::SubscribeNamespace
        && dialect.message_code(MessageKind::Namespace).is_some()
}

pub(super) fn cancel_message(dialect: &Dialect, cancelled: &Cancelled<'_>) -> Option<Message> {
    let request_id = cancelled.id;
    let target = || match cancelled.namespace {
        Some(namespace) if dialect.namespace_done_by_name => {
            PublishNamespaceDone::Namespace(namespace.clone())
        }
        _ => PublishNamespaceDone::RequestId(request_id),
    };
    match (cancelled.kind, cancelled.ours) {
        (RequestKind::Subscribe, true) | (RequestKind::Publish, false) => {
            Some(Message::Unsubscribe(Unsubscribe { request_id }))
        }
        (RequestKind::Fetch, true) => Some(Message::FetchCancel(FetchCancel { request_id })),
        (RequestKind::PublishNamespace, true) => Some(Message::PublishNamespaceDone(target())),
        (RequestKind::PublishNamespace, false) => {
            let (code, reason) = cancelled.why.unwrap_or((RequestErrorCode::Uninterested, ""));
            Some(Message::PublishNamespaceCancel(PublishNamespaceCancel {
                target: target(),
                code,
                reason: reason.to_string(),
            }))
        }
        (RequestKind::SubscribeNamespace, true) if !has_own_stream(dialect, cancelled.kind) => {
            let unsubscribe =
                |prefix: &TrackNamespace| UnsubscribeNamespace { prefix: prefix.clone() };
            cancelled.namespace.map(unsubscribe).map(Message::UnsubscribeNamespace)
        }
        _ => None,
    }
}

pub(super) fn inbound(
    dialect: &Dialect,
    source: Source,
    message: Message,
) -> Result<Inbound, Violation> {
    match source {
        Source::Control => on_control(dialect, message),
        // Its type is one that may begin a stream.
        Source::NewStream => Ok(Inbound::Open(message)),
        Source::OurRequest(_) => match message {
            Message::RequestOk(ref ok) => {
                Ok(Inbound::Answer(RequestRef::StreamOf(answered(ok.request_id)?), message))
            }
            Message::RequestError(ref error) => {
                Ok(Inbound::Answer(RequestRef::StreamOf(answered(error.request_id)?), message))
            }
            Message::Namespace(_) | Message::NamespaceDone(_) => Ok(Inbound::Discovery(message)),
            _ => Err(misplaced("a namespace subscription's stream", &message)),
        },
        Source::PeerRequest(_) => Err(misplaced("a namespace subscription's stream", &message)),
    }
}

fn on_control(dialect: &Dialect, message: Message) -> Result<Inbound, Violation> {
    let by_id = |id: Option<u64>| answered(id).map(RequestRef::Id);
    Ok(match message {
        Message::Setup(setup) => Inbound::Setup(setup),
        Message::Goaway(goaway) => Inbound::Goaway(goaway),
        Message::MaxRequestId(max) => Inbound::MaxRequestId(max.max_request_id),
        Message::RequestsBlocked(_) => Inbound::RequestsBlocked,
        Message::SubscribeNamespace(_)
            if has_own_stream(dialect, RequestKind::SubscribeNamespace) =>
        {
            return Err(misplaced("the control stream", &message));
        }
        Message::Subscribe(_)
        | Message::Publish(_)
        | Message::Fetch(_)
        | Message::TrackStatus(_)
        | Message::PublishNamespace(_)
        | Message::SubscribeNamespace(_) => Inbound::Open(message),
        Message::RequestOk(ref ok) => Inbound::Answer(by_id(ok.request_id)?, message),
        Message::RequestError(ref error) => Inbound::Answer(by_id(error.request_id)?, message),
        Message::SubscribeOk(ref ok) => Inbound::Answer(by_id(ok.request_id)?, message),
        Message::FetchOk(ref ok) => Inbound::Answer(by_id(ok.request_id)?, message),
        Message::RequestUpdate(update) => {
            Inbound::Update(by_id(update.existing_request_id)?, update)
        }
        Message::PublishDone(done) => Inbound::Done(by_id(done.request_id)?, done),
        Message::Unsubscribe(unsubscribe) => {
            Inbound::Cancelled(RequestRef::Id(unsubscribe.request_id), StreamResetCode::Cancelled)
        }
        Message::FetchCancel(cancel) => {
            Inbound::Cancelled(RequestRef::Id(cancel.request_id), StreamResetCode::Cancelled)
        }
        Message::PublishNamespaceDone(target) => Inbound::Cancelled(
            match target {
                PublishNamespaceDone::RequestId(id) => RequestRef::Id(id),
                PublishNamespaceDone::Namespace(namespace) => RequestRef::PeerNamespace(namespace),
            },
            StreamResetCode::Cancelled,
        ),
        Message::PublishNamespaceCancel(cancel) => Inbound::Revoked(
            match cancel.target {
                PublishNamespaceDone::RequestId(id) => RequestRef::Id(id),
                PublishNamespaceDone::Namespace(namespace) => RequestRef::OurNamespace(namespace),
            },
            cancel.code,
            cancel.reason,
        ),
        Message::UnsubscribeNamespace(unsubscribe) => {
            Inbound::UnsubscribeNamespace(unsubscribe.prefix)
        }
        Message::Namespace(_)
        | Message::NamespaceDone(_)
        | Message::SubscribeTracks(_)
        | Message::PublishBlocked(_) => return Err(misplaced("the control stream", &message)),
    })
}

fn answered(request_id: Option<u64>) -> Result<u64, Violation> {
    request_id.ok_or_else(|| Violation::protocol("an answer without a Request ID"))
}

fn misplaced(place: &str, message: &Message) -> Violation {
    Violation::protocol(format!("{} on {place}", super::name_of(message)))
}
