//! Keys that signed tokens are checked with.

use std::fmt;
use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::file;
use crate::load_error::LoadError;

/// A key for one algorithm, and never for another: what a token says of its algorithm does not
/// choose how the key is used.
#[derive(Clone)]
pub(super) struct JwtKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl JwtKey {
    /// What an algorithm is called in files.
    pub(super) fn algorithm_named(word: &str) -> Result<Algorithm, String> {
        match word {
            "HS256" => Ok(Algorithm::HS256),
            "ES256" => Ok(Algorithm::ES256),
            "EdDSA" => Ok(Algorithm::EdDSA),
            _ => Err(format!("no algorithm `{word}`: there are HS256, ES256 and EdDSA")),
        }
    }

    /// Reads a public key (PEM), a key or a set of keys (JWK), or, for HS256 only, a secret: the
    /// file's bytes without a newline at the end.
    pub(super) fn load(
        path: &Path,
        kid: Option<String>,
        algorithm: Option<Algorithm>,
    ) -> Result<Vec<Self>, LoadError> {
        let bytes = file::read(path)?;
        let keys = match bytes.trim_ascii_start() {
            pem if pem.starts_with(b"-----BEGIN") => Self::from_pem(pem).map(|key| vec![key]),
            json if json.starts_with(b"{") => Self::from_json(json),
            _ if algorithm == Some(Algorithm::HS256) => {
                let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
                Self::hmac(None, secret).map(|key| vec![key])
            }
            _ => Err("is neither PEM nor JWK; if it is a secret, name it in a [[jwt.key]] with \
                      algorithm = \"HS256\""
                .into()),
        };
        let mut keys = keys.map_err(|what| LoadError::new(path, what))?;
        for key in &mut keys {
            if algorithm.is_some_and(|algorithm| algorithm != key.algorithm) {
                let what =
                    format!("is a key for {:?}, and not for the algorithm named", key.algorithm);
                return Err(LoadError::new(path, what));
            }
        }
        match (kid, keys.as_mut_slice()) {
            (None, _) => {}
            (kid, [key]) => key.kid = kid,
            _ => {
                let what = "is a set of keys, each with its own `kid`: name none for the file";
                return Err(LoadError::new(path, what));
            }
        }
        Ok(keys)
    }

    fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let key = DecodingKey::from_ed_pem(pem).map(|key| (Algorithm::EdDSA, key));
        let key = key.or_else(|_| DecodingKey::from_ec_pem(pem).map(|key| (Algorithm::ES256, key)));
        let (algorithm, key) = key.map_err(|_| {
            "is not a public key of Ed25519 or P-256: `openssl pkey -in KEY -pubout` makes one of \
             a private key"
        })?;
        // An uncompressed point of P-256, a key of Ed25519.
        let len = if algorithm == Algorithm::ES256 { 65 } else { 32 };
        if key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == len) {
            Ok(Self { kid: None, algorithm, key })
        } else {
            Err("is a public key of another curve than Ed25519 and P-256".into())
        }
    }

    fn from_json(json: &[u8]) -> Result<Vec<Self>, String> {
        // The parser's words might show a part of a secret.
        let wrong = |error: serde_json::Error| {
            format!("line {}: is neither a JWK nor a set of them", error.line())
        };
        let value: serde_json::Value = serde_json::from_slice(json).map_err(wrong)?;
        let jwks = if value.get("keys").is_some() {
            serde_json::from_value::<JwkSet>(value).map_err(wrong)?.keys
        } else {
            vec![serde_json::from_value::<Jwk>(value).map_err(wrong)?]
        };
        if jwks.is_empty() {
            return Err("is a set without any key".into());
        }
        jwks.iter().map(Self::from_jwk).collect()
    }

    fn from_jwk(jwk: &Jwk) -> Result<Self, String> {
        let kid = jwk.common.key_id.clone();
        let name = kid.as_deref().unwrap_or("without a `kid`");
        let key = DecodingKey::from_jwk(jwk);
        let key = key.map_err(|_| format!("key {name}: its parameters cannot be read"))?;
        let bytes = key.try_get_as_bytes().unwrap_or_default();
        let (algorithm, stated) = match &jwk.algorithm {
            AlgorithmParameters::OctetKey(_) => {
                return match jwk.common.key_algorithm {
                    None | Some(KeyAlgorithm::HS256) => Self::hmac(kid, bytes),
                    Some(other) => Err(format!("key {name}: {other} is not supported, HS256 is")),
                };
            }
            AlgorithmParameters::EllipticCurve(key)
                if key.curve == EllipticCurve::P256 && bytes.len() == 65 =>
            {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key)
                if key.curve == EllipticCurve::Ed25519 && bytes.len() == 32 =>
            {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => {
                return Err(format!(
                    "key {name}: neither HS256, ES256 (P-256) nor EdDSA (Ed25519)"
                ));
            }
        };
        if jwk.common.key_algorithm.is_some_and(|other| other != stated) {
            return Err(format!("key {name}: its `alg` is not what its curve is for"));
        }
        Ok(Self { kid, algorithm, key })
    }

    fn hmac(kid: Option<String>, secret: &[u8]) -> Result<Self, String> {
        // RFC 7518, section 3.2.
        if secret.len() < 32 {
            return Err("a secret for HS256 must have 32 bytes or more: \
                        `openssl rand -hex 32` makes one"
                .into());
        }
        Ok(Self { kid, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
