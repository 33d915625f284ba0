//! Objects in datagrams.

use moqt_engine::model::Location;
use moqt_engine::wire::ObjectDatagram;
use moqt_engine::{DatagramOutcome, RequestKey};

use super::{Checked, Model, Rule, must};

impl Model<'_> {
    pub(super) fn sent_datagram(
        &mut self,
        end: usize,
        key: RequestKey,
        location: Location,
        outcome: DatagramOutcome,
    ) -> Checked {
        let request = self.live(end, key)?;
        let is_sure = request.updates == 0;
        let Some(subscription) = &mut request.subscription else { return Ok(()) };
        let is_wanted = subscription.forward && subscription.passes(location);
        if is_sure && subscription.pending.is_none() {
            let is_skipped = outcome == DatagramOutcome::Skipped;
            must(is_skipped != is_wanted, "what is wanted is sent, and no more", || {
                format!("{location} in a datagram: {outcome:?}")
            })?;
        }
        subscription.note(location);
        if outcome == DatagramOutcome::Queued {
            subscription.sent_datagrams.insert(location);
        }
        Ok(())
    }

    pub(super) fn told_datagram(
        &mut self,
        end: usize,
        key: RequestKey,
        datagram: &ObjectDatagram,
    ) -> Checked {
        let links = &self.scenario.links[end / 2];
        let may_repeat = links.up.datagrams.duplication > moqt_loopback::Chance::NEVER
            || links.down.datagrams.duplication > moqt_loopback::Chance::NEVER;
        let location = datagram.header.location;
        let request = self.live(end, key)?;
        let Some(subscription) = &mut request.subscription else { return Ok(()) };
        let was_sent = subscription.sent_datagrams.contains(&location);
        must(was_sent, "only what was sent arrives", || location.to_string())?;
        let is_new = subscription.datagrams.insert(location);
        must(is_new || may_repeat, "an object arrives once", || location.to_string())?;
        let track = subscription.track;
        let Some(object) = self.tracks[track].get(&location) else {
            return Err(Rule("only what was published arrives", location.to_string()));
        };
        let is_same = datagram.payload == object.payload
            && datagram.header.status == object.status
            && datagram.header.properties == object.properties
            && datagram.header.publisher_priority.unwrap_or(128) == object.priority;
        must(is_same, "objects arrive as they were sent, in order", || location.to_string())
    }

    pub(super) fn told_dropped(&mut self, end: usize, key: Option<RequestKey>) -> Checked {
        for number in 0..self.requests.len() {
            let is_meant = key.is_none_or(|key| self.by_key.get(&(end, key)) == Some(&number));
            if is_meant && let Some(subscription) = &mut self.requests[number].subscription {
                subscription.loses_datagrams = true;
            }
        }
        Ok(())
    }
}
