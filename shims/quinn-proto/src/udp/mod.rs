//! A UDP socket and a task on tokio that drive an [`Endpoint`](crate::Endpoint), and the async
//! handle on its sessions.

mod client;
mod driver;
mod server;
mod shared;
mod socket;

pub use client::Client;
pub use server::Server;

use crate::options::COALESCE_BELOW;

/// The engine's configuration with what suits this transport, where it was left open.
fn engine_config(mut config: moqt_engine::Config) -> moqt_engine::Config {
    use std::hash::{BuildHasher, Hasher};
    if config.coalesce_below == 0 {
        config.coalesce_below = COALESCE_BELOW;
    }
    if config.hash_seed == 0 {
        config.hash_seed = std::hash::RandomState::new().build_hasher().finish();
    }
    config
}
