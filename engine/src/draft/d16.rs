//! draft-ietf-moq-transport-16.

use super::d14::D14_CONST;
use crate::model::MessageKind as Message;
use crate::model::{Draft, Parameter, PublishDoneCode, RequestErrorCode, StreamResetCode};
use crate::wire::{
    Carrier, CarrierSet, CodeTables, Dialect, FetchLayout, ObjectRules, ParameterForm,
    ParameterSpec, ParameterTarget, SetupLayout, Tolerance,
};

/// Draft 16: differences between types, parameters for fixed fields, one answer for all,
/// properties of tracks.
pub static D16: Dialect = D16_CONST;

pub(super) const D16_CONST: Dialect = Dialect {
    draft: Draft::D16,
    key_deltas: true,
    setup: SetupLayout::Count,
    messages: &[
        (0x03, Message::Subscribe),
        (0x04, Message::SubscribeOk),
        (0x07, Message::RequestOk),
        (0x05, Message::RequestError),
        (0x02, Message::RequestUpdate),
        (0x0A, Message::Unsubscribe),
        (0x1D, Message::Publish),
        (0x1E, Message::PublishOk),
        (0x0B, Message::PublishDone),
        (0x16, Message::Fetch),
        (0x18, Message::FetchOk),
        (0x17, Message::FetchCancel),
        (0x0D, Message::TrackStatus),
        (0x06, Message::PublishNamespace),
        (0x08, Message::Namespace),
        (0x09, Message::PublishNamespaceDone),
        (0x0E, Message::NamespaceDone),
        (0x0C, Message::PublishNamespaceCancel),
        (0x11, Message::SubscribeNamespace),
        (0x10, Message::Goaway),
        (0x15, Message::MaxRequestId),
        (0x1A, Message::RequestsBlocked),
        (0x20, Message::ClientSetup),
        (0x21, Message::ServerSetup),
    ],
    fixed_fields: false,
    track_properties: true,
    parameters: &[
        parameter(
            0x02,
            Parameter::ObjectDeliveryTimeout,
            ParameterForm::Int,
            &[Carrier::PublishOk, Carrier::Subscribe, Carrier::UpdateSubscription],
        ),
        ParameterSpec {
            code: 0x03,
            target: ParameterTarget::Parameter(Parameter::AuthorizationToken),
            form: ParameterForm::Prefixed,
            allowed: CarrierSet::of(&[
                Carrier::Publish,
                Carrier::Subscribe,
                Carrier::SubscribeNamespace,
                Carrier::PublishNamespace,
                Carrier::TrackStatus,
                Carrier::Fetch,
            ])
            .union(CarrierSet::UPDATES),
        },
        parameter(
            0x08,
            Parameter::Expires,
            ParameterForm::Int,
            // REQUEST_OK is marked as to be decided; an update is answered with a new expiry.
            &[Carrier::SubscribeOk, Carrier::Publish, Carrier::PublishOk, Carrier::UpdateOk],
        ),
        parameter(
            0x09,
            Parameter::LargestObject,
            ParameterForm::Prefixed,
            &[Carrier::SubscribeOk, Carrier::Publish, Carrier::UpdateOk, Carrier::TrackStatusOk],
        ),
        parameter(
            0x10,
            Parameter::Forward,
            ParameterForm::Int,
            &[
                Carrier::Subscribe,
                Carrier::UpdateSubscription,
                Carrier::Publish,
                Carrier::PublishOk,
                Carrier::SubscribeNamespace,
            ],
        ),
        parameter(
            0x20,
            Parameter::SubscriberPriority,
            ParameterForm::Int,
            &[
                Carrier::Subscribe,
                Carrier::Fetch,
                Carrier::UpdateSubscription,
                Carrier::UpdateFetch,
                Carrier::PublishOk,
            ],
        ),
        parameter(
            0x21,
            Parameter::SubscriptionFilter,
            ParameterForm::Prefixed,
            &[Carrier::Subscribe, Carrier::PublishOk, Carrier::UpdateSubscription],
        ),
        parameter(
            0x22,
            Parameter::GroupOrder,
            ParameterForm::Int,
            &[Carrier::Subscribe, Carrier::PublishOk, Carrier::Fetch],
        ),
        parameter(
            0x32,
            Parameter::NewGroupRequest,
            ParameterForm::Int,
            &[Carrier::PublishOk, Carrier::Subscribe, Carrier::UpdateSubscription],
        ),
    ],
    unknown_parameter: Tolerance::Close,
    zero_delivery_timeout_closes: true,
    setup_tokens_by_value: true,
    unique_tokens: true,
    server_authority_is_implementation: false,
    min_prefix_fields: 0,
    empty_namespace_fields: false,
    namespace_options: true,
    namespace_done_by_name: false,
    retry_interval: true,
    only_subscribers_update: false,
    updates_narrow_only: false,
    duplicate_subscription_closes: false,
    empty_fetch_is_refused: false,
    objects: ObjectRules {
        subgroup_type_bits: 0x2F,
        datagram_type_bits: 0x2F,
        status_datagram_without_id: true,
        does_not_exist_status: false,
        properties_on_normal_only: true,
        fetch: FetchLayout::Flags,
        mixed_forwarding: true,
        status_is_final: false,
        one_immutable: true,
        ..D14_CONST.objects
    },
    codes: CodeTables {
        request: &[
            (0x00, RequestErrorCode::InternalError),
            (0x01, RequestErrorCode::Unauthorized),
            (0x02, RequestErrorCode::Timeout),
            (0x03, RequestErrorCode::NotSupported),
            (0x04, RequestErrorCode::MalformedAuthToken),
            (0x05, RequestErrorCode::ExpiredAuthToken),
            (0x10, RequestErrorCode::DoesNotExist),
            (0x11, RequestErrorCode::InvalidRange),
            (0x12, RequestErrorCode::MalformedTrack),
            (0x19, RequestErrorCode::DuplicateSubscription),
            (0x20, RequestErrorCode::Uninterested),
            (0x30, RequestErrorCode::PrefixOverlap),
            (0x32, RequestErrorCode::InvalidJoiningRequestId),
        ],
        request_by_kind: &[],
        publish_done: &[
            (0x00, PublishDoneCode::InternalError),
            (0x01, PublishDoneCode::Unauthorized),
            (0x02, PublishDoneCode::TrackEnded),
            (0x03, PublishDoneCode::SubscriptionEnded),
            (0x04, PublishDoneCode::GoingAway),
            (0x05, PublishDoneCode::Expired),
            (0x06, PublishDoneCode::TooFarBehind),
            (0x08, PublishDoneCode::UpdateFailed),
            (0x12, PublishDoneCode::MalformedTrack),
        ],
        reset: &[
            (0x00, StreamResetCode::InternalError),
            (0x01, StreamResetCode::Cancelled),
            (0x02, StreamResetCode::DeliveryTimeout),
            (0x03, StreamResetCode::SessionClosed),
            (0x04, StreamResetCode::UnknownObjectStatus),
            (0x12, StreamResetCode::MalformedTrack),
        ],
        ..D14_CONST.codes
    },
    ..D14_CONST
};

pub(super) const fn parameter(
    code: u64,
    parameter: Parameter,
    form: ParameterForm,
    allowed: &[Carrier],
) -> ParameterSpec {
    ParameterSpec {
        code,
        target: ParameterTarget::Parameter(parameter),
        form,
        allowed: CarrierSet::of(allowed),
    }
}
