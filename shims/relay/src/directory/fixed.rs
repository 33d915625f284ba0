//! Origins that were configured.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use moqt_engine::model::{NameError, TrackNamespace};

use super::{Answer, Origin, OriginDirectory, prefixes};
use crate::auth::{PatternError, unescape};

/// A directory of what was configured: which relays hold which prefixes. What is registered is
/// not told anybody.
#[derive(Clone, Debug, Default)]
pub struct FixedOrigins(BTreeMap<TrackNamespace, Vec<String>>);

/// Why a text does not say who holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginError {
    /// It has no `=`, or nothing after it.
    NoUrl,
    /// `%` without two hex digits after it.
    Escape,
    /// The prefix is no namespace.
    Namespace(NameError),
}

impl FixedOrigins {
    /// One more relay, from a text `PREFIX=URL`: fields with `/` between them, in which `%` and
    /// two hex digits stand for a byte. An empty prefix is all there is.
    pub fn add(&mut self, text: &str) -> Result<(), OriginError> {
        let (prefix, url) = text.split_once('=').ok_or(OriginError::NoUrl)?;
        if url.is_empty() {
            return Err(OriginError::NoUrl);
        }
        let fields = prefix.split('/').filter(|field| !field.is_empty());
        let fields: Result<Vec<_>, PatternError> = fields.map(unescape).collect();
        let fields = fields.map_err(|_| OriginError::Escape)?;
        let prefix = TrackNamespace::new(fields).map_err(OriginError::Namespace)?;
        let urls = self.0.entry(prefix).or_default();
        if !urls.iter().any(|known| known == url) {
            urls.push(url.into());
        }
        Ok(())
    }

    fn found(&self, namespace: &TrackNamespace) -> Vec<Origin> {
        let mut origins: Vec<Origin> = Vec::new();
        for prefix in prefixes(namespace) {
            for url in self.0.get(&prefix).into_iter().flatten() {
                if !origins.iter().any(|origin| origin.url == *url) {
                    origins.push(Origin { namespace: prefix.clone(), url: url.clone() });
                }
            }
        }
        origins
    }
}

impl OriginDirectory for FixedOrigins {
    fn register<'a>(&'a self, _: &'a [TrackNamespace]) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn withdraw<'a>(&'a self, _: &'a [TrackNamespace]) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn find<'a>(&'a self, namespace: &'a TrackNamespace) -> Answer<'a, Vec<Origin>> {
        Box::pin(async { Ok(self.found(namespace)) })
    }

    fn refresh(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn refresh_every(&self) -> Option<Duration> {
        None
    }

    fn leave(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl => f.write_str("write PREFIX=URL, such as meet/room=moqt://relay.example"),
            Self::Escape => PatternError::Escape.fmt(f),
            Self::Namespace(error) => write!(f, "the prefix is no namespace: {error}"),
        }
    }
}

impl std::error::Error for OriginError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(origins: &FixedOrigins, fields: &[&str]) -> Vec<(String, usize)> {
        let found = origins.found(&TrackNamespace::new(fields).unwrap());
        found.into_iter().map(|origin| (origin.url, origin.namespace.len())).collect()
    }

    #[test]
    fn the_longest_prefix_comes_first_and_each_relay_once() {
        let mut origins = FixedOrigins::default();
        for text in [
            "meet=moqt://a",
            "=moqt://all",
            "meet/r%2F1=moqt://b",
            "/meet/=moqt://c?x=1",
            "=moqt://a",
        ] {
            origins.add(text).unwrap();
        }
        let url = |url: &str, fields| (url.to_owned(), fields);
        let all =
            [url("moqt://b", 2), url("moqt://a", 1), url("moqt://c?x=1", 1), url("moqt://all", 0)];
        assert_eq!(found(&origins, &["meet", "r/1", "audio"]), all);
        assert_eq!(found(&origins, &["meet", "r/1"]), all);
        assert_eq!(found(&origins, &["meet"]), all[1..]);
        assert_eq!(found(&origins, &["meeting"]), [url("moqt://all", 0), url("moqt://a", 0)]);
        assert_eq!(found(&FixedOrigins::default(), &["meet"]), []);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let mut origins = FixedOrigins::default();
        assert_eq!(origins.add("meet"), Err(OriginError::NoUrl));
        assert_eq!(origins.add("meet="), Err(OriginError::NoUrl));
        assert_eq!(origins.add("a%2=moqt://a"), Err(OriginError::Escape));
        let many = "a/".repeat(33) + "=moqt://a";
        assert!(matches!(origins.add(&many), Err(OriginError::Namespace(_))));
        assert_eq!(found(&origins, &["a"]), []);
    }
}
