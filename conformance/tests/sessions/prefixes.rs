//! Namespace subscriptions that get another prefix (draft-18, "Updating Namespace Subscriptions").

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{ROLES, say};
use moqt_engine::model::{
    Message, NamespaceInterest, Parameters, RequestErrorCode, RequestKind, StreamResetCode,
};
use moqt_engine::{Accept, CommandError, Config, Draft, Event, RequestKey, Role};

use NamespaceInterest::{Namespaces, Tracks};

fn session(role: Role) -> End {
    End::established(Draft::D18, role, Config::default())
}

/// The peer asks, and the connection accepts.
fn asked(end: &mut End, prefix: &str, interest: NamespaceInterest) -> (RequestKey, Name) {
    let id = end.fresh_id();
    let on = end.request(&say::subscribe_namespace(Draft::D18, id, prefix, interest));
    let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
    end.with(|engine, now| engine.accept(now, request, Accept::default())).expect("acceptable");
    end.said(on);
    (request, on)
}

/// The connection asks, and the peer accepts.
fn asking(end: &mut End, prefix: &str, interest: NamespaceInterest) -> (RequestKey, Name) {
    let prefix = say::namespace(prefix);
    let request = end.with(|engine, now| {
        engine.subscribe_namespace(now, &prefix, interest, &Parameters::default())
    });
    let on = end.own_namespace_request();
    end.say(on, &say::ok(0, RequestKind::SubscribeNamespace));
    assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]));
    end.said(on);
    (request.expect("nothing in the way"), on)
}

fn to(prefix: &str) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.track_namespace_prefix = Some(say::namespace(prefix));
    parameters
}

/// The peer updates the prefix of what it asked for.
fn move_to(end: &mut End, on: Name, prefix: &str) {
    let id = end.fresh_id();
    end.say(on, &say::update(id, 0, to(prefix)));
}

// "If the update is accepted, NAMESPACE and NAMESPACE_DONE messages following the REQUEST_OK will
// contain Track Namespace suffixes relative to the updated prefix."
#[test]
fn namespaces_follow_the_updated_prefix() {
    for role in ROLES {
        let mut end = session(role);
        let (request, on) = asked(&mut end, "a-b", Namespaces);
        let told = say::namespace("a-b-c");
        end.with(|engine, now| engine.namespace(now, request, &told)).unwrap();
        end.said(on);
        move_to(&mut end, on, "a");
        let events = end.take_events();
        assert!(
            matches!(&events[..], [Event::Updated { parameters, .. }] if *parameters == to("a")),
            "{events:?}"
        );
        let other = say::namespace("a-x");
        end.with(|engine, now| {
            engine.namespace(now, request, &other).unwrap();
            engine.namespace_done(now, request, &told).unwrap();
        });
        let said = end.said(on);
        assert!(matches!(said[0], Message::RequestOk(_)), "{said:?}");
        assert_eq!(said[1..], [say::namespace_found("x"), say::namespace_done("b-c")]);
        // What the old prefix covered and the new one does not is free, and the reverse is not.
        move_to(&mut end, on, "z");
        asked(&mut end, "a-b", Namespaces);
        let id = end.fresh_id();
        let refused = end.request(&say::subscribe_namespace(Draft::D18, id, "z-1", Namespaces));
        assert!(matches!(&end.said(refused)[..], [Message::RequestError(error)]
            if error.code == RequestErrorCode::PrefixOverlap));
    }
}

// "the new prefix MUST NOT share a common prefix with any other active SUBSCRIBE_NAMESPACE (for a
// SUBSCRIBE_NAMESPACE update) or SUBSCRIBE_TRACKS (for a SUBSCRIBE_TRACKS update) in the same
// session." "the receiver MUST respond with REQUEST_ERROR with error code PREFIX_OVERLAP" (draft-18,
// "TRACK_NAMESPACE_PREFIX Parameter"). "When a REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE or
// PUBLISH_NAMESPACE, the responder MUST close the bidi stream."
#[test]
fn an_update_to_a_prefix_that_overlaps_is_refused() {
    for role in ROLES {
        for interest in [Namespaces, Tracks] {
            let other_kind = if interest == Tracks { Namespaces } else { Tracks };
            for prefix in ["x", "x-y", "x-y-z", ""] {
                let mut end = session(role);
                asked(&mut end, "x-y", interest);
                let before = end.engine.usage();
                let (request, on) = asked(&mut end, "a-b", interest);
                // Its own prefix does not count, nor does what the other kind has.
                asked(&mut end, "x-y", other_kind);
                move_to(&mut end, on, "a-b-c");
                let said = end.said(on);
                assert!(matches!(said[..], [Message::RequestOk(_)]), "{said:?}");
                end.take_events();
                move_to(&mut end, on, prefix);
                let said = end.said(on);
                assert!(
                    matches!(&said[..], [Message::RequestError(error)]
                        if error.code == RequestErrorCode::PrefixOverlap),
                    "{role:?} {prefix}: {said:?}"
                );
                assert!(end.did(&Output::Fin(on)), "{role:?} {prefix}");
                let events = end.take_events();
                assert!(
                    matches!(events[..], [Event::Cancelled { request: key, .. }] if key == request),
                    "{events:?}"
                );
                end.fin(on);
                assert_eq!(end.engine.usage().requests, before.requests + 1);
                assert_eq!(end.closed(), None);
                // Nothing of it is left in the way.
                asked(&mut end, "a-b-c", interest);
            }
        }
    }
}

#[test]
fn what_is_told_before_the_answer_follows_the_old_prefix() {
    for role in ROLES {
        let mut end = session(role);
        let (request, on) = asking(&mut end, "a-b", Namespaces);
        end.with(|engine, now| engine.update(now, request, &to("a"))).unwrap();
        let said = end.said(on);
        assert!(
            matches!(&said[..], [Message::RequestUpdate(update)]
            if update.parameters == to("a")),
            "{said:?}"
        );
        end.say(on, &say::namespace_found("c"));
        end.say(on, &say::ok(0, RequestKind::Update));
        end.say(on, &say::namespace_found("c"));
        end.say(on, &say::namespace_done("b-c"));
        let events = end.take_events();
        let found = |name| Event::Namespace { request, namespace: say::namespace(name) };
        let done = Event::NamespaceDone { request, namespace: say::namespace("a-b-c") };
        assert_eq!(events[0], found("a-b-c"));
        assert!(matches!(events[1], Event::UpdateAccepted { .. }), "{events:?}");
        assert_eq!(events[2..], [found("a-c"), done]);
        let covering = end.engine.namespace_subscription(&say::namespace("a-q"), Namespaces);
        assert_eq!(covering, Some(request));
    }
}

// The overlap is the peer's to judge, which may have an update in force before it is known here to
// be accepted: both prefixes are taken meanwhile, and neither is once the subscription is over.
#[test]
fn a_prefix_that_an_update_asks_for_is_taken_until_the_answer() {
    for role in ROLES {
        for is_answered in [false, true] {
            let mut end = session(role);
            let before = end.engine.usage();
            let (request, on) = asking(&mut end, "a", Namespaces);
            let (other, other_on) = asking(&mut end, "x", Namespaces);
            end.with(|engine, now| engine.update(now, request, &to("b"))).unwrap();
            for prefix in ["a-c", "b", "b-c", ""] {
                let prefix = say::namespace(prefix);
                let refused = end.with(|engine, now| {
                    engine.subscribe_namespace(now, &prefix, Namespaces, &Parameters::default())
                });
                assert!(matches!(refused, Err(CommandError::WrongState(_))), "{refused:?}");
            }
            let refused = end.with(|engine, now| engine.update(now, other, &to("b-c")));
            assert!(matches!(refused, Err(CommandError::WrongState(_))), "{refused:?}");
            // Its own do not count.
            end.with(|engine, now| engine.update(now, request, &to("b-c"))).unwrap();
            if is_answered {
                end.say(on, &say::ok(0, RequestKind::Update));
                end.say(on, &say::ok(0, RequestKind::Update));
            }
            for (request, on) in [(request, on), (other, other_on)] {
                let code = StreamResetCode::Cancelled;
                end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
                end.reset(on, 0);
            }
            end.take_events();
            assert_eq!(end.engine.usage(), before, "{role:?}");
            for prefix in ["a", "b", "x"] {
                asking(&mut end, prefix, Namespaces);
            }
        }
    }
}

#[test]
fn this_side_asks_for_no_prefix_that_overlaps() {
    for role in ROLES {
        let mut end = session(role);
        asking(&mut end, "x-y", Namespaces);
        let (request, on) = asking(&mut end, "a", Namespaces);
        for prefix in ["x", "x-y", "x-y-z", "", ".2e"] {
            let refused = end.with(|engine, now| engine.update(now, request, &to(prefix)));
            assert!(matches!(refused, Err(CommandError::WrongState(_))), "{prefix}: {refused:?}");
        }
        assert_eq!(end.said(on), []);
        end.with(|engine, now| engine.update(now, request, &to("a-b"))).unwrap();
        end.say(on, &say::ok(0, RequestKind::Update));
        end.take_events();
        asking(&mut end, "a-c", Namespaces);
    }
}
