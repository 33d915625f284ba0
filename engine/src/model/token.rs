use bytes::Bytes;

/// An authorization token as it travels (draft-18, "AUTHORIZATION TOKEN Parameter").
///
/// Aliases let a large token travel once. Each side has its own alias space. In what comes from
/// the peer the connection has resolved them: an application receives
/// [`UseValue`](Self::UseValue) alone. In what it sends it may use aliases as it likes; the
/// connection keeps count and refuses what the peer would close the session for
/// ([`TokenMisuse`](crate::TokenMisuse)).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthToken {
    /// Forget the token registered under this alias (DELETE, 0x0).
    Delete {
        /// The alias to retire.
        alias: u64,
    },
    /// Use this token, and remember it under an alias (REGISTER, 0x1).
    Register {
        /// The alias, unused so far in this direction.
        alias: u64,
        /// The registered token type; 0 means agreed out of band.
        token_type: u64,
        /// The token itself.
        value: Bytes,
    },
    /// Use the token registered under this alias (USE_ALIAS, 0x2).
    UseAlias {
        /// The alias.
        alias: u64,
    },
    /// Use this token once (USE_VALUE, 0x3).
    UseValue {
        /// The registered token type; 0 means agreed out of band.
        token_type: u64,
        /// The token itself.
        value: Bytes,
    },
}

impl AuthToken {
    /// Type and value, unless an alias stands for them.
    pub fn value(&self) -> Option<(u64, &Bytes)> {
        match self {
            Self::Register { token_type, value, .. } | Self::UseValue { token_type, value } => {
                Some((*token_type, value))
            }
            Self::Delete { .. } | Self::UseAlias { .. } => None,
        }
    }
}
