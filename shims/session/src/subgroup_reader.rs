use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::{Location, ObjectStatus, StreamResetCode, SubgroupId};
use moqt_engine::wire::{ObjectDatagram, ObjectHeader, Properties};
use moqt_engine::{MoqtConnection, Read, StreamKey, SubgroupInfo};

use crate::driver::Access;
use crate::error::ReadError;
use crate::pieces::Pieces;
use crate::router::StreamSlot;
use crate::session::Session;
use crate::wakers::WakerSlot;

/// A whole object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Where it is in the track.
    pub location: Location,
    /// Its subgroup; `None` for one that came in a datagram.
    pub subgroup_id: Option<u64>,
    /// The publisher's priority, if it is known. Lower is more urgent.
    pub publisher_priority: Option<u8>,
    /// What it says if it has no payload.
    pub status: ObjectStatus,
    /// Its properties.
    pub properties: Properties,
    /// Its payload.
    pub payload: Bytes,
}

impl From<ObjectDatagram> for Object {
    fn from(datagram: ObjectDatagram) -> Self {
        let ObjectDatagram { header, payload } = datagram;
        Self {
            location: header.location,
            subgroup_id: None,
            publisher_priority: header.publisher_priority,
            status: header.status,
            properties: header.properties,
            payload,
        }
    }
}

/// A subgroup on its way in. What is not read holds the publisher back, on this stream only.
///
/// Dropping it before its end asks the publisher to stop. Its subscription cannot end before
/// it does.
#[must_use = "the subgroup is stopped when this is dropped before its end"]
#[derive(Debug)]
pub struct SubgroupReader {
    session: Session,
    stream: StreamKey,
    state: ReaderState,
}

/// How far reading a stream has come, and what was read and not given out.
#[derive(Debug)]
pub(crate) struct ReaderState {
    info: SubgroupInfo,
    /// The ID, once it is known.
    subgroup_id: Option<u64>,
    /// The object at hand.
    header: Option<ObjectHeader>,
    /// The application was given the header and reads the payload by itself.
    handed_out: bool,
    /// Payload of the object at hand that was read and not given out.
    pieces: Pieces,
    /// Payload of the object at hand that was not read.
    unread: u64,
    ended: Option<Result<(), ReadError>>,
}

/// What the state of a stream says about going on: something, or the end.
pub(crate) type Step<T> = Poll<Result<Option<T>, ReadError>>;

impl ReaderState {
    pub(crate) fn new(info: SubgroupInfo) -> Self {
        let subgroup_id = match info.subgroup_id {
            SubgroupId::Explicit(id) => Some(id),
            SubgroupId::FirstObjectId => None,
        };
        Self {
            info,
            subgroup_id,
            header: None,
            handed_out: false,
            pieces: Pieces::default(),
            unread: 0,
            ended: None,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Reads once. Whether there is more to be had; if not, the stream waits or has ended.
    fn read(&mut self, connection: &mut MoqtConnection, stream: StreamKey) -> bool {
        match connection.read(stream, usize::MAX) {
            Read::Object(header) => {
                self.subgroup_id.get_or_insert(header.object_id);
                self.unread = header.payload_len;
                self.header = Some(header);
                self.handed_out = false;
                self.pieces.clear();
                true
            }
            Read::Payload(bytes) => {
                self.unread = self.unread.saturating_sub(bytes.len() as u64);
                self.pieces.push(bytes);
                true
            }
            Read::Pending => false,
            Read::Finished => {
                self.ended = Some(Ok(()));
                false
            }
            Read::Reset(code) => {
                self.ended = Some(Err(ReadError::Reset(code)));
                false
            }
            _ => {
                self.ended = Some(Err(ReadError::Gone));
                false
            }
        }
    }

    fn stalled<T>(&self) -> Step<T> {
        match &self.ended {
            Some(Ok(())) => Poll::Ready(Ok(None)),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => Poll::Pending,
        }
    }

    /// Comes to an object that has not been handed out, passing by the rest of one that was.
    fn poll_header(
        &mut self,
        connection: &mut MoqtConnection,
        stream: StreamKey,
    ) -> Step<ObjectHeader> {
        loop {
            if self.handed_out {
                self.pieces.clear();
                if self.unread == 0 {
                    self.header = None;
                    self.handed_out = false;
                }
            }
            if let Some(header) = self.header.as_ref().filter(|_| !self.handed_out) {
                return Poll::Ready(Ok(Some(header.clone())));
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

    pub(crate) fn poll_object(
        &mut self,
        connection: &mut MoqtConnection,
        stream: StreamKey,
        limit: usize,
    ) -> Step<Object> {
        let len = match self.poll_header(connection, stream) {
            Poll::Ready(Ok(Some(header))) => header.payload_len,
            Poll::Ready(Ok(None)) => return Poll::Ready(Ok(None)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        };
        if len > limit as u64 {
            self.handed_out = true;
            return Poll::Ready(Err(ReadError::TooLarge { len, limit }));
        }
        while self.unread > 0 {
            if !self.read(connection, stream) {
                return self.stalled();
            }
        }
        let payload = self.pieces.join();
        let Some(header) = self.header.take() else { return self.stalled() };
        Poll::Ready(Ok(Some(Object {
            location: Location::new(self.info.group_id, header.object_id),
            subgroup_id: self.subgroup_id,
            publisher_priority: Some(self.info.publisher_priority),
            status: header.status,
            properties: header.properties,
            payload,
        })))
    }
}

impl SubgroupReader {
    pub(crate) fn new(session: Session, stream: StreamKey, info: SubgroupInfo) -> Self {
        Self { session, stream, state: ReaderState::new(info) }
    }

    /// Which subgroup it is.
    pub fn info(&self) -> &SubgroupInfo {
        &self.state.info
    }

    /// Waits for the next object's header; `None` when the subgroup is complete. What is left
    /// of the object before is passed by. Read the payload with [`chunk`](Self::chunk).
    pub async fn next_object(&mut self) -> Result<Option<ObjectHeader>, ReadError> {
        poll_fn(|cx| {
            let step =
                self.poll(cx, |state, access, stream| state.poll_header(access.connection, stream));
            if let Poll::Ready(Ok(Some(_))) = &step {
                self.state.handed_out = true;
            }
            step
        })
        .await
    }

    /// Waits for more payload of the object that [`next_object`](Self::next_object) announced,
    /// at most `max` bytes; `None` when there is no more. Nothing is copied.
    pub async fn chunk(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        if !self.state.handed_out {
            return Ok(None);
        }
        poll_fn(|cx| {
            self.poll(cx, |state, access, stream| state.poll_chunk(access.connection, stream, max))
        })
        .await
    }

    /// Waits for the next object, whole; `None` when the subgroup is complete. The payload is
    /// copied once if it came in several pieces.
    ///
    /// An object of more than `limit` bytes gives [`ReadError::TooLarge`] and can be read with
    /// [`chunk`](Self::chunk) after all; otherwise the next call passes it by.
    pub async fn read_object(&mut self, limit: usize) -> Result<Option<Object>, ReadError> {
        poll_fn(|cx| {
            self.poll(cx, |state, access, stream| {
                state.poll_object(access.connection, stream, limit)
            })
        })
        .await
    }

    /// Waits for at least one object and appends up to `max` that are there, whole, to
    /// `objects`. 0 when the subgroup is complete. This takes the session's lock once for all
    /// of them. Errors as for [`read_object`](Self::read_object), once what came before has
    /// been given.
    pub async fn read_many(
        &mut self,
        objects: &mut Vec<Object>,
        max: usize,
        limit: usize,
    ) -> Result<usize, ReadError> {
        let before = objects.len();
        poll_fn(|cx| {
            self.poll(cx, |state, access, stream| {
                while objects.len() - before < max.max(1) {
                    match state.poll_object(access.connection, stream, limit) {
                        Poll::Ready(Ok(Some(object))) => objects.push(object),
                        _ if objects.len() > before => {
                            // An object that is too large must be reported next time.
                            if state.handed_out && state.unread > 0 {
                                state.handed_out = false;
                            }
                            break;
                        }
                        step => return step.map_ok(|_| None),
                    }
                }
                Poll::Ready(Ok(Some(objects.len() - before)))
            })
        })
        .await
        .map(Option::unwrap_or_default)
    }

    /// Gives the subgroup up and tells the publisher why.
    pub fn stop(mut self, code: StreamResetCode) {
        self.end(code);
    }

    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        step: impl FnOnce(&mut ReaderState, &mut Access<'_>, StreamKey) -> Step<T>,
    ) -> Step<T> {
        let Self { session, stream, state } = self;
        if state.has_ended() && state.unread == 0 && state.pieces.is_empty() {
            return state.stalled();
        }
        let step = session.shared.run(|access| {
            let step = step(state, access, *stream);
            if step.is_pending() {
                if let Some(StreamSlot::Reader(waker)) = access.router.streams.get_mut(stream) {
                    waker.register(cx);
                } else {
                    let mut waker = WakerSlot::default();
                    waker.register(cx);
                    access.router.streams.insert(*stream, StreamSlot::Reader(waker));
                }
            }
            step
        });
        step.unwrap_or(Poll::Ready(Err(ReadError::Gone)))
    }

    fn end(&mut self, code: StreamResetCode) {
        let stream = self.stream;
        let is_over = self.state.has_ended();
        self.state.ended.get_or_insert(Err(ReadError::Gone));
        self.session.shared.run(|access| {
            access.router.streams.remove(&stream);
            if !is_over {
                access.connection.stop(stream, code);
                access.wrote = true;
            }
        });
    }
}

impl Drop for SubgroupReader {
    fn drop(&mut self) {
        self.end(StreamResetCode::Cancelled);
    }
}
