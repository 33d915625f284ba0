//! Namespace subscriptions with peers that break their rules.

use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{ROLES, bytes, cases, say};
use moqt_engine::model::{
    FullTrackName, Message, Namespace, NamespaceDone, NamespaceInterest, Parameters,
    PublishBlocked, RequestErrorCode, RequestKind, StreamResetCode, TrackNamespace,
    UnsubscribeNamespace,
};
use moqt_engine::{
    Accept, CommandError, Config, Dir, Draft, Event, IncomingRequest, MoqtConnection, Refusal,
    RequestKey, Role,
};

use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, session};

/// The drafts in which namespaces are told of on streams, in either role.
fn stream_cases() -> impl Iterator<Item = (Draft, Role)> {
    cases().filter(|(draft, _)| say::namespaces_have_streams(*draft))
}

/// The kind of the request that [`say::subscribe_namespace`] makes.
fn kind(draft: Draft, interest: NamespaceInterest) -> RequestKind {
    match (draft, interest) {
        (_, NamespaceInterest::Tracks) if draft >= Draft::D18 => RequestKind::SubscribeTracks,
        _ => RequestKind::SubscribeNamespace,
    }
}

/// The connection asks for namespaces or tracks: the request, its Request ID, and where it is
/// answered.
fn asking(end: &mut End, prefix: &str, interest: NamespaceInterest) -> (RequestKey, u64, Name) {
    let id = end.next_own_id();
    let prefix = say::namespace(prefix);
    let request = end
        .with(|engine, now| {
            engine.subscribe_namespace(now, &prefix, interest, &Parameters::default())
        })
        .expect("nothing in the way");
    (request, id, end.own_namespace_request())
}

/// The same, and the peer accepts.
fn asked(end: &mut End, prefix: &str, interest: NamespaceInterest) -> (RequestKey, Name) {
    let (request, id, on) = asking(end, prefix, interest);
    end.say(on, &say::ok(id, kind(end.draft(), interest)));
    assert!(matches!(end.take_events()[..], [Event::Accepted { .. }]), "{:?}", end.draft());
    (request, on)
}

/// The peer asks: where it is answered.
fn ask(end: &mut End, prefix: &str, interest: NamespaceInterest) -> Name {
    let id = end.fresh_id();
    let message = say::subscribe_namespace(end.draft(), id, prefix, interest);
    end.said(end.control);
    end.request(&message)
}

/// The peer asks, and the connection accepts.
pub(crate) fn accepted(
    end: &mut End,
    prefix: &str,
    interest: NamespaceInterest,
) -> (RequestKey, Name) {
    let on = ask(end, prefix, interest);
    let Some(Event::Request { request, .. }) = end.take_events().pop() else {
        panic!("no request")
    };
    end.with(|engine, now| engine.accept(now, request, Accept::default())).expect("acceptable");
    end.said(on);
    (request, on)
}

/// The code of the one message said, which refuses.
#[track_caller]
pub(crate) fn refusal(end: &mut End, on: Name) -> RequestErrorCode {
    match &end.said(on)[..] {
        [Message::RequestError(error)] => error.code,
        other => panic!("{:?}: {other:?} {:?}", end.draft(), end.events),
    }
}

// "the publisher MUST send a single REQUEST_OK or REQUEST_ERROR as the first message on the
// bidirectional stream" (draft-16, -18, "Subscribing to Namespaces"). "If the subscriber receives
// any message other than a REQUEST_OK or a REQUEST_ERROR as the first message on the response half
// of the stream, then it MUST close the session with a PROTOCOL_VIOLATION." (draft-18,
// "SUBSCRIBE_NAMESPACE", "SUBSCRIBE_TRACKS")
#[test]
fn a_namespace_subscription_is_answered_before_anything_else() {
    for (draft, role) in stream_cases() {
        for message in [say::namespace_found("b"), say::namespace_done("b")] {
            let mut end = session(draft, role);
            let (_, _, on) = asking(&mut end, "a", NamespaceInterest::Namespaces);
            end.say(on, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, "before the answer");
        }
    }
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let (_, _, on) = asking(&mut end, "a", NamespaceInterest::Tracks);
        end.say(on, &say::publish_blocked("b--t"));
        assert_closed(&end, PROTOCOL_VIOLATION, "PUBLISH_BLOCKED before the answer");
    }
}

// "The subscriber SHOULD close the session with a protocol error if it detects receiving more than
// one." (all drafts, "Subscribing to Namespaces")
#[test]
fn a_namespace_subscription_is_answered_once() {
    for (draft, role) in cases() {
        for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Tracks] {
            let kind = kind(draft, interest);
            let no = RequestErrorCode::Unauthorized;
            let mut end = session(draft, role);
            let (_, id, on) = asking(&mut end, "a", interest);
            end.say(on, &say::ok(id, kind));
            end.say(on, &say::error(id, kind, no));
            assert_closed(&end, PROTOCOL_VIOLATION, "a second answer");
        }
    }
}

// "The unique request ID in the REQUEST_OK is used to associate it with the correct type of
// request." (draft-16, "REQUEST_OK"), on the stream of that request.
#[test]
fn an_answer_with_another_requests_id_closes() {
    for role in ROLES {
        let mut end = session(Draft::D16, role);
        asking(&mut end, "a", NamespaceInterest::Namespaces);
        let (_, id, on) = asking(&mut end, "b", NamespaceInterest::Namespaces);
        end.say(on, &say::ok(id - 2, RequestKind::SubscribeNamespace));
        assert_closed(&end, PROTOCOL_VIOLATION, "an answer on another request's stream");
    }
}

// "If a subscriber receives a NAMESPACE_DONE before the corresponding NAMESPACE, it MUST close the
// session with a 'PROTOCOL_VIOLATION'." (draft-16, -18, "SUBSCRIBE_NAMESPACE")
#[test]
fn namespace_done_before_its_namespace_closes() {
    for (draft, role) in stream_cases() {
        let mut end = session(draft, role);
        let (_, on) = asked(&mut end, "a", NamespaceInterest::Namespaces);
        end.say(on, &say::namespace_done("b"));
        assert_closed(&end, PROTOCOL_VIOLATION, "NAMESPACE_DONE without NAMESPACE");

        let mut end = session(draft, role);
        let (_, on) = asked(&mut end, "a", NamespaceInterest::Namespaces);
        end.say(on, &say::namespace_found("b"));
        end.say(on, &say::namespace_done("b"));
        assert_eq!(end.closed(), None);
        assert_eq!(end.engine.usage().namespaces, 0);
        end.say(on, &say::namespace_done("b"));
        assert_closed(&end, PROTOCOL_VIOLATION, "NAMESPACE_DONE twice");

        // Each subscription is told for itself.
        let mut end = session(draft, role);
        let (_, one) = asked(&mut end, "a", NamespaceInterest::Namespaces);
        let (_, two) = asked(&mut end, "b", NamespaceInterest::Namespaces);
        end.say(one, &say::namespace_found("c"));
        end.say(two, &say::namespace_done("c"));
        assert_closed(&end, PROTOCOL_VIOLATION, "NAMESPACE_DONE on another stream");
    }
}

// "If an endpoint receives a Track Namespace consisting of greater than 32 Track Namespace Fields,
// it MUST close the session with a PROTOCOL_VIOLATION"; "If an endpoint receives a Track Namespace
// or a Full Track Name exceeding 4,096 bytes, it MUST close the session with a PROTOCOL_VIOLATION."
// (draft-16, -18, "Track Naming"): in parts, too.
#[test]
fn a_suffix_that_makes_a_namespace_too_large_closes() {
    let fields = |count| TrackNamespace::new(vec![b"f"; count]).unwrap();
    let bytes = |len| TrackNamespace::new([vec![b'b'; len]]).unwrap();
    for (draft, role) in stream_cases() {
        for (suffix, fits) in
            [(fields(31), true), (fields(32), false), (bytes(4095), true), (bytes(4096), false)]
        {
            for done in [false, true] {
                let mut end = session(draft, role);
                let (_, on) = asked(&mut end, "a", NamespaceInterest::Namespaces);
                let message = match done {
                    false => Message::Namespace(Namespace { suffix: suffix.clone() }),
                    true if fits => continue,
                    true => Message::NamespaceDone(NamespaceDone { suffix: suffix.clone() }),
                };
                end.say(on, &message);
                if fits {
                    assert_eq!(end.closed(), None, "{draft:?} {role:?}");
                } else {
                    assert_closed(&end, PROTOCOL_VIOLATION, "a suffix too long");
                }
            }
        }
    }
    for role in ROLES {
        for (suffix, name, fits) in [
            (fields(31), 1, true),
            (fields(32), 1, false),
            (bytes(4000), 95, true),
            (bytes(4000), 96, false),
        ] {
            let mut end = session(Draft::D18, role);
            let (_, on) = asked(&mut end, "a", NamespaceInterest::Tracks);
            let track = FullTrackName::new(suffix, vec![b'n'; name]).unwrap();
            end.say(on, &Message::PublishBlocked(PublishBlocked { track }));
            if fits {
                assert!(matches!(end.events[..], [Event::PublishBlocked { .. }]));
            } else {
                assert_closed(&end, PROTOCOL_VIOLATION, "a track's name too long");
            }
        }
    }
}

// "Track Namespace is an ordered set of between 1 and 32 Track Namespace Fields"; "If an endpoint
// receives a Track Namespace consisting of 0 or greater than 32 Track Namespace Fields, it MUST
// close" (draft-16, "Track Naming"). Draft 18 begins at 0.
#[test]
fn draft_16_has_no_namespace_without_fields() {
    for (draft, role) in stream_cases() {
        let mut end = session(draft, role);
        let (_, on) = asked(&mut end, "", NamespaceInterest::Namespaces);
        end.say(on, &say::namespace_found(""));
        if draft == Draft::D16 {
            assert_closed(&end, PROTOCOL_VIOLATION, "a namespace without fields");
        } else {
            assert!(matches!(&end.events[..], [Event::Namespace { namespace, .. }]
                if namespace.is_empty()));
        }
    }
}

// The same: nor does this side tell of one, whatever prefix was asked for.
#[test]
fn no_namespace_without_fields_is_told_of() {
    for (draft, role) in stream_cases() {
        let mut end = session(draft, role);
        let (request, on) = accepted(&mut end, "", NamespaceInterest::Namespaces);
        let told =
            end.with(|engine, now| engine.namespace(now, request, &TrackNamespace::default()));
        if draft.dialect().min_namespace_fields > 0 {
            assert!(matches!(told, Err(CommandError::WrongState(_))), "{draft:?}: {told:?}");
            assert_eq!(end.said(on), [], "{draft:?} {role:?}");
        } else {
            assert_eq!(told, Ok(None), "{draft:?} {role:?}");
        }
    }
}

// "If an endpoint receives a Track Namespace Prefix tuple with an N of 0 or more than 32, it MUST
// close the session with a Protocol Violation." (draft-14, "SUBSCRIBE_NAMESPACE"); "with between 0
// and 32 Track Namespace Fields" (draft-16, -18). "Either message with zero Track Namespace fields
// indicates the sender is interested in all" (draft-18, "Subscribing to Namespaces")
#[test]
fn a_prefix_has_as_many_fields_as_the_draft_allows() {
    for role in ROLES {
        let id = u64::from(role == Role::Client);
        let id = format!("{id:02x}");
        let many = "0161".repeat(33);
        for (draft, code, rest) in
            [(Draft::D14, "11", "00"), (Draft::D16, "11", "0100"), (Draft::D18, "50", "00")]
        {
            let mut end = session(draft, role);
            let on = if draft == Draft::D14 { end.control } else { end.open(Dir::Bi) };
            end.data(on, bytes(&format!("{code} {:04x} {id} 00 {rest}", 2 + rest.len() / 2)));
            if draft == Draft::D14 {
                assert_closed(&end, PROTOCOL_VIOLATION, "no fields");
            } else {
                assert!(
                    matches!(&end.events[..], [Event::Request {
                    what: IncomingRequest::SubscribeNamespace { prefix, .. }, ..
                }] if prefix.is_empty()),
                    "{draft:?} {:?}",
                    end.events
                );
            }
            let mut end = session(draft, role);
            let on = if draft == Draft::D14 { end.control } else { end.open(Dir::Bi) };
            let len = 2 + many.len() / 2 + rest.len() / 2;
            end.data(on, bytes(&format!("{code} {len:04x} {id} 21 {many} {rest}")));
            assert_closed(&end, PROTOCOL_VIOLATION, "33 fields");
        }
    }
}

// "Within a session, if a publisher receives a SUBSCRIBE_NAMESPACE with a Track Namespace Prefix
// that is a prefix of, suffix of, or equal to an active SUBSCRIBE_NAMESPACE, it MUST respond with
// SUBSCRIBE_NAMESPACE_ERROR, with error code NAMESPACE_PREFIX_OVERLAP." (draft-14); "it MUST respond
// with REQUEST_ERROR with error code PREFIX_OVERLAP" (draft-16, -18, "SUBSCRIBE_NAMESPACE", "SUBSCRIBE_TRACKS")
#[test]
fn overlapping_prefixes_are_refused() {
    for (draft, role) in cases() {
        for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Tracks] {
            for accept in [false, true] {
                let mut end = session(draft, role);
                let mut bystander = Bystander::new(&mut end);
                let first = if accept {
                    accepted(&mut end, "a-b", interest).0
                } else {
                    ask(&mut end, "a-b", interest);
                    let Some(Event::Request { request, .. }) = end.take_events().pop() else {
                        panic!()
                    };
                    request
                };
                let before = end.engine.usage();
                for prefix in ["a", "a-b", "a-b-c"] {
                    let on = ask(&mut end, prefix, interest);
                    let code = refusal(&mut end, on);
                    assert_eq!(code, RequestErrorCode::PrefixOverlap, "{draft:?} {prefix}");
                    if on != end.control {
                        // "If it is an error, the stream will be immediately closed via FIN."
                        assert!(end.did(&Output::Fin(on)), "{draft:?} {prefix}");
                        end.fin(on);
                    }
                    assert!(end.take_events().is_empty());
                    assert_eq!(end.engine.usage(), before, "{draft:?} {prefix}");
                }
                // Neighbours do not overlap, though they share a field.
                for prefix in ["a-c", "ab", "b"] {
                    ask(&mut end, prefix, interest);
                    let found = matches!(end.take_events()[..], [Event::Request { .. }]);
                    assert!(found, "{draft:?} {prefix}");
                }
                assert!(
                    end.engine.cancel(end.now, first, StreamResetCode::Cancelled).is_ok()
                        == (accept && draft != Draft::D14)
                );
                end.drain();
                end.take_events();
                bystander.assert_well(&mut end);
            }
        }
    }
}

// "SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS have independent overlap spaces, so a
// SUBSCRIBE_NAMESPACE and a SUBSCRIBE_TRACKS may share the same prefix." (draft-18,
// "REQUEST_ERROR"). In draft 16 they are one request.
#[test]
fn namespaces_and_tracks_overlap_in_draft_16_only() {
    for (draft, role) in stream_cases() {
        let mut end = session(draft, role);
        accepted(&mut end, "a", NamespaceInterest::Namespaces);
        let on = ask(&mut end, "a", NamespaceInterest::Tracks);
        if draft == Draft::D16 {
            assert_eq!(refusal(&mut end, on), RequestErrorCode::PrefixOverlap);
        } else {
            assert!(matches!(
                &end.events[..],
                [Event::Request {
                    what: IncomingRequest::SubscribeNamespace {
                        interest: NamespaceInterest::Tracks,
                        ..
                    },
                    ..
                }]
            ));
        }
        // This side keeps to that as a subscriber.
        asking(&mut end, "x", NamespaceInterest::Namespaces);
        let prefix = say::namespace("x-y");
        let second = end.with(|engine, now| {
            engine.subscribe_namespace(
                now,
                &prefix,
                NamespaceInterest::Tracks,
                &Parameters::default(),
            )
        });
        assert_eq!(second.is_ok(), draft >= Draft::D18, "{draft:?}: {second:?}");
    }
}

/// How a subscriber ends a namespace subscription.
fn ends(draft: Draft) -> &'static [&'static str] {
    if draft == Draft::D14 { &["unsubscribe"] } else { &["fin", "reset", "stop"] }
}

fn end_it(end: &mut End, on: Name, prefix: &str, how: &str) {
    match how {
        "fin" => end.fin(on),
        "reset" => end.reset(on, 1),
        "stop" => end.stop(on, 1),
        _ => {
            let prefix = say::namespace(prefix);
            end.say(on, &Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix }));
        }
    }
}

// "A SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS can be cancelled by closing the stream with either a
// FIN or RESET_STREAM." (draft-16, -18, "Subscribing to Namespaces"). "An UNSUBSCRIBE_NAMESPACE
// withdraws a previous SUBSCRIBE_NAMESPACE." (draft-14)
#[test]
fn a_cancelled_namespace_subscription_leaves_nothing() {
    for (draft, role) in cases() {
        for interest in [NamespaceInterest::Namespaces, NamespaceInterest::Tracks] {
            for how in ends(draft) {
                for accept in [false, true] {
                    let mut end = session(draft, role);
                    let mut bystander = Bystander::new(&mut end);
                    let before = end.engine.usage();
                    let (request, on) = if accept {
                        accepted(&mut end, "a", interest)
                    } else {
                        let on = ask(&mut end, "a", interest);
                        let Some(Event::Request { request, .. }) = end.take_events().pop() else {
                            panic!()
                        };
                        (request, on)
                    };
                    let told = say::namespace("a-b");
                    if accept && interest == NamespaceInterest::Namespaces && draft != Draft::D14 {
                        end.with(|engine, now| engine.namespace(now, request, &told)).unwrap();
                        assert_eq!(end.engine.usage().namespaces, 1);
                    }
                    end_it(&mut end, on, "a", how);
                    let events = end.take_events();
                    assert!(
                        matches!(&events[..], [Event::Cancelled { request: key, error: None, .. }]
                            if *key == request),
                        "{draft:?} {how}: {events:?}"
                    );
                    if on != end.control && *how == "stop" {
                        end.fin(on);
                    }
                    assert_eq!(end.engine.usage(), before, "{draft:?} {role:?} {how} {accept}");
                    let gone = end.with(|engine, now| engine.namespace(now, request, &told));
                    assert_eq!(gone, Err(CommandError::Gone));
                    // The prefix is free again.
                    ask(&mut end, "a", interest);
                    assert!(matches!(end.take_events()[..], [Event::Request { .. }]), "{draft:?}");
                    bystander.assert_well(&mut end);
                }
            }
        }
    }
}

// An UNSUBSCRIBE_NAMESPACE of what was refused may cross with the refusal (draft-14): no fault.
#[test]
fn draft_14_unsubscribing_from_nothing_is_nothing() {
    for role in ROLES {
        let mut end = session(Draft::D14, role);
        let mut bystander = Bystander::new(&mut end);
        ask(&mut end, "a", NamespaceInterest::Both);
        let Some(Event::Request { request, .. }) = end.take_events().pop() else { panic!() };
        let no = Refusal::new(RequestErrorCode::Unauthorized);
        end.with(|engine, now| engine.reject(now, request, no)).unwrap();
        for prefix in ["a", "a-b", "c"] {
            let on = end.control;
            end_it(&mut end, on, prefix, "unsubscribe");
        }
        assert!(end.take_events().is_empty());
        bystander.assert_well(&mut end);
    }
}

// "When a subscriber receives a stream reset or FIN on a SUBSCRIBE_NAMESPACE response stream, it
// SHOULD treat this as though each active namespace received a NAMESPACE_DONE. Subscriptions
// established via PUBLISH on separate bidi streams are not affected" (draft-18,
// "SUBSCRIBE_NAMESPACE")
#[test]
fn namespaces_are_done_when_their_stream_ends() {
    for (draft, role) in stream_cases() {
        for how in ["fin", "reset"] {
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let id = end.fresh_id();
            end.request(&say::publish(id, "t", 5));
            let Some(Event::Request { request: published, .. }) = end.take_events().pop() else {
                panic!()
            };
            end.with(|engine, now| engine.accept(now, published, Accept::default())).unwrap();
            let before = end.engine.usage();
            let (request, on) = asked(&mut end, "test", NamespaceInterest::Namespaces);
            for suffix in ["b", "c", "d"] {
                end.say(on, &say::namespace_found(suffix));
            }
            end.say(on, &say::namespace_done("c"));
            end.take_events();
            end_it(&mut end, on, "", how);
            let done = |text| Event::NamespaceDone { request, namespace: say::namespace(text) };
            let events = end.take_events();
            assert_eq!(events[..2], [done("test-b"), done("test-d")], "{draft:?} {how}");
            assert!(matches!(events[2..], [Event::Cancelled { .. }]), "{draft:?}: {events:?}");
            assert_eq!(end.engine.usage(), before, "{draft:?} {how}");
            let stream = end.open_with(Dir::Uni, say::subgroup(draft, 5, 0, &[(0, b"on")]));
            end.fin(stream);
            assert_eq!(end.take_reads(stream).len(), 2);
            bystander.assert_well(&mut end);
        }
    }
}

#[test]
fn a_stream_that_ends_before_its_answer_fails_the_request() {
    for (draft, role) in stream_cases() {
        let mut end = session(draft, role);
        let before = end.engine.usage();
        let (request, _, on) = asking(&mut end, "a", NamespaceInterest::Namespaces);
        end.fin(on);
        assert!(
            matches!(&end.events[..], [Event::Rejected { request: key, .. }] if *key == request),
            "{draft:?} {:?}",
            end.events
        );
        assert_eq!(end.engine.usage(), before);
    }
}

// Draft-16, "Control Messages", draft-18, "Control Messages" and their tables: each of these
// messages belongs to one kind of request.
#[test]
fn namespaces_on_streams_of_other_requests_close() {
    for (draft, role) in stream_cases() {
        // The subscriber has nothing to tell.
        for message in [say::namespace_found("b"), say::namespace_done("b")] {
            let mut end = session(draft, role);
            let (_, on) = accepted(&mut end, "a", NamespaceInterest::Namespaces);
            end.say(on, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, "from the subscriber");

            let mut end = session(draft, role);
            end.say(end.control, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, "on the control stream");

            let mut end = session(draft, role);
            end.open_with(Dir::Bi, say::message(draft, &message));
            assert_closed(&end, PROTOCOL_VIOLATION, "on a new stream");
        }
    }
    for role in ROLES {
        // "All PUBLISH_BLOCKED messages are in response to a SUBSCRIBE_TRACKS", and "All NAMESPACE
        // messages are in response to a SUBSCRIBE_NAMESPACE" (draft-18)
        for (interest, message) in [
            (NamespaceInterest::Namespaces, say::publish_blocked("b--t")),
            (NamespaceInterest::Tracks, say::namespace_found("b")),
            (NamespaceInterest::Tracks, say::namespace_done("b")),
        ] {
            let mut end = session(Draft::D18, role);
            let (_, on) = asked(&mut end, "a", interest);
            end.say(on, &message);
            assert_closed(&end, PROTOCOL_VIOLATION, "for another request");
        }
        // "This specification only specifies two uses of bidirectional streams" (draft-16)
        let mut end = session(Draft::D16, role);
        let id = end.fresh_id();
        let message = say::subscribe_namespace(Draft::D16, id, "a", NamespaceInterest::Namespaces);
        end.say(end.control, &message);
        assert_closed(&end, PROTOCOL_VIOLATION, "SUBSCRIBE_NAMESPACE on the control stream");
    }
}

// FORWARD "MAY appear in SUBSCRIBE, REQUEST_UPDATE (for a subscription), PUBLISH, PUBLISH_OK and
// SUBSCRIBE_TRACKS" (draft-18, "FORWARD Parameter"), so not in SUBSCRIBE_NAMESPACE; draft 16 has it
// there.
#[test]
fn draft_18_forward_is_for_tracks() {
    for role in ROLES {
        let id = u64::from(role == Role::Client);
        for (code, closes) in [("50", true), ("51", false)] {
            let mut end = session(Draft::D18, role);
            // ID, one field 'a', one parameter: FORWARD = 0.
            let body = format!("{id:02x} 01 01 61 01 10 00");
            end.open_with(Dir::Bi, bytes(&format!("{code} 0007 {body}")));
            if closes {
                assert_closed(&end, PROTOCOL_VIOLATION, "FORWARD in SUBSCRIBE_NAMESPACE");
            } else {
                assert!(
                    matches!(&end.events[..], [Event::Request {
                    what: IncomingRequest::SubscribeNamespace { parameters, .. }, ..
                }] if parameters.forward == Some(false)),
                    "{:?}",
                    end.events
                );
            }
        }
    }
}

// "Its results ... could bloat data structures" (all drafts, "State maintenance"): the limit on
// what a peer can ask for.
#[test]
fn one_more_namespace_subscription_is_refused() {
    for (draft, role) in cases() {
        let mut config = Config::default();
        config.limits.open_namespace_subscriptions = 2;
        let mut end = End::established(draft, role, config);
        let mut bystander = Bystander::new(&mut end);
        for prefix in ["a", "b"] {
            ask(&mut end, prefix, NamespaceInterest::Both);
        }
        end.take_events();
        let on = ask(&mut end, "c", NamespaceInterest::Both);
        let code = refusal(&mut end, on);
        let expected = match draft {
            _ if draft >= Draft::D18 => RequestErrorCode::ExcessiveLoad,
            // Which these cannot say.
            _ => RequestErrorCode::InternalError,
        };
        assert_eq!(code, expected, "{draft:?}");
        bystander.assert_well(&mut end);
    }
}

#[test]
fn namespaces_without_end_end_the_subscription() {
    for (draft, role) in stream_cases() {
        let mut config = Config::default();
        config.limits.namespaces_told = 100;
        let mut end = End::established(draft, role, config);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        let (request, on) = asked(&mut end, "", NamespaceInterest::Namespaces);
        for n in 0..100 {
            // Told twice, it is still one.
            end.say(on, &say::namespace_found(&format!("n{n}")));
            end.say(on, &say::namespace_found(&format!("n{n}")));
        }
        assert_eq!(end.take_events().len(), 100, "{draft:?}");
        assert_eq!(end.engine.usage().namespaces, 100);
        end.say(on, &say::namespace_found("more"));
        let events = end.take_events();
        assert_eq!(events.len(), 101, "{draft:?}");
        assert!(
            matches!(events.last(), Some(Event::Cancelled {
                request: key, code: StreamResetCode::ExcessiveLoad, ..
            }) if *key == request),
            "{draft:?}: {:?}",
            events.last()
        );
        let stopped = |output: &Output| matches!(output, Output::Stop(name, _) if *name == on);
        assert!(end.outputs.iter().any(stopped), "{draft:?}");
        // What was on its way means nothing.
        end.say(on, &say::namespace_found("further"));
        assert_eq!(end.engine.usage(), before, "{draft:?}");
        bystander.assert_well(&mut end);
    }
}

// "If the publisher is unable to send NAMESPACE or NAMESPACE_DONE messages in a timely manner
// because the SUBSCRIBE_NAMESPACE response stream is blocked by flow control, the publisher MAY
// reset the SUBSCRIBE_NAMESPACE response stream." (draft-18, "SUBSCRIBE_NAMESPACE")
#[test]
fn a_subscriber_that_reads_nothing_is_told_no_more() {
    for (draft, role) in stream_cases() {
        let mut config = Config::default();
        config.limits.control_send = 2_000;
        let mut end = End::established(draft, role, config);
        let mut bystander = Bystander::new(&mut end);
        let (request, on) = accepted(&mut end, "a", NamespaceInterest::Namespaces);
        end.takes_data = false;
        let mut told = 0;
        let error = loop {
            let namespace = say::namespace(&format!("a-n{told}"));
            match end.with(|engine, now| engine.namespace(now, request, &namespace)) {
                Ok(_) => told += 1,
                Err(error) => break error,
            }
            // That one is gone is as much to be read.
            let is_gone = told % 2 == 0;
            let done =
                |engine: &mut MoqtConnection, now| engine.namespace_done(now, request, &namespace);
            if let Err(error) = if is_gone { end.with(done) } else { Ok(()) } {
                break error;
            }
            assert!(told < 2_000, "{draft:?}: it never ends");
        };
        assert_eq!(error, CommandError::Gone);
        assert!(told > 50, "{draft:?}: {told}");
        assert!(end.was_reset(on), "{draft:?}");
        assert!(matches!(end.take_events()[..], [Event::Cancelled { .. }]));
        assert_eq!(end.engine.usage().namespaces, 0);
        assert_eq!(end.engine.usage().control_bytes, 0);
        end.takes_data = true;
        bystander.assert_well(&mut end);
    }
}
