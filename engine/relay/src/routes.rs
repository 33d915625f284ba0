//! [`Routes`]: which namespaces are published by whom, and who wants to hear of which.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use moqt_engine::RequestKey;
use moqt_engine::model::TrackNamespace;

use crate::connections::{ConnectionId, ShardId};
use crate::interest::{Interest, Interests};

/// Who publishes a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A session of this shard's: the PUBLISH_NAMESPACE, or the SUBSCRIBE_NAMESPACE of ours
    /// that it was told of in.
    Session(ConnectionId, RequestKey),
    /// Some session of another shard's.
    Shard(ShardId),
}

/// Who wants to hear of namespaces or tracks: a namespace subscription of a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) connection: ConnectionId,
    pub(crate) request: RequestKey,
    pub(crate) interest: Interest,
    /// It is a relay upstream.
    pub(crate) is_above: bool,
}

/// How a namespace has come here from one who publishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// The relays that it has come through, as far as they are known.
    pub(crate) via: Vec<u64>,
    /// It comes from a relay upstream: no other such relay is told of it, or it would go on in
    /// circles.
    pub(crate) is_above: bool,
}

/// The namespaces that are published, and those who want to hear of them.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    published: BTreeMap<TrackNamespace, Vec<Origin>>,
    /// By namespace and who publishes it, if it is not the plain way.
    ways: BTreeMap<(TrackNamespace, Origin), Way>,
    listeners: BTreeMap<TrackNamespace, Vec<Listener>>,
    /// What sessions of other shards want to hear of.
    elsewhere: BTreeMap<TrackNamespace, Vec<(ShardId, Interest)>>,
}

impl Origin {
    /// Whether it is another shard.
    pub(crate) fn is_shard(&self) -> bool {
        matches!(self, Self::Shard(_))
    }

    /// Whether it is a session on this connection.
    pub(crate) fn is_on(self, id: ConnectionId) -> bool {
        matches!(self, Self::Session(connection, _) if connection == id)
    }
}

impl Listener {
    pub(crate) fn wants_namespaces(self) -> bool {
        self.interest.namespaces
    }

    pub(crate) fn wants_tracks(self) -> bool {
        self.interest.tracks
    }
}

impl Routes {
    /// How many namespaces are published.
    pub(crate) fn len(&self) -> usize {
        self.published.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.published.is_empty() && self.listeners.is_empty() && self.elsewhere.is_empty()
    }

    /// Adds somebody who publishes a namespace.
    pub(crate) fn publish(&mut self, namespace: &TrackNamespace, origin: Origin, way: &Way) {
        let key = (namespace.clone(), origin);
        if *way == Way::default() {
            self.ways.remove(&key);
        } else {
            self.ways.insert(key, way.clone());
        }
        let origins = self.published.entry(namespace.clone()).or_default();
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }

    /// Somebody publishes a namespace no longer.
    pub(crate) fn withdraw(&mut self, namespace: &TrackNamespace, origin: Origin) {
        self.ways.remove(&(namespace.clone(), origin));
        if let Some(origins) = self.published.get_mut(namespace) {
            origins.retain(|other| *other != origin);
            if origins.is_empty() {
                self.published.remove(namespace);
            }
        }
    }

    /// Those who publish exactly this namespace.
    pub(crate) fn origins(&self, namespace: &TrackNamespace) -> &[Origin] {
        self.published.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// How a namespace has come from sessions of this shard's; `None` if none publishes it.
    pub(crate) fn way_here(&self, namespace: &TrackNamespace) -> Option<Way> {
        self.best_way(namespace, |origin| !origin.is_shard())
    }

    /// How a namespace has come, if not from relays upstream alone.
    pub(crate) fn way_from_below(&self, namespace: &TrackNamespace) -> Option<Way> {
        self.best_way(namespace, |_| true).filter(|way| !way.is_above)
    }

    /// The way that the first has come who is not upstream, or the first if all are.
    fn best_way(&self, namespace: &TrackNamespace, of: impl Fn(&Origin) -> bool) -> Option<Way> {
        let origins = self.origins(namespace).iter().filter(|origin| of(origin));
        let way = |origin: &Origin| self.ways.get(&(namespace.clone(), *origin)).cloned();
        origins.map(|origin| way(origin).unwrap_or_default()).min_by_key(|way| way.is_above)
    }

    /// Those who publish a namespace or a prefix of it, each once.
    pub(crate) fn publishers(&self, namespace: &TrackNamespace) -> Vec<Origin> {
        let mut found = Vec::new();
        for prefix in prefixes(namespace) {
            for origin in self.origins(&prefix) {
                if !found.contains(origin) {
                    found.push(*origin);
                }
            }
        }
        found
    }

    /// The namespaces under a prefix, and who publishes them.
    pub(crate) fn under<'a>(
        &'a self,
        prefix: &'a TrackNamespace,
    ) -> impl Iterator<Item = (&'a TrackNamespace, &'a [Origin])> {
        // All that begin with the prefix's bytes are neighbours; few have other fields.
        self.published
            .range((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(namespace, _)| begins_with_bytes(namespace, prefix))
            .filter(|(namespace, _)| namespace.starts_with(prefix))
            .map(|(namespace, origins)| (namespace, origins.as_slice()))
    }

    pub(crate) fn listen(&mut self, prefix: &TrackNamespace, listener: Listener) {
        self.listeners.entry(prefix.clone()).or_default().push(listener);
    }

    pub(crate) fn stop_listening(
        &mut self,
        prefix: &TrackNamespace,
        connection: ConnectionId,
        request: RequestKey,
    ) {
        if let Some(listeners) = self.listeners.get_mut(prefix) {
            listeners.retain(|other| (other.connection, other.request) != (connection, request));
            if listeners.is_empty() {
                self.listeners.remove(prefix);
            }
        }
    }

    /// What sessions of another shard's want to hear of under exactly this prefix.
    pub(crate) fn listen_elsewhere(
        &mut self,
        prefix: &TrackNamespace,
        shard: ShardId,
        interest: Interest,
    ) {
        let shards = self.elsewhere.entry(prefix.clone()).or_default();
        shards.retain(|(other, _)| *other != shard);
        if !interest.is_nothing() {
            shards.push((shard, interest));
        }
        if shards.is_empty() {
            self.elsewhere.remove(prefix);
        }
    }

    /// What sessions of this shard's want to hear of under exactly this prefix, but for relays
    /// upstream.
    pub(crate) fn interest_here(&self, prefix: &TrackNamespace) -> Interest {
        let listeners = self.listeners.get(prefix).into_iter().flatten();
        let below = listeners.filter(|listener| !listener.is_above);
        below.fold(Interest::default(), |all, listener| all.or(listener.interest))
    }

    /// What somebody wants to hear of under exactly this prefix, but for relays upstream.
    pub(crate) fn interest(&self, prefix: &TrackNamespace) -> Interest {
        let elsewhere = self.elsewhere.get(prefix).into_iter().flatten();
        elsewhere.fold(self.interest_here(prefix), |all, (_, interest)| all.or(*interest))
    }

    /// The same of all prefixes.
    pub(crate) fn interests(&self) -> Interests {
        let prefixes = self.listeners.keys().chain(self.elsewhere.keys());
        let all = prefixes.map(|prefix| (prefix.clone(), self.interest(prefix)));
        all.filter(|(_, interest)| !interest.is_nothing()).collect()
    }

    /// Whether somebody wants to hear of the tracks of a namespace.
    pub(crate) fn has_listeners_to_tracks(&self, namespace: &TrackNamespace) -> bool {
        prefixes(namespace).any(|prefix| self.interest(&prefix).tracks)
    }

    /// Shards where somebody wants to hear of the tracks of a namespace.
    pub(crate) fn shards_listening_to_tracks(&self, namespace: &TrackNamespace) -> Vec<ShardId> {
        let mut found = Vec::new();
        for prefix in prefixes(namespace) {
            for (shard, interest) in self.elsewhere.get(&prefix).into_iter().flatten() {
                if interest.tracks && !found.contains(shard) {
                    found.push(*shard);
                }
            }
        }
        found
    }

    /// Those who want to hear of a namespace.
    pub(crate) fn listeners(&self, namespace: &TrackNamespace) -> Vec<Listener> {
        let of = |prefix| self.listeners.get(&prefix).into_iter().flatten().copied();
        prefixes(namespace).flat_map(of).collect()
    }
}

/// A namespace's prefixes, from that of no fields to itself.
pub(crate) fn prefixes(namespace: &TrackNamespace) -> impl Iterator<Item = TrackNamespace> + '_ {
    // Taking fields away makes nothing longer.
    (0..=namespace.len())
        .map(|len| TrackNamespace::new(namespace.fields().take(len)).unwrap_or_default())
}

fn begins_with_bytes(namespace: &TrackNamespace, prefix: &TrackNamespace) -> bool {
    let mut bytes = namespace.fields().flatten();
    prefix.fields().flatten().all(|byte| bytes.next() == Some(byte))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn namespace(fields: &[&str]) -> TrackNamespace {
        TrackNamespace::new(fields).unwrap()
    }

    fn shard(id: u16) -> Origin {
        Origin::Shard(ShardId(id))
    }

    /// The example of draft-18, "Publisher Interactions".
    #[test]
    fn fields_match_as_wholes() {
        let mut routes = Routes::default();
        routes.publish(&namespace(&["foo"]), shard(1), &Way::default());
        routes.publish(&namespace(&["foo", "bar"]), shard(2), &Way::default());
        routes.publish(&namespace(&["foobar"]), shard(3), &Way::default());
        assert_eq!(routes.publishers(&namespace(&["foo", "bar"])), [shard(1), shard(2)]);
        assert_eq!(routes.publishers(&namespace(&["foobar", "x"])), [shard(3)]);
        let foo = namespace(&["foo"]);
        let under: Vec<_> = routes.under(&foo).map(|(namespace, _)| namespace.clone()).collect();
        assert_eq!(under, [namespace(&["foo"]), namespace(&["foo", "bar"])]);
        assert_eq!(routes.under(&TrackNamespace::root()).count(), 3);
    }

    #[test]
    fn what_was_published_twice_is_withdrawn_twice() {
        let mut routes = Routes::default();
        let name = namespace(&["a"]);
        routes.publish(&name, shard(1), &Way::default());
        routes.publish(&name, shard(1), &Way::default());
        routes.publish(&name, shard(2), &Way::default());
        routes.withdraw(&name, shard(1));
        assert_eq!(routes.origins(&name), vec![shard(2)]);
        routes.withdraw(&name, shard(2));
        assert!(routes.is_empty());
    }
}
