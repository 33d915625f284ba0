//! [`Peer`]: what a shard knows of a session, and what becomes of the session's events.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use moqt_engine::model::{PublishDoneCode, RequestErrorCode, SessionError, TrackNamespace};
use moqt_engine::{Event, Refusal, RequestError, RequestKey, StreamKey, Timestamp};
use thunderdome::Index;

use super::above::Above;
use super::ingest::Incoming;
use super::{Cx, Due, Shard};
use crate::authorize::{Authorize, Verdict};
use crate::connections::{ConnectionId, Connections, PeerInfo, PeerKind};
use crate::interest::Interest;
use crate::routes::Origin;
use crate::track::{Node, TrackId};

/// A session.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) info: PeerInfo,
    /// What each of its requests is for.
    pub(super) requests: BTreeMap<RequestKey, Purpose>,
    /// What each of its data streams carries.
    pub(super) streams: BTreeMap<StreamKey, Incoming>,
    /// The namespaces that it was told are published here.
    pub(super) announced: BTreeMap<TrackNamespace, RequestKey>,
    /// Tracks that could not be asked for, for want of streams or credit.
    pub(super) blocked: Vec<TrackId>,
    /// Until when it may have a session.
    pub(super) expires: Option<Timestamp>,
    /// Until when it may have requests that were not granted for longer.
    pub(super) request_expiry: BTreeSet<(Timestamp, RequestKey)>,
    /// How many requests of its were not authorized.
    pub(super) refusals: u32,
    /// It is a relay: requests of its have come through others.
    pub(super) says_via: bool,
    /// It has said GOAWAY: nothing new is asked of it.
    pub(super) is_leaving: bool,
    /// What it has told of namespaces, if it is a relay upstream.
    pub(super) above: Above,
}

impl Peer {
    /// Whether it is a relay that this one is connected with.
    pub(super) fn is_relay(&self) -> bool {
        self.says_via || self.info.kind != PeerKind::Client
    }
}

/// What a request is for. Where there is an index, there may be nothing under it any more.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A track comes in: a SUBSCRIBE of ours, or a PUBLISH of the peer's.
    Source(TrackId),
    /// A SUBSCRIBE of the peer's that was not answered.
    Waiter(TrackId),
    /// A track goes out, in this slot of its: a SUBSCRIBE of the peer's, or a PUBLISH of ours.
    Sink(TrackId, usize),
    /// A PUBLISH_NAMESPACE of the peer's.
    Namespace(TrackNamespace),
    /// A namespace subscription of the peer's.
    Listener(TrackNamespace),
    /// A PUBLISH_NAMESPACE of ours.
    Announced,
    /// A namespace subscription of ours for this prefix, that asks for this.
    Listening(TrackNamespace, Interest),
    /// A FETCH of the peer's.
    Fetch(Index),
    /// A FETCH of ours.
    Fill(Index),
    /// A TRACK_STATUS of the peer's.
    Query(Index),
    /// A TRACK_STATUS of ours.
    Asked(Index),
}

impl<A: Authorize> Shard<A> {
    pub(super) fn connected<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        info: PeerInfo,
    ) {
        self.stats.sessions_total += 1;
        let mut expires = None;
        if info.kind == PeerKind::Client {
            match self.authorize.session(&info) {
                Verdict::Allow { lasts } => {
                    expires = lasts.map(|lasts| cx.now.saturating_add(lasts));
                }
                Verdict::Deny { code, reason } => {
                    self.stats.unauthorized += 1;
                    let error = session_error(code);
                    cx.connections.with(id, |moqt| moqt.close(error, &reason));
                }
            }
        }
        if let Some(at) = expires {
            self.schedule(at, Due::Peer(id));
        }
        let kind = info.kind;
        let peer = Peer {
            info,
            requests: BTreeMap::new(),
            streams: BTreeMap::new(),
            announced: BTreeMap::new(),
            blocked: Vec::new(),
            expires,
            request_expiry: BTreeSet::new(),
            refusals: 0,
            says_via: false,
            is_leaving: false,
            above: Above::default(),
        };
        self.peers.insert(id, peer);
        self.ask_to_leave(cx, id);
        if kind == PeerKind::Upstream {
            self.greet_upstream(cx, id);
        }
    }

    pub(super) fn peer_due<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: ConnectionId) {
        let expires = self.peers.get(&id).and_then(|peer| peer.expires);
        if expires.is_some_and(|at| at <= cx.now) {
            let reason = "the session's token has expired";
            cx.connections.with(id, |moqt| moqt.close(SessionError::ExpiredAuthToken, reason));
        }
        while let Some(peer) = self.peers.get_mut(&id)
            && let Some(&(at, request)) = peer.request_expiry.first()
            && at <= cx.now
        {
            peer.request_expiry.pop_first();
            if let Some(purpose) = peer.requests.remove(&request) {
                self.revoke(cx, id, request, purpose);
            }
        }
        self.above_due(cx, id);
    }

    pub(super) fn event<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        event: Event,
    ) {
        match event {
            Event::SubgroupOpened { request, stream, subgroup } => {
                self.subgroup_opened(cx, id, request, stream, subgroup);
            }
            Event::Readable { stream } => self.readable(cx, id, stream),
            Event::Datagram { request, object } => self.datagram(cx, id, request, &object),
            Event::Writable { request } => self.writable(cx, id, request),
            Event::Unblocked => self.unblocked(cx, id),
            Event::SubgroupStopped { request, stream, .. }
            | Event::SubgroupGivenUp { request, stream, .. } => {
                self.subgroup_stopped(id, request, stream);
            }
            Event::Request { request, what } => self.request(cx, id, request, what),
            Event::Accepted { request, answer } => match self.purpose(id, request) {
                Some(Purpose::Source(track)) => {
                    self.source_accepted(cx, track, Node::Session(id, request), answer);
                }
                Some(Purpose::Sink(track, slot)) => self.offer_accepted(cx, track, slot),
                Some(Purpose::Fill(fetch)) => self.fill_accepted(cx, fetch, &answer),
                Some(Purpose::Asked(query)) => self.query_answered(cx, query, id, request, &answer),
                _ => {}
            },
            Event::Rejected { request, error } => {
                let Some(purpose) = self.forget_request(id, request) else { return };
                self.ended(cx, id, request, purpose, Ended::Rejected(error));
            }
            Event::Expired { request } | Event::Cancelled { request, .. } => {
                let Some(purpose) = self.forget_request(id, request) else { return };
                self.ended(cx, id, request, purpose, Ended::Cancelled);
            }
            Event::SubscriptionDone { request, code, reason, .. } => {
                let Some(purpose) = self.forget_request(id, request) else { return };
                self.ended(cx, id, request, purpose, Ended::Done(code, reason));
            }
            Event::TrackMalformed { request, .. } => {
                let Some(purpose) = self.forget_request(id, request) else { return };
                self.ended(cx, id, request, purpose, Ended::Malformed);
            }
            Event::Updated { request, parameters } => match self.purpose(id, request) {
                Some(Purpose::Sink(track, slot)) => self.sink_updated(cx, track, slot),
                Some(Purpose::Listener(prefix)) => {
                    self.listener_updated(cx, id, request, &prefix, &parameters);
                }
                _ => {}
            },
            Event::UpdateAccepted { request, parameters, .. } => {
                if let Some(Purpose::Source(track)) = self.purpose(id, request) {
                    self.source_updated(track, Node::Session(id, request), &parameters);
                }
            }
            Event::NewGroupRequested { request, value } => {
                if let Some(Purpose::Sink(track, _)) = self.purpose(id, request) {
                    self.ask_new_group(cx, track, value);
                }
            }
            Event::FetchOpened { request, stream } => self.fill_opened(cx, id, request, stream),
            Event::Namespace { request, namespace } => {
                self.told_of_namespace(cx, id, request, &namespace);
            }
            Event::NamespaceDone { request, namespace } => {
                self.told_of_end(cx, id, request, &namespace);
            }
            Event::Goaway { .. } => self.peer_goes(cx, id),
            Event::RequestGoaway { request, new_session_uri, .. } => {
                self.request_goes(cx, id, request, new_session_uri.is_empty());
            }
            Event::Closed { .. } => self.closed(cx, id),
            // What was dropped and why an update failed changes nothing here: the end of the
            // request follows where there is one.
            _ => {}
        }
    }

    /// What a request is for.
    pub(super) fn purpose(&self, id: ConnectionId, request: RequestKey) -> Option<Purpose> {
        self.peers.get(&id)?.requests.get(&request).cloned()
    }

    pub(super) fn set_purpose(&mut self, id: ConnectionId, request: RequestKey, purpose: Purpose) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.requests.insert(request, purpose);
        }
    }

    pub(super) fn forget_request(
        &mut self,
        id: ConnectionId,
        request: RequestKey,
    ) -> Option<Purpose> {
        let peer = self.peers.get_mut(&id)?;
        // Few requests are granted for a time.
        peer.request_expiry.retain(|(_, other)| *other != request);
        peer.requests.remove(&request)
    }

    /// A request is over.
    fn ended<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: ConnectionId,
        request: RequestKey,
        purpose: Purpose,
        how: Ended,
    ) {
        match purpose {
            Purpose::Source(track) => {
                self.source_ended(cx, track, Node::Session(id, request), how);
            }
            Purpose::Waiter(track) => self.waiter_gone(cx, track, Node::Session(id, request)),
            Purpose::Sink(track, slot) => self.sink_gone(cx, track, slot),
            Purpose::Namespace(namespace) => {
                self.withdraw(cx, &namespace, Origin::Session(id, request));
            }
            Purpose::Listener(prefix) => self.stop_listening(cx, &prefix, id, request),
            Purpose::Listening(prefix, interest) => {
                self.listening_ended(cx, id, request, (prefix, interest), &how);
            }
            Purpose::Fetch(fetch) => self.fetch_cancelled(cx, fetch),
            Purpose::Fill(fetch) => self.fill_failed(cx, fetch, (id, request), how),
            Purpose::Query(query) => self.query_cancelled(cx, query),
            Purpose::Asked(query) => self.query_refused(cx, query, id, request, how),
            Purpose::Announced => {}
        }
    }

    /// The session is over.
    fn closed<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let streams = core::mem::take(&mut peer.streams);
        let requests = core::mem::take(&mut peer.requests);
        for incoming in streams.into_values() {
            self.stream_lost(cx, incoming);
        }
        // Who leaves does not get what others of the same session lose.
        let is_source = |purpose: &Purpose| matches!(purpose, Purpose::Source(_));
        let (sources, others): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|(_, purpose)| is_source(purpose));
        for (request, purpose) in others.into_iter().chain(sources) {
            self.ended(cx, id, request, purpose, Ended::Lost);
        }
        self.above_lost(cx, id);
        self.forget_announced(id);
        let gone = self.peers.remove(&id);
        if gone.is_some_and(|peer| peer.info.kind == PeerKind::Upstream) {
            self.upstream_left();
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// It was refused.
    Rejected(RequestError),
    /// Another shard has refused it.
    Refused(Refusal),
    /// It was withdrawn.
    Cancelled,
    /// The publisher said so.
    Done(PublishDoneCode, alloc::string::String),
    /// The track is malformed.
    Malformed,
    /// The session is over.
    Lost,
}

/// What a session is closed with that may not be had.
pub(super) fn session_error(code: RequestErrorCode) -> SessionError {
    match code {
        RequestErrorCode::MalformedAuthToken => SessionError::MalformedAuthToken,
        RequestErrorCode::ExpiredAuthToken => SessionError::ExpiredAuthToken,
        _ => SessionError::Unauthorized,
    }
}
