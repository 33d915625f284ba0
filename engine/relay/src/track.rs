//! [`Track`]: what a shard knows of one track.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use moqt_engine::model::{FullTrackName, Location, PublishDoneCode, TrackProperties};
use moqt_engine::{Accept, RequestKey, Timestamp};
use thunderdome::Index;

use crate::config::Config;
use crate::connections::{ConnectionId, ShardId};
use crate::live::{FeedId, Live, Out};
use crate::shard::peer::Ended;
use crate::store::{Limits, Store, SubgroupEnd, SubgroupFacts, SubgroupKey};

/// A track of a shard's. Stale when the track is gone.
pub(crate) type TrackId = Index;

/// Where objects come from or go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A subscription in a session of this shard's.
    Session(ConnectionId, RequestKey),
    /// Another shard. The key is that of the track in the shard that subscribes.
    Shard(ShardId, TrackId),
}

impl Node {
    /// Whether it is a session of this shard's.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::Session(..))
    }
}

/// How many subgroups that are over are remembered.
const MAX_PAST: usize = 128;

/// How far a subgroup has come that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    last: Option<u64>,
    is_finished: bool,
}

/// What a shard knows of one track: who publishes it, who wants it, and its objects.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) name: FullTrackName,
    pub(crate) sources: Vec<Source>,
    /// SUBSCRIBEs that are not answered yet.
    pub(crate) waiters: Vec<Waiter>,
    /// Subscriptions, each in a slot that it keeps.
    pub(crate) sinks: Vec<Option<Sink>>,
    pub(crate) sink_count: usize,
    pub(crate) properties: TrackProperties,
    /// The largest location that was published or told of.
    pub(crate) largest: Option<Location>,
    /// The largest location that came live.
    pub(crate) received: Option<Location>,
    /// The FETCH for what was published while there was no publisher here.
    pub(crate) recovery: Option<Index>,
    /// Subgroups of which something came by it.
    pub(crate) recovered: BTreeSet<SubgroupKey>,
    /// Subgroups that are being received, or that some subscriber has not got all of.
    pub(crate) live: BTreeMap<SubgroupKey, Live>,
    /// How far subgroups have come that are over, so that what comes again is known.
    past: BTreeMap<SubgroupKey, Past>,
    /// Some of its objects came in datagrams.
    pub(crate) has_datagrams: bool,
    pub(crate) store: Store,
    /// The largest value of NEW_GROUP_REQUEST that was sent upstream and not fulfilled.
    pub(crate) new_group: Option<u64>,
    /// Since when nobody wants it.
    pub(crate) idle_since: Option<Timestamp>,
    /// Until when another publisher may take over, and what subscribers are told otherwise.
    pub(crate) orphaned: Option<(Timestamp, PublishDoneCode, String)>,
    /// One of several publishers has said that the track ends, and how.
    pub(crate) ended: Option<(PublishDoneCode, String)>,
    /// FETCHes that wait for an object that is coming in.
    pub(crate) waiting_fetches: Vec<Index>,
    /// When the store is looked after next, as far as that is planned.
    pub(crate) expires: Option<Timestamp>,
    /// What of the store was counted last, in bytes.
    pub(crate) charged: usize,
    /// Somebody takes no more, which nobody has looked at yet.
    pub(crate) has_blocked: bool,
}

impl Sink {
    /// A subscriber with this request.
    pub(crate) fn new(node: Node, is_offered: bool, forward: bool) -> Self {
        Self { node, is_offered, forward, blocked_since: None, ending: None }
    }
}

/// A publisher of a track.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they have nothing to do with each other")]
pub(crate) struct Source {
    pub(crate) node: Node,
    /// The request is the publisher's PUBLISH, and not a SUBSCRIBE of ours.
    pub(crate) is_publish: bool,
    pub(crate) is_established: bool,
    /// Whether it was told to send objects.
    pub(crate) forward: bool,
    /// It is another relay's, or another shard.
    pub(crate) is_relay: bool,
    pub(crate) since: Since,
    /// Relays that a PUBLISH has come through.
    pub(crate) via: Vec<u64>,
}

/// Since when a publisher gives everything that it publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Since {
    /// That is not known.
    Unknown,
    /// After this location; `None` if nothing was published then.
    After(Option<Location>),
}

/// A SUBSCRIBE that waits for a publisher.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) node: Node,
    pub(crate) forward: bool,
    pub(crate) new_group: Option<u64>,
    /// Relays that the request has come through.
    pub(crate) via: Vec<u64>,
    /// Until when it waits for a publisher to come, if it does.
    pub(crate) until: Option<Timestamp>,
}

/// A subscriber to a track.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) node: Node,
    /// It was offered the track by a PUBLISH of ours, and did not ask.
    pub(crate) is_offered: bool,
    /// Whether it wants objects now.
    pub(crate) forward: bool,
    /// Since when it takes no more, though there is something for it.
    pub(crate) blocked_since: Option<Timestamp>,
    /// How it ends, once it has everything.
    pub(crate) ending: Option<(PublishDoneCode, String)>,
}

impl Source {
    /// Somebody who has been asked for a track.
    pub(crate) fn asked(node: Node, is_publish: bool, is_relay: bool) -> Self {
        let (is_established, forward) = (false, true);
        let (since, via) = (Since::Unknown, Vec::new());
        Self { node, is_publish, is_established, forward, is_relay, since, via }
    }

    /// Whether what it gives may go there: not back to the relay that it came from, nor from one
    /// shard to another by way of this one, or it could go in a circle. An endpoint gets its own
    /// track back if it asks for it (draft-18, "Subscriptions").
    pub(crate) fn may_feed(&self, sink: Node) -> bool {
        match (self.node, sink) {
            (Node::Session(from, _), Node::Session(to, _)) => from != to || !self.is_relay,
            (Node::Shard(..), Node::Shard(..)) => false,
            _ => true,
        }
    }
}

impl Track {
    pub(crate) fn new(name: FullTrackName, config: &Config) -> Self {
        let store = Store::new(Limits {
            objects: config.track_objects,
            bytes: config.track_bytes,
            max_age: config.max_cache_duration,
            receive_buffer: config.receive_buffer,
        });
        Self {
            name,
            sources: Vec::new(),
            waiters: Vec::new(),
            sinks: Vec::new(),
            sink_count: 0,
            properties: TrackProperties::new(),
            largest: None,
            received: None,
            recovery: None,
            recovered: BTreeSet::new(),
            live: BTreeMap::new(),
            past: BTreeMap::new(),
            has_datagrams: false,
            store,
            new_group: None,
            idle_since: None,
            orphaned: None,
            ended: None,
            waiting_fetches: Vec::new(),
            expires: None,
            charged: 0,
            has_blocked: false,
        }
    }

    /// What to say to who subscribes.
    pub(crate) fn accept(&self) -> Accept {
        let mut accept = Accept { track_properties: self.properties.clone(), ..Accept::default() };
        accept.parameters.largest_object = self.largest;
        accept
    }

    /// The relays that a PUBLISH of the track has come through from such publishers: the fewest.
    pub(crate) fn via(&self, is_it: impl Fn(Node) -> bool) -> Vec<u64> {
        let published = self.sources.iter().filter(|it| it.is_publish && is_it(it.node));
        let published = published.map(|source| &source.via).min_by_key(|via| via.len());
        published.cloned().unwrap_or_default()
    }

    /// How a publisher has left, among others: that one of them has ended the track holds, however
    /// another one goes after that.
    pub(crate) fn note_end(&mut self, how: Ended) -> Ended {
        if let Ended::Done(code @ PublishDoneCode::TrackEnded, reason) = &how {
            self.ended = Some((*code, reason.clone()));
        }
        let is_there = |source: &Source| source.is_established && source.node.is_local();
        match &self.ended {
            Some((code, reason)) if !self.sources.iter().any(is_there) => {
                Ended::Done(*code, reason.clone())
            }
            _ => how,
        }
    }

    pub(crate) fn source(&self, node: Node) -> Option<&Source> {
        self.sources.iter().find(|source| source.node == node)
    }

    pub(crate) fn source_mut(&mut self, node: Node) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.node == node)
    }

    /// Whether somebody of this connection is a source, asked or established.
    pub(crate) fn has_source_in(&self, connection: ConnectionId) -> bool {
        let is_there =
            |source: &Source| matches!(source.node, Node::Session(id, _) if id == connection);
        self.sources.iter().any(is_there)
    }

    /// Whether this connection gets the track, or has asked for it.
    pub(crate) fn has_sink_in(&self, connection: ConnectionId) -> bool {
        let is_there = |node: Node| matches!(node, Node::Session(id, _) if id == connection);
        self.sinks.iter().flatten().any(|sink| is_there(sink.node))
            || self.waiters.iter().any(|waiter| is_there(waiter.node))
    }

    /// Whether somebody gives the track whose objects may go to this subscriber.
    pub(crate) fn is_fed(&self, sink: Node) -> bool {
        self.sources.iter().any(|source| source.is_established && source.may_feed(sink))
    }

    /// The same, also of those who were asked and have not answered.
    pub(crate) fn may_be_fed(&self, sink: Node) -> bool {
        self.sources.iter().any(|source| source.may_feed(sink))
    }

    pub(crate) fn has_established_source(&self) -> bool {
        self.sources.iter().any(|source| source.is_established)
    }

    /// Whether a session of this shard's gives the track, or was asked to.
    pub(crate) fn has_local_source(&self) -> bool {
        self.sources.iter().any(|source| source.node.is_local())
    }

    /// Whether somebody of this shard's wants the track.
    pub(crate) fn is_wanted_locally(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.node.is_local())
            || self.sinks.iter().flatten().any(|sink| sink.node.is_local())
    }

    /// Whether what is published comes in, so that it is known how far the track has come.
    pub(crate) fn is_observed(&self) -> bool {
        self.sources.iter().any(|source| source.is_established && source.forward)
    }

    /// Whether somebody subscribes, or wants to. Who was offered the track and wants no objects
    /// does not count.
    pub(crate) fn is_wanted(&self) -> bool {
        let wants = |sink: &Sink| sink.forward || !sink.is_offered;
        !self.waiters.is_empty() || self.sinks.iter().flatten().any(wants)
    }

    /// Whether somebody wants objects.
    pub(crate) fn is_flowing(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.forward)
            || self.sinks.iter().flatten().any(|sink| sink.forward)
    }

    /// Puts a subscriber into a free slot, and says which.
    pub(crate) fn add_sink(&mut self, sink: Sink) -> usize {
        self.sink_count += 1;
        self.idle_since = None;
        let free = self.sinks.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.sinks.len());
        match self.sinks.get_mut(slot) {
            Some(place) => *place = Some(sink),
            None => self.sinks.push(Some(sink)),
        }
        slot
    }

    /// Takes a subscriber out. Its subgroups are its connection's to end.
    pub(crate) fn remove_sink(&mut self, slot: usize) -> Option<Sink> {
        let sink = self.sinks.get_mut(slot)?.take()?;
        self.sink_count -= 1;
        for live in self.live.values_mut() {
            live.set_out(slot, Out::Unopened);
        }
        while self.sinks.last().is_some_and(Option::is_none) {
            self.sinks.pop();
        }
        self.sweep_live();
        Some(sink)
    }

    /// The slot of a subscriber.
    pub(crate) fn slot(&self, node: Node) -> Option<usize> {
        self.sinks.iter().position(|sink| sink.as_ref().is_some_and(|sink| sink.node == node))
    }

    /// Notes that something was published.
    pub(crate) fn note_largest(&mut self, location: Option<Location>) {
        if location > self.largest {
            if location.map(|at| at.group) > self.largest.map(|at| at.group) {
                self.new_group = None;
            }
            self.largest = location;
        }
    }

    /// The place of a subgroup of which a stream comes, made if it is not there; `None` if all of
    /// it has come.
    pub(crate) fn enter(&mut self, key: SubgroupKey, facts: SubgroupFacts) -> Option<&mut Live> {
        let past = self.past.get(&key).copied();
        if matches!(past, Some(past) if past.is_finished) && !self.live.contains_key(&key) {
            return None;
        }
        let last = past.and_then(|past| past.last);
        let live = self.live.entry(key).or_insert_with(|| Live::after(facts, last));
        live.facts.first_object |= facts.first_object;
        if matches!(live.end, Some(SubgroupEnd::Reset(_))) {
            // Another publisher gives what one has given up.
            live.end = None;
            live.reopen();
        }
        Some(live)
    }

    /// An object begins in a stream, which has given everything of its subgroup after `after`.
    /// Whether it is to be handed on, now that everything before it was.
    pub(crate) fn advance(
        &mut self,
        now: Timestamp,
        key: SubgroupKey,
        feed: (FeedId, Node),
        (after, object): (Option<u64>, u64),
    ) -> bool {
        let Self { live, sources, recovery, .. } = self;
        let Some(live) = live.get_mut(&key) else { return false };
        let may_come = |live: &Live, missing| {
            recovery.is_some() || may_come(sources, live, Location::new(key.group, missing))
        };
        live.advance(now, feed, (after, object), may_come)
    }

    /// Whether what is missing in a subgroup before what is held back may still come: from a
    /// stream, from a FETCH, or from another publisher who was there before.
    pub(crate) fn may_come(&self, key: SubgroupKey, live: &Live) -> bool {
        let Some(missing) = live.missing_up_to() else { return false };
        self.recovery.is_some() || may_come(&self.sources, live, Location::new(key.group, missing))
    }

    /// Forgets subgroups that nothing more comes from or goes to.
    pub(crate) fn sweep_live(&mut self) {
        let Self { live, past, store, .. } = self;
        live.retain(|key, live| {
            let is_over = live.is_over();
            if is_over {
                // The rest of what broke off has come by now or does not come.
                for object in core::mem::take(&mut live.broken) {
                    store.abandon(*key, object);
                }
                let is_finished = matches!(live.end, Some(SubgroupEnd::Finished));
                past.insert(*key, Past { last: live.last, is_finished });
            }
            !is_over
        });
        while past.len() > MAX_PAST {
            past.pop_first();
        }
    }

    /// Forgets all that was published.
    pub(crate) fn clear(&mut self) {
        self.store.clear();
        self.live.clear();
        self.past.clear();
        (self.largest, self.received) = (None, None);
    }
}

fn may_come(sources: &[Source], live: &Live, missing: Location) -> bool {
    let may_give = |source: &Source| {
        let is_before = match source.since {
            Since::Unknown => true,
            Since::After(since) => since < Some(missing),
        };
        // Another shard may have several publishers.
        let is_other = !source.node.is_local() || !live.holds_of(source.node);
        source.is_established && source.forward && is_before && is_other
    };
    live.may_give(missing.object) || sources.iter().any(may_give)
}
