use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use super::{JoinPoint, WaitingJoins};
use crate::connection::SlowSubscriber;
use crate::key::StreamKey;
use crate::model::{
    FullTrackName, GroupOrder, Location, ObjectStatus, Parameters, PublishDone, PublishDoneCode,
    SubscriptionFilter,
};
use crate::object::TrackRules;
use crate::stats::Traffic;
use crate::stream::{DeliveryTimeouts, SenderKey};
use crate::time::Timestamp;

/// Why an object is refused that would make its track malformed.
pub(crate) const AFTER_END: &str = "the object is beyond the end of its group or track";

/// A subscription in which this side receives.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) track: FullTrackName,
    /// Known once it is established, or offered.
    pub(crate) alias: Option<u64>,
    /// The priority of subgroups that state none.
    pub(crate) default_priority: u8,
    /// Streams bound to it that have not been read to their end.
    pub(crate) open: BTreeSet<StreamKey>,
    /// Streams bound to it so far.
    pub(crate) seen: u64,
    /// Those of them that were stopped at once, because too many were open.
    pub(crate) not_taken: u64,
    /// The filter it began with.
    pub(crate) first_filter: Option<SubscriptionFilter>,
    pub(crate) forward: bool,
    /// Objects have come in datagrams. How many were sent, nobody says.
    pub(crate) has_datagrams: bool,
    pub(crate) stats: Traffic,
    /// For how long its publisher goes on sending what is late.
    pub(crate) timeouts: DeliveryTimeouts,
    /// What its objects have said about the track.
    pub(crate) rules: TrackRules,
    pub(crate) ending: Option<Ending>,
    /// What this side has asked for, as it is in force.
    pub(crate) wants: Box<Wants>,
    /// The largest location that the publisher has told of.
    pub(crate) largest: Option<Location>,
    /// The track lets subscribers ask for a new group.
    pub(crate) dynamic_groups: bool,
}

/// What a subscriber has asked for. Drafts whose updates repeat everything need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) filter: Option<SubscriptionFilter>,
    pub(crate) start: Location,
    pub(crate) end_group: Option<u64>,
    pub(crate) priority: u8,
    pub(crate) forward: bool,
}

impl Wants {
    /// What a SUBSCRIBE or PUBLISH_OK with these parameters asks for.
    pub(crate) fn new(parameters: &Parameters) -> Self {
        let mut wants = Self {
            filter: parameters.subscription_filter,
            start: Location::ZERO,
            end_group: None,
            priority: parameters.subscriber_priority.unwrap_or(128),
            forward: parameters.forward.unwrap_or(true),
        };
        wants.resolve(None);
        wants
    }

    /// The filter takes effect when this is the largest location.
    pub(crate) fn resolve(&mut self, largest: Option<Location>) {
        self.start = self.filter.map_or(Location::ZERO, |filter| filter.start(largest));
        self.end_group = self.filter.and_then(|filter| filter.end_group());
    }

    /// What it is after an update.
    pub(crate) fn updated(mut self, parameters: &Parameters) -> Self {
        if parameters.subscription_filter.is_some() {
            self.filter = parameters.subscription_filter;
            self.resolve(None);
        }
        self.priority = parameters.subscriber_priority.unwrap_or(self.priority);
        self.forward = parameters.forward.unwrap_or(self.forward);
        self
    }

    /// Whether this lets pass something that `before` did not.
    pub(crate) fn is_wider_than(&self, before: &Self) -> bool {
        widens((before.start, before.end_group), (self.start, self.end_group))
    }

    /// The same range as a filter that depends on nothing.
    pub(crate) fn absolute(&self) -> SubscriptionFilter {
        match self.end_group {
            Some(end_group) => SubscriptionFilter::AbsoluteRange { start: self.start, end_group },
            None => SubscriptionFilter::AbsoluteStart { start: self.start },
        }
    }
}

fn widens(before: (Location, Option<u64>), after: (Location, Option<u64>)) -> bool {
    after.0 < before.0 || after.1.unwrap_or(u64::MAX) > before.1.unwrap_or(u64::MAX)
}

/// The publisher has said that it is done.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) done: PublishDone,
    /// Until when what has not come yet is waited for; `None` once that is over.
    pub(crate) late_deadline: Option<Timestamp>,
}

impl Subscriber {
    pub(crate) fn new(track: FullTrackName, alias: Option<u64>, rules: TrackRules) -> Self {
        Self {
            track,
            alias,
            default_priority: 128,
            open: BTreeSet::new(),
            seen: 0,
            not_taken: 0,
            first_filter: None,
            forward: true,
            has_datagrams: false,
            stats: Traffic::default(),
            timeouts: DeliveryTimeouts::default(),
            rules,
            ending: None,
            wants: Box::new(Wants::new(&Parameters::default())),
            largest: None,
            dynamic_groups: false,
        }
    }

    /// Notes what the subscription begins with.
    pub(crate) fn begin_with(&mut self, parameters: &Parameters) {
        self.first_filter = parameters.subscription_filter;
        self.forward = parameters.forward.unwrap_or(true);
        *self.wants = Wants::new(parameters);
        self.wants.resolve(self.largest);
    }

    /// Streams that the publisher announced and that have not come.
    pub(crate) fn missing(&self) -> u64 {
        self.ending.as_ref().map_or(0, |ending| ending.done.stream_count.saturating_sub(self.seen))
    }

    /// Whether everything the publisher sent has come and been read.
    pub(crate) fn is_complete(&self) -> bool {
        let waits_no_more = |ending: &Ending| {
            ending.late_deadline.is_none() || (self.missing() == 0 && !self.has_datagrams)
        };
        self.open.is_empty() && self.ending.as_ref().is_some_and(waits_no_more)
    }
}

/// Why an update is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its filter ends before it begins.
    Backwards,
    /// All of it has been published already.
    Past,
    /// Its prefix overlaps with that of another namespace subscription.
    Overlaps,
    /// Its prefix is one that nobody may use.
    Reserved,
}

/// A subscription in which this side sends.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(crate) struct Publisher {
    pub(crate) track: FullTrackName,
    pub(crate) alias: u64,
    /// The priority of subgroups that state none.
    pub(crate) default_priority: u8,
    pub(crate) sender: SenderKey,
    /// The group order that the subscriber asked for.
    pub(crate) wished_order: Option<GroupOrder>,
    pub(crate) forward: bool,
    pub(crate) filter: Option<SubscriptionFilter>,
    /// First location that passes the filter.
    pub(crate) start: Location,
    /// Last group that passes the filter.
    pub(crate) end_group: Option<u64>,
    /// The largest location the application has given or told of.
    pub(crate) largest: Option<Location>,
    /// Objects have been given to be sent in datagrams.
    pub(crate) has_datagrams: bool,
    /// The filter it began with.
    pub(crate) first_filter: Option<SubscriptionFilter>,
    /// The Joining Location (draft-18, "Subscriptions").
    pub(crate) joining_location: Option<Location>,
    /// FETCHes that wait for it to be established.
    pub(crate) joins: WaitingJoins,
    /// Streams opened so far.
    pub(crate) opened: u64,
    /// Those of them that have neither finished nor been reset, with group and Subgroup ID once
    /// that is known.
    pub(crate) open: BTreeMap<StreamKey, Option<(u64, u64)>>,
    /// The streams in `open` by group and Subgroup ID.
    pub(crate) subgroups: BTreeMap<(u64, u64), StreamKey>,
    /// The largest group of which a stream begun now in the middle of a subgroup may lack objects
    /// that pass the filter: nothing was to be forwarded, the filter was narrower, or they were on
    /// a stream that was reset.
    pub(crate) withheld: Option<u64>,
    /// The last object of each group that the application said the end of, as far as that is
    /// remembered.
    ended_groups: BTreeMap<u64, u64>,
    /// The largest of those.
    last_ended: Option<u64>,
    /// Where it said that the track ends.
    end_of_track: Option<Location>,
    /// What becomes of it when its queue is full.
    pub(crate) slow: SlowSubscriber,
    pub(crate) stats: Traffic,
    /// Groups and subgroups that the application finished, as far as they are remembered.
    finished: BTreeSet<(u64, u64)>,
    /// Groups and subgroups that this side gave up.
    pub(crate) given_up: BTreeSet<(u64, u64)>,
    /// Groups and subgroups that the subscriber stopped.
    pub(crate) stopped: BTreeSet<(u64, u64)>,
    /// The track lets subscribers ask for a new group.
    pub(crate) dynamic_groups: bool,
    /// What a SUBSCRIBE asked for with NEW_GROUP_REQUEST, until it is accepted.
    pub(crate) new_group_request: Option<u64>,
    /// How it is to end, once all streams are closed.
    pub(crate) ending: Option<(PublishDoneCode, String)>,
    /// The application has been told that it is over; what is queued is still to be sent.
    pub(crate) is_over: bool,
}

impl Publisher {
    pub(crate) fn new(
        track: FullTrackName,
        sender: SenderKey,
        default_priority: u8,
        parameters: &Parameters,
    ) -> Self {
        let mut publisher = Self {
            track,
            alias: 0,
            default_priority,
            sender,
            wished_order: parameters.group_order,
            forward: parameters.forward.unwrap_or(true),
            filter: None,
            start: Location::ZERO,
            end_group: None,
            largest: None,
            has_datagrams: false,
            first_filter: parameters.subscription_filter,
            joining_location: None,
            joins: WaitingJoins::new(),
            opened: 0,
            open: BTreeMap::new(),
            subgroups: BTreeMap::new(),
            withheld: None,
            ended_groups: BTreeMap::new(),
            last_ended: None,
            finished: BTreeSet::new(),
            end_of_track: None,
            slow: SlowSubscriber::default(),
            stats: Traffic::default(),
            given_up: BTreeSet::new(),
            stopped: BTreeSet::new(),
            dynamic_groups: false,
            new_group_request: parameters.new_group_request,
            ending: None,
            is_over: false,
        };
        publisher.set_filter(parameters.subscription_filter);
        publisher
    }

    /// What a FETCH that joins it goes by.
    pub(crate) fn join_point(&self) -> JoinPoint {
        JoinPoint {
            filter: self.first_filter,
            forward: self.forward,
            location: self.joining_location,
        }
    }

    /// Whether a filter asks for more than the present one.
    pub(crate) fn is_widened_by(&self, filter: SubscriptionFilter) -> bool {
        let range = (filter.start(self.largest), filter.end_group());
        widens((self.start, self.end_group), range)
    }

    /// Why a filter cannot take the place of the present one, if it cannot.
    pub(crate) fn unfit(&self, filter: SubscriptionFilter) -> Option<Unfit> {
        if filter.is_backwards() {
            Some(Unfit::Backwards)
        } else {
            filter.is_past(self.largest).then_some(Unfit::Past)
        }
    }

    /// Applies an update from the subscriber.
    pub(crate) fn update(&mut self, parameters: &Parameters) {
        if parameters.subscription_filter.is_some() {
            self.set_filter(parameters.subscription_filter);
        }
        if let Some(forward) = parameters.forward {
            self.forward = forward;
        }
    }

    /// Whether the subscriber's NEW_GROUP_REQUEST asks for something that the publisher is to
    /// do: the track has to allow it, and the group not to have begun (draft-18, "NEW GROUP
    /// REQUEST Parameter").
    pub(crate) fn asks_for_new_group(&self, parameters: &Parameters) -> Option<u64> {
        let is_new =
            |value: &u64| *value == 0 || self.largest.is_none_or(|largest| *value > largest.group);
        parameters.new_group_request.filter(is_new).filter(|_| self.dynamic_groups)
    }

    /// Applies a filter from here on. Without one, what comes next passes.
    pub(crate) fn set_filter(&mut self, filter: Option<SubscriptionFilter>) {
        let before = (self.start, self.end_group);
        self.filter = filter;
        self.start = filter.map_or(Location::ZERO, |filter| filter.start(self.largest));
        self.end_group = filter.and_then(|filter| filter.end_group());
        if widens(before, (self.start, self.end_group)) {
            self.withheld = self.withheld.max(self.largest.map(|largest| largest.group));
        }
    }

    /// Whether the subgroup is sent no further (draft-18, "Closing Subgroup Streams").
    pub(crate) fn has_given_up(&self, subgroup: (u64, u64)) -> bool {
        self.given_up.contains(&subgroup) || self.stopped.contains(&subgroup)
    }

    /// Whether any object of the group can pass the filter.
    pub(crate) fn passes_group(&self, group: u64) -> bool {
        group >= self.start.group && self.end_group.is_none_or(|end| group <= end)
    }

    /// Whether an object passes the filter.
    pub(crate) fn passes(&self, location: Location) -> bool {
        location >= self.start && self.end_group.is_none_or(|end| location.group <= end)
    }

    /// A stream was opened for a subgroup.
    pub(crate) fn stream_opened(&mut self, stream: StreamKey, name: Option<(u64, u64)>) {
        self.opened += 1;
        self.open.insert(stream, name);
        if let Some(name) = name {
            self.subgroups.insert(name, stream);
        }
    }

    /// Whether the first object of a stream may say that it is for this subgroup.
    pub(crate) fn may_name(&self, name: (u64, u64)) -> bool {
        !self.has_stream(name) && !self.has_given_up(name)
    }

    /// Whether all objects of the subgroup are on a stream, or will be: that may still be open.
    pub(crate) fn has_stream(&self, name: (u64, u64)) -> bool {
        self.subgroups.contains_key(&name) || self.finished.contains(&name)
    }

    /// The application has finished a subgroup. Of more than `limit`, those of the smallest
    /// groups are forgotten.
    pub(crate) fn subgroup_finished(&mut self, name: (u64, u64), limit: usize) {
        self.finished.insert(name);
        if self.finished.len() > limit {
            self.finished.pop_first();
        }
    }

    /// The first object says which subgroup a stream is for.
    pub(crate) fn name_stream(&mut self, stream: StreamKey, name: (u64, u64)) {
        self.open.insert(stream, Some(name));
        self.subgroups.insert(name, stream);
    }

    /// A stream is reset: another one for its subgroup does not have all objects.
    pub(crate) fn stream_reset(&mut self, stream: StreamKey) {
        let name = self.open.get(&stream).copied().flatten();
        self.withheld = self.withheld.max(name.map(|(group, _)| group));
    }

    /// A stream has finished or been reset.
    pub(crate) fn stream_closed(&mut self, stream: StreamKey) {
        if let Some(name) = self.open.remove(&stream).flatten() {
            self.subgroups.remove(&name);
        }
    }

    /// What the application says with an object about those that follow. Of more than `limit`
    /// groups, the smallest are forgotten.
    pub(crate) fn note_end(&mut self, status: ObjectStatus, location: Location, limit: usize) {
        match status {
            ObjectStatus::EndOfGroup => {
                self.ended_groups.insert(location.group, location.object);
                if self.ended_groups.len() > limit {
                    self.ended_groups.pop_first();
                }
                self.last_ended = self.last_ended.max(Some(location.group));
            }
            ObjectStatus::EndOfTrack => self.end_of_track = Some(location),
            _ => {}
        }
    }

    /// Whether the application has said that there is no object here (draft-18, "Malformed
    /// Tracks"), as far as that is remembered.
    #[inline]
    pub(crate) fn is_after_end(&self, location: Location) -> bool {
        self.end_of_track.is_some_and(|end| location > end)
            || (self.last_ended >= Some(location.group) && self.is_after_group_end(location))
    }

    /// The same of the groups that may have ended: those that are not larger than all that have.
    #[cold]
    fn is_after_group_end(&self, location: Location) -> bool {
        self.ended_groups.get(&location.group).is_some_and(|last| location.object > *last)
    }

    /// An object is published, whether this subscriber gets it or not.
    pub(crate) fn note(&mut self, location: Location) {
        if self.largest.is_none_or(|largest| location > largest) {
            self.largest = Some(location);
        }
    }
}
