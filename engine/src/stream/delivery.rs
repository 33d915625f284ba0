//! How long what is queued may take to be delivered (draft-18, "Delivery Timeouts and Data
//! Reliability").
//!
//! Commands that queue objects are not told the time. What they queue is fresh until the time
//! is told next, and as old as that: a timeout may pass late by as long as that takes, never
//! early.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::{DataPosition, QueuedDatagram, SendClass, SendHalf, SenderKey, Streams};
use crate::key::{RequestKey, StreamKey};
use crate::model::{Parameters, TrackProperties};
use crate::time::Timestamp;

/// A timeout has passed when more than this is over, not when just this is.
const MORE: Duration = Duration::from_micros(1);

/// The delivery timeouts of a subscription.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeliveryTimeouts {
    subscriber: Stated,
    publisher: Stated,
    /// There is one for objects and one for subgroups. Where there is only one, it is for
    /// objects, and is over when they have arrived and not when they have been sent.
    pub(crate) split: bool,
}

/// What one side states, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Stated {
    object: Option<u64>,
    subgroup: Option<u64>,
}

impl DeliveryTimeouts {
    /// What a subscriber states when it begins or accepts a subscription.
    pub(crate) fn set_subscriber(&mut self, parameters: &Parameters) {
        self.subscriber = Stated::default();
        self.update_subscriber(parameters);
    }

    /// What is absent from an update is as it was.
    pub(crate) fn update_subscriber(&mut self, parameters: &Parameters) {
        let Parameters { object_delivery_timeout, subgroup_delivery_timeout, .. } = *parameters;
        self.subscriber.object = object_delivery_timeout.or(self.subscriber.object);
        self.subscriber.subgroup = subgroup_delivery_timeout.or(self.subscriber.subgroup);
    }

    pub(crate) fn set_publisher(&mut self, properties: &TrackProperties) {
        self.publisher = Stated {
            object: properties.object_delivery_timeout(),
            subgroup: properties.subgroup_delivery_timeout(),
        };
    }

    pub(crate) fn object(&self) -> Option<Duration> {
        smaller(self.subscriber.object, self.publisher.object)
    }

    pub(crate) fn subgroup(&self) -> Option<Duration> {
        let stated = smaller(self.subscriber.subgroup, self.publisher.subgroup);
        stated.filter(|_| self.split)
    }

    /// For how long something may still be on its way.
    pub(crate) fn longest(&self) -> Duration {
        [self.object(), self.subgroup()].into_iter().flatten().max().unwrap_or_default()
    }

    /// For a datagram both are the same.
    pub(crate) fn datagram(&self) -> Option<Duration> {
        [self.object(), self.subgroup()].into_iter().flatten().min()
    }
}

/// The smaller of two timeouts, of which 0 is none.
fn smaller(one: Option<u64>, other: Option<u64>) -> Option<Duration> {
    let stated = [one, other].into_iter().flatten().filter(|timeout| *timeout > 0);
    stated.min().map(Duration::from_millis)
}

/// When a timeout of something that began then has passed.
fn passed(begun: Timestamp, timeout: Option<Duration>) -> Option<Timestamp> {
    Some(begun.saturating_add(timeout?.saturating_add(MORE)))
}

/// What waits of a subscription that has a delivery timeout.
#[derive(Debug, Default)]
pub(crate) struct Aging {
    pub(crate) timeouts: DeliveryTimeouts,
    /// Streams, by when their oldest object was begun that had not been sent whole.
    objects: BTreeSet<(Timestamp, StreamKey)>,
    /// Subgroups that were finished and have not been sent whole, by when that was.
    subgroups: BTreeSet<(Timestamp, StreamKey)>,
    fresh_streams: Vec<StreamKey>,
    fresh_datagrams: Vec<(DataPosition, QueuedDatagram)>,
    is_fresh: bool,
    /// Its entry among the deadlines.
    alarm: Option<Timestamp>,
}

impl Aging {
    /// When the first timeout will have passed.
    fn next(&self) -> Option<Timestamp> {
        let first = |set: &BTreeSet<(Timestamp, StreamKey)>| set.first().map(|(begun, _)| *begun);
        let object = first(&self.objects).and_then(|at| passed(at, self.timeouts.object()));
        let subgroup = first(&self.subgroups).and_then(|at| passed(at, self.timeouts.subgroup()));
        [object, subgroup].into_iter().flatten().min()
    }

    /// Whether a datagram that was given then is to be dropped.
    pub(crate) fn is_expired(&self, datagram: &QueuedDatagram, now: Timestamp) -> bool {
        let begun = datagram.begun.unwrap_or(now);
        passed(begun, self.timeouts.datagram()).is_some_and(|passed| passed <= now)
    }
}

/// The age of what is queued on a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamClock {
    /// Objects that have not been sent whole, those of one moment as one.
    objects: VecDeque<Begun>,
    /// Bytes sent since there is this clock.
    sent: u64,
    /// When the last object was begun.
    last: Option<Timestamp>,
    /// The application has finished the subgroup.
    is_finished: bool,
    is_fresh: bool,
    /// Its entry in [`Aging::objects`].
    listed: Option<Timestamp>,
    /// Its entry in [`Aging::subgroups`].
    finished: Option<Timestamp>,
}

#[derive(Debug)]
struct Begun {
    /// How many bytes will have been sent once the object has.
    end: u64,
    /// When it was begun; `None` while it is fresh.
    at: Option<Timestamp>,
}

impl StreamClock {
    #[cold]
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        while self.objects.front().is_some_and(|object| object.end <= self.sent) {
            self.objects.pop_front();
        }
    }
}

/// When the delivery timeouts of a connection pass.
#[derive(Debug)]
pub(crate) struct Deadlines {
    senders: BTreeSet<(Timestamp, SenderKey)>,
    /// Senders with something fresh.
    fresh: Vec<SenderKey>,
    /// Streams that have been sent to their end, until they are known to have arrived.
    watched: BTreeMap<StreamKey, (Timestamp, RequestKey)>,
    watched_by_time: BTreeSet<(Timestamp, StreamKey)>,
    /// How many of those there may be.
    watch_limit: usize,
    /// The earliest of all that, at once if something is fresh, or the end of time.
    next: Timestamp,
}

const NEVER: Timestamp = Timestamp::from_micros(u64::MAX);

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            senders: BTreeSet::new(),
            fresh: Vec::new(),
            watched: BTreeMap::new(),
            watched_by_time: BTreeSet::new(),
            watch_limit: 0,
            next: NEVER,
        }
    }
}

impl Deadlines {
    /// Nothing that has a deadline. At most `watch_limit` streams will be watched.
    pub(super) fn new(watch_limit: usize) -> Self {
        Self { watch_limit, ..Self::default() }
    }

    /// Whether [`Streams::next_expired`] has something to do.
    #[inline]
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next <= now
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        Some(self.next).filter(|next| *next != NEVER)
    }

    pub(crate) fn watched(&self) -> usize {
        self.watched.len()
    }

    fn update(&mut self) {
        let sender = self.senders.first().map(|(at, _)| *at);
        let watched = self.watched_by_time.first().map(|(at, _)| *at);
        let fresh = (!self.fresh.is_empty()).then_some(Timestamp::ZERO);
        self.next = [sender, watched, fresh].into_iter().flatten().min().unwrap_or(NEVER);
    }

    /// A stream has arrived, or is to be reset. Whether it was watched.
    pub(crate) fn forget_watched(&mut self, stream: StreamKey) -> Option<RequestKey> {
        let (at, request) = self.watched.remove(&stream)?;
        self.watched_by_time.remove(&(at, stream));
        self.update();
        Some(request)
    }
}

/// What has taken too long.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expired {
    /// An object on this stream, or its subgroup.
    Stream(StreamKey, SenderKey),
    /// A stream that was sent to its end and has not arrived.
    Watched(StreamKey, RequestKey),
}

impl Streams {
    /// Changes the timeouts of a subscription, for what waits, too.
    pub(crate) fn change_timeouts(
        &mut self,
        key: SenderKey,
        change: impl FnOnce(&mut DeliveryTimeouts),
    ) {
        let Some(sender) = self.schedule.sender_mut(key) else { return };
        let mut timeouts =
            sender.aging.as_ref().map_or_else(DeliveryTimeouts::default, |aging| aging.timeouts);
        change(&mut timeouts);
        if sender.aging.is_some() || timeouts.datagram().is_some() {
            sender.aging.get_or_insert_default().timeouts = timeouts;
            self.arm(key);
            self.deadlines.update();
        }
    }

    /// An object was queued on a stream whose subscription has timeouts, all but `payload_left`
    /// bytes of it. If it was begun before, `begun` says when.
    #[cold]
    pub(crate) fn object_begun(
        &mut self,
        key: StreamKey,
        payload_left: u64,
        begun: Option<Timestamp>,
    ) {
        let Some(half) = self.send_mut(key) else { return };
        let queued = half.queue.len() as u64;
        let Some(subgroup) = &mut half.subgroup else { return };
        let clock = subgroup.clock.get_or_insert_default();
        let end = clock.sent.saturating_add(queued).saturating_add(payload_left);
        match clock.objects.back_mut() {
            Some(last) if last.at == begun => last.end = end,
            _ => clock.objects.push_back(Begun { end, at: begun }),
        }
        self.freshen(key);
    }

    /// A subgroup was finished.
    pub(crate) fn subgroup_finished(&mut self, key: StreamKey) {
        let Some(half) = self.send_mut(key) else { return };
        let SendClass::Data(sender, _) = half.class else { return };
        let has_timeout = |aging: &Aging| aging.timeouts.subgroup().is_some();
        let aging = self.schedule.sender(sender).and_then(|sender| sender.aging.as_deref());
        if !aging.is_some_and(has_timeout) {
            return;
        }
        let Some(subgroup) = self.send_mut(key).and_then(|half| half.subgroup.as_mut()) else {
            return;
        };
        subgroup.clock.get_or_insert_default().is_finished = true;
        self.freshen(key);
    }

    /// The age of something on a stream is to be told when the time is.
    fn freshen(&mut self, key: StreamKey) {
        let Some(half) = self.send_mut(key) else { return };
        let SendClass::Data(sender, _) = half.class else { return };
        let clock = half.subgroup.as_mut().and_then(|subgroup| subgroup.clock.as_deref_mut());
        if clock.is_none_or(|clock| core::mem::replace(&mut clock.is_fresh, true)) {
            return;
        }
        if let Some(aging) = self.schedule.aging_mut(sender) {
            aging.fresh_streams.push(key);
        }
        self.freshen_sender(sender);
    }

    /// Queues a datagram of a subscription that has timeouts. It takes its place when the time
    /// is told.
    #[cold]
    pub(crate) fn fresh_datagram(
        &mut self,
        key: SenderKey,
        position: DataPosition,
        datagram: QueuedDatagram,
    ) {
        let Some(sender) = self.schedule.sender_mut(key) else { return };
        sender.queued += datagram.charge();
        if let Some(aging) = sender.aging.as_deref_mut() {
            aging.fresh_datagrams.push((position, datagram));
        }
        self.freshen_sender(key);
    }

    fn freshen_sender(&mut self, key: SenderKey) {
        let Some(aging) = self.schedule.aging_mut(key) else { return };
        if !core::mem::replace(&mut aging.is_fresh, true) {
            self.deadlines.fresh.push(key);
        }
        self.deadlines.next = Timestamp::ZERO;
    }

    /// What is fresh is as old as `now`.
    fn age(&mut self, now: Timestamp) {
        for key in core::mem::take(&mut self.deadlines.fresh) {
            let Some(aging) = self.schedule.aging_mut(key) else { continue };
            aging.is_fresh = false;
            for stream in core::mem::take(&mut aging.fresh_streams) {
                self.age_stream(key, stream, now);
            }
            let Some(aging) = self.schedule.aging_mut(key) else { continue };
            for (position, datagram) in core::mem::take(&mut aging.fresh_datagrams) {
                let begun = datagram.begun.or(Some(now));
                let datagram = QueuedDatagram { begun, ..datagram };
                self.schedule.push_counted_datagram(key, position, datagram);
            }
            self.arm(key);
        }
    }

    fn age_stream(&mut self, key: SenderKey, stream: StreamKey, now: Timestamp) {
        let Some(half) = self.send_mut(stream) else { return };
        let Some(clock) = half.subgroup.as_mut().and_then(|subgroup| subgroup.clock.as_mut())
        else {
            return;
        };
        clock.is_fresh = false;
        for object in clock.objects.iter_mut().rev().take_while(|object| object.at.is_none()) {
            object.at = Some(now);
        }
        clock.last = clock.objects.back().and_then(|object| object.at).or(clock.last);
        let oldest = clock.objects.front().and_then(|object| object.at);
        let newly_listed = if clock.listed.is_none() { oldest } else { None };
        clock.listed = clock.listed.or(oldest);
        let newly_finished = clock.is_finished && clock.finished.is_none();
        if newly_finished {
            clock.finished = Some(now);
        }
        let Some(aging) = self.schedule.aging_mut(key) else { return };
        if let Some(begun) = newly_listed {
            aging.objects.insert((begun, stream));
        }
        if newly_finished {
            aging.subgroups.insert((now, stream));
        }
    }

    /// Sees to it that the first timeout of a sender is among the deadlines.
    fn arm(&mut self, key: SenderKey) {
        let Some(aging) = self.schedule.aging_mut(key) else { return };
        let next = aging.next();
        let before = core::mem::replace(&mut aging.alarm, next);
        if before != next {
            if let Some(before) = before {
                self.deadlines.senders.remove(&(before, key));
            }
            if let Some(next) = next {
                self.deadlines.senders.insert((next, key));
            }
        }
    }

    /// Something that has taken too long by `now`. It goes on being told until it is reset.
    pub(crate) fn next_expired(&mut self, now: Timestamp) -> Option<Expired> {
        self.age(now);
        let expired = loop {
            let due = self.deadlines.senders.first().copied().filter(|(at, _)| *at <= now);
            let Some((at, key)) = due else { break None };
            let Some(aging) = self.schedule.aging_mut(key) else {
                self.deadlines.senders.remove(&(at, key));
                continue;
            };
            let is_over = |begun: Timestamp, timeout| {
                passed(begun, timeout).is_some_and(|passed| passed <= now)
            };
            let timeouts = aging.timeouts;
            if let Some(&(begun, stream)) = aging.objects.first()
                && is_over(begun, timeouts.object())
            {
                // The entry may be that of an object that has been sent since.
                let oldest = self.relist(key, stream, begun);
                if oldest.is_some_and(|oldest| is_over(oldest, timeouts.object())) {
                    break Some(Expired::Stream(stream, key));
                }
                continue;
            }
            if let Some(&(begun, stream)) = aging.subgroups.first()
                && is_over(begun, timeouts.subgroup())
            {
                break Some(Expired::Stream(stream, key));
            }
            self.arm(key);
        };
        let expired = expired.or_else(|| {
            let (at, stream) = *self.deadlines.watched_by_time.first()?;
            let (_, request) = *self.deadlines.watched.get(&stream)?;
            (at <= now).then_some(Expired::Watched(stream, request))
        });
        self.deadlines.update();
        expired
    }

    /// Replaces a stream's entry by that of its oldest object now, and says when that was begun.
    fn relist(
        &mut self,
        key: SenderKey,
        stream: StreamKey,
        before: Timestamp,
    ) -> Option<Timestamp> {
        let clock = self
            .send_mut(stream)
            .and_then(|half| half.subgroup.as_mut())
            .and_then(|subgroup| subgroup.clock.as_mut());
        let oldest = clock.and_then(|clock| {
            let front = clock.objects.front();
            clock.listed = front.and_then(|object| object.at);
            clock.listed
        });
        let aging = self.schedule.aging_mut(key)?;
        if oldest != Some(before) {
            aging.objects.remove(&(before, stream));
            if let Some(oldest) = oldest {
                aging.objects.insert((oldest, stream));
            }
            self.arm(key);
        }
        oldest
    }

    /// The sending side of a stream is over: it cannot expire any more.
    pub(super) fn clock_stopped(&mut self, stream: StreamKey, half: &SendHalf) {
        let SendClass::Data(key, _) = half.class else { return };
        let Some(clock) = half.subgroup.as_ref().and_then(|subgroup| subgroup.clock.as_deref())
        else {
            return;
        };
        let Some(aging) = self.schedule.aging_mut(key) else { return };
        if let Some(begun) = clock.listed {
            aging.objects.remove(&(begun, stream));
        }
        if let Some(begun) = clock.finished {
            aging.subgroups.remove(&(begun, stream));
        }
        self.arm(key);
        self.deadlines.update();
    }

    /// The stream has been sent to its end. If that must arrive in time, it is watched from
    /// now on, unless too many others are.
    pub(super) fn watch(&mut self, stream: StreamKey, half: &SendHalf) {
        let SendClass::Data(key, _) = half.class else { return };
        let Some(clock) = half.subgroup.as_ref().and_then(|subgroup| subgroup.clock.as_deref())
        else {
            return;
        };
        let Some(sender) = self.schedule.sender(key) else { return };
        let (Some(aging), Some(request)) = (&sender.aging, sender.request) else { return };
        let at = if aging.timeouts.split {
            clock.finished.and_then(|begun| passed(begun, aging.timeouts.subgroup()))
        } else {
            clock.last.and_then(|begun| passed(begun, aging.timeouts.object()))
        };
        if let Some(at) = at
            && self.deadlines.watched.len() < self.deadlines.watch_limit
        {
            self.deadlines.watched.insert(stream, (at, request));
            self.deadlines.watched_by_time.insert((at, stream));
            self.deadlines.update();
        }
    }

    /// Forgets a sender and its datagrams. Its streams must have been closed.
    pub(crate) fn remove_sender(&mut self, key: SenderKey) {
        let Some(sender) = self.schedule.remove_sender(key) else { return };
        self.data_queued = self.data_queued.saturating_sub(sender.queued);
    }
}
