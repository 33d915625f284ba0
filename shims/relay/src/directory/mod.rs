//! Which relay holds which namespace, so that any relay finds the one that does.
//!
//! A server tells its [`OriginDirectory`] of each
//! [`Action::Hold`](moqt_relay::Action::Hold) and [`Action::Release`](moqt_relay::Action::Release),
//! asks it upon [`Action::FindOrigin`](moqt_relay::Action::FindOrigin), and runs
//! [`keep_fresh`] beside.
//!
//! - [`FixedOrigins`]: what was configured.
//! - [`RedisDirectory`]: what relays tell each other through a Redis (feature `redis`).

mod fixed;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use moqt_engine::model::TrackNamespace;

pub use fixed::{FixedOrigins, OriginError};
#[cfg(feature = "redis")]
pub use redis::{RedisDirectory, RedisSettings};

/// Something that a directory has been asked and will answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, DirectoryError>> + Send + 'a>>;

/// Knows which relay holds which namespace.
///
/// What this relay holds is counted: a namespace that was registered twice, say by two shards, is
/// held until it was withdrawn twice. A call that fails is made up for by the next
/// [`refresh`](Self::refresh) that does not; it need not be made again.
pub trait OriginDirectory: fmt::Debug + Send + Sync {
    /// This relay holds these namespaces from now on.
    fn register<'a>(&'a self, namespaces: &'a [TrackNamespace]) -> Answer<'a, ()>;

    /// This relay does not hold these namespaces any longer. What it never held does not matter.
    fn withdraw<'a>(&'a self, namespaces: &'a [TrackNamespace]) -> Answer<'a, ()>;

    /// The other relays that hold a namespace or a prefix of it, those with the longest prefix
    /// first, and each relay once.
    fn find<'a>(&'a self, namespace: &'a TrackNamespace) -> Answer<'a, Vec<Origin>>;

    /// This relay is still there.
    fn refresh(&self) -> Answer<'_, ()>;

    /// How often [`refresh`](Self::refresh) is to be called; `None` is never.
    fn refresh_every(&self) -> Option<Duration>;

    /// This relay goes, and holds nothing any longer.
    fn leave(&self) -> Answer<'_, ()>;
}

/// A relay that holds a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// What it holds: the namespace asked for, or a prefix of it.
    pub namespace: TrackNamespace,
    /// Where it is, as `--upstream` takes it.
    pub url: String,
}

/// A directory could not be asked or told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryError(String);

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DirectoryError {}

/// Says again and again that this relay is still there, and logs when that fails and when it works
/// again. It ends at once if the directory needs no such thing, or never.
pub async fn keep_fresh(directory: Arc<dyn OriginDirectory>) {
    let Some(every) = directory.refresh_every() else { return };
    let mut fails = false;
    loop {
        tokio::time::sleep(every).await;
        let refreshed = directory.refresh().await;
        match &refreshed {
            Ok(()) if fails => tracing::info!("the directory of origins is there again"),
            Ok(()) => {}
            Err(error) if fails => tracing::debug!(%error, "the directory of origins still fails"),
            Err(error) => tracing::warn!(%error, "the directory of origins fails"),
        }
        fails = refreshed.is_err();
    }
}

/// The prefixes of a namespace, itself first and that of no fields last.
fn prefixes(namespace: &TrackNamespace) -> impl Iterator<Item = TrackNamespace> {
    (0..=namespace.len())
        .rev()
        .filter_map(|fields| TrackNamespace::new(namespace.fields().take(fields)).ok())
}
