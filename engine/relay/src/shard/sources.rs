//! Where tracks come from: publishers that are asked, and what they answer.

use alloc::string::ToString;
use alloc::vec::Vec;

use moqt_engine::model::{
    FullTrackName, Parameters, PublishDoneCode, RequestErrorCode, StreamResetCode, TrackProperties,
};
use moqt_engine::{Answer, CommandError, Refusal};

use super::peer::{Ended, Peer, Purpose};
use super::requests::onward_refusal;
use super::{Action, Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::message::{Message, What};
use crate::routes::Origin;
use crate::track::{Node, Since, Source, Track, TrackId, Waiter};

impl<A: Authorize> Shard<A> {
    /// Asks everybody for a track who publishes it and was not asked (draft-18, "Publisher
    /// Interactions"): those who publish its namespace, or else the relays upstream.
    pub(super) fn seek<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Some(track) = self.tracks.get(id) else { return };
        let name = track.name.clone();
        let mut sessions: Vec<ConnectionId> = Vec::new();
        for origin in self.routes.publishers(name.namespace()) {
            if let Origin::Session(connection, _) = origin {
                sessions.push(connection);
            }
        }
        sessions.dedup();
        let is_available =
            |id: &ConnectionId| self.peers.get(id).is_some_and(|peer| !peer.is_leaving);
        sessions.retain(is_available);
        // What another shard has is not given on to a third.
        let is_elsewhere =
            track.waiters.iter().all(|waiter| waiter.node.is_local()) && self.is_in_shards(&name);
        if sessions.is_empty() && self.lacks_source(track) && !is_elsewhere {
            let upstream = self
                .peers
                .iter()
                .filter(|(_, peer)| peer.info.kind == PeerKind::Upstream && !peer.is_leaving);
            sessions.extend(upstream.map(|(id, _)| *id));
            let is_unknown = sessions.is_empty() && self.upstream_shards.is_empty();
            if is_unknown && self.uses_directory && track.sources.is_empty() {
                let namespace = name.namespace().clone();
                self.actions.push_back(Action::FindOrigin { namespace });
            }
        }
        for connection in sessions {
            self.subscribe_for(cx, id, connection);
        }
        let via = self.tracks.get(id).map(|track| way(track, Node::is_local));
        self.seek_in_shards(id, &name, &via.flatten().unwrap_or_default());
    }

    /// Asks one connection for a track, if somebody else wants it.
    pub(super) fn subscribe_for<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        connection: ConnectionId,
    ) {
        let Some(track) = self.tracks.get(id) else { return };
        let is_relay = self.peers.get(&connection).is_none_or(Peer::is_relay);
        let is_other =
            |node: Node| !is_relay || !matches!(node, Node::Session(at, _) if at == connection);
        if let Some(via) = way(track, is_other) {
            self.subscribe_at(cx, id, connection, &via);
        }
    }

    /// Asks the relays upstream for a track that nobody here has after all. Whether there are any.
    pub(super) fn seek_upstream<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        refused: Node,
    ) -> bool {
        let is_upstream = |peer: &Peer| peer.info.kind == PeerKind::Upstream && !peer.is_leaving;
        let was_upstream = match refused {
            Node::Session(connection, _) => self.peers.get(&connection).is_some_and(is_upstream),
            Node::Shard(shard, _) => self.upstream_shards.contains(&shard),
        };
        let track = self.tracks.get(id).filter(|track| track.is_wanted());
        let Some(track) = track.filter(|_| !was_upstream) else { return false };
        let asked = track.sources.len();
        let is_wanted_here = track.is_wanted_locally();
        let via = way(track, Node::is_local).unwrap_or_default();
        let upstream = self.peers.iter().filter(|(_, peer)| is_upstream(peer));
        let upstream: Vec<ConnectionId> = upstream.map(|(id, _)| *id).collect();
        for connection in upstream {
            self.subscribe_for(cx, id, connection);
        }
        if is_wanted_here {
            for shard in self.upstream_shards.clone() {
                self.subscribe_in_shard(id, shard, &via, false);
            }
        }
        self.tracks.get(id).is_some_and(|track| track.sources.len() > asked)
    }

    /// Whether somebody waits for a track whom nobody gives it who is not about to leave, or may do
    /// so soon.
    fn lacks_source(&self, track: &Track) -> bool {
        if track.waiters.is_empty() {
            return !self.has_lasting_source(track);
        }
        let lasting = track.sources.iter().filter(|source| self.is_lasting(source));
        let may_come = |waiter: &Waiter| lasting.clone().any(|it| it.may_feed(waiter.node));
        !track.waiters.iter().all(may_come)
    }

    /// Whether a track comes from somebody who is not about to leave, or may do so soon.
    pub(super) fn has_lasting_source(&self, track: &Track) -> bool {
        track.sources.iter().any(|source| self.is_lasting(source))
    }

    fn is_lasting(&self, source: &Source) -> bool {
        match source.node {
            Node::Session(connection, _) => {
                self.peers.get(&connection).is_some_and(|peer| !peer.is_leaving)
            }
            Node::Shard(shard, _) => !self.leaving_shards.contains(&shard),
        }
    }

    /// Asks one connection for a track, if it was not asked.
    pub(super) fn subscribe_at<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        connection: ConnectionId,
        via: &[u64],
    ) {
        let Some(track) = self.tracks.get(id) else { return };
        let too_many = track.sources.len() >= self.config.publishers_per_track;
        if too_many || track.has_source_in(connection) {
            return;
        }
        let name = track.name.clone();
        let is_relay = self.peers.get(&connection).is_none_or(Peer::is_relay);
        let mut parameters = self.onward(connection, via);
        parameters.new_group_request =
            track.waiters.iter().filter_map(|waiter| waiter.new_group).max();
        let asked =
            cx.connections.with(connection, |moqt| moqt.subscribe(cx.now, &name, &parameters));
        match asked {
            Some(Ok(request)) => {
                self.set_purpose(connection, request, Purpose::Source(id));
                let node = Node::Session(connection, request);
                let source = Source::asked(node, false, is_relay);
                if let Some(track) = self.tracks.get_mut(id) {
                    track.sources.push(source);
                    track.new_group = track.new_group.max(parameters.new_group_request);
                }
            }
            Some(Err(CommandError::Blocked(_))) => {
                if let Some(peer) = self.peers.get_mut(&connection)
                    && !peer.blocked.contains(&id)
                {
                    peer.blocked.push(id);
                }
            }
            _ => {}
        }
    }

    /// A publisher has accepted a SUBSCRIBE of ours.
    pub(super) fn source_accepted<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        node: Node,
        answer: Answer,
    ) {
        if let Some(source) = self.tracks.get_mut(id).and_then(|track| track.source_mut(node)) {
            source.is_established = true;
            if source.forward {
                source.since = Since::After(answer.parameters.largest_object);
            }
        }
        let Answer { parameters, track_properties, .. } = answer;
        self.source_established(cx, id, node, &parameters, track_properties);
    }

    /// Whether somebody has a way to tell all properties of tracks.
    fn says_track_properties(&self, node: Node) -> bool {
        match node {
            Node::Session(connection, _) => {
                let peer = self.peers.get(&connection);
                peer.is_some_and(|peer| peer.info.draft.says_track_properties())
            }
            Node::Shard(..) => true,
        }
    }

    /// A track has a publisher.
    pub(super) fn source_established<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        node: Node,
        parameters: &Parameters,
        properties: TrackProperties,
    ) {
        let says_all = self.says_track_properties(node);
        let Some(track) = self.tracks.get_mut(id) else { return };
        if track.sources.len() == 1 && track.sink_count == 0 {
            // What another has published before under this name, which nobody follows, need not
            // be what this one goes on with.
            track.clear();
        }
        track.note_largest(parameters.largest_object);
        // Publishers of one track say the same of it, as far as they can.
        if says_all || track.properties.is_empty() {
            track.properties = properties;
        }
        let max_age = track.properties.max_cache_duration();
        let max_age = max_age.map(core::time::Duration::from_millis);
        let max = self.config.max_cache_duration;
        track.store.set_max_age(max_age.map_or(max, |age| age.min(max)));
        track.orphaned = None;
        track.ended = None;
        self.end_unfed(cx, id, &Ended::Lost);
        self.recover(cx, id);
        self.accept_waiters(cx, id);
        self.offer(cx, id);
        self.share_track(id);
        self.resume_queries(cx, id);
        self.update_forward(cx, id);
        self.track_changed(cx, id);
    }

    /// A publisher has changed a subscription as it was asked to.
    pub(super) fn source_updated(&mut self, id: TrackId, node: Node, parameters: &Parameters) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let largest = parameters.largest_object;
        let is_told = largest.is_some() || track.largest.is_none();
        if let Some(source) = track.source_mut(node)
            && source.forward
            && is_told
            && matches!(source.since, Since::Unknown)
        {
            source.since = Since::After(largest);
        }
        track.note_largest(largest);
    }

    /// A publisher is one no longer, or has refused to be.
    pub(super) fn source_ended<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        node: Node,
        how: Ended,
    ) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let Some(at) = track.sources.iter().position(|source| source.node == node) else { return };
        if matches!(how, Ended::Malformed | Ended::Done(PublishDoneCode::MalformedTrack, _)) {
            return self.malformed(cx, id, Some(node));
        }
        let source = track.sources.remove(at);
        let how = if source.is_established { track.note_end(how) } else { how };
        if node.is_local() && !track.has_local_source() {
            let ended = match &track.orphaned {
                // Another has said so, for whom somebody else might have taken over.
                Some((_, code, reason)) => Ended::Done(*code, reason.clone()),
                None => how.clone(),
            };
            self.tell_shards_of_end(cx, id, &ended);
        }
        if node.is_local() && source.is_publish {
            self.tell_shards_of_offer(id);
        }
        if source.is_established {
            self.end_unfed(cx, id, &how);
            self.recover(cx, id);
            self.settle_all(cx, id);
            self.publisher_left(cx, id, how);
            // Those who gave it themselves were not offered it.
            self.offer(cx, id);
        } else if !self.seek_upstream(cx, id, node) {
            let refusal = match how {
                Ended::Rejected(error) => Some(onward_refusal(error)),
                Ended::Refused(refusal) => Some(refusal),
                _ => None,
            };
            self.nobody_publishes(cx, id, refusal);
        }
        if self.tracks.get(id).is_some_and(Track::has_established_source) {
            // Who does not publish the track may want it.
            self.offer(cx, id);
        }
        self.track_changed(cx, id);
    }

    /// Somebody publishes a track no longer. If nobody else does, it is over, or waits for another.
    fn publisher_left<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId, how: Ended) {
        let Some(track) = self.tracks.get(id) else { return };
        if track.has_established_source() {
            return;
        }
        match how {
            Ended::Done(
                code @ (PublishDoneCode::TrackEnded | PublishDoneCode::SubscriptionEnded),
                reason,
            ) if track.sources.is_empty() => self.end_track(cx, id, code, &reason),
            Ended::Done(code, reason) => self.orphan(cx, id, onward_end(code), &reason),
            _ => {
                let why = "the publisher has gone without ending the track";
                self.orphan(cx, id, PublishDoneCode::InternalError, why);
            }
        }
    }

    /// Ends the subscriptions that nobody gives anything for any more but those who have them.
    fn end_unfed<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId, how: &Ended) {
        let (code, reason) = match how {
            Ended::Done(code, reason) => (onward_end(*code), reason.as_str()),
            _ => (PublishDoneCode::GoingAway, "nobody else publishes the track"),
        };
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        if !track.has_established_source() {
            return;
        }
        let mut ended = Vec::new();
        for slot in 0..track.sinks.len() {
            let Some(Some(sink)) = track.sinks.get(slot) else { continue };
            if !track.may_be_fed(sink.node) {
                ended.push(sink.node);
                track.drop_sink(&mut io, slot, code, reason);
            }
        }
        for node in ended {
            if let Node::Session(connection, request) = node {
                self.forget_request(connection, request);
            }
        }
    }

    /// The last publisher has gone. For a while another may take over.
    fn orphan<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        code: PublishDoneCode,
        reason: &str,
    ) {
        let until = cx.now.saturating_add(self.config.takeover);
        let Some(track) = self.tracks.get_mut(id) else { return };
        if !track.is_wanted() {
            return self.end_track(cx, id, code, reason);
        }
        track.orphaned = Some((until, code, reason.to_string()));
        self.schedule(until, Due::Track(id));
        self.seek(cx, id);
    }

    /// Everybody who was asked has refused.
    pub(super) fn nobody_publishes<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        refusal: Option<Refusal>,
    ) {
        let refusal = refusal.unwrap_or_else(|| Refusal {
            reason: "nobody publishes the track".into(),
            ..Refusal::new(RequestErrorCode::DoesNotExist)
        });
        let now = cx.now;
        let Some(track) = self.tracks.get_mut(id) else { return };
        let is_over = |waiter: &Waiter| {
            let may_come = track.sources.iter().any(|source| source.may_feed(waiter.node));
            !may_come && waiter.until.is_none_or(|until| until <= now)
        };
        let waiters = core::mem::take(&mut track.waiters);
        let (over, waiting) = waiters.into_iter().partition(is_over);
        let is_sought = !track.sources.is_empty();
        track.waiters = waiting;
        self.refuse_waiters(cx, over, &refusal);
        if !is_sought {
            self.refuse_queries(cx, id, &refusal);
        }
    }

    /// Tells publishers to send objects, or not to, as subscribers want them (draft-18,
    /// "Publisher Interactions").
    pub(super) fn update_forward<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        if self.tracks.get(id).is_some_and(Track::is_flowing) {
            self.set_forward(cx, id, true);
        }
    }

    /// Tells all publishers whether to send objects.
    pub(super) fn set_forward<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        forward: bool,
    ) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        for source in &mut track.sources {
            if source.forward == forward || !source.is_established {
                continue;
            }
            if let Node::Session(connection, _) = source.node
                && !forward
                && !self.config.rest_publishers
                && !self.peers.get(&connection).is_some_and(Peer::is_relay)
            {
                continue;
            }
            // What is published meanwhile is not known of.
            source.since = Since::Unknown;
            if let Node::Shard(shard, theirs) = source.node {
                source.forward = forward;
                let name = track.name.clone();
                let what = What::Forward { name, track: theirs, forward };
                self.messages.push_back((Some(shard), Message { from: self.id, what }));
            }
            if let Node::Session(connection, request) = source.node {
                let mut parameters = Parameters::default();
                parameters.forward = Some(forward);
                let updated = cx
                    .connections
                    .with(connection, |moqt| moqt.update(cx.now, request, &parameters));
                if let Some(Ok(_)) = updated {
                    source.forward = forward;
                }
            }
        }
    }

    /// Lets go of the publishers that were subscribed to, and tells others that objects are not
    /// wanted for now. Those are kept that somebody who was offered the track has it from alone, and
    /// relays if somebody asks about tracks: they tell of each once.
    pub(super) fn release_sources<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Self { tracks, peers, routes, .. } = self;
        let Some(track) = tracks.get_mut(id) else { return };
        let is_asked_about = routes.has_listeners_to_tracks(track.name.namespace());
        let is_relay = |node: Node| match node {
            Node::Session(connection, _) => peers.get(&connection).is_some_and(Peer::is_relay),
            Node::Shard(..) => true,
        };
        let is_offer = track.sources.iter().any(|source| source.is_publish);
        let is_needed = !is_offer && track.sink_count > 0;
        let mut released = Vec::new();
        track.sources.retain(|source| {
            let is_kept = source.is_publish
                || source.is_established && (is_needed || is_asked_about && is_relay(source.node));
            if !is_kept {
                released.push(source.node);
            }
            is_kept
        });
        let name = track.name.clone();
        for node in released {
            match node {
                Node::Session(connection, request) => {
                    self.forget_request(connection, request);
                    let code = StreamResetCode::Cancelled;
                    cx.connections.with(connection, |moqt| moqt.cancel(cx.now, request, code));
                    self.streams_cancelled(cx, connection, node);
                }
                Node::Shard(shard, track) => {
                    self.say(shard, What::Unsubscribe { name: name.clone(), track });
                    self.shard_feeds_end(cx, track, shard);
                }
            }
        }
        if let Some(track) = self.tracks.get(id).filter(|track| track.sources.is_empty()) {
            // Those whom it was offered to.
            let why = || (PublishDoneCode::GoingAway, "nobody offers the track any more".into());
            let (code, reason) = track.ended.clone().unwrap_or_else(why);
            self.end_track(cx, id, code, &reason);
        }
        self.set_forward(cx, id, false);
    }

    /// A subscriber asks for a new group (draft-18, "NEW GROUP REQUEST Parameter").
    pub(super) fn ask_new_group<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        value: u64,
    ) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let is_new = value == 0 || track.largest.is_none_or(|largest| value > largest.group);
        if !is_new || track.new_group >= Some(value) || !track.properties.dynamic_groups() {
            return;
        }
        track.new_group = Some(value);
        let mut parameters = Parameters::default();
        parameters.new_group_request = Some(value);
        for source in track.sources.iter().filter(|source| source.is_established) {
            match source.node {
                Node::Session(connection, request) => {
                    cx.connections
                        .with(connection, |moqt| moqt.update(cx.now, request, &parameters));
                }
                Node::Shard(shard, _) => {
                    let what = What::NewGroup { name: track.name.clone(), value };
                    self.messages.push_back((Some(shard), Message { from: self.id, what }));
                }
            }
        }
    }

    /// What [`Action::FindOrigin`] asked for.
    pub(super) fn origin_found<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        namespace: &moqt_engine::model::TrackNamespace,
        origin: Option<ConnectionId>,
    ) {
        let from = FullTrackName::new(namespace.clone(), "").unwrap_or_default();
        let of_namespace = self
            .names
            .range(from..)
            .take_while(|(name, _)| name.namespace() == namespace)
            .map(|(_, id)| *id);
        let waiting: Vec<TrackId> = of_namespace
            .filter(|id| self.tracks.get(*id).is_some_and(|track| track.sources.is_empty()))
            .collect();
        for id in waiting {
            match origin {
                Some(connection) => {
                    let waiters = self.tracks.get(id).map(|track| &track.waiters);
                    let via = waiters.and_then(|waiters| waiters.first());
                    let via = via.map(|waiter| waiter.via.clone()).unwrap_or_default();
                    self.subscribe_at(cx, id, connection, &via);
                }
                None => self.nobody_publishes(cx, id, None),
            }
            self.track_changed(cx, id);
        }
    }
}

/// The relays that a request for a track has come through, if such subscribers want it: the fewest.
pub(super) fn way(track: &Track, is_it: impl Fn(Node) -> bool) -> Option<Vec<u64>> {
    let waiting = track.waiters.iter().filter(|waiter| is_it(waiter.node));
    let waiting = waiting.map(|waiter| &waiter.via).min_by_key(|via| via.len()).cloned();
    let mut sinks = track.sinks.iter().flatten();
    waiting.or_else(|| sinks.any(|sink| is_it(sink.node)).then(Vec::new))
}

/// What subscribers are told of how a publisher has ended a subscription: what concerns this relay
/// alone is not theirs.
fn onward_end(code: PublishDoneCode) -> PublishDoneCode {
    match code {
        PublishDoneCode::Unauthorized
        | PublishDoneCode::TooFarBehind
        | PublishDoneCode::Expired
        | PublishDoneCode::UpdateFailed
        | PublishDoneCode::ExcessiveLoad => PublishDoneCode::InternalError,
        code => code,
    }
}
