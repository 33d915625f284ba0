use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::{FullTrackName, Location, Parameters, PublishDoneCode, StreamResetCode};
use moqt_engine::{
    Answer, CloseReason, DatagramOptions, DatagramOutcome, RequestError, RequestKey,
    SlowSubscriber, SubgroupOptions, SubscriptionStats,
};

use crate::driver::Access;
use crate::error::{Error, WriteError};
use crate::router::{PublisherSlot, StreamSlot};
use crate::session::{Session, driver_gone};
use crate::subgroup_writer::SubgroupWriter;

/// A subscription in which this side is the publisher: a SUBSCRIBE of the peer's that was
/// accepted, or a PUBLISH of ours.
///
/// End it with [`done`](Self::done). Dropped without that, it ends with PUBLISH_DONE and
/// INTERNAL_ERROR, since nobody said that the track was complete.
#[must_use = "the publication ends with an error when this is dropped"]
#[derive(Debug)]
pub struct Publication {
    pub(crate) session: Session,
    pub(crate) request: RequestKey,
    track: FullTrackName,
    is_done: bool,
}

/// Why a publication ended without [`Publication::done`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicationEnd {
    /// The subscriber does not want it any more.
    Cancelled(StreamResetCode),
    /// The time had passed that this side gave in EXPIRES.
    Expired,
    /// The peer refused the track.
    Rejected(Box<RequestError>),
    /// The session is over.
    Closed(CloseReason),
}

impl Publication {
    pub(crate) fn new(session: Session, request: RequestKey, track: FullTrackName) -> Self {
        Self { session, request, track, is_done: false }
    }

    /// The track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// Waits for the peer's answer to the PUBLISH. Ready at once for an accepted SUBSCRIBE.
    pub async fn accepted(&self) -> Result<Answer, Error> {
        Ok(self.take(|slot| slot.answer.clone()).await?)
    }

    /// Opens a stream for a subgroup, waiting while the peer allows none. `None` if the
    /// subscriber wants nothing of the group, or nothing at all for now.
    pub async fn open_subgroup(
        &self,
        options: SubgroupOptions,
    ) -> Result<Option<SubgroupWriter>, WriteError> {
        let open = |access: &mut Access<'_>, cx: &Context<'_>| {
            let Some(mut publisher) = access.connection.publisher(self.request) else {
                return Poll::Ready(Err(WriteError::Gone));
            };
            let opened = publisher.open_subgroup(options);
            if let Ok(Some(stream)) = opened {
                access.router.streams.insert(stream, StreamSlot::Writer(None));
            }
            access.written(cx, self.request, opened)
        };
        let stream = self.session.shared.wait(open, || Err(WriteError::Gone)).await?;
        Ok(stream.map(|stream| SubgroupWriter::new(self.session.clone(), self.request, stream)))
    }

    /// Sends an object in a datagram, or says why not. Datagrams that are too large or come too
    /// fast are dropped, never waited for.
    pub fn datagram(
        &self,
        options: DatagramOptions,
        payload: Bytes,
    ) -> Result<DatagramOutcome, WriteError> {
        let sent = self.session.shared.run(|access| {
            access.wrote = true;
            let mut publisher =
                access.connection.publisher(self.request).ok_or(WriteError::Gone)?;
            Ok(publisher.datagram(options, payload)?)
        });
        sent.unwrap_or(Err(WriteError::Gone))
    }

    /// Whether the subscriber would get an object at this location.
    pub fn wants(&self, location: Location) -> bool {
        self.session
            .shared
            .run(|access| {
                access.connection.publisher(self.request).is_some_and(|p| p.wants(location))
            })
            .unwrap_or_default()
    }

    /// Whether the subscriber wants objects now.
    pub fn forward(&self) -> bool {
        self.session
            .shared
            .run(|access| access.connection.publisher(self.request).is_some_and(|p| p.forward()))
            .unwrap_or_default()
    }

    /// Whether all that was ever to pass the subscriber's filter has been published, now that
    /// `group` is the current one. Then it is time for
    /// [`done`](Self::done) with SUBSCRIPTION_ENDED.
    pub fn is_past_end(&self, group: u64) -> bool {
        self.session
            .shared
            .run(|access| {
                access.connection.publisher(self.request).is_some_and(|p| p.is_past_end(group))
            })
            .unwrap_or_default()
    }

    /// Bytes that wait to be sent to this subscriber.
    pub fn queued(&self) -> usize {
        self.session
            .shared
            .run(|access| access.connection.publisher(self.request).map_or(0, |p| p.queued()))
            .unwrap_or_default()
    }

    /// Says what becomes of the publication if its subscriber takes less than is published;
    /// [`SlowSubscriber::Block`] unless this is called.
    pub fn when_slow(&self, slow: SlowSubscriber) {
        self.session.shared.run(|access| {
            if let Some(mut publisher) = access.connection.publisher(self.request) {
                publisher.when_slow(slow);
            }
        });
    }

    /// What has been carried so far, and what of it waits. All zeros once it is over.
    pub fn stats(&self) -> SubscriptionStats {
        self.session
            .shared
            .run(|access| access.connection.subscription_stats(self.request))
            .flatten()
            .unwrap_or_default()
    }

    /// Datagrams that were queued and not sent after all.
    pub fn datagrams_dropped(&self) -> u64 {
        self.session
            .shared
            .run(|access| access.router.publishers.get(&self.request).map(|slot| slot.dropped))
            .flatten()
            .unwrap_or_default()
    }

    /// Waits for the subscriber to change something about its subscription; what is absent is
    /// as it was. It is in force already.
    pub async fn next_update(&self) -> Result<Parameters, PublicationEnd> {
        self.take(|slot| slot.updates.pop_front()).await
    }

    /// Waits for something that comes for the publication.
    pub(crate) async fn take<T>(
        &self,
        mut take: impl FnMut(&mut PublisherSlot) -> Option<T>,
    ) -> Result<T, PublicationEnd> {
        let take = |access: &mut Access<'_>, cx: &Context<'_>| {
            let router = &mut *access.router;
            let slot = router.publishers.entry(self.request).or_default();
            if let Some(taken) = take(slot) {
                return Poll::Ready(Ok(taken));
            }
            match (&slot.end, &router.closed) {
                (Some(end), _) => Poll::Ready(Err(end.clone())),
                (None, Some(reason)) => Poll::Ready(Err(PublicationEnd::Closed(reason.clone()))),
                (None, None) => {
                    slot.wakers.register(cx);
                    Poll::Pending
                }
            }
        };
        self.session.shared.wait(take, || Err(PublicationEnd::Closed(driver_gone()))).await
    }

    /// Waits for the publication to end otherwise than by [`done`](Self::done), and says why.
    pub async fn ended(&self) -> PublicationEnd {
        let Err(end) = self.take(|_| None::<Infallible>).await;
        end
    }

    /// Ends the publication (draft-18, "PUBLISH_DONE"). The message goes out when all that was
    /// queued has; a subgroup that was not finished is reset. [`Session::flushed`] waits for all of
    /// it.
    pub fn done(mut self, code: PublishDoneCode, reason: &str) {
        self.end(code, reason);
    }

    fn end(&mut self, code: PublishDoneCode, reason: &str) {
        if std::mem::replace(&mut self.is_done, true) {
            return;
        }
        self.session.shared.run(|access| {
            access.router.publishers.remove(&self.request);
            access.router.request_over(self.request);
            if let Some(publisher) = access.connection.publisher(self.request) {
                publisher.done(code, reason);
                access.wrote = true;
            }
        });
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.end(PublishDoneCode::InternalError, "the publisher is gone");
    }
}

impl From<PublicationEnd> for Error {
    fn from(end: PublicationEnd) -> Self {
        match end {
            PublicationEnd::Cancelled(code) => Self::Cancelled(code),
            PublicationEnd::Expired => Self::Cancelled(StreamResetCode::Cancelled),
            PublicationEnd::Rejected(error) => Self::Rejected(error),
            PublicationEnd::Closed(reason) => Self::Closed(reason),
        }
    }
}
