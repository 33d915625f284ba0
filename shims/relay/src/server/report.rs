//! What a relay has and has done.

use moqt_quinn_proto::AdmissionStats;
use moqt_relay::Stats;

use super::port::Traffic;

/// What a relay has now and has done so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Of each shard.
    pub shards: Vec<ShardReport>,
    /// Of the connections of all of them.
    pub admission: AdmissionStats,
}

/// What a shard has now and has done so far. Counters only grow.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ShardReport {
    /// The relay's part.
    pub relay: Stats,
    /// What went through its sockets.
    pub traffic: Traffic,
    /// QUIC connections now, to other relays and of clients, with or without a session.
    pub connections: u64,
    /// Datagrams that came in at the socket of another shard.
    pub strays: u64,
    /// Messages to it that have come from other shards.
    pub messages: u64,
    /// Messages to it that wait.
    pub messages_waiting: u64,
}
