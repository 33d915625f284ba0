//! Subscriptions that end at a time told in advance.

use std::time::Duration;

use moqt_engine::model::Parameters;
use moqt_engine::{Draft, RequestKey, Timestamp};

use super::{Checked, Model, must};

/// When a side lets a subscription expire, by its clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    at: Timestamp,
    /// What an update of the peer's extends it by.
    after: Duration,
}

impl Model<'_> {
    /// An end tells its peer when a subscription is going to expire.
    pub(super) fn begin_expiry(&mut self, end: usize, number: usize, parameters: &Parameters) {
        let Some(millis) = parameters.expires.filter(|millis| *millis > 0) else { return };
        let after = Duration::from_millis(millis);
        let at = self.clock(end).saturating_add(after);
        self.requests[number].expiry[end % 2] = Some(Expiry { at, after });
    }

    /// An update of the peer's is in force, which extends what expires: "If the extension is
    /// granted, the sender includes a new EXPIRES value". Draft 14 does not answer updates.
    pub(super) fn extend_expiry(&mut self, end: usize, key: RequestKey) -> Checked {
        if self.scenario.draft < Draft::D16 {
            return Ok(());
        }
        let clock = self.clock(end);
        if let Some(expiry) = &mut self.request(end, key)?.expiry[end % 2] {
            expiry.at = clock.saturating_add(expiry.after);
        }
        Ok(())
    }

    pub(super) fn told_expired(&mut self, end: usize, key: RequestKey) -> Checked {
        let (clock, now) = (self.clock(end), self.now);
        let request = self.live(end, key)?;
        let expiry = request.expiry[end % 2];
        must(
            expiry.is_some_and(|expiry| expiry.at <= clock),
            "a subscription expires when its time has come",
            || format!("{expiry:?} at {clock:?}"),
        )?;
        request.end_at(end, now);
        if let Some(subscription) = &mut request.subscription {
            subscription.is_done |= subscription.publisher == end;
        }
        Ok(())
    }

    /// A subscription is still there, which it must not be once it has expired.
    pub(super) fn check_expiry(&mut self, end: usize, key: RequestKey) -> Checked {
        let clock = self.clock(end);
        // What passes in a leap is noticed a moment later.
        let leaps = self.leapt[end] == Some(self.now);
        let request = self.request(end, key)?;
        let expiry = request.expiry[end % 2].filter(|_| !request.over[end % 2]);
        must(
            leaps || expiry.is_none_or(|expiry| clock <= expiry.at),
            "what has expired is over",
            || format!("{expiry:?} at {clock:?}"),
        )
    }
}
