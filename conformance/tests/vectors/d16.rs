//! Draft 16's control messages, in the order of its section "Control Messages".

use moqt_engine::model::{
    AuthToken, Fetch, FetchCancel, FetchOk, FetchRange, Goaway, GroupOrder, JoiningStart, Location,
    MaxRequestId, Message, Namespace, NamespaceDone, NamespaceInterest, Property, Publish,
    PublishDone, PublishDoneCode, PublishNamespace, PublishNamespaceCancel, PublishNamespaceDone,
    RequestError, RequestErrorCode as Code, RequestKind, RequestOk, RequestUpdate, RequestsBlocked,
    Subscribe, SubscribeNamespace, SubscribeOk, SubscriptionFilter as Filter, TrackNamespace,
    TrackStatus, Unsubscribe,
};

use super::{D16, Vector, Vectors, namespace, parameters, properties, refusal, setup, text, track};

pub(super) fn vectors() -> Vec<Vector> {
    let mut v = Vectors::of(&D16);
    session(&mut v);
    answers(&mut v);
    subscribe(&mut v);
    publish(&mut v);
    fetch(&mut v);
    namespaces(&mut v);
    v.list
}

fn session(v: &mut Vectors) {
    v.both(
        "CLIENT_SETUP with every parameter",
        "20 002c                     ; Type, Length
         07                          ; Number of Parameters
         01 05 '/a?b='               ; PATH
         01 4064                     ; + 1 = 0x02, MAX_REQUEST_ID: 100
         01 05 01 02 03 'xy'         ; + 1 = 0x03, AUTHORIZATION_TOKEN: REGISTER alias 2, type 3
         00 04 03 00 'zz'            ; + 0 = 0x03, AUTHORIZATION_TOKEN: USE_VALUE, type 0
         01 5000                     ; + 1 = 0x04, MAX_AUTH_TOKEN_CACHE_SIZE: 4096
         01 09 'a.example'           ; + 1 = 0x05, AUTHORITY
         02 04 'us/1'                ; + 2 = 0x07, MOQT_IMPLEMENTATION",
        setup(&[], |options| {
            options.path = Some(text("/a?b="));
            options.max_request_id = Some(100);
            options.authorization_tokens = vec![
                AuthToken::Register { alias: 2, token_type: 3, value: text("xy") },
                AuthToken::UseValue { token_type: 0, value: text("zz") },
            ];
            options.max_auth_token_cache_size = Some(4096);
            options.authority = Some(text("a.example"));
            options.implementation = Some(text("us/1"));
        }),
    );
    v.read_only(
        "CLIENT_SETUP with unknown parameters",
        "20 000e                     ; Type, Length
         04                          ; Number of Parameters
         02 40c8                     ; MAX_REQUEST_ID: 200
         409b 02 'gr'                ; + 0x9b = 0x9d, unknown, odd: has a length
         407f 07                     ; + 0x7f = 0x11c, unknown, even: has none
         00 09                       ; + 0 = 0x11c: unknown ones may repeat",
        setup(&[], |options| options.max_request_id = Some(200)),
    );
    v.both(
        "SERVER_SETUP",
        "21 000a                     ; Type, Length
         02                          ; Number of Parameters
         02 80010000                 ; MAX_REQUEST_ID: 65536
         05 02 'me'                  ; + 5 = 0x07, MOQT_IMPLEMENTATION",
        setup(&[], |options| {
            options.max_request_id = Some(65_536);
            options.implementation = Some(text("me"));
        }),
    );
    v.both("SERVER_SETUP, empty", "21 0001 00 ; Type, Length, parameters", setup(&[], |_| {}));
    v.both(
        "GOAWAY with a URI",
        "10 0011 10 'https://b.exampl' ; Type, Length, New Session URI",
        goaway("https://b.exampl"),
    );
    v.both("GOAWAY without a URI", "10 0001 00 ; Type, Length, New Session URI Length", goaway(""));
    v.both(
        "MAX_REQUEST_ID",
        "15 0002 43e8 ; Type, Length, Max Request ID: 1000",
        Message::MaxRequestId(MaxRequestId { max_request_id: 1000 }),
    );
    v.read_only(
        "MAX_REQUEST_ID with integers longer than they need be",
        "c000000000000015 0004 800003e8 ; Type in eight bytes, Length, Request ID in four",
        Message::MaxRequestId(MaxRequestId { max_request_id: 1000 }),
    );
    v.both(
        "REQUESTS_BLOCKED",
        "1a 0001 3f ; Type, Length, Maximum Request ID: 63",
        Message::RequestsBlocked(RequestsBlocked { max_request_id: 63 }),
    );
}

fn goaway(uri: &'static str) -> Message {
    Message::Goaway(Goaway { new_session_uri: text(uri), ..Goaway::default() })
}

fn request_ok(request_id: u64, set: impl FnOnce(&mut super::Parameters)) -> RequestOk {
    RequestOk { request_id: Some(request_id), parameters: parameters(set), ..RequestOk::default() }
}

fn answers(v: &mut Vectors) {
    v.both(
        "REQUEST_OK",
        "07 0002 04 00 ; Type, Length, Request ID, Number of Parameters",
        Message::RequestOk(request_ok(4, |_| {})),
    );
    v.both(
        "REQUEST_OK to a REQUEST_UPDATE",
        "07 000a                     ; Type, Length
         04 02                       ; Request ID, Number of Parameters
         08 43e8                     ; EXPIRES: 1000
         01 03 05 4080               ; + 1 = 0x09, LARGEST_OBJECT, 3 bytes: {5, 128}",
        Message::RequestOk(request_ok(4, |p| {
            p.expires = Some(1000);
            p.largest_object = Some(Location::new(5, 128));
        })),
    );
    v.read_only(
        "REQUEST_OK with parameters that are not for it",
        "07 000a                     ; Type, Length
         04 03                       ; Request ID, Number of Parameters
         02 05                       ; DELIVERY_TIMEOUT: 5
         07 02 05 06                 ; + 7 = 0x09, LARGEST_OBJECT: {5, 6}
         19 03                       ; + 0x19 = 0x22, GROUP_ORDER: 3, out of range but ignored",
        Message::RequestOk(request_ok(4, |p| p.largest_object = Some(Location::new(5, 6)))),
    );
    v.both(
        "REQUEST_ERROR that may be tried again",
        "05 000a                     ; Type, Length
         06 10 43e9                  ; Request ID, DOES_NOT_EXIST, Retry Interval: 1000 + 1
         05 'later'                  ; Error Reason",
        Message::RequestError(RequestError {
            retry_interval: 1001,
            ..refusal(Some(6), None, Code::DoesNotExist, "later")
        }),
    );
    v.both(
        "REQUEST_ERROR with a code the draft does not have",
        "05 0005 06 409d 00 00       ; Type, Length, Request ID, Error Code, Retry Interval, Reason",
        Message::RequestError(refusal(Some(6), None, Code::Other(0x9d), "")),
    );
    v.both(
        "REQUEST_ERROR with draft 18's code for a redirect",
        "05 0004 06 34 00 00         ; Type, Length, Request ID, Error Code, Retry Interval, Reason",
        Message::RequestError(refusal(Some(6), None, Code::Other(0x34), "")),
    );
}

fn subscribe(v: &mut Vectors) {
    v.both(
        "SUBSCRIBE without parameters",
        "03 0011                     ; Type, Length
         00                          ; Request ID
         02 04 'meet' 02 'no'        ; Track Namespace
         05 'video'                  ; Track Name
         00                          ; Number of Parameters",
        Message::Subscribe(Subscribe {
            request_id: 0,
            track: track("meet-no--video"),
            parameters: parameters(|_| {}),
        }),
    );
    v.both(
        "SUBSCRIBE with every parameter",
        "03 0021                     ; Type, Length
         02 01 01 'n' 00             ; Request ID, Track Namespace, empty Track Name
         08                          ; Number of Parameters
         02 41f4                     ; DELIVERY_TIMEOUT: 500
         01 02 02 07                 ; + 1 = 0x03, AUTHORIZATION_TOKEN: USE_ALIAS 7
         00 02 00 08                 ; + 0 = 0x03, AUTHORIZATION_TOKEN: DELETE 8
         0d 00                       ; + 0x0d = 0x10, FORWARD: 0
         10 40ff                     ; + 0x10 = 0x20, SUBSCRIBER_PRIORITY: 255
         01 05 04 05 4100 05         ; + 1 = 0x21, SUBSCRIPTION_FILTER: from {5, 256} to group 5
         01 02                       ; + 1 = 0x22, GROUP_ORDER: Descending
         10 07                       ; + 0x10 = 0x32, NEW_GROUP_REQUEST: 7",
        Message::Subscribe(Subscribe {
            request_id: 2,
            track: track("n--"),
            parameters: parameters(|p| {
                p.object_delivery_timeout = Some(500);
                p.authorization_tokens =
                    vec![AuthToken::UseAlias { alias: 7 }, AuthToken::Delete { alias: 8 }];
                p.forward = Some(false);
                p.subscriber_priority = Some(255);
                p.subscription_filter =
                    Some(Filter::AbsoluteRange { start: Location::new(5, 256), end_group: 5 });
                p.group_order = Some(GroupOrder::Descending);
                p.new_group_request = Some(7);
            }),
        }),
    );
    let filters = [
        ("SUBSCRIBE, Next Group Start", "01 01", Filter::NextGroupStart),
        ("SUBSCRIBE, Largest Object", "01 02", Filter::LargestObject),
        (
            "SUBSCRIBE, AbsoluteStart",
            "03 03 07 08",
            Filter::AbsoluteStart { start: Location::new(7, 8) },
        ),
        (
            "SUBSCRIBE, AbsoluteRange, whose End Group is absolute",
            "04 04 07 08 09",
            Filter::AbsoluteRange { start: Location::new(7, 8), end_group: 9 },
        ),
    ];
    for (name, filter, value) in filters {
        let length = 8 + filter.replace(' ', "").len() / 2;
        v.both(
            name,
            // Type, Length, Request ID, Track Namespace, Track Name, SUBSCRIPTION_FILTER
            &format!("03 {length:04x} 00 01 01 'n' 01 't' 01 21 {filter}"),
            Message::Subscribe(Subscribe {
                request_id: 0,
                track: track("n--t"),
                parameters: parameters(|p| p.subscription_filter = Some(value)),
            }),
        );
    }
    v.read_only(
        "SUBSCRIBE with a parameter that is not for it",
        "03 000f                     ; Type, Length
         00 01 01 'n' 01 't'         ; Request ID, Track Namespace, Track Name
         03                          ; Number of Parameters
         08 05                       ; EXPIRES
         01 02 05 06                 ; + 1 = 0x09, LARGEST_OBJECT
         07 01                       ; + 7 = 0x10, FORWARD: 1",
        Message::Subscribe(Subscribe {
            request_id: 0,
            track: track("n--t"),
            parameters: parameters(|p| p.forward = Some(true)),
        }),
    );
    v.both(
        "SUBSCRIBE_OK with parameters and Track Extensions",
        "04 0025                     ; Type, Length
         00 09                       ; Request ID, Track Alias
         02                          ; Number of Parameters
         08 43e8                     ; EXPIRES: 1000
         01 03 06 4080               ; + 1 = 0x09, LARGEST_OBJECT, 3 bytes: {6, 128}
         02 41f4                     ; DELIVERY_TIMEOUT: 500
         02 4e20                     ; + 2 = 0x04, MAX_CACHE_DURATION: 3616
         07 02 3c 01                 ; + 7 = 0x0b, Immutable Extensions, holding 0x3c: 1
         03 40c8                     ; + 3 = 0x0e, DEFAULT_PUBLISHER_PRIORITY: 200
         14 02                       ; + 0x14 = 0x22, DEFAULT_PUBLISHER_GROUP_ORDER: Descending
         0e 01                       ; + 0x0e = 0x30, DYNAMIC_GROUPS: 1
         4071 00                     ; + 0x71 = 0xa1, unknown, odd, empty: kept
         00 01 'x'                   ; + 0 = 0xa1, again: kept
         7f5f 05                     ; + 0x3f5f = 0x4000, unknown: kept",
        Message::SubscribeOk(SubscribeOk {
            request_id: Some(0),
            track_alias: 9,
            parameters: parameters(|p| {
                p.expires = Some(1000);
                p.largest_object = Some(Location::new(6, 128));
            }),
            track_properties: properties(&[
                Property::int(0x02, 500),
                Property::int(0x04, 3616),
                Property::bytes(0x0b, text("\x3c\x01")),
                Property::int(0x0e, 200),
                Property::int(0x22, 2),
                Property::int(0x30, 1),
                Property::bytes(0xa1, text("")),
                Property::bytes(0xa1, text("x")),
                Property::int(0x4000, 5),
            ]),
        }),
    );
    v.both(
        "SUBSCRIBE_OK, bare",
        "04 0003 00 09 00            ; Type, Length, Request ID, Track Alias, parameters",
        Message::SubscribeOk(SubscribeOk {
            request_id: Some(0),
            track_alias: 9,
            parameters: parameters(|_| {}),
            track_properties: properties(&[]),
        }),
    );
    v.both(
        "REQUEST_UPDATE",
        "02 000c                     ; Type, Length
         08 00 03                    ; Request ID, Existing Request ID, Number of Parameters
         10 01                       ; FORWARD: 1
         11 03 03 01 02              ; + 0x11 = 0x21, SUBSCRIPTION_FILTER: from {1, 2}
         11 00                       ; + 0x11 = 0x32, NEW_GROUP_REQUEST: 0",
        Message::RequestUpdate(RequestUpdate {
            request_id: 8,
            existing_request_id: Some(0),
            parameters: parameters(|p| {
                p.forward = Some(true);
                p.subscription_filter = Some(Filter::AbsoluteStart { start: Location::new(1, 2) });
                p.new_group_request = Some(0);
            }),
        }),
    );
    v.both(
        "UNSUBSCRIBE",
        "0a 0001 02 ; Type, Length, Request ID",
        Message::Unsubscribe(Unsubscribe { request_id: 2 }),
    );
    v.both(
        "TRACK_STATUS",
        "0d 000b                     ; Type, Length
         06 01 01 'n' 01 't'         ; Request ID, Track Namespace, Track Name
         01 03 02 02 01              ; Number of Parameters, AUTHORIZATION_TOKEN: USE_ALIAS 1",
        Message::TrackStatus(TrackStatus {
            request_id: 6,
            track: track("n--t"),
            parameters: parameters(|p| {
                p.authorization_tokens = vec![AuthToken::UseAlias { alias: 1 }];
            }),
        }),
    );
    v.read_only(
        "TRACK_STATUS with SUBSCRIBER_PRIORITY, which is not for it",
        "0d 0009 06 01 01 'n' 01 't' 01 20 05 ; as above",
        Message::TrackStatus(TrackStatus {
            request_id: 6,
            track: track("n--t"),
            parameters: parameters(|_| {}),
        }),
    );
}

fn publish(v: &mut Vectors) {
    v.both(
        "PUBLISH",
        "1d 0018                     ; Type, Length
         01 01 01 'n' 01 't' 4050    ; Request ID, Namespace, Name, Track Alias: 80
         04                          ; Number of Parameters
         03 03 03 01 'k'             ; AUTHORIZATION_TOKEN: USE_VALUE, type 1
         05 3c                       ; + 5 = 0x08, EXPIRES: 60
         01 02 08 04                 ; + 1 = 0x09, LARGEST_OBJECT: {8, 4}
         07 00                       ; + 7 = 0x10, FORWARD: 0
         04 3c                       ; MAX_CACHE_DURATION: 60, with the types starting over",
        Message::Publish(Publish {
            request_id: 1,
            track: track("n--t"),
            track_alias: 80,
            parameters: parameters(|p| {
                p.authorization_tokens =
                    vec![AuthToken::UseValue { token_type: 1, value: text("k") }];
                p.expires = Some(60);
                p.largest_object = Some(Location::new(8, 4));
                p.forward = Some(false);
            }),
            track_properties: properties(&[Property::int(0x04, 60)]),
        }),
    );
    v.both(
        "PUBLISH_OK",
        "1e 0014                     ; Type, Length
         01 07                       ; Request ID, Number of Parameters
         02 09                       ; DELIVERY_TIMEOUT: 9
         06 05                       ; + 6 = 0x08, EXPIRES: 5
         08 01                       ; + 8 = 0x10, FORWARD: 1
         10 20                       ; + 0x10 = 0x20, SUBSCRIBER_PRIORITY: 32
         01 04 04 01 02 03           ; + 1 = 0x21, SUBSCRIPTION_FILTER: from {1, 2} to group 3
         01 01                       ; + 1 = 0x22, GROUP_ORDER: Ascending
         10 00                       ; + 0x10 = 0x32, NEW_GROUP_REQUEST: 0",
        Message::RequestOk(RequestOk {
            answers: Some(RequestKind::Publish),
            ..request_ok(1, |p| {
                p.object_delivery_timeout = Some(9);
                p.expires = Some(5);
                p.forward = Some(true);
                p.subscriber_priority = Some(32);
                p.subscription_filter =
                    Some(Filter::AbsoluteRange { start: Location::new(1, 2), end_group: 3 });
                p.group_order = Some(GroupOrder::Ascending);
                p.new_group_request = Some(0);
            })
        }),
    );
    v.both(
        "PUBLISH_DONE",
        "0b 000c                     ; Type, Length
         02 12                       ; Request ID, Status Code: MALFORMED_TRACK
         ffffffffffffffff            ; Stream Count: 2^62 - 1, not known
         01 'x'                      ; Error Reason",
        Message::PublishDone(PublishDone {
            request_id: Some(2),
            code: PublishDoneCode::MalformedTrack,
            stream_count: PublishDone::UNKNOWN_STREAM_COUNT,
            reason: "x".into(),
        }),
    );
}

fn fetch(v: &mut Vectors) {
    v.both(
        "FETCH, standalone, with every parameter",
        "16 0014                     ; Type, Length
         08 01                       ; Request ID, Fetch Type: Standalone
         01 01 'n' 01 't'            ; Track Namespace, Track Name
         01 02 03 00                 ; Start Location {1, 2}, End Location {3, 0}
         03                          ; Number of Parameters
         03 02 02 01                 ; AUTHORIZATION_TOKEN: USE_ALIAS 1
         1d 05                       ; + 0x1d = 0x20, SUBSCRIBER_PRIORITY: 5
         02 02                       ; + 2 = 0x22, GROUP_ORDER: Descending",
        Message::Fetch(Fetch {
            request_id: 8,
            range: FetchRange::Standalone {
                track: track("n--t"),
                start: Location::new(1, 2),
                end: Location::new(3, 0),
            },
            parameters: parameters(|p| {
                p.authorization_tokens = vec![AuthToken::UseAlias { alias: 1 }];
                p.subscriber_priority = Some(5);
                p.group_order = Some(GroupOrder::Descending);
            }),
        }),
    );
    let joining = |start| {
        Message::Fetch(Fetch {
            request_id: 8,
            range: FetchRange::Joining { request_id: 2, start },
            parameters: parameters(|_| {}),
        })
    };
    v.both(
        "FETCH, relative joining",
        "16 0005 08 02 02 03 00      ; Type, Length, Request ID, Fetch Type, Joining ID and Start",
        joining(JoiningStart::Relative(3)),
    );
    v.both(
        "FETCH, absolute joining",
        "16 0006 08 03 02 4064 00    ; Type, Length, Request ID, Fetch Type, Joining ID and Start",
        joining(JoiningStart::Absolute(100)),
    );
    v.both(
        "FETCH_OK",
        "18 0007                     ; Type, Length
         08 01                       ; Request ID, End Of Track
         03 05 00                    ; End Location {3, 5}, Number of Parameters
         04 0a                       ; MAX_CACHE_DURATION: 10",
        Message::FetchOk(FetchOk {
            request_id: Some(8),
            end_of_track: true,
            end: Location::new(3, 5),
            group_order: None,
            parameters: parameters(|_| {}),
            track_properties: properties(&[Property::int(0x04, 10)]),
        }),
    );
    v.both(
        "FETCH_CANCEL",
        "17 0001 08 ; Type, Length, Request ID",
        Message::FetchCancel(FetchCancel { request_id: 8 }),
    );
}

fn namespaces(v: &mut Vectors) {
    v.both(
        "PUBLISH_NAMESPACE",
        "06 000b                     ; Type, Length
         0a 02 01 'a' 01 'b'         ; Request ID, Track Namespace
         01 03 02 03 05              ; Number of Parameters, AUTHORIZATION_TOKEN, empty, type 5",
        Message::PublishNamespace(PublishNamespace {
            request_id: 10,
            namespace: namespace("a-b"),
            parameters: parameters(|p| {
                p.authorization_tokens =
                    vec![AuthToken::UseValue { token_type: 5, value: text("") }];
            }),
        }),
    );
    let suffixes = [
        ("NAMESPACE", 0x08, "02 01 'a' 02 '.b'", "a-.2eb"),
        ("NAMESPACE that is the prefix itself", 0x08, "00", ""),
        ("NAMESPACE_DONE", 0x0E, "01 01 'a'", "a"),
        ("NAMESPACE_DONE that is the prefix itself", 0x0E, "00", ""),
    ];
    for (name, code, bytes, suffix) in suffixes {
        let length = moqt_conformance::bytes(bytes).len();
        let suffix = namespace(suffix);
        let message = if code == 0x08 {
            Message::Namespace(Namespace { suffix })
        } else {
            Message::NamespaceDone(NamespaceDone { suffix })
        };
        v.both(name, &format!("{code:02x} {length:04x} {bytes}"), message);
    }
    v.both(
        "PUBLISH_NAMESPACE_DONE",
        "09 0001 0a ; Type, Length, Request ID",
        Message::PublishNamespaceDone(PublishNamespaceDone::RequestId(10)),
    );
    v.both(
        "PUBLISH_NAMESPACE_CANCEL",
        "0c 0004 0a 20 01 'z' ; Type, Length, Request ID, UNINTERESTED, Error Reason",
        Message::PublishNamespaceCancel(PublishNamespaceCancel {
            target: PublishNamespaceDone::RequestId(10),
            code: Code::Uninterested,
            reason: "z".into(),
        }),
    );
    let interests = [
        ("SUBSCRIBE_NAMESPACE for PUBLISH", "00", NamespaceInterest::Tracks),
        ("SUBSCRIBE_NAMESPACE for NAMESPACE", "01", NamespaceInterest::Namespaces),
        ("SUBSCRIBE_NAMESPACE for both", "02", NamespaceInterest::Both),
    ];
    for (name, options, interest) in interests {
        v.both(
            name,
            // Type, Length, Request ID, Prefix, Subscribe Options, FORWARD: 0
            &format!("11 0008 0c 01 01 'a' {options} 01 10 00"),
            Message::SubscribeNamespace(SubscribeNamespace {
                request_id: 12,
                prefix: namespace("a"),
                interest,
                parameters: parameters(|p| p.forward = Some(false)),
            }),
        );
    }
    v.both(
        "SUBSCRIBE_NAMESPACE for everything",
        "11 0004 0c 00 02 00 ; Type, Length, Request ID, empty prefix, both, parameters",
        Message::SubscribeNamespace(SubscribeNamespace {
            request_id: 12,
            prefix: TrackNamespace::root(),
            interest: NamespaceInterest::Both,
            parameters: parameters(|_| {}),
        }),
    );
}
