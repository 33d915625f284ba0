//! TLS for s2n-quic, by its rustls provider.

use std::sync::{Arc, Mutex, PoisonError};

use moqt_quic::{ClientTls, ConfigError, ServerTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use s2n_quic::provider::tls::rustls as provider;

/// A client's configuration, and where it is found why a certificate was not accepted: s2n-quic
/// only says that one was not.
pub(crate) fn client(
    tls: &ClientTls,
    alpn: Vec<Vec<u8>>,
) -> Result<(provider::Client, Refusal), ConfigError> {
    let crypto = Arc::new(default_provider());
    let refusal = Refusal::default();
    let inner = tls.verifier(crypto.clone())?;
    let mut config = tls.config(alpn, crypto)?;
    let verifier = Noting { inner, refusal: refusal.clone() };
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    Ok((config.into(), refusal))
}

/// A server's configuration.
pub(crate) fn server(tls: &ServerTls, alpn: Vec<Vec<u8>>) -> Result<provider::Server, ConfigError> {
    Ok(tls.config(alpn, Arc::new(default_provider()))?.into())
}

/// Why the last certificate that was not accepted was not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Notes why a certificate is not accepted.
#[derive(Debug)]
struct Noting {
    inner: Arc<dyn ServerCertVerifier>,
    refusal: Refusal,
}

impl Noting {
    fn noted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let mut refusal = self.refusal.0.lock().unwrap_or_else(PoisonError::into_inner);
            *refusal = Some(error.to_string());
        }
        result
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        self.noted(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.noted(self.inner.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.noted(self.inner.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
