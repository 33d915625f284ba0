//! Key-value pairs: setup options, properties, and the message parameters of drafts 14 and 16.

use alloc::format;
use core::fmt;

use super::{Dialect, EncodeError, Fault, Ints, Malformed, Note, Reader, Writer};
use crate::model::property_type;

/// The longest value of a key-value pair, in bytes (draft-18, "Key-Value-Pair Structure").
pub(crate) const MAX_VALUE_LEN: usize = 65_535;

/// How key-value pairs are written: which integers, and whether types are differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PairForm {
    pub(crate) ints: Ints,
    pub(crate) deltas: bool,
}

impl From<&Dialect> for PairForm {
    fn from(dialect: &Dialect) -> Self {
        Self { ints: dialect.ints, deltas: dialect.key_deltas }
    }
}

/// A value as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairValue<'a> {
    Int(u64),
    Bytes(&'a [u8]),
}

/// Keeps the previous type, from one pair to the next.
pub(crate) struct PairReader {
    deltas: bool,
    previous: u64,
}

impl PairReader {
    pub(crate) fn new(deltas: bool) -> Self {
        Self { deltas, previous: 0 }
    }

    pub(crate) fn key(
        &mut self,
        reader: &mut Reader<'_, impl Note>,
        field: &'static str,
    ) -> Result<u64, Malformed> {
        let key = reader.int(field)?;
        if !self.deltas {
            return Ok(key);
        }
        self.previous =
            self.previous.checked_add(key).ok_or_else(|| reader.fault(Fault::Overflow, field))?;
        Ok(self.previous)
    }

    /// A type, and what it is called.
    pub(crate) fn named_key<T: fmt::Display>(
        &mut self,
        reader: &mut Reader<'_, impl Note>,
        field: &'static str,
        name: impl FnOnce(u64) -> Option<T>,
    ) -> Result<u64, Malformed> {
        let key = self.key(reader, field)?;
        reader.means(|| match name(key) {
            Some(name) => format!("{name} (0x{key:x})").into(),
            None => format!("0x{key:x}, unknown").into(),
        });
        Ok(key)
    }

    /// A property: its type and value.
    pub(crate) fn property<'a>(
        &mut self,
        reader: &mut Reader<'a, impl Note>,
        field: &'static str,
    ) -> Result<(u64, PairValue<'a>), Malformed> {
        let key = self.named_key(reader, field, property_type::name)?;
        Ok((key, Self::value(reader, key, field)?))
    }

    /// The value that follows a type.
    pub(crate) fn value<'a>(
        reader: &mut Reader<'a, impl Note>,
        key: u64,
        field: &'static str,
    ) -> Result<PairValue<'a>, Malformed> {
        Ok(if key.is_multiple_of(2) {
            PairValue::Int(reader.int(field)?)
        } else {
            PairValue::Bytes(reader.prefixed(MAX_VALUE_LEN, field)?)
        })
    }
}

/// Keeps the previous type, from one pair to the next.
pub(crate) struct PairWriter {
    deltas: bool,
    previous: u64,
}

impl PairWriter {
    pub(crate) fn new(deltas: bool) -> Self {
        Self { deltas, previous: 0 }
    }

    /// With differences, keys must not go down.
    pub(crate) fn key(
        &mut self,
        writer: &mut Writer<'_>,
        key: u64,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if !self.deltas {
            return writer.int(key, field);
        }
        let delta = key.checked_sub(self.previous).ok_or(EncodeError::OutOfRange(field))?;
        self.previous = key;
        writer.int(delta, field)
    }

    pub(crate) fn int(
        &mut self,
        writer: &mut Writer<'_>,
        key: u64,
        value: u64,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if !key.is_multiple_of(2) {
            return Err(EncodeError::PropertyForm(key));
        }
        self.key(writer, key, field)?;
        writer.int(value, field)
    }

    pub(crate) fn bytes(
        &mut self,
        writer: &mut Writer<'_>,
        key: u64,
        value: &[u8],
        field: &'static str,
    ) -> Result<(), EncodeError> {
        if key.is_multiple_of(2) {
            return Err(EncodeError::PropertyForm(key));
        }
        self.key(writer, key, field)?;
        writer.prefixed(value, MAX_VALUE_LEN, field)
    }
}
