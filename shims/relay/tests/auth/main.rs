//! Who may do what, held against what the drafts and the documentation say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod files;
mod guesses;
mod hostile;
mod signed;
mod support;
mod tokens;
