use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{KeyLog, KeyLogFile, RootCertStore};

use crate::error::ConfigError;
use crate::verify::{DirectVerifier, sha256};

/// How a client knows that the server is the right one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Verify {
    /// By a chain to one of the system's roots, and its name. `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` say otherwise where they are set.
    #[default]
    System,
    /// By a chain to one of the certificates in this PEM file, and its name.
    CaFile(PathBuf),
    /// By the SHA-256 of its certificate, in DER. Its name and dates do not matter.
    Pinned(Vec<[u8; 32]>),
    /// By a chain to one of these certificates, and its name.
    Roots(Roots),
    /// Not at all. Anybody in between can read and change everything: for tests only.
    Insecure,
}

impl Verify {
    /// The same, with what has to be read for it read now, once: for those who make many
    /// connections.
    pub fn loaded(self) -> Result<Self, ConfigError> {
        Ok(match self {
            Self::System => Self::Roots(Roots(Arc::new(system_roots()?))),
            Self::CaFile(path) => Self::Roots(Roots(Arc::new(roots_from(&path)?))),
            other => other,
        })
    }
}

/// Certificates that are trusted, from [`Verify::loaded`]. Clones are the same.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Roots {}

/// A client's side of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClientTls {
    /// How to know that the server is the right one.
    pub verify: Verify,
    /// Where to log the secrets of connections, for tools that decrypt captures. Otherwise
    /// they are logged where the environment variable `SSLKEYLOGFILE` says, if it is set.
    pub keylog: Option<PathBuf>,
    /// PEM files of a certificate chain and its key, to show to servers that ask who the client
    /// is: none.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// This way of knowing the server, no log of secrets but the environment's, and no certificate.
    pub fn new(verify: Verify) -> Self {
        Self { verify, keylog: None, certificate: None }
    }

    /// The configuration for rustls: TLS 1.3 with these ALPN identifiers, the one liked best first,
    /// and the algorithms of the QUIC stack's choice.
    pub fn config(
        &self,
        alpn: Vec<Vec<u8>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<rustls::ClientConfig, ConfigError> {
        let verifier = self.verifier(provider.clone())?;
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(ConfigError::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some((certificates, key)) => {
                let Identity { chain, key } = Identity::from_pem_files(certificates, key)?;
                config.with_client_auth_cert(chain, key).map_err(ConfigError::Tls)?
            }
        };
        config.alpn_protocols = alpn;
        config.key_log = key_log(self.keylog.as_deref())?;
        Ok(config)
    }

    /// What knows the server, for stacks that have to wrap it: [`config`](Self::config) has it.
    pub fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let roots = match &self.verify {
            Verify::System => Arc::new(system_roots()?),
            Verify::CaFile(path) => Arc::new(roots_from(path)?),
            Verify::Roots(Roots(roots)) => roots.clone(),
            Verify::Pinned(hashes) => {
                return Ok(Arc::new(DirectVerifier::new(provider, Some(hashes.clone()))));
            }
            Verify::Insecure => return Ok(Arc::new(DirectVerifier::new(provider, None))),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
        let built = verifier.build();
        built
            .map_err(|error| ConfigError::Tls(rustls::Error::General(error.to_string())))
            .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
    }
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl Identity {
    /// A certificate chain, the server's own first, and its key, from PEM files.
    pub fn from_pem_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let (certificates, key) = (certificates.into(), key.into());
        let chain = certificates_from(&certificates)?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| ConfigError::File {
            path: key,
            what: "a private key",
            reason: error.to_string(),
        })?;
        Ok(Self { chain, key })
    }

    /// A certificate made on the spot: ECDSA on P-256, valid for 13 days from now (browsers
    /// accept pinned ones for 14 at most), for `localhost`, `127.0.0.1`, `::1` and whatever
    /// else is named.
    #[cfg(feature = "self-signed")]
    pub fn self_signed<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
        use rustls::pki_types::PrivatePkcs8KeyDer;

        let fail = |error: rcgen::Error| ConfigError::SelfSigned(error.to_string());
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        all.extend(names.into_iter().map(str::to_owned));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(fail)?;
        let mut params = CertificateParams::new(all).map_err(fail)?;
        let now = std::time::SystemTime::now();
        // A clock that is a little behind must not find it in the future.
        let begin = std::time::Duration::from_secs(60 * 60);
        let valid = std::time::Duration::from_secs(13 * 24 * 60 * 60);
        params.not_before = now.checked_sub(begin).unwrap_or(now).into();
        params.not_after = now.checked_add(valid).unwrap_or(now).into();
        let certificate = params.self_signed(&key).map_err(fail)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Self { chain: vec![certificate.der().clone()], key })
    }

    /// The chain as PEM, for [`Verify::CaFile`].
    pub fn to_pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.chain {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            push_base64(&mut pem, certificate);
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }

    /// The SHA-256 of the server's own certificate, for [`Verify::Pinned`].
    pub fn sha256(&self) -> [u8; 32] {
        self.chain.first().map(|certificate| sha256(certificate)).unwrap_or_default()
    }
}

/// Base64 (RFC 4648) in lines of 64.
fn push_base64(text: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for line in bytes.chunks(48) {
        for group in line.chunks(3) {
            let byte = |at: usize| group.get(at).map_or(0, |byte| u32::from(*byte));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let index = (bits >> (18 - 6 * at) & 0x3f) as usize;
                let symbol = ALPHABET.get(index).filter(|_| at <= group.len());
                text.push(symbol.map_or('=', |symbol| char::from(*symbol)));
            }
        }
        text.push('\n');
    }
}

/// A server's side of TLS.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerTls {
    /// Its certificate and key.
    pub identity: Identity,
    /// Where to log the secrets of connections; see [`ClientTls::keylog`].
    pub keylog: Option<PathBuf>,
    /// A PEM file of certificate authorities by which clients may prove who they are: none. Those
    /// who show no certificate are taken, too; those whose certificate is not valid are not.
    pub client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// This certificate, no log of secrets but the environment's, and no certificates of clients.
    pub fn new(identity: Identity) -> Self {
        Self { identity, keylog: None, client_ca: None }
    }

    /// The configuration for rustls: TLS 1.3 with these ALPN identifiers, of which the first that
    /// the client offers is chosen, and the algorithms of the QUIC stack's choice.
    pub fn config(
        &self,
        alpn: Vec<Vec<u8>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<rustls::ServerConfig, ConfigError> {
        let Identity { chain, key } = self.identity.clone();
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(ConfigError::Tls)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(roots_from(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = verifier.allow_unauthenticated().build();
                let verifier = verifier
                    .map_err(|error| ConfigError::Tls(rustls::Error::General(error.to_string())));
                builder.with_client_cert_verifier(verifier?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(ConfigError::Tls)?;
        config.alpn_protocols = alpn;
        config.key_log = key_log(self.keylog.as_deref())?;
        Ok(config)
    }
}

/// The first DNS name that a certificate states, the first of a chain that was verified.
pub fn certificate_name(chain: &[CertificateDer<'_>]) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(chain.first()?).ok()?;
    let name = certificate.valid_dns_names().next()?;
    Some(name.to_owned())
}

fn certificates_from(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let fail =
        |reason: String| ConfigError::File { path: path.to_owned(), what: "certificates", reason };
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))?.collect();
    let found = found.map_err(|error| fail(error.to_string()))?;
    if found.is_empty() { Err(fail("there is none in it".into())) } else { Ok(found) }
}

fn roots_from(path: &Path) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_from(path)? {
        roots.add(certificate).map_err(|error| ConfigError::File {
            path: path.to_owned(),
            what: "certificates",
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, ConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems keep odd ones among them: those are passed by.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "none found".into(),
        };
        return Err(ConfigError::NoRoots { reason });
    }
    Ok(roots)
}

fn key_log(path: Option<&Path>) -> Result<Arc<dyn KeyLog>, ConfigError> {
    let Some(path) = path else { return Ok(Arc::new(KeyLogFile::new())) };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let file = file.map_err(|error| ConfigError::File {
        path: path.to_owned(),
        what: "(or append to it) the log of secrets",
        reason: error.to_string(),
    })?;
    Ok(Arc::new(KeyLogTo(Mutex::new(file))))
}

/// Logs secrets to a file, in the format of NSS.
#[derive(Debug)]
struct KeyLogTo(Mutex<File>);

impl KeyLog for KeyLogTo {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = label.to_owned();
        for bytes in [client_random, secret] {
            line.push(' ');
            // Writing to a string does not fail.
            let _ = bytes.iter().try_for_each(|byte| write!(line, "{byte:02x}"));
        }
        line.push('\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not end the connection.
        let _ = file.write_all(line.as_bytes());
    }
}
