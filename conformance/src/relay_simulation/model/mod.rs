//! The reference model: what must arrive of what was published, and what must not.
//!
//! It knows nothing of relays. An object that comes anywhere is one that was published, in all its
//! parts, and comes once; and whatever a subscriber had a right to comes, unless something went
//! wrong around that time or the subscriber was told.

mod ends;
mod fetches;
mod namespaces;
mod objects;
mod subscriptions;

use std::collections::BTreeSet;
use std::time::Duration;

use moqt_engine::Timestamp;

use super::record::{Published, Record};
use super::scenario::{Level, Scenario};
use crate::simulation::Broken;

/// How long it takes at most until what is done anywhere is known everywhere, if nothing goes
/// wrong and little waits to be sent.
const GRACE: Duration = Duration::from_secs(4);

/// Whether a record may be that of a scenario; if not, the first rule that it breaks.
pub fn check(scenario: &Scenario, record: &Record) -> Result<(), Broken> {
    let model = Model { scenario, record };
    model.sessions()?;
    for number in 0..record.subscriptions.len() {
        model.subscription(number)?;
    }
    for fetched in &record.fetches {
        model.fetch(fetched)?;
    }
    for asked in &record.statuses {
        model.status(asked)?;
    }
    for told in &record.namespaces {
        model.namespace_subscription(told)?;
    }
    model.nothing_left()
}

struct Model<'a> {
    scenario: &'a Scenario,
    record: &'a Record,
}

type Checked = Result<(), Broken>;

/// A rule is broken unless this holds.
fn must(holds: bool, rule: &'static str, about: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Broken { rule, about: about(), entry: 0 }) }
}

impl Model<'_> {
    /// Whether nothing is wrong, and nothing that was wrong has an effect any longer, at any time
    /// of these.
    fn is_quiet(&self, from: Timestamp, to: Timestamp) -> bool {
        self.record.troubles.iter().all(|(begun, over)| to < *begun || from > *over)
    }

    /// Whether anything ever goes wrong.
    fn is_calm(&self) -> bool {
        self.scenario.level < Level::Faults
    }

    /// Whether a client reads all that comes, at any time of these.
    fn reads(&self, client: usize, from: Timestamp, to: Timestamp) -> bool {
        let mut pauses = self.record.pauses.iter().filter(|(who, ..)| *who == client);
        pauses.all(|(_, begun, over)| to < *begun || from > *over)
    }

    /// Those who are known everywhere to publish a track, and do, throughout this time.
    fn publishers(
        &self,
        track: usize,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &Published> {
        let publishers = self.record.tracks[track].publishers.iter();
        publishers.filter(move |published| {
            !published.is_refused
                && published.from.saturating_add(GRACE) <= from
                && published.to.is_none_or(|(until, _)| {
                    // Who leaves in the middle of a subgroup resets it, and that may overtake
                    // what was written. At the end, nobody does.
                    let is_end = until >= self.record.ended;
                    until >= if is_end { to } else { to.saturating_add(GRACE) }
                })
        })
    }

    /// Clients that speak draft 14, and relays: there, fetches do not tell everything.
    fn has_draft_14(&self) -> bool {
        let clients = self.scenario.clients.iter().map(|client| client.draft);
        let relays = self.scenario.relays.iter().map(|relay| relay.draft);
        clients.chain(relays).collect::<BTreeSet<_>>().contains(&moqt_engine::Draft::D14)
    }
}

/// When it is known everywhere.
fn known(at: Timestamp) -> Timestamp {
    at.saturating_add(GRACE)
}
