//! Going on where another publisher has broken off: what was published in between is fetched, and
//! given to subscribers before what comes live.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use moqt_engine::StreamKey;
use moqt_engine::model::{GroupOrder, Location};
use moqt_engine::wire::{FetchObject, ObjectHeader};
use thunderdome::Index;

use super::fetch::{Fetch, after};
use super::ingest::Incoming;
use super::response::Asker;
use super::{Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections};
use crate::fanout::Piece;
use crate::live::Live;
use crate::message::What;
use crate::store::{SubgroupEnd, SubgroupFacts, SubgroupKey};
use crate::track::{Since, TrackId};

/// The number of what is fetched, among streams that other shards are given.
const RECOVERY: u64 = u64::MAX;

impl<A: Authorize> Shard<A> {
    /// A track that subscribers follow has a publisher who has come further than what was received,
    /// and nobody else who gives it what is before. Fetches what they lack; until it is there, what
    /// comes live waits.
    ///
    /// If nothing was received yet it is not known whether objects come in datagrams, which not
    /// every FETCH tells.
    pub(super) fn recover<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let is_followed = track.sinks.iter().flatten().any(|sink| sink.forward);
        let Some(received) = track.received.filter(|_| is_followed) else { return };
        if track.recovery.is_some() {
            return;
        }
        // Of subgroups that broke off, something may be missing before what came last.
        let is_broken = |live: &Live| live.end.is_none() && !live.is_fed();
        let broken = track.live.iter().filter(|(_, live)| live.is_holding() || is_broken(live));
        let first = broken.map(|(key, _)| Location::new(key.group, 0)).min();
        let given = track.sources.iter().filter(|source| source.is_established && source.forward);
        let given = given.map(|source| match source.since {
            Since::After(since) => since,
            Since::Unknown => track.largest,
        });
        let Some(given) = given.min() else { return };
        let held = track.live.iter().filter_map(|(key, live)| {
            live.missing_up_to().map(|object| Location::new(key.group, object))
        });
        let Some(last) = given.max(held.max()) else { return };
        let Some(first) = first.or_else(|| after(received)).filter(|first| *first <= last) else {
            return;
        };
        let patience = self.config.fill_timeout.min(self.config.takeover);
        let fetch = self.fetches.insert(Fetch {
            from: Asker::Recovery,
            is_accepted: true,
            ..Fetch::new(id, first, last, GroupOrder::Ascending, cx.now, patience)
        });
        if self.begin_fill(cx, fetch, first, last) {
            if let Some(track) = self.tracks.get_mut(id) {
                track.recovery = Some(fetch);
            }
        } else {
            self.fetches.remove(fetch);
        }
    }

    /// An object was fetched that subscribers lack, or some of its payload. The store has it.
    pub(super) fn recovered_object<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        object: &FetchObject,
        was_held: bool,
    ) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        // Datagrams may be lost. Draft 14 does not tell them apart in a fetch.
        let Some(subgroup) = object.subgroup_id.filter(|_| !track.has_datagrams) else { return };
        let key = SubgroupKey { group: object.location.group, subgroup };
        let object_id = object.location.object;
        if was_held && !track.live.contains_key(&key) {
            // Its subgroup was complete.
            return;
        }
        let facts = SubgroupFacts {
            publisher_priority: object.publisher_priority,
            end_of_group: false,
            first_object: object_id == 0,
            has_properties: true,
        };
        if track.store.open(key, facts).is_err() {
            return;
        }
        let Some(live) = track.enter(key, facts) else { return };
        live.lost_since = None;
        let leads = live.last < Some(object_id);
        live.reach(object_id);
        let header = ObjectHeader {
            object_id,
            payload_len: object.payload_len,
            status: object.status,
            properties: object.properties.clone(),
        };
        track.received = track.received.max(Some(object.location));
        let held = track.store.object(key, object_id).filter(|held| held.is_complete());
        if let Some(held) = held {
            let (feed, after) = (RECOVERY, None);
            track.ship(&mut io, |track| {
                let header = header.clone();
                What::Object { track, key, feed, after, facts, header, payload: None }
            });
            let mut offset = 0;
            for payload in &held.pieces {
                track.ship(&mut io, |track| {
                    let (object, payload) = (object_id, payload.clone());
                    What::Payload { track, key, feed, object, offset, payload }
                });
                offset += payload.len() as u64;
            }
            track.recovered.insert(key);
        }
        if leads || !was_held {
            track.deliver(&mut io, key, Piece::Held(&header));
        }
    }

    /// Nothing more is fetched: subgroups that were recovered whole end, and what waited goes on.
    pub(super) fn recovered<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        fetch: Index,
        up_to: Option<Location>,
    ) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        if track.recovery != Some(fetch) {
            return;
        }
        track.recovery = None;
        for key in core::mem::take(&mut track.recovered) {
            let (feed, end) = (RECOVERY, None);
            track.ship(&mut io, |track| What::End { track, key, feed, end });
        }
        // Of the last group more may come; of those before it everything was published.
        let last = up_to.map(|last| last.group);
        let idle = track.live.iter().filter(|(_, live)| !live.is_fed() && live.end.is_none());
        let idle: Vec<SubgroupKey> = idle.map(|(key, _)| *key).collect();
        for key in idle {
            if Some(key.group) < last {
                if let Some(live) = track.live.get_mut(&key) {
                    live.end = Some(SubgroupEnd::Finished);
                }
                track.store.end(key, SubgroupEnd::Finished);
                track.release(&mut io, key);
            } else if let Some(live) = track.live.get_mut(&key) {
                live.lost_since = live.lost_since.or(Some(io.now));
            }
        }
        track.sweep_live();
        let at = cx.now.saturating_add(self.config.takeover);
        self.schedule(at, super::Due::Track(id));
        self.settle_all(cx, id);
        self.read_all(cx, id);
    }

    /// Reads what has waited of a track.
    fn read_all<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: TrackId) {
        let mut waiting: VecDeque<(ConnectionId, StreamKey)> = VecDeque::new();
        for (connection, peer) in &self.peers {
            for (stream, incoming) in &peer.streams {
                if matches!(incoming, Incoming::Subgroup(feed) if feed.track() == id) {
                    waiting.push_back((*connection, *stream));
                }
            }
        }
        for (connection, stream) in waiting {
            self.readable(cx, connection, stream);
        }
    }
}
