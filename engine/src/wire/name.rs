use super::{Dialect, EncodeError, Fault, Malformed, Note, Reader, Writer};
use crate::model::{
    FullTrackName, MAX_FULL_TRACK_NAME_LEN, MAX_NAMESPACE_FIELDS, NameBuilder, NameError,
    TrackNamespace,
};

const NAMESPACE: &str = "Track Namespace";
const NAME: &str = "Track Name";

/// A namespace of at least `min_fields` fields.
pub(super) fn read_namespace(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    min_fields: usize,
) -> Result<TrackNamespace, Malformed> {
    let mut builder = NameBuilder::default();
    read_fields(reader, dialect, min_fields, &mut builder)?;
    Ok(builder.namespace())
}

pub(super) fn read_track_name(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    min_fields: usize,
) -> Result<FullTrackName, Malformed> {
    let mut builder = NameBuilder::default();
    read_fields(reader, dialect, min_fields, &mut builder)?;
    let name = reader.prefixed(MAX_FULL_TRACK_NAME_LEN, NAME)?;
    builder.track_name(name).map_err(|error| reader.fault(Fault::Name(error), NAME))
}

fn read_fields<'a>(
    reader: &mut Reader<'a, impl Note>,
    dialect: &Dialect,
    min_fields: usize,
    into: &mut NameBuilder<'a>,
) -> Result<(), Malformed> {
    let count = reader.int(NAMESPACE)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (min_fields..=MAX_NAMESPACE_FIELDS).contains(count))
        .ok_or_else(|| reader.fault(Fault::OutOfRange(count), NAMESPACE))?;
    for _ in 0..count {
        let field = reader.prefixed(MAX_FULL_TRACK_NAME_LEN, NAMESPACE)?;
        if field.is_empty() && !dialect.empty_namespace_fields {
            return Err(reader.fault(Fault::Name(NameError::EmptyField), NAMESPACE));
        }
        into.push_field(field).map_err(|error| reader.fault(Fault::Name(error), NAMESPACE))?;
    }
    Ok(())
}

pub(super) fn write_namespace(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    namespace: &TrackNamespace,
    min_fields: usize,
) -> Result<(), EncodeError> {
    if namespace.len() < min_fields {
        return Err(EncodeError::OutOfRange(NAMESPACE));
    }
    writer.int(namespace.len() as u64, NAMESPACE)?;
    for field in namespace.fields() {
        if field.is_empty() && !dialect.empty_namespace_fields {
            return Err(EncodeError::OutOfRange(NAMESPACE));
        }
        writer.prefixed(field, MAX_FULL_TRACK_NAME_LEN, NAMESPACE)?;
    }
    Ok(())
}

pub(super) fn write_track_name(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    track: &FullTrackName,
    min_fields: usize,
) -> Result<(), EncodeError> {
    write_namespace(writer, dialect, track.namespace(), min_fields)?;
    writer.prefixed(track.name(), MAX_FULL_TRACK_NAME_LEN, NAME)
}
