//! Runs a scenario: relays, their clients and the network between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use moqt_engine::model::SessionError;
use moqt_engine::{MoqtConnection, RequestKey, Role, Timestamp, Usage};
use moqt_loopback::{EndpointId, Network, RelayId, RelayOptions, Relays};

use super::client::Client;
use super::record::{Record, TrackRecord};
use super::scenario::{RelayPlan, Scenario};
use crate::simulation::tracks::Track;

/// More happenings than any scenario has.
const MOST_STEPS: u64 = 20_000_000;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that the model is to judge.
    pub record: Record,
    /// [`Network::raw_trace_hash`]
    pub trace_hash: u64,
    /// The network's log, if it was to be kept.
    pub log: Vec<String>,
}

impl Outcome {
    /// A hash of it and of its seed.
    pub fn hash(&self, seed: u64) -> u64 {
        self.trace_hash.wrapping_mul(seed.wrapping_mul(2).wrapping_add(1))
    }
}

impl Scenario {
    /// Runs it.
    pub fn run(&self, keep_log: bool) -> Outcome {
        let mut run = Run::new(self, keep_log);
        run.set_up();
        for step in &self.steps {
            run.until(run.start.saturating_add(Duration::from_millis(step.at)));
            if !run.record.is_endless {
                run.act(&step.act);
            }
        }
        run.settle();
        Outcome {
            trace_hash: run.network.raw_trace_hash(),
            log: run.network.take_log(),
            record: run.record,
        }
    }
}

/// A scenario under way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) network: Network,
    pub(super) relays: Relays,
    pub(super) nodes: Vec<RelayId>,
    /// By relay: its end of the link with the one above it, and what that end held at first.
    pub(super) uplinks: Vec<Option<EndpointId>>,
    /// The relays that others are below, by those.
    parents: Vec<usize>,
    /// Relays that have gone away.
    gone: BTreeSet<usize>,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) tracks: Vec<Track>,
    pub(super) record: Record,
    /// What clients have put off.
    later: BTreeMap<(Timestamp, u64), (usize, Later)>,
    pub(super) start: Timestamp,
    steps: u64,
}

/// What a client has put off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Later {
    /// It reads on.
    Resume,
    /// It writes on, in a subscription.
    Write(RequestKey),
    /// It is a relay that goes away, and those below it are linked with the one above it.
    MoveOn,
    /// It is a relay that has gone away, and closes its link with the one above it.
    Stop,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, keep_log: bool) -> Self {
        let mut network = Network::new(scenario.seed);
        network.keep_log(keep_log);
        let mut relays = Relays::new(scenario.seed);
        let nodes = scenario.relays.iter().map(|plan| relays.add(options(plan))).collect();
        let mut record = Record::default();
        record.tracks.resize_with(scenario.tracks.len(), TrackRecord::default);
        Self {
            scenario,
            network,
            relays,
            nodes,
            uplinks: vec![None; scenario.relays.len()],
            parents: scenario.relays.iter().map(|plan| plan.parent).collect(),
            gone: BTreeSet::new(),
            clients: scenario.clients.iter().map(|_| None).collect(),
            tracks: scenario.tracks.iter().map(|_| Track::default()).collect(),
            record,
            later: BTreeMap::new(),
            start: Timestamp::ZERO,
            steps: 0,
        }
    }

    fn set_up(&mut self) {
        for relay in 1..self.nodes.len() {
            self.link(relay);
        }
        self.run_for(Duration::from_secs(3));
        self.start = self.network.now();
    }

    /// Links a relay with the one above it.
    pub(super) fn link(&mut self, relay: usize) {
        let plan = &self.scenario.relays[relay];
        let mut parent = self.parents[relay];
        while self.gone.contains(&parent) {
            parent = self.parents[parent];
        }
        self.parents[relay] = parent;
        let ends = [self.nodes[relay], self.nodes[parent]];
        let Self { relays, network, .. } = self;
        let link = plan.link.clone().unwrap_or_default();
        let at = relays.connect_upstream(network, ends, plan.draft, plan.transport, link);
        self.uplinks[relay] = Some(at);
    }

    pub(super) fn connect(&mut self, number: usize) {
        let Some(plan) = self.scenario.clients.get(number) else { return };
        if self.clients[number].is_some() || plan.relay >= self.nodes.len() {
            return;
        }
        let config = Arc::new(moqt_engine::Config::default());
        let now = self.network.now();
        let client = MoqtConnection::new(Role::Client, plan.draft, plan.transport, config, now);
        let node = self.nodes[plan.relay];
        let link = plan.link.clone().unwrap_or_default();
        let at = self.relays.connect(&mut self.network, node, client, link);
        self.clients[number] = Some(Client::new(at, plan.draft));
    }

    /// A relay that has no clients asks those below it to leave.
    pub(super) fn go_away(&mut self, relay: usize, after: u64, timeout: u64) {
        let clients = self.scenario.clients.iter();
        let has_clients = clients.into_iter().any(|client| client.relay == relay);
        if relay == 0 || relay >= self.nodes.len() || has_clients || !self.gone.insert(relay) {
            return;
        }
        let within = Duration::from_millis(timeout);
        let now = self.network.now();
        self.record.moves.push((now, now.saturating_add(within)));
        self.relays.go_away(&mut self.network, self.nodes[relay], within);
        self.put_off(relay, after, Later::MoveOn);
        self.put_off(relay, timeout + 1000, Later::Stop);
    }

    pub(super) fn has_gone(&self, relay: usize) -> bool {
        self.gone.contains(&relay)
    }

    /// Relays below one that goes away are linked with the one above it. Their old links are there
    /// until the other end closes them.
    fn move_on(&mut self, gone: usize) {
        for relay in 1..self.nodes.len() {
            if self.parents[relay] == gone && !self.gone.contains(&relay) {
                self.link(relay);
            }
        }
    }

    /// A relay that has gone away closes its link with the one above it.
    fn stop(&mut self, relay: usize) {
        if let Some(at) = self.uplinks[relay].take() {
            self.network.with(at, |connection, _| connection.close(SessionError::NoError, ""));
        }
    }

    /// Everything goes right from here on, everything is read and everything is ended: nothing
    /// must be left then.
    fn settle(&mut self) {
        for relay in 1..self.nodes.len() {
            self.relink(relay);
        }
        self.run_for(Duration::from_secs(120));
        for client in 0..self.clients.len() {
            self.resume(client);
        }
        for track in 0..self.tracks.len() {
            self.complete(track);
        }
        self.run_for(Duration::from_secs(60));
        self.record.ended = self.network.now();
        for client in 0..self.clients.len() {
            self.end_publishing(client);
        }
        self.run_for(Duration::from_secs(60));
        for client in 0..self.clients.len() {
            self.end_requests(client);
        }
        self.run_for(Duration::from_secs(60));
        for number in 0..self.clients.len() {
            self.look_at_client(number);
            self.close(number);
        }
        // Caches forget everything in an hour.
        self.run_for(Duration::from_secs(2 * 3600));
        for relay in 1..self.nodes.len() {
            self.look_at_link(relay);
            if let Some(at) = self.uplinks[relay] {
                let closing = |connection: &mut MoqtConnection, _| {
                    connection.close(SessionError::NoError, "");
                };
                self.network.with(at, closing);
            }
        }
        self.run_for(Duration::from_secs(60));
        for relay in 0..self.nodes.len() {
            self.look_at_relay(relay);
        }
        if !self.network.is_idle() {
            self.record.left.push("something is on its way".to_owned());
        }
    }

    fn look_at_client(&mut self, number: usize) {
        let Some(client) = self.clients[number].as_ref().filter(|it| !it.is_gone) else { return };
        for at in [client.at, client.at.peer()] {
            let connection = self.network.connection(at);
            if !connection.is_closed() && held(connection.usage()) != 0 {
                let left = format!("client {number}'s link at {at} holds {:?}", connection.usage());
                self.record.left.push(left);
            }
        }
    }

    fn look_at_link(&mut self, relay: usize) {
        let Some(at) = self.uplinks[relay] else { return };
        for at in [at, at.peer()] {
            let usage = self.network.connection(at).usage();
            let bytes = usage.receive_bytes + usage.send_bytes + usage.control_bytes;
            if bytes != 0 {
                self.record.left.push(format!("the link of relay {relay} at {at} holds {usage:?}"));
            }
        }
    }

    fn look_at_relay(&mut self, number: usize) {
        let relay = self.nodes[number];
        if !self.relays.is_empty(relay) {
            let stats = self.relays.stats(relay);
            self.record.left.push(format!("relay {number} is not empty: {stats:?}"));
        }
    }

    fn run_for(&mut self, duration: Duration) {
        self.until(self.network.now().saturating_add(duration));
    }

    /// Carries out everything up to a point in time.
    fn until(&mut self, deadline: Timestamp) {
        loop {
            while let Some((at, event)) = self.network.next_event() {
                let Some(event) = self.relays.handle_event(&mut self.network, at, event) else {
                    continue;
                };
                let is_it = |client: &Option<Client>| client.as_ref().is_some_and(|c| c.at == at);
                if let Some(client) = self.clients.iter().position(is_it) {
                    self.on_event(client, event);
                }
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.record.is_endless = true;
                return;
            }
            let later = self.later.first_key_value().map(|((at, _), _)| *at);
            let others = [self.network.next_time(), self.relays.next_time()];
            match later.filter(|at| *at <= deadline) {
                Some(at) if others.iter().flatten().all(|other| at < *other) => {
                    self.network.run_until(at);
                    if let Some((_, (client, what))) = self.later.pop_first() {
                        match what {
                            Later::Resume => self.resume(client),
                            Later::Write(request) => self.write_second_half(client, request),
                            Later::MoveOn => self.move_on(client),
                            Later::Stop => self.stop(client),
                        }
                    }
                }
                _ => {
                    if !self.relays.step(&mut self.network, deadline) {
                        return;
                    }
                }
            }
        }
    }

    pub(super) fn put_off(&mut self, client: usize, millis: u64, what: Later) {
        let at = self.network.now().saturating_add(Duration::from_millis(millis));
        let number = self.steps << 16 | self.later.len() as u64;
        self.later.insert((at, number), (client, what));
    }

    /// A command failed that cannot fail.
    pub(super) fn fail(&mut self, what: impl Into<String>) {
        self.record.failed.push((self.network.now(), what.into()));
    }
}

/// What must be nothing when all requests are over.
fn held(usage: Usage) -> usize {
    usage.requests
        + usage.namespaces
        + usage.receive_bytes
        + usage.early_bytes
        + usage.update_bytes
        + usage.send_bytes
        + usage.control_bytes
}

fn options(plan: &RelayPlan) -> RelayOptions {
    let mut options = RelayOptions::default();
    options.shards = plan.shards;
    options.message_delay = Duration::from_millis(plan.message_delay);
    options.config.track_objects = plan.track_objects;
    options
}
