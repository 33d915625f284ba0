use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use super::pairs::{PairForm, PairReader, PairValue, PairWriter};
use super::{DecodeError, Dialect, EncodeError, Fault, Malformed, Note, Reader, Writer};
use crate::model::{GroupOrder, Property, PropertyValue, TrackProperties, property_type};

const PROPERTIES: &str = "Properties";

/// The properties of an object, as they travel (draft-18, "Object Properties").
///
/// Nothing is decoded until [`iter`](Self::iter) is called; passing them on to a connection
/// of the same draft costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Properties(Option<Encoded>);

/// At least one byte of key-value pairs, and how to read them.
#[derive(Clone, Debug)]
struct Encoded {
    raw: Bytes,
    form: PairForm,
}

impl Properties {
    /// No properties.
    pub const EMPTY: Self = Self(None);

    /// These properties, encoded for `dialect`. On drafts that write differences they are put
    /// in ascending order of type.
    pub fn encode<'a>(
        dialect: &Dialect,
        properties: impl IntoIterator<Item = &'a Property>,
    ) -> Result<Self, EncodeError> {
        let mut sorted: Vec<&Property> = properties.into_iter().collect();
        sorted.sort_by_key(|property| property.key);
        let mut raw = Vec::new();
        write_pairs(&mut Writer::new(dialect.ints, &mut raw), dialect, &sorted)?;
        Ok(Self::from_wire(dialect, raw.into()))
    }

    /// Properties found on the wire, without their length.
    pub fn from_wire(dialect: &Dialect, raw: Bytes) -> Self {
        Self((!raw.is_empty()).then(|| Encoded { raw, form: dialect.into() }))
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The encoded bytes, without their length.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |encoded| &encoded.raw)
    }

    /// The same properties in a buffer of their own. Those that came from the wire share the buffer
    /// they came in, which whoever keeps them for long keeps whole.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(self.0.as_ref().map(|encoded| Encoded {
            raw: Bytes::copy_from_slice(&encoded.raw),
            form: encoded.form,
        }))
    }

    /// Each property in turn; stops after the first error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Property, DecodeError>> + '_ {
        self.0.iter().flat_map(Encoded::iter)
    }

    /// The number under `key`, if there is one, also inside Immutable Properties
    /// (draft-18, "Immutable Properties").
    pub fn int(&self, key: u64) -> Option<u64> {
        let find = |list: &Self| {
            let mut list = list.iter().map_while(Result::ok);
            list.find(|property| property.key == key)?.as_int()
        };
        find(self).or_else(|| find(&self.immutable()?))
    }

    /// What is inside Immutable Properties, if they are there.
    pub fn immutable(&self) -> Option<Self> {
        let mut list = self.iter().map_while(Result::ok);
        list.find(|property| property.key == property_type::IMMUTABLE)
            .map(|property| self.nested(&property))
    }

    /// What is inside one of these properties, which holds others.
    pub(crate) fn nested(&self, property: &Property) -> Self {
        let (Some(encoded), PropertyValue::Bytes(raw)) = (&self.0, &property.value) else {
            return Self::EMPTY;
        };
        let inner = Encoded { raw: raw.clone(), form: encoded.form };
        Self((!raw.is_empty()).then_some(inner))
    }

    /// The same properties for `dialect`: these very bytes if it writes them alike.
    pub fn to_dialect(&self, dialect: &Dialect) -> Result<Self, EncodeError> {
        match &self.0 {
            Some(encoded) if encoded.form != dialect.into() => {
                let list: Vec<Property> = encoded
                    .iter()
                    .collect::<Result<_, _>>()
                    .map_err(|_| EncodeError::OutOfRange(PROPERTIES))?;
                Self::encode(dialect, &list)
            }
            _ => Ok(self.clone()),
        }
    }
}

impl Encoded {
    fn iter(&self) -> impl Iterator<Item = Result<Property, DecodeError>> + '_ {
        let mut reader = Reader::new(self.form.ints, &self.raw);
        let mut pairs = PairReader::new(self.form.deltas);
        let mut failed = false;
        core::iter::from_fn(move || {
            if failed || reader.is_empty() {
                return None;
            }
            let pair = pairs.property(&mut reader, PROPERTIES).map(|(key, value)| Property {
                key,
                value: match value {
                    PairValue::Int(value) => PropertyValue::Int(value),
                    // Part of this very buffer, so no copy is needed.
                    PairValue::Bytes(bytes) => PropertyValue::Bytes(self.raw.slice_ref(bytes)),
                },
            });
            failed = pair.is_err();
            Some(pair.map_err(|Malformed| reader.error()))
        })
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) if a.form == b.form => a.raw == b.raw,
            (Some(a), Some(b)) => a.iter().eq(b.iter()),
            _ => false,
        }
    }
}

impl Eq for Properties {}

/// Over what they say, like equality, not over how it is encoded.
impl Hash for Properties {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for property in self.iter() {
            let Ok(property) = property else { break };
            property.hash(state);
        }
        // Tells where they end, like the length of a list.
        state.write_u8(u8::MAX);
    }
}

/// Track properties fill the rest of their message.
pub(super) fn read_track_properties(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<TrackProperties, Malformed> {
    let mut pairs = PairReader::new(dialect.key_deltas);
    let mut properties = Vec::new();
    let mut immutable = Vec::new();
    while !reader.is_empty() {
        let (key, value) = pairs.property(reader, "Track Properties")?;
        match value {
            PairValue::Int(value) => check_track_property(reader, dialect, key, value)?,
            PairValue::Bytes(bytes) if key == property_type::IMMUTABLE => {
                read_immutable(reader, dialect, bytes, &mut immutable)?;
            }
            PairValue::Bytes(_) => {}
        }
        properties.push(Property {
            key,
            value: match value {
                PairValue::Int(value) => PropertyValue::Int(value),
                PairValue::Bytes(bytes) => PropertyValue::Bytes(Bytes::copy_from_slice(bytes)),
            },
        });
    }
    let mut properties: TrackProperties = properties.into_iter().collect();
    properties.set_immutable(immutable);
    Ok(properties)
}

/// What is inside a track's Immutable Properties counts like what is outside ("processors MUST
/// search both", draft-18, "Immutable Properties"). Where it cannot be read it says nothing.
fn read_immutable(
    outer: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    bytes: &[u8],
    immutable: &mut Vec<Property>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(dialect.ints, bytes);
    let mut pairs = PairReader::new(dialect.key_deltas);
    while !reader.is_empty() {
        let Ok((key, value)) = pairs.property(&mut reader, "Immutable Properties") else { break };
        let value = match value {
            PairValue::Int(value) => {
                check_track_property(outer, dialect, key, value)?;
                PropertyValue::Int(value)
            }
            PairValue::Bytes(bytes) => PropertyValue::Bytes(Bytes::copy_from_slice(bytes)),
        };
        immutable.push(Property { key, value });
    }
    Ok(())
}

pub(super) fn write_track_properties(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    properties: &TrackProperties,
) -> Result<(), EncodeError> {
    let mut list: Vec<&Property> = properties.iter().collect();
    if dialect.zero_delivery_timeout_closes {
        // A timeout of 0 is none, which this draft says by leaving it out.
        let none = Property::int(property_type::OBJECT_DELIVERY_TIMEOUT, 0);
        list.retain(|property| **property != none);
    }
    for property in &list {
        let is_valid = match &property.value {
            PropertyValue::Int(value) => is_valid_track_property(dialect, property.key, *value),
            // Its reader looks inside.
            PropertyValue::Bytes(bytes) if property.key == property_type::IMMUTABLE => {
                let mut reader = Reader::new(dialect.ints, bytes);
                read_immutable(&mut reader, dialect, bytes, &mut Vec::new()).is_ok()
            }
            PropertyValue::Bytes(_) => true,
        };
        if !is_valid {
            return Err(EncodeError::OutOfRange("Track Properties"));
        }
    }
    write_pairs(writer, dialect, &list)
}

pub(super) fn check_track_property(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    key: u64,
    value: u64,
) -> Result<(), Malformed> {
    if is_valid_track_property(dialect, key, value) {
        Ok(())
    } else {
        Err(reader.fault(Fault::OutOfRange(value), "Track Properties"))
    }
}

/// The values that the drafts restrict.
fn is_valid_track_property(dialect: &Dialect, key: u64, value: u64) -> bool {
    match key {
        property_type::OBJECT_DELIVERY_TIMEOUT => {
            value > 0 || !dialect.zero_delivery_timeout_closes
        }
        property_type::DEFAULT_PUBLISHER_PRIORITY => value <= 255,
        property_type::DEFAULT_PUBLISHER_GROUP_ORDER => GroupOrder::from_code(value).is_some(),
        property_type::DYNAMIC_GROUPS => value <= 1,
        _ => true,
    }
}

fn write_pairs(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    properties: &[&Property],
) -> Result<(), EncodeError> {
    let mut pairs = PairWriter::new(dialect.key_deltas);
    for property in properties {
        match &property.value {
            PropertyValue::Int(value) => pairs.int(writer, property.key, *value, PROPERTIES)?,
            PropertyValue::Bytes(value) => pairs.bytes(writer, property.key, value, PROPERTIES)?,
        }
    }
    Ok(())
}
