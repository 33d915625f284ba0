//! An independent codec, moqtap-codec, in our terms: our messages in its types, and its reading
//! and writing of streams and datagrams.
//!
//! Where the two disagree the text of the drafts decides. These are the cases; the fuzz
//! target [`differential`](crate::fuzz::differential()) takes any other for a find, and tests in
//! `tests/moqtap` show most of them:
//!
//! | Draft | Case | moqtap-codec 0.9 | Here | The text |
//! |---|---|---|---|---|
//! | 16 | property type above 2^62 - 1, by differences | refused | read | only "greater than 2^64 - 1" closes |
//! | 18 | Object ID above 2^62 - 1 | refused | read | only "greater than 2^64 - 1" closes |
//! | 18 | a datagram's status in more than one byte | refused | read | "Object Status (vi64)", of any length |
//! | 14 | a CLIENT_SETUP without versions | refused | read | the session ends with VERSION_NEGOTIATION_FAILED |
//! | 14 | a filter's end before its start | refused | read | INVALID_RANGE answers the request |
//! | all | a FETCH's end before its start | refused | read | the same |
//! | 16 | first fetch object without a priority | read, priority unknown | refused | "uses a flag that references fields in the prior Object" |
//! | 16 | prior subgroup after a range only | 0 | refused | a range has none |
//! | 16 | prior subgroup after a range | 0 | the last object's | a range is no object; draft 18 says so |
//! | 16, 18 | after an End of Range's IDs | an Object Payload Length | nothing | names the fields present, and not this one; implementations agree (moq-transport issue 1861) |
//! | 18 | prior subgroup after a datagram | that of the object before | refused | a datagram has none; says no more |
//! | 16, 18 | DEFAULT_PUBLISHER_PRIORITY above 255 | read | refused | "invalid", without a consequence |
//! | 14, 16 | a parameter that is not for its message | kept, and refused if it is wrong | ignored | "MUST be ignored" |
//! | 16, 18 | properties beside a status | read, and reported | refused | "MUST close the session" |
//! | 16, 18 | a stream's or datagram's type in more bytes than it needs | refused | read | "a variable-length integer"; nothing asks for the shortest |
//! | 14 | a SUBSCRIBE_UPDATE whose End Group field is its start's group | read | refused | the field is the group "plus 1", which is to be the start's or a later one |
//! | 16, 18 | a track's Immutable Properties that cannot be read to their end | passed over | what comes before counts | "MUST search both"; says no more |
//! | 16, 18 | the second of a track's Immutable Properties | passed over | read | "MUST search both" |
//! | 16 | Subscribe Options above 2 | read | refused | names three values; says no more |
//! | all | End Of Track neither 0 nor 1 | read | refused | "1 if all Objects have been published", "0 if not" |
//! | 16 | a LARGEST_OBJECT that is no Location | read | refused | "the receiver MUST close the session" |
//! | 14 | MOQT_IMPLEMENTATION twice, by the number 7 of later drafts | read | refused | gives it the number 5, which is AUTHORITY's, too |
//! | 14, 16 | bytes after a datagram's status | left unread | refused | status and payload are "mutually exclusive" |

pub mod d14;
pub mod d16;
pub mod d18;
mod fetches;
mod message;
mod normal;
mod objects;
mod properties;
mod translate;

use moqtap_codec::error::CodecError;
use moqtap_codec::kvp::KvpError;
use moqtap_codec::varint::VarIntError;

use crate::streams::End;

pub use fetches::{read_fetch, write_fetch};
pub use message::TheirMessage;
pub use normal::allowed;
pub use objects::{read_datagram, read_subgroup, write_datagram, write_subgroup};
pub use properties::{Given, properties};

/// Reads items until the bytes are used up or an item is not to be had.
fn read_items<T>(
    mut bytes: &[u8],
    mut read: impl FnMut(&mut &[u8]) -> Result<T, CodecError>,
) -> (Vec<T>, End<CodecError>) {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        match read(&mut bytes) {
            Ok(item) => items.push(item),
            Err(error) => return (items, stopped(error)),
        }
    }
    (items, End::Boundary)
}

/// What it says of bytes that it does not read.
fn stopped(error: CodecError) -> End<CodecError> {
    if wants_more(&error) { End::Within } else { End::Refused(error) }
}

/// Whether it only says that the bytes end too early.
pub fn wants_more(error: &CodecError) -> bool {
    matches!(
        error,
        CodecError::UnexpectedEnd
            | CodecError::VarInt(VarIntError::UnexpectedEnd)
            | CodecError::Kvp(
                KvpError::UnexpectedEnd | KvpError::VarInt(VarIntError::UnexpectedEnd)
            )
    )
}
