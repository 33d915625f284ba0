//! What somebody may do.

use moqt_relay::{Ask, Permission};

use super::pattern::{NamespacePattern, TextPattern};

/// Requests of some kinds for some namespaces.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) permissions: Permissions,
    pub(super) namespaces: Vec<NamespacePattern>,
    /// Tracks that it is limited to; then it does not hold for requests about namespaces.
    pub(super) track: Option<TextPattern>,
}

/// How a grant fits a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Not at all.
    No,
    /// The namespace itself is granted, but not all that the request is for.
    InPart,
    /// Wholly.
    Whole,
}

impl Grant {
    /// Whether it allows a request.
    ///
    /// Whoever publishes a namespace is asked for all tracks beneath it, and whoever subscribes to
    /// one is told of all that is beneath it. Both need a grant for all of that.
    pub(super) fn fit(&self, ask: &Ask<'_>) -> Fit {
        if !self.permissions.has(ask.what) {
            return Fit::No;
        }
        if !self.namespaces.iter().any(|pattern| pattern.matches(ask.namespace)) {
            return Fit::No;
        }
        let (is_whole, otherwise) = match ask.what {
            Permission::PublishNamespace | Permission::SubscribeNamespace => {
                let mut patterns = self.namespaces.iter();
                let is_all = patterns.any(|pattern| pattern.matches_all_beneath(ask.namespace));
                (is_all && self.track.is_none(), Fit::InPart)
            }
            _ => {
                let is_meant =
                    |track: &TextPattern| ask.name.is_some_and(|name| track.matches(name));
                (self.track.as_ref().is_none_or(is_meant), Fit::No)
            }
        };
        if is_whole { Fit::Whole } else { otherwise }
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Permissions(u8);

/// What a permission is called in files, and what it holds.
const WORDS: [(&str, Permissions); 9] = [
    ("publish", Permissions(1)),
    ("publish-namespace", Permissions(1 << 1)),
    ("subscribe", Permissions(1 << 2)),
    ("fetch", Permissions(1 << 3)),
    ("track-status", Permissions(1 << 4)),
    ("subscribe-namespace", Permissions(1 << 5)),
    ("publisher", Permissions::PUBLISHER),
    ("subscriber", Permissions::SUBSCRIBER),
    ("all", Permissions(0b11_1111)),
];

impl Permissions {
    /// All that a publisher needs.
    pub(super) const PUBLISHER: Self = Self(0b00_0011);
    /// All that a subscriber needs.
    pub(super) const SUBSCRIBER: Self = Self(0b11_1100);

    /// What a word in a file stands for.
    pub(super) fn named(word: &str) -> Option<Self> {
        WORDS.iter().find(|(name, _)| *name == word).map(|(_, permissions)| *permissions)
    }

    /// The words there are.
    pub(super) fn words() -> String {
        WORDS.map(|(name, _)| name).join(", ")
    }

    /// Both sets together.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, what: Permission) -> bool {
        let bit = match what {
            Permission::Publish => 1,
            Permission::PublishNamespace => 1 << 1,
            Permission::Subscribe => 1 << 2,
            Permission::Fetch => 1 << 3,
            Permission::TrackStatus => 1 << 4,
            Permission::SubscribeNamespace => 1 << 5,
            // What is not known here nobody was allowed.
            _ => 0,
        };
        self.0 & bit != 0
    }
}

/// The message that asks for a permission.
pub(super) fn message(what: Permission) -> &'static str {
    match what {
        Permission::Publish => "PUBLISH",
        Permission::PublishNamespace => "PUBLISH_NAMESPACE",
        Permission::Subscribe => "SUBSCRIBE",
        Permission::Fetch => "FETCH",
        Permission::TrackStatus => "TRACK_STATUS",
        Permission::SubscribeNamespace => "SUBSCRIBE_NAMESPACE",
        _ => "this request",
    }
}
