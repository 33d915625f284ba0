//! Authorization tokens that the application registers with the peer: what the peer would close
//! the session for is refused here, and nothing of it is sent ("AUTHORIZATION TOKEN Parameter",
//! all drafts).

use moqt_conformance::end::{End, Name};
use moqt_conformance::tokens::{delete, register, use_alias, value, with_tokens};
use moqt_conformance::{DRAFTS, ROLES, cases, say};
use moqt_engine::model::{
    AuthToken, Message, RequestErrorCode, RequestKind, SetupOptions, StreamResetCode,
};
use moqt_engine::{CloseReason, CommandError, Config, Draft, Event, RequestKey, Role, TokenMisuse};

/// A session whose connection sends these tokens in SETUP, to a peer that keeps this much.
fn registering(draft: Draft, role: Role, tokens: &[AuthToken], max_size: Option<u64>) -> End {
    let mut config = Config::default();
    config.authorization_tokens = tokens.to_vec();
    let mut end = End::new(draft, role, config);
    let mut options = SetupOptions::default();
    options.max_request_id = Some(10_000);
    options.max_auth_token_cache_size = max_size;
    end.data(end.control, say::setup(draft, role.peer(), options));
    end
}

fn session(draft: Draft, role: Role, max_size: u64) -> End {
    let mut end = registering(draft, role, &[], Some(max_size));
    assert!(matches!(end.take_events()[..], [Event::Established { .. }]));
    end.said(end.control);
    end
}

/// A request of the connection's on its way.
#[derive(Clone, Copy)]
struct Asked {
    key: RequestKey,
    id: u64,
    on: Name,
}

/// The connection subscribes with these tokens.
fn ask(end: &mut End, name: &str, tokens: &[AuthToken]) -> Result<Asked, CommandError> {
    let id = end.next_own_id();
    let (track, parameters) = (say::track(name), with_tokens(tokens));
    let outputs = end.outputs.len();
    match end.with(|engine, now| engine.subscribe(now, &track, &parameters)) {
        Ok(key) => Ok(Asked { key, id, on: end.own_request() }),
        Err(error) => {
            assert_eq!(end.outputs.len(), outputs, "nothing was sent");
            Err(error)
        }
    }
}

#[track_caller]
fn assert_refused(end: &mut End, tokens: &[AuthToken], misuse: TokenMisuse) {
    let at = format!("{:?} {:?}", end.draft(), end.engine.role());
    let before = end.engine.usage();
    match ask(end, "refused", tokens) {
        Err(CommandError::Token(error)) => assert_eq!(error, misuse, "{at}"),
        Err(error) => panic!("{at}: {error}"),
        Ok(_) => panic!("{at}: {tokens:?} were sent"),
    }
    assert_eq!(end.engine.usage(), before, "{at}");
}

fn answer(end: &mut End, asked: Asked) {
    let code = RequestErrorCode::Unauthorized;
    end.say(asked.on, &say::error(asked.id, RequestKind::Subscribe, code));
    assert!(
        matches!(end.take_events()[..], [Event::Rejected { request, .. }] if request == asked.key)
    );
}

/// The tokens as they were sent in the last message.
fn sent(end: &mut End, asked: Asked) -> Vec<AuthToken> {
    match end.said(asked.on).pop() {
        Some(Message::Subscribe(subscribe)) => subscribe.parameters.authorization_tokens,
        other => panic!("{other:?}"),
    }
}

#[test]
fn aliases_travel_as_the_application_gave_them() {
    for (draft, role) in cases() {
        let mut end = session(draft, role, 100);
        let a = ask(&mut end, "a", &[register(1, "x"), value("y")]).unwrap();
        assert_eq!(sent(&mut end, a), [register(1, "x"), value("y")], "{draft:?}");
        // Refused or not, the answer says that it is registered.
        answer(&mut end, a);
        let b = ask(&mut end, "b", &[use_alias(1)]).unwrap();
        assert_eq!(sent(&mut end, b), [use_alias(1)], "{draft:?}");
        answer(&mut end, b);
        let c = ask(&mut end, "c", &[delete(1)]).unwrap();
        assert_eq!(sent(&mut end, c), [delete(1)], "{draft:?}");
        answer(&mut end, c);
        ask(&mut end, "d", &[register(1, "z")]).unwrap();
        assert_eq!(end.closed(), None);
    }
}

// "Once a Token Alias has been registered, it cannot be re-registered by the same endpoint in the
// Session without first being deleted." (all drafts)
#[test]
fn an_alias_in_use_is_not_registered_again() {
    for (draft, role) in cases() {
        let mut end = session(draft, role, 100);
        let a = ask(&mut end, "a", &[register(1, "x")]).unwrap();
        assert_refused(&mut end, &[register(1, "y")], TokenMisuse::AliasInUse);
        answer(&mut end, a);
        assert_refused(&mut end, &[register(1, "y")], TokenMisuse::AliasInUse);
        assert_refused(&mut end, &[register(2, "y"), register(2, "z")], TokenMisuse::AliasInUse);
        // What was refused has changed nothing.
        ask(&mut end, "b", &[register(2, "y"), delete(1)]).unwrap();
    }
}

#[test]
fn an_alias_that_is_not_registered_is_not_sent() {
    for (draft, role) in cases() {
        let mut end = session(draft, role, 100);
        assert_refused(&mut end, &[use_alias(1)], TokenMisuse::UnknownAlias);
        assert_refused(&mut end, &[delete(1)], TokenMisuse::UnknownAlias);
        let a = ask(&mut end, "a", &[register(1, "x")]).unwrap();
        answer(&mut end, a);
        assert_refused(&mut end, &[delete(1), use_alias(1)], TokenMisuse::UnknownAlias);
        ask(&mut end, "b", &[delete(1)]).unwrap();
        assert_refused(&mut end, &[use_alias(1)], TokenMisuse::UnknownAlias);
    }
}

// "MAX_AUTH_TOKEN_CACHE_SIZE ... communicates the maximum size in bytes of all actively
// registered Authorization tokens that the endpoint is willing to store per Session. ... The
// default value is 0 which prohibits the use of token Aliases. ... The token size is calculated as
// 16 bytes + the size of the Token Value field" (all drafts)
#[test]
fn no_more_is_registered_than_the_peer_keeps() {
    for (draft, role) in cases() {
        let mut end = session(draft, role, 2 * 16 + 3);
        let tokens = [register(1, "abcd"), register(2, "")];
        assert_refused(&mut end, &tokens, TokenMisuse::CacheFull);
        let a = ask(&mut end, "a", &[register(1, "abc"), register(2, "")]).unwrap();
        assert_refused(&mut end, &[register(3, "")], TokenMisuse::CacheFull);
        answer(&mut end, a);
        ask(&mut end, "b", &[delete(1), register(3, "abc")]).unwrap();
        assert_refused(&mut end, &[register(4, "")], TokenMisuse::CacheFull);
        // Values need no room.
        ask(&mut end, "c", &[value("a value that is longer than all of the cache")]).unwrap();

        let mut end = registering(draft, role, &[], None);
        assert_refused(&mut end, &[register(1, "")], TokenMisuse::CacheFull);
    }
}

// "The AUTHORIZATION TOKEN parameter MAY be repeated within a message as long as the combination
// of Token Type and Token Value are unique after resolving any aliases." (drafts 16 and 18)
#[test]
fn no_token_is_sent_twice_in_a_message() {
    for (draft, role) in cases() {
        let mut end = session(draft, role, 100);
        for tokens in [
            &[value("x"), value("x")][..],
            &[register(1, "x"), value("x")],
            &[use_alias(2), value("y")],
        ] {
            let a = ask(&mut end, "a", &[register(2, "y")]).unwrap();
            answer(&mut end, a);
            if draft == Draft::D14 {
                let b = ask(&mut end, "b", tokens).unwrap();
                answer(&mut end, b);
            } else {
                assert_refused(&mut end, tokens, TokenMisuse::Duplicate);
            }
            end = session(draft, role, 100);
        }
    }
}

// "Senders MUST NOT send USE_ALIAS on one control stream for an alias registered on a different
// stream until the sender has received a response to the message containing the REGISTER."
// (draft 18) On drafts 14 and 16 these messages share a stream: "This allows senders to pipeline
// messages that refer to previously registered tokens".
#[test]
fn an_alias_waits_for_an_answer_before_another_stream_uses_it() {
    for (draft, role) in cases() {
        let mut end = session(draft, role, 100);
        let a = ask(&mut end, "a", &[register(1, "x")]).unwrap();
        if draft >= Draft::D18 {
            assert_refused(&mut end, &[use_alias(1)], TokenMisuse::NotAnswered);
            assert_refused(&mut end, &[delete(1)], TokenMisuse::NotAnswered);
            answer(&mut end, a);
        }
        ask(&mut end, "b", &[use_alias(1)]).unwrap();
    }
}

// "Senders MUST NOT send DELETE for an alias while any message using USE_ALIAS with that alias has
// not received a response." (draft 18)
#[test]
fn an_alias_is_not_deleted_while_its_use_is_unanswered() {
    for role in ROLES {
        let mut end = session(Draft::D18, role, 100);
        let a = ask(&mut end, "a", &[register(1, "x")]).unwrap();
        answer(&mut end, a);
        let b = ask(&mut end, "b", &[use_alias(1)]).unwrap();
        let c = ask(&mut end, "c", &[use_alias(1)]).unwrap();
        assert_refused(&mut end, &[delete(1)], TokenMisuse::StillUsed);
        answer(&mut end, c);
        assert_refused(&mut end, &[delete(1)], TokenMisuse::StillUsed);
        answer(&mut end, b);
        let d = ask(&mut end, "d", &[delete(1)]).unwrap();
        // A registration on another stream could overtake the deletion.
        assert_refused(&mut end, &[register(1, "y")], TokenMisuse::AliasInUse);
        answer(&mut end, d);
        ask(&mut end, "e", &[register(1, "y")]).unwrap();
    }
}

// What was withdrawn before it was answered may or may not have been seen.
#[test]
fn what_was_never_answered_stays_uncertain() {
    for role in ROLES {
        let mut end = session(Draft::D18, role, 100);
        let a = ask(&mut end, "a", &[register(1, "x")]).unwrap();
        end.with(|engine, now| engine.cancel(now, a.key, StreamResetCode::Cancelled)).unwrap();
        assert_refused(&mut end, &[use_alias(1)], TokenMisuse::NotAnswered);
        assert_refused(&mut end, &[register(1, "x")], TokenMisuse::AliasInUse);
        let b = ask(&mut end, "b", &[register(2, "y")]).unwrap();
        answer(&mut end, b);
        let c = ask(&mut end, "c", &[use_alias(2)]).unwrap();
        end.with(|engine, now| engine.cancel(now, c.key, StreamResetCode::Cancelled)).unwrap();
        assert_refused(&mut end, &[delete(2)], TokenMisuse::StillUsed);
        ask(&mut end, "d", &[use_alias(2)]).unwrap();
    }
}

// "A client MUST handle registration failures of this kind by purging any Token Aliases that
// failed to register based on the MAX_AUTH_TOKEN_CACHE_SIZE parameter in SERVER_SETUP (or the
// default value of 0)." (drafts 14 and 16; in draft 18 any sender)
#[test]
fn aliases_of_setup_that_the_peer_had_no_room_for_are_purged() {
    let tokens = [register(1, "a"), register(2, "much too large"), register(3, "c"), value("d")];
    for (draft, role) in cases() {
        for (max_size, kept) in [(Some(34), &[1, 3][..]), (None, &[]), (Some(1000), &[1, 2, 3])] {
            let mut end = registering(draft, role, &tokens, max_size);
            let Some(Message::Setup(setup)) = end.said(end.control).into_iter().next() else {
                panic!("{draft:?} {role:?}")
            };
            let said = setup.options.authorization_tokens;
            if draft < Draft::D18 && role == Role::Server {
                // It knew the size, and must not exceed it.
                let registered: Vec<u64> = said
                    .iter()
                    .filter_map(|token| match token {
                        AuthToken::Register { alias, .. } => Some(*alias),
                        _ => None,
                    })
                    .collect();
                assert_eq!(registered, kept, "{draft:?}");
                let values: Vec<_> = said.iter().map(AuthToken::value).collect();
                let given: Vec<_> = tokens.iter().map(AuthToken::value).collect();
                assert_eq!(values, given, "{draft:?}");
            } else {
                assert_eq!(said, tokens, "{draft:?} {role:?}");
            }
            for alias in [1, 2, 3] {
                if kept.contains(&alias) {
                    let name = format!("t{alias}");
                    ask(&mut end, &name, &[use_alias(alias)]).unwrap();
                } else {
                    assert_refused(&mut end, &[use_alias(alias)], TokenMisuse::UnknownAlias);
                }
            }
        }
    }
}

// "If a server receives Alias Type DELETE (0x0) or USE_ALIAS (0x2) in a CLIENT_SETUP message, it
// MUST close the session" (drafts 16 and 18); on draft 14 no alias is registered yet.
#[test]
fn setup_is_not_sent_with_aliases_it_cannot_have() {
    for draft in DRAFTS {
        for tokens in [
            &[use_alias(1)][..],
            &[delete(1)],
            &[register(1, "x"), use_alias(1)],
            &[register(1, "x"), register(1, "y")],
        ] {
            let mut config = Config::default();
            config.authorization_tokens = tokens.to_vec();
            let end = End::new(draft, Role::Client, config);
            assert!(
                matches!(&end.events[..], [Event::Closed { reason: CloseReason::Local { reason, .. } }]
                    if reason.contains("cannot send SETUP")),
                "{draft:?} {tokens:?}: {:?}",
                end.events
            );
        }
    }
}

// The tokens of a message take effect in their order: what one registers, deletes and registers again
// is registered.
#[test]
fn an_alias_may_be_registered_anew_in_the_message_that_deletes_it() {
    for (draft, role) in cases() {
        let at = format!("{draft:?} {role:?}");
        let mut end = session(draft, role, 1_000);
        let tokens = [register(1, "a"), delete(1), register(1, "b")];
        let asked = ask(&mut end, "t", &tokens).unwrap();
        assert_eq!(sent(&mut end, asked), tokens, "{at}");
        assert_refused(&mut end, &[register(1, "c")], TokenMisuse::AliasInUse);
        answer(&mut end, asked);
        assert_refused(&mut end, &[register(1, "c")], TokenMisuse::AliasInUse);
        let again = ask(&mut end, "t", &[use_alias(1)]).unwrap();
        assert_eq!(sent(&mut end, again), [use_alias(1)], "{at}");
        answer(&mut end, again);
        let last = ask(&mut end, "t", &[delete(1)]).unwrap();
        answer(&mut end, last);
        assert_refused(&mut end, &[use_alias(1)], TokenMisuse::UnknownAlias);
    }
}
