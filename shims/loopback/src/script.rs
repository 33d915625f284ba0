//! What a scripted peer does.

use bytes::Bytes;
use moqt_engine::Dir;

use crate::network::{EndpointId, Network};
use crate::raw::StreamId;

/// Lets a scripted peer send, from [`Network::script`].
///
/// Its transport keeps QUIC's rules: streams are limited, windows hold what it sends back, and
/// nothing is sent on a stream that has ended. What it sends may break any rule of MoQT. Calls
/// that have no meaning for a stream are ignored.
#[derive(Debug)]
pub struct Script<'a> {
    network: &'a mut Network,
    at: EndpointId,
}

impl<'a> Script<'a> {
    pub(crate) fn new(network: &'a mut Network, at: EndpointId) -> Self {
        Self { network, at }
    }

    /// Opens a stream; `None` if the transport has none left, or is not ready yet.
    pub fn open(&mut self, dir: Dir) -> Option<StreamId> {
        self.network.act(self.at, |link, _, side| {
            if !link.may_open(side, dir) {
                return None;
            }
            let id = link.open(side, dir, None);
            let raw = link.raw_mut(side)?;
            raw.known(id);
            raw.sending.entry(id).or_default();
            Some(id)
        })
    }

    /// Sends bytes on a stream.
    pub fn send(&mut self, stream: StreamId, bytes: impl Into<Bytes>) {
        self.queue(stream, Some(bytes.into()), false);
    }

    /// Finishes a stream.
    pub fn finish(&mut self, stream: StreamId) {
        self.queue(stream, None, true);
    }

    fn queue(&mut self, stream: StreamId, data: Option<Bytes>, fin: bool) {
        self.network.act(self.at, |link, _, side| {
            link.raw_mut(side)?.queue(stream, data, fin);
            Some(())
        });
    }

    /// Resets a stream; what has not been delivered need not be.
    pub fn reset(&mut self, stream: StreamId, code: u64) {
        self.network.act(self.at, |link, world, side| {
            link.raw_mut(side)?.sending.remove(&stream)?;
            link.reset(world, side, stream, code);
            Some(())
        });
    }

    /// Asks the other end to stop sending on a stream.
    pub fn stop_sending(&mut self, stream: StreamId, code: u64) {
        self.network.act(self.at, |link, world, side| {
            link.stop(world, side, stream, code);
            Some(())
        });
    }

    /// Sends a datagram, unless it is too large for the path.
    pub fn datagram(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.network.act(self.at, |link, _, side| {
            link.raw_mut(side)?.datagrams_out.push_back(bytes);
            Some(())
        });
    }

    /// Closes the session.
    pub fn close(&mut self, code: u64, reason: &str) {
        self.network.act(self.at, |link, world, side| {
            link.close(world, side, code, reason.into());
            Some(())
        });
    }
}
