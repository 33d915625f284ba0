//! Control messages.

use bytes::Bytes;
use moqt_engine::model::{Message, MessageKind};
use moqt_engine::wire::{ControlReader, Dialect, decode_message, encode_message};

use super::known;
use crate::moqtap::{TheirMessage, wants_more};

/// Compares message after message.
pub(super) fn compare<T: TheirMessage>(bytes: &[u8]) {
    let dialect = T::DRAFT.dialect();
    let mut reader = ControlReader::new(dialect);
    reader.push(Bytes::copy_from_slice(bytes));
    let mut rest = bytes;
    loop {
        let theirs = T::read(&mut rest);
        let ours = match reader.next_raw() {
            Ok(Some(raw)) => {
                decode_message(dialect, raw.kind, &raw.body).map(|message| (raw.kind, message))
            }
            Ok(None) => {
                let error = theirs.expect_err("a message that has not come");
                assert!(wants_more(&error), "{error}");
                return;
            }
            Err(error) => Err(error),
        };
        match (ours, theirs) {
            (Ok((kind, message)), Ok(theirs)) => agree(dialect, kind, &message, &theirs),
            (Err(_), Err(_)) => return,
            (Ok((kind, message)), Err(error)) => {
                let is_known = known::refused_message(T::DRAFT, kind, &message, &error);
                assert!(is_known, "refused as {error}: {message:?}");
                return;
            }
            (Err(error), Ok(theirs)) => {
                let is_known = known::accepted_message(T::DRAFT, &error, &theirs);
                assert!(is_known, "we refuse as {error}: {theirs:?}");
                return;
            }
        }
    }
}

/// Both have read the same, write the same bytes, and read those as they should.
fn agree<T: TheirMessage>(
    dialect: &'static Dialect,
    kind: MessageKind,
    message: &Message,
    theirs: &T,
) {
    let translated = T::translated(kind, message);
    assert_eq!(theirs.clone().normal(), translated, "{message:?}");
    let mut bytes = Vec::new();
    let written = match message {
        Message::Setup(setup) if kind == MessageKind::ServerSetup => {
            dialect.encode_server_setup(setup, &mut bytes)
        }
        message => encode_message(dialect, message, &mut bytes),
    };
    if written.is_err() && known::unwritable(message) {
        return;
    }
    assert_eq!(written, Ok(()), "{message:?}");
    assert_eq!(translated.written().as_ref(), Ok(&bytes), "{message:?}");
    let mut reader = ControlReader::new(dialect);
    reader.push(bytes.clone().into());
    assert_eq!(reader.next_message().as_ref(), Ok(&Some(message.clone())));
    assert!(!reader.is_mid_message());
    let read = T::read(&mut &bytes[..]);
    assert_eq!(read.as_ref(), Ok(&translated));
}
