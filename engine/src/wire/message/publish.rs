//! PUBLISH, PUBLISH_OK and PUBLISH_DONE.

use alloc::format;

use super::super::filter::read_filter;
use super::super::name::{read_track_name, write_track_name};
use super::super::parameters::{read_parameters, write_parameters};
use super::super::properties::{read_track_properties, write_track_properties};
use super::super::{Carrier, Dialect, EncodeError, Malformed, Note, Reader, Writer};
use super::subscribe::{
    DEFAULT_PRIORITY, read_chosen_group_order, read_largest, write_filter_or_all, write_largest,
};
use super::{REQUEST_ID, read_answer_id, read_reason, write_answer_id, write_reason};
use crate::model::{
    Message, Parameters, Publish, PublishDone, RequestKind, RequestOk, TrackProperties,
};

pub(super) fn read_publish(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = r.int(REQUEST_ID)?;
    let track = read_track_name(r, dialect, dialect.min_namespace_fields)?;
    let track_alias = r.int("Track Alias")?;
    let mut parameters = Parameters::default();
    let mut track_properties = TrackProperties::new();
    if dialect.fixed_fields {
        parameters.group_order = Some(read_chosen_group_order(r)?);
        parameters.largest_object = read_largest(r)?;
        parameters.forward = Some(r.flag("Forward")?);
    }
    let carrier = Carrier::Publish.into();
    read_parameters(r, dialect, carrier, &mut parameters, Some(&mut track_properties))?;
    if dialect.track_properties {
        track_properties = read_track_properties(r, dialect)?;
    }
    Ok(Message::Publish(Publish { request_id, track, track_alias, parameters, track_properties }))
}

pub(super) fn write_publish(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    publish: &Publish,
) -> Result<(), EncodeError> {
    let Publish { request_id, track, track_alias, parameters, track_properties } = publish;
    w.int(*request_id, REQUEST_ID)?;
    write_track_name(w, dialect, track, dialect.min_namespace_fields)?;
    w.int(*track_alias, "Track Alias")?;
    if dialect.fixed_fields {
        let order = parameters
            .group_order
            .unwrap_or_else(|| track_properties.default_publisher_group_order());
        w.byte(order.code());
        write_largest(w, parameters.largest_object)?;
        w.flag(parameters.forward.unwrap_or(true));
    }
    write_parameters(w, dialect, Carrier::Publish.into(), parameters, track_properties)?;
    if dialect.track_properties {
        write_track_properties(w, dialect, track_properties)?;
    }
    Ok(())
}

pub(super) fn read_publish_ok(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let mut ok = RequestOk {
        request_id: read_answer_id(r, dialect)?,
        answers: Some(RequestKind::Publish),
        ..RequestOk::default()
    };
    if dialect.fixed_fields {
        ok.parameters.forward = Some(r.flag("Forward")?);
        ok.parameters.subscriber_priority = Some(r.byte("Subscriber Priority")?);
        ok.parameters.group_order = Some(read_chosen_group_order(r)?);
        ok.parameters.subscription_filter = Some(read_filter(r, dialect)?);
    }
    read_parameters(r, dialect, Carrier::PublishOk.into(), &mut ok.parameters, None)?;
    Ok(Message::RequestOk(ok))
}

pub(super) fn write_publish_ok(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    ok: &RequestOk,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, ok.request_id)?;
    let parameters = &ok.parameters;
    if dialect.fixed_fields {
        w.flag(parameters.forward.unwrap_or(true));
        w.byte(parameters.subscriber_priority.unwrap_or(DEFAULT_PRIORITY));
        w.byte(parameters.group_order.unwrap_or_default().code());
        write_filter_or_all(w, dialect, parameters.subscription_filter)?;
    }
    let carrier = Carrier::PublishOk.into();
    write_parameters(w, dialect, carrier, parameters, &TrackProperties::new())
}

pub(super) fn read_publish_done(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = read_answer_id(r, dialect)?;
    let code = dialect.publish_done(r.int("Status Code")?);
    r.means(|| format!("{code}").into());
    let stream_count = r.int("Stream Count")?;
    let reason = read_reason(r)?;
    Ok(Message::PublishDone(PublishDone { request_id, code, stream_count, reason }))
}

pub(super) fn write_publish_done(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    done: &PublishDone,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, done.request_id)?;
    w.int(dialect.publish_done_code(done.code), "Status Code")?;
    w.int(done.stream_count, "Stream Count")?;
    write_reason(w, &done.reason)
}
