//! A socket and the endpoint behind it.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use moqt_quinn_proto::{Endpoint, Origin, RecvBuffers, Socket, Transmit};

/// Batches received, and sent, before others on the same thread get their turn.
const BATCHES: usize = 32;

/// A socket and the endpoint behind it.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) endpoint: Endpoint,
    socket: Socket,
    is_v4: bool,
    /// What the socket did not take yet.
    unsent: Option<Transmit>,
    contents: Vec<u8>,
    pub(super) traffic: Traffic,
}

/// What has gone through sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// UDP datagrams that came in.
    pub datagrams_in: u64,
    /// Their payload, in bytes.
    pub bytes_in: u64,
    /// UDP datagrams that were sent.
    pub datagrams_out: u64,
    /// Their payload, in bytes.
    pub bytes_out: u64,
}

impl Traffic {
    pub(super) fn add(&mut self, more: Self) {
        self.datagrams_in = self.datagrams_in.wrapping_add(more.datagrams_in);
        self.bytes_in = self.bytes_in.wrapping_add(more.bytes_in);
        self.datagrams_out = self.datagrams_out.wrapping_add(more.datagrams_out);
        self.bytes_out = self.bytes_out.wrapping_add(more.bytes_out);
    }
}

/// How far sending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// There is nothing more.
    All,
    /// There may be more.
    Some,
    /// The socket takes no more for now; the task is woken when it does.
    Blocked,
}

impl Port {
    pub(super) fn new(
        socket: Socket,
        endpoint: impl FnOnce(&Socket) -> Endpoint,
    ) -> std::io::Result<Self> {
        let is_v4 = socket.local_addr()?.is_ipv4();
        let endpoint = endpoint(&socket);
        let (contents, traffic) = (Vec::new(), Traffic::default());
        Ok(Self { endpoint, socket, is_v4, unsent: None, contents, traffic })
    }

    /// Whether a peer at this address can be reached from it.
    pub(super) fn is_for(&self, remote: SocketAddr) -> bool {
        remote.is_ipv4() == self.is_v4
    }

    /// Receives what there is. `elsewhere` takes what belongs to another shard; what it gives back
    /// belongs here. Whether there may be more.
    pub(super) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut RecvBuffers,
        mut elsewhere: impl FnMut(Origin, BytesMut) -> Option<BytesMut>,
    ) -> bool {
        for _ in 0..BATCHES {
            let count = match self.socket.poll_recv(cx, buffers) {
                Poll::Ready(Ok(count)) => count,
                // A socket that cannot be read will not come back; its connections time out.
                Poll::Ready(Err(_)) | Poll::Pending => return false,
            };
            let now = Instant::now();
            for (origin, datagram) in buffers.datagrams(count) {
                self.traffic.datagrams_in = self.traffic.datagrams_in.wrapping_add(1);
                self.traffic.bytes_in = self.traffic.bytes_in.wrapping_add(datagram.len() as u64);
                if let Some(datagram) = elsewhere(origin, datagram) {
                    self.handle_datagram(now, origin, datagram);
                }
            }
        }
        true
    }

    /// A datagram came in, here or at another shard's socket.
    pub(super) fn handle_datagram(&mut self, now: Instant, origin: Origin, datagram: BytesMut) {
        let Origin { remote, local_ip, ecn } = origin;
        self.endpoint.handle_datagram(now, remote, local_ip, ecn, datagram);
    }

    /// Sends what there is to send.
    pub(super) fn transmit(&mut self, cx: &mut Context<'_>) -> Sent {
        for _ in 0..BATCHES {
            if self.unsent.is_none() {
                // The system may have turned out not to split datagrams after all.
                self.endpoint.set_max_segments(self.socket.max_segments());
                self.unsent = self.endpoint.poll_transmit(Instant::now(), &mut self.contents);
            }
            let Some(transmit) = &self.unsent else { return Sent::All };
            let contents = self.contents.get(..transmit.size).unwrap_or_default();
            if self.socket.poll_send(cx, transmit, contents).is_pending() {
                self.endpoint.process(Instant::now());
                return Sent::Blocked;
            }
            let datagrams =
                transmit.size.div_ceil(transmit.segment_size.unwrap_or(transmit.size).max(1));
            self.traffic.datagrams_out = self.traffic.datagrams_out.wrapping_add(datagrams as u64);
            self.traffic.bytes_out = self.traffic.bytes_out.wrapping_add(transmit.size as u64);
            self.unsent = None;
        }
        Sent::Some
    }
}
