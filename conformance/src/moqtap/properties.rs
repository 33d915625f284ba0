//! The properties of an object, by either codec.

use bytes::Bytes;
use moqt_engine::model::{Draft, Property, PropertyValue, property_type};
use moqt_engine::wire::{DecodeError, Properties};
use moqtap_codec::error::CodecError;
use moqtap_codec::object_properties::{
    ObjectProperty, PropertyValue as TheirValue, parse_object_properties,
};
use moqtap_codec::version::DraftVersion;

/// A property; what is inside Immutable Properties is read, too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what it is called")]
pub enum Given {
    Int(u64, u64),
    Bytes(u64, Vec<u8>),
    Immutable(Vec<Given>),
    /// Immutable Properties inside Immutable Properties, which are not allowed.
    Nested,
}

/// What both codecs read: ours, and the other's.
pub fn properties(
    draft: Draft,
    block: &[u8],
) -> (Result<Vec<Given>, DecodeError>, Result<Vec<Given>, CodecError>) {
    let version = match draft {
        Draft::D14 => DraftVersion::Draft14,
        Draft::D16 => DraftVersion::Draft16,
        _ => DraftVersion::Draft18,
    };
    let theirs = parse_object_properties(version, block);
    (ours(draft, block, false), theirs.map(|list| list.iter().map(given).collect()))
}

fn ours(draft: Draft, block: &[u8], is_inner: bool) -> Result<Vec<Given>, DecodeError> {
    let give = |property: Property| match property.value {
        PropertyValue::Int(value) => Ok(Given::Int(property.key, value)),
        PropertyValue::Bytes(_) if property.key == property_type::IMMUTABLE && is_inner => {
            Ok(Given::Nested)
        }
        PropertyValue::Bytes(value) if property.key == property_type::IMMUTABLE => {
            ours(draft, &value, true).map(Given::Immutable)
        }
        PropertyValue::Bytes(value) => Ok(Given::Bytes(property.key, value.to_vec())),
    };
    let list = Properties::from_wire(draft.dialect(), Bytes::copy_from_slice(block));
    list.iter().map(|property| give(property?)).collect()
}

fn given(property: &ObjectProperty<'_>) -> Given {
    let key = property.property_type;
    match &property.value {
        TheirValue::Varint(value) => Given::Int(key, *value),
        TheirValue::Bytes(value) => Given::Bytes(key, value.to_vec()),
        TheirValue::Immutable { properties, .. } => {
            Given::Immutable(properties.iter().map(given).collect())
        }
    }
}
