//! What a peer may make this endpoint hold, do or wait for.

use core::time::Duration;

use crate::model::RequestKind;

/// Bounds on everything that a peer can make a connection keep.
///
/// The drafts' own limits (namespace fields, name and phrase lengths) are not here: they are
/// enforced where lengths are read. Each field says what happens when it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests of the peer that may be open at a time, of all kinds: 4,096. On drafts 14 and
    /// 16 the peer is told (MAX_REQUEST_ID) and one more closes the session; on draft 18 one
    /// more is refused.
    pub open_requests: u32,
    /// SUBSCRIBEs of the peer that may be open at a time: 1,024. One more is refused with
    /// EXCESSIVE_LOAD, which drafts 14 and 16 call INTERNAL_ERROR.
    pub open_subscriptions: u32,
    /// The same for PUBLISH: 1,024.
    pub open_publishes: u32,
    /// The same for PUBLISH_NAMESPACE: 1,024.
    pub open_publish_namespaces: u32,
    /// Bytes of authorization tokens that the peer may register, as the drafts count them (16
    /// and the value's length each). The peer is told (MAX_AUTH_TOKEN_CACHE_SIZE), and more
    /// close the session; of what comes in a setup message sent without knowing, more is used
    /// and not kept. `None` is 4,096 on drafts 14 and 16, and 0 on draft 18.
    pub auth_token_cache: Option<u64>,
    /// Namespace subscriptions of the peer that may be open at a time: 256. One more is refused
    /// with EXCESSIVE_LOAD.
    pub open_namespace_subscriptions: u32,
    /// Namespaces, of at most 4 KiB each, that the peer may tell of in one namespace
    /// subscription: 4,096. One more ends the subscription: it is cancelled with
    /// EXCESSIVE_LOAD, and each namespace is [`done`](crate::Event::NamespaceDone).
    pub namespaces_told: usize,
    /// FETCHes of the peer that may be open at a time: 128. One more is refused with
    /// EXCESSIVE_LOAD, INTERNAL_ERROR before draft 18.
    pub open_fetches: u32,
    /// Updates of one request that may be without an answer: 64, of each side. If the peer
    /// sends one more it is refused, and its request ends with that; a command to send one
    /// more is blocked.
    pub unanswered_updates: usize,
    /// Bytes of all the peer's updates together that wait for the application's decision or for
    /// the answer to their request, each counting as 512 and its tokens and prefix: 1 MiB. One
    /// more is refused like one too many of a request.
    pub waiting_updates: usize,
    /// Bytes of properties on one object: 16 KiB. More close the session.
    pub object_properties: usize,
    /// Unread bytes in one data stream: 256 KiB. Beyond that
    /// [`recv_window`](crate::MoqtConnection::recv_window) is 0.
    pub stream_receive: usize,
    /// Unread bytes in all data streams: 16 MiB. Beyond that only streams with less than
    /// [`stream_minimum`](Self::stream_minimum) unread may receive, so that no order of
    /// reading can block for good.
    pub session_receive: usize,
    /// What a data stream may always have unread: 16 KiB.
    pub stream_minimum: usize,
    /// Streams that may be held before the session is set up: 100. Of others only the type
    /// is read, and those that end with that are dropped and count as abandoned
    /// ([`churn_burst`](Self::churn_burst)).
    pub early_streams: usize,
    /// Bytes that may be held before the session is set up: 256 KiB. Then of a stream only
    /// the type is read.
    pub early_bytes: usize,
    /// Time for the peer's SETUP to come: 10 s. Then the session is closed.
    pub setup_timeout: Duration,
    /// Track aliases that data may come for before they are announced: 16. Streams of others
    /// are stopped, datagrams dropped.
    pub unknown_aliases: usize,
    /// Datagrams held for such aliases: 64. The oldest are dropped.
    pub unknown_alias_datagrams: usize,
    /// Bytes held for such aliases, a stream counting as 256 more than it has: 256 KiB. Further
    /// streams are stopped.
    pub unknown_alias_bytes: usize,
    /// Time for such an alias to be announced: 2 s. Then its streams are stopped.
    pub unknown_alias_timeout: Duration,
    /// Time for a control message that has begun to be whole: 10 s. Then the session is
    /// closed; of a stream whose request is over, no more is read.
    pub control_message_timeout: Duration,
    /// Time for the header of a new stream that has begun to be whole: 10 s. Then the stream is
    /// stopped, and counts as one that was abandoned
    /// ([`churn_burst`](Self::churn_burst)). A stream on which nothing comes is left to the
    /// transport's limit on streams: QUIC opens it with any later one that is more urgent.
    pub stream_header_timeout: Duration,
    /// Time for the peer to end its side of a request's stream once this side has ended its own:
    /// 10 s. Then, or when all that the request is for has been read if that is later, it is
    /// stopped.
    pub stream_end_timeout: Duration,
    /// Time for the answer to a request of ours, or to an update of one, if there is a bound:
    /// 10 s. Then it fails with TIMEOUT. The same for the end of a request after the peer has
    /// refused an update of it; then it is cancelled.
    pub answer_timeout: Option<Duration>,
    /// Time after FETCH_OK for the fetch's stream to come, if there is a bound: 10 s. Then the
    /// fetch fails with TIMEOUT.
    pub fetch_stream_timeout: Option<Duration>,
    /// Time after PUBLISH_DONE for streams that were announced but never came: 2 s. Then the
    /// subscription ends without them.
    pub late_stream_timeout: Duration,
    /// Time after PUBLISH_DONE for datagrams, if the subscription had any: 500 ms. They can be
    /// overtaken by it, and it does not say how many there were.
    pub late_datagram_timeout: Duration,
    /// The same times are as long as the delivery timeouts of the subscription if those are
    /// longer, but no longer than this: 30 s.
    pub late_timeout_max: Duration,
    /// Queued payload of one subscription or fetch, a datagram counting as 768 bytes at least:
    /// 4 MiB. Then writing to it is blocked, except on a stream that the transport takes from
    /// while all that is queued is on others, which the peer does not read; unless
    /// [`SlowSubscriber`](crate::SlowSubscriber) says otherwise. One object or piece may
    /// overshoot the limit.
    pub subscription_send: usize,
    /// Queued payload of the session: 32 MiB. Then writing is blocked, without exception. One
    /// object or piece may overshoot the limit.
    pub session_send: usize,
    /// Subgroups of one subscription that were given up, because their delivery timeout passed
    /// or (counted apart) because the peer stopped them, remembered so that no other stream is
    /// opened for them: 1,024. Those of the smallest groups are forgotten.
    pub given_up_subgroups: usize,
    /// Streams with a delivery timeout that have been handed to the transport whole and are not
    /// known to have arrived: 4,096. Of more, arrival is left to the transport.
    pub watched_streams: usize,
    /// Queued bytes of control messages, which a peer that asks much and reads nothing makes
    /// grow: 1 MiB. Then the session is closed.
    pub control_send: usize,
    /// Subgroup streams of the peer open at a time in one subscription: 1,024. Others are
    /// stopped, and are told to be [missing](crate::Event::SubscriptionDone) in the end.
    pub open_subgroups: u32,
    /// Groups, subgroups and datagrams of one subscription remembered after they came, each: 64.
    /// The oldest are forgotten; what contradicts them is not noticed to be malformed. Where this
    /// side publishes, the groups whose end it stated and the subgroups that it finished, each:
    /// the smallest are forgotten, and what contradicts them is sent.
    pub remembered_objects: usize,
    /// Closed track aliases remembered, so that late objects are dropped quietly: 1,024. The
    /// oldest are forgotten.
    pub alias_tombstones: usize,
    /// How long they are remembered: 30 s. After that what comes for one waits like any for an
    /// alias that was not announced.
    pub alias_tombstone_age: Duration,
    /// Streams that the peer may reset before saying what they are, and requests it may cancel
    /// before they are answered or within a second, at once: 1,000. One more closes the
    /// session.
    pub churn_burst: u32,
    /// How many of those come back a second: 100.
    pub churn_per_second: u32,
    /// Trace events that wait to be polled, if there are any
    /// ([`Config::trace`](crate::Config::trace)): 1,024, each as large as what it tells of
    /// without payload, which is 64 KiB at most. More are dropped and
    /// [counted](crate::Stats::trace_events_dropped).
    pub trace_events: usize,
}

impl Limits {
    /// How many requests of a kind the peer may have open, where that has a limit of its own.
    pub(crate) fn open_of(&self, kind: RequestKind) -> u32 {
        match kind {
            RequestKind::Subscribe => self.open_subscriptions,
            RequestKind::Publish => self.open_publishes,
            RequestKind::PublishNamespace => self.open_publish_namespaces,
            RequestKind::Fetch => self.open_fetches,
            _ => u32::MAX,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            open_requests: 4096,
            open_subscriptions: 1024,
            open_publishes: 1024,
            open_publish_namespaces: 1024,
            auth_token_cache: None,
            open_namespace_subscriptions: 256,
            namespaces_told: 4096,
            open_fetches: 128,
            unanswered_updates: 64,
            waiting_updates: 1024 * 1024,
            object_properties: 16 * 1024,
            stream_receive: 256 * 1024,
            session_receive: 16 * 1024 * 1024,
            stream_minimum: 16 * 1024,
            early_streams: 100,
            early_bytes: 256 * 1024,
            setup_timeout: Duration::from_secs(10),
            unknown_aliases: 16,
            unknown_alias_datagrams: 64,
            unknown_alias_bytes: 256 * 1024,
            unknown_alias_timeout: Duration::from_secs(2),
            control_message_timeout: Duration::from_secs(10),
            stream_header_timeout: Duration::from_secs(10),
            stream_end_timeout: Duration::from_secs(10),
            answer_timeout: Some(Duration::from_secs(10)),
            fetch_stream_timeout: Some(Duration::from_secs(10)),
            late_stream_timeout: Duration::from_secs(2),
            late_datagram_timeout: Duration::from_millis(500),
            late_timeout_max: Duration::from_secs(30),
            subscription_send: 4 * 1024 * 1024,
            session_send: 32 * 1024 * 1024,
            given_up_subgroups: 1024,
            watched_streams: 4096,
            control_send: 1024 * 1024,
            open_subgroups: 1024,
            remembered_objects: 64,
            alias_tombstones: 1024,
            alias_tombstone_age: Duration::from_secs(30),
            churn_burst: 1000,
            churn_per_second: 100,
            trace_events: 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn the_readme_lists_every_limit() {
        let readme = include_str!("../../README.md");
        for line in format!("{:#?}", Limits::default()).lines() {
            let Some((field, _)) = line.strip_prefix("    ").and_then(|line| line.split_once(": "))
            else {
                continue;
            };
            let is_listed = readme.contains(&format!("`{field}`"));
            assert!(is_listed || field.starts_with(' '), "README.md does not list `{field}`");
        }
    }
}
