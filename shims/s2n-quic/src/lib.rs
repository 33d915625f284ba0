//! MoQT over QUIC, with [`s2n_quic`] below and [`MoqtConnection`](moqt_engine::MoqtConnection)
//! above, on tokio.
//!
//! [`Client`] and [`Server`] own a UDP socket and background tasks, and give out
//! [`moqt_session::Session`]s, which are the same over every transport. What runs on
//! `moqt-quinn-proto` runs here with another name in its `use`, but for what a socket of one's own
//! is bound with: all that is made from a [`Client::bind`] has the same options.
//!
//! # How exact priorities and timeouts are
//!
//! The engine decides what is sent next. s2n-quic has no priorities: of the streams that have
//! something, each sends a packet in turn, and what was written can be neither reordered nor taken
//! back. So little is: what has been written and never sent is kept at half of the congestion
//! window, which is never less than 16 KiB nor more than 128 KiB. A new urgent object is written
//! when half of that has gone out, and then shares the path with what is left of it, stream by
//! stream in turns; an object whose time is up can be given up until that many bytes before it is
//! sent. Control and request streams may have 64 KiB more, so they wait for data no longer than it
//! takes their turn to come. On paths whose round trip is next to nothing (loopback) no more than
//! 128 KiB are written and not acknowledged, and more with longer round trips, as for 10 Gbit/s;
//! see [`TransportOptions::send_backlog`].
//!
//! Datagrams leave in the engine's order too, from a small queue that takes turns with all streams
//! together, packet by packet, and goes first when it is its turn.
//!
//! # What s2n-quic does differently
//!
//! - The reason phrase of a close goes neither out nor in: peers learn its code.
//! - A server that speaks none of the drafts that a client offers does not answer it at all, and
//!   the client's attempt times out.
//! - A STOP_SENDING is answered with a RESET_STREAM with the same code, whatever the engine says.
//! - That a session is closed is sent by a task of s2n-quic's: a program should wait for
//!   [`Session::closed`](moqt_session::Session::closed), which says when that is done, before it
//!   ends.
//! - Data that has come on a stream without an end is lost if the connection is closed before its
//!   task had its turn.
//! - Of [`ConnectionLimits`] the [`total`](ConnectionLimits::total) is the only one in force.
//! - There is no [`Congestion::NewReno`], and no
//!   [`receive_window`](TransportOptions::receive_window) or
//!   [`stream_receive_window`](TransportOptions::stream_receive_window) over 4 GiB: errors. Without
//!   a value for the first of them it is 4 GiB at most.
//! - A client that changes its address keeps its connection, four times: s2n-quic forgets no path,
//!   and takes no sixth one.
//!
//! # Logs and traces
//!
//! As with `moqt-quinn-proto`: what happens to connections is logged with the `tracing` crate, and
//! every message and object header that is written or read goes to a [`Trace`], if one is given.
#![forbid(unsafe_code)]

mod client;
mod datagrams;
mod driver;
mod error;
mod flow;
mod limiter;
mod options;
mod server;
mod shared;
mod signals;
mod streams;
mod tls;

pub use client::Client;
pub use options::COALESCE_BELOW;
pub use server::Server;

pub use moqt_engine as engine;
pub use moqt_quic::{
    ClientOptions, ClientTls, ConfigError, Congestion, ConnectError, ConnectionLimits, Failure,
    Identity, Scheme, ServerOptions, ServerTls, Target, TargetError, Trace, TraceSink, Traced,
    TracedConnection, TransportOptions, Verify,
};
pub use moqt_session as session;
