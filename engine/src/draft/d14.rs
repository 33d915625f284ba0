//! draft-ietf-moq-transport-14.

use crate::model::MessageKind as Message;
use crate::model::{
    Draft, Parameter, PublishDoneCode, RequestErrorCode, RequestKind, SessionError,
    StreamResetCode, property_type,
};
use crate::wire::{
    Carrier, CarrierSet, CodeTables, Dialect, FetchLayout, Ints, ObjectRules, ParameterForm,
    ParameterSpec, ParameterTarget, SetupLayout, Tolerance,
};

/// Draft 14: one control stream, a message per answer, fixed fields, absolute everything.
pub static D14: Dialect = D14_CONST;

pub(super) const D14_CONST: Dialect = Dialect {
    draft: Draft::D14,
    ints: Ints::Quic,
    key_deltas: false,
    setup: SetupLayout::VersionsAndCount,
    messages: &[
        (0x03, Message::Subscribe),
        (0x04, Message::SubscribeOk),
        (0x05, Message::SubscribeError),
        (0x02, Message::RequestUpdate),
        (0x0A, Message::Unsubscribe),
        (0x0B, Message::PublishDone),
        (0x1D, Message::Publish),
        (0x1E, Message::PublishOk),
        (0x1F, Message::PublishError),
        (0x16, Message::Fetch),
        (0x18, Message::FetchOk),
        (0x19, Message::FetchError),
        (0x17, Message::FetchCancel),
        (0x0D, Message::TrackStatus),
        (0x0E, Message::TrackStatusOk),
        (0x0F, Message::TrackStatusError),
        (0x06, Message::PublishNamespace),
        (0x07, Message::PublishNamespaceOk),
        (0x08, Message::PublishNamespaceError),
        (0x09, Message::PublishNamespaceDone),
        (0x0C, Message::PublishNamespaceCancel),
        (0x11, Message::SubscribeNamespace),
        (0x12, Message::SubscribeNamespaceOk),
        (0x13, Message::SubscribeNamespaceError),
        (0x14, Message::UnsubscribeNamespace),
        (0x10, Message::Goaway),
        (0x15, Message::MaxRequestId),
        (0x1A, Message::RequestsBlocked),
        (0x20, Message::ClientSetup),
        (0x21, Message::ServerSetup),
    ],
    answers_by_stream: false,
    fixed_fields: true,
    track_properties: false,
    request_ok_properties: false,
    parameters: &[
        // The subscriber's timeout is a parameter, the publisher's a property of the track.
        ParameterSpec {
            code: 0x02,
            target: ParameterTarget::Parameter(Parameter::ObjectDeliveryTimeout),
            form: ParameterForm::Int,
            allowed: CarrierSet::of(&[
                Carrier::Subscribe,
                Carrier::PublishOk,
                Carrier::TrackStatus,
            ])
            .union(CarrierSet::UPDATES),
        },
        ParameterSpec {
            code: 0x02,
            target: ParameterTarget::TrackProperty(property_type::OBJECT_DELIVERY_TIMEOUT),
            form: ParameterForm::Int,
            allowed: CarrierSet::of(&[
                Carrier::Publish,
                Carrier::SubscribeOk,
                Carrier::TrackStatusOk,
            ]),
        },
        ParameterSpec {
            code: 0x03,
            target: ParameterTarget::Parameter(Parameter::AuthorizationToken),
            form: ParameterForm::Prefixed,
            allowed: CarrierSet::of(&[
                Carrier::Subscribe,
                Carrier::Publish,
                Carrier::Fetch,
                Carrier::TrackStatus,
                Carrier::PublishNamespace,
                Carrier::SubscribeNamespace,
            ])
            .union(CarrierSet::UPDATES),
        },
        ParameterSpec {
            code: 0x04,
            target: ParameterTarget::TrackProperty(property_type::MAX_CACHE_DURATION),
            form: ParameterForm::Int,
            allowed: CarrierSet::of(&[
                Carrier::Publish,
                Carrier::SubscribeOk,
                Carrier::FetchOk,
                Carrier::TrackStatusOk,
            ]),
        },
    ],
    unknown_parameter: Tolerance::Ignore,
    misplaced_parameter: Tolerance::Ignore,
    split_delivery_timeouts: false,
    forward_renews_interest: false,
    zero_delivery_timeout_closes: false,
    filter_end_delta: false,
    setup_tokens_by_value: false,
    unique_tokens: false,
    default_token_cache: 4096,
    server_authority_is_implementation: true,
    min_namespace_fields: 1,
    min_prefix_fields: 1,
    empty_namespace_fields: true,
    namespace_options: false,
    namespace_done_by_name: true,
    goaway_timeout: false,
    goaway_refuses_requests: false,
    retry_interval: false,
    redirect: false,
    update_names_request: true,
    updates_narrow_only: true,
    duplicate_subscription_closes: true,
    reserved_namespaces: false,
    mandatory_properties: false,
    objects: ObjectRules {
        subgroup_type_bits: 0x0F,
        datagram_type_bits: 0x27,
        status_datagram_without_id: false,
        does_not_exist_status: true,
        properties_on_normal_only: false,
        fetch: FetchLayout::Absolute,
        padding: false,
        mixed_forwarding: false,
    },
    codes: CodeTables {
        session: &[
            (0x00, SessionError::NoError),
            (0x01, SessionError::InternalError),
            (0x02, SessionError::Unauthorized),
            (0x03, SessionError::ProtocolViolation),
            (0x04, SessionError::InvalidRequestId),
            (0x05, SessionError::DuplicateTrackAlias),
            (0x06, SessionError::KeyValueFormattingError),
            (0x07, SessionError::TooManyRequests),
            (0x08, SessionError::InvalidPath),
            (0x09, SessionError::MalformedPath),
            (0x10, SessionError::GoawayTimeout),
            (0x11, SessionError::ControlMessageTimeout),
            (0x12, SessionError::DataStreamTimeout),
            (0x13, SessionError::AuthTokenCacheOverflow),
            (0x14, SessionError::DuplicateAuthTokenAlias),
            (0x15, SessionError::VersionNegotiationFailed),
            (0x16, SessionError::MalformedAuthToken),
            (0x17, SessionError::UnknownAuthTokenAlias),
            (0x18, SessionError::ExpiredAuthToken),
            (0x19, SessionError::InvalidAuthority),
            (0x1A, SessionError::MalformedAuthority),
        ],
        request: SUBSCRIBE_ERRORS,
        request_by_kind: &[
            (RequestKind::Publish, PUBLISH_ERRORS),
            (RequestKind::Fetch, FETCH_ERRORS),
            (RequestKind::PublishNamespace, PUBLISH_NAMESPACE_ERRORS),
            (RequestKind::SubscribeNamespace, SUBSCRIBE_NAMESPACE_ERRORS),
        ],
        publish_done: &[
            (0x0, PublishDoneCode::InternalError),
            (0x1, PublishDoneCode::Unauthorized),
            (0x2, PublishDoneCode::TrackEnded),
            (0x3, PublishDoneCode::SubscriptionEnded),
            (0x4, PublishDoneCode::GoingAway),
            (0x5, PublishDoneCode::Expired),
            (0x6, PublishDoneCode::TooFarBehind),
            (0x7, PublishDoneCode::MalformedTrack),
        ],
        reset: &[
            (0x0, StreamResetCode::InternalError),
            (0x1, StreamResetCode::Cancelled),
            (0x2, StreamResetCode::DeliveryTimeout),
            (0x3, StreamResetCode::SessionClosed),
        ],
    },
};

/// SUBSCRIBE_ERROR's and TRACK_STATUS_ERROR's.
const SUBSCRIBE_ERRORS: &[(u64, RequestErrorCode)] = &[
    (0x00, RequestErrorCode::InternalError),
    (0x01, RequestErrorCode::Unauthorized),
    (0x02, RequestErrorCode::Timeout),
    (0x03, RequestErrorCode::NotSupported),
    (0x04, RequestErrorCode::DoesNotExist),
    (0x05, RequestErrorCode::InvalidRange),
    (0x10, RequestErrorCode::MalformedAuthToken),
    (0x12, RequestErrorCode::ExpiredAuthToken),
];

const PUBLISH_ERRORS: &[(u64, RequestErrorCode)] = &[
    (0x00, RequestErrorCode::InternalError),
    (0x01, RequestErrorCode::Unauthorized),
    (0x02, RequestErrorCode::Timeout),
    (0x03, RequestErrorCode::NotSupported),
    (0x04, RequestErrorCode::Uninterested),
];

const FETCH_ERRORS: &[(u64, RequestErrorCode)] = &[
    (0x00, RequestErrorCode::InternalError),
    (0x01, RequestErrorCode::Unauthorized),
    (0x02, RequestErrorCode::Timeout),
    (0x03, RequestErrorCode::NotSupported),
    (0x04, RequestErrorCode::DoesNotExist),
    (0x05, RequestErrorCode::InvalidRange),
    (0x06, RequestErrorCode::NoObjects),
    (0x07, RequestErrorCode::InvalidJoiningRequestId),
    (0x08, RequestErrorCode::UnknownStatusInRange),
    (0x09, RequestErrorCode::MalformedTrack),
    (0x10, RequestErrorCode::MalformedAuthToken),
    (0x12, RequestErrorCode::ExpiredAuthToken),
];

const PUBLISH_NAMESPACE_ERRORS: &[(u64, RequestErrorCode)] = &[
    (0x00, RequestErrorCode::InternalError),
    (0x01, RequestErrorCode::Unauthorized),
    (0x02, RequestErrorCode::Timeout),
    (0x03, RequestErrorCode::NotSupported),
    (0x04, RequestErrorCode::Uninterested),
    (0x10, RequestErrorCode::MalformedAuthToken),
    (0x12, RequestErrorCode::ExpiredAuthToken),
];

const SUBSCRIBE_NAMESPACE_ERRORS: &[(u64, RequestErrorCode)] = &[
    (0x00, RequestErrorCode::InternalError),
    (0x01, RequestErrorCode::Unauthorized),
    (0x02, RequestErrorCode::Timeout),
    (0x03, RequestErrorCode::NotSupported),
    (0x04, RequestErrorCode::DoesNotExist),
    (0x05, RequestErrorCode::PrefixOverlap),
    (0x10, RequestErrorCode::MalformedAuthToken),
    (0x12, RequestErrorCode::ExpiredAuthToken),
];
