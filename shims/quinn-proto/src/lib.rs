//! MoQT over QUIC, with [`quinn_proto`] below and
//! [`MoqtConnection`](moqt_engine::MoqtConnection) above.
//!
//! # In an event loop of your own
//!
//! [`Endpoint`] is sans-IO: datagrams in, datagrams out, timeouts, events. It opens no socket
//! and reads no clock. Feed it and drain it in this order:
//!
//! 1. [`handle_datagram`](Endpoint::handle_datagram),
//!    [`handle_timeout`](Endpoint::handle_timeout), [`connect`](Endpoint::connect) and
//!    [`with`](Endpoint::with), as things happen;
//! 2. [`poll_transmit`](Endpoint::poll_transmit) until it gives nothing, or the socket takes
//!    no more: this is what moves data;
//! 3. [`poll_event`](Endpoint::poll_event) until it gives nothing; what the application does
//!    about it goes through [`with`](Endpoint::with), and then it is 2's turn again;
//! 4. [`poll_timeout`](Endpoint::poll_timeout) says when to call
//!    [`handle_timeout`](Endpoint::handle_timeout).
//!
//! `examples/plain_loop.rs` is such a loop, on one thread and without async.
//!
//! # With tokio
//!
//! [`Client`] and [`Server`] (feature `tokio`, on by default) own a UDP socket and a background
//! task, and give out [`moqt_session::Session`]s.
//!
//! # On several cores
//!
//! An [`Endpoint`] does its work on one. Several of them, each with a [`Socket`] of its own on the
//! same port, share it: the system gives each the packets of some peers' addresses, and
//! [`Steering`] says which endpoint a packet belongs to whose sender has changed its address.
//!
//! # Raw QUIC and WebTransport
//!
//! A server takes both on one port, as the client's ALPN says; [`ServerOptions::schemes`] and
//! [`SessionConfig::schemes`] restrict it. A client speaks what its [`Target`] says, or WebTransport
//! if its [`SessionConfig`] has a [`request`](SessionConfig::request). From there on there is no
//! difference, but for where a server finds what was asked for: see [`Event::Connected`].
//!
//! # How exact priorities and timeouts are
//!
//! The engine decides what is sent next; QUIC stream priorities only lift control and request
//! streams above data. What has been written to QUIC can be neither reordered nor taken back,
//! so little is: the backlog (bytes written and not acknowledged) is kept at the congestion
//! window plus half of it, the addition never being less than 16 KiB nor more than 128 KiB. A
//! new urgent object is written when a part of the addition has gone out, and then shares the
//! path with what is left of it, stream by stream in turns; an object whose time is up can be
//! given up until that many bytes before it is sent. On paths whose round trip is next to
//! nothing (memory, loopback) the backlog is at most 128 KiB and grows with the round trip from
//! there, as for 10 Gbit/s: more would only leave the processor's cache, which is slower;
//! see [`TransportOptions::send_backlog`].
//!
//! Datagrams leave in the engine's order too, from a small queue ahead of all streams.
//!
//! # Logs and traces
//!
//! What happens to connections is logged with the `tracing` crate, at levels `info` to `warn`,
//! and single refusals and losses at `debug`. Every message and object header that is written or
//! read goes to a [`Trace`], if one is given.
#![forbid(unsafe_code)]

mod backlog;
mod connection;
mod endpoint;
mod error;
mod options;
mod steering;
mod streams;

#[cfg(feature = "tokio")]
mod udp;

pub use endpoint::{ClientConfig, Endpoint, Event, ServerConfig};
pub use error::ConnectionFailure;
pub use options::COALESCE_BELOW;
pub use steering::Steering;
#[cfg(feature = "tokio")]
pub use udp::{Client, Origin, RecvBuffers, Server, Socket};

pub use moqt_engine as engine;
pub use moqt_quic::webtransport::Request;
pub use moqt_quic::{
    Admission, AdmissionStats, ClientOptions, ClientTls, ConfigError, Congestion, ConnectError,
    ConnectionLimits, Failure, Identity, Scheme, ServerOptions, ServerTls, SessionConfig, Target,
    TargetError, Trace, TraceSink, Traced, TracedConnection, TransportOptions, Verify, network_of,
};
#[cfg(feature = "tokio")]
pub use moqt_session as session;
pub use quinn_proto::{ConnectionError, ConnectionHandle, EcnCodepoint, Transmit};
