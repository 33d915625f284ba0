//! What is said to people: drafts, codes and errors in words, and nothing of a peer's unescaped.

use std::error::Error;
use std::fmt::{self, Display, Write};

use moqt_conformance::end::End;
use moqt_conformance::say;
use moqt_engine::draft::{D14, D18};
use moqt_engine::model::{
    FullTrackName, NameError, Parameter, PublishDoneCode, RequestErrorCode, RequestKind,
    SessionError, StreamResetCode,
};
use moqt_engine::wire::{DecodeError, EncodeError, Fault};
use moqt_engine::{
    Blocked, CloseReason, CommandError, Config, Draft, Event, MalformedRule, Role, TokenMisuse,
};

use super::{Message, Parameters, refusal};

#[test]
fn drafts_go_by_their_numbers() {
    assert_eq!(Draft::choice().to_string(), "14, 16 or 18");
    for draft in Draft::ALL {
        let number = draft.number().to_string();
        assert_eq!(number.parse(), Ok(draft));
        assert_eq!(draft.to_string(), format!("draft-{number}"));
    }
    for other in ["15", "", "draft-18", "-14"] {
        let error = other.parse::<Draft>().unwrap_err();
        assert_eq!(error.to_string(), "not a supported draft: use 14, 16 or 18");
    }
}

/// Each says something, and something of its own.
#[track_caller]
fn distinct<T: Display>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    for (at, text) in texts.iter().enumerate() {
        assert!(!text.is_empty() && !texts[..at].contains(text), "{text}");
    }
    texts
}

#[test]
fn refused_commands_say_why() {
    let texts = distinct([
        CommandError::Blocked(Blocked::Setup),
        CommandError::Blocked(Blocked::Requests),
        CommandError::Blocked(Blocked::Streams),
        CommandError::Blocked(Blocked::Updates),
        CommandError::Blocked(Blocked::Queue),
        CommandError::Closed,
        CommandError::Gone,
        CommandError::GoingAway,
        CommandError::WrongState("the subgroup is finished"),
        CommandError::Encode(EncodeError::Missing("Forward")),
        CommandError::Token(TokenMisuse::AliasInUse),
        CommandError::Token(TokenMisuse::UnknownAlias),
        CommandError::Token(TokenMisuse::NotAnswered),
        CommandError::Token(TokenMisuse::StillUsed),
        CommandError::Token(TokenMisuse::CacheFull),
        CommandError::Token(TokenMisuse::Duplicate),
    ]);
    assert!(texts.contains(&"the subgroup is finished".to_owned()), "{texts:?}");
}

#[test]
fn codec_errors_name_the_field() {
    let refused = [
        EncodeError::NotInDraft { what: "SUBSCRIBE_TRACKS", draft: D14.draft },
        EncodeError::Missing("Forward"),
        EncodeError::TooLong("Reason Phrase"),
        EncodeError::OutOfRange("Group ID"),
        EncodeError::PropertyForm(0x3d),
    ];
    let texts = distinct(refused);
    for (text, part) in texts.iter().zip([
        "draft-14 has no SUBSCRIBE_TRACKS",
        "Forward",
        "Reason Phrase",
        "Group ID",
        "property 0x3d",
    ]) {
        assert!(text.contains(part), "{text}");
    }
    let faults = [
        Fault::Truncated,
        Fault::Trailing,
        Fault::TooLong { max: 8192 },
        Fault::OutOfRange(9),
        Fault::UnknownType(9),
        Fault::NotAllowed,
        Fault::Duplicate,
        Fault::Overflow,
        Fault::NoPrior,
        Fault::Formatting,
        Fault::Name(NameError::EmptyField),
    ];
    let texts = distinct(faults.map(|fault| DecodeError { fault, field: "Group ID", offset: 17 }));
    for text in texts {
        assert!(text.contains("Group ID") && text.ends_with("(byte 17)"), "{text}");
    }
}

#[test]
fn names_say_what_is_wrong_with_them() {
    for (name, part) in [("a", "`--`"), ("A!--t", "stand for themselves")] {
        let error = name.parse::<FullTrackName>().unwrap_err();
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
}

#[test]
fn rules_of_a_track_are_told_apart() {
    distinct([
        MalformedRule::OutOfRange,
        MalformedRule::ObjectOrder,
        MalformedRule::GroupOrder,
        MalformedRule::SubgroupPriority,
        MalformedRule::AfterSubgroupEnd,
        MalformedRule::SubgroupEndsDiffer,
        MalformedRule::AfterGroupEnd,
        MalformedRule::AfterTrackEnd,
        MalformedRule::ObjectsDiffer,
        MalformedRule::ForwardingPreference,
        MalformedRule::UnparsableProperties,
        MalformedRule::RepeatedProperty,
        MalformedRule::NestedImmutable,
        MalformedRule::MandatoryProperty,
        MalformedRule::GapBeforeZero,
        MalformedRule::GroupGapsDiffer,
        MalformedRule::GapCoversObject,
        MalformedRule::InGap,
    ]);
}

/// The names that the drafts give them, and where there is none the code.
#[test]
fn codes_go_by_their_names() {
    assert_eq!(RequestErrorCode::DoesNotExist.to_string(), "DOES_NOT_EXIST");
    assert_eq!(StreamResetCode::DeliveryTimeout.to_string(), "DELIVERY_TIMEOUT");
    assert_eq!(PublishDoneCode::TrackEnded.to_string(), "TRACK_ENDED");
    assert_eq!(SessionError::ProtocolViolation.to_string(), "PROTOCOL_VIOLATION");
    assert_eq!(RequestErrorCode::Other(0x77).to_string(), "code 0x77");
    let parameters = [
        (Parameter::AuthorizationToken, "AUTHORIZATION_TOKEN"),
        (Parameter::ObjectDeliveryTimeout, "OBJECT_DELIVERY_TIMEOUT"),
        (Parameter::SubgroupDeliveryTimeout, "SUBGROUP_DELIVERY_TIMEOUT"),
        (Parameter::RendezvousTimeout, "RENDEZVOUS_TIMEOUT"),
        (Parameter::FillTimeout, "FILL_TIMEOUT"),
        (Parameter::Expires, "EXPIRES"),
        (Parameter::LargestObject, "LARGEST_OBJECT"),
        (Parameter::Forward, "FORWARD"),
        (Parameter::SubscriberPriority, "SUBSCRIBER_PRIORITY"),
        (Parameter::SubscriptionFilter, "SUBSCRIPTION_FILTER"),
        (Parameter::GroupOrder, "GROUP_ORDER"),
        (Parameter::NewGroupRequest, "NEW_GROUP_REQUEST"),
        (Parameter::TrackNamespacePrefix, "TRACK_NAMESPACE_PREFIX"),
    ];
    for (parameter, name) in parameters {
        assert_eq!(parameter.to_string(), name);
    }
}

/// A peer's words may hold anything, such as what moves a terminal's cursor.
#[test]
fn words_of_the_peer_are_escaped() {
    let rude = "\u{1b}[2J\n".to_owned();
    for (reason, text) in [("", "UNAUTHORIZED"), (&rude, "UNAUTHORIZED: \\u{1b}[2J\\n")] {
        let mut end = End::established(Draft::D18, Role::Client, Config::default());
        let id = end.next_own_id();
        end.with(|engine, now| engine.subscribe(now, &say::track("t"), &Parameters::default()))
            .unwrap();
        let answers = Some(RequestKind::Subscribe);
        let refusal = refusal(Some(id), answers, RequestErrorCode::Unauthorized, reason);
        let on = end.own_request();
        end.say(on, &Message::RequestError(refusal));
        let events = end.take_events();
        let [Event::Rejected { error, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(error.to_string(), text);
        assert_fails_without_room(error);
    }

    let error = SessionError::ProtocolViolation;
    let peer = CloseReason::Peer { error, code: 3, reason: rude };
    assert_eq!(peer.to_string(), "closed by the peer with PROTOCOL_VIOLATION: \\u{1b}[2J\\n");
    let local = CloseReason::Local { error: SessionError::NoError, reason: String::new() };
    assert_eq!(local.to_string(), "closed here");
    let lost = CloseReason::Transport { reason: "timed out".to_owned() };
    assert_eq!(lost.to_string(), "connection lost: timed out");
    for reason in [&peer, &local, &lost] {
        assert_fails_without_room(reason);
    }
    assert!(local.is_clean() && !peer.is_clean() && !lost.is_clean());
    let _: [&dyn Error; 2] = [&local, &lost];
    assert!(D18.draft > D14.draft);
}

#[test]
fn what_there_is_no_room_for_is_an_error() {
    assert_fails_without_room(&Draft::choice());
    let name: FullTrackName = "a-b.2ec--t.00".parse().unwrap();
    assert_fails_without_room(name.namespace());
    assert_fails_without_room(&name);
    let error = DecodeError { fault: Fault::Truncated, field: "Group ID", offset: 17 };
    assert_fails_without_room(&error);
    assert_fails_without_room(&EncodeError::Missing("Group ID"));
}

/// As much is written as there is room for, and it fails if that is not all.
#[track_caller]
fn assert_fails_without_room(words: &impl Display) {
    let all = words.to_string();
    for room in 0..=all.len() {
        let mut into = Narrow { text: String::new(), room };
        assert_eq!(write!(into, "{words}").is_ok(), room == all.len(), "{all}");
        assert!(all.starts_with(&into.text), "{} of {all}", into.text);
    }
}

/// Takes whole pieces up to so many bytes.
struct Narrow {
    text: String,
    room: usize,
}

impl Write for Narrow {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > self.room {
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}
