//! Why the command did not do what it was asked to: one line for people.

use std::fmt;

/// What went wrong, where, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything that explains itself in one line is a failure as it is.
macro_rules! from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self(error.to_string())
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
        Self(text)
    }
}
