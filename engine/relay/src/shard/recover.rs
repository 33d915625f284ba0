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
use crate::store::{SubgroupEnd, SubgroupFacts, SubgroupKey};
use crate::track::{Live, TrackId};

impl<A: Authorize> Shard<A> {
    /// A track that subscribers follow has a publisher again, who has come further than what was
    /// received. Fetches what they lack; until it is there, what comes live waits.
    pub(super) fn recover<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        told: Option<Location>,
    ) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        let (Some(received), Some(last)) = (track.received, told) else { return };
        if track.sink_count == 0 || track.recovery.is_some() {
            return;
        }
        // Of subgroups that broke off, something may be missing before what came last.
        let broken = track.live.iter().filter(|(_, live)| live.end.is_none());
        let broken = broken.map(|(key, _)| Location::new(key.group, 0)).min();
        let Some(first) = broken.or_else(|| after(received)).filter(|first| *first <= last) else {
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
        let live = track.live.entry(key).or_insert_with(|| Live::new(facts));
        live.lost_since = None;
        let header = ObjectHeader {
            object_id,
            payload_len: object.payload_len,
            status: object.status,
            properties: object.properties.clone(),
        };
        track.received = track.received.max(Some(object.location));
        track.deliver(&mut io, key, Piece::Held(&header), true);
    }

    /// Nothing more is fetched: subgroups that were recovered whole end, and what waited goes on.
    pub(super) fn recovered<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: TrackId,
        fetch: Index,
        is_whole: bool,
    ) {
        let Some((track, mut io)) = self.outlet(cx, id) else { return };
        if track.recovery != Some(fetch) {
            return;
        }
        track.recovery = None;
        // Of the newest group more may come; of those before it everything was published.
        let newest = track.largest.map(|largest| largest.group);
        let idle = track.live.iter().filter(|(_, live)| live.feeds == 0 && live.end.is_none());
        let idle: Vec<SubgroupKey> = idle.map(|(key, _)| *key).collect();
        for key in idle {
            if is_whole && Some(key.group) < newest {
                if let Some(live) = track.live.get_mut(&key) {
                    live.end = Some(SubgroupEnd::Finished);
                }
                track.store.end(key, SubgroupEnd::Finished);
                track.deliver(&mut io, key, Piece::End, true);
            } else if let Some(live) = track.live.get_mut(&key) {
                live.lost_since = live.lost_since.or(Some(io.now));
            }
        }
        track.sweep_live();
        let at = cx.now.saturating_add(self.config.takeover);
        self.schedule(at, super::Due::Track(id));
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
