//! FETCHes that wait for the subscription that they join, of which the application has not heard.

use moqt_conformance::end::End;
use moqt_conformance::{cases, say};
use moqt_engine::model::{
    FetchCancel, Goaway, JoiningStart, Message, Parameters, SubscriptionFilter,
};
use moqt_engine::{Accept, Config, Draft, Event};

// "if that subscription has not yet been established, the Publisher receiving the Joining Fetch
// buffers the pending Joining Fetch until either the Subscription is established or the request
// times out" (draft-18, "Joining Fetches"): what the peer does to it meanwhile is not the
// application's business.
#[test]
fn nothing_is_said_of_a_join_that_waits() {
    for (draft, role) in cases() {
        for (decides, action) in [false, true].into_iter().flat_map(|d| (0..4).map(move |a| (d, a)))
        {
            let what = format!("{draft:?} {role:?} {decides} {action}");
            let mut config = Config::default();
            config.decide_updates = decides;
            let mut end = End::established(draft, role, config);
            let mut parameters = Parameters::default();
            parameters.subscription_filter = Some(SubscriptionFilter::LargestObject);
            let id = end.fresh_id();
            end.request(&say::subscribe_with(id, "t", parameters));
            let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
            let before = end.engine.usage();
            let join = end.fresh_id();
            let on = end.request(&say::join(join, id, JoiningStart::Relative(1)));
            let is_over = action < 2;
            match action {
                0 if draft >= Draft::D18 => end.reset(on, 1),
                1 if draft >= Draft::D18 => end.stop(on, 1),
                0 | 1 => end.say(on, &Message::FetchCancel(FetchCancel { request_id: join })),
                2 if draft >= Draft::D16 => {
                    let update = end.fresh_id();
                    let mut parameters = Parameters::default();
                    parameters.subscriber_priority = Some(1);
                    end.say(on, &say::update(update, join, parameters));
                }
                3 if draft >= Draft::D18 => {
                    let (uri, timeout) = (bytes::Bytes::new(), 0);
                    let goaway = Goaway { new_session_uri: uri, timeout, request_id: None };
                    end.say(on, &Message::Goaway(goaway));
                }
                _ => continue,
            }
            assert_eq!(end.closed(), None, "{what}: {:?}", end.events);
            assert_eq!(end.take_events(), [], "{what}");
            if is_over {
                assert_eq!(end.engine.usage(), before, "{what}");
            }
            end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
            // Nothing was published, so there is nothing to fetch, and the join is refused.
            assert_eq!(end.take_events(), [], "{what}");
            assert_eq!(end.engine.usage().requests, 1, "{what}");
        }
    }
}
