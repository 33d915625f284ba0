use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use super::GroupOrder;

/// The registered property types (draft-18, "MOQT Properties").
pub mod property_type {
    /// OBJECT_DELIVERY_TIMEOUT, a track's (DELIVERY_TIMEOUT in draft 16).
    pub const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
    /// MAX_CACHE_DURATION, a track's.
    pub const MAX_CACHE_DURATION: u64 = 0x04;
    /// SUBGROUP_DELIVERY_TIMEOUT, a track's (draft 18).
    pub const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
    /// Immutable Properties, a track's or an object's.
    pub const IMMUTABLE: u64 = 0x0B;
    /// DEFAULT_PUBLISHER_PRIORITY, a track's.
    pub const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0E;
    /// DEFAULT_PUBLISHER_GROUP_ORDER, a track's.
    pub const DEFAULT_PUBLISHER_GROUP_ORDER: u64 = 0x22;
    /// DYNAMIC_GROUPS, a track's.
    pub const DYNAMIC_GROUPS: u64 = 0x30;
    /// Prior Group ID Gap, an object's.
    pub const PRIOR_GROUP_ID_GAP: u64 = 0x3C;
    /// Prior Object ID Gap, an object's.
    pub const PRIOR_OBJECT_ID_GAP: u64 = 0x3E;
    /// Types that an endpoint must understand to handle a track (draft 18).
    pub const MANDATORY: core::ops::RangeInclusive<u64> = 0x4000..=0x7FFF;

    /// What the drafts call a property, if it is registered.
    pub const fn name(key: u64) -> Option<&'static str> {
        Some(match key {
            OBJECT_DELIVERY_TIMEOUT => "OBJECT_DELIVERY_TIMEOUT",
            MAX_CACHE_DURATION => "MAX_CACHE_DURATION",
            SUBGROUP_DELIVERY_TIMEOUT => "SUBGROUP_DELIVERY_TIMEOUT",
            IMMUTABLE => "IMMUTABLE_PROPERTIES",
            DEFAULT_PUBLISHER_PRIORITY => "DEFAULT_PUBLISHER_PRIORITY",
            DEFAULT_PUBLISHER_GROUP_ORDER => "DEFAULT_PUBLISHER_GROUP_ORDER",
            DYNAMIC_GROUPS => "DYNAMIC_GROUPS",
            PRIOR_GROUP_ID_GAP => "PRIOR_GROUP_ID_GAP",
            PRIOR_OBJECT_ID_GAP => "PRIOR_OBJECT_ID_GAP",
            _ => return None,
        })
    }
}

/// A typed value attached to a track or an object, visible to relays
/// (draft-18, "Properties"; extension headers before draft 18).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Property {
    /// The property's type.
    pub key: u64,
    /// Its value.
    pub value: PropertyValue,
}

impl Property {
    /// A property of even type, whose value is a number.
    ///
    /// # Panics
    /// Never; with an odd `key` the property cannot be written and the write fails.
    pub const fn int(key: u64, value: u64) -> Self {
        Self { key, value: PropertyValue::Int(value) }
    }

    /// Its value if that is a number.
    pub const fn as_int(&self) -> Option<u64> {
        match self.value {
            PropertyValue::Int(value) => Some(value),
            PropertyValue::Bytes(_) => None,
        }
    }

    /// A property of odd type, whose value is a byte string.
    pub const fn bytes(key: u64, value: Bytes) -> Self {
        Self { key, value: PropertyValue::Bytes(value) }
    }
}

/// The value of a [`Property`]: a number if its type is even, bytes if it is odd.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PropertyValue {
    /// The value of an even type.
    Int(u64),
    /// The value of an odd type, at most 65,535 bytes.
    Bytes(Bytes),
}

/// The properties of a track, as its publisher states them.
///
/// Unknown ones are kept, since relays must pass them on.
#[derive(Clone, Debug, Default)]
pub struct TrackProperties {
    list: Vec<Property>,
    /// What was found inside Immutable Properties, which are in the list as they came.
    immutable: Vec<Property>,
}

impl PartialEq for TrackProperties {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for TrackProperties {}

impl Hash for TrackProperties {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.list.hash(state);
    }
}

impl TrackProperties {
    /// No properties.
    pub const fn new() -> Self {
        Self { list: Vec::new(), immutable: Vec::new() }
    }

    /// All of them, in ascending order of type.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Property> {
        self.list.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a property after those of the same or a smaller type.
    pub fn push(&mut self, property: Property) {
        let at = self.list.partition_point(|other| other.key <= property.key);
        self.list.insert(at, property);
    }

    /// Sets a number, replacing what was there.
    #[must_use]
    pub fn with_int(mut self, key: u64, value: u64) -> Self {
        self.list.retain(|property| property.key != key);
        self.push(Property::int(key, value));
        self
    }

    /// The number under `key`, if there is one, also inside Immutable Properties that a peer
    /// sent (draft-18, "Immutable Properties").
    pub fn int(&self, key: u64) -> Option<u64> {
        let mut all = self.list.iter().chain(&self.immutable);
        all.find(|property| property.key == key)?.as_int()
    }

    /// What is inside Immutable Properties, as far as it could be read.
    pub fn immutable(&self) -> impl ExactSizeIterator<Item = &Property> {
        self.immutable.iter()
    }

    /// Notes what is inside the Immutable Properties of the list.
    pub(crate) fn set_immutable(&mut self, immutable: Vec<Property>) {
        self.immutable = immutable;
    }

    /// Milliseconds after which the publisher gives an object up; 0 is the same as absent.
    pub fn object_delivery_timeout(&self) -> Option<u64> {
        self.int(property_type::OBJECT_DELIVERY_TIMEOUT)
    }

    /// Milliseconds after which the publisher gives a subgroup up; 0 is the same as absent.
    pub fn subgroup_delivery_timeout(&self) -> Option<u64> {
        self.int(property_type::SUBGROUP_DELIVERY_TIMEOUT)
    }

    /// Milliseconds for which an object may be served from a cache.
    pub fn max_cache_duration(&self) -> Option<u64> {
        self.int(property_type::MAX_CACHE_DURATION)
    }

    /// The priority of subgroups and datagrams that state none; 128 if absent.
    pub fn default_publisher_priority(&self) -> u8 {
        self.int(property_type::DEFAULT_PUBLISHER_PRIORITY)
            .and_then(|value| u8::try_from(value).ok())
            .unwrap_or(128)
    }

    /// The order of groups that the publisher prefers; ascending if absent.
    pub fn default_publisher_group_order(&self) -> GroupOrder {
        self.int(property_type::DEFAULT_PUBLISHER_GROUP_ORDER)
            .and_then(GroupOrder::from_code)
            .unwrap_or_default()
    }

    /// Whether subscribers may ask for a new group.
    pub fn dynamic_groups(&self) -> bool {
        self.int(property_type::DYNAMIC_GROUPS) == Some(1)
    }

    /// The first property that an endpoint would have to understand to handle the track.
    pub fn first_mandatory(&self) -> Option<u64> {
        self.list
            .iter()
            .chain(&self.immutable)
            .map(|property| property.key)
            .find(|key| property_type::MANDATORY.contains(key))
    }
}

impl FromIterator<Property> for TrackProperties {
    fn from_iter<I: IntoIterator<Item = Property>>(properties: I) -> Self {
        let mut list: Vec<_> = properties.into_iter().collect();
        list.sort_by_key(|property| property.key);
        Self { list, immutable: Vec::new() }
    }
}
