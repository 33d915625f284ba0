//! A deterministic network in memory for [`moqt_engine`].
//!
//! [`Network`] joins any number of [`MoqtConnection`](moqt_engine::MoqtConnection)s pairwise
//! and keeps the clock. There is no real time in it, there are no threads, and all chance comes
//! from one seed: the same seed and the same calls give the same run, on every machine. A day
//! of traffic takes as long as its computing, and a failure is replayed by its seed.
//!
//! # What it does
//!
//! Each link has two paths, and each [`PathConfig`] says what one is like: latency and jitter,
//! bandwidth, how stream bytes are cut ([`Chunking`]), flow-control windows, limits on streams,
//! what happens to datagrams. Streams arrive in any order against each other, each in its own;
//! a reset may overtake data; the peer learns of a stream by its first frame. Payload is handed
//! from one engine to the other as slices of the [`Bytes`](bytes::Bytes) that were given, not
//! copied (datagrams are: an engine gives them in two parts).
//!
//! [`Fault`]s are injected at once, at a time, or as the seed says. A [scripted peer](RawPeer)
//! in place of an engine sends whatever bytes it is told to.
//!
//! The network keeps the engine's contract for its users: after every call it drains actions
//! and events, hands over what the connection wants to have, and asks for data only while the
//! path has room. Events wait in one queue, to be [taken](Network::next_event) or handed to a
//! [closure](Network::run_until_with).
//!
//! # Example
//!
//! ```
//! use moqt_engine::{Draft, SubgroupOptions};
//! use moqt_engine::wire::ObjectHeader;
//! use moqt_loopback::Pair;
//!
//! let run = |seed| {
//!     let mut pair = Pair::new(Draft::D18, seed);
//!     let subscription = pair.subscribe(&"demo--greeting".parse()?).expect("accepted");
//!     pair.network.with(pair.server, |server, _now| {
//!         let mut publisher = server.publisher(subscription.publisher).expect("live");
//!         let stream = publisher.open_subgroup(SubgroupOptions::new(0))?.expect("wanted");
//!         let mut subgroup = server.subgroup(stream).expect("just opened");
//!         let header = ObjectHeader { payload_len: 5, ..Default::default() };
//!         subgroup.object(&header, "hello".into())?;
//!         subgroup.finish()
//!     })?;
//!     let record = pair.receive();
//!     assert_eq!(record.payloads().collect::<Vec<_>>(), [b"hello"]);
//!     Ok::<_, Box<dyn std::error::Error>>(pair.network.raw_trace_hash())
//! };
//! assert_eq!(run(1)?, run(1)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Anything larger makes its own [`Network`], connects what it wants to test, and drives it:
//!
//! ```
//! use std::sync::Arc;
//! use moqt_engine::{Config, Draft, Event, MoqtConnection, Role, Timestamp, Transport};
//! use moqt_loopback::{LinkConfig, Network};
//!
//! let mut network = Network::new(7);
//! let config = Arc::new(Config::default());
//! let mut ends = Vec::new();
//! for user in 0..3 {
//!     let [client, server] = [Role::Client, Role::Server].map(|role| {
//!         MoqtConnection::new(role, Draft::D16, Transport::Quic, config.clone(), network.now())
//!     });
//!     ends.push(network.connect(client, server, LinkConfig::seeded(user)));
//! }
//! let mut established = 0;
//! network.run_until_with(Timestamp::from_micros(5_000_000), |network, at, event| {
//!     if let Event::Established { .. } = event {
//!         assert!(network.connection(at).is_established());
//!         established += 1;
//!     }
//! });
//! assert_eq!(established, 6);
//! ```
//!
//! # Async sessions
//!
//! With the feature `session` there is a `Simulation`, which gives out `moqt_session::Session`s on
//! the network's links and runs the tasks that use them, in the network's time.
//!
//! # Relays
//!
//! With the feature `relay` there are `Relays`: nodes at which some of the network's links end,
//! each a `moqt_relay` of one or several shards that talk with delay. A `Simulation` may have
//! them, too.
//!
//! # What it leaves out
//!
//! Packets, loss and retransmission of stream data, acknowledgements and congestion control:
//! a path with bounded bandwidth takes data at just that pace, and one that
//! [stalls](Fault::Stall) takes none. A QUIC implementation's own faults are not found here.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod agenda;
mod config;
mod digest;
mod fault;
mod link;
mod network;
mod pair;
mod peer;
mod raw;
mod record;
#[cfg(feature = "relay")]
mod relay;
mod rng;
mod script;
mod side;
#[cfg(feature = "session")]
mod simulation;
mod trace;

pub use config::{Chunking, DatagramConfig, LinkConfig, PathConfig, ResetDelivery};
pub use fault::Fault;
pub use link::Load;
pub use network::{EndpointId, Network, RawId};
pub use pair::{Pair, RawPair, Subscription};
pub use raw::{RawPeer, RawReceived, StreamId};
pub use record::{End, ObjectRecord, Record, SubgroupRecord};
#[cfg(feature = "relay")]
pub use relay::{RelayId, RelayOptions, Relays};
pub use rng::{Chance, Rng};
pub use script::Script;
#[cfg(all(feature = "session", feature = "relay"))]
pub use simulation::RelayNode;
#[cfg(feature = "session")]
pub use simulation::{Connecting, Simulation, Sleep, Task};
