//! A UDP socket and a task on tokio that drive an [`Endpoint`](crate::Endpoint), and the async
//! handle on its sessions.

mod client;
mod driver;
mod server;
mod shared;
mod socket;

pub use client::Client;
pub use server::Server;
pub use socket::{Origin, RecvBuffers, Socket};
