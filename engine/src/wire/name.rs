use bytes::Bytes;

use super::{DecodeError, Dialect, EncodeError, Fault, Reader, Writer};
use crate::model::{
    FullTrackName, MAX_FULL_TRACK_NAME_LEN, MAX_NAMESPACE_FIELDS, NameBuilder, NameError,
    TrackNamespace,
};

const NAMESPACE: &str = "Track Namespace";
const NAME: &str = "Track Name";

/// A namespace of at least `min_fields` fields.
pub(super) fn read_namespace(
    reader: &mut Reader<'_>,
    dialect: &Dialect,
    min_fields: usize,
) -> Result<TrackNamespace, DecodeError> {
    Ok(read_fields(reader, dialect, min_fields)?.into_namespace())
}

pub(super) fn read_track_name(
    reader: &mut Reader<'_>,
    dialect: &Dialect,
    min_fields: usize,
) -> Result<FullTrackName, DecodeError> {
    let namespace = read_namespace(reader, dialect, min_fields)?;
    let name = reader.prefixed(MAX_FULL_TRACK_NAME_LEN, NAME)?;
    FullTrackName::new(namespace, Bytes::copy_from_slice(name))
        .map_err(|error| reader.fault(Fault::Name(error), NAME))
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

fn read_fields(
    reader: &mut Reader<'_>,
    dialect: &Dialect,
    min_fields: usize,
) -> Result<NameBuilder, DecodeError> {
    let count = reader.int(NAMESPACE)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (min_fields..=MAX_NAMESPACE_FIELDS).contains(count))
        .ok_or_else(|| reader.fault(Fault::OutOfRange(count), NAMESPACE))?;
    let mut builder = NameBuilder::default();
    for _ in 0..count {
        let field = reader.prefixed(MAX_FULL_TRACK_NAME_LEN, NAMESPACE)?;
        if field.is_empty() && !dialect.empty_namespace_fields {
            return Err(reader.fault(Fault::Name(NameError::EmptyField), NAMESPACE));
        }
        builder.push_field(field).map_err(|error| reader.fault(Fault::Name(error), NAMESPACE))?;
    }
    Ok(builder)
}
