//! Authorization tokens of both sides: what applications and messages make of aliases.

use alloc::vec::Vec;

use super::MoqtConnection;
use crate::config::Role;
use crate::error::TokenMisuse;
use crate::limits::Limits;
use crate::link::Violation;
use crate::model::{AuthToken, Message, Parameters, SessionError, SetupOptions};
use crate::request::{Lane, Outgoing, Overflow, SentTokens, Staged, TokenCache, are_unique};
use crate::wire::Dialect;

/// Why a message is refused with MALFORMED_AUTH_TOKEN.
pub(super) const DUPLICATE_TOKEN: &str = "an authorization token is there twice";

/// The cache for what the peer registers.
pub(super) fn cache(dialect: &Dialect, limits: &Limits) -> TokenCache {
    let size = limits.auth_token_cache.unwrap_or(dialect.default_token_cache);
    TokenCache::new(size.min(dialect.ints.max()))
}

/// The parameters of a request or an update.
pub(super) fn request_parameters(message: &mut Message) -> Option<&mut Parameters> {
    Some(match message {
        Message::Subscribe(message) => &mut message.parameters,
        Message::Publish(message) => &mut message.parameters,
        Message::Fetch(message) => &mut message.parameters,
        Message::TrackStatus(message) => &mut message.parameters,
        Message::PublishNamespace(message) => &mut message.parameters,
        Message::SubscribeNamespace(message) => &mut message.parameters,
        Message::SubscribeTracks(message) => &mut message.parameters,
        Message::RequestUpdate(message) => &mut message.parameters,
        _ => return None,
    })
}

impl MoqtConnection {
    /// Takes in the tokens of a message from the peer and puts their values in the place of
    /// aliases. To be done once for each message that comes, whatever is made of it; `false`
    /// if it must be refused with MALFORMED_AUTH_TOKEN.
    pub(super) fn resolve_tokens(
        &mut self,
        parameters: Option<&mut Parameters>,
    ) -> Result<bool, Violation> {
        let Some(parameters) = parameters else { return Ok(true) };
        let tokens = &mut parameters.authorization_tokens;
        if tokens.is_empty() {
            return Ok(true);
        }
        self.token_cache.resolve(tokens, Overflow::Close)?;
        Ok(!self.dialect.unique_tokens || are_unique(tokens))
    }

    /// Takes in the tokens of the peer's setup message, and learns what became of ours
    /// (draft-18, "AUTHORIZATION TOKEN" among the Setup Options).
    pub(super) fn on_setup_tokens(&mut self, options: &mut SetupOptions) -> Result<(), Violation> {
        let tokens = &mut options.authorization_tokens;
        if self.dialect.setup_tokens_by_value
            && self.role == Role::Server
            && tokens.iter().any(is_by_alias)
        {
            return Err(Violation::protocol("a token alias in a client's SETUP"));
        }
        // A server that answers a setup message has been told the size.
        let overflow = if self.link.server_answers_setup() && self.role == Role::Client {
            Overflow::Close
        } else {
            Overflow::UseValue
        };
        self.token_cache.resolve(tokens, overflow)?;
        if self.dialect.unique_tokens && !are_unique(tokens) {
            return Err(Violation::new(SessionError::MalformedAuthToken, DUPLICATE_TOKEN));
        }
        let max_size = options.max_auth_token_cache_size.unwrap_or(0);
        self.sent_tokens.set_up(&self.config.authorization_tokens, max_size);
        Ok(())
    }

    /// MAX_AUTH_TOKEN_CACHE_SIZE for our setup message.
    pub(super) fn token_cache_to_announce(&self) -> Option<u64> {
        Some(self.token_cache.max_size()).filter(|size| *size > 0)
    }

    /// The tokens for our setup message. If the peer's size is known already, those that do
    /// not fit are sent without an alias.
    pub(super) fn setup_tokens(&self) -> Result<Vec<AuthToken>, TokenMisuse> {
        let tokens = &self.config.authorization_tokens;
        let mut unlimited = SentTokens::default();
        unlimited.set_up(&[], u64::MAX);
        unlimited.stage(tokens, beginning(0, false), self.dialect.unique_tokens)?;
        if tokens.iter().any(is_by_alias) {
            return Err(TokenMisuse::UnknownAlias);
        }
        let knows_size = self.link.server_answers_setup() && self.role == Role::Server;
        let tokens = tokens
            .iter()
            .cloned()
            .map(|token| match token {
                AuthToken::Register { alias, token_type, value }
                    if knows_size && !self.sent_tokens.is_registered(alias) =>
                {
                    AuthToken::UseValue { token_type, value }
                }
                token => token,
            })
            .collect();
        Ok(tokens)
    }

    /// Whether a message of ours may carry the tokens it does, and what that changes.
    pub(super) fn stage_tokens(
        &self,
        parameters: Option<&Parameters>,
        message: Outgoing,
    ) -> Result<Staged, TokenMisuse> {
        match parameters {
            Some(parameters) if !parameters.authorization_tokens.is_empty() => {
                let unique = self.dialect.unique_tokens;
                self.sent_tokens.stage(&parameters.authorization_tokens, message, unique)
            }
            _ => Ok(Staged::default()),
        }
    }

    /// Nothing is registered any more.
    pub(super) fn forget_tokens(&mut self) {
        self.token_cache = cache(self.dialect, &self.config.limits);
        self.sent_tokens = SentTokens::default();
    }
}

fn is_by_alias(token: &AuthToken) -> bool {
    matches!(token, AuthToken::Delete { .. } | AuthToken::UseAlias { .. })
}

/// The message that begins the request with this ID.
pub(super) fn beginning(request_id: u64, has_own_stream: bool) -> Outgoing {
    let lane = if has_own_stream { Lane::Own(request_id) } else { Lane::Control };
    Outgoing { request_id, id: request_id, lane }
}
