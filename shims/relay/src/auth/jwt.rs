//! Signed tokens (JWT, RFC 7519).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::crypto::verify;
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::decode_header;
use serde::{Deserialize, Deserializer};

use super::grant::{Grant, Permissions};
use super::jwt_key::JwtKey;
use super::pattern::{NamespacePattern, PatternError};
use super::tokens::TokenHash;

/// Keys altogether; a token without `kid` may have to be held against each.
const MAX_KEYS: usize = 32;
/// Tokens whose signature is known to be right.
const MAX_REMEMBERED: usize = 4096;

/// Keys, what tokens must say beside, and tokens whose signature was right.
#[derive(Debug, Default)]
pub(super) struct Jwts {
    keys: Vec<JwtKey>,
    terms: Terms,
    /// The same token comes with request after request.
    checked: Mutex<HashMap<TokenHash, Arc<Signed>>>,
}

/// What a token must say beside being signed.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// `iss`, if it matters.
    pub(super) issuer: Option<String>,
    /// `aud`: a token that is for somebody else is not good here.
    pub(super) audience: Option<String>,
    /// By how much clocks may differ.
    pub(super) leeway: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { issuer: None, audience: None, leeway: Duration::from_secs(30) }
    }
}

/// What a token with a right signature says.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) subject: Option<String>,
    pub(super) grants: Vec<Grant>,
    /// Until when and from when, since the start of 1970, leeway included.
    pub(super) expires: Option<Duration>,
    not_before: Duration,
}

/// What was found of a token.
#[derive(Debug)]
pub(super) enum Checked {
    /// It holds.
    Valid(Arc<Signed>),
    /// It has held.
    Expired,
    /// It cannot be read, for this reason.
    Malformed(&'static str),
    /// It is nothing here, for this reason.
    Refused(&'static str),
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// A look at those that were right before.
    Recall,
    /// Its signature is verified.
    Verify,
}

impl Jwts {
    pub(super) fn new(terms: Terms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// One more key, or why not.
    pub(super) fn add(&mut self, key: JwtKey) -> Result<(), String> {
        if self.keys.len() >= MAX_KEYS {
            return Err(format!("there are more than {MAX_KEYS} keys for JWTs: remove old ones"));
        }
        if self.keys.iter().any(|other| other.kid.is_some() && other.kid == key.kid) {
            let kid = key.kid.unwrap_or_default();
            return Err(format!("two keys have the `kid` {kid}: give each its own"));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Whether there is none that a token could be signed with.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether something looks like a signed token: three parts with dots between them.
    pub(super) fn is_alike(token: &[u8]) -> bool {
        token.split(|byte| *byte == b'.').count() == 3
    }

    /// What a token says, and whether it holds now.
    pub(super) fn check(&self, token: &[u8], now: Duration, effort: Effort) -> Checked {
        let hash = TokenHash::of(token);
        let known = self.checked.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        let signed = match known {
            Some(signed) => signed,
            None if effort == Effort::Recall => {
                return Checked::Refused("the token is not known here");
            }
            None => match self.verify(token) {
                Ok(signed) => {
                    let signed = Arc::new(signed);
                    let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
                    if checked.len() >= MAX_REMEMBERED {
                        checked.clear();
                    }
                    checked.insert(hash, Arc::clone(&signed));
                    signed
                }
                Err(refused) => return refused,
            },
        };
        if signed.expires.is_some_and(|expires| now >= expires) {
            Checked::Expired
        } else if now < signed.not_before {
            Checked::Refused("the token is not valid yet")
        } else {
            Checked::Valid(signed)
        }
    }

    fn verify(&self, token: &[u8]) -> Result<Signed, Checked> {
        let header = decode_header(token)
            .map_err(|_| Checked::Malformed("the token's header cannot be read"))?;
        // RFC 7515, section 4.1.11: what is marked so must be understood, and nothing is here.
        if header.crit.is_some() {
            return Err(Checked::Malformed("the token's header has `crit`"));
        }
        let is_meant = |key: &&JwtKey| key.algorithm == header.alg;
        let named = |key: &&JwtKey| key.kid.is_some() && key.kid == header.kid;
        let nameless = |key: &&JwtKey| key.kid.is_none() || header.kid.is_none();
        let keys: Vec<_> = match self.keys.iter().find(named) {
            Some(key) => Some(key).into_iter().filter(is_meant).collect(),
            None => self.keys.iter().filter(nameless).filter(is_meant).collect(),
        };
        let unreadable = Checked::Malformed("the token cannot be read");
        let Ok(text) = std::str::from_utf8(token) else { return Err(unreadable) };
        let Some((message, signature)) = text.rsplit_once('.') else { return Err(unreadable) };
        for key in keys {
            match verify(signature, message.as_bytes(), &key.key, key.algorithm) {
                Ok(false) => {}
                // Only now that somebody known has signed them, and without the library's own
                // validation: it has the system's clock, and no patience with a list as `sub`.
                Ok(true) => {
                    let claims = insecure_decode_claims(token);
                    return self.agreed(claims.map_err(|_| unreadable)?);
                }
                Err(_) => return Err(unreadable),
            }
        }
        Err(Checked::Refused("the token is not signed with a key that is known here"))
    }

    fn agreed(&self, claims: Claims) -> Result<Signed, Checked> {
        if self.terms.issuer.is_some() && claims.iss != self.terms.issuer {
            return Err(Checked::Refused("the token is of another issuer"));
        }
        match (&claims.aud, &self.terms.audience) {
            (None, None) => {}
            (Some(audience), Some(wanted)) if audience.0.contains(wanted) => {}
            _ => return Err(Checked::Refused("the token is for another audience")),
        }
        let grants = claims.grants();
        let grants =
            grants.map_err(|_| Checked::Malformed("the token's patterns cannot be read"))?;
        let leeway = self.terms.leeway;
        Ok(Signed {
            subject: claims.sub.and_then(Sub::subject),
            grants,
            expires: claims.exp.map(|exp| exp.0.saturating_add(leeway)),
            not_before: claims.nbf.unwrap_or_default().0.saturating_sub(leeway),
        })
    }
}

/// The claims that matter. That none of them occurs twice the parser sees to.
#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Texts>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<NumericDate>,
    sub: Option<Sub>,
    #[serde(default)]
    root: String,
    #[serde(default)]
    publish: Texts,
    #[serde(default)]
    subscribe: Texts,
    #[serde(default, rename = "pub")]
    pub_: Texts,
    #[serde(default)]
    put: Texts,
    #[serde(default)]
    get: Texts,
}

impl Claims {
    fn grants(&self) -> Result<Vec<Grant>, PatternError> {
        let root = NamespacePattern::prefix(&self.root)?;
        let prefixes_of_sub = match &self.sub {
            Some(Sub::Prefixes(prefixes)) => prefixes.as_slice(),
            _ => &[],
        };
        let grant = |permissions, patterns: &Texts, prefixes: [&[String]; 2]| {
            let patterns = patterns.0.iter().map(|text| text.parse::<NamespacePattern>());
            let prefixes = prefixes.into_iter().flatten();
            let prefixes = prefixes.map(|text| NamespacePattern::prefix(text));
            let all = patterns.chain(prefixes).map(|pattern| Ok(pattern?.beneath(&root)));
            Ok(Grant { permissions, namespaces: all.collect::<Result<_, _>>()?, track: None })
        };
        Ok(vec![
            grant(Permissions::PUBLISHER, &self.publish, [&self.pub_.0, &self.put.0])?,
            grant(Permissions::SUBSCRIBER, &self.subscribe, [prefixes_of_sub, &self.get.0])?,
        ])
    }
}

/// A claim that, if it is there, says something: `null` is not "without end".
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// One text or several.
#[derive(Default, Deserialize)]
#[serde(from = "OneOrMany")]
struct Texts(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Texts {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => Self(vec![text]),
            OneOrMany::Many(texts) => Self(texts),
        }
    }
}

/// Who the token is about (RFC 7519), or prefixes that may be subscribed to (moq-token). A text is
/// the former: nobody means to grant something by saying who it is granted to.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sub {
    Subject(String),
    Prefixes(Vec<String>),
}

impl Sub {
    fn subject(self) -> Option<String> {
        match self {
            Self::Subject(subject) => Some(subject),
            Self::Prefixes(_) => None,
        }
    }
}

/// Seconds since the start of 1970, also with a fraction (RFC 7519, section 2).
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(try_from = "f64")]
struct NumericDate(Duration);

impl TryFrom<f64> for NumericDate {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| "not a time since 1970")
    }
}
