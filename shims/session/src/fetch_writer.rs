use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::{
    EndOfRange, FullTrackName, Location, LocationRange, Parameters, StreamResetCode,
};
use moqt_engine::wire::FetchObject;
use moqt_engine::{Accept, AcceptFetch, Blocked, CommandError, FetchResponse, Refusal, RequestKey};

use crate::error::{Error, WriteError};
use crate::incoming::Unanswered;
use crate::publication::PublicationEnd;
use crate::router::PublisherSlot;
use crate::session::Session;

/// The peer wants objects of the past.
#[derive(Debug)]
pub struct IncomingFetch {
    inner: Unanswered,
    track: FullTrackName,
    range: LocationRange,
    parameters: Parameters,
}

impl IncomingFetch {
    pub(crate) fn new(
        inner: Unanswered,
        track: FullTrackName,
        range: LocationRange,
        parameters: Parameters,
    ) -> Self {
        Self { inner, track, range, parameters }
    }

    /// The track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// Which objects. [`LocationRange::published`] says what of them there is.
    pub fn range(&self) -> LocationRange {
        self.range
    }

    /// Priority, order, tokens.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Accepts it: what exists in the range up to `accept.end` is then to be written.
    pub fn accept(mut self, accept: AcceptFetch) -> Result<FetchWriter, Error> {
        self.inner.answer(
            |access, request| access.connection.accept_fetch(access.now, request, accept),
            |router, request| drop(router.publishers.insert(request, PublisherSlot::default())),
        )?;
        let (session, request) = (self.inner.session.clone(), self.inner.request);
        Ok(FetchWriter { session, request, is_over: false })
    }

    /// Refuses it.
    pub fn reject(mut self, refusal: Refusal) {
        self.inner.reject(refusal);
    }
}

/// The objects of a fetch on their way out: groups in the order asked for, objects ascending.
/// What is left out does not exist, as far as the subscriber will know. Dropped before
/// [`finish`](Self::finish), it is reset.
#[derive(Debug)]
pub struct FetchWriter {
    session: Session,
    request: RequestKey,
    is_over: bool,
}

impl FetchWriter {
    /// Queues a whole object, waiting while too much is queued. Large payloads are not copied.
    pub async fn write(&mut self, object: &FetchObject, payload: Bytes) -> Result<(), WriteError> {
        self.queue(|response| response.object(object, payload.clone())).await
    }

    /// Queues the header of an object whose payload follows in pieces, waiting while too much
    /// is queued.
    pub async fn begin(&mut self, object: &FetchObject) -> Result<(), WriteError> {
        self.queue(|response| response.begin_object(object)).await
    }

    /// Queues payload of the object begun last, waiting while too much is queued.
    pub async fn payload(&mut self, payload: Bytes) -> Result<(), WriteError> {
        self.queue(|response| response.payload(payload.clone())).await
    }

    /// Says that everything after the object before, up to and with `location`, is absent. See
    /// [`FetchResponse::end_of_range`].
    pub async fn end_of_range(
        &mut self,
        location: Location,
        kind: EndOfRange,
    ) -> Result<(), WriteError> {
        self.queue(|response| response.end_of_range(location, kind)).await
    }

    /// Ends the fetch: no object follows. This waits for a stream if nothing was written and
    /// the peer allows none.
    pub async fn finish(mut self) -> Result<(), WriteError> {
        poll_fn(|cx| {
            let finished = self.session.shared.run(|access| {
                let Some(response) = access.connection.fetch_response(self.request) else {
                    return Poll::Ready(Err(gone(access.router, self.request)));
                };
                match response.finish() {
                    Err(CommandError::Blocked(_)) => {
                        let router = &mut *access.router;
                        router.unblocked_wakers.register(cx);
                        let slot = router.publishers.entry(self.request).or_default();
                        slot.writers.register(cx);
                        Poll::Pending
                    }
                    finished => {
                        access.wrote = true;
                        Poll::Ready(finished.map_err(WriteError::from))
                    }
                }
            });
            finished.unwrap_or(Poll::Ready(Err(WriteError::Gone)))
        })
        .await?;
        // If it could not be finished, dropping resets it.
        self.is_over = true;
        Ok(())
    }

    /// Gives the fetch up: what has not been sent never will be.
    pub fn reset(mut self, code: StreamResetCode) {
        self.end(code);
    }

    async fn queue<T>(
        &mut self,
        mut write: impl FnMut(&mut FetchResponse<'_>) -> Result<T, CommandError>,
    ) -> Result<T, WriteError> {
        poll_fn(|cx| self.poll(cx, &mut write)).await
    }

    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        write: &mut impl FnMut(&mut FetchResponse<'_>) -> Result<T, CommandError>,
    ) -> Poll<Result<T, WriteError>> {
        let written = self.session.shared.run(|access| {
            let Some(mut response) = access.connection.fetch_response(self.request) else {
                return Poll::Ready(Err(gone(access.router, self.request)));
            };
            match write(&mut response) {
                Err(CommandError::Blocked(blocked)) => {
                    let router = &mut *access.router;
                    if blocked != Blocked::Queue {
                        router.unblocked_wakers.register(cx);
                    }
                    let slot = router.publishers.entry(self.request).or_default();
                    slot.writers.register(cx);
                    Poll::Pending
                }
                Ok(written) => {
                    access.wrote = true;
                    Poll::Ready(Ok(written))
                }
                Err(error) => Poll::Ready(Err(error.into())),
            }
        });
        written.unwrap_or(Poll::Ready(Err(WriteError::Gone)))
    }

    fn end(&mut self, code: StreamResetCode) {
        self.is_over = true;
        self.session.shared.run(|access| {
            access.router.publishers.remove(&self.request);
            if let Some(response) = access.connection.fetch_response(self.request) {
                response.reset(code);
                access.wrote = true;
            }
        });
    }
}

/// Why nothing can be written any more.
fn gone(router: &crate::Router, request: RequestKey) -> WriteError {
    match router.publishers.get(&request).and_then(|slot| slot.end.as_ref()) {
        Some(PublicationEnd::Cancelled(code)) => WriteError::Stopped(*code),
        _ => WriteError::Gone,
    }
}

impl Drop for FetchWriter {
    fn drop(&mut self) {
        if self.is_over {
            self.session.shared.run(|access| access.router.publishers.remove(&self.request));
        } else {
            self.end(StreamResetCode::InternalError);
        }
    }
}

/// The peer wants to know how far a track has come.
#[derive(Debug)]
pub struct IncomingTrackStatus {
    inner: Unanswered,
    track: FullTrackName,
    parameters: Parameters,
}

impl IncomingTrackStatus {
    pub(crate) fn new(inner: Unanswered, track: FullTrackName, parameters: Parameters) -> Self {
        Self { inner, track, parameters }
    }

    /// The track.
    pub fn track(&self) -> &FullTrackName {
        &self.track
    }

    /// Tokens.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Tells: what a SUBSCRIBE would be accepted with.
    pub fn accept(mut self, accept: Accept) -> Result<(), Error> {
        self.inner.answer(
            |access, request| access.connection.accept(access.now, request, accept),
            |_, _| {},
        )
    }

    /// Refuses it.
    pub fn reject(mut self, refusal: Refusal) {
        self.inner.reject(refusal);
    }
}
