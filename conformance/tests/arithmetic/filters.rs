//! Subscription filters, and the range of draft 14's SUBSCRIBE_UPDATE.

use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{Draft, Location, Message, MessageKind, Parameters, SubscriptionFilter};
use moqt_engine::wire::{ControlReader, decode_message, encode_message};

use super::{EDGES, edges, in_draft, int, locations, place};

/// The filter of a SUBSCRIBE with these bytes for one.
fn read(draft: Draft, filter: &[u8]) -> Option<SubscriptionFilter> {
    // Request ID, namespace and name of one byte each.
    let before = [0, 1, 1, b'n', 1, b't'];
    let body = if draft >= Draft::D16 {
        let len = u8::try_from(filter.len()).unwrap();
        [&before[..], &[1, 0x21, len], filter].concat()
    } else {
        // Priority, order, forward; no parameters.
        [&before[..], &[0, 0, 1], filter, &[0]].concat()
    };
    match decode_message(draft.dialect(), MessageKind::Subscribe, &body) {
        Ok(Message::Subscribe(subscribe)) => subscribe.parameters.subscription_filter,
        Ok(message) => panic!("{message:?}"),
        Err(_) => None,
    }
}

/// What is read of a message that was written, if it could be.
fn round(draft: Draft, message: &Message) -> Option<Message> {
    let mut bytes = Vec::new();
    if encode_message(draft.dialect(), message, &mut bytes).is_err() {
        assert!(bytes.is_empty());
        return None;
    }
    let mut reader = ControlReader::new(draft.dialect());
    reader.push(bytes.into());
    Some(reader.next_message().unwrap().unwrap())
}

fn with(filter: SubscriptionFilter) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(filter);
    parameters.subscriber_priority = Some(128);
    parameters.forward = Some(true);
    parameters
}

// "AbsoluteRange (0x4): The Filter Start Location is specified explicitly. The specified End
// Group Delta is added to the Start Location's Group" (draft-18); before, End Group is the group
// itself.
#[test]
fn an_absolute_range_ends_where_the_draft_says() {
    for draft in DRAFTS {
        for (start, end) in locations(draft).flat_map(|s| edges(draft).map(move |end| (s, end))) {
            let fields = [4, start.group, start.object, end].map(|field| int(draft, field));
            let end_group = if draft >= Draft::D18 {
                in_draft(draft, u128::from(start.group) + u128::from(end))
            } else {
                Some(end)
            };
            let expected =
                end_group.map(|end_group| SubscriptionFilter::AbsoluteRange { start, end_group });
            assert_eq!(read(draft, &fields.concat()), expected, "{draft} {start} {end}");
        }
    }
}

#[test]
fn filters_are_written_if_the_draft_can_say_them() {
    for draft in DRAFTS {
        let groups = EDGES.into_iter().flat_map(|group| EDGES.map(|object| (group, object)));
        for start in groups.map(|(group, object)| Location::new(group, object)) {
            let fits = in_draft(draft, start.group.into()).is_some()
                && in_draft(draft, start.object.into()).is_some();
            let filter = SubscriptionFilter::AbsoluteStart { start };
            check(draft, filter, fits);
            for end_group in EDGES {
                let filter = SubscriptionFilter::AbsoluteRange { start, end_group };
                assert_eq!(filter.is_backwards(), end_group < start.group);
                let fits =
                    fits && !filter.is_backwards() && in_draft(draft, end_group.into()).is_some();
                check(draft, filter, fits);
            }
        }
        check(draft, SubscriptionFilter::LargestObject, true);
        check(draft, SubscriptionFilter::NextGroupStart, true);
    }
}

fn check(draft: Draft, filter: SubscriptionFilter, fits: bool) {
    let message = say::subscribe_with(0, "t", with(filter));
    let found = match round(draft, &message) {
        Some(Message::Subscribe(subscribe)) => subscribe.parameters.subscription_filter,
        _ => None,
    };
    assert_eq!(found, fits.then_some(filter), "{draft} {filter:?}");
}

// "End Group: The end Group ID, plus 1. A value of 0 means the subscription is open-ended."
// (draft-14, SUBSCRIBE_UPDATE)
#[test]
fn an_update_has_its_end_plus_one() {
    let draft = Draft::D14;
    for (start, end) in locations(draft).flat_map(|s| edges(draft).map(move |end| (s, end))) {
        let fields = [0, 0, start.group, start.object, end].map(|field| int(draft, field));
        // Priority, forward, no parameters.
        let body = [&fields.concat()[..], &[0, 1, 0]].concat();
        let found = match decode_message(draft.dialect(), MessageKind::RequestUpdate, &body) {
            Ok(Message::RequestUpdate(update)) => update.parameters.subscription_filter,
            _ => None,
        };
        let expected = match end.checked_sub(1) {
            None => Some(SubscriptionFilter::AbsoluteStart { start }),
            Some(end_group) if end_group < start.group => None,
            Some(end_group) => Some(SubscriptionFilter::AbsoluteRange { start, end_group }),
        };
        assert_eq!(found, expected, "{start} {end}");
    }
    for (start, end_group) in locations(draft).flat_map(|s| EDGES.map(move |end| (s, end))) {
        let filter = SubscriptionFilter::AbsoluteRange { start, end_group };
        let fits = end_group >= start.group && in_draft(draft, u128::from(end_group) + 1).is_some();
        let found = match round(draft, &say::update(0, 0, with(filter))) {
            Some(Message::RequestUpdate(update)) => update.parameters.subscription_filter,
            _ => None,
        };
        assert_eq!(found, fits.then_some(filter), "{filter:?}");
    }
}

// "Next Group Start (0x1): The Filter Start Location is {Largest Object.Group + 1, 0} [...]
// Largest Object (0x2): {Largest Object.Group, Largest Object.Object + 1} [...] If no content has
// been delivered yet, the Filter Start Location is {0, 0}" (all drafts, "Subscription Filters")
#[test]
fn filters_begin_after_the_largest_object() {
    let end_of_all = u128::MAX;
    for largest in EDGES.into_iter().flat_map(|g| EDGES.map(|object| Location::new(g, object))) {
        let next_group =
            (u128::from(largest.group) + 1).checked_shl(64).filter(|_| largest.group < u64::MAX);
        let found = SubscriptionFilter::NextGroupStart.start(Some(largest));
        assert_eq!(place(found), next_group.unwrap_or(end_of_all), "{largest}");
        let found = SubscriptionFilter::LargestObject.start(Some(largest));
        assert_eq!(place(found), place(largest).saturating_add(1), "{largest}");
        for filter in [
            SubscriptionFilter::AbsoluteStart { start: largest },
            SubscriptionFilter::AbsoluteRange { start: largest, end_group: 0 },
        ] {
            assert_eq!(filter.start(Some(Location::ZERO)), largest);
        }
    }
    for filter in [SubscriptionFilter::NextGroupStart, SubscriptionFilter::LargestObject] {
        assert_eq!(filter.start(None), Location::ZERO);
    }
}
