use alloc::vec::Vec;

use bytes::Bytes;

use super::AuthToken;

/// What an endpoint says of itself when a session starts (draft-18, "Setup Options").
///
/// Unknown options are ignored on receipt, as every draft demands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct SetupOptions {
    /// Path and query of the URI; a client's, over raw QUIC only (PATH, 0x01).
    pub path: Option<Bytes>,
    /// Authority of the URI; a client's, over raw QUIC only (AUTHORITY, 0x05).
    pub authority: Option<Bytes>,
    /// One more than the largest Request ID the peer may use (MAX_REQUEST_ID, 0x02; drafts 14
    /// and 16). Absent means 0: the peer may send no request.
    pub max_request_id: Option<u64>,
    /// Bytes of registered tokens this endpoint keeps (MAX_AUTH_TOKEN_CACHE_SIZE, 0x04).
    /// Absent means 0.
    pub max_auth_token_cache_size: Option<u64>,
    /// Tokens that authorize the session (AUTHORIZATION_TOKEN, 0x03).
    pub authorization_tokens: Vec<AuthToken>,
    /// Name and version of the implementation (MOQT_IMPLEMENTATION, 0x07).
    pub implementation: Option<Bytes>,
    /// An option without a meaning, to be written with this reserved number (draft-18,
    /// "Grease"). `None` when reading: what is unknown is ignored.
    pub reserved: Option<u64>,
}

/// One of the options in [`SetupOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented as a field of `SetupOptions`")]
pub enum SetupOption {
    Path,
    MaxRequestId,
    AuthorizationToken,
    MaxAuthTokenCacheSize,
    Authority,
    Implementation,
}

impl SetupOption {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Path => "PATH",
            Self::MaxRequestId => "MAX_REQUEST_ID",
            Self::AuthorizationToken => "AUTHORIZATION_TOKEN",
            Self::MaxAuthTokenCacheSize => "MAX_AUTH_TOKEN_CACHE_SIZE",
            Self::Authority => "AUTHORITY",
            Self::Implementation => "MOQT_IMPLEMENTATION",
        }
    }
}

impl SetupOptions {
    /// How many there are of an option.
    pub(crate) fn count(&self, option: SetupOption) -> usize {
        match option {
            SetupOption::Path => self.path.iter().count(),
            SetupOption::MaxRequestId => self.max_request_id.iter().count(),
            SetupOption::AuthorizationToken => self.authorization_tokens.len(),
            SetupOption::MaxAuthTokenCacheSize => self.max_auth_token_cache_size.iter().count(),
            SetupOption::Authority => self.authority.iter().count(),
            SetupOption::Implementation => self.implementation.iter().count(),
        }
    }
}
