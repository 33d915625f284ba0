//! Answers to what a peer asks about the one track there is.

use std::sync::Arc;

use moqt_engine::model::{
    EndOfRange, FullTrackName, ObjectStatus, Parameters, RequestErrorCode, StreamResetCode,
};
use moqt_engine::wire::{FetchObject, Properties};
use moqt_engine::{Accept, AcceptFetch, Refusal};
use moqt_session::{FetchWriter, Incoming, IncomingFetch, IncomingTrackStatus, WriteError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::SourceArgs;
use crate::history::{History, Replay, Replayed};
use crate::origin::Joiner;

/// The priority of objects whose publisher states none.
const DEFAULT_PRIORITY: u8 = 128;

/// Where subscribers are taken to, and fetches are served.
#[derive(Clone)]
pub(crate) struct Desk {
    track: FullTrackName,
    history: Arc<History>,
    joiners: mpsc::Sender<Joiner>,
    /// How many subgroups a group has; none if objects are sent in datagrams.
    subgroups: Option<u64>,
}

impl Desk {
    pub(crate) fn new(
        track: FullTrackName,
        history: Arc<History>,
        joiners: mpsc::Sender<Joiner>,
        source: &SourceArgs,
    ) -> Self {
        let subgroups = (!source.datagram).then_some(source.streams);
        Self { track, history, joiners, subgroups }
    }

    /// Answers one request; what takes time goes on in `tasks`. `false` if nobody publishes any
    /// more.
    pub(crate) async fn answer(&self, incoming: Incoming, tasks: &mut JoinSet<()>) -> bool {
        match incoming {
            Incoming::Subscribe(subscribe) if *subscribe.track() == self.track => {
                return self.joiners.send(Joiner::Subscribe(Box::new(subscribe))).await.is_ok();
            }
            Incoming::Fetch(fetch) if *fetch.track() == self.track => {
                tasks.spawn(self.clone().serve(fetch));
                while tasks.try_join_next().is_some() {}
            }
            Incoming::TrackStatus(status) if *status.track() == self.track => self.tell(status),
            other => self.turn_away(other),
        }
        true
    }

    /// Waits until nobody is left who would take subscribers.
    pub(crate) async fn closed(&self) {
        self.joiners.closed().await;
    }

    fn tell(&self, status: IncomingTrackStatus) {
        let mut parameters = Parameters::default();
        parameters.largest_object = self.history.largest();
        // Who has left needs no answer.
        let _ = status.accept(Accept { parameters, ..Accept::default() });
    }

    async fn serve(self, fetch: IncomingFetch) {
        let asked = fetch.range();
        let largest = self.history.largest();
        let Some(range) = largest.and_then(|largest| asked.published(largest)) else {
            let mut refusal = Refusal::new(RequestErrorCode::InvalidRange);
            refusal.reason = match largest {
                Some(largest) => format!("the largest object published so far is {largest}"),
                None => "nothing was published so far".into(),
            };
            return fetch.reject(refusal);
        };
        let order = fetch.parameters().group_order.unwrap_or_default();
        let mut accept = AcceptFetch::new(range.end);
        accept.group_order = Some(order);
        accept.end_of_track = self.history.ends_with(range.last());
        let Ok(mut writer) = fetch.accept(accept) else { return };
        let replay = self.history.replay(range.start..=range.last(), order);
        match self.write(&mut writer, replay).await {
            Ok(()) => drop(writer.finish().await),
            Err(code) => writer.reset(code),
        }
    }

    async fn write(
        &self,
        writer: &mut FetchWriter,
        mut replay: Replay,
    ) -> Result<(), StreamResetCode> {
        loop {
            let replayed = replay.next().await.map_err(|error| {
                eprintln!("moqt: a fetch was given up: {error}");
                StreamResetCode::InternalError
            })?;
            match replayed {
                None => return Ok(()),
                Some(Replayed::Object(location, payload)) => {
                    let object = FetchObject {
                        location,
                        subgroup_id: self.subgroups.map(|subgroups| location.object % subgroups),
                        publisher_priority: DEFAULT_PRIORITY,
                        payload_len: payload.len() as u64,
                        status: ObjectStatus::Normal,
                        properties: Properties::EMPTY,
                    };
                    writer.write(&object, payload).await.map_err(|error| given_up(&error))?;
                }
                Some(Replayed::Lost(location)) => {
                    let said = writer.end_of_range(location, EndOfRange::Unknown).await;
                    // Draft 14 has no way to say so.
                    said.map_err(|_| StreamResetCode::UnknownObjectStatus)?;
                }
            }
        }
    }

    /// Refuses what is not about the one track there is.
    fn turn_away(&self, incoming: Incoming) {
        let code = match &incoming {
            Incoming::Subscribe(_) | Incoming::Fetch(_) | Incoming::TrackStatus(_) => {
                RequestErrorCode::DoesNotExist
            }
            Incoming::Publish(_) | Incoming::PublishNamespace(_) => RequestErrorCode::Uninterested,
            _ => RequestErrorCode::NotSupported,
        };
        let mut refusal = Refusal::new(code);
        refusal.reason = format!("only {} is served here", self.track);
        incoming.reject(refusal);
    }
}

fn given_up(error: &WriteError) -> StreamResetCode {
    match error {
        WriteError::Stopped(code) => *code,
        _ => StreamResetCode::InternalError,
    }
}
