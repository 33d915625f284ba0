//! [`MoqtConnection`]: everything an endpoint knows of one session.

mod commands;
mod data;
mod delivery;
mod expiry;
mod fetch;
mod fetch_read;
mod fetch_response;
mod goaway;
mod malformed;
mod messages;
mod namespace_subscriptions;
mod namespaces;
mod output;
mod own_updates;
mod publisher;
mod read;
mod request_end;
mod requests;
mod room;
mod session;
mod stats;
mod subgroup;
mod tokens;
mod transport;
mod updates;

pub use transport::TransportClosed;

pub use commands::{Accept, Refusal};
pub use fetch::FetchTarget;
pub use fetch_response::{AcceptFetch, FetchResponse};
pub use output::{DatagramSend, StreamSend, Transmit};
pub use publisher::{DatagramOptions, DatagramOutcome, Publisher};
pub use room::SlowSubscriber;
pub use subgroup::{Subgroup, SubgroupOptions, Written};

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::churn::Churn;
use crate::config::{Config, Role, Transport};
use crate::event::Event;
use crate::key::StreamKey;
use crate::link::Link;
use crate::model::Draft;
use crate::request::{Aliases, Requests, SentTokens, TokenCache};
use crate::stats::Stats;
use crate::stream::Streams;
use crate::time::Timestamp;
use crate::timers::{Timer, Timers};
use crate::trace::Tracer;
use crate::wire::Dialect;

/// One MoQT session, as a state machine without input or output of its own.
///
/// The [crate documentation](crate) says in which order to call what.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not one state")]
pub struct MoqtConnection {
    role: Role,
    dialect: &'static Dialect,
    transport: Transport,
    config: Arc<Config>,
    link: Link,
    state: SessionState,
    streams: Streams,
    requests: Requests,
    aliases: Aliases,
    /// What the peer has registered here.
    token_cache: TokenCache,
    /// What is registered with the peer.
    sent_tokens: SentTokens,
    events: VecDeque<Event>,
    timers: Timers,
    churn: Churn,
    /// The stream this side's control messages go on.
    control_out: Option<StreamKey>,
    /// The stream the peer's control messages come on.
    control_in: Option<StreamKey>,
    /// Streams held until the session is set up, in the order they were opened.
    early: Vec<StreamKey>,
    early_bytes: usize,
    /// Of the peer's updates that wait.
    update_bytes: usize,
    /// Deadline of [`Timer::Setup`].
    setup_deadline: Timestamp,
    /// One more than the largest Request ID we may use, where there is such a limit.
    our_max_request_id: u64,
    /// The same for the peer.
    peer_max_request_id: u64,
    /// The peer has been told that we are out of Request IDs.
    requests_blocked_sent: bool,
    /// A command failed for want of credit or streams.
    was_blocked: bool,
    goaway_received: bool,
    goaway_sent: bool,
    next_alias: u64,
    max_datagram_size: Option<usize>,
    stats: Stats,
    trace: Tracer,
    scratch: Vec<u8>,
}

/// How far the session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    /// The peer's setup message, or this side's, is still to come.
    Setup {
        /// Ours is in the queue.
        sent: bool,
    },
    /// Both have been exchanged.
    Established,
    /// It is over.
    Closed,
}

impl MoqtConnection {
    /// A connection that is about to be set up, over a transport that has agreed on `draft`
    /// (see [`Draft::alpn`]).
    ///
    /// Nothing can be sent until
    /// [`handle_streams_available`](Self::handle_streams_available) has said that the
    /// transport has streams.
    pub fn new(
        role: Role,
        draft: Draft,
        transport: Transport,
        config: Arc<Config>,
        now: Timestamp,
    ) -> Self {
        let dialect = draft.dialect();
        let link = Link::of(dialect);
        let peer_ids = link.peer_ids(dialect, role.peer().first_request_id());
        let setup_deadline = now.saturating_add(config.limits.setup_timeout);
        let mut timers = Timers::default();
        timers.set(setup_deadline, Timer::Setup);
        Self {
            role,
            dialect,
            transport,
            link,
            state: SessionState::Setup { sent: false },
            streams: Streams::new(config.limits.watched_streams),
            requests: Requests::new(role, peer_ids, config.hash_seed),
            aliases: Aliases::new(config.hash_seed),
            token_cache: tokens::cache(dialect, &config.limits),
            sent_tokens: SentTokens::default(),
            events: VecDeque::new(),
            timers,
            churn: Churn::new(&config.limits, now),
            control_out: None,
            control_in: None,
            early: Vec::new(),
            early_bytes: 0,
            update_bytes: 0,
            setup_deadline,
            our_max_request_id: 0,
            peer_max_request_id: 0,
            requests_blocked_sent: false,
            was_blocked: false,
            goaway_received: false,
            goaway_sent: false,
            next_alias: 1,
            max_datagram_size: None,
            stats: Stats::default(),
            trace: Tracer::new(&config, dialect),
            scratch: Vec::new(),
            config,
        }
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The draft spoken.
    pub fn draft(&self) -> Draft {
        self.dialect.draft
    }

    /// What carries the session.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether setup is complete and the session not over.
    pub fn is_established(&self) -> bool {
        self.state == SessionState::Established
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.state == SessionState::Closed
    }

    /// What the connection holds right now.
    pub fn usage(&self) -> Usage {
        Usage {
            requests: self.requests.len(),
            namespaces: self.requests.told,
            streams: self.streams.len(),
            receive_bytes: self.streams.data_received,
            early_bytes: self.early_bytes,
            update_bytes: self.update_bytes,
            send_bytes: self.streams.data_queued,
            control_bytes: self.streams.control_queued,
            auth_token_bytes: self.token_cache.size(),
            watched_streams: self.streams.deadlines.watched(),
        }
    }
}

/// What a connection holds, for monitoring and for tests of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Requests that are not over, of both sides.
    pub requests: usize,
    /// Namespaces told of, by either side, in namespace subscriptions.
    pub namespaces: usize,
    /// Streams with a side that is not over.
    pub streams: usize,
    /// Unread bytes of data streams.
    pub receive_bytes: usize,
    /// Bytes held until the session is set up.
    pub early_bytes: usize,
    /// Bytes of the peer's updates that wait for a decision or for the answer to their request,
    /// as [`Limits::waiting_updates`](crate::Limits::waiting_updates) counts them.
    pub update_bytes: usize,
    /// Bytes of objects waiting to be sent.
    pub send_bytes: usize,
    /// Bytes of control messages waiting to be sent.
    pub control_bytes: usize,
    /// Bytes of authorization tokens that the peer has registered, as the drafts count them.
    pub auth_token_bytes: u64,
    /// Streams with a delivery timeout that have been sent whole and not acknowledged.
    pub watched_streams: usize,
}
