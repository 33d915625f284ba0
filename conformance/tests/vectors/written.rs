//! What cannot be written on a draft is refused, and leaves no bytes behind.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use moqt_engine::model::{
    AuthToken, Draft, FullTrackName, Goaway, Location, Message, Namespace, NamespaceInterest,
    Property, PropertyValue, PublishDone, PublishDoneCode, PublishNamespace, PublishNamespaceDone,
    Redirect, RequestErrorCode, RequestKind, RequestOk, RequestUpdate, Setup, Subscribe,
    SubscribeNamespace, SubscribeOk, SubscribeTracks, SubscriptionFilter as Filter, TrackNamespace,
    Unsubscribe,
};
use moqt_engine::wire::{ControlReader, Dialect, EncodeError, Properties, encode_message};

use super::{
    Bytes, D14, D16, D18, Parameters, TrackProperties, hex, parameters, properties, refusal, text,
    track,
};

pub(super) fn write(dialect: &Dialect, message: &Message) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = b"before".to_vec();
    let result = encode_message(dialect, message, &mut bytes);
    if result.is_err() {
        assert_eq!(bytes, b"before", "something is left of {message:?}");
    }
    result.map(|()| bytes.split_off(6))
}

fn subscribe(parameters: Parameters) -> Message {
    Message::Subscribe(Subscribe { request_id: 0, track: track("n--t"), parameters })
}

fn subscribe_ok(list: &[Property]) -> Message {
    Message::SubscribeOk(SubscribeOk {
        request_id: Some(0),
        track_alias: 9,
        parameters: Parameters::default(),
        track_properties: properties(list),
    })
}

#[test]
fn messages_of_other_drafts() {
    let not_there = |dialect: &Dialect, message: &Message, what| {
        let refused = EncodeError::NotInDraft { what, draft: dialect.draft };
        assert_eq!(write(dialect, message), Err(refused));
    };
    let unsubscribe = Message::Unsubscribe(Unsubscribe { request_id: 0 });
    assert!(write(&D14, &unsubscribe).is_ok());
    assert!(write(&D16, &unsubscribe).is_ok());
    not_there(&D18, &unsubscribe, "UNSUBSCRIBE");
    let found = Message::Namespace(Namespace { suffix: TrackNamespace::root() });
    not_there(&D14, &found, "NAMESPACE");
    // Draft 14 answers an update with nothing, so there is no message for it.
    let ok = |answers| {
        Message::RequestOk(RequestOk { request_id: Some(0), answers, ..RequestOk::default() })
    };
    assert!(write(&D14, &ok(Some(RequestKind::Update))).is_err());
    assert!(write(&D14, &ok(None)).is_err());
    assert!(write(&D16, &ok(None)).is_ok());
    // Draft 14 asks for tracks and namespaces at once, draft 18 in a message each.
    let interested = |interest| {
        let prefix = "a".parse().unwrap();
        let parameters = Parameters::default();
        let request_id = 0;
        Message::SubscribeNamespace(SubscribeNamespace { request_id, prefix, interest, parameters })
    };
    not_there(&D14, &interested(NamespaceInterest::Tracks), "Subscribe Options");
    not_there(&D18, &interested(NamespaceInterest::Both), "Subscribe Options");
    // Namespaces are withdrawn by name or by request.
    let by_id = Message::PublishNamespaceDone(PublishNamespaceDone::RequestId(0));
    assert_eq!(write(&D14, &by_id), Err(EncodeError::Missing("Track Namespace")));
}

#[test]
fn fields_that_a_draft_needs() {
    let done = |request_id| {
        Message::PublishDone(PublishDone {
            request_id,
            code: PublishDoneCode::TrackEnded,
            stream_count: 0,
            reason: String::new(),
        })
    };
    assert_eq!(write(&D14, &done(None)), Err(EncodeError::Missing("Request ID")));
    assert_eq!(write(&D16, &done(None)), Err(EncodeError::Missing("Request ID")));
    assert_eq!(write(&D18, &done(Some(5))).unwrap(), hex("0b 0003 02 00 00"));
    let update = |existing_request_id, parameters| {
        Message::RequestUpdate(RequestUpdate { request_id: 2, existing_request_id, parameters })
    };
    let missing = Err(EncodeError::Missing("Existing Request ID"));
    assert_eq!(write(&D16, &update(None, Parameters::default())), missing);
    // Draft 14's update states everything, so that nothing can be left unchanged.
    let all = parameters(|p| {
        p.subscription_filter = Some(Filter::AbsoluteStart { start: Location::ZERO });
        p.subscriber_priority = Some(1);
        p.forward = Some(true);
    });
    assert!(write(&D14, &update(Some(0), all.clone())).is_ok());
    let without = |take: fn(&mut Parameters)| {
        let mut some = all.clone();
        take(&mut some);
        write(&D14, &update(Some(0), some))
    };
    let missing = |field| Err(EncodeError::Missing(field));
    assert_eq!(without(|p| p.subscription_filter = None), missing("Start Location"));
    assert_eq!(without(|p| p.subscriber_priority = None), missing("Subscriber Priority"));
    assert_eq!(without(|p| p.forward = None), missing("Forward"));
    assert!(without(|p| p.subscription_filter = Some(Filter::LargestObject)).is_err());
    let redirect = Message::RequestError(refusal(None, None, RequestErrorCode::Redirect, ""));
    assert_eq!(write(&D18, &redirect), missing("Redirect"));
    let server = D14.encode_server_setup(&Setup::default(), &mut Vec::new());
    assert_eq!(server, Err(EncodeError::Missing("Selected Version")));
}

/// Options and parameters that a draft does not have, or not in this message, are left out: the
/// same request can be sent on any draft.
#[test]
fn what_a_draft_does_not_have() {
    let credit = super::setup(&[], |options| options.max_request_id = Some(5));
    assert_eq!(write(&D18, &credit).unwrap(), hex("af00 0000"));
    assert_eq!(write(&D16, &credit).unwrap(), hex("20 0003 01 02 05"));
    let timeouts = subscribe(parameters(|p| {
        p.rendezvous_timeout = Some(1);
        p.subgroup_delivery_timeout = Some(2);
        // For a FETCH, an answer and a REQUEST_UPDATE.
        p.fill_timeout = Some(3);
        p.expires = Some(4);
        p.track_namespace_prefix = Some("a".parse().unwrap());
    }));
    assert_eq!(write(&D16, &timeouts).unwrap(), hex("03 0007 00 01 01 'n' 01 't' 00"));
    let written = hex("03 000b 00 01 01 'n' 01 't' 02 04 01 02 02");
    assert_eq!(write(&D18, &timeouts).unwrap(), written);
}

/// Fixed fields of draft 14 that are absent get the defaults of later drafts.
#[test]
fn defaults_of_draft_14() {
    // Priority 128, the publisher's order, forward, everything from {0, 0}.
    let bytes = write(&D14, &subscribe(Parameters::default())).unwrap();
    assert_eq!(bytes, hex("03 000d 00 01 01 'n' 01 't' 80 00 01 03 00 00 00"));
    let bytes = write(&D14, &subscribe_ok(&[Property::int(0x22, 2)])).unwrap();
    assert_eq!(bytes, hex("04 0006 00 09 00 02 00 00"), "the order of the track's property");
}

#[test]
fn values_out_of_range() {
    let backwards = Filter::AbsoluteRange { start: Location::new(5, 0), end_group: 4 };
    for draft in Draft::ALL {
        let dialect = draft.dialect();
        let message = subscribe(parameters(|p| p.subscription_filter = Some(backwards)));
        assert!(write(dialect, &message).is_err(), "{draft}");
        let large = subscribe(parameters(|p| p.object_delivery_timeout = Some(1 << 62)));
        assert_eq!(write(dialect, &large).is_ok(), draft >= Draft::D18);
        let zero = subscribe(parameters(|p| p.object_delivery_timeout = Some(0)));
        assert_eq!(write(dialect, &zero).is_ok(), draft != Draft::D16);
        let uri = |len| {
            let new_session_uri = Bytes::from(vec![b'u'; len]);
            write(dialect, &Message::Goaway(Goaway { new_session_uri, ..Goaway::default() }))
        };
        assert!(uri(8192).is_ok());
        assert_eq!(uri(8193), Err(EncodeError::TooLong("New Session URI")));
        let nowhere = Message::PublishNamespace(PublishNamespace {
            request_id: 0,
            namespace: TrackNamespace::root(),
            parameters: Parameters::default(),
        });
        assert_eq!(write(dialect, &nowhere).is_ok(), draft >= Draft::D18);
    }
}

/// A reserved option comes last, where differences can only rise, and has to fit like any other.
#[test]
fn reserved_options_come_after_the_others() {
    let with = |reserved| {
        super::setup(&[], |options| {
            options.max_auth_token_cache_size = Some(5);
            options.reserved = Some(reserved);
        })
    };
    let refused = |what| Err(EncodeError::OutOfRange(what));
    for reserved in [0x2, 0x3] {
        assert!(write(&D14, &with(reserved)).is_ok(), "types stand for themselves");
        for dialect in [&D16, &D18] {
            assert_eq!(write(dialect, &with(reserved)), refused("Setup Option"));
        }
    }
    for reserved in [1 << 62, (1 << 62) + 1] {
        assert_eq!(write(&D14, &with(reserved)), refused("Setup Option"));
        assert!(write(&D18, &with(reserved)).is_ok());
    }
    assert_eq!(write(&D18, &with(0x9e)).unwrap(), hex("af00 0005 04 05 809a 00"));
}

/// A reason is for people: what is too long is cut, between characters.
#[test]
fn reasons_are_cut() {
    let reason = format!("{}é", "r".repeat(1023));
    let message = Message::RequestError(refusal(None, None, RequestErrorCode::Timeout, &reason));
    let expected = [hex("05 0403 02 00 83ff"), vec![b'r'; 1023]].concat();
    let mut bytes = write(&D18, &message).unwrap();
    assert_eq!(bytes.split_off(7), expected[7..]);
    assert_eq!(bytes, hex("05 0403 02 00 83ff"));
}

/// "Each Track Namespace Field Value MUST contain at least one byte." (drafts 16 and 18). Draft 14
/// has no such rule, so a namespace may come from there that cannot go on.
#[test]
fn empty_namespace_fields_are_draft_14s_alone() {
    let mut reader = ControlReader::new(&D14);
    reader.push(hex("06 0004 00 01 00 00").into());
    let message = reader.next_message().unwrap().unwrap();
    assert_eq!(write(&D14, &message).unwrap(), hex("06 0004 00 01 00 00"));
    let refused = Err(EncodeError::OutOfRange("Track Namespace"));
    for dialect in [&D16, &D18] {
        assert_eq!(write(dialect, &message), refused, "{}", dialect.draft);
    }
    // The same where a namespace stands in draft 18's own messages.
    let Message::PublishNamespace(PublishNamespace { namespace, .. }) = message else { panic!() };
    let tracks = Message::SubscribeTracks(SubscribeTracks {
        request_id: 0,
        prefix: namespace.clone(),
        parameters: Parameters::default(),
    });
    assert_eq!(write(&D18, &tracks), refused);
    let mut elsewhere = refusal(None, None, RequestErrorCode::Redirect, "");
    elsewhere.redirect = Some(Redirect {
        connect_uri: text("moqt://other"),
        track: FullTrackName::new(namespace, "t").unwrap(),
    });
    assert_eq!(write(&D18, &Message::RequestError(elsewhere)), refused);
}

#[test]
fn messages_longer_than_their_length_field() {
    let long = Property::bytes(0x9d, vec![0; 60_000].into());
    assert!(write(&D18, &subscribe_ok(std::slice::from_ref(&long))).is_ok());
    let too_long = Err(EncodeError::TooLong("SUBSCRIBE_OK"));
    assert_eq!(write(&D18, &subscribe_ok(&[long.clone(), long])), too_long);
    let value = Property::bytes(0x9d, vec![0; 65_536].into());
    assert_eq!(write(&D18, &subscribe_ok(&[value])), Err(EncodeError::TooLong("Properties")));
}

#[test]
fn track_properties_that_close_the_peers_session() {
    for dialect in [&D16, &D18] {
        for (key, value) in [(0x0e, 256), (0x22, 0), (0x22, 3), (0x30, 2)] {
            let message = subscribe_ok(&[Property::int(key, value)]);
            let refused = Err(EncodeError::OutOfRange("Track Properties"));
            assert_eq!(write(dialect, &message), refused, "0x{key:x}");
        }
        let odd = Property { key: 0x9d, value: PropertyValue::Int(5) };
        assert_eq!(write(dialect, &subscribe_ok(&[odd])), Err(EncodeError::PropertyForm(0x9d)));
        let even = Property { key: 0x9c, value: PropertyValue::Bytes(text("x")) };
        assert_eq!(write(dialect, &subscribe_ok(&[even])), Err(EncodeError::PropertyForm(0x9c)));
    }
    // Draft 18's timeout of 0, none, has no form in draft 16 but its absence.
    let none = subscribe_ok(&[Property::int(0x02, 0), Property::int(0x04, 5)]);
    assert_eq!(write(&D16, &none).unwrap(), hex("04 0005 00 09 00 04 05"));
    assert_eq!(write(&D18, &none).unwrap(), hex("04 0006 09 00 02 00 02 05"));
}

/// The same properties in the form of each draft.
#[test]
fn properties_change_their_form_between_drafts() {
    // Absolute types in any order; an object's own order is kept among equal ones.
    let block = "3e 01 3c 02 3d 01 'b' 3d 01 'a'";
    let block_14 = Properties::from_wire(&D14, hex(block).into());
    let block_16 = hex("3c 02 01 01 'b' 00 01 'a' 01 01");
    for dialect in [&D16, &D18] {
        let converted = block_14.to_dialect(dialect).unwrap();
        assert_eq!(converted.as_bytes(), &block_16);
        assert_eq!(converted.int(0x3e), Some(1));
    }
    assert_eq!(block_14.to_dialect(&D14).unwrap().as_bytes(), &hex(block));
    // 100 takes two bytes before draft 18, and one there.
    let block_18 = Properties::from_wire(&D18, hex("3c 64").into());
    assert_eq!(block_18.to_dialect(&D14).unwrap().as_bytes(), &hex("3c 4064"));
    assert_eq!(block_18, Properties::from_wire(&D16, hex("3c 4064").into()));
    // What 62 bits do not hold, or what is no list of properties, is refused.
    let large = Properties::from_wire(&D18, hex("3c ffffffffffffffffff").into());
    assert!(large.to_dialect(&D16).is_err());
    let broken = Properties::from_wire(&D18, hex("3c 01 05").into());
    assert!(broken.to_dialect(&D14).is_err());
    let read: Vec<_> = broken.iter().collect();
    assert_eq!(read.len(), 2);
    assert!(read[0].is_ok() && read[1].is_err());
    assert_eq!(Properties::EMPTY.to_dialect(&D14).unwrap().as_bytes().len(), 0);
    assert_eq!(TrackProperties::new().with_int(0x02, 5).object_delivery_timeout(), Some(5));
}

/// Properties are the same if they say the same, and then hash to the same; what cannot be read is
/// only what it is.
#[test]
fn properties_are_told_apart_by_what_they_say() {
    let of = |dialect, block: &str| Properties::from_wire(dialect, hex(block).into());
    let hash =
        |properties: &Properties| BuildHasherDefault::<DefaultHasher>::new().hash_one(properties);
    let some = of(&D18, "3c 05");
    assert_ne!(some, Properties::EMPTY);
    assert_ne!(Properties::EMPTY, some);
    assert_eq!(of(&D18, ""), Properties::EMPTY);
    assert_ne!(hash(&some), hash(&Properties::EMPTY));
    assert_eq!((&some, hash(&some)), (&of(&D14, "3c 05"), hash(&of(&D14, "3c 05"))));
    // The length of the second goes past the end.
    let broken = of(&D18, "3c 05 01 09");
    assert_eq!((&broken, hash(&broken)), (&broken.clone(), hash(&broken.clone())));
    assert_eq!(
        (&broken, hash(&broken)),
        (&of(&D14, "3c 05 3d 09"), hash(&of(&D14, "3c 05 3d 09")))
    );
    assert_ne!(broken, some);
}

/// Type and value of a token are in the message, or an alias stands for them.
#[test]
fn a_token_says_its_value_unless_an_alias_stands_for_it() {
    let (alias, token_type, value) = (1, 2, text("v"));
    let register = AuthToken::Register { alias, token_type, value: value.clone() };
    let use_value = AuthToken::UseValue { token_type, value: value.clone() };
    assert_eq!(register.value(), Some((2, &value)));
    assert_eq!(use_value.value(), Some((2, &value)));
    assert_eq!(AuthToken::UseAlias { alias }.value(), None);
    assert_eq!(AuthToken::Delete { alias }.value(), None);
}
