//! Updates that come before their request is answered, when it is over, and requests that end
//! late after a refused update.

use std::time::Duration;

use bytes::Bytes;
use moqt_conformance::end::{End, Name, Output};
use moqt_conformance::{ROLES, cases, say};
use moqt_engine::model::{
    AuthToken, Location, LocationRange, Message, NamespaceInterest, Parameters, RequestErrorCode,
    RequestKind, StreamResetCode,
};
use moqt_engine::{
    Accept, AcceptFetch, Config, Draft, Event, FetchTarget, IncomingRequest, Refusal, RequestKey,
    Role,
};

use crate::updates::{answered_cases, from_peer, with_priority};
use crate::{Bystander, PROTOCOL_VIOLATION, assert_closed, requested, session, subscribing};

const DUPLICATE_AUTH_TOKEN_ALIAS: u64 = 0x14;

fn registering(draft: Draft, alias: u64) -> Parameters {
    let mut parameters = from_peer(draft, Parameters::default());
    let value = Bytes::from_static(b"x");
    parameters.authorization_tokens = vec![AuthToken::Register { alias, token_type: 0, value }];
    parameters
}

fn keeping_tokens(draft: Draft, role: Role) -> End {
    let mut config = Config::default();
    config.limits.auth_token_cache = Some(1_000);
    End::established(draft, role, config)
}

/// A SUBSCRIBE of the peer's that was refused: its Request ID, and where it travels.
fn refused(end: &mut End) -> (u64, Name) {
    let id = end.fresh_id();
    let on = end.request(&say::subscribe(id, "t"));
    let request = requested(end);
    let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
    end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
    (id, on)
}

// "The receiver of a message carrying an AUTHORIZATION TOKEN with Alias Type REGISTER that does not
// result in a Session error MUST register the Token Alias, in the token cache, even if the message
// fails for other reasons [...]. This allows senders to pipeline messages that refer to previously
// registered tokens without potentially terminating the entire Session." (all drafts,
// "AUTHORIZATION TOKEN Parameter")
#[test]
fn an_update_of_a_request_that_is_over_registers_its_tokens() {
    for (draft, role) in cases() {
        let mut end = keeping_tokens(draft, role);
        let mut bystander = Bystander::new(&mut end);
        let (id, on) = refused(&mut end);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, registering(draft, 5)));
        assert_eq!(end.engine.usage().auth_token_bytes, 17, "{draft:?} {role:?}");
        // So the alias can be used, and registered no more.
        let mut uses = Parameters::default();
        uses.authorization_tokens = vec![AuthToken::UseAlias { alias: 5 }];
        let next = end.fresh_id();
        end.request(&say::subscribe_with(next, "u", uses));
        let events = end.take_events();
        assert!(
            matches!(&events[..],
                [Event::Request { what: IncomingRequest::Subscribe { parameters, .. }, .. }]
                if matches!(&parameters.authorization_tokens[..],
                    [AuthToken::UseValue { value, .. }] if &value[..] == b"x")),
            "{draft:?} {role:?}: {events:?}"
        );
        bystander.assert_well(&mut end);
        let update = end.fresh_id();
        end.say(on, &say::update(update, id, registering(draft, 5)));
        assert_closed(&end, DUPLICATE_AUTH_TOKEN_ALIAS, "registered twice");
    }
}

// Draft-18, "Request ID": each "REQUEST_UPDATE [...] message consumes a Request ID", whatever
// became of its request. If it did not, the IDs missing from the sequence would add up.
#[test]
fn updates_of_requests_that_are_over_use_up_their_request_ids() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let (id, on) = refused(&mut end);
        for _ in 0..5_000 {
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, Parameters::default()));
        }
        let mut bystander = Bystander::new(&mut end);
        bystander.assert_well(&mut end);
        let used = say::update(end.peer_id - 2, id, Parameters::default());
        end.say(on, &used);
        assert_closed(&end, crate::INVALID_REQUEST_ID, "an ID used twice");
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Fin,
    Reset,
    Silence,
    StopSending,
}

// What ended a request can cross with a message that its peer had begun, and that is no fault.
#[test]
fn the_stream_of_a_request_that_is_over_ends_anyhow() {
    for role in ROLES {
        for way in [Way::Fin, Way::Reset, Way::Silence, Way::StopSending] {
            let what = format!("{role:?} {way:?}");
            let mut config = Config::default();
            config.limits.churn_burst = 0;
            let mut end = End::established(Draft::D18, role, config);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            end.takes_data = !matches!(way, Way::StopSending);
            let (id, on) = refused(&mut end);
            let update =
                say::message(Draft::D18, &say::update(end.peer_id, id, registering(Draft::D18, 1)));
            end.data(on, update[..update.len() - 1].to_vec());
            match way {
                Way::Fin => end.fin(on),
                Way::Reset => end.reset(on, 1),
                Way::Silence => {
                    end.wait(Duration::from_secs(10));
                    assert_eq!(end.engine.poll_timeout(), None, "{what}");
                    // Nobody reads it any more.
                    end.data(on, vec![0xff; 1_000]);
                    end.fin(on);
                }
                Way::StopSending => {
                    end.stop(on, 1);
                    assert!(end.did(&Output::Reset(on, 1)), "{what}: {:?}", end.outputs);
                    end.takes_data = true;
                    end.reset(on, 1);
                }
            }
            assert_eq!(end.engine.usage(), before, "{what}");
            assert_eq!(end.engine.poll_timeout(), None, "{what}");
            end.take_events();
            bystander.assert_well(&mut end);
        }
    }
}

/// Makes a request with this Request ID.
type Make = fn(u64) -> Message;

/// Requests that can be updated before they are answered, with what their update may say.
fn open_requests(end: &mut End) -> Vec<(RequestKey, u64, Name, Parameters)> {
    let none = Parameters::default();
    let kinds: [(Make, Parameters); 5] = [
        (|id| say::subscribe(id, "t"), with_priority(1)),
        (|id| say::publish(id, "p", 4), none.clone()),
        (|id| say::fetch(id, "f", Location::ZERO, Location::new(1, 0)), with_priority(1)),
        (|id| say::publish_namespace(id, "n"), none.clone()),
        (|id| say::subscribe_namespace(Draft::D18, id, "s", NamespaceInterest::Namespaces), none),
    ];
    let mut open = Vec::new();
    for (make, parameters) in kinds {
        let id = end.fresh_id();
        let on = end.request(&make(id));
        open.push((requested(end), id, on, parameters));
    }
    open
}

fn accept(end: &mut End, request: RequestKey) {
    end.with(|engine, now| {
        let fetch = AcceptFetch::new(Location::new(1, 0));
        engine
            .accept(now, request, Accept::default())
            .or_else(|_| engine.accept_fetch(now, request, fetch))
    })
    .unwrap();
}

// Draft-18, "REQUEST_UPDATE": "The receiver of a REQUEST_UPDATE MUST respond with exactly one
// REQUEST_OK or REQUEST_ERROR message indicating if the update was successful." On a stream answers
// come in order, so an application that decides is asked once the request itself is answered.
#[test]
fn an_update_that_precedes_the_answer_is_decided_on_after_it() {
    for role in ROLES {
        let mut config = Config::default();
        config.decide_updates = true;
        let mut end = End::established(Draft::D18, role, config);
        for (request, id, on, parameters) in open_requests(&mut end) {
            for _ in 0..2 {
                let update = end.fresh_id();
                end.say(on, &say::update(update, id, parameters.clone()));
            }
            assert_eq!(end.take_events(), [], "{role:?}: nothing can be decided yet");
            accept(&mut end, request);
            let asked = Event::UpdateRequested { request, parameters };
            assert_eq!(end.take_events(), [asked.clone(), asked], "{role:?}");
            assert_eq!(end.said(on).len(), 1, "{role:?}: the answer to the request");
            for _ in 0..2 {
                let none = Parameters::default();
                end.with(|engine, now| engine.accept_update(now, request, &none)).unwrap();
                assert!(matches!(end.said(on)[..], [Message::RequestOk(_)]), "{role:?}");
            }
        }
    }
}

// The same where the engine decides: the answers follow that of the request by themselves.
#[test]
fn an_update_that_precedes_the_answer_is_answered_after_it() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        for (request, id, on, parameters) in open_requests(&mut end) {
            let update = end.fresh_id();
            end.say(on, &say::update(update, id, parameters));
            assert_eq!(end.said(on), [], "{role:?}");
            accept(&mut end, request);
            let said = end.said(on);
            assert!(matches!(said[..], [_, Message::RequestOk(_)]), "{role:?}: {said:?}");
        }
    }
}

// Draft-18, "Updating Subscriptions": "When a REQUEST_UPDATE is unsuccessful, the publisher MUST
// also terminate the subscription by sending a PUBLISH_DONE with error code UPDATE_FAILED. When a
// REQUEST_UPDATE fails for a FETCH, the publisher MUST reset the FETCH data stream. When a
// REQUEST_UPDATE fails for a SUBSCRIBE_NAMESPACE or PUBLISH_NAMESPACE, the responder MUST close the
// bidi stream." A peer that does not is not waited for without end (Limits, `answer_timeout`).
#[test]
fn a_request_that_does_not_end_after_a_refused_update_is_given_up() {
    for (draft, role) in answered_cases() {
        for kind in [
            RequestKind::Subscribe,
            RequestKind::Fetch,
            RequestKind::PublishNamespace,
            RequestKind::SubscribeNamespace,
        ] {
            let what = format!("{draft:?} {role:?} {kind:?}");
            let mut end = session(draft, role);
            let mut bystander = Bystander::new(&mut end);
            let before = end.engine.usage();
            let (request, on) = accepted(&mut end, kind);
            let id = end.next_own_id();
            let none = Parameters::default();
            end.with(|engine, now| engine.update(now, request, &none)).unwrap();
            let answers = if draft == Draft::D16 { end.control } else { on };
            let refusal = say::error(id, RequestKind::Update, RequestErrorCode::Unauthorized);
            end.say(answers, &refusal);
            assert!(matches!(end.take_events()[..], [Event::UpdateRejected { .. }]), "{what}");
            end.wait(Duration::from_micros(9_999_999));
            assert_eq!(end.take_events(), [], "{what}");
            end.wait(Duration::from_micros(1));
            let of_namespace =
                matches!(kind, RequestKind::PublishNamespace | RequestKind::SubscribeNamespace);
            if draft == Draft::D16 && of_namespace {
                // "the request goes on": draft-16 says nothing of an end.
                assert_eq!(end.take_events(), [], "{what}");
                assert_eq!(end.engine.usage().requests, before.requests + 1);
                continue;
            }
            let code = StreamResetCode::Cancelled;
            assert_eq!(
                end.take_events(),
                [Event::Cancelled { request, code, error: None }],
                "{what}"
            );
            let told = if draft >= Draft::D18 {
                end.did(&Output::Reset(on, 1)) && end.did(&Output::Stop(on, 1))
            } else {
                matches!(
                    end.said(on).last(),
                    Some(Message::Unsubscribe(_) | Message::FetchCancel(_))
                )
            };
            assert!(told, "{what}: the peer is told");
            assert_eq!(end.engine.usage(), before, "{what}");
            assert_eq!(end.engine.poll_timeout(), None, "{what}");
            bystander.assert_well(&mut end);
        }
    }
}

/// A request of the connection's that the peer has accepted.
fn accepted(end: &mut End, kind: RequestKind) -> (RequestKey, Name) {
    let draft = end.draft();
    let (track, none) = (say::track("t"), Parameters::default());
    let id = end.next_own_id();
    let accepted = match kind {
        RequestKind::Subscribe => {
            let (request, id, on) = subscribing(end, "t");
            end.say(on, &say::subscribe_ok(id, 5));
            (request, on)
        }
        RequestKind::Fetch => {
            let range = LocationRange::new(Location::ZERO, Location::new(1, 0));
            let target = FetchTarget::Standalone { track, range };
            let request = end.with(|engine, now| engine.fetch(now, &target, &none)).unwrap();
            let on = end.own_request();
            end.say(on, &say::fetch_ok(id, Location::new(1, 0)));
            let object = (Location::ZERO, &b"x"[..]);
            let bytes = say::fetch_stream(draft, id, &[object]);
            end.open_with(moqt_engine::Dir::Uni, bytes);
            (request, on)
        }
        RequestKind::PublishNamespace => {
            let request = end
                .with(|engine, now| engine.publish_namespace(now, track.namespace(), &none))
                .unwrap();
            let on = end.own_request();
            end.say(on, &say::ok(id, kind));
            (request, on)
        }
        _ => {
            let interest = NamespaceInterest::Namespaces;
            let request = end
                .with(|engine, now| {
                    engine.subscribe_namespace(now, track.namespace(), interest, &none)
                })
                .unwrap();
            let on = end.own_namespace_request();
            end.say(on, &say::ok(id, kind));
            (request, on)
        }
    };
    end.take_events();
    end.said(accepted.1);
    accepted
}

// What comes on the stream of a request that is over is read, since it may say something beside that
// request, and so has to be readable.
#[test]
fn a_malformed_message_for_a_request_that_is_over_closes() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let (id, on) = refused(&mut end);
        let mut bytes = say::message(Draft::D18, &say::update(id + 2, id, Parameters::default()));
        // A byte more than there is anything for.
        bytes.push(0);
        bytes[2] += 1;
        end.data(on, bytes);
        assert_closed(&end, PROTOCOL_VIOLATION, "an update with a byte too many");
    }
}

// Of half a message nothing is expected any more after a time, nor anything else on that stream. The
// peer may end both directions of it.
#[test]
fn a_stream_left_with_half_a_message_is_ended_by_the_peer() {
    for role in ROLES {
        let mut end = session(Draft::D18, role);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage();
        end.takes_data = false;
        let (id, on) = refused(&mut end);
        let bytes = say::message(Draft::D18, &say::update(id + 2, id, Parameters::default()));
        end.data(on, bytes[..2].to_vec());
        crate::wait_long(&mut end);
        let key = end.key(on);
        assert_eq!(end.engine.recv_window(key), usize::MAX, "{role:?}: nobody reads it");
        end.stop(on, 1);
        assert!(end.did(&Output::Reset(on, 1)), "{role:?}: {:?}", end.outputs);
        end.reset(on, 1);
        assert_eq!(end.engine.usage(), before, "{role:?}");
        end.takes_data = true;
        bystander.assert_well(&mut end);
    }
}
