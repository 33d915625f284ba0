use alloc::borrow::Cow;
use core::ops::Range;

/// Whoever wants to know of each field where it was found.
///
/// Readers are generic over it, so that `()`, who does not want to know, costs nothing.
pub(crate) trait Note {
    /// A field was read: bytes, or a number.
    fn field(&mut self, name: &'static str, range: Range<usize>, value: Option<u64>);

    /// The field read last says how long the next one is.
    fn is_length(&mut self);

    /// What the value of the field read last stands for.
    fn means(&mut self, meaning: impl FnOnce() -> Cow<'static, str>);

    /// The bytes end in the middle of this field.
    fn is_cut_off(&mut self, name: &'static str);
}

impl Note for () {
    #[inline]
    fn field(&mut self, _: &'static str, _: Range<usize>, _: Option<u64>) {}

    #[inline]
    fn is_length(&mut self) {}

    #[inline]
    fn means(&mut self, _: impl FnOnce() -> Cow<'static, str>) {}

    #[inline]
    fn is_cut_off(&mut self, _: &'static str) {}
}

impl<N: Note> Note for &mut N {
    fn field(&mut self, name: &'static str, range: Range<usize>, value: Option<u64>) {
        N::field(self, name, range, value);
    }

    fn is_length(&mut self) {
        N::is_length(self);
    }

    fn means(&mut self, meaning: impl FnOnce() -> Cow<'static, str>) {
        N::means(self, meaning);
    }

    fn is_cut_off(&mut self, name: &'static str) {
        N::is_cut_off(self, name);
    }
}
