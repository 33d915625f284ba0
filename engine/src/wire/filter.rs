//! Locations and subscription filters (draft-18, "Subscription Filters").

use super::{Dialect, EncodeError, Fault, Malformed, Note, Reader, Writer};
use crate::model::{Location, SubscriptionFilter};

const FILTER: &str = "Subscription Filter";

pub(super) fn read_location(
    reader: &mut Reader<'_, impl Note>,
    field: &'static str,
) -> Result<Location, Malformed> {
    let group = reader.int(field)?;
    reader.means(|| "group".into());
    let object = reader.int(field)?;
    reader.means(|| "object".into());
    Ok(Location::new(group, object))
}

pub(super) fn write_location(
    writer: &mut Writer<'_>,
    location: Location,
    field: &'static str,
) -> Result<(), EncodeError> {
    writer.int(location.group, field)?;
    writer.int(location.object, field)
}

pub(super) fn read_filter(
    reader: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<SubscriptionFilter, Malformed> {
    let kind = reader.int(FILTER)?;
    reader.means(|| kind_means(kind).into());
    match kind {
        0x1 => Ok(SubscriptionFilter::NextGroupStart),
        0x2 => Ok(SubscriptionFilter::LargestObject),
        0x3 => Ok(SubscriptionFilter::AbsoluteStart { start: read_location(reader, FILTER)? }),
        0x4 => {
            let start = read_location(reader, FILTER)?;
            let end = reader.int(FILTER)?;
            reader.means(|| {
                if dialect.filter_end_delta { "groups more" } else { "last group" }.into()
            });
            // An end before the start is for the request to refuse: INVALID_RANGE.
            let end_group = if dialect.filter_end_delta {
                start.group.checked_add(end).ok_or_else(|| reader.fault(Fault::Overflow, FILTER))?
            } else {
                end
            };
            Ok(SubscriptionFilter::AbsoluteRange { start, end_group })
        }
        other => Err(reader.fault(Fault::OutOfRange(other), FILTER)),
    }
}

fn kind_means(kind: u64) -> &'static str {
    match kind {
        0x1 => "Next Group Start",
        0x2 => "Largest Object",
        0x3 => "AbsoluteStart",
        0x4 => "AbsoluteRange",
        _ => "unknown",
    }
}

pub(super) fn write_filter(
    writer: &mut Writer<'_>,
    dialect: &Dialect,
    filter: SubscriptionFilter,
) -> Result<(), EncodeError> {
    match filter {
        SubscriptionFilter::NextGroupStart => writer.int(0x1, FILTER),
        SubscriptionFilter::LargestObject => writer.int(0x2, FILTER),
        SubscriptionFilter::AbsoluteStart { start } => {
            writer.int(0x3, FILTER)?;
            write_location(writer, start, FILTER)
        }
        SubscriptionFilter::AbsoluteRange { start, end_group } => {
            let delta =
                end_group.checked_sub(start.group).ok_or(EncodeError::OutOfRange(FILTER))?;
            writer.int(0x4, FILTER)?;
            write_location(writer, start, FILTER)?;
            writer.int(if dialect.filter_end_delta { delta } else { end_group }, FILTER)
        }
    }
}

/// Draft 14's SUBSCRIBE_UPDATE: a start, and the end group plus one or 0 for none.
pub(super) fn read_update_range(
    reader: &mut Reader<'_, impl Note>,
) -> Result<SubscriptionFilter, Malformed> {
    let start = read_location(reader, "Start Location")?;
    match reader.int("End Group")?.checked_sub(1) {
        None => Ok(SubscriptionFilter::AbsoluteStart { start }),
        Some(end_group) if end_group < start.group => {
            Err(reader.fault(Fault::OutOfRange(end_group), "End Group"))
        }
        Some(end_group) => Ok(SubscriptionFilter::AbsoluteRange { start, end_group }),
    }
}

pub(super) fn write_update_range(
    writer: &mut Writer<'_>,
    filter: SubscriptionFilter,
) -> Result<(), EncodeError> {
    let (start, end) = match filter {
        SubscriptionFilter::AbsoluteStart { start } => (start, 0),
        SubscriptionFilter::AbsoluteRange { start, end_group } => {
            let end = end_group.checked_add(1).filter(|end| *end > start.group);
            (start, end.ok_or(EncodeError::OutOfRange("End Group"))?)
        }
        SubscriptionFilter::NextGroupStart | SubscriptionFilter::LargestObject => {
            return Err(EncodeError::OutOfRange("filter of an update"));
        }
    };
    write_location(writer, start, "Start Location")?;
    writer.int(end, "End Group")
}
