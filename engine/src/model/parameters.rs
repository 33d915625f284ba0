use alloc::vec::Vec;
use core::fmt;

use super::{AuthToken, GroupOrder, Location, SubscriptionFilter, TrackNamespace};

/// The parameters of a control message (draft-18, "Message Parameters").
///
/// Draft 14's fixed fields are lifted into these, so a subscription's priority is
/// [`subscriber_priority`](Self::subscriber_priority) on every draft. A parameter that a
/// message cannot carry on the negotiated draft is left out when the message is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Parameters {
    /// Tokens that authorize the request.
    pub authorization_tokens: Vec<AuthToken>,
    /// Milliseconds after which an undelivered object is given up (OBJECT_DELIVERY_TIMEOUT;
    /// DELIVERY_TIMEOUT before draft 18). 0, on draft 18 only, is the same as absent.
    pub object_delivery_timeout: Option<u64>,
    /// Milliseconds after which an undelivered subgroup is given up
    /// (SUBGROUP_DELIVERY_TIMEOUT, draft 18).
    pub subgroup_delivery_timeout: Option<u64>,
    /// Milliseconds a relay holds a subscription that has no publisher yet
    /// (RENDEZVOUS_TIMEOUT, draft 18).
    pub rendezvous_timeout: Option<u64>,
    /// Milliseconds a relay may spend on filling a fetch from upstream (FILL_TIMEOUT, draft 18).
    pub fill_timeout: Option<u64>,
    /// Milliseconds until the sender ends the subscription (EXPIRES); 0 means unknown.
    pub expires: Option<u64>,
    /// The largest location the sender has seen in the track (LARGEST_OBJECT).
    pub largest_object: Option<Location>,
    /// Whether objects are to be sent (FORWARD). Absent means yes, or unchanged in an update.
    pub forward: Option<bool>,
    /// The subscriber's priority; lower is more urgent (SUBSCRIBER_PRIORITY). Absent means 128.
    pub subscriber_priority: Option<u8>,
    /// Which objects are wanted (SUBSCRIPTION_FILTER).
    pub subscription_filter: Option<SubscriptionFilter>,
    /// Which groups come first (GROUP_ORDER). Absent means as the publisher prefers.
    pub group_order: Option<GroupOrder>,
    /// A request to begin a new group: the largest group known plus one, or 0
    /// (NEW_GROUP_REQUEST).
    pub new_group_request: Option<u64>,
    /// The new prefix of a namespace subscription (TRACK_NAMESPACE_PREFIX, draft 18).
    pub track_namespace_prefix: Option<TrackNamespace>,
}

impl Parameters {
    /// Which parameters are present.
    pub fn present(&self) -> ParameterSet {
        let mut set = ParameterSet::EMPTY;
        let mut note = |parameter, present| {
            if present {
                set = set.with(parameter);
            }
        };
        note(Parameter::AuthorizationToken, !self.authorization_tokens.is_empty());
        note(Parameter::ObjectDeliveryTimeout, self.object_delivery_timeout.is_some());
        note(Parameter::SubgroupDeliveryTimeout, self.subgroup_delivery_timeout.is_some());
        note(Parameter::RendezvousTimeout, self.rendezvous_timeout.is_some());
        note(Parameter::FillTimeout, self.fill_timeout.is_some());
        note(Parameter::Expires, self.expires.is_some());
        note(Parameter::LargestObject, self.largest_object.is_some());
        note(Parameter::Forward, self.forward.is_some());
        note(Parameter::SubscriberPriority, self.subscriber_priority.is_some());
        note(Parameter::SubscriptionFilter, self.subscription_filter.is_some());
        note(Parameter::GroupOrder, self.group_order.is_some());
        note(Parameter::NewGroupRequest, self.new_group_request.is_some());
        note(Parameter::TrackNamespacePrefix, self.track_namespace_prefix.is_some());
        set
    }
}

impl Parameters {
    /// Takes these parameters out.
    pub(crate) fn remove(&mut self, set: ParameterSet) {
        let Self {
            authorization_tokens,
            object_delivery_timeout,
            subgroup_delivery_timeout,
            rendezvous_timeout,
            fill_timeout,
            expires,
            largest_object,
            forward,
            subscriber_priority,
            subscription_filter,
            group_order,
            new_group_request,
            track_namespace_prefix,
        } = self;
        if set.contains(Parameter::AuthorizationToken) {
            authorization_tokens.clear();
        }
        clear(object_delivery_timeout, set, Parameter::ObjectDeliveryTimeout);
        clear(subgroup_delivery_timeout, set, Parameter::SubgroupDeliveryTimeout);
        clear(rendezvous_timeout, set, Parameter::RendezvousTimeout);
        clear(fill_timeout, set, Parameter::FillTimeout);
        clear(expires, set, Parameter::Expires);
        clear(largest_object, set, Parameter::LargestObject);
        clear(forward, set, Parameter::Forward);
        clear(subscriber_priority, set, Parameter::SubscriberPriority);
        clear(subscription_filter, set, Parameter::SubscriptionFilter);
        clear(group_order, set, Parameter::GroupOrder);
        clear(new_group_request, set, Parameter::NewGroupRequest);
        clear(track_namespace_prefix, set, Parameter::TrackNamespacePrefix);
    }
}

fn clear<T>(value: &mut Option<T>, set: ParameterSet, parameter: Parameter) {
    if set.contains(parameter) {
        *value = None;
    }
}

/// One of the parameters in [`Parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented as a field of `Parameters`")]
pub enum Parameter {
    AuthorizationToken,
    ObjectDeliveryTimeout,
    SubgroupDeliveryTimeout,
    RendezvousTimeout,
    FillTimeout,
    Expires,
    LargestObject,
    Forward,
    SubscriberPriority,
    SubscriptionFilter,
    GroupOrder,
    NewGroupRequest,
    TrackNamespacePrefix,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AuthorizationToken => "AUTHORIZATION_TOKEN",
            Self::ObjectDeliveryTimeout => "OBJECT_DELIVERY_TIMEOUT",
            Self::SubgroupDeliveryTimeout => "SUBGROUP_DELIVERY_TIMEOUT",
            Self::RendezvousTimeout => "RENDEZVOUS_TIMEOUT",
            Self::FillTimeout => "FILL_TIMEOUT",
            Self::Expires => "EXPIRES",
            Self::LargestObject => "LARGEST_OBJECT",
            Self::Forward => "FORWARD",
            Self::SubscriberPriority => "SUBSCRIBER_PRIORITY",
            Self::SubscriptionFilter => "SUBSCRIPTION_FILTER",
            Self::GroupOrder => "GROUP_ORDER",
            Self::NewGroupRequest => "NEW_GROUP_REQUEST",
            Self::TrackNamespacePrefix => "TRACK_NAMESPACE_PREFIX",
        })
    }
}

/// A set of [`Parameter`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ParameterSet(u32);

impl ParameterSet {
    /// No parameter.
    pub const EMPTY: Self = Self(0);

    /// The set of these parameters.
    pub const fn of(parameters: &[Parameter]) -> Self {
        let mut set = Self::EMPTY;
        let mut rest = parameters;
        while let [first, tail @ ..] = rest {
            set = set.with(*first);
            rest = tail;
        }
        set
    }

    /// This set and one more.
    #[must_use]
    pub const fn with(self, parameter: Parameter) -> Self {
        Self(self.0 | 1 << parameter as u32)
    }

    /// Whether `parameter` is in the set.
    pub const fn contains(self, parameter: Parameter) -> bool {
        self.0 & 1 << parameter as u32 != 0
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn parameters_are_taken_out_one_by_one() {
        let all = Parameters {
            authorization_tokens: vec![AuthToken::UseAlias { alias: 1 }],
            object_delivery_timeout: Some(1),
            subgroup_delivery_timeout: Some(1),
            rendezvous_timeout: Some(1),
            fill_timeout: Some(1),
            expires: Some(1),
            largest_object: Some(Location::ZERO),
            forward: Some(true),
            subscriber_priority: Some(1),
            subscription_filter: Some(SubscriptionFilter::LargestObject),
            group_order: Some(GroupOrder::Ascending),
            new_group_request: Some(1),
            track_namespace_prefix: Some(TrackNamespace::root()),
        };
        for parameter in PARAMETERS {
            let mut parameters = all.clone();
            parameters.remove(ParameterSet::EMPTY.with(parameter));
            let missing = all.present().difference(parameters.present());
            assert_eq!(missing, ParameterSet::EMPTY.with(parameter));
        }
        let mut none = all.clone();
        none.remove(all.present());
        assert_eq!(none, Parameters::default());
    }

    const PARAMETERS: [Parameter; 13] = [
        Parameter::AuthorizationToken,
        Parameter::ObjectDeliveryTimeout,
        Parameter::SubgroupDeliveryTimeout,
        Parameter::RendezvousTimeout,
        Parameter::FillTimeout,
        Parameter::Expires,
        Parameter::LargestObject,
        Parameter::Forward,
        Parameter::SubscriberPriority,
        Parameter::SubscriptionFilter,
        Parameter::GroupOrder,
        Parameter::NewGroupRequest,
        Parameter::TrackNamespacePrefix,
    ];
}
