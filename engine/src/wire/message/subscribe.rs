//! SUBSCRIBE and its kin.

use super::super::filter::{
    read_filter, read_location, read_update_range, write_filter, write_location, write_update_range,
};
use super::super::name::{read_track_name, write_track_name};
use super::super::parameters::{read_parameters, write_parameters};
use super::super::properties::{read_track_properties, write_track_properties};
use super::super::{
    Carrier, CarrierSet, Dialect, EncodeError, Fault, Malformed, Note, Reader, Writer,
};
use super::{REQUEST_ID, read_answer_id, write_answer_id};
use crate::model::{
    FullTrackName, GroupOrder, Location, Message, Parameters, RequestKind, RequestOk,
    RequestUpdate, Subscribe, SubscribeOk, SubscriptionFilter, TrackProperties, TrackStatus,
    Unsubscribe,
};

/// The priority of a request that states none (draft-18, "SUBSCRIBER PRIORITY Parameter").
pub(super) const DEFAULT_PRIORITY: u8 = 128;

/// A subscription without a filter, in a draft that always states one.
const UNFILTERED: SubscriptionFilter = SubscriptionFilter::AbsoluteStart { start: Location::ZERO };

pub(super) fn read_subscribe(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let mut subscribe = Subscribe {
        request_id: r.int(REQUEST_ID)?,
        track: read_track_name(r, dialect, dialect.min_namespace_fields)?,
        parameters: Parameters::default(),
    };
    read_request_parameters(r, dialect, Carrier::Subscribe, &mut subscribe.parameters)?;
    Ok(Message::Subscribe(subscribe))
}

pub(super) fn write_subscribe(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    subscribe: &Subscribe,
) -> Result<(), EncodeError> {
    let Subscribe { request_id, track, parameters } = subscribe;
    write_request(w, dialect, Carrier::Subscribe, *request_id, track, parameters)
}

pub(super) fn read_track_status(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let mut status = TrackStatus {
        request_id: r.int(REQUEST_ID)?,
        track: read_track_name(r, dialect, dialect.min_namespace_fields)?,
        parameters: Parameters::default(),
    };
    read_request_parameters(r, dialect, Carrier::TrackStatus, &mut status.parameters)?;
    Ok(Message::TrackStatus(status))
}

pub(super) fn write_track_status(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    status: &TrackStatus,
) -> Result<(), EncodeError> {
    let TrackStatus { request_id, track, parameters } = status;
    write_request(w, dialect, Carrier::TrackStatus, *request_id, track, parameters)
}

/// SUBSCRIBE and TRACK_STATUS have one format.
fn read_request_parameters(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    carrier: Carrier,
    parameters: &mut Parameters,
) -> Result<(), Malformed> {
    if dialect.fixed_fields {
        parameters.subscriber_priority = Some(r.byte("Subscriber Priority")?);
        parameters.group_order = read_group_order(r)?;
        parameters.forward = Some(r.flag("Forward")?);
        parameters.subscription_filter = Some(read_filter(r, dialect)?);
    }
    read_parameters(r, dialect, carrier.into(), parameters, None)
}

fn write_request(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    carrier: Carrier,
    request_id: u64,
    track: &FullTrackName,
    parameters: &Parameters,
) -> Result<(), EncodeError> {
    w.int(request_id, REQUEST_ID)?;
    write_track_name(w, dialect, track, dialect.min_namespace_fields)?;
    if dialect.fixed_fields {
        w.byte(parameters.subscriber_priority.unwrap_or(DEFAULT_PRIORITY));
        w.byte(parameters.group_order.map_or(0, GroupOrder::code));
        w.flag(parameters.forward.unwrap_or(true));
        write_filter(w, dialect, parameters.subscription_filter.unwrap_or(UNFILTERED))?;
    }
    write_parameters(w, dialect, carrier.into(), parameters, &TrackProperties::new())
}

pub(super) fn read_subscribe_ok(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = read_answer_id(r, dialect)?;
    let track_alias = r.int("Track Alias")?;
    let (parameters, track_properties) = read_ok_tail(r, dialect, Carrier::SubscribeOk)?;
    Ok(Message::SubscribeOk(SubscribeOk { request_id, track_alias, parameters, track_properties }))
}

pub(super) fn write_subscribe_ok(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    ok: &SubscribeOk,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, ok.request_id)?;
    w.int(ok.track_alias, "Track Alias")?;
    write_ok_tail(w, dialect, Carrier::SubscribeOk, &ok.parameters, &ok.track_properties)
}

/// Draft 14's TRACK_STATUS_OK is a SUBSCRIBE_OK whose alias means nothing.
pub(super) fn read_track_status_ok(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = read_answer_id(r, dialect)?;
    r.int("Track Alias")?;
    let (parameters, track_properties) = read_ok_tail(r, dialect, Carrier::TrackStatusOk)?;
    Ok(Message::RequestOk(RequestOk {
        request_id,
        answers: Some(RequestKind::TrackStatus),
        parameters,
        track_properties,
    }))
}

pub(super) fn write_track_status_ok(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    ok: &RequestOk,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, ok.request_id)?;
    w.int(0, "Track Alias")?;
    write_ok_tail(w, dialect, Carrier::TrackStatusOk, &ok.parameters, &ok.track_properties)
}

fn read_ok_tail(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    carrier: Carrier,
) -> Result<(Parameters, TrackProperties), Malformed> {
    let mut parameters = Parameters::default();
    let mut properties = TrackProperties::new();
    if dialect.fixed_fields {
        parameters.expires = Some(r.int("Expires")?);
        parameters.group_order = Some(read_chosen_group_order(r)?);
        parameters.largest_object = read_largest(r)?;
    }
    read_parameters(r, dialect, carrier.into(), &mut parameters, Some(&mut properties))?;
    if dialect.track_properties {
        properties = read_track_properties(r, dialect)?;
    }
    Ok((parameters, properties))
}

fn write_ok_tail(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    carrier: Carrier,
    parameters: &Parameters,
    properties: &TrackProperties,
) -> Result<(), EncodeError> {
    if dialect.fixed_fields {
        w.int(parameters.expires.unwrap_or(0), "Expires")?;
        let order =
            parameters.group_order.unwrap_or_else(|| properties.default_publisher_group_order());
        w.byte(order.code());
        write_largest(w, parameters.largest_object)?;
    }
    write_parameters(w, dialect, carrier.into(), parameters, properties)?;
    if dialect.track_properties {
        write_track_properties(w, dialect, properties)?;
    }
    Ok(())
}

pub(super) fn read_update(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = r.int(REQUEST_ID)?;
    let existing_request_id =
        if dialect.update_names_request { Some(r.int("Existing Request ID")?) } else { None };
    let mut parameters = Parameters::default();
    if dialect.fixed_fields {
        parameters.subscription_filter = Some(read_update_range(r)?);
        parameters.subscriber_priority = Some(r.byte("Subscriber Priority")?);
        parameters.forward = Some(r.flag("Forward")?);
    }
    read_parameters(r, dialect, CarrierSet::UPDATES, &mut parameters, None)?;
    Ok(Message::RequestUpdate(RequestUpdate { request_id, existing_request_id, parameters }))
}

pub(super) fn write_update(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    update: &RequestUpdate,
) -> Result<(), EncodeError> {
    w.int(update.request_id, REQUEST_ID)?;
    if dialect.update_names_request {
        let id = update.existing_request_id.ok_or(EncodeError::Missing("Existing Request ID"))?;
        w.int(id, "Existing Request ID")?;
    }
    let parameters = &update.parameters;
    if dialect.fixed_fields {
        let missing = EncodeError::Missing;
        let filter = parameters.subscription_filter.ok_or(missing("Start Location"))?;
        write_update_range(w, filter)?;
        w.byte(parameters.subscriber_priority.ok_or(missing("Subscriber Priority"))?);
        w.flag(parameters.forward.ok_or(missing("Forward"))?);
    }
    write_parameters(w, dialect, CarrierSet::UPDATES, parameters, &TrackProperties::new())
}

pub(super) fn read_unsubscribe(r: &mut Reader<'_, impl Note>) -> Result<Message, Malformed> {
    Ok(Message::Unsubscribe(Unsubscribe { request_id: r.int(REQUEST_ID)? }))
}

/// 0 leaves the order to the publisher.
pub(super) fn read_group_order(
    r: &mut Reader<'_, impl Note>,
) -> Result<Option<GroupOrder>, Malformed> {
    match r.byte("Group Order")? {
        0 => Ok(None),
        code => group_order(r, code).map(Some),
    }
}

/// 0 is an error.
pub(super) fn read_chosen_group_order(
    r: &mut Reader<'_, impl Note>,
) -> Result<GroupOrder, Malformed> {
    let code = r.byte("Group Order")?;
    group_order(r, code)
}

fn group_order(r: &mut Reader<'_, impl Note>, code: u8) -> Result<GroupOrder, Malformed> {
    let order = GroupOrder::from_code(u64::from(code))
        .ok_or_else(|| r.fault(Fault::OutOfRange(u64::from(code)), "Group Order"))?;
    r.means(|| order.name().into());
    Ok(order)
}

/// Content Exists, and the largest location if it does.
pub(super) fn read_largest(r: &mut Reader<'_, impl Note>) -> Result<Option<Location>, Malformed> {
    if r.flag("Content Exists")? {
        read_location(r, "Largest Location").map(Some)
    } else {
        Ok(None)
    }
}

pub(super) fn write_largest(
    w: &mut Writer<'_>,
    largest: Option<Location>,
) -> Result<(), EncodeError> {
    w.flag(largest.is_some());
    largest.map_or(Ok(()), |largest| write_location(w, largest, "Largest Location"))
}

/// The filter of a message that always has one.
pub(super) fn write_filter_or_all(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    filter: Option<SubscriptionFilter>,
) -> Result<(), EncodeError> {
    write_filter(w, dialect, filter.unwrap_or(UNFILTERED))
}
