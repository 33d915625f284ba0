//! sans-IO engine
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

extern crate alloc;

pub mod draft;
pub mod model;
pub mod time;
pub mod wire;
