//! What the transport does.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use moqt_engine::{Dir, Timestamp, Transmit, TransportClosed};

use super::source::Source;
use super::world::World;

impl World<'_> {
    /// One thing that the transport does of itself.
    pub(super) fn transport_acts(&mut self) {
        match self.source.below(16) {
            0..=3 => {
                let room = self.room();
                self.take(room);
            }
            4 => {
                self.take_all();
            }
            5 => self.unpark(),
            6 => {
                self.datagrams_blocked = false;
                self.engine.handle_datagrams_writable(self.now);
            }
            7 => self.acknowledge(),
            8 | 9 => {
                let dir = if self.source.flag() { Dir::Bi } else { Dir::Uni };
                let more = self.source.small(4);
                self.allow(dir, more);
            }
            10 => {
                let size = self.source.some(Source::len);
                self.engine.handle_max_datagram_size(self.now, size);
            }
            11 => self.wake_early(),
            12 | 13 => {
                let time = match self.source.byte() {
                    byte @ 0..=127 => Duration::from_millis(u64::from(byte)),
                    byte => Duration::from_millis(u64::from(byte - 120) * 100),
                };
                self.wait(time);
            }
            14 => self.oversleep(),
            _ => {
                if self.source.one_in(40) {
                    let closed = if self.source.flag() {
                        let code = self.source.number();
                        TransportClosed::ByPeer { code, reason: String::new() }
                    } else {
                        TransportClosed::Lost { reason: "gone".into() }
                    };
                    self.peer.session_closed = true;
                    self.engine.handle_closed(self.now, closed);
                }
            }
        }
        self.drain();
    }

    fn room(&mut self) -> usize {
        match self.source.byte() {
            byte @ 0..=99 => usize::from(byte),
            _ => usize::MAX,
        }
    }

    /// Takes all there is. Whether there was anything.
    pub(super) fn take_all(&mut self) -> bool {
        let mut any = false;
        let mut patience = 1_000_000;
        while self.take(usize::MAX) {
            any = true;
            patience -= 1;
            assert!(patience > 0, "there is always more to send");
        }
        any
    }

    /// Takes what is most urgent, at most so much of it. Whether there was anything.
    pub(super) fn take(&mut self, room: usize) -> bool {
        // Data comes on streams that are opened before.
        while let Some(action) = self.engine.poll_action() {
            self.act(action);
        }
        let (key, chunks, fin, total) = match self.engine.poll_send(self.now) {
            None => return false,
            Some(Transmit::Datagram(send)) => {
                let bytes = send.parts().concat();
                match room {
                    0 => {
                        send.blocked();
                        self.datagrams_blocked = true;
                        return false;
                    }
                    1..50 if bytes.len() > room => send.too_large(),
                    _ => {
                        send.sent();
                        self.outgoing.datagram(&bytes);
                        self.reach("datagram sent");
                        self.note(&("datagram", bytes));
                    }
                }
                return true;
            }
            Some(Transmit::Stream(mut send)) => {
                let key = send.stream();
                let (offered, fin) = send.offer();
                let total: usize = offered.iter().map(Bytes::len).sum();
                let mut chunks = Vec::new();
                let mut left = room;
                for chunk in offered {
                    let take = chunk.len().min(left);
                    left -= take;
                    chunks.push(chunk.slice(..take));
                }
                assert!(total > 0 || fin, "nothing is offered");
                send.written(total.min(room));
                (key, chunks, fin, total)
            }
        };
        let name = self.name(key);
        let all = room >= total;
        {
            let stream = &mut self.streams[name];
            assert!(!stream.sent_fin && !stream.sent_reset, "bytes after the end of {name}");
            assert!(!stream.parked, "stream {name} rests");
            stream.parked = !all;
        }
        self.note(&("sent", name, &chunks, fin && all));
        for chunk in chunks {
            if chunk.is_empty() {
                continue;
            }
            for message in self.outgoing.taken(name, &chunk) {
                self.note(&("message", name, &message));
                self.peer_hears(name, message);
            }
        }
        if fin && all {
            self.streams[name].sent_fin = true;
            self.outgoing.finished(name);
        }
        true
    }

    fn unpark(&mut self) {
        for name in 0..self.streams.len() {
            if core::mem::take(&mut self.streams[name].parked) {
                self.engine.handle_writable(self.now, self.streams[name].key);
            }
        }
    }

    /// Nothing is in the way any more.
    pub(super) fn open_up(&mut self) {
        self.unpark();
        self.datagrams_blocked = false;
        self.engine.handle_datagrams_writable(self.now);
        self.drain();
        self.take_all();
        self.drain();
    }

    pub(super) fn acknowledge(&mut self) {
        for name in 0..self.streams.len() {
            let stream = &mut self.streams[name];
            if stream.sent_fin && !stream.acknowledged {
                stream.acknowledged = true;
                self.engine.handle_stream_acknowledged(self.now, stream.key);
            }
        }
    }

    /// Time passes, and the connection is woken when it asked to be.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now.saturating_add(time);
        let mut patience = 10_000;
        while let Some((at, timer)) = self.engine.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.note(&("woken", at));
            self.wake();
            patience -= 1;
            assert!(patience > 0, "never lets one sleep: {timer:?} at {at:?}");
        }
        self.now = until;
    }

    /// Time passes, and nobody wakes the connection when it asked to be.
    fn oversleep(&mut self) {
        let time = Duration::from_millis(u64::from(self.source.byte()) * 50);
        self.now = self.now.saturating_add(time);
        if self.source.flag() {
            self.wake();
        }
        if self.source.one_in(60) {
            self.now = Timestamp::from_micros(u64::MAX);
        }
    }

    /// The connection is woken for nothing.
    fn wake_early(&mut self) {
        self.wake();
    }

    fn wake(&mut self) {
        let is_end = self.now == Timestamp::from_micros(u64::MAX);
        // With a time of zero, what is done about one timer may set another that is due at once.
        let mut handled = BTreeSet::new();
        loop {
            self.engine.handle_timeout(self.now);
            self.drain();
            let due = self.engine.poll_timeout().filter(|(at, _)| *at <= self.now && !is_end);
            let Some((at, timer)) = due else { return };
            assert!(handled.insert((at, timer)), "{timer:?} was due at {at:?}, and still is");
        }
    }

    /// Bytes of the peer's arrive, as many as there is a window for.
    pub(super) fn deliver(&mut self, name: usize) {
        loop {
            let key = self.streams[name].key;
            let respects = self.habits.respects_windows;
            let window = if respects { self.engine.recv_window(key) } else { usize::MAX };
            let stream = &mut self.streams[name];
            if stream.fin || stream.reset {
                return;
            }
            let piece = self.habits.piece.max(stream.pending.len() / 64);
            let len = stream.pending.len().min(window).min(piece);
            let fin = stream.pending_fin && len == stream.pending.len();
            if window == 0 || (len == 0 && !fin) {
                return;
            }
            let rest = stream.pending.split_off(len);
            let data = core::mem::replace(&mut stream.pending, rest);
            stream.fin = fin;
            self.engine.handle_stream_data(self.now, key, data.into(), fin);
        }
    }
}
