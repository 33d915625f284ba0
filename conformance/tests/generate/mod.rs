//! What the tests with random values share.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod messages;
pub(crate) mod objects;
