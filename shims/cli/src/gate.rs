//! Who is served.

use std::sync::Arc;

use moqt_engine::Refusal;
use moqt_engine::model::{AuthToken, RequestErrorCode};
use moqt_session::{Incoming, Session};

/// Lets everybody in, or those who bring a token: in the setup message, or in the request
/// itself.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<[String]>);

impl Gate {
    /// Without tokens it is open.
    pub(crate) fn new(tokens: &[String]) -> Self {
        Self(tokens.into())
    }

    /// The request, if it is to be served; otherwise it has been refused.
    pub(crate) fn admit(&self, session: &Session, incoming: Incoming) -> Option<Incoming> {
        let of_session = &session.info().setup.options.authorization_tokens;
        let of_request = &incoming.parameters().authorization_tokens;
        if self.0.is_empty() || self.knows(of_session) || self.knows(of_request) {
            return Some(incoming);
        }
        let mut refusal = Refusal::new(RequestErrorCode::Unauthorized);
        refusal.reason = "an authorization token is needed here".into();
        incoming.reject(refusal);
        None
    }

    fn knows(&self, tokens: &[AuthToken]) -> bool {
        let mut values = tokens.iter().filter_map(AuthToken::value);
        values.any(|(_, value)| self.0.iter().any(|known| is_same(known.as_bytes(), value)))
    }
}

/// Compares all bytes, so that the time it takes does not tell how many are right.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    let differences = known.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
    known.len() == given.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_whole_value() {
        let gate = Gate::new(&["secret".into(), "other".into()]);
        let knows = |value: &'static str| {
            gate.knows(&[AuthToken::UseValue { token_type: 0, value: value.into() }])
        };
        assert!(knows("secret") && knows("other"));
        assert!(!knows("secre") && !knows("secrets") && !knows("") && !knows("Secret"));
        assert!(!gate.knows(&[]));
    }
}
