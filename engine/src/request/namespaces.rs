//! What is known of namespaces: who publishes them, and who wants to hear of which.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Ordering;

use crate::key::RequestKey;
use crate::model::{FullTrackName, NamespaceInterest, RequestKind, TrackNamespace};

/// A SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS, either way.
#[derive(Debug)]
pub(crate) struct NamespaceSubscription {
    /// Which of the two it is.
    pub(crate) kind: RequestKind,
    pub(crate) prefix: TrackNamespace,
    pub(crate) interest: NamespaceInterest,
    /// The forward state of PUBLISHes that result from it, where it has a say in that.
    pub(crate) forward: Option<bool>,
    /// Namespaces that NAMESPACE was sent for and NAMESPACE_DONE was not. In full: the prefix
    /// may change.
    pub(crate) told: BTreeSet<TrackNamespace>,
    /// Tracks that PUBLISH_BLOCKED was sent for, if this side publishes.
    pub(crate) blocked: BTreeSet<FullTrackName>,
}

impl NamespaceSubscription {
    pub(crate) fn new(
        kind: RequestKind,
        prefix: TrackNamespace,
        interest: NamespaceInterest,
        forward: Option<bool>,
    ) -> Self {
        Self { kind, prefix, interest, forward, told: BTreeSet::new(), blocked: BTreeSet::new() }
    }

    /// Whether it asks for a PUBLISH of each track.
    pub(crate) fn wants_tracks(&self) -> bool {
        self.interest != NamespaceInterest::Namespaces
    }

    /// Whether it asks for the namespaces themselves.
    pub(crate) fn wants_namespaces(&self) -> bool {
        self.interest != NamespaceInterest::Tracks
    }
}

/// Namespace subscriptions that must not overlap: those of one side and one kind (draft-18,
/// "SUBSCRIBE_TRACKS").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Space {
    pub(crate) ours: bool,
    pub(crate) of_tracks: bool,
}

impl Space {
    pub(crate) fn new(ours: bool, kind: RequestKind) -> Self {
        Self { ours, of_tracks: kind == RequestKind::SubscribeTracks }
    }
}

/// The prefixes of all namespace subscriptions. None of those in a space is a prefix of
/// another, which makes each question one look to the left and one to the right.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    taken: BTreeMap<(Space, ByFields), RequestKey>,
    /// Those that updates of ours ask for and that have not been answered, by subscription and
    /// the update's Request ID. They are taken, too: the peer may have them in force already.
    moving: BTreeMap<RequestKey, (Space, BTreeMap<u64, TrackNamespace>)>,
}

impl Prefixes {
    /// The subscription of exactly this prefix.
    pub(crate) fn get(&self, space: Space, prefix: &TrackNamespace) -> Option<RequestKey> {
        self.taken.get(&(space, ByFields(prefix.clone()))).copied()
    }

    /// The subscription whose prefix this namespace begins with.
    pub(crate) fn covering(&self, space: Space, namespace: &TrackNamespace) -> Option<RequestKey> {
        let at = (space, ByFields(namespace.clone()));
        let ((found, prefix), key) = self.taken.range(..=at).next_back()?;
        (*found == space && namespace.starts_with(&prefix.0)).then_some(*key)
    }

    /// A subscription whose prefix begins with this one, or this one with it.
    pub(crate) fn overlapping(&self, space: Space, prefix: &TrackNamespace) -> Option<RequestKey> {
        self.overlapping_now(space, prefix).or_else(|| self.overlapping_soon(space, prefix, None))
    }

    fn overlapping_now(&self, space: Space, prefix: &TrackNamespace) -> Option<RequestKey> {
        self.covering(space, prefix).or_else(|| {
            let at = (space, ByFields(prefix.clone()));
            let ((found, longer), key) = self.taken.range(at..).next()?;
            (*found == space && longer.0.starts_with(prefix)).then_some(*key)
        })
    }

    /// Another subscription than this one that is asked to get such a prefix.
    fn overlapping_soon(
        &self,
        space: Space,
        prefix: &TrackNamespace,
        but: Option<RequestKey>,
    ) -> Option<RequestKey> {
        let others = self.moving.iter().filter(|(key, _)| Some(**key) != but);
        let mut others = others.filter(|(_, (found, _))| *found == space);
        let overlaps = |to: &TrackNamespace| to.starts_with(prefix) || prefix.starts_with(to);
        others.find(|(_, (_, to))| to.values().any(overlaps)).map(|(key, _)| *key)
    }

    /// Adds a prefix that overlaps with no other.
    pub(crate) fn insert(&mut self, space: Space, prefix: TrackNamespace, key: RequestKey) {
        self.taken.insert((space, ByFields(prefix)), key);
    }

    /// Forgets the prefix of this subscription, and those it asks for.
    pub(crate) fn remove(&mut self, space: Space, prefix: &TrackNamespace, key: RequestKey) {
        self.free(space, prefix, key);
        self.moving.remove(&key);
    }

    fn free(&mut self, space: Space, prefix: &TrackNamespace, key: RequestKey) {
        let at = (space, ByFields(prefix.clone()));
        if self.taken.get(&at) == Some(&key) {
            self.taken.remove(&at);
        }
    }

    /// An update asks for another prefix. Until it is answered both are taken.
    pub(crate) fn ask(&mut self, space: Space, key: RequestKey, update: u64, to: TrackNamespace) {
        let (_, moving) = self.moving.entry(key).or_insert((space, BTreeMap::new()));
        moving.insert(update, to);
    }

    /// What an update asked for, which was accepted.
    pub(crate) fn answered(&mut self, key: RequestKey, update: u64) -> Option<TrackNamespace> {
        let (_, moving) = self.moving.get_mut(&key)?;
        let prefix = moving.remove(&update);
        if moving.is_empty() {
            self.moving.remove(&key);
        }
        prefix
    }

    /// Whether a subscription may have another prefix, which overlaps with no other's.
    pub(crate) fn may_replace(
        &mut self,
        space: Space,
        from: &TrackNamespace,
        to: &TrackNamespace,
        key: RequestKey,
    ) -> bool {
        self.free(space, from, key);
        let is_free = self.overlapping_now(space, to).is_none()
            && self.overlapping_soon(space, to, Some(key)).is_none();
        self.insert(space, from.clone(), key);
        is_free
    }

    /// Gives a subscription another prefix if it may have it. Whether it has it now.
    pub(crate) fn replace(
        &mut self,
        space: Space,
        from: &TrackNamespace,
        to: &TrackNamespace,
        key: RequestKey,
    ) -> bool {
        let may = self.may_replace(space, from, to, key);
        if may {
            self.free(space, from, key);
            self.insert(space, to.clone(), key);
        }
        may
    }
}

/// A namespace in the order of its fields: what one is a prefix of comes right after it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ByFields(TrackNamespace);

impl Ord for ByFields {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.fields().cmp(other.0.fields())
    }
}

impl PartialOrd for ByFields {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// PUBLISH_NAMESPACE requests by their namespace, in the order of their Request IDs. No draft
/// forbids a second one of the same namespace, say with another token.
#[derive(Debug, Default)]
pub(crate) struct Advertised(BTreeMap<(bool, TrackNamespace), BTreeMap<u64, RequestKey>>);

impl Advertised {
    /// The oldest request of ours or of the peer's for this namespace.
    pub(crate) fn get(&self, ours: bool, namespace: &TrackNamespace) -> Option<RequestKey> {
        self.0.get(&(ours, namespace.clone()))?.values().next().copied()
    }

    pub(crate) fn insert(
        &mut self,
        ours: bool,
        namespace: TrackNamespace,
        id: u64,
        key: RequestKey,
    ) {
        self.0.entry((ours, namespace)).or_default().insert(id, key);
    }

    pub(crate) fn remove(&mut self, ours: bool, namespace: &TrackNamespace, id: u64) {
        let at = (ours, namespace.clone());
        if let Some(keys) = self.0.get_mut(&at) {
            keys.remove(&id);
            if keys.is_empty() {
                self.0.remove(&at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Table;

    #[test]
    fn prefixes_overlap_by_whole_fields() {
        let mut table: Table<RequestKey, ()> = Table::default();
        let mut prefixes = Prefixes::default();
        let space = Space::new(true, RequestKind::SubscribeNamespace);
        let name = |text: &str| text.parse::<TrackNamespace>().unwrap();
        let keys = ["a-b", "a-c-d", "ab", "b-c"].map(|text| {
            let key = table.insert(());
            assert_eq!(prefixes.overlapping(space, &name(text)), None, "{text}");
            prefixes.insert(space, name(text), key);
            key
        });
        for (text, index) in [
            ("a-b", Some(0)),
            ("a-b-c", Some(0)),
            ("a-c", Some(1)),
            ("ab", Some(2)),
            ("b", Some(3)),
            ("", Some(0)),
            ("a-ba", None),
            ("a-c-c", None),
            ("c", None),
        ] {
            let found = prefixes.overlapping(space, &name(text));
            assert_eq!(found, index.map(|index: usize| keys[index]), "{text}");
        }
        assert_eq!(prefixes.covering(space, &name("a")), None);
        assert_eq!(prefixes.covering(space, &name("b-c-d")), Some(keys[3]));
        for other in [
            Space::new(false, RequestKind::SubscribeNamespace),
            Space::new(true, RequestKind::SubscribeTracks),
        ] {
            assert_eq!(prefixes.overlapping(other, &name("a-b")), None);
        }
        // A prefix may overlap with the one it replaces, and with no other.
        assert!(!prefixes.replace(space, &name("a-b"), &name("a"), keys[0]));
        assert_eq!(prefixes.covering(space, &name("a-b")), Some(keys[0]));
        assert!(prefixes.replace(space, &name("a-b"), &name("a-b-c"), keys[0]));
        assert_eq!(prefixes.covering(space, &name("a-b")), None);
        prefixes.remove(space, &name("a-b-c"), keys[1]);
        assert_eq!(prefixes.covering(space, &name("a-b-c-d")), Some(keys[0]));
        prefixes.remove(space, &name("a-b-c"), keys[0]);
        assert_eq!(prefixes.overlapping(space, &name("a-b-c")), None);
    }
}
