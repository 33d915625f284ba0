use super::MalformedRule;
use crate::model::property_type;
use crate::wire::{DecodeError, Dialect, Fault, Properties};

/// What an object's properties say of objects before it (draft-18, "Prior Group ID Gap" and
/// "Prior Object ID Gap").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// How many groups before the object's do not exist.
    pub(crate) groups: Option<u64>,
    /// How many objects before it do not exist in its group.
    pub(crate) objects: Option<u64>,
}

/// What is wrong with an object's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyFault {
    /// The track is malformed.
    Track(MalformedRule),
    /// The session must be closed.
    Session(DecodeError),
}

impl Gaps {
    /// Reads the properties of an object, those inside Immutable Properties too: a processor
    /// "MUST search both" (draft-18, "Immutable Properties").
    pub(crate) fn read(dialect: &Dialect, properties: &Properties) -> Result<Self, PropertyFault> {
        let mut gaps = Self::default();
        let mut immutable = None;
        for property in properties.iter() {
            let property = property.map_err(unparsable)?;
            if property.key == property_type::IMMUTABLE {
                let inner = properties.nested(&property);
                let is_second = immutable.replace(inner).is_some();
                if is_second && dialect.objects.one_immutable {
                    return Err(PropertyFault::Track(MalformedRule::RepeatedProperty));
                }
                for inner in immutable.iter().flat_map(Properties::iter) {
                    let inner = inner.map_err(unparsable)?;
                    if inner.key == property_type::IMMUTABLE {
                        return Err(PropertyFault::Track(MalformedRule::NestedImmutable));
                    }
                    gaps.take(dialect, inner.key, inner.as_int())?;
                }
            } else {
                gaps.take(dialect, property.key, property.as_int())?;
            }
        }
        Ok(gaps)
    }

    fn take(
        &mut self,
        dialect: &Dialect,
        key: u64,
        value: Option<u64>,
    ) -> Result<(), PropertyFault> {
        let gap = match key {
            property_type::PRIOR_GROUP_ID_GAP => &mut self.groups,
            property_type::PRIOR_OBJECT_ID_GAP => &mut self.objects,
            _ if dialect.mandatory_properties && property_type::MANDATORY.contains(&key) => {
                return Err(PropertyFault::Track(MalformedRule::MandatoryProperty));
            }
            _ => return Ok(()),
        };
        if gap.is_some() {
            return Err(PropertyFault::Track(MalformedRule::RepeatedProperty));
        }
        *gap = value;
        Ok(())
    }
}

/// "A Key-Value-Pair cannot be parsed" makes the track malformed, except for what the draft
/// closes sessions for wherever it is found: types that lead out of range and values that are
/// too long (draft-18, "Key-Value-Pair Structure").
fn unparsable(error: DecodeError) -> PropertyFault {
    match error.fault {
        Fault::Overflow | Fault::TooLong { .. } => PropertyFault::Session(error),
        _ => PropertyFault::Track(MalformedRule::UnparsableProperties),
    }
}
