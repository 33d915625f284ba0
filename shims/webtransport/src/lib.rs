//! WebTransport over HTTP/3, without I/O: what stands between an application and a QUIC stack.
//!
//! [`Connection`] is one HTTP/3 connection with one WebTransport session, client or server. It
//! opens no socket and reads no clock: bytes of streams and datagrams go in, and out come
//! [`Action`]s for the QUIC stack and [`Event`]s for the application. It does of HTTP/3 (RFC 9114,
//! 9204, 9220, 9297) what a session needs and no more.
//!
//! # Who does what
//!
//! HTTP/3's own streams and the header of every other stream are this crate's. What follows the
//! header is the application's, and so are the streams it opens: it writes
//! [`stream_header`](Connection::stream_header) first on each, and
//! [`datagram_header`](Connection::datagram_header) before each datagram's payload. Codes of
//! `RESET_STREAM` and `STOP_SENDING` on the session's streams are translated with
//! [`error_to_http3`] and [`error_from_http3`].
//!
//! 1. [`handle_data`](Connection::handle_data), [`handle_reset`](Connection::handle_reset),
//!    [`handle_stop_sending`](Connection::handle_stop_sending),
//!    [`handle_datagram`](Connection::handle_datagram) and commands, as things happen;
//! 2. [`poll_action`](Connection::poll_action) and [`poll_event`](Connection::poll_event) until
//!    they give nothing.
//!
//! How the bytes of a stream are cut makes no difference.
//!
//! # Versions
//!
//! WebTransport is a draft. The versions that peers in use speak are offered together, and the
//! newest that both offer is taken: see [`Version`].
//!
//! # What is not done
//!
//! - A second session. Further CONNECT requests are reset with `H3_REQUEST_REJECTED`, and ordinary
//!   requests are answered with status 404, or rejected once there is a session.
//! - WebTransport's own flow control, which serves several sessions on one connection. It is not
//!   negotiated, and its capsules are ignored.
//! - Server push, and QPACK's dynamic table: both sides announce a capacity of 0.
//! - RESET_STREAM_AT is up to the QUIC stack. Without it a stream that is reset may lose its header
//!   and cannot be attributed to the session; it is forgotten, and counted in [`Stats`].
#![forbid(unsafe_code)]

mod capsule;
pub mod code;
mod config;
mod connection;
mod error;
mod event;
mod fields;
mod frame;
mod held;
mod message;
mod protocols;
mod qpack;
mod request_stream;
mod settings;
mod varint;
mod version;

pub use code::{error_from_http3, error_to_http3};
pub use config::{Config, Limits};
pub use connection::{Connection, Stats};
pub use error::{Error, Missing};
pub use event::{Action, Dir, Event, Own, Route};
pub use message::{Request, Response};
pub use version::Version;
