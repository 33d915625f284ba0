//! The scenarios.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod datagrams;
mod endings;
mod flow;
mod namespaces;
mod past;
mod publish;
mod resets;
mod subscribe;
mod updates;
