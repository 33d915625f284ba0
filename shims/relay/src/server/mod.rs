//! [`Relay`]: a relay on one UDP port.
//!
//! Each shard has a thread, and on it a socket at the relay's address, an
//! [`Endpoint`](moqt_quinn_proto::Endpoint) and a [`Shard`](moqt_relay::Shard). The system deals
//! clients to the sockets by their addresses. A client that changes its address stays with its
//! shard: connection IDs say which it is ([`Steering`]), and packets that come in at another's
//! socket are handed on.
//!
//! What shards tell each other goes through a box of each. A shard that has given another more than
//! [`Config::shard_messages`](moqt_relay::Config::shard_messages) that wait reads its sockets no
//! more until they are fewer, so what waits is bounded, and QUIC slows its peers down.
//!
//! # Other relays
//!
//! Each upstream is connected to from one shard, the first from the first and so on; shards get
//! from each other what they have no connection for. A connection that is lost is begun again, after
//! half a second at first and 30 s at last, and where a GOAWAY points if there was one. Relays that
//! a directory names are connected to from the shard that wants something of them.

mod dial;
mod mail;
mod origins;
mod port;
mod report;
mod sessions;
mod worker;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use moqt_quinn_proto::{
    Admission, COALESCE_BELOW, ClientOptions, ConfigError, Endpoint, ServerConfig, ServerOptions,
    ServerTls, SessionConfig, Socket, Steering, Target,
};
use moqt_relay::{Shard, ShardId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::Settings;
use crate::auth::{Guesses, Rules, WallClock};
use crate::directory::{OriginDirectory, keep_fresh};
use dial::Dialer;
use mail::{Mail, Outbox, mailbox};
use origins::Origins;
use port::Port;
use sessions::{MAX_CONNECTIONS, MAX_SHARDS};
use worker::{Parts, Worker};

pub use port::Traffic;
pub use report::{Report, ShardReport};

/// What a relay is to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Where clients come in; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Shards, each with a thread of its own: as many as there are cores, 1,024 at most.
    pub shards: u16,
    /// What it brings to clients' sessions.
    pub server: ServerOptions,
    /// How it relays. Without a [`relay_id`](moqt_relay::Config::relay_id) it gets a random one.
    pub relay: moqt_relay::Config,
    /// Who may do what.
    pub rules: Rules,
    /// Failed attempts that the rules count: addresses with none left are not let in.
    pub guesses: Guesses,
    /// What time it is, for these.
    pub clock: WallClock,
    /// Relays to ask for what is not published here, and to tell what is.
    pub upstreams: Vec<Target>,
    /// What it brings to sessions with other relays.
    pub client: ClientOptions,
    /// Knows which relay holds what.
    pub directory: Option<Arc<dyn OriginDirectory>>,
}

impl RelayOptions {
    /// A relay here, with what its clients get, and the defaults for all else. What is a number
    /// is as [`Settings::default`](crate::Settings) has it.
    pub fn new(bind: SocketAddr, server: ServerOptions) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self {
            bind,
            shards: u16::try_from(cores).unwrap_or(MAX_SHARDS).min(MAX_SHARDS),
            server,
            relay: moqt_relay::Config::default(),
            rules: Rules::open(),
            guesses: Guesses::default(),
            clock: WallClock::default(),
            upstreams: Vec::new(),
            client: ClientOptions::default(),
            directory: None,
        };
        options.set(&Settings::default());
        options
    }

    /// Allows and keeps so much.
    pub fn set(&mut self, settings: &Settings) {
        let Settings { relay, connections, session, transport } = settings.clone();
        self.relay = relay;
        self.server.connections = connections;
        self.server.engine.limits = session.clone();
        self.server.transport = transport.clone();
        // Another relay may have as many tracks as all of its clients have together.
        let client = &mut self.client.engine.limits;
        *client = session;
        client.open_requests = client.open_requests.max(TRACKS_OF_A_RELAY);
        client.open_subscriptions = client.open_subscriptions.max(TRACKS_OF_A_RELAY);
        client.open_publishes = client.open_publishes.max(TRACKS_OF_A_RELAY);
        self.client.transport = transport;
    }
}

/// Tracks that another relay may ask for at a time, and offer.
const TRACKS_OF_A_RELAY: u32 = 65_536;

/// A relay that runs on threads of its own. Dropping this stops it at once.
#[derive(Debug)]
pub struct Relay {
    local: SocketAddr,
    server: ServerConfig,
    outboxes: Vec<Outbox>,
    /// Says when the last thread has ended.
    ended: mpsc::Receiver<()>,
}

/// Why a relay does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot be used.
    Config(ConfigError),
    /// The address cannot be listened on.
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// A thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Socket { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Socket { error, .. } | Self::Thread(error) => Some(error),
        }
    }
}

impl Relay {
    /// Starts a relay.
    pub fn start(mut options: RelayOptions) -> Result<Self, StartError> {
        let shards = options.shards.clamp(1, if cfg!(unix) { MAX_SHARDS } else { 1 });
        let connections = &mut options.server.connections;
        connections.total = connections.total.min(MAX_CONNECTIONS);
        if options.relay.relay_id == 0 {
            options.relay.relay_id = RandomState::new().hash_one(0);
        }
        let session = SessionConfig::server(&options.server, COALESCE_BELOW);
        let ServerOptions { tls, transport, connections, .. } = &options.server;
        let server = ServerConfig::new(tls, transport, session).map_err(StartError::Config)?;
        let (guesses, clock) = (options.guesses.clone(), options.clock.clone());
        let server = server.limits(connections.clone());
        let server = server.unless(move |address| guesses.is_blocked(address, clock.now()));
        let started = Instant::now();
        let steering = Arc::new(Steering::new(shards));
        let relay = Arc::new(options.relay.clone());
        let client = Arc::new(options.client.clone());
        let sockets = bind(options.bind, shards)?;
        let local = sockets.first().map_or(options.bind, |(_, _, local)| *local);
        let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| mailbox()).unzip();
        let (alive, ended) = mpsc::channel(1);
        let this = Self { local, server: server.clone(), outboxes: outboxes.clone(), ended };
        for (index, ((runtime, socket, _), inbox)) in (0..).zip(sockets.into_iter().zip(inboxes)) {
            let (id, steering) = (ShardId(index), steering.clone());
            let port = Port::new(socket, |socket| {
                let (fragment, segments) = (socket.may_fragment(), socket.max_segments());
                let server = Some(server.clone());
                Endpoint::steered((&steering, index), server, fragment, segments, started)
            });
            let port = port.map_err(StartError::Thread)?;
            let mut shard = Shard::new(id, shards, relay.clone(), options.rules.clone());
            shard.use_directory(options.directory.is_some());
            let Some(outbox) = outboxes.get(usize::from(index)).cloned() else { continue };
            let dialer = Dialer { options: client.clone(), outbox };
            let mine = options.upstreams.iter().skip(index.into()).step_by(shards.into());
            let (upstreams, outboxes) = (mine.cloned().collect::<Vec<_>>(), outboxes.clone());
            let directory = options.directory.clone();
            let max_waiting = relay.shard_messages;
            let alive = alive.clone();
            let run = move || {
                runtime.block_on(async move {
                    for target in upstreams {
                        tokio::spawn(dialer.clone().stay_connected(target));
                    }
                    if let Some(directory) = directory.clone().filter(|_| index == 0) {
                        tokio::spawn(keep_fresh(directory));
                    }
                    let origins = Origins::new(dialer, directory.clone());
                    let parts = Parts {
                        shard,
                        shards,
                        max_waiting,
                        server: port,
                        steering,
                        inbox,
                        outboxes,
                        origins,
                        started,
                    };
                    Worker::new(parts).await;
                    if let Some(directory) = directory.filter(|_| index == 0) {
                        let _ = tokio::time::timeout(PARTING, directory.leave()).await;
                    }
                });
                runtime.shutdown_background();
                drop(alive);
            };
            let thread = std::thread::Builder::new().name(format!("moqt-shard-{index}"));
            thread.spawn(run).map_err(StartError::Thread)?;
        }
        Ok(this)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it has and has done. A shard that has ended has nothing.
    pub async fn report(&self) -> Report {
        self.reporter().report().await
    }

    /// Something that reports apart from this.
    pub fn reporter(&self) -> Reporter {
        let (outboxes, admission) = (self.outboxes.clone(), self.server.admission().clone());
        Reporter { outboxes, admission }
    }

    /// Decides by other rules from now on: see [`Shard::set_authorize`].
    pub fn set_rules(&self, rules: &Rules) {
        self.tell(|| Mail::SetRules(rules.clone()));
    }

    /// Shows another certificate to clients that come from now on.
    pub fn set_tls(&self, tls: &ServerTls) -> Result<(), ConfigError> {
        let server = self.server.with_tls(tls)?;
        self.tell(|| Mail::SetServer(server.clone()));
        Ok(())
    }

    /// Asks all clients to leave, for this URI or, if it is empty, for where they think best, takes
    /// no more, and stops when they have left or the time has passed.
    pub fn leave(&self, uri: &Bytes, timeout: Duration) {
        self.server.admission().refuse_all();
        self.tell(|| Mail::Leave { uri: uri.clone(), timeout });
    }

    /// Closes all sessions and stops.
    pub fn close(&self) {
        self.server.admission().refuse_all();
        self.tell(|| Mail::Close);
    }

    /// Waits until it has stopped.
    pub async fn stopped(&mut self) {
        // Nobody sends anything: it ends with the last thread.
        while self.ended.recv().await.is_some() {}
    }

    fn tell(&self, mail: impl Fn() -> Mail) {
        for outbox in &self.outboxes {
            outbox.send(mail());
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.close();
    }
}

/// Time for the directory to hear that the relay is gone.
const PARTING: Duration = Duration::from_secs(2);

/// Says what a relay has and has done.
#[derive(Clone, Debug)]
pub struct Reporter {
    outboxes: Vec<Outbox>,
    admission: Admission,
}

impl Reporter {
    /// What it has and has done. A shard that has ended has nothing.
    pub async fn report(&self) -> Report {
        let mut asked = Vec::new();
        for outbox in &self.outboxes {
            let (to, answer) = oneshot::channel();
            outbox.send(Mail::Report(to));
            asked.push(answer);
        }
        let mut shards = Vec::new();
        for answer in asked {
            shards.push(answer.await.unwrap_or_default());
        }
        Report { shards, admission: self.admission.stats() }
    }

    /// Whether it takes clients.
    pub fn is_accepting(&self) -> bool {
        !self.admission.refuses_all()
    }
}

/// A socket for each shard, on one port, and what it runs on.
fn bind(
    address: SocketAddr,
    shards: u16,
) -> Result<Vec<(Runtime, Socket, SocketAddr)>, StartError> {
    let fail = |error| StartError::Socket { address, error };
    let is_alone = shards == 1;
    // Sockets that share a port would share it with those of another relay, too.
    drop(UdpSocket::bind(address).map_err(fail)?);
    let mut sockets: Vec<(Runtime, Socket, SocketAddr)> = Vec::new();
    for _ in 0..shards {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let entered = runtime.enter();
        let address = sockets.first().map_or(address, |(_, _, local)| *local);
        let socket = if is_alone { Socket::bind(address) } else { bind_shared(address) };
        let socket = socket.map_err(fail)?;
        let local = socket.local_addr().map_err(fail)?;
        drop(entered);
        sockets.push((runtime, socket, local));
    }
    Ok(sockets)
}

#[cfg(unix)]
fn bind_shared(address: SocketAddr) -> io::Result<Socket> {
    Socket::bind_shared(address)
}

#[cfg(not(unix))]
fn bind_shared(address: SocketAddr) -> io::Result<Socket> {
    Socket::bind(address)
}
