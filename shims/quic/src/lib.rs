//! What MoQT shims over QUIC stacks share: where to connect to ([`Target`]), certificates
//! ([`ClientTls`], [`ServerTls`]), options and errors, and [`Connection`], which joins a QUIC
//! connection to a [`MoqtConnection`](moqt_engine::MoqtConnection).
//!
//! Applications use it through a shim. To write a shim for a further stack, implement [`Quic`] for
//! its connection, and feed a [`Connection`] beside each.
#![forbid(unsafe_code)]

mod bridge;
mod connection;
mod error;
mod log;
mod options;
mod quic;
mod target;
mod tls;
mod trace;
mod verify;

pub use connection::{Connection, Event, Failure};
pub use error::{ConfigError, ConnectError};
pub use options::{ClientOptions, Congestion, ServerOptions, TransportOptions, alpn};
pub use quic::{DatagramOutcome, Quic, ReadOutcome, Room, WriteOutcome};
pub use target::{Scheme, Target, TargetError};
pub use tls::{ClientTls, Identity, ServerTls, Verify};
pub use trace::{Trace, TraceSink, Traced};
