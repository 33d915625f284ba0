use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::StreamResetCode;
use moqt_engine::wire::ObjectHeader;
use moqt_engine::{CommandError, RequestKey, StreamKey, Subgroup, Written};

use crate::driver::Access;
use crate::error::WriteError;
use crate::router::StreamSlot;
use crate::session::Session;

/// A subgroup on its way out. Dropped before [`finish`](Self::finish), it is reset.
#[must_use = "the subgroup is reset when this is dropped before `finish`"]
#[derive(Debug)]
pub struct SubgroupWriter {
    session: Session,
    request: RequestKey,
    stream: StreamKey,
    is_over: bool,
}

impl SubgroupWriter {
    pub(crate) fn new(session: Session, request: RequestKey, stream: StreamKey) -> Self {
        Self { session, request, stream, is_over: false }
    }

    /// Queues a whole object, waiting while too much is queued. Large payloads are not copied.
    pub async fn write(
        &mut self,
        header: &ObjectHeader,
        payload: Bytes,
    ) -> Result<Written, WriteError> {
        self.queue(|subgroup| subgroup.object(header, payload.clone())).await
    }

    /// Queues an object with this ID and nothing but a payload.
    pub async fn write_object(
        &mut self,
        object_id: u64,
        payload: Bytes,
    ) -> Result<Written, WriteError> {
        let payload_len = payload.len() as u64;
        let header = ObjectHeader { object_id, payload_len, ..ObjectHeader::default() };
        self.write(&header, payload).await
    }

    /// Queues as many of these objects as there is room for, at least one, waiting for that
    /// room, and takes them from the front of `objects`. This takes the session's lock once
    /// for all of them. How many were taken.
    pub async fn write_many(
        &mut self,
        objects: &mut Vec<(ObjectHeader, Bytes)>,
    ) -> Result<usize, WriteError> {
        if objects.is_empty() {
            return Ok(0);
        }
        let mut taken = 0;
        let result = self
            .queue(|subgroup| {
                for (header, payload) in objects.iter().skip(taken) {
                    match subgroup.object(header, payload.clone()) {
                        Ok(_) => taken += 1,
                        Err(CommandError::Blocked(_)) if taken > 0 => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            })
            .await;
        objects.drain(..taken);
        result.map(|()| taken)
    }

    /// Queues the header of an object whose payload follows in pieces, waiting while too much
    /// is queued.
    pub async fn begin(&mut self, header: &ObjectHeader) -> Result<Written, WriteError> {
        self.queue(|subgroup| subgroup.begin_object(header)).await
    }

    /// Queues payload of the object begun last, waiting while too much is queued.
    pub async fn payload(&mut self, payload: Bytes) -> Result<(), WriteError> {
        self.queue(|subgroup| subgroup.payload(payload.clone())).await
    }

    /// Ends the subgroup: no object follows.
    pub fn finish(mut self) -> Result<(), WriteError> {
        let finished = self.session.shared.run(|access| {
            access.wrote = true;
            let subgroup = access.connection.subgroup(self.stream).ok_or(WriteError::Gone)?;
            subgroup.finish().map_err(WriteError::from)
        });
        // If it could not be finished, dropping resets it.
        self.is_over = matches!(finished, Some(Ok(())));
        finished.unwrap_or(Err(WriteError::Gone))
    }

    /// Gives the subgroup up: what has not been sent never will be.
    pub fn reset(mut self, code: StreamResetCode) {
        self.end(code);
    }

    async fn queue<T>(
        &mut self,
        mut write: impl FnMut(&mut Subgroup<'_>) -> Result<T, CommandError>,
    ) -> Result<T, WriteError> {
        let (request, stream) = (self.request, self.stream);
        let write = |access: &mut Access<'_>, cx: &Context<'_>| {
            let Some(mut subgroup) = access.connection.subgroup(stream) else {
                return Poll::Ready(Err(match access.router.streams.get(&stream) {
                    Some(StreamSlot::Writer(Some(why))) => why.clone(),
                    _ => WriteError::Gone,
                }));
            };
            let written = write(&mut subgroup);
            access.written(cx, request, written)
        };
        self.session.shared.wait(write, || Err(WriteError::Gone)).await
    }

    fn end(&mut self, code: StreamResetCode) {
        self.is_over = true;
        self.session.shared.run(|access| {
            access.router.streams.remove(&self.stream);
            if let Some(subgroup) = access.connection.subgroup(self.stream) {
                subgroup.reset(code);
                access.wrote = true;
            }
        });
    }
}

impl Drop for SubgroupWriter {
    fn drop(&mut self) {
        if self.is_over {
            self.session.shared.run(|access| access.router.streams.remove(&self.stream));
        } else {
            self.end(StreamResetCode::Cancelled);
        }
    }
}
