//! One case as it runs: its connections, and what it waits for.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::io::Stdout;
use std::time::Duration;

use moqt_engine::Draft;
use moqt_engine::model::{MessageKind, SessionError};
use moqt_engine::wire::Dialect;
use moqt_quic::{ClientOptions, ClientTls, ConnectError, Target, TargetError, Verify};
use moqt_session::{Error, Session};
use tokio::time::timeout;

use super::InteropArgs;
use super::tap::{Report, Tap};
use crate::args::tokens;
use crate::failure::Failure;
use crate::progress::hex;
use crate::stack::Stack;

/// How long the relay may take to be reached at all.
const REACH: Duration = Duration::from_secs(2);

/// How long sessions are given to end when their case is over.
const PARTING: Duration = Duration::from_millis(500);

/// The relay under test.
pub(crate) struct Relay {
    target: Target,
    options: ClientOptions,
    stack: Stack,
}

impl Relay {
    pub(crate) fn new(
        url: &str,
        drafts: &[Draft],
        verify: Verify,
        args: &InteropArgs,
    ) -> Result<Self, Failure> {
        let target: Target =
            url.parse().map_err(|error: TargetError| Failure::new(error.to_string()))?;
        let mut options = ClientOptions::default();
        options.drafts = drafts.to_vec();
        options.tls = ClientTls::new(verify);
        options.tls.keylog.clone_from(&args.keylogfile);
        options.trace = crate::qlog::trace(args.qlog.as_deref())?;
        options.engine.authorization_tokens = tokens(args.auth_token.as_deref());
        Ok(Self { target, options, stack: args.drafts.transport })
    }

    /// Sees whether it is there, and which draft it chooses. From then on its address is known: a
    /// name with several must not cost a case its time. `None` if it is there, but makes no
    /// session.
    pub(crate) async fn reach(&mut self) -> Result<Option<Draft>, ConnectError> {
        let mut options = self.options.clone();
        options.connect_timeout = REACH;
        match self.stack.connect(&self.target, &options).await {
            Ok(session) => {
                self.options.address = session.remote_address();
                let draft = session.draft();
                session.close(SessionError::NoError, "");
                let _ = timeout(PARTING, session.closed()).await;
                Ok(Some(draft))
            }
            Err(
                ConnectError::NoCommonDraft { .. }
                | ConnectError::NoHttp3
                | ConnectError::Status { .. }
                | ConnectError::WebTransport(_)
                | ConnectError::Setup(_)
                | ConnectError::Timeout { handshake_complete: true, .. },
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn connect(&self, id: &[u8], limit: Duration) -> Result<Session, ConnectError> {
        let mut options = self.options.clone();
        options.connect_timeout = limit;
        options.initial_connection_id = Some(id.to_vec());
        self.stack.connect(&self.target, &options).await
    }
}

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What went wrong.
    Failed(String),
    /// It cannot be told, and why.
    Skipped(String),
}

impl<E: Display> From<E> for Outcome {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A case that runs.
pub(crate) struct Run<'a> {
    relay: &'a Relay,
    limit: Duration,
    is_strict: bool,
    tap: &'a mut Tap<Stdout>,
    sessions: Vec<Session>,
    report: Report,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        relay: &'a Relay,
        limit: Duration,
        is_strict: bool,
        tap: &'a mut Tap<Stdout>,
    ) -> Self {
        Self { relay, limit, is_strict, tap, sessions: Vec::new(), report: Report::default() }
    }

    /// Whether an error with another code than the draft's is a failure.
    pub(crate) fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// What comes next, by the name that is to be in the report if it does not come.
    pub(crate) fn wait_for(&mut self, what: impl Into<String>) {
        self.report.expected = what.into();
        self.report.received.clear();
        let text = format!("waiting for {}", self.report.expected);
        self.tap.step(&text);
    }

    /// What came.
    pub(crate) fn receive(&mut self, what: impl Into<String>) {
        self.report.received = what.into();
        let text = format!("received {}", self.report.received);
        self.tap.step(&text);
    }

    /// Something else came than was expected.
    pub(crate) fn unexpected(&mut self, what: impl Into<String>, message: &str) -> Outcome {
        self.receive(what);
        Outcome::Failed(message.into())
    }

    /// Connects, up to the peer's SETUP. The role is empty in cases of one connection.
    pub(crate) async fn connect(&mut self, role: &'static str) -> Result<Session, Outcome> {
        let who = if role.is_empty() { "client" } else { role };
        self.tap.step(&format!("{who} connects"));
        self.wait_for("SETUP");
        let id = connection_id();
        // s2n-quic chooses its own and does not tell.
        if self.relay.stack == Stack::Quinn {
            self.report.connections.push((role, hex(&id)));
        }
        match self.relay.connect(&id, self.limit).await {
            Ok(session) => {
                self.receive("SETUP");
                self.sessions.push(session.clone());
                Ok(session)
            }
            Err(ConnectError::Timeout { .. }) => Err(self.timed_out()),
            Err(error) => {
                self.report.received = "no session".into();
                Err(Outcome::Failed(format!("{who}: {error}")))
            }
        }
    }

    /// Ends a session in order; it is an error if the peer has ended it with one.
    pub(crate) async fn close(&mut self, session: &Session) -> Result<(), Outcome> {
        self.wait_for("a session without errors to its end");
        let flushed = session.flushed().await;
        session.close(SessionError::NoError, "");
        let reason = match flushed {
            Ok(()) => session.closed().await,
            Err(reason) => reason,
        };
        if !reason.is_clean() {
            return Err(self.unexpected(reason.to_string(), "the session did not end cleanly"));
        }
        self.receive("a clean end");
        Ok(())
    }

    /// What a request's failure means: an answer that was not expected, or none.
    pub(crate) fn refused(&mut self, dialect: &Dialect, error: &Error) -> Outcome {
        match error {
            Error::Rejected(rejected) => {
                let received = match rejected.raw_code {
                    Some(code) => format!("{} 0x{code:x}", error_name(dialect)),
                    None => "no answer".into(),
                };
                self.unexpected(received, &rejected.to_string())
            }
            error => self.unexpected("the end of the request", &error.to_string()),
        }
    }

    /// The time is up.
    pub(crate) fn timed_out(&mut self) -> Outcome {
        self.report.received = "timeout".into();
        Outcome::Failed(format!("no answer within {} ms", self.limit.as_millis()))
    }

    /// Leaves nothing behind for the next case.
    pub(crate) async fn end(self) -> Report {
        for session in &self.sessions {
            let _ = timeout(PARTING, session.flushed()).await;
            session.close(SessionError::NoError, "");
        }
        for session in &self.sessions {
            let _ = timeout(PARTING, session.closed()).await;
        }
        self.report
    }
}

/// Bytes that are hard to guess. In hexadecimal they begin with a letter, lest a report's reader take
/// them for a number.
fn connection_id() -> [u8; 16] {
    let half = |of: u64| u128::from(RandomState::new().hash_one(of));
    let number = half(0) << 64 | half(1);
    (number & (u128::MAX >> 3) | 0b101 << 125).to_be_bytes()
}

/// What the draft calls the refusal of a request.
pub(crate) fn error_name(dialect: &Dialect) -> &'static str {
    let own = MessageKind::SubscribeError;
    if dialect.message_code(own).is_some() { own.name() } else { MessageKind::RequestError.name() }
}
