//! The names under which a connection's streams and requests are known.

use thunderdome::{Arena, Index};

macro_rules! key {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Index);

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({}.{})", stringify!($name), self.0.slot(), self.0.generation())
            }
        }

        impl From<Index> for $name {
            fn from(index: Index) -> Self {
                Self(index)
            }
        }

        impl From<$name> for Index {
            fn from(key: $name) -> Self {
                key.0
            }
        }
    };
}

key! {
    /// A stream of one connection. Means nothing to another connection; after the stream is
    /// gone it means nothing at all, and calls with it are ignored or refused.
    StreamKey
}

key! {
    /// A request of one connection, of ours or of the peer's. Means nothing to another
    /// connection; after the request is over, calls with it are refused.
    RequestKey
}

/// An update of ours to a request, among all of one connection, from
/// [`update`](crate::MoqtConnection::update) (draft-18, "REQUEST_UPDATE").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId(u64);

impl UpdateId {
    pub(crate) fn new(request_id: u64) -> Self {
        Self(request_id)
    }

    /// Its Request ID.
    pub(crate) fn id(self) -> u64 {
        self.0
    }
}

/// A table under keys of its own.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    arena: Arena<V>,
    key: core::marker::PhantomData<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { arena: Arena::new(), key: core::marker::PhantomData }
    }
}

impl<K: Into<Index> + From<Index>, V> Table<K, V> {
    /// All values, in no particular order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.arena.iter().map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, value: V) -> K {
        self.arena.insert(value).into()
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.arena.get(key.into())
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.arena.get_mut(key.into())
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        self.arena.remove(key.into())
    }

    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }

    /// In order of slots, which is the same in every run.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.arena.iter().map(|(index, value)| (index.into(), value))
    }
}
