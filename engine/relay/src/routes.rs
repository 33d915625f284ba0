//! [`Routes`]: which namespaces are published by whom, and who wants to hear of which.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use moqt_engine::RequestKey;
use moqt_engine::model::{NamespaceInterest, TrackNamespace};

use crate::connections::{ConnectionId, ShardId};

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
    pub(crate) interest: NamespaceInterest,
}

/// The namespaces that are published, and those who want to hear of them.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    published: BTreeMap<TrackNamespace, Vec<Origin>>,
    /// The relays that a namespace has come through from each who publishes it, if any.
    via: BTreeMap<(TrackNamespace, Origin), Vec<u64>>,
    listeners: BTreeMap<TrackNamespace, Vec<Listener>>,
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
        matches!(self.interest, NamespaceInterest::Namespaces | NamespaceInterest::Both)
    }

    pub(crate) fn wants_tracks(self) -> bool {
        matches!(self.interest, NamespaceInterest::Tracks | NamespaceInterest::Both)
    }
}

impl Routes {
    /// How many namespaces are published.
    pub(crate) fn len(&self) -> usize {
        self.published.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.published.is_empty() && self.listeners.is_empty()
    }

    /// Adds somebody who publishes a namespace.
    pub(crate) fn publish(&mut self, namespace: &TrackNamespace, origin: Origin, via: &[u64]) {
        if !via.is_empty() {
            self.via.insert((namespace.clone(), origin), via.to_vec());
        }
        let origins = self.published.entry(namespace.clone()).or_default();
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }

    /// Somebody publishes a namespace no longer.
    pub(crate) fn withdraw(&mut self, namespace: &TrackNamespace, origin: Origin) {
        self.via.remove(&(namespace.clone(), origin));
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

    /// The relays that a namespace has come through.
    pub(crate) fn via(&self, namespace: &TrackNamespace) -> Vec<u64> {
        let via = |origin: &Origin| self.via.get(&(namespace.clone(), *origin)).cloned();
        self.origins(namespace).first().and_then(via).unwrap_or_default()
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

    /// Whether somebody wants to hear of exactly this prefix.
    pub(crate) fn is_listened_to(&self, prefix: &TrackNamespace) -> bool {
        self.listeners.contains_key(prefix)
    }

    /// The prefixes that somebody wants to hear of.
    pub(crate) fn interests(&self) -> Vec<(TrackNamespace, NamespaceInterest)> {
        let each = self.listeners.iter();
        let each = each.flat_map(|(prefix, listeners)| {
            listeners.iter().map(move |listener| (prefix.clone(), listener.interest))
        });
        each.collect()
    }

    /// Those who want to hear of a namespace.
    pub(crate) fn listeners(&self, namespace: &TrackNamespace) -> Vec<Listener> {
        let of = |prefix| self.listeners.get(&prefix).into_iter().flatten().copied();
        prefixes(namespace).flat_map(of).collect()
    }
}

/// A namespace's prefixes, from that of no fields to itself.
fn prefixes(namespace: &TrackNamespace) -> impl Iterator<Item = TrackNamespace> + '_ {
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
        routes.publish(&namespace(&["foo"]), shard(1), &[]);
        routes.publish(&namespace(&["foo", "bar"]), shard(2), &[]);
        routes.publish(&namespace(&["foobar"]), shard(3), &[]);
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
        routes.publish(&name, shard(1), &[]);
        routes.publish(&name, shard(1), &[]);
        routes.publish(&name, shard(2), &[]);
        routes.withdraw(&name, shard(1));
        assert_eq!(routes.origins(&name), vec![shard(2)]);
        routes.withdraw(&name, shard(2));
        assert!(routes.is_empty());
    }
}
