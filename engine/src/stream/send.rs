use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{SendClass, StreamClock};
use crate::wire::{SubgroupHeader, SubgroupWriter};

/// How much of a stream is offered to the transport at a time, so that streams of equal
/// urgency take turns.
const TURN_LEN: usize = 64 * 1024;

/// The first block that small writes are gathered in, and the largest.
const BLOCK_LEN: core::ops::RangeInclusive<usize> = 512..=32 * 1024;

/// Fewer bytes than these are copied, whoever asks for it. A list of single bytes would hold some
/// hundred times what is counted, and the buffers besides that they were cut from.
pub(crate) const ALWAYS_GATHERED: usize = 64;

/// The sending side of a stream.
#[derive(Debug)]
pub(crate) struct SendHalf {
    pub(crate) queue: SendQueue,
    pub(crate) class: SendClass,
    /// It is in the schedule, unless that entry is stale.
    pub(crate) scheduled: bool,
    /// The transport took less than it was offered; it will say when to go on.
    pub(crate) parked: bool,
    /// For a subgroup, what has been written so far.
    pub(crate) subgroup: Option<SubgroupSend>,
}

impl SendHalf {
    pub(crate) fn new(class: SendClass) -> Self {
        Self { queue: SendQueue::default(), class, scheduled: false, parked: false, subgroup: None }
    }

    /// It has something to send and does not wait its turn yet.
    #[inline]
    pub(crate) fn is_to_be_scheduled(&self) -> bool {
        !self.scheduled && !self.parked && self.queue.has_something()
    }
}

/// A subgroup on its way out.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub(crate) struct SubgroupSend {
    pub(crate) writer: SubgroupWriter,
    /// To be written before the first object.
    pub(crate) header: Option<SubgroupHeader>,
    pub(crate) group_id: u64,
    /// Not known before the first object if that decides it.
    pub(crate) subgroup_id: Option<u64>,
    /// Payload of the current object that the application has yet to give.
    pub(crate) payload_left: u64,
    /// The current object is one the subscriber does not get.
    pub(crate) skipping: bool,
    /// The last object given by the application, sent or not.
    pub(crate) last_object: Option<u64>,
    /// An object after the subscription's start was left out: the stream cannot finish.
    pub(crate) omitted: bool,
    /// It was left out between others. A later one is not the next, so none may follow
    /// (draft-18, "Closing Subgroup Streams").
    pub(crate) has_hole: bool,
    /// The last object will be the last of its group.
    pub(crate) end_of_group: bool,
    /// How old what is queued is, if that matters.
    pub(crate) clock: Option<Box<StreamClock>>,
}

/// Bytes waiting to be sent, in order. Small ones are gathered into blocks.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    chunks: VecDeque<Bytes>,
    block: BytesMut,
    len: usize,
    /// Nothing follows what is queued.
    pub(crate) fin: bool,
}

impl SendQueue {
    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn has_something(&self) -> bool {
        self.len > 0 || self.fin
    }

    /// The block at the end of the queue, with room for `additional` bytes. Tell
    /// [`grew`](Self::grew) how many were put there.
    #[inline]
    pub(crate) fn block(&mut self, additional: usize) -> &mut BytesMut {
        if self.block.capacity() - self.block.len() < additional {
            self.new_block(additional);
        }
        &mut self.block
    }

    #[inline]
    pub(crate) fn grew(&mut self, bytes: usize) {
        self.len += bytes;
    }

    #[cold]
    fn new_block(&mut self, additional: usize) {
        let size = (self.block.capacity().max(self.block.len()) * 2)
            .clamp(*BLOCK_LEN.start(), *BLOCK_LEN.end());
        self.seal();
        // Gives the old block back if nobody holds a part of it any more.
        self.block.reserve(size.max(additional));
    }

    /// Queues bytes: as they are, or gathered with what is before them if they are fewer than
    /// `gather_below`, or so few that to hold them apart costs more.
    #[inline]
    pub(crate) fn put(&mut self, bytes: Bytes, gather_below: usize) {
        if bytes.len() < gather_below.max(ALWAYS_GATHERED) {
            self.block(bytes.len()).extend_from_slice(&bytes);
            self.len += bytes.len();
        } else {
            self.push(bytes);
        }
    }

    /// Queues bytes as they are.
    fn push(&mut self, bytes: Bytes) {
        self.seal();
        self.len += bytes.len();
        self.chunks.push_back(bytes);
    }

    fn seal(&mut self) {
        if !self.block.is_empty() {
            self.chunks.push_back(self.block.split().freeze());
        }
    }

    /// What to send next, and whether the stream ends with it.
    pub(crate) fn offer(&mut self) -> (&[Bytes], bool) {
        if self.chunks.is_empty() {
            self.seal();
        }
        let (chunks, more) = self.chunks.as_slices();
        if self.len <= TURN_LEN && more.is_empty() && self.block.is_empty() {
            return (chunks, self.fin);
        }
        let mut total = 0;
        let count = chunks
            .iter()
            .take_while(|chunk| {
                let fits = total < TURN_LEN;
                total += chunk.len();
                fits
            })
            .count();
        let all = count == chunks.len() && more.is_empty() && self.block.is_empty();
        (chunks.get(..count).unwrap_or_default(), self.fin && all)
    }

    /// Takes `sent` bytes off the front.
    pub(crate) fn advance(&mut self, sent: usize) {
        let mut left = sent.min(self.len);
        self.len -= left;
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > left {
                let _ = chunk.split_to(left);
                return;
            }
            left -= chunk.len();
            self.chunks.pop_front();
            if left == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn large_chunks_leave_as_they_came_and_small_ones_gathered() {
        let mut queue = SendQueue::default();
        queue.block(2).put_slice(b"ab");
        queue.grew(2);
        let large = Bytes::from_static(b"large");
        queue.push(large.clone());
        queue.block(1).put_slice(b"c");
        queue.grew(1);
        queue.fin = true;

        let (chunks, fin) = queue.offer();
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
        assert!(!fin);
        queue.advance(4);
        assert_eq!(queue.offer().0, [Bytes::from_static(b"rge")]);
        queue.advance(3);
        let (chunks, fin) = queue.offer();
        assert_eq!((chunks, fin), (&[Bytes::from_static(b"c")][..], true));
        queue.advance(1);
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.offer(), (&[][..], true));
    }
}
