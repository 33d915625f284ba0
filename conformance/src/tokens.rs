//! Authorization tokens in short words.

use bytes::Bytes;
use moqt_engine::model::{AuthToken, Parameters};

/// Use this token, of type 0, and remember it under `alias`.
pub fn register(alias: u64, value: &'static str) -> AuthToken {
    AuthToken::Register { alias, token_type: 0, value: Bytes::from_static(value.as_bytes()) }
}

/// Use this token, of type 0.
pub fn value(value: &'static str) -> AuthToken {
    AuthToken::UseValue { token_type: 0, value: Bytes::from_static(value.as_bytes()) }
}

/// Use what is registered under `alias`.
pub const fn use_alias(alias: u64) -> AuthToken {
    AuthToken::UseAlias { alias }
}

/// Forget what is registered under `alias`.
pub const fn delete(alias: u64) -> AuthToken {
    AuthToken::Delete { alias }
}

/// Parameters with these tokens and nothing else.
pub fn with_tokens(tokens: &[AuthToken]) -> Parameters {
    let mut parameters = Parameters::default();
    parameters.authorization_tokens = tokens.to_vec();
    parameters
}
