//! Draft 18's control messages, in the order of its section "Control Messages".
//!
//! Its integers carry seven bits in one byte: 100 is `64`, 128 is `8080`, 1000 is `83e8`.

use moqt_engine::model::{
    AuthToken, Fetch, FetchOk, FetchRange, Goaway, GroupOrder, JoiningStart, Location, Message,
    Namespace, NamespaceDone, NamespaceInterest, Property, Publish, PublishBlocked, PublishDone,
    PublishDoneCode, PublishNamespace, Redirect, RequestError, RequestErrorCode as Code, RequestOk,
    RequestUpdate, Subscribe, SubscribeNamespace, SubscribeOk, SubscribeTracks,
    SubscriptionFilter as Filter, TrackNamespace, TrackStatus,
};

use super::{D18, Vector, Vectors, namespace, parameters, properties, refusal, setup, text, track};

pub(super) fn vectors() -> Vec<Vector> {
    let mut v = Vectors::of(&D18);
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
        "SETUP with every option",
        "af00 0028                   ; Type 0x2f00, Length
         01 05 '/a?b='               ; PATH
         02 05 01 02 03 'xy'         ; + 2 = 0x03, AUTHORIZATION_TOKEN: REGISTER alias 2, type 3
         00 04 03 00 'zz'            ; + 0 = 0x03, AUTHORIZATION_TOKEN: USE_VALUE, type 0
         01 9000                     ; + 1 = 0x04, MAX_AUTH_TOKEN_CACHE_SIZE: 4096
         01 09 'a.example'           ; + 1 = 0x05, AUTHORITY
         02 04 'us/1'                ; + 2 = 0x07, MOQT_IMPLEMENTATION",
        setup(&[], |options| {
            options.path = Some(text("/a?b="));
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
        "SETUP with a type in nine bytes",
        "ff0000000000002f00 0000 ; Type, Length",
        setup(&[], |_| {}),
    );
    v.both("SETUP without options", "af00 0000 ; Type, Length", setup(&[], |_| {}));
    v.read_only(
        "SETUP with GREASE, and 0x02, which was MAX_REQUEST_ID",
        "af00 001f                   ; Type, Length
         02 09                       ; no option of draft 18
         00 08                       ; + 0 = 0x02: unknown ones may repeat
         02 07                       ; + 2 = 0x04, MAX_AUTH_TOKEN_CACHE_SIZE: 7
         8099 02 'gr'                ; + 0x99 = 0x9d, 0x7f * 0 + 0x9d: has a length
         7f 05                       ; + 0x7f = 0x11c, 0x7f * 1 + 0x9d: has none
         ff3ffffffffffffec2 ffffffffffffffffff ; + ... = 0x3fffffffffffffde",
        setup(&[], |options| options.max_auth_token_cache_size = Some(7)),
    );
    v.both(
        "GOAWAY on the control stream",
        "10 0014                     ; Type, Length
         10 'https://b.exampl'       ; New Session URI
         83e8 04                     ; Timeout: 1000, Request ID",
        goaway("https://b.exampl", 1000, Some(4)),
    );
    v.both(
        "GOAWAY on a request stream",
        "10 0002 00 00               ; Type, Length, New Session URI Length, Timeout",
        goaway("", 0, None),
    );
    v.both(
        "GOAWAY before any request",
        "10 0003 00 05 00            ; Type, Length, New Session URI Length, Timeout, Request ID",
        goaway("", 5, Some(0)),
    );
    v.read_only(
        "GOAWAY with integers longer than they need be",
        "10 000f                     ; Type, Length
         8000                        ; New Session URI Length: 0, in two bytes
         e0000005                    ; Timeout: 5, in four
         ff0000000000000005          ; Request ID: 5, in nine",
        goaway("", 5, Some(5)),
    );
}

fn goaway(uri: &'static str, timeout: u64, request_id: Option<u64>) -> Message {
    Message::Goaway(Goaway { new_session_uri: text(uri), timeout, request_id })
}

fn request_ok(set: impl FnOnce(&mut super::Parameters), list: &[Property]) -> Message {
    Message::RequestOk(RequestOk {
        parameters: parameters(set),
        track_properties: properties(list),
        ..RequestOk::default()
    })
}

fn answers(v: &mut Vectors) {
    v.both(
        "REQUEST_OK",
        "07 0001 00 ; Type, Length, Number of Parameters",
        request_ok(|_| {}, &[]),
    );
    v.both(
        "REQUEST_OK to a PUBLISH",
        "07 0015                     ; Type, Length
         08                          ; Number of Parameters
         02 09                       ; OBJECT_DELIVERY_TIMEOUT: 9
         04 00                       ; + 4 = 0x06, SUBGROUP_DELIVERY_TIMEOUT: 0
         02 05                       ; + 2 = 0x08, EXPIRES: 5
         08 01                       ; + 8 = 0x10, FORWARD: 1, one byte
         10 ff                       ; + 0x10 = 0x20, SUBSCRIBER_PRIORITY: 255, one byte
         01 04 04 01 02 03           ; + 1 = 0x21, SUBSCRIPTION_FILTER: {1, 2} to group 1 + 3
         01 01                       ; + 1 = 0x22, GROUP_ORDER: Ascending, one byte
         10 00                       ; + 0x10 = 0x32, NEW_GROUP_REQUEST: 0",
        request_ok(
            |p| {
                p.object_delivery_timeout = Some(9);
                p.subgroup_delivery_timeout = Some(0);
                p.expires = Some(5);
                p.forward = Some(true);
                p.subscriber_priority = Some(255);
                p.subscription_filter =
                    Some(Filter::AbsoluteRange { start: Location::new(1, 2), end_group: 4 });
                p.group_order = Some(GroupOrder::Ascending);
                p.new_group_request = Some(0);
            },
            &[],
        ),
    );
    v.both(
        "REQUEST_OK to a TRACK_STATUS, with Track Properties",
        "07 0009                     ; Type, Length
         01                          ; Number of Parameters
         09 05 8080                  ; LARGEST_OBJECT: {5, 128}, without a length
         04 0a                       ; MAX_CACHE_DURATION: 10
         0a 32                       ; + 0x0a = 0x0e, DEFAULT_PUBLISHER_PRIORITY: 50",
        request_ok(
            |p| p.largest_object = Some(Location::new(5, 128)),
            &[Property::int(0x04, 10), Property::int(0x0e, 50)],
        ),
    );
    v.both(
        "REQUEST_ERROR",
        "05 0009                     ; Type, Length
         31 83e9                     ; NAMESPACE_TOO_LARGE, Retry Interval: 1000 + 1
         05 'later'                  ; Error Reason",
        Message::RequestError(RequestError {
            retry_interval: 1001,
            ..refusal(None, None, Code::NamespaceTooLarge, "later")
        }),
    );
    v.both(
        "REQUEST_ERROR with a GREASE code",
        "05 0004 811c 00 00          ; Type, Length, 0x11c, Retry Interval, Error Reason",
        Message::RequestError(refusal(None, None, Code::Other(0x11c), "")),
    );
    v.both(
        "REQUEST_ERROR with a redirect",
        "05 001e                     ; Type, Length
         34 01 02 'go'               ; REDIRECT, Retry Interval, Error Reason
         0f 'moqt://c/d?e=ff'        ; Connect URI
         02 01 'a' 01 'b' 03 'new'   ; Track Namespace, Track Name",
        Message::RequestError(RequestError {
            retry_interval: 1,
            redirect: Some(Redirect {
                connect_uri: text("moqt://c/d?e=ff"),
                track: track("a-b--new"),
            }),
            ..refusal(None, None, Code::Redirect, "go")
        }),
    );
    v.both(
        "REQUEST_ERROR with a redirect to the same place",
        "05 0006 34 00 00            ; Type, Length, REDIRECT, Retry Interval, Error Reason
         00 00 00                    ; Connect URI, Track Namespace, Track Name, all empty",
        Message::RequestError(RequestError {
            redirect: Some(Redirect::default()),
            ..refusal(None, None, Code::Redirect, "")
        }),
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
        "03 002b                     ; Type, Length
         ffffffffffffffffff          ; Request ID: 2^64 - 1
         00 00                       ; Track Namespace of no fields, empty Track Name
         0a                          ; Number of Parameters
         02 81f4                     ; OBJECT_DELIVERY_TIMEOUT: 500
         01 02 02 07                 ; + 1 = 0x03, AUTHORIZATION_TOKEN: USE_ALIAS 7
         00 02 00 08                 ; + 0 = 0x03, AUTHORIZATION_TOKEN: DELETE 8
         01 64                       ; + 1 = 0x04, RENDEZVOUS_TIMEOUT: 100
         02 8080                     ; + 2 = 0x06, SUBGROUP_DELIVERY_TIMEOUT: 128
         0a 00                       ; + 0x0a = 0x10, FORWARD: 0, one byte
         10 80                       ; + 0x10 = 0x20, SUBSCRIBER_PRIORITY: 128, one byte
         01 05 04 05 8100 00         ; + 1 = 0x21, SUBSCRIPTION_FILTER: {5, 256} to group 5 + 0
         01 02                       ; + 1 = 0x22, GROUP_ORDER: Descending, one byte
         10 07                       ; + 0x10 = 0x32, NEW_GROUP_REQUEST: 7",
        Message::Subscribe(Subscribe {
            request_id: u64::MAX,
            track: track("--"),
            parameters: parameters(|p| {
                p.object_delivery_timeout = Some(500);
                p.authorization_tokens =
                    vec![AuthToken::UseAlias { alias: 7 }, AuthToken::Delete { alias: 8 }];
                p.rendezvous_timeout = Some(100);
                p.subgroup_delivery_timeout = Some(128);
                p.forward = Some(false);
                p.subscriber_priority = Some(128);
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
            "SUBSCRIBE, AbsoluteRange, whose End Group is a difference",
            "04 04 07 08 09",
            Filter::AbsoluteRange { start: Location::new(7, 8), end_group: 16 },
        ),
        (
            "SUBSCRIBE, AbsoluteRange to the last possible group",
            "0c 04 07 08 fffffffffffffffff8",
            Filter::AbsoluteRange { start: Location::new(7, 8), end_group: u64::MAX },
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
    v.both(
        "SUBSCRIBE_OK with parameters and Track Properties",
        "04 002c                     ; Type, Length
         09                          ; Track Alias
         02                          ; Number of Parameters
         08 83e8                     ; EXPIRES: 1000
         01 06 8080                  ; + 1 = 0x09, LARGEST_OBJECT: {6, 128}, without a length
         02 00                       ; OBJECT_DELIVERY_TIMEOUT: 0
         02 8e20                     ; + 2 = 0x04, MAX_CACHE_DURATION: 3616
         02 07                       ; + 2 = 0x06, SUBGROUP_DELIVERY_TIMEOUT: 7
         05 02 3c 01                 ; + 5 = 0x0b, Immutable Properties, holding 0x3c: 1
         03 80c8                     ; + 3 = 0x0e, DEFAULT_PUBLISHER_PRIORITY: 200
         14 02                       ; + 0x14 = 0x22, DEFAULT_PUBLISHER_GROUP_ORDER: Descending
         0e 01                       ; + 0x0e = 0x30, DYNAMIC_GROUPS: 1
         6d 00                       ; + 0x6d = 0x9d, GREASE, odd, empty: kept
         00 01 'x'                   ; + 0 = 0x9d, again: kept
         bf63 05                     ; + 0x3f63 = 0x4000, mandatory and unknown: kept
         feffffffffffbfff 00         ; + ... = 0xffffffffffffff, odd, empty: kept",
        Message::SubscribeOk(SubscribeOk {
            request_id: None,
            track_alias: 9,
            parameters: parameters(|p| {
                p.expires = Some(1000);
                p.largest_object = Some(Location::new(6, 128));
            }),
            track_properties: properties(&[
                Property::int(0x02, 0),
                Property::int(0x04, 3616),
                Property::int(0x06, 7),
                Property::bytes(0x0b, text("\x3c\x01")),
                Property::int(0x0e, 200),
                Property::int(0x22, 2),
                Property::int(0x30, 1),
                Property::bytes(0x9d, text("")),
                Property::bytes(0x9d, text("x")),
                Property::int(0x4000, 5),
                Property::bytes(0x00ff_ffff_ffff_ffff, text("")),
            ]),
        }),
    );
    v.both(
        "REQUEST_UPDATE of a subscription, without an Existing Request ID",
        "02 000f                     ; Type, Length
         08 05                       ; Request ID, Number of Parameters
         02 01                       ; OBJECT_DELIVERY_TIMEOUT: 1
         0e 01                       ; + 0x0e = 0x10, FORWARD: 1
         10 00                       ; + 0x10 = 0x20, SUBSCRIBER_PRIORITY: 0
         01 03 03 01 02              ; + 1 = 0x21, SUBSCRIPTION_FILTER: from {1, 2}
         11 00                       ; + 0x11 = 0x32, NEW_GROUP_REQUEST: 0",
        update(|p| {
            p.object_delivery_timeout = Some(1);
            p.forward = Some(true);
            p.subscriber_priority = Some(0);
            p.subscription_filter = Some(Filter::AbsoluteStart { start: Location::new(1, 2) });
            p.new_group_request = Some(0);
        }),
    );
    v.both(
        "REQUEST_UPDATE of a namespace subscription",
        "02 0008                     ; Type, Length
         08 01                       ; Request ID, Number of Parameters
         34 02 01 'a' 01 'b'         ; TRACK_NAMESPACE_PREFIX, without a length",
        update(|p| p.track_namespace_prefix = Some(namespace("a-b"))),
    );
    v.both(
        "REQUEST_UPDATE of a namespace subscription to everything",
        "02 0004 08 01 34 00 ; Type, Length, Request ID, parameters, TRACK_NAMESPACE_PREFIX",
        update(|p| p.track_namespace_prefix = Some(TrackNamespace::root())),
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
}

fn update(set: impl FnOnce(&mut super::Parameters)) -> Message {
    Message::RequestUpdate(RequestUpdate {
        request_id: 8,
        existing_request_id: None,
        parameters: parameters(set),
    })
}

fn publish(v: &mut Vectors) {
    v.both(
        "PUBLISH",
        "1d 0016                     ; Type, Length
         01 01 01 'n' 01 't' 50      ; Request ID, Namespace, Name, Track Alias: 80
         04                          ; Number of Parameters
         03 03 03 01 'k'             ; AUTHORIZATION_TOKEN: USE_VALUE, type 1
         05 3c                       ; + 5 = 0x08, EXPIRES: 60
         01 08 04                    ; + 1 = 0x09, LARGEST_OBJECT: {8, 4}
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
        "PUBLISH_DONE",
        "0b 000c                     ; Type, Length
         05                          ; Status Code: TOO_FAR_BEHIND
         ff3fffffffffffffff          ; Stream Count: 2^62 - 1, not known
         01 'x'                      ; Error Reason",
        Message::PublishDone(PublishDone {
            request_id: None,
            code: PublishDoneCode::TooFarBehind,
            stream_count: PublishDone::UNKNOWN_STREAM_COUNT,
            reason: "x".into(),
        }),
    );
}

fn fetch(v: &mut Vectors) {
    v.both(
        "FETCH, standalone, with every parameter",
        "16 0016                     ; Type, Length
         08 01                       ; Request ID, Fetch Type: Standalone
         01 01 'n' 01 't'            ; Track Namespace, Track Name
         01 02 03 00                 ; Start Location {1, 2}, End Location {3, 0}
         04                          ; Number of Parameters
         03 02 02 01                 ; AUTHORIZATION_TOKEN: USE_ALIAS 1
         07 00                       ; + 7 = 0x0a, FILL_TIMEOUT: 0
         16 c8                       ; + 0x16 = 0x20, SUBSCRIBER_PRIORITY: 200, one byte
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
                p.fill_timeout = Some(0);
                p.subscriber_priority = Some(200);
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
        "16 0005 08 03 02 64 00      ; Type, Length, Request ID, Fetch Type, Joining ID and Start",
        joining(JoiningStart::Absolute(100)),
    );
    v.both(
        "FETCH_OK",
        "18 0006                     ; Type, Length
         00                          ; End Of Track
         03 05 00                    ; End Location {3, 5}, Number of Parameters
         04 0a                       ; MAX_CACHE_DURATION: 10",
        Message::FetchOk(FetchOk {
            request_id: None,
            end_of_track: false,
            end: Location::new(3, 5),
            group_order: None,
            parameters: parameters(|_| {}),
            track_properties: properties(&[Property::int(0x04, 10)]),
        }),
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
    v.both(
        "NAMESPACE",
        "08 0006 02 01 'a' 02 '.b' ; Type, Length, Track Namespace Suffix",
        Message::Namespace(Namespace { suffix: namespace("a-.2eb") }),
    );
    v.both(
        "NAMESPACE that is the prefix itself",
        "08 0001 00 ; Type, Length, Track Namespace Suffix",
        Message::Namespace(Namespace { suffix: TrackNamespace::root() }),
    );
    v.both(
        "NAMESPACE_DONE",
        "0e 0003 01 01 'a' ; Type, Length, Track Namespace Suffix",
        Message::NamespaceDone(NamespaceDone { suffix: namespace("a") }),
    );
    v.both(
        "PUBLISH_BLOCKED",
        "0f 0006 01 01 'a' 02 'tt' ; Type, Length, Track Namespace Suffix, Track Name",
        Message::PublishBlocked(PublishBlocked { track: track("a--tt") }),
    );
    v.both(
        "PUBLISH_BLOCKED right under the prefix",
        "0f 0002 00 00 ; Type, Length, Track Namespace Suffix, Track Name",
        Message::PublishBlocked(PublishBlocked { track: track("--") }),
    );
    v.both(
        "SUBSCRIBE_NAMESPACE",
        "50 0009                     ; Type, Length
         0c 01 01 'a'                ; Request ID, Track Namespace Prefix
         01 03 02 02 01              ; Number of Parameters, AUTHORIZATION_TOKEN: USE_ALIAS 1",
        Message::SubscribeNamespace(SubscribeNamespace {
            request_id: 12,
            prefix: namespace("a"),
            interest: NamespaceInterest::Namespaces,
            parameters: parameters(|p| {
                p.authorization_tokens = vec![AuthToken::UseAlias { alias: 1 }];
            }),
        }),
    );
    v.both(
        "SUBSCRIBE_TRACKS",
        "51 0009                     ; Type, Length
         0e 00                       ; Request ID, empty Track Namespace Prefix
         02                          ; Number of Parameters
         03 02 02 01                 ; AUTHORIZATION_TOKEN: USE_ALIAS 1
         0d 00                       ; + 0x0d = 0x10, FORWARD: 0",
        Message::SubscribeTracks(SubscribeTracks {
            request_id: 14,
            prefix: TrackNamespace::root(),
            parameters: parameters(|p| {
                p.authorization_tokens = vec![AuthToken::UseAlias { alias: 1 }];
                p.forward = Some(false);
            }),
        }),
    );
}
