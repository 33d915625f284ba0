//! Our codec against an independent one, from raw bytes.

mod control;
mod known;
mod objects;

use moqt_engine::model::{Draft, GroupOrder};
use moqt_engine::wire;
use moqtap_codec::varint::{Moqt18, VarInt};

use crate::DRAFTS;
use crate::annotated::annotated;
use crate::moqtap::{d14, d16, d18, properties};

/// Bytes of any kind, read by our codec and by an independent one ([`moqtap`](crate::moqtap)).
///
/// What both accept must mean the same, and must come back from what either writes of it. Where
/// one accepts what the other refuses, the case must be one of those listed in
/// [`moqtap`](crate::moqtap); any other is a find. What tools are told of the bytes must be what
/// our codec makes of them ([`annotated`]).
///
/// The first byte says what the rest is: see [`input`].
pub fn differential(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let first = usize::from(*first);
    let draft = DRAFTS[first % DRAFTS.len()];
    let subject = SUBJECTS[first / DRAFTS.len() % SUBJECTS.len()];
    if let Some(subject) = of_tools(subject) {
        annotated(draft, subject, bytes);
    }
    match subject {
        Subject::Control => match draft {
            Draft::D14 => control::compare::<d14::ControlMessage>(bytes),
            Draft::D16 => control::compare::<d16::ControlMessage>(bytes),
            _ => control::compare::<d18::ControlMessage>(bytes),
        },
        Subject::Subgroup => objects::subgroups(draft, bytes),
        Subject::Fetch(order) => objects::fetches(draft, order, bytes),
        Subject::Datagram => objects::datagrams(draft, bytes),
        Subject::Properties => object_properties(draft, bytes),
        Subject::Integer => integers(draft, bytes),
    }
}

/// What tools call it.
fn of_tools(subject: Subject) -> Option<wire::Subject> {
    Some(match subject {
        Subject::Control => wire::Subject::Control,
        Subject::Subgroup => wire::Subject::Data(GroupOrder::Ascending),
        Subject::Fetch(order) => wire::Subject::Data(order),
        Subject::Datagram => wire::Subject::Datagram,
        Subject::Properties | Subject::Integer => return None,
    })
}

/// What the bytes after the first are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Control messages.
    Control,
    /// A subgroup stream.
    Subgroup,
    /// A fetch stream, whose groups come in this order.
    Fetch(GroupOrder),
    /// A datagram.
    Datagram,
    /// An object's properties, without their length.
    Properties,
    /// A variable-length integer.
    Integer,
}

const SUBJECTS: [Subject; 7] = [
    Subject::Control,
    Subject::Subgroup,
    Subject::Fetch(GroupOrder::Ascending),
    Subject::Fetch(GroupOrder::Descending),
    Subject::Datagram,
    Subject::Properties,
    Subject::Integer,
];

/// The target's input for these bytes.
pub fn input(draft: Draft, subject: Subject, bytes: &[u8]) -> Vec<u8> {
    let place = |found: Option<usize>| found.and_then(|place| u8::try_from(place).ok());
    let draft = place(DRAFTS.iter().position(|one| *one == draft)).unwrap_or_default();
    let subject = place(SUBJECTS.iter().position(|one| *one == subject)).unwrap_or_default();
    let first = draft + 3 * subject;
    [&[first], bytes].concat()
}

fn object_properties(draft: Draft, bytes: &[u8]) {
    match properties(draft, bytes) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
        (Ok(ours), Err(error)) => assert!(known::nested(&ours), "{error}: {ours:?}"),
        (Err(error), Ok(theirs)) => panic!("{error}: {theirs:?}"),
        (Err(_), Err(_)) => {}
    }
}

fn integers(draft: Draft, bytes: &[u8]) {
    let ints = draft.dialect().ints;
    let mut rest = bytes;
    let theirs = match draft {
        Draft::D14 | Draft::D16 => VarInt::decode(&mut rest),
        _ => VarInt::decode_moqt::<Moqt18>(&mut rest),
    };
    let ours = ints.decode(bytes);
    let read = theirs.as_ref().ok().map(|int| (int.into_inner(), bytes.len() - rest.len()));
    assert_eq!(ours, read, "{theirs:?}");
    let Ok(int) = theirs else { return };
    let mut written = Vec::new();
    match draft {
        Draft::D14 | Draft::D16 => int.encode(&mut written),
        _ => int.encode_moqt::<Moqt18>(&mut written),
    }
    let ours = ints.encode(int.into_inner()).map(|(bytes, len)| bytes[..len].to_vec());
    assert_eq!(ours, Some(written));
}
