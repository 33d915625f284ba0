//! What MoQT shims over QUIC stacks share: where to connect to ([`Target`]), certificates
//! ([`ClientTls`], [`ServerTls`]), options and errors, and [`Connection`], which joins a QUIC
//! connection to a [`MoqtConnection`](moqt_engine::MoqtConnection).
//!
//! Applications use it through a shim. To write a shim for a further stack, implement [`Quic`] for
//! its connection, and feed a [`Connection`] beside each.
#![forbid(unsafe_code)]

mod admission;
mod backlog;
mod bridge;
mod clock;
mod config;
#[cfg(any(test, feature = "tokio"))]
mod connecting;
mod connection;
mod error;
mod failure;
mod http;
mod log;
mod opening;
mod options;
mod quic;
mod streams;
mod target;
mod tls;
mod trace;
mod verify;

pub use admission::{Admission, AdmissionStats, ConnectionLimits, Decision, Place, network_of};
pub use backlog::BacklogBound;
pub use clock::Clock;
pub use config::SessionConfig;
#[cfg(any(test, feature = "tokio"))]
pub use connecting::connect;
pub use connection::{Connection, Event, session_info};
pub use error::{ConfigError, ConnectError};
pub use failure::Failure;
pub use options::{ClientOptions, Congestion, ServerOptions, TransportOptions};
pub use quic::{DatagramOutcome, Quic, ReadOutcome, Room, WriteOutcome};
pub use target::{Scheme, Target, TargetError};
pub use tls::{ClientTls, Identity, Roots, ServerTls, Verify, certificate_name};
pub use trace::{QuicLog, Trace, TraceSink, Traced, TracedConnection};

pub use moqt_webtransport as webtransport;
