//! What the threads of a relay tell each other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moqt_engine::model::TrackNamespace;
use moqt_quinn_proto::{ClientConfig, Origin, ServerConfig};
use moqt_relay::{ConnectionId, Message, PeerKind};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::report::ShardReport;
use crate::auth::Rules;
use crate::directory::DirectoryError;

/// Datagrams from other shards' sockets that may wait for a shard. Further ones are lost, as if the
/// socket had no more room.
const MAX_STRAYS: usize = 4096;

/// Something for a shard.
pub(super) enum Mail {
    /// What another shard says.
    Messages(Vec<Message>),
    /// What came in at another shard's socket.
    Strays(Vec<(Origin, BytesMut)>),
    /// Connect to another relay.
    Dial(Dial),
    /// Relays that hold a namespace, as asked for.
    Found {
        namespace: TrackNamespace,
        origins: Result<Vec<crate::directory::Origin>, DirectoryError>,
    },
    /// There is a connection to such a relay, or none any longer.
    Origin { url: String, connection: Option<ConnectionId> },
    /// Decide by these rules from now on.
    SetRules(Rules),
    /// Take connections with this from now on.
    SetServer(ServerConfig),
    /// Ask everybody to leave.
    Leave { uri: Bytes, timeout: Duration },
    /// End every session at once.
    Close,
    /// Say what there is and was.
    Report(oneshot::Sender<ShardReport>),
}

/// A connection to be made to another relay.
pub(super) struct Dial {
    pub(super) kind: PeerKind,
    pub(super) config: ClientConfig,
    pub(super) remote: SocketAddr,
    pub(super) server_name: String,
    /// Where to tell what becomes of it.
    pub(super) news: UnboundedSender<DialNews>,
}

/// What becomes of a connection to another relay.
#[derive(Debug)]
pub(super) enum DialNews {
    /// The session is set up.
    Established(ConnectionId),
    /// The other relay asks this one to leave, for a URI that may be empty.
    Goaway(Bytes),
    /// It has come to nothing, or is over.
    Ended(String),
}

/// Where to put what is for a shard.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    to: UnboundedSender<Mail>,
    waiting: Arc<Waiting>,
}

/// What is for a shard.
#[derive(Debug)]
pub(super) struct Inbox {
    from: UnboundedReceiver<Mail>,
    waiting: Arc<Waiting>,
}

/// What a shard has not got round to.
#[derive(Debug, Default)]
struct Waiting {
    messages: AtomicUsize,
    strays: AtomicUsize,
}

/// The two ends of a shard's box.
pub(super) fn mailbox() -> (Outbox, Inbox) {
    let (to, from) = unbounded_channel();
    let waiting = Arc::<Waiting>::default();
    (Outbox { to, waiting: waiting.clone() }, Inbox { from, waiting })
}

impl Outbox {
    /// Hands over messages, in order. They are lost only if the shard has ended.
    pub(super) fn messages(&self, messages: Vec<Message>) {
        self.waiting.messages.fetch_add(messages.len(), Ordering::Relaxed);
        self.send(Mail::Messages(messages));
    }

    /// Hands over datagrams.
    pub(super) fn strays(&self, strays: Vec<(Origin, BytesMut)>) {
        if self.waiting.strays.load(Ordering::Relaxed) < MAX_STRAYS {
            self.waiting.strays.fetch_add(strays.len(), Ordering::Relaxed);
            self.send(Mail::Strays(strays));
        }
    }

    /// Hands over anything else.
    pub(super) fn send(&self, mail: Mail) {
        // A shard that has ended has nothing more to do.
        let _ = self.to.send(mail);
    }

    /// Whether the shard has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.to.is_closed()
    }

    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.messages.load(Ordering::Relaxed)
    }
}

impl Inbox {
    /// The next thing, if there is one.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Mail> {
        let Poll::Ready(Some(mail)) = self.from.poll_recv(cx) else { return None };
        match &mail {
            Mail::Messages(messages) => {
                self.waiting.messages.fetch_sub(messages.len(), Ordering::Relaxed);
            }
            Mail::Strays(strays) => {
                self.waiting.strays.fetch_sub(strays.len(), Ordering::Relaxed);
            }
            _ => {}
        }
        Some(mail)
    }
}
