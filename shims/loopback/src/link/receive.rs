//! From a path to the peer at its end.

use bytes::Bytes;
use moqt_engine::{Dir, TransportClosed};

use super::{Link, State, World};
use crate::agenda::Frame;
use crate::raw::StreamId;
use crate::side::{PerDir, Side};
use crate::trace::Note;

impl Link {
    /// Something arrives at this side.
    pub(crate) fn arrive(&mut self, world: &mut World, side: Side, frame: Frame) {
        let from = self.ends.get_mut(side.other());
        // A lost session is noticed at each end, not told by the other.
        if world.now < from.out.moves_from && !matches!(frame, Frame::Lost { .. }) {
            from.out.held.push(frame);
            return;
        }
        if let Frame::Data { data, .. } = &frame {
            from.out.in_flight = from.out.in_flight.saturating_sub(data.len());
        }
        if self.ends.get(side).state == State::Closed {
            return;
        }
        let now = world.now;
        let clock = self.ends.get(side).clock(now);
        world.trace.note(now, self.ends.get(side).id, Note::Arrival(&frame));
        match frame {
            Frame::Ready => self.ready(world, side),
            Frame::Data { stream, data, fin } => self.on_data(world, side, stream, data, fin),
            Frame::Reset { stream, code } => self.on_reset(world, side, stream, code),
            Frame::Stop { stream, code } => {
                self.announce(world, side, stream);
                let handle = self.handle(side, stream);
                self.ends.get_mut(side).peer.stop_sending(clock, handle, code);
            }
            Frame::Datagram(data) => self.ends.get_mut(side).peer.datagram(clock, data),
            Frame::StreamCredit { stream, bytes } => {
                let Some(known) = self.streams.get_mut(&stream) else { return };
                let half = known.halves.get_mut(side);
                half.credit = half.credit.saturating_add(bytes);
                if core::mem::take(&mut half.parked) {
                    self.unpark(world, side, vec![stream]);
                }
            }
            Frame::ConnectionCredit(bytes) => {
                let out = &mut self.ends.get_mut(side).out;
                out.credit = out.credit.saturating_add(bytes);
                let parked = core::mem::take(&mut out.parked_for_credit);
                self.unpark(world, side, parked);
            }
            Frame::Acknowledged(stream) => {
                self.ends.get_mut(side).peer.stream_acknowledged(clock, stream);
            }
            Frame::StreamsAllowed { dir, total } => {
                self.ends.get_mut(side).peer.streams_available(clock, dir, total);
            }
            Frame::Close { code, reason } => {
                self.closed(world, side, TransportClosed::ByPeer { code, reason });
            }
            Frame::Lost { reason } => self.closed(world, side, TransportClosed::Lost { reason }),
        }
        self.settle(world, side);
    }

    /// The transport's handshake is complete at this side.
    fn ready(&mut self, world: &mut World, side: Side) {
        let granted = self.ends.get(side.other()).granted;
        let end = self.ends.get_mut(side);
        end.state = State::Open;
        let size = end.out.config.datagrams.max_size;
        end.peer.max_datagram_size(end.clock(world.now), size);
        for dir in [Dir::Bi, Dir::Uni] {
            self.settle(world, side);
            let end = self.ends.get_mut(side);
            end.peer.streams_available(end.clock(world.now), dir, granted.get(dir));
        }
    }

    /// The peer learns of a stream by its first frame, or by that of a later one.
    fn announce(&mut self, world: &mut World, side: Side, stream: StreamId) {
        let (opener, dir) = (stream.opener(), stream.dir());
        if opener == side {
            return;
        }
        loop {
            let end = self.ends.get_mut(side);
            let next = end.announced.get_mut(dir);
            if *next > stream.ordinal() {
                return;
            }
            let id = StreamId::new(opener, dir, *next);
            *next += 1;
            let key = end.peer.stream_opened(end.clock(world.now), id);
            let Some(known) = self.streams.get_mut(&id) else { continue };
            known.halves.get_mut(side).key = key;
            if let Some(key) = key {
                end.keys.insert(key, id);
            }
            self.drain(world, side);
        }
    }

    fn on_data(&mut self, world: &mut World, side: Side, id: StreamId, data: Bytes, fin: bool) {
        self.announce(world, side, id);
        if fin && let Some(key) = self.key(side.other(), id) {
            // A stream's pieces come in order, so this was all of it.
            self.send_frame(world, side, Frame::Acknowledged(key));
        }
        let half = self.streams.get_mut(&id).map(|stream| stream.halves.get_mut(side));
        match half {
            Some(half) if !half.over && !half.discards => {
                half.arrived.push_back((data, fin));
                self.ends.get_mut(side).to_read.push_back(id);
            }
            half => {
                if let Some(half) = half {
                    half.over |= fin;
                }
                self.give_back(world, side, None, data.len());
                self.forget_if_over(world, id);
            }
        }
    }

    fn on_reset(&mut self, world: &mut World, side: Side, id: StreamId, code: u64) {
        self.announce(world, side, id);
        let delivery = self.ends.get(side.other()).out.config.reset;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let half = stream.halves.get_mut(side);
        if half.over {
            return;
        }
        half.reset = Some(code);
        if delivery == crate::ResetDelivery::Overtakes || half.discards {
            self.drop_arrived(world, side, id);
        }
        // Even a reader that reads nothing learns of a reset.
        self.hand_over_reset(world, side, id);
        self.ends.get_mut(side).to_read.push_back(id);
    }

    /// Hands over a reset if nothing is before it.
    pub(super) fn hand_over_reset(&mut self, world: &mut World, side: Side, id: StreamId) {
        let handle = self.handle(side, id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let half = stream.halves.get_mut(side);
        if half.over || !half.arrived.is_empty() {
            return;
        }
        if let Some(code) = half.reset.take() {
            half.over = true;
            let end = self.ends.get_mut(side);
            end.peer.stream_reset(end.clock(world.now), handle, code);
            self.forget_if_over(world, id);
        }
    }

    /// Hands over one piece of a stream, as much of it as is wanted.
    pub(super) fn hand_over(&mut self, world: &mut World, side: Side, id: StreamId) {
        let handle = self.handle(side, id);
        let overshoot = self.ends.get(side.other()).out.config.overshoot;
        let end = self.ends.get_mut(side);
        if end.state == State::Closed || world.now < end.reads_from {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let half = stream.halves.get_mut(side);
        let Some((data, fin)) = half.arrived.front_mut() else {
            return self.hand_over_reset(world, side, id);
        };
        let window = end.peer.recv_window(handle);
        if window == 0 {
            return;
        }
        let is_whole = overshoot || data.len() <= window;
        let len = if is_whole { data.len() } else { window };
        let (data, fin) = (data.split_to(len), is_whole && *fin);
        if is_whole {
            half.arrived.pop_front();
        }
        half.over = fin;
        if !fin && (!half.arrived.is_empty() || half.reset.is_some()) {
            end.to_read.push_front(id);
        }
        end.peer.stream_data(end.clock(world.now), handle, data, fin);
        self.give_back(world, side, Some(id), len);
        self.forget_if_over(world, id);
    }

    /// Nobody reads on in a stream: what comes in is dropped from now on.
    pub(super) fn discard(&mut self, world: &mut World, side: Side, id: StreamId) {
        let fin = self.drop_arrived(world, side, id);
        if let Some(stream) = self.streams.get_mut(&id) {
            let half = stream.halves.get_mut(side);
            half.discards = true;
            half.over |= fin;
        }
        self.forget_if_over(world, id);
    }

    /// Drops what has not been handed over. Whether the end of the stream was there.
    pub(super) fn drop_arrived(&mut self, world: &mut World, side: Side, id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let arrived = core::mem::take(&mut stream.halves.get_mut(side).arrived);
        let bytes = arrived.iter().map(|(data, _)| data.len()).sum();
        self.give_back(world, side, None, bytes);
        arrived.iter().any(|(_, fin)| *fin)
    }

    /// Bytes have left the receiver's window. Credit travels back when a quarter of a window
    /// has come together.
    fn give_back(&mut self, world: &mut World, side: Side, id: Option<StreamId>, bytes: usize) {
        let config = &self.ends.get(side.other()).out.config;
        let (of_stream, of_all) = (config.stream_window, config.connection_window);
        let due = |owed: &mut u64, window: u64| {
            *owed += bytes as u64;
            let is_due = *owed > 0 && *owed >= window / 4;
            if is_due { core::mem::take(owed) } else { 0 }
        };
        let half = id.and_then(|id| Some((id, self.streams.get_mut(&id)?.halves.get_mut(side))));
        if let Some((stream, half)) = half
            && !half.over
        {
            let bytes = due(&mut half.owed, of_stream);
            if bytes > 0 {
                self.send_frame(world, side, Frame::StreamCredit { stream, bytes });
            }
        }
        let bytes = due(&mut self.ends.get_mut(side).owed, of_all);
        if bytes > 0 {
            self.send_frame(world, side, Frame::ConnectionCredit(bytes));
        }
    }

    fn closed(&mut self, world: &mut World, side: Side, closed: TransportClosed) {
        let end = self.ends.get_mut(side);
        end.state = State::Closed;
        end.peer.closed(end.clock(world.now), closed);
        self.clear_if_over();
    }

    /// What this side may open, as the other has granted it.
    pub(crate) fn may_open(&self, side: Side, dir: Dir) -> bool {
        let end = self.ends.get(side);
        let opened: PerDir = end.opened;
        let allowed = self.raw(side).map_or(0, |raw| raw.allowed.get(dir));
        end.state == State::Open && opened.get(dir) < allowed
    }
}
