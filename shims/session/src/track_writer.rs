use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use moqt_engine::model::PublishDoneCode;
use moqt_engine::track::{PublishedTrack, Slot};
use moqt_engine::wire::Properties;
use moqt_engine::{Blocked, CommandError, MoqtConnection, Written};

use crate::error::WriteError;
use crate::publication::Publication;

/// A publication whose objects are put into groups and subgroups by a
/// [`TrackLayout`](moqt_engine::track::TrackLayout): streams open and finish by themselves.
///
/// Dropped before [`done`](Self::done), what is unfinished is reset and the publication ends
/// as a dropped [`Publication`] does.
#[derive(Debug)]
pub struct TrackWriter {
    publication: Publication,
    track: PublishedTrack,
}

impl Publication {
    /// Writes the track as a whole instead of subgroup by subgroup.
    pub fn into_track(self) -> TrackWriter {
        self.into_track_with(|track| track)
    }

    /// Like [`into_track`](Self::into_track), with priority or properties set first.
    pub fn into_track_with(
        self,
        configure: impl FnOnce(PublishedTrack) -> PublishedTrack,
    ) -> TrackWriter {
        let track = configure(PublishedTrack::new(self.request));
        TrackWriter { publication: self, track }
    }
}

impl TrackWriter {
    /// The publication.
    pub fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Queues an object, waiting while too much is queued or the peer allows no more streams.
    pub async fn object(
        &mut self,
        slot: Slot,
        properties: &Properties,
        payload: Bytes,
    ) -> Result<Written, WriteError> {
        let Self { publication, track } = self;
        poll_fn(|cx| {
            poll_write(publication, cx, |connection| {
                track.object(connection, slot, properties, payload.clone())
            })
        })
        .await
    }

    /// Queues as many of these objects as there is room for, at least one, waiting for that
    /// room; how many were queued. This takes the session's lock once for all of them.
    pub async fn objects(&mut self, objects: &[(Slot, Bytes)]) -> Result<usize, WriteError> {
        let Self { publication, track } = self;
        if objects.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| {
            poll_write(publication, cx, |connection| {
                let mut queued = 0;
                for (slot, payload) in objects {
                    match track.object(connection, *slot, &Properties::EMPTY, payload.clone()) {
                        Ok(_) => queued += 1,
                        Err(CommandError::Blocked(_)) if queued > 0 => break,
                        Err(error) => return Err(error),
                    }
                }
                Ok(queued)
            })
        })
        .await
    }

    /// Finishes the current group, though nobody knew with its last object that it was.
    pub fn end_group(&mut self) -> Result<(), WriteError> {
        let Self { publication, track } = self;
        let ended = publication.session.shared.run(|access| {
            access.wrote = true;
            track.end_group(access.connection)
        });
        ended.unwrap_or(Err(CommandError::Gone)).map_err(WriteError::from)
    }

    /// Ends the track, with the current group finished.
    pub fn done(mut self, code: PublishDoneCode, reason: &str) {
        // If it cannot be finished, ending the publication resets it.
        let _ = self.end_group();
        self.publication.done(code, reason);
    }
}

fn poll_write<T>(
    publication: &Publication,
    cx: &Context<'_>,
    write: impl FnOnce(&mut MoqtConnection) -> Result<T, CommandError>,
) -> Poll<Result<T, WriteError>> {
    let written = publication.session.shared.run(|access| match write(access.connection) {
        Err(CommandError::Blocked(blocked)) => {
            let router = &mut *access.router;
            if blocked != Blocked::Queue {
                router.unblocked_wakers.register(cx);
            }
            router.publishers.entry(publication.request).or_default().writers.register(cx);
            Poll::Pending
        }
        written => {
            access.wrote = true;
            Poll::Ready(written.map_err(WriteError::from))
        }
    });
    written.unwrap_or(Poll::Ready(Err(WriteError::Gone)))
}
