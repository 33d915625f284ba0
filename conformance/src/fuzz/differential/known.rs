//! The disagreements that are listed, each with its reason, in [`moqtap`](crate::moqtap).

use moqt_engine::model::{Draft, Message, MessageKind, SubscriptionFilter, property_type};
use moqt_engine::wire::{Datagram, DecodeError, Fault};
use moqtap_codec::error::CodecError;
use moqtap_codec::kvp::KvpValue;

use super::objects::Part;
use crate::moqtap::{Given, TheirMessage, allowed, properties};

/// The largest integer that it has in some places.
const MAX_ID: u64 = (1 << 62) - 1;

/// Whether it may refuse a message that we accept.
pub(super) fn refused_message(
    draft: Draft,
    kind: MessageKind,
    message: &Message,
    error: &CodecError,
) -> bool {
    let is_ignored = |key| draft < Draft::D18 && !allowed(draft, kind).contains(&key);
    match (error, message) {
        (
            CodecError::ParameterValueOutOfRange { key, .. }
            | CodecError::KeyValueFormatting { key, .. }
            | CodecError::DuplicateParameter(key),
            _,
        ) => is_ignored(*key),
        (CodecError::SubscriptionFilterMalformed { .. } | CodecError::InvalidFilterType(_), _) => {
            is_ignored(0x21)
        }
        (CodecError::InvalidRange(..), Message::Fetch(_)) => true,
        (CodecError::InvalidField, Message::Setup(setup)) => {
            kind == MessageKind::ClientSetup && setup.versions.is_empty()
        }
        (CodecError::InvalidRange(..), Message::Subscribe(_) | Message::RequestUpdate(_)) => {
            draft == Draft::D14
        }
        (CodecError::KeyDeltaOverflow(previous, delta), _) => {
            draft == Draft::D16 && previous.checked_add(*delta).is_some()
        }
        _ => false,
    }
}

/// Whether it may accept a message that we refuse.
pub(super) fn accepted_message<T: TheirMessage>(
    draft: Draft,
    error: &DecodeError,
    theirs: &T,
) -> bool {
    match (error.fault, error.field) {
        (Fault::OutOfRange(256..), "Track Properties") => draft >= Draft::D16,
        (Fault::OutOfRange(_), "Track Properties") => {
            let blocks =
                theirs.track_properties().iter().filter_map(|property| match &property.value {
                    KvpValue::Bytes(value)
                        if property.key.into_inner() == property_type::IMMUTABLE =>
                    {
                        Some(value)
                    }
                    _ => None,
                });
            // Of several it looks into the first.
            let is_broken = |value: &Vec<u8>| properties(draft, value).1.is_err();
            blocks.clone().count() > 1 || blocks.clone().any(is_broken)
        }
        (Fault::OutOfRange(2..=255), "End Of Track") => true,
        // It does not know MOQT_IMPLEMENTATION by the number of later drafts.
        (Fault::OutOfRange(_), "End Group") | (Fault::Duplicate, "Setup Option") => {
            draft == Draft::D14
        }
        // It leaves the value of LARGEST_OBJECT undecoded.
        (Fault::Formatting, "Message Parameter")
        | (Fault::OutOfRange(3..), "Subscribe Options") => draft == Draft::D16,
        _ => false,
    }
}

/// Whether this is a message that we read, so as to answer it, and do not write: one with a range
/// that ends before it starts.
pub(super) fn unwritable(message: &Message) -> bool {
    let parameters = match message {
        Message::Subscribe(m) => &m.parameters,
        Message::RequestUpdate(m) => &m.parameters,
        Message::RequestOk(m) => &m.parameters,
        Message::TrackStatus(m) => &m.parameters,
        _ => return false,
    };
    parameters.subscription_filter.is_some_and(|filter| match filter {
        SubscriptionFilter::AbsoluteRange { start, end_group } => end_group < start.group,
        _ => false,
    })
}

/// Whether it may refuse a stream that we accept, which begins with these bytes.
pub(super) fn refused_stream(draft: Draft, bytes: &[u8], error: &CodecError) -> bool {
    has_long_type(draft, bytes) && *error == CodecError::InvalidField
}

/// Whether it may refuse an item that we accept.
pub(super) fn refused_item(draft: Draft, item: &impl Part, error: &CodecError) -> bool {
    draft >= Draft::D18 && item.largest_id() > MAX_ID && *error == CodecError::InvalidField
}

/// The first item that it may read differently: one after a range, with the subgroup of the item
/// before, which it takes to be 0.
pub(super) fn parted<T: Part>(draft: Draft, ours: &[T], theirs: &[T]) -> Option<usize> {
    let index = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs)?;
    let before = ours.get(index.checked_sub(1)?)?;
    let (ours, theirs) = (ours.get(index)?, theirs.get(index)?);
    let is_known =
        draft == Draft::D16 && before.is_range() && ours.in_subgroup_of(theirs) == *theirs;
    is_known.then_some(index)
}

/// Whether it may accept an item, after these, that we refuse.
pub(super) fn accepted_item<T: Part>(draft: Draft, before: &[T], error: &DecodeError) -> bool {
    match (error.fault, error.field) {
        (Fault::NotAllowed, "Properties of an object without payload") => draft >= Draft::D16,
        (Fault::NoPrior, "Serialization Flags") if draft == Draft::D16 => {
            before.last().is_some_and(Part::is_range)
        }
        (Fault::NoPrior, "Serialization Flags") => {
            let prior = before.iter().rfind(|item| !item.is_range());
            draft >= Draft::D18 && prior.is_some_and(Part::is_datagram)
        }
        _ => false,
    }
}

/// Whether it may refuse a datagram that we accept.
pub(super) fn refused_datagram(
    draft: Draft,
    bytes: &[u8],
    datagram: &Datagram,
    error: &CodecError,
) -> bool {
    // It has no reading of a datagram without an object.
    let is_padding = *datagram == Datagram::Padding && draft >= Draft::D18;
    let has_status = bytes.first().is_some_and(|code| code & 0x20 != 0);
    // It takes the first byte of a status for all of it.
    let has_long_status = draft >= Draft::D18 && has_status;
    (is_padding || has_long_type(draft, bytes) || has_long_status)
        && *error == CodecError::InvalidField
}

/// Whether it may accept a datagram that we refuse.
pub(super) fn accepted_datagram(draft: Draft, error: &DecodeError) -> bool {
    draft < Draft::D18 && error.fault == Fault::Trailing
}

/// Whether the first integer is small and written in more than one byte.
fn has_long_type(draft: Draft, bytes: &[u8]) -> bool {
    let first = draft.dialect().ints.decode(bytes);
    draft >= Draft::D16 && first.is_some_and(|(value, len)| value < 0x80 && len > 1)
}

/// Whether there are Immutable Properties inside Immutable Properties, which make the track
/// malformed: we look for them when the object is taken in, it while it reads.
pub(super) fn nested(properties: &[Given]) -> bool {
    properties.iter().any(|property| match property {
        Given::Immutable(inside) => inside.contains(&Given::Nested),
        _ => false,
    })
}
