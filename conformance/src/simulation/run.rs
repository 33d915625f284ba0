//! Runs a scenario: applications and their network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moqt_engine::model::SessionError;
use moqt_engine::{Config, MoqtConnection, RequestKey, Role, Timestamp, Transport};
use moqt_loopback::Network;

use super::application::Application;
use super::history::{Entry, History, What};
use super::scenario::{EndPlan, Scenario, Step};
use super::tracks::Track;

/// More happenings than any scenario has.
const MOST_STEPS: u64 = 3_000_000;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that happened.
    pub history: History,
    /// [`Network::trace_hash`]
    pub trace_hash: u64,
    /// [`Network::raw_trace_hash`]
    pub raw_trace_hash: u64,
    /// The network's log, if it was to be kept.
    pub log: Vec<String>,
}

impl Outcome {
    /// A hash of it and of its seed.
    pub fn hash(&self, seed: u64) -> u64 {
        let mixed = self.raw_trace_hash ^ self.trace_hash.rotate_left(32);
        mixed.wrapping_mul(seed.wrapping_mul(2).wrapping_add(1))
    }
}

impl Scenario {
    /// Runs it.
    pub fn run(&self, keep_log: bool) -> Outcome {
        let mut run = Run::new(self, keep_log);
        run.set_up();
        for step in &self.steps {
            run.until(run.start.saturating_add(Duration::from_millis(step.at)));
            run.carry_out(step);
        }
        run.settle();
        Outcome {
            trace_hash: run.network.trace_hash(),
            raw_trace_hash: run.network.raw_trace_hash(),
            log: run.network.take_log(),
            history: run.history,
        }
    }
}

/// A scenario under way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) network: Network,
    pub(super) history: History,
    pub(super) ends: Vec<Application>,
    pub(super) tracks: Vec<Track>,
    /// What applications have put off.
    later: BTreeMap<(Timestamp, u64), (usize, Later)>,
    /// Requests so far.
    pub(super) serial: u64,
    start: Timestamp,
    steps: u64,
}

/// What an application has put off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Later {
    Answer(RequestKey),
    Resume,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, keep_log: bool) -> Self {
        let mut network = Network::new(scenario.seed);
        network.keep_log(keep_log);
        let mut ends = Vec::new();
        for (plans, link) in scenario.ends.chunks(2).zip(&scenario.links) {
            let [client, server] = plans else { continue };
            let connection = |role, plan: &EndPlan, now| {
                let config = Arc::new(config(plan));
                MoqtConnection::new(role, scenario.draft, Transport::Quic, config, now)
            };
            let (client, server) = network.connect(
                connection(Role::Client, client, network.now()),
                connection(Role::Server, server, network.now()),
                link.clone(),
            );
            ends.extend([Application::new(client), Application::new(server)]);
        }
        let tracks = scenario.tracks.iter().map(|_| Track::default()).collect();
        Self {
            scenario,
            network,
            history: History::default(),
            ends,
            tracks,
            later: BTreeMap::new(),
            serial: 0,
            start: Timestamp::ZERO,
            steps: 0,
        }
    }

    fn set_up(&mut self) {
        self.run_for(Duration::from_secs(3));
        self.start = self.network.now();
        for end in &self.ends {
            self.history.first_usage.push(self.network.connection(end.id).usage());
        }
    }

    /// Everything goes right from here on, everything is read and everything is ended: nothing
    /// must be left then.
    fn settle(&mut self) {
        for end in 0..self.ends.len() {
            self.resume(end);
        }
        self.run_for(Duration::from_secs(60));
        for track in 0..self.tracks.len() {
            let news = self.tracks[track].complete_all();
            self.publish_news(track, &news);
        }
        self.run_for(Duration::from_secs(20));
        for end in 0..self.ends.len() {
            self.end_publishing(end);
        }
        self.run_for(Duration::from_secs(40));
        for end in 0..self.ends.len() {
            self.end_requests(end);
        }
        self.run_for(Duration::from_secs(60));
        for end in 0..self.ends.len() {
            let connection = self.network.connection(self.ends[end].id);
            let is_open = !connection.is_closed();
            self.history.last_usage.push(is_open.then(|| connection.usage()));
            let timer = connection.poll_timeout().filter(|_| is_open);
            self.history.last_timers.push(timer.map(|(at, timer)| format!("{timer:?} at {at:?}")));
        }
        self.record(0, What::Settled);
        for end in (0..self.ends.len()).step_by(2) {
            self.close(end);
        }
        self.run_for(Duration::from_secs(10));
    }

    /// Ends the session of an end.
    pub(super) fn close(&mut self, end: usize) {
        self.record(end, What::Closed);
        let id = self.ends[end].id;
        self.network.with(id, |connection, _| connection.close(SessionError::NoError, ""));
    }

    fn run_for(&mut self, duration: Duration) {
        self.until(self.network.now().saturating_add(duration));
    }

    /// Carries out everything up to a point in time.
    fn until(&mut self, deadline: Timestamp) {
        loop {
            while let Some((id, event)) = self.network.next_event() {
                if let Some(end) = self.ends.iter().position(|end| end.id == id) {
                    self.on_event(end, event);
                }
            }
            self.steps += 1;
            if self.steps > MOST_STEPS {
                self.history.is_endless = true;
                return;
            }
            let next = self.network.next_time();
            let later = self.later.first_key_value().map(|((at, _), _)| *at);
            match (next, later) {
                (next, Some(later))
                    if later <= deadline && next.is_none_or(|next| later < next) =>
                {
                    self.network.run_until(later);
                    if let Some((_, (end, what))) = self.later.pop_first() {
                        match what {
                            Later::Answer(request) => self.answer(end, request),
                            Later::Resume => self.resume(end),
                        }
                    }
                }
                (Some(next), _) if next <= deadline => {
                    self.network.step();
                }
                _ => break,
            }
        }
        self.network.run_until(deadline);
    }

    pub(super) fn put_off(&mut self, end: usize, millis: u64, what: Later) {
        let at = self.network.now().saturating_add(Duration::from_millis(millis));
        let number = self.later.last_key_value().map_or(0, |((_, number), _)| number + 1);
        let number = number.max(self.later.len() as u64 + self.steps);
        self.later.insert((at, number), (end, what));
    }

    pub(super) fn record(&mut self, end: usize, what: What) {
        self.history.entries.push(Entry { at: self.network.now(), end, what });
    }

    fn carry_out(&mut self, step: &Step) {
        if self.history.is_endless || step.end >= self.ends.len() {
            return;
        }
        self.act(step.end, &step.act);
    }
}

fn config(plan: &EndPlan) -> Config {
    let mut config = Config::default();
    config.coalesce_below = plan.coalesce_below;
    let limits = &mut config.limits;
    if plan.little.requests {
        limits.open_requests = 6;
        limits.open_subscriptions = 2;
        limits.open_fetches = 2;
        limits.unanswered_updates = 2;
    }
    if plan.little.streams {
        limits.unknown_alias_bytes = 4096;
        limits.open_subgroups = 3;
        limits.remembered_objects = 4;
        limits.given_up_subgroups = 4;
    }
    if let Some(bytes) = plan.little.queue {
        limits.subscription_send = bytes;
        limits.session_send = bytes + bytes / 2;
        limits.stream_receive = 4096;
        limits.session_receive = 16 * 1024;
        limits.stream_minimum = 1024;
    }
    config
}
