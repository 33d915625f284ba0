//! Room for what is to be sent, and what happens when there is none.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::MoqtConnection;
use super::delivery::GivenUp;
use crate::error::{Blocked, CommandError};
use crate::event::{Event, GiveUpReason};
use crate::key::{RequestKey, StreamKey};
use crate::model::{PublishDoneCode, StreamResetCode};
use crate::stream::SenderKey;

/// What becomes of a subscription whose subscriber takes less than is published, once its
/// queue is full ([`Limits::subscription_send`](crate::Limits::subscription_send)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowSubscriber {
    /// Writing is [`Blocked`] until there is room. The publisher decides what to leave out.
    #[default]
    Block,
    /// The smallest group that has something waiting is given up: its streams are reset. The
    /// largest group never is; if there is no other, writing is [`Blocked`].
    DropOldestGroup,
    /// The subscription ends with TOO_FAR_BEHIND (draft-18, "Delivery Timeouts and Data
    /// Reliability").
    End,
}

impl MoqtConnection {
    /// Whether more may be queued for this sender, on a stream or in a datagram. If not, it
    /// will be told when.
    #[inline]
    pub(super) fn check_room(
        &mut self,
        sender: SenderKey,
        stream: Option<StreamKey>,
    ) -> Result<(), CommandError> {
        if self.has_room(sender) { Ok(()) } else { self.check_turn(sender, stream) }
    }

    /// Whether neither of the limits is reached.
    #[inline]
    pub(super) fn has_room(&self, sender: SenderKey) -> bool {
        let limits = &self.config.limits;
        let state = self.streams.schedule.sender(sender);
        state.is_some_and(|state| state.queued < limits.subscription_send)
            && self.streams.data_queued < limits.session_send
    }

    /// Whether more may be queued though a limit is reached: on a stream that the transport
    /// takes from, if all else that is queued waits for the peer to read. A peer that reads
    /// this stream first would wait forever otherwise.
    #[cold]
    fn check_turn(
        &mut self,
        sender: SenderKey,
        stream: Option<StreamKey>,
    ) -> Result<(), CommandError> {
        let session_is_full = self.streams.data_queued >= self.config.limits.session_send;
        let parked =
            stream.and_then(|stream| self.streams.send_mut(stream)).is_some_and(|half| half.parked);
        let Some(state) = self.streams.schedule.sender_mut(sender) else {
            return Err(CommandError::Gone);
        };
        if !parked && !session_is_full && state.is_all_parked() {
            return Ok(());
        }
        match self.slow_subscriber(sender) {
            Some((request, SlowSubscriber::DropOldestGroup)) if self.drop_oldest_group(request) => {
                return self.check_room(sender, stream);
            }
            Some((request, SlowSubscriber::End)) => {
                self.end_behind(request);
                return Err(CommandError::Gone);
            }
            _ => {}
        }
        let Some(state) = self.streams.schedule.sender_mut(sender) else {
            return Err(CommandError::Gone);
        };
        state.blocked = true;
        state.wants_turn |= !parked;
        if session_is_full {
            self.streams.schedule.note_session_blocked(sender);
        }
        Err(CommandError::Blocked(Blocked::Queue))
    }

    fn slow_subscriber(&self, sender: SenderKey) -> Option<(RequestKey, SlowSubscriber)> {
        let request = self.streams.schedule.sender(sender)?.request?;
        Some((request, self.publisher_state(request)?.slow))
    }

    /// Gives up the smallest group that has something waiting, unless it is the largest.
    /// Whether there was one.
    fn drop_oldest_group(&mut self, request: RequestKey) -> bool {
        let Some(publisher) = self.publisher_state(request) else { return false };
        let largest = publisher.subgroups.last_key_value().map(|((group, _), _)| *group);
        let waits = |stream: &StreamKey| {
            let half = self.streams.get(*stream).and_then(|stream| stream.send.as_ref());
            half.is_some_and(|half| half.queue.has_something())
        };
        let oldest = publisher.subgroups.iter().find(|(_, stream)| waits(stream));
        let Some(oldest) = oldest.map(|((group, _), _)| *group) else { return false };
        if Some(oldest) == largest {
            return false;
        }
        let of_group = publisher.subgroups.range((oldest, 0)..=(oldest, u64::MAX));
        let streams: Vec<StreamKey> = of_group.map(|(_, stream)| *stream).collect();
        for stream in streams {
            self.note_given_up(stream, GivenUp::BySender);
            self.count_sent(request, |sent| sent.subgroups_dropped += 1);
            self.reset_subgroup(request, stream, StreamResetCode::Cancelled);
            let reason = GiveUpReason::QueueFull;
            self.events.push_back(Event::SubgroupGivenUp { request, stream, reason });
        }
        true
    }

    /// Ends a subscription whose subscriber is too slow.
    fn end_behind(&mut self, request: RequestKey) {
        let Some(publisher) = self.publisher_state_mut(request) else { return };
        let reason = "too much waits to be sent".to_string();
        publisher.ending = Some((PublishDoneCode::TooFarBehind, reason));
        let open: Vec<StreamKey> = publisher.open.keys().copied().collect();
        let code = StreamResetCode::TooFarBehind;
        for stream in open {
            self.reset_subgroup(request, stream, code);
        }
        self.end_publishing_if_done(request);
        self.tell_end(request, Event::Cancelled { request, code, error: None });
    }
}
