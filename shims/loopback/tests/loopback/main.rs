//! The network as its users see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking"
)]

mod joins;
mod limits;
mod raw;
mod session;

use moqt_engine::Draft;
use moqt_engine::model::FullTrackName;

const DRAFTS: [Draft; 3] = [Draft::D14, Draft::D16, Draft::D18];

fn track() -> FullTrackName {
    "demo--track".parse().unwrap()
}
