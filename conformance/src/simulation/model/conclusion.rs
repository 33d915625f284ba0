//! What must hold when everything is over.

use moqt_engine::model::Location;

use super::{Checked, Model, must};
use crate::simulation::history::History;

impl Model<'_> {
    pub(super) fn conclude(&self, history: &History) -> Checked {
        must(!history.is_endless, "a run has an end", String::new)?;
        for (end, established) in self.established.iter().enumerate() {
            must(*established, "a session is set up", || format!("end {end}"))?;
            must(self.closed[end], "a session that is closed ends", || format!("end {end}"))?;
        }
        self.conclude_streams()?;
        self.conclude_datagrams()?;
        self.conclude_fetches()?;
        self.conclude_requests()?;
        for (end, usage) in history.last_usage.iter().enumerate() {
            let first = history.first_usage.get(end);
            if let (Some(last), Some(first)) = (usage, first) {
                must(last == first, "nothing is held when all is over", || {
                    format!("end {end}: {last:?}")
                })?;
            }
            let timer = history.last_timers.get(end).cloned().flatten();
            must(timer.is_none(), "nothing is waited for when all is over", || {
                format!("end {end}: {}", timer.unwrap_or_default())
            })?;
        }
        Ok(())
    }

    /// Whether a session ended before all of its requests did.
    pub(super) fn may_be_over_early(&self, end: usize) -> bool {
        let link = &self.links[end / 2];
        let has_goaway = link.goaway.iter().any(Option::is_some);
        link.was_cut || link.was_overdue || has_goaway || link.was_closed_early
    }

    /// Datagrams that the network does not lose arrive.
    fn conclude_datagrams(&self) -> Checked {
        for request in &self.requests {
            let Some(subscription) = &request.subscription else { continue };
            let publisher = subscription.publisher;
            let link = &self.scenario.links[publisher / 2];
            let path = if publisher.is_multiple_of(2) { &link.up } else { &link.down };
            let is_lossy = path.datagrams.loss > moqt_loopback::Chance::NEVER;
            let has_troubles = self.links[publisher / 2].has_troubles;
            if is_lossy
                || has_troubles
                || self.may_be_over_early(publisher)
                || request.ended_by[(publisher + 1) % 2]
                || !request.ended_by[publisher % 2]
                || subscription.loses_datagrams
            {
                continue;
            }
            let missing: Vec<&Location> =
                subscription.sent_datagrams.difference(&subscription.datagrams).collect();
            must(missing.is_empty(), "datagrams arrive", || format!("{missing:?} are missing"))?;
        }
        Ok(())
    }
}
