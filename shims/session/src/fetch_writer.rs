use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::{
    EndOfRange, FullTrackName, Location, LocationRange, Parameters, StreamResetCode,
};
use moqt_engine::wire::FetchObject;
use moqt_engine::{Accept, AcceptFetch, CommandError, FetchResponse, Refusal, RequestKey};

use crate::driver::Access;
use crate::error::{Error, WriteError};
use crate::incoming::Unanswered;
use crate::publication::PublicationEnd;
use crate::router::PublisherSlot;
use crate::session::Session;

/// The peer wants objects of the past (draft-18, "FETCH").
#[must_use = "the request is refused when this is dropped"]
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
#[must_use = "the fetch is reset when this is dropped before `finish`"]
#[derive(Debug)]
pub struct FetchWriter {
    session: Session,
    request: RequestKey,
    is_over: bool,
}

impl FetchWriter {
    /// Queues a whole object, waiting while too much is queued. Large payloads are not copied.
    pub async fn write(&mut self, object: &FetchObject, payload: Bytes) -> Result<(), WriteError> {
        self.queue(|mut response| response.object(object, payload.clone())).await
    }

    /// Queues the header of an object whose payload follows in pieces, waiting while too much
    /// is queued.
    pub async fn begin(&mut self, object: &FetchObject) -> Result<(), WriteError> {
        self.queue(|mut response| response.begin_object(object)).await
    }

    /// Queues payload of the object begun last, waiting while too much is queued.
    pub async fn payload(&mut self, payload: Bytes) -> Result<(), WriteError> {
        self.queue(|mut response| response.payload(payload.clone())).await
    }

    /// Says that everything after the object before, up to and with `location`, is absent
    /// (draft-18, "End of Range"). [`FetchResponse::end_of_range`] says what draft 14 makes of it.
    pub async fn end_of_range(
        &mut self,
        location: Location,
        kind: EndOfRange,
    ) -> Result<(), WriteError> {
        self.queue(|mut response| response.end_of_range(location, kind)).await
    }

    /// Ends the fetch: no object follows. This waits for a stream if nothing was written and
    /// the peer allows none.
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method has one lifetime")]
    pub async fn finish(mut self) -> Result<(), WriteError> {
        self.queue(|response| response.finish()).await?;
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
        mut write: impl FnMut(FetchResponse<'_>) -> Result<T, CommandError>,
    ) -> Result<T, WriteError> {
        let request = self.request;
        let write = |access: &mut Access<'_>, cx: &Context<'_>| {
            let Some(response) = access.connection.fetch_response(request) else {
                return Poll::Ready(Err(gone(access.router, request)));
            };
            let written = write(response);
            access.written(cx, request, written)
        };
        self.session.shared.wait(write, || Err(WriteError::Gone)).await
    }

    fn end(&mut self, code: StreamResetCode) {
        self.is_over = true;
        self.session.shared.run(|access| {
            access.router.publishers.remove(&self.request);
            access.router.request_over(self.request);
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
            self.session.shared.run(|access| {
                access.router.publishers.remove(&self.request);
                access.router.request_over(self.request);
            });
        } else {
            self.end(StreamResetCode::InternalError);
        }
    }
}

/// The peer wants to know how far a track has come (draft-18, "TRACK_STATUS").
#[must_use = "the request is refused when this is dropped"]
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
