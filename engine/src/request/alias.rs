use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::hash::{HashMap, KeyedState};
use crate::key::{RequestKey, StreamKey};
use crate::limits::Limits;
use crate::time::Timestamp;
use crate::timers::{Timer, Timers};
use crate::wire::ObjectDatagram;

/// The track aliases that the peer's objects refer to: in use, offered, unknown so far, and
/// closed not long ago (draft-18, "Track Alias").
#[derive(Debug)]
pub(crate) struct Aliases {
    map: HashMap<u64, State>,
    /// How many of them are unknown.
    unknown: usize,
    /// Bytes held on streams of aliases not in use.
    held_bytes: usize,
    /// Datagrams held for aliases not in use, oldest first.
    held_datagrams: VecDeque<ObjectDatagram>,
    /// Closed aliases, oldest first. One that is in use again may still be here.
    tombstones: VecDeque<Tombstone>,
    /// How many of them, the newest, have no time yet.
    undated: usize,
    /// How many there have been.
    closings: u64,
}

#[derive(Debug)]
enum State {
    /// Objects belong to this subscription.
    Active(RequestKey),
    /// Objects wait until a PUBLISH has been answered.
    Offered(RequestKey, Vec<StreamKey>),
    /// Objects wait until their track is announced, up to a time.
    Unknown(Vec<StreamKey>, Timestamp),
    /// Objects are late, and dropped. Which closing that was, as an alias may be used anew.
    Closed(u64),
}

/// A closed alias.
#[derive(Debug)]
struct Tombstone {
    alias: u64,
    closing: u64,
    /// When it was closed, or first thought of after that: time is not known everywhere.
    closed: Timestamp,
}

/// What is to be done with a stream or datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// It belongs to this subscription.
    Active(RequestKey),
    /// It waits.
    Held,
    /// It is too late, or too much.
    Dropped,
}

/// What a held stream counts for besides its bytes: it takes memory even if it has none.
const HELD_STREAM: usize = 256;

impl Aliases {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            map: HashMap::with_hasher(KeyedState::new(hash_seed)),
            unknown: 0,
            held_bytes: 0,
            held_datagrams: VecDeque::new(),
            tombstones: VecDeque::new(),
            undated: 0,
            closings: 0,
        }
    }

    /// Where a stream with `bytes` bytes so far goes.
    pub(crate) fn place_stream(
        &mut self,
        now: Timestamp,
        alias: u64,
        stream: StreamKey,
        bytes: usize,
        limits: &Limits,
        timers: &mut Timers,
    ) -> Placement {
        self.forget_old(now, limits);
        match self.map.get(&alias) {
            Some(State::Active(request)) => return Placement::Active(*request),
            Some(State::Closed(_)) => return Placement::Dropped,
            _ => {}
        }
        let size = bytes.saturating_add(HELD_STREAM);
        if self.held_bytes.saturating_add(size) > limits.unknown_alias_bytes
            || !self.admit(now, alias, limits, timers)
        {
            return Placement::Dropped;
        }
        if let Some(State::Offered(_, streams) | State::Unknown(streams, _)) =
            self.map.get_mut(&alias)
        {
            streams.push(stream);
        }
        self.held_bytes += size;
        Placement::Held
    }

    /// Where a datagram goes; if it is held, an older one may have to go.
    pub(crate) fn place_datagram(
        &mut self,
        now: Timestamp,
        datagram: &ObjectDatagram,
        limits: &Limits,
        timers: &mut Timers,
    ) -> (Placement, Option<ObjectDatagram>) {
        let alias = datagram.header.track_alias;
        self.forget_old(now, limits);
        match self.map.get(&alias) {
            Some(State::Active(request)) => return (Placement::Active(*request), None),
            Some(State::Closed(_)) => return (Placement::Dropped, None),
            _ => {}
        }
        if limits.unknown_alias_datagrams == 0 || !self.admit(now, alias, limits, timers) {
            return (Placement::Dropped, None);
        }
        let oldest = if self.held_datagrams.len() >= limits.unknown_alias_datagrams {
            self.held_datagrams.pop_front()
        } else {
            None
        };
        self.held_datagrams.push_back(datagram.clone());
        (Placement::Held, oldest)
    }

    /// Sees to it that the alias has a state, if there is room for one more.
    fn admit(&mut self, now: Timestamp, alias: u64, limits: &Limits, timers: &mut Timers) -> bool {
        if self.map.contains_key(&alias) {
            return true;
        }
        if self.unknown >= limits.unknown_aliases {
            return false;
        }
        let deadline = now.saturating_add(limits.unknown_alias_timeout);
        timers.set(deadline, Timer::UnknownAlias(alias));
        self.map.insert(alias, State::Unknown(Vec::new(), deadline));
        self.unknown += 1;
        true
    }

    /// A held stream is no more, or no longer held, with this many bytes.
    pub(crate) fn release_stream(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes.saturating_add(HELD_STREAM));
    }

    /// Further bytes came on a held stream; whether there is room for them.
    pub(crate) fn hold_more(&mut self, bytes: usize, limits: &Limits) -> bool {
        self.held_bytes += bytes;
        self.held_bytes <= limits.unknown_alias_bytes
    }

    /// The alias is in use, or about to be, for a track other than this request's.
    pub(crate) fn is_taken(&self, alias: u64, by_other_than: RequestKey) -> bool {
        match self.map.get(&alias) {
            Some(State::Active(request) | State::Offered(request, _)) => *request != by_other_than,
            _ => false,
        }
    }

    /// The subscription that the alias is in use for.
    pub(crate) fn active(&self, alias: u64) -> Option<RequestKey> {
        match self.map.get(&alias) {
            Some(State::Active(request)) => Some(*request),
            _ => None,
        }
    }

    /// The alias in use is in use no more, but may be again at once.
    pub(crate) fn free(&mut self, alias: u64) {
        self.map.remove(&alias);
    }

    /// A PUBLISH announces the alias.
    pub(crate) fn offer(&mut self, alias: u64, request: RequestKey, timers: &mut Timers) {
        let streams = self.take_waiting(alias, timers);
        self.map.insert(alias, State::Offered(request, streams));
    }

    /// The alias is in use from now on. Returns what waited for it, in the order it came.
    pub(crate) fn activate(
        &mut self,
        alias: u64,
        request: RequestKey,
        timers: &mut Timers,
    ) -> (Vec<StreamKey>, Vec<ObjectDatagram>) {
        let streams = self.take_waiting(alias, timers);
        self.map.insert(alias, State::Active(request));
        (streams, self.take_datagrams(alias))
    }

    /// The alias is not in use any more, or will not be. Returns the streams that waited.
    pub(crate) fn close(
        &mut self,
        alias: u64,
        limits: &Limits,
        timers: &mut Timers,
    ) -> Vec<StreamKey> {
        let streams = self.take_waiting(alias, timers);
        self.take_datagrams(alias);
        self.closings += 1;
        let closing = self.closings;
        self.map.insert(alias, State::Closed(closing));
        self.tombstones.push_back(Tombstone { alias, closing, closed: Timestamp::ZERO });
        self.undated += 1;
        while self.tombstones.len() > limits.alias_tombstones {
            self.forget_oldest();
        }
        streams
    }

    /// Forgets aliases that were closed long ago, and dates those closed since the last time.
    fn forget_old(&mut self, now: Timestamp, limits: &Limits) {
        let undated = core::mem::take(&mut self.undated);
        for tombstone in self.tombstones.iter_mut().rev().take(undated) {
            tombstone.closed = now;
        }
        let is_old = |tombstone: &Tombstone| {
            now.saturating_since(tombstone.closed) >= limits.alias_tombstone_age
        };
        while self.tombstones.front().is_some_and(is_old) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(Tombstone { alias, closing, .. }) = self.tombstones.pop_front() else { return };
        self.undated = self.undated.min(self.tombstones.len());
        if matches!(self.map.get(&alias), Some(State::Closed(last)) if *last == closing) {
            self.map.remove(&alias);
        }
    }

    /// The time for an alias has passed, which is still unknown: its timer goes when that
    /// changes. Returns what waited for it.
    pub(crate) fn expire(
        &mut self,
        alias: u64,
        timers: &mut Timers,
    ) -> (Vec<StreamKey>, Vec<ObjectDatagram>) {
        let streams = self.take_waiting(alias, timers);
        self.map.remove(&alias);
        (streams, self.take_datagrams(alias))
    }

    /// Forgets a stream that waited and is gone, and the alias if nothing else waits for it.
    pub(crate) fn forget_stream(
        &mut self,
        alias: u64,
        stream: StreamKey,
        bytes: usize,
        timers: &mut Timers,
    ) {
        self.release_stream(bytes);
        let Some(state) = self.map.get_mut(&alias) else { return };
        if let State::Offered(_, streams) | State::Unknown(streams, _) = state {
            streams.retain(|other| *other != stream);
        }
        let is_left = matches!(state, State::Unknown(streams, _) if streams.is_empty())
            && self.held_datagrams.iter().all(|held| held.header.track_alias != alias);
        if is_left {
            self.take_waiting(alias, timers);
            self.map.remove(&alias);
        }
    }

    fn take_waiting(&mut self, alias: u64, timers: &mut Timers) -> Vec<StreamKey> {
        match self.map.get_mut(&alias) {
            Some(State::Unknown(streams, deadline)) => {
                timers.clear(*deadline, Timer::UnknownAlias(alias));
                self.unknown = self.unknown.saturating_sub(1);
                core::mem::take(streams)
            }
            Some(State::Offered(_, streams)) => core::mem::take(streams),
            _ => Vec::new(),
        }
    }

    fn take_datagrams(&mut self, alias: u64) -> Vec<ObjectDatagram> {
        let (taken, kept): (Vec<_>, Vec<_>) = core::mem::take(&mut self.held_datagrams)
            .into_iter()
            .partition(|datagram| datagram.header.track_alias == alias);
        self.held_datagrams = kept.into();
        taken
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::key::Table;
    use crate::model::{Location, ObjectStatus};
    use crate::wire::{DatagramHeader, Properties};

    const NOW: Timestamp = Timestamp::ZERO;

    fn datagram(track_alias: u64) -> ObjectDatagram {
        let header = DatagramHeader {
            track_alias,
            location: Location::ZERO,
            publisher_priority: None,
            end_of_group: false,
            status: ObjectStatus::Normal,
            properties: Properties::EMPTY,
        };
        ObjectDatagram { header, payload: Bytes::new() }
    }

    fn later(time: Duration) -> Timestamp {
        NOW.saturating_add(time)
    }

    // An alias goes on waiting while anything does for it, and its timer with it.
    #[test]
    fn a_stream_that_is_gone_leaves_what_else_waits() {
        let (limits, mut timers, mut aliases) =
            (Limits::default(), Timers::default(), Aliases::new(0));
        let mut keys: Table<StreamKey, ()> = Table::default();
        let streams = [keys.insert(()), keys.insert(())];
        for stream in streams {
            let placed = aliases.place_stream(NOW, 1, stream, 10, &limits, &mut timers);
            assert_eq!(placed, Placement::Held);
        }
        for alias in [1, 2] {
            let placed = aliases.place_datagram(NOW, &datagram(alias), &limits, &mut timers);
            assert_eq!(placed, (Placement::Held, None));
        }
        for stream in streams {
            aliases.forget_stream(1, stream, 10, &mut timers);
            assert_eq!(aliases.unknown, 2, "its datagram waits");
        }
        assert_eq!(aliases.held_bytes, 0);
        let deadline = later(limits.unknown_alias_timeout);
        assert_eq!(timers.next(), Some((deadline, Timer::UnknownAlias(1))));
        assert_eq!(aliases.expire(1, &mut timers), (vec![], vec![datagram(1)]));
        assert_eq!(timers.next(), Some((deadline, Timer::UnknownAlias(2))));

        // With the other's datagram only, nothing waits for this one any more.
        aliases.place_stream(NOW, 1, streams[0], 10, &limits, &mut timers);
        aliases.forget_stream(1, streams[0], 10, &mut timers);
        assert_eq!(aliases.unknown, 1);
        assert_eq!(timers.next(), Some((deadline, Timer::UnknownAlias(2))));
    }

    // A publisher may use an alias anew: what was remembered of the subscription that had it does
    // not end the one that has it now.
    #[test]
    fn an_alias_in_use_again_is_not_forgotten() {
        let (limits, mut timers, mut aliases) =
            (Limits::default(), Timers::default(), Aliases::new(0));
        let mut streams: Table<StreamKey, ()> = Table::default();
        let mut requests: Table<RequestKey, ()> = Table::default();
        let (stream, request) = (streams.insert(()), requests.insert(()));
        assert_eq!(aliases.close(1, &limits, &mut timers), []);
        let place = |aliases: &mut Aliases, timers: &mut Timers, now| {
            aliases.place_stream(now, 1, stream, 0, &limits, timers)
        };
        assert_eq!(place(&mut aliases, &mut timers, NOW), Placement::Dropped);
        assert_eq!(aliases.activate(1, request, &mut timers), (vec![], vec![]));
        assert_eq!(place(&mut aliases, &mut timers, NOW), Placement::Active(request));
        let long_after = later(limits.alias_tombstone_age);
        assert_eq!(place(&mut aliases, &mut timers, long_after), Placement::Active(request));
        assert!(aliases.tombstones.is_empty());
    }

    // It is remembered from when it was closed last.
    #[test]
    fn an_alias_closed_anew_is_remembered_anew() {
        let (limits, mut timers, mut aliases) =
            (Limits::default(), Timers::default(), Aliases::new(0));
        let mut streams: Table<StreamKey, ()> = Table::default();
        let mut requests: Table<RequestKey, ()> = Table::default();
        let (stream, request) = (streams.insert(()), requests.insert(()));
        let place = |aliases: &mut Aliases, timers: &mut Timers, now| {
            aliases.place_stream(now, 1, stream, 0, &limits, timers)
        };
        let age = limits.alias_tombstone_age;
        for closed in [Duration::ZERO, age / 2] {
            aliases.activate(1, request, &mut timers);
            aliases.close(1, &limits, &mut timers);
            assert_eq!(place(&mut aliases, &mut timers, later(closed)), Placement::Dropped);
        }
        assert_eq!(place(&mut aliases, &mut timers, later(age)), Placement::Dropped);
        let over = later(age + age / 2);
        assert_eq!(place(&mut aliases, &mut timers, over), Placement::Held);
    }
}
