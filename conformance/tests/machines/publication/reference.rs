//! What is known of a subscription, and what the text says of it.

use std::collections::{BTreeMap, BTreeSet};

use moqt_conformance::end::Name;
use moqt_engine::model::{Location, Parameters, PublishDoneCode, SubscriptionFilter};
use moqt_engine::{RequestKey, Timestamp};

/// What a subscriber asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) filter: Option<SubscriptionFilter>,
    pub(super) forward: Option<bool>,
}

impl Wish {
    pub(super) fn parameters(self) -> Parameters {
        let mut parameters = Parameters::default();
        parameters.subscription_filter = self.filter;
        parameters.forward = self.forward;
        parameters
    }
}

/// "Idle, Pending (Publisher), Established, Terminated" (draft-18, "Subscriptions"); one that
/// waits until it "has closed all streams" before PUBLISH_DONE is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Established,
    Ending { code: PublishDoneCode, is_told: bool },
    Over,
}

/// What became of an object of a subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Smaller than the Start Location before anything of the subgroup was sent.
    Before,
    Sent(Name),
    Omitted,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: Name,
    /// Group and Subgroup ID.
    pub(super) of: (u64, u64),
    pub(super) is_first: bool,
    pub(super) sent: Vec<u64>,
    pub(super) has_hole: bool,
    pub(super) is_finished: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(super) struct Subscription {
    pub(super) key: RequestKey,
    pub(super) id: u64,
    pub(super) on: Name,
    pub(super) track: u8,
    pub(super) ours: bool,
    pub(super) is_answered: bool,
    pub(super) state: State,
    pub(super) alias: u64,
    pub(super) filter: Option<SubscriptionFilter>,
    pub(super) start: Location,
    pub(super) end_group: Option<u64>,
    pub(super) forward: bool,
    pub(super) largest: Option<Location>,
    pub(super) expiry: Option<(u64, Timestamp)>,
    /// Updates that wait for the answer to the request.
    pub(super) held: u64,
    /// Those that have neither been sent to their end nor reset.
    pub(super) open: Vec<Stream>,
    /// All of them.
    pub(super) streams: Vec<Name>,
    pub(super) datagrams: Vec<Location>,
    /// Of these, those that wait to be sent.
    pub(super) queued: usize,
    pub(super) next: BTreeMap<u64, u64>,
    pub(super) fates: BTreeMap<(u64, u64), Vec<Fate>>,
    pub(super) finished: BTreeSet<(u64, u64)>,
    pub(super) stopped: BTreeSet<(u64, u64)>,
    /// Something may have been left out that the filter of now would let pass.
    pub(super) has_gaps: bool,
}

impl Subscription {
    pub(super) fn is_live(&self) -> bool {
        self.state != State::Over
    }

    /// "Publishers MAY start sending Objects on PUBLISH-initiated subscriptions before receiving
    /// a PUBLISH_OK response".
    pub(super) fn may_send(&self) -> bool {
        self.state == State::Established || self.state == State::Pending && self.ours
    }

    /// "Only objects published [...] having Locations greater than or equal to Start Location and
    /// strictly less than or equal to the End Group (when present) pass the filter."
    pub(super) fn passes(&self, location: Location) -> bool {
        self.start <= location && self.end_group.is_none_or(|end| location.group <= end)
    }

    /// "Largest Object (0x2): The filter Start Location is {Largest Object.Group, Largest
    /// Object.Object + 1} [...] Next Group Start (0x1): The filter Start Location is {Largest
    /// Object.Group + 1, 0} [...] If no content has been delivered yet, the filter Start Location
    /// is {0, 0}."
    pub(super) fn range(&self, filter: Option<SubscriptionFilter>) -> (Location, Option<u64>) {
        match (filter, self.largest) {
            (Some(SubscriptionFilter::NextGroupStart), Some(largest)) => {
                (Location::new(largest.group + 1, 0), None)
            }
            (Some(SubscriptionFilter::LargestObject), Some(largest)) => {
                (Location::new(largest.group, largest.object + 1), None)
            }
            (Some(SubscriptionFilter::AbsoluteStart { start }), _) => (start, None),
            (Some(SubscriptionFilter::AbsoluteRange { start, end_group }), _) => {
                (start, Some(end_group))
            }
            _ => (Location::ZERO, None),
        }
    }

    pub(super) fn is_wider(&self, (start, end_group): (Location, Option<u64>)) -> bool {
        let end = |group: Option<u64>| group.unwrap_or(u64::MAX);
        start < self.start || end(end_group) > end(self.end_group)
    }

    pub(super) fn set_filter(&mut self, filter: Option<SubscriptionFilter>) {
        let range = self.range(filter);
        self.has_gaps |= self.is_wider(range);
        self.filter = filter;
        (self.start, self.end_group) = range;
    }

    /// "if the entire End Group has already been published"
    pub(super) fn is_past(&self, filter: Option<SubscriptionFilter>) -> bool {
        let (_, end_group) = self.range(filter);
        matches!((end_group, self.largest), (Some(end), Some(largest)) if end < largest.group)
    }

    pub(super) fn place(&mut self, group: u64, jump: u64) -> Location {
        let next = self.next.entry(group).or_default();
        let location = Location::new(group, *next + jump);
        *next = location.object + 1;
        self.largest = self.largest.max(Some(location));
        location
    }

    pub(super) fn fate(&mut self, of: (u64, u64), fate: Fate) {
        self.fates.entry(of).or_default().push(fate);
        self.has_gaps |= fate == Fate::Omitted;
    }
}
