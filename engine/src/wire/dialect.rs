use core::fmt;

use super::Ints;
use crate::model::{
    Draft, MessageKind, Parameter, ParameterSet, PublishDoneCode, RequestErrorCode, RequestKind,
    SessionError, SetupOption, StreamResetCode, property_type,
};

/// What one draft looks like on the wire, as data.
///
/// One layout function per message reads it; the file of a draft in
/// [`draft`](crate::draft) reads like that draft's change log.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "each is one line of a draft's change log")]
pub struct Dialect {
    /// The draft this describes.
    pub draft: Draft,
    /// Its variable-length integers.
    pub ints: Ints,
    /// Key-value pairs state the difference to the previous type instead of the type.
    pub key_deltas: bool,
    /// What a setup message holds besides its options.
    pub setup: SetupLayout,
    /// Setup options, ascending by type. Others are ignored.
    pub setup_options: &'static [(u64, SetupOption)],
    /// Message types on control and request streams.
    pub messages: &'static [(u64, MessageKind)],
    /// Answers do not name their request: the stream they are on tells.
    pub answers_by_stream: bool,
    /// Priority, order, forward state, filter, expiry and largest location are fixed fields
    /// of their messages instead of parameters.
    pub fixed_fields: bool,
    /// Track properties follow the parameters of SUBSCRIBE_OK, PUBLISH and FETCH_OK.
    pub track_properties: bool,
    /// Track properties follow the parameters of REQUEST_OK, too.
    pub request_ok_properties: bool,
    /// Message parameters, ascending by type.
    pub parameters: &'static [ParameterSpec],
    /// A message parameter that is not in the table.
    pub unknown_parameter: Tolerance,
    /// A message parameter in a message that may not carry it.
    pub misplaced_parameter: Tolerance,
    /// Objects and subgroups have delivery timeouts of their own. Before, there was one, for
    /// objects, which lasted until they had arrived.
    pub split_delivery_timeouts: bool,
    /// A subscriber that turns forwarding on again may be sent subgroups that it stopped.
    pub forward_renews_interest: bool,
    /// A delivery timeout of 0 closes the session.
    pub zero_delivery_timeout_closes: bool,
    /// The end of an absolute filter range is a number of groups after its start.
    pub filter_end_delta: bool,
    /// A setup message to a server may not delete or use token aliases.
    pub setup_tokens_by_value: bool,
    /// No token may be twice in a message, whatever stands for it.
    pub unique_tokens: bool,
    /// Bytes of registered tokens to keep, if the application says nothing.
    pub default_token_cache: u64,
    /// AUTHORITY's number from a server is MOQT_IMPLEMENTATION.
    pub server_authority_is_implementation: bool,
    /// Fewest fields of a track's namespace.
    pub min_namespace_fields: usize,
    /// Fewest fields of a namespace prefix.
    pub min_prefix_fields: usize,
    /// Namespace fields may be empty.
    pub empty_namespace_fields: bool,
    /// SUBSCRIBE_NAMESPACE says what it is interested in.
    pub namespace_options: bool,
    /// PUBLISH_NAMESPACE_DONE and _CANCEL name the namespace instead of its request.
    pub namespace_done_by_name: bool,
    /// GOAWAY has a timeout.
    pub goaway_timeout: bool,
    /// GOAWAY tells, on the control stream, the first Request ID that was not processed.
    pub goaway_request_id: bool,
    /// Requests that come after a GOAWAY was sent must be refused.
    pub goaway_refuses_requests: bool,
    /// REQUEST_ERROR has a retry interval.
    pub retry_interval: bool,
    /// REQUEST_ERROR can carry a redirect.
    pub redirect: bool,
    /// REQUEST_UPDATE names the request it changes.
    pub update_names_request: bool,
    /// There are numbers reserved for values without a meaning.
    pub grease: bool,
    /// Only subscriptions can be updated, and only by their subscribers.
    pub only_subscribers_update: bool,
    /// An update may not widen the filter of a subscription.
    pub updates_narrow_only: bool,
    /// A second subscription to a track closes the session instead of being refused.
    pub duplicate_subscription_closes: bool,
    /// Namespaces that begin with a field of `.` or `.session` are not for applications.
    pub reserved_namespaces: bool,
    /// There are properties that must be understood to handle a track.
    pub mandatory_properties: bool,
    /// Which subscriptions a FETCH may join.
    pub joining: JoiningRule,
    /// A FETCH of a range without objects is refused instead of answered with none.
    pub empty_fetch_is_refused: bool,
    /// How objects look.
    pub objects: ObjectRules,
    /// Error codes.
    pub codes: CodeTables,
}

/// What a setup message holds besides its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupLayout {
    /// Versions, and the number of options (draft 14).
    VersionsAndCount,
    /// The number of options (draft 16).
    Count,
    /// Nothing: the message's length bounds the options (draft 18).
    Bounded,
}

/// Which subscriptions a FETCH may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoiningRule {
    /// Those that began with the filter Largest Object; others close the session (drafts 14
    /// and 16).
    LargestObjectFilter,
    /// Those with Forward State 1, from when it was set on; for others the FETCH is refused
    /// (draft 18).
    ForwardState,
}

/// What to do with something that should not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// Skip it.
    Ignore,
    /// Close the session.
    Close,
}

/// One message parameter of a draft.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ParameterSpec {
    /// Its type on the wire.
    pub code: u64,
    /// What it means.
    pub target: ParameterTarget,
    /// Its encoding.
    pub form: ParameterForm,
    /// Where it may be.
    pub allowed: CarrierSet,
}

/// What a message parameter means in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterTarget {
    /// A parameter of the request or answer.
    Parameter(Parameter),
    /// A property of the track, in drafts without track properties.
    TrackProperty(u64),
}

impl fmt::Display for ParameterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(parameter) => parameter.fmt(f),
            Self::TrackProperty(key) => match property_type::name(*key) {
                Some(name) => f.write_str(name),
                None => write!(f, "property 0x{key:x}"),
            },
        }
    }
}

/// How a message parameter's value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterForm {
    /// A variable-length integer.
    Int,
    /// One byte.
    Uint8,
    /// A length and that many bytes.
    Prefixed,
    /// Two variable-length integers.
    Location,
    /// A namespace, without a length of its own.
    Namespace,
}

/// The messages a parameter can be in, told apart as finely as the drafts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the message of its name, or an answer to it")]
pub enum Carrier {
    Subscribe,
    SubscribeOk,
    Publish,
    PublishOk,
    Fetch,
    FetchOk,
    TrackStatus,
    TrackStatusOk,
    PublishNamespace,
    SubscribeNamespace,
    SubscribeTracks,
    NamespaceOk,
    UpdateSubscription,
    UpdateFetch,
    UpdatePublishNamespace,
    UpdateSubscribeNamespace,
    UpdateSubscribeTracks,
    UpdateOk,
}

impl Carrier {
    /// The carrier that an answer to this kind of request is.
    pub const fn answer_to(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Subscribe => Self::SubscribeOk,
            RequestKind::Publish => Self::PublishOk,
            RequestKind::Fetch => Self::FetchOk,
            RequestKind::TrackStatus => Self::TrackStatusOk,
            RequestKind::Update => Self::UpdateOk,
            RequestKind::PublishNamespace
            | RequestKind::SubscribeNamespace
            | RequestKind::SubscribeTracks => Self::NamespaceOk,
        }
    }
}

/// A set of [`Carrier`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierSet(u32);

impl CarrierSet {
    /// Every form of REQUEST_UPDATE.
    pub const UPDATES: Self = Self::of(&[
        Carrier::UpdateSubscription,
        Carrier::UpdateFetch,
        Carrier::UpdatePublishNamespace,
        Carrier::UpdateSubscribeNamespace,
        Carrier::UpdateSubscribeTracks,
    ]);

    /// Every answer that is a REQUEST_OK wherever there is one. PUBLISH's may be, too.
    pub const REQUEST_OKS: Self =
        Self::of(&[Carrier::TrackStatusOk, Carrier::NamespaceOk, Carrier::UpdateOk]);

    /// The set of these carriers.
    pub const fn of(carriers: &[Carrier]) -> Self {
        let mut set = 0;
        let mut rest = carriers;
        while let [first, tail @ ..] = rest {
            set |= 1 << *first as u32;
            rest = tail;
        }
        Self(set)
    }

    /// Everything in this set or the other.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a carrier.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<Carrier> for CarrierSet {
    fn from(carrier: Carrier) -> Self {
        Self::of(&[carrier])
    }
}

/// How a draft's objects look.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools, reason = "each is one line of a draft's change log")]
pub struct ObjectRules {
    /// The bits that a subgroup header's type may have, beside 0x10.
    pub subgroup_type_bits: u64,
    /// The bits that a datagram's type may have.
    pub datagram_type_bits: u64,
    /// A datagram with a status may say that its object ID is 0 by its type.
    pub status_datagram_without_id: bool,
    /// An object may say that it does not exist.
    pub does_not_exist_status: bool,
    /// Only objects with status Normal may have properties; otherwise, all but those that do
    /// not exist.
    pub properties_on_normal_only: bool,
    /// The form of objects on a fetch stream.
    pub fetch: FetchLayout,
    /// There are padding streams and datagrams.
    pub padding: bool,
    /// Subgroups and datagrams may be mixed in a track.
    pub mixed_forwarding: bool,
    /// All objects of a subgroup have one priority, on whatever streams they come.
    pub one_subgroup_priority: bool,
    /// What has marked the end of a group or track can never have been an ordinary object.
    pub status_is_final: bool,
    /// Immutable Properties may be there only once.
    pub one_immutable: bool,
}

/// The form of objects on a fetch stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchLayout {
    /// Every field in every object (draft 14).
    Absolute,
    /// Flags say which fields are there; those that are, are absolute (draft 16).
    Flags,
    /// Flags, and groups and objects as differences (draft 18).
    FlagsAndDeltas,
}

/// A draft's error codes, each with its meaning.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CodeTables {
    /// Codes that close a session.
    pub session: &'static [(u64, SessionError)],
    /// Codes in answers to any kind of request.
    pub request: &'static [(u64, RequestErrorCode)],
    /// Codes in answers to one kind of request, looked at first.
    pub request_by_kind: &'static [(RequestKind, &'static [(u64, RequestErrorCode)])],
    /// Codes of PUBLISH_DONE.
    pub publish_done: &'static [(u64, PublishDoneCode)],
    /// Codes of RESET_STREAM and STOP_SENDING.
    pub reset: &'static [(u64, StreamResetCode)],
}

impl Dialect {
    /// The message that a type stands for.
    pub fn message_kind(&self, code: u64) -> Option<MessageKind> {
        meaning(self.messages, code)
    }

    /// The setup option that a type stands for.
    pub fn setup_option(&self, code: u64) -> Option<SetupOption> {
        meaning(self.setup_options, code)
    }

    /// The type of a message, if the draft has it.
    pub fn message_code(&self, kind: MessageKind) -> Option<u64> {
        code_of(self.messages, kind)
    }

    /// Those of `parameters` that `carrier` may not carry.
    ///
    /// None where what other drafts have as parameters are fixed fields: those are where the
    /// decoder found them, and nowhere else.
    pub fn misplaced(&self, parameters: ParameterSet, carrier: Carrier) -> ParameterSet {
        if self.fixed_fields {
            return ParameterSet::EMPTY;
        }
        let allowed = self
            .parameters
            .iter()
            .filter(|spec| spec.allowed.intersects(carrier.into()))
            .fold(ParameterSet::EMPTY, |set, spec| match spec.target {
                ParameterTarget::Parameter(parameter) => set.with(parameter),
                ParameterTarget::TrackProperty(_) => set,
            });
        parameters.difference(allowed)
    }

    /// The code for closing a session.
    pub fn session_error_code(&self, error: SessionError) -> u64 {
        match error {
            SessionError::Other(code) => code,
            _ => code_of(self.codes.session, error)
                .or_else(|| code_of(self.codes.session, SessionError::ProtocolViolation))
                .unwrap_or_default(),
        }
    }

    /// What a session was closed for.
    pub fn session_error(&self, code: u64) -> SessionError {
        meaning(self.codes.session, code).unwrap_or(SessionError::Other(code))
    }

    /// The code for refusing a request of this kind; INTERNAL_ERROR's if the draft has none.
    pub fn request_error_code(&self, kind: RequestKind, error: RequestErrorCode) -> u64 {
        match error {
            RequestErrorCode::Other(code) => code,
            _ => code_of(self.request_errors(kind), error).unwrap_or_default(),
        }
    }

    /// What a request of this kind was refused for.
    pub fn request_error(&self, kind: RequestKind, code: u64) -> RequestErrorCode {
        meaning(self.request_errors(kind), code).unwrap_or(RequestErrorCode::Other(code))
    }

    fn request_errors(&self, kind: RequestKind) -> &'static [(u64, RequestErrorCode)] {
        self.codes
            .request_by_kind
            .iter()
            .find_map(|(of, table)| (*of == kind).then_some(*table))
            .unwrap_or(self.codes.request)
    }

    /// The code for ending a subscription; INTERNAL_ERROR's if the draft has none.
    pub fn publish_done_code(&self, code: PublishDoneCode) -> u64 {
        match code {
            PublishDoneCode::Other(code) => code,
            _ => code_of(self.codes.publish_done, code).unwrap_or_default(),
        }
    }

    /// What a subscription was ended for.
    pub fn publish_done(&self, code: u64) -> PublishDoneCode {
        meaning(self.codes.publish_done, code).unwrap_or(PublishDoneCode::Other(code))
    }

    /// The code for resetting or stopping a stream; CANCELLED's if the draft has none.
    pub fn reset_code(&self, code: StreamResetCode) -> u64 {
        match code {
            StreamResetCode::Other(code) => code,
            _ => code_of(self.codes.reset, code)
                .or_else(|| code_of(self.codes.reset, StreamResetCode::Cancelled))
                .unwrap_or_default(),
        }
    }

    /// What a stream was reset or stopped for.
    pub fn reset(&self, code: u64) -> StreamResetCode {
        meaning(self.codes.reset, code).unwrap_or(StreamResetCode::Other(code))
    }
}

fn meaning<T: Copy>(table: &[(u64, T)], code: u64) -> Option<T> {
    table.iter().find_map(|(known, meaning)| (*known == code).then_some(*meaning))
}

fn code_of<T: Copy + PartialEq>(table: &[(u64, T)], meaning: T) -> Option<u64> {
    table.iter().find_map(|(code, known)| (*known == meaning).then_some(*code))
}
