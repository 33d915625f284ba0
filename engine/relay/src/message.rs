//! What shards tell each other.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::Refusal;
use moqt_engine::model::{
    EndOfRange, FullTrackName, GroupOrder, Location, PublishDoneCode, StreamResetCode,
    TrackNamespace, TrackProperties,
};
use moqt_engine::wire::{FetchObject, ObjectDatagram, ObjectHeader};
use thunderdome::Index;

use crate::connections::ShardId;
use crate::interest::Interest;
use crate::routes::Way;
use crate::store::{SubgroupEnd, SubgroupFacts, SubgroupKey};
use crate::track::TrackId;

/// Something that one shard tells another, or all others. For whoever carries it, it has no
/// more to say than that.
#[derive(Debug)]
pub struct Message {
    pub(crate) from: ShardId,
    pub(crate) what: What,
}

impl Message {
    /// Bytes of payload that it carries, for whoever wants to bound what waits.
    pub fn payload_len(&self) -> usize {
        match &self.what {
            What::Object { payload: Some(payload), .. }
            | What::Payload { payload, .. }
            | What::Fetched { item: Fetched::Payload(payload), .. } => payload.len(),
            What::Datagram { datagram, .. } => datagram.payload.len(),
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub(crate) enum What {
    /// A namespace has a publisher in the sending shard, and has come there in this way, or has
    /// none any longer.
    Namespace { namespace: TrackNamespace, way: Option<Way> },
    /// So for a track that was offered by PUBLISH.
    Track { name: FullTrackName, is_published: bool },
    /// Sessions of the sending shard's give a track that nobody has offered, under a prefix that
    /// sessions of the receiving shard's want to hear of tracks of.
    Known { name: FullTrackName },
    /// How the sending shard is connected to relays upstream.
    Upstream(Upstream),
    /// Sessions of the sending shard's want to hear of this under a prefix.
    Listen { prefix: TrackNamespace, interest: Interest },

    /// The sending shard wants a track, and knows it by this key.
    Subscribe { name: FullTrackName, track: TrackId, new_group: Option<u64>, via: Vec<u64> },
    /// It does not any longer.
    Unsubscribe { name: FullTrackName, track: TrackId },
    /// Nor does it, as what came from several shards makes the track malformed: none of them is to
    /// keep anything of it.
    Malformed { name: FullTrackName, track: TrackId },
    /// It wants its objects, or does not for now.
    Forward { name: FullTrackName, track: TrackId, forward: bool },
    /// It wants a new group.
    NewGroup { name: FullTrackName, value: u64 },

    /// The track that the receiving shard knows by this key is subscribed to.
    Subscribed {
        track: TrackId,
        largest: Option<Location>,
        properties: TrackProperties,
        /// Relays that its PUBLISH has come through, if it was offered.
        via: Vec<u64>,
    },
    /// It cannot be had.
    Refused { track: TrackId, refusal: Refusal },
    /// It has ended.
    Done { track: TrackId, code: PublishDoneCode, reason: String },
    /// An object of it begins in a stream of this number, which has given everything of the
    /// subgroup after `after`; with its payload if that is at hand as a whole.
    Object {
        track: TrackId,
        key: SubgroupKey,
        feed: u64,
        after: Option<u64>,
        facts: SubgroupFacts,
        header: ObjectHeader,
        payload: Option<Bytes>,
    },
    /// Payload of the object of this ID, from this offset on.
    Payload {
        track: TrackId,
        key: SubgroupKey,
        feed: u64,
        object: u64,
        offset: u64,
        payload: Bytes,
    },
    /// Nothing more comes in a stream: the subgroup has ended or, if nothing is said of that, the
    /// stream is lost.
    End { track: TrackId, key: SubgroupKey, feed: u64, end: Option<SubgroupEnd> },
    /// Everything of a subgroup up to this object was given, or does not exist.
    Reached { track: TrackId, key: SubgroupKey, object: u64 },
    /// An object came in a datagram.
    Datagram { track: TrackId, datagram: ObjectDatagram },

    /// The sending shard wants objects of the past, and knows the fetch by this key.
    Fetch {
        name: FullTrackName,
        fetch: Index,
        first: Location,
        last: Location,
        order: GroupOrder,
        patience: Duration,
        via: Vec<u64>,
    },
    /// It takes more payload of them.
    Credit { fetch: Index, bytes: usize },
    /// It does not want them any longer.
    CancelFetch { fetch: Index },
    /// Something of the fetch that the receiving shard knows by this key. The sending shard knows
    /// it by the other.
    Fetched { fetch: Index, by: Index, item: Fetched },

    /// The sending shard wants to know how far a track has come, and knows the query by this key.
    Status { name: FullTrackName, query: Index, via: Vec<u64> },
    /// That is the largest location, and these are its properties; or why that cannot be said.
    StatusAnswer { query: Index, answer: Result<(Option<Location>, TrackProperties), Refusal> },
}

/// How a shard is connected to relays upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// It has connections to some.
    There,
    /// All of them have asked it to leave.
    Leaving,
    /// It has none.
    Gone,
}

/// What comes in answer to a fetch.
#[derive(Debug)]
pub(crate) enum Fetched {
    Accepted { end: Location, end_of_track: bool, properties: TrackProperties },
    Refused(Refusal),
    Object(FetchObject),
    Payload(Bytes),
    EndOfRange { location: Location, kind: EndOfRange },
    Finished,
    Reset(StreamResetCode),
}
