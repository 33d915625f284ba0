//! TRACK_STATUS: answered from what is known, or by a publisher.

use alloc::vec::Vec;

use moqt_engine::model::{FullTrackName, Location, RequestErrorCode, TrackProperties};
use moqt_engine::{Accept, Answer, Refusal, RequestKey, Timestamp};
use thunderdome::Index;

use super::fill::Asked;
use super::peer::{Ended, Purpose};
use super::requests::onward_refusal;
use super::response::Asker;
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind, ShardId};
use crate::message::What;
use crate::routes::Origin;
use crate::track::{Node, Since, Source, TrackId};

/// A TRACK_STATUS that waits for an answer.
#[derive(Debug)]
pub(super) struct StatusQuery {
    track: TrackId,
    from: Asker,
    /// Those who have been asked and have not answered.
    asked: Vec<(ConnectionId, RequestKey)>,
    asked_shards: Vec<ShardId>,
    /// The relays upstream are among them, or were.
    asks_upstream: bool,
    via: Vec<u64>,
    until: Timestamp,
}

impl StatusQuery {
    pub(super) fn track(&self) -> TrackId {
        self.track
    }

    fn is_waiting(&self) -> bool {
        !self.asked.is_empty() || !self.asked_shards.is_empty()
    }
}

impl<A: Authorize> Shard<A> {
    /// A peer wants to know how far a track has come (draft-18, "TRACK_STATUS").
    pub(super) fn track_status<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        name: &FullTrackName,
        via: Vec<u64>,
    ) {
        self.query_status(cx, Asker::Session(connection, request), name, via);
    }

    /// The same for a peer, or for another shard on behalf of a peer of its.
    pub(super) fn query_status<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        from: Asker,
        name: &FullTrackName,
        via: Vec<u64>,
    ) {
        let Some(track) = self.track(name.clone()) else {
            let reason = "the relay has too many tracks".into();
            let code = RequestErrorCode::ExcessiveLoad;
            return self.refuse_status(cx, from, Refusal { reason, ..Refusal::new(code) });
        };
        if self.is_fed(from, track) && self.is_observed(track) {
            return self.answer_status(cx, from, track);
        }
        let until = cx.now.saturating_add(self.config.fill_timeout);
        let query = self.queries.insert(StatusQuery {
            track,
            from,
            asked: Vec::new(),
            asked_shards: Vec::new(),
            asks_upstream: false,
            via,
            until,
        });
        if let Asker::Session(connection, request) = from {
            self.set_purpose(connection, request, Purpose::Query(query));
        }
        self.schedule(until, Due::Query(query));
        self.ask_publishers(cx, query, name);
        self.ask_on(cx, query, None);
    }

    /// Whether all that is published of a track has come in for a while, so that it is known how
    /// far it has come.
    fn is_observed(&self, id: TrackId) -> bool {
        let is_it = |source: &Source| {
            let gives_all = source.forward && matches!(source.since, Since::After(_));
            source.node.is_local() && source.is_established && gives_all
        };
        self.tracks.get(id).is_some_and(|track| track.sources.iter().any(is_it))
    }

    /// Asks those who publish a track, or its namespace, how far it has come.
    fn ask_publishers<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
        name: &FullTrackName,
    ) {
        let mut sessions: Vec<ConnectionId> = Vec::new();
        let mut shards = self.offered.get(name).cloned().unwrap_or_default();
        let track = self.queries.get(query).and_then(|waiting| self.tracks.get(waiting.track));
        for source in track.into_iter().flat_map(|track| &track.sources) {
            match source.node {
                Node::Session(connection, _) if !sessions.contains(&connection) => {
                    sessions.push(connection);
                }
                Node::Shard(shard, _) if !shards.contains(&shard) => shards.push(shard),
                _ => {}
            }
        }
        for origin in self.routes.publishers(name.namespace()) {
            match origin {
                Origin::Session(connection, _) if !sessions.contains(&connection) => {
                    sessions.push(connection);
                }
                Origin::Shard(shard) if !shards.contains(&shard) => shards.push(shard),
                _ => {}
            }
        }
        self.ask_status(cx, query, sessions, shards);
    }

    /// If nobody is left who might answer, asks the relays upstream, or else refuses.
    fn ask_on<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
        refusal: Option<Refusal>,
    ) {
        let Some(waiting) = self.queries.get_mut(query) else { return };
        if waiting.is_waiting() {
            return;
        }
        if !waiting.asks_upstream {
            waiting.asks_upstream = true;
            let upstream =
                self.peers.iter().filter(|(_, peer)| peer.info.kind == PeerKind::Upstream);
            let upstream = upstream.map(|(id, _)| *id).collect();
            let shards = self.upstream_shards.iter().copied().collect();
            self.ask_status(cx, query, upstream, shards);
        }
        let Some(StatusQuery { from, track, .. }) = self.queries.get(query) else { return };
        let (from, track) = (*from, *track);
        if self.queries.get(query).is_some_and(|waiting| !waiting.is_waiting()) {
            if self.tracks.get(track).is_some_and(|track| self.is_track_moving(track)) {
                // Whoever comes next is asked.
                return self.shorten_query(cx, query);
            }
            if self.is_fed(from, track) {
                // Its publishers do not answer, but it is there.
                self.end_query(cx, query);
                return self.answer_status(cx, from, track);
            }
            let refusal = refusal.unwrap_or_else(|| {
                let reason = "nobody publishes the track".into();
                Refusal { reason, ..Refusal::new(RequestErrorCode::DoesNotExist) }
            });
            self.refuse_query(cx, query, refusal);
        }
    }

    /// A query waits for somebody to ask, no longer than another publisher may take to come.
    fn shorten_query<C>(&mut self, cx: &Cx<'_, C>, query: Index) {
        let takeover = cx.now.saturating_add(self.config.takeover);
        let Some(waiting) = self.queries.get_mut(query).filter(|it| it.until > takeover) else {
            return;
        };
        waiting.until = takeover;
        self.schedule(takeover, Due::Query(query));
    }

    /// Somebody publishes such tracks from now on, or can ask upstream for them: those who wait for
    /// an answer may get it there.
    pub(super) fn ask_status_of<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        publisher: Asked,
        of: impl Fn(&FullTrackName) -> bool,
    ) {
        let is_it = |query: &StatusQuery| {
            let is_asked = match publisher {
                Asked::Session(id) => query.asked.iter().any(|(asked, _)| *asked == id),
                Asked::Shard(shard) => query.asked_shards.contains(&shard),
            };
            !is_asked && self.tracks.get(query.track).is_some_and(|track| of(&track.name))
        };
        let queries = self.queries.iter().filter(|(_, query)| is_it(query)).map(|(id, _)| id);
        for query in queries.collect::<Vec<_>>() {
            match publisher {
                Asked::Session(id) => self.ask_status(cx, query, Vec::from([id]), Vec::new()),
                Asked::Shard(shard) => self.ask_status(cx, query, Vec::new(), Vec::from([shard])),
            }
        }
    }

    fn ask_status<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
        sessions: Vec<ConnectionId>,
        shards: Vec<ShardId>,
    ) {
        let Some(StatusQuery { from, track, via, .. }) = self.queries.get(query) else { return };
        let (from, via) = (*from, via.clone());
        let Some(track) = self.tracks.get(*track) else { return };
        let name = track.name.clone();
        for connection in sessions {
            if matches!(from, Asker::Session(asking, _) if asking == connection) {
                continue;
            }
            let parameters = self.onward(connection, &via);
            let asked = cx
                .connections
                .with(connection, |moqt| moqt.track_status(cx.now, &name, &parameters));
            if let Some(Ok(request)) = asked {
                self.set_purpose(connection, request, Purpose::Asked(query));
                if let Some(waiting) = self.queries.get_mut(query) {
                    waiting.asked.push((connection, request));
                }
            }
        }
        // What is not here is not asked for on behalf of another shard, which asks by itself.
        for shard in shards.into_iter().filter(|_| matches!(from, Asker::Session(..))) {
            self.say(shard, What::Status { name: name.clone(), query, via: via.clone() });
            if let Some(waiting) = self.queries.get_mut(query) {
                waiting.asked_shards.push(shard);
            }
        }
    }

    /// Whether a track has a publisher that is not the one who asks.
    fn is_fed(&self, from: Asker, id: TrackId) -> bool {
        let node = match from {
            Asker::Session(connection, request) => Node::Session(connection, request),
            Asker::Shard(shard, _) => Node::Shard(shard, id),
            Asker::Recovery => return false,
        };
        self.tracks.get(id).is_some_and(|track| track.is_fed(node))
    }

    /// Answers from what is known of a track that has a publisher.
    fn answer_status<C: Connections>(&mut self, cx: &mut Cx<'_, C>, from: Asker, id: TrackId) {
        let Some(track) = self.tracks.get(id) else { return };
        let (largest, properties) = (track.largest, track.properties.clone());
        self.tell_status(cx, from, largest, properties);
    }

    fn tell_status<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        from: Asker,
        largest: Option<Location>,
        properties: TrackProperties,
    ) {
        let (connection, request) = match from {
            Asker::Session(connection, request) => (connection, request),
            Asker::Shard(shard, query) => {
                let answer = Ok((largest, properties));
                return self.say(shard, What::StatusAnswer { query, answer });
            }
            Asker::Recovery => return,
        };
        let mut accept = Accept { track_properties: properties, ..Accept::default() };
        accept.parameters.largest_object = largest;
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
        let (largest, properties) =
            (answer.parameters.largest_object, answer.track_properties.clone());
        self.status_known(cx, query, largest, properties);
    }

    fn status_known<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
        largest: Option<Location>,
        properties: TrackProperties,
    ) {
        if let Some(StatusQuery { track, from, .. }) = self.end_query(cx, query) {
            self.tell_status(cx, from, largest, properties);
            self.track_changed(cx, track);
        }
    }

    /// Another shard has answered.
    pub(super) fn shard_answered<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        shard: ShardId,
        query: Index,
        answer: Result<(Option<Location>, TrackProperties), Refusal>,
    ) {
        match answer {
            Ok((largest, properties)) => self.status_known(cx, query, largest, properties),
            Err(refusal) => {
                let Some(waiting) = self.queries.get_mut(query) else { return };
                waiting.asked_shards.retain(|asked| *asked != shard);
                self.ask_on(cx, query, Some(refusal));
            }
        }
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
        let refusal = match how {
            Ended::Rejected(error) => onward_refusal(error),
            _ => Refusal::new(RequestErrorCode::InternalError),
        };
        self.ask_on(cx, query, Some(refusal));
    }

    fn refuse_query<C: Connections>(&mut self, cx: &mut Cx<'_, C>, query: Index, refusal: Refusal) {
        if let Some(StatusQuery { track, from, .. }) = self.end_query(cx, query) {
            self.refuse_status(cx, from, refusal);
            self.track_changed(cx, track);
        }
    }

    fn refuse_status<C: Connections>(&mut self, cx: &mut Cx<'_, C>, from: Asker, refusal: Refusal) {
        match from {
            Asker::Session(connection, request) => {
                self.refuse_with(cx, connection, request, refusal);
            }
            Asker::Shard(shard, query) => {
                self.say(shard, What::StatusAnswer { query, answer: Err(refusal) });
            }
            Asker::Recovery => {}
        }
    }

    /// Takes a query out, and lets go of those who were asked.
    fn end_query<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        query: Index,
    ) -> Option<StatusQuery> {
        let ended = self.queries.remove(query)?;
        if let Asker::Session(connection, request) = ended.from {
            self.forget_request(connection, request);
        }
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
            let from = self.queries.get(query).map(|waiting| waiting.from);
            if from.is_some_and(|from| self.is_fed(from, id) && self.is_observed(id))
                && let Some(StatusQuery { from, .. }) = self.end_query(cx, query)
            {
                self.answer_status(cx, from, id);
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
        let idle = idle
            .filter(|query| self.queries.get(*query).is_some_and(|waiting| !waiting.is_waiting()));
        for query in idle.collect::<Vec<_>>() {
            self.refuse_query(cx, query, refusal.clone());
        }
    }

    fn queries_of(&self, id: TrackId) -> Vec<Index> {
        let of_track = self.queries.iter().filter(|(_, query)| query.track == id);
        of_track.map(|(query, _)| query).collect()
    }
}
