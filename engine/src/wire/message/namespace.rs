//! Namespace discovery.

use alloc::format;

use super::super::name::{read_namespace, read_track_name, write_namespace, write_track_name};
use super::super::parameters::{read_parameters, write_parameters};
use super::super::{Carrier, Dialect, EncodeError, Fault, Malformed, Note, Reader, Writer};
use super::{REQUEST_ID, read_reason, write_reason};
use crate::model::{
    Message, Namespace, NamespaceDone, NamespaceInterest, Parameters, PublishBlocked,
    PublishNamespace, PublishNamespaceCancel, PublishNamespaceDone, RequestKind,
    SubscribeNamespace, SubscribeTracks, TrackNamespace, TrackProperties, UnsubscribeNamespace,
};

const OPTIONS: &str = "Subscribe Options";

pub(super) fn read_publish_namespace(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    Ok(Message::PublishNamespace(PublishNamespace {
        request_id: r.int(REQUEST_ID)?,
        namespace: read_namespace(r, dialect, dialect.min_namespace_fields)?,
        parameters: read_plain_parameters(r, dialect, Carrier::PublishNamespace)?,
    }))
}

pub(super) fn write_publish_namespace(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    publish: &PublishNamespace,
) -> Result<(), EncodeError> {
    w.int(publish.request_id, REQUEST_ID)?;
    write_namespace(w, dialect, &publish.namespace, dialect.min_namespace_fields)?;
    write_plain_parameters(w, dialect, Carrier::PublishNamespace, &publish.parameters)
}

pub(super) fn read_target(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<PublishNamespaceDone, Malformed> {
    if dialect.namespace_done_by_name {
        read_namespace(r, dialect, dialect.min_namespace_fields)
            .map(PublishNamespaceDone::Namespace)
    } else {
        r.int(REQUEST_ID).map(PublishNamespaceDone::RequestId)
    }
}

pub(super) fn write_target(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    target: &PublishNamespaceDone,
) -> Result<(), EncodeError> {
    match (dialect.namespace_done_by_name, target) {
        (true, PublishNamespaceDone::Namespace(namespace)) => {
            write_namespace(w, dialect, namespace, dialect.min_namespace_fields)
        }
        (false, PublishNamespaceDone::RequestId(id)) => w.int(*id, REQUEST_ID),
        (true, _) => Err(EncodeError::Missing("Track Namespace")),
        (false, _) => Err(EncodeError::Missing(REQUEST_ID)),
    }
}

pub(super) fn read_cancel(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let target = read_target(r, dialect)?;
    let code = dialect.request_error(RequestKind::PublishNamespace, r.int("Error Code")?);
    r.means(|| format!("{code}").into());
    let reason = read_reason(r)?;
    Ok(Message::PublishNamespaceCancel(PublishNamespaceCancel { target, code, reason }))
}

pub(super) fn write_cancel(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    cancel: &PublishNamespaceCancel,
) -> Result<(), EncodeError> {
    write_target(w, dialect, &cancel.target)?;
    let code = dialect.request_error_code(RequestKind::PublishNamespace, cancel.code);
    w.int(code, "Error Code")?;
    write_reason(w, &cancel.reason)
}

pub(super) fn read_subscribe_namespace(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let request_id = r.int(REQUEST_ID)?;
    let prefix = read_namespace(r, dialect, dialect.min_prefix_fields)?;
    let interest = if dialect.namespace_options {
        match r.int(OPTIONS)? {
            0x0 => NamespaceInterest::Tracks,
            0x1 => NamespaceInterest::Namespaces,
            0x2 => NamespaceInterest::Both,
            other => return Err(r.fault(Fault::OutOfRange(other), OPTIONS)),
        }
    } else {
        default_interest(dialect)
    };
    let parameters = read_plain_parameters(r, dialect, Carrier::SubscribeNamespace)?;
    Ok(Message::SubscribeNamespace(SubscribeNamespace { request_id, prefix, interest, parameters }))
}

pub(super) fn write_subscribe_namespace(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    subscribe: &SubscribeNamespace,
) -> Result<(), EncodeError> {
    w.int(subscribe.request_id, REQUEST_ID)?;
    write_prefix(w, dialect, &subscribe.prefix)?;
    if dialect.namespace_options {
        let options = match subscribe.interest {
            NamespaceInterest::Tracks => 0x0,
            NamespaceInterest::Namespaces => 0x1,
            NamespaceInterest::Both => 0x2,
        };
        w.int(options, OPTIONS)?;
    } else if subscribe.interest != default_interest(dialect) {
        return Err(EncodeError::NotInDraft { what: OPTIONS, draft: dialect.draft });
    }
    write_plain_parameters(w, dialect, Carrier::SubscribeNamespace, &subscribe.parameters)
}

/// What SUBSCRIBE_NAMESPACE asks for where it does not say: everything, unless another
/// message asks for tracks.
fn default_interest(dialect: &Dialect) -> NamespaceInterest {
    if dialect.message_code(crate::model::MessageKind::SubscribeTracks).is_some() {
        NamespaceInterest::Namespaces
    } else {
        NamespaceInterest::Both
    }
}

pub(super) fn read_unsubscribe(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    Ok(Message::UnsubscribeNamespace(UnsubscribeNamespace {
        prefix: read_namespace(r, dialect, dialect.min_prefix_fields)?,
    }))
}

pub(super) fn write_prefix(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    prefix: &TrackNamespace,
) -> Result<(), EncodeError> {
    write_namespace(w, dialect, prefix, dialect.min_prefix_fields)
}

pub(super) fn read_namespace_found(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    Ok(Message::Namespace(Namespace { suffix: read_namespace(r, dialect, 0)? }))
}

pub(super) fn read_namespace_gone(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    Ok(Message::NamespaceDone(NamespaceDone { suffix: read_namespace(r, dialect, 0)? }))
}

/// What follows a prefix may be nothing.
pub(super) fn write_suffix(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    suffix: &TrackNamespace,
) -> Result<(), EncodeError> {
    write_namespace(w, dialect, suffix, 0)
}

pub(super) fn read_subscribe_tracks(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    Ok(Message::SubscribeTracks(SubscribeTracks {
        request_id: r.int(REQUEST_ID)?,
        prefix: read_namespace(r, dialect, dialect.min_prefix_fields)?,
        parameters: read_plain_parameters(r, dialect, Carrier::SubscribeTracks)?,
    }))
}

pub(super) fn write_subscribe_tracks(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    subscribe: &SubscribeTracks,
) -> Result<(), EncodeError> {
    w.int(subscribe.request_id, REQUEST_ID)?;
    write_prefix(w, dialect, &subscribe.prefix)?;
    write_plain_parameters(w, dialect, Carrier::SubscribeTracks, &subscribe.parameters)
}

pub(super) fn read_publish_blocked(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    Ok(Message::PublishBlocked(PublishBlocked { track: read_track_name(r, dialect, 0)? }))
}

pub(super) fn write_publish_blocked(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    blocked: &PublishBlocked,
) -> Result<(), EncodeError> {
    write_track_name(w, dialect, &blocked.track, 0)
}

fn read_plain_parameters(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    carrier: Carrier,
) -> Result<Parameters, Malformed> {
    let mut parameters = Parameters::default();
    read_parameters(r, dialect, carrier.into(), &mut parameters, None)?;
    Ok(parameters)
}

fn write_plain_parameters(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    carrier: Carrier,
    parameters: &Parameters,
) -> Result<(), EncodeError> {
    write_parameters(w, dialect, carrier.into(), parameters, &TrackProperties::new())
}
