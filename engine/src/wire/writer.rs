use alloc::vec::Vec;

use super::{EncodeError, Ints};

/// Puts fields onto the end of a byte string.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    ints: Ints,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(ints: Ints, out: &'a mut Vec<u8>) -> Self {
        Self { out, ints }
    }

    #[inline]
    pub(crate) fn int(&mut self, value: u64, field: &'static str) -> Result<(), EncodeError> {
        let (bytes, len) = self.ints.encode(value).ok_or(EncodeError::OutOfRange(field))?;
        self.out.extend_from_slice(bytes.get(..len).unwrap_or_default());
        Ok(())
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn prefixed(
        &mut self,
        bytes: &[u8],
        max: usize,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if bytes.len() > max {
            return Err(EncodeError::TooLong(field));
        }
        self.int(bytes.len() as u64, field)?;
        self.bytes(bytes);
        Ok(())
    }

    /// Writes what `body` writes, with its length before it.
    pub(crate) fn prefixed_with(
        &mut self,
        field: &'static str,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut inner = Vec::new();
        body(&mut Writer::new(self.ints, &mut inner))?;
        self.prefixed(&inner, usize::from(u16::MAX), field)
    }

    /// Writes what `body` writes, with its length before it in two bytes.
    pub(crate) fn length16(
        &mut self,
        field: &'static str,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let at = self.out.len();
        self.bytes(&[0, 0]);
        body(self)?;
        let len = self.out.len() - at - 2;
        let len = u16::try_from(len).map_err(|_| EncodeError::TooLong(field))?;
        if let Some(place) = self.out.get_mut(at..at + 2) {
            place.copy_from_slice(&len.to_be_bytes());
        }
        Ok(())
    }
}
