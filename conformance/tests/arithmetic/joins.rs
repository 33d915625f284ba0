//! The range of a FETCH that joins a subscription.

use moqt_conformance::end::End;
use moqt_conformance::{DRAFTS, say};
use moqt_engine::model::{
    Draft, JoiningStart, Location, LocationRange, Message, Parameters, RequestErrorCode,
    SubscriptionFilter,
};
use moqt_engine::{Accept, AcceptFetch, Config, Event, IncomingRequest, RequestKey, Role};

use super::{edges, place};

/// A session in which the peer has subscribed, up to this location, and may make many fetches.
fn subscribed(draft: Draft, largest: Location) -> (End, u64) {
    let mut end = End::established(draft, Role::Server, Config::default());
    let id = end.fresh_id();
    let mut parameters = Parameters::default();
    parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
    end.request(&say::subscribe_with(id, "t", parameters));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
    let mut accept = Accept::default();
    accept.parameters.largest_object = Some(largest);
    end.with(|engine, now| engine.accept(now, request, accept)).unwrap();
    (end, id)
}

fn joined(end: &mut End) -> Option<(RequestKey, LocationRange)> {
    end.take_events().into_iter().find_map(|event| match event {
        Event::Request { request, what: IncomingRequest::Fetch { range, .. } } => {
            Some((request, range))
        }
        _ => None,
    })
}

// "the publisher sets the End Location to {Joining Location.Group, Joining Location.Object + 1}
// [...] For a Relative Joining Fetch, the publisher sets the Start Location to {Joining
// Location.Group - Joining Start, 0}. For an Absolute Joining Fetch, [...] {Joining Start, 0}"
// (draft-18; the same in 14 and 16 of the subscription's largest). A start below zero is the
// first group. What is computed can be answered: so can the largest object there can be.
#[test]
fn ranges_of_joins_are_computed_and_can_be_answered() {
    for draft in DRAFTS {
        let max = draft.dialect().ints.max();
        for largest in edges(draft)
            .flat_map(|group| [0, 1, max - 1, max].map(|object| Location::new(group, object)))
        {
            for start in edges(draft)
                .flat_map(|edge| [JoiningStart::Relative(edge), JoiningStart::Absolute(edge)])
            {
                let what = format!("{draft} {largest} {start:?}");
                let (mut end, subscription) = subscribed(draft, largest);
                let id = end.fresh_id();
                let on = end.request(&say::join(id, subscription, start));
                let group = match start {
                    JoiningStart::Relative(groups) => largest.group.saturating_sub(groups),
                    JoiningStart::Absolute(group) => group,
                };
                let start = Location::new(group, 0);
                if place(start) > place(largest) {
                    assert_eq!(joined(&mut end), None, "{what}");
                    let said = end.said(on);
                    assert!(
                        matches!(
                            said.last(),
                            Some(Message::RequestError(error))
                                if error.code == RequestErrorCode::InvalidRange
                        ),
                        "{what}: {said:?}"
                    );
                    continue;
                }
                let (request, range) = joined(&mut end).expect(&what);
                assert_eq!((range.start, range.last()), (start, largest), "{what}");
                let accept = AcceptFetch::new(range.end);
                end.with(|engine, now| engine.accept_fetch(now, request, accept)).expect(&what);
                end.with(|engine, _| {
                    let mut response = engine.fetch_response(request).unwrap();
                    response.object(&say::fetch_object(largest, b"x"), b"x".to_vec().into())
                })
                .expect(&what);
                let said = end.said(on);
                let Some(Message::FetchOk(ok)) = said.last() else { panic!("{what}: {said:?}") };
                let told = LocationRange::new(start, ok.end);
                assert!(told.contains(largest), "{what}: {ok:?}");
                assert_eq!(end.closed(), None);
            }
        }
    }
}
