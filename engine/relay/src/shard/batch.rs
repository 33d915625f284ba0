//! [`Batch`]: what is read from a stream at once, and what of it belongs together.

use bytes::{Bytes, BytesMut};
use moqt_engine::Read;
use smallvec::SmallVec;

/// How many things are read from a stream before they are dealt with.
pub(super) const BATCH: usize = 32;

/// Things that were read from a stream.
pub(super) type Batch = SmallVec<[Read; BATCH]>;
/// Those that have not been dealt with.
pub(super) type Reads = smallvec::IntoIter<[Read; BATCH]>;

/// All of an object's payload, if it has been read: it is what comes next.
pub(super) fn whole(len: u64, reads: &mut Reads) -> Option<Bytes> {
    let mut left = len;
    for read in reads.as_slice() {
        let Read::Payload(payload) = read else { break };
        left = left.checked_sub(payload.len() as u64)?;
        if left == 0 {
            return match reads.next() {
                Some(Read::Payload(first)) => Some(gathered(first, reads)),
                _ => None,
            };
        }
    }
    None
}

/// A piece of payload and those that were read after it, put together. Packets make the pieces
/// small: to hand each of them on to each subscriber would cost more than one copy does.
pub(super) fn gathered(first: Bytes, reads: &mut Reads) -> Bytes {
    let pieces = || reads.as_slice().iter().map_while(payload);
    let len = pieces().map(Bytes::len).fold(first.len(), usize::saturating_add);
    if len == first.len() {
        return first;
    }
    let mut all = BytesMut::with_capacity(len);
    all.extend_from_slice(&first);
    pieces().for_each(|piece| all.extend_from_slice(piece));
    let number = pieces().count();
    reads.by_ref().take(number).for_each(drop);
    all.freeze()
}

fn payload(read: &Read) -> Option<&Bytes> {
    match read {
        Read::Payload(payload) => Some(payload),
        _ => None,
    }
}
