//! What relays upstream are asked about for those who listen here, and what they tell.
//!
//! A session may ask about one of two prefixes of which one begins with the other, so that the
//! shorter one is asked about. When that takes the place of a longer one, what was told in the old
//! request is known until there was time to tell it again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use moqt_engine::model::{NamespaceInterest, RequestErrorCode, StreamResetCode, TrackNamespace};
use moqt_engine::{CommandError, RequestKey, Timestamp};

use super::peer::{Ended, Purpose};
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind, ShardId};
use crate::interest::{Interest, Interests, cover};
use crate::message::What;
use crate::routes::{Listener, Origin, Way};

/// When to ask again after the first failure. After each further one, it takes twice as long.
const RETRY: Duration = Duration::from_millis(100);

/// Failures after which nothing is asked again until somebody stops listening.
const MOST_TRIES: u32 = 10;

/// What a relay upstream has refused, and what it has told.
#[derive(Debug, Default)]
pub(super) struct Above {
    told: BTreeMap<TrackNamespace, Told>,
    refused: Interests,
    /// Until when that holds which was told in requests that others have taken the place of.
    held_until: Option<Timestamp>,
    /// When to ask again for what has failed, and how often it has.
    again: Option<Timestamp>,
    tries: u32,
    /// There is something to ask or to tell that waits for streams or credit.
    is_blocked: bool,
}

/// A namespace that a relay upstream has told of.
#[derive(Debug)]
struct Told {
    /// In which request first: as that it is known.
    known_as: RequestKey,
    /// In which request last, unless that is over.
    by: Option<RequestKey>,
}

impl<A: Authorize> Shard<A> {
    /// A peer wants to hear of what is under a prefix.
    pub(super) fn listen<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        prefix: &TrackNamespace,
        listener: Listener,
    ) {
        let before = self.routes.interest_here(prefix);
        self.routes.listen(prefix, listener);
        self.share_interest(prefix, before);
        if !listener.is_above {
            self.ask_more(cx, prefix, listener.interest);
        }
    }

    /// It does not any longer.
    pub(super) fn stop_listening<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        prefix: &TrackNamespace,
        connection: ConnectionId,
        request: RequestKey,
    ) {
        let before = self.routes.interest_here(prefix);
        self.routes.stop_listening(prefix, connection, request);
        self.share_interest(prefix, before);
        if before.tracks {
            self.tracks_less_wanted(cx, prefix);
        }
        self.ask_less_soon(cx);
    }

    /// What sessions of another shard's want to hear of under a prefix has changed.
    pub(super) fn listen_elsewhere<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        from: ShardId,
        prefix: &TrackNamespace,
        interest: Interest,
    ) {
        self.routes.listen_elsewhere(prefix, from, interest);
        if interest.tracks {
            self.share_tracks(from, prefix);
        } else {
            self.tracks_less_wanted(cx, prefix);
        }
        self.ask_more(cx, prefix, interest);
        self.ask_less_soon(cx);
    }

    /// If nobody asks about tracks under a prefix any longer, what was kept for that is not.
    fn tracks_less_wanted<C: Connections>(&mut self, cx: &mut Cx<'_, C>, prefix: &TrackNamespace) {
        if !self.routes.interest(prefix).tracks {
            let tracks: Vec<_> = self.tracks_under(prefix).collect();
            for track in tracks {
                self.track_changed(cx, track);
            }
        }
    }

    fn share_interest(&mut self, prefix: &TrackNamespace, before: Interest) {
        let interest = self.routes.interest_here(prefix);
        if interest != before {
            self.say_all(What::Listen { prefix: prefix.clone(), interest });
        }
    }

    /// Asks relays upstream about a prefix, if they are not asked about it already.
    fn ask_more<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        prefix: &TrackNamespace,
        interest: Interest,
    ) {
        let upstream: Vec<ConnectionId> = self.upstream().collect();
        for upstream in upstream {
            let kinds = [NamespaceInterest::Namespaces, NamespaceInterest::Tracks];
            let kinds = kinds.into_iter().filter(|kind| interest.contains((*kind).into()));
            let is_asked = cx.connections.with(upstream, |moqt| {
                kinds.into_iter().all(|kind| moqt.namespace_subscription(prefix, kind).is_some())
            });
            if is_asked == Some(false) {
                self.ask_above(cx, upstream);
            }
        }
    }

    /// What nobody listens to any more is asked about for a little longer: somebody may come back.
    fn ask_less_soon<C: Connections>(&mut self, cx: &mut Cx<'_, C>) {
        if self.asks_less_at.is_none() && self.has_upstream() {
            let at = cx.now.saturating_add(self.config.linger);
            self.asks_less_at = Some(at);
            self.schedule(at, Due::Listening);
        }
    }

    pub(super) fn ask_less<C: Connections>(&mut self, cx: &mut Cx<'_, C>) {
        self.asks_less_at = None;
        let interests = self.routes.interests();
        let mut upstream = Vec::new();
        for (id, peer) in &mut self.peers {
            if peer.info.kind == PeerKind::Upstream {
                peer.above.refused.retain(|prefix, _| interests.contains_key(prefix));
                peer.above.tries = 0;
                upstream.push(*id);
            }
        }
        for upstream in upstream {
            self.ask_above(cx, upstream);
        }
    }

    /// Asks a relay upstream about everything that somebody wants to hear of, and about nothing
    /// else.
    pub(super) fn ask_above<C: Connections>(&mut self, cx: &mut Cx<'_, C>, upstream: ConnectionId) {
        let Some(peer) = self.peers.get(&upstream) else { return };
        let both =
            cx.connections.with(upstream, |moqt| moqt.namespace_interest(NamespaceInterest::Both));
        let kinds: &[Interest] = match both {
            Some(Some(_)) => &[Interest::BOTH],
            _ => &[Interest::NAMESPACES, Interest::TRACKS],
        };
        let mut missing = cover(&self.routes.interests(), &peer.above.refused, kinds);
        let mut over = Vec::new();
        for (request, purpose) in &peer.requests {
            let Purpose::Listening(prefix, asked) = purpose else { continue };
            let kind = kinds.iter().copied().find(|kind| kind.contains(*asked));
            let wanted = missing.get_mut(prefix);
            let of_kind = wanted.as_deref().map(|wanted| wanted.and(kind.unwrap_or_default()));
            match (wanted, of_kind) {
                (Some(wanted), Some(of_kind))
                    if !of_kind.is_nothing() && asked.contains(of_kind) =>
                {
                    *wanted = wanted.but(of_kind);
                }
                _ => over.push(*request),
            }
        }
        let is_leaving = peer.is_leaving;
        for request in over {
            self.ask_no_longer(cx, upstream, request);
        }
        if is_leaving {
            return;
        }
        for (prefix, interest) in missing {
            for interest in kinds.iter().map(|kind| interest.and(*kind)) {
                self.ask_about(cx, upstream, &prefix, interest);
            }
        }
    }

    fn ask_about<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        prefix: &TrackNamespace,
        interest: Interest,
    ) {
        let Some(wanted) = interest.to_request() else { return };
        let parameters = self.onward(upstream, &[]);
        let asked = cx.connections.with(upstream, |moqt| {
            let asked = moqt.namespace_interest(wanted).map(Interest::from);
            let request = moqt.subscribe_namespace(cx.now, prefix, wanted, &parameters);
            request.map(|request| (request, asked.unwrap_or(interest)))
        });
        match asked {
            Some(Ok((request, asked))) => {
                let purpose = Purpose::Listening(prefix.clone(), asked);
                self.set_purpose(upstream, request, purpose);
            }
            Some(Err(CommandError::Blocked(_))) => self.above_blocked(upstream),
            None => {}
            Some(Err(_)) => {
                // In this draft it cannot be said, as in draft 14 the prefix of no fields.
                if let Some(peer) = self.peers.get_mut(&upstream) {
                    let refused = peer.above.refused.entry(prefix.clone()).or_default();
                    *refused = refused.or(interest);
                }
            }
        }
    }

    /// A relay upstream cannot be asked or told something before its connection is unblocked.
    pub(super) fn above_blocked(&mut self, upstream: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&upstream) {
            peer.above.is_blocked = true;
        }
    }

    /// A connection is unblocked: if it is that of a relay upstream, it can be asked and told what
    /// it could not be before.
    pub(super) fn above_unblocked<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
    ) {
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        if core::mem::take(&mut peer.above.is_blocked) {
            self.announce_all(cx, upstream);
            self.ask_above(cx, upstream);
        }
    }

    fn ask_no_longer<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        request: RequestKey,
    ) {
        self.forget_request(upstream, request);
        cx.connections
            .with(upstream, |moqt| moqt.cancel(cx.now, request, StreamResetCode::Cancelled));
        let until = cx.now.saturating_add(self.config.takeover);
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        let of_request = peer.above.told.values_mut().filter(|told| told.by == Some(request));
        let held = of_request.map(|told| told.by = None).count();
        if held > 0 {
            peer.above.held_until = Some(until);
            self.schedule(until, Due::Peer(upstream));
        }
    }

    /// A relay upstream has refused to tell about a prefix, or has stopped.
    pub(super) fn listening_ended<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        request: RequestKey,
        (prefix, interest): (TrackNamespace, Interest),
        how: &Ended,
    ) {
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        let above = &mut peer.above;
        let of_request = above.told.iter().filter(|(_, told)| told.by == Some(request));
        let gone: Vec<_> = of_request.map(|(told, _)| told.clone()).collect();
        let retry_after = match how {
            // The session is over.
            Ended::Lost => return,
            Ended::Rejected(error) if error.code != RequestErrorCode::PrefixOverlap => {
                let refused = above.refused.entry(prefix).or_default();
                *refused = refused.or(interest);
                error.retry_after
            }
            // The end of a request that overlaps comes there after this one.
            _ => Some(RETRY.saturating_mul(1 << above.tries.min(MOST_TRIES))),
        };
        if let Some(after) = retry_after
            && above.tries < MOST_TRIES
        {
            above.tries += 1;
            let at = cx.now.saturating_add(after.max(RETRY));
            above.again = Some(above.again.map_or(at, |again| again.min(at)));
            self.schedule(at, Due::Peer(upstream));
        }
        for namespace in gone {
            self.told_of_end(cx, upstream, request, &namespace);
        }
        // What was refused is asked about in parts, if there are any.
        if matches!(how, Ended::Rejected(_)) && retry_after.is_none() {
            self.ask_above(cx, upstream);
        }
    }

    /// Time has passed for what a relay upstream was asked about.
    pub(super) fn above_due<C: Connections>(&mut self, cx: &mut Cx<'_, C>, upstream: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        let above = &mut peer.above;
        if above.held_until.take_if(|until| *until <= cx.now).is_some() {
            let told = core::mem::take(&mut above.told).into_iter();
            let (told, held) = told.partition(|(_, told)| told.by.is_some());
            above.told = told;
            for (namespace, Told { known_as, .. }) in held {
                self.withdraw(cx, &namespace, Origin::Session(upstream, known_as));
            }
        }
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        if peer.above.again.take_if(|at| *at <= cx.now).is_some() {
            peer.above.refused.clear();
            self.ask_above(cx, upstream);
        }
    }

    /// A relay that was asked about namespaces tells of one.
    pub(super) fn told_of_namespace<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        if !matches!(peer.requests.get(&request), Some(Purpose::Listening(..))) {
            return;
        }
        let new = || Told { known_as: request, by: None };
        let told = peer.above.told.entry(namespace.clone()).or_insert_with(new);
        told.by = Some(request);
        let origin = Origin::Session(upstream, told.known_as);
        let way = Way { via: Vec::new(), is_above: true };
        self.announce(cx, namespace, origin, &way);
    }

    /// And that it is gone.
    pub(super) fn told_of_end<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
        request: RequestKey,
        namespace: &TrackNamespace,
    ) {
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        let told = peer.above.told.get(namespace);
        if told.is_some_and(|told| told.by == Some(request))
            && let Some(told) = peer.above.told.remove(namespace)
        {
            self.withdraw(cx, namespace, Origin::Session(upstream, told.known_as));
        }
    }

    /// The session with a relay upstream is over: what it has told does not hold any longer.
    pub(super) fn above_lost<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        upstream: ConnectionId,
    ) {
        let Some(peer) = self.peers.get_mut(&upstream) else { return };
        for (namespace, told) in core::mem::take(&mut peer.above.told) {
            self.withdraw(cx, &namespace, Origin::Session(upstream, told.known_as));
        }
    }
}
