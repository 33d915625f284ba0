use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use moqt_engine::model::{FullTrackName, Location, Parameters, PublishDoneCode, StreamResetCode};
use moqt_engine::{
    Answer, CommandError, MalformedRule, RequestError, RequestKey, StreamKey, SubscriptionStats,
};

use crate::driver::Access;
use crate::error::{Error, ReadError};
use crate::pending::withdraw;
use crate::router::StreamSlot;
use crate::session::{Goaway, Session, driver_gone};
use crate::subgroup_reader::{Object, ReaderState, SubgroupReader};
use crate::updates::{PendingUpdate, goaway, goaway_received};

/// How many objects are fetched under one lock, and how many bytes at most.
const BATCH: (usize, usize) = (64, 256 * 1024);

/// Default of [`Subscription::set_object_limit`].
const OBJECT_LIMIT: usize = 16 * 1024 * 1024;

/// A subscription in which this side is the subscriber. Dropping it unsubscribes, and ends the
/// subgroups that came with it.
///
/// There are two ways to read: subgroup by subgroup with [`next`](Self::next) or
/// [`next_subgroup`](Self::next_subgroup), or whole objects of all subgroups with
/// [`next_object`](Self::next_object). A subgroup goes to whichever is called first.
#[must_use = "the subscription ends when this is dropped"]
#[derive(Debug)]
pub struct Subscription {
    pub(crate) session: Session,
    pub(crate) request: RequestKey,
    track: FullTrackName,
    answer: Option<Answer>,
    end: Option<SubscriptionEnd>,
    object_limit: usize,
    /// Objects that were read and not given out.
    objects: VecDeque<Object>,
    /// Subgroups that are read together.
    merged: HashMap<StreamKey, ReaderState>,
    too_large: Option<Error>,
}

/// Something that came for a subscription.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// A subgroup begins.
    Subgroup(SubgroupReader),
    /// An object came in a datagram.
    Datagram(Object),
}

/// How the publisher ended a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriptionDone {
    /// Why.
    pub code: PublishDoneCode,
    /// Why, for people. It comes from the peer: escape it before showing it.
    pub reason: String,
    /// Streams that the publisher said it opened and that never came.
    pub missing_streams: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum SubscriptionEnd {
    Done(SubscriptionDone),
    Cancelled(StreamResetCode),
    Rejected(Box<RequestError>),
    Malformed(MalformedRule, Location),
    Closed(moqt_engine::CloseReason),
}

impl Subscription {
    pub(crate) fn new(
        session: Session,
        request: RequestKey,
        track: FullTrackName,
        answer: Option<Answer>,
    ) -> Self {
        Self {
            session,
            request,
            track,
            answer,
            end: None,
            object_limit: OBJECT_LIMIT,
            objects: VecDeque::new(),
            merged: HashMap::new(),
            too_large: None,
        }
    }

    /// The track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// What the publisher said when it accepted the SUBSCRIBE: largest location, expiry, track
    /// properties. `None` if it was the publisher who offered the track.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    /// Changes filter, priority, forward state, timeouts or tokens; what is absent stays as it
    /// is. Draft 14 lets the filter only be narrowed, and knows no answer.
    pub fn update(&self, parameters: Parameters) -> PendingUpdate {
        PendingUpdate::new(self.session.clone(), self.request, parameters)
    }

    /// Waits for the publisher to ask that this subscription be moved (draft 18): subscribe
    /// where it says, then drop this.
    pub async fn goaway_received(&self) -> Result<Goaway, Error> {
        goaway_received(&self.session, self.request).await
    }

    /// Asks the publisher to move this subscription, or to make it again in this session if the
    /// URI is empty (draft 18); a client's must be. When `timeout` has passed it is reset.
    pub fn goaway(&self, new_session_uri: Bytes, timeout: Duration) -> Result<(), CommandError> {
        goaway(&self.session, self.request, new_session_uri, timeout)
    }

    /// How the publisher ended the subscription, once that is known: after
    /// [`next`](Self::next) or its kin has given `None`.
    pub fn done(&self) -> Option<&SubscriptionDone> {
        match &self.end {
            Some(SubscriptionEnd::Done(done)) => Some(done),
            _ => None,
        }
    }

    /// The largest object, in bytes, that [`next_object`](Self::next_object) puts together:
    /// 16 MiB unless it is set. Each subgroup may have one in the making.
    pub fn set_object_limit(&mut self, bytes: usize) {
        self.object_limit = bytes;
    }

    /// What has been carried so far, and what of it waits. All zeros once it is over.
    pub fn stats(&self) -> SubscriptionStats {
        self.session
            .shared
            .run(|access| access.connection.subscription_stats(self.request))
            .flatten()
            .unwrap_or_default()
    }

    /// Datagrams that were dropped because they were not fetched.
    pub fn datagrams_dropped(&self) -> u64 {
        self.session
            .shared
            .run(|access| access.router.subscribers.get(&self.request).map(|slot| slot.dropped))
            .flatten()
            .unwrap_or_default()
    }

    /// Waits for the next subgroup or datagram. `None` when the publisher has ended the
    /// subscription and every subgroup has been read: [`done`](Self::done) says why.
    pub async fn next(&mut self) -> Result<Option<SubscriptionEvent>, Error> {
        poll_fn(|cx| {
            self.poll(cx, |this, access| {
                let slot = access.router.subscribers.get_mut(&this.request)?;
                if let Some(datagram) = slot.datagrams.pop_front() {
                    slot.datagram_bytes -= datagram.payload.len();
                    return Some(SubscriptionEvent::Datagram(datagram.into()));
                }
                let (stream, info) = slot.subgroups.pop_front()?;
                let slot = StreamSlot::Reader(crate::wakers::WakerSlot::default());
                access.router.streams.insert(stream, slot);
                let reader = SubgroupReader::new(this.session.clone(), stream, info);
                Some(SubscriptionEvent::Subgroup(reader))
            })
        })
        .await
    }

    /// Like [`next`](Self::next), for subgroups only; datagrams stay where they are.
    pub async fn next_subgroup(&mut self) -> Result<Option<SubgroupReader>, Error> {
        poll_fn(|cx| {
            self.poll(cx, |this, access| {
                let slot = access.router.subscribers.get_mut(&this.request)?;
                let (stream, info) = slot.subgroups.pop_front()?;
                let slot = StreamSlot::Reader(crate::wakers::WakerSlot::default());
                access.router.streams.insert(stream, slot);
                Some(SubgroupReader::new(this.session.clone(), stream, info))
            })
        })
        .await
    }

    /// Like [`next`](Self::next), for datagrams only; subgroups stay where they are.
    pub async fn next_datagram(&mut self) -> Result<Option<Object>, Error> {
        poll_fn(|cx| {
            self.poll(cx, |this, access| {
                let slot = access.router.subscribers.get_mut(&this.request)?;
                let datagram = slot.datagrams.pop_front()?;
                slot.datagram_bytes -= datagram.payload.len();
                Some(datagram.into())
            })
        })
        .await
    }

    /// Waits for the next whole object of any subgroup or datagram, in the order in which they
    /// are complete. `None` when the publisher has ended the subscription and everything has
    /// been read: [`done`](Self::done) says why.
    ///
    /// Subgroups that the publisher gives up end silently. An object over
    /// [the limit](Self::set_object_limit) gives [`Error::TooLarge`] once and is passed by.
    pub async fn next_object(&mut self) -> Result<Option<Object>, Error> {
        if let Some(object) = self.objects.pop_front() {
            return Ok(Some(object));
        }
        poll_fn(|cx| {
            if let Some(error) = self.too_large.take() {
                return Poll::Ready(Err(error));
            }
            let step = self.poll(cx, |this, access| {
                this.read_merged(access);
                match this.objects.pop_front() {
                    Some(object) => Some(Some(object)),
                    // Something to report before waiting on.
                    None if this.too_large.is_some() => Some(None),
                    None => None,
                }
            });
            match step {
                Poll::Ready(Ok(Some(Some(object)))) => Poll::Ready(Ok(Some(object))),
                Poll::Ready(Ok(Some(None))) => match self.too_large.take() {
                    Some(error) => Poll::Ready(Err(error)),
                    None => Poll::Pending,
                },
                Poll::Ready(Ok(None)) => Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Fetches objects from datagrams and from all subgroups that have some.
    fn read_merged(&mut self, access: &mut Access<'_>) {
        let Some(slot) = access.router.subscribers.get_mut(&self.request) else { return };
        let (mut count, mut bytes) = BATCH;
        while let Some(datagram) = slot.datagrams.pop_front() {
            slot.datagram_bytes -= datagram.payload.len();
            self.objects.push_back(datagram.into());
            count -= 1;
            if count == 0 {
                return;
            }
        }
        for (stream, info) in slot.subgroups.drain(..) {
            access.router.streams.insert(stream, StreamSlot::Merged(self.request));
            self.merged.insert(stream, ReaderState::new(info));
            slot.readable.push_back(stream);
        }
        while let Some(&stream) = slot.readable.front() {
            let Some(state) = self.merged.get_mut(&stream) else {
                slot.readable.pop_front();
                continue;
            };
            match state.poll_object(access.connection, stream, self.object_limit) {
                Poll::Ready(Ok(Some(object))) => {
                    bytes = bytes.saturating_sub(object.payload.len());
                    self.objects.push_back(object);
                    count -= 1;
                    if count == 0 || bytes == 0 {
                        return;
                    }
                }
                Poll::Ready(Err(ReadError::TooLarge { len, limit })) => {
                    self.too_large = Some(Error::TooLarge { len, limit });
                    return;
                }
                Poll::Ready(Ok(None) | Err(_)) => {
                    slot.readable.pop_front();
                    self.merged.remove(&stream);
                    access.router.streams.remove(&stream);
                }
                Poll::Pending => {
                    slot.readable.pop_front();
                }
            }
        }
    }

    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        take: impl FnOnce(&mut Self, &mut Access<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        if self.end.is_some() {
            return Poll::Ready(self.ended());
        }
        let shared = self.session.shared.clone();
        let taken = shared.run(|access| {
            if let Some(taken) = take(self, access) {
                return Some(taken);
            }
            if let Some(slot) = access.router.subscribers.get_mut(&self.request) {
                match (&slot.end, &access.router.closed) {
                    (Some(end), _) => self.end = Some(end.clone()),
                    (None, Some(reason)) => {
                        self.end = Some(SubscriptionEnd::Closed(reason.clone()));
                    }
                    (None, None) => slot.waker.register(cx),
                }
            } else {
                self.end = Some(SubscriptionEnd::Closed(driver_gone()));
            }
            None
        });
        match taken {
            Some(Some(taken)) => Poll::Ready(Ok(Some(taken))),
            Some(None) if self.end.is_some() => Poll::Ready(self.ended()),
            Some(None) => Poll::Pending,
            None => Poll::Ready(Err(Error::Closed(driver_gone()))),
        }
    }

    fn ended<T>(&self) -> Result<Option<T>, Error> {
        match &self.end {
            Some(SubscriptionEnd::Done(_)) | None => Ok(None),
            Some(SubscriptionEnd::Cancelled(code)) => Err(Error::Cancelled(*code)),
            Some(SubscriptionEnd::Rejected(error)) => Err(Error::Rejected(error.clone())),
            Some(SubscriptionEnd::Malformed(rule, location)) => {
                Err(Error::Malformed { rule: *rule, location: *location })
            }
            Some(SubscriptionEnd::Closed(reason)) => Err(Error::Closed(reason.clone())),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let merged = std::mem::take(&mut self.merged);
        if !merged.is_empty() {
            self.session.shared.run(|access| {
                for stream in merged.keys() {
                    access.router.streams.remove(stream);
                }
            });
        }
        withdraw(&self.session, self.request);
    }
}
