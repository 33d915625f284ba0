//! [`Object`]: what is kept of one object, and what that costs.

use alloc::vec::Vec;

use bytes::Bytes;
use moqt_engine::Timestamp;
use moqt_engine::wire::ObjectHeader;
use smallvec::SmallVec;

use super::admit::{ANOTHER_FORWARDING, ANOTHER_PAYLOAD, ANOTHER_PRIORITY, ANOTHER_STATUS};

/// What an object is charged besides its properties and payload: itself and its places in the
/// indexes.
pub(super) const OBJECT_CHARGE: usize = 640;

/// How an object was sent (draft-18, "Object Header": Object Forwarding Preference).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forwarding {
    /// In this subgroup.
    Subgroup(u64),
    /// In a datagram.
    Datagram,
}

/// An object, as far as it has come in.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) header: ObjectHeader,
    /// The payload received so far, in order. Where it is cut may change while the last piece is
    /// a short one: readers count bytes.
    pub(crate) pieces: SmallVec<[Bytes; 1]>,
    /// Bytes in `pieces`.
    pub(crate) received: u64,
    /// When it began.
    pub(crate) arrived: Timestamp,
    pub(crate) forwarding: Forwarding,
    pub(crate) publisher_priority: u8,
    by_fetch: bool,
    /// It has come otherwise.
    pub(super) has_come_live: bool,
    /// Where each piece ends in the payload.
    ends: SmallVec<[u64; 1]>,
    /// The last piece is a copy of this object's own, to which what is short may be added.
    is_gathering: bool,
    /// What all this pins, in bytes.
    charge: usize,
}

impl Object {
    pub(super) fn new(
        header: ObjectHeader,
        arrived: Timestamp,
        forwarding: Forwarding,
        publisher_priority: u8,
        by_fetch: bool,
    ) -> Self {
        let charge = OBJECT_CHARGE.saturating_add(header.properties.as_bytes().len());
        Self {
            header,
            pieces: SmallVec::new(),
            received: 0,
            arrived,
            forwarding,
            publisher_priority,
            by_fetch,
            has_come_live: !by_fetch,
            ends: SmallVec::new(),
            is_gathering: false,
            charge,
        }
    }

    /// Whether all of its payload is here.
    pub(crate) fn is_complete(&self) -> bool {
        self.received >= self.header.payload_len
    }

    /// The payload from this offset to the end of a piece; `None` if nothing of it is here yet.
    pub(crate) fn rest(&self, offset: u64) -> Option<Bytes> {
        let index = self.ends.partition_point(|end| *end <= offset);
        let (piece, end) = (self.pieces.get(index)?, *self.ends.get(index)?);
        let begin = end.saturating_sub(piece.len() as u64);
        let skip = usize::try_from(offset.saturating_sub(begin)).ok()?;
        (skip < piece.len()).then(|| piece.slice(skip..))
    }

    /// How an object at the same location differs in what must not.
    pub(super) fn contradiction(
        &self,
        header: &ObjectHeader,
        forwarding: Forwarding,
        publisher_priority: u8,
        by_fetch: bool,
    ) -> Option<&'static str> {
        // A fetch on draft 14 gives every object a subgroup, also one that was in a datagram.
        let is_unsure = |by_fetch: bool, other| by_fetch && other == Forwarding::Datagram;
        let is_same_way = self.forwarding == forwarding
            || is_unsure(by_fetch, self.forwarding)
            || is_unsure(self.by_fetch, forwarding);
        if self.header.status != header.status {
            Some(ANOTHER_STATUS)
        } else if !is_same_way {
            Some(ANOTHER_FORWARDING)
        } else if self.publisher_priority != publisher_priority {
            Some(ANOTHER_PRIORITY)
        } else if self.header.payload_len != header.payload_len {
            Some(ANOTHER_PAYLOAD)
        } else {
            None
        }
    }

    pub(super) fn charge(&self) -> usize {
        self.charge
    }

    /// Whether these bytes, found at `offset` of the same object, are others than those here. Only
    /// what is at both places is compared.
    pub(super) fn differs(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        while let Some(held) = self.rest(offset).filter(|_| !bytes.is_empty()) {
            let len = held.len().min(bytes.len());
            let (here, there) = (held.get(..len), bytes.get(..len));
            if here != there {
                return true;
            }
            bytes = bytes.get(len..).unwrap_or_default();
            offset = offset.saturating_add(len as u64);
        }
        false
    }

    /// Adds payload. What is short beside the buffer that it is part of is copied, so that it
    /// does not pin that, and put together with what is short before it.
    pub(super) fn append(&mut self, piece: Bytes, receive_buffer: usize) {
        let (len, short) = (piece.len(), receive_buffer / 2);
        if len == 0 {
            return;
        }
        self.received = self.received.saturating_add(len as u64);
        self.charge =
            self.charge.saturating_add(if len < short { len } else { len.max(receive_buffer) });
        if len >= short {
            self.pieces.push(piece);
            self.ends.push(self.received);
            self.is_gathering = false;
            return;
        }
        let gathered = self.pieces.last_mut().zip(self.ends.last_mut());
        if let Some((last, end)) =
            gathered.filter(|(last, _)| self.is_gathering && last.len() < short)
        {
            let mut longer = Vec::with_capacity(last.len().saturating_add(len));
            longer.extend_from_slice(last);
            longer.extend_from_slice(&piece);
            *last = longer.into();
            *end = self.received;
        } else {
            self.pieces.push(Bytes::copy_from_slice(&piece));
            self.ends.push(self.received);
            self.is_gathering = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use moqt_engine::wire::Properties;

    use super::*;

    const BUFFER: usize = 64;

    fn object(payload_len: u64) -> Object {
        let header =
            ObjectHeader { payload_len, properties: Properties::EMPTY, ..Default::default() };
        Object::new(header, Timestamp::ZERO, Forwarding::Datagram, 0, false)
    }

    #[test]
    fn long_pieces_are_shared_and_short_ones_copied() {
        let mut object = object(1000);
        let long = Bytes::from(vec![1; BUFFER / 2]);
        let short = Bytes::from(vec![2; BUFFER / 2 - 1]);
        object.append(long.clone(), BUFFER);
        assert_eq!(object.pieces[0].as_ptr(), long.as_ptr());
        assert_eq!(object.charge(), OBJECT_CHARGE + BUFFER);
        object.append(short.clone(), BUFFER);
        assert_ne!(object.pieces[1].as_ptr(), short.as_ptr());
        assert_eq!(object.charge(), OBJECT_CHARGE + BUFFER + short.len());
        let longer = Bytes::from(vec![3; 3 * BUFFER]);
        object.append(longer.clone(), BUFFER);
        assert_eq!(object.pieces[2].as_ptr(), longer.as_ptr());
        assert_eq!(object.charge(), OBJECT_CHARGE + BUFFER + short.len() + longer.len());
    }

    #[test]
    fn short_pieces_are_gathered() {
        let mut object = object(1000);
        for byte in 0..100 {
            object.append(Bytes::copy_from_slice(&[byte]), BUFFER);
        }
        assert_eq!(object.received, 100);
        assert!(object.pieces.len() <= 100 / (BUFFER / 2) + 1, "{} pieces", object.pieces.len());
        assert!(object.pieces.iter().all(|piece| piece.len() < BUFFER));
        let payload: Vec<u8> = object.pieces.iter().flatten().copied().collect();
        assert_eq!(payload, (0..100).collect::<Vec<u8>>());
        for offset in 0..100_u64 {
            let rest = object.rest(offset).unwrap();
            assert_eq!(u64::from(rest[0]), offset);
        }
        assert_eq!(object.rest(100), None);
        assert_eq!(object.rest(u64::MAX), None);
    }

    #[test]
    fn only_what_both_have_is_compared() {
        let mut object = object(6);
        object.append(Bytes::from_static(b"abcd"), 0);
        assert!(!object.differs(0, b"abcd"));
        assert!(!object.differs(2, b"cdef"));
        assert!(!object.differs(4, b"zz"));
        assert!(object.differs(2, b"cx"));
        assert!(object.differs(3, b"xz"));
    }
}
