//! FETCHes of ours: what a peer wants and the store lacks, from a publisher who has it.
//!
//! What comes is handed on as it comes, and only as fast as the one who asked takes it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use moqt_engine::model::{
    EndOfRange, GroupOrder, Location, LocationRange, RequestErrorCode, StreamResetCode,
    TrackProperties,
};
use moqt_engine::wire::FetchObject;
use moqt_engine::{Answer, FetchRead, FetchTarget, Refusal, RequestKey, StreamKey};
use thunderdome::Index;

use super::gaps::Waits;
use super::ingest::Incoming;
use super::peer::{Ended, Purpose};
use super::requests::onward_refusal;
use super::response::{Asker, Say, Wrote};
use super::{Cx, Due, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, PeerKind, ShardId};
use crate::message::{Fetched, What};
use crate::routes::Origin;
use crate::store::Begun;
use crate::track::Node;

/// A FETCH of ours.
#[derive(Debug)]
pub(super) struct Fill {
    from: Filler,
    /// The first location asked for.
    first: Location,
    /// The last location asked for.
    last: Location,
    /// It was said what will come, and so how far there is anything.
    is_answered: bool,
    /// The object that is being received.
    object: Option<(Location, u64)>,
    /// The same, if it is for those who subscribe to the track.
    recovered: Option<FetchObject>,
    /// Read, but not written yet; of another shard, all that came.
    held: VecDeque<FetchRead>,
}

/// Who gives what is missing.
#[derive(Clone, Copy, Debug)]
enum Filler {
    Session {
        connection: ConnectionId,
        request: RequestKey,
        stream: Option<StreamKey>,
    },
    /// Another shard, which knows the fetch by this key once it has said something.
    Shard {
        shard: ShardId,
        by: Option<Index>,
    },
}

/// Somebody who has been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Session(ConnectionId),
    Shard(ShardId),
}

impl<A: Authorize> Shard<A> {
    /// Asks a publisher for what is missing in a range, one that has not been asked yet. Whether
    /// there is one.
    pub(super) fn begin_fill<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        first: Location,
        last: Location,
    ) -> bool {
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        if fetch.is_filled {
            return false;
        }
        let asked = fetch.asked.clone();
        let (order, via, patience) = (fetch.order, fetch.via.clone(), fetch.patience);
        let track = fetch.track();
        let Some(track) = self.tracks.get(track) else { return false };
        let track = track.name.clone();
        let range = LocationRange::to_last(first, last);
        for publisher in self.publishers_of(id) {
            if asked.contains(&publisher) {
                continue;
            }
            let filler = match publisher {
                Asked::Session(connection) => {
                    let target = FetchTarget::Standalone { track: track.clone(), range };
                    let mut parameters = self.onward(connection, &via);
                    parameters.group_order =
                        Some(order).filter(|order| *order != GroupOrder::Ascending);
                    let begun = cx
                        .connections
                        .with(connection, |moqt| moqt.fetch(cx.now, &target, &parameters));
                    let Some(Ok(request)) = begun else { continue };
                    self.set_purpose(connection, request, Purpose::Fill(id));
                    Filler::Session { connection, request, stream: None }
                }
                Asked::Shard(shard) => {
                    let (name, via) = (track.clone(), via.clone());
                    let what = What::Fetch { name, fetch: id, first, last, order, patience, via };
                    self.say(shard, what);
                    Filler::Shard { shard, by: None }
                }
            };
            self.fill_begun(cx, id, filler, first, last);
            return true;
        }
        if self.waits_for_publisher(cx, id) {
            return true;
        }
        if let Some(fetch) = self.fetches.get_mut(id) {
            fetch.is_filled = true;
        }
        false
    }

    fn fill_begun<C>(
        &mut self,
        cx: &Cx<'_, C>,
        id: Index,
        from: Filler,
        first: Location,
        last: Location,
    ) {
        self.stats.cache_misses += 1;
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        let until = cx.now.saturating_add(fetch.patience);
        fetch.waits = Waits::Not;
        fetch.at = Some(match fetch.order {
            GroupOrder::Ascending => first,
            GroupOrder::Descending => first.max(Location::new(last.group, 0)),
        });
        fetch.until = until;
        let fill = Fill {
            from,
            first,
            last,
            is_answered: false,
            object: None,
            recovered: None,
            held: VecDeque::new(),
        };
        fetch.asked.push(fill.asked());
        fetch.fill = Some(fill);
        self.schedule(until, Due::Fetch(id));
    }

    /// Who may have a track's past: those who send its present, those who publish its namespace,
    /// and the relays upstream, which may have it from here in part. Shards are not asked on
    /// behalf of others, which ask by themselves.
    fn publishers_of(&self, id: Index) -> Vec<Asked> {
        let Some(fetch) = self.fetches.get(id) else { return Vec::new() };
        let Some(track) = self.tracks.get(fetch.track()) else { return Vec::new() };
        let is_upstream = |id: &ConnectionId| {
            self.peers.get(id).is_some_and(|peer| peer.info.kind != PeerKind::Client)
        };
        let (mut found, mut upstream) = (Vec::new(), Vec::new());
        let established = track.sources.iter().filter(|source| source.is_established);
        for source in established {
            match source.node {
                Node::Session(connection, _) if is_upstream(&connection) => {
                    upstream.push(Asked::Session(connection));
                }
                Node::Session(connection, _) => found.push(Asked::Session(connection)),
                Node::Shard(shard, _) => found.push(Asked::Shard(shard)),
            }
        }
        for origin in self.routes.publishers(track.name.namespace()) {
            found.push(match origin {
                Origin::Session(connection, _) => Asked::Session(connection),
                Origin::Shard(shard) => Asked::Shard(shard),
            });
        }
        found
            .extend(self.offered.get(&track.name).into_iter().flatten().copied().map(Asked::Shard));
        let above = self.peers.keys().filter(|id| is_upstream(id));
        upstream.extend(above.copied().map(Asked::Session));
        upstream.extend(self.upstream_shards.iter().copied().map(Asked::Shard));
        let is_fit = |publisher: &Asked| match (publisher, fetch.from) {
            (Asked::Session(publisher), Asker::Session(asking, _)) => *publisher != asking,
            (Asked::Shard(_), Asker::Shard(..)) => false,
            _ => true,
        };
        let mut fit: Vec<Asked> = Vec::new();
        for publisher in found.into_iter().chain(upstream).filter(is_fit) {
            if !fit.contains(&publisher) {
                fit.push(publisher);
            }
        }
        fit
    }

    /// The publisher says what will come.
    pub(super) fn fill_accepted<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        answer: &Answer,
    ) {
        if let Some(answered) = answer.fetch {
            let (end, end_of_track) = (answered.range.end, answered.end_of_track);
            self.fill_will_come(cx, id, end, end_of_track, &answer.track_properties);
        }
    }

    fn fill_will_come<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        end: Location,
        end_of_track: bool,
        properties: &TrackProperties,
    ) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        let last = LocationRange::new(fetch.first, end).last();
        if let Some(fill) = &mut fetch.fill {
            fill.last = fill.last.min(last);
            fill.is_answered = true;
            if fetch.order == GroupOrder::Descending {
                fetch.at = Some(fill.first.max(Location::new(fill.last.group, 0)));
            }
        }
        if fetch.is_accepted {
            return self.serve(cx, id);
        }
        if let Some(track) = self.tracks.get_mut(fetch.track()) {
            if track.properties.is_empty() {
                track.properties = properties.clone();
            }
            if end_of_track {
                track.store.note_end_of_track(last);
            }
        }
        let at = fetch.at;
        self.accept_fetch(cx, id, end);
        if let Some(fetch) = self.fetches.get_mut(id) {
            fetch.at = at;
        }
        self.serve(cx, id);
    }

    /// The objects begin to come.
    pub(super) fn fill_opened<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        connection: ConnectionId,
        request: RequestKey,
        stream: StreamKey,
    ) {
        let Some(Purpose::Fill(id)) = self.purpose(connection, request) else {
            let code = StreamResetCode::Cancelled;
            cx.connections.with(connection, |moqt| moqt.stop(stream, code));
            return;
        };
        let fill = self.fetches.get_mut(id).and_then(|fetch| fetch.fill.as_mut());
        if let Some(fill) = fill.filter(|fill| fill.is_from(connection, request)) {
            fill.from = Filler::Session { connection, request, stream: Some(stream) };
        }
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.streams.insert(stream, Incoming::Fill(id));
        }
        self.serve(cx, id);
    }

    /// Reads on and hands on. Whether to go on with the fetch.
    pub(super) fn pump_fill<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) -> bool {
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        let track = fetch.track();
        let Some(fill) = fetch.fill.as_mut() else { return false };
        if !fill.is_answered && fetch.order == GroupOrder::Descending {
            // It is not known where the first object is to be looked for.
            return false;
        }
        let read = match (fill.held.pop_front(), fill.from) {
            (Some(held), _) => Some(held),
            (None, Filler::Session { connection, stream: Some(stream), .. }) => {
                cx.connections.with(connection, |moqt| moqt.read_fetch(stream, usize::MAX))
            }
            (None, _) => Some(FetchRead::Pending),
        };
        let progress = cx.now.saturating_add(fetch.patience);
        match read {
            Some(FetchRead::Pending) => false,
            Some(FetchRead::Object(object)) => {
                fetch.until = progress;
                self.filled_object(cx, id, object)
            }
            Some(FetchRead::Payload(payload)) => {
                fetch.until = progress;
                let kept = self.tracks.get_mut(track);
                if let (Some((location, offset)), Some(kept)) = (fill.object.as_mut(), kept) {
                    if kept.store.payload_at(*location, *offset, payload.clone()).is_err() {
                        self.malformed(cx, track, None);
                        return false;
                    }
                    *offset = offset.saturating_add(payload.len() as u64);
                    fetch.missing = fetch.missing.saturating_sub(payload.len() as u64);
                }
                let credit = match fill.from {
                    Filler::Shard { shard, by: Some(fetch) } => {
                        Some((shard, What::Credit { fetch, bytes: payload.len() }))
                    }
                    _ => None,
                };
                fetch.pending.push_back(payload);
                let recovered = fill.recovered.clone();
                if let Some((shard, credit)) = credit {
                    self.say(shard, credit);
                }
                if let Some(object) = recovered {
                    self.recovered_object(cx, track, &object, false);
                }
                self.account(cx, track);
                true
            }
            Some(FetchRead::EndOfRange { location, kind }) => {
                fetch.until = progress;
                self.filled_gap(cx, id, location, kind)
            }
            // Until it is answered, it is not known how much was to come.
            Some(FetchRead::Finished) if !fill.is_answered => {
                self.hold(id, FetchRead::Finished);
                false
            }
            Some(FetchRead::Finished) => {
                self.filled(cx, id);
                true
            }
            _ => {
                self.fill_ended(cx, id, None);
                false
            }
        }
    }

    /// Everything has come that was asked for and exists.
    fn filled<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        let Some(fill) = &fetch.fill else { return };
        let (first, last) = (fill.first, fill.last);
        if let Some(track) = self.tracks.get_mut(fetch.track()) {
            for (first, last) in fetch.gap_at_end(first, last) {
                track.store.note_known(first, last);
            }
        }
        match fetch.order {
            GroupOrder::Ascending => fetch.at = fetch.after(last),
            GroupOrder::Descending => {
                fetch.at = fetch.next_span(first);
                fetch.asked.clear();
            }
        }
        self.end_fill(cx, id);
    }

    fn filled_object<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        object: FetchObject,
    ) -> bool {
        match self.respond(cx, id, Say::Object(object.clone())) {
            Wrote::On => {}
            Wrote::Blocked => {
                self.hold(id, FetchRead::Object(object));
                return false;
            }
            Wrote::Over => {
                self.fetch_over(cx, id, StreamResetCode::InternalError);
                return false;
            }
        }
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        let location = object.location;
        let Some(track) = self.tracks.get_mut(fetch.track()) else { return false };
        for (first, last) in fetch.gap_before(location) {
            track.store.note_known(first, last);
        }
        let begun = track.store.begin_fetched(cx.now, &object);
        match begun {
            Begun::New => self.stats.objects_in += 1,
            Begun::Known { .. } | Begun::Absent => {}
            Begun::Contradiction(_) => {
                let track = fetch.track();
                self.malformed(cx, track, None);
                return false;
            }
        }
        fetch.missing = object.payload_len;
        fetch.at = fetch.after(location);
        let (track, is_recovery) = (fetch.track(), fetch.from == Asker::Recovery);
        if let Some(fill) = &mut fetch.fill {
            fill.object = Some((location, 0));
            fill.recovered = is_recovery.then(|| object.clone());
        }
        if is_recovery {
            let was_held = matches!(begun, Begun::Known { is_complete: true } | Begun::Absent);
            self.recovered_object(cx, track, &object, was_held);
        }
        true
    }

    fn filled_gap<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        location: Location,
        kind: EndOfRange,
    ) -> bool {
        if kind == EndOfRange::Unknown {
            let fill = self.fetches.get(id).and_then(|fetch| fetch.fill.as_ref());
            if fill.is_some_and(|fill| !fill.is_answered) {
                // The answer comes in another stream, and others may be asked after it.
                self.hold(id, FetchRead::EndOfRange { location, kind });
                return false;
            }
            if self.put_aside(cx, id, location) {
                return true;
            }
        }
        match self.respond(cx, id, Say::EndOfRange(location, kind)) {
            Wrote::On => {}
            Wrote::Blocked => {
                self.hold(id, FetchRead::EndOfRange { location, kind });
                return false;
            }
            Wrote::Over => {
                self.fetch_over(cx, id, StreamResetCode::UnknownObjectStatus);
                return false;
            }
        }
        let Some(fetch) = self.fetches.get_mut(id) else { return false };
        if let (Some(at), Some(track)) = (fetch.at, self.tracks.get_mut(fetch.track()))
            && kind == EndOfRange::NonExistent
            && fetch.order == GroupOrder::Ascending
        {
            track.store.note_known(at, location);
        }
        fetch.at = fetch.after(location);
        true
    }

    /// Something was read for which there is no room yet.
    fn hold(&mut self, id: Index, read: FetchRead) {
        if let Some(fill) = self.fetches.get_mut(id).and_then(|fetch| fetch.fill.as_mut()) {
            fill.held.push_front(read);
        }
    }

    /// Something comes from another shard.
    pub(super) fn fetched<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        shard: ShardId,
        (id, by): (Index, Index),
        item: Fetched,
    ) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        let fill = fetch.fill.as_mut().filter(|fill| fill.is_from_shard(shard));
        let is_current = fill.is_some();
        if let Some(fill) = fill {
            fill.from = Filler::Shard { shard, by: Some(by) };
        }
        let read = match item {
            Fetched::Accepted { end, end_of_track, properties } if is_current => {
                return self.fill_will_come(cx, id, end, end_of_track, &properties);
            }
            Fetched::Refused(refusal) if is_current => {
                return self.fill_ended_with(cx, id, Ended::Refused(refusal));
            }
            Fetched::Accepted { .. } | Fetched::Refused(_) => return,
            Fetched::Object(object) => FetchRead::Object(object),
            Fetched::Payload(payload) => FetchRead::Payload(payload),
            Fetched::EndOfRange { location, kind } => FetchRead::EndOfRange { location, kind },
            Fetched::Finished => FetchRead::Finished,
            Fetched::Reset(code) => FetchRead::Reset(code),
        };
        let track = fetch.track();
        match fetch.fill.as_mut().filter(|_| is_current) {
            Some(fill) => fill.held.push_back(read),
            None => fetch.add_aside(shard, read),
        }
        self.serve(cx, id);
        self.serve_waiting(cx, track);
    }

    /// The publisher has refused, or gone.
    pub(super) fn fill_failed<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        (connection, request): (ConnectionId, RequestKey),
        how: Ended,
    ) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        if !fetch.forget_aside(connection, request) {
            self.fill_ended_with(cx, id, how);
        }
    }

    fn fill_ended_with<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index, how: Ended) {
        let refusal = match how {
            Ended::Malformed => {
                return self.fetch_over(cx, id, StreamResetCode::MalformedTrack);
            }
            Ended::Refused(refusal) => Some(refusal),
            Ended::Rejected(error) => Some(onward_refusal(error)),
            _ => None,
        };
        let is_accepted = self.fetches.get(id).is_some_and(|fetch| fetch.is_accepted);
        let has_none = |refusal: &Refusal| refusal.code == RequestErrorCode::NoObjects;
        if is_accepted && refusal.as_ref().is_some_and(has_none) {
            // Some drafts say so of an empty range.
            self.filled(cx, id);
            return self.serve(cx, id);
        }
        self.fill_ended(cx, id, refusal);
    }

    /// Nothing more comes from the publisher: the rest is what there is.
    pub(super) fn fill_ended<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        refusal: Option<Refusal>,
    ) {
        let is_open = self.fetches.get(id).and_then(|fetch| fetch.fill.as_ref()).is_some();
        if !is_open {
            return;
        }
        self.end_fill(cx, id);
        if self.fetches.get(id).is_some_and(|fetch| fetch.from == Asker::Recovery) {
            return self.forget_fetch(cx, id);
        }
        let Some(fetch) = self.fetches.get(id) else { return };
        if fetch.missing > 0 {
            // An object that was begun cannot be completed.
            return self.fetch_over(cx, id, StreamResetCode::UnknownObjectStatus);
        }
        if !fetch.is_accepted {
            let (first, last) = (fetch.first, fetch.last);
            if self.begin_fill(cx, id, first, last) {
                return;
            }
            let refusal = refusal.unwrap_or_else(|| {
                let reason = "no publisher answered in time".into();
                Refusal { reason, ..Refusal::new(RequestErrorCode::Timeout) }
            });
            return self.refuse_fetch(cx, id, refusal);
        }
        self.serve(cx, id);
    }

    /// Lets go of the publisher.
    pub(super) fn end_fill<C: Connections>(&mut self, cx: &mut Cx<'_, C>, id: Index) {
        let Some(fetch) = self.fetches.get_mut(id) else { return };
        let Some(fill) = fetch.fill.take() else { return };
        if let (Some((location, _)), Some(track)) =
            (fill.object.filter(|_| fetch.missing > 0), self.tracks.get_mut(fetch.track()))
        {
            track.store.abandon_at(location);
        }
        match fill.from {
            Filler::Session { connection, request, stream } => {
                let Some(peer) = self.peers.get_mut(&connection) else { return };
                if let Some(stream) = stream {
                    peer.streams.remove(&stream);
                }
                if peer.requests.remove(&request).is_some() {
                    let code = StreamResetCode::Cancelled;
                    // It means nothing if all of it has come.
                    cx.connections.with(connection, |moqt| moqt.cancel(cx.now, request, code));
                }
            }
            Filler::Shard { shard, by: Some(fetch) } => {
                self.say(shard, What::CancelFetch { fetch });
            }
            Filler::Shard { by: None, .. } => {}
        }
    }
}

impl Fill {
    /// It was said what will come.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Who gives it.
    pub(super) fn asked(&self) -> Asked {
        match self.from {
            Filler::Session { connection, .. } => Asked::Session(connection),
            Filler::Shard { shard, .. } => Asked::Shard(shard),
        }
    }

    pub(super) fn is_from(&self, connection: ConnectionId, request: RequestKey) -> bool {
        matches!(self.from, Filler::Session { connection: id, request: key, .. }
            if (id, key) == (connection, request))
    }

    pub(super) fn is_from_shard(&self, shard: ShardId) -> bool {
        matches!(self.from, Filler::Shard { shard: from, .. } if from == shard)
    }

    /// Something has come that is not read yet.
    pub(super) fn hold_last(&mut self, read: FetchRead) {
        self.held.push_back(read);
    }
}
