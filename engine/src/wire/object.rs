//! What subgroup streams, fetch streams and datagrams share.

use alloc::borrow::Cow;
use alloc::string::String;

use bytes::BufMut;

use super::{DecodeError, Dialect, EncodeError, Fault, Ints, MAX_INT_LEN, Note, Properties};
use crate::model::ObjectStatus;

/// What precedes an object's payload in a subgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ObjectHeader {
    /// The object's ID in its group.
    pub object_id: u64,
    /// Bytes of payload that follow. 0 if the status is not normal.
    pub payload_len: u64,
    /// What the object says if it has no payload.
    pub status: ObjectStatus,
    /// The object's properties.
    pub properties: Properties,
}

pub(super) const PROPERTIES: &str = "Properties";

/// Payload bytes of the object last announced, as many as are at hand.
pub type Payload<'a> = &'a [u8];

/// Fields at the front of a byte string that may end anywhere.
pub(super) struct Cursor<'a, N> {
    bytes: &'a [u8],
    at: usize,
    /// Who is told of each field.
    notes: N,
}

impl<'a, N: Note> Cursor<'a, N> {
    pub(super) fn new(bytes: &'a [u8], notes: N) -> Self {
        Self { bytes, at: 0, notes }
    }

    /// What the field read last stands for.
    pub(super) fn means(&mut self, meaning: impl FnOnce() -> Cow<'static, str>) {
        self.notes.means(meaning);
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    #[inline]
    pub(super) fn int(&mut self, ints: Ints, field: &'static str) -> Result<u64, Stop> {
        match ints.decode(self.bytes.get(self.at..).unwrap_or_default()) {
            Some((value, len)) => {
                self.notes.field(field, self.at..self.at + len, Some(value));
                self.at += len;
                Ok(value)
            }
            None => Err(self.need(self.bytes.len() + 1, field)),
        }
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, Stop> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.notes.field(field, self.at..self.at + 1, Some(u64::from(byte)));
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.need(self.at + 1, field)),
        }
    }

    /// Two bytes that say how long something is.
    pub(super) fn length16(&mut self, field: &'static str) -> Result<usize, Stop> {
        let end = self.at + 2;
        match self.bytes.get(self.at..end) {
            Some(&[high, low]) => {
                let len = u16::from_be_bytes([high, low]);
                self.notes.field(field, self.at..end, Some(u64::from(len)));
                self.at = end;
                Ok(usize::from(len))
            }
            _ => Err(self.need(end, field)),
        }
    }

    /// A properties block with its length, checked before it is waited for. What follows is
    /// at least one byte, so that is asked for too.
    pub(super) fn properties(&mut self, ints: Ints, max: usize) -> Result<&'a [u8], Stop> {
        let len = self.int(ints, PROPERTIES)?;
        self.notes.is_length();
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len <= max)
            .ok_or_else(|| self.fault(Fault::TooLong { max }, PROPERTIES))?;
        let end = self.at + len;
        match self.bytes.get(self.at..end) {
            Some(block) => {
                self.notes.field(PROPERTIES, self.at..end, None);
                self.at = end;
                Ok(block)
            }
            None => Err(self.need(end + 1, PROPERTIES)),
        }
    }

    #[inline]
    fn need(&mut self, len: usize, field: &'static str) -> Stop {
        self.notes.is_cut_off(field);
        Stop::Need(len)
    }

    pub(super) fn fault(&self, fault: Fault, field: &'static str) -> Stop {
        Stop::Error(DecodeError::new(fault, field, self.at))
    }
}

/// Why reading could not go on.
pub(super) enum Stop {
    /// At least this many bytes from the start are needed.
    Need(usize),
    /// More bytes would not help.
    Error(DecodeError),
}

/// What a type says: something always, and for each of its bits that is set the name.
pub(super) fn flag_names(
    always: &str,
    code: u64,
    names: &[(u64, &'static str)],
) -> Cow<'static, str> {
    let mut text = String::from(always);
    for (_, name) in names.iter().filter(|(bit, _)| code & bit != 0) {
        text.push_str(", ");
        text.push_str(name);
    }
    text.into()
}

/// Checks a status against the draft, and against the properties beside it.
pub(super) fn check_status(
    dialect: &Dialect,
    code: u64,
    has_properties: bool,
) -> Result<ObjectStatus, (Fault, &'static str)> {
    let status = match code {
        0x0 => ObjectStatus::Normal,
        0x1 if dialect.objects.does_not_exist_status => ObjectStatus::DoesNotExist,
        0x3 => ObjectStatus::EndOfGroup,
        0x4 => ObjectStatus::EndOfTrack,
        _ => return Err((Fault::OutOfRange(code), "Object Status")),
    };
    let may_have_properties = match status {
        ObjectStatus::Normal => true,
        ObjectStatus::DoesNotExist => false,
        _ => !dialect.objects.properties_on_normal_only,
    };
    if has_properties && !may_have_properties {
        return Err((Fault::NotAllowed, "Properties of an object without payload"));
    }
    Ok(status)
}

/// Checks what an application wants to write in the same way.
pub(super) fn check_written_status(
    dialect: &Dialect,
    status: ObjectStatus,
    payload_len: u64,
    has_properties: bool,
) -> Result<(), EncodeError> {
    if status != ObjectStatus::Normal && payload_len > 0 {
        return Err(EncodeError::OutOfRange("payload of an object with a status"));
    }
    check_status(dialect, status.code(), has_properties)
        .map(drop)
        .map_err(|(_, what)| EncodeError::NotInDraft { what, draft: dialect.draft })
}

/// Collects integers in place, to be written out at once.
pub(super) struct Scratch {
    bytes: [u8; 4 * MAX_INT_LEN],
    len: usize,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 4 * MAX_INT_LEN], len: 0 }
    }

    #[inline]
    pub(super) fn int(
        &mut self,
        ints: Ints,
        value: u64,
        field: &'static str,
    ) -> Result<(), EncodeError> {
        let place = self.bytes.get_mut(self.len..self.len + MAX_INT_LEN);
        let place = place.ok_or(EncodeError::TooLong(field))?;
        if value < 0x40 {
            if let Some(first) = place.first_mut() {
                *first = u8::try_from(value).unwrap_or_default();
            }
            self.len += 1;
            return Ok(());
        }
        let (bytes, len) = ints.encode(value).ok_or(EncodeError::OutOfRange(field))?;
        place.copy_from_slice(&bytes);
        self.len += len;
        Ok(())
    }

    pub(super) fn byte(&mut self, value: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = value;
            self.len += 1;
        }
    }

    pub(super) fn flush(&mut self, out: &mut impl BufMut) {
        out.put_slice(self.bytes.get(..self.len).unwrap_or_default());
        self.len = 0;
    }
}
