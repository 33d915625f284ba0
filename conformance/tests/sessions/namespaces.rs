//! Namespace discovery between peers that keep the rules.

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{DRAFTS, cases, drafts_from, say};
use moqt_engine::model::{
    FullTrackName, Message, NamespaceInterest, Parameters, RequestErrorCode, RequestKind,
    SetupOptions, StreamResetCode, SubscribeNamespace, SubscribeTracks, TrackProperties,
    UnsubscribeNamespace,
};
use moqt_engine::{
    Accept, CommandError, Config, Dir, Draft, Event, IncomingRequest, Refusal, RequestKey, Role,
};
use moqt_loopback::Pair;

use NamespaceInterest::{Both, Namespaces, Tracks};

fn session(draft: Draft, role: Role) -> End {
    End::established(draft, role, Config::default())
}

/// The peer asks: the request, and where it is answered.
fn asked(
    end: &mut End,
    prefix: &str,
    interest: NamespaceInterest,
    forward: Option<bool>,
) -> (RequestKey, Name) {
    let id = end.fresh_id();
    let mut message = say::subscribe_namespace(end.draft(), id, prefix, interest);
    match &mut message {
        Message::SubscribeNamespace(SubscribeNamespace { parameters, .. })
        | Message::SubscribeTracks(SubscribeTracks { parameters, .. }) => {
            parameters.forward = forward;
        }
        _ => {}
    }
    let on = end.request(&message);
    end.said(on);
    let events = end.take_events();
    let [Event::Request { request, .. }] = events[..] else { panic!("{events:?}") };
    (request, on)
}

fn accept(end: &mut End, request: RequestKey) {
    end.with(|engine, now| engine.accept(now, request, Accept::default())).expect("acceptable");
}

fn track(text: &str) -> FullTrackName {
    text.parse().expect("a name")
}

/// Takes the one request that has come to an end of a pair.
fn requested(pair: &mut Pair, server: bool) -> (RequestKey, IncomingRequest) {
    let end = if server { pair.server } else { pair.client };
    let mut events = pair.network.take_events(end);
    assert_eq!(events.len(), 1, "{events:?}");
    match events.pop() {
        Some(Event::Request { request, what }) => (request, what),
        other => panic!("{other:?}"),
    }
}

// "SUBSCRIBE_NAMESPACE requests namespace discovery: the publisher sends relevant NAMESPACE and
// NAMESPACE_DONE messages for namespaces matching the prefix" (draft-18, "Subscribing to
// Namespaces"; draft-16 likewise)
#[test]
fn namespaces_under_a_prefix_are_told_of() {
    for draft in drafts_from(Draft::D16) {
        let mut pair = Pair::new(draft, 1);
        let (client, server) = (pair.client, pair.server);
        let before = [client, server].map(|end| pair.network.connection(end).usage());
        let prefix = say::namespace("meeting-1");
        let asking = pair.network.with(client, |connection, now| {
            connection.subscribe_namespace(now, &prefix, Namespaces, &Parameters::default())
        });
        let asking = asking.unwrap();
        pair.network.run_until_idle();
        let (answering, what) = requested(&mut pair, true);
        let IncomingRequest::SubscribeNamespace { prefix: asked_for, interest, .. } = what else {
            panic!("{what:?}")
        };
        assert_eq!((asked_for, interest), (prefix, Namespaces));
        pair.network.with(server, |connection, now| {
            connection.accept(now, answering, Accept::default()).unwrap();
            // The prefix itself is among them.
            for name in ["meeting-1", "meeting-1-alice", "meeting-1-bob-phone"] {
                connection.namespace(now, answering, &say::namespace(name)).unwrap();
            }
            connection.namespace_done(now, answering, &say::namespace("meeting-1-alice")).unwrap();
        });
        pair.network.run_until_idle();
        let found = |name| Event::Namespace { request: asking, namespace: say::namespace(name) };
        let done = |name| Event::NamespaceDone { request: asking, namespace: say::namespace(name) };
        let events = pair.network.take_events(client);
        assert!(matches!(events[0], Event::Accepted { .. }), "{draft:?}: {events:?}");
        assert_eq!(
            events[1..],
            [
                found("meeting-1"),
                found("meeting-1-alice"),
                found("meeting-1-bob-phone"),
                done("meeting-1-alice"),
            ],
            "{draft:?}"
        );
        for end in [client, server] {
            assert_eq!(pair.network.connection(end).usage().namespaces, 2);
        }
        pair.network.with(client, |connection, now| {
            connection.cancel(now, asking, StreamResetCode::Cancelled).unwrap();
        });
        pair.network.run_until_idle();
        let events = pair.network.take_events(server);
        assert!(
            matches!(events[..], [Event::Cancelled { request, .. }] if request == answering),
            "{draft:?}: {events:?}"
        );
        assert!(pair.network.take_events(client).is_empty(), "its own end is no news");
        let after = [client, server].map(|end| pair.network.connection(end).usage());
        assert_eq!(after, before, "{draft:?}");
    }
}

// "The recipient of this message will send any relevant PUBLISH_NAMESPACE, PUBLISH_NAMESPACE_DONE or
// PUBLISH messages for that namespace" (draft-14, "Subscribing to Namespaces"); those "that have not
// already been sent to this subscriber" (draft-14, "SUBSCRIBE_NAMESPACE")
#[test]
fn draft_14_tells_with_publish_namespace() {
    let mut pair = Pair::new(Draft::D14, 1);
    let (client, server) = (pair.client, pair.server);
    let prefix = say::namespace("meeting");
    pair.network.with(client, |connection, now| {
        connection.subscribe_namespace(now, &prefix, Namespaces, &Parameters::default()).unwrap();
    });
    pair.network.run_until_idle();
    let (answering, what) = requested(&mut pair, true);
    assert!(
        matches!(what, IncomingRequest::SubscribeNamespace { interest: Both, .. }),
        "the draft has nothing else: {what:?}"
    );
    let name = say::namespace("meeting-alice");
    let told = pair.network.with(server, |connection, now| {
        connection.accept(now, answering, Accept::default()).unwrap();
        let told = connection.namespace(now, answering, &name).unwrap();
        assert!(told.is_some(), "a request of its own");
        assert_eq!(connection.namespace(now, answering, &name).unwrap(), told, "and only one");
        told
    });
    pair.network.run_until_idle();
    let mut events = pair.network.take_events(client);
    assert_eq!(events.len(), 2, "{events:?}");
    let Some(Event::Request {
        request: publication,
        what: IncomingRequest::PublishNamespace { namespace, .. },
    }) = events.pop()
    else {
        panic!("{events:?}")
    };
    assert_eq!(namespace, name);
    pair.network.with(client, |connection, now| {
        assert!(connection.namespace_subscription(&namespace, Namespaces).is_some());
        connection.accept(now, publication, Accept::default()).unwrap();
    });
    pair.network.run_until_idle();
    let events = pair.network.take_events(server);
    assert!(
        matches!(events[..], [Event::Accepted { request, .. }] if Some(request) == told),
        "{events:?}"
    );
    pair.network.with(server, |connection, now| {
        connection.namespace_done(now, answering, &name).unwrap();
        let again = connection.namespace_done(now, answering, &name);
        assert!(matches!(again, Err(CommandError::WrongState(_))), "{again:?}");
    });
    pair.network.run_until_idle();
    let events = pair.network.take_events(client);
    assert!(
        matches!(events[..], [Event::Cancelled { request, .. }] if request == publication),
        "{events:?}"
    );
}

// Draft-14 has SUBSCRIBE_NAMESPACE for everything; draft-16 "Subscribe Options: Allows subscribers
// to request PUBLISH (0x00), NAMESPACE (0x01), or both (0x02)"; draft-18 SUBSCRIBE_NAMESPACE and
// SUBSCRIBE_TRACKS.
#[test]
fn what_is_asked_for_is_said_as_the_draft_says_it() {
    for (draft, role) in cases() {
        for interest in [Namespaces, Tracks, Both] {
            let mut end = session(draft, role);
            end.said(end.control);
            let (id, before) = (end.next_own_id(), end.engine.usage());
            let prefix = say::namespace("a-b");
            let asked = end.with(|engine, now| {
                engine.subscribe_namespace(now, &prefix, interest, &Parameters::default())
            });
            if draft >= Draft::D18 && interest == Both {
                assert!(matches!(asked, Err(CommandError::Encode(_))), "{asked:?}");
                assert_eq!(end.engine.usage(), before);
                continue;
            }
            assert!(asked.is_ok(), "{draft:?}: {asked:?}");
            let on = end.own_namespace_request();
            assert_eq!(on == end.control, draft == Draft::D14, "a stream of its own");
            let expected = say::subscribe_namespace(draft, id, "a-b", interest);
            assert_eq!(end.said(on), [expected], "{draft:?}");
        }
    }
}

// "only the namespace tuples after the 'Track Namespace Prefix' are included in the 'Track Namespace
// Suffix'" (draft-16, -18, "NAMESPACE", "NAMESPACE_DONE", "PUBLISH_BLOCKED"), after the answer.
#[test]
fn what_is_told_leaves_the_prefix_out() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        let mut end = session(draft, role);
        let (request, on) = asked(&mut end, "a-b", Namespaces, None);
        accept(&mut end, request);
        for name in ["a-b-c-d", "a-b"] {
            let name = say::namespace(name);
            end.with(|engine, now| engine.namespace(now, request, &name)).unwrap();
            end.with(|engine, now| engine.namespace_done(now, request, &name)).unwrap();
        }
        let said = end.said(on);
        assert!(matches!(said[0], Message::RequestOk(_)), "{said:?}");
        let rest =
            ["c-d", ""].map(|suffix| [say::namespace_found(suffix), say::namespace_done(suffix)]);
        assert_eq!(said[1..], rest.concat(), "{draft:?}");
        if draft < Draft::D18 {
            continue;
        }
        let (request, on) = asked(&mut end, "a-b", Tracks, None);
        accept(&mut end, request);
        let name = track("a-b-c--t");
        end.with(|engine, now| engine.publish_blocked(now, request, &name)).unwrap();
        assert_eq!(end.said(on)[1..], [say::publish_blocked("c--t")]);
    }
}

// "The publisher MUST NOT send NAMESPACE_DONE for a namespace suffix before the corresponding
// NAMESPACE." (draft-16, -18, "SUBSCRIBE_NAMESPACE"); nothing comes before the answer.
#[test]
fn commands_out_of_order_change_nothing() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        let mut end = session(draft, role);
        let name = say::namespace("a-b");
        let (request, on) = asked(&mut end, "a", Namespaces, None);
        let wrong = |result: Result<(), CommandError>| {
            assert!(matches!(result, Err(CommandError::WrongState(_))), "{draft:?}: {result:?}");
        };
        wrong(end.with(|engine, now| engine.namespace(now, request, &name)).map(drop));
        accept(&mut end, request);
        end.said(on);
        wrong(end.with(|engine, now| engine.namespace_done(now, request, &name)));
        for elsewhere in ["b", "ab", ""] {
            let elsewhere = say::namespace(elsewhere);
            wrong(end.with(|engine, now| engine.namespace(now, request, &elsewhere)).map(drop));
        }
        // The peer asked for namespaces only.
        wrong(end.with(|engine, now| engine.publish_blocked(now, request, &track("a--t"))));
        assert_eq!(end.said(on), []);
        end.with(|engine, now| engine.namespace(now, request, &name)).unwrap();
        wrong(end.with(|engine, now| engine.namespace(now, request, &name)).map(drop));
        assert_eq!(end.said(on), [say::namespace_found("b")]);
        // And not for namespaces.
        let (request, on) = asked(&mut end, "tracks", Tracks, None);
        accept(&mut end, request);
        let name = say::namespace("tracks-b");
        wrong(end.with(|engine, now| engine.namespace(now, request, &name)).map(drop));
        assert_eq!(end.said(on).len(), 1);
        // A request of another kind, and one of ours.
        let id = end.fresh_id();
        end.request(&say::publish_namespace(id, "t"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        wrong(end.with(|engine, now| engine.namespace(now, request, &name)).map(drop));
        let plain = Parameters::default();
        let prefix = say::namespace("tracks");
        let ours =
            end.with(|engine, now| engine.subscribe_namespace(now, &prefix, Namespaces, &plain));
        wrong(end.with(|engine, now| engine.namespace(now, ours.unwrap(), &name)).map(drop));
    }
}

// "If the FORWARD parameter is present in this message and equal to 0, PUBLISH messages resulting
// from this [...] will set the FORWARD parameter to 0. If the FORWARD parameter is equal to 1 or
// omitted from this message, PUBLISH messages resulting from this [...] will set the FORWARD
// parameter to 1, or indicate that value by omitting the parameter" (draft-16,
// "SUBSCRIBE_NAMESPACE"; draft-18, "SUBSCRIBE_TRACKS")
#[test]
fn publishes_that_result_forward_as_the_subscriber_asked() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        for (asked_for, given) in [
            (Some(false), None),
            (Some(false), Some(true)),
            (Some(true), Some(false)),
            (None, Some(false)),
            (None, None),
        ] {
            let mut end = session(draft, role);
            let (request, _) = asked(&mut end, "a", Tracks, asked_for);
            accept(&mut end, request);
            let mut parameters = Parameters::default();
            parameters.forward = given;
            for (name, expected) in [
                ("a-b--t", asked_for.unwrap_or(true)),
                // This one results from nothing.
                ("b--t", given.unwrap_or(true)),
            ] {
                end.said(end.control);
                let (name, none) = (track(name), TrackProperties::new());
                let key = end.with(|engine, now| engine.publish(now, &name, &parameters, &none));
                let on = end.own_request();
                let said = end.said(on);
                let [Message::Publish(publish)] = &said[..] else { panic!("{said:?}") };
                let forward = publish.parameters.forward.unwrap_or(true);
                assert_eq!(forward, expected, "{draft:?} {asked_for:?} {given:?} {name}");
                let publisher = end.engine.publisher(key.unwrap());
                assert!(publisher.is_some(), "objects may be sent at once");
            }
        }
    }
}

// The same: from a request that has not been accepted results nothing, nor from one for
// namespaces alone.
#[test]
fn publishes_that_result_from_nothing_forward_as_they_say() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        for (interest, is_accepted) in [(Tracks, false), (Namespaces, true)] {
            if draft >= Draft::D18 && interest == Namespaces {
                // There its SUBSCRIBE_NAMESPACE has no such parameter.
                continue;
            }
            let mut end = session(draft, role);
            let (request, _) = asked(&mut end, "a", interest, Some(false));
            if is_accepted {
                accept(&mut end, request);
            }
            let (name, none) = (track("a-b--t"), TrackProperties::new());
            let parameters = Parameters::default();
            end.with(|engine, now| engine.publish(now, &name, &parameters, &none)).unwrap();
            let on = end.own_request();
            let said = end.said(on);
            let Some(Message::Publish(publish)) = said.last() else { panic!("{said:?}") };
            assert_ne!(publish.parameters.forward, Some(false), "{draft:?} {interest:?}");
        }
    }
}

// "The Publisher MUST NOT send a PUBLISH for a Track after PUBLISH_BLOCKED has been sent. The
// subscriber can instead issue a SUBSCRIBE to establish a subscription to that track." (draft-18,
// "Subscribing to Namespaces")
#[test]
fn a_track_is_not_published_after_publish_blocked() {
    for role in [Role::Client, Role::Server] {
        let mut end = session(Draft::D18, role);
        let (request, on) = asked(&mut end, "a", Tracks, None);
        accept(&mut end, request);
        let (blocked, other) = (track("a--blocked"), track("a--other"));
        end.with(|engine, now| engine.publish_blocked(now, request, &blocked)).unwrap();
        let (plain, none) = (Parameters::default(), TrackProperties::new());
        let publish = |end: &mut End, name: &FullTrackName| {
            end.with(|engine, now| engine.publish(now, name, &plain, &none))
        };
        let refused = publish(&mut end, &blocked);
        assert!(matches!(refused, Err(CommandError::WrongState(_))), "{refused:?}");
        publish(&mut end, &other).unwrap();
        // Once the peer has ended what it asked with, nothing holds the track back.
        end.fin(on);
        publish(&mut end, &blocked).unwrap();

        let mut end = session(Draft::D18, role);
        let (request, _) = asked(&mut end, "test", Tracks, None);
        accept(&mut end, request);
        let blocked = say::track("t");
        end.with(|engine, now| engine.publish_blocked(now, request, &blocked)).unwrap();
        let id = end.fresh_id();
        end.request(&say::subscribe(id, "t"));
        let events = end.take_events();
        assert!(
            matches!(events[..], [Event::Request { what: IncomingRequest::Subscribe { .. }, .. }]),
            "{events:?}"
        );
    }
}

/// An accepted namespace of the connection's, or of the peer's: the request, its ID, its stream.
fn published(end: &mut End, ours: bool) -> (RequestKey, u64, Name) {
    let published = if ours {
        let id = end.next_own_id();
        let namespace = say::namespace("test");
        let request = end
            .with(|engine, now| engine.publish_namespace(now, &namespace, &Parameters::default()));
        let on = end.own_request();
        end.say(on, &say::ok(id, RequestKind::PublishNamespace));
        (request.unwrap(), id, on)
    } else {
        let id = end.fresh_id();
        let on = end.request(&say::publish_namespace(id, "test"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        accept(end, request);
        (request, id, on)
    };
    end.take_events();
    end.said(published.2);
    published
}

// "A PUBLISH_NAMESPACE_DONE message withdraws a previous PUBLISH_NAMESPACE" (draft-14, by
// namespace; draft-16, by Request ID). "A PUBLISH_NAMESPACE is withdrawn by cancelling the request"
// (draft-18, "Publishing Namespaces")
#[test]
fn a_published_namespace_is_withdrawn() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let (request, id, on) = published(&mut end, true);
        end.with(|engine, now| engine.cancel(now, request, StreamResetCode::Cancelled)).unwrap();
        if draft >= Draft::D18 {
            assert!(end.did(&Output::Reset(on, 1)) && end.did(&Output::Stop(on, 1)));
        } else {
            let target = say::published_namespace(draft, id, &say::namespace("test"));
            assert_eq!(end.said(on), [Message::PublishNamespaceDone(target)]);
        }
        assert_eq!(end.engine.usage(), before, "{draft:?}");
        // It may be published again.
        published(&mut end, true);
    }
}

// "A subscriber can send PUBLISH_NAMESPACE_CANCEL to revoke acceptance of an PUBLISH_NAMESPACE, for
// example due to expiration of authorization credentials." (draft-14, -16). "A subscriber can cancel
// the request to revoke acceptance of a PUBLISH_NAMESPACE." (draft-18, "Publishing Namespaces")
#[test]
fn acceptance_of_a_namespace_is_revoked_with_a_reason() {
    let code = RequestErrorCode::ExpiredAuthToken;
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let (request, id, on) = published(&mut end, false);
        end.with(|engine, now| engine.cancel_publish_namespace(now, request, code, "old")).unwrap();
        if draft >= Draft::D18 {
            // EXPIRED_AUTH_TOKEN
            assert!(end.did(&Output::Reset(on, 7)) && end.did(&Output::Stop(on, 7)));
        } else {
            let said = end.said(on);
            let [Message::PublishNamespaceCancel(cancel)] = &said[..] else { panic!("{said:?}") };
            let target = say::published_namespace(draft, id, &say::namespace("test"));
            assert_eq!((&cancel.target, cancel.code, &cancel.reason[..]), (&target, code, "old"));
        }
        assert_eq!(end.engine.usage(), before, "{draft:?}");
        // One that was not accepted is refused instead, and one of ours withdrawn.
        let id = end.fresh_id();
        end.request(&say::publish_namespace(id, "t"));
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let (ours, _, _) = published(&mut end, true);
        for request in [request, ours] {
            let wrong =
                end.with(|engine, now| engine.cancel_publish_namespace(now, request, code, "old"));
            assert!(matches!(wrong, Err(CommandError::WrongState(_))), "{draft:?}: {wrong:?}");
        }
    }
}

// Draft 14 tells published namespaces apart by name alone, so one is published once at a time.
#[test]
fn draft_14_publishes_a_namespace_once_at_a_time() {
    for (draft, role) in cases() {
        let mut end = session(draft, role);
        published(&mut end, true);
        let namespace = say::namespace("test");
        let again = end
            .with(|engine, now| engine.publish_namespace(now, &namespace, &Parameters::default()));
        assert_eq!(again.is_err(), draft == Draft::D14, "{draft:?}: {again:?}");
    }
}

// "An UNSUBSCRIBE_NAMESPACE withdraws a previous SUBSCRIBE_NAMESPACE." (draft-14). "cancelled by
// closing the stream with either a FIN or RESET_STREAM" (draft-16, -18)
#[test]
fn a_namespace_subscription_is_withdrawn() {
    for (draft, role) in cases() {
        for answered in [false, true] {
            let mut end = session(draft, role);
            let before = end.engine.usage();
            let id = end.next_own_id();
            let prefix = say::namespace("a-b");
            let request = end.with(|engine, now| {
                engine.subscribe_namespace(now, &prefix, Namespaces, &Parameters::default())
            });
            let (request, on) = (request.unwrap(), end.own_namespace_request());
            let ok = say::ok(id, RequestKind::SubscribeNamespace);
            if answered {
                end.say(on, &ok);
            }
            end.said(on);
            let code = StreamResetCode::Cancelled;
            end.with(|engine, now| engine.cancel(now, request, code)).unwrap();
            if draft == Draft::D14 {
                let unsubscribe =
                    Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix: prefix.clone() });
                assert_eq!(end.said(on), [unsubscribe]);
            } else {
                assert!(end.did(&Output::Reset(on, 1)) && end.did(&Output::Stop(on, 1)));
            }
            end.take_events();
            // What crosses with that means nothing.
            if !answered {
                end.say(on, &ok);
            }
            if draft != Draft::D14 {
                end.say(on, &say::namespace_found("c"));
            }
            assert!(end.take_events().is_empty(), "{draft:?} {role:?}");
            assert_eq!(end.closed(), None);
            assert_eq!(end.engine.usage(), before, "{draft:?} {role:?} {answered}");
        }
    }
}

// "A publisher MUST send exactly one SUBSCRIBE_NAMESPACE_OK or SUBSCRIBE_NAMESPACE_ERROR" (draft-14);
// "If it is an error, the stream will be immediately closed via FIN." (draft-16, -18,
// "SUBSCRIBE_NAMESPACE"); "closed via FIN after REQUEST_ERROR is sent" (draft-18,
// "SUBSCRIBE_TRACKS")
#[test]
fn a_refused_namespace_subscription_is_over() {
    for (draft, role) in cases() {
        for interest in [Namespaces, Tracks] {
            let mut end = session(draft, role);
            let before = end.engine.usage();
            let (request, on) = asked(&mut end, "a", interest, None);
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            end.with(|engine, now| engine.reject(now, request, refusal.clone())).unwrap();
            let said = end.said(on);
            let [Message::RequestError(error)] = &said[..] else { panic!("{said:?}") };
            assert_eq!(error.code, RequestErrorCode::Unauthorized);
            if draft != Draft::D14 {
                assert!(end.did(&Output::Fin(on)), "{draft:?}");
                end.fin(on);
            }
            let again = end.with(|engine, now| engine.reject(now, request, refusal));
            assert_eq!(again, Err(CommandError::Gone));
            assert_eq!(end.engine.usage(), before, "{draft:?}");
        }
    }
}

// "bidirectional stream(s) containing a SUBSCRIBE_NAMESPACE could arrive prior to the control stream,
// in which case the data SHOULD be buffered until the control stream arrives and setup is complete."
// (draft-16, "Session initialization"; draft-18 for any request)
#[test]
fn a_namespace_subscription_may_come_before_setup() {
    for (draft, role) in cases().filter(|(draft, _)| *draft != Draft::D14) {
        let mut end = End::new(draft, role, Config::default());
        let id = end.fresh_id();
        let message = say::subscribe_namespace(draft, id, "a", Namespaces);
        end.open_with(Dir::Bi, say::message(draft, &message));
        assert!(end.events.is_empty(), "{draft:?}: {:?}", end.events);
        let mut options = SetupOptions::default();
        options.max_request_id = Some(100);
        end.data(end.control, say::setup(draft, role.peer(), options));
        let events = end.take_events();
        assert!(
            matches!(events[..], [Event::Established { .. }, Event::Request { .. }]),
            "{draft:?} {role:?}: {events:?}"
        );
    }
}

// A SUBSCRIBE_NAMESPACE on a stream of its own can be overtaken by what was sent after it.
#[test]
fn draft_16_requests_may_overtake_a_namespace_subscription() {
    for role in [Role::Client, Role::Server] {
        let mut end = session(Draft::D16, role);
        let first = end.fresh_id();
        let second = end.fresh_id();
        end.request(&say::subscribe(second, "t"));
        end.request(&say::subscribe_namespace(Draft::D16, first, "a", Namespaces));
        assert_eq!(end.take_events().len(), 2, "{:?}", end.closed());
        assert_eq!(end.closed(), None);
    }
}

#[test]
fn which_subscription_covers_a_namespace() {
    for draft in DRAFTS {
        let mut end = session(draft, Role::Client);
        let ask = |end: &mut End, prefix: &str, interest| {
            let prefix = say::namespace(prefix);
            let plain = Parameters::default();
            end.with(|engine, now| engine.subscribe_namespace(now, &prefix, interest, &plain))
                .unwrap()
        };
        let namespaces = ask(&mut end, "a", Namespaces);
        let tracks = ask(&mut end, "b-c", Tracks);
        let find = |end: &End, name: &str, interest| {
            end.engine.namespace_subscription(&say::namespace(name), interest)
        };
        assert_eq!(find(&end, "a-x", Namespaces), Some(namespaces), "{draft:?}");
        assert_eq!(find(&end, "b-c", Tracks), Some(tracks), "{draft:?}");
        assert_eq!(find(&end, "b", Tracks), None);
        assert_eq!(find(&end, "ab", Namespaces), None);
        // Draft 14 asks for both in any case.
        assert_eq!(find(&end, "a-x", Tracks).is_some(), draft == Draft::D14);
        end.with(|engine, now| engine.cancel(now, namespaces, StreamResetCode::Cancelled)).unwrap();
        assert_eq!(find(&end, "a-x", Namespaces), None);
    }
}
