use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::tokens::Token;
use crate::error::TokenMisuse;
use crate::model::AuthToken;

/// The tokens registered with the peer, as it must see them (draft-18, "AUTHORIZATION TOKEN
/// Parameter").
///
/// Messages on one stream take effect in the order they are sent. Between streams only an
/// answer tells that one has taken effect before the next is sent.
#[derive(Debug, Default)]
pub(crate) struct SentTokens {
    tokens: BTreeMap<u64, Sent>,
    /// Size of all of them, as the drafts count it, with those whose deletion was not answered.
    size: u64,
    /// The part of it that was deleted on the control stream.
    deleted_on_control: u64,
    /// What the peer keeps.
    max_size: u64,
    /// Per message that has not been answered, by the request it is about and its own Request
    /// ID: where it went and what it does.
    unanswered: BTreeMap<(u64, u64), (Lane, Vec<Part>)>,
}

/// A token registered with the peer.
#[derive(Clone, Debug)]
struct Sent {
    token: Token,
    lane: Lane,
    /// Request ID of the message that registered it.
    since: u64,
    /// That message has been answered.
    answered: bool,
    /// How many messages that use it have not been answered: on the control stream, and on
    /// other streams.
    uses: (u32, u32),
    /// Where it was deleted, until that is answered.
    deleted: Option<Lane>,
}

/// Which stream a message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Control,
    /// That of the request with this ID.
    Own(u64),
}

/// A message about to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    /// The request that it begins or is about.
    pub(crate) request_id: u64,
    /// Its own Request ID.
    pub(crate) id: u64,
    pub(crate) lane: Lane,
}

/// What a message did to an alias registered by the message `since`.
#[derive(Clone, Copy, Debug)]
struct Part {
    alias: u64,
    since: u64,
    deed: Deed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Registered,
    Used,
    Deleted,
}

/// What sending a message will change.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    changed: BTreeMap<u64, Sent>,
    parts: Vec<Part>,
}

impl Sent {
    fn new(token: Token, lane: Lane, since: u64) -> Self {
        Self { token, lane, since, answered: false, uses: (0, 0), deleted: None }
    }
}

impl Staged {
    fn change(&mut self, alias: u64, sent: Sent, deed: Deed) {
        self.parts.push(Part { alias, since: sent.since, deed });
        self.changed.insert(alias, sent);
    }
}

impl SentTokens {
    /// SETUP has been exchanged: `tokens` went out in ours, and the peer keeps `max_size`
    /// bytes. Of what it has no room for it keeps nothing.
    pub(crate) fn set_up(&mut self, tokens: &[AuthToken], max_size: u64) {
        self.max_size = max_size;
        for token in tokens {
            let AuthToken::Register { alias, token_type, value } = token else { continue };
            let token = Token::new(*token_type, value.clone());
            if self.size.saturating_add(token.size()) <= max_size {
                self.insert(*alias, Sent { answered: true, ..Sent::new(token, Lane::Control, 0) });
            }
        }
    }

    /// Whether the peer keeps a token under this alias.
    pub(crate) fn is_registered(&self, alias: u64) -> bool {
        self.tokens.contains_key(&alias)
    }

    /// Whether a message may carry these tokens, and what they change. With `unique`, none may
    /// be there twice.
    pub(crate) fn stage(
        &self,
        tokens: &[AuthToken],
        message: Outgoing,
        unique: bool,
    ) -> Result<Staged, TokenMisuse> {
        let mut staged = Staged::default();
        let mut size = match message.lane {
            Lane::Control => self.size.saturating_sub(self.deleted_on_control),
            Lane::Own(_) => self.size,
        };
        let mut seen = BTreeSet::new();
        for token in tokens {
            let used = match token {
                AuthToken::Delete { alias } => {
                    let freed = self.stage_delete(*alias, message, &mut staged)?;
                    size = size.saturating_sub(freed);
                    continue;
                }
                AuthToken::Register { alias, token_type, value } => {
                    let token = Token::new(*token_type, value.clone());
                    size = size.saturating_add(token.size());
                    if size > self.max_size {
                        return Err(TokenMisuse::CacheFull);
                    }
                    self.stage_register(*alias, token.clone(), message, &mut staged)?;
                    token
                }
                AuthToken::UseAlias { alias } => self.stage_use(*alias, message, &mut staged)?,
                AuthToken::UseValue { token_type, value } => Token::new(*token_type, value.clone()),
            };
            if !seen.insert(used) && unique {
                return Err(TokenMisuse::Duplicate);
            }
        }
        Ok(staged)
    }

    fn stage_register(
        &self,
        alias: u64,
        token: Token,
        message: Outgoing,
        staged: &mut Staged,
    ) -> Result<(), TokenMisuse> {
        if let Some(before) = self.find(alias, staged)
            && before.deleted != Some(message.lane)
        {
            return Err(TokenMisuse::AliasInUse);
        }
        staged.change(alias, Sent::new(token, message.lane, message.id), Deed::Registered);
        Ok(())
    }

    fn stage_use(
        &self,
        alias: u64,
        message: Outgoing,
        staged: &mut Staged,
    ) -> Result<Token, TokenMisuse> {
        let mut sent = self.usable(alias, message, staged)?.clone();
        match message.lane {
            Lane::Control => sent.uses.0 = sent.uses.0.saturating_add(1),
            Lane::Own(_) => sent.uses.1 = sent.uses.1.saturating_add(1),
        }
        let token = sent.token.clone();
        staged.change(alias, sent, Deed::Used);
        Ok(token)
    }

    /// Returns the size of the token deleted.
    fn stage_delete(
        &self,
        alias: u64,
        message: Outgoing,
        staged: &mut Staged,
    ) -> Result<u64, TokenMisuse> {
        let mut sent = self.usable(alias, message, staged)?.clone();
        let is_used = match message.lane {
            // What was sent on the same stream takes effect before this.
            Lane::Control => sent.uses.1 > 0,
            Lane::Own(_) => sent.uses != (0, 0),
        };
        if is_used {
            return Err(TokenMisuse::StillUsed);
        }
        sent.deleted = Some(message.lane);
        let freed = sent.token.size();
        staged.change(alias, sent, Deed::Deleted);
        Ok(freed)
    }

    fn usable<'a>(
        &'a self,
        alias: u64,
        message: Outgoing,
        staged: &'a Staged,
    ) -> Result<&'a Sent, TokenMisuse> {
        let sent = self.find(alias, staged).filter(|sent| sent.deleted.is_none());
        let sent = sent.ok_or(TokenMisuse::UnknownAlias)?;
        if !sent.answered && sent.lane != message.lane {
            return Err(TokenMisuse::NotAnswered);
        }
        Ok(sent)
    }

    fn find<'a>(&'a self, alias: u64, staged: &'a Staged) -> Option<&'a Sent> {
        staged.changed.get(&alias).or_else(|| self.tokens.get(&alias))
    }

    /// The message has been sent.
    pub(crate) fn commit(&mut self, message: Outgoing, staged: Staged) {
        for (alias, sent) in staged.changed {
            self.insert(alias, sent);
        }
        if !staged.parts.is_empty() {
            let key = (message.request_id, message.id);
            self.unanswered.insert(key, (message.lane, staged.parts));
        }
    }

    /// The message with this ID, about this request, has been answered.
    pub(crate) fn answered(&mut self, request_id: u64, id: u64) {
        let Some((lane, parts)) = self.unanswered.remove(&(request_id, id)) else { return };
        for part in parts {
            let Some(sent) = self.tokens.get_mut(&part.alias) else { continue };
            if sent.since != part.since {
                continue;
            }
            match part.deed {
                Deed::Registered => sent.answered = true,
                Deed::Used => match lane {
                    Lane::Control => sent.uses.0 = sent.uses.0.saturating_sub(1),
                    Lane::Own(_) => sent.uses.1 = sent.uses.1.saturating_sub(1),
                },
                Deed::Deleted if sent.deleted.is_some() => self.remove(part.alias),
                Deed::Deleted => {}
            }
        }
    }

    /// The request is over. What of it was not answered never will be: whether the peer has
    /// seen it, nobody knows.
    pub(crate) fn request_over(&mut self, request_id: u64) {
        while let Some((&key, _)) =
            self.unanswered.range((request_id, 0)..=(request_id, u64::MAX)).next()
        {
            self.unanswered.remove(&key);
        }
    }

    fn insert(&mut self, alias: u64, sent: Sent) {
        self.remove(alias);
        let size = sent.token.size();
        self.size = self.size.saturating_add(size);
        if sent.deleted == Some(Lane::Control) {
            self.deleted_on_control = self.deleted_on_control.saturating_add(size);
        }
        self.tokens.insert(alias, sent);
    }

    fn remove(&mut self, alias: u64) {
        let Some(sent) = self.tokens.remove(&alias) else { return };
        let size = sent.token.size();
        self.size = self.size.saturating_sub(size);
        if sent.deleted == Some(Lane::Control) {
            self.deleted_on_control = self.deleted_on_control.saturating_sub(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn nothing_is_kept_of_the_messages_of_a_request_that_is_over() {
        let mut sent = SentTokens::default();
        let value = Bytes::from_static(b"token");
        sent.set_up(&[AuthToken::Register { alias: 1, token_type: 0, value }], 1000);
        for (request_id, id) in [(4, 4), (4, 6), (8, 8)] {
            let message = Outgoing { request_id, id, lane: Lane::Control };
            let staged = sent.stage(&[AuthToken::UseAlias { alias: 1 }], message, false).unwrap();
            sent.commit(message, staged);
        }
        sent.request_over(4);
        assert!(sent.unanswered.keys().eq(&[(8, 8)]));
        sent.request_over(8);
        assert!(sent.unanswered.is_empty());
    }
}
