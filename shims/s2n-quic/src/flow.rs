//! How much may be written: the peer's limits, and how much s2n-quic holds.
//!
//! s2n-quic takes whatever it is given and keeps it, in an order that nothing can change any more.
//! It does not say how much that is, nor how much the peer allows. Both follow from the frames that
//! it tells of.

use std::collections::HashMap;
use std::time::Duration;

use moqt_engine::{Dir, Role};
use moqt_quic::BacklogBound;

/// Room that control and request streams have beyond the bound.
const CONTROL_ROOM: u64 = 64 * 1024;

/// What one connection may write.
#[derive(Debug)]
pub(crate) struct Flow {
    role: Role,
    /// The peer's limits for streams when they begin.
    initial: InitialLimits,
    /// How many streams the peer allows, over the connection's life: bidirectional and
    /// unidirectional.
    max_streams: [u64; 2],
    /// Sending sides in use.
    sending: HashMap<u64, Sending>,
    /// Limits for streams of the peer's that nobody here has accepted yet.
    early: HashMap<u64, u64>,
    /// How many bidirectional streams of the peer's were accepted.
    accepted: u64,
    backlog: BacklogBound,
    /// The most to have written and not acknowledged.
    max_backlog: u64,
    /// Bytes that were written and have never been sent.
    unsent: u64,
    /// Bytes that were sent and are neither acknowledged nor lost, as of the last acknowledgement.
    in_flight: u64,
    /// The bound was reached. Data waits until a worthwhile part of the backlog is gone: writing in
    /// small portions would leave many small pieces behind.
    is_full: bool,
}

/// What the peer's transport parameters say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InitialLimits {
    /// Bytes on a bidirectional stream that the peer opened.
    pub(crate) bidi_of_peer: u64,
    /// Bytes on a bidirectional stream that this side opened.
    pub(crate) bidi_of_ours: u64,
    /// Bytes on a unidirectional stream.
    pub(crate) uni: u64,
}

/// A sending side.
#[derive(Debug)]
struct Sending {
    /// The peer takes this many bytes.
    limit: u64,
    written: u64,
    /// Sent at least once.
    sent: u64,
    /// There was more to write than the limit allowed.
    is_waiting: bool,
}

/// Why no more may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// It was all.
    None,
    /// The peer takes no more of this stream.
    Stream,
    /// Enough is waiting in s2n-quic.
    Backlog,
}

impl Flow {
    pub(crate) fn new(role: Role, max_backlog: u64) -> Self {
        Self {
            role,
            initial: InitialLimits::default(),
            max_streams: [0; 2],
            sending: HashMap::new(),
            early: HashMap::new(),
            accepted: 0,
            backlog: BacklogBound::new(0, Duration::ZERO, max_backlog),
            max_backlog,
            unsent: 0,
            in_flight: 0,
            is_full: false,
        }
    }

    pub(crate) fn set_initial(&mut self, limits: InitialLimits, max_streams: [u64; 2]) {
        self.initial = limits;
        self.max_streams = max_streams;
    }

    /// Whether that is more than before.
    pub(crate) fn set_max_streams(&mut self, dir: Dir, max: u64) -> bool {
        let before = &mut self.max_streams[index(dir)];
        let is_more = max > *before;
        *before = max.max(*before);
        is_more
    }

    pub(crate) fn max_streams(&self, dir: Dir) -> u64 {
        self.max_streams[index(dir)]
    }

    /// This side has opened a stream.
    pub(crate) fn opened(&mut self, id: u64, dir: Dir) {
        let limit = match dir {
            Dir::Bi => self.initial.bidi_of_ours,
            Dir::Uni => self.initial.uni,
        };
        self.begin(id, limit);
    }

    /// A bidirectional stream of the peer's was accepted.
    pub(crate) fn accepted(&mut self, id: u64) {
        self.accepted = self.accepted.max((id >> 2) + 1);
        let early = self.early.remove(&id).unwrap_or_default();
        self.begin(id, self.initial.bidi_of_peer.max(early));
    }

    fn begin(&mut self, id: u64, limit: u64) {
        let sending = Sending { limit, written: 0, sent: 0, is_waiting: false };
        self.sending.insert(id, sending);
    }

    /// The peer takes more of a stream. Whether somebody waits for that.
    pub(crate) fn set_max_stream_data(&mut self, id: u64, limit: u64) -> bool {
        if let Some(sending) = self.sending.get_mut(&id) {
            let is_more = limit > sending.limit;
            sending.limit = limit.max(sending.limit);
            return is_more && std::mem::take(&mut sending.is_waiting);
        }
        // The peer may say so before its stream is accepted. There are no more of those than it
        // may open; what is over was accepted.
        let is_of_client = id & 1 == 0;
        let is_bidi_of_peer = id & 2 == 0 && is_of_client == (self.role == Role::Server);
        if is_bidi_of_peer && id >> 2 >= self.accepted {
            let early = self.early.entry(id).or_default();
            *early = limit.max(*early);
        }
        false
    }

    /// Part of a stream was sent, maybe again. Whether data may be written again because of that.
    pub(crate) fn sent(&mut self, id: u64, end: u64) -> bool {
        let Some(sending) = self.sending.get_mut(&id) else { return false };
        let new = end.saturating_sub(sending.sent);
        sending.sent = end.max(sending.sent);
        self.unsent = self.unsent.saturating_sub(new);
        self.has_room_again()
    }

    /// What recovery knows of the path. Whether data may be written again because of that.
    pub(crate) fn measured(
        &mut self,
        congestion_window: u64,
        in_flight: u64,
        min_rtt: Duration,
    ) -> bool {
        self.in_flight = in_flight;
        self.backlog = BacklogBound::new(congestion_window, min_rtt, self.max_backlog);
        self.has_room_again()
    }

    /// A sending side is over: what was not sent never will be. Whether data may be written again
    /// because of that.
    pub(crate) fn forget(&mut self, id: u64) -> bool {
        let Some(sending) = self.sending.remove(&id) else { return false };
        self.unsent = self.unsent.saturating_sub(sending.written.saturating_sub(sending.sent));
        self.has_room_again()
    }

    /// Data has to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// How much of `wanted` bytes may be written on a stream now, and why no more. So much is
    /// written thereby.
    pub(crate) fn take(&mut self, id: u64, wanted: u64, is_control: bool) -> (u64, Bound) {
        let mut room = self.room();
        if is_control {
            room = room.saturating_add(CONTROL_ROOM);
        }
        let Some(sending) = self.sending.get_mut(&id) else { return (0, Bound::Stream) };
        let credit = sending.limit.saturating_sub(sending.written);
        let taken = wanted.min(credit).min(room);
        sending.written = sending.written.saturating_add(taken);
        self.unsent = self.unsent.saturating_add(taken);
        let bound = if taken == wanted {
            Bound::None
        } else if taken == credit {
            sending.is_waiting = true;
            Bound::Stream
        } else {
            self.is_full = true;
            Bound::Backlog
        };
        (taken, bound)
    }

    /// Bytes that may be written.
    fn room(&self) -> u64 {
        let unacknowledged = self.unsent.saturating_add(self.in_flight);
        let unsent = self.backlog.slack.saturating_sub(self.unsent);
        unsent.min(self.backlog.target.saturating_sub(unacknowledged))
    }

    fn has_room_again(&mut self) -> bool {
        let has_room = self.is_full && self.room() >= self.backlog.slack / 2;
        self.is_full &= !has_room;
        has_room
    }
}

fn index(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    /// Unidirectional streams of a client's, and a bidirectional one of its server's.
    const OURS: u64 = 2;
    const OTHER: u64 = 6;
    const THEIRS: u64 = 1;

    fn flow(stream_limit: u64) -> Flow {
        let mut flow = Flow::new(Role::Client, 1024 * KIB);
        let initial =
            InitialLimits { bidi_of_peer: 100, bidi_of_ours: stream_limit, uni: stream_limit };
        flow.set_initial(initial, [1, 2]);
        // Half of the window is beyond it: 32 KiB.
        flow.measured(64 * KIB, 0, Duration::from_millis(50));
        flow.opened(OURS, Dir::Uni);
        flow.opened(OTHER, Dir::Uni);
        flow
    }

    #[test]
    fn a_stream_takes_what_the_peer_allows() {
        let mut flow = flow(1000);
        assert_eq!(flow.take(OURS, 600, false), (600, Bound::None));
        assert_eq!(flow.take(OURS, 600, false), (400, Bound::Stream));
        assert_eq!(flow.take(OTHER, 600, false), (600, Bound::None));
        // What it allows less, or again, is nothing new.
        assert!(!flow.set_max_stream_data(OURS, 1000));
        assert!(flow.set_max_stream_data(OURS, 1100));
        assert_eq!(flow.take(OURS, 200, false), (100, Bound::Stream));
        // Nobody waits for the other.
        assert!(!flow.set_max_stream_data(OTHER, 5000));
        assert!(!flow.is_full());
    }

    #[test]
    fn what_the_peer_allows_before_its_stream_is_accepted_counts() {
        let mut flow = flow(1000);
        assert!(!flow.set_max_stream_data(THEIRS, 300));
        flow.accepted(THEIRS);
        assert_eq!(flow.take(THEIRS, 1000, true), (300, Bound::Stream));
        // And what it says of a stream that is over is not remembered.
        flow.forget(THEIRS);
        assert!(!flow.set_max_stream_data(THEIRS, 500));
        assert!(flow.early.is_empty());
        assert_eq!(flow.take(THEIRS, 1, true), (0, Bound::Stream));
    }

    #[test]
    fn data_waits_while_much_is_unsent() {
        let mut flow = flow(u64::MAX);
        assert_eq!(flow.take(OURS, 40 * KIB, false), (32 * KIB, Bound::Backlog));
        assert!(flow.is_full());
        // Not so what belongs on control and request streams.
        assert_eq!(flow.take(OTHER, KIB, true), (KIB, Bound::None));
        assert!(!flow.sent(OURS, 16 * KIB));
        // What is sent again frees nothing.
        assert!(!flow.sent(OURS, 16 * KIB));
        assert!(flow.sent(OURS, 17 * KIB));
        assert!(!flow.is_full());
        assert_eq!(flow.take(OURS, 40 * KIB, false), (16 * KIB, Bound::Backlog));
        // A stream that is over leaves nothing behind.
        assert!(flow.forget(OURS));
        assert_eq!(flow.take(OTHER, 40 * KIB, false), (31 * KIB, Bound::Backlog));
    }

    #[test]
    fn data_waits_while_much_is_unacknowledged() {
        let mut flow = flow(u64::MAX);
        assert!(!flow.measured(64 * KIB, 90 * KIB, Duration::from_millis(50)));
        assert_eq!(flow.take(OURS, 40 * KIB, false), (6 * KIB, Bound::Backlog));
        assert!(!flow.sent(OURS, 6 * KIB));
        assert!(!flow.measured(64 * KIB, 96 * KIB, Duration::from_millis(50)));
        assert!(flow.measured(64 * KIB, 80 * KIB, Duration::from_millis(50)));
        assert_eq!(flow.take(OURS, 40 * KIB, false), (16 * KIB, Bound::Backlog));
    }

    #[test]
    fn the_peer_raises_the_number_of_streams() {
        let mut flow = flow(0);
        assert_eq!((flow.max_streams(Dir::Bi), flow.max_streams(Dir::Uni)), (1, 2));
        assert!(flow.set_max_streams(Dir::Uni, 10));
        assert!(!flow.set_max_streams(Dir::Uni, 9));
        assert_eq!((flow.max_streams(Dir::Bi), flow.max_streams(Dir::Uni)), (1, 10));
    }
}
