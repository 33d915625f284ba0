//! [`Rules`]: who may do what, from all that was configured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moqt_engine::model::RequestErrorCode;
use moqt_relay::{Ask, Authorize, PeerInfo, Verdict};

use super::clock::WallClock;
use super::credentials::{IsToken, of_message, of_session};
use super::file::Contents;
use super::grant::{Fit, Grant, message};
use super::guesses::Guesses;
use super::jwt::{Checked, Effort, Jwts, Signed};
use super::jwt_key::JwtKey;
use super::tokens::{Found, TokenEntry, find};
use crate::load_error::LoadError;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_LEN: usize = 8192;

/// Who may do what. Clones are cheap and share what they have loaded.
///
/// Rules that were loaded do not change: to load them again, call [`load`](Self::load) and hand the
/// new ones to [`Shard::set_authorize`](moqt_relay::Shard::set_authorize). If that fails, the old
/// ones are still there.
#[derive(Clone, Debug, Default)]
pub struct Rules(Option<Arc<Closed>>);

/// Where rules come from. With nothing given, everybody may do everything; with anything given,
/// nobody may do what is not granted there.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file as the [module's documentation](super) describes it.
    pub file: Option<PathBuf>,
    /// Keys that tokens are signed with, beside those in the file: public keys (PEM), or JWKs.
    pub jwt_keys: Vec<PathBuf>,
    /// Names in relays' certificates, beside those in the file.
    pub relay_certificates: Vec<String>,
}

#[derive(Debug)]
struct Closed {
    contents: Contents,
    clock: WallClock,
    guesses: Guesses,
}

impl Rules {
    /// Everybody may do everything.
    pub fn open() -> Self {
        Self(None)
    }

    /// Reads the rules from their files. `guesses` are counted on when rules are loaded again.
    pub fn load(sources: &Sources, clock: WallClock, guesses: Guesses) -> Result<Self, LoadError> {
        let Sources { file, jwt_keys, relay_certificates } = sources;
        if file.is_none() && jwt_keys.is_empty() && relay_certificates.is_empty() {
            return Ok(Self::open());
        }
        let mut contents = file.as_deref().map(Contents::load).transpose()?.unwrap_or_default();
        for path in jwt_keys {
            for key in JwtKey::load(path, None, None)? {
                contents.jwts.add(key).map_err(|what| LoadError::new(path, what))?;
            }
        }
        contents.relays.extend(relay_certificates.iter().cloned());
        Ok(Self(Some(Arc::new(Closed { contents, clock, guesses }))))
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }
}

impl Authorize for Rules {
    fn session(&self, peer: &PeerInfo) -> Verdict {
        self.0.as_ref().map_or(Verdict::ALLOWED, |rules| rules.session(peer))
    }

    fn request(&self, ask: &Ask<'_>) -> Verdict {
        self.0.as_ref().map_or(Verdict::ALLOWED, |rules| rules.request(ask))
    }
}

/// What was found of one token.
enum Outcome<'a> {
    Valid(Vec<Credential<'a>>),
    Expired,
    Malformed(&'static str),
    Refused(&'static str),
}

/// A token that holds.
enum Credential<'a> {
    Known(&'a TokenEntry),
    Signed(Arc<Signed>),
}

impl Credential<'_> {
    fn grants(&self) -> &[Grant] {
        match self {
            Self::Known(entry) => &entry.grants,
            Self::Signed(signed) => &signed.grants,
        }
    }

    fn expires(&self) -> Option<Duration> {
        match self {
            Self::Known(entry) => entry.expires,
            Self::Signed(signed) => signed.expires,
        }
    }

    /// Whose it is, for the log.
    fn name(&self) -> &str {
        let name = match self {
            Self::Known(entry) => &entry.name,
            Self::Signed(signed) => &signed.subject,
        };
        name.as_deref().unwrap_or("unnamed")
    }
}

const EXPIRED: &str = "the token has expired";

impl Closed {
    fn session(&self, peer: &PeerInfo) -> Verdict {
        if self.is_relay(peer) {
            return Verdict::ALLOWED;
        }
        let now = self.clock.now();
        if self.is_blocked(peer, now) {
            return blocked();
        }
        let mut valid = Vec::new();
        let mut has_expired = false;
        let mut refused = None;
        for (token, is_token) in of_session(peer) {
            match (self.check(&token, now, Effort::Verify), is_token) {
                (Outcome::Valid(credentials), _) => valid.extend(credentials),
                (Outcome::Expired, _) => has_expired = true,
                (Outcome::Malformed(why), IsToken::Yes) => {
                    self.failed(peer, now);
                    return deny(RequestErrorCode::MalformedAuthToken, why);
                }
                (Outcome::Refused(why), IsToken::Yes) => refused = Some(why),
                (Outcome::Malformed(_) | Outcome::Refused(_), IsToken::Perhaps) => {}
            }
        }
        if let Some(first) = valid.first() {
            tracing::debug!(who = first.name(), "session allowed");
            // A session that needs no token does not end with one; what was granted for it does.
            let latest = latest(&valid).filter(|_| self.contents.sessions_need_token);
            return Verdict::Allow { lasts: latest.map(|at| at.saturating_sub(now)) };
        }
        if refused.is_some() {
            self.failed(peer, now);
        }
        if has_expired {
            return deny(RequestErrorCode::ExpiredAuthToken, EXPIRED);
        }
        if let Some(why) = refused {
            return deny(RequestErrorCode::Unauthorized, why);
        }
        if self.contents.sessions_need_token {
            return deny(
                RequestErrorCode::Unauthorized,
                "a token is needed in SETUP or in the path",
            );
        }
        Verdict::ALLOWED
    }

    fn request(&self, ask: &Ask<'_>) -> Verdict {
        let peer = ask.peer;
        if self.is_relay(peer) {
            return Verdict::ALLOWED;
        }
        let now = self.clock.now();
        let mut own = of_message(ask.tokens).peekable();
        let is_blocked = self.is_blocked(peer, now);
        // Neighbours behind the same address, whose sessions show what is good, go on.
        if is_blocked && own.peek().is_some() {
            return blocked();
        }
        let effort = if is_blocked { Effort::Recall } else { Effort::Verify };
        let mut valid = Vec::new();
        let mut has_expired = false;
        let mut refused = None;
        // A message with a bad token is refused, whatever the session's tokens allow.
        for token in own {
            match self.check(token, now, effort) {
                Outcome::Valid(credentials) => valid.extend(credentials),
                Outcome::Expired => return deny(RequestErrorCode::ExpiredAuthToken, EXPIRED),
                Outcome::Malformed(why) => {
                    self.failed(peer, now);
                    return deny(RequestErrorCode::MalformedAuthToken, why);
                }
                Outcome::Refused(why) => refused = Some(why),
            }
        }
        for (token, is_token) in of_session(peer) {
            match (self.check(&token, now, effort), is_token) {
                (Outcome::Valid(credentials), _) => valid.extend(credentials),
                (Outcome::Expired, _) => has_expired = true,
                (Outcome::Refused(why), IsToken::Yes) => refused = Some(why),
                (Outcome::Malformed(_) | Outcome::Refused(_), _) => {}
            }
        }
        let fit = |credential: &Credential<'_>| {
            credential.grants().iter().map(|grant| grant.fit(ask)).max().unwrap_or(Fit::No)
        };
        let best = valid.iter().map(fit).max();
        let who = valid.first().map_or("nobody", Credential::name);
        let (what, namespace) = (message(ask.what), ask.namespace);
        tracing::debug!(who, what, %namespace, fit = ?best, "request decided");
        if best == Some(Fit::Whole) {
            valid.retain(|credential| fit(credential) == Fit::Whole);
            let lasts = latest(&valid).map(|at| at.saturating_sub(now));
            return Verdict::Allow { lasts };
        }
        // Also who is known, or was, may guess what allows more.
        if refused.is_some() || (best.is_none() && !has_expired) {
            self.failed(peer, now);
        }
        let why = match best {
            _ if has_expired => return deny(RequestErrorCode::ExpiredAuthToken, EXPIRED),
            Some(Fit::InPart) => format!("the token is not for all that {what} is about"),
            Some(_) => format!("the token does not allow {what} here"),
            None => refused.unwrap_or("no token was shown").into(),
        };
        deny(RequestErrorCode::Unauthorized, &why)
    }

    fn check(&self, token: &[u8], now: Duration, effort: Effort) -> Outcome<'_> {
        if token.len() > MAX_TOKEN_LEN {
            return Outcome::Malformed("the token is too long");
        }
        let Contents { tokens, jwts, .. } = &self.contents;
        match find(tokens, token, now) {
            Found::Valid(entries) => {
                Outcome::Valid(entries.into_iter().map(Credential::Known).collect())
            }
            Found::Expired => Outcome::Expired,
            Found::Unknown if !jwts.is_empty() && Jwts::is_alike(token) => {
                match jwts.check(token, now, effort) {
                    Checked::Valid(signed) => Outcome::Valid(vec![Credential::Signed(signed)]),
                    Checked::Expired => Outcome::Expired,
                    Checked::Malformed(why) => Outcome::Malformed(why),
                    Checked::Refused(why) => Outcome::Refused(why),
                }
            }
            Found::Unknown if !jwts.is_empty() && tokens.is_empty() => {
                Outcome::Malformed("the token is no JWT")
            }
            Found::Unknown => Outcome::Refused("the token is not known here"),
        }
    }

    fn is_relay(&self, peer: &PeerInfo) -> bool {
        let is_name =
            |name: &String| peer.certificate_name.as_ref().is_some_and(|own| fits(name, own));
        self.contents.relays.iter().any(is_name)
    }

    fn is_blocked(&self, peer: &PeerInfo, now: Duration) -> bool {
        peer.address.is_some_and(|address| self.guesses.is_blocked(address, now))
    }

    fn failed(&self, peer: &PeerInfo, now: Duration) {
        if let Some(address) = peer.address {
            self.guesses.failed(address, now);
        }
    }
}

/// Whether a certificate's name is one configured: itself, `*.` and the labels after its first, or
/// `*` for all.
fn fits(configured: &str, name: &str) -> bool {
    match configured.strip_prefix("*.") {
        Some(domain) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain)),
        None => configured == "*" || configured.eq_ignore_ascii_case(name),
    }
}

/// Until when one of these holds; `None` if one does for ever.
fn latest(credentials: &[Credential<'_>]) -> Option<Duration> {
    let expiries: Option<Vec<_>> = credentials.iter().map(Credential::expires).collect();
    expiries?.into_iter().max()
}

fn blocked() -> Verdict {
    deny(RequestErrorCode::Unauthorized, "too many attempts have failed: wait, and try again")
}

fn deny(code: RequestErrorCode, why: &str) -> Verdict {
    tracing::debug!(%code, why, "refused");
    Verdict::Deny { code, reason: why.into() }
}
