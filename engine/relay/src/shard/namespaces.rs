//! Namespaces: who publishes them, and who hears of them.

use alloc::vec::Vec;

use moqt_engine::model::{
    FullTrackName, NamespaceInterest, Parameters, RequestErrorCode, StreamResetCode, TrackNamespace,
};
use moqt_engine::{Accept, CommandError, RequestKey};

use super::fill::Asked;
use super::peer::{Peer, Purpose};
use super::{Action, Cx, Shard, sources};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::message::{Upstream, What};
use crate::routes::{Listener, Origin, Way};
use crate::track::{Node, Track, TrackId};

impl<A: Authorize> Shard<A> {
    /// A peer publishes a namespace (draft-18, "Publisher Interactions").
    pub(super) fn publish_namespace<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        namespace: &TrackNamespace,
        via: Vec<u64>,
    ) {
        if self.routes.len() >= self.config.namespaces {
            let reason = "the relay has too many namespaces";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        }
        let accepted =
            cx.connections.with(connection, |moqt| moqt.accept(cx.now, request, Accept::default()));
        if !matches!(accepted, Some(Ok(()))) {
            return;
        }
        self.set_purpose(connection, request, Purpose::Namespace(namespace.clone()));
        let way = Way { via, is_above: self.is_upstream(connection) };
        self.announce(cx, namespace, Origin::Session(connection, request), &way);
    }

    /// A namespace has a publisher: who asked about it hears of it, and who subscribes to its
    /// tracks gets this publisher's, too.
    pub(super) fn announce<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        namespace: &TrackNamespace,
        origin: Origin,
        way: &Way,
    ) {
        let before = self.routes.way_here(namespace);
        self.routes.publish(namespace, origin, way);
        for listener in self.routes.listeners(namespace) {
            if listener.wants_namespaces() && !self.is_known_to(origin, listener) {
                self.tell(cx, listener, namespace);
            }
        }
        self.announce_above(cx, namespace);
        if let Origin::Session(connection, _) = origin
            && before.is_none()
            && self.is_client(connection)
        {
            self.actions.push_back(Action::Hold { namespace: namespace.clone() });
        }
        self.share_namespace(namespace, before.as_ref());
        let publisher = match origin {
            Origin::Session(connection, _) => Asked::Session(connection),
            Origin::Shard(shard) => Asked::Shard(shard),
        };
        self.ask_status_of(cx, publisher, |name| name.namespace().starts_with(namespace));
        self.resume_fetches(cx, |name| name.namespace().starts_with(namespace));
        let tracks: Vec<TrackId> = self.tracks_under(namespace).collect();
        for id in tracks {
            let Some(track) = self.tracks.get(id).filter(|track| track.is_wanted()) else {
                continue;
            };
            match origin {
                Origin::Session(connection, _) => self.subscribe_for(cx, id, connection),
                Origin::Shard(shard) => {
                    if let Some(via) = sources::way(track, Node::is_local) {
                        self.subscribe_in_shard(id, shard, &via, false);
                    }
                }
            }
        }
    }

    /// A namespace has lost a publisher.
    pub(super) fn withdraw<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        namespace: &TrackNamespace,
        origin: Origin,
    ) {
        let before = self.routes.way_here(namespace);
        self.routes.withdraw(namespace, origin);
        let left = self.routes.origins(namespace).to_vec();
        if !origin.is_shard() && left.iter().all(Origin::is_shard) {
            self.actions.push_back(Action::Release { namespace: namespace.clone() });
        }
        self.share_namespace(namespace, before.as_ref());
        self.retract(cx, namespace, &left);
        for listener in self.routes.listeners(namespace) {
            let is_news = left.iter().any(|origin| !self.is_known_to(*origin, listener));
            if listener.wants_namespaces() && !is_news {
                // It fails if it was not told, being the one who published.
                cx.connections.with(listener.connection, |moqt| {
                    moqt.namespace_done(cx.now, listener.request, namespace)
                });
            }
        }
        self.announce_above(cx, namespace);
    }

    /// Whether somebody who listens knows of a namespace because it comes from there. Who has
    /// published it is told of it, too (draft-18, "Subscribing to Namespaces"), but for relays:
    /// those tell it themselves to who has asked there.
    fn is_known_to(&self, origin: Origin, listener: Listener) -> bool {
        origin.is_on(listener.connection)
            && self.peers.get(&listener.connection).is_some_and(Peer::is_relay)
    }

    /// Tells other shards of a namespace, if that is news.
    fn share_namespace(&mut self, namespace: &TrackNamespace, before: Option<&Way>) {
        let way = self.routes.way_here(namespace);
        if way.as_ref() != before {
            self.say_all(What::Namespace { namespace: namespace.clone(), way });
        }
    }

    /// Tells the relays upstream of a namespace that has a publisher who is not one of them, and
    /// of the contrary.
    fn announce_above<C: Connections>(&mut self, cx: &mut Cx<'_, C>, namespace: &TrackNamespace) {
        if let Some(Way { via, .. }) = self.routes.way_from_below(namespace) {
            let upstream: Vec<ConnectionId> = self.upstream().collect();
            for upstream in upstream {
                self.announce_upstream(cx, upstream, namespace, &via);
            }
            return;
        }
        let told = self.peers.iter_mut();
        let told = told.filter(|(_, peer)| peer.info.kind == PeerKind::Upstream);
        for (&upstream, peer) in told {
            let Some(request) = peer.announced.remove(namespace) else { continue };
            peer.requests.remove(&request);
            let code = StreamResetCode::Cancelled;
            cx.connections.with(upstream, |moqt| moqt.cancel(cx.now, request, code));
        }
    }

    /// A relay upstream is there: it hears of everything that is published here, and is asked for
    /// what is wanted here.
    pub(super) fn greet_upstream<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
    ) {
        if self.upstream().count() == 1 {
            self.say_all(What::Upstream(Upstream::There));
        }
        self.announce_all(cx, upstream);
        self.ask_above(cx, upstream);
        self.take_offered(&TrackNamespace::root());
        self.ask_status_of(cx, Asked::Session(upstream), |_| true);
        self.resume_fetches(cx, |_| true);
        let tracks: Vec<TrackId> = self.names.values().copied().collect();
        for track in tracks {
            self.offer(cx, track);
            // Those who were asked may be waiting for just this.
            if self.tracks.get(track).is_some_and(|track| !track.waiters.is_empty()) {
                self.subscribe_for(cx, track, upstream);
            }
            let lacks_source = |track: &Track| track.is_wanted() && !self.has_lasting_source(track);
            if self.tracks.get(track).is_some_and(lacks_source) {
                self.seek(cx, track);
            }
        }
    }

    /// Tells a relay upstream of all namespaces that it is to know of.
    pub(super) fn announce_all<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
    ) {
        let root = TrackNamespace::root();
        let namespaces: Vec<TrackNamespace> =
            self.routes.under(&root).map(|(namespace, _)| namespace.clone()).collect();
        for namespace in namespaces {
            if let Some(way) = self.routes.way_from_below(&namespace) {
                self.announce_upstream(cx, upstream, &namespace, &way.via);
            }
        }
    }

    fn announce_upstream<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        namespace: &TrackNamespace,
        via: &[u64],
    ) {
        if self.peers.get(&upstream).is_some_and(|peer| peer.announced.contains_key(namespace)) {
            return;
        }
        let parameters = self.onward(upstream, via);
        let announced = cx
            .connections
            .with(upstream, |moqt| moqt.publish_namespace(cx.now, namespace, &parameters));
        match announced {
            Some(Ok(request)) => {
                if let Some(peer) = self.peers.get_mut(&upstream) {
                    peer.announced.insert(namespace.clone(), request);
                    peer.requests.insert(request, Purpose::Announced);
                }
            }
            Some(Err(CommandError::Blocked(_))) => self.above_blocked(upstream),
            _ => {}
        }
    }

    /// A peer wants to hear of namespaces, tracks or both (draft-18, "SUBSCRIBE_NAMESPACE" and
    /// "SUBSCRIBE_TRACKS").
    pub(super) fn subscribe_namespace<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        prefix: &TrackNamespace,
        interest: NamespaceInterest,
    ) {
        let is_above = self.is_upstream(connection);
        let listener = Listener { connection, request, interest: interest.into(), is_above };
        let Some((namespaces, tracks)) = self.matches(prefix, listener) else {
            let reason = "the prefix matches more than the relay tells of: ask for a longer one";
            let code = RequestErrorCode::NamespaceTooLarge;
            return self.refuse(cx, connection, request, code, reason);
        };
        let accepted =
            cx.connections.with(connection, |moqt| moqt.accept(cx.now, request, Accept::default()));
        if !matches!(accepted, Some(Ok(()))) {
            return;
        }
        self.set_purpose(connection, request, Purpose::Listener(prefix.clone()));
        self.listen(cx, prefix, listener);
        self.tell_all(cx, listener, namespaces, tracks);
        if listener.wants_tracks() {
            self.take_offered(prefix);
        }
    }

    /// What a namespace subscription is to be told of at first; `None` if that is too much, which
    /// is found out before it is collected.
    fn matches(
        &self,
        prefix: &TrackNamespace,
        listener: Listener,
    ) -> Option<(Vec<TrackNamespace>, Vec<TrackId>)> {
        let max = self.config.namespaces_told;
        let (mut namespaces, mut tracks) = (Vec::new(), Vec::new());
        if listener.wants_namespaces() {
            for (namespace, origins) in self.routes.under(prefix) {
                if origins.iter().all(|origin| self.is_known_to(*origin, listener)) {
                    continue;
                }
                if namespaces.len() >= max {
                    return None;
                }
                namespaces.push(namespace.clone());
            }
        }
        if listener.wants_tracks() {
            let is_known = |track: &Track| {
                let mut sources = track.sources.iter();
                sources.any(|it| it.is_established && (it.is_publish || !listener.is_above))
            };
            for id in self.tracks_under(prefix) {
                if !self.tracks.get(id).is_some_and(is_known) {
                    continue;
                }
                if tracks.len() >= max {
                    return None;
                }
                tracks.push(id);
            }
        }
        Some((namespaces, tracks))
    }

    fn tell_all<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        listener: Listener,
        namespaces: Vec<TrackNamespace>,
        tracks: Vec<TrackId>,
    ) {
        for namespace in namespaces {
            self.tell(cx, listener, &namespace);
        }
        for track in tracks {
            self.offer_to(cx, track, listener.connection, Some(listener.request));
        }
    }

    /// Tells of a namespace.
    fn tell<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        listener: Listener,
        namespace: &TrackNamespace,
    ) {
        let Listener { connection, request, .. } = listener;
        // It fails if it was told already, of another publisher's.
        let told =
            cx.connections.with(connection, |moqt| moqt.namespace(cx.now, request, namespace));
        if let Some(Ok(Some(announced))) = told
            && let Some(peer) = self.peers.get_mut(&connection)
        {
            // Draft 14: it lasts longer than the namespace subscription.
            peer.requests.insert(announced, Purpose::Announced);
            peer.announced.insert(namespace.clone(), announced);
            self.announced_to.entry(namespace.clone()).or_default().insert(connection);
        }
    }

    /// A namespace has lost a publisher: those are told whom it was announced to and who need not
    /// listen any longer.
    fn retract<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        namespace: &TrackNamespace,
        left: &[Origin],
    ) {
        let Some(mut to) = self.announced_to.remove(namespace) else { return };
        to.retain(|connection| {
            let Some(peer) = self.peers.get_mut(connection) else { return false };
            let is_news = |origin: &Origin| !(origin.is_on(*connection) && peer.is_relay());
            if left.iter().any(is_news) {
                return true;
            }
            if let Some(request) = peer.announced.remove(namespace) {
                peer.requests.remove(&request);
                let code = StreamResetCode::Cancelled;
                cx.connections.with(*connection, |moqt| moqt.cancel(cx.now, request, code));
            }
            false
        });
        if !to.is_empty() {
            self.announced_to.insert(namespace.clone(), to);
        }
    }

    /// Forgets what a connection that is gone was told of.
    pub(super) fn forget_announced(&mut self, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        for namespace in core::mem::take(&mut peer.announced).into_keys() {
            if let Some(to) = self.announced_to.get_mut(&namespace) {
                to.remove(&connection);
                if to.is_empty() {
                    self.announced_to.remove(&namespace);
                }
            }
        }
    }

    /// A peer wants to hear of another prefix.
    pub(super) fn listener_updated<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        before: &TrackNamespace,
        parameters: &Parameters,
    ) {
        let Some(prefix) = parameters.track_namespace_prefix.clone() else { return };
        let known = self.routes.listeners(before);
        let known = known
            .into_iter()
            .find(|listener| (listener.connection, listener.request) == (connection, request));
        let Some(listener) = known else { return };
        self.stop_listening(cx, before, connection, request);
        self.listen(cx, &prefix, listener);
        self.set_purpose(connection, request, Purpose::Listener(prefix.clone()));
        // An update that was accepted cannot be refused any more: what is too much is not told.
        if let Some((namespaces, tracks)) = self.matches(&prefix, listener) {
            self.tell_all(cx, listener, namespaces, tracks);
        }
        if listener.wants_tracks() {
            self.take_offered(&prefix);
        }
    }

    /// The tracks of a namespace and of those that begin with it.
    pub(super) fn tracks_under<'a>(
        &'a self,
        prefix: &'a TrackNamespace,
    ) -> impl Iterator<Item = TrackId> + use<'a, A> {
        let from = FullTrackName::new(prefix.clone(), "").unwrap_or_default();
        // All that begin with the prefix's bytes are neighbours; few have other fields.
        let begins = move |name: &FullTrackName| {
            let bytes = name.namespace().fields().flatten().take(prefix.byte_len());
            bytes.eq(prefix.fields().flatten())
        };
        self.names
            .range(from..)
            .take_while(move |(name, _)| begins(name))
            .filter(|(name, _)| name.namespace().starts_with(prefix))
            .map(|(_, id)| *id)
    }

    pub(super) fn has_upstream(&self) -> bool {
        self.upstream().next().is_some()
    }

    /// The relays that this one has connected to.
    pub(super) fn upstream(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        let is_upstream = |kind| kind == PeerKind::Upstream;
        let upstream = self.peers.iter().filter(move |(_, peer)| is_upstream(peer.info.kind));
        upstream.filter(|(_, peer)| !peer.is_leaving).map(|(id, _)| *id)
    }

    fn is_upstream(&self, id: ConnectionId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.info.kind == PeerKind::Upstream)
    }

    pub(super) fn is_client(&self, id: ConnectionId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.info.kind == PeerKind::Client)
    }
}
