//! Whole sessions with peers that keep the rules: nothing may depend on how bytes are cut or
//! streams interleave, payload is never copied, and everything begun comes to an end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod invariance;
mod script;
