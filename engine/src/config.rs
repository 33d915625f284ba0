//! How a connection is to behave.

use bytes::Bytes;

use crate::limits::Limits;
use crate::model::AuthToken;

use alloc::vec::Vec;

/// What an endpoint brings to every connection it makes or takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on what a peer can cause.
    pub limits: Limits,
    /// Path and query of the URI, sent by a client over raw QUIC.
    pub path: Option<Bytes>,
    /// Authority of the URI, sent by a client over raw QUIC.
    pub authority: Option<Bytes>,
    /// Tokens that authorize the session, sent in the setup message by value, or to be
    /// registered. If the peer has no room for one of those it is used once, and its alias is
    /// not registered.
    pub authorization_tokens: Vec<AuthToken>,
    /// Name and version to send; `None` sends none.
    pub implementation: Option<Bytes>,
    /// Whether the application decides on updates of requests, by
    /// [`accept_update`](crate::MoqtConnection::accept_update) and
    /// [`reject_update`](crate::MoqtConnection::reject_update). If not, which is the default,
    /// they are accepted if they can be carried out. Draft 14 has no answer to an update, so
    /// there it makes no difference.
    pub decide_updates: bool,
    /// Whether to send values that mean nothing where the draft reserves some for that, so that
    /// peers learn to ignore what they do not know (draft-18, "Grease"): a setup option, by
    /// [`hash_seed`](Self::hash_seed). Off by default. [`reserved_value`](crate::reserved_value)
    /// says how to send others.
    pub grease: bool,
    /// Payloads shorter than this many bytes are copied next to their header on their way
    /// out; longer ones are handed on as they are. 0 is the default; those shorter than 64 bytes
    /// are always copied. Transports that pay per buffer want some thousand.
    pub coalesce_below: usize,
    /// Whether to tell by [`poll_trace`](crate::MoqtConnection::poll_trace) what is written and
    /// read, for a log. It then contains everything that control messages do, authorization
    /// tokens included. Off by default, and without cost then.
    pub trace: bool,
    /// Key of the hash maps whose keys a peer chooses. Give every process a random one, or a
    /// fixed one to repeat a run exactly.
    pub hash_seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            path: None,
            authority: None,
            authorization_tokens: Vec::new(),
            implementation: Some(Bytes::from_static(
                concat!("moqt-engine/", env!("CARGO_PKG_VERSION")).as_bytes(),
            )),
            decide_updates: false,
            grease: false,
            coalesce_below: 0,
            trace: false,
            hash_seed: 0,
        }
    }
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that connected.
    Client,
    /// The end that was connected to.
    Server,
}

impl Role {
    /// The other end's role.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The first Request ID of this end (draft-18, "Request ID").
    pub(crate) const fn first_request_id(self) -> u64 {
        match self {
            Self::Client => 0,
            Self::Server => 1,
        }
    }
}

/// What carries the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A QUIC connection of its own.
    Quic,
    /// A WebTransport session: path and authority travel in HTTP.
    WebTransport,
}

/// Whether a stream carries data both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Both ways.
    Bi,
    /// From its opener to the other end.
    Uni,
}
