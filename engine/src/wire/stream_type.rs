use super::{DecodeError, Dialect, Fault};
use crate::model::MessageKind;

/// What a unidirectional stream is for (draft-18, "Unidirectional Stream Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamType {
    /// The sender's control stream (draft 18); the type is the setup message's.
    Control,
    /// Objects of one subgroup; the type is the header's.
    Subgroup,
    /// The objects of a fetch.
    Fetch,
    /// Nothing (draft 18).
    Padding,
}

const FETCH_HEADER: u64 = 0x05;
const PADDING: u64 = 0x132B_3E28;
const SUBGROUP_HEADER: u64 = 0x10;

impl StreamType {
    /// The type at the front of `bytes`, and its length; `None` if more bytes are needed.
    pub fn decode(dialect: &Dialect, bytes: &[u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let Some((code, len)) = dialect.ints.decode(bytes) else { return Ok(None) };
        let kind = match code {
            FETCH_HEADER => Self::Fetch,
            PADDING if dialect.objects.padding => Self::Padding,
            _ if is_subgroup(dialect, code) => Self::Subgroup,
            _ if dialect.message_kind(code) == Some(MessageKind::Setup) => Self::Control,
            _ => return Err(DecodeError::new(Fault::UnknownType(code), "Stream Type", 0)),
        };
        Ok(Some((kind, len)))
    }

    pub(super) const fn fetch_code() -> u64 {
        FETCH_HEADER
    }
}

/// Whether `code` is a valid SUBGROUP_HEADER type: bit 4 set, no unknown bits, and a Subgroup
/// ID mode that is not the reserved one.
pub(super) fn is_subgroup(dialect: &Dialect, code: u64) -> bool {
    let allowed = dialect.objects.subgroup_type_bits | SUBGROUP_HEADER;
    code & SUBGROUP_HEADER != 0 && code & !allowed == 0 && code & 0x06 != 0x06
}
