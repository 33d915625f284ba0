//! What a shard has and has done.

/// What a shard has now and has done so far. Counters only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions now.
    pub sessions: u64,
    /// Tracks known now, with subscribers or publishers.
    pub tracks: u64,
    /// Namespaces published now.
    pub namespaces: u64,
    /// Subscriptions of clients now.
    pub subscribers: u64,
    /// Subscriptions upstream now, SUBSCRIBEs of ours and PUBLISHes accepted.
    pub publishers: u64,
    /// Bytes in the cache now.
    pub cache_bytes: u64,
    /// Objects in the cache now.
    pub cache_objects: u64,
    /// Sessions that there have been.
    pub sessions_total: u64,
    /// Requests of clients.
    pub requests: u64,
    /// Requests of clients that were refused, for whatever reason.
    pub requests_refused: u64,
    /// Requests and sessions refused because they were not authorized.
    pub unauthorized: u64,
    /// Objects that came in.
    pub objects_in: u64,
    /// Their payload, in bytes.
    pub bytes_in: u64,
    /// Objects dropped because another publisher had given them already.
    pub duplicates: u64,
    /// Objects handed to subscribers' connections.
    pub objects_out: u64,
    /// Their payload, in bytes.
    pub bytes_out: u64,
    /// Subgroups that subscribers did not get whole because they were too slow.
    pub subgroups_given_up: u64,
    /// Subscriptions ended with TOO_FAR_BEHIND.
    pub too_far_behind: u64,
    /// FETCHes answered from the cache alone.
    pub cache_hits: u64,
    /// FETCHes for which something was fetched upstream.
    pub cache_misses: u64,
    /// Tracks found malformed.
    pub malformed_tracks: u64,
}
