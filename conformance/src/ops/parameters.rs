//! Parameters and properties, right ones for the most part.

use bytes::Bytes;
use moqt_engine::model::{
    AuthToken, GroupOrder, Location, Parameter, ParameterSet, Parameters, SubscriptionFilter,
    TrackNamespace, TrackProperties, property_type,
};
use moqt_engine::wire::Carrier;

use super::source::Source;
use super::world::World;

impl World<'_> {
    /// Parameters that this message may have.
    pub(super) fn parameters(&mut self, carrier: Carrier) -> Parameters {
        let (which, more) = (self.source.byte(), self.source.byte());
        let mut parameters = Parameters::default();
        let dialect = self.draft.dialect();
        let wants = |bit: u8, bits: u8, parameter| {
            bits & bit == bit
                && dialect.misplaced(ParameterSet::of(&[parameter]), carrier).is_empty()
        };
        let timeout = wants(0x81, which, Parameter::ObjectDeliveryTimeout);
        let subgroup_timeout = wants(0x82, which, Parameter::SubgroupDeliveryTimeout);
        let forward = wants(0x44, which, Parameter::Forward);
        let priority = wants(0x08, which, Parameter::SubscriberPriority);
        let has_filter = wants(0x10, which, Parameter::SubscriptionFilter);
        let order = wants(0x20, which, Parameter::GroupOrder);
        let largest = wants(0x01, more, Parameter::LargestObject);
        let expires = wants(0x12, more, Parameter::Expires);
        let new_group = wants(0x14, more, Parameter::NewGroupRequest);
        let tokens = wants(0x48, more, Parameter::AuthorizationToken);
        let prefix = wants(0xA0, more, Parameter::TrackNamespacePrefix);
        let source = &mut self.source;
        parameters.object_delivery_timeout = timeout.then(|| 1 + source.small(100) * 10);
        parameters.subgroup_delivery_timeout = subgroup_timeout.then(|| 1 + source.small(100) * 10);
        parameters.forward = forward.then(|| source.flag());
        parameters.subscriber_priority = priority.then(|| source.byte());
        parameters.subscription_filter = has_filter.then(|| filter(source));
        parameters.group_order =
            order.then(|| source.pick(&[GroupOrder::Ascending, GroupOrder::Descending])).flatten();
        parameters.largest_object =
            largest.then(|| Location::new(source.small(5), source.small(5)));
        parameters.expires = expires.then(|| source.small(20) * 500);
        parameters.new_group_request = new_group.then(|| source.small(6));
        if tokens {
            let value = Bytes::from_static(b"token");
            let alias = source.small(4);
            parameters.authorization_tokens.push(match source.byte() {
                0..=159 => AuthToken::UseValue { token_type: 0, value },
                160..=219 => AuthToken::Register { alias, token_type: 0, value },
                220..=239 => AuthToken::UseAlias { alias },
                _ => AuthToken::Delete { alias },
            });
        }
        parameters.track_namespace_prefix = prefix
            .then(|| {
                TrackNamespace::new([source.pick(&["test", "pre", "other"]).unwrap_or("x")]).ok()
            })
            .flatten();
        parameters
    }

    /// The same for the peer, which mostly has an eye on its tokens.
    pub(super) fn peer_parameters(&mut self, carrier: Carrier) -> Parameters {
        /// What a token costs.
        const COST: u64 = 16 + 5;
        let mut parameters = self.parameters(carrier);
        if self.source.one_in(20) {
            return parameters;
        }
        for token in &mut parameters.authorization_tokens {
            let peer = &mut self.peer;
            let is_right = match token {
                AuthToken::Register { alias, .. } => {
                    let fits = peer.token_room >= COST && peer.tokens.insert(*alias);
                    peer.token_room -= if fits { COST } else { 0 };
                    fits
                }
                AuthToken::UseAlias { alias } => peer.tokens.contains(alias),
                AuthToken::Delete { alias } => {
                    let is_known = peer.tokens.remove(alias);
                    peer.token_room += if is_known { COST } else { 0 };
                    is_known
                }
                AuthToken::UseValue { .. } => true,
            };
            if !is_right {
                *token = AuthToken::UseValue { token_type: 0, value: "token".into() };
            }
        }
        parameters
    }

    pub(super) fn track_properties(&mut self) -> TrackProperties {
        let mut properties = TrackProperties::new();
        if !self.draft.dialect().track_properties {
            return properties;
        }
        let which = self.source.byte();
        if which & 0x81 == 0x81 {
            let timeout = 1 + self.source.small(100) * 20;
            properties = properties.with_int(property_type::OBJECT_DELIVERY_TIMEOUT, timeout);
        }
        if which & 0x42 == 0x42 {
            let priority = u64::from(self.source.byte());
            properties = properties.with_int(property_type::DEFAULT_PUBLISHER_PRIORITY, priority);
        }
        if which & 0x24 == 0x24 {
            properties = properties.with_int(property_type::DYNAMIC_GROUPS, 1);
        }
        properties
    }

    /// Parameters for a message, or any at all.
    pub(super) fn any_parameters(&mut self, carrier: Carrier) -> Parameters {
        if self.source.byte() < 230 {
            return self.parameters(carrier);
        }
        let mut parameters = self.parameters(Carrier::Subscribe);
        let source = &mut self.source;
        parameters.expires = source.some(Source::number);
        parameters.largest_object =
            source.some(|source| Location::new(source.number(), source.number()));
        parameters.new_group_request = source.some(Source::number);
        parameters.object_delivery_timeout = source.some(Source::number);
        parameters.subscription_filter = source.some(filter);
        parameters.forward = source.some(Source::flag);
        parameters
    }
}

fn filter(source: &mut Source<'_>) -> SubscriptionFilter {
    let start = Location::new(source.small(4), source.small(4));
    match source.byte() {
        0..=99 => SubscriptionFilter::LargestObject,
        100..=139 => SubscriptionFilter::NextGroupStart,
        140..=199 => SubscriptionFilter::AbsoluteStart { start },
        _ => SubscriptionFilter::AbsoluteRange { start, end_group: start.group + source.small(3) },
    }
}
