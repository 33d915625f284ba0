//! What peers ask for, and whether they may.

use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes};
use moqt_engine::model::{
    AuthToken, Parameters, PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode,
    TrackNamespace,
};
use moqt_engine::{CommandError, IncomingRequest, Refusal, RequestError, RequestKey};

use super::peer::{Ended, Peer, Purpose, session_error};
use super::{Cx, Due, Shard};
use crate::authorize::{Ask, Authorize, Permission, Verdict};
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::routes::Origin;
use crate::track::Node;

/// The type of the token that says which relays a request has come through, so that none asks
/// itself. It is for relays that this one has been told to connect to alone, and to others it
/// means nothing. Drafts 14 and 16 have no larger numbers than this.
const VIA: u64 = 0x2d6f_7174_7669_6100;

/// More relays than this in a row are a mistake.
const MAX_HOPS: usize = 32;

impl<A: Authorize> Shard<A> {
    pub(super) fn request<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        what: IncomingRequest,
    ) {
        self.stats.requests += 1;
        let (permission, namespace, name, parameters) = match &what {
            IncomingRequest::Subscribe { track, parameters } => {
                (Permission::Subscribe, track.namespace(), Some(track.name()), parameters)
            }
            IncomingRequest::Publish { track, parameters, .. } => {
                (Permission::Publish, track.namespace(), Some(track.name()), parameters)
            }
            IncomingRequest::Fetch { track, parameters, .. } => {
                (Permission::Fetch, track.namespace(), Some(track.name()), parameters)
            }
            IncomingRequest::TrackStatus { track, parameters } => {
                (Permission::TrackStatus, track.namespace(), Some(track.name()), parameters)
            }
            IncomingRequest::PublishNamespace { namespace, parameters } => {
                (Permission::PublishNamespace, namespace, None, parameters)
            }
            IncomingRequest::SubscribeNamespace { prefix, parameters, .. } => {
                (Permission::SubscribeNamespace, prefix, None, parameters)
            }
            _ => return self.refuse(cx, id, request, RequestErrorCode::NotSupported, ""),
        };
        let name = name.map(|name| &name[..]);
        if !self.is_allowed(cx, id, request, (permission, namespace, name), parameters) {
            return;
        }
        let Some(via) = self.via(parameters) else {
            let reason = "the request has come through this relay already";
            return self.refuse(cx, id, request, RequestErrorCode::DoesNotExist, reason);
        };
        if !via.is_empty()
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.says_via = true;
        }
        match what {
            IncomingRequest::Subscribe { track, parameters } => {
                self.subscribe(cx, (id, request), track, &parameters, via);
            }
            IncomingRequest::Publish { track, parameters, track_properties } => {
                self.publish(cx, (id, request), &track, &parameters, track_properties, via);
            }
            IncomingRequest::Fetch { track, range, parameters, .. } => {
                self.fetch(cx, (id, request), track, range, &parameters, via);
            }
            IncomingRequest::TrackStatus { track, .. } => {
                self.track_status(cx, (id, request), &track, via);
            }
            IncomingRequest::PublishNamespace { namespace, .. } => {
                self.publish_namespace(cx, (id, request), &namespace, via);
            }
            IncomingRequest::SubscribeNamespace { prefix, interest, .. } => {
                self.subscribe_namespace(cx, (id, request), &prefix, interest);
            }
            _ => {}
        }
    }

    /// Whether a request may be made; if not, it is refused.
    fn is_allowed<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        (what, namespace, name): (Permission, &TrackNamespace, Option<&[u8]>),
        parameters: &Parameters,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        if peer.info.kind != PeerKind::Client {
            return true;
        }
        let tokens: Vec<AuthToken>;
        let is_via = |token: &AuthToken| token.value().is_some_and(|(kind, _)| kind == VIA);
        let tokens = if parameters.authorization_tokens.iter().any(is_via) {
            let all = parameters.authorization_tokens.iter();
            tokens = all.filter(|token| !is_via(token)).cloned().collect();
            &tokens
        } else {
            &parameters.authorization_tokens
        };
        let ask = Ask { name, tokens, ..Ask::new(&peer.info, what, namespace) };
        match self.authorize.request(&ask) {
            Verdict::Allow { lasts } => {
                if let Some(lasts) = lasts {
                    let at = cx.now.saturating_add(lasts);
                    peer.request_expiry.insert((at, request));
                    self.schedule(at, Due::Peer(id));
                }
                true
            }
            Verdict::Deny { code, reason } => {
                self.stats.unauthorized += 1;
                peer.refusals = peer.refusals.saturating_add(1);
                let is_too_much = peer.refusals >= self.config.refusals;
                self.refuse(cx, id, request, code, &reason);
                if is_too_much {
                    let reason = "too many requests that are not authorized";
                    cx.connections.with(id, |moqt| moqt.close(SessionError::Unauthorized, reason));
                }
                false
            }
        }
    }

    pub(super) fn refuse<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        code: RequestErrorCode,
        reason: &str,
    ) {
        self.refuse_with(cx, id, request, Refusal { reason: reason.into(), ..Refusal::new(code) });
    }

    /// Refuses a request with these words, or fewer if the draft has none for them.
    pub(super) fn refuse_with<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        refusal: Refusal,
    ) {
        self.stats.requests_refused += 1;
        self.forget_request(id, request);
        cx.connections.with(id, |moqt| {
            let about_token = matches!(
                refusal.code,
                RequestErrorCode::MalformedAuthToken | RequestErrorCode::ExpiredAuthToken
            );
            // Draft 14 knows few codes for some messages.
            let plain = [RequestErrorCode::Unauthorized, RequestErrorCode::InternalError];
            let plain = plain.into_iter().skip(usize::from(!about_token)).map(Refusal::new);
            for refusal in [refusal].into_iter().chain(plain) {
                match moqt.reject(cx.now, request, refusal) {
                    // A client cannot send a server elsewhere.
                    Err(CommandError::Encode(_) | CommandError::WrongState(_)) => {}
                    // Any other failure means that the session or the request is over.
                    _ => break,
                }
            }
        });
    }

    /// Ends a request that may not be had any longer.
    pub(super) fn revoke<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        purpose: Purpose,
    ) {
        const WHY: &str = "the token that it was granted for has expired";
        self.stats.unauthorized += 1;
        let code = RequestErrorCode::ExpiredAuthToken;
        match purpose {
            Purpose::Waiter(track) => {
                self.refuse(cx, id, request, code, WHY);
                self.waiter_gone(cx, track, Node::Session(id, request));
            }
            Purpose::Sink(track, slot) => {
                if let Some((track, mut io)) = self.outlet(cx, track) {
                    track.drop_sink(&mut io, slot, PublishDoneCode::Unauthorized, WHY);
                }
                self.track_changed(cx, track);
            }
            Purpose::Source(track) => {
                let reset = StreamResetCode::ExpiredAuthToken;
                cx.connections.with(id, |moqt| moqt.cancel(cx.now, request, reset));
                self.source_ended(cx, track, Node::Session(id, request), Ended::Cancelled);
            }
            Purpose::Namespace(namespace) => {
                cx.connections
                    .with(id, |moqt| moqt.cancel_publish_namespace(cx.now, request, code, WHY));
                self.withdraw(cx, &namespace, Origin::Session(id, request));
            }
            Purpose::Listener(prefix) => {
                self.stop_listening(cx, &prefix, id, request);
                let reset = StreamResetCode::ExpiredAuthToken;
                cx.connections.with(id, |moqt| moqt.cancel(cx.now, request, reset));
            }
            Purpose::Fetch(fetch) => self.fetch_over(cx, fetch, StreamResetCode::ExpiredAuthToken),
            Purpose::Query(_)
            | Purpose::Announced
            | Purpose::Listening(..)
            | Purpose::Fill(_)
            | Purpose::Asked(_) => {}
        }
    }

    /// Sessions that may not be had any longer are closed.
    pub(super) fn authorize_again<C: Connections>(&mut self, cx: &mut Cx<'_, C>) {
        let mut expiries = Vec::new();
        for (&id, peer) in &mut self.peers {
            if peer.info.kind != PeerKind::Client {
                continue;
            }
            match self.authorize.session(&peer.info) {
                Verdict::Allow { lasts } => {
                    peer.expires = lasts.map(|lasts| cx.now.saturating_add(lasts));
                    expiries.extend(peer.expires.map(|at| (at, Due::Peer(id))));
                }
                Verdict::Deny { code, reason } => {
                    let error = session_error(code);
                    cx.connections.with(id, |moqt| moqt.close(error, &reason));
                }
            }
        }
        self.timers.extend(expiries);
    }

    /// The relays that a request has come through, or `None` if this is one of them.
    fn via(&self, parameters: &Parameters) -> Option<Vec<u64>> {
        let tokens = parameters.authorization_tokens.iter();
        let mut values = tokens.filter_map(AuthToken::value).filter(|(kind, _)| *kind == VIA);
        let Some((_, value)) = values.next() else { return Some(Vec::new()) };
        let mut value: &[u8] = value;
        let mut via = Vec::new();
        while let Ok(relay) = value.try_get_u64() {
            if relay == self.config.relay_id || via.len() >= MAX_HOPS {
                return None;
            }
            via.push(relay);
        }
        Some(via)
    }

    /// The parameters of a request to a peer: they say which relays it has come through, if the
    /// peer is one that may ask here in turn.
    pub(super) fn onward(&self, id: ConnectionId, via: &[u64]) -> Parameters {
        let mut parameters = Parameters::default();
        if !self.peers.get(&id).is_some_and(Peer::is_relay) {
            return parameters;
        }
        let mut value = Vec::with_capacity(8 * (via.len() + 1));
        for relay in via.iter().copied().chain([self.config.relay_id]) {
            value.put_u64(relay);
        }
        let token = AuthToken::UseValue { token_type: VIA, value: Bytes::from(value) };
        parameters.authorization_tokens.push(token);
        parameters
    }
}

/// What a peer is told of a publisher's refusal: what concerns this relay alone is not the peer's
/// fault. Where else the publisher says that the track is, the peer may look by itself.
pub(super) fn onward_refusal(error: RequestError) -> Refusal {
    let RequestError { code, reason, retry_after, redirect, .. } = error;
    let code = match code {
        RequestErrorCode::Unauthorized
        | RequestErrorCode::MalformedAuthToken
        | RequestErrorCode::ExpiredAuthToken
        | RequestErrorCode::DuplicateSubscription
        | RequestErrorCode::Other(_) => RequestErrorCode::InternalError,
        RequestErrorCode::GoingAway | RequestErrorCode::Uninterested => {
            RequestErrorCode::DoesNotExist
        }
        code => code,
    };
    Refusal { code, reason, retry_after, redirect }
}
