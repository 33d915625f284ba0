//! FETCHes of peers: answered from the store, and from publishers where it lacks something.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{
    EndOfRange, FullTrackName, GroupOrder, Location, LocationRange, Parameters, RequestErrorCode,
    StreamResetCode,
};
use moqt_engine::wire::FetchObject;
use moqt_engine::{AcceptFetch, Refusal, RequestKey, Timestamp};
use thunderdome::Index;

use super::fill::{Asked, Fill};
use super::gaps::{Aside, Waits};
use super::peer::{Peer, Purpose};
use super::response::{Asker, SHARD_CREDIT, Say, Wrote};
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, ShardId};
use crate::message::{Fetched, What};
use crate::store::{Forwarding, Next, Object};
use crate::track::{Node, TrackId};

/// A FETCH that is being answered.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) track: TrackId,
    /// Who asks.
    pub(super) from: Asker,
    /// Payload that another shard takes, in bytes.
    pub(super) credit: usize,
    /// What is asked for, or what there is of it once that is known.
    pub(super) first: Location,
    pub(super) last: Location,
    pub(super) order: GroupOrder,
    pub(super) is_accepted: bool,
    /// Where to go on; `None` when everything was given.
    pub(super) at: Option<Location>,
    /// Payload of the object begun last that is still to be written.
    pub(super) pending: VecDeque<Bytes>,
    /// Bytes of that object that have not come in.
    pub(super) missing: u64,
    /// A FETCH of ours for what is missing.
    pub(super) fill: Option<Fill>,
    /// Others that go on after it.
    pub(super) aside: Vec<Aside>,
    /// Nobody is asked for what is missing, or not any more.
    pub(super) is_filled: bool,
    /// Who has been asked already for what is missing here.
    pub(super) asked: Vec<Asked>,
    pub(super) waits: Waits,
    /// How long to wait for what is missing.
    pub(super) patience: Duration,
    pub(super) until: Timestamp,
    pub(super) via: Vec<u64>,
}

impl Fetch {
    /// A fetch of this range, of nobody yet.
    pub(super) fn new(
        track: TrackId,
        first: Location,
        last: Location,
        order: GroupOrder,
        now: Timestamp,
        patience: Duration,
    ) -> Self {
        Self {
            track,
            from: Asker::Recovery,
            credit: 0,
            first,
            last,
            order,
            is_accepted: false,
            at: Some(first),
            pending: VecDeque::new(),
            missing: 0,
            fill: None,
            aside: Vec::new(),
            is_filled: patience.is_zero(),
            asked: Vec::new(),
            waits: Waits::Not,
            patience,
            until: now.saturating_add(patience),
            via: Vec::new(),
        }
    }

    pub(super) fn track(&self) -> TrackId {
        self.track
    }
}

impl<A: Authorize> Shard<A> {
    /// A peer wants objects of the past (draft-18, "FETCH").
    pub(super) fn fetch<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        (connection, request): (ConnectionId, RequestKey),
        name: FullTrackName,
        range: LocationRange,
        parameters: &Parameters,
        via: Vec<u64>,
    ) {
        let Some(track) = self.track(name) else {
            let reason = "the relay has too many tracks";
            return self.refuse(cx, connection, request, RequestErrorCode::ExcessiveLoad, reason);
        };
        let patience = parameters.fill_timeout.map(Duration::from_millis);
        let patience =
            patience.map_or(self.config.fill_timeout, |asked| asked.min(self.config.fill_timeout));
        let order = parameters.group_order.unwrap_or_default();
        let fetch = self.fetches.insert(Fetch {
            from: Asker::Session(connection, request),
            via,
            ..Fetch::new(track, range.start, range.last(), order, cx.now, patience)
        });
        self.set_purpose(connection, request, Purpose::Fetch(fetch));
        self.begin_fetch(cx, fetch);
    }

    /// Another shard wants objects of the past, for a peer of its.
    pub(super) fn fetch_for_shard<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        from: (ShardId, Index),
        name: FullTrackName,
        (first, last, order): (Location, Location, GroupOrder),
        patience: Duration,
        via: Vec<u64>,
    ) {
        let Some(track) = self.track(name) else {
            let (shard, fetch) = from;
            let item = Fetched::Refused(Refusal::new(RequestErrorCode::ExcessiveLoad));
            return self.say(shard, What::Fetched { fetch, by: fetch, item });
        };
        let fetch = self.fetches.insert(Fetch {
            from: Asker::Shard(from.0, from.1),
            credit: SHARD_CREDIT,
            via,
            ..Fetch::new(track, first, last, order, cx.now, patience)
        });
        self.begin_fetch(cx, fetch);
    }

    /// Another shard takes more.
    pub(super) fn credit<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index, bytes: usize) {
        if let Some(fetch) = self.fetches.get_mut(id) {
            fetch.credit = fetch.credit.saturating_add(bytes);
            self.serve(cx, id);
        }
    }

    /// Answers if it is known how far the track has come; if not, a publisher says.
    pub(super) fn begin_fetch<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        let Some(fetch) = self.fetches.get(id) else { return };
        let Some(track) = self.tracks.get(fetch.track) else { return };
        let range = LocationRange::to_last(fetch.first, fetch.last);
        let published = track.largest.and_then(|largest| range.published(largest));
        let is_held = published.is_some() && self.is_held(cx.now, fetch);
        // What was published before anything came in is not known here, nor what other relays and
        // shards have and are about to give.
        let is_relayed = track.sources.iter().any(|source| match source.node {
            Node::Session(connection, _) => self.peers.get(&connection).is_some_and(Peer::is_relay),
            Node::Shard(..) => true,
        });
        let is_unknown = track.largest.is_none() || published.is_none() && is_relayed;
        let may_have_come_further = !track.is_observed() || is_unknown;
        if may_have_come_further && !is_held {
            if self.begin_fill(cx, id, fetch.first, fetch.last) {
                return;
            }
            let track = self.fetches.get(id).and_then(|fetch| self.tracks.get(fetch.track));
            if track.is_none_or(|track| track.largest.is_none()) {
                let refusal = Refusal {
                    reason: "nobody publishes the track".into(),
                    ..Refusal::new(RequestErrorCode::DoesNotExist)
                };
                return self.refuse_fetch(cx, id, refusal);
            }
        }
        let Some(track) = self.fetches.get(id).and_then(|fetch| self.tracks.get(fetch.track))
        else {
            return;
        };
        let published = track.largest.and_then(|largest| range.published(largest));
        let Some(published) = published else {
            let reason = "nothing was published in the range".into();
            let code = RequestErrorCode::InvalidRange;
            return self.refuse_fetch(cx, id, Refusal { reason, ..Refusal::new(code) });
        };
        if is_held {
            self.stats.cache_hits += 1;
        }
        self.accept_fetch(cx, id, published.end);
        self.serve(cx, id);
    }

    /// Whether everything that is asked for is here, if it exists.
    fn is_held(&self, now: Timestamp, fetch: &Fetch) -> bool {
        let Some(track) = self.tracks.get(fetch.track) else { return false };
        // Of what is not observed, nobody here knows how far it has come.
        let largest = track.largest.filter(|_| track.is_observed());
        let last = largest.map_or(fetch.last, |largest| largest.min(fetch.last));
        track.store.is_known(now, fetch.first, last)
    }

    /// Says that the objects up to `end` will come.
    pub(super) fn accept_fetch<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        end: Location,
    ) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        let Some(track) = self.tracks.get(fetch.track) else { return };
        fetch.is_accepted = true;
        fetch.last = LocationRange::new(fetch.first, end).last();
        let accept = AcceptFetch {
            end_of_track: track.store.end_of_track() == Some(fetch.last),
            group_order: Some(fetch.order),
            track_properties: track.properties.clone(),
            ..AcceptFetch::new(end)
        };
        if fetch.order == GroupOrder::Descending {
            fetch.at = Some(fetch.first.max(Location::new(fetch.last.group, 0)));
        }
        if self.respond_accept(cx, id, accept) != Wrote::On {
            let reason = "the range cannot be told of in this session".into();
            let code = RequestErrorCode::InternalError;
            self.refuse_fetch(cx, id, Refusal { reason, ..Refusal::new(code) });
        }
    }

    /// Writes on, as far as there are objects and there is room.
    pub(super) fn serve<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        loop {
            match self.write_pending(cx, id) {
                Wrote::On => {}
                Wrote::Blocked => return,
                Wrote::Over => return self.fetch_over(cx, id, StreamResetCode::InternalError),
            }
            let Some(fetch) = self.fetches.get_mut(id) else { return };
            if fetch.fill.is_some() || fetch.take_up() {
                if !self.pump_fill(cx, id) {
                    return;
                }
                continue;
            }
            if !fetch.is_accepted {
                return;
            }
            if !self.serve_held(cx, id) {
                return;
            }
        }
    }

    /// Writes the next object from the store. Whether to go on.
    fn serve_held<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) -> bool {
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        let Some(track) = self.tracks.get_mut(fetch.track) else { return false };
        let Some(at) = fetch.at else {
            self.finish_fetch(cx, id);
            return false;
        };
        let end = fetch.span_end(at);
        let end = fetch.gap_end().map_or(end, |gap| gap.min(end));
        match track.store.next(cx.now, at, end) {
            Next::Object { location, object } => {
                let (said, pieces) = (said(location, object), object.pieces.clone());
                match self.respond(cx, id, Say::Object(said)) {
                    Wrote::On => {}
                    Wrote::Blocked => return false,
                    Wrote::Over => {
                        self.fetch_over(cx, id, StreamResetCode::InternalError);
                        return false;
                    }
                }
                if let Some(fetch) = self.fetches.get_mut(id) {
                    fetch.pending.extend(pieces);
                    fetch.at = fetch.after(location);
                }
                true
            }
            Next::Incomplete { .. } => {
                if !track.waiting_fetches.contains(&id) {
                    track.waiting_fetches.push(id);
                }
                false
            }
            Next::Unknown { until } => {
                let group = fetch.first.max(Location::new(at.group, 0));
                let (from, to) = match fetch.order {
                    GroupOrder::Ascending => (at, end),
                    // Of a group that has been begun, only the rest is asked for.
                    GroupOrder::Descending if at > group => (at, end),
                    GroupOrder::Descending => (fetch.first, end),
                };
                let is_descending = fetch.order == GroupOrder::Descending;
                if !fetch.is_filled && self.begin_fill(cx, id, from, to) {
                    return false;
                }
                if is_descending {
                    // There may be any number of groups of which nothing is known, and a range
                    // of them cannot be told of from its end.
                    self.fetch_over(cx, id, StreamResetCode::UnknownObjectStatus);
                    return false;
                }
                self.say_unknown(cx, id, until)
            }
            Next::End => {
                fetch.at = match fetch.order {
                    GroupOrder::Ascending => fetch.after_held(),
                    GroupOrder::Descending => track
                        .store
                        .group_below(fetch.first, end.group)
                        .map(|group| fetch.first.max(Location::new(group, 0))),
                };
                true
            }
        }
    }

    /// Says that it is not known what there is up to a location. Whether to go on.
    fn say_unknown<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        until: Location,
    ) -> bool {
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        fetch.is_filled = true;
        match self.respond(cx, id, Say::EndOfRange(until, EndOfRange::Unknown)) {
            Wrote::On => {
                if let Some(fetch) = self.fetches.get_mut(id) {
                    fetch.at = fetch.after(until);
                }
                true
            }
            Wrote::Blocked => false,
            // The draft has no word for it.
            Wrote::Over => {
                self.fetch_over(cx, id, StreamResetCode::UnknownObjectStatus);
                false
            }
        }
    }

    /// Writes what there is of the payload of the object begun last.
    fn write_pending<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) -> Wrote {
        loop {
            let Some(fetch) = self.fetches.get_mut(id) else { return Wrote::Blocked };
            let Some(piece) = fetch.pending.front().cloned() else { return Wrote::On };
            match self.respond(cx, id, Say::Payload(piece)) {
                Wrote::On => {
                    if let Some(fetch) = self.fetches.get_mut(id) {
                        fetch.pending.pop_front();
                    }
                }
                wrote => return wrote,
            }
        }
    }

    fn finish_fetch<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        if self.respond(cx, id, Say::Finished) != Wrote::Blocked {
            self.forget_fetch(cx, id);
        }
    }

    /// Gives a fetch up.
    pub(super) fn fetch_over<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        code: StreamResetCode,
    ) {
        let Some(fetch) = self.fetches.get(id) else { return };
        if !fetch.is_accepted {
            let error = match code {
                StreamResetCode::MalformedTrack => RequestErrorCode::MalformedTrack,
                StreamResetCode::ExpiredAuthToken => RequestErrorCode::ExpiredAuthToken,
                StreamResetCode::UnknownObjectStatus => RequestErrorCode::UnknownStatusInRange,
                _ => RequestErrorCode::InternalError,
            };
            return self.refuse_fetch(cx, id, Refusal::new(error));
        }
        self.respond(cx, id, Say::Reset(code));
        self.forget_fetch(cx, id);
    }

    pub(super) fn refuse_fetch<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        refusal: Refusal,
    ) {
        self.respond_refuse(cx, id, refusal);
        self.forget_fetch(cx, id);
    }

    /// Who asked has gone.
    pub(super) fn fetch_cancelled<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        self.forget_fetch(cx, id);
    }

    pub(super) fn forget_fetch<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        self.end_fill(cx, id);
        self.end_aside(cx, id);
        let Some(fetch) = self.fetches.remove(id) else { return };
        match fetch.from {
            Asker::Session(connection, request) => {
                self.forget_request(connection, request);
            }
            Asker::Recovery => {
                let up_to = fetch.at.is_none().then_some(fetch.last);
                self.recovered(cx, fetch.track, id, up_to);
            }
            Asker::Shard(..) => {}
        }
        self.track_changed(cx, fetch.track);
    }

    pub(super) fn fetches_of(&self, track: TrackId) -> Vec<Index> {
        let of_track = self.fetches.iter().filter(|(_, fetch)| fetch.track == track);
        of_track.map(|(id, _)| id).collect()
    }

    /// Objects that fetches waited for are there, or never will be.
    pub(super) fn serve_waiting<C: Connections>(&mut self, cx: &mut Cx<'_, C>, track: TrackId) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        for fetch in core::mem::take(&mut track.waiting_fetches) {
            self.serve(cx, fetch);
        }
    }

    pub(super) fn fetch_due<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        let Some(fetch) = self.fetches.get(id) else { return };
        if fetch.fill.is_none() {
            return self.wait_is_over(cx, id);
        }
        if fetch.until > cx.now {
            let until = fetch.until;
            return self.schedule(until, Due::Fetch(id));
        }
        self.fill_ended(cx, id, None);
    }
}

impl Fetch {
    /// Where the run of locations ends that `at` is in: objects ascend in it.
    fn span_end(&self, at: Location) -> Location {
        match self.order {
            GroupOrder::Ascending => self.last,
            GroupOrder::Descending => self.last.min(Location::new(at.group, u64::MAX)),
        }
    }

    /// Where to go on after a location.
    pub(super) fn after(&self, location: Location) -> Option<Location> {
        if location >= self.span_end(location) {
            return self.next_span(location);
        }
        after(location)
    }

    /// The locations between where the fetch is and an object that comes next: what is there does
    /// not exist.
    pub(super) fn gap_before(&self, object: Location) -> Vec<(Location, Location)> {
        let Some(at) = self.at else { return Vec::new() };
        let mut gap = Vec::new();
        if self.order == GroupOrder::Ascending || at.group == object.group {
            gap.extend(before(object).map(|before| (at, before)));
        } else {
            // The rest of a group, the groups between, and the beginning of another.
            gap.push((at, self.span_end(at)));
            let next = object.group.checked_add(1).map(|group| Location::new(group, 0));
            gap.extend(next.zip(before(Location::new(at.group, 0))));
            let first = self.first.max(Location::new(object.group, 0));
            gap.extend(before(object).map(|before| (first, before)));
        }
        gap.retain(|(first, last)| first <= last);
        gap
    }

    /// The same when no object comes any more of what was asked for, from `first` to `last`.
    pub(super) fn gap_at_end(&self, first: Location, last: Location) -> Vec<(Location, Location)> {
        // In descending order, that may have been one group, and the next is looked at already.
        let Some(at) = self.at.filter(|at| *at >= first) else { return Vec::new() };
        let mut gap = match self.order {
            GroupOrder::Ascending => alloc::vec![(at, last)],
            GroupOrder::Descending => {
                let below = before(Location::new(at.group, 0)).map(|below| (first, below));
                [Some((at, self.span_end(at).min(last))), below].into_iter().flatten().collect()
            }
        };
        gap.retain(|(first, last)| first <= last);
        gap
    }

    /// Where to go on after a run that ends at this location.
    pub(super) fn next_span(&self, end: Location) -> Option<Location> {
        if self.order == GroupOrder::Ascending || end.group <= self.first.group {
            return None;
        }
        let group = end.group.checked_sub(1)?;
        Some(self.first.max(Location::new(group, 0)))
    }
}

/// The location after another, if there is one.
pub(super) fn after(location: Location) -> Option<Location> {
    match location.object.checked_add(1) {
        Some(object) => Some(Location::new(location.group, object)),
        None => location.group.checked_add(1).map(|group| Location::new(group, 0)),
    }
}

/// The location before another.
fn before(location: Location) -> Option<Location> {
    match location.object.checked_sub(1) {
        Some(object) => Some(Location::new(location.group, object)),
        None => location.group.checked_sub(1).map(|group| Location::new(group, u64::MAX)),
    }
}

fn said(location: Location, object: &Object) -> FetchObject {
    FetchObject {
        location,
        subgroup_id: match object.forwarding {
            Forwarding::Subgroup(id) => Some(id),
            Forwarding::Datagram => None,
        },
        publisher_priority: object.publisher_priority,
        payload_len: object.header.payload_len,
        status: object.header.status,
        properties: object.header.properties.clone(),
    }
}
