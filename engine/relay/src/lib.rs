//! A Media over QUIC Transport (MoQT) relay without input or output of its own.
//!
//! A relay is made of [`Shard`]s, each with connections of its own, and a [`Router`] that carries
//! messages between them. A simulation runs one or several in one thread and may delay the
//! messages; a server runs one for each core.
//!
//! # The contract
//!
//! 1. Whoever drives a shard accepts connections, drives their
//!    [`MoqtConnection`](moqt_engine::MoqtConnection)s, and tells the shard of each session that is
//!    set up ([`Shard::handle_connected`]) and of each event that one has
//!    ([`Shard::handle_event`], also the last, [`Closed`](moqt_engine::Event::Closed)). The
//!    shard works on connections through [`Connections`].
//! 2. After every call, [`Shard::poll_message`] until it is dry: each message goes to
//!    [`Router::handle_message`], and from [`Router::poll_message`] to
//!    [`Shard::handle_message`]. [`Shard::poll_action`] until it is dry, too: what the shard
//!    wants to be done outside.
//! 3. [`Shard::poll_timeout`] says when to call [`Shard::handle_timeout`].
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

extern crate alloc;

mod authorize;
mod config;
mod connections;
mod fanout;
mod interest;
mod live;
mod message;
mod router;
mod routes;
mod shard;
mod stats;
mod store;
mod track;

pub use authorize::{Ask, Authorize, Open, Permission, Verdict};
pub use config::Config;
pub use connections::{ConnectionId, Connections, PeerInfo, PeerKind, ShardId};
pub use message::Message;
pub use router::Router;
pub use shard::{Action, Shard};
pub use stats::Stats;
