//! Two of everything, without indices.

use moqt_engine::Dir;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Client, Self::Server];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Something that each end has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sides<T> {
    pub(crate) client: T,
    pub(crate) server: T,
}

impl<T> Sides<T> {
    pub(crate) const fn get(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(crate) const fn get_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// A count for each kind of stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerDir {
    pub(crate) bi: u64,
    pub(crate) uni: u64,
}

impl PerDir {
    pub(crate) const fn get(&self, dir: Dir) -> u64 {
        match dir {
            Dir::Bi => self.bi,
            Dir::Uni => self.uni,
        }
    }

    pub(crate) const fn get_mut(&mut self, dir: Dir) -> &mut u64 {
        match dir {
            Dir::Bi => &mut self.bi,
            Dir::Uni => &mut self.uni,
        }
    }
}
