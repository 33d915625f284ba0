//! What a [`moqt_relay`] needs to be a server on the network.
//!
//! - [`auth`]: who may do what, from a file of tokens, signed tokens and certificates.
//! - [`directory`]: which relay holds which namespace.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod auth;
pub mod directory;
