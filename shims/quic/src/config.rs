use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use moqt_engine::{Config, Draft};
use moqt_webtransport::Request;

use crate::error::ConfigError;
use crate::options::{ClientOptions, ServerOptions};
use crate::target::{Scheme, Target};
use crate::trace::Trace;

/// The ALPN identifier of HTTP/3 (RFC 9114, section 3.1), on which WebTransport stands.
pub(crate) const H3: &[u8] = b"h3";

/// What a [`Connection`](crate::Connection) makes its session with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// The engine's configuration.
    pub engine: Arc<Config>,
    /// The drafts to offer or to choose from.
    pub drafts: Vec<Draft>,
    /// What carries the sessions of a server: raw QUIC and WebTransport.
    pub schemes: Vec<Scheme>,
    /// What a client asks for over WebTransport. Without it, it speaks raw QUIC.
    pub request: Option<Request>,
    /// Traces the session.
    pub trace: Option<Trace>,
}

impl SessionConfig {
    /// With this engine and these drafts, over raw QUIC for a client, over anything for a server.
    pub fn new(engine: Arc<Config>, drafts: &[Draft]) -> Self {
        let mut drafts = drafts.to_vec();
        drafts.sort_unstable_by(|a, b| b.cmp(a));
        drafts.dedup();
        let schemes = vec![Scheme::Quic, Scheme::WebTransport];
        Self { engine, drafts, schemes, request: None, trace: None }
    }

    /// For a client with these options at this target. The engine coalesces payloads below
    /// `coalesce_below` bytes unless its configuration says otherwise.
    pub fn client(target: &Target, options: &ClientOptions, coalesce_below: usize) -> Self {
        let mut engine = open_fields_filled(options.engine.clone(), coalesce_below);
        let mut request = None;
        match target.scheme() {
            Scheme::Quic => {
                let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
                engine.path = Some(target.path()).filter(|path| !path.is_empty()).map(bytes);
                engine.authority = Some(bytes(target.authority()));
            }
            Scheme::WebTransport => request = Some(target.request()),
        }
        let mut session = Self::new(Arc::new(engine), &options.drafts);
        session.request = request;
        session.trace.clone_from(&options.trace);
        session
    }

    /// For a server with these options; `coalesce_below` as in [`client`](Self::client).
    pub fn server(options: &ServerOptions, coalesce_below: usize) -> Self {
        let engine = open_fields_filled(options.engine.clone(), coalesce_below);
        let mut session = Self::new(Arc::new(engine), &options.drafts);
        session.schemes.clone_from(&options.schemes);
        session.trace.clone_from(&options.trace);
        session
    }

    /// What a client offers in TLS.
    pub fn client_alpn(&self) -> Result<Vec<Vec<u8>>, ConfigError> {
        self.alpn(&[if self.request.is_some() { Scheme::WebTransport } else { Scheme::Quic }])
    }

    /// What a server takes in TLS: the first of these that the client offers.
    pub fn server_alpn(&self) -> Result<Vec<Vec<u8>>, ConfigError> {
        self.alpn(&self.schemes)
    }

    /// For raw QUIC an identifier of each draft, newest first; for WebTransport HTTP/3's, within
    /// which the drafts are negotiated.
    pub fn alpn(&self, schemes: &[Scheme]) -> Result<Vec<Vec<u8>>, ConfigError> {
        if self.drafts.is_empty() || schemes.is_empty() {
            return Err(ConfigError::NoDrafts);
        }
        let mut identifiers = Vec::new();
        if schemes.contains(&Scheme::Quic) {
            identifiers.extend(self.drafts.iter().map(|draft| draft.alpn().to_vec()));
        }
        if schemes.contains(&Scheme::WebTransport) {
            identifiers.push(H3.to_vec());
        }
        Ok(identifiers)
    }
}

/// The engine's configuration with what suits a transport, where it was left open.
fn open_fields_filled(mut config: Config, coalesce_below: usize) -> Config {
    if config.coalesce_below == 0 {
        config.coalesce_below = coalesce_below;
    }
    if config.hash_seed == 0 {
        config.hash_seed = RandomState::new().build_hasher().finish();
    }
    config
}
