//! Fetching: FETCHes of ours, from the request to the end of their stream.

use alloc::boxed::Box;
use alloc::format;

use super::MoqtConnection;
use crate::error::CommandError;
use crate::event::{Answer, Event, FetchAnswer};
use crate::key::{RequestKey, StreamKey};
use crate::link::Violation;
use crate::model::{
    Fetch, FetchOk, FetchRange, FullTrackName, GroupOrder, JoiningStart, Location, LocationRange,
    Message, Parameters, RequestErrorCode, RequestKind,
};
use crate::request::{
    Body, FetchOrder, FetchStart, FetchStream, FetchSubscriber, JoinPoint, Phase,
};
use crate::stream::{FetchRecv, RecvKind};
use crate::time::Timestamp;
use crate::timers::Timer;
use crate::wire::{FetchReader, JoiningRule};

/// What to fetch (draft-18, "FETCH").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchTarget {
    /// A range of a track.
    Standalone {
        /// The track.
        track: FullTrackName,
        /// Which objects.
        range: LocationRange,
    },
    /// What came before a subscription of this side's, up to its first object.
    Joining {
        /// The subscription, which need not have been accepted yet if it is a SUBSCRIBE. In
        /// drafts 14 and 16 its filter must be Largest Object, in draft 18 its Forward State 1.
        subscription: RequestKey,
        /// Where to begin.
        start: JoiningStart,
    },
}

impl MoqtConnection {
    /// Asks for objects of the past (draft-18, "FETCH"). [`Event::Accepted`] or
    /// [`Event::Rejected`] tells how it went, [`Event::FetchOpened`] when there are objects to
    /// [`read_fetch`](Self::read_fetch), in either order. [`cancel`](Self::cancel) ends it.
    pub fn fetch(
        &mut self,
        now: Timestamp,
        target: &FetchTarget,
        parameters: &Parameters,
    ) -> Result<RequestKey, CommandError> {
        let (track, start, last, range) = match target {
            FetchTarget::Standalone { track, range } => {
                if range.is_backwards() {
                    return Err(CommandError::WrongState("the range ends before it begins"));
                }
                let LocationRange { start, end } = *range;
                let wire = FetchRange::Standalone { track: track.clone(), start, end };
                (track.clone(), FetchStart::At(start), Some(range.last()), wire)
            }
            FetchTarget::Joining { subscription, start } => {
                let (track, request_id) = self.joinable(*subscription)?;
                let wire = FetchRange::Joining { request_id, start: *start };
                let start = match *start {
                    JoiningStart::Relative(groups) => FetchStart::GroupsBefore(groups),
                    JoiningStart::Absolute(group) => FetchStart::At(Location::new(group, 0)),
                };
                (track, start, None, wire)
            }
        };
        let order = parameters
            .group_order
            .or((!self.dialect.fixed_fields).then_some(GroupOrder::Ascending));
        let message = |request_id| {
            Message::Fetch(Fetch { request_id, range, parameters: parameters.clone() })
        };
        let body = Body::FetchSubscriber(FetchSubscriber {
            track,
            start,
            order,
            last,
            stream: FetchStream::Awaited,
            stream_deadline: None,
        });
        self.begin_request(now, RequestKind::Fetch, message, body)
    }

    /// The track and Request ID of a subscription that the peer would let be joined.
    fn joinable(&self, key: RequestKey) -> Result<(FullTrackName, u64), CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let request = self.requests.get(key).ok_or(CommandError::Gone)?;
        let Body::Subscriber(subscriber) = &request.body else {
            return Err(CommandError::WrongState("not a subscription of this side's"));
        };
        if !request.ours && request.phase == Phase::Pending {
            return Err(CommandError::WrongState("the PUBLISH has not been accepted"));
        }
        let point = JoinPoint {
            filter: subscriber.first_filter,
            forward: subscriber.forward,
            location: None,
        };
        point.check_filter(self.dialect.joining).map_err(CommandError::WrongState)?;
        if self.dialect.joining == JoiningRule::ForwardState && !subscriber.forward {
            return Err(CommandError::WrongState("the subscription has Forward State 0"));
        }
        Ok((subscriber.track.clone(), request.id))
    }

    pub(super) fn on_fetch_ok(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        ok: FetchOk,
    ) -> Result<(), Violation> {
        let not_understood = self.not_understood(&ok.track_properties);
        let timeout = self.config.limits.fetch_stream_timeout;
        let Some(request) = self.requests.get_mut(key) else { return Ok(()) };
        request.phase = Phase::Established;
        let Body::FetchSubscriber(fetch) = &mut request.body else { return Ok(()) };
        let range = LocationRange::new(fetch.start.of_range_to(ok.end), ok.end);
        // An end equal to the start is the range of no objects.
        if range.is_backwards() && range.end < range.start {
            return Err(Violation::protocol(format!(
                "FETCH_OK for a range to before {}",
                range.start
            )));
        }
        fetch.last = Some(fetch.last.map_or(range.last(), |last| last.min(range.last())));
        fetch.order = fetch.order.or(ok.group_order);
        let group_order = fetch.order.unwrap_or_default();
        let stream = fetch.stream;
        if stream == FetchStream::Awaited
            && let Some(timeout) = timeout
        {
            let deadline = now.saturating_add(timeout);
            fetch.stream_deadline = Some(deadline);
            self.timers.set(deadline, Timer::FetchStream(key));
        }
        if let Some(mandatory) = not_understood {
            self.give_up_track(now, key, mandatory);
            return Ok(());
        }
        let FetchOk { end_of_track, parameters, track_properties, .. } = ok;
        let fetch = Some(FetchAnswer { range, end_of_track, group_order });
        let answer = Answer { parameters, track_properties, fetch };
        self.events.push_back(Event::Accepted { request: key, answer });
        match stream {
            FetchStream::Open(stream) => self.narrow_fetch(key, stream, range, group_order),
            FetchStream::Over => self.release(now, key),
            FetchStream::Awaited => {}
        }
        Ok(())
    }

    /// The answer says more of what a stream may hold that is already there.
    fn narrow_fetch(
        &mut self,
        key: RequestKey,
        stream: StreamKey,
        range: LocationRange,
        order: GroupOrder,
    ) {
        let Some(half) = self.streams.recv_mut(stream) else { return };
        let RecvKind::Fetch(fetch) = &mut half.kind else { return };
        if let Err(broken) = fetch.order.narrow(Some(order), range.start, range.last()) {
            self.track_is_malformed(key, broken);
        }
    }

    /// A stream says that it holds the objects of a fetch. One that nobody waits for, or a
    /// second one, is not read.
    pub(super) fn place_fetch(&mut self, stream: StreamKey, request_id: u64, header_len: usize) {
        let key = self.requests.by_id(request_id);
        let awaiting = key.and_then(|key| match &mut self.requests.get_mut(key)?.body {
            Body::FetchSubscriber(fetch) if fetch.stream == FetchStream::Awaited => {
                Some((key, fetch))
            }
            _ => None,
        });
        let Some((key, fetch)) = awaiting else { return self.discard(stream) };
        fetch.stream = FetchStream::Open(stream);
        if let Some(deadline) = fetch.stream_deadline.take() {
            self.timers.clear(deadline, Timer::FetchStream(key));
        }
        let start = match (fetch.start, fetch.last) {
            (FetchStart::At(start), _) => Some(start),
            (FetchStart::GroupsBefore(_), None) => None,
            (start, Some(last)) => Some(start.of_range_to(last)),
        };
        let order = FetchOrder::new(fetch.order, start, fetch.last);
        let max_properties = self.config.limits.object_properties;
        let reader =
            FetchReader::new(self.dialect, fetch.order.unwrap_or_default(), max_properties);
        let Some(half) = self.streams.recv_mut(stream) else { return };
        half.buffer.advance(header_len);
        half.kind =
            RecvKind::Fetch(Box::new(FetchRecv { request: key, reader, order, waiting: false }));
        self.streams.data_received += half.buffer.len();
        self.stats.fetches_received.responses += 1;
        self.events.push_back(Event::FetchOpened { request: key, stream });
    }

    /// The stream of a fetch has been read to its end, or given up. With its answer, that is
    /// all there is to a fetch.
    pub(super) fn fetch_read(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let is_answered = request.phase == Phase::Established;
        if let Body::FetchSubscriber(fetch) = &mut request.body {
            fetch.stream = FetchStream::Over;
            if is_answered {
                self.release(Timestamp::ZERO, key);
            }
        }
        self.wake_window_waiters();
    }

    /// Whether all of a fetch that was accepted has come, so that nothing depends on its
    /// request any more.
    pub(super) fn is_fetched(&self, key: RequestKey) -> bool {
        let Some(request) = self.requests.get(key) else { return false };
        match &request.body {
            Body::FetchSubscriber(fetch) if request.phase == Phase::Established => {
                let FetchStream::Open(stream) = fetch.stream else { return false };
                let recv = self.streams.get(stream).and_then(|stream| stream.recv.as_ref());
                recv.is_some_and(|half| half.fin || half.reset.is_some())
            }
            _ => false,
        }
    }

    pub(super) fn fetch_stream_expired(&mut self, key: RequestKey) {
        if let Some(Body::FetchSubscriber(fetch)) =
            self.requests.get_mut(key).map(|request| &mut request.body)
        {
            fetch.stream_deadline = None;
            self.fail_request(key, RequestErrorCode::Timeout, "the fetch's objects did not come");
        }
    }

    pub(super) fn release_fetch_subscriber(&mut self, key: RequestKey, fetch: &FetchSubscriber) {
        if let Some(deadline) = fetch.stream_deadline {
            self.timers.clear(deadline, Timer::FetchStream(key));
        }
        if let FetchStream::Open(stream) = fetch.stream {
            self.discard(stream);
        }
        self.wake_window_waiters();
    }
}
