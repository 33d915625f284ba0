//! Authorization tokens that a peer registers, uses and deletes as it may not, and as it may
//! ("AUTHORIZATION TOKEN Parameter" and "AUTHORIZATION TOKEN" of the setup options, all drafts).

use bytes::Bytes;
use moqt_conformance::end::{End, Name};
use moqt_conformance::tokens::{delete, register, use_alias, value, with_tokens};
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{
    AuthToken, Fetch, FetchRange, Location, Message, NamespaceInterest, Parameters,
    PublishNamespace, RequestErrorCode, SetupOptions, SubscribeNamespace, SubscribeTracks,
    SubscriptionFilter, TrackStatus,
};
use moqt_engine::{Accept, Config, Dir, Draft, Event, IncomingRequest, Refusal, RequestKey, Role};

use crate::{Bystander, assert_closed, subscribed};

const AUTH_TOKEN_CACHE_OVERFLOW: u64 = 0x13;
const DUPLICATE_AUTH_TOKEN_ALIAS: u64 = 0x14;
const MALFORMED_AUTH_TOKEN: u64 = 0x16;
const UNKNOWN_AUTH_TOKEN_ALIAS: u64 = 0x17;
const KEY_VALUE_FORMATTING_ERROR: u64 = 0x6;

/// Parameters of an update that changes nothing but has these tokens. Draft 14 always states
/// the rest.
fn update_with(draft: Draft, tokens: &[AuthToken]) -> Parameters {
    let mut parameters = with_tokens(tokens);
    if draft == Draft::D14 {
        parameters.forward = Some(true);
        parameters.subscriber_priority = Some(128);
        let start = Location::ZERO;
        parameters.subscription_filter = Some(SubscriptionFilter::AbsoluteStart { start });
    }
    parameters
}

/// A session whose connection keeps this much of the peer's tokens.
fn keeping(draft: Draft, role: Role, size: u64) -> End {
    let mut config = Config::default();
    config.limits.auth_token_cache = Some(size);
    End::established(draft, role, config)
}

/// The peer subscribes with these tokens; returns where that is answered, and its Request ID.
fn ask(end: &mut End, name: &str, tokens: &[AuthToken]) -> (Name, u64) {
    let id = end.fresh_id();
    (end.request(&say::subscribe_with(id, name, with_tokens(tokens))), id)
}

/// The request that the application was told of last, and the tokens it came with.
#[track_caller]
fn told(end: &mut End) -> (RequestKey, Vec<AuthToken>) {
    match end.take_events().pop() {
        Some(Event::Request { request, what: IncomingRequest::Subscribe { parameters, .. } }) => {
            (request, parameters.authorization_tokens)
        }
        other => panic!("{:?}: {other:?}", end.draft()),
    }
}

// "Using an Alias to refer to a previously registered Token Type and Value is for efficiency only
// and has the same effect as if the Token Type and Value was included directly." (all drafts)
#[test]
fn an_alias_has_the_effect_of_its_value_until_it_is_deleted() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 100);
        let idle = end.engine.usage();
        ask(&mut end, "a", &[register(5, "secret"), value("other")]);
        assert_eq!(told(&mut end).1, [value("secret"), value("other")], "{draft:?}");
        ask(&mut end, "b", &[use_alias(5)]);
        assert_eq!(told(&mut end).1, [value("secret")], "{draft:?}");
        // "Retiring an Alias that was previously used to authorize a message has no retroactive
        // effect on the original authorization, nor does it prevent that same Token Type and
        // Value from being re-registered."
        ask(&mut end, "c", &[delete(5)]);
        assert_eq!(told(&mut end).1, [], "{draft:?}");
        assert_eq!(end.engine.usage().requests, idle.requests + 3);
        assert_eq!(end.engine.usage().auth_token_bytes, 0);
        ask(&mut end, "d", &[register(6, "secret"), delete(6), register(5, "again")]);
        assert_eq!(told(&mut end).1, [value("secret"), value("again")], "{draft:?}");
        assert_eq!(end.engine.usage().auth_token_bytes, 16 + 5);
    }
}

// "There are separate Alias spaces for the client and server (e.g.: they can each register
// Alias=1)." (all drafts)
#[test]
fn each_side_has_its_own_alias_space() {
    for (draft, role) in cases() {
        let mut config = Config::default();
        config.limits.auth_token_cache = Some(100);
        let mut end = End::new(draft, role, config);
        let mut options = SetupOptions::default();
        options.max_request_id = Some(100);
        options.max_auth_token_cache_size = Some(100);
        end.data(end.control, say::setup(draft, role.peer(), options));
        let track = say::track("ours");
        let tokens = with_tokens(&[register(1, "ours")]);
        end.with(|engine, now| engine.subscribe(now, &track, &tokens)).unwrap();
        ask(&mut end, "a", &[register(1, "theirs")]);
        ask(&mut end, "b", &[use_alias(1)]);
        assert_eq!(told(&mut end).1, [value("theirs")], "{draft:?} {role:?}");
    }
}

// "The receiver of a message attempting to register an Alias which is already registered MUST
// close the Session with DUPLICATE_AUTH_TOKEN_ALIAS." (all drafts)
#[test]
fn registering_an_alias_twice_closes() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 100);
        ask(&mut end, "a", &[register(1, "x")]);
        ask(&mut end, "b", &[register(1, "x")]);
        assert_closed(&end, DUPLICATE_AUTH_TOKEN_ALIAS, "in two messages");
        let mut end = keeping(draft, role, 100);
        ask(&mut end, "a", &[register(1, "x"), register(1, "y")]);
        assert_closed(&end, DUPLICATE_AUTH_TOKEN_ALIAS, "in one message");
    }
}

// "The receiver of a message referencing an Alias that is not currently registered MUST reject
// the message with UNKNOWN_AUTH_TOKEN_ALIAS." (all drafts) That code exists for sessions only.
#[test]
fn an_alias_that_is_not_registered_closes() {
    for (draft, role) in cases() {
        for token in [use_alias(1), delete(1)] {
            let mut end = keeping(draft, role, 100);
            ask(&mut end, "a", std::slice::from_ref(&token));
            assert_closed(&end, UNKNOWN_AUTH_TOKEN_ALIAS, "never registered");
            let mut end = keeping(draft, role, 100);
            ask(&mut end, "a", &[register(1, "x")]);
            ask(&mut end, "b", &[delete(1)]);
            ask(&mut end, "c", &[token]);
            assert_closed(&end, UNKNOWN_AUTH_TOKEN_ALIAS, "deleted");
        }
    }
}

// "If a registration is attempted which would cause this limit to be exceeded, the receiver MUST
// terminate the Session with a AUTH_TOKEN_CACHE_OVERFLOW error." and "The token size is calculated
// as 16 bytes + the size of the Token Value field" (all drafts)
#[test]
fn registering_more_than_the_cache_holds_closes() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 2 * 16 + 3);
        ask(&mut end, "a", &[register(1, "abc"), register(2, "")]);
        assert_eq!(end.closed(), None, "{draft:?}: filled to the last byte");
        ask(&mut end, "b", &[delete(2), register(3, "")]);
        assert_eq!(end.closed(), None, "{draft:?}: what is deleted makes room");
        ask(&mut end, "c", &[register(4, "")]);
        assert_closed(&end, AUTH_TOKEN_CACHE_OVERFLOW, "one more");
        let mut end = keeping(draft, role, 2 * 16 + 3);
        ask(&mut end, "a", &[register(1, "abcd"), register(2, "")]);
        assert_closed(&end, AUTH_TOKEN_CACHE_OVERFLOW, "one byte more");
    }
}

// "The default value is 0 which prohibits the use of token Aliases." (all drafts,
// "MAX_AUTH_TOKEN_CACHE_SIZE")
#[test]
fn the_cache_that_is_announced_is_the_cache_there_is() {
    for (draft, role) in cases() {
        for (configured, size) in [
            (None, if draft >= Draft::D18 { 0 } else { 4096 }),
            (Some(0), 0),
            (Some(17), 17),
            (Some(u64::MAX), if draft >= Draft::D18 { u64::MAX } else { (1 << 62) - 1 }),
        ] {
            let mut config = Config::default();
            config.limits.auth_token_cache = configured;
            let mut end = End::established(draft, role, config);
            let said = end.said(end.control);
            let Some(Message::Setup(setup)) = said.first() else { panic!("{draft:?}: {said:?}") };
            let announced = setup.options.max_auth_token_cache_size.unwrap_or(0);
            assert_eq!(announced, size, "{draft:?} {role:?} {configured:?}");
            ask(&mut end, "a", &[register(1, "x")]);
            if size < 17 {
                assert_closed(&end, AUTH_TOKEN_CACHE_OVERFLOW, "no cache");
            } else {
                assert_eq!(told(&mut end).1, [value("x")], "{draft:?}");
            }
        }
    }
}

// "The receiver of a message carrying an AUTHORIZATION TOKEN with Alias Type REGISTER that does
// not result in a Session error MUST register the Token Alias, in the token cache, even if the
// message fails for other reasons, including Unauthorized." (all drafts)
#[test]
fn a_refused_message_registers_all_the_same() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 1000);
        // Refused by the application.
        ask(&mut end, "a", &[register(1, "one")]);
        let (request, _) = told(&mut end);
        let refusal = Refusal::new(RequestErrorCode::Unauthorized);
        end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
        // Refused by the connection: it subscribes to the track already, if it is a PUBLISH.
        subscribed(&mut end, "b", 1);
        let id = end.fresh_id();
        let mut publish = say::publish(id, "b", 9);
        if let Message::Publish(publish) = &mut publish {
            publish.parameters = with_tokens(&[register(2, "two")]);
        }
        end.request(&publish);
        assert!(end.take_events().is_empty(), "{draft:?}");
        // In an update of a request that is over by the time it comes.
        if draft < Draft::D18 {
            let (on, of) = ask(&mut end, "c", &[]);
            let (request, _) = told(&mut end);
            let refusal = Refusal::new(RequestErrorCode::Unauthorized);
            end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
            let id = end.fresh_id();
            end.say(on, &say::update(id, of, update_with(draft, &[register(3, "three")])));
            ask(&mut end, "d", &[use_alias(3)]);
            assert_eq!(told(&mut end).1, [value("three")], "{draft:?}");
        }
        ask(&mut end, "e", &[use_alias(2), use_alias(1)]);
        assert_eq!(told(&mut end).1, [value("two"), value("one")], "{draft:?}");
    }
}

// "This allows senders to pipeline messages that refer to previously registered tokens without
// potentially terminating the entire Session." (all drafts) Also where too many are open.
#[test]
fn a_request_beyond_the_limit_registers_all_the_same() {
    for role in ROLES {
        let mut config = Config::default();
        config.limits.auth_token_cache = Some(100);
        config.limits.open_requests = 1;
        let mut end = End::established(Draft::D18, role, config);
        ask(&mut end, "a", &[]);
        let (first, _) = told(&mut end);
        ask(&mut end, "b", &[register(1, "x")]);
        assert!(end.take_events().is_empty(), "refused");
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
        end.with(|engine, now| engine.reject(now, first, refusal)).unwrap();
        ask(&mut end, "c", &[use_alias(1)]);
        assert_eq!(told(&mut end).1, [value("x")]);
    }
}

// "The AUTHORIZATION TOKEN parameter MAY be repeated within a message as long as the combination
// of Token Type and Token Value are unique after resolving any aliases." and "The receiver of a
// message containing a well-formed Token structure but otherwise invalid AUTHORIZATION TOKEN
// parameter MUST reject that message with an MALFORMED_AUTH_TOKEN error." (drafts 16 and 18)
// Draft 14: "The AUTHORIZATION TOKEN parameter MAY be repeated within a message."
#[test]
fn a_token_twice_in_a_request_is_refused_as_malformed() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 100);
        let mut bystander = Bystander::new(&mut end);
        let before = end.engine.usage().requests;
        for tokens in [
            &[value("x"), value("x")][..],
            &[register(1, "y"), value("y")],
            &[value("y"), use_alias(1)],
        ] {
            let (on, _) = ask(&mut end, "t", tokens);
            if draft == Draft::D14 {
                let (request, got) = told(&mut end);
                assert_eq!(got.len(), 2);
                let refusal = Refusal::new(RequestErrorCode::DoesNotExist);
                end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
            } else {
                assert!(end.take_events().is_empty(), "{draft:?}");
                let said = end.said(on);
                assert!(
                    matches!(said.last(), Some(Message::RequestError(error))
                        if error.code == RequestErrorCode::MalformedAuthToken),
                    "{draft:?}: {said:?}"
                );
            }
        }
        // Another type is another token.
        let other = AuthToken::UseValue { token_type: 9, value: Bytes::from_static(b"x") };
        ask(&mut end, "t", &[value("x"), other]);
        assert_eq!(told(&mut end).1.len(), 2);
        assert_eq!(end.engine.usage().requests, before + 1, "{draft:?}");
        bystander.assert_well(&mut end);
    }
}

// "When a REQUEST_UPDATE is unsuccessful, the publisher MUST also terminate the subscription by
// sending a PUBLISH_DONE with error code UPDATE_FAILED." (draft 18, "Updating Subscriptions")
#[test]
fn tokens_of_an_update_count_like_those_of_a_request() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 100);
        let (on, of) = ask(&mut end, "t", &[register(1, "x")]);
        let (request, _) = told(&mut end);
        end.with(|engine, now| engine.accept(now, request, Accept::default())).unwrap();
        let update = |end: &mut End, tokens: &[AuthToken]| {
            let id = end.fresh_id();
            end.say(on, &say::update(id, of, update_with(draft, tokens)));
        };
        update(&mut end, &[use_alias(1), register(2, "y")]);
        let tokens = match end.take_events().pop() {
            Some(Event::Updated { parameters, .. }) => parameters.authorization_tokens,
            other => panic!("{draft:?}: {other:?}"),
        };
        assert_eq!(tokens, [value("x"), value("y")], "{draft:?}");
        if draft != Draft::D14 {
            end.said(on);
            update(&mut end, &[use_alias(1), value("x")]);
            let said = end.said(on);
            assert!(
                matches!(said.first(), Some(Message::RequestError(error))
                    if error.code == RequestErrorCode::MalformedAuthToken),
                "{draft:?}: {said:?}"
            );
            assert_eq!(end.engine.usage().requests, 0, "{draft:?}");
        }
        update(&mut end, &[use_alias(7)]);
        if draft < Draft::D18 {
            assert_closed(&end, UNKNOWN_AUTH_TOKEN_ALIAS, "in an update");
        }
    }
}

// The parameter "MAY appear in a PUBLISH, SUBSCRIBE, REQUEST_UPDATE, SUBSCRIBE_NAMESPACE,
// PUBLISH_NAMESPACE, TRACK_STATUS or FETCH message" (all drafts).
#[test]
fn every_request_can_register() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 1000);
        let parameters = |alias| with_tokens(&[register(alias, "x")]);
        let send = |end: &mut End, make: &dyn Fn(u64) -> Message| {
            let id = end.fresh_id();
            end.request(&make(id));
        };
        send(&mut end, &|request_id| {
            Message::PublishNamespace(PublishNamespace {
                request_id,
                namespace: say::track("t").namespace().clone(),
                parameters: parameters(1),
            })
        });
        send(&mut end, &|request_id| {
            Message::TrackStatus(TrackStatus {
                request_id,
                track: say::track("t"),
                parameters: parameters(2),
            })
        });
        send(&mut end, &|id| match say::publish(id, "p", 1) {
            Message::Publish(publish) => Message::Publish(moqt_engine::model::Publish {
                parameters: parameters(3),
                ..publish
            }),
            other => other,
        });
        send(&mut end, &|request_id| {
            Message::Fetch(Fetch {
                request_id,
                range: FetchRange::Standalone {
                    track: say::track("t"),
                    start: Location::ZERO,
                    end: Location::new(1, 0),
                },
                parameters: parameters(4),
            })
        });
        let id = end.fresh_id();
        let message = Message::SubscribeNamespace(SubscribeNamespace {
            request_id: id,
            prefix: say::track("t").namespace().clone(),
            interest: match draft {
                Draft::D14 => NamespaceInterest::Both,
                _ => NamespaceInterest::Namespaces,
            },
            parameters: parameters(5),
        });
        if draft == Draft::D14 {
            end.say(end.control, &message);
        } else {
            end.open_with(Dir::Bi, say::message(draft, &message));
        }
        let mut registered = 5;
        if draft >= Draft::D18 {
            registered = 6;
            send(&mut end, &|request_id| {
                Message::SubscribeTracks(SubscribeTracks {
                    request_id,
                    prefix: say::track("u").namespace().clone(),
                    parameters: parameters(6),
                })
            });
        }
        let bytes = end.engine.usage().auth_token_bytes;
        assert_eq!(bytes, registered * 17, "{draft:?} {role:?}");
        for alias in 1..=registered {
            ask(&mut end, &format!("t{alias}"), &[use_alias(alias)]);
            assert_eq!(told(&mut end).1, [value("x")], "{draft:?} {role:?}");
        }
    }
}

// "If the Token structure cannot be decoded, the receiver MUST close the Session with
// KEY_VALUE_FORMATTING_ERROR." (all drafts)
#[test]
fn a_token_that_cannot_be_decoded_closes() {
    for (draft, role) in cases() {
        for token in
            [&b""[..], b"\x00", b"\x01\x05", b"\x02", b"\x02\x05\x00", b"\x03", b"\x04\x00"]
        {
            let id = end_id(role);
            let mut bytes = say::message(draft, &say::subscribe(id, "t"));
            let marker = say::message(
                draft,
                &say::subscribe_with(id, "t", with_tokens(&[value("0123456789")])),
            );
            // Put the broken token where the good one (13 bytes: its length, 0x03, 0x00 and
            // the value) is; the message's length (two bytes after the type) changes with it.
            let good =
                marker.windows(13).position(|part| part == b"\x0c\x03\x000123456789").unwrap();
            bytes.clear();
            bytes.extend_from_slice(&marker[..good]);
            bytes.push(u8::try_from(token.len()).unwrap());
            bytes.extend_from_slice(token);
            bytes.extend_from_slice(&marker[good + 13..]);
            let shorter = marker.len() - bytes.len();
            let len = usize::from(u16::from_be_bytes([marker[1], marker[2]])) - shorter;
            bytes[1..3].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            let mut end = keeping(draft, role, 100);
            if draft >= Draft::D18 {
                end.open_with(Dir::Bi, bytes);
            } else {
                end.data(end.control, bytes);
            }
            assert_closed(&end, KEY_VALUE_FORMATTING_ERROR, &format!("{token:x?}"));
        }
    }
}

/// The peer's first Request ID.
fn end_id(role: Role) -> u64 {
    u64::from(role == Role::Client)
}

fn set_up_with(draft: Draft, role: Role, cache: u64, tokens: &[AuthToken]) -> End {
    let mut config = Config::default();
    config.limits.auth_token_cache = Some(cache);
    let mut end = End::new(draft, role, config);
    let mut options = SetupOptions::default();
    options.max_request_id = Some(100);
    options.authorization_tokens = tokens.to_vec();
    end.data(end.control, say::setup(draft, role.peer(), options));
    end
}

#[track_caller]
fn told_in_setup(end: &mut End) -> Vec<AuthToken> {
    match end.take_events().pop() {
        Some(Event::Established { setup }) => setup.options.authorization_tokens,
        other => panic!("{:?}: {other:?}", end.draft()),
    }
}

// "The endpoint can specify one or more tokens in CLIENT_SETUP or SERVER_SETUP that the peer can
// use to authorize MOQT session establishment." (all drafts)
#[test]
fn tokens_in_setup_are_told_and_registered() {
    for (draft, role) in cases() {
        let tokens = [register(1, "registered"), value("used")];
        let mut end = set_up_with(draft, role, 100, &tokens);
        assert_eq!(told_in_setup(&mut end), [value("registered"), value("used")]);
        ask(&mut end, "t", &[use_alias(1)]);
        assert_eq!(told(&mut end).1, [value("registered")], "{draft:?} {role:?}");
    }
}

// "If a server receives an AUTHORIZATION TOKEN parameter in CLIENT_SETUP with Alias Type REGISTER
// that exceeds its MAX_AUTH_TOKEN_CACHE_SIZE, it MUST NOT fail the session with
// AUTH_TOKEN_CACHE_OVERFLOW. Instead, it MUST treat the parameter as Alias Type USE_VALUE."
// (drafts 14 and 16; in draft 18 "If an endpoint receives") A server of drafts 14 and 16 knows the
// client's size when it answers.
#[test]
fn a_registration_in_setup_that_does_not_fit_is_used_once() {
    for (draft, role) in cases() {
        let tokens = [register(1, "a"), register(2, "too large"), register(3, "c")];
        let mut end = set_up_with(draft, role, 2 * 17, &tokens);
        if draft < Draft::D18 && role == Role::Client {
            assert_closed(&end, AUTH_TOKEN_CACHE_OVERFLOW, "the server knew");
            continue;
        }
        assert_eq!(told_in_setup(&mut end), [value("a"), value("too large"), value("c")]);
        assert_eq!(end.engine.usage().auth_token_bytes, 2 * 17);
        ask(&mut end, "s", &[use_alias(3)]);
        assert_eq!(told(&mut end).1, [value("c")], "{draft:?} {role:?}");
        ask(&mut end, "t", &[use_alias(2)]);
        assert_closed(&end, UNKNOWN_AUTH_TOKEN_ALIAS, "it was not registered");
    }
}

// "If a server receives Alias Type DELETE (0x0) or USE_ALIAS (0x2) in a CLIENT_SETUP message, it
// MUST close the session with a PROTOCOL_VIOLATION." (draft 16; draft 18: "in a SETUP message")
// Draft 14 has but the rule for any message. A server's aliases follow that rule on all drafts.
#[test]
fn an_alias_in_setup_that_nothing_registered_closes() {
    for (draft, role) in cases() {
        for token in [delete(1), use_alias(1)] {
            let end = set_up_with(draft, role, 100, &[token]);
            let code = if role == Role::Server && draft != Draft::D14 {
                crate::PROTOCOL_VIOLATION
            } else {
                UNKNOWN_AUTH_TOKEN_ALIAS
            };
            assert_closed(&end, code, "an alias in setup");
        }
    }
}

#[test]
fn a_token_twice_in_setup_closes_as_malformed() {
    for (draft, role) in cases() {
        let end = set_up_with(draft, role, 100, &[register(1, "x"), value("x")]);
        if draft == Draft::D14 {
            assert!(end.engine.is_established());
        } else {
            assert_closed(&end, MALFORMED_AUTH_TOKEN, "twice");
        }
    }
}

// "If a receiver detects that an authorization token has expired, it MUST retain the registered
// Alias until it is deleted by the sender ... Any message that references the token with Alias
// Type USE_ALIAS fails with EXPIRED_AUTH_TOKEN." (all drafts) Applications detect it, and refuse.
#[test]
fn an_expired_token_keeps_its_alias_and_is_refused_each_time() {
    for (draft, role) in cases() {
        let mut end = keeping(draft, role, 100);
        ask(&mut end, "a", &[register(1, "old")]);
        for name in ["b", "c"] {
            let (request, tokens) = told(&mut end);
            assert_eq!(tokens, [value("old")]);
            let refusal = Refusal::new(RequestErrorCode::ExpiredAuthToken);
            end.with(|engine, now| engine.reject(now, request, refusal)).unwrap();
            assert_eq!(end.engine.usage().auth_token_bytes, 19);
            let (on, _) = ask(&mut end, name, &[use_alias(1)]);
            let said = end.said(on);
            assert!(said.iter().all(|message| match message {
                Message::RequestError(error) => error.code == RequestErrorCode::ExpiredAuthToken,
                _ => true,
            }));
        }
    }
}

// Bytes of tokens come in any cutting, or not to the end.
#[test]
fn a_token_that_comes_byte_by_byte_or_not_whole() {
    for draft in DRAFTS {
        let mut end = keeping(draft, Role::Server, 100);
        let tokens = with_tokens(&[register(1, "x"), value("y")]);
        let bytes = say::message(draft, &say::subscribe_with(0, "t", tokens));
        let on = match draft {
            _ if draft >= Draft::D18 => end.open(Dir::Bi),
            _ => end.control,
        };
        for byte in &bytes[..bytes.len() - 1] {
            end.data(on, vec![*byte]);
        }
        assert_eq!(end.engine.usage().auth_token_bytes, 0, "{draft:?}: nothing yet");
        end.data(on, bytes[bytes.len() - 1..].to_vec());
        assert_eq!(told(&mut end).1, [value("x"), value("y")], "{draft:?}");
    }
}
