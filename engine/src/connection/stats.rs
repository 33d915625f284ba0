//! Counting.

use super::MoqtConnection;
use crate::key::{RequestKey, StreamKey};
use crate::model::StreamResetCode;
use crate::request::{Body, Subscriber};
use crate::stats::{self, Stats, SubscriptionStats, Traffic};
use crate::stream::{RecvHalf, RecvKind};

impl MoqtConnection {
    /// What has been sent and received since the connection began. This looks at every subgroup
    /// that is being received.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        stats.trace_events_dropped = self.trace.dropped();
        for subscriber in self.requests.subscribers() {
            self.add_open(subscriber, &mut stats.received);
        }
        stats
    }

    /// What a subscription has carried so far, in whichever direction. `None` if it is over, or
    /// the request is of another kind. For a subscriber this looks at every open subgroup.
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
            Body::Subscriber(subscriber) => {
                let mut traffic = subscriber.stats;
                let waiting_bytes = self.add_open(subscriber, &mut traffic);
                let open_subgroups = subscriber.open.len();
                Some(SubscriptionStats { traffic, waiting_bytes, open_subgroups })
            }
            _ => None,
        }
    }

    /// Adds what has been read of the open subgroups of a subscription. The bytes of them that
    /// have not.
    fn add_open(&self, subscriber: &Subscriber, traffic: &mut Traffic) -> usize {
        let mut waiting_bytes = 0;
        for stream in &subscriber.open {
            let half = self.streams.get(*stream).and_then(|stream| stream.recv.as_ref());
            if let Some(RecvHalf { kind: RecvKind::Subgroup(subgroup), buffer, .. }) = half {
                traffic.objects += subgroup.objects;
                stats::add(&mut traffic.payload_bytes, subgroup.payload_bytes);
                waiting_bytes += buffer.len();
            }
        }
        waiting_bytes
    }

    /// A subgroup is not read any further.
    pub(super) fn count_ended(&mut self, stream: StreamKey, was_reset: bool) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        let RecvKind::Subgroup(subgroup) = &mut half.kind else { return };
        let request = subgroup.request;
        let objects = core::mem::take(&mut subgroup.objects);
        let payload_bytes = core::mem::take(&mut subgroup.payload_bytes);
        self.stats.received.subgroups_reset += u64::from(was_reset);
        self.stats.received.objects += objects;
        stats::add(&mut self.stats.received.payload_bytes, payload_bytes);
        if let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        {
            subscriber.stats.subgroups_reset += u64::from(was_reset);
            subscriber.stats.objects += objects;
            stats::add(&mut subscriber.stats.payload_bytes, payload_bytes);
        }
    }

    /// Counts something that came. Not for what happens with each object on a stream.
    pub(super) fn count_received(&mut self, request: RequestKey, count: impl Fn(&mut Traffic)) {
        count(&mut self.stats.received);
        if let Some(Body::Subscriber(subscriber)) =
            self.requests.get_mut(request).map(|request| &mut request.body)
        {
            count(&mut subscriber.stats);
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
        if let Some(publisher) = self.publisher_state_mut(request) {
            publisher.stream_reset(stream);
        }
        self.data_stream_closed(request, stream);
    }
}
