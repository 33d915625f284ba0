//! From a peer onto its path.

use bytes::Bytes;
use moqt_engine::{Timestamp, Transmit};

use super::{Link, Path, State, World};
use crate::agenda::{Frame, Happening};
use crate::peer::Peer;
use crate::raw::{RawTaken, StreamId};
use crate::side::Side;
use crate::trace::Note;

/// What a sender is asked for at a time where bandwidth is bounded.
const PACKET: usize = 1200;

/// What a peer had to send.
enum Turn {
    Nothing,
    /// Something that is dealt with already.
    Done,
    Stream(Taken),
}

/// What was taken of a stream.
struct Taken {
    stream: StreamId,
    pieces: Vec<Bytes>,
    fin: bool,
    /// There is more, for which there was no room.
    parked: bool,
}

impl Link {
    /// Takes one thing to send from a peer, if the path has room. Whether anything was there.
    pub(super) fn pump(&mut self, world: &mut World, side: Side) -> bool {
        if !self.has_room(world, side) {
            return false;
        }
        let turn = match &self.ends.get(side).peer {
            Peer::Engine(_) => self.take_engine(world, side),
            Peer::Raw(_) => self.take_raw(world, side),
        };
        match turn {
            Turn::Nothing => return false,
            Turn::Done => {}
            Turn::Stream(taken) => self.send_pieces(world, side, taken),
        }
        true
    }

    fn has_room(&mut self, world: &mut World, side: Side) -> bool {
        let end = self.ends.get_mut(side);
        if end.state != State::Open || world.now < end.out.moves_from {
            return false;
        }
        let is_free = end.out.free_at <= nanos(world.now);
        if !is_free && !end.out.awaits_room {
            end.out.awaits_room = true;
            world.agenda.add(ceil(end.out.free_at), end.id, Happening::Room);
        }
        is_free
    }

    fn take_engine(&mut self, world: &mut World, side: Side) -> Turn {
        let packet = self.packet(side);
        let end = self.ends.get_mut(side);
        let now = end.clock(world.now);
        let Peer::Engine(engine) = &mut end.peer else { return Turn::Nothing };
        match engine.poll_send(now) {
            None => Turn::Nothing,
            Some(Transmit::Datagram(datagram)) => {
                if world.now < end.out.datagrams_from {
                    datagram.blocked();
                    end.out.datagrams_parked = true;
                    return Turn::Done;
                }
                // Two parts are one datagram only in one place: this is the one copy here.
                let data = datagram.parts().concat();
                if end.out.config.datagrams.max_size.is_none_or(|max| data.len() > max) {
                    datagram.too_large();
                } else {
                    datagram.sent();
                    self.send_datagram(world, side, &data.into());
                }
                Turn::Done
            }
            Some(Transmit::Stream(mut send)) => {
                let id = end.keys.get(&send.stream()).copied();
                let stream = id.and_then(|id| Some((id, self.streams.get(&id)?)));
                let (chunks, fin) = send.offer();
                let total: usize = chunks.iter().map(Bytes::len).sum();
                let Some((id, stream)) = stream else {
                    // It was reset from outside: it goes nowhere.
                    send.written(total);
                    return Turn::Done;
                };
                let credit = stream.halves.get(side).credit.min(end.out.credit);
                let room = room(packet, credit);
                let pieces = front(chunks, room);
                send.written(total.min(room));
                let parked = room < total;
                Turn::Stream(Taken { stream: id, pieces, fin: fin && !parked, parked })
            }
        }
    }

    fn take_raw(&mut self, world: &mut World, side: Side) -> Turn {
        let packet = self.packet(side);
        let end = self.ends.get_mut(side);
        let Peer::Raw(raw) = &mut end.peer else { return Turn::Nothing };
        if world.now >= end.out.datagrams_from
            && let Some(data) = raw.datagrams_out.pop_front()
        {
            self.send_datagram(world, side, &data);
            return Turn::Done;
        }
        end.out.datagrams_parked |= !raw.datagrams_out.is_empty();
        let Some(id) = raw.ready.front().copied() else { return Turn::Nothing };
        let Some(stream) = self.streams.get(&id) else {
            raw.take(id, usize::MAX);
            return Turn::Done;
        };
        let credit = stream.halves.get(side).credit.min(end.out.credit);
        let taken = raw.take(id, room(packet, credit));
        let RawTaken { pieces, fin, more: parked } = taken;
        Turn::Stream(Taken { stream: id, pieces, fin, parked })
    }

    fn packet(&self, side: Side) -> usize {
        if self.ends.get(side).out.config.bandwidth.is_some() { PACKET } else { usize::MAX }
    }

    /// Puts what was taken of a stream on the path, cut as configured.
    fn send_pieces(&mut self, world: &mut World, side: Side, taken: Taken) {
        let Taken { stream: id, pieces, fin, parked } = taken;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let half = stream.halves.get_mut(side);
        let end = self.ends.get_mut(side);
        let total: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        half.credit = half.credit.saturating_sub(total);
        end.out.credit = end.out.credit.saturating_sub(total);
        if parked {
            if half.credit == 0 {
                half.parked = true;
            } else if end.out.credit == 0 {
                end.out.parked_for_credit.push(id);
            } else {
                end.out.parked_for_room.push(id);
            }
        }
        let to = self.ends.get(side.other()).id;
        let out = &mut self.ends.get_mut(side).out;
        let chunking = out.config.chunking;
        let mut departs = |out: &mut Path, data: Bytes, fin: bool| {
            out.in_flight += data.len();
            let departure = out.occupy(world.now, data.len());
            half.last_arrival = out.arrival(departure).max(half.last_arrival);
            let frame = Frame::Data { stream: id, data, fin };
            world.agenda.add(half.last_arrival, to, Happening::Arrival(frame));
        };
        let fin_joins = fin && total > 0 && chunking.joins_fin(&mut out.cuts);
        let mut left: usize = pieces.iter().map(Bytes::len).sum();
        for mut piece in pieces {
            while !piece.is_empty() {
                let data = piece.split_to(chunking.cut(&mut out.cuts, piece.len()));
                left -= data.len();
                departs(out, data, fin_joins && left == 0);
            }
        }
        if fin && !fin_joins {
            departs(out, Bytes::new(), true);
        }
    }

    fn send_datagram(&mut self, world: &mut World, side: Side, data: &Bytes) {
        let to = self.ends.get(side.other()).id;
        let end = self.ends.get_mut(side);
        let out = &mut end.out;
        let config = out.config.datagrams;
        if config.max_size.is_none_or(|max| data.len() > max) {
            return;
        }
        let departure = out.occupy(world.now, data.len());
        let copies = 1 + usize::from(out.datagrams.happens(config.duplication));
        for _ in 0..copies {
            let mut at = out.arrival(departure);
            if out.datagrams.happens(config.reordering) {
                at = at.saturating_add(out.datagrams.duration(config.reordering_delay));
            }
            if out.datagrams.happens(config.loss) {
                world.trace.note(world.now, end.id, Note::DatagramLost(data));
                continue;
            }
            world.agenda.add(at, to, Happening::Arrival(Frame::Datagram(data.clone())));
        }
    }

    /// Sends something of the transport's own. It takes no bandwidth.
    pub(super) fn send_frame(&mut self, world: &mut World, side: Side, frame: Frame) {
        let to = self.ends.get(side.other()).id;
        let at = self.ends.get_mut(side).out.arrival(world.now);
        world.agenda.add(at, to, Happening::Arrival(frame));
    }

    /// The peer at this side resets what it sends on a stream.
    pub(crate) fn reset(&mut self, world: &mut World, side: Side, id: StreamId, code: u64) {
        let to = self.ends.get(side.other()).id;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !id.sends(side) {
            return;
        }
        let last_arrival = stream.halves.get(side).last_arrival;
        let out = &mut self.ends.get_mut(side).out;
        let mut at = out.arrival(world.now);
        if out.config.reset == crate::ResetDelivery::AfterData {
            at = at.max(last_arrival);
        }
        let frame = Frame::Reset { stream: id, code };
        world.agenda.add(at, to, Happening::Arrival(frame));
    }

    /// The peer at this side wants no more of a stream.
    pub(crate) fn stop(&mut self, world: &mut World, side: Side, id: StreamId, code: u64) {
        if !id.sends(side.other()) {
            return;
        }
        self.discard(world, side, id);
        if self.streams.contains_key(&id) {
            self.send_frame(world, side, Frame::Stop { stream: id, code });
        }
    }

    /// There is room on the path again.
    pub(crate) fn on_room(&mut self, world: &mut World, side: Side) {
        let out = &mut self.ends.get_mut(side).out;
        out.awaits_room = false;
        let parked = core::mem::take(&mut out.parked_for_room);
        self.unpark(world, side, parked);
        self.settle(world, side);
    }

    pub(super) fn unpark(&mut self, world: &mut World, side: Side, parked: Vec<StreamId>) {
        for id in parked {
            let handle = self.handle(side, id);
            let end = self.ends.get_mut(side);
            end.peer.writable(end.clock(world.now), handle);
            self.drain(world, side);
        }
    }
}

impl Path {
    /// Occupies the path with this many bytes; tells when the last of them has left.
    fn occupy(&mut self, now: Timestamp, bytes: usize) -> Timestamp {
        let Some(bandwidth) = self.config.bandwidth else { return now };
        let takes = bytes as u128 * 1_000_000_000 / u128::from(bandwidth.max(1));
        self.free_at = self.free_at.max(nanos(now)) + takes;
        ceil(self.free_at)
    }
}

fn nanos(at: Timestamp) -> u128 {
    u128::from(at.as_micros()) * 1000
}

/// The first microsecond that is not before.
fn ceil(nanos: u128) -> Timestamp {
    Timestamp::from_micros(u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX))
}

fn room(packet: usize, credit: u64) -> usize {
    packet.min(usize::try_from(credit).unwrap_or(usize::MAX))
}

/// The first `len` bytes, without copying any.
fn front(chunks: &[Bytes], len: usize) -> Vec<Bytes> {
    let mut left = len;
    let mut pieces = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let take = left.min(chunk.len());
        if take == 0 {
            break;
        }
        pieces.push(chunk.slice(..take));
        left -= take;
    }
    pieces
}
