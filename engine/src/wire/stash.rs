use alloc::vec::Vec;

/// The beginning of something that has not come in whole.
///
/// A reader that runs out of bytes in the middle of a field keeps what it has here, and asks
/// for no more than it knows it needs, so that what follows can be handed out uncopied.
#[derive(Debug, Default)]
pub(super) struct Stash(Vec<u8>);

impl Stash {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes from the front of `input` until `len` bytes are here; whether they are.
    pub(super) fn fill(&mut self, input: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.0.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
        self.0.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }

    /// Forgets what is here, but keeps a small buffer for the next time.
    pub(super) fn clear(&mut self) {
        if self.0.capacity() > 256 {
            self.0 = Vec::new();
        } else {
            self.0.clear();
        }
    }
}
