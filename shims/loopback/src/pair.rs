//! The shortest way to two ends that talk.

use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::model::{FullTrackName, Message, Parameters, Setup, SetupOptions};
use moqt_engine::wire::{EncodeError, encode_message};
use moqt_engine::{
    Accept, CloseReason, Config, Dir, Draft, Event, IncomingRequest, MoqtConnection, RequestKey,
    Role, Transport,
};

use crate::config::LinkConfig;
use crate::network::{EndpointId, Network, RawId};
use crate::raw::StreamId;
use crate::record::Record;
use crate::side::Side;

/// A client and a server on one link.
#[derive(Debug)]
pub struct Pair {
    /// The network that has nothing else in it.
    pub network: Network,
    /// The client's end.
    pub client: EndpointId,
    /// The server's end.
    pub server: EndpointId,
}

/// A subscription, as both ends know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// At the end that subscribed.
    pub subscriber: RequestKey,
    /// At the end that publishes.
    pub publisher: RequestKey,
}

impl Pair {
    /// An established session on an ordinary link.
    pub fn new(draft: Draft, seed: u64) -> Self {
        Self::with(draft, seed, LinkConfig::default(), Config::default())
    }

    /// A session on a link of your choice, established if the link lets it be.
    pub fn with(draft: Draft, seed: u64, link: LinkConfig, config: Config) -> Self {
        let mut network = Network::new(seed);
        let config = Arc::new(config);
        let [client, server] = [Role::Client, Role::Server].map(|role| {
            MoqtConnection::new(role, draft, Transport::Quic, config.clone(), network.now())
        });
        let (client, server) = network.connect(client, server, link);
        network.run_until_idle();
        for end in [client, server] {
            // What is said at setup is for those who connect ends themselves.
            network.take_events(end);
        }
        Self { network, client, server }
    }

    /// Lets the client subscribe to a track, and the server accept. `None` if that failed:
    /// then the events tell why.
    pub fn subscribe(&mut self, track: &FullTrackName) -> Option<Subscription> {
        let Self { network, client, server } = self;
        let subscriber = network
            .with(*client, |connection, now| {
                connection.subscribe(now, track, &Parameters::default())
            })
            .ok()?;
        let mut publisher = None;
        network.run_until_idle();
        for event in network.take_events(*server) {
            if let Event::Request { request, what: IncomingRequest::Subscribe { .. } } = event {
                let accepted = network.with(*server, |connection, now| {
                    connection.accept(now, request, Accept::default())
                });
                publisher = accepted.ok().map(|()| request);
            }
        }
        network.run_until_idle();
        network
            .take_events(*client)
            .iter()
            .any(|event| matches!(event, Event::Accepted { request, .. } if *request == subscriber))
            .then_some(Subscription { subscriber, publisher: publisher? })
    }

    /// Runs until nothing is on its way, reading all that the client can read.
    pub fn receive(&mut self) -> Record {
        let mut record = Record::default();
        loop {
            record.collect(&mut self.network, self.client);
            if self.network.is_idle() || !self.network.step() {
                return record;
            }
        }
    }
}

/// A connection and a scripted peer on one link, to see what the one makes of the other.
#[derive(Debug)]
pub struct RawPair {
    /// The network that has nothing else in it.
    pub network: Network,
    /// The connection's end.
    pub engine: EndpointId,
    /// The scripted peer.
    pub peer: RawId,
    /// The stream that the peer's control messages go on.
    pub control: StreamId,
    draft: Draft,
}

impl RawPair {
    /// A session that the peer has set up as it should. `role` is the connection's.
    pub fn new(draft: Draft, role: Role, seed: u64) -> Self {
        let mut pair = Self::before_setup(draft, role, seed);
        let mut options = SetupOptions::default();
        options.max_request_id = Some(1000);
        let versions = draft.setup_version().into_iter().collect();
        let setup = Setup { versions, options };
        let mut bytes = Vec::new();
        let encoded = match role {
            Role::Client => draft.dialect().encode_server_setup(&setup, &mut bytes),
            Role::Server => encode_message(draft.dialect(), &Message::Setup(setup), &mut bytes),
        };
        debug_assert!(encoded.is_ok(), "a plain SETUP");
        pair.network.script(pair.peer).send(pair.control, bytes);
        pair.network.run_until_idle();
        pair
    }

    /// The transport's handshake is complete, and the connection has sent what it sends of
    /// itself. The peer has sent nothing; it has opened its control stream if that is for it
    /// to do.
    pub fn before_setup(draft: Draft, role: Role, seed: u64) -> Self {
        let mut network = Network::new(seed);
        let config = Arc::new(Config::default());
        let connection = MoqtConnection::new(role, draft, Transport::Quic, config, network.now());
        let (engine, peer) = network.connect_raw(connection, LinkConfig::default());
        network.run_until_idle();
        let peer_side = match role {
            Role::Client => Side::Server,
            Role::Server => Side::Client,
        };
        // Either each end opens a stream for its own messages, or the client one for both.
        let (opener, dir) = if draft.dialect().answers_by_stream {
            (peer_side, Dir::Uni)
        } else {
            (Side::Client, Dir::Bi)
        };
        if opener == peer_side {
            network.script(peer).open(dir);
        }
        let control = StreamId::new(opener, dir, 0);
        Self { network, engine, peer, control, draft }
    }

    /// Lets the peer send a message on a stream, and waits for what comes of it.
    pub fn send_message(&mut self, stream: StreamId, message: &Message) -> Result<(), EncodeError> {
        let mut bytes = Vec::new();
        encode_message(self.draft.dialect(), message, &mut bytes)?;
        self.network.script(self.peer).send(stream, bytes);
        self.network.run_until_idle();
        Ok(())
    }

    /// Lets the peer open a stream and send bytes on it, and waits for what comes of it.
    pub fn send_on_new(&mut self, dir: Dir, bytes: impl Into<Bytes>) -> Option<StreamId> {
        let mut script = self.network.script(self.peer);
        let stream = script.open(dir)?;
        script.send(stream, bytes);
        self.network.run_until_idle();
        Some(stream)
    }

    /// Why the connection considers the session over, if it does. Takes its events.
    pub fn close_reason(&mut self) -> Option<CloseReason> {
        self.network.take_events(self.engine).into_iter().find_map(|event| match event {
            Event::Closed { reason } => Some(reason),
            _ => None,
        })
    }
}
