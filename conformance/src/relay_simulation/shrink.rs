//! Smaller scenarios that break the same rule.

use super::model::check;
use super::scenario::Scenario;
use crate::simulation::Broken;

/// More runs than this are not spent on making one scenario smaller.
const MOST_RUNS: usize = 1000;

impl Scenario {
    /// Runs it and checks what happened.
    pub fn check(&self) -> Result<(), Broken> {
        check(self, &self.run(false).record)
    }

    /// The smallest scenario that is found to break the same rule, by leaving things out.
    #[must_use]
    pub fn shrink(&self, rule: &str) -> Self {
        let mut shrinking = Shrinking { best: self.clone(), rule, runs: 0 };
        while shrinking.round() {}
        shrinking.best
    }
}

struct Shrinking<'a> {
    best: Scenario,
    rule: &'a str,
    runs: usize,
}

impl Shrinking<'_> {
    /// Whether anything could be left out.
    fn round(&mut self) -> bool {
        let before = format!("{:?}", self.best);
        let mut len = self.best.steps.len().div_ceil(2);
        while len > 0 {
            let mut at = 0;
            while at < self.best.steps.len() {
                let mut smaller = self.best.clone();
                let end = (at + len).min(smaller.steps.len());
                smaller.steps.drain(at..end);
                if !self.try_out(smaller) {
                    at += len;
                }
            }
            len /= 2;
        }
        self.simplify();
        format!("{:?}", self.best) != before && self.runs < MOST_RUNS
    }

    /// Makes what is left more ordinary.
    fn simplify(&mut self) {
        for client in 0..self.best.clients.len() {
            self.change(|it| it.clients[client].relay = 0);
            self.change(|it| it.clients[client].link = None);
            self.change(|it| it.clients[client].halves = None);
            self.change(|it| it.clients[client].read_max = usize::MAX);
            self.change(|it| it.clients[client].draft = moqt_engine::Draft::D18);
            self.change(|it| it.clients[client].transport = moqt_engine::Transport::Quic);
        }
        while self.best.relays.len() > 1
            && self.change(|it| it.relays.truncate(it.relays.len() - 1))
        {}
        for relay in 0..self.best.relays.len() {
            self.change(|it| it.relays[relay].link = None);
            self.change(|it| it.relays[relay].parent = 0);
            self.change(|it| it.relays[relay].shards = 1);
            self.change(|it| it.relays[relay].message_delay = 0);
            self.change(|it| it.relays[relay].track_objects = 65_536);
            self.change(|it| it.relays[relay].draft = moqt_engine::Draft::D18);
            self.change(|it| it.relays[relay].transport = moqt_engine::Transport::Quic);
        }
        for track in 0..self.best.tracks.len() {
            self.change(|it| it.tracks[track].has_default_priority = false);
            self.change(|it| it.tracks[track].plan.has_properties = false);
            self.change(|it| it.tracks[track].plan.named_by_first = false);
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut smaller = self.best.clone();
        change(&mut smaller);
        format!("{smaller:?}") != format!("{:?}", self.best) && self.try_out(smaller)
    }

    fn try_out(&mut self, smaller: Scenario) -> bool {
        self.runs += 1;
        if self.runs > MOST_RUNS {
            return false;
        }
        let breaks = smaller.check().is_err_and(|broken| broken.rule == self.rule);
        if breaks {
            self.best = smaller;
        }
        breaks
    }
}
