//! The drafts, one constant each. A file here reads like its draft's change log.

mod d14;
mod d16;
mod d18;

pub use d14::D14;
pub use d16::D16;
pub use d18::D18;

use crate::model::Draft;
use crate::wire::{Dialect, FIRST_OBJECT, SetupLayout};

impl Draft {
    /// What the draft looks like on the wire.
    pub const fn dialect(self) -> &'static Dialect {
        match self {
            Self::D14 => &D14,
            Self::D16 => &D16,
            Self::D18 => &D18,
        }
    }

    /// The identifier to offer in TLS (ALPN) and in WebTransport's protocol negotiation.
    /// Draft 14 and its forerunners share one, and agree on a version in their setup messages.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::D14 => b"moq-00",
            Self::D16 => b"moqt-16",
            Self::D18 => b"moqt-18",
        }
    }

    /// The newest draft that a negotiated identifier can stand for.
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|draft| draft.alpn() == alpn)
    }

    /// Whether the header of a subgroup says that its first object is the first of the subgroup
    /// (draft-18, "Subgroup Header").
    pub const fn says_first_object(self) -> bool {
        self.dialect().objects.subgroup_type_bits & FIRST_OBJECT != 0
    }

    /// Whether those who publish a track can tell all its properties (draft-16, "Track Extensions").
    pub const fn says_track_properties(self) -> bool {
        self.dialect().track_properties
    }

    /// The version number in setup messages that state one.
    pub const fn setup_version(self) -> Option<u64> {
        match self.dialect().setup {
            SetupLayout::VersionsAndCount => Some(0xff00_0000 + self.number() as u64),
            SetupLayout::Count | SetupLayout::Bounded => None,
        }
    }
}
