use alloc::borrow::Cow;
use core::ops::Range;

use super::{DecodeError, Fault, Ints, Note};

/// Takes fields off a byte string, one after the other.
///
/// Each method names the field it reads, so that an error can say where it is and what it was.
/// The error stays here, and what fails returns only that it did: results stay small on their
/// way through every layer of a message's layout. [`error`](Self::error) hands it out.
pub(crate) struct Reader<'a, N = ()> {
    bytes: &'a [u8],
    /// The offset at which `bytes` ends.
    end: usize,
    ints: Ints,
    /// What is wrong, once something is.
    error: DecodeError,
    /// Who is told of each field.
    notes: N,
}

/// The bytes are not what they must be; the [`Reader`] knows why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Malformed;

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(ints: Ints, bytes: &'a [u8]) -> Self {
        Self::with_notes(ints, bytes, ())
    }
}

impl<'a, N: Note> Reader<'a, N> {
    #[inline]
    pub(crate) fn with_notes(ints: Ints, bytes: &'a [u8], notes: N) -> Self {
        let error = DecodeError::new(Fault::Truncated, "", 0);
        Self { bytes, end: bytes.len(), ints, error, notes }
    }

    /// What the field read last stands for.
    #[inline]
    pub(crate) fn means(&mut self, meaning: impl FnOnce() -> Cow<'static, str>) {
        self.notes.means(meaning);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn offset(&self) -> usize {
        self.end.saturating_sub(self.bytes.len())
    }

    /// Something is wrong with what was just read.
    #[cold]
    pub(crate) fn fault(&mut self, fault: Fault, field: &'static str) -> Malformed {
        self.fault_at(fault, field, self.offset())
    }

    #[cold]
    pub(crate) fn fault_at(
        &mut self,
        fault: Fault,
        field: &'static str,
        offset: usize,
    ) -> Malformed {
        self.error = DecodeError::new(fault, field, offset);
        Malformed
    }

    /// Something was wrong, but this is the better word for it.
    #[cold]
    pub(crate) fn rename_fault(&mut self, _: Malformed, fault: Fault) -> Malformed {
        self.error.fault = fault;
        Malformed
    }

    /// What was wrong, once something was.
    #[cold]
    pub(crate) fn error(&self) -> DecodeError {
        self.error
    }

    #[inline]
    pub(crate) fn int(&mut self, field: &'static str) -> Result<u64, Malformed> {
        // Most are small, and one byte long on every draft.
        if let Some((&first @ ..0x40, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            self.notes.field(field, self.last(1), Some(u64::from(first)));
            return Ok(u64::from(first));
        }
        self.long_int(field)
    }

    #[cold]
    #[inline(never)]
    fn long_int(&mut self, field: &'static str) -> Result<u64, Malformed> {
        match self.ints.decode(self.bytes) {
            Some((value, len)) => {
                self.skip(len);
                self.notes.field(field, self.last(len), Some(value));
                Ok(value)
            }
            None => Err(self.fault(Fault::Truncated, field)),
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, Malformed> {
        match self.bytes.split_first() {
            Some((&byte, rest)) => {
                self.bytes = rest;
                self.notes.field(field, self.last(1), Some(u64::from(byte)));
                Ok(byte)
            }
            None => Err(self.fault(Fault::Truncated, field)),
        }
    }

    /// A 0 or a 1.
    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        let value = self.byte(field)?;
        self.check_flag(u64::from(value), field)
    }

    pub(crate) fn check_flag(
        &mut self,
        value: u64,
        field: &'static str,
    ) -> Result<bool, Malformed> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault(Fault::OutOfRange(value), field)),
        }
    }

    #[inline]
    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        match self.bytes.split_at_checked(len) {
            Some((bytes, rest)) => {
                self.bytes = rest;
                Ok(bytes)
            }
            None => Err(self.fault(Fault::Truncated, field)),
        }
    }

    /// A length, checked against its maximum before it is believed, and that many bytes.
    #[inline]
    pub(crate) fn prefixed(
        &mut self,
        max: usize,
        field: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let len = self.length(max, field)?;
        let bytes = self.take(len, field)?;
        self.notes.field(field, self.last(len), None);
        Ok(bytes)
    }

    #[inline]
    fn length(&mut self, max: usize, field: &'static str) -> Result<usize, Malformed> {
        let len = self.int(field)?;
        self.notes.is_length();
        match usize::try_from(len) {
            Ok(len) if len <= max => Ok(len),
            _ => Err(self.fault(Fault::TooLong { max }, field)),
        }
    }

    /// A length, checked against its maximum, and what `body` reads of that many bytes. It
    /// must [`finish`](Self::finish) them if nothing may be left.
    pub(crate) fn nested<T>(
        &mut self,
        max: usize,
        field: &'static str,
        body: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let len = self.length(max, field)?;
        let inner = self.take(len, field)?;
        let end = self.end;
        let rest = core::mem::replace(&mut self.bytes, inner);
        self.end -= rest.len();
        let value = body(self)?;
        self.bytes = rest;
        self.end = end;
        Ok(value)
    }

    /// Whatever is left.
    pub(crate) fn rest(&mut self, field: &'static str) -> &'a [u8] {
        let rest = core::mem::take(&mut self.bytes);
        if !rest.is_empty() {
            self.notes.field(field, self.last(rest.len()), None);
        }
        rest
    }

    /// All fields have been read; nothing may be left.
    #[inline]
    pub(crate) fn finish(&mut self, field: &'static str) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.fault(Fault::Trailing, field)) }
    }

    /// Where the `len` bytes are that were read last.
    #[inline]
    fn last(&self, len: usize) -> Range<usize> {
        let end = self.offset();
        end.saturating_sub(len)..end
    }

    #[inline]
    fn skip(&mut self, len: usize) {
        self.bytes = self.bytes.get(len..).unwrap_or_default();
    }
}
