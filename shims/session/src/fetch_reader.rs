use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::{EndOfRange, Location, Parameters, TrackProperties};
use moqt_engine::wire::FetchObject;
use moqt_engine::{
    Answer, FetchAnswer, FetchRead, MoqtConnection, RequestError, RequestKey, StreamKey,
};

use crate::driver::Access;
use crate::error::Error;
use crate::pending::withdraw;
use crate::pieces::Pieces;
use crate::session::{Session, driver_gone};
use crate::subgroup_reader::Object;
use crate::updates::PendingUpdate;
use crate::wakers::WakerSlot;

/// A FETCH or TRACK_STATUS of this side's.
#[derive(Debug, Default)]
pub(crate) struct FetchSlot {
    pub(crate) answer: Option<Result<Answer, RequestError>>,
    pub(crate) stream: Option<StreamKey>,
    /// Why it ended early.
    pub(crate) end: Option<Error>,
    pub(crate) waker: WakerSlot,
}

/// Objects of the past on their way in, from [`Session::fetch`]: in order, and all there are
/// except for [ranges that are unknown](FetchItem::EndOfRange). What is not read holds the
/// publisher back, on this fetch only. Dropping it before its end cancels the fetch.
#[must_use = "the fetch is cancelled when this is dropped"]
#[derive(Debug)]
pub struct FetchReader {
    session: Session,
    request: RequestKey,
    answer: FetchAnswer,
    track_properties: TrackProperties,
    stream: Option<StreamKey>,
    state: State,
}

/// What comes next in a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchItem {
    /// An object; read its payload with [`FetchReader::chunk`].
    Object(FetchObject),
    /// Everything between the object before, if any, and this location is absent.
    EndOfRange {
        /// The last location of the range.
        location: Location,
        /// Why it is absent.
        kind: EndOfRange,
    },
}

/// How far reading has come, and what was read and not given out.
#[derive(Debug, Default)]
struct State {
    /// What is at hand and was not given out.
    item: Option<FetchItem>,
    /// The object at hand was given out; its payload is read with `chunk`.
    handed_out: bool,
    /// Payload of the object at hand that was read and not given out.
    pieces: Pieces,
    /// Payload of the object at hand that was not read.
    unread: u64,
    unknown_ranges: u64,
    ended: Option<Result<(), Error>>,
}

type Step<T> = Poll<Result<Option<T>, Error>>;

impl FetchReader {
    /// Changes the fetch's priority, or brings new tokens. Draft 14 cannot.
    pub fn update(&self, parameters: Parameters) -> PendingUpdate {
        PendingUpdate::new(self.session.clone(), self.request, parameters)
    }

    /// `None` if the answer is none to a FETCH.
    pub(crate) fn new(session: Session, request: RequestKey, answer: Answer) -> Option<Self> {
        let Answer { fetch, track_properties, .. } = answer;
        let (answer, state) = (fetch?, State::default());
        Some(Self { session, request, answer, track_properties, stream: None, state })
    }

    /// What the publisher said of the objects to come: their range, and whether they reach the
    /// end of the track.
    pub fn answer(&self) -> &FetchAnswer {
        &self.answer
    }

    /// Properties of the track.
    pub fn track_properties(&self) -> &TrackProperties {
        &self.track_properties
    }

    /// How many ranges of objects the publisher said it knows nothing about, of those that
    /// [`next_object`](Self::next_object) and [`read_object`](Self::read_object) passed by.
    pub fn unknown_ranges(&self) -> u64 {
        self.state.unknown_ranges
    }

    /// Waits for what comes next; `None` when the fetch is complete. What is left of the
    /// object before is passed by.
    pub async fn next(&mut self) -> Result<Option<FetchItem>, Error> {
        poll_fn(|cx| {
            self.poll(cx, |state, connection, stream| {
                let step = state.poll_item(connection, stream);
                if matches!(step, Poll::Ready(Ok(Some(())))) {
                    let item = state.item.take();
                    state.handed_out = matches!(item, Some(FetchItem::Object(_)));
                    return Poll::Ready(Ok(item));
                }
                step.map_ok(|_| None)
            })
        })
        .await
    }

    /// Like [`next`](Self::next), for objects only: what is said of ranges is passed by.
    pub async fn next_object(&mut self) -> Result<Option<FetchObject>, Error> {
        loop {
            match self.next().await? {
                Some(FetchItem::Object(object)) => return Ok(Some(object)),
                Some(FetchItem::EndOfRange { kind, .. }) => self.state.pass_by(kind),
                None => return Ok(None),
            }
        }
    }

    /// Waits for more payload of the object that [`next`](Self::next) or
    /// [`next_object`](Self::next_object) announced, at most `max` bytes; `None` when there is no
    /// more. Nothing is copied.
    pub async fn chunk(&mut self, max: usize) -> Result<Option<Bytes>, Error> {
        if !self.state.handed_out {
            return Ok(None);
        }
        poll_fn(|cx| {
            self.poll(cx, |state, connection, stream| state.poll_chunk(connection, stream, max))
        })
        .await
    }

    /// Waits for the next object, whole; `None` when the fetch is complete. The payload is
    /// copied once if it came in several pieces. What is said of ranges is passed by.
    ///
    /// An object of more than `limit` bytes gives [`Error::TooLarge`] and can be read with
    /// [`chunk`](Self::chunk) after all; otherwise the next call passes it by.
    pub async fn read_object(&mut self, limit: usize) -> Result<Option<Object>, Error> {
        poll_fn(|cx| {
            self.poll(cx, |state, connection, stream| state.poll_object(connection, stream, limit))
        })
        .await
    }

    /// Cancels the fetch. The same as dropping it.
    pub fn cancel(self) {}

    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        step: impl FnOnce(&mut State, &mut MoqtConnection, StreamKey) -> Step<T>,
    ) -> Step<T> {
        let Self { session, request, stream, state, .. } = self;
        let polled = session.shared.run(|access| {
            if stream.is_none() {
                *stream = access.router.fetches.get(request).and_then(|slot| slot.stream);
            }
            let step = match *stream {
                Some(stream) => step(state, access.connection, stream),
                None => Poll::Pending,
            };
            if step.is_pending() {
                return wait(state, access, *request, stream.is_some(), cx);
            }
            step
        });
        polled.unwrap_or_else(|| Poll::Ready(Err(Error::Closed(driver_gone()))))
    }
}

/// There is nothing to read: waits, or finds out that nothing will come.
fn wait<T>(
    state: &mut State,
    access: &mut Access<'_>,
    request: RequestKey,
    has_stream: bool,
    cx: &Context<'_>,
) -> Step<T> {
    let router = &mut *access.router;
    let end = match router.fetches.get_mut(&request) {
        Some(slot) => match (&slot.end, &router.closed) {
            (Some(end), _) => Some(end.clone()),
            (None, Some(reason)) => Some(Error::Closed(reason.clone())),
            // Its stream is gone though nobody said why.
            (None, None) if has_stream && state.ended.is_some() => {
                Some(Error::Closed(driver_gone()))
            }
            (None, None) => {
                slot.waker.register(cx);
                None
            }
        },
        None => Some(Error::Closed(driver_gone())),
    };
    match end {
        Some(end) => {
            state.ended = Some(Err(end.clone()));
            Poll::Ready(Err(end))
        }
        None => Poll::Pending,
    }
}

impl State {
    /// Reads once. Whether there is more to be had; if not, the fetch waits or has ended.
    fn read(&mut self, connection: &mut MoqtConnection, stream: StreamKey) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match connection.read_fetch(stream, usize::MAX) {
            FetchRead::Object(object) => {
                self.unread = object.payload_len;
                self.pieces.clear();
                self.handed_out = false;
                self.item = Some(FetchItem::Object(object));
                true
            }
            FetchRead::EndOfRange { location, kind } => {
                self.handed_out = false;
                self.item = Some(FetchItem::EndOfRange { location, kind });
                true
            }
            FetchRead::Payload(bytes) => {
                self.unread = self.unread.saturating_sub(bytes.len() as u64);
                self.pieces.push(bytes);
                true
            }
            FetchRead::Finished => {
                self.ended = Some(Ok(()));
                false
            }
            FetchRead::Reset(code) => {
                self.ended = Some(Err(Error::Cancelled(code)));
                false
            }
            // Whoever waits finds out why.
            _ => false,
        }
    }

    fn stalled<T>(&self) -> Step<T> {
        match &self.ended {
            Some(Ok(())) => Poll::Ready(Ok(None)),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => Poll::Pending,
        }
    }

    /// Comes to something that has not been given out, passing by the rest of what was.
    fn poll_item(&mut self, connection: &mut MoqtConnection, stream: StreamKey) -> Step<()> {
        loop {
            if self.handed_out {
                self.pieces.clear();
                self.handed_out = self.unread > 0;
            }
            if self.item.is_some() && !self.handed_out {
                return Poll::Ready(Ok(Some(())));
            }
            if !self.read(connection, stream) {
                return self.stalled();
            }
        }
    }

    fn poll_chunk(
        &mut self,
        connection: &mut MoqtConnection,
        stream: StreamKey,
        max: usize,
    ) -> Step<Bytes> {
        loop {
            if let Some(piece) = self.pieces.take(max) {
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.unread == 0 {
                return Poll::Ready(Ok(None));
            }
            if !self.read(connection, stream) {
                return self.stalled();
            }
        }
    }

    fn poll_object(
        &mut self,
        connection: &mut MoqtConnection,
        stream: StreamKey,
        limit: usize,
    ) -> Step<Object> {
        let len = loop {
            match self.poll_item(connection, stream) {
                Poll::Ready(Ok(Some(()))) => {}
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            match &self.item {
                Some(FetchItem::Object(object)) => break object.payload_len,
                Some(FetchItem::EndOfRange { kind, .. }) => {
                    let kind = *kind;
                    self.pass_by(kind);
                    self.item = None;
                }
                None => return self.stalled(),
            }
        };
        if len > limit as u64 {
            self.item = None;
            self.handed_out = true;
            return Poll::Ready(Err(Error::TooLarge { len, limit }));
        }
        while self.unread > 0 {
            if !self.read(connection, stream) {
                return self.stalled();
            }
        }
        let Some(FetchItem::Object(object)) = self.item.take() else { return self.stalled() };
        Poll::Ready(Ok(Some(Object {
            location: object.location,
            subgroup_id: object.subgroup_id,
            publisher_priority: Some(object.publisher_priority),
            status: object.status,
            properties: object.properties,
            payload: self.pieces.join(),
        })))
    }

    fn pass_by(&mut self, kind: EndOfRange) {
        self.unknown_ranges += u64::from(kind == EndOfRange::Unknown);
    }
}

impl Drop for FetchReader {
    fn drop(&mut self) {
        withdraw(&self.session, self.request);
    }
}
