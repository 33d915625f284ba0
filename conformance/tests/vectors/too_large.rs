//! Drafts 14 and 16 have QUIC's integers, of 62 bits (RFC 9000, 16): a number larger than that is
//! refused wherever it stands in a message, with all else as it may be.

use moqt_conformance::{objects, say};
use moqt_engine::model::{
    AuthToken, Draft, EndOfRange, Fetch, FetchOk, FetchRange, GroupOrder, JoiningStart, Location,
    MaxRequestId, Message, Property, Publish, PublishDone, PublishDoneCode, PublishNamespace,
    PublishNamespaceCancel, PublishNamespaceDone, RequestErrorCode, RequestKind, RequestOk,
    RequestUpdate, RequestsBlocked, SubgroupId, Subscribe, SubscribeNamespace, SubscribeOk,
    SubscriptionFilter as Filter, TrackStatus, Unsubscribe,
};
use moqt_engine::wire::{
    EncodeError, FetchObject, FetchWriter, ObjectHeader, Properties, SubgroupHeader, SubgroupWriter,
};

use super::written::write;
use super::{
    D14, D16, D18, Parameters, TrackProperties, hex, parameters, properties, refusal, setup, text,
    track,
};

/// A message around a number.
type With = fn(u64) -> Message;

/// Of a draft that has the message at all, the number is what is wrong with it.
#[track_caller]
fn check(name: &str, with: With) {
    let mut drafts = 0;
    for dialect in [&D14, &D16] {
        if write(dialect, &with(2)).is_err() {
            continue;
        }
        drafts += 1;
        for value in [1 << 62, u64::MAX] {
            let result = write(dialect, &with(value));
            let is_refused = matches!(result, Err(EncodeError::OutOfRange(_)));
            assert!(is_refused, "{name} on {} with {value}: {result:?}", dialect.draft);
        }
    }
    assert!(drafts > 0, "{name} is of neither draft");
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn filters() -> [fn(u64) -> Parameters; 4] {
    [
        |n| parameters(|p| p.subscription_filter = Some(start(at(n, 0)))),
        |n| parameters(|p| p.subscription_filter = Some(start(at(0, n)))),
        |n| parameters(|p| p.subscription_filter = Some(range(at(0, n), 9))),
        |n| parameters(|p| p.subscription_filter = Some(range(at(0, 0), n))),
    ]
}

fn start(start: Location) -> Filter {
    Filter::AbsoluteStart { start }
}

fn range(start: Location, end_group: u64) -> Filter {
    Filter::AbsoluteRange { start, end_group }
}

fn subscribe(request_id: u64, parameters: Parameters) -> Message {
    Message::Subscribe(Subscribe { request_id, track: track("n--t"), parameters })
}

fn ok(request_id: u64, kind: RequestKind, parameters: Parameters) -> Message {
    let answers = Some(kind);
    Message::RequestOk(RequestOk {
        request_id: Some(request_id),
        answers,
        parameters,
        ..RequestOk::default()
    })
}

fn update(request_id: u64, of: u64, filter: Filter) -> Message {
    Message::RequestUpdate(RequestUpdate {
        request_id,
        existing_request_id: Some(of),
        parameters: parameters(|p| {
            p.subscription_filter = Some(filter);
            p.subscriber_priority = Some(1);
            p.forward = Some(true);
        }),
    })
}

fn subscribe_ok(request_id: u64, track_alias: u64, parameters: Parameters) -> Message {
    Message::SubscribeOk(SubscribeOk {
        request_id: Some(request_id),
        track_alias,
        parameters,
        track_properties: TrackProperties::new(),
    })
}

fn publish(request_id: u64, track_alias: u64, largest: Location, list: &[Property]) -> Message {
    Message::Publish(Publish {
        request_id,
        track: track("n--t"),
        track_alias,
        parameters: parameters(|p| p.largest_object = Some(largest)),
        track_properties: properties(list),
    })
}

fn fetch(request_id: u64, start: Location, end: Location) -> Message {
    let range = FetchRange::Standalone { track: track("n--t"), start, end };
    Message::Fetch(Fetch { request_id, range, parameters: Parameters::default() })
}

fn join(request_id: u64, to: u64, start: JoiningStart) -> Message {
    let range = FetchRange::Joining { request_id: to, start };
    Message::Fetch(Fetch { request_id, range, parameters: Parameters::default() })
}

fn fetch_ok(request_id: u64, end: Location, list: &[Property]) -> Message {
    Message::FetchOk(FetchOk {
        request_id: Some(request_id),
        end_of_track: false,
        end,
        group_order: Some(GroupOrder::Ascending),
        parameters: Parameters::default(),
        track_properties: properties(list),
    })
}

fn done(request_id: u64, code: PublishDoneCode, stream_count: u64) -> Message {
    let reason = String::new();
    Message::PublishDone(PublishDone { request_id: Some(request_id), code, stream_count, reason })
}

fn cancel(target: PublishNamespaceDone, code: RequestErrorCode) -> Message {
    Message::PublishNamespaceCancel(PublishNamespaceCancel { target, code, reason: String::new() })
}

fn with_token(token: AuthToken) -> Message {
    subscribe(0, parameters(|p| p.authorization_tokens = vec![token]))
}

#[test]
fn in_subscribe_and_its_answers() {
    check("Request ID", |n| subscribe(n, Parameters::default()));
    // Of any parameters: where the filter is a field of the message, and where a parameter.
    for filter in filters() {
        for dialect in [&D14, &D16] {
            let result = write(dialect, &subscribe(0, filter(1 << 62)));
            assert!(result.is_err(), "{}", dialect.draft);
            let result = write(dialect, &ok(0, RequestKind::Publish, filter(1 << 62)));
            assert!(result.is_err(), "{}", dialect.draft);
        }
    }
    check("Request ID", |n| subscribe_ok(n, 0, Parameters::default()));
    check("Track Alias", |n| subscribe_ok(0, n, Parameters::default()));
    check("Expires", |n| subscribe_ok(0, 0, parameters(|p| p.expires = Some(n))));
    check("Largest Group", |n| {
        subscribe_ok(0, 0, parameters(|p| p.largest_object = Some(at(n, 0))))
    });
    check("Largest Object", |n| {
        subscribe_ok(0, 0, parameters(|p| p.largest_object = Some(at(0, n))))
    });
    check("Request ID", |n| update(n, 0, start(at(0, 0))));
    check("Existing Request ID", |n| update(0, n, start(at(0, 0))));
    check("Start Group", |n| update(0, 0, start(at(n, 0))));
    check("Start Object", |n| update(0, 0, start(at(0, n))));
    check("End Group", |n| update(0, 0, range(at(0, 0), n)));
    check("Request ID", |n| Message::Unsubscribe(Unsubscribe { request_id: n }));
}

#[test]
fn in_publish_and_its_answers() {
    check("Request ID", |n| publish(n, 0, at(0, 0), &[]));
    check("Track Alias", |n| publish(0, n, at(0, 0), &[]));
    check("Largest Group", |n| publish(0, 0, at(n, 0), &[]));
    check("Largest Object", |n| publish(0, 0, at(0, n), &[]));
    check("a property", |n| publish(0, 0, at(0, 0), &[Property::int(0x4, n)]));
    check("Request ID", |n| ok(n, RequestKind::Publish, Parameters::default()));
    check("Request ID", |n| done(n, PublishDoneCode::TrackEnded, 0));
    check("Status Code", |n| done(0, PublishDoneCode::Other(n), 0));
    check("Stream Count", |n| done(0, PublishDoneCode::TrackEnded, n));
}

#[test]
fn in_fetch_and_its_answer() {
    check("Request ID", |n| fetch(n, at(0, 0), at(9, 0)));
    check("Start Group", |n| fetch(0, at(n, 0), at(n, 5)));
    check("Start Object", |n| fetch(0, at(0, n), at(9, 0)));
    check("End Group", |n| fetch(0, at(0, 0), at(n, 0)));
    check("Request ID", |n| join(n, 0, JoiningStart::Relative(0)));
    check("Joining Request ID", |n| join(0, n, JoiningStart::Relative(0)));
    check("Joining Start", |n| join(0, 0, JoiningStart::Relative(n)));
    check("Joining Start", |n| join(0, 0, JoiningStart::Absolute(n)));
    check("Request ID", |n| fetch_ok(n, at(0, 0), &[]));
    check("End Group", |n| fetch_ok(0, at(n, 0), &[]));
    check("a property", |n| fetch_ok(0, at(0, 0), &[Property::int(0x4, n)]));
}

#[test]
fn in_track_status_and_its_answer() {
    check("Request ID", |n| {
        let parameters = Parameters::default();
        Message::TrackStatus(TrackStatus { request_id: n, track: track("n--t"), parameters })
    });
    check("Request ID", |n| ok(n, RequestKind::TrackStatus, Parameters::default()));
    // A field in draft 14; draft 16 does not have it here.
    let expires = parameters(|p| p.expires = Some(1 << 62));
    assert!(write(&D14, &ok(0, RequestKind::TrackStatus, expires)).is_err());
    check("Largest Object", |n| {
        ok(0, RequestKind::TrackStatus, parameters(|p| p.largest_object = Some(at(0, n))))
    });
}

#[test]
fn in_what_is_said_of_namespaces() {
    check("Request ID", |n| {
        Message::PublishNamespace(PublishNamespace {
            request_id: n,
            namespace: "a".parse().unwrap(),
            parameters: Parameters::default(),
        })
    });
    check("Request ID", |n| ok(n, RequestKind::PublishNamespace, Parameters::default()));
    check("Request ID", |n| Message::PublishNamespaceDone(PublishNamespaceDone::RequestId(n)));
    check("Request ID", |n| cancel(PublishNamespaceDone::RequestId(n), RequestErrorCode::Timeout));
    check("Error Code", |n| cancel(PublishNamespaceDone::RequestId(0), RequestErrorCode::Other(n)));
    check("Error Code", |n| {
        let namespace = "a".parse().unwrap();
        cancel(PublishNamespaceDone::Namespace(namespace), RequestErrorCode::Other(n))
    });
    for dialect in [&D14, &D16] {
        let message = |request_id| {
            Message::SubscribeNamespace(SubscribeNamespace {
                request_id,
                prefix: "a".parse().unwrap(),
                interest: moqt_engine::model::NamespaceInterest::Both,
                parameters: Parameters::default(),
            })
        };
        assert!(write(dialect, &message(2)).is_ok(), "{}", dialect.draft);
        assert!(write(dialect, &message(1 << 62)).is_err(), "{}", dialect.draft);
    }
}

#[test]
fn in_refusals() {
    let kind = Some(RequestKind::Subscribe);
    for dialect in [&D14, &D16] {
        let write =
            |id, code| write(dialect, &Message::RequestError(refusal(Some(id), kind, code, "")));
        assert!(write(2, RequestErrorCode::Other(0x77)).is_ok());
        assert!(write(1 << 62, RequestErrorCode::Timeout).is_err());
        assert!(write(0, RequestErrorCode::Other(1 << 62)).is_err());
    }
    // A field of draft 16 alone.
    let mut error = refusal(Some(0), kind, RequestErrorCode::Timeout, "");
    error.retry_interval = 1 << 62;
    assert!(write(&D16, &Message::RequestError(error)).is_err());
}

#[test]
fn in_credit_and_setup() {
    check("Request ID", |n| Message::MaxRequestId(MaxRequestId { max_request_id: n }));
    check("Request ID", |n| Message::RequestsBlocked(RequestsBlocked { max_request_id: n }));
    for (name, value) in [("a number", 2), ("too large", 1 << 62)] {
        let fits = value == 2;
        let option = setup(&[0xff00_000e], |options| options.max_request_id = Some(value));
        assert_eq!(write(&D14, &option).is_ok(), fits, "{name}");
        let no_version = setup(&[], |options| options.max_request_id = Some(value));
        assert_eq!(write(&D16, &no_version).is_ok(), fits, "{name}");
        assert_eq!(write(&D14, &setup(&[value], |_| ())).is_ok(), fits, "{name}");
    }
}

#[test]
fn in_tokens() {
    check("Token Alias", |alias| with_token(AuthToken::Delete { alias }));
    check("Token Alias", |alias| with_token(AuthToken::UseAlias { alias }));
    check("Token Alias", |alias| {
        with_token(AuthToken::Register { alias, token_type: 0, value: text("x") })
    });
    check("Token Type", |token_type| {
        with_token(AuthToken::Register { alias: 0, token_type, value: text("x") })
    });
    check("Token Type", |token_type| {
        with_token(AuthToken::UseValue { token_type, value: text("x") })
    });
}

/// Of what an object says, too; and nothing is left behind.
#[test]
fn in_objects() {
    const LARGE: u64 = 1 << 62;
    for dialect in [&D14, &D16] {
        let draft = dialect.draft;
        let refused = |result: Result<(), EncodeError>, left: Vec<u8>| {
            assert!(matches!(result, Err(EncodeError::OutOfRange(_))), "{draft}: {result:?}");
            assert_eq!(left, [], "{draft}");
        };
        for (track_alias, group_id, id) in [(LARGE, 0, 0), (0, LARGE, 0), (0, 0, LARGE)] {
            let header = SubgroupHeader {
                track_alias,
                group_id,
                subgroup_id: SubgroupId::Explicit(id),
                publisher_priority: Some(1),
                has_properties: false,
                end_of_group: false,
                first_object: false,
            };
            let mut out = Vec::new();
            refused(header.encode(dialect, &mut out), out);
            let mut header = objects::datagram(track_alias, group_id, id);
            header.publisher_priority = Some(1);
            let mut out = Vec::new();
            refused(header.encode(dialect, 0, &mut out), out);
        }
        let mut out = Vec::new();
        let mut object = ObjectHeader { object_id: LARGE, ..ObjectHeader::default() };
        refused(SubgroupWriter::new(dialect, true).object(&object, &mut out), out);
        object = ObjectHeader { payload_len: LARGE, ..ObjectHeader::default() };
        for has_properties in [false, true] {
            let mut out = Vec::new();
            refused(SubgroupWriter::new(dialect, has_properties).object(&object, &mut out), out);
        }

        let writer = || FetchWriter::new(dialect, GroupOrder::Ascending);
        let mut out = Vec::new();
        refused(writer().header(LARGE, &mut out), out);
        let fetched = say::fetch_object(Location::ZERO, b"");
        for fetched in [
            FetchObject { location: at(LARGE, 0), ..fetched.clone() },
            FetchObject { location: at(0, LARGE), ..fetched.clone() },
            FetchObject { subgroup_id: Some(LARGE), ..fetched.clone() },
            FetchObject { payload_len: LARGE, ..fetched },
        ] {
            let mut out = Vec::new();
            refused(writer().object(&fetched, &mut out), out);
        }
        if draft >= Draft::D16 {
            for location in [at(LARGE, 0), at(0, LARGE)] {
                let mut out = Vec::new();
                refused(writer().end_of_range(location, EndOfRange::Unknown, &mut out), out);
            }
        }
    }
}

/// Properties of draft 18 that drafts 14 and 16 cannot say are not said by what has them.
#[test]
fn in_properties_of_objects() {
    let bytes = hex("3c ffffffffffffffffff");
    let properties = Properties::from_wire(&D18, bytes.into());
    for dialect in [&D14, &D16] {
        let object = ObjectHeader { properties: properties.clone(), ..ObjectHeader::default() };
        let mut out = Vec::new();
        assert!(SubgroupWriter::new(dialect, true).object(&object, &mut out).is_err());
        let mut fetched = say::fetch_object(Location::ZERO, b"");
        fetched.properties = properties.clone();
        let mut writer = FetchWriter::new(dialect, GroupOrder::Ascending);
        assert!(writer.object(&fetched, &mut out).is_err());
        let mut header = objects::datagram(0, 0, 0);
        header.properties = properties.clone();
        assert!(header.encode(dialect, 0, &mut out).is_err());
        assert_eq!(out, []);
    }
}
