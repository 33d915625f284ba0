//! A relay on 127.0.0.1 and clients of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by it")]

mod certificates;
mod leaving;
mod limits;
mod observing;
mod routing;
mod support;
mod trees;
