//! TRACK_STATUS: answered from what is known, or by a publisher.

use alloc::vec::Vec;

use moqt_engine::model::{FullTrackName, RequestErrorCode};
use moqt_engine::{Accept, Answer, Refusal, RequestKey, Timestamp};
use thunderdome::Index;

use super::peer::{Ended, Purpose};
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::routes::Origin;
use crate::track::TrackId;

/// A TRACK_STATUS that waits for an answer.
#[derive(Debug)]
pub(super) struct StatusQuery {
    track: TrackId,
    /// Who asks.
    from: (ConnectionId, RequestKey),
    /// Those who have been asked and have not answered.
    asked: Vec<(ConnectionId, RequestKey)>,
    until: Timestamp,
}

impl StatusQuery {
    pub(super) fn track(&self) -> TrackId {
        self.track
    }
}

impl<A: Authorize> Shard<A> {
    /// A peer wants to know how far a track has come (draft-18, "TRACK_STATUS").
    pub(super) fn track_status<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        name: &FullTrackName,
        via: &[u64],
    ) {
        let Some(id) = self.track(name.clone()) else {
            let reason = "the relay has too many tracks";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        };
        if self.tracks.get(id).is_some_and(crate::track::Track::has_established_source) {
            return self.answer_status(cx, connection, request, id);
        }
        let mut to: Vec<ConnectionId> = Vec::new();
        for origin in self.routes.publishers(name.namespace()) {
            if let Origin::Session(connection, _) = origin
                && !to.contains(&connection)
            {
                to.push(connection);
            }
        }
        if to.is_empty() {
            let upstream = self.peers.iter();
            let upstream = upstream.filter(|(_, peer)| peer.info.kind == PeerKind::Upstream);
            to.extend(upstream.map(|(id, _)| *id));
        }
        let mut asked = Vec::new();
        for publisher in to.into_iter().filter(|to| *to != connection) {
            let parameters = self.onward(publisher, via);
            let status =
                cx.connections.with(publisher, |moqt| moqt.track_status(cx.now, name, &parameters));
            if let Some(Ok(status)) = status {
                asked.push((publisher, status));
            }
        }
        if asked.is_empty() {
            let reason = "nobody publishes the track";
            self.refuse(cx, connection, request, RequestErrorCode::DoesNotExist, reason);
            return self.track_changed(cx, id);
        }
        let until = cx.now.saturating_add(self.config.fill_timeout);
        let query =
            StatusQuery { track: id, from: (connection, request), asked: asked.clone(), until };
        let query = self.queries.insert(query);
        self.set_purpose(connection, request, Purpose::Query(query));
        for (connection, request) in asked {
            self.set_purpose(connection, request, Purpose::Asked(query));
        }
        self.schedule(until, Due::Query(query));
    }

    /// Answers from what is known of a track that has a publisher.
    fn answer_status<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        id: TrackId,
    ) {
        let Some(track) = self.tracks.get(id) else { return };
        let accept = track.accept();
        self.forget_request(connection, request);
        let accepted = cx.connections.with(connection, |moqt| moqt.accept(cx.now, request, accept));
        if matches!(accepted, Some(Err(_))) {
            let reason = "the track cannot be told of in this session";
            self.refuse(cx, connection, request, RequestErrorCode::InternalError, reason);
        }
    }

    /// A publisher has answered.
    pub(super) fn query_answered<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
        publisher: ConnectionId,
        request: RequestKey,
        answer: &Answer,
    ) {
        self.forget_request(publisher, request);
        let Some(StatusQuery { track, from: (connection, request), .. }) =
            self.end_query(cx, query)
        else {
            return;
        };
        let mut accept =
            Accept { track_properties: answer.track_properties.clone(), ..Accept::default() };
        accept.parameters.largest_object = answer.parameters.largest_object;
        cx.connections.with(connection, |moqt| moqt.accept(cx.now, request, accept));
        self.track_changed(cx, track);
    }

    /// A publisher has refused.
    pub(super) fn query_refused<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
        publisher: ConnectionId,
        request: RequestKey,
        how: Ended,
    ) {
        let Some(waiting) = self.queries.get_mut(query) else { return };
        waiting.asked.retain(|asked| *asked != (publisher, request));
        if !waiting.asked.is_empty() {
            return;
        }
        let refusal = match how {
            Ended::Rejected(error) => {
                Refusal { reason: error.reason, ..Refusal::new(RequestErrorCode::DoesNotExist) }
            }
            _ => Refusal::new(RequestErrorCode::InternalError),
        };
        self.refuse_query(cx, query, refusal);
    }

    fn refuse_query<C: Connections>(&mut self, cx: &mut Cx<'_, C>, query: Index, refusal: Refusal) {
        let Some(StatusQuery { track, from: (connection, request), .. }) =
            self.end_query(cx, query)
        else {
            return;
        };
        self.refuse_with(cx, connection, request, refusal);
        self.track_changed(cx, track);
    }

    /// Takes a query out, and lets go of those who were asked.
    fn end_query<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
    ) -> Option<StatusQuery> {
        let ended = self.queries.remove(query)?;
        let (connection, request) = ended.from;
        self.forget_request(connection, request);
        for &(connection, request) in &ended.asked {
            if self.forget_request(connection, request).is_some() {
                let code = moqt_engine::model::StreamResetCode::Cancelled;
                cx.connections.with(connection, |moqt| moqt.cancel(cx.now, request, code));
            }
        }
        Some(ended)
    }

    /// Who asked has gone.
    pub(super) fn query_cancelled<C: Connections>(&mut self, cx: &mut Cx<'_, C>, query: Index) {
        if let Some(ended) = self.end_query(cx, query) {
            self.track_changed(cx, ended.track);
        }
    }

    pub(super) fn query_due<C: Connections>(&mut self, cx: &mut Cx<'_, C>, query: Index) {
        if self.queries.get(query).is_some_and(|waiting| waiting.until <= cx.now) {
            let reason = "no publisher answered in time".into();
            let refusal = Refusal { reason, ..Refusal::new(RequestErrorCode::Timeout) };
            self.refuse_query(cx, query, refusal);
        }
    }

    /// A track has a publisher now, which answers those who asked about it.
    pub(super) fn resume_queries<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        for query in self.queries_of(id) {
            if let Some(StatusQuery { from: (connection, request), .. }) = self.end_query(cx, query)
            {
                self.answer_status(cx, connection, request, id);
            }
        }
    }

    /// Nobody publishes a track.
    pub(super) fn refuse_queries<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        refusal: &Refusal,
    ) {
        let idle = self.queries_of(id).into_iter();
        let idle = idle.filter(|query| {
            self.queries.get(*query).is_some_and(|waiting| waiting.asked.is_empty())
        });
        for query in idle.collect::<Vec<_>>() {
            self.refuse_query(cx, query, refusal.clone());
        }
    }

    fn queries_of(&self, id: TrackId) -> Vec<Index> {
        let of_track = self.queries.iter().filter(|(_, query)| query.track == id);
        of_track.map(|(query, _)| query).collect()
    }
}
