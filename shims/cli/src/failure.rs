//! Why the command did not do what it was asked to: one line for people.

use std::fmt;
use std::process::ExitCode;

/// What went wrong, where, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    status: u8,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::with_status(text, 1)
    }

    /// A failure that has an exit status of its own.
    pub(crate) fn with_status(text: impl Into<String>, status: u8) -> Self {
        Self { text: text.into(), status }
    }

    /// What the command is to exit with.
    pub(crate) fn status(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Everything that explains itself in one line is a failure as it is.
macro_rules! from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })*
    };
}

from!(
    std::io::Error,
    moqt_session::Error,
    moqt_session::WriteError,
    moqt_engine::CloseReason,
    moqt_engine::CommandError,
    crate::source::SourceError,
    moqt_engine::wire::EncodeError,
    moqt_quic::ConfigError,
    moqt_relay_server::StartError,
    moqt_relay_server::auth::LoadError,
);

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}
