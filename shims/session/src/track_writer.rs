use std::task::Context;

use bytes::Bytes;
use moqt_engine::model::PublishDoneCode;
use moqt_engine::track::{PublishedTrack, Slot};
use moqt_engine::wire::Properties;
use moqt_engine::{CommandError, Written};

use crate::driver::Access;
use crate::error::WriteError;
use crate::publication::Publication;

/// A publication whose objects are put into groups and subgroups by a
/// [`TrackLayout`](moqt_engine::track::TrackLayout): streams open and finish by themselves.
///
/// Dropped before [`done`](Self::done), what is unfinished is reset and the publication ends
/// as a dropped [`Publication`] does.
#[must_use = "the publication ends with an error when this is dropped before `done`"]
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
    pub async fn write(
        &mut self,
        slot: Slot,
        properties: &Properties,
        payload: Bytes,
    ) -> Result<Written, WriteError> {
        let Self { publication, track } = self;
        let write = |access: &mut Access<'_>, cx: &Context<'_>| {
            let written = track.object(access.connection, slot, properties, payload.clone());
            access.written(cx, publication.request, written)
        };
        publication.session.shared.wait(write, || Err(WriteError::Gone)).await
    }

    /// Queues as many of these objects as there is room for, at least one, waiting for that
    /// room; how many were queued. This takes the session's lock once for all of them.
    pub async fn write_many(&mut self, objects: &[(Slot, Bytes)]) -> Result<usize, WriteError> {
        let Self { publication, track } = self;
        if objects.is_empty() {
            return Ok(0);
        }
        let write = |access: &mut Access<'_>, cx: &Context<'_>| {
            let mut queued = 0;
            for (slot, payload) in objects {
                let connection = &mut *access.connection;
                match track.object(connection, *slot, &Properties::EMPTY, payload.clone()) {
                    Ok(_) => queued += 1,
                    Err(CommandError::Blocked(_)) if queued > 0 => break,
                    Err(error) => return access.written(cx, publication.request, Err(error)),
                }
            }
            access.written(cx, publication.request, Ok(queued))
        };
        publication.session.shared.wait(write, || Err(WriteError::Gone)).await
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
