use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::history::{History, Past};
use crate::MoqtConnection;
use crate::event::{Event, Read, SubgroupInfo};
use crate::key::{RequestKey, StreamKey};
use crate::model::{Location, ObjectStatus, PublishDoneCode, StreamResetCode, property_type};
use crate::time::Timestamp;
use crate::wire::{ObjectDatagram, Properties};

/// How many objects from datagrams wait to be read; the oldest are dropped and counted as late.
const MAX_DATAGRAMS: usize = 1024;

/// How long the first group waits for a subgroup that it may not have: streams opened together
/// arrive together.
const FIRST_GROUP_PATIENCE: Duration = Duration::from_millis(100);

/// How much payload [`SubscribedTrack::read`] gives at a time.
const PIECE_LEN: usize = 64 * 1024;

/// A track on its way in, put back into order: group by group, and in a group by object,
/// whatever subgroups the objects came in.
///
/// Only the subgroup that has the next object is read; the others wait in the transport, so
/// that memory does not grow with what is out of order. An object that is late for its place,
/// because its gap was given up, is dropped and counted. What the publisher says does not exist
/// (Prior Group ID Gap, Prior Object ID Gap, the end of a group or track) is neither waited for
/// nor told as missing. Objects in datagrams come as they come; who wants all objects so reads
/// the connection's subgroups itself, without this.
///
/// What it holds is bounded: a few words for each open subgroup, of which there are at most
/// [`Limits::open_subgroups`](crate::Limits::open_subgroups), and for their groups; and 1,024
/// datagrams, the oldest of which are dropped and counted as late. What the connection has of
/// subgroups is bounded by [`Limits`](crate::Limits).
#[derive(Debug)]
pub struct SubscribedTrack {
    request: RequestKey,
    /// The next object in order.
    expected: Location,
    /// Whether `expected` is where the track is known to begin for this subscription.
    anchored: bool,
    groups: BTreeMap<u64, Group>,
    /// The group of each stream.
    lanes: BTreeMap<StreamKey, u64>,
    /// The object whose payload is being read: its stream, and what is left.
    current: Option<(StreamKey, u64)>,
    datagrams: VecDeque<ObjectDatagram>,
    gap_timeout: Duration,
    /// How many subgroups the group before had; 0 before there was one.
    width: usize,
    /// When the gap before the next object at hand is given up.
    gap_deadline: Option<Timestamp>,
    /// When the rest of the current object is given up, which something else waits behind.
    stall_deadline: Option<Timestamp>,
    ended: Option<(PublishDoneCode, String)>,
    losses: Losses,
    /// What came before the subscription, while it is being read.
    history: Option<History>,
}

/// What a track did not give, though it may have existed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// Gaps given up.
    pub gaps: u64,
    /// Objects missing in those that end where they began, in one group; `u64::MAX` stands for any more.
    /// Of others nobody knows.
    pub missing_objects: u64,
    /// Objects cut off.
    pub aborted_objects: u64,
    /// Objects dropped because they came after their gap had been given up. A subgroup of a
    /// group that has been left counts as one.
    pub late_objects: u64,
}

/// What is known of a group.
#[derive(Debug, Default)]
struct Group {
    lanes: Vec<Lane>,
    /// How many subgroups of it have begun, those that are over included.
    seen: usize,
    /// One more than the last object, once that is known.
    end: Option<u64>,
    /// A subgroup was cut off: what is missing may never come.
    damaged: bool,
}

impl Group {
    /// The first object at hand in any of its subgroups.
    fn first_head(&self) -> Option<(u64, StreamKey)> {
        let heads = self.lanes.iter().filter_map(|lane| match lane.head {
            Head::Object { id, .. } => Some((id, lane.stream)),
            _ => None,
        });
        heads.min()
    }
}

#[derive(Debug)]
struct Lane {
    stream: StreamKey,
    end_of_group: bool,
    last: Option<u64>,
    head: Head,
    /// Bytes of payload to drop before the head.
    skip: u64,
}

/// What is next in a subgroup.
#[derive(Debug)]
enum Head {
    /// Nobody has looked.
    Unread,
    /// Nothing for now.
    Pending,
    /// This object.
    Object { id: u64, payload_len: u64, status: ObjectStatus, properties: Properties },
}

/// What is to be thought of the rest of a group.
enum Rest {
    /// It may still come.
    Awaited,
    /// There is none.
    None,
    /// There may be more, and it will not come, or has been waited for long enough.
    Lost,
}

/// What [`SubscribedTrack::read`] gave.
#[must_use = "what was read is not given again"]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackRead {
    /// An object begins; `payload_len` bytes of payload follow.
    Object {
        /// Where it is in the track.
        location: Location,
        /// Bytes of payload that follow.
        payload_len: u64,
        /// Its properties.
        properties: Properties,
    },
    /// Payload of the object that began last.
    Payload(Bytes),
    /// The object that began last was cut off: its payload will not be complete.
    Aborted {
        /// Why.
        code: StreamResetCode,
    },
    /// An object that came in a datagram, out of order.
    Datagram(ObjectDatagram),
    /// Objects from `from` to before `to` did not come, and the track goes on without them.
    Gap {
        /// The first object missing.
        from: Location,
        /// The object that follows the gap, or the start of the next group.
        to: Location,
    },
    /// Nothing for now. Go on after the next event, or at
    /// [`poll_timeout`](SubscribedTrack::poll_timeout).
    Pending,
    /// The subscription is over and everything has been read.
    Done {
        /// Why the publisher ended it.
        code: PublishDoneCode,
        /// Its words.
        reason: String,
    },
}

impl SubscribedTrack {
    /// A track of which nothing has come. Give it all events: it
    /// [takes in](Self::handle_event) those that concern it. A gap is given up after
    /// `gap_timeout`, or sooner if it is known that nothing can fill it; so is an object whose
    /// payload does not come on, if there is something else to go on with.
    pub fn new(request: RequestKey, gap_timeout: Duration) -> Self {
        Self {
            request,
            expected: Location::ZERO,
            anchored: false,
            groups: BTreeMap::new(),
            lanes: BTreeMap::new(),
            current: None,
            datagrams: VecDeque::new(),
            gap_timeout,
            width: 0,
            gap_deadline: None,
            stall_deadline: None,
            ended: None,
            history: None,
            losses: Losses::default(),
        }
    }

    /// A track that is joined: `fetch` is a FETCH that joins the subscription `request`, and
    /// what it gives comes before what the subscription gives, without a gap or anything twice.
    /// Objects of the subscription wait in the transport meanwhile.
    ///
    /// `largest` is what the publisher said when it accepted the subscription: the last object
    /// of the fetch.
    pub fn joining(
        request: RequestKey,
        largest: Location,
        fetch: RequestKey,
        gap_timeout: Duration,
    ) -> Self {
        let mut track = Self::new(request, gap_timeout);
        track.begin_after(largest);
        track.history = Some(History::new(fetch, largest));
        track
    }

    /// The first object that the subscription can give. Without this the track begins with
    /// the first group that comes.
    pub fn begin_at(&mut self, start: Location) {
        self.expected = start;
        self.anchored = true;
    }

    /// The last object published before the subscription began. Its group may be complete with
    /// it: the track then goes on with the next one, once that has come and the time for a gap
    /// has passed.
    pub fn begin_after(&mut self, largest: Location) {
        self.begin_at(Location::new(largest.group, largest.object.saturating_add(1)));
        self.groups.entry(largest.group).or_default();
    }

    /// Objects dropped because they came after their gap had been given up.
    pub fn late_objects(&self) -> u64 {
        self.losses.late_objects
    }

    /// What has been lost so far.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// How many of its subgroups are not over.
    pub fn open_subgroups(&self) -> usize {
        self.lanes.len()
    }

    /// Whether a stream is a subgroup of its that is not over.
    pub fn is_open(&self, stream: StreamKey) -> bool {
        let is_past = self.history.as_ref().is_some_and(|history| history.reads(stream));
        is_past || self.lanes.contains_key(&stream)
    }

    /// Whether what came before the subscription is still being read.
    pub fn is_in_past(&self) -> bool {
        self.history.is_some()
    }

    /// Takes in an event of this subscription; `false` if it is none.
    pub fn handle_event(&mut self, event: &Event) -> bool {
        if self.history.as_mut().is_some_and(|history| history.handle_event(event)) {
            return true;
        }
        match event {
            Event::SubgroupOpened { request, stream, subgroup } if *request == self.request => {
                self.open(*stream, subgroup);
            }
            Event::Readable { stream } => {
                let Some(lane) = self.lane(*stream) else { return false };
                if matches!(lane.head, Head::Pending) {
                    lane.head = Head::Unread;
                }
            }
            Event::Datagram { request, object } if *request == self.request => {
                if self.datagrams.len() >= MAX_DATAGRAMS {
                    self.datagrams.pop_front();
                    self.losses.late_objects += 1;
                }
                self.datagrams.push_back(object.clone());
            }
            Event::SubscriptionDone { request, code, reason, .. } if *request == self.request => {
                self.ended = Some((*code, reason.clone()));
            }
            Event::TrackMalformed { request, rule, location } if *request == self.request => {
                let reason = format!("{rule} (object {location})");
                self.ended = Some((PublishDoneCode::MalformedTrack, reason));
            }
            _ => return false,
        }
        true
    }

    /// When to read again though nothing has happened.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        [self.gap_deadline, self.stall_deadline].into_iter().flatten().min()
    }

    /// Reads on. Call it until it says [`Pending`](TrackRead::Pending) or
    /// [`Done`](TrackRead::Done), draining the connection's actions and events in between.
    pub fn read(&mut self, connection: &mut MoqtConnection, now: Timestamp) -> TrackRead {
        if let Some((stream, left)) = self.current {
            return self.read_payload(connection, stream, left, now);
        }
        if let Some(history) = &mut self.history {
            match history.read(connection) {
                Past::Read(read) => return read,
                Past::Over => self.history = None,
            }
        }
        if let Some(datagram) = self.datagrams.pop_front() {
            return TrackRead::Datagram(datagram);
        }
        loop {
            self.drop_late(connection);
            let Some((&group_id, _)) = self.groups.range(self.expected.group..).next() else {
                self.gap_deadline = None;
                return match &self.ended {
                    Some((code, reason)) => TrackRead::Done { code: *code, reason: reason.clone() },
                    None => TrackRead::Pending,
                };
            };
            if !self.anchored {
                self.begin_at(Location::new(group_id, 0));
            }
            self.look_at_heads(connection, group_id);
            let Some(group) = self.groups.get(&group_id) else { continue };
            let Some((id, stream)) = group.first_head() else {
                match self.what_of_rest(group_id, now) {
                    Rest::Awaited => return TrackRead::Pending,
                    Rest::None => self.leave(group_id),
                    Rest::Lost => {
                        let from = self.expected;
                        self.leave(group_id);
                        self.losses.gaps += 1;
                        return TrackRead::Gap { from, to: self.expected };
                    }
                }
                continue;
            };
            let location = Location::new(group_id, id);
            if location > self.expected {
                // What is stated not to exist is not missing.
                let to = self.known_from(location, stream);
                if to <= self.expected {
                    self.expected = location;
                    continue;
                }
                if !self.may_skip_to(location, now) {
                    return TrackRead::Pending;
                }
                let from = core::mem::replace(&mut self.expected, to);
                self.gap_deadline = None;
                self.losses.gaps += 1;
                if from.group == to.group {
                    let missing = to.object.saturating_sub(from.object);
                    self.losses.missing_objects =
                        self.losses.missing_objects.saturating_add(missing);
                }
                return TrackRead::Gap { from, to };
            }
            if location < self.expected {
                self.skip_late(stream);
                continue;
            }
            self.gap_deadline = None;
            let Some(lane) = self.lane(stream) else { continue };
            lane.last = Some(id);
            let head = core::mem::replace(&mut lane.head, Head::Unread);
            let Head::Object { payload_len, status, properties, .. } = head else { continue };
            match status {
                ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack => {
                    if let Some(group) = self.groups.get_mut(&group_id) {
                        group.end = Some(id);
                    }
                }
                ObjectStatus::DoesNotExist => self.expected.object = id.saturating_add(1),
                ObjectStatus::Normal => {
                    self.expected.object = id.saturating_add(1);
                    self.current = (payload_len > 0).then_some((stream, payload_len));
                    return TrackRead::Object { location, payload_len, properties };
                }
            }
        }
    }

    /// Gets rid of what came too late for its place.
    fn drop_late(&mut self, connection: &mut MoqtConnection) {
        let behind: Vec<u64> =
            self.groups.range(..self.expected.group).map(|(id, _)| *id).collect();
        for group_id in behind {
            self.look_at_heads(connection, group_id);
            while let Some((_, stream)) = self.groups.get(&group_id).and_then(Group::first_head) {
                self.drop_lane(connection, stream);
            }
            if self.groups.get(&group_id).is_some_and(|group| group.lanes.is_empty()) {
                self.groups.remove(&group_id);
            }
        }
    }

    /// Where all between that and the object at hand on `stream` is known not to exist.
    fn known_from(&mut self, location: Location, stream: StreamKey) -> Location {
        let expected = self.expected;
        let Some(Head::Object { properties, .. }) = self.lane(stream).map(|lane| &lane.head) else {
            return location;
        };
        let gap = |key| properties.int(key).unwrap_or_default();
        if expected.group < location.group {
            let groups = gap(property_type::PRIOR_GROUP_ID_GAP);
            let objects = gap(property_type::PRIOR_OBJECT_ID_GAP);
            if location.object > objects {
                return Location::new(location.group, location.object.saturating_sub(objects));
            }
            return Location::new(location.group.saturating_sub(groups), 0);
        }
        let objects = gap(property_type::PRIOR_OBJECT_ID_GAP);
        Location::new(location.group, location.object.saturating_sub(objects))
    }

    /// An object is late; the rest of its subgroup may not be.
    fn skip_late(&mut self, stream: StreamKey) {
        let Some(lane) = self.lane(stream) else { return };
        if let Head::Object { id, payload_len, status, .. } =
            core::mem::replace(&mut lane.head, Head::Unread)
        {
            lane.last = Some(id);
            lane.skip = payload_len;
            self.losses.late_objects += u64::from(status == ObjectStatus::Normal);
        }
    }

    /// An object is late: its whole group has been left.
    fn drop_lane(&mut self, connection: &mut MoqtConnection, stream: StreamKey) {
        self.losses.late_objects += 1;
        connection.stop(stream, StreamResetCode::Cancelled);
        self.close_lane(stream, false);
    }

    fn open(&mut self, stream: StreamKey, subgroup: &SubgroupInfo) {
        let group = self.groups.entry(subgroup.group_id).or_default();
        group.seen += 1;
        group.lanes.push(Lane {
            stream,
            end_of_group: subgroup.end_of_group,
            last: None,
            head: Head::Unread,
            skip: 0,
        });
        self.lanes.insert(stream, subgroup.group_id);
    }

    fn lane(&mut self, stream: StreamKey) -> Option<&mut Lane> {
        let group = self.groups.get_mut(self.lanes.get(&stream)?)?;
        group.lanes.iter_mut().find(|lane| lane.stream == stream)
    }

    fn read_payload(
        &mut self,
        connection: &mut MoqtConnection,
        stream: StreamKey,
        left: u64,
        now: Timestamp,
    ) -> TrackRead {
        let read = connection.read(stream, PIECE_LEN);
        if read == Read::Pending && self.is_waited_for(stream) {
            let deadline = now.saturating_add(self.gap_timeout);
            if now < *self.stall_deadline.get_or_insert(deadline) {
                return TrackRead::Pending;
            }
            connection.stop(stream, StreamResetCode::DeliveryTimeout);
            return self.abort(stream, StreamResetCode::DeliveryTimeout);
        }
        self.stall_deadline = None;
        match read {
            Read::Payload(piece) => {
                let left = left.saturating_sub(piece.len() as u64);
                self.current = (left > 0).then_some((stream, left));
                TrackRead::Payload(piece)
            }
            Read::Pending => TrackRead::Pending,
            Read::Reset(code) => self.abort(stream, code),
            Read::Object(_) | Read::Finished | Read::Gone => {
                self.abort(stream, StreamResetCode::SessionClosed)
            }
        }
    }

    /// The rest of the current object will not come.
    fn abort(&mut self, stream: StreamKey, code: StreamResetCode) -> TrackRead {
        self.current = None;
        self.stall_deadline = None;
        self.losses.aborted_objects += 1;
        self.close_lane(stream, false);
        TrackRead::Aborted { code }
    }

    /// Whether there is another subgroup to go on with.
    fn is_waited_for(&self, stream: StreamKey) -> bool {
        let mut ahead = self.groups.range(self.expected.group..);
        ahead.any(|(_, group)| group.lanes.iter().any(|lane| lane.stream != stream))
    }

    /// Finds out what is next in each subgroup of a group.
    fn look_at_heads(&mut self, connection: &mut MoqtConnection, group_id: u64) {
        let lanes = self.groups.get(&group_id).into_iter().flat_map(|group| &group.lanes);
        let unread = lanes.filter(|lane| matches!(lane.head, Head::Unread));
        let unread: Vec<StreamKey> = unread.map(|lane| lane.stream).collect();
        for stream in unread {
            let read = self.read_head(connection, stream);
            let head = match read {
                Read::Object(object) => Head::Object {
                    id: object.object_id,
                    payload_len: object.payload_len,
                    status: object.status,
                    properties: object.properties,
                },
                Read::Pending => Head::Pending,
                Read::Finished => {
                    self.close_lane(stream, true);
                    continue;
                }
                Read::Reset(_) | Read::Gone | Read::Payload(_) => {
                    self.close_lane(stream, false);
                    continue;
                }
            };
            if let Some(lane) = self.lane(stream) {
                lane.head = head;
            }
        }
    }

    /// Reads on in a subgroup, past what is to be dropped.
    fn read_head(&mut self, connection: &mut MoqtConnection, stream: StreamKey) -> Read {
        loop {
            let read = connection.read(stream, PIECE_LEN);
            match (&read, self.lane(stream)) {
                (Read::Payload(piece), Some(lane)) if lane.skip > 0 => {
                    lane.skip = lane.skip.saturating_sub(piece.len() as u64);
                }
                _ => return read,
            }
        }
    }

    /// A subgroup is over.
    fn close_lane(&mut self, stream: StreamKey, finished: bool) {
        let Some(group) = self.lanes.remove(&stream).and_then(|group| self.groups.get_mut(&group))
        else {
            return;
        };
        let Some(at) = group.lanes.iter().position(|lane| lane.stream == stream) else { return };
        let lane = group.lanes.swap_remove(at);
        group.damaged |= !finished;
        // Nothing is said of a group by a stream that had no objects for this subscription.
        if let Some(last) = lane.last.filter(|_| finished && lane.end_of_group) {
            group.end = Some(last.saturating_add(1));
        }
    }

    /// What is to be thought of the rest of a group of which nothing is at hand.
    fn what_of_rest(&mut self, group_id: u64, now: Timestamp) -> Rest {
        let Some(group) = self.groups.get(&group_id) else { return Rest::None };
        let reached = |end| group_id == self.expected.group && self.expected.object >= end;
        if group.end.is_some_and(reached) {
            return Rest::None;
        }
        let is_over = group.lanes.is_empty();
        let mut after = self.groups.range(group_id.saturating_add(1)..).map(|(_, group)| group);
        let Some(next) = after.next() else {
            return if is_over && self.ended.is_some() { Rest::None } else { Rest::Awaited };
        };
        let is_missing = group.damaged || group.end.is_some() || !is_over;
        // Groups mostly have as many subgroups as the one before: there may be more to come.
        // How many the first should have is not known before the next is over, as far as can be
        // seen: before there is a third.
        let is_first = self.width == 0;
        let width = if is_first { next.seen } else { self.width };
        let is_known = !is_first || group.damaged || after.next().is_some();
        let may_come = !is_over || group.seen < width || group.end.is_some();
        let patience = match (may_come, is_known) {
            (true, _) => self.gap_timeout,
            (false, false) => FIRST_GROUP_PATIENCE.min(self.gap_timeout),
            (false, true) => Duration::ZERO,
        };
        if patience > Duration::ZERO && self.ended.is_none() && !self.is_over(now, patience) {
            return Rest::Awaited;
        }
        if is_missing { Rest::Lost } else { Rest::None }
    }

    /// Goes on to the next group. Subgroups of this one that have not said that they are over
    /// are kept until they do.
    fn leave(&mut self, group_id: u64) {
        self.width = self.groups.get(&group_id).map_or(0, |group| group.seen);
        self.gap_deadline = None;
        self.expected = Location::new(group_id.saturating_add(1), 0);
    }

    /// Whether to give up on what should come before `location`, which is at hand.
    fn may_skip_to(&mut self, location: Location, now: Timestamp) -> bool {
        let hopeless = self.ended.is_some()
            || self.groups.get(&location.group).is_some_and(|group| {
                group.damaged
                    && location.group == self.expected.group
                    && group.lanes.iter().all(|lane| matches!(lane.head, Head::Object { .. }))
            });
        hopeless || self.is_gap_over(now)
    }

    /// Whether what is missing has been waited for long enough, from when this was asked first.
    fn is_gap_over(&mut self, now: Timestamp) -> bool {
        self.is_over(now, self.gap_timeout)
    }

    fn is_over(&mut self, now: Timestamp, patience: Duration) -> bool {
        now >= *self.gap_deadline.get_or_insert(now.saturating_add(patience))
    }
}
