//! One layout per control message, read and written as the dialect says.

mod fetch;
mod namespace;
mod publish;
mod session;
mod subscribe;

use alloc::string::String;
use alloc::vec::Vec;

use super::{DecodeError, Dialect, EncodeError, Malformed, Note, Reader, Writer};
use crate::model::{Message, MessageKind, RequestKind};

/// Most bytes of a reason phrase (draft-18, "Reason Phrase Structure").
const MAX_REASON_LEN: usize = 1024;

/// Decodes the body of a control message. Every byte of it must belong to a field.
pub fn decode_message(
    dialect: &Dialect,
    kind: MessageKind,
    body: &[u8],
) -> Result<Message, DecodeError> {
    decode_noted(dialect, kind, body, ())
}

/// The same, and tells of each field.
pub(super) fn decode_noted(
    dialect: &Dialect,
    kind: MessageKind,
    body: &[u8],
    notes: impl Note,
) -> Result<Message, DecodeError> {
    let mut reader = Reader::with_notes(dialect.ints, body, notes);
    match read_body(&mut reader, dialect, kind) {
        Ok(message) if reader.finish(kind.name()).is_ok() => Ok(message),
        _ => Err(reader.error()),
    }
}

fn read_body(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
    kind: MessageKind,
) -> Result<Message, Malformed> {
    use MessageKind as Kind;
    match kind {
        Kind::ClientSetup | Kind::ServerSetup | Kind::Setup => {
            super::setup::read_setup(r, dialect, kind)
        }
        Kind::Goaway => session::read_goaway(r, dialect),
        Kind::MaxRequestId => session::read_max_request_id(r),
        Kind::RequestsBlocked => session::read_requests_blocked(r),
        Kind::Subscribe => subscribe::read_subscribe(r, dialect),
        Kind::SubscribeOk => subscribe::read_subscribe_ok(r, dialect),
        Kind::RequestUpdate => subscribe::read_update(r, dialect),
        Kind::Unsubscribe => subscribe::read_unsubscribe(r),
        Kind::TrackStatus => subscribe::read_track_status(r, dialect),
        Kind::TrackStatusOk => subscribe::read_track_status_ok(r, dialect),
        Kind::Publish => publish::read_publish(r, dialect),
        Kind::PublishOk => publish::read_publish_ok(r, dialect),
        Kind::PublishDone => publish::read_publish_done(r, dialect),
        Kind::Fetch => fetch::read_fetch(r, dialect),
        Kind::FetchOk => fetch::read_fetch_ok(r, dialect),
        Kind::FetchCancel => fetch::read_fetch_cancel(r),
        Kind::RequestOk => session::read_request_ok(r, dialect),
        Kind::PublishNamespaceOk => session::read_bare_ok(r, RequestKind::PublishNamespace),
        Kind::SubscribeNamespaceOk => session::read_bare_ok(r, RequestKind::SubscribeNamespace),
        Kind::RequestError => session::read_request_error(r, dialect, None),
        Kind::SubscribeError
        | Kind::PublishError
        | Kind::FetchError
        | Kind::TrackStatusError
        | Kind::PublishNamespaceError
        | Kind::SubscribeNamespaceError => {
            session::read_request_error(r, dialect, session::error_answers(kind))
        }
        Kind::PublishNamespace => namespace::read_publish_namespace(r, dialect),
        Kind::PublishNamespaceDone => {
            namespace::read_target(r, dialect).map(Message::PublishNamespaceDone)
        }
        Kind::PublishNamespaceCancel => namespace::read_cancel(r, dialect),
        Kind::SubscribeNamespace => namespace::read_subscribe_namespace(r, dialect),
        Kind::UnsubscribeNamespace => namespace::read_unsubscribe(r, dialect),
        Kind::Namespace => namespace::read_namespace_found(r, dialect),
        Kind::NamespaceDone => namespace::read_namespace_gone(r, dialect),
        Kind::SubscribeTracks => namespace::read_subscribe_tracks(r, dialect),
        Kind::PublishBlocked => namespace::read_publish_blocked(r, dialect),
    }
}

/// Encodes a control message with its type and length, at the end of `out`. If it fails,
/// `out` is as it was.
///
/// A client's [`Setup`](crate::model::Setup) on drafts with two setup messages is told from a
/// server's by [`encode_server_setup`](Dialect::encode_server_setup).
pub fn encode_message(
    dialect: &Dialect,
    message: &Message,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let kind = kind_of(dialect, message)?;
    encode_as(dialect, kind, message, out)
}

impl Dialect {
    /// Like [`encode_message`], for the setup message that a server sends.
    pub fn encode_server_setup(
        &self,
        setup: &crate::model::Setup,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let kind = match self.message_code(MessageKind::ServerSetup) {
            Some(_) => MessageKind::ServerSetup,
            None => MessageKind::Setup,
        };
        encode_as(self, kind, &Message::Setup(setup.clone()), out)
    }
}

fn encode_as(
    dialect: &Dialect,
    kind: MessageKind,
    message: &Message,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let code = dialect
        .message_code(kind)
        .ok_or(EncodeError::NotInDraft { what: kind.name(), draft: dialect.draft })?;
    let start = out.len();
    let mut writer = Writer::new(dialect.ints, out);
    let result = writer
        .int(code, "Message Type")
        .and_then(|()| writer.length16(kind.name(), |w| write_body(w, dialect, kind, message)));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// The message type that carries this message on this draft.
fn kind_of(dialect: &Dialect, message: &Message) -> Result<MessageKind, EncodeError> {
    use MessageKind as Kind;
    Ok(match message {
        Message::Setup(_) if dialect.message_code(Kind::ClientSetup).is_some() => Kind::ClientSetup,
        Message::Setup(_) => Kind::Setup,
        Message::Goaway(_) => Kind::Goaway,
        Message::MaxRequestId(_) => Kind::MaxRequestId,
        Message::RequestsBlocked(_) => Kind::RequestsBlocked,
        Message::RequestOk(ok) => session::ok_kind(dialect, ok.answers)?,
        Message::RequestError(error) => session::error_kind(dialect, error.answers)?,
        Message::Subscribe(_) => Kind::Subscribe,
        Message::SubscribeOk(_) => Kind::SubscribeOk,
        Message::RequestUpdate(_) => Kind::RequestUpdate,
        Message::Unsubscribe(_) => Kind::Unsubscribe,
        Message::Publish(_) => Kind::Publish,
        Message::PublishDone(_) => Kind::PublishDone,
        Message::Fetch(_) => Kind::Fetch,
        Message::FetchOk(_) => Kind::FetchOk,
        Message::FetchCancel(_) => Kind::FetchCancel,
        Message::TrackStatus(_) => Kind::TrackStatus,
        Message::PublishNamespace(_) => Kind::PublishNamespace,
        Message::PublishNamespaceDone(_) => Kind::PublishNamespaceDone,
        Message::PublishNamespaceCancel(_) => Kind::PublishNamespaceCancel,
        Message::SubscribeNamespace(_) => Kind::SubscribeNamespace,
        Message::UnsubscribeNamespace(_) => Kind::UnsubscribeNamespace,
        Message::Namespace(_) => Kind::Namespace,
        Message::NamespaceDone(_) => Kind::NamespaceDone,
        Message::SubscribeTracks(_) => Kind::SubscribeTracks,
        Message::PublishBlocked(_) => Kind::PublishBlocked,
    })
}

fn write_body(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    kind: MessageKind,
    message: &Message,
) -> Result<(), EncodeError> {
    match message {
        Message::Setup(setup) => super::setup::write_setup(w, dialect, kind, setup),
        Message::Goaway(goaway) => session::write_goaway(w, dialect, goaway),
        Message::MaxRequestId(max) => w.int(max.max_request_id, "Max Request ID"),
        Message::RequestsBlocked(max) => w.int(max.max_request_id, "Maximum Request ID"),
        Message::RequestOk(ok) => match kind {
            MessageKind::PublishOk => publish::write_publish_ok(w, dialect, ok),
            MessageKind::TrackStatusOk => subscribe::write_track_status_ok(w, dialect, ok),
            _ => session::write_request_ok(w, dialect, kind, ok),
        },
        Message::RequestError(error) => session::write_request_error(w, dialect, error),
        Message::Subscribe(subscribe) => subscribe::write_subscribe(w, dialect, subscribe),
        Message::SubscribeOk(ok) => subscribe::write_subscribe_ok(w, dialect, ok),
        Message::RequestUpdate(update) => subscribe::write_update(w, dialect, update),
        Message::Unsubscribe(unsubscribe) => w.int(unsubscribe.request_id, REQUEST_ID),
        Message::Publish(publish) => publish::write_publish(w, dialect, publish),
        Message::PublishDone(done) => publish::write_publish_done(w, dialect, done),
        Message::Fetch(fetch) => fetch::write_fetch(w, dialect, fetch),
        Message::FetchOk(ok) => fetch::write_fetch_ok(w, dialect, ok),
        Message::FetchCancel(cancel) => w.int(cancel.request_id, REQUEST_ID),
        Message::TrackStatus(status) => subscribe::write_track_status(w, dialect, status),
        Message::PublishNamespace(publish) => {
            namespace::write_publish_namespace(w, dialect, publish)
        }
        Message::PublishNamespaceDone(target) => namespace::write_target(w, dialect, target),
        Message::PublishNamespaceCancel(cancel) => namespace::write_cancel(w, dialect, cancel),
        Message::SubscribeNamespace(subscribe) => {
            namespace::write_subscribe_namespace(w, dialect, subscribe)
        }
        Message::UnsubscribeNamespace(unsubscribe) => {
            namespace::write_prefix(w, dialect, &unsubscribe.prefix)
        }
        Message::Namespace(namespace) => namespace::write_suffix(w, dialect, &namespace.suffix),
        Message::NamespaceDone(namespace) => namespace::write_suffix(w, dialect, &namespace.suffix),
        Message::SubscribeTracks(subscribe) => {
            namespace::write_subscribe_tracks(w, dialect, subscribe)
        }
        Message::PublishBlocked(blocked) => namespace::write_publish_blocked(w, dialect, blocked),
    }
}

const REQUEST_ID: &str = "Request ID";

/// The Request ID of an answer, on drafts that have one there.
fn read_answer_id(
    r: &mut Reader<'_, impl Note>,
    dialect: &Dialect,
) -> Result<Option<u64>, Malformed> {
    if dialect.answers_by_stream { Ok(None) } else { r.int(REQUEST_ID).map(Some) }
}

fn write_answer_id(
    w: &mut Writer<'_>,
    dialect: &Dialect,
    id: Option<u64>,
) -> Result<(), EncodeError> {
    match (dialect.answers_by_stream, id) {
        (true, _) => Ok(()),
        (false, Some(id)) => w.int(id, REQUEST_ID),
        (false, None) => Err(EncodeError::Missing(REQUEST_ID)),
    }
}

/// Text for people; what is not UTF-8 in it is replaced, since it decides nothing.
fn read_reason(r: &mut Reader<'_, impl Note>) -> Result<String, Malformed> {
    let bytes = r.prefixed(MAX_REASON_LEN, "Reason Phrase")?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Cuts what is too long, at a character's boundary.
fn write_reason(w: &mut Writer<'_>, reason: &str) -> Result<(), EncodeError> {
    let mut len = reason.len().min(MAX_REASON_LEN);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    w.prefixed(reason.as_bytes().get(..len).unwrap_or_default(), MAX_REASON_LEN, "Reason Phrase")
}
