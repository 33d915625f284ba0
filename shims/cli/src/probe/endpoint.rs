//! Sessions, made to see whether they can be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use moqt_engine::Draft;
use moqt_engine::model::{AuthToken, SessionError, SetupOptions};
use moqt_quic::{ClientOptions, ClientTls, ConnectError, Scheme, Target, Trace, Verify};
use moqt_session::Session;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::list::{Endpoint, Listed};
use super::report::{EndpointReport, ProbeReport, RelayReport};
use crate::stack::Stack;

/// Sessions at a time, in all: each needs a socket.
static SESSIONS: Semaphore = Semaphore::const_new(256);

/// How long a close may take to be sent.
const PARTING: Duration = Duration::from_secs(1);

/// How to probe.
pub(crate) struct Prober {
    /// Newest first.
    pub(crate) drafts: Vec<Draft>,
    /// All of them are offered in one session.
    pub(crate) is_offer: bool,
    pub(crate) stack: Stack,
    pub(crate) verify: Verify,
    /// How those are verified that are to be: read when the first is.
    pub(crate) strict: OnceLock<Verify>,
    /// Where TLS secrets go.
    pub(crate) keylog: Option<PathBuf>,
    pub(crate) trace: Option<Trace>,
    pub(crate) tokens: Vec<AuthToken>,
    pub(crate) timeout: Duration,
}

impl Prober {
    /// Probes all endpoints of a relay, all at once.
    pub(crate) async fn relay(self: &Arc<Self>, relay: &Listed) -> RelayReport {
        let mut probes = JoinSet::new();
        for (at, endpoint) in relay.endpoints.iter().cloned().enumerate() {
            let prober = self.clone();
            probes.spawn(async move { (at, prober.endpoint(&endpoint).await) });
        }
        let reports: BTreeMap<usize, EndpointReport> =
            probes.join_all().await.into_iter().collect();
        let endpoints: Vec<_> = reports.into_values().collect();
        let mut drafts: Vec<u8> =
            endpoints.iter().flat_map(|endpoint| endpoint.drafts.clone()).collect();
        drafts.sort_unstable();
        drafts.dedup();
        RelayReport {
            name: relay.name.clone(),
            live: endpoints.iter().any(|endpoint| endpoint.live),
            drafts,
            endpoints,
        }
    }

    async fn endpoint(self: Arc<Self>, endpoint: &Endpoint) -> EndpointReport {
        let target: Target = match endpoint.url.parse() {
            Ok(target) => target,
            Err(error) => return not_a_url(&endpoint.url, &error),
        };
        let is_verified = endpoint.verify_tls.unwrap_or(self.verify != Verify::Insecure);
        let verify = if is_verified { self.strict().clone() } else { Verify::Insecure };
        let offers: Vec<Vec<Draft>> = if self.is_offer {
            vec![self.drafts.clone()]
        } else {
            self.drafts.iter().map(|draft| vec![*draft]).collect()
        };
        let mut attempts = JoinSet::new();
        for (at, drafts) in offers.into_iter().enumerate() {
            let (prober, target, verify) = (self.clone(), target.clone(), verify.clone());
            attempts.spawn(async move { (at, prober.attempt(&target, drafts, verify).await) });
        }
        let attempts: BTreeMap<usize, Attempt> = attempts.join_all().await.into_iter().collect();
        let attempts: Vec<_> = attempts.into_values().collect();
        self.report(endpoint, &target, &attempts)
    }

    /// How to verify a relay whatever the command line says. The roots are the same for all.
    fn strict(&self) -> &Verify {
        self.strict.get_or_init(|| {
            let verify = match &self.verify {
                Verify::Insecure => Verify::System,
                verify => verify.clone(),
            };
            // If they cannot be read, each attempt says so.
            verify.clone().loaded().unwrap_or(verify)
        })
    }

    /// Makes a session and ends it in order.
    async fn attempt(&self, target: &Target, drafts: Vec<Draft>, verify: Verify) -> Attempt {
        // It is never closed.
        let _permit = SESSIONS.acquire().await;
        let mut options = ClientOptions::default();
        options.drafts = drafts;
        options.tls = ClientTls::new(verify);
        options.tls.keylog.clone_from(&self.keylog);
        options.trace.clone_from(&self.trace);
        options.engine.authorization_tokens.clone_from(&self.tokens);
        options.connect_timeout = self.timeout;
        let began = Instant::now();
        let connected = self.stack.connect(target, &options).await;
        let took = began.elapsed();
        let outcome = match connected {
            Ok(session) => {
                session.close(SessionError::NoError, "");
                let _ = timeout(PARTING, session.closed()).await;
                Ok(Answer::of(&session))
            }
            Err(error) => Err(error),
        };
        Attempt { outcome, took }
    }

    fn report(&self, endpoint: &Endpoint, target: &Target, attempts: &[Attempt]) -> EndpointReport {
        let answered = |attempt: &Attempt| attempt.outcome.as_ref().ok().map(|answer| answer.draft);
        let mut drafts: Vec<Draft> = attempts.iter().filter_map(answered).collect();
        drafts.sort_unstable();
        let newest = drafts.last().copied();
        let best = attempts.iter().find(|attempt| answered(attempt) == newest && newest.is_some());
        let took = best.map(|best| best.took);
        let took = took.or_else(|| attempts.iter().map(|attempt| attempt.took).max());
        EndpointReport {
            url: endpoint.url.clone(),
            transport: transport(target.scheme()),
            host: target.host().to_owned(),
            port: target.port(),
            live: newest.is_some(),
            drafts: drafts.iter().map(|draft| draft.number()).collect(),
            draft: newest.map(Draft::number),
            latency_ms: took.map_or(0, millis),
            probes: attempts.iter().map(|attempt| attempt.report(target.scheme())).collect(),
            error: newest.is_none().then(|| self.reason(attempts)),
        }
    }

    /// Why no draft was answered: what is more than that the server does not speak it.
    fn reason(&self, attempts: &[Attempt]) -> String {
        let errors = || attempts.iter().filter_map(|attempt| attempt.outcome.as_ref().err());
        let telling = errors().find(|error| !matches!(error, ConnectError::NoCommonDraft { .. }));
        if let Some(error) = telling {
            return short(error);
        }
        let drafts: Vec<_> = self.drafts.iter().map(|draft| draft.number().to_string()).collect();
        format!("speaks none of the drafts {}", drafts.join(", "))
    }
}

/// An attempt to make a session.
struct Attempt {
    outcome: Result<Answer, ConnectError>,
    took: Duration,
}

/// What a relay that made one has said.
struct Answer {
    draft: Draft,
    options: SetupOptions,
}

impl Answer {
    fn of(session: &Session) -> Self {
        Self { draft: session.draft(), options: session.info().setup.options.clone() }
    }

    fn params(&self) -> BTreeMap<&'static str, serde_json::Value> {
        let SetupOptions { max_request_id, max_auth_token_cache_size, implementation, .. } =
            &self.options;
        let implementation =
            implementation.as_ref().map(|name| String::from_utf8_lossy(name).into_owned());
        let params = [
            ("MAX_REQUEST_ID", max_request_id.map(Into::into)),
            ("MAX_AUTH_TOKEN_CACHE_SIZE", max_auth_token_cache_size.map(Into::into)),
            ("MOQT_IMPLEMENTATION", implementation.map(Into::into)),
        ];
        params.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Attempt {
    fn report(&self, scheme: Scheme) -> ProbeReport {
        let answer = match &self.outcome {
            Ok(answer) => answer,
            Err(error) => {
                return ProbeReport { error: Some(error.to_string()), ..ProbeReport::default() };
            }
        };
        let alpn = match scheme {
            Scheme::Quic => String::from_utf8_lossy(answer.draft.alpn()).into_owned(),
            Scheme::WebTransport => "h3".into(),
        };
        ProbeReport {
            live: true,
            draft: Some(answer.draft.number()),
            version_hex: Some(format!("0xff{:06x}", answer.draft.number())),
            alpn: Some(alpn),
            params: answer.params(),
            error: None,
        }
    }
}

fn not_a_url(url: &str, error: &moqt_quic::TargetError) -> EndpointReport {
    let is_http = url.starts_with("https:");
    EndpointReport {
        url: url.to_owned(),
        transport: transport(if is_http { Scheme::WebTransport } else { Scheme::Quic }),
        host: String::new(),
        port: 0,
        live: false,
        drafts: Vec::new(),
        draft: None,
        latency_ms: 0,
        probes: Vec::new(),
        error: Some(error.to_string()),
    }
}

fn transport(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Quic => "QUIC",
        Scheme::WebTransport => "H3/WT",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why there is no session, in a few words.
fn short(error: &ConnectError) -> String {
    match error {
        ConnectError::Resolve { .. } => "no such host".into(),
        ConnectError::Timeout { handshake_complete: false, .. } => "no answer".into(),
        ConnectError::Timeout { handshake_complete: true, .. } => "no SETUP".into(),
        ConnectError::NoCommonDraft { .. } => "speaks another draft".into(),
        ConnectError::NoHttp3 => "no HTTP/3".into(),
        ConnectError::Status { status, .. } => format!("HTTP status {status}"),
        ConnectError::WebTransport(_) => "WebTransport failed".into(),
        ConnectError::Certificate(_) => "certificate not accepted".into(),
        ConnectError::Refused(_) => "refused".into(),
        ConnectError::Quic(_) => "QUIC failed".into(),
        ConnectError::Setup(reason) => format!("SETUP failed: {reason}"),
        error => error.to_string(),
    }
}
