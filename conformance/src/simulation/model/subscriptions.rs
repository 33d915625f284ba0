//! Subscriptions: what a publisher may and must send in them.

use std::collections::BTreeSet;

use moqt_engine::model::{Location, Parameters, SubscriptionFilter};
use moqt_engine::{Draft, RequestKey};

use super::{Checked, Model, Seen, must};

/// A subscription, of either origin.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) track: usize,
    /// The end that publishes.
    pub(super) publisher: usize,
    filter: Option<SubscriptionFilter>,
    start: Location,
    end_group: Option<u64>,
    pub(super) forward: bool,
    /// The largest location that the publisher has given.
    largest: Option<Location>,
    /// What a fetch that joins it ends with.
    pub(super) joining_location: Option<Location>,
    /// What a PUBLISH was accepted with, until the publisher knows.
    pub(super) pending: Option<Parameters>,
    /// Subgroups that the engine gives up, or was asked to.
    pub(super) given_up: BTreeSet<(u64, u64)>,
    pub(super) has_timeout: bool,
    /// It might be that nothing was forwarded for a while, or is not.
    pub(super) was_narrowed: bool,
    /// The publisher has ended it.
    pub(super) is_done: bool,
    /// Objects that came in datagrams, and that were sent so.
    pub(super) datagrams: Seen,
    pub(super) sent_datagrams: Seen,
    /// It was told that some were dropped, or may be.
    pub(super) loses_datagrams: bool,
    /// Objects that came on streams.
    pub(super) seen: Seen,
}

impl Subscription {
    pub(super) fn new(track: usize, publisher: usize, parameters: &Parameters) -> Self {
        Self {
            track,
            publisher,
            filter: parameters.subscription_filter,
            start: Location::ZERO,
            end_group: None,
            forward: parameters.forward.unwrap_or(true),
            largest: None,
            joining_location: None,
            pending: None,
            given_up: BTreeSet::new(),
            has_timeout: parameters.object_delivery_timeout.is_some(),
            was_narrowed: parameters.forward == Some(false),
            is_done: false,
            datagrams: Seen::new(),
            sent_datagrams: Seen::new(),
            loses_datagrams: false,
            seen: Seen::new(),
        }
    }

    /// It is in force from here on, when this is the largest location.
    pub(super) fn begin(&mut self, largest: Option<Location>) {
        self.largest = largest;
        self.joining_location = largest;
        self.set_filter(self.filter);
    }

    fn set_filter(&mut self, filter: Option<SubscriptionFilter>) {
        self.filter = filter;
        (self.start, self.end_group) = match (filter, self.largest) {
            // "the first Object in the next Group"
            (Some(SubscriptionFilter::NextGroupStart), Some(largest)) => {
                (Location::new(largest.group + 1, 0), None)
            }
            // "the first Object after the Largest"
            (Some(SubscriptionFilter::LargestObject), Some(largest)) => {
                (Location::new(largest.group, largest.object + 1), None)
            }
            (Some(SubscriptionFilter::AbsoluteStart { start }), _) => (start, None),
            (Some(SubscriptionFilter::AbsoluteRange { start, end_group }), _) => {
                (start, Some(end_group))
            }
            _ => (Location::ZERO, None),
        };
    }

    /// Whether everything that passes has been published already.
    pub(super) fn is_past(&self) -> bool {
        match (self.end_group, self.largest) {
            (Some(end), Some(largest)) => end < largest.group,
            _ => false,
        }
    }

    pub(super) fn passes(&self, location: Location) -> bool {
        location >= self.start && self.end_group.is_none_or(|end| location.group <= end)
    }

    pub(super) fn is_before_start(&self, location: Location) -> bool {
        location < self.start
    }

    pub(super) fn passes_group(&self, group: u64) -> bool {
        group >= self.start.group && self.end_group.is_none_or(|end| group <= end)
    }

    pub(super) fn note(&mut self, location: Location) {
        self.largest = self.largest.max(Some(location));
    }

    fn update(&mut self, parameters: &Parameters) {
        if parameters.subscription_filter.is_some() {
            self.set_filter(parameters.subscription_filter);
            self.was_narrowed = true;
        }
        if let Some(forward) = parameters.forward {
            self.forward = forward;
            self.was_narrowed |= !forward;
        }
        self.has_timeout |= parameters.object_delivery_timeout.is_some();
    }

    /// The publisher has been told what its PUBLISH was accepted with.
    pub(super) fn settle_publish(&mut self, parameters: &Parameters) {
        self.pending = None;
        self.update(parameters);
        // "If the parameter is omitted from any other message, the default value is 1."
        self.forward = parameters.forward.unwrap_or(true);
    }
}

impl Model<'_> {
    /// An end asks for an update.
    pub(super) fn updated(
        &mut self,
        end: usize,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Checked {
        let request = self.live(end, key)?;
        request.updates += 1;
        // A filter can be refused, which ends the request.
        request.may_end |= parameters.subscription_filter.is_some();
        if let Some(subscription) = &mut request.subscription {
            subscription.has_timeout |= parameters.object_delivery_timeout.is_some();
            subscription.was_narrowed = true;
        }
        Ok(())
    }

    /// An update is in force.
    pub(super) fn told_updated(
        &mut self,
        end: usize,
        key: RequestKey,
        parameters: &Parameters,
    ) -> Checked {
        let draft = self.scenario.draft;
        let request = self.live(end, key)?;
        must(request.updates > 0, "an update was asked for", || format!("{parameters:?}"))?;
        self.extend_expiry(end, key)?;
        let request = self.live(end, key)?;
        if request.subscription.as_ref().is_some_and(|subscription| subscription.publisher == end) {
            request.updates -= 1;
            if let Some(subscription) = &mut request.subscription {
                // "or REQUEST_UPDATE_OK that changes the Forward State from 0 to 1"
                if draft >= Draft::D18 && !subscription.forward && parameters.forward == Some(true)
                {
                    subscription.joining_location = subscription.largest;
                }
                subscription.update(parameters);
            }
        }
        Ok(())
    }

    pub(super) fn told_update_answer(
        &mut self,
        end: usize,
        key: RequestKey,
        is_accepted: bool,
    ) -> Checked {
        let request = self.live(end, key)?;
        // What was refused is not told of at the publisher. It ends the request.
        request.may_end |= !is_accepted;
        Ok(())
    }

    /// The publisher ends a subscription.
    pub(super) fn done(&mut self, end: usize, key: RequestKey) -> Checked {
        self.check_expiry(end, key)?;
        if let Ok(request) = self.live(end, key) {
            // What is written still has to be sent, and the subscriber may have a say until then.
            request.ended_by[end % 2] = true;
            if let Some(subscription) = &mut request.subscription {
                subscription.is_done = true;
            }
        }
        Ok(())
    }

    /// The subscriber is told of the end: everything has come that was to come.
    pub(super) fn told_done(&mut self, end: usize, key: RequestKey, missing: u64) -> Checked {
        let number = self.by_key.get(&(end, key)).copied();
        let request = self.live(end, key)?;
        let other =
            request.ended_by[(end + 1) % 2] || request.over[(end + 1) % 2] || request.may_end;
        must(other, "a subscription does not end for nothing", || format!("{key:?}"))?;
        let Some(number) = number else { return Ok(()) };
        let (mut unseen, mut unexplained) = (0, 0);
        for stream in self.streams.values().filter(|stream| stream.request == number) {
            unseen += u64::from(!stream.is_opened);
            unexplained += u64::from(stream.was_declined());
            if !self.is_excused(stream) {
                unexplained += u64::from(!stream.is_opened);
                must(
                    stream.is_over() || !stream.is_opened,
                    "the end of a subscription comes after its streams",
                    || stream.to_string(),
                )?;
            }
        }
        must(unexplained <= missing, "what never came is told to be missing", || {
            format!("{unexplained}, not {missing}")
        })?;
        // A stream that is cut off may be gone before it is known whose it is.
        must(
            missing <= unseen - unexplained || self.may_miss_streams(end),
            "no stream is missing for nothing",
            || format!("{missing}"),
        )?;
        self.requests[number].over[end % 2] = true;
        must(missing <= unseen, "what is told to be missing is", || {
            format!("{missing} of {unseen}")
        })
    }

    /// Whether streams may come late, or more of them than are taken.
    fn may_miss_streams(&self, end: usize) -> bool {
        let link = &self.links[end / 2];
        self.scenario.ends[end].little.streams || link.has_troubles || self.leapt[end].is_some()
    }
}
