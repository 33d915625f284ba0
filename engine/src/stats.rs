//! Counters, for monitoring.

/// What a connection has sent and received since it began.
///
/// Counters only grow, and wrap never within the life of a session. What a connection holds
/// now is told by [`usage`](crate::MoqtConnection::usage).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// What this side has sent.
    pub sent: Traffic,
    /// What has come from the peer.
    pub received: Traffic,
    /// What this side has sent of fetches, which is not in `sent`.
    pub fetches_sent: FetchTraffic,
    /// What has come from the peer of fetches, which is not in `received`.
    pub fetches_received: FetchTraffic,
    /// Trace events that were dropped because too many waited to be polled
    /// ([`Limits::trace_events`](crate::Limits::trace_events)).
    pub trace_events_dropped: u64,
}

/// Fetched objects in one direction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FetchTraffic {
    /// Streams opened to answer a FETCH.
    pub responses: u64,
    /// Objects on those: given to be sent, or begun to be read.
    pub objects: u64,
    /// Bytes of payload of those, as their headers say; `u64::MAX` stands for any more.
    pub payload_bytes: u64,
}

/// Objects in one direction of a session or of a subscription, except those that were fetched:
/// they are counted apart ([`Stats::fetches_sent`], [`Stats::fetches_received`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Objects on streams: given to be sent, or begun to be read.
    pub objects: u64,
    /// Bytes of payload of those, as their headers say; `u64::MAX` stands for any more.
    pub payload_bytes: u64,
    /// Streams opened for subgroups.
    pub subgroups: u64,
    /// Those of them that were reset by their sender or stopped by their receiver.
    pub subgroups_reset: u64,
    /// Subgroups that the sender gave up because a delivery timeout passed; they are among those
    /// reset unless they had been sent whole. Not known of what is received.
    pub subgroups_timed_out: u64,
    /// Subgroups that the sender gave up because its queue was full, among those reset. Not
    /// known of what is received.
    pub subgroups_dropped: u64,
    /// Objects in datagrams that were handed to the transport, or given to the application.
    pub datagrams: u64,
    /// Bytes of payload of those.
    pub datagram_bytes: u64,
    /// Datagrams that were not, for whatever reason.
    pub datagrams_dropped: Drops,
    /// Objects that the subscriber's filter or forward state left out. Not known of what is
    /// received.
    pub objects_skipped: u64,
}

/// Datagrams that were dropped, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drops {
    /// They were larger than the transport takes.
    pub too_large: u64,
    /// Too much waited to be sent, or for a track to be announced.
    pub queue_full: u64,
    /// Their track was not announced in time.
    pub unknown_track: u64,
    /// They waited for longer than their delivery timeout.
    pub delivery_timeout: u64,
}

impl Drops {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { too_large, queue_full, unknown_track, delivery_timeout } = self;
        too_large + queue_full + unknown_track + delivery_timeout
    }

    pub(crate) fn count(&mut self, reason: crate::DropReason) {
        use crate::DropReason;
        *match reason {
            DropReason::TooLarge => &mut self.too_large,
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::UnknownTrack => &mut self.unknown_track,
            DropReason::DeliveryTimeout => &mut self.delivery_timeout,
        } += 1;
    }
}

/// What a subscription has carried, and what of it waits, from
/// [`subscription_stats`](crate::MoqtConnection::subscription_stats).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SubscriptionStats {
    /// What it has carried: sent, or received, as the case may be.
    pub traffic: Traffic,
    /// Bytes that wait: to be taken by the transport, or to be read by the application.
    pub waiting_bytes: usize,
    /// Subgroup streams that have neither been finished nor reset, nor read to their end.
    pub open_subgroups: usize,
}

/// Counts payload, whose length is what a header says of it and may be anything.
pub(crate) fn add(counter: &mut u64, payload_len: u64) {
    *counter = counter.saturating_add(payload_len);
}
