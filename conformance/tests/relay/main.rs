//! One relay, and what goes through it, on every draft (draft-18, "Relays").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod authorization;
mod delivery;
mod going;
mod malformed;
mod namespaces;
mod objects;
mod parameters;
mod past;
mod properties;
mod publishers;
mod refusals;
mod scopes;
mod slow;
mod stage;
mod subgroups;
mod tracks;
mod trees;
