//! GOAWAY, request credit, and the general answers.

use alloc::format;

use bytes::Bytes;

use super::super::name::{read_track_name, write_track_name};
use super::super::parameters::{read_parameters, write_parameters};
use super::super::properties::{read_track_properties, write_track_properties};
use super::super::{Carrier, CarrierSet, Dialect, EncodeError, Malformed, Note, Reader, Writer};
use super::{REQUEST_ID, read_answer_id, read_reason, write_answer_id, write_reason};
use crate::model::{
    Goaway, MaxRequestId, Message, MessageKind, Redirect, RequestError, RequestErrorCode,
    RequestKind, RequestOk, RequestsBlocked, TrackProperties,
};

/// Most bytes of a GOAWAY's URI (draft-18, "GOAWAY").
const MAX_URI_LEN: usize = 8192;

/// A redirect's URI has no limit but the message's.
const MAX_CONNECT_URI_LEN: usize = 65_535;

pub(super) fn read_goaway(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let uri = r.prefixed(MAX_URI_LEN, "New Session URI")?;
    let mut goaway = Goaway { new_session_uri: Bytes::copy_from_slice(uri), ..Goaway::default() };
    if dialect.goaway_timeout {
        goaway.timeout = r.int("Timeout")?;
        if dialect.goaway_request_id && !r.is_empty() {
            goaway.request_id = Some(r.int(REQUEST_ID)?);
        }
    }
    Ok(Message::Goaway(goaway))
}

pub(super) fn write_goaway(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    goaway: &Goaway,
) -> Result<(), EncodeError> {
    w.prefixed(&goaway.new_session_uri, MAX_URI_LEN, "New Session URI")?;
    if dialect.goaway_timeout {
        w.int(goaway.timeout, "Timeout")?;
        if let Some(id) = goaway.request_id.filter(|_| dialect.goaway_request_id) {
            w.int(id, REQUEST_ID)?;
        }
    }
    Ok(())
}

pub(super) fn read_max_request_id(r: &mut Reader<'_, impl Note>) -> Result<Message, Malformed> {
    Ok(Message::MaxRequestId(MaxRequestId { max_request_id: r.int("Max Request ID")? }))
}

pub(super) fn read_requests_blocked(r: &mut Reader<'_, impl Note>) -> Result<Message, Malformed> {
    Ok(Message::RequestsBlocked(RequestsBlocked { max_request_id: r.int("Maximum Request ID")? }))
}

/// The message type that accepts a request of this kind.
pub(super) fn ok_kind(
    dialect: &Dialect,
    answers: Option<RequestKind>,
) -> Result<MessageKind, EncodeError> {
    let specific = match answers {
        Some(RequestKind::Publish) => Some(MessageKind::PublishOk),
        Some(RequestKind::TrackStatus) => Some(MessageKind::TrackStatusOk),
        Some(RequestKind::PublishNamespace) => Some(MessageKind::PublishNamespaceOk),
        Some(RequestKind::SubscribeNamespace) => Some(MessageKind::SubscribeNamespaceOk),
        _ => None,
    };
    specific_or(dialect, specific, MessageKind::RequestOk)
}

/// The message type that refuses a request of this kind.
pub(super) fn error_kind(
    dialect: &Dialect,
    answers: Option<RequestKind>,
) -> Result<MessageKind, EncodeError> {
    let specific = match answers {
        Some(RequestKind::Subscribe) => Some(MessageKind::SubscribeError),
        Some(RequestKind::Publish) => Some(MessageKind::PublishError),
        Some(RequestKind::Fetch) => Some(MessageKind::FetchError),
        Some(RequestKind::TrackStatus) => Some(MessageKind::TrackStatusError),
        Some(RequestKind::PublishNamespace) => Some(MessageKind::PublishNamespaceError),
        Some(RequestKind::SubscribeNamespace) => Some(MessageKind::SubscribeNamespaceError),
        _ => None,
    };
    specific_or(dialect, specific, MessageKind::RequestError)
}

/// The kind of request that this error message answers.
pub(super) fn error_answers(kind: MessageKind) -> Option<RequestKind> {
    match kind {
        MessageKind::SubscribeError => Some(RequestKind::Subscribe),
        MessageKind::PublishError => Some(RequestKind::Publish),
        MessageKind::FetchError => Some(RequestKind::Fetch),
        MessageKind::TrackStatusError => Some(RequestKind::TrackStatus),
        MessageKind::PublishNamespaceError => Some(RequestKind::PublishNamespace),
        MessageKind::SubscribeNamespaceError => Some(RequestKind::SubscribeNamespace),
        _ => None,
    }
}

fn specific_or(
    dialect: &Dialect,
    specific: Option<MessageKind>,
    general: MessageKind,
) -> Result<MessageKind, EncodeError> {
    if let Some(kind) = specific.filter(|kind| dialect.message_code(*kind).is_some()) {
        return Ok(kind);
    }
    if dialect.message_code(general).is_some() {
        return Ok(general);
    }
    Err(match specific {
        Some(kind) => EncodeError::NotInDraft { what: kind.name(), draft: dialect.draft },
        None => EncodeError::Missing("kind of request answered"),
    })
}

pub(super) fn read_request_ok(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Message, Malformed> {
    let mut ok = RequestOk { request_id: read_answer_id(r, dialect)?, ..RequestOk::default() };
    read_parameters(r, dialect, request_oks(dialect), &mut ok.parameters, None)?;
    if dialect.request_ok_properties {
        ok.track_properties = read_track_properties(r, dialect)?;
    }
    Ok(Message::RequestOk(ok))
}

/// The answers that a REQUEST_OK can be: PUBLISH's is one unless it has a message of its own.
fn request_oks(dialect: &Dialect) -> CarrierSet {
    match dialect.message_code(MessageKind::PublishOk) {
        Some(_) => CarrierSet::REQUEST_OKS,
        None => CarrierSet::REQUEST_OKS.union(Carrier::PublishOk.into()),
    }
}

/// An answer that says nothing but yes.
pub(super) fn read_bare_ok(
    r: &mut Reader<'_, impl Note>,
    answers: RequestKind,
) -> Result<Message, Malformed> {
    Ok(Message::RequestOk(RequestOk {
        request_id: Some(r.int(REQUEST_ID)?),
        answers: Some(answers),
        ..RequestOk::default()
    }))
}

pub(super) fn write_request_ok(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    kind: MessageKind,
    ok: &RequestOk,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, ok.request_id)?;
    if kind != MessageKind::RequestOk {
        return Ok(());
    }
    let carriers = match ok.answers {
        Some(kind) => Carrier::answer_to(kind).into(),
        None => request_oks(dialect),
    };
    write_parameters(w, dialect, carriers, &ok.parameters, &TrackProperties::new())?;
    if dialect.request_ok_properties {
        write_track_properties(w, dialect, &ok.track_properties)?;
    }
    Ok(())
}

pub(super) fn read_request_error(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    answers: Option<RequestKind>,
) -> Result<Message, Malformed> {
    let request_id = read_answer_id(r, dialect)?;
    let code = r.int("Error Code")?;
    // Where one message serves all kinds, one code table does too.
    let code = dialect.request_error(answers.unwrap_or(RequestKind::Update), code);
    r.means(|| format!("{code}").into());
    let retry_interval = if dialect.retry_interval { r.int("Retry Interval")? } else { 0 };
    let reason = read_reason(r)?;
    let redirect = if dialect.redirect && code == RequestErrorCode::Redirect {
        let connect_uri = r.prefixed(MAX_CONNECT_URI_LEN, "Connect URI")?;
        Some(Redirect {
            connect_uri: Bytes::copy_from_slice(connect_uri),
            track: read_track_name(r, dialect, 0)?,
        })
    } else {
        None
    };
    Ok(Message::RequestError(RequestError {
        request_id,
        answers,
        code,
        retry_interval,
        reason,
        redirect,
    }))
}

pub(super) fn write_request_error(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    error: &RequestError,
) -> Result<(), EncodeError> {
    write_answer_id(w, dialect, error.request_id)?;
    let answers = error.answers.unwrap_or(RequestKind::Update);
    let code = dialect.request_error_code(answers, error.code);
    w.int(code, "Error Code")?;
    if dialect.retry_interval {
        w.int(error.retry_interval, "Retry Interval")?;
    }
    write_reason(w, &error.reason)?;
    // Also if the code is given as a number: its reader expects what it stands for.
    if dialect.redirect && dialect.request_error(answers, code) == RequestErrorCode::Redirect {
        let redirect = error.redirect.as_ref().ok_or(EncodeError::Missing("Redirect"))?;
        w.prefixed(&redirect.connect_uri, MAX_CONNECT_URI_LEN, "Connect URI")?;
        write_track_name(w, dialect, &redirect.track, 0)?;
    }
    Ok(())
}
