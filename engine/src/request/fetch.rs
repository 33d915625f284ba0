use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::fetch_order::FetchOrder;
use crate::key::{RequestKey, StreamKey};
use crate::model::{
    FullTrackName, GroupOrder, JoiningStart, Location, LocationRange, Parameters,
    SubscriptionFilter,
};
use crate::stream::SenderKey;
use crate::time::Timestamp;
use crate::wire::{FetchWriter, JoiningRule};

/// A FETCH of ours: this side receives.
#[derive(Debug)]
pub(crate) struct FetchSubscriber {
    pub(crate) track: FullTrackName,
    pub(crate) start: FetchStart,
    /// The order asked for; on the draft where the publisher may choose, `None` until it has.
    pub(crate) order: Option<GroupOrder>,
    /// What is known of the range before it is in the reader's hands.
    pub(crate) last: Option<Location>,
    pub(crate) stream: FetchStream,
    /// Until when the stream must come, once FETCH_OK has.
    pub(crate) stream_deadline: Option<Timestamp>,
}

/// Where a fetch begins, as far as its subscriber knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchStart {
    At(Location),
    /// This many groups before the group in which it ends.
    GroupsBefore(u64),
}

impl FetchStart {
    /// The first location of a range that ends with `end`.
    pub(crate) fn of_range_to(self, end: Location) -> Location {
        match self {
            Self::At(start) => start,
            Self::GroupsBefore(groups) => Location::new(end.group.saturating_sub(groups), 0),
        }
    }
}

/// The one stream that a fetch's objects come on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchStream {
    /// It has not come.
    Awaited,
    /// It has not been read to its end.
    Open(StreamKey),
    /// It was read to its end, or given up.
    Over,
}

/// A FETCH of the peer's: this side sends.
#[derive(Debug)]
pub(crate) struct FetchPublisher {
    pub(crate) track: FullTrackName,
    pub(crate) sender: SenderKey,
    /// The subscription that it waits for before its range is known.
    pub(crate) waits_for: Option<Box<(RequestKey, JoiningStart, Parameters)>>,
    /// The order that the subscriber asked for.
    pub(crate) wished_order: Option<GroupOrder>,
    pub(crate) range: LocationRange,
    /// The answer, if it waits for the first object.
    pub(crate) held_answer: Option<Vec<u8>>,
    pub(crate) stream: ResponseStream,
    /// Payload of the current object that the application has yet to give.
    pub(crate) payload_left: u64,
}

/// The one stream that a fetch's objects go on.
#[derive(Debug)]
pub(crate) enum ResponseStream {
    /// Nothing has been said on it. The order in which it will be, if that is settled.
    Unopened(Option<GroupOrder>),
    Open(StreamKey, Box<ResponseWriter>),
    /// It has been finished and sent, or reset.
    Over,
}

/// What has been written to a response.
#[derive(Debug)]
pub(crate) struct ResponseWriter {
    pub(crate) writer: FetchWriter,
    pub(crate) order: FetchOrder,
    /// Nothing follows.
    pub(crate) is_finished: bool,
}

/// What a publisher knows of a subscription that is about to be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinPoint {
    /// The filter that the subscription began with.
    pub(crate) filter: Option<SubscriptionFilter>,
    pub(crate) forward: bool,
    /// The Joining Location (draft-18, "Subscriptions"): the largest that the subscriber has
    /// been told of.
    pub(crate) location: Option<Location>,
}

impl JoinPoint {
    /// What can be said before the subscription is established, and holds from then on: to join
    /// one with another filter is a violation.
    pub(crate) fn check_filter(&self, rule: JoiningRule) -> Result<(), &'static str> {
        match (rule, self.filter) {
            (JoiningRule::ForwardState, _)
            | (JoiningRule::LargestObjectFilter, Some(SubscriptionFilter::LargestObject)) => Ok(()),
            (JoiningRule::LargestObjectFilter, _) => {
                Err("a joining FETCH of a subscription whose filter is not Largest Object")
            }
        }
    }

    /// The range of a joining FETCH of an established subscription whose filter may be (draft-18,
    /// "Joining Fetch Range Calculation"), or why it is to be refused with INVALID_RANGE.
    /// Relative to a group that there are not so many before, it begins with the first.
    pub(crate) fn range(
        &self,
        rule: JoiningRule,
        start: JoiningStart,
    ) -> Result<LocationRange, &'static str> {
        if rule == JoiningRule::ForwardState && !self.forward {
            return Err("the subscription to join has Forward State 0");
        }
        let Some(last) = self.location else {
            return Err("nothing had been published when the subscription began");
        };
        let group = match start {
            JoiningStart::Relative(groups) => last.group.saturating_sub(groups),
            JoiningStart::Absolute(group) => group,
        };
        let range = LocationRange::to_last(Location::new(group, 0), last);
        if range.is_backwards() {
            return Err("the range ends before it begins");
        }
        Ok(range)
    }
}

/// FETCHes that wait for a subscription to be established.
pub(crate) type WaitingJoins = BTreeSet<RequestKey>;

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: Location = Location::new(5, 3);
    const BY_FILTER: JoiningRule = JoiningRule::LargestObjectFilter;
    const BY_FORWARD: JoiningRule = JoiningRule::ForwardState;

    fn point() -> JoinPoint {
        JoinPoint {
            filter: Some(SubscriptionFilter::LargestObject),
            forward: true,
            location: Some(LARGEST),
        }
    }

    // "sets the End Location to {Joining Location.Group, Joining Location.Object + 1}"; "For a
    // Relative Joining Fetch, the publisher sets the Start Location to {Joining Location.Group -
    // Joining Start, 0}"; for an absolute one "{Joining Start, 0}" (draft-18; the same in 14 and
    // 16).
    #[test]
    fn ranges_end_at_the_joining_location() {
        let cases = [
            (JoiningStart::Relative(0), 5),
            (JoiningStart::Relative(1), 4),
            (JoiningStart::Relative(5), 0),
            // More groups than there are: all of them.
            (JoiningStart::Relative(6), 0),
            (JoiningStart::Relative(u64::MAX), 0),
            (JoiningStart::Absolute(0), 0),
            (JoiningStart::Absolute(5), 5),
        ];
        for rule in [BY_FILTER, BY_FORWARD] {
            for (start, group) in cases {
                let expected = LocationRange::new(Location::new(group, 0), Location::new(5, 4));
                assert_eq!(point().range(rule, start), Ok(expected), "{rule:?} {start:?}");
            }
        }
    }

    // "End Location MUST specify the same or a larger Location than Start Location for
    // Standalone and Absolute Joining Fetches." (all drafts, "Fetch Handling")
    #[test]
    fn a_start_after_the_joining_location_is_refused() {
        for rule in [BY_FILTER, BY_FORWARD] {
            assert!(point().range(rule, JoiningStart::Absolute(6)).is_err());
            assert!(point().range(rule, JoiningStart::Absolute(u64::MAX)).is_err());
        }
    }

    // "If no Objects have been published for the track the publisher MUST respond with a
    // REQUEST_ERROR with error code INVALID_RANGE." (draft-18; the same in 14 and 16)
    #[test]
    fn a_track_without_objects_cannot_be_joined() {
        for rule in [BY_FILTER, BY_FORWARD] {
            let point = JoinPoint { location: None, ..point() };
            assert!(point.range(rule, JoiningStart::Relative(0)).is_err());
        }
    }

    // "A Joining Fetch is only permitted when the associated Subscribe has the Filter Type
    // Largest Object; any other value results in closing the session" (drafts 14 and 16)
    #[test]
    fn other_filters_close_where_the_filter_counts() {
        let start = Location::ZERO;
        let others = [
            None,
            Some(SubscriptionFilter::NextGroupStart),
            Some(SubscriptionFilter::AbsoluteStart { start }),
            Some(SubscriptionFilter::AbsoluteRange { start, end_group: 9 }),
        ];
        for filter in others {
            let point = JoinPoint { filter, ..point() };
            assert!(point.check_filter(BY_FILTER).is_err());
            assert!(point.check_filter(BY_FORWARD).is_ok());
            assert!(point.range(BY_FORWARD, JoiningStart::Relative(0)).is_ok());
        }
    }

    // "A Joining Fetch is only permitted when the associated subscription has Forward State 1;
    // otherwise the publisher MUST respond with a REQUEST_ERROR with error code INVALID_RANGE."
    // (draft-18) Earlier drafts ask for no such thing.
    #[test]
    fn forward_state_0_is_refused_where_it_counts() {
        let point = JoinPoint { forward: false, ..point() };
        assert!(point.range(BY_FORWARD, JoiningStart::Relative(0)).is_err());
        assert!(point.range(BY_FILTER, JoiningStart::Relative(0)).is_ok());
    }

    #[test]
    fn the_last_object_there_can_be_is_joined_too() {
        let point = JoinPoint { location: Some(Location::new(5, u64::MAX)), ..point() };
        let range = point.range(BY_FORWARD, JoiningStart::Relative(0));
        assert_eq!(range.map(|range| range.last()), Ok(Location::new(5, u64::MAX)));
    }
}
