//! Draft 14's control messages, in the order of its section "Control Messages".
//!
//! PUBLISH, PUBLISH_OK and PUBLISH_ERROR print their length as a variable-length integer; the
//! format of all control messages gives it 16 bits, as here.

use moqt_engine::model::{
    AuthToken, Fetch, FetchCancel, FetchOk, FetchRange, Goaway, GroupOrder, JoiningStart, Location,
    MaxRequestId, Message, NamespaceInterest, Property, Publish, PublishDone, PublishDoneCode,
    PublishNamespace, PublishNamespaceCancel, PublishNamespaceDone, RequestErrorCode as Code,
    RequestKind, RequestOk, RequestUpdate, RequestsBlocked, Subscribe, SubscribeNamespace,
    SubscribeOk, SubscriptionFilter as Filter, TrackNamespace, TrackStatus, Unsubscribe,
    UnsubscribeNamespace,
};

use super::{D14, Vector, Vectors, namespace, parameters, properties, refusal, setup, text, track};

pub(super) fn vectors() -> Vec<Vector> {
    let mut v = Vectors::of(&D14);
    session(&mut v);
    subscribe(&mut v);
    publish(&mut v);
    fetch(&mut v);
    namespaces(&mut v);
    v.list
}

fn session(v: &mut Vectors) {
    v.both(
        "CLIENT_SETUP with every parameter",
        "20 003d                     ; Type, Length
         02                          ; Number of Supported Versions
         c0000000ff00000e            ; draft 14
         c0000000ff00000d            ; draft 13
         07                          ; Number of Parameters
         01 05 '/a?b=' ; PATH
         02 4064                     ; MAX_REQUEST_ID: 100
         03 05 01 02 03 'xy'         ; AUTHORIZATION_TOKEN: REGISTER alias 2, type 3
         03 04 03 00 'zz'            ; AUTHORIZATION_TOKEN: USE_VALUE, type 0
         04 5000                     ; MAX_AUTH_TOKEN_CACHE_SIZE: 4096
         05 09 'a.example'           ; AUTHORITY
         07 04 'us/1'                ; MOQT_IMPLEMENTATION, by the number later drafts give it",
        setup(&[0xff00_000e, 0xff00_000d], |options| {
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
        "CLIENT_SETUP with unknown parameters, in any order and repeated",
        "20 001b                     ; Type, Length
         01 c0000000ff00000e         ; Number of Supported Versions, draft 14
         05                          ; Number of Parameters
         409d 02 'gr'                ; unknown, odd: has a length
         411c 07                     ; unknown, even: has none
         411c 07                     ; unknown ones may repeat
         02 40c8                     ; MAX_REQUEST_ID: 200
         4063 00                     ; unknown, odd, empty",
        setup(&[0xff00_000e], |options| options.max_request_id = Some(200)),
    );
    v.both(
        "SERVER_SETUP",
        "21 0010                     ; Type, Length
         c0000000ff00000e            ; Selected Version
         02                          ; Number of Parameters
         02 80010000                 ; MAX_REQUEST_ID: 65536
         04 00                       ; MAX_AUTH_TOKEN_CACHE_SIZE: 0",
        setup(&[0xff00_000e], |options| {
            options.max_request_id = Some(65_536);
            options.max_auth_token_cache_size = Some(0);
        }),
    );
    v.read_only(
        "SERVER_SETUP with MOQT_IMPLEMENTATION, whose number AUTHORITY has too",
        "21 000f                     ; Type, Length
         c0000000ff00000e            ; Selected Version
         01                          ; Number of Parameters
         05 04 'them'                ; MOQT_IMPLEMENTATION",
        setup(&[0xff00_000e], |options| options.implementation = Some(text("them"))),
    );
    v.both(
        "GOAWAY with a URI",
        "10 0011                     ; Type, Length
         10 'https://b.exampl'       ; New Session URI",
        goaway("https://b.exampl"),
    );
    v.both("GOAWAY without a URI", "10 0001 00 ; Type, Length, New Session URI Length", goaway(""));
    v.both(
        "MAX_REQUEST_ID",
        "15 0002 43e8 ; Type, Length, Request ID: 1000",
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

fn subscribe(v: &mut Vectors) {
    v.both(
        "SUBSCRIBE, Largest Object",
        "03 0015                     ; Type, Length
         00                          ; Request ID
         02 04 'meet' 02 'no'        ; Track Namespace
         05 'video'                  ; Track Name
         80 00 01                    ; Subscriber Priority, Group Order: publisher's, Forward
         02                          ; Filter Type: Largest Object
         00                          ; Number of Parameters",
        Message::Subscribe(Subscribe {
            request_id: 0,
            track: track("meet-no--video"),
            parameters: parameters(|p| {
                p.subscriber_priority = Some(128);
                p.forward = Some(true);
                p.subscription_filter = Some(Filter::LargestObject);
            }),
        }),
    );
    v.both(
        "SUBSCRIBE, AbsoluteRange, every parameter",
        "03 001a                     ; Type, Length
         4042                        ; Request ID: 66
         01 01 'n' 00                ; Track Namespace, empty Track Name
         ff 02 00                    ; Subscriber Priority, Group Order: Descending, Forward
         04 05 4100 05               ; Filter Type: AbsoluteRange, from {5, 256} to group 5
         03                          ; Number of Parameters
         02 41f4                     ; DELIVERY_TIMEOUT: 500
         03 02 02 07                 ; AUTHORIZATION_TOKEN: USE_ALIAS 7
         03 02 00 08                 ; AUTHORIZATION_TOKEN: DELETE 8",
        Message::Subscribe(Subscribe {
            request_id: 66,
            track: track("n--"),
            parameters: parameters(|p| {
                p.subscriber_priority = Some(255);
                p.group_order = Some(GroupOrder::Descending);
                p.forward = Some(false);
                p.subscription_filter =
                    Some(Filter::AbsoluteRange { start: Location::new(5, 256), end_group: 5 });
                p.object_delivery_timeout = Some(500);
                p.authorization_tokens =
                    vec![AuthToken::UseAlias { alias: 7 }, AuthToken::Delete { alias: 8 }];
            }),
        }),
    );
    v.read_only(
        "SUBSCRIBE with parameters that are unknown, or not for it",
        "03 0019                     ; Type, Length
         02 01 01 'n' 01 't'         ; Request ID, Track Namespace, Track Name
         00 01 01 01                 ; Priority, Order: Ascending, Forward, Next Group Start
         05                          ; Number of Parameters
         04 05                       ; MAX_CACHE_DURATION, not for SUBSCRIBE
         3d 02 'ab'                  ; unknown
         3d 02 'cd'                  ; unknown, again
         3c 09                       ; unknown
         02 00                       ; DELIVERY_TIMEOUT: 0",
        Message::Subscribe(Subscribe {
            request_id: 2,
            track: track("n--t"),
            parameters: parameters(|p| {
                p.subscriber_priority = Some(0);
                p.group_order = Some(GroupOrder::Ascending);
                p.forward = Some(true);
                p.subscription_filter = Some(Filter::NextGroupStart);
                p.object_delivery_timeout = Some(0);
            }),
        }),
    );
    v.both(
        "SUBSCRIBE_OK with content",
        "04 0010                     ; Type, Length
         00 09                       ; Request ID, Track Alias
         43e8                        ; Expires: 1000
         01 01 06 4080               ; Group Order, Content Exists, Largest Location {6, 128}
         02                          ; Number of Parameters
         02 41f4                     ; DELIVERY_TIMEOUT: 500
         04 4e20                     ; MAX_CACHE_DURATION: 3616",
        Message::SubscribeOk(SubscribeOk {
            request_id: Some(0),
            track_alias: 9,
            parameters: parameters(|p| {
                p.expires = Some(1000);
                p.group_order = Some(GroupOrder::Ascending);
                p.largest_object = Some(Location::new(6, 128));
            }),
            track_properties: properties(&[Property::int(0x02, 500), Property::int(0x04, 3616)]),
        }),
    );
    v.both(
        "SUBSCRIBE_OK without content",
        "04 0006                     ; Type, Length
         00 09 00                    ; Request ID, Track Alias, Expires
         02 00                       ; Group Order: Descending, Content Exists
         00                          ; Number of Parameters",
        Message::SubscribeOk(SubscribeOk {
            request_id: Some(0),
            track_alias: 9,
            parameters: parameters(|p| {
                p.expires = Some(0);
                p.group_order = Some(GroupOrder::Descending);
            }),
            track_properties: properties(&[]),
        }),
    );
    v.both(
        "SUBSCRIBE_ERROR",
        "05 000a                     ; Type, Length
         02 04                       ; Request ID, Error Code: TRACK_DOES_NOT_EXIST
         07 'no such'                ; Error Reason",
        Message::RequestError(refusal(
            Some(2),
            Some(RequestKind::Subscribe),
            Code::DoesNotExist,
            "no such",
        )),
    );
    v.both(
        "SUBSCRIBE_UPDATE, open-ended",
        "02 000a                     ; Type, Length
         04 00                       ; Request ID, Subscription Request ID
         07 01 00                    ; Start Location {7, 1}, End Group: none
         10 01                       ; Subscriber Priority, Forward
         01 02 05                    ; Number of Parameters, DELIVERY_TIMEOUT: 5",
        Message::RequestUpdate(RequestUpdate {
            request_id: 4,
            existing_request_id: Some(0),
            parameters: parameters(|p| {
                p.subscription_filter = Some(Filter::AbsoluteStart { start: Location::new(7, 1) });
                p.subscriber_priority = Some(16);
                p.forward = Some(true);
                p.object_delivery_timeout = Some(5);
            }),
        }),
    );
    v.both(
        "SUBSCRIBE_UPDATE, with an end",
        "02 0008                     ; Type, Length
         04 00                       ; Request ID, Subscription Request ID
         07 01 08                    ; Start Location {7, 1}, End Group 7 plus 1
         10 00 00                    ; Subscriber Priority, Forward, Number of Parameters",
        Message::RequestUpdate(RequestUpdate {
            request_id: 4,
            existing_request_id: Some(0),
            parameters: parameters(|p| {
                p.subscription_filter =
                    Some(Filter::AbsoluteRange { start: Location::new(7, 1), end_group: 7 });
                p.subscriber_priority = Some(16);
                p.forward = Some(false);
            }),
        }),
    );
    v.both(
        "UNSUBSCRIBE",
        "0a 0001 02 ; Type, Length, Request ID",
        Message::Unsubscribe(Unsubscribe { request_id: 2 }),
    );
    v.both(
        "TRACK_STATUS, laid out as SUBSCRIBE",
        "0d 000d                     ; Type, Length
         06 01 01 'n' 01 't'         ; Request ID, Track Namespace, Track Name
         80 00 01                    ; Subscriber Priority, Group Order, Forward
         03 00 00                    ; Filter Type: AbsoluteStart {0, 0}
         00                          ; Number of Parameters",
        Message::TrackStatus(TrackStatus {
            request_id: 6,
            track: track("n--t"),
            parameters: parameters(|p| {
                p.subscriber_priority = Some(128);
                p.forward = Some(true);
                p.subscription_filter = Some(Filter::AbsoluteStart { start: Location::ZERO });
            }),
        }),
    );
    v.both(
        "TRACK_STATUS_OK, laid out as SUBSCRIBE_OK",
        "0e 0008                     ; Type, Length
         06 00 00                    ; Request ID, Track Alias: 0, Expires
         01 01 02 03                 ; Group Order, Content Exists, Largest Location {2, 3}
         00                          ; Number of Parameters",
        Message::RequestOk(RequestOk {
            request_id: Some(6),
            answers: Some(RequestKind::TrackStatus),
            parameters: parameters(|p| {
                p.expires = Some(0);
                p.group_order = Some(GroupOrder::Ascending);
                p.largest_object = Some(Location::new(2, 3));
            }),
            track_properties: properties(&[]),
        }),
    );
    v.both(
        "TRACK_STATUS_ERROR",
        "0f 0003 06 03 00 ; Type, Length, Request ID, NOT_SUPPORTED, Error Reason",
        Message::RequestError(refusal(
            Some(6),
            Some(RequestKind::TrackStatus),
            Code::NotSupported,
            "",
        )),
    );
}

fn publish(v: &mut Vectors) {
    v.both(
        "PUBLISH with content",
        "1d 0015                     ; Type, Length
         01 01 01 'n' 01 't' 4050    ; Request ID, Namespace, Name, Track Alias: 80
         01 01 08 04                 ; Group Order, Content Exists, Largest Location {8, 4}
         00                          ; Forward
         02                          ; Number of Parameters
         03 03 03 01 'k'             ; AUTHORIZATION_TOKEN: USE_VALUE, type 1
         04 3c                       ; MAX_CACHE_DURATION: 60",
        Message::Publish(Publish {
            request_id: 1,
            track: track("n--t"),
            track_alias: 80,
            parameters: parameters(|p| {
                p.group_order = Some(GroupOrder::Ascending);
                p.largest_object = Some(Location::new(8, 4));
                p.forward = Some(false);
                p.authorization_tokens =
                    vec![AuthToken::UseValue { token_type: 1, value: text("k") }];
            }),
            track_properties: properties(&[Property::int(0x04, 60)]),
        }),
    );
    v.both(
        "PUBLISH without content",
        "1d 000b                     ; Type, Length
         01 01 01 'n' 01 't' 05      ; Request ID, Namespace, Name, Track Alias
         02 00 01 00                 ; Group Order, Content Exists, Forward, Parameters",
        Message::Publish(Publish {
            request_id: 1,
            track: track("n--t"),
            track_alias: 5,
            parameters: parameters(|p| {
                p.group_order = Some(GroupOrder::Descending);
                p.forward = Some(true);
            }),
            track_properties: properties(&[]),
        }),
    );
    v.both(
        "PUBLISH_OK",
        "1e 000b                     ; Type, Length
         01 01 40 02                 ; Request ID, Forward, Subscriber Priority, Group Order
         04 01 02 03                 ; Filter Type: AbsoluteRange, from {1, 2} to group 3
         01 02 09                    ; Number of Parameters, DELIVERY_TIMEOUT: 9",
        Message::RequestOk(RequestOk {
            request_id: Some(1),
            answers: Some(RequestKind::Publish),
            parameters: parameters(|p| {
                p.forward = Some(true);
                p.subscriber_priority = Some(0x40);
                p.group_order = Some(GroupOrder::Descending);
                p.subscription_filter =
                    Some(Filter::AbsoluteRange { start: Location::new(1, 2), end_group: 3 });
                p.object_delivery_timeout = Some(9);
            }),
            track_properties: properties(&[]),
        }),
    );
    v.both(
        "PUBLISH_ERROR",
        "1f 0005 01 04 02 'no' ; Type, Length, Request ID, UNINTERESTED, Error Reason",
        Message::RequestError(refusal(
            Some(1),
            Some(RequestKind::Publish),
            Code::Uninterested,
            "no",
        )),
    );
    v.both(
        "PUBLISH_DONE",
        "0b 000c                     ; Type, Length
         02 07                       ; Request ID, Status Code: MALFORMED_TRACK
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
        "FETCH, standalone",
        "16 000e                     ; Type, Length
         08 05 00                    ; Request ID, Subscriber Priority, Group Order
         01                          ; Fetch Type: Standalone
         01 01 'n' 01 't'            ; Track Namespace, Track Name
         01 02 03 00                 ; Start Location {1, 2}, End Location {3, 0}
         00                          ; Number of Parameters",
        Message::Fetch(Fetch {
            request_id: 8,
            range: FetchRange::Standalone {
                track: track("n--t"),
                start: Location::new(1, 2),
                end: Location::new(3, 0),
            },
            parameters: parameters(|p| p.subscriber_priority = Some(5)),
        }),
    );
    v.both(
        "FETCH, relative joining",
        "16 000b                     ; Type, Length
         08 05 02                    ; Request ID, Subscriber Priority, Group Order
         02 00 03                    ; Relative Joining, Joining Request ID, Joining Start
         01 03 02 02 01              ; Number of Parameters, AUTHORIZATION_TOKEN: USE_ALIAS 1",
        Message::Fetch(Fetch {
            request_id: 8,
            range: FetchRange::Joining { request_id: 0, start: JoiningStart::Relative(3) },
            parameters: parameters(|p| {
                p.subscriber_priority = Some(5);
                p.group_order = Some(GroupOrder::Descending);
                p.authorization_tokens = vec![AuthToken::UseAlias { alias: 1 }];
            }),
        }),
    );
    v.both(
        "FETCH, absolute joining",
        "16 0008                     ; Type, Length
         08 05 01                    ; Request ID, Subscriber Priority, Group Order
         03 00 4064 00               ; Absolute Joining, Joining Request ID, Start: 100, no parameters",
        Message::Fetch(Fetch {
            request_id: 8,
            range: FetchRange::Joining { request_id: 0, start: JoiningStart::Absolute(100) },
            parameters: parameters(|p| {
                p.subscriber_priority = Some(5);
                p.group_order = Some(GroupOrder::Ascending);
            }),
        }),
    );
    v.both(
        "FETCH_OK",
        "18 0008                     ; Type, Length
         08 02 01                    ; Request ID, Group Order, End Of Track
         03 05                       ; End Location {3, 5}
         01 04 0a                    ; Number of Parameters, MAX_CACHE_DURATION: 10",
        Message::FetchOk(FetchOk {
            request_id: Some(8),
            end_of_track: true,
            end: Location::new(3, 5),
            group_order: Some(GroupOrder::Descending),
            parameters: parameters(|_| {}),
            track_properties: properties(&[Property::int(0x04, 10)]),
        }),
    );
    v.both(
        "FETCH_ERROR",
        "19 0003 08 06 00 ; Type, Length, Request ID, NO_OBJECTS, Error Reason",
        Message::RequestError(refusal(Some(8), Some(RequestKind::Fetch), Code::NoObjects, "")),
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
    v.both(
        "PUBLISH_NAMESPACE_OK",
        "07 0001 0a ; Type, Length, Request ID",
        ok(10, RequestKind::PublishNamespace),
    );
    v.both(
        "PUBLISH_NAMESPACE_ERROR",
        "08 0004 0a 12 01 'e' ; Type, Length, Request ID, EXPIRED_AUTH_TOKEN, Error Reason",
        Message::RequestError(refusal(
            Some(10),
            Some(RequestKind::PublishNamespace),
            Code::ExpiredAuthToken,
            "e",
        )),
    );
    v.both(
        "PUBLISH_NAMESPACE_DONE",
        "09 0005 02 01 'a' 01 'b' ; Type, Length, Track Namespace",
        Message::PublishNamespaceDone(PublishNamespaceDone::Namespace(namespace("a-b"))),
    );
    v.both(
        "PUBLISH_NAMESPACE_CANCEL",
        "0c 0005 01 01 'a' 01 00 ; Type, Length, Track Namespace, UNAUTHORIZED, Error Reason",
        Message::PublishNamespaceCancel(PublishNamespaceCancel {
            target: PublishNamespaceDone::Namespace(namespace("a")),
            code: Code::Unauthorized,
            reason: String::new(),
        }),
    );
    let prefix =
        (0..32).fold(TrackNamespace::root(), |prefix, _| prefix.join(&namespace("f")).unwrap());
    v.both(
        "SUBSCRIBE_NAMESPACE with 32 fields",
        "11 0043                     ; Type, Length
         0c 20                       ; Request ID, Track Namespace Prefix: 32 fields
         01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'
         01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'01'f'
         00                          ; Number of Parameters",
        Message::SubscribeNamespace(SubscribeNamespace {
            request_id: 12,
            prefix,
            interest: NamespaceInterest::Both,
            parameters: parameters(|_| {}),
        }),
    );
    v.both(
        "SUBSCRIBE_NAMESPACE_OK",
        "12 0001 0c ; Type, Length, Request ID",
        ok(12, RequestKind::SubscribeNamespace),
    );
    v.both(
        "SUBSCRIBE_NAMESPACE_ERROR",
        "13 0003 0c 05 00 ; Type, Length, Request ID, NAMESPACE_PREFIX_OVERLAP, Error Reason",
        Message::RequestError(refusal(
            Some(12),
            Some(RequestKind::SubscribeNamespace),
            Code::PrefixOverlap,
            "",
        )),
    );
    v.both(
        "UNSUBSCRIBE_NAMESPACE",
        "14 0003 01 01 'a' ; Type, Length, Track Namespace Prefix",
        Message::UnsubscribeNamespace(UnsubscribeNamespace { prefix: namespace("a") }),
    );
}

fn ok(request_id: u64, answers: RequestKind) -> Message {
    Message::RequestOk(RequestOk {
        request_id: Some(request_id),
        answers: Some(answers),
        ..RequestOk::default()
    })
}
