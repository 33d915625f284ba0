//! Which message may carry which parameter: the sentence "MAY appear in" of each, tried in every
//! message that has parameters.

use bytes::Bytes;
use moqt_engine::model::{
    Draft, Message, Parameter, ParameterSet, Parameters, SessionError, TrackProperties,
};
use moqt_engine::wire::{Carrier, ControlReader, DecodeError, Fault};

use super::hex;

/// A message: its name, type, and everything before the number of parameters.
type Carried = (&'static str, &'static str, &'static str);

/// A parameter: its type and a valid value, and the messages it may appear in.
type Rule = (&'static str, &'static [&'static str]);

const MESSAGES_14: &[Carried] = &[
    ("SUBSCRIBE", "03", "00 01 01 'n' 00 80 00 01 02"),
    ("SUBSCRIBE_OK", "04", "00 09 00 01 00"),
    ("SUBSCRIBE_UPDATE", "02", "04 00 07 00 00 80 01"),
    ("PUBLISH", "1d", "00 01 01 'n' 00 05 01 00 01"),
    ("PUBLISH_OK", "1e", "00 01 80 01 02"),
    ("FETCH", "16", "00 80 00 02 00 00"),
    ("FETCH_OK", "18", "00 01 00 00 00"),
    ("TRACK_STATUS", "0d", "00 01 01 'n' 00 80 00 01 02"),
    ("TRACK_STATUS_OK", "0e", "00 00 00 01 00"),
    ("PUBLISH_NAMESPACE", "06", "00 01 01 'n'"),
    ("SUBSCRIBE_NAMESPACE", "11", "00 01 01 'n'"),
];

const RULES_14: &[Rule] = &[
    (
        "02 05", // DELIVERY_TIMEOUT
        &[
            "TRACK_STATUS",
            "TRACK_STATUS_OK",
            "PUBLISH",
            "PUBLISH_OK",
            "SUBSCRIBE",
            "SUBSCRIBE_OK",
            "SUBSCRIBE_UPDATE",
        ],
    ),
    (
        "03 02 02 05", // AUTHORIZATION_TOKEN
        &[
            "PUBLISH",
            "SUBSCRIBE",
            "SUBSCRIBE_UPDATE",
            "SUBSCRIBE_NAMESPACE",
            "PUBLISH_NAMESPACE",
            "TRACK_STATUS",
            "FETCH",
        ],
    ),
    // MAX_CACHE_DURATION
    ("04 05", &["PUBLISH", "SUBSCRIBE_OK", "FETCH_OK", "TRACK_STATUS_OK"]),
];

const MESSAGES_16: &[Carried] = &[
    ("SUBSCRIBE", "03", "00 01 01 'n' 00"),
    ("SUBSCRIBE_OK", "04", "00 09"),
    ("REQUEST_UPDATE", "02", "04 00"),
    ("REQUEST_OK", "07", "00"),
    ("PUBLISH", "1d", "00 01 01 'n' 00 05"),
    ("PUBLISH_OK", "1e", "00"),
    ("FETCH", "16", "00 02 00 00"),
    ("FETCH_OK", "18", "00 00 00 00"),
    ("TRACK_STATUS", "0d", "00 01 01 'n' 00"),
    ("PUBLISH_NAMESPACE", "06", "00 01 01 'n'"),
    ("SUBSCRIBE_NAMESPACE", "11", "00 01 01 'n' 00"),
];

const RULES_16: &[Rule] = &[
    ("02 05", &["PUBLISH_OK", "SUBSCRIBE", "REQUEST_UPDATE"]), // DELIVERY_TIMEOUT
    (
        "03 02 02 05", // AUTHORIZATION_TOKEN
        &[
            "PUBLISH",
            "SUBSCRIBE",
            "REQUEST_UPDATE",
            "SUBSCRIBE_NAMESPACE",
            "PUBLISH_NAMESPACE",
            "TRACK_STATUS",
            "FETCH",
        ],
    ),
    // EXPIRES; the draft adds "(TODO: or REQUEST_OK)".
    ("08 05", &["SUBSCRIBE_OK", "PUBLISH", "PUBLISH_OK", "REQUEST_OK"]),
    ("09 02 05 06", &["SUBSCRIBE_OK", "PUBLISH", "REQUEST_OK"]), // LARGEST_OBJECT
    (
        "10 01", // FORWARD
        &["SUBSCRIBE", "REQUEST_UPDATE", "PUBLISH", "PUBLISH_OK", "SUBSCRIBE_NAMESPACE"],
    ),
    ("20 05", &["SUBSCRIBE", "FETCH", "REQUEST_UPDATE", "PUBLISH_OK"]), // SUBSCRIBER_PRIORITY
    ("21 01 02", &["SUBSCRIBE", "PUBLISH_OK", "REQUEST_UPDATE"]),       // SUBSCRIPTION_FILTER
    ("22 01", &["SUBSCRIBE", "PUBLISH_OK", "FETCH"]),                   // GROUP_ORDER
    ("32 05", &["PUBLISH_OK", "SUBSCRIBE", "REQUEST_UPDATE"]),          // NEW_GROUP_REQUEST
];

const MESSAGES_18: &[Carried] = &[
    ("SUBSCRIBE", "03", "00 01 01 'n' 00"),
    ("SUBSCRIBE_OK", "04", "09"),
    ("REQUEST_UPDATE", "02", "04"),
    // PUBLISH_OK, REQUEST_UPDATE_OK and TRACK_STATUS_OK: its stream tells which.
    ("REQUEST_OK", "07", ""),
    ("PUBLISH", "1d", "00 01 01 'n' 00 05"),
    ("FETCH", "16", "00 02 00 00"),
    ("FETCH_OK", "18", "00 00 00"),
    ("TRACK_STATUS", "0d", "00 01 01 'n' 00"),
    ("PUBLISH_NAMESPACE", "06", "00 01 01 'n'"),
    ("SUBSCRIBE_NAMESPACE", "50", "00 01 01 'n'"),
    ("SUBSCRIBE_TRACKS", "51", "00 01 01 'n'"),
];

const RULES_18: &[Rule] = &[
    ("02 05", &["REQUEST_OK", "SUBSCRIBE", "REQUEST_UPDATE"]), // OBJECT_DELIVERY_TIMEOUT
    (
        "03 02 02 05", // AUTHORIZATION_TOKEN
        &[
            "PUBLISH",
            "SUBSCRIBE",
            "REQUEST_UPDATE",
            "SUBSCRIBE_NAMESPACE",
            "SUBSCRIBE_TRACKS",
            "PUBLISH_NAMESPACE",
            "TRACK_STATUS",
            "FETCH",
        ],
    ),
    ("04 05", &["SUBSCRIBE"]), // RENDEZVOUS_TIMEOUT
    ("06 05", &["REQUEST_OK", "SUBSCRIBE", "REQUEST_UPDATE"]), // SUBGROUP_DELIVERY_TIMEOUT
    ("08 05", &["SUBSCRIBE_OK", "PUBLISH", "REQUEST_OK"]), // EXPIRES
    ("09 05 06", &["SUBSCRIBE_OK", "PUBLISH", "REQUEST_OK"]), // LARGEST_OBJECT
    ("0a 05", &["FETCH"]),     // FILL_TIMEOUT
    (
        "10 01", // FORWARD
        &["SUBSCRIBE", "REQUEST_UPDATE", "PUBLISH", "REQUEST_OK", "SUBSCRIBE_TRACKS"],
    ),
    ("20 05", &["SUBSCRIBE", "FETCH", "REQUEST_UPDATE", "REQUEST_OK"]), // SUBSCRIBER_PRIORITY
    ("21 01 02", &["SUBSCRIBE", "REQUEST_OK", "REQUEST_UPDATE"]),       // SUBSCRIPTION_FILTER
    ("22 01", &["SUBSCRIBE", "REQUEST_OK", "FETCH"]),                   // GROUP_ORDER
    ("32 05", &["REQUEST_OK", "SUBSCRIBE", "REQUEST_UPDATE"]),          // NEW_GROUP_REQUEST
    ("34 01 01 'p'", &["REQUEST_UPDATE"]),                              // TRACK_NAMESPACE_PREFIX
];

fn read(draft: Draft, message: Carried, parameters: &str) -> Result<Message, DecodeError> {
    let (_, code, before) = message;
    let body = hex(&format!("{before} {parameters}"));
    let mut bytes = hex(code);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    let mut reader = ControlReader::new(draft.dialect());
    reader.push(Bytes::from(bytes));
    reader.next_message().map(|message| message.expect("a whole message"))
}

#[test]
fn every_parameter_in_every_message() {
    for (draft, messages, rules) in [
        (Draft::D14, MESSAGES_14, RULES_14),
        (Draft::D16, MESSAGES_16, RULES_16),
        (Draft::D18, MESSAGES_18, RULES_18),
    ] {
        for &message in messages {
            let without = read(draft, message, "00").unwrap();
            for (parameter, carriers) in rules {
                let context = format!("{draft} {} {parameter}", message.0);
                let with = read(draft, message, &format!("01 {parameter}"));
                if carriers.contains(&message.0) {
                    assert_ne!(with.as_ref(), Ok(&without), "{context}");
                    assert!(with.is_ok(), "{context}: {with:?}");
                } else if draft >= Draft::D18 {
                    // "the receiving endpoint MUST close the connection"
                    let error = with.expect_err(&context);
                    assert_eq!(error.fault, Fault::NotAllowed, "{context}");
                    assert_eq!(error.field, "Message Parameter", "{context}");
                    assert_eq!(error.session_error(), SessionError::ProtocolViolation);
                } else {
                    // "it MUST be ignored"
                    assert_eq!(with.as_ref(), Ok(&without), "{context}");
                }
            }
            // Each rule names messages that are tried here.
            for (parameter, carriers) in rules {
                for carrier in *carriers {
                    let known = messages.iter().any(|(name, _, _)| name == carrier);
                    assert!(known, "{parameter} {carrier}");
                }
            }
        }
    }
}

/// What draft 18's text says of each kind of REQUEST_OK and REQUEST_UPDATE, which the codec cannot
/// tell apart.
#[test]
fn answers_and_updates_have_their_own_parameters() {
    use Parameter as P;
    let publish_ok: &[P] = &[
        P::ObjectDeliveryTimeout,
        P::SubgroupDeliveryTimeout,
        P::Expires,
        P::Forward,
        P::SubscriberPriority,
        P::SubscriptionFilter,
        P::GroupOrder,
        P::NewGroupRequest,
    ];
    let update_subscription: &[P] = &[
        P::AuthorizationToken,
        P::ObjectDeliveryTimeout,
        P::SubgroupDeliveryTimeout,
        P::Forward,
        P::SubscriberPriority,
        P::SubscriptionFilter,
        P::NewGroupRequest,
    ];
    let table: [(Carrier, &[P]); 9] = [
        (Carrier::PublishOk, publish_ok),
        (Carrier::UpdateOk, &[P::Expires, P::LargestObject]),
        (Carrier::TrackStatusOk, &[P::LargestObject]),
        (Carrier::NamespaceOk, &[]),
        (Carrier::UpdateSubscription, update_subscription),
        (Carrier::UpdateFetch, &[P::AuthorizationToken, P::SubscriberPriority]),
        (Carrier::UpdatePublishNamespace, &[P::AuthorizationToken]),
        (Carrier::UpdateSubscribeNamespace, &[P::AuthorizationToken, P::TrackNamespacePrefix]),
        (Carrier::UpdateSubscribeTracks, &[P::AuthorizationToken, P::TrackNamespacePrefix]),
    ];
    let all = [
        P::AuthorizationToken,
        P::ObjectDeliveryTimeout,
        P::SubgroupDeliveryTimeout,
        P::RendezvousTimeout,
        P::FillTimeout,
        P::Expires,
        P::LargestObject,
        P::Forward,
        P::SubscriberPriority,
        P::SubscriptionFilter,
        P::GroupOrder,
        P::NewGroupRequest,
        P::TrackNamespacePrefix,
    ];
    for (carrier, allowed) in table {
        let misplaced = Draft::D18.dialect().misplaced(ParameterSet::of(&all), carrier);
        for parameter in all {
            assert_eq!(
                misplaced.contains(parameter),
                !allowed.contains(&parameter),
                "{parameter} in {carrier:?}"
            );
        }
    }
}

/// Track properties have no place in [`Parameters`].
#[test]
fn draft_14_lifts_the_publishers_parameters_into_properties() {
    let subscribe_ok = MESSAGES_14[1];
    let Ok(Message::SubscribeOk(ok)) = read(Draft::D14, subscribe_ok, "02 02 05 04 06") else {
        panic!("a SUBSCRIBE_OK");
    };
    let expected = TrackProperties::new().with_int(0x02, 5).with_int(0x04, 6);
    assert_eq!(ok.track_properties, expected);
    assert_eq!(ok.parameters.object_delivery_timeout, None);
    assert_ne!(ok.parameters, Parameters::default());
}
