//! What a [`moqt_relay`] needs to be a server on the network.
//!
//! - [`auth`]: who may do what, from a file of tokens, signed tokens and certificates.
//! - [`directory`]: which relay holds which namespace.
//! - [`Settings`]: what a relay allows and keeps, from a file.
//! - [`observe`]: figures and health over HTTP.
//! - [`Relay`]: a relay on one UDP port, raw QUIC and WebTransport, on several cores.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod auth;
pub mod directory;
mod load_error;
pub mod observe;
mod server;
mod settings;

pub use load_error::LoadError;
pub use server::{Relay, RelayOptions, Report, Reporter, ShardReport, StartError, Traffic};
pub use settings::Settings;

pub use moqt_quinn_proto as quinn_proto;
