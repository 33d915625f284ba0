//! Publishing namespaces (draft-18, "Publishing Namespaces"), and those that are reserved.

use alloc::string::String;

use super::MoqtConnection;
use super::requests::PendingAnswer;
use crate::error::CommandError;
use crate::event::{Event, IncomingRequest, RequestError};
use crate::key::RequestKey;
use crate::link::Violation;
use crate::model::{
    FetchRange, Message, Parameters, PublishNamespace, RequestErrorCode, RequestKind,
    StreamResetCode, TrackNamespace,
};
use crate::request::{Body, Phase};
use crate::time::Timestamp;

impl MoqtConnection {
    /// Advertises a namespace (draft-18, "PUBLISH_NAMESPACE"). [`Event::Accepted`] or
    /// [`Event::Rejected`] tells how it went; [`cancel`](Self::cancel) withdraws it, and
    /// [`Event::Cancelled`] tells that the peer revoked its acceptance.
    ///
    /// Draft 14 withdraws a namespace by its name; it can be advertised once at a time there.
    pub fn publish_namespace(
        &mut self,
        now: Timestamp,
        namespace: &TrackNamespace,
        parameters: &Parameters,
    ) -> Result<RequestKey, CommandError> {
        if self.dialect.namespace_done_by_name && self.requests.namespace(namespace, true).is_some()
        {
            return Err(CommandError::WrongState("the namespace is published already"));
        }
        let message = |request_id| {
            Message::PublishNamespace(PublishNamespace {
                request_id,
                namespace: namespace.clone(),
                parameters: parameters.clone(),
            })
        };
        let body = Body::Namespace(namespace.clone());
        self.begin_request(now, RequestKind::PublishNamespace, message, body)
    }

    /// Revokes the acceptance of a PUBLISH_NAMESPACE of the peer's, and says why: in
    /// PUBLISH_NAMESPACE_CANCEL, or in draft 18 as far as a reset code can.
    pub fn cancel_publish_namespace(
        &mut self,
        now: Timestamp,
        request: RequestKey,
        code: RequestErrorCode,
        reason: &str,
    ) -> Result<(), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let found = self.requests.get(request).ok_or(CommandError::Gone)?;
        if found.ours || !matches!(found.body, Body::Namespace(_)) {
            return Err(CommandError::WrongState("not a PUBLISH_NAMESPACE of the peer's"));
        }
        if found.phase == Phase::Pending {
            return Err(CommandError::WrongState("reject a request that was not answered"));
        }
        let kind = RequestKind::PublishNamespace;
        self.can_say(self.dialect.request_error_code(kind, code), "Error Code")?;
        let reset = match code {
            RequestErrorCode::InternalError => StreamResetCode::InternalError,
            RequestErrorCode::GoingAway => StreamResetCode::GoingAway,
            RequestErrorCode::ExcessiveLoad => StreamResetCode::ExcessiveLoad,
            RequestErrorCode::ExpiredAuthToken => StreamResetCode::ExpiredAuthToken,
            _ => StreamResetCode::Cancelled,
        };
        self.withdraw_saying(now, request, reset, Some((code, reason)));
        Ok(())
    }

    pub(super) fn on_publish_namespace(
        &mut self,
        answer_to: PendingAnswer,
        publish: PublishNamespace,
    ) {
        let PublishNamespace { request_id: _, namespace, parameters } = publish;
        let request = self.register(answer_to, Body::Namespace(namespace.clone()));
        let what = IncomingRequest::PublishNamespace { namespace, parameters };
        self.events.push_back(Event::Request { request, what });
    }

    /// PUBLISH_NAMESPACE_CANCEL.
    pub(super) fn on_namespace_cancel(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        code: RequestErrorCode,
        reason: String,
    ) -> Result<(), Violation> {
        let Some(request) = self.requests.get(key) else { return Ok(()) };
        if !request.ours || !matches!(request.body, Body::Namespace(_)) {
            let reason = "PUBLISH_NAMESPACE_CANCEL of another kind of request";
            return Err(Violation::protocol(reason));
        }
        if self.dialect.namespace_done_by_name && request.phase == Phase::Pending {
            // Only what was accepted is revoked: that was another request for the namespace,
            // whose withdrawal has crossed with this.
            return Ok(());
        }
        let kind = RequestKind::PublishNamespace;
        let raw_code = Some(self.dialect.request_error_code(kind, code));
        let error = RequestError { code, raw_code, reason, retry_after: None, redirect: None };
        self.release(now, key);
        let code = StreamResetCode::Cancelled;
        self.events.push_back(Event::Cancelled { request: key, code, error: Some(error) });
        Ok(())
    }

    /// Whether a request is for what no endpoint may have, or for what is the session's own and
    /// of which this one has nothing (draft-18, "Reserved Namespaces" and "Session-Level Tracks
    /// and Namespaces"). Other reserved namespaces are the application's to judge.
    pub(super) fn is_unserved(&self, request: &Message) -> bool {
        namespace_of(request).is_some_and(|namespace| self.is_unserved_namespace(namespace))
    }

    pub(super) fn is_unserved_namespace(&self, namespace: &TrackNamespace) -> bool {
        self.dialect.reserved_namespaces && (is_nobodys(namespace) || is_sessions(namespace))
    }

    /// Whether this side may make a request.
    pub(super) fn check_reserved(&self, request: &Message) -> Result<(), CommandError> {
        let Some(namespace) = namespace_of(request) else { return Ok(()) };
        match request {
            Message::Publish(_) | Message::PublishNamespace(_) => self.may_publish_under(namespace),
            _ => self.may_ask_under(namespace),
        }
    }

    pub(super) fn may_ask_under(&self, namespace: &TrackNamespace) -> Result<(), CommandError> {
        let is_reserved = self.dialect.reserved_namespaces && is_nobodys(namespace);
        if is_reserved { Err(RESERVED) } else { Ok(()) }
    }

    pub(super) fn may_publish_under(&self, namespace: &TrackNamespace) -> Result<(), CommandError> {
        if self.is_unserved_namespace(namespace) { Err(RESERVED) } else { Ok(()) }
    }
}

const RESERVED: CommandError = CommandError::WrongState("a reserved namespace");

/// The namespace or prefix that a request is about, if it states one.
fn namespace_of(request: &Message) -> Option<&TrackNamespace> {
    Some(match request {
        Message::Subscribe(subscribe) => subscribe.track.namespace(),
        Message::Publish(publish) => publish.track.namespace(),
        Message::TrackStatus(status) => status.track.namespace(),
        Message::Fetch(fetch) => match &fetch.range {
            FetchRange::Standalone { track, .. } => track.namespace(),
            FetchRange::Joining { .. } => return None,
        },
        Message::PublishNamespace(publish) => &publish.namespace,
        Message::SubscribeNamespace(subscribe) => &subscribe.prefix,
        Message::SubscribeTracks(subscribe) => &subscribe.prefix,
        _ => return None,
    })
}

/// "MUST NOT be used for any purpose".
fn is_nobodys(namespace: &TrackNamespace) -> bool {
    namespace.field(0) == Some(b".")
}

fn is_sessions(namespace: &TrackNamespace) -> bool {
    namespace.field(0) == Some(b".session")
}
