//! Subscriptions that end at a time told in advance (draft-18, "EXPIRES Parameter").

use core::time::Duration;

use super::MoqtConnection;
use crate::event::Event;
use crate::key::RequestKey;
use crate::model::{PublishDoneCode, StreamResetCode};
use crate::request::{Body, Expiry};
use crate::time::Timestamp;
use crate::timers::Timer;

impl MoqtConnection {
    /// The peer is told that the subscription ends in so many milliseconds; 0 tells nothing.
    pub(super) fn set_expiry(&mut self, now: Timestamp, key: RequestKey, after: Option<u64>) {
        let Some(after) = after else { return };
        let Some(request) = self.requests.get_mut(key) else { return };
        let deadline = now.saturating_add(Duration::from_millis(after));
        let before = request.expiry.take();
        if after > 0 {
            request.expiry = Some(Expiry { after, deadline });
            self.timers.set(deadline, Timer::Expiry(key));
        }
        if let Some(Expiry { deadline, .. }) = before.filter(|before| before.deadline != deadline) {
            self.timers.clear(deadline, Timer::Expiry(key));
        }
    }

    /// What an update of the peer's extends the subscription by: as much as it had at first.
    pub(super) fn extension(&self, key: RequestKey) -> Option<u64> {
        self.requests.get(key)?.expiry.as_ref().map(|expiry| expiry.after)
    }

    /// The time that the peer was told of has come.
    pub(super) fn subscription_expired(&mut self, now: Timestamp, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else { return };
        request.expiry = None;
        match &request.body {
            Body::Publisher(_) => {
                let Some(publisher) = self.publisher(key) else { return };
                publisher.done(PublishDoneCode::Expired, "");
            }
            Body::Subscriber(subscriber) if subscriber.ending.is_none() => {
                self.withdraw(now, key, StreamResetCode::Cancelled);
            }
            _ => return,
        }
        self.tell_end(key, Event::Expired { request: key });
    }
}
