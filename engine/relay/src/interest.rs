//! [`Interest`]: what somebody wants to hear of under a prefix, and how to ask for all of it at
//! once.

use alloc::collections::BTreeMap;

use moqt_engine::model::{NamespaceInterest, TrackNamespace};

use crate::routes::prefixes;

/// What somebody wants to hear of: namespaces, tracks, both or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) namespaces: bool,
    pub(crate) tracks: bool,
}

impl Interest {
    pub(crate) const NAMESPACES: Self = Self { namespaces: true, tracks: false };
    pub(crate) const TRACKS: Self = Self { namespaces: false, tracks: true };
    pub(crate) const BOTH: Self = Self { namespaces: true, tracks: true };

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.and(other) == other
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let namespaces = self.namespaces && other.namespaces;
        Self { namespaces, tracks: self.tracks && other.tracks }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        let namespaces = self.namespaces || other.namespaces;
        Self { namespaces, tracks: self.tracks || other.tracks }
    }

    pub(crate) fn but(self, other: Self) -> Self {
        let namespaces = self.namespaces && !other.namespaces;
        Self { namespaces, tracks: self.tracks && !other.tracks }
    }

    /// As requests say it; `None` for nothing.
    pub(crate) fn to_request(self) -> Option<NamespaceInterest> {
        match (self.namespaces, self.tracks) {
            (true, true) => Some(NamespaceInterest::Both),
            (true, false) => Some(NamespaceInterest::Namespaces),
            (false, true) => Some(NamespaceInterest::Tracks),
            (false, false) => None,
        }
    }
}

impl From<NamespaceInterest> for Interest {
    fn from(interest: NamespaceInterest) -> Self {
        match interest {
            NamespaceInterest::Namespaces => Self::NAMESPACES,
            NamespaceInterest::Tracks => Self::TRACKS,
            NamespaceInterest::Both => Self::BOTH,
        }
    }
}

/// Interests by prefix. None is nothing.
pub(crate) type Interests = BTreeMap<TrackNamespace, Interest>;

/// What to ask for so that all of this is heard of, as of two prefixes of which one begins with the
/// other only one may be asked for: the shorter one. `kinds` are the kinds of request that do not
/// get in each other's way. What was refused is not asked for, but what is in it is.
pub(crate) fn cover(wanted: &Interests, refused: &Interests, kinds: &[Interest]) -> Interests {
    let mut asked = Interests::new();
    for (prefix, interest) in wanted {
        for kind in kinds {
            let interest = interest.and(*kind);
            let is_wanted = |prefix: &TrackNamespace| {
                let has_it =
                    |of: &Interests| of.get(prefix).is_some_and(|it| !it.and(*kind).is_nothing());
                has_it(wanted) && !has_it(refused)
            };
            if !interest.is_nothing()
                && let Some(shortest) = prefixes(prefix).find(is_wanted)
            {
                let all = asked.entry(shortest).or_default();
                *all = all.or(interest);
            }
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const APART: [Interest; 2] = [Interest::NAMESPACES, Interest::TRACKS];

    fn interests(of: &[(&str, Interest)]) -> Interests {
        let prefix = |fields: &str| {
            let fields: Vec<&str> = fields.split('-').filter(|field| !field.is_empty()).collect();
            TrackNamespace::new(fields).unwrap()
        };
        of.iter().map(|(fields, interest)| (prefix(fields), *interest)).collect()
    }

    #[test]
    fn the_shortest_prefix_is_asked_for() {
        let (namespaces, both) = (Interest::NAMESPACES, Interest::BOTH);
        let wanted = interests(&[("a-b", namespaces), ("a", namespaces), ("ab", both)]);
        let none = Interests::new();
        let expected = interests(&[("a", namespaces), ("ab", both)]);
        assert_eq!(cover(&wanted, &none, &APART), expected);
        assert_eq!(cover(&wanted, &none, &[both]), expected);
        let wanted = interests(&[("a-b", namespaces), ("", both)]);
        assert_eq!(cover(&wanted, &none, &APART), interests(&[("", both)]));
    }

    #[test]
    fn kinds_are_apart_where_the_draft_has_a_request_for_each() {
        let wanted = interests(&[("a-b", Interest::NAMESPACES), ("a", Interest::TRACKS)]);
        let none = Interests::new();
        assert_eq!(cover(&wanted, &none, &APART), wanted);
        let expected = interests(&[("a", Interest::BOTH)]);
        assert_eq!(cover(&wanted, &none, &[Interest::BOTH]), expected);
    }

    #[test]
    fn what_was_refused_covers_nothing() {
        let both = Interest::BOTH;
        let wanted = interests(&[("a", both), ("a-b", both), ("a-b-c", both)]);
        let refused = interests(&[("a", Interest::NAMESPACES)]);
        let expected = interests(&[("a", Interest::TRACKS), ("a-b", Interest::NAMESPACES)]);
        assert_eq!(cover(&wanted, &refused, &APART), expected);
        assert_eq!(cover(&wanted, &refused, &[both]), interests(&[("a-b", both)]));
    }
}
