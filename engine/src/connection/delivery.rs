//! Giving up what takes too long to be delivered (draft-18, "Delivery Timeouts and Data
//! Reliability").

use super::MoqtConnection;
use crate::event::{DropReason, Event, GiveUpReason};
use crate::key::StreamKey;
use crate::model::{Parameters, StreamResetCode, TrackProperties};
use crate::request::Request;
use crate::stream::{Expired, SendClass, SenderKey};
use crate::time::Timestamp;

impl MoqtConnection {
    /// The peer's transport has acknowledged all that was sent on a stream, its end included.
    /// (draft-18, "Delivery Timeouts and Data Reliability", calls that "all data committed".)
    ///
    /// Without it, a subgroup that has a delivery timeout is reset when that has passed though
    /// it may have arrived, which a transport that knows better takes no notice of.
    pub fn handle_stream_acknowledged(&mut self, _now: Timestamp, stream: StreamKey) {
        self.streams.deadlines.forget_watched(stream);
    }

    /// What a subscriber states of delivery timeouts when a subscription begins.
    pub(super) fn subscriber_timeouts(&mut self, sender: SenderKey, parameters: &Parameters) {
        let split = self.dialect.split_delivery_timeouts;
        self.streams.change_timeouts(sender, |timeouts| {
            timeouts.split = split;
            timeouts.set_subscriber(parameters);
        });
    }

    /// What a subscriber changes of them.
    pub(super) fn update_timeouts(&mut self, sender: SenderKey, parameters: &Parameters) {
        let split = self.dialect.split_delivery_timeouts;
        self.streams.change_timeouts(sender, |timeouts| {
            timeouts.split = split;
            timeouts.update_subscriber(parameters);
        });
    }

    /// What the publisher states of them for its track.
    pub(super) fn publisher_timeouts(&mut self, sender: SenderKey, properties: &TrackProperties) {
        let split = self.dialect.split_delivery_timeouts;
        self.streams.change_timeouts(sender, |timeouts| {
            timeouts.split = split;
            timeouts.set_publisher(properties);
        });
    }

    /// Resets the streams of subgroups whose time has passed. What was queued since the time
    /// was told last begins to age.
    #[cold]
    pub(super) fn expire_deliveries(&mut self, now: Timestamp) {
        let code = self.dialect.reset_code(StreamResetCode::DeliveryTimeout);
        let reason = GiveUpReason::DeliveryTimeout;
        while let Some(expired) = self.streams.next_expired(now) {
            match expired {
                Expired::Stream(stream, sender) => {
                    let sender = self.streams.schedule.sender(sender);
                    let request = sender.and_then(|sender| sender.request);
                    self.note_given_up(stream, GivenUp::BySender);
                    match request {
                        Some(request) => {
                            self.count_sent(request, |sent| sent.subgroups_timed_out += 1);
                            if !self.is_told_over(request) {
                                let event = Event::SubgroupGivenUp { request, stream, reason };
                                self.events.push_back(event);
                            }
                            let code = StreamResetCode::DeliveryTimeout;
                            self.reset_subgroup(request, stream, code);
                        }
                        None => drop(self.streams.reset(stream, code)),
                    }
                }
                Expired::Watched(stream, request) => {
                    self.streams.deadlines.forget_watched(stream);
                    self.streams.push_action(crate::Action::ResetStream { stream, code });
                    self.count_sent(request, |sent| sent.subgroups_timed_out += 1);
                    if self.requests.get(request).is_some_and(Request::is_told) {
                        self.events.push_back(Event::SubgroupGivenUp { request, stream, reason });
                    }
                }
            }
        }
    }

    /// Drops the datagram whose turn it is if its time has passed. Whether it did.
    pub(super) fn expire_datagram(&mut self, now: Timestamp, sender: SenderKey) -> bool {
        let schedule = &mut self.streams.schedule;
        let is_expired = schedule.peek_datagram(sender).is_some_and(|datagram| {
            let aging = schedule.sender(sender).and_then(|sender| sender.aging.as_ref());
            aging.is_some_and(|aging| aging.is_expired(datagram, now))
        });
        if !is_expired {
            return false;
        }
        self.drop_datagram(sender, DropReason::DeliveryTimeout)
    }

    /// No other stream is to be opened for the subgroup on this one (draft-18, "Closing
    /// Subgroup Streams").
    pub(super) fn note_given_up(&mut self, stream: StreamKey, why: GivenUp) {
        let limit = self.config.limits.given_up_subgroups;
        let Some(half) = self.streams.send_mut(stream) else { return };
        let SendClass::Data(sender, _) = half.class else { return };
        let Some(subgroup) = &half.subgroup else { return };
        let (group, Some(id)) = (subgroup.group_id, subgroup.subgroup_id) else { return };
        let request = self.streams.schedule.sender(sender).and_then(|sender| sender.request);
        let Some(publisher) = request.and_then(|request| self.publisher_state_mut(request)) else {
            return;
        };
        let given_up = match why {
            GivenUp::BySender => &mut publisher.given_up,
            GivenUp::Stopped => &mut publisher.stopped,
        };
        given_up.insert((group, id));
        if given_up.len() > limit {
            given_up.pop_first();
        }
    }
}

/// Why a subgroup is sent no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// This side has given it up.
    BySender,
    /// The subscriber wants no more of it.
    Stopped,
}
