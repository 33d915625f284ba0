//! The tables of the file: what they are called, what they mean, and where they go.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use moqt_engine::Limits;
use moqt_quinn_proto::{ConnectionLimits, TransportOptions};
use moqt_relay::Config;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer};

/// Something that a file can say.
trait Setting: Sized {
    /// How it is read.
    type Read: DeserializeOwned;

    fn from_read(read: Self::Read) -> Self;

    /// As the file says it.
    fn to_text(&self) -> String;
}

impl Setting for Duration {
    type Read = Seconds;

    fn from_read(read: Seconds) -> Self {
        read.0
    }

    fn to_text(&self) -> String {
        // What is whole is written without a point.
        format!("{}", self.as_secs_f64())
    }
}

/// 0 stands for none.
impl Setting for Option<Duration> {
    type Read = Seconds;

    fn from_read(read: Seconds) -> Self {
        (read.0 > Duration::ZERO).then_some(read.0)
    }

    fn to_text(&self) -> String {
        self.unwrap_or_default().to_text()
    }
}

macro_rules! plain {
    ($($kind:ty),*) => {
        $(impl Setting for $kind {
            type Read = Self;

            fn from_read(read: Self) -> Self {
                read
            }

            fn to_text(&self) -> String {
                self.to_string()
            }
        })*
    };
}

plain!(bool, u16, u32, u64, usize);

/// A time, as a number of seconds.
pub(super) struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds")
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
                let time = Duration::try_from_secs_f64(seconds);
                time.map(Seconds).map_err(|_| E::custom("not a number of seconds one can wait"))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
                let time = u64::try_from(seconds).map(Duration::from_secs);
                time.map(Seconds).map_err(|_| E::custom("not a number of seconds one can wait"))
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
                Ok(Seconds(Duration::from_secs(seconds)))
            }
        }

        from.deserialize_any(Number)
    }
}

/// A table: how it is read, applied and written.
macro_rules! table {
    ($name:ident for $target:ty { $($(#[doc = $doc:literal])+ $field:ident: $kind:ty,)+ }) => {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $($field: Option<<$kind as Setting>::Read>,)+
        }

        impl $name {
            /// Sets what was said.
            pub(super) fn apply(self, to: &mut $target) {
                $(if let Some(read) = self.$field {
                    to.$field = <$kind as Setting>::from_read(read);
                })+
            }

            /// Writes everything, with comments.
            pub(super) fn write(from: &$target, text: &mut String) {
                $(
                    $(let _ = writeln!(text, "#{}", $doc);)+
                    let _ = writeln!(text, "{} = {}", stringify!($field), from.$field.to_text());
                )+
            }
        }
    };
}

table!(RelayTable for Config {
    /// Time for which a subscription upstream is kept after the last subscriber left.
    linger: Duration,
    /// Time for which a subscription without any publisher left waits for another.
    takeover: Duration,
    /// Whether publishers that offered their track are asked to send no objects while nobody
    /// subscribes. If not, the cache has what latecomers want.
    rest_publishers: bool,
    /// Time for which a SUBSCRIBE waits for a publisher if it does not say itself; 0 refuses it at
    /// once.
    wait_for_publisher: Duration,
    /// The longest that a SUBSCRIBE may wait for a publisher, whatever it says.
    wait_for_publisher_max: Duration,
    /// Time for which a FETCH waits for what has to be fetched upstream.
    fill_timeout: Duration,
    /// Time for which a subscriber may be unable to take what is published before its subscription
    /// ends with TOO_FAR_BEHIND.
    too_far_behind: Duration,
    /// Objects of one track in the cache.
    track_objects: usize,
    /// Bytes of one track in the cache; the group published last may take twice that.
    track_bytes: usize,
    /// Bytes in the cache of a shard.
    shard_bytes: usize,
    /// The longest that an object is served from the cache.
    max_cache_duration: Duration,
    /// The size of the buffers that what comes in is part of: parts shorter than half of it are
    /// copied when they are kept.
    receive_buffer: usize,
    /// Requests of one client that may be refused for want of a permission before its session is
    /// closed.
    refusals: u32,
    /// Publishers of one track.
    publishers_per_track: usize,
    /// Subscribers of one track in one shard.
    subscribers_per_track: usize,
    /// Tracks in one shard.
    tracks: usize,
    /// Namespaces published in one shard.
    namespaces: usize,
    /// Namespaces and tracks that one namespace subscription is told of at first; a prefix of more
    /// is refused with NAMESPACE_TOO_LARGE.
    namespaces_told: usize,
    /// Messages that may wait for another shard before a shard reads its socket no more.
    shard_messages: usize,
    /// The relay among those that it is connected with: a number that no other has. 0 is a random
    /// one.
    relay_id: u64,
});

table!(ConnectionsTable for ConnectionLimits {
    /// Connections at a time. More are refused. From half of this and of the next two on, clients
    /// must prove their address first (QUIC's Retry).
    total: usize,
    /// Connections at a time from one address, or one /64 of IPv6.
    per_address: usize,
    /// Connections at a time whose sessions are not set up yet.
    half_open: usize,
    /// Time from a client's first packet until its session is set up; 0 is no bound.
    setup_timeout: Option<Duration>,
});

table!(SessionTable for Limits {
    /// Requests of a client that may be open at a time, of all kinds.
    open_requests: u32,
    /// SUBSCRIBEs of a client that may be open at a time.
    open_subscriptions: u32,
    /// PUBLISHes of a client that may be open at a time.
    open_publishes: u32,
    /// PUBLISH_NAMESPACEs of a client that may be open at a time.
    open_publish_namespaces: u32,
    /// SUBSCRIBE_NAMESPACEs and SUBSCRIBE_TRACKSs of a client that may be open at a time.
    open_namespace_subscriptions: u32,
    /// FETCHes of a client that may be open at a time.
    open_fetches: u32,
    /// Time for the answer to a request of the relay's; 0 is no bound.
    answer_timeout: Option<Duration>,
    /// Time for the peer's SETUP to come.
    setup_timeout: Duration,
    /// Bytes of properties on one object. More close the session.
    object_properties: usize,
    /// Unread bytes in one data stream.
    stream_receive: usize,
    /// Unread bytes in all data streams of a session.
    session_receive: usize,
    /// Queued payload of one subscription or fetch.
    subscription_send: usize,
    /// Queued payload of a session.
    session_send: usize,
    /// Queued bytes of control messages, which a client that asks much and reads nothing makes
    /// grow. Then its session is closed.
    control_send: usize,
    /// Track aliases that data may come for before they are announced.
    unknown_aliases: usize,
    /// Bytes held for such aliases.
    unknown_alias_bytes: usize,
    /// Subgroup streams of a client open at a time in one subscription.
    open_subgroups: u32,
    /// Streams that a client may reset before saying what they are, and requests that it may cancel
    /// at once. One more closes the session.
    churn_burst: u32,
    /// How many of those come back a second.
    churn_per_second: u32,
});

table!(TransportTable for TransportOptions {
    /// Unidirectional streams that a client may have open at a time. Every subgroup is one.
    max_uni_streams: u32,
    /// Bidirectional streams that a client may have open at a time. On draft 18 every request is
    /// one.
    max_bidi_streams: u32,
    /// Bytes that a client may send on a stream before they are read.
    stream_receive_window: u32,
    /// The most to have written and not acknowledged, whatever the congestion window.
    send_backlog: u64,
    /// Without a sign of life for this long a connection is given up.
    idle_timeout: Duration,
    /// A sign of life is given this often when there is nothing to say; 0 gives none.
    keep_alive: Option<Duration>,
    /// Bytes of datagrams that came in and wait to be handled.
    datagram_receive_buffer: usize,
    /// The UDP payload size to start with.
    initial_mtu: u16,
    /// The largest UDP payload size to try.
    max_mtu: u16,
});
