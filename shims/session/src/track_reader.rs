use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use moqt_engine::model::{
    JoiningStart, Location, LocationRange, Parameters, RequestErrorCode, StreamResetCode,
};
use moqt_engine::track::{SubscribedTrack, TrackRead};
use moqt_engine::{CommandError, Event, FetchTarget, RequestKey, StreamKey};

use crate::driver::Access;
use crate::error::Error;
use crate::fetch_reader::FetchSlot;
use crate::pending::withdraw;
use crate::router::StreamSlot;
use crate::session::{Session, driver_gone};
use crate::subscription::{Subscription, SubscriptionEnd};

/// How much is read under one lock: pieces, and bytes.
const BATCH: (usize, usize) = (256, 512 * 1024);

/// A subscription whose objects come in order, whatever subgroups carried them, in pieces as
/// they arrive. Dropping it unsubscribes.
#[must_use = "the subscription ends when this is dropped"]
#[derive(Debug)]
pub struct TrackReader {
    subscription: Subscription,
    /// The FETCH of what came before it, until that is over.
    fetch: Option<RequestKey>,
    track: SubscribedTrack,
    /// What was read and not given out.
    read: VecDeque<TrackRead>,
    /// Streams that the router knows as this track's.
    streams: Vec<StreamKey>,
    end: Option<SubscriptionEnd>,
}

impl Subscription {
    /// Joins the track: what came before the subscription is fetched from `start` on, and read
    /// before what it gives, in order and as one. What is published meanwhile waits in the
    /// transport. `parameters` are the fetch's: give it a higher priority than the subscription,
    /// lest it starve on a slow link.
    ///
    /// The subscription must have the filter Largest Object, or on draft 18 be in Forward State
    /// 1; call this before reading anything. If nothing had been published when it began, there
    /// is nothing to fetch. If the publisher has ended it meanwhile, the same objects are fetched
    /// without joining it. If the fetch fails, its part is a
    /// [`Gap`](moqt_engine::track::TrackRead::Gap).
    pub async fn into_joined(
        self,
        start: JoiningStart,
        gap_timeout: Duration,
        parameters: Parameters,
    ) -> Result<TrackReader, Error> {
        let largest = self.answer().and_then(|answer| answer.parameters.largest_object);
        let Some(largest) = largest else { return Ok(self.into_ordered(gap_timeout, None)) };
        let joining = FetchTarget::Joining { subscription: self.request, start };
        let fetch = match self.fetch_past(&joining, &parameters).await {
            Ok(fetch) => fetch,
            Err(error) if is_over(&error) => {
                let group = match start {
                    JoiningStart::Relative(groups) => largest.group.saturating_sub(groups),
                    JoiningStart::Absolute(group) => group,
                };
                let range = LocationRange::to_last(Location::new(group, 0), largest);
                let standalone = FetchTarget::Standalone { track: self.track().clone(), range };
                self.fetch_past(&standalone, &parameters).await?
            }
            Err(error) => return Err(error),
        };
        let track = SubscribedTrack::joining(self.request, largest, fetch, gap_timeout);
        let mut reader = TrackReader::new(self, track);
        reader.fetch = Some(fetch);
        Ok(reader)
    }

    /// Sends a FETCH and waits for its answer. Only an error that says that there is nothing to
    /// join is one: any other answer is the reader's to handle.
    async fn fetch_past(
        &self,
        target: &FetchTarget,
        parameters: &Parameters,
    ) -> Result<RequestKey, Error> {
        let request = poll_fn(|cx| {
            self.session.poll_command(cx, |access| {
                let request = access.connection.fetch(access.now, target, parameters)?;
                access.router.fetches.insert(request, FetchSlot::default());
                Ok(request)
            })
        })
        .await?;
        let mut guard = Withdraw { session: &self.session, request: Some(request) };
        poll_fn(|cx| {
            let answered = self.session.shared.run(|access| {
                let router = &mut *access.router;
                let Some(slot) = router.fetches.get_mut(&request) else {
                    return Poll::Ready(Err(Error::Closed(driver_gone())));
                };
                match (&slot.answer, &router.closed) {
                    (Some(Err(error)), _) => {
                        let error = Error::Rejected(Box::new(error.clone()));
                        Poll::Ready(if is_over(&error) { Err(error) } else { Ok(()) })
                    }
                    (Some(Ok(_)), _) => Poll::Ready(Ok(())),
                    (None, _) if slot.end.is_some() => Poll::Ready(Ok(())),
                    (None, Some(reason)) => Poll::Ready(Err(Error::Closed(reason.clone()))),
                    (None, None) => {
                        slot.waker.register(cx);
                        Poll::Pending
                    }
                }
            });
            answered.unwrap_or_else(|| Poll::Ready(Err(Error::Closed(driver_gone()))))
        })
        .await?;
        guard.request = None;
        Ok(request)
    }

    /// Reads the track in order. A gap is given up after `gap_timeout`, or sooner if it is
    /// known that nothing can fill it.
    ///
    /// Without a filter, or with one for the largest object, the track is expected to go on
    /// where the publisher said it was; call this before reading anything else.
    pub fn into_ordered(self, gap_timeout: Duration, start: Option<Location>) -> TrackReader {
        let mut track = SubscribedTrack::new(self.request, gap_timeout);
        if let Some(start) = start {
            track.begin_at(start);
        }
        TrackReader::new(self, track)
    }
}

/// Whether there is no subscription to join any more, here or at the publisher.
fn is_over(error: &Error) -> bool {
    match error {
        Error::Command(CommandError::Gone) => true,
        Error::Rejected(error) => error.code == RequestErrorCode::InvalidJoiningRequestId,
        _ => false,
    }
}

/// Withdraws a request that nobody has taken over.
struct Withdraw<'a> {
    session: &'a Session,
    request: Option<RequestKey>,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request {
            withdraw(self.session, request);
        }
    }
}

impl TrackReader {
    fn new(subscription: Subscription, track: SubscribedTrack) -> Self {
        Self {
            subscription,
            fetch: None,
            track,
            read: VecDeque::new(),
            streams: Vec::new(),
            end: None,
        }
    }

    /// The subscription.
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Objects dropped because they came after their gap had been given up.
    pub fn late_objects(&self) -> u64 {
        self.track.late_objects()
    }

    /// Waits for what comes next: never [`TrackRead::Pending`], and
    /// [`TrackRead::Done`] when the publisher has ended the track and all has been read.
    pub async fn next(&mut self) -> Result<TrackRead, Error> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Result<TrackRead, Error>> {
        if let Some(read) = self.read.pop_front() {
            return Poll::Ready(Ok(read));
        }
        let shared = self.subscription.session.shared.clone();
        let polled = shared.run(|access| {
            self.take_events(access);
            self.read_batch(access);
            self.forget_streams(access);
            if !self.read.is_empty() || self.end.is_some() {
                return;
            }
            access.router.wait_until(self.subscription.request, self.track.poll_timeout());
            if let Some(slot) = access.router.subscribers.get_mut(&self.subscription.request) {
                slot.waker.register(cx);
            }
            if let Some(slot) = self.fetch.and_then(|fetch| access.router.fetches.get_mut(&fetch)) {
                slot.waker.register(cx);
            }
        });
        match (polled, self.read.pop_front(), &self.end) {
            (None, ..) => Poll::Ready(Err(Error::Closed(driver_gone()))),
            (_, Some(read), _) => Poll::Ready(Ok(read)),
            (_, None, Some(end)) => Poll::Ready(Err(end.clone().into())),
            (_, None, None) => Poll::Pending,
        }
    }

    /// Hands the track what has come of its past.
    fn take_fetch_events(&mut self, access: &mut Access<'_>) {
        let Some(request) = self.fetch else { return };
        let router = &mut *access.router;
        let Some(slot) = router.fetches.get_mut(&request) else { return };
        if let Some(stream) = slot.stream.take() {
            router.streams.insert(stream, StreamSlot::Merged(self.subscription.request));
            self.streams.push(stream);
            self.track.handle_event(&Event::FetchOpened { request, stream });
        }
        let code = StreamResetCode::Cancelled;
        let failed = Event::Cancelled { request, code, error: None };
        match slot.answer.take() {
            Some(Ok(answer)) => {
                self.track.handle_event(&Event::Accepted { request, answer });
            }
            Some(Err(_)) => {
                self.track.handle_event(&failed);
            }
            None => {}
        }
        if slot.end.is_some() {
            self.track.handle_event(&failed);
        }
        if !self.track.is_in_past() {
            router.fetches.remove(&request);
            self.fetch = None;
        }
    }

    /// Hands the track what has come for it.
    fn take_events(&mut self, access: &mut Access<'_>) {
        self.take_fetch_events(access);
        let request = self.subscription.request;
        let router = &mut *access.router;
        let Some(slot) = router.subscribers.get_mut(&request) else { return };
        for (stream, subgroup) in slot.subgroups.drain(..) {
            router.streams.insert(stream, StreamSlot::Merged(request));
            self.streams.push(stream);
            self.track.handle_event(&Event::SubgroupOpened { request, stream, subgroup });
        }
        for stream in slot.readable.drain(..) {
            self.track.handle_event(&Event::Readable { stream });
        }
        for object in slot.datagrams.drain(..) {
            self.track.handle_event(&Event::Datagram { request, object });
        }
        slot.datagram_bytes = 0;
        match (&slot.end, &router.closed) {
            (Some(SubscriptionEnd::Done(done)), _) => {
                self.track.handle_event(&Event::SubscriptionDone {
                    request,
                    code: done.code,
                    reason: done.reason.clone(),
                    missing_streams: done.missing_streams,
                });
            }
            (Some(end), _) => self.end = Some(end.clone()),
            (None, Some(reason)) => self.end = Some(SubscriptionEnd::Closed(reason.clone())),
            (None, None) => {}
        }
    }

    fn read_batch(&mut self, access: &mut Access<'_>) {
        let (mut pieces, mut bytes) = BATCH;
        while pieces > 0 && bytes > 0 {
            let read = self.track.read(access.connection, access.now);
            match &read {
                TrackRead::Pending => return,
                TrackRead::Payload(payload) => bytes = bytes.saturating_sub(payload.len()),
                _ => {}
            }
            let is_done = matches!(read, TrackRead::Done { .. });
            self.read.push_back(read);
            if is_done {
                return;
            }
            pieces -= 1;
        }
    }

    /// Tells the router of streams that are over, now and then.
    fn forget_streams(&mut self, access: &mut Access<'_>) {
        if self.streams.len() <= 2 * self.track.open_subgroups() + 16 {
            return;
        }
        let track = &self.track;
        self.streams.retain(|stream| {
            let is_open = track.is_open(*stream);
            if !is_open {
                access.router.streams.remove(stream);
            }
            is_open
        });
    }
}

impl Drop for TrackReader {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch {
            withdraw(&self.subscription.session, fetch);
        }
        let streams = std::mem::take(&mut self.streams);
        self.subscription.session.shared.run(|access| {
            access.router.wait_until(self.subscription.request, None);
            for stream in streams {
                access.router.streams.remove(&stream);
            }
        });
    }
}

impl From<SubscriptionEnd> for Error {
    fn from(end: SubscriptionEnd) -> Self {
        match end {
            SubscriptionEnd::Done(_) => Self::Cancelled(StreamResetCode::SessionClosed),
            SubscriptionEnd::Cancelled(code) => Self::Cancelled(code),
            SubscriptionEnd::Rejected(error) => Self::Rejected(error),
            SubscriptionEnd::Malformed(rule, location) => Self::Malformed { rule, location },
            SubscriptionEnd::Closed(reason) => Self::Closed(reason),
        }
    }
}
