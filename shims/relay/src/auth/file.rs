//! The file that says who may do what.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::{Spanned, Value};

use super::grant::{Grant, Permissions};
use super::jwt::{Jwts, Terms};
use super::jwt_key::JwtKey;
use super::tokens::{TokenEntry, TokenHash};
use crate::load_error::LoadError;

/// The largest file that is read.
const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;

/// All that a file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) tokens: Vec<TokenEntry>,
    pub(super) jwts: Jwts,
    /// Names of relays' certificates.
    pub(super) relays: Vec<String>,
    pub(super) sessions_need_token: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<Spanned<TokenTable>>,
    #[serde(default)]
    jwt: JwtTable,
    #[serde(default)]
    relays: RelaysTable,
    #[serde(default)]
    sessions: SessionsTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenTable {
    name: Option<String>,
    // Not `String`: an error about the type would show the value.
    token: Option<Spanned<Value>>,
    sha256: Option<Spanned<Value>>,
    permissions: Vec<Spanned<String>>,
    namespaces: Vec<Spanned<String>>,
    track: Option<Spanned<String>>,
    expires: Option<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct JwtTable {
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Option<Spanned<u64>>,
    #[serde(default)]
    key: Vec<Spanned<KeyTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyTable {
    kid: Option<String>,
    algorithm: Option<Spanned<String>>,
    file: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RelaysTable {
    #[serde(default)]
    certificates: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionsTable {
    #[serde(default)]
    need_token: bool,
}

impl Contents {
    /// Reads a file, and the keys that it names; their paths are relative to its folder.
    pub(super) fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| LoadError::new(path, "is not UTF-8: save it as UTF-8"))?;
        Reader { path, text: &text }.contents()
    }
}

/// A file's bytes, unless it is unreasonably long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let cannot = |error| LoadError::new(path, format!("cannot be read: {error}"));
    let len = std::fs::metadata(path).map_err(cannot)?.len();
    if len > MAX_FILE_LEN {
        return Err(LoadError::new(path, format!("has {len} bytes, more than {MAX_FILE_LEN}")));
    }
    std::fs::read(path).map_err(cannot)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn contents(&self) -> Result<Contents, LoadError> {
        // The error's own text shows the line, and with it perhaps a token.
        let document: Document = toml::from_str(self.text).map_err(|error| {
            let place = error.span().unwrap_or_default();
            LoadError::at(self.path, self.text, place, error.message())
        })?;
        let tokens = document.token.into_iter().map(|token| self.token(token));
        let relays = document.relays.certificates.into_iter().map(|name| self.relay(name));
        Ok(Contents {
            tokens: tokens.collect::<Result<_, _>>()?,
            relays: relays.collect::<Result<_, _>>()?,
            jwts: self.jwts(document.jwt)?,
            sessions_need_token: document.sessions.need_token,
        })
    }

    fn token(&self, token: Spanned<TokenTable>) -> Result<TokenEntry, LoadError> {
        let place = token.span();
        let token = token.into_inner();
        let hash = match (token.token, token.sha256) {
            (Some(token), None) => match token.get_ref().as_str() {
                None | Some("") => {
                    return Err(self.error(&token, "`token` must be a text that is not empty"));
                }
                Some(token) => TokenHash::of(token.as_bytes()),
            },
            (None, Some(hash)) => {
                let wrong = "`sha256` must be a text of 64 hex digits, \
                             as `printf %s TOKEN | sha256sum` prints it";
                let digits = hash.get_ref().as_str().and_then(TokenHash::from_hex);
                digits.ok_or_else(|| self.error(&hash, wrong))?
            }
            _ => {
                let what = "a [[token]] needs one of `token` and `sha256`";
                return Err(LoadError::at(self.path, self.text, place, what));
            }
        };
        if token.permissions.is_empty() || token.namespaces.is_empty() {
            let what = "a [[token]] without `permissions` or `namespaces` allows nothing: \
                        name some, or remove it";
            return Err(LoadError::at(self.path, self.text, place, what));
        }
        let mut permissions = Permissions::default();
        for word in &token.permissions {
            let named = Permissions::named(word.get_ref()).ok_or_else(|| {
                let known = Permissions::words();
                self.error(word, format!("no permission `{}`: there are {known}", word.get_ref()))
            })?;
            permissions = permissions.and(named);
        }
        let namespaces = token.namespaces.iter().map(|pattern| self.parse(pattern));
        let grant = Grant {
            permissions,
            namespaces: namespaces.collect::<Result<_, _>>()?,
            track: token.track.as_ref().map(|track| self.parse(track)).transpose()?,
        };
        Ok(TokenEntry {
            hash,
            name: token.name,
            grants: vec![grant],
            expires: token.expires.map(|expires| self.expires(&expires)).transpose()?,
        })
    }

    fn expires(&self, value: &Spanned<Value>) -> Result<Duration, LoadError> {
        let text = match value.get_ref() {
            Value::Datetime(time) => time.to_string(),
            Value::String(text) => text.clone(),
            Value::Integer(seconds) => seconds.to_string(),
            _ => String::new(),
        };
        let seconds = text
            .parse::<i64>()
            .ok()
            .or_else(|| Some(OffsetDateTime::parse(&text, &Rfc3339).ok()?.unix_timestamp()));
        let wrong = "`expires` must be a time such as 2030-01-31T12:00:00Z (with Z or an offset \
                     at its end), or seconds since the start of 1970";
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Duration::from_secs(seconds.ok_or_else(|| self.error(value, wrong))?))
    }

    fn jwts(&self, jwt: JwtTable) -> Result<Jwts, LoadError> {
        const MAX_LEEWAY: u64 = 600;
        let mut terms = Terms { issuer: jwt.issuer, audience: jwt.audience, ..Terms::default() };
        if let Some(leeway) = jwt.leeway {
            if *leeway.get_ref() > MAX_LEEWAY {
                return Err(self.error(&leeway, format!("`leeway` is over {MAX_LEEWAY} seconds")));
            }
            terms.leeway = Duration::from_secs(leeway.into_inner());
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut jwts = Jwts::new(terms);
        for key in jwt.key {
            let place = key.span();
            let key = key.into_inner();
            let file = folder.join(&key.file);
            let algorithm = key.algorithm.as_ref().map(|word| (word.get_ref().as_str(), word));
            let algorithm = algorithm
                .map(|(word, at)| {
                    JwtKey::algorithm_named(word).map_err(|what| self.error(at, what))
                })
                .transpose()?;
            for key in JwtKey::load(&file, key.kid, algorithm)? {
                jwts.add(key)
                    .map_err(|what| LoadError::at(self.path, self.text, place.clone(), what))?;
            }
        }
        Ok(jwts)
    }

    fn relay(&self, name: Spanned<String>) -> Result<String, LoadError> {
        let text = name.get_ref().strip_prefix("*.").unwrap_or(name.get_ref());
        if text.is_empty() || text.contains('*') {
            let wrong =
                "a certificate's name is written whole, or with `*.` before it for one label";
            return Err(self.error(&name, wrong));
        }
        Ok(name.into_inner())
    }

    fn parse<T: std::str::FromStr<Err = super::PatternError>>(
        &self,
        text: &Spanned<String>,
    ) -> Result<T, LoadError> {
        text.get_ref()
            .parse()
            .map_err(|error| self.error(text, format!("in `{}` {error}", text.get_ref())))
    }

    fn error<T>(&self, at: &Spanned<T>, what: impl Into<String>) -> LoadError {
        LoadError::at(self.path, self.text, at.span(), what)
    }
}
