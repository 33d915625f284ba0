//! How a relay is to behave.

use core::time::Duration;

/// How a relay is to behave, and bounds on what it keeps. The bounds on what one connection can
/// cause are those of [`moqt_engine::Limits`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Time for which a subscription upstream is kept after the last subscriber left: 2 s.
    pub linger: Duration,
    /// Time for which a subscription without any publisher left waits for another before its
    /// subscribers are told that it is done: 2 s.
    pub takeover: Duration,
    /// Whether publishers that offered their track are asked to send no objects (FORWARD 0) while
    /// nobody subscribes: no. Then the cache has what latecomers want, and publishers that cannot
    /// change a subscription can be used. Relays that this one is connected with are always asked
    /// to.
    pub rest_publishers: bool,
    /// Time for which a SUBSCRIBE waits for a publisher to come if it does not say itself
    /// (RENDEZVOUS_TIMEOUT, draft 18): zero. It is refused with DOES_NOT_EXIST at once, then.
    pub wait_for_publisher: Duration,
    /// The longest that a SUBSCRIBE may wait for a publisher, whatever it says: 30 s. Then it is
    /// refused with TIMEOUT.
    pub wait_for_publisher_max: Duration,
    /// Time for which a FETCH waits for what has to be fetched upstream, if it does not say itself
    /// (FILL_TIMEOUT, draft 18), and the longest that it may say: 5 s. What is still missing then
    /// is said to be unknown.
    pub fill_timeout: Duration,
    /// Time for which a subscriber may be unable to take what is published before its
    /// subscription ends with TOO_FAR_BEHIND: 30 s.
    pub too_far_behind: Duration,
    /// Objects of one track in the cache: 65,536. The oldest groups are forgotten.
    pub track_objects: usize,
    /// Bytes of one track in the cache: 64 MiB. The oldest groups are forgotten; the group
    /// published last is kept up to twice that.
    pub track_bytes: usize,
    /// Bytes in the cache of a shard: 512 MiB. The oldest groups of the largest tracks are
    /// forgotten.
    pub shard_bytes: usize,
    /// Time for which an object may be served from the cache: 1 hour, or what the track says
    /// (MAX_CACHE_DURATION) if that is less.
    pub max_cache_duration: Duration,
    /// The size of the buffers that what comes in is part of: 2 KiB. Parts that are shorter than
    /// half of it are copied when they are kept, others count as that much.
    pub receive_buffer: usize,
    /// Requests of one session that are not authorized: 32. With the last of them the session is
    /// closed with UNAUTHORIZED.
    pub refusals: u32,
    /// Publishers of one track: 16. Others are refused with EXCESSIVE_LOAD.
    pub publishers_per_track: usize,
    /// Subscribers of one track in one shard: 65,536. Others are refused with EXCESSIVE_LOAD.
    pub subscribers_per_track: usize,
    /// Tracks in one shard: 65,536. Requests for others are refused with EXCESSIVE_LOAD.
    pub tracks: usize,
    /// Namespaces published in one shard: 65,536. Others are refused with EXCESSIVE_LOAD.
    pub namespaces: usize,
    /// Namespaces and tracks that one namespace subscription is told of at first: 1,024. A prefix
    /// of more is refused with NAMESPACE_TOO_LARGE.
    pub namespaces_told: usize,
    /// Messages that may wait for another shard: 65,536. Whoever drives a shard that has given more
    /// than that takes nothing in from its connections until they are fewer.
    pub shard_messages: usize,
    /// The relay among those that it is connected with, so that none of them asks itself in a
    /// circle: a number that no other has. All shards of a relay have the same.
    pub relay_id: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(2),
            takeover: Duration::from_secs(2),
            rest_publishers: false,
            wait_for_publisher: Duration::ZERO,
            wait_for_publisher_max: Duration::from_secs(30),
            fill_timeout: Duration::from_secs(5),
            too_far_behind: Duration::from_secs(30),
            track_objects: 65_536,
            track_bytes: 64 * 1024 * 1024,
            shard_bytes: 512 * 1024 * 1024,
            max_cache_duration: Duration::from_secs(3600),
            receive_buffer: 2048,
            refusals: 32,
            publishers_per_track: 16,
            subscribers_per_track: 65_536,
            tracks: 65_536,
            namespaces: 65_536,
            namespaces_told: 1024,
            shard_messages: 65_536,
            relay_id: 0,
        }
    }
}
