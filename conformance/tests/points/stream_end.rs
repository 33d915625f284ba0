//! The stream of a request that is over, whose other half the peer leaves open.

use std::time::Duration;

use moqt_conformance::end::{End, Output};
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{NamespaceInterest, Parameters, RequestErrorCode};
use moqt_engine::{Accept, Config, Dir, Draft, Event, Refusal, Role, Timer};

const TIMEOUT: Duration = Duration::from_secs(3);
const ALMOST: Duration = Duration::from_millis(2999);
const CANCELLED: u64 = 1;

fn session(draft: Draft, role: Role) -> End {
    let mut config = Config::default();
    config.limits.stream_end_timeout = TIMEOUT;
    End::established(draft, role, config)
}

/// The drafts in which some requests have streams, in either role.
fn stream_cases() -> impl Iterator<Item = (Draft, Role)> {
    cases().filter(|(draft, _)| say::namespaces_have_streams(*draft))
}

// "Implementations SHOULD cancel requests by abruptly terminating any directions of a stream
// that are still open by resetting or sending STOP_SENDING." (draft-18, "Request Cancellation
// and Rejection") A refusal must not be overtaken by that, so the peer is given time.
#[test]
fn a_peer_that_leaves_the_stream_of_a_refused_request_open_is_stopped() {
    for ((draft, role), finishes) in
        stream_cases().flat_map(|case| [false, true].map(|f| (case, f)))
    {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let id = end.fresh_id();
        let interest = NamespaceInterest::Namespaces;
        let on = end.request(&say::subscribe_namespace(draft, id, "pre", interest));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        end.takes_data = false;
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        assert_eq!(end.engine.poll_timeout(), None, "the peer has not been told");
        end.wait(TIMEOUT * 2);
        end.takes_data = true;
        end.drain();
        assert!(end.did(&Output::Fin(on)), "{draft:?} {role:?}");
        assert!(matches!(end.engine.poll_timeout(), Some((_, Timer::StreamEnd(_)))));
        if finishes {
            end.fin(on);
            assert_eq!(end.engine.poll_timeout(), None, "{draft:?} {role:?}");
        }
        end.wait(ALMOST);
        assert!(!end.did(&Output::Stop(on, CANCELLED)), "{draft:?} {role:?}: too early");
        end.wait(Duration::from_millis(1));
        assert_eq!(end.did(&Output::Stop(on, CANCELLED)), !finishes, "{draft:?} {role:?}");
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        assert_eq!(end.engine.poll_timeout(), None, "{draft:?} {role:?}");
        assert_eq!(end.closed(), None);
    }
}

// PUBLISH_DONE does not end what is still to be read ("PUBLISH_DONE", all drafts): the stream of
// the subscription is stopped when that has been read, and not before.
#[test]
fn the_stream_of_a_subscription_is_stopped_when_all_has_been_read() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let before = end.engine.usage();
        let (id, track) = (end.next_own_id(), say::track("t"));
        let none = Parameters::default();
        end.with(|engine, now| engine.subscribe(now, &track, &none)).unwrap();
        let on = end.own_request();
        end.say(on, &say::subscribe_ok(id, 5));
        end.reads_at_once = false;
        let objects = say::subgroup(Draft::D18, 5, 0, &[(0, b"unread")]);
        let stream = end.open_with(Dir::Uni, objects);
        end.fin(stream);
        end.say(on, &say::done(id, 1));
        assert!(end.did(&Output::Fin(on)), "{role:?}");
        end.wait(TIMEOUT * 2);
        assert!(!end.did(&Output::Stop(on, CANCELLED)), "{role:?}");
        assert_eq!(end.engine.poll_timeout(), None, "{role:?}: it waits for the application");
        end.read(stream, usize::MAX);
        assert!(matches!(end.events.last(), Some(Event::SubscriptionDone { .. })), "{role:?}");
        assert!(end.did(&Output::Stop(on, CANCELLED)), "{role:?}");
        assert_eq!(end.engine.usage(), before, "{role:?}");
    }
}

// A subscriber that has nothing more to say ends its side, which is no cancellation; then it
// cancels (draft-18, "Request Cancellation and Rejection").
#[test]
fn a_request_is_cancelled_by_who_ended_its_side_before() {
    for (draft, role) in cases().filter(|(draft, _)| *draft >= Draft::D18) {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let id = end.fresh_id();
        let on = end.request(&say::subscribe(id, "t"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        end.fin(on);
        assert_eq!(end.take_events(), [], "{draft:?} {role:?}");
        end.stop(on, CANCELLED);
        let events = end.take_events();
        let is_it = |event: &Event| matches!(event, Event::Cancelled { request: key, .. } if *key == request);
        assert!(events.len() == 1 && is_it(&events[0]), "{draft:?} {role:?}: {events:?}");
        assert!(end.did(&Output::Reset(on, CANCELLED)), "{draft:?} {role:?}");
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
    }
}

// "Receivers cancel requests if they are unable to or choose not to respond." (draft-18,
// "Request Cancellation and Rejection") With that the request is over, and the time for its
// answer does not run on.
#[test]
fn a_request_whose_stream_the_peer_finishes_unanswered_fails_once() {
    for ((draft, role), finishes) in
        stream_cases().flat_map(|case| [false, true].map(|f| (case, f)))
    {
        let mut end = session(draft, role);
        let prefix = say::namespace("pre");
        let interest = NamespaceInterest::Namespaces;
        let none = Parameters::default();
        let begun =
            end.with(|engine, now| engine.subscribe_namespace(now, &prefix, interest, &none));
        let on = end.own_namespace_request();
        if finishes {
            end.fin(on);
        } else {
            end.reset(on, 0);
        }
        end.wait(Duration::from_secs(60));
        let request = begun.unwrap();
        let events = end.take_events();
        let is_end = |event: &Event| match event {
            Event::Rejected { request: key, .. } | Event::Cancelled { request: key, .. } => {
                *key == request
            }
            _ => false,
        };
        assert_eq!(events.len(), 1, "{draft:?} {role:?}: {events:?}");
        assert!(is_end(&events[0]), "{draft:?} {role:?}: {events:?}");
    }
}

// "It can also destroy state after closing the FETCH data stream." (draft-18, "Fetch State
// Management") There is no data stream yet: "abruptly terminating any directions" of the
// request's own stream tells the subscriber.
#[test]
fn a_response_given_up_before_its_stream_leaves_no_stream() {
    for (draft, role) in cases().filter(|(draft, _)| DRAFTS.contains(draft)) {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let id = end.fresh_id();
        let [from, to] = [(1, 0), (4, 0)]
            .map(|(group, object)| moqt_engine::model::Location::new(group, object));
        let on = end.request(&say::fetch(id, "t", from, to));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let accept = moqt_engine::AcceptFetch::new(to);
        end.with(|engine, now| engine.accept_fetch(now, request, accept)).unwrap();
        end.with(|engine, _| {
            let response = engine.fetch_response(request).expect("open");
            response.reset(moqt_engine::model::StreamResetCode::InternalError);
        });
        if draft >= Draft::D18 {
            assert!(end.did(&Output::Reset(on, 0)), "{role:?}: {:?}", end.outputs);
            assert!(end.did(&Output::Stop(on, 0)), "{role:?}: {:?}", end.outputs);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?} {role:?}");
        assert_eq!(end.engine.poll_timeout(), None, "{draft:?} {role:?}");
    }
}
