//! Relays that a directory names, and connections to them.

use std::collections::HashMap;
use std::sync::Arc;

use moqt_engine::model::TrackNamespace;
use moqt_quinn_proto::Target;
use moqt_relay::{ConnectionId, PeerKind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
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
    /// What this relay holds or does not any longer, in order.
    held: Option<UnboundedSender<(TrackNamespace, bool)>>,
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
        let held = directory.clone().map(|directory| {
            let (held, told) = unbounded_channel();
            tokio::spawn(tell(directory, told));
            held
        });
        Self { dialer, directory, held, known: HashMap::new() }
    }

    /// This relay holds a namespace, or does not any longer.
    pub(super) fn hold(&self, namespace: TrackNamespace, holds: bool) {
        if let Some(held) = &self.held {
            let _ = held.send((namespace, holds));
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

/// Tells the directory what this relay holds, several at once if it is slow.
async fn tell(
    directory: Arc<dyn OriginDirectory>,
    mut told: UnboundedReceiver<(TrackNamespace, bool)>,
) {
    let mut batch = Vec::new();
    while told.recv_many(&mut batch, 1024).await > 0 {
        for same in batch.chunk_by(|(_, one), (_, next)| one == next) {
            let namespaces: Vec<_> = same.iter().map(|(namespace, _)| namespace.clone()).collect();
            let outcome = match same.first() {
                Some((_, true)) => directory.register(&namespaces).await,
                _ => directory.withdraw(&namespaces).await,
            };
            if let Err(error) = outcome {
                warn!(%error, "the directory of origins was not told what this relay holds");
            }
        }
        batch.clear();
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
