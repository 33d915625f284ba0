//! How a shard reaches its connections.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;
use moqt_engine::model::AuthToken;
use moqt_engine::{Draft, MoqtConnection, Transport};

/// A connection of a relay's, under a number that whoever drives the relay gives it. It is not
/// given again, in any shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One of a relay's shards, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Where the connections of one shard are kept: in an endpoint, in a simulation's network, or
/// each behind a lock of its own.
///
/// All tell the time on the same clock, which is that of the shard.
pub trait Connections {
    /// Works on a connection; `None` if there is none, or no longer. What the work makes the
    /// connection want to do or to send is for whoever keeps the connections to see to, after
    /// the call to the shard that this is part of has returned. Its events go to
    /// [`Shard::handle_event`](crate::Shard::handle_event) after that, too.
    fn with<R>(
        &mut self,
        id: ConnectionId,
        work: impl FnOnce(&mut MoqtConnection) -> R,
    ) -> Option<R>;
}

/// What is known of the other end of a connection whose session is set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerInfo {
    /// What the peer is to this relay.
    pub kind: PeerKind,
    /// The draft spoken with it.
    pub draft: Draft,
    /// What carries the session.
    pub transport: Transport,
    /// Path and query that a client has asked for, in SETUP or over HTTP/3.
    pub path: Bytes,
    /// The authority that a client has asked for.
    pub authority: Bytes,
    /// Tokens that came with SETUP.
    pub tokens: Vec<AuthToken>,
    /// The name that a client's certificate was verified to state.
    pub certificate_name: Option<String>,
    /// Where a client has connected from, if whoever drives the relay says so.
    pub address: Option<IpAddr>,
}

/// What a peer is to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerKind {
    /// It has connected to this relay: a publisher, a subscriber, or a relay further down.
    Client,
    /// A relay that this one has connected to. Whatever is not published here is asked for there,
    /// and what is published here is announced there.
    Upstream,
    /// A relay that this one has connected to because it holds some namespaces
    /// ([`Shard::handle_origin`](crate::Shard::handle_origin)).
    Origin,
}

impl PeerInfo {
    /// A client of which nothing is known but how it speaks.
    pub fn new(draft: Draft, transport: Transport) -> Self {
        Self {
            kind: PeerKind::Client,
            draft,
            transport,
            path: Bytes::new(),
            authority: Bytes::new(),
            tokens: Vec::new(),
            certificate_name: None,
            address: None,
        }
    }
}
