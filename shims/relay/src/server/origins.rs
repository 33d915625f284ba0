//! Relays that a directory names, and connections to them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use moqt_engine::model::TrackNamespace;
use moqt_quinn_proto::Target;
use moqt_relay::{ConnectionId, PeerKind};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::dial::Dialer;
use super::mail::Mail;
use crate::directory::{Origin, OriginDirectory};

/// Relays that a shard is connected to at a time because a directory has named them. Namespaces of
/// others are not found.
const MAX_ORIGINS: usize = 256;

/// The relays that a shard has been told of, by URL.
pub(super) struct Origins {
    dialer: Dialer,
    directory: Option<Arc<dyn OriginDirectory>>,
    /// What the directory is to be told.
    untold: Option<Arc<Untold>>,
    known: HashMap<String, Known>,
}

enum Known {
    /// Somebody waits for it to be connected.
    Connecting(Vec<TrackNamespace>),
    Connected(ConnectionId),
}

/// Who holds a namespace.
pub(super) struct Answer {
    pub(super) namespace: TrackNamespace,
    pub(super) origin: Option<ConnectionId>,
}

impl Origins {
    /// Must be called on the runtime of the shard.
    pub(super) fn new(dialer: Dialer, directory: Option<Arc<dyn OriginDirectory>>) -> Self {
        let untold = directory.clone().map(|directory| {
            let untold = Arc::<Untold>::default();
            tokio::spawn(tell(directory, untold.clone()));
            untold
        });
        Self { dialer, directory, untold, known: HashMap::new() }
    }

    /// This relay holds a namespace, or does not any longer.
    pub(super) fn hold(&self, namespace: TrackNamespace, holds: bool) {
        if let Some(untold) = &self.untold {
            untold.add(namespace, holds);
        }
    }

    /// Asks who holds a namespace: [`Mail::Found`] says.
    pub(super) fn find(&self, namespace: TrackNamespace) {
        let (directory, outbox) = (self.directory.clone(), self.dialer.outbox.clone());
        tokio::spawn(async move {
            let origins = match &directory {
                Some(directory) => directory.find(&namespace).await,
                None => Ok(Vec::new()),
            };
            outbox.send(Mail::Found { namespace, origins });
        });
    }

    /// The directory has answered: who holds the namespace, if that is known by now. The first
    /// of them is the one that has most of it.
    pub(super) fn found(
        &mut self,
        namespace: TrackNamespace,
        origins: &[Origin],
    ) -> Option<Answer> {
        let none = |namespace| Some(Answer { namespace, origin: None });
        let mut urls = origins.iter().map(|origin| &origin.url);
        let Some(url) = urls.clone().find(|url| self.known.contains_key(*url)).or(urls.next())
        else {
            return none(namespace);
        };
        let is_full = self.known.len() >= MAX_ORIGINS;
        match self.known.get_mut(url) {
            Some(Known::Connected(id)) => return Some(Answer { namespace, origin: Some(*id) }),
            Some(Known::Connecting(waiting)) => {
                waiting.push(namespace);
                return None;
            }
            None if is_full => return none(namespace),
            None => {}
        }
        let Ok(target) = url.parse::<Target>() else {
            warn!(url, "the directory of origins names what is no URL");
            return none(namespace);
        };
        self.known.insert(url.clone(), Known::Connecting(vec![namespace]));
        tokio::spawn(connect(self.dialer.clone(), target, url.clone()));
        None
    }

    /// There is a connection to a relay, or none any longer. Namespaces that somebody waits for
    /// because of it.
    pub(super) fn changed(&mut self, url: String, id: Option<ConnectionId>) -> Vec<TrackNamespace> {
        let known = match id {
            Some(id) => self.known.insert(url, Known::Connected(id)),
            None => self.known.remove(&url),
        };
        match known {
            Some(Known::Connecting(waiting)) => waiting,
            _ => Vec::new(),
        }
    }
}

/// How often each namespace is held more, or less, than the directory knows. What comes and goes
/// while the directory is slow takes no room.
#[derive(Debug, Default)]
struct Untold {
    changes: Mutex<HashMap<TrackNamespace, i64>>,
    changed: Notify,
}

impl Untold {
    fn add(&self, namespace: TrackNamespace, holds: bool) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let change = if holds { 1 } else { -1 };
        match changes.entry(namespace) {
            Entry::Vacant(entry) => drop(entry.insert(change)),
            Entry::Occupied(mut entry) => {
                *entry.get_mut() = entry.get().saturating_add(change);
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
        self.changed.notify_one();
    }

    /// What to register and what to withdraw, as often as each is meant.
    fn take(&self) -> [Vec<TrackNamespace>; 2] {
        let changes = &mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let [mut register, mut withdraw] = [Vec::new(), Vec::new()];
        for (namespace, change) in std::mem::take(changes) {
            let list = if change > 0 { &mut register } else { &mut withdraw };
            let times = usize::try_from(change.unsigned_abs()).unwrap_or(usize::MAX);
            list.extend(std::iter::repeat_n(namespace, times));
        }
        [register, withdraw]
    }
}

/// Tells the directory what this relay holds, several at once if it is slow.
async fn tell(directory: Arc<dyn OriginDirectory>, untold: Arc<Untold>) {
    loop {
        untold.changed.notified().await;
        let [register, withdraw] = untold.take();
        let mut told = Ok(());
        if !register.is_empty() {
            told = directory.register(&register).await;
        }
        if !withdraw.is_empty() {
            told = told.and(directory.withdraw(&withdraw).await);
        }
        if let Err(error) = told {
            warn!(%error, "the directory of origins was not told what this relay holds");
        }
    }
}

/// Connects to a relay once, and says when that ends.
async fn connect(dialer: Dialer, target: Target, url: String) {
    match dialer.connect(&target, PeerKind::Origin).await {
        Ok((id, mut heard)) => {
            info!(origin = %target, "connected");
            dialer.outbox.send(Mail::Origin { url: url.clone(), connection: Some(id) });
            while let Some(news) = heard.recv().await {
                if !matches!(news, super::mail::DialNews::Established(_)) {
                    break;
                }
            }
            info!(origin = %target, "no longer connected");
        }
        Err(reason) => warn!(origin = %target, %reason, "not connected"),
    }
    dialer.outbox.send(Mail::Origin { url, connection: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_not_told() {
        let namespace = |field: &'static str| TrackNamespace::new([field]).unwrap();
        let untold = Untold::default();
        for (field, holds) in [
            ("stays", true),
            ("comes-and-goes", true),
            ("goes", false),
            ("comes-and-goes", false),
            ("stays", true),
        ] {
            untold.add(namespace(field), holds);
        }
        let [register, withdraw] = untold.take();
        assert_eq!(register, [namespace("stays"), namespace("stays")]);
        assert_eq!(withdraw, [namespace("goes")]);
        assert_eq!(untold.take(), [const { Vec::new() }; 2]);
    }
}
