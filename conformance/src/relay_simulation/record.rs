//! What happened in a run: what was published, and what each request came to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use moqt_engine::model::{
    EndOfRange, GroupOrder, JoiningStart, Location, LocationRange, ObjectStatus, Property,
    PublishDoneCode, RequestErrorCode, StreamResetCode, SubscriptionFilter, TrackNamespace,
};
use moqt_engine::{FetchAnswer, SubgroupInfo, Timestamp};

use super::scenario::How;
use crate::simulation::Object;

/// Everything that the model is to judge.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// By track.
    pub tracks: Vec<TrackRecord>,
    /// Subscriptions of clients, those that a relay began by PUBLISH among them.
    pub subscriptions: Vec<Subscribed>,
    /// Fetches of clients.
    pub fetches: Vec<Fetched>,
    /// TRACK_STATUSes of clients.
    pub statuses: Vec<TrackState>,
    /// Namespace subscriptions of clients.
    pub namespaces: Vec<Told>,
    /// Who said when to have which namespace.
    pub announced: Vec<Announced>,
    /// When something went wrong, from when to when it may have had an effect.
    pub troubles: Vec<(Timestamp, Timestamp)>,
    /// When relays went away: from when on those below them could leave, and until when they had to.
    pub moves: Vec<(Timestamp, Timestamp)>,
    /// When sessions were closed for a reason that is not known: client, when, why.
    pub closed: Vec<(usize, Timestamp, String)>,
    /// When readers paused, from when to when.
    pub pauses: Vec<(usize, Timestamp, Timestamp)>,
    /// Commands that failed and should not have.
    pub failed: Vec<(Timestamp, String)>,
    /// What was left at the end and should not have been.
    pub left: Vec<String>,
    /// When everybody began to leave.
    pub ended: Timestamp,
    /// The run had no end.
    pub is_endless: bool,
}

/// What was published of a track.
#[derive(Clone, Debug, Default)]
pub struct TrackRecord {
    /// Objects.
    pub objects: BTreeMap<Location, Made>,
    /// When the last object of a group had come into being, if it has.
    pub groups_over: BTreeMap<u64, Timestamp>,
    /// Who published it.
    pub publishers: Vec<Published>,
}

/// An object at its publishers.
#[derive(Clone, Debug)]
pub struct Made {
    /// When it came into being.
    pub at: Timestamp,
    /// When the first of its subgroup did.
    pub subgroup_at: Timestamp,
    /// What it is.
    pub object: Object,
}

/// A time in which a client published a track.
#[derive(Clone, Debug)]
pub struct Published {
    /// Who.
    pub client: usize,
    /// How it offered the track.
    pub how: How,
    /// Since when.
    pub from: Timestamp,
    /// Until when, and how it left.
    pub to: Option<(Timestamp, Left)>,
    /// The relay refused the offer.
    pub is_refused: bool,
}

/// How a publisher left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It said that the track has ended.
    Ended,
    /// It said that it goes away.
    GoingAway,
    /// Its session ended.
    Gone,
}

/// What a subscription of a client's came to.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// Whose.
    pub client: usize,
    /// Of what.
    pub track: usize,
    /// It was the relay that began it.
    pub is_offered: bool,
    /// The filter.
    pub filter: Option<SubscriptionFilter>,
    /// When objects were to come, and when not: the last before a time counts.
    pub forward: Vec<(Timestamp, bool)>,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When it was accepted, and the largest location told then.
    pub accepted: Option<(Timestamp, Option<Location>)>,
    /// How it ended.
    pub end: Option<(Timestamp, SubscriptionEnd)>,
    /// Streams that came.
    pub streams: Vec<Stream>,
    /// Objects that came in datagrams.
    pub datagrams: Vec<Seen>,
}

/// How a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionEnd {
    Rejected(RequestErrorCode),
    Done(PublishDoneCode),
    Cancelled(StreamResetCode),
    Malformed(String),
    /// The client left it.
    Left,
    /// The session ended.
    Closed,
}

/// A stream of a subscription.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What it says of itself.
    pub info: SubgroupInfo,
    /// The Subgroup ID, as soon as it is known.
    pub subgroup: Option<u64>,
    /// When it came.
    pub opened: Timestamp,
    /// Objects that came whole.
    pub objects: Vec<Seen>,
    /// The last was cut off.
    pub is_cut: bool,
    /// Whether it was finished, and when that or the contrary was clear.
    pub end: Option<(Timestamp, bool)>,
}

/// An object as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was whole.
    pub at: Timestamp,
    /// Where it is in the track.
    pub location: Location,
    /// Its subgroup; `None` for a datagram, or where that is not told.
    pub subgroup: Option<u64>,
    /// Its priority, if it is told.
    pub priority: Option<u8>,
    /// Its status.
    pub status: ObjectStatus,
    /// Its properties.
    pub properties: Vec<Property>,
    /// Its payload.
    pub payload: Bytes,
}

/// What a fetch came to.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Whose.
    pub client: usize,
    /// Of what.
    pub track: usize,
    /// What was asked for, if it did not join a subscription.
    pub range: Option<LocationRange>,
    /// The number of the subscription it joined, and from where on.
    pub joined: Option<(usize, JoiningStart)>,
    /// In which order.
    pub order: GroupOrder,
    /// When.
    pub asked: Timestamp,
    /// What was answered.
    pub answer: Option<(Timestamp, FetchAnswer)>,
    /// What came.
    pub items: Vec<Item>,
    /// How it ended.
    pub end: Option<(Timestamp, FetchEnd)>,
}

/// Something that came in answer to a fetch.
#[derive(Clone, Debug)]
pub enum Item {
    Object(Seen),
    Range(Location, EndOfRange),
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    Finished,
    Reset(StreamResetCode),
    Rejected(RequestErrorCode),
    Cancelled(StreamResetCode),
    Malformed(String),
    Closed,
}

/// What a TRACK_STATUS came to.
#[derive(Clone, Debug)]
pub struct TrackState {
    /// Whose.
    pub client: usize,
    /// Of what.
    pub track: usize,
    /// When.
    pub asked: Timestamp,
    /// The session ended before the answer came.
    pub is_over: bool,
    /// The largest location that was told, or why it was refused, and when.
    pub answer: Option<(Timestamp, Result<Option<Location>, RequestErrorCode>)>,
}

/// What a namespace subscription came to.
#[derive(Clone, Debug)]
pub struct Told {
    /// Whose.
    pub client: usize,
    /// The prefix.
    pub prefix: TrackNamespace,
    /// Whether it is to be told of namespaces, and offered tracks.
    pub interest: (bool, bool),
    /// When it was accepted.
    pub accepted: Option<Timestamp>,
    /// Until when it lasted.
    pub ended: Option<Timestamp>,
    /// What was told of before, under another prefix.
    pub known: BTreeSet<TrackNamespace>,
    /// Namespaces, and whether they came or went.
    pub news: Vec<(Timestamp, TrackNamespace, bool)>,
}

/// A time in which a client said to have a namespace.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Who.
    pub client: usize,
    /// Which.
    pub namespace: TrackNamespace,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: Option<Timestamp>,
    /// The relay refused it.
    pub is_refused: bool,
}

impl Told {
    /// It gets another prefix: that is another subscription from now on, in which is known what is
    /// known in this one.
    pub(super) fn move_to(&mut self, prefix: TrackNamespace, at: Timestamp) -> Self {
        self.ended.get_or_insert(at);
        let (client, interest, known) = (self.client, self.interest, self.known(at));
        Self { client, prefix, interest, accepted: Some(at), ended: None, known, news: Vec::new() }
    }

    /// What was told of by then and was not told to be gone.
    pub(super) fn known(&self, by: Timestamp) -> BTreeSet<TrackNamespace> {
        let mut known = self.known.clone();
        for (_, namespace, is_there) in self.news.iter().filter(|(at, ..)| *at <= by) {
            if *is_there {
                known.insert(namespace.clone());
            } else {
                known.remove(namespace);
            }
        }
        known
    }
}

impl Record {
    /// A subscription is asked for; gives its number.
    pub(super) fn subscribed(
        &mut self,
        client: usize,
        track: usize,
        asked: Timestamp,
        filter: Option<SubscriptionFilter>,
    ) -> usize {
        self.subscriptions.push(Subscribed {
            client,
            track,
            is_offered: false,
            filter,
            forward: Vec::new(),
            asked,
            accepted: None,
            end: None,
            streams: Vec::new(),
            datagrams: Vec::new(),
        });
        self.subscriptions.len() - 1
    }

    /// A subscription is over; what is said of it later does not count.
    pub(super) fn end_subscription(&mut self, of: usize, at: Timestamp, end: SubscriptionEnd) {
        self.subscriptions[of].end.get_or_insert((at, end));
    }

    /// The same of a fetch.
    pub(super) fn end_fetch(&mut self, of: usize, at: Timestamp, end: FetchEnd) {
        self.fetches[of].end.get_or_insert((at, end));
    }
}

impl TrackRecord {
    /// A client's session has ended before it could say how it left the track.
    pub(super) fn take_back(&mut self, client: usize) {
        let last = self.publishers.iter_mut().rfind(|it| it.client == client);
        if let Some((_, left)) = last.and_then(|it| it.to.as_mut()) {
            *left = Left::Gone;
        }
    }

    /// A client publishes the track no longer.
    pub(super) fn leave(&mut self, client: usize, at: Timestamp, left: Left) {
        for published in self.publishers.iter_mut().filter(|it| it.client == client) {
            published.to.get_or_insert((at, left));
        }
    }
}
