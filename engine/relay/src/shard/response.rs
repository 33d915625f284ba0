//! The answer to a FETCH: to a peer, or to another shard on behalf of a peer of its.

use bytes::Bytes;
use moqt_engine::model::{EndOfRange, Location, ObjectStatus, StreamResetCode};
use moqt_engine::wire::FetchObject;
use moqt_engine::{AcceptFetch, CommandError, Refusal, RequestKey};
use thunderdome::Index;

use super::{Cx, Shard};
use crate::authorize::Authorize;
use crate::connections::{ConnectionId, Connections, ShardId};
use crate::message::{Fetched, What};

/// Payload that another shard may be given before it says that it takes more, in bytes.
pub(super) const SHARD_CREDIT: usize = 256 * 1024;

/// Who asks for objects of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A peer, by this FETCH of its.
    Session(ConnectionId, RequestKey),
    /// Another shard, which knows the fetch by this key.
    Shard(ShardId, Index),
    /// Nobody: it is for those who subscribe to the track.
    Recovery,
}

/// Something to answer.
#[derive(Clone, Debug)]
pub(super) enum Say {
    Object(FetchObject),
    Payload(Bytes),
    EndOfRange(Location, EndOfRange),
    Finished,
    Reset(StreamResetCode),
}

/// How answering goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// There is room for more.
    On,
    /// There was no room for this.
    Blocked,
    /// Nobody wants it any more, or it cannot be said.
    Over,
}

impl<A: Authorize> Shard<A> {
    pub(super) fn respond<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        say: Say,
    ) -> Wrote {
        let Some(fetch) = self.fetches.get_mut(id) else { return Wrote::Over };
        match &say {
            _ if fetch.from == Asker::Recovery => {}
            Say::Object(_) => self.stats.objects_out += 1,
            Say::Payload(payload) => self.stats.bytes_out += payload.len() as u64,
            _ => {}
        }
        let goes_without_saying =
            matches!(&say, Say::Object(object) if object.status != ObjectStatus::Normal);
        match fetch.from {
            Asker::Session(connection, request) => {
                let said = cx.connections.with(connection, |moqt| {
                    let mut response = moqt.fetch_response(request).ok_or(CommandError::Gone)?;
                    match say {
                        Say::Object(object) => response.begin_object(&object),
                        Say::Payload(payload) => response.payload(payload),
                        Say::EndOfRange(location, kind) => response.end_of_range(location, kind),
                        Say::Finished => response.finish(),
                        Say::Reset(code) => {
                            response.reset(code);
                            Ok(())
                        }
                    }
                });
                match said {
                    Some(Ok(())) => Wrote::On,
                    Some(Err(CommandError::Blocked(_))) => Wrote::Blocked,
                    // Only draft 14 has words for a status; in a fetch of any other, what is left
                    // out does not exist, which is all that it says.
                    Some(Err(_)) if goes_without_saying => Wrote::On,
                    _ => Wrote::Over,
                }
            }
            Asker::Recovery => Wrote::On,
            Asker::Shard(shard, fetch_there) => {
                let item = match say {
                    Say::Object(object) => Fetched::Object(object),
                    Say::Payload(_) if fetch.credit == 0 => return Wrote::Blocked,
                    Say::Payload(payload) => {
                        fetch.credit = fetch.credit.saturating_sub(payload.len());
                        Fetched::Payload(payload)
                    }
                    Say::EndOfRange(location, kind) => Fetched::EndOfRange { location, kind },
                    Say::Finished => Fetched::Finished,
                    Say::Reset(code) => Fetched::Reset(code),
                };
                self.say(shard, What::Fetched { fetch: fetch_there, by: id, item });
                Wrote::On
            }
        }
    }

    /// Says what will come.
    pub(super) fn respond_accept<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        accept: AcceptFetch,
    ) -> Wrote {
        match self.fetches.get(id).map(|fetch| fetch.from) {
            Some(Asker::Session(connection, request)) => {
                let accepted = cx
                    .connections
                    .with(connection, |moqt| moqt.accept_fetch(cx.now, request, accept));
                if matches!(accepted, Some(Ok(()))) { Wrote::On } else { Wrote::Over }
            }
            Some(Asker::Shard(shard, fetch)) => {
                let AcceptFetch { end, end_of_track, track_properties, .. } = accept;
                let item = Fetched::Accepted { end, end_of_track, properties: track_properties };
                self.say(shard, What::Fetched { fetch, by: id, item });
                Wrote::On
            }
            Some(Asker::Recovery) => Wrote::On,
            None => Wrote::Over,
        }
    }

    pub(super) fn respond_refuse<C: Connections>(
        &mut self,
        cx: &mut Cx<'_, C>,
        id: Index,
        refusal: Refusal,
    ) {
        match self.fetches.get(id).map(|fetch| fetch.from) {
            Some(Asker::Session(connection, request)) => {
                self.refuse_with(cx, connection, request, refusal);
            }
            Some(Asker::Shard(shard, fetch)) => {
                let item = Fetched::Refused(refusal);
                self.say(shard, What::Fetched { fetch, by: id, item });
            }
            Some(Asker::Recovery) | None => {}
        }
    }
}
