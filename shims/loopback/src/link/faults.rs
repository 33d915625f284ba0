//! What goes wrong on purpose.

use core::time::Duration;

use moqt_engine::Dir;

use super::{Half, Link, State, World};
use crate::agenda::{Frame, Happening};
use crate::fault::Fault;
use crate::raw::StreamId;
use crate::side::Side;
use crate::trace::Note;

impl Link {
    /// Something goes wrong at this side.
    pub(crate) fn inject(&mut self, world: &mut World, side: Side, fault: Fault) {
        let end = self.ends.get(side);
        world.trace.note(world.now, end.id, Note::Fault(&fault));
        if end.state == State::Closed {
            return;
        }
        let now = world.now;
        match fault {
            Fault::ResetStream { stream, code } => {
                let chosen = match stream {
                    Some(key) => self.id(side, key),
                    None => self.choose(side, |id, half| id.sends(side.other()) && !half.over),
                };
                if let Some(id) = chosen {
                    self.reset_from_outside(world, side, id, code);
                }
            }
            Fault::StopSending { stream, code } => {
                let chosen = match stream {
                    Some(key) => self.id(side, key),
                    None => self.choose(side, |id, _| id.sends(side)),
                };
                if let Some(id) = chosen {
                    let handle = self.handle(side, id);
                    let end = self.ends.get_mut(side);
                    end.peer.stop_sending(end.clock(now), handle, code);
                }
            }
            Fault::Disconnect { reason } => {
                for to in Side::BOTH {
                    let reason = reason.clone();
                    self.send_frame(world, to.other(), Frame::Lost { reason });
                }
            }
            Fault::Leap { by } => {
                let ahead = &mut self.ends.get_mut(side).ahead;
                *ahead = ahead.saturating_add(by);
            }
            Fault::Stall { lasting } => {
                let until = self.until(world, side, lasting);
                self.ends.get_mut(side).out.moves_from = until;
            }
            Fault::StopReading { lasting } => {
                let until = self.until(world, side, lasting);
                self.ends.get_mut(side).reads_from = until;
            }
            Fault::RefuseStreams { lasting } => {
                let until = self.until(world, side, lasting);
                self.ends.get_mut(side).grants_from = until;
            }
            Fault::HoldDatagrams { lasting } => {
                let until = self.until(world, side, lasting);
                self.ends.get_mut(side).out.datagrams_from = until;
            }
        }
        self.settle(world, side);
    }

    fn until(&self, world: &mut World, side: Side, lasting: Duration) -> moqt_engine::Timestamp {
        let until = world.now.saturating_add(lasting);
        if lasting < Duration::MAX {
            world.agenda.add(until, self.ends.get(side).id, Happening::Resume);
        }
        until
    }

    /// Something that was held up may go on.
    pub(crate) fn resume(&mut self, world: &mut World, side: Side) {
        let now = world.now;
        let to = self.ends.get(side.other()).id;
        let end = self.ends.get_mut(side);
        if now >= end.out.moves_from {
            for frame in core::mem::take(&mut end.out.held) {
                world.agenda.add(now, to, Happening::Arrival(frame));
            }
        }
        if now >= end.out.datagrams_from && core::mem::take(&mut end.out.datagrams_parked) {
            end.peer.datagrams_writable(end.clock(now));
        }
        if now >= end.reads_from {
            let waiting = |half: &Half| !half.arrived.is_empty() || half.reset.is_some();
            let streams = self.streams.iter();
            let readable = streams.filter(|(_, stream)| waiting(stream.halves.get(side)));
            end.to_read = readable.map(|(id, _)| *id).collect();
        }
        for dir in [Dir::Bi, Dir::Uni] {
            self.grant(world, side, dir);
        }
        self.settle(world, side);
    }

    /// One of the streams that this side knows and that are fit, as the seed says.
    fn choose(&mut self, side: Side, is_fit: impl Fn(StreamId, &Half) -> bool) -> Option<StreamId> {
        let is_raw = self.raw(side).is_some();
        let streams = self.streams.iter().map(|(id, stream)| (*id, stream.halves.get(side)));
        let fit: Vec<StreamId> = streams
            .filter(|(id, half)| (is_raw || half.key.is_some()) && is_fit(*id, half))
            .map(|(id, _)| id)
            .collect();
        self.faults.pick(&fit).copied()
    }

    fn reset_from_outside(&mut self, world: &mut World, side: Side, id: StreamId, code: u64) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        // What the other end still sends goes nowhere, but must not wait for anything.
        let sending = stream.halves.get_mut(side.other());
        sending.credit = u64::MAX;
        sending.parked = false;
        let half = stream.halves.get_mut(side);
        if half.over {
            return;
        }
        half.reset = Some(code);
        half.discards = true;
        self.unpark(world, side.other(), vec![id]);
        self.drop_arrived(world, side, id);
        self.hand_over_reset(world, side, id);
        self.settle(world, side.other());
    }
}
