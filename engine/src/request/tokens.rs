use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::link::Violation;
use crate::model::{AuthToken, SessionError};

/// What a registered token takes of the cache besides its value (draft-18,
/// "MAX_AUTH_TOKEN_CACHE_SIZE").
const TOKEN_OVERHEAD: u64 = 16;

/// The tokens that the peer has registered (draft-18, "AUTHORIZATION TOKEN Parameter").
#[derive(Debug)]
pub(crate) struct TokenCache {
    tokens: BTreeMap<u64, Token>,
    /// Size of all of them, as the drafts count it.
    size: u64,
    max_size: u64,
}

/// A token without its alias.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) token_type: u64,
    pub(crate) value: Bytes,
}

/// What to do with a registration that the cache has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// Close the session.
    Close,
    /// Use the token once and do not keep it: its sender could not know the cache's size.
    UseValue,
}

impl Token {
    pub(crate) fn new(token_type: u64, value: Bytes) -> Self {
        Self { token_type, value }
    }

    /// Its share of the cache.
    pub(crate) fn size(&self) -> u64 {
        TOKEN_OVERHEAD.saturating_add(self.value.len() as u64)
    }
}

impl From<Token> for AuthToken {
    fn from(Token { token_type, value }: Token) -> Self {
        Self::UseValue { token_type, value }
    }
}

impl TokenCache {
    pub(crate) fn new(max_size: u64) -> Self {
        Self { tokens: BTreeMap::new(), size: 0, max_size }
    }

    pub(crate) fn max_size(&self) -> u64 {
        self.max_size
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Does what the tokens of one message say, in their order, and puts their values in the
    /// place of aliases. What the message comes to otherwise makes no difference.
    pub(crate) fn resolve(
        &mut self,
        tokens: &mut Vec<AuthToken>,
        overflow: Overflow,
    ) -> Result<(), Violation> {
        let mut resolved = Vec::with_capacity(tokens.len());
        for token in core::mem::take(tokens) {
            match token {
                AuthToken::Delete { alias } => self.delete(alias)?,
                AuthToken::Register { alias, token_type, value } => {
                    let token = Token::new(token_type, value);
                    self.register(alias, token.clone(), overflow)?;
                    resolved.push(token.into());
                }
                AuthToken::UseAlias { alias } => {
                    let token = self.tokens.get(&alias).ok_or_else(|| unknown(alias))?;
                    resolved.push(token.clone().into());
                }
                AuthToken::UseValue { .. } => resolved.push(token),
            }
        }
        *tokens = resolved;
        Ok(())
    }

    fn register(&mut self, alias: u64, token: Token, overflow: Overflow) -> Result<(), Violation> {
        if self.tokens.contains_key(&alias) {
            let reason = format!("token alias {alias} is registered already");
            return Err(Violation::new(SessionError::DuplicateAuthTokenAlias, reason));
        }
        let size = self.size.saturating_add(token.size());
        if size > self.max_size {
            return match overflow {
                Overflow::UseValue => Ok(()),
                Overflow::Close => Err(Violation::new(
                    SessionError::AuthTokenCacheOverflow,
                    format!("registered tokens of {size} bytes, of at most {}", self.max_size),
                )),
            };
        }
        self.size = size;
        self.tokens.insert(alias, token);
        Ok(())
    }

    fn delete(&mut self, alias: u64) -> Result<(), Violation> {
        let token = self.tokens.remove(&alias).ok_or_else(|| unknown(alias))?;
        self.size = self.size.saturating_sub(token.size());
        Ok(())
    }
}

/// Whether no token is there twice, by type and value. Aliases have been resolved.
pub(crate) fn are_unique(tokens: &[AuthToken]) -> bool {
    let mut seen = BTreeSet::new();
    tokens.iter().filter_map(AuthToken::value).all(|token| seen.insert(token))
}

fn unknown(alias: u64) -> Violation {
    let reason = format!("no token is registered as alias {alias}");
    Violation::new(SessionError::UnknownAuthTokenAlias, reason)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn register(alias: u64, value: &'static str) -> AuthToken {
        AuthToken::Register { alias, token_type: 1, value: Bytes::from_static(value.as_bytes()) }
    }

    fn value(value: &'static str) -> AuthToken {
        AuthToken::UseValue { token_type: 1, value: Bytes::from_static(value.as_bytes()) }
    }

    fn error(cache: &mut TokenCache, token: AuthToken) -> SessionError {
        cache.resolve(&mut vec![token], Overflow::Close).unwrap_err().error
    }

    #[test]
    fn aliases_stand_for_values_until_they_are_deleted() {
        let mut cache = TokenCache::new(1000);
        let mut tokens = vec![register(7, "a"), AuthToken::UseAlias { alias: 7 }, value("b")];
        cache.resolve(&mut tokens, Overflow::Close).unwrap();
        assert_eq!(tokens, [value("a"), value("a"), value("b")]);
        assert!(!are_unique(&tokens));
        assert_eq!(error(&mut cache, register(7, "c")), SessionError::DuplicateAuthTokenAlias);
        let mut tokens = vec![AuthToken::Delete { alias: 7 }, register(7, "c")];
        cache.resolve(&mut tokens, Overflow::Close).unwrap();
        assert_eq!(tokens, [value("c")]);
        for token in [AuthToken::UseAlias { alias: 8 }, AuthToken::Delete { alias: 8 }] {
            assert_eq!(error(&mut cache, token), SessionError::UnknownAuthTokenAlias);
        }
    }

    #[test]
    fn sizes_are_counted_as_the_drafts_do() {
        let mut cache = TokenCache::new(16 + 3 + 16);
        cache.resolve(&mut vec![register(0, "abc"), register(1, "")], Overflow::Close).unwrap();
        assert_eq!(cache.size(), 35);
        let mut tokens = vec![register(2, "")];
        cache.resolve(&mut tokens, Overflow::UseValue).unwrap();
        assert_eq!((tokens, cache.size()), (vec![value("")], 35));
        assert_eq!(error(&mut cache, register(2, "")), SessionError::AuthTokenCacheOverflow);
        cache.resolve(&mut vec![AuthToken::Delete { alias: 0 }], Overflow::Close).unwrap();
        assert_eq!(cache.size(), 16);
    }
}
