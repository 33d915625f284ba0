use core::fmt;

use crate::model::{Draft, NameError, SessionError};

/// Bytes that are not what the draft says they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub fault: Fault,
    /// The field it is wrong in, by the draft's name.
    pub field: &'static str,
    /// Where, in bytes from the start of the message body, header or datagram.
    pub offset: usize,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end before the field does.
    Truncated,
    /// Bytes follow the last field.
    Trailing,
    /// The field is longer than allowed.
    TooLong {
        /// The most bytes allowed.
        max: usize,
    },
    /// The value is not one that the draft defines.
    OutOfRange(u64),
    /// A type that the draft does not define, where unknown types are not ignored.
    UnknownType(u64),
    /// Something known that may not be here.
    NotAllowed,
    /// Something that may be here once is here twice.
    Duplicate,
    /// A delta that leads past the largest integer, or below zero.
    Overflow,
    /// A reference to a prior object where there is none.
    NoPrior,
    /// A key-value pair that does not have the form of its type.
    Formatting,
    /// A namespace or name that breaks the rules for names.
    Name(NameError),
}

impl DecodeError {
    pub(crate) const fn new(fault: Fault, field: &'static str, offset: usize) -> Self {
        Self { fault, field, offset }
    }

    /// The code to close the session with.
    pub const fn session_error(&self) -> SessionError {
        match self.fault {
            Fault::Formatting => SessionError::KeyValueFormattingError,
            _ => SessionError::ProtocolViolation,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, field, offset } = self;
        match fault {
            Fault::Truncated => write!(f, "{field} is cut off"),
            Fault::Trailing => write!(f, "bytes left over after {field}"),
            Fault::TooLong { max } => write!(f, "{field} is longer than {max} bytes"),
            Fault::OutOfRange(value) => write!(f, "{field} cannot be 0x{value:x}"),
            Fault::UnknownType(value) => write!(f, "{field} 0x{value:x} is unknown"),
            Fault::NotAllowed => write!(f, "{field} is not allowed here"),
            Fault::Duplicate => write!(f, "{field} appears twice"),
            Fault::Overflow => write!(f, "{field} leads out of range"),
            Fault::NoPrior => write!(f, "{field} refers to a prior object and there is none"),
            Fault::Formatting => write!(f, "{field} does not have its type's form"),
            Fault::Name(error) => write!(f, "{field}: {error}"),
        }?;
        write!(f, " (byte {offset})")
    }
}

impl core::error::Error for DecodeError {}

/// A value that cannot be written on this draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The draft has no such message, status or feature.
    NotInDraft {
        /// What it does not have.
        what: &'static str,
        /// The draft.
        draft: Draft,
    },
    /// The draft needs a field that was not given.
    Missing(&'static str),
    /// The field is longer than the draft allows.
    TooLong(&'static str),
    /// The value does not fit the draft's integers, or its order.
    OutOfRange(&'static str),
    /// A property whose value does not match its type's parity.
    PropertyForm(u64),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInDraft { what, draft } => write!(f, "{draft} has no {what}"),
            Self::Missing(field) => write!(f, "{field} must be given on this draft"),
            Self::TooLong(field) => write!(f, "{field} is too long"),
            Self::OutOfRange(field) => write!(f, "{field} is out of range on this draft"),
            Self::PropertyForm(key) => {
                write!(f, "property 0x{key:x}: even types hold numbers, odd types hold bytes")
            }
        }
    }
}

impl core::error::Error for EncodeError {}
