//! FETCH, FETCH_OK and FETCH_CANCEL.

use super::super::filter::{read_location, write_location};
use super::super::name::{read_track_name, write_track_name};
use super::super::parameters::{read_parameters, write_parameters};
use super::super::properties::{read_track_properties, write_track_properties};
use super::super::{Carrier, Dialect, EncodeError, Fault, Malformed, Note, Reader, Writer};
use super::subscribe::{DEFAULT_PRIORITY, read_chosen_group_order, read_group_order};
use super::{REQUEST_ID, read_answer_id, write_answer_id};
use crate::model::{
    Fetch, FetchCancel, FetchOk, FetchRange, GroupOrder, JoiningStart, Location, Message,
    Parameters, TrackProperties,
};

const STANDALONE: u64 = 0x1;
const RELATIVE_JOINING: u64 = 0x2;
const ABSOLUTE_JOINING: u64 = 0x3;

fn type_means(fetch_type: u64) -> &'static str {
    match fetch_type {
        STANDALONE => "Standalone",
        RELATIVE_JOINING => "Relative Joining",
        ABSOLUTE_JOINING => "Absolute Joining",
        _ => "unknown",
    }
}

pub(super) fn read_fetch(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = r.int(REQUEST_ID)?;
    let mut parameters = Parameters::default();
    if dialect.fixed_fields {
        parameters.subscriber_priority = Some(r.byte("Subscriber Priority")?);
        parameters.group_order = read_group_order(r)?;
    }
    let fetch_type = r.int("Fetch Type")?;
    r.means(|| type_means(fetch_type).into());
    let range = match fetch_type {
        STANDALONE => FetchRange::Standalone {
            track: read_track_name(r, dialect, dialect.min_namespace_fields)?,
            start: read_location(r, "Start Location")?,
            end: read_location(r, "End Location")?,
        },
        kind @ (RELATIVE_JOINING | ABSOLUTE_JOINING) => {
            let request_id = r.int("Joining Request ID")?;
            let start = r.int("Joining Start")?;
            let start = if kind == RELATIVE_JOINING {
                JoiningStart::Relative(start)
            } else {
                JoiningStart::Absolute(start)
            };
            FetchRange::Joining { request_id, start }
        }
        other => return Err(r.fault(Fault::OutOfRange(other), "Fetch Type")),
    };
    read_parameters(r, dialect, Carrier::Fetch.into(), &mut parameters, None)?;
    Ok(Message::Fetch(Fetch { request_id, range, parameters }))
}

pub(super) fn write_fetch(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    fetch: &Fetch,
) -> Result<(), EncodeError> {
    w.int(fetch.request_id, REQUEST_ID)?;
    if dialect.fixed_fields {
        w.byte(fetch.parameters.subscriber_priority.unwrap_or(DEFAULT_PRIORITY));
        w.byte(fetch.parameters.group_order.map_or(0, GroupOrder::code));
    }
    match &fetch.range {
        FetchRange::Standalone { track, start, end } => {
            w.int(STANDALONE, "Fetch Type")?;
            write_track_name(w, dialect, track, dialect.min_namespace_fields)?;
            write_location(w, *start, "Start Location")?;
            write_end(w, dialect, *end)?;
        }
        FetchRange::Joining { request_id, start } => {
            let (kind, start) = match *start {
                JoiningStart::Relative(groups) => (RELATIVE_JOINING, groups),
                JoiningStart::Absolute(group) => (ABSOLUTE_JOINING, group),
            };
            w.int(kind, "Fetch Type")?;
            w.int(*request_id, "Joining Request ID")?;
            w.int(start, "Joining Start")?;
        }
    }
    let carrier = Carrier::Fetch.into();
    write_parameters(w, dialect, carrier, &fetch.parameters, &TrackProperties::new())
}

/// One more than the largest object that the draft's integers can say is the entire group: 0.
fn write_end(w: &mut Writer<'_>, dialect: &Dialect, end: Location) -> Result<(), EncodeError> {
    let to_largest = end.object.checked_sub(1) == Some(dialect.ints.max());
    let end = if to_largest { Location::new(end.group, 0) } else { end };
    write_location(w, end, "End Location")
}

pub(super) fn read_fetch_ok(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = read_answer_id(r, dialect)?;
    let group_order = if dialect.fixed_fields { Some(read_chosen_group_order(r)?) } else { None };
    let end_of_track = r.flag("End Of Track")?;
    let end = read_location(r, "End Location")?;
    let mut parameters = Parameters::default();
    let mut track_properties = TrackProperties::new();
    let carrier = Carrier::FetchOk.into();
    read_parameters(r, dialect, carrier, &mut parameters, Some(&mut track_properties))?;
    if dialect.track_properties {
        track_properties = read_track_properties(r, dialect)?;
    }
    Ok(Message::FetchOk(FetchOk {
        request_id,
        end_of_track,
        end,
        group_order,
        parameters,
        track_properties,
    }))
}

pub(super) fn write_fetch_ok(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    ok: &FetchOk,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, ok.request_id)?;
    if dialect.fixed_fields {
        let order =
            ok.group_order.unwrap_or_else(|| ok.track_properties.default_publisher_group_order());
        w.byte(order.code());
    }
    w.flag(ok.end_of_track);
    write_end(w, dialect, ok.end)?;
    let carrier = Carrier::FetchOk.into();
    write_parameters(w, dialect, carrier, &ok.parameters, &ok.track_properties)?;
    if dialect.track_properties {
        write_track_properties(w, dialect, &ok.track_properties)?;
    }
    Ok(())
}

pub(super) fn read_fetch_cancel(r: &mut Reader<'_, impl Note>) -> Result<Message, Malformed> {
    Ok(Message::FetchCancel(FetchCancel { request_id: r.int(REQUEST_ID)? }))
}
