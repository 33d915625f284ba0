//! Values of JSON: what events are made of.

use std::fmt::Write;

use moqt_engine::model::{
    AuthToken, FullTrackName, Location, Parameters, Property, PropertyValue, SubscriptionFilter,
    TrackNamespace, TrackProperties,
};
use moqt_engine::wire::{Dialect, Properties};
use serde_json::{Map, Value, json};

/// An object of JSON that is being made.
#[derive(Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// The beginning of a control message.
    pub(crate) fn of_type(name: &str) -> Self {
        let mut fields = Self::default();
        fields.add("type", name);
        fields
    }

    pub(crate) fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    pub(crate) fn add_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    pub(crate) fn add_track(&mut self, track: &FullTrackName) {
        self.add("track_namespace", namespace(track.namespace()));
        self.add("track_name", byte_string(track.name()));
    }

    pub(crate) fn add_parameters(&mut self, dialect: &Dialect, parameters: &Parameters) {
        let list = parameters_list(dialect, parameters);
        self.add("number_of_parameters", list.len());
        if !list.is_empty() {
            self.add("parameters", list);
        }
    }

    pub(crate) fn add_track_properties(&mut self, properties: &TrackProperties) {
        if !properties.is_empty() {
            let list: Vec<Value> = properties.iter().map(property).collect();
            self.add("track_properties", list);
        }
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}

/// Bytes as text if they are, otherwise in hexadecimal.
pub(crate) fn byte_string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "value": text }),
        Err(_) => json!({ "value_bytes": hex(bytes) }),
    }
}

pub(crate) fn namespace(namespace: &TrackNamespace) -> Value {
    namespace.fields().map(byte_string).collect()
}

pub(crate) fn raw(bytes: &[u8]) -> Value {
    json!({ "length": bytes.len(), "data": hex(bytes) })
}

pub(crate) fn location(location: Location) -> Value {
    json!({ "group": location.group, "object": location.object })
}

/// Only how long its value is: whoever may read a log may not be allowed what its token allows.
pub(crate) fn token(token: &AuthToken) -> Fields {
    let mut fields = Fields::default();
    fields.add("name", "authorization_token");
    let (alias_type, alias, token_type, value) = match token {
        AuthToken::Delete { alias } => ("delete", Some(*alias), None, None),
        AuthToken::Register { alias, token_type, value } => {
            ("register", Some(*alias), Some(*token_type), Some(value.len()))
        }
        AuthToken::UseAlias { alias } => ("use_alias", Some(*alias), None, None),
        AuthToken::UseValue { token_type, value } => {
            ("use_value", None, Some(*token_type), Some(value.len()))
        }
    };
    fields.add("alias_type", alias_type);
    fields.add_some("token_alias", alias);
    fields.add_some("token_type", token_type);
    fields.add_some("token_value", value.map(|len| json!({ "length": len })));
    fields
}

fn parameters_list(dialect: &Dialect, parameters: &Parameters) -> Vec<Value> {
    let mut list: Vec<Value> =
        parameters.authorization_tokens.iter().map(|one| token(one).into()).collect();
    let numbers = [
        ("delivery_timeout", parameters.object_delivery_timeout),
        ("subgroup_delivery_timeout", parameters.subgroup_delivery_timeout),
        ("rendezvous_timeout", parameters.rendezvous_timeout),
        ("fill_timeout", parameters.fill_timeout),
        ("expires", parameters.expires),
        ("forward", parameters.forward.map(u64::from)),
        ("subscriber_priority", parameters.subscriber_priority.map(u64::from)),
        ("group_order", parameters.group_order.map(|order| u64::from(order.code()))),
        ("new_group_request", parameters.new_group_request),
    ];
    let others = [
        ("largest_object", parameters.largest_object.map(location)),
        ("subscription_filter", parameters.subscription_filter.map(|it| filter(dialect, it))),
        ("track_namespace_prefix", parameters.track_namespace_prefix.as_ref().map(namespace)),
    ];
    let numbers = numbers.into_iter().map(|(name, value)| (name, value.map(Value::from)));
    let present = numbers.chain(others).filter_map(|(name, value)| Some((name, value?)));
    list.extend(present.map(|(name, value)| json!({ "name": name, "value": value })));
    list
}

fn filter(dialect: &Dialect, filter: SubscriptionFilter) -> Value {
    match filter {
        SubscriptionFilter::NextGroupStart => json!({ "filter_type": 1 }),
        SubscriptionFilter::LargestObject => json!({ "filter_type": 2 }),
        SubscriptionFilter::AbsoluteStart { start } => {
            json!({ "filter_type": 3, "start_location": location(start) })
        }
        SubscriptionFilter::AbsoluteRange { start, end_group } => {
            let mut fields = Fields::default();
            fields.add("filter_type", 4);
            fields.add("start_location", location(start));
            if dialect.filter_end_delta {
                fields.add_some("end_group_delta", end_group.checked_sub(start.group));
            } else {
                fields.add("end_group", end_group);
            }
            fields.into()
        }
        _ => json!({}),
    }
}

/// The properties of an object, if it has any; as bytes if they cannot be read.
pub(crate) fn object_properties(fields: &mut Fields, properties: &Properties) {
    if properties.is_empty() {
        return;
    }
    let bytes = properties.as_bytes();
    fields.add("properties_length", bytes.len());
    let list: Result<Vec<Value>, _> =
        properties.iter().map(|one| one.map(|one| property(&one))).collect();
    match list {
        Ok(list) => fields.add("properties", list),
        Err(error) => {
            fields.add("properties_raw", raw(bytes));
            fields.add("properties_error", error.to_string());
        }
    }
}

fn property(property: &Property) -> Value {
    match &property.value {
        PropertyValue::Int(value) => json!({ "type": property.key, "value": value }),
        PropertyValue::Bytes(bytes) => {
            json!({ "type": property.key, "length": bytes.len(), "value_bytes": raw(bytes) })
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
