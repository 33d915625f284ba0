//! What tools are told of bytes, held against what connections make of them.

use bytes::Bytes;
use moqt_engine::Draft;
use moqt_engine::wire::{
    Annotated, Annotator, ControlReader, Datagram, DecodeError, Fault, StreamType, Subject,
};

use crate::streams::{End, read_fetch, read_subgroup};

/// The blocks of properties, into which connections look only when somebody asks.
const PROPERTIES: &str = "Properties";

/// Everything that can be said about the bytes. Every byte that was read belongs to one field, only
/// the last thing can be wrong, and it is if connections say so, for the same reason.
pub fn annotated(draft: Draft, subject: Subject, bytes: &[u8]) -> Vec<Annotated> {
    let parts: Vec<Annotated> = Annotator::new(draft.dialect(), subject, bytes).collect();
    let mut at = 0;
    for (n, part) in parts.iter().enumerate() {
        assert_eq!(part.range.start, at, "{part:?}");
        for field in &part.fields {
            assert_eq!(field.range.start, at, "{field:?} of {part:?}");
            at = field.range.end;
        }
        match part.error {
            None => assert_eq!(at, part.range.end, "{part:?}"),
            Some(error) => {
                assert_eq!(n + 1, parts.len(), "there is something after {part:?}");
                assert!(error.offset <= bytes.len(), "{part:?}");
            }
        }
    }
    let found = error(&parts);
    assert!(found.is_some() || at == bytes.len(), "bytes without a field: {parts:?}");
    let read = read(draft, subject, bytes);
    let of_properties = |error: Option<DecodeError>| error.is_some_and(|it| it.field == PROPERTIES);
    if !of_properties(found) && !of_properties(read.and_then(Result::err)) {
        match read {
            Some(Ok(())) => assert_eq!(found, None, "{draft} {bytes:02x?}"),
            Some(Err(error)) => {
                assert_eq!(verdict(found), verdict(Some(error)), "{draft} {bytes:02x?}");
            }
            // What is there of a body may be wrong already.
            None => assert!(found.is_some() || bytes.is_empty(), "{draft} {bytes:02x?}"),
        }
    }
    parts
}

/// What is wrong with the bytes, if anything is.
pub fn error(parts: &[Annotated]) -> Option<DecodeError> {
    parts.last().and_then(|part| part.error)
}

/// What two ways of reading have to agree on.
fn verdict(error: Option<DecodeError>) -> Option<(Fault, &'static str)> {
    error.map(|error| (error.fault, error.field))
}

/// What connections make of the bytes. `None` if that needs more of them.
fn read(draft: Draft, subject: Subject, bytes: &[u8]) -> Option<Result<(), DecodeError>> {
    let dialect = draft.dialect();
    let ended = |end| match end {
        End::Boundary => Some(Ok(())),
        End::Within => None,
        End::Refused(error) => Some(Err(error)),
    };
    match subject {
        Subject::Control => {
            let mut reader = ControlReader::new(dialect);
            reader.push(Bytes::copy_from_slice(bytes));
            loop {
                match reader.next_message() {
                    Ok(Some(_)) => {}
                    Ok(None) => return (!reader.is_mid_message()).then_some(Ok(())),
                    Err(error) => return Some(Err(error)),
                }
            }
        }
        Subject::Datagram if bytes.is_empty() => None,
        Subject::Datagram => {
            let bytes = Bytes::copy_from_slice(bytes);
            Some(Datagram::decode(dialect, &bytes, 1 << 20).map(drop))
        }
        Subject::Data(order) => match StreamType::decode(dialect, bytes) {
            Err(error) => Some(Err(error)),
            Ok(None) => None,
            Ok(Some((StreamType::Subgroup, _))) => ended(read_subgroup(draft, bytes).end),
            Ok(Some((StreamType::Fetch, _))) => ended(read_fetch(draft, order, bytes).end),
            Ok(Some((StreamType::Control, _))) => read(draft, Subject::Control, bytes),
            // Nothing in it can be wrong.
            Ok(Some(_)) => Some(Ok(())),
        },
    }
}
