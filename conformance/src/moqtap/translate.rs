//! The parts of messages, in the other codec's types.

use bytes::Bytes;
use moqt_engine::model::{
    AuthToken, Draft, FullTrackName, Location, Parameters, PropertyValue, SetupOptions,
    SubscriptionFilter, TrackNamespace, TrackProperties,
};
use moqtap_codec::auth_token::{AuthorizationToken, TokenAliasType};
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::subscription_filter::{FilterEnd, SubscriptionFilter as TheirFilter};
use moqtap_codec::types;
use moqtap_codec::varint::{Moqt18, VarInt};

pub(super) fn int(value: u64) -> VarInt {
    VarInt::from_u64_moqt(value)
}

pub(super) fn opt(value: Option<u64>) -> VarInt {
    int(value.expect("a field that this draft has"))
}

pub(super) fn namespace(namespace: &TrackNamespace) -> types::TrackNamespace {
    types::TrackNamespace(namespace.fields().map(<[u8]>::to_vec).collect())
}

pub(super) fn name(track: &FullTrackName) -> (types::TrackNamespace, Vec<u8>) {
    (namespace(track.namespace()), track.name().to_vec())
}

pub(super) fn location(location: Location) -> types::Location {
    types::Location { group: int(location.group), object: int(location.object) }
}

fn number(key: u64, value: u64) -> KeyValuePair {
    KeyValuePair { key: int(key), value: KvpValue::Varint(int(value)) }
}

fn data(key: u64, value: Vec<u8>) -> KeyValuePair {
    KeyValuePair { key: int(key), value: KvpValue::Bytes(value) }
}

fn token(draft: Draft, token: &AuthToken) -> Vec<u8> {
    let token = match token {
        AuthToken::Delete { alias } => AuthorizationToken {
            alias_type: TokenAliasType::Delete,
            alias: Some(*alias),
            token_type: None,
            value: Vec::new(),
        },
        AuthToken::Register { alias, token_type, value } => AuthorizationToken {
            alias_type: TokenAliasType::Register,
            alias: Some(*alias),
            token_type: Some(*token_type),
            value: value.to_vec(),
        },
        AuthToken::UseAlias { alias } => AuthorizationToken {
            alias_type: TokenAliasType::UseAlias,
            alias: Some(*alias),
            token_type: None,
            value: Vec::new(),
        },
        AuthToken::UseValue { token_type, value } => AuthorizationToken {
            alias_type: TokenAliasType::UseValue,
            alias: None,
            token_type: Some(*token_type),
            value: value.to_vec(),
        },
    };
    let mut bytes = Vec::new();
    match draft {
        Draft::D18 => token.encode_moqt::<Moqt18>(&mut bytes),
        _ => token.encode(&mut bytes).unwrap(),
    }
    bytes
}

pub(super) fn filter_parts(
    filter: SubscriptionFilter,
) -> (types::FilterType, Option<Location>, Option<u64>) {
    match filter {
        SubscriptionFilter::NextGroupStart => (types::FilterType::NextGroupStart, None, None),
        SubscriptionFilter::LargestObject => (types::FilterType::LargestObject, None, None),
        SubscriptionFilter::AbsoluteStart { start } => {
            (types::FilterType::AbsoluteStart, Some(start), None)
        }
        SubscriptionFilter::AbsoluteRange { start, end_group } => {
            (types::FilterType::AbsoluteRange, Some(start), Some(end_group))
        }
        other => panic!("{other:?}"),
    }
}

fn filter(draft: Draft, filter: SubscriptionFilter) -> KeyValuePair {
    let (filter_type, start, end) = filter_parts(filter);
    let end_group = end.map(|end| match draft {
        Draft::D18 => FilterEnd::GroupDelta(end - start.unwrap().group),
        _ => FilterEnd::Group(end),
    });
    let filter = TheirFilter { filter_type, start_location: start.map(location), end_group };
    match draft {
        Draft::D18 => filter.parameter_moqt::<Moqt18>().unwrap(),
        _ => filter.parameter().unwrap(),
    }
}

/// Message parameters. Draft 14's fixed fields are not among them, but two properties are.
pub(super) fn parameters(
    draft: Draft,
    parameters: &Parameters,
    properties: &TrackProperties,
) -> Vec<KeyValuePair> {
    let p = parameters;
    let mut list = Vec::new();
    let mut add = |key, value: Option<u64>| list.extend(value.map(|value| number(key, value)));
    add(0x02, p.object_delivery_timeout);
    if draft == Draft::D14 {
        add(0x02, properties.int(0x02));
        add(0x04, properties.int(0x04));
    } else {
        add(0x04, p.rendezvous_timeout);
        add(0x06, p.subgroup_delivery_timeout);
        add(0x08, p.expires);
        add(0x0a, p.fill_timeout);
        add(0x10, p.forward.map(u64::from));
        add(0x20, p.subscriber_priority.map(u64::from));
        add(0x22, p.group_order.map(|order| u64::from(order.code())));
        add(0x32, p.new_group_request);
        list.extend(p.subscription_filter.map(|wanted| filter(draft, wanted)));
        list.extend(p.largest_object.map(|largest| {
            let mut bytes = Vec::new();
            match draft {
                Draft::D18 => location(largest).encode_moqt::<Moqt18>(&mut bytes),
                _ => location(largest).encode(&mut bytes),
            }
            data(0x09, bytes)
        }));
        list.extend(p.track_namespace_prefix.as_ref().map(|prefix| {
            let mut bytes = Vec::new();
            namespace(prefix).encode_moqt::<Moqt18>(&mut bytes);
            data(0x34, bytes)
        }));
    }
    list.extend(p.authorization_tokens.iter().map(|value| data(0x03, token(draft, value))));
    list.sort_by_key(|pair| pair.key);
    list
}

pub(super) fn properties(properties: &TrackProperties) -> Vec<KeyValuePair> {
    properties
        .iter()
        .map(|property| match &property.value {
            PropertyValue::Int(value) => number(property.key, *value),
            PropertyValue::Bytes(value) => data(property.key, value.to_vec()),
        })
        .collect()
}

pub(super) fn options(draft: Draft, options: &SetupOptions) -> Vec<KeyValuePair> {
    let mut list = Vec::new();
    let bytes = |key, value: &Option<Bytes>| value.as_ref().map(|value| data(key, value.to_vec()));
    list.extend(bytes(0x01, &options.path));
    list.extend(options.max_request_id.map(|max| number(0x02, max)));
    list.extend(options.authorization_tokens.iter().map(|value| data(0x03, token(draft, value))));
    list.extend(options.max_auth_token_cache_size.map(|size| number(0x04, size)));
    list.extend(bytes(0x05, &options.authority));
    list.extend(bytes(0x07, &options.implementation));
    list
}
