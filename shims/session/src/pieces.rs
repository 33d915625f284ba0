use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Payload of one object that was read and not given out.
#[derive(Debug, Default)]
pub(crate) struct Pieces(VecDeque<Bytes>);

impl Pieces {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.0.push_back(piece);
    }

    /// At most `max` bytes of the first piece.
    pub(crate) fn take(&mut self, max: usize) -> Option<Bytes> {
        let piece = self.0.front_mut()?;
        if piece.len() > max {
            return Some(piece.split_to(max));
        }
        self.0.pop_front()
    }

    /// All of it as one: without a copy if it came as one.
    pub(crate) fn join(&mut self) -> Bytes {
        if self.0.len() <= 1 {
            return self.0.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.0.iter().map(Bytes::len).sum());
        for piece in self.0.drain(..) {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
