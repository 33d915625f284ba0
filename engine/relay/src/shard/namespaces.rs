//! Namespaces: who publishes them, and who hears of them.

use alloc::vec::Vec;

use moqt_engine::model::{
    FullTrackName, NamespaceInterest, Parameters, RequestErrorCode, TrackNamespace,
};
use moqt_engine::{Accept, CommandError, RequestKey};

use super::peer::Purpose;
use super::{Action, Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind};
use crate::message::What;
use crate::routes::{Listener, Origin};
use crate::track::{Track, TrackId};

impl<A: Authorize> Shard<A> {
    /// A peer publishes a namespace (draft-18, "Publisher Interactions").
    pub(super) fn publish_namespace<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        namespace: &TrackNamespace,
        via: &[u64],
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
        self.announce(cx, namespace, Origin::Session(connection, request), via);
    }

    /// A namespace has a publisher: who asked about it hears of it, and who subscribes to its
    /// tracks gets this publisher's, too.
    pub(super) fn announce<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        namespace: &TrackNamespace,
        origin: Origin,
        via: &[u64],
    ) {
        let is_first = self.routes.origins(namespace).is_empty();
        self.routes.publish(namespace, origin, via);
        for listener in self.routes.listeners(namespace) {
            if listener.wants_namespaces() && !origin.is_on(listener.connection) {
                self.tell(cx, listener, namespace);
            }
        }
        if is_first {
            let upstream: Vec<ConnectionId> = self.upstream().collect();
            for upstream in upstream.into_iter().filter(|upstream| !origin.is_on(*upstream)) {
                self.announce_upstream(cx, upstream, namespace, via);
            }
        }
        if let Origin::Session(connection, _) = origin {
            let others = self.routes.origins(namespace).iter();
            let is_first_here = others.filter(|origin| !origin.is_shard()).count() == 1;
            if is_first_here {
                let (namespace, via) = (namespace.clone(), via.to_vec());
                self.say_all(What::Namespace { namespace, is_published: true, via });
            }
            if is_first_here && self.is_client(connection) {
                self.actions.push_back(Action::Hold { namespace: namespace.clone() });
            }
        }
        let tracks: Vec<TrackId> = self.tracks_under(namespace).collect();
        for id in tracks {
            let Some(track) = self.tracks.get(id).filter(|track| track.is_wanted()) else {
                continue;
            };
            match origin {
                Origin::Session(connection, _) => self.subscribe_at(cx, id, connection, via),
                Origin::Shard(shard) => {
                    if track.is_wanted_locally() {
                        self.subscribe_in_shard(id, shard, via, false);
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
        self.routes.withdraw(namespace, origin);
        let left = self.routes.origins(namespace).to_vec();
        if !origin.is_shard() && left.iter().all(Origin::is_shard) {
            self.actions.push_back(Action::Release { namespace: namespace.clone() });
            let (namespace, via) = (namespace.clone(), Vec::new());
            self.say_all(What::Namespace { namespace, is_published: false, via });
        }
        for listener in self.routes.listeners(namespace) {
            let is_known = left.iter().any(|origin| !origin.is_on(listener.connection));
            if listener.wants_namespaces() && !is_known {
                // It fails if it was not told, being the one who published.
                cx.connections.with(listener.connection, |moqt| {
                    moqt.namespace_done(cx.now, listener.request, namespace)
                });
            }
        }
        if !left.is_empty() {
            return;
        }
        let upstream: Vec<ConnectionId> = self.upstream().collect();
        for upstream in upstream {
            let Some(peer) = self.peers.get_mut(&upstream) else { continue };
            let Some(request) = peer.announced.remove(namespace) else { continue };
            peer.requests.remove(&request);
            let code = moqt_engine::model::StreamResetCode::Cancelled;
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
            self.say_all(What::Upstream { is_there: true });
        }
        let root = TrackNamespace::root();
        let namespaces: Vec<TrackNamespace> =
            self.routes.under(&root).map(|(namespace, _)| namespace.clone()).collect();
        for namespace in namespaces {
            let via = self.routes.via(&namespace);
            self.announce_upstream(cx, upstream, &namespace, &via);
        }
        for (prefix, interest) in self.routes.interests() {
            self.listen_upstream(cx, upstream, &prefix, interest);
        }
        self.take_offered(&root);
        let tracks: Vec<TrackId> = self.names.values().copied().collect();
        for track in tracks {
            self.offer(cx, track);
            let lacks_source = |track: &Track| track.is_wanted() && !self.has_lasting_source(track);
            if self.tracks.get(track).is_some_and(lacks_source) {
                self.seek(cx, track);
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
        let parameters = self.onward(upstream, via);
        let announced = cx
            .connections
            .with(upstream, |moqt| moqt.publish_namespace(cx.now, namespace, &parameters));
        if let Some(Ok(request)) = announced
            && let Some(peer) = self.peers.get_mut(&upstream)
        {
            peer.announced.insert(namespace.clone(), request);
            peer.requests.insert(request, Purpose::Announced);
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
        let listener = Listener { connection, request, interest };
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
        self.routes.listen(prefix, listener);
        self.tell_all(cx, listener, namespaces, tracks);
        if listener.wants_tracks() {
            self.take_offered(prefix);
        }
        let upstream: Vec<ConnectionId> = self.upstream().collect();
        for upstream in upstream.into_iter().filter(|upstream| *upstream != connection) {
            self.listen_upstream(cx, upstream, prefix, interest);
        }
    }

    /// Asks a relay upstream about what somebody asks about here.
    fn listen_upstream<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        prefix: &TrackNamespace,
        interest: NamespaceInterest,
    ) {
        let parameters = self.onward(upstream, &[]);
        let asked = cx.connections.with(upstream, |moqt| {
            let mut ask =
                |interest| moqt.subscribe_namespace(cx.now, prefix, interest, &parameters);
            match ask(interest) {
                // The draft has a request for each.
                Err(CommandError::Encode(_)) if interest == NamespaceInterest::Both => {
                    let each = [NamespaceInterest::Namespaces, NamespaceInterest::Tracks];
                    each.map(|interest| ask(interest).ok())
                }
                // It fails if the relay is asked about the prefix, or one that overlaps, already.
                asked => [asked.ok(), None],
            }
        });
        for request in asked.into_iter().flatten().flatten() {
            self.set_purpose(upstream, request, Purpose::Listening(prefix.clone(), Vec::new()));
        }
    }

    /// Somebody asks about a prefix no longer: if nobody does, nor are relays upstream.
    pub(super) fn stop_listening<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        prefix: &TrackNamespace,
        connection: ConnectionId,
        request: RequestKey,
    ) {
        self.routes.stop_listening(prefix, connection, request);
        if self.routes.is_listened_to(prefix) {
            return;
        }
        let upstream: Vec<ConnectionId> = self.upstream().collect();
        for upstream in upstream {
            let Some(peer) = self.peers.get(&upstream) else { continue };
            let of_prefix = peer.requests.iter().filter(
                |(_, purpose)| matches!(purpose, Purpose::Listening(asked, _) if asked == prefix),
            );
            for request in of_prefix.map(|(request, _)| *request).collect::<Vec<_>>() {
                let told = match self.forget_request(upstream, request) {
                    Some(Purpose::Listening(_, told)) => told,
                    _ => Vec::new(),
                };
                let code = moqt_engine::model::StreamResetCode::Cancelled;
                cx.connections.with(upstream, |moqt| moqt.cancel(cx.now, request, code));
                for namespace in told {
                    self.withdraw(cx, &namespace, Origin::Session(upstream, request));
                }
            }
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
                if origins.iter().all(|origin| origin.is_on(listener.connection)) {
                    continue;
                }
                if namespaces.len() >= max {
                    return None;
                }
                namespaces.push(namespace.clone());
            }
        }
        if listener.wants_tracks() {
            let is_published = |track: &Track| track.sources.iter().any(|source| source.is_publish);
            for id in self.tracks_under(prefix) {
                if !self.tracks.get(id).is_some_and(is_published) {
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
        if let Some(Ok(Some(announced))) = told {
            self.set_purpose(connection, announced, Purpose::Announced);
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
        self.routes.listen(&prefix, listener);
        self.set_purpose(connection, request, Purpose::Listener(prefix.clone()));
        // An update that was accepted cannot be refused any more: what is too much is not told.
        if let Some((namespaces, tracks)) = self.matches(&prefix, listener) {
            self.tell_all(cx, listener, namespaces, tracks);
        }
    }

    /// A relay that was asked about namespaces tells of one.
    pub(super) fn told_of_namespace<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        if let Some(Purpose::Listening(_, told)) = peer.requests.get_mut(&request) {
            told.push(namespace.clone());
            self.announce(cx, namespace, Origin::Session(connection, request), &[]);
        }
    }

    /// And that it is gone.
    pub(super) fn told_of_end<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let Some(peer) = self.peers.get_mut(&connection) else { return };
        if let Some(Purpose::Listening(_, told)) = peer.requests.get_mut(&request) {
            told.retain(|other| other != namespace);
            self.withdraw(cx, namespace, Origin::Session(connection, request));
        }
    }

    /// The tracks of a namespace and of those that begin with it.
    fn tracks_under<'a>(
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
    fn upstream(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        let is_upstream = |kind| kind == PeerKind::Upstream;
        let upstream = self.peers.iter().filter(move |(_, peer)| is_upstream(peer.info.kind));
        upstream.filter(|(_, peer)| !peer.is_leaving).map(|(id, _)| *id)
    }

    pub(super) fn is_client(&self, id: ConnectionId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.info.kind == PeerKind::Client)
    }
}
