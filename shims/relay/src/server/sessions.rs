//! The connections of one shard.

use std::net::SocketAddr;
use std::time::Instant;

use moqt_engine::{Event as Moqt, MoqtConnection, Timestamp};
use moqt_quinn_proto::{ConnectionHandle, Event, Request};
use moqt_relay::{ConnectionId, Connections, PeerInfo, PeerKind, ShardId};
use tracing::debug;

use super::port::Port;

/// Connections of one socket that can be told apart.
pub(super) const MAX_CONNECTIONS: usize = 1 << SLOT_BITS;
/// Shards that can be told apart.
pub(super) const MAX_SHARDS: u16 = 1 << SHARD_BITS;

// How a `ConnectionId` is made up, from its low end. What is left counts how often the same slot
// has been used.
const SLOT_BITS: u32 = 20;
const PORT_BITS: u32 = 2;
const SHARD_BITS: u32 = 10;
const GENERATION_SHIFT: u32 = SLOT_BITS + PORT_BITS + SHARD_BITS;

/// The connections of one shard: at the socket where clients come in, and at those from which
/// other relays are connected to.
#[derive(Debug)]
pub(super) struct Sessions {
    shard: ShardId,
    /// The first is the server's.
    ports: Vec<Port>,
    slots: Vec<Vec<Slot>>,
}

/// Something that a session tells.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "they are moved once")]
pub(super) enum Told {
    /// It is set up. If this side began the connection, it has a number.
    Connected { id: ConnectionId, peer: PeerInfo, attempt: Option<u64> },
    /// Something happened in it.
    Event { id: ConnectionId, event: Moqt, attempt: Option<u64> },
    /// A connection that this side began has come to nothing, or is over.
    Ended { attempt: u64, reason: String },
}

/// A place for a connection; the handle is where it is.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Found>,
}

/// What is known of a connection.
#[derive(Debug)]
struct Found {
    kind: PeerKind,
    /// The number of a connection that this side began.
    attempt: Option<u64>,
    peer: Option<PeerInfo>,
    is_established: bool,
    /// Why it is over, if it is.
    ended: Option<String>,
}

impl Sessions {
    pub(super) fn new(shard: ShardId, server: Port) -> Self {
        Self { shard, ports: vec![server], slots: vec![Vec::new()] }
    }

    pub(super) fn ports(&mut self) -> &mut [Port] {
        &mut self.ports
    }

    /// The socket at which clients come in.
    pub(super) fn server(&mut self) -> Option<&mut Port> {
        self.ports.first_mut()
    }

    /// Adds a socket to connect from, of which there can be three; where it is.
    pub(super) fn add_port(&mut self, port: Port) -> usize {
        self.ports.push(port);
        self.slots.push(Vec::new());
        self.ports.len().saturating_sub(1)
    }

    /// A socket to connect to such an address from, if there is one.
    pub(super) fn port_for(&self, remote: SocketAddr) -> Option<usize> {
        self.ports.iter().skip(1).position(|port| port.is_for(remote)).map(|at| at + 1)
    }

    /// A connection was begun from a socket.
    pub(super) fn began(
        &mut self,
        port: usize,
        handle: ConnectionHandle,
        kind: PeerKind,
        attempt: u64,
    ) {
        if let Some(slot) = slot(&mut self.slots, port, handle) {
            slot.connection = Some(Found::new(kind, Some(attempt)));
        }
    }

    /// The engine's time.
    pub(super) fn timestamp(&self, now: Instant) -> Timestamp {
        let server = self.ports.first();
        server.map_or(Timestamp::ZERO, |port| port.endpoint.timestamp(now))
    }

    /// When the engine's time is this, or earlier.
    pub(super) fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.ports.first()?.endpoint.instant(at)
    }

    /// Connections that clients have made and that are not forgotten.
    pub(super) fn clients(&self) -> usize {
        self.ports.first().map_or(0, |port| port.endpoint.len())
    }

    /// All connections that are not forgotten.
    pub(super) fn len(&self) -> usize {
        self.ports.iter().map(|port| port.endpoint.len()).sum()
    }

    /// Ends every session, and takes no more.
    pub(super) fn close_all(&mut self, now: Instant, work: impl Fn(&mut MoqtConnection)) {
        for (port, slots) in self.ports.iter_mut().zip(&self.slots) {
            port.endpoint.stop_accepting();
            for at in 0..slots.len() {
                let handle = ConnectionHandle(at);
                match port.endpoint.session_mut(handle) {
                    Some(moqt) => work(moqt),
                    None => port.endpoint.close(handle, now, 0, ""),
                }
            }
        }
    }

    /// The next thing that a session tells.
    pub(super) fn poll(&mut self) -> Option<Told> {
        for index in 0..self.ports.len() {
            while let Some((handle, event)) = self.ports.get_mut(index)?.endpoint.poll_event() {
                if let Some(told) = self.sort_in(index, handle, event) {
                    return Some(told);
                }
            }
        }
        None
    }

    fn sort_in(&mut self, port: usize, handle: ConnectionHandle, event: Event) -> Option<Told> {
        let endpoint = &self.ports.get(port)?.endpoint;
        let remote = endpoint.remote_address(handle);
        let certificate_name = match &event {
            Event::Connected { .. } => endpoint.certificate_name(handle),
            _ => None,
        };
        let slot = slot(&mut self.slots, port, handle)?;
        let id = id(slot.generation, self.shard, port, handle);
        let found = slot.connection.get_or_insert_with(|| Found::new(PeerKind::Client, None));
        match event {
            Event::Connected { draft, transport, request } => {
                let mut peer = PeerInfo::new(draft, transport);
                peer.kind = found.kind;
                peer.certificate_name = certificate_name;
                peer.address = remote.map(|remote| remote.ip());
                if let Some(Request { path, authority, .. }) = request {
                    peer.path = path.into();
                    peer.authority = authority.into();
                }
                found.peer = Some(peer);
                None
            }
            Event::Moqt(Moqt::Established { setup }) => {
                found.is_established = true;
                let mut peer = found.peer.take()?;
                let options = setup.options;
                // Over WebTransport they were in the request.
                peer.path = options.path.unwrap_or(peer.path);
                peer.authority = options.authority.unwrap_or(peer.authority);
                peer.tokens = options.authorization_tokens;
                debug!(connection = id.0, ?remote, draft = %peer.draft, kind = ?peer.kind, "session");
                Some(Told::Connected { id, peer, attempt: found.attempt })
            }
            Event::Moqt(event) => {
                if let Moqt::Closed { reason } = &event {
                    found.ended = Some(reason.to_string());
                }
                let attempt = found.attempt;
                found.is_established.then_some(Told::Event { id, event, attempt })
            }
            Event::Failed { error } => {
                found.ended = Some(error.to_string());
                None
            }
            Event::Drained => {
                let found = slot.connection.take()?;
                slot.generation = slot.generation.wrapping_add(1);
                let reason = found.ended.unwrap_or_else(|| "it was given up".into());
                found.attempt.map(|attempt| Told::Ended { attempt, reason })
            }
            _ => None,
        }
    }
}

impl Connections for Sessions {
    fn with<R>(
        &mut self,
        id: ConnectionId,
        work: impl FnOnce(&mut MoqtConnection) -> R,
    ) -> Option<R> {
        let (generation, port, handle) = parts(id)?;
        let slot = self.slots.get(port)?.get(handle.0)?;
        if slot.generation != generation {
            return None;
        }
        self.ports.get_mut(port)?.endpoint.session_mut(handle).map(work)
    }
}

impl Found {
    fn new(kind: PeerKind, attempt: Option<u64>) -> Self {
        Self { kind, attempt, peer: None, is_established: false, ended: None }
    }
}

fn slot(slots: &mut [Vec<Slot>], port: usize, handle: ConnectionHandle) -> Option<&mut Slot> {
    let slots = slots.get_mut(port)?;
    if handle.0 >= slots.len() && handle.0 < MAX_CONNECTIONS {
        slots.resize_with(handle.0 + 1, Slot::default);
    }
    slots.get_mut(handle.0)
}

fn id(generation: u32, shard: ShardId, port: usize, handle: ConnectionHandle) -> ConnectionId {
    let place = u64::from(shard.0) << (SLOT_BITS + PORT_BITS)
        | (port as u64) << SLOT_BITS
        | handle.0 as u64;
    ConnectionId(u64::from(generation) << GENERATION_SHIFT | place)
}

fn parts(id: ConnectionId) -> Option<(u32, usize, ConnectionHandle)> {
    let generation = u32::try_from(id.0 >> GENERATION_SHIFT).ok()?;
    let port = usize::try_from(id.0 >> SLOT_BITS & ((1 << PORT_BITS) - 1)).ok()?;
    let slot = usize::try_from(id.0 & ((1 << SLOT_BITS) - 1)).ok()?;
    Some((generation, port, ConnectionHandle(slot)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_where_its_connection_is() {
        let last = ConnectionHandle(MAX_CONNECTIONS - 1);
        for (generation, shard, port, handle) in [
            (0, 0, 0, ConnectionHandle(0)),
            (7, 3, 2, ConnectionHandle(1234)),
            (u32::MAX, MAX_SHARDS - 1, 3, last),
        ] {
            let id = id(generation, ShardId(shard), port, handle);
            assert_eq!(parts(id), Some((generation, port, handle)));
            assert_eq!(id.0 >> (SLOT_BITS + PORT_BITS) & 0x3ff, u64::from(shard));
        }
    }
}
