use super::{DecodeError, Fault, Ints};

/// Takes fields off a byte string, one after the other.
///
/// Each method names the field it reads, so that an error can say where it is and what it was.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    ints: Ints,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(ints: Ints, bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, ints }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn fault(&self, fault: Fault, field: &'static str) -> DecodeError {
        DecodeError::new(fault, field, self.offset)
    }

    #[inline]
    pub(crate) fn int(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match self.ints.decode(self.bytes) {
            Some((value, len)) => {
                self.skip(len);
                Ok(value)
            }
            None => Err(self.fault(Fault::Truncated, field)),
        }
    }

    pub(crate) fn byte(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        match self.bytes.first() {
            Some(&byte) => {
                self.skip(1);
                Ok(byte)
            }
            None => Err(self.fault(Fault::Truncated, field)),
        }
    }

    /// A 0 or a 1.
    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        let value = self.byte(field)?;
        self.check_flag(u64::from(value), field)
    }

    pub(crate) fn check_flag(&self, value: u64, field: &'static str) -> Result<bool, DecodeError> {
        match value {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault(Fault::OutOfRange(value), field)),
        }
    }

    pub(crate) fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        match self.bytes.get(..len) {
            Some(bytes) => {
                self.skip(len);
                Ok(bytes)
            }
            None => Err(self.fault(Fault::Truncated, field)),
        }
    }

    /// A length, checked against its maximum before it is believed, and that many bytes.
    pub(crate) fn prefixed(
        &mut self,
        max: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let len = self.int(field)?;
        match usize::try_from(len) {
            Ok(len) if len <= max => self.take(len, field),
            _ => Err(self.fault(Fault::TooLong { max }, field)),
        }
    }

    /// A reader of the next `len` bytes, which keeps counting offsets where this one is.
    pub(crate) fn sub(
        &mut self,
        max: usize,
        field: &'static str,
    ) -> Result<Reader<'a>, DecodeError> {
        let bytes = self.prefixed(max, field)?;
        Ok(Reader { bytes, offset: self.offset - bytes.len(), ints: self.ints })
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes;
        self.skip(rest.len());
        rest
    }

    /// All fields have been read; nothing may be left.
    pub(crate) fn finish(&self, field: &'static str) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.fault(Fault::Trailing, field)) }
    }

    #[inline]
    fn skip(&mut self, len: usize) {
        self.bytes = self.bytes.get(len..).unwrap_or_default();
        self.offset = self.offset.saturating_add(len);
    }
}
