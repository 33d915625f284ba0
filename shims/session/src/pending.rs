use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use moqt_engine::model::{
    FullTrackName, Parameters, RequestErrorCode, StreamResetCode, TrackNamespace,
};
use moqt_engine::{Answer, FetchTarget, RequestKey};

use crate::driver::Access;
use crate::error::Error;
use crate::fetch_reader::{FetchReader, FetchSlot};
use crate::router::{NamespaceSlot, SubscriberSlot};
use crate::session::{Session, driver_gone};
use crate::subscription::Subscription;
use crate::updates::PendingUpdate;

/// A request that is on its way: await it for the peer's answer, now or later. Dropping it
/// withdraws the request.
#[must_use = "the request is withdrawn when this is dropped"]
#[derive(Debug)]
pub struct Pending<T> {
    session: Session,
    command: Command,
    request: Option<RequestKey>,
    /// What sending it failed with.
    failed: Option<Error>,
    made: std::marker::PhantomData<fn() -> T>,
}

#[derive(Debug)]
enum Command {
    Subscribe(FullTrackName, Parameters),
    PublishNamespace(TrackNamespace, Parameters),
    Fetch(FetchTarget, Parameters),
    TrackStatus(FullTrackName, Parameters),
}

impl Pending<Subscription> {
    pub(crate) fn subscribe(
        session: Session,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Self {
        Self::new(session, Command::Subscribe(track, parameters))
    }
}

impl Pending<NamespacePublication> {
    pub(crate) fn publish_namespace(
        session: Session,
        namespace: TrackNamespace,
        parameters: Parameters,
    ) -> Self {
        Self::new(session, Command::PublishNamespace(namespace, parameters))
    }
}

impl Pending<FetchReader> {
    pub(crate) fn fetch(session: Session, target: FetchTarget, parameters: Parameters) -> Self {
        Self::new(session, Command::Fetch(target, parameters))
    }
}

impl Pending<Answer> {
    pub(crate) fn track_status(
        session: Session,
        track: FullTrackName,
        parameters: Parameters,
    ) -> Self {
        Self::new(session, Command::TrackStatus(track, parameters))
    }
}

impl<T> Pending<T> {
    /// Sends the request if that is possible at once; otherwise polling will.
    fn new(session: Session, command: Command) -> Self {
        let mut pending =
            Self { session, command, request: None, failed: None, made: std::marker::PhantomData };
        if let Poll::Ready(Err(error)) = pending.poll_send(&Context::from_waker(Waker::noop())) {
            pending.failed = Some(error);
        }
        pending
    }

    fn poll_send(&mut self, cx: &Context<'_>) -> Poll<Result<RequestKey, Error>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if let Some(request) = self.request {
            return Poll::Ready(Ok(request));
        }
        let sent = self.session.poll_command(cx, |access| match &self.command {
            Command::Subscribe(track, parameters) => {
                let request = access.connection.subscribe(access.now, track, parameters)?;
                access.router.subscribers.insert(request, SubscriberSlot::default());
                Ok(request)
            }
            Command::PublishNamespace(namespace, parameters) => {
                let request =
                    access.connection.publish_namespace(access.now, namespace, parameters)?;
                access.router.namespaces.insert(request, NamespaceSlot::default());
                Ok(request)
            }
            Command::Fetch(target, parameters) => {
                let request = access.connection.fetch(access.now, target, parameters)?;
                access.router.fetches.insert(request, FetchSlot::default());
                Ok(request)
            }
            Command::TrackStatus(track, parameters) => {
                let request = access.connection.track_status(access.now, track, parameters)?;
                access.router.fetches.insert(request, FetchSlot::default());
                Ok(request)
            }
        });
        if let Poll::Ready(Ok(request)) = sent {
            self.request = Some(request);
        }
        sent
    }

    fn poll_answer(&mut self, cx: &Context<'_>) -> Poll<Result<(RequestKey, Answer), Error>> {
        let request = match self.poll_send(cx) {
            Poll::Ready(Ok(request)) => request,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        let answer = self.session.shared.run(|access| {
            let router = &mut *access.router;
            // A subscription's slot and a fetch's go on: that they were answered stays known.
            let answer = match &self.command {
                Command::Subscribe(..) => {
                    let slot = router.subscribers.get_mut(&request)?;
                    if slot.answer.is_none() {
                        slot.waker.register(cx);
                    }
                    slot.answer.clone()
                }
                Command::PublishNamespace(..) => {
                    let slot = router.namespaces.get_mut(&request)?;
                    if slot.answer.is_none() {
                        slot.wakers.register(cx);
                    }
                    slot.answer.take()
                }
                Command::Fetch(..) | Command::TrackStatus(..) => {
                    let slot = router.fetches.get_mut(&request)?;
                    if let (None, Some(end)) = (&slot.answer, &slot.end) {
                        return Some(Poll::Ready(Err(end.clone())));
                    }
                    if slot.answer.is_none() {
                        slot.waker.register(cx);
                    }
                    slot.answer.clone()
                }
            };
            match (answer, &router.closed) {
                (Some(Ok(answer)), _) => Some(Poll::Ready(Ok(answer))),
                (Some(Err(error)), _) => Some(Poll::Ready(Err(Error::Rejected(Box::new(error))))),
                (None, Some(reason)) => Some(Poll::Ready(Err(Error::Closed(reason.clone())))),
                (None, None) => Some(Poll::Pending),
            }
        });
        match answer.flatten() {
            Some(Poll::Ready(Ok(answer))) => Poll::Ready(Ok((request, answer))),
            Some(Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            Some(Poll::Pending) => Poll::Pending,
            None => Poll::Ready(Err(Error::Closed(driver_gone()))),
        }
    }
}

impl<T> Unpin for Pending<T> {}

impl Future for Pending<Subscription> {
    type Output = Result<Subscription, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|answer| {
            let (request, answer) = answer?;
            self.request = None;
            let Command::Subscribe(track, _) = &self.command else {
                return Err(Error::Closed(driver_gone()));
            };
            Ok(Subscription::new(self.session.clone(), request, track.clone(), Some(answer)))
        })
    }
}

impl Future for Pending<NamespacePublication> {
    type Output = Result<NamespacePublication, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|answer| {
            let (request, answer) = answer?;
            self.request = None;
            let Command::PublishNamespace(namespace, _) = &self.command else {
                return Err(Error::Closed(driver_gone()));
            };
            let namespace = namespace.clone();
            Ok(NamespacePublication { session: self.session.clone(), request, namespace, answer })
        })
    }
}

impl Future for Pending<FetchReader> {
    type Output = Result<FetchReader, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|answer| {
            let (request, answer) = answer?;
            let reader = FetchReader::new(self.session.clone(), request, answer);
            let reader = reader.ok_or_else(|| Error::Closed(driver_gone()))?;
            self.request = None;
            Ok(reader)
        })
    }
}

impl Future for Pending<Answer> {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx).map(|answer| answer.map(|(_, answer)| answer))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            withdraw(&self.session, request);
        }
    }
}

/// Ends a request of ours that is not a publication, and forgets it.
pub(crate) fn withdraw(session: &Session, request: RequestKey) {
    session.shared.run(|access| {
        access.router.namespaces.remove(&request);
        access.router.request_over(request);
        if let Some(slot) = access.router.fetches.remove(&request)
            && let Some(stream) = slot.stream
        {
            access.router.streams.remove(&stream);
        }
        if let Some(slot) = access.router.subscribers.remove(&request) {
            for (stream, _) in slot.subgroups {
                access.router.streams.remove(&stream);
            }
        }
        // If it is over already there is nothing to end.
        let _ = access.connection.cancel(access.now, request, StreamResetCode::Cancelled);
        access.wrote = true;
    });
}

/// A namespace that the peer has accepted from us, or that we accepted from the peer. Dropping
/// it withdraws it.
#[must_use = "the namespace is withdrawn when this is dropped"]
#[derive(Debug)]
pub struct NamespacePublication {
    pub(crate) session: Session,
    pub(crate) request: RequestKey,
    pub(crate) namespace: TrackNamespace,
    pub(crate) answer: Answer,
}

impl NamespacePublication {
    /// The namespace.
    pub fn namespace(&self) -> &TrackNamespace {
        &self.namespace
    }

    /// Brings new tokens for a namespace of ours. Draft 14 cannot.
    pub fn update(&self, parameters: Parameters) -> PendingUpdate {
        PendingUpdate::new(self.session.clone(), self.request, parameters)
    }

    /// What was said when it was accepted.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Waits for the other side to end it, and says why: [`Error::Cancelled`],
    /// [`Error::Rejected`] if the peer gave a reason for revoking its acceptance, or
    /// [`Error::Closed`].
    pub async fn ended(&self) -> Error {
        namespace_ended(&self.session, self.request).await
    }

    /// Withdraws it. The same as dropping it.
    pub fn withdraw(self) {}

    /// Revokes the acceptance of a namespace of the peer's, and says why as far as the draft
    /// can. One of ours is withdrawn.
    pub fn revoke(self, code: RequestErrorCode, reason: &str) {
        self.session.shared.run(|access| {
            access.wrote = true;
            let (connection, now) = (&mut *access.connection, access.now);
            // What this does not apply to, dropping ends.
            let _ = connection.cancel_publish_namespace(now, self.request, code, reason);
        });
    }
}

/// Waits for the other side to end something about namespaces.
pub(crate) async fn namespace_ended(session: &Session, request: RequestKey) -> Error {
    let end = |access: &mut Access<'_>, cx: &Context<'_>| {
        let router = &mut *access.router;
        let slot = router.namespaces.entry(request).or_default();
        if let Some(error) = &slot.end {
            return Poll::Ready(error.clone());
        }
        if let Some(reason) = &router.closed {
            return Poll::Ready(Error::Closed(reason.clone()));
        }
        slot.wakers.register(cx);
        Poll::Pending
    };
    session.shared.wait(end, || Error::Closed(driver_gone())).await
}

impl Drop for NamespacePublication {
    fn drop(&mut self) {
        withdraw(&self.session, self.request);
    }
}
