//! A deterministic network in memory for [`moqt_engine`].
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod agenda;
mod config;
mod fault;
mod link;
mod network;
mod pair;
mod peer;
mod raw;
mod record;
mod rng;
mod side;
mod trace;

pub use config::{Chunking, DatagramConfig, LinkConfig, PathConfig, ResetDelivery};
pub use fault::Fault;
pub use link::Load;
pub use network::{EndpointId, Network, RawId, Script};
pub use pair::{Pair, Subscription};
pub use raw::{RawPeer, RawReceived, StreamId};
pub use record::{End, ObjectRecord, Record, SubgroupRecord};
pub use rng::{Chance, Rng};
