//! Smaller scenarios that break the same rule.

use moqt_loopback::PathConfig;

use super::model::{Broken, check};
use super::scenario::{AnswerPlan, Scenario};

/// More runs than this are not spent on making one scenario smaller.
const MOST_RUNS: usize = 2000;

impl Scenario {
    /// Runs it and checks what happened.
    pub fn check(&self) -> Result<(), Broken> {
        check(self, &self.run(false).history)
    }

    /// Without other steps than those of these numbers.
    #[must_use]
    pub fn keep(mut self, kept: &[usize]) -> Self {
        let mut number = 0..;
        self.steps.retain(|_| number.next().is_some_and(|number| kept.contains(&number)));
        self
    }

    /// The numbers of the steps that are enough for the same rule to be broken.
    pub fn enough(&self, rule: &str) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..self.steps.len()).collect();
        let mut runs = 0;
        loop {
            let before = kept.len();
            let mut len = kept.len().div_ceil(2);
            while len > 0 {
                let mut at = 0;
                while at < kept.len() && runs < MOST_RUNS {
                    runs += 1;
                    let mut fewer = kept.clone();
                    fewer.drain(at..(at + len).min(kept.len()));
                    let checked = self.clone().keep(&fewer).check();
                    if checked.is_err_and(|broken| broken.rule == rule) {
                        kept = fewer;
                    } else {
                        at += len;
                    }
                }
                len /= 2;
            }
            if kept.len() == before || runs >= MOST_RUNS {
                return kept;
            }
        }
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
        let before = self.best.clone();
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
        let is_smaller = format!("{:?}", self.best) != format!("{before:?}");
        is_smaller && self.runs < MOST_RUNS
    }

    /// Makes what is left more ordinary.
    fn simplify(&mut self) {
        for link in 0..self.best.links.len() {
            for up in [true, false] {
                let mut smaller = self.best.clone();
                let link = &mut smaller.links[link];
                *(if up { &mut link.up } else { &mut link.down }) = PathConfig::default();
                self.try_out(smaller);
            }
        }
        for end in 0..self.best.ends.len() {
            let mut smaller = self.best.clone();
            smaller.ends[end].answers = vec![AnswerPlan::Accept { after: 0 }];
            self.try_out(smaller);
            let mut smaller = self.best.clone();
            smaller.ends[end].little.requests = false;
            self.try_out(smaller);
            let mut smaller = self.best.clone();
            smaller.ends[end].little.streams = false;
            self.try_out(smaller);
            let mut smaller = self.best.clone();
            smaller.ends[end].little.queue = None;
            self.try_out(smaller);
            let mut smaller = self.best.clone();
            smaller.ends[end].read_max = usize::MAX;
            smaller.ends[end].coalesce_below = 0;
            smaller.ends[end].slow = moqt_engine::SlowSubscriber::Block;
            self.try_out(smaller);
            let mut smaller = self.best.clone();
            smaller.ends[end].expires = None;
            self.try_out(smaller);
        }
        for track in 0..self.best.tracks.len() {
            let mut smaller = self.best.clone();
            smaller.tracks[track].timeout = None;
            smaller.tracks[track].has_properties = false;
            smaller.tracks[track].named_by_first = false;
            self.try_out(smaller);
        }
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
