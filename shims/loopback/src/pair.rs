//! The shortest way to two ends that talk.

use std::sync::Arc;

use moqt_engine::model::{FullTrackName, Parameters};
use moqt_engine::{
    Accept, Config, Draft, Event, IncomingRequest, MoqtConnection, RequestKey, Role, Transport,
};

use crate::config::LinkConfig;
use crate::network::{EndpointId, Network};
use crate::record::Record;

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
