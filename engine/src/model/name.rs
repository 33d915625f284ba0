use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use bytes::Bytes;
use smallvec::SmallVec;

/// Most fields a namespace may have (draft-18, "Track Naming").
pub const MAX_NAMESPACE_FIELDS: usize = 32;

/// Most bytes all fields of a namespace and the track name may have together
/// (draft-18, "Track Naming").
pub const MAX_FULL_TRACK_NAME_LEN: usize = 4096;

/// An ordered list of byte strings that tracks are published under.
///
/// Displays in the form the drafts recommend: fields joined by `-`, bytes outside
/// `a-z A-Z 0-9 _` as `.` and two lower-case hex digits; [`FromStr`] accepts the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TrackNamespace {
    /// All fields, one after the other.
    data: Bytes,
    /// Where each field ends in `data`.
    ends: SmallVec<[u16; 8]>,
}

impl TrackNamespace {
    /// The namespace of no fields: everything, as a prefix.
    pub fn root() -> Self {
        Self::default()
    }

    /// A namespace of these fields, each at least one byte long.
    pub fn new<F: AsRef<[u8]>>(fields: impl IntoIterator<Item = F>) -> Result<Self, NameError> {
        let fields: Vec<F> = fields.into_iter().collect();
        let mut builder = NameBuilder::default();
        for field in &fields {
            if field.as_ref().is_empty() {
                return Err(NameError::EmptyField);
            }
            builder.push_field(field.as_ref())?;
        }
        Ok(builder.namespace())
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &[u8]> + DoubleEndedIterator {
        (0..self.ends.len()).map(|index| self.field(index).unwrap_or_default())
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether this is the namespace of no fields.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The field at `index`, if there are that many.
    pub fn field(&self, index: usize) -> Option<&[u8]> {
        let end = usize::from(*self.ends.get(index)?);
        let before = index.checked_sub(1).and_then(|previous| self.ends.get(previous));
        self.data.get(before.map_or(0, |end| usize::from(*end))..end)
    }

    /// The sum of the lengths of all fields, in bytes.
    pub fn byte_len(&self) -> usize {
        self.data.len()
    }

    /// Whether the fields of `prefix` are this namespace's first fields.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.ends.starts_with(&prefix.ends) && self.data.starts_with(&prefix.data)
    }

    /// What follows `prefix`, if this namespace begins with it.
    pub fn strip_prefix(&self, prefix: &Self) -> Option<Self> {
        let ends = self.ends.strip_prefix(&prefix.ends[..])?;
        if !self.data.starts_with(&prefix.data) {
            return None;
        }
        let cut = prefix.data.len();
        Some(Self {
            data: self.data.slice(cut..),
            ends: ends.iter().map(|&end| end.saturating_sub(u16_len(cut))).collect(),
        })
    }

    /// This namespace followed by the fields of `suffix`.
    pub fn join(&self, suffix: &Self) -> Result<Self, NameError> {
        let mut builder = NameBuilder::default();
        for field in self.fields().chain(suffix.fields()) {
            builder.push_field(field)?;
        }
        Ok(builder.namespace())
    }
}

impl fmt::Display for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, field) in self.fields().enumerate() {
            if index > 0 {
                f.write_str("-")?;
            }
            write_escaped(f, field)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TrackNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackNamespace({self})")
    }
}

impl FromStr for TrackNamespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::root());
        }
        let fields: Vec<_> = text.split('-').map(unescape).collect::<Result<_, _>>()?;
        Self::new(fields)
    }
}

/// The name of a track: its namespace and its name in it.
///
/// Displays in the form the drafts recommend, `example.2enet-team2--report`; [`FromStr`]
/// accepts the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FullTrackName {
    namespace: TrackNamespace,
    name: Bytes,
}

impl FullTrackName {
    /// The track `name` in `namespace`; the name may be empty.
    pub fn new(namespace: TrackNamespace, name: impl Into<Bytes>) -> Result<Self, NameError> {
        let name = name.into();
        if namespace.byte_len().saturating_add(name.len()) > MAX_FULL_TRACK_NAME_LEN {
            return Err(NameError::TooLong);
        }
        Ok(Self { namespace, name })
    }

    /// The namespace.
    pub fn namespace(&self) -> &TrackNamespace {
        &self.namespace
    }

    /// The track's name in its namespace.
    pub fn name(&self) -> &Bytes {
        &self.name
    }
}

impl fmt::Display for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--", self.namespace)?;
        write_escaped(f, &self.name)
    }
}

impl fmt::Debug for FullTrackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullTrackName({self})")
    }
}

impl FromStr for FullTrackName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // A field's own hyphens are escaped, so the first double hyphen is the separator.
        let (namespace, name) = text.split_once("--").ok_or(NameError::NoSeparator)?;
        Self::new(namespace.parse()?, unescape(name)?)
    }
}

/// Why a name cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// More than [`MAX_NAMESPACE_FIELDS`] fields.
    TooManyFields,
    /// More than [`MAX_FULL_TRACK_NAME_LEN`] bytes in all.
    TooLong,
    /// A namespace field of no bytes.
    EmptyField,
    /// A full track name in text form without `--` before the track's name.
    NoSeparator,
    /// A `.` that two lower-case hex digits do not follow, a byte escaped that need not be,
    /// or one not escaped that must be.
    BadEscape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyFields => "a namespace has at most 32 fields",
            Self::TooLong => "a full track name has at most 4096 bytes",
            Self::EmptyField => "a namespace field has at least one byte",
            Self::NoSeparator => "a full track name needs `--` between namespace and name",
            Self::BadEscape => {
                "only a-z, A-Z, 0-9 and _ stand for themselves; \
                 other bytes are a period and two lower-case hex digits"
            }
        })
    }
}

impl core::error::Error for NameError {}

/// Collects the fields of a namespace, which then takes one allocation of just its size.
#[derive(Default)]
pub(crate) struct NameBuilder<'a> {
    fields: SmallVec<[&'a [u8]; 8]>,
    len: usize,
}

impl<'a> NameBuilder<'a> {
    /// Empty fields pass: draft 14 allows them.
    pub(crate) fn push_field(&mut self, field: &'a [u8]) -> Result<(), NameError> {
        if self.fields.len() >= MAX_NAMESPACE_FIELDS {
            return Err(NameError::TooManyFields);
        }
        let len = self.len.saturating_add(field.len());
        if len > MAX_FULL_TRACK_NAME_LEN {
            return Err(NameError::TooLong);
        }
        self.fields.push(field);
        self.len = len;
        Ok(())
    }

    pub(crate) fn namespace(&self) -> TrackNamespace {
        let mut data = Vec::with_capacity(self.len);
        let mut ends = SmallVec::new();
        for field in &self.fields {
            data.extend_from_slice(field);
            ends.push(u16_len(data.len()));
        }
        TrackNamespace { data: data.into(), ends }
    }

    /// The track `name` in this namespace.
    pub(crate) fn track_name(&self, name: &[u8]) -> Result<FullTrackName, NameError> {
        if self.len.saturating_add(name.len()) > MAX_FULL_TRACK_NAME_LEN {
            return Err(NameError::TooLong);
        }
        Ok(FullTrackName { namespace: self.namespace(), name: Bytes::copy_from_slice(name) })
    }
}

/// Lengths here are at most [`MAX_FULL_TRACK_NAME_LEN`].
fn u16_len(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for &byte in bytes {
        if is_literal(byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, ".{byte:02x}")?;
        }
    }
    Ok(())
}

fn unescape(text: &str) -> Result<Vec<u8>, NameError> {
    let hex = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'.' {
            let high = bytes.next().and_then(hex).ok_or(NameError::BadEscape)?;
            let low = bytes.next().and_then(hex).ok_or(NameError::BadEscape)?;
            let value = high << 4 | low;
            if is_literal(value) {
                return Err(NameError::BadEscape);
            }
            out.push(value);
        } else if is_literal(byte) {
            out.push(byte);
        } else {
            return Err(NameError::BadEscape);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_drafts_example_reads_and_prints() {
        let text = "example.2enet-team2-project_x--report";
        let name: FullTrackName = text.parse().unwrap();
        let fields: Vec<_> = name.namespace().fields().collect();
        assert_eq!(fields, [&b"example.net"[..], b"team2", b"project_x"]);
        assert_eq!(&name.name()[..], b"report");
        assert_eq!(name.to_string(), text);
    }

    #[test]
    fn text_that_is_not_canonical_is_refused() {
        for text in [
            "a--.61", "a--.2E", "a--.2", "a--.", "a--.2g", "a--.g2", "a--b c", "a-b", "a-", "a---b",
        ] {
            assert!(text.parse::<FullTrackName>().is_err(), "{text}");
        }
        assert_eq!("a--".parse::<FullTrackName>().unwrap().name().len(), 0);
        assert_eq!("--x".parse::<FullTrackName>().unwrap().namespace().len(), 0);
        // After the separator a hyphen can only be an escaped one.
        assert_eq!("a--b-c".parse::<FullTrackName>(), Err(NameError::BadEscape));
    }

    #[test]
    fn prefixes_respect_field_boundaries() {
        let ab: TrackNamespace = "ab-c".parse().unwrap();
        assert!(!ab.starts_with(&"a".parse().unwrap()));
        assert!(ab.starts_with(&TrackNamespace::root()));
        let suffix = ab.strip_prefix(&"ab".parse().unwrap()).unwrap();
        assert_eq!(suffix, "c".parse().unwrap());
        for other in ["a", "ab-d", "cd", "ab-c-d"] {
            assert_eq!(ab.strip_prefix(&other.parse().unwrap()), None, "{other}");
        }
        assert_eq!(ab.strip_prefix(&ab), Some(TrackNamespace::root()));
        let prefix: TrackNamespace = "ab".parse().unwrap();
        assert_eq!(prefix.join(&suffix).unwrap(), ab);
    }

    #[test]
    fn limits_are_the_drafts_own() {
        assert!(TrackNamespace::new([b"x"; 32]).is_ok());
        assert_eq!(TrackNamespace::new([b"x"; 33]), Err(NameError::TooManyFields));
        assert_eq!(TrackNamespace::new([b""]), Err(NameError::EmptyField));
        let long = TrackNamespace::new([[0u8; 4096]]).unwrap();
        assert!(FullTrackName::new(long.clone(), Bytes::new()).is_ok());
        assert_eq!(FullTrackName::new(long, "x"), Err(NameError::TooLong));
    }
}
