//! Messages between the shards of relays, on their way.

use std::collections::BTreeMap;

use moqt_engine::Timestamp;
use moqt_relay::{Message, ShardId};

use super::RelayId;

/// A message, and where it is going.
#[derive(Debug)]
pub(super) enum Letter {
    ToRouter { from: ShardId, to: Option<ShardId>, message: Message },
    ToShard { to: ShardId, message: Message },
}

/// A way on which nothing overtakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    From(ShardId),
    To(ShardId),
}

/// All that is on its way.
#[derive(Debug, Default)]
pub(super) struct Mail {
    letters: BTreeMap<(Timestamp, u64), (RelayId, Letter)>,
    posted: u64,
    /// When the last one arrives.
    last: BTreeMap<(RelayId, Way), Timestamp>,
}

impl Mail {
    /// Something arrives at this time, or with what is before it on the same way if that arrives
    /// later.
    pub(super) fn post(&mut self, relay: RelayId, at: Timestamp, letter: Letter) {
        let way = match &letter {
            Letter::ToRouter { from, .. } => Way::From(*from),
            Letter::ToShard { to, .. } => Way::To(*to),
        };
        let last = self.last.entry((relay, way)).or_insert(at);
        *last = at.max(*last);
        self.posted += 1;
        self.letters.insert((*last, self.posted), (relay, letter));
    }

    pub(super) fn next_time(&self) -> Option<Timestamp> {
        self.letters.first_key_value().map(|((at, _), _)| *at)
    }

    /// What has arrived.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(RelayId, Letter)> {
        self.next_time().filter(|at| *at <= now)?;
        self.letters.pop_first().map(|(_, letter)| letter)
    }

    pub(super) fn has(&self, relay: RelayId) -> bool {
        self.letters.values().any(|(of, _)| *of == relay)
    }

    pub(super) fn drop_of(&mut self, relay: RelayId) {
        self.letters.retain(|_, (of, _)| *of != relay);
    }
}
