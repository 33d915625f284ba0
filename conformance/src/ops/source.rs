//! Bytes as decisions.

use bytes::Bytes;

/// Bytes of which each decides something. When they are used up, everything is decided the
/// plainest way.
#[derive(Debug)]
pub(super) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// Mostly not.
    pub(super) fn one_in(&mut self, n: u8) -> bool {
        self.byte() > 255 - 255 / n
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn small(&mut self, bound: u8) -> u64 {
        u64::from(self.byte() % bound)
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }

    /// Mostly small, sometimes at an edge of what the drafts can write, or beyond.
    pub(super) fn number(&mut self) -> u64 {
        const EDGES: [u64; 16] = [
            63,
            64,
            127,
            128,
            16_383,
            16_384,
            65_535,
            u32::MAX as u64,
            (1 << 30) - 1,
            1 << 30,
            (1 << 62) - 2,
            (1 << 62) - 1,
            1 << 62,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ];
        match self.byte() {
            byte @ 0..=239 => u64::from(byte % 8),
            byte => EDGES[usize::from(byte % 16)],
        }
    }

    pub(super) fn some<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    /// Mostly some bytes, sometimes none or many.
    pub(super) fn len(&mut self) -> usize {
        match self.byte() {
            byte @ 0..=199 => usize::from(byte % 24),
            byte @ 200..=239 => usize::from(byte) * 2,
            byte => usize::from(byte - 230) * 700,
        }
    }

    pub(super) fn raw(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// Payload that can be told from any other.
pub(super) fn payload(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}
