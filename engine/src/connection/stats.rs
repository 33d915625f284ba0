//! Counting.

use super::MoqtConnection;
use crate::key::{RequestKey, StreamKey};
use crate::model::StreamResetCode;
use crate::request::Body;
use crate::stats::{Stats, SubscriptionStats, Traffic};

impl MoqtConnection {
    /// What has been sent and received since the connection began.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What a subscription has carried so far, in whichever direction. `None` if it is over, or
    /// the request is of another kind.
    pub fn subscription_stats(&self, request: RequestKey) -> Option<SubscriptionStats> {
        match &self.requests.get(request)?.body {
            Body::Publisher(publisher) => {
                let sender = self.streams.schedule.sender(publisher.sender);
                Some(SubscriptionStats {
                    traffic: publisher.stats,
                    waiting_bytes: sender.map_or(0, |sender| sender.queued),
                    open_subgroups: publisher.open.len(),
                })
            }
            _ => None,
        }
    }

    /// Counts something that was sent, or was not. Not for what happens with each object.
    pub(super) fn count_sent(&mut self, request: RequestKey, count: impl Fn(&mut Traffic)) {
        count(&mut self.stats.sent);
        if let Some(publisher) = self.publisher_state_mut(request) {
            count(&mut publisher.stats);
        }
    }

    /// Resets the stream of a subgroup that is being sent.
    pub(super) fn reset_subgroup(
        &mut self,
        request: RequestKey,
        stream: StreamKey,
        code: StreamResetCode,
    ) {
        let code = self.dialect.reset_code(code);
        if self.streams.reset(stream, code) {
            self.count_sent(request, |sent| sent.subgroups_reset += 1);
        }
        self.data_stream_closed(request, stream);
    }
}
