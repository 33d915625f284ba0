//! Connecting and listening, as the command line says.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use moqt_engine::model::SessionError;
use moqt_quic::{
    ClientOptions, ClientTls, ConnectError, Identity, ServerOptions, Target, TargetError, Verify,
};
use moqt_session::Session;

use crate::args::{CertHash, ConnectArgs, DemoArgs, DraftArgs, ListenArgs};
use crate::failure::Failure;
use crate::stack::{Server, Stack};

/// How long to wait for the last bytes to arrive when leaving.
pub(crate) const PARTING: Duration = Duration::from_secs(5);

/// Connects to the URL given.
pub(crate) async fn connect(args: &ConnectArgs) -> Result<Session, Failure> {
    let mut target: Target =
        args.url.parse().map_err(|error: TargetError| Failure::new(error.to_string()))?;
    if args.force_quic {
        target = target.over_quic();
    }
    let verify = verify(args.insecure, args.cert_hash, args.ca.as_deref());
    let mut options = ClientOptions::default();
    options.drafts = args.drafts.list();
    options.tls = ClientTls::new(verify);
    options.tls.keylog.clone_from(&args.keylogfile);
    options.trace = crate::qlog::trace(args.qlog.as_deref())?;
    options.engine.authorization_tokens = args.tokens();
    options.connect_timeout = args.connect_timeout;
    args.drafts.transport.connect(&target, &options).await.map_err(|error| {
        let hint = match error {
            ConnectError::Certificate(_) => " (--ca, --cert-hash, -k)",
            _ => "",
        };
        Failure::new(format!("cannot connect to {}: {error}{hint}", args.url))
    })
}

/// How to know a server, as the command line says.
pub(crate) fn verify(insecure: bool, hash: Option<CertHash>, ca: Option<&Path>) -> Verify {
    match (insecure, hash, ca) {
        (true, ..) => Verify::Insecure,
        (false, Some(hash), _) => Verify::Pinned(vec![hash.0]),
        (false, None, Some(file)) => Verify::CaFile(file.to_owned()),
        (false, None, None) => Verify::System,
    }
}

/// Connects to a server in this process.
pub(crate) async fn connect_for_demo(
    address: SocketAddr,
    hash: [u8; 32],
    args: &DemoArgs,
) -> Result<Session, Failure> {
    connect_here(&demo_url(address, args), Verify::Pinned(vec![hash]), &args.drafts).await
}

/// Connects where it takes nothing but a URL.
pub(crate) async fn connect_here(
    url: &str,
    verify: Verify,
    drafts: &DraftArgs,
) -> Result<Session, Failure> {
    let target: Target =
        url.parse().map_err(|error: TargetError| Failure::new(error.to_string()))?;
    let mut options = ClientOptions::default();
    options.drafts = drafts.list();
    options.tls = ClientTls::new(verify);
    let stack = drafts.transport;
    stack
        .connect(&target, &options)
        .await
        .map_err(|error| Failure::new(format!("cannot connect to {target}: {error}")))
}

/// Where the demo's server is.
pub(crate) fn demo_url(address: SocketAddr, args: &DemoArgs) -> String {
    let scheme = if args.webtransport { "https" } else { "moqt" };
    format!("{scheme}://{address}/demo")
}

/// Somewhere to be connected to.
pub(crate) struct Listener {
    server: Server,
    /// The SHA-256 of its certificate.
    hash: [u8; 32],
    /// The certificate was made up for it.
    is_self_signed: bool,
}

/// Leaves in order: what ends requests is sent before the session is closed.
pub(crate) async fn leave(session: &Session) {
    let _ = tokio::time::timeout(PARTING, session.flushed()).await;
    close(session).await;
}

/// Closes a session. Some stacks say so in a task of their own: this waits until it is said.
pub(crate) async fn close(session: &Session) {
    session.close(SessionError::NoError, "");
    let _ = tokio::time::timeout(PARTING, session.closed()).await;
}

/// Listens where the command line says.
pub(crate) fn listen(args: &ListenArgs) -> Result<Listener, Failure> {
    let (identity, is_self_signed) = identity(args.cert.as_deref(), args.key.as_deref())?;
    let hash = identity.sha256();
    let mut options = ServerOptions::new(identity);
    options.drafts = args.drafts.list();
    options.tls.keylog.clone_from(&args.keylogfile);
    options.trace = crate::qlog::trace(args.qlog.as_deref())?;
    let server = bind(args.drafts.transport, args.bind, &options)?;
    Ok(Listener { server, hash, is_self_signed })
}

/// Listens on 127.0.0.1, for the demo.
pub(crate) fn listen_for_demo(args: &DemoArgs) -> Result<Listener, Failure> {
    listen_here(&args.drafts)
}

/// Listens on 127.0.0.1 with a certificate made up for it.
pub(crate) fn listen_here(drafts: &DraftArgs) -> Result<Listener, Failure> {
    let identity = made_up()?;
    let hash = identity.sha256();
    let mut options = ServerOptions::new(identity);
    options.drafts = drafts.list();
    let server = bind(drafts.transport, (Ipv4Addr::LOCALHOST, 0).into(), &options)?;
    Ok(Listener { server, hash, is_self_signed: true })
}

/// The certificate from these files, or one made up, and whether it is that.
pub(crate) fn identity(
    cert: Option<&Path>,
    key: Option<&Path>,
) -> Result<(Identity, bool), Failure> {
    let Some((cert, key)) = cert.zip(key) else { return Ok((made_up()?, true)) };
    let identity = Identity::from_pem_files(cert, key);
    Ok((identity.map_err(|error| Failure::new(error.to_string()))?, false))
}

fn made_up() -> Result<Identity, Failure> {
    Identity::self_signed([]).map_err(|error| Failure::new(error.to_string()))
}

fn bind(stack: Stack, address: SocketAddr, options: &ServerOptions) -> Result<Server, Failure> {
    stack
        .bind(address, options)
        .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}")))
}

impl Listener {
    /// The next session.
    pub(crate) async fn accept(&self) -> Result<Session, Failure> {
        self.server.accept().await.ok_or_else(|| Failure::new("the socket failed"))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The SHA-256 of its certificate.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Whether the certificate was made up for it.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.is_self_signed
    }

    /// Accepts no more, and lets what was closed say so to its peer.
    pub(crate) async fn close(self) {
        drop(self.server);
        // A close is sent at once; there is nothing to wait for but the socket's task.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
