use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::namespaces::{Advertised, Prefixes};
use super::{
    Expiry, FetchPublisher, FetchSubscriber, NamespaceSubscription, Publisher, SentUpdate, Space,
    Subscriber, Updates,
};
use crate::config::Role;
use crate::hash::{HashMap, KeyedState};
use crate::key::{RequestKey, StreamKey, Table};
use crate::link::PeerIds;
use crate::model::{FullTrackName, RequestKind, TrackNamespace};
use crate::time::Timestamp;

/// A request that is not over.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    /// Whether this side began it.
    pub(crate) ours: bool,
    /// The stream it has to itself, if it has.
    pub(crate) stream: Option<StreamKey>,
    pub(crate) phase: Phase,
    /// When the peer must have answered.
    pub(crate) answer_deadline: Option<Timestamp>,
    pub(crate) updates: Updates,
    pub(crate) expiry: Option<Expiry>,
    /// GOAWAY was sent for it alone.
    pub(crate) goaway_sent: bool,
    /// When the peer must have moved it.
    pub(crate) goaway_deadline: Option<Timestamp>,
    /// When it was begun.
    pub(crate) since: Timestamp,
    pub(crate) body: Body,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not been answered.
    Pending,
    /// It has been accepted.
    Established,
}

/// What a request is about.
#[derive(Debug)]
pub(crate) enum Body {
    /// This side receives a track: our SUBSCRIBE, or the peer's PUBLISH.
    Subscriber(Box<Subscriber>),
    /// This side sends a track: the peer's SUBSCRIBE, or our PUBLISH.
    Publisher(Box<Publisher>),
    /// PUBLISH_NAMESPACE, either way.
    Namespace(TrackNamespace),
    /// SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS, either way.
    NamespaceSubscription(NamespaceSubscription),
    /// Our FETCH.
    FetchSubscriber(FetchSubscriber),
    /// The peer's FETCH.
    FetchPublisher(FetchPublisher),
    /// TRACK_STATUS, either way.
    TrackStatus,
}

impl Request {
    /// Whether the application knows of it, and not yet of its end. It hears of a FETCH that
    /// joins once there is something to join.
    pub(crate) fn is_told(&self) -> bool {
        match &self.body {
            Body::FetchPublisher(fetch) => fetch.waits_for.is_none(),
            Body::Publisher(publisher) => !publisher.is_over,
            _ => true,
        }
    }

    /// Whether it is the peer's and has not been answered.
    pub(crate) fn is_unanswered(&self) -> bool {
        !self.ours && self.phase == Phase::Pending
    }

    pub(crate) fn kind(&self) -> RequestKind {
        match (&self.body, self.ours) {
            (Body::Subscriber(_), true) | (Body::Publisher(_), false) => RequestKind::Subscribe,
            (Body::Subscriber(_), false) | (Body::Publisher(_), true) => RequestKind::Publish,
            (Body::Namespace(_), _) => RequestKind::PublishNamespace,
            (Body::NamespaceSubscription(subscription), _) => subscription.kind,
            (Body::FetchSubscriber(_) | Body::FetchPublisher(_), _) => RequestKind::Fetch,
            (Body::TrackStatus, _) => RequestKind::TrackStatus,
        }
    }
}

/// All requests that are not over, and the ways to find them.
#[derive(Debug)]
pub(crate) struct Requests {
    table: Table<RequestKey, Request>,
    by_id: HashMap<u64, RequestKey>,
    /// Per track, the subscription in which this side is the subscriber.
    received: HashMap<FullTrackName, RequestKey>,
    /// Per track, the peer's PUBLISH that crossed with our SUBSCRIBE in `received`.
    crossing: HashMap<FullTrackName, RequestKey>,
    /// Per track, the subscription in which this side is the publisher.
    sent: HashMap<FullTrackName, RequestKey>,
    advertised: Advertised,
    pub(crate) prefixes: Prefixes,
    /// Namespaces told of in all namespace subscriptions.
    pub(crate) told: usize,
    /// Per track, our FETCHes.
    fetched: HashMap<FullTrackName, BTreeSet<RequestKey>>,
    /// Updates of ours that have not been answered, and what they change.
    updates: BTreeMap<u64, RequestKey>,
    /// Our next Request ID.
    pub(crate) next_id: u64,
    pub(crate) peer_ids: PeerIds,
    /// How many are the peer's.
    pub(crate) open_by_peer: u32,
    /// The same for each kind.
    open_by_kind: [u32; KINDS],
}

/// How many kinds of request there are.
const KINDS: usize = RequestKind::Update as usize + 1;

impl Requests {
    pub(crate) fn new(role: Role, peer_ids: PeerIds, hash_seed: u64) -> Self {
        let state = KeyedState::new(hash_seed);
        Self {
            table: Table::default(),
            by_id: HashMap::with_hasher(state),
            received: HashMap::with_hasher(state),
            crossing: HashMap::with_hasher(state),
            sent: HashMap::with_hasher(state),
            fetched: HashMap::with_hasher(state),
            advertised: Advertised::default(),
            prefixes: Prefixes::default(),
            told: 0,
            updates: BTreeMap::new(),
            next_id: role.first_request_id(),
            peer_ids,
            open_by_peer: 0,
            open_by_kind: [0; KINDS],
        }
    }

    pub(crate) fn get(&self, key: RequestKey) -> Option<&Request> {
        self.table.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: RequestKey) -> Option<&mut Request> {
        self.table.get_mut(key)
    }

    /// The subscriptions in which this side is the subscriber, in no particular order.
    pub(crate) fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.table.values().filter_map(|request| match &request.body {
            Body::Subscriber(subscriber) => Some(&**subscriber),
            _ => None,
        })
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<RequestKey> {
        self.by_id.get(&id).copied()
    }

    /// How many requests of this kind the peer has open.
    pub(crate) fn open_by_peer_of(&self, kind: RequestKind) -> u32 {
        self.open_by_kind.get(kind as usize).copied().unwrap_or(0)
    }

    fn count_of_peer(&mut self, kind: RequestKind, change: i32) {
        self.open_by_peer = self.open_by_peer.saturating_add_signed(change);
        if let Some(count) = self.open_by_kind.get_mut(kind as usize) {
            *count = count.saturating_add_signed(change);
        }
    }

    /// The request that an update of ours changes, if it has not been answered.
    pub(crate) fn by_update(&self, id: u64) -> Option<RequestKey> {
        self.updates.get(&id).copied()
    }

    /// An update of ours is sent.
    pub(crate) fn add_update(&mut self, key: RequestKey, update: SentUpdate) {
        if let Some(request) = self.table.get_mut(key) {
            request.updates.sent.push_back(update);
            self.updates.insert(update.id, key);
        }
    }

    /// An update of ours is answered.
    pub(crate) fn take_update(&mut self, id: u64) -> Option<SentUpdate> {
        let key = self.updates.remove(&id)?;
        let sent = &mut self.table.get_mut(key)?.updates.sent;
        let position = sent.iter().position(|update| update.id == id)?;
        sent.remove(position)
    }

    /// Requests of ours with this Request ID or a larger one that have not been answered, in
    /// the order they were begun. Looks at all, which is for what happens once in a session.
    pub(crate) fn unanswered_from(&self, id: u64) -> Vec<RequestKey> {
        let waits = |request: &Request| request.ours && request.phase == Phase::Pending;
        let mut found: Vec<_> = self
            .table
            .iter()
            .filter(|(_, request)| waits(request) && request.id >= id)
            .map(|(key, request)| (request.id, key))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// Subscriptions whose publisher has said that it is done and whose streams have all come, in
    /// the order they were begun. Looks at all, which is for what happens once in a session.
    pub(crate) fn done_and_whole(&self) -> Vec<RequestKey> {
        let is_whole =
            |subscriber: &Subscriber| subscriber.ending.is_some() && subscriber.missing() == 0;
        let mut found: Vec<_> = self
            .table
            .iter()
            .filter(|(_, request)| match &request.body {
                Body::Subscriber(subscriber) => is_whole(subscriber),
                _ => false,
            })
            .map(|(key, request)| (request.id, key))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, key)| key).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The subscription of this track in which this side is the subscriber.
    pub(crate) fn received(&self, track: &FullTrackName) -> Option<RequestKey> {
        self.received.get(track).copied()
    }

    /// The subscription of this track in which this side is the publisher.
    pub(crate) fn sent(&self, track: &FullTrackName) -> Option<RequestKey> {
        self.sent.get(track).copied()
    }

    /// The peer's PUBLISH of this track, if a SUBSCRIBE of ours that crossed with it is the one
    /// to be found.
    pub(crate) fn crossing(&self, track: &FullTrackName) -> Option<RequestKey> {
        self.crossing.get(track).copied()
    }

    /// Whether it is a subscription whose publisher has said that it is done.
    pub(crate) fn is_ending(&self, key: RequestKey) -> bool {
        match self.table.get(key).map(|request| &request.body) {
            Some(Body::Subscriber(subscriber)) => subscriber.ending.is_some(),
            _ => false,
        }
    }

    /// Whether it is a fetch of this side's that the publisher has accepted.
    pub(crate) fn is_accepted_fetch(&self, key: RequestKey) -> bool {
        self.table.get(key).is_some_and(|request| {
            matches!(request.body, Body::FetchSubscriber(_)) && request.phase == Phase::Established
        })
    }

    pub(crate) fn insert(&mut self, request: Request) -> RequestKey {
        let (id, ours) = (request.id, request.ours);
        if !ours {
            self.count_of_peer(request.kind(), 1);
        }
        let key = self.table.insert(request);
        self.by_id.insert(id, key);
        match self.table.get(key).map(|request| &request.body) {
            Some(Body::Subscriber(subscriber)) => {
                let track = subscriber.track.clone();
                match self.received.get(&track).copied() {
                    // Of a crossing SUBSCRIBE and PUBLISH, the first stays the one that is found.
                    Some(first) if !self.is_ending(first) => self.crossing.insert(track, key),
                    _ => self.received.insert(track, key),
                };
            }
            Some(Body::Publisher(publisher)) => {
                self.sent.entry(publisher.track.clone()).or_insert(key);
            }
            Some(Body::Namespace(namespace)) => {
                self.advertised.insert(ours, namespace.clone(), id, key);
            }
            Some(Body::NamespaceSubscription(subscription)) => {
                let space = Space::new(ours, subscription.kind);
                self.prefixes.insert(space, subscription.prefix.clone(), key);
            }
            Some(Body::FetchSubscriber(fetch)) => {
                self.fetched.entry(fetch.track.clone()).or_default().insert(key);
            }
            _ => {}
        }
        key
    }

    pub(crate) fn remove(&mut self, key: RequestKey) -> Option<Request> {
        let request = self.table.remove(key)?;
        self.by_id.remove(&request.id);
        for update in &request.updates.sent {
            self.updates.remove(&update.id);
        }
        if !request.ours {
            self.count_of_peer(request.kind(), -1);
        }
        let (map, track) = match &request.body {
            Body::Subscriber(subscriber) => (&mut self.received, &subscriber.track),
            Body::Publisher(publisher) => (&mut self.sent, &publisher.track),
            Body::Namespace(namespace) => {
                self.advertised.remove(request.ours, namespace, request.id);
                return Some(request);
            }
            Body::NamespaceSubscription(subscription) => {
                let space = Space::new(request.ours, subscription.kind);
                self.prefixes.remove(space, &subscription.prefix, key);
                self.told = self.told.saturating_sub(subscription.told.len());
                return Some(request);
            }
            Body::FetchSubscriber(fetch) => {
                if let Some(keys) = self.fetched.get_mut(&fetch.track) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.fetched.remove(&fetch.track);
                    }
                }
                return Some(request);
            }
            Body::FetchPublisher(_) | Body::TrackStatus => return Some(request),
        };
        if map.get(track) == Some(&key) {
            map.remove(track);
            if matches!(request.body, Body::Subscriber(_))
                && let Some(other) = self.crossing.remove(track)
            {
                self.received.insert(track.clone(), other);
            }
        } else if self.crossing.get(track) == Some(&key) {
            self.crossing.remove(track);
        }
        Some(request)
    }

    /// Our FETCHes of this track.
    pub(crate) fn fetches_of(&self, track: &FullTrackName) -> Vec<RequestKey> {
        self.fetched.get(track).map(|keys| keys.iter().copied().collect()).unwrap_or_default()
    }

    /// The oldest PUBLISH_NAMESPACE of ours or of the peer's.
    pub(crate) fn namespace(&self, namespace: &TrackNamespace, ours: bool) -> Option<RequestKey> {
        self.advertised.get(ours, namespace)
    }

    /// The namespace subscription that a request is.
    pub(crate) fn namespace_subscription(
        &self,
        key: RequestKey,
    ) -> Option<(&Request, &NamespaceSubscription)> {
        let request = self.table.get(key)?;
        match &request.body {
            Body::NamespaceSubscription(subscription) => Some((request, subscription)),
            _ => None,
        }
    }

    pub(crate) fn namespace_subscription_mut(
        &mut self,
        key: RequestKey,
    ) -> Option<&mut NamespaceSubscription> {
        match &mut self.table.get_mut(key)?.body {
            Body::NamespaceSubscription(subscription) => Some(subscription),
            _ => None,
        }
    }

    /// The peer's established subscription that a PUBLISH of this track would result from.
    pub(crate) fn asked_for(&self, track: &FullTrackName) -> Option<&NamespaceSubscription> {
        let find = |kind| {
            let key = self.prefixes.covering(Space::new(false, kind), track.namespace())?;
            let (request, subscription) = self.namespace_subscription(key)?;
            let is_asked = request.phase == Phase::Established && subscription.wants_tracks();
            is_asked.then_some(subscription)
        };
        find(RequestKind::SubscribeTracks).or_else(|| find(RequestKind::SubscribeNamespace))
    }

    /// Whether a namespace subscription may get another prefix.
    pub(crate) fn may_move_prefix(&mut self, key: RequestKey, prefix: &TrackNamespace) -> bool {
        let Some(request) = self.table.get(key) else { return false };
        let Body::NamespaceSubscription(subscription) = &request.body else { return false };
        let space = Space::new(request.ours, subscription.kind);
        self.prefixes.may_replace(space, &subscription.prefix, prefix, key)
    }

    /// A namespace subscription gets another prefix, unless that overlaps with another's
    /// (draft-18, "Updating Namespace Subscriptions"). Whether it has it now. What is not under the
    /// prefix any more cannot be told to be gone: a publisher tells of it again if it is under the
    /// prefix once more. A subscriber knows it still, as the publisher may.
    pub(crate) fn move_prefix(&mut self, key: RequestKey, prefix: &TrackNamespace) -> bool {
        let Some(request) = self.table.get_mut(key) else { return false };
        let Body::NamespaceSubscription(subscription) = &mut request.body else { return false };
        let space = Space::new(request.ours, subscription.kind);
        let moved = self.prefixes.replace(space, &subscription.prefix, prefix, key);
        if moved {
            subscription.prefix = prefix.clone();
            if !request.ours {
                let before = subscription.told.len();
                subscription.told.retain(|namespace| namespace.starts_with(prefix));
                let gone = before.saturating_sub(subscription.told.len());
                self.told = self.told.saturating_sub(gone);
            }
        }
        moved
    }

    /// NAMESPACE is sent or received. Whether it was news.
    pub(crate) fn tell(&mut self, key: RequestKey, namespace: TrackNamespace) -> bool {
        let Some(subscription) = self.namespace_subscription_mut(key) else { return false };
        let is_new = subscription.told.insert(namespace);
        self.told += usize::from(is_new);
        is_new
    }

    /// NAMESPACE_DONE is sent or received. Whether there had been a NAMESPACE.
    pub(crate) fn untell(&mut self, key: RequestKey, namespace: &TrackNamespace) -> bool {
        let Some(subscription) = self.namespace_subscription_mut(key) else { return false };
        let was_told = subscription.told.remove(namespace);
        self.told = self.told.saturating_sub(usize::from(was_told));
        was_told
    }
}
